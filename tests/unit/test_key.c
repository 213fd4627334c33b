/* libmagma/key. The reference for arithmetic is a number as 160 separate bits, worked on as one does on paper. */
#include "libmagma/key/key.h"
#include <math.h>
#include <string.h>

#define BITS 160
typedef struct { guint8 bit[BITS + 1]; } Num;   /* [0] lowest; one more for the carry */

static Num num_of(const MagmaKey *k)
{
	Num n = { { 0 } };

	for (int i = 0; i < BITS; i++)
		n.bit[i] = k->b[MAGMA_KEY_LEN - 1 - i / 8] >> (i % 8) & 1;
	return n;
}

static MagmaKey key_of(const Num *n)
{
	MagmaKey k = { { 0 } };

	for (int i = 0; i < BITS; i++)
		k.b[MAGMA_KEY_LEN - 1 - i / 8] |= (guint8)(n->bit[i] << (i % 8));
	return k;
}

static Num num_add(const Num *a, const Num *b)
{
	Num s = { { 0 } };
	int carry = 0;

	for (int i = 0; i <= BITS; i++) {
		carry += a->bit[i] + b->bit[i];
		s.bit[i] = carry & 1;
		carry >>= 1;
	}
	return s;
}

static Num num_halve(const Num *a)
{
	Num h = { { 0 } };

	for (int i = 0; i < BITS; i++)
		h.bit[i] = a->bit[i + 1];
	return h;
}

static int num_cmp(const Num *a, const Num *b)
{
	for (int i = BITS; i >= 0; i--)
		if (a->bit[i] != b->bit[i])
			return a->bit[i] - b->bit[i];
	return 0;
}

static double num_double(const Num *a)
{
	double d = 0;

	for (int i = BITS; i >= 0; i--)
		d = 2 * d + a->bit[i];
	return d;
}

static const Num one = { { 1 } };

/* Random, but often with runs of 00 and ff, where carries go far. */
static MagmaKey random_key(void)
{
	MagmaKey k;
	int style = g_test_rand_int_range(0, 4);

	for (int i = 0; i < MAGMA_KEY_LEN; i++)
		k.b[i] = style == 0 ? 0 : style == 1 ? 0xff : (guint8)g_test_rand_int();
	if (style != 2)
		k.b[g_test_rand_int_range(0, MAGMA_KEY_LEN)] = (guint8)g_test_rand_int();
	return k;
}

static MagmaRange random_range(void)
{
	MagmaKey a = random_key(), b = g_test_rand_int_range(0, 8) ? random_key() : a;

	return magma_key_cmp(&a, &b) <= 0 ? (MagmaRange){ a, b } : (MagmaRange){ b, a };
}

static void keys_are_those_that_operators_know(void)
{
	static const struct { const char *path, *hex; } cases[] = {
		{ "/example", "81f762fd59d88768b06b8e9de56aef8a95962045" },
		{ "/", "42099b4af021e53fd8fd4e056c2568d7c2e3ffa8" },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		char hex[MAGMA_KEY_HEX];
		MagmaKey k = magma_key_of_path(cases[i].path, strlen(cases[i].path));
		g_assert_cmpstr(magma_key_to_hex(&k, hex), ==, cases[i].hex);
	}
}

static void key_of_child_is_key_of_the_joined_path(void)
{
	static const char *const dirs[] = { "/", "/a", "/a/b", "//", "a" };

	for (guint i = 0; i < G_N_ELEMENTS(dirs); i++)
		for (int round = 0; round < 20; round++) {
			char name[255];
			gsize n = (gsize)g_test_rand_int_range(1, sizeof name + 1);
			for (gsize j = 0; j < n; j++)
				name[j] = (char)g_test_rand_int_range('0', 256);
			g_autoptr(GString) path = g_string_new(dirs[i]);
			if (strcmp(dirs[i], "/"))
				g_string_append_c(path, '/');
			g_string_append_len(path, name, (gssize)n);
			MagmaKey a = magma_key_of_child(dirs[i], strlen(dirs[i]), name, n), b = magma_key_of_path(path->str, path->len);
			g_assert_true(magma_key_equal(&a, &b));
			g_assert_cmpuint(magma_key_hash(&a), ==, magma_key_hash(&b));
		}
}

static gpointer hash_many(gpointer unused)
{
	for (int i = 0; i < 2000; i++) {
		char hex[MAGMA_KEY_HEX];
		MagmaKey k = magma_key_of_child("/", 1, "example", 7);
		if (strcmp(magma_key_to_hex(&k, hex), "81f762fd59d88768b06b8e9de56aef8a95962045"))
			return GINT_TO_POINTER(1);
	}
	return NULL;
}

static void threads_do_not_mix_their_keys(void)
{
	GThread *t[4];

	for (guint i = 0; i < G_N_ELEMENTS(t); i++)
		t[i] = g_thread_new("hash", hash_many, NULL);
	for (guint i = 0; i < G_N_ELEMENTS(t); i++)
		g_assert_null(g_thread_join(t[i]));
}

