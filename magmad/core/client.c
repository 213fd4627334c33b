/* Clients as one volcano sees them: what they were answered (exactly once), what they have open, when they were heard. */
#include "magmad/core/consensus.h"

static void stored_free(gpointer p)
{
	Stored *s = p;

	g_bytes_unref(s->reply);
	g_slice_free(Stored, s);
}

void client_free(gpointer p)
{
	Client *c = p;

	g_queue_clear(&c->order);
	g_hash_table_unref(c->replies);
	g_hash_table_unref(c->running);
	g_hash_table_unref(c->opens);
	g_hash_table_unref(c->touched);
	g_hash_table_unref(c->refusals);
	g_free(c);
}

Client *client_get(Slice *sl, guint64 id)
{
	Client *c = g_hash_table_lookup(sl->clients, &id);

	if (c)
		return c;
	c = g_new0(Client, 1);
	c->id = id;
	c->heard = core_now(sl->v);
	c->running = g_hash_table_new(g_int64_hash, g_int64_equal);
	c->replies = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, stored_free);
	c->opens = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	c->touched = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	c->refusals = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	g_queue_init(&c->order);
	g_hash_table_insert(sl->clients, &c->id, c);
	return c;
}

static gboolean is_settled(gpointer touch, gpointer same, gpointer watermark) { return ((Touch *)touch)->xid < *(guint64 *)watermark; }

static gboolean is_seen(gpointer xid, gpointer error, gpointer watermark) { return *(guint64 *)xid < *(guint64 *)watermark; }

void client_heard(Slice *sl, Client *c, const MagmaHdr *h)
{
	c->heard = core_now(sl->v);
	if (h->watermark <= c->watermark)
		return;
	c->watermark = h->watermark;
	if (g_hash_table_size(c->touched))
		g_hash_table_foreach_remove(c->touched, is_settled, &c->watermark);
	if (g_hash_table_size(c->refusals))
		g_hash_table_foreach_remove(c->refusals, is_seen, &c->watermark);
}

void client_refused(Client *c, guint64 xid, int error)
{
	/* the others say that it should ask again */
	if (error < MAGMA_EAUTH && xid >= c->watermark)
		g_hash_table_insert(c->refusals, g_memdup2(&xid, sizeof xid), GINT_TO_POINTER(error));
}

int client_refusal(Client *c, guint64 xid) { return GPOINTER_TO_INT(g_hash_table_lookup(c->refusals, &xid)); }

void client_never_told(Slice *sl, guint64 client, guint64 xid)
{
	Client *c = g_hash_table_lookup(sl->clients, &client);

	if (c)
		g_hash_table_remove(c->refusals, &xid);
}

void clients_hand_down(Slice *sl)
{
	GHashTableIter it, each;
	gpointer c, xid, error;

	g_hash_table_iter_init(&it, sl->clients);
	while (g_hash_table_iter_next(&it, NULL, &c)) {
		g_hash_table_iter_init(&each, ((Client *)c)->refusals);
		while (g_hash_table_iter_next(&each, &xid, &error))
			call_note_refusal(sl->v, ((Client *)c)->id, *(guint64 *)xid, GPOINTER_TO_INT(error));
		if (((Client *)c)->watermark)
			call_note_watermark(sl->v, ((Client *)c)->id, ((Client *)c)->watermark);
	}
}

static gsize reply_key(guint8 *k, guint64 client, guint64 xid)
{
	return key_ino_u64(k, client, xid);
}

static void put_client(Txn *t, const Client *c)
{
	guint8 k[STORE_KEY_MAX], val[CLIENT_ROW_BYTES];

	txn_put(t, TAB_CLIENT, k, key_ino(k, c->id), NULL, val, client_row_encode(val, c->gone, c->floor));
}

enum { PRUNE_AT = 16 };               /* stored replies: so many go at a time, with one record of the floor below which they went */

/* Drops what the client has already seen; the deletes ride on a transaction that is written anyway. With them goes the watermark they were dropped by: whoever has the rows next, after a restart, on a copy,
 * or because the slice moved, must not take a late repeat for a first request (rule 12). */
