/* Batches: the open one becomes frozen and is written by the pool; behind that, checkpoints and the deleting of journal segments. */
#include "magmad/store/disk.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <sqlite3.h>

#define BATCH_ROWS 16384              /* large enough that pages of the key index are shared by several rows; about 4 MiB */
#define RETRY_US G_USEC_PER_SEC
#define WAL_PAGES 8192                /* 32 MiB: a page changed by many batches is copied to the database once */

void disk_log_lines(DiskStore *d, GPtrArray *lines)
{
	for (guint i = 0; lines && i < lines->len; i++)
		magma_trace_say(d->trace, 's', "%s", (const char *)lines->pdata[i]);
}

/* --- checkpoint, and what may go behind it --- */

typedef struct {
	PoolJob job;
	DiskStore *d;
	Db *writer;
	guint64 applied, fills;       /* on disk when it worked */
	int rc;
} CheckpointJob;

static void checkpoint_run(PoolJob *job)
{
	CheckpointJob *c = (CheckpointJob *)job;
	c->rc = db_checkpoint(c->writer);
}

typedef struct {
	PoolJob job;
	GPtrArray *paths;
} UnlinkJob;

static void unlink_run(PoolJob *job)
{
	UnlinkJob *u = (UnlinkJob *)job;
	for (guint i = 0; i < u->paths->len; i++)
		g_unlink(u->paths->pdata[i]);
}

static void unlink_free(PoolJob *job)
{
	g_ptr_array_unref(((UnlinkJob *)job)->paths);
	g_free(job);
}

static void job_nothing(PoolJob *job) { }
static void job_g_free(PoolJob *job) { g_free(job); }

static void checkpoint_done(PoolJob *job)
{
	CheckpointJob *c = (CheckpointJob *)job;
	DiskStore *d = c->d;

	d->writer_job = NULL;
	if (c->rc != SQLITE_OK) {
		g_autofree char *text = g_strdup_printf("%s: checkpoint: %s", d->db_path, sqlite3_errstr(c->rc));
		/* After a failed sync nobody knows what is on disk, and the next one would say that all is: then segments would go that are needed. */
		if (db_errno(c->rc) != ENOSPC) {
			disk_fail(d, text);
			disk_wake(d);
			return;
		}
		disk_full(d);
		g_warning("%s", text);
		return;
	}
	/* The loop's snapshot must not keep the log from beginning anew. */
	db_read_end(d->loop_db);
	d->checkpointed = c->applied;
	d->checkpointed_fills = c->fills;
	disk_trim(d);
	disk_wake(d);
}

void disk_trim(DiskStore *d)
{
	if (!journal_can_trim(d->journal, d->checkpointed, d->checkpointed_fills))
		return;
	UnlinkJob *u = g_new0(UnlinkJob, 1);
	u->job = (PoolJob){ .run = unlink_run, .done = job_nothing, .free = unlink_free };
	u->paths = journal_trim(d->journal, d->checkpointed, d->checkpointed_fills);
	MAGMA_TRACE(d->trace, 'J', "%u segments up to index %" G_GUINT64_FORMAT " go", u->paths->len, d->checkpointed);
	pool_push(d->pool, &u->job);
}

static void checkpoint_push(DiskStore *d)
{
	CheckpointJob *c = g_new0(CheckpointJob, 1);

	c->job = (PoolJob){ .run = checkpoint_run, .done = checkpoint_done, .free = job_g_free, .lane = POOL_WRITER };
	c->d = d;
	c->writer = d->writer;
	c->applied = d->meta.applied;
	c->fills = d->applied_fills;
	d->trim_wanted = FALSE;
	d->writer_job = &c->job;
	pool_push(d->pool, &c->job);
}

/* --- batches --- */

typedef struct {
	PoolJob job;
	DiskStore *d;
	Db *writer;
	const Frozen *frozen;         /* lent */
	DbMeta meta;
	int rc;
	char *error;
	gint64 us;
	gboolean log;
	GPtrArray *lines;
} BatchJob;

static void batch_run(PoolJob *job)
{
	BatchJob *b = (BatchJob *)job;
	gint64 begin = g_get_monotonic_time();

	db_log(b->writer, b->log);
	b->rc = db_write(b->writer, b->frozen, &b->meta);
	if (b->rc != SQLITE_OK)
		b->error = g_strdup(db_error(b->writer));
	b->lines = db_log_take(b->writer);
	b->us = g_get_monotonic_time() - begin;
}

static void batch_written(DiskStore *d, const BatchJob *b)
{
	MAGMA_TRACE(d->trace, 's', "batch of %u rows up to index %" G_GUINT64_FORMAT " in %" G_GINT64_FORMAT " us", b->frozen->rows->len, b->meta.applied, b->us);
	d->batches++;
	d->batch_failed = FALSE;
	gint64 used = d->meta.used;     /* has gone on meanwhile */
	d->meta = b->meta;
	d->meta.used = used;
	d->applied_fills = d->sealed_fills;
	d->written_keys = d->frozen_keys;
	db_read_end(d->loop_db);        /* its snapshot is older than what leaves memory now */
	rows_thaw(d->rows);
	if (journal_can_trim(d->journal, d->meta.applied, d->applied_fills) || db_wal_pages(d->writer) >= WAL_PAGES)
		checkpoint_push(d);
	disk_scans_go(d, d->meta.applied, 0);
}

