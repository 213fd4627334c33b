/* What a mirror_append carries: heads of items one behind the other, and their payloads, which are taken in the same order from another field so that a large one need not be copied. Pure. */
#pragma once
#include "libmagma/base/wire.h"
#include "magmad/core/store.h"

#define ITEM_MESSAGE_MAX (1u << 20)   /* payloads of a message; MAGMA_DATA_MAX */
#define ITEM_HEADS_MAX 60000          /* heads of a message, with room for the last; MAGMA_BLOB_MAX */
#define ITEM_PART_MAX (64u << 20)     /* a payload that takes several messages; above any transaction */
#define ITEM_NEEDS_MAX 32
#define ITEM_DIGEST_LEN 32

/* Rows of TAB_META that are each copy's own, not the log's. Present: every row and content is there, but for what the log brings. How far it is being filled: the last row (u8 table, key). */
#define META_OWN "mirror_"
#define META_WHOLE "mirror_whole"
#define META_FILL "mirror_fill"

typedef enum {
	ITEM_PART = 1,    /* more of the next item's payload */
	ITEM_FRAME,       /* pos, needs; payload: the transaction */
	ITEM_CONTENT,     /* number, what, fid, off, len, mode; payload of a write: the bytes */
	ITEM_COMMIT,      /* pos.index: every copy that counts has the log so far */
	ITEM_ROWS,        /* payload: rows as they are at this place of the stream */
	ITEM_DIGEST,      /* number, fid, off, len, digest: is it yours too? */
	ITEM_WHOLE,       /* all rows and contents are there */
} ItemKind;

typedef enum { DO_WRITE = 1, DO_TRUNCATE, DO_FALLOCATE, DO_DROP, DO_SYNC } ContentWhat;

typedef struct {
	ItemKind kind;
	StorePos pos;
	guint64 number;               /* of a content operation or digest within its stream; 0: nobody will need it */
	ContentWhat what;
	MagmaFid fid;
	guint64 off, len;
	guint32 mode;
	guint8 digest[ITEM_DIGEST_LEN];
	/* FRAME: contents by number that must be done before; ITEM_NEEDS_ALL: all that stand before it in the stream. ROWS and WHOLE need all. */
	guint needs_n;
	guint64 needs[ITEM_NEEDS_MAX];
	const guint8 *payload;        /* read: within the message */
	gsize payload_len;
} Item;
#define ITEM_NEEDS_ALL 0xff

/* A message in the making. */
typedef struct {
	GByteArray *heads;
	GPtrArray *payloads;          /* GBytes */
	gsize bytes;
} ItemWriter;

void item_writer_init(ItemWriter *w);
void item_writer_clear(ItemWriter *w);
/* Is there room for an item with such a payload? An empty message has room for any up to ITEM_MESSAGE_MAX. */
gboolean item_fits(const ItemWriter *w, gsize payload);
/* payload may be NULL; it is referenced. */
void item_put(ItemWriter *w, const Item *item, GBytes *payload);
/* The payloads as one; a single one is not copied. */
GBytes *item_body(const ItemWriter *w);

/* FALSE: not an item. */
gboolean item_get(MagmaReader *heads, MagmaReader *bytes, Item *out);

void item_digest(const guint8 *p, gsize n, guint8 out[ITEM_DIGEST_LEN]);
gboolean item_zeros(const guint8 *p, gsize n);
/* By Store.fill, whose number it returns. */
guint64 item_mark_whole(Store *s);
