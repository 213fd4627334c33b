/* What operations see of storage: rows, transactions, contents. An interface, because two things stand behind it: magmad/store (journal, sqlite, files)
 * and the simulator's. Loop thread only. Rows are bytes under (table, key); keys sort as memcmp does.
 *
 * An operation collects what it reads through a Fetch. A get that answers PENDING has noted what to bring; the operation returns, and is run again from
 * its start when all of it is there. So evaluation must have no side effects before store_commit(). */
#pragma once
#include <glib.h>
#include "libmagma/base/trace.h"
#include "libmagma/flare/flare.h"

/* Row keys: integers big-endian. rk, the routing key, is the key of the flare the row belongs to: it says which volcano holds the row. */
typedef enum {
	TAB_META = 1,     /* text name                         of this volcano only; rk is ignored */
	TAB_FLARE,        /* ino                               the only table indexed by rk */
	TAB_ENTRY,        /* dir ino, name                     rk: the directory's */
	TAB_COOKIE,       /* dir ino, cookie                   the same entries in readdir order; rk: the directory's */
	TAB_XATTR,        /* ino, name */
	TAB_DATA,         /* ino                               contents of up to MAGMA_INLINE_MAX bytes */
	TAB_REPLY,        /* client, xid                       stored replies; rk: the key the request was routed by */
	TAB_CLIENT,       /* client                            when it expired, the watermark its replies were dropped by; of no slice, rk is ignored */
	TAB_MARK,         /* op_hi, op_lo, target ino, kind    prepared work; rk: the target's */
	TAB_COMMIT,       /* op_hi, op_lo                      committed work not yet settled everywhere; rk: the coordinating directory's */
	TAB_ORPHAN,       /* ino                               no name left, but open or not yet removed */
	TAB_DIRTY,        /* ino                               write intent: size and times in the row may be behind the content file; of a truncation under way: its size and its request */
	TAB_COUNT
} StoreTable;

#define STORE_KEY_MAX 300

typedef struct Store Store;
typedef struct StoreVt StoreVt;
typedef struct Txn Txn;
struct StoreRow;
struct StoreContentStat;
struct StoreUsage;

typedef enum { STORE_FOUND, STORE_ABSENT, STORE_PENDING } StoreGet;

/* Embedded in an operation. ready is called (from the loop, never from inside store_get) when everything noted has arrived. What was brought stays
 * readable without PENDING until store_fetch_clear. */
typedef struct Fetch {
	void (*ready)(struct Fetch *f);
	guint pending;
	GPtrArray *pins;              /* the store's */
} Fetch;

struct StoreVt {
	StoreGet (*get)(Store *, Fetch *, StoreTable, const void *key, gsize klen, const guint8 **val, gsize *vlen);
	void (*fetch_clear)(Store *, Fetch *);
	guint64 (*commit)(Store *, Txn *);
	guint64 (*acked)(Store *);
	void (*sync)(Store *, void (*done)(void *user, int error), void *user);
	void (*scan)(Store *, StoreTable, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows,
		void (*done)(void *user, int error, const struct StoreRow *rows, guint n, gboolean eof), void *user);
	void (*scan_range)(Store *, const MagmaKey *lo, const MagmaKey *hi, guint64 after_ino, guint max_rows,
		void (*done)(void *user, int error, const struct StoreRow *rows, guint n, gboolean eof), void *user);
	void (*content_read)(Store *, const MagmaFid *, guint64 off, guint32 len, void (*done)(void *user, int error, GBytes *data), void *user);
	void (*content_write)(Store *, const MagmaFid *, guint64 off, GBytes *data, void (*done)(void *user, int error), void *user);
	void (*content_truncate)(Store *, const MagmaFid *, guint64 size, void (*done)(void *user, int error), void *user);
	void (*content_fallocate)(Store *, const MagmaFid *, guint32 mode, guint64 off, guint64 len, void (*done)(void *user, int error), void *user);
	void (*content_seek)(Store *, const MagmaFid *, guint64 off, guint32 whence, void (*done)(void *user, int error, guint64 off), void *user);
	void (*content_stat)(Store *, const MagmaFid *, void (*done)(void *user, int error, const struct StoreContentStat *st), void *user);
	void (*content_sync)(Store *, const MagmaFid *, void (*done)(void *user, int error), void *user);
	void (*content_drop)(Store *, const MagmaFid *, void (*done)(void *user, int error), void *user);
	void (*content_list)(Store *, guint folder, void (*done)(void *user, int error, const MagmaFid *fids, guint n, guint next), void *user);
	void (*usage)(Store *, struct StoreUsage *out);
};
typedef struct StoreRow { StoreTable table; const guint8 *key; gsize klen; MagmaKey rk; const guint8 *val; gsize vlen; } StoreRow;
typedef struct StoreContentStat { gboolean exists; guint64 size, blocks; MagmaTs mtime; } StoreContentStat;
typedef struct StoreUsage {
	guint64 total, free, avail;   /* of the file system under -d, bytes */
	guint64 used;                 /* by this volcano, bytes, roughly */
	guint64 flares;               /* rows of TAB_FLARE */
	gboolean low;                 /* only what frees space may still be committed (ENOSPC for the rest): the reserve is for it */
	guint64 cache_rows, cache_bytes, cache_hits, cache_misses, open_batch_rows, batches, journal_bytes, journal_index, durable_index;
} StoreUsage;

