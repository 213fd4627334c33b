/* What the repeat of an old request finds: the answer of the first time, or that its client has expired; never a second execution. And that opens go along, and what an owner lost its copy has. Whole volcanos in a simulated network. */
#include "tests/sim/fsck.h"
#include "tests/sim/cluster-internal.h"
#include "tests/sim/memdisk.h"
#include "magmad/core/consensus.h"
#include "magmad/core/move_out.h"
#include "magmad/core/takeover.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define MS ((gint64)1000)
#define SEC (1000 * MS)

static gboolean first_serves(void *user) { return cluster_serves(user, 0); }

static gboolean second_serves(void *user) { return cluster_serves(user, 1) && !volcano_map(cluster_volcano(user, 0))->move.id; }

static Cluster *network_of(guint32 seed, guint copies)
{
	ClusterConfig cfg = { .seed = seed, .pending_permille = 200, .disk_delay = 3 * MS, .copies = copies };
	Cluster *c = cluster_new(&cfg);

	cluster_start(c, 0);
	g_assert_true(cluster_run_until(c, 5 * SEC, first_serves, c));
	return c;
}

static Cluster *network(guint32 seed) { return network_of(seed, 1); }

/* It takes the upper half of the keys. */
static void join_second(Cluster *c)
{
	cluster_start(c, 1);
	g_assert_true(cluster_run_until(c, 60 * SEC, second_serves, c));
}

static MagmaAny must(SimClient *s, MagmaOp op, const void *req)
{
	MagmaAny rep;
	int error = sim_call_wait(s, op, req, &rep);

	if (error)
		g_error("%s: %s", magma_op_info(op)->name, magma_strerror(error));
	return rep;
}

static MagmaFid make_file(SimClient *s, const char *name, MagmaKey key)
{
	struct magma_req_mknod q = { .dir = magma_fid_root(), .key = key, .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR(name) };

	return must(s, MAGMA_OP_mknod, &q).rep_mknod.attr.fid;
}

static void write_bytes(SimClient *s, const MagmaFid *fid, guint64 offset, guint8 what, gsize n)
{
	g_autofree guint8 *bytes = g_malloc(n);
	struct magma_req_write q = { .fid = *fid, .offset = offset, .data = { bytes, n } };

	memset(bytes, what, n);
	must(s, MAGMA_OP_write, &q);
}

static MagmaAttr attr_of(SimClient *s, const MagmaFid *fid)
{
	struct magma_req_getattr q = { .fid = *fid };

	return must(s, MAGMA_OP_getattr, &q).rep_getattr.attr;
}

typedef struct {
	gboolean done;
	int error;
	MagmaAttr attr;
} Answer;

static void answered(void *user, int error, const MagmaAny *rep)
{
	Answer *a = user;

	a->done = TRUE;
	a->error = error;
	if (rep)
		a->attr = rep->rep_setattr.attr;
}

static void done_with(void *user, int error, const MagmaAny *rep) { ((Answer *)user)->done = TRUE; }

static gboolean is_answered(void *user) { return ((Answer *)user)->done; }

/* --- a truncation, a crash in its middle, somebody else's write, the repeat --- */

enum { LONG = 20000, SHORT = 9000, MORE = 500, ROUNDS = 60 };

static void ask_truncate(SimClient *s, const MagmaFid *fid, gboolean by_open, Answer *a)
{
	struct magma_req_open o = { .fid = *fid, .flags = O_WRONLY | O_TRUNC };
	struct magma_req_setattr q = { .fid = *fid, .mask = MAGMA_SET_SIZE | MAGMA_SET_MODE, .size = SHORT, .mode = 0600 };

	sim_call(s, by_open ? MAGMA_OP_open : MAGMA_OP_setattr, by_open ? (void *)&o : (void *)&q, answered, a);
}

/* TRUE: the crash came in its middle, and the restart completed it. */
static gboolean truncate_crash_write_repeat(Cluster *c, guint round)
{
	SimClient *a = sim_client_new(c, -1), *b = sim_client_new(c, -1);
	g_autofree char *name = g_strdup_printf("f%u", round);
	MagmaFid fid = make_file(a, name, magma_key_of_path(name, strlen(name)));
	gboolean by_open = round % 2, completed;
	guint64 size = by_open ? 0 : SHORT;
	Answer answer = { 0 };

	attr_of(b, &fid);
	write_bytes(a, &fid, 0, 'a', LONG);
	ask_truncate(a, &fid, by_open, &answer);
	cluster_run(c, world_pick(cluster_world(c), 12 * MS));
	sim_client_cut_off(a, TRUE);
	cluster_kill(c, 0, 10 * MS, FALSE);
	completed = attr_of(b, &fid).size == size && !answer.done;
	if (completed)
		write_bytes(b, &fid, size, 'b', MORE);
	sim_client_cut_off(a, FALSE);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &answer));
	g_assert_cmpint(answer.error, ==, 0);
	g_assert_cmpuint(answer.attr.size, ==, size);
	MagmaAttr now = attr_of(b, &fid);
	g_assert_cmpuint(now.size, ==, size + (completed ? MORE : 0));
	g_assert_cmpuint(now.mode & 07777, ==, by_open ? 0644 : 0600);
	sim_client_free(a);
	sim_client_free(b);
	return completed;
}

static void truncation_completed_by_a_restart_is_not_done_again(void)
{
	Cluster *c = network(1);
	guint completed = 0;

	for (guint round = 0; round < ROUNDS; round++)
		completed += truncate_crash_write_repeat(c, round);
	g_test_message("%u of %d were completed by the restart", completed, ROUNDS);
	g_assert_cmpuint(completed, >=, 5);
	cluster_free(c);
}

/* --- a create, a restart before its answer, the repeat --- */

