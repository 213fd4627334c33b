/* Two copies of a slice, and what each does about what the other cannot. */
#include "tests/sim/mirror_net.h"
#include "magmad/mirror/mirror.h"
#include <errno.h>
#include <string.h>

#define SEC ((gint64)1000000)

/* --- a write that a full disk refuses its owner, and not the copy --- */

enum { MIB = 1 << 20, FILE_MIB = 8 };

typedef struct {
	gboolean done;
	int error;
} Answer;

static void answered(void *user, int error) { *(Answer *)user = (Answer){ TRUE, error }; }
static void no_ack(void *user, guint64 index) { }
static void nobody(void *user) { }

static void until(MNet *n, gboolean *flag)
{
	gint64 end = world_now(n->w) + 60 * SEC;

	while (!*flag && world_now(n->w) < end)
		mnet_step(n);
	g_assert_true(*flag);
}

static void run_for(MNet *n, gint64 time)
{
	gint64 end = world_now(n->w) + time;

	while (world_now(n->w) < end)
		mnet_step(n);
}

static int write_at(MNet *n, const MagmaFid *fid, guint64 off, gsize len)
{
	Answer a = { FALSE, 0 };
	g_autofree guint8 *bytes = g_malloc(len);
	g_autoptr(GBytes) data = NULL;

	memset(bytes, 'x', len);
	data = g_bytes_new(bytes, len);
	store_content_write(mnet_store(n), fid, off, data, answered, &a);
	until(n, &a.done);
	return a.error;
}

/* Two nodes; the second is no copy that counts yet. */
static void both_up(MNet *n)
{
	n->on_acked = no_ack;
	n->on_lost = n->on_owner = nobody;
	mnet_up(n, 0);
	mnet_up(n, 1);
	n->in_sync[1] = FALSE;
}

/* The first owns, and the second is a copy that counts. */
static MNet *two_in_sync(guint32 seed, gint64 disk_delay)
{
	MNetConfig cfg = { .seed = seed, .nodes = 2, .disk_delay = disk_delay };
	MNet *n = mnet_new(&cfg);

	both_up(n);
	mnet_promote(n, 0);
	run_for(n, 5 * SEC);
	g_assert_true(n->in_sync[1]);
	return n;
}

static void both_free(MNet *n)
{
	for (guint i = 0; i < 2; i++)
		if (n->nodes[i].store)
			mnet_down(n, i, FALSE);
	mnet_free(n);
}

static guint64 size_at(MNet *n, guint i, const MagmaFid *fid) { return memcontent_size(memdisk_file(n->nodes[i].disk, fid)->live); }

static void a_refused_write_has_its_own_region_compared(void)
{
	MNet *n = two_in_sync(1, 1000);
	MagmaFid fid = { .ino = 77 };
	CopyStatus st;

	g_assert_cmpuint(owner_status(n->nodes[0].owner, &st, 1), ==, 1);
	g_assert_cmpint(st.state, ==, COPY_IN_SYNC);
	for (guint i = 0; i < FILE_MIB; i++)
		g_assert_cmpint(write_at(n, &fid, i * (guint64)MIB, MIB), ==, 0);
	run_for(n, SEC);
	guint64 before = MEM(n->nodes[0].store)->bytes_read;
	memstore_set_full(n->nodes[0].store, TRUE);
	g_assert_cmpint(write_at(n, &fid, FILE_MIB * (guint64)MIB - 1000, 5000), ==, ENOSPC);
	run_for(n, 5 * SEC);
	g_assert_cmpuint(size_at(n, 0, &fid), ==, FILE_MIB * (guint64)MIB);
	g_assert_cmpuint(size_at(n, 1, &fid), ==, FILE_MIB * (guint64)MIB);
	g_assert_true(memcontent_equal(memdisk_file(n->nodes[0].disk, &fid)->live, memdisk_file(n->nodes[1].disk, &fid)->live, FILE_MIB * (guint64)MIB));
	g_assert_cmpuint(MEM(n->nodes[0].store)->bytes_read - before, <=, 5000);
	both_free(n);
}

