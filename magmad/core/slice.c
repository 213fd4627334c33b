/* A slice of the keyspace as this volcano answers for it: construction, what is kept in memory of its rows, its place. */
#include "magmad/core/core.h"

enum { LOAD_SCAN_ROWS = 1024 };

const MagmaRange *slice_range(const Slice *sl)
{
	const MagmaSlice *s = sl->v->map ? magma_map_slice_by_id(sl->v->map, sl->id) : NULL;

	return s ? &s->range : NULL;
}

Place core_place(Slice *sl, const MagmaKey *k)
{
	const MagmaSlice *s = sl->v->map ? magma_map_slice(sl->v->map, k) : NULL;

	if (!s || s->id != sl->id || s->owner != sl->v->id)
		return ELSEWHERE;
	return move_frozen(sl, k) ? FROZEN : HERE;
}

guint64 core_commit(Slice *sl, Txn *t)
{
	move_follow(sl, t);
	return sl->last_index = store_commit(sl->store, t);
}

static void on_acked(void *user, guint64 index) { op_acked(user, index); }

static void on_failed(void *user, const char *text)
{
	core_fail(((Slice *)user)->v, text);
}

static void open_set_free(gpointer p)
{
	OpenSet *o = p;

	g_hash_table_unref(o->clients);
	g_free(o);
}

Slice *slice_new(Volcano *v, guint16 id, Store *store)
{
	Slice *sl = g_new0(Slice, 1);

	sl->v = v;
	sl->id = id;
	sl->store = store;
	sl->trace = v->trace;
	sl->started = sl->ticked = core_now(v);
	sl->since = v->map ? v->map->epoch : 0;
	sl->move_before = v->map ? v->map->move.id : 0;
	g_queue_init(&sl->held);
	g_queue_init(&sl->words);
	g_queue_init(&sl->ack_wait.waiters);
	sl->ctxs = g_hash_table_new(NULL, NULL);
	sl->all_ops = g_hash_table_new(NULL, NULL);
	sl->clients = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, client_free);
	sl->opens = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, open_set_free);
	sl->names = g_hash_table_new(name_key_hash, name_key_equal);
	sl->marks = g_hash_table_new_full(mark_hash, mark_equal, mark_free, NULL);
	sl->marks_by_ino = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
	sl->marks_by_name = g_hash_table_new(name_key_hash, name_key_equal);
	for (guint i = 0; i < G_N_ELEMENTS(sl->settled); i++)
		sl->settled[i] = g_hash_table_new_full(settled_hash, settled_equal, g_free, NULL);
	sl->settled_since = sl->started;
	sl->attempts = g_hash_table_new(core_pair_hash, core_pair_equal);
	sl->commits = g_hash_table_new_full(core_pair_hash, core_pair_equal, NULL, commit_free);
	sl->promised = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	sl->orphans = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	sl->dirty = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, gc_dirty_free);
	sl->busy = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, content_busy_free);
	scrub_init(sl);
	content_promised_all(sl);
	store->user = sl;
	store->on_acked = on_acked;
	store->on_failed = on_failed;
	g_ptr_array_add(v->slices, sl);
	return sl;
}

void slice_free(Slice *sl)
{
	g_ptr_array_remove(sl->v->slices, sl);
	move_clear(sl);
	op_clear_slice(sl);
	coord_clear(sl);
	call_clear_slice(sl);
	g_hash_table_unref(sl->all_ops);
	core_ctx_clear(sl->ctxs);
	clients_hand_down(sl);
	g_hash_table_unref(sl->clients);
	g_hash_table_unref(sl->opens);
	g_hash_table_unref(sl->names);
	g_hash_table_unref(sl->marks_by_name);
	g_hash_table_unref(sl->marks_by_ino);
	g_hash_table_unref(sl->marks);
	g_hash_table_unref(sl->attempts);
	for (guint i = 0; i < G_N_ELEMENTS(sl->settled); i++)
		g_hash_table_unref(sl->settled[i]);
	g_hash_table_unref(sl->commits);
	g_hash_table_unref(sl->promised);
	g_hash_table_unref(sl->orphans);
	g_hash_table_unref(sl->dirty);
	g_hash_table_unref(sl->busy);
	scrub_clear(sl);
	sl->store->on_acked = NULL;
	sl->store->on_failed = NULL;
	g_free(sl);
}

