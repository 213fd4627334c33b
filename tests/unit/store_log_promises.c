#include "tests/unit/store_log_inside.h"
#include <stdlib.h>
#include <string.h>

#define has(b, key, expected) do { g_autofree char *has_got = log_get(b, key); g_assert_cmpstr(has_got, ==, expected); } while (0)
#define epochs_are(b, expected) do { g_autofree char *epochs_got = log_epochs(b); g_assert_cmpstr(epochs_got, ==, expected); } while (0)
#define reads(b, after, max, expected) do { g_autofree char *reads_got = log_read_text(b, after, max); g_assert_cmpstr(reads_got, ==, expected); } while (0)

static void frames_carry_the_epoch_they_were_committed_under(LogBed *b)
{
	const StoreLogVt *log = b->s->log;

	log_is(b, 0, 0);
	epochs_are(b, "");
	log->set_epoch(b->s, 3);
	log_is(b, 0, 0);
	log_put(b, "a", "1");
	log_put(b, "b", "1");
	log_is(b, 3, 2);
	log->set_epoch(b->s, 5);
	log_is(b, 3, 2);
	g_assert_cmpuint(log_put(b, "c", "1"), ==, 3);
	g_assert_true(log_append(b, 7, 4, "d", "1"));
	epochs_are(b, "3:1 5:3 7:4 ");
	log_until_written(b);
	b->vt->kill(b);
	log_is(b, 7, 4);
	epochs_are(b, "3:1 5:3 7:4 ");
	log_put(b, "e", "1");                  /* goes on under the newest */
	log_is(b, 7, 5);
	b->vt->again(b);
	log_is(b, 7, 5);
	b->vt->push(b);
	b->vt->again(b);
	epochs_are(b, "3:1 5:3 7:4 ");
	has(b, "d", "1");
}

static void a_copy_takes_only_the_next_frame(LogBed *b)
{
	StoreFrame bad = { { 9, 2 }, (const guint8 *)"no transaction", 14 };

	g_assert_false(log_append(b, 2, 2, "a", "x"));
	g_assert_true(log_append(b, 2, 1, "a", "1"));
	g_assert_false(log_append(b, 2, 1, "a", "x"));
	g_assert_false(log_append(b, 2, 3, "a", "x"));
	g_assert_false(log_append(b, 1, 2, "a", "x"));
	g_assert_false(b->s->log->append(b->s, &bad));
	g_assert_cmpuint(b->s->log->fill(b->s, bad.txn, bad.len), ==, 0);
	log_is(b, 2, 1);
	has(b, "a", "1");
	bad = (StoreFrame){ { 2, 2 }, (const guint8 *)"", 0 };          /* nothing in it, but a frame */
	g_assert_true(b->s->log->append(b->s, &bad));
	log_until_written(b);
	b->vt->kill(b);
	log_is(b, 2, 2);
	has(b, "a", "1");
}

typedef struct { guint64 written, acked; guint calls; } Told;

static void told_written(void *user, guint64 index)
{
	Told *t = user;
	t->written = index;
	t->calls++;
}

static void told_acked(void *user, guint64 index)
{
	Told *t = user;
	g_assert_cmpuint(index, >, t->acked);
	t->acked = index;
}

static void nothing_is_acknowledged_beyond_what_the_others_have(LogBed *b)
{
	Told told = { 0 };

	b->s->on_written = told_written;
	b->s->on_acked = told_acked;
	b->s->log_user = b->s->user = &told;
	b->s->log->set_limit(b->s, 0);
	for (guint i = 0; i < 5; i++)
		log_put(b, "a", "1");
	log_until_written(b);
	log_sync(b);
	g_assert_cmpuint(told.written, ==, 5);
	g_assert_cmpuint(store_acked(b->s), ==, 0);
	b->s->log->set_limit(b->s, 3);
	g_assert_cmpuint(store_acked(b->s), ==, 3);
	while (told.acked < 3)
		b->vt->step(b);
	g_assert_cmpuint(told.acked, ==, 3);
	b->s->log->set_limit(b->s, 1);                 /* a copy more counts, and is behind */
	g_assert_cmpuint(store_acked(b->s), ==, 3);
	b->s->log->set_limit(b->s, 100);
	while (told.acked < 5)
		b->vt->step(b);
	g_assert_cmpuint(told.acked, ==, 5);
	log_put(b, "a", "2");
	while (told.acked < 6)
		b->vt->step(b);
	g_assert_cmpuint(told.written, ==, 6);
	b->s->on_written = b->s->on_acked = NULL;
}

