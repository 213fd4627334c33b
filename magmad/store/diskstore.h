/* The store of a real volcano: journal, rows in memory, sqlite behind them, contents as files, a pool for what blocks. Loop thread only.
 *
 *   DIR/lock            flock'ed by the magmad that runs here
 *   DIR/volcano.conf    GKeyFile, 0600: format version and what the daemon keeps there (identity, derived key)
 *   DIR/journal/NNNNNNNNNNNNNNNN.log    segments, named by their first index
 *   DIR/state.db        sqlite
 *   DIR/content/xx/yy/KEYHEX.INOHEX     contents, fanned out by the first two bytes of the key */
#pragma once
#include "magmad/core/store.h"

#define DISKSTORE_FORMAT 3

typedef struct {
	const char *dir;
	guint64 cache_bytes;          /* rows kept in memory beside the batches; 0: 64 MiB */
	guint64 reserve_bytes;        /* kept free for what frees space; 0: 64 MiB, or 2% of a small file system */
	guint64 segment_bytes;        /* of a journal segment; 0: 64 MiB, less on a small file system */
	gboolean one_of_several;      /* a copy of a slice: nothing beyond what sqlite has is acknowledged before set_limit() says so */
	const MagmaTrace *trace;      /* J journal, s SQL statements, c cache */
	GMainContext *context;        /* NULL: default */
	int lock_fd;                  /* from diskstore_lock, taken over on success; 0: the folder is locked here */
} DiskStoreConfig;

/* Opens the folder (made by diskstore_create), replays the journal: cuts a torn tail (logged with g_message), refuses damage before the last durable mark. Blocks. Errors name the file. */
Store *diskstore_open(const DiskStoreConfig *cfg, GError **error);
/* Makes the layout in an empty or missing folder. */
gboolean diskstore_create(const char *dir, GError **error);
/* The same in a folder whose store was moved away; again and again until it has worked. */
gboolean diskstore_create_again(const char *dir, GError **error);
/* A folder that such a store was moved into is one from then on. */
gboolean diskstore_adopt(const char *dir, GError **error);
/* Blocks until everything asked for so far is done and its callbacks have run: before whoever asked goes away. */
void diskstore_quiesce(Store *s);
/* Contents that were dropped in this life are not on the disk any more; blocks. FALSE, logged: nobody knows. Behind diskstore_quiesce. */
gboolean diskstore_sync_drops(Store *s);
/* Writes everything to sqlite, syncs, ends the pool. Blocks. 0, or an errno (logged) where acknowledged rows may not be on disk. */
int diskstore_close(Store *s);
/* Ends without flushing, as kill -9 would: for tests. */
void diskstore_abandon(Store *s);
/* Writes what was committed in this turn to the journal and calls on_acked. The loop source of the store does that before it sleeps; call it to be earlier. */
void diskstore_flush(Store *s);
/* Everything acknowledged into sqlite, now; blocks. FALSE: it could not be written (yet). For tests and tools. */
gboolean diskstore_write_out(Store *s);
/* The lock of a folder, taken before anything is read. NULL and an error that names the pid of the holder. */
int diskstore_lock(const char *dir, GError **error);
