/* The inside of a volcano, shared by the files of magmad/core only. Loop thread only, like everything here.
 *
 * How an operation runs: op_message() makes an Op and calls its handler. A handler evaluates rows (state.h); what is not in memory parks the operation and runs its step again
 * when the row is there (WAIT). It ends by op_reply/op_error, or by draft_reply, which commits a Draft together with the stored reply. */
#pragma once
#include <errno.h>
#include <string.h>
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include "magmad/core/rows.h"
#include "magmad/core/volcano.h"

#define WAIT (-1)                             /* not an errno: the operation is parked and will be run again */
#define SECOND ((MagmaTime)1000000)
#define CLIENT_EXPIRY (15 * SECOND)           /* DESIGN section 3: a client that is silent for 15 s expires */
#define OPEN_GRACE (20 * SECOND)              /* after a start clients have this long to re-assert opens; above CLIENT_EXPIRY */
#define COORD_LIMIT (30 * SECOND)             /* an operation over two volcanos gives up after this; below the client's 60 s */
#define SETTLE_EVERY (SECOND / 4)             /* how often finished cross-volcano operations are made durable and settled */
#define RESOLVE_AFTER SECOND                  /* a mark this old asks its coordinator; readers wait for it, so this is part of the pause when a coordinator dies */
#define SYNC_AGAIN SECOND                     /* a sync that failed is not tried again before; who asks meanwhile is told */
#define CAPABILITY_XATTR "security.capability"
#define FIRST_INO 16                          /* of a slice; below: the root and what may come */
#define INO_BLOCK 65536                       /* inos reserved durably at a time: one small transaction for so many creates */

typedef struct Op Op;
typedef struct Peer Peer;
typedef struct Client Client;
typedef struct Call Call;
typedef struct Draft Draft;
typedef struct Move Move;
typedef struct Slice Slice;

/* A session's other end. Counted: operations in flight keep it after the session is gone (session NULL then). */
struct Peer {
	gint refs;
	guint64 number;               /* in the order they came: what goes to all goes in this order */
	Session *session;
	gboolean is_node;
	gboolean open;
	guint16 volcano;              /* of a node session, once known */
	GPtrArray *calls;             /* Call *, sent on it and unanswered */
};

/* What waits for a name, a mark or a lock. */
typedef struct { GQueue waiters; } Waitq;

typedef struct {
	guint64 ino;
	guint16 len;
	guint8 name[MAGMA_NAME_MAX];
} NameKey;

typedef struct {
	NameKey key;
	Op *owner;
	Waitq wait;
} NameLock;

typedef struct {
	MarkRow row;                  /* row.name points to name */
	NameKey name;
	Waitq wait;
	MagmaTime since;
	gboolean asking;
} Mark;

/* A mark that was settled for good. The kind as u64: no padding in a hash key. */
typedef struct { guint64 op_hi, op_lo, ino, kind; } Settled;

typedef struct {
	guint64 op[2];                /* op_hi, op_lo: the hash key */
	MagmaFid coord;
	GArray *parts;                /* CommitPart, not yet settled */
	GArray *named;                /* MagmaFid: CommitPart's LEAVE and SWAP are about their names */
	guint64 index;                /* journal index of the commit; 0: from before this start */
	gboolean durable, sending;
} Commit;

/* A participant of an operation, here or on another volcano: what to check, and what came of it. */
typedef struct {
	MarkKind kind;
	MagmaFid target;
	MagmaFid other;               /* SWAP, REPARENT; BORN: the parent */
	guint32 mode;                 /* BORN: mode; SWAP: type of the new child; REF_DROP, SEAL: 1 with sticky check */
	guint32 uid, gid;             /* BORN: owner; else of the caller */
	guint64 rdev, client;         /* BORN: device; client that has it open (0: none) */
	MagmaBytes name;              /* LEAVE, SWAP; points into the request or the prepare message */
	MagmaBytes symlink;           /* BORN */
	MagmaBytes cred;              /* LEAVE, SWAP, REPARENT: encoded credentials */
	MagmaTs now;
	/* outcome of the check */
	EntryRow entry;               /* LEAVE, SWAP */
	MagmaAttr attr;
	guint32 dir_mode, dir_uid;    /* LEAVE, SWAP: of the directory, for the sticky rule */
	gboolean local, prepared, called;
	gboolean unknown;             /* whether it prepared: it did not answer in time */
	gboolean marked;              /* made of a mark of this volcano */
	gboolean gone;                /* it is not there any more, and that is as good */
	int error;
} Part;
#define PARTS_MAX 6

typedef struct {
	guint64 op[2];                /* this attempt */
	Part parts[PARTS_MAX];
	guint n, waiting;
	gboolean active;
	void (*then)(Op *op);
	GPtrArray *locks;             /* NameLock * */
	GPtrArray *calls;             /* Call * outstanding */
	guint timer;
	/* rename */
	MagmaFid walk, walk_for;      /* where the loop check stands, and what it must not meet */
	guint walk_steps, phase;
	EntryRow target;              /* what the new name led to; target.child.ino 0: nothing */
} Coord;

