#include "tests/sim/fsck.h"
#include "magmad/core/rows.h"
#include "tests/sim/memdisk.h"
#include <string.h>

typedef struct {
	guint64 ino;
	guint volcano;
	FlareRow row;
	guint64 entries, cookies, subdirs, refs;
	MagmaFid in;                  /* a directory with an entry that leads here */
	gboolean has_data, visited;
	guint64 data;
} Found;

struct Fsck {
	Cluster *c;
	World *w;
	guint at;                     /* volcano being read */
	Store *store;                 /* of it, where it is the owner */
	GHashTable *flares;           /* ino -> Found */
	GHashTable *cookies;          /* set of "ino/cookie/name" */
	const MagmaMap *map;
};

static Found *found(Fsck *f, guint64 ino) { return g_hash_table_lookup(f->flares, &ino); }

/* Is that row where the map says? */
static void check_place(Fsck *f, const StoreRow *r)
{
	const MagmaVolcano *v = magma_map_route(f->map, &r->rk);

	if (v->addr.ip[3] - 1u != f->at)
		world_fail(f->w, "%s has a row of table %d, ino %" G_GUINT64_FORMAT ", that belongs to %s", cluster_name(f->c, f->at), r->table, magma_be64_load(r->key), v->name);
}

static void see_flare(void *user, const StoreRow *r)
{
	Fsck *f = user;
	Found *x = g_new0(Found, 1);

	check_place(f, r);
	x->ino = magma_be64_load(r->key);
	x->volcano = f->at;
	if (!flare_row_decode(r->val, r->vlen, &x->row) || x->row.attr.fid.ino != x->ino || !magma_key_equal(&x->row.attr.fid.key, &r->rk))
		world_fail(f->w, "the row of flare %" G_GUINT64_FORMAT " is damaged", x->ino);
	if (!g_hash_table_insert(f->flares, &x->ino, x))
		world_fail(f->w, "flare %" G_GUINT64_FORMAT " is there twice", x->ino);
}

