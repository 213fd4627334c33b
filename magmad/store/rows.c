#include "magmad/store/rows.h"
#include <string.h>

#define BUCKETS_MIN 1024
#define EVICT_PER_TURN 4096           /* under a millisecond */
#define NODE_COST (sizeof(RowNode) + sizeof(RowValue) + 32)    /* with the allocator's own */

/* A dirty row by what a scan asks for, so that looking for those of one directory needs no node. */
typedef struct {
	RowNode *node;
	guint64 begin;                /* first eight bytes of the key, zero-filled */
} DirtyRow;

struct Rows {
	RowNode **buckets;
	guint32 mask;
	gsize cache_bytes;
	RowNode *ring;                /* head of the clean nodes; its next is looked at first by the clock */
	GArray *dirty[TAB_COUNT];     /* DirtyRow: the open batch */
	Frozen frozen;
	gboolean has_frozen;
	RowsStats stats;
};

gboolean rows_resident(StoreTable t) { return t == TAB_REPLY || t == TAB_MARK || t == TAB_COMMIT; }

/* Multiply and rotate over words: keys are ours (hashed paths, counters, names), and chains are walked by full compare. */
static guint32 key_hash(guint8 table, const guint8 *p, gsize n)
{
	guint64 h = table * 0x9e3779b97f4a7c15u + n, w;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		h = (h ^ w) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	w = 0;
	memcpy(&w, p, n);
	h = (h ^ w) * 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 32;
}

static guint64 key_begin(const guint8 *key, gsize klen)
{
	guint8 b[8] = { 0 };

	if (klen)
		memcpy(b, key, MIN(klen, sizeof b));
	guint64 v;
	memcpy(&v, b, sizeof v);
	return GUINT64_FROM_BE(v);
}

RowValue *row_value_new(const MagmaKey *rk, const void *p, gsize n)
{
	RowValue *v = g_malloc(sizeof *v + n);

	v->refs = 1;
	v->len = n;
	v->rk = *rk;
	if (n)
		memcpy(v->bytes, p, n);
	return v;
}

static void value_unref(RowValue *v)
{
	if (v && !--v->refs)
		g_free(v);
}

static gsize node_cost(const RowNode *n) { return NODE_COST + n->klen + (n->val ? n->val->len : 0); }

Rows *rows_new(gsize cache_bytes)
{
	Rows *r = g_new0(Rows, 1);

	r->mask = BUCKETS_MIN - 1;
	r->buckets = g_new0(RowNode *, BUCKETS_MIN);
	r->cache_bytes = cache_bytes;
	r->ring = g_new0(RowNode, 1);
	r->ring->prev = r->ring->next = r->ring;
	for (guint t = 0; t < TAB_COUNT; t++)
		r->dirty[t] = g_array_new(FALSE, FALSE, sizeof(DirtyRow));
	r->frozen.rows = g_array_new(FALSE, FALSE, sizeof(FrozenRow));
	return r;
}

static void node_free(RowNode *n)
{
	value_unref(n->val);
	g_slist_free(n->waiters);
	g_free(n);
}

void rows_free(Rows *r)
{
	if (!r)
		return;
	for (guint i = 0; i < r->frozen.rows->len; i++)
		value_unref(g_array_index(r->frozen.rows, FrozenRow, i).val);
	for (guint32 i = 0; i <= r->mask; i++)
		for (RowNode *n = r->buckets[i], *next; n; n = next) {
			next = n->hnext;
			node_free(n);
		}
	g_array_unref(r->frozen.rows);
	for (guint t = 0; t < TAB_COUNT; t++)
		g_array_unref(r->dirty[t]);
	g_free(r->buckets);
	g_free(r->ring);
	g_free(r);
}

static RowNode *find(Rows *r, guint32 hash, StoreTable t, const void *key, gsize klen)
{
	RowNode *n = r->buckets[hash & r->mask];

	while (n && !(n->hash == hash && n->table == t && n->klen == klen && !memcmp(n->key, key, klen)))
		n = n->hnext;
	return n;
}

RowNode *rows_find(Rows *r, StoreTable t, const void *key, gsize klen)
{
	return find(r, key_hash(t, key, klen), t, key, klen);
}

static void grow(Rows *r)
{
	guint32 mask = r->mask * 2 + 1;
	RowNode **buckets = g_new0(RowNode *, (gsize)mask + 1);

	for (guint32 i = 0; i <= r->mask; i++)
		for (RowNode *n = r->buckets[i], *next; n; n = next) {
			next = n->hnext;
			n->hnext = buckets[n->hash & mask];
			buckets[n->hash & mask] = n;
		}
	g_free(r->buckets);
	r->buckets = buckets;
	r->mask = mask;
}

static RowNode *node_new(Rows *r, guint32 hash, StoreTable t, const void *key, gsize klen)
{
	RowNode *n = g_malloc(sizeof *n + klen);

	memset(n, 0, sizeof *n);
	n->hash = hash;
	n->table = t;
	n->klen = klen;
	memcpy(n->key, key, klen);
	n->hnext = r->buckets[hash & r->mask];
	r->buckets[hash & r->mask] = n;
	r->stats.bytes += node_cost(n);
	if (++r->stats.nodes > (guint64)r->mask + 1)
		grow(r);
	return n;
}

