/* What sock.c and batch.c share. */
#pragma once
#include "libmagma/net/sock.h"
#include <netinet/in.h>
#include <netinet/udp.h>

/* Not in the libc headers of every distribution; values of linux/udp.h. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* Bursts one recvmmsg() may bring: so that one call empties the queue of a quiet socket and sees that it is empty. With GRO a burst is up to 64 KiB. */
#define SOCK_BATCH 8
#define SOCK_BURST_MAX 65536u
/* Without GRO a burst is one datagram: more of them, each no larger than the largest datagram of loopback's MTU. */
#define SOCK_BATCH_PLAIN 32

struct Sock {
	int fd;
	MagmaAddr local;
	guint64 recv_window;
	gboolean gso, gro;
	guint nbatch;
	guint8 *in_space;             /* nbatch buffers of SOCK_BURST_MAX, touched only as far as datagrams fill them */
	struct mmsghdr in[SOCK_BATCH_PLAIN];
	struct iovec in_iov[SOCK_BATCH_PLAIN];
	struct sockaddr_storage in_from[SOCK_BATCH_PLAIN];
	guint8 in_control[SOCK_BATCH_PLAIN][64] __attribute__((aligned(8)));
};

void sock_batches_init(Sock *s);
