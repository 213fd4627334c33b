/* The source of a move: one ordered stream of rows, one piece on the wire at a time. */
#include <unistd.h>
#include "magmad/core/move.h"

enum {
	CHUNK_FLARES = 64, PAGE_ROWS = 512,
	STREAM_PIECE = 256 * 1024,    /* of records in one MOVE_ROWS, at most, and of opens in one MOVE_OPENS */
	OPEN_BYTES = 8 + MAGMA_KEY_LEN + 8,
	CALM = 4,                     /* so few files written since they were copied: time to freeze */
	PASSES_MAX = 6,               /* they never get calm: freeze all the same */
};
#define DRAIN_LIMIT (5 * SECOND)      /* operations that do not end (a participant is gone): give up, thaw, try again later */
#define TRY_AGAIN (2 * SECOND)

typedef enum { ANEW, COPY_ROWS, COPY_CONTENTS, DRAIN, LAST_ROWS, LAST_CONTENTS, LAST_MEMORY, LAST_OPENS, LAST_SYNC, READY, COMMITTING, WAITING } Phase_;

typedef struct {
	StoreTable table;
	MagmaFid fid;
} Page;

typedef struct {
	Slice *sl;
	guint64 generation;
} Ticket;

struct Move {
	Slice *sl;
	MagmaMove what;
	Phase_ phase;
	guint64 sequence;
	gboolean sending, frozen, unit;   /* unit: rows are being read; what is committed meanwhile goes behind them */
	GByteArray *out, *held;
	GByteArray *opens;            /* (u64 client, fid) each, still to be sent */
	MagmaKey at_key;
	guint64 at_ino;
	gboolean rows_done;
	Ticket *ticket;               /* of the call under way */
	GQueue pages;                 /* Page *: rows of directories and extended attributes still to be read */
	guint8 page_from[STORE_KEY_MAX];
	gsize page_fromlen;
	GQueue files;                 /* MagmaFid *: contents to be copied */
	GHashTable *queued;           /* set of ino in files */
	MagmaFid file;                /* being copied; ino 0: none */
	guint64 file_at, file_size;
	guint passes, again_left;
	Op *gather;
	MagmaTime frozen_at, again_at;
	Call *call;
	guint64 generation;           /* of this try: late answers of an earlier one are nobody's */
};

static void advance(Move *m);
static void start_over(Move *m, const char *why);

static Move *out_of(Slice *sl) { return sl->move; }

static Ticket *ticket(Move *m)
{
	Ticket *t = CORE_CTX(m->sl, Ticket, NULL);

	*t = (Ticket){ m->sl, m->generation };
	return t;
}

/* The move a callback belongs to; NULL if it is over. Frees the ticket. */
static Move *redeem(Ticket *t)
{
	Move *m = t->sl->move && t->sl->move->generation == t->generation ? t->sl->move : NULL;

	core_ctx_free(t->sl, t);
	return m;
}

static gboolean in_range(Move *m, const MagmaKey *k) { return magma_range_has(&m->what.range, k); }

/* --- following --- */

static gboolean follows(StoreTable table)
{
	return table == TAB_FLARE || table == TAB_ENTRY || table == TAB_COOKIE || table == TAB_XATTR || table == TAB_DATA;
}

static gboolean follow_record(void *user, const StoreRow *row, gboolean del)
{
	Move *m = user;

	if (!follows(row->table) || !in_range(m, &row->rk))
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

static void queue_file(Move *m, const MagmaFid *fid)
{
	if (g_hash_table_contains(m->queued, &fid->ino))
		return;
	MagmaFid *f = g_memdup2(fid, sizeof *fid);
	g_queue_push_tail(&m->files, f);
	g_hash_table_add(m->queued, &f->ino);
}

void move_content_changed(Slice *sl, const MagmaFid *fid)
{
	Move *m = out_of(sl);

	if (m && m->phase != ANEW && m->phase != WAITING && in_range(m, &fid->key))
		queue_file(m, fid);
}

/* --- sending --- */

static void sent(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);

	core_enter(sl->v);
	if (m) {
		m->sending = FALSE;
		m->call = NULL;
		if (error)
			start_over(m, magma_strerror(error));
		else
			advance(m);
	}
	core_leave(sl->v);
}

