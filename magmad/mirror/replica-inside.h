/* The inside of a copy: replica.c (requests, streams that begin and end, syncs), replica_stream.c (messages in order, their items), replica_rows.c (which rows and contents it has), replica_read.c (what the owner cannot read). Loop thread only. */
#pragma once
#include <errno.h>
#include <string.h>
#include "libmagma/proto/list.h"
#include "magmad/mirror/item.h"
#include "magmad/mirror/mirror.h"

typedef void (*AnswerFn)(void *user, int error, const void *rep, GBytes *body);

typedef struct {
	MagmaOp op;
	AnswerFn fn;
	void *user;
} Answer;

/* One message of the stream, until it is answered. */
typedef struct {
	guint64 sequence;
	GBytes *msg;                  /* what items and bytes point into */
	MagmaBytes items, bytes;
	GArray *answers;              /* Answer: a request may come again */
	gboolean parsed;
	guint contents, entries;      /* of its items: not done; not yet appended */
	guint64 frame_end, fill_end;  /* what has to be written */
	GByteArray *different;
	gint refs;
} Message;

/* What was said of the digests of a message that was answered. */
typedef struct {
	guint64 sequence;
	GByteArray *different;
} Told;

/* What waits its turn in front of the log. */
typedef struct {
	Message *m;
	Item item;
	GBytes *whole_payload;        /* of several parts; else item.payload points into the message */
	guint64 content_end;          /* needs all: contents begun before this one */
	GArray *syncs;                /* guint64 order: of the contents whose write intents it clears; NULL: none */
} LogEntry;

typedef struct {
	Answer answer;
	guint64 sequence;
	gboolean journal;
	GArray *fids;
	guint waiting;
	int error;
	struct Replica *r;
	guint64 stream, touches;
} SyncWait;

struct Replica {
	gint refs;
	gboolean dead, followed;
	Store *local;
	ReplicaConfig cfg;
	guint64 epoch, life;
	gboolean loaded, whole;
	GByteArray *progress;
	/* the stream */
	guint64 by_epoch, attempt, stream;
	enum { NO_STREAM, ENDING, ATTACHED, STARTING, STARTED } state;
	GArray *waiting;              /* Answer: attach or start under way */
	int broken;                   /* the stream is over: this is why */
	guint64 next;                 /* the next message to be taken */
	GHashTable *early;            /* sequence -> Message */
	gsize early_bytes;
	GQueue messages;              /* taken, in order, not yet answered */
	GQueue log;                   /* LogEntry */
	GQueue told;                  /* Told */
	gboolean busy, again;         /* replica_go_on is running; and shall once more */
	GByteArray *part;
	GHashTable *undone;           /* guint64 order -> Content: begun contents of this stream */
	GHashTable *by_number;        /* guint64 number -> Content */
	guint64 order;                /* of contents within the stream */
	GHashTable *unsynced;         /* MagmaFid -> guint64 touches: contents changed here, by this process, and not synced since */
	guint64 touches;
	guint running;                /* contents and syncs under way, of older streams too */
	GPtrArray *syncs;             /* SyncWait: not yet begun */
	GPtrArray *reads;             /* ReadWait: likewise */
	guint64 commit;
};

Replica *replica_ref(Replica *r);
void replica_unref(Replica *r);
void replica_answer(const Answer *a, Replica *r, guint32 error, GByteArray *different);
/* Something ended: what waited for it goes on. */
void replica_go_on(Replica *r);

/* Every message of the stream in front of that one is done. */
gboolean replica_did_below(const Replica *r, guint64 sequence);
/* What was synced was all that was changed before `touches`. */
void replica_synced(Replica *r, const MagmaFid *fid, guint64 touches);

/* replica_stream.c */
void stream_append(Replica *r, const struct magma_req_mirror_append *q, GBytes *msg, const Answer *a);
void stream_advance(Replica *r);
/* Whoever waits is told that this stream is over. Contents that were begun still run. */
void stream_end(Replica *r);
void stream_break(Replica *r, int error, const char *why);

/* replica_rows.c */
void rows_request(Replica *r, const struct magma_req_mirror_rows *q, const Answer *a);
void contents_request(Replica *r, const struct magma_req_mirror_contents *q, const Answer *a);

/* replica_read.c */
void read_request(Replica *r, const struct magma_req_mirror_read *q, const Answer *a);
void reads_advance(Replica *r);
void reads_end(Replica *r);
