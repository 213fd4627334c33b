/* Whole volcanos in a simulated world: magmad/core over memory stores, sessions between them and to clients, kill -9 between any two events, faults of disks, clocks and
 * networks (faults.h), and clients that speak messages as libmagma/client does: the same transaction id on every repeat, watermark, reopen after a restart, a ping every 5 s. */
#pragma once
#include "tests/sim/memstore.h"
#include "tests/sim/world.h"

enum { CLUSTER_VOLCANOS = 9 };

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
	gboolean both_may_answer;     /* two volcanos are parted on purpose: safety.h */
	guint64 journal_keep;         /* bytes, for copies that come back */
	guint32 faults;               /* 1 << FaultKind (faults.h): what the schedule draws from, while trouble is on */
	gint64 fault_every;           /* about */
	const char *replay;
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
/* Every volcano loses its power at once: what was not synced is gone. They come back one after the other, within a second; last: this one some seconds later (-1: none). */
void cluster_power_cut(Cluster *c, int last);
/* Only volcano i does: the others go on with what they told it and heard of it. */
void cluster_power_cut_one(Cluster *c, guint i, gint64 restart_after);

/* --- faults, one by one; cluster_trouble(FALSE) ends those that last, but for clocks --- */

/* Nothing that one of `from` sends arrives at one of `to` before it is unblocked. Bits: 1 << volcano, 1 << sim_client_point(). Sessions are not told. */
guint cluster_block(Cluster *c, guint64 from, guint64 to);
void cluster_unblock(Cluster *c, guint id);
void cluster_block_for(Cluster *c, guint64 from, guint64 to, gint64 time);
void cluster_pause(Cluster *c, guint i, gint64 time);
/* From its next start on: rate error, and by how much it is ahead of the true time (monotonic and of the calendar). */
void cluster_clock(Cluster *c, guint i, gint rate_ppm, gint64 ahead);
/* Whatever it writes takes up to delay longer, for that time. */
void cluster_slow_disk(Cluster *c, guint i, gint64 delay, gint64 time);
/* It cannot write for that time. A volcano gives up then, and is started again afterwards. */
void cluster_bad_disk(Cluster *c, guint i, gint64 time);
/* It reads no contents from now on, and half the time no rows, and takes nothing after reads_fail; both end time after that. Every other time it has then only what it had synced. As a bad disk where not everything is there twice. */
void cluster_dying_disk(Cluster *c, guint i, gint64 reads_fail, gint64 time);
/* It opens no store of a slice other than its own for that time: too many open files, say. What is open stays so. */
void cluster_refuse_opens(Cluster *c, guint i, gint64 time);
/* kill -9, and its folder is gone with all there is in it: it joins again under its name. Until it has all again, nothing else may be lost (cluster_may_lose_folder()). */
void cluster_lose_folder(Cluster *c, guint i, gint64 restart_after);
gboolean cluster_may_lose_folder(Cluster *c, guint i);

/* One event, and what trouble makes of it. */
void cluster_step(Cluster *c);
/* Steps until fn(user) or limit microseconds have passed; FALSE: they have. */
gboolean cluster_run_until(Cluster *c, gint64 limit, gboolean (*fn)(void *user), void *user);
void cluster_run(Cluster *c, gint64 time);
/* NULL while it is down. */
Volcano *cluster_volcano(Cluster *c, guint i);
/* What volcano i has of a slice, as owner or as copy; NULL: nothing, or it is down. */
Store *cluster_store(Cluster *c, guint i, guint16 slice);
/* Everything it has: how many, and the one at n with its slice (0: of a volcano that has not joined yet). */
guint cluster_stores(Cluster *c, guint i);
Store *cluster_store_at(Cluster *c, guint i, guint n, guint16 *slice);
guint64 cluster_kills(Cluster *c);
/* Microseconds so far in which a volcano was away or cut off, or had been 3 s before, where they are so for long (away_max): of two that is half, of three with a witness mostly more than one. Nobody
 * promises answers then. */
gint64 cluster_hindered(Cluster *c);
const char *cluster_name(Cluster *c, guint i);

/* --- clients --- */

/* rep points into the message, valid during the call. Never MAGMA_ETRYAGAIN, MAGMA_EMAP: those are repeated. ETIMEDOUT after 60 s. */
typedef void (*SimDone)(void *user, int error, const MagmaAny *rep);

SimClient *sim_client_new(Cluster *c, int through);        /* -1, or the one volcano that it speaks to */
int sim_client_through(const SimClient *s);
guint64 sim_client_pinged(const SimClient *s, guint volcano);      /* so often it did */
guint sim_client_pings(SimClient *s);                /* so many volcanos: those that own slices by its map */
guint sim_client_point(const SimClient *s);                /* in the sets of cluster_block() */
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
