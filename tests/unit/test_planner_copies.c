/* magmad/core/planner.c: who keeps copies of what, whose slice goes home, what a leader is told of copies and of volcanos that end or are replaced; and that no decision loses the last copy. */
#include "tests/unit/group_kit.h"
#include "magmad/core/holding.h"
#include <stdlib.h>

static void nothing_changes(GroupKit *k) { g_assert_null(kit_look(k)); }
static void dies(GroupKit *k, guint16 id) { kit_silent(k, id, k->now); }

/* --- copies --- */

static void the_next_of_the_ring_keep_as_many_copies_as_wanted(void)
{
	static const char *const want[] = { NULL, "2:", "2: 3-", "2: 3- 4-" };

	for (guint copies = 1; copies <= 3; copies++) {
		MagmaMap *m = kit_ring(4, 1);
		m->copies_wanted = copies;
		g_autoptr(GroupKit) k = kit_leader_of(m);
		if (copies == 1)
			nothing_changes(k);
		else
			kit_slice_is(kit_must_look(k), 2, want[copies]);
	}
}

static void the_dead_get_no_copies(void)
{
	MagmaMap *m = kit_ring(4, 1);

	m->copies_wanted = 2;
	kit_volcano(m, 3)->flags |= MAGMA_VOLCANO_DOWN;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	dies(k, 3);
	const MagmaMap *next = kit_must_look(k);
	kit_slice_is(next, 2, "2: 4-");
	kit_slice_is(next, 3, "3:");          /* it waits; nobody could fill a copy */
}

static void a_copy_goes_only_when_those_that_replace_it_count(void)
{
	const MagmaCopy c[] = { { 1, TRUE } };                /* should be at 4 */
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring_with(4, 2, 3, 1, c));

	kit_slice_is(kit_must_look(k), 3, "3: 1+ 4-");
	kit_commit(k);
	nothing_changes(k);
	MagmaMap *m = magma_map_copy(k->v->map);
	kit_copy(kit_slice(m, 3), 4)->in_sync = TRUE;
	m->epoch++;
	kit_use(k, m);
	kit_slice_is(kit_must_look(k), 3, "3: 4+");
}

static void a_copy_of_one_that_is_down_stays(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(4, 2));

	dies(k, 4);
	kit_must_look(k);
	kit_commit(k);
	MagmaMap *m = magma_map_copy(k->v->map);
	kit_copy(kit_slice(m, 3), 1)->in_sync = TRUE;
	m->epoch++;
	kit_use(k, m);
	kit_settle(k);
	kit_slice_is(k->v->map, 3, "3: 4- 1+");
	/* back, it catches up, and the one that stood in goes */
	kit_hear_one(k, 4);
	kit_must_look(k);
	kit_commit(k);
	kit_slice_is(k->v->map, 3, "3: 4- 1+");
	m = magma_map_copy(k->v->map);
	kit_copy(kit_slice(m, 3), 4)->in_sync = TRUE;
	m->epoch++;
	kit_use(k, m);
	kit_settle(k);
	kit_slice_is(k->v->map, 3, "3: 4+");
}

static void a_witness_keeps_no_copies(void)
{
	MagmaMap *m = kit_ring(2, 2);
	MagmaVolcano w = { .id = 3, .state = MAGMA_JOINING, .flags = MAGMA_VOLCANO_VOTER, .name = "w", .fqdn = "w", .addr = { .family = 4, .ip = { 127, 0, 143, 9 }, .port = 12000 } };

	magma_map_add(m, &w);
	kit_volcano(m, 2)->flags |= MAGMA_VOLCANO_VOTER;
	m->copies_wanted = 3;
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	g_autoptr(GroupKit) k = kit_leader_of(m);
	nothing_changes(k);
	dies(k, 2);
	kit_slice_is(kit_must_look(k), 2, "1: 2-");
}

/* --- home --- */

