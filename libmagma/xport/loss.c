#include "libmagma/xport/loss.h"

#define GRANULARITY 1000          /* microseconds: timers are not finer than that (RFC 9002, 6.1.2) */
#define INITIAL_RTT 100000        /* a quarter of RFC 9002's: this runs in LANs, and a spare probe costs one datagram */
#define MIN_PTO 10000             /* a peer's loop may be busy that long without anything being lost */
#define MAX_PTO 2000000
#define PACKET_THRESHOLD 3
#define PACKET_THRESHOLD_MAX 1024 /* a GSO burst is up to 64 packets and may move as a block */
#define TIME_EIGHTHS 9
#define TIME_EIGHTHS_MAX 16
#define PERSISTENT 3
#define RING_MIN 64
#define REPEAT_AT_ONCE 1500       /* datagrams up to that size cost about the same as a PING */

static SentPacket *packet(const Loss *l, guint64 pn)
{
	return &l->ring[pn & (l->size - 1)];
}

void loss_init(Loss *l, const LossOps *ops, void *user, guint mss)
{
	*l = (Loss){ .ops = ops, .user = user, .size = RING_MIN, .reorder = PACKET_THRESHOLD, .reorder_time = TIME_EIGHTHS };
	l->ring = g_new0(SentPacket, l->size);
	l->srtt = INITIAL_RTT;
	l->rttvar = INITIAL_RTT / 2;
	cc_init(&l->cc, mss);
}

void loss_clear(Loss *l)
{
	for (guint64 pn = l->base; pn < l->next; pn++)
		l->ops->forget(l->user, packet(l, pn));
	g_clear_pointer(&l->ring, g_free);
}

static void grow(Loss *l)
{
	SentPacket *old = l->ring;
	guint old_size = l->size;
	l->size *= 2;
	l->ring = g_new0(SentPacket, l->size);
	for (guint64 pn = l->base; pn < l->next; pn++)
		l->ring[pn & (l->size - 1)] = old[pn & (old_size - 1)];
	g_free(old);
}

SentPacket *loss_sent(Loss *l, MagmaTime now, guint size, gboolean eliciting)
{
	if (l->next - l->base == l->size)
		grow(l);
	SentPacket *p = packet(l, l->next);
	*p = (SentPacket){ .time = now, .size = size, .state = eliciting ? PKT_FLIGHT : PKT_NONE };
	if (l->base == l->next && !eliciting)
		l->base++;
	l->next++;
	if (eliciting) {
		l->in_flight += size;
		l->flying++;
		l->last_eliciting = l->pto_from = now;
		if (l->probes)
			l->probes--;
	}
	return p;
}

static void land(Loss *l, SentPacket *p, SentState state)
{
	p->state = state;
	l->in_flight -= p->size;
	l->flying--;
}

MagmaTime loss_pto(const Loss *l)
{
	return MAX(l->srtt + MAX(4 * l->rttvar, GRANULARITY) + LOSS_MAX_ACK_DELAY, MIN_PTO);
}

static void sample_rtt(Loss *l, MagmaTime now, MagmaTime sent, MagmaTime delay)
{
	l->latest = MAX(now - sent, 1);
	if (!l->first_sample) {
		l->first_sample = MAX(now, 1);
		l->min_rtt = l->srtt = l->latest;
		l->rttvar = l->latest / 2;
		return;
	}
	l->min_rtt = MIN(l->min_rtt, l->latest);
	MagmaTime rtt = l->latest;
	delay = MIN(delay, LOSS_MAX_ACK_DELAY);
	if (rtt >= l->min_rtt + delay)
		rtt -= delay;
	l->rttvar = (3 * l->rttvar + ABS(l->srtt - rtt)) / 4;
	l->srtt = MAX((7 * l->srtt + rtt) / 8, 1);
}

static MagmaTime loss_delay(const Loss *l)
{
	return MAX(MAX(l->srtt, l->latest) * l->reorder_time / 8, GRANULARITY);
}

/* Arrived packets leave at the lower end; lost ones stay for a while, to learn whether they were only late. */
static void retire(Loss *l, MagmaTime now)
{
	MagmaTime keep = 2 * loss_pto(l);
	for (; l->base < l->next; l->base++) {
		SentPacket *p = packet(l, l->base);
		if (p->state == PKT_FLIGHT || (p->state == PKT_LOST && now - p->time < keep))
			break;
		l->ops->forget(l->user, p);
		p->frames = NULL;
		p->state = PKT_NONE;
	}
}

typedef struct {
	guint lost;
	MagmaTime newest;             /* sending time of the newest lost packet */
	MagmaTime run_start;          /* first of an unbroken run of lost packets, for persistent congestion */
	gboolean persistent;
} LossRound;

