/* Whole volcanos in a simulated world: magmad/core over memory stores, sessions between them and to clients, kill -9 between any two events, and clients that speak messages as
 * libmagma/client does: the same transaction id on every repeat, watermark, reopen after a restart, a ping every 5 s. */
#pragma once
#include "tests/sim/memstore.h"
#include "tests/sim/world.h"

enum { CLUSTER_VOLCANOS = 4 };

typedef struct Cluster Cluster;
typedef struct SimClient SimClient;

typedef struct {
	guint32 seed;
	guint late_permille;
	guint kill_ppm;               /* of events after which a volcano is killed, while trouble is on */
	guint cut_ppm;                /* the same for a session that is lost */
	guint pending_permille;       /* of cold rows */
	guint writeback_permille;     /* of pages of contents that were not synced, how many are on the disk when the power goes */
	gint64 disk_delay;            /* of everything the stores do later */
	guint copies;                 /* of everything; 0: one */
	gint64 away_max;              /* how long who was killed or ended stays away; 0: mostly short */
	guint leave_ppm;              /* of events after which a volcano is ended in good order, while trouble is on */
	guint part_ppm;               /* the same for one that no other volcano reaches any more for a while; clients still do */
	guint witness;                /* this one only votes; 0: none */
	gboolean verbose;
	const char *channels;         /* debug channels into the trace, or NULL */
} ClusterConfig;

Cluster *cluster_new(const ClusterConfig *cfg);
void cluster_free(Cluster *c);
World *cluster_world(Cluster *c);
/* Starts volcano i (0 bootstraps, others join at volcano 0); it is restarted after every kill from then on. */
void cluster_start(Cluster *c, guint i);
gboolean cluster_serves(Cluster *c, guint i);         /* ready, with a slice */
/* Every slice is answered for by whose it is, and has the copies it should have. */
gboolean cluster_at_home(Cluster *c);
/* Kills and lost sessions happen only while it is on. */
void cluster_trouble(Cluster *c, gboolean on);
/* kill -9, and a restart after delay. all_lost: nothing behind what was acknowledged survives; else it is left to chance. */
void cluster_kill(Cluster *c, guint i, gint64 restart_after, gboolean all_lost);
/* What it has found out about stores that were set aside is lost, or (damaged) no longer what it was: its next start compares them again. */
void cluster_forget_compared(Cluster *c, guint i, gboolean damaged);
/* SIGTERM: it hands over what it has and ends; back after delay. */
void cluster_leave(Cluster *c, guint i, gint64 restart_after);
/* No other volcano reaches it for that time. */
void cluster_part(Cluster *c, guint i, gint64 time);
/* Every volcano loses its power at once: what was not synced is gone. They come back one after the other. */
void cluster_power_cut(Cluster *c);
/* Only volcano i does: the others go on with what they told it and heard of it. */
void cluster_power_cut_one(Cluster *c, guint i);
/* One event, and what trouble makes of it. */
void cluster_step(Cluster *c);
/* Steps until fn(user) or limit microseconds have passed; FALSE: they have. */
gboolean cluster_run_until(Cluster *c, gint64 limit, gboolean (*fn)(void *user), void *user);
void cluster_run(Cluster *c, gint64 time);
/* NULL while it is down. */
Volcano *cluster_volcano(Cluster *c, guint i);
Store *cluster_store(Cluster *c, guint i);
Store *cluster_store_of(Cluster *c, guint i, guint16 slice);      /* what it holds of that slice, or NULL */
guint64 cluster_kills(Cluster *c);
/* Microseconds so far in which a volcano was away or cut off, or had been 3 s before, where they are so for long (away_max): of two that is half, of three with a witness mostly more than one. Nobody
 * promises answers then. */
gint64 cluster_hindered(Cluster *c);
const char *cluster_name(Cluster *c, guint i);

/* --- clients --- */

/* rep points into the message, valid during the call. Never MAGMA_ETRYAGAIN, MAGMA_EMAP: those are repeated. ETIMEDOUT after 60 s. */
typedef void (*SimDone)(void *user, int error, const MagmaAny *rep);

SimClient *sim_client_new(Cluster *c, gboolean proxy);     /* proxy: speaks to volcano 0 only */
void sim_client_free(SimClient *s);
void sim_call(SimClient *s, MagmaOp op, const void *req, SimDone done, void *user);
/* Runs the world until the answer is there. *rep points into a message that lives until the next such call. */
int sim_call_wait(SimClient *s, MagmaOp op, const void *req, MagmaAny *rep);
/* The client's table of opens: re-asserted after a restart. create opens too. */
void sim_opened(SimClient *s, const MagmaFid *fid);
void sim_released(SimClient *s, const MagmaFid *fid);
void sim_client_cred(SimClient *s, guint32 uid, guint32 gid);
guint sim_client_waiting(SimClient *s);
/* Nothing reaches it and nothing leaves it, while it is cut off; its sessions stay. */
void sim_client_cut_off(SimClient *s, gboolean off);
/* MAGMA_EEXPIRED is an answer to it. To others it is a failure of the world. */
void sim_client_may_expire(SimClient *s);
/* The message that it sent last; and such a one again, as a copy that was late on its way. FALSE: it has no session with that volcano. */
GBytes *sim_client_wire(SimClient *s);
gboolean sim_client_send_late(SimClient *s, guint volcano, GBytes *msg);
