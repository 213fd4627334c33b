/* A network in memory on a virtual clock: hosts with one endpoint each, between them loss, duplication, reordering, delay, an MTU, black
 * holes. Everything follows from the seed. */
#pragma once
#include "libmagma/xport/xport.h"

typedef struct SimNet SimNet;
typedef struct SimHost SimHost;

typedef struct {
	double loss, dup;             /* probabilities */
	MagmaTime delay, jitter;      /* one way: delay plus up to jitter, which reorders */
	gsize mtu;                    /* UDP payload that passes; larger ones vanish */
	gsize local_mtu;              /* UDP payload the sender's system takes: EMSGSIZE above; 0: no limit */
	gboolean cut;                 /* nothing passes */
	guint64 rate;                 /* bytes per second through one host's uplink; 0: no limit */
	MagmaTime queue;              /* datagrams that would wait longer for the uplink are dropped; 0: no limit */
} SimPath;

struct SimHost {
	SimNet *net;
	MagmaAddr addr;
	MagmaEndpoint *ep;            /* NULL: switched off */
	gboolean paused;              /* SIGSTOP: datagrams wait in its socket, timers do not run */
	GArray *backlog;              /* what waits */
	gboolean refuses;             /* switched off, and says so (ECONNREFUSED) */
	SimPath out;                  /* of what it sends */
	void *user;
	void (*on_open)(SimHost *h, MagmaConn *c);
	void (*on_message)(SimHost *h, MagmaConn *c, GBytes *msg);
	void (*on_close)(SimHost *h, MagmaConn *c, MagmaCloseReason why);
	/* Sees each datagram before the network does; FALSE: it vanishes. */
	gboolean (*tap)(SimHost *h, const MagmaAddr *to, const guint8 *p, gsize n);
	guint64 sent, sent_bytes;     /* datagrams */
	guint opened, messages, closed;
	MagmaCloseReason why;
	MagmaConn *last;              /* the session opened last */
	GString *keylog;
	MagmaTime busy_until;
};

SimNet *simnet_new(guint64 seed);
void simnet_free(SimNet *net);
MagmaTime simnet_now(const SimNet *net);
guint32 simnet_random(SimNet *net, guint32 below);
/* "10.0.0.1:12000"; cfg NULL: key of zeros, prologue "test", accepting. */
SimHost *simnet_host(SimNet *net, const char *addr, const MagmaXportConfig *cfg);
MagmaXportConfig simnet_config(void);
/* The process dies; then a new one, which knows nothing, takes its place. */
void simnet_kill(SimHost *h);
void simnet_start(SimHost *h, const MagmaXportConfig *cfg);
/* SIGSTOP and SIGCONT. */
void simnet_pause(SimHost *h, gboolean paused);
/* A datagram out of nowhere. */
void simnet_inject(SimNet *net, const MagmaAddr *from, SimHost *to, const guint8 *p, gsize n);
MagmaConn *simnet_connect(SimHost *from, SimHost *to);
/* Lets everything happen that is due up to `duration` from now. */
void simnet_run(SimNet *net, MagmaTime duration);
/* Until done(user) or the duration is over; returns done(user). */
gboolean simnet_run_until(SimNet *net, MagmaTime duration, gboolean (*done)(void *user), void *user);
