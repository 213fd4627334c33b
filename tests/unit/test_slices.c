/* The stores of slices: made from a spare, removed by a thread, both while the loop goes on; what a crash leaves of a removed one goes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "libmagma/lava/conflict.h"
#include "magmad/conflicts.h"
#include "magmad/identity.h"
#include "magmad/slices.h"
#include "tests/unit/store_kit.h"

/* Instead of the C library's: a disk that does not sync the folder of this name. */
static const char *failing;

int fsync(int fd)
{
	char link[64], path[512];

	g_snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = failing ? readlink(link, path, sizeof path - 1) : 0;
	path[MAX(n, 0)] = '\0';
	if (!failing || !g_str_has_suffix(path, failing))
		return (int)syscall(SYS_fsync, fd);
	errno = EIO;
	return -1;
}

static Slices *open_in(const char *dir)
{
	DiskStoreConfig cfg = { .dir = dir, .segment_bytes = 1 << 18 };

	return slices_new(&cfg);
}

static gboolean there(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, "slices", name, NULL);

	return access(path, F_OK) == 0;
}

/* The thread tells nobody. */
static void until(const char *dir, const char *name, gboolean wanted)
{
	gint64 limit = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

	while (there(dir, name) != wanted) {
		g_assert_cmpint(g_get_monotonic_time(), <, limit);
		g_usleep(1000);
	}
}

static void removed_at_once(void)
{
	char *dir = kit_dir();
	Slices *s = open_in(dir);
	Store *a = slices_open(s, 7, NULL);

	g_assert_nonnull(a);
	kit_acked(a, kit_put(a, TAB_ENTRY, "k", "v"));
	slices_close(s, 7, TRUE);
	g_assert_false(there(dir, "00007"));
	until(dir, "removed-1", FALSE);
	/* the same id again is another, empty one */
	a = slices_open(s, 7, NULL);
	g_assert_nonnull(a);
	g_autofree char *was = kit_get(a, TAB_ENTRY, "k", 1);
	g_assert_null(was);
	slices_close(s, 7, FALSE);
	g_assert_true(there(dir, "00007"));
	slices_free(s);
	kit_remove(dir);
}

static void spare_is_used(void)
{
	char *dir = kit_dir();
	Slices *s = open_in(dir);
	g_autofree char *spare = g_build_filename(dir, "slices", "spare", NULL);
	gboolean taken = FALSE;

	g_assert_false(there(dir, "spare"));           /* who holds no other slices has none */
	g_assert_nonnull(slices_open(s, 1, NULL));
	/* the folder is whole a moment before the thread says so: then one more is made without it */
	for (guint16 id = 2; id < 100 && !taken; id++) {
		struct stat was, is;
		g_autofree char *name = g_strdup_printf("%05u", id), *path = g_build_filename(dir, "slices", name, NULL);
		until(dir, "spare/volcano.conf", TRUE);
		g_assert_cmpint(stat(spare, &was), ==, 0);
		Store *b = slices_open(s, id, NULL);
		g_assert_nonnull(b);
		kit_acked(b, kit_put(b, TAB_ENTRY, "k", "v"));
		g_assert_cmpint(stat(path, &is), ==, 0);
		taken = is.st_ino == was.st_ino;
		slices_close(s, id, FALSE);
	}
	g_assert_true(taken);
	slices_close(s, 1, FALSE);
	slices_free(s);
	kit_remove(dir);
}

/* Each asks for a spare: the next one may be taken while the thread looks at what else it was asked. */
static void many_are_opened_at_once(void)
{
	char *dir = kit_dir();

	for (guint round = 0; round < 10; round++) {
		Slices *s = open_in(dir);
		for (guint16 id = 1; id <= 6; id++) {
			g_autoptr(GError) error = NULL;
			Store *b = slices_open(s, round * 10 + id, &error);
			g_assert_no_error(error);
			kit_acked(b, kit_put(b, TAB_ENTRY, "k", "v"));
			g_usleep(round * 500);
		}
		for (guint16 id = 1; id <= 6; id++)
			slices_close(s, round * 10 + id, id % 2);
		slices_free(s);
	}
	kit_remove(dir);
}

