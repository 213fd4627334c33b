#include "magmad/store/disk.h"
#include "magmad/store/check.h"
#include "magmad/store/layout.h"
#include "libmagma/base/err.h"
#include "libmagma/base/wire.h"
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (1u << 20)
#define POOL_THREADS 4
#define CACHE_BYTES (64u * MIB)
#define OPEN_BATCH_MAX (24u * MIB)    /* beyond it a commit waits for the batch: memory has a bound */
#define SEGMENT_MAX (64u * MIB)
#define SEGMENT_SHARE 64              /* of a small file system a segment takes one part in this many */
#define RESERVE_BYTES (64u * MIB)
#define RESERVE_SHARE 50              /* 2% */
#define RESERVE_MIN (4u * MIB)        /* a batch and its checkpoint */
#define BALLAST_BYTES (16u * MIB)
#define WRITER_CACHE_KIB (16 * 1024)  /* inner pages of every tree of a large store, and a batch's leaves */
#define LOOP_CACHE_KIB 2048

/* --- transactions --- */

static gboolean commit_row(void *user, const StoreRow *row, gboolean del)
{
	DiskStore *d = user;

	const RowNode *n = rows_commit(d->rows, row, del ? NULL : row_value_new(&row->rk, row->val, row->vlen));
	if (row->table != TAB_FLARE)
		return TRUE;
	/* A deleted flare that sqlite has, or may have, keeps its entry until the next merge: it may come back in the same batch. */
	if (del && n->base == BASE_ABSENT)
		keys_remove(d->keys, &row->rk, magma_be64_load(row->key));
	else if (!del && n->base != BASE_PRESENT)
		keys_add(d->keys, &row->rk, magma_be64_load(row->key));
	return TRUE;
}

/* Rows come faster than sqlite takes them: wait for the batch that is being written, then give it what is open. Nobody else is called from here. */
static void commit_wait(DiskStore *d)
{
	if (d->batch_failed || d->failed)
		return;
	if (d->writer_job)
		pool_wait(d->pool, d->writer_job);
	disk_journal_out(d);
	disk_batch_check(d, TRUE);
}

static guint64 disk_commit(Store *s, Txn *t)
{
	DiskStore *d = DISK(s);

	if (!txn_empty(t)) {
		const GByteArray *bytes = txn_bytes(t);
		gboolean ok = txn_each(bytes->data, bytes->len, commit_row, d);
		g_assert(ok);           /* we made it ourselves */
		journal_append(d->journal, d->epoch, bytes->data, bytes->len);
		if (!d->idle_at)
			d->idle_at = g_get_monotonic_time() + IDLE_US;
		if (rows_stats(d->rows)->open_bytes > OPEN_BATCH_MAX)
			commit_wait(d);
		disk_wake(d);
	}
	txn_free(t);
	return journal_index(d->journal);
}

static guint64 disk_acked(Store *s) { return DISK(s)->acked; }

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
	.usage = disk_usage,
};

/* --- opening --- */

static gboolean replay_frame(void *user, const Frame *f)
{
	return txn_each(f->payload, f->length, commit_row, user);
}

static void load_key(void *user, guint64 ino, const MagmaKey *rk) { keys_add(((DiskStore *)user)->keys, rk, ino); }

static void merge_loaded(void *user)
{
	DiskStore *d = user;
	d->merge_keys = keys_seal(d->keys);
}

static gboolean load_keys(DiskStore *d, GError **error)
{
	if (db_each_fresh(d->writer, load_key, merge_loaded, d) != 0) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", d->db_path, db_error(d->writer));
		return FALSE;
	}
	d->written_keys = keys_seal(d->keys);
	return TRUE;
}

static gboolean load_resident(DiskStore *d, GError **error)
{
	for (guint t = TAB_META; t < TAB_COUNT; t++) {
		guint8 from[STORE_KEY_MAX];
		gsize fromlen = 0;
		gboolean eof = !rows_resident(t);
		while (!eof) {
			RowSet set;
			rowset_init(&set);
			if (!db_scan(d->writer, t, from, fromlen, NULL, 0, 4096, NULL, &set)) {
				g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", d->db_path, db_error(d->writer));
				rowset_clear(&set);
				return FALSE;
			}
			for (guint i = 0; i < set.rows->len; i++) {
				const StoreRow *row = &g_array_index(set.rows, StoreRow, i);
				if (row->klen == 0 || row->klen > STORE_KEY_MAX) {
					g_set_error(error, MAGMA_ERROR, EIO, "%s: a row of %s has a key of %" G_GSIZE_FORMAT " bytes", d->db_path, store_table_name(t), row->klen);
					rowset_clear(&set);
					return FALSE;
				}
				rows_insert_clean(d->rows, t, row->key, row->klen, row_value_new(&row->rk, row->val, row->vlen));
				memcpy(from, row->key, row->klen);
				fromlen = row->klen;
			}
			eof = set.eof || !set.rows->len;
			rowset_clear(&set);
		}
	}
	return TRUE;
}

