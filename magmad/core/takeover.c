#include "magmad/core/takeover.h"
#include "magmad/core/consensus.h"
#include "magmad/core/holding.h"

/* How these belong together. The only voter serves for ALONE_LEASE after the sending of a beat that the other has answered, or takes the other for down (by 1.4 s, raft.c's down_after) and goes on by itself. The
 * other takes over FORCE_AFTER after the last word that it heard: by then that lease has run out on any clock (5% off at most), and short trouble has ended with the voter going on. Whoever stood still for ASK_GAP
 * cannot know which of that happened, and asks; as does a voter that stood still for shorter, more than STILL in all since the other's newest answer, if by now the other could have gone on for want of its word. */
#define ALONE_LEASE (SECOND * 12 / 10)
#define FORCE_AFTER (SECOND * 18 / 10)
#define LOOK_EVERY (SECOND * 35 / 100)
#define GAP (SECOND * 7 / 10)             /* between two looks: this process did not run */
#define ASK_GAP (SECOND)
#define STILL (SECOND * 35 / 100)         /* on top of LOOK_EVERY */
#define SURE_FOR (SECOND * 16 / 10)       /* FORCE_AFTER by clocks that are 10% apart */
#define SILENT (SECOND * 15 / 10)         /* an operator may say that it is lost */

struct Takeover {
	Volcano *v;
	guint timer;
	MagmaTime looked, unbroken;   /* when last; since when without a gap */
	MagmaTime heard;              /* any word of the group from the other */
	MagmaTime still, still_since; /* voter: how long it did not run, in all, since that answer of the other */
	gboolean asks;                /* whether the other has gone on without this one */
	MagmaTime asks_since;
	guint16 could;                /* which, by the map of then: one that is committed since (it was on its way to the disk) has told the other nothing in time; 0: none could */
	guint32 could_incarnation;    /* that this is about */
	gboolean in_touch;            /* in this life, with what the map says now: in sync, and with a lease from the other; since then it ran all the time */
	guint32 incarnation;          /* that in_touch is about */
	gboolean told;                /* the log, of what it waits for */
	gboolean lost;                /* the operator says that the other is, for good */
};

const MagmaVolcano *takeover_other(const Volcano *v)
{
	if (!v->map || v->map->volcanos->len != 2)
		return NULL;
	const MagmaVolcano *a = v->map->volcanos->pdata[0], *b = v->map->volcanos->pdata[1];
	return a->id == v->id ? b : a;
}

static gboolean has_slice(const MagmaSlice *s, guint16 id)
{
	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].volcano == id && s->copies[i].in_sync)
			return TRUE;
	return s->owner == id;
}

/* By that map nothing is acknowledged that this volcano does not have. */
static gboolean has_everything(const MagmaMap *map, guint16 id)
{
	const MagmaVolcano *o = magma_map_by_id(map, id);

	if (!o || o->flags & MAGMA_VOLCANO_DOWN)
		return FALSE;
	for (guint i = 0; i < map->slices->len; i++)
		if (!has_slice(&g_array_index(map->slices, MagmaSlice, i), id))
			return FALSE;
	return TRUE;
}

static gboolean votes_alone(const MagmaMap *map, guint16 id)
{
	for (guint i = 0; i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		if (!(o->flags & MAGMA_VOLCANO_VOTER) != (o->id != id))
			return FALSE;
	}
	return TRUE;
}

/* The other could have taken this one's place: then this one serves only what the other knows of. */
static const MagmaVolcano *could_go_on(const Takeover *t)
{
	const MagmaVolcano *o = takeover_other(t->v);

	return o && votes_alone(t->v->map, t->v->id) && has_everything(t->v->map, o->id) ? o : NULL;
}

/* --- asking --- */

static gboolean could_before(const Takeover *t) { return t->asks && t->could && t->could_incarnation == consensus_incarnation(t->v); }

