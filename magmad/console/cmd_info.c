/* What this volcano and its network are doing: lava, status, print cache, debug channels. */
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include "magmad/channels.h"
#include "libmagma/base/err.h"
#include <config.h>
#include <errno.h>
#include <string.h>

#define MIB(n) ((n) >> 20)

/* ---- lava ---- */

typedef struct {
	gboolean answered, alive;
	guint64 keys, used;
} Live;

typedef struct Lava Lava;
typedef struct { Lava *lava; guint index; } Ask;

struct Lava {
	Task task;
	MagmaMap *map;
	Live *live;                   /* by index in map->volcanos */
	Ask *asks;
	guint waiting;
};

static void lava_free(Task *t)
{
	Lava *l = (Lava *)t;

	magma_map_unref(l->map);
	g_free(l->live);
	g_free(l->asks);
	g_free(l);
}

static void volcano_text(GString *out, const MagmaMap *map, const MagmaVolcano *v, const Live *live)
{
	char addr[MAGMA_ADDR_TEXT], lo[MAGMA_KEY_HEX], hi[MAGMA_KEY_HEX];
	const MagmaSlice *s = magma_map_home(map, v->id);

	g_string_append_printf(out, "   node: %s (%s) %s\n", v->name, v->fqdn, magma_addr_format(&v->addr, addr));
	g_string_append_printf(out, "  alive: %s%s\n", live->alive ? "yes" : "no", s ? "" : " (joining)");
	g_string_append_printf(out, "  start: %s\n", s ? magma_key_to_hex(&s->range.lo, lo) : "-");
	g_string_append_printf(out, "   stop: %s\n", s ? magma_key_to_hex(&s->range.hi, hi) : "-");
	if (live->alive)
		g_string_append_printf(out, "   keys: %" G_GUINT64_FORMAT "\n", live->keys);
	else
		g_string_append(out, "   keys: ?\n");
	g_string_append_printf(out, " bwidth: %u Kbit/s\n", v->bandwidth);
	if (live->alive)
		g_string_append_printf(out, "storage: %" G_GUINT64_FORMAT " / %" G_GUINT64_FORMAT " MByte\n", text_mbyte(live->used), MIB(v->offered));
	else
		g_string_append_printf(out, "storage: ? / %" G_GUINT64_FORMAT " MByte\n", MIB(v->offered));
}

static void lava_text(Lava *l)
{
	g_autofree char *copies = text_copies(l->map->copies_kept, l->map->copies_wanted);
	g_autoptr(GString) out = g_string_new("");
	guint n = l->map->volcanos->len;

	g_string_append_printf(out, "Lava topology: epoch %" G_GUINT64_FORMAT ", %u volcano%s, %s\n", l->map->epoch, n, n == 1 ? "" : "s", copies);
	for (guint i = 0; i < n; i++) {
		g_string_append_c(out, '\n');
		volcano_text(out, l->map, l->map->volcanos->pdata[i], &l->live[i]);
	}
	session_answer(l->task.session, out->str);
}

static void volcano_json(JsonBuilder *b, const MagmaMap *map, const MagmaVolcano *v, const Live *live)
{
	const MagmaSlice *s = magma_map_home(map, v->id);
	char text[MAGMA_ADDR_TEXT];

	json_builder_begin_object(b);
	json_put_int(b, "id", v->id);
	json_put_text(b, "node", v->name, strlen(v->name));
	json_put_text(b, "fqdn", v->fqdn, strlen(v->fqdn));
	magma_addr_format(&v->addr, text);
	json_put_text(b, "address", text, strlen(text));
	json_builder_set_member_name(b, "alive");
	json_builder_add_boolean_value(b, live->alive);
	json_builder_set_member_name(b, "state");
	json_builder_add_string_value(b, s ? "active" : "joining");
	json_builder_set_member_name(b, "coordinator");
	json_builder_add_boolean_value(b, v->id == map->coordinator);
	if (s) {
		json_put_text(b, "start", magma_key_to_hex(&s->range.lo, text), MAGMA_KEY_HEX - 1);
		json_put_text(b, "stop", magma_key_to_hex(&s->range.hi, text), MAGMA_KEY_HEX - 1);
	}
	if (live->alive) {
		json_put_int(b, "keys", live->keys);
		json_put_int(b, "used", live->used);
	}
	json_put_int(b, "bandwidth", v->bandwidth);
	json_put_int(b, "offered", v->offered);
	json_builder_end_object(b);
}

