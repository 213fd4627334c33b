/* Sockets under sessions: messages of all sizes both ways, with the kernel's batches and without. */
#include "libmagma/net/net.h"
#include "libmagma/net/keylog.h"
#include "libmagma/base/err.h"
#include "libmagma/xport/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
	MagmaNet *net;
	MagmaConn *conn;              /* the last opened */
	gboolean open, closed, refused;
	MagmaCloseReason why;
	guint got;
	guint64 bytes;
	gboolean echo;
	GHashTable *want;             /* length -> marker: messages expected back */
} End;

static void on_open(void *user, MagmaConn *c)
{
	End *e = user;

	e->conn = c;
	e->open = TRUE;
}

/* Byte i of a message of n bytes: each offset and length has its own pattern. */
static guint8 pattern(gsize n, gsize i)
{
	return (guint8)(i * 131 + i / 251 + n);
}

static GBytes *make(gsize n)
{
	guint8 *p = g_malloc(n ? n : 1);

	for (gsize i = 0; i < n; i++)
		p[i] = pattern(n, i);
	return g_bytes_new_take(p, n);
}

static void on_message(void *user, MagmaConn *c, GBytes *msg)
{
	End *e = user;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);
	gboolean good = TRUE;

	for (gsize i = 0; i < n; i++)
		good &= p[i] == pattern(n, i);
	g_assert_true(good);
	e->got++;
	e->bytes += n;
	if (e->echo)
		g_assert_true(magma_conn_send(c, msg, NULL));
	else if (e->want)
		g_assert_true(g_hash_table_remove(e->want, GSIZE_TO_POINTER(n)));
}

static void on_close(void *user, MagmaConn *c, MagmaCloseReason why)
{
	End *e = user;

	e->closed = TRUE;
	e->why = why;
}

static void on_refused(void *user, MagmaConn *c) { ((End *)user)->refused = TRUE; }

static const MagmaNetOps ops = { on_open, on_message, on_close, on_refused };

static MagmaXportConfig config(gboolean accept)
{
	MagmaXportConfig cfg = { .prologue = "magma-flare-1", .accept = accept, .handshake_timeout_ms = 1500 };

	memset(cfg.psk, 7, sizeof cfg.psk);
	return cfg;
}

static gboolean end_init(End *e, GMainContext *ctx, const char *bind, gboolean accept)
{
	MagmaXportConfig cfg = config(accept);
	MagmaAddr addr;
	g_autoptr(GError) error = NULL;

	*e = (End){ .echo = accept };
	g_assert_true(magma_addr_parse(bind, 0, &addr));
	e->net = magma_net_new(ctx, &addr, &cfg, &ops, e, &error);
	if (!e->net)
		g_test_message("%s", error->message);
	return e->net != NULL;
}

static gboolean too_late(gpointer data)
{
	g_error("the test takes too long");
	return G_SOURCE_REMOVE;
}

static GSource *watchdog(GMainContext *ctx)
{
	GSource *s = g_timeout_source_new_seconds(20);

	g_source_set_callback(s, too_late, NULL, NULL);
	g_source_attach(s, ctx);
	return s;
}

static void exchange(const char *bind)
{
	static const gsize sizes[] = { 0, 1, 2, 15, 100, 1199, 1200, 1201, 1400, 4096, 65507, 65536, 100000, 1 << 20, (1 << 20) + 65536 };
	GMainContext *ctx = g_main_context_new();
	GSource *dog = watchdog(ctx);
	End a, b;

	if (!end_init(&a, ctx, bind, FALSE) || !end_init(&b, ctx, bind, TRUE)) {
		g_test_skip("no such address family here");
	} else {
		MagmaConn *c = magma_net_connect(a.net, magma_net_local(b.net));
		g_assert_nonnull(c);
		a.want = g_hash_table_new(NULL, NULL);
		/* before on_open too: they wait for it. In two parts. */
		for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
			g_autoptr(GBytes) whole = make(sizes[i]);
			g_autoptr(GBytes) head = g_bytes_new_from_bytes(whole, 0, sizes[i] / 3);
			g_autoptr(GBytes) body = g_bytes_new_from_bytes(whole, sizes[i] / 3, sizes[i] - sizes[i] / 3);
			g_hash_table_add(a.want, GSIZE_TO_POINTER(sizes[i]));
			g_assert_true(magma_conn_send(c, head, body));
		}
		while (a.got < G_N_ELEMENTS(sizes))
			g_main_context_iteration(ctx, TRUE);
		g_assert_cmpuint(g_hash_table_size(a.want), ==, 0);
		g_assert_true(a.open && b.open);
		const MagmaXportStats *st = magma_endpoint_stats(magma_net_endpoint(b.net));
		g_assert_cmpuint(st->bad_tag + st->bad_form, ==, 0);
		g_hash_table_unref(a.want);
		/* goodbye is heard */
		magma_net_goodbye(a.net);
		while (!b.closed)
			g_main_context_iteration(ctx, TRUE);
		g_assert_cmpint(b.why, ==, MAGMA_CLOSE_PEER);
	}
	magma_net_free(a.net);
	magma_net_free(b.net);
	g_source_destroy(dog);
	g_source_unref(dog);
	g_main_context_unref(ctx);
}

