#include "magmad/store/frame.h"
#include "libmagma/base/wire.h"
#include <string.h>

enum { AT_LENGTH = 4, AT_CRC = 8, AT_KIND = 12, AT_INDEX = 16, AT_EPOCH = 24, AT_DURABLE = 32 };

gsize frame_size(gsize payload)
{
	return (FRAME_HEADER + payload + FRAME_ALIGN - 1) & ~(gsize)(FRAME_ALIGN - 1);
}

static guint32 frame_crc(const guint8 *p, gsize payload)
{
	return magma_crc32c(magma_crc32c(0, p, AT_CRC), p + AT_KIND, FRAME_HEADER - AT_KIND + payload);
}

void frame_put(GByteArray *buf, const Frame *f)
{
	gsize at = buf->len, size = frame_size(f->length);

	g_assert(f->length <= FRAME_PAYLOAD_MAX && at % FRAME_ALIGN == 0);
	g_byte_array_set_size(buf, at + size);
	guint8 *p = buf->data + at;
	memset(p, 0, FRAME_HEADER);
	memset(p + FRAME_HEADER + f->length, 0, size - FRAME_HEADER - f->length);
	magma_be32_store(p, FRAME_MAGIC);
	magma_be32_store(p + AT_LENGTH, f->length);
	p[AT_KIND] = f->kind;
	magma_be64_store(p + AT_INDEX, f->index);
	magma_be64_store(p + AT_EPOCH, f->epoch);
	magma_be64_store(p + AT_DURABLE, f->durable);
	if (f->length)
		memcpy(p + FRAME_HEADER, f->payload, f->length);
	magma_be32_store(p + AT_CRC, frame_crc(p, f->length));
}

gsize frame_get(const guint8 *p, gsize n, Frame *out)
{
	if (n < FRAME_HEADER || magma_be32_load(p) != FRAME_MAGIC)
		return 0;
	gsize length = magma_be32_load(p + AT_LENGTH);
	if (length > FRAME_PAYLOAD_MAX || frame_size(length) > n)
		return 0;
	if (magma_be32_load(p + AT_CRC) != frame_crc(p, length))
		return 0;
	*out = (Frame){
		.kind = p[AT_KIND],
		.index = magma_be64_load(p + AT_INDEX),
		.epoch = magma_be64_load(p + AT_EPOCH),
		.durable = magma_be64_load(p + AT_DURABLE),
		.payload = p + FRAME_HEADER,
		.length = length,
	};
	if ((out->kind != FRAME_TXN && out->kind != FRAME_MARK) || (out->kind == FRAME_MARK && length) || out->durable > out->index)
		return 0;
	return frame_size(length);
}

gsize frame_find(const guint8 *p, gsize n, gsize from, guint64 newer_than, Frame *out)
{
	for (gsize at = from; at < n && n - at >= FRAME_HEADER; at += FRAME_ALIGN)
		if (magma_be32_load(p + at) == FRAME_MAGIC && frame_get(p + at, n - at, out) && out->index > newer_than)
			return at;
	return n;
}
