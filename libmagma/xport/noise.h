/* Noise_NNpsk0_25519_ChaChaPoly_SHA256 (noiseprotocol.org, revision 34): -> psk, e  <- e, ee. Rule H1 of docs/protocol-sessions.md.
 * No state but the struct; a failed call leaves it as it was, so that a forged message disturbs nothing. */
#pragma once
#include <glib.h>

#define NOISE_KEY 32
#define NOISE_TAG 16
#define NOISE_OVERHEAD (NOISE_KEY + NOISE_TAG)   /* what a message is longer than its payload */

typedef struct {
	guint8 h[32], ck[32], k[32];
	guint64 n;
	gboolean keyed;
	guint8 e[32], e_pub[32], re[32];
} NoiseState;

void noise_init(NoiseState *s, const void *prologue, gsize len);
/* Message 1. e: 32 random bytes, our ephemeral private key; out: n + NOISE_OVERHEAD bytes. FALSE: a primitive failed. */
gboolean noise_write1(NoiseState *s, const guint8 psk[32], const guint8 e[32], const guint8 *payload, gsize n, guint8 *out);
/* len: of the whole message; out: len - NOISE_OVERHEAD bytes of payload. FALSE: too short, or the tag is wrong. No DH: cheap. */
gboolean noise_read1(NoiseState *s, const guint8 psk[32], const guint8 *msg, gsize len, guint8 *out);
gboolean noise_write2(NoiseState *s, const guint8 e[32], const guint8 *payload, gsize n, guint8 *out);
gboolean noise_read2(NoiseState *s, const guint8 *msg, gsize len, guint8 *out);
/* The traffic secrets after message 2: initiator to responder, and back. Wipes s but for the handshake hash. */
void noise_split(NoiseState *s, guint8 i2r[32], guint8 r2i[32]);

/* HMAC-SHA-256, as cookies and key ratchets need it too. */
void noise_hmac(const guint8 *key, gsize key_len, const void *data, gsize n, guint8 out[32]);
/* HKDF-Expand of RFC 5869 with an ASCII label as info; n is at most 32. */
void noise_expand(const guint8 secret[32], const char *label, guint8 *out, gsize n);
/* ChaCha20-Poly1305 (RFC 8439) with Noise's nonce. out: n + 16 bytes. */
gboolean noise_aead_seal(const guint8 key[32], guint64 nonce, const guint8 *ad, gsize ad_len, const guint8 *in, gsize n, guint8 *out);
/* in: n bytes with the tag; out: n - 16 bytes. FALSE: too short or forged. */
gboolean noise_aead_open(const guint8 key[32], guint64 nonce, const guint8 *ad, gsize ad_len, const guint8 *in, gsize n, guint8 *out);
/* FALSE when the result is zero (a point of low order). */
gboolean noise_dh(const guint8 priv[32], const guint8 pub[32], guint8 out[32]);
gboolean noise_public(const guint8 priv[32], guint8 pub[32]);
