/* Datagrams of an established session: what goes into each, sealed straight into the burst. */
#include "libmagma/xport/internal.h"

#define BURST_SEGMENTS 64             /* UDP_MAX_SEGMENTS of older kernels */
#define BURST_BYTES 65507             /* the largest UDP payload over IPv4: the kernel takes no longer burst */
#define PACKET_COST 640              /* what a datagram takes of the peer's socket buffer beyond its bytes */
#define COPY_BELOW 512                /* pieces below that are gathered and sealed together */
#define PING_RANGES 16                /* acknowledgement ranges from which we ask to be told that they are known */

/* Writes plaintext that is copied and plaintext that is sealed from where it lies, in one pass. */
typedef struct {
	Sealer *sealer;
	guint8 *base;                 /* of the sealed part */
	gsize pos, flushed, cap;
} Writer;

static void flush(Writer *w, gsize upto)
{
	sealer_piece(w->sealer, w->base + w->flushed, w->base + w->flushed, upto - w->flushed);
	w->flushed = upto;
}

static void put(Writer *w, const guint8 *p, gsize n)
{
	if (n < COPY_BELOW) {
		if (n)
			memcpy(w->base + w->pos, p, n);
		w->pos += n;
		return;
	}
	/* What is gathered goes up to a cipher block's end, so that the long piece is sealed in whole blocks. */
	gsize lead = (16 - (w->pos - w->flushed) % 16) % 16;
	memcpy(w->base + w->pos, p, lead);
	w->pos += lead;
	flush(w, w->pos);
	gsize bulk = n - lead;
	sealer_piece(w->sealer, w->base + w->pos, p + lead, bulk);
	w->pos += bulk;
	w->flushed = w->pos;
}

static gsize room(const Writer *w)
{
	return w->cap - w->pos;
}

static gsize start(MagmaConn *c, guint8 *out)
{
	out[0] = (guint8)(DGRAM_DATA | (c->tx.phase & 1));
	put_be(out + 1, c->peer_cid, 8);
	put_be(out + DGRAM_PREFIX, (guint32)c->loss.next, 4);
	sealer_begin(&c->tx, c->loss.next, out, DATA_HEADER);
	return DATA_HEADER;
}

static gsize finish(Writer *w)
{
	flush(w, w->pos);
	sealer_end(w->sealer, w->base + w->pos);
	return DATA_HEADER + w->pos + SEAL_TAG;
}

static void put_ack(Writer *w, MagmaConn *c, MagmaTime now)
{
	const RangeSet *s = &c->received;
	guint8 *p = w->base + w->pos;
	guint i = s->n - 1;
	*p++ = FRAME_ACK;
	p = varint_put(p, s->v[i].hi - 1);
	p = varint_put(p, (guint64)MAX(now - c->largest_time, 0));
	p = varint_put(p, s->n);
	p = varint_put(p, s->v[i].hi - 1 - s->v[i].lo);
	for (; i > 0; i--) {
		p = varint_put(p, s->v[i].lo - s->v[i - 1].hi - 1);
		p = varint_put(p, s->v[i - 1].hi - 1 - s->v[i - 1].lo);
	}
	w->pos = (gsize)(p - w->base);
	c->unacked = 0;
	c->unacked_bytes = 0;
	c->prompt = FALSE;
	c->ack_at = NEVER;
}

static void put_fragment(Writer *w, const Fragment *f)
{
	guint8 *p = w->base + w->pos;
	*p++ = FRAME_MSG;
	p = varint_put(p, f->id);
	p = varint_put(p, f->total);
	p = varint_put(p, f->off);
	p = varint_put(p, f->len);
	w->pos = (gsize)(p - w->base);
	put(w, f->p1, f->n1);
	put(w, f->p2, f->n2);
}

/* How much may leave: the congestion window and what the peer can take. */
static gsize window_room(const MagmaConn *c)
{
	gsize flight = c->loss.in_flight, there = flight + (gsize)c->loss.flying * PACKET_COST;
	gsize by_network = c->loss.cc.cwnd > flight ? c->loss.cc.cwnd - flight : 0;
	gsize by_peer = c->peer_window > there ? c->peer_window - there : 0;
	return MIN(by_network, by_peer);
}

