/* How a copy gets what it missed: in which order, how fast, how far it is. Contents come before the log, because a copy whose log is up to date is taken for one that has them. Only when an owner
 * begins, and a copy that counts has all frames from before, the log does not wait for the contents that were under way: then syncs and reads of those contents do (contents.c). */
#include "magmad/mirror/owner-inside.h"

/* For estimates: all rows of a flare, a frame, a small content. */
enum { FLARE_BYTES = 2500, FRAME_BYTES = 400, CONTENT_BYTES = 64 << 10 };

enum { BUSY = 100 };                  /* transactions a second: background work commits some */
enum { REST = 3 };

/* --- slots --- */

Slot *slot_new(Copy *c, guint what)
{
	Slot *s = g_new0(Slot, 1);

	*s = (Slot){ .c = c, .o = owner_ref(c->o), .attempt = c->attempt, .what = what, .items = g_array_new(FALSE, FALSE, sizeof(SlotItem)) };
	g_ptr_array_add(c->slots, s);
	c->slots_waiting++;
	return s;
}

static void slot_free(Slot *s)
{
	for (guint i = 0; i < s->items->len; i++)
		g_clear_pointer(&g_array_index(s->items, SlotItem, i).payload, g_bytes_unref);
	g_array_unref(s->items);
	g_free(s);
}

Copy *slot_redeem(Slot *s)
{
	Owner *o = s->o;
	Copy *c = owner_attempt(o, s->attempt);

	if (!c) {
		slot_free(s);
		owner_unref(o);
	}
	return c;
}

void slot_add(Slot *s, const Item *item, GBytes *payload)
{
	SlotItem i = { *item, payload ? g_bytes_ref(payload) : NULL };

	g_array_append_val(s->items, i);
}

void slot_ready(Slot *s)
{
	s->ready = TRUE;
	s->c->slots_waiting--;
	g_clear_pointer(&s->o, owner_unref);
}

static void slots_clear(Copy *c)
{
	for (guint i = 0; i < c->slots->len; i++) {
		Slot *s = c->slots->pdata[i];
		if (s->ready)
			slot_free(s);         /* the others free themselves when they are answered */
	}
	g_ptr_array_set_size(c->slots, 0);
	c->slots_waiting = 0;
}

/* --- the pace --- */

gboolean catchup_may(Copy *c)
{
	MirrorPace *p = c->o->pace;
	MagmaTime t = c->o->cfg.io->now(c->o->cfg.user);
	guint64 pace = p->busy ? c->o->cfg.pace / 16 * 11 : c->o->cfg.pace;      /* docs/performance.md, "Catching up": what leaves clients their share */
	gint64 most = pace / 8 + ITEM_MESSAGE_MAX;

	if (c->counted)
		return TRUE;                  /* clients wait for it */
	p->budget = p->budget_at ? MIN(most, p->budget + (gint64)((double)(t - p->budget_at) * pace / SECOND)) : most;
	p->budget_at = t;
	return p->budget > 0 && (!p->busy || t >= p->rest);
}

/* Where processors and disks are short, pieces take long, and clients wait for the same: three times as long as a piece took, the next is not begun. Pieces overlap; so most of the time is the clients', whatever the machine
 * can do. */
void catchup_took(Copy *c, MagmaTime begun)
{
	MagmaTime t = c->o->cfg.io->now(c->o->cfg.user);

	if (!c->counted)
		c->o->pace->rest = t + MIN(REST * (t - begun), SECOND / 5);
}

void catchup_look(Owner *o)
{
	MirrorPace *p = o->pace;
	MagmaTime t = o->cfg.io->now(o->cfg.user);

	if (t - p->looked_at < SECOND / 10)
		return;
	p->busy = p->commits - p->seen > BUSY * (double)(t - p->looked_at) / SECOND;
	p->seen = p->commits;
	p->looked_at = t;
}

void catchup_spent(Copy *c, gsize bytes)
{
	c->o->pace->budget -= bytes;
	c->done += bytes;
}

/* It costs less: nothing is sent or written. */
void catchup_compared(Copy *c, gsize bytes)
{
	c->o->pace->budget -= bytes / 8;
	c->done += bytes;
}

/* --- the order --- */

void catchup_clear(Copy *c)
{
	slots_clear(c);
	catchup_contents_clear(c);
	compare_stop(c);
	c->phase = PHASE_NONE;
	c->hold_frames = FALSE;
}

static void next_phase(Copy *c, Phase p)
{
	c->phase = p;
	c->scan_at = c->next_index - 1;
}

void catchup_begin(Copy *c)
{
	c->done = c->total = c->rate_done = 0;
	c->walk_fromlen = 0;
	c->walk_table = TAB_META;
	c->walk_over = FALSE;
	if (c->compare && c->how == HOW_LOG)
		compare_resume(c, c->page_progresslen ? c->page_progress[0] : 0, c->page_progress + 1, c->page_progresslen ? c->page_progresslen - 1 : 0);
	if (c->how == HOW_EMPTY) {
		catchup_todo_clear(c);
		c->compared = TRUE;
		c->contents_first = c->todo_unknown = FALSE;
		next_phase(c, PHASE_ROWS);
	} else if (c->contents_first) {       /* what was not yet compared stays to be: the intent of what failed here may be gone */
		c->compared = FALSE;
		c->todo_unknown = c->hold_frames = TRUE;
		next_phase(c, PHASE_DIRTY);
		catchup_dirty(c);
	} else {
		next_phase(c, PHASE_CONTENTS);
	}
}

