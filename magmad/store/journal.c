#include "magmad/store/journal_inside.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_KEEP (1u << 20)        /* a larger buffer was one burst's and goes back */

struct JournalSync {
	GArray *fds;                  /* int, duplicates */
	char *dir;                    /* NULL: needs no sync */
	guint64 index, fills;
};

static char *spare_path(const char *dir) { return g_build_filename(dir, "next", NULL); }

gboolean journal_errno(GError **error, const char *path, const char *what)
{
	int e = errno;
	g_set_error(error, MAGMA_ERROR, e, "%s: %s: %s", path, what, g_strerror(e));
	return FALSE;
}

static Segment *last_segment(Journal *j) { return j->segments->len ? &g_array_index(j->segments, Segment, j->segments->len - 1) : NULL; }

int journal_prepare_run(const char *dir, guint64 segment_bytes)
{
	g_autofree char *path = spare_path(dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	/* Room, not size: the end of the file is the end of the frames. A file system without fallocate has no reserve. */
	int error = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, segment_bytes) == 0 || errno == EOPNOTSUPP ? 0 : errno;
	close(fd);
	if (error)
		g_unlink(path);
	return error;
}

/* A new segment whose first frame will be index first. */
gboolean segment_begin(Journal *j, guint64 first, GError **error)
{
	Segment *last = last_segment(j);
	Segment s = { .name = { first, last && last->name.first == first ? last->name.part + 1 : 0 }, .fd = -1 };
	g_autofree char *path = segment_path(j->dir, s.name), *spare = spare_path(j->dir);

	if (rename(spare, path) != 0 && errno != ENOENT)
		return journal_errno(error, path, "cannot make segment");
	s.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s.fd < 0)
		return journal_errno(error, path, "cannot make segment");
	if (fallocate(s.fd, FALLOC_FL_KEEP_SIZE, 0, j->segment_bytes) != 0 && errno == ENOSPC)
		g_debug("%s: no room to preallocate", path);
	if (last)
		last->fills = j->fills_written;
	g_array_append_val(j->segments, s);
	j->dir_dirty = TRUE;
	j->spare_wanted = TRUE;
	return TRUE;
}

/* How many of the segments, from the first, are not torn off whole. */
static guint segments_kept(const Journal *j, const JournalScan *scan, const GArray *list)
{
	/* Where sqlite is ahead (a power cut took an unsynced tail) the next frame would not follow the last one: begin anew. */
	if (scan->last < j->index)
		return 0;
	for (guint i = 0; scan->cut_file && i < list->len; i++) {
		g_autofree char *path = segment_path(j->dir, g_array_index(list, SegmentName, i));
		/* Of one without an intact frame the name need not be the index that comes next. */
		if (!strcmp(path, scan->cut_file))
			return scan->cut_at ? i + 1 : i;
	}
	return list->len;
}

/* The last one first: whenever this ends, what is left has no gap in front. Then the cut: it makes whole what the later ones would not follow. */
static gboolean segments_cut(Journal *j, const JournalScan *scan, const GArray *list, guint kept, GError **error)
{
	for (guint i = list->len; i-- > kept; ) {
		g_autofree char *path = segment_path(j->dir, g_array_index(list, SegmentName, i));
		if (g_unlink(path) != 0)
			return journal_errno(error, path, "cannot cut the torn tail");
	}
	if (kept && scan->cut_file && scan->cut_at && truncate(scan->cut_file, scan->cut_at) != 0)
		return journal_errno(error, scan->cut_file, "cannot cut the torn tail");
	return TRUE;
}

/* What is left of the segments on disk once the torn tail is cut. */
static gboolean segments_adopt(Journal *j, const JournalScan *scan, GError **error)
{
	g_autoptr(GArray) list = segment_list(j->dir, error);
	guint kept = list ? segments_kept(j, scan, list) : 0;

	if (!list || !segments_cut(j, scan, list, kept, error))
		return FALSE;
	for (guint i = 0; i < kept; i++) {
		Segment s = { .name = g_array_index(list, SegmentName, i), .fills = scan->fills, .fd = -1 };
		g_autofree char *path = segment_path(j->dir, s.name);
		struct stat st;
		if (i < scan->stale) {
			if (g_unlink(path) != 0)
				g_warning("%s: cannot delete: %s", path, g_strerror(errno));
			continue;
		}
		s.fd = open(path, O_RDWR | O_CLOEXEC);      /* what came before this process may not be on disk */
		if (s.fd < 0 || fstat(s.fd, &st) != 0)
			return journal_errno(error, path, "cannot open");
		s.size = st.st_size;
		g_array_append_val(j->segments, s);
	}
	return TRUE;
}

