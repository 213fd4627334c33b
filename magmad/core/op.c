/* The life of an operation: from the message, through evaluation, to the reply that waits for the journal. */
#include <fcntl.h>
#include "magmad/core/consensus.h"
#include "magmad/core/dht.h"
#include "magmad/core/holding.h"

Peer *peer_ref(Peer *p)
{
	p->refs++;
	return p;
}

void peer_unref(Peer *p)
{
	if (!p || --p->refs)
		return;
	g_ptr_array_unref(p->calls);
	g_free(p);
}

static gint by_number(gconstpointer a, gconstpointer b)
{
	const Peer *x = *(Peer *const *)a, *y = *(Peer *const *)b;

	return x->number < y->number ? -1 : x->number > y->number;
}

GPtrArray *peers_in_order(Volcano *v)
{
	GPtrArray *all = g_ptr_array_new();
	GHashTableIter it;
	gpointer p;

	g_hash_table_iter_init(&it, v->peers);
	while (g_hash_table_iter_next(&it, &p, NULL))
		g_ptr_array_add(all, p);
	g_ptr_array_sort(all, by_number);
	return all;
}

static void (*const handlers[MAGMA_OP_LIMIT])(Op *) = {
#define CORE_X_(name, number, flags) [number] = handle_##name,
	MAGMA_OPS(CORE_X_)
#undef CORE_X_
};

static void fetch_ready(Fetch *f)
{
	Op *op = (Op *)((char *)f - G_STRUCT_OFFSET(Op, fetch));
	Volcano *v = op->v;

	core_enter(v);
	op_run(op);
	core_leave(v);
}

static GHashTable *op_set(Op *op) { return op->sl ? op->sl->all_ops : op->v->all_ops; }

Op *op_new(Volcano *v, Slice *sl, const MagmaHdr *h, const MagmaAny *req, GBytes *msg, Peer *peer)
{
	Op *op = g_slice_new0(Op);

	op->v = v;
	op->number = ++v->ops_made;
	op->sl = sl;
	op->hdr = *h;
	if (req)
		op->req = *req;
	op->msg = msg ? g_bytes_ref(msg) : NULL;
	op->peer = peer ? peer_ref(peer) : NULL;
	op->fetch.ready = fetch_ready;
	op->now = v->io->real(v->iou);
	op->started = core_now(v);
	op->age = (guint64)op->now.sec * 1000000 + op->now.nsec / 1000;
	v->stats.ops_running++;
	g_hash_table_add(op_set(op), op);
	return op;
}

static void op_free(Op *op)
{
	Volcano *v = op->v;

	g_hash_table_remove(op_set(op), op);
	if (op->queued)
		g_queue_remove(&v->runq, op);
	if (op->parked)
		g_queue_remove(&op->parked->waiters, op);
	if (op->registered && op->client)
		g_hash_table_remove(op->client->running, &op->hdr.xid);
	coord_free(op);
	if (op->data_free)
		op->data_free(op->data);
	if (op->sl)
		store_fetch_clear(op->sl->store, &op->fetch);
	if (op->msg)
		g_bytes_unref(op->msg);
	peer_unref(op->peer);
	v->stats.ops_running--;
	v->stats.ops_done++;
	g_slice_free(Op, op);
}

void op_run(Op *op)
{
	if (op->queued)
		return;
	op->queued = TRUE;
	g_queue_push_tail(&op->v->runq, op);
}

void op_park(Op *op, Waitq *q)
{
	op->parked = q;
	g_queue_push_tail(&q->waiters, op);
}

void waitq_wake(Slice *sl, Waitq *q)
{
	Op *op;

	while ((op = g_queue_pop_head(&q->waiters))) {
		op->parked = NULL;
		op_run(op);
	}
}

static void waitq_forget(Waitq *q)
{
	Op *op;

	while ((op = g_queue_pop_head(&q->waiters)))
		op->parked = NULL;
}

/* Nobody is woken any more, and what they wait for may be gone before they are. */
static void forget_waiters(Slice *sl)
{
	GHashTableIter it;
	gpointer p;

	waitq_forget(&sl->ack_wait);
	g_hash_table_iter_init(&it, sl->names);
	while (g_hash_table_iter_next(&it, NULL, &p))
		waitq_forget(&((NameLock *)p)->wait);
	g_hash_table_iter_init(&it, sl->marks);
	while (g_hash_table_iter_next(&it, &p, NULL))
		waitq_forget(&((Mark *)p)->wait);
	g_hash_table_iter_init(&it, sl->busy);
	while (g_hash_table_iter_next(&it, NULL, &p))
		waitq_forget(&((Busy *)p)->wait);
}

