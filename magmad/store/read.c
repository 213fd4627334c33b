/* Rows: from memory, from sqlite at once, or through the pool. Scans always through the pool, behind the batch that holds what they must see. */
#include "magmad/store/disk.h"
#include <errno.h>
#include <string.h>

#define READER_CACHE_KIB 1024
#define COLD_JOBS 4                   /* as many disk reads in parallel as the pool has threads */

/* --- connections of the pool --- */

Db *readers_take(Readers *r, char **text)
{
	Db *db = NULL;

	g_mutex_lock(&r->lock);
	if (r->idle->len)
		db = g_ptr_array_steal_index_fast(r->idle, r->idle->len - 1);
	g_mutex_unlock(&r->lock);
	if (!db) {
		g_autoptr(GError) error = NULL;
		db = db_open(r->path, NULL, FALSE, READER_CACHE_KIB, &error);
		if (!db && text)
			*text = g_strdup(error->message);
	}
	return db;
}

void readers_give(Readers *r, Db *db)
{
	g_mutex_lock(&r->lock);
	g_ptr_array_add(r->idle, db);
	g_mutex_unlock(&r->lock);
}

void readers_clear(Readers *r, gboolean leave_log)
{
	for (guint i = 0; i < r->idle->len; i++) {
		if (leave_log)
			db_leave_log(r->idle->pdata[i]);
		db_close(r->idle->pdata[i]);
	}
	g_ptr_array_set_size(r->idle, 0);
}

/* --- point reads --- */

typedef struct {
	PoolJob job;
	DiskStore *d;
	Readers *readers;
	guint n;
	RowNode **nodes;              /* lent: being loaded keeps them; only table and key are looked at */
	RowValue **values;
	char *error;
	gboolean log;
	GPtrArray *lines;
} ColdJob;

static void cold_run(PoolJob *job)
{
	ColdJob *c = (ColdJob *)job;
	Db *db = readers_take(c->readers, &c->error);

	if (!db)
		return;
	db_log(db, c->log);
	for (guint i = 0; i < c->n && !c->error; i++) {
		DbGet got = db_get(db, c->nodes[i]->table, c->nodes[i]->key, c->nodes[i]->klen, &c->values[i]);
		if (got == DB_FAILED || got == DB_BUSY)
			c->error = g_strdup_printf("%s: reading a row: %s", c->readers->path, db_error(db));
	}
	c->lines = db_log_take(db);
	readers_give(c->readers, db);
}

static void cold_done(PoolJob *job)
{
	ColdJob *c = (ColdJob *)job;
	DiskStore *d = c->d;

	disk_log_lines(d, c->lines);
	if (c->error) {
		disk_fail(d, c->error);
		return;
	}
	for (guint i = 0; i < c->n; i++) {
		rows_pin(d->rows, c->nodes[i]);
		rows_loaded(d->rows, c->nodes[i], g_steal_pointer(&c->values[i]));
	}
	for (guint i = 0; i < c->n; i++) {
		RowNode *n = c->nodes[i];
		while (n->waiters) {
			Fetch *f = n->waiters->data;
			n->waiters = g_slist_delete_link(n->waiters, n->waiters);
			if (--f->pending == 0)
				f->ready(f);
		}
		rows_unpin(d->rows, n);
	}
	rows_evict(d->rows);
}

static void cold_free(PoolJob *job)
{
	ColdJob *c = (ColdJob *)job;

	for (guint i = 0; i < c->n; i++)
		g_free(c->values[i]);
	g_free(c->values);
	g_free(c->nodes);
	g_free(c->error);
	if (c->lines)
		g_ptr_array_unref(c->lines);
	g_free(c);
}

