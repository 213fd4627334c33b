/* The folder: who may open it, what is refused, what happens when it is full; and what reaches sqlite at all. */
#include "tests/unit/store_kit.h"
#include "libmagma/base/wire.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void folder_is_locked_while_open(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	g_autofree char *why = kit_refused(path), *text = g_strdup_printf("%s is used by another magmad (pid %ld)", path, (long)getpid());

	g_assert_cmpstr(why, ==, text);
	diskstore_close(s);
	int fd = diskstore_lock(path, NULL);
	g_assert_cmpint(fd, >=, 0);
	DiskStoreConfig cfg = { .dir = path, .lock_fd = fd };
	s = diskstore_open(&cfg, NULL);
	g_assert_nonnull(s);
	diskstore_close(s);
	s = kit_open(path, 0);        /* free again */
	diskstore_close(s);
	kit_remove(path);
}

static void set_format(const char *path, const char *text)
{
	g_autofree char *conf = g_build_filename(path, "volcano.conf", NULL);
	g_assert_true(g_file_set_contents(conf, text, -1, NULL));
}

static void only_a_volcano_of_this_format_is_opened(void)
{
	char *path = kit_dir();
	g_autoptr(GError) error = NULL;
	g_autofree char *none = kit_refused(path);

	g_assert_nonnull(strstr(none, "holds no volcano"));
	g_assert_true(diskstore_create(path, &error));
	g_assert_false(diskstore_create(path, &error));
	g_assert_nonnull(strstr(error->message, "already holds a volcano"));
	set_format(path, "[store]\nformat=7\n");
	g_autofree char *newer = kit_refused(path), *begin = g_strdup_printf("%s has format 7, this magmad knows %d: it was written by a newer", path, DISKSTORE_FORMAT);
	g_assert_true(g_str_has_prefix(newer, begin));
	set_format(path, "[store]\nformat=1\n");
	g_autofree char *older = kit_refused(path), *said = g_strdup_printf("%s has format 1, this magmad knows %d: it was written by a version whose format is not read any more", path, DISKSTORE_FORMAT);
	g_assert_cmpstr(older, ==, said);
	set_format(path, "rubbish");
	g_autofree char *rubbish = kit_refused(path);
	g_assert_nonnull(strstr(rubbish, "volcano.conf"));
	kit_remove(path);
	g_autofree char *gone = kit_refused("/nonexistent/magma");
	g_assert_cmpstr(gone, ==, "/nonexistent/magma: there is no such folder");
}