/* --- loading what is kept in memory --- */

static const StoreTable loaded[] = { TAB_META, TAB_MARK, TAB_COMMIT, TAB_ORPHAN, TAB_DIRTY, TAB_REPLY, TAB_CLIENT };

static void load_meta(Slice *sl, const StoreRow *row)
{
	g_autofree char *name = g_strndup((const char *)row->key, row->klen);

	if (strcmp(name, "ino_limit") == 0 && row->vlen == 8)
		sl->next_ino = sl->ino_limit = magma_be64_load(row->val);
	else if (strcmp(name, "running") == 0)
		sl->unclean = TRUE;
	else if (g_str_has_prefix(name, SCRUB_PREFIX))
		scrub_load(sl, row);
}

static void load_dirty(Slice *sl, const StoreRow *row)
{
	guint64 ino = magma_be64_load(row->key);

	if (g_hash_table_contains(sl->dirty, &ino))
		return;
	Dirty *d = gc_dirty(sl, &(MagmaFid){ row->rk, ino });
	d->truncate_to = row->vlen >= 8 ? magma_be64_load(row->val) : G_MAXUINT64;
	d->inline_kept = TRUE;
}

static void load_row(Slice *sl, const StoreRow *row)
{
	switch (row->table) {
	case TAB_META:
		load_meta(sl, row);
		break;
	case TAB_MARK:
		mark_load(sl, row);
		break;
	case TAB_COMMIT:
		commit_load(sl, row);
		break;
	case TAB_ORPHAN:
		if (row->klen == 8) {
			MagmaFid fid = { row->rk, magma_be64_load(row->key) };
			gc_orphan(sl, &fid, 0);
		}
		break;
	case TAB_DIRTY:
		if (row->klen == 8)
			load_dirty(sl, row);
		break;
	case TAB_REPLY:
		client_load_reply(sl, row);
		break;
	case TAB_CLIENT:
		client_load_row(sl, row);
		break;
	default:
		break;
	}
}

typedef struct {
	Slice *sl;
	guint table;
	guint8 from[STORE_KEY_MAX];
	gsize fromlen;
	gboolean ranged;
	MagmaRange only;
	void (*done)(Slice *sl, void *user, int error);
	void *user;
} Loading;

static void load_more(Loading *l);

static void load_rows(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Loading *l = user;
	Slice *sl = l->sl;

	core_enter(sl->v);
	for (guint i = 0; i < n; i++)
		if (!l->ranged || (rows[i].table != TAB_META && rows[i].table != TAB_CLIENT && magma_range_has(&l->only, &rows[i].rk)))
			load_row(sl, &rows[i]);
	if (error) {
		l->done(sl, l->user, error);
		core_ctx_free(sl, l);
	} else {
		if (eof || !n) {
			l->table++;
			l->fromlen = 0;
		} else {
			l->fromlen = rows[n - 1].klen;
			memcpy(l->from, rows[n - 1].key, l->fromlen);
		}
		load_more(l);
	}
	core_leave(sl->v);
}

static void load_more(Loading *l)
{
	if (l->table == G_N_ELEMENTS(loaded)) {
		void (*done)(Slice *, void *, int) = l->done;
		Slice *sl = l->sl;
		void *user = l->user;
		core_ctx_free(sl, l);
		done(sl, user, 0);
		return;
	}
	store_scan(l->sl->store, loaded[l->table], l->from, l->fromlen, NULL, 0, LOAD_SCAN_ROWS, load_rows, l);
}

void slice_load(Slice *sl, const MagmaRange *only, void (*done)(Slice *sl, void *user, int error), void *user)
{
	Loading *l = CORE_CTX(sl, Loading, NULL);

	*l = (Loading){ .sl = sl, .ranged = only != NULL, .done = done, .user = user };
	if (only)
		l->only = *only;
	load_more(l);
}

/* --- beginning and end --- */

static void put_meta_u64(Txn *t, const char *name, guint64 value)
{
	guint8 val[8];

	magma_be64_store(val, value);
	txn_put(t, TAB_META, name, strlen(name), NULL, val, sizeof val);
}

