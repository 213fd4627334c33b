#include "tests/sim/runner.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64, TAIL = 2000 };

/* Between the processes. */
typedef struct {
	guint64 next;                 /* atomic */
	gint stop;                    /* atomic */
	guint64 current[JOBS_MAX];
} Shared;

typedef struct {
	pid_t pid;
	int out;                      /* what it said of the run it is at */
} Job;

static void limit_cpu(void)
{
	struct itimerval t = { .it_value = { .tv_sec = RUN_CPU } };

	setitimer(ITIMER_PROF, &t, NULL);
}

static void work(const Runs *r, Shared *s, guint index)
{
	guint64 n;

	while (!g_atomic_int_get(&s->stop) && (n = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED)) < r->count) {
		s->current[index] = n;
		fflush(stderr);
		if (ftruncate(STDERR_FILENO, 0) != 0 || lseek(STDERR_FILENO, 0, SEEK_SET) != 0)
			_exit(3);
		limit_cpu();
		r->one(n, r->user);
	}
	exit(0);              /* not _exit: a sanitizer looks for leaks */
}

static gboolean job_start(const Runs *r, Job *j, Shared *s, guint index)
{
	j->out = memfd_create("run", MFD_CLOEXEC);
	if (j->out < 0)
		return FALSE;
	fflush(NULL);
	j->pid = fork();
	if (j->pid)
		return j->pid > 0;
	if (dup2(j->out, STDERR_FILENO) < 0)
		_exit(3);
	work(r, s, index);
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

/* The last two lines: what failed, and how to see it again. */
static void show_end(int fd)
{
	char buf[TAIL + 1];
	off_t size = lseek(fd, 0, SEEK_END), from = MAX(size - TAIL, 0);
	ssize_t n = pread(fd, buf, TAIL, from);

	if (n <= 0)
		return;
	buf[n] = 0;
	char *line = buf + n;
	for (guint lines = 0; line > buf && (line[-1] != '\n' || line == buf + n || ++lines < 2); line--)
		;
	fputs(line, stderr);
}

static void tell(const Runs *r, const Job *j, guint64 n, int status)
{
	char name[100] = "";

	r->name(n, name, sizeof name, r->user);
	if (r->go_on)
		show_end(j->out);
	else
		show(j->out);
	fprintf(stderr, "%s failed (%s %d)\n", name, WIFSIGNALED(status) ? "signal" : "exit code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static Job *job_of(Job *jobs, guint n, pid_t pid)
{
	for (guint i = 0; i < n; i++)
		if (jobs[i].pid == pid)
			return &jobs[i];
	return NULL;
}

/* Of one that failed another takes the place, or all end. */
static guint64 wait_for_all(const Runs *r, Job *jobs, guint n, Shared *s)
{
	guint64 failed = 0;
	int status;
	pid_t pid;

	while ((pid = wait(&status)) > 0 || (pid < 0 && errno == EINTR)) {
		Job *j = job_of(jobs, n, pid);
		if (!j)
			continue;
		j->pid = 0;
		if (status == 0 || g_atomic_int_get(&s->stop))
			continue;
		failed++;
		tell(r, j, s->current[j - jobs], status);
		close(j->out);
		j->out = -1;
		if (r->go_on && job_start(r, j, s, j - jobs))
			continue;
		g_atomic_int_set(&s->stop, 1);
		for (guint k = 0; k < n; k++)
			if (jobs[k].pid > 0)
				kill(jobs[k].pid, SIGKILL);
	}
	return failed;
}

guint64 runner_run(const Runs *r)
{
	Job jobs[JOBS_MAX] = { 0 };
	guint njobs = MIN(r->jobs ? r->jobs : g_get_num_processors(), (guint)JOBS_MAX);
	guint64 failed = 0;

	if (njobs == 1 && !r->go_on) {
		for (guint64 n = 0; n < r->count; n++)
			r->one(n, r->user);
		return 0;
	}
	Shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return r->count;
	for (guint i = 0; i < njobs; i++)
		if (!job_start(r, &jobs[i], s, i)) {
			g_atomic_int_set(&s->stop, 1);
			failed = r->count;
		}
	failed += wait_for_all(r, jobs, njobs, s);
	for (guint i = 0; i < njobs; i++)
		if (jobs[i].out > 0)
			close(jobs[i].out);
	munmap(s, sizeof *s);
	return failed;
}
