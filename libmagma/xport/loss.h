/* What was sent and what became of it: loss detection, round-trip time and probe timeouts of RFC 9002. Rules L1-L6 of
 * docs/protocol-sessions.md. Packets stand in a ring by packet number; what they carried is the owner's business, told by LossOps. */
#pragma once
#include "libmagma/xport/cc.h"
#include "libmagma/xport/rangeset.h"

#define LOSS_MAX_ACK_DELAY 2000      /* microseconds, both sides: how long an acknowledgement may wait for company */

typedef struct SentFrame SentFrame;

typedef enum { PKT_NONE, PKT_FLIGHT, PKT_ACKED, PKT_LOST } SentState;

typedef struct {
	MagmaTime time;
	guint64 ack_largest;          /* highest packet number its ACK frame named, plus one; 0: no ACK frame */
	SentFrame *frames;            /* messages in it */
	guint32 size;                 /* of the datagram */
	guint8 state;                 /* SentState */
	guint probe : 1;              /* of the path MTU: its loss is not congestion */
	guint limited : 1;            /* the window was full when it left */
} SentPacket;

typedef struct {
	void (*acked)(void *user, SentPacket *p);      /* also a lost one that arrived after all */
	void (*lost)(void *user, SentPacket *p);       /* send its frames again */
	void (*again)(void *user, SentPacket *p);      /* probe timeout: send its frames again, though nobody knows that it is lost */
	void (*forget)(void *user, SentPacket *p);     /* leaves the ring: release its frames */
} LossOps;

typedef struct {
	const LossOps *ops;
	void *user;
	SentPacket *ring;
	guint size;                   /* of the ring, a power of two */
	guint64 base, next;           /* packet numbers in the ring: [base, next) */
	guint64 largest_acked;        /* plus one; 0: none */
	gsize in_flight;              /* bytes */
	guint flying;                 /* ack-eliciting packets in flight */
	MagmaTime srtt, rttvar, min_rtt, latest;
	MagmaTime first_sample;       /* when the first RTT sample came; 0: not yet */
	MagmaTime loss_time;          /* when the next packet counts as lost by time; 0: none */
	MagmaTime last_eliciting;
	MagmaTime pto_from;           /* the later of that and the last probe timeout */
	guint pto_count;              /* consecutive probe timeouts */
	guint probes;                 /* packets that may leave regardless of the window */
	gboolean ping;                /* the last probe timeout wants a PING and nothing else */
	guint reorder;                /* packet threshold */
	guint reorder_time;           /* time threshold, in eighths of the RTT */
	guint64 lost_packets;
	Congestion cc;
} Loss;

void loss_init(Loss *l, const LossOps *ops, void *user, guint mss);
void loss_clear(Loss *l);

/* The record of the packet that takes number l->next; the caller fills in frames and flags before the next call.
 * eliciting FALSE: only acknowledgements; not tracked. */
SentPacket *loss_sent(Loss *l, MagmaTime now, guint size, gboolean eliciting);
/* Ranges [lo, hi) of an ACK frame, highest first. FALSE: it acknowledges what was never sent. */
gboolean loss_acked(Loss *l, MagmaTime now, const Range *ranges, guint n, MagmaTime delay);
/* G_MAXINT64: nothing to wait for. */
MagmaTime loss_deadline(const Loss *l);
void loss_timeout(Loss *l, MagmaTime now);
/* The present probe timeout without backoff. */
MagmaTime loss_pto(const Loss *l);
/* The packets of that size in flight cannot arrive: the system refused them. */
void loss_refused(Loss *l, MagmaTime now, guint size);
/* A new path: round-trip time and window start over. */
void loss_new_path(Loss *l, guint mss);
