/* Lists inside blob and data fields. Writers append one element; readers take one from a MagmaReader: check r->error after the loop. Pure.
 * magma_put_key and magma_put_addr stand in key.h and addr.h. */
#pragma once
#include "libmagma/base/addr.h"
#include "libmagma/lava/health.h"
#include "libmagma/proto/msg.h"

typedef struct {
	guint64 cookie;               /* of this entry: readdir goes on behind it */
	MagmaFid fid;
	guint32 type;                 /* S_IFMT bits */
	MagmaBytes name;
} MagmaDirent;

void magma_put_fid(GByteArray *out, const MagmaFid *f);
void magma_put_ts(GByteArray *out, MagmaTs t);
void magma_put_attr(GByteArray *out, const MagmaAttr *a);
void magma_put_dirent(GByteArray *out, const MagmaDirent *d);
/* of STATUS: u16 slice, u16 volcano, u8 phase, u64 lag, done, total, rate */
void magma_put_copy_state(GByteArray *out, const MagmaCopyState *c);
/* u32 length and bytes */
void magma_put_counted(GByteArray *out, const void *p, guint32 n);
MagmaFid magma_get_fid(MagmaReader *r);
MagmaTs magma_get_ts(MagmaReader *r);
void magma_get_attr(MagmaReader *r, MagmaAttr *out);
void magma_get_dirent(MagmaReader *r, MagmaDirent *out);   /* the name is checked */
void magma_get_copy_state(MagmaReader *r, MagmaCopyState *out);
MagmaBytes magma_get_counted(MagmaReader *r, guint32 max);
