/* iotool: what the shell tests need done to files and sh cannot do.
 *   fill FILE            writes 64 KiB blocks until an error; prints the bytes written and the errno's name
 *   put FILE MIB SEED    writes that much of a pattern and fsyncs; get FILE MIB SEED compares it
 *   many DIR FROM TO [TEXT]   makes files named n<i> with that text; count DIR counts the entries that readdir shows (without . and ..)
 *   hold FILE            opens and unlinks FILE, prints "held", waits for a line on stdin for each step: writes and reads through the descriptor,
 *                        prints "same" or what is wrong
 *   lock FILE            holds an flock on FILE until its stdin ends; prints "locked"
 *   dataend FILE         prints the offset behind the last byte that is not zero; scribble FILE OFFSET LEN turns all bits there
 *   map FILE SECONDS     stores through a shared mapping for that long, then compares what read sees
 *   break DIR            the ext4 (or xfs) file system DIR is on ends in EIO from now on, as if its disk were pulled out, until it is mounted anew */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

static void pattern(unsigned *p, size_t words, unsigned seed)
{
	unsigned x = seed * 2654435761u + 1;
	for (size_t i = 0; i < words; i++) p[i] = x = x * 1664525u + 1013904223u;
}

static int fill(const char *file)
{
	static char buf[65536];
	int fd = open(file, O_WRONLY | O_CREAT, 0644);
	long long n = 0;
	ssize_t w = 0;
	if (fd >= 0) while ((w = write(fd, buf, sizeof buf)) > 0) n += w;
	int e = errno;
	if (fd >= 0 && close(fd) != 0 && w >= 0) e = errno;
	printf("%lld %s\n", n, strerrorname_np(e));
	return 0;
}

static int put(const char *file, int mib, unsigned seed)
{
	unsigned *buf = malloc(MIB);
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0) return fail(file);
	for (int i = 0; i < mib; i++) {
		pattern(buf, MIB / 4, seed + i);
		if (write(fd, buf, MIB) != MIB) return fail(file);
	}
	if (fsync(fd) != 0 || close(fd) != 0) return fail(file);
	return 0;
}

static int get(const char *file, int mib, unsigned seed)
{
	unsigned *buf = malloc(MIB), *want = malloc(MIB);
	int fd = open(file, O_RDONLY);
	if (fd < 0) return fail(file);
	for (int i = 0; i < mib; i++) {
		pattern(want, MIB / 4, seed + i);
		size_t n = 0;
		for (ssize_t r; n < MIB && (r = read(fd, (char *)buf + n, MIB - n)) > 0; ) n += r;
		if (n != MIB) return fail(file);
		if (memcmp(buf, want, MIB)) {
			printf("%s: differs in MiB %d\n", file, i);
			return 1;
		}
	}
	if (read(fd, buf, 1) != 0) return fail("goes on behind its end");
	return 0;
}

static int many(const char *dir, int from, int to, const char *text)
{
	char n[32];
	if (chdir(dir) != 0) return fail(dir);
	for (int i = from; i < to; i++) {
		snprintf(n, sizeof n, "n%d", i);
		int fd = open(n, O_WRONLY | O_CREAT, 0644);
		if (fd < 0 || (text && write(fd, text, strlen(text)) < 0) || close(fd) != 0) return fail(n);
	}
	return 0;
}

static int count(const char *dir)
{
	DIR *d = opendir(dir);
	long n = 0;
	errno = 0;
	if (!d) return fail(dir);
	for (struct dirent *e; (e = readdir(d)); ) n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	if (errno) return fail(dir);
	printf("%ld\n", n);
	return 0;
}

