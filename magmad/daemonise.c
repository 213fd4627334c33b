#include "magmad/daemonise.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The write end of the pipe to the parent; -1: in the foreground. A process has one parent. */
static int to_parent = -1;

/* The child's one message: 'R' for ready, or the digit of its exit status; then the line. */
static void parent_waits(int fd, pid_t child)
{
	char buf[2048];
	gsize have = 0;
	int status = 0;

	while (have < sizeof buf - 1) {
		gssize n = read(fd, buf + have, sizeof buf - 1 - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		have += n;
	}
	buf[have] = '\0';
	if (have && buf[0] == 'R') {
		puts(buf + 1);
		fflush(stdout);
		_exit(0);
	}
	if (have && g_ascii_isdigit(buf[0])) {
		fprintf(stderr, "%s\n", buf + 1);
		_exit(buf[0] - '0');
	}
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status))
		fprintf(stderr, "magmad: was killed by signal %d before it was ready\n", WTERMSIG(status));
	else
		fprintf(stderr, "magmad: ended with status %d before it was ready\n", WEXITSTATUS(status));
	_exit(1);
}

gboolean daemonise(GError **error)
{
	int fds[2];

	fflush(NULL);
	pid_t pid = pipe2(fds, O_CLOEXEC) == 0 ? fork() : -1;
	if (pid < 0) {
		int code = errno;
		g_set_error(error, MAGMA_ERROR, code, "cannot go to the background: %s", g_strerror(code));
		return FALSE;
	}
	if (pid > 0) {
		close(fds[1]);
		parent_waits(fds[0], pid);
	}
	close(fds[0]);
	to_parent = fds[1];
	setsid();
	return TRUE;
}

static void tell_parent(char what, const char *line)
{
	g_autofree char *text = g_strdup_printf("%c%s", what, line);
	gsize len = strlen(text), done = 0;

	while (done < len) {
		gssize n = write(to_parent, text + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;                        /* the parent is gone: nobody to tell */
		done += n;
	}
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	close(to_parent);
	to_parent = -1;
	if (chdir("/") < 0)
		g_warning("/: %s", g_strerror(errno));        /* where we are keeps a file system busy, no more */
}

void daemonise_ready(const char *line)
{
	if (to_parent >= 0) {
		tell_parent('R', line);
		return;
	}
	puts(line);
	fflush(stdout);
}

void daemonise_refused(const char *line, int status)
{
	if (to_parent >= 0)
		tell_parent((char)('0' + status), line);
	else
		fprintf(stderr, "%s\n", line);
}
