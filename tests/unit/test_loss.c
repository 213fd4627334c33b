/* Loss detection, timers and windows of RFC 9002, and path MTU discovery, event by event. */
#include "libmagma/xport/loss.h"
#include "libmagma/xport/pmtu.h"
#include <string.h>

typedef struct {
	guint acked, lost, again, forgotten;
} Seen;

static void on_acked(void *user, SentPacket *p) { ((Seen *)user)->acked++; }
static void on_lost(void *user, SentPacket *p) { ((Seen *)user)->lost++; }
static void on_again(void *user, SentPacket *p) { ((Seen *)user)->again++; }
static void on_forget(void *user, SentPacket *p) { ((Seen *)user)->forgotten++; }
static const LossOps OPS = { on_acked, on_lost, on_again, on_forget };

static void ack(Loss *l, MagmaTime now, guint64 lo, guint64 hi)
{
	Range r = { lo, hi };
	g_assert_true(loss_acked(l, now, &r, 1, 0));
}

static void three_later_packets_make_one_lost(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	for (guint i = 0; i < 10; i++)
		loss_sent(&l, 1000, 1000, TRUE);
	ack(&l, 2000, 1, 3);
	g_assert_cmpuint(s.lost, ==, 0);
	ack(&l, 2001, 1, 4);
	g_assert_cmpuint(s.lost, ==, 1);
	g_assert_cmpuint(s.acked, ==, 3);
	g_assert_cmpuint(l.in_flight, ==, 6000);
	g_assert_cmpuint(l.cc.cwnd, <, 12000);
	loss_clear(&l);
	g_assert_cmpuint(s.forgotten, ==, 10);
}

static void time_makes_a_tail_lost(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	loss_sent(&l, 1000, 1000, TRUE);
	loss_sent(&l, 1000, 1000, TRUE);
	ack(&l, 9000, 1, 2);
	g_assert_cmpuint(s.lost, ==, 0);
	g_assert_cmpint(loss_deadline(&l), ==, 1000 + 9000);     /* 9/8 of 8 ms */
	loss_timeout(&l, 10000);
	g_assert_cmpuint(s.lost, ==, 1);
	g_assert_cmpint(loss_deadline(&l), ==, G_MAXINT64);
	loss_clear(&l);
}

static void probe_timeout_backs_off_and_loses_nothing(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	loss_sent(&l, 1000, 1000, TRUE);
	ack(&l, 21000, 0, 1);
	loss_sent(&l, 30000, 1000, TRUE);
	MagmaTime pto = loss_pto(&l), t = 30000;
	g_assert_cmpint(pto, ==, 20000 + 40000 + LOSS_MAX_ACK_DELAY);
	for (guint i = 0; i < 5; i++) {
		g_assert_cmpint(loss_deadline(&l), ==, t + (pto << i));
		t = loss_deadline(&l);
		loss_timeout(&l, t);
		g_assert_cmpuint(s.again, ==, i + 1);
		g_assert_cmpuint(l.probes, ==, 2);
	}
	g_assert_cmpuint(s.lost, ==, 0);
	ack(&l, t + 1000, 1, 2);
	g_assert_cmpuint(l.pto_count, ==, 0);
	g_assert_cmpuint(l.probes, ==, 0);
	loss_clear(&l);
}

static void large_packet_is_not_repeated_on_the_first_suspicion(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	loss_sent(&l, 1000, 65000, TRUE);
	loss_timeout(&l, loss_deadline(&l));
	g_assert_true(l.ping);
	g_assert_cmpuint(s.again, ==, 0);
	g_assert_cmpuint(l.probes, ==, 0);
	loss_timeout(&l, loss_deadline(&l));
	g_assert_false(l.ping);
	g_assert_cmpuint(s.again, ==, 1);
	g_assert_cmpuint(l.probes, ==, 2);
	loss_clear(&l);
}