static void client_prune(Client *c, Txn *t, guint at)
{
	guint8 k[STORE_KEY_MAX];
	Stored *s;

	if (g_queue_get_length(&c->order) < at || !(s = g_queue_peek_head(&c->order)) || s->xid >= c->watermark)
		return;
	while ((s = g_queue_peek_head(&c->order)) && s->xid < c->watermark) {
		g_queue_pop_head(&c->order);
		txn_del(t, TAB_REPLY, k, reply_key(k, c->id, s->xid), &s->rk);
		g_hash_table_remove(c->replies, &s->xid);
	}
	c->floor = c->watermark;
	put_client(t, c);
}

void client_prune_now(Slice *sl, guint64 client)
{
	Client *c = g_hash_table_lookup(sl->clients, &client);
	Txn *t;

	if (!c || !sl->serving)
		return;
	t = txn_new();
	client_prune(c, t, 0);
	core_commit(sl, t);
}

static void remember(Client *c, guint64 xid, guint64 index, const MagmaKey *rk, GBytes *reply)
{
	Stored *s = g_slice_new(Stored);

	s->xid = xid;
	s->index = index;
	s->rk = *rk;
	s->reply = g_bytes_ref(reply);
	g_hash_table_insert(c->replies, &s->xid, s);
	g_queue_push_tail(&c->order, s);
}

void client_store_reply(Slice *sl, Client *c, guint64 xid, const MagmaKey *rk, GBytes *reply, Txn *t)
{
	guint8 k[STORE_KEY_MAX];
	gsize n;
	const guint8 *p = g_bytes_get_data(reply, &n);

	client_prune(c, t, PRUNE_AT);
	txn_put(t, TAB_REPLY, k, reply_key(k, c->id, xid), rk, p, n);
	remember(c, xid, G_MAXUINT64, rk, reply);
}

void client_reply_committed(Client *c, guint64 xid, guint64 index)
{
	Stored *s = g_hash_table_lookup(c->replies, &xid);

	if (s)
		s->index = index;
}

void client_load_reply(Slice *sl, const StoreRow *row)
{
	if (row->klen != 16)
		return;
	guint64 id = magma_be64_load(row->key), xid = magma_be64_load(row->key + 8);
	Client *c = client_get(sl, id);
	if (g_hash_table_contains(c->replies, &xid))
		return;
	g_autoptr(GBytes) reply = g_bytes_new(row->val, row->vlen);
	remember(c, xid, 0, &row->rk, reply);
}

void client_forget_range(Slice *sl, const MagmaRange *r)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, sl->opens);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (magma_range_has(r, &((OpenSet *)value)->fid.key))
			g_hash_table_iter_remove(&it);
	g_hash_table_iter_init(&it, sl->clients);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Client *c = value;
		for (GList *l = c->order.head; l;) {
			GList *next = l->next;
			Stored *s = l->data;
			if (magma_range_has(r, &s->rk)) {
				g_queue_delete_link(&c->order, l);
				g_hash_table_remove(c->replies, &s->xid);
			}
			l = next;
		}
	}
}

static void open_set_free(gpointer p)
{
	OpenSet *o = p;

	g_hash_table_unref(o->clients);
	g_free(o);
}

/* Is it the newest word about that open? */
static gboolean client_touch(Client *c, guint64 ino, guint64 xid)
{
	Touch *t = xid ? g_hash_table_lookup(c->touched, &ino) : NULL;

	if (!xid)
		return TRUE;
	if (xid < c->watermark || (t && t->xid > xid))
		return FALSE;
	if (!t) {
		t = g_new(Touch, 1);
		t->ino = ino;
		g_hash_table_add(c->touched, t);
	}
	t->xid = xid;
	return TRUE;
}

void client_open(Slice *sl, guint64 client, guint64 xid, const MagmaFid *fid)
{
	if (!client)
		return;
	Client *c = client_get(sl, client);
	OpenSet *o = g_hash_table_lookup(sl->opens, &fid->ino);

	if (c->gone || !client_touch(c, fid->ino, xid))
		return;
	if (!o) {
		o = g_new0(OpenSet, 1);
		o->fid = *fid;
		o->clients = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
		g_hash_table_insert(sl->opens, &o->fid.ino, o);
	}
	g_hash_table_replace(o->clients, g_memdup2(&client, sizeof client), GINT_TO_POINTER(FALSE));
	g_hash_table_add(c->opens, g_memdup2(&fid->ino, sizeof fid->ino));
}

