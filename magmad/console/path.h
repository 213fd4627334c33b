/* Paths as they are typed: against the current directory, "." and ".." by their text. Pure. */
#pragma once
#include <glib.h>

/* Absolute, without empty parts, "." and ".."; NULL where the result is over MAGMA_PATH_MAX. To free. */
char *path_join(const char *cwd, const char *typed);
/* The part before the last name ("/" for "/a"), and the last name ("" for "/"). To free. */
char *path_parent(const char *path);
const char *path_name(const char *path);
