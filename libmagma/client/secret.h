/* Where a program gets the network's secret key from, and how it keeps it out of sight. Every secret returned here ends in magma_secret_free(). */
#pragma once
#include <glib.h>

#define MAGMA_SECRET_MAX 1024         /* bytes; what magma_psk_derive takes */

/* The first line break at the file's end is not part of the key. Refused with MAGMA_ERROR and an errno: a file that its group or others may
 * touch (EACCES), an empty one, one over MAGMA_SECRET_MAX or with a NUL in it (EBADMSG). Messages name the file, never the secret. */
gboolean magma_secret_from_file(const char *path, char **secret, GError **error);
/* A copy of arg (part of argv), whose bytes become '*': from then on the process list shows nothing. */
char *magma_secret_take_arg(char *arg);
/* For parsers that copy (GOption): makes every place in argv where secret stands alone, behind "-k", "=" or "," unreadable. */
void magma_secret_wipe_argv(int argc, char **argv, const char *secret);
/* One answer out of what the user gave: arg (-k, may be NULL; ownership is taken), file (-K, may be NULL), else the environment variable
 * MAGMA_KEY, which is wiped. EINVAL where both or none are given or the secret is empty or too long: wrong usage; else as magma_secret_from_file(). */
gboolean magma_secret_choose(char *arg, const char *file, char **secret, GError **error);
/* Overwrites and frees; NULL is fine. */
void magma_secret_free(char *secret);
