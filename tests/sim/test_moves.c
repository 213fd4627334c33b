/* Slices on their way to another volcano. Whole volcanos in a simulated network. */
#include "tests/sim/fsck.h"
#include "tests/sim/memdisk.h"
#include "tests/sim/scene.h"
#include "magmad/core/core.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

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

/* --- what a power cut left beside an orphan --- */

/* Its row says that it has no content in a file, and a file is there: the source's goes with the rows. (Found by power 5313199.) */
static void no_content_of_an_orphan_stays_at_the_source(void)
{
	Cluster *c = network(17);
	SimClient *s = sim_client_new(c, -1);
	MagmaFid fid = make_file(s, "f", upper);
	struct magma_req_open open = { .fid = fid, .flags = O_RDONLY };
	struct magma_req_unlink unlink = { .dir = magma_fid_root(), .name = MAGMA_BYTES_STR("f") };
	struct magma_req_release release = { .fid = fid };

	must(s, MAGMA_OP_open, &open);
	sim_opened(s, &fid);
	must(s, MAGMA_OP_unlink, &unlink);
	MemDisk *disk = MEM(cluster_store(c, 0, volcano_id(cluster_volcano(c, 0))))->disk;
	memdisk_file(disk, &fid)->live = memcontent_new();
	join_second(c);
	g_assert_true(cluster_run_until(c, 60 * SEC, second_serves, c));
	g_assert_cmpuint(index_of(c, magma_map_slice(newest(c), &upper)->owner), ==, 1);
	cluster_run(c, 5 * SEC);
	g_assert_null(memdisk_file(disk, &fid)->live);
	must(s, MAGMA_OP_release, &release);
	sim_released(s, &fid);
	cluster_run(c, 20 * SEC);
	fsck_free(fsck_run(c));
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

/* --- one of those that join is gone in the middle --- */

static gboolean fifth_serves(void *user) { return cluster_serves(user, 4); }
static gboolean fourth_serves(void *user) { return cluster_serves(user, 3) && !newest(user)->move.id; }

enum { SOME_RECORDS = 12, KEEP = 1 << 20 };       /* of those that all the rows and contents make; of the journal, so that copies that come back need not be compared */

static gboolean fourth_has_some(void *user)
{
	const MagmaMap *m = newest(user);
	Volcano *v = cluster_volcano(user, 3);
	Store *s = m->move.id && v && m->move.to == volcano_id(v) ? cluster_store(user, 3, m->move.part.id) : NULL;

	return s && s->log->position(s).index >= SOME_RECORDS;
}

static Cluster *joiner_under_way(guint32 seed, guint copies, SimClient **s)
{
	Cluster *c = three_of(seed, copies, KEEP);

	*s = sim_client_new(c, -1);
	for (guint i = 0; i < 20; i++) {
		g_autofree char *name = g_strdup_printf("f%u", i);
		MagmaFid fid = make_file(*s, name, i % 2 ? upper : MAGMA_KEY_MIN);
		write_bytes(*s, &fid, 0, 'a', 20000);
	}
	cluster_start(c, 3);
	g_assert_true(cluster_run_until(c, 60 * SEC, fourth_has_some, c));
	return c;
}

/* It may never be back. */
static void others_join_where_one_is_gone_in_the_middle(gboolean cut_off)
{
	SimClient *s;
	Cluster *c = joiner_under_way(31, 2, &s);
	guint to = 0, from = 0;

	if (cut_off) {
		to = cluster_block(c, ~(guint64)8, 8);
		from = cluster_block(c, 8, ~(guint64)8);
	} else {
		cluster_kill(c, 3, 40 * SEC, FALSE);
	}
	cluster_start(c, 4);
	g_assert_true(cluster_run_until(c, 30 * SEC, fifth_serves, c));
	g_assert_cmpuint(newest(c)->slices->len, ==, 4);
	if (cut_off) {
		cluster_unblock(c, to);
		cluster_unblock(c, from);
	}
	g_assert_true(cluster_run_until(c, 90 * SEC, fourth_serves, c));
	g_assert_cmpuint(newest(c)->slices->len, ==, 5);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	cluster_run(c, 10 * SEC);
	g_assert_cmpstr(fsck_copies(c), ==, NULL);
	sim_client_free(s);
	cluster_free(c);
}

static void others_join_where_one_was_killed_in_the_middle(void) { others_join_where_one_is_gone_in_the_middle(FALSE); }
static void others_join_where_one_was_cut_off_in_the_middle(void) { others_join_where_one_is_gone_in_the_middle(TRUE); }

/* The joiner loses its folder; the source of its part, which keeps a copy of it, is killed at the same time and back when all is done. What that one had of the part is no beginning of what came later. */
static void an_old_copy_of_a_part_is_not_the_beginning_of_another(void)
{
	SimClient *s;
	Cluster *c = joiner_under_way(32, 4, &s);
	const MagmaMap *m = newest(c);
	guint16 slice = m->move.part.id;
	guint source = index_of(c, magma_map_slice_by_id(m, m->move.from)->owner);

	g_assert_nonnull(cluster_store(c, source, slice));
	g_assert_cmpuint(cluster_store(c, source, slice)->log->position(cluster_store(c, source, slice)).index, >, 0);
	cluster_kill(c, source, 60 * SEC, TRUE);
	cluster_lose_folder(c, 3, 20 * SEC);
	for (guint i = 0; i < 20; i++) {
		g_autofree char *name = g_strdup_printf("g%u", i);
		MagmaFid fid = make_file(s, name, i % 2 ? upper : MAGMA_KEY_MIN);
		write_bytes(s, &fid, 0, 'b', 100 + i);
	}
	g_assert_true(cluster_run_until(c, 55 * SEC, fourth_serves, c));
	g_assert_null(cluster_volcano(c, source));
	cluster_run(c, 60 * SEC);
	g_assert_true(cluster_run_until(c, 60 * SEC, at_home, c));
	cluster_run(c, 20 * SEC);
	g_assert_cmpstr(fsck_copies(c), ==, NULL);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sim/moves/what_does_not_read_is_not_moved", what_does_not_read_is_not_moved);
	g_test_add_func("/sim/moves/no_content_of_an_orphan_stays_at_the_source", no_content_of_an_orphan_stays_at_the_source);
	g_test_add_func("/sim/moves/a_target_that_dies_holds_nobody_up", a_target_that_dies_holds_nobody_up);
	g_test_add_func("/sim/moves/a_part_counts_from_the_map_that_gave_it", a_part_counts_from_the_map_that_gave_it);
	g_test_add_func("/sim/moves/a_source_that_was_restarted_does_nothing_before_its_move_has_another_id", a_source_that_was_restarted_does_nothing_before_its_move_has_another_id);
	g_test_add_func("/sim/moves/others_join_where_one_was_killed_in_the_middle", others_join_where_one_was_killed_in_the_middle);
	g_test_add_func("/sim/moves/others_join_where_one_was_cut_off_in_the_middle", others_join_where_one_was_cut_off_in_the_middle);
	g_test_add_func("/sim/moves/an_old_copy_of_a_part_is_not_the_beginning_of_another", an_old_copy_of_a_part_is_not_the_beginning_of_another);
	return g_test_run();
}