/* Which one may have gone on, in the time that this one asks about or from now on; 0: none. */
static guint16 in_question(const Takeover *t)
{
	const MagmaVolcano *o = could_go_on(t);

	return could_before(t) ? t->could : o ? o->id : 0;
}

static gboolean asking(Takeover *t)
{
	guint16 o = t->asks && consensus_leads(t->v) ? in_question(t) : 0;

	if (!o)
		return FALSE;
	t->asks = consensus_answered(t->v, o) < t->asks_since;
	return t->asks;
}

static void ask(Takeover *t, guint16 other)
{
	t->could = other;
	t->could_incarnation = consensus_incarnation(t->v);
	t->asks = TRUE;
	t->asks_since = core_now(t->v);
}

gboolean takeover_in_question(const Takeover *t) { return in_question(t) != 0; }

gboolean takeover_may_change(Takeover *t)
{
	takeover_clock(t);
	return !asking(t);
}

MagmaTime takeover_lease(Takeover *t, MagmaTime lease)
{
	const MagmaVolcano *o = consensus_leads(t->v) ? could_go_on(t) : NULL;
	MagmaTime answered = o ? consensus_answered(t->v, o->id) : 0;

	if (answered != t->still_since) {     /* after each step: before this process can stand still again */
		t->still_since = answered;
		t->still = 0;
	}
	if (asking(t))
		return 0;
	return o ? MIN(lease, answered + ALONE_LEASE) : lease;
}

static void count_still(Takeover *t, MagmaTime gap)
{
	const MagmaVolcano *o = consensus_leads(t->v) ? could_go_on(t) : NULL;

	t->still += MAX(gap - LOOK_EVERY, 0);
	if (o && t->still_since && !t->asks && t->still > STILL && core_now(t->v) - t->still_since > SURE_FOR)
		ask(t, o->id);
}

void takeover_clock(Takeover *t)
{
	MagmaTime now = core_now(t->v), gap = now - t->looked;

	t->looked = now;
	count_still(t, gap);
	if (gap < GAP)
		return;
	t->unbroken = now;
	t->in_touch = FALSE;          /* meanwhile the other may have gone on without this one, and then died */
	if (gap < ASK_GAP)
		return;
	ask(t, in_question(t));
}

void takeover_heard(Takeover *t, guint16 from)
{
	t->heard = core_now(t->v);
	t->lost = FALSE;
}

/* The other may be going on with what it alone has. A line of history without that could not stand beside its own. */
gboolean takeover_waits(const Takeover *t)
{
	return could_go_on(t) && !t->lost && !has_everything(t->v->map, t->v->id);
}

gboolean takeover_allows(const Takeover *t, const MagmaMap *next)
{
	return !takeover_waits(t) || has_everything(next, takeover_other(t->v)->id) || has_everything(next, t->v->id);
}

/* --- going on without the other --- */

/* Owner of all slices, and the only voter. Epochs: nobody of the other line has or will have these. */
static MagmaMap *map_alone(Takeover *t, const MagmaMap *from, guint16 lost)
{
	MagmaMap *map = magma_map_copy(from);
	guint64 ownership = (guint64)(consensus_next_incarnation(t->v) >> 16) << 24 | (guint64)(t->v->id & 0xff) << 16;

	for (guint i = 0; i < map->volcanos->len; i++) {
		MagmaVolcano *o = map->volcanos->pdata[i];
		o->flags = o->id == t->v->id ? MAGMA_VOLCANO_VOTER : o->flags & ~MAGMA_VOLCANO_VOTER;
		if (o->id == lost)
			o->flags |= MAGMA_VOLCANO_DOWN;
	}
	for (guint i = 0; i < map->slices->len; i++) {
		MagmaSlice *s = &g_array_index(map->slices, MagmaSlice, i);
		for (guint k = 0; k < s->ncopies; k++) {
			if (s->copies[k].volcano == lost)
				s->copies[k].in_sync = FALSE;
			if (s->owner == lost && s->copies[k].volcano == t->v->id && s->copies[k].in_sync) {
				s->copies[k] = (MagmaCopy){ lost, FALSE };
				s->owner = t->v->id;
			}
		}
		s->epoch = MAX(s->epoch + 1, ownership);
	}
	map->copies_kept = members_least_copies(map);
	return map;
}

