#include "magmad/store/reread.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void reread_clean(int fd) { (void)!posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); }      /* a file system that cannot has no such cache */

int reread_fd(int fd)
{
	/* Only what is clean goes. */
	if (fdatasync(fd) != 0)
		return errno;
	reread_clean(fd);
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

#define NOTE "../lost-writes"
enum { BOOT_LEN = 36 };               /* proc(5): random/boot_id, a UUID */

static gboolean boot_of(char boot[BOOT_LEN])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	gboolean ok = fd >= 0 && read(fd, boot, BOOT_LEN) == BOOT_LEN;

	if (fd >= 0)
		close(fd);
	return ok;
}

void reread_note(int root)
{
	char boot[BOOT_LEN];
	int fd = boot_of(boot) ? openat(root, NOTE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;

	if (fd < 0)
		return;
	(void)!pwrite(fd, boot, BOOT_LEN, 0);
	close(fd);
}

gboolean reread_noted(int root)
{
	char boot[BOOT_LEN], then[BOOT_LEN];
	int fd = openat(root, NOTE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno != ENOENT;
	gssize n = read(fd, then, BOOT_LEN);
	close(fd);
	/* cut short: it had no room, in this life of the system or another */
	gboolean old = n == BOOT_LEN && boot_of(boot) && memcmp(boot, then, BOOT_LEN) != 0;
	if (old)
		(void)!unlinkat(root, NOTE, 0);
	return !old;
}
