/* Contents: what is read is what the calls in their order wrote. */
#include "tests/unit/store_kit.h"
#include "magmad/store/content.h"
#include "magmad/store/disk.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Instead of the C library's: a disk that fails one fdatasync of a content file, or is slow with them; and a count of the folders made durable. */
static int fail_next, folder_syncs;
static GMutex slow_lock;
static GCond slow_end;
static gboolean slow;                 /* under slow_lock */
static guint slow_now;                /* under slow_lock: waiting in fdatasync */

static void wait_while_slow(void)
{
	g_mutex_lock(&slow_lock);
	slow_now++;
	while (slow)
		g_cond_wait(&slow_end, &slow_lock);
	slow_now--;
	g_mutex_unlock(&slow_lock);
}

static void set_slow(gboolean is)
{
	g_mutex_lock(&slow_lock);
	slow = is;
	g_cond_broadcast(&slow_end);
	g_mutex_unlock(&slow_lock);
}

static gboolean is_content(int fd)
{
	char link[64], path[512];

	g_snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	path[MAX(n, 0)] = '\0';
	return strstr(path, "/content/") != NULL;
}

int fdatasync(int fd)
{
	gboolean content = is_content(fd);

	if (content)
		wait_while_slow();
	int e = content ? g_atomic_int_exchange(&fail_next, 0) : 0;
	if (!e)
		return syscall(SYS_fdatasync, fd);
	errno = e;
	return -1;
}

int fsync(int fd)
{
	g_atomic_int_inc(&folder_syncs);
	return syscall(SYS_fsync, fd);
}

/* What was told to go to the disk early, and what to leave the page cache. */
static GMutex early_lock;
static guint64 early_end, early_calls, left_end;      /* under early_lock */
static int early_error;                               /* under early_lock: of the next one */
static guint rereads;                                 /* under early_lock: contents that left the page cache as a whole */

int sync_file_range(int fd, off_t off, off_t len, unsigned flags)
{
	g_mutex_lock(&early_lock);
	g_assert_cmpuint(flags, ==, SYNC_FILE_RANGE_WRITE);
	g_assert_cmpuint((guint64)off, ==, early_end);
	early_end = off + len;
	early_calls++;
	int e = early_error;
	early_error = 0;
	g_mutex_unlock(&early_lock);
	errno = e;
	return e ? -1 : 0;
}

int posix_fadvise(int fd, off_t off, off_t len, int advice)
{
	g_mutex_lock(&early_lock);
	g_assert_cmpint(advice, ==, POSIX_FADV_DONTNEED);
	g_assert_cmpuint((guint64)off + len, <=, early_end);
	left_end = MAX(left_end, (guint64)off + len);
	rereads += !len && is_content(fd);
	g_mutex_unlock(&early_lock);
	return syscall(SYS_fadvise64, fd, off, len, advice);
}

typedef struct {
	gboolean done;
	int error;
	GBytes *data;
	guint64 off;
	StoreContentStat st;
	guint *failed;
} Answer;

static void on_done(void *user, int error)
{
	Answer *a = user;
	a->error = error;
	a->done = TRUE;
}

static void on_read(void *user, int error, GBytes *data)
{
	Answer *a = user;
	a->data = data ? g_bytes_ref(data) : NULL;
	on_done(user, error);
}

static void on_seek(void *user, int error, guint64 off)
{
	((Answer *)user)->off = off;
	on_done(user, error);
}

static void on_stat(void *user, int error, const StoreContentStat *st)
{
	if (st)
		((Answer *)user)->st = *st;
	on_done(user, error);
}

static int write_text(Store *s, const MagmaFid *fid, guint64 off, const char *text)
{
	g_autoptr(GBytes) data = g_bytes_new(text, strlen(text));
	Answer a = { 0 };
	store_content_write(s, fid, off, data, on_done, &a);
	kit_until(&a.done);
	return a.error;
}

