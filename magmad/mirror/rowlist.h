/* Rows as two copies compare them: lists of keys and digests in key order, the digest of a range, and what differs. Pure. */
#pragma once
#include "libmagma/proto/msg.h"
#include "libmagma/base/wire.h"
#include "magmad/mirror/item.h"

#define ROW_DIGEST_LEN 16

/* A row of a list. file: there may be a content to it (a flare's row that says so, or a write intent); then rk is known. */
typedef struct {
	const guint8 *key;
	gsize klen;
	gboolean file;
	MagmaKey rk;
	guint8 digest[ROW_DIGEST_LEN];
} RowEntry;

/* A place between keys of a table. */
typedef struct {
	guint8 key[STORE_KEY_MAX];
	gsize len;                    /* 0: in front of the first key; as the end of a range: behind the last */
} RowPlace;

/* Keys in (from, to] of a table. */
typedef struct {
	StoreTable table;
	RowPlace from, to;
	guint64 bytes;                /* of rows that differ, roughly */
} RowRange;

typedef struct RowHasher RowHasher;
RowHasher *row_hasher_new(void);
void row_hasher_free(RowHasher *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RowHasher, row_hasher_free)

/* A row of TAB_META that is each copy's own: not compared, not copied. */
gboolean row_is_own(const StoreRow *row);
gint rowlist_key_cmp(const guint8 *a, gsize alen, const guint8 *b, gsize blen);
void row_place_set(RowPlace *p, const guint8 *key, gsize len);
/* Is the key behind the end of a range? */
gboolean row_behind(const guint8 *key, gsize len, const RowPlace *to);

/* Appends the row's entry. */
void rowlist_add(GByteArray *list, RowHasher *h, const StoreRow *row);
/* FALSE: the list is over, or r->error: it is none. */
gboolean rowlist_next(MagmaReader *r, RowEntry *out);
/* SHA-256 over the entries' digests in their order. */
void rowlist_digest(RowHasher *h, const GByteArray *list, guint8 out[ITEM_DIGEST_LEN]);

/* Two lists of the same range, in key order. Calls fn for each key where they differ: an entry is NULL where that list does not have the key. upto: what is behind it is not looked at.
 * index: of mine within its list. Returns how many entries of mine are not behind upto; FALSE in *ok: its is no list in order. */
guint rowlist_diff(const GByteArray *mine, MagmaBytes its, const RowPlace *upto, void (*fn)(void *user, guint index, const RowEntry *mine, const RowEntry *its), void *user, gboolean *ok);
