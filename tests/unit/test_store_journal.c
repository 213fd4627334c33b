/* The journal: a torn tail is cut, damage to what was durable is refused, nothing else is lost. */
#include "tests/unit/store_kit.h"
#include "magmad/store/journal.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Instead of the C library's: a disk that fails syncs of sqlite's log, or of the journal. */
static int fail_log, fail_journal;

static gboolean is_of(int fd, const char *suffix)
{
	char link[64], path[512];

	g_snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	path[MAX(n, 0)] = '\0';
	return g_str_has_suffix(path, suffix);
}

static int sync_or_fail(int fd, long call)
{
	int e = g_atomic_int_get(&fail_log), j = g_atomic_int_get(&fail_journal);

	if (!(e && is_of(fd, "-wal")) && !(j && is_of(fd, ".log")))
		return syscall(call, fd);
	errno = e ? e : j;
	return -1;
}

int fdatasync(int fd) { return sync_or_fail(fd, SYS_fdatasync); }
int fsync(int fd) { return sync_or_fail(fd, SYS_fsync); }

static gboolean fail_all;

int syncfs(int fd)
{
	errno = EIO;
	return fail_all ? -1 : (int)syscall(SYS_syncfs, fd);
}

/* And one on which sqlite's log finds no room, or more than a quota. */
static int full_log;

static gssize write_or_fail(int fd, const void *p, gsize n, off_t at)
{
	int e = g_atomic_int_get(&full_log);

	if (!e || !is_of(fd, "-wal"))
		return syscall(SYS_pwrite64, fd, p, n, at);
	errno = e;
	return -1;
}

gssize pwrite(int fd, const void *p, gsize n, off_t at) { return write_or_fail(fd, p, n, at); }

/* A page cache that knows more than the disk: so much of a file with this suffix is left when it goes. */
static const char *lost_suffix;
static gsize lost_behind;

int posix_fadvise(int fd, off_t off, off_t len, int advice)
{
	char path[64];

	if (!lost_suffix || !is_of(fd, lost_suffix) || advice != POSIX_FADV_DONTNEED)
		return 0;
	g_snprintf(path, sizeof path, "/proc/self/fd/%d", fd);      /* it may be open for reading only */
	g_assert_cmpint(truncate(path, lost_behind), ==, 0);
	return 0;
}

static const FrameKey key = { "secret of a test" };

static void siphash_is_the_published_one(void)
{
	guint8 k[16], in[64];

	for (guint i = 0; i < sizeof in; i++)
		in[i] = i;
	memcpy(k, in, sizeof k);
	g_assert_cmphex(siphash(k, in, 0), ==, G_GUINT64_CONSTANT(0x726fdb47dd0e0e31));
	g_assert_cmphex(siphash(k, in, 8), ==, G_GUINT64_CONSTANT(0x93f5f5799a932462));
	g_assert_cmphex(siphash(k, in, 15), ==, G_GUINT64_CONSTANT(0xa129ca6149be45e5));
}

static void frames_notice_every_flipped_bit(void)
{
	g_autoptr(GByteArray) buf = g_byte_array_new();
	Frame f = { .kind = FRAME_TXN, .index = 7, .epoch = 3, .durable = 5, .payload = (const guint8 *)"payload", .length = 7 }, got;

	frame_put(&key, buf, &f);
	g_assert_cmpuint(buf->len, ==, 56);
	g_assert_cmpuint(frame_get(&key, buf->data, buf->len, &got), ==, 56);
	g_assert_cmpuint(got.index, ==, 7);
	g_assert_cmpuint(got.epoch, ==, 3);
	g_assert_cmpuint(got.durable, ==, 5);
	g_assert_cmpmem(got.payload, got.length, "payload", 7);
	for (guint i = 0; i < 55; i++)
		for (guint bit = 0; bit < 8; bit++) {
			buf->data[i] ^= 1u << bit;
			g_assert_cmpuint(frame_get(&key, buf->data, buf->len, &got), ==, 0);
			buf->data[i] ^= 1u << bit;
		}
	for (guint n = 0; n < 56; n++)
		g_assert_cmpuint(frame_get(&key, buf->data, n, &got), ==, 0);
}

/* --- a journal by hand --- */

typedef struct {
	char *dir;
	GArray *ends;                 /* gsize: in a single segment, where the frame of index i + 1 ends */
	char *segment;
} Made;

static gboolean count_frame(void *user, const Frame *f)
{
	guint64 *last = user;
	g_assert_cmpuint(f->index, ==, *last + 1);
	*last = f->index;
	return TRUE;
}

static Journal *open_journal(const char *dir, guint64 segment_bytes, guint64 applied, guint64 *last)
{
	g_autoptr(GError) error = NULL;
	g_auto(JournalScan) scan = { 0 };

	*last = applied;
	g_assert_true(journal_scan(dir, &key, applied, 0, count_frame, last, &scan, &error));
	g_assert_no_error(error);
	Journal *j = journal_open(dir, &key, segment_bytes, applied, 0, &scan, &error);
	g_assert_no_error(error);
	return j;
}

