/* Sessions over a network that loses, repeats, reorders, delays and cuts. */
#include "libmagma/xport/internal.h"
#include "tests/sim/pair.h"
#include <string.h>

static gboolean both_full(void *user)
{
	Inbox **boxes = user;
	return inbox_full(boxes[0]) && inbox_full(boxes[1]);
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
	g_assert_cmpuint(magma_conn_mtu(c), <=, 1280);           /* with so much loss a size that fits may be given up */
	g_free(in_a.got);
	g_free(in_b.got);
	simnet_free(p.net);
}


/* ---- scheduling ---- */

typedef struct {
	MagmaTime small_at, large_at;
	SimNet *net;
	guint small, large;
} Arrivals;

static void note_arrival(SimHost *h, MagmaConn *c, GBytes *msg)
{
	Arrivals *a = h->user;
	check_message(msg);
	gboolean small = g_bytes_get_size(msg) < MSG_SMALL;
	*(small ? &a->small_at : &a->large_at) = simnet_now(a->net);
	*(small ? &a->small : &a->large) += 1;
}

static void small_message_overtakes_large_ones(void)
{
	Pair p = pair_new();
	Arrivals a = { .net = p.net };
	p.b->user = &a;
	p.b->on_message = note_arrival;
	p.a->out.rate = 10 << 20;
	p.a->out.queue = 20 * MSEC;
	p.a->out.mtu = 1472;
	MagmaConn *c = pair_open(&p);
	for (guint i = 0; i < 8; i++)
		send_number(c, i, 1 << 20);
	simnet_run(p.net, 300 * MSEC);
	g_assert_cmpuint(a.large, <, 8);
	MagmaTime sent = simnet_now(p.net);
	send_number(c, 100, 200);
	simnet_run(p.net, 100 * MSEC);
	g_assert_cmpuint(a.small, ==, 1);
	/* What stands before it is the queue of the link, not ours: 8 MiB would take 800 ms. */
	g_assert_cmpint(a.small_at - sent, <, 40 * MSEC);
	simnet_free(p.net);
}

static void large_messages_get_their_share(void)
{
	Pair p = pair_new();
	Arrivals a = { .net = p.net };
	p.b->user = &a;
	p.b->on_message = note_arrival;
	p.a->out.rate = 10 << 20;
	p.a->out.queue = 20 * MSEC;
	p.a->out.mtu = 1472;
	MagmaConn *c = pair_open(&p);
	/* More small messages than the link can take, all the time. */
	for (guint turn = 0; turn < 200; turn++) {
		if (turn == 20)
			send_number(c, 0, 1 << 20);
		while (magma_conn_backlog(c) < (3 << 20))
			send_number(c, 1, 4000);
		simnet_run(p.net, 10 * MSEC);
	}
	/* A fifth of 10 MiB/s: half a second, and some for slow start. */
	g_assert_cmpuint(a.large, ==, 1);
	g_assert_cmpint(a.large_at, <, a.small_at);
	g_assert_cmpuint(a.small, >, 3000);
	simnet_free(p.net);
}

static void idle_request_and_reply_cost_a_datagram_each(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	simnet_run(p.net, SEC);
	guint64 a = p.a->sent, b = p.b->sent;
	for (guint i = 0; i < 100; i++) {
		send_number(c, 2 * i, 100);
		simnet_run(p.net, 300);
		send_number(p.b->last, 2 * i + 1, 200);
		simnet_run(p.net, 300);
	}
	simnet_run(p.net, SEC);
	g_assert_cmpuint(p.a->sent - a, ==, 101);        /* the last reply is acknowledged alone */
	g_assert_cmpuint(p.b->sent - b, ==, 100);
	g_assert_cmpint(magma_conn_rtt(c), >=, 200);
	g_assert_cmpint(magma_conn_rtt(c), <, 3000);
	simnet_free(p.net);
}

