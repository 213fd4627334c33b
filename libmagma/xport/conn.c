/* The life of a session and its timers. */
#include "libmagma/xport/internal.h"
#include <openssl/crypto.h>

#define KEEPALIVE (20 * SEC)          /* T2 of docs/protocol-sessions.md */
#define PEER_GONE (60 * SEC)          /* T3: three keepalives missed */
#define SUSPECT (300 * MSEC)          /* T4 */
#define SUSPECT_PTOS 2
#define SILENT (10 * SEC)             /* T5 */
#define BLACK_HOLE_PTOS 3             /* M4 */
#define BLACK_HOLE_AFTER (150 * MSEC)

MagmaConn *xconn_new(MagmaEndpoint *ep, const MagmaAddr *peer, gboolean initiator)
{
	MagmaConn *c = g_new0(MagmaConn, 1);
	c->ep = ep;
	c->initiator = initiator;
	c->state = initiator ? XC_HELLO : XC_HALF;
	c->unknown = !initiator;
	c->peer = *peer;
	c->hs = g_new0(Handshake, 1);
	c->ack_at = c->deadline = NEVER;
	c->last_heard = ep->now;
	c->link.data = c->ready_link.data = c->touched_link.data = c;
	do {
		ep->ops.random(ep->user, &c->cid, sizeof c->cid);
	} while (c->cid == 0 || g_hash_table_contains(ep->by_cid, &c->cid));
	recvq_init(&c->recvq);
	loss_init(&c->loss, &xconn_loss_ops, c, PMTU_BASE);
	pmtu_init(&c->pmtu, PMTU_BASE);
	g_hash_table_insert(ep->by_cid, &c->cid, c);
	g_queue_push_tail_link(&ep->all, &c->link);
	if (!initiator) {
		g_assert(ep->n_half < HALF_OPEN_MAX);
		ep->half[ep->n_half++] = c;
	}
	return c;
}

static void half_remove(MagmaConn *c)
{
	MagmaEndpoint *ep = c->ep;
	guint i = 0;
	while (ep->half[i] != c)
		i++;
	ep->n_half--;
	memmove(&ep->half[i], &ep->half[i + 1], (ep->n_half - i) * sizeof ep->half[0]);
}

static void leave_lists(MagmaConn *c)
{
	MagmaEndpoint *ep = c->ep;
	if (c->ready)
		g_queue_unlink(&ep->ready, &c->ready_link);
	if (c->touched)
		g_queue_unlink(&ep->touched, &c->touched_link);
	c->ready = c->touched = FALSE;
	timers_set(ep, c, NEVER);
}

static void cut_parallel(MagmaConn *c)
{
	if (c->parallel)
		c->parallel->replaces = NULL;
	if (c->replaces)
		c->replaces->parallel = NULL;
	c->parallel = c->replaces = NULL;
}

void xconn_free(MagmaConn *c)
{
	if (c->hs)
		OPENSSL_cleanse(c->hs, sizeof *c->hs);
	g_free(c->hs);
	if (c->tx.key.ctx) {
		sealer_clear(&c->tx);
		opener_clear(&c->rx);
	}
	loss_clear(&c->loss);
	sendq_clear(&c->sendq);
	recvq_clear(&c->recvq);
	rangeset_clear(&c->received);
	g_free(c);
}

void xconn_die(MagmaConn *c, MagmaCloseReason why)
{
	MagmaEndpoint *ep = c->ep;
	if (c->state == XC_DEAD)
		return;
	if (c->opened)
		ep->n_open--;
	if (c->state == XC_HALF)
		half_remove(c);
	MAGMA_TRACE(ep->cfg.trace, 'n', "session %016" G_GINT64_MODIFIER "x ends, reason %d", c->cid, why);
	MagmaConn *parallel = c->parallel;
	c->state = XC_DEAD;
	c->why = why;
	cut_parallel(c);
	leave_lists(c);
	g_hash_table_remove(ep->by_cid, &c->cid);
	g_queue_unlink(&ep->all, &c->link);
	g_queue_push_tail_link(&ep->dead, &c->link);
	if (parallel)
		xconn_die(parallel, why);
}

