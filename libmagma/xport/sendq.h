/* Messages on their way out: which bytes go into the next datagram, which are lost, which have arrived. Rules S1-S4 of
 * docs/protocol-sessions.md. Small messages first, with a guaranteed share for large ones; a message is started only when the
 * peer is sure to have room for all of it, so that what was started can always be finished. */
#pragma once
#include "libmagma/xport/loss.h"

#define MSG_ID_WINDOW 32768u          /* ids between the oldest unfinished message and the newest: one bit each at the receiver */
#define MSG_STARTED_MAX 4096u         /* messages unfinished at a time */
#define RECV_LIMIT (16u << 20)        /* bytes of unfinished messages towards one receiver */
#define RECV_RESERVE (1u << 20)       /* of these, only for small messages */
#define MSG_FRAGMENT_MIN 256u         /* shorter pieces only where the message, or what was lost of it, ends */
#define MSG_SMALL 16384u              /* class 0 */
#define MSG_MEDIUM 131072u            /* class 1; larger is class 2 */

typedef struct SendMsg SendMsg;

struct SentFrame {
	SentFrame *next;
	SendMsg *msg;
	guint32 off, len;
};

typedef struct {
	SendMsg *first, *last;
} SendList;

typedef struct {
	SendList ready[3];            /* messages with something to send, by class */
	guint64 debt[3];              /* bytes that smaller classes owe to this one */
	SendList started;             /* unfinished messages in the order of their ids */
	guint n_started;
	gsize started_small, started_large;
	guint64 next_id;
	gsize backlog;                /* bytes not yet acknowledged */
	gsize pending;                /* bytes waiting to be sent, first or again */
	SentFrame *spare;
	guint64 resent;               /* bytes sent again, for the statistics */
} SendQueue;

/* A piece of a message: header fields and where its bytes are (a message is a head and a body). */
typedef struct {
	guint64 id;
	guint32 total, off, len;
	const guint8 *p1, *p2;
	gsize n1, n2;
	SentFrame *frame;             /* for SentPacket.frames */
} Fragment;

void sendq_clear(SendQueue *q);
void sendq_push(SendQueue *q, GBytes *head, GBytes *body);
/* TRUE: there is something that may be sent now; small_only: of class 0. */
gboolean sendq_ready(const SendQueue *q, gboolean small_only);
/* The next piece whose frame (header and bytes) fits `room`. small_only: only a message of class 0 that fits whole.
 * tight FALSE: the datagram is still empty, so any piece is better than none. FALSE: nothing fits or may be sent. */
gboolean sendq_take(SendQueue *q, gsize room, gboolean small_only, gboolean tight, Fragment *out);
/* The fates of the frames of a packet. */
void sendq_acked(SendQueue *q, SentFrame *frames);
void sendq_lost(SendQueue *q, SentFrame *frames);
void sendq_forget(SendQueue *q, SentFrame *frames);