static void bulk_fills_the_link(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.b, 60);
	p.a->out = (SimPath){ .rate = 12500000, .queue = 30 * MSEC, .delay = 5000, .mtu = 1472 };
	p.b->out.delay = 5000;
	MagmaXportConfig cfg = simnet_config();
	cfg.recv_window = 4 << 20;
	simnet_kill(p.b);
	simnet_start(p.b, &cfg);
	MagmaConn *c = pair_open(&p);
	MagmaTime start = simnet_now(p.net);
	for (guint i = 0; i < 60; i++)
		send_number(c, i, 1 << 20);
	g_assert_true(simnet_run_until(p.net, 60 * SEC, inbox_full, &box));
	double rate = 60.0 * (1 << 20) / (double)(simnet_now(p.net) - start);
	g_test_message("%.1f of 12.5 MB/s, %" G_GUINT64_FORMAT " lost of %" G_GUINT64_FORMAT, rate, magma_endpoint_stats(p.a->ep)->lost, p.a->sent);
	g_assert_cmpfloat(rate, >, 10.0);
	g_free(box.got);
	simnet_free(p.net);
}

/* ---- memory ---- */

/* Loses one datagram in a hundred, so that most messages stay unfinished for a while. */
static gboolean drop_beginnings(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n)
{
	return n < 2000 || h->sent % 100 || h->sent < 2000;
}

static void flow_control_bounds_the_receivers_memory(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.b, 64);
	MagmaXportConfig cfg = simnet_config();
	cfg.recv_window = 64 << 20;
	simnet_kill(p.b);
	simnet_start(p.b, &cfg);
	p.a->out = (SimPath){ .delay = 20000, .mtu = 8952 };
	MagmaConn *c = pair_open(&p);
	gsize most = 0;
	for (guint i = 0; i < 64; i++)
		send_number(c, i, MAGMA_MSG_MAX);
	p.a->tap = drop_beginnings;
	while (!inbox_full(&box)) {
		simnet_run(p.net, 5 * MSEC);
		g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
		most = MAX(most, p.b->last->recvq.buffered);
	}
	g_test_message("at most %" G_GSIZE_FORMAT " bytes of unfinished messages", most);
	g_assert_cmpuint(most, <=, RECV_LIMIT);
	g_assert_cmpuint(most, >, RECV_LIMIT / 4);       /* else this test shows nothing */
	g_free(box.got);
	simnet_free(p.net);
}

static void more_small_messages_than_ids_in_the_window(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.b, 50000);
	p.a->out = (SimPath){ .loss = 0.05, .delay = 500, .jitter = 500, .mtu = 1472 };
	MagmaConn *c = pair_open(&p);
	for (guint i = 0; i < 50000; i++)
		send_number(c, i, 8 + i % 20);
	g_assert_true(simnet_run_until(p.net, 300 * SEC, inbox_full, &box));
	g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
	g_free(box.got);
	simnet_free(p.net);
}

/* ---- peers that die, hang, move ---- */

static gboolean a_closed(void *user)
{
	return ((Pair *)user)->a->closed > 0;
}

static void restarted_peer_is_found_at_once(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	simnet_run(p.net, 5 * SEC);
	simnet_kill(p.b);
	simnet_start(p.b, NULL);
	MagmaTime start = simnet_now(p.net);
	send_number(c, 1, 100);
	g_assert_true(simnet_run_until(p.net, 10 * SEC, a_closed, &p));
	g_assert_cmpint(p.a->why, ==, MAGMA_CLOSE_REPLACED);
	g_assert_cmpuint(p.a->opened, ==, 2);
	g_assert_cmpint(simnet_now(p.net) - start, <, 400 * MSEC);
	simnet_run(p.net, SEC);
	g_assert_nonnull(p.b->last);
	g_assert_cmpuint(magma_endpoint_sessions(p.a->ep), ==, 1);
	simnet_free(p.net);
}

static void peer_that_hangs_keeps_its_session(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	simnet_run(p.net, SEC);
	for (guint i = 0; i < 5; i++) {
		simnet_pause(p.b, TRUE);
		send_number(c, i, 100);
		simnet_run(p.net, 400 * MSEC + i * SEC);
		simnet_pause(p.b, FALSE);
		simnet_run(p.net, SEC);
		g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
		g_assert_cmpuint(p.b->messages, ==, i + 1);
	}
	g_assert_cmpuint(p.a->opened, ==, 1);
	simnet_run(p.net, 15 * SEC);
	g_assert_cmpuint(p.b->ep->n_half, ==, 0);
	simnet_free(p.net);
}