/* --- a store as one of several copies of a slice: the log side, for magmad/mirror only ---
 *
 * The frames of a store's journal are one log: index grows by one a transaction, epoch is the ownership epoch it was committed under and never falls. Two logs that have a frame of the
 * same (epoch, index) are the same up to it (Raft's log matching), because only the owner of an epoch makes frames of it, and a copy takes a frame only behind the one before it.
 *
 * written: this journal has it (it survives kill -9 of this process). acked(): every copy that counts has it: min(written, limit). Only acked rows may leave memory for the state
 * behind the journal (sqlite), so what is behind acked() can be cut. on_acked is called when acked() grows by either. */
typedef struct StorePos { guint64 epoch, index; } StorePos;        /* index 0: an empty log */
typedef struct StoreFrame { StorePos pos; const guint8 *txn; gsize len; } StoreFrame;
typedef struct StoreEpoch { guint64 epoch, first; } StoreEpoch;    /* the first index that was committed under it */

typedef struct StoreLogVt {
	/* Of the frame appended last (0, 0: none). */
	StorePos (*position)(Store *);
	guint64 (*written)(Store *);
	guint64 (*durable)(Store *);
	/* commit() makes frames of this epoch from now on; not below position().epoch. */
	void (*set_epoch)(Store *, guint64 epoch);
	/* What the other copies have; G_MAXUINT64 (the start value, unless it was opened as one_of_several: 0): there is none that counts. acked() does not fall by it: a lower value only stops its growing.
	 * But opening takes all that is written for acked, and the first call after it, before anything is appended and before the loop runs, may take that back: down to what is behind the journal
	 * already. on_acked is called from here or at the end of the turn.
	 * scan_range over more than one key waits until what was committed before it is acknowledged; scan waits for nothing. */
	void (*set_limit)(Store *, guint64 index);
	/* A copy takes the owner's frame: commit() at that position. FALSE, and nothing done: it is not the next one (index is not position().index + 1, or its epoch is older), or not a transaction. */
	gboolean (*append)(Store *, const StoreFrame *f);
	/* Where each epoch that this log has frames of began, ascending; as far back as is known. Valid until the next call of anything. */
	guint (*epochs)(Store *, const StoreEpoch **out);
	/* Frames behind `after`, in order, some (about max_bytes, at least one if there is one): from the journal on disk where they left memory. ENODATA: the journal does not go back so far.
	 * Only written frames. eof: nothing written behind the last. Frames are valid inside done only. */
	void (*read)(Store *, guint64 after, gsize max_bytes, void (*done)(void *user, int error, const StoreFrame *frames, guint n, gboolean eof), void *user);
	/* Frames behind `after` are kept in the journal for copies that come back, up to max_bytes of them (0: no need to keep any). */
	void (*keep)(Store *, guint64 after, guint64 max_bytes);
	/* Undoes everything behind index (>= acked()): rows, journal. Nothing may be fetched (no Fetch may hold a row: asserted), committed or synced meanwhile; done when memory and disk are as if it had
	 * never been. Rows are loaded anew: the loop may stand still for as long as opening takes. */
	void (*cut)(Store *, guint64 index, void (*done)(void *user, int error), void *user);
	/* Empties it: every row and content goes (META too), and the next frame is pos.index + 1. For a copy that is filled anew. Waits for what contents are asked for already, by an owner that has
	 * ended maybe; nothing may be asked for meanwhile. Safe against a crash in the middle:
	 * either nothing happened or a reopened store is empty or goes on emptying. ENOSPC: nothing happened. What keep() said is forgotten. */
	void (*reset)(Store *, StorePos pos, void (*done)(void *user, int error), void *user);
	/* The log goes on behind pos (pos.index > 0), the rows stay: as they are behind the journal (what is only in the journal may be lost), with those changed that txn, a transaction of TAB_META alone,
	 * says. Contents stay. For a copy that is compared with its owner row by row. Under way may be what may be at a reset. Safe against a crash as reset is: not begun, or done with txn. ENOSPC: nothing happened. */
	void (*rebase)(Store *, StorePos pos, const guint8 *txn, gsize len, void (*done)(void *user, int error), void *user);
	/* Rows that are not the log's: a copy that is being filled takes the owner's rows as they are at position(), which does not change. In the journal behind what was appended and before what follows;
	 * read answers ENODATA for what is in front of the newest fill, and a cut takes the fills behind what it undoes with it. Returns how many fills there were since the store was opened; 0, and
	 * nothing done: not a transaction. */
	guint64 (*fill)(Store *, const guint8 *txn, gsize len);
	/* A copy's contents are read by nobody: what large writes one behind the other leave in the page cache need not stay there once it is on disk, so that its memory serves the next ones. Off at the start. */
	void (*set_unread)(Store *, gboolean unread);
	/* How many of those fills are written. on_written is called for them too (index may be what it was); the next frame's being written says it as well, and sync covers them. */
	guint64 (*filled)(Store *);
} StoreLogVt;

