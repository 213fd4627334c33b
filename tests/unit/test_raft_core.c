/* Promises of the consensus core, one by one; all of them at once are tests/sim/test_raft's. */
#include "tests/unit/raft_kit.h"
#include <string.h>

#define S ((gint64)1000000)

/* --- the kit's ways --- */

/* `voters` of `members`, one change at a time, from one bootstrapped volcano. */
static Kit *network(const char *voters, const char *members)
{
	Kit *k = kit_new();
	g_autofree char *now_voters = g_strdup("1");

	for (const char *p = members; *p; p++)
		kit_boot(k, *p - '0');
	kit_run(k, S / 10);
	g_assert_cmpint(kit_propose(k, 1, "members", "1", members), ==, RAFT_OK);
	kit_run(k, S / 10);
	for (gsize n = 2; n <= strlen(voters); n++) {
		g_free(now_voters);
		now_voters = g_strndup(voters, n);
		g_assert_cmpint(kit_propose(k, 1, "voters", now_voters, members), ==, RAFT_OK);
		kit_run(k, S / 10);
	}
	kit_run(k, 2 * S);
	return k;
}

static Raft *core(Kit *k, guint16 id) { return k->node[id].raft; }
static gint64 lease(Kit *k, guint16 id) { return raft_lease_until(core(k, id), k->now); }

/* --- one and many --- */

static void the_only_voter_leads_as_soon_as_its_disk_says_so(void)
{
	g_autoptr(Kit) k = kit_new();

	kit_disk(k, 1, TRUE);
	kit_boot(k, 1);
	kit_run(k, 3 * S);
	g_assert_false(raft_is_leader(core(k, 1)));
	kit_disk(k, 1, FALSE);
	kit_run(k, 1000);
	g_assert_true(raft_is_leader(core(k, 1)));
	g_assert_cmpstr(kit_map(k, 1), ==, "first");
	g_assert_cmpuint(raft_committed(core(k, 1))->origin, ==, 1);
	g_assert_cmpuint(raft_committed(core(k, 1))->index, ==, 2);
}

static void what_the_only_voter_has_on_disk_is_committed_when_it_starts(void)
{
	g_autoptr(Kit) k = network("1", "12");

	k->gone = 1 << 2;
	g_assert_cmpint(kit_propose(k, 1, "alone", "1", "12"), ==, RAFT_OK);
	kit_run(k, S / 10);
	k->node[1].disk->commit = 1;      /* as if only the entry had been written */
	kit_halt(k, 1);
	kit_boot(k, 1);
	g_assert_cmpstr(kit_map(k, 1), ==, "alone");
}

static void a_map_reaches_voters_and_learners(void)
{
	g_autoptr(Kit) k = network("123", "12345");

	g_assert_cmpint(kit_propose(k, 1, "new", "123", "12345"), ==, RAFT_OK);
	kit_run(k, 1000);
	for (guint16 id = 1; id <= 5; id++)
		g_assert_cmpstr(kit_map(k, id), ==, "new");
}

static gboolean no_acks(Kit *k, const KitMsg *p, const RaftMsg *m) { return m->type == RAFT_APPEND_ACK && p->from < 4; }

static void learners_get_nothing_that_is_not_committed(void)
{
	g_autoptr(Kit) k = network("123", "1234");
	guint64 last = raft_last(core(k, 4))->index;

	k->drop = no_acks;
	g_assert_cmpint(kit_propose(k, 1, "new", "123", "1234"), ==, RAFT_OK);
	kit_run(k, S);
	g_assert_cmpuint(raft_last(core(k, 2))->index, ==, last + 1);
	g_assert_cmpuint(raft_last(core(k, 4))->index, ==, last);
	k->drop = NULL;
	kit_run(k, S);
	g_assert_cmpuint(raft_last(core(k, 4))->index, ==, last + 1);
}