static void open_that_a_stored_reply_grants_is_counted_after_a_restart(void)
{
	Cluster *c = network(4);
	SimClient *a = sim_client_new(c, -1), *b = sim_client_new(c, -1);
	struct magma_req_create q = { .dir = magma_fid_root(), .mode = 0644, .flags = O_RDWR, .name = MAGMA_BYTES_STR("f") };
	struct magma_req_lookup look = { .dir = q.dir, .name = q.name };
	struct magma_req_unlink unlink = { .dir = q.dir, .name = q.name };
	Answer made = { 0 };
	MagmaAny rep;

	sim_call_wait(a, MAGMA_OP_lookup, &look, &rep);      /* it has a session */
	sim_call(a, MAGMA_OP_create, &q, answered, &made);
	sim_client_cut_off(a, TRUE);
	while (sim_call_wait(b, MAGMA_OP_lookup, &look, &rep))
		cluster_run(c, MS);
	cluster_kill(c, 0, 10 * MS, FALSE);
	cluster_run(c, SEC);
	sim_client_cut_off(a, FALSE);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &made));
	g_assert_cmpint(made.error, ==, 0);
	must(b, MAGMA_OP_unlink, &unlink);
	cluster_run(c, 40 * SEC);             /* the grace for opens is over */
	attr_of(a, &made.attr.fid);
	sim_client_free(a);
	sim_client_free(b);
	cluster_free(c);
}

/* --- what failed, and would not fail any more --- */

static void repeat_of_what_failed_is_told_the_same(void)
{
	Cluster *c = network(5);
	SimClient *a = sim_client_new(c, -1), *b = sim_client_new(c, -1);
	struct magma_req_mknod q = { .dir = magma_fid_root(), .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR("f") };
	struct magma_req_lookup look = { .dir = q.dir, .name = q.name };
	struct magma_req_unlink unlink = { .dir = q.dir, .name = q.name };
	Answer again = { 0 };
	MagmaAny rep;

	make_file(b, "f", q.key);
	sim_call_wait(a, MAGMA_OP_lookup, &look, &rep);      /* it has a session */
	sim_call(a, MAGMA_OP_mknod, &q, answered, &again);
	sim_client_cut_off(a, TRUE);
	cluster_run(c, SEC);
	must(b, MAGMA_OP_unlink, &unlink);
	sim_client_cut_off(a, FALSE);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &again));
	g_assert_cmpint(again.error, ==, EEXIST);
	g_assert_cmpint(sim_call_wait(b, MAGMA_OP_lookup, &look, &rep), ==, ENOENT);
	must(a, MAGMA_OP_mknod, &q);
	sim_client_free(a);
	sim_client_free(b);
	cluster_free(c);
}

/* rename(2) of one name of a flare to another changes nothing. Later the names may be two flares'. Also where the volcano was restarted meanwhile. */
static void repeat_of_what_had_nothing_to_do_does_nothing(void)
{
	for (guint restart = 0; restart < 2; restart++) {
		Cluster *c = network(7);
		SimClient *a = sim_client_new(c, -1), *b = sim_client_new(c, -1);
		struct magma_req_link link = { .dir = magma_fid_root(), .flare = make_file(b, "f", (MagmaKey){ { 0 } }), .name = MAGMA_BYTES_STR("g") };
		struct magma_req_rename q = { .from_dir = link.dir, .from_name = MAGMA_BYTES_STR("f"), .to_dir = link.dir, .to_name = link.name };
		struct magma_req_lookup old = { .dir = link.dir, .name = q.from_name };
		struct magma_req_unlink unlink = { .dir = link.dir, .name = link.name };
		Answer again = { 0 };

		must(b, MAGMA_OP_link, &link);
		must(a, MAGMA_OP_lookup, &old);       /* it has a session */
		sim_call(a, MAGMA_OP_rename, &q, done_with, &again);
		sim_client_cut_off(a, TRUE);
		cluster_run(c, SEC);
		must(b, MAGMA_OP_unlink, &unlink);
		make_file(b, "g", (MagmaKey){ { 0 } });
		if (restart)
			cluster_kill(c, 0, 10 * MS, FALSE);
		sim_client_cut_off(a, FALSE);
		g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &again));
		must(b, MAGMA_OP_lookup, &old);
		sim_client_free(a);
		sim_client_free(b);
		cluster_free(c);
	}
}

static const MagmaKey upper = { .b = { 0xff } };

/* Whoever would do it now knows nothing of that error; who passed it on does. */
static void repeat_of_what_failed_elsewhere_is_told_the_same_by_who_passed_it_on(void)
{
	Cluster *c = network(6);
	join_second(c);
	SimClient *a = sim_client_new(c, 0), *b = sim_client_new(c, -1);
	struct magma_req_mkdir dir = { .dir = magma_fid_root(), .key = upper, .mode = 0755, .name = MAGMA_BYTES_STR("d") };
	struct magma_req_mknod q = { .dir = must(b, MAGMA_OP_mkdir, &dir).rep_mkdir.attr.fid, .key = upper, .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR("f") };
	struct magma_req_lookup look = { .dir = q.dir, .name = q.name };
	struct magma_req_unlink unlink = { .dir = q.dir, .name = q.name };
	Answer again = { 0 };
	MagmaAny rep;

	must(b, MAGMA_OP_mknod, &q);
	must(a, MAGMA_OP_lookup, &look);      /* it has a session, and so has who passes its requests on */
	sim_call(a, MAGMA_OP_mknod, &q, answered, &again);
	sim_client_cut_off(a, TRUE);
	cluster_run(c, SEC);
	cluster_kill(c, 1, 10 * MS, FALSE);
	must(b, MAGMA_OP_unlink, &unlink);
	sim_client_cut_off(a, FALSE);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &again));
	g_assert_cmpint(again.error, ==, EEXIST);
	g_assert_cmpint(sim_call_wait(b, MAGMA_OP_lookup, &look, &rep), ==, ENOENT);
	must(a, MAGMA_OP_mknod, &q);
	sim_client_free(a);
	sim_client_free(b);
	cluster_free(c);
}

/* --- a client expires at one volcano, and asks the heir --- */