/* A copy that has it may be the next owner, and shows it then: what a write that failed has left is nobody's while it is not compared, and what an fsync has promised is not. */
static void an_fsync_waits_until_what_was_refused_is_the_same_everywhere(void)
{
	MNet *n = two_in_sync(1, 1000);
	MagmaFid fid = { .ino = 77 };
	Answer a = { FALSE, 0 };

	g_assert_cmpint(write_at(n, &fid, 0, MIB), ==, 0);
	run_for(n, SEC);
	memstore_set_full(n->nodes[0].store, TRUE);
	g_assert_cmpint(write_at(n, &fid, MIB - 1000, 5000), ==, ENOSPC);
	store_content_sync(mnet_store(n), &fid, answered, &a);
	until(n, &a.done);
	g_assert_cmpint(a.error, ==, 0);
	g_assert_cmpuint(memcontent_size(memdisk_file(n->nodes[1].disk, &fid)->synced), ==, memcontent_size(memdisk_file(n->nodes[0].disk, &fid)->synced));
	g_assert_true(memcontent_equal(memdisk_file(n->nodes[0].disk, &fid)->synced, memdisk_file(n->nodes[1].disk, &fid)->synced, MIB));
	both_free(n);
}

/* --- a load that never rests --- */

enum { FRAME_EVERY = 200, IN_TIME = 11 };   /* us, less than a read of the journal takes; seconds: 7 with the feed waiting for that reader, 16 with luck */

typedef struct {
	MNet *n;
	guint64 frames;
} Steady;

static void put_frame(Steady *s)
{
	guint8 key[8];
	MagmaKey rk = { { 0 } };
	Txn *t = txn_new();

	magma_be64_store(key, s->frames++ % 1000);
	txn_put(t, TAB_FLARE, key, sizeof key, &rk, key, sizeof key);
	store_commit(mnet_store(s->n), t);
}

static void next_frame(void *arg)
{
	Steady *s = arg;

	put_frame(s);
	world_after(s->n->w, FRAME_EVERY, FALSE, next_frame, s);
}

/* The journal's reader is always behind then, by what was committed while it read. */
static void a_copy_gets_in_sync_under_a_load_that_never_rests(void)
{
	MNet *n = two_in_sync(1, 40000);
	Steady s = { n, 0 };

	mnet_down(n, 1, FALSE);
	n->in_sync[1] = FALSE;
	mnet_tell_owner(n);
	next_frame(&s);
	run_for(n, 3 * SEC);
	mnet_up(n, 1);
	gint64 up = world_now(n->w);
	while (!n->in_sync[1]) {
		g_assert_cmpint(world_now(n->w) - up, <, IN_TIME * SEC);
		run_for(n, SEC / 100);
	}
	g_assert_cmpuint(s.frames, >, 10000);
	both_free(n);
}

/* Clients wait for each of its acknowledgements, and it is never a thousand records behind. */
static void a_copy_that_takes_its_time_is_called_slow(void)
{
	MNet *n = two_in_sync(1, 1000);
	Steady s = { n, 0 };
	CopyStatus st;
	gboolean slow = FALSE;

	put_frame(&s);
	run_for(n, SEC);
	g_assert_cmpuint(owner_status(n->nodes[0].owner, &st, 1), ==, 1);
	g_assert_cmpint(st.state, ==, COPY_IN_SYNC);
	g_assert_false(st.slow);
	MEM(n->nodes[1].store)->cfg.delay_max = 1800000;
	for (guint i = 0; i < 10; i++) {
		put_frame(&s);
		run_for(n, 2 * SEC);
		owner_status(n->nodes[0].owner, &st, 1);
		slow |= st.slow;
	}
	g_assert_true(slow);
	MEM(n->nodes[1].store)->cfg.delay_max = 1000;
	run_for(n, 5 * SEC);
	put_frame(&s);
	run_for(n, SEC);
	owner_status(n->nodes[0].owner, &st, 1);
	g_assert_cmpint(st.state, ==, COPY_IN_SYNC);
	g_assert_false(st.slow);
	both_free(n);
}

