/* Path MTU discovery by probing (RFC 8899), in UDP payload bytes. Rules M1-M4 of docs/protocol-sessions.md. */
#pragma once
#include "libmagma/xport/xport.h"

#define PMTU_BASE 1200u           /* IPv6's minimum of 1280 less headers and tunnels: what QUIC relies on too */
#define PMTU_MAX 65000u

typedef struct {
	guint mtu;                /* what we send */
	guint limit;              /* never more than that, from the peer's window */
	guint ceiling;            /* sizes above are known not to pass; 0: unknown */
	guint probing;            /* size of the probe in flight; 0: none */
	guint tries;              /* probes of the next size lost so far */
	MagmaTime retry;          /* when the ceiling is forgotten and probing starts again */
	guint big_lost;           /* packets above PMTU_BASE lost since one was acknowledged */
	guint fallen_from;        /* after a black hole: the size to try first */
} Pmtu;

void pmtu_init(Pmtu *p, guint limit);
/* The size to probe now, 0 for none. Call only while there is more to send than fits a datagram: an idle or chatty session needs none. */
guint pmtu_want(Pmtu *p, MagmaTime now);
void pmtu_probe_sent(Pmtu *p, guint size);
/* What became of a datagram of `size`. TRUE: the MTU changed. */
gboolean pmtu_acked(Pmtu *p, guint size, gboolean probe);
gboolean pmtu_lost(Pmtu *p, MagmaTime now, guint size, gboolean probe);
/* The system refused a datagram of that size. */
gboolean pmtu_too_big(Pmtu *p, MagmaTime now, guint size);
/* Nothing gets through any more: perhaps large datagrams do not. */
gboolean pmtu_black_hole(Pmtu *p, MagmaTime now);
void pmtu_new_path(Pmtu *p);