void disk_cold_push(DiskStore *d)
{
	guint n = d->cold->len, jobs = MIN(n, COLD_JOBS), at = 0;

	for (guint k = 0; k < jobs; k++) {
		ColdJob *c = g_new0(ColdJob, 1);
		guint take = (n - at) / (jobs - k);
		c->job = (PoolJob){ .run = cold_run, .done = cold_done, .free = cold_free };
		c->d = d;
		c->readers = &d->readers;
		c->n = take;
		c->nodes = g_memdup2(d->cold->pdata + at, take * sizeof(RowNode *));
		c->values = g_new0(RowValue *, take);
		c->log = magma_trace_on(d->trace, 's');
		at += take;
		pool_push(d->pool, &c->job);
	}
	g_ptr_array_set_size(d->cold, 0);
}

static void fetch_wait(DiskStore *d, Fetch *f, RowNode *n)
{
	if (!f || g_slist_find(n->waiters, f))
		return;
	n->waiters = g_slist_prepend(n->waiters, f);
	f->pending++;
	if (!f->pins)
		f->pins = g_ptr_array_new();
	g_ptr_array_add(f->pins, n);
	rows_pin(d->rows, n);
}

/* From sqlite on the loop's connection, without waiting for a disk. NULL: not so. */
static RowNode *get_now(DiskStore *d, StoreTable t, const void *key, gsize klen, gboolean may_block)
{
	RowValue *v;

	if (may_block)
		nowait_vfs_enable(d->vfs, FALSE);
	db_log(d->loop_db, magma_trace_on(d->trace, 's'));
	db_read_begin(d->loop_db);
	DbGet got = db_get(d->loop_db, t, key, klen, &v);
	if (magma_trace_on(d->trace, 's')) {
		g_autoptr(GPtrArray) lines = db_log_take(d->loop_db);
		disk_log_lines(d, lines);
	}
	if (may_block)
		nowait_vfs_enable(d->vfs, TRUE);
	d->idle_at = d->idle_at ? d->idle_at : g_get_monotonic_time() + G_USEC_PER_SEC;
	if (got == DB_BUSY) {
		db_read_end(d->loop_db);
		return NULL;
	}
	if (got == DB_FAILED) {
		g_autofree char *text = g_strdup_printf("%s: reading a row: %s", d->db_path, db_error(d->loop_db));
		disk_fail(d, text);
		return NULL;
	}
	return rows_insert_clean(d->rows, t, key, klen, v);
}

StoreGet disk_get(Store *s, Fetch *f, StoreTable t, const void *key, gsize klen, const guint8 **val, gsize *vlen)
{
	DiskStore *d = DISK(s);
	RowNode *n = rows_find(d->rows, t, key, klen);

	*val = NULL;
	*vlen = 0;
	if (!n) {
		if (rows_resident(t))
			return STORE_ABSENT;
		d->misses++;
		n = get_now(d, t, key, klen, f == NULL);
		MAGMA_TRACE(d->trace, 'c', "miss: table %d, %s", t, n ? "read at once" : "to be read by the pool");
		disk_wake(d);
		if (!n) {
			n = rows_add_loading(d->rows, t, key, klen);
			g_ptr_array_add(d->cold, n);
		}
	} else {
		d->hits += n->known;
	}
	if (!n->known) {
		fetch_wait(d, f, n);
		return STORE_PENDING;
	}
	n->used = TRUE;
	if (!n->val)
		return STORE_ABSENT;
	*val = n->val->bytes;
	*vlen = n->val->len;
	return STORE_FOUND;
}

void disk_fetch_clear(Store *s, Fetch *f)
{
	if (!f->pins)
		return;
	for (guint i = 0; i < f->pins->len; i++) {
		RowNode *n = f->pins->pdata[i];
		n->waiters = g_slist_remove(n->waiters, f);
		rows_unpin(DISK(s)->rows, n);
	}
	g_clear_pointer(&f->pins, g_ptr_array_unref);
	f->pending = 0;
}

/* --- scans --- */

