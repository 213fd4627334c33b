/* Which flares were born at a key: the part of that index that is not yet in sqlite's table `born`. Keys are hashes, so each new entry would touch a page of its own there; collected here and in
 * the tables `fresh` (by inode number, which grows), they are merged when there are tens of thousands. Candidates only: the flare's row says whether it is still there. Loop thread only. */
#pragma once
#include "libmagma/key/key.h"

typedef struct Keys Keys;
Keys *keys_new(void);
void keys_free(Keys *k);
/* Into the open batch; an entry of an earlier one moves there. */
void keys_add(Keys *k, const MagmaKey *rk, guint64 ino);
void keys_remove(Keys *k, const MagmaKey *rk, guint64 ino);
/* Appends inode numbers (guint64) to out. */
void keys_find(const Keys *k, const MagmaKey *rk, GArray *out);
/* The open batch is frozen; its number, for keys_merged once it was written and merged. */
guint64 keys_seal(Keys *k);
/* Forgets entries of batches up to that one whose first 32 bits are in [from, to); to is 1 << 32 at most. */
void keys_merged(Keys *k, guint64 batch, guint64 from, guint64 to);
/* Entries of sealed batches. */
guint keys_sealed(const Keys *k);
