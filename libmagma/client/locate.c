#include "libmagma/client/locate.h"

char *magma_locate_text(const MagmaMap *map, const MagmaFid *fid)
{
	const MagmaVolcano *owner = magma_map_route(map, &fid->key);
	char hex[MAGMA_KEY_HEX], addr[MAGMA_ADDR_TEXT];
	GString *out = g_string_new(NULL);

	g_string_append_printf(out, "%s  %" G_GUINT64_FORMAT "  ", magma_key_to_hex(&fid->key, hex), fid->ino);
	if (!owner) {
		g_string_append(out, "nobody (no volcano holds a slice)");
		return g_string_free(out, FALSE);
	}
	g_string_append_printf(out, "%s %s (", owner->name, magma_addr_format(&owner->addr, addr));
	const MagmaSlice *s = magma_map_slice(map, &fid->key);
	guint mirrors = 0;
	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].in_sync)
			g_string_append_printf(out, "%s%s", mirrors++ ? ", " : "", magma_map_by_id(map, s->copies[i].volcano)->name);
	g_string_append(out, mirrors ? ")" : "1 copy)");
	return g_string_free(out, FALSE);
}