void xconn_violation(MagmaConn *c, const char *what)
{
	guint8 bytes[CONTROL_LEN];
	MAGMA_TRACE(c->ep->cfg.trace, 'n', "session %016" G_GINT64_MODIFIER "x: the peer broke the protocol: %s", c->cid, what);
	if (c->state != XC_OPEN && c->state != XC_CLOSING)
		return;
	xep_control(c->ep, &c->peer, bytes, xconn_seal_close(c, FRAME_CLOSE_PROTOCOL, bytes));
	xconn_die(c, MAGMA_CLOSE_PROTOCOL);
}

static void hex(GString *s, const guint8 *p, gsize n)
{
	for (gsize i = 0; i < n; i++)
		g_string_append_printf(s, "%02x", p[i]);
}

/* Rule K4: the line is written again when a key changes. */
void xconn_keylog(MagmaConn *c)
{
	if (!c->ep->ops.keylog)
		return;
	const SealKey *mine = &c->tx.key, *theirs = &c->rx.now;
	const SealKey *i2r = c->initiator ? mine : theirs, *r2i = c->initiator ? theirs : mine;
	g_autoptr(GString) s = g_string_new("MAGMA_TRAFFIC ");
	g_string_append_printf(s, "%016" G_GINT64_MODIFIER "x ", c->initiator ? c->peer_cid : c->cid);
	hex(s, i2r->key, 32);
	g_string_append_c(s, ' ');
	hex(s, r2i->key, 32);
	g_string_append_c(s, ' ');
	hex(s, i2r->iv, 12);
	g_string_append_c(s, ' ');
	hex(s, r2i->iv, 12);
	g_string_append_printf(s, " %016" G_GINT64_MODIFIER "x %s %u %u", c->initiator ? c->cid : c->peer_cid,
			       c->suite == SEAL_AES256GCM ? "aes256gcm" : "chacha20poly1305", c->initiator ? c->tx.phase : c->rx.phase,
			       c->initiator ? c->rx.phase : c->tx.phase);
	c->ep->ops.keylog(c->ep->user, s->str);
}

void xconn_set_keys(MagmaConn *c, const guint8 i2r[32], const guint8 r2i[32], SealSuite suite, gsize peer_window)
{
	c->suite = suite;
	sealer_init(&c->tx, suite, c->initiator ? i2r : r2i);
	opener_init(&c->rx, suite, c->initiator ? r2i : i2r);
	c->peer_window = MAX(peer_window, MIN_RECV_WINDOW);
	pmtu_init(&c->pmtu, (guint)MIN(c->peer_window / 2, PMTU_MAX));
	xconn_keylog(c);
}

void xconn_opened(MagmaConn *c)
{
	MagmaEndpoint *ep = c->ep;
	MagmaConn *old = c->replaces;
	guint8 bytes[CONTROL_LEN];
	if (c->state == XC_HALF)
		half_remove(c);
	c->state = XC_OPEN;
	c->unknown = FALSE;
	c->opened = TRUE;
	c->last_heard = c->idle_from = ep->now;
	ep->n_open++;
	ep->stats.handshakes++;
	OPENSSL_cleanse(c->hs, sizeof *c->hs);
	g_clear_pointer(&c->hs, g_free);
	MAGMA_TRACE(ep->cfg.trace, 'n', "session %016" G_GINT64_MODIFIER "x opens", c->cid);
	xep_event(ep, EVENT_OPEN, c, NULL);
	if (old) {
		cut_parallel(c);
		xep_control(ep, &old->peer, bytes, xconn_seal_close(old, FRAME_CLOSE_GOODBYE, bytes));
		xconn_die(old, MAGMA_CLOSE_REPLACED);
	}
	xconn_ready(c);
}

void xconn_ready(MagmaConn *c)
{
	if (c->ready || c->state == XC_DEAD)
		return;
	c->ready = TRUE;
	g_queue_push_tail_link(&c->ep->ready, &c->ready_link);
}

void xconn_mtu_changed(MagmaConn *c)
{
	cc_set_mss(&c->loss.cc, c->pmtu.mtu);
	MAGMA_TRACE(c->ep->cfg.trace, 'n', "session %016" G_GINT64_MODIFIER "x: path MTU %u", c->cid, c->pmtu.mtu);
}

static void on_acked(void *user, SentPacket *p)
{
	MagmaConn *c = user;
	sendq_acked(&c->sendq, p->frames);
	if (p->ack_largest) {
		/* The peer knows what that acknowledgement said: it need not be repeated. */
		guint old = 0;
		while (old + 1 < c->received.n && c->received.v[old].hi < p->ack_largest)
			old++;
		rangeset_drop_low(&c->received, old);
	}
	if (pmtu_acked(&c->pmtu, p->size, p->probe))
		xconn_mtu_changed(c);
}