/* Whatever still runs is forgotten, as a kill would. */
void op_clear(GHashTable *ops, Volcano *v)
{
	GHashTableIter it;
	gpointer op;

	v->depth++;
	while (g_hash_table_iter_init(&it, ops), g_hash_table_iter_next(&it, &op, NULL)) {
		if (((Op *)op)->coord)
			((Op *)op)->coord->waiting = 0;
		if (((Op *)op)->call)
			call_local_lost(((Op *)op)->call);
		op_free(op);
	}
	v->depth--;
}

void op_clear_slice(Slice *sl)
{
	Held *h;

	forget_waiters(sl);
	op_clear(sl->all_ops, sl->v);
	while ((h = g_queue_pop_head(&sl->held))) {
		if (h->call)
			call_local_lost(h->call);
		if (h->client)
			client_never_told(sl, h->client, h->xid);
		peer_unref(h->peer);
		g_bytes_unref(h->head);
		if (h->body)
			g_bytes_unref(h->body);
		g_slice_free(Held, h);
	}
}

/* What waited for a lease. A leader has its first one with maps that it had not known to be committed: not by what they took from it. */
void op_leased(Volcano *v)
{
	if (v->apply_map || v->lease_until <= core_now(v))
		return;
	for (guint i = 0; i < v->slices->len; i++)
		op_acked(v->slices->pdata[i], store_acked(((Slice *)v->slices->pdata[i])->store));
}

/* The entry point that is on top runs what became runnable; nobody below it does. */
void core_leave(Volcano *v)
{
	Op *op;

	while (v->depth == 1) {
		if (v->apply_map && v->may_own && !v->aside) {      /* first: nothing runs by what the map took away */
			v->apply_map = FALSE;
			holdings_apply(v);
			op_leased(v);
			continue;
		}
		if (!(op = g_queue_pop_head(&v->runq)))
			break;
		op->queued = FALSE;
		if (!op->done) {
			op->running = TRUE;
			op->step(op);
			op->running = FALSE;
		}
		if (op->done && !op->queued)
			op_free(op);
	}
	v->depth--;
}

/* A step may end its operation while it runs, or a completion may end it from outside. */
void op_drop(Op *op)
{
	op->done = TRUE;
	if (!op->running && !op->queued)
		op_free(op);
}

GBytes *op_encode_reply(Op *op, const void *fields, int error, gboolean split)
{
	Volcano *v = op->v;
	MagmaHdr h = {
		.kind = MAGMA_REPLY, .op = op->hdr.op, .xid = op->hdr.xid, .client = op->hdr.client,
		.epoch = v->map ? v->map->epoch : 0, .error = error,
	};
	GByteArray *out = g_byte_array_sized_new(256);

	if (v->map && op->hdr.client && op->hdr.epoch < v->map->epoch)
		h.flags |= MAGMA_FLAG_REFRESH_TOPOLOGY;
	magma_msg_encode(&h, fields, split, out);
	return g_byte_array_free_to_bytes(out);
}

/* One piece, as the decoder wants it. */
static GBytes *joined(GBytes *head, GBytes *body)
{
	gsize a, b;
	const guint8 *pa = g_bytes_get_data(head, &a), *pb = g_bytes_get_data(body, &b);
	GByteArray *whole = g_byte_array_sized_new(a + b);

	g_byte_array_append(whole, pa, a);
	g_byte_array_append(whole, pb, b);
	return g_byte_array_free_to_bytes(whole);
}

/* A volcano whose disk has failed answers nobody: another will, from its own copy. */
static void deliver(Volcano *v, Peer *peer, Call *call, GBytes *head, GBytes *body)
{
	g_autoptr(GBytes) whole = call && body ? joined(head, body) : NULL;

	if (v->failed)
		return;
	if (call)
		call_answer_local(v, call, whole ? whole : head);
	else if (peer && peer->session)
		v->io->send(v->iou, peer->session, head, body);
}

