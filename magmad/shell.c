#include "magmad/shell.h"
#include <config.h>
#include "magmad/keep.h"
#include "magmad/log.h"
#include "magmad/store/diskstore.h"
#include "magmad/timers.h"
#include "libmagma/base/err.h"
#include "libmagma/net/net.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* One of the two UDP sockets. */
typedef struct {
	Shell *shell;
	MagmaNet *net;
	gboolean is_node;
} Port;

struct Session {
	Port *port;
	MagmaConn *conn;
	void *volcano_data;
};

struct Shell {
	GMainContext *ctx;
	Store *store;
	Slices *slices;
	Conflicts *conflicts;
	GSource *flush;
	Keep *keep;
	Timers *timers;
	Volcano *volcano;
	Port flare, node;
	GHashTable *sessions;         /* Session *, owned */
	ShellOps ops;
};

void session_set_volcano_data(Session *s, void *data) { s->volcano_data = data; }
void *session_volcano_data(Session *s) { return s->volcano_data; }

static Session *session_new(Port *port, MagmaConn *conn)
{
	Session *s = g_new0(Session, 1);

	s->port = port;
	s->conn = conn;
	magma_conn_set_user(conn, s);
	g_hash_table_add(port->shell->sessions, s);
	return s;
}

const char *shell_close_text(MagmaCloseReason why)
{
	switch (why) {
	case MAGMA_CLOSE_LOCAL:
		return "the session was closed";
	case MAGMA_CLOSE_PEER:
		return "the volcano said goodbye";
	case MAGMA_CLOSE_SILENT:
		return "the volcano fell silent";
	case MAGMA_CLOSE_AUTH:
		return "authentication failed";
	case MAGMA_CLOSE_NOBODY:
	case MAGMA_CLOSE_REFUSED:
		return "no volcano answers";
	case MAGMA_CLOSE_REPLACED:
		return "a newer session took its place";
	case MAGMA_CLOSE_PROTOCOL:
		return "the peer broke the protocol";
	}
	return "the session ended";
}

static void on_open(void *user, MagmaConn *conn)
{
	Port *port = user;
	Session *s = magma_conn_user(conn);

	if (!s)
		s = session_new(port, conn);
	if (port->shell->volcano)
		volcano_session_opened(port->shell->volcano, s, port->is_node);
}

static void on_message(void *user, MagmaConn *conn, GBytes *msg)
{
	Port *port = user;
	Session *s = magma_conn_user(conn);

	if (s && port->shell->volcano)
		volcano_message(port->shell->volcano, s, port->is_node, msg);
}

static void on_close(void *user, MagmaConn *conn, MagmaCloseReason why)
{
	Port *port = user;
	Session *s = magma_conn_user(conn);

	if (!s)
		return;                       /* a handshake that never became a session of ours */
	if (port->shell->volcano)
		volcano_session_closed(port->shell->volcano, s, shell_close_text(why));
	magma_conn_set_user(conn, NULL);
	g_hash_table_remove(port->shell->sessions, s);
}

static void on_refused(void *user, MagmaConn *conn)
{
	Port *port = user;
	Session *s = magma_conn_user(conn);

	if (s && port->shell->volcano)
		volcano_session_refused(port->shell->volcano, s);
}

static MagmaTime io_now(void *user) { return magma_net_now(); }

static MagmaTs io_real(void *user)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (MagmaTs){ .sec = t.tv_sec, .nsec = (guint32)t.tv_nsec };
}

