/* Journal frames: what one write to a segment is made of. Pure; any thread. Layout (integers big-endian, frames begin at multiples of 8):
 *   0 magic u32, 4 payload length u32, 8 crc32c u32 of everything else, 12 kind u8, 13 zero (3),
 *   16 index u64, 24 ownership epoch u64, 32 durable index u64, 40 payload, zeros up to a multiple of 8 */
#pragma once
#include <glib.h>

#define FRAME_MAGIC 0x4d674a31u       /* "MgJ1" */
#define FRAME_HEADER 40
#define FRAME_ALIGN 8
#define FRAME_PAYLOAD_MAX (64u << 20) /* far above any transaction: a 1 MiB message makes a few; bounds what a damaged length can claim */

typedef enum {
	FRAME_TXN = 1,        /* payload: a transaction; index is one more than that of the frame before */
	FRAME_MARK,           /* no payload: everything up to the durable index is on disk; index is that of the frame before */
} FrameKind;

typedef struct {
	FrameKind kind;
	guint64 index, epoch, durable;
	const guint8 *payload;        /* inside the parsed bytes */
	gsize length;
} Frame;

/* Bytes a frame with that payload takes. */
gsize frame_size(gsize payload);
/* Appends f, encoded, to buf. */
void frame_put(GByteArray *buf, const Frame *f);
/* Parses the frame at p; returns the bytes it takes (at most n), 0 for bytes that are not a whole, intact frame. */
gsize frame_get(const guint8 *p, gsize n, Frame *out);
/* Offset of the next intact frame at or behind from (a multiple of 8) that is newer than index; n when there is none. For looking behind damage. */
gsize frame_find(const guint8 *p, gsize n, gsize from, guint64 newer_than, Frame *out);
