/* /.dht, the directory that no volcano stores: made by whichever volcano is asked. Loop thread only.
 *
 *   /.dht/NICKNAME                       the profile of a volcano, a text (dht_profile.c)
 *   /.dht/conflicts/NICKNAME/TIME/...    what that volcano has set aside and differs from what stands (dht_aside.c); asked of that volcano
 *
 * Its flares have keys of their own (their first 12 bytes are ff: no path has such a key), so a request that concerns them is known by its fields alone (dht_concerns), before it is routed: what comes
 * behind, slices and operations, knows nothing of all this. Clients need no special case either: they route such a key like any other, and any volcano answers. Nothing in it can be changed: EROFS. */
#pragma once
#include "magmad/core/core.h"

#define DHT_NAME ".dht"

#define DHT_CONFLICTS_NAME "conflicts"     /* no volcano may be called that */

typedef enum { DHT_NONE, DHT_TOP, DHT_PROFILE, DHT_CONFLICTS, DHT_HOLDER, DHT_ASIDE, DHT_KINDS } DhtKind;

typedef struct {
	DhtKind kind;
	guint16 volcano;              /* PROFILE, HOLDER, ASIDE: whose */
	guint64 time, ino;            /* ASIDE: which, and the flare in its stores */
} DhtNode;

/* Does that request concern /.dht, or its name in the root? Pure. */
gboolean dht_concerns(const MagmaHdr *h, const MagmaAny *req);
/* Is it the name in the root that /.dht has taken? An entry of an older network that has it can still be renamed (docs/operations.md). */
gboolean dht_takes(const MagmaFid *dir, MagmaBytes name);
/* Can a volcano of that nickname have a file there? Pure. */
gboolean dht_shows(const char *nickname);
/* The step that answers such a request. */
void dht_step(Op *op);
void dht_clear(Volcano *v);

/* dht.c, for the other files */
MagmaFid dht_fid(const DhtNode *node);
DhtNode dht_node(const MagmaFid *fid);                /* DHT_NONE: of no such kind */
MagmaAttr dht_dir_attr(Op *op, const DhtNode *node);

gboolean dht_put_entry(GByteArray *out, guint32 max, guint64 cookie, const DhtNode *node, guint32 type, const char *name);     /* FALSE: no room */
int dht_getattrs(Op *op);
/* May the caller? Of what nobody may write: EROFS. */
int dht_may(Op *op, const MagmaAttr *a, guint32 want);
enum { DHT_OPEN_EXEC = 0x20 };        /* as in op_setattr.c */
guint32 dht_open_wants(guint32 flags);

/* dht_aside.c */
/* Answers about a HOLDER's list, or an ASIDE, of this volcano. 0: answered, or will be; an errno; WAIT. */
int dht_aside(Op *op, const DhtNode *node);
/* One after the other into out; for what is not this volcano's: ESTALE. 0, WAIT, EPROTO. */
int dht_aside_attr(Op *op, const DhtNode *node, MagmaAttr *out);
void dht_holders_clear(Volcano *v);
/* Who has set something aside: READDIR of CONFLICTS. 0, WAIT. */
int dht_holders(Op *op);

/* dht_profile.c */
typedef struct { GBytes *text; MagmaTs made; } DhtText;
/* The text of a volcano's profile as this client sees it. fresh: not older than a second (stat, open); else as the last one was made, so that what is read has the size that was told. 0, WAIT (parked), ESTALE. */
int dht_profile(Op *op, guint16 volcano, gboolean fresh, DhtText *out);
/* Pure: st NULL: it does not answer. */
void dht_profile_text(const MagmaMap *map, const MagmaVolcano *o, guint16 leader, const struct magma_rep_status *st, GString *out);
