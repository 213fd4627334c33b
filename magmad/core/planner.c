/* What the leader of the group does with the map: who is down and who is back, who votes, who keeps copies of what, and whose slice goes home. One look makes one new map with everything that it finds. */
#include "magmad/core/consensus.h"
#include "magmad/core/takeover.h"
#include "magmad/core/holding.h"

#define ANSWERED_WITHIN (SECOND / 2)  /* of beats that come five times a second or more in a new term */
#define SILENT_LONG (3 * SECOND / 2)
#define ALIVE_WITHIN (SECOND)         /* a member that was granted a lease so lately is back */

typedef struct {
	Volcano *v;
	MagmaMap *map;                /* being changed */
	guint16 down[MAGMA_VOLCANOS_MAX];
	guint ndown, copies;          /* copies: of everything, the owner's too */
	gboolean changed;
} Plan;

static MagmaSlice *slice_at(const MagmaMap *m, guint i) { return &g_array_index(m->slices, MagmaSlice, i); }
static MagmaVolcano *volcano_at(const MagmaMap *m, guint i) { return m->volcanos->pdata[i]; }
static gboolean is_down(const MagmaMap *m, guint16 id) { const MagmaVolcano *o = magma_map_by_id(m, id); return !o || o->flags & MAGMA_VOLCANO_DOWN; }

static MagmaCopy *copy_of(MagmaSlice *s, guint16 volcano)
{
	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].volcano == volcano)
			return &s->copies[i];
	return NULL;
}

static void copy_remove(MagmaSlice *s, guint16 volcano)
{
	MagmaCopy *c = copy_of(s, volcano);

	if (!c)
		return;
	memmove(c, c + 1, (gsize)(s->copies + s->ncopies - (c + 1)) * sizeof *c);
	s->ncopies--;
}

/* --- down and back --- */

/* The owner and one of its copies change places. */
static void own_by_copy(MagmaSlice *s, MagmaCopy *c, gboolean in_sync)
{
	guint16 old = s->owner;

	s->owner = c->volcano;
	s->epoch++;
	*c = (MagmaCopy){ old, in_sync };
}

static void take_out(Plan *p, MagmaVolcano *o)
{
	o->flags |= MAGMA_VOLCANO_DOWN;
	p->down[p->ndown++] = o->id;
	p->changed = TRUE;
	if (p->map->move.id)
		copy_remove(&p->map->move.part, o->id);
}

static gboolean is_taken_out(const Plan *p, guint16 id)
{
	for (guint i = 0; i < p->ndown; i++)
		if (p->down[i] == id)
			return TRUE;
	return FALSE;
}

/* A new leader may find the dead dead soon after its election (docs/reliability.md, Leases), and those alive have hardly had the time to take its first map then: who answers gets the time of a silent one. */
static gboolean answers(Plan *p, guint16 id, MagmaTime now)
{
	MagmaTime answered = consensus_answered(p->v, id);

	return answered && now - answered < ANSWERED_WITHIN && now - consensus_led_since(p->v) < SILENT_LONG;
}

static void look_at_lives(Plan *p)
{
	MagmaTime now = core_now(p->v);

	for (guint i = 0; i < p->map->volcanos->len; i++) {
		MagmaVolcano *o = volcano_at(p->map, i);
		MagmaTime down_at = o->id == p->v->id ? 0 : consensus_down_at(p->v, o->id);
		if (o->id == p->v->id && o->flags & MAGMA_VOLCANO_DOWN && consensus_may_serve(p->v)) {
			o->flags &= ~MAGMA_VOLCANO_DOWN;      /* it kept its vote, and leads */
			p->changed = TRUE;
		}
		if (!down_at)
			continue;
		if (!(o->flags & MAGMA_VOLCANO_DOWN) && now >= down_at && !answers(p, o->id, now)) {
			if (takeover_waits(consensus_takeover(p->v)))
				continue;
			core_say(p->v, "volcano %s is down", o->name);
			take_out(p, o);
		} else if (o->flags & MAGMA_VOLCANO_DOWN && consensus_heard_within(p->v, o->id, ALIVE_WITHIN)) {
			core_say(p->v, "volcano %s is back", o->name);
			o->flags &= ~MAGMA_VOLCANO_DOWN;
			p->changed = TRUE;
		}
	}
}