static MagmaMap *acted_for(gboolean in_sync)
{
	const MagmaCopy c[] = { { 3, in_sync } };
	MagmaMap *m = kit_ring_with(4, 2, 3, 1, c);

	kit_slice(m, 3)->owner = 4;
	kit_slice(m, 3)->epoch = 7;
	return m;
}

static void a_slice_goes_home_when_its_home_has_everything(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(acted_for(TRUE));
	const MagmaMap *m = kit_must_look(k);

	g_assert_cmpuint(kit_slice((MagmaMap *)m, 3)->owner, ==, 3);
	g_assert_cmpuint(kit_slice((MagmaMap *)m, 3)->epoch, ==, 8);
	g_assert_true(kit_copy(kit_slice((MagmaMap *)m, 3), 4)->in_sync);        /* who acted for it has everything, too */
}

static void a_slice_does_not_go_home_before(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(acted_for(FALSE));

	kit_settle(k);
	g_assert_cmpuint(kit_slice(k->v->map, 3)->owner, ==, 4);
	g_assert_nonnull(kit_copy(kit_slice(k->v->map, 3), 3));
}

static void who_comes_home_is_filled_first(void)
{
	MagmaMap *m = acted_for(FALSE);

	kit_slice(m, 3)->ncopies = 0;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	const MagmaMap *next = kit_must_look(k);
	g_assert_nonnull(kit_copy(kit_slice((MagmaMap *)next, 3), 3));
	g_assert_cmpuint(kit_slice((MagmaMap *)next, 3)->owner, ==, 4);
}

/* Those that are down stay in the list, until it is full. */
static void a_full_list_gives_up_one_that_is_down(void)
{
	MagmaCopy gone[MAGMA_COPIES_MAX];

	for (guint i = 0; i < MAGMA_COPIES_MAX; i++)
		gone[i] = (MagmaCopy){ (guint16)(3 + i), FALSE };
	MagmaMap *m = kit_ring_with(9, 2, 1, MAGMA_COPIES_MAX, gone);
	for (guint16 i = 0; i < MAGMA_COPIES_MAX; i++)
		kit_volcano(m, 3 + i)->flags = MAGMA_VOLCANO_DOWN;
	kit_volcano(m, 2)->flags = MAGMA_VOLCANO_VOTER;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	for (guint16 i = 0; i < MAGMA_COPIES_MAX; i++)
		kit_silent(k, 3 + i, k->now);
	MagmaMap *next = (MagmaMap *)kit_must_look(k);
	g_assert_nonnull(kit_copy(kit_slice(next, 1), 2));
	g_assert_null(kit_copy(kit_slice(next, 1), 3));
	g_assert_nonnull(kit_copy(kit_slice(next, 1), 8));
}

/* Volcanos that joined one after the other were wanted each for a moment. The owner dies; its place is kept for it. */
static void a_full_list_gives_up_one_that_counts_before_the_one_whose_slice_it_is(void)
{
	const MagmaCopy many[] = { { 1, FALSE }, { 4, TRUE }, { 5, TRUE }, { 6, TRUE }, { 7, TRUE }, { 8, TRUE } };

	MagmaMap *m = kit_ring_with(9, 2, 1, G_N_ELEMENTS(many), many);
	kit_slice(m, 1)->owner = 2;           /* it acts; the next one, 3, has nothing yet */
	g_autoptr(GroupKit) k = kit_leader_of(m);
	MagmaMap *next = (MagmaMap *)kit_must_look(k);
	g_assert_nonnull(kit_copy(kit_slice(next, 1), 3));
	g_assert_nonnull(kit_copy(kit_slice(next, 1), 1));
	g_assert_null(kit_copy(kit_slice(next, 1), 4));
}

/* --- a planned end --- */

static void left(Volcano *v, void *user, int error) { *(int *)user = error; }

