/* twomounts A B [FILTER...]: A and B are two mounts of the same directory. What one has seen done, the other sees done. With A = B it holds on any
 * file system, which is how it is tested itself. */
#include "tests/system/helpers/tap.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *mount_b;
static int a, b; /* the check's directory through either mount */

/* Opens the check's own directory through both mounts. */
static void both(void)
{
	char cwd[PATH_MAX], path[PATH_MAX * 2];
	MUST(getcwd(cwd, sizeof cwd));
	snprintf(path, sizeof path, "%s/%s", mount_b, strrchr(cwd, '/') + 1);
	MUST((a = open(".", O_RDONLY | O_DIRECTORY)) >= 0 && (b = open(path, O_RDONLY | O_DIRECTORY)) >= 0);
}

static int absent(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1 && errno == ENOENT;
}
static struct stat at(int dir, const char *name)
{
	struct stat st;
	MUST(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
	return st;
}
static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}
static void is(int dir, const char *name, const char *text)
{
	char buf[256];
	int fd = openat(dir, name, O_RDONLY);
	MUST(fd >= 0);
	ssize_t n = read(fd, buf, sizeof buf);
	MUST(n == (ssize_t)strlen(text) && !memcmp(buf, text, n) && close(fd) == 0);
}

static void names_seen(void)
{
	both();
	for (int i = 0; i < 60; i++) {
		char n[16], m[16];
		int x = i & 1 ? a : b, y = i & 1 ? b : a;
		snprintf(n, sizeof n, "f%d", i);
		snprintf(m, sizeof m, "g%d", i);
		MUST(absent(y, n));
		put(x, n, n);
		MUST(at(y, n).st_ino == at(x, n).st_ino);
		FAILS(EEXIST, openat(y, n, O_CREAT | O_EXCL | O_WRONLY, 0644));
		is(y, n, n);
		MUST(renameat(y, n, x, m) == -1 ? errno == EXDEV && renameat(y, n, y, m) == 0 : 1);
		MUST(absent(x, n) && at(x, m).st_size == (off_t)strlen(n));
		MUST(unlinkat(x, m, 0) == 0 && absent(y, m));
		MUST(mkdirat(y, m, 0755) == 0 && S_ISDIR(at(x, m).st_mode) && unlinkat(x, m, AT_REMOVEDIR) == 0 && absent(y, m));
		MUST(symlinkat(n, x, m) == 0 && S_ISLNK(at(y, m).st_mode) && unlinkat(y, m, 0) == 0 && absent(x, m));
	}
}

static void attrs_seen(void)
{
	both();
	put(a, "f", "x");
	for (int i = 0; i < 40; i++) {
		int x = i & 1 ? a : b, y = i & 1 ? b : a;
		MUST(fchmodat(x, "f", 0600 + i, 0) == 0 && (at(y, "f").st_mode & 07777) == (mode_t)(0600 + i));
		MUST(fchownat(x, "f", 100 + i, 200 + i, 0) == 0 && at(y, "f").st_uid == (uid_t)(100 + i) && at(y, "f").st_gid == (gid_t)(200 + i));
		struct timespec t[2] = { { i, 1 }, { i, 2 } };
		MUST(utimensat(x, "f", t, 0) == 0 && at(y, "f").st_mtim.tv_sec == i && at(y, "f").st_mtim.tv_nsec == 2);
		int fd = openat(x, "f", O_WRONLY);
		MUST(fd >= 0 && ftruncate(fd, i * 1000) == 0 && at(y, "f").st_size == i * 1000 && close(fd) == 0);
	}
	int fx = openat(a, "f", O_RDWR), fy = openat(b, "f", O_RDWR);
	char v[8];
	MUST(fsetxattr(fx, "user.t", "two", 3, 0) == 0 && fgetxattr(fy, "user.t", v, 8) == 3 && fremovexattr(fy, "user.t") == 0);
	FAILS(ENODATA, fgetxattr(fx, "user.t", v, 8));
}

static void contents_seen(void)
{
	both();
	enum { N = 300000 };
	char *buf = malloc(N), *back = malloc(N);
	for (int i = 0; i < 12; i++) {
		int x = i & 1 ? a : b, y = i & 1 ? b : a;
		size_t n = i % 3 ? N - i : 100 + i;
		pattern(buf, n, i, 0);
		int fd = openat(x, "f", O_WRONLY | O_CREAT | O_TRUNC, 0644);
		MUST(fd >= 0 && write(fd, buf, n) == (ssize_t)n && close(fd) == 0);
		MUST(at(y, "f").st_size == (off_t)n && (fd = openat(y, "f", O_RDONLY)) >= 0);
		size_t got = 0;
		for (ssize_t r; (r = read(fd, back + got, N - got)) > 0; ) got += r;
		MUST(got == n && !memcmp(buf, back, n) && close(fd) == 0);
	}
}

