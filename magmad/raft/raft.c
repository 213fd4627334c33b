/* One step: an event, then what is due, then one persist of all that changed, put before the messages that wait for it. */
#include "magmad/raft/raft_inside.h"
#include <string.h>

#define MS ((gint64)1000)

/* docs/reliability.md says where these come from. */
const RaftConfig raft_config_default = {
	.beat = 260 * MS, .lease = 1200 * MS, .down_after = 1400 * MS, .election_min = 700 * MS, .election_max = 1000 * MS, .drift_permille = 50,
};

/* --- actions --- */

static void action_clear(gpointer p)
{
	RaftAction *a = p;

	switch (a->type) {
	case RAFT_DO_PERSIST: g_ptr_array_unref(a->persist.entries); break;
	case RAFT_DO_SEND: raft_msg_clear(&a->send.msg); break;
	case RAFT_DO_COMMITTED: raft_entry_unref(a->entry); break;
	case RAFT_DO_CUT: g_ptr_array_unref(a->cut.entries); break;
	default: break;
	}
}

void raft_out_init(RaftOut *out)
{
	memset(out, 0, sizeof *out);
	out->actions = g_array_new(FALSE, TRUE, sizeof(RaftAction));
	g_array_set_clear_func(out->actions, action_clear);
}

void raft_out_clear(RaftOut *out)
{
	g_clear_pointer(&out->actions, g_array_unref);
}

RaftAction *act(Raft *r, RaftActionType type)
{
	GArray *a = r->out->actions;

	g_array_set_size(a, a->len + 1);
	RaftAction *last = &g_array_index(a, RaftAction, a->len - 1);
	last->type = type;
	return last;
}

RaftMsg *send_to(Raft *r, guint16 to, RaftMsgType type, guint64 after)
{
	RaftAction *a = act(r, RAFT_DO_SEND);

	a->send.to = to;
	a->send.after = after;
	a->send.msg.type = type;
	a->send.msg.term = r->term;
	a->send.msg.line = r->line;
	return &a->send.msg;
}

/* --- persisting --- */

void persist_later(Raft *r) { r->dirty = TRUE; }
guint64 persist_dep(const Raft *r) { return r->emitted + (r->dirty ? 1 : 0); }

static void persist_flush(Raft *r)
{
	RaftAction a = { .type = RAFT_DO_PERSIST };
	RaftPersist *p = &a.persist;
	Pending pending;

	if (!r->dirty)
		return;
	p->number = ++r->emitted;
	p->term = r->term;
	p->line = r->line;
	p->vote = r->vote;
	p->commit = r->commit;
	p->first = log_first(r);
	p->from = r->dirty_from;
	p->entries = g_ptr_array_new_with_free_func((GDestroyNotify)raft_entry_unref);
	for (guint64 i = MAX(p->from, p->first); i <= log_last(r); i++)
		g_ptr_array_add(p->entries, raft_entry_ref(log_at(r, i)));
	g_array_prepend_val(r->out->actions, a);
	pending = (Pending){ p->number, log_last(r) };
	g_array_append_val(r->pending, pending);
	r->dirty = FALSE;
	r->dirty_from = G_MAXUINT64;
}

/* --- roles --- */

gboolean is_voter(const Raft *r, guint16 id)
{
	const RaftGroup *g = log_group(r);
	return g && raft_group_has_voter(g, id);
}

