/* Sessions: one per volcano, made when needed, greeted, replaced, retried; and who stands in for a volcano that cannot be reached. */
#include "libmagma/client/client-internal.h"
#include <string.h>

/* Between attempts at a volcano that did not answer the last handshake. */
#define RETRY_FIRST (250 * MS)
#define RETRY_MOST (8 * SECOND)
/* A session that ends so soon after it began is not begun again at once. */
#define SHORT_LIFE SECOND
/* A session that acknowledges nothing for so long is suspect: several retransmissions, and well before the 10 s after which it is given up. */
#define SUSPECT_AFTER (1500 * MS)

Peer *peer_new(MagmaClient *c, const MagmaAddr *addr, guint16 id)
{
	Peer *p = g_new0(Peer, 1);

	p->c = c;
	p->id = id;
	p->addr = *addr;
	g_ptr_array_add(c->all_peers, p);
	return p;
}

void peer_free(Peer *p)
{
	g_assert(p->waiting.length == 0 && p->sent.length == 0);
	g_free(p);
}

Peer *peer_of_volcano(MagmaClient *c, const MagmaVolcano *v)
{
	Peer *p = g_hash_table_lookup(c->peers, GUINT_TO_POINTER(v->id));

	if (!p) {
		p = peer_new(c, &v->addr, v->id);
		g_hash_table_insert(c->peers, GUINT_TO_POINTER(v->id), p);
	}
	return p;
}

static gboolean usable(const Peer *p)
{
	return p->state == PEER_UP && !p->suspect;
}

Peer *peer_relay(const MagmaClient *c, const Peer *not_this)
{
	if (c->home && c->home != not_this && usable(c->home))
		return c->home;
	for (guint i = 0; i < c->all_peers->len; i++) {
		Peer *p = c->all_peers->pdata[i];
		if (p != not_this && usable(p))
			return p;
	}
	return NULL;
}

Peer *peer_relay_next(const MagmaClient *c, const Peer *not_this, const Peer *last)
{
	guint n = c->all_peers->len, at = 0;

	while (at < n && c->all_peers->pdata[at] != last)
		at++;
	for (guint i = 1; i <= n; i++) {
		Peer *p = c->all_peers->pdata[(at + i) % n];
		if (p != not_this && p != last && usable(p))
			return p;
	}
	return peer_relay(c, not_this);
}

/* Calls wait, and nobody there is who could pass them on, or say where their owner is by now: any volcano may, also one that was never spoken to. */
static gboolean lost(const MagmaClient *c) { return c->map && c->all_calls.length && !peer_relay(c, NULL); }

/* A host that turned out to be a volcano with a session by its other address: a greeting would only say so again. */
static gboolean known_by_another(const Peer *host)
{
	const Peer *other = host->id ? g_hash_table_lookup(host->c->peers, GUINT_TO_POINTER(host->id)) : NULL;

	return other && other != host && usable(other);
}

static void ask_around(MagmaClient *c)
{
	for (guint i = 0; i < c->cfg.nhosts; i++)
		if (!known_by_another(c->hosts[i]))
			peer_want(c->hosts[i]);
	for (guint i = 0; !c->cfg.proxy && c->map && i < c->map->volcanos->len; i++) {
		const MagmaVolcano *v = c->map->volcanos->pdata[i];
		if (v->state == MAGMA_ACTIVE)
			peer_want(peer_of_volcano(c, v));
	}
}

void peer_ask_around(MagmaClient *c, MagmaTime now)
{
	if (c->asked_around && now - c->asked_around < ASK_EVERY)
		return;
	c->asked_around = now;
	ask_around(c);
}

static void peer_failed(Peer *p, MagmaCloseReason why)
{
	MagmaTime delay = MIN(RETRY_FIRST << MIN(p->failures, 5), RETRY_MOST);

	p->conn = NULL;
	p->state = PEER_IDLE;
	p->why = why;
	p->failures++;
	p->retry_at = magma_net_now() + delay;
	client_alarm_reset(p->c);
	start_peer_failed(p->c, p);
	call_volcano_unreachable(p->c, p);
	if (lost(p->c))
		ask_around(p->c);
}