static void test_ipv4(void) { exchange("127.0.0.1:0"); }
static void test_ipv6(void) { exchange("[::1]:0"); }

static void test_ipv4_plain(void)
{
	g_setenv("MAGMA_NET_PLAIN", "1", TRUE);
	exchange("127.0.0.1:0");
	g_unsetenv("MAGMA_NET_PLAIN");
}

static void test_ipv6_plain(void)
{
	g_setenv("MAGMA_NET_PLAIN", "1", TRUE);
	exchange("[::1]:0");
	g_unsetenv("MAGMA_NET_PLAIN");
}

/* A client binds to no address of its own. */
static void wildcard(const char *any, const char *local)
{
	GMainContext *ctx = g_main_context_new();
	GSource *dog = watchdog(ctx);
	End a, b;

	if (!end_init(&a, ctx, any, FALSE) || !end_init(&b, ctx, local, TRUE)) {
		g_test_skip("no such address family here");
	} else {
		MagmaConn *c = magma_net_connect(a.net, magma_net_local(b.net));
		g_autoptr(GBytes) msg = make(5000);
		magma_conn_send(c, msg, NULL);
		while (!a.got)
			g_main_context_iteration(ctx, TRUE);
		g_assert_cmpuint(a.bytes, ==, 5000);
	}
	magma_net_free(a.net);
	magma_net_free(b.net);
	g_source_destroy(dog);
	g_source_unref(dog);
	g_main_context_unref(ctx);
}

static void test_wildcard(void)
{
	wildcard("0.0.0.0:0", "127.0.0.1:0");
	wildcard("[::]:0", "[::1]:0");
}

/* The error queue says that nobody listens; the session core says so at the time-out of its handshake. */
static void test_refused_port_is_told(void)
{
	GMainContext *ctx = g_main_context_new();
	GSource *dog = watchdog(ctx);
	End a, b;

	g_assert_true(end_init(&a, ctx, "127.0.0.1:0", FALSE));
	g_assert_true(end_init(&b, ctx, "127.0.0.1:0", TRUE));
	MagmaAddr gone = *magma_net_local(b.net);
	magma_net_free(b.net);
	magma_net_connect(a.net, &gone);
	while (!a.closed)
		g_main_context_iteration(ctx, TRUE);
	g_assert_cmpint(a.why, ==, MAGMA_CLOSE_REFUSED);
	magma_net_free(a.net);
	g_source_destroy(dog);
	g_source_unref(dog);
	g_main_context_unref(ctx);
}

static gboolean stop_waiting(gpointer flag)
{
	*(gboolean *)flag = TRUE;
	return G_SOURCE_REMOVE;
}

/* The kernel quotes enough of a datagram to know it again, also of one of many that left in one call. */
static void refused_with(gsize bytes, const char *bind)
{
	GMainContext *ctx = g_main_context_new();
	GSource *dog = watchdog(ctx), *late = g_timeout_source_new(250);
	gboolean too_late_now = FALSE;
	End a, b;

	if (!end_init(&a, ctx, bind, FALSE) || !end_init(&b, ctx, bind, TRUE)) {
		g_test_skip("no such address here");
		return;
	}
	MagmaAddr there = *magma_net_local(b.net);
	MagmaConn *c = magma_net_connect(a.net, &there);
	while (!a.open || !b.open)
		g_main_context_iteration(ctx, TRUE);
	magma_net_free(b.net);
	g_autoptr(GBytes) msg = make(bytes);
	g_assert_true(magma_conn_send(c, msg, NULL));
	g_source_set_callback(late, stop_waiting, &too_late_now, NULL);
	g_source_attach(late, ctx);
	while (!c->parallel && !too_late_now)     /* before T4, which waits for 300 ms */
		g_main_context_iteration(ctx, TRUE);
	g_assert_false(too_late_now);
	g_assert_cmpuint(magma_endpoint_stats(magma_net_endpoint(a.net))->hints_ignored, ==, 0);
	magma_net_free(a.net);
	g_source_destroy(late);
	g_source_unref(late);
	g_source_destroy(dog);
	g_source_unref(dog);
	g_main_context_unref(ctx);
}

