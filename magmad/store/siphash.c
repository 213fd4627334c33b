#include "magmad/store/siphash.h"
#include <string.h>

typedef struct {
	guint64 a, b, c, d;
} State;

static guint64 rotate(guint64 x, guint by) { return x << by | x >> (64 - by); }

static void rounds(State *s, guint n)
{
	while (n--) {
		s->a += s->b;
		s->c += s->d;
		s->b = rotate(s->b, 13) ^ s->a;
		s->d = rotate(s->d, 16) ^ s->c;
		s->a = rotate(s->a, 32);
		s->c += s->b;
		s->a += s->d;
		s->b = rotate(s->b, 17) ^ s->c;
		s->d = rotate(s->d, 21) ^ s->a;
		s->c = rotate(s->c, 32);
	}
}

/* The algorithm's words are little-endian. */
static guint64 word(const guint8 *p)
{
	guint64 w;

	memcpy(&w, p, sizeof w);
	return GUINT64_FROM_LE(w);
}

static void take(State *s, guint64 w)
{
	s->d ^= w;
	rounds(s, 2);
	s->a ^= w;
}

guint64 siphash(const guint8 key[SIPHASH_KEY_LEN], const void *data, gsize n)
{
	guint64 k0 = word(key), k1 = word(key + 8), last = (guint64)n << 56;
	/* "somepseudorandomlygeneratedbytes" */
	State s = {
		k0 ^ G_GUINT64_CONSTANT(0x736f6d6570736575), k1 ^ G_GUINT64_CONSTANT(0x646f72616e646f6d),
		k0 ^ G_GUINT64_CONSTANT(0x6c7967656e657261), k1 ^ G_GUINT64_CONSTANT(0x7465646279746573),
	};
	const guint8 *p = data;

	for (; n >= 8; p += 8, n -= 8)
		take(&s, word(p));
	for (guint i = 0; i < n; i++)
		last |= (guint64)p[i] << (8 * i);
	take(&s, last);
	s.c ^= 0xff;
	rounds(&s, 4);
	return s.a ^ s.b ^ s.c ^ s.d;
}