static MagmaTime patience(Move *m) { return m->frozen ? 5 * SECOND : 60 * SECOND; }

static void send_piece(Move *m, MagmaOp op, const void *req, GBytes *body, MagmaTime limit)
{
	m->sending = TRUE;
	m->ticket = ticket(m);
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
	send_piece(m, MAGMA_OP_move_rows, &q, NULL, patience(m));
	g_byte_array_remove_range(m->out, 0, n);
	return TRUE;
}

/* --- rows --- */

static void unit_end(Move *m)
{
	m->unit = FALSE;
	g_byte_array_append(m->out, m->held->data, m->held->len);
	g_byte_array_set_size(m->held, 0);
}

static void append_row(Move *m, const StoreRow *row)
{
	Txn *t = txn_new();

	txn_put(t, row->table, row->key, row->klen, &row->rk, row->val, row->vlen);
	g_byte_array_append(m->out, txn_bytes(t)->data, txn_bytes(t)->len);
	txn_free(t);
}

typedef struct {
	guint64 generation;
	GArray *inline_fids;
} Gather;

static void gather_free(gpointer p)
{
	Gather *g = p;

	g_array_unref(g->inline_fids);
	g_free(g);
}

/* The inline contents of a chunk; those not in memory are fetched side by side. */
static void step_gather(Op *op)
{
	Gather *g = op->data;
	Slice *sl = op->sl;
	Move *m = sl->move && sl->move->generation == g->generation ? sl->move : NULL;
	gboolean wait = FALSE;
	const guint8 *val;
	guint8 k[STORE_KEY_MAX];
	gsize n;

	for (guint i = 0; m && i < g->inline_fids->len; i++) {
		MagmaFid *fid = &g_array_index(g->inline_fids, MagmaFid, i);
		wait |= store_get(sl->store, &op->fetch, TAB_DATA, k, key_ino(k, fid->ino), &val, &n) == STORE_PENDING;
	}
	if (wait)
		return;
	/* in the same turn nothing that was found goes away */
	for (guint i = 0; m && i < g->inline_fids->len; i++) {
		MagmaFid *fid = &g_array_index(g->inline_fids, MagmaFid, i);
		StoreRow row = { .table = TAB_DATA, .key = k, .klen = key_ino(k, fid->ino), .rk = fid->key };
		if (store_get(sl->store, &op->fetch, TAB_DATA, k, row.klen, &row.val, &row.vlen) == STORE_FOUND)
			append_row(m, &row);
	}
	op_drop(op);
	if (m) {
		m->gather = NULL;
		unit_end(m);
		advance(m);
	}
}

static void add_page(Move *m, StoreTable table, const MagmaFid *fid)
{
	Page *p = g_new(Page, 1);

	*p = (Page){ table, *fid };
	g_queue_push_tail(&m->pages, p);
}

static void chunk_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);
	FlareRow row;

	if (!m)
		return;
	core_enter(sl->v);
	Gather *g = g_new0(Gather, 1);
	g->generation = m->generation;
	g->inline_fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	for (guint i = 0; i < n; i++) {
		append_row(m, &rows[i]);
		m->at_key = rows[i].rk;
		m->at_ino = magma_be64_load(rows[i].key);
		if (!flare_row_decode(rows[i].val, rows[i].vlen, &row))
			continue;
		if (is_dir(row.attr.mode)) {
			add_page(m, TAB_ENTRY, &row.attr.fid);
			add_page(m, TAB_COOKIE, &row.attr.fid);
		}
		if (row.attr.flags & MAGMA_ATTR_HAS_XATTR)
			add_page(m, TAB_XATTR, &row.attr.fid);
		if (row.content == CONTENT_FILE)
			queue_file(m, &row.attr.fid);
		else if (S_ISREG(row.attr.mode) && row.attr.size)
			g_array_append_val(g->inline_fids, row.attr.fid);
	}
	m->rows_done = eof || !n;
	if (error) {
		gather_free(g);
		start_over(m, g_strerror(error));
	} else {
		MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_move_rows };
		Op *op = op_new(sl->v, sl, &h, NULL, NULL, NULL);
		op->data = g;
		op->data_free = gather_free;
		op->step = step_gather;
		m->gather = op;
		op_run(op);
	}
	core_leave(sl->v);
}