static void who_was_away_for_long_gets_the_oldest_entry_that_is_kept(void)
{
	g_autoptr(Kit) k = network("123", "1234");

	k->gone = 1 << 4;
	for (guint i = 0; i < 3 * RAFT_KEEP; i++) {
		g_autofree char *name = g_strdup_printf("map %u", i);
		g_assert_cmpint(kit_propose(k, 1, name, "123", "1234"), ==, RAFT_OK);
		kit_run(k, 2000);
	}
	g_assert_cmpuint(raft_log_size(core(k, 1)), <=, RAFT_KEEP);
	g_assert_cmpuint(raft_log_at(core(k, 1), 0)->index, >, raft_commit_index(core(k, 4)) + 1);
	k->gone = 0;
	kit_run(k, S);
	g_assert_cmpstr(kit_map(k, 4), ==, kit_map(k, 1));
	g_assert_cmpuint(raft_commit_index(core(k, 4)), ==, raft_commit_index(core(k, 1)));
}

/* How far all is committed need not be on a follower's disk. */
static void who_forgot_by_a_crash_what_is_committed_is_told_again(void)
{
	g_autoptr(Kit) k = network("123", "123");

	g_assert_cmpint(kit_propose(k, 1, "new", "123", "123"), ==, RAFT_OK);
	kit_run(k, S);
	k->node[3].disk->commit--;
	kit_halt(k, 3);
	kit_boot(k, 3);
	g_assert_cmpstr(kit_map(k, 3), !=, "new");
	kit_run(k, S / 2);
	g_assert_cmpint(kit_leader(k), ==, 1);
	g_assert_cmpstr(kit_map(k, 3), ==, "new");
}

/* As a volcano that is replaced: the leader knew how far it had come. */
static void a_learner_that_lost_its_disk_is_given_everything_again(void)
{
	g_autoptr(Kit) k = network("123", "1234");

	g_assert_cmpint(kit_propose(k, 1, "new", "123", "1234"), ==, RAFT_OK);
	kit_run(k, S);
	kit_halt(k, 4);
	raft_state_free(k->node[4].disk);
	k->node[4].disk = raft_state_new();
	kit_boot(k, 4);
	kit_run(k, S);
	g_assert_cmpstr(kit_map(k, 4), ==, "new");
	g_assert_cmpint(lease(k, 4), >, k->now);
}

/* --- proposals --- */

static void proposals_are_refused_for_the_right_reason(void)
{
	g_autoptr(Kit) k = network("123", "12345");

	g_assert_cmpint(kit_propose(k, 2, "x", "123", "12345"), ==, RAFT_NOT_LEADER);
	g_assert_cmpint(kit_propose(k, 1, "x", "12345", "12345"), ==, RAFT_BAD_GROUP);
	g_assert_cmpint(kit_propose(k, 1, "x", "1", "12345"), ==, RAFT_BAD_GROUP);
	g_assert_cmpint(kit_propose(k, 1, "x", "124", "12345"), ==, RAFT_BAD_GROUP);
	g_assert_cmpint(kit_propose(k, 1, "x", "", "12345"), ==, RAFT_BAD_GROUP);
	g_assert_cmpint(kit_propose(k, 1, "x", "123", "12"), ==, RAFT_BAD_GROUP);
	g_assert_cmpint(kit_propose(k, 1, "x", "123", "21345"), ==, RAFT_BAD_GROUP);
	g_assert_cmpint(kit_propose(k, 1, "x", "1234", "12345"), ==, RAFT_OK);
	g_assert_cmpint(kit_propose(k, 1, "y", "123", "12345"), ==, RAFT_BUSY);
	kit_run(k, S / 10);
	/* made of an older map */
	g_autoptr(GBytes) bytes = g_bytes_new("old", 4);
	const RaftEntry *e = raft_committed(core(k, 1));
	RaftEvent ev = { .type = RAFT_EV_PROPOSE, .bytes = bytes, .group = &e->group, .derived = e->index - 1 };
	g_assert_cmpint(kit_step(k, 1, &ev), ==, RAFT_STALE);
	ev.derived = 1;
	g_assert_cmpint(kit_step(k, 1, &ev), ==, RAFT_STALE);
}

