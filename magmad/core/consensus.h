/* The group that votes on the lava map (magmad/raft), driven by the volcano's clock, sessions and what it keeps on disk. */
#pragma once
#include "magmad/core/core.h"

/* What is kept: this volcano's id, the newest map, the state of the group. FALSE for bytes that are not it. */
gboolean consensus_load(Volcano *v, GBytes *kept);
/* First volcano of a network: the group is itself, the first map is v->map; done when that is durable. */
void consensus_bootstrap(Volcano *v, void (*done)(Volcano *v, int error));
/* A volcano that joined: it learns. v->id and v->map are set. */
void consensus_join(Volcano *v, void (*done)(Volcano *v, int error));
/* Counts this start, durably, before anything is said or done in it. After load. */
void consensus_begin_life(Volcano *v, void (*done)(Volcano *v, int error));
/* From now on it takes part. After load, bootstrap or join. */
void consensus_start(Volcano *v);
void consensus_message(Volcano *v, Peer *from, const struct magma_req_raft *q);
/* A peer may be gone (its port is refused): to be looked at now. */
void consensus_hint(Volcano *v, guint16 id);
void consensus_clear(Volcano *v);

gboolean consensus_leads(const Volcano *v);           /* and may propose */
guint16 consensus_leader(const Volcano *v);           /* 0: unknown */
/* May answer for what the newest committed map gives it. */
gboolean consensus_may_serve(Volcano *v);
/* The leader's only way to a new map, made from the newest committed one. Takes map. down: those it takes as dead; gone: they said so themselves. done: 0, or an errno (EAGAIN: not now, ENOLINK: not the leader any more). */
void consensus_propose(Volcano *v, MagmaMap *map, const guint16 *down, guint ndown, gboolean gone, void (*done)(Volcano *v, void *user, int error), void *user);
/* Has that member proved itself alive to this leader within that time? */
gboolean consensus_heard_within(const Volcano *v, guint16 id, MagmaTime time);
/* When a volcano may be declared down, as core_now(); 0: not by this one. */
MagmaTime consensus_down_at(const Volcano *v, guint16 id);
/* When the newest beat was sent that the member has answered to this leader; 0: none. */
MagmaTime consensus_answered(const Volcano *v, guint16 id);
/* Which start of that member this leader hears, or which one this is; 0: not known. */
guint32 consensus_life(const Volcano *v, guint16 id);
MagmaTime consensus_led_since(const Volcano *v);                        /* leader only, else 0 */
/* Changes of the lava map that this volcano proposed and that were committed, since it started: how many, and how long they took from the proposal to the commit. */
typedef struct {
	guint64 count;
	MagmaTime last, most;         /* 0: none yet */
} ConsensusChanges;

ConsensusChanges consensus_changes(const Volcano *v);
/* It leads, and need not ask first whether another went on without it (takeover.h). */
gboolean consensus_may_change(Volcano *v);
void consensus_transfer(Volcano *v, guint16 to);      /* leadership; it may fail */
guint32 consensus_incarnation(const Volcano *v);
guint32 consensus_next_incarnation(const Volcano *v);
/* A new line of history with this volcano as the only voter, by force. Takes map. 0, or an errno. Whose right it is, is takeover.c's to know. */
int consensus_force(Volcano *v, MagmaMap *map);
void consensus_yield(Volcano *v);
struct Takeover *consensus_takeover(const Volcano *v);

/* For tests only, which look at a whole network from outside. */
struct Raft;
/* NULL: it takes no part yet. */
const struct Raft *consensus_raft(const Volcano *v);
/* What it would answer for at this instant: its slices by its own map, in their place, under its own lease. How many of max were put into out. */
guint consensus_serves(Volcano *v, MagmaRange *out, guint max);
