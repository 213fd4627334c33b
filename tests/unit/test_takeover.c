/* magmad/core/takeover.c: of two volcanos, who goes on when the other is silent, who asks first, and which of two lines stands (docs/reliability.md, "Two volcanos, and force"). */
#include "tests/unit/group_kit.h"

#define MS ((MagmaTime)1000)
#define FORCED (1800 * MS)            /* after the last word */

static Takeover *takeover(GroupKit *k) { return consensus_takeover(k->v); }

/* Of two: this one votes, and leads. */
static GroupKit *voter(MagmaMap *m, gboolean again)
{
	GroupKit *k = kit_new(m, again);

	kit_leads(k);
	return k;
}

/* Of two: volcano 2 votes; this one has everything, and gets its leases from there. */
static MagmaMap *led_by_2(void)
{
	MagmaMap *m = kit_ring(2, 2);

	kit_volcano(m, 1)->flags = 0;
	kit_volcano(m, 2)->flags = MAGMA_VOLCANO_VOTER;
	return m;
}

static void word_of_2(GroupKit *k)
{
	takeover_heard(takeover(k), 2);
	kit_lease(k, k->now + 1200 * MS);
}

/* In touch, and all is well, for a second. */
static GroupKit *follower_with(MagmaMap *m, const VolcanoConfig *cfg, gboolean again)
{
	GroupKit *k = kit_new_with(m, again, cfg);

	k->leader = 2;
	for (guint i = 0; i < 10; i++) {
		word_of_2(k);
		kit_run(k, 100 * MS);
	}
	word_of_2(k);
	return k;
}

static GroupKit *follower(MagmaMap *m) { return follower_with(m, &(VolcanoConfig){ 0 }, FALSE); }

static void does_not_go_on(GroupKit *k)
{
	kit_run(k, 20 * SECOND);
	g_assert_null(k->forced);
}

/* --- the only voter --- */

static void the_voter_serves_for_as_long_as_the_other_surely_waits(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), FALSE);

	g_assert_cmpint(takeover_lease(takeover(k), k->now + 100 * SECOND), ==, k->now + 1200 * MS);
	g_assert_cmpint(takeover_lease(takeover(k), k->now + 300 * MS), ==, k->now + 300 * MS);
	k->now += SECOND;                     /* since it answered */
	takeover_clock(takeover(k));
	g_assert_cmpint(takeover_lease(takeover(k), k->now + 100 * SECOND), ==, 0);      /* stood still for a second: it asks */
}

static void the_voter_serves_alone_where_the_other_could_not_go_on(void)
{
	MagmaMap *m = kit_ring(2, 2);

	kit_copy(kit_slice(m, 1), 2)->in_sync = FALSE;
	g_autoptr(GroupKit) k = voter(m, FALSE);
	g_assert_cmpint(takeover_lease(takeover(k), k->now + 100 * SECOND), ==, k->now + 100 * SECOND);
	m = magma_map_copy(k->v->map);
	kit_copy(kit_slice(m, 1), 2)->in_sync = TRUE;
	kit_volcano(m, 2)->flags |= MAGMA_VOLCANO_DOWN;
	m->epoch++;
	kit_use(k, m);
	g_assert_cmpint(takeover_lease(takeover(k), k->now + 100 * SECOND), ==, k->now + 100 * SECOND);
}

static void the_voter_goes_on_when_the_other_is_down(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), FALSE);

	kit_silent(k, 2, k->now);
	const MagmaMap *m = kit_look(k);
	g_assert_nonnull(m);
	g_assert_true(kit_is(m, 2, MAGMA_VOLCANO_DOWN));
	kit_slice_is(m, 1, "1: 2-");
	kit_slice_is(m, 2, "1: 2-");
	g_assert_true(kit_is(m, 1, MAGMA_VOLCANO_VOTER));
}