static void write_some(Journal *j, guint n)
{
	g_autoptr(GError) error = NULL;
	guint8 bytes[300];

	for (guint i = 0; i < n; i++) {
		memset(bytes, i, sizeof bytes);
		journal_append(j, 1, bytes, 20 + (i * 37) % 250);
	}
	g_assert_true(journal_write(j, &error));
}

static void sync_now(Journal *j)
{
	JournalSync *s = journal_sync_begin(j);
	int error = journal_sync_run(s);
	journal_sync_end(j, s, error);
	g_assert_cmpint(error, ==, 0);
}

/* 30 transactions, one write each; after `synced` of them a sync (0: none). */
static Made make_journal(guint synced)
{
	guint64 last;
	Made m = { .dir = kit_dir(), .ends = g_array_new(FALSE, FALSE, sizeof(gsize)) };
	Journal *j = open_journal(m.dir, 1 << 20, 0, &last);

	m.segment = g_build_filename(m.dir, "0000000000000001.log", NULL);
	for (guint i = 1; i <= 30; i++) {
		write_some(j, 1);
		gsize size = journal_bytes(j);
		g_array_append_val(m.ends, size);
		if (i == synced)
			sync_now(j);
	}
	journal_close(j);
	return m;
}

static void made_clear(Made *m)
{
	kit_remove(m->dir);
	g_array_unref(m->ends);
	g_free(m->segment);
}

static void flip(const char *path, gsize at)
{
	guint8 byte;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	g_assert_cmpint(pread(fd, &byte, 1, at), ==, 1);
	byte ^= 0x10;
	g_assert_cmpint(pwrite(fd, &byte, 1, at), ==, 1);
	close(fd);
}

/* Index of the frame that byte `at` belongs to, and where the frame begins. */
static guint frame_of(const Made *m, gsize at, gsize *begin)
{
	*begin = 0;
	for (guint i = 0; i < m->ends->len; i++) {
		if (at < g_array_index(m->ends, gsize, i))
			return i + 1;
		*begin = g_array_index(m->ends, gsize, i);
	}
	g_assert_not_reached();
}

static void tail_torn_at_any_byte_is_cut(void)
{
	Made m = make_journal(0);
	gsize size = g_array_index(m.ends, gsize, 29);

	for (gsize at = size; at-- > 0; ) {
		g_assert_cmpint(truncate(m.segment, at), ==, 0);
		gsize begin;
		guint torn = frame_of(&m, at, &begin);
		guint64 last = 0;
		g_auto(JournalScan) scan = { 0 };
		g_autoptr(GError) error = NULL;
		g_assert_true(journal_scan(m.dir, &key, 0, 0, count_frame, &last, &scan, &error));
		g_assert_cmpuint(last, ==, torn - 1);
		g_assert_cmpint(scan.cut_file != NULL, ==, at != begin);
		if (scan.cut_file)
			g_assert_cmpuint(scan.cut_at, ==, begin);
	}
	made_clear(&m);
}

/* The last byte of a frame may be padding, which no checksum covers and nobody reads. */
static gboolean damaged(const Made *m, guint64 last, guint frame) { return last == frame - 1; }

static void damage_behind_the_durable_mark_is_cut(void)
{
	Made m = make_journal(10);
	gsize from = g_array_index(m.ends, gsize, 9), size = g_array_index(m.ends, gsize, 29);
	guint cuts = 0;

	for (gsize at = from; at < size; at += 3) {
		gsize begin;
		guint frame = frame_of(&m, at, &begin);
		guint64 last = 0;
		g_auto(JournalScan) scan = { 0 };
		g_autoptr(GError) error = NULL;
		flip(m.segment, at);
		g_assert_true(journal_scan(m.dir, &key, 0, 0, count_frame, &last, &scan, &error));
		if (damaged(&m, last, frame)) {
			g_assert_cmpuint(scan.cut_at, ==, begin);
			g_assert_cmpuint(scan.cut_bytes, ==, size - begin);
			cuts++;
		} else {
			g_assert_cmpuint(last, ==, 30);
		}
		flip(m.segment, at);
	}
	g_assert_cmpuint(cuts, >, (size - from) / 3 * 9 / 10);
	made_clear(&m);
}

