#include "tests/system/helpers/tap.h"
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77, FAILED = 1, CHECK_SECONDS = 90 };

void tap_fail(const char *file, int line, const char *what)
{
	int e = errno;
	const char *base = strrchr(file, '/');
	printf("# %s:%d: %s (errno: %s)\n", base ? base + 1 : file, line, what, strerror(e));
	fflush(stdout);
	_exit(FAILED);
}

void tap_skip(const char *why)
{
	printf("# skip: %s\n", why);
	fflush(stdout);
	_exit(SKIPPED);
}

void put_file(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	MUST(fd >= 0);
	for (size_t done = 0; done < n; ) {
		ssize_t w = write(fd, (const char *)data + done, n - done);
		MUST(w > 0);
		done += w;
	}
	MUST(close(fd) == 0);
}

void put_text(const char *path, const char *text)
{
	put_file(path, text, strlen(text));
}

void same_file(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_RDONLY);
	MUST(fd >= 0);
	char *buf = malloc(n + 1);
	size_t got = 0;
	ssize_t r;
	while (got <= n && (r = read(fd, buf + got, n + 1 - got)) > 0) got += r;
	MUST(got == n);
	MUST(memcmp(buf, data, n) == 0);
	free(buf);
	MUST(close(fd) == 0);
}

void same_text(const char *path, const char *text)
{
	same_file(path, text, strlen(text));
}

uint64_t rnd(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void pattern(void *buf, size_t n, uint64_t seed, uint64_t off)
{
	unsigned char *p = buf;
	for (size_t i = 0; i < n; i++) {
		uint64_t s = seed * 0x100000001b3u + ((off + i) >> 3);
		p[i] = (unsigned char)(rnd(&s) >> (((off + i) & 7) * 8));
	}
}

ino_t ino_of(const char *path)
{
	struct stat st;
	MUST(lstat(path, &st) == 0);
	return st.st_ino;
}

void become(uid_t uid, gid_t gid, size_t n, const gid_t *groups)
{
	MUST(setgroups(n, groups) == 0);
	MUST(setresgid(gid, gid, gid) == 0);
	MUST(setresuid(uid, uid, uid) == 0);
}

void as_user(uid_t uid, gid_t gid, size_t n, const gid_t *groups, void (*fn)(void))
{
	fflush(stdout);
	pid_t pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		become(uid, gid, n, groups);
		fn();
		_exit(0);
	}
	int st;
	MUST(waitpid(pid, &st, 0) == pid);
	if (WIFEXITED(st) && WEXITSTATUS(st) == FAILED) _exit(FAILED);
	MUST(WIFEXITED(st) && WEXITSTATUS(st) == 0);
}

static void child(const TapCheck *c, const char *sub)
{
	umask(022);
	if (mkdir(sub, 0755) != 0 || chdir(sub) != 0) tap_fail(__FILE__, __LINE__, "a fresh directory");
	alarm(CHECK_SECONDS);
	c->fn();
	fflush(stdout);
	_exit(0);
}

static int run_one(const TapCheck *c, int number)
{
	char sub[32];
	snprintf(sub, sizeof sub, "t%d.%d", (int)getpid(), number);
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0) return -1;
	if (!pid) child(c, sub);
	int st;
	if (waitpid(pid, &st, 0) != pid) return -1;
	if (WIFSIGNALED(st)) printf("# ended by signal %d%s\n", WTERMSIG(st), WTERMSIG(st) == 14 ? ": it took too long" : "");
	int bad = !WIFEXITED(st) || (WEXITSTATUS(st) != 0 && WEXITSTATUS(st) != SKIPPED);
	if (!bad && WEXITSTATUS(st) == SKIPPED) printf("ok - %s # SKIP not possible here\n", c->text);
	else printf("%s - %s\n", bad ? "not ok" : "ok", c->text);
	fflush(stdout);
	return bad;
}

int tap_main(const char *dir, const char *const *filters, const TapCheck *const *tables)
{
	if (chdir(dir) != 0) {
		printf("not ok - %s: %s\n", dir, strerror(errno));
		return 1;
	}
	int n = 0, bad = 0;
	for (; *tables; tables++)
		for (const TapCheck *c = *tables; c->text; c++) {
			int want = !filters || !*filters;
			for (const char *const *f = filters; !want && f && *f; f++) want = strstr(c->text, *f) != NULL;
			if (want && run_one(c, ++n)) bad = 1;
		}
	return bad || !n;
}
