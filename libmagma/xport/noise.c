#include "libmagma/xport/noise.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY, EVP_PKEY_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_PKEY_CTX, EVP_PKEY_CTX_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

static const char PROTOCOL[] = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";

void noise_hmac(const guint8 *key, gsize key_len, const void *data, gsize n, guint8 out[32])
{
	unsigned len = 32;
	if (!HMAC(EVP_sha256(), key, (int)key_len, data, n, out, &len))
		g_error("HMAC-SHA-256 is not available in this OpenSSL");
}

void noise_expand(const guint8 secret[32], const char *label, guint8 *out, gsize n)
{
	guint8 info[64], block[32];
	gsize len = strlen(label);
	g_assert(len < sizeof info && n <= sizeof block);
	memcpy(info, label, len);
	info[len] = 1;
	noise_hmac(secret, 32, info, len + 1, block);
	memcpy(out, block, n);
	OPENSSL_cleanse(block, sizeof block);
}

/* Noise's HKDF: HMAC-Extract with ck as salt, then up to three outputs. */
static void hkdf(const guint8 ck[32], const guint8 *ikm, gsize n, guint8 *o1, guint8 *o2, guint8 *o3)
{
	guint8 temp[32], block[33];
	noise_hmac(ck, 32, ikm, n, temp);
	block[0] = 1;
	noise_hmac(temp, 32, block, 1, o1);
	memcpy(block, o1, 32);
	block[32] = 2;
	noise_hmac(temp, 32, block, 33, o2);
	if (o3) {
		memcpy(block, o2, 32);
		block[32] = 3;
		noise_hmac(temp, 32, block, 33, o3);
	}
	OPENSSL_cleanse(temp, sizeof temp);
	OPENSSL_cleanse(block, sizeof block);
}

gboolean noise_public(const guint8 priv[32], guint8 pub[32])
{
	g_autoptr(EVP_PKEY) key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, priv, 32);
	size_t len = 32;
	return key && EVP_PKEY_get_raw_public_key(key, pub, &len) == 1 && len == 32;
}

gboolean noise_dh(const guint8 priv[32], const guint8 pub[32], guint8 out[32])
{
	g_autoptr(EVP_PKEY) mine = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, priv, 32);
	g_autoptr(EVP_PKEY) theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, pub, 32);
	if (!mine || !theirs)
		return FALSE;
	g_autoptr(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new(mine, NULL);
	size_t len = 32;
	return ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
	       EVP_PKEY_derive(ctx, out, &len) == 1 && len == 32;
}

/* The nonce: 32 zero bits, then the counter, little-endian. */
static void make_nonce(guint64 n, guint8 out[12])
{
	memset(out, 0, 4);
	for (int i = 0; i < 8; i++)
		out[4 + i] = (guint8)(n >> (8 * i));
}

gboolean noise_aead_seal(const guint8 key[32], guint64 nonce, const guint8 *ad, gsize ad_len, const guint8 *in, gsize n, guint8 *out)
{
	g_autoptr(EVP_CIPHER_CTX) ctx = EVP_CIPHER_CTX_new();
	guint8 iv[12];
	int len = 0;
	make_nonce(nonce, iv);
	return ctx && EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, iv) == 1 &&
	       EVP_EncryptUpdate(ctx, NULL, &len, ad, (int)ad_len) == 1 &&
	       (n == 0 || EVP_EncryptUpdate(ctx, out, &len, in, (int)n) == 1) && EVP_EncryptFinal_ex(ctx, out + n, &len) == 1 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, NOISE_TAG, out + n) == 1;
}

gboolean noise_aead_open(const guint8 key[32], guint64 nonce, const guint8 *ad, gsize ad_len, const guint8 *in, gsize n, guint8 *out)
{
	if (n < NOISE_TAG)
		return FALSE;
	g_autoptr(EVP_CIPHER_CTX) ctx = EVP_CIPHER_CTX_new();
	guint8 iv[12], tag[NOISE_TAG], none[1];
	gsize body = n - NOISE_TAG;
	int len = 0;
	make_nonce(nonce, iv);
	memcpy(tag, in + body, NOISE_TAG);
	return ctx && EVP_DecryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, iv) == 1 &&
	       EVP_DecryptUpdate(ctx, NULL, &len, ad, (int)ad_len) == 1 &&
	       (body == 0 || EVP_DecryptUpdate(ctx, out, &len, in, (int)body) == 1) &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, NOISE_TAG, tag) == 1 && EVP_DecryptFinal_ex(ctx, none, &len) == 1;
}

static void mix_hash(NoiseState *s, const void *data, gsize n)
{
	g_autofree guint8 *joined = g_malloc(32 + n);
	memcpy(joined, s->h, 32);
	if (n)
		memcpy(joined + 32, data, n);
	SHA256(joined, 32 + n, s->h);
}

