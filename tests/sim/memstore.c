#include "tests/sim/memdisk.h"
#include <errno.h>
#include <string.h>

#define SCAN_BYTES (256u << 10)

/* A row that was brought, or is being brought, for some fetches. */
typedef struct {
	RowKey key;
	guint pins;
	gboolean loading;
	GSList *waiters;
} Hot;

static guint hot_hash(gconstpointer p)
{
	const RowKey *k = p;
	guint h = k->table;

	for (guint i = 0; i < k->klen; i++)
		h = h * 31 + k->key[i];
	return h;
}

static gboolean hot_equal(gconstpointer a, gconstpointer b) { return memrow_cmp(a, b, NULL) == 0; }

static void hot_free(gpointer p)
{
	g_slist_free(((Hot *)p)->waiters);
	g_free(p);
}

gboolean mem_chance(MemStore *m, guint permille) { return (guint)g_rand_int_range(m->rnd, 0, 1000) < permille; }

gboolean mem_unread(const MemStore *m, MemUnread what) { return m->cfg.unread && m->cfg.unread(m->cfg.user) >= what; }

static void store_unref(MemStore *m)
{
	if (--m->refs)
		return;
	g_hash_table_unref(m->hot);
	g_hash_table_unref(m->found);
	g_hash_table_unref(m->queues);
	g_rand_free(m->rnd);
	g_free(m);
}

typedef struct {
	MemStore *m;
	void (*fn)(MemStore *m, void *arg);
	void (*drop)(void *arg);
	void *arg;
} Event;

static void event_run(void *arg)
{
	Event *e = arg;

	if (!e->m->dead)
		e->fn(e->m, e->arg);
	else if (e->drop)
		e->drop(e->arg);
	store_unref(e->m);
	g_free(e);
}

void mem_later_after(MemStore *m, gint64 time, void (*fn)(MemStore *, void *), void (*drop)(void *), void *arg)
{
	Event *e = g_new(Event, 1);

	*e = (Event){ m, fn, drop, arg };
	m->refs++;
	m->cfg.later(m->cfg.user, time + g_rand_int_range(m->rnd, 0, m->cfg.delay_max + 1), event_run, e);
}

void mem_later(MemStore *m, void (*fn)(MemStore *, void *), void (*drop)(void *), void *arg) { mem_later_after(m, 0, fn, drop, arg); }

/* --- rows --- */

guint memstore_pins(MemStore *m)
{
	GHashTableIter it;
	gpointer h;
	guint n = 0;

	g_hash_table_iter_init(&it, m->hot);
	while (g_hash_table_iter_next(&it, NULL, &h))
		n += ((Hot *)h)->pins;
	return n;
}

static void on_arrival(MemStore *m, void *arg)
{
	RowKey *key = arg;
	Hot *h = g_hash_table_lookup(m->hot, key);

	g_free(key);
	if (!h || !h->loading)
		return;
	h->loading = FALSE;
	h->pins++;
	while (h->waiters && !m->dead) {
		Fetch *f = h->waiters->data;
		h->waiters = g_slist_delete_link(h->waiters, h->waiters);
		if (--f->pending == 0)
			f->ready(f);
	}
	if (!m->dead && --h->pins == 0)
		g_hash_table_remove(m->hot, &h->key);
}

static void fetch_wait(MemStore *m, Fetch *f, Hot *h)
{
	if (g_slist_find(h->waiters, f))
		return;
	h->waiters = g_slist_append(h->waiters, f);
	h->pins++;
	f->pending++;
	if (!f->pins)
		f->pins = g_ptr_array_new();
	g_ptr_array_add(f->pins, h);
}

static gboolean always_in_memory(StoreTable t) { return t == TAB_REPLY || t == TAB_MARK || t == TAB_COMMIT; }

/* Was it found in this turn already? From now on it was. */
static gboolean found_again(MemStore *m, const RowKey *k)
{
	if (!m->cfg.turn)
		return FALSE;
	if (m->found_in != *m->cfg.turn) {
		g_hash_table_remove_all(m->found);
		m->found_in = *m->cfg.turn;
	}
	return g_hash_table_contains(m->found, k);
}

