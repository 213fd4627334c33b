/* Scans: through the pool, with what the batches hold put over what sqlite has. Ranges of keys wait for a batch and a merged index. The flares of one key, which lookups ask for, are mostly
 * answered at once. */
#include "magmad/store/disk.h"
#include "libmagma/base/err.h"
#include "libmagma/base/wire.h"
#include <errno.h>
#include <string.h>

#define PEEK_TRIES 3                  /* at the pages that the pool has brought; then the loop waits for the disk itself */

typedef struct {
	PoolJob job;
	DiskStore *d;
	Readers *readers;
	StoreTable table;
	gboolean range;
	gboolean peek;                /* of one key */
	guint tries;
	GArray *inos;                 /* peek: candidates in memory, to be read along */
	guint8 *from, *prefix;
	gsize fromlen, plen;
	MagmaKey lo, hi;
	guint64 after_ino;
	guint max_rows;
	GArray *overlay;              /* OverlayRow, lent by rows; not of ranges */
	guint64 index;                /* of a range: waits until sqlite has everything up to here */
	void (*done)(void *, int, const StoreRow *, guint, gboolean);
	void *user;
	RowSet set;
	int failed;
	GError *error;
	gboolean log;
	GPtrArray *lines;
} ScanJob;

/* Only to have the pages in memory: what they say is asked again on the loop. */
static gboolean peek_bring(ScanJob *s, Db *db)
{
	DbGet got = db_born_at(db, &s->lo, s->inos);

	for (guint i = 0; i < s->inos->len && got != DB_FAILED && got != DB_BUSY; i++) {
		RowValue *v = NULL;
		guint8 key[8];
		magma_be64_store(key, g_array_index(s->inos, guint64, i));
		got = db_get(db, TAB_FLARE, key, sizeof key, &v);
		g_free(v);
	}
	return got != DB_FAILED && got != DB_BUSY;
}

static void scan_run(PoolJob *job)
{
	ScanJob *s = (ScanJob *)job;
	Db *db = readers_take(s->readers, &s->error);

	if (!db)
		return;
	db_log(db, s->log);
	gboolean ok = s->peek ? peek_bring(s, db) : s->range ? db_scan_range(db, &s->lo, s->after_ino, &s->hi, s->max_rows, &s->set)
		: db_scan(db, s->table, s->from, s->fromlen, s->prefix, s->plen, s->max_rows, s->overlay, &s->set);
	if (!ok)
		g_set_error(&s->error, MAGMA_ERROR, EIO, "%s: scanning rows: %s", s->readers->path, db_error(db));
	s->lines = db_log_take(db);
	readers_give(s->readers, db);
}

/* Back on the loop. TRUE: it failed, and that was told. */
static gboolean scan_failed(ScanJob *s)
{
	disk_log_lines(s->d, s->lines);
	if (!s->error)
		return FALSE;
	g_warning("%s", s->error->message);
	s->done(s->user, s->error->code, NULL, 0, FALSE);
	return TRUE;
}

static void scan_done(PoolJob *job)
{
	ScanJob *s = (ScanJob *)job;

	if (scan_failed(s))
		return;
	s->done(s->user, 0, (const StoreRow *)(void *)s->set.rows->data, s->set.rows->len, s->set.eof);
}

static void peek_go(DiskStore *d, ScanJob *s);

static void peek_done(PoolJob *job)
{
	ScanJob *s = (ScanJob *)job;

	if (scan_failed(s))
		return;
	ScanJob *again = g_memdup2(s, sizeof *s);       /* the pool's own goes now */
	again->lines = NULL;
	again->tries++;
	s->inos = NULL;
	s->set = (RowSet){ 0 };
	peek_go(again->d, again);
}

static void scan_free(PoolJob *job)
{
	ScanJob *s = (ScanJob *)job;

	rowset_clear(&s->set);
	rows_overlay_free(s->d->rows, s->overlay);
	if (s->inos)
		g_array_unref(s->inos);
	g_free(s->from);
	g_free(s->prefix);
	g_clear_error(&s->error);
	if (s->lines)
		g_ptr_array_unref(s->lines);
	g_free(s);
}

static ScanJob *scan_new(DiskStore *d, void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user, guint max_rows)
{
	ScanJob *s = g_new0(ScanJob, 1);

	s->job = (PoolJob){ .run = scan_run, .done = scan_done, .free = scan_free };
	s->d = d;
	s->readers = &d->readers;
	s->done = done;
	s->user = user;
	s->max_rows = max_rows;
	s->log = magma_trace_on(d->trace, 's');
	rowset_init(&s->set);
	return s;
}

gboolean disk_index_merged(const DiskStore *d) { return !keys_sealed(d->keys) && !db_stale(d->writer) && !db_merging(d->writer); }

gboolean disk_scan_has_batch(const DiskStore *d)
{
	const ScanJob *first = d->scans.head ? d->scans.head->data : NULL;

	return first && first->index <= d->meta.applied;
}

static gboolean range_may_go(const DiskStore *d, const ScanJob *s, guint64 index)
{
	return s->index <= index && !d->writer_job && disk_index_merged(d);
}

static void range_submit(DiskStore *d, ScanJob *s)
{
	if (rows_touch(d->rows, TAB_FLARE))
		s->index = journal_index(d->journal);
	if (range_may_go(d, s, d->meta.applied)) {
		pool_push(d->pool, &s->job);
		return;
	}
	d->scan_index = MAX(d->scan_index, s->index);
	g_queue_push_tail(&d->scans, s);
	disk_wake(d);
}

