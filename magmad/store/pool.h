/* The pool: threads for what blocks. A job runs on some thread of its lane and comes back to the loop. A job touches only its own struct and what its owner lends it for that time.
 * Threads are made on demand and end when idle. */
#pragma once
#include <glib.h>

typedef struct Pool Pool;
typedef struct PoolJob PoolJob;

/* Who waits for whom: only jobs of a lane for each other. What others wait for must not stand behind a burst of fsyncs of contents, which may take seconds on a slow disk. */
typedef enum {
	POOL_SHARED,              /* contents, reads, whatever has no lane of its own */
	POOL_JOURNAL,             /* the journal's sync: one at a time */
	POOL_WRITER,              /* batches, merges, checkpoints: one at a time */
	POOL_LANES,
} PoolLane;

/* Embedded as the first member of a job's own struct. */
struct PoolJob {
	void (*run)(PoolJob *job);                /* on a pool thread */
	void (*done)(PoolJob *job);               /* on the loop, after run; not called when the pool was ended first */
	void (*free)(PoolJob *job);               /* on the loop, always, last */
	PoolLane lane;
	GList link;                               /* under the pool's lock */
	gboolean finished;                        /* under the pool's lock */
};

/* All but run is called on the thread that iterates context. max_shared: threads of that lane; the others have one each. */
Pool *pool_new(GMainContext *context, guint max_shared);
void pool_push(Pool *p, PoolJob *job);
/* Blocks until job has run, then calls its done and free. */
void pool_wait(Pool *p, PoolJob *job);
/* Blocks until nothing is queued, running or unreaped, what done() pushes included. */
void pool_drain(Pool *p);
/* Calls done of what has run so far, without waiting. */
void pool_reap(Pool *p);
/* Jobs not yet reaped. */
guint pool_pending(const Pool *p);
/* Drops queued jobs, waits for running ones, calls only free. */
void pool_free(Pool *p);
