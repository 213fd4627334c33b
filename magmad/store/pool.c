#include "magmad/store/pool.h"
#include <errno.h>
#include <glib-unix.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define IDLE_US (10 * G_USEC_PER_SEC)     /* an idle volcano keeps no thread: stacks and caches go back */

typedef struct {
	Pool *pool;
	GCond work;
	GQueue queued;                        /* under the pool's lock, as is all below */
	guint threads, idle, max;
} Lane;

struct Pool {
	GMutex lock;
	GCond ran;
	Lane lanes[POOL_LANES];
	GQueue finished;                      /* under lock */
	guint threads;                        /* under lock: of all lanes */
	GSList *ended;                        /* under lock: GThreads to be joined */
	gboolean stopping;                    /* under lock */
	int event;
	guint pending;                        /* loop only */
	GSource *source;                      /* loop only */
};

static void pool_wake(Pool *p)
{
	guint64 one = 1;
	while (write(p->event, &one, sizeof one) < 0 && errno == EINTR)
		;
}

static gpointer pool_thread(gpointer arg)
{
	Lane *lane = arg;
	Pool *p = lane->pool;

	g_mutex_lock(&p->lock);
	while (!p->stopping) {
		GList *l = g_queue_pop_head_link(&lane->queued);
		if (!l) {
			gint64 until = g_get_monotonic_time() + IDLE_US;
			gboolean timed_out = FALSE;
			lane->idle++;
			while (!lane->queued.length && !p->stopping && !timed_out)
				timed_out = !g_cond_wait_until(&lane->work, &p->lock, until);
			lane->idle--;
			if (timed_out && !lane->queued.length)
				break;
			continue;
		}
		PoolJob *job = l->data;
		g_mutex_unlock(&p->lock);
		job->run(job);
		g_mutex_lock(&p->lock);
		job->finished = TRUE;
		g_queue_push_tail_link(&p->finished, l);
		pool_wake(p);
		g_cond_broadcast(&p->ran);
	}
	lane->threads--;
	p->threads--;
	p->ended = g_slist_prepend(p->ended, g_thread_self());
	g_cond_broadcast(&p->ran);
	g_mutex_unlock(&p->lock);
	return NULL;
}

static void pool_join_ended(Pool *p)
{
	g_mutex_lock(&p->lock);
	GSList *ended = g_steal_pointer(&p->ended);
	g_mutex_unlock(&p->lock);
	for (GSList *l = ended; l; l = l->next)
		g_thread_join(l->data);
	g_slist_free(ended);
}

static void job_complete(Pool *p, PoolJob *job)
{
	p->pending--;
	job->done(job);
	job->free(job);
}

void pool_reap(Pool *p)
{
	g_mutex_lock(&p->lock);
	guint n = p->finished.length;     /* what finishes meanwhile is for the next turn */
	g_mutex_unlock(&p->lock);
	while (n--) {
		g_mutex_lock(&p->lock);   /* one at a time: done may itself wait for another of them */
		GList *l = g_queue_pop_head_link(&p->finished);
		g_mutex_unlock(&p->lock);
		if (!l)
			return;
		job_complete(p, l->data);
	}
}

static gboolean on_event(int fd, GIOCondition condition, gpointer user)
{
	Pool *p = user;
	guint64 n;

	while (read(p->event, &n, sizeof n) < 0 && errno == EINTR)
		;
	pool_reap(p);
	pool_join_ended(p);
	return G_SOURCE_CONTINUE;
}

Pool *pool_new(GMainContext *context, guint max_shared)
{
	Pool *p = g_new0(Pool, 1);

	g_mutex_init(&p->lock);
	g_cond_init(&p->ran);
	for (guint i = 0; i < POOL_LANES; i++) {
		p->lanes[i] = (Lane){ .pool = p, .max = i == POOL_SHARED ? max_shared : 1 };
		g_cond_init(&p->lanes[i].work);
	}
	p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g_assert(p->event >= 0);
	p->source = g_unix_fd_source_new(p->event, G_IO_IN);
	g_source_set_callback(p->source, G_SOURCE_FUNC(on_event), p, NULL);
	g_source_attach(p->source, context);
	return p;
}

void pool_push(Pool *p, PoolJob *job)
{
	Lane *lane = &p->lanes[job->lane];
	gboolean more;

	job->link = (GList){ .data = job };
	job->finished = FALSE;
	p->pending++;
	g_mutex_lock(&p->lock);
	g_queue_push_tail_link(&lane->queued, &job->link);
	more = lane->queued.length > lane->idle && lane->threads < lane->max;
	lane->threads += more;
	p->threads += more;
	g_cond_signal(&lane->work);
	g_mutex_unlock(&p->lock);
	if (more)
		g_thread_new("magma-pool", pool_thread, lane);
}

void pool_wait(Pool *p, PoolJob *job)
{
	g_mutex_lock(&p->lock);
	while (!job->finished)
		g_cond_wait(&p->ran, &p->lock);
	g_queue_unlink(&p->finished, &job->link);
	g_mutex_unlock(&p->lock);
	job_complete(p, job);
}

void pool_drain(Pool *p)
{
	while (p->pending) {
		g_mutex_lock(&p->lock);
		while (!p->finished.length)
			g_cond_wait(&p->ran, &p->lock);
		g_mutex_unlock(&p->lock);
		pool_reap(p);
	}
}

guint pool_pending(const Pool *p) { return p->pending; }

static void free_all(GQueue *jobs)
{
	for (GList *l; (l = g_queue_pop_head_link(jobs)); ) {
		PoolJob *job = l->data;
		job->free(job);
	}
}

void pool_free(Pool *p)
{
	if (!p)
		return;
	g_mutex_lock(&p->lock);
	p->stopping = TRUE;
	for (guint i = 0; i < POOL_LANES; i++)
		g_cond_broadcast(&p->lanes[i].work);
	while (p->threads)
		g_cond_wait(&p->ran, &p->lock);
	g_mutex_unlock(&p->lock);
	pool_join_ended(p);
	for (guint i = 0; i < POOL_LANES; i++) {
		free_all(&p->lanes[i].queued);
		g_cond_clear(&p->lanes[i].work);
	}
	free_all(&p->finished);
	g_source_destroy(p->source);
	g_source_unref(p->source);
	close(p->event);
	g_mutex_clear(&p->lock);
	g_cond_clear(&p->ran);
	g_free(p);
}
