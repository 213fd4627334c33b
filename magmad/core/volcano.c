/* The volcano: construction, sessions, the clock's tick, what the console asks. */
#include "magmad/core/core.h"

gpointer core_ctx_new(Volcano *v, gsize size, GDestroyNotify clear)
{
	gpointer ctx = g_malloc0(size);

	g_hash_table_insert(v->ctxs, ctx, (gpointer)clear);
	return ctx;
}

void core_ctx_free(Volcano *v, gpointer ctx)
{
	gpointer clear = NULL;

	g_hash_table_steal_extended(v->ctxs, ctx, NULL, &clear);
	if (clear)
		((GDestroyNotify)clear)(ctx);
	g_free(ctx);
}

static void ctx_clear_all(Volcano *v)
{
	GHashTableIter it;
	gpointer ctx;

	while (g_hash_table_iter_init(&it, v->ctxs), g_hash_table_iter_next(&it, &ctx, NULL))
		core_ctx_free(v, ctx);
	g_hash_table_unref(v->ctxs);
}

MagmaTime core_now(Volcano *v) { return v->io->now(v->iou); }

void core_say(Volcano *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *line = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	v->io->say(v->iou, line);
}

Place core_place(Volcano *v, const MagmaKey *k)
{
	const MagmaVolcano *owner = v->map ? magma_map_route(v->map, k) : NULL;

	if (!owner || owner->id != v->id)
		return ELSEWHERE;
	return move_frozen(v, k) ? FROZEN : HERE;
}

guint64 core_commit(Volcano *v, Txn *t)
{
	move_follow(v, t);
	return v->last_index = store_commit(v->store, t);
}

void core_set_map(Volcano *v, MagmaMap *map)
{
	MagmaMap *old = v->map;

	v->map = map;
	if (old)
		magma_map_unref(old);
	MAGMA_TRACE(v->trace, 'r', "lava map of epoch %" G_GUINT64_FORMAT, map->epoch);
	call_map_changed(v);
}

void core_ready(Volcano *v, const char *refusal)
{
	void (*ready)(void *, const char *) = v->ready;

	v->ready = NULL;
	if (!refusal)
		v->state = "serving";
	if (ready)
		ready(v->ready_user, refusal);
}

static void on_acked(void *user, guint64 index) { op_acked(user, index); }

static void on_failed(void *user, const char *text)
{
	Volcano *v = user;

	v->stopping = TRUE;
	v->state = "failed";
	g_strlcpy(v->note, text, sizeof v->note);
	v->io->stop(v->iou, text);
}

static void open_set_free(gpointer p)
{
	OpenSet *o = p;

	g_hash_table_unref(o->clients);
	g_free(o);
}

Volcano *volcano_new(const VolcanoConfig *cfg, Store *store, const VolcanoIo *io, void *io_user)
{
	Volcano *v = g_new0(Volcano, 1);

	v->cfg = *cfg;
	v->cfg.name = v->name = g_strdup(cfg->name);
	v->cfg.fqdn = v->fqdn = g_strdup(cfg->fqdn);
	v->cfg.software = v->software = g_strdup(cfg->software);
	if (cfg->join) {
		v->join_addr = *cfg->join;
		v->cfg.join = &v->join_addr;
	}
	v->trace = cfg->trace;
	v->io = io;
	v->iou = io_user;
	v->store = store;
	v->state = "starting";
	v->started = core_now(v);
	v->started_real = io->real(io_user).sec;
	io->random(io_user, &v->boot, sizeof v->boot);
	v->next_xid = v->boot >> 16;          /* an answer to an earlier life's call is nobody's */
	g_queue_init(&v->runq);
	g_queue_init(&v->held);
	g_queue_init(&v->words);
	g_queue_init(&v->ack_wait.waiters);
	v->peers = g_hash_table_new(NULL, NULL);
	v->ctxs = g_hash_table_new(NULL, NULL);
	v->all_ops = g_hash_table_new(NULL, NULL);
	v->clients = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, client_free);
	v->opens = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, open_set_free);
	v->names = g_hash_table_new(name_key_hash, name_key_equal);
	v->marks = g_hash_table_new_full(mark_hash, mark_equal, mark_free, NULL);
	v->marks_by_ino = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
	v->marks_by_name = g_hash_table_new(name_key_hash, name_key_equal);
	for (guint i = 0; i < G_N_ELEMENTS(v->settled); i++)
		v->settled[i] = g_hash_table_new_full(settled_hash, settled_equal, g_free, NULL);
	v->settled_since = v->started;
	v->attempts = g_hash_table_new(core_pair_hash, core_pair_equal);
	v->commits = g_hash_table_new_full(core_pair_hash, core_pair_equal, NULL, commit_free);
	v->orphans = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	v->dirty = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	v->busy = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, content_busy_free);
	call_init(v);
	scrub_init(v);
	store->user = v;
	store->on_acked = on_acked;
	store->on_failed = on_failed;
	return v;
}

