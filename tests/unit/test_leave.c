/* magmad/core/leave.c: a planned end. What it waits for, whom it hands to, and that it does not wait for ever. */
#include "tests/unit/group_kit.h"

#define MS ((MagmaTime)1000)

static void is_done(void *user) { (*(guint *)user)++; }
static void is_ready(void *user, const char *refusal) { }

static GroupKit *member(guint n, guint copies, guint16 leader)
{
	GroupKit *k = kit_new(kit_ring(n, copies), FALSE);

	if (leader == 1)
		kit_leads(k);
	else
		k->leader = leader;
	kit_lease(k, k->now + 100 * SECOND);
	return k;
}

/* What it says to the leader. */
static gboolean told(GroupKit *k, MagmaHdr *h, Session **on)
{
	MagmaAny req;

	if (!kit_asked(k, MAGMA_OP_leave, h, &req, on))
		return FALSE;
	g_assert_cmpuint(req.req_leave.volcano, ==, 1);
	return TRUE;
}

static void a_member_gives_its_lease_up_tells_the_leader_and_waits_for_the_map(void)
{
	g_autoptr(GroupKit) k = member(3, 2, 2);
	guint done = 0;
	MagmaHdr h;
	Session *s;

	volcano_leave(k->v, is_done, &done);
	g_assert_true(k->v->resigned);
	g_assert_cmpint(k->v->lease_until, ==, 0);     /* before the word leaves: the leader waits for no lease then */
	g_assert_true(told(k, &h, &s));
	g_assert_cmpuint(s->to.ip[3], ==, 2);
	kit_run(k, SECOND);
	g_assert_cmpuint(done, ==, 0);
	kit_reply(k, s, &h, 0, &(struct magma_rep_leave){ 0 });
	g_assert_cmpuint(done, ==, 1);
	kit_lease(k, k->now + SECOND);
	g_assert_cmpint(k->v->lease_until, ==, 0);     /* and it gets none any more */
}

static void a_leader_that_does_not_answer_is_waited_for_3_seconds(void)
{
	g_autoptr(GroupKit) k = member(3, 2, 2);
	guint done = 0;

	volcano_leave(k->v, is_done, &done);
	kit_run(k, 2900 * MS);
	g_assert_cmpuint(done, ==, 0);
	kit_run(k, 200 * MS);
	g_assert_cmpuint(done, ==, 1);
	kit_run(k, 10 * SECOND);
	g_assert_cmpuint(done, ==, 1);
}

static void a_leader_hands_over_first_and_serves_until_then(void)
{
	g_autoptr(GroupKit) k = member(4, 2, 1);
	guint done = 0;
	MagmaHdr h;
	Session *s;

	k->granted[2] = 0;                    /* votes, and is silent */
	k->granted[4] = k->now;               /* heard, and votes not */
	volcano_leave(k->v, is_done, &done);
	g_assert_cmpuint(k->transferred, ==, 3);
	g_assert_false(k->v->resigned);
	g_assert_false(told(k, &h, &s));
	k->leads = FALSE;
	k->leader = 3;
	kit_run(k, 50 * MS);
	g_assert_true(k->v->resigned);
	g_assert_true(told(k, &h, &s));
	g_assert_cmpuint(s->to.ip[3], ==, 3);
	kit_reply(k, s, &h, 0, &(struct magma_rep_leave){ 0 });
	g_assert_cmpuint(done, ==, 1);
}

static void a_hand_over_that_fails_is_tried_again(void)
{
	g_autoptr(GroupKit) k = member(3, 2, 1);
	guint done = 0;

	volcano_leave(k->v, is_done, &done);
	g_assert_cmpuint(k->transferred, ==, 2);
	k->transferred = 0;
	kit_run(k, 100 * MS);
	g_assert_cmpuint(k->transferred, ==, 0);
	kit_hear(k);
	kit_run(k, 150 * MS);
	g_assert_cmpuint(k->transferred, ==, 2);
}

/* Of two, the only voter: the other has to vote before it can lead. */
static void the_only_voter_of_two_gives_the_other_a_vote(void)
{
	g_autoptr(GroupKit) k = member(2, 2, 1);
	guint done = 0;

	volcano_leave(k->v, is_done, &done);
	g_assert_cmpuint(k->proposals, ==, 1);
	g_assert_true(kit_is(k->proposed, 2, MAGMA_VOLCANO_VOTER));
	g_assert_cmpuint(k->transferred, ==, 0);
	kit_run(k, 100 * MS);
	g_assert_cmpuint(k->proposals, ==, 1);         /* one change at a time */
	kit_commit(k);
	kit_run(k, 50 * MS);
	g_assert_cmpuint(k->transferred, ==, 2);
	g_assert_cmpuint(done, ==, 0);
}

static void a_leader_with_nobody_to_hand_to_ends_at_once(void)
{
	for (guint n = 1; n <= 3; n += 2) {
		g_autoptr(GroupKit) k = member(n, 2, 1);
		guint done = 0;
		for (guint i = 2; i <= n; i++)
			k->granted[i] = k->now - 2 * SECOND;
		volcano_leave(k->v, is_done, &done);
		g_assert_cmpuint(done, ==, 1);
		g_assert_cmpuint(k->transferred, ==, 0);
	}
}