static void test_refused_port_of_a_session_is_told(void)
{
	refused_with(10, "127.0.0.1:0");
	refused_with(100000, "127.0.0.1:0");
	refused_with(10, "[::1]:0");
	refused_with(100000, "[::1]:0");
}

/* What was acknowledged and not answered: nothing is in flight, and the keepalive is 20 s away. */
static void test_probe_finds_a_peer_that_is_gone(void)
{
	GMainContext *ctx = g_main_context_new();
	GSource *dog = watchdog(ctx);
	End a, b;

	g_assert_true(end_init(&a, ctx, "127.0.0.1:0", FALSE));
	g_assert_true(end_init(&b, ctx, "127.0.0.1:0", TRUE));
	MagmaAddr there = *magma_net_local(b.net);
	MagmaConn *c = magma_net_connect(a.net, &there);
	g_autoptr(GBytes) msg = make(10);
	g_assert_true(magma_conn_send(c, msg, NULL));
	while (!b.got || c->waiting_since || magma_conn_backlog(c))
		g_main_context_iteration(ctx, TRUE);
	magma_net_free(b.net);
	MagmaTime began = magma_net_now();
	magma_conn_probe(c);
	while (!c->parallel || !a.refused)
		g_main_context_iteration(ctx, TRUE);
	g_assert_cmpint(magma_net_now() - began, <, 5000000);
	magma_net_free(a.net);
	g_source_destroy(dog);
	g_source_unref(dog);
	g_main_context_unref(ctx);
}

static void on_message_free(void *user, MagmaConn *c, GBytes *msg)
{
	End *e = user;

	e->got++;
	magma_net_free(g_steal_pointer(&e->net));
}

static void test_free_from_inside_a_message(void)
{
	static const MagmaNetOps freeing = { on_open, on_message_free, on_close };
	GMainContext *ctx = g_main_context_new();
	GSource *dog = watchdog(ctx);
	End a, b = { 0 };
	MagmaXportConfig cfg = config(TRUE);
	MagmaAddr addr;

	g_assert_true(end_init(&a, ctx, "127.0.0.1:0", FALSE));
	g_assert_true(magma_addr_parse("127.0.0.1:0", 0, &addr));
	b.net = magma_net_new(ctx, &addr, &cfg, &freeing, &b, NULL);
	MagmaConn *c = magma_net_connect(a.net, magma_net_local(b.net));
	for (guint i = 0; i < 10; i++) {
		g_autoptr(GBytes) msg = make(10 + i);
		magma_conn_send(c, msg, NULL);
	}
	while (b.net)
		g_main_context_iteration(ctx, TRUE);
	g_assert_cmpuint(b.got, ==, 1);
	magma_net_free(a.net);
	g_source_destroy(dog);
	g_source_unref(dog);
	g_main_context_unref(ctx);
}

static void test_port_in_use_names_the_address(void)
{
	GMainContext *ctx = g_main_context_new();
	MagmaXportConfig cfg = config(TRUE);
	End a;
	g_autoptr(GError) error = NULL;
	char text[MAGMA_ADDR_TEXT];

	g_assert_true(end_init(&a, ctx, "127.0.0.1:0", TRUE));
	g_assert_null(magma_net_new(ctx, magma_net_local(a.net), &cfg, &ops, &a, &error));
	g_assert_error(error, MAGMA_ERROR, EADDRINUSE);
	g_assert_nonnull(strstr(error->message, magma_addr_format(magma_net_local(a.net), text)));
	magma_net_free(a.net);
	g_main_context_unref(ctx);
}

static void test_resolve(void)
{
	static const struct { const char *text; guint16 port; guint8 family; } good[] = {
		{ "127.0.0.1", 12000, 4 }, { "127.0.0.1:99", 99, 4 }, { "[::1]:99", 99, 6 }, { "::1", 12000, 6 }, { "localhost:7", 7, 0 }, { "localhost", 12000, 0 },
	};
	static const char *const bad[] = { "", ":99", "localhost:0", "localhost:x", "localhost:70000", "[::1", "[::1]x" };
	MagmaAddr out[4];

	for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(GError) error = NULL;
		guint n = magma_resolve(good[i].text, 12000, out, 4, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(n, >=, 1);
		g_assert_cmpuint(out[0].port, ==, good[i].port);
		g_assert_true(!good[i].family || out[0].family == good[i].family);
	}
	for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_cmpuint(magma_resolve(bad[i], 12000, out, 4, &error), ==, 0);
		g_assert_nonnull(error);
	}
}