static void sync_came(void *user, int error) { *(int *)user = error; }

/* --- a disk that has no room when it is to write what it took --- */

/* The owner would answer by what it has in memory, for as long as that is there. */
static void an_owner_whose_content_was_lost_ends_where_a_copy_counts(gboolean counts)
{
	MNet *n = two_in_sync(1, 1000);
	MagmaFid fid = { .ino = 77 };
	int error = -1;

	g_assert_cmpint(write_at(n, &fid, 0, 10), ==, 0);
	if (!counts) {
		mnet_down(n, 1, FALSE);
		n->in_sync[1] = FALSE;
		mnet_tell_owner(n);
	}
	memdisk_file(n->nodes[0].disk, &fid)->sync_lost = ENOSPC;
	store_content_sync(mnet_store(n), &fid, sync_came, &error);
	for (guint i = 0; i < 1000 && n->nodes[0].store && error < 0; i++)
		mnet_step(n);
	for (guint i = 0; i < 5 && n->nodes[0].store; i++)
		mnet_step(n);
	g_assert_cmpint(n->nodes[0].store == NULL, ==, counts);
	if (!counts)
		g_assert_cmpint(error, ==, ENOSPC);
	both_free(n);
}

static void a_copy_goes_on_where_the_owner_lost_what_was_written(void) { an_owner_whose_content_was_lost_ends_where_a_copy_counts(TRUE); }
static void a_client_is_told_what_was_lost_where_no_copy_counts(void) { an_owner_whose_content_was_lost_ends_where_a_copy_counts(FALSE); }

/* --- what was kept for a copy, and given up on a full disk --- */

enum { AWAY_FRAMES = 300 };

static void count_row(void *user, const StoreRow *row) { *(guint64 *)user = *(guint64 *)user * 31 + magma_be64_load(row->key) * 7 + magma_be64_load(row->val) + 1; }

static guint64 rows_at(MNet *n, guint i)
{
	guint64 sum = 0;

	memstore_each(n->nodes[i].store, TAB_FLARE, count_row, &sum);
	return sum;
}

/* Back from being away it needs what is gone, and is compared by digests, not filled. given: or it is there, and comes from the journal. */
static void comes_back(gboolean given)
{
	MNetConfig cfg = { .seed = 1, .nodes = 2, .disk_delay = 1000 };
	MNet *n = mnet_new(&cfg);
	Steady s = { n, 0 };
	CopyStatus st;
	gboolean seen[COPY_DIGESTS + 1] = { FALSE };
	StoreUsage u;
	int error = -1;

	both_up(n);
	mnet_promote(n, 0);
	for (guint i = 0; i < AWAY_FRAMES; i++)
		put_frame(&s);
	run_for(n, 5 * SEC);
	g_assert_true(n->in_sync[1]);
	mnet_down(n, 1, FALSE);
	n->in_sync[1] = FALSE;
	mnet_tell_owner(n);
	for (guint i = 0; i < AWAY_FRAMES; i++)
		put_frame(&s);
	run_for(n, 2 * SEC);
	store_sync(mnet_store(n), sync_came, &error);        /* what is to be given is behind the journal */
	run_for(n, SEC);
	g_assert_cmpint(error, ==, 0);
	memstore_set_full(n->nodes[0].store, given);
	n->nodes[0].store->vt->usage(n->nodes[0].store, &u);
	memstore_set_full(n->nodes[0].store, FALSE);
	put_frame(&s);                        /* is in the journal alone */
	mnet_up(n, 1);
	gint64 up = world_now(n->w);
	while (!n->in_sync[1]) {
		g_assert_cmpint(world_now(n->w), <, up + 10 * SEC);
		run_for(n, SEC / 1000);
		owner_status(n->nodes[0].owner, &st, 1);
		seen[st.state] = TRUE;
	}
	run_for(n, SEC);
	g_assert_cmpuint(rows_at(n, 1), ==, rows_at(n, 0));
	g_assert_cmpint(seen[COPY_DIGESTS], ==, given);
	both_free(n);
}