static void folders_of_others_are_not_taken(void)
{
	char *path = kit_dir();
	g_autofree char *file = g_build_filename(path, "thesis.tex", NULL);
	g_autoptr(GError) error = NULL;
	struct stat st;

	g_assert_true(g_file_set_contents(file, "x", -1, NULL));
	g_assert_false(diskstore_create(path, &error));
	g_assert_nonnull(strstr(error->message, "is not empty and holds no volcano (there is a thesis.tex)"));
	g_unlink(file);
	g_clear_error(&error);
	int fd = diskstore_lock(path, &error);        /* the daemon locks before it makes */
	g_assert_true(diskstore_create(path, &error));
	close(fd);
	g_autofree char *conf = g_build_filename(path, "volcano.conf", NULL);
	g_assert_cmpint(g_stat(conf, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 0777, ==, 0600);
	kit_remove(path);
}

/* --- what reaches sqlite --- */

static void sink(void *user, char channel, const char *line)
{
	g_string_append_printf(user, "%c %s\n", channel, line);
}

static void born_and_died_never_reach_sqlite(void)
{
	char *path = kit_dir();
	g_autoptr(GString) log = g_string_new(NULL);
	MagmaTrace trace = { .on = 1u << magma_trace_bit('s'), .sink = sink, .user = log };
	g_autoptr(GError) error = NULL;

	g_assert_true(diskstore_create(path, &error));
	DiskStoreConfig cfg = { .dir = path, .trace = &trace, .segment_bytes = 1 << 18 };
	Store *s = diskstore_open(&cfg, &error);
	for (guint i = 0; i < 50; i++) {
		g_autofree char *key = g_strdup_printf("%u", i);
		kit_put(s, TAB_REPLY, key, "reply");                     /* never asked for: resident tables know that it is new */
		g_free(kit_get(s, TAB_ENTRY, key, 1));                   /* asked for: known to be absent */
		kit_put(s, TAB_ENTRY, "name", "1");
		kit_del(s, TAB_REPLY, key);
	}
	g_free(kit_get(s, TAB_XATTR, "x", 1));
	kit_put(s, TAB_XATTR, "x", "1");
	kit_put(s, TAB_XATTR, "x", "2");
	kit_del(s, TAB_XATTR, "x");
	kit_put(s, TAB_XATTR, "y", "there");
	g_autofree char *all = kit_scan(s, TAB_XATTR, "", 10);
	g_assert_cmpstr(all, ==, "y=there,");
	g_assert_true(diskstore_write_out(s));
	g_assert_null(strstr(log->str, "INTO reply"));
	g_assert_null(strstr(log->str, "FROM reply WHERE k="));
	g_assert_null(strstr(log->str, "VALUES(x'78'"));
	g_assert_null(strstr(log->str, "DELETE FROM xattr"));
	g_assert_nonnull(strstr(log->str, "REPLACE INTO xattr(k, rk, v) VALUES(x'79'"));
	/* What sqlite has must be deleted there. */
	kit_del(s, TAB_XATTR, "y");
	kit_put(s, TAB_XATTR, "y", "again");
	kit_del(s, TAB_XATTR, "y");
	g_autofree char *none = kit_scan(s, TAB_XATTR, "", 10);
	g_assert_cmpstr(none, ==, "");
	g_assert_true(diskstore_write_out(s));
	g_assert_nonnull(strstr(log->str, "DELETE FROM xattr WHERE k=x'79'"));
	diskstore_close(s);
	kit_remove(path);
}

/* --- reads that must wait for the disk --- */

typedef struct {
	Fetch fetch;
	guint readies;
} Counting;

static void on_failed(void *user, const char *text) { *(char **)user = g_strdup(text); }
static void on_ready(Fetch *f) { ((Counting *)f)->readies++; }

static void drop_page_cache(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	fdatasync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

typedef struct {
	Store *s;
	guint asked, answered;
} Chain;

static void on_link(void *user, int error)
{
	Chain *c = user;

	g_assert_cmpint(error, ==, 0);
	if (++c->answered == c->asked)
		return;
	g_autofree char *key = g_strdup_printf("%u", c->answered);
	kit_put(c->s, TAB_XATTR, key, "x");
	store_sync(c->s, on_link, c);
}

/* Whoever asked goes away behind a quiesce: an answer that comes later would find freed memory. */
static void quiesce_leaves_no_sync_unanswered(void)
{
	char *path = kit_dir();
	Chain c = { .s = kit_open(path, 0), .asked = 3 };

	kit_put(c.s, TAB_XATTR, "0", "x");
	store_sync(c.s, on_link, &c);
	diskstore_quiesce(c.s);
	g_assert_cmpuint(c.answered, ==, 3);
	diskstore_close(c.s);
	g_assert_cmpuint(c.answered, ==, 3);
	kit_remove(path);
}

static void cold_rows_come_through_the_pool(void)
{
	/* Under /var/tmp: a tmpfs has no disk to wait for. */
	char *path = g_strdup("/var/tmp/magma-store-XXXXXX"), *text = g_strnfill(1500, 'x');
	g_assert_nonnull(g_mkdtemp(path));
	Store *s = kit_open(path, 0);
	guint pending = 0;

	for (guint i = 1000; i < 3000; i++) {
		g_autofree char *key = g_strdup_printf("%u", i);
		kit_put(s, TAB_XATTR, key, text);
	}
	diskstore_close(s);
	drop_page_cache(path, "state.db");
	s = kit_open(path, 0);
	drop_page_cache(path, "state.db");
	Counting c = { .fetch = { .ready = on_ready } };
	for (guint i = 1000; i < 3000; i += 100) {
		g_autofree char *key = g_strdup_printf("%u", i);
		const guint8 *val;
		gsize n;
		StoreGet got = store_get(s, &c.fetch, TAB_XATTR, key, 4, &val, &n);
		g_assert_cmpint(got, !=, STORE_ABSENT);
		pending += got == STORE_PENDING;
		g_assert_cmpint(store_get(s, &c.fetch, TAB_XATTR, key, 4, &val, &n), ==, got);     /* asked twice, noted once */
	}
	g_assert_cmpuint(c.fetch.pending, ==, pending);
	if (!pending) {
		g_test_skip("this file system answers every read at once");
	} else {
		/* A commit overtakes the read: its value counts. */
		kit_put(s, TAB_XATTR, "1000", "new");
		while (!c.readies)
			g_main_context_iteration(NULL, TRUE);
		g_assert_cmpuint(c.readies, ==, 1);
		for (guint i = 1000; i < 3000; i += 100) {
			g_autofree char *key = g_strdup_printf("%u", i);
			const guint8 *val;
			gsize n;
			g_assert_cmpint(store_get(s, &c.fetch, TAB_XATTR, key, 4, &val, &n), ==, STORE_FOUND);
			g_assert_cmpuint(n, ==, i == 1000 ? 3 : 1500);
		}
	}
	store_fetch_clear(s, &c.fetch);
	/* An operation that goes away while it waits for what another waits for too. */
	diskstore_close(s);
	drop_page_cache(path, "state.db");
	s = kit_open(path, 0);
	drop_page_cache(path, "state.db");
	Counting gone = { .fetch = { .ready = on_ready } }, stays = { .fetch = { .ready = on_ready } };
	const guint8 *val;
	gsize n;
	StoreGet got = store_get(s, &gone.fetch, TAB_XATTR, "2050", 4, &val, &n);
	g_assert_cmpint(store_get(s, &stays.fetch, TAB_XATTR, "2050", 4, &val, &n), ==, got);
	store_fetch_clear(s, &gone.fetch);
	gone.fetch.pending = 1;       /* as if it waited for something else by now */
	while (got == STORE_PENDING && !stays.readies)
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpuint(gone.readies, ==, 0);
	store_fetch_clear(s, &stays.fetch);
	diskstore_close(s);
	g_free(text);
	kit_remove(path);
}

/* --- too many open files --- */

static void on_scanned(void *user, int error, const StoreRow *rows, guint n, gboolean eof) { *(int *)user = error; }

/* That is no broken disk: who asked hears what it is, or waits until it is over. */
static void too_many_open_files_are_no_broken_disk(void)
{
	char *path = g_strdup("/var/tmp/magma-store-XXXXXX"), *text = g_strnfill(1500, 'x'), *why = NULL;
	struct rlimit was, few;
	int error = -1;

	g_assert_nonnull(g_mkdtemp(path));
	Store *s = kit_open(path, 0);
	for (guint i = 1000; i < 3000; i++) {
		g_autofree char *key = g_strdup_printf("%u", i);
		kit_put(s, TAB_XATTR, key, text);
	}
	diskstore_close(s);
	drop_page_cache(path, "state.db");
	s = kit_open(path, 0);
	drop_page_cache(path, "state.db");
	s->on_failed = on_failed;
	s->user = &why;
	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &was), ==, 0);
	few = (struct rlimit){ .rlim_cur = 0, .rlim_max = was.rlim_max };
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &few), ==, 0);
	g_test_expect_message("magma", G_LOG_LEVEL_WARNING, "*state.db*");
	store_scan(s, TAB_XATTR, "", 0, "", 0, 10, on_scanned, &error);
	diskstore_quiesce(s);
	g_test_assert_expected_messages();
	g_assert_cmpint(error, ==, EMFILE);
	Counting c = { .fetch = { .ready = on_ready } };
	const guint8 *val;
	gsize n;
	gboolean pending = store_get(s, &c.fetch, TAB_XATTR, "2050", 4, &val, &n) == STORE_PENDING;
	if (pending)
		g_test_expect_message("magma", G_LOG_LEVEL_WARNING, "*state.db*trying again*");
	diskstore_quiesce(s);
	g_test_assert_expected_messages();
	g_assert_cmpuint(c.readies, ==, 0);
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &was), ==, 0);
	while (pending && !c.readies)
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpint(store_get(s, &c.fetch, TAB_XATTR, "2050", 4, &val, &n), ==, STORE_FOUND);
	store_fetch_clear(s, &c.fetch);
	g_assert_null(why);
	diskstore_close(s);
	g_free(text);
	kit_remove(path);
}