static void lava_json(Lava *l)
{
	JsonBuilder *b = session_json_new();
	char network[33];

	for (guint i = 0; i < sizeof l->map->network; i++)
		g_snprintf(network + 2 * i, 3, "%02x", l->map->network[i]);
	json_put_int(b, "epoch", l->map->epoch);
	json_put_text(b, "network", network, 32);
	json_put_int(b, "copies_kept", l->map->copies_kept);
	json_put_int(b, "copies_wanted", l->map->copies_wanted);
	json_builder_set_member_name(b, "volcanos");
	json_builder_begin_array(b);
	for (guint i = 0; i < l->map->volcanos->len; i++)
		volcano_json(b, l->map, l->map->volcanos->pdata[i], &l->live[i]);
	json_builder_end_array(b);
	session_json(l->task.session, b);
}

static void lava_show(Lava *l)
{
	if (l->task.session->json)
		lava_json(l);
	else
		lava_text(l);
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
	}
	if (--l->waiting == 0 && l->task.session)
		lava_show(l);
	task_unref(&l->task);
}

static const MagmaMap *map_or_error(ConsoleSession *s)
{
	const MagmaMap *map = volcano_map(s->console->cfg.volcano);

	if (!map)
		session_error(s, s->console->name, EAGAIN, "has no lava map yet: it is still joining");
	return map;
}

gboolean cmd_lava(ConsoleSession *s, char **args)
{
	const MagmaMap *map = map_or_error(s);

	if (!map)
		return TRUE;
	Lava *l = g_new0(Lava, 1);
	guint n = map->volcanos->len;
	l->map = magma_map_ref((MagmaMap *)map);
	l->live = g_new0(Live, n);
	l->asks = g_new0(Ask, n);
	/* one more than there are: answers that come at once do not end it before all are asked */
	l->waiting = n + 1;
	task_begin(&l->task, s, lava_free);
	task_ref(&l->task);
	for (guint i = 0; i < n; i++) {
		l->asks[i] = (Ask){ l, i };
		task_ref(&l->task);
		volcano_ask_status(s->console->cfg.volcano, ((const MagmaVolcano *)map->volcanos->pdata[i])->id, on_status, &l->asks[i]);
	}
	if (--l->waiting == 0)
		lava_show(l);
	task_unref(&l->task);
	return FALSE;
}

/* ---- status, print cache ---- */

typedef struct { const char *name; guint64 value; } Number;

static void put_numbers(JsonBuilder *b, const Number *n, guint count)
{
	for (guint i = 0; i < count; i++)
		json_put_int(b, n[i].name, n[i].value);
}

