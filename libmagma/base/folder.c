#include "libmagma/base/folder.h"
#include "libmagma/base/err.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>

char **magma_folder_names(const char *dir, GError **error)
{
	g_autoptr(GStrvBuilder) names = g_strv_builder_new();
	DIR *d = opendir(dir);
	struct dirent *e = NULL;

	while (d && (errno = 0, (e = readdir(d))))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			g_strv_builder_add(names, e->d_name);
	int code = errno;
	if (d)
		closedir(d);
	if (!d || code) {
		g_set_error(error, MAGMA_ERROR, code, "%s: %s", dir, g_strerror(code));
		return NULL;
	}
	return g_strv_builder_end(names);
}