struct Op {
	guint64 number;               /* in the order they came */
	Volcano *v;
	Slice *sl;                    /* whose state it works on; NULL: of the volcano as a whole (hello, join, status ...) */
	Fetch fetch;
	MagmaHdr hdr;
	MagmaAny req;
	GBytes *msg;                  /* what hdr and req point into */
	Peer *peer;                   /* where the answer goes; NULL with call */
	Call *call;                   /* a call of this volcano to itself */
	Client *client;
	MagmaKey route;
	MagmaTs now;                  /* CLOCK_REALTIME at the start: one time for all rows of an operation */
	MagmaTime started;
	guint64 age;
	void (*step)(Op *op);
	gboolean queued, running, done, registered;
	Waitq *parked;
	guint turn;                   /* content_done() */
	Coord *coord;
	gpointer data;                /* of the family */
	GDestroyNotify data_free;
};

struct Client {
	guint64 id;
	MagmaTime heard;
	guint64 watermark;
	guint64 floor;                /* of its row: replies below it may have been dropped */
	GHashTable *running;          /* xid -> Op * */
	GHashTable *replies;          /* xid -> Stored * */
	GQueue order;                 /* Stored *, as stored */
	GHashTable *refusals;         /* xid -> errno of what was told so and did nothing, until the watermark passes it; in memory */
	GHashTable *opens;            /* set of ino */
	GHashTable *touched;          /* set of Touch: the newest word about each open, until the watermark passes it */
	gint64 gone;                  /* expired then, seconds since 1970: every request is answered MAGMA_EEXPIRED; 0: it lives */
};

typedef struct {
	guint64 xid, index;
	MagmaKey rk;
	GBytes *reply;
} Stored;

typedef struct { guint64 ino, xid; } Touch;      /* by ino */

typedef struct {
	MagmaFid fid;                 /* ino is the hash key */
	GHashTable *clients;          /* client id -> whether only its CREATE says so */
} OpenSet;

typedef struct {
	guint64 index;
	Peer *peer;
	Call *call;
	GBytes *head, *body;
	guint64 client, xid;          /* the client's request that this is the first answer of */
} Held;

/* A content file that was written and is not known to be on disk. */
typedef struct {
	MagmaFid fid;
	guint64 index;                /* of the commit that noted it: the first write waits for it */
	guint64 writes;               /* counted, to see whether a sync covered all */
	Op *truncate_by;              /* its truncation is noted in TAB_DIRTY's value: u64 size, and the request */
	guint64 truncate_to;          /* from before this start; -1: none */
	gboolean syncing;
	gboolean durable;             /* the intent itself, at every copy, or it need not be (content_intent) */
	gboolean born;                /* the content was inline when the intent was made */
	gboolean inline_kept;         /* there may be an inline copy, for the day when a power cut eats the file */
	gboolean making_durable;
	int failed;                   /* that did, at failed_at */
	MagmaTime failed_at;
	gboolean cut;                 /* what a power cut may have left behind the row's size is gone */
	gboolean cutting;             /* and is to be so on disk before a byte is written */
	int cut_error, cut_failed;    /* of what cutting waits for; that it came to nothing, at cut_failed_at */
	MagmaTime cut_failed_at;
	int unrecovered;              /* what a crash left of it could not be put in order yet: nobody reads or changes it */
	MagmaTime last;
	GQueue *among;                /* the slice's, by age */
	GList by_age;
} Dirty;

/* Removed, and its content still there. */
typedef struct {
	MagmaFid fid;
	guint64 index;                /* of the record that removed it; 0: an earlier start's */
} Orphan;

/* Content operations under way on one flare. */
typedef struct {
	guint64 ino;
	GArray *ends;                 /* guint64: of what is under way, and may make it longer */
	guint running;
	gboolean converting;          /* inline to file: everything else waits */
	guint cutting;                /* truncations: appends wait */
	guint ended, turn;            /* how many the store has done; which of them is the next to commit its row */
	Waitq wait;
} Busy;