/* --- owners --- */

/* A place of an owner that is down by the map may be given away only while nobody can have granted it a lease since: it may be on its way back, and answer already. */
static gboolean surely_down(Plan *p, guint16 id)
{
	MagmaTime down_at = consensus_down_at(p->v, id);

	if (id == p->v->id || is_taken_out(p, id))
		return TRUE;          /* the leader itself hears of the new map first of all */
	if (!down_at || core_now(p->v) < down_at)
		return FALSE;
	p->down[p->ndown++] = id;
	return TRUE;
}

/* The first copy in sync that is alive acts as owner (rule 1). The old owner's place becomes a copy that does not count. Without such a copy the slice waits for whoever of those that have all of it is
 * back first: as long as its owner is down nobody goes on without the others, so all that count still do. */
static void replace_owner(Plan *p, MagmaSlice *s)
{
	for (guint i = 0; i < s->ncopies; i++) {
		MagmaCopy *c = &s->copies[i];
		if (!c->in_sync || is_down(p->map, c->volcano))
			continue;
		if (!surely_down(p, s->owner))
			return;
		core_say(p->v, "volcano %u acts for slice %u", c->volcano, s->id);
		own_by_copy(s, c, FALSE);
		p->changed = TRUE;
		return;
	}
	if (is_taken_out(p, s->owner))
		core_say(p->v, "slice %u has no copy in sync: it waits for volcano %u", s->id, s->owner);
}

static void look_at_owner(Plan *p, MagmaSlice *s)
{
	if (is_down(p->map, s->owner))
		replace_owner(p, s);
	for (guint i = 0; i < s->ncopies && !is_down(p->map, s->owner); i++)
		if (s->copies[i].in_sync && is_down(p->map, s->copies[i].volcano)) {
			s->copies[i].in_sync = FALSE;
			p->changed = TRUE;
		}
}

/* --- who votes --- */

static guint voters_wanted(guint able) { return able >= 5 ? 5 : able >= 3 ? 3 : 1; }

/* One change at a time. A voter that is down keeps its vote until another takes its place: two of three that are left still decide, one alone could not be missed. Of five it goes first: there is no room for six in a group. */
static void look_at_voters(Plan *p)
{
	guint able = 0, voters = 0;
	MagmaVolcano *dead = NULL, *next = NULL, *last = NULL, *beyond = NULL;

	for (guint i = 0; i < p->map->volcanos->len; i++) {
		MagmaVolcano *o = volcano_at(p->map, i);
		gboolean down = (o->flags & MAGMA_VOLCANO_DOWN) != 0;
		gboolean votes = (o->flags & MAGMA_VOLCANO_VOTER) != 0;
		/* one that has never been heard may not even know yet that it is one of us */
		gboolean heard = o->id == p->v->id || consensus_heard_within(p->v, o->id, ALIVE_WITHIN);
		able += votes || (!down && heard);
		voters += votes;
		if (votes && voters > RAFT_VOTERS_MAX)        /* by a map from before that was so: the group does not have it */
			beyond = o;
		if (votes && down)
			dead = o;
		if (votes && !down && o->id != p->v->id)
			last = o;
		if (!votes && !down && heard && !next)
			next = o;
	}
	guint wanted = voters_wanted(able);
	MagmaVolcano *change = NULL;
	if (beyond)
		change = beyond;
	else if (voters > wanted || (dead && next && voters == RAFT_VOTERS_MAX))
		change = dead ? dead : last;
	else if (voters < wanted || dead)
		change = next;
	if (!change)
		return;
	change->flags ^= MAGMA_VOLCANO_VOTER;
	p->changed = TRUE;
}

/* --- copies --- */

