/* The disk store as one of several copies: the promises of the log side (store_log.c), and what only a disk can show. */
#include "tests/unit/store_kit.h"
#include "tests/unit/store_log_inside.h"
#include "libmagma/base/wire.h"
#include "magmad/store/check.h"
#include "magmad/store/content.h"
#include "magmad/store/disk.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

typedef struct {
	LogBed base;                  /* first */
	char *dir;
} DiskBed;

static const LogBedVt disk_bed;

static void bed_open(DiskBed *b) { b->base.s = kit_open(b->dir, 1 << 20); }

static LogBed *bed_new(guint32 seed)
{
	DiskBed *b = g_new0(DiskBed, 1);

	b->base.vt = &disk_bed;
	b->dir = kit_dir();
	bed_open(b);
	return &b->base;
}

static void bed_free(LogBed *bed)
{
	diskstore_close(bed->s);
	kit_remove(((DiskBed *)bed)->dir);
	g_free(bed);
}

/* Its turn is in its prepare, so an iteration that has nothing else must not sleep. */
static void bed_step(LogBed *bed)
{
	diskstore_flush(bed->s);
	if (!g_main_context_iteration(NULL, FALSE))
		g_usleep(100);
}

static void bed_kill(LogBed *bed)
{
	diskstore_abandon(bed->s);
	bed_open((DiskBed *)bed);
}

static void bed_again(LogBed *bed)
{
	diskstore_close(bed->s);
	bed_open((DiskBed *)bed);
}

static void bed_push(LogBed *bed) { diskstore_write_out(bed->s); }

static const LogBedVt disk_bed = { .new = bed_new, .free = bed_free, .step = bed_step, .kill = bed_kill, .again = bed_again, .push = bed_push };

/* --- what only a disk can show --- */

static guint segments(const DiskBed *b, const char *suffix)
{
	g_autofree char *path = g_build_filename(b->dir, "journal", NULL);
	g_autoptr(GDir) d = g_dir_open(path, 0, NULL);
	const char *name;
	guint n = 0;

	while ((name = g_dir_read_name(d)))
		n += g_str_has_suffix(name, suffix);
	return n;
}

static void fill_written(LogBed *b, const char *key, const char *begin)
{
	g_autofree char *pad = g_strnfill(60000, 'x'), *val = g_strconcat(begin, pad, NULL);
	guint64 n = log_fill(b, key, val);

	while (b->s->log->filled(b->s) < n)
		b->vt->step(b);
}

static void begins(LogBed *b, const char *key, const char *begin)
{
	g_autofree char *val = log_get(b, key);

	g_assert_nonnull(val);
	g_assert_true(g_str_has_prefix(val, begin));
}

static void fills_alone_make_segments_that_go_when_sqlite_has_them(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);

	log_reset(&b->base, 4, 1000);
	for (guint i = 0; i < 30; i++) {
		g_autofree char *key = g_strdup_printf("k%u", i % 20), *val = g_strdup_printf("%u-", i);
		fill_written(&b->base, key, val);
	}
	g_assert_cmpuint(segments(b, ".log"), >=, 6);
	g_assert_cmpuint(segments(b, "-00000003.log"), ==, 1);
	bed_kill(&b->base);
	log_is(&b->base, 4, 1000);
	for (guint i = 10; i < 30; i++) {
		g_autofree char *key = g_strdup_printf("k%u", i % 20), *val = g_strdup_printf("%u-", i);
		begins(&b->base, key, val);
	}
	fill_written(&b->base, "more", "m");
	bed_push(&b->base);
	while (segments(b, ".log") > 1)
		bed_step(&b->base);
	bed_kill(&b->base);
	log_is(&b->base, 4, 1000);
	begins(&b->base, "k19", "19-");
	begins(&b->base, "more", "m");
	bed_free(&b->base);
}

