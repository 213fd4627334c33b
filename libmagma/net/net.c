/* One socket, one endpoint, one GSource. A turn of the loop costs poll, recvmmsg and sendmsg; nothing else is asked of the kernel: the endpoint's
 * deadline is the timeout of the poll (g_source_set_ready_time() would wake its own loop through an eventfd each time). */
#include "libmagma/net/net.h"
#include "libmagma/net/keylog.h"
#include "libmagma/net/sock.h"
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* System calls of one turn: 64 bursts of up to 64 KiB are 4 MiB, 1 ms of work, before timers and other sources have their say again. */
#define RECEIVES_PER_TURN 64
#define BURSTS_PER_FLUSH 64
/* What magma_endpoint_poll() asks for. */
#define SEND_SPACE 65536u

typedef struct {
	GSource base;
	struct MagmaNet *net;
} NetSource;

struct MagmaNet {
	NetSource *source;
	gpointer tag;
	Sock *sock;
	MagmaEndpoint *ep;
	MagmaNetOps ops;
	void *user;
	GHashTable *conns;            /* MagmaConn *: those whose on_close has not come */
	MagmaBurst out;
	gsize out_done;               /* of out.len; equal: nothing kept */
	gboolean blocked;             /* the socket takes no more: POLLOUT ends that */
	gboolean more;                /* a flush ended by its bound, not for want of datagrams */
	MagmaTime now;                /* of the datagrams being fed */
	guint entered;                /* depth of calls into the endpoint: freeing waits for 0 */
	gboolean turning;             /* in dispatch: a callback that runs the context again gets no turn of this socket */
	gboolean dead;
};

MagmaTime magma_net_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (MagmaTime)ts.tv_sec * G_USEC_PER_SEC + ts.tv_nsec / 1000;
}

static void net_destroy(MagmaNet *net)
{
	magma_endpoint_free(net->ep);
	g_hash_table_unref(net->conns);
	sock_free(net->sock);
	explicit_bzero(net->out.buf, SEND_SPACE);
	g_free(net->out.buf);
	g_free(net);
}

/* Callbacks may free the net; the endpoint must not vanish below its own feet. FALSE from leave: it is gone. */
static void enter(MagmaNet *net) { net->entered++; }

static gboolean leave(MagmaNet *net)
{
	gboolean dead = net->dead;

	if (--net->entered == 0 && dead)
		net_destroy(net);
	return !dead;
}

/* Endpoint to owner. */

static void ep_random(void *user, void *buf, gsize n)
{
	guint8 *p = buf;

	while (n > 0) {
		gssize got = getrandom(p, n, 0);
		if (got > 0) {
			p += got;
			n -= (gsize)got;
		}
	}
}

static void ep_open(void *user, MagmaConn *c)
{
	MagmaNet *net = user;

	g_hash_table_add(net->conns, c);
	if (!net->dead)
		net->ops.on_open(net->user, c);
}

static void ep_message(void *user, MagmaConn *c, GBytes *msg)
{
	MagmaNet *net = user;

	if (!net->dead)
		net->ops.on_message(net->user, c, msg);
}

static void ep_close(void *user, MagmaConn *c, MagmaCloseReason why)
{
	MagmaNet *net = user;

	g_hash_table_remove(net->conns, c);
	if (!net->dead)
		net->ops.on_close(net->user, c, why);
}

static void ep_refused(void *user, MagmaConn *c)
{
	MagmaNet *net = user;

	if (!net->dead && net->ops.on_refused)
		net->ops.on_refused(net->user, c);
}

static const MagmaXportOps net_xport_ops = { .random = ep_random, .on_open = ep_open, .on_message = ep_message, .on_close = ep_close, .on_refused = ep_refused };

/* MAGMA_NET_CHACHA=1 has sessions take ChaCha20-Poly1305 whatever the CPU can, for tests and comparisons. */
static gboolean no_aes_wanted(void)
{
	const char *chacha = g_getenv("MAGMA_NET_CHACHA");

	return chacha && *chacha && strcmp(chacha, "0") != 0;
}

