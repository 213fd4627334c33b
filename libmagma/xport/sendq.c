#include "libmagma/xport/sendq.h"
#include "libmagma/xport/frame.h"

#define CLASSES 3
#define SHARE 4                        /* a larger class gets a byte for every four of the smaller ones */

struct SendMsg {
	SendMsg *next, *prev;          /* in ready[class] */
	SendMsg *started_next, *started_prev;
	GBytes *head, *body;
	const guint8 *head_p, *body_p;
	gsize head_n;
	guint64 id;
	guint32 total, sent, acked_bytes;
	guint refs;                    /* frames that name it */
	guint8 class;
	guint queued : 1, begun : 1, done : 1;
	guint bare : 1;                /* an empty message that has to be sent */
	RangeSet lost, acked;
};

static void ready_unlink(SendQueue *q, SendMsg *m)
{
	SendList *l = &q->ready[m->class];
	if (!m->queued)
		return;
	*(m->prev ? &m->prev->next : &l->first) = m->next;
	*(m->next ? &m->next->prev : &l->last) = m->prev;
	m->next = m->prev = NULL;
	m->queued = FALSE;
	if (!l->first)
		q->debt[m->class] = 0;
}

static void ready_append(SendQueue *q, SendMsg *m)
{
	SendList *l = &q->ready[m->class];
	m->prev = l->last;
	*(l->last ? &l->last->next : &l->first) = m;
	l->last = m;
	m->queued = TRUE;
}

static void ready_prepend(SendQueue *q, SendMsg *m)
{
	SendList *l = &q->ready[m->class];
	m->next = l->first;
	*(l->first ? &l->first->prev : &l->last) = m;
	l->first = m;
	m->queued = TRUE;
}

static void msg_free(SendMsg *m)
{
	g_clear_pointer(&m->head, g_bytes_unref);
	g_clear_pointer(&m->body, g_bytes_unref);
	rangeset_clear(&m->lost);
	rangeset_clear(&m->acked);
	g_free(m);
}

void sendq_clear(SendQueue *q)
{
	for (guint c = 0; c < CLASSES; c++)
		while (q->ready[c].first) {
			SendMsg *m = q->ready[c].first;
			ready_unlink(q, m);
			if (!m->begun)
				msg_free(m);
		}
	for (SendMsg *m = q->started.first, *next; m; m = next) {
		next = m->started_next;
		msg_free(m);
	}
	while (q->spare) {
		SentFrame *f = q->spare;
		q->spare = f->next;
		g_free(f);
	}
	*q = (SendQueue){ 0 };
}

void sendq_push(SendQueue *q, GBytes *head, GBytes *body)
{
	SendMsg *m = g_new0(SendMsg, 1);
	gsize body_n = 0;
	m->head = g_bytes_ref(head);
	m->head_p = g_bytes_get_data(head, &m->head_n);
	if (body) {
		m->body = g_bytes_ref(body);
		m->body_p = g_bytes_get_data(body, &body_n);
	}
	m->total = (guint32)(m->head_n + body_n);
	m->bare = m->total == 0;
	m->class = m->total <= MSG_SMALL ? 0 : m->total <= MSG_MEDIUM ? 1 : 2;
	q->backlog += m->total;
	q->pending += m->total;
	ready_append(q, m);
}

/* Rule S3: what is started fits into the receiver's limit, small messages having a part of it for themselves. */
static gboolean may_begin(const SendQueue *q, const SendMsg *m)
{
	if (q->n_started >= MSG_STARTED_MAX)
		return FALSE;
	if (q->started.first && q->next_id - q->started.first->id >= MSG_ID_WINDOW)
		return FALSE;
	if (m->class == 0)
		return q->started_small + m->total <= RECV_RESERVE;
	return q->started_large + m->total <= RECV_LIMIT - RECV_RESERVE;
}

static void begin(SendQueue *q, SendMsg *m)
{
	m->begun = TRUE;
	m->id = q->next_id++;
	m->started_prev = q->started.last;
	*(q->started.last ? &q->started.last->started_next : &q->started.first) = m;
	q->started.last = m;
	q->n_started++;
	*(m->class == 0 ? &q->started_small : &q->started_large) += m->total;
}

static void finish(SendQueue *q, SendMsg *m)
{
	ready_unlink(q, m);
	*(m->started_prev ? &m->started_prev->started_next : &q->started.first) = m->started_next;
	*(m->started_next ? &m->started_next->started_prev : &q->started.last) = m->started_prev;
	q->n_started--;
	*(m->class == 0 ? &q->started_small : &q->started_large) -= m->total;
	m->done = TRUE;
	g_clear_pointer(&m->head, g_bytes_unref);
	g_clear_pointer(&m->body, g_bytes_unref);
	rangeset_clear(&m->lost);
	rangeset_clear(&m->acked);
}

static SendMsg *candidate(const SendQueue *q, guint class)
{
	SendMsg *m = q->ready[class].first;
	return m && (m->begun || may_begin(q, m)) ? m : NULL;
}

gboolean sendq_ready(const SendQueue *q, gboolean small_only)
{
	for (guint c = 0; c < (small_only ? 1 : CLASSES); c++)
		if (candidate(q, c))
			return TRUE;
	return FALSE;
}

