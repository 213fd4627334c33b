/* Sockets and event loop under sessions: the only place in libmagma that touches either. One MagmaNet is one UDP socket with its endpoint,
 * living on one GMainContext; all functions from that context's thread. Callbacks may call any of these functions, magma_net_free too, but not run the context. */
#pragma once
#include <glib.h>
#include "libmagma/xport/xport.h"

typedef struct MagmaNet MagmaNet;

typedef struct {
	void (*on_open)(void *user, MagmaConn *c);
	void (*on_message)(void *user, MagmaConn *c, GBytes *msg);      /* msg borrowed */
	void (*on_close)(void *user, MagmaConn *c, MagmaCloseReason why);
	void (*on_refused)(void *user, MagmaConn *c);   /* may be NULL; MagmaXportOps */
} MagmaNetOps;

/* bind: address and port (port 0: any). xport.recv_window is set from the SO_RCVBUF granted (SO_RCVBUFFORCE as root).
 * Batches: UDP_SEGMENT on send and UDP_GRO on receive where the kernel has them, sendmmsg/recvmmsg elsewhere (or with MAGMA_NET_PLAIN=1 in the environment). DF is set.
 * MAGMA_NET_CHACHA=1 takes ChaCha20-Poly1305 on any CPU. MAGMA_KEYLOG=FILE appends the keys of all sessions of the process to FILE (rule K4).
 * Outgoing messages leave before the loop sleeps again (flush in the source's prepare), or at magma_net_flush(). */
MagmaNet *magma_net_new(GMainContext *ctx, const MagmaAddr *bind, const MagmaXportConfig *xport, const MagmaNetOps *ops, void *user, GError **error);
void magma_net_free(MagmaNet *net);
/* Says goodbye to all peers and sends what can be sent without waiting; then free it. */
void magma_net_goodbye(MagmaNet *net);
MagmaConn *magma_net_connect(MagmaNet *net, const MagmaAddr *to);
void magma_net_close(MagmaNet *net, MagmaConn *c);
void magma_net_flush(MagmaNet *net);
MagmaEndpoint *magma_net_endpoint(MagmaNet *net);
const MagmaAddr *magma_net_local(const MagmaNet *net);
/* For whoever must wait for answers without running the context (a goodbye, a fork): the descriptor to poll for reading, and one turn of this socket
 * alone: reads, timers, sends. Returns the endpoint's next deadline. */
int magma_net_fd(const MagmaNet *net);
MagmaTime magma_net_turn(MagmaNet *net);
/* Monotonic microseconds (CLOCK_BOOTTIME), as the endpoint is fed. */
MagmaTime magma_net_now(void);

/* getaddrinfo for HOST, HOST:PORT or [IP6]:PORT; blocks; only at start. Up to max addresses, 0 and error set if none. */
guint magma_resolve(const char *host, guint16 default_port, MagmaAddr *out, guint max, GError **error);
