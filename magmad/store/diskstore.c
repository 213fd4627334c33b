#include "magmad/store/disk.h"
#include "magmad/store/layout.h"
#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (1u << 20)
#define POOL_THREADS 4
#define CACHE_BYTES (64u * MIB)
#define SEGMENT_MAX (64u * MIB)
#define SEGMENT_SHARE 64              /* of a small file system a segment takes one part in this many */
#define RESERVE_BYTES (64u * MIB)
#define RESERVE_SHARE 50              /* 2% */
#define RESERVE_MIN (4u * MIB)        /* a batch and its checkpoint */
#define BALLAST_BYTES (16u * MIB)

/* --- contents --- */

static Contents *contents(Store *s)
{
	DiskStore *d = DISK(s);

	if (!d->idle_at) {
		d->idle_at = g_get_monotonic_time() + IDLE_US;
		disk_wake(d);
	}
	return d->contents;
}

static void disk_read(Store *s, const MagmaFid *fid, guint64 off, guint32 len, void (*done)(void *, int, GBytes *), void *user)
{
	contents_read(contents(s), fid, off, len, done, user);
}

static void disk_write(Store *s, const MagmaFid *fid, guint64 off, GBytes *data, void (*done)(void *, int), void *user)
{
	contents_write(contents(s), fid, off, data, done, user);
}

static void disk_truncate(Store *s, const MagmaFid *fid, guint64 size, void (*done)(void *, int), void *user)
{
	contents_truncate(contents(s), fid, size, done, user);
}

static void disk_fallocate(Store *s, const MagmaFid *fid, guint32 mode, guint64 off, guint64 len, void (*done)(void *, int), void *user)
{
	contents_fallocate(contents(s), fid, mode, off, len, done, user);
}

static void disk_seek(Store *s, const MagmaFid *fid, guint64 off, guint32 whence, void (*done)(void *, int, guint64), void *user)
{
	contents_seek(contents(s), fid, off, whence, done, user);
}

static void disk_stat(Store *s, const MagmaFid *fid, void (*done)(void *, int, const StoreContentStat *), void *user)
{
	contents_stat(contents(s), fid, done, user);
}

static void disk_content_sync(Store *s, const MagmaFid *fid, void (*done)(void *, int), void *user)
{
	contents_sync(contents(s), fid, done, user);
}

static void disk_drop(Store *s, const MagmaFid *fid, void (*done)(void *, int), void *user)
{
	contents_drop(contents(s), fid, done, user);
}

static void disk_content_list(Store *s, guint folder, void (*done)(void *, int, const MagmaFid *, guint, guint), void *user)
{
	contents_list(DISK(s)->contents, folder, done, user);
}

static const StoreVt disk_vt = {
	.get = disk_get,
	.fetch_clear = disk_fetch_clear,
	.commit = disk_commit,
	.acked = disk_acked,
	.sync = disk_sync,
	.scan = disk_scan,
	.scan_range = disk_scan_range,
	.content_read = disk_read,
	.content_write = disk_write,
	.content_truncate = disk_truncate,
	.content_fallocate = disk_fallocate,
	.content_seek = disk_seek,
	.content_stat = disk_stat,
	.content_sync = disk_content_sync,
	.content_drop = disk_drop,
	.content_list = disk_content_list,
	.usage = disk_usage,
};

/* --- opening --- */

/* Sizes that follow from the file system's. */
static guint64 sizes(DiskStore *d, const DiskStoreConfig *cfg)
{
	struct statvfs vfs;
	guint64 total = statvfs(d->dir, &vfs) == 0 ? (guint64)vfs.f_blocks * vfs.f_frsize : G_MAXUINT64;

	d->reserve_bytes = cfg->reserve_bytes ? cfg->reserve_bytes : CLAMP(total / RESERVE_SHARE, RESERVE_MIN, RESERVE_BYTES);
	guint64 segment_bytes = cfg->segment_bytes ? cfg->segment_bytes : CLAMP(total / SEGMENT_SHARE, MIB, SEGMENT_MAX) & ~(guint64)(MIB - 1);
	d->ballast_bytes = MIN(segment_bytes, BALLAST_BYTES);
	return segment_bytes;
}

static void store_free(DiskStore *d, gboolean leave_log)
{
	pool_free(d->pool);
	if (d->source) {
		g_source_destroy(d->source);
		g_source_unref(d->source);
	}
	disk_scans_free(d);
	contents_free(d->contents);
	disk_unload(d);
	if (leave_log && d->writer)
		db_leave_log(d->writer);
	if (leave_log && d->loop_db)
		db_leave_log(d->loop_db);
	readers_clear(&d->readers, leave_log);
	g_ptr_array_unref(d->readers.idle);
	g_mutex_clear(&d->readers.lock);
	if (d->loop_db)
		db_read_end(d->loop_db);
	db_close(d->loop_db);
	db_close(d->writer);
	nowait_vfs_free(d->vfs);
	g_ptr_array_unref(d->cold);
	g_array_unref(d->syncs);
	disk_change_free(d);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	g_free(d->db_path);
	g_free(d->dir);
	g_free(d);
}