static void a_map_of_before_the_election_may_be_built_on_when_it_still_is_the_newest(void)
{
	g_autoptr(Kit) k = network("123", "123");
	guint64 derived = raft_commit_index(core(k, 1));

	g_assert_cmpint(kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_TRANSFER, .from = 2 }), ==, RAFT_OK);
	kit_run(k, S / 10);
	g_assert_cmpint(kit_leader(k), ==, 2);
	g_autoptr(GBytes) bytes = g_bytes_new("after", 6);
	const RaftEntry *e = raft_committed(core(k, 2));
	g_assert_cmpuint(e->index, >, derived);
	g_assert_cmpint(kit_step(k, 2, &(RaftEvent){ .type = RAFT_EV_PROPOSE, .bytes = bytes, .group = &e->group, .derived = derived }), ==, RAFT_OK);
}

static void a_leader_that_is_removed_leads_until_that_is_committed(void)
{
	g_autoptr(Kit) k = network("123", "123");

	g_assert_cmpint(kit_propose(k, 1, "without 1", "23", "123"), ==, RAFT_OK);
	g_assert_true(raft_is_leader(core(k, 1)));
	kit_run(k, S / 10);
	g_assert_false(raft_is_leader(core(k, 1)));
	kit_run(k, 2 * S);
	g_assert_cmpint(kit_leader(k), >, 1);
	g_assert_cmpstr(kit_map(k, 1), ==, "without 1");
	g_assert_cmpuint(k->node[1].leads, ==, 1);
}

/* --- disks --- */

static void a_stuck_disk_of_the_leader_stops_neither_beats_nor_commits(void)
{
	g_autoptr(Kit) k = network("123", "123");

	kit_disk(k, 1, TRUE);
	g_assert_cmpint(kit_propose(k, 1, "others", "123", "123"), ==, RAFT_OK);
	kit_run(k, 5 * S);
	g_assert_true(raft_is_leader(core(k, 1)));
	g_assert_cmpuint(k->node[1].lost, ==, 0);
	g_assert_cmpstr(kit_map(k, 1), ==, "others");
	for (guint16 id = 1; id <= 3; id++)
		g_assert_cmpint(lease(k, id), >, k->now);
}

static gboolean ack_of_2(Kit *k, const KitMsg *p, const RaftMsg *m) { return p->from == 2 && m->type == RAFT_VOTE_ACK; }
static gboolean saw_vote;
static gboolean watch_votes(Kit *k, const KitMsg *p, const RaftMsg *m) { saw_vote |= ack_of_2(k, p, m) && m->ok; return FALSE; }

static void a_vote_leaves_only_when_it_is_on_disk(void)
{
	g_autoptr(Kit) k = network("123", "123");

	kit_disk(k, 2, TRUE);
	k->gone = 1 << 1;
	k->drop = watch_votes;
	saw_vote = FALSE;
	kit_run(k, 5 * S);
	g_assert_false(saw_vote);
	g_assert_cmpint(kit_leader(k), !=, 3);
	kit_disk(k, 2, FALSE);
	kit_run(k, 3 * S);
	g_assert_cmpint(kit_leader(k), >, 1);
}

/* A disk that takes longer for a vote than an election may last would otherwise let nobody ever win. */
static void slow_disks_everywhere_delay_an_election_and_do_not_prevent_it(void)
{
	for (gint64 takes = S / 2; takes <= 5 * S / 2; takes += S / 2) {
		g_autoptr(Kit) k = network("123", "123");
		for (guint16 id = 1; id <= 3; id++)
			kit_disk_takes(k, id, takes);
		kit_halt(k, 1);
		kit_run(k, 16 * takes + 8 * S);
		guint16 leader = kit_leader(k);
		g_assert_cmpint(leader, >, 1);
		guint lost = k->node[2].lost + k->node[3].lost;
		g_assert_cmpint(kit_propose(k, leader, "slowly", "123", "123"), ==, RAFT_OK);
		kit_run(k, 2 * takes + S);
		g_assert_cmpint(kit_leader(k), ==, leader);
		g_assert_cmpstr(kit_map(k, 2), ==, "slowly");
		g_assert_cmpuint(k->node[2].lost + k->node[3].lost, ==, lost);
	}
}