static void put_root(Slice *sl, Txn *t)
{
	FlareRow row = { .parent = magma_fid_root(), .next_cookie = 1 };
	guint8 k[STORE_KEY_MAX];
	g_autoptr(GByteArray) val = g_byte_array_new();

	row.attr.fid = magma_fid_root();
	row.attr.mode = S_IFDIR | 0755;
	row.attr.nlink = 2;
	row.attr.atime = row.attr.mtime = row.attr.ctime = row.attr.btime = sl->v->io->real(sl->v->iou);
	flare_row_encode(&row, val);
	txn_put(t, TAB_FLARE, k, key_ino(k, MAGMA_ROOT_INO), &row.attr.fid.key, val->data, val->len);
}

static void serves(Slice *sl)
{
	sl->serving = TRUE;
	members_slice_serves(sl);
}

static void loaded_all(Slice *sl, void *user, int error)
{
	Txn *t;

	if (error) {
		g_autofree char *text = g_strdup_printf("the rows of slice %u cannot be read: %s", sl->id, g_strerror(error));
		sl->v->stopping = TRUE;
		sl->v->io->stop(sl->v->iou, text);
		return;
	}
	t = txn_new();
	put_meta_u64(t, "running", sl->v->boot);
	sl->first_index = core_commit(sl, t);
	if (sl->unclean)
		scrub_contents_begin(sl);
	purge_elsewhere(sl);
	gc_recover(sl, serves);
}

void slice_begin(Slice *sl, gboolean fresh)
{
	Txn *t;

	if (!fresh) {
		slice_load(sl, NULL, loaded_all, NULL);
		return;
	}
	t = txn_new();
	sl->next_ino = sl->ino_limit = FIRST_INO;
	put_meta_u64(t, "ino_limit", sl->ino_limit);
	put_meta_u64(t, "running", sl->v->boot);
	if (sl->v->begins_network)
		put_root(sl, t);
	sl->unclean = TRUE;
	scrub_contents_begin(sl);      /* a first try may have lost its rows to a power cut, and not its files */
	core_commit(sl, t);
	serves(sl);
}

/* Whoever waits for an answer of this slice asks again, by the map that is on its way. What was done is in the log, with its reply: nothing happens twice. */
static void tell_again(Volcano *v, Peer *peer, const MagmaHdr *h)
{
	MagmaHdr r = { .kind = MAGMA_REPLY, .op = h->op, .xid = h->xid, .client = h->client, .epoch = v->map->epoch, .error = MAGMA_ETRYAGAIN };
	GByteArray *out = g_byte_array_new();

	if (h->client && h->epoch < v->map->epoch)
		r.flags |= MAGMA_FLAG_REFRESH_TOPOLOGY;
	magma_msg_encode(&r, NULL, FALSE, out);
	g_autoptr(GBytes) msg = g_byte_array_free_to_bytes(out);
	if (peer && peer->session)
		v->io->send(v->iou, peer->session, msg, NULL);
}

static gint by_number(gconstpointer a, gconstpointer b)
{
	const Op *x = *(Op *const *)a, *y = *(Op *const *)b;

	return x->number < y->number ? -1 : x->number > y->number;
}

void slice_dismiss(Slice *sl)
{
	g_autoptr(GPtrArray) ops = g_ptr_array_new();
	GHashTableIter it;
	gpointer p;

	g_hash_table_iter_init(&it, sl->all_ops);
	while (g_hash_table_iter_next(&it, &p, NULL))
		g_ptr_array_add(ops, p);
	g_ptr_array_sort(ops, by_number);
	for (guint i = 0; i < ops->len; i++) {
		Op *op = ops->pdata[i];
		if (op->peer && !op->done)
			tell_again(sl->v, op->peer, &op->hdr);
	}
	for (GList *l = sl->held.head; l; l = l->next) {
		Held *h = l->data;
		MagmaHdr hdr;
		gsize n, at;
		const guint8 *head = g_bytes_get_data(h->head, &n);
		if (h->peer && magma_msg_peek(head, n, &hdr, &at) == 0)
			tell_again(sl->v, h->peer, &hdr);
	}
	slice_free(sl);
}

void slice_tick(Slice *sl)
{
	if (sl->serving) {
		coord_tick(sl);
		mark_tick(sl);
		gc_tick(sl);
		scrub_tick(sl);
		scrub_contents_tick(sl);
		client_tick(sl);
		move_tick(sl);
	}
	sl->v->quick |= g_hash_table_size(sl->commits) || g_hash_table_size(sl->marks) || sl->move || scrub_contents_left(sl);
}
