#include "magmad/store/check_inside.h"
#include "magmad/store/db_inside.h"
#include "magmad/store/diskstore.h"
#include "magmad/store/layout.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PAGE_ROWS 1000

static const char *const table_names[TAB_COUNT] = {
#define SQL_NAME(t, n) [t] = n,
	SQL_INO_TABLES(SQL_NAME) SQL_KEY_TABLES(SQL_NAME)
};

const char *store_table_name(StoreTable t) { return t < TAB_COUNT && table_names[t] ? table_names[t] : "?"; }

void store_check_clear(StoreCheck *c)
{
	journal_scan_clear(&c->journal);
	g_clear_pointer(&c->problems, g_ptr_array_unref);
	g_clear_pointer(&c->notes, g_ptr_array_unref);
}

void check_problem(Check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_ptr_array_add(c->out->problems, g_strdup_vprintf(fmt, ap));
	va_end(ap);
}

void check_note(Check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_ptr_array_add(c->out->notes, g_strdup_vprintf(fmt, ap));
	va_end(ap);
}

RowValue *check_get(Check *c, StoreTable t, const void *key, gsize klen)
{
	RowValue *v = NULL;

	if (db_get(c->db, t, key, klen, &v) == DB_FAILED)
		check_problem(c, "state.db: reading a row of %s: %s", store_table_name(t), db_error(c->db));
	return v;
}

gboolean check_flare(Check *c, guint64 ino, FlareRow *row, RowValue **hold)
{
	guint8 key[STORE_KEY_MAX];

	*hold = check_get(c, TAB_FLARE, key, key_ino(key, ino));
	return *hold && flare_row_decode((*hold)->bytes, (*hold)->len, row);
}

void check_each(Check *c, StoreTable t, void (*fn)(Check *c, const StoreRow *row))
{
	guint8 from[STORE_KEY_MAX];
	gsize fromlen = 0;
	gboolean eof = FALSE;

	while (!eof) {
		RowSet set;
		rowset_init(&set);
		if (!db_scan(c->db, t, from, fromlen, NULL, 0, PAGE_ROWS, NULL, &set)) {
			check_problem(c, "state.db: reading the rows of %s: %s", store_table_name(t), db_error(c->db));
			set.eof = TRUE;
		}
		for (guint i = 0; i < set.rows->len; i++) {
			const StoreRow *row = &g_array_index(set.rows, StoreRow, i);
			if (row->klen == 0 || row->klen > STORE_KEY_MAX) {
				check_problem(c, "state.db: a row of %s has a key of %" G_GSIZE_FORMAT " bytes", store_table_name(t), row->klen);
				set.eof = TRUE;
				break;
			}
			fn(c, row);
			memcpy(from, row->key, row->klen);
			fromlen = row->klen;
		}
		eof = set.eof || !set.rows->len;
		rowset_clear(&set);
	}
}

/* --- the journal over sqlite, for the time of the check --- */

static gboolean replay_row(void *user, const StoreRow *row, gboolean del)
{
	rows_commit(user, row, del ? NULL : row_value_new(&row->rk, row->val, row->vlen));
	return TRUE;
}

static gboolean replay(void *user, const Frame *f)
{
	return txn_each(f->payload, f->length, replay_row, user);
}

static gboolean overlay_journal(Check *c, const FrameKey *key, DbMeta *meta, GError **error)
{
	g_autofree char *dir = layout_journal(c->dir);
	g_autoptr(GError) damage = NULL;
	Rows *rows = rows_new(0);

	c->out->journal_readable = journal_scan(dir, key, meta->applied, meta->durable, replay, rows, &c->out->journal, &damage);
	if (!c->out->journal_readable)
		check_problem(c, "%s", damage->message);
	else if (c->out->journal.cut_file)
		check_note(c, "journal: a torn tail of %" G_GUINT64_FORMAT " bytes at %s, offset %" G_GUINT64_FORMAT ", will be cut", c->out->journal.cut_bytes, c->out->journal.cut_file, c->out->journal.cut_at);
	else if (c->out->journal.last < meta->applied)
		check_note(c, "journal: it ends at index %" G_GUINT64_FORMAT ", before the rows (%" G_GUINT64_FORMAT "); it will begin anew", c->out->journal.last, meta->applied);
	int rc = db_run(c->db, SP_BEGIN_WRITE);
	if (rc == SQLITE_OK)
		rc = db_write_rows(c->db, rows_freeze(rows, c->out->journal.last), meta);
	if (rc != SQLITE_OK)
		g_set_error(error, MAGMA_ERROR, db_errno(rc), "%s: %s", c->dir, db_error(c->db));
	rows_thaw(rows);
	rows_free(rows);
	return rc == SQLITE_OK;
}

