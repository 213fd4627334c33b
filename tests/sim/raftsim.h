/* Up to nine raft cores on a virtual clock: drifting clocks, a network that loses, repeats, delays and cuts one way, disks that are slow and forget, and checks after every step. A seed is a whole
 * run and always the same one. Pure but for printing. */
#pragma once
#include "magmad/raft/raft.h"

enum { SIM_NODES = 9 };
#define SIM_MS ((gint64)1000)
#define SIM_S ((gint64)1000000)

typedef struct RaftSim RaftSim;
typedef struct Check Check;

/* What an entry's bytes are here. */
typedef struct {
	guint64 serial;
	guint32 down;                     /* 1 << id: taken for dead */
} SimMap;
SimMap sim_map(const RaftEntry *e);

typedef struct {
	guint16 id;
	Raft *raft;                       /* NULL: not running */
	RaftState *disk;
	GQueue *persists;                 /* RaftPersist *, not durable yet, in order */
	gint64 disk_busy;                 /* real time of the last one's end */
	GQueue *held;                     /* Packet *, until their persist is durable */
	guint64 durable;
	guint life;
	gint64 offset;
	gint rate;                        /* permille */
	gint64 tick_at, wake_at;          /* real time: scheduled, wanted */
	gint64 paused_until;
	gint64 slow_until, slow_by;       /* its disk */
	/* for the checks */
	guint64 commit, serial;           /* of the newest committed map */
	gboolean yielded;                 /* in this step: commit may go back */
	gint64 decide_at;                 /* a rival waits for the shell's decision */
	guint64 lead_last;
	RaftTerm lead_term, lead_last_term;
} SimNode;

typedef struct { guint16 from, to; guint64 after; GByteArray *bytes; } Packet;

struct RaftSim {
	guint64 seed, rng;
	guint n;
	gint64 now;
	guint64 seq, serial, steps, sent;
	RaftConfig cfg;
	guint plant;
	gboolean verbose;
	SimNode node[SIM_NODES + 1];      /* by id */
	GArray *heap;
	/* the network */
	guint loss_permille, dup_permille;
	gint64 delay_min, delay_max;
	gboolean cut[SIM_NODES + 1][SIM_NODES + 1];   /* [from][to] */
	gint64 cut_until[SIM_NODES + 1][SIM_NODES + 1];
	gboolean (*filter)(RaftSim *s, guint16 from, guint16 to, RaftMsg *m);   /* FALSE: lost */
	gint64 disk_min, disk_max;
	Check *check;
	char *failed;                     /* the first promise that was broken */
	/* the players */
	gboolean trouble;
	guint p_force_permille;
	guint restart_permille;           /* every turn, of who does not run */
	gint64 storm_until;               /* until then leaders die young */
	gint64 next_trouble, next_play;
};

RaftSim *sim_new(guint64 seed, guint n, const RaftConfig *cfg, guint plant, gboolean verbose);
void sim_free(RaftSim *s);
guint64 sim_pick(RaftSim *s, guint64 below);
gboolean sim_chance(RaftSim *s, guint permille);
/* Starts it from its disk. */
void sim_start(RaftSim *s, guint16 id);
/* Ends it: what was not durable is lost, or, by chance, a first part of it is not. */
void sim_crash(RaftSim *s, guint16 id);
/* One event at a node, its actions begun. */
RaftStatus sim_step(RaftSim *s, guint16 id, const RaftEvent *ev, guint64 *index);
/* Runs until done(s) says so (TRUE), or time is over or a promise broken (FALSE); done may be NULL. */
gboolean sim_run(RaftSim *s, gint64 us, gboolean (*done)(RaftSim *s));
gint64 sim_local(const RaftSim *s, const SimNode *n);
gint64 sim_real(const SimNode *n, gint64 local);
/* The leader of the newest term that runs; 0: none. */
guint16 sim_leader(RaftSim *s);
/* Proposes a map derived from entry `derived`. */
RaftStatus sim_propose(RaftSim *s, guint16 leader, guint64 derived, guint32 down, const RaftGroup *g, const guint16 *ids, guint n_ids);
void sim_group_toggle(RaftGroup *g, guint16 *members, guint16 id, gboolean voter);
void sim_fail(RaftSim *s, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* raftcheck.c */
Check *check_new(void);
void check_free(Check *c);
void check_committed(RaftSim *s, SimNode *n, const RaftEntry *e);
void check_leads(RaftSim *s, SimNode *n);
void check_step(RaftSim *s, SimNode *n, gboolean log_changed);

/* raftplay.c */
void play_setup(RaftSim *s, guint voters);      /* all members, that many voters */
void play_turn(RaftSim *s);                     /* proposals, declarations, decisions, troubles that are due */
void play_heal(RaftSim *s);
gboolean play_converged(RaftSim *s);
void play_seed(RaftSim *s);