static void batch_done(PoolJob *job)
{
	BatchJob *b = (BatchJob *)job;
	DiskStore *d = b->d;

	d->writer_job = NULL;
	disk_log_lines(d, b->lines);
	disk_wake(d);
	if (b->rc == SQLITE_OK) {
		batch_written(d, b);
		return;
	}
	g_autofree char *text = g_strdup_printf("%s: writing a batch of rows: %s", d->db_path, b->error);
	if (db_errno(b->rc) != ENOSPC) {
		disk_fail(d, text);
		return;
	}
	if (!d->batch_failed)
		g_warning("%s; trying again", text);
	d->batch_failed = TRUE;
	if (disk_full(d)) {
		d->batch_at = 0;
		return;
	}
	d->batch_at = g_get_monotonic_time() + RETRY_US;
	disk_scans_go(d, 0, ENOSPC);
}

static void batch_free(PoolJob *job)
{
	BatchJob *b = (BatchJob *)job;

	g_free(b->error);
	if (b->lines)
		g_ptr_array_unref(b->lines);
	g_free(b);
}

static BatchJob *batch_push(DiskStore *d, const Frozen *f)
{
	BatchJob *b = g_new0(BatchJob, 1);

	b->job = (PoolJob){ .run = batch_run, .done = batch_done, .free = batch_free, .lane = POOL_WRITER };
	b->d = d;
	b->writer = d->writer;
	b->frozen = f;
	b->meta = d->meta;
	b->meta.applied = f->index;
	/* What is not acknowledged may be cut, durable or not: that nothing is missing is said of what is applied only. */
	b->meta.durable = MIN(journal_durable(d->journal), f->index);
	b->meta.epoch = disk_epoch_at(d, f->index);
	disk_epochs_upto(d, f->index, &b->meta.epochs);
	b->meta.used += contents_used_delta(d->contents);
	d->meta.used = b->meta.used;
	b->log = magma_trace_on(d->trace, 's');
	d->writer_job = &b->job;
	pool_push(d->pool, &b->job);
	return b;
}

/* Is it time to freeze what is open? */
static gboolean batch_due(DiskStore *d, gboolean force, gint64 now)
{
	guint open = rows_stats(d->rows)->open_rows;

	if (!open) {
		d->batch_at = 0;
		return FALSE;
	}
	if (!d->batch_at)
		d->batch_at = now + G_USEC_PER_SEC;
	gboolean scan = d->scans.length && d->scan_index > d->meta.applied;
	return force || scan || open >= BATCH_ROWS || now >= d->batch_at;
}

/* Nothing that is not acknowledged may reach sqlite: undoing is cutting the journal's tail. So a batch is sealed at any time, as other copies are always a little behind, and written when what is in
 * it is acknowledged. */
static gboolean batch_acked(const DiskStore *d)
{
	const Frozen *f = rows_frozen(d->rows);

	return f->index <= d->acked && d->sealed_fills <= journal_fills_written(d->journal);
}

static void batch_seal(DiskStore *d)
{
	d->batch_at = 0;
	d->frozen_keys = keys_seal(d->keys);
	d->sealed_fills = journal_fills(d->journal);
	rows_freeze(d->rows, journal_index(d->journal));
}

/* Both are due. A merge that is under way takes turns with the batches; before it begins it waits for a time without one. */
static gboolean merge_first(const DiskStore *d, gboolean force)
{
	if (disk_merge_overdue(d) && !force)
		return TRUE;
	return !d->merge_last && (db_merging(d->writer) || disk_merge_overdue(d));
}

void disk_batch_check(DiskStore *d, gboolean force)
{
	gint64 now;

	if (d->writer_job || d->failed || d->change)
		return;
	now = g_get_monotonic_time();
	if (rows_frozen(d->rows)) {
		/* One that failed, or waits to be acknowledged. */
		if (batch_acked(d) && (force || now >= d->batch_at))
			batch_push(d, rows_frozen(d->rows));
		return;
	}
	gboolean merge = disk_merge_due(d, now), batch = batch_due(d, force, now);
	if (merge && (!batch || merge_first(d, force))) {
		d->merge_last = TRUE;
		disk_merge_push(d);
	} else if (batch) {
		d->merge_last = FALSE;
		batch_seal(d);
		if (batch_acked(d))
			batch_push(d, rows_frozen(d->rows));
	} else if (d->trim_wanted) {
		checkpoint_push(d);
	} else if (d->scans.length) {
		/* Transactions that left nothing to write have an index all the same. */
		disk_scans_go(d, rows_stats(d->rows)->open_rows ? d->meta.applied : d->acked, 0);
	}
}

static gboolean batch_may_go(const DiskStore *d) { return rows_frozen(d->rows) ? batch_acked(d) : rows_stats(d->rows)->open_rows > 0; }

gboolean disk_batch_all(DiskStore *d)
{
	do {
		disk_batch_check(d, TRUE);
		pool_drain(d->pool);
	} while (batch_may_go(d) && !d->failed && !d->batch_failed && !d->change);
	return !d->failed && !d->batch_failed;
}