/* Rule 8: the reply leaves when the journal has everything it may have seen; rule 9: and while nobody can have taken this volcano's place. Takes no references. NULL: it has left. */
static Held *send_held(Slice *sl, guint64 index, Peer *peer, Call *call, GBytes *head, GBytes *body)
{
	if (index <= store_acked(sl->store) && g_queue_is_empty(&sl->held) && consensus_may_serve(sl->v)) {
		deliver(sl->v, peer, call, head, body);
		return NULL;
	}
	Held *h = g_slice_new0(Held);
	h->index = index;
	h->peer = peer ? peer_ref(peer) : NULL;
	h->call = call;
	h->head = g_bytes_ref(head);
	h->body = body ? g_bytes_ref(body) : NULL;
	g_queue_push_tail(&sl->held, h);
	return h;
}

void op_acked(Slice *sl, guint64 index)
{
	Held *h;

	core_enter(sl->v);
	while ((h = g_queue_peek_head(&sl->held)) && h->index <= index && consensus_may_serve(sl->v)) {
		g_queue_pop_head(&sl->held);
		deliver(sl->v, h->peer, h->call, h->head, h->body);
		peer_unref(h->peer);
		g_bytes_unref(h->head);
		if (h->body)
			g_bytes_unref(h->body);
		g_slice_free(Held, h);
	}
	coord_acked(sl, index);
	waitq_wake(sl, &sl->ack_wait);
	core_leave(sl->v);
}

static void answer(Op *op, GBytes *head, GBytes *body)
{
	if (magma_trace_on(op->v->trace, 'F')) {
		MagmaHdr h;
		gsize at;
		gsize n;
		const guint8 *p = g_bytes_get_data(head, &n);
		if (magma_msg_peek(p, n, &h, &at) == 0)
			MAGMA_TRACE(op->v->trace, 'F', "answer %s xid=%" G_GUINT64_FORMAT " %s", magma_op_info(h.op)->name, h.xid,
				h.error ? magma_strerror(h.error) : "ok");
	}
	Held *h = NULL;
	if (op->sl)
		h = send_held(op->sl, op->sl->last_index, op->peer, op->call, head, body);
	else
		deliver(op->v, op->peer, op->call, head, body);
	if (h && op->registered) {
		h->client = op->hdr.client;
		h->xid = op->hdr.xid;
	}
	op_drop(op);
}

/* A change that had nothing to change (both names are the same flare already) is done as well: a repeat that comes late would find what others did meanwhile, and change that. What
 * its client has every answer of needs nothing. */
static void remember(Op *op, const void *fields)
{
	Client *c = op->client;

	if (op->registered && c && !c->gone && op->hdr.xid >= c->watermark && !g_hash_table_contains(c->replies, &op->hdr.xid))
		draft_store_reply(draft_new(op), fields);
}

void op_reply(Op *op, const void *fields, GBytes *body)
{
	remember(op, fields);
	g_autoptr(GBytes) head = op_encode_reply(op, fields, 0, body != NULL);

	answer(op, head, body);
}

void op_error(Op *op, int error)
{
	g_autoptr(GBytes) head = op_encode_reply(op, NULL, error, FALSE);

	if (op->registered)
		client_refused(op->client, op->hdr.xid, error);
	answer(op, head, NULL);
}

void op_answer(Op *op, int error, const void *rep, GBytes *body)
{
	Volcano *v = op->v;

	core_enter(v);
	if (error)
		op_error(op, error);
	else
		op_reply(op, rep, body);
	core_leave(v);
}

void op_finish(Op *op, int error)
{
	static const MagmaAny nothing;

	if (error == WAIT)
		return;
	if (error)
		op_error(op, error);
	else
		op_reply(op, &nothing, NULL);
}

void op_fail(Op *op, int error)
{
	if (error)
		op_finish(op, error);
}

void op_completed(Op *op, int *slot, int error, void (*step)(Op *op))
{
	Slice *sl = op->sl;

	core_enter(sl->v);
	*slot = error;
	op->step = step;
	op_run(op);
	core_leave(sl->v);
}

/* A stored reply from before this start that grants an open: opens are memory, and the client re-asserted only what it had been answered. */
static void grant_again(Slice *sl, Client *c, const Stored *s)
{
	MagmaHdr h;
	MagmaAny rep;
	gsize n;
	const guint8 *p = g_bytes_get_data(s->reply, &n);

	if (s->index || magma_msg_decode(p, n, &h, &rep) != 0 || h.error || (h.op != MAGMA_OP_open && h.op != MAGMA_OP_create))
		return;
	const MagmaFid *fid = h.op == MAGMA_OP_open ? &rep.rep_open.attr.fid : &rep.rep_create.attr.fid;
	if (core_place(sl, &fid->key) == HERE)
		client_open(sl, c->id, s->xid, fid);
}

