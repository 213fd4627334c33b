/* Undoing the tail of the log, emptying the store, and beginning another log over its rows: when nothing is under way, what is on disk changes, and memory is loaded anew from there, as when the store is opened. Rare: at take-overs. */
#include "magmad/store/disk.h"
#include "magmad/store/layout.h"
#include "libmagma/base/err.h"
#include <errno.h>

struct DiskChange {
	enum { CUT, RESET, REBASE } what;
	gboolean running;
	StorePos pos;
	GBytes *txn;                  /* of a rebase */
	void (*done)(void *, int);
	void *user;
};

static void change_done(DiskStore *d, int error)
{
	g_autofree DiskChange *c = g_steal_pointer(&d->change);

	/* Scans and syncs may wait for an index that never comes. */
	disk_scans_go(d, 0, EIO);
	for (guint i = 0; i < d->syncs->len; i++) {
		SyncWaiter *w = &g_array_index(d->syncs, SyncWaiter, i);
		w->index = MIN(w->index, journal_index(d->journal));
		w->fills = MIN(w->fills, journal_fills(d->journal));
	}
	disk_acked_grow(d);
	disk_wake(d);
	g_clear_pointer(&c->txn, g_bytes_unref);
	c->done(c->user, error);
}

void disk_change_free(DiskStore *d)
{
	if (d->change && d->change->txn)
		g_bytes_unref(d->change->txn);
	g_clear_pointer(&d->change, g_free);
}

static int change_failed(DiskStore *d, GError *error)
{
	disk_fail(d, error->message);
	return EIO;
}

/* --- a tail --- */

static int cut_now(DiskStore *d, guint64 index)
{
	g_autoptr(GError) error = NULL;

	/* The loop's snapshot goes with the rows that were read in it. */
	db_read_end(d->loop_db);
	if (!journal_cut(d->journal, index, disk_epoch_at(d, index), &error))
		return change_failed(d, error);
	disk_epochs_upto(d, index, &d->epochs);
	d->retry_at = 0;
	d->told_written = MIN(d->told_written, index);
	MAGMA_TRACE(d->trace, 'J', "cut behind index %" G_GUINT64_FORMAT, index);
	if (!disk_load_again(d, &error))
		return change_failed(d, error);
	return 0;
}

/* --- everything, or all of the log --- */

typedef struct {
	PoolJob job;
	DiskStore *d;
	GBytes *txn;                  /* rows and contents stay; else NULL */
	DbMeta meta;
	int rc;                       /* of sqlite: nothing happened */
	GError *error;                /* what comes behind that */
} ResetJob;

static void reset_run(PoolJob *job)
{
	ResetJob *r = (ResetJob *)job;
	gsize len;
	const guint8 *txn = r->txn ? g_bytes_get_data(r->txn, &len) : NULL;

	r->rc = txn ? db_rebase(r->d->writer, &r->meta, txn, len) : db_reset(r->d->writer, &r->meta);
	if (r->rc == 0 && layout_empty(r->d->dir, txn != NULL, &r->error) && db_emptied(r->d->writer) != 0)
		g_set_error(&r->error, MAGMA_ERROR, EIO, "%s: %s", r->d->db_path, db_error(r->d->writer));
}

static int reset_ended(DiskStore *d, ResetJob *r)
{
	g_autofree char *content = layout_content(d->dir);
	g_autoptr(GError) error = NULL;

	if (db_errno(r->rc) == ENOSPC) {
		disk_full(d);
		return ENOSPC;
	}
	if (r->rc) {
		g_set_error(&error, MAGMA_ERROR, EIO, "%s: emptying it: %s", d->db_path, db_error(d->writer));
		return change_failed(d, error);
	}
	if (r->error)
		return change_failed(d, r->error);
	if (!r->txn) {
		Contents *contents = contents_new(content, d->pool, &error);
		if (!contents)
			return change_failed(d, error);
		contents_on_failed(contents, disk_content_failed, d);
		contents_free(d->contents);
		d->contents = contents;
	}
	d->fills_gone += journal_fills(d->journal) - d->fills_before;
	Journal *before = g_steal_pointer(&d->journal);
	if (!disk_load(d, &error)) {
		d->journal = before;            /* whoever looks at a failed store finds one */
		return change_failed(d, error);
	}
	journal_close(before);
	d->told_written = d->told = d->acked;
	return 0;
}

static void reset_done(PoolJob *job)
{
	ResetJob *r = (ResetJob *)job;

	r->d->writer_job = NULL;
	r->d->emptying = FALSE;
	change_done(r->d, reset_ended(r->d, r));
}

static void reset_free(PoolJob *job)
{
	ResetJob *r = (ResetJob *)job;

	g_clear_error(&r->error);
	g_clear_pointer(&r->txn, g_bytes_unref);
	g_free(r);
}

static void reset_push(DiskStore *d, StorePos pos, GBytes *txn)
{
	ResetJob *r = g_new0(ResetJob, 1);

	r->job = (PoolJob){ .run = reset_run, .done = reset_done, .free = reset_free, .lane = POOL_WRITER };
	r->d = d;
	r->txn = txn ? g_bytes_ref(txn) : NULL;
	r->meta = (DbMeta){ .applied = pos.index, .durable = pos.index, .epoch = pos.epoch };
	if (txn) {
		r->meta.flares = d->meta.flares;
		r->meta.used = d->meta.used;
	}
	if (pos.index)
		r->meta.epochs = (DbEpochs){ 1, { { pos.epoch, pos.index } } };
	else
		r->meta.epoch = 0;
	db_read_end(d->loop_db);
	contents_close_idle(d->contents, TRUE);
	readers_clear(&d->readers, FALSE);
	d->emptying = TRUE;
	d->writer_job = &r->job;
	pool_push(d->pool, &r->job);
}

/* --- both --- */

void disk_change_check(DiskStore *d)
{
	DiskChange *c = d->change;

	if (!c || c->running)
		return;
	if (d->failed) {
		change_done(d, EIO);
		return;
	}
	/* Behind whatever is in the pool; and what stays must be written. */
	if (pool_pending(d->pool) || d->answers.length || d->cold->len || (c->what == CUT && journal_written(d->journal) < c->pos.index))
		return;
	g_assert(!rows_pinned(d->rows));
	c->running = TRUE;
	if (c->what == CUT)
		change_done(d, cut_now(d, c->pos.index));
	else
		reset_push(d, c->pos, c->txn);
}

static void change(DiskStore *d, DiskChange c)
{
	g_assert(!d->change);
	d->change = g_memdup2(&c, sizeof c);
	disk_wake(d);
}

void disk_cut(Store *s, guint64 index, void (*done)(void *, int), void *user)
{
	DiskStore *d = DISK(s);

	g_assert(index >= d->acked && index <= journal_index(d->journal));
	change(d, (DiskChange){ .what = CUT, .pos = { .index = index }, .done = done, .user = user });
}

void disk_reset(Store *s, StorePos pos, void (*done)(void *, int), void *user)
{
	change(DISK(s), (DiskChange){ .what = RESET, .pos = pos, .done = done, .user = user });
}

void disk_rebase(Store *s, StorePos pos, const guint8 *txn, gsize len, void (*done)(void *, int), void *user)
{
	g_assert(pos.index);
	change(DISK(s), (DiskChange){ .what = REBASE, .pos = pos, .txn = g_bytes_new(txn, len), .done = done, .user = user });
}