/* The smallest class that has something, unless a larger one has been passed over for long enough. */
static SendMsg *pick(const SendQueue *q, gsize room)
{
	SendMsg *best = NULL;
	for (guint c = 0; c < CLASSES; c++) {
		SendMsg *m = candidate(q, c);
		if (m && (!best || q->debt[c] >= room))
			best = m;
	}
	return best;
}

static void settle_debt(SendQueue *q, guint class, guint32 len)
{
	for (guint c = class + 1; c < CLASSES; c++)
		if (q->ready[c].first)
			q->debt[c] += len / SHARE + 1;
	q->debt[class] -= MIN(q->debt[class], len);
}

static gboolean unsent(const SendMsg *m)
{
	return m->lost.n || m->sent < m->total || m->bare;
}

static void locate(const SendMsg *m, Fragment *f)
{
	guint32 off = f->off, len = f->len;
	f->n1 = off < m->head_n ? MIN(len, m->head_n - off) : 0;
	f->n2 = len - f->n1;
	f->p1 = f->n1 ? m->head_p + off : NULL;
	f->p2 = f->n2 ? m->body_p + (off + f->n1 - m->head_n) : NULL;
}

static SentFrame *frame_new(SendQueue *q)
{
	SentFrame *f = q->spare;
	if (!f)
		return g_new(SentFrame, 1);
	q->spare = f->next;
	return f;
}

gboolean sendq_take(SendQueue *q, gsize room, gboolean small_only, gboolean tight, Fragment *out)
{
	SendMsg *m = small_only ? candidate(q, 0) : pick(q, room);
	if (!m)
		return FALSE;
	gboolean again = m->lost.n > 0;
	guint32 off = again ? (guint32)m->lost.v[0].lo : m->sent;
	guint32 left = again ? (guint32)m->lost.v[0].hi - off : m->total - off;
	gsize header = 1 + varint_size(m->begun ? m->id : q->next_id) + varint_size(m->total) + varint_size(off) + varint_size(MIN(left, room));
	if (room < header)
		return FALSE;
	guint32 len = (guint32)MIN(left, room - header);
	if (len < left && (small_only || (tight && len < MSG_FRAGMENT_MIN) || len == 0))
		return FALSE;
	if (!m->begun)
		begin(q, m);
	*out = (Fragment){ .id = m->id, .total = m->total, .off = off, .len = len, .frame = frame_new(q) };
	*out->frame = (SentFrame){ .msg = m, .off = off, .len = len };
	locate(m, out);
	m->refs++;
	m->bare = FALSE;
	q->pending -= len;
	settle_debt(q, m->class, len);
	if (again) {
		rangeset_remove(&m->lost, off, off + len);
		q->resent += len;
	} else {
		m->sent += len;
	}
	if (!unsent(m))
		ready_unlink(q, m);
	return TRUE;
}

static void frame_acked(SendQueue *q, SendMsg *m, guint32 off, guint32 len)
{
	if (m->done)
		return;
	if (len == m->total) {
		q->backlog -= m->total - m->acked_bytes;
		for (guint i = 0; i < m->lost.n; i++)
			q->pending -= m->lost.v[i].hi - m->lost.v[i].lo;
		finish(q, m);
		return;
	}
	if (m->lost.n)
		q->pending -= rangeset_remove(&m->lost, off, off + len);
	guint32 fresh = (guint32)rangeset_add(&m->acked, off, off + len);
	m->acked_bytes += fresh;
	q->backlog -= fresh;
	if (m->acked_bytes == m->total)
		finish(q, m);
	else if (!unsent(m))
		ready_unlink(q, m);
}

void sendq_acked(SendQueue *q, SentFrame *frames)
{
	for (SentFrame *f = frames; f; f = f->next)
		frame_acked(q, f->msg, f->off, f->len);
}

/* What of [off, off + len) has not been acknowledged through another packet. */
static void mark_lost(SendQueue *q, SendMsg *m, guint64 lo, guint64 hi)
{
	for (guint i = 0; i < m->acked.n && lo < hi; i++) {
		Range r = m->acked.v[i];
		if (r.hi <= lo)
			continue;
		if (r.lo >= hi)
			break;
		if (r.lo > lo)
			q->pending += rangeset_add(&m->lost, lo, r.lo);
		lo = r.hi;
	}
	if (lo < hi)
		q->pending += rangeset_add(&m->lost, lo, hi);
}

void sendq_lost(SendQueue *q, SentFrame *frames)
{
	for (SentFrame *f = frames; f; f = f->next) {
		SendMsg *m = f->msg;
		if (m->done)
			continue;
		if (m->total == 0)
			m->bare = TRUE;
		else
			mark_lost(q, m, f->off, f->off + f->len);
		if (!m->queued && unsent(m))
			ready_prepend(q, m);
	}
}

void sendq_forget(SendQueue *q, SentFrame *frames)
{
	for (SentFrame *f = frames, *next; f; f = next) {
		next = f->next;
		if (--f->msg->refs == 0 && f->msg->done)
			msg_free(f->msg);
		f->next = q->spare;
		q->spare = f;
	}
}
