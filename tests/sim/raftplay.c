/* What happens to the cores of a seed: a shell for each that changes the map, declares the dead and decides about rivals; troubles; and after those peace, in which all must come together again. */
#include "tests/sim/raftsim.h"
#include <string.h>

enum { PLAY_EVERY = 20000 };

static gboolean runs(const RaftSim *s, guint16 id) { return s->node[id].raft != NULL; }

static gint64 between(RaftSim *s, gint64 lo, gint64 hi) { return lo + (gint64)sim_pick(s, hi - lo + 1); }

/* --- the shell of a leader --- */

/* Declares dead who has been silent for long enough, and alive again who is heard: TRUE when there was something to do. */
static gboolean play_declare(RaftSim *s, guint16 leader)
{
	SimNode *n = &s->node[leader];
	const RaftEntry *e = raft_committed(n->raft);
	guint32 down = sim_map(e).down, was = down;
	gint64 now = sim_local(s, n);
	guint16 ids[SIM_NODES];
	guint n_ids = 0;

	for (guint id = 1; id <= s->n; id++)
		if (!raft_group_has_member(&e->group, id))
			down &= ~(1u << id);
	for (guint i = 0; i < e->group.n_members; i++) {
		guint16 id = e->group.members[i];
		if (id == leader)
			down &= ~(1u << id);
		else if (now >= raft_down_at(n->raft, id) && !(down & 1u << id))
			ids[n_ids++] = id, down |= 1u << id;
		else if (down & 1u << id && now - raft_member_silent_since(n->raft, id) < s->cfg.lease && raft_member_silent_since(n->raft, id) > 0 && sim_chance(s, 300))
			down &= ~(1u << id);
	}
	if (down == was)
		return FALSE;
	sim_propose(s, leader, e->index, down, &e->group, ids, n_ids);
	return TRUE;
}

static void play_change(RaftSim *s, guint16 leader)
{
	const RaftEntry *e = raft_committed(s->node[leader].raft);
	guint32 down = sim_map(e).down;
	guint16 members[SIM_NODES + 1], id = 1 + sim_pick(s, s->n), gone[1];
	RaftGroup g = e->group;
	guint n_gone = 0;

	memcpy(members, e->group.members, e->group.n_members * sizeof *members);
	g.members = members;
	switch (sim_pick(s, 4)) {
	case 0:                           /* a voter more, or less */
		if (!raft_group_has_member(&g, id))
			sim_group_toggle(&g, members, id, FALSE);
		if (g.n_voters > 1 || !raft_group_has_voter(&g, id))
			sim_group_toggle(&g, members, id, TRUE);
		break;
	case 1:                           /* who is dead leaves, or who is not there joins */
		if (raft_group_has_member(&g, id) && (raft_group_has_voter(&g, id) || !(down & 1u << id)))
			break;
		if (raft_group_has_member(&g, id))
			gone[n_gone++] = id;
		sim_group_toggle(&g, members, id, FALSE);
		break;
	default: break;                   /* only the map */
	}
	sim_propose(s, leader, e->index, down, &g, gone, n_gone);
	id = 1 + sim_pick(s, s->n);
	if (sim_chance(s, 300) && raft_group_has_member(&g, id) && (g.n_voters > 1 || !raft_group_has_voter(&g, id))) {
		sim_group_toggle(&g, members, id, TRUE);      /* at once another: refused while the first is in doubt */
		sim_propose(s, leader, raft_last(s->node[leader].raft)->index, down, &g, NULL, 0);
	}
}

static void play_leader(RaftSim *s, guint16 id)
{
	if (!raft_committed(s->node[id].raft) || play_declare(s, id) || !s->trouble)
		return;
	if (sim_chance(s, 120))
		play_change(s, id);
	else if (sim_chance(s, 5))
		sim_step(s, id, &(RaftEvent){ .type = RAFT_EV_TRANSFER }, NULL);
}

static void play_force(RaftSim *s, guint16 id)
{
	const RaftEntry *e = raft_last(s->node[id].raft);

	if (!e || !raft_group_has_member(&e->group, id))
		return;
	RaftGroup g = e->group;
	g.n_voters = 1;
	g.voters[0] = id;
	guint8 b[12] = { 0 };
	guint64 serial = GUINT64_TO_BE(++s->serial);
	memcpy(b, &serial, sizeof serial);
	g_autoptr(GBytes) bytes = g_bytes_new(b, sizeof b);
	sim_step(s, id, &(RaftEvent){ .type = RAFT_EV_FORCE, .bytes = bytes, .group = &g }, NULL);
}