static void only_acknowledged_rows_go_behind_the_journal(LogBed *b)
{
	b->s->log->set_limit(b->s, 0);
	for (guint i = 1; i <= 6; i++) {
		g_autofree char *val = g_strdup_printf("%u", i);
		log_put(b, "a", val);
	}
	log_until_written(b);
	b->s->log->set_limit(b->s, 4);
	log_sync(b);
	b->vt->push(b);
	b->vt->kill(b);
	log_is(b, 0, 6);
	b->s->log->set_limit(b->s, 0);                 /* takes back what opening took for acknowledged */
	g_assert_cmpuint(store_acked(b->s), <=, 4);
	log_cut(b, 4);
	log_is(b, 0, 4);
	has(b, "a", "4");
	b->vt->kill(b);
	log_is(b, 0, 4);
	has(b, "a", "4");
}

static void a_tail_that_was_durable_can_be_cut(LogBed *b)
{
	b->s->log->set_limit(b->s, 0);
	log_put(b, "a", "1");
	log_put(b, "a", "2");
	log_until_written(b);
	b->vt->push(b);                                /* a batch that waits */
	log_put(b, "a", "3");
	log_put(b, "a", "4");
	log_sync(b);
	b->s->log->set_limit(b->s, 2);
	b->vt->push(b);
	log_cut(b, 2);
	b->vt->kill(b);
	log_is(b, 0, 2);
	has(b, "a", "2");
}

static void a_cut_tail_is_gone_for_good(LogBed *b)
{
	b->s->log->set_limit(b->s, 0);
	b->s->log->set_epoch(b->s, 1);
	log_put(b, "a", "1");
	log_put(b, "b", "1");
	b->s->log->set_epoch(b->s, 2);
	log_put(b, "b", "2");
	log_put(b, "a", NULL);
	log_until_written(b);
	log_cut(b, 2);
	log_is(b, 1, 2);
	epochs_are(b, "1:1 ");
	has(b, "a", "1");
	has(b, "b", "1");
	b->vt->kill(b);
	b->s->log->set_limit(b->s, 0);
	log_is(b, 1, 2);
	g_assert_true(log_append(b, 3, 3, "b", "3"));
	log_cut(b, 3);                                 /* nothing behind it; perhaps not yet written */
	has(b, "b", "3");
	epochs_are(b, "1:1 3:3 ");
	log_until_written(b);
	b->vt->kill(b);
	has(b, "b", "3");
	has(b, "a", "1");
	log_is(b, 3, 3);
}

static void the_whole_log_can_be_cut(LogBed *b)
{
	b->s->log->set_limit(b->s, 0);
	log_put(b, "a", "1");
	log_put(b, "a", "2");
	log_sync(b);
	log_cut(b, 0);
	log_is(b, 0, 0);
	has(b, "a", NULL);
	b->vt->again(b);
	log_is(b, 0, 0);
	has(b, "a", NULL);
	g_assert_cmpuint(log_put(b, "a", "3"), ==, 1);
}

static void reading_gives_the_written_frames_in_order(LogBed *b)
{
	b->s->log->keep(b->s, 0, G_MAXUINT64);
	b->s->log->set_epoch(b->s, 1);
	for (guint i = 0; i < 4; i++)
		log_put(b, "a", "1");
	b->s->log->set_epoch(b->s, 2);
	log_put(b, "b", "5");
	log_until_written(b);
	reads(b, 0, G_MAXSIZE, "1.1 1.2 1.3 1.4 2.5 eof");
	reads(b, 3, G_MAXSIZE, "1.4 2.5 eof");
	reads(b, 3, 1, "1.4 ");
	reads(b, 5, 1, "eof");
	reads(b, 9, 1, "eof");
	g_autoptr(LogRead) r = log_read(b, 4, 1);
	Txn *t = log_txn("b", "5");
	g_autoptr(GBytes) expected = g_bytes_new(txn_bytes(t)->data, txn_bytes(t)->len);
	txn_free(t);
	g_assert_true(g_bytes_equal(r->txns->pdata[0], expected));
}