static void who_ends_hands_its_slices_on_at_once_and_its_vote_then(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(4, 2));
	int error = -1;

	core_enter(k->v);
	planner_leaves(k->v, 3, left, &error);
	core_leave(k->v);
	g_assert_cmpuint(k->proposals, ==, 1);
	g_assert_true(k->gone);               /* nobody waits for its lease */
	g_assert_true(kit_named(k, 3));
	g_assert_true(kit_is(k->proposed, 3, MAGMA_VOLCANO_DOWN));
	g_assert_true(kit_is(k->proposed, 3, MAGMA_VOLCANO_VOTER));
	kit_slice_is(k->proposed, 3, "4: 3-");
	kit_slice_is(k->proposed, 2, "2: 3-");
	kit_commit(k);
	g_assert_cmpint(error, ==, 0);
	kit_silent(k, 3, k->now);
	kit_settle(k);
	g_assert_false(kit_is(k->v->map, 3, MAGMA_VOLCANO_VOTER));
	g_assert_true(kit_is(k->v->map, 4, MAGMA_VOLCANO_VOTER));
	g_assert_cmpuint(kit_voters(k->v->map), ==, 3);
}

/* The second one ends before the first one's vote has been given to it: two votes are left that decide, with the third for whoever is back. */
static void two_of_four_that_end_at_once_leave_no_single_voter(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(4, 2));

	for (guint16 id = 3; id <= 4; id++) {
		int error = -1;
		core_enter(k->v);
		planner_leaves(k->v, id, left, &error);
		core_leave(k->v);
		kit_commit(k);
		g_assert_cmpint(error, ==, 0);
		kit_silent(k, id, k->now);
	}
	kit_settle(k);
	g_assert_true(kit_is(k->v->map, 4, MAGMA_VOLCANO_DOWN));
	g_assert_true(kit_is(k->v->map, 1, MAGMA_VOLCANO_VOTER));
	g_assert_true(kit_is(k->v->map, 2, MAGMA_VOLCANO_VOTER));
	g_assert_true(kit_is(k->v->map, 3, MAGMA_VOLCANO_VOTER));
}

/* With it alone nothing goes on, but each of the others begins again with it, and they with each other. */
static void a_witness_that_is_left_alone_is_not_the_only_voter(void)
{
	MagmaMap *m = kit_ring(3, 2);

	kit_volcano(m, 1)->offered = 0;
	kit_volcano(m, 2)->flags |= MAGMA_VOLCANO_DOWN;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	int error = -1;

	kit_silent(k, 2, k->now);
	core_enter(k->v);
	planner_leaves(k->v, 3, left, &error);
	core_leave(k->v);
	g_assert_true(kit_is(k->proposed, 3, MAGMA_VOLCANO_DOWN));
	g_assert_cmpuint(kit_voters(k->proposed), ==, 3);
}

/* Of three: with the other two, or with one of those and this one when it is back, the network goes on. */
static void who_ends_keeps_its_vote_where_nobody_could_have_it(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));
	int error = -1;

	core_enter(k->v);
	planner_leaves(k->v, 3, left, &error);
	core_leave(k->v);
	g_assert_true(kit_is(k->proposed, 3, MAGMA_VOLCANO_DOWN));
	g_assert_true(kit_is(k->proposed, 3, MAGMA_VOLCANO_VOTER));
	kit_commit(k);
	g_assert_cmpint(error, ==, 0);
	/* and the next one takes it along, or who is left could not decide: one vote at a time */
	core_enter(k->v);
	planner_leaves(k->v, 2, left, &error);
	core_leave(k->v);
	g_assert_false(kit_is(k->proposed, 3, MAGMA_VOLCANO_VOTER));
	g_assert_true(kit_is(k->proposed, 2, MAGMA_VOLCANO_VOTER));
	g_assert_false(kit_is(k->proposed, 2, MAGMA_VOLCANO_DOWN));
	kit_commit(k);
	g_assert_cmpint(error, ==, EAGAIN);
	core_enter(k->v);
	planner_leaves(k->v, 2, left, &error);
	core_leave(k->v);
	g_assert_true(kit_is(k->proposed, 2, MAGMA_VOLCANO_DOWN));
	g_assert_false(kit_is(k->proposed, 2, MAGMA_VOLCANO_VOTER));
	g_assert_true(kit_is(k->proposed, 1, MAGMA_VOLCANO_VOTER));
	kit_commit(k);
	g_assert_cmpint(error, ==, 0);
}