/* The volcanos that are to hold a slice beside its owner: the next ones of the ring that are alive. */
static guint copies_wanted(const Plan *p, const MagmaSlice *s, guint16 *out)
{
	const MagmaMap *m = p->map;
	const MagmaVolcano *o = magma_map_by_id(m, s->owner), *at = o;
	guint n = 0;

	for (guint i = 0; i < m->slices->len && n + 1 < p->copies; i++) {
		at = magma_map_after(m, at);
		if (at->id == s->owner || is_down(m, at->id))
			continue;
		out[n++] = at->id;
	}
	return n;
}

static gboolean is_wanted(const guint16 *wanted, guint n, guint16 id)
{
	for (guint i = 0; i < n; i++)
		if (wanted[i] == id)
			return TRUE;
	return FALSE;
}

/* Room in a full list. One that counts goes first, where enough others do: it would go later anyway. One that is down goes last: it need not begin from nothing when it is back, least of all to the slice that is its own. */
static void make_room(Plan *p, MagmaSlice *s, const guint16 *wanted, guint n)
{
	enum { NEVER = 9 };
	guint in_sync = 0, best = NEVER;
	guint16 drop = 0;

	for (guint i = 0; i < s->ncopies; i++)
		in_sync += s->copies[i].in_sync;
	for (guint i = 0; i < s->ncopies; i++) {
		const MagmaCopy *c = &s->copies[i];
		guint rank = c->in_sync ? (in_sync >= p->copies ? 0 : NEVER) : !is_down(p->map, c->volcano) ? 1 : c->volcano != s->home ? 2 : 3;
		if (rank < best && !is_wanted(wanted, n, c->volcano)) {
			best = rank;
			drop = c->volcano;
		}
	}
	if (best < NEVER)
		copy_remove(s, drop);
}

static void look_at_slice(Plan *p, MagmaSlice *s)
{
	guint16 wanted[MAGMA_COPIES_MAX];
	guint n = copies_wanted(p, s, wanted), good = 0;

	if (is_down(p->map, s->owner))
		return;
	/* whose slice it is comes back to it: it has to catch up first */
	if (s->home != s->owner && !is_down(p->map, s->home) && !is_wanted(wanted, n, s->home) && n < MAGMA_COPIES_MAX)
		wanted[n++] = s->home;
	for (guint i = 0; i < n; i++) {
		MagmaCopy *c = copy_of(s, wanted[i]);
		good += c && c->in_sync;
		if (!c && s->ncopies == MAGMA_COPIES_MAX)
			make_room(p, s, wanted, n);
		if (c || s->ncopies == MAGMA_COPIES_MAX)
			continue;
		s->copies[s->ncopies++] = (MagmaCopy){ wanted[i], FALSE };
		p->changed = TRUE;
	}
	/* others go when they are not needed any more; one that is down stays, so that it need not begin from nothing */
	for (guint i = s->ncopies; good == n && i-- > 0;)
		if (!is_wanted(wanted, n, s->copies[i].volcano) && !is_down(p->map, s->copies[i].volcano)) {
			copy_remove(s, s->copies[i].volcano);
			p->changed = TRUE;
		}
}

/* The part that is on its way: its source keeps a copy of it until others do. */
static void look_at_part(Plan *p)
{
	MagmaSlice *s = &p->map->move.part;
	const MagmaSlice *from = magma_map_slice_by_id(p->map, p->map->move.from);

	if (!p->map->move.id || p->copies < 2 || s->ncopies || !from || is_down(p->map, from->owner))
		return;
	s->copies[s->ncopies++] = (MagmaCopy){ from->owner, FALSE };
	p->changed = TRUE;
}

/* --- home --- */

static void look_at_homes(Plan *p)
{
	for (guint i = 0; i < p->map->slices->len; i++) {
		MagmaSlice *s = slice_at(p->map, i);
		MagmaCopy *c = copy_of(s, s->home);
		if (s->home == s->owner || !c || !c->in_sync || is_down(p->map, s->home) || is_down(p->map, s->owner))
			continue;
		core_say(p->v, "slice %u goes home to volcano %u", s->id, s->home);
		own_by_copy(s, c, TRUE);
		p->changed = TRUE;
	}
}

