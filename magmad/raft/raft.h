/* The consensus core of the lava map: Raft (Ongaro and Ousterhout), with pre-vote, check-quorum, leases, learners and forced incarnations. A pure state machine: events and the time
 * come in through raft_step(), actions go out. No socket, clock, disk, thread, random number or log sink in here. Everything on one thread.
 *
 * Every entry of the log is a whole map (opaque bytes) and the group it is for, so any committed entry can stand for all before it: the log keeps the last RAFT_KEEP of them and there is no
 * other snapshot. The first entry of the log is always a committed one.
 *
 * Terms are (incarnation, term), incarnation first. An incarnation is a line of history that one volcano began by force (RAFT_EV_FORCE), without the consent of a quorum; within one
 * incarnation Raft's five safety properties hold, and it wins over older ones except as RaftRival says.
 *
 * Leases: docs/reliability.md. Times are CLOCK_BOOTTIME, microseconds, above 0. */
#pragma once
#include <glib.h>

enum {
	RAFT_VOTERS_MAX = 5,
	RAFT_MEMBERS_MAX = 1024,          /* MAGMA_VOLCANOS_MAX */
	RAFT_BYTES_MAX = 1 << 20,         /* of one map: 1024 volcanos with the longest names fit */
	RAFT_KEEP = 8,                    /* entries kept; who is behind them gets the oldest as its base */
	RAFT_FORKS_MAX = 16,              /* forced incarnations that are remembered; of lines that parted before those nothing is known to be common */
};

typedef struct { guint32 inc; guint64 term; } RaftTerm;
/* <0, 0, >0 */
int raft_term_cmp(RaftTerm a, RaftTerm b);

/* Incarnation `inc` goes on from entry (index, term) of an older one, of which its maker knew that it was committed up to `safe`; 0 is the first of all. Numbers are (how many, maker): unique
 * though two volcanos force at the same time. */
typedef struct { guint32 inc; guint64 index, safe; RaftTerm term; } RaftFork;
/* A line of history: the forks on the way to its incarnation, which is that of the last of them, oldest first. */
typedef struct { guint n; RaftFork f[RAFT_FORKS_MAX]; } RaftLine;

/* Volcanos of the map, ascending; the voters among them. Members that are no voters learn. */
typedef struct {
	guint n_voters, n_members;
	guint16 voters[RAFT_VOTERS_MAX];
	guint16 *members;
} RaftGroup;
gboolean raft_group_has_voter(const RaftGroup *g, guint16 id);
gboolean raft_group_has_member(const RaftGroup *g, guint16 id);

/* Immutable and counted (not atomically). */
typedef struct {
	guint64 index;                    /* 1.. */
	RaftTerm term;
	guint64 origin;                   /* index of the entry that brought these bytes; below index: a new leader's re-issue, to be ignored by who has the origin */
	RaftGroup group;
	GBytes *bytes;
} RaftEntry;
RaftEntry *raft_entry_ref(const RaftEntry *e);
void raft_entry_unref(RaftEntry *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftEntry, raft_entry_unref)

/* --- what is kept on disk --- */

typedef struct {
	RaftTerm term;
	RaftLine line;                    /* to term.inc */
	guint16 vote;                     /* 0: nobody in this term */
	guint64 commit;                   /* a lower bound */
	GPtrArray *log;                   /* RaftEntry *, consecutive */
} RaftState;
RaftState *raft_state_new(void);          /* of a volcano that joins: nothing */
/* Of the first volcano of a network: one entry, itself the only voter and member. */
RaftState *raft_state_bootstrap(guint16 id, GBytes *bytes);
void raft_state_free(RaftState *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RaftState, raft_state_free)
void raft_state_encode(const RaftState *s, GByteArray *out);
/* NULL for bytes that are no state. */
RaftState *raft_state_decode(const guint8 *p, gsize n);

/* A change of the above: entries below `first` are gone, those from `from` on are replaced by `entries`, the rest is set. Changes are numbered 1, 2, ... in the life of a Raft and
 * must become durable in that order; several may be made durable together. */
typedef struct {
	guint64 number;
	RaftTerm term;
	RaftLine line;
	guint16 vote;
	guint64 commit, first, from;
	GPtrArray *entries;               /* RaftEntry * */
} RaftPersist;
void raft_state_apply(RaftState *s, const RaftPersist *p);

/* --- messages --- */

typedef enum {
	RAFT_PREVOTE = 1,                 /* last, last_term */
	RAFT_PREVOTE_ACK,                 /* ok */
	RAFT_VOTE,                        /* last, last_term, transfer */
	RAFT_VOTE_ACK,                    /* ok, age */
	RAFT_APPEND,                      /* prev, prev_term, commit; entry or none; base: the entry is committed and stands for all before it */
	RAFT_APPEND_ACK,                  /* ok, index (agreed up to; not ok: committed up to), commit */
	RAFT_BEAT,                        /* sent; grant_life, grant_at */
	RAFT_ALIVE,                       /* sent (echoed), life, at, commit */
	RAFT_ELECT_NOW,
	RAFT_MSG_LIMIT
} RaftMsgType;