static void damage_before_the_durable_mark_is_refused(void)
{
	Made m = make_journal(10);
	gsize end = g_array_index(m.ends, gsize, 9);
	guint refusals = 0, tries = 0;

	for (gsize at = 0; at < end; at += 3, tries++) {
		gsize begin;
		frame_of(&m, at, &begin);
		guint64 last = 0;
		g_auto(JournalScan) scan = { 0 };
		g_autoptr(GError) error = NULL;
		g_autofree char *text = g_strdup_printf("journal damaged before its last durable mark: %s at offset %" G_GSIZE_FORMAT, m.segment, begin);
		flip(m.segment, at);
		if (journal_scan(m.dir, &key, 0, 0, count_frame, &last, &scan, &error)) {
			g_assert_cmpuint(last, ==, 30);
		} else {
			g_assert_cmpstr(error->message, ==, text);
			refusals++;
		}
		flip(m.segment, at);
	}
	g_assert_cmpuint(refusals, >, tries * 9 / 10);
	made_clear(&m);
}

/* A mark written while nothing else is: it alone tells. */
static void mark_alone_protects_what_was_synced(void)
{
	guint64 last;
	g_autoptr(GError) error = NULL;
	char *dir = kit_dir();
	Journal *j = open_journal(dir, 1 << 20, 0, &last);
	g_autofree char *segment = g_build_filename(dir, "0000000000000001.log", NULL);

	write_some(j, 5);
	sync_now(j);
	g_assert_true(journal_has_unwritten(j));
	g_assert_true(journal_write(j, &error));
	g_assert_false(journal_has_unwritten(j));
	journal_close(j);
	flip(segment, 50);
	g_auto(JournalScan) scan = { 0 };
	g_assert_false(journal_scan(dir, &key, 0, 0, NULL, NULL, &scan, &error));
	kit_remove(dir);
}

static void journal_goes_on_behind_the_cut(void)
{
	Made m = make_journal(0);
	guint64 last;
	gsize at = g_array_index(m.ends, gsize, 19) + 5;

	g_assert_cmpint(truncate(m.segment, at), ==, 0);
	g_test_expect_message("magma", G_LOG_LEVEL_MESSAGE, "*torn tail of 5 bytes*");
	Journal *j = open_journal(m.dir, 1 << 20, 0, &last);
	g_test_assert_expected_messages();
	g_assert_cmpuint(last, ==, 20);
	write_some(j, 3);
	journal_close(j);
	j = open_journal(m.dir, 1 << 20, 0, &last);
	g_assert_cmpuint(last, ==, 23);
	journal_close(j);
	made_clear(&m);
}

/* What a user might write into a small file, knowing all but the secret: frames of every key but ours, which tell that all is on disk. */
static GByteArray *forged_frames(guint64 index)
{
	GByteArray *out = g_byte_array_new();
	FrameKey guess = { { 0 } };

	for (guint i = 0; i < 20; i++) {
		guess.b[0] = i;
		frame_put(&guess, out, &(Frame){ .kind = FRAME_TXN, .index = index + i, .durable = index + i, .payload = (const guint8 *)"evil", .length = 4 });
		frame_put(&guess, out, &(Frame){ .kind = FRAME_MARK, .index = index + i, .durable = index + i });
	}
	return out;
}

static void forged_frames_are_no_frames(void)
{
	g_autoptr(GByteArray) forged = forged_frames(1);
	Frame f;

	g_assert_cmpuint(frame_find(&key, forged->data, forged->len, 0, 0, &f), ==, forged->len);
	frame_put(&key, forged, &(Frame){ .kind = FRAME_MARK, .index = 1, .durable = 1 });
	g_assert_cmpuint(frame_find(&key, forged->data, forged->len, 0, 0, &f), ==, forged->len - FRAME_HEADER);
}

/* --- several segments --- */

static char *many_segments(guint *n)
{
	guint64 last;
	char *dir = kit_dir();
	Journal *j = open_journal(dir, 4096, 0, &last);

	for (guint i = 0; i < 20; i++)
		write_some(j, 5);
	journal_close(j);
	j = open_journal(dir, 4096, 0, &last);
	g_assert_cmpuint(last, ==, 100);
	journal_close(j);
	g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);
	for (*n = 0; g_dir_read_name(d); )
		++*n;
	g_assert_cmpuint(*n, >=, 3);
	return dir;
}

static gint text_cmp(gconstpointer a, gconstpointer b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static char *nth_segment(const char *dir, guint i)
{
	g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	const char *name;

	while ((name = g_dir_read_name(d)))
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, text_cmp);
	return g_build_filename(dir, names->pdata[i], NULL);
}

static void cut_in_a_segment_takes_the_later_ones_along(void)
{
	guint n;
	guint64 last;
	char *dir = many_segments(&n);
	g_autofree char *second = nth_segment(dir, 1), *third = nth_segment(dir, 2);

	flip(second, 3);
	g_test_expect_message("magma", G_LOG_LEVEL_MESSAGE, "*torn tail*");
	Journal *j = open_journal(dir, 4096, 0, &last);
	g_assert_cmpuint(last, <, 100);
	g_assert_false(g_file_test(third, G_FILE_TEST_EXISTS));
	guint64 before = last;
	write_some(j, 1);
	journal_close(j);
	journal_close(open_journal(dir, 4096, 0, &last));
	g_assert_cmpuint(last, ==, before + 1);
	kit_remove(dir);
}