/* --- elections and leases --- */

static void a_volcano_that_hears_nobody_does_not_end_the_term(void)
{
	g_autoptr(Kit) k = network("123", "123");
	RaftTerm t = raft_term(core(k, 1));

	k->gone = 1 << 3;
	kit_run(k, 20 * S);
	k->gone = 0;
	kit_run(k, 3 * S);
	g_assert_cmpint(raft_term_cmp(raft_term(core(k, 1)), t), ==, 0);
	g_assert_cmpint(kit_leader(k), ==, 1);
	g_assert_cmpuint(k->node[1].lost, ==, 0);
}

static void without_a_quorum_leader_and_members_stop(void)
{
	g_autoptr(Kit) k = network("123", "1234");

	k->gone = 1 << 2 | 1 << 3;
	kit_run(k, raft_config_default.lease + S / 10);
	g_assert_cmpuint(k->node[1].lost, ==, 1);
	for (guint16 id = 1; id <= 4; id++)
		g_assert_cmpint(lease(k, id), <=, k->now);
	k->gone = 0;
	kit_run(k, 3 * S);
	for (guint16 id = 1; id <= 4; id++)
		g_assert_cmpint(lease(k, id), >, k->now);
}

static void nobody_is_declared_dead_before_its_lease_is_over(void)
{
	g_autoptr(Kit) k = network("123", "1234");
	guint16 four = 4, one = 1;
	g_autoptr(GBytes) bytes = g_bytes_new("4 is dead", 10);
	const RaftEntry *e = raft_committed(core(k, 1));
	RaftEvent ev = { .type = RAFT_EV_PROPOSE, .bytes = bytes, .group = &e->group, .derived = e->index, .down = &four, .n_down = 1 };

	g_assert_cmpint(kit_step(k, 1, &ev), ==, RAFT_LEASED);
	kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_HINT, .from = 4 });
	g_assert_cmpint(kit_step(k, 1, &ev), ==, RAFT_LEASED);
	k->gone = 1 << 4;
	kit_run(k, raft_down_at(core(k, 1), 4) - k->now - 1000);
	g_assert_cmpint(kit_step(k, 1, &ev), ==, RAFT_LEASED);
	kit_run(k, 2000);
	g_assert_cmpint(lease(k, 4), <, k->now);
	ev.down = &one;
	g_assert_cmpint(kit_step(k, 1, &ev), ==, RAFT_LEASED);
	ev.down = &four;
	g_assert_cmpint(kit_step(k, 1, &ev), ==, RAFT_OK);
	kit_run(k, 2000);
	g_assert_cmpint(kit_propose(k, 1, "4 is still dead", "123", "1234"), ==, RAFT_OK);
}

static gboolean no_appends(Kit *k, const KitMsg *p, const RaftMsg *m) { return p->to == 4 && m->type == RAFT_APPEND; }

static void who_was_declared_dead_gets_no_lease_before_it_knows(void)
{
	g_autoptr(Kit) k = network("123", "1234");
	guint16 four = 4;
	g_autoptr(GBytes) bytes = g_bytes_new("4 is dead", 10);
	const RaftEntry *e = raft_committed(core(k, 1));

	k->gone = 1 << 4;
	kit_run(k, 3 * S);
	g_assert_cmpint(kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_PROPOSE, .bytes = bytes, .group = &e->group, .derived = e->index, .down = &four, .n_down = 1 }), ==, RAFT_OK);
	k->gone = 0;
	k->drop = no_appends;             /* the beats reach it, the map does not */
	kit_run(k, 3 * S);
	g_assert_cmpint(lease(k, 4), <, k->now);
	k->drop = NULL;
	kit_run(k, 2 * S);
	g_assert_cmpstr(kit_map(k, 4), ==, "4 is dead");
	g_assert_cmpint(lease(k, 4), >, k->now);
}

