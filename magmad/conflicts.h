/* DIR/conflicts/TIME/: store folders that were set aside (identity.h, folder_set_aside): the volcano's own, and below it slices/NNNNN. Beside them, in `differs`, what the core found out about them. Loop thread only. */
#pragma once
#include <glib.h>
#include "magmad/slices.h"

typedef struct Conflicts Conflicts;

/* cfg: as for the volcano's own store; dir is the volcano's. Before the volcano starts: blocks while the journals of what is there are read, so that conflicts_open() finds next to nothing in them. */
Conflicts *conflicts_new(const DiskStoreConfig *cfg);
/* As VolcanoIo.aside_*. */
GArray *conflicts_list(Conflicts *c);
GPtrArray *conflicts_open(Conflicts *c, guint64 time, GError **error);
void conflicts_close(Conflicts *c, GPtrArray *stores);
gboolean conflicts_note(Conflicts *c, guint64 time, const guint8 *p, gsize n, GError **error);
GBytes *conflicts_noted(Conflicts *c, guint64 time);
/* Out of sight at once, and removed by a thread of its own; a start goes on with what the one before left. */
gboolean conflicts_remove(Conflicts *c, guint64 time, GError **error);
/* What was asked of open ones so far is done, and its callbacks have run. */
void conflicts_quiesce(Conflicts *c);
/* All of them have to be closed. Ends the thread that removes. */
void conflicts_free(Conflicts *c);
