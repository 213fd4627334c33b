/* Secure reliable message sessions over datagrams, as a state machine: datagrams, messages and the time go in; datagrams and
 * events come out. No socket, clock, thread or allocation of randomness inside. docs/protocol-sessions.md.
 * Not thread-safe: one endpoint belongs to one thread. Time is microseconds of a monotonic clock. */
#pragma once
#include <glib.h>
#include "libmagma/base/addr.h"
#include "libmagma/base/trace.h"

#define MAGMA_MSG_MAX ((1u << 20) + 65536u)  /* one message: 1 MiB of content and its header */
#define MAGMA_PSK_LEN 32

typedef gint64 MagmaTime;
typedef struct MagmaEndpoint MagmaEndpoint;     /* one UDP port: any number of sessions */
typedef struct MagmaConn MagmaConn;             /* one session with one peer process */

typedef enum {
	MAGMA_CLOSE_LOCAL,        /* magma_conn_close() */
	MAGMA_CLOSE_PEER,         /* the peer said goodbye */
	MAGMA_CLOSE_SILENT,       /* no answer within the limit */
	MAGMA_CLOSE_AUTH,         /* handshake timed out and a reject came: the key is wrong */
	MAGMA_CLOSE_NOBODY,       /* handshake timed out, nothing came */
	MAGMA_CLOSE_REFUSED,      /* handshake timed out, and the host said that nobody listens there */
	MAGMA_CLOSE_REPLACED,     /* a parallel handshake to the same address succeeded: on_open was called for the new one before */
	MAGMA_CLOSE_PROTOCOL,     /* the peer, authenticated, broke the protocol */
} MagmaCloseReason;

typedef struct {
	void (*random)(void *user, void *buf, gsize n);
	/* The handshake is complete; for a responder the session is new, for an initiator it is the one connected. */
	void (*on_open)(void *user, MagmaConn *c);
	/* A whole message. msg is borrowed: take a reference to keep it. May call any function of this header. */
	void (*on_message)(void *user, MagmaConn *c, GBytes *msg);
	/* The session is over; c is freed after this returns. Messages not acknowledged by then may or may not have arrived. */
	void (*on_close)(void *user, MagmaConn *c, MagmaCloseReason why);
	/* Optional, NULL: a line of a key log file (K4 of docs/protocol-sessions.md), for a Wireshark dissector. */
	void (*keylog)(void *user, const char *line);
	/* Optional, NULL: its host says that nobody listens there any more (T6): a hint, which proves nothing. At most once a second for each session. */
	void (*on_refused)(void *user, MagmaConn *c);
} MagmaXportOps;

typedef struct {
	guint8 psk[MAGMA_PSK_LEN];
	const char *prologue;         /* Noise prologue: "magma-flare-1" or "magma-node-1" */
	gboolean accept;              /* FALSE: only an initiator; unsolicited handshakes are dropped */
	guint handshake_timeout_ms;   /* default 4000 when 0 */
	guint64 recv_window;          /* bytes that may be in flight towards us, from the SO_RCVBUF really granted; 0: 128 KiB */
	gboolean slow_aes;            /* takes ChaCha20-Poly1305 also where the CPU has AES */
	const MagmaTrace *trace;      /* channel n; may be NULL */
} MagmaXportConfig;

MagmaEndpoint *magma_endpoint_new(const MagmaXportConfig *cfg, const MagmaXportOps *ops, void *user);
/* Ends all sessions without a word on the wire; on_close is not called. */
void magma_endpoint_free(MagmaEndpoint *ep);

/* A datagram came in. Never asserts on its bytes. Events are called from inside. */
void magma_endpoint_input(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *from, const guint8 *p, gsize n);
/* Call once after a burst of inputs: acknowledgements are decided here, not per datagram. */
void magma_endpoint_input_done(MagmaEndpoint *ep, MagmaTime now);
/* Timers that are due. Events are called from inside. */
void magma_endpoint_tick(MagmaEndpoint *ep, MagmaTime now);
/* When magma_endpoint_tick wants to be called next; G_MAXINT64: never. */
MagmaTime magma_endpoint_deadline(const MagmaEndpoint *ep);

