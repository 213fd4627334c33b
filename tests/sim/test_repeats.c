/* What the repeat of an old request finds: the answer of the first time, or that its client has expired; never a second execution. And that opens go along, and what an owner lost its copy has. Whole volcanos in a simulated network. */
#include "tests/sim/fsck.h"
#include "tests/sim/memdisk.h"
#include "tests/sim/scene.h"
#include "magmad/core/core.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void done_with(void *user, int error, const MagmaAny *rep) { ((Answer *)user)->done = TRUE; }

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

/* --- an open flare without a name, whose volcano is restarted, and stands still while its client does not reach it --- */

/* So often, for so long each time, in its grace. */
static void standing_still_is_no_grace(guint times, gint64 each)
{
	for (guint32 seed = 60; seed < 68; seed++) {
		Cluster *c = network(seed);
		SimClient *a = sim_client_new(c, -1), *b = sim_client_new(c, -1);
		struct magma_req_create q = { .dir = magma_fid_root(), .mode = 0644, .flags = O_RDWR, .name = MAGMA_BYTES_STR("f") };
		struct magma_req_create r = { .dir = q.dir, .mode = 0644, .flags = O_RDWR, .name = MAGMA_BYTES_STR("g") };
		struct magma_req_unlink unlink = { .dir = q.dir, .name = q.name }, other = { .dir = q.dir, .name = r.name };
		Answer unlinked = { 0 };
		MagmaFid gone = must(a, MAGMA_OP_create, &q).rep_create.attr.fid, going = must(a, MAGMA_OP_create, &r).rep_create.attr.fid;

		sim_opened(a, &gone);
		sim_opened(a, &going);
		must(b, MAGMA_OP_unlink, &unlink);
		attr_of(a, &going);           /* no answer is kept that would grant an open */
		cluster_run(c, 6 * SEC);      /* a ping: nothing is kept of its answers, and it is not known at the next start */
		guint block = cluster_block(c, (guint64)1 << sim_client_point(a), 1);
		cluster_kill(c, 0, 10 * MS, FALSE);
		cluster_run_until(c, 10 * SEC, first_serves, c);
		cluster_run(c, 3 * SEC);
		attr_of(b, &going);           /* it has a session */
		for (guint i = 1; i < times; i++) {
			cluster_pause(c, 0, each);
			cluster_run(c, each + 100 * MS);
		}
		cluster_pause(c, 0, each);
		sim_call(b, MAGMA_OP_unlink, &other, answered, &unlinked);      /* it is there when it wakes, before anything else */
		cluster_run(c, each - SEC);
		cluster_unblock(c, block);
		g_assert_true(cluster_run_until(c, 60 * SEC, is_answered, &unlinked));
		g_assert_cmpint(unlinked.error, ==, 0);
		cluster_run(c, 5 * SEC);
		attr_of(a, &gone);
		attr_of(a, &going);
		sim_client_free(a);
		sim_client_free(b);
		cluster_free(c);
	}
}

static void standing_still_is_no_grace_for_opens(void) { standing_still_is_no_grace(1, 19 * SEC); }
static void short_stands_are_no_grace_for_opens_either(void) { standing_still_is_no_grace(11, 19 * SEC / 10); }

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