/* What it asked for before may be under way still, and it does not know of it any more. */
static void who_has_just_begun_gets_no_lease_before_what_is_proposed_is_settled(void)
{
	g_autoptr(Kit) k = network("123", "1234");

	kit_disk(k, 2, TRUE);
	kit_disk(k, 3, TRUE);
	g_assert_cmpint(kit_propose(k, 1, "under way", "123", "1234"), ==, RAFT_OK);
	kit_run(k, S / 2);
	g_assert_cmpstr(kit_map(k, 1), !=, "under way");
	g_assert_cmpint(lease(k, 4), >, k->now);      /* it knows what it asked for */
	kit_halt(k, 4);
	kit_boot(k, 4);
	guint32 life = raft_member_life(core(k, 1), 4);
	kit_run(k, 2 * S);
	g_assert_cmpuint(raft_member_life(core(k, 1), 4), !=, life);
	g_assert_cmpint(lease(k, 4), <=, k->now);
	kit_disk(k, 2, FALSE);
	kit_disk(k, 3, FALSE);
	kit_run(k, S);
	g_assert_cmpstr(kit_map(k, 4), ==, "under way");
	g_assert_cmpint(lease(k, 4), >, k->now);
}

static GByteArray *late_alive;

static gboolean keep_alive(Kit *k, const KitMsg *p, const RaftMsg *m)
{
	if (p->from == 4 && m->type == RAFT_ALIVE) {
		g_byte_array_set_size(late_alive, 0);
		g_byte_array_append(late_alive, p->bytes->data, p->bytes->len);
	}
	return FALSE;
}

static void a_late_word_of_an_earlier_life_is_not_taken_for_a_new_one(void)
{
	g_autoptr(Kit) k = network("123", "1234");
	RaftMsg m;

	late_alive = g_byte_array_new();
	k->drop = keep_alive;
	kit_run(k, S);
	k->drop = NULL;
	kit_halt(k, 4);
	kit_boot(k, 4);
	kit_run(k, S);
	guint32 life = raft_member_life(core(k, 1), 4);
	g_assert_true(raft_msg_decode(late_alive->data, late_alive->len, &m));
	g_assert_cmpuint(m.life, !=, life);
	kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_MESSAGE, .from = 4, .msg = &m });
	g_assert_cmpuint(raft_member_life(core(k, 1), 4), ==, life);
	raft_msg_clear(&m);
	g_byte_array_unref(late_alive);
}

static void a_hand_over_costs_nobody_its_lease(void)
{
	g_autoptr(Kit) k = network("123", "12345");

	for (guint16 to = 3; to >= 1; to--) {
		g_assert_cmpint(kit_step(k, kit_leader(k), &(RaftEvent){ .type = RAFT_EV_TRANSFER, .from = to }), ==, RAFT_OK);
		for (guint ms = 0; ms < 2000; ms++) {
			kit_run(k, 1000);
			for (guint16 id = 1; id <= 5; id++)
				g_assert_cmpint(lease(k, id), >, k->now);
		}
		g_assert_cmpint(kit_leader(k), ==, to);
	}
	g_assert_cmpint(kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_TRANSFER, .from = 5 }), ==, RAFT_REFUSED);
}

