/* Inside of the memory store: what survives a crash, and what its files share. */
#pragma once
#include "tests/sim/memcontent.h"
#include "tests/sim/memstore.h"

typedef struct {
	guint8 table;
	guint16 klen;
	guint8 key[STORE_KEY_MAX];
} RowKey;

typedef struct {
	RowKey key;                   /* first: the tree's key too */
	MagmaKey rk;
	gsize vlen;
	guint8 *val;
} MemRow;

typedef struct {
	MemContent *live, *synced;    /* NULL: no file */
} MemFile;

struct MemDisk {
	GTree *rows;                  /* as the last commit left them */
	GTree *base;                  /* as they were at base_index */
	GPtrArray *log;               /* GBytes: the transactions behind base_index */
	guint64 base_index, durable;
	GHashTable *files;            /* MagmaFid -> MemFile */
	gboolean in_use;
};

RowKey memrow_key(StoreTable t, const void *key, gsize klen);
gint memrow_cmp(gconstpointer a, gconstpointer b, gpointer user);
StoreRow memrow_view(const MemRow *r);
guint64 memdisk_index(const MemDisk *d);
void memdisk_append(MemDisk *d, GBytes *txn);            /* takes it */
/* The log up to k becomes part of the base, which keeps crashes cheap. */
void memdisk_fold(MemDisk *d, guint64 k);
/* Undoes everything behind k. */
void memdisk_cut(MemDisk *d, guint64 k);
MemFile *memdisk_file(MemDisk *d, const MagmaFid *fid);

typedef struct {
	Store base;                   /* first */
	StoreVt vt;
	MemStoreConfig cfg;
	MemDisk *disk;
	GRand *rnd;
	guint64 acked;
	gboolean ack_coming, failed, full;
	GHashTable *hot;              /* RowKey -> a row that was brought, or is being brought */
	GHashTable *found;            /* RowKey: found in this turn */
	guint64 found_in;
	GHashTable *queues;           /* MagmaFid -> GQueue of content operations */
	guint refs;                   /* one, and one per event that is coming: it may come after the end */
	gboolean dead;
	guint64 hits, misses;
} MemStore;

#define MEM(s) ((MemStore *)(s))

gboolean mem_chance(MemStore *m, guint permille);
/* Calls fn(m, arg) later, or drop(arg) where the store has ended meanwhile. */
void mem_later(MemStore *m, void (*fn)(MemStore *, void *), void (*drop)(void *), void *arg);

/* memfiles.c */
void memfiles_vt(StoreVt *vt);
void memfiles_queue_free(gpointer queue);
/* Does everything that was asked for, without answering. */
void memfiles_finish(MemStore *m);
/* Does what a crash leaves of it. */
void memfiles_crash(MemStore *m);
/* Contents as their last syncs left them. */
void memfiles_power_cut(MemStore *m);
