#include "magmad/store/journal.h"
#include "magmad/store/reread.h"
#include "magmad/store/segment.h"
#include "libmagma/base/err.h"
#include "libmagma/base/folder.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void journal_scan_clear(JournalScan *s)
{
	g_clear_pointer(&s->cut_file, g_free);
}

static gboolean all_hex(const char *p, guint n)
{
	for (guint i = 0; i < n; i++)
		if (!g_ascii_isxdigit(p[i]))
			return FALSE;
	return TRUE;
}

gboolean segment_parse_name(const char *file, SegmentName *out)
{
	gsize n = strlen(file);
	gboolean has_part = n == 29 && file[16] == '-' && all_hex(file + 17, 8);

	if (!g_str_has_suffix(file, ".log") || (n != 20 && !has_part) || !all_hex(file, 16))
		return FALSE;
	*out = (SegmentName){ g_ascii_strtoull(file, NULL, 16), has_part ? g_ascii_strtoull(file + 17, NULL, 16) : 0 };
	return TRUE;
}

char *segment_path(const char *dir, SegmentName name)
{
	if (!name.part)
		return g_strdup_printf("%s/%016" G_GINT64_MODIFIER "x.log", dir, name.first);
	return g_strdup_printf("%s/%016" G_GINT64_MODIFIER "x-%08x.log", dir, name.first, name.part);
}

static gint name_cmp(gconstpointer a, gconstpointer b)
{
	const SegmentName *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->part < y->part ? -1 : x->part > y->part;
}

GArray *segment_list(const char *dir, GError **error)
{
	g_auto(GStrv) names = magma_folder_names(dir, error);
	SegmentName name;

	if (!names)
		return NULL;
	GArray *list = g_array_new(FALSE, FALSE, sizeof(SegmentName));
	for (guint i = 0; names[i]; i++)
		if (segment_parse_name(names[i], &name))
			g_array_append_val(list, name);
	g_array_sort(list, name_cmp);
	return list;
}

/* Read, not mapped: a bad sector must be an error with a name, not a signal. sure: all of it was on disk once. */
static GBytes *segment_load(const char *path, gboolean sure, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), e = fd < 0 ? errno : sure ? 0 : reread_fd(fd);
	struct stat st;

	if (e || fstat(fd, &st) != 0) {
		e = e ? e : errno;
		if (fd >= 0)
			close(fd);
		g_set_error(error, MAGMA_ERROR, e, "%s: %s", path, g_strerror(e));
		return NULL;
	}
	guint8 *p = g_malloc(MAX(st.st_size, 1));
	gsize n = 0;
	while (n < (gsize)st.st_size) {
		ssize_t got = pread(fd, p + n, st.st_size - n, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			e = errno;
			close(fd);
			g_free(p);
			g_set_error(error, MAGMA_ERROR, e, "%s: reading at offset %" G_GSIZE_FORMAT ": %s", path, n, g_strerror(e));
			return NULL;
		}
		if (got == 0)
			break;
		n += got;
	}
	close(fd);
	return g_bytes_new_take(p, n);
}

typedef struct {
	const char *dir;
	const FrameKey *key;
	const GArray *segments;
	guint64 applied, durable_floor;
	gboolean (*fn)(void *user, const Frame *f);
	void *user;
	JournalScan *out;
} Scan;

/* Frame at `at` of segment i is not the one that should be there: is anything behind it that was durable? expect: the index that is missing. */
static gboolean scan_damage(Scan *s, guint i, GBytes *segment, gsize at, GError **error)
{
	guint64 expect = s->out->last + 1;
	gboolean durable = s->durable_floor >= expect;
	gsize n;
	const guint8 *p = g_bytes_get_data(segment, &n);

	s->out->cut_file = segment_path(s->dir, g_array_index(s->segments, SegmentName, i));
	s->out->cut_at = at;
	s->out->cut_bytes = n - at;
	for (gsize from = at; !durable && from < n; ) {
		Frame f;
		from = frame_find(s->key, p, n, from, s->out->last, &f);
		durable = from < n && f.durable >= expect;
		from += FRAME_ALIGN;
	}
	for (guint k = i + 1; k < s->segments->len; k++) {
		g_autofree char *path = segment_path(s->dir, g_array_index(s->segments, SegmentName, k));
		g_autoptr(GBytes) later = segment_load(path, FALSE, error);
		if (!later)
			return FALSE;
		p = g_bytes_get_data(later, &n);
		s->out->cut_bytes += n;
		for (gsize from = 0; !durable && from < n; ) {
			Frame f;
			from = frame_find(s->key, p, n, from, s->out->last, &f);
			durable = from < n && f.durable >= expect;
			from += FRAME_ALIGN;
		}
	}
	if (!durable)
		return TRUE;
	g_set_error(error, MAGMA_ERROR, EIO, "journal damaged before its last durable mark: %s at offset %" G_GUINT64_FORMAT, s->out->cut_file, (guint64)at);
	return FALSE;
}