/* splitmix64: spreads any seed */
static guint64 jitter(Raft *r, guint64 below)
{
	guint64 z = (r->rng += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % below;
}

/* Votes wait for disks. Where these take longer than an election may last, nobody would ever win, and each try is one more thing for them to write: after two that were lost the next may last twice as long, after four
 * four times. One alone may have been a tie. */
void set_election_due(Raft *r)
{
	guint longer = MIN(r->elections_lost / 2, 2);

	r->election_due = r->now + ((r->cfg.election_min + (gint64)jitter(r, r->cfg.election_max - r->cfg.election_min + 1)) << longer);
}

void become_follower(Raft *r, RaftTerm term)
{
	if (r->role == LEADER) {
		lease_keep(r);
		r->heard = r->now;
		act(r, RAFT_DO_LOST)->term = r->term;
		g_array_set_size(r->peers, 0);
		r->transfer_to = 0;
		set_election_due(r);
	}
	r->elections_lost += r->role == CANDIDATE;
	if (r->role != FOLLOWER || raft_term_cmp(term, r->term) > 0)
		r->leader = 0;
	r->role = FOLLOWER;
	if (raft_term_cmp(term, r->term) > 0) {
		r->term = term;
		r->vote = 0;
		r->force_number = 0;
		persist_later(r);
	}
}

/* --- messages --- */

static gboolean from_leader(RaftMsgType t) { return t == RAFT_BEAT || t == RAFT_APPEND || t == RAFT_ELECT_NOW; }

/* A sender that is behind hears of our term. Nothing needs to be durable for that: it was somebody's already. */
static void tell_term(Raft *r, guint16 to, RaftMsgType asked)
{
	static const RaftMsgType answer[RAFT_MSG_LIMIT] = {
		[RAFT_PREVOTE] = RAFT_PREVOTE_ACK, [RAFT_VOTE] = RAFT_VOTE_ACK, [RAFT_APPEND] = RAFT_APPEND_ACK, [RAFT_BEAT] = RAFT_ALIVE, [RAFT_ELECT_NOW] = RAFT_ALIVE,
	};
	if (answer[asked])
		send_to(r, to, answer[asked], 0);
}

static void on_message(Raft *r, guint16 from, const RaftMsg *m)
{
	if (from == r->cfg.id || from == 0 || r->force_number)
		return;                   /* nobody hears of an incarnation that is not durable yet */
	if (m->term.inc > r->term.inc && !line_admits(r, from, m))
		return;
	if (r->has_rival)
		return;                   /* nothing more of the old line, until the shell has decided */
	if (m->type == RAFT_PREVOTE) {
		on_prevote(r, from, m);   /* the term is not adopted: a volcano that cannot hear the leader must not end its term */
		return;
	}
	if (m->type == RAFT_VOTE) {
		on_vote(r, from, m);
		return;
	}
	int cmp = raft_term_cmp(m->term, r->term);
	if (cmp < 0) {
		tell_term(r, from, m->type);
		return;
	}
	if (cmp > 0)
		become_follower(r, m->term);
	if (from_leader(m->type)) {
		if (r->role == LEADER)
			return;           /* two leaders of one term: only bad bytes say so */
		become_follower(r, m->term);
		r->leader = from;
		r->heard = r->now;
		r->elections_lost = 0;
		set_election_due(r);
	}
	switch (m->type) {
	case RAFT_PREVOTE_ACK: on_prevote_ack(r, from, m); break;
	case RAFT_VOTE_ACK: on_vote_ack(r, from, m); break;
	case RAFT_APPEND: on_append(r, from, m); break;
	case RAFT_APPEND_ACK: on_append_ack(r, from, m); break;
	case RAFT_BEAT: on_beat(r, from, m); break;
	case RAFT_ALIVE: on_alive(r, from, m); break;
	case RAFT_ELECT_NOW: election_now(r, TRUE); break;
	default: break;
	}
}

static void hint(Raft *r, guint16 id)
{
	Peer *p = r->role == LEADER ? peer_of(r, id) : NULL;
	if (p)
		beat_one(r, p);
}

static gint64 wake_at(const Raft *r)
{
	if (r->has_rival)
		return G_MAXINT64;
	if (r->role == LEADER)
		return r->next_beat;
	return may_campaign(r) ? MAX(r->election_due, r->now + 1) : G_MAXINT64;
}

void raft_step(Raft *r, const RaftEvent *ev, gint64 now, RaftOut *out)
{
	g_array_set_size(out->actions, 0);
	out->status = RAFT_OK;
	out->index = 0;
	r->out = out;
	r->now = MAX(r->now, now);
	switch (ev->type) {
	case RAFT_EV_TICK: break;
	case RAFT_EV_MESSAGE: on_message(r, ev->from, ev->msg); break;
	case RAFT_EV_PERSISTED:
		log_durable(r, ev->number);
		line_force_durable(r);
		election_durable(r);
		leader_advance(r);
		break;
	case RAFT_EV_PROPOSE: out->status = propose(r, ev); break;
	case RAFT_EV_HINT: hint(r, ev->from); break;
	case RAFT_EV_TRANSFER: out->status = transfer(r, ev->from); break;
	case RAFT_EV_FORCE: out->status = line_force(r, ev); break;
	case RAFT_EV_YIELD: out->status = line_yield(r); break;
	}
	if (!r->has_rival) {
		election_tick(r);
		beat_tick(r);
	}
	persist_flush(r);
	out->wake_at = wake_at(r);
	r->out = NULL;
}

/* --- life --- */

/* What a volcano that is the only voter has on disk is committed, whether or not it came to say so. */
static guint64 surely_committed(const Raft *r)
{
	for (guint64 i = log_last(r); i >= log_first(r) && i > r->commit; i--) {
		const RaftEntry *e = log_at(r, i);
		if (e->term.inc == r->term.inc && e->group.n_voters == 1 && e->group.voters[0] == r->cfg.id)
			return i;
	}
	return r->commit;
}

Raft *raft_new(const RaftConfig *cfg, const RaftState *s, gint64 now)
{
	Raft *r = g_new0(Raft, 1);

	g_assert(cfg->id && cfg->beat > 0 && cfg->election_max >= cfg->election_min && cfg->election_min > cfg->beat);
	g_assert(cfg->down_after * (1000 - cfg->drift_permille) > cfg->lease * (1000 + cfg->drift_permille));
	r->cfg = *cfg;
	r->rng = cfg->seed;
	r->now = r->heard = now;
	r->term = s->term;
	r->line = s->line;
	r->vote = s->vote;
	r->log = g_ptr_array_new_with_free_func((GDestroyNotify)raft_entry_unref);
	for (guint i = 0; i < s->log->len; i++)
		g_ptr_array_add(r->log, raft_entry_ref(s->log->pdata[i]));
	r->commit = s->commit;
	r->commit = surely_committed(r);
	r->durable_index = log_last(r);
	r->dirty_from = G_MAXUINT64;
	r->pending = g_array_new(FALSE, FALSE, sizeof(Pending));
	r->peers = g_array_new(FALSE, TRUE, sizeof(Peer));
	set_election_due(r);
	if (r->log->len && log_group(r)->n_voters == 1)
		r->election_due = now;    /* nobody to wait for */
	return r;
}

void raft_free(Raft *r)
{
	g_ptr_array_unref(r->log);
	g_array_unref(r->pending);
	g_array_unref(r->peers);
	g_free(r);
}

/* --- questions --- */

gboolean raft_is_leader(const Raft *r) { return r->role == LEADER; }
gint64 raft_led_since(const Raft *r) { return r->role == LEADER ? r->elected_at : 0; }
guint16 raft_leader(const Raft *r) { return r->leader; }
RaftTerm raft_term(const Raft *r) { return r->term; }
guint64 raft_commit_index(const Raft *r) { return r->commit; }
const RaftEntry *raft_committed(const Raft *r) { return log_at(r, r->commit); }
const RaftEntry *raft_last(const Raft *r) { return log_at(r, log_last(r)); }
guint raft_log_size(const Raft *r) { return r->log->len; }
const RaftEntry *raft_log_at(const Raft *r, guint i) { return r->log->pdata[i]; }
const RaftRival *raft_rival(const Raft *r) { return r->has_rival ? &r->rival : NULL; }

#ifdef RAFT_PLANT
void raft_plant(Raft *r, guint bugs) { r->planted = bugs; }
#endif
