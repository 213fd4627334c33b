/* Several copies of one slice. The owner's side is a Store in front of its own Store: the core (magmad/core) commits, reads, writes contents and syncs as if there were one copy, and acked(),
 * done of a sync mean: every copy that counts has it. done of a content operation means that it is done here; the frames committed after it wait for it at the copies, and what a read shows is held back
 * until they have it, so whatever anybody is told of it means all of them. The other side takes the owner's stream into its own Store. Both are state machines over Store and
 * MirrorIo, on the loop thread, without I/O of their own. DESIGN section 5, rules 1, 2, 3, 6, 7.
 *
 * The stream. Per copy one ordered sequence of items: FRAME (epoch, index, transaction), CONTENT (a content operation), ROWS and BLOCK (filling, below), COMMIT (how far every copy that counts has
 * the log: what may leave the copy's memory). Items travel in messages of up to 1 MiB, numbered from 0 within an attempt; several are under way (bounded in bytes), the receiver puts them in order.
 * An answer to a message says: all its items, and everything before, are done and written here.
 *
 * Order (rule 2). A content operation goes to all copies when it begins here. Per flare they are begun in the same order everywhere; Store runs the overlapping ones in the order of the calls.
 * One that fails here may be done at copies: the flare is compared again, and until then a new owner may show it; reads and fsyncs of it wait, so nobody was told otherwise.
 * A FRAME says up to which CONTENT item of its stream it must wait: those that were done here when it was committed (a frame with the reply to a write must not be there without the bytes).
 *
 * A copy counts (is in sync) from the moment the map says so; the owner waits for it already when it asks the map for it, and until the map says no. Who does not count is caught up:
 *   1. attach: the copy tells its position and epochs; what it has behind the last point that both logs share is cut (that was acknowledged to nobody);
 *   2. contents of every flare with a content file that the frames it lacks touched or that has a write intent (rule 7): blocks of 1 MiB are compared by digest and copied where they differ, while
 *      content operations go on. Before the frames, because a log that is up to date says that the contents are;
 *   3. the frames, from the owner's journal. If it does not go back so far (instead of 2 and 3), and the copy has rows of this slice: its log begins anew behind the owner's (rebase: from then on it is not
 *      whole), its rows are compared by digests of pieces (catchup_compare.c), and rows that differ go as ROWS between the FRAMEs that are committed meanwhile (each piece is as of its place in the
 *      stream), contents of flares whose rows differ before that. A copy that has nothing, or whose log shares nothing with this one: reset, then all rows in key order, with the contents of their flares;
 *   4. when nothing is left: on_caught_up.
 * It is paced (bytes/s, less while clients are busy), goes on after an interruption where it was if the journal still has what follows, and never holds up clients. Nothing older goes over anything newer: rows come
 * only from the owner of the newest epoch, in stream order. */
#pragma once
#include "libmagma/proto/msg.h"
#include "magmad/core/store.h"

typedef gint64 MagmaTime;

typedef struct MirrorIo {
	MagmaTime (*now)(void *user);
	void (*random)(void *user, void *buf, gsize n);
	/* One request to a volcano and its answer; repeated by the caller below until answered or cancelled (so it may arrive twice), never answered from inside. body: borrowed, may be NULL; the answer's fields
	 * are valid inside done. error: an errno of the answer, or ETIMEDOUT after limit. Returns a handle for cancel. */
	gpointer (*call)(void *user, guint16 volcano, MagmaOp op, const void *req, GBytes *body, MagmaTime limit,
		void (*done)(void *done_user, int error, const MagmaAny *rep, GBytes *msg), void *done_user);
	void (*cancel)(void *user, gpointer call);
	guint (*timer)(void *user, MagmaTime delay, void (*fn)(void *arg), void *arg);
	void (*timer_cancel)(void *user, guint handle);
	void (*say)(void *user, const char *line);
} MirrorIo;

/* --- the owner --- */

typedef struct Owner Owner;

typedef struct {
	guint16 volcano;
	gboolean in_sync, down;       /* by the map */
} CopySpec;

typedef struct {
	guint16 volcano;
	enum { COPY_AWAY, COPY_ATTACHING, COPY_LOG, COPY_ROWS, COPY_CONTENTS, COPY_CAUGHT_UP, COPY_IN_SYNC, COPY_DIGESTS } state;
	guint64 lag;                  /* frames it has not acknowledged */
	guint64 done, total, rate;    /* bytes of catching up; total is an estimate; bytes/s of late */
	gboolean slow;                /* it took more than 0.7 s to acknowledge something, within the last 3 s */
} CopyStatus;

/* What all owners of a volcano share of the pace of catching up. Zeros to begin with; inside for magmad/mirror alone. */
typedef struct MirrorPace {
	gint64 budget;                /* bytes */
	MagmaTime budget_at, looked_at;
	guint64 commits, seen;
	gboolean busy;                /* clients are */
	MagmaTime rest;               /* until then nothing is begun while they are */
} MirrorPace;