gboolean client_is_gone(Slice *sl, guint64 client)
{
	const Client *c = g_hash_table_lookup(sl->clients, &client);

	return c && c->gone;
}

void client_open_born(Slice *sl, guint64 client, const MagmaFid *fid)
{
	OpenSet *o;

	client_open(sl, client, 0, fid);
	if ((o = g_hash_table_lookup(sl->opens, &fid->ino)) && g_hash_table_contains(o->clients, &client))
		g_hash_table_replace(o->clients, g_memdup2(&client, sizeof client), GINT_TO_POINTER(TRUE));
}

static void open_drop(Slice *sl, guint64 client, guint64 ino)
{
	OpenSet *o = g_hash_table_lookup(sl->opens, &ino);

	if (!o)
		return;
	g_hash_table_remove(o->clients, &client);
	if (g_hash_table_size(o->clients))
		return;
	g_hash_table_steal(sl->opens, &ino);
	open_set_free(o);
}

void client_close(Slice *sl, guint64 client, guint64 xid, guint64 ino)
{
	Client *c = g_hash_table_lookup(sl->clients, &client);

	if (c && !client_touch(c, ino, xid))
		return;
	if (c)
		g_hash_table_remove(c->opens, &ino);
	open_drop(sl, client, ino);
}

static void close_some(Slice *sl, guint64 ino, gboolean born)
{
	OpenSet *o = g_hash_table_lookup(sl->opens, &ino);
	GHashTableIter it;
	gpointer key, by_birth;

	if (!o)
		return;
	g_hash_table_iter_init(&it, o->clients);
	while (g_hash_table_iter_next(&it, &key, &by_birth)) {
		Client *c = g_hash_table_lookup(sl->clients, key);
		if (born && !by_birth)
			continue;
		if (c)
			g_hash_table_remove(c->opens, &ino);
		g_hash_table_iter_remove(&it);
	}
	if (!g_hash_table_size(o->clients))
		g_hash_table_remove(sl->opens, &ino);
}

void client_close_all(Slice *sl, guint64 ino) { close_some(sl, ino, FALSE); }
void client_close_born(Slice *sl, guint64 ino) { close_some(sl, ino, TRUE); }

gboolean client_is_open(Slice *sl, guint64 ino)
{
	return g_hash_table_contains(sl->opens, &ino);
}

/* It left, or was silent too long. A tombstone answers whatever of it still comes (rule 12): never a second execution. */
void client_gone(Slice *sl, Client *c, gint64 expired)
{
	Txn *t = txn_new();
	guint8 k[STORE_KEY_MAX];
	GHashTableIter it;
	gpointer key;
	Stored *s;

	MAGMA_TRACE(sl->trace, 'v', "client %016" G_GINT64_MODIFIER "x %s", c->id, expired ? "expired" : "left");
	g_hash_table_remove_all(c->refusals);
	while ((s = g_queue_pop_head(&c->order))) {
		txn_del(t, TAB_REPLY, k, reply_key(k, c->id, s->xid), &s->rk);
		g_hash_table_remove(c->replies, &s->xid);
	}
	g_autoptr(GHashTable) opens = g_steal_pointer(&c->opens);
	c->opens = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	g_hash_table_iter_init(&it, opens);
	while (g_hash_table_iter_next(&it, &key, NULL))
		open_drop(sl, c->id, *(guint64 *)key);
	if (expired)
		c->gone = expired;
	c->floor = MAX(c->floor, c->watermark);
	if (c->gone || c->floor)
		put_client(t, c);
	core_commit(sl, t);
}

void client_load_row(Slice *sl, const StoreRow *row)
{
	guint64 floor;
	gint64 gone;

	if (row->klen != 8)
		return;
	Client *c = client_get(sl, magma_be64_load(row->key));
	if (!client_row_decode(row->val, row->vlen, &gone, &floor)) {
		c->gone = 1;
		return;
	}
	c->gone = MAX(c->gone, gone);
	c->floor = MAX(c->floor, floor);
	c->watermark = MAX(c->watermark, floor);
}