void disk_scan(Store *s, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	ScanJob *j = scan_new(DISK(s), done, user, max_rows);

	g_assert(t >= TAB_META && t < TAB_COUNT && fromlen <= STORE_KEY_MAX && plen <= STORE_KEY_MAX);
	j->table = t;
	j->from = g_memdup2(from, fromlen);
	j->fromlen = fromlen;
	j->prefix = g_memdup2(prefix, plen);
	j->plen = plen;
	j->overlay = rows_overlay(DISK(s)->rows, t, from, fromlen, prefix, plen, max_rows);
	pool_push(DISK(s)->pool, &j->job);
}

/* --- the flares of one key --- */

static gint ino_cmp(gconstpointer a, gconstpointer b)
{
	guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;
	return x < y ? -1 : x > y;
}

/* Adds a candidate's row where it is a flare of that key. FALSE: it must be read by the pool. */
static gboolean peek_row(DiskStore *d, ScanJob *s, guint64 ino, gboolean may_block)
{
	guint8 key[8];

	magma_be64_store(key, ino);
	RowNode *n = rows_find(d->rows, TAB_FLARE, key, sizeof key);
	if (n ? !n->known : !(n = disk_get_now(d, TAB_FLARE, key, sizeof key, may_block)))
		return FALSE;
	n->used = TRUE;
	if (n->val && magma_key_equal(&n->val->rk, &s->lo)) {
		StoreRow row = { .table = TAB_FLARE, .key = key, .klen = sizeof key, .rk = s->lo, .val = n->val->bytes, .vlen = n->val->len };
		rowset_add(&s->set, &row);
	}
	return TRUE;
}

static gboolean peek_try(DiskStore *d, ScanJob *s, gboolean may_block)
{
	guint64 last = 0;

	g_array_set_size(s->inos, 0);
	g_array_set_size(s->set.rows, 0);
	g_byte_array_set_size(s->set.bytes, 0);
	keys_find(d->keys, &s->lo, s->inos);
	disk_loop_db(d, may_block);
	DbGet got = db_born_at(d->loop_db, &s->lo, s->inos);
	disk_loop_db_done(d, got);
	if (got != DB_FOUND && got != DB_ABSENT)
		return FALSE;
	g_array_sort(s->inos, ino_cmp);
	for (guint i = 0; i < s->inos->len && s->set.rows->len <= s->max_rows; i++) {
		guint64 ino = g_array_index(s->inos, guint64, i);
		if (ino != last && !peek_row(d, s, ino, may_block))
			return FALSE;
		last = ino;
	}
	s->set.eof = s->set.rows->len <= s->max_rows;
	if (!s->set.eof)
		g_array_set_size(s->set.rows, s->max_rows);
	rowset_finish(&s->set);
	return TRUE;
}

/* Takes s: to the answers of this turn, or to the pool first. */
static void peek_go(DiskStore *d, ScanJob *s)
{
	if (peek_try(d, s, s->tries >= PEEK_TRIES)) {
		g_queue_push_tail(&d->answers, s);
	} else if (d->failed) {
		s->done(s->user, EIO, NULL, 0, FALSE);
		scan_free(&s->job);
	} else {
		pool_push(d->pool, &s->job);
	}
	disk_wake(d);
}

void disk_answers_tell(DiskStore *d)
{
	for (guint n = d->answers.length; n; n--) {
		ScanJob *s = g_queue_pop_head(&d->answers);
		if (s->failed)
			s->done(s->user, s->failed, NULL, 0, FALSE);
		else
			s->done(s->user, 0, (const StoreRow *)(void *)s->set.rows->data, s->set.rows->len, s->set.eof);
		scan_free(&s->job);
	}
}

void disk_scan_range(Store *s, const MagmaKey *lo, const MagmaKey *hi, guint64 after_ino, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	ScanJob *j = scan_new(DISK(s), done, user, max_rows);

	j->table = TAB_FLARE;
	j->lo = *lo;
	j->hi = *hi;
	j->after_ino = after_ino;
	if (magma_key_equal(lo, hi) && !after_ino) {
		j->peek = TRUE;
		j->job.done = peek_done;
		j->inos = g_array_new(FALSE, FALSE, sizeof(guint64));
		peek_go(DISK(s), j);
	} else {
		j->range = TRUE;
		range_submit(DISK(s), j);
	}
}

/* --- ranges that wait --- */

void disk_scans_go(DiskStore *d, guint64 index, int error)
{
	GQueue waiting = d->scans;
	ScanJob *s;

	g_queue_init(&d->scans);
	while ((s = g_queue_pop_head(&waiting))) {
		if (error) {
			s->failed = error;      /* told at the end of the turn: this may be the middle of a commit */
			g_queue_push_tail(&d->answers, s);
		} else if (range_may_go(d, s, index)) {
			pool_push(d->pool, &s->job);
		} else {
			g_queue_push_tail(&d->scans, s);
		}
	}
}

void disk_scans_free(DiskStore *d)
{
	for (ScanJob *s; (s = g_queue_pop_head(&d->scans)) || (s = g_queue_pop_head(&d->answers)); )
		scan_free(&s->job);
}
