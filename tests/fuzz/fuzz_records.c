/* Bytes as what a volcano keeps and sends of its state: transactions, journal frames, row values. First byte: which. */
#include "tests/fuzz/fuzz.h"
#include "libmagma/base/wire.h"
#include "magmad/core/rows.h"
#include "magmad/store/content.h"
#include "magmad/store/frame.h"
#include <string.h>

static const FrameKey key = { "frames of a fuzz" };       /* as in seeds.c */

static gboolean copy_row(void *user, const StoreRow *row, gboolean del)
{
	if (del)
		txn_del(user, row->table, row->key, row->klen, &row->rk);
	else
		txn_put(user, row->table, row->key, row->klen, &row->rk, row->val, row->vlen);
	return TRUE;
}

/* What reads as records can be written (which asserts every limit) and is the same bytes again. */
static void as_transaction(const guint8 *p, gsize n)
{
	Txn *t = txn_new();

	if (txn_each(p, n, copy_row, t))
		g_assert_cmpmem(txn_bytes(t)->data, txn_bytes(t)->len, p, n);
	txn_free(t);
}

static void as_frames(const guint8 *p, gsize n)
{
	gsize at = 0, size;
	Frame f;

	while (at < n && (size = frame_get(&key, p + at, n - at, &f))) {
		g_assert_true(size <= n - at && f.length <= size && f.durable <= f.index);
		g_assert_true(f.payload >= p + at && f.payload + f.length <= p + at + size);
		as_transaction(f.payload, f.length);
		at += size;
	}
	gsize found = frame_find(&key, p, n, at & ~(gsize)(FRAME_ALIGN - 1), 0, &f);
	g_assert_true(found <= n);
}

/* Checks keep a fuzzer out: give the first frame those it should have. */
static void as_frame_with_right_sum(const guint8 *p, gsize n)
{
	if (n < FRAME_HEADER)
		return;
	g_autofree guint8 *copy = g_memdup2(p, n);
	magma_be32_store(copy + 8, FRAME_MAGIC);
	gsize length = MIN(magma_be32_load(copy + 12), n - FRAME_HEADER);
	magma_be32_store(copy + 12, length);
	magma_be32_store(copy + 40, magma_crc32c(0, copy + FRAME_HEADER, length));
	frame_seal(&key, copy);
	as_frames(copy, n);
}

static void as_row(guint8 kind, const guint8 *p, gsize n)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	FlareRow flare;
	EntryRow entry;
	MarkRow mark;
	MagmaBytes name;
	g_autoptr(GArray) parts = g_array_new(FALSE, FALSE, sizeof(CommitPart));
	g_autoptr(GArray) named = g_array_new(FALSE, FALSE, sizeof(MagmaFid));

	if (kind == 0 && flare_row_decode(p, n, &flare))
		flare_row_encode(&flare, out);
	else if (kind == 1 && entry_row_decode(p, n, &entry))
		entry_row_encode(&entry, out);
	else if (kind == 2 && cookie_row_decode(p, n, &entry, &name))
		cookie_row_encode(&entry, name.data, name.len, out);
	else if (kind == 3 && mark_row_decode(p, n, &mark))
		mark_row_encode(&mark, out);
	else if (kind == 4 && commit_row_decode(p, n, parts, named))
		commit_row_encode((const CommitPart *)(void *)parts->data, parts->len, (const MagmaFid *)(void *)named->data, named->len, out);
	else
		return;
	g_assert_cmpmem(out->data, out->len, p, n);
}

static void as_file_name(const guint8 *p, gsize n)
{
	g_autofree char *text = g_strndup((const char *)p, n);
	char back[CONTENT_NAME_MAX];
	MagmaFid fid;

	if (content_parse_name(text, &fid))
		g_assert_cmpint(g_ascii_strcasecmp(strrchr(content_name(&fid, back), '/') + 1, text), ==, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	const guint8 *p = data + 1;
	gsize n = size - 1;
	switch (data[0] & 7) {
	case 0:
		as_transaction(p, n);
		break;
	case 1:
		as_frames(p, n);
		break;
	case 2:
		as_frame_with_right_sum(p, n);
		break;
	case 3:
		as_file_name(p, n);
		break;
	default:
		if (n)
			as_row(p[0] % 5, p + 1, n - 1);
	}
	return 0;
}