/* The other hears nothing of it meanwhile, and goes on 1.8 s after its last word. */
static void a_voter_that_stood_still_twice_asks_where_the_other_could_have_gone_on(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), FALSE);

	takeover_lease(takeover(k), k->now);           /* as after each step of the group */
	kit_run(k, 50 * MS);
	kit_stand_still(k, 750 * MS);
	takeover_clock(takeover(k));
	g_assert_true(takeover_may_change(takeover(k)));      /* it has 0.8 s left to take the other for down */
	kit_run(k, 50 * MS);
	kit_stand_still(k, 800 * MS);
	g_assert_false(takeover_may_change(takeover(k)));
	g_assert_cmpint(takeover_lease(takeover(k), k->now + SECOND), ==, 0);
	k->answered[2] = k->now + 1;
	g_assert_true(takeover_may_change(takeover(k)));
}

static void a_voter_that_stood_still_in_time_goes_on(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), FALSE);

	takeover_lease(takeover(k), k->now);
	kit_stand_still(k, 800 * MS);
	kit_run(k, 700 * MS);
	g_assert_true(takeover_may_change(takeover(k)));
}

static void a_voter_that_was_slow_but_never_stood_still_goes_on(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), FALSE);

	takeover_lease(takeover(k), k->now);
	kit_run(k, 1700 * MS);
	g_assert_true(takeover_may_change(takeover(k)));
}

static void with_one_copy_nothing_of_the_other_goes_on(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 1), FALSE);

	kit_silent(k, 2, k->now);
	kit_slice_is(kit_look(k), 2, "2:");
	kit_commit(k);
	kit_settle(k);
	kit_slice_is(k->v->map, 2, "2:");
	kit_slice_is(k->v->map, 1, "1:");
}

/* After a restart the other may have gone on. */
static void after_a_restart_the_voter_serves_and_changes_nothing_before_the_other_answers(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), TRUE);

	kit_silent(k, 2, k->now);
	k->answered[2] = 0;
	g_assert_cmpint(takeover_lease(takeover(k), k->now + SECOND), ==, 0);
	g_assert_false(takeover_may_change(takeover(k)));
	kit_run(k, 10 * SECOND);
	g_assert_null(kit_look(k));           /* though it could be taken for down */
	g_assert_true(kit_said(k, "waits for volcano v2, which may have gone on without this one"));
	k->answered[2] = KIT_BEGINS + 1;
	g_assert_true(takeover_may_change(takeover(k)));
	g_assert_nonnull(kit_look(k));
}

static void after_a_restart_the_voter_goes_on_alone_where_the_other_cannot_have(void)
{
	MagmaMap *m = kit_ring(2, 2);

	kit_volcano(m, 2)->flags |= MAGMA_VOLCANO_DOWN;
	g_autoptr(GroupKit) k = voter(m, TRUE);
	k->answered[2] = 0;
	g_assert_true(takeover_may_change(takeover(k)));
	g_assert_cmpint(takeover_lease(takeover(k), k->now + SECOND), ==, k->now + SECOND);
}

static void a_voter_that_stood_still_asks_again(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), FALSE);

	kit_run(k, 5 * SECOND);
	kit_hear(k);
	kit_stand_still(k, 600 * MS);
	g_assert_true(takeover_may_change(takeover(k)));
	kit_hear(k);
	kit_stand_still(k, 1100 * MS);
	g_assert_false(takeover_may_change(takeover(k)));
	k->down_at[2] = k->now;
	k->granted[2] = 0;
	g_assert_null(kit_look(k));
	kit_hear(k);                          /* it is there, and has not gone on */
	g_assert_true(takeover_may_change(takeover(k)));
	g_assert_cmpint(takeover_lease(takeover(k), k->now + 9 * SECOND), ==, k->now + 1200 * MS);
}

/* By it volcano 2 lacks something, and so cannot go on. */
static MagmaMap *without_2(GroupKit *k)
{
	MagmaMap *m = magma_map_copy(k->v->map);

	kit_copy(kit_slice(m, 1), 2)->in_sync = FALSE;
	m->epoch++;
	return m;
}

