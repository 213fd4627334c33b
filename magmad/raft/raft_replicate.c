/* Entries from the leader to the others, one message on its way to each; and back. Voters get all entries, learners those that are committed. */
#include "magmad/raft/raft_inside.h"

/* --- the leader's side --- */

Peer *peer_of(const Raft *r, guint16 id)
{
	guint lo = 0, n = r->peers->len;

	while (lo < n) {                  /* ascending, as the members of a group are */
		guint mid = lo + (n - lo) / 2;
		Peer *p = &g_array_index(r->peers, Peer, mid);
		if (p->id == id)
			return p;
		if (p->id < id)
			lo = mid + 1;
		else
			n = mid;
	}
	return NULL;
}

/* Peers are the members of the newest group; what is known of those that stay stays. */
void peers_follow_group(Raft *r)
{
	const RaftGroup *g = log_group(r);
	GArray *old = r->peers;

	r->peers = g_array_sized_new(FALSE, TRUE, sizeof(Peer), g->n_members);
	for (guint i = 0, j = 0; i < g->n_members; i++) {
		Peer p = { .id = g->members[i], .next = r->first_of_term, .fence = log_last(r), .since = r->elected_at == r->now ? r->others_until : r->now };   /* no lease before it has the map that says it is one of us */
		if (p.id == r->cfg.id)
			continue;
		while (j < old->len && g_array_index(old, Peer, j).id < p.id)
			j++;
		if (j < old->len && g_array_index(old, Peer, j).id == p.id)
			p = g_array_index(old, Peer, j);
		g_array_append_val(r->peers, p);
	}
	g_array_unref(old);
}

/* The next message for p: the entry it lacks, the oldest one if it lacks more than is kept, or only how far all is committed. */
static void append_send(Raft *r, Peer *p, guint64 limit)
{
	gboolean base = p->next <= log_first(r) && log_first(r) > 1;
	const RaftEntry *e = base ? log_at(r, log_first(r)) : p->next <= limit ? log_at(r, p->next) : NULL;
	const RaftEntry *prev = base ? NULL : log_at(r, p->next - 1);
	RaftMsg *m = send_to(r, p->id, RAFT_APPEND, 0);

	m->base = base;
	m->entry = e ? raft_entry_ref(e) : NULL;
	if (prev) {
		m->index = prev->index;
		m->index_term = prev->term;
	}
	m->commit = r->commit;
	p->sent_at = r->now;
}

void replicate_one(Raft *r, Peer *p)
{
	guint64 limit = is_voter(r, p->id) ? log_last(r) : r->commit;

	if (p->sent_at == 0 && (p->next <= limit || p->told < r->commit))
		append_send(r, p, limit);
}

void replicate_all(Raft *r)
{
	for (guint i = 0; i < r->peers->len; i++)
		replicate_one(r, &g_array_index(r->peers, Peer, i));
}

void replicate_again(Raft *r)
{
	for (guint i = 0; i < r->peers->len; i++) {
		Peer *p = &g_array_index(r->peers, Peer, i);
		if (p->sent_at && r->now - p->sent_at >= r->cfg.beat)
			p->sent_at = 0;
	}
	replicate_all(r);
}

void leader_append(Raft *r, RaftEntry *e)
{
	log_append(r, e);
	peers_follow_group(r);
	leader_advance(r);
	if (r->role == LEADER)
		replicate_all(r);
}

static gboolean agreed(const Raft *r, guint64 index)
{
	const RaftGroup *g = log_group(r);
	guint n = 0;

	for (guint i = 0; i < g->n_voters; i++) {
		if (g->voters[i] == r->cfg.id) {
			n += r->durable_index >= index || PLANTED(r, PLANT_SELF_ACK);
		} else {
			Peer *p = peer_of(r, g->voters[i]);
			n += p && p->match >= index;
		}
	}
	return n > g->n_voters / 2;
}

void leader_advance(Raft *r)
{
	guint64 to = r->commit;

	if (r->role != LEADER)
		return;
	/* only entries of this term are committed by counting; the older ones with them */
	for (guint64 i = log_last(r); i > r->commit; i--) {
		if (raft_term_cmp(log_at(r, i)->term, r->term) != 0 && !PLANTED(r, PLANT_OLD_TERM))
			break;
		if (agreed(r, i)) {
			to = i;
			break;
		}
	}
	if (to == r->commit)
		return;
	gboolean first = r->commit < r->first_of_term && to >= r->first_of_term;
	log_advance(r, to);
	if (first)
		r->next_beat = r->now;    /* leases can be had from now on */
	replicate_all(r);
	if (!is_voter(r, r->cfg.id) && r->commit == log_last(r))
		become_follower(r, r->term);
}

static gboolean same_map(const Raft *r, guint64 derived)
{
	const RaftEntry *last = log_at(r, log_last(r)), *e = log_at(r, derived);
	return derived == last->origin || (e && e->origin == last->origin);
}

static RaftStatus propose_check(const Raft *r, const RaftEvent *ev)
{
	const RaftEntry *last = log_at(r, log_last(r));

	if (r->role != LEADER)
		return RAFT_NOT_LEADER;
	/* One at a time, and none before the term's first is committed: so no two groups are in doubt at once, nor does one come about beside another leader's. */
	if (r->transfer_to || (r->commit < last->index && !PLANTED(r, PLANT_TWO_CHANGES))
		|| (r->commit < r->first_of_term && !PLANTED(r, PLANT_NO_NOOP) && !PLANTED(r, PLANT_TWO_CHANGES)))
		return RAFT_BUSY;
	if (!same_map(r, ev->derived))
		return RAFT_STALE;
	if (!group_valid(ev->group) || group_voter_changes(&last->group, ev->group) > 1 || g_bytes_get_size(ev->bytes) > RAFT_BYTES_MAX)
		return RAFT_BAD_GROUP;
	for (guint i = 0; i < ev->n_down; i++)
		if (ev->down[i] == r->cfg.id || (!ev->gone && peer_of(r, ev->down[i]) && r->now < raft_down_at(r, ev->down[i])))
			return RAFT_LEASED;
	return RAFT_OK;
}