static void reading_goes_on_behind_a_cut(LogBed *b)
{
	b->s->log->set_limit(b->s, 0);
	for (guint i = 0; i < 5; i++)
		log_put(b, "a", "1");
	log_until_written(b);
	reads(b, 3, 1, "0.4 ");
	log_cut(b, 2);
	for (guint i = 0; i < 4; i++)
		log_put(b, "a", "longer than before");
	log_until_written(b);
	reads(b, 4, G_MAXSIZE, "0.5 0.6 eof");
}

static void what_is_kept_can_be_read_when_it_left_memory(LogBed *b)
{
	b->s->log->keep(b->s, 2, G_MAXUINT64);
	for (guint i = 0; i < 6; i++)
		log_put(b, "a", "1");
	log_sync(b);
	b->vt->push(b);
	reads(b, 2, G_MAXSIZE, "0.3 0.4 0.5 0.6 eof");
	b->vt->kill(b);
	b->s->log->keep(b->s, 2, G_MAXUINT64);
	b->vt->push(b);
	reads(b, 2, G_MAXSIZE, "0.3 0.4 0.5 0.6 eof");
	b->vt->again(b);
	b->s->log->keep(b->s, 2, G_MAXUINT64);
	reads(b, 2, G_MAXSIZE, "0.3 0.4 0.5 0.6 eof");
}

/* Reads on from `after` in pieces; the index of the last frame. */
static guint64 read_through(LogBed *b, guint64 after)
{
	for (gboolean eof = FALSE; !eof; ) {
		g_autoptr(LogRead) r = log_read(b, after, 150000);
		g_assert_cmpint(r->error, ==, 0);
		for (guint i = 0; i < r->pos->len; i++) {
			g_assert_cmpuint(g_array_index(r->pos, StorePos, i).index, ==, ++after);
			g_assert_cmpuint(g_bytes_get_size(r->txns->pdata[i]), >, 100000);
		}
		eof = r->eof;
	}
	return after;
}

static void much_that_is_kept_can_be_read_on_and_on(LogBed *b)
{
	g_autofree char *big = g_strnfill(100000, 'x');

	b->s->log->keep(b->s, 2, G_MAXUINT64);
	for (guint i = 0; i < 30; i++) {
		log_put(b, "a", big);
		if (i % 7 == 6) {
			log_sync(b);
			b->vt->push(b);
		}
	}
	log_sync(b);
	g_assert_cmpuint(read_through(b, 2), ==, 30);
	g_assert_cmpuint(read_through(b, 17), ==, 30);
	b->vt->kill(b);
	b->s->log->keep(b->s, 2, G_MAXUINT64);
	b->vt->push(b);
	log_put(b, "a", big);
	log_sync(b);
	g_assert_cmpuint(read_through(b, 2), ==, 31);
}

static void what_is_not_kept_is_not_missed_silently(LogBed *b)
{
	g_autofree char *big = g_strnfill(100000, 'x');

	b->s->log->keep(b->s, 0, 1000000);             /* ten of them */
	for (guint i = 0; i < 60; i++) {
		log_put(b, "a", big);
		if (i % 5 == 4)
			log_sync(b);
	}
	b->vt->push(b);
	log_put(b, "a", "1");
	log_sync(b);
	reads(b, 0, 1, "ENODATA");
	reads(b, 60, 1, "0.61 eof");
	b->s->log->keep(b->s, 0, 0);
	b->vt->push(b);
	reads(b, 61, 1, "eof");
	b->vt->again(b);
	reads(b, 0, 1, "ENODATA");
	reads(b, 61, 1, "eof");
}

static void on_stat(void *user, int error, const StoreContentStat *st)
{
	g_assert_cmpint(error, ==, 0);
	*(int *)user = st->exists;
}

static gboolean content_exists(LogBed *b, const MagmaFid *fid)
{
	int exists = -1;

	store_content_stat(b->s, fid, on_stat, &exists);
	while (exists < 0)
		b->vt->step(b);
	return exists;
}

static void write_content(LogBed *b, const MagmaFid *fid)
{
	g_autoptr(GBytes) data = g_bytes_new_static("data", 4);
	LogAnswer a = { 0 };

	store_content_write(b->s, fid, 0, data, log_on_done, &a);
	log_until(b, &a.done);
	g_assert_cmpint(a.error, ==, 0);
}

