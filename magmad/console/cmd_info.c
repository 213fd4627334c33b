/* What this volcano is doing: status, print cache, debug channels. */
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include "magmad/channels.h"
#include "libmagma/base/err.h"
#include <config.h>
#include <errno.h>
#include <string.h>

#define MIB(n) ((n) >> 20)

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
		{ "scrubbed_contents", v->scrubbed_contents }, { "rewritten_places", v->rewritten }, { "flares", u->flares },
		{ "disk_total", u->total }, { "disk_free", u->free }, { "disk_available", u->avail }, { "used", u->used }, { "journal_bytes", u->journal_bytes },
		{ "journal_index", u->journal_index }, { "durable_index", u->durable_index }, { "cache_rows", u->cache_rows }, { "cache_bytes", u->cache_bytes },
		{ "map_changes", v->map_changes }, { "map_change_last_us", (guint64)v->map_change_last },
		{ "map_change_most_us", (guint64)v->map_change_most }, { "console_sessions", s->console->sessions->len },
	};

	json_put_text(b, "name", s->console->name, strlen(s->console->name));
	json_put_text(b, "version", PACKAGE_VERSION, strlen(PACKAGE_VERSION));
	json_put_text(b, "state", v->state, strlen(v->state));
	json_put_text(b, "note", v->note, strnlen(v->note, sizeof v->note));
	put_numbers(b, numbers, G_N_ELEMENTS(numbers));
	json_put_unsafe(b, s);
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

/* "    unsafe: degraded: ...", one for each; none: "    unsafe: nothing" */
static void unsafe_lines(ConsoleSession *s, GString *out)
{
	g_autoptr(GString) lines = g_string_new("");

	volcano_unsafe(s->console->cfg.volcano, lines);
	g_auto(GStrv) all = g_strsplit(lines->len ? lines->str : "nothing\n", "\n", -1);
	for (guint i = 0; all[i] && all[i][0]; i++)
		g_string_append_printf(out, "    unsafe: %s\n", all[i]);
}

static void status_text(ConsoleSession *s, const VolcanoStats *v, const StoreUsage *u, const MagmaMap *map)
{
	g_autofree char *uptime = text_duration((guint64)v->uptime / G_USEC_PER_SEC);
	g_autofree char *copies = map ? text_copies(map->copies_kept, map->copies_wanted) : g_strdup("-");
	g_autofree char *hits = hit_rate(u);
	g_autoptr(GString) out = g_string_new("");

	g_string_append_printf(out, "     state: %s%s%s\n", v->state, v->note[0] ? ", " : "", v->note);
	g_string_append_printf(out, "     epoch: " N "\n", map ? map->epoch : 0);
	if (v->map_changes)
		g_string_append_printf(out, "   changes: " N " of the map from here, the last took %.1f ms, the longest %.1f ms\n", v->map_changes,
			(double)v->map_change_last / 1000, (double)v->map_change_most / 1000);
	g_string_append_printf(out, "    uptime: %s\n", uptime);
	g_string_append_printf(out, "    copies: %s\n", copies);
	g_string_append_printf(out, "   clients: " N "\n", v->clients);
	g_string_append_printf(out, "     opens: " N "\n", v->opens);
	g_string_append_printf(out, "operations: " N " done, " N " running, " N " forwarded, " N " replies held\n", v->ops_done, v->ops_running, v->forwarded, v->replies_held);
	g_string_append_printf(out, "     marks: " N ", commits " N ", orphans " N ", dirty " N "\n", v->marks, v->commits, v->orphans, v->dirty);
	g_string_append_printf(out, "     scrub: " N " flares to be counted%s; put right: " N " entries, " N " flares, " N " link counts, " N " contents, " N " places rewritten from copies\n", v->suspects,
		v->scrubbing_contents ? ", looking through the contents" : "", v->scrubbed_entries, v->scrubbed_flares, v->scrubbed_links, v->scrubbed_contents, v->rewritten);
	g_string_append_printf(out, "   journal: " N " MByte, index " N ", durable " N "\n", text_mbyte(u->journal_bytes), u->journal_index, u->durable_index);
	g_string_append_printf(out, "     cache: " N " rows, " N " MByte, %s\n", u->cache_rows, text_mbyte(u->cache_bytes), hits);
	g_string_append_printf(out, "      disk: " N " MByte used by " N " flares, " N " of " N " MByte available%s\n", text_mbyte(u->used), u->flares, MIB(u->avail), MIB(u->total),
		u->low ? ", LOW: only what frees space is accepted" : "");
	unsafe_lines(s, out);
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