typedef struct {
	gboolean ack, ping, data, small_only;
	gsize cap;                    /* of the datagram */
} Plan;

/* What the next datagram of at most `size` bytes carries; FALSE: nothing has to be sent. */
static gboolean make_plan(MagmaConn *c, MagmaTime now, gsize size, Plan *plan)
{
	gsize left = window_room(c);
	*plan = (Plan){ .cap = size };
	if (c->loss.probes || c->loss.in_flight == 0 || left >= size) {
		plan->data = sendq_ready(&c->sendq, FALSE);
	} else if (left > DATA_OVERHEAD + MSG_HEADER_MAX) {
		plan->data = plan->small_only = sendq_ready(&c->sendq, TRUE);
		plan->cap = left;
	}
	plan->ping = c->ping_due;
	plan->ack = c->unacked && (c->ack_at <= now || plan->data || plan->ping);
	if (plan->ack && c->received.n > PING_RANGES && now - c->loss.last_eliciting > c->loss.srtt)
		plan->ping = TRUE;
	if (plan->ack)
		plan->cap = MAX(plan->cap, MIN(size, DATA_OVERHEAD + ACK_FRAME_MAX));
	return plan->ack || plan->ping || plan->data;
}

/* Rule K3: well before the limit, and only when the peer is known to have followed the last change. */
static void rekey_if_due(MagmaConn *c)
{
	if (c->tx.sealed < c->ep->rekey_packets || (c->tx.phase && c->loss.largest_acked <= c->tx.first_pn))
		return;
	sealer_rekey(&c->tx, c->loss.next);
	xconn_keylog(c);
}

static void note_sent(MagmaConn *c, MagmaTime now, SentPacket *p, gboolean eliciting)
{
	if (!eliciting)
		return;
	const Congestion *cc = &c->loss.cc;
	p->limited = c->loss.in_flight + 2 * (gsize)cc->mss >= cc->cwnd || (cc->cwnd < cc->ssthresh && 2 * c->loss.in_flight >= cc->cwnd);
	if (!c->waiting_since)
		c->waiting_since = MAX(now, 1);
}

/* One datagram of at most `size` bytes; 0: nothing to send. `more`: may others follow in the same burst, so is it worth filling up? */
static gsize build(MagmaConn *c, MagmaTime now, guint8 *out, gsize size, gboolean *more)
{
	Plan plan;
	*more = FALSE;
	if (!make_plan(c, now, size, &plan))
		return 0;
	rekey_if_due(c);
	Writer w = { .sealer = &c->tx, .base = out + start(c, out), .cap = plan.cap - DATA_OVERHEAD };
	guint64 ack_largest = 0;
	SentFrame *frames = NULL;
	gboolean eliciting = FALSE;
	if (plan.ack) {
		ack_largest = c->received.v[c->received.n - 1].hi;
		put_ack(&w, c, now);
	}
	if (plan.ping) {
		w.base[w.pos++] = FRAME_PING;
		eliciting = TRUE;
	}
	guint64 resent = c->sendq.resent;
	Fragment f;
	while (plan.data && room(&w) && sendq_take(&c->sendq, room(&w), plan.small_only, w.pos > 0, &f)) {
		put_fragment(&w, &f);
		f.frame->next = frames;
		frames = f.frame;
		eliciting = TRUE;
	}
	if (w.pos == 0)
		return 0;
	c->ep->stats.retransmitted_bytes += c->sendq.resent - resent;
	if (eliciting)
		c->ping_due = FALSE;
	*more = plan.data && !plan.small_only && plan.cap == size && frames && sendq_ready(&c->sendq, FALSE);
	if (*more && room(&w)) {
		memset(w.base + w.pos, FRAME_PAD, room(&w));
		w.pos = w.cap;
	}
	gsize len = finish(&w);
	SentPacket *p = loss_sent(&c->loss, now, (guint)len, eliciting);
	p->ack_largest = eliciting ? ack_largest : 0;
	p->frames = frames;
	note_sent(c, now, p, eliciting);
	return len;
}

