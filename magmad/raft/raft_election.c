/* Pre-votes, votes, becoming leader. A volcano campaigns only as a voter, and only with a log of its term's incarnation. It votes for whoever asks, voter or not by its own
 * log: the candidate knows the newer group (a voter that was just added may not have heard of it yet). */
#include "magmad/raft/raft_inside.h"

/* A voter that its own uncommitted entry removes is one still: it may be the only one that has the entry, and nobody else can be elected then. It does not count its own vote. */
static gboolean voter_until_committed(const Raft *r)
{
	const RaftEntry *e = log_at(r, r->commit);
	return is_voter(r, r->cfg.id) || (e && raft_group_has_voter(&e->group, r->cfg.id));
}

gboolean may_campaign(const Raft *r)
{
	if (PLANTED(r, PLANT_OLD_LINE_RUNS))
		return voter_until_committed(r);
	return voter_until_committed(r) && log_last_term(r).inc == r->term.inc && r->force_number == 0;
}

static gboolean won(const Raft *r)
{
	const RaftGroup *g = log_group(r);
	guint n = 0;

	if (r->role == CANDIDATE && r->durable < r->vote_number && !PLANTED(r, PLANT_VOTE_EARLY))
		return FALSE;             /* our own vote is not durable yet */
	for (guint i = 0; i < r->n_votes; i++)
		n += raft_group_has_voter(g, r->votes[i]);
	return n > g->n_voters / 2;
}

static void count_vote(Raft *r, guint16 from)
{
	for (guint i = 0; i < r->n_votes; i++)
		if (r->votes[i] == from)
			return;
	if (is_voter(r, from) && r->n_votes < RAFT_VOTERS_MAX)
		r->votes[r->n_votes++] = from;
}

static void ask(Raft *r, RaftMsgType type, guint64 after)
{
	const RaftGroup *g = log_group(r);

	for (guint i = 0; i < g->n_voters; i++) {
		if (g->voters[i] == r->cfg.id)
			continue;
		RaftMsg *m = send_to(r, g->voters[i], type, after);
		m->index = log_last(r);
		m->index_term = log_last_term(r);
		m->transfer = r->transfer_vote;
	}
}

static void campaign(Raft *r)
{
	r->role = CANDIDATE;
	r->leader = 0;
	r->term.term++;
	r->vote = r->cfg.id;
	persist_later(r);
	r->vote_number = persist_dep(r);
	r->n_votes = 0;
	count_vote(r, r->cfg.id);
	r->others_until = r->heard;
	set_election_due(r);
	ask(r, RAFT_VOTE, PLANTED(r, PLANT_VOTE_EARLY) ? 0 : r->vote_number);
	if (won(r))
		become_leader(r);
}

void election_now(Raft *r, gboolean transfer)
{
	if (!may_campaign(r))
		return;
	r->transfer_vote = transfer;
	campaign(r);
}

static void precampaign(Raft *r)
{
	r->role = PRECANDIDATE;
	r->leader = 0;
	r->transfer_vote = FALSE;
	r->n_votes = 0;
	count_vote(r, r->cfg.id);
	set_election_due(r);
	if (won(r))
		campaign(r);
	else
		ask(r, RAFT_PREVOTE, 0);
}

void election_tick(Raft *r)
{
	if (r->role == LEADER || r->now < r->election_due)
		return;
	/* a slow disk is no reason to vote for oneself once more */
	if (!may_campaign(r) || (r->role == CANDIDATE && r->durable < r->vote_number)) {
		set_election_due(r);
		return;
	}
	r->elections_lost += r->role == CANDIDATE;
	precampaign(r);
}

/* What waited for the disk leaves now: who is to answer it has the whole time for that, and who was voted for. */
void election_durable(Raft *r)
{
	if (r->role == CANDIDATE || (r->role == FOLLOWER && r->leader == 0 && r->vote != 0))
		set_election_due(r);
	if (r->role == CANDIDATE && won(r))
		become_leader(r);
}

