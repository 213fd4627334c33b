/* DIR/lava.db: the few bytes that a volcano keeps of the lava map and the vote on it (VolcanoIo.keep), in sqlite (a write-ahead log, synchronous=FULL). Written by a thread of
 * its own, the newest of those that wait; loop thread only otherwise. */
#pragma once
#include <gio/gio.h>

typedef struct Keep Keep;

/* Opens or makes it; blocks. *value: what was kept last, NULL if nothing (owned by the caller). must: a volcano has been here, so something was kept: where that is missing or cannot be read the folder stays
 * as it is. Errors name the file and what to do. */
Keep *keep_open(const char *dir, GMainContext *ctx, gboolean must, GBytes **value, GError **error);
/* Only looks, and changes nothing: FALSE and the same error where keep_open() with must would not open it. Of a folder whose lock the caller has. */
gboolean keep_check(const char *dir, GError **error);
/* Before the loop runs, and before any keep_put: blocks. 0 or an errno. */
int keep_put_now(Keep *k, GBytes *value);
/* done comes from the loop when the value is on the disk (0), or cannot be brought there (an errno). Takes a reference. */
void keep_put(Keep *k, GBytes *value, void (*done)(void *user, int error), void *user);
/* Waits for what was put; its done runs no more. */
void keep_close(Keep *k);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Keep, keep_close)