/* Cut off from the others, it decides by what it has, and cannot answer: they may have another owner by then. What it would have said counts for nothing when the slice comes back to it. */
static void what_was_never_told_is_decided_anew(void)
{
	Cluster *c = three(11);
	guint owner = index_of(c, magma_map_slice(newest(c), &upper)->owner);
	SimClient *a = sim_client_new(c, (int)owner), *b = sim_client_new(c, -1);
	struct magma_req_mkdir dir = { .dir = magma_fid_root(), .key = upper, .mode = 0755, .name = MAGMA_BYTES_STR("d") };
	struct magma_req_unlink unlink = { .dir = must(b, MAGMA_OP_mkdir, &dir).rep_mkdir.attr.fid, .name = MAGMA_BYTES_STR("f") };
	struct magma_req_mknod make = { .dir = unlink.dir, .key = upper, .mode = S_IFREG | 0644, .name = unlink.name };
	struct magma_req_lookup look = { .dir = unlink.dir, .name = unlink.name };
	guint64 all = 7, one = (guint64)1 << owner;
	Answer last = { 0 };
	MagmaAny rep;

	g_assert_cmpint(sim_call_wait(a, MAGMA_OP_lookup, &look, &rep), ==, ENOENT);      /* it has a session */
	guint in = cluster_block(c, all & ~one, one), out = cluster_block(c, one, all & ~one);
	cluster_run(c, 5 * SEC);
	g_assert_cmpuint(index_of(c, magma_map_slice(newest(c), &upper)->owner), !=, owner);
	VolcanoStats before, after;
	volcano_stats(cluster_volcano(c, owner), &before);
	sim_call(a, MAGMA_OP_unlink, &unlink, answered, &last);
	cluster_run(c, 200 * MS);
	volcano_stats(cluster_volcano(c, owner), &after);
	g_assert_cmpuint(after.op_count[MAGMA_OP_unlink], ==, before.op_count[MAGMA_OP_unlink] + 1);      /* it has decided */
	g_assert_false(last.done);
	sim_client_cut_off(a, TRUE);
	must(b, MAGMA_OP_mknod, &make);
	cluster_unblock(c, in);
	cluster_unblock(c, out);
	cluster_run(c, SEC);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	g_assert_cmpuint(index_of(c, magma_map_slice(newest(c), &upper)->owner), ==, owner);
	sim_client_cut_off(a, FALSE);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &last));
	g_assert_cmpint(last.error, ==, 0);
	sim_client_free(a);
	sim_client_free(b);
	cluster_free(c);
}

/* A copy of what it sent once, as it would be sent under the newest map. */
static void send_again(SimClient *s, Cluster *c, GBytes *msg, guint64 watermark)
{
	gsize n = g_bytes_get_size(msg);
	guint8 *copy = g_memdup2(g_bytes_get_data(msg, NULL), n);

	magma_msg_set_sender(copy, newest(c)->epoch, sim_client_id(s), watermark);
	g_autoptr(GBytes) again = g_bytes_new_take(copy, n);
	g_assert_true(sim_client_send_late(s, 0, again));
	cluster_run(c, SEC);
}

/* Its repeat is on its way when the client takes the error and goes on: the error is forgotten where it was told, and whoever has the slice now never heard of it. */
static void late_repeat_comes(gboolean owner_dies)
{
	Cluster *c = network_of(8, owner_dies ? 2 : 1);
	SimClient *a = sim_client_new(c, 0), *b = sim_client_new(c, -1);
	struct magma_req_mkdir dir = { .dir = magma_fid_root(), .key = upper, .mode = 0755, .name = MAGMA_BYTES_STR("d") };
	struct magma_req_unlink unlink = { .dir = must(b, MAGMA_OP_mkdir, &dir).rep_mkdir.attr.fid, .name = MAGMA_BYTES_STR("f") };
	struct magma_req_mknod make = { .dir = unlink.dir, .key = upper, .mode = S_IFREG | 0644, .name = unlink.name };
	struct magma_req_lookup look = { .dir = unlink.dir, .name = unlink.name }, other = { .dir = dir.dir, .name = dir.name };
	MagmaAny rep;
	MagmaHdr h;

	must(a, MAGMA_OP_lookup, &other);     /* it has a session */
	cluster_run(c, SEC);                  /* and a map: nothing is under way */
	must(a, MAGMA_OP_lookup, &other);
	g_autoptr(GBytes) lower = sim_client_wire(a);
	g_assert_cmpint(sim_call_wait(a, MAGMA_OP_unlink, &unlink, &rep), ==, ENOENT);
	g_autoptr(GBytes) failed = sim_client_wire(a);
	g_assert_true(magma_msg_decode(g_bytes_get_data(failed, NULL), g_bytes_get_size(failed), &h, &rep) == 0 && h.op == MAGMA_OP_unlink);
	sim_client_cut_off(a, TRUE);          /* nobody hears yet that it has that */
	join_second(c);
	if (owner_dies) {
		g_assert_true(cluster_run_until(c, 10 * SEC, at_home, c));
		cluster_kill(c, 1, 60 * SEC, FALSE);
	}
	must(b, MAGMA_OP_mknod, &make);
	send_again(a, c, lower, h.xid + 1);   /* now the owner of the lower half does */
	send_again(a, c, failed, h.xid);
	must(b, MAGMA_OP_lookup, &look);
	sim_client_free(a);
	sim_client_free(b);
	cluster_free(c);
}

