/* What the files of this folder share: the session and the endpoint. Nothing of it is seen outside, tests excepted. */
#pragma once
#include "libmagma/xport/frame.h"
#include "libmagma/xport/loss.h"
#include "libmagma/xport/noise.h"
#include "libmagma/xport/pmtu.h"
#include "libmagma/xport/recvq.h"
#include "libmagma/xport/seal.h"
#include "libmagma/xport/sendq.h"
#include "libmagma/xport/xport.h"

#define MSEC 1000
#define SEC G_USEC_PER_SEC
#define NEVER G_MAXINT64

#define DEFAULT_RECV_WINDOW (128u << 10)
#define MIN_RECV_WINDOW (2 * PMTU_BASE)
#define HALF_OPEN_MAX 64              /* a handshake takes a round trip: that many new sessions per RTT without eviction */
#define COOKIE_FROM 16                /* half-open handshakes from which a cookie is asked for */
#define CONTROL_MAX 64                /* answers without state that wait to be sent; more are dropped */
#define CONTROL_LEN 64

typedef enum {
	XC_HELLO,                     /* initiator: waits for the welcome */
	XC_HALF,                      /* responder: waits for the first data datagram, which proves that the hello was no replay */
	XC_OPEN,
	XC_CLOSING,                   /* sends what it can, then goodbye */
	XC_DEAD,                      /* waits to be reaped */
} XConnState;

/* Only while the handshake lasts. */
typedef struct {
	NoiseState noise;
	MagmaTime started, next, interval;    /* of the (re)transmission of the hello */
	guint8 hello[HELLO_LEN], hello_hash[32];
	guint8 welcome[WELCOME_LEN];
	guint8 cookie[COOKIE_LEN];
	gboolean have_cookie, due, refused;
	MagmaTime open_at;                    /* welcomed, but the session it would replace may yet answer; 0: not so */
	guint cookies, rejects;
} Handshake;

/* Responder: another address the peer was heard from, not yet known to be its own. */
typedef struct {
	MagmaAddr addr;
	gboolean asked;               /* there is one */
	gboolean due;                 /* a challenge */
	guint8 data[PATH_DATA];
	guint64 received, sent;       /* bytes: from there, to there */
	MagmaTime next, until;        /* the next challenge; the end of it */
} Path;

struct MagmaConn {
	MagmaEndpoint *ep;
	XConnState state;
	gboolean initiator;
	gboolean opened;              /* counted in n_open */
	gboolean unknown;             /* the user was never told of it: goes without on_close */
	MagmaCloseReason why;
	guint64 cid, peer_cid;        /* ours, which its datagrams bear; the peer's, which ours bear */
	MagmaAddr peer;               /* where we send; the peer was heard from there in answer to us */
	Path path;
	gboolean challenged;          /* a response is due, with these bytes */
	guint8 challenge[PATH_DATA];
	void *user;
	Handshake *hs;
	SealSuite suite;
	gsize peer_window;            /* bytes that may be in flight towards it */

	Sealer tx;
	Opener rx;
	SendQueue sendq;
	RecvQueue recvq;
	Loss loss;
	Pmtu pmtu;

	RangeSet received;            /* packet numbers to acknowledge */
	MagmaTime largest_time;       /* when the highest of them came */
	guint unacked;                /* ack-eliciting packets not acknowledged yet */
	gsize unacked_bytes;
	gboolean prompt;              /* the acknowledgement must not wait: something is out of order, repeated, or asks */
	MagmaTime ack_at;             /* when the acknowledgement leaves at the latest; NEVER: none owed */

	gboolean ping_due;
	MagmaTime last_heard;
	MagmaTime idle_from;          /* last heard, or last asked by a keepalive */
	MagmaTime waiting_since;      /* something is in flight and nothing was heard since; 0: not so */
	MagmaTime hinted;             /* when a hint last began a handshake; 0: never */
	MagmaConn *parallel;          /* initiator: handshake begun because this session is silent */
	MagmaConn *replaces;          /* the other end of that */

	GList link, ready_link, touched_link;
	gboolean ready, touched;
	MagmaTime deadline;
	guint heap_index;             /* plus one; 0: not in the heap */
};

typedef enum { EVENT_OPEN, EVENT_MESSAGE, EVENT_REFUSED } EventType;

typedef struct {
	EventType type;
	MagmaConn *conn;
	GBytes *msg;
} Event;

typedef struct {
	MagmaAddr to;
	guint len;
	guint8 bytes[CONTROL_LEN];
} Control;