static void who_ends_with_the_only_copy_keeps_its_slice(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 1));
	int error = -1;

	core_enter(k->v);
	planner_leaves(k->v, 2, left, &error);
	core_leave(k->v);
	kit_slice_is(k->proposed, 2, "2:");
	kit_refuse(k, ENOLINK);
	g_assert_cmpint(error, ==, ENOLINK);
}

/* --- a witness that leads --- */

static MagmaMap *led_by_a_witness(void)
{
	MagmaMap *m = kit_ring(3, 1);

	m->copies_wanted = 2;                 /* there is something to do for a leader */
	kit_volcano(m, 1)->offered = 0;
	return m;
}

static void a_witness_leads_only_until_another_can(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(led_by_a_witness());

	nothing_changes(k);
	g_assert_cmpuint(k->transferred, ==, 2);
}

/* Another leader would count the silence from its own beginning, and clients wait. */
static void a_witness_does_not_hand_over_while_somebody_is_silent(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(led_by_a_witness());

	kit_silent(k, 3, k->now + SECOND);
	kit_must_look(k);
	g_assert_cmpuint(k->transferred, ==, 0);
	kit_refuse(k, EAGAIN);
	dies(k, 3);
	g_assert_true(kit_is(kit_must_look(k), 3, MAGMA_VOLCANO_DOWN));
	kit_commit(k);
	nothing_changes(k);
	g_assert_cmpuint(k->transferred, ==, 2);
}

/* --- what owners say of their copies --- */

static int say(GroupKit *k, Session *s, guint16 slice, guint64 epoch, guint16 volcano, guint8 state, guint64 map)
{
	const MagmaSlice *o = magma_map_part(k->v->map, slice);
	struct magma_req_copy_state q = { .slice = slice, .epoch = epoch, .volcano = volcano, .in_sync = state, .life = o ? k->life[o->owner] : 0 };
	MagmaAny rep;
	int error = -1;

	kit_ask_at(k, s, map, MAGMA_OP_copy_state, &q, &error, &rep);
	return error;          /* -1: no answer yet */
}

static void an_owner_may_take_a_copy_out_and_count_it_again(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));
	Session *s = kit_session(k, TRUE);
	MagmaAny rep;
	int error = -1;

	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_OUT, 5), ==, -1);
	kit_slice_is(k->proposed, 2, "2: 3-");
	g_assert_cmpuint(k->ndown, ==, 0);
	kit_commit(k);
	g_assert_true(kit_answer(k, s, &error, &rep));
	g_assert_cmpint(error, ==, 0);        /* only now may it go on without */
	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_OUT, 6), ==, 0);        /* it is so already */
	/* asked for before it was taken out: its owner has gone on without it since */
	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_COUNTS, 5), ==, MAGMA_ETRYAGAIN);
	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_COUNTS, 6), ==, -1);
	kit_slice_is(k->proposed, 2, "2: 3+");
	kit_commit(k);
	g_assert_cmpuint(k->proposals, ==, 2);
}

static void a_late_word_takes_no_copy_out(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));
	Session *s = kit_session(k, TRUE);

	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_OUT, 4), ==, MAGMA_ETRYAGAIN);
	g_assert_cmpuint(k->proposals, ==, 0);
}

/* A restarted owner waits for no copy that its former start asked for. */
static void what_an_earlier_start_of_the_owner_asked_for_is_refused(void)
{
	MagmaMap *m = kit_ring(3, 2);

	kit_copy(kit_slice(m, 2), 3)->in_sync = FALSE;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	Session *s = kit_session(k, TRUE);
	struct magma_req_copy_state late = { .slice = 2, .epoch = 1, .volcano = 3, .in_sync = STATE_COUNTS, .life = k->life[2] };
	MagmaAny rep;
	int error = -1;

	k->life[2]++;
	kit_ask(k, s, MAGMA_OP_copy_state, &late, &error, &rep);
	g_assert_cmpint(error, ==, MAGMA_ETRYAGAIN);
	g_assert_cmpuint(k->proposals, ==, 0);
	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_COUNTS, 5), ==, -1);
	kit_slice_is(k->proposed, 2, "2: 3+");
	kit_commit(k);
}

