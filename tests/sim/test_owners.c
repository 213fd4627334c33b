/* Who owns a slice, and what of it is where, when stores do not open, disks fill up, and messages are late or lost. Whole volcanos in a simulated network. */
#include "tests/sim/scene.h"
#include "tests/sim/fsck.h"
#include "tests/sim/memdisk.h"
#include "magmad/core/consensus.h"
#include "magmad/core/move_out.h"
#include "magmad/core/takeover.h"

/* --- disks --- */

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

enum { BEFORE = 5000, AFTER = 3000 };

typedef struct {
	Cluster *c;
	guint16 slice, owner;         /* or whoever it is (0) */
	guint copies;
} Keeper;

/* It is owned by that one, and so many have all of it. */
static gboolean is_held(void *user)
{
	const Keeper *h = user;
	const MagmaSlice *s = slice_of(h->c, h->slice);

	return s && s->owner == h->owner && magma_slice_copies(newest(h->c), s) >= h->copies;
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

static Phase_ phase_at(Cluster *c, guint i, guint16 slice)
{
	Slice *sl = cluster_volcano(c, i) ? core_slice(cluster_volcano(c, i), slice) : NULL;

	return sl && sl->move ? sl->move->phase : WAITING;
}

/* Of slice 2, with the second volcano; the first one leads. */
static Phase_ phase_of(void *user) { return phase_at(user, 1, 2); }
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

/* In the half that who joins will get. */
static MagmaKey above_middle(const Triple *t)
{
	MagmaKey key = magma_range_middle(&slice_of(t->c, t->slice)->range);

	g_assert_true(magma_key_next(&key, &key));
	return key;
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
	MagmaKey key = above_middle(&t);
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

static gboolean is_copying(void *user) { return phase_at(((Triple *)user)->c, ((Triple *)user)->owner, ((Triple *)user)->slice) == COPY_ROWS; }

static gboolean copy_is_out(void *user)
{
	const Triple *t = user;
	const MagmaSlice *s = slice_of(t->c, t->slice);

	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].volcano == volcano_id(cluster_volcano(t->c, t->copy)) && s->copies[i].in_sync)
			return FALSE;
	return TRUE;
}

static gboolean has_moved(void *user) { return newest(((Triple *)user)->c)->slices->len == 4 && !newest(((Triple *)user)->c)->move.id; }

/* In the middle of a move, which waits for its copy, too. */
static void that_a_copy_is_silent_comes_to_the_leader_though_it_was_lost_and_the_move_ends(void)
{
	Triple t = triple(21);
	Cluster *c = t.c;
	MagmaKey key = above_middle(&t);
	Tokens *k = tokens_new(c, key);
	guint64 o = (guint64)1 << t.owner, y = (guint64)1 << t.copy;

	token_ask(k);
	cluster_start(c, 3);
	tokens_until(k, is_copying, &t);
	guint there = cluster_block(c, o, y), back = cluster_block(c, y, o);
	c->node[t.owner].awaited = "it does not answer";
	tokens_until(k, was_awaited, &t);
	guint lost = cluster_block(c, o, (guint64)1 << t.leader);
	lose_sessions_between(c, t.owner, t.leader);
	tokens_run(k, 350 * MS);
	g_assert_false(copy_is_out(&t));
	cluster_unblock(c, lost);
	gint64 since = world_now(cluster_world(c));
	tokens_until(k, copy_is_out, &t);
	g_assert_cmpint(world_now(cluster_world(c)) - since, <, 3 * SEC);      /* clients wait */
	tokens_until(k, has_moved, &t);
	cluster_unblock(c, there);
	cluster_unblock(c, back);
	g_assert_true(cluster_run_until(c, 120 * SEC, at_home, c));
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

/* --- one after the other, in a larger network --- */

static guint started;

static gboolean all_serve(void *user)
{
	for (guint i = 0; i < started; i++)
		if (!cluster_serves(user, i))
			return FALSE;
	return !newest(user)->move.id && cluster_at_home(user);
}

static gboolean owners_live(void *user)
{
	const MagmaMap *m = newest(user);
	gboolean all = TRUE;

	for (guint i = 0; i < m->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(m->slices, MagmaSlice, i);
		guint good = 0;
		for (guint k = 0; k < s->ncopies; k++)
			good += s->copies[k].in_sync;
		all &= good > 0 && !(magma_map_by_id(m, s->owner)->flags & MAGMA_VOLCANO_DOWN);
	}
	return all;
}

/* Five vote, and those that die keep nobody from finding the next one dead. */
static void so_many_may_die(guint volcanos, guint dead)
{
	Cluster *c = network_of(41, 2);

	started = volcanos;
	for (guint i = 1; i < volcanos; i++)
		cluster_start(c, i);
	g_assert_true(cluster_run_until(c, 300 * SEC, all_serve, c));
	cluster_run(c, 5 * SEC);
	for (guint n = 0; n < dead; n++) {
		cluster_kill(c, n, 6000 * SEC, FALSE);
		cluster_run(c, 4 * SEC);
		g_assert_true(cluster_run_until(c, 60 * SEC, owners_live, c));
		cluster_run(c, 5 * SEC);
	}
	cluster_free(c);
}

static void volcanos_may_die_one_after_the_other(void)
{
	/* a majority of those that vote then is left */
	static const struct { guint volcanos, dead; } of[] = { { 3, 1 }, { 4, 2 }, { 5, 2 }, { 6, 3 }, { 7, 4 }, { 9, 6 } };

	for (guint i = 0; i < G_N_ELEMENTS(of); i++)
		so_many_may_die(of[i].volcanos, of[i].dead);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/sim/owners/" #name, name)
	T(a_copys_store_looks_at_its_disk_every_second);
	T(an_owner_whose_store_cannot_be_opened_says_so_and_leaves_its_slice_to_a_copy);
	T(a_move_ends_well_whichever_of_its_messages_is_lost);
	T(a_commit_that_comes_after_its_source_was_restarted_loses_nothing);
	T(a_commit_that_comes_after_the_move_has_another_id_does_nothing);
	T(a_copy_that_answers_again_is_not_taken_out_by_what_was_said_before);
	T(that_a_copy_is_silent_comes_to_the_leader_though_it_was_lost_and_the_move_ends);
	T(a_start_asks_what_was_in_question_before_the_map_that_it_finds);
	g_test_add_func("/sim/owners/volcanos_may_die_one_after_the_other", volcanos_may_die_one_after_the_other);
	return g_test_run();
}
