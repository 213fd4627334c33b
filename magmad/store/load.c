/* What memory holds of the disk: brought when the store is opened, and anew when a cut or a reset has changed what is there. */
#include "magmad/store/disk.h"
#include "magmad/store/check.h"
#include "magmad/store/layout.h"
#include "magmad/store/reread.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

#define WRITER_CACHE_KIB (16 * 1024)  /* inner pages of every tree of a large store, and a batch's leaves */
#define LOOP_CACHE_KIB 2048

static void load_key(void *user, guint64 ino, const MagmaKey *rk) { keys_add(((DiskStore *)user)->keys, rk, ino); }

static void merge_loaded(void *user)
{
	DiskStore *d = user;
	d->merge_keys = keys_seal(d->keys);
}

static gboolean load_keys(DiskStore *d, GError **error)
{
	if (db_each_fresh(d->writer, load_key, merge_loaded, d) != 0) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", d->db_path, db_error(d->writer));
		return FALSE;
	}
	d->written_keys = keys_seal(d->keys);
	return TRUE;
}

static gboolean load_resident(DiskStore *d, GError **error)
{
	for (guint t = TAB_META; t < TAB_COUNT; t++) {
		guint8 from[STORE_KEY_MAX];
		gsize fromlen = 0;
		gboolean eof = !rows_resident(t);
		while (!eof) {
			RowSet set;
			rowset_init(&set);
			if (!db_scan(d->writer, t, from, fromlen, NULL, 0, 4096, NULL, &set)) {
				g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", d->db_path, db_error(d->writer));
				rowset_clear(&set);
				return FALSE;
			}
			for (guint i = 0; i < set.rows->len; i++) {
				const StoreRow *row = &g_array_index(set.rows, StoreRow, i);
				if (row->klen == 0 || row->klen > STORE_KEY_MAX) {
					g_set_error(error, MAGMA_ERROR, EIO, "%s: a row of %s has a key of %" G_GSIZE_FORMAT " bytes", d->db_path, store_table_name(t), row->klen);
					rowset_clear(&set);
					return FALSE;
				}
				rows_insert_clean(d->rows, t, row->key, row->klen, row_value_new(&row->rk, row->val, row->vlen));
				memcpy(from, row->key, row->klen);
				fromlen = row->klen;
			}
			eof = set.eof || !set.rows->len;
			rowset_clear(&set);
		}
	}
	return TRUE;
}

gboolean disk_open_db(DiskStore *d, GError **error)
{
	g_autofree char *log = g_strconcat(d->db_path, "-wal", NULL);

	/* Batches of which it lacks some end before these; the journal has them. The database is written anew from it. */
	if (!reread_file(log, error))
		return FALSE;
	d->writer = db_open(d->db_path, NULL, TRUE, WRITER_CACHE_KIB, error);
	if (!d->writer)
		return FALSE;
	if (!db_frame_key(d->writer, &d->key)) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: the journal's key is missing", d->db_path);
		return FALSE;
	}
	d->vfs = nowait_vfs_new(d->db_path);
	d->loop_db = db_open(d->db_path, nowait_vfs_name(d->vfs), FALSE, LOOP_CACHE_KIB, error);
	if (!d->loop_db)
		return FALSE;
	nowait_vfs_enable(d->vfs, TRUE);
	return TRUE;
}

static gboolean db_trouble(DiskStore *d, GError **error)
{
	g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", d->db_path, db_error(d->writer));
	return FALSE;
}

/* A reset that a crash cut off. */
static gboolean empty_on(DiskStore *d, GError **error)
{
	DbEmptying what = db_emptying(d->writer);

	if (what == DB_EMPTYING_NOT)
		return TRUE;
	if (what == DB_EMPTYING_UNREAD)
		return db_trouble(d, error);
	if (what == DB_EMPTYING)
		g_message("%s: goes on being emptied", d->dir);
	return layout_empty(d->dir, what == DB_REBASING, error) && (db_emptied(d->writer) == 0 || db_trouble(d, error));
}

static gboolean replay_frame(void *user, const Frame *f)
{
	DiskStore *d = user;

	if (f->kind == FRAME_TXN)
		disk_epoch_note(d, (StorePos){ f->epoch, f->index });
	return txn_each(f->payload, f->length, disk_commit_row, d);
}

static gboolean load_journal(DiskStore *d, GError **error)
{
	g_autofree char *dir = layout_journal(d->dir);
	g_auto(JournalScan) scan = { 0 };

	if (!journal_scan(dir, &d->key, d->meta.applied, d->meta.durable, replay_frame, d, &scan, error))
		return FALSE;
	if ((scan.last < d->meta.applied || scan.stale) && db_checkpoint(d->writer) != 0)
		return db_trouble(d, error);
	scan.durable = MAX(scan.durable, d->meta.durable);
	d->journal = journal_open(dir, &d->key, d->segment_bytes, d->meta.applied, d->meta.epoch, &scan, error);
	if (!d->journal)
		return FALSE;
	d->fills_before = journal_fills(d->journal);
	MAGMA_TRACE(d->trace, 'J', "replayed from index %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, d->meta.applied, journal_index(d->journal));
	return TRUE;
}

static gboolean load_rows(DiskStore *d, GError **error)
{
	g_clear_pointer(&d->merge, db_merge_free);
	g_clear_pointer(&d->rows, rows_free);
	g_clear_pointer(&d->keys, keys_free);
	d->rows = rows_new(d->cache_bytes);
	d->keys = keys_new();
	d->batch_failed = FALSE;
	d->batch_at = 0;
	return load_resident(d, error) && load_keys(d, error);
}

gboolean disk_load_again(DiskStore *d, GError **error)
{
	JournalRead *r = journal_read_all_begin(d->journal, d->meta.applied);
	g_autofree char *text = NULL;
	gboolean ok = load_rows(d, error);

	if (ok && journal_read_run(r, &text) != 0) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s", text ? text : "the journal's segments are gone");
		ok = FALSE;
	}
	for (guint i = 0; ok && i < journal_read_count(r); i++) {
		Frame f;
		journal_read_frame(r, i, &f);
		replay_frame(d, &f);
	}
	journal_read_end(d->journal, r);
	return ok;
}

gboolean disk_load(DiskStore *d, GError **error)
{
	if (!empty_on(d, error))
		return FALSE;
	if (!db_meta(d->writer, &d->meta))
		return db_trouble(d, error);
	d->epochs = d->meta.epochs;
	if (!d->epochs.n && d->meta.applied)
		d->epochs = (DbEpochs){ 1, { { d->meta.epoch, d->meta.applied } } };
	if (!load_rows(d, error) || !load_journal(d, error))
		return FALSE;
	d->acked = d->told = d->told_written = journal_index(d->journal);
	d->epoch = MAX(d->epoch, journal_epoch(d->journal));
	d->applied_fills = d->sealed_fills = d->checkpointed = d->checkpointed_fills = 0;
	/* Segments that an earlier life kept may have to give way at once. */
	if (journal_keeps(d->journal, d->meta.applied, 0) && db_sync(d->writer) == 0)
		d->checkpointed = d->meta.applied;
	d->told_fills = d->fills_before;
	return TRUE;
}

void disk_unload(DiskStore *d)
{
	g_clear_pointer(&d->merge, db_merge_free);
	g_clear_pointer(&d->journal, journal_close);
	g_clear_pointer(&d->rows, rows_free);
	g_clear_pointer(&d->keys, keys_free);
}
