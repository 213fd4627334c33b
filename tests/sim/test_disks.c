/* What a disk lost with the power, does not read or does not take: at the volcano that has it, and what its copies make good. Whole volcanos in a simulated network. */
#include "tests/sim/fsck.h"
#include "tests/sim/memdisk.h"
#include "tests/sim/memstore.h"
#include "tests/sim/scene.h"
#include "magmad/core/core.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

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

/* --- a file that was synced while it was small, and grows --- */

/* ext4 and XFS may have the size on the disk before the bytes. */
static void what_was_synced_small_is_there_when_it_has_grown(gboolean restarted)
{
	enum { SMALL = 4000, LARGE = 100000 };
	Cluster *c = network(22);
	SimClient *s = sim_client_new(c, -1);
	MagmaFid fid = make_file(s, "f", upper);
	struct magma_req_fsync sync = { .fid = fid }, rows = { .fid = make_file(s, "g", upper) };
	struct magma_req_read read = { .fid = fid, .size = SMALL };

	write_bytes(s, &fid, 0, 'a', SMALL);
	must(s, MAGMA_OP_fsync, &sync);
	if (restarted) {
		cluster_kill(c, 0, 10 * MS, FALSE);
		cluster_run(c, 10 * SEC);
	}
	write_bytes(s, &fid, SMALL, 'b', LARGE);
	must(s, MAGMA_OP_fsync, &rows);       /* the journal, and not the content */
	MemFile *f = memdisk_file(MEM(cluster_store(c, 0, 1))->disk, &fid);
	g_assert_nonnull(f->live);
	if (!f->synced)
		f->synced = memcontent_new();
	memcontent_truncate(f->synced, SMALL + LARGE);
	cluster_power_cut_one(c, 0, 10 * MS);
	g_assert_true(cluster_run_until(c, 20 * SEC, first_serves, c));
	MagmaAny rep = must(s, MAGMA_OP_read, &read);
	g_assert_cmpuint(rep.rep_read.data.len, ==, SMALL);
	for (guint i = 0; i < SMALL; i++)
		g_assert_cmpint(rep.rep_read.data.data[i], ==, 'a');
	sim_client_free(s);
	cluster_free(c);
}

static void what_was_synced_while_it_was_inline_stays(void)
{
	what_was_synced_small_is_there_when_it_has_grown(FALSE);
	what_was_synced_small_is_there_when_it_has_grown(TRUE);
}

/* --- a content whose name is removed while what others removed is made durable --- */

static gboolean syncs_orphans(void *user)
{
	const Slice *sl = core_slice(cluster_volcano(user, 0), 1);

	return sl && sl->syncing_orphans;
}

/* So long after the second one was removed the power is cut. TRUE: its name is back, and it must be whole. */
static gboolean removed_is_whole_or_gone(gint64 after)
{
	enum { SIZE = 40000 };
	ClusterConfig cfg = { .seed = 21, .pending_permille = 200, .disk_delay = 3 * MS, .writeback_permille = 1000 };
	Cluster *c = cluster_new(&cfg);

	cluster_start(c, 0);
	g_assert_true(cluster_run_until(c, 5 * SEC, first_serves, c));
	SimClient *s = sim_client_new(c, -1);
	MagmaFid first = make_file(s, "first", upper), second = make_file(s, "second", upper);
	struct magma_req_unlink unlink_first = { .dir = magma_fid_root(), .name = MAGMA_BYTES_STR("first") }, unlink_second = { .dir = magma_fid_root(), .name = MAGMA_BYTES_STR("second") };
	struct magma_req_fsync sync = { .fid = second };
	struct magma_req_read read = { .fid = second, .size = SIZE };
	MagmaAny rep;

	write_bytes(s, &first, 0, 'a', SIZE);
	write_bytes(s, &second, 0, 'b', SIZE);
	must(s, MAGMA_OP_fsync, &sync);
	cluster_run(c, 20 * SEC);
	memstore_syncs_take(cluster_store(c, 0, 1), 400 * MS);
	must(s, MAGMA_OP_unlink, &unlink_first);
	g_assert_true(cluster_run_until(c, 20 * SEC, syncs_orphans, c));
	must(s, MAGMA_OP_unlink, &unlink_second);
	g_assert_true(syncs_orphans(c));
	cluster_run(c, after);
	cluster_power_cut_one(c, 0, 10 * MS);
	g_assert_true(cluster_run_until(c, 20 * SEC, first_serves, c));
	gboolean back = sim_call_wait(s, MAGMA_OP_read, &read, &rep) == 0;
	if (back) {
		g_assert_cmpuint(rep.rep_read.data.len, ==, SIZE);
		for (guint i = 0; i < SIZE; i++)
			g_assert_cmpint(rep.rep_read.data.data[i], ==, 'b');
	}
	sim_client_free(s);
	cluster_free(c);
	return back;
}

static void what_is_removed_goes_when_its_removal_is_durable(void)
{
	guint back = 0;

	for (gint64 after = 0; after < SEC; after += 20 * MS)
		back += removed_is_whole_or_gone(after);
	g_assert_cmpuint(back, >, 3);
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
	g_test_add_func("/sim/disks/a_content_that_a_restart_cannot_look_at_is_nobodys_until_it_can", a_content_that_a_restart_cannot_look_at_is_nobodys_until_it_can);
	g_test_add_func("/sim/disks/fsync_of_a_directory_is_for_all_slices_of_its_volcano", fsync_of_a_directory_is_for_all_slices_of_its_volcano);
	g_test_add_func("/sim/disks/a_name_that_was_not_found_does_not_come_back", a_name_that_was_not_found_does_not_come_back);
	g_test_add_func("/sim/disks/what_was_acknowledged_is_there_when_its_owner_comes_back_without_it", what_was_acknowledged_is_there_when_its_owner_comes_back_without_it);
	g_test_add_func("/sim/disks/contents_are_the_same_everywhere_after_a_power_cut_of_all", contents_are_the_same_everywhere_after_a_power_cut_of_all);
	g_test_add_func("/sim/disks/a_hole_shows_nothing_that_a_power_cut_left_whatever_the_clocks", a_hole_shows_nothing_that_a_power_cut_left_whatever_the_clocks);
	g_test_add_func("/sim/disks/a_create_is_told_that_its_number_cannot_be_reserved_and_does_not_try_for_ever", a_create_is_told_that_its_number_cannot_be_reserved_and_does_not_try_for_ever);
	g_test_add_func("/sim/disks/write_intents_of_many_contents_go_soon_after_the_last_write", write_intents_of_many_contents_go_soon_after_the_last_write);
	g_test_add_func("/sim/disks/a_copy_whose_store_cannot_be_opened_is_tried_again_without_a_new_map", a_copy_whose_store_cannot_be_opened_is_tried_again_without_a_new_map);
	g_test_add_func("/sim/disks/what_is_removed_goes_when_its_removal_is_durable", what_is_removed_goes_when_its_removal_is_durable);
	g_test_add_func("/sim/disks/what_was_synced_while_it_was_inline_stays", what_was_synced_while_it_was_inline_stays);
	return g_test_run();
}
