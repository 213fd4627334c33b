/* What an earlier life wrote and could not sync is clean in the page cache, and a new sync says that all is well: whoever takes what he reads for what the disk has drops it from there first. */
#pragma once
#include <glib.h>

/* Of an open file. 0 or errno: it does not sync. Blocks. */
int reread_fd(int fd);
/* Of a file that need not be there. Errors name it. */
gboolean reread_file(const char *path, GError **error);

/* Contents are too many for that at a start. A sync of one that failed leaves a note beside the folder, best effort, for the lives until the system starts
 * anew: they drop of each content what is clean when they open it first. What is not clean yet tells its own sync. root: descriptor of DIR/content. Both block. */
void reread_note(int root);
gboolean reread_noted(int root);
void reread_clean(int fd);
