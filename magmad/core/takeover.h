/* A network of two volcanos, of which one is the only voter: who may go on when the other is silent, and who has to ask first (DESIGN section 5, rules 4 and 9; docs/reliability.md, "Two volcanos, and
 * force"). Where there are more, a majority decides and nothing of this applies. */
#pragma once
#include "magmad/core/core.h"
#include "magmad/raft/raft.h"

typedef struct Takeover Takeover;

/* again: not the first start of this volcano: the other may have gone on meanwhile. v->map is the one that was kept, question what was kept of takeover_in_question() with it: the log may have a newer one that the
 * other was not told. */
Takeover *takeover_new(Volcano *v, gboolean again, gboolean question);
void takeover_free(Takeover *t);
/* Before anything else in a step: sees whether this process stood still. */
void takeover_clock(Takeover *t);
void takeover_heard(Takeover *t, guint16 from);
/* What is left of a lease that the group gave, as the only voter: the other one must have answered of late, or be down by the map. */
MagmaTime takeover_lease(Takeover *t, MagmaTime lease);
/* Were this volcano to stop now, could the other go on without it? Or may it have done so already, which is not known yet? */
gboolean takeover_in_question(const Takeover *t);
/* May the leader change the map, or has it to ask the other one first? */
gboolean takeover_may_change(Takeover *t);
/* Must the leader not take the other one for down, because that one has everything and this one has not? */
gboolean takeover_waits(const Takeover *t);
/* The same of any next map: nobody would have everything by it. */
gboolean takeover_allows(const Takeover *t, const MagmaMap *next);
/* Another line of history is there: which one stands. */
void takeover_rival(Takeover *t, const RaftRival *rival);
const RaftEntry *consensus_committed(const Volcano *v);
/* The other one of two, or NULL. */
const MagmaVolcano *takeover_other(const Volcano *v);