static char *read_text(Store *s, const MagmaFid *fid, guint64 off, guint32 len)
{
	Answer a = { 0 };
	store_content_read(s, fid, off, len, on_read, &a);
	kit_until(&a.done);
	g_assert_cmpint(a.error, ==, 0);
	gsize n;
	const char *p = g_bytes_get_data(a.data, &n);
	char *text = g_malloc0(n + 1);
	memcpy(text, p, n);
	g_bytes_unref(a.data);
	return text;
}

static int simple(Store *s, void (*call)(Store *, const MagmaFid *, void (*)(void *, int), void *), const MagmaFid *fid)
{
	Answer a = { 0 };
	call(s, fid, on_done, &a);
	kit_until(&a.done);
	return a.error;
}

static guint64 seek(Store *s, const MagmaFid *fid, guint64 off, guint32 whence, int *error)
{
	Answer a = { 0 };
	store_content_seek(s, fid, off, whence, on_seek, &a);
	kit_until(&a.done);
	*error = a.error;
	return a.off;
}

static StoreContentStat stat_of(Store *s, const MagmaFid *fid)
{
	Answer a = { 0 };
	store_content_stat(s, fid, on_stat, &a);
	kit_until(&a.done);
	g_assert_cmpint(a.error, ==, 0);
	return a.st;
}

static int truncate_to(Store *s, const MagmaFid *fid, guint64 size)
{
	Answer a = { 0 };
	store_content_truncate(s, fid, size, on_done, &a);
	kit_until(&a.done);
	return a.error;
}

static void missing_file_reads_as_empty(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = kit_fid(7);
	int error;

	g_autofree char *text = read_text(s, &fid, 0, 100);
	g_assert_cmpstr(text, ==, "");
	g_assert_false(stat_of(s, &fid).exists);
	seek(s, &fid, 0, SEEK_DATA, &error);
	g_assert_cmpint(error, ==, ENXIO);
	g_assert_cmpint(truncate_to(s, &fid, 0), ==, 0);
	g_assert_cmpint(simple(s, s->vt->content_sync, &fid), ==, 0);
	g_assert_cmpint(simple(s, s->vt->content_drop, &fid), ==, 0);
	g_assert_false(stat_of(s, &fid).exists);
	diskstore_close(s);
	kit_remove(path);
}

static void content_lives_from_first_write_to_drop(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = kit_fid(8);
	int error;

	g_assert_cmpint(write_text(s, &fid, 0, "hello"), ==, 0);
	g_assert_cmpint(write_text(s, &fid, 100000, "far"), ==, 0);
	g_autofree char *one = read_text(s, &fid, 0, 5), *two = read_text(s, &fid, 99999, 100);
	g_assert_cmpstr(one, ==, "hello");
	g_assert_cmpint(two[0], ==, 0);
	g_assert_cmpstr(two + 1, ==, "far");
	g_assert_cmpuint(stat_of(s, &fid).size, ==, 100003);
	g_assert_cmpuint(seek(s, &fid, 0, SEEK_HOLE, &error), ==, 4096);
	g_assert_cmpuint(seek(s, &fid, 4096, SEEK_DATA, &error), ==, 98304);
	g_assert_cmpint(simple(s, s->vt->content_sync, &fid), ==, 0);
	diskstore_abandon(s);
	s = kit_open(path, 0);
	g_assert_cmpint(truncate_to(s, &fid, 3), ==, 0);
	g_autofree char *three = read_text(s, &fid, 0, 100);
	g_assert_cmpstr(three, ==, "hel");
	g_assert_cmpint(simple(s, s->vt->content_drop, &fid), ==, 0);
	g_autofree char *four = read_text(s, &fid, 0, 100);
	g_assert_cmpstr(four, ==, "");
	g_assert_cmpint(write_text(s, &fid, 1, "x"), ==, 0);
	g_assert_cmpuint(stat_of(s, &fid).size, ==, 2);
	char name[CONTENT_NAME_MAX];
	g_autofree char *file = g_build_filename(path, "content", content_name(&fid, name), NULL);
	g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
	diskstore_close(s);
	kit_remove(path);
}

