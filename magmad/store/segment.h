/* Names of journal segments: shared by reading and writing. */
#pragma once
#include <glib.h>

/* DIR/<first index, 16 digits hex>.log; the caller frees it. */
char *segment_path(const char *dir, guint64 first);
gboolean segment_parse_name(const char *name, guint64 *first);
/* First indexes (guint64) in order; NULL and error when dir cannot be read. */
GArray *segment_list(const char *dir, GError **error);