static void fills_whose_successors_are_gone_are_not_done_again(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);
	g_autofree char *bytes = NULL;
	gsize n;

	log_reset(&b->base, 4, 1000);
	g_autofree char *first = g_build_filename(b->dir, "journal", "00000000000003e9.log", NULL);
	fill_written(&b->base, "k", "old");
	for (guint i = 0; i < 12; i++)
		fill_written(&b->base, "other", "o");
	fill_written(&b->base, "k", "new");
	for (guint i = 0; i < 12; i++)
		fill_written(&b->base, "other", "o");
	g_assert_true(g_file_get_contents(first, &bytes, &n, NULL));
	bed_push(&b->base);
	while (segments(b, ".log") > 1)
		bed_step(&b->base);
	diskstore_abandon(b->base.s);
	g_assert_true(g_file_set_contents(first, bytes, n, NULL));       /* a power cut brought it back */
	bed_open(b);
	begins(&b->base, "k", "new");
	log_is(&b->base, 4, 1000);
	bed_free(&b->base);
}

static void run_sql(DiskBed *b, const char *sql)
{
	g_autofree char *path = g_build_filename(b->dir, "state.db", NULL);
	sqlite3 *db;

	g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
	sqlite3_close(db);
}

static void note_done(void *user, int error)
{
	g_assert_cmpint(error, ==, 0);
	*(gboolean *)user = TRUE;
}

/* As it is behind the one transaction: rows are gone, journal and contents not yet. */
static void emptying_goes_on_when_opened(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);
	MagmaFid fid = kit_fid(7);
	char name[CONTENT_NAME_MAX];
	g_autoptr(GBytes) data = g_bytes_new_static("data", 4);
	StoreCheckOptions opt = { .older_than = 60 };
	gboolean done = FALSE;

	log_put(&b->base, "a", "1");
	store_content_write(b->base.s, &fid, 0, data, note_done, &done);
	log_until(&b->base, &done);
	log_until_written(&b->base);
	diskstore_abandon(b->base.s);
	run_sql(b, "REPLACE INTO store VALUES('applied', 1000), ('durable', 1000), ('epoch', 4), ('emptying', 1)");
	g_autofree char *content = g_build_filename(b->dir, "content", content_name(&fid, name), NULL);
	g_assert_true(g_file_test(content, G_FILE_TEST_EXISTS));
	{
		g_auto(StoreCheck) check = { 0 };
		g_assert_true(store_check(b->dir, &opt, &check, NULL));
		g_assert_cmpuint(check.problems->len, ==, 0);
		g_assert_cmpuint(check.notes->len, ==, 1);
	}
	bed_open(b);
	log_is(&b->base, 4, 1000);
	g_assert_false(g_file_test(content, G_FILE_TEST_EXISTS));
	g_autofree char *a = log_get(&b->base, "a");
	g_assert_null(a);
	bed_kill(&b->base);
	log_is(&b->base, 4, 1000);
	bed_free(&b->base);
}

static void check_reads_fills_and_changes_nothing(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);
	StoreCheckOptions opt = { .older_than = 60 };
	MagmaKey rk = { 0 };
	Txn *t = txn_new();

	txn_put(t, TAB_META, "note", 4, &rk, "v", 1);
	b->base.s->log->fill(b->base.s, txn_bytes(t)->data, txn_bytes(t)->len);
	txn_free(t);
	while (b->base.s->log->filled(b->base.s) < 1)
		bed_step(&b->base);
	diskstore_abandon(b->base.s);
	g_auto(StoreCheck) check = { 0 };
	g_assert_true(store_check(b->dir, &opt, &check, NULL));
	g_assert_cmpuint(check.problems->len, ==, 0);
	g_assert_cmpuint(check.rows[TAB_META], ==, 1);
	g_assert_cmpuint(check.journal.fills, ==, 1);
	bed_open(b);
	g_autofree char *v = kit_get(b->base.s, TAB_META, "note", 4);
	g_assert_cmpstr(v, ==, "v");
	bed_free(&b->base);
}

