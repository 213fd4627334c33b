/* The network: lava, and heal. Both ask every volcano for what it knows, and show it beside the map. */
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <string.h>

#define N "%" G_GUINT64_FORMAT

typedef struct {
	gboolean alive;
	guint64 keys, used;
} Live;

typedef struct {
	guint16 volcano;
	MagmaConflict conflict;
} Held;

typedef struct Lava Lava;
typedef struct { Lava *lava; guint index; } Ask;

struct Lava {
	Task task;
	void (*show)(Lava *l);
	MagmaMap *map;
	Live *live;                   /* by index in map->volcanos */
	GArray *copies;               /* MagmaCopyState, as the owners tell it */
	GArray *conflicts;            /* Held, as those tell it who hold them */
	Ask *asks;
	guint waiting;
	guint16 leader;
};

/* Phases, for people and for scripts. */
static const struct { const char *text, *token; gboolean moving; } PHASES[] = {
	[MAGMA_COPY_AWAY] = { "away", "away", FALSE }, [MAGMA_COPY_ATTACHING] = { "attaching", "attaching", FALSE },
	[MAGMA_COPY_LOG] = { "catching up from the journal", "journal", TRUE }, [MAGMA_COPY_ROWS] = { "being filled", "rows", TRUE },
	[MAGMA_COPY_CONTENTS] = { "comparing contents", "contents", TRUE }, [MAGMA_COPY_CAUGHT_UP] = { "caught up", "caught_up", FALSE },
	[MAGMA_COPY_IN_SYNC] = { "in sync", "in_sync", FALSE }, [MAGMA_COPY_DIGESTS] = { "comparing rows", "digests", TRUE },
};
G_STATIC_ASSERT(G_N_ELEMENTS(PHASES) == MAGMA_COPY_STATES);

static void lava_free(Task *t)
{
	Lava *l = (Lava *)t;

	magma_map_unref(l->map);
	g_array_unref(l->copies);
	g_array_unref(l->conflicts);
	g_free(l->live);
	g_free(l->asks);
	g_free(l);
}

static const MagmaSlice *slice_at(const MagmaMap *map, guint i) { return &g_array_index(map->slices, MagmaSlice, i); }

static const char *name_of(const MagmaMap *map, guint16 id)
{
	const MagmaVolcano *v = magma_map_by_id(map, id);

	return v ? v->name : "?";
}

static gboolean is_down(const MagmaMap *map, guint16 id)
{
	const MagmaVolcano *v = magma_map_by_id(map, id);

	return !v || v->flags & MAGMA_VOLCANO_DOWN;
}

/* NULL: the owner has not said. */
static const MagmaCopyState *copy_state(const Lava *l, guint16 slice, guint16 volcano)
{
	for (guint i = 0; i < l->copies->len; i++) {
		const MagmaCopyState *c = &g_array_index(l->copies, MagmaCopyState, i);
		if (c->slice == slice && c->volcano == volcano)
			return c;
	}
	return NULL;
}

/* ---- text ---- */

static void progress_text(GString *out, const MagmaCopyState *st)
{
	guint64 left = st->total > st->done ? st->total - st->done : 0;

	g_string_append_printf(out, ", " N " / " N " MByte, " N " KByte/s", text_mbyte(st->done), text_mbyte(MAX(st->total, st->done)), st->rate >> 10);
	if (st->rate) {
		g_autofree char *time = text_duration(left / st->rate + 1);
		g_string_append_printf(out, ", %s to go", time);
	}
}

/* "gromit, being filled, 12 / 260 MByte, 31744 KByte/s, 00:00:08 to go, lag 210" */
static void copy_text(GString *out, const Lava *l, const MagmaSlice *s, const MagmaCopy *c)
{
	const MagmaCopyState *st = copy_state(l, s->id, c->volcano);

	g_string_append(out, name_of(l->map, c->volcano));
	if (is_down(l->map, c->volcano)) {
		g_string_append(out, ", down\n");
		return;
	}
	if (!st) {
		g_string_append(out, c->in_sync ? ", in sync\n" : ", not in sync\n");
		return;
	}
	g_string_append_printf(out, ", %s", PHASES[st->phase].text);
	if (PHASES[st->phase].moving)
		progress_text(out, st);
	g_string_append_printf(out, ", lag " N "\n", st->lag);
}

