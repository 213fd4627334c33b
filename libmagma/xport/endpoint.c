/* One UDP port: which datagram belongs to which session, who may send next, and the events. */
#include "libmagma/xport/internal.h"
#include <openssl/crypto.h>

static void enter(MagmaEndpoint *ep, MagmaTime now)
{
	ep->depth++;
	ep->now = now;
}

static void really_free(MagmaEndpoint *ep);

/* A session that the user closed has nothing more to say to it. */
static void deliver(MagmaEndpoint *ep)
{
	while (ep->events_done < ep->events->len) {
		Event e = g_array_index(ep->events, Event, ep->events_done++);
		gboolean closed = e.conn->state == XC_CLOSING || (e.conn->state == XC_DEAD && e.conn->why == MAGMA_CLOSE_LOCAL);
		if (!closed && !ep->doomed) {
			if (e.type == EVENT_OPEN)
				ep->ops.on_open(ep->user, e.conn);
			else if (e.type == EVENT_REFUSED)
				ep->ops.on_refused(ep->user, e.conn);
			else
				ep->ops.on_message(ep->user, e.conn, e.msg);
		}
		if (e.msg)
			g_bytes_unref(e.msg);
	}
	g_array_set_size(ep->events, 0);
	ep->events_done = 0;
}

static void reap(MagmaEndpoint *ep)
{
	MagmaConn *c = ep->dead.head->data;
	g_queue_unlink(&ep->dead, &c->link);
	if (!c->unknown && !ep->doomed)
		ep->ops.on_close(ep->user, c, c->why);
	xconn_free(c);
}

/* The end of every call that may have caused events: the outermost delivers them, in order, and frees what is over. */
static void leave(MagmaEndpoint *ep)
{
	if (ep->depth == 1)
		while (ep->events->len || ep->dead.head) {
			if (ep->events->len)
				deliver(ep);
			else
				reap(ep);
		}
	if (--ep->depth == 0 && ep->doomed)
		really_free(ep);
}

void xep_event(MagmaEndpoint *ep, EventType type, MagmaConn *c, GBytes *msg)
{
	Event e = { type, c, msg };
	g_array_append_val(ep->events, e);
}

void xep_control(MagmaEndpoint *ep, const MagmaAddr *to, const guint8 *p, gsize n)
{
	g_assert(n <= CONTROL_LEN);
	if (ep->control_n == CONTROL_MAX)
		return;
	Control *slot = &ep->control[(ep->control_first + ep->control_n++) % CONTROL_MAX];
	slot->to = *to;
	slot->len = (guint)n;
	memcpy(slot->bytes, p, n);
}

MagmaEndpoint *magma_endpoint_new(const MagmaXportConfig *cfg, const MagmaXportOps *ops, void *user)
{
	MagmaEndpoint *ep = g_new0(MagmaEndpoint, 1);
	ep->cfg = *cfg;
	ep->cfg.recv_window = MAX(cfg->recv_window ? cfg->recv_window : DEFAULT_RECV_WINDOW, MIN_RECV_WINDOW);
	ep->prologue = g_strdup(cfg->prologue);
	ep->cfg.prologue = ep->prologue;
	ep->ops = *ops;
	ep->user = user;
	ep->by_cid = g_hash_table_new(g_int64_hash, g_int64_equal);
	ep->heap = g_ptr_array_new();
	ep->events = g_array_new(FALSE, FALSE, sizeof(Event));
	ep->reject_tokens = ep->hint_tokens = G_MAXUINT32;
	ep->rekey_packets = SEAL_REKEY_PACKETS;
	ep->scratch = g_malloc(G_MAXUINT16 + 1);
	return ep;
}

static void really_free(MagmaEndpoint *ep)
{
	GQueue *lists[] = { &ep->all, &ep->dead };
	for (guint i = 0; i < G_N_ELEMENTS(lists); i++)
		while (lists[i]->head) {
			MagmaConn *c = lists[i]->head->data;
			g_queue_unlink(lists[i], &c->link);
			xconn_free(c);
		}
	g_hash_table_destroy(ep->by_cid);
	g_ptr_array_unref(ep->heap);
	for (; ep->events_done < ep->events->len; ep->events_done++)
		g_clear_pointer(&g_array_index(ep->events, Event, ep->events_done).msg, g_bytes_unref);
	g_array_unref(ep->events);
	g_free(ep->prologue);
	g_free(ep->scratch);
	OPENSSL_cleanse(ep, sizeof *ep);
	g_free(ep);
}

void magma_endpoint_free(MagmaEndpoint *ep)
{
	if (!ep)
		return;
	if (ep->depth)
		ep->doomed = TRUE;       /* called from an event: the call that delivers it frees */
	else
		really_free(ep);
}

static void to_session(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *from, const guint8 *p, gsize n)
{
	guint64 cid = get_be(p + 1, 8);
	MagmaConn *c = g_hash_table_lookup(ep->by_cid, &cid);
	if (!c)
		ep->stats.unknown_session++;
	else if (p[0] == DGRAM_WELCOME)
		handshake_on_welcome(c, now, p, n);
	else if (p[0] == DGRAM_COOKIE)
		handshake_on_cookie(c, now, p, n);
	else if (p[0] == DGRAM_REJECT)
		handshake_on_reject(c, now, p, n);
	else
		xconn_input(c, now, from, p, n);
}

