#include "magmad/store/db_inside.h"
#include "libmagma/base/err.h"
#include "libmagma/base/wire.h"
#include <errno.h>
#include <string.h>

#define SCAN_BYTES (256u << 10)       /* the contract's "about 256 KiB" */

static const char *const statements[ST_KINDS][TAB_COUNT] = {
	[ST_GET] = { SQL_INO_TABLES(SQL_GET) SQL_KEY_TABLES(SQL_GET) },
	[ST_PUT] = { SQL_INO_TABLES(SQL_PUT) SQL_KEY_TABLES(SQL_PUT) },
	[ST_DEL] = { SQL_INO_TABLES(SQL_DEL) SQL_KEY_TABLES(SQL_DEL) },
	[ST_SCAN] = { SQL_INO_TABLES(SQL_SCAN_INO) SQL_KEY_TABLES(SQL_SCAN_KEY) },
};

#define SQL_TEXT(name, statement) [SP_##name] = statement,
static const char *const others[SP_COUNT] = { SQL_OTHERS(SQL_TEXT) };

int db_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW: return 0;
	case SQLITE_FULL: return ENOSPC;
	case SQLITE_READONLY: return EROFS;
	case SQLITE_NOMEM: return ENOMEM;
	default: return EIO;
	}
}

const char *db_error(Db *d) { return sqlite3_errmsg(d->db); }

gboolean ino_table(StoreTable t) { return t == TAB_FLARE || t == TAB_DATA || t == TAB_ORPHAN || t == TAB_DIRTY; }

/* --- connections --- */

static int on_trace(unsigned what, void *user, void *st, void *text)
{
	Db *d = user;

	g_autofree char *line = NULL;
	char *sql = sqlite3_expanded_sql(st);
	line = g_strdup(sql ? sql : (const char *)text);
	sqlite3_free(sql);
	g_ptr_array_add(d->log, g_steal_pointer(&line));
	return 0;
}

void db_log(Db *d, gboolean on)
{
	if (on && !d->log)
		d->log = g_ptr_array_new_with_free_func(g_free);
	sqlite3_trace_v2(d->db, on ? SQLITE_TRACE_STMT : 0, on ? on_trace : NULL, d);
}

GPtrArray *db_log_take(Db *d)
{
	db_log(d, FALSE);
	return g_steal_pointer(&d->log);
}

static int on_wal(void *user, sqlite3 *db, const char *name, int pages)
{
	((Db *)user)->wal_pages = pages;
	return SQLITE_OK;
}

/* What cannot be opened may be a lack of descriptors, which says nothing about the disk. */
static int open_errno(sqlite3 *db, int rc)
{
	int e = db && (rc & 0xff) == SQLITE_CANTOPEN ? sqlite3_system_errno(db) : db_errno(rc);

	return e ? e : EIO;
}

static gboolean db_fail(sqlite3 *db, const char *path, int rc, GError **error)
{
	g_set_error(error, MAGMA_ERROR, open_errno(db, rc), "%s: %s", path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
	return FALSE;
}

/* One statement with the secret in it, for the one time it is written. */
static int write_frame_key(sqlite3 *db, const FrameKey *key)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, SQL_FRAME_KEY_PUT, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob(st, 1, key->b, sizeof key->b, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(db);
	sqlite3_finalize(st);
	return rc;
}

gboolean db_create(const char *path, const FrameKey *key, GError **error)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, SQL_SCHEMA, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = write_frame_key(db, key);
	gboolean ok = rc == SQLITE_OK || db_fail(db, path, rc, error);
	sqlite3_close(db);
	return ok;
}