static void a_copy_that_needs_journal_which_a_full_disk_gave_up_is_compared(void)
{
	comes_back(FALSE);
	comes_back(TRUE);
}

/* --- a copy whose disk is behind --- */

/* What it caught up may be hundreds of MiB that are not on its disk yet: it begins to count when they are, so that no fsync of a client waits for them. */
static void nobody_waits_for_the_first_sync_of_a_copy(void)
{
	MNetConfig cfg = { .seed = 1, .nodes = 2, .disk_delay = 1000 };
	MNet *n = mnet_new(&cfg);
	Steady s = { n, 0 };
	int error = -1;

	both_up(n);
	memstore_syncs_take(n->nodes[1].store, 5 * SEC);
	mnet_promote(n, 0);
	next_frame(&s);
	gint64 began = world_now(n->w);
	while (!memstore_syncs(n->nodes[1].store)) {
		g_assert_cmpint(world_now(n->w) - began, <, IN_TIME * SEC);
		run_for(n, SEC / 1000);
	}
	began = world_now(n->w);
	g_assert_false(n->in_sync[1]);
	store_sync(mnet_store(n), sync_came, &error);
	run_for(n, SEC / 10);
	g_assert_cmpint(error, ==, 0);
	while (!n->in_sync[1]) {
		g_assert_cmpint(world_now(n->w) - began, <, 30 * SEC);
		run_for(n, SEC / 100);
	}
	g_assert_cmpint(world_now(n->w) - began, >, 9 * SEC);        /* both syncs were waited for */
	both_free(n);
}

/* --- a disk that does not read in one place --- */

typedef struct {
	gboolean done;
	int error;
	GBytes *data;
} Bytes;

static void bytes_came(void *user, int error, GBytes *data) { *(Bytes *)user = (Bytes){ TRUE, error, data ? g_bytes_ref(data) : NULL }; }

/* 'x' is what write_at() writes. */
static int read_at(MNet *n, const MagmaFid *fid, guint64 off, gsize len, gsize expect)
{
	Bytes b = { FALSE, 0, NULL };
	gsize got;

	store_content_read(mnet_store(n), fid, off, len, bytes_came, &b);
	until(n, &b.done);
	if (b.error)
		return b.error;
	const guint8 *p = g_bytes_get_data(b.data, &got);
	g_assert_cmpuint(got, ==, expect);
	for (gsize i = 0; i < got; i++)
		g_assert_cmpuint(p[i], ==, 'x');
	g_bytes_unref(b.data);
	return 0;
}

