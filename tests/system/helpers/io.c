/* Contents: read, write, append, holes, fallocate, mmap, files without a name. */
#include "tests/system/helpers/tap.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static off_t size_of(int fd)
{
	struct stat st;
	MUST(fstat(fd, &st) == 0);
	return st.st_size;
}

static int fresh(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);
	MUST(fd >= 0);
	return fd;
}

/* Random writes, truncates and reads against a copy in memory. */
static void like_memory(uint64_t seed, size_t max, int steps)
{
	char *model = calloc(1, max), *buf = malloc(max);
	size_t size = 0;
	int fd = fresh("m"), fd2 = open("m", O_RDWR);
	MUST(fd2 >= 0);
	for (int i = 0; i < steps; i++) {
		size_t off = rnd(&seed) % max, len = rnd(&seed) % (rnd(&seed) % 4 ? 5000 : max - off) + 1;
		if (len > max - off) len = max - off;
		int at = rnd(&seed) & 1 ? fd : fd2;
		switch (rnd(&seed) % 8) {
		case 0:
			MUST(ftruncate(at, off) == 0);
			if (off > size) memset(model + size, 0, off - size);
			else memset(model + off, 0, max - off);
			size = off;
			break;
		case 1: case 2: case 3:
			pattern(buf, len, i, off);
			MUST(pwrite(at, buf, len, off) == (ssize_t)len);
			memcpy(model + off, buf, len);
			if (off + len > size) size = off + len;
			break;
		default: {
			ssize_t want = off >= size ? 0 : (off + len > size ? size - off : len);
			MUST(pread(at, buf, len, off) == want && !memcmp(buf, model + off, want));
		}
		}
		MUST(size_of(fd) == (off_t)size);
	}
	MUST(close(fd) == 0 && close(fd2) == 0);
	same_file("m", model, size);
}

static void small_random(void) { like_memory(101, 20000, 400); }
static void large_random(void) { like_memory(202, 3 << 20, 250); }

static void append(void)
{
	int fd = open("a", O_RDWR | O_CREAT | O_APPEND, 0644);
	MUST(fd >= 0 && write(fd, "one ", 4) == 4 && lseek(fd, 0, SEEK_SET) == 0 && write(fd, "two ", 4) == 4);
	MUST(pwrite(fd, "three", 5, 0) == 5);
	same_text("a", "one two three");
	MUST(lseek(fd, 0, SEEK_END) == 13 && fcntl(fd, F_SETFL, 0) == 0 && pwrite(fd, "ONE", 3, 0) == 3);
	same_text("a", "ONE two three");
}

static void append_many(void)
{
	enum { PROCS = 4, LINES = 100 };
	close(fresh("log"));
	for (int p = 0; p < PROCS; p++)
		if (!fork()) {
			int fd = open("log", O_WRONLY | O_APPEND);
			char line[64];
			for (int i = 0; i < LINES; i++) {
				snprintf(line, sizeof line, "process %d line %4d ...........\n", p, i);
				if (write(fd, line, 32) != 32) _exit(1);
			}
			_exit(0);
		}
	for (int p = 0; p < PROCS; p++) {
		int st;
		MUST(wait(&st) > 0 && st == 0);
	}
	int fd = open("log", O_RDONLY), seen[PROCS] = { 0 };
	MUST(size_of(fd) == PROCS * LINES * 32);
	char line[33] = "";
	while (read(fd, line, 32) == 32) {
		int p, i;
		MUST(sscanf(line, "process %d line %d", &p, &i) == 2 && p >= 0 && p < PROCS && seen[p]++ == i);
	}
}

