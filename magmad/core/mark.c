#include "magmad/core/mark.h"

#define SETTLED_KEPT (20 * SECOND)     /* a message lives as long as its session tries: seconds */

guint mark_hash(gconstpointer p)
{
	const Mark *m = p;

	return g_int64_hash(&m->row.op_lo) ^ g_int64_hash(&m->row.target.ino) ^ m->row.kind;
}

gboolean mark_equal(gconstpointer pa, gconstpointer pb)
{
	const Mark *a = pa, *b = pb;

	return a->row.op_hi == b->row.op_hi && a->row.op_lo == b->row.op_lo && a->row.target.ino == b->row.target.ino && a->row.kind == b->row.kind;
}

void mark_free(gpointer p) { g_free(p); }

Mark *mark_find(Slice *sl, guint64 hi, guint64 lo, guint64 ino, MarkKind kind)
{
	Mark probe = { .row = { .op_hi = hi, .op_lo = lo, .target = { .ino = ino }, .kind = kind } };

	return g_hash_table_lookup(sl->marks, &probe);
}

/* --- what is settled for good: a late copy of its PREPARE must not begin it again. In memory, because a restart ends the sessions that could still bring one. --- */

guint settled_hash(gconstpointer p)
{
	const Settled *s = p;

	return g_int64_hash(&s->op_lo) ^ g_int64_hash(&s->ino) ^ (guint)s->kind;
}

gboolean settled_equal(gconstpointer a, gconstpointer b) { return memcmp(a, b, sizeof(Settled)) == 0; }

void settled_remember(Slice *sl, guint64 hi, guint64 lo, guint64 ino, guint8 kind)
{
	Settled s = { hi, lo, ino, kind };

	g_hash_table_add(sl->settled[0], g_memdup2(&s, sizeof s));
}

gboolean settled_already(Slice *sl, guint64 hi, guint64 lo, guint64 ino, guint8 kind)
{
	Settled s = { hi, lo, ino, kind };

	return g_hash_table_contains(sl->settled[0], &s) || g_hash_table_contains(sl->settled[1], &s);
}

void settled_tick(Slice *sl)
{
	GHashTable *old = sl->settled[1];

	if (core_now(sl->v) - sl->settled_since < SETTLED_KEPT)
		return;
	g_hash_table_remove_all(old);
	sl->settled[1] = sl->settled[0];
	sl->settled[0] = old;
	sl->settled_since = core_now(sl->v);
}

gboolean mark_on_a_name(MarkKind kind) { return kind == MARK_LEAVE || kind == MARK_SWAP; }

GPtrArray *marks_of(Slice *sl, guint64 ino) { return g_hash_table_lookup(sl->marks_by_ino, &ino); }

Mark *mark_remember(Slice *sl, const MarkRow *row)
{
	Mark *m = g_new0(Mark, 1);

	m->row = *row;
	m->since = core_now(sl->v);
	g_queue_init(&m->wait.waiters);
	if (mark_on_a_name(row->kind)) {
		m->name = name_key(row->target.ino, row->name);
		/* a committed one holds its name no more, and another may hold it by now (both come back with a start) */
		if (!row->committed)
			g_hash_table_replace(sl->marks_by_name, &m->name, m);
	}
	m->row.name = MAGMA_BYTES(m->name.name, m->name.len);
	g_hash_table_add(sl->marks, m);
	GPtrArray *list = marks_of(sl, row->target.ino);
	if (!list) {
		list = g_ptr_array_new();
		g_hash_table_insert(sl->marks_by_ino, g_memdup2(&row->target.ino, 8), list);
	}
	g_ptr_array_add(list, m);
	return m;
}

void mark_forget(Slice *sl, Mark *m)
{
	GPtrArray *list = marks_of(sl, m->row.target.ino);
	guint64 ino = m->row.target.ino;

	if (mark_on_a_name(m->row.kind) && g_hash_table_lookup(sl->marks_by_name, &m->name) == m)
		g_hash_table_remove(sl->marks_by_name, &m->name);
	g_ptr_array_remove_fast(list, m);
	if (!list->len)
		g_hash_table_remove(sl->marks_by_ino, &ino);
	waitq_wake(sl, &m->wait);
	g_hash_table_remove(sl->marks, m);     /* frees it */
}

void mark_load(Slice *sl, const StoreRow *row)
{
	MarkRow m;

	if (mark_row_decode(row->val, row->vlen, &m) && !mark_find(sl, m.op_hi, m.op_lo, m.target.ino, m.kind)) {
		Mark *mark = mark_remember(sl, &m);
		mark->since = core_now(sl->v) - RESOLVE_AFTER;      /* from before this start: ask at once */
	}
}

Mark *mark_undecided(Slice *sl, guint64 ino, MarkKind kind)
{
	GPtrArray *list = g_hash_table_size(sl->marks_by_ino) ? marks_of(sl, ino) : NULL;

	for (guint i = 0; list && i < list->len; i++) {
		Mark *m = list->pdata[i];
		if (m->row.kind == kind && !m->row.committed)
			return m;
	}
	return NULL;
}

guint mark_count(Slice *sl, guint64 ino, MarkKind kind)
{
	GPtrArray *list = g_hash_table_size(sl->marks_by_ino) ? marks_of(sl, ino) : NULL;
	guint n = 0;

	for (guint i = 0; list && i < list->len; i++)
		n += ((Mark *)list->pdata[i])->row.kind == kind;
	return n;
}

guint mark_count_all(Slice *sl, guint64 ino)
{
	GPtrArray *list = g_hash_table_size(sl->marks_by_ino) ? marks_of(sl, ino) : NULL;

	return list ? list->len : 0;
}

void mark_forget_range(Slice *sl, const MagmaRange *r)
{
	g_autoptr(GPtrArray) out = g_ptr_array_new();
	GHashTableIter it;
	gpointer key;

	g_hash_table_iter_init(&it, sl->marks);
	while (g_hash_table_iter_next(&it, &key, NULL))
		if (magma_range_has(r, &((Mark *)key)->row.target.key))
			g_ptr_array_add(out, key);
	for (guint i = 0; i < out->len; i++)
		mark_forget(sl, out->pdata[i]);
}

/* Links, size and entries of a flare hang on it. The coordinator may have committed, and answered, already. */
gboolean mark_shows(MarkKind kind)
{
	return kind == MARK_REF_ADD || kind == MARK_REF_DROP || kind == MARK_SEAL || kind == MARK_LEAVE || kind == MARK_SWAP;
}

Mark *mark_undecided_any(Slice *sl, guint64 ino)
{
	GPtrArray *list = g_hash_table_size(sl->marks_by_ino) ? marks_of(sl, ino) : NULL;

	for (guint i = 0; list && i < list->len; i++) {
		Mark *m = list->pdata[i];
		if (!m->row.committed && mark_shows(m->row.kind))
			return m;
	}
	return NULL;
}

/* The outcome of something prepared is not known yet: what is read now might still vanish, or be gone already. */
gboolean mark_blocks_flare(Op *op, guint64 ino)
{
	Mark *m = mark_undecided_any(op->sl, ino);

	if (m)
		op_park(op, &m->wait);
	return m != NULL;
}