static int prepare_all(Db *d, gboolean writes)
{
	int rc = SQLITE_OK;

	for (guint kind = 0; kind < ST_KINDS; kind++)
		for (guint t = TAB_META; t < TAB_COUNT && rc == SQLITE_OK; t++)
			if (writes || (kind != ST_PUT && kind != ST_DEL))
				rc = sqlite3_prepare_v3(d->db, statements[kind][t], -1, SQLITE_PREPARE_PERSISTENT, &d->st[kind][t], NULL);
	for (guint i = 0; i < SP_COUNT && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v3(d->db, others[i], -1, SQLITE_PREPARE_PERSISTENT, &d->sp[i], NULL);
	return rc;
}

Db *db_open(const char *path, const char *vfs, gboolean writes, int cache_kib, GError **error)
{
	Db *d = g_new0(Db, 1);
	int rc = sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(d->db, writes ? SQL_SETUP : SQL_SETUP SQL_READER, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = prepare_all(d, writes);
	if (rc == SQLITE_OK) {
		char pragma[64];      /* a pragma takes no parameters */
		g_snprintf(pragma, sizeof pragma, "PRAGMA cache_size=-%d", cache_kib);
		rc = sqlite3_exec(d->db, pragma, NULL, NULL, NULL);
	}
	if (rc == SQLITE_OK) {
		sqlite3_wal_hook(d->db, on_wal, d);
		return d;
	}
	db_fail(d->db, path, rc, error);
	db_close(d);
	return NULL;
}

void db_close(Db *d)
{
	if (!d)
		return;
	for (guint kind = 0; kind < ST_KINDS; kind++)
		for (guint t = 0; t < TAB_COUNT; t++)
			sqlite3_finalize(d->st[kind][t]);
	for (guint i = 0; i < SP_COUNT; i++)
		sqlite3_finalize(d->sp[i]);
	sqlite3_close(d->db);
	if (d->log)
		g_ptr_array_unref(d->log);
	g_free(d);
}

int db_run(Db *d, guint which)
{
	int rc = sqlite3_step(d->sp[which]);
	sqlite3_reset(d->sp[which]);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static void column_epochs(sqlite3_stmt *st, int col, DbEpochs *out)
{
	const guint8 *p = sqlite3_column_blob(st, col);

	out->n = MIN(sqlite3_column_bytes(st, col) / 16, DB_EPOCHS);
	for (guint i = 0; i < out->n; i++)
		out->e[i] = (StoreEpoch){ magma_be64_load(p + 16 * i), magma_be64_load(p + 16 * i + 8) };
}

gboolean db_meta(Db *d, DbMeta *out)
{
	sqlite3_stmt *st = d->sp[SP_META_GET];
	gboolean ok = sqlite3_step(st) == SQLITE_ROW;

	if (ok) {
		*out = (DbMeta){
			.applied = sqlite3_column_int64(st, 0),
			.durable = sqlite3_column_int64(st, 1),
			.epoch = sqlite3_column_int64(st, 2),
			.flares = sqlite3_column_int64(st, 3),
			.used = sqlite3_column_int64(st, 4),
		};
		column_epochs(st, 5, &out->epochs);
	}
	sqlite3_reset(st);
	return ok;
}

DbEmptying db_emptying(Db *d)
{
	sqlite3_stmt *st = d->sp[SP_EMPTYING_GET];
	int rc = sqlite3_step(st);
	gint64 what = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : DB_EMPTYING_NOT;

	sqlite3_reset(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return DB_EMPTYING_UNREAD;
	return what == DB_EMPTYING_NOT || what == DB_REBASING ? (DbEmptying)what : DB_EMPTYING;
}

gboolean db_frame_key(Db *d, FrameKey *out)
{
	sqlite3_stmt *st = d->sp[SP_FRAME_KEY_GET];
	gboolean ok = sqlite3_step(st) == SQLITE_ROW && sqlite3_column_bytes(st, 0) == sizeof out->b;

	if (ok)
		memcpy(out->b, sqlite3_column_blob(st, 0), sizeof out->b);
	sqlite3_reset(st);
	return ok;
}

/* --- reading --- */

void db_read_begin(Db *d)
{
	if (!d->reading)
		d->reading = db_run(d, SP_BEGIN) == SQLITE_OK;
}

void db_read_end(Db *d)
{
	if (d->reading)
		db_run(d, SP_COMMIT);
	d->reading = FALSE;
}

void db_bind_key(sqlite3_stmt *st, StoreTable t, const void *key, gsize klen)
{
	if (ino_table(t))
		sqlite3_bind_int64(st, 1, ino_to_sql(magma_be64_load(key)));
	else
		sqlite3_bind_blob(st, 1, key, klen, SQLITE_STATIC);
}

void db_column_rk(sqlite3_stmt *st, int col, MagmaKey *rk)
{
	const void *p = sqlite3_column_blob(st, col);

	*rk = (MagmaKey){ 0 };
	if (p && sqlite3_column_bytes(st, col) == MAGMA_KEY_LEN)
		memcpy(rk->b, p, MAGMA_KEY_LEN);
}

DbGet db_get(Db *d, StoreTable t, const void *key, gsize klen, RowValue **out)
{
	sqlite3_stmt *st = d->st[ST_GET][t];
	DbGet result;

	*out = NULL;
	db_bind_key(st, t, key, klen);
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		MagmaKey rk;
		db_column_rk(st, 0, &rk);
		const void *p = sqlite3_column_blob(st, 1);
		*out = row_value_new(&rk, p, sqlite3_column_bytes(st, 1));
		result = DB_FOUND;
	} else {
		result = rc == SQLITE_DONE ? DB_ABSENT : (rc & 0xff) == SQLITE_BUSY ? DB_BUSY : DB_FAILED;
	}
	sqlite3_reset(st);
	if (d->reading && sqlite3_get_autocommit(d->db))
		d->reading = FALSE;     /* an I/O error has rolled the transaction back */
	return result;
}

DbGet db_born_at(Db *d, const MagmaKey *rk, GArray *out)
{
	sqlite3_stmt *st = d->sp[SP_BORN_AT];
	guint before = out->len;
	int rc;

	sqlite3_bind_blob(st, 1, rk->b, MAGMA_KEY_LEN, SQLITE_STATIC);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		guint64 ino = ino_from_sql(sqlite3_column_int64(st, 0));
		g_array_append_val(out, ino);
	}
	sqlite3_reset(st);
	if (d->reading && sqlite3_get_autocommit(d->db))
		d->reading = FALSE;
	if (rc == SQLITE_DONE)
		return out->len > before ? DB_FOUND : DB_ABSENT;
	g_array_set_size(out, before);
	return (rc & 0xff) == SQLITE_BUSY ? DB_BUSY : DB_FAILED;
}

void rowset_init(RowSet *s)
{
	s->rows = g_array_new(FALSE, FALSE, sizeof(StoreRow));
	s->bytes = g_byte_array_new();
	s->eof = FALSE;
}

void rowset_add(RowSet *s, const StoreRow *row)
{
	g_array_append_val(s->rows, *row);
	g_byte_array_append(s->bytes, row->key, row->klen);
	g_byte_array_append(s->bytes, row->val, row->vlen);
}

void rowset_finish(RowSet *s)
{
	const guint8 *p = s->bytes->data;

	for (guint i = 0; i < s->rows->len; i++) {
		StoreRow *row = &g_array_index(s->rows, StoreRow, i);
		row->key = p;
		row->val = p + row->klen;
		p += row->klen + row->vlen;
	}
}

void rowset_clear(RowSet *s)
{
	g_clear_pointer(&s->rows, g_array_unref);
	g_clear_pointer(&s->bytes, g_byte_array_unref);
}

/* The row that the statement stands on; an inode number's bytes go to ino. */
static void row_here(sqlite3_stmt *st, StoreTable t, guint8 *ino, StoreRow *row)
{
	*row = (StoreRow){ .table = t };
	if (ino_table(t)) {
		magma_be64_store(ino, ino_from_sql(sqlite3_column_int64(st, 0)));
		row->key = ino;
		row->klen = 8;
	} else {
		row->key = sqlite3_column_blob(st, 0);
		row->klen = sqlite3_column_bytes(st, 0);
	}
	db_column_rk(st, 1, &row->rk);
	row->val = sqlite3_column_blob(st, 2);
	row->vlen = sqlite3_column_bytes(st, 2);
}

static void add_overlay(RowSet *out, StoreTable t, const OverlayRow *o)
{
	if (!o->val)
		return;
	StoreRow row = { .table = t, .key = o->node->key, .klen = o->node->klen, .rk = o->val->rk, .val = o->val->bytes, .vlen = o->val->len };
	rowset_add(out, &row);
}

/* Merges two ordered streams; where both have a key, the overlay's counts. st NULL: nothing in sqlite. */
static gboolean collect(sqlite3_stmt *st, StoreTable t, guint max_rows, const GArray *overlay, RowSet *out)
{
	guint i = 0, n = overlay ? overlay->len : 0;
	int rc = st ? sqlite3_step(st) : SQLITE_DONE;

	while (out->rows->len < max_rows && out->bytes->len < SCAN_BYTES && (rc == SQLITE_ROW || (rc == SQLITE_DONE && i < n))) {
		const OverlayRow *o = i < n ? &g_array_index(overlay, OverlayRow, i) : NULL;
		guint8 ino[8];
		StoreRow row;
		int c = 1;
		if (rc == SQLITE_ROW) {
			row_here(st, t, ino, &row);
			c = o ? row_key_cmp(row.key, row.klen, o->node->key, o->node->klen) : -1;
		}
		if (c < 0)
			rowset_add(out, &row);
		else
			add_overlay(out, t, o);
		i += c >= 0;
		if (c <= 0)
			rc = sqlite3_step(st);
	}
	out->eof = rc == SQLITE_DONE && i == n && out->rows->len < max_rows;
	sqlite3_reset(st);
	rowset_finish(out);
	return rc == SQLITE_DONE || rc == SQLITE_ROW;
}

/* First key behind all that begin with prefix, into out; the length, or 0 when there is none. */
static gsize prefix_end(const guint8 *prefix, gsize plen, guint8 *out)
{
	while (plen && prefix[plen - 1] == 0xff)
		plen--;
	if (plen) {
		memcpy(out, prefix, plen);
		out[plen - 1]++;
	}
	return plen;
}

static void bind_scan_bytes(sqlite3_stmt *st, const void *from, gsize fromlen, const void *prefix, gsize plen)
{
	guint8 lo[STORE_KEY_MAX + 1], hi[STORE_KEY_MAX + 1];
	gsize lolen = fromlen ? fromlen : plen, hilen = prefix_end(prefix, plen, hi);

	if (lolen)
		memcpy(lo, fromlen ? from : prefix, lolen);
	if (fromlen)
		lo[lolen++] = 0;        /* the next key after from */
	if (!hilen) {
		memset(hi, 0xff, sizeof hi);
		hilen = sizeof hi;      /* longer than any key */
	}
	sqlite3_bind_blob(st, 1, lolen ? (void *)lo : "", lolen, SQLITE_TRANSIENT);
	sqlite3_bind_blob(st, 2, hi, hilen, SQLITE_TRANSIENT);
}

/* FALSE: nothing can be there. */
static gboolean bind_scan_ino(sqlite3_stmt *st, const void *from, gsize fromlen, const void *prefix, gsize plen)
{
	guint8 lo[8] = { 0 }, hi[8];

	memset(hi, 0xff, sizeof hi);
	if (plen) {
		memcpy(lo, prefix, MIN(plen, 8));
		memcpy(hi, prefix, MIN(plen, 8));
	}
	guint64 first = magma_be64_load(lo), last = magma_be64_load(hi);
	if (fromlen) {
		memset(lo, 0, sizeof lo);
		memcpy(lo, from, MIN(fromlen, 8));
		guint64 after = magma_be64_load(lo);
		if (fromlen >= 8 && after == G_MAXUINT64)
			return FALSE;
		first = MAX(first, after + (fromlen >= 8));
	}
	sqlite3_bind_int64(st, 1, ino_to_sql(first));
	sqlite3_bind_int64(st, 2, ino_to_sql(last));
	return first <= last;
}

gboolean db_scan(Db *d, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows, const GArray *overlay, RowSet *out)
{
	sqlite3_stmt *st = d->st[ST_SCAN][t];

	if (ino_table(t)) {
		if (!bind_scan_ino(st, from, fromlen, prefix, plen))
			st = NULL;
	} else {
		bind_scan_bytes(st, from, fromlen, prefix, plen);
	}
	return collect(st, t, max_rows, overlay, out);
}

gboolean db_scan_range(Db *d, const MagmaKey *lo, guint64 after_ino, const MagmaKey *hi, guint max_rows, RowSet *out)
{
	sqlite3_stmt *st = d->sp[SP_RANGE];

	sqlite3_bind_blob(st, 1, lo->b, MAGMA_KEY_LEN, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, ino_to_sql(after_ino));
	sqlite3_bind_blob(st, 3, hi->b, MAGMA_KEY_LEN, SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, max_rows);
	return collect(st, TAB_FLARE, max_rows, NULL, out);
}