/* The first stream of an owner to a copy that counts: what was under way when the slice changed hands. */
static gboolean seeded(Copy *c)
{
	GHashTableIter it;
	gpointer fid;

	if (c->compared)
		return TRUE;
	if (!c->o->suspects_known)
		return FALSE;
	c->compared = TRUE;
	g_hash_table_iter_init(&it, c->o->suspects);
	while (g_hash_table_iter_next(&it, &fid, NULL))
		catchup_todo(c, fid);
	return TRUE;
}

/* Reads and fsyncs do not wait for a copy that does not count. So it gets no more of the log, such as the end of a write intent, and does not begin to count, before what may differ is compared. One that is not whole
 * is not whole before that either. */
void catchup_hold(Copy *c)
{
	gboolean in_time = c->phase == PHASE_CONTENTS || c->phase == PHASE_LOG || c->phase == PHASE_LIVE;

	if (c->counted || !in_time || !c->whole || (c->compared && catchup_contents_done(c)))
		return;
	c->hold_frames = TRUE;
	next_phase(c, PHASE_CONTENTS);
}

/* What may differ is known, or was compared. */
static void compared(Copy *c)
{
	c->compared = TRUE;
	c->contents_first = c->todo_unknown = c->hold_frames = FALSE;
}

static void live(Copy *c)
{
	next_phase(c, PHASE_LIVE);
	c->blank = FALSE;
	c->unread_since = 0;
	compare_end(c);
	c->o->again = TRUE;
}

void catchup_pump(Copy *c)
{
	if (c->slots->len)
		return;
	switch (c->phase) {
	case PHASE_NONE:
	case PHASE_DIRTY:
		return;
	case PHASE_TOUCHED:
		catchup_touched(c);
		return;
	case PHASE_SURVEY:
		if (!compare_survey(c))
			return;
		compared(c);
		next_phase(c, PHASE_LOG);
		owner_update(c->o);
		break;
	case PHASE_CONTENTS:
		if (!c->contents_first && !seeded(c))
			return;
		if (!catchup_contents_done(c)) {
			catchup_contents(c);
			break;
		}
		compared(c);
		next_phase(c, PHASE_LOG);
		owner_update(c->o);
		break;
	case PHASE_LOG:
		if (c->next_index <= c->join_index)
			break;
		if (c->compare && !c->whole) {
			next_phase(c, PHASE_ROWS);
		} else if (c->whole) {
			live(c);
		} else {
			/* it goes on where it was: table and key of the last row that came with everything before it */
			c->walk_table = c->page_progresslen ? c->page_progress[0] : TAB_META;
			c->walk_fromlen = c->page_progresslen ? c->page_progresslen - 1 : 0;
			memcpy(c->walk_from, c->page_progress + 1, c->walk_fromlen);
			next_phase(c, PHASE_ROWS);
		}
		break;
	case PHASE_ROWS:
		if (!catchup_contents_done(c))
			catchup_contents(c);
		else if (c->whole)
			live(c);
		else if (catchup_may(c) && (!c->compare || (compare_strays(c) && compare_rows(c))))
			catchup_rows(c);
		break;
	case PHASE_LIVE:
		if (!catchup_contents_done(c))
			catchup_contents(c);      /* an operation failed here */
		break;
	}
	catchup_log_read(c);
}

void catchup_status(const Copy *c, CopyStatus *out)
{
	guint64 last = c->o->local->log->position(c->o->local).index;
	StoreUsage u;

	*out = (CopyStatus){ .volcano = c->volcano, .lag = last > c->acked_index ? last - c->acked_index : 0, .done = c->done, .rate = c->rate, .slow = c->slow_until > c->o->cfg.io->now(c->o->cfg.user) };
	if (!c->started)
		out->state = c->stream ? COPY_ATTACHING : COPY_AWAY;
	else if (c->phase == PHASE_SURVEY)
		out->state = COPY_DIGESTS;
	else if (c->phase == PHASE_ROWS)
		out->state = c->compare && !catchup_contents_done(c) ? COPY_CONTENTS : COPY_ROWS;
	else if (c->phase == PHASE_LIVE)
		out->state = c->in_map ? COPY_IN_SYNC : c->asked ? COPY_CAUGHT_UP : COPY_LOG;
	else
		out->state = c->phase == PHASE_LOG ? COPY_LOG : COPY_CONTENTS;
	c->o->local->vt->usage(c->o->local, &u);
	if (c->phase == PHASE_ROWS && !c->compare) {
		out->total = MAX(u.used, c->done);
	} else if (c->phase == PHASE_SURVEY) {
		guint64 rows = u.flares * FLARE_BYTES;
		out->total = c->done + (rows > compare_done(c) ? rows - compare_done(c) : 0);
	} else if (c->phase != PHASE_LIVE) {
		guint64 all = c->walking ? u.flares * (STORE_FOLDERS - c->walk_folder) / STORE_FOLDERS : 0;
		out->total = c->done + out->lag * FRAME_BYTES + (all + g_hash_table_size(c->todo)) * CONTENT_BYTES + (c->compare ? compare_left(c) : 0);
	} else {
		out->total = c->done;
	}
}