static void size_while_open(void)
{
	both();
	int fd = openat(a, "f", O_WRONLY | O_CREAT, 0644);
	MUST(fd >= 0);
	for (int i = 1; i <= 20; i++) MUST(write(fd, "0123456789", 10) == 10 && at(b, "f").st_size == 10 * i);
	int in = openat(b, "f", O_RDONLY);
	char c[256];
	MUST(in >= 0 && read(in, c, sizeof c) == 200);
}

static void appends(void)
{
	both();
	/* A length that crosses pages, and together grows beyond what is stored inline. */
	enum { LINES = 150, LEN = 300 };
	put(a, "log", "");
	for (int p = 0; p < 2; p++)
		if (!fork()) {
			int fd = openat(p ? a : b, "log", O_WRONLY | O_APPEND);
			char line[LEN + 1];
			for (int i = 0; i < LINES; i++) {
				snprintf(line, sizeof line, "mount %d line %5d %0*d\n", p, i, LEN - 20, p);
				if (write(fd, line, LEN) != LEN) _exit(1);
			}
			_exit(close(fd) != 0);
		}
	for (int p = 0; p < 2; p++) {
		int st;
		MUST(wait(&st) > 0 && st == 0);
	}
	MUST(at(a, "log").st_size == 2 * LINES * LEN && at(b, "log").st_size == 2 * LINES * LEN);
	FILE *f = fdopen(openat(a, "log", O_RDONLY), "r");
	int p, i, seen[2] = { 0 };
	for (int k = 0; k < 2 * LINES; k++) {
		char line[2 * LEN];
		MUST(fgets(line, sizeof line, f) && strlen(line) == LEN && sscanf(line, "mount %d line %d", &p, &i) == 2);
		MUST((p == 0 || p == 1) && seen[p]++ == i);
	}
}

/* Both try the same; exactly one must win each time. */
static void race(int (*op)(int dir, const char *name), int rounds)
{
	int p[2];
	MUST(pipe(p) == 0);
	for (int k = 0; k < 2; k++)
		if (!fork()) {
			char n[16];
			for (int i = 0; i < rounds; i++) {
				snprintf(n, sizeof n, "n%d", i);
				unsigned char won = op(k ? a : b, n) == 0;
				if (!won && errno != EEXIST && errno != ENOENT) {
					printf("# %s by mount %d: %s\n", n, k, strerror(errno));
					fflush(stdout);
					won = 100;
				}
				if (write(p[1], (unsigned char[2]){ i, won }, 2) != 2) _exit(1);
			}
			_exit(0);
		}
	int wins[256] = { 0 };
	unsigned char r[2];
	for (int i = 0; i < 2 * rounds; i++) {
		MUST(read(p[0], r, 2) == 2);
		wins[r[0]] += r[1];
	}
	while (wait(NULL) > 0) { }
	for (int i = 0; i < rounds; i++) if (wins[i] != 1) printf("# n%d was won by %d\n", i, wins[i]);
	for (int i = 0; i < rounds; i++) MUST(wins[i] == 1);
}
static int op_create(int d, const char *n) { int fd = openat(d, n, O_CREAT | O_EXCL | O_WRONLY, 0644); return fd < 0 ? -1 : close(fd); }
static int op_mkdir(int d, const char *n) { return mkdirat(d, n, 0755); }
static int op_link(int d, const char *n) { return linkat(d, "src", d, n, 0); }
static int op_unlink(int d, const char *n) { return unlinkat(d, n, 0); }
/* To names of their own: two lookups of one name that moved in between may find source and target the same flare, and then rename is done. */
static int op_rename(int d, const char *n) { char to[32]; snprintf(to, sizeof to, "to-%d-%s", d == a, n); return renameat(d, n, d, to); }
static void race_create(void) { both(); race(op_create, 120); }
static void race_mkdir(void) { both(); race(op_mkdir, 120); }
static void race_link(void)
{
	both();
	put(a, "src", "");
	race(op_link, 120);
	MUST(at(a, "src").st_nlink == 121 && at(b, "src").st_nlink == 121);
}
static void race_unlink(void)
{
	both();
	for (int i = 0; i < 120; i++) {
		char n[16];
		snprintf(n, sizeof n, "n%d", i);
		put(a, n, "");
	}
	race(op_rename, 120);
	for (int i = 0; i < 120; i++) {
		char n[16];
		snprintf(n, sizeof n, "n%d", i);
		put(a, n, "");
	}
	race(op_unlink, 120);
}

