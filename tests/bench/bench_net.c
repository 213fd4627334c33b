/* Two processes on loopback through MagmaNet: round trips of small messages, and bulk in both directions.
 *   bench_net [-t SECONDS] [-w MESSAGES IN FLIGHT] [-s BYTES] [--mode=rtt|up|down] */
#include "libmagma/net/net.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double seconds = 1;
static int window = 8, size = 1 << 20;
static char *mode;
static gboolean ip6;

static const GOptionEntry entries[] = {
	{ "time", 't', 0, G_OPTION_ARG_DOUBLE, &seconds, "seconds of each measurement (1)", "SECONDS" },
	{ "window", 'w', 0, G_OPTION_ARG_INT, &window, "bulk messages in flight (8)", "N" },
	{ "size", 's', 0, G_OPTION_ARG_INT, &size, "bytes of a bulk message (1 MiB)", "BYTES" },
	{ "mode", 'm', 0, G_OPTION_ARG_STRING, &mode, "one of rtt, up, down (all)", "MODE" },
	{ "ipv6", '6', 0, G_OPTION_ARG_NONE, &ip6, "over ::1", NULL },
	{ 0 }
};

/* The first byte of a request says what to answer. */
enum { ECHO = 1, SWALLOW, PRODUCE };

static GBytes *bulk;

static void server_message(void *user, MagmaConn *c, GBytes *msg)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (n == 0 || p[0] == ECHO) {
		magma_conn_send(c, msg, NULL);
	} else if (p[0] == PRODUCE) {
		magma_conn_send(c, bulk, NULL);
	} else {
		g_autoptr(GBytes) ok = g_bytes_new_static("ok", 2);
		magma_conn_send(c, ok, NULL);
	}
}

static void on_open(void *user, MagmaConn *c) {}
static void on_close(void *user, MagmaConn *c, MagmaCloseReason why) {}

static MagmaNet *net_new(const char *bind, gboolean accept, const MagmaNetOps *ops, void *user)
{
	MagmaXportConfig cfg = { .prologue = "magma-flare-1", .accept = accept };
	MagmaAddr addr;
	g_autoptr(GError) error = NULL;

	memset(cfg.psk, 1, sizeof cfg.psk);
	magma_addr_parse(bind, 0, &addr);
	MagmaNet *net = magma_net_new(NULL, &addr, &cfg, ops, user, &error);
	if (!net)
		g_error("%s", error->message);
	return net;
}

static void serve(int tell)
{
	static const MagmaNetOps ops = { on_open, server_message, on_close };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	MagmaNet *net = net_new(ip6 ? "[::1]:0" : "127.0.0.1:0", TRUE, &ops, NULL);
	guint16 port = magma_net_local(net)->port;
	if (write(tell, &port, sizeof port) != sizeof port)
		_exit(1);
	for (;;)
		g_main_context_iteration(NULL, TRUE);
}

typedef struct {
	MagmaConn *conn;
	GBytes *request;
	guint64 answers;
	gboolean stop;
} Load;

static void client_message(void *user, MagmaConn *c, GBytes *msg)
{
	Load *l = user;

	l->answers++;
	if (!l->stop)
		magma_conn_send(c, l->request, NULL);
}

static double cpu(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Answers a second. */
static double run(Load *l, guint8 what, gsize bytes, guint in_flight)
{
	guint8 *p = g_malloc0(bytes);

	p[0] = what;
	l->request = g_bytes_new_take(p, bytes);
	l->answers = 0;
	l->stop = FALSE;
	for (guint i = 0; i < in_flight; i++)
		magma_conn_send(l->conn, l->request, NULL);
	MagmaTime began = magma_net_now(), end = began + (MagmaTime)(seconds * G_USEC_PER_SEC);
	double used = cpu(RUSAGE_SELF);
	while (magma_net_now() < end)
		g_main_context_iteration(NULL, TRUE);
	double took = (double)(magma_net_now() - began) / G_USEC_PER_SEC, rate = (double)l->answers / took;
	guint64 done = l->answers;
	l->stop = TRUE;
	while (l->answers < done + in_flight)
		g_main_context_iteration(NULL, TRUE);
	used = cpu(RUSAGE_SELF) - used;
	printf("   (client CPU %.0f%%, %.2f us a message)\n", 100 * used / took, 1e6 * used / (double)l->answers);
	g_bytes_unref(l->request);
	return rate;
}

int main(int argc, char **argv)
{
	static const MagmaNetOps ops = { on_open, client_message, on_close };
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	Load l = { 0 };
	int tell[2];
	guint16 port;
	MagmaAddr to;

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, NULL) || pipe(tell) < 0)
		return 2;
	bulk = g_bytes_new_take(g_malloc0((gsize)size), (gsize)size);
	pid_t child = fork();
	if (child == 0)
		serve(tell[1]);
	if (child < 0 || read(tell[0], &port, sizeof port) != sizeof port)
		return 1;
	MagmaNet *net = net_new(ip6 ? "[::]:0" : "0.0.0.0:0", FALSE, &ops, &l);
	magma_addr_parse(ip6 ? "::1" : "127.0.0.1", port, &to);
	l.conn = magma_net_connect(net, &to);
	if (!mode || strcmp(mode, "rtt") == 0) {
		double rate = run(&l, ECHO, 100, 1);
		printf("round trips, one at a time:    %8.0f/s, %.1f us\n", rate, 1e6 / rate);
		rate = run(&l, ECHO, 100, 16);
		printf("round trips, 16 at a time:     %8.0f/s\n", rate);
	}
	if (!mode || strcmp(mode, "up") == 0)
		printf("up, %d of %d bytes in flight:   %.0f MB/s\n", window, size, run(&l, SWALLOW, (gsize)size, (guint)window) * size / 1e6);
	if (!mode || strcmp(mode, "down") == 0)
		printf("down, %d of %d bytes in flight: %.0f MB/s\n", window, size, run(&l, PRODUCE, 1, (guint)window) * size / 1e6);
	magma_net_free(net);
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
	return 0;
}
