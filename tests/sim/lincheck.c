#include "tests/sim/lincheck.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
	guint who;
	guint called, returned;       /* instants; returned G_MAXUINT: never */
	guint until;                  /* without an answer: it happened before that instant or never; G_MAXUINT: whenever */
	guint8 *op;
} LinOp;

struct LinHistory {
	LinModel model;
	void *first_state;
	GPtrArray *ops;
	guint now;
};

LinHistory *lin_new(const LinModel *model, const void *first_state)
{
	LinHistory *h = g_new0(LinHistory, 1);

	h->model = *model;
	h->first_state = g_memdup2(first_state, model->state_size);
	h->ops = g_ptr_array_new();
	return h;
}

void lin_free(LinHistory *h)
{
	for (guint i = 0; i < h->ops->len; i++) {
		g_free(((LinOp *)h->ops->pdata[i])->op);
		g_free(h->ops->pdata[i]);
	}
	g_ptr_array_unref(h->ops);
	g_free(h->first_state);
	g_free(h);
}

guint lin_call(LinHistory *h, guint who, const void *op)
{
	LinOp *o = g_new0(LinOp, 1);

	*o = (LinOp){ who, h->now++, G_MAXUINT, G_MAXUINT, g_memdup2(op, h->model.op_size) };
	g_ptr_array_add(h->ops, o);
	return h->ops->len - 1;
}

void lin_return(LinHistory *h, guint n, const void *op)
{
	LinOp *o = h->ops->pdata[n];

	memcpy(o->op, op, h->model.op_size);
	o->returned = h->now++;
}

void lin_again(LinHistory *h, guint n)
{
	const LinOp *of = h->ops->pdata[n];
	LinOp *o = g_new0(LinOp, 1);

	*o = (LinOp){ of->who, of->called, G_MAXUINT, h->now++, g_memdup2(of->op, h->model.op_size) };
	g_ptr_array_add(h->ops, o);
}

guint lin_count(const LinHistory *h) { return h->ops->len; }
void *lin_op(LinHistory *h, guint n) { return ((LinOp *)h->ops->pdata[n])->op; }
static gboolean answered(const LinOp *o) { return o->returned != G_MAXUINT; }
static guint ends(const LinOp *o) { return MIN(o->returned, o->until); }

/* --- the search --- */

#define HEAD 0
/* Node 1 + 2n is the call of n, 2 + 2n its return: a list in the order of time, without what is taken as done. */
static guint call_node(guint n) { return 1 + 2 * n; }
static guint return_node(guint n) { return 2 + 2 * n; }
static guint op_of(guint node) { return (node - 1) / 2; }
static gboolean is_call(guint node) { return node % 2; }

typedef struct {
	const LinHistory *h;
	guint *next, *prev;           /* 0: the head, and the end */
	guint64 *done;                /* bits of ops */
	guint words;
	guint8 *state;
	guint *stack;                 /* ops in the order in which they are taken to have happened */
	gboolean *never;              /* each of them: it is taken to have never happened */
	guint8 *states;               /* before each of them */
	guint depth, best;
	guint *best_stack;
	GHashTable *seen;             /* done and state, behind one another */
	gsize key_size;
} Search;

static guint8 *search_key(const Search *s)
{
	guint8 *key = g_malloc(s->key_size);

	memcpy(key, s->done, s->words * 8);
	memcpy(key + s->words * 8, s->state, s->h->model.state_size);
	return key;
}

static gsize compare_size;            /* of the search that runs: GHashTable passes no user data */

static guint key_hash(gconstpointer p)
{
	const guint8 *b = p;
	guint64 h = 0xcbf29ce484222325;

	for (gsize i = 0; i < compare_size; i++)
		h = (h ^ b[i]) * 0x100000001b3;
	return (guint)(h ^ h >> 32);
}

static gboolean key_equal(gconstpointer a, gconstpointer b) { return memcmp(a, b, compare_size) == 0; }
static GHashTable *seen_new(void) { return g_hash_table_new_full(key_hash, key_equal, g_free, NULL); }

static void unlink_node(Search *s, guint n)
{
	s->next[s->prev[n]] = s->next[n];
	if (s->next[n])
		s->prev[s->next[n]] = s->prev[n];
}

static void relink_node(Search *s, guint n)
{
	s->next[s->prev[n]] = n;
	if (s->next[n])
		s->prev[s->next[n]] = n;
}

static void lift(Search *s, guint op)
{
	unlink_node(s, call_node(op));
	if (ends(s->h->ops->pdata[op]) != G_MAXUINT)
		unlink_node(s, return_node(op));
}

static void unlift(Search *s, guint op)
{
	if (ends(s->h->ops->pdata[op]) != G_MAXUINT)
		relink_node(s, return_node(op));
	relink_node(s, call_node(op));
}

static gint by_time(gconstpointer a, gconstpointer b) { return ((const guint *)a)[0] < ((const guint *)b)[0] ? -1 : 1; }

