/* An sqlite VFS for the loop's connection: reads that the page cache cannot answer at once fail with SQLITE_BUSY instead of blocking; the caller then asks the pool.
 * Everything else is the system's VFS. One instance per store. Loop thread only. */
#pragma once
#include <glib.h>

typedef struct NowaitVfs NowaitVfs;

/* path: the database, which must exist. Keep it until every connection of this process to that database is closed: it holds a descriptor of the file, and closing
 * one drops the process's POSIX locks on it. */
NowaitVfs *nowait_vfs_new(const char *path);
void nowait_vfs_free(NowaitVfs *v);
const char *nowait_vfs_name(const NowaitVfs *v);
/* Off: reads block as usual (while opening). */
void nowait_vfs_enable(NowaitVfs *v, gboolean on);