static void page_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	for (guint i = 0; i < n; i++)
		append_row(m, &rows[i]);
	if (eof || !n) {
		g_free(g_queue_pop_head(&m->pages));
		m->page_fromlen = 0;
	} else {
		m->page_fromlen = rows[n - 1].klen;
		memcpy(m->page_from, rows[n - 1].key, m->page_fromlen);
	}
	unit_end(m);
	if (error)
		start_over(m, g_strerror(error));
	else
		advance(m);
	core_leave(sl->v);
}

/* Starts to read the next piece of rows. FALSE: there are none. */
static gboolean read_rows(Move *m)
{
	Page *p = g_queue_peek_head(&m->pages);
	guint8 prefix[8];

	if (m->unit)
		return TRUE;
	if (p) {
		m->unit = TRUE;
		key_ino(prefix, p->fid.ino);
		store_scan(m->sl->store, p->table, m->page_from, m->page_fromlen, prefix, sizeof prefix, PAGE_ROWS, page_read, ticket(m));
		return TRUE;
	}
	if (m->rows_done)
		return FALSE;
	m->unit = TRUE;
	store_scan_range(m->sl->store, &m->at_key, &m->what.range.hi, m->at_ino, CHUNK_FLARES, chunk_read, ticket(m));
	return TRUE;
}

/* --- contents --- */

static void send_data(Move *m, guint64 offset, guint64 size, GBytes *data)
{
	struct magma_req_move_data q = { .fid = m->file, .move = m->what.id, .sequence = ++m->sequence, .offset = offset, .size = size };

	if (data)
		q.data.len = g_bytes_get_size(data);
	send_piece(m, MAGMA_OP_move_data, &q, data, patience(m));
}

static void data_read(void *user, int error, GBytes *data)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	m->sending = FALSE;
	if (error) {
		start_over(m, g_strerror(error));
	} else if (!g_bytes_get_size(data)) {
		m->file_at = m->file_size;
		advance(m);
	} else {
		guint64 at = m->file_at;
		m->file_at += g_bytes_get_size(data);
		send_data(m, at, m->file_size, data);
	}
	core_leave(sl->v);
}

static void data_found(void *user, int error, guint64 off)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	if (error || off >= m->file_size) {          /* nothing but a hole up to the end */
		m->sending = FALSE;
		m->file_at = m->file_size;
		advance(m);
	} else {
		m->file_at = off;
		store_content_read(sl->store, &m->file, off, MIN(MAGMA_DATA_MAX, m->file_size - off), data_read, ticket(m));
	}
	core_leave(sl->v);
}

static void file_stat(void *user, int error, const StoreContentStat *st)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	m->file_at = 0;
	m->file_size = !error && st->exists ? st->size : 0;
	send_data(m, 0, G_MAXUINT64, NULL);          /* begin: what is there goes */
	core_leave(sl->v);
}