static void ring_add(Rows *r, RowNode *n)
{
	n->prev = r->ring->prev;
	n->next = r->ring;
	n->prev->next = n->next->prev = n;
	r->stats.clean_bytes += node_cost(n);
}

static void ring_remove(Rows *r, RowNode *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->prev = n->next = NULL;
	r->stats.clean_bytes -= node_cost(n);
}

static void node_set(Rows *r, RowNode *n, RowValue *val)
{
	r->stats.bytes -= node_cost(n);
	value_unref(n->val);
	n->val = val;
	n->known = TRUE;
	r->stats.bytes += node_cost(n);
}

static void node_drop(Rows *r, RowNode *n)
{
	RowNode **at = &r->buckets[n->hash & r->mask];

	while (*at != n)
		at = &(*at)->hnext;
	*at = n->hnext;
	r->stats.nodes--;
	r->stats.bytes -= node_cost(n);
	node_free(n);
}

/* A node that nothing holds any more: into the ring, or away where absence needs no node. */
static void node_settle(Rows *r, RowNode *n)
{
	if (n->open || n->frozen || n->loading || n->pins || n->next)
		return;
	if (!n->known || (rows_resident(n->table) && !n->val))
		node_drop(r, n);
	else if (!rows_resident(n->table))
		ring_add(r, n);
}

RowNode *rows_add_loading(Rows *r, StoreTable t, const void *key, gsize klen)
{
	RowNode *n = node_new(r, key_hash(t, key, klen), t, key, klen);
	n->loading = TRUE;
	return n;
}

void rows_loaded(Rows *r, RowNode *n, RowValue *val)
{
	n->loading = FALSE;
	if (n->known) {
		value_unref(val);
	} else {
		node_set(r, n, val);
		n->base = val ? BASE_PRESENT : BASE_ABSENT;
	}
	node_settle(r, n);
}

RowNode *rows_insert_clean(Rows *r, StoreTable t, const void *key, gsize klen, RowValue *val)
{
	RowNode *n = node_new(r, key_hash(t, key, klen), t, key, klen);
	node_set(r, n, val);
	n->base = val ? BASE_PRESENT : BASE_ABSENT;
	node_settle(r, n);
	return n;
}

static gint8 node_counts(const RowNode *n)
{
	if (n->table != TAB_FLARE)
		return 0;
	/* An unknown row that is put is most likely new: inode numbers are never reused. */
	return n->val ? n->base != BASE_PRESENT : n->base == BASE_PRESENT ? -1 : 0;
}

RowNode *rows_commit(Rows *r, const StoreRow *row, RowValue *val)
{
	guint32 hash = key_hash(row->table, row->key, row->klen);
	RowNode *n = find(r, hash, row->table, row->key, row->klen);

	if (!n) {
		if (!val && rows_resident(row->table))
			return NULL;
		n = node_new(r, hash, row->table, row->key, row->klen);
		n->base = rows_resident(row->table) ? BASE_ABSENT : BASE_UNKNOWN;
	}
	if (n->next)
		ring_remove(r, n);
	if (n->open)
		r->stats.open_bytes -= node_cost(n);
	node_set(r, n, val);
	r->stats.open_bytes += node_cost(n);
	r->stats.flares -= n->counted;
	n->counted = node_counts(n);
	r->stats.flares += n->counted;
	if (!n->open) {
		n->open = TRUE;
		DirtyRow d = { n, key_begin(n->key, n->klen) };
		g_array_append_val(r->dirty[n->table], d);
		r->stats.open_rows++;
	}
	return n;
}

void rows_pin(Rows *r, RowNode *n)
{
	if (n->next)
		ring_remove(r, n);
	n->pins++;
}

void rows_unpin(Rows *r, RowNode *n)
{
	g_assert(n->pins);
	n->pins--;
	node_settle(r, n);
}

gboolean rows_pinned(const Rows *r)
{
	for (guint32 i = 0; i <= r->mask; i++)
		for (const RowNode *n = r->buckets[i]; n; n = n->hnext)
			if (n->pins)
				return TRUE;
	return FALSE;
}

static void freeze_row(Rows *r, const DirtyRow *d)
{
	RowNode *n = d->node;

	n->open = FALSE;
	r->frozen.flares += n->counted;
	n->counted = 0;
	if (!n->val && n->base == BASE_ABSENT) {
		r->stats.born_and_died++;
		node_settle(r, n);
		return;
	}
	FrozenRow f = { n, n->val, n->base, d->begin };
	if (n->val)
		n->val->refs++;
	n->frozen = TRUE;
	n->base = n->val ? BASE_PRESENT : BASE_ABSENT;
	g_array_append_val(r->frozen.rows, f);
}