static void see_entry(void *user, const StoreRow *r)
{
	Fsck *f = user;
	guint64 dir = magma_be64_load(r->key);
	Found *d = found(f, dir), *x;
	EntryRow e;
	int n = r->klen - 8;
	const char *name = (const char *)r->key + 8;

	check_place(f, r);
	if (!d || !S_ISDIR(d->row.attr.mode))
		world_fail(f->w, "entry %.*s of %" G_GUINT64_FORMAT ", which is no directory", n, name, dir);
	if (!entry_row_decode(r->val, r->vlen, &e))
		world_fail(f->w, "entry %.*s of %" G_GUINT64_FORMAT " is damaged", n, name, dir);
	d->entries++;
	if (!(x = found(f, e.child.ino)))
		world_fail(f->w, "entry %.*s of %" G_GUINT64_FORMAT " leads to %" G_GUINT64_FORMAT ", which is not there", n, name, dir, e.child.ino);
	if ((x->row.attr.mode & S_IFMT) != e.type || !magma_key_equal(&x->row.attr.fid.key, &e.child.key))
		world_fail(f->w, "entry %.*s of %" G_GUINT64_FORMAT " says another type or key than flare %" G_GUINT64_FORMAT, n, name, dir, e.child.ino);
	x->refs++;
	x->in = d->row.attr.fid;
	if (S_ISDIR(e.type))
		d->subdirs++;
	if (e.cookie >= d->row.next_cookie)
		world_fail(f->w, "cookie of %.*s in %" G_GUINT64_FORMAT " will be given again", n, name, dir);
	g_hash_table_add(f->cookies, g_strdup_printf("%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT "/%.*s/%" G_GUINT64_FORMAT, dir, e.cookie, n, name, e.child.ino));
}

static void see_cookie(void *user, const StoreRow *r)
{
	Fsck *f = user;
	guint64 dir = magma_be64_load(r->key);
	Found *d = found(f, dir);
	EntryRow e;
	MagmaBytes name;

	check_place(f, r);
	if (!d || !cookie_row_decode(r->val, r->vlen, &e, &name))
		world_fail(f->w, "a cookie row of %" G_GUINT64_FORMAT " is damaged or nobody's", dir);
	g_autofree char *key = g_strdup_printf("%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT "/%.*s/%" G_GUINT64_FORMAT, dir, magma_be64_load(r->key + 8), (int)name.len, name.data, e.child.ino);
	if (!g_hash_table_contains(f->cookies, key))
		world_fail(f->w, "cookie row %s has no entry", key);
	d->cookies++;
}

static void see_data(void *user, const StoreRow *r)
{
	Fsck *f = user;
	Found *x = found(f, magma_be64_load(r->key));

	check_place(f, r);
	if (!x)
		world_fail(f->w, "inline content of flare %" G_GUINT64_FORMAT ", which is not there", magma_be64_load(r->key));
	x->has_data = TRUE;
	x->data = r->vlen;
}

static void see_xattr(void *user, const StoreRow *r)
{
	Fsck *f = user;
	Found *x = found(f, magma_be64_load(r->key));

	check_place(f, r);
	if (!x || !(x->row.attr.flags & MAGMA_ATTR_HAS_XATTR))
		world_fail(f->w, "extended attribute of flare %" G_GUINT64_FORMAT ", which has none or is not there", magma_be64_load(r->key));
}

static void see_files(Fsck *f)
{
	GHashTableIter it;
	gpointer fid, file;

	g_hash_table_iter_init(&it, MEM(f->store)->disk->files);
	while (g_hash_table_iter_next(&it, &fid, &file)) {
		guint64 ino = ((MagmaFid *)fid)->ino;
		Found *x = found(f, ino);
		if (((MemFile *)file)->live && (!x || x->row.content != CONTENT_FILE || x->volcano != f->at))
			world_fail(f->w, "%s keeps a content file of flare %" G_GUINT64_FORMAT ", which has none there", cluster_name(f->c, f->at), ino);
	}
}

/* Every store of a slice at its owner; one of a volcano that has none yet counts as its own. */
static void each_owner(Fsck *f, void (*fn)(Fsck *f, StoreTable t), StoreTable t)
{
	for (f->at = 0; f->at < CLUSTER_VOLCANOS; f->at++)
		for (guint n = 0; n < cluster_stores(f->c, f->at); n++) {
			guint16 id;
			if (!(f->store = cluster_store_at(f->c, f->at, n, &id)))
				continue;
			const MagmaSlice *sl = magma_map_slice_by_id(f->map, id);
			if (!sl || sl->owner == volcano_id(cluster_volcano(f->c, f->at)))
				fn(f, t);
		}
}

static void read_table(Fsck *f, StoreTable t)
{
	static void (*const see[TAB_COUNT])(void *user, const StoreRow *row) = {
		[TAB_FLARE] = see_flare, [TAB_ENTRY] = see_entry, [TAB_COOKIE] = see_cookie, [TAB_DATA] = see_data, [TAB_XATTR] = see_xattr,
	};

	memstore_each(f->store, t, see[t], f);
}

static void read_files(Fsck *f, StoreTable t) { see_files(f); }

/* --- copies --- */

static void collect_row(void *user, const StoreRow *r) { g_ptr_array_add(user, (gpointer)r->key); }

typedef struct {
	Store *other;
	const char *text;
	guint rows;
} Comparing;

static void compare_row(void *user, const StoreRow *r)
{
	Comparing *c = user;
	const guint8 *val;
	gsize n;

	c->rows++;
	if (c->text)
		return;
	if (c->other->vt->get(c->other, NULL, r->table, r->key, r->klen, &val, &n) != STORE_FOUND)
		c->text = "lacks a row";
	else if (n != r->vlen || (n && memcmp(val, r->val, n) != 0))
		c->text = "has another row";
}

static const char *compare_table(Store *a, Store *b, StoreTable t)
{
	Comparing c = { .other = b };
	g_autoptr(GPtrArray) rows = g_ptr_array_new();

	memstore_each(a, t, compare_row, &c);
	memstore_each(b, t, collect_row, rows);
	return c.text ? c.text : rows->len > c.rows ? "has a row more" : NULL;
}

/* Of a flare whose content is a file, else 0. */
static guint64 content_size(Store *s, guint64 ino)
{
	guint8 k[STORE_KEY_MAX];
	const guint8 *val;
	gsize n;
	FlareRow row;

	if (s->vt->get(s, NULL, TAB_FLARE, k, key_ino(k, ino), &val, &n) != STORE_FOUND || !flare_row_decode(val, n, &row) || row.content != CONTENT_FILE)
		return 0;
	return row.attr.size;
}

/* Behind the size a power cut leaves what it likes, and nobody reads it. Files that only the copy has may be there: whoever becomes owner looks for such (scrub_content.c). */
static const char *compare_files(Store *a, Store *b)
{
	static char text[100];
	GHashTableIter it;
	gpointer fid, file;

	g_hash_table_iter_init(&it, MEM(a)->disk->files);
	while (g_hash_table_iter_next(&it, &fid, &file)) {
		const MemContent *x = ((MemFile *)file)->live;
		const MemFile *other = g_hash_table_lookup(MEM(b)->disk->files, fid);
		const MemContent *y = other ? other->live : NULL;
		guint64 size = content_size(a, ((MagmaFid *)fid)->ino);
		if (!memcontent_equal(x, y, size)) {
			g_snprintf(text, sizeof text, "has another content of file %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes: %" G_GUINT64_FORMAT ", not %" G_GUINT64_FORMAT, ((MagmaFid *)fid)->ino,
				size, y ? memcontent_size(y) : 0, x ? memcontent_size(x) : 0);
			return text;
		}
	}
	return NULL;
}

const char *fsck_compare(Store *owner, Store *copy)
{
	for (StoreTable t = TAB_META; t < TAB_COUNT; t++) {
		const char *text = compare_table(owner, copy, t);
		if (text)
			return text;
	}
	return compare_files(owner, copy);
}

static guint index_of(Cluster *c, guint16 volcano)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (cluster_volcano(c, i) && volcano_id(cluster_volcano(c, i)) == volcano)
			return i;
	return CLUSTER_VOLCANOS;
}

const char *fsck_copies(Cluster *c)
{
	static char out[200];
	const MagmaMap *map = volcano_map(cluster_volcano(c, 0));

	for (guint i = 0; i < map->slices->len; i++) {
		const MagmaSlice *sl = &g_array_index(map->slices, MagmaSlice, i);
		guint owner = index_of(c, sl->owner);
		Store *a = owner < CLUSTER_VOLCANOS ? cluster_store(c, owner, sl->id) : NULL;
		for (guint k = 0; a && k < sl->ncopies; k++) {
			guint at = index_of(c, sl->copies[k].volcano);
			Store *b = at < CLUSTER_VOLCANOS ? cluster_store(c, at, sl->id) : NULL;
			const char *text = !sl->copies[k].in_sync || at == CLUSTER_VOLCANOS ? NULL : b ? fsck_compare(a, b) : "is not there";
			if (text) {
				g_snprintf(out, sizeof out, "slice %u: the copy of %s, compared with that of %s, its owner, %s", sl->id, cluster_name(c, at), cluster_name(c, owner), text);
				return out;
			}
		}
	}
	return NULL;
}

static void check_dir(Fsck *f, Found *x)
{
	const MagmaAttr *a = &x->row.attr;

	if (x->entries != a->size || x->cookies != a->size)
		world_fail(f->w, "directory %" G_GUINT64_FORMAT " has size %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " entries and %" G_GUINT64_FORMAT " cookies",
			x->ino, a->size, x->entries, x->cookies);
	if (a->nlink != 2 + x->subdirs)
		world_fail(f->w, "directory %" G_GUINT64_FORMAT " has %u links and %" G_GUINT64_FORMAT " directories", x->ino, a->nlink, x->subdirs);
	if (x->row.sealed)
		world_fail(f->w, "directory %" G_GUINT64_FORMAT " is sealed and still there", x->ino);
	if (x->refs != (x->ino != MAGMA_ROOT_INO))
		world_fail(f->w, "directory %" G_GUINT64_FORMAT " has %" G_GUINT64_FORMAT " names", x->ino, x->refs);
	if (x->ino != MAGMA_ROOT_INO && x->row.parent.ino != x->in.ino)
		world_fail(f->w, "directory %" G_GUINT64_FORMAT " is in %" G_GUINT64_FORMAT " and believes to be in %" G_GUINT64_FORMAT, x->ino, x->in.ino, x->row.parent.ino);
	guint depth = 0;
	for (Found *up = x; up && up->ino != MAGMA_ROOT_INO; up = found(f, up->row.parent.ino))
		if (depth++ > 1000)
			world_fail(f->w, "directory %" G_GUINT64_FORMAT " is its own ancestor", x->ino);
}

static void check_flare(Fsck *f, Found *x)
{
	const MagmaAttr *a = &x->row.attr;

	if (S_ISDIR(a->mode)) {
		check_dir(f, x);
		return;
	}
	if (a->nlink != x->refs || !x->refs)
		world_fail(f->w, "flare %" G_GUINT64_FORMAT " (mode %o) has %u links and %" G_GUINT64_FORMAT " names", x->ino, a->mode, a->nlink, x->refs);
	gboolean wants_data = S_ISREG(a->mode) && x->row.content == CONTENT_INLINE && a->size;
	if (x->has_data != wants_data || (wants_data && x->data != a->size))
		world_fail(f->w, "flare %" G_GUINT64_FORMAT " of size %" G_GUINT64_FORMAT " has %" G_GUINT64_FORMAT " bytes inline", x->ino, a->size, x->data);
}

Fsck *fsck_run(Cluster *c)
{
	Fsck *f = g_new0(Fsck, 1);
	GHashTableIter it;
	gpointer x;

	f->c = c;
	f->w = cluster_world(c);
	f->flares = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	f->cookies = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	f->map = volcano_map(cluster_volcano(c, 0));
	each_owner(f, read_table, TAB_FLARE);
	each_owner(f, read_table, TAB_ENTRY);
	each_owner(f, read_table, TAB_COOKIE);
	each_owner(f, read_table, TAB_DATA);
	each_owner(f, read_table, TAB_XATTR);
	each_owner(f, read_files, 0);
	if (!found(f, MAGMA_ROOT_INO))
		world_fail(f->w, "the root is gone");
	g_hash_table_iter_init(&it, f->flares);
	while (g_hash_table_iter_next(&it, NULL, &x))
		check_flare(f, x);
	return f;
}

void fsck_free(Fsck *f)
{
	g_hash_table_unref(f->flares);
	g_hash_table_unref(f->cookies);
	g_free(f);
}

gint64 fsck_nlink(Fsck *f, guint64 ino)
{
	Found *x = found(f, ino);

	return x ? (gint64)x->row.attr.nlink : -1;
}

gint64 fsck_entries(Fsck *f, guint64 ino)
{
	Found *x = found(f, ino);

	return x ? (gint64)x->entries : -1;
}

static void any_row(void *user, const StoreRow *row)
{
	char key[MAGMA_KEY_HEX];

	if (!*(char *)user)
		g_snprintf(user, 100, "of %.8s, %" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT, magma_key_to_hex(&row->rk, key), magma_be64_load(row->key), row->klen >= 16 ? magma_be64_load(row->key + 8) : 0);
}

/* Of one store; FALSE: nothing. */
static gboolean store_unsettled(Cluster *c, guint i, Store *s, char *text, gsize n)
{
	static const struct { StoreTable table; const char *what; } left[] = {
		{ TAB_MARK, "a mark" }, { TAB_COMMIT, "a commit" }, { TAB_ORPHAN, "an orphan" }, { TAB_DIRTY, "a write intent" },
	};

	for (guint t = 0; t < G_N_ELEMENTS(left); t++) {
		char row[100] = "";
		memstore_each(s, left[t].table, any_row, row);
		if (row[0]) {
			g_snprintf(text, n, "%s keeps %s (%s)", cluster_name(c, i), left[t].what, row);
			return TRUE;
		}
	}
	return FALSE;
}

const char *fsck_unsettled(Cluster *c)
{
	static char text[200];

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		VolcanoStats st;
		guint16 id;
		if (!cluster_volcano(c, i))
			continue;
		volcano_stats(cluster_volcano(c, i), &st);
		if (st.suspects || st.scrubbing_contents) {
			g_snprintf(text, sizeof text, "%s has %d flares under suspicion%s", cluster_name(c, i), (int)st.suspects, st.scrubbing_contents ? " and looks through its contents" : "");
			return text;
		}
		if (st.marks || st.commits || st.orphans || st.dirty || st.opens) {
			g_snprintf(text, sizeof text, "%s remembers %d marks, %d commits, %d orphans, %d write intents, %d opens", cluster_name(c, i), (int)st.marks, (int)st.commits,
				(int)st.orphans, (int)st.dirty, (int)st.opens);
			return text;
		}
		for (guint n = 0; n < cluster_stores(c, i); n++)
			if (cluster_store_at(c, i, n, &id) && store_unsettled(c, i, cluster_store_at(c, i, n, &id), text, sizeof text))
				return text;
	}
	return NULL;
}
