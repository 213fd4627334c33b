/* Requests from birth to answer: encoded once, routed, sent, sent again under the same transaction id until they are answered. */
#include "libmagma/client/client-internal.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Header, fid and a name: most requests fit without growing. */
#define HEAD_GUESS 192

static void call_free(Call *call)
{
	g_bytes_unref(call->head);
	if (call->body)
		g_bytes_unref(call->body);
	g_free(call);
}

static Call *call_by_xid(MagmaClient *c, guint64 xid)
{
	Call *call = g_hash_table_lookup(c->calls, GSIZE_TO_POINTER((gsize)xid));

	return call && call->xid == xid ? call : NULL;
}

static void enqueue(Call *call, GQueue *q)
{
	if (call->queue)
		g_queue_unlink(call->queue, &call->in_queue);
	call->queue = q;
	if (q)
		g_queue_push_tail_link(q, &call->in_queue);
}

/* Each transaction id is passed once in a client's life, so this is O(1) a call. */
static void watermark_advance(MagmaClient *c)
{
	while (c->watermark < c->next_xid && !call_by_xid(c, c->watermark))
		c->watermark++;
}

static void call_finish(MagmaClient *c, Call *call, int error, const MagmaAny *rep, GBytes *msg)
{
	enqueue(call, NULL);
	g_queue_unlink(&c->all_calls, &call->in_all);
	g_hash_table_remove(c->calls, GSIZE_TO_POINTER((gsize)call->xid));
	if (call->xid == c->watermark)
		watermark_advance(c);
	const Call *outer = c->answering;
	c->answering = call;
	if (call->done)
		call->done(call->user, error, error ? NULL : rep, msg);
	c->answering = outer;
	call_free(call);
}

/* Encoding. */

static GBytes *encode(MagmaClient *c, const Call *call, const MagmaCred *cred, const void *req, GBytes *body)
{
	static const MagmaCred root;
	const MagmaOpInfo *info = magma_op_info(call->op);
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = call->op, .hops = MAGMA_HOPS, .xid = call->xid, .epoch = c->map ? c->map->epoch : 0,
		.client = call->client, .watermark = c->watermark, .cred = cred ? *cred : root };
	MagmaAny with_body;
	GByteArray *out = g_byte_array_sized_new(HEAD_GUESS);

	if (body) {
		const MagmaField *last = &info->req[info->nreq - 1];
		g_assert(last->type == MAGMA_F_data);
		memcpy(&with_body, req, last->offset);
		*(MagmaBytes *)((guint8 *)&with_body + last->offset) = MAGMA_BYTES(NULL, g_bytes_get_size(body));
		req = &with_body;
	}
	magma_msg_encode(&h, req, body != NULL, out);
	return g_byte_array_free_to_bytes(out);
}

/* What has changed since the first try. The session may still hold the old bytes: they are copied. */
static void refresh_head(MagmaClient *c, Call *call)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(call->head, &n);
	guint8 *copy = g_memdup2(p, n);

	/* a request that may have been executed keeps the id it was executed under: a new one would execute it again */
	if (!(call->mutates && call->unsure))
		call->client = c->id;
	magma_msg_set_hops_flags(copy, MAGMA_HOPS, call->tries ? MAGMA_FLAG_RETRY : 0);
	magma_msg_set_sender(copy, c->map ? c->map->epoch : 0, call->client, c->watermark);
	g_bytes_unref(call->head);
	call->head = g_bytes_new_take(copy, n);
}

/* Sending. */

