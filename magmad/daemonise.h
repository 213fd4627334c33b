/* --daemon: the child becomes the daemon, the parent waits for its word. */
#pragma once
#include <glib.h>

/* Forks, before any thread exists. The parent never returns: it prints what the child says to daemonise_ready (stdout, exit 0) or daemonise_refused
 * (stderr, exit status given). The child returns TRUE in a session of its own, without a terminal. FALSE: error. */
gboolean daemonise(GError **error);
/* In the child, once: lets the parent go; stdin, stdout and stderr become /dev/null. Without daemonise() they just print. */
void daemonise_ready(const char *line);
void daemonise_refused(const char *line, int status);
