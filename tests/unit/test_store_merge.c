/* The index of flares by key is merged in slices: nothing is ever missing from it, and after a merge nothing is too much in it, whatever batches and crashes come in between. */
#include "tests/unit/store_kit.h"
#include "magmad/store/db_inside.h"
#include "magmad/store/disk.h"
#include "libmagma/base/wire.h"
#include <string.h>

#define INOS 300
#define SLICE 7

typedef struct {
	char *dir, *path;
	Db *db;
	Rows *rows;
	DbMeta meta;
	DbMerge *merge;
	guint8 model[INOS];           /* 0: not there, else where: one of some keys */
} Fixture;

static MagmaKey key_of(guint64 ino, guint where)
{
	char text[64];
	return magma_key_of_path(text, g_snprintf(text, sizeof text, "/%u/%u", (guint)ino % 50, where));
}

static void nothing(void *user, guint64 ino, const MagmaKey *rk) { }
static void between(void *user) { }

static void open_all(Fixture *f)
{
	g_autoptr(GError) error = NULL;

	f->db = db_open(f->path, NULL, TRUE, 256, &error);
	g_assert_no_error(error);
	g_assert_true(db_meta(f->db, &f->meta));
	g_assert_cmpint(db_each_fresh(f->db, nothing, between, NULL), ==, SQLITE_OK);
	f->rows = rows_new(2000);
}

/* All that a crash leaves is what transactions have written. */
static void close_all(Fixture *f)
{
	g_clear_pointer(&f->merge, db_merge_free);
	rows_free(f->rows);
	db_close(f->db);
}

static void set_up(Fixture *f, gconstpointer unused)
{
	FrameKey key = { "x" };

	f->dir = kit_dir();
	f->path = g_build_filename(f->dir, "state.db", NULL);
	g_assert_true(db_create(f->path, &key, NULL));
	open_all(f);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
	close_all(f);
	g_free(f->path);
	kit_remove(f->dir);
}