/* One slice that this volcano answers for: a state machine of its own over a store of its own. */
struct Slice {
	Volcano *v;
	guint16 id;
	Store *store;
	const MagmaTrace *trace;
	gboolean serving;             /* what is kept in memory has been read, and a crash repaired */
	MagmaTime started;
	guint64 since;                /* epoch of the map when it came here: what was sent by an older one may be a late copy of what an owner before has done, and forgotten */
	gboolean ino_reserving;
	guint64 next_ino, ino_limit;
	guint64 ino_durable;          /* inos below are reserved on disk */
	int ino_failed;               /* the last try to bring that there, at ino_failed_at */
	MagmaTime ino_failed_at;
	guint64 last_index;           /* of the last commit */
	guint64 first_index;          /* of the first commit of this start: behind all that was there before */
	GQueue held;                  /* Held *, by index */
	GQueue words;                 /* Word *, by index: COMMITs that wait for the journal */
	GHashTable *clients, *opens, *names, *marks, *marks_by_ino, *marks_by_name, *commits, *attempts;
	GHashTable *settled[2];       /* sets of Settled: of late, and before */
	MagmaTime settled_since;
	GHashTable *orphans;          /* ino -> Orphan */
	GHashTable *dirty;            /* ino -> Dirty *: content files with a write intent */
	GQueue dirty_by_age;          /* the same, in the order in which they were looked at or made */
	GHashTable *busy;             /* ino -> Busy *: contents that change their place, or are written right now */
	Waitq ack_wait;               /* for the journal to reach what was committed */
	gboolean syncing_orphans;
	GHashTable *promised;         /* ino set: flares with inline bytes that were synced in this life */
	MagmaTs promised_to;          /* all of those that were born until then may have been */
	guint64 orphans_synced;       /* up to this index, when that is done */
	guint reaping, cleaning, recovering;      /* jobs of gc.c that run */
	gboolean settling;
	GHashTable *ctxs;             /* core_ctx_new's -> how to clear it */
	MagmaTime ticked;             /* last; a gap is a time in which this process did not run */
	GHashTable *all_ops;          /* set of Op *: slice_free ends them */
	guint64 tombstones;
	Move *move;                   /* a part of it on its way out; NULL: none */
	guint64 move_before;          /* the move of the map when it came here: an owner before may have sent all of it, and asked for its commit */
	guint64 move_in_id, move_in_sequence, move_in_wiping, move_generations;
	gboolean move_in_busy;        /* the piece of that sequence is still being worked on */
	struct Scrub *scrub;
	gpointer scrubbing;           /* content files are being looked through (scrub_content.c); NULL: not */
	gboolean unclean;             /* the store was not closed by volcano_stop(): content files may be there that should not */
	guint purging;                /* purges of what lives elsewhere now: nothing may arrive there meanwhile */
};

/* The process: who it is, the map, its sessions and calls, its slices. */
struct Volcano {
	VolcanoConfig cfg;
	char *name, *fqdn, *software;
	MagmaAddr join_addr;
	const VolcanoIo *io;
	void *iou;
	const MagmaTrace *trace;
	guint16 id;
	guint64 boot;
	MagmaTime started;
	gint64 started_real;          /* seconds since 1970 */
	MagmaMap *map;
	gboolean failed;              /* its disk takes no changes: it answers nobody, and is about to end */
	gboolean serving, stopping;   /* serving: it has a map and takes part */
	gboolean well;                /* it did until it was told to stop */
	gboolean begins_network;      /* its first slice gets the root */
	const char *state;
	char note[200];
	void (*ready)(void *user, const char *refusal);
	void *ready_user;

	Store *store;                 /* borrowed */
	GPtrArray *slices;            /* Slice * */
	GHashTable *holdings;         /* slice id -> Holding * (holding.h) */
	struct MirrorPace *pace;      /* of catching up, shared by all owners here */
	gboolean may_own;             /* it has had a lease since it started: its map says whose the slices are */
	gboolean apply_map;           /* holdings are not yet what the map says */
	GHashTable *unopened;         /* slice -> Unopened *: its store could not be opened (holding.c) */
	guint open_timer;             /* one of them is tried again */
	MagmaTime open_at;            /* then */
	gboolean apply_later;         /* nor can they be yet: the next tick tries again */
	guint32 starts;               /* of this volcano, counted on disk */
	guint64 next_xid, next_op, ops_made;
	guint depth;                  /* of entries into the core: at 0 the run queue is drained */
	GQueue runq;                  /* Op * to run, of all slices */
	GHashTable *peers;            /* set of Peer * that live */
	guint64 peers_made;
	GHashTable *calls, *forwards, *node_peers;
	GHashTable *passed_on[2];     /* errors of other volcanos: of late, and before */
	GHashTable *answered[2];      /* client -> the watermark that a slice had heard which is gone since: of late, and before */
	MagmaTime passed_on_since;
	GHashTable *ctxs;             /* core_ctx_new's -> how to clear it */
	GHashTable *all_ops;          /* set of Op * without a slice */
	guint tick;
	guint calls_due;              /* timer: something is to be asked (again) sooner than the tick comes */
	gboolean quick, map_changing;
	VolcanoStats stats;
	gboolean aside;               /* the stores do not stand, and are not touched until they are moved away (VolcanoIo.set_aside) */
	GPtrArray *asides;            /* Aside *: such stores of before (aside.h) */
	gpointer holders;             /* of /.dht/conflicts (dht_aside.c), or NULL */
	gboolean leaving, resigned;   /* a planned end: the map is not planned with it any more; it answers nobody any more */
	gpointer leave;
	gboolean planning;
	GHashTable *profiles;         /* of /.dht (dht_profile.c), or NULL */
	char *unsafe_seen, *unsafe_said;      /* lines of magma_unsafe(): the newest, and those in the log */
	MagmaTime unsafe_since;
	gpointer members;
	struct Consensus *consensus;
	MagmaTime lease_until;        /* replies leave before (DESIGN section 5, rule 9) */
};

