/* The inside of an owner. owner.c: the Store in front, its life; contents.c: content operations and reads; feed.c: what is to be sent to copies, in order; sync.c: fsyncs; copy.c: one copy's state;
 * stream.c: its messages; catchup*.c: how one that was away gets what it missed. Loop thread only. */
#pragma once
#include <errno.h>
#include <string.h>
#include "libmagma/proto/list.h"
#include "magmad/mirror/item.h"
#include "magmad/mirror/mirror.h"

#define SECOND ((MagmaTime)1000000)

typedef struct Copy Copy;
typedef struct Compare Compare;       /* catchup_compare.c */

/* How a stream begins (mirror_start): its log goes on, it is emptied, or its rows are to be compared. */
typedef enum { HOW_LOG, HOW_EMPTY, HOW_COMPARE } How;

/* One transaction or content operation that copies are to get; in the order in which they were begun here. */
typedef struct {
	guint64 seq;
	gboolean frame;
	StorePos pos;
	GBytes *bytes;                /* transaction; of a write its data, else NULL */
	guint needs_n;                /* as in Item */
	guint64 *needs;
	ContentWhat what;
	MagmaFid fid;
	guint64 off, len;
	guint32 mode;
	guint64 bytes_before;         /* of all items before it: for bounds */
	gboolean failed;              /* here: what it did, if anything, is compared; nobody is to do it again */
} FeedItem;

typedef struct {
	GPtrArray *items;             /* FeedItem: from head on, numbered from base */
	guint head;
	guint64 base;
	guint64 total;                /* bytes ever added */
	GHashTable *by_fid;           /* fid -> GQueue of its contents */
	GArray *done;                 /* guint64: contents that ended here since the last frame */
} Feed;

struct Owner {
	Store base;                   /* first: what the core gets */
	gint refs;
	gboolean dead, deposed, part;
	Store *local;
	guint64 epoch, start_index;   /* the log's end when it began to own */
	OwnerConfig cfg;
	GPtrArray *copies;            /* Copy */
	gboolean told;                /* owner_set_copies was called */
	guint64 limit;
	Feed feed;
	guint64 attempts;
	/* flares whose contents may differ since before this ownership, or since an operation failed here: what is read of them could vanish, what is synced might not be equal */
	GHashTable *suspects;
	gboolean suspects_known;
	guint8 dirty_from[STORE_KEY_MAX];
	gsize dirty_fromlen;
	GPtrArray *held;              /* HeldRead */
	GQueue early;                 /* EarlyOp */
	GPtrArray *held_syncs;        /* Sync: of suspects */
	GPtrArray *syncs;             /* Sync: under way */
	GPtrArray *rescues;           /* Rescue */
	GQueue unread_rows;           /* RowsPass: they did not read, and wait for a copy that could own the slice */
	GHashTable *unread;           /* MagmaFid -> a place that did not read here */
	guint64 rewritten;            /* such places */
	guint tick;
	MirrorPace own_pace, *pace;
	gboolean updating, again;
	gboolean comparing;           /* nothing is made behind start_pos yet */
	StorePos start_pos;
};

/* What was sent in one message and is not yet acknowledged. */
typedef struct {
	Copy *c;
	guint64 sequence, feed_end, index_end;
	gsize bytes;
	MagmaTime at;
	gpointer call;
	gboolean acked;               /* by the answer to a later one: only its digests still matter */
	GArray *digests;              /* guint64 numbers, or NULL */
} Sent;

typedef struct {
	StorePos pos;
	GBytes *txn;
} JournalFrame;

typedef enum { PHASE_NONE, PHASE_DIRTY, PHASE_TOUCHED, PHASE_SURVEY, PHASE_CONTENTS, PHASE_LOG, PHASE_ROWS, PHASE_LIVE } Phase;

/* A piece that is read here to be put into the stream at the place where its reading began: nothing else is sent meanwhile. */
typedef struct Slot {
	Copy *c;                      /* valid while the attempt is the copy's */
	Owner *o;
	guint64 attempt;
	gboolean ready;
	GArray *items;                /* SlotItem */
	gpointer job;                 /* a Job of catchup_contents.c */
	gboolean rescued;             /* a copy was asked, for it does not read here */
	guint what;
	guint64 off, len;
} Slot;

typedef struct {
	Item item;
	GBytes *payload;
} SlotItem;