static StoreGet mem_get(Store *s, Fetch *f, StoreTable t, const void *key, gsize klen, const guint8 **val, gsize *vlen)
{
	MemStore *m = MEM(s);
	g_assert(!m->change);
	RowKey k = memrow_key(t, key, klen);
	Hot *h = f ? g_hash_table_lookup(m->hot, &k) : NULL;

	*val = NULL;
	*vlen = 0;
	if (f && !h && !always_in_memory(t) && !found_again(m, &k) && mem_chance(m, m->cfg.pending_permille)) {
		h = g_new0(Hot, 1);
		h->key = k;
		h->loading = TRUE;
		g_hash_table_insert(m->hot, &h->key, h);
		m->misses++;
		mem_later(m, on_arrival, g_free, g_memdup2(&k, sizeof k));
	}
	if (h && h->loading) {
		fetch_wait(m, f, h);
		return STORE_PENDING;
	}
	m->hits++;
	if (f && m->cfg.turn)
		g_hash_table_add(m->found, g_memdup2(&k, sizeof k));
	const MemRow *r = g_tree_lookup(m->disk->rows, &k);
	if (!r)
		return STORE_ABSENT;
	*val = r->val;
	*vlen = r->vlen;
	return STORE_FOUND;
}

static void mem_fetch_clear(Store *s, Fetch *f)
{
	if (!f->pins)
		return;
	for (guint i = 0; i < f->pins->len; i++) {
		Hot *h = f->pins->pdata[i];
		h->waiters = g_slist_remove(h->waiters, f);
		if (--h->pins == 0)
			g_hash_table_remove(MEM(s)->hot, &h->key);
	}
	g_clear_pointer(&f->pins, g_ptr_array_unref);
	f->pending = 0;
}

/* --- scans: a copy is taken at the call or at the answer, by chance --- */

typedef void (*RowsDone)(void *, int, const StoreRow *, guint, gboolean);

typedef struct {
	StoreTable table;
	gboolean range;
	RowKey from, prefix;
	MagmaKey lo, hi;
	guint64 after_ino;
	guint max_rows;
	RowsDone done;
	void *user;
	GPtrArray *found;             /* MemRow copies; NULL: not yet looked */
	gboolean eof;
} ScanCall;

static MemRow *copy_of(const MemRow *r)
{
	MemRow *c = g_memdup2(r, sizeof *r);
	c->val = g_memdup2(r->val, r->vlen);
	return c;
}

static void copy_free(gpointer p)
{
	g_free(((MemRow *)p)->val);
	g_free(p);
}

static void scan_take(ScanCall *c, GPtrArray *matches)
{
	gsize bytes = 0;
	guint n = 0;

	c->found = g_ptr_array_new_with_free_func(copy_free);
	for (; n < matches->len && n < c->max_rows && bytes < SCAN_BYTES; n++) {
		const MemRow *r = matches->pdata[n];
		bytes += r->key.klen + r->vlen;
		g_ptr_array_add(c->found, copy_of(r));
	}
	c->eof = n == matches->len;
}

static gint64 range_cmp(const MemRow *a, const MagmaKey *rk, const guint8 *ino)
{
	int c = magma_key_cmp(&a->rk, rk);
	return c ? c : memcmp(a->key.key, ino, 8);
}

static gint range_sort(gconstpointer a, gconstpointer b)
{
	const MemRow *x = *(MemRow *const *)a, *y = *(MemRow *const *)b;
	return range_cmp(x, &y->rk, y->key.key);
}

