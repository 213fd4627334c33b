/* Inside of the disk store: what its files share. Loop thread only, but for what a job owns. */
#pragma once
#include "magmad/store/content.h"
#include "magmad/store/db.h"
#include "magmad/store/diskstore.h"
#include "magmad/store/journal.h"
#include "magmad/store/keys.h"
#include "magmad/store/pool.h"
#include "magmad/store/vfs.h"

typedef struct DiskStore DiskStore;
typedef struct DiskChange DiskChange;

/* A connection of the pool's readers; taken by a job for its time. */
typedef struct {
	GMutex lock;
	GPtrArray *idle;              /* Db; under lock */
	char *path;
} Readers;

struct DiskStore {
	Store base;                   /* first */
	char *dir, *db_path;
	const MagmaTrace *trace;
	int lock_fd;
	GSource *source;
	gint64 armed;                 /* when the source wants its turn: monotonic microseconds, 0: at once, -1: not */
	gboolean sleeping;            /* between our source's prepare and its check */
	gboolean in_turn, failed;

	Rows *rows;
	Keys *keys;
	guint64 frozen_keys, written_keys;    /* keys' numbers of the frozen batch and of the last written one */
	guint64 merge_keys, merge_from;       /* of the merge under way: the last batch it covers, and which keys were done */
	DbMerge *merge;               /* lent to the writer's job while there is one */
	gboolean merge_last;          /* the writer's last job was a slice of it */
	FrameKey key;                 /* of the journal's frames */
	Journal *journal;
	guint64 acked;                /* never below what it was, but at a reset */
	guint64 limit;                /* what the other copies have */
	guint64 epoch;                /* of the next commit */
	guint64 told, told_written, told_fills;      /* what on_acked and on_written know */
	gboolean fresh;               /* nothing was said of the limit yet, nothing was appended */
	guint64 fills_before;         /* the journal's fills that are of an earlier life */
	guint64 fills_gone;           /* of this one, that a reset took away */
	guint64 sealed_fills, applied_fills;         /* how many of the journal's fills the frozen batch, and sqlite have */
	DbEpochs epochs;
	DbMeta meta;                  /* as sqlite has it */
	guint64 checkpointed, checkpointed_fills;    /* what is behind the last checkpoint: segments may go at once */
	gboolean trim_wanted;         /* less is to be kept than before */
	DiskChange *change;           /* a cut, a reset or a rebase: waits until nothing is under way, and nothing begins meanwhile */
	gboolean emptying;            /* a reset is in the pool: journal and contents are not to be touched */
	gsize cache_bytes;
	guint64 segment_bytes;
	NowaitVfs *vfs;
	Db *loop_db, *writer;
	Readers readers;
	Pool *pool;
	Contents *contents;

	PoolJob *writer_job;          /* a batch, merge or checkpoint in the pool: one at a time */
	gboolean batch_failed;        /* the frozen batch waits for its next try */
	guint64 batches, hits, misses;
	GPtrArray *cold;              /* RowNode to be read by the pool, at the end of the turn */
	gint64 cold_at;               /* but not before, where there was no connection to be had; else 0 */
	GQueue scans;                 /* ScanJob of ranges that wait for a batch and a merge */
	guint64 scan_index;           /* highest index they wait for */
	GQueue answers;               /* ScanJob that were answered from memory: told at the end of the turn */

	GArray *syncs;                /* SyncWaiter, in order */
	gboolean syncing;

	/* monotonic; 0: nothing to do */
	gint64 sync_at, batch_at, merge_at, idle_at, retry_at, ballast_at;

	guint64 reserve_bytes;
	guint64 fs_total, fs_free, fs_avail;
	gint64 statvfs_at;            /* of the last look; 0: look again */
	guint64 looked_at_bytes;      /* what had been asked for by then */
	guint64 ballast_bytes;
	gboolean ballast;             /* is in place */
};

typedef struct {
	void (*done)(void *user, int error);
	void *user;
	guint64 index, fills;
} SyncWaiter;

#define IDLE_US (2 * G_USEC_PER_SEC)  /* between looks at what could be given back */

#define DISK(s) ((DiskStore *)(s))

/* load.c */
gboolean disk_open_db(DiskStore *d, GError **error);
/* Rows, keys and journal, as they are on disk; replays what sqlite has not yet. Blocks. */
gboolean disk_load(DiskStore *d, GError **error);
/* Rows and keys only: the journal's tail was cut. */
gboolean disk_load_again(DiskStore *d, GError **error);
/* Forgets them. Nothing is under way. */
void disk_unload(DiskStore *d);