static MagmaNet *net_for(MagmaClient *c, const MagmaAddr *to)
{
	MagmaNet **net = &c->net[to->family == 6];

	if (!*net) {
		MagmaAddr any = { .family = to->family };
		MagmaXportConfig cfg = { .prologue = "magma-flare-1", .handshake_timeout_ms = 3000, .trace = c->cfg.trace };
		g_autoptr(GError) error = NULL;
		memcpy(cfg.psk, c->cfg.psk, sizeof cfg.psk);
		*net = magma_net_new(c->ctx, &any, &cfg, &peer_net_ops, c, &error);
		explicit_bzero(cfg.psk, sizeof cfg.psk);
		if (!*net)
			MAGMA_TRACE(c->cfg.trace, 'n', "no socket: %s", error->message);
	}
	return *net;
}

void peer_want(Peer *p)
{
	MagmaClient *c = p->c;

	if (p->state != PEER_IDLE || c->closing || (p->failures && magma_net_now() < p->retry_at))
		return;
	MagmaNet *net = net_for(c, &p->addr);
	MagmaConn *conn = net ? magma_net_connect(net, &p->addr) : NULL;
	if (!conn) {
		/* no such family here, or no more descriptors; the alarm tries again, the caller is not called back from in here */
		p->failures++;
		p->why = MAGMA_CLOSE_NOBODY;
		p->retry_at = magma_net_now() + RETRY_MOST;
		return;
	}
	magma_conn_set_user(conn, p);
	p->conn = conn;
	p->state = PEER_CONNECTING;
	p->since = magma_net_now();
	p->fell_back = FALSE;
	client_alarm_reset(c);
}

void peer_drop_session(Peer *p)
{
	MagmaConn *conn = p->conn;

	if (!conn)
		return;
	p->conn = NULL;
	p->state = PEER_IDLE;
	magma_conn_set_user(conn, NULL);
	magma_net_close(p->c->net[p->addr.family == 6], conn);
	call_session_lost(p->c, p);
}

/* Greeting: hello says which volcano this is, which life of it, and brings its map. */

static void peer_up(Peer *p)
{
	MagmaClient *c = p->c;

	p->state = PEER_UP;
	p->failures = 0;
	p->since = magma_net_now();
	p->boot = p->new_boot;
	p->suspect = FALSE;
	if (!c->home || !usable(c->home)) {
		Peer *old = c->home;
		c->home = p;
		if (old && old != p)
			call_queue_route(c, &old->waiting);
	}
	start_peer_up(c, p);
	call_queue_route(c, &p->waiting);
	/* those who cannot be reached have somebody who passes it on */
	for (guint i = 0; i < c->all_peers->len; i++) {
		Peer *q = c->all_peers->pdata[i];
		if (q->state != PEER_UP && (q->failures || q->fell_back))
			call_queue_route(c, &q->waiting);
	}
	call_astray_route(c);
	call_unpark(c, TRUE);
}

/* Two addresses, one volcano: the one that works stands for it. FALSE: the other one works already. */
static gboolean peer_register(Peer *p, guint16 id)
{
	MagmaClient *c = p->c;
	Peer *other = g_hash_table_lookup(c->peers, GUINT_TO_POINTER(id));

	if (p->id && p->id != id) {
		if (g_hash_table_lookup(c->peers, GUINT_TO_POINTER(p->id)) == p)
			g_hash_table_remove(c->peers, GUINT_TO_POINTER(p->id));
		p->boot = 0;
	}
	p->id = id;
	if (c->cfg.proxy || other == p)
		return TRUE;
	if (other && usable(other))
		return FALSE;
	g_hash_table_insert(c->peers, GUINT_TO_POINTER(id), p);
	if (!other)
		return TRUE;
	p->boot = other->boot;
	p->spoke_at = other->spoke_at;
	p->asserted_at = other->asserted_at;
	other->spoke_at = other->asserted_at = 0;      /* it is wanted no more, and need not greet to be told so */
	peer_drop_session(other);
	while (other->waiting.head) {
		Call *call = other->waiting.head->data;
		if (call->peer == other)
			call->peer = p;
		g_queue_unlink(&other->waiting, &call->in_queue);
		call->queue = &p->waiting;
		g_queue_push_tail_link(&p->waiting, &call->in_queue);
	}
	return TRUE;
}