Journal *journal_open(const char *dir, const FrameKey *key, guint64 segment_bytes, guint64 applied, guint64 epoch, const JournalScan *scan, GError **error)
{
	Journal *j = g_new0(Journal, 1);

	j->dir = g_strdup(dir);
	j->key = *key;
	j->segment_bytes = segment_bytes;
	j->segments = g_array_new(FALSE, FALSE, sizeof(Segment));
	j->buf = g_byte_array_new();
	j->index = j->written = MAX(scan->last, applied);
	j->durable = j->marked = MIN(scan->durable, j->index);
	j->epoch = scan->last > applied ? scan->epoch : epoch;
	j->fills = j->fills_written = scan->fills;
	j->fill_index = scan->fill_index;
	j->keep_index = G_MAXUINT64;
	j->dir_dirty = TRUE;
	if (!segments_adopt(j, scan, error)) {
		journal_close(j);
		return NULL;
	}
	if (scan->cut_file)
		g_message("journal: cut a torn tail of %" G_GUINT64_FORMAT " bytes: %s at offset %" G_GUINT64_FORMAT, scan->cut_bytes, scan->cut_file, scan->cut_at);
	if (!j->segments->len && !segment_begin(j, j->index + 1, error)) {
		journal_close(j);
		return NULL;
	}
	j->spare_wanted = TRUE;
	return j;
}

void journal_close(Journal *j)
{
	if (!j)
		return;
	for (guint i = 0; i < j->segments->len; i++) {
		int fd = g_array_index(j->segments, Segment, i).fd;
		if (fd >= 0)
			close(fd);
	}
	g_array_unref(j->segments);
	g_byte_array_unref(j->buf);
	g_free(j->dir);
	g_free(j);
}

guint64 journal_append(Journal *j, guint64 epoch, const guint8 *txn, gsize n)
{
	Frame f = { .kind = FRAME_TXN, .index = ++j->index, .epoch = epoch, .durable = j->durable, .payload = txn, .length = n };

	frame_put(&j->key, j->buf, &f);
	j->marked = j->durable;
	j->epoch = epoch;
	return j->index;
}

guint64 journal_fill(Journal *j, const guint8 *txn, gsize n)
{
	Frame f = { .kind = FRAME_FILL, .index = j->index, .epoch = j->epoch, .durable = j->durable, .payload = txn, .length = n };

	frame_put(&j->key, j->buf, &f);
	j->fill_index = j->index;
	return ++j->fills;
}

static gboolean write_all(int fd, const guint8 *p, gsize n, guint64 off)
{
	while (n) {
		ssize_t done = pwrite(fd, p, n, off);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			errno = done == 0 ? EIO : errno;
			return FALSE;
		}
		p += done;
		n -= done;
		off += done;
	}
	return TRUE;
}

gboolean journal_has_unwritten(const Journal *j) { return j->buf->len || j->marked < j->durable; }

gboolean journal_write(Journal *j, GError **error)
{
	if (!j->buf->len && j->marked < j->durable) {
		Frame mark = { .kind = FRAME_MARK, .index = j->index, .epoch = j->epoch, .durable = j->durable };
		frame_put(&j->key, j->buf, &mark);
		j->marked = j->durable;
	}
	if (!j->buf->len)
		return TRUE;
	Segment *s = last_segment(j);
	/* Not while torn: frames of the failed write would stay in front of the new segment. Here what is in the buffer still covers them. */
	if (s->size && !j->torn && s->size + j->buf->len > j->segment_bytes && (j->written < j->index || j->fills_written < j->fills)) {
		if (!segment_begin(j, j->written + 1, error))
			return FALSE;
		s = last_segment(j);
	}
	if (!write_all(s->fd, j->buf->data, j->buf->len, s->size)) {
		int e = errno;
		g_autofree char *path = segment_path(j->dir, s->name);
		j->torn = TRUE;
		errno = e;
		return journal_errno(error, path, "cannot write the journal");
	}
	j->torn = FALSE;
	s->size += j->buf->len;
	j->written = j->index;
	j->fills_written = j->fills;
	if (j->buf->len > BUFFER_KEEP) {
		g_byte_array_unref(j->buf);
		j->buf = g_byte_array_new();
	}
	g_byte_array_set_size(j->buf, 0);
	return TRUE;
}

guint64 journal_index(const Journal *j) { return j->index; }
guint64 journal_epoch(const Journal *j) { return j->epoch; }
guint64 journal_fills(const Journal *j) { return j->fills; }
guint64 journal_fills_written(const Journal *j) { return j->fills_written; }
guint64 journal_fills_durable(const Journal *j) { return j->fills_durable; }
guint64 journal_written(const Journal *j) { return j->written; }
guint64 journal_durable(const Journal *j) { return j->durable; }
const char *journal_dir(const Journal *j) { return j->dir; }
guint64 journal_segment_bytes(const Journal *j) { return j->segment_bytes; }

