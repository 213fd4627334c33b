/* --daemon: the child becomes the daemon, the parent waits for its word. */
#pragma once
#include <glib.h>

#define DAEMONISE_INTERRUPTED 3       /* the parent's exit status after SIGINT or SIGTERM, which the child does not get: it goes on */

/* Forks, before any thread exists. The parent never returns: it prints what the child says to daemonise_ready (stdout, exit 0), daemonise_refused
 * (stderr, exit status given) or daemonise_waits (stderr). The child returns TRUE in a session of its own, without a terminal. FALSE: error. */
gboolean daemonise(GError **error);
/* In the child: is there a parent that waits for its word? */
gboolean daemonise_watched(void);
/* In the child, any number of times before the two below: what it waits for. Without a parent that waits: nothing. */
void daemonise_waits(const char *what);
/* In the child, once: lets the parent go; stdin, stdout and stderr become /dev/null. Without daemonise() they just print. */
void daemonise_ready(const char *line);
void daemonise_refused(const char *line, int status);