static void own_pause_does_not_end_the_session(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	simnet_run(p.net, SEC);
	send_number(c, 1, 100);
	simnet_pause(p.a, TRUE);
	simnet_run(p.net, 30 * SEC);
	simnet_pause(p.a, FALSE);
	simnet_run(p.net, SEC);
	g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
	g_assert_cmpuint(p.b->messages, ==, 1);
	simnet_free(p.net);
}

static void silent_peer_ends_after_ten_seconds(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	simnet_run(p.net, SEC);
	p.a->out.cut = p.b->out.cut = TRUE;
	MagmaTime start = simnet_now(p.net);
	send_number(c, 1, 100);
	g_assert_true(simnet_run_until(p.net, 20 * SEC, a_closed, &p));
	g_assert_cmpint(p.a->why, ==, MAGMA_CLOSE_SILENT);
	g_assert_cmpint(simnet_now(p.net) - start, >=, 10 * SEC);
	g_assert_cmpint(simnet_now(p.net) - start, <, 11 * SEC);
	g_assert_cmpuint(p.a->opened, ==, 1);
	g_assert_cmpuint(p.b->closed, ==, 0);
	simnet_run(p.net, 61 * SEC);
	g_assert_cmpuint(p.b->closed, ==, 1);
	g_assert_cmpint(p.b->why, ==, MAGMA_CLOSE_SILENT);
	g_assert_cmpint(g_hash_table_size(p.a->ep->by_cid), ==, 0);
	simnet_free(p.net);
}

static void idle_session_is_kept_alive(void)
{
	Pair p = pair_new();
	pair_open(&p);
	simnet_run(p.net, SEC);
	guint64 before = p.a->sent + p.b->sent;
	simnet_run(p.net, 600 * SEC);
	g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
	g_assert_cmpuint(p.a->sent + p.b->sent - before, <=, 2 * 30);
	simnet_free(p.net);
}

static void goodbye_reaches_the_peer_behind_the_messages(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	send_number(c, 1, 100);
	send_number(c, 2, 1000);
	magma_conn_close(c, simnet_now(p.net));
	g_autoptr(GBytes) late = make_message(3, 100);
	g_assert_false(magma_conn_send(c, late, NULL));
	simnet_run(p.net, 10 * MSEC);
	g_assert_cmpuint(p.b->messages, ==, 2);
	g_assert_cmpuint(p.a->closed, ==, 1);
	g_assert_cmpint(p.a->why, ==, MAGMA_CLOSE_LOCAL);
	g_assert_cmpuint(p.b->closed, ==, 1);
	g_assert_cmpint(p.b->why, ==, MAGMA_CLOSE_PEER);
	simnet_free(p.net);
}

static void client_may_change_its_address(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.b, 20);
	MagmaConn *c = pair_open(&p);
	for (guint i = 0; i < 20; i++) {
		send_number(c, i, 100000);
		simnet_run(p.net, 500);
		if (i == 8)
			p.a->addr.port = 4711;
		if (i == 15)
			g_assert_true(magma_addr_parse("10.0.7.7", 99, &p.a->addr));
	}
	g_assert_true(simnet_run_until(p.net, 10 * SEC, inbox_full, &box));
	simnet_run(p.net, SEC);
	g_assert_cmpuint(p.a->opened, ==, 1);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	g_assert_cmpuint(magma_conn_backlog(c), ==, 0);
	g_free(box.got);
	simnet_free(p.net);
}

static GBytes *held;

static gboolean hold_one(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n)
{
	if (held)
		return TRUE;
	held = g_bytes_new(p, n);
	return FALSE;
}

static void late_datagram_does_not_move_the_session_back(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	MagmaAddr old = p.a->addr;
	send_number(p.b->last, 0, 1 << 20);
	simnet_run(p.net, SEC);
	g_assert_cmpuint(magma_conn_mtu(p.b->last), ==, 65000);
	p.a->tap = hold_one;
	send_number(c, 1, 100);
	simnet_run(p.net, 0);
	g_assert_true(magma_addr_parse("10.0.7.7", 99, &p.a->addr));
	send_number(c, 2, 100);
	simnet_run(p.net, MSEC);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	g_assert_cmpuint(magma_conn_mtu(p.b->last), ==, PMTU_BASE);      /* another path: what fitted the old one says nothing */
	gsize n;
	const guint8 *d = g_bytes_get_data(held, &n);
	guint got = p.b->messages;
	simnet_inject(p.net, &old, p.b, d, n);
	g_assert_cmpuint(p.b->messages, ==, got + 1);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	g_clear_pointer(&held, g_bytes_unref);
	simnet_free(p.net);
}

