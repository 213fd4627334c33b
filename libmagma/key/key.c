#include "libmagma/key/key.h"
#include <openssl/evp.h>
#include <string.h>

const MagmaKey MAGMA_KEY_MIN = { { 0 } };
const MagmaKey MAGMA_KEY_MAX = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

/* Fetching an algorithm costs more than hashing a path, so it is done once a process and the context is kept once a thread. */
static EVP_MD *sha1_fetched(void)
{
	static gsize once;

	if (g_once_init_enter(&once)) {
		EVP_MD *md = EVP_MD_fetch(NULL, "SHA1", NULL);
		if (!md)
			g_error("this OpenSSL offers no SHA-1, without which no key can be computed");
		g_once_init_leave(&once, (gsize)md);
	}
	return (EVP_MD *)once;
}

static void context_free(gpointer ctx)
{
	EVP_MD_CTX_free(ctx);
}

static EVP_MD_CTX *sha1_begin(void)
{
	static GPrivate slot = G_PRIVATE_INIT(context_free);
	EVP_MD_CTX *ctx = g_private_get(&slot);

	if (!ctx) {
		ctx = EVP_MD_CTX_new();
		g_assert(ctx);
		g_private_set(&slot, ctx);
	}
	if (EVP_DigestInit_ex2(ctx, sha1_fetched(), NULL) != 1)
		g_error("SHA-1 of OpenSSL failed to start");
	return ctx;
}

static MagmaKey sha1_end(EVP_MD_CTX *ctx)
{
	MagmaKey k;
	guint len = 0;

	if (EVP_DigestFinal_ex(ctx, k.b, &len) != 1 || len != MAGMA_KEY_LEN)
		g_error("SHA-1 of OpenSSL failed");
	return k;
}

static void sha1_add(EVP_MD_CTX *ctx, const void *p, gsize n)
{
	if (n && EVP_DigestUpdate(ctx, p, n) != 1)
		g_error("SHA-1 of OpenSSL failed");
}

MagmaKey magma_key_of_path(const char *path, gsize len)
{
	EVP_MD_CTX *ctx = sha1_begin();

	sha1_add(ctx, path, len);
	return sha1_end(ctx);
}

MagmaKey magma_key_of_child(const char *dir, gsize dir_len, const char *name, gsize name_len)
{
	EVP_MD_CTX *ctx = sha1_begin();

	if (dir_len != 1 || dir[0] != '/')
		sha1_add(ctx, dir, dir_len);
	sha1_add(ctx, "/", 1);
	sha1_add(ctx, name, name_len);
	return sha1_end(ctx);
}

int magma_key_cmp(const MagmaKey *a, const MagmaKey *b)
{
	return memcmp(a->b, b->b, MAGMA_KEY_LEN);
}

gboolean magma_key_equal(const MagmaKey *a, const MagmaKey *b)
{
	return memcmp(a->b, b->b, MAGMA_KEY_LEN) == 0;
}

guint magma_key_hash(gconstpointer key)
{
	/* SHA-1's bits are as good as any hash of them; all of them count, since borders of slices differ in few. */
	const MagmaKey *k = key;
	guint h = 0;

	for (int i = 0; i < MAGMA_KEY_LEN; i += 4)
		h = h * 31 + magma_be32_load(k->b + i);
	return h;
}

char *magma_key_to_hex(const MagmaKey *k, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < MAGMA_KEY_LEN; i++) {
		out[2 * i] = digits[k->b[i] >> 4];
		out[2 * i + 1] = digits[k->b[i] & 15];
	}
	out[2 * MAGMA_KEY_LEN] = '\0';
	return out;
}

gboolean magma_key_from_hex(const char *hex, MagmaKey *out)
{
	MagmaKey k;

	for (int i = 0; i < MAGMA_KEY_LEN; i++) {
		int hi = g_ascii_xdigit_value(hex[2 * i]);
		int lo = hi < 0 ? -1 : g_ascii_xdigit_value(hex[2 * i + 1]);
		if (lo < 0)
			return FALSE;
		k.b[i] = (guint8)(hi << 4 | lo);
	}
	if (hex[2 * MAGMA_KEY_LEN])
		return FALSE;
	*out = k;
	return TRUE;
}

gboolean magma_key_next(const MagmaKey *k, MagmaKey *out)
{
	MagmaKey n = *k;

	for (int i = MAGMA_KEY_LEN - 1; i >= 0; i--)
		if (++n.b[i]) {
			*out = n;
			return TRUE;
		}
	return FALSE;
}

gboolean magma_key_prev(const MagmaKey *k, MagmaKey *out)
{
	MagmaKey n = *k;

	for (int i = MAGMA_KEY_LEN - 1; i >= 0; i--)
		if (n.b[i]--) {
			*out = n;
			return TRUE;
		}
	return FALSE;
}

gboolean magma_range_has(const MagmaRange *r, const MagmaKey *k)
{
	return magma_key_cmp(&r->lo, k) <= 0 && magma_key_cmp(k, &r->hi) <= 0;
}

/* hi - lo as a number; lo <= hi. */
static MagmaKey range_distance(const MagmaRange *r)
{
	MagmaKey d;
	int borrow = 0;

	for (int i = MAGMA_KEY_LEN - 1; i >= 0; i--) {
		int v = r->hi.b[i] - r->lo.b[i] - borrow;
		borrow = v < 0;
		d.b[i] = (guint8)v;
	}
	return d;
}

MagmaKey magma_range_middle(const MagmaRange *r)
{
	MagmaKey d = range_distance(r), m;
	int carry = 0;

	for (int i = MAGMA_KEY_LEN - 1; i > 0; i--)
		d.b[i] = (guint8)(d.b[i] >> 1 | d.b[i - 1] << 7);
	d.b[0] >>= 1;
	for (int i = MAGMA_KEY_LEN - 1; i >= 0; i--) {
		int v = r->lo.b[i] + d.b[i] + carry;
		carry = v >> 8;
		m.b[i] = (guint8)v;
	}
	return m;
}

double magma_range_share(const MagmaRange *r)
{
	MagmaKey d = range_distance(r);
	double share = 1;       /* closed: one more than the distance */

	for (int i = MAGMA_KEY_LEN - 1; i >= 0; i--)
		share = (share + d.b[i]) / 256;
	return share;
}

void magma_put_key(GByteArray *out, const MagmaKey *k)
{
	magma_put_bytes(out, k->b, MAGMA_KEY_LEN);
}

MagmaKey magma_get_key(MagmaReader *r)
{
	MagmaKey k = { { 0 } };
	const guint8 *p = magma_get_bytes(r, MAGMA_KEY_LEN);

	if (p)
		memcpy(k.b, p, MAGMA_KEY_LEN);
	return k;
}