/* It could not open its store. Restarted it has, and answers. */
static void what_an_earlier_start_of_the_owner_gave_away_stays(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));
	Session *s = kit_session(k, TRUE);
	struct magma_req_copy_state late = { .slice = 2, .epoch = 1, .volcano = 3, .in_sync = STATE_HAS_MORE, .life = k->life[2] };
	MagmaAny rep;
	int error = -1;

	k->life[2]++;
	kit_ask(k, s, MAGMA_OP_copy_state, &late, &error, &rep);
	g_assert_cmpint(error, ==, ESTALE);
	g_assert_cmpuint(k->proposals, ==, 0);
}

static void only_the_owner_of_now_is_heard_and_only_by_the_leader(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));
	Session *s = kit_session(k, TRUE);

	g_assert_cmpint(say(k, s, 2, 9, 3, STATE_OUT, 5), ==, ESTALE);
	g_assert_cmpint(say(k, s, 9, 1, 3, STATE_OUT, 5), ==, ESTALE);
	g_assert_cmpint(say(k, s, 2, 1, 1, STATE_COUNTS, 5), ==, ESTALE);        /* no copy of it */
	k->leads = FALSE;
	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_OUT, 5), ==, MAGMA_ETRYAGAIN);
	k->leads = TRUE;
	k->v->map_changing = TRUE;
	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_OUT, 5), ==, MAGMA_ETRYAGAIN);
	k->v->map_changing = FALSE;
	g_assert_cmpuint(k->proposals, ==, 0);
}

static void who_is_down_does_not_count(void)
{
	MagmaMap *m = kit_ring(3, 2);

	kit_volcano(m, 3)->flags |= MAGMA_VOLCANO_DOWN;
	kit_copy(kit_slice(m, 2), 3)->in_sync = FALSE;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	Session *s = kit_session(k, TRUE);
	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_COUNTS, 5), ==, ESTALE);
	g_assert_cmpuint(k->proposals, ==, 0);
}

/* After a full restart the highest (epoch, index) wins: the owner has compared, and a copy has more. */
static void a_copy_with_a_longer_log_acts_for_the_slice(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));
	Session *s = kit_session(k, TRUE);

	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_HAS_MORE, 4), ==, ESTALE);      /* by an older map: its owner may have gone on without that copy since */
	g_assert_cmpint(say(k, s, 2, 1, 1, STATE_HAS_MORE, 5), ==, ESTALE);
	g_assert_cmpint(say(k, s, 2, 1, 3, STATE_HAS_MORE, 5), ==, -1);
	kit_slice_is(k->proposed, 2, "3: 2-");
	g_assert_cmpuint(kit_slice(k->proposed, 2)->epoch, ==, 2);
	kit_commit(k);
}

/* --- an empty folder --- */

static int join(GroupKit *k, Session *s, const char *name, guint8 at, MagmaAny *rep)
{
	g_autoptr(GByteArray) addr = g_byte_array_new();
	struct magma_req_join q = { .name = MAGMA_BYTES_STR(name), .fqdn = MAGMA_BYTES_STR("new.test"), .bandwidth = 1, .offered = 1 };
	MagmaAddr a = { .family = 4, .ip = { 127, 0, 143, at }, .port = 12000 };
	int error = -1;

	magma_put_addr(addr, &a);
	q.addr = MAGMA_BYTES(addr->data, addr->len);
	kit_ask(k, s, MAGMA_OP_join, &q, &error, rep);
	return error;
}

static void refused(GroupKit *k, Session *s, const char *name, guint8 at, const char *why)
{
	MagmaAny rep;

	g_assert_cmpint(join(k, s, name, at, &rep), ==, 0);
	g_assert_cmpuint(rep.rep_join.id, ==, 0);
	g_autofree char *text = g_strndup((const char *)rep.rep_join.refusal.data, rep.rep_join.refusal.len);
	g_assert_nonnull(strstr(text, why));
	g_assert_cmpuint(k->proposals, ==, 0);
}

