/* Says in the log when the loop stood still: leases and beats wait for it, so clients do, too. Whoever asks why a volcano was taken for dead finds here whether it was its disk or its processor. */
#pragma once
#include <glib.h>

/* What the loop measures itself by; for tests. Times in microseconds. */
typedef struct {
	gint64 woke;                  /* when the last poll returned; 0: never */
	gint64 cpu, cpu_at;           /* this thread's processor time, and when it was looked at: a system call, so ten times a second is enough */
	gint64 said;                  /* when the last line was, 0: none yet */
	guint unsaid;                 /* stalls since then that got no line: at most one line in ten seconds */
} Stall;

/* A stall is half a second: above the beat (0.26 s), below the election timeout (0.7 s). */
#define STALL_LEAST_US 500000

/* The loop is about to poll: what came since it woke took too long? Returns the line to be said, or NULL; the caller frees it. */
char *stall_before_poll(Stall *s, gint64 now, gint64 cpu);
/* The poll has returned: too long after its timeout (ms, -1: none)? As above. Also with something to read, which has come since. */
char *stall_after_poll(Stall *s, gint64 began, gint64 now, int timeout_ms);
/* Is it time for another look at the processor time? The caller sets cpu and cpu_at. */
gboolean stall_wants_cpu(const Stall *s, gint64 now);

/* Watches ctx, which this thread runs, around whatever poll function it has: call it after that was set. One context in a process. */
void stall_watch(GMainContext *ctx);