struct MagmaEndpoint {
	MagmaXportConfig cfg;
	char *prologue;
	MagmaXportOps ops;
	void *user;
	MagmaTime now;                /* of the last call that brought the time */
	MagmaXportStats stats;
	GHashTable *by_cid;           /* every session but the dead, by MagmaConn.cid */
	GQueue all, ready, touched, dead;
	guint n_open, n_half;
	MagmaConn *half[HALF_OPEN_MAX];       /* sessions in XC_HALF, oldest first */
	GPtrArray *heap;              /* sessions with a deadline, a binary heap */

	GArray *events;               /* not delivered yet */
	guint events_done;
	guint depth;                  /* of calls that deliver events */
	gboolean delivering, doomed;

	Control control[CONTROL_MAX];
	guint control_first, control_n;
	guint8 cookie_secret[2][32];  /* present and former */
	MagmaTime cookie_rotated;     /* 0: none made yet */
	guint64 reject_tokens;        /* token bucket, in microseconds */
	MagmaTime reject_time;
	guint64 hint_tokens;          /* the same, of handshakes begun because of a hint */
	MagmaTime hint_time;
	guint64 rekey_packets;        /* SEAL_REKEY_PACKETS; tests lower it */
	guint8 *scratch;              /* one decrypted datagram */
};

/* conn.c: life and timers */
MagmaConn *xconn_new(MagmaEndpoint *ep, const MagmaAddr *peer, gboolean initiator);
void xconn_free(MagmaConn *c);
/* After the handshake: keys from the secrets, receive limits of the peer. */
void xconn_set_keys(MagmaConn *c, const guint8 i2r[32], const guint8 r2i[32], SealSuite suite, gsize peer_window);
void xconn_opened(MagmaConn *c);
/* The session is over; on_close follows when the present call ends. Forgets it at once, without a word. */
void xconn_die(MagmaConn *c, MagmaCloseReason why);
/* The peer broke the protocol: tells it and ends. */
void xconn_violation(MagmaConn *c, const char *what);
void xconn_ready(MagmaConn *c);
/* Computes the deadline again, after anything happened. */
void xconn_rearm(MagmaConn *c);
void xconn_tick(MagmaConn *c, MagmaTime now);
/* A probe or a black hole changed the path MTU. */
void xconn_mtu_changed(MagmaConn *c);
void xconn_start_parallel(MagmaConn *c, MagmaTime now);
void xconn_keylog(MagmaConn *c);
extern const LossOps xconn_loss_ops;

/* conn_in.c */
void xconn_input(MagmaConn *c, MagmaTime now, const MagmaAddr *from, const guint8 *p, gsize n);
void xconn_input_done(MagmaConn *c, MagmaTime now);

/* conn_out.c */
gboolean xconn_poll(MagmaConn *c, MagmaTime now, MagmaBurst *out);
/* A sealed datagram with a CLOSE frame; returns its length, at most CONTROL_LEN. */
gsize xconn_seal_close(MagmaConn *c, guint code, guint8 *out);
/* The same with a CHALLENGE or RESPONSE frame, PATH_DGRAM bytes. Its loss is nobody's business but path.c's: it may go to an address where nobody is. */
gsize xconn_seal_path(MagmaConn *c, guint type, const guint8 data[PATH_DATA], guint8 *out);

/* path.c: where the peer is */
/* An authenticated datagram of n bytes; newest: its number is the highest so far. */
void xpath_heard(MagmaConn *c, MagmaTime now, const MagmaAddr *from, gsize n, gboolean newest);
void xpath_response(MagmaConn *c, MagmaTime now, const MagmaAddr *from, const guint8 *data);
MagmaTime xpath_deadline(const MagmaConn *c);
void xpath_tick(MagmaConn *c, MagmaTime now);
/* The challenge or response that is due. FALSE: none. */
gboolean xpath_poll(MagmaConn *c, MagmaTime now, MagmaBurst *out);

/* handshake.c */
void handshake_start(MagmaConn *c, MagmaTime now);
void handshake_tick(MagmaConn *c, MagmaTime now);
MagmaTime handshake_deadline(const MagmaConn *c);
gsize handshake_poll(MagmaConn *c, MagmaTime now, guint8 *out);
void handshake_on_hello(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *from, const guint8 *p, gsize n);
void handshake_on_welcome(MagmaConn *c, MagmaTime now, const guint8 *p, gsize n);
void handshake_on_cookie(MagmaConn *c, MagmaTime now, const guint8 *p, gsize n);
void handshake_on_reject(MagmaConn *c, MagmaTime now, const guint8 *p, gsize n);

/* endpoint.c */
void xep_event(MagmaEndpoint *ep, EventType type, MagmaConn *c, GBytes *msg);
void xep_control(MagmaEndpoint *ep, const MagmaAddr *to, const guint8 *p, gsize n);

/* timers.c: a heap of sessions by deadline */
void timers_set(MagmaEndpoint *ep, MagmaConn *c, MagmaTime deadline);
MagmaConn *timers_first(const MagmaEndpoint *ep);