static void on_hello(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Peer *p = user;
	MagmaClient *c = p->c;

	if (c->closing || error == ENOTCONN || p->state != PEER_GREETING)
		return;
	if (error || (p->id && p->id != rep->rep_hello.volcano && !p->by_host) || !client_map_install(c, rep->rep_hello.map)) {
		/* another volcano has this address now, or it speaks another language: as if nobody answered */
		peer_drop_session(p);
		peer_failed(p, MAGMA_CLOSE_NOBODY);
		return;
	}
	if (!peer_register(p, rep->rep_hello.volcano)) {
		peer_drop_session(p);
		start_peer_up(c, p);
		return;
	}
	p->new_boot = rep->rep_hello.boot;
	p->reopens = 0;
	if (p->boot != p->new_boot) {
		c->shakes++;          /* what is granted from here on is not among what is asserted now */
		open_greet(p);
	}
	if (p->reopens == 0)
		peer_up(p);
}

void peer_reopened(Peer *p, MagmaConn *conn)
{
	if (p->conn != conn || p->state != PEER_GREETING || p->reopens == 0)
		return;
	if (--p->reopens == 0)
		peer_up(p);
}

static void greet(Peer *p)
{
	struct magma_req_hello req = { 0 };

	p->state = PEER_GREETING;
	call_new(p->c, TO_SESSION, p, MAGMA_OP_hello, NULL, &req, NULL, on_hello, p);
}

/* Events of the sessions. */

static void net_open(void *user, MagmaConn *conn)
{
	MagmaClient *c = user;
	Peer *p = magma_conn_user(conn);

	/* a parallel handshake has succeeded: the session is new, its user not yet set */
	for (guint i = 0; !p && i < c->all_peers->len; i++) {
		Peer *q = c->all_peers->pdata[i];
		if (q->conn && magma_addr_equal(magma_conn_peer(q->conn), magma_conn_peer(conn)))
			p = q;
	}
	if (!p || c->closing) {
		magma_net_close(c->net[magma_conn_peer(conn)->family == 6], conn);
		return;
	}
	client_enter(c);
	if (p->conn != conn) {
		p->conn = conn;
		p->since = magma_net_now();
		p->fell_back = FALSE;
		p->state = PEER_GREETING;
		call_session_lost(c, p);
	}
	magma_conn_set_user(conn, p);
	p->queued_bytes = 0;
	greet(p);
	client_leave(c);
}

static void net_message(void *user, MagmaConn *conn, GBytes *msg)
{
	MagmaClient *c = user;
	Peer *p = magma_conn_user(conn);

	if (!p)
		return;
	client_enter(c);
	call_reply(c, p, msg);
	client_leave(c);
}

static void net_close(void *user, MagmaConn *conn, MagmaCloseReason why)
{
	MagmaClient *c = user;
	Peer *p = magma_conn_user(conn);

	if (!p || p->conn != conn)
		return;
	client_enter(c);
	if (c->closing) {
		p->conn = NULL;
		p->state = PEER_IDLE;
		call_session_lost(c, p);
	} else if (p->state == PEER_CONNECTING) {
		peer_failed(p, why);
	} else {
		gboolean lived = p->state == PEER_UP && magma_net_now() - p->since >= SHORT_LIFE;
		p->conn = NULL;
		p->state = PEER_IDLE;
		call_session_lost(c, p);
		if (lived) {
			peer_want(p);
			client_alarm_reset(c);
		} else {
			peer_failed(p, why);
		}
		Peer *relay = c->home == p ? peer_relay(c, p) : NULL;
		c->home = relay ? relay : c->home;
	}
	client_leave(c);
}

const MagmaNetOps peer_net_ops = { net_open, net_message, net_close };

/* The map moved volcanos or took them out. */
/* A slice may have moved, with what its old owner kept for us (answers, opens): the new one must hear of us before it thinks us gone. */
static void heirs_hear_of_us(MagmaClient *c)
{
	gboolean known = FALSE;

	for (guint i = 0; i < c->all_peers->len; i++)
		known |= ((Peer *)c->all_peers->pdata[i])->spoke_at != 0;
	for (guint i = 0; known && i < c->map->volcanos->len; i++) {
		const MagmaVolcano *v = c->map->volcanos->pdata[i];
		Peer *p = v->state == MAGMA_ACTIVE ? peer_of_volcano(c, v) : NULL;
		if (!p || p->spoke_at)
			continue;
		p->spoke_at = magma_net_now();
		if (!c->cfg.proxy)
			peer_want(p);
	}
}

