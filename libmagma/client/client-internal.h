/* What the files of libmagma/client share. Everything on the thread of the client's context.
 *
 * A Call is one request until it is answered. It always stands in exactly one queue: waiting (at a peer without a session), sent (at a peer),
 * parked (until a map or the end of re-assertion) or delayed (the volcano said "not now"). A Peer is one volcano, or one host that has not yet said
 * which volcano it is. */
#pragma once
#include "libmagma/client/client.h"
#include "libmagma/net/net.h"

#define MS ((MagmaTime)1000)
#define SECOND ((MagmaTime)1000000)
#define NEVER G_MAXINT64

/* A volcano that cannot be reached at once is reached through another one after so long: well above any round trip, and not yet felt. */
#define FALLBACK_AFTER (300 * MS)
/* Unanswered for so long on a session that lives: forwarding may have lost it. Grows with each try. */
#define PROBE_AFTER SECOND            /* without an answer: the session is asked whether the other end is there */
#define RESEND_FIRST (2 * SECOND)
#define RESEND_MOST (8 * SECOND)
/* ETRYAGAIN: from less than a disk's turn to what a user does not yet notice. */
#define DELAY_FIRST (2 * MS)
#define DELAY_MOST (250 * MS)
/* Neither answered nor sent anywhere for so long: whoever it goes to may be cut off from the others, and without a lease. A takeover is over by then. */
#define ASTRAY_AFTER (2 * SECOND)
#define ASK_EVERY (2 * SECOND)
#define RESEND_ASTRAY (4 * SECOND)    /* by another way, at most */
/* Under a new id what is open is asserted before anything else is asked: well above a round trip, and what a takeover takes. Then only those wait whose volcano does not answer. */
#define RENEW_FIRST (2 * SECOND)
/* A volcano forgets a client silent for 15 s; looked at every second, this is at most 5. */
#define KEEPALIVE_AFTER (4 * SECOND)
#define ACTIVE_FOR (60 * SECOND)
#define TICK_BUSY (250 * MS)
#define TICK_IDLE SECOND
/* A tick so late: this process did not run (SIGSTOP, suspend). As in magmad (core/client.c). */
#define STOOD_STILL (3 * SECOND)

typedef struct Peer Peer;
typedef struct Start Start;

typedef enum {
	TO_KEY,        /* to the owner of a key, whatever it takes */
	TO_VOLCANO,    /* to one volcano, over direct sessions; fails where there can be none */
	TO_SESSION,    /* to one session; fails with ENOTCONN when it ends */
} CallTo;

typedef struct {
	guint64 xid;
	guint16 owner;                /* of the slice of key, and the epoch of that, when it was routed */
	guint64 ownership;
	MagmaOp op;
	CallTo to;
	MagmaKey key;                 /* TO_KEY */
	Peer *peer;                   /* TO_VOLCANO, TO_SESSION */
	MagmaConn *conn;              /* that it was last sent on; TO_SESSION: must go on. Compared only, never followed. */
	Peer *via;                    /* whose conn that was */
	guint64 client;               /* id it went out under last */
	GBytes *head, *body;
	MagmaReplyFn done;
	void *user;
	MagmaTime born, sent, due;    /* due: in delayed */
	MagmaTime give_up;            /* when this process has waited long enough: time in which it stood still does not count */
	MagmaTime resend, delay, probe;     /* the next intervals */
	guint64 mark;                 /* bytes queued on conn up to and with this one */
	guint tries;
	guint64 shakes;               /* as the client's, when it was first sent */
	gboolean mutates;
	gboolean astray;              /* whoever it went through gets no answer: each further try goes through another one */
	gboolean same_way;            /* astray, and there was no other */
	gboolean unsure;              /* a try was left without an answer: it may have been executed */
	GQueue *queue;
	GList in_queue, in_all;
} Call;

typedef enum { PEER_IDLE, PEER_CONNECTING, PEER_GREETING, PEER_UP } PeerState;

struct Peer {
	MagmaClient *c;
	guint16 id;                   /* 0: a host that has not said hello */
	MagmaAddr addr;
	gboolean by_host;             /* addr is what the user gave: it stays, whatever the map says */
	PeerState state;
	MagmaConn *conn;
	guint64 boot;                 /* of the life that knows our opens */
	guint failures;               /* handshakes in a row */
	MagmaCloseReason why;         /* of the last failure */
	MagmaTime since;              /* CONNECTING, GREETING: began; UP: came up */
	gboolean suspect;             /* UP, but acknowledges nothing: others are preferred */
	gboolean fell_back;           /* what waited at FALLBACK_AFTER went another way */
	MagmaTime retry_at;           /* IDLE after a failure */
	MagmaTime spoke_at;           /* last request meant for it, by whatever way; 0: it holds nothing for us */
	MagmaTime asserted_at;        /* reached through another: last told what is open there, for its restarts do not show; 0: reached itself */
	guint64 queued_bytes;         /* on conn */
	guint reopens;                /* unanswered, of this greeting */
	guint64 new_boot;
	GQueue waiting, sent;         /* Call */
};

