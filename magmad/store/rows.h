/* Rows in memory: one hash of nodes, each the newest committed state of a row. A node is in the open batch (dirty), in the frozen batch (being written to sqlite),
 * clean (a cache entry, also of a row known to be absent), or a mixture of the first two. Loop thread only; a frozen batch is lent to one pool job. */
#pragma once
#include "magmad/core/store.h"

typedef struct Rows Rows;

/* Immutable once made; counted on the loop only. */
typedef struct {
	guint refs;
	guint32 len;
	MagmaKey rk;
	guint8 bytes[];
} RowValue;

/* What sqlite holds, or will once the frozen batch is written. */
typedef enum { BASE_UNKNOWN, BASE_ABSENT, BASE_PRESENT } RowBase;

typedef struct RowNode {
	struct RowNode *hnext;
	struct RowNode *prev, *next;  /* ring of clean nodes, for the clock */
	RowValue *val;                /* NULL: absent, or not yet loaded */
	GSList *waiters;              /* Fetches, while loading */
	guint32 hash;
	guint32 pins;
	guint8 table;
	guint8 base;                  /* RowBase */
	gint8 counted;                /* TAB_FLARE in the open batch: what it adds to the number of flares */
	guint known : 1;              /* val says what the row is; else it is being loaded */
	guint open : 1, frozen : 1, loading : 1, used : 1;
	guint16 klen;
	guint8 key[];
} RowNode;

/* A row of the batch being written. val NULL: delete. */
typedef struct {
	RowNode *node;
	RowValue *val;
	RowBase base;
	guint64 begin;                /* of the key: first eight bytes, zero-filled */
} FrozenRow;

typedef struct {
	GArray *rows;                 /* FrozenRow, by table */
	guint first[TAB_COUNT + 1];   /* where each table begins */
	guint64 index;                /* the journal index that sqlite has with them */
	gint64 flares;                /* what these rows were guessed to add to the number of flares */
	gsize bytes;
} Frozen;

Rows *rows_new(gsize cache_bytes);
void rows_free(Rows *r);
/* Tables that are wholly in memory: what has no node there is absent. */
gboolean rows_resident(StoreTable t);
RowNode *rows_find(Rows *r, StoreTable t, const void *key, gsize klen);
/* Makes an unknown node, pinned by nobody. Only where rows_find found none. */
RowNode *rows_add_loading(Rows *r, StoreTable t, const void *key, gsize klen);
/* What sqlite said of a loading node; ignored where a commit was faster. */
void rows_loaded(Rows *r, RowNode *n, RowValue *val);
/* The same for a row nobody asked for by a node (point reads answered at once, resident tables at open). Takes val. */
RowNode *rows_insert_clean(Rows *r, StoreTable t, const void *key, gsize klen, RowValue *val);
/* A committed put (val, taken) or delete (NULL). The row's node, or NULL for a delete of what was not there. */
RowNode *rows_commit(Rows *r, const StoreRow *row, RowValue *val);
void rows_pin(Rows *r, RowNode *n);
void rows_unpin(Rows *r, RowNode *n);
/* Is any row in use? For what takes all of them away. */
gboolean rows_pinned(const Rows *r);
/* The open batch becomes the frozen one; rows that were born and died in it vanish. There must be no frozen batch. */
Frozen *rows_freeze(Rows *r, guint64 index);
const Frozen *rows_frozen(const Rows *r);
/* The frozen batch is in sqlite: its rows are clean. */
void rows_thaw(Rows *r);
/* Has a batch rows of the table? */
gboolean rows_touch(const Rows *r, StoreTable t);

/* What scans must see of the batches, lent to a pool job: rows as they are now, in the order of their keys. val NULL: deleted. */
typedef struct {
	const RowNode *node;
	RowValue *val;
} OverlayRow;
/* Rows with key > from that begin with prefix, up to the max_puts-th that is not deleted. NULL when there are none. To be given back. */
GArray *rows_overlay(Rows *r, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_puts);
void rows_overlay_free(Rows *r, GArray *overlay);
int row_key_cmp(const guint8 *a, gsize alen, const guint8 *b, gsize blen);
/* Forgets clean rows beyond the cache's size, a bounded number at a time. TRUE: there are more. */
gboolean rows_evict(Rows *r);

typedef struct {
	guint64 nodes, bytes;         /* all in memory */
	guint64 clean_bytes;          /* the cache proper */
	guint open_rows;
	gsize open_bytes;
	gint64 flares;                /* what open and frozen rows are guessed to add */
	guint64 born_and_died;
} RowsStats;
const RowsStats *rows_stats(const Rows *r);

RowValue *row_value_new(const MagmaKey *rk, const void *p, gsize n);