static void holes(void)
{
	enum { MIB = 1 << 20 };
	char *buf = malloc(MIB), *zero = calloc(1, MIB);
	int fd = fresh("h");
	pattern(buf, 65536, 9, 0);
	MUST(pwrite(fd, buf, 65536, 0) == 65536 && pwrite(fd, buf, 65536, 8 * MIB) == 65536 && ftruncate(fd, 16 * MIB) == 0);
	MUST(pread(fd, zero, MIB, 4 * MIB) == MIB && zero[0] == 0 && !memcmp(zero, zero + 1, MIB - 1));
	MUST(lseek(fd, 0, SEEK_DATA) == 0);
	off_t hole = lseek(fd, 0, SEEK_HOLE), data = lseek(fd, 4 * MIB, SEEK_DATA), hole2 = lseek(fd, 8 * MIB, SEEK_HOLE);
	MUST(hole >= 65536 && hole <= MIB);
	MUST(data > 4 * MIB && data <= 8 * MIB);
	MUST(hole2 >= 8 * MIB + 65536 && hole2 <= 9 * MIB);
	FAILS(ENXIO, lseek(fd, 12 * MIB, SEEK_DATA));
	FAILS(ENXIO, lseek(fd, 17 * MIB, SEEK_HOLE));
	struct stat st;
	MUST(fstat(fd, &st) == 0 && st.st_blocks * 512 < 4 * MIB);
	int s = fresh("small");
	MUST(write(s, "abc", 3) == 3 && lseek(s, 0, SEEK_HOLE) == 3 && lseek(s, 1, SEEK_DATA) == 1);
}

static void allocate(void)
{
	enum { K = 1024 };
	int fd = fresh("f");
	char *buf = malloc(256 * K), *back = malloc(256 * K);
	pattern(buf, 256 * K, 4, 0);
	MUST(write(fd, buf, 256 * K) == 256 * K);
	if (fallocate(fd, 0, 0, 512 * K) != 0 && errno == EOPNOTSUPP) tap_skip("no fallocate");
	MUST(size_of(fd) == 512 * K && pread(fd, back, 256 * K, 0) == 256 * K && !memcmp(buf, back, 256 * K));
	MUST(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1024 * K) == 0 && size_of(fd) == 512 * K);
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 64 * K + 100, 100 * K) == 0 && size_of(fd) == 512 * K);
	memset(buf + 64 * K + 100, 0, 100 * K);
	MUST(pread(fd, back, 256 * K, 0) == 256 * K && !memcmp(buf, back, 256 * K));
	int s = fresh("small");
	MUST(write(s, "0123456789", 10) == 10 && fallocate(s, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3) == 0 && fallocate(s, 0, 0, 20) == 0);
	same_file("small", "01\0\0\0" "56789\0\0\0\0\0\0\0\0\0\0", 20);
	if (fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4 * K) == 0) MUST(pread(fd, back, 4 * K, 0) == 4 * K && !back[0] && !memcmp(back, back + 1, 4 * K - 1));
	else MUST(errno == EOPNOTSUPP);
}

static void nameless(void)
{
	char buf[100000], back[100000];
	pattern(buf, sizeof buf, 6, 0);
	int fd = fresh("f");
	MUST(write(fd, "small", 5) == 5 && unlink("f") == 0);
	FAILS(ENOENT, open("f", O_RDONLY));
	struct stat st;
	MUST(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 5);
	MUST(pwrite(fd, buf, sizeof buf, 0) == sizeof buf && pread(fd, back, sizeof back, 0) == sizeof back && !memcmp(buf, back, sizeof buf));
	MUST(ftruncate(fd, 10) == 0 && fchmod(fd, 0600) == 0 && fsync(fd) == 0 && size_of(fd) == 10);
	/* another file takes the name */
	put_text("f", "the new one");
	MUST(pread(fd, back, 100, 0) == 10 && !memcmp(buf, back, 10) && close(fd) == 0);
	same_text("f", "the new one");
	/* replaced by a rename while open */
	fd = open("f", O_RDONLY);
	put_text("g", "replaced");
	MUST(fd >= 0 && rename("g", "f") == 0 && read(fd, back, 100) == 11 && !memcmp(back, "the new one", 11));
	same_text("f", "replaced");
	MUST(mkdir("d", 0755) == 0);
	int d = open("d", O_RDONLY | O_DIRECTORY);
	MUST(d >= 0 && rmdir("d") == 0 && fstat(d, &st) == 0);
	FAILS(ENOENT, openat(d, "x", O_CREAT | O_RDWR, 0644));
	FAILS(ENOENT, mkdirat(d, "x", 0755));
}