/* Rule 4, by the numbers. Who is no member of its own line's map any more has nothing there to stand for. */
static void play_decide(RaftSim *s, SimNode *n)
{
	const RaftRival *v = raft_rival(n->raft);
	const RaftEntry *e = raft_last(n->raft);

	n->decide_at = 0;
	if (!v)
		return;
	if (raft_rival_stands(v) && e && raft_group_has_member(&e->group, n->id))
		play_force(s, n->id);
	else
		sim_step(s, n->id, &(RaftEvent){ .type = RAFT_EV_YIELD }, NULL);
}

/* --- troubles --- */

static void cut(RaftSim *s, guint16 from, guint16 to, gint64 until)
{
	s->cut[from][to] = TRUE;
	s->cut_until[from][to] = MAX(s->cut_until[from][to], until);
}

static void isolate(RaftSim *s, guint16 id, gint64 until)
{
	guint way = 1 + sim_pick(s, 3);   /* out, in, both */

	for (guint i = 1; i <= s->n; i++) {
		if (way & 1)
			cut(s, id, i, until);
		if (way & 2)
			cut(s, i, id, until);
	}
}

static void split(RaftSim *s, gint64 until)
{
	guint32 side = sim_pick(s, 1u << s->n);
	gboolean both = sim_chance(s, 700);

	for (guint a = 1; a <= s->n; a++)
		for (guint b = 1; b <= s->n; b++)
			if ((side >> (a - 1) & 1) != (side >> (b - 1) & 1) && (both || side >> (a - 1) & 1))
				cut(s, a, b, until);
}

static void mend(RaftSim *s)
{
	for (guint a = 1; a <= s->n; a++)
		for (guint b = 1; b <= s->n; b++)
			if (s->cut[a][b] && s->now >= s->cut_until[a][b])
				s->cut[a][b] = FALSE;
	for (guint i = 1; i <= s->n; i++)
		if (!runs(s, i) && sim_chance(s, s->now < s->storm_until ? 300 : s->restart_permille))
			sim_start(s, i);
}

static void play_trouble(RaftSim *s)
{
	guint16 id = 1 + sim_pick(s, s->n), leader = sim_leader(s);
	gint64 until = s->now + between(s, 50 * SIM_MS, sim_chance(s, 500) ? 1 * SIM_S : 6 * SIM_S);

	if (leader && sim_chance(s, 400))
		id = leader;              /* most happens around leaders */
	switch (sim_pick(s, 9)) {
	case 0: sim_crash(s, id); break;
	case 1:                           /* quicker back than anybody notices */
		sim_crash(s, id);
		sim_start(s, id);
		break;
	case 2: isolate(s, id, until); break;
	case 3: split(s, until); break;
	case 4: cut(s, id, 1 + sim_pick(s, s->n), until); break;
	case 5:
		s->node[id].slow_until = until;
		s->node[id].slow_by = between(s, 10 * SIM_MS, 2 * SIM_S);
		break;
	case 6: s->node[id].paused_until = s->now + between(s, 10 * SIM_MS, 3 * SIM_S); break;
	case 7:
		if (leader)
			sim_step(s, leader, &(RaftEvent){ .type = RAFT_EV_HINT, .from = id }, NULL);
		break;
	default:
		if (sim_chance(s, s->p_force_permille) && runs(s, id) && s->now >= s->node[id].paused_until)
			play_force(s, id);
		break;
	}
}

/* Leaders, and whoever is about to become one, die before they have told everybody; their words arrive here and there. */
static void play_storm(RaftSim *s)
{
	guint16 leader = sim_leader(s), id = 1 + sim_pick(s, s->n);

	if (!s->trouble || s->now >= s->storm_until)
		return;
	if (leader && sim_chance(s, 150))
		sim_crash(s, leader);
	if (sim_chance(s, 100))
		sim_crash(s, id);
	if (sim_chance(s, 100))
		isolate(s, id, s->now + between(s, 10 * SIM_MS, 500 * SIM_MS));
	if (sim_chance(s, 100) && s->now < s->node[id].disk_busy + 1)
		sim_crash(s, id);
}

void play_turn(RaftSim *s)
{
	if (s->now >= s->next_play) {
		s->next_play = s->now + PLAY_EVERY;
		for (guint i = 1; i <= s->n && !s->failed; i++) {
			SimNode *n = &s->node[i];
			if (!n->raft || s->now < n->paused_until)
				continue;
			if (n->decide_at && s->now >= n->decide_at)
				play_decide(s, n);
			if (raft_is_leader(n->raft))
				play_leader(s, i);
		}
		mend(s);
		play_storm(s);
	}
	if (s->trouble && s->now >= s->next_trouble) {
		s->next_trouble = s->now + between(s, 20 * SIM_MS, 600 * SIM_MS);
		if (s->now >= s->storm_until && sim_chance(s, 30))
			s->storm_until = s->now + between(s, 500 * SIM_MS, 5 * SIM_S);
		play_trouble(s);
	}
}

/* --- a seed --- */