static void slice_text(GString *out, const Lava *l, const MagmaSlice *s)
{
	const char *waits = is_down(l->map, s->owner) ? ", waits for its owner" : "", *acting = s->owner != s->home ? ", acting" : "";

	g_string_append_printf(out, "  slice: %u of %s, epoch " N "%s%s\n", s->id, name_of(l->map, s->home), s->epoch, acting, waits);
	for (guint k = 0; k < s->ncopies; k++) {
		g_string_append(out, " mirror: ");
		copy_text(out, l, s, &s->copies[k]);
	}
}

static void volcano_text(GString *out, const Lava *l, const MagmaVolcano *v, const Live *live)
{
	char addr[MAGMA_ADDR_TEXT], lo[MAGMA_KEY_HEX], hi[MAGMA_KEY_HEX];
	const MagmaSlice *s = magma_map_home(l->map, v->id);
	g_autofree char *role = magma_volcano_roles(l->map, v, l->leader);

	g_string_append_printf(out, "   node: %s (%s) %s\n", v->name, v->fqdn, magma_addr_format(&v->addr, addr));
	g_string_append_printf(out, "  alive: %s%s\n", live->alive ? "yes" : "no", s ? "" : " (joining)");
	g_string_append_printf(out, "  start: %s\n", s ? magma_key_to_hex(&s->range.lo, lo) : "-");
	g_string_append_printf(out, "   stop: %s\n", s ? magma_key_to_hex(&s->range.hi, hi) : "-");
	if (live->alive)
		g_string_append_printf(out, "   keys: " N "\n", live->keys);
	else
		g_string_append(out, "   keys: ?\n");
	g_string_append_printf(out, " bwidth: %u Kbit/s\n", v->bandwidth);
	if (live->alive)
		g_string_append_printf(out, "storage: " N " / " N " MByte\n", text_mbyte(live->used), v->offered >> 20);
	else
		g_string_append_printf(out, "storage: ? / " N " MByte\n", v->offered >> 20);
	g_string_append_printf(out, "   role: %s\n", role[0] ? role : "-");
	for (guint i = 0; i < l->map->slices->len; i++)
		if (slice_at(l->map, i)->owner == v->id)
			slice_text(out, l, slice_at(l->map, i));
}

/* Behind everything that operators know. */
static void unsafe_text(GString *out, const Lava *l)
{
	g_autoptr(GString) lines = g_string_new("");

	if (volcano_unsafe(l->task.session->console->cfg.volcano, lines))
		g_string_append_printf(out, "\n%s", lines->str);
}

/* "/.dht/conflicts/gromit/20260131T091244Z: compared, 3 flares differ", one for each. */
static void conflicts_lines(const Lava *l, const char *head, GString *out)
{
	for (guint i = 0; i < l->conflicts->len; i++) {
		const Held *h = &g_array_index(l->conflicts, Held, i);
		g_autofree char *text = magma_conflict_text(&h->conflict);
		char time[MAGMA_CONFLICT_TIME_TEXT];
		g_string_append_printf(out, "%s/.dht/conflicts/%s/%s: %s\n", head, name_of(l->map, h->volcano), magma_conflict_time_text(h->conflict.time, time), text);
	}
}

static void lava_text(Lava *l)
{
	g_autofree char *copies = text_copies(l->map->copies_kept, l->map->copies_wanted);
	g_autoptr(GString) out = g_string_new("");
	guint n = l->map->volcanos->len;

	g_string_append_printf(out, "Lava topology: epoch " N ", %u volcano%s, %s\n", l->map->epoch, n, n == 1 ? "" : "s", copies);
	for (guint i = 0; i < n; i++) {
		g_string_append_c(out, '\n');
		volcano_text(out, l, l->map->volcanos->pdata[i], &l->live[i]);
	}
	unsafe_text(out, l);
	conflicts_lines(l, "\nCONFLICT: ", out);
	session_answer(l->task.session, out->str);
}

/* ---- JSON ---- */

static void put_flag(JsonBuilder *b, const char *name, gboolean value)
{
	json_builder_set_member_name(b, name);
	json_builder_add_boolean_value(b, value);
}

static void put_string(JsonBuilder *b, const char *name, const char *value) { json_put_text(b, name, value, strlen(value)); }

