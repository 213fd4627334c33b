#include "tests/sim/world.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRACE_LINES = 200 };

typedef struct {
	gint64 at;
	guint64 order;                /* of events at the same time: as they were made */
	guint handle;
	gboolean keep;
	void (*fn)(void *arg);
	void *arg;
} Event;

struct World {
	void (*on_fail)(void *user);
	void *on_fail_user;
	WorldConfig cfg;
	GRand *rand;
	gint64 now;
	GTree *events;                /* Event -> Event */
	GHashTable *by_handle;
	guint64 order, steps;
	guint next_handle;
	char *trace[TRACE_LINES];
	guint64 traced;
};

static gint event_cmp(gconstpointer pa, gconstpointer pb, gpointer user)
{
	const Event *a = pa, *b = pb;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

World *world_new(const WorldConfig *cfg)
{
	World *w = g_new0(World, 1);

	w->cfg = *cfg;
	w->rand = g_rand_new_with_seed(cfg->seed);
	w->now = 1000 * (gint64)1000000;
	w->events = g_tree_new_full(event_cmp, NULL, NULL, g_free);
	w->by_handle = g_hash_table_new(NULL, NULL);
	return w;
}

void world_free(World *w)
{
	GTreeNode *n;

	while ((n = g_tree_node_first(w->events))) {
		Event e = *(Event *)g_tree_node_value(n);
		g_tree_remove(w->events, g_tree_node_value(n));
		if (e.keep)
			e.fn(e.arg);
	}
	g_tree_unref(w->events);
	g_hash_table_unref(w->by_handle);
	g_rand_free(w->rand);
	for (guint i = 0; i < TRACE_LINES; i++)
		g_free(w->trace[i]);
	g_free(w);
}

GRand *world_rand(World *w) { return w->rand; }
gint64 world_now(World *w) { return w->now; }
guint64 world_steps(World *w) { return w->steps; }
const guint64 *world_turn(World *w) { return &w->steps; }
guint world_pick(World *w, guint n) { return n > 1 ? (guint)g_rand_int_range(w->rand, 0, n) : 0; }
gboolean world_chance(World *w, guint n, guint of) { return n && world_pick(w, of) < n; }

gint64 world_delay(World *w)
{
	if (world_chance(w, w->cfg.late_permille, 1000))
		return world_pick(w, 1500000);
	return 50 + world_pick(w, 2000);
}

guint world_after(World *w, gint64 delay, gboolean keep, void (*fn)(void *arg), void *arg)
{
	Event *e = g_new(Event, 1);

	*e = (Event){ w->now + MAX(delay, 0), ++w->order, ++w->next_handle, keep, fn, arg };
	g_tree_insert(w->events, e, e);
	g_hash_table_insert(w->by_handle, GUINT_TO_POINTER(e->handle), e);
	return e->handle;
}

void world_cancel(World *w, guint handle)
{
	Event *e = g_hash_table_lookup(w->by_handle, GUINT_TO_POINTER(handle));

	if (!e)
		return;
	g_hash_table_remove(w->by_handle, GUINT_TO_POINTER(handle));
	g_tree_remove(w->events, e);
}

gboolean world_step(World *w)
{
	GTreeNode *n = g_tree_node_first(w->events);

	if (!n)
		return FALSE;
	Event e = *(Event *)g_tree_node_value(n);
	g_hash_table_remove(w->by_handle, GUINT_TO_POINTER(e.handle));
	g_tree_remove(w->events, g_tree_node_value(n));
	w->now = e.at;
	w->steps++;
	e.fn(e.arg);
	return TRUE;
}

void world_trace(World *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	char **slot = &w->trace[w->traced++ % TRACE_LINES];
	g_free(*slot);
	*slot = g_strdup_printf("%4" G_GINT64_FORMAT ".%06" G_GINT64_FORMAT " %s", w->now / 1000000, w->now % 1000000, text);
	if (w->cfg.verbose)
		fprintf(stderr, "%s\n", *slot);
}

void world_trace_message(World *w, const char *from, const char *to, GBytes *msg)
{
	MagmaHdr h;
	MagmaAny any;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (magma_msg_decode(p, n, &h, &any) != 0) {
		world_fail(w, "%s sent %s %" G_GSIZE_FORMAT " bytes that are no message", from, to, n);
		return;
	}
	g_autofree char *line = magma_msg_dump(&h, &any);
	world_trace(w, "%s > %s %.400s", from, to, line);
}

void world_print_trace(World *w)
{
	guint64 first = w->traced > TRACE_LINES ? w->traced - TRACE_LINES : 0;

	if (w->cfg.verbose)
		return;
	for (guint64 i = first; i < w->traced; i++)
		fprintf(stderr, "%s\n", w->trace[i % TRACE_LINES]);
}

void world_on_fail(World *w, void (*fn)(void *user), void *user)
{
	w->on_fail = fn;
	w->on_fail_user = user;
}

void world_fail_at(World *w, const char *file, int line, const char *fmt, ...)
{
	void (*on_fail)(void *) = w->on_fail;

	w->on_fail = NULL;
	if (on_fail)
		on_fail(w->on_fail_user);
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	world_print_trace(w);
	fprintf(stderr, "%s:%d: seed %u, at %" G_GINT64_FORMAT " us, step %" G_GUINT64_FORMAT ": %s\n", file, line, w->cfg.seed, w->now, w->steps, text);
	fflush(stderr);
	abort();
}