static void expired_client_is_told_so_by_the_heir_of_a_slice(void)
{
	Cluster *c = network(2);
	SimClient *silent = sim_client_new(c, -1), *other = sim_client_new(c, -1);
	MagmaFid fid = make_file(silent, "f", upper);
	guint8 bytes[100] = { 0 };
	struct magma_req_write q = { .fid = fid, .flags = MAGMA_WRITE_APPEND, .data = { bytes, sizeof bytes } };
	struct magma_req_setattr chmod = { .fid = fid, .mask = MAGMA_SET_MODE, .mode = 0600 };
	Answer write = { 0 }, late = { 0 };

	sim_client_may_expire(silent);
	sim_call(silent, MAGMA_OP_write, &q, answered, &write);
	sim_client_cut_off(silent, TRUE);
	while (attr_of(other, &fid).size != sizeof bytes)
		cluster_run(c, MS);
	cluster_run(c, 20 * SEC);
	join_second(c);
	sim_client_cut_off(silent, FALSE);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &write));
	g_assert_cmpint(write.error, ==, MAGMA_EEXPIRED);
	g_assert_cmpuint(attr_of(other, &fid).size, ==, sizeof bytes);
	cluster_kill(c, 1, 10 * MS, FALSE);
	sim_call(silent, MAGMA_OP_setattr, &chmod, answered, &late);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &late));
	g_assert_cmpint(late.error, ==, MAGMA_EEXPIRED);
	g_assert_cmpuint(attr_of(other, &fid).mode & 07777, ==, 0644);
	sim_client_free(silent);
	sim_client_free(other);
	cluster_free(c);
}

/* --- opens --- */

enum { OPEN_FILES = 600, OPEN_CLIENTS = 100 };       /* 36 bytes each: twice what one message holds */

static void every_open_moves_with_its_slice(void)
{
	Cluster *c = network(3);
	SimClient *client[OPEN_CLIENTS];
	g_autoptr(GByteArray) fids = g_byte_array_new();
	VolcanoStats source, target;

	for (guint i = 0; i < OPEN_CLIENTS; i++)
		client[i] = sim_client_new(c, -1);
	for (guint i = 0; i < OPEN_FILES; i++) {
		g_autofree char *name = g_strdup_printf("f%u", i);
		MagmaFid fid = make_file(client[0], name, upper);
		magma_put_fid(fids, &fid);
	}
	struct magma_req_reopen q = { .route = upper, .fids = MAGMA_BYTES(fids->data, fids->len) };
	for (guint i = 0; i < OPEN_CLIENTS; i++)
		must(client[i], MAGMA_OP_reopen, &q);
	join_second(c);
	volcano_stats(cluster_volcano(c, 0), &source);
	volcano_stats(cluster_volcano(c, 1), &target);
	g_assert_cmpuint(source.opens, ==, 0);
	g_assert_cmpuint(target.opens, ==, OPEN_FILES);
	for (guint i = 0; i < OPEN_CLIENTS; i++)
		sim_client_free(client[i]);
	cluster_free(c);
}

/* An assertion that was made before the release and arrives behind it, and the other way round. */
static void last_word_about_an_open_counts_however_they_arrive(void)
{
	Cluster *c = network(6);
	SimClient *a = sim_client_new(c, -1);
	VolcanoStats stats;

	for (guint i = 0; i < 60; i++) {
		g_autofree char *name = g_strdup_printf("f%u", i);
		g_autoptr(GByteArray) fids = g_byte_array_new();
		MagmaFid fid = make_file(a, name, upper);
		magma_put_fid(fids, &fid);
		struct magma_req_reopen open = { .route = upper, .fids = MAGMA_BYTES(fids->data, fids->len) };
		struct magma_req_release close = { .fid = fid };
		Answer first = { 0 }, second = { 0 };
		gboolean stays = i % 2;
		sim_call(a, stays ? MAGMA_OP_release : MAGMA_OP_reopen, stays ? (void *)&close : (void *)&open, done_with, &first);
		sim_call(a, stays ? MAGMA_OP_reopen : MAGMA_OP_release, stays ? (void *)&open : (void *)&close, done_with, &second);
		g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &first) && cluster_run_until(c, 30 * SEC, is_answered, &second));
		volcano_stats(cluster_volcano(c, 0), &stats);
		g_assert_cmpuint(stats.opens, ==, stays);
		must(a, MAGMA_OP_release, &close);
	}
	sim_client_free(a);
	cluster_free(c);
}

/* --- an old copy of a request, after its stored reply was dropped, at whoever has the slice next --- */

typedef struct {
	SimClient *s;
	MagmaFid fid;
	GBytes *old;                  /* an append that was done and answered */
} Old;

static Old append_and_let_the_reply_go(Cluster *c)
{
	Old o = { .s = sim_client_new(c, -1) };
	guint8 bytes[100] = { 0 };
	struct magma_req_write q = { .flags = MAGMA_WRITE_APPEND, .data = { bytes, sizeof bytes } };

	q.fid = o.fid = make_file(o.s, "f", upper);
	must(o.s, MAGMA_OP_write, &q);
	o.old = sim_client_wire(o.s);
	cluster_run(c, 11 * SEC);             /* a ping says what it has seen, and the volcano drops it */
	return o;
}

static void old_copy_comes(Cluster *c, Old *o, guint volcano)
{
	cluster_run(c, 6 * SEC);              /* a ping: there is a session, and nothing was asked in it */
	g_assert_true(sim_client_send_late(o->s, volcano, o->old));
	cluster_run(c, SEC);
	g_assert_cmpuint(attr_of(o->s, &o->fid).size, ==, 100);
	g_bytes_unref(o->old);
	sim_client_free(o->s);
	cluster_free(c);
}

static void old_copy_is_not_executed_after_a_restart(void)
{
	Cluster *c = network(5);
	Old o = append_and_let_the_reply_go(c);

	cluster_kill(c, 0, 10 * MS, FALSE);
	old_copy_comes(c, &o, 0);
}

static void old_copy_is_not_executed_by_the_heir_of_a_slice(void)
{
	Cluster *c = network(6);
	Old o = append_and_let_the_reply_go(c);

	join_second(c);
	old_copy_comes(c, &o, 1);
}

static gboolean at_home(void *user) { return cluster_at_home(user); }

