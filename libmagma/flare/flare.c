#include "libmagma/flare/flare.h"
#include <string.h>

gboolean magma_fid_equal(const MagmaFid *a, const MagmaFid *b)
{
	return a->ino == b->ino && magma_key_equal(&a->key, &b->key);
}

guint magma_fid_hash(gconstpointer fid)
{
	/* ino alone is unique; its maker is in the high bits, its counter in the low ones. */
	const MagmaFid *f = fid;
	guint64 h = f->ino * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);

	return (guint)(h >> 32);
}

MagmaFid magma_fid_root(void)
{
	/* SHA-1 of "/". */
	static const MagmaFid root = { { { 0x42, 0x09, 0x9b, 0x4a, 0xf0, 0x21, 0xe5, 0x3f, 0xd8, 0xfd,
		0x4e, 0x05, 0x6c, 0x25, 0x68, 0xd7, 0xc2, 0xe3, 0xff, 0xa8 } }, MAGMA_ROOT_INO };
	return root;
}

gboolean magma_name_valid(const guint8 *name, gsize len)
{
	if (len == 0 || len > MAGMA_NAME_MAX)
		return FALSE;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return FALSE;
	return !memchr(name, '/', len) && !memchr(name, '\0', len);
}