#define NEVER 300000                  /* steps; those that find nothing to do sleep 0.1 ms each */

/* The pool writes at its own pace, whatever is committed meanwhile. */
static StoreUsage until_a_batch_is_written(DiskBed *b)
{
	StoreUsage u;

	for (guint i = 0; i < NEVER; i++) {
		b->base.s->vt->usage(b->base.s, &u);
		if (u.batches)
			break;
		bed_step(&b->base);
	}
	return u;
}

static void rows_go_to_sqlite_though_other_copies_are_always_behind(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);

	for (guint i = 1; i <= 40000; i++) {
		g_autofree char *key = g_strdup_printf("k%u", i);
		log_put(&b->base, key, "v");
		b->base.s->log->set_limit(b->base.s, i > 50 ? i - 50 : 0);
		if (i % 100 == 0)
			bed_step(&b->base);
		g_assert_cmpuint(store_acked(b->base.s), <, i);
	}
	StoreUsage u = until_a_batch_is_written(b);
	g_assert_cmpuint(u.batches, >=, 1);
	g_assert_cmpuint(u.open_batch_rows, <, 40000);
	g_assert_cmpuint(store_acked(b->base.s), <, 40000);
	bed_free(&b->base);
}

typedef struct { guint n; gboolean done; } Found;

static void on_range(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Found *f = user;

	g_assert_cmpint(error, ==, 0);
	g_assert_true(eof);
	f->n = n;
	f->done = TRUE;
}

static void flares_are(LogBed *b, guint expected)
{
	MagmaKey lo = { 0 }, hi;
	Found f = { 0 };
	StoreUsage u;

	memset(hi.b, 0xff, sizeof hi.b);
	store_scan_range(b->s, &lo, &hi, 0, 1000, on_range, &f);
	log_until(b, &f.done);
	g_assert_cmpuint(f.n, ==, expected);
	b->s->vt->usage(b->s, &u);
	g_assert_cmpuint(u.flares, ==, expected);
}

static void flare(LogBed *b, guint64 ino, gboolean put)
{
	Txn *t = txn_new();
	guint8 key[8];
	MagmaFid fid = kit_fid(ino);

	magma_be64_store(key, ino);
	if (put)
		txn_put(t, TAB_FLARE, key, 8, &fid.key, "v", 1);
	else
		txn_del(t, TAB_FLARE, key, 8, &fid.key);
	store_commit(b->s, t);
}

/* Their index by key is kept apart from the rows: in memory, in tables of what waits, and merged. */
static void a_cut_leaves_the_flares_that_were_before(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);

	for (guint i = 1; i <= 20; i++)
		flare(&b->base, i, TRUE);
	flares_are(&b->base, 20);
	for (guint i = 21; i <= 30; i++)
		flare(&b->base, i, TRUE);
	log_until_written(&b->base);
	bed_push(&b->base);                            /* in sqlite, not merged */
	b->base.s->log->set_limit(b->base.s, 0);
	for (guint i = 31; i <= 40; i++)
		flare(&b->base, i, TRUE);
	bed_push(&b->base);                            /* sealed, not written */
	for (guint i = 1; i <= 35; i++)
		flare(&b->base, i, FALSE);
	log_cut(&b->base, 32);
	b->base.s->log->set_limit(b->base.s, 32);
	flares_are(&b->base, 32);
	flare(&b->base, 50, TRUE);
	b->base.s->log->set_limit(b->base.s, G_MAXUINT64);
	flares_are(&b->base, 33);
	bed_kill(&b->base);
	flares_are(&b->base, 33);
	log_reset(&b->base, 1, 5);
	flares_are(&b->base, 0);
	flare(&b->base, 3, TRUE);
	flares_are(&b->base, 1);
	bed_free(&b->base);
}

