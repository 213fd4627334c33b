/* The client as a whole: life, map, time. */
#include "libmagma/client/client-internal.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>

#define START_TIMEOUT_MS 4500
#define CALL_TIMEOUT_MS 60000
#define GOODBYE_TIMEOUT_MS 1000

guint64 client_random_id(void)
{
	guint64 id = 0;

	while (id == 0)
		if (getrandom(&id, sizeof id, 0) != sizeof id)
			id = 0;
	return id;
}

static void client_destroy(MagmaClient *c)
{
	magma_net_free(c->net[0]);
	magma_net_free(c->net[1]);
	g_ptr_array_unref(c->all_peers);
	g_hash_table_unref(c->peers);
	g_hash_table_unref(c->calls);
	g_hash_table_unref(c->opens);
	if (c->map)
		magma_map_unref(c->map);
	g_free(c->hosts);
	g_free((MagmaAddr *)c->cfg.hosts);
	g_main_context_unref(c->ctx);
	explicit_bzero(c->cfg.psk, sizeof c->cfg.psk);
	g_free(c);
}

/* Callbacks of the user may end the client; it stays in memory until the last of its functions has returned. */
void client_enter(MagmaClient *c) { c->entered++; }

void client_leave(MagmaClient *c)
{
	if (--c->entered == 0 && c->closing)
		client_destroy(c);
}

/* Time: one source for everything that is due one day. */

static MagmaTime first_deadline(const MagmaClient *c)
{
	MagmaTime first = MIN(MIN(c->tick_at, call_deadline(c)), start_deadline(c));

	for (guint i = 0; i < c->all_peers->len; i++)
		first = MIN(first, peer_deadline(c->all_peers->pdata[i]));
	return first;
}

void client_alarm_reset(MagmaClient *c)
{
	if (c->closing)
		return;
	MagmaTime first = first_deadline(c);
	g_source_set_ready_time(c->alarm, first == NEVER ? -1 : g_get_monotonic_time() + MAX(first - magma_net_now(), 0));
}

static void tick(MagmaClient *c, MagmaTime now)
{
	/* the alarm comes before the sockets: the answers may be there, unread */
	if (now - c->tick_at > STOOD_STILL)
		call_forgive(c, now, now - c->tick_at);
	for (guint i = 0; i < c->all_peers->len; i++)
		peer_check(c->all_peers->pdata[i], now);
	call_tick(c, now);
	if (c->parked.length && !c->fetching_map)
		call_unpark(c, FALSE);
	gboolean active = g_hash_table_size(c->opens) > 0 || now - c->last_call < ACTIVE_FOR;
	for (guint i = 0; i < c->all_peers->len; i++) {
		Peer *p = c->all_peers->pdata[i];
		if (active)
			peer_keepalive(p, now);
		else if (c->all_calls.length == 0)
			p->spoke_at = 0;      /* it will have forgotten us */
	}
	c->tick_at = c->all_calls.length ? now + TICK_BUSY : active ? now + TICK_IDLE : NEVER;
}

static gboolean alarm_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	MagmaClient *c = data;
	MagmaTime now = magma_net_now();

	client_enter(c);
	start_alarm(c, now);
	for (guint i = 0; i < c->all_peers->len && !c->closing; i++)
		peer_alarm(c->all_peers->pdata[i], now);
	if (!c->closing)
		call_alarm(c, now);
	if (!c->closing && c->tick_at <= now)
		tick(c, now);
	client_alarm_reset(c);
	client_leave(c);
	return G_SOURCE_CONTINUE;
}