static void copy_json(JsonBuilder *b, const Lava *l, const MagmaSlice *s, const MagmaCopy *c)
{
	const MagmaCopyState *st = copy_state(l, s->id, c->volcano);

	json_builder_begin_object(b);
	put_string(b, "node", name_of(l->map, c->volcano));
	put_flag(b, "in_sync", c->in_sync);
	put_string(b, "state", is_down(l->map, c->volcano) ? "down" : st ? PHASES[st->phase].token : "unknown");
	if (st) {
		json_put_int(b, "lag", st->lag);
		json_put_int(b, "done", st->done);
		json_put_int(b, "total", MAX(st->total, st->done));
		json_put_int(b, "rate", st->rate);
		if (PHASES[st->phase].moving && st->rate)
			json_put_int(b, "seconds_to_go", (st->total > st->done ? st->total - st->done : 0) / st->rate + 1);
	}
	json_builder_end_object(b);
}

static void slice_json(JsonBuilder *b, const Lava *l, const MagmaSlice *s)
{
	char hex[MAGMA_KEY_HEX];

	json_builder_begin_object(b);
	json_put_int(b, "slice", s->id);
	put_string(b, "start", magma_key_to_hex(&s->range.lo, hex));
	put_string(b, "stop", magma_key_to_hex(&s->range.hi, hex));
	put_string(b, "home", name_of(l->map, s->home));
	put_string(b, "owner", name_of(l->map, s->owner));
	json_put_int(b, "epoch", s->epoch);
	json_put_int(b, "copies", magma_slice_copies(l->map, s));
	put_flag(b, "waits", is_down(l->map, s->owner));
	json_builder_set_member_name(b, "mirrors");
	json_builder_begin_array(b);
	for (guint k = 0; k < s->ncopies; k++)
		copy_json(b, l, s, &s->copies[k]);
	json_builder_end_array(b);
	json_builder_end_object(b);
}

static void slices_json(JsonBuilder *b, const Lava *l)
{
	json_builder_set_member_name(b, "slices");
	json_builder_begin_array(b);
	for (guint i = 0; i < l->map->slices->len; i++)
		slice_json(b, l, slice_at(l->map, i));
	json_builder_end_array(b);
}

static void volcano_json(JsonBuilder *b, const Lava *l, const MagmaVolcano *v, const Live *live)
{
	const MagmaSlice *s = magma_map_home(l->map, v->id);
	g_autofree char *role = magma_volcano_roles(l->map, v, l->leader);
	char text[MAGMA_ADDR_TEXT];

	json_builder_begin_object(b);
	json_put_int(b, "id", v->id);
	put_string(b, "node", v->name);
	put_string(b, "fqdn", v->fqdn);
	put_string(b, "address", magma_addr_format(&v->addr, text));
	put_flag(b, "alive", live->alive);
	put_string(b, "state", s ? "active" : "joining");
	put_flag(b, "down", (v->flags & MAGMA_VOLCANO_DOWN) != 0);
	put_flag(b, "voter", (v->flags & MAGMA_VOLCANO_VOTER) != 0);
	put_flag(b, "leader", v->id == l->leader);
	put_flag(b, "coordinator", v->id == l->map->coordinator);
	put_string(b, "role", role);
	if (s) {
		put_string(b, "start", magma_key_to_hex(&s->range.lo, text));
		put_string(b, "stop", magma_key_to_hex(&s->range.hi, text));
	}
	if (live->alive) {
		json_put_int(b, "keys", live->keys);
		json_put_int(b, "used", live->used);
	}
	json_put_int(b, "bandwidth", v->bandwidth);
	json_put_int(b, "offered", v->offered);
	json_builder_end_object(b);
}

static void conflicts_json(JsonBuilder *b, const Lava *l)
{
	static const char *const phases[MAGMA_CONFLICT_PHASES] = { "waiting", "comparing", "compared", "unreadable" };

	json_builder_set_member_name(b, "conflicts");
	json_builder_begin_array(b);
	for (guint i = 0; i < l->conflicts->len; i++) {
		const Held *h = &g_array_index(l->conflicts, Held, i);
		char time[MAGMA_CONFLICT_TIME_TEXT];
		json_builder_begin_object(b);
		put_string(b, "node", name_of(l->map, h->volcano));
		put_string(b, "time", magma_conflict_time_text(h->conflict.time, time));
		put_string(b, "state", phases[h->conflict.phase]);
		json_put_int(b, "differing", h->conflict.differing);
		json_builder_end_object(b);
	}
	json_builder_end_array(b);
}

