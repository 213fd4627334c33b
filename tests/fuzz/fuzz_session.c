/* A session against anything: the input is a list of events at a responder with one established session. Each event is a byte that says
 * what, a length (16 bits) and so many bytes:
 *   0  a datagram from a stranger             1  a datagram that claims to be the peer's
 *   2  frames sealed with the peer's keys: a peer that holds the key and breaks the protocol
 *   3  time passes: the bytes are microseconds (24 bits)
 *   4  the hello of the peer once more, changed: offset (8 bits), xor
 *   5  an event of 2 with the key of the next phase
 *   6  an event of 2 that comes from the stranger: a peer that moves, or somebody on the path
 *   7  what an ICMP message quotes: nobody listens, too big
 * Whatever comes, nothing is asserted, nothing grows beyond its limits, and what is sent is well-formed. */
#include "libmagma/xport/internal.h"
#include "libmagma/base/wire.h"
#include "tests/fuzz/fuzz.h"

#define FRAMES_MAX 60000

typedef struct {
	MagmaEndpoint *ep;
	MagmaConn *conn;
	guint64 random;
} Side;

static void op_random(void *user, void *buf, gsize n)
{
	Side *s = user;
	guint8 *p = buf;
	while (n--) {
		s->random = s->random * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
		*p++ = (guint8)(s->random >> 56);
	}
}

static void op_open(void *user, MagmaConn *c)
{
	((Side *)user)->conn = c;
}

static void op_message(void *user, MagmaConn *c, GBytes *msg)
{
	g_assert_cmpuint(g_bytes_get_size(msg), <=, MAGMA_MSG_MAX);
	if (g_bytes_get_size(msg) < 2000)
		magma_conn_send(c, msg, NULL);
}

static void op_close(void *user, MagmaConn *c, MagmaCloseReason why)
{
	Side *s = user;
	if (s->conn == c)
		s->conn = NULL;
}

static Side side_new(guint64 random)
{
	return (Side){ .random = random };
}

static void side_start(Side *s)
{
	const MagmaXportOps ops = { op_random, op_open, op_message, op_close, NULL };
	const MagmaXportConfig cfg = { .prologue = "fuzz", .accept = TRUE };
	s->ep = magma_endpoint_new(&cfg, &ops, s);
}

static guint8 burst_space[1 << 17], hello[HELLO_LEN];
static const MagmaAddr stranger = { .family = 4, .ip = { 10, 0, 0, 66 }, .port = 1 };
static guint64 from_stranger, to_stranger;    /* bytes */

/* Sends what from has to say; to may be NULL: into the void. */
static void carry(Side *from, Side *to, MagmaTime now, const MagmaAddr *addr)
{
	MagmaBurst b = { .buf = burst_space, .max = sizeof burst_space };
	while (magma_endpoint_poll(from->ep, now, &b)) {
		g_assert_cmpuint(b.len, >, 0);
		g_assert_cmpuint(b.len, <=, 65507);
		g_assert_cmpuint(b.segment, >, 0);
		if (b.len == HELLO_LEN && b.buf[0] == DGRAM_HELLO)
			memcpy(hello, b.buf, HELLO_LEN);
		if (magma_addr_equal(&b.to, &stranger))
			to_stranger += b.len;
		for (gsize at = 0; to && at < b.len; at += b.segment)
			magma_endpoint_input(to->ep, now, addr, b.buf + at, MIN(b.segment, b.len - at));
	}
	if (to)
		magma_endpoint_input_done(to->ep, now);
}

static void say(MagmaConn *c, Side *to, MagmaTime now, const MagmaAddr *from, const guint8 *frames, gsize n)
{
	g_autofree guint8 *d = g_malloc(DATA_OVERHEAD + n);
	d[0] = (guint8)(DGRAM_DATA | (c->tx.phase & 1));
	put_be(d + 1, c->peer_cid, 8);
	put_be(d + DGRAM_PREFIX, c->loss.next, 4);
	sealer_begin(&c->tx, c->loss.next, d, DATA_HEADER);
	sealer_piece(&c->tx, d + DATA_HEADER, frames, n);
	sealer_end(&c->tx, d + DATA_HEADER + n);
	c->loss.next++;
	c->loss.base = c->loss.next;
	magma_endpoint_input(to->ep, now, from, d, DATA_OVERHEAD + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Side peer = side_new(1), us = side_new(2);
	MagmaAddr peer_addr = { .family = 4, .ip = { 10, 0, 0, 1 }, .port = 1 }, our_addr = peer_addr;
	MagmaTime now = 1000000;
	MagmaReader r = magma_reader(data, size);

	our_addr.port = 2;
	from_stranger = to_stranger = 0;
	side_start(&peer);
	side_start(&us);
	MagmaConn *c = magma_conn_connect(peer.ep, now, &our_addr);
	for (guint i = 0; i < 3; i++) {
		carry(&peer, &us, now, &peer_addr);
		carry(&us, &peer, now, &our_addr);
	}
	g_assert_nonnull(us.conn);
	while (r.left && !r.error) {
		guint8 what = magma_get_u8(&r);
		gsize asked = magma_get_u16(&r), n = MIN(asked, r.left);
		const guint8 *p = magma_get_bytes(&r, n);
		if (r.error)
			break;
		if (what == 0 || what == 6)
			from_stranger += n + (what ? DATA_OVERHEAD : 0);
		if (what <= 1) {
			magma_endpoint_input(us.ep, now, what ? &peer_addr : &stranger, p, n);
		} else if (what == 2 || what == 5 || what == 6) {
			if (what == 5)
				sealer_rekey(&c->tx, c->loss.next);
			say(c, &us, now, what == 6 ? &stranger : &peer_addr, p, MIN(n, FRAMES_MAX));
		} else if (what == 7) {
			magma_endpoint_refused(us.ep, &peer_addr, p, n);
			magma_endpoint_quoted_too_big(us.ep, &peer_addr, p, n, 1000 + n);
		} else if (what == 3 && n >= 3) {
			now += (MagmaTime)get_be(p, 3);
			magma_endpoint_tick(us.ep, now);
		} else if (what == 4 && n >= 2) {
			guint8 changed[HELLO_LEN];
			memcpy(changed, hello, HELLO_LEN);
			changed[p[0] % HELLO_LEN] ^= p[1];
			magma_endpoint_input(us.ep, now, &peer_addr, changed, HELLO_LEN);
		}
		magma_endpoint_input_done(us.ep, now);
		carry(&us, NULL, now, NULL);
		g_assert_cmpuint(to_stranger, <=, 3 * from_stranger);
		if (us.conn)
			g_assert_cmpuint(us.conn->recvq.buffered, <=, RECV_LIMIT);
		g_assert_cmpuint(us.ep->n_half, <=, HALF_OPEN_MAX);
	}
	magma_endpoint_free(us.ep);
	magma_endpoint_free(peer.ep);
	return 0;
}
