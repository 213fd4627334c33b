#include "libmagma/xport/rangeset.h"
#include <string.h>

void rangeset_clear(RangeSet *s)
{
	g_free(s->v);
	*s = (RangeSet){ 0 };
}

/* Index of the first range whose end is at or above x. */
static guint lower_bound(const RangeSet *s, guint64 x)
{
	guint a = 0, b = s->n;
	while (a < b) {
		guint m = a + (b - a) / 2;
		if (s->v[m].hi < x)
			a = m + 1;
		else
			b = m;
	}
	return a;
}

static void insert_at(RangeSet *s, guint i, Range r)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 4;
		s->v = g_renew(Range, s->v, s->cap);
	}
	memmove(s->v + i + 1, s->v + i, (s->n - i) * sizeof(Range));
	s->v[i] = r;
	s->n++;
}

static void erase(RangeSet *s, guint from, guint to)
{
	if (from == to)
		return;
	memmove(s->v + from, s->v + to, (s->n - to) * sizeof(Range));
	s->n -= to - from;
}

guint64 rangeset_add(RangeSet *s, guint64 lo, guint64 hi)
{
	g_assert(lo < hi);
	if (s->n && s->v[s->n - 1].hi == lo) {
		s->v[s->n - 1].hi = hi;
		return hi - lo;
	}
	guint i = s->n && s->v[s->n - 1].hi < lo ? s->n : lower_bound(s, lo);
	if (i == s->n || s->v[i].lo > hi) {
		insert_at(s, i, (Range){ lo, hi });
		return hi - lo;
	}
	guint64 fresh = hi - lo;
	Range merged = { MIN(lo, s->v[i].lo), hi };
	guint j = i;
	for (; j < s->n && s->v[j].lo <= hi; j++) {
		guint64 a = MAX(lo, s->v[j].lo), b = MIN(hi, s->v[j].hi);
		if (a < b)
			fresh -= b - a;
		merged.hi = MAX(merged.hi, s->v[j].hi);
	}
	s->v[i] = merged;
	erase(s, i + 1, j);
	return fresh;
}

guint64 rangeset_remove(RangeSet *s, guint64 lo, guint64 hi)
{
	guint64 gone = 0;
	for (guint i = lower_bound(s, lo); i < s->n && s->v[i].lo < hi;) {
		Range r = s->v[i];
		guint64 a = MAX(lo, r.lo), b = MIN(hi, r.hi);
		if (a >= b) {
			i++;
			continue;
		}
		gone += b - a;
		if (a == r.lo && b == r.hi) {
			erase(s, i, i + 1);
		} else if (a == r.lo) {
			s->v[i++].lo = b;
		} else {
			s->v[i].hi = a;
			if (b < r.hi)
				insert_at(s, i + 1, (Range){ b, r.hi });
			i++;
		}
	}
	return gone;
}

void rangeset_drop_low(RangeSet *s, guint n)
{
	erase(s, 0, MIN(n, s->n));
}

gboolean rangeset_contains(const RangeSet *s, guint64 x)
{
	guint i = lower_bound(s, x);
	if (i < s->n && s->v[i].hi == x)
		i++;
	return i < s->n && s->v[i].lo <= x;
}