static gboolean force(Takeover *t, const MagmaMap *from, guint16 lost)
{
	int error = consensus_force(t->v, map_alone(t, from, lost));

	t->asks = FALSE;
	if (error)
		core_say(t->v, "cannot go on without volcano %u: %s", lost, g_strerror(error));
	return !error;
}

/* NULL, or why this one cannot take the place of the other. */
static const char *incomplete(Takeover *t)
{
	const MagmaMap *map = t->v->map;

	if (map->move.id)
		return "a slice is on its way between the two";
	if (!has_everything(map, t->v->id))
		return "this volcano does not have all that the other one has";
	/* after a restart that nobody has answered nothing is open yet; what is not whole does not count by the map either */
	for (guint i = 0; t->v->may_own && i < map->slices->len; i++)
		if (!holdings_whole(t->v, g_array_index(map->slices, MagmaSlice, i).id))
			return "a slice is not whole here";
	return NULL;
}

static void say_once(Takeover *t, const char *text)
{
	g_strlcpy(t->v->note, text, sizeof t->v->note);
	if (!t->told)
		core_say(t->v, "%s", text);
	t->told = TRUE;
}

/* What it waits for, while the group lets it serve nothing. */
static void look_at_waiting(Takeover *t, const MagmaVolcano *other)
{
	Volcano *v = t->v;
	MagmaTime silent = core_now(v) - MAX(t->heard, t->unbroken);
	g_autofree char *text = NULL;

	if (asking(t)) {
		if (core_now(v) - t->asks_since < SILENT + LOOK_EVERY)
			return;
		text = g_strdup_printf("waits for volcano %s, which may have gone on without this one; takeover %s on the console if it is lost for good", other->name, other->name);
	} else if (takeover_waits(t) && silent > SILENT && !consensus_may_serve(v)) {
		text = g_strdup_printf("waits for volcano %s, which has what this one has not yet caught up with; takeover %s on the console if it is lost for good", other->name, other->name);
	} else if (!consensus_leads(v) && silent > SILENT && !consensus_may_serve(v) && (!t->in_touch || v->cfg.no_takeover || incomplete(t))) {
		text = g_strdup_printf("waits for volcano %s, which votes on the lava map; takeover %s on the console if it is lost for good", other->name, other->name);
	}
	if (text) {
		say_once(t, text);
	} else if (t->told) {
		t->told = FALSE;
		v->note[0] = 0;
	}
}

static void look_at_touch(Takeover *t)
{
	Volcano *v = t->v;
	gboolean all = has_everything(v->map, v->id);

	/* the first word of a newer incarnation may come before the map that says what this one lacks there */
	if (!all || t->incarnation != consensus_incarnation(v))
		t->in_touch = FALSE;
	t->incarnation = consensus_incarnation(v);
	t->in_touch |= all && v->lease_until > core_now(v);
}

static void look(Takeover *t)
{
	Volcano *v = t->v;
	const MagmaVolcano *other = takeover_other(v);
	MagmaTime now = core_now(v);

	takeover_clock(t);
	if (!other || v->stopping || v->leaving)
		return;
	look_at_touch(t);
	if (t->in_touch && !v->cfg.no_takeover && !consensus_leads(v) && now - MAX(t->heard, t->unbroken) > FORCE_AFTER && !incomplete(t)) {
		core_say(v, "volcano %s has been silent for %.1f s: this one goes on without it", other->name, (now - t->heard) / 1e6);
		t->in_touch = FALSE;
		force(t, v->map, other->id);
		return;
	}
	look_at_waiting(t, other);
}