static Plan plan_new(Volcano *v)
{
	return (Plan){ .v = v, .map = magma_map_copy(v->map), .copies = v->store->log ? MIN(v->map->copies_wanted, MAGMA_COPIES_MAX - 2) : 1 };
}

/* The voters beside one that ends. */
typedef struct {
	guint up;
	gboolean serve;               /* not all of those that are up are witnesses */
	MagmaVolcano *dead;           /* one of those that are down */
} Electorate;

static Electorate electorate_without(MagmaMap *map, guint16 id)
{
	Electorate e = { 0 };

	for (guint i = 0; i < map->volcanos->len; i++) {
		MagmaVolcano *o = volcano_at(map, i);
		gboolean votes = o->flags & MAGMA_VOLCANO_VOTER, down = o->flags & MAGMA_VOLCANO_DOWN;
		if (o->id == id || !votes)
			continue;
		e.up += !down;
		e.serve |= !down && o->offered;
		if (down)
			e.dead = o;
	}
	return e;
}

/* FALSE: later. A vote is kept where the others can decide with it open, until look_at_voters() has given it to another: two that are left would be one voter and one that cannot go on without it, though the third is only away. Where
 * they could not decide it goes; but a dead one's first, for each map gives or takes one vote, and that has to be committed by those that are there. Where only a witness is left nothing goes on, and each may keep its own: any two of
 * the three can begin again. */
static gboolean vote_ends(MagmaMap *map, MagmaVolcano *leaver)
{
	Electorate e = electorate_without(map, leaver->id);
	guint voters = e.up + (e.dead != NULL) + 1;

	if (!(leaver->flags & MAGMA_VOLCANO_VOTER) || 2 * e.up > voters || (e.up && !e.serve))
		return TRUE;
	if (!e.dead) {
		leaver->flags &= ~MAGMA_VOLCANO_VOTER;
		return TRUE;
	}
	e.dead->flags &= ~MAGMA_VOLCANO_VOTER;
	return FALSE;
}

typedef struct {
	void (*done)(Volcano *v, void *user, int error);
	void *user;
} Later;

static void later(Volcano *v, void *user, int error)
{
	Later l = *(Later *)user;

	core_ctx_free(v, user);
	l.done(v, l.user, EAGAIN);
}

/* done with EAGAIN: it is to be asked again. */
void planner_leaves(Volcano *v, guint16 id, void (*done)(Volcano *v, void *user, int error), void *user)
{
	Plan p = plan_new(v);
	MagmaVolcano *o = (MagmaVolcano *)magma_map_by_id(p.map, id);

	if (!vote_ends(p.map, o)) {
		Later *l = CORE_CTX(v, Later, NULL);
		*l = (Later){ done, user };
		members_change_map(v, p.map, later, l);
		return;
	}
	core_say(v, "volcano %s ends", o->name);
	take_out(&p, o);
	for (guint i = 0; i < p.map->slices->len; i++) {
		MagmaSlice *s = slice_at(p.map, i);
		if (s->owner == id || !is_down(p.map, s->owner))      /* only that one needs no proof that it uses no lease */
			look_at_owner(&p, s);
	}
	members_change_map_down(v, p.map, p.down, p.ndown, TRUE, done, user);
}

/* A witness that leads has no part in what the map is about, and of two that are left it should not be the one that votes. FALSE: it leads on. */
static gboolean witness_hands_over(Volcano *v)
{
	const MagmaVolcano *self = magma_map_by_id(v->map, v->id);

	/* not while somebody is silent: another leader would count that from its own beginning */
	for (guint i = 0; self && !self->offered && i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = volcano_at(v->map, i);
		if (o->id != v->id && !(o->flags & MAGMA_VOLCANO_DOWN) && !consensus_heard_within(v, o->id, ALIVE_WITHIN / 2))
			return FALSE;
	}
	for (guint i = 0; self && !self->offered && i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = volcano_at(v->map, i);
		if (!o->offered || !(o->flags & MAGMA_VOLCANO_VOTER) || o->flags & MAGMA_VOLCANO_DOWN || !consensus_heard_within(v, o->id, ALIVE_WITHIN))
			continue;
		consensus_transfer(v, o->id);
		return TRUE;
	}
	return FALSE;
}