/* Two mounts rename directories into each other for a while: no loop, nothing lost. */
static void race_dirs(void)
{
	both();
	MUST(mkdirat(a, "p", 0755) == 0 && mkdirat(a, "q", 0755) == 0);
	for (int k = 0; k < 2; k++)
		if (!fork()) {
			for (int i = 0; i < 60; i++) {
				int d = k ? a : b;
				if (k) renameat(d, "p", d, "q/p"), renameat(d, "q/p", d, "p");
				else renameat(d, "q", d, "p/q"), renameat(d, "p/q", d, "q");
			}
			_exit(0);
		}
	while (wait(NULL) > 0) { }
	int top = !absent(a, "p") + !absent(a, "q");
	MUST(top >= 1 && (top == 2 || !absent(a, "p/q") || !absent(a, "q/p")));
}

static void unlinked_elsewhere(void)
{
	both();
	char buf[64];
	put(a, "f", "still here");
	int fd = openat(b, "f", O_RDWR);
	MUST(fd >= 0 && unlinkat(a, "f", 0) == 0 && absent(b, "f"));
	MUST(read(fd, buf, sizeof buf) == 10 && pwrite(fd, "S", 1, 0) == 1 && fsync(fd) == 0);
	put(a, "f", "another");
	MUST(pread(fd, buf, sizeof buf, 0) == 10 && buf[0] == 'S' && close(fd) == 0);
	is(b, "f", "another");
}

static void moved_elsewhere(void)
{
	both();
	MUST(mkdirat(a, "d", 0755) == 0 && mkdirat(a, "d/e", 0755) == 0);
	put(a, "d/e/f", "moved");
	int fd = openat(b, "d/e/f", O_RDONLY), dir = openat(b, "d/e", O_RDONLY | O_DIRECTORY);
	MUST(fd >= 0 && dir >= 0 && renameat(a, "d", a, "n") == 0);
	is(b, "n/e/f", "moved");
	is(dir, "f", "moved");
	put(dir, "g", "from inside");
	is(a, "n/e/g", "from inside");
	MUST(absent(b, "d"));
}

static void listed(void)
{
	both();
	for (int i = 0; i < 200; i++) {
		char n[16];
		snprintf(n, sizeof n, "e%d", i);
		put(i & 1 ? a : b, n, "");
	}
	for (int k = 0; k < 2; k++) {
		int n = 0;
		DIR *d = fdopendir(dup(k ? a : b));
		rewinddir(d);
		for (struct dirent *e; (e = readdir(d)); ) n += e->d_name[0] == 'e';
		MUST(n == 200);
		closedir(d);
	}
}

static void disjoint_writes(void)
{
	both();
	enum { N = 1 << 20 };
	char *buf = malloc(N), *back = malloc(N);
	pattern(buf, N, 31, 0);
	put(a, "f", "");
	for (int k = 0; k < 2; k++)
		if (!fork()) {
			int fd = openat(k ? a : b, "f", O_WRONLY);
			for (int off = k * 4096; off < N; off += 8192)
				if (pwrite(fd, buf + off, 4096, off) != 4096) _exit(1);
			_exit(close(fd) != 0);
		}
	for (int k = 0; k < 2; k++) {
		int st;
		MUST(wait(&st) > 0 && st == 0);
	}
	for (int k = 0; k < 2; k++) {
		int fd = openat(k ? a : b, "f", O_RDONLY);
		size_t got = 0;
		for (ssize_t r; (r = read(fd, back + got, N - got)) > 0; ) got += r;
		MUST(got == N && !memcmp(buf, back, N));
	}
}

static void mapped(void)
{
	both();
	put(a, "f", "................");
	int fd = openat(a, "f", O_RDWR);
	char *p = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(p != MAP_FAILED);
	memcpy(p, "through the map!", 16);
	MUST(msync(p, 16, MS_SYNC) == 0 && munmap(p, 16) == 0 && close(fd) == 0);
	is(b, "f", "through the map!");
}

static const TapCheck checks[] = {
	{ "names made, moved and removed are seen at once", names_seen },
	{ "attributes changed are seen at once", attrs_seen },
	{ "contents are seen after close by the next open", contents_seen },
	{ "the size is seen while the writer has it open", size_while_open },
	{ "O_APPEND from both loses no line", appends },
	{ "O_EXCL: one of two wins", race_create },
	{ "mkdir: one of two wins", race_mkdir },
	{ "link: one of two wins, the count is right", race_link },
	{ "rename and unlink: one of two wins", race_unlink },
	{ "directories renamed into each other make no loop", race_dirs },
	{ "a file removed elsewhere stays open", unlinked_elsewhere },
	{ "a directory moved elsewhere is followed", moved_elsewhere },
	{ "readdir lists what both made", listed },
	{ "writes to parts of one file both arrive", disjoint_writes },
	{ "stores through a mapping are seen after close", mapped },
	{ 0 },
};

int main(int argc, char **argv)
{
	static const TapCheck *const tables[] = { checks, NULL };
	if (argc < 3) {
		fprintf(stderr, "usage: twomounts A B [FILTER...]\n");
		return 2;
	}
	mount_b = argv[2];
	return tap_main(argv[1], (const char *const *)argv + 3, tables);
}