static void scan_look(MemStore *m, ScanCall *c)
{
	g_autoptr(GPtrArray) matches = g_ptr_array_new();
	RowKey start = c->from.klen ? c->from : c->prefix;
	guint8 after[8];

	start.table = c->table;
	for (guint i = 0; i < 8; i++)
		after[i] = c->after_ino >> (56 - 8 * i);
	for (GTreeNode *n = g_tree_lower_bound(m->disk->rows, &start); n; n = g_tree_node_next(n)) {
		MemRow *r = g_tree_node_value(n);
		if (r->key.table != c->table)
			break;
		if (c->range) {
			if (range_cmp(r, &c->lo, after) > 0 && magma_key_cmp(&r->rk, &c->hi) <= 0)
				g_ptr_array_add(matches, r);
			continue;
		}
		if (c->from.klen && memrow_cmp(&r->key, &start, NULL) <= 0)
			continue;
		if (r->key.klen < c->prefix.klen || memcmp(r->key.key, c->prefix.key, c->prefix.klen)) {
			if (memrow_cmp(&r->key, &c->prefix, NULL) > 0)
				break;
			continue;
		}
		g_ptr_array_add(matches, r);
		if (matches->len > c->max_rows)
			break;
	}
	if (c->range)
		g_ptr_array_sort(matches, range_sort);
	scan_take(c, matches);
}

static void scan_free(void *arg)
{
	ScanCall *c = arg;

	if (c->found)
		g_ptr_array_unref(c->found);
	g_free(c);
}

static void on_scan(MemStore *m, void *arg)
{
	ScanCall *c = arg;

	if (mem_unread(m, UNREAD_ALL)) {
		c->done(c->user, EIO, NULL, 0, FALSE);
		scan_free(c);
		return;
	}
	if (!c->found)
		scan_look(m, c);
	g_autofree StoreRow *rows = g_new0(StoreRow, MAX(c->found->len, 1));
	for (guint i = 0; i < c->found->len; i++)
		rows[i] = memrow_view(c->found->pdata[i]);
	c->done(c->user, 0, rows, c->found->len, c->eof);
	scan_free(c);
}

static void scan_call(MemStore *m, ScanCall *c)
{
	if (mem_chance(m, 500))
		scan_look(m, c);
	mem_later(m, on_scan, scan_free, c);
}

static void mem_scan(Store *s, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows, RowsDone done, void *user)
{
	ScanCall *c = g_new0(ScanCall, 1);

	*c = (ScanCall){ .table = t, .from = memrow_key(t, from, fromlen), .prefix = memrow_key(t, prefix, plen), .max_rows = max_rows, .done = done, .user = user };
	scan_call(MEM(s), c);
}

static void mem_scan_range(Store *s, const MagmaKey *lo, const MagmaKey *hi, guint64 after_ino, guint max_rows, RowsDone done, void *user)
{
	ScanCall *c = g_new0(ScanCall, 1);

	*c = (ScanCall){ .table = TAB_FLARE, .range = TRUE, .lo = *lo, .hi = *hi, .after_ino = after_ino, .max_rows = max_rows, .done = done, .user = user };
	scan_call(MEM(s), c);
}

static gboolean count_flare(gpointer key, gpointer value, gpointer n)
{
	*(guint64 *)n += ((RowKey *)key)->table == TAB_FLARE;
	return FALSE;
}

static void mem_usage(Store *s, StoreUsage *out)
{
	MemStore *m = MEM(s);

	if (m->full)                  /* what is kept for copies is the first to go, as from a disk */
		memdisk_trim(m->disk, G_MAXUINT64, 0);
	*out = (StoreUsage){
		.total = 1 << 30, .free = m->full ? 0 : 1 << 29, .avail = m->full ? 0 : 1 << 29, .low = m->full,
		.cache_hits = m->hits, .cache_misses = m->misses, .cache_rows = g_tree_nnodes(m->disk->rows),
		.journal_index = m->disk->pos.index, .durable_index = memdisk_index_at(m->disk, m->disk->durable_seq), .journal_bytes = m->disk->kept,
	};
	g_tree_foreach(m->disk->rows, count_flare, &out->flares);
}

/* --- its life --- */