static gboolean open_db(DiskStore *d, GError **error)
{
	d->writer = db_open(d->db_path, NULL, TRUE, WRITER_CACHE_KIB, error);
	if (!d->writer)
		return FALSE;
	if (!db_meta(d->writer, &d->meta)) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", d->db_path, db_error(d->writer));
		return FALSE;
	}
	if (!db_frame_key(d->writer, &d->key)) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: the journal's key is missing", d->db_path);
		return FALSE;
	}
	d->vfs = nowait_vfs_new(d->db_path);
	d->loop_db = db_open(d->db_path, nowait_vfs_name(d->vfs), FALSE, LOOP_CACHE_KIB, error);
	if (!d->loop_db)
		return FALSE;
	nowait_vfs_enable(d->vfs, TRUE);
	return load_resident(d, error) && load_keys(d, error);
}

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

static gboolean open_journal(DiskStore *d, guint64 segment_bytes, GError **error)
{
	g_autofree char *dir = layout_journal(d->dir);
	g_auto(JournalScan) scan = { 0 };

	if (!journal_scan(dir, &d->key, d->meta.applied, d->meta.durable, replay_frame, d, &scan, error))
		return FALSE;
	if ((scan.last < d->meta.applied || scan.stale) && db_checkpoint(d->writer) != 0) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", d->db_path, db_error(d->writer));
		return FALSE;
	}
	d->journal = journal_open(dir, &d->key, segment_bytes, d->meta.applied, &scan, error);
	if (!d->journal)
		return FALSE;
	d->acked = d->told = journal_index(d->journal);
	d->epoch = MAX(scan.epoch, d->meta.epoch);
	MAGMA_TRACE(d->trace, 'J', "replayed from index %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, d->meta.applied, d->acked);
	return TRUE;
}

static void store_free(DiskStore *d, gboolean leave_log)
{
	pool_free(d->pool);
	db_merge_free(d->merge);
	if (d->source) {
		g_source_destroy(d->source);
		g_source_unref(d->source);
	}
	disk_scans_free(d);
	contents_free(d->contents);
	journal_close(d->journal);
	rows_free(d->rows);
	keys_free(d->keys);
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
	guint64 segment_bytes = sizes(d, cfg);
	disk_ballast_open(d);
	if (!open_db(d, error) || !open_journal(d, segment_bytes, error))
		return FALSE;
	g_autofree char *content = layout_content(d->dir);
	d->pool = pool_new(cfg->context, POOL_THREADS);
	d->contents = contents_new(content, d->pool, error);
	if (!d->contents)
		return FALSE;
	d->source = disk_source_new(d, cfg->context);
	return TRUE;
}

Store *diskstore_open(const DiskStoreConfig *cfg, GError **error)
{
	DiskStore *d = g_new0(DiskStore, 1);

	d->base.vt = &disk_vt;
	d->dir = g_strdup(cfg->dir);
	d->db_path = layout_db(cfg->dir);
	d->trace = cfg->trace;
	d->lock_fd = -1;
	d->armed = -1;
	d->rows = rows_new(cfg->cache_bytes ? cfg->cache_bytes : CACHE_BYTES);
	d->keys = keys_new();
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

	do {
		disk_turn(d);
		pool_drain(d->pool);
	} while (contents_busy(d->contents) || pool_pending(d->pool));
	diskstore_flush(s);
}

void diskstore_close(Store *s)
{
	DiskStore *d = DISK(s);

	if (!d)
		return;
	diskstore_quiesce(s);
	contents_close_idle(d->contents, TRUE);
	if (d->acked == journal_index(d->journal))
		disk_batch_all(d);
	if (!d->failed) {
		JournalSync *sync = journal_sync_begin(d->journal);
		journal_sync_end(d->journal, sync, journal_sync_run(sync));
		g_autoptr(GError) error = NULL;
		if (!journal_write(d->journal, &error))
			g_debug("%s", error->message);
		db_checkpoint(d->writer);
	}
	store_free(d, FALSE);
}

void diskstore_abandon(Store *s)
{
	if (s)
		store_free(DISK(s), TRUE);
}