/* How the coordinator of two ends by plan. */
static void the_only_voter_hands_over_by_way_of_a_pair(void)
{
	g_autoptr(Kit) k = network("1", "12");

	g_assert_cmpint(kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_TRANSFER }), ==, RAFT_REFUSED);
	g_assert_cmpint(kit_propose(k, 1, "both", "12", "12"), ==, RAFT_OK);
	kit_run(k, S / 10);
	g_assert_cmpint(kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_TRANSFER }), ==, RAFT_OK);
	kit_run(k, S / 10);
	g_assert_cmpint(kit_leader(k), ==, 2);
	g_assert_cmpint(kit_propose(k, 2, "2 alone", "2", "12"), ==, RAFT_OK);
	kit_run(k, S / 10);
	kit_halt(k, 1);
	kit_run(k, 5 * S);
	g_assert_cmpint(kit_leader(k), ==, 2);
	g_assert_cmpint(lease(k, 2), >, k->now);
}

/* --- two volcanos (rule 4) --- */

static void the_survivor_of_two_takes_over_and_the_other_learns(void)
{
	g_autoptr(Kit) k = network("1", "12");

	kit_halt(k, 1);
	kit_run(k, 5 * S);
	g_assert_cmpint(kit_leader(k), ==, 0);
	g_assert_cmpint(kit_force(k, 2, "2 alone", "12"), ==, RAFT_OK);
	kit_run(k, S);
	g_assert_cmpint(kit_leader(k), ==, 2);
	g_assert_cmpstr(kit_map(k, 2), ==, "2 alone");
	kit_boot(k, 1);                   /* leads its old line until it hears the other */
	kit_run(k, 2 * S);
	g_assert_cmpint(kit_leader(k), ==, 2);
	g_assert_cmpstr(kit_map(k, 1), ==, "2 alone");
	g_assert_cmpint(lease(k, 1), >, k->now);
}

static void a_coordinator_that_committed_nothing_alone_gives_up_its_tail_and_says_so(void)
{
	g_autoptr(Kit) k = network("1", "12");

	kit_disk(k, 1, TRUE);             /* in its memory, on no disk */
	g_assert_cmpint(kit_propose(k, 1, "tail", "1", "12"), ==, RAFT_OK);
	k->gone = 1 << 1;
	g_assert_cmpint(kit_force(k, 2, "2 alone", "12"), ==, RAFT_OK);
	kit_run(k, S);
	k->gone = 0;
	kit_run(k, S);
	g_assert_cmpuint(k->node[1].rivals, ==, 0);
	g_assert_nonnull(k->node[1].cut);
	g_assert_cmpuint(k->node[1].cut->len, ==, 1);
	g_assert_cmpstr(g_bytes_get_data(((RaftEntry *)k->node[1].cut->pdata[0])->bytes, NULL), ==, "tail");
	kit_disk(k, 1, FALSE);
	kit_run(k, S);
	g_assert_cmpstr(kit_map(k, 1), ==, "2 alone");
}

/* Both went on. */
static Kit *parted(void)
{
	Kit *k = network("1", "12");

	k->gone = 1 << 1;
	g_assert_cmpint(kit_propose(k, 1, "1 alone", "1", "12"), ==, RAFT_OK);
	g_assert_cmpint(kit_force(k, 2, "2 alone", "12"), ==, RAFT_OK);
	kit_run(k, 3 * S);
	g_assert_cmpstr(kit_map(k, 1), ==, "1 alone");
	g_assert_cmpstr(kit_map(k, 2), ==, "2 alone");
	g_assert_cmpint(lease(k, 1), >, k->now);
	k->gone = 0;
	kit_run(k, 3 * S);
	g_assert_cmpuint(k->node[1].rivals, ==, 1);
	g_assert_cmpint(lease(k, 1), ==, 0);
	g_assert_false(raft_is_leader(core(k, 1)));
	g_assert_cmpuint(k->node[1].rival.our_commit, ==, k->node[1].rival.common + 1);
	return k;
}

