/* Batches, the index of flares by key, the log. */
#include "magmad/store/db_inside.h"
#include "libmagma/base/wire.h"
#include <errno.h>
#include <string.h>

int db_step_done(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	sqlite3_reset(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int write_row(Db *d, sqlite3_stmt *st, const FrozenRow *f)
{
	const RowNode *n = f->node;

	db_bind_key(st, n->table, n->key, n->klen);
	if (f->val) {
		sqlite3_bind_blob(st, 2, f->val->rk.b, MAGMA_KEY_LEN, SQLITE_STATIC);
		sqlite3_bind_blob(st, 3, f->val->len ? (void *)f->val->bytes : "", f->val->len, SQLITE_STATIC);
	}
	return db_step_done(st);
}

static int born_change(Db *d, guint which, gint64 k, const MagmaKey *rk)
{
	sqlite3_stmt *st = d->sp[which];

	sqlite3_bind_int64(st, 1, k);
	sqlite3_bind_blob(st, 2, rk->b, MAGMA_KEY_LEN, SQLITE_STATIC);
	return db_step_done(st);
}

/* Takes a flare's row and its place in the index away, where there is one. */
static int flare_delete(Db *d, gint64 k, gint64 *flares)
{
	sqlite3_stmt *st = d->sp[SP_FLARE_DELETE];
	MagmaKey rk;

	sqlite3_bind_int64(st, 1, k);
	int rc = sqlite3_step(st);
	gboolean was = rc == SQLITE_ROW;
	if (was) {
		db_column_rk(st, 0, &rk);
		rc = sqlite3_step(st);
	}
	sqlite3_reset(st);
	if (rc != SQLITE_DONE)
		return rc;
	if (!was)
		return SQLITE_OK;
	--*flares;
	/* What waits on this side is not in born, or was there before: then stale says so already. What waits on the other side is in born when the merge is over. */
	rc = born_change(d, SP_FRESH_DEL + d->side, k, &rk);
	if (rc != SQLITE_OK || sqlite3_changes(d->db))
		return rc;
	d->stale++;
	return born_change(d, SP_STALE_PUT + d->side, k, &rk);
}

/* Flares are counted, and their index is kept. */
static int write_flare(Db *d, const FrozenRow *f, DbMeta *meta)
{
	gint64 k = ino_to_sql(magma_be64_load(f->node->key));
	int rc = SQLITE_OK;

	if (f->val && f->base != BASE_ABSENT) {
		rc = write_row(d, d->sp[SP_FLARE_UPDATE], f);
		if (rc != SQLITE_OK || sqlite3_changes(d->db))
			return rc;
	}
	if (!f->val || f->base != BASE_ABSENT)
		rc = flare_delete(d, k, &meta->flares);
	if (rc != SQLITE_OK || !f->val)
		return rc;
	++meta->flares;
	rc = write_row(d, d->st[ST_PUT][TAB_FLARE], f);
	return rc == SQLITE_OK ? born_change(d, SP_FRESH_PUT + d->side, k, &f->val->rk) : rc;
}

/* By table and key: neighbours in the tree are written together. */
static gint frozen_cmp(gconstpointer a, gconstpointer b)
{
	const RowNode *x = ((const FrozenRow *)a)->node, *y = ((const FrozenRow *)b)->node;

	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	int c = memcmp(x->key, y->key, MIN(x->klen, y->klen));
	return c ? c : (int)x->klen - (int)y->klen;
}

static int write_meta(Db *d, const DbMeta *m)
{
	sqlite3_stmt *st = d->sp[SP_META_PUT];
	guint8 epochs[16 * DB_EPOCHS];

	for (guint i = 0; i < m->epochs.n; i++) {
		magma_be64_store(epochs + 16 * i, m->epochs.e[i].epoch);
		magma_be64_store(epochs + 16 * i + 8, m->epochs.e[i].first);
	}
	sqlite3_bind_int64(st, 1, m->applied);
	sqlite3_bind_int64(st, 2, m->durable);
	sqlite3_bind_int64(st, 3, m->epoch);
	sqlite3_bind_int64(st, 4, m->flares);
	sqlite3_bind_int64(st, 5, m->used);
	sqlite3_bind_blob(st, 6, epochs, 16 * m->epochs.n, SQLITE_STATIC);
	return db_step_done(st);
}

int db_write_rows(Db *d, const Frozen *f, DbMeta *meta)
{
	g_autoptr(GArray) rows = g_array_sized_new(FALSE, FALSE, sizeof(FrozenRow), f->rows->len);
	int rc = SQLITE_OK;

	if (f->rows->len)
		g_array_append_vals(rows, f->rows->data, f->rows->len);
	g_array_sort(rows, frozen_cmp);
	for (guint i = 0; i < rows->len && rc == SQLITE_OK; i++) {
		const FrozenRow *row = &g_array_index(rows, FrozenRow, i);
		StoreTable t = row->node->table;
		rc = t == TAB_FLARE ? write_flare(d, row, meta) : write_row(d, d->st[row->val ? ST_PUT : ST_DEL][t], row);
	}
	return rc;
}

/* sqlite does not note the errno of a COMMIT, its log's file does. */
static int log_errno(sqlite3 *db)
{
	sqlite3_file *f = NULL;
	int e = 0;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f) == SQLITE_OK && f && f->pMethods)
		f->pMethods->xFileControl(f, SQLITE_FCNTL_LAST_ERRNO, &e);
	return e;
}