static void mix_key(NoiseState *s, const guint8 *ikm, gsize n)
{
	hkdf(s->ck, ikm, n, s->ck, s->k, NULL);
	s->n = 0;
	s->keyed = TRUE;
}

static void mix_psk(NoiseState *s, const guint8 psk[32])
{
	guint8 temp[32];
	hkdf(s->ck, psk, 32, s->ck, temp, s->k);
	mix_hash(s, temp, 32);
	s->n = 0;
	s->keyed = TRUE;
	OPENSSL_cleanse(temp, sizeof temp);
}

/* In a PSK pattern an ephemeral key is mixed into the chaining key too, so that no key is ever used twice. */
static void mix_ephemeral(NoiseState *s, const guint8 pub[32])
{
	mix_hash(s, pub, 32);
	mix_key(s, pub, 32);
}

static gboolean seal_and_hash(NoiseState *s, const guint8 *in, gsize n, guint8 *out)
{
	if (!noise_aead_seal(s->k, s->n++, s->h, 32, in, n, out))
		return FALSE;
	mix_hash(s, out, n + NOISE_TAG);
	return TRUE;
}

static gboolean open_and_hash(NoiseState *s, const guint8 *in, gsize n, guint8 *out)
{
	if (!noise_aead_open(s->k, s->n++, s->h, 32, in, n, out))
		return FALSE;
	mix_hash(s, in, n);
	return TRUE;
}

void noise_init(NoiseState *s, const void *prologue, gsize len)
{
	memset(s, 0, sizeof *s);
	SHA256((const guint8 *)PROTOCOL, sizeof PROTOCOL - 1, s->h);   /* longer than a hash, so it is hashed */
	memcpy(s->ck, s->h, 32);
	mix_hash(s, prologue, len);
}

gboolean noise_write1(NoiseState *s, const guint8 psk[32], const guint8 e[32], const guint8 *payload, gsize n, guint8 *out)
{
	NoiseState t = *s;
	memcpy(t.e, e, 32);
	if (!noise_public(t.e, t.e_pub))
		return FALSE;
	mix_psk(&t, psk);
	mix_ephemeral(&t, t.e_pub);
	memcpy(out, t.e_pub, 32);
	if (!seal_and_hash(&t, payload, n, out + 32))
		return FALSE;
	*s = t;
	OPENSSL_cleanse(&t, sizeof t);
	return TRUE;
}

gboolean noise_read1(NoiseState *s, const guint8 psk[32], const guint8 *msg, gsize len, guint8 *out)
{
	if (len < NOISE_OVERHEAD)
		return FALSE;
	NoiseState t = *s;
	memcpy(t.re, msg, 32);
	mix_psk(&t, psk);
	mix_ephemeral(&t, t.re);
	if (!open_and_hash(&t, msg + 32, len - 32, out))
		return FALSE;
	*s = t;
	OPENSSL_cleanse(&t, sizeof t);
	return TRUE;
}

gboolean noise_write2(NoiseState *s, const guint8 e[32], const guint8 *payload, gsize n, guint8 *out)
{
	NoiseState t = *s;
	guint8 shared[32];
	memcpy(t.e, e, 32);
	if (!noise_public(t.e, t.e_pub) || !noise_dh(t.e, t.re, shared))
		return FALSE;
	mix_ephemeral(&t, t.e_pub);
	mix_key(&t, shared, 32);
	OPENSSL_cleanse(shared, sizeof shared);
	memcpy(out, t.e_pub, 32);
	if (!seal_and_hash(&t, payload, n, out + 32))
		return FALSE;
	*s = t;
	OPENSSL_cleanse(&t, sizeof t);
	return TRUE;
}

gboolean noise_read2(NoiseState *s, const guint8 *msg, gsize len, guint8 *out)
{
	if (len < NOISE_OVERHEAD)
		return FALSE;
	NoiseState t = *s;
	guint8 shared[32];
	memcpy(t.re, msg, 32);
	if (!noise_dh(t.e, t.re, shared))
		return FALSE;
	mix_ephemeral(&t, t.re);
	mix_key(&t, shared, 32);
	OPENSSL_cleanse(shared, sizeof shared);
	if (!open_and_hash(&t, msg + 32, len - 32, out))
		return FALSE;
	*s = t;
	OPENSSL_cleanse(&t, sizeof t);
	return TRUE;
}

void noise_split(NoiseState *s, guint8 i2r[32], guint8 r2i[32])
{
	hkdf(s->ck, NULL, 0, i2r, r2i, NULL);
	OPENSSL_cleanse(s->ck, sizeof s->ck);
	OPENSSL_cleanse(s->k, sizeof s->k);
	OPENSSL_cleanse(s->e, sizeof s->e);
}
