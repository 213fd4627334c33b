/* What the system and the network say of datagrams that were sent. Rule T6 of docs/protocol-sessions.md: anybody can make an ICMP message, so it is taken for no more than a hint, and for that only
 * when it quotes what a session really sent. */
#include "libmagma/xport/internal.h"

#define HINT_EVERY SEC                /* a session begins no more handshakes for hints; T4 needs none */
#define HINT_COST (100 * MSEC)        /* all sessions together: ten a second ... */
#define HINT_BURST (16 * HINT_COST)   /* ... after 16 at once: a host that was restarted had one session with us, or a few */

static void too_big(MagmaConn *c, gsize size)
{
	if (pmtu_too_big(&c->pmtu, c->ep->now, (guint)MIN(size, G_MAXUINT16)))
		xconn_mtu_changed(c);
	loss_refused(&c->loss, c->ep->now, (guint)MIN(size, G_MAXUINT16));
	if (!c->loss.flying)
		c->waiting_since = 0;
	xconn_ready(c);
	xconn_rearm(c);
}

void magma_endpoint_too_big(MagmaEndpoint *ep, const MagmaAddr *to, gsize size)
{
	/* Nothing smaller is sent (M1), so it helps nobody to know. */
	if (size <= PMTU_BASE)
		return;
	for (GList *l = ep->all.head; l; l = l->next) {
		MagmaConn *c = l->data;
		if (c->state == XC_OPEN && magma_addr_equal(&c->peer, to))
			too_big(c, size);
	}
}

/* Did c send what begins with these n bytes, and does it not know yet what became of it? */
static gboolean sent_this(const MagmaConn *c, const guint8 *p, gsize n)
{
	if (c->state == XC_HELLO)
		return n > DGRAM_PREFIX && memcmp(p, c->hs->hello, MIN(n, HELLO_LEN)) == 0;
	if (c->state != XC_OPEN || n < DATA_HEADER || (p[0] & ~1) != DGRAM_DATA || get_be(p + 1, 8) != c->peer_cid)
		return FALSE;
	guint32 back = (guint32)c->loss.next - (guint32)get_be(p + DGRAM_PREFIX, 4);
	return back > 0 && back <= c->loss.next - c->loss.base;
}

static MagmaConn *find_sender(const MagmaEndpoint *ep, const MagmaAddr *to, const guint8 *p, gsize n)
{
	for (GList *l = ep->all.head; l; l = l->next) {
		MagmaConn *c = l->data;
		if (magma_addr_equal(&c->peer, to) && sent_this(c, p, n))
			return c;
	}
	return NULL;
}

void magma_endpoint_quoted_too_big(MagmaEndpoint *ep, const MagmaAddr *to, const guint8 *quoted, gsize n, gsize size)
{
	MagmaConn *c = find_sender(ep, to, quoted, n);
	if (!c)
		ep->stats.hints_ignored++;
	else if (c->state == XC_OPEN && size > PMTU_BASE)      /* or it would make the session send again what is in flight */
		too_big(c, size);
}

static gboolean may_begin(MagmaConn *c)
{
	MagmaEndpoint *ep = c->ep;
	ep->hint_tokens = MIN(ep->hint_tokens + (guint64)MAX(ep->now - ep->hint_time, 0), (guint64)HINT_BURST);
	ep->hint_time = ep->now;
	if (ep->hint_tokens < HINT_COST || (c->hinted && ep->now - c->hinted < HINT_EVERY))
		return FALSE;
	ep->hint_tokens -= HINT_COST;
	c->hinted = MAX(ep->now, 1);
	return TRUE;
}

void magma_endpoint_refused(MagmaEndpoint *ep, const MagmaAddr *to, const guint8 *quoted, gsize n)
{
	MagmaConn *c = find_sender(ep, to, quoted, n);
	if (!c)
		ep->stats.hints_ignored++;
	else if (c->state == XC_HELLO)
		c->hs->refused = TRUE;
	else if (c->initiator && c->waiting_since && !c->parallel && may_begin(c)) {
		if (ep->ops.on_refused)
			xep_event(ep, EVENT_REFUSED, c, NULL);
		xconn_start_parallel(c, ep->now);
	}
}