static void nameless_many(void)
{
	enum { N = 64 };
	int fd[N];
	char n[16], back[16];
	for (int i = 0; i < N; i++) {
		snprintf(n, sizeof n, "f%d", i);
		fd[i] = fresh(n);
		MUST(write(fd[i], n, sizeof n) == sizeof n);
	}
	for (int i = 0; i < N; i++) {
		snprintf(n, sizeof n, "f%d", i);
		MUST(unlink(n) == 0);
	}
	for (int i = 0; i < N; i++) {
		memset(n, 0, sizeof n);
		snprintf(n, sizeof n, "f%d", i);
		MUST(pread(fd[i], back, sizeof back, 0) == sizeof back && !strcmp(n, back) && close(fd[i]) == 0);
	}
}

static void open_flags(void)
{
	char c;
	put_text("f", "text");
	int r = open("f", O_RDONLY), w = open("f", O_WRONLY);
	MUST(r >= 0 && w >= 0);
	FAILS(EBADF, write(r, "x", 1));
	FAILS(EBADF, read(w, &c, 1));
	MUST(close(open("f", O_WRONLY | O_TRUNC)) == 0 && size_of(r) == 0 && read(r, &c, 1) == 0);
	int s = open("f", O_RDWR | O_SYNC);
	MUST(s >= 0 && write(s, "sync", 4) == 4 && close(s) == 0);
	same_text("f", "sync");
	int d = open("f", O_RDWR | O_DSYNC);
	MUST(d >= 0 && write(d, "dsyn", 4) == 4 && fdatasync(d) == 0 && close(d) == 0);
	same_text("f", "dsyn");
	MUST(mkdir("dir", 0755) == 0 && (d = open("dir", O_RDONLY)) >= 0);
	FAILS(EISDIR, read(d, &c, 1));
	MUST(fsync(d) == 0 && fdatasync(d) == 0 && syncfs(d) == 0);
	void *mem;
	MUST(posix_memalign(&mem, 4096, 8192) == 0);
	pattern(mem, 8192, 12, 0);
	int o = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644);
	if (o < 0) MUST(errno == EINVAL);
	else {
		MUST(write(o, mem, 8192) == 8192 && close(o) == 0);
		same_file("direct", mem, 8192);
	}
}

static void vectors_and_copies(void)
{
	int fd = fresh("v");
	char a[10] = "", b[20] = "";
	struct iovec w[3] = { { "abc", 3 }, { "", 0 }, { "defgh", 5 } }, r[2] = { { a, 2 }, { b, 19 } };
	MUST(writev(fd, w, 3) == 8 && preadv(fd, r, 2, 0) == 8 && !strcmp(a, "ab") && !strcmp(b, "cdefgh"));
	char *buf = malloc(300000);
	pattern(buf, 300000, 8, 0);
	put_file("from", buf, 300000);
	int from = open("from", O_RDONLY), to = fresh("to"), to2 = fresh("to2");
	for (size_t n = 0; n < 300000; ) {
		ssize_t k = sendfile(to, from, NULL, 300000 - n);
		MUST(k > 0);
		n += k;
	}
	same_file("to", buf, 300000);
	loff_t in = 0;
	for (size_t n = 0; n < 300000; ) {
		ssize_t k = copy_file_range(from, &in, to2, NULL, 300000 - n, 0);
		if (k < 0 && (errno == EOPNOTSUPP || errno == EXDEV || errno == ENOSYS)) return;
		MUST(k > 0);
		n += k;
	}
	same_file("to2", buf, 300000);
}

static void one_big_write(void)
{
	enum { N = 9 << 20 };
	char *buf = malloc(N);
	pattern(buf, N, 77, 0);
	put_file("big", buf, N);
	same_file("big", buf, N);
	int fd = open("big", O_RDONLY);
	char c;
	for (int i = 0; i < 2000; i++) MUST(pread(fd, &c, 1, i * 4663) == 1 && c == buf[i * 4663]);
}

