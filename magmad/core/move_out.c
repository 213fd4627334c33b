/* The source of a move: one ordered stream of rows, one piece on the wire at a time. What is in it: move_rows.c, move_contents.c. */
#include "magmad/core/move_out.h"

enum {
	CALM = 4,                     /* so few files written since they were copied: time to freeze */
	PASSES_MAX = 6,               /* they never get calm: freeze all the same */
};
#define DRAIN_LIMIT (5 * SECOND)      /* operations that do not end (a participant is gone): give up, thaw, try again later */
#define TRY_AGAIN (2 * SECOND)

static Move *out_of(Slice *sl) { return sl->move; }

Ticket *move_ticket(Move *m)
{
	Ticket *t = CORE_CTX(m->sl, Ticket, NULL);

	*t = (Ticket){ m->sl, m->generation };
	return t;
}

/* The move a callback belongs to; NULL if it is over. Frees the ticket. */
Move *move_redeem(Ticket *t)
{
	Move *m = t->sl->move && t->sl->move->generation == t->generation ? t->sl->move : NULL;

	core_ctx_free(t->sl, t);
	return m;
}

gboolean move_has(Move *m, const MagmaKey *k) { return magma_range_has(&m->what.range, k); }

/* --- following --- */

static gboolean follows(StoreTable table)
{
	return table == TAB_FLARE || table == TAB_ENTRY || table == TAB_COOKIE || table == TAB_XATTR || table == TAB_DATA;
}

static gboolean follow_record(void *user, const StoreRow *row, gboolean del)
{
	Move *m = user;

	if (!follows(row->table) || !move_has(m, &row->rk))
		return TRUE;
	Txn *t = txn_new();
	if (del)
		txn_del(t, row->table, row->key, row->klen, &row->rk);
	else
		txn_put(t, row->table, row->key, row->klen, &row->rk, row->val, row->vlen);
	GByteArray *b = txn_bytes(t);
	g_byte_array_append(m->unit ? m->held : m->out, b->data, b->len);
	txn_free(t);
	return TRUE;
}

void move_follow(Slice *sl, Txn *t)
{
	Move *m = out_of(sl);

	if (!m || m->phase == ANEW || m->phase == WAITING || m->phase >= READY)
		return;
	GByteArray *b = txn_bytes(t);
	txn_each(b->data, b->len, follow_record, m);
}

gboolean move_is(Slice *sl, const MagmaMove *w) { return sl->move && sl->move->what.id == w->id; }

/* A life before, or an owner before, may have sent all of it and asked for its commit, and that may still come: until the move has another id nothing may be done that the target would not have. */
static gboolean may_be_committed(const Slice *sl)
{
	const MagmaMap *map = sl->v->map;

	return map && map->move.id && map->move.id == sl->move_before && map->move.from == sl->id;
}

gboolean move_frozen(Slice *sl, const MagmaKey *k) { return (sl->move && sl->move->frozen) || may_be_committed(sl); }
gboolean move_sealed(Slice *sl) { return (sl->move && sl->move->frozen && sl->move->phase > DRAIN) || may_be_committed(sl); }

void move_content_changed(Slice *sl, const MagmaFid *fid)
{
	Move *m = out_of(sl);

	if (m && m->phase != ANEW && m->phase != WAITING && move_has(m, &fid->key))
		move_queue_file(m, fid);
}

/* --- sending --- */

static void sent(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = move_redeem(user);

	core_enter(sl->v);
	if (m) {
		m->sending = FALSE;
		m->call = NULL;
		if (error)
			move_start_over(m, magma_strerror(error));
		else
			move_advance(m);
	}
	core_leave(sl->v);
}

MagmaTime move_patience(Move *m) { return m->frozen ? 5 * SECOND : 60 * SECOND; }

void move_send(Move *m, MagmaOp op, const void *req, GBytes *body, MagmaTime limit)
{
	m->sending = TRUE;
	m->ticket = move_ticket(m);
	m->call = call_volcano(m->sl->v, m->sl, m->what.to, op, req, body, limit, sent, m->ticket);
}

static gboolean row_ends(const guint8 *p, gsize n, gsize *len)
{
	MagmaReader r = magma_reader(p, n);

	magma_get_u8(&r);
	guint8 what = magma_get_u8(&r);
	magma_get_bytes(&r, MAGMA_KEY_LEN);
	magma_get_bytes(&r, magma_get_u16(&r));
	if (what == 1)
		magma_get_bytes(&r, magma_get_u32(&r));
	*len = n - r.left;
	return !r.error;
}