/* --- what sqlite itself says --- */

/* Each row of the statement is a problem. */
static void check_sql(Check *c, const char *sql, const char *what)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(c->db->db, sql, -1, &st, NULL);

	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(st, 0);
		if (g_strcmp0(text, "ok"))
			check_problem(c, "state.db: %s%s", what, text ? text : "?");
		rc = SQLITE_OK;
	}
	if (rc != SQLITE_DONE)
		check_problem(c, "state.db: %s%s", what, sqlite3_errmsg(c->db->db));
	sqlite3_finalize(st);
}

static void check_db(Check *c, const DbMeta *meta)
{
	check_sql(c, SQL_CHECK_INTEGRITY, "");
	check_sql(c, SQL_CHECK_UNINDEXED, "the index of flares by key lacks flare ");
	if (meta->flares < 0 || (guint64)meta->flares != c->out->rows[TAB_FLARE])
		check_problem(c, "state.db: it counts %" G_GINT64_FORMAT " flares, but has %" G_GUINT64_FORMAT, meta->flares, c->out->rows[TAB_FLARE]);
}

/* --- all of it --- */

static void check_begin(Check *c)
{
	c->now = g_get_real_time();
	c->named = g_hash_table_new(NULL, NULL);
	c->marked = g_hash_table_new(NULL, NULL);
	c->orphans = g_hash_table_new(NULL, NULL);
	c->dirty = g_hash_table_new(NULL, NULL);
	c->sizes = g_hash_table_new(NULL, NULL);
}

static void check_end(Check *c)
{
	g_hash_table_unref(c->named);
	g_hash_table_unref(c->marked);
	g_hash_table_unref(c->orphans);
	g_hash_table_unref(c->dirty);
	g_hash_table_unref(c->sizes);
}

static gboolean check_locked(Check *c, GError **error)
{
	g_autofree char *path = layout_db(c->dir);
	DbMeta meta;
	FrameKey key;

	c->db = db_open(path, NULL, TRUE, 64 * 1024, error);
	if (!c->db)
		return FALSE;
	if (!db_meta(c->db, &meta)) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", path, db_error(c->db));
		return FALSE;
	}
	if (!db_frame_key(c->db, &key)) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: the journal's key is missing", path);
		return FALSE;
	}
	c->out->applied = meta.applied;
	c->out->durable = meta.durable;
	DbEmptying what = db_emptying(c->db);
	if (what == DB_EMPTYING_UNREAD) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", path, db_error(c->db));
		return FALSE;
	}
	gboolean emptying = what != DB_EMPTYING_NOT;
	if (emptying)
		check_note(c, what == DB_EMPTYING ? "the folder is being emptied, to be filled anew; the next start goes on with it"
			: "the journal is being emptied, so that the rows can be compared with their owner's; the next start goes on with it");
	else if (!overlay_journal(c, &key, &meta, error))
		return FALSE;
	check_begin(c);
	check_rows(c);
	if (!emptying)
		check_content_files(c);
	check_db(c, &meta);
	check_end(c);
	if (!emptying)
		db_run(c->db, SP_ROLLBACK);
	return TRUE;
}

gboolean store_check(const char *dir, const StoreCheckOptions *opt, StoreCheck *out, GError **error)
{
	*out = (StoreCheck){ .problems = g_ptr_array_new_with_free_func(g_free), .notes = g_ptr_array_new_with_free_func(g_free) };
	Check c = { .dir = dir, .opt = opt, .out = out };
	if (!layout_check(dir, error))
		return FALSE;
	int lock = opt->locked ? -1 : diskstore_lock(dir, error);
	if (lock < 0 && !opt->locked)
		return FALSE;
	gboolean ok = check_locked(&c, error);
	if (c.db)
		db_leave_log(c.db);
	db_close(c.db);
	if (lock >= 0)
		close(lock);
	return ok;
}
