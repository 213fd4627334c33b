/* Room on the disk: how much there is, and the ballast, a file that is given up when sqlite or the journal find none, so that what frees space can always be done. */
#include "magmad/store/disk.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define USAGE_US G_USEC_PER_SEC
#define BALLAST_US (2 * G_USEC_PER_SEC)

static void look(DiskStore *d, gint64 now)
{
	struct statvfs vfs;

	if (statvfs(d->dir, &vfs) != 0)
		return;
	d->fs_total = (guint64)vfs.f_blocks * vfs.f_frsize;
	d->fs_free = (guint64)vfs.f_bfree * vfs.f_frsize;
	d->fs_avail = (guint64)vfs.f_bavail * vfs.f_frsize;
	d->statvfs_at = now;
	d->looked_at_bytes = contents_asked(d->contents) + journal_index(d->journal) * 1024;
}

/* Once a second, after each ENOSPC, and when what was asked for since may have used up half of what was left above the reserve. */
static gboolean look_is_old(const DiskStore *d, gint64 now)
{
	guint64 since = contents_asked(d->contents) + journal_index(d->journal) * 1024 - d->looked_at_bytes;
	guint64 left = d->fs_avail > d->reserve_bytes ? d->fs_avail - d->reserve_bytes : 0;

	return !d->statvfs_at || now - d->statvfs_at >= USAGE_US || (left && since > left / 2);
}

static gboolean is_low(const DiskStore *d)
{
	return d->batch_failed || d->retry_at || !d->ballast || d->fs_avail < d->reserve_bytes + contents_pending(d->contents);
}

/* While segments are kept sqlite is synced every 32 MiB only, and those that it has not synced cannot be given: the next look finds them. */
static void want_checkpoint(DiskStore *d)
{
	if (!journal_keeps(d->journal, d->meta.applied, d->applied_fills))
		return;
	d->trim_wanted = TRUE;
	disk_wake(d);
}

void disk_usage(Store *s, StoreUsage *out)
{
	DiskStore *d = DISK(s);
	const RowsStats *st = rows_stats(d->rows);
	gint64 now = g_get_monotonic_time();

	if (contents_take_enospc(d->contents))
		d->statvfs_at = 0;
	if (look_is_old(d, now)) {
		look(d, now);
		if (is_low(d) && disk_give_kept(d))
			look(d, now);
		if (is_low(d))
			want_checkpoint(d);
	}
	d->meta.used += contents_used_delta(d->contents);
	*out = (StoreUsage){
		.total = d->fs_total,
		.free = d->fs_free,
		.avail = d->fs_avail,
		.used = MAX(d->meta.used, 0) + journal_bytes(d->journal),
		.flares = MAX(d->meta.flares + st->flares, 0),
		.low = is_low(d),
		.cache_rows = st->nodes,
		.cache_bytes = st->bytes,
		.cache_hits = d->hits,
		.cache_misses = d->misses,
		.open_batch_rows = st->open_rows,
		.batches = d->batches,
		.journal_bytes = journal_bytes(d->journal),
		.journal_index = journal_index(d->journal),
		.durable_index = journal_durable(d->journal),
	};
}

/* --- ballast --- */

static char *ballast_path(const char *dir) { return g_build_filename(dir, "reserve", NULL); }

static gboolean ballast_take(const char *dir, guint64 bytes)
{
	g_autofree char *path = ballast_path(dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return FALSE;
	/* Where files cannot be preallocated there is no such reserve, and no use in waiting for it. */
	gboolean ok = fallocate(fd, 0, 0, bytes) == 0 || errno == EOPNOTSUPP;
	if (!ok && ftruncate(fd, 0) != 0)
		g_debug("%s: %s", path, g_strerror(errno));
	close(fd);
	return ok;
}

static gboolean ballast_drop(const char *dir)
{
	g_autofree char *path = ballast_path(dir);
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > 0 && truncate(path, 0) == 0;
}

void disk_ballast_open(DiskStore *d)
{
	struct statvfs vfs;

	if (statvfs(d->dir, &vfs) != 0)
		return;
	/* sqlite needs room for its own files to open at all. */
	if ((guint64)vfs.f_bavail * vfs.f_frsize < d->ballast_bytes && ballast_drop(d->dir)) {
		g_message("%s: the disk is full; the reserve is in use", d->dir);
		d->ballast_at = g_get_monotonic_time() + BALLAST_US;
		return;
	}
	d->ballast = ballast_take(d->dir, d->ballast_bytes);
	if (!d->ballast)
		d->ballast_at = g_get_monotonic_time() + BALLAST_US;
}

gboolean disk_full(DiskStore *d)
{
	d->statvfs_at = 0;
	if (disk_give_kept(d))
		return TRUE;
	gboolean gave = d->ballast && ballast_drop(d->dir);
	if (gave)
		g_message("%s: the disk is full; the reserve is in use", d->dir);
	d->ballast = FALSE;
	d->ballast_at = g_get_monotonic_time() + BALLAST_US;
	return gave;
}

gboolean disk_give_kept(DiskStore *d)
{
	if (!journal_keeps(d->journal, d->checkpointed, d->checkpointed_fills))
		return FALSE;
	g_autoptr(GPtrArray) paths = journal_give_kept(d->journal, d->checkpointed, d->checkpointed_fills);
	g_message("%s: the disk is full; %u segments of the journal, kept for other copies, go", d->dir, paths->len);
	for (guint i = 0; i < paths->len; i++)
		unlink(paths->pdata[i]);
	return TRUE;
}

/* Back into place once there is room for it beside what is kept free anyway. Rare, and quick where extents are; so on the loop. */
void disk_ballast_check(DiskStore *d, gint64 now)
{
	if (!d->ballast_at || now < d->ballast_at)
		return;
	look(d, now);
	d->ballast_at = now + BALLAST_US;
	if (d->fs_avail < d->reserve_bytes + d->ballast_bytes || !ballast_take(d->dir, d->ballast_bytes))
		return;
	g_message("%s: there is room again", d->dir);
	d->ballast = TRUE;
	d->ballast_at = 0;
}
