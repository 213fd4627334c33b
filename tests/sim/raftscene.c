/* Schedules by hand: the figure 8 of the Raft paper, leases across a partition and a reboot, how long failures last, what an idle network sends. */
#include "tests/sim/raftscene.h"
#include <string.h>

static void die(RaftSim *s, const char *what) { sim_fail(s, "%s", what); }

static RaftSim *scene_new(guint n, guint voters, const RaftConfig *cfg, guint plant, gboolean verbose)
{
	RaftSim *s = sim_new(1, n, cfg, plant, verbose);

	play_setup(s, voters);
	return s;
}

static Raft *raft_of(RaftSim *s, guint16 id) { return s->node[id].raft; }

/* --- figure 8 --- */

static struct {
	guint16 candidate;            /* the only one whose elections are heard */
	guint32 entries_to;           /* 1 << id: who gets entries */
	guint64 only_index;           /* 0: any */
} stage;

static gboolean figure_8_filter(RaftSim *s, guint16 from, guint16 to, RaftMsg *m)
{
	if (m->type == RAFT_PREVOTE || m->type == RAFT_VOTE)
		return from == stage.candidate;
	if (m->type == RAFT_APPEND && m->entry && stage.only_index && m->entry->index > stage.only_index)
		raft_msg_clear(m);        /* the question what it has arrives, the entry does not */
	return !m->entry || (stage.entries_to >> to & 1);
}

static gboolean candidate_leads(RaftSim *s) { return raft_of(s, stage.candidate) && raft_is_leader(raft_of(s, stage.candidate)); }

static void elect(RaftSim *s, guint16 id)
{
	stage.candidate = id;
	if (!sim_run(s, 10 * SIM_S, candidate_leads) && !s->failed)
		die(s, "figure 8: not elected");
}

/* S1 has an entry on S1 and S2; S5 leads after it with another; S1 leads again and brings its old entry to S3, a majority; S5, with the later term, overwrites it. Nobody may have taken it as
 * committed. */
void scene_figure_8(RaftSim **out, guint plant, gboolean verbose)
{
	RaftSim *s = *out = scene_new(5, 5, &raft_config_default, plant, verbose);
	guint64 base;

	memset(&stage, 0, sizeof stage);
	s->filter = figure_8_filter;
	stage.entries_to = ~0u;
	if (s->failed)
		return;
	if (sim_leader(s) != 1)
		elect(s, 1);
	sim_run(s, SIM_S, NULL);
	base = raft_last(raft_of(s, 1))->index;
	/* (a) an entry of S1's term that only S2 gets */
	stage.entries_to = 1 << 2;
	const RaftEntry *e = raft_committed(raft_of(s, 1));
	sim_propose(s, 1, e->index, 0, &e->group, NULL, 0);
	sim_run(s, 100 * SIM_MS, NULL);
	sim_crash(s, 1);
	/* (b) S5 is elected by S3 and S4 and has an entry of its own in the same place, which nobody gets */
	stage.entries_to = 0;
	elect(s, 5);
	sim_run(s, 50 * SIM_MS, NULL);
	sim_crash(s, 5);
	/* (c) S1 again; its old entry reaches S3, the new one of its term does not */
	sim_start(s, 1);
	stage.entries_to = 1 << 2 | 1 << 3;
	stage.only_index = base + 1;
	elect(s, 1);
	sim_run(s, 300 * SIM_MS, NULL);
	if (!s->failed && raft_last(raft_of(s, 3))->index != base + 1)
		die(s, "figure 8: the old entry has not reached S3");
	sim_crash(s, 1);
	sim_run(s, 50 * SIM_MS, NULL);        /* what it sent last is filtered too */
	/* (d) S5 with S3 and S4, or with S2: its log ends in a later term */
	sim_start(s, 5);
	stage.entries_to = ~0u;
	stage.only_index = 0;
	elect(s, 5);
	sim_run(s, SIM_S, NULL);
	sim_start(s, 1);
	sim_run(s, 2 * SIM_S, NULL);
	if (!s->failed && raft_commit_index(raft_of(s, 1)) != raft_commit_index(raft_of(s, 5)))
		die(s, "figure 8: S1 does not follow");
}

/* --- leases --- */

static void cut_off(RaftSim *s, guint32 side)
{
	for (guint a = 1; a <= s->n; a++)
		for (guint b = 1; b <= s->n; b++)
			if ((side >> a & 1) != (side >> b & 1)) {
				s->cut[a][b] = TRUE;
				s->cut_until[a][b] = G_MAXINT64;
			}
}

static gboolean somebody_is_dead(RaftSim *s)
{
	guint16 leader = sim_leader(s);
	const RaftEntry *e = leader ? raft_committed(raft_of(s, leader)) : NULL;
	return e && sim_map(e).down;
}

