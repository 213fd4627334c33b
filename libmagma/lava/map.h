/* The lava map: which volcano holds which slice, under an epoch. A value: copied, encoded, replaced whole. Pure; any thread
 * (a map is immutable once shared; reference counts are atomic). */
#pragma once
#include <glib.h>
#include "libmagma/base/addr.h"
#include "libmagma/base/wire.h"
#include "libmagma/key/key.h"

#define MAGMA_VOLCANOS_MAX 1024

typedef enum {
	MAGMA_JOINING = 1,            /* known, holds no slice yet */
	MAGMA_ACTIVE,                 /* holds a slice */
} MagmaVolcanoState;

typedef struct {
	guint16 id;                   /* the maker number of its inos; never reused; 1 is the bootstrap */
	MagmaVolcanoState state;
	char *name;                   /* nickname, 1..63 bytes of [A-Za-z0-9._-] */
	char *fqdn;                   /* 1..255 printable ASCII characters */
	MagmaAddr addr;               /* flare port; node port is +1, console +2 */
	MagmaRange slice;             /* when ACTIVE */
	guint32 bandwidth;            /* Kbit/s, declared */
	guint64 offered;              /* bytes of storage offered; 0: witness */
} MagmaVolcano;

/* A slice on its way: [lo,hi] of `from` goes to `to`. At most one in the map at a time. */
typedef struct {
	guint64 id;                   /* 0: none */
	guint16 from, to;
	MagmaRange range;
} MagmaMove;

typedef struct {
	gint refs;
	guint64 epoch;
	guint8 network[16];           /* network id, random at bootstrap */
	guint16 copies_wanted;
	guint16 copies_kept;          /* what the software really keeps: 1 until mirrors exist */
	guint16 coordinator;          /* id of the volcano that hands out the map */
	guint16 next_id;
	GPtrArray *volcanos;          /* MagmaVolcano *, by id */
	GArray *ring;                 /* guint: indexes into volcanos of the ACTIVE ones, by slice.lo; derived */
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
/* Rebuilds the ring and checks the rules: unique id, name, fqdn and address; slices that tile the keyspace without gap or overlap;
 * ids below next_id; a coordinator and a move (inside its source's slice) of volcanos that are there. Without an ACTIVE volcano there is no slice.
 * NULL, or a static text that says which rule is broken. */
const char *magma_map_seal(MagmaMap *m);
/* The volcano that owns key: O(log n). NULL only in a map without slices. */
const MagmaVolcano *magma_map_route(const MagmaMap *m, const MagmaKey *key);
const MagmaVolcano *magma_map_by_id(const MagmaMap *m, guint16 id);
const MagmaVolcano *magma_map_by_name(const MagmaMap *m, const char *name);
/* The next volcano of the ring after v (v itself when alone, or without a slice). */
const MagmaVolcano *magma_map_after(const MagmaMap *m, const MagmaVolcano *v);
void magma_map_encode(const MagmaMap *m, GByteArray *out);
/* NULL for bytes that are not a map that seals. */
MagmaMap *magma_map_decode(const guint8 *p, gsize n);