struct Store {
	const StoreVt *vt;
	const StoreLogVt *log;        /* NULL where it cannot be one of several copies */
	void (*on_written)(void *user, guint64 index);       /* written() or filled() grew; NULL: nobody asks. Before on_acked */
	void *log_user;
	/* Called when acked() grew: replies evaluated at those indexes may leave. Set by the volcano. */
	void (*on_acked)(void *user, guint64 index);
	/* The store can go on no more (journal not writable, EIO): the volcano must stop answering. text names the file and the errno. */
	void (*on_failed)(void *user, const char *text);
	void *user;
};

/* The value of a row as all commits so far left it. *val is valid until the next commit or until the loop runs; f may be NULL only where the row is known to be in memory. */
static inline StoreGet store_get(Store *s, Fetch *f, StoreTable t, const void *k, gsize kl, const guint8 **v, gsize *vl) { return s->vt->get(s, f, t, k, kl, v, vl); }
static inline void store_fetch_clear(Store *s, Fetch *f) { s->vt->fetch_clear(s, f); }

/* A transaction: all its rows or none, in memory, in the journal and on every mirror. Its encoding is what the journal and move_rows carry:
 * records of u8 table, u8 what (0 delete, 1 put), rk (20), u16 key length, key, and for a put u32 length and value. magmad/core/txn.c, without I/O. */
Txn *txn_new(void);
void txn_free(Txn *t);
void txn_put(Txn *t, StoreTable table, const void *key, gsize klen, const MagmaKey *rk, const void *val, gsize vlen);
void txn_del(Txn *t, StoreTable table, const void *key, gsize klen, const MagmaKey *rk);
gboolean txn_empty(const Txn *t);
GByteArray *txn_bytes(Txn *t);        /* the encoding, borrowed */
/* Calls fn for each record; FALSE for bytes that are not records (checks table, lengths). For a delete val is NULL. */
gboolean txn_each(const guint8 *p, gsize n, gboolean (*fn)(void *user, const StoreRow *row, gboolean del), void *user);

/* Takes t. The rows are readable at once; the journal has them when acked() reaches the returned index (indexes grow by one a transaction). Never fails:
 * if the journal cannot be written, on_failed is called and acked() grows no more. An empty transaction is free and returns the current index. */
static inline guint64 store_commit(Store *s, Txn *t) { return s->vt->commit(s, t); }
static inline guint64 store_acked(Store *s) { return s->vt->acked(s); }
/* done when everything committed so far is durable (fdatasync of the journal; syncs that wait together share one). */
static inline void store_sync(Store *s, void (*done)(void *, int), void *u) { s->vt->sync(s, done, u); }
/* Rows of one table with key > from (or from the prefix's start when fromlen is 0) that begin with prefix, in order, at most max_rows and about 256 KiB.
 * Sees all commits made before the call. eof: nothing behind the last. Rows are valid inside done only. */
#define store_scan(s, ...) ((s)->vt->scan((s), __VA_ARGS__))
/* Flare rows with (rk, ino) > (lo, after_ino) and rk <= hi, in that order (by key: no sort of all rows for each piece). To begin, after_ino is 0; to go on, lo and after_ino are the last row's. */
#define store_scan_range(s, ...) ((s)->vt->scan_range((s), __VA_ARGS__))

/* Contents: one sparse file per flare, made by the first write, gone with drop; a missing file reads as empty (size 0). Operations on one flare take effect in the order of the
 * calls where they overlap. done may be called before the function returns. What a done write wrote survives kill -9; after sync also a power cut.
 * read: short at the end of the file. drop of a missing file is no error. */
#define store_content_read(s, ...) ((s)->vt->content_read((s), __VA_ARGS__))
#define store_content_write(s, ...) ((s)->vt->content_write((s), __VA_ARGS__))
#define store_content_truncate(s, ...) ((s)->vt->content_truncate((s), __VA_ARGS__))
#define store_content_fallocate(s, ...) ((s)->vt->content_fallocate((s), __VA_ARGS__))
#define store_content_seek(s, ...) ((s)->vt->content_seek((s), __VA_ARGS__))
#define store_content_stat(s, ...) ((s)->vt->content_stat((s), __VA_ARGS__))
#define store_content_sync(s, ...) ((s)->vt->content_sync((s), __VA_ARGS__))
#define store_content_drop(s, ...) ((s)->vt->content_drop((s), __VA_ARGS__))
/* The flares of which there are content files, unordered, piece by piece: those of some folders, by the first two bytes of their keys, from `folder` (0..STORE_FOLDERS - 1) on; there may be
 * none. next: where to go on, STORE_FOLDERS: that was all. What is made or dropped meanwhile may be in it or not. */
#define STORE_FOLDERS 65536
#define store_content_list(s, ...) ((s)->vt->content_list((s), __VA_ARGS__))