static void after_a_partition_the_coordinators_line_stands_by_the_numbers(void)
{
	g_autoptr(Kit) k = parted();

	g_assert_true(raft_rival_stands(raft_rival(core(k, 1))));
	g_assert_cmpint(kit_force(k, 1, "1 stands", "12"), ==, RAFT_OK);
	kit_run(k, S);
	g_assert_cmpuint(k->node[2].rivals, ==, 1);
	g_assert_false(raft_rival_stands(raft_rival(core(k, 2))));
	g_assert_cmpint(kit_step(k, 2, &(RaftEvent){ .type = RAFT_EV_YIELD }), ==, RAFT_OK);
	g_assert_cmpuint(k->node[2].cut->len, >=, 1);
	g_assert_cmpuint(k->node[2].cut_commit, >, raft_commit_index(core(k, 2)));
	kit_run(k, 2 * S);
	g_assert_cmpint(kit_leader(k), ==, 1);
	g_assert_cmpstr(kit_map(k, 2), ==, "1 stands");
	g_assert_cmpint(lease(k, 2), >, k->now);
}

static void after_a_partition_the_shell_may_yield_and_gets_what_it_gave_up(void)
{
	g_autoptr(Kit) k = parted();

	g_assert_cmpint(kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_YIELD }), ==, RAFT_OK);
	g_assert_cmpstr(g_bytes_get_data(((RaftEntry *)k->node[1].cut->pdata[0])->bytes, NULL), ==, "1 alone");
	kit_run(k, S);
	g_assert_cmpstr(kit_map(k, 1), ==, "2 alone");
	g_assert_cmpint(kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_YIELD }), ==, RAFT_REFUSED);
	/* and it is still so after a restart of both */
	kit_halt(k, 1);
	kit_halt(k, 2);
	kit_boot(k, 1);
	kit_boot(k, 2);
	kit_run(k, 3 * S);
	g_assert_cmpint(kit_leader(k), ==, 2);
	g_assert_cmpstr(kit_map(k, 1), ==, "2 alone");
	g_assert_cmpuint(k->node[1].rivals, ==, 1);
}

/* --- bytes --- */

static void state_survives_its_bytes_and_no_other_bytes_are_one(void)
{
	g_autoptr(Kit) k = network("123", "12345");
	g_autoptr(GByteArray) a = g_byte_array_new(), b = g_byte_array_new();

	g_assert_cmpint(kit_force(k, 2, "forced", "12345"), ==, RAFT_OK);
	kit_run(k, S);
	raft_state_encode(k->node[2].disk, a);
	g_autoptr(RaftState) s = raft_state_decode(a->data, a->len);
	raft_state_encode(s, b);
	g_assert_cmpmem(a->data, a->len, b->data, b->len);
	for (guint n = 0; n < a->len; n++)
		g_assert_null(raft_state_decode(a->data, n));
}

static GPtrArray *kept;

static gboolean keep_all(Kit *k, const KitMsg *p, const RaftMsg *m)
{
	if (kept->len < 2000)
		g_ptr_array_add(kept, g_bytes_new(p->bytes->data, p->bytes->len));
	return FALSE;
}