static void status_json(ConsoleSession *s, const VolcanoStats *v, const StoreUsage *u, const MagmaMap *map)
{
	JsonBuilder *b = session_json_new();
	const Number numbers[] = {
		{ "volcano", volcano_id(s->console->cfg.volcano) }, { "epoch", map ? map->epoch : 0 }, { "copies_kept", map ? map->copies_kept : 0 },
		{ "copies_wanted", map ? map->copies_wanted : 0 }, { "uptime", (guint64)v->uptime / G_USEC_PER_SEC }, { "clients", v->clients }, { "opens", v->opens },
		{ "operations_running", v->ops_running }, { "operations_done", v->ops_done }, { "forwarded", v->forwarded }, { "replies_held", v->replies_held },
		{ "marks", v->marks }, { "commits", v->commits }, { "orphans", v->orphans }, { "dirty", v->dirty }, { "suspects", v->suspects },
		{ "scrubbed_entries", v->scrubbed_entries }, { "scrubbed_flares", v->scrubbed_flares }, { "scrubbed_links", v->scrubbed_links },
		{ "scrubbed_contents", v->scrubbed_contents }, { "flares", u->flares },
		{ "disk_total", u->total }, { "disk_free", u->free }, { "disk_available", u->avail }, { "used", u->used }, { "journal_bytes", u->journal_bytes },
		{ "journal_index", u->journal_index }, { "durable_index", u->durable_index }, { "cache_rows", u->cache_rows }, { "cache_bytes", u->cache_bytes },
		{ "console_sessions", s->console->sessions->len },
	};

	json_put_text(b, "name", s->console->name, strlen(s->console->name));
	json_put_text(b, "version", PACKAGE_VERSION, strlen(PACKAGE_VERSION));
	json_put_text(b, "state", v->state, strlen(v->state));
	json_put_text(b, "note", v->note, strnlen(v->note, sizeof v->note));
	put_numbers(b, numbers, G_N_ELEMENTS(numbers));
	json_builder_set_member_name(b, "disk_low");
	json_builder_add_boolean_value(b, u->low);
	json_builder_set_member_name(b, "operations");
	json_builder_begin_object(b);
	for (guint i = 0; i < MAGMA_OP_LIMIT; i++)
		if (v->op_count[i] && magma_op_info(i))
			json_put_int(b, magma_op_info(i)->name, v->op_count[i]);
	json_builder_end_object(b);
	session_json(s, b);
}

static char *hit_rate(const StoreUsage *u)
{
	guint64 asked = u->cache_hits + u->cache_misses;

	return asked ? g_strdup_printf("%.1f%% of %" G_GUINT64_FORMAT " reads were in it", 100.0 * (double)u->cache_hits / (double)asked, asked)
		: g_strdup("nothing was read yet");
}

#define N "%" G_GUINT64_FORMAT

static void status_text(ConsoleSession *s, const VolcanoStats *v, const StoreUsage *u, const MagmaMap *map)
{
	g_autofree char *uptime = text_duration((guint64)v->uptime / G_USEC_PER_SEC);
	g_autofree char *copies = map ? text_copies(map->copies_kept, map->copies_wanted) : g_strdup("-");
	g_autofree char *hits = hit_rate(u);
	g_autoptr(GString) out = g_string_new("");

	g_string_append_printf(out, "     state: %s%s%s\n", v->state, v->note[0] ? ", " : "", v->note);
	g_string_append_printf(out, "     epoch: " N "\n", map ? map->epoch : 0);
	g_string_append_printf(out, "    uptime: %s\n", uptime);
	g_string_append_printf(out, "    copies: %s\n", copies);
	g_string_append_printf(out, "   clients: " N "\n", v->clients);
	g_string_append_printf(out, "     opens: " N "\n", v->opens);
	g_string_append_printf(out, "operations: " N " done, " N " running, " N " forwarded, " N " replies held\n", v->ops_done, v->ops_running, v->forwarded, v->replies_held);
	g_string_append_printf(out, "     marks: " N ", commits " N ", orphans " N ", dirty " N "\n", v->marks, v->commits, v->orphans, v->dirty);
	g_string_append_printf(out, "     scrub: " N " flares to be counted%s; put right: " N " entries, " N " flares, " N " link counts, " N " contents\n", v->suspects,
		v->scrubbing_contents ? ", looking through the contents" : "", v->scrubbed_entries, v->scrubbed_flares, v->scrubbed_links, v->scrubbed_contents);
	g_string_append_printf(out, "   journal: " N " MByte, index " N ", durable " N "\n", text_mbyte(u->journal_bytes), u->journal_index, u->durable_index);
	g_string_append_printf(out, "     cache: " N " rows, " N " MByte, %s\n", u->cache_rows, text_mbyte(u->cache_bytes), hits);
	g_string_append_printf(out, "      disk: " N " MByte used by " N " flares, " N " of " N " MByte available%s\n", text_mbyte(u->used), u->flares, MIB(u->avail), MIB(u->total),
		u->low ? ", LOW: only what frees space is accepted" : "");
	session_answer(s, out->str);
}

