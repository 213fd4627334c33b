/* What this volcano knows of the network's safety, for who asks; and in the log, when it changes. */
#include "magmad/core/aside.h"
#include "magmad/core/consensus.h"
#include "magmad/core/holding.h"

#define SETTLED (SECOND)              /* what is over sooner is not worth a line: an owner that has just begun has not met its copies */

guint32 volcano_unsafe(Volcano *v, GString *lines)
{
	if (!v->map)
		return 0;
	g_autoptr(GArray) copies = holdings_copies(v);
	MagmaLive live = { .lease = v->serving && consensus_may_serve(v), .self = v->id, .waits = v->note, .copies = (const MagmaCopyState *)copies->data, .ncopies = copies->len };
	g_autoptr(GArray) conflicts = asides_list(v);
	live.conflicts = (const MagmaConflict *)conflicts->data;
	live.nconflicts = conflicts->len;
	g_autoptr(GArray) damaged = holdings_damage(v, NULL);
	live.damaged = (const guint16 *)(void *)damaged->data;
	live.ndamaged = damaged->len;
	g_autoptr(GArray) unopened = holdings_unopened(v);
	live.unopened = (const guint16 *)(void *)unopened->data;
	live.nunopened = unopened->len;
	StoreUsage u = { 0 };
	if (v->serving && !v->stopping)
		v->store->vt->usage(v->store, &u);
	live.full = u.low;
	return magma_unsafe(v->map, &live, lines);
}

static gboolean has_line(const char *lines, const char *line)
{
	gsize n = strlen(line);

	for (const char *p = lines; p && *p; p = strchr(p, '\n') + 1)
		if (strncmp(p, line, n) == 0 && p[n] == '\n')
			return TRUE;
	return FALSE;
}

static void say_changes(Volcano *v, const char *lines)
{
	g_auto(GStrv) all = g_strsplit(lines, "\n", -1);

	for (guint i = 0; all[i]; i++)
		if (all[i][0] && !has_line(v->unsafe_said, all[i]))
			core_say(v, "%s", all[i]);
	if (!lines[0])
		core_say(v, "all is well: every slice has its copies");
}

void health_tick(Volcano *v)
{
	g_autoptr(GString) lines = g_string_new("");

	if (!v->map || v->stopping)
		return;
	volcano_unsafe(v, lines);
	if (!v->unsafe_seen || strcmp(lines->str, v->unsafe_seen) != 0) {
		g_free(v->unsafe_seen);
		v->unsafe_seen = g_strdup(lines->str);
		v->unsafe_since = core_now(v);
	}
	const char *said = v->unsafe_said ? v->unsafe_said : "";
	if (core_now(v) - v->unsafe_since < SETTLED || strcmp(lines->str, said) == 0)
		return;
	say_changes(v, lines->str);
	g_free(v->unsafe_said);
	v->unsafe_said = g_strdup(lines->str);
}

void health_clear(Volcano *v)
{
	g_free(v->unsafe_seen);
	g_free(v->unsafe_said);
}
