/* The handshake pattern against the published vector of the Noise test suite (cacophony), the primitives against their RFCs. */
#include "libmagma/xport/noise.h"
#include "libmagma/xport/xport.h"
#include <string.h>

static gsize unhex(const char *s, guint8 *out)
{
	gsize n = strlen(s) / 2;
	for (gsize i = 0; i < n; i++)
		out[i] = (guint8)(g_ascii_xdigit_value(s[2 * i]) << 4 | g_ascii_xdigit_value(s[2 * i + 1]));
	return n;
}

static void expect(const guint8 *p, gsize n, const char *want)
{
	guint8 w[256];
	gsize m = unhex(want, w);
	g_assert_cmpmem(p, n, w, m);
}

#define PROLOGUE "4a6f686e2047616c74"
#define PSK "54686973206973206d7920417573747269616e20706572737065637469766521"
#define INIT_E "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"
#define RESP_E "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"

static const struct {
	const char *payload, *cipher;
} VECTOR[] = {
	{ "4c756477696720766f6e204d69736573",
	  "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c794479b962b8aff8485742ac32f905ba45369e2465fb59e138a93d67a0d1266b6a54" },
	{ "4d757272617920526f746862617264",
	  "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843d6062704d5a9c422a8e834423f8c1feada7e8d0d910a1a2cd030fb584221e3" },
	{ "462e20412e20486179656b", "e632c3763d7669067383433197a3baddf146e9e70ad4b4e9e59e0f" },
	{ "4361726c204d656e676572", "64c6bee32ea91c8474bb4c21d7a700109ad45af77b29764ba5eb1e" },
	{ "4a65616e2d426170746973746520536179", "e2fa0bed0603b62d3ccac2ecabbf3fe33f3e86514909b323361626266cb2471cc8" },
	{ "457567656e2042f6686d20766f6e2042617765726b", "0c01dc9cec1fe4ddd692e8dd32188aa351088dc91183639a53b57aa4692b5ebdef8b8ca111" },
};
/* The file calls it handshake_hash; computed by hand it is the one after message 1, in this as in its other vectors. */
#define HASH_AFTER_1 "054a32eaeedc4061a64cec028e34e5775d4de033e32525a5dfbd719056bae0b6"

static void published_vector(void)
{
	guint8 prologue[32], psk[32], ie[32], re[32], in[64], out[128], back[128], k[2][32], rk[2][32];
	gsize prologue_n = unhex(PROLOGUE, prologue);
	NoiseState i, r;
	unhex(PSK, psk);
	unhex(INIT_E, ie);
	unhex(RESP_E, re);
	noise_init(&i, prologue, prologue_n);
	noise_init(&r, prologue, prologue_n);

	gsize n = unhex(VECTOR[0].payload, in);
	g_assert_true(noise_write1(&i, psk, ie, in, n, out));
	expect(out, n + NOISE_OVERHEAD, VECTOR[0].cipher);
	g_assert_true(noise_read1(&r, psk, out, n + NOISE_OVERHEAD, back));
	g_assert_cmpmem(back, n, in, n);

	expect(i.h, 32, HASH_AFTER_1);
	expect(r.h, 32, HASH_AFTER_1);

	n = unhex(VECTOR[1].payload, in);
	g_assert_true(noise_write2(&r, re, in, n, out));
	expect(out, n + NOISE_OVERHEAD, VECTOR[1].cipher);
	g_assert_true(noise_read2(&i, out, n + NOISE_OVERHEAD, back));
	g_assert_cmpmem(back, n, in, n);

	noise_split(&i, k[0], k[1]);
	noise_split(&r, rk[0], rk[1]);
	g_assert_cmpmem(k, sizeof k, rk, sizeof rk);
	g_assert_cmpmem(i.h, 32, r.h, 32);
	for (guint m = 2; m < G_N_ELEMENTS(VECTOR); m++) {
		n = unhex(VECTOR[m].payload, in);
		g_assert_true(noise_aead_seal(k[m % 2], (m - 2) / 2, NULL, 0, in, n, out));
		expect(out, n + NOISE_TAG, VECTOR[m].cipher);
	}
}

