/* Names an operation over two volcanos holds while it asks the others, and what waits for them. An operation takes its names here all at once and only when all
 * are free, so nobody waits while holding names of this volcano; between volcanos the younger backs off (part.c). */
#include "magmad/core/core.h"

NameKey name_key(guint64 dir, MagmaBytes name)
{
	NameKey k = { .ino = dir, .len = name.len };

	memcpy(k.name, name.data, name.len);
	return k;
}

guint name_key_hash(gconstpointer p)
{
	const NameKey *k = p;
	guint h = g_int64_hash(&k->ino);

	for (guint i = 0; i < k->len; i++)
		h = h * 31 + k->name[i];
	return h;
}

gboolean name_key_equal(gconstpointer pa, gconstpointer pb)
{
	const NameKey *a = pa, *b = pb;

	return a->ino == b->ino && a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

NameLock *name_holder(Slice *sl, guint64 dir, MagmaBytes name)
{
	if (!g_hash_table_size(sl->names))
		return NULL;
	NameKey k = name_key(dir, name);
	return g_hash_table_lookup(sl->names, &k);
}

Mark *mark_on_name(Slice *sl, guint64 dir, MagmaBytes name)
{
	if (!g_hash_table_size(sl->marks_by_name))
		return NULL;
	NameKey k = name_key(dir, name);
	return g_hash_table_lookup(sl->marks_by_name, &k);
}

int name_check(Op *op, guint64 dir, MagmaBytes name)
{
	NameLock *l = name_holder(op->sl, dir, name);
	Mark *m;

	if (l && l->owner != op) {
		op_park(op, &l->wait);
		return WAIT;
	}
	if ((m = mark_on_name(op->sl, dir, name))) {
		op_park(op, &m->wait);
		return WAIT;
	}
	return 0;
}

void name_lock(Op *op, guint64 dir, MagmaBytes name)
{
	Slice *sl = op->sl;
	NameLock *l = name_holder(sl, dir, name);

	if (l) {
		g_assert(l->owner == op);
		return;
	}
	l = g_new0(NameLock, 1);
	l->key = name_key(dir, name);
	l->owner = op;
	g_queue_init(&l->wait.waiters);
	g_hash_table_insert(sl->names, &l->key, l);
	g_ptr_array_add(op->coord->locks, l);
}

void name_unlock_all(Op *op)
{
	GPtrArray *locks = op->coord->locks;

	while (locks->len) {
		NameLock *l = g_ptr_array_remove_index(locks, locks->len - 1);
		g_hash_table_remove(op->sl->names, &l->key);
		waitq_wake(op->sl, &l->wait);
		g_free(l);
	}
}