static void what_the_owner_cannot_read_comes_from_a_copy_and_is_written_over(void)
{
	enum { SIZE = 10 * MEMFILE_PAGE + 77 };
	MNet *n = two_in_sync(1, 1000);
	MagmaFid fid = { .ino = 77 };
	guint unread;
	guint64 rewritten;

	g_assert_cmpint(write_at(n, &fid, 0, SIZE), ==, 0);
	MemFile *mine = memdisk_file(n->nodes[0].disk, &fid), *its = memdisk_file(n->nodes[1].disk, &fid);
	/* in the middle, at the end, and a question in the middle of a page */
	memfile_break(mine, 2, 3);
	g_assert_cmpint(read_at(n, &fid, 3 * MEMFILE_PAGE + 5, 100, 100), ==, 0);
	owner_damage(n->nodes[0].owner, &unread, &rewritten);
	g_assert_cmpuint(unread, ==, 1);
	run_for(n, SEC);
	g_assert_cmpint(read_at(n, &fid, 0, SIZE + 1000, SIZE), ==, 0);
	run_for(n, SEC);
	g_assert_false(memfile_bad(mine));
	memfile_break(mine, 10, 1);
	g_assert_cmpint(read_at(n, &fid, 9 * MEMFILE_PAGE, 3 * MEMFILE_PAGE, MEMFILE_PAGE + 77), ==, 0);
	run_for(n, SEC);
	g_assert_false(memfile_bad(mine));
	g_assert_cmpuint(size_at(n, 0, &fid), ==, SIZE);
	g_assert_true(memcontent_equal(mine->live, its->live, SIZE));
	owner_damage(n->nodes[0].owner, &unread, &rewritten);
	g_assert_cmpuint(unread, ==, 0);
	g_assert_cmpuint(rewritten, ==, 3);
	/* a copy that cannot read it either, and one that does not count: an error, and loud */
	memfile_break(mine, 0, 1);
	memfile_break(its, 0, 1);
	g_assert_cmpint(read_at(n, &fid, 0, 10, 10), ==, EIO);
	memdisk_read_again(n->nodes[1].disk);
	mnet_down(n, 1, FALSE);
	n->in_sync[1] = FALSE;
	mnet_tell_owner(n);
	g_assert_cmpint(read_at(n, &fid, 0, 10, 10), ==, EIO);
	owner_damage(n->nodes[0].owner, &unread, &rewritten);
	g_assert_cmpuint(unread, ==, 1);
	mnet_down(n, 0, FALSE);
	mnet_free(n);
}

/* A slice came to the second of two, and what had a write intent is compared with the first, which counts. The second one's disk does not read it: no word against the first. */
static void an_owner_that_cannot_read_what_it_compares_ends_and_the_copy_goes_on_counting(void)
{
	MNet *n = two_in_sync(1, 1000);
	MagmaFid fid = { .ino = 77 };
	guint8 ino[8] = { 0, 0, 0, 0, 0, 0, 0, 77 };
	Txn *t = txn_new();

	txn_put(t, TAB_DIRTY, ino, sizeof ino, &fid.key, "", 0);
	store_commit(mnet_store(n), t);
	g_assert_cmpint(write_at(n, &fid, 0, 8 * MEMFILE_PAGE), ==, 0);
	run_for(n, SEC);
	mnet_down(n, 0, FALSE);
	memdisk_file(n->nodes[1].disk, &fid)->unreadable = TRUE;
	mnet_up(n, 0);
	mnet_promote(n, 1);
	for (guint i = 0; i < 100000 && n->nodes[1].store; i++)
		mnet_step(n);
	g_assert_null(n->nodes[1].store);
	g_assert_true(n->in_sync[0]);
	g_assert_cmpuint(n->stucks, ==, 0);
	g_assert_true(memcontent_equal(memdisk_file(n->nodes[0].disk, &fid)->live, memdisk_file(n->nodes[1].disk, &fid)->live, 8 * MEMFILE_PAGE));
	mnet_down(n, 0, FALSE);
	mnet_free(n);
}

typedef struct {
	gboolean done;
	int error;
} Scanned;

static void rows_scanned(void *user, int error, const StoreRow *rows, guint n, gboolean eof) { *(Scanned *)user = (Scanned){ TRUE, error }; }

