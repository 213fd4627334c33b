/* The participant's side of operations over two volcanos: what is marked (mark.c), what a participant checks and does (part.c), and what the coordinator says (settle.c): check, prepare under a mark, then
 * commit, final or abort. A mark is a row, so it outlives a crash; one whose coordinator is silent asks it (RESOLVE). All messages may come twice: a prepare that finds its mark answers again, a settle
 * without a mark is acknowledged. core.h has what other families use of it. */
#pragma once
#include "magmad/core/core.h"

/* LEAVE, SWAP: its target is a directory, and it is about a name there. */
gboolean mark_on_a_name(MarkKind kind);
/* What is read of its target depends on it, while it is undecided. */
gboolean mark_shows(MarkKind kind);
/* Mark *, all on that target; NULL: none. */
GPtrArray *marks_of(Slice *sl, guint64 ino);
/* In memory only. */
Mark *mark_remember(Slice *sl, const MarkRow *row);
void mark_forget(Slice *sl, Mark *m);

/* What was settled for good in the last 20 s or so. */
void settled_remember(Slice *sl, guint64 hi, guint64 lo, guint64 ino, guint8 kind);
gboolean settled_already(Slice *sl, guint64 hi, guint64 lo, guint64 ino, guint8 kind);
void settled_tick(Slice *sl);

/* LEAVE and SWAP that were committed, and are undone after all. 0, WAIT, an errno. */
int part_undo_entry(Op *op, Draft *d, Part *p);
