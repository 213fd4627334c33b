/* What must hold after every step: Raft's five properties within each incarnation, one change of voters at a time, leases, and that nothing committed is given up unasked. */
#include "tests/sim/raftsim.h"
#include <string.h>

#define IX G_GUINT64_FORMAT

typedef struct { guint64 index, inc, term; } Key;      /* of an entry; of a term with index 0; of what was committed in an incarnation with term 0 */

typedef struct {
	guint64 serial, prev_inc, prev_term;
	gboolean prev_known;
	guint16 leader;
} Fact;

/* Per incarnation: the newest committed entry, and for each volcano the newest that takes it for dead. */
typedef struct {
	guint32 inc;
	guint64 last;
	RaftTerm last_term, committed_in;
	guint64 down[SIM_NODES + 1];
} Line;

struct Check {
	GHashTable *facts;            /* Key -> Fact */
	GArray *lines;                /* Line */
};

static guint key_hash(gconstpointer p)
{
	const Key *k = p;
	guint64 h = (k->index * 0x9e3779b97f4a7c15u ^ k->inc) * 0xbf58476d1ce4e5b9u ^ k->term * 0x94d049bb133111ebu;
	return (guint)(h >> 32);
}

static gboolean key_equal(gconstpointer a, gconstpointer b) { return memcmp(a, b, sizeof(Key)) == 0; }

Check *check_new(void)
{
	Check *c = g_new0(Check, 1);

	c->facts = g_hash_table_new_full(key_hash, key_equal, g_free, g_free);
	c->lines = g_array_new(FALSE, TRUE, sizeof(Line));
	return c;
}

void check_free(Check *c)
{
	g_hash_table_unref(c->facts);
	g_array_unref(c->lines);
	g_free(c);
}

static Fact *fact(Check *c, Key k, gboolean *fresh)
{
	Fact *f = g_hash_table_lookup(c->facts, &k);

	*fresh = f == NULL;
	if (!f) {
		f = g_new0(Fact, 1);
		g_hash_table_insert(c->facts, g_memdup2(&k, sizeof k), f);
	}
	return f;
}

static Line *line(Check *c, guint32 inc)
{
	for (guint i = 0; i < c->lines->len; i++)
		if (g_array_index(c->lines, Line, i).inc == inc)
			return &g_array_index(c->lines, Line, i);
	g_array_set_size(c->lines, c->lines->len + 1);
	Line *l = &g_array_index(c->lines, Line, c->lines->len - 1);
	l->inc = inc;
	return l;
}

static const RaftEntry *log_entry(const Raft *r, guint64 index)
{
	guint n = raft_log_size(r);
	guint64 first = n ? raft_log_at(r, 0)->index : 1;
	return index < first || index - first >= n ? NULL : raft_log_at(r, index - first);
}

static gboolean takes_for_dead(const RaftEntry *e, guint16 id)
{
	return !raft_group_has_member(&e->group, id) || sim_map(e).down & 1u << id;
}

/* A volcano serves while it has a lease, under its newest map, if that has it as alive. */
static void check_lease(RaftSim *s, const SimNode *n)
{
	const RaftEntry *e = n->raft ? raft_committed(n->raft) : NULL;

	if (!e || takes_for_dead(e, n->id))
		return;
	const Line *l = line(s->check, raft_term(n->raft).inc);
	gint64 until = raft_lease_until(n->raft, sim_local(s, n));
	if (e->index < l->down[n->id] && until > sim_local(s, n))
		sim_fail(s, "lease safety: %u serves under map %" IX " for another %.3f s, map %" IX " took it for dead", n->id, e->index, (until - sim_local(s, n)) / 1e6, l->down[n->id]);
}

void check_committed(RaftSim *s, SimNode *n, const RaftEntry *e)
{
	guint32 inc = raft_term(n->raft).inc;
	gboolean fresh;
	Fact *f = fact(s->check, (Key){ e->index, inc, 0 }, &fresh);

	if (!fresh && (f->serial != sim_map(e).serial || f->prev_term != e->term.term || f->prev_inc != e->term.inc))
		sim_fail(s, "state machine safety: %u committed %" IX " as (%x.%" IX "), it was (%x.%" IX ")", n->id, e->index, e->term.inc, e->term.term, (guint)f->prev_inc, f->prev_term);
	f->serial = sim_map(e).serial;
	f->prev_inc = e->term.inc;
	f->prev_term = e->term.term;
	if (!fresh)
		return;
	Line *l = line(s->check, inc);
	if (e->index > l->last) {
		l->last = e->index;
		l->last_term = e->term;
		l->committed_in = raft_term(n->raft);
	}
	for (guint i = 1; i <= s->n; i++) {
		if (takes_for_dead(e, i))
			l->down[i] = MAX(l->down[i], e->index);
		if (i != n->id)           /* that one is in the middle of its step */
			check_lease(s, &s->node[i]);
	}
}