static void late_packet_takes_the_reduction_back(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	gsize before = l.cc.cwnd;
	for (guint i = 0; i < 10; i++)
		loss_sent(&l, 1000, 1000, TRUE);
	ack(&l, 2000, 4, 8);
	g_assert_cmpuint(s.lost, ==, 4);
	g_assert_cmpuint(l.cc.cwnd, <, before);
	ack(&l, 2100, 0, 8);
	g_assert_cmpuint(s.acked, ==, 8);
	g_assert_cmpuint(l.cc.cwnd, ==, before);
	g_assert_cmpuint(l.reorder, >=, 8);
	ack(&l, 2200, 8, 10);
	/* The path is known to reorder now: the same again loses nothing. */
	for (guint i = 0; i < 10; i++)
		loss_sent(&l, 3000, 1000, TRUE);
	ack(&l, 3100, 14, 18);
	g_assert_cmpuint(s.lost, ==, 4);
	loss_clear(&l);
}

static void window_opens_only_when_it_was_the_limit(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	gsize before = l.cc.cwnd;
	for (guint i = 0; i < 20; i++) {
		loss_sent(&l, 1000 * i, 1000, TRUE)->limited = FALSE;
		ack(&l, 1000 * i + 100, i, i + 1);
	}
	g_assert_cmpuint(l.cc.cwnd, ==, before);
	loss_sent(&l, 30000, 1000, TRUE)->limited = TRUE;
	ack(&l, 30100, 20, 21);
	g_assert_cmpuint(l.cc.cwnd, ==, before + 1000);
	loss_clear(&l);
}

static void one_reduction_per_round_trip(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	l.cc.cwnd = 1000000;
	for (guint i = 0; i < 100; i++)
		loss_sent(&l, 1000 + i, 1000, TRUE);
	for (guint i = 10; i < 100; i += 10)
		ack(&l, 2000 + i, i, i + 1);
	g_assert_cmpuint(s.lost, >, 60);
	g_assert_cmpuint(l.cc.cwnd, ==, 700000);
	loss_clear(&l);
}

static void long_silence_is_persistent_congestion(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	l.cc.cwnd = 1000000;
	loss_sent(&l, 1000, 1000, TRUE);
	ack(&l, 2000, 0, 1);
	for (guint i = 0; i < 10; i++)
		loss_sent(&l, 10000 + i * 20000, 1000, TRUE);
	loss_sent(&l, 300000, 1000, TRUE);
	ack(&l, 301000, 11, 12);
	g_assert_cmpuint(s.lost, ==, 10);
	g_assert_cmpuint(l.cc.cwnd, ==, 2400);
	loss_clear(&l);
}

static void lost_probe_of_the_mtu_is_no_congestion(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	gsize before = l.cc.cwnd;
	loss_sent(&l, 1000, 8952, TRUE)->probe = TRUE;
	for (guint i = 0; i < 5; i++)
		loss_sent(&l, 1001, 1000, TRUE);
	ack(&l, 2000, 1, 6);
	g_assert_cmpuint(s.lost, ==, 1);
	g_assert_cmpuint(l.cc.cwnd, ==, before);
	g_assert_cmpuint(l.in_flight, ==, 0);
	loss_clear(&l);
}

static void acknowledgements_alone_are_not_tracked(void)
{
	Seen s = { 0 };
	Loss l;
	loss_init(&l, &OPS, &s, 1200);
	for (guint i = 0; i < 100000; i++)
		loss_sent(&l, i, 50, FALSE);
	g_assert_cmpuint(l.size, ==, 64);
	g_assert_cmpuint(l.in_flight, ==, 0);
	g_assert_cmpint(loss_deadline(&l), ==, G_MAXINT64);
	Range r = { 0, 100001 };
	g_assert_false(loss_acked(&l, 0, &r, 1, 0));
	loss_clear(&l);
}

static void reno_friendly_growth_after_loss(void)
{
	Congestion c;
	cc_init(&c, 1200);
	c.cwnd = 120000;
	cc_lost(&c, 1000000, 999999, 1);
	g_assert_cmpuint(c.cwnd, ==, 84000);
	/* Ten seconds of full windows at 10 ms: CUBIC is beyond where it was, and not absurdly so. */
	MagmaTime now = 1000000;
	for (guint i = 0; i < 1000; i++) {
		now += 10000;
		gsize bytes = c.cwnd;
		for (gsize done = 0; done < bytes; done += 1200)
			cc_acked(&c, now, now - 10000 + 1, 1200, 10000, TRUE);
	}
	g_assert_cmpuint(c.cwnd, >, 300000);
	g_assert_cmpuint(c.cwnd, <, 3000000);
}