static void transmit(MagmaClient *c, Call *call, Peer *via, Peer *target)
{
	MagmaTime now = magma_net_now();

	if (call->tries || call->client != c->id)
		refresh_head(c, call);
	if (!magma_conn_send(via->conn, call->head, call->body)) {
		/* the session is ending; its on_close routes what waits */
		enqueue(call, &via->waiting);
		return;
	}
	via->queued_bytes += g_bytes_get_size(call->head) + (call->body ? g_bytes_get_size(call->body) : 0);
	call->mark = via->queued_bytes;
	call->same_way = call->astray && via == call->via && via != target;
	if (call->astray && via != call->via)
		call->resend = MIN(call->resend, RESEND_ASTRAY);
	call->conn = via->conn;
	call->via = via;
	call->sent = now;
	call->probe = PROBE_AFTER;
	if (!call->tries++)
		call->shakes = c->shakes;
	if (target && call->to == TO_KEY)
		target->spoke_at = now;
	enqueue(call, &via->sent);
}

static Peer *relay_for(const MagmaClient *c, const Call *call, const Peer *not_this)
{
	return call->astray ? peer_relay_next(c, not_this, call->via) : peer_relay(c, not_this);
}

/* The session to use for a key; *target is the volcano meant. NULL: there is no map that says. */
static Peer *path_for_key(MagmaClient *c, const Call *call, Peer **target)
{
	const MagmaVolcano *v = c->map ? magma_map_route(c->map, &call->key) : NULL;

	if (!v)
		return NULL;
	Peer *p = *target = peer_of_volcano(c, v);
	if (c->cfg.proxy) {
		Peer *host = relay_for(c, call, NULL);
		/* one that is tried for a call astray has yet to answer */
		if (host && !call->astray)
			c->home = host;
		return host ? host : c->home;
	}
	if (p->state == PEER_UP && !p->suspect)
		return p;
	peer_want(p);
	if (p->suspect || p->failures || magma_net_now() - p->since >= FALLBACK_AFTER) {
		Peer *relay = relay_for(c, call, p);
		if (relay)
			return relay;
	}
	return p;
}

/* Who was meant to answer, as the map is now. */
static void note_owner(MagmaClient *c, Call *call)
{
	const MagmaSlice *s = call->to == TO_KEY && c->map ? magma_map_slice(c->map, &call->key) : NULL;

	call->owner = s ? s->owner : 0;
	call->ownership = s ? s->epoch : 0;
}

/* Whoever has been asked is not, or no longer, the one to ask: an answer may never come from there. What may have been done is asked again under its old transaction id. */
void call_owners_changed(MagmaClient *c, Peer *p)
{
	for (guint n = p->sent.length; n > 0 && p->sent.head; n--) {
		Call *call = p->sent.head->data;
		const MagmaSlice *s = call->to == TO_KEY ? magma_map_slice(c->map, &call->key) : NULL;
		if (!s || (s->owner == call->owner && s->epoch == call->ownership)) {
			enqueue(call, &p->sent);
			continue;
		}
		call->unsure = TRUE;
		call_route(c, call);
	}
}

void call_route(MagmaClient *c, Call *call)
{
	Peer *target = call->peer, *via = call->to == TO_KEY ? path_for_key(c, call, &target) : call->peer;

	if (!via) {
		enqueue(call, &c->parked);
		client_map_want(c, NULL);
		return;
	}
	if (call->to == TO_SESSION && via->conn != call->conn) {
		call_finish(c, call, ENOTCONN, NULL, NULL);
		return;
	}
	note_owner(c, call);
	if (via->state == PEER_UP || (call->to == TO_SESSION && via->conn)) {
		transmit(c, call, via, target);
		return;
	}
	enqueue(call, &via->waiting);
	peer_want(via);
}

/* Routes all that stand in q now; what comes back into it meanwhile waits for the next time. */
void call_queue_route(MagmaClient *c, GQueue *q)
{
	for (guint n = q->length; n > 0 && q->head; n--)
		call_route(c, q->head->data);
}

void call_tick_want(MagmaClient *c)
{
	if (c->tick_at != NEVER)
		return;
	c->tick_at = magma_net_now() + TICK_BUSY;
	client_alarm_reset(c);
}

/* As volcanos see it: stored replies are for these. */
static gboolean is_done_once(MagmaOp op, const void *req)
{
	return (magma_op_info(op)->flags & MAGMA_OP_MUTATES) || (op == MAGMA_OP_open && ((const struct magma_req_open *)req)->flags & O_TRUNC);
}