/* Socket to endpoint. */

static void sock_datagram(void *user, const MagmaAddr *from, const guint8 *p, gsize n)
{
	MagmaNet *net = user;

	if (!net->dead)
		magma_endpoint_input(net->ep, net->now, from, p, n);
}

static void sock_too_big(void *user, const MagmaAddr *to, gsize size)
{
	MagmaNet *net = user;

	magma_endpoint_too_big(net->ep, to, size);
}

static void sock_refused(void *user, const MagmaAddr *to, const guint8 *quoted, gsize n)
{
	MagmaNet *net = user;

	magma_endpoint_refused(net->ep, to, quoted, n);
}

static void sock_quoted_too_big(void *user, const MagmaAddr *to, const guint8 *quoted, gsize n, gsize size)
{
	MagmaNet *net = user;

	magma_endpoint_quoted_too_big(net->ep, to, quoted, n, size);
}

static void set_blocked(MagmaNet *net, gboolean blocked)
{
	if (net->blocked == blocked)
		return;
	net->blocked = blocked;
	if (!net->dead)
		g_source_modify_unix_fd(&net->source->base, net->tag, G_IO_IN | (blocked ? G_IO_OUT : 0));
}

/* TRUE: the kept burst is out. */
static gboolean send_kept(MagmaNet *net)
{
	if (net->out_done >= net->out.len)
		return TRUE;
	if (sock_send(net->sock, &net->out, &net->out_done, sock_too_big, net) == SOCK_BLOCKED) {
		set_blocked(net, TRUE);
		return FALSE;
	}
	return TRUE;
}

static void flush(MagmaNet *net, MagmaTime now)
{
	net->more = FALSE;
	if (net->blocked)
		return;
	for (guint i = 0; send_kept(net) && !net->dead; i++) {
		if (i == BURSTS_PER_FLUSH) {
			net->more = TRUE;
			return;
		}
		net->out.len = net->out_done = 0;
		if (!magma_endpoint_poll(net->ep, now, &net->out)) {
			net->out.len = 0;
			return;
		}
	}
}

static void receive(MagmaNet *net)
{
	gboolean more = TRUE;

	for (guint i = 0; more && i < RECEIVES_PER_TURN && !net->dead; i++) {
		net->now = magma_net_now();
		more = sock_receive(net->sock, sock_datagram, net);
	}
	if (!net->dead)
		magma_endpoint_input_done(net->ep, net->now);
}

static void turn(MagmaNet *net, GIOCondition events)
{
	if (events & G_IO_OUT)
		set_blocked(net, FALSE);
	if (events & (G_IO_IN | G_IO_ERR))
		receive(net);
	/* Behind what came: a peer that was heard needs no hint, and one that went may have said something before. */
	if ((events & G_IO_ERR) && !net->dead) {
		static const SockErrorFns fns = { sock_refused, sock_quoted_too_big };
		sock_errors(net->sock, &fns, net);
	}
	MagmaTime now = magma_net_now();
	if (!net->dead && magma_endpoint_deadline(net->ep) <= now)
		magma_endpoint_tick(net->ep, now);
	if (!net->dead)
		flush(net, now);
}

/* The source. */

static gboolean source_prepare(GSource *base, gint *timeout)
{
	MagmaNet *net = ((NetSource *)base)->net;

	*timeout = -1;
	if (net->dead || net->turning)
		return FALSE;
	enter(net);
	MagmaTime now = magma_net_now();
	flush(net, now);
	gboolean more = net->more;
	MagmaTime deadline = net->dead ? G_MAXINT64 : magma_endpoint_deadline(net->ep);
	if (!leave(net))
		return FALSE;
	if (more || deadline <= now)
		return TRUE;
	/* rounded up: a poll that ends early would only turn again */
	if (deadline < G_MAXINT64)
		*timeout = (gint)MIN((deadline - now + 999) / 1000, G_MAXINT);
	return FALSE;
}

