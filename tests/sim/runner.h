/* Seeds over all cores, in processes of their own: the first that fails ends it all, and what it said is shown. */
#pragma once
#include <glib.h>

/* Runs one(seed, user) for from..to in `jobs` processes (0: one per core; 1: in this one, when it has to be watched). A seed fails by ending its process. TRUE: none did. */
gboolean runner_run(guint32 from, guint32 to, guint jobs, void (*one)(guint32 seed, void *user), void *user);
