/* One sparse content in memory, by pages. Pure. */
#pragma once
#include <glib.h>

typedef struct MemContent MemContent;
MemContent *memcontent_new(void);
void memcontent_free(MemContent *c);
MemContent *memcontent_copy(const MemContent *c);
guint64 memcontent_size(const MemContent *c);
guint64 memcontent_blocks(const MemContent *c);       /* of 512 bytes */
void memcontent_write(MemContent *c, guint64 off, const guint8 *p, gsize n);
GBytes *memcontent_read(const MemContent *c, guint64 off, gsize n);
void memcontent_truncate(MemContent *c, guint64 size);
void memcontent_zero(MemContent *c, guint64 off, guint64 n);      /* inside its size */
/* lseek's SEEK_DATA and SEEK_HOLE; ENXIO or 0. */
int memcontent_seek(const MemContent *c, guint64 off, gboolean hole, guint64 *found);