static void on_lost(void *user, SentPacket *p)
{
	MagmaConn *c = user;
	if (!p->probe)
		c->ep->stats.lost++;
	sendq_lost(&c->sendq, p->frames);
	if (pmtu_lost(&c->pmtu, c->ep->now, p->size, p->probe))
		xconn_mtu_changed(c);
}

static void on_again(void *user, SentPacket *p)
{
	MagmaConn *c = user;
	sendq_lost(&c->sendq, p->frames);
}

static void on_forget(void *user, SentPacket *p)
{
	MagmaConn *c = user;
	sendq_forget(&c->sendq, p->frames);
}

const LossOps xconn_loss_ops = { on_acked, on_lost, on_again, on_forget };

static MagmaTime idle_deadline(const MagmaConn *c)
{
	if (!c->initiator)
		return c->last_heard + PEER_GONE;
	if (!c->waiting_since)
		return c->idle_from + KEEPALIVE;
	if (!c->parallel)
		return c->loss.pto_count >= SUSPECT_PTOS ? c->waiting_since + SUSPECT : NEVER;
	return MAX(c->waiting_since, c->parallel->hs->started - SUSPECT) + SILENT;
}

static MagmaTime deadline(const MagmaConn *c)
{
	switch (c->state) {
	case XC_HELLO:
	case XC_HALF:
		return handshake_deadline(c);
	case XC_OPEN:
		/* An acknowledgement that is due leaves at the next poll, which is bound to come when the session is ready. */
		return MIN(MIN(loss_deadline(&c->loss), c->ready ? NEVER : c->ack_at), MIN(idle_deadline(c), xpath_deadline(c)));
	default:
		return NEVER;
	}
}

void xconn_rearm(MagmaConn *c)
{
	if (c->state != XC_DEAD)
		timers_set(c->ep, c, deadline(c));
}

/* Rule T4: a peer that was restarted does not know this session; one that only hangs will answer it. */
void xconn_start_parallel(MagmaConn *c, MagmaTime now)
{
	MagmaConn *p = xconn_new(c->ep, &c->peer, TRUE);
	p->unknown = TRUE;
	p->replaces = c;
	c->parallel = p;
	MAGMA_TRACE(c->ep->cfg.trace, 'n', "session %016" G_GINT64_MODIFIER "x is silent: parallel handshake %016" G_GINT64_MODIFIER "x", c->cid, p->cid);
	handshake_start(p, now);
}

static void idle_tick(MagmaConn *c, MagmaTime now)
{
	if (!c->initiator) {
		xconn_die(c, MAGMA_CLOSE_SILENT);
	} else if (!c->waiting_since) {
		c->ping_due = TRUE;
		c->idle_from = now;            /* asked now: the answer, or waiting_since, decides */
	} else if (!c->parallel) {
		xconn_start_parallel(c, now);
	} else {
		xconn_die(c, MAGMA_CLOSE_SILENT);
	}
}

static void loss_tick(MagmaConn *c, MagmaTime now)
{
	guint before = c->loss.pto_count;
	loss_timeout(&c->loss, now);
	if (c->loss.pto_count == before)
		return;
	if (c->loss.ping || !sendq_ready(&c->sendq, FALSE))
		c->ping_due = TRUE;
	if (c->loss.pto_count >= BLACK_HOLE_PTOS && now - c->waiting_since >= BLACK_HOLE_AFTER && pmtu_black_hole(&c->pmtu, now))
		xconn_mtu_changed(c);
}

void xconn_tick(MagmaConn *c, MagmaTime now)
{
	if (c->state == XC_HELLO || c->state == XC_HALF) {
		handshake_tick(c, now);
	} else if (c->state == XC_OPEN) {
		if (loss_deadline(&c->loss) <= now)
			loss_tick(c, now);
		xpath_tick(c, now);
		/* the last in flight may have left it with nothing to repeat (a lost probe): then nothing is waited for */
		if (!c->loss.flying && !c->parallel)
			c->waiting_since = 0;
		if (idle_deadline(c) <= now)
			idle_tick(c, now);
		xconn_ready(c);
	}
	xconn_rearm(c);
}