/* Whatever arrives, in whatever order and from whomever, is dropped or believed; it trips nothing. */
static void no_bytes_trip_the_core(void)
{
	g_autoptr(Kit) k = network("123", "12345");
	guint32 seed = g_test_rand_int();
	g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);

	g_test_message("seed %u", seed);
	kept = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	k->drop = keep_all;
	for (guint i = 0; i < 20; i++) {
		kit_propose(k, kit_leader(k) ? kit_leader(k) : 1, "x", i % 2 ? "123" : "1234", "12345");
		if (i == 10)
			kit_step(k, 1, &(RaftEvent){ .type = RAFT_EV_TRANSFER });
		kit_run(k, S / 5);
	}
	kit_force(k, 5, "y", "12345");
	kit_run(k, S);
	k->drop = NULL;
	for (guint i = 0; i < 20000; i++) {
		GBytes *from = kept->pdata[g_rand_int_range(rnd, 0, kept->len)];
		gsize n;
		g_autofree guint8 *p = g_memdup2(g_bytes_get_data(from, &n), g_bytes_get_size(from));
		n = g_bytes_get_size(from);
		for (guint c = g_rand_int_range(rnd, 0, 4); c > 0; c--)
			p[g_rand_int_range(rnd, 0, n)] = (guint8)g_rand_int_range(rnd, 0, g_rand_boolean(rnd) ? 256 : 4);
		if (g_rand_int_range(rnd, 0, 10) == 0)
			n = g_rand_int_range(rnd, 0, n);
		RaftMsg m;
		if (!raft_msg_decode(p, n, &m))
			continue;
		g_autoptr(GByteArray) again = g_byte_array_new();
		raft_msg_encode(&m, again);
		g_assert_cmpmem(again->data, again->len, p, n);
		kit_step(k, 1 + g_rand_int_range(rnd, 0, 5), &(RaftEvent){ .type = RAFT_EV_MESSAGE, .from = g_rand_int_range(rnd, 0, 7), .msg = &m });
		raft_msg_clear(&m);
		kit_silence(k);
		k->now += g_rand_int_range(rnd, 0, 50000);
		for (guint16 id = 1; id <= 5; id++) {
			while (!g_queue_is_empty(&k->node[id].persists)) {
				RaftPersist *q = g_queue_pop_head(&k->node[id].persists);
				raft_state_apply(k->node[id].disk, q);
				kit_step(k, id, &(RaftEvent){ .type = RAFT_EV_PERSISTED, .number = q->number });
				g_ptr_array_unref(q->entries);
				g_free(q);
			}
		}
	}
	for (guint16 id = 1; id <= 5; id++) {   /* and what was believed is a state that can be read again */
		kit_halt(k, id);
		kit_boot(k, id);
	}
	g_clear_pointer(&kept, g_ptr_array_unref);
}

#define ADD(f) g_test_add_func("/raft/" #f, f)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD(the_only_voter_leads_as_soon_as_its_disk_says_so);
	ADD(what_the_only_voter_has_on_disk_is_committed_when_it_starts);
	ADD(a_map_reaches_voters_and_learners);
	ADD(learners_get_nothing_that_is_not_committed);
	ADD(who_was_away_for_long_gets_the_oldest_entry_that_is_kept);
	ADD(who_forgot_by_a_crash_what_is_committed_is_told_again);
	ADD(a_learner_that_lost_its_disk_is_given_everything_again);
	ADD(proposals_are_refused_for_the_right_reason);
	ADD(a_map_of_before_the_election_may_be_built_on_when_it_still_is_the_newest);
	ADD(a_leader_that_is_removed_leads_until_that_is_committed);
	ADD(a_stuck_disk_of_the_leader_stops_neither_beats_nor_commits);
	ADD(a_vote_leaves_only_when_it_is_on_disk);
	ADD(slow_disks_everywhere_delay_an_election_and_do_not_prevent_it);
	ADD(a_volcano_that_hears_nobody_does_not_end_the_term);
	ADD(without_a_quorum_leader_and_members_stop);
	ADD(nobody_is_declared_dead_before_its_lease_is_over);
	ADD(who_was_declared_dead_gets_no_lease_before_it_knows);
	ADD(who_has_just_begun_gets_no_lease_before_what_is_proposed_is_settled);
	ADD(a_late_word_of_an_earlier_life_is_not_taken_for_a_new_one);
	ADD(a_hand_over_costs_nobody_its_lease);
	ADD(the_only_voter_hands_over_by_way_of_a_pair);
	ADD(the_survivor_of_two_takes_over_and_the_other_learns);
	ADD(a_coordinator_that_committed_nothing_alone_gives_up_its_tail_and_says_so);
	ADD(after_a_partition_the_coordinators_line_stands_by_the_numbers);
	ADD(after_a_partition_the_shell_may_yield_and_gets_what_it_gave_up);
	ADD(state_survives_its_bytes_and_no_other_bytes_are_one);
	ADD(no_bytes_trip_the_core);
	return g_test_run();
}
