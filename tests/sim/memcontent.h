/* One sparse content in memory, by pages. Pure. */
#pragma once
#include <glib.h>

typedef struct MemContent MemContent;
MemContent *memcontent_new(void);
void memcontent_free(MemContent *c);
MemContent *memcontent_copy(const MemContent *c);
/* What a power cut leaves of `live` where `synced` (NULL: nothing) was on the disk: of the pages that were there since, each as it is or was; of those that were added, as many as the disk came to, and their order
 * was the file's. permille: how likely it came to one. NULL: no file. */
MemContent *memcontent_after_power_cut(const MemContent *live, const MemContent *synced, GRand *rnd, guint permille);
gboolean memcontent_equal(const MemContent *a, const MemContent *b, guint64 size);      /* up to there; NULL: empty */
guint64 memcontent_size(const MemContent *c);
guint64 memcontent_blocks(const MemContent *c);       /* of 512 bytes */
void memcontent_write(MemContent *c, guint64 off, const guint8 *p, gsize n);
GBytes *memcontent_read(const MemContent *c, guint64 off, gsize n);
void memcontent_truncate(MemContent *c, guint64 size);
void memcontent_zero(MemContent *c, guint64 off, guint64 n);      /* inside its size */
/* lseek's SEEK_DATA and SEEK_HOLE; ENXIO or 0. */
int memcontent_seek(const MemContent *c, guint64 off, gboolean hole, guint64 *found);
