/* A set of integers kept as sorted, disjoint, half-open ranges: packet numbers received, bytes of a message acknowledged, lost, received.
 * Appending at the upper end is O(1); elsewhere a binary search and a move. A zeroed struct is an empty set. */
#pragma once
#include <glib.h>

typedef struct {
	guint64 lo, hi;
} Range;

typedef struct {
	Range *v;
	guint n, cap;
} RangeSet;

void rangeset_clear(RangeSet *s);
/* Adds [lo, hi), lo < hi; returns how many of its members were not there before. */
guint64 rangeset_add(RangeSet *s, guint64 lo, guint64 hi);
/* Takes [lo, hi) out; returns how many members that removed. */
guint64 rangeset_remove(RangeSet *s, guint64 lo, guint64 hi);
/* Forgets the n lowest ranges. */
void rangeset_drop_low(RangeSet *s, guint n);
gboolean rangeset_contains(const RangeSet *s, guint64 x);
