#include "libmagma/xport/recvq.h"
#include <string.h>

/* An honest sender makes at most total / MSG_FRAGMENT_MIN holes, and a few more where lost pieces were cut again. */
#define PIECES_MAX (2 * (MAGMA_MSG_MAX / MSG_FRAGMENT_MIN))

static void msg_free(gpointer p)
{
	RecvMsg *m = p;
	g_free(m->buf);
	rangeset_clear(&m->have);
	g_free(m);
}

void recvq_init(RecvQueue *q)
{
	memset(q, 0, sizeof *q);
	q->partial = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, msg_free);
}

void recvq_clear(RecvQueue *q)
{
	g_clear_pointer(&q->partial, g_hash_table_destroy);
	q->recent = NULL;
}

static guint64 *word_of(RecvQueue *q, guint64 id)
{
	return &q->done[(id / 64) % G_N_ELEMENTS(q->done)];
}

static gboolean is_done(RecvQueue *q, guint64 id)
{
	return id < q->base || (*word_of(q, id) >> (id % 64) & 1);
}

static void mark_done(RecvQueue *q, guint64 id)
{
	*word_of(q, id) |= G_GUINT64_CONSTANT(1) << (id % 64);
	while (*word_of(q, q->base) >> (q->base % 64) & 1) {
		*word_of(q, q->base) &= ~(G_GUINT64_CONSTANT(1) << (q->base % 64));
		q->base++;
	}
}

static RecvMsg *find(RecvQueue *q, guint64 id)
{
	if (q->recent && q->recent->id == id)
		return q->recent;
	return g_hash_table_lookup(q->partial, &id);
}

static RecvMsg *start(RecvQueue *q, guint64 id, guint32 total)
{
	if (g_hash_table_size(q->partial) >= MSG_STARTED_MAX || total > RECV_LIMIT - q->buffered)
		return NULL;
	RecvMsg *m = g_new0(RecvMsg, 1);
	m->id = id;
	m->total = total;
	m->buf = g_malloc(total);
	q->buffered += total;
	g_hash_table_insert(q->partial, &m->id, m);
	return m;
}

static GBytes *finish(RecvQueue *q, RecvMsg *m)
{
	GBytes *whole = g_bytes_new_take(g_steal_pointer(&m->buf), m->total);
	mark_done(q, m->id);
	q->buffered -= m->total;
	q->recent = NULL;
	g_hash_table_remove(q->partial, &m->id);
	return whole;
}

RecvResult recvq_add(RecvQueue *q, guint64 id, guint64 total, guint64 off, const guint8 *data, gsize len, GBytes **whole)
{
	if (total > MAGMA_MSG_MAX || off > total || len > total - off || (len == 0 && total != 0))
		return RECV_BAD;
	if (id >= q->base && id - q->base >= MSG_ID_WINDOW)
		return RECV_BAD;
	if (is_done(q, id))
		return RECV_OLD;
	RecvMsg *m = find(q, id);
	if (m && m->total != total)
		return RECV_BAD;
	if (!m && len == total) {
		*whole = g_bytes_new(data, len);
		mark_done(q, id);
		return RECV_WHOLE;
	}
	if (!m && !(m = start(q, id, (guint32)total)))
		return RECV_BAD;
	q->recent = m;
	memcpy(m->buf + off, data, len);
	m->got += (guint32)rangeset_add(&m->have, off, off + len);
	if (m->have.n > PIECES_MAX)
		return RECV_BAD;
	if (m->got < m->total)
		return RECV_MORE;
	*whole = finish(q, m);
	return RECV_WHOLE;
}