/* One step of the file in work. FALSE: none in work and none waits. */
static gboolean copy_contents(Move *m)
{
	if (m->sending)
		return TRUE;
	if (!m->file.ino) {
		MagmaFid *f = g_queue_pop_head(&m->files);
		if (!f)
			return FALSE;
		m->file = *f;
		g_hash_table_remove(m->queued, &f->ino);
		g_free(f);
		m->sending = TRUE;
		store_content_stat(m->sl->store, &m->file, file_stat, ticket(m));
		return TRUE;
	}
	if (m->file_at < m->file_size) {
		m->sending = TRUE;
		store_content_seek(m->sl->store, &m->file, m->file_at, SEEK_DATA, data_found, ticket(m));
		return TRUE;
	}
	send_data(m, m->file_size, m->file_size, NULL);   /* end: this long, and on disk */
	m->file.ino = 0;
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

static void memory_row(Move *m, StoreTable table, const guint8 *k, gsize kl, const MagmaKey *rk, const guint8 *val, gsize n)
{
	StoreRow row = { .table = table, .key = k, .klen = kl, .rk = *rk, .val = val, .vlen = n };

	if (in_range(m, rk))
		append_row(m, &row);
}

static void append_replies(Move *m)
{
	GHashTableIter it;
	gpointer value;
	guint8 k[STORE_KEY_MAX];

	g_hash_table_iter_init(&it, m->sl->clients);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Client *c = value;
		for (GList *l = c->order.head; l; l = l->next) {
			Stored *s = l->data;
			gsize n;
			const guint8 *p = g_bytes_get_data(s->reply, &n);
			memory_row(m, TAB_REPLY, k, key_ino_u64(k, c->id, s->xid), &s->rk, p, n);
		}
	}
}

/* All of them: they are of no slice. What an expired client asked of this one must not be executed at its heir, nor what a client has long seen answered. */
static void append_clients(Move *m)
{
	GHashTableIter it;
	gpointer value;
	guint8 k[STORE_KEY_MAX], val[CLIENT_ROW_BYTES];

	g_hash_table_iter_init(&it, m->sl->clients);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Client *c = value;
		StoreRow row = { .table = TAB_CLIENT, .key = k, .klen = key_ino(k, c->id), .val = val, .vlen = client_row_encode(val, c->gone, c->watermark) };
		if (c->gone || c->watermark)
			append_row(m, &row);
	}
}

/* What this volcano keeps in memory and an heir needs, as rows. */
static void append_memory(Move *m)
{
	Slice *sl = m->sl;
	GHashTableIter it;
	gpointer key, value;
	guint8 k[STORE_KEY_MAX];
	g_autoptr(GByteArray) val = g_byte_array_new();

	append_replies(m);
	append_clients(m);
	g_hash_table_iter_init(&it, sl->marks);
	while (g_hash_table_iter_next(&it, &key, NULL)) {
		MarkRow *r = &((Mark *)key)->row;
		g_byte_array_set_size(val, 0);
		mark_row_encode(r, val);
		memory_row(m, TAB_MARK, k, key_mark(k, r->op_hi, r->op_lo, r->target.ino, r->kind), &r->target.key, val->data, val->len);
	}
	g_hash_table_iter_init(&it, sl->commits);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Commit *c = value;
		g_byte_array_set_size(val, 0);
		commit_row_encode((CommitPart *)c->parts->data, c->parts->len, (MagmaFid *)c->named->data, c->named->len, val);
		memory_row(m, TAB_COMMIT, k, key_ino_u64(k, c->op[0], c->op[1]), &c->coord.key, val->data, val->len);
	}
	g_hash_table_iter_init(&it, sl->orphans);
	while (g_hash_table_iter_next(&it, NULL, &value))
		memory_row(m, TAB_ORPHAN, k, key_ino(k, ((MagmaFid *)value)->ino), &((MagmaFid *)value)->key, (const guint8 *)"", 0);
	g_hash_table_iter_init(&it, sl->dirty);
	while (g_hash_table_iter_next(&it, NULL, &value))
		memory_row(m, TAB_DIRTY, k, key_ino(k, ((Dirty *)value)->fid.ino), &((Dirty *)value)->fid.key, (const guint8 *)"", 0);
}

static void gather_opens(Move *m)
{
	GHashTableIter it, clients;
	gpointer key, value;

	g_hash_table_iter_init(&it, m->sl->opens);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		OpenSet *o = value;
		if (!in_range(m, &o->fid.key))
			continue;
		g_hash_table_iter_init(&clients, o->clients);
		while (g_hash_table_iter_next(&clients, &key, NULL)) {
			magma_put_u64(m->opens, *(guint64 *)key);
			magma_put_fid(m->opens, &o->fid);
		}
	}
}