Store *memstore_open(MemDisk *disk, const MemStoreConfig *cfg)
{
	MemStore *m = g_new0(MemStore, 1);

	g_assert(!disk->in_use);
	disk->in_use = TRUE;
	m->vt = (StoreVt){ .get = mem_get, .fetch_clear = mem_fetch_clear, .scan = mem_scan, .scan_range = mem_scan_range, .usage = mem_usage };
	memfiles_vt(&m->vt);
	memlog_vt(&m->vt);
	m->base.vt = &m->vt;
	m->base.log = &memlog_log_vt;
	m->cfg = *cfg;
	m->disk = disk;
	m->rnd = g_rand_new_with_seed(cfg->seed);
	memlog_open(m);
	m->hot = g_hash_table_new_full(hot_hash, hot_equal, NULL, hot_free);
	m->found = g_hash_table_new_full(hot_hash, hot_equal, g_free, NULL);
	m->queues = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, memfiles_queue_free);
	m->refs = 1;
	return &m->base;
}

static void store_end(MemStore *m)
{
	m->disk->in_use = FALSE;
	m->dead = TRUE;
	store_unref(m);
}

void memstore_close(Store *s)
{
	MemStore *m = MEM(s);

	memfiles_finish(m);
	if (m->change)
		memlog_change(m);
	memdisk_fold(m->disk, memdisk_seq(m->disk, MIN(m->limit, m->disk->pos.index)));
	memdisk_trim(m->disk, m->keep_after, m->keep_bytes);
	m->disk->durable_seq = memdisk_end(m->disk);
	store_end(m);
}

/* A reset that is under way has been done, or nothing of it; not before the contents are at rest. */
static gboolean crash_in_reset(MemStore *m)
{
	if (!memlog_resetting(m) || !memfiles_idle(m) || mem_chance(m, 500))
		return FALSE;
	memlog_change(m);
	return TRUE;
}

void memstore_crash(Store *s, guint64 k)
{
	MemStore *m = MEM(s);

	g_assert(k >= memdisk_index_at(m->disk, m->written_seq) && k <= m->disk->pos.index);
	if (!crash_in_reset(m)) {
		guint64 most = memdisk_seq(m->disk, k), frame = k > m->disk->start.index ? memdisk_seq(m->disk, k - 1) + 1 : 0, least = MAX(m->written_seq, frame);
		memfiles_crash(m);
		memdisk_cut(m->disk, most - (least < most ? g_rand_int_range(m->rnd, 0, most - least + 1) : 0));
	}
	store_end(m);
}

void memstore_power_cut(Store *s)
{
	MemStore *m = MEM(s);

	if (!crash_in_reset(m)) {
		memdisk_cut(m->disk, m->disk->durable_seq);
		memfiles_power_cut(m);
	}
	store_end(m);
}

guint64 memstore_index(Store *s) { return MEM(s)->disk->pos.index; }
guint64 memstore_written(Store *s) { return memdisk_index_at(MEM(s)->disk, MEM(s)->written_seq); }
guint64 memstore_durable(Store *s) { return memdisk_index_at(MEM(s)->disk, MEM(s)->disk->durable_seq); }
void memstore_set_full(Store *s, gboolean full) { MEM(s)->full = full; }

void memstore_fail_syncs(Store *s, int error)
{
	MEM(s)->sync_error = error;
	MEM(s)->syncs = 0;
}

guint memstore_syncs(Store *s) { return MEM(s)->syncs; }
void memstore_syncs_take(Store *s, gint64 time) { MEM(s)->syncs_take = time; }

void memstore_fail(Store *s, const char *text)
{
	if (MEM(s)->failed || !s->on_failed)
		return;
	MEM(s)->failed = TRUE;
	s->on_failed(s->user, text);
}

void memstore_each(Store *s, StoreTable t, void (*fn)(void *user, const StoreRow *row), void *user)
{
	RowKey start = { .table = t };

	for (GTreeNode *n = g_tree_lower_bound(MEM(s)->disk->rows, &start); n; n = g_tree_node_next(n)) {
		const MemRow *r = g_tree_node_value(n);
		if (r->key.table != t)
			return;
		StoreRow row = memrow_view(r);
		fn(user, &row);
	}
}
