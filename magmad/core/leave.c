/* A planned end of one volcano of several: it hands over the leadership, if it has it, stops answering, and has the leader give its slices to their copies. Clients find the new owner in the
 * map that says so, and see no pause. */
#include "magmad/core/consensus.h"
#include "magmad/core/takeover.h"

#define LEAVE_LIMIT (3 * SECOND)          /* then it ends as if it were killed: nothing is lost by that */
#define LEAVE_STEP (SECOND / 50)
#define TRANSFER_AGAIN (SECOND / 5)
#define HEARD_WITHIN (SECOND)

typedef struct {
	Volcano *v;
	void (*done)(void *user);
	void *user;
	guint timer;
	MagmaTime limit, transfer_at;
	gboolean told;                /* the leader */
} Leave;

static void left(Leave *l)
{
	Volcano *v = l->v;
	void (*done)(void *) = l->done;
	void *user = l->user;

	if (l->timer)
		v->io->timer_cancel(v->iou, l->timer);
	v->leave = NULL;
	g_free(l);
	done(user);
}

static void answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Volcano *v = user;

	if (v->leave)
		left(v->leave);
}

/* Who can lead after this one: heard of late, up, best with storage. */
static MagmaVolcano *heir(Volcano *v, MagmaMap *map)
{
	MagmaVolcano *best = NULL;

	for (guint i = 0; i < map->volcanos->len; i++) {
		MagmaVolcano *o = map->volcanos->pdata[i];
		if (o->id == v->id || o->flags & MAGMA_VOLCANO_DOWN || !consensus_heard_within(v, o->id, HEARD_WITHIN))
			continue;
		if (!best || (o->flags & MAGMA_VOLCANO_VOTER && !(best->flags & MAGMA_VOLCANO_VOTER)))
			best = o;
	}
	return best;
}

/* FALSE: there is nobody. */
static gboolean hand_over(Leave *l)
{
	Volcano *v = l->v;
	MagmaMap *map;
	MagmaVolcano *o = heir(v, v->map);

	if (!o)
		return FALSE;
	if (v->map_changing || core_now(v) < l->transfer_at)
		return TRUE;
	if (o->flags & MAGMA_VOLCANO_VOTER) {
		consensus_transfer(v, o->id);
		l->transfer_at = core_now(v) + TRANSFER_AGAIN;
		return TRUE;
	}
	map = magma_map_copy(v->map);
	((MagmaVolcano *)magma_map_by_id(map, o->id))->flags |= MAGMA_VOLCANO_VOTER;
	members_change_map(v, map, NULL, NULL);
	return TRUE;
}

static void step(void *arg)
{
	Leave *l = arg;
	Volcano *v = l->v;

	core_enter(v);
	l->timer = 0;
	if (core_now(v) >= l->limit || (consensus_leads(v) && !hand_over(l))) {
		left(l);
		core_leave(v);
		return;
	}
	if (!consensus_leads(v) && consensus_leader(v) && !l->told) {
		struct magma_req_leave q = { .volcano = v->id, .life = consensus_life(v, v->id) };
		l->told = TRUE;
		v->resigned = TRUE;
		v->lease_until = 0;
		call_leader(v, NULL, MAGMA_OP_leave, &q, l->limit - core_now(v), answered, v);
	}
	if (v->leave)
		l->timer = v->io->timer(v->iou, LEAVE_STEP, step, l);
	core_leave(v);
}

void volcano_leave(Volcano *v, void (*done)(void *user), void *user)
{
	Leave *l;

	if (v->leave)
		return;
	v->leave = l = g_new0(Leave, 1);
	*l = (Leave){ .v = v, .done = done, .user = user, .limit = core_now(v) + LEAVE_LIMIT };
	if (!v->map || !v->serving || v->stopping || v->ready || v->map->volcanos->len < 2) {
		left(l);
		return;
	}
	v->leaving = TRUE;
	core_say(v, "hands over what it has before it ends");
	step(l);
}

void leave_clear(Volcano *v)
{
	Leave *l = v->leave;

	if (l && l->timer)
		v->io->timer_cancel(v->iou, l->timer);
	g_free(l);
}

/* --- at the leader --- */

static void has_left(Volcano *v, void *user, int error) { op_finish(user, error ? MAGMA_ETRYAGAIN : 0); }

void handle_leave(Op *op)
{
	Volcano *v = op->v;
	guint16 id = op->req.req_leave.volcano;
	const MagmaVolcano *o = v->map ? magma_map_by_id(v->map, id) : NULL;

	if (!o || id == v->id) {
		op_error(op, EINVAL);
		return;
	}
	if (v->leaving && takeover_other(v)) {      /* both end: there is nobody to hand anything to */
		op_error(op, EBUSY);
		if (v->leave)
			left(v->leave);
		return;
	}
	/* a late one may be of a start before this one: it would take away what it has a lease for */
	if (!consensus_leads(v) || v->map_changing || v->leaving || op->req.req_leave.life != consensus_life(v, id)) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	planner_leaves(v, id, has_left, op);
}