static guint wanted_voters;

static gboolean set_up(RaftSim *s)
{
	guint16 leader = sim_leader(s), members[SIM_NODES + 1];
	const RaftEntry *e = leader ? raft_committed(s->node[leader].raft) : NULL;

	if (!e)
		return FALSE;
	memcpy(members, e->group.members, e->group.n_members * sizeof *members);
	RaftGroup g = e->group;
	g.members = members;
	if (g.n_members < s->n)
		sim_group_toggle(&g, members, g.n_members + 1, FALSE);
	else if (g.n_voters < wanted_voters)
		sim_group_toggle(&g, members, g.n_voters + 1, TRUE);
	else
		return TRUE;
	sim_propose(s, leader, e->index, 0, &g, NULL, 0);
	return FALSE;
}

void play_setup(RaftSim *s, guint voters)
{
	wanted_voters = voters;
	for (guint i = 1; i <= s->n; i++)
		sim_start(s, i);
	if (!sim_run(s, 10 * SIM_S, set_up))
		sim_fail(s, "liveness: no group of %u voters after 10 s", voters);
}

void play_heal(RaftSim *s)
{
	s->trouble = FALSE;
	s->loss_permille = s->dup_permille = 0;
	s->delay_min = 100;
	s->delay_max = 400;
	s->disk_min = 1000;
	s->disk_max = 5000;
	memset(s->cut, 0, sizeof s->cut);
	for (guint i = 1; i <= s->n; i++) {
		s->node[i].slow_until = 0;
		s->node[i].paused_until = MIN(s->node[i].paused_until, s->now);
		sim_start(s, i);
	}
}

/* Every member knows the same newest map as that leader, in which it lives, and has a lease. */
static gboolean agree(RaftSim *s, guint16 leader)
{
	const RaftEntry *e = raft_committed(s->node[leader].raft);

	if (!e || raft_last(s->node[leader].raft) != e || sim_map(e).down)
		return FALSE;
	for (guint i = 0; i < e->group.n_members; i++) {
		const SimNode *n = &s->node[e->group.members[i]];
		const RaftEntry *mine = raft_committed(n->raft);
		if (raft_leader(n->raft) != leader || !mine || mine->index != e->index || raft_term_cmp(mine->term, e->term) != 0 || raft_lease_until(n->raft, sim_local(s, n)) <= sim_local(s, n))
			return FALSE;
	}
	return TRUE;
}

/* Two that went on by force, each of which then removed the other from its map, are two networks: nobody of one speaks to anybody of the other. */
static gboolean parted(const RaftSim *s, guint16 a, guint16 b)
{
	const RaftEntry *ea = raft_committed(s->node[a].raft), *eb = raft_committed(s->node[b].raft);

	for (guint i = 0; i < ea->group.n_members; i++)
		if (raft_group_has_member(&eb->group, ea->group.members[i]))
			return FALSE;
	return TRUE;
}

/* One leader with whom all agree; of each network, where they have parted. */
gboolean play_converged(RaftSim *s)
{
	guint leaders = 0;

	for (guint i = 1; i <= s->n; i++) {
		if (!raft_is_leader(s->node[i].raft))
			continue;
		if (!agree(s, i))
			return FALSE;
		for (guint k = 1; k < i; k++)
			if (raft_is_leader(s->node[k].raft) && !parted(s, i, k))
				return FALSE;
		leaders++;
	}
	return leaders > 0;
}

void play_seed(RaftSim *s)
{
	guint voters = sim_chance(s, 500) ? RAFT_VOTERS_MAX : 1 + sim_pick(s, 5);

	for (guint i = 1; i <= s->n; i++)
		s->node[i].rate = between(s, 950, 1050);
	play_setup(s, MIN(s->n, voters));
	s->loss_permille = sim_chance(s, 300) ? 0 : sim_pick(s, sim_chance(s, 800) ? 50 : 300);
	s->dup_permille = sim_chance(s, 500) ? 0 : sim_pick(s, 100);
	s->delay_max = between(s, 200, sim_chance(s, 600) ? 2000 : 100000);
	s->disk_max = between(s, 1000, sim_chance(s, 700) ? 8000 : 200000);
	s->restart_permille = sim_chance(s, 500) ? 20 : 100;
	s->p_force_permille = s->n == 2 ? 700 : sim_chance(s, 300) ? 200 : 0;
	s->storm_until = sim_chance(s, 300) ? G_MAXINT64 : 0;
	s->trouble = TRUE;
	s->next_play = s->next_trouble = s->now;
	sim_run(s, between(s, 5 * SIM_S, 15 * SIM_S), NULL);
	play_heal(s);
	if (!sim_run(s, 20 * SIM_S, play_converged))
		sim_fail(s, "liveness: not one leader with all members 20 s after the last trouble");
}
