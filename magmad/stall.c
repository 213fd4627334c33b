#include "magmad/stall.h"
#include "magmad/log.h"
#include <time.h>

#define SAY_EVERY_US (10 * G_USEC_PER_SEC)
#define CPU_EVERY_US (G_USEC_PER_SEC / 10)

static char *line(Stall *s, gint64 now, char *what)
{
	g_autofree char *text = what;

	if (s->said && now - s->said < SAY_EVERY_US) {
		s->unsaid++;
		return NULL;
	}
	guint unsaid = s->unsaid;
	s->said = now;
	s->unsaid = 0;
	return unsaid ? g_strdup_printf("%s; %u more since the last such line", text, unsaid) : g_steal_pointer(&text);
}

char *stall_before_poll(Stall *s, gint64 now, gint64 cpu)
{
	gint64 took = now - s->woke, worked = cpu - s->cpu;

	if (!s->woke || took < STALL_LEAST_US)
		return NULL;
	return line(s, now, g_strdup_printf("stood still for %.1f s: %s", (double)took / G_USEC_PER_SEC,
		worked > took / 2 ? "one task took so long" : "it waited for the disk or for a processor"));
}

gboolean stall_wants_cpu(const Stall *s, gint64 now) { return now - s->cpu_at >= CPU_EVERY_US; }

char *stall_after_poll(Stall *s, gint64 began, gint64 now, int timeout_ms)
{
	gint64 late = timeout_ms < 0 ? 0 : now - began - timeout_ms * G_GINT64_CONSTANT(1000);

	s->woke = now;
	return late < STALL_LEAST_US ? NULL : line(s, now, g_strdup_printf("stood still for %.1f s: it waited for a processor, or the machine slept", (double)late / G_USEC_PER_SEC));
}

/* --- the loop --- */

static Stall stall;
static GPollFunc poll_before;

static gint64 clock_us(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return t.tv_sec * G_USEC_PER_SEC + t.tv_nsec / 1000;
}

static void say(char *text)
{
	if (text)
		log_say("%s", text);
	g_free(text);
}

static gint watched_poll(GPollFD *fds, guint n, gint timeout_ms)
{
	gint64 began = clock_us(CLOCK_MONOTONIC);

	if (stall.woke && began - stall.woke >= STALL_LEAST_US)
		say(stall_before_poll(&stall, began, clock_us(CLOCK_THREAD_CPUTIME_ID)));
	gint r = poll_before(fds, n, timeout_ms);
	gint64 now = clock_us(CLOCK_MONOTONIC);
	say(stall_after_poll(&stall, began, now, timeout_ms));
	if (stall_wants_cpu(&stall, now)) {
		stall.cpu = clock_us(CLOCK_THREAD_CPUTIME_ID);
		stall.cpu_at = now;
	}
	return r;
}

void stall_watch(GMainContext *ctx)
{
	poll_before = g_main_context_get_poll_func(ctx);
	g_main_context_set_poll_func(ctx, watched_poll);
}