static void system_random(void *user, void *buf, gsize n)
{
	guint8 *p = buf;

	while (n) {
		gssize got = getrandom(p, n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			g_error("getrandom: %s", g_strerror(errno));      /* nothing that needs a key may go on without */
		p += got;
		n -= got;
	}
}

static gboolean io_send(void *user, Session *s, GBytes *head, GBytes *body) { return magma_conn_send(s->conn, head, body); }

static void io_probe(void *user, Session *s) { magma_conn_probe(s->conn); }

static Session *io_connect(void *user, const MagmaAddr *node_addr)
{
	Shell *shell = user;

	return session_new(&shell->node, magma_net_connect(shell->node.net, node_addr));
}

static guint io_timer(void *user, MagmaTime delay, void (*fn)(void *arg), void *arg) { return timers_add(((Shell *)user)->timers, delay, fn, arg); }
static void io_timer_cancel(void *user, guint handle) { timers_cancel(((Shell *)user)->timers, handle); }
static void io_say(void *user, const char *line) { log_say("%s", line); }

static void io_stop(void *user, const char *text)
{
	Shell *shell = user;

	shell->ops.stop(shell->ops.user, text);
}

static Store *io_store_open(void *user, guint16 slice)
{
	g_autoptr(GError) error = NULL;
	Store *store = slices_open(((Shell *)user)->slices, slice, &error);

	if (!store)
		log_say("%s", error->message);
	return store;
}

static void io_store_close(void *user, guint16 slice, Store *store, gboolean remove) { slices_close(((Shell *)user)->slices, slice, remove); }

static void io_keep(void *user, GBytes *bytes, void (*done)(void *done_user, int error), void *done_user)
{
	keep_put(((Shell *)user)->keep, bytes, done, done_user);
}

static void io_set_aside(void *user)
{
	Shell *shell = user;

	shell->ops.aside(shell->ops.user);
}

static GArray *io_aside_list(void *user) { return conflicts_list(((Shell *)user)->conflicts); }

static GPtrArray *io_aside_open(void *user, guint64 time)
{
	g_autoptr(GError) error = NULL;
	GPtrArray *stores = conflicts_open(((Shell *)user)->conflicts, time, &error);

	if (!stores)
		log_error("%s", error->message);
	return stores;
}

static void io_aside_close(void *user, guint64 time, GPtrArray *stores) { conflicts_close(((Shell *)user)->conflicts, stores); }

static void io_aside_note(void *user, guint64 time, const guint8 *p, gsize n)
{
	g_autoptr(GError) error = NULL;

	if (!conflicts_note(((Shell *)user)->conflicts, time, p, n, &error))
		log_error("%s; the next start compares again", error->message);
}

static GBytes *io_aside_noted(void *user, guint64 time) { return conflicts_noted(((Shell *)user)->conflicts, time); }

static void io_aside_remove(void *user, guint64 time, void (*done)(void *done_user, int error), void *done_user)
{
	g_autoptr(GError) error = NULL;

	if (conflicts_remove(((Shell *)user)->conflicts, time, &error)) {
		done(done_user, 0);
		return;
	}
	log_error("%s", error->message);
	done(done_user, error->code);
}

static const VolcanoIo IO = {
	.aside_list = io_aside_list, .aside_open = io_aside_open, .aside_close = io_aside_close, .aside_note = io_aside_note, .aside_noted = io_aside_noted, .aside_remove = io_aside_remove,
	.now = io_now, .real = io_real, .random = system_random, .send = io_send, .probe = io_probe, .connect = io_connect,
	.store_open = io_store_open, .store_close = io_store_close, .keep = io_keep, .timer = io_timer, .timer_cancel = io_timer_cancel, .say = io_say, .stop = io_stop, .set_aside = io_set_aside,
};

static gboolean port_open(Shell *shell, Port *port, const Identity *id, gboolean is_node, const MagmaTrace *trace, GError **error)
{
	static const MagmaNetOps ops = { on_open, on_message, on_close, on_refused };
	MagmaAddr addr = magma_addr_with_port(&id->addr, id->addr.port + (is_node ? 1 : 0));
	MagmaXportConfig cfg = { .prologue = is_node ? "magma-node-1" : "magma-flare-1", .accept = TRUE, .trace = trace };

	memcpy(cfg.psk, id->psk, sizeof cfg.psk);
	port->shell = shell;
	port->is_node = is_node;
	port->net = magma_net_new(shell->ctx, &addr, &cfg, &ops, port, error);
	explicit_bzero(&cfg, sizeof cfg);
	if (!port->net && error)
		g_prefix_error(error, "%s", g_error_matches(*error, MAGMA_ERROR, EADDRNOTAVAIL) ? "-i gives no address of this host: " : "cannot listen: ");
	return port->net != NULL;
}

static Volcano *make_volcano(Shell *shell, const Identity *id, GBytes *kept, gboolean no_takeover, const MagmaTrace *trace)
{
	/* who joins asks at the node port of the volcano whose flare port it was told */
	MagmaAddr join = magma_addr_with_port(&id->join, id->join.port + 1);
	const char *keep = g_getenv("MAGMA_JOURNAL_KEEP");      /* MiB; for benchmarks and tests */
	VolcanoConfig cfg = {
		.journal_keep = keep ? g_ascii_strtoull(keep, NULL, 10) << 20 : 0,
		.name = id->name, .fqdn = id->fqdn, .software = PACKAGE_VERSION, .addr = id->addr, .bandwidth = id->bandwidth, .offered = id->offered,
		.copies_wanted = id->copies, .bootstrap = id->pending && id->bootstrap, .join = (id->pending && !id->bootstrap) || id->again ? &join : NULL, .kept = kept, .no_takeover = no_takeover, .trace = trace,
	};

	return volcano_new(&cfg, shell->store, &IO, shell);
}

/* --- the end of a turn: what was committed leaves for the copies before the journal is written --- */

typedef struct {
	GSource source;
	Shell *shell;
} Flush;

static gboolean flush_prepare(GSource *source, gint *timeout)
{
	*timeout = -1;
	volcano_flush(((Flush *)source)->shell->volcano);
	return FALSE;
}

static GSourceFuncs flush_funcs = { .prepare = flush_prepare };

static GSource *flush_new(Shell *shell)
{
	GSource *s = g_source_new(&flush_funcs, sizeof(Flush));

	((Flush *)s)->shell = shell;
	g_source_set_priority(s, G_PRIORITY_HIGH - 1);      /* in front of the stores' */
	g_source_set_can_recurse(s, TRUE);
	g_source_attach(s, shell->ctx);
	return s;
}

Shell *shell_new(GMainContext *ctx, const Identity *id, Store *store, Slices *slices, Conflicts *conflicts, Keep *keep, GBytes *kept, gboolean no_takeover, const MagmaTrace *trace, const ShellOps *ops, GError **error)
{
	g_autoptr(Shell) shell = g_new0(Shell, 1);

	shell->ctx = ctx;
	shell->store = store;
	shell->slices = slices;
	shell->conflicts = conflicts;
	shell->keep = keep;
	shell->ops = *ops;
	shell->sessions = g_hash_table_new_full(NULL, NULL, g_free, NULL);
	shell->timers = timers_new(ctx);
	if (!port_open(shell, &shell->flare, id, FALSE, trace, error) || !port_open(shell, &shell->node, id, TRUE, trace, error))
		return NULL;
	shell->volcano = make_volcano(shell, id, kept, no_takeover, trace);
	shell->flush = flush_new(shell);
	return g_steal_pointer(&shell);
}

void shell_start(Shell *s) { volcano_start(s->volcano, s->ops.ready, s->ops.user); }
Volcano *shell_volcano(Shell *s) { return s->volcano; }

static void quiesce(Shell *s)
{
	diskstore_quiesce(s->store);
	slices_quiesce(s->slices);
}

void shell_goodbye(Shell *s)
{
	/* what runs in the pool would come back to operations that are gone */
	volcano_stop(s->volcano);
	quiesce(s);
	/* a removed content that a power cut brings back is looked for only where the stop was none */
	if (diskstore_sync_drops(s->store) && slices_sync_drops(s->slices)) {
		volcano_stopped(s->volcano);
		quiesce(s);
	}
	conflicts_quiesce(s->conflicts);
	magma_net_goodbye(s->flare.net);
	magma_net_goodbye(s->node.net);
}

void shell_free(Shell *s)
{
	if (!s)
		return;
	if (s->flush) {
		g_source_destroy(s->flush);
		g_source_unref(s->flush);
	}
	volcano_free(s->volcano);
	s->volcano = NULL;
	magma_net_free(s->flare.net);
	magma_net_free(s->node.net);
	timers_free(s->timers);
	g_hash_table_unref(s->sessions);
	g_free(s);
}