/* What a client would be told is no error as long as somebody else can own the slice: the owner ends. Where nobody can, it is told, and the owner goes on with the rest. */
static void rows_that_do_not_read(gboolean copy_counts)
{
	MNet *n = two_in_sync(1, 1000);
	Scanned s = { FALSE, 0 };

	if (!copy_counts) {
		mnet_down(n, 1, FALSE);
		n->in_sync[1] = FALSE;
		mnet_tell_owner(n);
	}
	n->nodes[0].unread = UNREAD_ALL;
	store_scan(mnet_store(n), TAB_COOKIE, NULL, 0, NULL, 0, 8, rows_scanned, &s);
	for (guint i = 0; i < 100000 && (copy_counts ? n->nodes[0].store != NULL : !s.done); i++)
		mnet_step(n);
	if (copy_counts) {
		g_assert_null(n->nodes[0].store);
		g_assert_true(n->in_sync[1]);
	} else {
		g_assert_true(s.done);
		g_assert_cmpint(s.error, ==, EIO);
		g_assert_nonnull(n->nodes[0].store);
		mnet_down(n, 0, FALSE);
	}
	mnet_free(n);
}

static void rows_that_do_not_read_end_the_owner_where_a_copy_counts(void) { rows_that_do_not_read(TRUE); }
static void rows_that_do_not_read_are_an_error_where_no_copy_counts(void) { rows_that_do_not_read(FALSE); }

typedef struct {
	gboolean done;
	int error;
} Written;

static void pages_written(void *user, int error) { *(Written *)user = (Written){ TRUE, error }; }

static void begin_write(MNet *n, const MagmaFid *fid, guint64 off, Answer *a)
{
	g_autoptr(GBytes) data = g_bytes_new_static("x", 1);

	store_content_write(mnet_store(n), fid, off, data, answered, a);
	owner_flush(n->nodes[0].owner);               /* it is on its way before it may fail here */
}

/* Too far out for any disk, say: that everybody refuses it says nothing about the copy. */
static void what_no_disk_takes_leaves_the_copies_alone(void)
{
	MNet *n = two_in_sync(4, 1000);
	MagmaFid fid = { .ino = 77 };

	for (guint i = 0; i < 2; i++)
		memstore_set_full(n->nodes[i].store, TRUE);
	for (guint i = 0; i < 5; i++) {
		Answer a = { FALSE, 0 };
		begin_write(n, &fid, i * MEMFILE_PAGE, &a);
		until(n, &a.done);
		g_assert_cmpint(a.error, ==, ENOSPC);
		run_for(n, SEC);
		g_assert_true(n->in_sync[1]);
	}
	g_assert_cmpuint(n->stucks, ==, 0);
	for (guint i = 0; i < 2; i++)
		memstore_set_full(n->nodes[i].store, FALSE);
	g_assert_cmpint(write_at(n, &fid, 0, 3 * MEMFILE_PAGE), ==, 0);
	run_for(n, 5 * SEC);
	g_assert_true(n->in_sync[1]);
	g_assert_cmpint(read_at(n, &fid, 0, 10, 10), ==, 0);
	g_assert_true(memcontent_equal(memdisk_file(n->nodes[0].disk, &fid)->live, memdisk_file(n->nodes[1].disk, &fid)->live, 3 * MEMFILE_PAGE));
	both_free(n);
}

/* What fails everywhere is no excuse for one that fails with something else. */
static void a_copy_that_fails_alone_is_taken_out_whatever_else_fails(void)
{
	MNet *n = two_in_sync(5, 1000);
	MagmaFid fid = { .ino = 77 };
	Answer own = { FALSE, 0 };

	memstore_set_full(n->nodes[1].store, TRUE);
	begin_write(n, &fid, 0, &own);
	until(n, &own.done);
	g_assert_cmpint(own.error, ==, 0);
	memstore_set_full(n->nodes[0].store, TRUE);
	for (guint i = 1; i < 50 && n->in_sync[1]; i++) {
		Answer both = { FALSE, 0 };
		begin_write(n, &fid, i * MEMFILE_PAGE, &both);
		until(n, &both.done);
		run_for(n, SEC / 5);
	}
	g_assert_false(n->in_sync[1]);
	g_assert_cmpuint(n->stucks, >, 0);
	both_free(n);
}

enum { PIECE = 1 << 20, PIECES = 3, REPLAY_STEPS = 100 };