static gboolean alarm_call(gpointer data)
{
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs alarm_funcs = { .dispatch = alarm_dispatch };

/* GSource hands the data of its callback to dispatch. */
static GSource *alarm_new(MagmaClient *c)
{
	GSource *s = g_source_new(&alarm_funcs, sizeof(GSource));

	g_source_set_callback(s, alarm_call, c, NULL);
	g_source_set_name(s, "magma client");
	g_source_attach(s, c->ctx);
	return s;
}

/* The map. */

gboolean client_map_install(MagmaClient *c, MagmaBytes bytes)
{
	MagmaMap *map = magma_map_decode(bytes.data, bytes.len), *old = c->map;

	if (!map)
		return FALSE;
	gboolean same_network = !old || memcmp(map->network, old->network, sizeof map->network) == 0;
	if (!same_network || (old && map->epoch <= old->epoch)) {
		magma_map_unref(map);
		return same_network;
	}
	c->map = map;
	MAGMA_TRACE(c->cfg.trace, 'r', "lava map of epoch %" G_GUINT64_FORMAT ", %u volcanos", map->epoch, map->volcanos->len);
	if (old) {
		c->shakes++;
		peer_map_changed(c);
		open_moved(c, old);
		magma_map_unref(old);
	}
	return TRUE;
}

static void on_map(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	MagmaClient *c = user;
	guint64 before = c->map ? c->map->epoch : 0;

	c->fetching_map = FALSE;
	if (c->closing)
		return;
	if (!error)
		client_map_install(c, rep->rep_map.map);
	call_unpark(c, c->map && c->map->epoch > before);
}

void client_map_pushed(MagmaClient *c, MagmaBytes bytes)
{
	guint64 before = c->map ? c->map->epoch : 0;

	if (c->closing || !c->map)
		return;
	client_map_install(c, bytes);
	if (c->map->epoch > before) {
		call_unpark(c, TRUE);
		call_delayed_route(c);
	}
}

void client_map_want(MagmaClient *c, Peer *from)
{
	Peer *p = from && from->state == PEER_UP ? from : peer_relay(c, NULL);
	struct magma_req_map req = { 0 };

	/* without a session there is nobody to ask: the next hello brings one */
	if (c->fetching_map || !p)
		return;
	c->fetching_map = TRUE;
	call_new(c, TO_SESSION, p, MAGMA_OP_map, NULL, &req, NULL, on_map, c);
}

/* Life. */

MagmaClient *magma_client_new(GMainContext *ctx, const MagmaClientConfig *cfg, GError **error)
{
	if (cfg->nhosts == 0) {
		g_set_error_literal(error, MAGMA_ERROR, EINVAL, "no host to reach the network at");
		return NULL;
	}
	MagmaClient *c = g_new0(MagmaClient, 1);
	c->ctx = ctx ? g_main_context_ref(ctx) : g_main_context_ref(g_main_context_default());
	c->cfg = *cfg;
	c->cfg.hosts = g_memdup2(cfg->hosts, cfg->nhosts * sizeof *cfg->hosts);
	if (!c->cfg.start_timeout_ms)
		c->cfg.start_timeout_ms = START_TIMEOUT_MS;
	if (!c->cfg.call_timeout_ms)
		c->cfg.call_timeout_ms = CALL_TIMEOUT_MS;
	if (!c->cfg.goodbye_timeout_ms)
		c->cfg.goodbye_timeout_ms = GOODBYE_TIMEOUT_MS;
	c->tick_at = NEVER;
	c->id = client_random_id();
	c->peers = g_hash_table_new(NULL, NULL);
	c->all_peers = g_ptr_array_new_with_free_func((GDestroyNotify)peer_free);
	c->calls = g_hash_table_new(NULL, NULL);
	c->next_xid = c->watermark = 1;
	open_table_init(c);
	c->hosts = g_new0(Peer *, cfg->nhosts);
	for (guint i = 0; i < cfg->nhosts; i++) {
		c->hosts[i] = peer_new(c, &cfg->hosts[i], 0);
		c->hosts[i]->by_host = TRUE;
	}
	c->alarm = alarm_new(c);
	return c;
}

static void on_goodbye(void *user, int error, const MagmaAny *rep, GBytes *msg) {}

/* Our sockets alone, without the context: its other sources are not ours to run. */
static void goodbye_wait(MagmaClient *c)
{
	MagmaTime end = magma_net_now() + c->cfg.goodbye_timeout_ms * MS;

	while (c->all_calls.length) {
		struct pollfd fds[2];
		nfds_t n = 0;
		MagmaTime now, next = end;
		for (guint i = 0; i < G_N_ELEMENTS(c->net); i++)
			if (c->net[i]) {
				next = MIN(next, magma_net_turn(c->net[i]));
				fds[n++] = (struct pollfd){ .fd = magma_net_fd(c->net[i]), .events = POLLIN };
			}
		if (!c->all_calls.length || (now = magma_net_now()) >= end)
			return;
		poll(fds, n, (int)((MAX(next - now, 0) + 999) / 1000));
	}
}

static void say_goodbye(MagmaClient *c)
{
	struct magma_req_goodbye req = { 0 };

	for (guint i = 0; i < c->all_peers->len; i++) {
		Peer *p = c->all_peers->pdata[i];
		if (p->state == PEER_UP)
			call_new(c, TO_SESSION, p, MAGMA_OP_goodbye, NULL, &req, NULL, on_goodbye, NULL);
	}
	/* called from inside an answer, the sockets are in use further up: no waiting then */
	if (c->entered == 1 && !c->cfg.no_wait)
		goodbye_wait(c);
	call_cancel_all(c, ECANCELED);
	for (guint i = 0; i < G_N_ELEMENTS(c->net); i++)
		if (c->net[i])
			magma_net_goodbye(c->net[i]);
}

void magma_client_free(MagmaClient *c)
{
	if (!c || c->closing)
		return;
	client_enter(c);
	c->closing = TRUE;
	g_source_destroy(c->alarm);
	g_source_unref(c->alarm);
	start_cancel(c);
	call_cancel_all(c, ECANCELED);
	open_table_clear(c, ECANCELED);
	say_goodbye(c);
	client_leave(c);
}

/* Calls that are answered before they return, and what can be asked of a client. */

guint64 magma_client_call_volcano(MagmaClient *c, guint16 volcano, MagmaOp op, const void *req, MagmaReplyFn done, void *user)
{
	const MagmaVolcano *v = c->map && volcano ? magma_map_by_id(c->map, volcano) : NULL;
	Peer *p = !volcano || (c->cfg.proxy && c->home && c->home->id == volcano) ? c->home : v && !c->cfg.proxy ? peer_of_volcano(c, v) : NULL;

	if (!p || c->closing) {
		done(user, c->closing ? ECANCELED : EHOSTUNREACH, NULL, NULL);
		return 0;
	}
	client_enter(c);
	guint64 xid = call_new(c, TO_VOLCANO, p, op, NULL, req, NULL, done, user);
	client_leave(c);
	return xid;
}

typedef struct {
	gboolean answered;
	int error;
	MagmaAny *rep;
	GBytes **msg;
} Answer;

static void on_answer(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Answer *a = user;

	a->answered = TRUE;
	a->error = error;
	if (rep && a->rep)
		*a->rep = *rep;
	if (a->msg)
		*a->msg = msg ? g_bytes_ref(msg) : NULL;
}

int magma_client_call_sync(MagmaClient *c, MagmaOp op, const MagmaCred *cred, const void *req, MagmaAny *rep, GBytes **msg)
{
	Answer a = { .rep = rep, .msg = msg };

	magma_client_call(c, op, cred, req, NULL, on_answer, &a);
	while (!a.answered)
		g_main_context_iteration(c->ctx, TRUE);
	return a.error;
}

const MagmaMap *magma_client_map(const MagmaClient *c) { return c->map; }
guint64 magma_client_id(const MagmaClient *c) { return c->id; }

MagmaTime magma_client_rtt(const MagmaClient *c, guint16 volcano)
{
	const Peer *p = volcano ? g_hash_table_lookup(c->peers, GUINT_TO_POINTER(volcano)) : c->home;

	return p && p->state == PEER_UP ? magma_conn_rtt(p->conn) : 0;
}