static gboolean store_open(DiskStore *d, const DiskStoreConfig *cfg, GError **error)
{
	if (!layout_check(d->dir, error))
		return FALSE;
	if (cfg->lock_fd <= 0 && (d->lock_fd = diskstore_lock(d->dir, error)) < 0)
		return FALSE;
	d->segment_bytes = sizes(d, cfg);
	disk_ballast_open(d);
	if (!disk_open_db(d, error) || !disk_load(d, error))
		return FALSE;
	if (cfg->one_of_several) {
		d->limit = 0;
		d->acked = d->told = d->meta.applied;
	}
	g_autofree char *content = layout_content(d->dir);
	d->pool = pool_new(cfg->context, POOL_THREADS);
	d->contents = contents_new(content, d->pool, error);
	if (d->contents)
		contents_on_failed(d->contents, disk_content_failed, d);
	if (!d->contents)
		return FALSE;
	d->source = disk_source_new(d, cfg->context);
	return TRUE;
}

Store *diskstore_open(const DiskStoreConfig *cfg, GError **error)
{
	DiskStore *d = g_new0(DiskStore, 1);

	d->base.vt = &disk_vt;
	d->base.log = &disk_log_vt;
	d->dir = g_strdup(cfg->dir);
	d->db_path = layout_db(cfg->dir);
	d->trace = cfg->trace;
	d->lock_fd = -1;
	d->armed = -1;
	d->cache_bytes = cfg->cache_bytes ? cfg->cache_bytes : CACHE_BYTES;
	d->limit = G_MAXUINT64;
	d->fresh = TRUE;
	d->cold = g_ptr_array_new();
	d->syncs = g_array_new(FALSE, FALSE, sizeof(SyncWaiter));
	g_queue_init(&d->scans);
	g_queue_init(&d->answers);
	g_mutex_init(&d->readers.lock);
	d->readers.idle = g_ptr_array_new();
	d->readers.path = d->db_path;
	if (!store_open(d, cfg, error)) {
		store_free(d, TRUE);
		return NULL;
	}
	if (cfg->lock_fd > 0)
		d->lock_fd = cfg->lock_fd;
	disk_wake(d);
	return &d->base;
}

/* --- closing --- */

gboolean diskstore_write_out(Store *s)
{
	diskstore_flush(s);
	return disk_batch_all(DISK(s));
}

void diskstore_quiesce(Store *s)
{
	DiskStore *d = DISK(s);

	/* what came back from the pool is answered in the turn after it */
	do {
		disk_turn(d);
		pool_drain(d->pool);
	} while (contents_busy(d->contents) || pool_pending(d->pool) || disk_owes(d) || (d->change && !d->failed && !d->retry_at && !d->cold_at));
	disk_syncs_end(d);
	diskstore_flush(s);
}

gboolean diskstore_sync_drops(Store *s)
{
	DiskStore *d = DISK(s);
	int error = d->failed ? EIO : contents_sync_drops(d->contents);

	if (error && !d->failed)
		g_warning("%s/content: syncing what is there: %s; the next start looks through it", d->dir, g_strerror(error));
	return !error;
}

/* Rows are safe where sqlite or the journal has all of them on disk. 0 or errno. */
static int close_rows(DiskStore *d)
{
	gboolean all = d->acked >= journal_index(d->journal) && disk_batch_all(d);
	g_autoptr(GError) unwritten = NULL;

	if (d->failed)
		return EIO;             /* that was said */
	JournalSync *sync = journal_sync_begin(d->journal);
	int error = journal_sync_run(sync);
	journal_sync_end(d->journal, sync, error);
	if (!journal_write(d->journal, &unwritten))       /* a mark, or what nobody was told of */
		g_debug("%s", unwritten->message);
	int rc = db_checkpoint(d->writer);
	if (!error || (all && rc == SQLITE_OK))
		return 0;
	g_critical("%s: syncing the journal at the end: %s; %s: %s; what was not synced before may be lost", journal_dir(d->journal), g_strerror(error), d->db_path,
		rc == SQLITE_OK ? "lacks some rows" : sqlite3_errstr(rc));
	return error;
}

int diskstore_close(Store *s)
{
	DiskStore *d = DISK(s);

	if (!d)
		return 0;
	diskstore_quiesce(s);
	contents_close_idle(d->contents, TRUE);
	int error = close_rows(d);
	store_free(d, d->failed);       /* sqlite must not put into the database, at its last close, what its log could not sync */
	return error;
}

void diskstore_abandon(Store *s)
{
	if (s)
		store_free(DISK(s), TRUE);
}