static void tick(void *arg)
{
	Takeover *t = arg;
	Volcano *v = t->v;

	core_enter(v);
	look(t);
	/* clients wait for the one whose turn comes soon */
	MagmaTime left = FORCE_AFTER - (core_now(v) - MAX(t->heard, t->unbroken));
	t->timer = v->io->timer(v->iou, !takeover_other(v) ? SECOND : left >= 0 && left < LOOK_EVERY ? left + 1000 : LOOK_EVERY, tick, t);
	core_leave(v);
}

char *volcano_takeover(Volcano *v, const char *name)
{
	Takeover *t = consensus_takeover(v);
	const MagmaVolcano *other = t ? takeover_other(v) : NULL;
	const char *why;
	char *text = NULL;

	if (!other)
		return g_strdup("only in a network of two volcanos; a majority decides in larger ones");
	if (strcmp(other->name, name) != 0)
		return g_strdup_printf("the other volcano is %s: name it to confirm that it is lost for good", other->name);
	core_enter(v);
	if (core_now(v) - MAX(t->heard, v->started) < SILENT) {
		text = g_strdup_printf("volcano %s is not silent", other->name);
	} else if (consensus_leads(v) && !asking(t) && !takeover_waits(t)) {
		text = g_strdup("this volcano goes on without it already");
	} else if (consensus_leads(v)) {
		core_say(v, "told by the operator that volcano %s is lost for good", other->name);
		t->asks = FALSE;              /* the planner takes it for down, as it would have if this one had not stood still, or had all */
		t->lost = TRUE;
	} else if ((why = incomplete(t))) {
		text = g_strdup(why);
	} else {
		core_say(v, "told by the operator that volcano %s is lost for good: goes on without it", other->name);
		if (!force(t, v->map, other->id))
			text = g_strdup("not now; try again");
	}
	core_leave(v);
	return text;
}

/* --- two lines --- */

/* Rule 4. But a map that was committed here without the other one has cost nobody anything while the other one had everything by it all the same: between a commit and the other's knowing of it lies one message. */
void takeover_rival(Takeover *t, const RaftRival *rival)
{
	Volcano *v = t->v;
	const RaftEntry *e = consensus_committed(v);
	gsize n;
	const guint8 *p = e ? g_bytes_get_data(e->bytes, &n) : NULL;
	g_autoptr(MagmaMap) ours = p ? magma_map_decode(p, n) : NULL;

	/* nor has one that was not even told before this one stopped, and asked: nothing was answered by it */
	gboolean alone = ours && rival->our_map > rival->common && !has_everything(ours, rival->from) && !could_before(t);

	/* Its line cannot stand on what only the other one has: that went on because it has everything. */
	if (alone && raft_rival_stands(rival) && has_everything(ours, v->id)) {
		core_say(v, "volcano %u went on without this one, which had gone on without it: what was changed HERE stands", rival->from);
		force(t, ours, rival->from);
		return;
	}
	core_say(v, "volcano %u has gone on without this one: its lava map stands", rival->from);
	if (alone) {
		core_say(v, "CONFLICT: both volcanos have gone on alone, and what was changed HERE meanwhile does not stand: it is set aside, not deleted");
		v->aside = v->resigned = TRUE;
	}
	consensus_yield(v);
}

Takeover *takeover_new(Volcano *v, gboolean again, gboolean question)
{
	Takeover *t = g_new0(Takeover, 1);
	const MagmaVolcano *o = takeover_other(v);

	t->v = v;
	t->looked = t->unbroken = t->heard = core_now(v);
	if (again)
		ask(t, o && (question || could_go_on(t)) ? o->id : 0);
	t->timer = v->io->timer(v->iou, LOOK_EVERY, tick, t);
	return t;
}

void takeover_free(Takeover *t)
{
	if (!t)
		return;
	if (t->timer)
		t->v->io->timer_cancel(t->v->iou, t->timer);
	g_free(t);
}