static gboolean source_check(GSource *base)
{
	MagmaNet *net = ((NetSource *)base)->net;

	return !net->dead && !net->turning && (g_source_query_unix_fd(base, net->tag) != 0 || magma_endpoint_deadline(net->ep) <= magma_net_now());
}

static gboolean source_dispatch(GSource *base, GSourceFunc callback, gpointer data)
{
	MagmaNet *net = ((NetSource *)base)->net;

	enter(net);
	net->turning = TRUE;
	turn(net, g_source_query_unix_fd(base, net->tag));
	net->turning = FALSE;
	leave(net);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs net_source_funcs = { .prepare = source_prepare, .check = source_check, .dispatch = source_dispatch };

MagmaNet *magma_net_new(GMainContext *ctx, const MagmaAddr *bind, const MagmaXportConfig *xport, const MagmaNetOps *ops, void *user, GError **error)
{
	Sock *sock = sock_new(bind, error);

	if (!sock)
		return NULL;
	MagmaNet *net = g_new0(MagmaNet, 1);
	net->sock = sock;
	net->ops = *ops;
	net->user = user;
	net->conns = g_hash_table_new(NULL, NULL);
	net->out.max = SEND_SPACE;
	net->out.buf = g_malloc(SEND_SPACE);

	MagmaXportConfig cfg = *xport;
	cfg.recv_window = sock_recv_window(sock);
	cfg.slow_aes |= no_aes_wanted();
	MagmaXportOps xops = net_xport_ops;
	if (keylog_wanted())
		xops.keylog = keylog_line;
	net->ep = magma_endpoint_new(&cfg, &xops, net);
	explicit_bzero(cfg.psk, sizeof cfg.psk);

	net->source = (NetSource *)g_source_new(&net_source_funcs, sizeof(NetSource));
	net->source->net = net;
	g_source_set_name(&net->source->base, "magma net");
	net->tag = g_source_add_unix_fd(&net->source->base, sock_fd(sock), G_IO_IN);
	/* not to recurse (see turning), but so that GLib does not take the descriptor out of its poll and back at each dispatch: two writes and a read */
	g_source_set_can_recurse(&net->source->base, TRUE);
	g_source_attach(&net->source->base, ctx);
	return net;
}

void magma_net_free(MagmaNet *net)
{
	if (!net)
		return;
	enter(net);
	net->dead = TRUE;
	g_source_destroy(&net->source->base);
	g_source_unref(&net->source->base);
	leave(net);
}

void magma_net_goodbye(MagmaNet *net)
{
	MagmaTime now = magma_net_now();

	enter(net);
	g_autoptr(GList) conns = g_hash_table_get_keys(net->conns);
	for (GList *l = conns; l; l = l->next)
		if (g_hash_table_contains(net->conns, l->data))
			magma_conn_close(l->data, now);
	do
		flush(net, now);
	while (net->more && !net->blocked && !net->dead);
	leave(net);
}

MagmaConn *magma_net_connect(MagmaNet *net, const MagmaAddr *to)
{
	MagmaConn *c = magma_conn_connect(net->ep, magma_net_now(), to);

	if (c)
		g_hash_table_add(net->conns, c);
	return c;
}

void magma_net_close(MagmaNet *net, MagmaConn *c)
{
	magma_conn_close(c, magma_net_now());
}

void magma_net_flush(MagmaNet *net)
{
	enter(net);
	flush(net, magma_net_now());
	leave(net);
}

int magma_net_fd(const MagmaNet *net) { return sock_fd(net->sock); }

MagmaTime magma_net_turn(MagmaNet *net)
{
	MagmaTime deadline = G_MAXINT64;

	enter(net);
	turn(net, G_IO_IN | G_IO_OUT | G_IO_ERR);
	if (!net->dead)
		deadline = net->more ? 0 : magma_endpoint_deadline(net->ep);
	leave(net);
	return deadline;
}

MagmaEndpoint *magma_net_endpoint(MagmaNet *net) { return net->ep; }
const MagmaAddr *magma_net_local(const MagmaNet *net) { return sock_local(net->sock); }