/* A repeat of something that runs or is done. TRUE: dealt with. */
static gboolean op_is_repeat(Slice *sl, Client *c, Peer *peer, const MagmaHdr *h)
{
	Op *running = g_hash_table_lookup(c->running, &h->xid);

	if (running) {
		if (running->peer != peer) {
			peer_unref(running->peer);
			running->peer = peer_ref(peer);
		}
		return TRUE;
	}
	Stored *s = g_hash_table_lookup(c->replies, &h->xid);
	if (s) {
		grant_again(sl, c, s);
		/* one from before this start may be in this journal alone: the copies have it when they have what followed */
		send_held(sl, MAX(s->index, sl->first_index), peer, NULL, s->reply, NULL);
		return TRUE;
	}
	return FALSE;
}

static void repeat_synced(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	if (error) {
		op_error(op, error);
	} else {
		send_held(sl, sl->last_index, op->peer, NULL, op->data, NULL);
		op_drop(op);
	}
	core_leave(sl->v);
}

static void repeat_content_synced(void *user, int error)
{
	Op *op = user;

	if (error && error != ENOENT)        /* none: it is inline */
		repeat_synced(user, error);
	else
		store_sync(op->sl->store, repeat_synced, op);
}

/* The stored reply of a write with O_DSYNC from before this start: journal and file may have had it, and the disk not. TRUE: the answer comes after a sync of both. */
static gboolean op_repeats_unsynced(Op *op)
{
	Stored *s = g_hash_table_lookup(op->client->replies, &op->hdr.xid);

	if (!s || s->index || op->hdr.op != MAGMA_OP_write || !(op->req.req_write.flags & MAGMA_WRITE_DSYNC))
		return FALSE;
	op->data = g_bytes_ref(s->reply);
	op->data_free = (GDestroyNotify)g_bytes_unref;
	store_content_sync(op->sl->store, &op->req.req_write.fid, repeat_content_synced, op);
	return TRUE;
}

/* A client's word is a sign of life to each slice of the volcano that knows it: who works in one does not ping, and may have something open in another. FALSE: one of them has let it expire. */
static gboolean client_lives(Volcano *v, const MagmaHdr *h)
{
	gboolean lives = TRUE;

	for (guint i = 0; i < v->slices->len; i++) {
		Slice *sl = v->slices->pdata[i];
		Client *c = g_hash_table_lookup(sl->clients, &h->client);
		lives &= !(c && c->gone);
		if (c && !c->gone)
			client_heard(sl, c, h);
	}
	return lives;
}

/* By any of its slices: the one asked now may have been part of it then; or by another volcano, for which this one passed it on. */
static int client_refused_here(Volcano *v, const MagmaHdr *h)
{
	for (guint i = 0; i < v->slices->len; i++) {
		Slice *sl = v->slices->pdata[i];
		Client *c = g_hash_table_lookup(sl->clients, &h->client);
		int refusal = c ? client_refusal(c, h->xid) : 0;
		if (refusal)
			return refusal;
	}
	return call_passed_on(v, h);
}

/* By what any of its slices heard of it, or one that is gone: with that, what it was refused there is forgotten, and who has the slice now may have heard nothing. */
static gboolean client_has_its_answer(Volcano *v, const MagmaHdr *h)
{
	for (guint i = 0; i < v->slices->len; i++) {
		Slice *sl = v->slices->pdata[i];
		const Client *c = g_hash_table_lookup(sl->clients, &h->client);
		if (c && h->xid < c->watermark)
			return TRUE;
	}
	return call_was_answered(v, h);
}

