/* The log: for people and for the debug channels; stderr in the foreground, syslog in the background. say and trace may come from any thread. */
#pragma once
#include <glib.h>
#include "libmagma/base/trace.h"

typedef enum { LOG_TO_STDERR, LOG_TO_SYSLOG } LogTarget;

/* Also takes over what libraries say through g_log. name: of the volcano, "magmad" before it is known. */
void log_open(LogTarget target, const char *name);
/* On SIGHUP: connects to the log again. */
void log_reopen(void);
/* One line, `TIME wallace text` (syslog has a time of its own). Bytes that would steer a terminal are replaced. */
void log_say(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void log_error(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
/* MagmaTrace.sink: `TIME wallace [n] text`. */
void log_trace(void *user, char channel, const char *line);