/* It was on its way to the disk: the other heard nothing of it, and may have gone on meanwhile. */
static void a_map_that_is_committed_after_the_stop_answers_nothing(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), FALSE);

	kit_run(k, 5 * SECOND);
	kit_hear(k);
	kit_stand_still(k, 3 * SECOND);
	kit_use(k, without_2(k));
	g_assert_false(takeover_may_change(takeover(k)));
	g_assert_cmpint(takeover_lease(takeover(k), k->now + 9 * SECOND), ==, 0);
	kit_stand_still(k, 3 * SECOND);       /* nor does another stop */
	g_assert_false(takeover_may_change(takeover(k)));
	g_assert_true(takeover_in_question(takeover(k)));
	kit_hear(k);
	g_assert_true(takeover_may_change(takeover(k)));
	g_assert_false(takeover_in_question(takeover(k)));
	g_assert_cmpint(takeover_lease(takeover(k), k->now + 9 * SECOND), ==, k->now + 9 * SECOND);
}

/* The log may have a map that is newer than the kept one, and that nobody was told. */
static void a_start_asks_by_what_was_kept(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), FALSE);

	kit_run(k, SECOND / 10);
	Takeover *by_map = takeover_new(k->v, TRUE, FALSE);
	kit_use(k, without_2(k));
	Takeover *asks = takeover_new(k->v, TRUE, TRUE), *does_not = takeover_new(k->v, TRUE, FALSE);
	kit_run(k, SECOND / 10);
	g_assert_cmpint(takeover_lease(by_map, k->now + 9 * SECOND), ==, 0);
	g_assert_cmpint(takeover_lease(asks, k->now + 9 * SECOND), ==, 0);
	g_assert_true(takeover_in_question(asks));
	g_assert_cmpint(takeover_lease(does_not, k->now + 9 * SECOND), ==, k->now + 9 * SECOND);
	g_assert_false(takeover_in_question(does_not));
	takeover_free(by_map);
	takeover_free(asks);
	takeover_free(does_not);
}

/* The other has everything and may go on; this one lacks something. A line without that could not stand. */
static MagmaMap *voter_lacks(void)
{
	MagmaMap *m = kit_ring(2, 2);

	kit_copy(kit_slice(m, 2), 1)->in_sync = FALSE;
	return m;
}

static void a_voter_that_lacks_what_the_other_has_waits_for_it(void)
{
	g_autoptr(GroupKit) k = voter(voter_lacks(), FALSE);

	kit_silent(k, 2, k->now);
	g_assert_true(takeover_waits(takeover(k)));
	g_assert_null(kit_look(k));
	kit_run(k, 3 * SECOND);
	g_assert_true(kit_said(k, "waits for volcano v2, which has what this one has not yet caught up with"));
	g_assert_null(kit_look(k));
	g_autofree char *why = volcano_takeover(k->v, "v2");
	g_assert_null(why);                   /* the operator says that it is lost */
	g_assert_true(kit_is(kit_look(k), 2, MAGMA_VOLCANO_DOWN));
}

static void no_map_by_which_nobody_has_everything(void)
{
	g_autoptr(GroupKit) k = voter(voter_lacks(), FALSE);
	g_autoptr(MagmaMap) m = magma_map_copy(k->v->map);

	g_assert_true(takeover_allows(takeover(k), m));
	kit_copy(kit_slice(m, 1), 2)->in_sync = FALSE;
	g_assert_false(takeover_allows(takeover(k), m));
	kit_copy(kit_slice(m, 2), 1)->in_sync = TRUE;
	g_assert_true(takeover_allows(takeover(k), m));
}

/* --- the other --- */

static void the_other_goes_on_1800_ms_after_the_last_word(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());
	MagmaTime heard = k->now;

	kit_run(k, FORCED);
	g_assert_null(k->forced);             /* by then the voter's own lease is over on any clock */
	g_assert_cmpint(k->v->lease_until, <, k->now);
	kit_run(k, 10 * MS);
	g_assert_nonnull(k->forced);
	g_assert_cmpint(k->now - heard, <, 2 * SECOND);
	const MagmaMap *m = k->forced;
	g_assert_true(kit_is(m, 1, MAGMA_VOLCANO_VOTER) && kit_is(m, 2, MAGMA_VOLCANO_DOWN));
	g_assert_false(kit_is(m, 2, MAGMA_VOLCANO_VOTER));
	kit_slice_is(m, 1, "1: 2-");
	kit_slice_is(m, 2, "1: 2-");
	g_assert_cmpuint(m->copies_kept, ==, 1);
	g_assert_cmpuint(m->epoch, >=, (guint64)m->incarnation << 24);   /* numbers that the other line does not come to */
	for (guint i = 1; i <= 2; i++)
		g_assert_cmpuint(kit_slice(k->forced, i)->epoch, >, 1 << 24);
}