static void a_reset_leaves_nothing(LogBed *b)
{
	MagmaFid fid = { .ino = 77 };

	log_put(b, "a", "1");
	log_sync(b);
	b->vt->push(b);
	log_put(b, "b", "1");
	write_content(b, &fid);
	log_reset(b, 4, 1000);
	log_is(b, 4, 1000);
	g_assert_cmpuint(store_acked(b->s), ==, 1000);
	g_assert_cmpuint(b->s->log->written(b->s), ==, 1000);
	g_assert_cmpuint(b->s->log->durable(b->s), ==, 1000);
	has(b, "a", NULL);
	has(b, "b", NULL);
	g_assert_false(content_exists(b, &fid));
	reads(b, 999, 1, "ENODATA");
	reads(b, 1000, 1, "eof");
	b->vt->kill(b);
	log_is(b, 4, 1000);
	epochs_are(b, "4:1000 ");
	has(b, "a", NULL);
	g_assert_false(content_exists(b, &fid));
	g_assert_false(log_append(b, 4, 1, "c", "1"));
	g_assert_true(log_append(b, 4, 1001, "c", "1"));
	log_until_written(b);
	b->vt->kill(b);
	has(b, "c", "1");
	reads(b, 1000, 1, "4.1001 eof");
	log_reset(b, 0, 0);                            /* even back to the beginning */
	log_is(b, 0, 0);
	b->vt->kill(b);
	log_is(b, 0, 0);
	epochs_are(b, "");
	has(b, "c", NULL);
	g_assert_cmpuint(log_put(b, "d", "1"), ==, 1);
}

static void a_reset_takes_what_is_not_written_yet(LogBed *b)
{
	g_autofree char *big = g_strnfill(200000, 'x');

	log_put(b, "a", big);
	log_until_written(b);
	log_put(b, "a", big);                          /* for another segment */
	log_fill(b, "b", big);
	log_reset(b, 4, 1000);
	log_is(b, 4, 1000);
	log_put(b, "c", "1");
	log_until_written(b);
	b->vt->kill(b);
	log_is(b, 4, 1001);
	has(b, "a", NULL);
	has(b, "b", NULL);
	has(b, "c", "1");
}

static void a_reset_that_is_cut_short_is_done_or_not_begun(LogBed *b)
{
	MagmaFid fid = { .ino = 77 };
	LogAnswer a = { 0 };

	log_put(b, "a", "1");
	log_put(b, "b", "1");
	log_sync(b);
	write_content(b, &fid);
	b->s->log->reset(b->s, (StorePos){ 4, 1000 }, log_on_done, &a);
	for (guint i = g_random_int_range(0, 4); i && !a.done; i--)
		b->vt->step(b);
	b->vt->kill(b);
	if (b->s->log->position(b->s).index == 2) {
		g_assert_false(a.done);
		has(b, "a", "1");
		has(b, "b", "1");
		g_assert_true(content_exists(b, &fid));
	} else {
		log_is(b, 4, 1000);
		has(b, "a", NULL);
		has(b, "b", NULL);
		g_assert_false(content_exists(b, &fid));
	}
}

/* For the mark that a rebase sets. */
static void rebase_begin(LogBed *b, LogAnswer *a)
{
	Txn *t = txn_new();

	txn_put(t, TAB_META, "mark", 4, NULL, "on", 2);
	txn_del(t, TAB_META, "gone", 4, NULL);
	b->s->log->rebase(b->s, (StorePos){ 4, 1000 }, txn_bytes(t)->data, txn_bytes(t)->len, log_on_done, a);
	txn_free(t);
}

typedef struct {
	gboolean done;
	GString *names;
} MetaRead;

static void meta_rows(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	MetaRead *r = user;

	g_assert_cmpint(error, ==, 0);
	for (guint i = 0; i < n; i++)
		g_string_append_printf(r->names, "%.*s=%.*s ", (int)rows[i].klen, (const char *)rows[i].key, (int)rows[i].vlen, (const char *)rows[i].val);
	r->done = TRUE;
}

static void meta_is(LogBed *b, const char *expect)
{
	MetaRead r = { FALSE, g_string_new(NULL) };

	store_scan(b->s, TAB_META, NULL, 0, NULL, 0, 100, meta_rows, &r);
	log_until(b, &r.done);
	g_assert_cmpstr(r.names->str, ==, expect);
	g_string_free(r.names, TRUE);
}

static void meta_put(LogBed *b, const char *name)
{
	Txn *t = txn_new();

	txn_put(t, TAB_META, name, strlen(name), NULL, "1", 1);
	store_commit(b->s, t);
}

