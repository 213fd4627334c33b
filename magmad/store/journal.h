/* The journal: segments of frames, preallocated, appended to by the loop, made durable by the pool. A frame is acknowledged once written (it survives the process), durable once synced. */
#pragma once
#include <gio/gio.h>
#include "magmad/store/frame.h"

/* --- reading, without changing anything --- */

typedef struct {
	guint64 first, last;          /* indexes of the intact frames; last < first: none */
	guint64 durable;              /* highest durable index seen */
	guint64 epoch;                /* of the last frame */
	guint64 fills;                /* that were given to fn */
	guint64 fill_index;           /* of the newest one */
	guint64 bytes;                /* of intact frames */
	guint segments;
	guint stale;                  /* segments left in front of a gap that sqlite has the frames of: first is behind it */
	char *cut_file;               /* NULL: no torn tail. Else where it begins, and what is behind it in all segments */
	guint64 cut_at, cut_bytes;
} JournalScan;
void journal_scan_clear(JournalScan *s);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(JournalScan, journal_scan_clear)

/* Reads dir in order, frames of this key, and calls fn (may be NULL) for each transaction newer than applied and each fill behind it; fn returning FALSE means damage too. durable_floor: an index known to have been durable; what may not be is synced and read from the disk, not from the page cache.
 * Damage is a torn tail (cut_*) where nothing durable can be behind it; else an error naming file and offset. */
gboolean journal_scan(const char *dir, const FrameKey *key, guint64 applied, guint64 durable_floor, gboolean (*fn)(void *user, const Frame *f), void *user, JournalScan *out, GError **error);

/* --- writing; loop thread only --- */

typedef struct Journal Journal;

/* epoch: of the applied index. Cuts what scan found torn and goes on behind it, never below applied + 1 (where sqlite is ahead of the journal all segments go: it must be on disk then; so too where segments are stale, which go).
 * segment_bytes: size of new segments. */
Journal *journal_open(const char *dir, const FrameKey *key, guint64 segment_bytes, guint64 applied, guint64 epoch, const JournalScan *scan, GError **error);
void journal_close(Journal *j);
/* Encodes a transaction's frame for the next write; its index is returned. */
guint64 journal_append(Journal *j, guint64 epoch, const guint8 *txn, gsize n);
/* The same of a fill. Returns how many there were: those that the scan gave, then these. */
guint64 journal_fill(Journal *j, const guint8 *txn, gsize n);
guint64 journal_fills(const Journal *j);
guint64 journal_fills_written(const Journal *j);
guint64 journal_fills_durable(const Journal *j);
/* Writes what was appended, and a mark where a sync ended since. FALSE: try again later (ENOSPC) or give up (other codes). */
gboolean journal_write(Journal *j, GError **error);
gboolean journal_has_unwritten(const Journal *j);
guint64 journal_index(const Journal *j);      /* last appended */
guint64 journal_epoch(const Journal *j);      /* of that */
guint64 journal_written(const Journal *j);
guint64 journal_durable(const Journal *j);
guint64 journal_bytes(const Journal *j);      /* of all segments */

/* A sync in the pool: begin on the loop, run anywhere, end on the loop. One at a time. */
typedef struct JournalSync JournalSync;
JournalSync *journal_sync_begin(Journal *j);
int journal_sync_run(JournalSync *s);         /* 0 or errno */
void journal_sync_end(Journal *j, JournalSync *s, int error);

/* Frames behind index are kept, up to so many bytes, though they are applied; not those in front of the newest fill. */
void journal_keep(Journal *j, guint64 index, guint64 bytes);
/* Does it keep any that could go? */
gboolean journal_keeps(const Journal *j, guint64 applied, guint64 fills);
/* Names of segments that hold nothing newer than applied, and no fills behind the first so many, and need not be kept (whole paths, owned by the caller, may be empty), which the journal forgets; the caller deletes the files once sqlite's copy is on disk. */
GPtrArray *journal_trim(Journal *j, guint64 applied, guint64 fills);
/* The same, also of those that should be kept. */
GPtrArray *journal_give_kept(Journal *j, guint64 applied, guint64 fills);
gboolean journal_can_trim(const Journal *j, guint64 applied, guint64 fills);
/* Should the next segment be prepared? Says so once for each. journal_prepare_run blocks: for the pool. */
gboolean journal_take_spare_wanted(Journal *j);
int journal_prepare_run(const char *dir, guint64 segment_bytes);
/* Cuts off everything behind index, which was written; on disk when it returns. A crash in the middle leaves some of what is behind it, from its beginning on. Blocks. epoch: of that index. */
gboolean journal_cut(Journal *j, guint64 index, guint64 epoch, GError **error);

/* --- reading what was written, while it is written to --- */

/* Frames can be read behind this index. */
guint64 journal_floor(const Journal *j);

typedef struct JournalRead JournalRead;
/* Written transactions behind `after`, about max_bytes of them: begin on the loop, run anywhere, end on the loop. fills: fills from that index on too, and no bound. */
JournalRead *journal_read_begin(Journal *j, guint64 after, gsize max_bytes);
JournalRead *journal_read_all_begin(Journal *j, guint64 applied);
/* 0; EIO: what is there cannot be read; ENODATA: it was trimmed. text (the caller's) says more. */
int journal_read_run(JournalRead *r, char **text);
/* What was read, valid until the end. */
guint journal_read_count(const JournalRead *r);
void journal_read_frame(const JournalRead *r, guint i, Frame *out);
void journal_read_end(Journal *j, JournalRead *r);

const char *journal_dir(const Journal *j);
guint64 journal_segment_bytes(const Journal *j);
