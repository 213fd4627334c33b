/* A binary heap of sessions by deadline; each knows its place, so moving one costs the logarithm of their number. */
#include "libmagma/xport/internal.h"

static MagmaConn *at(const MagmaEndpoint *ep, guint i)
{
	return g_ptr_array_index(ep->heap, i);
}

static void put(MagmaEndpoint *ep, guint i, MagmaConn *c)
{
	g_ptr_array_index(ep->heap, i) = c;
	c->heap_index = i + 1;
}

static guint sift_up(MagmaEndpoint *ep, guint i)
{
	MagmaConn *c = at(ep, i);
	for (; i > 0 && at(ep, (i - 1) / 2)->deadline > c->deadline; i = (i - 1) / 2)
		put(ep, i, at(ep, (i - 1) / 2));
	put(ep, i, c);
	return i;
}

static void sift_down(MagmaEndpoint *ep, guint i)
{
	MagmaConn *c = at(ep, i);
	for (;;) {
		guint child = 2 * i + 1;
		if (child >= ep->heap->len)
			break;
		if (child + 1 < ep->heap->len && at(ep, child + 1)->deadline < at(ep, child)->deadline)
			child++;
		if (at(ep, child)->deadline >= c->deadline)
			break;
		put(ep, i, at(ep, child));
		i = child;
	}
	put(ep, i, c);
}

static void take_out(MagmaEndpoint *ep, MagmaConn *c)
{
	guint i = c->heap_index - 1, last = ep->heap->len - 1;
	MagmaConn *moved = at(ep, last);
	g_ptr_array_set_size(ep->heap, (gint)last);
	c->heap_index = 0;
	if (moved != c) {
		put(ep, i, moved);
		sift_down(ep, sift_up(ep, i));
	}
}

void timers_set(MagmaEndpoint *ep, MagmaConn *c, MagmaTime deadline)
{
	if (c->heap_index && c->deadline == deadline)
		return;
	c->deadline = deadline;
	if (deadline == NEVER) {
		if (c->heap_index)
			take_out(ep, c);
		return;
	}
	if (!c->heap_index) {
		g_ptr_array_add(ep->heap, c);
		c->heap_index = ep->heap->len;
	}
	sift_down(ep, sift_up(ep, c->heap_index - 1));
}

MagmaConn *timers_first(const MagmaEndpoint *ep)
{
	return ep->heap->len ? at(ep, 0) : NULL;
}