static guint64 first_of(const char *path)
{
	g_autofree char *name = g_path_get_basename(path);
	return g_ascii_strtoull(name, NULL, 16);
}

static void segment_behind_a_gap_does_not_keep_its_name(void)
{
	guint n;
	guint64 last;
	char *dir = many_segments(&n);
	g_autofree char *second = nth_segment(dir, 1), *third = nth_segment(dir, 2);

	g_unlink(second);
	g_test_expect_message("magma", G_LOG_LEVEL_MESSAGE, "*torn tail*");
	Journal *j = open_journal(dir, 4096, 0, &last);
	g_assert_cmpuint(last, ==, first_of(second) - 1);
	g_assert_false(g_file_test(third, G_FILE_TEST_EXISTS));
	guint64 before = last;
	write_some(j, 2);
	sync_now(j);
	journal_close(j);
	journal_close(open_journal(dir, 4096, 0, &last));
	g_assert_cmpuint(last, ==, before + 2);
	kit_remove(dir);
}

/* The unlink of a trimmed segment failed, those of later ones did not. */
static void gap_that_sqlite_has_is_no_damage(void)
{
	guint n;
	guint64 last;
	char *dir = many_segments(&n);
	g_autofree char *first = nth_segment(dir, 0), *second = nth_segment(dir, 1), *third = nth_segment(dir, 2);

	g_unlink(second);
	guint64 applied = first_of(third) + 1;
	Journal *j = open_journal(dir, 4096, applied, &last);
	g_assert_cmpuint(last, ==, 100);
	g_assert_false(g_file_test(first, G_FILE_TEST_EXISTS));
	write_some(j, 2);
	journal_close(j);
	journal_close(open_journal(dir, 4096, applied, &last));
	g_assert_cmpuint(last, ==, 102);
	kit_remove(dir);
}

/* A disk that is full in the middle of a write, and has room again when the segment would be over. */
static void failed_write_leaves_nothing_in_front_of_the_next_segment(void)
{
	guint64 last;
	guint8 bytes[300] = { 0 };
	char *dir = kit_dir();
	Journal *j = open_journal(dir, 4096, 0, &last);
	struct rlimit was, small;
	g_autoptr(GError) error = NULL;

	for (guint i = 0; i < 10; i++)
		write_some(j, 1);
	for (guint i = 0; i < 4; i++)
		journal_append(j, 1, bytes, sizeof bytes);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	small = (struct rlimit){ journal_bytes(j) + 800, was.rlim_max };
	g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &small), ==, 0);
	g_assert_false(journal_write(j, &error));
	g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &was), ==, 0);
	for (guint i = 0; i < 20; i++)
		journal_append(j, 1, bytes, sizeof bytes);
	g_clear_error(&error);
	g_assert_true(journal_write(j, &error));
	write_some(j, 1);
	g_assert_cmpuint(journal_written(j), ==, 35);
	journal_close(j);
	journal_close(open_journal(dir, 4096, 0, &last));
	g_assert_cmpuint(last, ==, 35);
	kit_remove(dir);
}

static void missing_segment_is_noticed(void)
{
	guint n;
	guint64 last = 0;
	char *dir = many_segments(&n);
	g_autofree char *first = nth_segment(dir, 0);
	g_autoptr(GError) error = NULL;
	g_auto(JournalScan) scan = { 0 };

	g_unlink(first);
	g_assert_false(journal_scan(dir, &key, 0, 0, count_frame, &last, &scan, &error));
	g_assert_nonnull(strstr(error->message, "segments are missing"));
	kit_remove(dir);
}

/* A power cut may leave sqlite ahead of an unsynced journal: the gap must not read as damage later. */
static void journal_behind_sqlite_begins_anew(void)
{
	Made m = make_journal(0);
	guint64 last;
	Journal *j = open_journal(m.dir, 1 << 20, 50, &last);

	g_assert_cmpuint(journal_index(j), ==, 50);
	write_some(j, 2);
	journal_close(j);
	j = open_journal(m.dir, 1 << 20, 50, &last);
	g_assert_cmpuint(last, ==, 52);
	journal_close(j);
	made_clear(&m);
}

/* A sync failed, and the kernel has forgotten it: pages are clean, and the next sync is well. */
static void what_the_disk_does_not_have_is_no_frame(void)
{
	Made m = make_journal(10);
	g_autoptr(GError) error = NULL;
	g_auto(JournalScan) scan = { 0 };
	guint64 last = 0;

	lost_suffix = ".log";
	lost_behind = g_array_index(m.ends, gsize, 19) + 5;
	g_assert_true(journal_scan(m.dir, &key, 0, 0, count_frame, &last, &scan, &error));
	lost_suffix = NULL;
	g_assert_cmpuint(last, ==, 20);
	made_clear(&m);
}

