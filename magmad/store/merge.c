/* The index of flares by key, brought up to date in slices of a bounded length between the batches. */
#include "magmad/store/disk.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <sqlite3.h>

#define MERGE_MIN 65536
#define MERGE_SHARE 16
#define MERGE_OVERDUE 4               /* so many times what makes a merge due, and it goes before the next batch */
#define MERGE_SLICE 8192              /* entries of a transaction; at a hundred to a page, and that MERGE_SHARE, 1,300 pages: a second on a disk that reads as many */
#define RETRY_US G_USEC_PER_SEC

typedef struct {
	PoolJob job;
	DiskStore *d;
	Db *writer;
	DbMerge *merge;               /* NULL: to begin */
	int rc;
	gint64 us;
} MergeJob;

static void merge_run(PoolJob *job)
{
	MergeJob *m = (MergeJob *)job;
	gint64 begin = g_get_monotonic_time();

	m->rc = m->merge ? db_merge_slice(m->writer, m->merge, MERGE_SLICE) : db_merge_begin(m->writer, &m->merge);
	m->us = g_get_monotonic_time() - begin;
}

static void merge_failed(DiskStore *d, int rc)
{
	g_autofree char *text = g_strdup_printf("%s: merging the index of flares: %s", d->db_path, sqlite3_errstr(rc));

	if (db_errno(rc) != ENOSPC)
		disk_fail(d, text);
	else
		disk_full(d);
	d->merge_at = g_get_monotonic_time() + RETRY_US;      /* disk_merge_due looks again then */
	disk_scans_go(d, 0, db_errno(rc));
}

static void merge_done(PoolJob *job)
{
	MergeJob *m = (MergeJob *)job;
	DiskStore *d = m->d;
	gboolean began = !d->merge;

	d->writer_job = NULL;
	d->merge = g_steal_pointer(&m->merge);
	disk_wake(d);
	if (m->rc != SQLITE_OK) {
		merge_failed(d, m->rc);
		return;
	}
	if (began)
		return;
	guint64 upto = db_merge_upto(d->merge);
	keys_merged(d->keys, d->merge_keys, d->merge_from, upto);
	d->merge_from = upto;
	db_read_end(d->loop_db);        /* its snapshot may lack what left memory now */
	MAGMA_TRACE(d->trace, 's', "slice of the index of flares by key merged in %" G_GINT64_FORMAT " us", m->us);
	if (!db_merge_done(d->merge))
		return;
	g_clear_pointer(&d->merge, db_merge_free);
	disk_scans_go(d, d->meta.applied, 0);
}

static void merge_free(PoolJob *job)
{
	MergeJob *m = (MergeJob *)job;

	/* Not told: the pool ended first, and what was begun here is nobody else's. */
	if (m->merge && m->merge != m->d->merge)
		db_merge_free(m->merge);
	g_free(m);
}

void disk_merge_push(DiskStore *d)
{
	MergeJob *m = g_new0(MergeJob, 1);

	m->job = (PoolJob){ .run = merge_run, .done = merge_done, .free = merge_free, .lane = POOL_WRITER };
	m->d = d;
	m->writer = d->writer;
	m->merge = d->merge;
	if (!d->merge) {
		/* One that was cut off by a crash has only what was there then. */
		if (!db_merging(d->writer))
			d->merge_keys = d->written_keys;
		d->merge_from = 0;
	}
	d->merge_at = 0;
	d->writer_job = &m->job;
	pool_push(d->pool, &m->job);
}

static gboolean waiting(const DiskStore *d, guint times)
{
	return keys_sealed(d->keys) + db_stale(d->writer) >= MAX(MERGE_MIN, d->meta.flares / MERGE_SHARE) * times;
}

/* When so many wait that each page of the index is changed for several of them; a page has room for about a hundred. */
gboolean disk_merge_due(const DiskStore *d, gint64 now)
{
	if (now < d->merge_at || rows_frozen(d->rows))
		return FALSE;
	return db_merging(d->writer) || waiting(d, 1) || (d->scans.length && !disk_index_merged(d));
}

/* Where rows come faster than batches are written, a batch is always due: neither the merge nor the scans that wait for it alone may starve behind them. */
gboolean disk_merge_overdue(const DiskStore *d)
{
	return waiting(d, MERGE_OVERDUE) || (disk_scan_has_batch(d) && !disk_index_merged(d));
}