gboolean db_no_room(sqlite3 *db, int rc, gboolean checkpoint)
{
	int full = sqlite3_extended_errcode(db);

	/* What a failed sync lost is lost: room does not bring it back. */
	if ((rc & 0xff) != SQLITE_IOERR || full == SQLITE_IOERR_FSYNC)
		return (rc & 0xff) == SQLITE_FULL;
	int e = !checkpoint && full == SQLITE_IOERR_WRITE ? log_errno(db) : sqlite3_system_errno(db);
	return e == ENOSPC || e == EDQUOT;
}

int db_full_or(Db *d, int rc) { return db_no_room(d->db, rc, FALSE) ? SQLITE_FULL : rc; }

/* What failed left a transaction open or not. */
void db_roll_back(Db *d)
{
	if (!sqlite3_get_autocommit(d->db))
		db_run(d, SP_ROLLBACK);
}

int db_write(Db *d, const Frozen *f, DbMeta *meta)
{
	DbMeta after = *meta;
	int rc = db_run(d, SP_BEGIN_WRITE);

	if (rc == SQLITE_OK)
		rc = db_write_rows(d, f, &after);
	if (rc == SQLITE_OK)
		rc = write_meta(d, &after);
	if (rc == SQLITE_OK)
		rc = db_run(d, SP_COMMIT);
	rc = db_full_or(d, rc);
	if (rc == SQLITE_OK)
		*meta = after;
	else
		db_roll_back(d);
	return rc;
}

static int sync_file(Db *d, int which)
{
	sqlite3_file *f = NULL;

	if (sqlite3_file_control(d->db, "main", which, &f) != SQLITE_OK || !f || !f->pMethods)
		return SQLITE_OK;
	return f->pMethods->xSync(f, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
}

int db_sync(Db *d) { return sync_file(d, SQLITE_FCNTL_JOURNAL_POINTER); }

int db_checkpoint(Db *d)
{
	int rc = db_sync(d);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_wal_checkpoint_v2(d->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	return (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED ? SQLITE_OK : db_no_room(d->db, rc, TRUE) ? SQLITE_FULL : rc;
}

guint db_wal_pages(const Db *d) { return d->wal_pages; }

void db_leave_log(Db *d)
{
	sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

/* --- emptying --- */

static int put_emptying(Db *d, DbEmptying what)
{
	sqlite3_bind_int64(d->sp[SP_EMPTYING_PUT], 1, what);
	return db_step_done(d->sp[SP_EMPTYING_PUT]);
}

/* The end of a transaction that was begun with rc: log and rows begin anew with meta. */
static int begin_anew(Db *d, int rc, const DbMeta *meta, DbEmptying what)
{
	if (rc == SQLITE_OK)
		rc = write_meta(d, meta);
	if (rc == SQLITE_OK)
		rc = put_emptying(d, what);
	if (rc == SQLITE_OK)
		rc = db_run(d, SP_COMMIT);
	rc = db_full_or(d, rc);
	if (rc != SQLITE_OK)
		db_roll_back(d);
	return rc == SQLITE_OK ? db_sync(d) : rc;
}

int db_reset(Db *d, const DbMeta *meta)
{
	int rc = db_run(d, SP_BEGIN_WRITE);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(d->db, SQL_EMPTY_ALL, NULL, NULL, NULL);
	return begin_anew(d, rc, meta, DB_EMPTYING);
}

typedef struct {
	Db *d;
	int rc;
} RebaseRow;

static gboolean rebase_row(void *user, const StoreRow *row, gboolean del)
{
	RebaseRow *r = user;
	sqlite3_stmt *st = r->d->st[del ? ST_DEL : ST_PUT][row->table];

	g_assert(row->table == TAB_META);
	db_bind_key(st, row->table, row->key, row->klen);
	if (!del) {
		sqlite3_bind_blob(st, 2, row->rk.b, MAGMA_KEY_LEN, SQLITE_STATIC);
		sqlite3_bind_blob(st, 3, row->vlen ? (const void *)row->val : "", row->vlen, SQLITE_STATIC);
	}
	r->rc = db_step_done(st);
	return r->rc == SQLITE_OK;
}

int db_rebase(Db *d, const DbMeta *meta, const guint8 *txn, gsize len)
{
	RebaseRow r = { d, db_run(d, SP_BEGIN_WRITE) };

	if (r.rc == SQLITE_OK)
		txn_each(txn, len, rebase_row, &r);
	return begin_anew(d, r.rc, meta, DB_REBASING);
}

int db_emptied(Db *d)
{
	int rc = put_emptying(d, DB_EMPTYING_NOT);

	return rc == SQLITE_OK ? db_sync(d) : db_full_or(d, rc);
}
