/* Sessions over a network that loses, repeats, reorders, delays and cuts. */
#include "libmagma/xport/internal.h"
#include "tests/sim/simnet.h"
#include <string.h>

static guint64 seed = 1;

typedef struct {
	SimNet *net;
	SimHost *a, *b;
} Pair;

static Pair pair_new(void)
{
	Pair p = { .net = simnet_new(seed) };
	p.a = simnet_host(p.net, "10.0.0.1", NULL);
	p.b = simnet_host(p.net, "10.0.0.2", NULL);
	return p;
}

static gboolean open_both(void *user)
{
	Pair *p = user;
	return p->a->opened && p->b->opened;
}

static MagmaConn *pair_open(Pair *p)
{
	MagmaConn *c = simnet_connect(p->a, p->b);
	g_assert_true(simnet_run_until(p->net, 30 * SEC, open_both, p));
	return c;
}

/* A message that says what it is: number, length, and bytes that follow from both. */
static GBytes *make_message(guint32 number, gsize n)
{
	guint8 *p = g_malloc(n);
	g_assert_cmpuint(n, >=, 8);
	put_be(p, number, 4);
	put_be(p + 4, n, 4);
	for (gsize i = 8; i < n; i++)
		p[i] = (guint8)(i * 131 + number * 7 + (i >> 8));
	return g_bytes_new_take(p, n);
}

static guint32 check_message(GBytes *msg)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);
	g_assert_cmpuint(n, >=, 8);
	guint32 number = (guint32)get_be(p, 4);
	g_assert_cmpuint(get_be(p + 4, 4), ==, n);
	for (gsize i = 8; i < n; i++)
		if (p[i] != (guint8)(i * 131 + number * 7 + (i >> 8)))
			g_error("message %u is wrong at byte %" G_GSIZE_FORMAT, number, i);
	return number;
}

/* What a host has got: each number exactly once. */
typedef struct {
	guint8 *got;
	guint n, want;
} Inbox;

static void into_inbox(SimHost *h, MagmaConn *c, GBytes *msg)
{
	Inbox *box = h->user;
	guint32 number = check_message(msg);
	g_assert_cmpuint(number, <, box->want);
	g_assert_cmpuint(box->got[number], ==, 0);
	box->got[number] = 1;
	box->n++;
}

static void inbox_attach(Inbox *box, SimHost *h, guint want)
{
	*box = (Inbox){ .got = g_malloc0(want), .want = want };
	h->user = box;
	h->on_message = into_inbox;
}

static gboolean inbox_full(void *user)
{
	Inbox *box = user;
	return box->n == box->want;
}

static gboolean both_full(void *user)
{
	Inbox **boxes = user;
	return inbox_full(boxes[0]) && inbox_full(boxes[1]);
}

static void send_number(MagmaConn *c, guint32 number, gsize n)
{
	g_autoptr(GBytes) msg = make_message(number, n);
	/* Cut anywhere: a message is a head and a body. */
	gsize cut = number % 3 == 0 ? n : MIN(n, 100 + number);
	g_autoptr(GBytes) head = g_bytes_new_from_bytes(msg, 0, cut), body = g_bytes_new_from_bytes(msg, cut, n - cut);
	g_assert_true(magma_conn_send(c, head, cut < n ? body : NULL));
}

static void messages_arrive_once_and_intact(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.b, 6);
	MagmaConn *c = pair_open(&p);
	const gsize sizes[] = { 8, 1000, 1200, 70000, 1 << 20, MAGMA_MSG_MAX };
	for (guint i = 0; i < 6; i++)
		send_number(c, i, sizes[i]);
	g_assert_true(simnet_run_until(p.net, 10 * SEC, inbox_full, &box));
	simnet_run(p.net, SEC);
	g_assert_cmpuint(magma_conn_backlog(c), ==, 0);
	g_assert_cmpuint(magma_conn_mtu(c), ==, 65000);
	g_assert_cmpuint(magma_endpoint_stats(p.a->ep)->lost, ==, 0);
	g_free(box.got);
	simnet_free(p.net);
}

static void bad_network_both_directions(void)
{
	Pair p = pair_new();
	Inbox in_a, in_b, *boxes[] = { &in_a, &in_b };
	inbox_attach(&in_a, p.a, 40);
	inbox_attach(&in_b, p.b, 40);
	SimPath bad = { .loss = 0.10, .dup = 0.05, .delay = 1000, .jitter = 3000, .mtu = 1280 };
	p.a->out = p.b->out = bad;
	MagmaConn *c = pair_open(&p), *d = p.b->last;
	for (guint i = 0; i < 40; i++) {
		gsize n = i % 4 == 0 ? 1 << 20 : 8 + simnet_random(p.net, 40000);
		send_number(c, i, n);
		send_number(d, i, n);
	}
	g_assert_true(simnet_run_until(p.net, 600 * SEC, both_full, boxes));
	simnet_run(p.net, 2 * SEC);
	g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
	g_assert_cmpuint(magma_conn_mtu(c), ==, 1232);
	g_free(in_a.got);
	g_free(in_b.got);
	simnet_free(p.net);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (argc > 1)
		seed = g_ascii_strtoull(argv[1], NULL, 0);
	else if (g_getenv("MAGMA_SEED"))
		seed = g_ascii_strtoull(g_getenv("MAGMA_SEED"), NULL, 0);
	g_test_message("seed %" G_GUINT64_FORMAT, seed);
	g_test_add_func("/sessions/messages_arrive_once_and_intact", messages_arrive_once_and_intact);
	g_test_add_func("/sessions/bad_network_both_directions", bad_network_both_directions);
	return g_test_run();
}
