/* Clients as one volcano sees them: what they were answered (exactly once), what they have open, when they were heard. */
#include "magmad/core/core.h"

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
	g_free(c);
}

Client *client_get(Volcano *v, guint64 id)
{
	Client *c = g_hash_table_lookup(v->clients, &id);

	if (c)
		return c;
	c = g_new0(Client, 1);
	c->id = id;
	c->heard = core_now(v);
	c->running = g_hash_table_new(g_int64_hash, g_int64_equal);
	c->replies = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, stored_free);
	c->opens = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	g_queue_init(&c->order);
	g_hash_table_insert(v->clients, &c->id, c);
	return c;
}

void client_heard(Volcano *v, Client *c, const MagmaHdr *h)
{
	c->heard = core_now(v);
	if (h->watermark > c->watermark)
		c->watermark = h->watermark;
}

static gsize reply_key(guint8 *k, guint64 client, guint64 xid)
{
	return key_ino_u64(k, client, xid);
}

/* Drops what the client has already seen; the deletes ride on a transaction that is written anyway. */
void client_prune(Volcano *v, Client *c, Txn *t)
{
	guint8 k[STORE_KEY_MAX];
	Stored *s;

	while ((s = g_queue_peek_head(&c->order)) && s->xid < c->watermark) {
		g_queue_pop_head(&c->order);
		txn_del(t, TAB_REPLY, k, reply_key(k, c->id, s->xid), &s->rk);
		g_hash_table_remove(c->replies, &s->xid);
	}
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

void client_store_reply(Volcano *v, Client *c, guint64 xid, const MagmaKey *rk, GBytes *reply, Txn *t)
{
	guint8 k[STORE_KEY_MAX];
	gsize n;
	const guint8 *p = g_bytes_get_data(reply, &n);

	client_prune(v, c, t);
	txn_put(t, TAB_REPLY, k, reply_key(k, c->id, xid), rk, p, n);
	remember(c, xid, G_MAXUINT64, rk, reply);
}

void client_reply_committed(Client *c, guint64 xid, guint64 index)
{
	Stored *s = g_hash_table_lookup(c->replies, &xid);

	if (s)
		s->index = index;
}

void client_load_reply(Volcano *v, const StoreRow *row)
{
	if (row->klen != 16)
		return;
	guint64 id = magma_be64_load(row->key), xid = magma_be64_load(row->key + 8);
	Client *c = client_get(v, id);
	if (g_hash_table_contains(c->replies, &xid))
		return;
	g_autoptr(GBytes) reply = g_bytes_new(row->val, row->vlen);
	remember(c, xid, 0, &row->rk, reply);
}

void client_forget_range(Volcano *v, const MagmaRange *r)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->opens);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (magma_range_has(r, &((OpenSet *)value)->fid.key))
			g_hash_table_iter_remove(&it);
	g_hash_table_iter_init(&it, v->clients);
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

void client_open(Volcano *v, guint64 client, const MagmaFid *fid)
{
	if (!client)
		return;
	Client *c = client_get(v, client);
	OpenSet *o = g_hash_table_lookup(v->opens, &fid->ino);

	if (c->gone)
		return;
	if (!o) {
		o = g_new0(OpenSet, 1);
		o->fid = *fid;
		o->clients = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
		g_hash_table_insert(v->opens, &o->fid.ino, o);
	}
	g_hash_table_add(o->clients, g_memdup2(&client, sizeof client));
	g_hash_table_add(c->opens, g_memdup2(&fid->ino, sizeof fid->ino));
}

static void open_drop(Volcano *v, guint64 client, guint64 ino)
{
	OpenSet *o = g_hash_table_lookup(v->opens, &ino);

	if (!o)
		return;
	g_hash_table_remove(o->clients, &client);
	if (g_hash_table_size(o->clients))
		return;
	g_hash_table_steal(v->opens, &ino);
	open_set_free(o);
}

void client_close(Volcano *v, guint64 client, guint64 ino)
{
	Client *c = g_hash_table_lookup(v->clients, &client);

	if (c)
		g_hash_table_remove(c->opens, &ino);
	open_drop(v, client, ino);
}

void client_close_all(Volcano *v, guint64 ino)
{
	OpenSet *o = g_hash_table_lookup(v->opens, &ino);
	GHashTableIter it;
	gpointer key;

	if (!o)
		return;
	g_hash_table_iter_init(&it, o->clients);
	while (g_hash_table_iter_next(&it, &key, NULL)) {
		Client *c = g_hash_table_lookup(v->clients, key);
		if (c)
			g_hash_table_remove(c->opens, &ino);
	}
	g_hash_table_remove(v->opens, &ino);
}

