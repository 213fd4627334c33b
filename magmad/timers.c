#include "magmad/timers.h"

#define TIMERS_PER_TURN 256           /* of a burst: sockets are served in between */

typedef struct {
	gint64 due;                   /* g_get_monotonic_time() */
	guint64 order;                /* of two due at once the older is first */
	guint handle, at;             /* at: index in the heap */
	void (*fn)(void *arg);
	void *arg;
} Timer;

struct Timers {
	GSource *source;
	GPtrArray *heap;              /* Timer *, the earliest first */
	GHashTable *by_handle;
	guint last_handle;
	guint64 order;
};

typedef struct { GSource base; Timers *timers; } TimerSource;

static gboolean before(const Timer *a, const Timer *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void place(Timers *t, guint i, Timer *x)
{
	t->heap->pdata[i] = x;
	x->at = i;
}

static void sift_up(Timers *t, guint i)
{
	Timer *x = t->heap->pdata[i];

	for (; i > 0 && before(x, t->heap->pdata[(i - 1) / 2]); i = (i - 1) / 2)
		place(t, i, t->heap->pdata[(i - 1) / 2]);
	place(t, i, x);
}

static void sift_down(Timers *t, guint i)
{
	Timer *x = t->heap->pdata[i];

	for (guint child; (child = 2 * i + 1) < t->heap->len; i = child) {
		if (child + 1 < t->heap->len && before(t->heap->pdata[child + 1], t->heap->pdata[child]))
			child++;
		if (!before(t->heap->pdata[child], x))
			break;
		place(t, i, t->heap->pdata[child]);
	}
	place(t, i, x);
}

static void take_out(Timers *t, Timer *x)
{
	guint i = x->at;
	Timer *last = t->heap->pdata[t->heap->len - 1];

	g_ptr_array_set_size(t->heap, t->heap->len - 1);
	if (last != x) {
		place(t, i, last);
		sift_up(t, i);
		sift_down(t, last->at);
	}
	g_hash_table_remove(t->by_handle, GUINT_TO_POINTER(x->handle));
}

/* In microseconds from now; -1: none waits. */
static gint64 next_due(const Timers *t)
{
	return t->heap->len ? MAX(((Timer *)t->heap->pdata[0])->due - g_get_monotonic_time(), 0) : -1;
}

/* Not g_source_set_ready_time(): it writes to the loop's eventfd each time, two system calls for a timer that is set by the loop's own thread. */
static gboolean prepare(GSource *source, gint *timeout)
{
	gint64 due = next_due(((TimerSource *)source)->timers);

	*timeout = due < 0 ? -1 : (gint)MIN((due + 999) / 1000, G_MAXINT);
	return due == 0;
}

static gboolean check(GSource *source) { return next_due(((TimerSource *)source)->timers) == 0; }

static gboolean dispatch(GSource *source, GSourceFunc unused, gpointer data)
{
	Timers *t = ((TimerSource *)source)->timers;
	gint64 now = g_get_monotonic_time();

	for (guint n = 0; n < TIMERS_PER_TURN && t->heap->len; n++) {
		Timer *x = t->heap->pdata[0];
		if (x->due > now)
			break;
		take_out(t, x);
		void (*fn)(void *) = x->fn;
		void *arg = x->arg;
		g_free(x);
		fn(arg);
		if (g_source_is_destroyed(source))
			return G_SOURCE_REMOVE;        /* fn freed us */
	}
	return G_SOURCE_CONTINUE;
}

Timers *timers_new(GMainContext *ctx)
{
	static GSourceFuncs funcs = { .prepare = prepare, .check = check, .dispatch = dispatch };
	Timers *t = g_new0(Timers, 1);

	t->heap = g_ptr_array_new();
	t->by_handle = g_hash_table_new(NULL, NULL);
	t->source = g_source_new(&funcs, sizeof(TimerSource));
	((TimerSource *)t->source)->timers = t;
	g_source_set_name(t->source, "timers");
	g_source_attach(t->source, ctx);
	return t;
}

void timers_free(Timers *t)
{
	if (!t)
		return;
	g_source_destroy(t->source);
	g_source_unref(t->source);
	for (guint i = 0; i < t->heap->len; i++)
		g_free(t->heap->pdata[i]);
	g_ptr_array_unref(t->heap);
	g_hash_table_unref(t->by_handle);
	g_free(t);
}

guint timers_add(Timers *t, gint64 delay, void (*fn)(void *arg), void *arg)
{
	Timer *x = g_new0(Timer, 1);

	do
		x->handle = ++t->last_handle;
	while (x->handle == 0 || g_hash_table_contains(t->by_handle, GUINT_TO_POINTER(x->handle)));
	x->due = g_get_monotonic_time() + MAX(delay, 0);
	x->order = t->order++;
	x->fn = fn;
	x->arg = arg;
	g_hash_table_insert(t->by_handle, GUINT_TO_POINTER(x->handle), x);
	g_ptr_array_add(t->heap, x);
	sift_up(t, t->heap->len - 1);
	return x->handle;
}

void timers_cancel(Timers *t, guint handle)
{
	Timer *x = g_hash_table_lookup(t->by_handle, GUINT_TO_POINTER(handle));

	if (!x)
		return;
	take_out(t, x);
	g_free(x);
}

guint timers_pending(const Timers *t) { return t->heap->len; }
