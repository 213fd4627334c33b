/* One-shot timers of the core, as one source of the loop: a heap, so that thousands of them cost nothing while they wait. Loop thread only. */
#pragma once
#include <glib.h>

typedef struct Timers Timers;

Timers *timers_new(GMainContext *ctx);
/* Nothing that waits is called any more. */
void timers_free(Timers *t);
/* fn(arg) once, delay microseconds from now. The handle is not 0 and is dead when fn is called. */
guint timers_add(Timers *t, gint64 delay, void (*fn)(void *arg), void *arg);
/* A dead handle is ignored. */
void timers_cancel(Timers *t, guint handle);
guint timers_pending(const Timers *t);