static void one_done(void *user, int error) { ++*(guint *)user; }

/* A copy has done a truncation and writes behind it, and logged what follows them; its answer is lost with it, and the owner with all that is on its way so many events after it is back. TRUE: it has all it logged. */
static gboolean copy_keeps_what_it_logged(guint steps)
{
	MNet *n = two_in_sync(3, 1000);
	MagmaFid fid = { .ino = 77 };
	guint8 key[8] = { 0, 0, 0, 0, 0, 0, 0, 77 };
	g_autofree guint8 *bytes = g_malloc(PIECE);
	g_autoptr(GBytes) piece = g_bytes_new_take(memset(g_steal_pointer(&bytes), 'x', PIECE), PIECE);
	Txn *t = txn_new();
	guint done = 0;

	n->mute = TRUE;
	store_content_truncate(mnet_store(n), &fid, 0, one_done, &done);
	for (guint i = 0; i < PIECES; i++)
		store_content_write(mnet_store(n), &fid, i * PIECE, piece, one_done, &done);
	while (done < PIECES + 1)
		mnet_step(n);
	txn_put(t, TAB_DATA, key, sizeof key, &fid.key, "", 0);
	guint64 index = store_commit(mnet_store(n), t);
	while (n->nodes[1].store->log->written(n->nodes[1].store) < index)
		mnet_step(n);
	mnet_down(n, 1, FALSE);
	n->mute = FALSE;
	mnet_up(n, 1);
	for (guint i = 0; i < steps; i++)
		mnet_step(n);
	g_assert_true(n->in_sync[1]);         /* it could own */
	mnet_down(n, 0, FALSE);
	mnet_down(n, 1, FALSE);
	const MemContent *live = memdisk_file(n->nodes[1].disk, &fid)->live;
	gboolean has = live && memcontent_size(live) == PIECES * PIECE;
	for (guint i = 0; has && i < PIECES; i++) {
		g_autoptr(GBytes) there = memcontent_read(live, i * PIECE, PIECE);
		has = g_bytes_equal(there, piece);
	}
	mnet_free(n);
	return has;
}

static void a_copy_that_is_back_is_not_sent_again_what_it_has_done(void)
{
	for (guint steps = 0; steps < REPLAY_STEPS; steps++)
		if (!copy_keeps_what_it_logged(steps))
			g_error("it has lost what it had logged, %u events after it was back", steps);
}

enum { BAD_PAGES = 3, STEPS = 24 };

/* So many events after a reader has met the bad place. TRUE: it was still waiting then. */
static gboolean write_meets_rescue(guint steps)
{
	enum { SIZE = 8 * MEMFILE_PAGE };
	MNet *n = two_in_sync(1, 1000);
	MagmaFid fid = { .ino = 77 };
	Bytes b = { FALSE, 0, NULL }, after = { FALSE, 0, NULL };
	Written w = { FALSE, 0 };
	g_autofree guint8 *pages = g_malloc(BAD_PAGES * MEMFILE_PAGE);
	g_autoptr(GBytes) data = NULL;

	g_assert_cmpint(write_at(n, &fid, 0, SIZE), ==, 0);
	run_for(n, SEC);
	memfile_break(memdisk_file(n->nodes[0].disk, &fid), 2, BAD_PAGES);
	store_content_read(mnet_store(n), &fid, 2 * MEMFILE_PAGE, 10, bytes_came, &b);
	for (guint i = 0; i < steps; i++)
		mnet_step(n);
	gboolean early = !b.done;
	memset(pages, 'y', BAD_PAGES * MEMFILE_PAGE);
	data = g_bytes_new(pages, BAD_PAGES * MEMFILE_PAGE);
	store_content_write(mnet_store(n), &fid, 2 * MEMFILE_PAGE, data, pages_written, &w);
	until(n, &w.done);
	until(n, &b.done);
	run_for(n, SEC);
	g_assert_cmpint(w.error, ==, 0);
	store_content_read(mnet_store(n), &fid, 2 * MEMFILE_PAGE, BAD_PAGES * MEMFILE_PAGE, bytes_came, &after);
	until(n, &after.done);
	g_assert_cmpint(after.error, ==, 0);
	g_assert_true(g_bytes_equal(after.data, data));
	g_assert_true(memcontent_equal(memdisk_file(n->nodes[0].disk, &fid)->live, memdisk_file(n->nodes[1].disk, &fid)->live, SIZE));
	g_bytes_unref(b.data);
	g_bytes_unref(after.data);
	both_free(n);
	return early;
}