static void offsets_out_of_range_are_refused(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = kit_fid(9);
	int error;

	g_assert_cmpint(write_text(s, &fid, G_MAXUINT64, "x"), ==, EFBIG);
	g_assert_cmpint(write_text(s, &fid, G_MAXINT64, "x"), ==, EFBIG);
	g_assert_cmpint(truncate_to(s, &fid, (guint64)G_MAXINT64 + 1), ==, EFBIG);
	g_autofree char *none = read_text(s, &fid, G_MAXUINT64, 10);
	g_assert_cmpstr(none, ==, "");
	seek(s, &fid, G_MAXUINT64, SEEK_DATA, &error);
	g_assert_cmpint(error, ==, ENXIO);
	seek(s, &fid, 0, 17, &error);
	g_assert_cmpint(error, ==, EINVAL);
	diskstore_close(s);
	kit_remove(path);
}

static void names_of_files_tell_their_flare(void)
{
	MagmaFid fid = kit_fid(0x0123456789abcdef), back;
	char name[CONTENT_NAME_MAX];

	content_name(&fid, name);
	g_assert_true(content_parse_name(strrchr(name, '/') + 1, &back));
	g_assert_true(magma_fid_equal(&fid, &back));
	g_assert_false(content_parse_name(name, &back));
}

/* Many operations in flight on few flares, none waited for: each read must see what the calls before it left. */
#define MODEL_SIZE 70000

typedef struct {
	guint8 bytes[MODEL_SIZE];
	gsize size;
} Model;

typedef struct {
	GBytes *expected;
	guint *pending;
	guint64 off;
} Check;

static void on_checked_read(void *user, int error, GBytes *data)
{
	Check *c = user;
	g_assert_cmpint(error, ==, 0);
	g_assert_cmpmem(g_bytes_get_data(data, NULL), g_bytes_get_size(data), g_bytes_get_data(c->expected, NULL), g_bytes_get_size(c->expected));
	g_bytes_unref(c->expected);
	(*c->pending)--;
	g_free(c);
}

static void on_counted(void *user, int error)
{
	g_assert_cmpint(error, ==, 0);
	(*(guint *)user)--;
}

static void model_write(Model *m, guint64 off, GBytes *data)
{
	gsize n;
	const void *p = g_bytes_get_data(data, &n);

	memcpy(m->bytes + off, p, n);
	m->size = MAX(m->size, off + n);
}