static gboolean op_is_new(Op *op)
{
	const MagmaOpInfo *info = magma_op_info(op->hdr.op);

	if (!op->hdr.client)
		return TRUE;
	if (!op->sl) {
		if (client_lives(op->v, &op->hdr))
			return TRUE;
		op_error(op, MAGMA_EEXPIRED);
		return FALSE;
	}
	op->client = client_get(op->sl, op->hdr.client);
	if (op->client->gone) {
		op_error(op, MAGMA_EEXPIRED);
		return FALSE;
	}
	client_heard(op->sl, op->client, &op->hdr);
	/* Below the client's own watermark it has every answer: an old copy on the wire (a RELEASE could close a later open). */
	if (client_has_its_answer(op->v, &op->hdr)) {
		op_drop(op);
		return FALSE;
	}
	/* An open that truncates is done once as well. */
	if (!(info->flags & MAGMA_OP_MUTATES) && !(op->hdr.op == MAGMA_OP_open && op->req.req_open.flags & O_TRUNC))
		return TRUE;
	/* Before its stored reply: a write that was to be synced, and could not be, has one. */
	int refusal = client_refusal(op->client, op->hdr.xid);
	if (refusal) {
		op_error(op, refusal);
		return FALSE;
	}
	if (op_repeats_unsynced(op))
		return FALSE;
	if (op_is_repeat(op->sl, op->client, op->peer, &op->hdr)) {
		op_drop(op);
		return FALSE;
	}
	if ((refusal = client_refused_here(op->v, &op->hdr))) {
		op_error(op, refusal);
		return FALSE;
	}
	g_hash_table_insert(op->client->running, &op->hdr.xid, op);
	op->registered = TRUE;
	return TRUE;
}

static void step_begin(Op *op)
{
	const MagmaOpInfo *info = magma_op_info(op->hdr.op);

	if (!op_is_new(op))
		return;
	op->step = handlers[info->number];
	op->v->stats.op_count[info->number]++;
	op->step(op);
}

static void step_begin_dht(Op *op)
{
	if (!op_is_new(op))
		return;
	op->v->stats.op_count[op->hdr.op]++;
	op->step = dht_step;
	op->step(op);
}

/* Whoever is asked answers, whatever it owns; it only has to know the map. */
static void op_dht(Volcano *v, Peer *peer, const MagmaHdr *h, const MagmaAny *any, GBytes *msg)
{
	Op *op = op_new(v, NULL, h, any, msg, peer);

	call_forward_forget(v, h);            /* a new try may be answered by another volcano */
	if (v->stopping || !v->map) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	op->step = step_begin_dht;
	op_run(op);
}

/* Before marks, commits and replies are in memory only what does not look at them is answered. A SETTLE that finds no mark says "settled", and the coordinator would forget its commit. */
static gboolean op_needs_no_rows(Volcano *v, gboolean is_node, MagmaOp op)
{
	switch (op) {
	case MAGMA_OP_ping:
		return TRUE;
	case MAGMA_OP_map:
		return is_node && v->map;
	case MAGMA_OP_join:
	case MAGMA_OP_new_map:
	case MAGMA_OP_status:
	case MAGMA_OP_halt:
		return is_node;
	default:
		return FALSE;
	}
}

/* Whom a request concerns: *sl, or the volcano as a whole where *sl stays NULL. */
static Place op_place(Volcano *v, const MagmaHdr *h, const MagmaAny *any, MagmaKey *route, Slice **sl)
{
	*sl = NULL;
	switch (h->op) {
	case MAGMA_OP_move_rows:
	case MAGMA_OP_move_data:
	case MAGMA_OP_move_opens:
	case MAGMA_OP_move_ready:
		*sl = v->map && v->map->move.id && v->map->move.to == v->id ? core_slice(v, v->map->move.part.id) : NULL;
		return *sl ? HERE : FROZEN;
	case MAGMA_OP_settle:
		if (!mark_settle_route(&any->req_settle, route))
			return HERE;
		break;
	default:
		if (!magma_msg_route(h->op, any, route))
			return HERE;
	}
	const MagmaSlice *s = v->map ? magma_map_slice(v->map, route) : NULL;
	if (!s || s->owner != v->id)
		return ELSEWHERE;
	*sl = core_slice(v, s->id);
	return *sl ? core_place(*sl, route) : FROZEN;
}

/* May it be answered here at all? 0, or the error. */
static int op_admit(Volcano *v, const Slice *sl, const MagmaOpInfo *info, gboolean is_node, MagmaOp op)
{
	if (v->stopping)
		return MAGMA_ETRYAGAIN;
	if (is_node ? !(info->flags & (MAGMA_OP_NODE | MAGMA_OP_CLIENT)) : !(info->flags & MAGMA_OP_CLIENT))
		return EPERM;
	if (sl ? sl->serving : v->serving || op_needs_no_rows(v, is_node, op))
		return 0;
	return MAGMA_ETRYAGAIN;
}

