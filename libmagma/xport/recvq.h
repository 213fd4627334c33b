/* Messages on their way in: reassembly, exactly once. Rules S2-S4 of docs/protocol-sessions.md. Memory is bounded by RECV_LIMIT and
 * MSG_STARTED_MAX of sendq.h, which the sender keeps; one that does not is cut off. */
#pragma once
#include "libmagma/xport/rangeset.h"
#include "libmagma/xport/sendq.h"

typedef struct {
	guint64 id;
	guint8 *buf;
	guint32 total, got;
	RangeSet have;
} RecvMsg;

typedef struct {
	GHashTable *partial;          /* id -> RecvMsg, owned; only messages of several pieces */
	RecvMsg *recent;              /* the one that got the last piece */
	guint64 base;                 /* all ids below have been delivered */
	gsize buffered;
	guint64 done[MSG_ID_WINDOW / 64];
} RecvQueue;

typedef enum {
	RECV_MORE,                    /* the message is not whole yet */
	RECV_WHOLE,                   /* *whole is the message, the caller's */
	RECV_OLD,                     /* delivered before */
	RECV_BAD,                     /* against the rules */
} RecvResult;

void recvq_init(RecvQueue *q);
void recvq_clear(RecvQueue *q);
/* A piece: bytes [off, off + len) of message id, which has `total`. */
RecvResult recvq_add(RecvQueue *q, guint64 id, guint64 total, guint64 off, const guint8 *data, gsize len, GBytes **whole);
