/* Content files. Per flare, operations that overlap take effect in the order of the calls; others run in parallel. Small ones that the page cache answers are done on the loop,
 * the rest in the pool. Loop thread only. */
#pragma once
#include "magmad/core/store.h"
#include "magmad/store/pool.h"

typedef struct Contents Contents;

Contents *contents_new(const char *dir, Pool *pool, GError **error);
/* The disk takes no changes of contents any more (EIO, read-only): called before the operation that met it hears of its error. */
void contents_on_failed(Contents *c, void (*failed)(void *user, int error), void *user);
/* Nobody reads here (StoreLogVt). */
void contents_set_unread(Contents *c, gboolean unread);
/* The pool is gone already; operations not done are forgotten. */
void contents_free(Contents *c);
gboolean contents_busy(const Contents *c);
/* What was dropped in this life is gone from the disk, too. Blocks. 0 or errno. */
int contents_sync_drops(Contents *c);
/* Closes files that were not used for a while, all of them with everything; TRUE while some are open. */
gboolean contents_close_idle(Contents *c, gboolean everything);
/* What contents came to use since the last call, in bytes; negative when freed. */
gint64 contents_used_delta(Contents *c);
/* Bytes of all writes so far, and of those not done yet. */
guint64 contents_asked(const Contents *c);
guint64 contents_pending(const Contents *c);
/* Was ENOSPC seen since the last call? */
gboolean contents_take_enospc(Contents *c);

void contents_read(Contents *c, const MagmaFid *fid, guint64 off, guint32 len, void (*done)(void *, int, GBytes *), void *user);
void contents_write(Contents *c, const MagmaFid *fid, guint64 off, GBytes *data, void (*done)(void *, int), void *user);
void contents_truncate(Contents *c, const MagmaFid *fid, guint64 size, void (*done)(void *, int), void *user);
void contents_fallocate(Contents *c, const MagmaFid *fid, guint32 mode, guint64 off, guint64 len, void (*done)(void *, int), void *user);
void contents_seek(Contents *c, const MagmaFid *fid, guint64 off, guint32 whence, void (*done)(void *, int, guint64), void *user);
void contents_stat(Contents *c, const MagmaFid *fid, void (*done)(void *, int, const StoreContentStat *), void *user);
void contents_sync(Contents *c, const MagmaFid *fid, void (*done)(void *, int), void *user);
void contents_drop(Contents *c, const MagmaFid *fid, void (*done)(void *, int), void *user);

void contents_list(Contents *c, guint folder, void (*done)(void *user, int error, const MagmaFid *fids, guint n, guint next), void *user);

/* xx/yy/KEYHEX.INOHEX */
#define CONTENT_NAME_MAX 64
const char *content_name(const MagmaFid *fid, char out[CONTENT_NAME_MAX]);
/* The flare of a file name KEYHEX.INOHEX. */
gboolean content_parse_name(const char *name, MagmaFid *out);
