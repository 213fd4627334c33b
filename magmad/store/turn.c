/* The end of a turn of the loop: what was committed in it is written, what became due is started. */
#include "magmad/store/disk.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <malloc.h>

#define SYNC_US (G_USEC_PER_SEC / 2)  /* what nobody syncs is durable after this, so that settles go on */
#define LATE_US 10000
#define RETRY_US (G_USEC_PER_SEC / 4)

void disk_fail(DiskStore *d, const char *text)
{
	if (d->failed)
		return;
	d->failed = TRUE;
	g_critical("%s", text);
	if (d->base.on_failed)
		d->base.on_failed(d->base.user, text);
}

void disk_content_failed(void *user, int error)
{
	DiskStore *d = user;
	g_autofree char *text = g_strdup_printf("%s/content: changing a content: %s", d->dir, g_strerror(error));

	disk_fail(d, text);
}

static void job_nothing(PoolJob *job) { }

/* --- syncs --- */

typedef struct {
	PoolJob job;
	DiskStore *d;
	JournalSync *sync;
	int error;
} SyncJob;

static void sync_run(PoolJob *job)
{
	SyncJob *s = (SyncJob *)job;
	s->error = journal_sync_run(s->sync);
}

static void sync_done(PoolJob *job)
{
	SyncJob *s = (SyncJob *)job;
	DiskStore *d = s->d;

	d->syncing = FALSE;
	journal_sync_end(d->journal, g_steal_pointer(&s->sync), s->error);
	MAGMA_TRACE(d->trace, 'J', "durable up to index %" G_GUINT64_FORMAT, journal_durable(d->journal));
	if (s->error) {
		/* After a failed sync nobody knows what is on disk: to try again would lie. */
		g_autofree char *text = g_strdup_printf("%s: syncing the journal: %s", journal_dir(d->journal), g_strerror(s->error));
		disk_fail(d, text);
	}
	disk_wake(d);
}

static void sync_free(PoolJob *job)
{
	SyncJob *s = (SyncJob *)job;

	if (s->sync)
		journal_sync_end(s->d->journal, s->sync, EINTR);
	g_free(s);
}

static void sync_push(DiskStore *d)
{
	SyncJob *s = g_new0(SyncJob, 1);

	s->job = (PoolJob){ .run = sync_run, .done = sync_done, .free = sync_free, .lane = POOL_JOURNAL };
	s->d = d;
	s->sync = journal_sync_begin(d->journal);
	d->syncing = TRUE;
	d->sync_at = 0;
	pool_push(d->pool, &s->job);
}

void disk_sync(Store *s, void (*done)(void *, int), void *user)
{
	DiskStore *d = DISK(s);
	SyncWaiter w = { done, user, journal_index(d->journal), journal_fills(d->journal) };

	g_assert(!d->change);
	g_array_append_val(d->syncs, w);
	disk_wake(d);
}

static gboolean sync_due(const DiskStore *d, guint i)
{
	const SyncWaiter *w = &g_array_index(d->syncs, SyncWaiter, i);

	return d->failed || (w->index <= journal_durable(d->journal) && w->fills <= journal_fills_durable(d->journal));
}

static void syncs_answer(DiskStore *d)
{
	guint n = 0;

	/* Waiters are in order of their index; those that come meanwhile are behind. */
	while (n < d->syncs->len && sync_due(d, n))
		n++;
	if (!n)
		return;
	g_autofree SyncWaiter *due = g_memdup2(d->syncs->data, n * sizeof(SyncWaiter));
	g_array_remove_range(d->syncs, 0, n);
	for (guint i = 0; i < n; i++)
		due[i].done(due[i].user, d->failed ? EIO : 0);
}

void disk_syncs_end(DiskStore *d)
{
	while (d->syncs->len) {
		SyncWaiter w = g_array_index(d->syncs, SyncWaiter, 0);
		g_array_remove_index(d->syncs, 0);
		w.done(w.user, EIO);
	}
}