gboolean client_is_open(Volcano *v, guint64 ino)
{
	return g_hash_table_contains(v->opens, &ino);
}

/* It left, or was silent too long. A tombstone answers whatever of it still comes (rule 12): never a second execution. */
void client_gone(Volcano *v, Client *c, gint64 expired)
{
	Txn *t = txn_new();
	guint8 k[STORE_KEY_MAX];
	GHashTableIter it;
	gpointer key;
	Stored *s;

	MAGMA_TRACE(v->trace, 'v', "client %016" G_GINT64_MODIFIER "x %s", c->id, expired ? "expired" : "left");
	while ((s = g_queue_pop_head(&c->order))) {
		txn_del(t, TAB_REPLY, k, reply_key(k, c->id, s->xid), &s->rk);
		g_hash_table_remove(c->replies, &s->xid);
	}
	g_autoptr(GHashTable) opens = g_steal_pointer(&c->opens);
	c->opens = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	g_hash_table_iter_init(&it, opens);
	while (g_hash_table_iter_next(&it, &key, NULL))
		open_drop(v, c->id, *(guint64 *)key);
	if (expired) {
		guint8 at[8];
		magma_be64_store(at, expired);
		txn_put(t, TAB_CLIENT, k, key_ino(k, c->id), NULL, at, sizeof at);
		c->gone = expired;
	}
	core_commit(v, t);
}

void client_load_tombstone(Volcano *v, const StoreRow *row)
{
	if (row->klen == 8)
		client_get(v, magma_be64_load(row->key))->gone = row->vlen == 8 ? MAX(1, (gint64)magma_be64_load(row->val)) : 1;
}

void client_inherit_tombstone(Volcano *v, guint64 client, gint64 expired)
{
	Client *c = client_get(v, client);

	if (c->gone < expired)
		client_gone(v, c, expired);
}

enum { TOMBSTONE_LIFE = 3600, TICK_CLIENTS_MAX = 256 };   /* a client gives a request up after 60 s; an hour is far beyond; a turn stays short */

/* This process did not run for a while (SIGSTOP, suspend, a disk that hangs): what clients sent meanwhile is still to be read, and their time did not pass here. */
static void forgive_gap(Volcano *v, MagmaTime gap)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->clients);
	while (g_hash_table_iter_next(&it, NULL, &value))
		((Client *)value)->heard += gap;
	v->started += gap;            /* the grace for opens likewise */
}

/* Clients come with a slice that is arriving here; they do not know of this volcano before the map says so, and nobody is heard before it serves. */
static gboolean nobody_can_be_heard(Volcano *v)
{
	const MagmaVolcano *self = magma_map_by_id(v->map, v->id);

	return !v->serving || !self || self->state != MAGMA_ACTIVE || v->map->move.to == v->id;
}

void client_tick(Volcano *v)
{
	MagmaTime now = core_now(v);
	MagmaTime gap = v->ticked ? now - v->ticked : 0;

	v->ticked = now;
	if (gap > 3 * SECOND || nobody_can_be_heard(v))
		forgive_gap(v, gap);
	g_autoptr(GPtrArray) over = g_ptr_array_new();
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->clients);
	while (g_hash_table_iter_next(&it, NULL, &value) && over->len < TICK_CLIENTS_MAX) {
		Client *c = value;
		MagmaTime limit = c->gone ? TOMBSTONE_LIFE * SECOND : CLIENT_EXPIRY;
		if (now - c->heard > limit && !g_hash_table_size(c->running))
			g_ptr_array_add(over, c);
	}
	for (guint i = 0; i < over->len; i++) {
		Client *c = over->pdata[i];
		if (!c->gone && (g_hash_table_size(c->opens) || g_hash_table_size(c->replies))) {
			client_gone(v, c, v->io->real(v->iou).sec);
			continue;
		}
		if (c->gone) {
			guint8 k[STORE_KEY_MAX];
			Txn *t = txn_new();
			txn_del(t, TAB_CLIENT, k, key_ino(k, c->id), NULL);
			core_commit(v, t);
		}
		g_hash_table_remove(v->clients, &c->id);
	}
}

void handle_goodbye(Op *op)
{
	if (op->client) {
		client_gone(op->v, op->client, 0);
		op->client->watermark = op->hdr.xid;
	}
	op_finish(op, 0);
}