void check_leads(RaftSim *s, SimNode *n)
{
	RaftTerm t = raft_term(n->raft);
	gboolean fresh;
	Fact *f = fact(s->check, (Key){ 0, t.inc, t.term }, &fresh);

	if (!fresh && f->leader != n->id)
		sim_fail(s, "election safety: %u and %u both lead term %x.%" IX, f->leader, n->id, t.inc, t.term);
	f->leader = n->id;
	const Line *l = line(s->check, t.inc);
	const RaftEntry *e = log_entry(n->raft, l->last), *first = raft_log_at(n->raft, 0);
	/* one that is elected late in an old term leads nobody any more */
	if (raft_term_cmp(l->committed_in, t) < 0 && l->last >= first->index && (!e || raft_term_cmp(e->term, l->last_term) != 0))
		sim_fail(s, "leader completeness: %u leads term %x.%" IX " without the committed entry %" IX " (%x.%" IX ")", n->id, t.inc, t.term, l->last, l->last_term.inc, l->last_term.term);
}

/* Same index and term: same bytes and same predecessor, in all logs there ever were; by induction all before is the same. */
static void check_log(RaftSim *s, SimNode *n)
{
	const RaftEntry *prev = NULL;

	for (guint i = 0; i < raft_log_size(n->raft); i++) {
		const RaftEntry *e = raft_log_at(n->raft, i);
		gboolean fresh;
		Fact *f = fact(s->check, (Key){ e->index, e->term.inc, e->term.term }, &fresh);
		if (!fresh && f->serial != sim_map(e).serial)
			sim_fail(s, "log matching: %u has another entry %" IX " (%x.%" IX ")", n->id, e->index, e->term.inc, e->term.term);
		f->serial = sim_map(e).serial;
		if (prev && f->prev_known && (f->prev_inc != prev->term.inc || f->prev_term != prev->term.term))
			sim_fail(s, "log matching: %u has another entry before %" IX " (%x.%" IX ")", n->id, e->index, e->term.inc, e->term.term);
		if (prev) {
			f->prev_known = TRUE;
			f->prev_inc = prev->term.inc;
			f->prev_term = prev->term.term;
			if (e->index != prev->index + 1 || raft_term_cmp(e->term, prev->term) < 0)
				sim_fail(s, "%u: entry %" IX " (%x.%" IX ") behind %" IX " (%x.%" IX ")", n->id, e->index, e->term.inc, e->term.term, prev->index, prev->term.inc, prev->term.term);
		}
		prev = e;
	}
}

static guint changes(const RaftGroup *a, const RaftGroup *b)
{
	guint n = 0;

	for (guint i = 0; i < a->n_voters; i++)
		n += !raft_group_has_voter(b, a->voters[i]);
	for (guint i = 0; i < b->n_voters; i++)
		n += !raft_group_has_voter(a, b->voters[i]);
	return n;
}

/* Between what is committed and the end of the log there is at most one change of one voter. */
static void check_groups(RaftSim *s, SimNode *n)
{
	const RaftEntry *prev = raft_committed(n->raft);
	guint total = 0;

	for (guint i = 0; prev && i < raft_log_size(n->raft); i++) {
		const RaftEntry *e = raft_log_at(n->raft, i);
		if (e->index <= prev->index || e->term.inc != prev->term.inc)
			continue;
		total += changes(&prev->group, &e->group);
		prev = e;
	}
	if (total > 1)
		sim_fail(s, "%u leads with %u changes of voters in doubt", n->id, total);
}

static void check_leader(RaftSim *s, SimNode *n)
{
	RaftTerm t = raft_term(n->raft);
	const RaftEntry *last = raft_last(n->raft);

	if (n->lead_last && raft_term_cmp(t, n->lead_term) == 0) {
		const RaftEntry *e = log_entry(n->raft, n->lead_last);
		if (last->index < n->lead_last || (e && raft_term_cmp(e->term, n->lead_last_term) != 0))
			sim_fail(s, "leader append-only: %u changed its log", n->id);
	}
	n->lead_term = t;
	n->lead_last = last->index;
	n->lead_last_term = last->term;
}

void check_step(RaftSim *s, SimNode *n, gboolean log_changed)
{
	guint64 commit = raft_commit_index(n->raft);
	const RaftEntry *e = raft_committed(n->raft);

	/* re-issues of the same map may go; the log may be empty until its new line's first entry comes */
	if (commit < n->commit && !n->yielded && e && sim_map(e).serial != n->serial)
		sim_fail(s, "%u gave up what it had committed, %" IX " back to %" IX ", unasked", n->id, n->commit, commit);
	n->commit = commit;
	n->serial = e ? sim_map(e).serial : 0;
	if (log_changed)
		check_log(s, n);
	if (raft_is_leader(n->raft)) {
		check_leader(s, n);
		if (log_changed)
			check_groups(s, n);
	} else {
		n->lead_last = 0;
	}
	check_lease(s, n);
}
