/* A few volcanos that keep copies of one slice, on the simulator's clock: each a memory store with an Owner or a Replica over it, messages between them that are late, lost, doubled and out of order,
 * and a tiny map: who owns, under which epoch, who is in sync. */
#pragma once
#include "magmad/mirror/mirror.h"
#include "tests/sim/memdisk.h"
#include "tests/sim/world.h"

enum { MNODES_MAX = 4 };

typedef struct MNet MNet;

typedef struct {
	MNet *net;
	guint i;
	MemDisk *disk;
	Store *store;                 /* NULL: down */
	Owner *owner;
	Replica *replica;
	guint life;
	gboolean failed;              /* it ends in this turn */
	gboolean damaged;             /* a power cut took what it had: not to be promoted before it was caught up again */
	gboolean full;
	MemUnread unread;             /* what its disk does not read */
	GPtrArray *calls;             /* MCall: made by it, not over */
} MNode;

typedef struct {
	guint32 seed;
	guint nodes;
	gboolean verbose;
	guint late_permille, lost_permille, double_permille, at_once_permille;
	gint64 disk_delay;
	guint64 keep_bytes;
	guint todo_max;
} MNetConfig;

struct MNet {
	MNetConfig cfg;
	World *w;
	MNode nodes[MNODES_MAX];
	gboolean trouble;
	gboolean mute;                /* no answer arrives */
	/* the map */
	guint64 epoch;
	gint owner;                   /* -1: nobody */
	gboolean in_sync[MNODES_MAX];
	guint64 power_cuts, promotions, resets, compared, stucks, grants, refusals, appended;       /* bytes of payloads */
	/* the load's */
	void (*on_acked)(void *user, guint64 index);
	void (*on_lost)(void *user);  /* the owner is gone */
	void (*on_owner)(void *user);
	void (*on_failed)(void *failed_user, guint i);      /* the owner's disk: it ends. NULL: like kill -9, for good */
	void *failed_user;
	void *user;
};

MNet *mnet_new(const MNetConfig *cfg);
void mnet_free(MNet *n);
/* Runs the next event, then the end of its turn. */
gboolean mnet_step(MNet *n);
void mnet_up(MNet *n, guint i);                      /* as a copy */
void mnet_down(MNet *n, guint i, gboolean power);    /* kill -9 or a power cut */
void mnet_promote(MNet *n, guint i);
Store *mnet_store(MNet *n);                          /* the owner's, or NULL */
void mnet_tell_owner(MNet *n);
/* `--seeds A..B` runs those, each with a line of progress: TRUE. `--verbose` is noted. */
gboolean mnet_by_hand(int argc, char **argv, gboolean *verbose, void (*run)(guint32 seed));