static void any_word_counts(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());

	for (guint i = 0; i < 20; i++) {
		kit_run(k, 1700 * MS);
		takeover_heard(takeover(k), 2);       /* no lease, but a word */
	}
	g_assert_null(k->forced);
}

static void it_goes_on_only_once(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());

	kit_run(k, FORCED + 50 * MS);
	g_assert_nonnull(k->forced);
	g_clear_pointer(&k->forced, magma_map_unref);
	k->leads = FALSE;
	does_not_go_on(k);
}

static void without_a_lease_of_this_life_it_does_not_go_on(void)
{
	g_autoptr(GroupKit) k = kit_new(led_by_2(), TRUE);       /* a restart */

	k->leader = 2;
	for (guint i = 0; i < 10; i++) {
		takeover_heard(takeover(k), 2);
		kit_run(k, 100 * MS);
	}
	MagmaHdr h;
	MagmaAny req;
	Session *on;
	g_assert_true(kit_asked(k, MAGMA_OP_map, &h, &req, &on));
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	magma_map_encode(k->v->map, bytes);
	struct magma_rep_map rep = { .map = MAGMA_BYTES(bytes->data, bytes->len) };
	kit_reply(k, on, &h, 0, &rep);
	kit_run(k, SECOND);
	g_assert_false(k->v->may_own);        /* of maps that are under way it does not know */
	does_not_go_on(k);
	g_assert_true(kit_said(k, "waits for volcano v2, which votes on the lava map; takeover v2"));
}

static void who_stood_still_does_not_go_on(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());

	kit_run(k, 100 * MS);
	kit_stand_still(k, 1200 * MS);        /* longer than its lease: the voter may have gone on without it, and died then */
	does_not_go_on(k);
	word_of_2(k);                         /* a lease since: what it has is all there is */
	kit_run(k, 400 * MS);
	kit_run(k, FORCED);
	g_assert_nonnull(k->forced);
}

static void shorter_gaps_do_not_count(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());

	kit_run(k, 350 * MS);
	kit_stand_still(k, 300 * MS);
	kit_run(k, FORCED);
	g_assert_nonnull(k->forced);
}

static void who_lacks_something_does_not_go_on(void)
{
	MagmaMap *m = led_by_2();

	kit_copy(kit_slice(m, 2), 1)->in_sync = FALSE;
	g_autoptr(GroupKit) k = follower(m);
	does_not_go_on(k);
	g_autofree char *why = volcano_takeover(k->v, "v2");
	g_assert_cmpstr(why, ==, "this volcano does not have all that the other one has");
}

/* In sync when its lease came, and not by the map that came then. */
static void who_lacks_something_by_the_newest_map_does_not_go_on(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());
	MagmaMap *m = magma_map_copy(k->v->map);

	kit_copy(kit_slice(m, 2), 1)->in_sync = FALSE;
	m->epoch++;
	kit_use(k, m);
	does_not_go_on(k);
}

static void with_one_copy_of_everything_nobody_goes_on(void)
{
	MagmaMap *m = kit_ring(2, 1);

	kit_volcano(m, 1)->flags = 0;
	kit_volcano(m, 2)->flags = MAGMA_VOLCANO_VOTER;
	g_autoptr(GroupKit) k = follower(m);
	does_not_go_on(k);
}

static void while_a_slice_is_on_its_way_nobody_goes_on(void)
{
	MagmaMap *m = led_by_2();

	kit_moves_lower_half(m);
	g_autoptr(GroupKit) k = follower(m);
	does_not_go_on(k);
	g_autofree char *why = volcano_takeover(k->v, "v2");
	g_assert_cmpstr(why, ==, "a slice is on its way between the two");
}