/* Rule M2: a padded PING. Data waits while the probe does not fit beside what is in flight, which is a round trip at most. */
static gboolean send_probe(MagmaConn *c, MagmaTime now, guint size, MagmaBurst *out)
{
	Writer w = { .sealer = &c->tx, .base = out->buf + start(c, out->buf), .cap = size - DATA_OVERHEAD };
	memset(w.base, FRAME_PAD, w.cap);
	w.base[0] = FRAME_PING;
	w.pos = w.cap;
	out->len = finish(&w);
	out->segment = (guint16)out->len;
	out->probe = TRUE;
	SentPacket *p = loss_sent(&c->loss, now, size, TRUE);
	p->probe = TRUE;
	note_sent(c, now, p, TRUE);
	p->limited = FALSE;
	pmtu_probe_sent(&c->pmtu, size);
	return TRUE;
}

gsize xconn_seal_close(MagmaConn *c, guint code, guint8 *out)
{
	Writer w = { .sealer = &c->tx, .base = out + start(c, out), .cap = CONTROL_LEN - DATA_OVERHEAD };
	w.base[w.pos++] = FRAME_CLOSE;
	w.base[w.pos++] = (guint8)code;
	gsize len = finish(&w);
	loss_sent(&c->loss, c->ep->now, (guint)len, FALSE);
	return len;
}

gsize xconn_seal_path(MagmaConn *c, guint type, const guint8 data[PATH_DATA], guint8 *out)
{
	Writer w = { .sealer = &c->tx, .base = out + start(c, out), .cap = 1 + PATH_DATA };
	w.base[w.pos++] = (guint8)type;
	memcpy(w.base + w.pos, data, PATH_DATA);
	w.pos += PATH_DATA;
	gsize len = finish(&w);
	loss_sent(&c->loss, c->ep->now, (guint)len, FALSE);
	return len;
}

static gboolean poll_open(MagmaConn *c, MagmaTime now, MagmaBurst *out)
{
	gsize size = MIN(c->pmtu.mtu, MAX(c->peer_window / 2, PMTU_BASE)), max = MIN(out->max, BURST_BYTES);
	if (c->state == XC_OPEN && c->loss.first_sample && !c->loss.probes && c->sendq.pending > c->pmtu.mtu) {
		guint want = pmtu_want(&c->pmtu, now);
		if (want && c->loss.in_flight + want <= c->peer_window)
			return send_probe(c, now, want, out);
		if (want && c->loss.in_flight > c->pmtu.mtu && c->unacked == 0)
			return FALSE;
	}
	gboolean more = TRUE;
	for (guint i = 0; more && i < BURST_SEGMENTS && size <= max - out->len; i++) {
		gsize n = build(c, now, out->buf + out->len, size, &more);
		if (n == 0)
			break;
		if (i == 0)
			out->segment = (guint16)n;
		out->len += n;
		more = more && n == size;
	}
	return out->len > 0;
}

static gboolean poll_handshake(MagmaConn *c, MagmaTime now, MagmaBurst *out)
{
	out->len = handshake_poll(c, now, out->buf);
	out->segment = (guint16)out->len;
	return out->len > 0;
}

/* Goodbye leaves after what the window lets through; then the session is over. */
static gboolean poll_closing(MagmaConn *c, MagmaTime now, MagmaBurst *out)
{
	if (c->tx.key.ctx && poll_open(c, now, out))
		return TRUE;
	if (c->tx.key.ctx) {
		out->len = xconn_seal_close(c, FRAME_CLOSE_GOODBYE, out->buf);
		out->segment = (guint16)out->len;
	}
	xconn_die(c, MAGMA_CLOSE_LOCAL);
	return out->len > 0;
}

enum { UNACKED_MAX = 1 << 18 };      /* datagrams: far above a window of the smallest ones */

gboolean xconn_poll(MagmaConn *c, MagmaTime now, MagmaBurst *out)
{
	out->to = c->peer;
	out->len = 0;
	out->segment = 0;
	out->probe = FALSE;
	/* A peer that makes us answer and acknowledges nothing: what we remember of sent datagrams would grow for ever. */
	if (c->state == XC_OPEN && c->loss.next - c->loss.base > UNACKED_MAX) {
		xconn_die(c, MAGMA_CLOSE_SILENT);
		return FALSE;
	}
	if (c->state == XC_OPEN)
		return xpath_poll(c, now, out) || poll_open(c, now, out);
	return c->state == XC_CLOSING ? poll_closing(c, now, out) : poll_handshake(c, now, out);
}