static void declare_lost(Loss *l, SentPacket *p, LossRound *r)
{
	land(l, p, PKT_LOST);
	l->lost_packets++;
	l->ops->lost(l->user, p);
	if (p->probe)
		return;
	r->lost++;
	r->newest = MAX(r->newest, p->time);
	if (!r->run_start)
		r->run_start = p->time;
	if (l->first_sample && r->run_start > l->first_sample && p->time - r->run_start > PERSISTENT * loss_pto(l))
		r->persistent = TRUE;
}

static void detect(Loss *l, MagmaTime now)
{
	LossRound round = { .newest = -1 };
	MagmaTime delay = loss_delay(l);
	l->loss_time = 0;
	for (guint64 pn = l->base; pn < l->largest_acked; pn++) {
		SentPacket *p = packet(l, pn);
		if (p->state == PKT_ACKED)
			round.run_start = 0;
		if (p->state != PKT_FLIGHT)
			continue;
		if (l->largest_acked - 1 - pn >= l->reorder || p->time + delay <= now)
			declare_lost(l, p, &round);
		else if (!l->loss_time || p->time + delay < l->loss_time)
			l->loss_time = p->time + delay;
	}
	if (round.lost)
		cc_lost(&l->cc, now, round.newest, round.lost);
	if (round.persistent)
		cc_persistent(&l->cc);
}

/* A packet that was given up arrived: the path reorders more than we thought. */
static void late(Loss *l, guint64 pn, SentPacket *p)
{
	if (l->largest_acked > pn)
		l->reorder = CLAMP(l->largest_acked - pn, l->reorder, PACKET_THRESHOLD_MAX);
	l->reorder_time = MIN(l->reorder_time + 1, TIME_EIGHTHS_MAX);
	p->state = PKT_ACKED;
	if (!p->probe)
		cc_spurious(&l->cc, p->time);
	l->ops->acked(l->user, p);
}

gboolean loss_acked(Loss *l, MagmaTime now, const Range *ranges, guint n, MagmaTime delay)
{
	if (n == 0 || ranges[0].hi > l->next)
		return FALSE;
	guint64 top = ranges[0].hi - 1;
	gboolean progress = FALSE, sampled = FALSE;
	for (guint i = 0; i < n && ranges[i].hi > l->base; i++) {
		guint64 pn = ranges[i].hi, lo = MAX(ranges[i].lo, l->base);
		while (pn-- > lo) {
			SentPacket *p = packet(l, pn);
			if (p->state == PKT_LOST) {
				late(l, pn, p);
				continue;
			}
			if (p->state != PKT_FLIGHT)
				continue;
			land(l, p, PKT_ACKED);
			progress = TRUE;
			if (pn == top && !sampled) {
				sample_rtt(l, now, p->time, delay);
				sampled = TRUE;
			}
			cc_acked(&l->cc, now, p->time, p->size, l->srtt, p->limited);
			l->ops->acked(l->user, p);
		}
	}
	l->largest_acked = MAX(l->largest_acked, ranges[0].hi);
	if (progress) {
		l->pto_count = 0;
		l->probes = 0;
	}
	detect(l, now);
	retire(l, now);
	return TRUE;
}

MagmaTime loss_deadline(const Loss *l)
{
	if (l->loss_time)
		return l->loss_time;
	if (!l->flying)
		return G_MAXINT64;
	return l->pto_from + MIN(loss_pto(l) << MIN(l->pto_count, 16), MAX(MAX_PTO, loss_pto(l)));
}

/* Two packets, because one may be lost again (RFC 9002, 6.2.4). Large ones are not repeated on the first suspicion: the peer may only
 * be busy, and a PING finds out for 30 bytes and a round trip. */
static void probe(Loss *l, MagmaTime now)
{
	guint left = 2;
	l->pto_count++;
	l->pto_from = now;
	l->ping = FALSE;
	for (guint64 pn = l->base; pn < l->next && left && !l->ping; pn++) {
		SentPacket *p = packet(l, pn);
		if (p->state != PKT_FLIGHT || p->probe)
			continue;
		if (l->pto_count == 1 && p->size > REPEAT_AT_ONCE && left == 2)
			l->ping = TRUE;
		else
			l->ops->again(l->user, p);
		left--;
	}
	l->probes = l->ping ? 0 : 2;
}

void loss_timeout(Loss *l, MagmaTime now)
{
	if (now < loss_deadline(l))
		return;
	if (l->loss_time)
		detect(l, now);
	else
		probe(l, now);
	retire(l, now);
}

void loss_refused(Loss *l, MagmaTime now, guint size)
{
	LossRound ignored = { 0 };
	for (guint64 pn = l->base; pn < l->next; pn++) {
		SentPacket *p = packet(l, pn);
		if (p->state == PKT_FLIGHT && p->size >= size)
			declare_lost(l, p, &ignored);
	}
	retire(l, now);
}

void loss_new_path(Loss *l, guint mss)
{
	l->srtt = INITIAL_RTT;
	l->rttvar = INITIAL_RTT / 2;
	l->first_sample = 0;
	l->pto_count = 0;
	cc_init(&l->cc, mss);
}