static void what_does_not_sync_is_not_read(void)
{
	Made m = make_journal(10);
	g_autoptr(GError) error = NULL;
	g_auto(JournalScan) scan = { 0 };

	g_atomic_int_set(&fail_journal, EIO);
	g_assert_false(journal_scan(m.dir, &key, 0, 0, NULL, NULL, &scan, &error));
	g_atomic_int_set(&fail_journal, 0);
	g_assert_cmpint(error->code, ==, EIO);
	g_assert_nonnull(strstr(error->message, m.segment));
	made_clear(&m);
}

/* They are read at each start, and from the page cache as long as they are there. */
static void what_was_on_disk_long_ago_stays_in_the_page_cache(void)
{
	guint n;
	guint64 last = 0;
	char *dir = many_segments(&n);
	g_autofree char *first = nth_segment(dir, 0), *second = nth_segment(dir, 1), *suffix = g_path_get_basename(first);
	g_autoptr(GError) error = NULL;
	g_auto(JournalScan) scan = { 0 }, anew = { 0 };

	lost_suffix = suffix;
	lost_behind = 0;
	g_assert_true(journal_scan(dir, &key, 0, first_of(second), count_frame, &last, &scan, &error));
	g_assert_cmpuint(last, ==, 100);
	g_assert_false(journal_scan(dir, &key, 0, first_of(second) - 1, NULL, NULL, &anew, &error));
	lost_suffix = NULL;
	kit_remove(dir);
}

static void durable_end_missing_is_refused(void)
{
	Made m = make_journal(0);
	g_autoptr(GError) error = NULL;
	g_auto(JournalScan) scan = { 0 };

	g_assert_false(journal_scan(m.dir, &key, 0, 31, NULL, NULL, &scan, &error));
	g_assert_nonnull(strstr(error->message, "was durable up to 31"));
	made_clear(&m);
}

/* --- through the store --- */

static void on_done(void *user, int error) { *(gboolean *)user = TRUE; }

static guint64 rows_waiting(Store *s)
{
	StoreUsage u;

	s->vt->usage(s, &u);
	return u.open_batch_rows;
}

static void segments_go_once_sqlite_has_them(void)
{
	char *path = kit_dir(), *text = g_strnfill(2000, 'x');
	Store *s = kit_open(path, 0);
	StoreUsage u;
	guint64 most = 0;

	for (guint i = 0; i < 2000; i++) {
		g_autofree char *key = g_strdup_printf("%u", i % 50);
		kit_acked(s, kit_put(s, TAB_XATTR, key, text));
		if (i % 100 == 99) {
			g_assert_true(diskstore_write_out(s));
		}
		s->vt->usage(s, &u);
		most = MAX(most, u.journal_bytes);
	}
	gboolean done = FALSE;
	store_sync(s, on_done, &done);
	kit_until(&done);
	g_assert_cmpuint(most, <, 2000 * 2000 / 2);      /* of 4 MB written */
	diskstore_close(s);
	s = kit_open(path, 0);
	g_assert_cmpuint(store_acked(s), ==, 2000);
	diskstore_close(s);
	g_free(text);
	kit_remove(path);
}

typedef struct { guint n; guint64 index; } Seen;

static gboolean see_frame(void *user, const Frame *f)
{
	Seen *s = user;

	g_assert_cmpuint(f->index, ==, s->index + (f->kind == FRAME_TXN));
	s->index = f->index;
	s->n++;
	return TRUE;
}

static void fills_torn_at_any_byte_are_cut(void)
{
	char *dir = kit_dir();
	guint64 last;
	Journal *j = open_journal(dir, 1 << 20, 0, &last);
	g_autofree char *segment = g_build_filename(dir, "0000000000000001.log", NULL), *bytes = NULL;
	g_autoptr(GError) error = NULL;
	gsize n, ends[6] = { 0 };

	for (guint i = 1; i <= 5; i++) {
		if (i % 3 == 1)
			journal_append(j, 1, (const guint8 *)"transaction", 11);
		else
			journal_fill(j, (const guint8 *)"fill", 4);
		g_assert_true(journal_write(j, &error));
		ends[i] = journal_bytes(j);
	}
	g_assert_cmpuint(journal_index(j), ==, 2);
	journal_close(j);
	g_assert_true(g_file_get_contents(segment, &bytes, &n, NULL));
	for (gsize cut = 0; cut <= n; cut++) {
		g_auto(JournalScan) scan = { 0 };
		Seen seen = { 0 };
		guint whole = 5;
		while (ends[whole] > cut)
			whole--;
		g_assert_true(g_file_set_contents(segment, bytes, cut, NULL));
		g_assert_true(journal_scan(dir, &key, 0, 0, see_frame, &seen, &scan, &error));
		g_assert_cmpuint(seen.n, ==, whole);
		g_assert_true((scan.cut_file != NULL) == (cut != ends[whole]));
	}
	kit_remove(dir);
}