static void a_copy_opened_so_acknowledges_nothing_by_itself(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);
	DiskStoreConfig cfg = { .dir = b->dir, .one_of_several = TRUE };

	log_put(&b->base, "a", "1");
	log_until_written(&b->base);
	diskstore_abandon(b->base.s);
	b->base.s = diskstore_open(&cfg, NULL);
	g_assert_cmpuint(store_acked(b->base.s), ==, 0);
	log_put(&b->base, "a", "2");
	log_sync(&b->base);
	bed_push(&b->base);
	g_assert_cmpuint(store_acked(b->base.s), ==, 0);
	log_cut(&b->base, 0);
	g_autofree char *a = log_get(&b->base, "a");
	g_assert_null(a);
	bed_free(&b->base);
}

static void count_syncs(void *user, char channel, const char *line) { *(guint *)user += g_str_has_prefix(line, "durable"); }

static void a_sync_is_of_fills_too(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);
	guint syncs = 0;
	MagmaTrace trace = { G_GUINT64_CONSTANT(1) << magma_trace_bit('J'), count_syncs, &syncs };
	DiskStoreConfig cfg = { .dir = b->dir, .trace = &trace };

	diskstore_close(b->base.s);
	b->base.s = diskstore_open(&cfg, NULL);
	log_put(&b->base, "a", "1");
	log_sync(&b->base);
	g_assert_cmpuint(syncs, ==, 1);
	log_sync(&b->base);
	g_assert_cmpuint(syncs, ==, 1);
	log_fill(&b->base, "b", "1");
	log_sync(&b->base);
	g_assert_cmpuint(syncs, ==, 2);
	bed_free(&b->base);
}

static void on_frames(void *user, int error, const StoreFrame *frames, guint n, gboolean eof) { *(int *)user = error; }

static void kept_frames_that_do_not_read_are_not_there(void)
{
	DiskBed *b = (DiskBed *)bed_new(0);
	g_autofree char *path = g_build_filename(b->dir, "journal", "0000000000000001.log", NULL), *bytes = NULL;
	int error = -1;
	gsize n;

	for (guint i = 0; i < 5; i++)
		log_put(&b->base, "a", "1");
	log_until_written(&b->base);
	g_assert_true(g_file_get_contents(path, &bytes, &n, NULL));
	bytes[n / 2] ^= 1;
	/* In place: the store has it open. */
	FILE *f = fopen(path, "r+");
	g_assert_cmpuint(fwrite(bytes, 1, n, f), ==, n);
	fclose(f);
	g_test_expect_message("magma", G_LOG_LEVEL_WARNING, "*cannot be read at offset*");
	b->base.s->log->read(b->base.s, 0, 1000000, on_frames, &error);
	while (error < 0)
		bed_step(&b->base);
	g_test_assert_expected_messages();
	g_assert_cmpint(error, ==, ENODATA);
	diskstore_abandon(b->base.s);
	kit_remove(b->dir);
	g_free(b);
}

/* Files of the store that have no name any more, and still take room. */
static guint gone_but_open(const DiskBed *b)
{
	g_autoptr(GDir) d = g_dir_open("/proc/self/fd", 0, NULL);
	const char *name;
	guint n = 0;

	while ((name = g_dir_read_name(d))) {
		g_autofree char *path = g_build_filename("/proc/self/fd", name, NULL), *to = g_file_read_link(path, NULL);
		n += to && g_str_has_prefix(to, b->dir) && g_str_has_suffix(to, "(deleted)");
	}
	return n;
}

static void put_big(LogBed *b, guint from, guint n)
{
	for (guint i = from; i < from + n; i++) {
		g_autofree char *pad = g_strnfill(60000, 'x'), *key = g_strdup_printf("k%u", i), *val = g_strdup_printf("%u-%s", i, pad);
		log_put(b, key, val);
		log_until_written(b);         /* a turn's frames are in one segment */
	}
}

static gboolean usage_is_low(Store *s, StoreUsage *u)
{
	DISK(s)->statvfs_at = 0;
	s->vt->usage(s, u);
	return u->low;
}

