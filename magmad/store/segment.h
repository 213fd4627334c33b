/* Names of journal segments: shared by reading and writing. */
#pragma once
#include <glib.h>

/* first: the index of the next transaction when it was begun. Where a segment was filled with fills alone, the next one has the same: part tells them apart. */
typedef struct {
	guint64 first;
	guint32 part;
} SegmentName;

/* DIR/<first, 16 digits hex>.log, from part 1 on DIR/<first>-<part, 8 digits hex>.log; the caller frees it. */
char *segment_path(const char *dir, SegmentName name);
gboolean segment_parse_name(const char *file, SegmentName *out);
/* All (SegmentName) in order; NULL and error when dir cannot be read. */
GArray *segment_list(const char *dir, GError **error);
