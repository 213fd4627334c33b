#include "libmagma/xport/pmtu.h"

#define TRIES 3                                  /* RFC 8899 MAX_PROBES */
#define RAISE_AFTER (600 * G_USEC_PER_SEC)       /* RFC 8899 PMTU_RAISE_TIMER */
#define BLACK_HOLE_RUN 10                        /* large datagrams lost in a row: beyond what congestion does while small ones pass */

/* UDP payloads: IPv6 minimum, tunnels, Ethernet under IPv6 and under IPv4, FDDI and jumbo frames, loopback. */
static const guint16 SIZES[] = { PMTU_BASE, 1232, 1372, 1452, 1472, 4052, 8952, 16332, 32716, 61440, PMTU_MAX };

void pmtu_init(Pmtu *p, guint limit)
{
	*p = (Pmtu){ .mtu = PMTU_BASE, .limit = MAX(limit, PMTU_BASE) };
}

static gboolean allowed(const Pmtu *p, guint size)
{
	return size <= p->limit && (!p->ceiling || size <= p->ceiling);
}

guint pmtu_want(Pmtu *p, MagmaTime now)
{
	if (p->probing)
		return 0;
	if (p->ceiling && now >= p->retry) {
		p->ceiling = 0;
		p->tries = 0;
	}
	if (p->fallen_from > p->mtu && allowed(p, p->fallen_from))
		return p->fallen_from;
	for (guint i = 0; i < G_N_ELEMENTS(SIZES); i++)
		if (SIZES[i] > p->mtu)
			return allowed(p, SIZES[i]) ? SIZES[i] : 0;
	return 0;
}

void pmtu_probe_sent(Pmtu *p, guint size)
{
	p->probing = size;
}

gboolean pmtu_acked(Pmtu *p, guint size, gboolean probe)
{
	if (size > PMTU_BASE)
		p->big_lost = 0;
	if (!probe)
		return FALSE;
	if (size != p->probing)      /* of another path, before a move */
		return FALSE;
	p->probing = 0;
	p->tries = 0;
	p->fallen_from = 0;
	if (size <= p->mtu || !allowed(p, size))
		return FALSE;
	p->mtu = size;
	return TRUE;
}

static void set_ceiling(Pmtu *p, MagmaTime now, guint size)
{
	p->ceiling = size;
	p->tries = 0;
	p->retry = now + RAISE_AFTER;
}

gboolean pmtu_black_hole(Pmtu *p, MagmaTime now)
{
	p->big_lost = 0;
	if (p->mtu == PMTU_BASE)
		return FALSE;
	p->fallen_from = p->mtu;
	p->mtu = PMTU_BASE;
	p->tries = 0;
	return TRUE;
}

gboolean pmtu_lost(Pmtu *p, MagmaTime now, guint size, gboolean probe)
{
	if (probe) {
		if (size != p->probing)
			return FALSE;
		p->probing = 0;
		if (size == p->fallen_from)
			p->fallen_from = 0;      /* from now on step by step */
		else if (++p->tries >= TRIES)
			set_ceiling(p, now, size - 1);
		return FALSE;
	}
	if (size <= PMTU_BASE || ++p->big_lost < BLACK_HOLE_RUN)
		return FALSE;
	return pmtu_black_hole(p, now);
}

gboolean pmtu_too_big(Pmtu *p, MagmaTime now, guint size)
{
	if (size <= PMTU_BASE)
		return FALSE;            /* nothing smaller is left to try */
	set_ceiling(p, now, size - 1);
	if (p->probing >= size)
		p->probing = 0;
	if (p->fallen_from >= size)
		p->fallen_from = 0;
	if (p->mtu < size)
		return FALSE;
	guint fit = PMTU_BASE;
	for (guint i = 0; i < G_N_ELEMENTS(SIZES) && SIZES[i] < size; i++)
		fit = SIZES[i];
	p->mtu = fit;
	return TRUE;
}

void pmtu_new_path(Pmtu *p)
{
	pmtu_init(p, p->limit);
}