static void what_is_kept_goes_when_room_is_needed(void)
{
	char *dir = kit_dir();
	guint64 last;
	Journal *j = open_journal(dir, 1000, 0, &last);

	for (guint i = 0; i < 40; i++)
		write_some(j, 1);
	journal_keep(j, 15, G_MAXUINT64);
	g_autoptr(GPtrArray) plain = journal_trim(j, 40, 0);
	g_assert_cmpuint(plain->len, >, 0);
	g_assert_cmpuint(journal_floor(j), <=, 15);
	g_assert_false(journal_can_trim(j, 40, 0));
	g_assert_true(journal_keeps(j, 30, 0));
	g_autoptr(GPtrArray) given = journal_give_kept(j, 30, 0);
	g_assert_cmpuint(given->len, >, 0);
	g_assert_cmpuint(journal_floor(j), >, 15);
	g_assert_cmpuint(journal_floor(j), <=, 30);
	g_assert_false(journal_can_trim(j, 40, 0));      /* the rest is kept as before */
	journal_close(j);
	kit_remove(dir);
}

static void on_failed(void *user, const char *text) { *(gboolean *)user = TRUE; }

/* What the kernel could not write it forgets: the next sync would say that all is on disk. */
static void failed_sync_of_the_log_keeps_the_journal(void)
{
	char *path = kit_dir(), *text = g_strnfill(2000, 'x');
	Store *s = kit_open(path, 0);
	g_autofree char *segment = g_build_filename(path, "journal", "0000000000000001.log", NULL);
	gboolean failed = FALSE;

	s->user = &failed;
	s->on_failed = on_failed;
	kit_acked(s, kit_put(s, TAB_XATTR, "first", text));
	g_assert_true(diskstore_write_out(s));
	g_atomic_int_set(&fail_log, ENOSPC);
	g_test_expect_message("magma", G_LOG_LEVEL_CRITICAL, "*checkpoint: *");
	for (guint i = 0; i < 4000 && !failed; i++) {
		g_autofree char *key = g_strdup_printf("%u", i % 50);
		kit_acked(s, kit_put(s, TAB_XATTR, key, text));
		if (i % 100 == 99)
			diskstore_write_out(s);
	}
	g_test_assert_expected_messages();
	g_atomic_int_set(&fail_log, 0);
	g_assert_true(failed);
	g_assert_true(g_file_test(segment, G_FILE_TEST_EXISTS));
	diskstore_abandon(s);
	g_free(text);
	kit_remove(path);
}

static void a_quota_is_a_full_disk_and_no_broken_one(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	gboolean failed = FALSE;

	s->user = &failed;
	s->on_failed = on_failed;
	kit_acked(s, kit_put(s, TAB_XATTR, "k", "value"));
	g_atomic_int_set(&full_log, EDQUOT);
	g_test_expect_message("magma", G_LOG_LEVEL_WARNING, "*writing a batch of rows*trying again*");
	g_test_expect_message("magma", G_LOG_LEVEL_MESSAGE, "*the disk is full*");
	g_assert_false(diskstore_write_out(s));
	g_test_assert_expected_messages();
	g_atomic_int_set(&full_log, 0);
	g_assert_false(failed);
	g_assert_true(diskstore_write_out(s));
	diskstore_close(s);
	kit_remove(path);
}

/* Rows are safe as long as one of the two has them. */
static void a_last_sync_that_fails_is_told(void)
{
	for (guint log = 0; log < 2; log++) {
		char *path = kit_dir();
		Store *s = kit_open(path, 0);
		kit_acked(s, kit_put(s, TAB_XATTR, "k", "value"));
		g_assert_true(diskstore_write_out(s));
		g_atomic_int_set(&fail_journal, EIO);
		g_atomic_int_set(&fail_log, log ? EIO : 0);
		if (log)
			g_test_expect_message("magma", G_LOG_LEVEL_CRITICAL, "*journal: syncing the journal at the end: Input/output error*state.db*may be lost");
		int error = diskstore_close(s);
		g_atomic_int_set(&fail_journal, 0);
		g_atomic_int_set(&fail_log, 0);
		g_test_assert_expected_messages();
		g_assert_cmpint(error, ==, log ? EIO : 0);
		s = kit_open(path, 0);
		g_assert_cmpint(diskstore_close(s), ==, 0);
		kit_remove(path);
	}
}

static void over(void *done, int error) { *(gboolean *)done = !error; }

