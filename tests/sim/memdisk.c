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

MemDisk *memdisk_new(void)
{
	MemDisk *d = g_new0(MemDisk, 1);

	d->rows = rows_new();
	d->base = rows_new();
	d->log = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
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
	g_hash_table_unref(d->files);
	g_free(d);
}

guint64 memdisk_index(const MemDisk *d) { return d->base_index + d->log->len; }

void memdisk_fold(MemDisk *d, guint64 k)
{
	guint n = k - d->base_index;

	for (guint i = 0; i < n; i++)
		apply_bytes(d->base, d->log->pdata[i]);
	if (n)
		g_ptr_array_remove_range(d->log, 0, n);
	d->base_index = k;
}

void memdisk_append(MemDisk *d, GBytes *txn)
{
	g_ptr_array_add(d->log, txn);
	apply_bytes(d->rows, txn);
}

void memdisk_cut(MemDisk *d, guint64 k)
{
	g_ptr_array_set_size(d->log, k - d->base_index);
	g_tree_unref(d->rows);
	d->rows = rows_new();
	g_tree_foreach(d->base, row_copy, d->rows);
	for (guint i = 0; i < d->log->len; i++)
		apply_bytes(d->rows, d->log->pdata[i]);
	d->durable = MIN(d->durable, k);
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