static void answer_it(SimHost *h, MagmaConn *c, GBytes *msg)
{
	send_number(c, check_message(msg), 500);
}

static gboolean a_has_one_more(void *user)
{
	Pair *p = user;
	return p->a->messages > GPOINTER_TO_UINT(p->a->user);
}

static void new_port_of_a_nat_costs_a_round_trip(void)
{
	Pair p = pair_new();
	p.b->on_message = answer_it;
	p.a->out.delay = p.b->out.delay = 10 * MSEC;
	p.a->out.jitter = p.b->out.jitter = 0;
	MagmaConn *c = pair_open(&p);
	simnet_run(p.net, SEC);
	for (guint i = 0; i < 10; i++) {
		p.a->addr.port++;
		p.a->user = GUINT_TO_POINTER(p.a->messages);
		MagmaTime start = simnet_now(p.net);
		send_number(c, i, 100);
		g_assert_true(simnet_run_until(p.net, SEC, a_has_one_more, &p));
		g_assert_cmpint(simnet_now(p.net) - start, >=, 40 * MSEC);
		g_assert_cmpint(simnet_now(p.net) - start, <, 45 * MSEC);
		g_assert_cmpint(p.b->last->peer.port, ==, p.a->addr.port);
		simnet_run(p.net, i * 100 * MSEC);
	}
	g_assert_cmpuint(p.a->opened, ==, 1);
	simnet_free(p.net);
}

/* What comes down goes on, not only what is asked for. */
static void new_address_in_the_middle_of_a_download(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.a, 20);
	p.b->out = (SimPath){ .rate = 10 << 20, .queue = 20 * MSEC, .delay = 2000, .mtu = 1472 };
	p.a->out.delay = 2000;
	MagmaConn *c = pair_open(&p);
	for (guint i = 0; i < 20; i++)
		send_number(p.b->last, i, 1 << 20);
	MagmaTime start = simnet_now(p.net);
	simnet_run(p.net, 500 * MSEC);
	p.a->addr.port = 4711;
	send_number(c, 0, 100);                  /* until it says something, nobody can know */
	simnet_run(p.net, 500 * MSEC);
	g_assert_true(magma_addr_parse("10.0.7.7", 99, &p.a->addr));
	send_number(c, 1, 100);
	g_assert_true(simnet_run_until(p.net, 60 * SEC, inbox_full, &box));
	g_assert_cmpint(simnet_now(p.net) - start, <, 4 * SEC);          /* 2 s without a move */
	g_assert_cmpuint(p.a->opened, ==, 1);
	g_free(box.got);
	simnet_free(p.net);
}

/* Somebody on the path: what a sends reaches b first from another address, in part from there alone. */
typedef struct {
	Pair *p;
	MagmaAddr victim;
	guint64 from_victim, to_victim;      /* bytes */
	guint every, steal;                  /* copies each of so many datagrams; lets the original vanish of each of so many (0: of none) */
	guint n;
} Thief;

static gboolean steal(SimHost *h, const MagmaAddr *to, const guint8 *d, gsize n)
{
	Thief *t = h->user;
	if (d[0] < DGRAM_DATA || ++t->n % t->every)
		return TRUE;
	t->from_victim += n;
	simnet_inject(h->net, &t->victim, t->p->b, d, n);
	return !t->steal || t->n % t->steal;
}

static gboolean count_to_victim(SimHost *h, const MagmaAddr *to, const guint8 *d, gsize n)
{
	Thief *t = h->user;
	if (!magma_addr_equal(to, &t->victim))
		return TRUE;
	t->to_victim += n;
	g_assert_cmpuint(t->to_victim, <=, 3 * t->from_victim);
	g_assert_cmpuint(n, <=, PATH_DGRAM);         /* challenges, and nothing of what the session carries */
	return FALSE;
}