static void old_copy_is_not_executed_by_who_acts_for_the_owner(void)
{
	Cluster *c = network_of(7, 2);

	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	Old o = append_and_let_the_reply_go(c);
	cluster_kill(c, 1, 60 * SEC, FALSE);
	cluster_run(c, 5 * SEC);
	old_copy_comes(c, &o, 0);
}

/* --- an owner that is back from a power cut before anybody missed it --- */

enum { CUTS = 12 };

static void what_was_acknowledged_is_there_when_its_owner_comes_back_without_it(void)
{
	Cluster *c = network_of(8, 2);
	SimClient *s = sim_client_new(c, -1);

	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	MagmaFid fid = make_file(s, "f", upper);
	for (guint i = 0; i < CUTS; i++) {
		struct magma_req_setattr q = { .fid = fid, .mask = MAGMA_SET_MODE, .mode = 0600 + i % 8 };
		cluster_run(c, 5 * SEC);
		must(s, MAGMA_OP_setattr, &q);
		cluster_power_cut_one(c, 1, 1000 + world_pick(cluster_world(c), 1000000));
		g_assert_cmpuint(attr_of(s, &fid).mode & 07777, ==, q.mode);
		g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
		g_assert_cmpuint(attr_of(s, &fid).mode & 07777, ==, q.mode);
	}
	sim_client_free(s);
	cluster_free(c);
}

/* --- the disks come to bytes before they come to the journals --- */

enum { AT_REST = 60000, PARTS = 6 };

static void contents_are_the_same_everywhere_after_a_power_cut_of_all(void)
{
	ClusterConfig cfg = { .seed = 9, .pending_permille = 200, .disk_delay = 3 * MS, .copies = 2, .writeback_permille = 500 };
	Cluster *c = cluster_new(&cfg);
	SimClient *s;

	cluster_start(c, 0);
	g_assert_true(cluster_run_until(c, 5 * SEC, first_serves, c));
	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	s = sim_client_new(c, -1);
	MagmaFid fid = make_file(s, "f", upper);
	write_bytes(s, &fid, 0, 'a', AT_REST);
	for (guint i = 0; i < CUTS; i++) {
		struct magma_req_fsync sync = { .fid = fid };
		must(s, MAGMA_OP_fsync, &sync);
		cluster_run(c, 15 * SEC);             /* the write intent is gone */
		for (guint part = 0; part < PARTS; part++)
			write_bytes(s, &fid, world_pick(cluster_world(c), AT_REST - 5000), 'b' + i, 5000);
		cluster_power_cut(c, -1);
		g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
		g_assert_cmpuint(attr_of(s, &fid).size, ==, AT_REST);
		cluster_run(c, 20 * SEC);
		fsck_free(fsck_run(c));
		g_assert_cmpstr(fsck_copies(c), ==, NULL);
	}
	sim_client_free(s);
	cluster_free(c);
}

/* --- a disk that does not sync --- */

static Store *own_store(Cluster *c) { return cluster_store(c, 0, volcano_id(cluster_volcano(c, 0))); }

static void a_create_is_told_that_its_number_cannot_be_reserved_and_does_not_try_for_ever(void)
{
	Cluster *c = network(10);
	SimClient *s = sim_client_new(c, -1);
	struct magma_req_mknod q = { .dir = magma_fid_root(), .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR("f") };
	MagmaAny rep;

	memstore_fail_syncs(own_store(c), ENOSPC);
	for (guint i = 0; i < 20; i++)
		g_assert_cmpint(sim_call_wait(s, MAGMA_OP_mknod, &q, &rep), ==, ENOSPC);
	g_assert_cmpuint(memstore_syncs(own_store(c)), <=, 3);
	memstore_fail_syncs(own_store(c), 0);
	cluster_run(c, 2 * SEC);
	make_file(s, "f", upper);
	sim_client_free(s);
	cluster_free(c);
}

/* --- a part that came --- */

static gboolean move_is_known(void *user)
{
	const MagmaMap *map = cluster_volcano(user, 1) ? volcano_map(cluster_volcano(user, 1)) : NULL;

	return map && map->move.id;
}

/* What was sent while the part was still the source's is refused, though the target had it already. */
static void a_part_counts_from_the_map_that_gave_it(void)
{
	Cluster *c = network(12);

	cluster_start(c, 1);
	g_assert_true(cluster_run_until(c, 60 * SEC, move_is_known, c));
	guint64 begun = volcano_map(cluster_volcano(c, 1))->epoch;
	g_assert_true(cluster_run_until(c, 60 * SEC, second_serves, c));
	const Volcano *v = cluster_volcano(c, 1);
	const Slice *sl = core_slice(cluster_volcano(c, 1), volcano_id(v));
	g_assert_nonnull(sl);
	g_assert_cmpuint(sl->since, >, begun);
	g_assert_cmpuint(sl->since, <=, volcano_map(v)->epoch);
	cluster_free(c);
}

typedef struct {
	Cluster *c;
	guint64 move;
	guint served, frozen;         /* moments at which it serves by that move */
} Restarted;

static gboolean has_another_id(void *user)
{
	Restarted *r = user;
	Volcano *v = cluster_volcano(r->c, 0);
	Slice *sl = v ? core_slice(v, 1) : NULL;

	if (!sl || !sl->serving || !volcano_map(v))
		return FALSE;
	if (volcano_map(v)->move.id != r->move)
		return TRUE;
	r->served++;
	r->frozen += move_frozen(sl, NULL) && move_sealed(sl);
	return FALSE;
}

/* The MOVE_COMMIT of its life before may still come. */
static void a_source_that_was_restarted_does_nothing_before_its_move_has_another_id(void)
{
	Cluster *c = network(13);
	Restarted r = { .c = c };

	cluster_start(c, 1);
	g_assert_true(cluster_run_until(c, 60 * SEC, move_is_known, c));
	r.move = volcano_map(cluster_volcano(c, 1))->move.id;
	cluster_kill(c, 0, 10 * MS, FALSE);
	g_assert_true(cluster_run_until(c, 60 * SEC, has_another_id, &r));
	g_assert_cmpuint(r.served, >, 0);
	g_assert_cmpuint(r.frozen, ==, r.served);
	g_assert_true(cluster_run_until(c, 60 * SEC, second_serves, c));
	cluster_free(c);
}

