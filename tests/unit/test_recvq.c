/* Range sets against a bitmap, and reassembly in any order. */
#include "libmagma/xport/recvq.h"
#include <string.h>

#define SPAN 400

static guint runs(const guint8 *bits)
{
	guint n = 0;
	for (guint i = 0; i < SPAN; i++)
		n += bits[i] && (i == 0 || !bits[i - 1]);
	return n;
}

static void range_set_is_a_set(void)
{
	for (guint round = 0; round < 200; round++) {
		RangeSet s = { 0 };
		guint8 bits[SPAN] = { 0 };
		for (guint i = 0; i < 100; i++) {
			guint lo = (guint)g_test_rand_int_range(0, SPAN - 1), hi = (guint)g_test_rand_int_range((gint)lo + 1, MIN(SPAN, (gint)lo + 40));
			gboolean add = g_test_rand_int_range(0, 3) > 0;
			guint64 want = 0;
			for (guint x = lo; x < hi; x++) {
				want += bits[x] != add;
				bits[x] = (guint8)add;
			}
			g_assert_cmpuint(add ? rangeset_add(&s, lo, hi) : rangeset_remove(&s, lo, hi), ==, want);
			g_assert_cmpuint(s.n, ==, runs(bits));
			for (guint x = 0; x < SPAN; x++)
				g_assert_cmpint(rangeset_contains(&s, x), ==, bits[x]);
		}
		rangeset_clear(&s);
	}
}

static void message_is_whole_whatever_the_order(void)
{
	for (guint round = 0; round < 100; round++) {
		RecvQueue q;
		recvq_init(&q);
		gsize total = (gsize)g_test_rand_int_range(1, 5000);
		g_autofree guint8 *data = g_malloc(total);
		for (gsize i = 0; i < total; i++)
			data[i] = (guint8)g_test_rand_int();
		GBytes *whole = NULL;
		RecvResult r = RECV_MORE;
		for (guint tries = 0; r == RECV_MORE; tries++) {
			g_assert_cmpuint(tries, <, 100000);
			gsize off = (gsize)g_test_rand_int_range(0, (gint)total), len = (gsize)g_test_rand_int_range(1, (gint)(total - off) + 1);
			r = recvq_add(&q, 7, total, off, data + off, MIN(len, 700), &whole);
		}
		g_assert_cmpint(r, ==, RECV_WHOLE);
		gsize n;
		const guint8 *p = g_bytes_get_data(whole, &n);
		g_assert_cmpmem(p, n, data, total);
		g_bytes_unref(whole);
		g_assert_cmpint(recvq_add(&q, 7, total, 0, data, 1, &whole), ==, RECV_OLD);
		g_assert_cmpuint(q.buffered, ==, 0);
		recvq_clear(&q);
	}
}

static void each_id_is_delivered_once(void)
{
	RecvQueue q;
	const guint8 x[8] = "1234567";
	GBytes *whole = NULL;
	recvq_init(&q);
	/* A window of ids in random order, over and over. */
	for (guint64 base = 0; base < 6; base++) {
		guint left = MSG_ID_WINDOW;
		g_autofree guint8 *done = g_malloc0(MSG_ID_WINDOW);
		for (guint tries = 0; left; tries++) {
			guint i = tries < 2 * MSG_ID_WINDOW ? (guint)g_test_rand_int_range(0, MSG_ID_WINDOW) : tries % MSG_ID_WINDOW;
			RecvResult r = recvq_add(&q, base * MSG_ID_WINDOW + i, 8, 0, x, 8, &whole);
			g_assert_cmpint(r, ==, done[i] ? RECV_OLD : RECV_WHOLE);
			if (r != RECV_WHOLE)
				continue;
			g_bytes_unref(whole);
			done[i] = 1;
			left--;
		}
		g_assert_cmpuint(q.base, ==, (base + 1) * MSG_ID_WINDOW);
	}
	recvq_clear(&q);
}

static void rules_of_the_sender_are_held_against_it(void)
{
	RecvQueue q;
	const guint8 x[1024] = { 0 };
	GBytes *whole = NULL;
	recvq_init(&q);
	g_assert_cmpint(recvq_add(&q, 0, MAGMA_MSG_MAX + 1, 0, x, 1, &whole), ==, RECV_BAD);
	g_assert_cmpint(recvq_add(&q, 0, 10, 11, x, 0, &whole), ==, RECV_BAD);
	g_assert_cmpint(recvq_add(&q, 0, 10, 5, x, 6, &whole), ==, RECV_BAD);
	g_assert_cmpint(recvq_add(&q, 0, 10, G_MAXUINT64, x, 6, &whole), ==, RECV_BAD);
	g_assert_cmpint(recvq_add(&q, 0, 10, 5, x, 0, &whole), ==, RECV_BAD);
	g_assert_cmpint(recvq_add(&q, MSG_ID_WINDOW, 10, 0, x, 10, &whole), ==, RECV_BAD);
	g_assert_cmpint(recvq_add(&q, G_MAXUINT64, 10, 0, x, 10, &whole), ==, RECV_BAD);
	g_assert_cmpint(recvq_add(&q, 3, 0, 0, x, 0, &whole), ==, RECV_WHOLE);
	g_bytes_unref(whole);
	/* One byte here, one there: memory for holes is bounded too. */
	RecvResult r = RECV_MORE;
	guint pieces = 0;
	for (; r == RECV_MORE && pieces < MAGMA_MSG_MAX / 2; pieces++)
		r = recvq_add(&q, 4, MAGMA_MSG_MAX, 2 * pieces, x, 1, &whole);
	g_assert_cmpint(r, ==, RECV_BAD);
	g_assert_cmpuint(pieces, <, 10000);
	recvq_clear(&q);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/recvq/range_set_is_a_set", range_set_is_a_set);
	g_test_add_func("/recvq/message_is_whole_whatever_the_order", message_is_whole_whatever_the_order);
	g_test_add_func("/recvq/each_id_is_delivered_once", each_id_is_delivered_once);
	g_test_add_func("/recvq/rules_of_the_sender_are_held_against_it", rules_of_the_sender_are_held_against_it);
	return g_test_run();
}
