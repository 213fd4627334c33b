/* What an earlier life wrote and could not sync is clean in the page cache, and a new sync says that all is well: whoever takes what he reads for what the disk has drops it from there first. */
#pragma once
#include <glib.h>

/* Of an open file. 0 or errno: it does not sync. Blocks. */
int reread_fd(int fd);
/* Of a file that need not be there. Errors name it. */
gboolean reread_file(const char *path, GError **error);