/* A row, a note of its own and a content, behind the journal. */
static void rebase_scene(LogBed *b, const MagmaFid *fid)
{
	log_put(b, "a", "1");
	meta_put(b, "gone");
	write_content(b, fid);
	log_sync(b);
	b->vt->push(b);
}

static void a_rebase_keeps_rows_and_contents_under_another_log(LogBed *b)
{
	MagmaFid fid = { .ino = 77 };
	LogAnswer a = { 0 };

	rebase_scene(b, &fid);
	log_put(b, "a", "2");                          /* may be there afterwards, or not */
	rebase_begin(b, &a);
	log_until(b, &a.done);
	g_assert_cmpint(a.error, ==, 0);
	for (guint i = 0; i < 2; i++) {
		log_is(b, 4, 1000);
		g_assert_cmpuint(store_acked(b->s), ==, 1000);
		g_assert_cmpuint(b->s->log->durable(b->s), ==, 1000);
		epochs_are(b, "4:1000 ");
		g_autofree char *value = log_get(b, "a");
		g_assert_nonnull(value);
		g_assert_true(content_exists(b, &fid));
		meta_is(b, "mark=on ");
		reads(b, 999, 1, "ENODATA");
		if (i == 0)
			b->vt->kill(b);
	}
	g_assert_false(log_append(b, 4, 3, "c", "1"));
	g_assert_true(log_append(b, 4, 1001, "c", "1"));
	log_until_written(b);
	b->vt->kill(b);
	has(b, "c", "1");
	reads(b, 1000, 1, "4.1001 eof");
}

static void a_rebase_that_is_cut_short_is_done_or_not_begun(LogBed *b)
{
	MagmaFid fid = { .ino = 77 };
	LogAnswer a = { 0 };

	rebase_scene(b, &fid);
	rebase_begin(b, &a);
	for (guint i = g_random_int_range(0, 4); i && !a.done; i--)
		b->vt->step(b);
	b->vt->kill(b);
	if (b->s->log->position(b->s).index == 2) {
		g_assert_false(a.done);
		meta_is(b, "gone=1 ");
	} else {
		log_is(b, 4, 1000);
		meta_is(b, "mark=on ");
	}
	has(b, "a", "1");
	g_assert_true(content_exists(b, &fid));
}

static void stat_done(void *user, int error, const StoreContentStat *st) { log_on_done(user, error); }

/* An owner that has ended leaves them; whoever is the copy now knows nothing of them. */
static void a_reset_and_a_rebase_wait_for_contents_that_are_asked_for(LogBed *b)
{
	MagmaFid fid = { .ino = 77 };
	g_autoptr(GBytes) data = g_bytes_new_take(g_malloc0(1 << 20), 1 << 20);      /* more than a store writes at once */

	rebase_scene(b, &fid);
	for (guint again = 0; again < 2; again++) {
		LogAnswer write[16] = { 0 }, stat = { 0 }, a = { 0 };
		for (guint i = 0; i < G_N_ELEMENTS(write); i++)
			store_content_write(b->s, &fid, i << 19, data, log_on_done, &write[i]);      /* one behind the other: they overlap */
		store_content_stat(b->s, &fid, stat_done, &stat);
		if (again)
			b->s->log->reset(b->s, (StorePos){ 5, 2000 }, log_on_done, &a);
		else
			rebase_begin(b, &a);
		log_until(b, &a.done);
		g_assert_cmpint(a.error, ==, 0);
		g_assert_true(stat.done && !stat.error);
		for (guint i = 0; i < G_N_ELEMENTS(write); i++)
			g_assert_true(write[i].done && !write[i].error);
		g_assert_cmpint(content_exists(b, &fid), ==, !again);
	}
}