guint64 call_new(MagmaClient *c, CallTo to, Peer *peer, MagmaOp op, const MagmaCred *cred, const void *req, GBytes *body, MagmaReplyFn done, void *user)
{
	Call *call = g_new0(Call, 1);
	guint64 xid = c->next_xid++;

	call->xid = xid;
	call->op = op;
	call->to = to;
	call->peer = peer;
	call->conn = to == TO_SESSION ? peer->conn : NULL;
	call->client = c->id;
	call->mutates = is_done_once(op, req);
	call->done = done;
	call->user = user;
	call->born = magma_net_now();
	call->give_up = call->born + c->cfg.call_timeout_ms * MS;
	call->resend = RESEND_FIRST;
	call->in_queue.data = call->in_all.data = call;
	g_hash_table_insert(c->calls, GSIZE_TO_POINTER((gsize)xid), call);
	g_queue_push_tail_link(&c->all_calls, &call->in_all);
	call->head = encode(c, call, cred, req, body);
	call->body = body ? g_bytes_ref(body) : NULL;
	if (to == TO_KEY) {
		gboolean routed = magma_msg_route(op, req, &call->key);
		g_assert(routed);
		if (op != MAGMA_OP_reopen)
			c->last_call = call->born;
	}
	call_tick_want(c);
	call_route(c, call);
	return xid;
}

/* Answers. */

/* This client was forgotten: it goes on under a new id. Once for all calls that still carry the old one. */
static void renew_id(MagmaClient *c)
{
	c->id = client_random_id();
	c->renewed_at = magma_net_now();
	c->shakes++;
	MAGMA_TRACE(c->cfg.trace, 'F', "client forgotten: new id %016" G_GINT64_MODIFIER "x", c->id);
	open_moved(c, NULL);
}

/* A slice that nobody has may leave its REOPEN unanswered for a minute: not everybody waits so long. A greeting does not wait at all, for they wait for it. */
static gboolean opens_first(const MagmaClient *c, const Call *call)
{
	return c->renewing && magma_net_now() - c->renewed_at < RENEW_FIRST && call->to != TO_SESSION && call->op != MAGMA_OP_reopen;
}

static void reply_expired(MagmaClient *c, Call *call)
{
	if (call->client == c->id)
		renew_id(c);
	if (call->mutates && call->unsure) {
		call_finish(c, call, EIO, NULL, NULL);
		return;
	}
	if (opens_first(c, call))
		enqueue(call, &c->parked);
	else
		call_route(c, call);
}

static void reply_later(MagmaClient *c, Call *call)
{
	call->delay = call->delay ? MIN(call->delay * 2, DELAY_MOST) : DELAY_FIRST;
	call->due = magma_net_now() + call->delay;
	enqueue(call, &c->delayed);
	client_alarm_reset(c);
}

void call_reply(MagmaClient *c, Peer *from, GBytes *msg)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);
	MagmaHdr h;
	MagmaAny rep;

	if (magma_msg_decode(p, n, &h, &rep) != 0 || (h.kind != MAGMA_REPLY && !(h.kind == MAGMA_PUSH && h.op == MAGMA_OP_new_map))) {
		MAGMA_TRACE(c->cfg.trace, 'F', "a message of %zu bytes that is no reply: dropped", n);
		return;
	}
	if (h.kind == MAGMA_PUSH) {
		client_map_pushed(c, rep.req_new_map.map);
		return;
	}
	Call *call = call_by_xid(c, h.xid);
	if (!call || call->op != h.op)
		return;
	if ((h.flags & MAGMA_FLAG_REFRESH_TOPOLOGY) && c->map && h.epoch > c->map->epoch)
		client_map_want(c, from);
	gboolean current = call->via && call->queue == &call->via->sent;
	/* A try that was made elsewhere before the last one, and did nothing, says nothing about the last one, which may have done it. */
	if (h.error && call->tries > 1 && (!current || call->via != from))
		return;
	/* no second tries while the client ends */
	switch (c->closing ? 0 : h.error) {
	case MAGMA_EMAP:
		if (current) {
			enqueue(call, &c->parked);
			client_map_want(c, from);
		}
		return;
	case MAGMA_ETRYAGAIN:
		/* it may have been done: who gives its slice away says so too, and the answer goes with the slice (slice_dismiss() in magmad) */
		if (current) {
			call->unsure = TRUE;
			reply_later(c, call);
		}
		return;
	case MAGMA_EEXPIRED:
		/* an answer to an earlier try says nothing about the id the last one went out under */
		if (current && h.client == call->client)
			reply_expired(c, call);
		return;
	default:
		/* it gets through where others did not */
		if (call->astray && (c->cfg.proxy || from->id != call->owner))
			c->home = from;
		call_finish(c, call, (int)h.error, &rep, msg);
	}
}

