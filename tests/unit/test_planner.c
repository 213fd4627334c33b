/* magmad/core/planner.c: what the leader makes of the map, for which map and which news (docs/architecture.md, docs/reliability.md). */
#include "tests/unit/group_kit.h"

static void nothing_changes(GroupKit *k) { g_assert_null(kit_look(k)); }

static void dies(GroupKit *k, guint16 id) { kit_silent(k, id, k->now); }

/* --- down and back --- */

static void all_well_is_left_as_it_is(void)
{
	for (guint n = 1; n <= 6; n++)
		for (guint copies = 1; copies <= 3; copies++) {
			g_autoptr(GroupKit) k = NULL;
			MagmaMap *m = kit_ring(n, copies);
			for (guint i = 1; i <= n; i++)       /* as many voters as there should be */
				kit_volcano(m, i)->flags = i <= (n >= 5 ? 5u : n >= 3 ? 3u : 1u) ? MAGMA_VOLCANO_VOTER : 0;
			k = kit_leader_of(m);
			nothing_changes(k);
		}
}

static void who_is_silent_is_down_when_its_lease_has_surely_run_out(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(4, 2));

	kit_silent(k, 3, k->now + 1);
	nothing_changes(k);
	k->now++;
	const MagmaMap *m = kit_must_look(k);
	g_assert_true(kit_is(m, 3, MAGMA_VOLCANO_DOWN));
	g_assert_false(kit_is(m, 2, MAGMA_VOLCANO_DOWN));
	g_assert_cmpuint(k->ndown, ==, 1);    /* so that the group gives it no lease before it knows */
	g_assert_cmpuint(k->down[0], ==, 3);
	g_assert_false(k->gone);
}

static void one_look_takes_all_who_are_silent_for_down(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(6, 3));

	dies(k, 3);
	dies(k, 5);
	const MagmaMap *m = kit_must_look(k);
	g_assert_true(kit_is(m, 3, MAGMA_VOLCANO_DOWN) && kit_is(m, 5, MAGMA_VOLCANO_DOWN));
	g_assert_true(kit_named(k, 3) && kit_named(k, 5) && k->ndown == 2);
}

static void who_does_not_lead_takes_nobody_for_down(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));

	dies(k, 2);
	k->leads = FALSE;
	nothing_changes(k);
	k->leads = TRUE;
	k->v->map_changing = TRUE;            /* one change at a time */
	nothing_changes(k);
	k->v->map_changing = FALSE;
	kit_must_look(k);
}

/* Who answers beats, but has not had the time to take a new leader's first map. */
static void who_answers_a_new_leader_is_given_time(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));

	dies(k, 2);
	k->answered[2] = k->now - SECOND / 4;
	k->led_since = k->now - SECOND;
	nothing_changes(k);
	k->led_since = k->now - 2 * SECOND;
	kit_must_look(k);
	kit_refuse(k, EAGAIN);
	k->led_since = k->now - SECOND;
	k->answered[2] = k->now - SECOND;
	kit_must_look(k);
	kit_refuse(k, EAGAIN);
	k->answered[2] = 0;
	kit_must_look(k);
}

static void who_proves_itself_alive_is_back(void)
{
	MagmaMap *m = kit_ring(3, 1);

	kit_volcano(m, 2)->flags |= MAGMA_VOLCANO_DOWN;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	k->granted[2] = k->now - 2 * SECOND;
	nothing_changes(k);
	kit_hear_one(k, 2);
	g_assert_false(kit_is(kit_must_look(k), 2, MAGMA_VOLCANO_DOWN));
}

/* It kept its vote, and the others elected it. */
static void a_leader_that_serves_is_not_down(void)
{
	MagmaMap *m = kit_ring(3, 1);

	kit_volcano(m, 1)->flags |= MAGMA_VOLCANO_DOWN;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	nothing_changes(k);
	kit_lease(k, k->now + SECOND);
	g_assert_false(kit_is(kit_must_look(k), 1, MAGMA_VOLCANO_DOWN));
}

static void a_look_is_due_when_the_first_may_be_down(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(4, 2));

	k->down_at[2] = k->now + 300;
	k->down_at[3] = k->now + 200;
	k->down_at[4] = k->now + 400;
	g_assert_cmpint(planner_due(k->v), ==, k->now + 200);
	k->leads = FALSE;
	g_assert_cmpint(planner_due(k->v), ==, G_MAXINT64);
}

/* --- heirs --- */