static guint64 count(Fixture *f, const char *sql)
{
	sqlite3_stmt *st = NULL;

	g_assert_cmpint(sqlite3_prepare_v2(f->db->db, sql, -1, &st, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_step(st), ==, SQLITE_ROW);
	guint64 n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

static void check_nothing_missing(Fixture *f)
{
	sqlite3_stmt *st = NULL;

	g_assert_cmpint(sqlite3_prepare_v2(f->db->db, SQL_CHECK_UNINDEXED, -1, &st, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_step(st), ==, SQLITE_DONE);
	sqlite3_finalize(st);
}

static void check_nothing_too_much(Fixture *f)
{
	guint there = 0;

	for (guint i = 0; i < INOS; i++)
		there += f->model[i] > 0;
	g_assert_cmpuint(count(f, "SELECT count(*) FROM born"), ==, there);
	g_assert_cmpuint(count(f, "SELECT count(*) FROM born b JOIN flare f ON f.k=b.k AND f.rk=b.rk"), ==, there);
	g_assert_cmpuint(count(f, "SELECT count(*) FROM fresh0") + count(f, "SELECT count(*) FROM fresh1"), ==, 0);
	g_assert_cmpuint(count(f, "SELECT count(*) FROM stale0") + count(f, "SELECT count(*) FROM stale1"), ==, 0);
	g_assert_cmpuint(db_stale(f->db), ==, 0);
}

static void batch(Fixture *f, GRand *rnd)
{
	for (guint n = g_rand_int_range(rnd, 1, 60); n; n--) {
		guint64 ino = g_rand_int_range(rnd, 0, INOS);
		guint8 k[8], was = f->model[ino];
		magma_be64_store(k, ino);
		f->model[ino] = g_rand_int_range(rnd, 0, 2) ? g_rand_int_range(rnd, 1, 4) : 0;
		StoreRow row = { .table = TAB_FLARE, .key = k, .klen = 8, .rk = key_of(ino, f->model[ino] ? f->model[ino] : was), .val = (const guint8 *)"v", .vlen = 1 };
		rows_commit(f->rows, &row, f->model[ino] ? row_value_new(&row.rk, "v", 1) : NULL);
	}
	g_assert_cmpint(db_write(f->db, rows_freeze(f->rows, ++f->meta.applied), &f->meta), ==, SQLITE_OK);
	rows_thaw(f->rows);
	rows_evict(f->rows);
}

static void slice(Fixture *f)
{
	guint64 upto = f->merge ? db_merge_upto(f->merge) : 0;

	if (!f->merge) {
		g_assert_cmpint(db_merge_begin(f->db, &f->merge), ==, SQLITE_OK);
		return;
	}
	g_assert_cmpint(db_merge_slice(f->db, f->merge, SLICE), ==, SQLITE_OK);
	g_assert_cmpuint(db_merge_upto(f->merge), >=, upto);
	if (db_merge_done(f->merge))
		g_clear_pointer(&f->merge, db_merge_free);
}

static void merge_all(Fixture *f)
{
	/* What was under way, and what came since. */
	for (guint i = 0; i < 2; i++)
		do
			slice(f);
		while (f->merge);
}

static void slices_batches_and_crashes_in_any_order(Fixture *f, gconstpointer unused)
{
	g_autoptr(GRand) rnd = g_rand_new_with_seed(kit_seed());

	for (guint i = 0; i < 3000; i++) {
		guint what = g_rand_int_range(rnd, 0, 200);
		if (what < 30)
			batch(f, rnd);
		else if (what < 194)
			slice(f);
		else if (what < 198) {
			close_all(f);
			open_all(f);
		} else {
			merge_all(f);
			check_nothing_too_much(f);
		}
		check_nothing_missing(f);
	}
	merge_all(f);
	check_nothing_too_much(f);
}

/* --- through the store --- */

#define MANY 30000

static void put_many(Store *s, guint64 from, guint64 n)
{
	for (guint64 ino = from; ino < from + n; ino++) {
		guint8 k[8];
		MagmaKey rk = key_of(ino * 50 + 1, (guint)ino);
		Txn *t = txn_new();
		magma_be64_store(k, ino);
		txn_put(t, TAB_FLARE, k, 8, &rk, "v", 1);
		store_commit(s, t);
	}
}

typedef struct {
	GHashTable *seen;
	MagmaKey last;
	guint64 ino;
	gboolean done, eof;
} Range;

static void on_rows(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Range *r = user;

	g_assert_cmpint(error, ==, 0);
	for (guint i = 0; i < n; i++) {
		r->last = rows[i].rk;
		r->ino = magma_be64_load(rows[i].key);
		g_assert_true(g_hash_table_add(r->seen, GSIZE_TO_POINTER((gsize)r->ino)));
	}
	r->eof = eof;
	r->done = TRUE;
}

static guint count_range(Store *s)
{
	Range r = { .seen = g_hash_table_new(NULL, NULL), .last = MAGMA_KEY_MIN };

	while (!r.eof) {
		r.done = FALSE;
		s->vt->scan_range(s, &r.last, &MAGMA_KEY_MAX, r.ino, 2000, on_rows, &r);
		kit_until(&r.done);
	}
	guint n = g_hash_table_size(r.seen);
	g_hash_table_unref(r.seen);
	return n;
}

static void on_dropped(void *user, int error, const StoreRow *rows, guint n, gboolean eof) { }

/* Runs the loop until some slices of a merge have been written, but not all. */
static void into_a_merge(Store *s)
{
	DiskStore *d = DISK(s);

	s->vt->scan_range(s, &MAGMA_KEY_MIN, &MAGMA_KEY_MAX, 1, 10, on_dropped, NULL);
	for (gint64 until = g_get_monotonic_time() + 20 * G_USEC_PER_SEC; !(d->merge && d->merge_from && !d->writer_job); ) {
		g_assert_cmpint(g_get_monotonic_time(), <, until);
		disk_turn(d);
		if (d->writer_job)
			pool_wait(d->pool, d->writer_job);
	}
}

static void store_killed_in_the_middle_of_a_merge_goes_on_with_it(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);

	put_many(s, 1, MANY);
	g_assert_true(diskstore_write_out(s));
	into_a_merge(s);
	g_assert_cmpuint(keys_sealed(DISK(s)->keys), <, MANY);
	g_assert_cmpuint(keys_sealed(DISK(s)->keys), >, 0);
	put_many(s, MANY + 1, 100);
	diskstore_flush(s);
	disk_batch_check(DISK(s), TRUE);
	pool_wait(DISK(s)->pool, DISK(s)->writer_job);
	diskstore_abandon(s);
	s = kit_open(path, 0);
	g_assert_true(db_merging(DISK(s)->writer));
	g_assert_cmpuint(keys_sealed(DISK(s)->keys), ==, MANY + 100);      /* those merged already too: nobody knows which */
	into_a_merge(s);
	g_assert_cmpuint(keys_sealed(DISK(s)->keys), >, 100);
	g_assert_cmpuint(count_range(s), ==, MANY + 100);
	g_assert_false(db_merging(DISK(s)->writer));
	diskstore_close(s);
	kit_remove(path);
}

static void batches_are_written_between_slices(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	DiskStore *d = DISK(s);

	put_many(s, 1, MANY);
	g_assert_true(diskstore_write_out(s));
	into_a_merge(s);
	guint64 applied = d->meta.applied, from = d->merge_from;
	put_many(s, MANY + 1, 10);
	diskstore_flush(s);
	disk_batch_check(d, TRUE);
	pool_wait(d->pool, d->writer_job);
	g_assert_cmpuint(d->meta.applied, ==, applied + 10);
	g_assert_true(d->merge && d->merge_from == from);
	g_assert_cmpuint(count_range(s), ==, MANY + 10);
	diskstore_close(s);
	kit_remove(path);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/store/merge/slices_batches_and_crashes_in_any_order", Fixture, NULL, set_up, slices_batches_and_crashes_in_any_order, tear_down);
	g_test_add_func("/store/merge/store_killed_in_the_middle_of_a_merge_goes_on_with_it", store_killed_in_the_middle_of_a_merge_goes_on_with_it);
	g_test_add_func("/store/merge/batches_are_written_between_slices", batches_are_written_between_slices);
	return g_test_run();
}
