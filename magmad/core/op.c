/* The life of an operation: from the message, through evaluation, to the reply that waits for the journal. */
#include <fcntl.h>
#include "magmad/core/core.h"

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

Op *op_new(Volcano *v, const MagmaHdr *h, const MagmaAny *req, GBytes *msg, Peer *peer)
{
	Op *op = g_slice_new0(Op);

	op->v = v;
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
	g_hash_table_add(v->all_ops, op);
	return op;
}

static void op_free(Op *op)
{
	Volcano *v = op->v;

	g_hash_table_remove(v->all_ops, op);
	if (op->parked)
		g_queue_remove(&op->parked->waiters, op);
	if (op->registered && op->client)
		g_hash_table_remove(op->client->running, &op->hdr.xid);
	coord_free(op);
	if (op->data_free)
		op->data_free(op->data);
	store_fetch_clear(v->store, &op->fetch);
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

void waitq_wake(Volcano *v, Waitq *q)
{
	Op *op;

	while ((op = g_queue_pop_head(&q->waiters))) {
		op->parked = NULL;
		op_run(op);
	}
}

/* Nobody is woken any more. */
static void forget_waiters(Volcano *v)
{
	GHashTableIter it;
	gpointer p;

	g_queue_clear(&v->ack_wait.waiters);
	g_hash_table_iter_init(&it, v->names);
	while (g_hash_table_iter_next(&it, NULL, &p))
		g_queue_clear(&((NameLock *)p)->wait.waiters);
	g_hash_table_iter_init(&it, v->marks);
	while (g_hash_table_iter_next(&it, &p, NULL))
		g_queue_clear(&((Mark *)p)->wait.waiters);
	g_hash_table_iter_init(&it, v->busy);
	while (g_hash_table_iter_next(&it, NULL, &p))
		g_queue_clear(&((Busy *)p)->wait.waiters);
}

/* The end of the volcano: whatever still runs is forgotten, as a kill would. */
void op_clear(Volcano *v)
{
	GHashTableIter it;
	gpointer op;
	Held *h;

	v->depth++;
	forget_waiters(v);
	while (g_hash_table_iter_init(&it, v->all_ops), g_hash_table_iter_next(&it, &op, NULL)) {
		if (((Op *)op)->coord)
			((Op *)op)->coord->waiting = 0;
		op_free(op);
	}
	g_queue_clear(&v->runq);
	while ((h = g_queue_pop_head(&v->held))) {
		peer_unref(h->peer);
		g_bytes_unref(h->head);
		if (h->body)
			g_bytes_unref(h->body);
		g_slice_free(Held, h);
	}
	v->depth--;
}

/* The entry point that is on top runs what became runnable; nobody below it does. */
void core_leave(Volcano *v)
{
	Op *op;

	if (v->depth == 1) {
		while ((op = g_queue_pop_head(&v->runq))) {
			op->queued = FALSE;
			if (!op->done) {
				op->running = TRUE;
				op->step(op);
				op->running = FALSE;
			}
			if (op->done && !op->queued)
				op_free(op);
		}
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

static void deliver(Volcano *v, Peer *peer, Call *call, GBytes *head, GBytes *body)
{
	if (call)
		call_answer_local(v, call, head);
	else if (peer && peer->session)
		v->io->send(v->iou, peer->session, head, body);
}

/* Rule 8: the reply leaves when the journal has everything it may have seen. Takes no references. */
void op_send_held(Volcano *v, guint64 index, Peer *peer, Call *call, GBytes *head, GBytes *body)
{
	if (index <= store_acked(v->store) && g_queue_is_empty(&v->held)) {
		deliver(v, peer, call, head, body);
		return;
	}
	Held *h = g_slice_new0(Held);
	h->index = index;
	h->peer = peer ? peer_ref(peer) : NULL;
	h->call = call;
	h->head = g_bytes_ref(head);
	h->body = body ? g_bytes_ref(body) : NULL;
	g_queue_push_tail(&v->held, h);
}

void op_acked(Volcano *v, guint64 index)
{
	Held *h;

	core_enter(v);
	while ((h = g_queue_peek_head(&v->held)) && h->index <= index) {
		g_queue_pop_head(&v->held);
		deliver(v, h->peer, h->call, h->head, h->body);
		peer_unref(h->peer);
		g_bytes_unref(h->head);
		if (h->body)
			g_bytes_unref(h->body);
		g_slice_free(Held, h);
	}
	coord_acked(v, index);
	waitq_wake(v, &v->ack_wait);
	core_leave(v);
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
	op_send_held(op->v, op->v->last_index, op->peer, op->call, head, body);
	op_drop(op);
}

void op_reply(Op *op, const void *fields, GBytes *body)
{
	g_autoptr(GBytes) head = op_encode_reply(op, fields, 0, body != NULL);

	answer(op, head, body);
}

void op_error(Op *op, int error)
{
	g_autoptr(GBytes) head = op_encode_reply(op, NULL, error, FALSE);

	answer(op, head, NULL);
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
	Volcano *v = op->v;

	core_enter(v);
	*slot = error;
	op->step = step;
	op_run(op);
	core_leave(v);
}

/* A stored reply from before this start that grants an open: opens are memory, and the client re-asserted only what it had been answered. */
static void grant_again(Volcano *v, Client *c, const Stored *s)
{
	MagmaHdr h;
	MagmaAny rep;
	gsize n;
	const guint8 *p = g_bytes_get_data(s->reply, &n);

	if (s->index || magma_msg_decode(p, n, &h, &rep) != 0 || h.error || (h.op != MAGMA_OP_open && h.op != MAGMA_OP_create))
		return;
	const MagmaFid *fid = h.op == MAGMA_OP_open ? &rep.rep_open.attr.fid : &rep.rep_create.attr.fid;
	if (core_place(v, &fid->key) == HERE)
		client_open(v, c->id, fid);
}

/* A repeat of something that runs or is done. TRUE: dealt with. */
static gboolean op_is_repeat(Volcano *v, Client *c, Peer *peer, const MagmaHdr *h)
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
		grant_again(v, c, s);
		op_send_held(v, s->index, peer, NULL, s->reply, NULL);
		return TRUE;
	}
	return FALSE;
}

static void repeat_synced(void *user, int error)
{
	Op *op = user;
	Volcano *v = op->v;

	core_enter(v);
	if (error) {
		op_error(op, error);
	} else {
		op_send_held(v, v->last_index, op->peer, NULL, op->data, NULL);
		op_drop(op);
	}
	core_leave(v);
}

static void repeat_content_synced(void *user, int error)
{
	Op *op = user;

	if (error && error != ENOENT)        /* none: it is inline */
		repeat_synced(user, error);
	else
		store_sync(op->v->store, repeat_synced, op);
}

/* The stored reply of a write with O_DSYNC from before this start: journal and file may have had it, and the disk not. TRUE: the answer comes after a sync of both. */
static gboolean op_repeats_unsynced(Op *op)
{
	Stored *s = g_hash_table_lookup(op->client->replies, &op->hdr.xid);

	if (!s || s->index || op->hdr.op != MAGMA_OP_write || !(op->req.req_write.flags & MAGMA_WRITE_DSYNC))
		return FALSE;
	op->data = g_bytes_ref(s->reply);
	op->data_free = (GDestroyNotify)g_bytes_unref;
	store_content_sync(op->v->store, &op->req.req_write.fid, repeat_content_synced, op);
	return TRUE;
}

static gboolean op_is_new(Op *op)
{
	const MagmaOpInfo *info = magma_op_info(op->hdr.op);

	if (!op->hdr.client)
		return TRUE;
	op->client = client_get(op->v, op->hdr.client);
	if (op->client->gone) {
		op_error(op, MAGMA_EEXPIRED);
		return FALSE;
	}
	client_heard(op->v, op->client, &op->hdr);
	/* Below the client's own watermark it has every answer: an old copy on the wire (a RELEASE could close a later open). */
	if (op->hdr.xid < op->client->watermark) {
		op_drop(op);
		return FALSE;
	}
	/* An open that truncates is done once as well. */
	if (!(info->flags & MAGMA_OP_MUTATES) && !(op->hdr.op == MAGMA_OP_open && op->req.req_open.flags & O_TRUNC))
		return TRUE;
	if (op_repeats_unsynced(op))
		return FALSE;
	if (op_is_repeat(op->v, op->client, op->peer, &op->hdr)) {
		op_drop(op);
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

/* May it be answered here at all? 0, or the error. */
static int op_admit(Volcano *v, const MagmaOpInfo *info, gboolean is_node, const MagmaHdr *h)
{
	if (v->stopping)
		return MAGMA_ETRYAGAIN;
	if (is_node ? !(info->flags & (MAGMA_OP_NODE | MAGMA_OP_CLIENT)) : !(info->flags & MAGMA_OP_CLIENT))
		return EPERM;
	return v->serving || op_needs_no_rows(v, is_node, h->op) ? 0 : MAGMA_ETRYAGAIN;
}

void op_message(Volcano *v, Peer *peer, GBytes *msg)
{
	MagmaHdr h;
	MagmaAny any;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (magma_msg_decode(p, n, &h, &any) != 0 || h.kind == MAGMA_PUSH) {
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
	if (h.kind == MAGMA_REPLY) {
		if (peer->is_node && !call_relay(v, &h, msg))
			call_reply(v, peer, &h, &any, msg);
		core_leave(v);
		return;
	}
	const MagmaOpInfo *info = magma_op_info(h.op);
	Op *op = op_new(v, &h, &any, msg, peer);
	int error = op_admit(v, info, peer->is_node, &h);

	if (error) {
		op_error(op, error);
	} else if (magma_msg_route(h.op, &any, &op->route)) {
		switch (core_place(v, &op->route)) {
		case HERE:
			op->step = step_begin;
			op_run(op);
			break;
		case FROZEN:
			op_error(op, MAGMA_ETRYAGAIN);
			break;
		case ELSEWHERE:
			if (!(info->flags & MAGMA_OP_CLIENT) || h.hops == 0) {
				op_error(op, info->flags & MAGMA_OP_CLIENT ? MAGMA_EMAP : MAGMA_ENOTOWNER);
				break;
			}
			if (h.op == MAGMA_OP_reopen)
				op_reopen_passes(v, &h, &any.req_reopen);
			call_forward(v, peer, &h, msg, &op->route);
			op_drop(op);
			break;
		}
	} else {
		op->step = step_begin;
		op_run(op);
	}
	core_leave(v);
}

void op_local(Volcano *v, Call *call, GBytes *msg)
{
	MagmaHdr h;
	MagmaAny any;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (magma_msg_decode(p, n, &h, &any) != 0)
		g_assert_not_reached();       /* our own encoding */
	Op *op = op_new(v, &h, &any, msg, NULL);
	op->call = call;
	magma_msg_route(h.op, &any, &op->route);
	op->step = step_begin;
	op_run(op);
}
