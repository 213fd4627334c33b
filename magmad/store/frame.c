#include "magmad/store/frame.h"
#include "libmagma/base/wire.h"
#include <string.h>

enum { AT_MAGIC = 8, AT_LENGTH = 12, AT_INDEX = 16, AT_EPOCH = 24, AT_DURABLE = 32, AT_CRC = 40, AT_KIND = 44 };

gsize frame_size(gsize payload)
{
	return (FRAME_HEADER + payload + FRAME_ALIGN - 1) & ~(gsize)(FRAME_ALIGN - 1);
}

static guint64 header_check(const FrameKey *key, const guint8 *p) { return siphash(key->b, p + AT_MAGIC, FRAME_HEADER - AT_MAGIC); }

void frame_seal(const FrameKey *key, guint8 *p) { magma_be64_store(p, header_check(key, p)); }

void frame_put(const FrameKey *key, GByteArray *buf, const Frame *f)
{
	gsize at = buf->len, size = frame_size(f->length);

	g_assert(f->length <= FRAME_PAYLOAD_MAX && at % FRAME_ALIGN == 0);
	g_byte_array_set_size(buf, at + size);
	guint8 *p = buf->data + at;
	memset(p, 0, FRAME_HEADER);
	memset(p + FRAME_HEADER + f->length, 0, size - FRAME_HEADER - f->length);
	magma_be32_store(p + AT_MAGIC, FRAME_MAGIC);
	magma_be32_store(p + AT_LENGTH, f->length);
	magma_be64_store(p + AT_INDEX, f->index);
	magma_be64_store(p + AT_EPOCH, f->epoch);
	magma_be64_store(p + AT_DURABLE, f->durable);
	magma_be32_store(p + AT_CRC, magma_crc32c(0, f->payload, f->length));
	p[AT_KIND] = f->kind;
	if (f->length)
		memcpy(p + FRAME_HEADER, f->payload, f->length);
	frame_seal(key, p);
}

gsize frame_claims(const FrameKey *key, const guint8 *p)
{
	gsize length = magma_be32_load(p + AT_LENGTH);

	if (magma_be32_load(p + AT_MAGIC) != FRAME_MAGIC || magma_be64_load(p) != header_check(key, p))
		return 0;
	return length <= FRAME_PAYLOAD_MAX ? frame_size(length) : 0;
}

gsize frame_get(const FrameKey *key, const guint8 *p, gsize n, Frame *out)
{
	gsize size = n < FRAME_HEADER ? 0 : frame_claims(key, p);

	if (!size || size > n)
		return 0;
	gsize length = magma_be32_load(p + AT_LENGTH);
	if (magma_be32_load(p + AT_CRC) != magma_crc32c(0, p + FRAME_HEADER, length))
		return 0;
	*out = (Frame){
		.kind = p[AT_KIND],
		.index = magma_be64_load(p + AT_INDEX),
		.epoch = magma_be64_load(p + AT_EPOCH),
		.durable = magma_be64_load(p + AT_DURABLE),
		.payload = p + FRAME_HEADER,
		.length = length,
	};
	if (out->kind < FRAME_TXN || out->kind > FRAME_FILL || (out->kind == FRAME_MARK && length) || out->durable > out->index)
		return 0;
	return size;
}

gsize frame_find(const FrameKey *key, const guint8 *p, gsize n, gsize from, guint64 newer_than, Frame *out)
{
	for (gsize at = from; at < n && n - at >= FRAME_HEADER; at += FRAME_ALIGN)
		if (frame_get(key, p + at, n - at, out) && out->index > newer_than)
			return at;
	return n;
}
