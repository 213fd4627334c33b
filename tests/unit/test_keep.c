/* DIR/lava.db: what was put last is there after any end, in the order of putting, and nothing is said to be kept that is not. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "magmad/keep.h"
#include "magmad/core/volcano.h"

/* The core asks for these; no volcano runs here. */
void *session_volcano_data(Session *s) { return NULL; }
void session_set_volcano_data(Session *s, void *data) { }

/* Instead of the C library's: a disk that fails syncs of lava.db itself, not of its log. */
static gboolean failing;

int fdatasync(int fd)
{
	char link[64], path[512];

	g_snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	gssize n = readlink(link, path, sizeof path - 1);
	path[MAX(n, 0)] = '\0';
	if (!failing || !g_str_has_suffix(path, "/lava.db"))
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}

int fsync(int fd) { return fdatasync(fd); }

/* A quota that what lava.db's log needs is behind, until this file goes. */
static const char *quota;

static gssize write_or_fail(int fd, const void *p, gsize n, off_t at)
{
	char link[64], path[512];

	g_snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	gssize len = quota ? readlink(link, path, sizeof path - 1) : 0;
	path[MAX(len, 0)] = '\0';
	if (!quota || !g_str_has_suffix(path, "-wal") || access(quota, F_OK) != 0)
		return syscall(SYS_pwrite64, fd, p, n, at);
	errno = EDQUOT;
	return -1;
}

gssize pwrite(int fd, const void *p, gsize n, off_t at) { return write_or_fail(fd, p, n, at); }

enum { MANY = 40 };

typedef struct {
	char *dir;
	GMainContext *ctx;
} Folder;

static void folder_make(Folder *f, gconstpointer data)
{
	f->dir = g_dir_make_tmp("magma-keep-XXXXXX", NULL);
	g_assert_nonnull(f->dir);
	f->ctx = g_main_context_new();
}

static void folder_remove(Folder *f, gconstpointer data)
{
	g_autofree char *path = g_build_filename(f->dir, "lava.db", NULL), *journal = g_strconcat(path, "-journal", NULL), *reserve = g_strconcat(path, "-reserve", NULL);

	g_unlink(path);
	g_rmdir(path);
	g_unlink(journal);
	g_unlink(reserve);
	g_assert_cmpint(g_rmdir(f->dir), ==, 0);
	g_free(f->dir);
	g_main_context_unref(f->ctx);
}

static Keep *keep_again(Folder *f, GBytes **value)
{
	g_autoptr(GError) error = NULL;
	Keep *k = keep_open(f->dir, f->ctx, FALSE, value, &error);

	g_assert_no_error(error);
	g_assert_nonnull(k);
	return k;
}

typedef struct {
	guint n;                      /* so many have ended */
	guint numbers[MANY];
} Ends;

typedef struct {
	Ends *ends;
	guint number;
} Put;

static void ended(void *user, int error)
{
	Put *p = user;

	g_assert_cmpint(error, ==, 0);
	p->ends->numbers[p->ends->n++] = p->number;
}

static void put_numbers(Keep *k, Ends *ends, Put *puts)
{
	for (guint i = 0; i < MANY; i++) {
		g_autoptr(GBytes) value = g_bytes_new(&i, sizeof i);
		puts[i] = (Put){ ends, i };
		keep_put(k, value, ended, &puts[i]);
	}
}

static guint number_in(GBytes *value)
{
	guint n;

	g_assert_nonnull(value);
	g_assert_cmpuint(g_bytes_get_size(value), ==, sizeof n);
	memcpy(&n, g_bytes_get_data(value, NULL), sizeof n);
	return n;
}

static void copy_to(const char *from, const char *to, const char *name)
{
	g_autofree char *was = g_build_filename(from, name, NULL), *is = g_build_filename(to, name, NULL), *bytes = NULL;
	gsize n;

	g_assert_true(g_file_get_contents(was, &bytes, &n, NULL));
	g_assert_true(g_file_set_contents(is, bytes, n, NULL));
}

/* What a life that is killed behind that leaves. */
static void put_and_die(Folder *f, guint8 with, gsize n)
{
	Folder other;
	g_autoptr(GBytes) before = NULL, value = g_bytes_new_take(memset(g_malloc(n), with, n), n);
	Ends ends = { 0 };
	Put put = { &ends, 0 };

	folder_make(&other, NULL);
	Keep *k = keep_again(&other, &before);
	keep_put(k, value, ended, &put);
	while (!ends.n)
		g_main_context_iteration(other.ctx, TRUE);
	copy_to(other.dir, f->dir, "lava.db");
	copy_to(other.dir, f->dir, "lava.db-wal");
	keep_close(k);
	folder_remove(&other, NULL);
}