/* The next datagrams to send: buf[0..len) for one address, cut every `segment` bytes (the last may be shorter): made for UDP_SEGMENT.
 * max: size of buf (at least 65536). FALSE: nothing to send now. */
typedef struct {
	MagmaAddr to;
	guint8 *buf;
	gsize max, len;
	guint16 segment;
	gboolean probe;               /* a path MTU probe: EMSGSIZE for it is normal */
} MagmaBurst;
gboolean magma_endpoint_poll(MagmaEndpoint *ep, MagmaTime now, MagmaBurst *out);
/* The system itself refused a datagram of that size to that address (EMSGSIZE). */
void magma_endpoint_too_big(MagmaEndpoint *ep, const MagmaAddr *to, gsize size);
/* The network says of a datagram sent to that address that nobody listens there, or that its size does not pass (ICMP); quoted: the datagram's first n bytes, as far as the message has them.
 * Without effect where they are not of a session's own. */
void magma_endpoint_refused(MagmaEndpoint *ep, const MagmaAddr *to, const guint8 *quoted, gsize n);
void magma_endpoint_quoted_too_big(MagmaEndpoint *ep, const MagmaAddr *to, const guint8 *quoted, gsize n, gsize size);

typedef struct {
	guint64 datagrams_in, datagrams_out, bytes_in, bytes_out, messages_in, messages_out;
	guint64 lost, retransmitted_bytes;
	guint64 bad_tag, bad_form, replayed, unknown_session, handshake_rejects_sent, cookies_sent, handshakes, hints_ignored;
} MagmaXportStats;
const MagmaXportStats *magma_endpoint_stats(const MagmaEndpoint *ep);
guint magma_endpoint_sessions(const MagmaEndpoint *ep);

/* Starts a handshake; on_open or on_close follows. The connection belongs to the endpoint; valid until on_close returned. */
MagmaConn *magma_conn_connect(MagmaEndpoint *ep, MagmaTime now, const MagmaAddr *to);
/* Queues head followed by body (may be NULL) as one message; takes references, not ownership. Messages are independent of each
 * other: small ones overtake large ones. FALSE: the session is closing, or the message is over MAGMA_MSG_MAX. Messages queued before
 * on_open are sent after it. */
gboolean magma_conn_send(MagmaConn *c, GBytes *head, GBytes *body);
/* Somebody waits for an answer on it: a session with nothing in flight asks the peer for a sign of life now, instead of by T2. So one that is gone is found (T4). */
void magma_conn_probe(MagmaConn *c);
/* Bytes queued and not yet acknowledged: for back pressure. */
gsize magma_conn_backlog(const MagmaConn *c);
void magma_conn_close(MagmaConn *c, MagmaTime now);     /* says goodbye; on_close is called from a later tick or poll */
gboolean magma_conn_is_open(const MagmaConn *c);
gboolean magma_conn_is_initiator(const MagmaConn *c);
const MagmaAddr *magma_conn_peer(const MagmaConn *c);
MagmaTime magma_conn_rtt(const MagmaConn *c);           /* smoothed, microseconds; 0 before the first sample */
MagmaTime magma_conn_last_heard(const MagmaConn *c);
guint magma_conn_mtu(const MagmaConn *c);
void magma_conn_set_user(MagmaConn *c, void *user);
void *magma_conn_user(const MagmaConn *c);

/* The pre-shared key from the secret: scrypt, parameters in H8 of docs/protocol-sessions.md. Takes tens of milliseconds and 32 MiB: once per
 * process, in the pool where there is a loop. secret: 1..1024 bytes. */
gboolean magma_psk_derive(const char *secret, gsize len, guint8 out[MAGMA_PSK_LEN]);