static void late_repeat_of_what_failed_is_not_done_by_who_has_the_slice_now(void) { late_repeat_comes(FALSE); }
static void late_repeat_of_what_failed_is_not_done_by_who_acts_for_the_new_owner(void) { late_repeat_comes(TRUE); }

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

/* --- a content that its owner's disk does not read, on its way to another volcano --- */

/* Where its data is cannot be found out, or how long it is: that is no hole, and no reason to give it away. */
static void what_does_not_read_is_not_moved(void)
{
	enum { SIZE = 40000 };
	Cluster *c = network(9);
	SimClient *s = sim_client_new(c, -1);
	MagmaFid fid = make_file(s, "f", upper);

	write_bytes(s, &fid, 0, 'a', SIZE);
	MemFile *f = memdisk_file(MEM(cluster_store(c, 0, volcano_id(cluster_volcano(c, 0))))->disk, &fid);
	g_assert_nonnull(f->live);
	f->unreadable = TRUE;
	cluster_start(c, 1);
	cluster_run(c, 10 * SEC);
	g_assert_cmpuint(index_of(c, magma_map_slice(newest(c), &upper)->owner), ==, 0);
	f->unreadable = FALSE;
	g_assert_true(cluster_run_until(c, 60 * SEC, second_serves, c));
	g_assert_cmpuint(index_of(c, magma_map_slice(newest(c), &upper)->owner), ==, 1);
	struct magma_req_read q = { .fid = fid, .size = SIZE };
	const MagmaBytes data = must(s, MAGMA_OP_read, &q).rep_read.data;
	g_assert_cmpuint(data.len, ==, SIZE);
	for (guint i = 0; i < SIZE; i++)
		g_assert_cmpint(data.data[i], ==, 'a');
	sim_client_free(s);
	cluster_free(c);
}

/* --- a move whose target dies --- */

static gboolean is_frozen(void *user)
{
	const Volcano *v = cluster_volcano(user, 0);

	return v && g_strcmp0(v->state, "handing over a slice") == 0;
}

/* So long after the slice was frozen (FALSE: too late): it thaws when the target is known to be down, and does not wait for its return. */
static gboolean target_dies(gint64 after)
{
	Cluster *c = network_of(15, 2);
	SimClient *s = sim_client_new(c, -1);

	for (guint i = 0; i < 20; i++) {
		g_autofree char *name = g_strdup_printf("f%u", i);
		MagmaFid fid = make_file(s, name, upper);
		write_bytes(s, &fid, 0, 'a', 20000);
	}
	cluster_start(c, 1);
	g_assert_true(cluster_run_until(c, 60 * SEC, is_frozen, c));
	cluster_run(c, after);
	if (!is_frozen(c) || !newest(c)->move.id) {
		sim_client_free(s);
		cluster_free(c);
		return FALSE;
	}
	cluster_kill(c, 1, 600 * SEC, FALSE);
	gint64 began = world_now(cluster_world(c));
	make_file(s, "g", upper);
	g_assert_cmpint(world_now(cluster_world(c)) - began, <, 10 * SEC);
	sim_client_free(s);
	cluster_free(c);
	return TRUE;
}

static void a_target_that_dies_holds_nobody_up(void)
{
	guint met = 0;

	for (gint64 after = 0; after < 100 * MS; after += 2 * MS)
		met += target_dies(after);
	g_assert_cmpuint(met, >, 3);
}

/* --- what a crash left of a content, and cannot be put in order --- */

static int read_some(SimClient *s, const MagmaFid *fid)
{
	struct magma_req_read q = { .fid = *fid, .size = 10 };
	MagmaAny rep;

	return sim_call_wait(s, MAGMA_OP_read, &q, &rep);
}

static int write_some(SimClient *s, const MagmaFid *fid)
{
	struct magma_req_write q = { .fid = *fid, .offset = 50000, .data = MAGMA_BYTES_STR("more") };
	MagmaAny rep;

	return sim_call_wait(s, MAGMA_OP_write, &q, &rep);
}

