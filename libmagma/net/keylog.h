/* The key log of a process: rule K4 of docs/protocol-sessions.md. Internal to libmagma/net. */
#pragma once
#include <glib.h>

/* Opens path for appending, made with mode 0600. -1 and error set: it cannot be opened, is not a plain file, or is not for its owner's eyes only. */
int keylog_open(const char *path, GError **error);
/* TRUE: MAGMA_KEYLOG names a file that could be opened. It is opened once per process and stays open; what came of it is said once, through GLib's log. Any thread. */
gboolean keylog_wanted(void);
/* Appends a line, whole, whoever else writes to the file. A MagmaXportOps.keylog. */
void keylog_line(void *user, const char *line);