/* volcano.c */
/* What a call or the store gives back one day: zeroed, freed with the volcano where that day does not come. clear (may be NULL) releases what it holds. */
gpointer core_ctx_new(GHashTable *ctxs, gsize size, GDestroyNotify clear);
void core_ctx_drop(GHashTable *ctxs, gpointer ctx);
void core_ctx_clear(GHashTable *ctxs);                /* all of them, and the table */
/* owner: a Slice or a Volcano, whichever has to live for it. */
#define CORE_CTX(owner, Type, clear) ((Type *)core_ctx_new((owner)->ctxs, sizeof(Type), (clear)))
#define core_ctx_free(owner, ctx) core_ctx_drop((owner)->ctxs, (ctx))
static inline void core_enter(Volcano *v) { v->depth++; }
void core_leave(Volcano *v);
void core_tick_soon(Volcano *v);                      /* something with a deadline began */
guint core_pair_hash(gconstpointer p);                /* hash keys of two u64 */
gboolean core_pair_equal(gconstpointer a, gconstpointer b);
MagmaTime core_now(Volcano *v);
void core_say(Volcano *v, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void core_set_map(Volcano *v, MagmaMap *map);         /* takes the reference; wakes what waits for a map */
void core_fail(Volcano *v, const char *text);        /* the store can go on no more; text says why */
void core_ready(Volcano *v, const char *refusal);
Slice *core_slice(Volcano *v, guint16 id);            /* of those that live here, or NULL */
Slice *core_slice_for(Volcano *v, const MagmaKey *k); /* the one that the map says owns k, if it is this volcano's and lives here */

/* health.c */
void health_tick(Volcano *v);                         /* unsafe states that begin or end go into the log */
void health_clear(Volcano *v);

/* slice.c */
/* Over a store that it does not own. id 0: not known yet (the store or a join will tell). It is in v->slices until it is freed. */
Slice *slice_new(Volcano *v, guint16 id, Store *store);
/* Makes its first rows (fresh), or reads what is kept in memory of them and repairs what a crash left; then it serves. */
void slice_begin(Slice *sl, gboolean fresh);
/* Another volcano answers for it now: whoever waits here is told to ask again, and it is freed. Not from inside an operation of it. */
void slice_dismiss(Slice *sl);
void slice_tick(Slice *sl);
void slice_free(Slice *sl);
/* Brings what is kept in memory (marks, commits, replies ...) up to the rows: of one range, or everything with only NULL. */
void slice_load(Slice *sl, const MagmaRange *only, void (*done)(Slice *sl, void *user, int error), void *user);
const MagmaRange *slice_range(const Slice *sl);       /* by the map; NULL: it has none (yet) */
guint64 core_commit(Slice *sl, Txn *t);              /* store_commit, followed by a move in progress; remembers the index */
typedef enum { HERE, ELSEWHERE, FROZEN } Place;
Place core_place(Slice *sl, const MagmaKey *k);       /* seen from a slice: HERE is this one; ELSEWHERE may be another of this volcano's */

/* op.c */
/* sl NULL: of the volcano as a whole. */
Op *op_new(Volcano *v, Slice *sl, const MagmaHdr *h, const MagmaAny *req, GBytes *msg, Peer *peer);
void op_run(Op *op);                                  /* puts it into the run queue */
void op_park(Op *op, Waitq *q);
void waitq_wake(Slice *sl, Waitq *q);
void op_reply(Op *op, const void *fields, GBytes *body);  /* ends the operation; takes nothing */
void op_error(Op *op, int error);
/* For callbacks from outside the core: the error, or that reply for 0. */
void op_answer(Op *op, int error, const void *rep, GBytes *body);
void op_finish(Op *op, int error);                    /* op_error, or an empty reply for 0; nothing for WAIT */
void op_fail(Op *op, int error);                      /* the end of an evaluation that answers by itself where it succeeds: op_error, or nothing for 0 and WAIT */
/* A completion of the store for an operation: notes the error in *slot and runs the step. */
void op_completed(Op *op, int *slot, int error, void (*step)(Op *op));
void op_drop(Op *op);                                  /* ends an operation nobody waits for */
void op_acked(Slice *sl, guint64 index);
void op_leased(Volcano *v);                          /* it may have a lease: of all slices, what waited for it */
GBytes *op_encode_reply(Op *op, const void *fields, int error, gboolean split);
void op_message(Volcano *v, Peer *peer, GBytes *msg);
void op_clear(GHashTable *ops, Volcano *v);           /* ends all operations in the set */
void op_clear_slice(Slice *sl);
/* A REOPEN on its way to another volcano, gathered by an older map: what is here is asserted here. */
void op_reopen_passes(Volcano *v, const MagmaHdr *h, const struct magma_req_reopen *q);
gboolean op_local(Volcano *v, Call *call, GBytes *msg);       /* a call of this volcano to itself; FALSE: not now */
Peer *peer_ref(Peer *p);
void peer_unref(Peer *p);
GPtrArray *peers_in_order(Volcano *v);                /* Peer *, borrowed; the array is the caller's */

/* client.c */
Client *client_get(Slice *sl, guint64 id);
void client_heard(Slice *sl, Client *c, const MagmaHdr *h);
void client_store_reply(Slice *sl, Client *c, guint64 xid, const MagmaKey *rk, GBytes *reply, Txn *t);
void client_reply_committed(Client *c, guint64 xid, guint64 index);
void client_prune_now(Slice *sl, guint64 client);
/* It was told that error, or will be: so are repeats, whatever has changed since, because any of the answers may be the one that arrives. */
void client_refused(Client *c, guint64 xid, int error);
int client_refusal(Client *c, guint64 xid);           /* 0: none is known */
/* That answer has not left and never will: by the time it was decided another volcano may have had the slice, and whoever has it next decides anew. */
void client_never_told(Slice *sl, guint64 client, guint64 xid);
/* Before a slice goes: what was told to fail may not be there yet, or come again as an old copy, and the next owner, which may be this volcano again, would do it. */
void clients_hand_down(Slice *sl);
/* By the request xid (0: by none of the client's own). An older one than the last word about that flare is an old copy on the wire, and says nothing. */
void client_open(Slice *sl, guint64 client, guint64 xid, const MagmaFid *fid);
gboolean client_is_gone(Slice *sl, guint64 client);      /* it has expired there */
void client_close(Slice *sl, guint64 client, guint64 xid, guint64 ino);
gboolean client_is_open(Slice *sl, guint64 ino);
void client_close_all(Slice *sl, guint64 ino);        /* whoever has it open */
/* By the CREATE that makes it, on its coordinator's word alone, until the client says so itself: what is closed where the CREATE is undone. */
void client_open_born(Slice *sl, guint64 client, const MagmaFid *fid);
void client_close_born(Slice *sl, guint64 ino);
void client_gone(Slice *sl, Client *c, gint64 expired);      /* 0: it left, without a tombstone */
void client_load_row(Slice *sl, const StoreRow *row);
/* What is known of it at the volcano a slice comes from: when it expired there (0: it did not), for what it asked there may be asked here again, and its watermark. Kept where newer than what is here. */
void client_inherit(Slice *sl, guint64 client, gint64 expired, guint64 floor);
void client_tick(Slice *sl);
/* The grace after a start is over: whoever has something open has said so. Time in which this process did not run is none of it, also where no tick has seen it yet. */
gboolean client_opens_are_known(const Slice *sl);
void client_free(gpointer c);
void client_load_reply(Slice *sl, const StoreRow *row);
void client_forget_range(Slice *sl, const MagmaRange *r);

/* call.c: requests of this volcano to others */
typedef void (*CallDone)(void *user, int error, const MagmaAny *rep, GBytes *msg);
/* To the owner of key, wherever it is by then; repeated until answered. limit 0: no end. done is never called from inside. A call of a slice (sl) ends with it, without done. */
Call *call_key(Slice *sl, const MagmaKey *key, MagmaOp op, const void *req, GBytes *body, MagmaTime limit, CallDone done, void *user);
/* The same, of the volcano as a whole. */
Call *call_owner(Volcano *v, const MagmaKey *key, MagmaOp op, const void *req, MagmaTime limit, CallDone done, void *user);
Call *call_volcano(Volcano *v, Slice *sl, guint16 id, MagmaOp op, const void *req, GBytes *body, MagmaTime limit, CallDone done, void *user);
/* To whoever leads the group that votes on the map, by then. */
Call *call_leader(Volcano *v, Slice *sl, MagmaOp op, const void *req, MagmaTime limit, CallDone done, void *user);
/* A message without an answer: it arrives or not. Takes no reference. */
void call_push(Volcano *v, guint16 id, GBytes *msg);
Call *call_addr(Volcano *v, const MagmaAddr *node, MagmaOp op, const void *req, MagmaTime limit, CallDone done, void *user);
void call_cancel(Call *c);
void call_reply(Volcano *v, Peer *peer, const MagmaHdr *h, const MagmaAny *rep, GBytes *msg);
void call_local_lost(Call *c);                        /* who was to answer it is gone: it goes out again */
void call_answer_local(Volcano *v, Call *c, GBytes *msg);
void call_peer_opened(Volcano *v, Peer *p);
guint16 call_peer_volcano(Volcano *v, const Peer *p);      /* whose session to it that is; 0: unknown */
void call_peer_closed(Volcano *v, Peer *p, const char *why);
void call_map_changed(Volcano *v);
void call_tick(Volcano *v);
/* A client's request that another volcano owns: passed on, the answer relayed. */
void call_forward(Volcano *v, Peer *from, const MagmaHdr *h, GBytes *msg, const MagmaKey *route);
void call_forward_to(Volcano *v, Peer *from, const MagmaHdr *h, GBytes *msg, const MagmaVolcano *to);
/* The last try is answered here: what another volcano still says of an earlier one goes no further. */
void call_forward_forget(Volcano *v, const MagmaHdr *h);
/* For 20 s and more: an error that was the answer to a client's try, by a slice that is gone since. */
void call_note_refusal(Volcano *v, guint64 client, guint64 xid, int error);
/* Likewise: the client has the answers to all below that. */
void call_note_watermark(Volcano *v, guint64 client, guint64 watermark);
gboolean call_was_answered(Volcano *v, const MagmaHdr *h);
/* The error that was passed on as the answer to an earlier try of it, or noted, which may still arrive: so every later one has to be told that. 0: none. */
int call_passed_on(Volcano *v, const MagmaHdr *h);
gboolean call_relay(Volcano *v, Peer *from, const MagmaHdr *h, GBytes *msg);
void call_init(Volcano *v);
void call_clear_slice(Slice *sl);
void call_clear(Volcano *v);

/* state.c: typed rows */
int state_flare(Op *op, const MagmaFid *fid, FlareRow *row);          /* 0, ESTALE, EIO, WAIT */
int state_dir(Op *op, const MagmaFid *fid, FlareRow *row);            /* + ENOTDIR; ENOENT for a sealed one */
int state_entry(Op *op, guint64 dir, MagmaBytes name, EntryRow *e);   /* 0, ENOENT, EIO, WAIT */
int state_perm(Op *op, const FlareRow *row, guint32 want);
int state_new_ino(Op *op, guint64 *ino);                              /* 0, WAIT, the errno of a sync */
Draft *draft_new(Op *op);
void draft_free(Draft *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Draft, draft_free)
Txn *draft_txn(Draft *d);
Slice *draft_slice(Draft *d);
/* The row as this draft leaves it; to be changed in place. 0, ESTALE, EIO, WAIT. */
int draft_flare(Draft *d, const MagmaFid *fid, FlareRow **row);
FlareRow *draft_new_flare(Draft *d, const MagmaFid *fid);
void draft_add_entry(Draft *d, FlareRow *dir, MagmaBytes name, const MagmaFid *child, guint32 type, MagmaTs now);
void draft_del_entry(Draft *d, FlareRow *dir, MagmaBytes name, const EntryRow *e, MagmaTs now);
void draft_replace_entry(Draft *d, FlareRow *dir, MagmaBytes name, const EntryRow *old, const MagmaFid *child, guint32 type, MagmaTs now);
/* Without links: gone at once, or an orphan while somebody has it open or there is more than the row. */
void draft_destroy(Draft *d, FlareRow *row);
/* Write intent: TAB_DIRTY. The inline copy that was kept until the content file was on disk goes with draft_drop_inline. */
void draft_dirty(Draft *d, const MagmaFid *fid, gboolean on);
void draft_drop_inline(Draft *d, const MagmaFid *fid);
/* Commits; frees the draft. */
guint64 draft_commit(Draft *d);
/* Commits together with the operation's reply and ends the operation. Takes d. */
void draft_reply(Draft *d, const void *fields);
/* The same, but the operation goes on: it answers later with the same fields. */
void draft_store_reply(Draft *d, const void *fields);

/* lock.c */
int name_check(Op *op, guint64 dir, MagmaBytes name);     /* 0, or WAIT: parked until the name is free */
NameLock *name_holder(Slice *sl, guint64 dir, MagmaBytes name);
Mark *mark_on_name(Slice *sl, guint64 dir, MagmaBytes name);
void name_lock(Op *op, guint64 dir, MagmaBytes name);     /* op->coord->locks; the name must be free or the operation's own */
void name_unlock_all(Op *op);
NameKey name_key(guint64 dir, MagmaBytes name);
guint name_key_hash(gconstpointer k);
gboolean name_key_equal(gconstpointer a, gconstpointer b);

/* mark.c, part.c, settle.c: participants */
typedef enum { PHASE_PREPARE, PHASE_COMMIT, PHASE_FINAL, PHASE_ABORT } Phase;
/* Is it possible? Fills the outcome. 0, an errno, MAGMA_EBACKOFF, WAIT. age orders waiting. */
int part_check(Op *op, Part *p, guint64 age);
/* The effect of a phase on the rows, without the mark's own row. */
int part_apply(Draft *d, Part *p, Phase phase);
/* All three at once, for a participant on the coordinator's own volcano. */
int part_apply_all(Draft *d, Part *p);
gboolean mark_blocks_flare(Op *op, guint64 ino);          /* parked if a prepared mark may change what is read */
Mark *mark_undecided_any(Slice *sl, guint64 ino);        /* such a mark, or NULL */
/* The key of the first mark that a SETTLE is about. */
gboolean mark_settle_route(const struct magma_req_settle *q, MagmaKey *route);
Mark *mark_find(Slice *sl, guint64 hi, guint64 lo, guint64 ino, MarkKind kind);
void mark_load(Slice *sl, const StoreRow *row);
void mark_tick(Slice *sl);
void mark_map_changed(Slice *sl, const MagmaMap *old);      /* marks whose coordinator's slice has another owner ask it with the next tick: the old one may be dead */
void mark_free(gpointer m);
guint mark_hash(gconstpointer p);
gboolean mark_equal(gconstpointer a, gconstpointer b);
guint settled_hash(gconstpointer p);
gboolean settled_equal(gconstpointer a, gconstpointer b);
void mark_forget_range(Slice *sl, const MagmaRange *r);
void commit_forget_range(Slice *sl, const MagmaRange *r);
Mark *mark_undecided(Slice *sl, guint64 ino, MarkKind kind);   /* prepared, and its coordinator has not said */
guint mark_count(Slice *sl, guint64 ino, MarkKind kind);
guint mark_count_all(Slice *sl, guint64 ino);

/* coord.c: the coordinator's side */
void coord_start(Op *op);                                 /* a new attempt; keeps the age */
Part *coord_part(Op *op, MarkKind kind, const MagmaFid *target);
/* Asks the participants from index `from` on that live elsewhere; then(op) runs when all have answered (coord_error() says how). */
void coord_prepare(Op *op, guint from, void (*then)(Op *op));
int coord_error(Op *op);
void coord_abort(Op *op, int error);                      /* undoes and answers error (0: an empty reply); MAGMA_EBACKOFF tries again after a moment */
/* Adds the commit row to d if anybody else takes part, commits with the reply, tells the participants. Takes d; ends the operation. */
void coord_commit(Op *op, Draft *d, const void *fields);
void coord_free(Op *op);
void coord_tick(Slice *sl);
void commit_load(Slice *sl, const StoreRow *row);
void commit_free(gpointer c);
void coord_settle_now(Slice *sl);
void coord_acked(Slice *sl, guint64 index);
void coord_clear(Slice *sl);

/* op_setattr.c: a truncation that a crash interrupted. The request of a TAB_DIRTY row becomes the operation's; FALSE: it cannot be read. */
gboolean setattr_take_note(Op *op, const MagmaFid *fid, const guint8 *note, gsize n);
/* Sets what that request wanted set, and stores its reply. The content file has its size. Takes d. */
void setattr_recover(Op *op, Draft *d, FlareRow *row);

/* gc.c: orphans, write intents */
/* index: of the record that made it one; 0: an earlier start's. */
void gc_orphan(Slice *sl, const MagmaFid *fid, guint64 index);
void gc_tick(Slice *sl);
/* A write intent that begins now, in place of what was known of one. The table's. */
Dirty *gc_dirty(Slice *sl, const MagmaFid *fid);
void gc_dirty_free(gpointer d);
/* After the start: sizes and times of flares with a write intent are taken from their content files; then done. */
void gc_recover(Slice *sl, void (*done)(Slice *sl));
void gc_forget_range(Slice *sl, const MagmaRange *r);

/* scrub.c: flares whose names and links may not add up after a power cut (docs/architecture.md) */
/* Remembered, durably with t (NULL: in memory only), until its names have been counted and all is right. */
void scrub_suspect(Slice *sl, const MagmaFid *fid, Txn *t);
gboolean scrub_is_suspect(Slice *sl, guint64 ino);
void scrub_touch(Slice *sl, guint64 ino);             /* an operation changes that flare's names: what is being counted is worth nothing */
gboolean scrub_steady(Slice *sl, guint64 epoch);      /* that map, and no slice on its way */
void scrub_load(Slice *sl, const StoreRow *row);      /* a row of TAB_META named SCRUB_PREFIX... */
void scrub_tick(Slice *sl);
void scrub_init(Slice *sl);
void scrub_clear(Slice *sl);
void scrub_stats(Slice *sl, VolcanoStats *out);
#define SCRUB_PREFIX "suspect-"
/* scrub_content.c: content files of no flare */
void scrub_contents_begin(Slice *sl);                 /* after a stop that was none */
void scrub_contents_tick(Slice *sl);
gboolean scrub_contents_left(Slice *sl);

/* op_attr.c */
int op_xattr_may_read(Op *op, const FlareRow *row, MagmaBytes name);
void op_xattrs_listed(void *user, int error, const StoreRow *rows, guint n, gboolean eof);      /* answers LISTXATTR */

/* op_content.c */
void content_busy_free(gpointer p);
/* Content operations under way are counted, and each begin has its end, with the same `end`: what the file may get as its size by it; 0: it grows by nothing. */
Busy *content_begin(Slice *sl, guint64 ino, guint64 end);
void content_end(Slice *sl, guint64 ino, guint64 end);
void content_promised(Slice *sl, guint64 ino);       /* its inline bytes are to be there after a power cut */
void content_promised_all(Slice *sl);                /* those of all that is there now may have to be */
void content_cut_end(Slice *sl, guint64 ino);        /* of one that was counted in `cutting`, too */
/* Rows are committed in the order in which the store has done the operations, also where one has to wait for its row: else a restart could find an append's row without that of the one before it, whose bytes would stay, and be appended
 * once more by its client. The first is called when the store is done, the second before the end; FALSE: parked. */
void content_done(Op *op, guint64 ino);
gboolean content_turn(Op *op, guint64 ino);
gboolean content_wait(Op *op, guint64 ino);                     /* parked while the content moves from inline to a file */
int content_get_inline(Op *op, const FlareRow *row, const guint8 **val, gsize *n);
void content_put_inline(Draft *d, FlareRow *row, const guint8 *p, gsize n);
/* The inline copy that a converted flare keeps until its file is on disk: it is cut with the file. 0, WAIT. */
int content_cut_inline(Op *op, Draft *d, const MagmaFid *fid, guint64 size);
int content_convert(Op *op, const FlareRow *row);               /* to a file; always WAIT or an error: the operation is run again */
int content_intent(Op *op, const FlareRow *row);                /* the write intent is where it must be before a byte is written: 0, WAIT, an errno */
void content_kill_priv(Draft *d, FlareRow *row);
guint64 content_blocks(guint64 bytes);
gboolean core_no_room(Slice *sl);

/* members.c */
void members_learn(Volcano *v, const guint8 *p, gsize n);                 /* an encoded map: used if newer */
void members_fetch_map(Volcano *v);
/* The leader's only way to a new map: committed by the group, then told to all, then done (0, or an errno: it may have come about or not). Takes map. */
void members_change_map(Volcano *v, MagmaMap *map, void (*done)(Volcano *v, void *user, int error), void *user);
guint members_least_copies(const MagmaMap *map);     /* of every slice there are so many that count */
void members_look(Volcano *v);                        /* at what a step of the group changed: a lease, a map */
void members_start(Volcano *v);
void members_tick(Volcano *v);
void members_slice_serves(Slice *sl);                 /* it has begun to */
void members_change_map_down(Volcano *v, MagmaMap *map, const guint16 *down, guint ndown, gboolean gone, void (*done)(Volcano *v, void *user, int error), void *user);
void planner_tick(Volcano *v);
MagmaTime planner_due(Volcano *v);                    /* when the first of the others may be declared down, unless it is heard; G_MAXINT64: nobody waits for this one to say so */
void planner_leaves(Volcano *v, guint16 id, void (*done)(Volcano *v, void *user, int error), void *user);   /* it says so itself: as down, its slices to their copies */
void leave_clear(Volcano *v);
void members_clear(Volcano *v);
/* move_out.c, move_in.c */
void move_follow(Slice *sl, Txn *t);
gboolean move_frozen(Slice *sl, const MagmaKey *k);
gboolean move_sealed(Slice *sl);                     /* frozen, and what is in memory is on its way: nothing may change any more */
void move_content_changed(Slice *sl, const MagmaFid *fid);
void move_tick(Slice *sl);
void move_ignore(void *user, int error);
gboolean move_is(Slice *sl, const MagmaMove *m);      /* is m the move that is running here? */
void move_clear(Slice *sl);
void purge_elsewhere(Slice *sl);                     /* at the start: what a crash left of slices that are others' now */
void move_map_changed(Slice *sl);                    /* the map may tell this volcano to hand a slice over, or that it is done */
void move_plan(Volcano *v);                           /* coordinator: a volcano without a slice gets one */

/* Handlers, one per operation of the table that is not answered elsewhere. */
#define CORE_X_(name, number, flags) void handle_##name(Op *op);
MAGMA_OPS(CORE_X_)
#undef CORE_X_

void core_put_cred(GByteArray *out, const MagmaCred *c);
gboolean core_get_cred(MagmaBytes b, MagmaCred *c);
static inline gboolean is_dir(guint32 mode) { return S_ISDIR(mode); }