struct Copy {
	Owner *o;
	guint16 volcano;
	gboolean in_map;              /* in sync by the map */
	gboolean counted;             /* what is acknowledged waits for it */
	MagmaTime unread_since;       /* its owner could not read something for it, and it has not caught up since; 0: no */
	gboolean asked;               /* on_caught_up was called */
	gboolean not_ahead;           /* it has said where its log ends, in this owner's life */
	gboolean flushed;             /* before it counts: it was asked to make durable what it has, up to flushed_seq of the feed */
	guint64 flushed_seq;
	guint64 counted_seq, counted_index;  /* the feed's end, and the log's, when it began to count: the older things are there before the map may know */
	MagmaTime heard, idle_since, stuck_said, ask_again, slow_until, lost_said_at;
	char *lost_said;
	char *stuck_why;
	guint64 stuck_seq;            /* of the feed: done up to there it is not; G_MAXUINT64: that is no matter of the feed */
	guint64 excused_seq;          /* acked_seq when it was excused for the first time, at excused_since: without progress not for long */
	MagmaTime excused_since;
	/* the stream */
	guint64 attempt, stream, life;
	gpointer call;                /* attach or start */
	guint retry;
	gboolean started;
	guint64 sequence;             /* of the next message */
	GQueue sent;                  /* Sent */
	gsize under_way;
	guint64 cursor, acked_seq;    /* in the feed */
	guint64 has_below;            /* contents of the feed before this, and those in `has`, are done there: its log has frames that needed them */
	GHashTable *has;              /* guint64: of FeedItems */
	guint64 next_index;           /* of the next frame for it */
	guint64 join_index;           /* frames up to here come from the journal */
	guint64 acked_index, commit_said;
	gboolean commit_due;          /* nothing else is sent: tell it what is committed */
	GBytes *big;                  /* the rest of a payload that takes several messages, and whose it is */
	Item big_item;
	/* frames from the journal */
	GQueue frames;                /* JournalFrame */
	gboolean reading, read_dry;
	/* catching up */
	Phase phase;
	gboolean contents_first;      /* then the log: its position says that it has the contents too */
	gboolean hold_frames;
	gboolean compared;            /* under this ownership, in this life of it */
	gboolean need_rows, whole, blank;
	How how;                      /* of this stream */
	Compare *compare;             /* its rows are being compared, since an earlier stream perhaps */
	gboolean filled_here;         /* its filling was begun by this owner: the rows it has are of this log */
	gboolean filled_by_compare;   /* the last time: what it has too much goes only by comparing */
	gboolean todo_unknown;
	GHashTable *todo;             /* MagmaFid -> how often it is in todo_next: contents to be compared */
	GQueue todo_next;             /* MagmaFid: of todo, not yet begun; once more where it is being compared */
	GHashTable *regions;          /* MagmaFid -> Region: of todo_next, those of which only a part may differ */
	/* too many for todo: all contents are compared, folder by folder; those below walk_folder were, or are in todo */
	gboolean walking, walk_reading;
	guint walk_folder, walk_upto, walk_at, walk_listing;
	guint64 walk_seq;
	gpointer walk_call;
	GQueue jobs;                  /* Job */
	guint64 digests;              /* numbered */
	GHashTable *asked_digests;    /* number -> Digest */
	GPtrArray *slots;             /* Slot */
	guint slots_waiting;
	guint64 scan_end;             /* frames up to here were committed when the write intents had been read */
	guint64 scan_at;
	guint walk_table;
	guint8 walk_from[STORE_KEY_MAX];
	gsize walk_fromlen;
	gboolean walk_over;           /* all rows are on their way */
	/* what came with everything before it: table and key */
	guint8 page_progress[STORE_KEY_MAX + 1];
	gsize page_progresslen;
	guint64 done, total, rate, rate_done;
	MagmaTime rate_at;
	/* fsyncs */
	GQueue syncs;                 /* Sync: not yet sent */
	GPtrArray *sync_calls;        /* SyncCall */
};

#define WINDOW_BYTES (4u << 20)       /* of messages under way to a copy; several, so that the wire and its disk work at the same time */
#define WINDOW_MESSAGES 256
#define FEED_MAX (16u << 20)          /* a copy that is not waited for and is behind by so much goes back to the journal */
#define NEAR 256                       /* frames, or items of the feed: so close behind a copy is waited for: by the feed while it reads the journal, then by clients */

