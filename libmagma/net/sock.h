/* The UDP socket under a MagmaNet: what the kernel can do, batches in, batches out, errors. Inside libmagma/net only; the socket's thread only. */
#pragma once
#include "libmagma/xport/xport.h"
#include <sys/socket.h>

typedef struct Sock Sock;

/* Events of one receive. Called in order of arrival; p is valid during the call. */
typedef void (*SockDatagramFn)(void *user, const MagmaAddr *from, const guint8 *p, gsize n);

Sock *sock_new(const MagmaAddr *bind, GError **error);
void sock_free(Sock *s);
int sock_fd(const Sock *s);
const MagmaAddr *sock_local(const Sock *s);
/* Bytes of datagrams that surely fit into the receive buffer granted. */
guint64 sock_recv_window(const Sock *s);

/* One system call's worth of datagrams, at most SOCK_BATCH bursts. TRUE: there may be more. */
gboolean sock_receive(Sock *s, SockDatagramFn fn, void *user);

typedef enum { SOCK_SENT, SOCK_BLOCKED } SockSent;
typedef void (*SockTooBigFn)(void *user, const MagmaAddr *to, gsize size);
/* Sends b from byte *done on, which grows by what is gone (sent, or refused and reported). SOCK_BLOCKED: the rest waits for POLLOUT. */
SockSent sock_send(Sock *s, const MagmaBurst *b, gsize *done, SockTooBigFn too_big, void *user);

/* What the network said about earlier datagrams (IP_RECVERR), and what it quotes of them: from their first byte, as much as there is. */
typedef struct {
	void (*refused)(void *user, const MagmaAddr *to, const guint8 *quoted, gsize n);
	void (*too_big)(void *user, const MagmaAddr *to, const guint8 *quoted, gsize n, gsize size);
} SockErrorFns;
void sock_errors(Sock *s, const SockErrorFns *fns, void *user);

void sock_addr_to_system(const MagmaAddr *a, struct sockaddr_storage *out, socklen_t *len);
gboolean sock_addr_from_system(const struct sockaddr_storage *in, MagmaAddr *out);