static void both_sides(NoiseState *i, NoiseState *r, guint8 psk_i, guint8 psk_r, const char *prologue_r, guint8 *msg, gboolean *opened)
{
	guint8 psk[2][32], e[32], payload[10] = "payload", back[10];
	memset(psk[0], psk_i, 32);
	memset(psk[1], psk_r, 32);
	memset(e, 7, 32);
	noise_init(i, "prologue", 8);
	noise_init(r, prologue_r, strlen(prologue_r));
	g_assert_true(noise_write1(i, psk[0], e, payload, sizeof payload, msg));
	*opened = noise_read1(r, psk[1], msg, sizeof payload + NOISE_OVERHEAD, back);
}

static void wrong_key_or_prologue_is_refused(void)
{
	NoiseState i, r;
	guint8 msg[64];
	gboolean opened;
	both_sides(&i, &r, 1, 1, "prologue", msg, &opened);
	g_assert_true(opened);
	both_sides(&i, &r, 1, 2, "prologue", msg, &opened);
	g_assert_false(opened);
	both_sides(&i, &r, 1, 1, "prolog", msg, &opened);
	g_assert_false(opened);
}

static void any_changed_bit_is_refused_and_harmless(void)
{
	NoiseState i, r;
	guint8 msg[64], answer[64], psk[32], e[32], back[64];
	gboolean opened;
	memset(psk, 1, 32);
	memset(e, 9, 32);
	for (guint bit = 0; bit < (10 + NOISE_OVERHEAD) * 8; bit++) {
		both_sides(&i, &r, 1, 1, "prologue", msg, &opened);
		noise_init(&r, "prologue", 8);
		NoiseState before = r;
		msg[bit / 8] ^= (guint8)(1 << bit % 8);
		g_assert_false(noise_read1(&r, psk, msg, 10 + NOISE_OVERHEAD, back));
		g_assert_cmpmem(&r, sizeof r, &before, sizeof before);
	}
	both_sides(&i, &r, 1, 1, "prologue", msg, &opened);
	g_assert_true(noise_write2(&r, e, (const guint8 *)"answer", 6, answer));
	for (guint bit = 0; bit < (6 + NOISE_OVERHEAD) * 8; bit++) {
		answer[bit / 8] ^= (guint8)(1 << bit % 8);
		g_assert_false(noise_read2(&i, answer, 6 + NOISE_OVERHEAD, back));
		answer[bit / 8] ^= (guint8)(1 << bit % 8);
	}
	for (gsize n = 0; n < 6 + NOISE_OVERHEAD; n++)
		g_assert_false(noise_read2(&i, answer, n, back));
	g_assert_true(noise_read2(&i, answer, 6 + NOISE_OVERHEAD, back));
}

static void zero_point_is_refused(void)
{
	guint8 priv[32], zero[32] = { 0 }, out[32];
	memset(priv, 3, 32);
	g_assert_false(noise_dh(priv, zero, out));
}

/* RFC 4231, test case 2. */
static void hmac_vector(void)
{
	guint8 out[32];
	noise_hmac((const guint8 *)"Jefe", 4, "what do ya want for nothing?", 28, out);
	expect(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void psk_is_scrypt_with_the_documented_parameters(void)
{
	guint8 a[32], b[32];
	g_assert_true(magma_psk_derive("m4gm4s3cr3t", 11, a));
	g_assert_true(magma_psk_derive("m4gm4s3cr3t", 11, b));
	g_assert_cmpmem(a, 32, b, 32);
	expect(a, 32, "951aaf27458881a6bb524c8d570b7726f978f85ab6b97663a76221ccb9260f1e");      /* as Python's hashlib.scrypt has it */
	g_assert_true(magma_psk_derive("m4gm4s3cr3u", 11, b));
	g_assert_cmpint(memcmp(a, b, 32), !=, 0);
	g_assert_false(magma_psk_derive("", 0, b));
	g_autofree char *longer = g_strnfill(1025, 'x');
	g_assert_false(magma_psk_derive(longer, 1025, b));
	g_assert_true(magma_psk_derive(longer, 1024, b));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/noise/published_vector", published_vector);
	g_test_add_func("/noise/wrong_key_or_prologue_is_refused", wrong_key_or_prologue_is_refused);
	g_test_add_func("/noise/any_changed_bit_is_refused_and_harmless", any_changed_bit_is_refused_and_harmless);
	g_test_add_func("/noise/zero_point_is_refused", zero_point_is_refused);
	g_test_add_func("/noise/hmac_vector", hmac_vector);
	g_test_add_func("/noise/psk_is_scrypt_with_the_documented_parameters", psk_is_scrypt_with_the_documented_parameters);
	return g_test_run();
}