static int hold(const char *file)
{
	char buf[5000], back[5000], line[16];
	int fd = open(file, O_RDWR | O_CREAT, 0644);
	if (fd < 0) return fail(file);
	memset(buf, 'a', sizeof buf);
	if (write(fd, buf, sizeof buf) != sizeof buf || unlink(file) != 0) return fail(file);
	printf("held\n");
	fflush(stdout);
	for (int step = 1; fgets(line, sizeof line, stdin); step++) {
		if (pread(fd, back, sizeof back, 0) != sizeof back) return fail("read");
		if (memcmp(buf, back, sizeof buf)) { printf("other contents\n"); return 1; }
		buf[step] = 'b';
		if (pwrite(fd, buf, sizeof buf, 0) != sizeof buf) return fail("write");
		if (fsync(fd) != 0) return fail("fsync");
		printf("same\n");
		fflush(stdout);
	}
	return close(fd) == 0 ? 0 : fail("close");
}

static int lock(const char *file)
{
	int fd = open(file, O_RDWR | O_CREAT, 0600);
	char c;
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) return fail(file);
	printf("locked\n");
	fflush(stdout);
	while (read(0, &c, 1) > 0) { }
	return 0;
}

static int map(const char *file, int secs)
{
	enum { N = 1 << 20 };
	int fd = open(file, O_RDWR | O_CREAT, 0644);
	unsigned char *back = malloc(N), *p;
	if (fd < 0 || ftruncate(fd, N) != 0) return fail(file);
	if ((p = mmap(NULL, N, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) return fail("mmap");
	for (time_t end = time(NULL) + secs; time(NULL) < end; )
		for (int i = 0; i < N; i += 4096) p[i + i / 4096]++;
	if (msync(p, N, MS_SYNC) != 0 || pread(fd, back, N, 0) != N) return fail("msync");
	if (memcmp(back, p, N)) { printf("read and mapping differ\n"); return 1; }
	return 0;
}

static int dataend(const char *file)
{
	static unsigned char buf[MIB];
	FILE *f = fopen(file, "r");
	long long at = 0, end = 0;
	if (!f) return fail(file);
	for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0; at += n)
		for (size_t i = 0; i < n; i++) if (buf[i]) end = at + i + 1;
	printf("%lld\n", end);
	return 0;
}

static int scribble(const char *file, long long off, int len)
{
	int fd = open(file, O_RDWR);
	if (fd < 0) return fail(file);
	for (int i = 0; i < len; i++) {
		unsigned char c = 0;
		if (pread(fd, &c, 1, off + i) < 0) return fail(file);
		c = ~c;
		if (pwrite(fd, &c, 1, off + i) != 1) return fail(file);
	}
	return close(fd);
}

/* The shutdown that xfs and ext4 have for such tests: what is in their log reaches the disk, nothing after it. */
static int break_disk(const char *dir)
{
	uint32_t how = 1;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0 || ioctl(fd, _IOR('X', 125, uint32_t), &how) != 0) return fail(dir);
	return close(fd);
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 2 ? argv[1] : "";
	if (!strcmp(cmd, "fill")) return fill(argv[2]);
	if (!strcmp(cmd, "count")) return count(argv[2]);
	if (!strcmp(cmd, "hold")) return hold(argv[2]);
	if (!strcmp(cmd, "lock")) return lock(argv[2]);
	if (!strcmp(cmd, "dataend")) return dataend(argv[2]);
	if (!strcmp(cmd, "scribble") && argc == 5) return scribble(argv[2], atoll(argv[3]), atoi(argv[4]));
	if (!strcmp(cmd, "break")) return break_disk(argv[2]);
	if (!strcmp(cmd, "map") && argc == 4) return map(argv[2], atoi(argv[3]));
	if (!strcmp(cmd, "put") && argc == 5) return put(argv[2], atoi(argv[3]), strtoul(argv[4], NULL, 0));
	if (!strcmp(cmd, "get") && argc == 5) return get(argv[2], atoi(argv[3]), strtoul(argv[4], NULL, 0));
	if (!strcmp(cmd, "many") && argc >= 5) return many(argv[2], atoi(argv[3]), atoi(argv[4]), argv[5]);
	fprintf(stderr, "usage: iotool fill|put|get|many|count|hold|lock|dataend|scribble|map|break FILE ...\n");
	return 2;
}
