/* Journal frames: what one write to a segment is made of. Pure; any thread. Layout (integers big-endian, frames begin at multiples of 8):
 *   0 check u64: SipHash-2-4 of the header's other bytes under the folder's secret, 8 magic u32, 12 payload length u32, 16 index u64, 24 ownership epoch u64, 32 durable index u64,
 *   40 crc32c u32 of the payload, 44 kind u8, 45 zero (3), 48 payload, zeros up to a multiple of 8
 * A payload holds what users wrote (small contents), and what is behind damage is searched for frames: without the secret nobody can write bytes that look like one. The payload's sum stands in the
 * header, so its length and sum are believed only where the header is ours, and a search reads each byte once. */
#pragma once
#include <glib.h>
#include "magmad/store/siphash.h"

#define FRAME_MAGIC 0x4d674a32u       /* "MgJ2" */
#define FRAME_HEADER 48
#define FRAME_ALIGN 8
#define FRAME_PAYLOAD_MAX (64u << 20) /* far above any transaction: a 1 MiB message makes a few; bounds what a damaged length can claim */

/* The secret of a storage folder. */
typedef struct {
	guint8 b[SIPHASH_KEY_LEN];
} FrameKey;

typedef enum {
	FRAME_TXN = 1,        /* payload: a transaction; index is one more than that of the frame before */
	FRAME_MARK,           /* no payload: everything up to the durable index is on disk; index is that of the frame before */
	FRAME_FILL,           /* payload: rows, as a transaction, that are not the log's: a copy of a slice is filled with them; index is that of the frame before */
} FrameKind;

typedef struct {
	FrameKind kind;
	guint64 index, epoch, durable;
	const guint8 *payload;        /* inside the parsed bytes */
	gsize length;
} Frame;

/* Bytes a frame with that payload takes. */
gsize frame_size(gsize payload);
/* Bytes the frame takes whose header (FRAME_HEADER bytes) is at p; 0 where that is not intact, written with this key. */
gsize frame_claims(const FrameKey *key, const guint8 *p);
/* Appends f, encoded, to buf. */
void frame_put(const FrameKey *key, GByteArray *buf, const Frame *f);
/* Parses the frame at p; returns the bytes it takes (at most n), 0 for bytes that are not a whole, intact frame written with this key. */
gsize frame_get(const FrameKey *key, const guint8 *p, gsize n, Frame *out);
/* Offset of the next intact frame at or behind from (a multiple of 8) that is newer than index; n when there is none. For looking behind damage. */
gsize frame_find(const FrameKey *key, const guint8 *p, gsize n, gsize from, guint64 newer_than, Frame *out);
/* Gives the header at p (FRAME_HEADER bytes of it) the check it should have. For frame_put, and for tests that damage frames on purpose. */
void frame_seal(const FrameKey *key, guint8 *p);