/* --- a full disk --- */

static void on_error(void *user, int error)
{
	*(int *)user = error;
}

static int wait_error(int *e)
{
	while (*e < 0)
		g_main_context_iteration(NULL, TRUE);
	return *e;
}

/* In the child, in a mount namespace of its own. Exit status: the line that failed, or 0. */
#define CHECK(x) do { if (!(x)) { g_printerr("line %d: %s\n", __LINE__, #x); _exit(1); } } while (0)

static void fill_small_disk(const char *dir)
{
	Store *s = kit_open(dir, 0);
	g_autofree char *chunk = g_malloc0(1 << 20), *text = g_strnfill(1000, 'x');
	g_autoptr(GBytes) data = g_bytes_new_static(chunk, 1 << 20);
	MagmaFid fid = kit_fid(1);
	StoreUsage u;
	guint n = 0;
	int e;

	do {
		e = -1;
		store_content_write(s, &fid, (guint64)n++ << 20, data, on_error, &e);
	} while (wait_error(&e) == 0 && n < 100);
	CHECK(e == ENOSPC);
	s->vt->usage(s, &u);
	CHECK(u.low);
	CHECK(u.total < 70 << 20);
	/* Every byte is taken; what frees space can still be committed, acknowledged and synced. */
	guint64 index = 0;
	for (guint i = 0; i < 100; i++)
		index = kit_put(s, TAB_ORPHAN, "12345678", text);
	kit_acked(s, index);
	CHECK(kit_sync(s) == 0);
	e = -1;
	store_content_drop(s, &fid, on_error, &e);
	CHECK(wait_error(&e) == 0);
	gint64 until = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
	do {
		g_main_context_iteration(NULL, FALSE);
		s->vt->usage(s, &u);
		g_usleep(10000);
	} while (u.low && g_get_monotonic_time() < until);
	CHECK(!u.low);
	g_autofree char *orphan = kit_get(s, TAB_ORPHAN, "12345678", 8);
	CHECK(orphan && strlen(orphan) == 1000);
	diskstore_close(s);
	s = kit_open(dir, 0);
	g_autofree char *again = kit_get(s, TAB_ORPHAN, "12345678", 8);
	CHECK(again && strlen(again) == 1000);
	diskstore_close(s);
}