static void hex_comes_back_and_other_text_is_refused(void)
{
	char hex[MAGMA_KEY_HEX];
	MagmaKey k = random_key(), b, untouched = k;

	g_assert_true(magma_key_from_hex(magma_key_to_hex(&k, hex), &b));
	g_assert_true(magma_key_equal(&k, &b));
	g_assert_true(magma_key_from_hex("42099B4AF021E53FD8FD4E056C2568D7C2E3FFA8", &b));
	g_assert_cmpstr(magma_key_to_hex(&b, hex), ==, "42099b4af021e53fd8fd4e056c2568d7c2e3ffa8");
	static const char *const bad[] = { "", "0", "42099b4af021e53fd8fd4e056c2568d7c2e3ffa", "42099b4af021e53fd8fd4e056c2568d7c2e3ffa80",
		"42099b4af021e53fd8fd4e056c2568d7c2e3ffag", "x2099b4af021e53fd8fd4e056c2568d7c2e3ffa8", " 42099b4af021e53fd8fd4e056c2568d7c2e3ffa" };
	for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_assert_false(magma_key_from_hex(bad[i], &k));
		g_assert_true(magma_key_equal(&k, &untouched));
	}
}

static void order_is_that_of_the_numbers(void)
{
	for (int round = 0; round < 2000; round++) {
		MagmaKey a = random_key(), b = random_key();
		Num x = num_of(&a), y = num_of(&b);
		int got = magma_key_cmp(&a, &b), want = num_cmp(&x, &y);
		g_assert_cmpint((got > 0) - (got < 0), ==, (want > 0) - (want < 0));
		g_assert_cmpint(magma_key_equal(&a, &b), ==, want == 0);
	}
}

static void next_and_prev_are_plus_and_minus_one(void)
{
	for (int round = 0; round < 2000; round++) {
		MagmaKey a = random_key(), up, back;
		Num x = num_of(&a), y = num_add(&x, &one);
		if (y.bit[BITS])
			continue;
		MagmaKey want = key_of(&y);
		g_assert_true(magma_key_next(&a, &up));
		g_assert_true(magma_key_equal(&up, &want));
		g_assert_true(magma_key_prev(&up, &back));
		g_assert_true(magma_key_equal(&back, &a));
	}
}

static void nothing_lies_outside_the_keyspace(void)
{
	MagmaKey k = { { 7 } }, untouched = k;

	g_assert_false(magma_key_next(&MAGMA_KEY_MAX, &k));
	g_assert_false(magma_key_prev(&MAGMA_KEY_MIN, &k));
	g_assert_true(magma_key_equal(&k, &untouched));
	g_assert_true(magma_key_next(&MAGMA_KEY_MIN, &k));
	g_assert_cmpuint(k.b[MAGMA_KEY_LEN - 1], ==, 1);
}

static void range_holds_both_its_ends(void)
{
	for (int round = 0; round < 2000; round++) {
		MagmaRange r = random_range();
		MagmaKey k;
		g_assert_true(magma_range_has(&r, &r.lo));
		g_assert_true(magma_range_has(&r, &r.hi));
		if (magma_key_prev(&r.lo, &k))
			g_assert_false(magma_range_has(&r, &k));
		if (magma_key_next(&r.hi, &k))
			g_assert_false(magma_range_has(&r, &k));
	}
}

static void middle_is_half_the_sum(void)
{
	for (int round = 0; round < 4000; round++) {
		MagmaRange r = random_range();
		Num lo = num_of(&r.lo), hi = num_of(&r.hi), sum = num_add(&lo, &hi), half = num_halve(&sum);
		MagmaKey want = key_of(&half), got = magma_range_middle(&r);     /* lo + (hi-lo)/2 = (lo+hi)/2, both rounded down */
		g_assert_true(magma_key_equal(&got, &want));
		g_assert_true(magma_range_has(&r, &got));
	}
}

static void share_is_the_part_of_the_keyspace(void)
{
	MagmaRange all = { MAGMA_KEY_MIN, MAGMA_KEY_MAX };
	MagmaRange half = { MAGMA_KEY_MIN, magma_range_middle(&all) };

	g_assert_cmpfloat(magma_range_share(&all), ==, 1);
	g_assert_cmpfloat(magma_range_share(&half), ==, 0.5);
	for (int round = 0; round < 1000; round++) {
		MagmaRange r = random_range();
		Num lo = num_of(&r.lo), hi = num_of(&r.hi), end = num_add(&hi, &one);
		double scale = num_double(&(Num){ .bit = { [BITS] = 1 } });
		double want = num_double(&end) / scale - num_double(&lo) / scale;
		double got = magma_range_share(&r);
		g_assert_cmpfloat(fabs(got - want), <, 1e-15);
		g_assert_cmpfloat(got, >, 0);
		g_assert_cmpfloat(got, <=, 1);
	}
}

static void key_survives_the_wire(void)
{
	g_autoptr(GByteArray) b = g_byte_array_new();
	MagmaKey k = random_key();

	magma_put_key(b, &k);
	g_assert_cmpmem(b->data, b->len, k.b, sizeof k.b);
	MagmaReader r = magma_reader(b->data, b->len);
	MagmaKey back = magma_get_key(&r);
	g_assert_true(magma_key_equal(&k, &back));
	r = magma_reader(b->data, b->len - 1);
	back = magma_get_key(&r);
	g_assert_true(r.error);
	g_assert_true(magma_key_equal(&back, &MAGMA_KEY_MIN));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/key/" #name, name)
	ADD(keys_are_those_that_operators_know);
	ADD(key_of_child_is_key_of_the_joined_path);
	ADD(threads_do_not_mix_their_keys);
	ADD(hex_comes_back_and_other_text_is_refused);
	ADD(order_is_that_of_the_numbers);
	ADD(next_and_prev_are_plus_and_minus_one);
	ADD(nothing_lies_outside_the_keyspace);
	ADD(range_holds_both_its_ends);
	ADD(middle_is_half_the_sum);
	ADD(share_is_the_part_of_the_keyspace);
	ADD(key_survives_the_wire);
	return g_test_run();
}