static void mapped(void)
{
	enum { N = 200000 };
	char *buf = malloc(N), *back = malloc(N);
	pattern(buf, N, 5, 0);
	put_file("m", buf, N);
	int fd = open("m", O_RDWR);
	char *p = mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(p != MAP_FAILED && !memcmp(p, buf, N));
	for (int i = 0; i < N; i += 1000) p[i] = buf[i] = (char)i;
	MUST(msync(p, N, MS_SYNC) == 0 && pread(fd, back, N, 0) == N && !memcmp(back, buf, N));
	memset(p + 5000, 'q', 10000);
	memset(buf + 5000, 'q', 10000);
	MUST(munmap(p, N) == 0 && close(fd) == 0);
	same_file("m", buf, N);
	fd = open("m", O_RDONLY);
	p = mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	MUST(p != MAP_FAILED && !memcmp(p, buf, N));
	memset(p, 'z', N);
	same_file("m", buf, N);
}

/* Stores through a mapping outlive the descriptor and the name. */
static void mapped_nameless(void)
{
	int fd = fresh("m");
	MUST(ftruncate(fd, 65536) == 0);
	char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(p != MAP_FAILED && close(fd) == 0);
	memset(p, 'k', 65536);
	MUST(msync(p, 65536, MS_SYNC) == 0 && unlink("m") == 0);
	memset(p, 'l', 65536);
	MUST(msync(p, 65536, MS_SYNC) == 0 && p[65535] == 'l' && munmap(p, 65536) == 0);
}

static void far_offsets(void)
{
	int fd = fresh("far");
	char back[16] = "";
	MUST(pwrite(fd, "far away", 8, (1ll << 40) - 4) == 8 && size_of(fd) == (1ll << 40) + 4);
	MUST(pread(fd, back, 16, (1ll << 40) - 4) == 8 && !strcmp(back, "far away"));
	MUST(pread(fd, back, 16, 1 << 30) == 16 && !back[0]);
	FAILS(EINVAL, pwrite(fd, "x", 1, -1));
	FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
}

static void programs_run(void)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	MUST(n > 0);
	self[n] = 0;
	int in = open("/bin/true", O_RDONLY), out = open("true", O_WRONLY | O_CREAT, 0755);
	char buf[65536];
	while ((n = read(in, buf, sizeof buf)) > 0) MUST(write(out, buf, n) == n);
	close(in);
	MUST(close(out) == 0);
	put_text("script", "#!/bin/sh\nexit 42\n");
	MUST(chmod("script", 0755) == 0);
	static const struct { const char *prog; int code; } runs[] = { { "./true", 0 }, { "./script", 42 } };
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();
		if (!pid) {
			execl(runs[i].prog, runs[i].prog, (char *)NULL);
			_exit(99);
		}
		int st;
		MUST(waitpid(pid, &st, 0) == pid && WIFEXITED(st) && WEXITSTATUS(st) == runs[i].code);
	}
	MUST(chmod("true", 0644) == 0);
	FAILS(EACCES, execl("./true", "true", (char *)NULL));
}

const TapCheck io_checks[] = {
	{ "small files read back what random writes and truncates left", small_random },
	{ "larger files read back what random writes and truncates left", large_random },
	{ "O_APPEND writes to the end, whatever the offset", append },
	{ "O_APPEND from four processes loses no line", append_many },
	{ "holes read as zeros; SEEK_HOLE and SEEK_DATA find them", holes },
	{ "fallocate: grow, keep size, punch a hole", allocate },
	{ "open files live on without a name", nameless },
	{ "many open files live on without a name", nameless_many },
	{ "open modes and flags are obeyed; fsync of files and directories", open_flags },
	{ "vectors, sendfile and copy_file_range", vectors_and_copies },
	{ "one write of 9 MiB, read by bytes", one_big_write },
	{ "shared and private mappings", mapped },
	{ "a shared mapping without descriptor and name", mapped_nameless },
	{ "offsets of a TiB", far_offsets },
	{ "programs and scripts run", programs_run },
	{ 0 },
};
