/* The journal: segments of frames, preallocated, appended to by the loop, made durable by the pool. A frame is acknowledged once written (it survives the process), durable once synced. */
#pragma once
#include <gio/gio.h>
#include "magmad/store/frame.h"

/* --- reading, without changing anything --- */

typedef struct {
	guint64 first, last;          /* indexes of the intact frames; last < first: none */
	guint64 durable;              /* highest durable index seen */
	guint64 epoch;                /* of the last frame */
	guint64 bytes;                /* of intact frames */
	guint segments;
	guint stale;                  /* segments left in front of a gap that sqlite has the frames of: first is behind it */
	char *cut_file;               /* NULL: no torn tail. Else where it begins, and what is behind it in all segments */
	guint64 cut_at, cut_bytes;
} JournalScan;
void journal_scan_clear(JournalScan *s);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(JournalScan, journal_scan_clear)

/* Reads dir in order, frames of this key, and calls fn (may be NULL) for each transaction newer than applied; fn returning FALSE means damage too. durable_floor: an index known to have been durable.
 * Damage is a torn tail (cut_*) where nothing durable can be behind it; else an error naming file and offset. */
gboolean journal_scan(const char *dir, const FrameKey *key, guint64 applied, guint64 durable_floor, gboolean (*fn)(void *user, const Frame *f), void *user, JournalScan *out, GError **error);

/* --- writing; loop thread only --- */

typedef struct Journal Journal;

/* Cuts what scan found torn and goes on behind it, never below applied + 1 (where sqlite is ahead of the journal all segments go: it must be on disk then; so too where segments are stale, which go).
 * segment_bytes: size of new segments. */
Journal *journal_open(const char *dir, const FrameKey *key, guint64 segment_bytes, guint64 applied, const JournalScan *scan, GError **error);
void journal_close(Journal *j);
/* Encodes a transaction's frame for the next write; its index is returned. */
guint64 journal_append(Journal *j, guint64 epoch, const guint8 *txn, gsize n);
/* Writes what was appended, and a mark where a sync ended since. FALSE: try again later (ENOSPC) or give up (other codes). */
gboolean journal_write(Journal *j, GError **error);
gboolean journal_has_unwritten(const Journal *j);
guint64 journal_index(const Journal *j);      /* last appended */
guint64 journal_written(const Journal *j);
guint64 journal_durable(const Journal *j);
guint64 journal_bytes(const Journal *j);      /* of all segments */

/* A sync in the pool: begin on the loop, run anywhere, end on the loop. One at a time. */
typedef struct JournalSync JournalSync;
JournalSync *journal_sync_begin(Journal *j);
int journal_sync_run(JournalSync *s);         /* 0 or errno */
void journal_sync_end(Journal *j, JournalSync *s, int error);

/* Names of segments that hold nothing newer than applied (whole paths, owned by the caller, may be empty), which the journal forgets; the caller deletes the files once sqlite's copy is on disk. */
GPtrArray *journal_trim(Journal *j, guint64 applied);
gboolean journal_can_trim(const Journal *j, guint64 applied);
/* Should the next segment be prepared? Says so once for each. journal_prepare_run blocks: for the pool. */
gboolean journal_take_spare_wanted(Journal *j);
int journal_prepare_run(const char *dir, guint64 segment_bytes);
const char *journal_dir(const Journal *j);
guint64 journal_segment_bytes(const Journal *j);