MagmaTime planner_due(Volcano *v)
{
	MagmaTime due = G_MAXINT64;

	for (guint i = 0; v->map && consensus_leads(v) && i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = volcano_at(v->map, i);
		MagmaTime at = o->flags & MAGMA_VOLCANO_DOWN || o->id == v->id ? 0 : consensus_down_at(v, o->id);
		if (at)
			due = MIN(due, at);
	}
	return due;
}

void planner_tick(Volcano *v)
{
	if (!v->map || !consensus_leads(v) || v->map_changing || !v->serving || !consensus_may_change(v))
		return;
	if (witness_hands_over(v))
		return;
	Plan p = plan_new(v);
	look_at_lives(&p);
	for (guint i = 0; i < p.map->slices->len; i++)
		look_at_owner(&p, slice_at(p.map, i));
	look_at_voters(&p);
	for (guint i = 0; i < p.map->slices->len; i++)
		look_at_slice(&p, slice_at(p.map, i));
	look_at_part(&p);
	look_at_homes(&p);
	if (p.changed)
		members_change_map_down(v, p.map, p.down, p.ndown, FALSE, NULL, NULL);
	else
		magma_map_unref(p.map);
}

/* --- what owners say of their copies --- */

static void state_changed(Volcano *v, void *user, int error) { op_finish(user, error ? MAGMA_ETRYAGAIN : 0); }

static gboolean said_by_its_owner(Volcano *v, const struct magma_req_copy_state *q)
{
	const MagmaSlice *s = magma_map_part(v->map, q->slice);

	return !s || s->epoch != q->epoch || q->life == consensus_life(v, s->owner);
}

void handle_copy_state(Op *op)
{
	const struct magma_req_copy_state *q = &op->req.req_copy_state;
	Volcano *v = op->v;

	/* Of the map by which its owner compared, or has no store, and of the same start of it, or of none: a repeat could come when the owner has gone on without that copy, or has opened its store. */
	if (q->in_sync == STATE_HAS_MORE && (!consensus_leads(v) || v->map_changing || !v->map || op->hdr.epoch < v->map->epoch || !said_by_its_owner(v, q))) {
		op_error(op, ESTALE);
		return;
	}
	if (!consensus_leads(v) || v->map_changing || !v->map) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	/* A late one may be from before the copy counted again, or was taken out: its owner says so by the newest map, or not at all. And one that was restarted since knows nothing of it. */
	if (op->hdr.epoch < v->map->epoch || !said_by_its_owner(v, q)) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	MagmaMap *map = magma_map_copy(v->map);
	MagmaSlice *s = magma_map_part(map, q->slice);
	MagmaCopy *c = s && s->epoch == q->epoch ? copy_of(s, q->volcano) : NULL;
	if (c && c->in_sync && q->in_sync == STATE_HAS_MORE && s != &map->move.part && !is_down(map, q->volcano)) {
		core_say(v, "volcano %u has more of slice %u than volcano %u: it acts for it", q->volcano, q->slice, s->owner);
		own_by_copy(s, c, FALSE);
		members_change_map(v, map, state_changed, op);
		return;
	}
	if (!c || q->in_sync == STATE_HAS_MORE || (q->in_sync && is_down(map, q->volcano)) || c->in_sync == !!q->in_sync) {
		int error = !c || q->in_sync == STATE_HAS_MORE || !c->in_sync != !q->in_sync ? ESTALE : 0;
		magma_map_unref(map);
		op_finish(op, error);
		return;
	}
	c->in_sync = q->in_sync;
	members_change_map(v, map, state_changed, op);
}
