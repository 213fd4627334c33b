#include "tests/sim/runner.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64 };

/* Between the processes. */
typedef struct {
	guint64 next;                 /* atomic */
	gint stop;                    /* atomic */
	guint32 current[JOBS_MAX];
} Shared;

typedef struct {
	pid_t pid;
	int out;                      /* what it said of the seed it is at */
} Job;

static void work(Shared *s, guint index, guint32 to, void (*one)(guint32 seed, void *user), void *user)
{
	guint64 seed;

	while (!g_atomic_int_get(&s->stop) && (seed = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED)) <= to) {
		s->current[index] = seed;
		fflush(stderr);
		if (ftruncate(STDERR_FILENO, 0) != 0 || lseek(STDERR_FILENO, 0, SEEK_SET) != 0)
			_exit(3);
		one(seed, user);
	}
	exit(0);              /* not _exit: a sanitizer looks for leaks */
}

static gboolean job_start(Job *j, Shared *s, guint index, guint32 to, void (*one)(guint32 seed, void *user), void *user)
{
	j->out = memfd_create("seed", MFD_CLOEXEC);
	if (j->out < 0)
		return FALSE;
	fflush(NULL);
	j->pid = fork();
	if (j->pid)
		return j->pid > 0;
	if (dup2(j->out, STDERR_FILENO) < 0)
		_exit(3);
	work(s, index, to, one, user);
	return FALSE;
}

static void show(int fd)
{
	char buf[65536];
	ssize_t n;

	if (lseek(fd, 0, SEEK_SET) != 0)
		return;
	while ((n = read(fd, buf, sizeof buf)) > 0)
		if (fwrite(buf, 1, n, stderr) != (gsize)n)
			return;
}

/* The first to end badly tells the others to stop. */
static gboolean wait_for_all(Job *jobs, guint n, Shared *s)
{
	gboolean good = TRUE;
	int status;
	pid_t pid;

	while ((pid = wait(&status)) > 0 || (pid < 0 && errno == EINTR)) {
		for (guint i = 0; i < n; i++) {
			if (jobs[i].pid != pid)
				continue;
			jobs[i].pid = 0;
			if (status == 0 || !good)
				continue;
			good = FALSE;
			g_atomic_int_set(&s->stop, 1);
			show(jobs[i].out);
			fprintf(stderr, "seed %u failed (%s %d)\n", s->current[i], WIFSIGNALED(status) ? "signal" : "exit code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
			for (guint k = 0; k < n; k++)
				if (jobs[k].pid > 0)
					kill(jobs[k].pid, SIGKILL);
		}
	}
	return good;
}

gboolean runner_run(guint32 from, guint32 to, guint njobs, void (*one)(guint32 seed, void *user), void *user)
{
	Job jobs[JOBS_MAX] = { 0 };

	if (!njobs)
		njobs = g_get_num_processors();
	if (njobs == 1) {
		for (guint64 seed = from; seed <= to; seed++)
			one(seed, user);
		return TRUE;
	}
	njobs = MIN(njobs, (guint)JOBS_MAX);
	Shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return FALSE;
	s->next = from;
	gboolean good = TRUE;
	for (guint i = 0; i < njobs; i++)
		if (!job_start(&jobs[i], s, i, to, one, user)) {
			g_atomic_int_set(&s->stop, 1);
			good = FALSE;
		}
	good &= wait_for_all(jobs, njobs, s);
	for (guint i = 0; i < njobs; i++)
		if (jobs[i].out > 0)
			close(jobs[i].out);
	munmap(s, sizeof *s);
	return good;
}