/* Its log may be what could not be synced; a new sync of that would say that all is well. */
static void a_start_writes_anew_what_the_log_has(Folder *f, gconstpointer data)
{
	g_autoptr(GBytes) value = NULL, none = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_build_filename(f->dir, "lava.db", NULL), *log = g_strconcat(path, "-wal", NULL);
	struct stat st;

	put_and_die(f, 7, 10000);
	failing = TRUE;
	g_assert_null(keep_open(f->dir, f->ctx, FALSE, &none, &error));
	failing = FALSE;
	g_assert_nonnull(strstr(error->message, path));
	put_and_die(f, 8, 10000);
	Keep *k = keep_again(f, &value);
	g_assert_cmpint(stat(log, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, 0);
	g_assert_cmpuint(g_bytes_get_size(value), ==, 10000);
	g_assert_cmpuint(*(const guint8 *)g_bytes_get_data(value, NULL), ==, 8);
	keep_close(k);
}

static void empty_folder_holds_nothing(Folder *f, gconstpointer data)
{
	g_autoptr(GBytes) value = NULL;
	G_GNUC_UNUSED g_autoptr(Keep) k = keep_again(f, &value);

	g_assert_null(value);
}

static void puts_end_in_their_order_and_the_last_stays(Folder *f, gconstpointer data)
{
	g_autoptr(GBytes) before = NULL, after = NULL;
	Keep *k = keep_again(f, &before);
	Ends ends = { 0 };
	Put puts[MANY];

	put_numbers(k, &ends, puts);
	while (ends.n < MANY)
		g_main_context_iteration(f->ctx, TRUE);
	for (guint i = 0; i < MANY; i++)
		g_assert_cmpuint(ends.numbers[i], ==, i);
	keep_close(k);
	keep_close(keep_again(f, &after));
	g_assert_cmpuint(number_in(after), ==, MANY - 1);
}

/* A second process sees it as soon as done has been said, whatever becomes of the first. */
static void what_is_said_to_be_kept_is_on_the_disk(Folder *f, gconstpointer data)
{
	g_autoptr(GBytes) before = NULL, after = NULL, value = g_bytes_new_static("first", 5);
	g_autoptr(Keep) k = keep_again(f, &before);
	Ends ends = { 0 };
	Put put = { &ends, 0 };

	keep_put(k, value, ended, &put);
	while (!ends.n)
		g_main_context_iteration(f->ctx, TRUE);
	G_GNUC_UNUSED g_autoptr(Keep) other = keep_again(f, &after);
	g_assert_nonnull(after);
	g_assert_true(g_bytes_equal(after, value));
}

static void close_waits_for_what_was_put_and_tells_nobody(Folder *f, gconstpointer data)
{
	g_autoptr(GBytes) before = NULL, after = NULL;
	Keep *k = keep_again(f, &before);
	Ends ends = { 0 };
	Put puts[MANY];

	put_numbers(k, &ends, puts);
	keep_close(k);
	while (g_main_context_iteration(f->ctx, FALSE));
	g_assert_cmpuint(ends.n, ==, 0);
	keep_close(keep_again(f, &after));
	g_assert_cmpuint(number_in(after), ==, MANY - 1);
}

/* One that waits while a newer one does is never written: a slow disk has only the newest to do. */
static void of_those_that_wait_only_the_newest_is_written(Folder *f, gconstpointer data)
{
	enum { LARGE = 100000 };
	g_autoptr(GBytes) before = NULL;
	g_autofree char *log = g_build_filename(f->dir, "lava.db-wal", NULL);
	g_autofree guint8 *bytes = g_malloc0(LARGE);
	Keep *k = keep_again(f, &before);
	Ends ends = { 0 };
	Put puts[MANY];
	GStatBuf st;

	for (guint i = 0; i < MANY; i++) {
		memset(bytes, i + 1, LARGE);
		g_autoptr(GBytes) value = g_bytes_new(bytes, LARGE);
		puts[i] = (Put){ &ends, i };
		keep_put(k, value, ended, &puts[i]);
	}
	while (ends.n < MANY)
		g_main_context_iteration(f->ctx, TRUE);
	g_assert_cmpint(g_stat(log, &st), ==, 0);
	g_assert_cmpint(st.st_size, >=, LARGE);
	g_assert_cmpint(st.st_size, <, (MANY - 5) * LARGE);
	keep_close(k);
}

static void empty_and_large_values_come_back_as_they_were(Folder *f, gconstpointer data)
{
	static const gsize sizes[] = { 0, 1, 1000000 };

	for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autoptr(GBytes) before = NULL, after = NULL, value = g_bytes_new_take(g_malloc0(sizes[i] + 1), sizes[i]);
		Keep *k = keep_again(f, &before);
		Ends ends = { 0 };
		Put put = { &ends, 0 };
		keep_put(k, value, ended, &put);
		keep_close(k);
		keep_close(keep_again(f, &after));
		g_assert_nonnull(after);
		g_assert_true(g_bytes_equal(after, value));
	}
}

static void fill(const char *path)
{
	static const char zeros[65536];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	g_assert_cmpint(fd, >=, 0);
	for (gsize part = sizeof zeros; part; part /= 2)
		while (write(fd, zeros, part) == (gssize)part);
	g_assert_cmpint(errno, ==, ENOSPC);
	close(fd);
}

