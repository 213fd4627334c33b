#include "libmagma/base/wire.h"
#include <string.h>

#define VARINT_MAX ((G_GUINT64_CONSTANT(1) << 62) - 1)

const guint8 *magma_get_bytes(MagmaReader *r, gsize n)
{
	const guint8 *p = r->p;

	if (r->error || n > r->left) {
		r->error = TRUE;
		r->left = 0;
		return NULL;
	}
	if (n == 0)
		return p;       /* p may be NULL in an empty buffer: no arithmetic on it */
	r->p += n;
	r->left -= n;
	return p;
}

guint8 magma_get_u8(MagmaReader *r)
{
	const guint8 *p = magma_get_bytes(r, 1);
	return p ? p[0] : 0;
}

guint16 magma_get_u16(MagmaReader *r)
{
	const guint8 *p = magma_get_bytes(r, 2);
	return p ? (guint16)(p[0] << 8 | p[1]) : 0;
}

guint32 magma_get_u32(MagmaReader *r)
{
	const guint8 *p = magma_get_bytes(r, 4);
	return p ? magma_be32_load(p) : 0;
}

guint64 magma_get_u64(MagmaReader *r)
{
	const guint8 *p = magma_get_bytes(r, 8);
	return p ? magma_be64_load(p) : 0;
}

guint64 magma_get_varint(MagmaReader *r)
{
	guint8 first = magma_get_u8(r);
	gsize more = ((gsize)1 << (first >> 6)) - 1;
	const guint8 *p = magma_get_bytes(r, more);
	guint64 v = first & 0x3f;

	if (r->error)
		return 0;
	for (gsize i = 0; i < more; i++)
		v = v << 8 | p[i];
	return v;
}

void magma_put_bytes(GByteArray *buf, const void *p, gsize n)
{
	g_assert(n <= G_MAXINT);        /* GByteArray counts in guint */
	if (n)
		g_byte_array_append(buf, p, (guint)n);
}

void magma_put_u8(GByteArray *buf, guint8 v)
{
	g_byte_array_append(buf, &v, 1);
}

void magma_put_u16(GByteArray *buf, guint16 v)
{
	guint8 b[2] = { (guint8)(v >> 8), (guint8)v };
	g_byte_array_append(buf, b, sizeof b);
}

void magma_put_u32(GByteArray *buf, guint32 v)
{
	guint8 b[4];
	magma_be32_store(b, v);
	g_byte_array_append(buf, b, sizeof b);
}

void magma_put_u64(GByteArray *buf, guint64 v)
{
	guint8 b[8];
	magma_be64_store(b, v);
	g_byte_array_append(buf, b, sizeof b);
}

void magma_put_varint(GByteArray *buf, guint64 v)
{
	g_assert(v <= VARINT_MAX);
	if (v < 1u << 6) {
		magma_put_u8(buf, (guint8)v);
	} else if (v < 1u << 14) {
		magma_put_u16(buf, (guint16)(v | 1u << 14));
	} else if (v < 1u << 30) {
		magma_put_u32(buf, (guint32)v | 2u << 30);
	} else {
		magma_put_u64(buf, v | (guint64)3 << 62);
	}
}

void magma_be32_store(guint8 *p, guint32 v)
{
	v = GUINT32_TO_BE(v);
	memcpy(p, &v, sizeof v);
}

void magma_be64_store(guint8 *p, guint64 v)
{
	v = GUINT64_TO_BE(v);
	memcpy(p, &v, sizeof v);
}

guint32 magma_be32_load(const guint8 *p)
{
	guint32 v;
	memcpy(&v, p, sizeof v);
	return GUINT32_FROM_BE(v);
}

guint64 magma_be64_load(const guint8 *p)
{
	guint64 v;
	memcpy(&v, p, sizeof v);
	return GUINT64_FROM_BE(v);
}