typedef struct {
	RaftMsgType type;
	RaftTerm term;
	RaftLine line;                    /* to term.inc */
	guint64 index;                    /* last, prev or index of the above */
	RaftTerm index_term;
	guint64 commit;
	gboolean ok, transfer, base;
	gint64 sent, at;
	gint64 age;                       /* how long ago the sender of a vote last heard a leader: microseconds of its clock */
	guint32 life;
	RaftEntry *entry;
} RaftMsg;
void raft_msg_encode(const RaftMsg *m, GByteArray *out);
/* FALSE for bytes that are no message; else the caller clears *m. */
gboolean raft_msg_decode(const guint8 *p, gsize n, RaftMsg *m);
void raft_msg_clear(RaftMsg *m);

/* --- actions --- */

/* Two lines of history, as seen by the one of the older incarnation (DESIGN section 5, rule 4). It has committed a map that the other lacks, has stepped down and holds no lease; it waits for
 * RAFT_EV_YIELD or RAFT_EV_FORCE. (Where it has committed nothing else, but for re-issues, it yields by itself.) */
typedef struct {
	guint16 from;                     /* who told */
	RaftTerm our_term, their_term;
	guint64 common;                   /* up to here both lines are surely the same; 0: nothing is sure */
	guint64 our_commit, our_last;
	guint64 our_map;                  /* index that brought our newest committed map */
	guint32 our_side, their_side;     /* incarnation of the first entry behind common */
	RaftLine theirs;
} RaftRival;
/* Rule 4 by the numbers: TRUE when our line is the older one there and committed something behind common, so that it stands (FORCE); FALSE: YIELD. The shell may know better: a map that
 * was committed without the other but took nobody out of sync has cost nobody anything. */
gboolean raft_rival_stands(const RaftRival *v);

/* What this volcano drops of its own line because another incarnation stands. */
typedef struct {
	GPtrArray *entries;               /* RaftEntry * */
	guint64 commit;                   /* last index of the losing line known here as committed */
	RaftTerm term, by;                /* our last entry's, the winner's */
} RaftCut;

typedef enum {
	RAFT_DO_PERSIST = 1,
	RAFT_DO_SEND,                     /* not before persist number `after` is durable; may be dropped when the peer is unreachable, or replaced by a later one of the same type */
	RAFT_DO_COMMITTED,                /* entries in order of index; indexes may be skipped */
	RAFT_DO_LEAD,                     /* elected; proposals are BUSY until its first entry is committed */
	RAFT_DO_LOST,                     /* no leader any more */
	RAFT_DO_RIVAL,
	RAFT_DO_CUT,
} RaftActionType;

typedef struct {
	RaftActionType type;
	union {
		RaftPersist persist;
		struct { guint16 to; guint64 after; RaftMsg msg; } send;
		RaftEntry *entry;             /* COMMITTED */
		RaftTerm term;                /* LEAD, LOST */
		RaftRival rival;
		RaftCut cut;
	};
} RaftAction;

typedef enum {
	RAFT_OK,
	RAFT_NOT_LEADER,
	RAFT_BUSY,                        /* an entry is not committed yet, or leadership is being handed over: again later */
	RAFT_STALE,                       /* the map is another one by now */
	RAFT_BAD_GROUP,                   /* more than one voter added or removed, none left, or not ascending members */
	RAFT_LEASED,                      /* one of `down` may still hold a lease: again at raft_down_at() */
	RAFT_REFUSED,                     /* TRANSFER to nobody suitable, YIELD without a rival, FORCE of a group other than itself as voter */
} RaftStatus;

/* Made by the caller once, reused for every step; actions in the order they have to be begun. */
typedef struct {
	GArray *actions;                  /* RaftAction */
	gint64 wake_at;                   /* TICK then at the latest; G_MAXINT64: no need */
	RaftStatus status;                /* of PROPOSE, TRANSFER, FORCE, YIELD */
	guint64 index;                    /* of PROPOSE, FORCE with RAFT_OK: COMMITTED with this index and the term of now says it is done; another term there: it is lost */
} RaftOut;
void raft_out_init(RaftOut *out);
void raft_out_clear(RaftOut *out);

/* --- events --- */

typedef enum {
	RAFT_EV_TICK = 1,
	RAFT_EV_MESSAGE,                  /* from, msg (borrowed) */
	RAFT_EV_PERSISTED,                /* number: this persist and all before it are durable */
	RAFT_EV_PROPOSE,                  /* bytes, group; derived: index of the committed entry they were made of; down: members whom the new map takes as dead */
	RAFT_EV_HINT,                     /* from: may be gone (a refused port). The leader looks at once; proves nothing */
	RAFT_EV_TRANSFER,                 /* from: who shall lead, 0 for any voter; before a planned end */
	RAFT_EV_FORCE,                    /* bytes, group with this volcano as the only voter. The caller has made the checks of rule 4 */
	RAFT_EV_YIELD,                    /* to the rival line */
} RaftEventType;