Frozen *rows_freeze(Rows *r, guint64 index)
{
	g_assert(!r->has_frozen);
	r->has_frozen = TRUE;
	r->frozen.index = index;
	r->frozen.flares = 0;
	r->frozen.bytes = r->stats.open_bytes;
	for (guint t = 0; t < TAB_COUNT; t++) {
		r->frozen.first[t] = r->frozen.rows->len;
		for (guint i = 0; i < r->dirty[t]->len; i++)
			freeze_row(r, &g_array_index(r->dirty[t], DirtyRow, i));
		g_array_set_size(r->dirty[t], 0);
	}
	r->frozen.first[TAB_COUNT] = r->frozen.rows->len;
	r->stats.open_rows = 0;
	r->stats.open_bytes = 0;
	return &r->frozen;
}

const Frozen *rows_frozen(const Rows *r) { return r->has_frozen ? &r->frozen : NULL; }

void rows_thaw(Rows *r)
{
	g_assert(r->has_frozen);
	r->has_frozen = FALSE;
	r->stats.flares -= r->frozen.flares;
	for (guint i = 0; i < r->frozen.rows->len; i++) {
		FrozenRow *f = &g_array_index(r->frozen.rows, FrozenRow, i);
		f->node->frozen = FALSE;
		value_unref(f->val);
		node_settle(r, f->node);
	}
	g_array_set_size(r->frozen.rows, 0);
}

gboolean rows_touch(const Rows *r, StoreTable t)
{
	return r->dirty[t]->len || (r->has_frozen && r->frozen.first[t] < r->frozen.first[t + 1]);
}

/* --- what scans see --- */

int row_key_cmp(const guint8 *a, gsize alen, const guint8 *b, gsize blen)
{
	int c = memcmp(a, b, MIN(alen, blen));
	return c ? c : (alen > blen) - (alen < blen);
}

typedef struct {
	const guint8 *from, *prefix;
	gsize fromlen, plen;
	guint64 begin, mask;          /* of the prefix: most rows are told apart by this alone */
} Wanted;

static gboolean is_wanted(const Wanted *w, const RowNode *n)
{
	return n->klen >= w->plen && !memcmp(n->key, w->prefix, w->plen) && (!w->fromlen || row_key_cmp(n->key, n->klen, w->from, w->fromlen) > 0);
}

static void overlay_add(Rows *r, GArray *out, RowNode *n)
{
	OverlayRow o = { n, n->val };

	rows_pin(r, n);
	if (n->val)
		n->val->refs++;
	g_array_append_val(out, o);
}

static gint overlay_cmp(gconstpointer a, gconstpointer b)
{
	const RowNode *x = ((const OverlayRow *)a)->node, *y = ((const OverlayRow *)b)->node;
	return row_key_cmp(x->key, x->klen, y->key, y->klen);
}

static void overlay_drop(Rows *r, GArray *overlay, guint keep)
{
	for (guint i = keep; i < overlay->len; i++) {
		OverlayRow *o = &g_array_index(overlay, OverlayRow, i);
		value_unref(o->val);
		rows_unpin(r, (RowNode *)o->node);
	}
	g_array_set_size(overlay, keep);
}

GArray *rows_overlay(Rows *r, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_puts)
{
	GArray *out = g_array_new(FALSE, FALSE, sizeof(OverlayRow));
	Wanted w = { from, prefix ? prefix : "", fromlen, plen, key_begin(prefix, plen), plen >= 8 ? G_MAXUINT64 : plen ? ~(G_MAXUINT64 >> (8 * plen)) : 0 };
	guint puts = 0, keep;

	for (guint i = 0; i < r->dirty[t]->len; i++) {
		const DirtyRow *d = &g_array_index(r->dirty[t], DirtyRow, i);
		if ((d->begin & w.mask) == w.begin && is_wanted(&w, d->node))
			overlay_add(r, out, d->node);
	}
	for (guint i = r->has_frozen ? r->frozen.first[t] : 0; r->has_frozen && i < r->frozen.first[t + 1]; i++) {
		const FrozenRow *f = &g_array_index(r->frozen.rows, FrozenRow, i);
		if ((f->begin & w.mask) == w.begin && !f->node->open && is_wanted(&w, f->node))
			overlay_add(r, out, f->node);
	}
	g_array_sort(out, overlay_cmp);
	for (keep = 0; keep < out->len && puts < max_puts; keep++)
		puts += g_array_index(out, OverlayRow, keep).val != NULL;
	overlay_drop(r, out, keep);
	if (!out->len)
		g_clear_pointer(&out, g_array_unref);
	return out;
}

void rows_overlay_free(Rows *r, GArray *overlay)
{
	if (!overlay)
		return;
	overlay_drop(r, overlay, 0);
	g_array_unref(overlay);
}

gboolean rows_evict(Rows *r)
{
	for (guint steps = 0; r->stats.clean_bytes > r->cache_bytes && steps < EVICT_PER_TURN; steps++) {
		RowNode *n = r->ring->next;
		ring_remove(r, n);
		if (n->used) {
			n->used = FALSE;        /* a second chance */
			ring_add(r, n);
		} else {
			node_drop(r, n);
		}
	}
	return r->stats.clean_bytes > r->cache_bytes;
}

const RowsStats *rows_stats(const Rows *r) { return &r->stats; }
