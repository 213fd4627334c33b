/* The socket itself: options, feature detection, addresses, the error queue. */
#include "libmagma/net/sock-internal.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <unistd.h>

/* What one volcano or client may hold unread while its loop is busy elsewhere: 8 MiB is 10 ms at 6 Gbit/s, and 8 WRITEs. */
#define RCVBUF_WANTED (8 << 20)
/* More only adds delay before the pacing of the sessions is felt. */
#define SNDBUF_WANTED (2 << 20)
/* The kernel counts buffers, not bytes: 1,400 bytes may cost 2,304 (loopback, veth) to 4,600 (a page each). */
#define TRUESIZE_FACTOR 4
/* A turn looks at so many errors at most; the rest is there the next turn. */
#define ERRORS_PER_TURN 64

void sock_addr_to_system(const MagmaAddr *a, struct sockaddr_storage *out, socklen_t *len)
{
	memset(out, 0, sizeof *out);
	if (a->family == 6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = g_htons(a->port);
		memcpy(&in6->sin6_addr, a->ip, 16);
		in6->sin6_scope_id = a->scope;
		*len = sizeof *in6;
		return;
	}
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	in->sin_family = AF_INET;
	in->sin_port = g_htons(a->port);
	memcpy(&in->sin_addr, a->ip, 4);
	*len = sizeof *in;
}

gboolean sock_addr_from_system(const struct sockaddr_storage *in, MagmaAddr *out)
{
	memset(out, 0, sizeof *out);
	if (in->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)in;
		out->family = 4;
		memcpy(out->ip, &v4->sin_addr, 4);
		out->port = g_ntohs(v4->sin_port);
		return TRUE;
	}
	if (in->ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)in;
		out->family = 6;
		memcpy(out->ip, &v6->sin6_addr, 16);
		out->port = g_ntohs(v6->sin6_port);
		out->scope = v6->sin6_scope_id;
		return TRUE;
	}
	return FALSE;
}

static void set_int(int fd, int level, int option, int value)
{
	/* an option that an old kernel lacks costs speed or a hint, nothing else */
	(void)!setsockopt(fd, level, option, &value, sizeof value);
}

/* DF on every datagram, whatever the kernel believes about the path: the sessions probe it themselves. */
static void set_mtu_probe(Sock *s)
{
	if (s->local.family == 6) {
		set_int(s->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
		set_int(s->fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
		set_int(s->fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
	} else {
		set_int(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
		set_int(s->fd, IPPROTO_IP, IP_RECVERR, 1);
	}
}

static void set_buffers(Sock *s)
{
	int granted = 0, want = RCVBUF_WANTED;
	socklen_t len = sizeof granted;

	if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof want) < 0)
		set_int(s->fd, SOL_SOCKET, SO_RCVBUF, want);
	want = SNDBUF_WANTED;
	if (setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof want) < 0)
		set_int(s->fd, SOL_SOCKET, SO_SNDBUF, want);
	if (getsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &granted, &len) == 0 && granted > 0)
		s->recv_window = (guint64)granted / TRUESIZE_FACTOR;
}

/* MAGMA_NET_PLAIN=1 switches batches in the kernel off, for tests and for drivers that get them wrong. */
static void detect_batches(Sock *s)
{
	int zero = 0;
	const char *plain = g_getenv("MAGMA_NET_PLAIN");

	if (plain && *plain && strcmp(plain, "0") != 0)
		return;
	s->gso = setsockopt(s->fd, IPPROTO_UDP, UDP_SEGMENT, &zero, sizeof zero) == 0;
	int one = 1;
	s->gro = setsockopt(s->fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one) == 0;
}

static gboolean bind_socket(Sock *s, const MagmaAddr *addr)
{
	struct sockaddr_storage ss;
	socklen_t len;

	sock_addr_to_system(addr, &ss, &len);
	if (addr->family == 6)
		set_int(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (bind(s->fd, (struct sockaddr *)&ss, len) < 0)
		return FALSE;
	len = sizeof ss;
	return getsockname(s->fd, (struct sockaddr *)&ss, &len) == 0 && sock_addr_from_system(&ss, &s->local);
}

Sock *sock_new(const MagmaAddr *addr, GError **error)
{
	Sock *s = g_new0(Sock, 1);

	s->local = *addr;
	s->fd = socket(addr->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	if (s->fd < 0 || !bind_socket(s, addr)) {
		int err = errno;
		char text[MAGMA_ADDR_TEXT];
		g_set_error(error, MAGMA_ERROR, err, "UDP %s: %s", magma_addr_format(addr, text), g_strerror(err));
		sock_free(s);
		return NULL;
	}
	set_mtu_probe(s);
	set_buffers(s);
	detect_batches(s);
	sock_batches_init(s);
	return s;
}

void sock_free(Sock *s)
{
	if (s->fd >= 0)
		close(s->fd);
	g_free(s->in_space);
	g_free(s);
}

int sock_fd(const Sock *s) { return s->fd; }
const MagmaAddr *sock_local(const Sock *s) { return &s->local; }
guint64 sock_recv_window(const Sock *s) { return s->recv_window; }

static void error_apply(const struct sock_extended_err *e, const MagmaAddr *to, const guint8 *quoted, gsize n, const SockErrorFns *fns, void *user)
{
	gboolean icmp = e->ee_origin == SO_EE_ORIGIN_ICMP || e->ee_origin == SO_EE_ORIGIN_ICMP6;
	gsize headers = to->family == 6 ? 48 : 28;

	if (!icmp)
		return;       /* what the local stack refuses, sendmsg() has said already */
	if (e->ee_errno == ECONNREFUSED)
		fns->refused(user, to, quoted, n);
	else if (e->ee_errno == EMSGSIZE && e->ee_info > headers)
		fns->too_big(user, to, quoted, n, e->ee_info - headers + 1);
}

void sock_errors(Sock *s, const SockErrorFns *fns, void *user)
{
	for (guint i = 0; i < ERRORS_PER_TURN; i++) {
		struct sockaddr_storage to;
		guint8 control[512] __attribute__((aligned(8))), quoted[64];
		struct iovec iov = { quoted, sizeof quoted };
		struct msghdr m = { .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control, .msg_controllen = sizeof control };
		MagmaAddr addr;

		ssize_t n = recvmsg(s->fd, &m, MSG_ERRQUEUE);
		if (n < 0)
			return;
		if (m.msg_namelen == 0 || !sock_addr_from_system(&to, &addr))
			continue;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
			if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) || (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
				error_apply((const struct sock_extended_err *)CMSG_DATA(c), &addr, quoted, (gsize)n, fns, user);
	}
}
