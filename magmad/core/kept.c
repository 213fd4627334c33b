#include "magmad/core/kept.h"
#include "magmad/core/volcano.h"
#include "libmagma/base/wire.h"

gboolean volcano_kept_aside(GBytes *kept)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(kept, &n);

	return n && p[0] == KEPT_ASIDE;
}

GBytes *volcano_kept_set_aside(GBytes *kept)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(kept, &n);
	guint8 *out = g_memdup2(p, n);

	out[0] = KEPT_FORMAT;
	return g_bytes_new_take(out, n);
}

void kept_clear(Kept *k)
{
	g_clear_pointer(&k->map, magma_map_unref);
	g_clear_pointer(&k->state, raft_state_free);
}

gboolean kept_decode(GBytes *kept, Kept *out)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(kept, &n);
	MagmaReader r = magma_reader(p, n);
	guint8 format = magma_get_u8(&r);
	out->id = magma_get_u16(&r);
	out->starts = magma_get_u32(&r);
	guint32 len = magma_get_u32(&r);
	const guint8 *map = magma_get_bytes(&r, len);
	guint32 slen = magma_get_u32(&r);
	const guint8 *state = magma_get_bytes(&r, slen);

	if (r.error || r.left || format < KEPT_FORMAT || format > KEPT_QUESTION || !out->id)
		return FALSE;
	out->question = format == KEPT_QUESTION;
	out->map = magma_map_decode(map, len);
	out->state = raft_state_decode(state, slen);
	return out->map && out->state;
}

gboolean volcano_kept_valid(GBytes *kept)
{
	g_auto(Kept) k = { 0 };

	return kept_decode(kept, &k);
}
