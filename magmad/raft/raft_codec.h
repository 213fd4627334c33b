/* Bytes of what states and messages share. Decoding leaves the reader's sticky error. */
#pragma once
#include "libmagma/base/wire.h"
#include "magmad/raft/raft.h"

/* Terms and indexes of others are believed up to here: far above any life. On disk they may be twice as high, so that what was counted on from there can be read again. */
#define COUNT_MAX ((guint64)1 << 48)

guint64 count_decode(MagmaReader *r);     /* up to 2 * COUNT_MAX */
void term_encode(RaftTerm t, GByteArray *out);
RaftTerm term_decode(MagmaReader *r);
void line_encode(const RaftLine *l, GByteArray *out);
void line_decode(MagmaReader *r, RaftLine *l, guint32 inc);   /* must lead to inc */
void entry_encode(const RaftEntry *e, GByteArray *out);
RaftEntry *entry_decode(MagmaReader *r);  /* NULL with the error */
