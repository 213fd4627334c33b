/* A copy of bytes in a block of exactly their size, so that ASan sees any read behind them. */
#pragma once
#include <glib.h>
#include <stdlib.h>
#include <string.h>

static inline guint8 *exact_copy(const void *p, gsize n)
{
	guint8 *c = malloc(n ? n : 1);

	if (!c)
		abort();
	if (n)
		memcpy(c, p, n);
	return c;
}
