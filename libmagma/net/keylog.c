#include "libmagma/net/keylog.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int keylog_fd = -1;            /* written once, under the once of keylog_wanted() */

/* Whoever reads the file reads the traffic; so it is refused where that may be more than its owner. */
static gboolean is_private(int fd, const char *path, GError **error)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		g_set_error(error, MAGMA_ERROR, errno, "key log %s: %s", path, g_strerror(errno));
	else if (!S_ISREG(st.st_mode))
		g_set_error(error, MAGMA_ERROR, EINVAL, "key log %s: not a plain file", path);
	else if (st.st_mode & 077)
		g_set_error(error, MAGMA_ERROR, EACCES, "key log %s: others may read or write it (mode %04o); chmod 600 it", path, st.st_mode & 07777);
	else if (st.st_uid != geteuid())
		g_set_error(error, MAGMA_ERROR, EACCES, "key log %s: belongs to somebody else", path);
	else
		return TRUE;
	return FALSE;
}

int keylog_open(const char *path, GError **error)
{
	/* NONBLOCK: a fifo without a reader is an error, not a wait */
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0) {
		g_set_error(error, MAGMA_ERROR, errno, "key log %s: %s", path, g_strerror(errno));
		return -1;
	}
	if (!is_private(fd, path, error)) {
		close(fd);
		return -1;
	}
	return fd;
}

gboolean keylog_wanted(void)
{
	static gsize once;

	if (g_once_init_enter(&once)) {
		const char *path = secure_getenv("MAGMA_KEYLOG");
		g_autoptr(GError) error = NULL;

		if (path && *path) {
			keylog_fd = keylog_open(path, &error);
			if (error)
				g_warning("%s; the keys of sessions are not logged", error->message);
			else
				g_message("the keys of all sessions go to %s: whoever reads it can read the traffic", path);
		}
		g_once_init_leave(&once, 1);
	}
	return keylog_fd >= 0;
}

void keylog_line(void *user, const char *line)
{
	static gint failed;
	g_autofree char *whole = g_strconcat(line, "\n", NULL);
	gsize n = strlen(whole);

	/* one write: lines of several processes in one file stay whole */
	if (write(keylog_fd, whole, n) != (gssize)n && g_atomic_int_compare_and_exchange(&failed, FALSE, TRUE))
		g_warning("MAGMA_KEYLOG: %s; keys are missing in it from here on", g_strerror(errno));
	explicit_bzero(whole, n);
}