void magma_endpoint_input(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *from, const guint8 *p, gsize n)
{
	enter(ep, now);
	ep->stats.datagrams_in++;
	ep->stats.bytes_in += n;
	if (n <= DGRAM_PREFIX || n > G_MAXUINT16)
		ep->stats.bad_form++;
	else if (p[0] == DGRAM_HELLO)
		handshake_on_hello(ep, now, from, p, n);
	else if (p[0] == DGRAM_WELCOME || p[0] == DGRAM_COOKIE || p[0] == DGRAM_REJECT || (p[0] & ~1) == DGRAM_DATA)
		to_session(ep, now, from, p, n);
	else
		ep->stats.bad_form++;
	leave(ep);
}

void magma_endpoint_input_done(MagmaEndpoint *ep, MagmaTime now)
{
	enter(ep, now);
	GList *l;
	while ((l = g_queue_pop_head_link(&ep->touched))) {
		MagmaConn *c = l->data;
		c->touched = FALSE;
		xconn_input_done(c, now);
	}
	leave(ep);
}

void magma_endpoint_tick(MagmaEndpoint *ep, MagmaTime now)
{
	enter(ep, now);
	/* A tick moves the deadline beyond now, so this ends; the bound is for the case that it does not. */
	guint bound = 2 * ep->heap->len + 16;
	for (MagmaConn *c; bound-- && (c = timers_first(ep)) && c->deadline <= now;)
		xconn_tick(c, now);
	leave(ep);
}

MagmaTime magma_endpoint_deadline(const MagmaEndpoint *ep)
{
	if (ep->events->len || ep->dead.head)
		return ep->now;
	const MagmaConn *c = timers_first(ep);
	return c ? c->deadline : NEVER;
}

static gboolean poll_control(MagmaEndpoint *ep, MagmaBurst *out)
{
	if (!ep->control_n)
		return FALSE;
	const Control *slot = &ep->control[ep->control_first];
	ep->control_first = (ep->control_first + 1) % CONTROL_MAX;
	ep->control_n--;
	out->to = slot->to;
	out->len = slot->len;
	out->segment = (guint16)slot->len;
	out->probe = FALSE;
	memcpy(out->buf, slot->bytes, slot->len);
	return TRUE;
}

/* Sessions take turns, a burst each. */
static gboolean poll_sessions(MagmaEndpoint *ep, MagmaTime now, MagmaBurst *out)
{
	while (ep->ready.head) {
		MagmaConn *c = ep->ready.head->data;
		gboolean some = xconn_poll(c, now, out);
		if (c->ready) {
			g_queue_unlink(&ep->ready, &c->ready_link);
			c->ready = FALSE;
		}
		if (some)
			xconn_ready(c);
		xconn_rearm(c);
		if (some)
			return TRUE;
	}
	return FALSE;
}

gboolean magma_endpoint_poll(MagmaEndpoint *ep, MagmaTime now, MagmaBurst *out)
{
	g_assert(out->max > G_MAXUINT16);
	enter(ep, now);
	gboolean some = poll_control(ep, out) || poll_sessions(ep, now, out);
	if (some) {
		ep->stats.datagrams_out += (out->len + out->segment - 1) / out->segment;
		ep->stats.bytes_out += out->len;
	}
	leave(ep);
	return some;
}

const MagmaXportStats *magma_endpoint_stats(const MagmaEndpoint *ep)
{
	return &ep->stats;
}

guint magma_endpoint_sessions(const MagmaEndpoint *ep)
{
	return ep->n_open;
}

MagmaConn *magma_conn_connect(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *to)
{
	ep->now = now;
	MagmaConn *c = xconn_new(ep, to, TRUE);
	handshake_start(c, now);
	return c;
}

gboolean magma_conn_send(MagmaConn *c, GBytes *head, GBytes *body)
{
	gsize head_n = g_bytes_get_size(head), body_n = body ? g_bytes_get_size(body) : 0;
	if ((c->state != XC_HELLO && c->state != XC_OPEN) || head_n > MAGMA_MSG_MAX || body_n > MAGMA_MSG_MAX - head_n)
		return FALSE;
	sendq_push(&c->sendq, head, body);
	c->ep->stats.messages_out++;
	xconn_ready(c);
	return TRUE;
}

void magma_conn_probe(MagmaConn *c)
{
	if (c->state != XC_OPEN || c->waiting_since)
		return;
	c->ping_due = TRUE;
	xconn_ready(c);
}

gsize magma_conn_backlog(const MagmaConn *c)
{
	return c->sendq.backlog;
}

void magma_conn_close(MagmaConn *c, MagmaTime now)
{
	if (c->state == XC_DEAD || c->state == XC_CLOSING)
		return;
	c->ep->now = now;
	c->state = XC_CLOSING;
	if (c->parallel)
		xconn_die(c->parallel, MAGMA_CLOSE_LOCAL);
	xconn_ready(c);
	xconn_rearm(c);
}

gboolean magma_conn_is_open(const MagmaConn *c)
{
	return c->state == XC_OPEN;
}

gboolean magma_conn_is_initiator(const MagmaConn *c)
{
	return c->initiator;
}

const MagmaAddr *magma_conn_peer(const MagmaConn *c)
{
	return &c->peer;
}

MagmaTime magma_conn_rtt(const MagmaConn *c)
{
	return c->loss.first_sample ? c->loss.srtt : 0;
}

MagmaTime magma_conn_last_heard(const MagmaConn *c)
{
	return c->last_heard;
}

guint magma_conn_mtu(const MagmaConn *c)
{
	return c->pmtu.mtu;
}

void magma_conn_set_user(MagmaConn *c, void *user)
{
	c->user = user;
}

void *magma_conn_user(const MagmaConn *c)
{
	return c->user;
}