/* A slice's store that a power cut takes with its name would be an empty one again. */
static void new_ones_are_on_disk(void)
{
	char *dir = kit_dir();
	g_autofree char *deep = g_build_filename(dir, "above", "slices", "00001", NULL);
	static const char *const folders[] = { "/above", "/slices", "/slices/00001" };

	for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autoptr(GError) error = NULL;
		failing = folders[i];
		g_assert_false(diskstore_create(deep, &error));
		g_assert_cmpint(error->code, ==, EIO);
		failing = NULL;
		g_autofree char *above = g_build_filename(dir, "above", NULL);
		folder_remove(above, NULL);
	}
	Slices *s = open_in(dir);
	g_assert_nonnull(slices_open(s, 1, NULL));
	until(dir, "spare/volcano.conf", TRUE);
	failing = "/slices";
	g_autoptr(GError) error = NULL;
	g_assert_null(slices_open(s, 2, &error));
	failing = NULL;
	g_assert_cmpint(error->code, ==, EIO);
	slices_close(s, 1, FALSE);
	slices_free(s);
	kit_remove(dir);
}

static void leftovers_go(void)
{
	char *dir = kit_dir();
	g_autofree char *deep = g_build_filename(dir, "slices", "removed-3", "content", "00", NULL), *file = g_build_filename(deep, "f", NULL);

	g_assert_cmpint(g_mkdir_with_parents(deep, 0700), ==, 0);
	g_assert_true(g_file_set_contents(file, "x", 1, NULL));
	Slices *s = open_in(dir);
	until(dir, "removed-3", FALSE);
	slices_free(s);
	kit_remove(dir);
}

/* A crash while a spare was being made: it has no volcano.conf. */
static void half_a_spare(void)
{
	char *dir = kit_dir();
	g_autofree char *half = g_build_filename(dir, "slices", "spare", "journal", NULL);

	g_assert_cmpint(g_mkdir_with_parents(half, 0700), ==, 0);
	Slices *s = open_in(dir);
	g_assert_nonnull(slices_open(s, 1, NULL));
	until(dir, "spare/volcano.conf", TRUE);
	slices_close(s, 1, FALSE);
	slices_free(s);
	kit_remove(dir);
}

/* A killed volcano's journal. */
static void what_was_set_aside_is_opened_without_its_journal(void)
{
	char *dir = kit_dir();
	g_autofree char *path = g_build_filename(dir, "conflicts", "20260131T091244Z", NULL);
	guint64 time = 0;
	StoreUsage u;

	g_assert_true(magma_conflict_time_parse("20260131T091244Z", &time));
	g_autofree char *parent = g_path_get_dirname(path);
	g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
	g_assert_true(diskstore_create(path, NULL));
	DiskStoreConfig cfg = { .dir = path, .segment_bytes = 1 << 18 };
	Store *s = diskstore_open(&cfg, NULL);
	g_assert_nonnull(s);
	kit_acked(s, kit_put(s, TAB_ENTRY, "k", "v"));
	diskstore_abandon(s);
	cfg.dir = dir;
	Conflicts *c = conflicts_new(&cfg);
	GPtrArray *stores = conflicts_open(c, time, NULL);
	g_assert_nonnull(stores);
	g_assert_cmpuint(stores->len, ==, 1);
	s = stores->pdata[0];
	s->vt->usage(s, &u);
	g_assert_cmpuint(u.open_batch_rows, ==, 0);
	g_autofree char *is = kit_get(s, TAB_ENTRY, "k", 1);
	g_assert_cmpstr(is, ==, "v");
	conflicts_close(c, stores);
	conflicts_free(c);
	kit_remove(dir);
}

/* --- setting aside, cut off anywhere --- */

static char *in(const char *dir, const char *name) { return g_build_filename(dir, name, NULL); }