/* Another volcano's: passed on for a client, refused to a volcano, whose map is old. */
static void op_elsewhere(Op *op, const MagmaOpInfo *info, GBytes *msg)
{
	Volcano *v = op->v;

	if (client_has_its_answer(v, &op->hdr)) {      /* an old copy on the wire */
		op_drop(op);
		return;
	}
	/* The sender has a newer map than this one: by the old one it would go to a volcano that may be dead, and be lost there. */
	if (v->map && op->hdr.epoch > v->map->epoch && !(consensus_leads(v) && consensus_may_serve(v))) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	if (!(info->flags & MAGMA_OP_CLIENT) || op->hdr.hops == 0) {
		op_error(op, info->flags & MAGMA_OP_CLIENT ? MAGMA_EMAP : MAGMA_ENOTOWNER);
		return;
	}
	int refusal = client_refused_here(v, &op->hdr);
	if (refusal) {                /* that answer may still arrive; who has the slice now knows nothing of it, and might do it */
		op_error(op, refusal);
		return;
	}
	if (op->hdr.op == MAGMA_OP_reopen)
		op_reopen_passes(v, &op->hdr, &op->req.req_reopen);
	call_forward(v, op->peer, &op->hdr, msg, &op->route);
	op_drop(op);
}

static void op_request(Volcano *v, Peer *peer, const MagmaHdr *h, const MagmaAny *any, GBytes *msg)
{
	const MagmaOpInfo *info = magma_op_info(h->op);
	MagmaKey route = { { 0 } };
	Slice *sl;
	Place place = op_place(v, h, any, &route, &sl);
	int error = op_admit(v, sl, info, peer->is_node, h->op);
	Op *op = op_new(v, sl, h, any, msg, peer);

	if (!error && place == HERE && sl && h->epoch < sl->since)
		error = h->client ? MAGMA_EMAP : MAGMA_ETRYAGAIN;
	op->route = route;
	if (error || place != ELSEWHERE)
		call_forward_forget(v, h);
	if (h->client)
		client_lives(v, h);           /* what is put off or passed on is a sign of life too */
	if (error) {
		op_error(op, error);
	} else if (place == FROZEN) {
		op_error(op, MAGMA_ETRYAGAIN);
	} else if (place == ELSEWHERE) {
		op_elsewhere(op, info, msg);
	} else {
		op->step = step_begin;
		op_run(op);
	}
}

void op_message(Volcano *v, Peer *peer, GBytes *msg)
{
	MagmaHdr h;
	MagmaAny any;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (magma_msg_decode(p, n, &h, &any) != 0 || (h.kind == MAGMA_PUSH && (h.op != MAGMA_OP_raft || !peer->is_node))) {
		MAGMA_TRACE(v->trace, 'F', "dropped: %" G_GSIZE_FORMAT " bytes that are no message", n);
		return;
	}
	if (magma_trace_on(v->trace, peer->is_node ? 'V' : 'F')) {
		g_autofree char *line = magma_msg_dump(&h, &any);
		MAGMA_TRACE(v->trace, peer->is_node ? 'V' : 'F', "%s", line);
	}
	core_enter(v);
	if (v->map && h.epoch > v->map->epoch)
		members_fetch_map(v);
	if (h.kind == MAGMA_PUSH)
		consensus_message(v, peer, &any.req_raft);
	else if (h.kind != MAGMA_REPLY && dht_concerns(&h, &any))
		op_dht(v, peer, &h, &any, msg);
	else if (h.kind != MAGMA_REPLY)
		op_request(v, peer, &h, &any, msg);
	else if (peer->is_node && !call_relay(v, peer, &h, msg))
		call_reply(v, peer, &h, &any, msg);
	core_leave(v);
}

gboolean op_local(Volcano *v, Call *call, GBytes *msg)
{
	MagmaHdr h;
	MagmaAny any;
	MagmaKey route = { { 0 } };
	Slice *sl;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (magma_msg_decode(p, n, &h, &any) != 0)
		g_assert_not_reached();       /* our own encoding */
	Place place = op_place(v, &h, &any, &route, &sl);
	if (sl ? !sl->serving || move_sealed(sl) : place != HERE)
		return FALSE;
	Op *op = op_new(v, sl, &h, &any, msg, NULL);
	op->call = call;
	op->route = route;
	op->step = step_begin;
	op_run(op);
	return TRUE;
}