static void fills_are_rows_but_no_frames(LogBed *b)
{
	log_reset(b, 4, 1000);
	b->s->log->set_limit(b->s, 1000);
	g_assert_cmpuint(log_fill(b, "a", "1"), ==, 1);
	g_assert_cmpuint(log_fill(b, "b", "1"), ==, 2);
	log_is(b, 4, 1000);
	has(b, "a", "1");
	g_assert_true(log_append(b, 4, 1001, "a", "2"));
	g_assert_cmpuint(log_fill(b, "c", "1"), ==, 3);
	g_assert_true(log_append(b, 4, 1002, "c", NULL));
	log_until_written(b);
	while (b->s->log->filled(b->s) < 3)
		b->vt->step(b);
	b->vt->kill(b);
	b->s->log->set_limit(b->s, 0);
	log_is(b, 4, 1002);
	g_assert_cmpuint(b->s->log->filled(b->s), ==, 0);
	has(b, "a", "2");                              /* in the order in which they came */
	has(b, "b", "1");
	has(b, "c", NULL);
	reads(b, 1000, 1, "ENODATA");                  /* of what is in front of a fill another copy could not be made */
	reads(b, 1001, 1, "4.1002 eof");
	log_cut(b, 1001);
	has(b, "c", "1");                              /* it was filled behind the frame that stays */
	log_cut(b, 1000);
	has(b, "c", NULL);
	has(b, "a", "1");
	log_sync(b);
	b->vt->push(b);
	b->vt->again(b);
	has(b, "a", "1");
	has(b, "b", "1");
	log_is(b, 4, 1000);
	reads(b, 999, 1, "ENODATA");
}

static void a_power_cut_takes_what_was_not_synced(LogBed *b)
{
	if (!b->vt->power) {
		g_test_skip("no power to cut");
		return;
	}
	b->s->log->set_limit(b->s, 0);
	log_put(b, "a", "1");
	log_fill(b, "b", "1");
	log_sync(b);
	g_assert_cmpuint(b->s->log->durable(b->s), ==, 1);
	log_put(b, "a", "2");
	log_until_written(b);
	b->vt->power(b);
	log_is(b, 0, 1);
	has(b, "a", "1");
	has(b, "b", "1");
}

/* --- all of them --- */

typedef struct {
	const char *name;
	void (*run)(LogBed *b);
} Promise;

static const Promise promises[] = {
#define PROMISE(fn) { #fn, fn }
	PROMISE(frames_carry_the_epoch_they_were_committed_under),
	PROMISE(a_copy_takes_only_the_next_frame),
	PROMISE(nothing_is_acknowledged_beyond_what_the_others_have),
	PROMISE(only_acknowledged_rows_go_behind_the_journal),
	PROMISE(a_tail_that_was_durable_can_be_cut),
	PROMISE(a_cut_tail_is_gone_for_good),
	PROMISE(the_whole_log_can_be_cut),
	PROMISE(reading_gives_the_written_frames_in_order),
	PROMISE(reading_goes_on_behind_a_cut),
	PROMISE(what_is_kept_can_be_read_when_it_left_memory),
	PROMISE(much_that_is_kept_can_be_read_on_and_on),
	PROMISE(what_is_not_kept_is_not_missed_silently),
	PROMISE(a_reset_leaves_nothing),
	PROMISE(a_reset_takes_what_is_not_written_yet),
	PROMISE(a_reset_that_is_cut_short_is_done_or_not_begun),
	PROMISE(a_rebase_keeps_rows_and_contents_under_another_log),
	PROMISE(a_rebase_that_is_cut_short_is_done_or_not_begun),
	PROMISE(a_reset_and_a_rebase_wait_for_contents_that_are_asked_for),
	PROMISE(fills_are_rows_but_no_frames),
	PROMISE(a_power_cut_takes_what_was_not_synced),
	PROMISE(any_history_is_what_the_model_says),
};

/* From the environment variable SEED, or a new one; printed. */
static guint32 log_seed(void)
{
	const char *given = g_getenv("SEED");
	guint32 seed = given ? (guint32)strtoul(given, NULL, 10) : g_random_int();

	g_test_message("SEED=%u", seed);
	return seed;
}

typedef struct {
	const LogBedVt *vt;
	const Promise *promise;
} Case;

static void run_case(gconstpointer arg)
{
	const Case *c = arg;
	guint32 seed = log_seed();
	LogBed *b = c->vt->new(seed);

	b->seed = seed;
	c->promise->run(b);
	c->vt->free(b);
}

void store_log_tests(const char *path, const LogBedVt *vt)
{
	for (guint i = 0; i < G_N_ELEMENTS(promises); i++) {
		Case *c = g_new(Case, 1);
		*c = (Case){ vt, &promises[i] };
		g_autofree char *name = g_strdup_printf("%s/%s", path, promises[i].name);
		g_test_add_data_func_full(name, c, run_case, g_free);
	}
}
