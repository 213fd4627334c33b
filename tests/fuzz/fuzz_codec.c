/* Bytes as a message, as bare fields, and as the lists that travel inside fields. */
#include "tests/fuzz/fuzz.h"
#include "libmagma/proto/list.h"

/* What decodes is well-formed: it encodes (which asserts every limit) to the same bytes, routes and dumps. */
static void as_message(const guint8 *p, gsize n)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	MagmaAny fields;
	MagmaHdr h, peeked;
	MagmaKey key;
	gsize at = 0;

	if (magma_msg_decode(p, n, &h, &fields))
		return;
	const MagmaAny *f = h.kind == MAGMA_REPLY && h.error ? NULL : &fields;
	magma_msg_encode(&h, f, FALSE, out);
	g_assert_cmpmem(out->data, out->len, p, n);
	g_assert_cmpint(magma_msg_peek(p, n, &peeked, &at), ==, 0);
	g_assert_true(at <= n);
	if (h.kind == MAGMA_REQUEST)
		magma_msg_route(h.op, f, &key);
	g_autofree char *line = magma_msg_dump(&h, f);
	for (const char *c = line; *c; c++)
		g_assert_true(g_ascii_isprint(*c));
}

/* First byte: the operation, its highest bit: of a reply. */
static void as_fields(const guint8 *p, gsize n)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	MagmaAny fields;

	if (n < 1 || !magma_op_info(p[0] & 127))
		return;
	MagmaOp op = (MagmaOp)(p[0] & 127);
	MagmaMsgKind kind = p[0] & 128 ? MAGMA_REPLY : MAGMA_REQUEST;
	if (magma_fields_decode(op, kind, p + 1, n - 1, &fields))
		return;
	magma_fields_encode(op, kind, &fields, out);
	g_assert_cmpmem(out->data, out->len, p + 1, n - 1);
}

static void as_lists(const guint8 *p, gsize n)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	MagmaReader r = magma_reader(p, n);

	while (r.left) {
		MagmaDirent d;
		magma_get_dirent(&r, &d);
		if (r.error)
			break;
		magma_put_dirent(out, &d);
	}
	g_assert_true(out->len <= n);
	g_assert_cmpmem(out->data, out->len, p, out->len);
	for (r = magma_reader(p, n); r.left;) {
		MagmaAttr a;
		magma_get_attr(&r, &a);
	}
	for (r = magma_reader(p, n); r.left;) {
		MagmaAddr a;
		char text[MAGMA_ADDR_TEXT];
		magma_get_addr(&r, &a);
		magma_addr_format(&a, text);
	}
	for (r = magma_reader(p, n); r.left;) {
		MagmaBytes b = magma_get_counted(&r, 1000);
		g_assert_true(b.len <= 1000);
	}
	for (r = magma_reader(p, n); r.left;)
		magma_get_varint(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	as_message(data, size);
	as_fields(data, size);
	as_lists(data, size);
	return 0;
}
