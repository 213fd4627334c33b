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
	int sync_lost;                /* what it said to the last sync, and will to each: what was not synced then never is */
	gboolean unreadable;          /* nothing of it is read, its size neither: EIO, until it is dropped */
	guint64 bad_from, bad_end;    /* what the disk does not read, whole pages; until it is written over */
} MemFile;

typedef struct {
	StorePos pos;                 /* of a fill: of the frame before it */
	gboolean fill;
	GBytes *txn;
} MemFrame;

/* Frames, fills too, are numbered from 1 in the order in which they came. */
struct MemDisk {
	GTree *rows;                  /* as the last frame left them */
	GTree *base;                  /* as frame base_seq left them: what is behind the journal */
	GPtrArray *log;               /* MemFrame: from number first + 1 on; those up to base_seq are kept to be read */
	guint64 first, base_seq, durable_seq;
	GArray *cuts;                 /* guint64: behind which frame each cut was, 0 where all went: a sync that began before is about no more */
	StorePos start, pos;          /* before the log's first frame; of its last */
	gsize kept;                   /* bytes of what is kept to be read */
	guint64 read_floor;           /* frames can be read behind this index: of the newest fill, or where it was reset to */
	GArray *epochs;               /* StoreEpoch */
	GHashTable *files;            /* MagmaFid -> MemFile */
	gboolean in_use;
};

RowKey memrow_key(StoreTable t, const void *key, gsize klen);
gint memrow_cmp(gconstpointer a, gconstpointer b, gpointer user);
StoreRow memrow_view(const MemRow *r);
/* The number of the last frame. */
guint64 memdisk_end(const MemDisk *d);
/* The index of a frame that is in the log, or of the one before them. */
guint64 memdisk_index_at(const MemDisk *d, guint64 seq);
/* The last frame, or fill behind it, up to index. */
guint64 memdisk_seq(const MemDisk *d, guint64 index);
void memdisk_append(MemDisk *d, StorePos pos, gboolean fill, GBytes *txn);       /* takes txn */
/* What is up to frame seq becomes part of the base. */
void memdisk_fold(MemDisk *d, guint64 seq);
/* Of the frames that are in the base, those behind index `after` are kept, up to max bytes. */
void memdisk_trim(MemDisk *d, guint64 after, guint64 max);
/* Undoes everything behind frame seq. */
void memdisk_cut(MemDisk *d, guint64 seq);
/* Nothing is left; the log goes on behind pos. */
void memdisk_reset(MemDisk *d, StorePos pos);
/* The rows are those of the base, changed by txn; the log goes on behind pos. */
void memdisk_rebase(MemDisk *d, StorePos pos, GBytes *txn);
MemFile *memdisk_file(MemDisk *d, const MagmaFid *fid);
#define MEMFILE_PAGE 4096
/* Some pages of a content file do not read any more. */
void memfile_break(MemFile *f, guint64 page, guint64 n);
gboolean memfile_bad(const MemFile *f);
/* All read again. */
void memdisk_read_again(MemDisk *d);

typedef struct MemChange MemChange;

typedef struct {
	Store base;                   /* first */
	StoreVt vt;
	MemStoreConfig cfg;
	MemDisk *disk;
	GRand *rnd;
	guint64 epoch;                /* of the next commit */
	guint64 written_seq, acked, limit;
	guint64 fills, filled;        /* begun, written */
	guint64 keep_after, keep_bytes;
	gboolean fresh;               /* nothing was said of the limit yet, nothing was appended */
	gboolean write_coming, failed, full;
	int sync_error;               /* of every sync of the journal */
	guint syncs;
	gint64 syncs_take;            /* longer than what is late anyway */
	guint64 bytes_read;           /* of contents */
	MemChange *change;            /* a cut or a reset that is under way */
	GHashTable *hot;              /* RowKey -> a row that was brought, or is being brought */
	GHashTable *found;            /* RowKey: found in this turn */
	guint64 found_in;
	GHashTable *queues;           /* MagmaFid -> GQueue of content operations */
	guint refs;                   /* one, and one per event that is coming: it may come after the end */
	gboolean dead;
	guint64 hits, misses;
} MemStore;

#define MEM(s) ((MemStore *)(s))

/* Rows that fetches hold. */
guint memstore_pins(MemStore *m);
gboolean mem_chance(MemStore *m, guint permille);
gboolean mem_unread(const MemStore *m, MemUnread what);
/* Calls fn(m, arg) later, or drop(arg) where the store has ended meanwhile. */
void mem_later(MemStore *m, void (*fn)(MemStore *, void *), void (*drop)(void *), void *arg);
void mem_later_after(MemStore *m, gint64 time, void (*fn)(MemStore *, void *), void (*drop)(void *), void *arg);

/* memlog.c: commits, acknowledgements, syncs, and the log side */
void memlog_vt(StoreVt *vt);
extern const StoreLogVt memlog_log_vt;
void memlog_open(MemStore *m);
/* Does what is under way, without answering. */
void memlog_change(MemStore *m);
gboolean memlog_resetting(const MemStore *m);

/* memfiles.c */
void memfiles_vt(StoreVt *vt);
gboolean memfiles_idle(MemStore *m);
void memfiles_queue_free(gpointer queue);
/* Does everything that was asked for, without answering. */
void memfiles_finish(MemStore *m);
/* Does what a crash leaves of it. */
void memfiles_crash(MemStore *m);
/* Contents as their last syncs left them, and what the disk came to of what was not synced. */
void memfiles_power_cut(MemStore *m);