/* owner.c */
static inline Owner *owner_of(Store *s) { return (Owner *)s; }
Owner *owner_ref(Owner *o);
void owner_unref(Owner *o);
Copy *owner_copy(Owner *o, guint16 volcano);
Copy *owner_attempt(Owner *o, guint64 attempt);   /* whose stream that is; NULL: over */
/* Something was acknowledged, or who counts has changed: who waits for it goes on. */
void owner_update(Owner *o);
void owner_failed(Owner *o, const char *text);
gboolean copy_could_own(const Copy *c);            /* if this one ended now */
gboolean owner_feeds(Owner *o);                    /* somebody is to get what is done now */
void owner_say(Owner *o, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* feed.c */
void feed_init(Feed *f);
void feed_clear(Feed *f);
guint64 feed_end(const Feed *f);
FeedItem *feed_at(const Feed *f, guint64 seq);
void feed_add_frame(Feed *f, StorePos pos, const GByteArray *txn);
guint64 feed_add_content(Feed *f, ContentWhat what, const MagmaFid *fid, guint64 off, guint64 len, guint32 mode, GBytes *data);
void feed_content_done(Feed *f, guint64 seq);
/* Items below seq are wanted no more. */
void feed_trim(Feed *f, guint64 seq);
/* The last content of the flare that touches that range; FALSE: none is in the feed. */
gboolean feed_touching(const Feed *f, const MagmaFid *fid, guint64 off, guint64 end, guint64 *seq);
guint64 feed_bytes_from(const Feed *f, guint64 seq);
/* The index of the last frame before that place. */
guint64 feed_index_before(const Feed *f, guint64 seq, guint64 last);

/* contents.c */
void contents_vt(StoreVt *vt);
/* As the Store's, to the local store alone; the answer comes to nobody once the owner is gone. */
void pass_sync(Owner *o, void (*done)(void *, int), void *user);
void pass_content_sync(Owner *o, const MagmaFid *fid, void (*done)(void *, int), void *user);
void pass_write(Owner *o, const MagmaFid *fid, guint64 off, GBytes *data, void (*done)(void *, int), void *user);
void pass_truncate(Owner *o, const MagmaFid *fid, guint64 size, void (*done)(void *, int), void *user);
void pass_drop(Owner *o, const MagmaFid *fid, void (*done)(void *, int), void *user);
void pass_fallocate(Owner *o, const MagmaFid *fid, guint32 mode, guint64 off, guint64 len, void (*done)(void *, int), void *user);
void pass_vt(StoreVt *vt);            /* pass.c */
/* Asks again for rows that did not read here, while a copy counts that could not own the slice then. */
void pass_tick(Owner *o);
void pass_end(Owner *o);
void contents_update(Owner *o);
void contents_end(Owner *o);
/* That part of a content may be not the same everywhere. */
void contents_suspect(Owner *o, const MagmaFid *fid, guint64 from, guint64 end);
gboolean contents_equal(Owner *o, const MagmaFid *fid);
/* A read that failed so: from a copy, as soon as it is the same everywhere. */
void contents_rescue(Owner *o, const MagmaFid *fid, guint64 off, guint64 len, int error, void (*done)(void *, int, GBytes *), void *user);

/* rescue.c */
typedef struct Rescue Rescue;
gboolean rescue_may(int error);       /* a copy may have what failed so here */
/* A read from the store here, and where it does not read from a copy. done is not called any more when the owner has gone. len up to MAGMA_DATA_MAX. */
void rescue_read(Owner *o, const MagmaFid *fid, guint64 off, guint64 len, void (*done)(void *, int, GBytes *), void *user);
/* It did not read here: the bytes of a copy that counts, as they are by then, or error. They are written here too where that may be. done is called exactly once, perhaps from inside, also of an owner that goes.
 * with: the copy with which it is to be compared, 0: none. */
void rescue_begin(Owner *o, const MagmaFid *fid, guint64 off, guint64 len, int error, guint16 with, void (*done)(void *, int, GBytes *), void *user);
void rescue_touched(Owner *o, const MagmaFid *fid);   /* something is begun on it */
void rescue_forget(Owner *o, const MagmaFid *fid);    /* it is dropped */
void rescue_update(Owner *o);
void rescue_flush(Owner *o);          /* at the end of a turn, when all that was begun in it has been sent */
void rescue_copy_lost(Copy *c);
void rescue_end(Owner *o);

/* sync.c */
typedef struct Sync Sync;
void sync_vt(StoreVt *vt);
void sync_update(Owner *o);
void sync_end(Owner *o);
void sync_copy_pump(Copy *c);
/* It counts from now on: fsyncs under way wait for it too. */
void sync_copy_joins(Copy *c);
void sync_copy_lost(Copy *c);         /* its stream is over: what it did not answer is asked again, or not if it does not count */
void sync_copy_clear(Copy *c);
void sync_copy_baseline(Copy *c);     /* all that it has is made durable: before it begins to count, and as it does */
gboolean sync_copy_idle(const Copy *c, guint64 seq);   /* nothing up to that place of the feed waits for it */

/* copy.c */
Copy *copy_new(Owner *o, guint16 volcano);
void copy_free(Copy *c);
void copy_attach(Copy *c);
/* Its stream is over; another one begins after a while. */
void copy_lost(Copy *c, int error, const char *why);
/* Because the owner's own disk does not read, which is no word against the copy: one that counts has all that was acknowledged, and the slice goes to it when this volcano ends, as where it cannot write. */
void copy_unread(Copy *c, int error, const char *why);
void copy_count(Copy *c);
/* It answered what was sent then, or has not answered since. */
void copy_took(Copy *c, MagmaTime since);
void copy_tick(Copy *c);
gboolean copy_answer_bad(Copy *c, int error, guint32 inner, guint64 epoch, const char *what);

/* stream.c */
void stream_pump(Copy *c);
void stream_clear(Copy *c);

/* catchup.c */
void catchup_begin(Copy *c);
void catchup_clear(Copy *c);
void catchup_pump(Copy *c);
void catchup_hold(Copy *c);           /* there may be something to be compared now */
gboolean catchup_may(Copy *c);        /* the pace allows more now */
void catchup_look(Owner *o);          /* now and then: are clients busy? */
void catchup_took(Copy *c, MagmaTime begun);      /* a piece that was begun then is done */
/* Of so many bytes that were only compared. */
void catchup_compared(Copy *c, gsize bytes);
void catchup_spent(Copy *c, gsize bytes);
void catchup_status(const Copy *c, CopyStatus *out);
void catchup_log_read(Copy *c);       /* catchup_log.c */
void catchup_touched(Copy *c);
void catchup_dirty(Copy *c);
void catchup_rows(Copy *c);           /* catchup_rows.c: the next piece */
void catchup_put_progress(Copy *c, Txn *t);
void catchup_note_progress(Copy *c, guint table, const guint8 *key, gsize len);
/* catchup_compare.c; c->compare is there but for compare_begin, _end and _stop */
void compare_begin(Copy *c, gboolean all_contents);
void compare_end(Copy *c);
void compare_stop(Copy *c);           /* its stream is over */
void compare_resume(Copy *c, StoreTable table, const guint8 *key, gsize len);
gboolean compare_survey(Copy *c);     /* TRUE: it is over */
gboolean compare_strays(Copy *c);     /* TRUE: there are none any more that are not known */
gboolean compare_rows(Copy *c);       /* TRUE: nothing differs any more */
guint64 compare_left(const Copy *c);
guint64 compare_done(const Copy *c);
void catchup_contents(Copy *c);       /* catchup_contents.c */
void catchup_todo(Copy *c, const MagmaFid *fid);
void catchup_todo_region(Copy *c, const MagmaFid *fid, guint64 from, guint64 end);    /* only that part of it */
gboolean catchup_todo_has(const Copy *c, const MagmaFid *fid);
void catchup_todo_listed(Copy *c, const MagmaFid *fid);      /* on a list of the walk's */
void catchup_todo_clear(Copy *c);
void catchup_walk(Copy *c);           /* catchup_walk.c: the next folders */
void catchup_walk_begin(Copy *c);
void catchup_walk_stop(Copy *c);      /* its stream is over */
guint catchup_folder(const MagmaFid *fid);
gboolean catchup_contents_done(const Copy *c);
void catchup_digest_answer(Copy *c, guint64 number, gboolean different);
void catchup_contents_clear(Copy *c);
Slot *slot_new(Copy *c, guint what);
Copy *slot_redeem(Slot *s);           /* the copy, if the slot is still wanted; else the slot is freed */
void slot_add(Slot *s, const Item *item, GBytes *payload);
void slot_ready(Slot *s);
