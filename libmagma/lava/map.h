/* The lava map: which volcano holds which slice, under an epoch. A value: copied, encoded, replaced whole. Pure; any thread
 * (a map is immutable once shared; reference counts are atomic). */
#pragma once
#include <glib.h>
#include "libmagma/base/addr.h"
#include "libmagma/base/wire.h"
#include "libmagma/key/key.h"

#define MAGMA_VOLCANOS_MAX 1024

typedef enum {
	MAGMA_JOINING = 1,            /* known, home of no slice yet */
	MAGMA_ACTIVE,                 /* home of a slice */
} MagmaVolcanoState;

enum {
	MAGMA_VOLCANO_DOWN = 1,       /* declared dead: owns nothing, counts nowhere, until it has come back */
	MAGMA_VOLCANO_VOTER = 2,      /* votes on the map */
};

typedef struct {
	guint16 id;                   /* never reused, by no slice either; 1 is the bootstrap */
	MagmaVolcanoState state;
	guint8 flags;                 /* MAGMA_VOLCANO_* */
	char *name;                   /* nickname, 1..63 bytes of [A-Za-z0-9._-] */
	char *fqdn;                   /* 1..255 printable ASCII characters */
	MagmaAddr addr;               /* flare port; node port is +1, console +2 */
	guint32 bandwidth;            /* Kbit/s, declared */
	guint64 offered;              /* bytes of storage offered; 0: witness */
} MagmaVolcano;

#define MAGMA_COPIES_MAX 6        /* beside the owner's: R - 1, and those that are to replace one */

typedef struct {
	guint16 volcano;
	gboolean in_sync;             /* the owner waits for it, and it may become owner (DESIGN 5, rule 1) */
} MagmaCopy;

/* A part of the keyspace, with everything in it: one log, kept by the owner and the copies. */
typedef struct {
	guint16 id;                   /* the maker number of its inos; never reused; that of the volcano it was made for */
	MagmaRange range;
	guint16 home;                 /* the volcano it belongs to when all is well */
	guint16 owner;                /* who answers for it: home, or who acts for it */
	guint64 epoch;                /* of the ownership, from 1; grows with each new owner */
	guint ncopies;
	MagmaCopy copies[MAGMA_COPIES_MAX]; /* beside the owner's; the first one in sync is the next owner */
} MagmaSlice;

/* Ownerships begin with one of 40 bits at most: the epochs of logs have room for no more beside the starts of the owner (magmad/core/holding.c). */
#define MAGMA_EPOCH_FIRST_MAX (((guint64)1 << 40) - 1)

/* A range of the slice `from` becomes a slice of its own, at the volcano `to`. At most one in the map at a time. */
typedef struct {
	guint64 id;                   /* 0: none */
	guint16 from, to;
	MagmaRange range;
	MagmaSlice part;              /* what it will be: its owner and its copies take in what comes, so that it is never alone; not routed to yet */
} MagmaMove;

typedef struct {
	gint refs;
	guint32 incarnation;          /* of the group that votes: a forced start without a majority begins a new one */
	guint64 epoch;                /* within it */
	guint8 network[16];           /* network id, random at bootstrap */
	guint16 copies_wanted;
	guint16 copies_kept;          /* every slice has so many at least */
	guint16 coordinator;          /* the leader that made this map */
	guint16 next_id;
	GPtrArray *volcanos;          /* MagmaVolcano *, by id */
	GArray *slices;               /* MagmaSlice, by range.lo: the ring */
	MagmaMove move;
} MagmaMap;

/* Empty, of epoch 1, keeping one copy, without a coordinator. */
MagmaMap *magma_map_new(const guint8 network[16], guint16 copies_wanted);
MagmaMap *magma_map_ref(MagmaMap *m);
void magma_map_unref(MagmaMap *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MagmaMap, magma_map_unref)
/* A deep copy that may be changed; call magma_map_seal after changing it. */
MagmaMap *magma_map_copy(const MagmaMap *m);
/* Adds a volcano (strings are copied); returns it, owned by the map. next_id is raised above its id. */
MagmaVolcano *magma_map_add(MagmaMap *m, const MagmaVolcano *v);
/* Adds a slice (copied); returns it, owned by the map, valid until the next one is added or the map is sealed. next_id is raised above its id. */
MagmaSlice *magma_map_add_slice(MagmaMap *m, const MagmaSlice *s);
/* Sorts and checks the rules: unique id, name, fqdn and address; slices that tile the keyspace without gap or overlap, each with a home, an owner
 * and copies on others, at most one at home at each ACTIVE volcano and none at a JOINING one; ids below next_id; a coordinator and a move (inside its source) of volcanos that are there.
 * NULL, or a static text that says which rule is broken. */
const char *magma_map_seal(MagmaMap *m);
/* The slice that has key, and the volcano that owns it: O(log n). NULL only in a map without slices. */
const MagmaSlice *magma_map_slice(const MagmaMap *m, const MagmaKey *key);
const MagmaVolcano *magma_map_route(const MagmaMap *m, const MagmaKey *key);
const MagmaSlice *magma_map_slice_by_id(const MagmaMap *m, guint16 id);
/* The same among the slices and the one that is on its way. */
MagmaSlice *magma_map_part(MagmaMap *m, guint16 id);
/* Gives the move in m a number that none had, m->epoch + 1, and its part the lower 40 bits of that as its epoch: what an earlier try brought, to whoever keeps a log of it, is not the beginning of this one's. */
void magma_map_number_move(MagmaMap *m);
/* The slice that is at home at that volcano, or NULL. */
const MagmaSlice *magma_map_home(const MagmaMap *m, guint16 volcano);
const MagmaVolcano *magma_map_by_id(const MagmaMap *m, guint16 id);
const MagmaVolcano *magma_map_by_name(const MagmaMap *m, const char *name);
/* The volcano at home in the slice after v's (v itself when alone, or without a slice). */
const MagmaVolcano *magma_map_after(const MagmaMap *m, const MagmaVolcano *v);
void magma_map_encode(const MagmaMap *m, GByteArray *out);
/* NULL for bytes that are not a map that seals. */
MagmaMap *magma_map_decode(const guint8 *p, gsize n);
