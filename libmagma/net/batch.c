/* Datagrams in batches: UDP_GRO and UDP_SEGMENT where the kernel has them, recvmmsg and sendmmsg everywhere. */
#include "libmagma/net/sock-internal.h"
#include <errno.h>
#include <string.h>

/* Limits of the kernel for one UDP_SEGMENT send: UDP_MAX_SEGMENTS, and one IP packet (IPv4's header counts there, IPv6's does not). */
#define GSO_SEGMENTS 64u
#define GSO_BYTES (65535u - 20u - 8u)
/* Datagrams of one sendmmsg() where there is no UDP_SEGMENT: one burst of 64 KiB at 1,400 bytes is 47. */
#define SEND_BATCH 48u
/* sendmsg() reports an error of an earlier datagram instead of sending, one at a time. */
#define PENDING_ERRORS 8

void sock_batches_init(Sock *s)
{
	s->nbatch = s->gro ? SOCK_BATCH : SOCK_BATCH_PLAIN;
	s->in_space = g_malloc((gsize)s->nbatch * SOCK_BURST_MAX);
	for (guint i = 0; i < s->nbatch; i++) {
		s->in_iov[i] = (struct iovec){ s->in_space + (gsize)i * SOCK_BURST_MAX, SOCK_BURST_MAX };
		s->in[i].msg_hdr = (struct msghdr){ .msg_name = &s->in_from[i], .msg_iov = &s->in_iov[i], .msg_iovlen = 1 };
	}
}

/* The size of the datagrams a burst was put together from; the burst's own where it is one. */
static gsize segment_size(struct msghdr *m, gsize len)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int size;
			memcpy(&size, CMSG_DATA(c), sizeof size);
			return size > 0 ? (gsize)size : len;
		}
	return len;
}

static void hand_out(Sock *s, guint i, SockDatagramFn fn, void *user)
{
	struct mmsghdr *mm = &s->in[i];
	const guint8 *p = s->in_iov[i].iov_base;
	gsize left = mm->msg_len, segment = segment_size(&mm->msg_hdr, left);
	MagmaAddr from;

	if ((mm->msg_hdr.msg_flags & MSG_TRUNC) || !sock_addr_from_system(&s->in_from[i], &from))
		return;
	while (left > 0) {
		gsize n = MIN(left, segment);
		fn(user, &from, p, n);
		p += n;
		left -= n;
	}
}

gboolean sock_receive(Sock *s, SockDatagramFn fn, void *user)
{
	for (guint i = 0; i < s->nbatch; i++) {
		s->in[i].msg_hdr.msg_namelen = sizeof s->in_from[i];
		s->in[i].msg_hdr.msg_control = s->in_control[i];
		s->in[i].msg_hdr.msg_controllen = s->gro ? sizeof s->in_control[i] : 0;
		s->in[i].msg_hdr.msg_flags = 0;
	}
	int n = recvmmsg(s->fd, s->in, s->nbatch, MSG_DONTWAIT, NULL);
	if (n < 0)    /* an error of an earlier send is taken from the queue by sock_errors(); look again */
		return errno != EAGAIN && errno != EWOULDBLOCK && errno != EBADF;
	for (int i = 0; i < n; i++)
		hand_out(s, (guint)i, fn, user);
	return (guint)n == s->nbatch;
}

typedef struct {
	const MagmaBurst *b;
	struct sockaddr_storage to;
	socklen_t tolen;
	SockTooBigFn too_big;
	void *user;
} Send;

/* What an errno of a send means: wait, look again, or this datagram is gone. */
typedef enum { SEND_WAIT, SEND_AGAIN, SEND_TOO_BIG, SEND_GONE } SendErr;

