#include "libmagma/xport/seal.h"
#include "libmagma/xport/noise.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

gboolean seal_prefers_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
	return (getauxval(AT_HWCAP) & (1u << 3)) != 0;   /* HWCAP_AES */
#else
	return FALSE;
#endif
}

static void key_init(SealKey *k, SealSuite suite, const guint8 secret[32], gboolean encrypt)
{
	const EVP_CIPHER *cipher = suite == SEAL_AES256GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
	memcpy(k->secret, secret, 32);
	noise_expand(secret, "magma key", k->key, 32);
	noise_expand(secret, "magma iv", k->iv, 12);
	k->ctx = EVP_CIPHER_CTX_new();
	if (!k->ctx || EVP_CipherInit_ex(k->ctx, cipher, NULL, k->key, NULL, encrypt) != 1)
		g_error("AES-256-GCM or ChaCha20-Poly1305 is not available in this OpenSSL");
}

static void key_clear(SealKey *k)
{
	EVP_CIPHER_CTX_free(k->ctx);
	OPENSSL_cleanse(k, sizeof *k);
	k->ctx = NULL;
}

static void key_ratchet(SealKey *to, const SealKey *from, SealSuite suite, gboolean encrypt)
{
	guint8 secret[32];
	noise_expand(from->secret, "magma ku", secret, 32);
	key_init(to, suite, secret, encrypt);
	OPENSSL_cleanse(secret, sizeof secret);
}

/* The packet number, big-endian, over the last eight bytes of the IV. */
static void make_nonce(const SealKey *k, guint64 pn, guint8 out[12])
{
	memcpy(out, k->iv, 12);
	for (int i = 0; i < 8; i++)
		out[11 - i] ^= (guint8)(pn >> (8 * i));
}

void sealer_init(Sealer *s, SealSuite suite, const guint8 secret[32])
{
	*s = (Sealer){ .suite = suite };
	key_init(&s->key, suite, secret, TRUE);
}

void sealer_clear(Sealer *s)
{
	key_clear(&s->key);
}

void sealer_rekey(Sealer *s, guint64 next_pn)
{
	SealKey old = s->key;
	key_ratchet(&s->key, &old, s->suite, TRUE);
	key_clear(&old);
	s->phase++;
	s->sealed = 0;
	s->first_pn = next_pn;
}

void sealer_begin(Sealer *s, guint64 pn, const guint8 *header, gsize n)
{
	guint8 nonce[12];
	int len;
	make_nonce(&s->key, pn, nonce);
	if (EVP_EncryptInit_ex(s->key.ctx, NULL, NULL, NULL, nonce) != 1 ||
	    EVP_EncryptUpdate(s->key.ctx, NULL, &len, header, (int)n) != 1)
		g_error("sealing a packet failed");
	s->sealed++;
}

void sealer_piece(Sealer *s, guint8 *out, const guint8 *in, gsize n)
{
	int len;
	if (n && EVP_EncryptUpdate(s->key.ctx, out, &len, in, (int)n) != 1)
		g_error("sealing a packet failed");
}

void sealer_end(Sealer *s, guint8 tag[SEAL_TAG])
{
	guint8 none[1];
	int len;
	if (EVP_EncryptFinal_ex(s->key.ctx, none, &len) != 1 || EVP_CIPHER_CTX_ctrl(s->key.ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, tag) != 1)
		g_error("sealing a packet failed");
}

void opener_init(Opener *o, SealSuite suite, const guint8 secret[32])
{
	memset(o, 0, sizeof *o);
	o->suite = suite;
	key_init(&o->now, suite, secret, FALSE);
	key_ratchet(&o->next, &o->now, suite, FALSE);
}

void opener_clear(Opener *o)
{
	key_clear(&o->now);
	key_clear(&o->next);
	key_clear(&o->prev);
}

guint64 opener_expand(const Opener *o, guint32 truncated)
{
	const guint64 window = G_GUINT64_CONSTANT(1) << 32, half = window / 2;
	guint64 candidate = (o->expect & ~(window - 1)) | truncated;
	if (o->expect >= half && candidate <= o->expect - half)
		return candidate + window;
	if (candidate > o->expect + half && candidate >= window)
		return candidate - window;
	return candidate;
}

static gboolean replayed(const Opener *o, guint64 pn)
{
	if (pn >= o->expect)
		return FALSE;
	if (o->expect - pn > SEAL_WINDOW - 64)   /* the word being filled is shared with the oldest */
		return TRUE;
	return o->seen[(pn / 64) % G_N_ELEMENTS(o->seen)] >> (pn % 64) & 1;
}

/* A ring of words: moving the upper end clears the words it enters; the window is at least SEAL_WINDOW - 63 packets deep. */
static void mark_seen(Opener *o, guint64 pn)
{
	const guint words = G_N_ELEMENTS(o->seen);
	if (pn >= o->expect) {
		guint64 from = o->expect ? (o->expect - 1) / 64 + 1 : 0, to = pn / 64;
		if (to - from >= words && to >= from)
			memset(o->seen, 0, sizeof o->seen);
		else
			for (; from <= to; from++)
				o->seen[from % words] = 0;
		o->expect = pn + 1;
	}
	o->seen[(pn / 64) % words] |= G_GUINT64_CONSTANT(1) << (pn % 64);
}

static gboolean decrypt(SealKey *k, guint64 pn, const guint8 *header, gsize header_len, const guint8 *in, gsize n, guint8 *out)
{
	guint8 nonce[12], none[1];
	int len;
	make_nonce(k, pn, nonce);
	return EVP_DecryptInit_ex(k->ctx, NULL, NULL, NULL, nonce) == 1 && EVP_DecryptUpdate(k->ctx, NULL, &len, header, (int)header_len) == 1 &&
	       (n == 0 || EVP_DecryptUpdate(k->ctx, out, &len, in, (int)n) == 1) &&
	       EVP_CIPHER_CTX_ctrl(k->ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, (void *)(in + n)) == 1 &&
	       EVP_DecryptFinal_ex(k->ctx, none, &len) == 1;
}

/* The peer went on to its next key: so do we, keeping the old one for packets that the network held back. */
static void follow_rekey(Opener *o, guint64 pn)
{
	key_clear(&o->prev);
	o->prev = o->now;
	o->now = o->next;
	key_ratchet(&o->next, &o->now, o->suite, FALSE);
	o->phase++;
	o->first_pn = pn;
}

SealResult opener_open(Opener *o, guint64 pn, guint phase, const guint8 *header, gsize header_len, const guint8 *in, gsize n, guint8 *out)
{
	if (n < SEAL_TAG)
		return SEAL_FORGED;
	if (replayed(o, pn))
		return SEAL_REPLAYED;
	gboolean same = (o->phase & 1) == phase, old = !same && pn < o->first_pn;
	SealKey *k = same ? &o->now : old ? &o->prev : &o->next;
	if (!k->ctx || !decrypt(k, pn, header, header_len, in, n - SEAL_TAG, out)) {
		o->forged++;
		return SEAL_FORGED;
	}
	mark_seen(o, pn);
	if (!same && !old)
		follow_rekey(o, pn);
	else if (same && pn < o->first_pn)
		o->first_pn = pn;
	return SEAL_OK;
}
