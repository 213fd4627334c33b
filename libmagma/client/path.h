/* Paths as people type them, made into the form whose SHA-1 is a key. Pure; any thread. */
#pragma once
#include <glib.h>

/* "/a//b/./c/" becomes "/a/b/c"; free with g_free. Refused with MAGMA_ERROR: what does not begin with '/' (EINVAL), ".." (EINVAL: what is above a name
 * only the network knows), a name over MAGMA_NAME_MAX or a path over MAGMA_PATH_MAX (ENAMETOOLONG). The error names the path. */
char *magma_path_normalise(const char *path, GError **error);
