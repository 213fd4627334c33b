/* The merge of the index of flares by key: what waits in the tables of one side goes into `born`, a slice at a time, while batches write to those of the other side.
 *
 * What holds between any two transactions, so also after a crash: the entry of a flare that is there is in born or in fresh of a side, and if it is in stale of a side, it is in fresh of that side
 * or of the one merged later; an entry in born, or on its way there, of a flare that is not there is in stale. So stale goes before fresh. A side's tables are emptied only by the last slice, and
 * applying them again changes nothing: a merge that was cut off begins anew. */
#include "magmad/store/db_inside.h"
#include "libmagma/base/wire.h"
#include <string.h>

typedef struct {
	MagmaKey rk;
	gint64 k;
	gboolean in;
} Change;

struct DbMerge {
	GArray *changes;              /* Change, in the order of born */
	guint done, stale;
};

/* Out before in: a flare that went and came back to the same place is in both. */
static gint change_cmp(gconstpointer a, gconstpointer b)
{
	const Change *x = a, *y = b;
	int c = memcmp(x->rk.b, y->rk.b, MAGMA_KEY_LEN);

	if (c || x->k != y->k)
		return c ? c : x->k < y->k ? -1 : 1;
	return x->in - y->in;
}

static int load(Db *d, guint which, gboolean in, GArray *out)
{
	sqlite3_stmt *st = d->sp[which];
	int rc;

	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		Change c = { .k = sqlite3_column_int64(st, 0), .in = in };
		db_column_rk(st, 1, &c.rk);
		g_array_append_val(out, c);
	}
	sqlite3_reset(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* From now on batches write to the other side. */
static int turn_over(Db *d)
{
	sqlite3_stmt *st = d->sp[SP_SIDE_PUT];

	sqlite3_bind_int64(st, 1, !d->side);
	int rc = db_full_or(d, db_run(d, SP_SIDE_PUT));
	if (rc != SQLITE_OK)
		return rc;
	d->side = !d->side;
	d->merging = TRUE;
	return SQLITE_OK;
}

int db_merge_begin(Db *d, DbMerge **out)
{
	int rc = d->merging ? SQLITE_OK : turn_over(d);
	DbMerge *m = g_new0(DbMerge, 1);

	m->changes = g_array_new(FALSE, FALSE, sizeof(Change));
	if (rc == SQLITE_OK)
		rc = load(d, SP_STALE_ALL + !d->side, FALSE, m->changes);
	m->stale = m->changes->len;
	if (rc == SQLITE_OK)
		rc = load(d, SP_FRESH_ALL + !d->side, TRUE, m->changes);
	if (rc != SQLITE_OK) {
		db_merge_free(m);
		return rc;
	}
	g_array_sort(m->changes, change_cmp);
	*out = m;
	return SQLITE_OK;
}

static int apply(Db *d, const Change *c)
{
	sqlite3_stmt *st = d->sp[c->in ? SP_BORN_IN : SP_BORN_OUT];

	sqlite3_bind_int64(st, 1, c->k);
	sqlite3_bind_blob(st, 2, c->rk.b, MAGMA_KEY_LEN, SQLITE_STATIC);
	return db_step_done(st);
}

int db_merge_slice(Db *d, DbMerge *m, guint max)
{
	guint end = m->done + MIN(max, m->changes->len - m->done);
	gboolean last = end == m->changes->len;
	int rc = db_run(d, SP_BEGIN_WRITE);

	for (guint i = m->done; i < end && rc == SQLITE_OK; i++)
		rc = apply(d, &g_array_index(m->changes, Change, i));
	if (rc == SQLITE_OK && last)
		rc = db_run(d, SP_FRESH_CLEAR + !d->side);
	if (rc == SQLITE_OK && last)
		rc = db_run(d, SP_STALE_CLEAR + !d->side);
	if (rc == SQLITE_OK)
		rc = db_run(d, SP_COMMIT);
	rc = db_full_or(d, rc);
	if (rc != SQLITE_OK) {
		db_roll_back(d);
		return rc;
	}
	m->done = end;
	if (last) {
		d->merging = FALSE;
		d->stale -= MIN(d->stale, m->stale);
	}
	return SQLITE_OK;
}

gboolean db_merge_done(const DbMerge *m) { return m->done == m->changes->len; }

guint64 db_merge_upto(const DbMerge *m)
{
	return db_merge_done(m) ? (guint64)G_MAXUINT32 + 1 : magma_be32_load(g_array_index(m->changes, Change, m->done).rk.b);
}

void db_merge_free(DbMerge *m)
{
	if (!m)
		return;
	g_array_unref(m->changes);
	g_free(m);
}

gboolean db_merging(const Db *d) { return d->merging; }

guint db_stale(const Db *d) { return d->stale; }

/* Which side collects, and whether the other one holds a merge that was cut off. */
static int load_side(Db *d, guint counts[2])
{
	sqlite3_stmt *st = d->sp[SP_SIDES_GET];
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW) {
		d->side = sqlite3_column_int(st, 0) != 0;
		counts[0] = sqlite3_column_int(st, 1);
		counts[1] = sqlite3_column_int(st, 2);
		d->merging = sqlite3_column_int(st, 3 + !d->side) || counts[!d->side];
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int db_each_fresh(Db *d, void (*fn)(void *user, guint64 ino, const MagmaKey *rk), void (*between)(void *user), void *user)
{
	guint counts[2] = { 0 };
	int rc = load_side(d, counts);

	if (rc == SQLITE_OK)
		d->stale = counts[0] + counts[1];
	for (guint i = 0; i < 2 && rc == SQLITE_OK; i++) {
		sqlite3_stmt *st = d->sp[SP_FRESH_ALL + (i ? d->side : !d->side)];
		while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
			MagmaKey rk;
			db_column_rk(st, 1, &rk);
			fn(user, ino_from_sql(sqlite3_column_int64(st, 0)), &rk);
		}
		sqlite3_reset(st);
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
		if (i == 0)
			between(user);
	}
	return rc;
}
