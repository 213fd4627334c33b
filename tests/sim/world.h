/* The simulated world under a cluster: a virtual clock, seeded chance, events in order of time, links that carry messages late and out of order, and the last messages for whoever
 * has to understand a failure. Nothing here knows what a volcano is. */
#pragma once
#include <glib.h>
#include "magmad/core/volcano.h"

typedef struct World World;
#define WORLD_BEGINS (1000 * (gint64)1000000)

/* What a failing run prints and a replay needs. */
typedef struct {
	guint32 seed;
	guint late_permille;          /* messages that take up to 1.5 s instead of up to 2 ms */
	gboolean verbose;             /* the trace goes to stderr at once */
	const char *replay;           /* how to run it again, for people; or NULL */
} WorldConfig;

World *world_new(const WorldConfig *cfg);
/* Events still to come are run when they are a store's (they free themselves), else dropped. */
void world_free(World *w);
GRand *world_rand(World *w);
gint64 world_now(World *w);
guint world_pick(World *w, guint n);                  /* 0..n-1 */
gboolean world_chance(World *w, guint n, guint of);   /* n times of `of` */
gint64 world_delay(World *w);                         /* of a message */
void world_set_late(World *w, guint late_permille);
/* fn(arg) after delay; the handle is never 0. keep: it is run also at the end of the world. */
guint world_after(World *w, gint64 delay, gboolean keep, void (*fn)(void *arg), void *arg);
/* The same, for a process (1..WORLD_OWNERS - 1; 0: the world itself): while that is stopped it waits. */
guint world_after_for(World *w, guint owner, gint64 delay, gboolean keep, void (*fn)(void *arg), void *arg);
enum { WORLD_OWNERS = 16 };
/* SIGSTOP: nothing of owner's runs before `until`; then all that was due runs in its order, at once. A time that has passed: SIGCONT. */
void world_pause(World *w, guint owner, gint64 until);
gboolean world_paused(World *w, guint owner);
guint world_owner(World *w);                          /* of the event that ran last */
void world_cancel(World *w, guint handle);
/* Runs the next event; FALSE: there is none. */
gboolean world_step(World *w);
guint64 world_steps(World *w);
const guint64 *world_turn(World *w);                   /* the same, to be looked at by others */

void world_trace(World *w, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void world_trace_message(World *w, const char *from, const char *to, GBytes *msg);
void world_print_trace(World *w);
/* Of all that happened: two runs of a seed have the same, or the run depends on something that is not in the seed. */
guint64 world_hash(World *w);
/* An assertion that fails prints seed and trace too, from now on. */
void world_trace_crashes(void);
/* Prints seed and trace and ends the program: a promise is broken. */
/* Called before a failure is printed: what there is to say about the state of things. */
void world_on_fail(World *w, void (*fn)(void *user), void *user);
#define world_fail(w, ...) world_fail_at(w, __FILE__, __LINE__, __VA_ARGS__)
void world_fail_at(World *w, const char *file, int line, const char *fmt, ...) G_GNUC_PRINTF(4, 5) G_GNUC_NORETURN;