static SendErr send_error(int err, guint *pending)
{
	switch (err) {
	case EAGAIN:
		return SEND_WAIT;
	case EMSGSIZE:
		/* an ICMP for an earlier datagram, perhaps to somebody else, says it too: only one that is refused twice is itself too big */
		return (*pending)++ < 1 ? SEND_AGAIN : SEND_TOO_BIG;
	case EINTR:
		return SEND_AGAIN;
	case ECONNREFUSED: case EHOSTUNREACH: case ENETUNREACH: case EPROTO: case ENOPROTOOPT: case EHOSTDOWN: case EOPNOTSUPP: case EACCES:
		/* of an earlier datagram, perhaps to somebody else: once more, unless it is this one's own and stays */
		return (*pending)++ < PENDING_ERRORS ? SEND_AGAIN : SEND_GONE;
	default:
		return SEND_GONE;     /* ENOBUFS and the like: lost, as datagrams may be */
	}
}

static gsize segment_of(const MagmaBurst *b)
{
	return b->segment ? b->segment : MAX(b->len, 1);
}

/* Segments one by one, in one system call where it works. */
static SockSent send_plain(Sock *s, Send *t, gsize *done, gsize end)
{
	gsize segment = segment_of(t->b);
	guint pending = 0;

	while (*done < end) {
		struct mmsghdr mm[SEND_BATCH];
		struct iovec iov[SEND_BATCH];
		guint n = 0;
		for (gsize at = *done; at < end && n < SEND_BATCH; n++) {
			iov[n] = (struct iovec){ t->b->buf + at, MIN(segment, end - at) };
			mm[n] = (struct mmsghdr){ .msg_hdr = { .msg_name = &t->to, .msg_namelen = t->tolen, .msg_iov = &iov[n], .msg_iovlen = 1 } };
			at += iov[n].iov_len;
		}
		int sent = sendmmsg(s->fd, mm, n, MSG_DONTWAIT);
		if (sent > 0) {
			for (int i = 0; i < sent; i++)
				*done += iov[i].iov_len;
			pending = 0;
			continue;
		}
		SendErr e = send_error(errno, &pending);
		if (e == SEND_WAIT)
			return SOCK_BLOCKED;
		if (e == SEND_AGAIN)
			continue;
		if (e == SEND_TOO_BIG)
			t->too_big(t->user, &t->b->to, iov[0].iov_len);
		pending = 0;
		*done += iov[0].iov_len;
	}
	return SOCK_SENT;
}

/* One call of the kernel's for many segments. -1 with errno. */
static gssize send_segmented(Sock *s, Send *t, gsize at, gsize n)
{
	guint8 control[CMSG_SPACE(sizeof(guint16))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { t->b->buf + at, n };
	struct msghdr m = { .msg_name = &t->to, .msg_namelen = t->tolen, .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > segment_of(t->b)) {
		m.msg_control = control;
		m.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(guint16));
		memcpy(CMSG_DATA(c), &t->b->segment, sizeof(guint16));
	}
	return sendmsg(s->fd, &m, MSG_DONTWAIT);
}

SockSent sock_send(Sock *s, const MagmaBurst *b, gsize *done, SockTooBigFn too_big, void *user)
{
	Send t = { .b = b, .too_big = too_big, .user = user };
	gsize segment = segment_of(b);
	guint pending = 0;

	sock_addr_to_system(&b->to, &t.to, &t.tolen);
	if (b->len - *done > segment && !s->gso)
		return send_plain(s, &t, done, b->len);
	gsize most = MAX(MIN(GSO_SEGMENTS, GSO_BYTES / segment), 1) * segment;
	while (*done < b->len) {
		gsize n = MIN(b->len - *done, most);
		if (send_segmented(s, &t, *done, n) >= 0) {
			*done += n;
			continue;
		}
		int err = errno;
		if (n > segment && (err == EINVAL || err == EMSGSIZE || err == EIO)) {
			/* a segment over the device's MTU says EINVAL or EMSGSIZE by kernel; EIO: this route cannot segment (IPsec, no checksums) */
			if (err == EIO)
				s->gso = FALSE;
			if (send_plain(s, &t, done, *done + n) == SOCK_BLOCKED)
				return SOCK_BLOCKED;
			continue;
		}
		SendErr e = send_error(err, &pending);
		if (e == SEND_WAIT)
			return SOCK_BLOCKED;
		if (e == SEND_AGAIN)
			continue;
		if (e == SEND_TOO_BIG)
			too_big(user, &b->to, n);
		pending = 0;
		*done += n;
	}
	return SOCK_SENT;
}