/* The map counts it, and its disk does not have it. */
static void what_is_not_whole_here_does_not_go_on(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());

	g_assert_true(k->v->may_own);
	GHashTable *held = k->v->holdings;
	k->v->holdings = g_hash_table_new(NULL, NULL);        /* no store opens */
	does_not_go_on(k);
	g_autofree char *why = volcano_takeover(k->v, "v2");
	g_assert_cmpstr(why, ==, "a slice is not whole here");
	g_hash_table_unref(k->v->holdings);
	k->v->holdings = held;
}

static void who_was_told_not_to_take_over_waits(void)
{
	g_autoptr(GroupKit) k = follower_with(led_by_2(), &(VolcanoConfig){ .no_takeover = TRUE }, FALSE);

	does_not_go_on(k);
	g_assert_true(kit_said(k, "waits for volcano v2, which votes on the lava map"));
	g_autofree char *why = volcano_takeover(k->v, "v2");
	g_assert_null(why);                   /* the operator may */
	g_assert_nonnull(k->forced);
}

/* A word of it may come before the map that says what this one lacks there. */
static void a_newer_incarnation_ends_the_touch(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());

	kit_run(k, 100 * MS);
	k->incarnation = 0x10002;
	takeover_heard(takeover(k), 2);
	k->v->lease_until = 0;
	does_not_go_on(k);
}

static void who_leads_or_ends_forces_nothing(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());
	g_autoptr(GroupKit) l = NULL;

	k->v->leaving = TRUE;
	does_not_go_on(k);
	k->v->leaving = FALSE;
	kit_free(g_steal_pointer(&k));
	l = follower(led_by_2());
	l->leads = TRUE;
	does_not_go_on(l);
}

/* --- three, and a witness --- */

static void among_three_a_majority_decides(void)
{
	MagmaMap *m = kit_ring(3, 3);

	g_autoptr(GroupKit) k = follower(m);
	g_assert_null(takeover_other(k->v));
	does_not_go_on(k);
	g_autofree char *why = volcano_takeover(k->v, "v2");
	g_assert_cmpstr(why, ==, "only in a network of two volcanos; a majority decides in larger ones");
	kit_leads(k);
	g_assert_cmpint(takeover_lease(takeover(k), k->now + 9 * SECOND), ==, k->now + 9 * SECOND);
	kit_stand_still(k, 30 * SECOND);
	g_assert_true(takeover_may_change(takeover(k)));
	g_assert_false(takeover_waits(takeover(k)));
}

static void with_a_witness_a_majority_decides(void)
{
	MagmaMap *m = led_by_2();
	MagmaVolcano w = { .id = 3, .state = MAGMA_JOINING, .flags = MAGMA_VOLCANO_VOTER, .name = "w", .fqdn = "w", .addr = { .family = 4, .ip = { 127, 0, 143, 9 }, .port = 12000 } };

	magma_map_add(m, &w);
	kit_volcano(m, 1)->flags = MAGMA_VOLCANO_VOTER;
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	g_autoptr(GroupKit) k = follower(m);
	does_not_go_on(k);
	/* with the other and the witness heard it leads, and then goes on without the lost one by an ordinary map */
	kit_leads(k);
	kit_lease(k, k->now + SECOND);
	kit_silent(k, 2, k->now);
	const MagmaMap *next = kit_look(k);
	g_assert_nonnull(next);
	kit_slice_is(next, 2, "1: 2-");
	g_assert_true(kit_is(next, 2, MAGMA_VOLCANO_VOTER));     /* two of three still decide */
}

/* --- the operator --- */

static void the_operator_has_to_name_the_lost_one_and_it_has_to_be_silent(void)
{
	g_autoptr(GroupKit) k = follower(led_by_2());
	g_autofree char *name = volcano_takeover(k->v, "v1"), *silent = volcano_takeover(k->v, "v2");

	g_assert_cmpstr(name, ==, "the other volcano is v2: name it to confirm that it is lost for good");
	g_assert_cmpstr(silent, ==, "volcano v2 is not silent");
	g_assert_null(k->forced);
}

