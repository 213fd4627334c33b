#include "tests/sim/memdisk.h"
#include <string.h>

gint memrow_cmp(gconstpointer a, gconstpointer b, gpointer user)
{
	const RowKey *x = a, *y = b;

	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	int c = memcmp(x->key, y->key, MIN(x->klen, y->klen));
	return c ? c : (gint)x->klen - (gint)y->klen;
}

static void row_free(gpointer p)
{
	g_free(((MemRow *)p)->val);
	g_free(p);
}

static GTree *rows_new(void) { return g_tree_new_full(memrow_cmp, NULL, NULL, row_free); }

RowKey memrow_key(StoreTable t, const void *key, gsize klen)
{
	RowKey k = { .table = t, .klen = klen };

	if (klen)
		memcpy(k.key, key, klen);
	return k;
}

static gboolean row_apply(void *user, const StoreRow *row, gboolean del)
{
	GTree *rows = user;
	RowKey key = memrow_key(row->table, row->key, row->klen);

	if (del) {
		g_tree_remove(rows, &key);
	} else {
		MemRow *r = g_new(MemRow, 1);
		*r = (MemRow){ .key = key, .rk = row->rk, .vlen = row->vlen, .val = g_memdup2(row->val, row->vlen) };
		g_tree_replace(rows, &r->key, r);
	}
	return TRUE;
}

StoreRow memrow_view(const MemRow *r)
{
	return (StoreRow){ .table = r->key.table, .key = r->key.key, .klen = r->key.klen, .rk = r->rk, .val = r->val, .vlen = r->vlen };
}

static gboolean row_copy(gpointer key, gpointer value, gpointer to)
{
	StoreRow row = memrow_view(value);

	row_apply(to, &row, FALSE);
	return FALSE;
}

static void apply_bytes(GTree *rows, GBytes *txn)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(txn, &n);
	gboolean ok = txn_each(p, n, row_apply, rows);
	g_assert(ok);
}

static void file_free(gpointer p)
{
	MemFile *f = p;
	memcontent_free(f->live);
	memcontent_free(f->synced);
	g_free(f);
}

static void frame_free(gpointer p)
{
	g_bytes_unref(((MemFrame *)p)->txn);
	g_free(p);
}

MemDisk *memdisk_new(void)
{
	MemDisk *d = g_new0(MemDisk, 1);

	d->rows = rows_new();
	d->base = rows_new();
	d->log = g_ptr_array_new_with_free_func(frame_free);
	d->epochs = g_array_new(FALSE, FALSE, sizeof(StoreEpoch));
	d->cuts = g_array_new(FALSE, FALSE, sizeof(guint64));
	d->files = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, file_free);
	return d;
}

void memdisk_free(MemDisk *d)
{
	if (!d)
		return;
	g_assert(!d->in_use);
	g_tree_unref(d->rows);
	g_tree_unref(d->base);
	g_ptr_array_unref(d->log);
	g_array_unref(d->epochs);
	g_array_unref(d->cuts);
	g_hash_table_unref(d->files);
	g_free(d);
}

guint64 memdisk_end(const MemDisk *d) { return d->first + d->log->len; }
static const MemFrame *frame_at(const MemDisk *d, guint64 seq) { return d->log->pdata[seq - d->first - 1]; }
static StorePos pos_at(const MemDisk *d, guint64 seq) { return seq > d->first ? frame_at(d, seq)->pos : d->start; }
guint64 memdisk_index_at(const MemDisk *d, guint64 seq) { return pos_at(d, seq).index; }

guint64 memdisk_seq(const MemDisk *d, guint64 index)
{
	guint64 seq = memdisk_end(d);

	while (seq > d->first && frame_at(d, seq)->pos.index > index)
		seq--;
	return seq;
}

void memdisk_append(MemDisk *d, StorePos pos, gboolean fill, GBytes *txn)
{
	MemFrame *f = g_new(MemFrame, 1);

	*f = (MemFrame){ pos, fill, txn };
	g_ptr_array_add(d->log, f);
	apply_bytes(d->rows, txn);
	if (fill) {
		d->read_floor = pos.index;
	} else if (!d->epochs->len || g_array_index(d->epochs, StoreEpoch, d->epochs->len - 1).epoch < pos.epoch) {
		StoreEpoch e = { pos.epoch, pos.index };
		g_array_append_val(d->epochs, e);
	}
	d->pos = pos;
}

void memdisk_fold(MemDisk *d, guint64 seq)
{
	while (d->base_seq < seq) {
		const MemFrame *f = frame_at(d, ++d->base_seq);
		apply_bytes(d->base, f->txn);
		d->kept += g_bytes_get_size(f->txn);
	}
}

void memdisk_trim(MemDisk *d, guint64 after, guint64 max)
{
	guint n = 0;

	for (; d->first + n < d->base_seq; n++) {
		const MemFrame *f = d->log->pdata[n];
		if (!f->fill && f->pos.index > after && d->kept <= max)
			break;
		d->kept -= g_bytes_get_size(f->txn);
		d->start = f->pos;
	}
	if (n)
		g_ptr_array_remove_range(d->log, 0, n);
	d->first += n;
}

void memdisk_cut(MemDisk *d, guint64 seq)
{
	g_assert(seq >= d->base_seq);
	g_array_append_val(d->cuts, seq);
	d->pos = pos_at(d, seq);
	g_ptr_array_set_size(d->log, seq - d->first);
	g_tree_unref(d->rows);
	d->rows = rows_new();
	g_tree_foreach(d->base, row_copy, d->rows);
	for (guint64 i = d->base_seq; i < seq; i++)
		apply_bytes(d->rows, frame_at(d, i + 1)->txn);
	while (d->epochs->len && g_array_index(d->epochs, StoreEpoch, d->epochs->len - 1).first > d->pos.index)
		g_array_set_size(d->epochs, d->epochs->len - 1);
	d->read_floor = MIN(d->read_floor, d->pos.index);
	d->durable_seq = MIN(d->durable_seq, seq);
}

static void begin_anew(MemDisk *d, StorePos pos)
{
	StoreEpoch e = { pos.epoch, pos.index };
	guint64 nothing = 0;

	g_array_append_val(d->cuts, nothing);
	if (!pos.index)
		pos.epoch = 0;
	g_ptr_array_set_size(d->log, 0);
	g_array_set_size(d->epochs, 0);
	if (pos.index)
		g_array_append_val(d->epochs, e);
	d->first = d->base_seq = d->durable_seq = d->kept = 0;
	d->start = d->pos = pos;
	d->read_floor = pos.index;
}

void memdisk_reset(MemDisk *d, StorePos pos)
{
	g_tree_remove_all(d->rows);
	g_tree_remove_all(d->base);
	g_hash_table_remove_all(d->files);
	begin_anew(d, pos);
}

void memdisk_rebase(MemDisk *d, StorePos pos, GBytes *txn)
{
	apply_bytes(d->base, txn);
	g_tree_remove_all(d->rows);
	g_tree_foreach(d->base, row_copy, d->rows);
	begin_anew(d, pos);
}

MemFile *memdisk_file(MemDisk *d, const MagmaFid *fid)
{
	MemFile *f = g_hash_table_lookup(d->files, fid);

	if (!f) {
		f = g_new0(MemFile, 1);
		g_hash_table_insert(d->files, g_memdup2(fid, sizeof *fid), f);
	}
	return f;
}
