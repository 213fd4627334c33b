#include "magmad/mirror/item.h"
#include <openssl/evp.h>
#include <string.h>
#include "libmagma/proto/list.h"

void item_writer_init(ItemWriter *w)
{
	w->heads = g_byte_array_new();
	w->payloads = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	w->bytes = 0;
}

void item_writer_clear(ItemWriter *w)
{
	g_byte_array_unref(w->heads);
	g_ptr_array_unref(w->payloads);
}

gboolean item_fits(const ItemWriter *w, gsize payload)
{
	return w->heads->len <= ITEM_HEADS_MAX && (!w->bytes || payload <= ITEM_MESSAGE_MAX - w->bytes);
}

void item_put(ItemWriter *w, const Item *i, GBytes *payload)
{
	gsize n = payload ? g_bytes_get_size(payload) : 0;

	g_assert(n <= ITEM_MESSAGE_MAX - w->bytes);
	magma_put_u8(w->heads, i->kind);
	switch (i->kind) {
	case ITEM_FRAME:
		magma_put_u64(w->heads, i->pos.epoch);
		magma_put_u64(w->heads, i->pos.index);
		magma_put_u8(w->heads, i->needs_n);
		for (guint k = 0; i->needs_n != ITEM_NEEDS_ALL && k < i->needs_n; k++)
			magma_put_u64(w->heads, i->needs[k]);
		break;
	case ITEM_CONTENT:
		magma_put_u64(w->heads, i->number);
		magma_put_u8(w->heads, i->what);
		magma_put_fid(w->heads, &i->fid);
		magma_put_u64(w->heads, i->off);
		magma_put_u64(w->heads, i->len);
		magma_put_u32(w->heads, i->mode);
		break;
	case ITEM_COMMIT:
		magma_put_u64(w->heads, i->pos.index);
		break;
	case ITEM_DIGEST:
		magma_put_u64(w->heads, i->number);
		magma_put_fid(w->heads, &i->fid);
		magma_put_u64(w->heads, i->off);
		magma_put_u64(w->heads, i->len);
		magma_put_bytes(w->heads, i->digest, ITEM_DIGEST_LEN);
		break;
	case ITEM_PART:
	case ITEM_ROWS:
	case ITEM_WHOLE:
		break;
	}
	magma_put_u32(w->heads, n);
	if (n)
		g_ptr_array_add(w->payloads, g_bytes_ref(payload));
	w->bytes += n;
}

GBytes *item_body(const ItemWriter *w)
{
	if (w->payloads->len == 1)
		return g_bytes_ref(w->payloads->pdata[0]);
	guint8 *all = g_malloc(MAX(w->bytes, 1));
	gsize at = 0, n;
	for (guint i = 0; i < w->payloads->len; i++) {
		const guint8 *p = g_bytes_get_data(w->payloads->pdata[i], &n);
		memcpy(all + at, p, n);
		at += n;
	}
	return g_bytes_new_take(all, w->bytes);
}

gboolean item_get(MagmaReader *h, MagmaReader *bytes, Item *i)
{
	const guint8 *p;

	*i = (Item){ .kind = magma_get_u8(h) };
	switch (i->kind) {
	case ITEM_FRAME:
		i->pos.epoch = magma_get_u64(h);
		i->pos.index = magma_get_u64(h);
		i->needs_n = magma_get_u8(h);
		if (i->needs_n == ITEM_NEEDS_ALL)
			break;
		if (i->needs_n > ITEM_NEEDS_MAX)
			return FALSE;
		for (guint k = 0; k < i->needs_n; k++)
			i->needs[k] = magma_get_u64(h);
		break;
	case ITEM_CONTENT:
		i->number = magma_get_u64(h);
		i->what = magma_get_u8(h);
		i->fid = magma_get_fid(h);
		i->off = magma_get_u64(h);
		i->len = magma_get_u64(h);
		i->mode = magma_get_u32(h);
		if (i->what < DO_WRITE || i->what > DO_SYNC)
			return FALSE;
		break;
	case ITEM_COMMIT:
		i->pos.index = magma_get_u64(h);
		break;
	case ITEM_DIGEST:
		i->number = magma_get_u64(h);
		i->fid = magma_get_fid(h);
		i->off = magma_get_u64(h);
		i->len = magma_get_u64(h);
		p = magma_get_bytes(h, ITEM_DIGEST_LEN);
		if (p)
			memcpy(i->digest, p, ITEM_DIGEST_LEN);
		if (i->len > ITEM_MESSAGE_MAX)
			return FALSE;
		break;
	case ITEM_PART:
	case ITEM_ROWS:
	case ITEM_WHOLE:
		break;
	default:
		return FALSE;
	}
	i->payload_len = magma_get_u32(h);
	i->payload = magma_get_bytes(bytes, i->payload_len);
	return !h->error && !bytes->error;
}

void item_digest(const guint8 *p, gsize n, guint8 out[ITEM_DIGEST_LEN])
{
	guint len = 0;

	if (EVP_Digest(p, n, out, &len, EVP_sha256(), NULL) != 1 || len != ITEM_DIGEST_LEN)
		g_error("SHA-256 is not to be had");
}

gboolean item_zeros(const guint8 *p, gsize n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

guint64 item_mark_whole(Store *s)
{
	Txn *t = txn_new();

	txn_put(t, TAB_META, META_WHOLE, strlen(META_WHOLE), NULL, "", 0);
	txn_del(t, TAB_META, META_FILL, strlen(META_FILL), NULL);
	GByteArray *b = txn_bytes(t);
	guint64 fill = s->log->fill(s, b->data, b->len);
	txn_free(t);
	return fill;
}
