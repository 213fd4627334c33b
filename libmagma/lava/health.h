/* How safe a network is: the one list of unsafe states, made from a map and what a volcano knows beside it. Console, log, ready line and magma-ping show the same lines. docs/operations.md explains each.
 * Pure; any thread. */
#pragma once
#include "libmagma/lava/conflict.h"
#include "libmagma/lava/map.h"

enum {
	MAGMA_UNSAFE_NO_QUORUM = 1,   /* the volcano that says so has no lease: it answers nobody */
	MAGMA_UNSAFE_WAITING = 2,     /* a slice waits for a volcano that has all of it */
	MAGMA_UNSAFE_DOWN = 4,        /* a volcano is down */
	MAGMA_UNSAFE_DEGRADED = 8,    /* a slice has fewer copies than wanted */
	MAGMA_UNSAFE_HEALING = 16,    /* a copy is being made */
	MAGMA_UNSAFE_LAGGING = 32,    /* a copy that counts is far behind, slow or silent: changes wait for it */
	MAGMA_UNSAFE_CONFLICTS = 64,  /* the volcano that says so has set a history aside, and nobody has cleared it */
	MAGMA_UNSAFE_DAMAGED = 128,   /* the volcano that says so cannot open the store of a slice that it shall answer for, or its disk does not read some content there, and that was not written over */
	MAGMA_UNSAFE_FULL = 256,      /* the disk of the volcano that says so is full: only what frees space is accepted there */
};

typedef enum {
	MAGMA_COPY_AWAY, MAGMA_COPY_ATTACHING, MAGMA_COPY_LOG, MAGMA_COPY_ROWS, MAGMA_COPY_CONTENTS, MAGMA_COPY_CAUGHT_UP, MAGMA_COPY_IN_SYNC, MAGMA_COPY_DIGESTS,
	MAGMA_COPY_STATES,
} MagmaCopyPhase;

/* A copy as the owner of its slice sees it. */
typedef struct {
	guint16 slice, volcano;
	MagmaCopyPhase phase;
	guint64 lag;                  /* records that it has not acknowledged */
	guint64 done, total, rate;    /* bytes of catching up; total is an estimate; bytes/s of late */
	gboolean slow;                /* it took more than 0.7 s to acknowledge something, within the last 3 s */
} MagmaCopyState;

typedef struct {
	gboolean lease;               /* the volcano may answer */
	const char *waits;            /* what for, where it may not; NULL or "": for the voters */
	guint16 self;
	const MagmaCopyState *copies; /* of the slices that it owns */
	guint ncopies;
	const MagmaConflict *conflicts;       /* what it has set aside */
	guint nconflicts;
	const guint16 *damaged;       /* slices that it owns, with contents that its disk does not read */
	guint ndamaged;
	const guint16 *unopened;      /* slices that it owns whose store cannot be opened */
	guint nunopened;
	gboolean full;                /* its disk */
} MagmaLive;

/* MAGMA_UNSAFE_*; 0: all is well. lines (may be NULL) gets one line for each, ended by LF: "degraded: slice 1 of wallace has 1 of 2 copies". They hold no numbers that change by themselves. */
guint32 magma_unsafe(const MagmaMap *map, const MagmaLive *live, GString *lines);
/* "degraded, healing"; to be freed. */
char *magma_unsafe_names(guint32 states);
/* What a volcano is in the network: "owner, acts for gromit, copy of shaun, voter, leader"; begins with "down", "joining" or "witness" where it is one; may be "". To be freed. leader: its id, 0: unknown. */
char *magma_volcano_roles(const MagmaMap *map, const MagmaVolcano *v, guint16 leader);
/* One slice: copies up that count, the owner's among them; 0 where the owner is down. */
guint magma_slice_copies(const MagmaMap *map, const MagmaSlice *s);
