/* magmad/stall: what a loop that stood still says of it, and that it does not say it over and over. */
#include <glib.h>
#include "magmad/stall.h"

#define S G_USEC_PER_SEC

static Stall running(gint64 woke, gint64 cpu) { return (Stall){ .woke = woke, .cpu = cpu, .cpu_at = woke }; }

static void one_that_waits_for_the_disk_is_told_from_one_that_works(void)
{
	Stall s = running(100 * S, 3 * S);
	g_autofree char *disk = stall_before_poll(&s, 101 * S, 3 * S + 1000);
	g_assert_cmpstr(disk, ==, "stood still for 1.0 s: it waited for the disk or for a processor");
	s = running(100 * S, 3 * S);
	g_autofree char *work = stall_before_poll(&s, 102 * S, 5 * S - 1000);
	g_assert_cmpstr(work, ==, "stood still for 2.0 s: one task took so long");
}

static void short_work_and_the_first_turn_are_no_stall(void)
{
	Stall s = running(100 * S, 0);
	g_assert_null(stall_before_poll(&s, 100 * S + STALL_LEAST_US - 1, 0));
	s = (Stall){ 0 };
	g_assert_null(stall_before_poll(&s, 100 * S, 0));
}

static void waking_late_is_one_but_waiting_long_is_not(void)
{
	Stall s = running(100 * S, 0);
	g_assert_null(stall_after_poll(&s, 100 * S, 160 * S, -1));          /* as long as nothing comes */
	g_assert_null(stall_after_poll(&s, 160 * S, 170 * S, 20000));       /* something came before the timeout */
	g_assert_null(stall_after_poll(&s, 170 * S, 175 * S + STALL_LEAST_US - 1, 5000));
	g_autofree char *late = stall_after_poll(&s, 200 * S, 203 * S, 260);
	g_assert_cmpstr(late, ==, "stood still for 2.7 s: it waited for a processor, or the machine slept");
	g_assert_cmpint(s.woke, ==, 203 * S);
}

static void it_is_said_once_in_ten_seconds_with_what_was_not_said(void)
{
	Stall s = running(100 * S, 0);
	g_autofree char *first = stall_before_poll(&s, 101 * S, 0);
	g_assert_nonnull(first);
	for (guint i = 1; i < 10; i++) {
		s.woke = (100 + i) * S;
		g_assert_null(stall_before_poll(&s, (101 + i) * S, 0));
	}
	s.woke = 111 * S;
	g_autofree char *next = stall_before_poll(&s, 112 * S, 0);
	g_assert_cmpstr(next, ==, "stood still for 1.0 s: it waited for the disk or for a processor; 9 more since the last such line");
}

static void processor_time_is_looked_at_ten_times_a_second(void)
{
	Stall s = running(100 * S, 0);
	g_assert_false(stall_wants_cpu(&s, 100 * S + 99999));
	g_assert_true(stall_wants_cpu(&s, 100 * S + 100000));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/stall/disk-or-work", one_that_waits_for_the_disk_is_told_from_one_that_works);
	g_test_add_func("/stall/short", short_work_and_the_first_turn_are_no_stall);
	g_test_add_func("/stall/late", waking_late_is_one_but_waiting_long_is_not);
	g_test_add_func("/stall/rarely", it_is_said_once_in_ten_seconds_with_what_was_not_said);
	g_test_add_func("/stall/cpu", processor_time_is_looked_at_ten_times_a_second);
	return g_test_run();
}
