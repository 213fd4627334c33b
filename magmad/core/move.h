/* A slice on its way: at the source (move_out.c), at the target and the coordinator (move_in.c), and the removal of rows that live elsewhere now (purge.c).
 *
 *   anew      where this source did not see the move begin: the coordinator gives it another id, so that a commit which an owner before asked for finds no move
 *   copy      all rows of the range, in key order; what operations change meanwhile follows in the same ordered stream
 *   contents  file by file; a file written meanwhile is copied again
 *   freeze    requests are put off (MAGMA_ETRYAGAIN), running ones end; the rest of the stream, stored replies, tombstones and watermarks of clients, marks, commits, orphans, write intents and opens go over
 *   ready     the target has it all on disk and in memory
 *   commit    the coordinator makes the map that says so; from then on the range is the target's
 *
 * The map names the move, so every start after a crash begins it again from nothing, until the map says that it is done. */
#pragma once
#include "magmad/core/core.h"

/* Removes every row and content of the range, piece by piece; done is called from the loop. The range must not be served by this volcano. */
void purge_range(Slice *sl, const MagmaRange *r, void (*done)(void *user), void *user);
/* What is kept in memory of it. */
void forget_range(Slice *sl, const MagmaRange *r);
/* Both, in the background. */
void purge_given_away(Slice *sl, const MagmaRange *r);
void move_out_start(Slice *sl);
void move_out_done(Slice *sl);

/* A sequence number of the stream: in its high half the try (a later one is larger: milliseconds of the clock), so that a late piece of an earlier try is told from this one's. */
#define MOVE_TRY(ms) ((guint64)(guint32)((ms) >> 4) << 32)
#define MOVE_TRY_OF(sequence) ((sequence) >> 32)