static void lava_json(Lava *l)
{
	JsonBuilder *b = session_json_new();
	char network[33];

	for (guint i = 0; i < sizeof l->map->network; i++)
		g_snprintf(network + 2 * i, 3, "%02x", l->map->network[i]);
	json_put_int(b, "epoch", l->map->epoch);
	put_string(b, "network", network);
	json_put_int(b, "copies_kept", l->map->copies_kept);
	json_put_int(b, "copies_wanted", l->map->copies_wanted);
	json_put_unsafe(b, l->task.session);
	json_builder_set_member_name(b, "volcanos");
	json_builder_begin_array(b);
	for (guint i = 0; i < l->map->volcanos->len; i++)
		volcano_json(b, l, l->map->volcanos->pdata[i], &l->live[i]);
	json_builder_end_array(b);
	slices_json(b, l);
	conflicts_json(b, l);
	session_json(l->task.session, b);
}

static void lava_show(Lava *l)
{
	if (l->task.session->json)
		lava_json(l);
	else
		lava_text(l);
}

/* ---- heal ---- */

/* Copies that do not count and could: those on volcanos that are up. */
static guint copies_made(const MagmaMap *map)
{
	guint n = 0;

	for (guint i = 0; i < map->slices->len; i++)
		for (guint k = 0; k < slice_at(map, i)->ncopies; k++)
			n += !slice_at(map, i)->copies[k].in_sync && !is_down(map, slice_at(map, i)->copies[k].volcano);
	return n;
}

static void heal_text(Lava *l)
{
	g_autoptr(GString) out = g_string_new("");
	guint made = copies_made(l->map);

	for (guint i = 0; i < l->map->slices->len; i++) {
		const MagmaSlice *s = slice_at(l->map, i);
		g_string_append_printf(out, "slice %u of %s: owner %s, %u of %u copies\n", s->id, name_of(l->map, s->home), name_of(l->map, s->owner), magma_slice_copies(l->map, s),
			l->map->copies_wanted);
		for (guint k = 0; k < s->ncopies; k++) {
			g_string_append(out, "  ");
			copy_text(out, l, s, &s->copies[k]);
		}
	}
	g_string_append_printf(out, "\n -- copies being made: %u\n", made);
	session_answer(l->task.session, out->str);
}

static void heal_show(Lava *l)
{
	if (!l->task.session->json) {
		heal_text(l);
		return;
	}
	JsonBuilder *b = session_json_new();
	json_put_int(b, "copies_wanted", l->map->copies_wanted);
	json_put_int(b, "healing", copies_made(l->map));
	slices_json(b, l);
	session_json(l->task.session, b);
}

/* ---- asking all ---- */

static void take_copies(Lava *l, MagmaBytes bytes)
{
	MagmaReader r = magma_reader(bytes.data, bytes.len);

	while (r.left) {
		MagmaCopyState c;
		magma_get_copy_state(&r, &c);
		if (r.error)
			return;
		g_array_append_val(l->copies, c);
	}
}

static void take_conflicts(Lava *l, guint16 volcano, MagmaBytes bytes)
{
	MagmaReader r = magma_reader(bytes.data, bytes.len);

	while (r.left) {
		Held h = { .volcano = volcano };
		magma_get_conflict(&r, &h.conflict);
		if (r.error)
			return;
		g_array_append_val(l->conflicts, h);
	}
}

static void show(Lava *l)
{
	l->show(l);
	task_finish(&l->task);
}

static void on_status(void *user, gboolean alive, const struct magma_rep_status *st)
{
	Ask *a = user;
	Lava *l = a->lava;
	Live *live = &l->live[a->index];

	live->alive = alive;
	if (alive && st) {
		live->keys = st->keys;
		live->used = st->used;
		take_copies(l, st->copies);
		take_conflicts(l, ((const MagmaVolcano *)l->map->volcanos->pdata[a->index])->id, st->conflicts);
	}
	if (--l->waiting == 0 && l->task.session)
		show(l);
	task_unref(&l->task);
}

