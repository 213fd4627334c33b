/* What the repeat of an old request finds: the answer of the first time, or that its client has expired; never a second execution. And that opens go along with their slice. Whole volcanos in a simulated network. */
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

/* --- appends to one file at once, a crash in the middle --- */

enum { APPENDERS = 4, RECORD = 40 };

/* Each one's bytes are there once, in one piece, and nothing else is. */
static void each_record_is_there_once(SimClient *s, const MagmaFid *fid)
{
	const struct magma_req_read q = { .fid = *fid, .offset = LONG, .size = 2 * APPENDERS * RECORD };
	guint count['a' + APPENDERS] = { 0 };
	MagmaAny rep;

	g_assert_cmpint(sim_call_wait(s, MAGMA_OP_read, &q, &rep), ==, 0);
	const guint8 *p = rep.rep_read.data.data;
	g_assert_cmpuint(rep.rep_read.data.len, ==, APPENDERS * RECORD);
	for (guint i = 0; i < APPENDERS * RECORD; i++) {
		g_assert_cmpuint(p[i], ==, p[i / RECORD * RECORD]);
		g_assert_cmpuint(p[i], <, G_N_ELEMENTS(count));
		count[p[i]]++;
	}
	for (guint i = 0; i < APPENDERS; i++)
		g_assert_cmpuint(count['a' + i], ==, RECORD);
}

/* Each waits for the flare's row, where it is not in memory, before it writes and again behind that, and the waiting ends in any order. */
static void appends_at_once_and_a_crash_leave_each_record_once(void)
{
	Cluster *c = network(8);

	for (guint round = 0; round < 5 * ROUNDS; round++) {
		SimClient *s[APPENDERS];
		Answer answer[APPENDERS] = { { 0 } };
		g_autofree char *name = g_strdup_printf("f%u", round);
		MagmaFid fid = { .ino = 0 };
		for (guint i = 0; i < APPENDERS; i++) {
			s[i] = sim_client_new(c, -1);
			if (!i) {
				fid = make_file(s[i], name, magma_key_of_path(name, strlen(name)));
				write_bytes(s[i], &fid, 0, 'z', LONG);
			}
			attr_of(s[i], &fid);
		}
		for (guint i = 0; i < APPENDERS; i++) {
			guint8 bytes[RECORD];
			memset(bytes, 'a' + i, RECORD);
			const struct magma_req_write q = { .fid = fid, .flags = MAGMA_WRITE_APPEND, .data = { bytes, RECORD } };
			sim_call(s[i], MAGMA_OP_write, &q, answered, &answer[i]);
		}
		cluster_run(c, world_pick(cluster_world(c), 12 * MS));
		cluster_kill(c, 0, 10 * MS, FALSE);
		for (guint i = 0; i < APPENDERS; i++) {
			g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &answer[i]));
			g_assert_cmpint(answer[i].error, ==, 0);
		}
		each_record_is_there_once(s[0], &fid);
		for (guint i = 0; i < APPENDERS; i++)
			sim_client_free(s[i]);
	}
	cluster_free(c);
}

/* An append beside a truncation is before it, and gone, or behind it; whichever is done, a crash between changes nothing. */
static void append_beside_a_truncation_is_before_or_behind_it(void)
{
	Cluster *c = network(9);
	guint behind = 0;

	for (guint round = 0; round < 5 * ROUNDS; round++) {
		SimClient *a = sim_client_new(c, -1), *b = sim_client_new(c, -1);
		Answer cut = { 0 }, put = { 0 };
		g_autofree char *name = g_strdup_printf("f%u", round);
		MagmaFid fid = make_file(a, name, magma_key_of_path(name, strlen(name)));
		guint8 bytes[RECORD];
		const struct magma_req_write q = { .fid = fid, .flags = MAGMA_WRITE_APPEND, .data = { bytes, RECORD } };
		const struct magma_req_read look = { .fid = fid, .offset = SHORT - RECORD, .size = LONG };
		MagmaAny rep;

		memset(bytes, 'b', RECORD);
		write_bytes(a, &fid, 0, 'z', LONG);
		attr_of(b, &fid);
		if (round % 2)
			ask_truncate(a, &fid, FALSE, &cut);
		sim_call(b, MAGMA_OP_write, &q, answered, &put);
		if (round % 2 == 0)
			ask_truncate(a, &fid, FALSE, &cut);
		cluster_run(c, world_pick(cluster_world(c), 12 * MS));
		if (round % 3)
			cluster_kill(c, 0, 10 * MS, FALSE);
		g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &cut) && cluster_run_until(c, 30 * SEC, is_answered, &put));
		g_assert_cmpint(cut.error, ==, 0);
		g_assert_cmpint(put.error, ==, 0);
		g_assert_cmpint(sim_call_wait(a, MAGMA_OP_read, &look, &rep), ==, 0);
		const guint8 *p = rep.rep_read.data.data;
		gsize n = rep.rep_read.data.len;
		g_assert_true(n == RECORD || n == 2 * RECORD);
		for (guint i = 0; i < n; i++)
			g_assert_cmpuint(p[i], ==, i < RECORD ? 'z' : 'b');
		behind += n > RECORD;
		sim_client_free(a);
		sim_client_free(b);
	}
	g_test_message("%u of %d were behind it", behind, 5 * ROUNDS);
	g_assert_cmpuint(behind, >=, ROUNDS);
	g_assert_cmpuint(behind, <=, 4 * ROUNDS);
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