/* --- a store that cannot be opened for a while --- */

enum { REFUSED = 4 };

static void a_copy_whose_store_cannot_be_opened_is_tried_again_without_a_new_map(void)
{
	Cluster *c = network_of(11, 2);

	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	c->node[1].refuse_opens = REFUSED;
	cluster_kill(c, 1, 10 * MS, FALSE);
	cluster_run(c, 5 * SEC);
	guint64 epoch = volcano_map(cluster_volcano(c, 0))->epoch;
	g_assert_cmpuint(c->node[1].refuse_opens, ==, REFUSED - 3);      /* at once, after one second, after two more */
	g_assert_false(volcano_map(cluster_volcano(c, 0))->copies_kept == 2);
	cluster_run(c, 5 * SEC);
	g_assert_cmpuint(c->node[1].refuse_opens, ==, 0);
	g_assert_cmpuint(volcano_map(cluster_volcano(c, 0))->epoch, ==, epoch);
	cluster_run(c, 20 * SEC);
	g_assert_cmpuint(volcano_map(cluster_volcano(c, 0))->copies_kept, ==, 2);
	g_assert_cmpstr(fsck_copies(c), ==, NULL);
	cluster_free(c);
}

/* --- a copy's disk that fills up --- */

static guint looks;

static void usage_counted(Store *s, StoreUsage *out)
{
	looks++;
	*out = (StoreUsage){ .low = TRUE };
}

/* No operation asks it: it gives what it keeps for others (memstore, store/space.c) when it is asked. */
static void a_copys_store_looks_at_its_disk_every_second(void)
{
	Cluster *c = network_of(18, 2);

	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	Store *copy = cluster_store(c, 1, 1);
	g_assert_true(magma_map_slice_by_id(volcano_map(cluster_volcano(c, 1)), 1)->owner == 1);
	looks = 0;
	MEM(copy)->vt.usage = usage_counted;
	cluster_run(c, 10 * SEC);
	g_assert_cmpuint(looks, >=, 10);
	cluster_free(c);
}

enum { THREE = 3, BEFORE = 5000, AFTER = 3000 };

typedef struct {
	Cluster *c;
	guint16 slice, owner;         /* or whoever it is (0) */
	guint copies;
} Keeper;

static const MagmaMap *newest(Cluster *c)
{
	const MagmaMap *best = NULL;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		const MagmaMap *m = cluster_volcano(c, i) ? volcano_map(cluster_volcano(c, i)) : NULL;
		if (m && (!best || m->epoch > best->epoch))
			best = m;
	}
	return best;
}

static const MagmaSlice *slice_of(Cluster *c, guint16 id) { return magma_map_slice_by_id(newest(c), id); }

/* It is owned by that one, and so many have all of it. */
static gboolean is_held(void *user)
{
	const Keeper *h = user;
	const MagmaSlice *s = slice_of(h->c, h->slice);

	return s && s->owner == h->owner && magma_slice_copies(newest(h->c), s) >= h->copies;
}

static gboolean are_three(void *user)
{
	const MagmaMap *m = newest(user);

	return m->slices->len == THREE && !m->move.id && cluster_at_home(user);
}

static guint index_of(Cluster *c, guint16 id)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (cluster_volcano(c, i) && volcano_id(cluster_volcano(c, i)) == id)
			return i;
	g_assert_not_reached();
}

/* Three volcanos that all vote, two copies of everything. */
static Cluster *three(guint32 seed)
{
	Cluster *c = network_of(seed, 2);

	join_second(c);
	cluster_start(c, 2);
	g_assert_true(cluster_run_until(c, 120 * SEC, are_three, c));
	cluster_run(c, 5 * SEC);
	return c;
}

/* The second one is gone for a minute, a copy acts for it, and the third has a copy by now. */
static Keeper acting_owner(guint32 seed)
{
	Cluster *c = three(seed);
	Keeper h = { .c = c, .slice = 2, .copies = 2 };
	const MagmaSlice *s = slice_of(c, h.slice);

	g_assert_cmpuint(s->owner, ==, volcano_id(cluster_volcano(c, 1)));
	h.owner = s->copies[0].volcano;
	cluster_kill(c, 1, 60 * SEC, FALSE);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_held, &h));
	return h;
}

/* Neither is that of the copy that it keeps: the one must not delay the other. */
static void an_owner_whose_store_cannot_be_opened_says_so_and_leaves_its_slice_to_a_copy(void)
{
	Keeper h = acting_owner(14);
	Cluster *c = h.c;
	SimClient *s = sim_client_new(c, -1);
	MagmaFid fid = make_file(s, "f", slice_of(c, h.slice)->range.lo);
	Node *at = &c->node[index_of(c, h.owner)];

	write_bytes(s, &fid, 0, 'a', BEFORE);
	at->refuse_opens = G_MAXUINT;
	at->awaited = "slice 2: its store cannot be opened: volcano";
	cluster_kill(c, at->index, 10 * MS, FALSE);
	h.owner = h.owner == 1 ? 3 : 1;
	h.copies = 1;
	g_assert_true(cluster_run_until(c, 5 * SEC, is_held, &h));
	g_assert_cmpuint(at->awaited_came, ==, 1);
	write_bytes(s, &fid, BEFORE, 'b', AFTER);
	at->refuse_opens = 0;
	g_assert_true(cluster_run_until(c, 120 * SEC, at_home, c));
	g_assert_cmpuint(attr_of(s, &fid).size, ==, BEFORE + AFTER);
	cluster_run(c, 40 * SEC);
	fsck_free(fsck_run(c));
	g_assert_cmpstr(fsck_copies(c), ==, NULL);
	sim_client_free(s);
	cluster_free(c);
}

/* --- moves whose messages are lost or late --- */

enum { FILES = 8, TOKEN = 100 };

typedef struct {
	Cluster *c;
	SimClient *s;
	MagmaFid fid[FILES];
	guint next, acked[FILES];
	Answer last;
	gboolean stop;
} Tokens;

