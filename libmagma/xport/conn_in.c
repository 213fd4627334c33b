/* Datagrams of an established session: opened, taken apart, acknowledged. */
#include "libmagma/xport/internal.h"
#include "libmagma/base/wire.h"

#define ACK_SMALL 2000                /* bytes that may wait for company however many datagrams they are in: less than two full ones */

static void heard(MagmaConn *c, MagmaTime now)
{
	c->last_heard = c->idle_from = now;
	c->waiting_since = c->loss.flying ? MAX(now, 1) : 0;
	if (c->parallel)
		xconn_die(c->parallel, MAGMA_CLOSE_LOCAL);
}

/* Rule F2. */
static gboolean on_ack(MagmaConn *c, MagmaTime now, MagmaReader *r)
{
	Range ranges[ACK_RANGES_MAX];
	guint64 top = magma_get_varint(r), delay = magma_get_varint(r), n = magma_get_varint(r), len = magma_get_varint(r);
	if (r->error || n < 1 || n > ACK_RANGES_MAX || len > top)
		return FALSE;
	guint64 lo = top - len;
	ranges[0] = (Range){ lo, top + 1 };
	for (guint i = 1; i < n; i++) {
		guint64 gap = magma_get_varint(r);
		len = magma_get_varint(r);
		/* gap: missing packets less one; so the next range ends at lo - gap - 2 */
		if (r->error || lo < 2 || gap > lo - 2 || len > lo - 2 - gap)
			return FALSE;
		top = lo - 2 - gap;
		lo = top - len;
		ranges[i] = (Range){ lo, top + 1 };
	}
	return loss_acked(&c->loss, now, ranges, (guint)n, (MagmaTime)MIN(delay, (guint64)SEC));
}

static gboolean on_msg(MagmaConn *c, MagmaReader *r)
{
	guint64 id = magma_get_varint(r), total = magma_get_varint(r), off = magma_get_varint(r), len = magma_get_varint(r);
	if (r->error || len > r->left)
		return FALSE;
	const guint8 *data = magma_get_bytes(r, len);
	GBytes *whole = NULL;
	switch (recvq_add(&c->recvq, id, total, off, data, len, &whole)) {
	case RECV_WHOLE:
		c->ep->stats.messages_in++;
		xep_event(c->ep, EVENT_MESSAGE, c, whole);
		return TRUE;
	case RECV_OLD:
		c->prompt = TRUE;     /* the peer has no acknowledgement of it yet, and begins to doubt */
		return TRUE;
	case RECV_MORE:
		return TRUE;
	default:
		return FALSE;
	}
}

/* Rule V2: the last one asked is answered. */
static gboolean on_path(MagmaConn *c, MagmaTime now, const MagmaAddr *from, guint8 type, MagmaReader *r)
{
	const guint8 *data = magma_get_bytes(r, PATH_DATA);
	if (!data)
		return FALSE;
	if (type == FRAME_RESPONSE) {
		xpath_response(c, now, from, data);
	} else {
		memcpy(c->challenge, data, PATH_DATA);
		c->challenged = TRUE;
	}
	return TRUE;
}

/* TRUE: go on. eliciting: whether a frame was in it that is to be acknowledged. */
static gboolean on_frames(MagmaConn *c, MagmaTime now, const MagmaAddr *from, const guint8 *p, gsize n, gboolean *eliciting)
{
	MagmaReader r = magma_reader(p, n);
	while (r.left) {
		guint8 type = magma_get_u8(&r);
		switch (type) {
		case FRAME_PAD:
			r.left = 0;
			break;
		case FRAME_PING:
			*eliciting = c->prompt = TRUE;
			break;
		case FRAME_ACK:
			if (!on_ack(c, now, &r)) {
				xconn_violation(c, "bad ACK");
				return FALSE;
			}
			break;
		case FRAME_MSG:
			*eliciting = TRUE;
			if (!on_msg(c, &r)) {
				xconn_violation(c, "bad MSG");
				return FALSE;
			}
			break;
		case FRAME_CLOSE: {
			guint64 code = magma_get_varint(&r);
			xconn_die(c, code == FRAME_CLOSE_GOODBYE ? MAGMA_CLOSE_PEER : MAGMA_CLOSE_PROTOCOL);
			return FALSE;
		}
		case FRAME_CHALLENGE:
		case FRAME_RESPONSE:
			if (!on_path(c, now, from, type, &r)) {
				xconn_violation(c, "bad CHALLENGE or RESPONSE");
				return FALSE;
			}
			break;
		default:
			xconn_violation(c, "unknown frame");
			return FALSE;
		}
	}
	return TRUE;
}

/* Rule A1: remember what to acknowledge; when is decided after the burst. */
static void note_received(MagmaConn *c, MagmaTime now, guint64 pn, gsize n, gboolean eliciting)
{
	guint64 highest = c->received.n ? c->received.v[c->received.n - 1].hi : 0;
	if (eliciting && pn != highest && c->received.n)
		c->prompt = TRUE;
	if (pn >= highest)
		c->largest_time = now;
	rangeset_add(&c->received, pn, pn + 1);
	if (c->received.n > ACK_RANGES_MAX)
		rangeset_drop_low(&c->received, c->received.n - ACK_RANGES_MAX);
	if (!eliciting)
		return;
	c->unacked++;
	c->unacked_bytes += n;
}

void xconn_input(MagmaConn *c, MagmaTime now, const MagmaAddr *from, const guint8 *p, gsize n)
{
	MagmaXportStats *stats = &c->ep->stats;
	if (n < DATA_OVERHEAD + 1 || c->state == XC_HELLO) {
		stats->bad_form++;
		return;
	}
	guint64 pn = opener_expand(&c->rx, (guint32)get_be(p + DGRAM_PREFIX, 4));
	guint phase = c->rx.phase;
	gboolean newest = pn >= c->rx.expect, eliciting = FALSE;
	switch (opener_open(&c->rx, pn, p[0] & 1, p, DATA_HEADER, p + DATA_HEADER, n - DATA_HEADER, c->ep->scratch)) {
	case SEAL_REPLAYED:
		stats->replayed++;
		return;
	case SEAL_FORGED:
		stats->bad_tag++;
		if (c->rx.forged > SEAL_FORGERY_LIMIT)
			xconn_violation(c, "too many forged datagrams");
		return;
	case SEAL_OK:
		break;
	}
	if (c->rx.phase != phase)
		xconn_keylog(c);
	if (c->state == XC_HALF)
		xconn_opened(c);
	xpath_heard(c, now, from, n, newest);
	if (!on_frames(c, now, from, c->ep->scratch, n - DATA_OVERHEAD, &eliciting))
		return;
	note_received(c, now, pn, n, eliciting);
	heard(c, now);
	if (!c->touched) {
		c->touched = TRUE;
		g_queue_push_tail_link(&c->ep->touched, &c->touched_link);
	}
}

/* Rule A2: at once when something is out of order, repeated or asked, or much has come; otherwise a reply is likely to take it along. */
void xconn_input_done(MagmaConn *c, MagmaTime now)
{
	gsize much = MIN(c->ep->cfg.recv_window / 4, 32768);
	if (c->unacked && (c->prompt || (c->unacked >= 2 && c->unacked_bytes >= ACK_SMALL) || c->unacked_bytes >= much))
		c->ack_at = now;
	else if (c->unacked && c->ack_at == NEVER)
		c->ack_at = now + LOSS_MAX_ACK_DELAY;
	xconn_ready(c);
	xconn_rearm(c);
}