static gboolean may_mount(void)
{
	int status = -1;
	pid_t child = fork();

	if (!child)
		_exit(unshare(CLONE_NEWNS) != 0);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* A volcano that cannot keep its vote ends: a full disk must not do that. */
static void a_full_disk_still_takes_many_values(Folder *f, gconstpointer data)
{
	g_autoptr(GBytes) before = NULL, after = NULL;
	g_autofree char *filler = g_build_filename(f->dir, "filler", NULL), *reserve = g_build_filename(f->dir, "lava.db-reserve", NULL);

	if (!g_test_subprocess()) {   /* threads that are there already would stay in the old mount namespace */
		if (!may_mount()) {
			g_test_skip("no file system of its own can be mounted here");
			return;
		}
		g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
		g_test_trap_assert_passed();
		return;
	}
	g_assert_cmpint(unshare(CLONE_NEWNS), ==, 0);
	g_assert_cmpint(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), ==, 0);
	g_assert_cmpint(mount("magma-test", f->dir, "tmpfs", 0, "size=4m"), ==, 0);
	Keep *k = keep_again(f, &before);
	g_assert_cmpint(access(reserve, F_OK), ==, 0);
	fill(filler);
	for (guint i = 0; i < MANY * 10; i++) {
		g_autofree guint *bytes = g_new0(guint, 1000);
		bytes[0] = i;
		g_autoptr(GBytes) value = g_bytes_new(bytes, 4000);
		Ends ends = { 0 };
		Put put = { &ends, i };
		keep_put(k, value, ended, &put);
		while (!ends.n)
			g_main_context_iteration(f->ctx, TRUE);
	}
	g_assert_cmpint(access(reserve, F_OK), !=, 0);       /* else there was room without it */
	/* nothing is kept while there is room; then the disk is full again */
	g_assert_cmpint(g_unlink(filler), ==, 0);
	gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
	while (access(reserve, F_OK) != 0 && g_get_monotonic_time() < end)
		g_main_context_iteration(f->ctx, TRUE);
	g_assert_cmpint(access(reserve, F_OK), ==, 0);
	keep_close(k);
	keep_close(keep_again(f, &after));
	g_assert_cmpuint(*(const guint *)g_bytes_get_data(after, NULL), ==, MANY * 10 - 1);
	/* one that was killed has its last value in its log alone, and finds the disk full */
	put_and_die(f, 9, 200000);
	g_assert_cmpint(access(reserve, F_OK), ==, 0);
	fill(filler);
	g_autoptr(GBytes) last = NULL;
	keep_close(keep_again(f, &last));
	g_assert_cmpuint(g_bytes_get_size(last), ==, 200000);
	g_assert_cmpint(access(reserve, F_OK), !=, 0);
	g_assert_cmpint(umount(f->dir), ==, 0);
}

static void a_quota_is_a_full_disk(Folder *f, gconstpointer data)
{
	g_autoptr(GBytes) before = NULL, after = NULL;
	g_autofree char *reserve = g_build_filename(f->dir, "lava.db-reserve", NULL);
	Keep *k = keep_again(f, &before);
	Ends ends = { 0 };
	Put puts[MANY];

	if (access(reserve, F_OK) != 0) {
		g_test_skip("this file system reserves nothing");
		keep_close(k);
		return;
	}
	quota = reserve;
	put_numbers(k, &ends, puts);
	while (ends.n < MANY)
		g_main_context_iteration(f->ctx, TRUE);
	quota = NULL;
	keep_close(k);
	keep_close(keep_again(f, &after));
	g_assert_cmpuint(number_in(after), ==, MANY - 1);
}

static void what_cannot_be_opened_is_named(Folder *f, gconstpointer data)
{
	g_autofree char *path = g_build_filename(f->dir, "lava.db", NULL);
	g_autoptr(GError) folder = NULL, bytes = NULL;
	g_autoptr(GBytes) value = NULL;

	g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
	g_assert_null(keep_open(f->dir, f->ctx, FALSE, &value, &folder));
	g_assert_nonnull(strstr(folder->message, path));
	g_assert_cmpint(g_rmdir(path), ==, 0);
	g_assert_true(g_file_set_contents(path, "This is no database, and long enough to be looked at: it has more than the hundred bytes of a header, all of them wrong.", -1, NULL));
	g_assert_null(keep_open(f->dir, f->ctx, FALSE, &value, &bytes));
	g_assert_nonnull(strstr(bytes->message, path));
	g_assert_null(value);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/keep/" #name, Folder, NULL, folder_make, name, folder_remove)
	TEST(empty_folder_holds_nothing);
	TEST(a_start_writes_anew_what_the_log_has);
	TEST(puts_end_in_their_order_and_the_last_stays);
	TEST(what_is_said_to_be_kept_is_on_the_disk);
	TEST(close_waits_for_what_was_put_and_tells_nobody);
	TEST(of_those_that_wait_only_the_newest_is_written);
	TEST(empty_and_large_values_come_back_as_they_were);
	TEST(a_full_disk_still_takes_many_values);
	TEST(a_quota_is_a_full_disk);
	TEST(what_cannot_be_opened_is_named);
#undef TEST
	return g_test_run();
}
