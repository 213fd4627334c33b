/* Where messages go: stderr in the foreground, syslog in the background. Nothing here prints a secret. */
#pragma once
#include <glib.h>

/* From now on to syslog. */
void log_to_syslog(void);
void log_say(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
/* The same, but a cause that repeats is said at most once in 10 s. */
void log_cause(guint cause, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* MagmaTraceFn */
void log_trace(void *user, char channel, const char *line);
/* What libfuse says goes the same way; while the mount is being made its last line is kept instead. */
void log_take_fuse(gboolean keep);
const char *log_fuse_line(void);