void client_inherit(Slice *sl, guint64 client, gint64 expired, guint64 floor)
{
	Client *c = client_get(sl, client);

	c->watermark = MAX(c->watermark, floor);
	if (c->gone < expired) {
		client_gone(sl, c, expired);
	} else if (c->floor < floor) {
		Txn *t = txn_new();
		c->floor = floor;
		put_client(t, c);
		core_commit(sl, t);
	}
}

enum { TOMBSTONE_LIFE = 3600, TICK_CLIENTS_MAX = 256 };   /* a client gives a request up after 60 s; an hour is far beyond; a turn stays short */

/* This process did not run for a while (SIGSTOP, suspend, a disk that hangs): what clients sent meanwhile is still to be read, and their time did not pass here. */
static void forgive_gap(Slice *sl, MagmaTime gap)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, sl->clients);
	while (g_hash_table_iter_next(&it, NULL, &value))
		((Client *)value)->heard += gap;
	sl->started += gap;            /* the grace for opens likewise */
}

/* Clients come with a slice that is arriving here; they do not know of this volcano before the map says so, and nobody is heard before it serves. One without a lease is cut off from other volcanos:
 * then those clients' words do not come through that reach it by one of them. */
static gboolean nobody_can_be_heard(Slice *sl)
{
	const MagmaMap *map = sl->v->map;
	const MagmaSlice *s = magma_map_slice_by_id(map, sl->id);

	return !sl->serving || !consensus_may_serve(sl->v) || !s || s->owner != sl->v->id || map->move.to == sl->v->id;
}

/* Its expiry takes something away. A mere watermark is kept as long as a tombstone, and a client that is silent here meanwhile may come back. */
static gboolean has_something(const Client *c) { return g_hash_table_size(c->opens) || g_hash_table_size(c->replies); }

static gboolean stood_still(MagmaTime gap) { return gap > 3 * SECOND; }

/* Between two looks, a second apart at most. Shorter stands add up: none of them is time in which clients could say what they have open. */
static MagmaTime still_for(MagmaTime gap) { return stood_still(gap) ? gap : MAX(gap - SECOND, 0); }

gboolean client_opens_are_known(const Slice *sl)
{
	MagmaTime now = core_now(sl->v), gap = now - sl->ticked;

	return now - sl->started - still_for(gap) > OPEN_GRACE;
}

void client_tick(Slice *sl)
{
	MagmaTime now = core_now(sl->v);
	MagmaTime gap = now - sl->ticked;

	sl->ticked = now;
	if (stood_still(gap) || nobody_can_be_heard(sl))
		forgive_gap(sl, gap);
	else
		sl->started += still_for(gap);
	g_autoptr(GPtrArray) over = g_ptr_array_new();
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, sl->clients);
	while (g_hash_table_iter_next(&it, NULL, &value) && over->len < TICK_CLIENTS_MAX) {
		Client *c = value;
		MagmaTime limit = c->gone || (c->floor && !has_something(c)) ? TOMBSTONE_LIFE * SECOND : CLIENT_EXPIRY;
		if (now - c->heard > limit && !g_hash_table_size(c->running))
			g_ptr_array_add(over, c);
	}
	for (guint i = 0; i < over->len; i++) {
		Client *c = over->pdata[i];
		if (!c->gone && has_something(c)) {
			client_gone(sl, c, sl->v->io->real(sl->v->iou).sec);
			continue;
		}
		if (c->gone || c->floor) {
			guint8 k[STORE_KEY_MAX];
			Txn *t = txn_new();
			txn_del(t, TAB_CLIENT, k, key_ino(k, c->id), NULL);
			core_commit(sl, t);
		}
		g_hash_table_remove(sl->clients, &c->id);
	}
}

void handle_goodbye(Op *op)
{
	Volcano *v = op->v;

	for (guint i = 0; op->hdr.client && i < v->slices->len; i++) {
		Slice *sl = v->slices->pdata[i];
		Client *c = g_hash_table_lookup(sl->clients, &op->hdr.client);
		if (!c || !sl->serving)
			continue;
		c->watermark = MAX(c->watermark, op->hdr.xid);
		client_gone(sl, c, 0);
	}
	op_finish(op, 0);
}