static void model_truncate(Model *m, gsize size)
{
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

static void model_step(Store *s, GRand *rnd, Model *m, const MagmaFid *fid, guint *pending)
{
	guint64 off = g_rand_int_range(rnd, 0, MODEL_SIZE - 20000);
	gsize len = g_rand_int_range(rnd, 1, g_rand_boolean(rnd) ? 20000 : 500);

	if (g_rand_boolean(rnd))
		off &= ~4095u;
	(*pending)++;
	switch (g_rand_int_range(rnd, 0, 24)) {
	case 0:
		off = g_rand_int_range(rnd, 0, MODEL_SIZE - 20000);
		model_truncate(m, off);
		store_content_truncate(s, fid, off, on_counted, pending);
		break;
	case 1:
		model_truncate(m, 0);
		store_content_drop(s, fid, on_counted, pending);
		break;
	case 2:
		store_content_sync(s, fid, on_counted, pending);
		break;
	case 3:
		if (off < m->size)
			memset(m->bytes + off, 0, MIN(len, m->size - off));
		store_content_fallocate(s, fid, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len, on_counted, pending);
		break;
	default:
		if (g_rand_boolean(rnd)) {
			guint8 *p = g_malloc(len);
			memset(p, g_rand_int(rnd), len);
			g_autoptr(GBytes) data = g_bytes_new_take(p, len);
			model_write(m, off, data);
			store_content_write(s, fid, off, data, on_counted, pending);
		} else {
			Check *c = g_new(Check, 1);
			gsize n = off < m->size ? MIN(len, m->size - off) : 0;
			*c = (Check){ .expected = g_bytes_new(m->bytes + off, n), .pending = pending, .off = off };
			store_content_read(s, fid, off, len, on_checked_read, c);
		}
	}
}

static void overlapping_operations_take_effect_in_order(void)
{
	g_autoptr(GRand) rnd = g_rand_new_with_seed(kit_seed());
	g_autofree Model *models = g_new0(Model, 3);
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	guint pending = 0;

	for (guint i = 0; i < 3000; i++) {
		guint which = g_rand_int_range(rnd, 0, 3);
		MagmaFid fid = kit_fid(100 + which);
		model_step(s, rnd, &models[which], &fid, &pending);
		if (g_rand_int_range(rnd, 0, 8) == 0)
			g_main_context_iteration(NULL, FALSE);
		if (g_rand_int_range(rnd, 0, 400) == 0) {
			diskstore_close(s);
			g_assert_cmpuint(pending, ==, 0);
			s = kit_open(path, 0);
		}
	}
	diskstore_close(s);
	g_assert_cmpuint(pending, ==, 0);
	kit_remove(path);
}

static void more_files_than_descriptors(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	guint pending = 0;

	for (guint i = 0; i < 1500; i++) {
		MagmaFid fid = kit_fid(1000 + i);
		g_autofree char *text = g_strdup_printf("%u", i);
		g_autoptr(GBytes) data = g_bytes_new(text, strlen(text));
		pending++;
		store_content_write(s, &fid, 0, data, on_counted, &pending);
	}
	while (pending)
		g_main_context_iteration(NULL, TRUE);
	for (guint i = 0; i < 1500; i += 100) {
		MagmaFid fid = kit_fid(1000 + i);
		g_autofree char *text = g_strdup_printf("%u", i), *got = read_text(s, &fid, 0, 100);
		g_assert_cmpstr(text, ==, got);
	}
	diskstore_close(s);
	kit_remove(path);
}

/* The kernel tells a lost write once; what was called synced afterwards would be gone after a power cut. */
static void failed_sync_is_told_until_the_drop(void)
{
	char *path = kit_dir();
	MagmaFid fid = kit_fid(20);

	for (guint i = 0; i < 2; i++) {
		Store *s = kit_open(path, 0);
		int e = i ? ENOSPC : EDQUOT;
		Answer a = { 0 }, b = { 0 };
		g_assert_cmpint(write_text(s, &fid, 0, "hello"), ==, 0);
		g_atomic_int_set(&fail_next, e);
		store_content_sync(s, &fid, on_done, &a);
		store_content_sync(s, &fid, on_done, &b);
		kit_until(&a.done);
		kit_until(&b.done);
		g_assert_cmpint(a.error, ==, e);
		g_assert_cmpint(b.error, ==, e);
		g_assert_cmpint(write_text(s, &fid, 0, "again"), ==, 0);
		g_assert_cmpint(simple(s, s->vt->content_sync, &fid), ==, e);
		g_assert_cmpuint(stat_of(s, &fid).size, ==, 5);
		g_assert_cmpint(simple(s, s->vt->content_drop, &fid), ==, 0);
		g_assert_cmpint(write_text(s, &fid, 0, "new"), ==, 0);
		g_assert_cmpint(simple(s, s->vt->content_sync, &fid), ==, 0);
		g_assert_cmpint(simple(s, s->vt->content_drop, &fid), ==, 0);
		diskstore_close(s);
	}
	kit_remove(path);
}

/* How many contents left the page cache when these two were read, each twice. */
static guint rereads_of(Store *s, const MagmaFid *a, const MagmaFid *b)
{
	rereads = 0;
	for (guint i = 0; i < 2; i++) {
		g_autofree char *of_a = read_text(s, a, 0, 10), *of_b = read_text(s, b, 0, 10);
		g_assert_cmpstr(of_a, ==, "hello");
		g_assert_cmpstr(of_b, ==, "hello");
		contents_close_idle(DISK(s)->contents, TRUE);
	}
	return rereads;
}

/* The pages of a sync that failed are clean, and read as if all were well. */
static void lives_after_a_lost_write_read_from_the_disk(void)
{
	char *path = kit_dir();
	MagmaFid a = kit_fid(20), b = kit_fid(21);
	Store *s = kit_open(path, 0);

	g_assert_cmpint(write_text(s, &a, 0, "hello"), ==, 0);
	g_assert_cmpint(write_text(s, &b, 0, "hello"), ==, 0);
	g_assert_cmpuint(rereads_of(s, &a, &b), ==, 0);
	diskstore_close(s);

	s = kit_open(path, 0);
	g_assert_cmpuint(rereads_of(s, &a, &b), ==, 0);
	g_atomic_int_set(&fail_next, ENOSPC);
	g_assert_cmpint(simple(s, s->vt->content_sync, &a), ==, ENOSPC);
	diskstore_abandon(s);

	for (guint i = 0; i < 2; i++) {
		s = kit_open(path, 0);
		g_assert_cmpuint(rereads_of(s, &a, &b), ==, 2);
		diskstore_close(s);
	}

	g_autofree char *note = g_build_filename(path, "lost-writes", NULL);
	g_assert_true(g_file_set_contents(note, "00000000-0000-0000-0000-000000000000", -1, NULL));      /* the system started anew */
	s = kit_open(path, 0);
	g_assert_cmpuint(rereads_of(s, &a, &b), ==, 0);
	g_assert_false(g_file_test(note, G_FILE_TEST_EXISTS));
	diskstore_close(s);
	kit_remove(path);
}

#define EARLY_MIB 40u

/* Blocks of a MiB, each told from the others. */
static void write_blocks(Store *s, const MagmaFid *fid, guint from, guint n)
{
	for (guint i = from; i < from + n; i++) {
		guint8 *p = g_malloc(1 << 20);
		memset(p, 1 + i, 1 << 20);
		g_autoptr(GBytes) data = g_bytes_new_take(p, 1 << 20);
		Answer a = { 0 };
		store_content_write(s, fid, (guint64)i << 20, data, on_done, &a);
		kit_until(&a.done);
		g_assert_cmpint(a.error, ==, 0);
	}
}

static void assert_blocks(Store *s, const MagmaFid *fid, guint n)
{
	for (guint i = 0; i < n; i++) {
		Answer a = { 0 };
		gsize len;
		store_content_read(s, fid, (guint64)i << 20, 1 << 20, on_read, &a);
		kit_until(&a.done);
		const guint8 *p = g_bytes_get_data(a.data, &len);
		g_assert_cmpuint(len, ==, 1 << 20);
		g_assert_true(p[0] == 1 + i && p[len - 1] == 1 + i && !memcmp(p, p + 1, len - 1));
		g_bytes_unref(a.data);
	}
}

static void early_reset(int error)
{
	g_mutex_lock(&early_lock);
	early_end = early_calls = left_end = 0;
	early_error = error;
	g_mutex_unlock(&early_lock);
}

static void large_writes_go_to_the_disk_early_and_leave_an_unread_cache(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = kit_fid(30);

	for (guint unread = 0; unread < 2; unread++) {
		early_reset(0);
		s->log->set_unread(s, unread);
		write_blocks(s, &fid, 0, EARLY_MIB);
		assert_blocks(s, &fid, EARLY_MIB);
		g_assert_cmpint(simple(s, s->vt->content_sync, &fid), ==, 0);
		assert_blocks(s, &fid, EARLY_MIB);
		g_assert_cmpint(simple(s, s->vt->content_drop, &fid), ==, 0);      /* waits for what is under way */
		g_assert_cmpuint(early_end, ==, EARLY_MIB << 20);
		g_assert_cmpuint(early_calls, ==, EARLY_MIB / 8);
		g_assert_cmpuint(left_end, ==, unread ? (EARLY_MIB - 8) << 20 : 0);
	}
	diskstore_close(s);
	kit_remove(path);
}

/* Nor does anything small or scattered. */
static void what_is_not_written_in_a_row_waits_for_the_sync(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = kit_fid(31);

	early_reset(0);
	write_blocks(s, &fid, 0, 7);
	for (guint i = 0; i < 12; i++)
		write_blocks(s, &fid, i % 2 ? 20 : 100, 1);
	g_assert_cmpint(simple(s, s->vt->content_drop, &fid), ==, 0);
	g_assert_cmpuint(early_calls, ==, 0);
	diskstore_close(s);
	kit_remove(path);
}

/* The kernel may not tell it again. */
static void what_writing_early_lost_each_sync_tells(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = kit_fid(32);

	early_reset(ENOSPC);
	write_blocks(s, &fid, 0, 8);
	for (guint i = 0; i < 2; i++)
		g_assert_cmpint(simple(s, s->vt->content_sync, &fid), ==, ENOSPC);
	g_assert_cmpint(simple(s, s->vt->content_drop, &fid), ==, 0);
	early_reset(0);
	write_blocks(s, &fid, 0, 8);
	g_assert_cmpint(simple(s, s->vt->content_sync, &fid), ==, 0);
	diskstore_close(s);
	kit_remove(path);
}

static void note_failed(void *user, const char *text) { ++*(guint *)user; }

static void failed_already(void *user, int error)
{
	Answer *a = user;

	a->error = error;
	a->done = TRUE;
	g_assert_cmpuint(*a->failed, ==, 1);
}

/* Whoever asked must not be told: a copy may do what this disk cannot. */
static void broken_disk_fails_the_store_first(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = kit_fid(22);
	guint failed = 0;
	Answer a = { .failed = &failed };

	g_assert_cmpint(write_text(s, &fid, 0, "hello"), ==, 0);
	s->on_failed = note_failed;
	s->user = &failed;
	g_atomic_int_set(&fail_next, EIO);
	g_test_expect_message("magma", G_LOG_LEVEL_CRITICAL, "*content: changing a content: Input/output error");
	store_content_sync(s, &fid, failed_already, &a);
	kit_until(&a.done);
	g_test_assert_expected_messages();
	g_assert_cmpint(a.error, ==, EIO);
	s->on_failed = NULL;
	diskstore_abandon(s);
	kit_remove(path);
}

static void sync_of_a_missing_file_makes_no_name_durable(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaFid fid = kit_fid(21);
	g_autoptr(GBytes) data = g_bytes_new_static("x", 1);
	Answer a[3] = { 0 };

	g_atomic_int_set(&folder_syncs, 0);
	store_content_sync(s, &fid, on_done, &a[0]);
	store_content_write(s, &fid, 0, data, on_done, &a[1]);
	store_content_sync(s, &fid, on_done, &a[2]);
	kit_until(&a[2].done);
	g_assert_cmpint(a[2].error, ==, 0);
	g_assert_cmpint(g_atomic_int_get(&folder_syncs), >=, 3);
	/* A new file of the same name is a new name. */
	g_atomic_int_set(&folder_syncs, 0);
	memset(a, 0, sizeof a);
	store_content_drop(s, &fid, on_done, &a[0]);
	store_content_write(s, &fid, 0, data, on_done, &a[1]);
	store_content_sync(s, &fid, on_done, &a[2]);
	kit_until(&a[2].done);
	g_assert_cmpint(g_atomic_int_get(&folder_syncs), >=, 1);
	diskstore_close(s);
	kit_remove(path);
}

typedef struct {
	GArray *fids;
	guint next;
	gboolean done;
	int error;
} Listed;

static void on_list(void *user, int error, const MagmaFid *fids, guint n, guint next)
{
	Listed *l = user;

	l->error = error;
	l->next = next;
	l->done = TRUE;
	if (n)
		g_array_append_vals(l->fids, fids, n);
}

static gint by_ino(gconstpointer a, gconstpointer b)
{
	const MagmaFid *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void list_names_every_content_once(void)
{
	enum { FILES = 300 };
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	g_autoptr(GArray) fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	Listed l = { .fids = fids };
	guint asked = 0;

	for (guint i = 1; i <= FILES; i++) {
		MagmaFid fid = kit_fid(i);
		if (i % 50 == 0)
			fid.key = kit_fid(1).key;      /* several in one folder */
		g_assert_cmpint(write_text(s, &fid, 0, "x"), ==, 0);
	}
	MagmaFid gone = kit_fid(7);
	g_assert_cmpint(simple(s, s->vt->content_drop, &gone), ==, 0);
	while (l.next < STORE_FOLDERS) {
		l.done = FALSE;
		store_content_list(s, l.next, on_list, &l);
		kit_until(&l.done);
		g_assert_cmpint(l.error, ==, 0);
		asked++;
	}
	g_assert_cmpuint(asked, >, 1);      /* piece by piece */
	g_assert_cmpuint(fids->len, ==, FILES - 1);
	g_array_sort(fids, by_ino);
	for (guint i = 0, ino = 1; i < fids->len; i++, ino++) {
		ino += ino == gone.ino;
		g_assert_cmpuint(g_array_index(fids, MagmaFid, i).ino, ==, ino);
	}
	diskstore_close(s);
	kit_remove(path);
}

#define SLOW_FILES 12

static void journal_and_batches_do_not_wait_for_slow_syncs_of_contents(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	DiskStore *d = DISK(s);
	Answer answers[SLOW_FILES] = { { 0 } };
	guint n = 0;

	for (guint i = 0; i < SLOW_FILES; i++) {
		MagmaFid fid = kit_fid(100 + i);
		g_assert_cmpint(write_text(s, &fid, 0, "slow"), ==, 0);
	}
	set_slow(TRUE);
	for (guint i = 0; i < SLOW_FILES; i++) {
		MagmaFid fid = kit_fid(100 + i);
		store_content_sync(s, &fid, on_done, &answers[i]);
	}
	while (n < 4) {               /* as many as the shared lane has threads */
		g_mutex_lock(&slow_lock);
		n = slow_now;
		g_mutex_unlock(&slow_lock);
		g_thread_yield();
	}
	guint64 index = kit_put(s, TAB_META, "k", "v");
	g_assert_cmpint(kit_sync(s), ==, 0);
	for (gint64 until = g_get_monotonic_time() + 20 * G_USEC_PER_SEC; d->meta.applied < index; g_main_context_iteration(NULL, FALSE)) {
		g_assert_cmpint(g_get_monotonic_time(), <, until);
		disk_batch_check(d, TRUE);
		if (d->writer_job)
			pool_wait(d->pool, d->writer_job);
	}
	for (guint i = 0; i < SLOW_FILES; i++)
		g_assert_false(answers[i].done);
	set_slow(FALSE);
	for (guint i = 0; i < SLOW_FILES; i++) {
		kit_until(&answers[i].done);
		g_assert_cmpint(answers[i].error, ==, 0);
	}
	diskstore_close(s);
	kit_remove(path);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/content/missing_file_reads_as_empty", missing_file_reads_as_empty);
	g_test_add_func("/store/content/lives_from_first_write_to_drop", content_lives_from_first_write_to_drop);
	g_test_add_func("/store/content/offsets_out_of_range_are_refused", offsets_out_of_range_are_refused);
	g_test_add_func("/store/content/names_of_files_tell_their_flare", names_of_files_tell_their_flare);
	g_test_add_func("/store/content/overlapping_operations_take_effect_in_order", overlapping_operations_take_effect_in_order);
	g_test_add_func("/store/content/more_files_than_descriptors", more_files_than_descriptors);
	g_test_add_func("/store/content/failed_sync_is_told_until_the_drop", failed_sync_is_told_until_the_drop);
	g_test_add_func("/store/content/lives_after_a_lost_write_read_from_the_disk", lives_after_a_lost_write_read_from_the_disk);
	g_test_add_func("/store/content/large_writes_go_to_the_disk_early_and_leave_an_unread_cache", large_writes_go_to_the_disk_early_and_leave_an_unread_cache);
	g_test_add_func("/store/content/what_is_not_written_in_a_row_waits_for_the_sync", what_is_not_written_in_a_row_waits_for_the_sync);
	g_test_add_func("/store/content/what_writing_early_lost_each_sync_tells", what_writing_early_lost_each_sync_tells);
	g_test_add_func("/store/content/broken_disk_fails_the_store_first", broken_disk_fails_the_store_first);
	g_test_add_func("/store/content/sync_of_a_missing_file_makes_no_name_durable", sync_of_a_missing_file_makes_no_name_durable);
	g_test_add_func("/store/content/list_names_every_content_once", list_names_every_content_once);
	g_test_add_func("/store/content/journal_and_batches_do_not_wait_for_slow_syncs_of_contents", journal_and_batches_do_not_wait_for_slow_syncs_of_contents);
	return g_test_run();
}
