/* What this volcano holds of the slices: as owner (a Slice over a mirror Owner) or as a copy (a Replica), as the map says. */
#pragma once
#include "magmad/core/core.h"
#include "magmad/mirror/mirror.h"

typedef struct Holding Holding;

/* COPY_STATE's in_sync. */
enum { STATE_OUT, STATE_COUNTS, STATE_HAS_MORE };

/* Brings what is held into line with v->map. From core_leave, never from inside an operation: operations of a slice that goes end here. */
void holdings_apply(Volcano *v);
/* The slice made for this volcano, over the store it was given; before there is a map with it. */
void holdings_begin(Volcano *v, Store *home);
/* Now and then: copies' stores look at the room on their disks. */
void holdings_tick(Volcano *v);
void holdings_flush(Volcano *v);
void holdings_clear(Volcano *v);
/* The slice runs and serves, or its rows could not be read. */
void holdings_slice_ready(Slice *sl, int error);
/* The copies of all slices that this volcano owns; to be freed. */
GArray *holdings_copies(Volcano *v);
/* guint16: the slices that this volcano owns of which its disk does not read some content; to be freed. rewritten (may be NULL): places that were written over with a copy's bytes. */
GArray *holdings_damage(Volcano *v, guint64 *rewritten);
/* guint16: the slices that this volcano owns whose store could not be opened, several times; to be freed. */
GArray *holdings_unopened(Volcano *v);
/* It is here, and not in the middle of being filled. */
gboolean holdings_whole(Volcano *v, guint16 slice);