static void count_up(SimHost *h, MagmaConn *c, GBytes *msg)
{
	check_message(msg);
}

static void thief(guint every, guint how_many, const char *victim)
{
	Pair p = pair_new();
	Thief t = { .p = &p, .every = every, .steal = how_many };
	g_assert_true(magma_addr_parse(victim, 666, &t.victim));
	MagmaConn *c = pair_open(&p);
	p.a->user = p.b->user = &t;
	p.a->on_message = p.b->on_message = count_up;
	p.a->tap = steal;
	p.b->tap = count_to_victim;
	for (guint i = 0; i < 60; i++) {
		send_number(c, i, 100 + simnet_random(p.net, 30000));
		send_number(p.b->last, i, 100 + simnet_random(p.net, 200000));
		simnet_run(p.net, simnet_random(p.net, i % 10 ? 3 * MSEC : 500 * MSEC));
		g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	}
	simnet_run(p.net, 10 * SEC);
	g_assert_cmpuint(p.a->messages, ==, 60);
	g_assert_cmpuint(p.b->messages, ==, 60);
	g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	g_assert_cmpuint(t.to_victim, >, 0);
	/* He stops, and nothing of it is left as soon as the peer says something; a real move is followed as ever. */
	send_number(c, 98, 100);
	simnet_run(p.net, MSEC);
	p.a->tap = NULL;
	send_number(c, 99, 100);
	simnet_run(p.net, 10 * MSEC);
	g_assert_cmpint(p.b->last->path.asked, ==, FALSE);
	p.a->addr.port = 4711;
	send_number(c, 100, 100);
	simnet_run(p.net, 100 * MSEC);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	simnet_free(p.net);
}

static void copied_datagrams_neither_divert_nor_amplify(void)
{
	thief(1, 0, "10.9.9.9");
	thief(1, 0, "10.0.0.1");              /* another port of the same host */
	thief(3, 0, "10.9.9.9");
	thief(2, 4, "10.9.9.9");
}

static gboolean steal_one(SimHost *h, const MagmaAddr *to, const guint8 *d, gsize n)
{
	Thief *t = h->user;
	if (t->n++)
		return FALSE;
	t->from_victim = n;
	simnet_inject(h->net, &t->victim, t->p->b, d, n);
	return FALSE;
}

static void short_datagram_gets_no_more_than_three_times_its_bytes(void)
{
	Pair p = pair_new();
	Thief t = { .p = &p };
	g_assert_true(magma_addr_parse("10.9.9.9", 666, &t.victim));
	pair_open(&p);
	p.a->user = p.b->user = &t;
	p.a->tap = steal_one;
	p.b->tap = count_to_victim;
	simnet_run(p.net, 25 * SEC);             /* the first is the PING of T2 */
	g_assert_cmpuint(t.from_victim, ==, DATA_OVERHEAD + 1);
	g_assert_cmpuint(t.to_victim, ==, 2 * PATH_DGRAM);
	g_assert_false(p.b->last->path.asked);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	simnet_free(p.net);
}

/* The answer counts from the challenged address alone. */
static gboolean spoil_response(SimHost *h, const MagmaAddr *to, const guint8 *d, gsize n)
{
	Thief *t = h->user;
	if (n != PATH_DGRAM)
		return TRUE;
	t->n++;
	simnet_inject(h->net, &t->victim, t->p->b, d, n);
	return FALSE;
}

static void response_from_elsewhere_moves_nothing(void)
{
	Pair p = pair_new();
	Thief t = { .p = &p };
	g_assert_true(magma_addr_parse("10.9.9.9", 666, &t.victim));
	MagmaConn *c = pair_open(&p);
	simnet_run(p.net, SEC);
	MagmaAddr old = p.a->addr;
	p.a->user = &t;
	p.a->tap = spoil_response;
	p.a->addr.port = 4711;
	send_number(c, 0, 5000);
	simnet_run(p.net, 200 * MSEC);           /* not longer, or a sees that nothing comes and begins anew (T4) */
	g_assert_cmpuint(t.n, >, 0);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &old));
	p.a->tap = NULL;
	send_number(c, 1, 100);
	simnet_run(p.net, 5 * SEC);
	g_assert_true(magma_addr_equal(magma_conn_peer(p.b->last), &p.a->addr));
	g_assert_cmpuint(p.a->opened, ==, 1);
	simnet_free(p.net);
}

