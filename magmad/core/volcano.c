/* The volcano: construction, sessions, the clock's tick, what the console asks. */
#include "magmad/core/aside.h"
#include "magmad/core/dht.h"
#include "magmad/core/consensus.h"
#include "magmad/core/holding.h"

gpointer core_ctx_new(GHashTable *ctxs, gsize size, GDestroyNotify clear)
{
	gpointer ctx = g_malloc0(size);

	g_hash_table_insert(ctxs, ctx, (gpointer)clear);
	return ctx;
}

void core_ctx_drop(GHashTable *ctxs, gpointer ctx)
{
	gpointer clear = NULL;

	g_hash_table_steal_extended(ctxs, ctx, NULL, &clear);
	if (clear)
		((GDestroyNotify)clear)(ctx);
	g_free(ctx);
}

void core_ctx_clear(GHashTable *ctxs)
{
	GHashTableIter it;
	gpointer ctx;

	while (g_hash_table_iter_init(&it, ctxs), g_hash_table_iter_next(&it, &ctx, NULL))
		core_ctx_drop(ctxs, ctx);
	g_hash_table_unref(ctxs);
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

void core_fail(Volcano *v, const char *text)
{
	v->stopping = v->failed = TRUE;
	v->state = "failed";
	g_strlcpy(v->note, text, sizeof v->note);
	v->io->stop(v->iou, text);
}

Slice *core_slice(Volcano *v, guint16 id)
{
	for (guint i = 0; i < v->slices->len; i++)
		if (((Slice *)v->slices->pdata[i])->id == id)
			return v->slices->pdata[i];
	return NULL;
}

Slice *core_slice_for(Volcano *v, const MagmaKey *k)
{
	const MagmaSlice *s = v->map ? magma_map_slice(v->map, k) : NULL;

	return s && s->owner == v->id ? core_slice(v, s->id) : NULL;
}

/* Clients hear of it at once: who waits for a volcano that is gone need not find out by time-outs. */
static void tell_clients(Volcano *v)
{
	MagmaHdr h = { .kind = MAGMA_PUSH, .op = MAGMA_OP_new_map, .epoch = v->map->epoch };
	g_autoptr(GByteArray) map = g_byte_array_new();
	GByteArray *out = g_byte_array_new();
	g_autoptr(GPtrArray) peers = peers_in_order(v);

	magma_map_encode(v->map, map);
	struct magma_req_new_map q = { .map = MAGMA_BYTES(map->data, map->len) };
	magma_msg_encode(&h, &q, FALSE, out);
	g_autoptr(GBytes) msg = g_byte_array_free_to_bytes(out);
	for (guint i = 0; i < peers->len; i++) {
		Peer *peer = peers->pdata[i];
		if (!peer->is_node && peer->open && peer->session)
			v->io->send(v->iou, peer->session, msg, NULL);
	}
}

void core_set_map(Volcano *v, MagmaMap *map)
{
	MagmaMap *old = v->map;
	guint64 old_epoch = old ? old->epoch : 0;

	v->map = map;
	for (guint i = 0; old && i < v->slices->len; i++)
		mark_map_changed(v->slices->pdata[i], old);
	if (old)
		magma_map_unref(old);
	MAGMA_TRACE(v->trace, 'r', "lava map of epoch %" G_GUINT64_FORMAT, map->epoch);
	if (old_epoch)
		tell_clients(v);
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
	v->slices = g_ptr_array_new();
	v->peers = g_hash_table_new(NULL, NULL);
	v->ctxs = g_hash_table_new(NULL, NULL);
	v->all_ops = g_hash_table_new(NULL, NULL);
	call_init(v);
	v->holdings = g_hash_table_new(NULL, NULL);
	v->unopened = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	if (cfg->kept && !consensus_load(v, cfg->kept))
		v->state = "damaged";
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
	v->apply_map |= v->apply_later;       /* core_leave does it */
	v->quick = v->apply_later || g_hash_table_size(v->calls) || !v->serving || v->ready;
	for (guint i = 0; v->map && i < v->slices->len; i++)
		slice_tick(v->slices->pdata[i]);
	members_tick(v);
	asides_tick(v);
	holdings_tick(v);
	health_tick(v);
	if (!v->tick) {
		/* clients wait for the moment when somebody silent may be declared down */
		MagmaTime due = planner_due(v), now = core_now(v), rest = v->quick ? SECOND / 10 : SECOND;
		v->tick = v->io->timer(v->iou, due - now < rest ? MAX(due - now + 1000, due < now - SECOND ? SECOND : SECOND / 20) : rest, tick, v);
	}
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
	asides_start(v);
	members_start(v);
	core_leave(v);
}

void volcano_stop(Volcano *v)
{
	v->well = !v->stopping;
	v->stopping = TRUE;
}

void volcano_stopped(Volcano *v)
{
	/* else the next start looks through the contents, from the beginning */
	for (guint i = 0; v->well && i < v->slices->len; i++) {
		Slice *sl = v->slices->pdata[i];
		Txn *t = txn_new();
		if (sl->serving && !scrub_contents_left(sl))
			txn_del(t, TAB_META, "running", 7, NULL);
		core_commit(sl, t);
	}
}

void volcano_free(Volcano *v)
{
	if (!v)
		return;
	if (v->tick)
		v->io->timer_cancel(v->iou, v->tick);
	leave_clear(v);
	members_clear(v);
	health_clear(v);
	holdings_clear(v);
	op_clear(v->all_ops, v);
	dht_clear(v);
	asides_clear(v);
	call_clear(v);
	if (v->calls_due)
		v->io->timer_cancel(v->iou, v->calls_due);
	v->calls_due = 0;
	GHashTableIter it;
	gpointer peer;
	g_hash_table_iter_init(&it, v->peers);
	while (g_hash_table_iter_next(&it, &peer, NULL))
		peer_unref(peer);
	g_hash_table_unref(v->peers);
	g_hash_table_unref(v->all_ops);
	core_ctx_clear(v->ctxs);
	g_queue_clear(&v->runq);
	g_ptr_array_unref(v->slices);
	if (v->map)
		magma_map_unref(v->map);
	g_free(v->name);
	g_free(v->fqdn);
	g_free(v->software);
	g_free(v);
}

void volcano_session_opened(Volcano *v, Session *s, gboolean is_node)
{
	Peer *p = session_volcano_data(s);

	core_enter(v);
	if (!p) {
		p = g_new0(Peer, 1);
		p->refs = 1;
		p->number = ++v->peers_made;
		p->session = s;
		p->is_node = is_node;
		p->calls = g_ptr_array_new();
		g_hash_table_add(v->peers, p);
		session_set_volcano_data(s, p);
	}
	call_peer_opened(v, p);
	core_leave(v);
}

void volcano_session_refused(Volcano *v, Session *s)
{
	Peer *p = session_volcano_data(s);
	guint16 id = p ? call_peer_volcano(v, p) : 0;

	core_enter(v);
	if (id)
		consensus_hint(v, id);
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
	for (guint i = 0; i < v->slices->len; i++) {
		Slice *sl = v->slices->pdata[i];
		out->clients += g_hash_table_size(sl->clients);
		out->opens += g_hash_table_size(sl->opens);
		out->replies_held += g_queue_get_length(&sl->held);
		out->marks += g_hash_table_size(sl->marks);
		out->commits += g_hash_table_size(sl->commits);
		out->orphans += g_hash_table_size(sl->orphans);
		scrub_stats(sl, out);
		out->dirty += g_hash_table_size(sl->dirty);
	}
	out->leader = consensus_leader(v);
	g_array_unref(holdings_damage(v, &out->rewritten));
	ConsensusChanges changes = consensus_changes(v);
	out->map_changes = changes.count;
	out->map_change_last = changes.last;
	out->map_change_most = changes.most;
	/* once it has served, what keeps it from doing so is the lease */
	out->state = v->ready || !v->map || consensus_may_serve(v) ? v->state : "without quorum";
	g_strlcpy(out->note, v->note, sizeof out->note);
	if (v->asides && v->asides->len && !out->note[0])
		g_snprintf(out->note, sizeof out->note, "CONFLICT: both sides of a partition went on; what does not stand is in /.dht/conflicts/%s", v->name);
}

guint core_pair_hash(gconstpointer p)
{
	const guint64 *a = p;

	return g_int64_hash(a) * 31 + g_int64_hash(a + 1);
}

gboolean core_pair_equal(gconstpointer a, gconstpointer b) { return memcmp(a, b, 16) == 0; }

void volcano_flush(Volcano *v)
{
	core_enter(v);
	holdings_flush(v);
	core_leave(v);
}

void volcano_usage(Volcano *v, StoreUsage *out)
{
	v->store->vt->usage(v->store, out);
	for (guint i = 0; i < v->slices->len; i++) {
		Slice *sl = v->slices->pdata[i];
		StoreUsage u;
		if (sl->id == v->id)
			continue;
		sl->store->vt->usage(sl->store, &u);
		out->flares += u.flares;
		out->used += u.used;
		out->low |= u.low;
	}
}

static void op_line(GString *out, const Op *op)
{
	g_string_append_printf(out, "  %s xid=%" G_GUINT64_FORMAT " client=%016" G_GINT64_MODIFIER "x age=%" G_GINT64_FORMAT " ms%s%s%s", magma_op_info(op->hdr.op) ? magma_op_info(op->hdr.op)->name : "inner work",
		op->hdr.xid, op->hdr.client, (core_now(op->v) - op->started) / 1000, op->parked ? ", parked" : "", op->fetch.pending ? ", waits for rows" : "", op->done ? ", done" : "");
	if (op->parked == (op->sl ? &op->sl->ack_wait : NULL))
		g_string_append(out, " for the journal");
	if (op->coord)
		g_string_append_printf(out, ", %u parts, %u asked%s", op->coord->n, op->coord->waiting, op->coord->timer ? ", backs off" : "");
	g_string_append_c(out, '\n');
}

char *volcano_running(Volcano *v)
{
	GString *out = g_string_new(NULL);

	for (guint i = 0; i < v->slices->len; i++) {
		const Slice *sl = v->slices->pdata[i];
		GHashTableIter it;
		gpointer op;
		g_string_append_printf(out, " slice %u: %s, %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " acknowledged, %u answers held, %u marks, %u commits\n", sl->id, sl->serving ? "serves" : "recovers",
			store_acked(sl->store), sl->last_index, g_queue_get_length((GQueue *)&sl->held), g_hash_table_size(sl->marks), g_hash_table_size(sl->commits));
		g_hash_table_iter_init(&it, sl->all_ops);
		while (g_hash_table_iter_next(&it, &op, NULL))
			op_line(out, op);
	}
	return g_string_free(out, FALSE);
}