static gboolean ask_all(ConsoleSession *s, void (*how)(Lava *l))
{
	Volcano *v = s->console->cfg.volcano;
	const MagmaMap *map = volcano_map(v);
	VolcanoStats stats = { 0 };

	if (!map) {
		session_error(s, s->console->name, EAGAIN, "has no lava map yet: it is still joining");
		return TRUE;
	}
	volcano_stats(v, &stats);
	Lava *l = g_new0(Lava, 1);
	guint n = map->volcanos->len;
	l->show = how;
	l->map = magma_map_ref((MagmaMap *)map);
	l->leader = stats.leader;
	l->live = g_new0(Live, n);
	l->copies = g_array_new(FALSE, FALSE, sizeof(MagmaCopyState));
	l->conflicts = g_array_new(FALSE, FALSE, sizeof(Held));
	l->asks = g_new0(Ask, n);
	/* one more than there are: answers that come at once do not end it before all are asked */
	l->waiting = n + 1;
	task_begin(&l->task, s, lava_free);
	task_ref(&l->task);
	for (guint i = 0; i < n; i++) {
		l->asks[i] = (Ask){ l, i };
		task_ref(&l->task);
		volcano_ask_status(v, ((const MagmaVolcano *)l->map->volcanos->pdata[i])->id, on_status, &l->asks[i]);
	}
	if (--l->waiting == 0)
		show(l);
	task_unref(&l->task);
	return FALSE;
}

gboolean cmd_lava(ConsoleSession *s, char **args) { return ask_all(s, lava_show); }
gboolean cmd_heal(ConsoleSession *s, char **args) { return ask_all(s, heal_show); }

/* ---- conflicts ---- */

static void conflicts_show(Lava *l)
{
	if (l->task.session->json) {
		JsonBuilder *b = session_json_new();
		conflicts_json(b, l);
		session_json(l->task.session, b);
		return;
	}
	g_autoptr(GString) out = g_string_new("");
	conflicts_lines(l, "", out);
	g_string_append_printf(out, "%s -- histories set aside: %u\n", out->len ? "\n" : "", l->conflicts->len);
	session_answer(l->task.session, out->str);
}

typedef struct {
	Task task;
	char *what;
} Clearing;

static void clearing_free(Task *t)
{
	Clearing *c = (Clearing *)t;

	g_free(c->what);
	g_free(c);
}

static void on_cleared(void *user, int error)
{
	Clearing *c = user;
	ConsoleSession *s = c->task.session;

	g_message("console: conflicts clear %s: %s", c->what, error ? magma_strerror(error) : "done");
	if (s && error)
		session_error(s, c->what, error, error == ENOENT ? "nothing of that name is set aside: conflicts lists what is" : magma_strerror(error));
	else if (s && !s->json)
		session_answer(s, "cleared");
	if (s && !error)
		session_ok(s);
	if (s)
		task_finish(&c->task);
	task_unref(&c->task);
}

static gboolean clear_one(ConsoleSession *s, const char *name, const char *when)
{
	Volcano *v = s->console->cfg.volcano;
	const MagmaVolcano *o = volcano_map(v) ? magma_map_by_name(volcano_map(v), name) : NULL;
	guint64 time;

	if (!o) {
		session_error(s, name, ENOENT, "no volcano of that name: lava lists them");
		return TRUE;
	}
	if (!magma_conflict_time_parse(when, &time)) {
		session_error(s, when, EINVAL, "no such time: it looks like 20260131T091244Z; conflicts lists them");
		return TRUE;
	}
	Clearing *c = g_new0(Clearing, 1);
	c->what = g_strdup_printf("%s %s", name, when);
	task_begin(&c->task, s, clearing_free);
	task_ref(&c->task);
	volcano_conflict_clear(v, o->id, time, on_cleared, c);
	return FALSE;
}

gboolean cmd_conflicts(ConsoleSession *s, char **args)
{
	if (!args[0])
		return ask_all(s, conflicts_show);
	if (args[1] && args[2] && g_str_equal(args[0], "clear"))
		return clear_one(s, args[1], args[2]);
	session_error(s, NULL, EINVAL, "conflicts lists them; conflicts clear NICKNAME TIME removes one for good");
	return TRUE;
}