typedef struct {
	PoolJob job;
	DiskStore *d;
	Readers *readers;
	StoreTable table;
	gboolean range;
	guint8 *from, *prefix;
	gsize fromlen, plen;
	MagmaKey lo, hi;
	guint64 after_ino;
	guint max_rows;
	guint64 index;                /* sees everything up to here */
	void (*done)(void *, int, const StoreRow *, guint, gboolean);
	void *user;
	RowSet set;
	char *error;
	gboolean log;
	GPtrArray *lines;
} ScanJob;

static void scan_run(PoolJob *job)
{
	ScanJob *s = (ScanJob *)job;
	Db *db = readers_take(s->readers, &s->error);

	if (!db)
		return;
	db_log(db, s->log);
	gboolean ok = s->range ? db_scan_range(db, &s->lo, s->after_ino, &s->hi, s->max_rows, &s->set)
		: db_scan(db, s->table, s->from, s->fromlen, s->prefix, s->plen, s->max_rows, &s->set);
	if (!ok)
		s->error = g_strdup_printf("%s: scanning rows: %s", s->readers->path, db_error(db));
	s->lines = db_log_take(db);
	readers_give(s->readers, db);
}

static void scan_done(PoolJob *job)
{
	ScanJob *s = (ScanJob *)job;

	disk_log_lines(s->d, s->lines);
	if (s->error) {
		g_warning("%s", s->error);
		s->done(s->user, EIO, NULL, 0, FALSE);
		return;
	}
	s->done(s->user, 0, (const StoreRow *)(void *)s->set.rows->data, s->set.rows->len, s->set.eof);
}

static void scan_free(PoolJob *job)
{
	ScanJob *s = (ScanJob *)job;

	rowset_clear(&s->set);
	g_free(s->from);
	g_free(s->prefix);
	g_free(s->error);
	if (s->lines)
		g_ptr_array_unref(s->lines);
	g_free(s);
}

static void scan_submit(DiskStore *d, ScanJob *s)
{
	s->job = (PoolJob){ .run = scan_run, .done = scan_done, .free = scan_free };
	s->d = d;
	s->readers = &d->readers;
	s->index = journal_index(d->journal);
	s->log = magma_trace_on(d->trace, 's');
	rowset_init(&s->set);
	if (!rows_touch(d->rows, s->table, s->prefix, s->plen)) {
		pool_push(d->pool, &s->job);
		return;
	}
	d->scan_index = s->index;
	g_queue_push_tail(&d->scans, s);
	disk_wake(d);
}

void disk_scan(Store *s, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	ScanJob *j = g_new0(ScanJob, 1);

	g_assert(t >= TAB_META && t < TAB_COUNT && fromlen <= STORE_KEY_MAX && plen <= STORE_KEY_MAX);
	j->table = t;
	j->from = g_memdup2(from, fromlen);
	j->fromlen = fromlen;
	j->prefix = g_memdup2(prefix, plen);
	j->plen = plen;
	j->max_rows = max_rows;
	j->done = done;
	j->user = user;
	scan_submit(DISK(s), j);
}

void disk_scan_range(Store *s, const MagmaKey *lo, const MagmaKey *hi, guint64 after_ino, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	ScanJob *j = g_new0(ScanJob, 1);

	j->table = TAB_FLARE;
	j->range = TRUE;
	j->lo = *lo;
	j->hi = *hi;
	j->after_ino = after_ino;
	j->max_rows = max_rows;
	j->done = done;
	j->user = user;
	scan_submit(DISK(s), j);
}

void disk_scans_go(DiskStore *d, guint64 index, int error)
{
	while (d->scans.length) {
		ScanJob *s = d->scans.head->data;
		if (!error && s->index > index)
			return;
		g_queue_pop_head(&d->scans);
		if (error) {
			s->done(s->user, error, NULL, 0, FALSE);
			scan_free(&s->job);
		} else {
			pool_push(d->pool, &s->job);
		}
	}
}

void disk_scans_free(DiskStore *d)
{
	for (ScanJob *s; (s = g_queue_pop_head(&d->scans)); )
		scan_free(&s->job);
}