static void an_empty_folder_takes_the_place_of_a_dead_voter_but_not_its_vote(void)
{
	MagmaMap *m = kit_ring(3, 2);

	kit_volcano(m, 3)->flags |= MAGMA_VOLCANO_DOWN;
	kit_slice(m, 3)->owner = 1;
	kit_slice(m, 3)->copies[0] = (MagmaCopy){ 3, FALSE };
	kit_copy(kit_slice(m, 2), 3)->in_sync = FALSE;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	Session *s = kit_session(k, TRUE);
	MagmaAny rep;
	int error = -1;
	k->granted[3] = 0;
	g_assert_cmpint(join(k, s, "v3", 77, &rep), ==, -1);
	g_assert_cmpuint(kit_volcano(k->proposed, 3)->addr.ip[3], ==, 77);
	g_assert_false(kit_is(k->proposed, 3, MAGMA_VOLCANO_VOTER));     /* what it voted is lost with its folder */
	g_assert_true(kit_is(k->proposed, 3, MAGMA_VOLCANO_DOWN));
	kit_slice_is(k->proposed, 3, "1: 3-");
	kit_commit(k);
	g_assert_true(kit_answer(k, s, &error, &rep));
	g_assert_cmpint(error, ==, 0);
	g_assert_cmpuint(rep.rep_join.id, ==, 3);
	kit_hear_one(k, 3);
	kit_settle(k);
	g_assert_true(kit_is(k->v->map, 3, MAGMA_VOLCANO_VOTER));        /* like anybody new */
	g_assert_cmpuint(kit_slice(k->v->map, 3)->owner, ==, 1);
}

static void no_empty_folder_takes_the_place_of_who_has_the_only_copy(void)
{
	MagmaMap *m = kit_ring(3, 1);

	kit_volcano(m, 3)->flags |= MAGMA_VOLCANO_DOWN;
	g_autoptr(GroupKit) k = kit_leader_of(m);
	Session *s = kit_session(k, TRUE);
	k->granted[3] = 0;
	refused(k, s, "v3", 77, "slice 3 waits for volcano v3");
}

static void no_empty_folder_takes_the_place_of_who_lives(void)
{
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(3, 2));
	Session *s = kit_session(k, TRUE);
	MagmaAny rep;

	refused(k, s, "v3", 77, "the nickname v3 is taken");
	k->granted[3] = k->now - 2 * SECOND;  /* silent, and not yet down: soon it is */
	g_assert_cmpint(join(k, s, "v3", 77, &rep), ==, MAGMA_ETRYAGAIN);
	g_assert_cmpuint(k->proposals, ==, 0);
	k->granted[1] = 0;
	refused(k, s, "v1", 77, "the nickname v1 is taken");             /* the leader itself is never heard */
}

/* Owner and copy died at once, and the copy's folder is gone. */
static void an_empty_folder_counts_nowhere(void)
{
	MagmaMap *m = kit_ring(4, 2);

	kit_volcano(m, 3)->flags |= MAGMA_VOLCANO_DOWN;
	kit_volcano(m, 4)->flags |= MAGMA_VOLCANO_DOWN;
	kit_slice(m, 4)->owner = 1;
	kit_slice(m, 4)->copies[0] = (MagmaCopy){ 4, FALSE };
	g_autoptr(GroupKit) k = kit_leader_of(m);
	Session *s = kit_session(k, TRUE);
	MagmaAny rep;
	k->granted[3] = k->granted[4] = 0;
	kit_slice_is(k->v->map, 3, "3: 4+");
	g_assert_cmpint(join(k, s, "v4", 77, &rep), ==, -1);
	kit_slice_is(k->proposed, 3, "3: 4-");
	kit_commit(k);
	k->now += 10 * SECOND;
	kit_hear_one(k, 4);
	kit_settle(k);
	g_assert_cmpuint(kit_slice(k->v->map, 3)->owner, ==, 3);
}