/* A map has come, or none, or the opens stand again. */
void call_unpark(MagmaClient *c, gboolean map_is_new)
{
	for (guint n = c->parked.length; n > 0 && c->parked.head; n--) {
		Call *call = c->parked.head->data;
		/* who said EMAP and has no newer map will say it again: not at once */
		if (opens_first(c, call))
			enqueue(call, &c->parked);
		else if (map_is_new || !call->tries)
			call_route(c, call);
		else
			reply_later(c, call);
	}
}

/* Whoever acts by it may still be opening the slice: it is asked as often as if it were the first time. */
void call_delayed_route(MagmaClient *c)
{
	for (GList *l = c->delayed.head; l; l = l->next)
		((Call *)l->data)->delay = 0;
	call_queue_route(c, &c->delayed);
}

void call_astray_route(MagmaClient *c)
{
	for (GList *l = c->all_calls.head; l; l = l->next) {
		Call *call = l->data;
		if (!call->same_way || call->queue != &call->via->sent)
			continue;
		call->unsure = TRUE;
		call_route(c, call);
	}
}

/* Sessions that end, volcanos out of reach. */

void call_session_lost(MagmaClient *c, Peer *p)
{
	GQueue lost = p->sent;

	/* the queue is taken whole: answers given below may send again */
	g_queue_init(&p->sent);
	for (GList *l = lost.head; l; l = l->next)
		((Call *)l->data)->queue = &lost;
	while (lost.head) {
		Call *call = lost.head->data;
		call->unsure = TRUE;
		if (call->to == TO_SESSION)
			call_finish(c, call, ENOTCONN, NULL, NULL);
		else
			enqueue(call, &p->waiting);
	}
}

/* The session is not over, but its calls need not wait for its end. */
void call_session_suspect(MagmaClient *c, Peer *p)
{
	for (guint n = p->sent.length; n > 0 && p->sent.head; n--) {
		Call *call = p->sent.head->data;
		if (call->to != TO_KEY) {
			enqueue(call, &p->sent);
			continue;
		}
		call->unsure = TRUE;
		call_route(c, call);
	}
}

void call_volcano_unreachable(MagmaClient *c, Peer *p)
{
	for (guint n = p->waiting.length; n > 0 && p->waiting.head; n--) {
		Call *call = p->waiting.head->data;
		if (call->to == TO_KEY)
			call_route(c, call);
		else
			call_finish(c, call, EHOSTUNREACH, NULL, NULL);
	}
}

void call_cancel_all(MagmaClient *c, int error)
{
	while (c->all_calls.head)
		call_finish(c, c->all_calls.head->data, error, NULL, NULL);
}

/* Time. */

MagmaTime call_deadline(const MagmaClient *c)
{
	MagmaTime first = NEVER;

	for (GList *l = c->delayed.head; l; l = l->next)
		first = MIN(first, ((Call *)l->data)->due);
	return first;
}

