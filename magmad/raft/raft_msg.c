/* Messages as bytes. Each type has the fields raft.h names, nothing else. */
#include "magmad/raft/raft_codec.h"
#include "magmad/raft/raft_inside.h"
#include <string.h>

enum { FLAG_OK = 1, FLAG_TRANSFER = 2, FLAG_BASE = 4, FLAG_ENTRY = 8, FLAGS = 15 };

/* Which parts a type has. */
enum { HAS_INDEX = 1, HAS_INDEX_TERM = 2, HAS_COMMIT = 4, HAS_SENT = 8, HAS_LIFE = 16, MAY_ENTRY = 32, HAS_AGE = 64 };
static const guint8 parts[RAFT_MSG_LIMIT] = {
	[RAFT_PREVOTE] = HAS_INDEX | HAS_INDEX_TERM,
	[RAFT_VOTE] = HAS_INDEX | HAS_INDEX_TERM,
	[RAFT_VOTE_ACK] = HAS_AGE,
	[RAFT_APPEND] = HAS_INDEX | HAS_INDEX_TERM | HAS_COMMIT | MAY_ENTRY,
	[RAFT_APPEND_ACK] = HAS_INDEX | HAS_COMMIT,
	[RAFT_BEAT] = HAS_SENT | HAS_LIFE,
	[RAFT_ALIVE] = HAS_SENT | HAS_LIFE | HAS_COMMIT,
};

void raft_msg_encode(const RaftMsg *m, GByteArray *out)
{
	guint has = parts[m->type];

	magma_put_u8(out, m->type);
	magma_put_u8(out, (m->ok ? FLAG_OK : 0) | (m->transfer ? FLAG_TRANSFER : 0) | (m->base ? FLAG_BASE : 0) | (m->entry ? FLAG_ENTRY : 0));
	term_encode(m->term, out);
	line_encode(&m->line, out);
	if (has & HAS_INDEX)
		magma_put_u64(out, m->index);
	if (has & HAS_INDEX_TERM)
		term_encode(m->index_term, out);
	if (has & HAS_COMMIT)
		magma_put_u64(out, m->commit);
	if (has & HAS_SENT)
		magma_put_u64(out, m->sent);
	if (has & HAS_LIFE) {
		magma_put_u32(out, m->life);
		magma_put_u64(out, m->at);
	}
	if (has & HAS_AGE)
		magma_put_u64(out, m->age);
	if (m->entry)
		entry_encode(m->entry, out);
}

static gint64 time_decode(MagmaReader *r)
{
	guint64 t = magma_get_u64(r);

	if (t > G_MAXINT64 / 2)           /* intervals are added to it */
		r->error = TRUE;
	return (gint64)t;
}

static gboolean append_valid(const RaftMsg *m)
{
	if (!m->entry)
		return !m->base;
	return raft_term_cmp(m->entry->term, m->term) <= 0
		&& (m->base ? m->entry->index <= m->commit : m->entry->index == m->index + 1 && raft_term_cmp(m->entry->term, m->index_term) >= 0);
}

gboolean raft_msg_decode(const guint8 *p, gsize n, RaftMsg *m)
{
	MagmaReader r = magma_reader(p, n);
	guint type = magma_get_u8(&r), flags = magma_get_u8(&r);

	memset(m, 0, sizeof *m);
	if (type == 0 || type >= RAFT_MSG_LIMIT || flags & ~FLAGS)
		return FALSE;
	guint has = parts[type];
	m->type = type;
	m->ok = (flags & FLAG_OK) != 0;
	m->transfer = (flags & FLAG_TRANSFER) != 0;
	m->base = (flags & FLAG_BASE) != 0;
	m->term = term_decode(&r);
	line_decode(&r, &m->line, m->term.inc);
	if (has & HAS_INDEX)
		m->index = count_decode(&r);
	if (has & HAS_INDEX_TERM)
		m->index_term = term_decode(&r);
	if (has & HAS_COMMIT)
		m->commit = count_decode(&r);
	if (has & HAS_SENT)
		m->sent = time_decode(&r);
	if (has & HAS_LIFE) {
		m->life = magma_get_u32(&r);
		m->at = time_decode(&r);
	}
	if (has & HAS_AGE)
		m->age = time_decode(&r);
	if (flags & FLAG_ENTRY && !r.error) {
		if (!(has & MAY_ENTRY))
			return FALSE;
		m->entry = entry_decode(&r);
	}
	if (!r.error && r.left == 0 && (type != RAFT_APPEND || append_valid(m)) && m->term.term > 0
		&& m->term.term <= COUNT_MAX && m->index <= COUNT_MAX && (!m->entry || m->entry->index <= COUNT_MAX))
		return TRUE;
	raft_msg_clear(m);
	return FALSE;
}

void raft_msg_clear(RaftMsg *m)
{
	g_clear_pointer(&m->entry, raft_entry_unref);
}