/* Whole records of up to STREAM_PIECE bytes from the front of what waits. */
static gboolean send_rows(Move *m)
{
	gsize n = 0, one;

	/* The first piece goes out even if it is empty: it makes the target begin anew. */
	if (m->sending || (!m->out->len && (guint32)m->sequence))
		return m->sending;
	while (n < m->out->len && row_ends(m->out->data + n, m->out->len - n, &one) && (n == 0 || n + one <= STREAM_PIECE))
		n += one;
	struct magma_req_move_rows q = { .move = m->what.id, .sequence = ++m->sequence, .records = MAGMA_BYTES(m->out->data, n) };
	move_send(m, MAGMA_OP_move_rows, &q, NULL, move_patience(m));
	g_byte_array_remove_range(m->out, 0, n);
	return TRUE;
}

/* --- freeze --- */

static void freeze(Move *m)
{
	m->frozen = TRUE;
	m->frozen_at = core_now(m->sl->v);
	m->phase = DRAIN;
	m->sl->v->state = "handing over a slice";
}

static void thaw(Move *m)
{
	m->frozen = FALSE;
	m->sl->v->state = "serving";
}

/* Operations from before the freeze have ended, and the journal has what they did. */
static gboolean drained(Move *m)
{
	GHashTableIter it;
	gpointer key;

	g_hash_table_iter_init(&it, m->sl->all_ops);
	while (g_hash_table_iter_next(&it, &key, NULL)) {
		Op *op = key;
		const MagmaOpInfo *info = magma_op_info(op->hdr.op);
		if (op != m->gather && !op->done && (op->client || !(info->flags & MAGMA_OP_ANYONE)))
			return FALSE;
	}
	return !g_hash_table_size(m->sl->busy) && store_acked(m->sl->store) >= m->sl->last_index;
}

static void send_ready(Move *m)
{
	struct magma_req_move_ready q = { .move = m->what.id, .sequence = ++m->sequence };

	move_send(m, MAGMA_OP_move_ready, &q, NULL, 20 * SECOND);
}

/* --- anew --- */

static void made_anew(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = move_redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	guint64 generation = m->generation;
	m->call = NULL;
	if (!error)
		members_learn(sl->v, rep->rep_move_anew.map.data, rep->rep_move_anew.map.len);
	/* a map of our line of history has ended m */
	if (sl->move && sl->move->generation == generation)
		move_start_over(sl->move, error ? magma_strerror(error) : "it has no other id yet");
	core_leave(sl->v);
}

static void ask_anew(Move *m)
{
	struct magma_req_move_anew q = { .move = m->what.id };

	m->ticket = move_ticket(m);
	m->call = call_leader(m->sl->v, m->sl, MAGMA_OP_move_anew, &q, 0, made_anew, m->ticket);
}

/* --- commit --- */

static void committed(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = move_redeem(user);

	core_enter(sl->v);
	if (m && !error) {
		m->call = NULL;
		members_learn(sl->v, rep->rep_move_commit.map.data, rep->rep_move_commit.map.len);
		move_map_changed(sl);
	} else if (m) {
		move_start_over(m, magma_strerror(error));     /* the coordinator said no, so the range is still ours */
	}
	core_leave(sl->v);
}

static void send_commit(Move *m)
{
	struct magma_req_move_commit q = { .move = m->what.id };

	/* No limit: from here on only the coordinator knows whose the range is, and it stays frozen until it says so. */
	m->ticket = move_ticket(m);
	m->call = call_leader(m->sl->v, m->sl, MAGMA_OP_move_commit, &q, 0, committed, m->ticket);
}

/* What stays here is on disk before the rest is the target's: both were changed in one transaction, without marks that could tell after a power cut what is missing. */
static void source_synced(void *user, int error)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = move_redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	if (error) {
		move_start_over(m, g_strerror(error));
	} else {
		m->phase = READY;
		send_ready(m);
	}
	core_leave(sl->v);
}

/* --- the whole --- */

