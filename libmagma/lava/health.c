#include "libmagma/lava/health.h"

#define SHOWN_MAX 8                   /* slices or volcanos named in one line: a line stays a line with a thousand of them */
#define LAG_MANY 1000                 /* records; several seconds of a copy's disk */

/* One line in the making: the names after its head, cut off behind SHOWN_MAX. */
typedef struct {
	GString *text;
	guint n;
} Line;

static const char *const NAMES[] = { "without quorum", "waiting", "down", "degraded", "healing", "lagging", "conflicts", "damaged", "full" };

static const char *name_of(const MagmaMap *map, guint16 id)
{
	const MagmaVolcano *o = magma_map_by_id(map, id);

	return o ? o->name : "?";
}

static gboolean is_down(const MagmaMap *map, guint16 id)
{
	const MagmaVolcano *o = magma_map_by_id(map, id);

	return !o || o->flags & MAGMA_VOLCANO_DOWN;
}

static const MagmaSlice *slice_at(const MagmaMap *map, guint i) { return &g_array_index(map->slices, MagmaSlice, i); }

G_GNUC_PRINTF(2, 3) static void line_add(Line *l, const char *fmt, ...)
{
	va_list ap;

	if (l->n++ >= SHOWN_MAX)
		return;
	if (l->n > 1)
		g_string_append(l->text, ", ");
	va_start(ap, fmt);
	g_string_append_vprintf(l->text, fmt, ap);
	va_end(ap);
}

/* Takes l's text. */
static guint32 line_end(Line *l, guint32 state, const char *head, GString *lines)
{
	g_autoptr(GString) text = l->text;

	if (!l->n)
		return 0;
	if (lines) {
		g_string_append_printf(lines, "%s: %s%s", NAMES[__builtin_ctz(state)], head, text->str);
		if (l->n > SHOWN_MAX)
			g_string_append_printf(lines, " and %u more", l->n - SHOWN_MAX);
		g_string_append_c(lines, '\n');
	}
	return state;
}

static Line line_begin(void) { return (Line){ g_string_new(""), 0 }; }

static guint32 look_at_quorum(const MagmaMap *map, const MagmaLive *live, GString *lines)
{
	Line l = line_begin();

	if (!live->lease && live->waits && *live->waits) {      /* it knows better */
		line_add(&l, "%s", live->waits);
		return line_end(&l, MAGMA_UNSAFE_NO_QUORUM, "", lines);
	}
	for (guint i = 0; !live->lease && i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		if (o->flags & MAGMA_VOLCANO_VOTER && o->id != live->self)
			line_add(&l, "%s", o->name);
	}
	if (!live->lease && !l.n)     /* it votes alone, and has not begun */
		line_add(&l, "%s", name_of(map, live->self));
	return line_end(&l, MAGMA_UNSAFE_NO_QUORUM, "waits for the volcanos that vote: ", lines);
}

/* Whoever has all of it: the owner, and copies that counted when they went. */
static guint32 look_at_waiting(const MagmaMap *map, GString *lines)
{
	Line l = line_begin();

	for (guint i = 0; i < map->slices->len; i++) {
		const MagmaSlice *s = slice_at(map, i);
		if (!is_down(map, s->owner))
			continue;
		g_autoptr(GString) who = g_string_new(name_of(map, s->owner));
		for (guint k = 0; k < s->ncopies; k++)
			if (s->copies[k].in_sync)
				g_string_append_printf(who, " or %s", name_of(map, s->copies[k].volcano));
		line_add(&l, "slice %u of %s waits for %s", s->id, name_of(map, s->home), who->str);
	}
	return line_end(&l, MAGMA_UNSAFE_WAITING, "", lines);
}

static guint32 look_at_down(const MagmaMap *map, GString *lines)
{
	Line l = line_begin();

	for (guint i = 0; i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		if (o->flags & MAGMA_VOLCANO_DOWN)
			line_add(&l, "%s", o->name);
	}
	return line_end(&l, MAGMA_UNSAFE_DOWN, "", lines);
}

guint magma_slice_copies(const MagmaMap *map, const MagmaSlice *s)
{
	guint n = 1;

	if (is_down(map, s->owner))
		return 0;
	for (guint k = 0; k < s->ncopies; k++)
		n += s->copies[k].in_sync && !is_down(map, s->copies[k].volcano);
	return n;
}

static guint32 look_at_copies(const MagmaMap *map, GString *lines)
{
	Line few = line_begin(), made = line_begin();

	for (guint i = 0; i < map->slices->len; i++) {
		const MagmaSlice *s = slice_at(map, i);
		guint n = magma_slice_copies(map, s);
		if (n && n < map->copies_wanted)
			line_add(&few, "slice %u of %s has %u of %u copies", s->id, name_of(map, s->home), n, map->copies_wanted);
		for (guint k = 0; n && k < s->ncopies; k++)
			if (!s->copies[k].in_sync && !is_down(map, s->copies[k].volcano))
				line_add(&made, "slice %u of %s on %s", s->id, name_of(map, s->home), name_of(map, s->copies[k].volcano));
	}
	guint32 states = line_end(&few, MAGMA_UNSAFE_DEGRADED, "", lines);
	return states | line_end(&made, MAGMA_UNSAFE_HEALING, "", lines);
}

