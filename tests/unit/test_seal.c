/* Packet protection: every byte counts, nothing is taken twice, keys change without losing anything. */
#include "libmagma/xport/seal.h"
#include <string.h>

#define HEADER 13

static guint8 secret[32] = "a secret of thirty-two bytes ...";

typedef struct {
	guint8 bytes[256];
	gsize n;
	guint64 pn;
	guint phase;
} Packet;

static Packet seal(Sealer *s, guint64 pn, const char *text)
{
	Packet p = { .pn = pn, .phase = s->phase & 1 };
	gsize n = strlen(text);
	memset(p.bytes, 0x11, HEADER);
	p.bytes[0] = (guint8)(0x40 | p.phase);
	sealer_begin(s, pn, p.bytes, HEADER);
	sealer_piece(s, p.bytes + HEADER, (const guint8 *)text, n / 3);
	sealer_piece(s, p.bytes + HEADER + n / 3, (const guint8 *)text + n / 3, n - n / 3);
	sealer_end(s, p.bytes + HEADER + n);
	p.n = HEADER + n + SEAL_TAG;
	return p;
}

static SealResult unseal(Opener *o, const Packet *p, char *text)
{
	guint8 out[256];
	SealResult r = opener_open(o, p->pn, p->phase, p->bytes, HEADER, p->bytes + HEADER, p->n - HEADER, out);
	if (r == SEAL_OK && text) {
		memcpy(text, out, p->n - HEADER - SEAL_TAG);
		text[p->n - HEADER - SEAL_TAG] = 0;
	}
	return r;
}

static void round_trip(gconstpointer suite)
{
	Sealer s;
	Opener o;
	char text[256];
	sealer_init(&s, GPOINTER_TO_INT(suite), secret);
	opener_init(&o, GPOINTER_TO_INT(suite), secret);
	for (guint i = 0; i < 100; i++) {
		g_autofree char *want = g_strdup_printf("packet %u %.*s", i, (int)i, "and a text of some length, so that whole cipher blocks come into it, and the last is not full");
		Packet p = seal(&s, i, want);
		g_assert_cmpint(unseal(&o, &p, text), ==, SEAL_OK);
		g_assert_cmpstr(text, ==, want);
	}
	sealer_clear(&s);
	opener_clear(&o);
}

static void any_changed_byte_is_refused(gconstpointer suite)
{
	Sealer s;
	Opener o;
	sealer_init(&s, GPOINTER_TO_INT(suite), secret);
	opener_init(&o, GPOINTER_TO_INT(suite), secret);
	Packet p = seal(&s, 7, "some words that matter");
	for (gsize i = 0; i < p.n; i++) {
		p.bytes[i] ^= 1;
		g_assert_cmpint(unseal(&o, &p, NULL), ==, SEAL_FORGED);
		p.bytes[i] ^= 1;
	}
	Packet other = p;
	other.pn = 8;
	g_assert_cmpint(unseal(&o, &other, NULL), ==, SEAL_FORGED);
	other = p;
	other.phase ^= 1;
	g_assert_cmpint(unseal(&o, &other, NULL), ==, SEAL_FORGED);
	for (other = p, other.n = HEADER; other.n < p.n; other.n++)
		g_assert_cmpint(unseal(&o, &other, NULL), ==, SEAL_FORGED);
	g_assert_cmpuint(o.forged, ==, 2 * p.n - HEADER - SEAL_TAG + 2);
	g_assert_cmpint(unseal(&o, &p, NULL), ==, SEAL_OK);
	g_assert_cmpint(unseal(&o, &p, NULL), ==, SEAL_REPLAYED);
	sealer_clear(&s);
	opener_clear(&o);
}

/* Against a model that remembers everything. */
static void replay_window_takes_each_packet_once(void)
{
	Sealer s;
	Opener o;
	enum { N = 60000 };
	g_autofree guint8 *seen = g_malloc0(N);
	guint64 highest = 0;
	sealer_init(&s, SEAL_AES256GCM, secret);
	opener_init(&o, SEAL_AES256GCM, secret);
	for (guint i = 0; i < 40000; i++) {
		guint64 front = (guint64)i * 3 / 2;
		guint64 back = (guint64)g_random_int_range(0, g_random_boolean() ? 100 : 20000);
		guint64 pn = front > back ? front - back : front;
		if (i % 5000 == 4999)
			pn = MIN(front + 200, N - 1);
		Packet p = seal(&s, pn, "x");
		SealResult r = unseal(&o, &p, NULL);
		if (seen[pn])
			g_assert_cmpint(r, ==, SEAL_REPLAYED);
		else if (highest - MIN(pn, highest) < 8192)
			g_assert_cmpint(r, ==, SEAL_OK);         /* at least 8192 packets deep */
		else
			g_assert_cmpint(r, !=, SEAL_FORGED);
		if (r == SEAL_OK)
			seen[pn] = 1;
		highest = MAX(highest, pn);
	}
	/* A jump far ahead forgets, but lets nothing old in. */
	Packet p = seal(&s, 10 * N, "x"), q = seal(&s, 10 * N - 70, "y"), r = seal(&s, 5, "z");
	g_assert_cmpint(unseal(&o, &p, NULL), ==, SEAL_OK);
	g_assert_cmpint(unseal(&o, &q, NULL), ==, SEAL_OK);
	g_assert_cmpint(unseal(&o, &q, NULL), ==, SEAL_REPLAYED);
	g_assert_cmpint(unseal(&o, &r, NULL), ==, SEAL_REPLAYED);
	sealer_clear(&s);
	opener_clear(&o);
}