struct MagmaClient {
	GMainContext *ctx;
	MagmaClientConfig cfg;        /* hosts copied */
	MagmaNet *net[2];             /* IPv4, IPv6; made when needed */
	GSource *alarm;
	MagmaTime tick_at;
	guint64 id;
	guint64 shakes;               /* how often our id, the map or the life of a volcano changed, and what was open then was asserted */
	const Call *answering;        /* whose done runs */
	MagmaMap *map;
	Peer **hosts;                 /* cfg.nhosts of them */
	GHashTable *peers;            /* id -> Peer; proxy: targets only, never connected */
	GPtrArray *all_peers;         /* Peer, owned: they live as long as the client */
	Peer *home;                   /* answered first, or where others did not; the relay, if one is needed */
	MagmaTime asked_around;
	Start *start;

	GHashTable *calls;            /* xid -> Call */
	GQueue all_calls;             /* in order of birth */
	GQueue parked, delayed;
	guint64 next_xid, watermark;
	MagmaTime last_call;          /* by the user */
	gboolean unanswered;          /* a call has reached its timeout; until why.c has said why */
	gboolean fetching_map;
	guint renewing;               /* reopens unanswered after the id was renewed */
	MagmaTime renewed_at;

	GHashTable *opens;            /* fid -> Open */
	gboolean closing;
	guint entered;
};

/* client.c */
void client_enter(MagmaClient *c);
void client_leave(MagmaClient *c);
void client_alarm_reset(MagmaClient *c);
guint64 client_random_id(void);
gboolean client_map_install(MagmaClient *c, MagmaBytes map);
void client_map_want(MagmaClient *c, Peer *from);
/* A volcano has told of a new map unasked. */
void client_map_pushed(MagmaClient *c, MagmaBytes bytes);

/* start.c */
void start_peer_up(MagmaClient *c, Peer *p);
void start_peer_failed(MagmaClient *c, Peer *p);
MagmaTime start_deadline(const MagmaClient *c);
void start_alarm(MagmaClient *c, MagmaTime now);
void start_cancel(MagmaClient *c);

/* peer.c */
Peer *peer_new(MagmaClient *c, const MagmaAddr *addr, guint16 id);
void peer_free(Peer *p);
Peer *peer_of_volcano(MagmaClient *c, const MagmaVolcano *v);
Peer *peer_relay(const MagmaClient *c, const Peer *not_this);
/* The one behind last in their order that is usable, so that further tries come by all of them; last itself, or NULL, if there is no other. */
Peer *peer_relay_next(const MagmaClient *c, const Peer *not_this, const Peer *last);
/* Begins sessions to all that may know more than those there are sessions to: a hello brings their map. Every ASK_EVERY at most. */
void peer_ask_around(MagmaClient *c, MagmaTime now);
void peer_want(Peer *p);
void peer_drop_session(Peer *p);
void peer_map_changed(MagmaClient *c);
MagmaTime peer_deadline(const Peer *p);
void peer_alarm(Peer *p, MagmaTime now);
void peer_reopened(Peer *p, MagmaConn *conn);
void peer_keepalive(Peer *p, MagmaTime now);
void peer_check(Peer *p, MagmaTime now);
extern const MagmaNetOps peer_net_ops;

/* call.c */
guint64 call_new(MagmaClient *c, CallTo to, Peer *peer, MagmaOp op, const MagmaCred *cred, const void *req, GBytes *body, MagmaReplyFn done, void *user);
/* The clock of retries and keepalives runs. */
void call_tick_want(MagmaClient *c);
void call_route(MagmaClient *c, Call *call);
void call_queue_route(MagmaClient *c, GQueue *q);
/* A new map: calls on their way to who does not own their key any more go out again. */
void call_owners_changed(MagmaClient *c, Peer *p);
void call_unpark(MagmaClient *c, gboolean map_is_new);
void call_delayed_route(MagmaClient *c);       /* there is a newer map */
void call_astray_route(MagmaClient *c);        /* there is another relay */
void call_session_lost(MagmaClient *c, Peer *p);
/* Was anything sent to p before then that its session has not acknowledged? */
gboolean call_undelivered(const Peer *p, MagmaTime before);
void call_session_suspect(MagmaClient *c, Peer *p);
void call_volcano_unreachable(MagmaClient *c, Peer *p);
void call_reply(MagmaClient *c, Peer *from, GBytes *msg);
void call_cancel_all(MagmaClient *c, int error);
MagmaTime call_deadline(const MagmaClient *c);
void call_alarm(MagmaClient *c, MagmaTime now);
void call_tick(MagmaClient *c, MagmaTime now);
/* Nothing could be heard for so long: no call's time passed. */
void call_forgive(MagmaClient *c, MagmaTime now, MagmaTime gap);

/* open.c */
void open_table_init(MagmaClient *c);
/* After all calls are cancelled: holds that waited for a RELEASE get error. */
void open_table_clear(MagmaClient *c, int error);
/* Re-asserts the opens whose key is p's: over the session being greeted, counted in p->reopens. */
void open_greet(Peer *p);
/* Re-asserts, by ordinary calls, those that map old gave to another volcano (old NULL: all). */
void open_moved(MagmaClient *c, const MagmaMap *old);
/* A sign of life for a volcano that is only reached through another: re-asserts what is open there, or nothing. */
void open_keepalive_by_key(MagmaClient *c, const MagmaVolcano *v);