static void nothing_is_handed_to_one_that_is_down(void)
{
	MagmaMap *m = kit_ring(3, 2);

	kit_volcano(m, 2)->flags |= MAGMA_VOLCANO_DOWN;
	g_autoptr(GroupKit) k = kit_new(m, FALSE);
	guint done = 0;
	kit_leads(k);
	volcano_leave(k->v, is_done, &done);
	g_assert_cmpuint(k->transferred, ==, 3);
}

static void who_serves_nothing_yet_ends_at_once(void)
{
	g_autoptr(GroupKit) k = kit_new(kit_ring(3, 2), FALSE);
	guint done = 0;

	k->v->ready = is_ready;
	volcano_leave(k->v, is_done, &done);
	g_assert_cmpuint(done, ==, 1);
	k->v->ready = NULL;
}

/* While it ends it plans nothing: what it decides could be taken back with it. */
static void who_ends_makes_no_maps(void)
{
	g_autoptr(GroupKit) k = member(3, 2, 1);
	guint done = 0;

	volcano_leave(k->v, is_done, &done);
	kit_silent(k, 3, k->now);
	kit_run(k, 500 * MS);
	g_assert_cmpuint(k->proposals, ==, 0);
}

/* --- at the leader --- */

static int leave(GroupKit *k, Session *s, guint16 id)
{
	struct magma_req_leave q = { .volcano = id, .life = k->life[id] };
	MagmaAny rep;
	int error = -1;

	kit_ask(k, s, MAGMA_OP_leave, &q, &error, &rep);
	return error;
}

/* It has begun anew, and serves by a lease: it would be declared down without waiting for that one's end. */
static void a_late_farewell_of_an_earlier_start_ends_nothing(void)
{
	g_autoptr(GroupKit) k = member(3, 2, 1);
	Session *s = kit_session(k, TRUE);
	struct magma_req_leave late = { .volcano = 2, .life = k->life[2] };
	MagmaAny rep;
	int error = -1;

	k->life[2]++;
	kit_ask(k, s, MAGMA_OP_leave, &late, &error, &rep);
	g_assert_cmpint(error, ==, MAGMA_ETRYAGAIN);
	g_assert_cmpuint(k->proposals, ==, 0);
}

static void the_leader_commits_one_map_and_then_answers(void)
{
	g_autoptr(GroupKit) k = member(3, 2, 1);
	Session *s = kit_session(k, TRUE);
	MagmaAny rep;
	int error = -1;

	g_assert_cmpint(leave(k, s, 2), ==, -1);
	g_assert_cmpuint(k->proposals, ==, 1);
	g_assert_true(k->gone);
	kit_slice_is(k->proposed, 2, "3: 2-");
	g_assert_true(kit_is(k->proposed, 2, MAGMA_VOLCANO_DOWN));
	g_assert_true(kit_is(k->proposed, 2, MAGMA_VOLCANO_VOTER));        /* of three */
	kit_commit(k);
	g_assert_true(kit_answer(k, s, &error, &rep));
	g_assert_cmpint(error, ==, 0);
}

static void who_does_not_lead_or_ends_itself_or_is_asked_for_nobody_refuses(void)
{
	g_autoptr(GroupKit) k = member(3, 2, 1);
	Session *s = kit_session(k, TRUE);
	guint done = 0;

	g_assert_cmpint(leave(k, s, 1), ==, EINVAL);
	g_assert_cmpint(leave(k, s, 9), ==, EINVAL);
	k->v->map_changing = TRUE;
	g_assert_cmpint(leave(k, s, 2), ==, MAGMA_ETRYAGAIN);
	k->v->map_changing = FALSE;
	k->leads = FALSE;
	k->leader = 2;
	g_assert_cmpint(leave(k, s, 2), ==, MAGMA_ETRYAGAIN);
	k->leads = TRUE;
	volcano_leave(k->v, is_done, &done);
	g_assert_cmpint(leave(k, s, 2), ==, MAGMA_ETRYAGAIN);
	g_assert_cmpuint(k->proposals, ==, 0);
}

/* Both hold everything by the map, and either waits for the other at the next start. */
static void two_that_end_at_once_do_not_wait_for_each_other(void)
{
	g_autoptr(GroupKit) k = member(2, 2, 1);
	Session *s = kit_session(k, TRUE);
	guint done = 0;

	volcano_leave(k->v, is_done, &done);
	g_assert_cmpuint(done, ==, 0);
	g_assert_cmpint(leave(k, s, 2), ==, EBUSY);
	g_assert_cmpuint(done, ==, 1);
	kit_refuse(k, EAGAIN);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/leave/" #name, name)
	T(a_member_gives_its_lease_up_tells_the_leader_and_waits_for_the_map);
	T(a_leader_that_does_not_answer_is_waited_for_3_seconds);
	T(a_leader_hands_over_first_and_serves_until_then);
	T(a_hand_over_that_fails_is_tried_again);
	T(the_only_voter_of_two_gives_the_other_a_vote);
	T(a_leader_with_nobody_to_hand_to_ends_at_once);
	T(nothing_is_handed_to_one_that_is_down);
	T(who_serves_nothing_yet_ends_at_once);
	T(who_ends_makes_no_maps);
	T(a_late_farewell_of_an_earlier_start_ends_nothing);
	T(the_leader_commits_one_map_and_then_answers);
	T(who_does_not_lead_or_ends_itself_or_is_asked_for_nobody_refuses);
	T(two_that_end_at_once_do_not_wait_for_each_other);
	return g_test_run();
}