static void forged_packet_does_not_move_the_window(void)
{
	Sealer s;
	Opener o;
	sealer_init(&s, SEAL_AES256GCM, secret);
	opener_init(&o, SEAL_AES256GCM, secret);
	Packet p = seal(&s, 3, "x"), far = seal(&s, 1000000, "y");
	far.bytes[HEADER] ^= 1;
	g_assert_cmpint(unseal(&o, &far, NULL), ==, SEAL_FORGED);
	g_assert_cmpint(unseal(&o, &p, NULL), ==, SEAL_OK);
	g_assert_cmpuint(o.expect, ==, 4);
	sealer_clear(&s);
	opener_clear(&o);
}

static void keys_change_and_late_packets_are_still_read(void)
{
	Sealer s;
	Opener o;
	sealer_init(&s, SEAL_CHACHA20POLY1305, secret);
	opener_init(&o, SEAL_CHACHA20POLY1305, secret);
	Packet early = seal(&s, 0, "early"), late = seal(&s, 1, "late");
	guint8 first_key[32];
	memcpy(first_key, s.key.key, 32);
	sealer_rekey(&s, 2);
	g_assert_cmpint(memcmp(first_key, s.key.key, 32), !=, 0);
	Packet next = seal(&s, 3, "next"), swapped = seal(&s, 2, "swapped");
	g_assert_cmpint(unseal(&o, &early, NULL), ==, SEAL_OK);
	Packet forged = next;
	forged.bytes[HEADER] ^= 1;
	g_assert_cmpint(unseal(&o, &forged, NULL), ==, SEAL_FORGED);
	g_assert_cmpuint(o.phase, ==, 0);                        /* nobody else turns the key */
	g_assert_cmpint(unseal(&o, &next, NULL), ==, SEAL_OK);
	g_assert_cmpuint(o.phase, ==, 1);
	g_assert_cmpint(unseal(&o, &late, NULL), ==, SEAL_OK);
	g_assert_cmpint(unseal(&o, &swapped, NULL), ==, SEAL_OK);
	for (guint i = 0; i < 10; i++) {
		sealer_rekey(&s, 4 + i);
		Packet p = seal(&s, 4 + i, "again");
		g_assert_cmpint(unseal(&o, &p, NULL), ==, SEAL_OK);
		g_assert_cmpuint(o.phase, ==, 2 + i);
	}
	sealer_clear(&s);
	opener_clear(&o);
}

/* The example of RFC 9000, A.3, and the edges. */
static void packet_numbers_are_expanded(void)
{
	Opener o = { .expect = 0 };
	g_assert_cmpuint(opener_expand(&o, 0), ==, 0);
	g_assert_cmpuint(opener_expand(&o, 5), ==, 5);
	o.expect = G_GUINT64_CONSTANT(0x1fffffff0);
	g_assert_cmphex(opener_expand(&o, 0xfffffff5), ==, G_GUINT64_CONSTANT(0x1fffffff5));
	g_assert_cmphex(opener_expand(&o, 3), ==, G_GUINT64_CONSTANT(0x200000003));
	o.expect = G_GUINT64_CONSTANT(0x200000010);
	g_assert_cmphex(opener_expand(&o, 0xfffffff5), ==, G_GUINT64_CONSTANT(0x1fffffff5));
	g_assert_cmphex(opener_expand(&o, 0x10), ==, G_GUINT64_CONSTANT(0x200000010));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/seal/aes/round_trip", GINT_TO_POINTER(SEAL_AES256GCM), round_trip);
	g_test_add_data_func("/seal/chacha/round_trip", GINT_TO_POINTER(SEAL_CHACHA20POLY1305), round_trip);
	g_test_add_data_func("/seal/aes/any_changed_byte_is_refused", GINT_TO_POINTER(SEAL_AES256GCM), any_changed_byte_is_refused);
	g_test_add_data_func("/seal/chacha/any_changed_byte_is_refused", GINT_TO_POINTER(SEAL_CHACHA20POLY1305), any_changed_byte_is_refused);
	g_test_add_func("/seal/replay_window_takes_each_packet_once", replay_window_takes_each_packet_once);
	g_test_add_func("/seal/forged_packet_does_not_move_the_window", forged_packet_does_not_move_the_window);
	g_test_add_func("/seal/keys_change_and_late_packets_are_still_read", keys_change_and_late_packets_are_still_read);
	g_test_add_func("/seal/packet_numbers_are_expanded", packet_numbers_are_expanded);
	return g_test_run();
}
