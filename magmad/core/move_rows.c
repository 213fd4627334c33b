/* The source of a move: its rows, in pieces as the store gives them, and what is kept in memory, as rows and opens. */
#include "magmad/core/move_out.h"

enum { CHUNK_FLARES = 64, PAGE_ROWS = 512, OPEN_BYTES = 8 + MAGMA_KEY_LEN + 8 };

/* --- rows --- */

static void unit_end(Move *m)
{
	m->unit = FALSE;
	g_byte_array_append(m->out, m->held->data, m->held->len);
	g_byte_array_set_size(m->held, 0);
}

void move_append_row(Move *m, const StoreRow *row)
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
			move_append_row(m, &row);
	}
	op_drop(op);
	if (m) {
		m->gather = NULL;
		unit_end(m);
		move_advance(m);
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
	Move *m = move_redeem(user);
	FlareRow row;

	if (!m)
		return;
	core_enter(sl->v);
	Gather *g = g_new0(Gather, 1);
	g->generation = m->generation;
	g->inline_fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	for (guint i = 0; i < n; i++) {
		move_append_row(m, &rows[i]);
		m->at_key = rows[i].rk;
		m->at_ino = magma_be64_load(rows[i].key);
		if (!flare_row_decode(rows[i].val, rows[i].vlen, &row)) {      /* what belongs to it would be left behind, and then be removed */
			error = EIO;
			break;
		}
		if (is_dir(row.attr.mode)) {
			add_page(m, TAB_ENTRY, &row.attr.fid);
			add_page(m, TAB_COOKIE, &row.attr.fid);
		}
		if (row.attr.flags & MAGMA_ATTR_HAS_XATTR)
			add_page(m, TAB_XATTR, &row.attr.fid);
		if (row.content == CONTENT_FILE)
			move_queue_file(m, &row.attr.fid);
		else if (S_ISREG(row.attr.mode) && row.attr.size)
			g_array_append_val(g->inline_fids, row.attr.fid);
	}
	m->rows_done = eof || !n;
	if (error) {
		gather_free(g);
		move_start_over(m, g_strerror(error));
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
	Move *m = move_redeem(user);

	if (!m)
		return;
	core_enter(sl->v);
	for (guint i = 0; i < n; i++)
		move_append_row(m, &rows[i]);
	if (eof || !n) {
		g_free(g_queue_pop_head(&m->pages));
		m->page_fromlen = 0;
	} else {
		m->page_fromlen = rows[n - 1].klen;
		memcpy(m->page_from, rows[n - 1].key, m->page_fromlen);
	}
	unit_end(m);
	if (error)
		move_start_over(m, g_strerror(error));
	else
		move_advance(m);
	core_leave(sl->v);
}

/* Starts to read the next piece of rows. FALSE: there are none. */
gboolean move_read_rows(Move *m)
{
	Page *p = g_queue_peek_head(&m->pages);
	guint8 prefix[8];

	if (m->unit)
		return TRUE;
	if (p) {
		m->unit = TRUE;
		key_ino(prefix, p->fid.ino);
		store_scan(m->sl->store, p->table, m->page_from, m->page_fromlen, prefix, sizeof prefix, PAGE_ROWS, page_read, move_ticket(m));
		return TRUE;
	}
	if (m->rows_done)
		return FALSE;
	m->unit = TRUE;
	store_scan_range(m->sl->store, &m->at_key, &m->what.range.hi, m->at_ino, CHUNK_FLARES, chunk_read, move_ticket(m));
	return TRUE;
}

/* --- what is in memory --- */

static void memory_row(Move *m, StoreTable table, const guint8 *k, gsize kl, const MagmaKey *rk, const guint8 *val, gsize n)
{
	StoreRow row = { .table = table, .key = k, .klen = kl, .rk = *rk, .val = val, .vlen = n };

	if (move_has(m, rk))
		move_append_row(m, &row);
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
			move_append_row(m, &row);
	}
}

/* What this volcano keeps in memory and an heir needs, as rows. */
void move_append_memory(Move *m)
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
		memory_row(m, TAB_ORPHAN, k, key_ino(k, ((Orphan *)value)->fid.ino), &((Orphan *)value)->fid.key, (const guint8 *)"", 0);
	g_hash_table_iter_init(&it, sl->dirty);
	while (g_hash_table_iter_next(&it, NULL, &value))
		memory_row(m, TAB_DIRTY, k, key_ino(k, ((Dirty *)value)->fid.ino), &((Dirty *)value)->fid.key, (const guint8 *)"", 0);
}

void move_gather_opens(Move *m)
{
	GHashTableIter it, clients;
	gpointer key, value;

	g_hash_table_iter_init(&it, m->sl->opens);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		OpenSet *o = value;
		if (!move_has(m, &o->fid.key))
			continue;
		g_hash_table_iter_init(&clients, o->clients);
		while (g_hash_table_iter_next(&clients, &key, NULL)) {
			magma_put_u64(m->opens, *(guint64 *)key);
			magma_put_fid(m->opens, &o->fid);
		}
	}
}

/* FALSE: all are there. */
gboolean move_send_opens(Move *m)
{
	gsize n = MIN(m->opens->len, STREAM_PIECE / OPEN_BYTES * OPEN_BYTES);

	if (m->sending || !n)
		return m->sending;
	struct magma_req_move_opens q = { .move = m->what.id, .sequence = ++m->sequence, .opens = MAGMA_BYTES(m->opens->data, n) };
	move_send(m, MAGMA_OP_move_opens, &q, NULL, move_patience(m));
	g_byte_array_remove_range(m->opens, 0, n);
	return TRUE;
}
