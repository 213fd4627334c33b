/* Many runs over all cores, each in one of a few processes; what a run says is shown if it fails. */
#pragma once
#include <glib.h>

typedef struct {
	guint64 count;                /* one(0..count - 1) */
	guint jobs;                   /* processes; 0: as many as cores */
	gboolean go_on;               /* past runs that fail: they are told in two lines each, not in full */
	void (*one)(guint64 n, void *user);
	void (*name)(guint64 n, char *out, gsize size, void *user);      /* of a run, for people */
	void *user;
} Runs;

/* How many failed; without go_on it ends with the first. A run fails by ending its process, or by taking RUN_CPU seconds of it. */
guint64 runner_run(const Runs *r);
enum { RUN_CPU = 120 };