/* Files with such keys, in the root. */
static Tokens *tokens_new(Cluster *c, MagmaKey key)
{
	Tokens *t = g_new0(Tokens, 1);

	t->c = c;
	t->s = sim_client_new(c, -1);
	for (guint i = 0; i < FILES; i++) {
		g_autofree char *name = g_strdup_printf("t%u", i);
		t->fid[i] = make_file(t->s, name, key);
	}
	return t;
}

static void token_ask(Tokens *t)
{
	guint8 bytes[TOKEN] = { 0 };
	struct magma_req_write q = { .fid = t->fid[t->next], .flags = MAGMA_WRITE_APPEND, .data = { bytes, sizeof bytes } };

	t->last = (Answer){ 0 };
	sim_call(t->s, MAGMA_OP_write, &q, answered, &t->last);
}

static void token_answered(Tokens *t)
{
	g_assert_cmpint(t->last.error, ==, 0);
	t->acked[t->next]++;
	t->next = (t->next + 1) % FILES;
}

/* One is under way at any time. */
static void tokens_step(Tokens *t)
{
	if (t->last.done) {
		token_answered(t);
		token_ask(t);
	}
	cluster_step(t->c);
}

static void tokens_run(Tokens *t, gint64 time)
{
	gint64 end = world_now(cluster_world(t->c)) + time;

	while (world_now(cluster_world(t->c)) < end)
		tokens_step(t);
}

static void tokens_until(Tokens *t, gboolean (*fn)(void *user), void *user)
{
	gint64 end = world_now(cluster_world(t->c)) + 60 * SEC;

	while (!fn(user)) {
		g_assert_cmpint(world_now(cluster_world(t->c)), <, end);
		tokens_step(t);
	}
}

/* Each is there once. The network is whole, and rests. */
static void tokens_end(Tokens *t)
{
	g_assert_true(cluster_run_until(t->c, 60 * SEC, is_answered, &t->last));
	token_answered(t);
	for (guint i = 0; i < FILES; i++)
		g_assert_cmpuint(attr_of(t->s, &t->fid[i]).size, ==, t->acked[i] * TOKEN);
	cluster_run(t->c, 40 * SEC);
	fsck_free(fsck_run(t->c));
	g_assert_cmpstr(fsck_copies(t->c), ==, NULL);
	sim_client_free(t->s);
	g_free(t);
}

static void lose_sessions_between(Cluster *c, guint a, guint b)
{
	for (guint i = 0; i < c->links->len; i++) {
		Link *l = c->links->pdata[i];
		if (l->is_node && l->end[0].node && ((l->end[0].node->index == a && l->end[1].node->index == b) || (l->end[0].node->index == b && l->end[1].node->index == a)))
			link_cut(l);
	}
}

enum { MOMENTS = 20 };

/* What one side says from then on is lost with their sessions: a piece, or its answer, whichever it was. */
static void lose_what_comes(Tokens *t, gboolean answers)
{
	guint lost = cluster_block(t->c, answers ? 2 : 1, answers ? 1 : 2);

	tokens_run(t, 50 * MS);
	lose_sessions_between(t->c, 0, 1);
	tokens_run(t, 350 * MS);              /* both have heard of it */
	cluster_unblock(t->c, lost);
}

static void a_move_ends_well_whichever_of_its_messages_is_lost(void)
{
	for (guint i = 0; i < 2 * MOMENTS; i++) {
		Cluster *c = network(15);
		Tokens *t = tokens_new(c, upper);

		cluster_start(c, 1);
		token_ask(t);
		tokens_until(t, move_is_known, c);
		tokens_run(t, i / 2 * 20 * MS);
		lose_what_comes(t, i % 2);
		gint64 since = world_now(cluster_world(c));
		tokens_until(t, second_serves, c);
		g_assert_cmpint(world_now(cluster_world(c)) - since, <, 2 * SEC);      /* nor does it begin anew */
		tokens_end(t);
		cluster_free(c);
	}
}

/* Of slice 2, with the second volcano; the first one leads. */
static Phase_ phase_of(void *user)
{
	Slice *sl = cluster_volcano(user, 1) ? core_slice(cluster_volcano(user, 1), 2) : NULL;

	return sl && sl->move ? sl->move->phase : WAITING;
}

static gboolean is_ready(void *user) { return phase_of(user) == READY; }
static gboolean is_committing(void *user) { return phase_of(user) == COMMITTING; }
static gboolean third_serves(void *user) { return cluster_serves(user, 2) && !newest(user)->move.id; }

/* Over whatever session there is. */
static gboolean send_commit(Cluster *c, guint64 move)
{
	struct magma_req_move_commit q = { .move = move };
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_move_commit, .hops = MAGMA_HOPS, .xid = G_MAXUINT64, .epoch = 1 };
	GByteArray *out = g_byte_array_new();

	magma_msg_encode(&h, &q, FALSE, out);
	g_autoptr(GBytes) msg = g_byte_array_free_to_bytes(out);
	for (guint i = 0; i < c->links->len; i++) {
		Link *l = c->links->pdata[i];
		for (guint side = 0; side < 2; side++)
			if (l->is_node && l->accepted && l->end[side].node == &c->node[2] && l->end[!side].node == &c->node[0] && link_end_alive(l, !side) && link_send(l, side, msg))
				return TRUE;
	}
	return FALSE;
}

typedef struct {
	Cluster *c;
	Tokens *t;
	guint64 move;
	Phase_ phase;
} Late;

/* The source has asked for the commit, and is killed. That word did not come yet. */
static Late source_killed(guint32 seed)
{
	Late l = { .c = network(seed) };

	join_second(l.c);
	l.t = tokens_new(l.c, upper);
	cluster_start(l.c, 2);
	token_ask(l.t);
	tokens_until(l.t, is_ready, l.c);
	l.move = newest(l.c)->move.id;
	guint lost = cluster_block(l.c, 2, 1);
	tokens_until(l.t, is_committing, l.c);
	lose_sessions_between(l.c, 0, 1);
	tokens_run(l.t, 350 * MS);
	cluster_kill(l.c, 1, 10 * MS, FALSE);
	cluster_unblock(l.c, lost);
	return l;
}