static void a_content_that_a_restart_cannot_look_at_is_nobodys_until_it_can(void)
{
	enum { SIZE = 40000 };
	Cluster *c = network(12);
	SimClient *s = sim_client_new(c, -1);
	MagmaFid fid = make_file(s, "f", upper), other = make_file(s, "g", upper);

	write_bytes(s, &other, 0, 'b', SIZE);
	write_bytes(s, &fid, 0, 'a', SIZE);
	MemFile *f = memdisk_file(MEM(cluster_store(c, 0, volcano_id(cluster_volcano(c, 0))))->disk, &fid);
	f->unreadable = TRUE;
	cluster_kill(c, 0, 10 * MS, FALSE);
	g_assert_cmpint(read_some(s, &other), ==, 0);
	g_assert_cmpint(read_some(s, &fid), ==, EIO);
	g_assert_cmpint(write_some(s, &fid), ==, EIO);
	cluster_run(c, 20 * SEC);
	g_assert_cmpint(write_some(s, &fid), ==, EIO);
	f->unreadable = FALSE;
	cluster_run(c, 6 * SEC);
	g_assert_cmpint(read_some(s, &fid), ==, 0);
	g_assert_cmpint(write_some(s, &fid), ==, 0);
	sim_client_free(s);
	cluster_free(c);
}

/* --- fsync of a directory --- */

static gboolean first_has_all(void *user)
{
	Volcano *v = cluster_volcano(user, 0);
	const MagmaMap *map = newest(user);

	for (guint i = 0; i < map->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(map->slices, MagmaSlice, i);
		if (s->owner != volcano_id(v) || !core_slice(v, s->id))
			return FALSE;
	}
	return TRUE;
}

/* Each slice has a journal of its own, also where one volcano has several. */
static void fsync_of_a_directory_is_for_all_slices_of_its_volcano(void)
{
	Cluster *c = network_of(13, 2);
	SimClient *s = sim_client_new(c, -1);

	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	cluster_kill(c, 1, 600 * SEC, FALSE);
	g_assert_true(cluster_run_until(c, 20 * SEC, first_has_all, c));
	cluster_run(c, 5 * SEC);
	MagmaFid fid = make_file(s, "f", upper);
	struct magma_req_fsync q = { .fid = magma_fid_root() };
	must(s, MAGMA_OP_fsync, &q);
	cluster_power_cut_one(c, 0, 10 * MS);
	g_assert_cmpuint(attr_of(s, &fid).nlink, ==, 1);
	sim_client_free(s);
	cluster_free(c);
}

/* --- a name that leads nowhere, is removed, and may come back --- */

static guint64 suspects(Cluster *c)
{
	VolcanoStats st;

	volcano_stats(cluster_volcano(c, 1), &st);
	return st.suspects;
}

static gboolean suspects_something(void *user) { return cluster_volcano(user, 1) && suspects(user); }
static gboolean suspects_nothing(void *user) { return !suspects(user); }