static gboolean fill_with(const char *path)
{
	g_autofree char *chunk = g_malloc0(1 << 20);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	gsize part = 1 << 20;

	while (part >= 4096)
		if (write(fd, chunk, part) != (ssize_t)part)
			part /= 2;
	return fd >= 0 && close(fd) == 0;
}

static gboolean wait_low(Store *s, gboolean low)
{
	gint64 until = g_get_monotonic_time() + 6 * G_USEC_PER_SEC;
	StoreUsage u;

	do {
		g_main_context_iteration(NULL, FALSE);
		s->vt->usage(s, &u);
		g_usleep(5000);
	} while (u.low != low && g_get_monotonic_time() < until);
	return u.low == low;
}

/* Somebody else takes the last byte. */
static void fill_by_others(const char *dir)
{
	Store *s = kit_open(dir, 0);
	g_autofree char *other = g_build_filename(dir, "other", NULL), *text = g_strnfill(100, 'x');
	StoreUsage u;

	CHECK(fill_with(other));
	s->vt->usage(s, &u);
	guint64 before = u.batches;
	for (guint i = 0; i < 500; i++) {
		g_autofree char *key = g_strdup_printf("%u", i);
		kit_put(s, TAB_XATTR, key, text);
	}
	CHECK(!diskstore_write_out(s));               /* not at first, */
	CHECK(wait_low(s, TRUE));
	CHECK(diskstore_write_out(s));                /* but in the reserve */
	s->vt->usage(s, &u);
	CHECK(u.batches == before + 1);
	g_autofree char *some = kit_scan(s, TAB_XATTR, "49", 1000);
	CHECK(strlen(some) > 11 * 100);
	g_unlink(other);
	CHECK(wait_low(s, FALSE));
	diskstore_close(s);
}