static void late_end(Late *l)
{
	tokens_until(l->t, third_serves, l->c);
	tokens_end(l->t);
	cluster_free(l->c);
}

static gboolean second_owns(void *user) { return cluster_volcano(user, 1) && core_slice(cluster_volcano(user, 1), 2); }

/* The leader cannot know better: the move has no other id yet. Then its target has all there is, because the source does nothing before that. */
static void a_commit_that_comes_after_its_source_was_restarted_loses_nothing(void)
{
	Late l = source_killed(17);

	tokens_until(l.t, second_owns, l.c);
	guint no_news = cluster_block(l.c, 2, 1);      /* MOVE_ANEW takes longer */
	g_assert_true(consensus_may_serve(cluster_volcano(l.c, 1)));
	tokens_run(l.t, 400 * MS);
	g_assert_cmpuint(newest(l.c)->move.id, ==, l.move);
	g_assert_true(core_slice(cluster_volcano(l.c, 1), 2)->serving);
	g_assert_true(send_commit(l.c, l.move));
	tokens_run(l.t, 20 * MS);
	cluster_unblock(l.c, no_news);
	g_assert_cmpuint(newest(l.c)->move.id, ==, 0);
	late_end(&l);
}

static gboolean is_there_again(void *user)
{
	const Late *l = user;

	return newest(l->c)->move.id != l->move && phase_of(l->c) == l->phase;
}

/* Whatever it is then that the target has. */
static void a_commit_that_comes_after_the_move_has_another_id_does_nothing(void)
{
	static const Phase_ phases[] = { COPY_ROWS, LAST_MEMORY, LAST_SYNC, READY };

	for (guint i = 0; i < G_N_ELEMENTS(phases); i++) {
		Late l = source_killed(18 + i);
		l.phase = phases[i];
		tokens_until(l.t, is_there_again, &l);
		guint64 epoch = newest(l.c)->epoch;
		guint no_news = cluster_block(l.c, 2, 1);      /* the new one's own commit */
		g_assert_true(send_commit(l.c, l.move));
		tokens_run(l.t, 20 * MS);
		g_assert_cmpuint(newest(l.c)->epoch, ==, epoch);
		cluster_unblock(l.c, no_news);
		late_end(&l);
	}
}

/* A slice whose owner, its copy and the leader are three. */
typedef struct {
	Cluster *c;
	guint16 slice;
	guint owner, copy, leader;    /* indexes */
	guint64 epoch;
} Triple;

static guint leads(Cluster *c)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (cluster_volcano(c, i) && consensus_leads(cluster_volcano(c, i)))
			return i;
	g_assert_not_reached();
}

/* Who joins asks the first volcano: not the owner, of which the leader hears nothing then. */
static gboolean is_triple(Triple *t, const MagmaSlice *s)
{
	t->owner = index_of(t->c, s->owner);
	t->copy = index_of(t->c, s->copies[0].volcano);
	t->leader = leads(t->c);
	t->slice = s->id;
	return t->owner && t->owner != t->leader && t->copy != t->leader;
}

static Triple triple(guint32 seed)
{
	Triple t = { .c = three(seed) };

	for (guint kills = 0; kills < 10; kills++) {
		const GArray *all = newest(t.c)->slices;
		for (guint i = 0; i < all->len; i++)
			if (is_triple(&t, &g_array_index(all, MagmaSlice, i)))
				return t;
		cluster_kill(t.c, t.leader, 5 * SEC, FALSE);
		cluster_run(t.c, 10 * SEC);
		g_assert_true(cluster_run_until(t.c, 60 * SEC, at_home, t.c));
	}
	g_assert_not_reached();
}

static gboolean was_awaited(void *user) { return ((Triple *)user)->c->node[((Triple *)user)->owner].awaited_came > 0; }
static gboolean has_newer_map(void *user) { return volcano_map(cluster_volcano(((Triple *)user)->c, ((Triple *)user)->owner))->epoch > ((Triple *)user)->epoch; }

static gboolean are_four(void *user)
{
	const Triple *t = user;
	const MagmaSlice *s = slice_of(t->c, t->slice);

	for (guint i = 0; i < s->ncopies; i++)
		g_assert_true(s->copies[i].volcano != volcano_id(cluster_volcano(t->c, t->copy)) || s->copies[i].in_sync);
	return newest(t->c)->slices->len == 4 && cluster_at_home(t->c);
}

/* An owner's word that its copy is silent takes long to the leader. The copy answers again, and a map comes by which the owner is to give a part of the slice away. That word is true no more: it is not said again by
 * the newer map, the copy counts all the time, and the move does not wait for it. */
static void a_copy_that_answers_again_is_not_taken_out_by_what_was_said_before(void)
{
	Triple t = triple(16);
	Cluster *c = t.c;
	MagmaKey key = magma_range_middle(&slice_of(c, t.slice)->range);
	g_assert_true(magma_key_next(&key, &key));
	Tokens *k = tokens_new(c, key);
	guint64 o = (guint64)1 << t.owner, y = (guint64)1 << t.copy;

	token_ask(k);
	tokens_run(k, SEC);
	guint there = cluster_block(c, o, y), back = cluster_block(c, y, o);
	c->node[t.owner].awaited = "it does not answer";
	tokens_until(k, was_awaited, &t);
	t.epoch = volcano_map(cluster_volcano(c, t.owner))->epoch;
	guint late = cluster_block(c, o, (guint64)1 << t.leader);
	cluster_unblock(c, there);
	cluster_unblock(c, back);
	tokens_run(k, SEC / 2);               /* what was stuck has come and was answered */
	cluster_start(c, 3);
	tokens_until(k, has_newer_map, &t);
	cluster_unblock(c, late);
	tokens_until(k, are_four, &t);
	g_assert_cmpuint(magma_map_slice(newest(c), &key)->home, ==, volcano_id(cluster_volcano(c, 3)));
	tokens_end(k);
	cluster_free(c);
}

