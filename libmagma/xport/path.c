/* Where the peer is. Rules V1-V4 of docs/protocol-sessions.md: a responder follows its peer to another address only when it is heard from there. */
#include "libmagma/xport/internal.h"
#include <openssl/crypto.h>

#define AMPLIFY 3                     /* RFC 9000, 8.1: so many times what came from an address may go there before it is known to be the peer's */
#define GIVE_UP_PTOS 3                /* RFC 9000, 8.2.4 */
#define FIRST_PTO (300 * MSEC)        /* of a path of which nothing is known: L2's first round-trip time, RFC 9002, 6.2 */

static void forget(MagmaConn *c)
{
	OPENSSL_cleanse(&c->path, sizeof c->path);
}

static void begin(MagmaConn *c, MagmaTime now, const MagmaAddr *from, gsize n)
{
	Path *p = &c->path;
	char a[MAGMA_ADDR_TEXT], b[MAGMA_ADDR_TEXT];
	MAGMA_TRACE(c->ep->cfg.trace, 'n', "session %016" G_GINT64_MODIFIER "x of %s is heard from %s: challenge", c->cid, magma_addr_format(&c->peer, a),
		    magma_addr_format(from, b));
	*p = (Path){ .addr = *from, .asked = TRUE, .due = TRUE, .received = n, .next = NEVER };
	p->until = now + GIVE_UP_PTOS * MAX(loss_pto(&c->loss), FIRST_PTO);
	c->ep->ops.random(c->ep->user, p->data, sizeof p->data);
}

void xpath_heard(MagmaConn *c, MagmaTime now, const MagmaAddr *from, gsize n, gboolean newest)
{
	Path *p = &c->path;
	if (c->initiator)
		return;
	if (p->asked && magma_addr_equal(from, &p->addr)) {
		p->received += n;
	} else if (!newest) {
		return;
	} else if (!magma_addr_equal(from, &c->peer)) {
		begin(c, now, from, n);
	} else if (p->asked) {
		forget(c);               /* rule V4: it is where it was */
	}
}

/* Rule V3. What was sent of late went to the old address: what is in flight is sent again at once, and what was acknowledged is acknowledged again. */
static void move(MagmaConn *c, MagmaTime now)
{
	char a[MAGMA_ADDR_TEXT], b[MAGMA_ADDR_TEXT];
	MagmaAddr to = c->path.addr;
	gboolean other_host = c->peer.family != to.family || memcmp(c->peer.ip, to.ip, sizeof to.ip) != 0;
	MAGMA_TRACE(c->ep->cfg.trace, 'n', "session %016" G_GINT64_MODIFIER "x moves from %s to %s", c->cid, magma_addr_format(&c->peer, a),
		    magma_addr_format(&to, b));
	c->peer = to;
	forget(c);
	if (other_host) {
		pmtu_new_path(&c->pmtu);
		loss_new_path(&c->loss, c->pmtu.mtu);
	}
	loss_refused(&c->loss, now, 0);
	if (!c->loss.flying)
		c->waiting_since = 0;
	c->unacked = MAX(c->unacked, 1);
	c->prompt = TRUE;
}

void xpath_response(MagmaConn *c, MagmaTime now, const MagmaAddr *from, const guint8 *data)
{
	const Path *p = &c->path;
	if (p->asked && p->sent && magma_addr_equal(from, &p->addr) && CRYPTO_memcmp(p->data, data, PATH_DATA) == 0)
		move(c, now);
}

MagmaTime xpath_deadline(const MagmaConn *c)
{
	return c->path.asked ? MIN(c->path.next, c->path.until) : NEVER;
}

void xpath_tick(MagmaConn *c, MagmaTime now)
{
	Path *p = &c->path;
	if (!p->asked)
		return;
	if (now >= p->until) {
		char text[MAGMA_ADDR_TEXT];
		MAGMA_TRACE(c->ep->cfg.trace, 'n', "session %016" G_GINT64_MODIFIER "x: no answer from %s", c->cid, magma_addr_format(&p->addr, text));
		forget(c);
	} else if (now >= p->next) {
		p->due = TRUE;
		p->next = NEVER;
	}
}

gboolean xpath_poll(MagmaConn *c, MagmaTime now, MagmaBurst *out)
{
	Path *p = &c->path;
	if (p->asked && p->due) {
		p->due = FALSE;
		p->next = now + loss_pto(&c->loss);
		if (p->sent + PATH_DGRAM <= AMPLIFY * p->received) {
			out->to = p->addr;
			out->len = xconn_seal_path(c, FRAME_CHALLENGE, p->data, out->buf);
			p->sent += out->len;
		}
	}
	if (!out->len && c->challenged) {
		c->challenged = FALSE;
		out->len = xconn_seal_path(c, FRAME_RESPONSE, c->challenge, out->buf);
	}
	out->segment = (guint16)out->len;
	return out->len > 0;
}