/* log.c */
extern const StoreLogVt disk_log_vt;
guint64 disk_commit(Store *s, Txn *t);
guint64 disk_acked(Store *s);
gboolean disk_commit_row(void *user, const StoreRow *row, gboolean del);
/* A transaction of that position is in the log. */
void disk_epoch_note(DiskStore *d, StorePos pos);
/* Those that began up to index. */
void disk_epochs_upto(const DiskStore *d, guint64 index, DbEpochs *out);
guint64 disk_epoch_at(const DiskStore *d, guint64 index);
/* written() or the limit may have grown. */
void disk_acked_grow(DiskStore *d);

/* change.c */
void disk_cut(Store *s, guint64 index, void (*done)(void *, int), void *user);
void disk_reset(Store *s, StorePos pos, void (*done)(void *, int), void *user);
void disk_rebase(Store *s, StorePos pos, const guint8 *txn, gsize len, void (*done)(void *, int), void *user);
void disk_change_free(DiskStore *d);
/* Begins the change that waits when nothing is under way any more. */
void disk_change_check(DiskStore *d);

/* turn.c */
GSource *disk_source_new(DiskStore *d, GMainContext *context);
/* Something was committed or asked for: the turn's end has work. */
void disk_wake(DiskStore *d);
void disk_fail(DiskStore *d, const char *text);
void disk_content_failed(void *user, int error);
/* Writes the journal without calling anybody: for the middle of a commit. */
void disk_journal_out(DiskStore *d);
void disk_sync(Store *s, void (*done)(void *, int), void *user);
/* One turn's end: journal, syncs, cold reads, batches. */
void disk_turn(DiskStore *d);
/* Has another turn something to do or to answer at once? */
gboolean disk_owes(const DiskStore *d);
/* Whoever still waits for a sync hears EIO: the disk is full, and nobody waits for it to have room. */
void disk_syncs_end(DiskStore *d);

/* space.c */
void disk_usage(Store *s, StoreUsage *out);
/* Before sqlite is opened: gives the ballast up where the disk is full, else takes it. */
void disk_ballast_open(DiskStore *d);
/* ENOSPC was met: gives the ballast up. TRUE: that made room, try again at once. */
gboolean disk_full(DiskStore *d);
/* Segments that are only kept go. TRUE: there were some. */
gboolean disk_give_kept(DiskStore *d);
void disk_ballast_check(DiskStore *d, gint64 now);

/* batch.c */
/* Freezes and writes when it is time, when forced, or when a scan waits. */
void disk_batch_check(DiskStore *d, gboolean force);
/* Blocks until everything committed is in sqlite; FALSE when it cannot be written. */
gboolean disk_batch_all(DiskStore *d);
/* Behind a checkpoint: segments that nobody needs go. */
void disk_trim(DiskStore *d);
void disk_log_lines(DiskStore *d, GPtrArray *lines);

/* merge.c */
/* Is a slice of the merge to be pushed; before the next batch? Only while the writer has no job. */
gboolean disk_merge_due(const DiskStore *d, gint64 now);
gboolean disk_merge_overdue(const DiskStore *d);
void disk_merge_push(DiskStore *d);

/* read.c */
StoreGet disk_get(Store *s, Fetch *f, StoreTable t, const void *key, gsize klen, const guint8 **val, gsize *vlen);
void disk_fetch_clear(Store *s, Fetch *f);
void disk_cold_push(DiskStore *d);
gboolean disk_cold_due(const DiskStore *d, gint64 now);
/* Around reads on the loop's connection: they do not wait for a disk unless they may. */
void disk_loop_db(DiskStore *d, gboolean may_block);
void disk_loop_db_done(DiskStore *d, DbGet got);
/* Reads a row that has no node so. NULL: it would wait, or the store failed. */
RowNode *disk_get_now(DiskStore *d, StoreTable t, const void *key, gsize klen, gboolean may_block);

/* scan.c */
void disk_scan(Store *s, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user);
void disk_scan_range(Store *s, const MagmaKey *lo, const MagmaKey *hi, guint64 after_ino, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user);
/* Starts the scans that wait for what sqlite has by now, up to index; with error: fails all that wait. */
void disk_scans_go(DiskStore *d, guint64 index, int error);
/* Is the index of flares by key what the written batches say? */
gboolean disk_index_merged(const DiskStore *d);
/* Does a scan wait that has its batch, so for a merge alone? */
gboolean disk_scan_has_batch(const DiskStore *d);
void disk_answers_tell(DiskStore *d);
void disk_scans_free(DiskStore *d);
/* Any thread. NULL: no connection; why. */
Db *readers_take(Readers *r, GError **error);
void readers_give(Readers *r, Db *db);
void readers_clear(Readers *r, gboolean leave_log);
