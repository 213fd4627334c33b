/* Rows: from memory, from sqlite at once, or through the pool. */
#include "magmad/store/disk.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

#define READER_CACHE_KIB 1024
#define COLD_JOBS 4                   /* as many disk reads in parallel as the pool has threads */
#define COLD_RETRY_US (G_USEC_PER_SEC / 10)

/* --- connections of the pool --- */

Db *readers_take(Readers *r, GError **error)
{
	Db *db = NULL;

	g_mutex_lock(&r->lock);
	if (r->idle->len)
		db = g_ptr_array_steal_index_fast(r->idle, r->idle->len - 1);
	g_mutex_unlock(&r->lock);
	return db ? db : db_open(r->path, NULL, FALSE, READER_CACHE_KIB, error);
}

void readers_give(Readers *r, Db *db)
{
	g_mutex_lock(&r->lock);
	g_ptr_array_add(r->idle, db);
	g_mutex_unlock(&r->lock);
}

void readers_clear(Readers *r, gboolean leave_log)
{
	g_mutex_lock(&r->lock);
	for (guint i = 0; i < r->idle->len; i++) {
		if (leave_log)
			db_leave_log(r->idle->pdata[i]);
		db_close(r->idle->pdata[i]);
	}
	g_ptr_array_set_size(r->idle, 0);
	g_mutex_unlock(&r->lock);
}

/* --- point reads --- */

typedef struct {
	PoolJob job;
	DiskStore *d;
	Readers *readers;
	guint n;
	RowNode **nodes;              /* lent: being loaded keeps them; only table and key are looked at */
	RowValue **values;
	GError *error;
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
			g_set_error(&c->error, MAGMA_ERROR, EIO, "%s: reading a row: %s", c->readers->path, db_error(db));
	}
	c->lines = db_log_take(db);
	readers_give(c->readers, db);
}

/* Too many open files, or no memory: others' doing, and over soon. */
static gboolean cold_again(ColdJob *c)
{
	DiskStore *d = c->d;
	int e = c->error->code;

	if (e != EMFILE && e != ENFILE && e != ENOMEM)
		return FALSE;
	if (!d->cold_at)
		g_warning("%s; trying again", c->error->message);
	for (guint i = 0; i < c->n; i++)
		g_ptr_array_add(d->cold, c->nodes[i]);
	d->cold_at = g_get_monotonic_time() + COLD_RETRY_US;
	disk_wake(d);
	return TRUE;
}

static void cold_done(PoolJob *job)
{
	ColdJob *c = (ColdJob *)job;
	DiskStore *d = c->d;

	disk_log_lines(d, c->lines);
	if (c->error) {
		if (!cold_again(c))
			disk_fail(d, c->error->message);
		return;
	}
	d->cold_at = 0;
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
}

static void cold_free(PoolJob *job)
{
	ColdJob *c = (ColdJob *)job;

	for (guint i = 0; i < c->n; i++)
		g_free(c->values[i]);
	g_free(c->values);
	g_free(c->nodes);
	g_clear_error(&c->error);
	if (c->lines)
		g_ptr_array_unref(c->lines);
	g_free(c);
}

gboolean disk_cold_due(const DiskStore *d, gint64 now) { return d->cold->len && now >= d->cold_at; }

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
	n->waiters = g_slist_append(n->waiters, f);      /* first come, first served: writers of one flare stay in order */
	f->pending++;
	if (!f->pins)
		f->pins = g_ptr_array_new();
	g_ptr_array_add(f->pins, n);
	rows_pin(d->rows, n);
}

/* Begins and ends what is done on the loop's connection. */
void disk_loop_db(DiskStore *d, gboolean may_block)
{
	if (may_block)
		nowait_vfs_enable(d->vfs, FALSE);
	if (magma_trace_on(d->trace, 's'))
		db_log(d->loop_db, TRUE);
	db_read_begin(d->loop_db);
	if (!d->idle_at)
		d->idle_at = g_get_monotonic_time() + IDLE_US;
}

void disk_loop_db_done(DiskStore *d, DbGet got)
{
	if (magma_trace_on(d->trace, 's')) {
		g_autoptr(GPtrArray) lines = db_log_take(d->loop_db);
		disk_log_lines(d, lines);
	}
	nowait_vfs_enable(d->vfs, TRUE);
	if (got == DB_FAILED) {
		g_autofree char *text = g_strdup_printf("%s: reading a row: %s", d->db_path, db_error(d->loop_db));
		disk_fail(d, text);
	}
	if (got == DB_BUSY)
		db_read_end(d->loop_db);
}

RowNode *disk_get_now(DiskStore *d, StoreTable t, const void *key, gsize klen, gboolean may_block)
{
	RowValue *v;

	disk_loop_db(d, may_block);
	DbGet got = db_get(d->loop_db, t, key, klen, &v);
	disk_loop_db_done(d, got);
	if (got != DB_FOUND && got != DB_ABSENT)
		return NULL;
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
		n = disk_get_now(d, t, key, klen, f == NULL);
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
