/* Packet protection of data datagrams: AEAD with the packet number as nonce, a replay window, and key phases. Rules P1-P5 of
 * docs/protocol-sessions.md. Cipher contexts are made once per key; a packet costs one IV and the work itself. */
#pragma once
#include <glib.h>
#include <openssl/types.h>

#define SEAL_TAG 16
#define SEAL_WINDOW 16384u                    /* packets the replay window remembers: several hundred GSO bursts of 44 */
#define SEAL_REKEY_PACKETS (1u << 20)         /* an eighth of the confidentiality limit 2^23 of AES-GCM (RFC 9001, 6.6) */
#define SEAL_FORGERY_LIMIT (G_GUINT64_CONSTANT(1) << 36)   /* integrity limit of ChaCha20-Poly1305, the lower one */

typedef enum {
	SEAL_AES256GCM = 1,
	SEAL_CHACHA20POLY1305 = 2,
} SealSuite;

typedef struct {
	guint8 secret[32], key[32], iv[12];
	EVP_CIPHER_CTX *ctx;
} SealKey;

typedef struct {
	SealSuite suite;
	SealKey key;
	guint phase;                  /* generation of the key; its lowest bit is on the wire */
	guint64 sealed;               /* packets under this key */
	guint64 first_pn;             /* the first packet number under this key */
} Sealer;

typedef struct {
	SealSuite suite;
	SealKey now, next, prev;      /* prev.ctx is NULL before the first change */
	guint phase;
	guint64 first_pn;             /* the lowest packet number seen under `now` */
	guint64 expect;               /* one above the highest packet number opened */
	guint64 forged;
	guint64 seen[SEAL_WINDOW / 64];
} Opener;

typedef enum { SEAL_OK, SEAL_FORGED, SEAL_REPLAYED } SealResult;

/* TRUE: the CPU computes AES-GCM faster than ChaCha20. */
gboolean seal_prefers_aes(void);

void sealer_init(Sealer *s, SealSuite suite, const guint8 secret[32]);
void sealer_clear(Sealer *s);
/* Goes to the next key; the caller knows that the peer has opened a packet under the present one. */
void sealer_rekey(Sealer *s, guint64 next_pn);
/* One packet: begin, any number of pieces (in may be out), end. Pieces of multiples of 16 bytes are the fast ones. */
void sealer_begin(Sealer *s, guint64 pn, const guint8 *header, gsize n);
void sealer_piece(Sealer *s, guint8 *out, const guint8 *in, gsize n);
void sealer_end(Sealer *s, guint8 tag[SEAL_TAG]);

void opener_init(Opener *o, SealSuite suite, const guint8 secret[32]);
void opener_clear(Opener *o);
/* The packet number of which `truncated` are the low 32 bits (RFC 9000, A.3). */
guint64 opener_expand(const Opener *o, guint32 truncated);
/* in: ciphertext and tag, n bytes; out: n - SEAL_TAG bytes, garbage unless SEAL_OK. phase: the key phase bit of the header. */
SealResult opener_open(Opener *o, guint64 pn, guint phase, const guint8 *header, gsize header_len, const guint8 *in, gsize n, guint8 *out);