static void syncs_check(DiskStore *d, gint64 now)
{
	syncs_answer(d);
	gboolean all = journal_durable(d->journal) >= journal_written(d->journal) && journal_fills_durable(d->journal) >= journal_fills_written(d->journal);
	if (d->syncing || d->failed || d->change || all) {
		d->sync_at = 0;
		return;
	}
	if (!d->sync_at)
		d->sync_at = now + SYNC_US;
	if (d->syncs->len || now >= d->sync_at)
		sync_push(d);
}

/* --- the journal --- */

typedef struct {
	PoolJob job;
	char *dir;
	guint64 bytes;
} SpareJob;

static void spare_run(PoolJob *job)
{
	SpareJob *s = (SpareJob *)job;
	journal_prepare_run(s->dir, s->bytes);        /* without it the next segment is made when needed */
}


static void spare_free(PoolJob *job)
{
	g_free(((SpareJob *)job)->dir);
	g_free(job);
}

static void spare_check(DiskStore *d)
{
	if (d->emptying || !journal_take_spare_wanted(d->journal))
		return;
	SpareJob *s = g_new0(SpareJob, 1);
	s->job = (PoolJob){ .run = spare_run, .done = job_nothing, .free = spare_free };
	s->dir = g_strdup(journal_dir(d->journal));
	s->bytes = journal_segment_bytes(d->journal);
	pool_push(d->pool, &s->job);
}

void disk_journal_out(DiskStore *d)
{
	g_autoptr(GError) error = NULL;

	if (d->failed || d->emptying || !journal_has_unwritten(d->journal) || d->retry_at > g_get_monotonic_time())
		return;
	if (journal_write(d->journal, &error)) {
		d->retry_at = 0;
		disk_acked_grow(d);
		MAGMA_TRACE(d->trace, 'J', "written up to index %" G_GUINT64_FORMAT, journal_written(d->journal));
		return;
	}
	if (error->code != ENOSPC && error->code != EDQUOT) {
		disk_fail(d, error->message);
		return;
	}
	if (!d->retry_at)
		g_warning("%s; trying again", error->message);
	gboolean room = disk_full(d);
	d->retry_at = g_get_monotonic_time() + (room ? 0 : RETRY_US);
}

void diskstore_flush(Store *s)
{
	DiskStore *d = DISK(s);

	disk_journal_out(d);
	guint64 written = journal_written(d->journal), fills = journal_fills_written(d->journal);
	if (d->told_written < written || d->told_fills < fills) {
		d->told_written = written;
		d->told_fills = fills;
		if (s->on_written)
			s->on_written(s->log_user, written);
	}
	if (d->told == d->acked)
		return;
	d->told = d->acked;
	if (s->on_acked)
		s->on_acked(s->user, d->acked);
}

/* --- the turn --- */

static void trim_run(PoolJob *job) { malloc_trim(0); }
static void trim_free(PoolJob *job) { g_free(job); }

/* After a while without work: descriptors, connections and memory go back, and nothing wakes the loop any more. */
static void idle_check(DiskStore *d, gint64 now)
{
	if (now < d->idle_at)
		return;
	db_read_end(d->loop_db);        /* nobody reads: let the log begin anew */
	d->idle_at = now + IDLE_US;
	if (contents_close_idle(d->contents, FALSE) || rows_stats(d->rows)->open_rows || pool_pending(d->pool))
		return;
	d->idle_at = 0;
	readers_clear(&d->readers, FALSE);
	PoolJob *trim = g_new0(PoolJob, 1);
	*trim = (PoolJob){ .run = trim_run, .done = job_nothing, .free = trim_free };
	pool_push(d->pool, trim);
}

static gint64 next_deadline(const DiskStore *d)
{
	const gint64 at[] = { d->sync_at, d->writer_job ? 0 : d->batch_at, d->writer_job ? 0 : d->merge_at, d->idle_at, d->retry_at, d->ballast_at, d->cold->len ? d->cold_at : 0 };
	gint64 next = -1;

	for (guint i = 0; i < G_N_ELEMENTS(at); i++)
		if (at[i] && (next < 0 || at[i] < next))
			next = at[i];
	/* It waits for what tells nobody that it has ended. */
	return d->change ? g_get_monotonic_time() : next;
}

