#include "magmad/store/keys.h"
#include <string.h>

#define BUCKETS_MIN 256

typedef struct Entry {
	struct Entry *next;
	MagmaKey rk;
	guint64 ino, batch;
} Entry;

struct Keys {
	Entry **buckets;
	guint32 mask;
	guint64 batch;                /* the open one */
	guint count, open;            /* all; of the open batch */
};

Keys *keys_new(void)
{
	Keys *k = g_new0(Keys, 1);

	k->mask = BUCKETS_MIN - 1;
	k->buckets = g_new0(Entry *, BUCKETS_MIN);
	return k;
}

static void free_all(Keys *k)
{
	for (guint32 i = 0; i <= k->mask; i++)
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

/* A key is a hash already. */
static guint32 bucket(const MagmaKey *rk)
{
	guint32 h;
	memcpy(&h, rk->b, sizeof h);
	return h;
}

static void grow(Keys *k)
{
	guint32 mask = k->mask * 2 + 1;
	Entry **buckets = g_new0(Entry *, (gsize)mask + 1);

	for (guint32 i = 0; i <= k->mask; i++)
		for (Entry *e = k->buckets[i], *next; e; e = next) {
			next = e->next;
			e->next = buckets[bucket(&e->rk) & mask];
			buckets[bucket(&e->rk) & mask] = e;
		}
	g_free(k->buckets);
	k->buckets = buckets;
	k->mask = mask;
}

void keys_add(Keys *k, const MagmaKey *rk, guint64 ino)
{
	Entry **at = &k->buckets[bucket(rk) & k->mask];

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
	if (++k->count > k->mask)
		grow(k);
}

void keys_remove(Keys *k, const MagmaKey *rk, guint64 ino)
{
	for (Entry **at = &k->buckets[bucket(rk) & k->mask]; *at; at = &(*at)->next) {
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
	for (Entry *e = k->buckets[bucket(rk) & k->mask]; e; e = e->next)
		if (magma_key_equal(&e->rk, rk))
			g_array_append_val(out, e->ino);
}

void keys_merged(Keys *k, guint64 batch)
{
	for (guint32 i = 0; i <= k->mask; i++)
		for (Entry **at = &k->buckets[i]; *at; ) {
			Entry *e = *at;
			if (e->batch > batch) {
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