typedef struct {
	RaftEventType type;
	guint16 from;
	guint64 number, derived;
	const RaftMsg *msg;
	GBytes *bytes;
	const RaftGroup *group;
	const guint16 *down;
	guint n_down;
	gboolean gone;                    /* PROPOSE: those of down have said themselves that they end and use no lease any more: none is waited for */
} RaftEvent;

typedef struct {
	guint16 id;                       /* not 0 */
	guint32 life;                     /* random per start of the process: an earlier life's grants are not ours */
	guint64 seed;                     /* election jitter */
	gint64 beat;                      /* between two heartbeats to each member */
	gint64 lease;                     /* how long a proof of life allows to serve */
	gint64 down_after;                /* silence after which a lease has surely run out: above lease * (1+drift)/(1-drift) */
	gint64 election_min, election_max;
	guint drift_permille;             /* bound on the rate error of any clock */
} RaftConfig;
/* The intervals of docs/reliability.md; id, life and seed are the caller's. */
extern const RaftConfig raft_config_default;

typedef struct Raft Raft;
/* s is borrowed. What it has is taken as durable. */
Raft *raft_new(const RaftConfig *cfg, const RaftState *s, gint64 now);
void raft_free(Raft *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Raft, raft_free)
/* One event at a time. out's former actions are dropped. now never goes back. */
void raft_step(Raft *r, const RaftEvent *ev, gint64 now, RaftOut *out);

/* --- what the shell asks between steps --- */

gboolean raft_is_leader(const Raft *r);
guint16 raft_leader(const Raft *r);                       /* 0: unknown */
RaftTerm raft_term(const Raft *r);
guint64 raft_commit_index(const Raft *r);
const RaftEntry *raft_committed(const Raft *r);           /* the newest committed map; NULL when there is none yet */
const RaftEntry *raft_last(const Raft *r);
guint raft_log_size(const Raft *r);
const RaftEntry *raft_log_at(const Raft *r, guint i);     /* 0..size-1, oldest first */
/* May serve under its newest committed map while now < this; 0: never had a lease. Look after evaluation, before the reply (rule 9). */
gint64 raft_lease_until(const Raft *r, gint64 now);
/* Leader only, else 0: since when (our clock) nothing has been granted to this member; and from when on it may be declared down. */
gint64 raft_member_silent_since(const Raft *r, guint16 id);
gint64 raft_down_at(const Raft *r, guint16 id);
guint32 raft_member_life(const Raft *r, guint16 id);      /* which start of the process this leader last heard, or its own; 0: not known */
gint64 raft_member_granted(const Raft *r, guint16 id);    /* when the newest proof of its life that was granted came, in this leader's term; 0: none */
gint64 raft_led_since(const Raft *r);                     /* leader only, else 0 */
gint64 raft_member_acked(const Raft *r, guint16 id);      /* leader only: when the newest beat was sent that this member has answered in this term; 0: none */
guint32 raft_next_incarnation(const Raft *r);             /* that FORCE would begin now */
const RaftRival *raft_rival(const Raft *r);               /* NULL: none */

#ifdef RAFT_PLANT
/* Bugs for the simulator to find. */
enum {
	PLANT_OLD_TERM = 1 << 0,          /* commits entries of older terms by counting */
	PLANT_NO_NOOP = 1 << 1,           /* no first entry of the term */
	PLANT_VOTE_EARLY = 1 << 2,        /* votes leave before they are durable */
	PLANT_LEASE_RECEIPT = 1 << 3,     /* lease counted from the receipt of the grant */
	PLANT_TWO_CHANGES = 1 << 4,       /* voter sets change while one is not committed */
	PLANT_STALE_APPEND = 1 << 5,      /* an old APPEND cuts what followed it */
	PLANT_ACK_EARLY = 1 << 6,         /* APPEND is acknowledged before it is durable */
	PLANT_NO_ROUND = 1 << 7,          /* grants without a quorum afterwards */
	PLANT_NO_FENCE = 1 << 8,          /* grants to members that do not have the map that declares them dead */
	PLANT_SELF_EARLY = 1 << 9,        /* a new leader takes its own lease before its first entry is committed */
	PLANT_NO_WAIT = 1 << 10,          /* a new leader does not wait for its predecessor's leases */
	PLANT_SELF_ACK = 1 << 11,         /* the leader counts its own copy before it is durable */
	PLANT_VOTE_BEHIND = 1 << 12,      /* votes for candidates whose log is behind */
	PLANT_COMMIT_BLIND = 1 << 13,     /* a follower commits what it has not compared */
	PLANT_OLD_LINE_RUNS = 1 << 14,    /* a volcano that yielded campaigns with its old configuration */
	PLANT_SAME_INC = 1 << 15,         /* incarnation numbers without their maker */
	PLANT_YIELD_BLIND = 1 << 16,      /* yields though it has committed something else */
	PLANT_OLD_LIFE = 1 << 17,         /* takes grants of an earlier life */
	PLANT_VOTE_TWICE = 1 << 18,       /* forgets whom it voted for in this term */
	PLANT_OWN_AGE = 1 << 19,          /* a new leader counts its predecessors' leases from when it heard them last itself, whatever its voters did */
	PLANT_LIMIT = 1 << 20
};
void raft_plant(Raft *r, guint bugs);
#endif