void call_alarm(MagmaClient *c, MagmaTime now)
{
	for (guint n = c->delayed.length; n > 0 && c->delayed.head; n--) {
		Call *call = c->delayed.head->data;
		if (call->due <= now)
			call_route(c, call);
		else
			enqueue(call, &c->delayed);
	}
}

/* Roughly: small messages overtake large ones. */
static gboolean delivered(const Call *call)
{
	const Peer *via = call->via;

	return via->queued_bytes - MIN(magma_conn_backlog(via->conn), via->queued_bytes) >= call->mark;
}

gboolean call_undelivered(const Peer *p, MagmaTime before)
{
	for (GList *l = p->sent.head; l; l = l->next) {
		const Call *call = l->data;
		if (call->sent > before)
			return FALSE;
		if (call->conn == p->conn && !delivered(call))
			return TRUE;
	}
	return FALSE;
}

/* Not while its bytes are still under way: on a slow line a repeat would only make it slower. */
static gboolean resend_due(const Call *call, MagmaTime now)
{
	const Peer *via = call->via;

	if (!via || call->queue != &via->sent || now - call->sent < call->resend)
		return FALSE;
	return via->conn != call->conn || delivered(call);
}

static gboolean is_astray(const Call *call, MagmaTime now)
{
	if (call->to != TO_KEY || call->astray)
		return call->astray;
	/* on a session: not at its first repeat, for anything may get lost */
	if (call->via && call->queue == &call->via->sent)
		return call->resend > RESEND_FIRST && resend_due(call, now);
	return now - call->born >= ASTRAY_AFTER;
}

void call_forgive(MagmaClient *c, MagmaTime now, MagmaTime gap)
{
	for (GList *l = c->all_calls.head; l; l = l->next) {
		Call *call = l->data;
		/* born since: it has lost nothing */
		call->give_up = MIN(call->give_up + gap, now + c->cfg.call_timeout_ms * MS);
		call->sent = MIN(call->sent + gap, now);
	}
}

void call_tick(MagmaClient *c, MagmaTime now)
{
	g_autoptr(GArray) due = g_array_new(FALSE, FALSE, sizeof(guint64));
	gboolean astray = FALSE;

	/* by id: what one answer does to the others is not known here */
	for (GList *l = c->all_calls.head; l; l = l->next) {
		Call *call = l->data;
		if (call->via && call->queue == &call->via->sent && call->via->conn && now - call->sent >= call->probe) {
			call->probe *= 2;
			magma_conn_probe(call->via->conn);
		}
		call->astray = is_astray(call, now);
		astray |= call->astray;
		if (now >= call->give_up || resend_due(call, now))
			g_array_append_val(due, call->xid);
	}
	if (astray)
		peer_ask_around(c, now);
	for (guint i = 0; i < due->len; i++) {
		Call *call = call_by_xid(c, g_array_index(due, guint64, i));
		if (!call)
			continue;
		if (now >= call->give_up) {
			c->unanswered = TRUE;
			call_finish(c, call, EIO, NULL, NULL);
			continue;
		}
		MAGMA_TRACE(c->cfg.trace, 'F', "xid %" G_GUINT64_FORMAT " (%s): no answer, sent again", call->xid, magma_op_info(call->op)->name);
		call->unsure = TRUE;
		call->resend = MIN(call->resend * 2, RESEND_MOST);
		call_route(c, call);
	}
}

/* The public part. */

guint64 magma_client_call(MagmaClient *c, MagmaOp op, const MagmaCred *cred, const void *req, GBytes *body, MagmaReplyFn done, void *user)
{
	if (c->closing) {
		done(user, ECANCELED, NULL, NULL);
		return 0;
	}
	client_enter(c);
	guint64 xid = call_new(c, TO_KEY, NULL, op, cred, req, body, done, user);
	client_leave(c);
	return xid;
}

void magma_client_cancel(MagmaClient *c, guint64 xid)
{
	Call *call = call_by_xid(c, xid);

	if (!call || call->tries)
		return;
	client_enter(c);
	call_finish(c, call, EINTR, NULL, NULL);
	client_leave(c);
}
