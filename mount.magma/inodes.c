#include "mount.magma/inodes.h"
#include <string.h>

#define FIRST_SHIFT 54                /* 1024 buckets to start with */

static guint bucket_of(const Inodes *t, guint64 ino)
{
	return (guint)((ino * 0x9e3779b97f4a7c15u) >> t->shift);     /* Fibonacci hashing: inos are counters */
}

static void table_grow(Inodes *t)
{
	gsize old = (gsize)1 << (64 - t->shift);
	Inode **was = t->buckets;
	t->shift--;
	t->buckets = g_new0(Inode *, old * 2);
	for (gsize b = 0; b < old; b++) {
		for (Inode *i = was[b], *next; i; i = next) {
			next = i->next;
			Inode **to = &t->buckets[bucket_of(t, i->fid.ino)];
			i->next = *to;
			*to = i;
		}
	}
	g_free(was);
}

static Inode *table_add(Inodes *t, const MagmaFid *fid)
{
	if (t->count >= (guint)1 << (64 - t->shift))
		table_grow(t);
	Inode *i = g_new0(Inode, 1);
	i->fid = *fid;
	Inode **to = &t->buckets[bucket_of(t, fid->ino)];
	i->next = *to;
	*to = i;
	t->count++;
	return i;
}

static void table_remove(Inodes *t, Inode *i)
{
	Inode **at = &t->buckets[bucket_of(t, i->fid.ino)];
	while (*at != i)
		at = &(*at)->next;
	*at = i->next;
	t->count--;
}

void inodes_init(Inodes *t, const MagmaFid *root, const char *root_path)
{
	*t = (Inodes){ .shift = FIRST_SHIFT };
	t->buckets = g_new0(Inode *, (gsize)1 << (64 - FIRST_SHIFT));
	t->root_path = g_strdup(root_path);
	t->root = inode_ref(table_add(t, root));
	t->root->type = S_IFDIR;
}

void inodes_clear(Inodes *t)
{
	gsize n = t->buckets ? (gsize)1 << (64 - t->shift) : 0;
	for (gsize b = 0; b < n; b++) {
		for (Inode *i = t->buckets[b], *next; i; i = next) {
			next = i->next;
			g_free(i->name);
			g_free(i);
		}
	}
	g_free(t->buckets);
	g_free(t->root_path);
	*t = (Inodes){ 0 };
}

Inode *inode_ref(Inode *i)
{
	i->refs++;
	return i;
}

void inode_unref(Inodes *t, Inode *i)
{
	/* a loop, not a recursion: the last child may be what kept a long chain of parents */
	while (i && --i->refs == 0) {
		Inode *parent = i->parent;
		table_remove(t, i);
		g_free(i->name);
		g_free(i);
		i = parent;
	}
}

Inode *inodes_find(const Inodes *t, const MagmaFid *fid)
{
	for (Inode *i = t->buckets[bucket_of(t, fid->ino)]; i; i = i->next)
		if (magma_fid_equal(&i->fid, fid))
			return i;
	return NULL;
}

/* Another mount may have moved directories so that what we remember of two moments forms a ring. */
static gboolean is_above(const Inode *maybe_above, const Inode *i)
{
	for (; i; i = i->parent)
		if (i == maybe_above)
			return TRUE;
	return FALSE;
}

void inodes_move(Inodes *t, Inode *i, Inode *parent, const char *name)
{
	if (i == t->root)
		return;
	if (!i->name || strcmp(i->name, name)) {
		g_free(i->name);
		i->name = g_strdup(name);
	}
	if (i->parent == parent)
		return;
	Inode *was = i->parent;
	i->parent = is_above(i, parent) ? NULL : inode_ref(parent);
	inode_unref(t, was);
}

void inodes_swap(Inodes *t, Inode *a, Inode *b)
{
	if (!a->parent || !b->parent || !a->name || !b->name)
		return;
	g_autofree char *a_name = g_strdup(a->name);
	g_autofree char *b_name = g_strdup(b->name);
	Inode *a_parent = inode_ref(a->parent), *b_parent = inode_ref(b->parent);
	inodes_move(t, a, b_parent, b_name);
	inodes_move(t, b, a_parent, a_name);
	inode_unref(t, a_parent);
	inode_unref(t, b_parent);
}

Inode *inodes_enter(Inodes *t, Inode *parent, const char *name, const MagmaAttr *attr)
{
	Inode *i = inodes_find(t, &attr->fid);
	if (!i)
		i = table_add(t, &attr->fid);
	i->type = attr->mode & S_IFMT;
	i->flags = attr->flags;
	if (i->lookups++ == 0)
		inode_ref(i);
	if (parent)
		inodes_move(t, i, parent, name);
	return i;
}

void inodes_forget(Inodes *t, Inode *i, guint64 n)
{
	if (!i->lookups)
		return;
	i->lookups -= MIN(n, i->lookups);
	if (!i->lookups)
		inode_unref(t, i);
}

gsize inode_path(const Inodes *t, const Inode *i, char *out)
{
	gsize base = t->root_path[1] ? strlen(t->root_path) : 0;     /* "/" adds nothing in front of "/a" */
	gsize total = base;
	for (const Inode *at = i; at && at != t->root && at->name; at = at->parent)
		total += 1 + strlen(at->name);
	if (!total) {
		out[0] = '/';
		return 1;
	}
	/* from the end; what lies behind the limit is left out, so that everybody cuts a long path to the same bytes */
	gsize pos = total;
	for (const Inode *at = i; at && at != t->root && at->name; at = at->parent) {
		gsize len = strlen(at->name);
		pos -= len;
		if (pos < MAGMA_PATH_MAX)
			memcpy(out + pos, at->name, MIN(len, MAGMA_PATH_MAX - pos));
		if (--pos < MAGMA_PATH_MAX)
			out[pos] = '/';
	}
	memcpy(out, t->root_path, base);
	return MIN(total, MAGMA_PATH_MAX);
}

MagmaKey inode_child_key(const Inodes *t, const Inode *dir, const char *name)
{
	char path[MAGMA_PATH_MAX];
	gsize dir_len = inode_path(t, dir, path), name_len = strlen(name);
	gsize slash = dir_len > 1;
	if (dir_len + slash + name_len <= MAGMA_PATH_MAX)
		return magma_key_of_child(path, dir_len, name, name_len);
	if (slash && dir_len < MAGMA_PATH_MAX)
		path[dir_len++] = '/';
	memcpy(path + dir_len, name, MAGMA_PATH_MAX - dir_len);
	return magma_key_of_path(path, MAGMA_PATH_MAX);
}
