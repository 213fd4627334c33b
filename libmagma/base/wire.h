/* Bounded cursors over bytes; all integers are big-endian. The error is sticky: read or write everything, then look once.
 * A reader that hit its end yields zeros and NULLs. No allocation in the reader; a writer grows its GByteArray. */
#pragma once
#include <glib.h>

typedef struct {
	const guint8 *p;
	gsize left;
	gboolean error;
} MagmaReader;

static inline MagmaReader magma_reader(const void *p, gsize n) { return (MagmaReader){ p, n, FALSE }; }
/* n bytes, not copied, valid as long as the buffer behind the reader; NULL and sticky error when fewer are left. */
const guint8 *magma_get_bytes(MagmaReader *r, gsize n);
guint8 magma_get_u8(MagmaReader *r);
guint16 magma_get_u16(MagmaReader *r);
guint32 magma_get_u32(MagmaReader *r);
guint64 magma_get_u64(MagmaReader *r);
/* QUIC's variable-length integers (RFC 9000, section 16): 1, 2, 4 or 8 bytes, at most 2^62-1. */
guint64 magma_get_varint(MagmaReader *r);

/* The same for writing; buf is borrowed and only ever appended to. */
void magma_put_u8(GByteArray *buf, guint8 v);
void magma_put_u16(GByteArray *buf, guint16 v);
void magma_put_u32(GByteArray *buf, guint32 v);
void magma_put_u64(GByteArray *buf, guint64 v);
void magma_put_varint(GByteArray *buf, guint64 v);
void magma_put_bytes(GByteArray *buf, const void *p, gsize n);

/* Unaligned big-endian access for fixed places. */
void magma_be32_store(guint8 *p, guint32 v);
void magma_be64_store(guint8 *p, guint64 v);
guint32 magma_be32_load(const guint8 *p);
guint64 magma_be64_load(const guint8 *p);

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), hardware where the CPU has it; crc is 0 to start, the last result to go on. */
guint32 magma_crc32c(guint32 crc, const void *p, gsize n);