/* ---- path MTU ---- */

static void local_limit_is_learned_from_the_system(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.b, 4);
	p.a->out.local_mtu = p.a->out.mtu = 1472;
	MagmaConn *c = pair_open(&p);
	for (guint i = 0; i < 4; i++)
		send_number(c, i, 1 << 20);
	g_assert_true(simnet_run_until(p.net, 10 * SEC, inbox_full, &box));
	g_assert_cmpuint(magma_conn_mtu(c), ==, 1472);
	p.a->out.local_mtu = p.a->out.mtu = 1400;        /* the route changes */
	box = (Inbox){ .got = memset(box.got, 0, 4), .want = 4 };
	for (guint i = 0; i < 4; i++)
		send_number(c, i, 1 << 20);
	g_assert_true(simnet_run_until(p.net, 10 * SEC, inbox_full, &box));
	g_assert_cmpuint(magma_conn_mtu(c), ==, 1372);
	g_free(box.got);
	simnet_free(p.net);
}

static void black_hole_is_noticed_and_left(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.b, 12);
	p.a->out.mtu = 8952;
	MagmaConn *c = pair_open(&p);
	for (guint i = 0; i < 12; i++) {
		send_number(c, i, 1 << 20);
		simnet_run(p.net, 100 * MSEC);
		if (i == 3) {
			g_assert_cmpuint(magma_conn_mtu(c), ==, 8952);
			p.a->out.mtu = 1300;
		}
		if (i == 7)
			g_assert_cmpuint(magma_conn_mtu(c), <=, 1300);
	}
	g_assert_true(simnet_run_until(p.net, 10 * SEC, inbox_full, &box));
	g_assert_cmpuint(magma_conn_mtu(c), ==, 1232);
	g_assert_cmpuint(p.a->closed + p.b->closed, ==, 0);
	g_free(box.got);
	simnet_free(p.net);
}

static gboolean no_larger_than_1472(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n)
{
	g_assert_cmpuint(n, <=, 1472);
	return TRUE;
}

static void receive_window_limits_the_datagrams(void)
{
	Pair p = pair_new();
	Inbox box;
	inbox_attach(&box, p.b, 4);
	MagmaXportConfig cfg = simnet_config();
	cfg.recv_window = 3000;
	simnet_kill(p.b);
	simnet_start(p.b, &cfg);
	p.a->tap = no_larger_than_1472;
	MagmaConn *c = pair_open(&p);
	for (guint i = 0; i < 4; i++)
		send_number(c, i, 100000);
	g_assert_true(simnet_run_until(p.net, 60 * SEC, inbox_full, &box));
	g_free(box.got);
	simnet_free(p.net);
}

/* ---- keys ---- */

/* every: 300 is often; 3 is faster than acknowledgements come, which must hold it back. */
static void keys_change(guint64 every)
{
	Pair p = pair_new();
	Inbox in_a, in_b, *boxes[] = { &in_a, &in_b };
	inbox_attach(&in_a, p.a, 10);
	inbox_attach(&in_b, p.b, 10);
	p.a->out = p.b->out = (SimPath){ .loss = 0.05, .dup = 0.05, .delay = 500, .jitter = 2000, .mtu = 1472 };
	p.a->ep->rekey_packets = p.b->ep->rekey_packets = every;
	MagmaConn *c = pair_open(&p), *d = p.b->last;
	for (guint i = 0; i < 10; i++) {
		send_number(c, i, 1 << 20);
		send_number(d, i, 1 << 20);
	}
	g_assert_true(simnet_run_until(p.net, 600 * SEC, both_full, boxes));
	g_assert_cmpuint(c->tx.phase, >, 10);
	g_assert_cmpuint(d->tx.phase, >, 10);
	/* Every 3: a datagram that two changes overtook cannot be read any more, which is a loss like others. */
	if (every > 100)
		g_assert_cmpuint(magma_endpoint_stats(p.a->ep)->bad_tag + magma_endpoint_stats(p.b->ep)->bad_tag, ==, 0);
	g_auto(GStrv) lines = g_strsplit(p.a->keylog->str, "\n", -1);
	g_assert_cmpuint(g_strv_length(lines), >, 10);
	g_auto(GStrv) words = g_strsplit(lines[0], " ", -1);
	g_assert_cmpuint(g_strv_length(words), ==, 10);
	g_assert_cmpstr(words[0], ==, "MAGMA_TRAFFIC");
	g_assert_cmpuint(strlen(words[1]), ==, 16);
	g_assert_cmpuint(strlen(words[2]), ==, 64);
	g_assert_true(strstr(p.b->keylog->str, lines[0]) != NULL);
	g_free(in_a.got);
	g_free(in_b.got);
	simnet_free(p.net);
}

