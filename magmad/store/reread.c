#include "magmad/store/reread.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int reread_fd(int fd)
{
	/* Only what is clean goes. */
	if (fdatasync(fd) != 0)
		return errno;
	(void)!posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);      /* a file system that cannot has no such cache */
	return 0;
}

gboolean reread_file(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), e = fd < 0 ? errno : reread_fd(fd);

	if (fd >= 0)
		close(fd);
	if (!e || (fd < 0 && e == ENOENT))
		return TRUE;
	g_set_error(error, MAGMA_ERROR, e, "%s: %s", path, g_strerror(e));
	return FALSE;
}
