/* DIR/slices/NNNNN/: the stores of slices that this volcano holds beside the one that was made for it: copies of its neighbours', and what it acts for. Each is a whole store folder
 * (magmad/store/diskstore.h). Loop thread only. */
#pragma once
#include <glib.h>
#include "magmad/store/diskstore.h"

typedef struct Slices Slices;

/* cfg: as for the volcano's own store; dir is the volcano's. */
Slices *slices_new(const DiskStoreConfig *cfg);
/* Opens or makes one; blocks as long as its journal takes to read. Errors name the file. */
Store *slices_open(Slices *s, guint16 id, GError **error);
/* Nothing of it may be waited for; blocks while the disk is busy with it. remove: the folder goes, in a thread, and the next start goes on with it. */
void slices_close(Slices *s, guint16 id, gboolean remove);
/* What was asked of all of them so far is done, and its callbacks have run. */
void slices_quiesce(Slices *s);
/* diskstore_sync_drops of all of them. */
gboolean slices_sync_drops(Slices *s);
/* All of them have to be closed. 0, or what diskstore_close said of the first that was not closed well. */
int slices_free(Slices *s);