/* Runs this test's other half in a process of its own: a key log is opened once per process. */
static void in_own_process(const char *keylog, const char *chacha)
{
	g_setenv("MAGMA_KEYLOG", keylog, TRUE);
	g_setenv("MAGMA_NET_CHACHA", chacha, TRUE);
	g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
	g_unsetenv("MAGMA_KEYLOG");
	g_unsetenv("MAGMA_NET_CHACHA");
}

static void keylog_agrees(const char *chacha, const char *cipher)
{
	if (g_test_subprocess()) {
		exchange("127.0.0.1:0");
		return;
	}
	g_autofree char *dir = g_dir_make_tmp("magma-keylog-XXXXXX", NULL), *path = g_build_filename(dir, "keys", NULL), *text = NULL;
	struct stat st;

	in_own_process(path, chacha);
	g_test_trap_assert_passed();
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	g_assert_cmpint(g_stat(path, &st), ==, 0);
	g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	/* one of each end, the same */
	g_assert_cmpuint(g_strv_length(lines), ==, 3);
	g_assert_cmpstr(lines[0], ==, lines[1]);
	g_assert_cmpstr(lines[2], ==, "");
	g_auto(GStrv) words = g_strsplit(lines[0], " ", -1);
	g_assert_cmpuint(g_strv_length(words), ==, 10);
	g_assert_cmpstr(words[0], ==, "MAGMA_TRAFFIC");
	if (cipher)
		g_assert_cmpstr(words[7], ==, cipher);
	g_unlink(path);
	g_rmdir(dir);
}

static void test_keylog_has_each_session_from_both_ends(void) { keylog_agrees("", NULL); }
static void test_chacha_can_be_asked_for(void) { keylog_agrees("1", "chacha20poly1305"); }

static void test_a_keylog_others_can_read_stays_empty(void)
{
	if (g_test_subprocess()) {
		g_test_expect_message("magma", G_LOG_LEVEL_WARNING, "*others may read or write it*not logged*");
		exchange("127.0.0.1:0");
		g_test_assert_expected_messages();
		return;
	}
	g_autofree char *dir = g_dir_make_tmp("magma-keylog-XXXXXX", NULL), *path = g_build_filename(dir, "keys", NULL), *text = NULL;

	g_assert_true(g_file_set_contents(path, "", 0, NULL));
	g_assert_cmpint(g_chmod(path, 0640), ==, 0);
	in_own_process(path, "");
	g_test_trap_assert_passed();
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, "");
	g_unlink(path);
	g_rmdir(dir);
}

static void keylog_refused(const char *path, int code)
{
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(keylog_open(path, &error), ==, -1);
	g_assert_error(error, MAGMA_ERROR, code);
	g_assert_nonnull(strstr(error->message, path));
}

static void test_a_keylog_is_a_plain_private_file(void)
{
	g_autofree char *dir = g_dir_make_tmp("magma-keylog-XXXXXX", NULL), *path = g_build_filename(dir, "keys", NULL), *link = g_build_filename(dir, "link", NULL);
	g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);

	keylog_refused(dir, EISDIR);
	keylog_refused("/dev/null", EINVAL);
	g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
	keylog_refused(fifo, ENXIO);
	int fd = keylog_open(path, NULL);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(fcntl(fd, F_GETFL) & O_APPEND, !=, 0);
	g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
	close(fd);
	g_assert_cmpint(symlink(path, link), ==, 0);
	keylog_refused(link, ELOOP);
	g_assert_cmpint(g_chmod(path, 0604), ==, 0);
	keylog_refused(path, EACCES);
	g_unlink(link);
	g_unlink(fifo);
	g_unlink(path);
	g_rmdir(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/net/" #name, test_##name)
	T(ipv4);
	T(ipv6);
	T(ipv4_plain);
	T(ipv6_plain);
	T(wildcard);
	T(refused_port_is_told);
	T(refused_port_of_a_session_is_told);
	T(probe_finds_a_peer_that_is_gone);
	T(free_from_inside_a_message);
	T(port_in_use_names_the_address);
	T(resolve);
	T(keylog_has_each_session_from_both_ends);
	T(chacha_can_be_asked_for);
	T(a_keylog_others_can_read_stays_empty);
	T(a_keylog_is_a_plain_private_file);
	return g_test_run();
}
