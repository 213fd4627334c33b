/* What lies in a folder. */
#pragma once
#include <glib.h>

/* The names in a folder, without "." and "..", in no order; NULL: not all of it could be read (MAGMA_ERROR, an errno). To be freed with g_strfreev(). g_dir_read_name() takes an error for the end. Any thread. */
char **magma_folder_names(const char *dir, GError **error);
/* Makes a folder and those above it that are not there (0700), or finds it there; on disk when it returns. Any thread. */
gboolean magma_folder_make(const char *dir, GError **error);