static gboolean counts(const MagmaSlice *s, guint16 volcano)
{
	for (guint k = 0; s && k < s->ncopies; k++)
		if (s->copies[k].volcano == volcano)
			return s->copies[k].in_sync;
	return FALSE;
}

static guint32 look_at_lag(const MagmaMap *map, const MagmaLive *live, GString *lines)
{
	Line l = line_begin();

	for (guint i = 0; i < live->ncopies; i++) {
		const MagmaCopyState *c = &live->copies[i];
		const MagmaSlice *s = magma_map_slice_by_id(map, c->slice);
		if (!counts(s, c->volcano) || (c->phase == MAGMA_COPY_IN_SYNC && c->lag <= LAG_MANY && !c->slow))
			continue;
		line_add(&l, "slice %u of %s on %s", c->slice, name_of(map, s->home), name_of(map, c->volcano));
	}
	return line_end(&l, MAGMA_UNSAFE_LAGGING, "", lines);
}

static guint32 look_at_conflicts(const MagmaMap *map, const MagmaLive *live, GString *lines)
{
	Line l = line_begin();

	for (guint i = 0; i < live->nconflicts; i++) {
		char time[MAGMA_CONFLICT_TIME_TEXT];
		line_add(&l, "/.dht/conflicts/%s/%s", name_of(map, live->self), magma_conflict_time_text(live->conflicts[i].time, time));
	}
	return line_end(&l, MAGMA_UNSAFE_CONFLICTS, "", lines);
}

static guint32 look_at_damage(const MagmaMap *map, const MagmaLive *live, GString *lines)
{
	Line l = line_begin();

	for (guint i = 0; i < live->nunopened; i++) {
		const MagmaSlice *s = magma_map_slice_by_id(map, live->unopened[i]);
		if (s)
			line_add(&l, "slice %u of %s on %s (its store cannot be opened)", s->id, name_of(map, s->home), name_of(map, live->self));
	}
	for (guint i = 0; i < live->ndamaged; i++) {
		const MagmaSlice *s = magma_map_slice_by_id(map, live->damaged[i]);
		if (s)
			line_add(&l, "slice %u of %s on %s", s->id, name_of(map, s->home), name_of(map, live->self));
	}
	return line_end(&l, MAGMA_UNSAFE_DAMAGED, "", lines);
}

static guint32 look_at_room(const MagmaMap *map, const MagmaLive *live, GString *lines)
{
	Line l = line_begin();

	if (live->full)
		line_add(&l, "%s", name_of(map, live->self));
	return line_end(&l, MAGMA_UNSAFE_FULL, "only what frees space is accepted by ", lines);
}

guint32 magma_unsafe(const MagmaMap *map, const MagmaLive *live, GString *lines)
{
	guint32 states = look_at_quorum(map, live, lines);

	states |= look_at_waiting(map, lines);
	states |= look_at_down(map, lines);
	states |= look_at_copies(map, lines);
	states |= look_at_lag(map, live, lines);
	states |= look_at_conflicts(map, live, lines);
	states |= look_at_damage(map, live, lines);
	return states | look_at_room(map, live, lines);
}

char *magma_unsafe_names(guint32 states)
{
	GString *out = g_string_new("");

	for (guint i = 0; i < G_N_ELEMENTS(NAMES); i++)
		if (states >> i & 1)
			g_string_append_printf(out, "%s%s", out->len ? ", " : "", NAMES[i]);
	return g_string_free(out, FALSE);
}

/* ---- what a volcano is ---- */

static void role_add(GString *out, const char *role, const char *of)
{
	g_string_append_printf(out, "%s%s%s", out->len ? ", " : "", role, of);
}

static const char *state_role(const MagmaVolcano *v)
{
	if (v->flags & MAGMA_VOLCANO_DOWN)
		return "down";
	if (v->state == MAGMA_JOINING)
		return v->offered ? "joining" : "witness";
	return "";
}

char *magma_volcano_roles(const MagmaMap *map, const MagmaVolcano *v, guint16 leader)
{
	GString *out = g_string_new(state_role(v));

	for (guint i = 0; i < map->slices->len; i++) {
		const MagmaSlice *s = slice_at(map, i);
		if (s->owner == v->id && s->home == v->id)
			role_add(out, "owner", "");
		else if (s->owner == v->id)
			role_add(out, "acts for ", name_of(map, s->home));
		for (guint k = 0; k < s->ncopies; k++)
			if (s->copies[k].volcano == v->id)
				role_add(out, "copy of ", name_of(map, s->home));
	}
	if (v->flags & MAGMA_VOLCANO_VOTER)
		role_add(out, "voter", "");
	if (v->id == leader)
		role_add(out, "leader", "");
	return g_string_free(out, FALSE);
}
