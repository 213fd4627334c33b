#include "magmad/core/store.h"
#include "libmagma/base/wire.h"
#include <string.h>

struct Txn {
	GByteArray *bytes;
};

Txn *txn_new(void)
{
	Txn *t = g_new(Txn, 1);
	t->bytes = g_byte_array_sized_new(512);
	return t;
}

void txn_free(Txn *t)
{
	if (!t)
		return;
	g_byte_array_unref(t->bytes);
	g_free(t);
}

/* Tables whose key is an inode number and nothing else: stores keep them by that number. */
static gboolean key_fits(StoreTable t, gsize klen)
{
	gboolean ino = t == TAB_FLARE || t == TAB_DATA || t == TAB_ORPHAN || t == TAB_DIRTY;

	return ino ? klen == 8 : klen > 0 && klen <= STORE_KEY_MAX;
}

static void record_begin(Txn *t, StoreTable table, guint8 what, const MagmaKey *rk, const void *key, gsize klen)
{
	static const MagmaKey none;

	g_assert(table >= TAB_META && table < TAB_COUNT && key_fits(table, klen));
	magma_put_u8(t->bytes, table);
	magma_put_u8(t->bytes, what);
	magma_put_bytes(t->bytes, rk ? rk : &none, MAGMA_KEY_LEN);
	magma_put_u16(t->bytes, klen);
	magma_put_bytes(t->bytes, key, klen);
}

void txn_put(Txn *t, StoreTable table, const void *key, gsize klen, const MagmaKey *rk, const void *val, gsize vlen)
{
	record_begin(t, table, 1, rk, key, klen);
	magma_put_u32(t->bytes, vlen);
	magma_put_bytes(t->bytes, val, vlen);
}

void txn_del(Txn *t, StoreTable table, const void *key, gsize klen, const MagmaKey *rk)
{
	record_begin(t, table, 0, rk, key, klen);
}

gboolean txn_empty(const Txn *t) { return t->bytes->len == 0; }
GByteArray *txn_bytes(Txn *t) { return t->bytes; }

gboolean txn_each(const guint8 *p, gsize n, gboolean (*fn)(void *user, const StoreRow *row, gboolean del), void *user)
{
	MagmaReader r = magma_reader(p, n);

	while (r.left) {
		StoreRow row = { 0 };
		row.table = magma_get_u8(&r);
		guint8 what = magma_get_u8(&r);
		const guint8 *rk = magma_get_bytes(&r, MAGMA_KEY_LEN);
		row.klen = magma_get_u16(&r);
		row.key = magma_get_bytes(&r, row.klen);
		if (what == 1) {
			row.vlen = magma_get_u32(&r);
			row.val = magma_get_bytes(&r, row.vlen);
		}
		if (r.error || what > 1 || row.table < TAB_META || row.table >= TAB_COUNT || !key_fits(row.table, row.klen))
			return FALSE;
		memcpy(row.rk.b, rk, MAGMA_KEY_LEN);
		if (!fn(user, &row, what == 0))
			return FALSE;
	}
	return TRUE;
}