/* --- of two, the voter does not know whether the other has gone on --- */

static gboolean first_says(void *user) { return ((Cluster *)user)->node[0].awaited_came > 0; }
static gboolean second_goes_on(void *user) { return consensus_incarnation(cluster_volcano(user, 1)) > consensus_incarnation(cluster_volcano(user, 0)) && cluster_serves(user, 1); }

/* A map by which the other could not have gone on was on its way to the disk when the voter was stopped, and committed when it ran again. The other went on in between. That the voter has to ask is kept with that map: a
 * start finds it, and does not take the map for an answer. */
static void a_start_asks_what_was_in_question_before_the_map_that_it_finds(void)
{
	Cluster *c = network_of(20, 2);

	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	cluster_run(c, 5 * SEC);
	Tokens *t = tokens_new(c, upper);
	token_ask(t);
	tokens_run(t, SEC);
	g_assert_true(consensus_leads(cluster_volcano(c, 0)));
	guint there = cluster_block(c, 1, 2), back = cluster_block(c, 2, 1);
	c->node[0].awaited = "is down";
	tokens_until(t, first_says, c);
	guint64 before = volcano_map(cluster_volcano(c, 0))->epoch;
	cluster_pause(c, 0, 4 * SEC);
	tokens_until(t, second_goes_on, c);
	tokens_run(t, 5 * SEC);
	g_assert_cmpuint(volcano_map(cluster_volcano(c, 0))->epoch, >, before);
	g_assert_true(takeover_in_question(consensus_takeover(cluster_volcano(c, 0))));
	cluster_kill(c, 0, 10 * MS, FALSE);
	tokens_run(t, 5 * SEC);
	g_assert_false(consensus_may_serve(cluster_volcano(c, 0)));
	g_assert_true(consensus_may_serve(cluster_volcano(c, 1)));
	cluster_unblock(c, there);
	cluster_unblock(c, back);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	g_assert_cmpuint(c->node[0].asides_made + c->node[1].asides_made, ==, 0);
	tokens_end(t);
	cluster_free(c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sim/repeats/truncation_completed_by_a_restart_is_not_done_again", truncation_completed_by_a_restart_is_not_done_again);
	g_test_add_func("/sim/repeats/open_that_a_stored_reply_grants_is_counted_after_a_restart", open_that_a_stored_reply_grants_is_counted_after_a_restart);
	g_test_add_func("/sim/repeats/repeat_of_what_failed_is_told_the_same", repeat_of_what_failed_is_told_the_same);
	g_test_add_func("/sim/repeats/repeat_of_what_had_nothing_to_do_does_nothing", repeat_of_what_had_nothing_to_do_does_nothing);
	g_test_add_func("/sim/repeats/repeat_of_what_failed_elsewhere_is_told_the_same_by_who_passed_it_on", repeat_of_what_failed_elsewhere_is_told_the_same_by_who_passed_it_on);
	g_test_add_func("/sim/repeats/last_word_about_an_open_counts_however_they_arrive", last_word_about_an_open_counts_however_they_arrive);
	g_test_add_func("/sim/repeats/expired_client_is_told_so_by_the_heir_of_a_slice", expired_client_is_told_so_by_the_heir_of_a_slice);
	g_test_add_func("/sim/repeats/every_open_moves_with_its_slice", every_open_moves_with_its_slice);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_after_a_restart", old_copy_is_not_executed_after_a_restart);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_by_the_heir_of_a_slice", old_copy_is_not_executed_by_the_heir_of_a_slice);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_by_who_acts_for_the_owner", old_copy_is_not_executed_by_who_acts_for_the_owner);
	g_test_add_func("/sim/repeats/what_was_acknowledged_is_there_when_its_owner_comes_back_without_it", what_was_acknowledged_is_there_when_its_owner_comes_back_without_it);
	g_test_add_func("/sim/repeats/contents_are_the_same_everywhere_after_a_power_cut_of_all", contents_are_the_same_everywhere_after_a_power_cut_of_all);
	g_test_add_func("/sim/repeats/a_create_is_told_that_its_number_cannot_be_reserved_and_does_not_try_for_ever", a_create_is_told_that_its_number_cannot_be_reserved_and_does_not_try_for_ever);
	g_test_add_func("/sim/repeats/a_copy_whose_store_cannot_be_opened_is_tried_again_without_a_new_map", a_copy_whose_store_cannot_be_opened_is_tried_again_without_a_new_map);
	g_test_add_func("/sim/repeats/a_part_counts_from_the_map_that_gave_it", a_part_counts_from_the_map_that_gave_it);
	g_test_add_func("/sim/repeats/a_source_that_was_restarted_does_nothing_before_its_move_has_another_id", a_source_that_was_restarted_does_nothing_before_its_move_has_another_id);
	g_test_add_func("/sim/repeats/a_copys_store_looks_at_its_disk_every_second", a_copys_store_looks_at_its_disk_every_second);
	g_test_add_func("/sim/repeats/an_owner_whose_store_cannot_be_opened_says_so_and_leaves_its_slice_to_a_copy", an_owner_whose_store_cannot_be_opened_says_so_and_leaves_its_slice_to_a_copy);
	g_test_add_func("/sim/repeats/a_move_ends_well_whichever_of_its_messages_is_lost", a_move_ends_well_whichever_of_its_messages_is_lost);
	g_test_add_func("/sim/repeats/a_commit_that_comes_after_its_source_was_restarted_loses_nothing", a_commit_that_comes_after_its_source_was_restarted_loses_nothing);
	g_test_add_func("/sim/repeats/a_commit_that_comes_after_the_move_has_another_id_does_nothing", a_commit_that_comes_after_the_move_has_another_id_does_nothing);
	g_test_add_func("/sim/repeats/a_copy_that_answers_again_is_not_taken_out_by_what_was_said_before", a_copy_that_answers_again_is_not_taken_out_by_what_was_said_before);
	g_test_add_func("/sim/repeats/a_start_asks_what_was_in_question_before_the_map_that_it_finds", a_start_asks_what_was_in_question_before_the_map_that_it_finds);
	return g_test_run();
}
