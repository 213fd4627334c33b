#include "libmagma/net/spin.h"
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define SPIN_US 60                    /* two wake-ups: about what sleeping would cost the one who waits and the one who is waited for */
#define AVERAGE_SHIFT 3               /* weight of the newest wait: 1/8 */
#define WAIT_CAP_US (64 * SPIN_US)    /* one long pause is forgotten after some twenty short waits */

/* Of the one context of this process's loop thread; loop thread only (a second context's thread has its own). */
static _Thread_local gint64 average_wait_us = WAIT_CAP_US;
static gint64 spin_us = SPIN_US;

static gint64 now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void waited(gint64 us)
{
	average_wait_us += (MIN(us, WAIT_CAP_US) - average_wait_us) / (1 << AVERAGE_SHIFT);
}

static gint spin_poll(GPollFD *fds, guint n, gint timeout_ms)
{
	if (timeout_ms == 0)
		return poll((struct pollfd *)fds, n, 0);
	gint64 start = now_us();
	if (average_wait_us < 2 * spin_us)
		do {
			int r = poll((struct pollfd *)fds, n, 0);
			if (r) {
				waited(now_us() - start);
				return r;
			}
			sched_yield();
		} while (now_us() - start < spin_us);
	int r = poll((struct pollfd *)fds, n, timeout_ms);
	waited(now_us() - start);
	return r;
}

void magma_net_spin(GMainContext *ctx)
{
	const char *text = g_getenv("MAGMA_NET_SPIN");
	if (text)
		spin_us = CLAMP(g_ascii_strtoll(text, NULL, 10), 0, 1000);
	if (spin_us)
		g_main_context_set_poll_func(ctx, spin_poll);
}
