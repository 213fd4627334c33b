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
	const MagmaVolcano *v = owner;
	guint mirrors = 0;
	while (mirrors + 1 < map->copies_kept && (v = magma_map_after(map, v)) != owner)
		g_string_append_printf(out, "%s%s", mirrors++ ? ", " : "", v->name);
	g_string_append(out, mirrors ? ")" : "1 copy)");
	return g_string_free(out, FALSE);
}