/* And asked for where there is something only: it takes along what others have on that disk. */
static void drops_that_do_not_sync_are_told(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = { .ino = 77 };
	g_autoptr(GBytes) bytes = g_bytes_new_static("x", 1);
	gboolean written = FALSE, dropped = FALSE;

	store_content_write(s, &fid, 0, bytes, over, &written);
	kit_until(&written);
	fail_all = TRUE;
	g_assert_true(diskstore_sync_drops(s));
	store_content_drop(s, &fid, over, &dropped);
	kit_until(&dropped);
	g_test_expect_message("magma", G_LOG_LEVEL_WARNING, "*content: syncing what is there: Input/output error*");
	g_assert_false(diskstore_sync_drops(s));
	g_test_assert_expected_messages();
	fail_all = FALSE;
	diskstore_close(s);
	kit_remove(path);
}

/* Batches whose log did not come to the disk are made of the journal again. */
static void what_the_disk_does_not_have_of_sqlite_comes_from_the_journal(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);

	kit_acked(s, kit_put(s, TAB_XATTR, "k", "value"));
	kit_sync(s);
	g_assert_true(diskstore_write_out(s));
	diskstore_abandon(s);
	g_atomic_int_set(&fail_log, EIO);
	g_autofree char *why = kit_refused(path), *text = g_strdup_printf("%s/state.db-wal: Input/output error", path);
	g_atomic_int_set(&fail_log, 0);
	g_assert_cmpstr(why, ==, text);
	lost_suffix = "-wal";
	lost_behind = 0;
	s = kit_open(path, 0);
	lost_suffix = NULL;
	g_assert_cmpuint(rows_waiting(s), ==, 1);
	g_autofree char *val = kit_get(s, TAB_XATTR, "k", 1);
	g_assert_cmpstr(val, ==, "value");
	diskstore_close(s);
	kit_remove(path);
}

typedef struct {
	Store *s;
	gboolean done;
} Again;

static void on_first(void *user, int error) { store_sync(((Again *)user)->s, on_done, &((Again *)user)->done); }

static void sync_asked_for_inside_a_turn_is_answered(void)
{
	char *path = kit_dir();
	Again a = { .s = kit_open(path, 0) };

	store_sync(a.s, on_first, &a);
	kit_until(&a.done);
	diskstore_close(a.s);
	kit_remove(path);
}

static void store_refuses_a_damaged_journal_and_names_the_place(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	g_autofree char *segment = g_build_filename(path, "journal", "0000000000000001.log", NULL);

	for (guint i = 0; i < 5; i++)
		kit_put(s, TAB_META, "k", "value");
	kit_sync(s);
	kit_acked(s, kit_put(s, TAB_META, "k", "last"));
	diskstore_abandon(s);
	flip(segment, 20);
	g_autofree char *why = kit_refused(path), *text = g_strdup_printf("journal damaged before its last durable mark: %s at offset 0", segment);
	g_assert_cmpstr(why, ==, text);
	flip(segment, 20);
	s = kit_open(path, 0);
	g_autofree char *val = kit_get(s, TAB_META, "k", 1);
	g_assert_cmpstr(val, ==, "last");
	diskstore_close(s);
	kit_remove(path);
}

/* A power cut that took the begin of a frame and left the end of it, where a user's bytes are. */
static void forged_frames_in_a_small_file_do_not_make_a_torn_tail_damage(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	g_autofree char *segment = g_build_filename(path, "journal", "0000000000000001.log", NULL);
	g_autoptr(GByteArray) forged = g_byte_array_new(), frames = forged_frames(2);
	struct stat st;
	Txn *t = txn_new();
	guint8 ino[8] = { 1 };
	MagmaKey rk = { { 1 } };

	for (guint i = 0; i < FRAME_ALIGN; i++) {       /* wherever in the frame the bytes come to lie */
		g_byte_array_append(forged, frames->data, frames->len);
		g_byte_array_append(forged, (const guint8 *)"", 1);
	}
	kit_acked(s, kit_put(s, TAB_META, "k", "first"));
	g_assert_cmpint(stat(segment, &st), ==, 0);
	txn_put(t, TAB_DATA, ino, sizeof ino, &rk, forged->data, forged->len);
	store_commit(s, t);
	kit_acked(s, kit_put(s, TAB_META, "k", "third"));
	diskstore_abandon(s);
	flip(segment, st.st_size + 20);
	g_test_expect_message("magma", G_LOG_LEVEL_MESSAGE, "*torn tail*");
	s = kit_open(path, 0);
	g_test_assert_expected_messages();
	g_assert_cmpuint(store_acked(s), ==, 1);
	diskstore_close(s);
	kit_remove(path);
}

