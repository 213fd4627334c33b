/* Congestion control: CUBIC (RFC 9438) with slow start, as a function of acknowledgements and losses. Rule L4 of
 * docs/protocol-sessions.md. All in bytes; `mss` is the present datagram size. */
#pragma once
#include "libmagma/xport/xport.h"

typedef struct {
	gsize cwnd, ssthresh;
	guint mss;
	MagmaTime recovery_start;      /* packets sent before it belong to a loss already answered; -1: none yet */
	double w_max, k, w_est;        /* in bytes, seconds, bytes */
	MagmaTime epoch_start;         /* 0: no congestion avoidance epoch yet */
	struct {
		gsize cwnd, ssthresh;
		double w_max;
		guint lost;                /* packets of the last loss not yet found to have arrived after all */
	} undo;
} Congestion;

void cc_init(Congestion *c, guint mss);
/* The path MTU changed: the window holds at least two datagrams. */
void cc_set_mss(Congestion *c, guint mss);
/* limited: the window was what kept us from sending; otherwise it does not grow (RFC 9002, 7.8). */
void cc_acked(Congestion *c, MagmaTime now, MagmaTime sent, gsize bytes, MagmaTime rtt, gboolean limited);
/* count packets were declared lost, the newest of them sent at `sent`. */
void cc_lost(Congestion *c, MagmaTime now, MagmaTime sent, guint count);
/* One of them arrived after all; when all have, the reduction is taken back. */
void cc_spurious(Congestion *c, MagmaTime sent);
void cc_persistent(Congestion *c);
