/* Incarnations: lines of history that were begun by force, where they part, and which one stands (DESIGN section 5, rule 4). */
#include "magmad/raft/raft_inside.h"

static gboolean fork_same(const RaftFork *a, const RaftFork *b)
{
	return a->inc == b->inc && a->index == b->index && raft_term_cmp(a->term, b->term) == 0;
}

/* How many of each line's forks both have passed; FALSE: none, and one of them has forgotten its oldest. */
static gboolean shared(const RaftLine *a, const RaftLine *b, guint *na, guint *nb)
{
	for (guint i = a->n; i > 0; i--)
		for (guint j = b->n; j > 0; j--)
			if (fork_same(&a->f[i - 1], &b->f[j - 1])) {
				*na = i;
				*nb = j;
				return TRUE;
			}
	*na = *nb = 0;
	return a->n < RAFT_FORKS_MAX && b->n < RAFT_FORKS_MAX;
}

guint32 line_inc(const RaftLine *l) { return l->n ? l->f[l->n - 1].inc : 0; }

/* Where our line and another part: both are on one incarnation until either leaves it, or as far as ours goes. Where a log ends it may have entries that were never committed. */
static void compare(const Raft *r, const RaftLine *theirs, RaftRival *v)
{
	const RaftLine *ours = &r->line;
	guint no, nt;

	v->common = 0;
	v->our_side = line_inc(ours);
	v->their_side = line_inc(theirs);
	if (!shared(ours, theirs, &no, &nt))
		return;
	guint32 here = no ? ours->f[no - 1].inc : 0;
	const RaftFork *we_left = no < ours->n ? &ours->f[no] : NULL, *they_left = nt < theirs->n ? &theirs->f[nt] : NULL;
	guint64 we = we_left ? we_left->index : log_last(r), they = they_left ? they_left->index : G_MAXUINT64;
	v->our_side = we_left && we <= they ? we_left->inc : here;
	v->their_side = they_left && they <= we ? they_left->inc : here;
	/* What both have as committed is the same; and all up to an entry that both have. */
	const RaftEntry *e = they_left && they <= we ? log_at(r, they) : NULL;
	if (e && raft_term_cmp(e->term, they_left->term) == 0)
		v->common = they;
	else
		v->common = MIN(we_left ? we_left->safe : r->commit, they_left ? they_left->safe : G_MAXUINT64);
}

gboolean raft_rival_stands(const RaftRival *v)
{
	return v->our_map > v->common && v->our_side < v->their_side;
}

static void stop_for(Raft *r, const RaftRival *v)
{
	gboolean known = r->has_rival && raft_term_cmp((RaftTerm){ r->rival.their_term.inc, 0 }, (RaftTerm){ v->their_term.inc, 0 }) == 0;

	become_follower(r, r->term);
	r->role = FOLLOWER;
	r->leader = 0;
	r->has_rival = TRUE;
	r->lease_until = 0;
	r->rival = *v;
	if (!known)
		act(r, RAFT_DO_RIVAL)->rival = *v;
}

static void cut(Raft *r, guint64 from, RaftTerm by, guint64 commit)
{
	RaftAction *a = NULL;
	RaftTerm term = log_last_term(r);

	for (guint64 i = MAX(from, log_first(r)); i <= log_last(r); i++) {
		const RaftEntry *e = log_at(r, i);
		if (e->term.inc >= by.inc || e->index <= r->commit || e->origin < e->index)
			continue;
		if (!a) {
			a = act(r, RAFT_DO_CUT);
			a->cut = (RaftCut){ g_ptr_array_new_with_free_func((GDestroyNotify)raft_entry_unref), commit, term, by };
		}
		g_ptr_array_add(a->cut.entries, raft_entry_ref(e));
	}
}

void line_cut(Raft *r, guint64 from, RaftTerm by) { cut(r, from, by, r->commit); }

/* From here on we are of the other line, with what is surely the same in both. The other line owes our leases nothing. */
static void adopt(Raft *r, const RaftRival *v)
{
	guint64 was = r->commit;

	become_follower(r, v->their_term);    /* first: a leader that steps down looks at its log */
	r->has_rival = FALSE;
	r->commit = MIN(r->commit, v->common);
	cut(r, v->common + 1, v->their_term, was);
	if (v->common < log_first(r)) {
		log_reset(r, NULL);
		r->commit = 0;
	} else {
		log_truncate(r, v->common + 1);
	}
	r->line = v->theirs;
	r->lease_until = 0;
}

/* A message of a newer incarnation. TRUE: we are of its line now, or as good as: nothing that was committed here is missing there. */
gboolean line_admits(Raft *r, guint16 from, const RaftMsg *m)
{
	const RaftEntry *e = log_at(r, r->commit);
	RaftRival v = { .from = from, .our_map = e ? e->origin : r->commit, .our_term = log_last_term(r), .their_term = m->term, .our_commit = r->commit, .our_last = log_last(r), .theirs = m->line };

	if (r->has_rival && m->term.inc < r->rival.their_term.inc)
		return FALSE;
	compare(r, &m->line, &v);
	if (v.our_map > v.common && !PLANTED(r, PLANT_YIELD_BLIND)) {
		stop_for(r, &v);
		return FALSE;
	}
	adopt(r, &v);
	return TRUE;
}

RaftStatus line_yield(Raft *r)
{
	if (!r->has_rival)
		return RAFT_REFUSED;
	RaftRival v = r->rival;
	adopt(r, &v);
	return RAFT_OK;
}

/* --- forcing --- */

/* Grows, and is nobody else's. */
guint32 raft_next_incarnation(const Raft *r)
{
	guint32 newest = r->has_rival ? MAX(r->term.inc, r->rival.their_term.inc) : r->term.inc;

	if (PLANTED(r, PLANT_SAME_INC))
		return newest + 65536;
	return ((newest >> 16) + 1) << 16 | r->cfg.id;
}

RaftStatus line_force(Raft *r, const RaftEvent *ev)
{
	const RaftEntry *last = log_at(r, log_last(r));
	RaftLine line = r->line;

	if (r->force_number)
		return RAFT_BUSY;
	if (!last || !group_valid(ev->group) || ev->group->n_voters != 1 || ev->group->voters[0] != r->cfg.id || g_bytes_get_size(ev->bytes) > RAFT_BYTES_MAX)
		return RAFT_REFUSED;
	RaftTerm term = { raft_next_incarnation(r), 1 };
	if (raft_term_cmp(term, r->term) <= 0)
		return RAFT_REFUSED;      /* 65535 forced incarnations */
	become_follower(r, term);
	r->has_rival = FALSE;
	r->vote = r->cfg.id;
	/* forks whose first entry never came are none of what goes on here */
	while (line.n && line.f[line.n - 1].index >= last->index)
		line.n--;
	if (line.n == RAFT_FORKS_MAX) {
		for (guint i = 1; i < line.n; i++)
			line.f[i - 1] = line.f[i];
		line.n--;
	}
	line.f[line.n++] = (RaftFork){ term.inc, last->index, r->commit, last->term };
	r->line = line;
	r->out->index = last->index + 1;
	log_append(r, entry_new(last->index + 1, term, last->index + 1, ev->group, ev->bytes));
	r->force_number = persist_dep(r);
	return RAFT_OK;
}

/* Only now does anybody hear of it. */
void line_force_durable(Raft *r)
{
	if (r->force_number == 0 || r->durable < r->force_number)
		return;
	r->force_number = 0;
	r->others_until = r->now;
	become_leader(r);
}