typedef struct {
	guint32 slice;                /* its id: in every message */
	const MirrorIo *io;
	void *user;
	guint64 pace;                 /* bytes/s of catching up while no client changes anything, 11/16 of it while some do; 0: 64 MiB/s */
	MirrorPace *shared;           /* NULL: the pace is this owner's alone */
	guint64 keep_bytes;           /* journal kept for copies that are away; 0: 256 MiB */
	guint todo_max;               /* contents to be compared that are remembered one by one for each copy; more: all are compared. 0: 65536, some 11 MB */
	/* The copy has everything and the owner waits for it from now on: ask the map to count it. Answered by owner_set_copies with it, or by owner_not_in_sync. */
	void (*on_caught_up)(void *user, guint16 volcano);
	/* A copy that counts is silent or failing: nothing more is acknowledged until it answers or the map takes it out. */
	void (*on_stuck)(void *user, guint16 volcano, const char *why);
	/* compare: this process has not followed the log since it began, and a power cut may have taken its end: before anything is made behind it the copies that count say where theirs end (rule 3). Then
	 * on_compared, once, perhaps from inside owner_set_copies: what owner_store() is for may begin. Or on_behind, now and then until somebody else owns the slice, or the map does not count that copy any
	 * more: it has what is lacking here. */
	gboolean compare;
	void (*on_compared)(void *user);
	void (*on_behind)(void *user, guint16 volcano);
	/* A copy says that somebody owns the slice under a newer epoch: this owner must stop at once. */
	void (*on_deposed)(void *user, guint64 epoch);
} OwnerConfig;

/* epoch is above every one under which frames of this log were made, so also after each restart of the same owner: what it had sent and not yet written would else get other contents under the same
 * (epoch, index). local is borrowed; its callbacks are the owner's until owner_free; a Replica over it is freed before. The store in front of it is owner_store(): what the core gets. */
Owner *owner_new(Store *local, guint64 epoch, const OwnerConfig *cfg);
Store *owner_store(Owner *o);
/* The copies beside this one, as the newest map has them. Whoever is no longer in it is forgotten. Before the first call nothing is acknowledged. */
void owner_set_copies(Owner *o, const CopySpec *copies, guint n);
/* A part on its way to become a slice: whatever its copies have, none of them can take its owner's place. FALSE in the beginning. */
void owner_set_part(Owner *o, gboolean part);
/* The map has refused (or not yet granted) what on_caught_up asked for: do not wait for it any more. */
void owner_not_in_sync(Owner *o, guint16 volcano);
guint owner_status(Owner *o, CopyStatus *out, guint max);
/* That copy counts, and has not answered since on_stuck was called for it. */
gboolean owner_waits_for(Owner *o, guint16 volcano);
/* Contents that its disk does not read in some place, and nobody has written over since; places that were written over with a copy's bytes. */
void owner_damage(Owner *o, guint *unread, guint64 *rewritten);
/* Stops: nothing is acknowledged any more, no callback runs. The local store stays as it is. */
void owner_free(Owner *o);
/* At the end of each turn of the loop, before the journal is written: sends what the turn has begun, in one message to each copy where it fits. Nothing is sent otherwise. */
void owner_flush(Owner *o);

/* --- a copy --- */

typedef struct Replica Replica;

typedef struct {
	guint32 slice;
	const MirrorIo *io;
	void *user;
} ReplicaConfig;

/* epoch: the newest ownership epoch this volcano knows for the slice; messages of an older one are answered ESTALE with the newer one. */
Replica *replica_new(Store *local, guint64 epoch, const ReplicaConfig *cfg);
void replica_set_epoch(Replica *r, guint64 epoch);
/* The newest that it knows, by that or from an owner. */
guint64 replica_epoch(const Replica *r);
/* One mirror_* request of the owner; answer is called exactly once, perhaps later, with an errno or 0 and the answer's fields. req and msg are valid inside; msg is referenced where it is needed longer. */
void replica_request(Replica *r, MagmaOp op, const MagmaAny *req, GBytes *msg, void (*answer)(void *user, int error, const void *rep, GBytes *body), void *answer_user);
/* Whole: it may become the owner (it is not in the middle of being filled, and every content of its rows is there). Kept across restarts. */
gboolean replica_whole(const Replica *r);
gboolean replica_known(const Replica *r);     /* whether it is whole; a moment after it was made */
/* An owner has brought its log into line with its own, in this life of the process. */
gboolean replica_followed(const Replica *r);
/* Its store is being changed (cut, emptied) as an owner asked: nobody else may use it before that is over. */
gboolean replica_changing(const Replica *r);
void replica_free(Replica *r);