gboolean cmd_status(ConsoleSession *s, char **args)
{
	Store *store = s->console->cfg.store;
	VolcanoStats v = { 0 };
	StoreUsage u = { 0 };

	volcano_stats(s->console->cfg.volcano, &v);
	store->vt->usage(store, &u);
	if (!v.state)
		v.state = "starting";
	if (s->json)
		status_json(s, &v, &u, volcano_map(s->console->cfg.volcano));
	else
		status_text(s, &v, &u, volcano_map(s->console->cfg.volcano));
	return TRUE;
}

gboolean cmd_print_cache(ConsoleSession *s, char **args)
{
	Store *store = s->console->cfg.store;
	StoreUsage u = { 0 };

	store->vt->usage(store, &u);
	if (s->json) {
		const Number numbers[] = { { "rows", u.cache_rows }, { "bytes", u.cache_bytes }, { "limit", s->console->cfg.cache_bytes }, { "hits", u.cache_hits },
			{ "misses", u.cache_misses }, { "open_batch_rows", u.open_batch_rows }, { "batches", u.batches } };
		JsonBuilder *b = session_json_new();
		put_numbers(b, numbers, G_N_ELEMENTS(numbers));
		session_json(s, b);
		return TRUE;
	}
	g_autofree char *hits = hit_rate(&u);
	session_answerf(s, "   rows: " N "\n  bytes: " N " of " N "\n   hits: %s\n  batch: " N " rows not yet in sqlite, " N " batches written", u.cache_rows, u.cache_bytes,
		s->console->cfg.cache_bytes, hits, u.open_batch_rows, u.batches);
	return TRUE;
}

/* ---- debug channels ---- */

static gboolean channel_on(const ConsoleSession *s, const Channel *c) { return magma_trace_on(s->console->cfg.trace, c->letter); }

static void debug_json(ConsoleSession *s)
{
	JsonBuilder *b = session_json_new();

	json_builder_set_member_name(b, "channels");
	json_builder_begin_array(b);
	for (guint i = 0; i < CHANNELS_COUNT; i++) {
		json_builder_begin_object(b);
		json_put_text(b, "letter", &CHANNELS[i].letter, 1);
		json_put_text(b, "name", CHANNELS[i].name, strlen(CHANNELS[i].name));
		json_builder_set_member_name(b, "on");
		json_builder_add_boolean_value(b, channel_on(s, &CHANNELS[i]));
		json_builder_end_object(b);
	}
	json_builder_end_array(b);
	session_json(s, b);
}

gboolean cmd_print_debug(ConsoleSession *s, char **args)
{
	g_autoptr(GString) out = g_string_new("");

	if (s->json) {
		debug_json(s);
		return TRUE;
	}
	for (guint i = 0; i < CHANNELS_COUNT; i++)
		g_string_append_printf(out, "%c [%c] %s\n", CHANNELS[i].letter, channel_on(s, &CHANNELS[i]) ? '*' : ' ', CHANNELS[i].name);
	session_answer(s, out->str);
	return TRUE;
}

static gboolean switch_channels(ConsoleSession *s, const char *letters, gboolean on)
{
	MagmaTrace *trace = s->console->cfg.trace;
	guint64 mask = 0;
	char unknown;

	if (!channels_parse(letters, &mask, &unknown)) {
		g_autofree char *text = g_strdup_printf("no such debug channel; the channels are %s", channels_letters());
		session_error(s, letters, EINVAL, text);
		return TRUE;
	}
	trace->on = on ? trace->on | mask : trace->on & ~mask;
	g_message("console: %s: debug %s %s", s->peer, on ? "on" : "off", letters);
	return cmd_print_debug(s, NULL);
}

gboolean cmd_debug_on(ConsoleSession *s, char **args) { return switch_channels(s, args[0], TRUE); }
gboolean cmd_debug_off(ConsoleSession *s, char **args) { return switch_channels(s, args[0], FALSE); }
