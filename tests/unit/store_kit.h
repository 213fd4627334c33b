/* What the tests of the disk store share: folders that go away, the loop, answers one waits for. */
#pragma once
#include "magmad/store/diskstore.h"

/* A folder under TMPDIR (or where given); removed by kit_remove. */
char *kit_dir(void);
void kit_remove(char *dir);
Store *kit_open(const char *dir, guint64 cache_bytes);
/* Opens what must be refused; the error's text, to be freed. */
char *kit_refused(const char *dir);
/* Runs the loop until *flag; fails the test after 20 s. */
void kit_until(const gboolean *flag);
/* Runs the loop until everything is acknowledged. */
void kit_acked(Store *s, guint64 index);

/* Text rows of one table, for short tests. rk is derived from the key. */
guint64 kit_put(Store *s, StoreTable t, const char *key, const char *val);
guint64 kit_del(Store *s, StoreTable t, const char *key);
/* Value, waiting where it has to be read; NULL when absent. */
char *kit_get(Store *s, StoreTable t, const void *key, gsize klen);
int kit_sync(Store *s);
/* "key=value,key=value," of a whole scan in pieces of step rows. */
char *kit_scan(Store *s, StoreTable t, const char *prefix, guint step);
MagmaFid kit_fid(guint64 ino);
/* The seed of a random test: --seed from the environment variable SEED, or a new one; printed. */
guint32 kit_seed(void);