static void keys_change_under_way(void)
{
	keys_change(300);
	keys_change(3);
}

/* ---- users that do what they like inside events ---- */

static void close_at_once(SimHost *h, MagmaConn *c, GBytes *msg)
{
	magma_conn_close(c, simnet_now(h->net));
	magma_conn_close(c, simnet_now(h->net));
}

static void nothing_is_delivered_after_close(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	p.b->on_message = close_at_once;
	for (guint i = 0; i < 10; i++)
		send_number(c, i, 50);
	simnet_run(p.net, SEC);
	g_assert_cmpuint(p.b->messages, ==, 1);
	g_assert_cmpint(p.b->why, ==, MAGMA_CLOSE_LOCAL);
	g_assert_cmpint(p.a->why, ==, MAGMA_CLOSE_PEER);
	simnet_free(p.net);
}

static void free_at_once(SimHost *h, MagmaConn *c, GBytes *msg)
{
	g_clear_pointer(&h->ep, magma_endpoint_free);
}

static void free_in_close(SimHost *h, MagmaConn *c, MagmaCloseReason why)
{
	g_clear_pointer(&h->ep, magma_endpoint_free);
}

static void endpoint_may_be_freed_in_an_event(void)
{
	Pair p = pair_new();
	MagmaConn *c = pair_open(&p);
	p.b->on_message = free_at_once;
	p.a->on_close = free_in_close;
	for (guint i = 0; i < 10; i++)
		send_number(c, i, 50);
	simnet_run(p.net, 30 * SEC);
	g_assert_null(p.b->ep);
	g_assert_null(p.a->ep);
	simnet_free(p.net);
}

#define TEST(name) g_test_add_func("/sessions/" #name, name)

int main(int argc, char **argv)
{
	pair_test_init(&argc, &argv);
	TEST(messages_arrive_once_and_intact);
	TEST(bad_network_both_directions);
	TEST(small_message_overtakes_large_ones);
	TEST(large_messages_get_their_share);
	TEST(idle_request_and_reply_cost_a_datagram_each);
	TEST(bulk_fills_the_link);
	TEST(flow_control_bounds_the_receivers_memory);
	TEST(more_small_messages_than_ids_in_the_window);
	TEST(restarted_peer_is_found_at_once);
	TEST(peer_that_hangs_keeps_its_session);
	TEST(own_pause_does_not_end_the_session);
	TEST(silent_peer_ends_after_ten_seconds);
	TEST(idle_session_is_kept_alive);
	TEST(goodbye_reaches_the_peer_behind_the_messages);
	TEST(client_may_change_its_address);
	TEST(new_port_of_a_nat_costs_a_round_trip);
	TEST(new_address_in_the_middle_of_a_download);
	TEST(copied_datagrams_neither_divert_nor_amplify);
	TEST(short_datagram_gets_no_more_than_three_times_its_bytes);
	TEST(response_from_elsewhere_moves_nothing);
	TEST(late_datagram_does_not_move_the_session_back);
	TEST(local_limit_is_learned_from_the_system);
	TEST(black_hole_is_noticed_and_left);
	TEST(receive_window_limits_the_datagrams);
	TEST(keys_change_under_way);
	TEST(nothing_is_delivered_after_close);
	TEST(endpoint_may_be_freed_in_an_event);
	return g_test_run();
}