static void tick(void *arg)
{
	Volcano *v = arg;

	core_enter(v);
	v->tick = 0;
	v->quick = FALSE;
	if (v->stopping) {
		core_leave(v);
		return;
	}
	call_tick(v);
	if (v->map && v->serving) {
		coord_tick(v);
		mark_tick(v);
		gc_tick(v);
		scrub_tick(v);
		scrub_contents_tick(v);
		client_tick(v);
		move_tick(v);
	}
	members_tick(v);
	v->quick = g_hash_table_size(v->calls) || g_hash_table_size(v->commits) || g_hash_table_size(v->marks) || v->move || scrub_contents_left(v) || !v->serving;
	if (!v->tick)
		v->tick = v->io->timer(v->iou, v->quick ? SECOND / 10 : SECOND, tick, v);
	core_leave(v);
}

/* Something with a deadline began: the slow tick of an idle volcano would be too late. */
void core_tick_soon(Volcano *v)
{
	if (v->quick)
		return;
	v->quick = TRUE;
	if (v->tick)
		v->io->timer_cancel(v->iou, v->tick);
	v->tick = v->io->timer(v->iou, SECOND / 10, tick, v);
}

void volcano_start(Volcano *v, void (*ready)(void *user, const char *refusal), void *user)
{
	core_enter(v);
	v->ready = ready;
	v->ready_user = user;
	v->tick = v->io->timer(v->iou, SECOND / 10, tick, v);
	members_start(v);
	core_leave(v);
}

void volcano_stop(Volcano *v)
{
	/* else the next start looks through the contents, from the beginning */
	if (v->serving && !v->stopping && !scrub_contents_left(v)) {
		Txn *t = txn_new();
		txn_del(t, TAB_META, "running", 7, NULL);
		core_commit(v, t);
	}
	v->stopping = TRUE;
}

void volcano_free(Volcano *v)
{
	if (!v)
		return;
	if (v->tick)
		v->io->timer_cancel(v->iou, v->tick);
	move_clear(v);
	members_clear(v);
	op_clear(v);
	coord_clear(v);
	call_clear(v);
	GHashTableIter it;
	gpointer peer;
	g_hash_table_iter_init(&it, v->peers);
	while (g_hash_table_iter_next(&it, &peer, NULL))
		peer_unref(peer);
	g_hash_table_unref(v->peers);
	g_hash_table_unref(v->all_ops);
	ctx_clear_all(v);
	g_hash_table_unref(v->clients);
	g_hash_table_unref(v->opens);
	g_hash_table_unref(v->names);
	g_hash_table_unref(v->marks_by_name);
	g_hash_table_unref(v->marks_by_ino);
	g_hash_table_unref(v->marks);
	g_hash_table_unref(v->attempts);
	for (guint i = 0; i < G_N_ELEMENTS(v->settled); i++)
		g_hash_table_unref(v->settled[i]);
	g_hash_table_unref(v->commits);
	g_hash_table_unref(v->orphans);
	g_hash_table_unref(v->dirty);
	g_hash_table_unref(v->busy);
	scrub_clear(v);
	if (v->map)
		magma_map_unref(v->map);
	g_free(v->name);
	g_free(v->fqdn);
	g_free(v->software);
	v->store->on_acked = NULL;
	v->store->on_failed = NULL;
	g_free(v);
}

void volcano_session_opened(Volcano *v, Session *s, gboolean is_node)
{
	Peer *p = session_volcano_data(s);

	core_enter(v);
	if (!p) {
		p = g_new0(Peer, 1);
		p->refs = 1;
		p->session = s;
		p->is_node = is_node;
		p->calls = g_ptr_array_new();
		g_hash_table_add(v->peers, p);
		session_set_volcano_data(s, p);
	}
	call_peer_opened(v, p);
	core_leave(v);
}

void volcano_session_closed(Volcano *v, Session *s, const char *why)
{
	Peer *p = session_volcano_data(s);

	if (!p)
		return;
	core_enter(v);
	session_set_volcano_data(s, NULL);
	p->session = NULL;
	call_peer_closed(v, p, why);
	g_hash_table_remove(v->peers, p);
	peer_unref(p);
	core_leave(v);
}

void volcano_message(Volcano *v, Session *s, gboolean is_node, GBytes *msg)
{
	Peer *p = session_volcano_data(s);

	if (p)
		op_message(v, p, msg);
}

const MagmaMap *volcano_map(const Volcano *v) { return v->map; }
guint16 volcano_id(const Volcano *v) { return v->id; }

void volcano_stats(Volcano *v, VolcanoStats *out)
{
	*out = v->stats;
	out->boot = v->boot;
	out->uptime = core_now(v) - v->started;
	out->clients = g_hash_table_size(v->clients);
	out->opens = g_hash_table_size(v->opens);
	out->replies_held = g_queue_get_length(&v->held);
	out->marks = g_hash_table_size(v->marks);
	out->commits = g_hash_table_size(v->commits);
	out->orphans = g_hash_table_size(v->orphans);
	out->dirty = g_hash_table_size(v->dirty);
	scrub_stats(v, out);
	out->state = v->state;
	g_strlcpy(out->note, v->note, sizeof out->note);
}

guint core_pair_hash(gconstpointer p)
{
	const guint64 *a = p;

	return g_int64_hash(a) * 31 + g_int64_hash(a + 1);
}

gboolean core_pair_equal(gconstpointer a, gconstpointer b) { return memcmp(a, b, 16) == 0; }
