#include "libmagma/base/folder.h"
#include "libmagma/base/err.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* 0 or errno. Where the folder was there already, and above it is somebody else's, what is above need not be ours to open, nor be a file system that syncs folders. */
static int sync_above(const char *up, gboolean made)
{
	int fd = open(up, O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = fd < 0 || fsync(fd) != 0 ? errno : 0;

	if (fd < 0)
		return made ? e : 0;
	close(fd);
	return !made && (e == EINVAL || e == EROFS || e == ENOTSUP) ? 0 : e;
}

gboolean magma_folder_make(const char *dir, GError **error)
{
	g_autofree char *up = g_path_get_dirname(dir);
	gboolean made = mkdir(dir, 0700) == 0;
	struct stat st;
	int e = made ? 0 : errno;

	if (e == ENOENT && !g_str_equal(up, dir)) {
		if (!magma_folder_make(up, error))
			return FALSE;
		made = mkdir(dir, 0700) == 0;
		e = made ? 0 : errno;
	}
	if (e == EEXIST)
		e = stat(dir, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	if (!e)
		e = sync_above(up, made);
	if (e)
		g_set_error(error, MAGMA_ERROR, e, "%s: %s", dir, g_strerror(e));
	return !e;
}