static void two_folders_have_two_secrets(void)
{
	char *path = kit_dir(), *other = kit_dir();
	g_autofree char *mine = g_build_filename(path, "journal", "0000000000000001.log", NULL), *theirs = g_build_filename(other, "journal", "0000000000000001.log", NULL);
	g_autofree char *bytes = NULL;
	gsize n;
	Store *s = kit_open(other, 0);

	kit_acked(s, kit_put(s, TAB_META, "k", "value"));
	diskstore_abandon(s);
	g_assert_true(g_file_get_contents(theirs, &bytes, &n, NULL));
	diskstore_abandon(kit_open(path, 0));
	g_assert_true(g_file_set_contents(mine, bytes, n, NULL));
	g_test_expect_message("magma", G_LOG_LEVEL_MESSAGE, "*torn tail*");
	s = kit_open(path, 0);
	g_test_assert_expected_messages();
	g_assert_cmpuint(store_acked(s), ==, 0);
	diskstore_close(s);
	kit_remove(path);
	kit_remove(other);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/journal/siphash_is_the_published_one", siphash_is_the_published_one);
	g_test_add_func("/store/journal/forged_frames_are_no_frames", forged_frames_are_no_frames);
	g_test_add_func("/store/journal/forged_frames_in_a_small_file_do_not_make_a_torn_tail_damage", forged_frames_in_a_small_file_do_not_make_a_torn_tail_damage);
	g_test_add_func("/store/journal/two_folders_have_two_secrets", two_folders_have_two_secrets);
	g_test_add_func("/store/journal/frames_notice_every_flipped_bit", frames_notice_every_flipped_bit);
	g_test_add_func("/store/journal/tail_torn_at_any_byte_is_cut", tail_torn_at_any_byte_is_cut);
	g_test_add_func("/store/journal/damage_behind_the_durable_mark_is_cut", damage_behind_the_durable_mark_is_cut);
	g_test_add_func("/store/journal/damage_before_the_durable_mark_is_refused", damage_before_the_durable_mark_is_refused);
	g_test_add_func("/store/journal/mark_alone_protects_what_was_synced", mark_alone_protects_what_was_synced);
	g_test_add_func("/store/journal/goes_on_behind_the_cut", journal_goes_on_behind_the_cut);
	g_test_add_func("/store/journal/cut_in_a_segment_takes_the_later_ones_along", cut_in_a_segment_takes_the_later_ones_along);
	g_test_add_func("/store/journal/segment_behind_a_gap_does_not_keep_its_name", segment_behind_a_gap_does_not_keep_its_name);
	g_test_add_func("/store/journal/gap_that_sqlite_has_is_no_damage", gap_that_sqlite_has_is_no_damage);
	g_test_add_func("/store/journal/failed_write_leaves_nothing_in_front_of_the_next_segment", failed_write_leaves_nothing_in_front_of_the_next_segment);
	g_test_add_func("/store/journal/failed_sync_of_the_log_keeps_the_journal", failed_sync_of_the_log_keeps_the_journal);
	g_test_add_func("/store/journal/sync_asked_for_inside_a_turn_is_answered", sync_asked_for_inside_a_turn_is_answered);
	g_test_add_func("/store/journal/missing_segment_is_noticed", missing_segment_is_noticed);
	g_test_add_func("/store/journal/behind_sqlite_begins_anew", journal_behind_sqlite_begins_anew);
	g_test_add_func("/store/journal/what_the_disk_does_not_have_is_no_frame", what_the_disk_does_not_have_is_no_frame);
	g_test_add_func("/store/journal/what_does_not_sync_is_not_read", what_does_not_sync_is_not_read);
	g_test_add_func("/store/journal/what_was_on_disk_long_ago_stays_in_the_page_cache", what_was_on_disk_long_ago_stays_in_the_page_cache);
	g_test_add_func("/store/journal/what_the_disk_does_not_have_of_sqlite_comes_from_the_journal", what_the_disk_does_not_have_of_sqlite_comes_from_the_journal);
	g_test_add_func("/store/journal/a_quota_is_a_full_disk_and_no_broken_one", a_quota_is_a_full_disk_and_no_broken_one);
	g_test_add_func("/store/journal/a_last_sync_that_fails_is_told", a_last_sync_that_fails_is_told);
	g_test_add_func("/store/journal/drops_that_do_not_sync_are_told", drops_that_do_not_sync_are_told);
	g_test_add_func("/store/journal/durable_end_missing_is_refused", durable_end_missing_is_refused);
	g_test_add_func("/store/journal/segments_go_once_sqlite_has_them", segments_go_once_sqlite_has_them);
	g_test_add_func("/store/journal/fills_torn_at_any_byte_are_cut", fills_torn_at_any_byte_are_cut);
	g_test_add_func("/store/journal/what_is_kept_goes_when_room_is_needed", what_is_kept_goes_when_room_is_needed);
	g_test_add_func("/store/journal/store_refuses_a_damaged_journal_and_names_the_place", store_refuses_a_damaged_journal_and_names_the_place);
	return g_test_run();
}