/* --- whatever happens --- */

static guint32 holders(const MagmaSlice *s)
{
	guint32 set = 1u << s->owner;

	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].in_sync)
			set |= 1u << s->copies[i].volcano;
	return set;
}

/* What any next map may be made of this one. */
static void check_step(GroupKit *k, const MagmaMap *old, const MagmaMap *new)
{
	guint flips = 0;

	for (guint i = 0; i < old->slices->len; i++) {
		const MagmaSlice *was = &g_array_index(old->slices, MagmaSlice, i), *is = magma_map_slice_by_id(new, was->id);
		g_assert_cmpuint(holders(is) & ~holders(was), ==, 0);           /* nobody has more by a decision */
		g_assert_cmpuint(is->epoch, ==, was->epoch + (is->owner != was->owner));
		if (is->owner != was->owner && kit_is(old, was->owner, MAGMA_VOLCANO_DOWN))
			g_assert_true(kit_named(k, was->owner) || was->owner == 1);
		if (is->owner != was->owner)
			g_assert_false(kit_is(new, is->owner, MAGMA_VOLCANO_DOWN));
		if (kit_is(new, is->owner, MAGMA_VOLCANO_DOWN))
			g_assert_cmphex(holders(is), ==, holders(was));         /* nobody goes on, so nobody lacks anything */
		for (guint c = 0; c < is->ncopies && !kit_is(new, is->owner, MAGMA_VOLCANO_DOWN); c++)
			g_assert_false(is->copies[c].in_sync && kit_is(new, is->copies[c].volcano, MAGMA_VOLCANO_DOWN));
		/* whoever has everything and lives is not sent away before there are as many others */
		for (guint c = 0; c < was->ncopies; c++)
			if (was->copies[c].in_sync && !kit_copy((MagmaSlice *)is, was->copies[c].volcano) && is->owner != was->copies[c].volcano)
				g_assert_cmpuint(__builtin_popcount(holders(is)), >=, new->copies_wanted);
	}
	for (guint i = 0; i < old->volcanos->len; i++) {
		const MagmaVolcano *was = old->volcanos->pdata[i], *is = new->volcanos->pdata[i];
		flips += (was->flags ^ is->flags) & MAGMA_VOLCANO_VOTER ? 1 : 0;
		if (is->flags & ~was->flags & MAGMA_VOLCANO_DOWN)
			g_assert_true(kit_named(k, is->id) && k->down_at[is->id] <= k->now);
	}
	g_assert_cmpuint(flips, <=, 1);
	g_assert_cmpuint(kit_voters(new), >=, 1);
	g_assert_true(kit_is(new, 1, MAGMA_VOLCANO_VOTER));
}

static void copies_catch_up(GroupKit *k, GRand *rnd, gboolean all)
{
	MagmaMap *m = magma_map_copy(k->v->map);

	for (guint i = 0; i < m->slices->len; i++) {
		MagmaSlice *s = &g_array_index(m->slices, MagmaSlice, i);
		for (guint c = 0; c < s->ncopies; c++)
			if (!kit_is(m, s->owner, MAGMA_VOLCANO_DOWN) && !kit_is(m, s->copies[c].volcano, MAGMA_VOLCANO_DOWN) && (all || g_rand_boolean(rnd)))
				s->copies[c].in_sync = TRUE;
	}
	m->epoch++;
	kit_use(k, m);
}

static void look_and_check(GroupKit *k)
{
	g_autoptr(MagmaMap) old = magma_map_copy(k->v->map);

	k->ndown = 0;
	if (!kit_look(k))
		return;
	check_step(k, old, k->proposed);
	kit_commit(k);
}

