/* Bytes as a lava map: what decodes has one encoding, copies, and routes every border to its own volcano. */
#include "tests/fuzz/fuzz.h"
#include "libmagma/lava/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(MagmaMap) m = magma_map_decode(data, size);
	g_autoptr(GByteArray) out = g_byte_array_new();

	if (!m)
		return 0;
	magma_map_encode(m, out);
	g_assert_cmpmem(out->data, out->len, data, size);
	g_autoptr(MagmaMap) c = magma_map_copy(m);
	g_assert_null(magma_map_seal(c));
	g_assert_cmpint(magma_map_route(m, &MAGMA_KEY_MIN) != NULL, ==, m->slices->len > 0);
	for (guint i = 0; i < m->volcanos->len; i++) {
		const MagmaVolcano *v = g_ptr_array_index(m->volcanos, i);
		g_assert_true(magma_map_by_id(m, v->id) == v);
		g_assert_true(magma_map_by_name(m, v->name) == v);
		g_assert_nonnull(magma_map_after(m, v));
		g_assert_cmpint(v->state == MAGMA_ACTIVE, ==, magma_map_home(m, v->id) != NULL);
	}
	for (guint i = 0; i < m->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(m->slices, MagmaSlice, i);
		g_assert_true(magma_map_slice(m, &s->range.lo) == s && magma_map_slice(m, &s->range.hi) == s);
		g_assert_true(magma_map_slice_by_id(m, s->id) == s && magma_map_home(m, s->home) == s);
		g_assert_cmpuint(magma_map_route(m, &s->range.hi)->id, ==, s->owner);
	}
	return 0;
}
