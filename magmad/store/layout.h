/* The storage folder: its files, its lock, its format. */
#pragma once
#include <glib.h>

/* Reads volcano.conf's [store] format; FALSE with a text that says what stands in dir instead of a volcano of ours. */
gboolean layout_check(const char *dir, GError **error);
/* Takes journal segments and, unless only those, contents away, for good. Blocks, perhaps long. FALSE: not all. */
gboolean layout_empty(const char *dir, gboolean journal_only, GError **error);
char *layout_db(const char *dir);
char *layout_journal(const char *dir);
char *layout_content(const char *dir);
