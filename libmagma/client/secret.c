/* The secret key from option, file or environment. */
#include "libmagma/client/secret.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void magma_secret_free(char *secret)
{
	if (!secret)
		return;
	explicit_bzero(secret, strlen(secret));
	g_free(secret);
}

/* As much of fd as fits into buf, in as many reads as a pipe takes; -1 and errno. */
static gssize read_all(int fd, char *buf, gsize max)
{
	gsize have = 0;

	while (have < max) {
		gssize n = read(fd, buf + have, max - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		have += (gsize)n;
	}
	return (gssize)have;
}

/* fd stays the caller's. */
static gboolean secret_from_fd(int fd, const char *path, char **secret, GError **error)
{
	struct stat st;
	char buf[MAGMA_SECRET_MAX + 2];       /* the line break, and one byte more to see that it is too long */

	if (fstat(fd, &st) < 0) {
		g_set_error(error, MAGMA_ERROR, errno, "key file %s: %s", path, g_strerror(errno));
		return FALSE;
	}
	if (st.st_mode & 077) {
		g_set_error(error, MAGMA_ERROR, EACCES, "key file %s: others may read it (mode %04o); chmod 600 it", path, st.st_mode & 07777);
		return FALSE;
	}
	gssize n = read_all(fd, buf, sizeof buf);
	if (n < 0) {
		g_set_error(error, MAGMA_ERROR, errno, "key file %s: %s", path, g_strerror(errno));
		return FALSE;
	}
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	const char *why = n == 0 ? "is empty" : n > MAGMA_SECRET_MAX ? "is longer than 1024 bytes" : memchr(buf, 0, (gsize)n) ? "contains a NUL" : NULL;
	if (why)
		g_set_error(error, MAGMA_ERROR, EBADMSG, "key file %s %s", path, why);
	else
		*secret = g_strndup(buf, (gsize)n);
	explicit_bzero(buf, sizeof buf);
	return why == NULL;
}

gboolean magma_secret_from_file(const char *path, char **secret, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0) {
		g_set_error(error, MAGMA_ERROR, errno, "key file %s: %s", path, g_strerror(errno));
		return FALSE;
	}
	gboolean ok = secret_from_fd(fd, path, secret, error);
	close(fd);
	return ok;
}

char *magma_secret_take_arg(char *arg)
{
	char *copy = g_strdup(arg);

	/* the length stays: ps(1) shows what lies between argv's first and last byte */
	for (char *p = arg; *p; p++)
		*p = '*';
	return copy;
}

/* Does a secret begin at p of arg, by what stands before it? */
static gboolean begins_value(const char *arg, const char *p)
{
	if (p == arg || p[-1] == '=' || p[-1] == ',')
		return TRUE;
	return arg[0] == '-' && arg[1] != '-' && p[-1] == 'k';
}

void magma_secret_wipe_argv(int argc, char **argv, const char *secret)
{
	gsize len = secret ? strlen(secret) : 0;

	if (len == 0)
		return;
	for (int i = 1; i < argc; i++)
		for (char *p = argv[i]; (p = strstr(p, secret)); p++)
			if ((p[len] == '\0' || p[len] == ',') && begins_value(argv[i], p))
				memset(p, '*', len);
}

static char *secret_from_environment(void)
{
	char *env = getenv("MAGMA_KEY");

	if (!env)
		return NULL;
	char *copy = magma_secret_take_arg(env);      /* /proc/PID/environ shows the same memory */
	unsetenv("MAGMA_KEY");                        /* and no child inherits it */
	return copy;
}

gboolean magma_secret_choose(char *arg, const char *file, char **secret, GError **error)
{
	if (arg && file) {
		magma_secret_free(arg);
		g_set_error_literal(error, MAGMA_ERROR, EINVAL, "the secret key is given twice: use the key or the key file, not both");
		return FALSE;
	}
	if (file)
		return magma_secret_from_file(file, secret, error);
	char *s = arg ? arg : secret_from_environment();
	if (!s) {
		g_set_error_literal(error, MAGMA_ERROR, EINVAL, "no secret key: give -k SECRET, -K FILE or the environment variable MAGMA_KEY");
		return FALSE;
	}
	if (*s == '\0' || strlen(s) > MAGMA_SECRET_MAX) {
		g_set_error(error, MAGMA_ERROR, EINVAL, "the secret key %s", *s ? "is longer than 1024 bytes" : "is empty");
		magma_secret_free(s);
		return FALSE;
	}
	*secret = s;
	return TRUE;
}