/* The flare's owner lost it with its power. It asks for its names when the last one has just been unlinked: as long as that is not on disk, nobody may be sure that there is none. */
static void a_name_that_was_not_found_does_not_come_back(void)
{
	Cluster *c = network(10);
	SimClient *s = sim_client_new(c, -1);

	join_second(c);
	struct magma_req_mknod make = { .dir = magma_fid_root(), .key = upper, .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR("f") };
	struct magma_req_unlink unlink = { .dir = make.dir, .name = make.name };
	must(s, MAGMA_OP_mknod, &make);
	cluster_power_cut_one(c, 1, 10 * MS);
	g_assert_true(cluster_run_until(c, 20 * SEC, suspects_something, c));
	cluster_run(c, 19 * SEC / 10);        /* it begins to count after two seconds */
	must(s, MAGMA_OP_unlink, &unlink);
	g_assert_cmpuint(suspects(c), >, 0);
	g_assert_true(cluster_run_until(c, 20 * SEC, suspects_nothing, c));
	cluster_power_cut_one(c, 0, 10 * MS);
	sim_client_free(s);
	g_assert_true(cluster_run_until(c, 20 * SEC, first_serves, c));
	cluster_run(c, 30 * SEC);
	fsck_free(fsck_run(c));
	cluster_free(c);
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

enum { AHEAD = 1000, SYNCED = 10000, APPENDED = 3000, TRIES = 40 };

static gboolean all_zero(SimClient *s, const MagmaFid *fid, guint64 offset, guint n)
{
	struct magma_req_read q = { .fid = *fid, .offset = offset, .size = n };
	MagmaAny rep = must(s, MAGMA_OP_read, &q);
	const MagmaBytes got = rep.rep_read.data;

	g_assert_cmpuint(got.len, ==, n);
	for (guint i = 0; i < n; i++)
		if (got.data[i])
			return FALSE;
	return TRUE;
}

/* Of a write its volcano has the bytes after a power cut, and not the row. Its clock was ahead when the file was made and has been set since, so the file seems to be the younger one. */
static void a_hole_shows_nothing_that_a_power_cut_left_whatever_the_clocks(void)
{
	ClusterConfig cfg = { .seed = 10, .pending_permille = 200, .disk_delay = 3 * MS, .copies = 1, .writeback_permille = 500 };
	guint lost = 0;

	for (guint i = 0; i < TRIES; i++, cfg.seed++) {
		Cluster *c = cluster_new(&cfg);
		cluster_clock(c, 0, 0, AHEAD * SEC);
		cluster_start(c, 0);
		g_assert_true(cluster_run_until(c, 5 * SEC, first_serves, c));
		SimClient *s = sim_client_new(c, -1);
		MagmaFid fid = make_file(s, "f", upper);
		struct magma_req_fsync sync = { .fid = fid };
		write_bytes(s, &fid, 0, 'a', SYNCED);
		must(s, MAGMA_OP_fsync, &sync);
		cluster_run(c, 15 * SEC);             /* the write intent is gone */
		must(s, MAGMA_OP_fsync, &sync);
		write_bytes(s, &fid, SYNCED, 'b', APPENDED);
		cluster_power_cut_one(c, 0, 10 * MS);
		cluster_clock(c, 0, 0, 0);
		g_assert_true(cluster_run_until(c, 60 * SEC, first_serves, c));
		if (attr_of(s, &fid).size == SYNCED) {
			lost++;
			write_bytes(s, &fid, SYNCED + APPENDED, 'c', 1);
			g_assert_true(all_zero(s, &fid, SYNCED, APPENDED));
		}
		sim_client_free(s);
		cluster_free(c);
	}
	g_test_message("%u of %d writes lost their rows", lost, TRIES);
	g_assert_cmpuint(lost, >=, 5);
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

/* --- contents that were written and are at rest --- */

enum { MANY = 1000, FEW = 64 };

static guint64 intents(Cluster *c, guint i)
{
	VolcanoStats s;

	volcano_stats(cluster_volcano(c, i), &s);
	return s.dirty;
}

/* Every intent is something to look at for who takes over, and to compare for a copy that was away: after a tree was copied here, for hours. */
static void write_intents_of_many_contents_go_soon_after_the_last_write(void)
{
	static guint8 bytes[MAGMA_INLINE_MAX + 1];
	g_autofree Answer *written = g_new0(Answer, MANY);
	g_autofree MagmaFid *fid = g_new(MagmaFid, MANY);
	Cluster *c = network_of(25, 2);
	SimClient *s = sim_client_new(c, -1);

	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	for (guint i = 0; i < MANY; i++) {
		g_autofree char *name = g_strdup_printf("f%u", i);
		fid[i] = make_file(s, name, magma_key_of_path(name, strlen(name)));
	}
	for (guint i = 0; i < MANY; i++) {
		struct magma_req_write q = { .fid = fid[i], .data = { bytes, sizeof bytes } };
		sim_call(s, MAGMA_OP_write, &q, answered, &written[i]);
	}
	for (guint i = 0; i < MANY; i++)
		g_assert_true(cluster_run_until(c, 60 * SEC, is_answered, &written[i]) && !written[i].error);
	g_assert_cmpuint(intents(c, 0) + intents(c, 1), ==, MANY);
	cluster_run(c, 8 * SEC);
	g_assert_cmpuint(intents(c, 0), <=, FEW);
	g_assert_cmpuint(intents(c, 1), <=, FEW);
	cluster_run(c, 20 * SEC);
	g_assert_cmpuint(intents(c, 0) + intents(c, 1), ==, 0);
	sim_client_free(s);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sim/repeats/truncation_completed_by_a_restart_is_not_done_again", truncation_completed_by_a_restart_is_not_done_again);
	g_test_add_func("/sim/repeats/open_that_a_stored_reply_grants_is_counted_after_a_restart", open_that_a_stored_reply_grants_is_counted_after_a_restart);
	g_test_add_func("/sim/repeats/standing_still_is_no_grace_for_opens", standing_still_is_no_grace_for_opens);
	g_test_add_func("/sim/repeats/write_intents_of_many_contents_go_soon_after_the_last_write", write_intents_of_many_contents_go_soon_after_the_last_write);
	g_test_add_func("/sim/repeats/short_stands_are_no_grace_for_opens_either", short_stands_are_no_grace_for_opens_either);
	g_test_add_func("/sim/repeats/repeat_of_what_failed_is_told_the_same", repeat_of_what_failed_is_told_the_same);
	g_test_add_func("/sim/repeats/repeat_of_what_had_nothing_to_do_does_nothing", repeat_of_what_had_nothing_to_do_does_nothing);
	g_test_add_func("/sim/repeats/repeat_of_what_failed_elsewhere_is_told_the_same_by_who_passed_it_on", repeat_of_what_failed_elsewhere_is_told_the_same_by_who_passed_it_on);
	g_test_add_func("/sim/repeats/what_does_not_read_is_not_moved", what_does_not_read_is_not_moved);
	g_test_add_func("/sim/repeats/a_name_that_was_not_found_does_not_come_back", a_name_that_was_not_found_does_not_come_back);
	g_test_add_func("/sim/repeats/a_content_that_a_restart_cannot_look_at_is_nobodys_until_it_can", a_content_that_a_restart_cannot_look_at_is_nobodys_until_it_can);
	g_test_add_func("/sim/repeats/fsync_of_a_directory_is_for_all_slices_of_its_volcano", fsync_of_a_directory_is_for_all_slices_of_its_volcano);
	g_test_add_func("/sim/repeats/a_target_that_dies_holds_nobody_up", a_target_that_dies_holds_nobody_up);
	g_test_add_func("/sim/repeats/what_was_never_told_is_decided_anew", what_was_never_told_is_decided_anew);
	g_test_add_func("/sim/repeats/late_repeat_of_what_failed_is_not_done_by_who_has_the_slice_now", late_repeat_of_what_failed_is_not_done_by_who_has_the_slice_now);
	g_test_add_func("/sim/repeats/late_repeat_of_what_failed_is_not_done_by_who_acts_for_the_new_owner", late_repeat_of_what_failed_is_not_done_by_who_acts_for_the_new_owner);
	g_test_add_func("/sim/repeats/last_word_about_an_open_counts_however_they_arrive", last_word_about_an_open_counts_however_they_arrive);
	g_test_add_func("/sim/repeats/expired_client_is_told_so_by_the_heir_of_a_slice", expired_client_is_told_so_by_the_heir_of_a_slice);
	g_test_add_func("/sim/repeats/every_open_moves_with_its_slice", every_open_moves_with_its_slice);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_after_a_restart", old_copy_is_not_executed_after_a_restart);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_by_the_heir_of_a_slice", old_copy_is_not_executed_by_the_heir_of_a_slice);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_by_who_acts_for_the_owner", old_copy_is_not_executed_by_who_acts_for_the_owner);
	g_test_add_func("/sim/repeats/what_was_acknowledged_is_there_when_its_owner_comes_back_without_it", what_was_acknowledged_is_there_when_its_owner_comes_back_without_it);
	g_test_add_func("/sim/repeats/contents_are_the_same_everywhere_after_a_power_cut_of_all", contents_are_the_same_everywhere_after_a_power_cut_of_all);
	g_test_add_func("/sim/repeats/a_hole_shows_nothing_that_a_power_cut_left_whatever_the_clocks", a_hole_shows_nothing_that_a_power_cut_left_whatever_the_clocks);
	g_test_add_func("/sim/repeats/a_create_is_told_that_its_number_cannot_be_reserved_and_does_not_try_for_ever", a_create_is_told_that_its_number_cannot_be_reserved_and_does_not_try_for_ever);
	g_test_add_func("/sim/repeats/a_copy_whose_store_cannot_be_opened_is_tried_again_without_a_new_map", a_copy_whose_store_cannot_be_opened_is_tried_again_without_a_new_map);
	g_test_add_func("/sim/repeats/a_part_counts_from_the_map_that_gave_it", a_part_counts_from_the_map_that_gave_it);
	g_test_add_func("/sim/repeats/a_source_that_was_restarted_does_nothing_before_its_move_has_another_id", a_source_that_was_restarted_does_nothing_before_its_move_has_another_id);
	return g_test_run();
}
