/* Bytes of what states and messages share. Decoding leaves the reader's sticky error. */
#pragma once
#include "libmagma/base/wire.h"
#include "magmad/raft/raft.h"

guint64 count_decode(MagmaReader *r);     /* a u64 that may be counted on from */
void term_encode(RaftTerm t, GByteArray *out);
RaftTerm term_decode(MagmaReader *r);
void line_encode(const RaftLine *l, GByteArray *out);
void line_decode(MagmaReader *r, RaftLine *l, guint32 inc);   /* must lead to inc */
void entry_encode(const RaftEntry *e, GByteArray *out);
RaftEntry *entry_decode(MagmaReader *r);  /* NULL with the error */