static void the_first_copy_in_sync_that_is_alive_acts(void)
{
	const MagmaCopy c[] = { { 4, FALSE }, { 5, TRUE }, { 1, TRUE } };
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring_with(5, 3, 3, 3, c));

	dies(k, 3);
	dies(k, 5);
	const MagmaMap *m = kit_must_look(k);
	g_assert_cmpuint(kit_slice((MagmaMap *)m, 3)->owner, ==, 1);
	g_assert_cmpuint(kit_slice((MagmaMap *)m, 3)->home, ==, 3);
	g_assert_cmpuint(kit_slice((MagmaMap *)m, 3)->epoch, ==, 2);      /* nobody takes what an owner before sends now */
	kit_slice_is(m, 3, "1: 4- 5- 3- 2-");         /* who was down counts no more, but need not begin from nothing; another copy is made */
}

static void no_copy_in_sync_no_heir(void)
{
	const MagmaCopy c[] = { { 4, FALSE }, { 1, FALSE } };
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring_with(4, 2, 3, 2, c));

	dies(k, 3);
	kit_slice_is(kit_must_look(k), 3, "3: 4- 1-");
	g_assert_true(kit_said(k, "slice 3 has no copy in sync: it waits for volcano 3"));
	kit_commit(k);
	k->now += 1000 * SECOND;
	kit_hear(k);
	dies(k, 3);
	g_assert_cmpuint(kit_settle(k), <=, 2);
	g_assert_cmpuint(kit_slice(k->v->map, 3)->owner, ==, 3);
}

static void one_copy_of_everything_no_heir(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 1));

	dies(k, 2);
	kit_slice_is(kit_must_look(k), 2, "2:");
	kit_commit(k);
	kit_settle(k);
	kit_slice_is(k->v->map, 2, "2:");
	kit_hear_one(k, 2);
	kit_settle(k);
	g_assert_false(kit_is(k->v->map, 2, MAGMA_VOLCANO_DOWN));
	kit_slice_is(k->v->map, 2, "2:");
}

/* Owner and copy died one after the other: who was left last has all. */
static void a_slice_that_waits_goes_to_whoever_of_those_that_have_it_is_back(void)
{
	MagmaMap *m = kit_ring(4, 2);

	kit_volcano(m, 3)->flags |= MAGMA_VOLCANO_DOWN;
	kit_volcano(m, 4)->flags |= MAGMA_VOLCANO_DOWN;
	kit_volcano(m, 3)->flags &= ~MAGMA_VOLCANO_VOTER;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	k->granted[3] = 0;
	k->down_at[3] = k->now + 5;           /* it may be on its way back, and have been granted a lease since */
	kit_slice_is(kit_must_look(k), 3, "3: 4+");
	g_assert_false(kit_is(k->proposed, 4, MAGMA_VOLCANO_DOWN));
	kit_commit(k);
	kit_settle(k);
	g_assert_cmpuint(kit_slice(k->v->map, 3)->owner, ==, 3);
	k->now += 5;
	g_assert_cmpuint(kit_slice((MagmaMap *)kit_must_look(k), 3)->owner, ==, 4);
	g_assert_true(kit_named(k, 3));           /* no lease for it before it knows */
}

/* As by a power cut of their rack: the other's disk may be lost for good. */
static void of_two_that_die_at_once_whoever_is_back_first_goes_on(void)
{
	for (guint16 first = 3; first <= 4; first++) {
		g_autoptr(GroupKit) k = kit_leader_of(kit_ring(5, 2));
		dies(k, 3);
		dies(k, 4);
		kit_slice_is(kit_must_look(k), 3, "3: 4+");
		g_assert_cmpuint(kit_slice(k->proposed, 3)->epoch, ==, 1);
		kit_slice_is(k->proposed, 4, "5: 4- 1-");     /* another's copy acts */
		kit_commit(k);
		kit_settle(k);
		kit_slice_is(k->v->map, 3, "3: 4+");
		kit_hear_one(k, first);
		kit_slice_is(kit_must_look(k), 3, first == 3 ? "3: 4- 5-" : "4: 3- 5-");
	}
}

static void a_copy_that_dies_counts_no_more(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(4, 2));

	dies(k, 4);
	kit_slice_is(kit_must_look(k), 3, "3: 4- 1-");
}