/* What a copy answers is from before the write. */
static void what_comes_from_a_copy_is_not_written_over_what_was_begun_since(void)
{
	guint early = 0;

	for (guint steps = 0; steps < STEPS; steps++)
		early += write_meets_rescue(steps);
	g_assert_cmpuint(early, >, 3);
	g_assert_cmpuint(early, <, STEPS);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sim/copies/a_refused_write_has_its_own_region_compared", a_refused_write_has_its_own_region_compared);
	g_test_add_func("/sim/copies/a_copy_that_takes_its_time_is_called_slow", a_copy_that_takes_its_time_is_called_slow);
	g_test_add_func("/sim/copies/a_copy_gets_in_sync_under_a_load_that_never_rests", a_copy_gets_in_sync_under_a_load_that_never_rests);
	g_test_add_func("/sim/copies/a_copy_that_needs_journal_which_a_full_disk_gave_up_is_compared", a_copy_that_needs_journal_which_a_full_disk_gave_up_is_compared);
	g_test_add_func("/sim/copies/nobody_waits_for_the_first_sync_of_a_copy", nobody_waits_for_the_first_sync_of_a_copy);
	g_test_add_func("/sim/copies/what_the_owner_cannot_read_comes_from_a_copy_and_is_written_over", what_the_owner_cannot_read_comes_from_a_copy_and_is_written_over);
	g_test_add_func("/sim/copies/what_comes_from_a_copy_is_not_written_over_what_was_begun_since", what_comes_from_a_copy_is_not_written_over_what_was_begun_since);
	g_test_add_func("/sim/copies/an_owner_that_cannot_read_what_it_compares_ends_and_the_copy_goes_on_counting", an_owner_that_cannot_read_what_it_compares_ends_and_the_copy_goes_on_counting);
	g_test_add_func("/sim/copies/a_copy_that_is_back_is_not_sent_again_what_it_has_done", a_copy_that_is_back_is_not_sent_again_what_it_has_done);
	g_test_add_func("/sim/copies/what_no_disk_takes_leaves_the_copies_alone", what_no_disk_takes_leaves_the_copies_alone);
	g_test_add_func("/sim/copies/a_copy_that_fails_alone_is_taken_out_whatever_else_fails", a_copy_that_fails_alone_is_taken_out_whatever_else_fails);
	g_test_add_func("/sim/copies/rows_that_do_not_read_end_the_owner_where_a_copy_counts", rows_that_do_not_read_end_the_owner_where_a_copy_counts);
	g_test_add_func("/sim/copies/rows_that_do_not_read_are_an_error_where_no_copy_counts", rows_that_do_not_read_are_an_error_where_no_copy_counts);
	g_test_add_func("/sim/copies/an_fsync_waits_until_what_was_refused_is_the_same_everywhere", an_fsync_waits_until_what_was_refused_is_the_same_everywhere);
	g_test_add_func("/sim/copies/a_copy_goes_on_where_the_owner_lost_what_was_written", a_copy_goes_on_where_the_owner_lost_what_was_written);
	g_test_add_func("/sim/copies/a_client_is_told_what_was_lost_where_no_copy_counts", a_client_is_told_what_was_lost_where_no_copy_counts);
	return g_test_run();
}
