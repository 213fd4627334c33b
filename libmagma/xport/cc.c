#include "libmagma/xport/cc.h"
#include <math.h>

#define BETA 0.7
#define C_CUBIC 0.4                                   /* segments per second^3 */
#define ALPHA (3.0 * (1.0 - BETA) / (1.0 + BETA))     /* Reno-friendly growth, RFC 9438, 4.3 */
#define INITIAL_PACKETS 10
#define MINIMUM_PACKETS 2

static gsize minimum(const Congestion *c)
{
	return (gsize)MINIMUM_PACKETS * c->mss;
}

void cc_init(Congestion *c, guint mss)
{
	*c = (Congestion){ .cwnd = (gsize)INITIAL_PACKETS * mss, .ssthresh = G_MAXSIZE, .mss = mss, .recovery_start = -1 };
}

void cc_set_mss(Congestion *c, guint mss)
{
	c->mss = mss;
	c->cwnd = MAX(c->cwnd, minimum(c));
}

static void start_epoch(Congestion *c, MagmaTime now)
{
	c->epoch_start = now;
	c->w_est = (double)c->cwnd;
	if (c->w_max > (double)c->cwnd) {
		c->k = cbrt((c->w_max - (double)c->cwnd) / c->mss / C_CUBIC);
	} else {
		c->w_max = (double)c->cwnd;
		c->k = 0;
	}
}

static void avoid_congestion(Congestion *c, MagmaTime now, gsize bytes, MagmaTime rtt)
{
	if (!c->epoch_start)
		start_epoch(c, now);
	double t = (double)(now - c->epoch_start + rtt) / G_USEC_PER_SEC - c->k;
	double target = c->w_max + C_CUBIC * t * t * t * c->mss, w = (double)c->cwnd;
	target = CLAMP(target, w, 1.5 * w);
	c->w_est += ALPHA * (double)bytes / w * c->mss;
	w += MAX((target - w) * (double)bytes / w, 0);
	c->cwnd = (gsize)MAX(w, c->w_est);
}

void cc_acked(Congestion *c, MagmaTime now, MagmaTime sent, gsize bytes, MagmaTime rtt, gboolean limited)
{
	if (sent <= c->recovery_start || !limited)
		return;
	if (c->cwnd < c->ssthresh)
		c->cwnd += bytes;
	else
		avoid_congestion(c, now, bytes, rtt);
}

void cc_lost(Congestion *c, MagmaTime now, MagmaTime sent, guint count)
{
	if (sent <= c->recovery_start) {
		c->undo.lost += count;
		return;
	}
	c->undo.cwnd = c->cwnd;
	c->undo.ssthresh = c->ssthresh;
	c->undo.w_max = c->w_max;
	c->undo.lost = count;
	c->recovery_start = now;
	double w = (double)c->cwnd;
	c->w_max = w < c->w_max ? w * (1.0 + BETA) / 2 : w;    /* fast convergence, RFC 9438, 4.7 */
	c->cwnd = MAX((gsize)(w * BETA), minimum(c));
	c->ssthresh = c->cwnd;
	c->epoch_start = 0;
}

void cc_spurious(Congestion *c, MagmaTime sent)
{
	if (sent > c->recovery_start || c->undo.lost == 0 || --c->undo.lost)
		return;
	c->cwnd = MAX(c->cwnd, c->undo.cwnd);
	c->ssthresh = c->undo.ssthresh;
	c->w_max = c->undo.w_max;
	c->epoch_start = 0;
}

void cc_persistent(Congestion *c)
{
	c->cwnd = minimum(c);
	c->recovery_start = -1;
	c->epoch_start = 0;
	c->undo.lost = 0;
}
