#include "magmad/daemonise.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* The write end of the pipe to the parent; -1: in the foreground. A process has one parent. */
static int to_parent = -1;

/* What the child says: 'R' ready, 'W' what it waits for, or the digit of its exit status; then a line, and a NUL. */
typedef struct {
	int fd, signals;
	pid_t child;
	GByteArray *have;             /* of a message that has not come whole */
	gboolean told;                /* that ^C ends nothing but the command */
} Parent;

static void parent_takes(Parent *p, const char *message)
{
	if (message[0] == 'R') {
		puts(message + 1);
		fflush(stdout);
		_exit(0);
	}
	if (g_ascii_isdigit(message[0])) {
		fprintf(stderr, "%s\n", message + 1);
		_exit(message[0] - '0');
	}
	fprintf(stderr, "magmad: %s%s\n", message + 1, p->told ? "" : " (^C: it goes on waiting in the background)");
	p->told = TRUE;
}

static void parent_reads(Parent *p)
{
	guint8 buf[2048];
	gssize n = read(p->fd, buf, sizeof buf);
	const guint8 *end;
	int status = 0;

	if (n < 0 && errno == EINTR)
		return;
	if (n > 0) {
		g_byte_array_append(p->have, buf, (guint)n);
		while (p->have->len && (end = memchr(p->have->data, '\0', p->have->len))) {
			parent_takes(p, (const char *)p->have->data);
			g_byte_array_remove_range(p->have, 0, (guint)(end - p->have->data) + 1);
		}
		return;
	}
	/* it has closed the pipe: at its end, or because what it had to say did not fit in any more */
	pid_t ended = 0;
	for (guint i = 0; i < 100 && (ended = waitpid(p->child, &status, WNOHANG)) == 0; i++)
		g_usleep(10 * G_TIME_SPAN_MILLISECOND);
	if (!ended) {
		fprintf(stderr, "magmad: goes on in the background, process %ld; its log says what became of it\n", (long)p->child);
		_exit(DAEMONISE_INTERRUPTED);
	}
	if (WIFSIGNALED(status))
		fprintf(stderr, "magmad: was killed by signal %d before it was ready\n", WTERMSIG(status));
	else
		fprintf(stderr, "magmad: ended with status %d before it was ready\n", WEXITSTATUS(status));
	_exit(1);
}

/* What the child has said comes before a signal: who is told "ready" need not be told that it waits. */
static void parent_waits(int fd, int signals, pid_t child)
{
	Parent p = { fd, signals, child, g_byte_array_new(), FALSE };

	for (;;) {
		struct pollfd fds[] = { { .fd = p.fd, .events = POLLIN }, { .fd = p.signals, .events = POLLIN } };
		if (poll(fds, G_N_ELEMENTS(fds), -1) < 0)
			continue;
		if (fds[0].revents) {
			parent_reads(&p);
		} else if (fds[1].revents) {
			fprintf(stderr, "magmad: goes on waiting in the background, process %ld\n", (long)child);
			_exit(DAEMONISE_INTERRUPTED);
		}
	}
}

gboolean daemonise(GError **error)
{
	int fds[2] = { -1, -1 };
	sigset_t end, before;

	fflush(NULL);
	sigemptyset(&end);
	sigaddset(&end, SIGINT);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, &before);
	int signals = signalfd(-1, &end, SFD_CLOEXEC);
	pid_t pid = signals >= 0 && pipe2(fds, O_CLOEXEC) == 0 ? fork() : -1;
	int code = errno;
	if (pid > 0) {
		close(fds[1]);
		parent_waits(fds[0], signals, pid);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (signals >= 0)
		close(signals);
	if (fds[0] >= 0)
		close(fds[0]);
	if (pid < 0) {
		if (fds[1] >= 0)
			close(fds[1]);
		g_set_error(error, MAGMA_ERROR, code, "cannot go to the background: %s", g_strerror(code));
		return FALSE;
	}
	to_parent = fds[1];
	fcntl(to_parent, F_SETFL, O_NONBLOCK);         /* a parent that ^Z has stopped reads nothing, and may not hold the volcano up */
	setsid();
	return TRUE;
}

/* With the NUL behind it. FALSE: the parent is gone, or does not read. */
static gboolean tell_parent(char what, const char *line)
{
	g_autofree char *text = g_strdup_printf("%c%s", what, line);
	gsize len = strlen(text) + 1, done = 0;

	while (done < len) {
		gssize n = write(to_parent, text + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return FALSE;
		done += n;
	}
	return TRUE;
}

static void leave_parent(char what, const char *line)
{
	if (!tell_parent(what, line))
		g_message("%s", line);                /* it was interrupted: the log is what is left */
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

gboolean daemonise_watched(void) { return to_parent >= 0; }

void daemonise_waits(const char *what)
{
	if (to_parent >= 0)
		tell_parent('W', what);
}

void daemonise_ready(const char *line)
{
	if (to_parent >= 0) {
		leave_parent('R', line);
		return;
	}
	puts(line);
	fflush(stdout);
}

void daemonise_refused(const char *line, int status)
{
	if (to_parent >= 0)
		leave_parent((char)('0' + status), line);
	else
		fprintf(stderr, "%s\n", line);
}
