/* Beats, proofs of life and leases. docs/reliability.md has the argument; in short:
 *
 *   leader -> member  BEAT   when it was sent (leader's clock); the newest proof of life that is granted
 *   member -> leader  ALIVE  the beat's time again; when this was sent (member's clock); what it has committed
 *
 * A beat that a majority of the voters answered was sent before any later leader was elected: a voter that had voted for one would not have answered. So the leader may serve for `lease` after the
 * sending of such a beat, and a member for `lease` after the sending of an ALIVE that the leader had before it sent such a beat. */
#include "magmad/raft/raft_inside.h"
#include <stdlib.h>

/* A new leader is in a hurry: leases of its predecessor are running out. */
enum { HURRY = 5 };

static int later_first(const void *a, const void *b)
{
	gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
	return x > y ? -1 : x < y;
}

/* When the newest beat was sent that a majority of voters has answered; 0: none in this term. */
gint64 quorum_time(const Raft *r)
{
	const RaftGroup *g = log_group(r);
	gint64 t[RAFT_VOTERS_MAX] = { 0 };

	for (guint i = 0; i < g->n_voters; i++) {
		const Peer *p = g->voters[i] == r->cfg.id ? NULL : peer_of(r, g->voters[i]);
		t[i] = g->voters[i] == r->cfg.id ? r->now : p ? p->acked : 0;
	}
	qsort(t, g->n_voters, sizeof *t, later_first);
	return t[g->n_voters / 2];
}

/* --- leader --- */

/* Grants the newest proof of life that came before the quorum's newest beat was sent. */
static void grant(Raft *r, Peer *p, gint64 quorum)
{
	for (int i = 1; i >= 0; i--) {
		if (p->wait[i].seen == 0 || (p->wait[i].seen > quorum && !PLANTED(r, PLANT_NO_ROUND)))
			continue;
		p->granted = p->wait[i];
		p->wait[0] = i == 0 ? p->wait[1] : (struct Life){ 0 };
		p->wait[1] = (struct Life){ 0 };
		return;
	}
}

static void beat_send(Raft *r, Peer *p, gint64 quorum)
{
	grant(r, p, quorum);
	RaftMsg *m = send_to(r, p->id, RAFT_BEAT, 0);
	m->sent = r->now;
	m->life = p->granted.life;
	m->at = p->granted.at;
}

void beat_one(Raft *r, Peer *p) { beat_send(r, p, quorum_time(r)); }

void beat_tick(Raft *r)
{
	if (r->role != LEADER)
		return;
	gint64 quorum = quorum_time(r);
	if (r->now - MAX(quorum, r->elected_at) > r->cfg.election_max) {
		become_follower(r, r->term);      /* check-quorum */
		return;
	}
	if (r->transfer_to && r->now >= r->transfer_until)
		r->transfer_to = 0;
	if (r->now < r->next_beat)
		return;
	for (guint i = 0; i < r->peers->len; i++)
		beat_send(r, &g_array_index(r->peers, Peer, i), quorum);
	r->next_beat = r->now + (r->now - r->elected_at < r->cfg.lease ? r->cfg.beat / HURRY : r->cfg.beat);
	replicate_again(r);
}

/* A process that has just begun knows nothing of what the one before it asked for: it gets no lease before it has all that was proposed until now. FALSE: a late word of one that has ended, which
 * answers an older beat. */
static gboolean life_follow(Raft *r, Peer *p, const RaftMsg *m)
{
	if (m->life == p->life)
		return TRUE;
	if (p->life && m->sent <= p->acked)
		return FALSE;
	p->life = m->life;
	p->fence = log_last(r);
	return TRUE;
}

static void life_note(Raft *r, Peer *p, const RaftMsg *m)
{
	struct Life life = { m->at, r->now, m->life };

	if (m->commit < p->fence && !PLANTED(r, PLANT_NO_FENCE))
		return;
	if (p->wait[0].seen == 0)
		p->wait[0] = life;
	else
		p->wait[1] = life;
}

void on_alive(Raft *r, guint16 from, const RaftMsg *m)
{
	Peer *p = r->role == LEADER ? peer_of(r, from) : NULL;

	if (!p || m->sent > r->now || !life_follow(r, p, m))
		return;
	p->acked = MAX(p->acked, m->sent);
	p->told = MIN(m->commit, r->commit);      /* also less than before: a crash may have forgotten it */
	life_note(r, p, m);
	replicate_one(r, p);
}

/* The leader is a member too: it holds a lease of its own once it has the newest map of all for certain. */
static gint64 leader_lease(const Raft *r)
{
	gint64 quorum = quorum_time(r);

	if (quorum == 0 || (r->commit < r->first_of_term && !PLANTED(r, PLANT_SELF_EARLY)))
		return 0;
	return quorum + r->cfg.lease;
}

void lease_keep(Raft *r)
{
	r->lease_until = MAX(r->lease_until, leader_lease(r));
}

gint64 raft_lease_until(const Raft *r, gint64 now)
{
	if (r->has_rival)
		return 0;
	return r->role == LEADER ? MAX(r->lease_until, leader_lease(r)) : r->lease_until;
}

/* Whatever earlier leaders granted is counted from before one of those who voted for this one last heard a leader: a majority had answered the leader since, and the two have a voter in common. */
gint64 raft_member_silent_since(const Raft *r, guint16 id)
{
	const Peer *p = r->role == LEADER ? peer_of(r, id) : NULL;
	return !p ? 0 : MAX(p->granted.seen, PLANTED(r, PLANT_NO_WAIT) ? 0 : MAX(p->since, r->others_until));
}

gint64 raft_member_granted(const Raft *r, guint16 id)
{
	const Peer *p = r->role == LEADER ? peer_of(r, id) : NULL;
	return p ? p->granted.seen : 0;
}

guint32 raft_member_life(const Raft *r, guint16 id)
{
	const Peer *p = r->role == LEADER ? peer_of(r, id) : NULL;
	return id == r->cfg.id ? r->cfg.life : p ? p->life : 0;
}

gint64 raft_member_acked(const Raft *r, guint16 id)
{
	const Peer *p = r->role == LEADER ? peer_of(r, id) : NULL;
	return p ? p->acked : 0;
}

gint64 raft_down_at(const Raft *r, guint16 id)
{
	const Peer *p = r->role == LEADER ? peer_of(r, id) : NULL;

	if (!p)
		return 0;
	/* one that is about to be granted counts as granted */
	gint64 since = MAX(raft_member_silent_since(r, id), MAX(p->wait[0].seen, p->wait[1].seen));
	return since + r->cfg.down_after;
}

/* --- member --- */

void on_beat(Raft *r, guint16 from, const RaftMsg *m)
{
	/* a clock that was set back by a reboot makes an old grant look new: hence the life */
	if (m->at > 0 && (m->life == r->cfg.life || PLANTED(r, PLANT_OLD_LIFE)) && m->at <= r->now)
		r->lease_until = MAX(r->lease_until, (PLANTED(r, PLANT_LEASE_RECEIPT) ? r->now : m->at) + r->cfg.lease);
	RaftMsg *a = send_to(r, from, RAFT_ALIVE, 0);
	a->sent = m->sent;
	a->life = r->cfg.life;
	a->at = r->now;
	a->commit = r->commit;
}