static void the_operator_ends_the_waiting_after_a_restart(void)
{
	g_autoptr(GroupKit) k = kit_new(led_by_2(), TRUE);

	kit_run(k, 5 * SECOND);
	g_assert_null(k->forced);
	g_autofree char *why = volcano_takeover(k->v, "v2");
	g_assert_null(why);
	g_assert_nonnull(k->forced);
}

static void the_operator_ends_the_asking_of_the_voter(void)
{
	g_autoptr(GroupKit) k = voter(kit_ring(2, 2), TRUE);

	kit_silent(k, 2, k->now);
	k->answered[2] = 0;
	kit_run(k, 5 * SECOND);
	g_assert_null(kit_look(k));
	g_autofree char *why = volcano_takeover(k->v, "v2");
	g_assert_null(why);
	g_assert_true(kit_is(kit_look(k), 2, MAGMA_VOLCANO_DOWN));
	kit_commit(k);
	g_autofree char *again = volcano_takeover(k->v, "v2");
	g_assert_cmpstr(again, ==, "this volcano goes on without it already");
	g_assert_null(k->forced);
}

/* --- two lines --- */

static RaftEntry *entry_of(const MagmaMap *m)
{
	GByteArray *bytes = g_byte_array_new();
	RaftEntry *e = g_new0(RaftEntry, 1);

	magma_map_encode(m, bytes);
	e->bytes = g_byte_array_free_to_bytes(bytes);
	return e;
}

/* This volcano's newest committed map; whether it came behind what both have, and which line is older. */
static GroupKit *with_rival(MagmaMap *ours, gboolean committed_alone, gboolean older, RaftRival *v)
{
	GroupKit *k = kit_new(magma_map_copy(ours), FALSE);

	k->committed = entry_of(ours);
	magma_map_unref(ours);
	*v = (RaftRival){ .from = 2, .common = 7, .our_map = committed_alone ? 9 : 7, .our_side = older ? 0 : 0x10001, .their_side = older ? 0x10002 : 0 };
	return k;
}

static void free_entry(GroupKit *k)
{
	g_bytes_unref(k->committed->bytes);
	g_clear_pointer(&k->committed, g_free);
}

static MagmaMap *gone_on(void)
{
	MagmaMap *m = kit_ring(2, 2);

	kit_volcano(m, 2)->flags |= MAGMA_VOLCANO_DOWN;
	kit_slice(m, 2)->owner = 1;
	kit_slice(m, 2)->copies[0] = (MagmaCopy){ 2, FALSE };
	kit_slice(m, 1)->copies[0].in_sync = FALSE;
	return m;
}

static void who_changed_nothing_alone_yields(void)
{
	RaftRival v;
	g_autoptr(GroupKit) k = with_rival(kit_ring(2, 2), FALSE, TRUE, &v);

	takeover_rival(takeover(k), &v);
	g_assert_cmpuint(k->yields, ==, 1);
	g_assert_false(k->v->aside);
	free_entry(k);
}

/* Between a commit and the other's knowing of it lies one message: nothing was acknowledged without it. */
static void a_map_by_which_the_other_had_everything_cost_nobody_anything(void)
{
	RaftRival v;
	g_autoptr(GroupKit) k = with_rival(kit_ring(2, 2), TRUE, TRUE, &v);

	takeover_rival(takeover(k), &v);
	g_assert_cmpuint(k->yields, ==, 1);
	g_assert_null(k->forced);
	g_assert_false(k->v->aside);
	free_entry(k);
}

static void the_older_line_that_changed_something_alone_stands(void)
{
	RaftRival v;
	g_autoptr(GroupKit) k = with_rival(gone_on(), TRUE, TRUE, &v);

	takeover_rival(takeover(k), &v);
	g_assert_nonnull(k->forced);
	g_assert_cmpuint(k->yields, ==, 0);
	g_assert_false(k->v->aside);
	free_entry(k);
}