/* A volcano's folder with a store that holds one row. */
static char *volcano_dir(void)
{
	char *dir = kit_dir();
	g_autofree char *slices = in(dir, "slices"), *slice = in(slices, "00001");

	diskstore_close(kit_open(dir, 0));
	Store *s = kit_open(dir, 0);
	kit_acked(s, kit_put(s, TAB_ENTRY, "k", "old"));
	g_assert_true(diskstore_write_out(s));
	kit_acked(s, kit_put(s, TAB_ENTRY, "l", "old"));
	diskstore_abandon(s);
	g_assert_cmpint(g_mkdir_with_parents(slice, 0700), ==, 0);
	return dir;
}

static guint asides(const char *dir)
{
	DiskStoreConfig cfg = { .dir = dir };
	Conflicts *c = conflicts_new(&cfg);
	GArray *all = conflicts_list(c);
	guint n = all->len;

	g_array_unref(all);
	conflicts_free(c);
	return n;
}

static void holds(const char *dir, const char *k, const char *l)
{
	Store *s = kit_open(dir, 0);
	g_autofree char *is_k = kit_get(s, TAB_ENTRY, "k", 1), *is_l = kit_get(s, TAB_ENTRY, "l", 1);

	g_assert_cmpstr(is_k, ==, k);
	g_assert_cmpstr(is_l, ==, l);
	diskstore_abandon(s);
}

/* A start that was cut off behind so many renames, then one that is not. */
static void aside_cut_off_behind(guint moved)
{
	static const char *const order[] = { "journal", "content", "slices", "state.db-wal", "state.db-shm", "state.db-journal", "state.db" };
	char *dir = volcano_dir();
	g_autofree char *to = g_build_filename(dir, "conflicts", "20260131T091244Z", NULL);
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(g_mkdir_with_parents(to, 0700), ==, 0);
	for (guint i = 0; i < moved; i++) {
		g_autofree char *was = in(dir, order[i]), *is = in(to, order[i]);
		g_assert_true(rename(was, is) == 0 || errno == ENOENT);
	}
	g_autofree char *left = folder_aside_left(dir);
	g_assert_cmpstr(left, ==, moved == G_N_ELEMENTS(order) ? to : NULL);
	/* the new one was made in part, or whole, too */
	for (guint twice = 0; twice < 2; twice++) {
		g_autofree char *where = folder_set_aside(dir, &error);
		g_assert_no_error(error);
		g_assert_cmpstr(where, ==, to);
		g_assert_true(diskstore_create_again(dir, &error));
	}
	g_assert_true(diskstore_adopt(to, &error));
	g_assert_null(folder_aside_left(dir));
	g_assert_cmpuint(asides(dir), ==, 1);
	holds(to, "old", "old");
	g_autofree char *slice = g_build_filename(to, "slices", "00001", NULL);
	g_assert_cmpint(access(slice, F_OK), ==, 0);
	holds(dir, NULL, NULL);
	/* the next time is another one */
	g_autofree char *next = folder_set_aside(dir, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(next, !=, to);
	kit_remove(dir);
}

static void aside_cut_off(void)
{
	for (guint moved = 0; moved <= 7; moved++)
		aside_cut_off_behind(moved);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/slices/a_removed_one_is_gone_at_once", removed_at_once);
	g_test_add_func("/slices/a_new_one_is_the_spare", spare_is_used);
	g_test_add_func("/slices/many_are_opened_at_once", many_are_opened_at_once);
	g_test_add_func("/slices/what_a_crash_left_is_removed", leftovers_go);
	g_test_add_func("/slices/what_was_set_aside_is_opened_without_its_journal", what_was_set_aside_is_opened_without_its_journal);
	g_test_add_func("/slices/new_ones_are_on_disk", new_ones_are_on_disk);
	g_test_add_func("/slices/half_a_spare_is_made_anew", half_a_spare);
	g_test_add_func("/slices/setting_aside_goes_on_where_it_was_cut_off", aside_cut_off);
	return g_test_run();
}
