#include "tests/sim/world.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRACE_LINES = 200 };

typedef struct {
	gint64 at;
	guint64 order;                /* of events at the same time: as they were made */
	guint handle, owner;
	gboolean keep;
	void (*fn)(void *arg);
	void *arg;
} Event;

/* Of the trace: a text, or a message, which becomes text only when somebody wants to read it. */
typedef struct {
	gint64 at;
	char *text;
	GBytes *msg;
	char from[20], to[20];
} Line;

static World *current;                /* the newest: for on_abort */

struct World {
	void (*on_fail)(void *user);
	void *on_fail_user;
	WorldConfig cfg;
	GRand *rand;
	gint64 now;
	GTree *events;                /* Event -> Event */
	GHashTable *by_handle;
	guint64 order, steps;
	guint next_handle, owner;
	gint64 paused[WORLD_OWNERS];  /* until */
	Line trace[TRACE_LINES];
	guint64 traced, hash;
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

	current = w;
	w->cfg = *cfg;
	w->rand = g_rand_new_with_seed(cfg->seed);
	w->now = WORLD_BEGINS;
	w->hash = 0xcbf29ce484222325;
	w->events = g_tree_new_full(event_cmp, NULL, NULL, g_free);
	w->by_handle = g_hash_table_new(NULL, NULL);
	return w;
}

static void line_clear(Line *l)
{
	g_clear_pointer(&l->text, g_free);
	g_clear_pointer(&l->msg, g_bytes_unref);
}

void world_free(World *w)
{
	GTreeNode *n;

	if (current == w)
		current = NULL;

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
		line_clear(&w->trace[i]);
	g_free(w);
}

GRand *world_rand(World *w) { return w->rand; }
gint64 world_now(World *w) { return w->now; }
guint64 world_steps(World *w) { return w->steps; }
const guint64 *world_turn(World *w) { return &w->steps; }
guint world_pick(World *w, guint n) { return n > 1 ? (guint)g_rand_int_range(w->rand, 0, n) : 0; }
gboolean world_chance(World *w, guint n, guint of) { return n && world_pick(w, of) < n; }

void world_set_late(World *w, guint late_permille) { w->cfg.late_permille = late_permille; }

gint64 world_delay(World *w)
{
	if (world_chance(w, w->cfg.late_permille, 1000))
		return world_pick(w, 1500000);
	return 50 + world_pick(w, 2000);
}

guint world_after(World *w, gint64 delay, gboolean keep, void (*fn)(void *arg), void *arg) { return world_after_for(w, 0, delay, keep, fn, arg); }

guint world_after_for(World *w, guint owner, gint64 delay, gboolean keep, void (*fn)(void *arg), void *arg)
{
	Event *e = g_new(Event, 1);

	*e = (Event){ w->now + MAX(delay, 0), ++w->order, ++w->next_handle, owner, keep, fn, arg };
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

void world_pause(World *w, guint owner, gint64 until) { w->paused[owner] = until; }
gboolean world_paused(World *w, guint owner) { return w->paused[owner] > w->now; }
guint world_owner(World *w) { return w->owner; }
guint64 world_hash(World *w) { return w->hash; }

/* FNV-1a, by words. */
static void hash_bytes(World *w, const void *p, gsize n)
{
	const guint8 *b = p;
	guint64 word;

	for (; n >= sizeof word; b += sizeof word, n -= sizeof word) {
		memcpy(&word, b, sizeof word);
		w->hash = (w->hash ^ word) * 0x100000001b3;
	}
	for (; n; n--)
		w->hash = (w->hash ^ *b++) * 0x100000001b3;
}

/* The next event that may run now: those of stopped processes wait for their end, behind one another as they were. */
static Event *next_event(World *w)
{
	GTreeNode *n;

	while ((n = g_tree_node_first(w->events))) {
		Event *e = g_tree_node_value(n), *moved;
		if (w->paused[e->owner] <= e->at)
			return e;
		moved = g_memdup2(e, sizeof *e);
		moved->at = w->paused[e->owner];
		moved->order = ++w->order;
		g_tree_remove(w->events, e);
		g_tree_insert(w->events, moved, moved);
		g_hash_table_insert(w->by_handle, GUINT_TO_POINTER(moved->handle), moved);
	}
	return NULL;
}

gboolean world_step(World *w)
{
	Event *next = next_event(w);

	if (!next)
		return FALSE;
	Event e = *next;
	g_hash_table_remove(w->by_handle, GUINT_TO_POINTER(e.handle));
	g_tree_remove(w->events, next);
	w->now = e.at;
	w->owner = e.owner;
	w->steps++;
	hash_bytes(w, &e.at, sizeof e.at);
	e.fn(e.arg);
	return TRUE;
}

static Line *line_new(World *w)
{
	Line *l = &w->trace[w->traced++ % TRACE_LINES];

	line_clear(l);
	l->at = w->now;
	return l;
}

static void line_print(const Line *l)
{
	fprintf(stderr, "%4" G_GINT64_FORMAT ".%06" G_GINT64_FORMAT " ", l->at / 1000000, l->at % 1000000);
	if (l->msg) {
		MagmaHdr h;
		MagmaAny any;
		if (magma_msg_decode(g_bytes_get_data(l->msg, NULL), g_bytes_get_size(l->msg), &h, &any) != 0)
			g_assert_not_reached();       /* it was looked at */
		g_autofree char *text = magma_msg_dump(&h, &any);
		fprintf(stderr, "%s > %s %.400s\n", l->from, l->to, text);
	} else {
		fprintf(stderr, "%s\n", l->text);
	}
}

void world_trace(World *w, const char *fmt, ...)
{
	Line *l = line_new(w);
	va_list ap;

	va_start(ap, fmt);
	l->text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	if (w->cfg.verbose)
		line_print(l);
}

void world_trace_message(World *w, const char *from, const char *to, GBytes *msg)
{
	MagmaHdr h;
	MagmaAny any;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (magma_msg_decode(p, n, &h, &any) != 0)
		world_fail(w, "%s sent %s %" G_GSIZE_FORMAT " bytes that are no message", from, to, n);
	hash_bytes(w, p, n);
	Line *l = line_new(w);
	l->msg = g_bytes_ref(msg);
	g_strlcpy(l->from, from, sizeof l->from);
	g_strlcpy(l->to, to, sizeof l->to);
	if (w->cfg.verbose)
		line_print(l);
}

void world_print_trace(World *w)
{
	guint64 first = w->traced > TRACE_LINES ? w->traced - TRACE_LINES : 0;

	if (w->cfg.verbose)
		return;
	for (guint64 i = first; i < w->traced; i++)
		line_print(&w->trace[i % TRACE_LINES]);
}

void world_on_fail(World *w, void (*fn)(void *user), void *user)
{
	w->on_fail = fn;
	w->on_fail_user = user;
}

/* Not safe in general; the program is at its end, and knows the seed by nothing else. */
static void on_abort(int signal_)
{
	signal(SIGABRT, SIG_DFL);
	if (current) {
		world_print_trace(current);
		fprintf(stderr, "seed %u, at %" G_GINT64_FORMAT " us, step %" G_GUINT64_FORMAT ": aborted\nagain: %s\n", current->cfg.seed, current->now, current->steps,
			current->cfg.replay ? current->cfg.replay : "");
	}
	abort();
}

void world_trace_crashes(void) { signal(SIGABRT, on_abort); }

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
	if (w->cfg.replay)
		fprintf(stderr, "again: %s\n", w->cfg.replay);
	fflush(stderr);
	signal(SIGABRT, SIG_DFL);
	abort();
}