/* It is in its row and its content, and has a stored reply; but was to be on the disk, and that said no. */
static void repeat_of_what_could_not_be_synced_is_told_the_same(void)
{
	enum { SIZE = 40000 };
	Cluster *c = network(5);
	SimClient *s = sim_client_new(c, -1);
	MagmaFid fid = make_file(s, "f", MAGMA_KEY_MIN);
	struct magma_req_write q = { .fid = fid, .offset = SIZE, .flags = MAGMA_WRITE_DSYNC, .data = MAGMA_BYTES_STR("more") };
	Answer again = { 0 };

	write_bytes(s, &fid, 0, 'a', SIZE);
	memdisk_file(MEM(cluster_store(c, 0, 1))->disk, &fid)->sync_lost = ENOSPC;
	sim_call(s, MAGMA_OP_write, &q, answered, &again);
	sim_client_cut_off(s, TRUE);
	cluster_run(c, SEC);
	sim_client_cut_off(s, FALSE);
	g_assert_true(cluster_run_until(c, 30 * SEC, is_answered, &again));
	g_assert_cmpint(again.error, ==, ENOSPC);
	sim_client_free(s);
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

/* --- a client that works in one slice of a volcano, and has something open in another --- */

static void work_in_one_slice_is_a_sign_of_life_to_all_of_the_volcano(void)
{
	Cluster *c = network_of(14, 2);

	join_second(c);
	cluster_run(c, 3 * SEC);
	guint dead = index_of(c, magma_map_slice(newest(c), &upper)->owner);
	MagmaKey lower = MAGMA_KEY_MIN;
	cluster_kill(c, dead, 600 * SEC, FALSE);
	cluster_run(c, 5 * SEC);
	g_assert_cmpuint(index_of(c, magma_map_slice(newest(c), &upper)->owner), ==, !dead);
	SimClient *s = sim_client_new(c, -1);
	MagmaFid dir = make_file(s, "w", lower), fid = make_file(s, "f", upper);
	struct magma_req_open open = { .fid = fid, .flags = O_RDWR };
	struct magma_req_unlink unlink = { .dir = magma_fid_root(), .name = MAGMA_BYTES_STR("f") };
	must(s, MAGMA_OP_open, &open);
	sim_opened(s, &fid);
	must(s, MAGMA_OP_unlink, &unlink);
	guint64 pings = sim_client_pinged(s, !dead);
	for (guint i = 0; i < 40; i++) {
		cluster_run(c, SEC);
		attr_of(s, &dir);
	}
	g_assert_cmpuint(sim_client_pinged(s, !dead), ==, pings);
	attr_of(s, &fid);
	sim_client_free(s);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sim/repeats/truncation_completed_by_a_restart_is_not_done_again", truncation_completed_by_a_restart_is_not_done_again);
	g_test_add_func("/sim/repeats/appends_at_once_and_a_crash_leave_each_record_once", appends_at_once_and_a_crash_leave_each_record_once);
	g_test_add_func("/sim/repeats/append_beside_a_truncation_is_before_or_behind_it", append_beside_a_truncation_is_before_or_behind_it);
	g_test_add_func("/sim/repeats/open_that_a_stored_reply_grants_is_counted_after_a_restart", open_that_a_stored_reply_grants_is_counted_after_a_restart);
	g_test_add_func("/sim/repeats/standing_still_is_no_grace_for_opens", standing_still_is_no_grace_for_opens);
	g_test_add_func("/sim/repeats/short_stands_are_no_grace_for_opens_either", short_stands_are_no_grace_for_opens_either);
	g_test_add_func("/sim/repeats/repeat_of_what_failed_is_told_the_same", repeat_of_what_failed_is_told_the_same);
	g_test_add_func("/sim/repeats/repeat_of_what_had_nothing_to_do_does_nothing", repeat_of_what_had_nothing_to_do_does_nothing);
	g_test_add_func("/sim/repeats/repeat_of_what_failed_elsewhere_is_told_the_same_by_who_passed_it_on", repeat_of_what_failed_elsewhere_is_told_the_same_by_who_passed_it_on);
	g_test_add_func("/sim/repeats/what_was_never_told_is_decided_anew", what_was_never_told_is_decided_anew);
	g_test_add_func("/sim/repeats/late_repeat_of_what_failed_is_not_done_by_who_has_the_slice_now", late_repeat_of_what_failed_is_not_done_by_who_has_the_slice_now);
	g_test_add_func("/sim/repeats/late_repeat_of_what_failed_is_not_done_by_who_acts_for_the_new_owner", late_repeat_of_what_failed_is_not_done_by_who_acts_for_the_new_owner);
	g_test_add_func("/sim/repeats/last_word_about_an_open_counts_however_they_arrive", last_word_about_an_open_counts_however_they_arrive);
	g_test_add_func("/sim/repeats/expired_client_is_told_so_by_the_heir_of_a_slice", expired_client_is_told_so_by_the_heir_of_a_slice);
	g_test_add_func("/sim/repeats/every_open_moves_with_its_slice", every_open_moves_with_its_slice);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_after_a_restart", old_copy_is_not_executed_after_a_restart);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_by_the_heir_of_a_slice", old_copy_is_not_executed_by_the_heir_of_a_slice);
	g_test_add_func("/sim/repeats/old_copy_is_not_executed_by_who_acts_for_the_owner", old_copy_is_not_executed_by_who_acts_for_the_owner);
	g_test_add_func("/sim/repeats/work_in_one_slice_is_a_sign_of_life_to_all_of_the_volcano", work_in_one_slice_is_a_sign_of_life_to_all_of_the_volcano);
	g_test_add_func("/sim/repeats/repeat_of_what_could_not_be_synced_is_told_the_same", repeat_of_what_could_not_be_synced_is_told_the_same);
	return g_test_run();
}