static void random_life(guint32 seed)
{
	g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);
	guint n = g_rand_int_range(rnd, 2, 8), copies = g_rand_int_range(rnd, 1, 4);
	g_autoptr(GroupKit) k = kit_leader_of(kit_ring(n, copies));

	if (n == 2)
		kit_volcano(k->v->map, 2)->flags |= MAGMA_VOLCANO_VOTER;        /* what holds of exactly two is test_takeover's */
	kit_lease(k, G_MAXINT64);
	for (guint turn = 0; turn < 60; turn++) {
		guint16 id = g_rand_int_range(rnd, 2, n + 1);
		switch (g_rand_int_range(rnd, 0, 4)) {
		case 0: kit_silent(k, id, k->now + g_rand_int_range(rnd, 0, 2) * SECOND); break;
		case 1: kit_hear_one(k, id); break;
		case 2: copies_catch_up(k, rnd, FALSE); break;
		default: k->now += SECOND; break;
		}
		for (guint i = 2; i <= n; i++)
			if (k->granted[i] > KIT_BEGINS - SECOND && k->now - k->granted[i] < 5 * SECOND)
				kit_hear_one(k, i);
		look_and_check(k);
	}
	for (guint turn = 0; turn < 20; turn++) {
		kit_hear(k);
		look_and_check(k);
		copies_catch_up(k, rnd, TRUE);
	}
	kit_settle(k);
	for (guint i = 1; i <= n; i++) {
		const MagmaSlice *s = kit_slice(k->v->map, i);
		g_assert_cmpuint(s->owner, ==, i);                      /* at home */
		g_assert_cmpuint(__builtin_popcount(holders(s)), ==, MIN(copies, n));
		g_assert_cmpuint(s->ncopies, ==, MIN(copies, n) - 1);
		g_assert_false(kit_is(k->v->map, i, MAGMA_VOLCANO_DOWN));
	}
}

static guint32 first_seed = 1;

static void no_decision_loses_the_last_copy_and_all_ends_at_home(void)
{
	for (guint32 seed = first_seed; seed < first_seed + 300; seed++) {
		g_test_message("seed %u", seed);
		random_life(seed);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (argc > 1)
		first_seed = (guint32)strtoul(argv[1], NULL, 0);
#define T(name) g_test_add_func("/planner/copies/" #name, name)
	T(the_next_of_the_ring_keep_as_many_copies_as_wanted);
	T(the_dead_get_no_copies);
	T(a_copy_goes_only_when_those_that_replace_it_count);
	T(a_copy_of_one_that_is_down_stays);
	T(a_witness_keeps_no_copies);
	T(a_slice_goes_home_when_its_home_has_everything);
	T(a_slice_does_not_go_home_before);
	T(who_comes_home_is_filled_first);
	T(a_full_list_gives_up_one_that_is_down);
	T(a_full_list_gives_up_one_that_counts_before_the_one_whose_slice_it_is);
	T(who_ends_hands_its_slices_on_at_once_and_its_vote_then);
	T(two_of_four_that_end_at_once_leave_no_single_voter);
	T(a_witness_that_is_left_alone_is_not_the_only_voter);
	T(who_ends_keeps_its_vote_where_nobody_could_have_it);
	T(who_ends_with_the_only_copy_keeps_its_slice);
	T(a_witness_leads_only_until_another_can);
	T(a_witness_does_not_hand_over_while_somebody_is_silent);
	T(an_owner_may_take_a_copy_out_and_count_it_again);
	T(a_late_word_takes_no_copy_out);
	T(what_an_earlier_start_of_the_owner_asked_for_is_refused);
	T(what_an_earlier_start_of_the_owner_gave_away_stays);
	T(only_the_owner_of_now_is_heard_and_only_by_the_leader);
	T(who_is_down_does_not_count);
	T(a_copy_with_a_longer_log_acts_for_the_slice);
	T(an_empty_folder_takes_the_place_of_a_dead_voter_but_not_its_vote);
	T(no_empty_folder_takes_the_place_of_who_has_the_only_copy);
	T(no_empty_folder_takes_the_place_of_who_lives);
	T(an_empty_folder_counts_nowhere);
	T(no_decision_loses_the_last_copy_and_all_ends_at_home);
	return g_test_run();
}