enum { IN_SQLITE = 30, IN_JOURNAL = 12 };

/* A copy's store was an owner's before, or was opened with what an owner's kept, and nobody has said since what to keep. */
static void what_is_kept_is_given_back_where_room_is_short(void)
{
	for (guint restarted = 0; restarted < 2; restarted++) {
		DiskBed *b = (DiskBed *)bed_new(0);
		StoreUsage before, after;

		b->base.s->log->keep(b->base.s, 0, G_MAXUINT64);
		put_big(&b->base, 0, IN_SQLITE);
		bed_push(&b->base);
		b->base.s->log->set_limit(b->base.s, IN_SQLITE);
		put_big(&b->base, IN_SQLITE, IN_JOURNAL);      /* acknowledged by no copy: not for sqlite */
		if (restarted) {
			bed_kill(&b->base);
			b->base.s->log->set_limit(b->base.s, IN_SQLITE);
		}
		g_assert_false(usage_is_low(b->base.s, &before));
		guint all = segments(b, ".log");
		g_assert_cmpuint(all, >=, 8);
		g_autofree char *whole = log_read_text(&b->base, 0, 1);
		g_assert_cmpstr(whole, ==, "0.1 ");
		DISK(b->base.s)->reserve_bytes = G_MAXUINT64 / 2;
		gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
		while (usage_is_low(b->base.s, &after) && segments(b, ".log") > all - 5) {      /* sqlite is synced first */
			g_assert_cmpint(g_get_monotonic_time(), <, end);
			bed_step(&b->base);
		}
		g_assert_cmpuint(after.journal_bytes + (5 << 18), <=, before.journal_bytes);
		g_assert_cmpuint(gone_but_open(b), ==, 0);
		/* who needs them hears that they are gone, and nothing else went */
		g_autofree char *old = log_read_text(&b->base, 0, 1), *late = log_read_text(&b->base, IN_SQLITE, 1);
		g_assert_cmpstr(old, ==, "ENODATA");
		g_assert_cmpstr(late, ==, "0.31 ");
		bed_kill(&b->base);
		log_is(&b->base, 0, IN_SQLITE + IN_JOURNAL);
		for (guint i = 0; i < IN_SQLITE + IN_JOURNAL; i++) {
			g_autofree char *key = g_strdup_printf("k%u", i), *begin = g_strdup_printf("%u-", i);
			begins(&b->base, key, begin);
		}
		bed_free(&b->base);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	store_log_tests("/store/log", &disk_bed);
	g_test_add_func("/store/log/fills_alone_make_segments_that_go_when_sqlite_has_them", fills_alone_make_segments_that_go_when_sqlite_has_them);
	g_test_add_func("/store/log/fills_whose_successors_are_gone_are_not_done_again", fills_whose_successors_are_gone_are_not_done_again);
	g_test_add_func("/store/log/emptying_goes_on_when_opened", emptying_goes_on_when_opened);
	g_test_add_func("/store/log/check_reads_fills_and_changes_nothing", check_reads_fills_and_changes_nothing);
	g_test_add_func("/store/log/rows_go_to_sqlite_though_other_copies_are_always_behind", rows_go_to_sqlite_though_other_copies_are_always_behind);
	g_test_add_func("/store/log/a_cut_leaves_the_flares_that_were_before", a_cut_leaves_the_flares_that_were_before);
	g_test_add_func("/store/log/a_copy_opened_so_acknowledges_nothing_by_itself", a_copy_opened_so_acknowledges_nothing_by_itself);
	g_test_add_func("/store/log/a_sync_is_of_fills_too", a_sync_is_of_fills_too);
	g_test_add_func("/store/log/kept_frames_that_do_not_read_are_not_there", kept_frames_that_do_not_read_are_not_there);
	g_test_add_func("/store/log/what_is_kept_is_given_back_where_room_is_short", what_is_kept_is_given_back_where_room_is_short);
	return g_test_run();
}