/* A leader without its quorum has a learner beside it. It must not keep the learner's lease up until the majority has declared both dead. */
void scene_minority(RaftSim **out, guint plant, gboolean verbose)
{
	RaftConfig cfg = raft_config_default;

	cfg.election_min = 300 * SIM_MS;  /* the others are quick, it is slow to see that it leads nobody */
	cfg.election_max = 1900 * SIM_MS;
	cfg.down_after = 1660 * SIM_MS;
	for (guint64 seed = 1; seed <= 20; seed++) {
		RaftSim *s = *out = sim_new(seed, 4, &cfg, plant, verbose);
		play_setup(s, 3);
		guint16 leader = sim_leader(s);
		s->next_play = s->now;
		sim_run(s, 3 * SIM_S, NULL);
		cut_off(s, 1u << leader | 1u << 4);
		if (!sim_run(s, 10 * SIM_S, somebody_is_dead))
			die(s, "minority: nobody is declared dead");
		if (s->failed || seed == 20)
			return;
		sim_free(s);
	}
}

static gboolean no_appends_to_3(RaftSim *s, guint16 from, guint16 to, RaftMsg *m) { return to != 3 || m->type != RAFT_APPEND; }

/* A member dies and is declared dead. Its machine boots, its clock begins anew and passes the time at which its former life had its last lease: that lease is not its own. */
void scene_reboot(RaftSim **out, guint plant, gboolean verbose)
{
	RaftSim *s = *out = scene_new(3, 1, &raft_config_default, plant, verbose);

	s->next_play = s->now;
	sim_run(s, 3 * SIM_S, NULL);
	gint64 at = sim_local(s, &s->node[3]);
	sim_crash(s, 3);
	if (!sim_run(s, 10 * SIM_S, somebody_is_dead))
		die(s, "reboot: not declared dead");
	s->filter = no_appends_to_3;
	s->node[3].offset = at - SIM_S - s->now;
	sim_start(s, 3);
	sim_run(s, 3 * SIM_S, NULL);
}

static guint64 hidden;            /* 2 gets entries from here on, but not that they are committed */

static gboolean heir_filter(RaftSim *s, guint16 from, guint16 to, RaftMsg *m)
{
	if (m->type == RAFT_PREVOTE || m->type == RAFT_VOTE)
		return from == 2;
	if (to == 2 && m->type == RAFT_APPEND && from == 1)
		m->commit = MIN(m->commit, hidden - 1);
	return TRUE;
}

static gboolean two_leads(RaftSim *s) { return raft_is_leader(raft_of(s, 2)); }

/* 2 is taken for dead; it has the entry that says so, not that it is committed. When the leader dies 2 is elected. Until its own first entry is committed it must not serve under the map before. */
void scene_heir(RaftSim **out, guint plant, gboolean verbose)
{
	RaftSim *s = *out = scene_new(3, 3, &raft_config_default, plant, verbose);

	s->next_play = s->now;
	sim_run(s, 3 * SIM_S, NULL);
	if (s->failed)
		return;
	hidden = raft_last(raft_of(s, 1))->index + 1;
	s->filter = heir_filter;
	for (guint i = 1; i <= 3; i++) {
		s->cut[2][i] = TRUE;
		s->cut_until[2][i] = G_MAXINT64;
	}
	if (sim_leader(s) != 1 || !sim_run(s, 10 * SIM_S, somebody_is_dead))
		die(s, "heir: 2 is not declared dead");
	sim_run(s, 500 * SIM_MS, NULL);
	if (!s->failed && (raft_last(raft_of(s, 2))->index < hidden || raft_commit_index(raft_of(s, 2)) >= hidden))
		die(s, "heir: 2 knows too little or too much");
	memset(s->cut, 0, sizeof s->cut);
	sim_crash(s, 1);
	if (!sim_run(s, 10 * SIM_S, two_leads))
		die(s, "heir: 2 is not elected");
	s->disk_min = s->disk_max = 200 * SIM_MS;
	sim_run(s, SIM_S, NULL);
}

/* --- figures --- */

static guint64 watched;
static gboolean is_committed(RaftSim *s) { guint16 l = sim_leader(s); return l && raft_commit_index(raft_of(s, l)) >= watched; }

static gboolean all_have(RaftSim *s)
{
	for (guint i = 1; i <= s->n; i++)
		if (raft_of(s, i) && raft_commit_index(raft_of(s, i)) < watched)
			return FALSE;
	return TRUE;
}

gint64 scene_commit_time(RaftSim *s, gint64 *everywhere)
{
	guint16 leader = sim_leader(s);
	const RaftEntry *e = raft_committed(raft_of(s, leader));
	gint64 begin = s->now, done;

	watched = e->index + 1;
	sim_propose(s, leader, e->index, 0, &e->group, NULL, 0);
	sim_run(s, SIM_S, is_committed);
	done = s->now - begin;
	sim_run(s, SIM_S, all_have);
	*everywhere = s->now - begin;
	return done;
}

static guint16 expected_dead;
static gboolean expected_is_dead(RaftSim *s)
{
	guint16 l = sim_leader(s);
	const RaftEntry *e = l ? raft_committed(raft_of(s, l)) : NULL;
	return e && l != expected_dead && (sim_map(e).down >> expected_dead & 1);
}

/* From the death of a process to the committed map that says so. */
gint64 scene_death_time(RaftSim *s, guint16 id)
{
	gint64 begin = s->now;

	expected_dead = id;
	sim_crash(s, id);
	return sim_run(s, 20 * SIM_S, expected_is_dead) ? s->now - begin : G_MAXINT64;
}
