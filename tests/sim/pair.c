#include "tests/sim/pair.h"
#include <string.h>

guint64 pair_seed = 1;

Pair pair_new(void)
{
	Pair p = { .net = simnet_new(pair_seed) };
	p.a = simnet_host(p.net, "10.0.0.1", NULL);
	p.b = simnet_host(p.net, "10.0.0.2", NULL);
	return p;
}

gboolean open_both(void *user)
{
	Pair *p = user;
	return p->a->opened && p->b->opened;
}

MagmaConn *pair_open(Pair *p)
{
	MagmaConn *c = simnet_connect(p->a, p->b);
	g_assert_true(simnet_run_until(p->net, 30 * SEC, open_both, p));
	return c;
}


GBytes *make_message(guint32 number, gsize n)
{
	guint8 *p = g_malloc(n);
	g_assert_cmpuint(n, >=, 8);
	put_be(p, number, 4);
	put_be(p + 4, n, 4);
	for (gsize i = 8; i < n; i++)
		p[i] = (guint8)(i * 131 + number * 7 + (i >> 8));
	return g_bytes_new_take(p, n);
}

guint32 check_message(GBytes *msg)
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

static void into_inbox(SimHost *h, MagmaConn *c, GBytes *msg)
{
	Inbox *box = h->user;
	guint32 number = check_message(msg);
	g_assert_cmpuint(number, <, box->want);
	g_assert_cmpuint(box->got[number], ==, 0);
	box->got[number] = 1;
	box->n++;
}

void inbox_attach(Inbox *box, SimHost *h, guint want)
{
	*box = (Inbox){ .got = g_malloc0(want), .want = want };
	h->user = box;
	h->on_message = into_inbox;
}

gboolean inbox_full(void *user)
{
	Inbox *box = user;
	return box->n == box->want;
}

void send_number(MagmaConn *c, guint32 number, gsize n)
{
	g_autoptr(GBytes) msg = make_message(number, n);
	/* Cut anywhere: a message is a head and a body. */
	gsize cut = number % 3 == 0 ? n : MIN(n, 100 + number);
	g_autoptr(GBytes) head = g_bytes_new_from_bytes(msg, 0, cut), body = g_bytes_new_from_bytes(msg, cut, n - cut);
	g_assert_true(magma_conn_send(c, head, cut < n ? body : NULL));
}

void pair_test_init(int *argc, char ***argv)
{
	g_test_init(argc, argv, NULL);
	const char *given = *argc > 1 ? (*argv)[1] : g_getenv("MAGMA_SEED");
	if (given)
		pair_seed = g_ascii_strtoull(given, NULL, 0);
	g_test_message("seed %" G_GUINT64_FORMAT, pair_seed);
}