RaftStatus propose(Raft *r, const RaftEvent *ev)
{
	RaftStatus s = propose_check(r, ev);

	if (s != RAFT_OK)
		return s;
	guint64 index = r->out->index = log_last(r) + 1;
	for (guint i = 0; i < ev->n_down; i++) {
		Peer *p = peer_of(r, ev->down[i]);
		if (!p)
			continue;
		p->fence = index;             /* no lease before it knows that it was taken for dead */
		if (ev->gone)
			p->granted = p->wait[0] = p->wait[1] = (struct Life){ 0 };      /* what comes next is of another life */
	}
	leader_append(r, entry_new(index, r->term, index, ev->group, ev->bytes));
	return RAFT_OK;
}

static void transfer_go(Raft *r)
{
	Peer *p = r->transfer_to ? peer_of(r, r->transfer_to) : NULL;

	if (p && p->match == log_last(r) && r->commit == log_last(r))
		send_to(r, p->id, RAFT_ELECT_NOW, 0);
}

RaftStatus transfer(Raft *r, guint16 to)
{
	const Peer *best = NULL;

	if (r->role != LEADER)
		return RAFT_NOT_LEADER;
	for (guint i = 0; i < r->peers->len; i++) {
		const Peer *p = &g_array_index(r->peers, Peer, i);
		if (is_voter(r, p->id) && (to ? p->id == to : !best || p->match > best->match || (p->match == best->match && p->acked > best->acked)))
			best = p;
	}
	if (!best)
		return RAFT_REFUSED;
	r->transfer_to = best->id;
	r->transfer_until = r->now + r->cfg.election_max;
	transfer_go(r);
	return RAFT_OK;
}

void on_append_ack(Raft *r, guint16 from, const RaftMsg *m)
{
	Peer *p = r->role == LEADER ? peer_of(r, from) : NULL;

	if (!p || m->index > log_last(r))
		return;
	guint64 was = p->next;
	p->told = MIN(m->commit, r->commit);
	if (m->ok)
		p->match = MAX(p->match, m->index);
	else if (!is_voter(r, from))
		p->match = MIN(p->match, m->index);      /* a learner may have lost its folder (a volcano that was replaced); its word counts for nothing, so an old refusal costs only a message */
	p->next = MAX(p->match, m->index) + 1;
	/* a refusal that moves nothing is an old one; the same again has time until the next beat */
	if (m->ok || p->next != was)
		p->sent_at = 0;
	if (m->ok) {
		leader_advance(r);
		transfer_go(r);
	}
	if (r->role == LEADER)
		replicate_one(r, p);
}

/* --- the follower's side --- */

static RaftMsg *append_answer(Raft *r, guint16 to, gboolean ok, guint64 index)
{
	RaftMsg *a = send_to(r, to, RAFT_APPEND_ACK, PLANTED(r, PLANT_ACK_EARLY) ? 0 : persist_dep(r));

	a->ok = ok;
	a->index = index;
	a->commit = r->commit;
	return a;
}

static void base_install(Raft *r, const RaftMsg *m)
{
	const RaftEntry *mine = log_at(r, m->entry->index);

	if (m->entry->index <= r->commit)
		return;
	if (!mine || raft_term_cmp(mine->term, m->entry->term) != 0) {
		line_cut(r, 1, m->term);
		log_reset(r, raft_entry_ref(m->entry));
	}
	log_advance(r, m->entry->index);
}

static gboolean agrees(const Raft *r, guint64 index, RaftTerm term)
{
	const RaftEntry *e = log_at(r, index);

	if (index <= r->commit || index == 0)
		return TRUE;              /* what is committed is the same everywhere */
	return e && raft_term_cmp(e->term, term) == 0;
}

static void entry_install(Raft *r, const RaftMsg *m)
{
	const RaftEntry *mine = log_at(r, m->entry->index), *prev = log_at(r, m->entry->index - 1);

	if (m->entry->index <= r->commit || (prev && raft_term_cmp(prev->term, m->entry->term) > 0))
		return;                   /* we have it, or bad bytes */
	if (mine && raft_term_cmp(mine->term, m->entry->term) == 0 && !PLANTED(r, PLANT_STALE_APPEND))
		return;                   /* an old message must not cut what came behind it */
	line_cut(r, m->entry->index, m->term);
	log_truncate(r, m->entry->index);
	log_append(r, raft_entry_ref(m->entry));
}

void on_append(Raft *r, guint16 from, const RaftMsg *m)
{
	guint64 index;

	if (m->base) {
		base_install(r, m);
		append_answer(r, from, TRUE, MAX(m->entry->index, r->commit));
		return;
	}
	if (!agrees(r, m->index, m->index_term)) {
		append_answer(r, from, FALSE, r->commit);
		return;
	}
	if (m->entry)
		entry_install(r, m);
	index = MAX(m->entry && log_at(r, m->entry->index) ? m->entry->index : m->index, r->commit);
	log_advance(r, PLANTED(r, PLANT_COMMIT_BLIND) ? MIN(m->commit, log_last(r)) : MIN(m->commit, index));
	append_answer(r, from, TRUE, index);
}
