/* Reading the journal while it is written to: for copies that catch up, and to cut its tail. */
#include "magmad/store/journal_inside.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define WINDOW (256u << 10)
#define FRAME_COST 64                 /* counted for each beside its bytes: bounds how many small ones are given at once */

/* --- walking --- */

static void file_clear(gpointer p) { g_free(((WalkFile *)p)->path); }

void walk_init(FrameWalk *w, const Journal *j, guint from)
{
	*w = (FrameWalk){ .key = j->key, .files = g_array_new(FALSE, FALSE, sizeof(WalkFile)), .fd = -1, .window = g_byte_array_new() };
	g_array_set_clear_func(w->files, file_clear);
	for (guint i = from; i < j->segments->len; i++) {
		const Segment *s = &g_array_index(j->segments, Segment, i);
		WalkFile f = { segment_path(j->dir, s->name), s->name, s->size };
		g_array_append_val(w->files, f);
	}
}

static void walk_close(FrameWalk *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	g_byte_array_set_size(w->window, 0);
}

void walk_clear(FrameWalk *w)
{
	walk_close(w);
	g_byte_array_unref(w->window);
	g_array_unref(w->files);
}

/* The window has n bytes from w->at on, which are in the file. */
static int walk_window(FrameWalk *w, const WalkFile *f, guint64 n)
{
	if (w->at >= w->window_at && w->at + n <= w->window_at + w->window->len)
		return 0;
	guint64 want = MIN(MAX(n, WINDOW), f->size - w->at), have = 0;
	g_byte_array_set_size(w->window, want);
	w->window_at = w->at;
	while (have < want) {
		ssize_t got = pread(w->fd, w->window->data + have, want - have, w->at + have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		have += got;
	}
	g_byte_array_set_size(w->window, have);
	return have < n ? EIO : 0;
}

/* The file that the next frame is in; FALSE: there is none, or *error. */
static gboolean walk_file(FrameWalk *w, const WalkFile **out, int *error)
{
	for (; w->file < w->files->len; w->file++, w->at = 0) {
		const WalkFile *f = &g_array_index(w->files, WalkFile, w->file);
		if (w->at < f->size) {
			if (w->fd < 0 && (w->fd = open(f->path, O_RDONLY | O_CLOEXEC)) < 0)
				*error = errno;
			*out = f;
			return w->fd >= 0;
		}
		walk_close(w);
	}
	return FALSE;
}

int walk_next(FrameWalk *w, Frame *out)
{
	const WalkFile *f;
	int error = 0;

	if (!walk_file(w, &f, &error))
		return error ? -error : 0;
	guint64 left = f->size - w->at;
	if (left < FRAME_HEADER || (error = walk_window(w, f, FRAME_HEADER)))
		return -EIO;
	gsize size = frame_claims(&w->key, w->window->data + (w->at - w->window_at));
	if (!size || size > left || walk_window(w, f, size))
		return -EIO;
	if (frame_get(&w->key, w->window->data + (w->at - w->window_at), size, out) != size)
		return -EIO;
	w->frame_at = w->at;
	w->at += size;
	return 1;
}

/* --- reading for copies --- */

typedef struct {
	Frame f;
	gsize at;                     /* of its payload, in bytes */
} ReadFrame;

struct JournalRead {
	FrameWalk walk;
	guint64 after;
	gsize max_bytes;
	gboolean all;                 /* fills too, and without a bound */
	GArray *frames;               /* ReadFrame */
	GByteArray *bytes;
	int error;
};

guint64 journal_floor(const Journal *j)
{
	guint64 first = g_array_index(j->segments, Segment, 0).name.first;

	return MAX(first - 1, j->fill_index);
}

static JournalRead *read_new(Journal *j, guint from)
{
	JournalRead *r = g_new0(JournalRead, 1);

	walk_init(&r->walk, j, from);
	r->frames = g_array_new(FALSE, FALSE, sizeof(ReadFrame));
	r->bytes = g_byte_array_new();
	return r;
}

/* The last segment whose first index is not above. */
static guint segment_of(const Journal *j, guint64 index)
{
	guint i = j->segments->len - 1;

	while (i && g_array_index(j->segments, Segment, i).name.first > index)
		i--;
	return i;
}

static gboolean same_name(SegmentName a, SegmentName b) { return a.first == b.first && a.part == b.part; }

JournalRead *journal_read_begin(Journal *j, guint64 after, gsize max_bytes)
{
	JournalRead *r = after < j->written ? NULL : read_new(j, j->segments->len);

	for (guint p = 0; p < JOURNAL_PLACES && !r; p++) {
		const JournalPlace *place = &j->places[p];
		for (guint i = 0; place->at && place->after == after && i < j->segments->len && !r; i++)
			if (same_name(g_array_index(j->segments, Segment, i).name, place->segment)) {
				r = read_new(j, i);
				r->walk.at = place->at;
			}
	}
	if (!r)
		r = read_new(j, segment_of(j, after + 1));
	r->after = after;
	r->max_bytes = max_bytes;
	return r;
}

JournalRead *journal_read_all_begin(Journal *j, guint64 applied)
{
	guint from = 0;

	while (from + 1 < j->segments->len && g_array_index(j->segments, Segment, from + 1).name.first - 1 < applied)
		from++;
	JournalRead *r = read_new(j, from);
	r->after = applied;
	r->all = TRUE;
	return r;
}

static gboolean read_wants(const JournalRead *r, const Frame *f)
{
	return f->kind == FRAME_TXN ? f->index > r->after : r->all && f->kind == FRAME_FILL && f->index >= r->after;
}

int journal_read_run(JournalRead *r, char **text)
{
	guint64 last = r->after;
	gsize sum = 0;
	Frame f;
	int got = 1;

	while ((r->all || !r->frames->len || sum < r->max_bytes) && (got = walk_next(&r->walk, &f)) > 0) {
		if (!read_wants(r, &f))
			continue;
		if (f.index != last + (f.kind == FRAME_TXN)) {
			got = -EIO;
			break;
		}
		last = f.index;
		sum += f.length + FRAME_COST;
		ReadFrame rf = { f, r->bytes->len };
		g_byte_array_append(r->bytes, f.payload, f.length);
		g_array_append_val(r->frames, rf);
	}
	if (got >= 0)
		return 0;
	r->error = got == -ENOENT ? ENODATA : EIO;
	if (r->error == EIO)
		*text = g_strdup_printf("journal: %s cannot be read at offset %" G_GUINT64_FORMAT, g_array_index(r->walk.files, WalkFile, r->walk.file).path, r->walk.at);
	return r->error;
}

guint journal_read_count(const JournalRead *r) { return r->frames->len; }

void journal_read_frame(const JournalRead *r, guint i, Frame *out)
{
	const ReadFrame *rf = &g_array_index(r->frames, ReadFrame, i);

	*out = rf->f;
	out->payload = r->bytes->data + rf->at;
}

void journal_read_end(Journal *j, JournalRead *r)
{
	if (!r->all && !r->error && r->frames->len && r->walk.file < r->walk.files->len) {
		guint64 last = g_array_index(r->frames, ReadFrame, r->frames->len - 1).f.index;
		j->places[j->next_place++ % JOURNAL_PLACES] = (JournalPlace){ last, g_array_index(r->walk.files, WalkFile, r->walk.file).name, r->walk.at };
	}
	walk_clear(&r->walk);
	g_array_unref(r->frames);
	g_byte_array_unref(r->bytes);
	g_free(r);
}

/* --- cutting --- */

static gboolean sync_dir(const char *dir, GError **error)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	gboolean ok = fd >= 0 && fsync(fd) == 0;

	if (!ok)
		journal_errno(error, dir, "cannot sync");
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Where the first transaction behind index begins: segment and offset. One segment more than there are: nowhere. */
static gboolean find_cut(Journal *j, guint64 index, guint *segment, guint64 *at, GError **error)
{
	guint from = segment_of(j, index + 1);
	FrameWalk w;
	Frame f;
	int got;

	walk_init(&w, j, from);
	while ((got = walk_next(&w, &f)) > 0 && !(f.kind == FRAME_TXN && f.index > index))
		;
	*segment = from + w.file;
	*at = w.frame_at;
	if (got < 0)
		g_set_error(error, MAGMA_ERROR, EIO, "%s: cannot read it at offset %" G_GUINT64_FORMAT, g_array_index(w.files, WalkFile, w.file).path, w.at);
	walk_clear(&w);
	return got >= 0;
}

/* From the end, and each on disk before the next: whatever is left after a crash is a log without a gap. */
static gboolean drop_behind(Journal *j, guint segment, GError **error)
{
	while (j->segments->len > segment + 1) {
		Segment *s = &g_array_index(j->segments, Segment, j->segments->len - 1);
		g_autofree char *path = segment_path(j->dir, s->name);
		if (unlink(path) != 0 && errno != ENOENT)
			return journal_errno(error, path, "cannot cut the journal");
		if (s->fd >= 0)
			close(s->fd);
		g_array_set_size(j->segments, j->segments->len - 1);
		if (!sync_dir(j->dir, error))
			return FALSE;
	}
	return TRUE;
}

static gboolean shorten(Journal *j, guint segment, guint64 size, GError **error)
{
	Segment *s = &g_array_index(j->segments, Segment, segment);
	g_autofree char *path = segment_path(j->dir, s->name);

	if (s->fd < 0 && (s->fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
		return journal_errno(error, path, "cannot cut the journal");
	if (ftruncate(s->fd, size) != 0 || fdatasync(s->fd) != 0)
		return journal_errno(error, path, "cannot cut the journal");
	s->size = size;
	return TRUE;
}

gboolean journal_cut(Journal *j, guint64 index, guint64 epoch, GError **error)
{
	guint segment;
	guint64 at;

	g_assert(index <= j->written);
	if (!find_cut(j, index, &segment, &at, error))
		return FALSE;
	/* Nothing is behind it but what a failed write may have left. */
	if (segment >= j->segments->len) {
		segment = j->segments->len - 1;
		at = g_array_index(j->segments, Segment, segment).size;
	}
	if (!drop_behind(j, segment, error) || !shorten(j, segment, at, error))
		return FALSE;
	g_byte_array_set_size(j->buf, 0);
	memset(j->places, 0, sizeof j->places);
	j->index = j->written = index;
	j->durable = MIN(j->durable, index);
	j->marked = MIN(j->marked, index);
	j->fill_index = MIN(j->fill_index, index);
	j->fills_written = j->fills;
	j->epoch = epoch;
	j->torn = FALSE;
	return TRUE;
}
