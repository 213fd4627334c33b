/* /.dht, the directory that no volcano stores: made by whichever volcano is asked. Loop thread only.
 *
 *   /.dht/NICKNAME                       the profile of a volcano, a text (dht_profile.c)
 *
 * Its flares have keys of their own (their first 12 bytes are ff: no path has such a key), so a request that concerns them is known by its fields alone (dht_concerns), before it is routed: what comes
 * behind, slices and operations, knows nothing of all this. Clients need no special case either: they route such a key like any other, and any volcano answers. Nothing in it can be changed: EROFS. */
#pragma once
#include "magmad/core/core.h"

#define DHT_NAME ".dht"

typedef enum { DHT_NONE, DHT_TOP, DHT_PROFILE } DhtKind;

typedef struct {
	DhtKind kind;
	guint16 volcano;              /* PROFILE: whose */
} DhtNode;

/* Does that request concern /.dht, or its name in the root? Pure. */
gboolean dht_concerns(const MagmaHdr *h, const MagmaAny *req);
/* Is it the name in the root that /.dht has taken? An entry of an older network that has it can still be renamed (docs/operations.md). */
gboolean dht_takes(const MagmaFid *dir, MagmaBytes name);
/* The step that answers such a request. */
void dht_step(Op *op);
void dht_clear(Volcano *v);

/* dht.c, for the other files */
MagmaFid dht_fid(const DhtNode *node);
DhtNode dht_node(const MagmaFid *fid);                /* DHT_NONE: of no such kind */
MagmaAttr dht_dir_attr(Op *op, const DhtNode *node);

/* dht_profile.c */
typedef struct { GBytes *text; MagmaTs made; } DhtText;
/* The text of a volcano's profile as this client sees it. fresh: not older than a second (stat, open); else as the last one was made, so that what is read has the size that was told. 0, WAIT (parked), ESTALE. */
int dht_profile(Op *op, guint16 volcano, gboolean fresh, DhtText *out);
/* Pure: st NULL: it does not answer. */
void dht_profile_text(const MagmaMap *map, const MagmaVolcano *o, guint16 leader, const struct magma_rep_status *st, GString *out);
