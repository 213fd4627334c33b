/* SipHash-2-4 (Aumasson and Bernstein, 2012): a short keyed check that nobody can make, or aim at, who does not know the key. Pure; any thread. */
#pragma once
#include <glib.h>

#define SIPHASH_KEY_LEN 16

guint64 siphash(const guint8 key[SIPHASH_KEY_LEN], const void *p, gsize n);