static void mtu_is_searched_upwards(void)
{
	Pmtu p;
	pmtu_init(&p, 65000);
	guint want, n = 0;
	while ((want = pmtu_want(&p, 0))) {
		pmtu_probe_sent(&p, want);
		g_assert_cmpuint(pmtu_want(&p, 0), ==, 0);
		if (want <= 1472) {
			g_assert_true(pmtu_acked(&p, want, TRUE));
			g_assert_cmpuint(p.mtu, ==, want);
		} else {
			g_assert_false(pmtu_lost(&p, 0, want, TRUE));
		}
		g_assert_cmpuint(++n, <, 20);
	}
	g_assert_cmpuint(n, ==, 4 + 3);
	g_assert_cmpuint(p.mtu, ==, 1472);
	g_assert_cmpuint(pmtu_want(&p, 599 * G_USEC_PER_SEC), ==, 0);
	g_assert_cmpuint(pmtu_want(&p, 601 * G_USEC_PER_SEC), ==, 4052);
}

static void mtu_falls_back_in_a_black_hole(void)
{
	Pmtu p;
	pmtu_init(&p, 65000);
	p.mtu = 8952;
	for (guint i = 0; i < 9; i++)
		g_assert_false(pmtu_lost(&p, 0, 8952, FALSE));
	pmtu_acked(&p, 8952, FALSE);
	for (guint i = 0; i < 9; i++)
		g_assert_false(pmtu_lost(&p, 0, 8952, FALSE));
	g_assert_true(pmtu_lost(&p, 0, 8952, FALSE));
	g_assert_cmpuint(p.mtu, ==, 1200);
	g_assert_cmpuint(pmtu_want(&p, 0), ==, 8952);      /* perhaps it was something else */
	pmtu_probe_sent(&p, 8952);
	pmtu_lost(&p, 0, 8952, TRUE);
	g_assert_cmpuint(pmtu_want(&p, 0), ==, 1232);
	for (guint i = 0; i < 100; i++)
		g_assert_false(pmtu_lost(&p, 0, 1200, FALSE));
}

static void mtu_obeys_the_system(void)
{
	Pmtu p;
	pmtu_init(&p, 65000);
	p.mtu = 1472;
	pmtu_probe_sent(&p, 4052);
	g_assert_false(pmtu_too_big(&p, 0, 4052));
	g_assert_cmpuint(pmtu_want(&p, 0), ==, 0);
	g_assert_true(pmtu_too_big(&p, 0, 1472));
	g_assert_cmpuint(p.mtu, ==, 1452);
	g_assert_true(pmtu_too_big(&p, 0, 1300));
	g_assert_cmpuint(p.mtu, ==, 1232);
	g_assert_false(pmtu_too_big(&p, 0, 900));
	g_assert_cmpuint(p.mtu, ==, 1232);
}

#define TEST(name) g_test_add_func("/loss/" #name, name)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	TEST(three_later_packets_make_one_lost);
	TEST(time_makes_a_tail_lost);
	TEST(probe_timeout_backs_off_and_loses_nothing);
	TEST(large_packet_is_not_repeated_on_the_first_suspicion);
	TEST(late_packet_takes_the_reduction_back);
	TEST(window_opens_only_when_it_was_the_limit);
	TEST(one_reduction_per_round_trip);
	TEST(long_silence_is_persistent_congestion);
	TEST(lost_probe_of_the_mtu_is_no_congestion);
	TEST(acknowledgements_alone_are_not_tracked);
	TEST(reno_friendly_growth_after_loss);
	TEST(mtu_is_searched_upwards);
	TEST(mtu_falls_back_in_a_black_hole);
	TEST(mtu_obeys_the_system);
	return g_test_run();
}