/* Not g_source_set_ready_time(): it writes to the loop's eventfd each time, which costs a loop that is awake four system calls. Only between this source's prepare and the poll (a later
 * source's prepare committed something) must the loop be told. */
static void arm(DiskStore *d, gint64 at)
{
	if (at == 0 && d->armed != 0 && d->sleeping)
		g_main_context_wakeup(g_source_get_context(d->source));
	d->armed = at;
}

void disk_wake(DiskStore *d)
{
	if (!d->in_turn)
		arm(d, 0);
}

static gboolean has_work(const DiskStore *d)
{
	return !d->failed && !d->retry_at && !d->emptying && ((d->cold->len && !d->cold_at) || d->answers.length || journal_has_unwritten(d->journal) || d->told < d->acked
		|| (d->syncs->len && !d->syncing));
}

gboolean disk_owes(const DiskStore *d)
{
	return has_work(d) || (d->cold->len && !d->cold_at) || d->answers.length || (d->failed && d->syncs->len);
}

void disk_turn(DiskStore *d)
{
	if (d->in_turn)
		return;
	d->in_turn = TRUE;
	/* What on_acked commits is for this turn too, but not without bound. */
	for (guint i = 0; i < 4 && (i == 0 || has_work(d)); i++) {
		diskstore_flush(&d->base);
		gint64 now = g_get_monotonic_time();
		syncs_check(d, now);
		disk_answers_tell(d);
		if (disk_cold_due(d, now))
			disk_cold_push(d);
		disk_batch_check(d, FALSE);
		spare_check(d);
		disk_ballast_check(d, now);
		if (d->idle_at)
			idle_check(d, now);
		disk_change_check(d);
	}
	gboolean again = rows_evict(d->rows) || has_work(d);
	d->in_turn = FALSE;
	gint64 next = next_deadline(d);
	/* A deadline that has passed and was not met (the disk is full) is looked at again, but not at once. */
	if (next >= 0)
		next = MAX(next, g_get_monotonic_time() + LATE_US);
	arm(d, d->failed ? -1 : again ? 0 : next);
}

typedef struct {
	GSource base;
	DiskStore *d;
} TurnSource;

/* Before the loop sleeps. Only when something woke it: a turn without work costs nothing. */
static gboolean turn_prepare(GSource *source, gint *timeout)
{
	DiskStore *d = ((TurnSource *)source)->d;
	gboolean turn = d->armed == 0;

	d->sleeping = FALSE;
	if (turn)
		disk_turn(d);
	*timeout = -1;
	/* What the turn did may be what somebody runs the loop for: it comes round once more before it sleeps. */
	if (turn)
		*timeout = 0;
	else if (d->armed >= 0)
		*timeout = (gint)CLAMP((d->armed - g_get_monotonic_time() + 999) / 1000, 0, G_MAXINT);
	d->sleeping = TRUE;
	return FALSE;
}

static gboolean turn_check(GSource *source)
{
	DiskStore *d = ((TurnSource *)source)->d;

	d->sleeping = FALSE;
	return d->armed >= 0 && d->armed <= g_get_monotonic_time();
}

static gboolean turn_dispatch(GSource *source, GSourceFunc fn, gpointer user)
{
	disk_turn(((TurnSource *)source)->d);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs turn_funcs = { .prepare = turn_prepare, .check = turn_check, .dispatch = turn_dispatch };

GSource *disk_source_new(DiskStore *d, GMainContext *context)
{
	GSource *source = g_source_new(&turn_funcs, sizeof(TurnSource));

	((TurnSource *)source)->d = d;
	/* First of all, so that what on_acked lets go is sent by sources prepared after it. */
	g_source_set_priority(source, G_PRIORITY_HIGH);
	g_source_set_name(source, "magma store");
	g_source_attach(source, context);
	return source;
}
