/* Inside of the journal: what its files share. */
#pragma once
#include "magmad/store/journal.h"
#include "magmad/store/segment.h"

typedef struct {
	SegmentName name;
	guint64 size;
	guint64 fills;                /* how many fills there were when it was whole */
	int fd;                       /* -1: whole and synced */
} Segment;

/* Where the frames behind an index begin: copies that catch up read on from where they were. */
typedef struct {
	guint64 after;
	SegmentName segment;
	guint64 at;
} JournalPlace;

#define JOURNAL_PLACES 4              /* more than the copies that a slice has */

struct Journal {
	char *dir;
	FrameKey key;
	guint64 segment_bytes;
	GArray *segments;             /* Segment, in order; the last is written to */
	GByteArray *buf;              /* frames not yet written */
	guint64 index, written, durable;
	guint64 fills, fills_written, fills_durable;
	guint64 fill_index;           /* of the newest fill */
	guint64 marked;               /* the durable index that the journal itself tells */
	guint64 epoch;                /* of the last transaction: marks and fills carry it too */
	guint64 keep_index, keep_bytes;
	JournalPlace places[JOURNAL_PLACES];
	guint next_place;
	gboolean dir_dirty;           /* a segment was made since the last sync */
	gboolean spare_wanted;
	gboolean torn;                /* a write failed: bytes of it may be behind the last segment's size */
};

/* A segment, as a walk is to see it. */
typedef struct {
	char *path;
	SegmentName name;
	guint64 size;
} WalkFile;

/* Frames one after the other, through segments, by windows. Blocks. */
typedef struct {
	FrameKey key;
	GArray *files;                /* WalkFile */
	guint file;
	guint64 at;                   /* in it: where the next frame begins */
	guint64 frame_at;             /* where the one that was given last began */
	int fd;
	GByteArray *window;
	guint64 window_at;
} FrameWalk;

/* Of the journal's segments from number `from` on, as far as they are written. */
void walk_init(FrameWalk *w, const Journal *j, guint from);
void walk_clear(FrameWalk *w);
/* 1: out is the next frame, its payload valid until the next call. 0: there is none. Else an errno: EIO also for what is no frame; ENOENT. */
int walk_next(FrameWalk *w, Frame *out);
gboolean journal_errno(GError **error, const char *path, const char *what);
gboolean segment_begin(Journal *j, guint64 first, GError **error);