/* FALSE: all are there. */
static gboolean send_opens(Move *m)
{
	gsize n = MIN(m->opens->len, STREAM_PIECE / OPEN_BYTES * OPEN_BYTES);

	if (m->sending || !n)
		return m->sending;
	struct magma_req_move_opens q = { .move = m->what.id, .sequence = ++m->sequence, .opens = MAGMA_BYTES(m->opens->data, n) };
	send_piece(m, MAGMA_OP_move_opens, &q, NULL, patience(m));
	g_byte_array_remove_range(m->opens, 0, n);
	return TRUE;
}

static void send_ready(Move *m)
{
	struct magma_req_move_ready q = { .move = m->what.id, .sequence = ++m->sequence };

	send_piece(m, MAGMA_OP_move_ready, &q, NULL, 20 * SECOND);
}

/* --- anew --- */

static void made_anew(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	guint64 generation = m->generation;
	m->call = NULL;
	if (!error)
		members_learn(sl->v, rep->rep_move_anew.map.data, rep->rep_move_anew.map.len);
	/* a map of our line of history has ended m */
	if (sl->move && sl->move->generation == generation)
		start_over(sl->move, error ? magma_strerror(error) : "it has no other id yet");
	core_leave(sl->v);
}

static void ask_anew(Move *m)
{
	struct magma_req_move_anew q = { .move = m->what.id };

	m->ticket = ticket(m);
	m->call = call_leader(m->sl->v, m->sl, MAGMA_OP_move_anew, &q, 0, made_anew, m->ticket);
}

/* --- commit --- */

static void committed(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);

	core_enter(sl->v);
	if (m && !error) {
		m->call = NULL;
		members_learn(sl->v, rep->rep_move_commit.map.data, rep->rep_move_commit.map.len);
		move_map_changed(sl);
	} else if (m) {
		start_over(m, magma_strerror(error));     /* the coordinator said no, so the range is still ours */
	}
	core_leave(sl->v);
}

static void send_commit(Move *m)
{
	struct magma_req_move_commit q = { .move = m->what.id };

	/* No limit: from here on only the coordinator knows whose the range is, and it stays frozen until it says so. */
	m->ticket = ticket(m);
	m->call = call_leader(m->sl->v, m->sl, MAGMA_OP_move_commit, &q, 0, committed, m->ticket);
}

/* What stays here is on disk before the rest is the target's: both were changed in one transaction, without marks that could tell after a power cut what is missing. */
static void source_synced(void *user, int error)
{
	Slice *sl = ((Ticket *)user)->sl;
	Move *m = redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	if (error) {
		start_over(m, g_strerror(error));
	} else {
		m->phase = READY;
		send_ready(m);
	}
	core_leave(sl->v);
}

/* --- the whole --- */

static void advance(Move *m)
{
	switch (m->phase) {
	case ANEW:
		if (!m->call)
			ask_anew(m);
		return;
	case COPY_ROWS:
		if (send_rows(m) || read_rows(m))
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
			if (copy_contents(m))
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
		if (copy_contents(m))
			return;
		append_memory(m);
		m->phase = LAST_MEMORY;
		/* fall through */
	case LAST_MEMORY:
		if (send_rows(m))
			return;
		gather_opens(m);
		m->phase = LAST_OPENS;
		/* fall through */
	case LAST_OPENS:
		if (send_opens(m))
			return;
		m->phase = LAST_SYNC;
		store_sync(m->sl->store, source_synced, ticket(m));
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
	advance(m);
}

static void start_over(Move *m, const char *why)
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
		start_over(m, "operations did not end");
	} else if (m->phase == WAITING && core_now(sl->v) >= m->again_at) {
		begin(m);
	} else if (m->phase == DRAIN) {
		advance(m);
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