guint64 journal_bytes(const Journal *j)
{
	guint64 sum = 0;

	for (guint i = 0; i < j->segments->len; i++)
		sum += g_array_index(j->segments, Segment, i).size;
	return sum;
}

JournalSync *journal_sync_begin(Journal *j)
{
	JournalSync *s = g_new0(JournalSync, 1);

	s->fds = g_array_new(FALSE, FALSE, sizeof(int));
	s->index = j->written;
	s->fills = j->fills_written;
	for (guint i = 0; i < j->segments->len; i++) {
		int fd = g_array_index(j->segments, Segment, i).fd;
		if (fd < 0)
			continue;
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);      /* the segment may be trimmed meanwhile */
		g_array_append_val(s->fds, fd);
	}
	if (j->dir_dirty)
		s->dir = g_strdup(j->dir);
	j->dir_dirty = FALSE;
	return s;
}

int journal_sync_run(JournalSync *s)
{
	int error = 0;

	for (guint i = 0; i < s->fds->len && !error; i++) {
		int fd = g_array_index(s->fds, int, i);
		error = fd < 0 ? EMFILE : fdatasync(fd) == 0 ? 0 : errno;
	}
	if (s->dir && !error) {
		int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		error = fd < 0 || fsync(fd) != 0 ? errno : 0;
		if (fd >= 0)
			close(fd);
	}
	return error;
}

void journal_sync_end(Journal *j, JournalSync *s, int error)
{
	if (!error) {
		j->durable = MAX(j->durable, s->index);
		j->fills_durable = MAX(j->fills_durable, s->fills);
		/* Whole segments need no descriptor any more. */
		for (guint i = 0; i + 1 < j->segments->len; i++) {
			Segment *seg = &g_array_index(j->segments, Segment, i);
			if (seg->fd >= 0 && g_array_index(j->segments, Segment, i + 1).name.first - 1 <= s->index && seg->fills <= s->fills) {
				close(seg->fd);
				seg->fd = -1;
			}
		}
	} else if (s->dir) {
		j->dir_dirty = TRUE;
	}
	for (guint i = 0; i < s->fds->len; i++)
		if (g_array_index(s->fds, int, i) >= 0)
			close(g_array_index(s->fds, int, i));
	g_array_unref(s->fds);
	g_free(s->dir);
	g_free(s);
}

/* --- what may go --- */

void journal_keep(Journal *j, guint64 index, guint64 bytes)
{
	j->keep_index = index;
	j->keep_bytes = bytes;
}

/* Has sqlite all of segment i? */
static gboolean segment_applied(const Journal *j, guint i, guint64 applied, guint64 fills)
{
	if (i + 1 >= j->segments->len)
		return FALSE;
	guint64 last = g_array_index(j->segments, Segment, i + 1).name.first - 1;
	/* A later index was applied behind all of its fills. */
	return last < applied || (last == applied && g_array_index(j->segments, Segment, i).fills <= fills);
}

/* Is the first segment one to be kept? */
static gboolean first_kept(const Journal *j, guint64 applied, guint64 fills)
{
	guint64 last = g_array_index(j->segments, Segment, 1).name.first - 1, sum = 0;

	if (last <= j->keep_index || last <= j->fill_index || !j->keep_bytes)
		return FALSE;
	for (guint i = 0; segment_applied(j, i, applied, fills); i++)
		sum += g_array_index(j->segments, Segment, i).size;
	return sum <= j->keep_bytes;
}

gboolean journal_keeps(const Journal *j, guint64 applied, guint64 fills) { return segment_applied(j, 0, applied, fills); }
gboolean journal_can_trim(const Journal *j, guint64 applied, guint64 fills) { return segment_applied(j, 0, applied, fills) && !first_kept(j, applied, fills); }

GPtrArray *journal_trim(Journal *j, guint64 applied, guint64 fills)
{
	GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);

	while (journal_can_trim(j, applied, fills)) {
		Segment *s = &g_array_index(j->segments, Segment, 0);
		g_ptr_array_add(paths, segment_path(j->dir, s->name));
		if (s->fd >= 0)
			close(s->fd);
		g_array_remove_index(j->segments, 0);
	}
	return paths;
}

GPtrArray *journal_give_kept(Journal *j, guint64 applied, guint64 fills)
{
	guint64 bytes = j->keep_bytes;

	j->keep_bytes = 0;
	GPtrArray *paths = journal_trim(j, applied, fills);
	j->keep_bytes = bytes;
	return paths;
}

gboolean journal_take_spare_wanted(Journal *j)
{
	gboolean b = j->spare_wanted;
	j->spare_wanted = FALSE;
	return b;
}