/* A leader that still has its quorum, or was heard not long ago, is not voted away, unless it asked for that. */
static gboolean leader_lives(const Raft *r)
{
	if (r->role == LEADER)
		return r->now - MAX(quorum_time(r), r->elected_at) < r->cfg.election_min;
	return r->leader != 0 && r->now - r->heard < r->cfg.election_min;
}

/* An election that may still be won: of this one, or of the one that it voted for. Another one would only end it. */
static gboolean election_lasts(const Raft *r)
{
	return r->now < r->election_due && (r->role == CANDIDATE || (r->role == FOLLOWER && r->leader == 0 && r->vote != 0));
}

static gboolean up_to_date(const Raft *r, const RaftMsg *m)
{
	int cmp = raft_term_cmp(m->index_term, log_last_term(r));

	if (PLANTED(r, PLANT_VOTE_BEHIND))
		return TRUE;
	return cmp > 0 || (cmp == 0 && m->index >= log_last(r));
}

void on_prevote(Raft *r, guint16 from, const RaftMsg *m)
{
	gboolean old = raft_term_cmp(m->term, r->term) < 0;
	RaftMsg *a = send_to(r, from, RAFT_PREVOTE_ACK, 0);

	a->ok = !old && !leader_lives(r) && (!election_lasts(r) || r->vote == from) && up_to_date(r, m);
	if (a->ok)
		a->term = m->term;        /* of the question, so that it is known which one this answers */
}

void on_prevote_ack(Raft *r, guint16 from, const RaftMsg *m)
{
	if (r->role != PRECANDIDATE || !m->ok || !may_campaign(r))
		return;
	count_vote(r, from);
	if (won(r))
		campaign(r);
}

void on_vote(Raft *r, guint16 from, const RaftMsg *m)
{
	int cmp = raft_term_cmp(m->term, r->term);

	if (cmp > 0 && (m->transfer || !leader_lives(r))) {
		become_follower(r, m->term);
		cmp = 0;
	}
	gboolean grant = cmp == 0 && r->role != LEADER && up_to_date(r, m) && (r->vote == 0 || r->vote == from || PLANTED(r, PLANT_VOTE_TWICE));
	if (grant && r->vote != from) {
		become_follower(r, r->term);
		r->vote = from;
		persist_later(r);
		set_election_due(r);
	}
	RaftMsg *a = send_to(r, from, RAFT_VOTE_ACK, grant && !PLANTED(r, PLANT_VOTE_EARLY) ? persist_dep(r) : 0);
	a->ok = grant;
	a->age = r->now - r->heard;
}

void on_vote_ack(Raft *r, guint16 from, const RaftMsg *m)
{
	if (r->role != CANDIDATE || !m->ok)
		return;
	count_vote(r, from);
	/* its clock may be fast, and ours slow */
	if (!PLANTED(r, PLANT_OWN_AGE))
		r->others_until = MAX(r->others_until, r->now - m->age / 1000 * (1000 - 2 * (gint64)r->cfg.drift_permille));
	if (won(r))
		become_leader(r);
}

/* Every entry is a whole map, so the first entry of a term is the newest map again: an empty one could be nobody's base. */
static RaftEntry *reissue(const Raft *r)
{
	const RaftEntry *e = log_at(r, log_last(r));
	return entry_new(e->index + 1, r->term, e->origin, &e->group, e->bytes);
}

void become_leader(Raft *r)
{
	r->role = LEADER;
	r->elections_lost = 0;
	r->leader = r->cfg.id;
	r->elected_at = r->next_beat = r->now;
	r->first_of_term = log_last(r) + 1;
	r->transfer_to = 0;
	r->transfer_vote = FALSE;
	g_array_set_size(r->peers, 0);
	act(r, RAFT_DO_LEAD)->term = r->term;
	if (PLANTED(r, PLANT_NO_NOOP)) {
		peers_follow_group(r);
		return;
	}
	leader_append(r, reissue(r));
}
