/* One connection to state.db and its prepared statements. A connection is used by one thread at a time: the loop's own (reads only), one for batches, some for reads of the pool. */
#pragma once
#include "magmad/store/frame.h"
#include "magmad/store/rows.h"

typedef struct Db Db;
struct sqlite3;
struct sqlite3_file;

#define DB_EPOCHS 64                  /* the newest are known: far more than take-overs between two visits of a copy */

/* Where each ownership epoch of the log began, ascending. */
typedef struct {
	guint n;
	StoreEpoch e[DB_EPOCHS];
} DbEpochs;

/* What stands in sqlite beside the rows, changed in the same transaction. */
typedef struct {
	guint64 applied;              /* journal index */
	guint64 durable;              /* the journal was on disk up to here when the batch was written */
	guint64 epoch;                /* ownership epoch of the applied index */
	gint64 flares;                /* rows of TAB_FLARE */
	gint64 used;                  /* bytes of contents, roughly */
	DbEpochs epochs;              /* up to the applied index */
} DbMeta;

/* Makes the tables; key: the secret of the folder's journal, kept here for good. */
gboolean db_create(const char *path, const FrameKey *key, GError **error);
/* vfs: a registered name or NULL. cache_kib: sqlite's page cache. */
Db *db_open(const char *path, const char *vfs, gboolean writes, int cache_kib, GError **error);
void db_close(Db *d);
/* The last error of the connection, with its code. */
const char *db_error(Db *d);
gboolean db_meta(Db *d, DbMeta *out);
/* FALSE: it is not there, or not to be read (db_error). */
gboolean db_frame_key(Db *d, FrameKey *out);
/* Takes every row away and begins anew with meta, in one transaction, on disk when it returns. From then on, until db_emptied, the folder is being emptied: journal and contents are to go too. */
int db_reset(Db *d, const DbMeta *meta);
/* The same, but rows and contents stay, changed by txn (of TAB_META): only the journal is to go. */
int db_rebase(Db *d, const DbMeta *meta, const guint8 *txn, gsize len);
int db_emptied(Db *d);
/* UNREAD: that cannot be found out (db_error). */
typedef enum { DB_EMPTYING_NOT, DB_EMPTYING, DB_REBASING, DB_EMPTYING_UNREAD } DbEmptying;
DbEmptying db_emptying(Db *d);
/* Collects the text of each statement until the next call, which hands it over; NULL when nothing was collected. */
void db_log(Db *d, gboolean on);
GPtrArray *db_log_take(Db *d);

typedef enum { DB_FOUND, DB_ABSENT, DB_BUSY, DB_FAILED } DbGet;
DbGet db_get(Db *d, StoreTable t, const void *key, gsize klen, RowValue **out);
/* Keeps one read transaction over several gets; idempotent. */
void db_read_begin(Db *d);
void db_read_end(Db *d);

/* Rows that outlive the statement. */
typedef struct {
	GArray *rows;                 /* StoreRow; pointers are valid after rowset_finish */
	GByteArray *bytes;
	gboolean eof;
} RowSet;
void rowset_init(RowSet *s);
void rowset_add(RowSet *s, const StoreRow *row);
void rowset_finish(RowSet *s);
void rowset_clear(RowSet *s);

/* Rows with key > from (fromlen 0: none) that begin with prefix, with those of overlay (OverlayRow in order, or NULL) put over them. FALSE: db_error. */
gboolean db_scan(Db *d, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows, const GArray *overlay, RowSet *out);
/* Appends the inode numbers (guint64) that the merged index has at a key. */
DbGet db_born_at(Db *d, const MagmaKey *rk, GArray *out);
/* Flare rows with (rk, ino) > (lo, after_ino) and rk <= hi, in that order, as far as the index is merged. */
gboolean db_scan_range(Db *d, const MagmaKey *lo, guint64 after_ino, const MagmaKey *hi, guint max_rows, RowSet *out);
/* Writes a frozen batch and meta (whose flares it corrects to the truth) in one transaction. Returns an SQLITE_ code; all or nothing. */
int db_write(Db *d, const Frozen *f, DbMeta *meta);
/* Its rows alone, inside a transaction of the caller's. */
int db_write_rows(Db *d, const Frozen *f, DbMeta *meta);
/* Brings the index of flares by key up to date with the batches written so far: begin, then slices of at most max entries, a transaction each, until done. Batches may be written between them.
 * Begin goes on with what a crash cut off, and then takes nothing else along. After a slice that failed: again, or free and begin. SQLITE_ codes. */
typedef struct DbMerge DbMerge;
int db_merge_begin(Db *d, DbMerge **out);
int db_merge_slice(Db *d, DbMerge *m, guint max);
gboolean db_merge_done(const DbMerge *m);
/* Keys whose first 32 bits are below this are merged. */
guint64 db_merge_upto(const DbMerge *m);
void db_merge_free(DbMerge *m);
/* Between begin and the last slice, or a crash in between left one. */
gboolean db_merging(const Db *d);
/* Index entries not yet merged: first those of a merge that was cut off, then between(), then the others. Also learns what this connection must know of them before it writes. SQLITE_ code. */
int db_each_fresh(Db *d, void (*fn)(void *user, guint64 ino, const MagmaKey *rk), void (*between)(void *user), void *user);
/* About how many entries wait for their removal from the index. */
guint db_stale(const Db *d);
/* Moves the log into the database as far as readers let it; both on disk then. SQLITE_ code: SQLITE_FULL where there was no room for the copy, never for a sync that failed. */
int db_checkpoint(Db *d);
/* The log on disk: what was written so far survives a power cut. SQLITE_ code. */
int db_sync(Db *d);
/* Pages in the log after the last write through this connection. */
guint db_wal_pages(const Db *d);
/* Closing the last connection leaves the log as it is, as kill -9 would. */
void db_leave_log(Db *d);
/* Is it, after rc on this connection, room that is missing (SQLITE_FULL, or an I/O error that is ENOSPC or EDQUOT), never a sync that failed? checkpoint: what failed was not a statement. */
gboolean db_no_room(struct sqlite3 *db, int rc, gboolean checkpoint);
/* 0 when sqlite's code means success, else an errno. */
int db_errno(int rc);
