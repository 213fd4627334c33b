/* Keys: 160-bit SHA-1 values of paths (FIPS 180-4), and closed ranges of them. Pure; any thread. */
#pragma once
#include <glib.h>
#include "libmagma/base/wire.h"

#define MAGMA_KEY_LEN 20
#define MAGMA_KEY_HEX 41

typedef struct { guint8 b[MAGMA_KEY_LEN]; } MagmaKey;             /* big-endian number */
typedef struct { MagmaKey lo, hi; } MagmaRange;                   /* closed: lo and hi belong to it; lo <= hi */

extern const MagmaKey MAGMA_KEY_MIN, MAGMA_KEY_MAX;

/* Key of an absolute path inside Magma: "/" or "/a/b", no trailing slash; the bytes are hashed as they are. */
MagmaKey magma_key_of_path(const char *path, gsize len);
/* Key of name inside the directory at dir ("/" or "/a"); spares the caller the joining. */
MagmaKey magma_key_of_child(const char *dir, gsize dir_len, const char *name, gsize name_len);
int magma_key_cmp(const MagmaKey *a, const MagmaKey *b);
gboolean magma_key_equal(const MagmaKey *a, const MagmaKey *b);
guint magma_key_hash(gconstpointer key);
/* 40 lower-case digits and NUL into out[MAGMA_KEY_HEX]; returns out. */
char *magma_key_to_hex(const MagmaKey *k, char *out);
gboolean magma_key_from_hex(const char *hex, MagmaKey *out);
/* k+1 and k-1; FALSE (out untouched) where that leaves the keyspace. */
gboolean magma_key_next(const MagmaKey *k, MagmaKey *out);
gboolean magma_key_prev(const MagmaKey *k, MagmaKey *out);
gboolean magma_range_has(const MagmaRange *r, const MagmaKey *k);
/* The middle: lo + (hi-lo)/2, without overflow. */
MagmaKey magma_range_middle(const MagmaRange *r);
/* Share of the keyspace, 0..1. */
double magma_range_share(const MagmaRange *r);

/* The 20 bytes as they are. */
void magma_put_key(GByteArray *out, const MagmaKey *k);
MagmaKey magma_get_key(MagmaReader *r);