static void full_disk_still_frees_space(void)
{
	if (getuid() != 0) {
		g_test_skip("needs root for a mount namespace");
		return;
	}
	char *path = kit_dir();
	pid_t pid = fork();
	if (pid == 0) {
		g_log_set_always_fatal(G_LOG_LEVEL_ERROR);        /* that the disk is full is warned of */
		if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("tmpfs", path, "tmpfs", 0, "size=64m") != 0)
			_exit(77);
		fill_small_disk(path);
		fill_by_others(path);
		_exit(0);
	}
	int status;
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		g_test_skip("mount namespaces are not allowed here");
	else
		g_assert_cmpint(status, ==, 0);
	kit_remove(path);
}

/* --- a journal that cannot be written --- */

static void failure_of_the_journal_stops_acknowledging(void)
{
	char *path = kit_dir(), *why = NULL;
	Store *s = kit_open(path, 0);

	s->on_failed = on_failed;
	s->user = &why;
	guint64 acked = kit_put(s, TAB_META, "a", "1");
	kit_acked(s, acked);
	/* The descriptor of the segment turns into one that cannot be written. */
	for (int fd = 3; fd < 64; fd++) {
		char name[512], link[64];
		g_snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(link, name, sizeof name - 1);
		if (n <= 0)
			continue;
		name[n] = '\0';
		if (!strstr(name, "/journal/0000000000000001.log"))
			continue;
		int bad = open("/dev/full", O_RDONLY | O_CLOEXEC);
		g_assert_cmpint(dup2(bad, fd), ==, fd);
		close(bad);
	}
	g_test_expect_message("magma", G_LOG_LEVEL_CRITICAL, "*0000000000000001.log: cannot write the journal*");
	kit_put(s, TAB_META, "b", "2");
	diskstore_flush(s);
	g_test_assert_expected_messages();
	g_assert_nonnull(why);
	g_assert_cmpuint(store_acked(s), ==, acked);
	diskstore_abandon(s);
	g_free(why);
	s = kit_open(path, 0);
	g_autofree char *b = kit_get(s, TAB_META, "b", 1);
	g_assert_null(b);
	diskstore_close(s);
	kit_remove(path);
}

static void too_long_a_key_is_refused_by_name(void)
{
	char *path = kit_dir();
	g_autofree char *file = g_build_filename(path, "state.db", NULL);
	sqlite3 *db = NULL;

	diskstore_close(kit_open(path, 0));
	g_assert_cmpint(sqlite3_open(file, &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, "INSERT INTO reply VALUES(zeroblob(5000), zeroblob(32), x'00')", NULL, NULL, NULL), ==, SQLITE_OK);
	sqlite3_close(db);
	g_autofree char *why = kit_refused(path), *text = g_strdup_printf("%s: a row of reply has a key of 5000 bytes", file);
	g_assert_cmpstr(why, ==, text);
	kit_remove(path);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/dir/folder_is_locked_while_open", folder_is_locked_while_open);
	g_test_add_func("/store/dir/only_a_volcano_of_this_format_is_opened", only_a_volcano_of_this_format_is_opened);
	g_test_add_func("/store/dir/folders_of_others_are_not_taken", folders_of_others_are_not_taken);
	g_test_add_func("/store/dir/born_and_died_never_reach_sqlite", born_and_died_never_reach_sqlite);
	g_test_add_func("/store/dir/too_many_open_files_are_no_broken_disk", too_many_open_files_are_no_broken_disk);
	g_test_add_func("/store/dir/quiesce_leaves_no_sync_unanswered", quiesce_leaves_no_sync_unanswered);
	g_test_add_func("/store/dir/cold_rows_come_through_the_pool", cold_rows_come_through_the_pool);
	g_test_add_func("/store/dir/full_disk_still_frees_space", full_disk_still_frees_space);
	g_test_add_func("/store/dir/failure_of_the_journal_stops_acknowledging", failure_of_the_journal_stops_acknowledging);
	g_test_add_func("/store/dir/too_long_a_key_is_refused_by_name", too_long_a_key_is_refused_by_name);
	return g_test_run();
}
