/* libmagma/net/spin: a loop that has been woken often waits awake for a little while, and one that has not costs nothing. */
#include <glib.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "libmagma/net/spin.h"

#define BALLS 3000

static gint64 cpu_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static gboolean tick(gpointer user)
{
	guint *left = user;
	(*left)--;
	return G_SOURCE_CONTINUE;
}

/* Wakes the loop `n` times, `ms` apart; the share of a CPU it took. */
static double share_of_timers(GMainContext *ctx, guint n, guint ms)
{
	g_autoptr(GSource) s = g_timeout_source_new(ms);
	g_source_set_callback(s, tick, &n, NULL);
	g_source_attach(s, ctx);
	gint64 cpu = cpu_us(), start = g_get_monotonic_time();
	while (n)
		g_main_context_iteration(ctx, TRUE);
	double share = (double)(cpu_us() - cpu) / (double)(g_get_monotonic_time() - start);
	g_source_destroy(s);
	return share;
}

typedef struct { int to, back; } Court;

static gpointer partner(gpointer user)
{
	Court *c = user;
	guint64 one;
	for (guint i = 0; i < BALLS; i++)
		if (read(c->to, &one, 8) != 8 || write(c->back, &one, 8) != 8)
			break;
	return NULL;
}

static gboolean ball(gint fd, GIOCondition condition, gpointer user)
{
	(void)condition;
	guint64 one;
	guint *n = user;
	if (read(fd, &one, 8) == 8)
		(*n)++;
	return G_SOURCE_CONTINUE;
}

/* A partner who answers each message as fast as two threads can; every ball comes back, however the loop waits. */
static void play(GMainContext *ctx)
{
	Court c = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
	guint n = 0;
	g_autoptr(GSource) s = g_unix_fd_source_new(c.back, G_IO_IN);
	g_source_set_callback(s, G_SOURCE_FUNC(ball), &n, NULL);
	g_source_attach(s, ctx);
	GThread *t = g_thread_new("partner", partner, &c);
	for (guint i = 0; i < BALLS; i++) {
		guint64 one = 1;
		g_assert_cmpint(write(c.to, &one, 8), ==, 8);
		while (n == i)
			g_main_context_iteration(ctx, TRUE);
	}
	g_thread_join(t);
	g_source_destroy(s);
	close(c.to);
	close(c.back);
}

static void test_an_idle_loop_costs_nothing_also_after_a_busy_time(void)
{
	g_autoptr(GMainContext) ctx = g_main_context_new();
	magma_net_spin(ctx);
	g_assert_cmpfloat(share_of_timers(ctx, 20, 10), <, 0.05);
	play(ctx);
	g_assert_cmpfloat(share_of_timers(ctx, 20, 10), <, 0.05);
}

static void test_a_source_that_is_ready_later_is_seen_while_waiting_awake(void)
{
	g_autoptr(GMainContext) ctx = g_main_context_new();
	magma_net_spin(ctx);
	for (guint round = 0; round < 3; round++)
		play(ctx);
}

int main(int argc, char **argv)
{
	g_setenv("MAGMA_NET_SPIN", "1000", TRUE);        /* the most there is: each wait of 10 ms that is spun shows as a tenth of a CPU */
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/spin/" #name, test_##name)
	T(an_idle_loop_costs_nothing_also_after_a_busy_time);
	T(a_source_that_is_ready_later_is_seen_while_waiting_awake);
	return g_test_run();
}