/* Sets *damaged_at to where the first bad frame begins, or to the size. */
static void scan_segment(Scan *s, GBytes *segment, gsize *damaged_at)
{
	gsize n, at = 0;
	const guint8 *p = g_bytes_get_data(segment, &n);

	while (at < n) {
		Frame f;
		gsize size = frame_get(s->key, p + at, n - at, &f);
		if (!size || f.index != s->out->last + (f.kind == FRAME_TXN))
			break;
		/* Of the fills at the applied index sqlite may have the first ones: to do them all again, in order, comes to the same. */
		gboolean news = f.kind == FRAME_TXN ? f.index > s->applied : f.kind == FRAME_FILL && f.index >= s->applied;
		if (news && s->fn && !s->fn(s->user, &f))
			break;
		if (f.kind == FRAME_FILL) {
			s->out->fills += news;
			s->out->fill_index = f.index;
		}
		s->out->last = f.index;
		s->out->durable = MAX(s->out->durable, f.durable);
		s->out->epoch = f.epoch;
		s->out->bytes += size;
		at += size;
	}
	*damaged_at = at;
}

/* What is kept for other copies may be much, and need not come from the disk: who wrote what is behind it had it there (a fill has the index of the transaction before it). */
static gboolean segment_sure(const Scan *s, guint i)
{
	return i + 1 < s->segments->len && g_array_index(s->segments, SegmentName, i + 1).first <= s->durable_floor;
}

static gboolean scan_all(Scan *s, GError **error)
{
	for (guint i = s->out->stale; i < s->segments->len; i++) {
		SegmentName name = g_array_index(s->segments, SegmentName, i);
		guint64 first = name.first;
		g_autofree char *path = segment_path(s->dir, name);
		g_autoptr(GBytes) segment = segment_load(path, segment_sure(s, i), error);
		gsize damaged_at = 0;
		if (!segment)
			return FALSE;
		s->out->segments++;
		if (first > s->out->last + 1 && first - 1 <= s->applied) {
			/* sqlite has what is missing: the deleting of segments that were trimmed did not get through. */
			s->out->first = first;
			s->out->last = first - 1;
			s->out->stale = i;
		}
		gboolean follows = first == s->out->last + 1;
		if (follows)
			scan_segment(s, segment, &damaged_at);
		if (!follows || damaged_at < g_bytes_get_size(segment))
			return scan_damage(s, i, segment, damaged_at, error);
	}
	return TRUE;
}

/* How many segments are in front of a part whose earlier part is gone: it was trimmed, sqlite has it, and the deleting of those did not get through. Their fills must not be done again. */
static guint parts_missing(const GArray *segments, guint64 applied)
{
	for (guint i = segments->len; i--; ) {
		SegmentName n = g_array_index(segments, SegmentName, i), before = i ? g_array_index(segments, SegmentName, i - 1) : (SegmentName){ 0 };
		if (n.part && n.first && n.first - 1 <= applied && (before.first != n.first || before.part + 1 != n.part))
			return i;
	}
	return 0;
}

gboolean journal_scan(const char *dir, const FrameKey *key, guint64 applied, guint64 durable_floor, gboolean (*fn)(void *user, const Frame *f), void *user, JournalScan *out, GError **error)
{
	*out = (JournalScan){ .first = applied + 1, .last = applied };
	g_autoptr(GArray) segments = segment_list(dir, error);
	if (!segments)
		return FALSE;
	if (segments->len) {
		out->stale = parts_missing(segments, applied);
		out->first = g_array_index(segments, SegmentName, out->stale).first;
		if (out->first == 0 || out->first - 1 > applied) {
			g_set_error(error, MAGMA_ERROR, EIO, "%s: the journal begins at index %" G_GUINT64_FORMAT ", but state.db ends at %" G_GUINT64_FORMAT ": segments are missing", dir, out->first, applied);
			return FALSE;
		}
		out->last = out->first - 1;
	}
	Scan s = { dir, key, segments, applied, durable_floor, fn, user, out };
	if (!scan_all(&s, error))
		return FALSE;
	if (MAX(out->last, applied) < durable_floor) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: the journal ends at index %" G_GUINT64_FORMAT ", but was durable up to %" G_GUINT64_FORMAT, dir, out->last, durable_floor);
		return FALSE;
	}
	return TRUE;
}