void peer_map_changed(MagmaClient *c)
{
	for (guint i = 0; i < c->all_peers->len; i++) {
		Peer *p = c->all_peers->pdata[i];
		const MagmaVolcano *v = p->id ? magma_map_by_id(c->map, p->id) : NULL;
		if (v && !p->by_host && !magma_addr_equal(&v->addr, &p->addr)) {
			peer_drop_session(p);
			p->addr = v->addr;
			p->failures = 0;
		}
		call_owners_changed(c, p);
		/* owners may have changed: what waits here may belong elsewhere */
		if (p->state != PEER_UP)
			call_queue_route(c, &p->waiting);
	}
	heirs_hear_of_us(c);
}

/* Time. */

/* A session that acknowledges nothing: what was sent on it goes another way, if there is one; anybody else is begun, if there is none. It stays so when its calls have left it, until it is heard again. */
void peer_check(Peer *p, MagmaTime now)
{
	MagmaClient *c = p->c;

	gboolean silent = p->state == PEER_UP && now - magma_conn_last_heard(p->conn) >= SUSPECT_AFTER;

	p->suspect = silent && (p->suspect || call_undelivered(p, now - SUSPECT_AFTER));
	if (!p->suspect)
		return;
	Peer *relay = peer_relay(c, p);
	if (relay) {
		if (c->home == p)
			c->home = relay;
		call_session_suspect(c, p);
		return;
	}
	ask_around(c);
}

static gboolean wanted(const Peer *p)
{
	const MagmaClient *c = p->c;

	if (p->waiting.length)
		return TRUE;
	/* somebody must be there to ask for the map */
	if (p->by_host && lost(c))
		return TRUE;
	if (!c->cfg.proxy && p->id && lost(c)) {
		const MagmaVolcano *v = magma_map_by_id(c->map, p->id);
		return v && v->state == MAGMA_ACTIVE;
	}
	return !c->cfg.proxy && p->id && p->spoke_at && magma_net_now() - p->spoke_at < ACTIVE_FOR;
}

MagmaTime peer_deadline(const Peer *p)
{
	if (p->state == PEER_IDLE)
		return p->failures && wanted(p) ? p->retry_at : NEVER;
	if (p->state != PEER_UP && !p->fell_back && p->waiting.length && !p->c->cfg.proxy && peer_relay(p->c, p))
		return p->since + FALLBACK_AFTER;
	return NEVER;
}

void peer_alarm(Peer *p, MagmaTime now)
{
	if (p->state == PEER_IDLE && wanted(p))
		peer_want(p);
	else if ((p->state == PEER_CONNECTING || p->state == PEER_GREETING) && !p->fell_back && p->waiting.length && now - p->since >= FALLBACK_AFTER) {
		p->fell_back = TRUE;
		call_queue_route(p->c, &p->waiting);
	}
}

static void on_ping(void *user, int error, const MagmaAny *rep, GBytes *msg) {}

void peer_keepalive(Peer *p, MagmaTime now)
{
	MagmaClient *c = p->c;
	struct magma_req_ping req = { 0 };
	const MagmaVolcano *v = c->map && p->id ? magma_map_by_id(c->map, p->id) : NULL;

	if (!p->spoke_at)
		return;
	if (usable(p))
		p->asserted_at = 0;
	else if (!p->asserted_at)
		p->asserted_at = p->spoke_at;
	if (now - (p->asserted_at ? p->asserted_at : p->spoke_at) < KEEPALIVE_AFTER)
		return;
	if (usable(p)) {
		p->spoke_at = now;
		call_new(c, TO_SESSION, p, MAGMA_OP_ping, NULL, &req, NULL, on_ping, NULL);
	} else if (v && v->state == MAGMA_ACTIVE) {
		/* by whatever way it is reached now; also where other requests go there all the time */
		p->spoke_at = p->asserted_at = now;
		open_keepalive_by_key(c, v);
	} else if (!v) {
		p->spoke_at = 0;
	}
}
