#include "magmad/store/keys.h"
#include "libmagma/base/wire.h"

#define BUCKETS_MIN_BITS 8
#define BUCKETS_MAX_BITS 31

typedef struct Entry {
	struct Entry *next;
	MagmaKey rk;
	guint64 ino, batch;
} Entry;

struct Keys {
	Entry **buckets;
	guint bits;                   /* 1 << bits buckets */
	guint64 batch;                /* the open one */
	guint count, open;            /* all; of the open batch */
};

Keys *keys_new(void)
{
	Keys *k = g_new0(Keys, 1);

	k->bits = BUCKETS_MIN_BITS;
	k->buckets = g_new0(Entry *, 1u << k->bits);
	return k;
}

static void free_all(Keys *k)
{
	for (guint32 i = 0; i < 1u << k->bits; i++)
		for (Entry *e = k->buckets[i], *next; e; e = next) {
			next = e->next;
			g_free(e);
		}
}

void keys_free(Keys *k)
{
	if (!k)
		return;
	free_all(k);
	g_free(k->buckets);
	g_free(k);
}

/* A key is a hash already. Its highest bits tell the bucket, so buckets are in the order of keys. */
static guint32 prefix(const MagmaKey *rk) { return magma_be32_load(rk->b); }
static guint32 bucket(const Keys *k, const MagmaKey *rk) { return prefix(rk) >> (32 - k->bits); }

static void grow(Keys *k)
{
	guint32 n = 1u << k->bits++;
	Entry **old = g_steal_pointer(&k->buckets);

	k->buckets = g_new0(Entry *, (gsize)n * 2);
	for (guint32 i = 0; i < n; i++)
		for (Entry *e = old[i], *next; e; e = next) {
			Entry **at = &k->buckets[bucket(k, &e->rk)];
			next = e->next;
			e->next = *at;
			*at = e;
		}
	g_free(old);
}

void keys_add(Keys *k, const MagmaKey *rk, guint64 ino)
{
	Entry **at = &k->buckets[bucket(k, rk)];

	for (Entry *e = *at; e; e = e->next)
		if (e->ino == ino && magma_key_equal(&e->rk, rk)) {
			k->open += e->batch != k->batch;
			e->batch = k->batch;    /* a merge of what came before must not take it along */
			return;
		}
	Entry *e = g_new(Entry, 1);
	*e = (Entry){ *at, *rk, ino, k->batch };
	*at = e;
	k->open++;
	if (++k->count >> k->bits && k->bits < BUCKETS_MAX_BITS)
		grow(k);
}

void keys_remove(Keys *k, const MagmaKey *rk, guint64 ino)
{
	for (Entry **at = &k->buckets[bucket(k, rk)]; *at; at = &(*at)->next) {
		Entry *e = *at;
		if (e->ino == ino && magma_key_equal(&e->rk, rk)) {
			*at = e->next;
			k->open -= e->batch == k->batch;
			k->count--;
			g_free(e);
			return;
		}
	}
}

void keys_find(const Keys *k, const MagmaKey *rk, GArray *out)
{
	for (Entry *e = k->buckets[bucket(k, rk)]; e; e = e->next)
		if (magma_key_equal(&e->rk, rk))
			g_array_append_val(out, e->ino);
}

void keys_merged(Keys *k, guint64 batch, guint64 from, guint64 to)
{
	if (from >= to)
		return;
	for (guint64 i = from >> (32 - k->bits); i <= (to - 1) >> (32 - k->bits); i++)
		for (Entry **at = &k->buckets[i]; *at; ) {
			Entry *e = *at;
			if (e->batch > batch || prefix(&e->rk) < from || prefix(&e->rk) >= to) {
				at = &e->next;
				continue;
			}
			*at = e->next;
			g_free(e);
			k->count--;
		}
}

guint64 keys_seal(Keys *k)
{
	k->open = 0;
	return k->batch++;
}

guint keys_sealed(const Keys *k) { return k->count - k->open; }