/* The upper half of slice 3 goes to volcano 5, which joins; a copy of it is at volcano 4. */
static MagmaMap *moving(guint64 id)
{
	MagmaMap *m = kit_ring(4, 2);
	MagmaVolcano n = { .id = 5, .state = MAGMA_JOINING, .name = "v5", .fqdn = "v5", .offered = 1, .addr = { .family = 4, .ip = { 127, 0, 143, 5 }, .port = 12000 } };
	MagmaSlice *s = kit_slice(m, 3);

	magma_map_add(m, &n);
	m->move = (MagmaMove){ .id = id, .from = 3, .to = 5, .range = s->range, .part = { .id = 5, .range = s->range, .home = 5, .owner = 5, .epoch = id, .ncopies = 1, .copies = { { 4, TRUE } } } };
	m->move.range.lo.b[5] = m->move.part.range.lo.b[5] = 0x80;
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	return m;
}

static void a_part_that_is_on_its_way_forgets_a_copy_that_dies(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(moving(9));

	dies(k, 4);
	const MagmaMap *next = kit_must_look(k);
	g_assert_cmpuint(next->move.id, ==, 9);
	/* and its source keeps one, or it would be in one place from the commit on */
	kit_slice_is(next, 5, "5: 3-");
}

/* -1: no answer yet. */
static int commit(GroupKit *k, Session *s, guint64 move)
{
	struct magma_req_move_commit q = { .move = move };
	MagmaAny rep;
	int error = -1;

	kit_ask(k, s, MAGMA_OP_move_commit, &q, &error, &rep);
	return error;
}

static void a_commit_is_of_the_move_that_it_names_or_of_none(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(moving(9));
	Session *s = kit_session(k, TRUE);

	g_assert_cmpint(commit(k, s, 4), ==, 0);
	g_assert_cmpuint(k->proposals, ==, 0);
	g_assert_cmpint(commit(k, s, 9), ==, -1);
	g_assert_cmpint(commit(k, s, 9), ==, MAGMA_ETRYAGAIN);        /* a repeat, while the map changes */
	kit_slice_is(k->proposed, 5, "5: 4+");
	kit_commit(k);
	g_assert_cmpuint(k->v->map->slices->len, ==, 5);
	g_assert_cmpint(commit(k, s, 9), ==, 0);
	g_assert_cmpuint(k->proposals, ==, 1);
}

/* What the first owner sent is not what the new one has, and its word may still come. */
static void a_move_whose_source_has_another_owner_has_another_id(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(moving(4));
	Session *s = kit_session(k, TRUE);

	dies(k, 3);
	kit_slice_is(kit_must_look(k), 3, "4: 3- 1-");
	g_assert_cmpint(commit(k, s, 4), ==, MAGMA_ETRYAGAIN);
	kit_commit(k);
	guint proposals = k->proposals;
	g_assert_cmpuint(k->v->map->move.id, >, 4);
	g_assert_cmpint(commit(k, s, 4), ==, 0);
	g_assert_cmpuint(k->proposals, ==, proposals);
	g_assert_cmpuint(k->v->map->slices->len, ==, 4);
}

/* --- who votes --- */

static void one_votes_of_two_three_of_three_five_of_five(void)
{
	static const guint want[] = { 0, 1, 1, 3, 3, 5, 5, 5 };

	for (guint n = 1; n < G_N_ELEMENTS(want); n++) {
		MagmaMap *m = kit_ring(n, 2);
		for (guint i = 2; i <= n; i++)
			kit_volcano(m, i)->flags = 0;
		g_autoptr(GroupKit) k = kit_leader_of(m);
		g_assert_cmpuint(kit_settle(k), ==, want[n] - 1);        /* one at a time */
		g_assert_cmpuint(kit_voters(k->v->map), ==, want[n]);
		g_assert_true(kit_is(k->v->map, 1, MAGMA_VOLCANO_VOTER));
	}
}

static void who_was_never_heard_gets_no_vote(void)
{
	MagmaMap *m = kit_ring(3, 2);

	kit_volcano(m, 2)->flags = kit_volcano(m, 3)->flags = 0;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	k->granted[3] = 0;                    /* it may not know yet that it is one of three */
	nothing_changes(k);
	kit_hear_one(k, 3);
	g_assert_cmpuint(kit_settle(k), ==, 2);
	g_assert_cmpuint(kit_voters(k->v->map), ==, 3);
}

static void a_dead_voter_keeps_its_vote_until_another_has_its_place(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));

	dies(k, 3);
	kit_must_look(k);
	kit_commit(k);
	kit_settle(k);
	g_assert_true(kit_is(k->v->map, 3, MAGMA_VOLCANO_VOTER | MAGMA_VOLCANO_DOWN));
	g_assert_cmpuint(kit_voters(k->v->map), ==, 3);      /* two of three still decide; of two none could be missed */
}

