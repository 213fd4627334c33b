/* fsbench ROW DIR [ARGUMENT...]: measures one thing in DIR and prints a rate.
 *   write MIB      one file, 1 MiB blocks, fsync at the end                    MB/s
 *   read MIB       the file of "write", 1 MiB blocks                           MB/s
 *   create N P     N files of 4 KiB (create, write, close) by P processes      files/s
 *   stat N         lstat of the files of "create N 1", in random order         per s
 *   list N         readdir with lstat of every entry, as ls -l does            entries/s
 *   rename N       the files of "create N 1", to another name, and back        per s
 *   unlink N       the files of "create N 1"                                   per s
 *   mkdir N        directories                                                 per s
 *   clean          removes what the others left */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, SMALL = 4096 };

static void die(const char *what)
{
	fprintf(stderr, "fsbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static char *block(size_t n)
{
	char *p;
	if (posix_memalign((void **)&p, 4096, n) != 0) die("memory");
	unsigned x = 12345;
	for (size_t i = 0; i < n; i++) p[i] = (char)((x = x * 1664525u + 1013904223u) >> 24);
	return p;
}

static double do_write(int mib)
{
	char *buf = block(MIB);
	double t = seconds();
	int fd = open("seq", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0) die("seq");
	for (int i = 0; i < mib; i++) if (write(fd, buf, MIB) != MIB) die("write");
	if (fsync(fd) != 0 || close(fd) != 0) die("fsync");
	return mib * (MIB / 1e6) / (seconds() - t);
}

static double do_read(int mib)
{
	char *buf = block(MIB);
	double t = seconds();
	int fd = open("seq", O_RDONLY);
	if (fd < 0) die("seq");
	long long n = 0;
	for (ssize_t r; (r = read(fd, buf, MIB)) > 0; ) n += r;
	close(fd);
	if (n != (long long)mib * MIB) die("a short file");
	return mib * (MIB / 1e6) / (seconds() - t);
}

static void make_files(const char *dir, int n)
{
	char *buf = block(SMALL), name[64];
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "%s/f%d", dir, i);
		int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0 || write(fd, buf, SMALL) != SMALL || close(fd) != 0) die(name);
	}
	free(buf);
}

static double do_create(int n, int procs)
{
	char dir[32];
	for (int p = 0; p < procs; p++) {
		snprintf(dir, sizeof dir, procs == 1 ? "files" : "files%d.%d", procs, p);
		if (mkdir(dir, 0755) != 0) die(dir);
	}
	double t = seconds();
	for (int p = 0; p < procs; p++) {
		snprintf(dir, sizeof dir, procs == 1 ? "files" : "files%d.%d", procs, p);
		if (procs == 1) make_files(dir, n);
		else if (!fork()) {
			make_files(dir, n / procs);
			_exit(0);
		}
	}
	int st;
	while (wait(&st) > 0) if (st) die("a process failed");
	return n / procs * procs / (seconds() - t);
}

static double do_stat(int n)
{
	struct stat st;
	char name[64];
	unsigned x = 99;
	double t = seconds();
	for (int i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		snprintf(name, sizeof name, "files/f%d", (int)((x >> 8) % n));
		if (lstat(name, &st) != 0) die(name);
	}
	return n / (seconds() - t);
}

static double do_list(int n)
{
	struct stat st;
	int seen = 0;
	double t = seconds();
	DIR *d = opendir("files");
	if (!d) die("files");
	for (struct dirent *e; (e = readdir(d)); seen += e->d_name[0] == 'f')
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) die(e->d_name);
	closedir(d);
	if (seen != n) die("another number of entries");
	return n / (seconds() - t);
}

static double do_rename(int n)
{
	char a[64], b[64];
	double t = seconds();
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < n; i++) {
			snprintf(a, sizeof a, "files/%c%d", k ? 'r' : 'f', i);
			snprintf(b, sizeof b, "files/%c%d", k ? 'f' : 'r', i);
			if (rename(a, b) != 0) die(a);
		}
	return 2 * n / (seconds() - t);
}

static double do_unlink(int n)
{
	char name[64];
	double t = seconds();
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "files/f%d", i);
		if (unlink(name) != 0) die(name);
	}
	return n / (seconds() - t);
}

static double do_mkdir(int n)
{
	char name[64];
	if (mkdir("dirs", 0755) != 0) die("dirs");
	double t = seconds();
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "dirs/d%d", i);
		if (mkdir(name, 0755) != 0) die(name);
	}
	return n / (seconds() - t);
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	return f->level ? remove(path) : 0;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: fsbench write|read|create|stat|list|rename|unlink|mkdir|clean DIR [N [PROCESSES]]\n");
		return 2;
	}
	const char *row = argv[1];
	int n = argc > 3 ? atoi(argv[3]) : 0, p = argc > 4 ? atoi(argv[4]) : 1;
	if (chdir(argv[2]) != 0) die(argv[2]);
	if (!strcmp(row, "clean")) return nftw(".", drop, 16, FTW_DEPTH | FTW_PHYS) != 0;
	double rate = !strcmp(row, "write") ? do_write(n) : !strcmp(row, "read") ? do_read(n) : !strcmp(row, "create") ? do_create(n, p) :
		!strcmp(row, "stat") ? do_stat(n) : !strcmp(row, "list") ? do_list(n) : !strcmp(row, "rename") ? do_rename(n) :
		!strcmp(row, "unlink") ? do_unlink(n) : !strcmp(row, "mkdir") ? do_mkdir(n) : -1;
	if (rate < 0) return 2;
	printf("%.1f\n", rate);
	return 0;
}