/* It came to that map while it asked, and answered nobody by it. */
static void a_map_that_was_committed_while_it_asked_makes_no_line(void)
{
	RaftRival v;
	MagmaMap *m = gone_on();
	g_autoptr(GroupKit) k = with_rival(magma_map_ref(m), TRUE, TRUE, &v);

	kit_use(k, kit_ring(2, 2));
	kit_leads(k);
	kit_run(k, 5 * SECOND);
	kit_stand_still(k, 3 * SECOND);
	m->epoch++;
	kit_use(k, m);
	takeover_rival(takeover(k), &v);
	g_assert_null(k->forced);
	g_assert_cmpuint(k->yields, ==, 1);
	g_assert_false(k->v->aside);
	free_entry(k);
}

static void the_newer_line_sets_aside_what_it_changed_alone(void)
{
	RaftRival v;
	g_autoptr(GroupKit) k = with_rival(gone_on(), TRUE, FALSE, &v);

	takeover_rival(takeover(k), &v);
	g_assert_null(k->forced);
	g_assert_cmpuint(k->yields, ==, 1);
	g_assert_true(k->v->aside && k->v->resigned);
	g_assert_true(kit_said(k, "CONFLICT"));
	free_entry(k);
}

/* The other went on because it has everything. */
static void a_line_that_lacks_what_only_the_other_has_does_not_stand(void)
{
	RaftRival v;
	MagmaMap *m = gone_on();

	kit_slice(m, 2)->owner = 2;
	kit_slice(m, 2)->copies[0] = (MagmaCopy){ 1, FALSE };
	g_autoptr(GroupKit) k = with_rival(m, TRUE, TRUE, &v);
	takeover_rival(takeover(k), &v);
	g_assert_null(k->forced);
	g_assert_cmpuint(k->yields, ==, 1);
	g_assert_true(k->v->aside);           /* what it changed in its own slice is kept */
	free_entry(k);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/takeover/" #name, name)
	T(the_voter_serves_for_as_long_as_the_other_surely_waits);
	T(the_voter_serves_alone_where_the_other_could_not_go_on);
	T(the_voter_goes_on_when_the_other_is_down);
	T(a_voter_that_stood_still_twice_asks_where_the_other_could_have_gone_on);
	T(a_voter_that_stood_still_in_time_goes_on);
	T(a_voter_that_was_slow_but_never_stood_still_goes_on);
	T(with_one_copy_nothing_of_the_other_goes_on);
	T(after_a_restart_the_voter_serves_and_changes_nothing_before_the_other_answers);
	T(after_a_restart_the_voter_goes_on_alone_where_the_other_cannot_have);
	T(a_voter_that_stood_still_asks_again);
	T(a_map_that_is_committed_after_the_stop_answers_nothing);
	T(a_start_asks_by_what_was_kept);
	T(a_voter_that_lacks_what_the_other_has_waits_for_it);
	T(no_map_by_which_nobody_has_everything);
	T(the_other_goes_on_1800_ms_after_the_last_word);
	T(any_word_counts);
	T(it_goes_on_only_once);
	T(without_a_lease_of_this_life_it_does_not_go_on);
	T(who_stood_still_does_not_go_on);
	T(shorter_gaps_do_not_count);
	T(who_lacks_something_does_not_go_on);
	T(who_lacks_something_by_the_newest_map_does_not_go_on);
	T(with_one_copy_of_everything_nobody_goes_on);
	T(while_a_slice_is_on_its_way_nobody_goes_on);
	T(what_is_not_whole_here_does_not_go_on);
	T(who_was_told_not_to_take_over_waits);
	T(a_newer_incarnation_ends_the_touch);
	T(who_leads_or_ends_forces_nothing);
	T(among_three_a_majority_decides);
	T(with_a_witness_a_majority_decides);
	T(the_operator_has_to_name_the_lost_one_and_it_has_to_be_silent);
	T(the_operator_ends_the_waiting_after_a_restart);
	T(the_operator_ends_the_asking_of_the_voter);
	T(who_changed_nothing_alone_yields);
	T(a_map_by_which_the_other_had_everything_cost_nobody_anything);
	T(the_older_line_that_changed_something_alone_stands);
	T(a_map_that_was_committed_while_it_asked_makes_no_line);
	T(the_newer_line_sets_aside_what_it_changed_alone);
	T(a_line_that_lacks_what_only_the_other_has_does_not_stand);
	return g_test_run();
}