static void make_list(Search *s)
{
	guint n = s->h->ops->len, count = 0, at = HEAD;
	g_autofree guint (*events)[2] = g_malloc0_n(2 * n + 1, sizeof *events);

	for (guint i = 0; i < n; i++) {
		const LinOp *o = s->h->ops->pdata[i];
		events[count][0] = o->called;
		events[count++][1] = call_node(i);
		if (ends(o) == G_MAXUINT)
			continue;
		events[count][0] = ends(o);
		events[count++][1] = return_node(i);
	}
	qsort(events, count, sizeof *events, by_time);
	for (guint i = 0; i < count; i++) {
		s->next[at] = events[i][1];
		s->prev[events[i][1]] = at;
		at = events[i][1];
	}
	s->next[at] = 0;
}

/* Takes op as the next one, or as one that never was, if that leads to something new. */
static gboolean take(Search *s, guint op, gboolean never)
{
	const LinModel *m = &s->h->model;
	const LinOp *o = s->h->ops->pdata[op];

	memcpy(s->states + s->depth * m->state_size, s->state, m->state_size);
	if (!never && !m->step(o->op, answered(o), s->state)) {
		memcpy(s->state, s->states + s->depth * m->state_size, m->state_size);
		return FALSE;
	}
	s->done[op / 64] |= (guint64)1 << op % 64;
	if (!g_hash_table_add(s->seen, search_key(s))) {
		s->done[op / 64] &= ~((guint64)1 << op % 64);
		memcpy(s->state, s->states + s->depth * m->state_size, m->state_size);
		return FALSE;
	}
	s->never[s->depth] = never;
	s->stack[s->depth++] = op;
	lift(s, op);
	if (s->depth > s->best) {
		s->best = s->depth;
		memcpy(s->best_stack, s->stack, s->depth * sizeof *s->stack);
	}
	return TRUE;
}

/* The last one taken did not. Returns its node. */
static guint give_back(Search *s)
{
	guint op = s->stack[--s->depth];

	memcpy(s->state, s->states + s->depth * s->h->model.state_size, s->h->model.state_size);
	s->done[op / 64] &= ~((guint64)1 << op % 64);
	unlift(s, op);
	return call_node(op);
}

static LinResult search(Search *s, guint must, guint64 steps_max)
{
	guint taken = 0, at = s->next[HEAD];

	while (taken < must) {
		if (!steps_max--)
			return LIN_UNKNOWN;
		if (at && is_call(at)) {
			if (take(s, op_of(at), FALSE)) {
				taken += answered(s->h->ops->pdata[op_of(at)]);
				at = s->next[HEAD];
			} else {
				at = s->next[at];
			}
			continue;
		}
		if (at && !answered(s->h->ops->pdata[op_of(at)]) && take(s, op_of(at), TRUE)) {
			at = s->next[HEAD];
			continue;
		}
		/* something has returned before anything else can happen (or nothing is left): not so */
		guint back;
		do {
			if (!s->depth)
				return LIN_BAD;
			back = give_back(s);
			taken -= answered(s->h->ops->pdata[op_of(back)]);
		} while (s->never[s->depth]);         /* that was the last thing it could be */
		at = s->next[back];
	}
	return LIN_GOOD;
}

static void explain(const Search *s, GString *why)
{
	const LinHistory *h = s->h;
	g_autofree guint *place = g_new0(guint, h->ops->len + 1);

	for (guint i = 0; i < s->best; i++)
		place[s->best_stack[i]] = i + 1;
	for (guint i = 0; i < h->ops->len; i++) {
		const LinOp *o = h->ops->pdata[i];
		g_string_append_printf(why, "\n  [%3u, ", o->called);
		if (answered(o))
			g_string_append_printf(why, "%3u] %u ", o->returned, o->who);
		else
			g_string_append_printf(why, "...] %u ", o->who);
		h->model.describe(o->op, answered(o), why);
		if (place[i])
			g_string_append_printf(why, "   #%u", place[i]);
	}
	g_string_append(why, "\n  (#: the longest order that makes sense)");
}

LinResult lin_check(const LinHistory *h, guint64 steps_max, GString *why)
{
	guint n = h->ops->len, must = 0;
	Search s = { .h = h, .words = n / 64 + 1 };

	for (guint i = 0; i < n; i++)
		must += answered(h->ops->pdata[i]);
	s.next = g_new0(guint, 2 * n + 1);
	s.prev = g_new0(guint, 2 * n + 1);
	s.done = g_new0(guint64, s.words);
	s.state = g_memdup2(h->first_state, h->model.state_size);
	s.stack = g_new0(guint, n + 1);
	s.never = g_new0(gboolean, n + 1);
	s.best_stack = g_new0(guint, n + 1);
	s.states = g_malloc0((n + 1) * h->model.state_size);
	s.key_size = compare_size = s.words * 8 + h->model.state_size;
	s.seen = seen_new();
	make_list(&s);
	LinResult result = search(&s, must, steps_max);
	if (result == LIN_BAD && why)
		explain(&s, why);
	g_hash_table_unref(s.seen);
	g_free(s.next);
	g_free(s.prev);
	g_free(s.done);
	g_free(s.state);
	g_free(s.stack);
	g_free(s.never);
	g_free(s.best_stack);
	g_free(s.states);
	return result;
}
