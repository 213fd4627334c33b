/* Directories: what a reader sees while entries come and go. */
#include "tests/system/helpers/tap.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void touch(const char *fmt, int i)
{
	char n[64];
	snprintf(n, sizeof n, fmt, i);
	int fd = open(n, O_WRONLY | O_CREAT, 0644);
	MUST(fd >= 0 && close(fd) == 0);
}

/* Counts the names "<letter><number>" below max; each at most once. */
static int count(DIR *d, char letter, int max)
{
	char *seen = calloc(1, max);
	int n = 0;
	struct dirent *e;
	errno = 0;
	while ((e = readdir(d))) {
		if (e->d_name[0] != letter) continue;
		int i = atoi(e->d_name + 1);
		MUST(i >= 0 && i < max && !seen[i]);
		seen[i] = 1;
		n++;
	}
	MUST(errno == 0);
	free(seen);
	return n;
}

static void lists_all(void)
{
	static const int sizes[] = { 0, 1, 2, 50, 1500 };
	for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
		char dir[16];
		snprintf(dir, sizeof dir, "d%u", k);
		MUST(mkdir(dir, 0755) == 0 && chdir(dir) == 0);
		for (int i = 0; i < sizes[k]; i++) touch("e%d", i);
		DIR *d = opendir(".");
		MUST(d && count(d, 'e', 2000) == sizes[k]);
		rewinddir(d);
		int dots = 0;
		for (struct dirent *e; (e = readdir(d)); ) dots += !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
		MUST(dots == 2);
		closedir(d);
		MUST(chdir("..") == 0);
	}
}

static void types_and_inos(void)
{
	touch("reg", 0);
	MUST(mkdir("dir", 0755) == 0 && symlink("x", "lnk") == 0 && mkfifo("fif", 0600) == 0);
	DIR *d = opendir(".");
	int n = 0;
	for (struct dirent *e; (e = readdir(d)); ) {
		struct stat st;
		MUST(lstat(e->d_name, &st) == 0);
		if (strcmp(e->d_name, "..")) MUST(st.st_ino == e->d_ino);
		if (e->d_type != DT_UNKNOWN) MUST(e->d_type == IFTODT(st.st_mode));
		n++;
	}
	MUST(n == 6);
}

static void comes_and_goes(void)
{
	enum { STABLE = 600, ROUNDS = 12 };
	for (int i = 0; i < STABLE; i++) touch("s%d", i);
	pid_t pid = fork();
	if (!pid) {
		uint64_t s = 4;
		for (;;) {
			char a[32], b[32];
			int i = rnd(&s) % 400;
			snprintf(a, sizeof a, "x%d", i);
			snprintf(b, sizeof b, "x%d", (int)(rnd(&s) % 400));
			switch (rnd(&s) % 3) {
			case 0: close(open(a, O_WRONLY | O_CREAT, 0644)); break;
			case 1: unlink(a); break;
			case 2: rename(a, b); break;
			}
		}
	}
	for (int r = 0; r < ROUNDS; r++) {
		DIR *d = opendir(".");
		int n = d ? count(d, 's', STABLE) : -1;
		if (n != STABLE) {
			kill(pid, SIGKILL);
			printf("# %d of %d stable names seen\n", n, STABLE);
		}
		MUST(n == STABLE);
		closedir(d);
	}
	kill(pid, SIGKILL);
	MUST(waitpid(pid, NULL, 0) == pid);
}

static void remove_while_reading(void)
{
	enum { N = 1200 };
	for (int i = 0; i < N; i++) touch("r%d", i);
	DIR *d = opendir(".");
	int n = 0;
	for (struct dirent *e; (e = readdir(d)); )
		if (e->d_name[0] == 'r') {
			MUST(unlink(e->d_name) == 0);
			n++;
		}
	MUST(n == N);
	rewinddir(d);
	MUST(count(d, 'r', N) == 0);
}

static void tell_and_seek(void)
{
	enum { N = 500 };
	for (int i = 0; i < N; i++) touch("t%d", i);
	DIR *d = opendir(".");
	long at = 0;
	char next[256] = "";
	int i = 0;
	for (struct dirent *e; (e = readdir(d)); i++) {
		if (i == 200) at = telldir(d);
		if (i == 201) strcpy(next, e->d_name);
	}
	MUST(i == N + 2 && next[0]);
	/* the place stays good while other entries go */
	for (int k = 0; k < N; k += 7) {
		char n[32];
		snprintf(n, sizeof n, "t%d", k);
		if (strcmp(n, next)) MUST(unlink(n) == 0);
	}
	seekdir(d, at);
	struct dirent *e = readdir(d);
	MUST(e && !strcmp(e->d_name, next));
	rewinddir(d);
	touch("new%d", 1);
	rewinddir(d);
	int found = 0;
	while ((e = readdir(d))) found += !strcmp(e->d_name, "new1");
	MUST(found == 1);
}

static void removed_directory(void)
{
	MUST(mkdir("d", 0755) == 0);
	DIR *d = opendir("d");
	MUST(d && rmdir("d") == 0);
	int n = 0;
	for (struct dirent *e; (e = readdir(d)); ) n += e->d_name[0] != '.';
	MUST(n == 0);
}

const TapCheck dirs_checks[] = {
	{ "readdir lists every entry once, with . and ..", lists_all },
	{ "readdir's types and inode numbers are those of stat", types_and_inos },
	{ "readdir shows each stable name once while others come and go", comes_and_goes },
	{ "a directory can be emptied while it is read", remove_while_reading },
	{ "telldir and seekdir hold while entries go; rewinddir sees new ones", tell_and_seek },
	{ "a removed directory reads as empty", removed_directory },
	{ 0 },
};