void move_advance(Move *m)
{
	switch (m->phase) {
	case ANEW:
		if (!m->call)
			ask_anew(m);
		return;
	case COPY_ROWS:
		if (send_rows(m) || move_read_rows(m))
			return;
		m->phase = COPY_CONTENTS;
		m->again_left = g_queue_get_length(&m->files);
		/* fall through */
	case COPY_CONTENTS:
		if (!m->sending && !m->file.ino && m->out->len) {
			send_rows(m);
			return;
		}
		if (!m->sending && !m->file.ino && m->passes < PASSES_MAX && !m->again_left) {
			m->passes++;
			m->again_left = g_queue_get_length(&m->files);
			if (m->again_left <= CALM)
				m->passes = PASSES_MAX;
		}
		if (m->passes < PASSES_MAX || m->file.ino || m->sending) {
			if (!m->sending && !m->file.ino && m->again_left)
				m->again_left--;
			if (move_copy_contents(m))
				return;
		}
		if (m->sl->recovering) {
			move_start_over(m, "a content is not in order yet after a crash");
			return;
		}
		freeze(m);
		/* fall through */
	case DRAIN:
		if (!drained(m))
			return;
		m->phase = LAST_ROWS;
		/* fall through */
	case LAST_ROWS:
		if (send_rows(m))
			return;
		m->phase = LAST_CONTENTS;
		/* fall through */
	case LAST_CONTENTS:
		if (move_copy_contents(m))
			return;
		move_append_memory(m);
		m->phase = LAST_MEMORY;
		/* fall through */
	case LAST_MEMORY:
		if (send_rows(m))
			return;
		move_gather_opens(m);
		m->phase = LAST_OPENS;
		/* fall through */
	case LAST_OPENS:
		if (move_send_opens(m))
			return;
		m->phase = LAST_SYNC;
		store_sync(m->sl->store, source_synced, move_ticket(m));
		return;
	case LAST_SYNC:
		return;
	case READY:
		m->phase = COMMITTING;
		send_commit(m);
		return;
	case COMMITTING:
	case WAITING:
		return;
	}
}

static void move_reset(Move *m)
{
	Page *p;
	MagmaFid *f;

	m->generation = ++m->sl->move_generations;
	if (m->call) {
		call_cancel(m->call);
		core_ctx_free(m->sl, m->ticket);
	}
	m->call = NULL;
	m->gather = NULL;
	while ((p = g_queue_pop_head(&m->pages)))
		g_free(p);
	g_hash_table_remove_all(m->queued);
	while ((f = g_queue_pop_head(&m->files)))
		g_free(f);
	g_byte_array_set_size(m->out, 0);
	g_byte_array_set_size(m->held, 0);
	g_byte_array_set_size(m->opens, 0);
	MagmaTs now = m->sl->v->io->real(m->sl->v->iou);
	m->sequence = MOVE_TRY(now.sec * 1000 + now.nsec / 1000000);
	m->sending = m->unit = m->rows_done = FALSE;
	m->at_key = m->what.range.lo;
	m->at_ino = 0;
	m->page_fromlen = 0;
	m->file.ino = 0;
	m->passes = 0;
}

/* What an owner before sent and asked for must not be mixed up with what comes now. */
static void begin(Move *m)
{
	m->phase = m->what.id == m->sl->move_before ? ANEW : COPY_ROWS;
	move_advance(m);
}

void move_start_over(Move *m, const char *why)
{
	MAGMA_TRACE(m->sl->trace, 'v', "move %" G_GUINT64_FORMAT ": %s; again in 2 s", m->what.id, why);
	thaw(m);
	move_reset(m);
	m->phase = WAITING;
	m->again_at = core_now(m->sl->v) + TRY_AGAIN;
}

void move_out_start(Slice *sl)
{
	Move *m = sl->move = g_new0(Move, 1);

	m->sl = sl;
	m->what = sl->v->map->move;
	m->out = g_byte_array_new();
	m->held = g_byte_array_new();
	m->opens = g_byte_array_new();
	m->queued = g_hash_table_new(g_int64_hash, g_int64_equal);
	move_reset(m);
	MAGMA_TRACE(sl->trace, 'v', "move %" G_GUINT64_FORMAT " to volcano %u begins", m->what.id, m->what.to);
	begin(m);
}

/* The map says that the range is another's now: nothing of it is kept. */
void move_out_done(Slice *sl)
{
	Move *m = sl->move;
	MagmaRange range = m->what.range;

	MAGMA_TRACE(sl->trace, 'v', "move %" G_GUINT64_FORMAT " is done", m->what.id);
	thaw(m);
	move_clear(sl);
	const MagmaSlice *now = magma_map_slice(sl->v->map, &range.lo);
	if (now && now->id != sl->id)
		purge_given_away(sl, &range);
}

void move_tick(Slice *sl)
{
	Move *m = sl->move;

	if (!m)
		return;
	if (m->phase == DRAIN && core_now(sl->v) - m->frozen_at > DRAIN_LIMIT) {
		move_start_over(m, "operations did not end");
	} else if (m->phase == WAITING && core_now(sl->v) >= m->again_at && !sl->recovering) {      /* what a restart has to do for contents, it does here */
		begin(m);
	} else if (m->phase == DRAIN) {
		move_advance(m);
	}
}

void move_clear(Slice *sl)
{
	Move *m = sl->move;

	if (!m)
		return;
	move_reset(m);
	g_byte_array_unref(m->out);
	g_byte_array_unref(m->held);
	g_byte_array_unref(m->opens);
	g_hash_table_unref(m->queued);
	g_free(m);
	sl->move = NULL;
}