static void a_dead_voter_is_replaced_by_one_that_lives(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(4, 2));

	dies(k, 3);
	for (guint i = 0; i < 3 && kit_look(k); i++) {
		g_assert_cmpuint(kit_voters(k->proposed), >=, 3);
		g_assert_true(kit_is(k->proposed, 3, MAGMA_VOLCANO_DOWN));
		kit_commit(k);
	}
	kit_settle(k);
	g_assert_cmpuint(kit_voters(k->v->map), ==, 3);
	g_assert_true(kit_is(k->v->map, 4, MAGMA_VOLCANO_VOTER));
	g_assert_false(kit_is(k->v->map, 3, MAGMA_VOLCANO_VOTER));
	kit_hear_one(k, 3);
	kit_settle(k);
	g_assert_false(kit_is(k->v->map, 3, MAGMA_VOLCANO_VOTER));       /* and stays so */
}

static MagmaMap *five_vote(void)
{
	MagmaMap *m = kit_ring(8, 2);

	for (guint i = 1; i <= 5; i++)
		kit_volcano(m, i)->flags |= MAGMA_VOLCANO_VOTER;
	return m;
}

/* A group has five at most, and every other change of the map waits for this one. */
static void a_dead_voter_of_five_goes_before_another_comes(void)
{
	for (guint16 id = 2; id <= 5; id++) {
		g_autoptr(GroupKit) k = kit_leader_of(five_vote());
		guint least = 5;

		dies(k, id);
		for (guint i = 0; i < 4 && kit_look(k); i++) {
			g_assert_cmpuint(kit_voters(k->proposed), <=, 5);
			least = MIN(least, kit_voters(k->proposed));
			kit_commit(k);
		}
		g_assert_cmpuint(least, ==, 4);
		g_assert_cmpuint(kit_voters(k->v->map), ==, 5);
		g_assert_false(kit_is(k->v->map, id, MAGMA_VOLCANO_VOTER));
	}
}

/* As there were: the group has the first five. */
static void of_six_voters_the_one_that_is_in_no_group_goes(void)
{
	MagmaMap *m = five_vote();

	kit_volcano(m, 7)->flags |= MAGMA_VOLCANO_VOTER;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	dies(k, 3);
	const MagmaMap *next = kit_must_look(k);
	g_assert_false(kit_is(next, 7, MAGMA_VOLCANO_VOTER));
	g_assert_true(kit_is(next, 3, MAGMA_VOLCANO_VOTER | MAGMA_VOLCANO_DOWN));
}

static void the_leader_takes_no_vote_from_itself(void)
{
	MagmaMap *m = kit_ring(2, 2);

	kit_volcano(m, 2)->flags |= MAGMA_VOLCANO_VOTER;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	g_assert_cmpuint(kit_settle(k), ==, 1);
	g_assert_true(kit_is(k->v->map, 1, MAGMA_VOLCANO_VOTER));
	g_assert_false(kit_is(k->v->map, 2, MAGMA_VOLCANO_VOTER));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/planner/" #name, name)
	T(all_well_is_left_as_it_is);
	T(who_is_silent_is_down_when_its_lease_has_surely_run_out);
	T(one_look_takes_all_who_are_silent_for_down);
	T(who_does_not_lead_takes_nobody_for_down);
	T(who_answers_a_new_leader_is_given_time);
	T(who_proves_itself_alive_is_back);
	T(a_leader_that_serves_is_not_down);
	T(a_look_is_due_when_the_first_may_be_down);
	T(the_first_copy_in_sync_that_is_alive_acts);
	T(no_copy_in_sync_no_heir);
	T(one_copy_of_everything_no_heir);
	T(a_slice_that_waits_goes_to_whoever_of_those_that_have_it_is_back);
	T(of_two_that_die_at_once_whoever_is_back_first_goes_on);
	T(a_copy_that_dies_counts_no_more);
	T(a_part_that_is_on_its_way_forgets_a_copy_that_dies);
	T(a_commit_is_of_the_move_that_it_names_or_of_none);
	T(a_move_whose_source_has_another_owner_has_another_id);
	T(one_votes_of_two_three_of_three_five_of_five);
	T(who_was_never_heard_gets_no_vote);
	T(a_dead_voter_keeps_its_vote_until_another_has_its_place);
	T(a_dead_voter_is_replaced_by_one_that_lives);
	T(a_dead_voter_of_five_goes_before_another_comes);
	T(of_six_voters_the_one_that_is_in_no_group_goes);
	T(the_leader_takes_no_vote_from_itself);
	return g_test_run();
}
