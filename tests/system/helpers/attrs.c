/* Attributes: mode, owner, size, times, extended attributes, statfs, access. */
#include "tests/system/helpers/tap.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static struct stat st_of(const char *p)
{
	struct stat st;
	MUST(lstat(p, &st) == 0);
	return st;
}
static int later(struct timespec a, struct timespec b) { return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec); }
static int same(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }
/* longer than a tick of any file system's clock */
static void tick(void) { nanosleep(&(struct timespec){ 0, 12000000 }, NULL); }

static void modes(void)
{
	put_text("f", "");
	MUST(mkdir("d", 0755) == 0 && symlink("f", "l") == 0);
	for (int m = 0; m <= 07777; m += 0111 * 3 + 1) {
		MUST(chmod("f", m) == 0 && (st_of("f").st_mode & 07777) == (mode_t)m && S_ISREG(st_of("f").st_mode));
		MUST(chmod("d", m) == 0 && (st_of("d").st_mode & 07777) == (mode_t)m && S_ISDIR(st_of("d").st_mode));
	}
	MUST(chmod("l", 0604) == 0 && (st_of("f").st_mode & 07777) == 0604);
}

static void owners(void)
{
	put_text("f", "");
	MUST(symlink("f", "l") == 0);
	MUST(chown("f", 1234, 5678) == 0 && st_of("f").st_uid == 1234 && st_of("f").st_gid == 5678);
	MUST(chown("f", -1, 9) == 0 && st_of("f").st_uid == 1234 && st_of("f").st_gid == 9);
	MUST(chown("f", 4000000000u, -1) == 0 && st_of("f").st_uid == 4000000000u && st_of("f").st_gid == 9);
	MUST(lchown("l", 7, 8) == 0 && st_of("l").st_uid == 7 && st_of("f").st_gid == 9);
}

static void umasks(void)
{
	umask(077);
	put_text("f", "");
	MUST(mkdir("d", 0777) == 0 && mknod("p", S_IFIFO | 0666, 0) == 0);
	MUST((st_of("f").st_mode & 07777) == 0600 && (st_of("d").st_mode & 07777) == 0700 && (st_of("p").st_mode & 07777) == 0600);
	umask(0);
	int fd = open("g", O_CREAT | O_WRONLY, 0666);
	MUST(fd >= 0 && (st_of("g").st_mode & 07777) == 0666);
}

static void times_set(void)
{
	put_text("f", "x");
	struct timespec t[2] = { { 1000000001, 123456789 }, { 2000000002, 987654321 } };
	MUST(utimensat(AT_FDCWD, "f", t, 0) == 0 && same(st_of("f").st_atim, t[0]) && same(st_of("f").st_mtim, t[1]));
	struct timespec o[2] = { { 0, UTIME_OMIT }, { 5, 6 } };
	MUST(utimensat(AT_FDCWD, "f", o, 0) == 0 && same(st_of("f").st_atim, t[0]) && st_of("f").st_mtim.tv_sec == 5);
	struct timespec n[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } }, before, after;
	clock_gettime(CLOCK_REALTIME, &before);
	MUST(utimensat(AT_FDCWD, "f", n, 0) == 0);
	clock_gettime(CLOCK_REALTIME, &after);
	MUST(st_of("f").st_mtim.tv_sec == 5 && st_of("f").st_atim.tv_sec >= before.tv_sec - 1 && st_of("f").st_atim.tv_sec <= after.tv_sec + 1);
	MUST(utimensat(AT_FDCWD, "f", NULL, 0) == 0 && st_of("f").st_mtim.tv_sec >= before.tv_sec - 1);
	MUST(symlink("f", "l") == 0 && mkdir("d", 0755) == 0);
	MUST(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW) == 0 && same(st_of("l").st_mtim, t[1]) && !same(st_of("f").st_mtim, t[1]));
	MUST(utimensat(AT_FDCWD, "d", t, 0) == 0 && same(st_of("d").st_mtim, t[1]));
	struct timespec old[2] = { { 1, 0 }, { 1, 1 } };
	MUST(utimensat(AT_FDCWD, "f", old, 0) == 0 && st_of("f").st_mtim.tv_sec == 1 && st_of("f").st_mtim.tv_nsec == 1);
	int fd = open("f", O_RDWR);
	MUST(fd >= 0 && futimens(fd, t) == 0 && same(st_of("f").st_mtim, t[1]));
	/* closing a file that was written must not undo times set after the write: cp -p and tar do that */
	MUST(write(fd, "y", 1) == 1 && futimens(fd, t) == 0 && close(fd) == 0 && same(st_of("f").st_mtim, t[1]));
}

static void times_move(void)
{
	MUST(mkdir("d", 0755) == 0);
	struct stat d = st_of("d");
	tick();
	put_text("d/f", "");
	MUST(later(st_of("d").st_mtim, d.st_mtim) && later(st_of("d").st_ctim, d.st_ctim));
	struct stat f = st_of("d/f");
	tick();
	int fd = open("d/f", O_WRONLY);
	MUST(fd >= 0 && write(fd, "1", 1) == 1 && close(fd) == 0);
	MUST(later(st_of("d/f").st_mtim, f.st_mtim) && later(st_of("d/f").st_ctim, f.st_ctim));
	f = st_of("d/f");
	tick();
	MUST(chmod("d/f", 0600) == 0 && later(st_of("d/f").st_ctim, f.st_ctim) && same(st_of("d/f").st_mtim, f.st_mtim));
	f = st_of("d/f"), d = st_of("d");
	tick();
	MUST(link("d/f", "d/g") == 0 && later(st_of("d/f").st_ctim, f.st_ctim) && later(st_of("d").st_mtim, d.st_mtim));
	d = st_of("d");
	tick();
	MUST(rename("d/g", "d/h") == 0 && later(st_of("d").st_mtim, d.st_mtim));
	f = st_of("d/f"), d = st_of("d");
	tick();
	MUST(unlink("d/h") == 0 && later(st_of("d").st_mtim, d.st_mtim) && later(st_of("d/f").st_ctim, f.st_ctim));
	f = st_of("d/f");
	tick();
	MUST(truncate("d/f", 100) == 0 && later(st_of("d/f").st_mtim, f.st_mtim));
}

static void truncates(void)
{
	char buf[300];
	pattern(buf, sizeof buf, 1, 0);
	put_file("f", buf, sizeof buf);
	MUST(truncate("f", 100) == 0 && st_of("f").st_size == 100);
	same_file("f", buf, 100);
	MUST(truncate("f", 300) == 0);
	memset(buf + 100, 0, 200);
	same_file("f", buf, 300);
	MUST(truncate("f", 0) == 0);
	same_file("f", "", 0);
	/* over the border between small contents and files of their own, both ways */
	char *big = malloc(100000);
	pattern(big, 100000, 2, 0);
	put_file("f", big, 100000);
	MUST(truncate("f", 5000) == 0);
	same_file("f", big, 5000);
	MUST(truncate("f", 70000) == 0);
	memset(big + 5000, 0, 65000);
	same_file("f", big, 70000);
	MUST(truncate("f", 1ll << 40) == 0 && st_of("f").st_size == 1ll << 40 && st_of("f").st_blocks < 1 << 20);
	int fd = open("f", O_RDWR);
	MUST(fd >= 0 && pread(fd, buf, 10, (1ll << 40) - 5) == 5 && ftruncate(fd, 3) == 0 && st_of("f").st_size == 3);
	FAILS(EINVAL, ftruncate(fd, -1));
	FAILS(EINVAL, truncate("f", -1));
	MUST(mkdir("d", 0755) == 0);
	FAILS(EISDIR, truncate("d", 0));
	int ro = open("f", O_RDONLY);
	MUST(ro >= 0 && ftruncate(ro, 0) == -1 && (errno == EINVAL || errno == EBADF));
}

static void blocks(void)
{
	char *big = malloc(1 << 20);
	pattern(big, 1 << 20, 3, 0);
	put_file("f", big, 1 << 20);
	int fd = open("f", O_RDONLY);
	MUST(fd >= 0 && fsync(fd) == 0);
	MUST(st_of("f").st_blocks * 512 >= 1 << 20 && st_of("f").st_blocks * 512 < 1 << 22 && st_of("f").st_blksize >= 512);
}

static void xattrs(void)
{
	char buf[4000], val[3000];
	put_text("f", "");
	MUST(mkdir("d", 0755) == 0);
	for (int i = 0; i < 2; i++) {
		const char *p = i ? "d" : "f";
		FAILS(ENODATA, getxattr(p, "user.a", buf, sizeof buf));
		FAILS(ENODATA, removexattr(p, "user.a"));
		FAILS(ENODATA, setxattr(p, "user.a", "1", 1, XATTR_REPLACE));
		MUST(setxattr(p, "user.a", "1\0" "2", 3, XATTR_CREATE) == 0 && getxattr(p, "user.a", buf, sizeof buf) == 3 && !memcmp(buf, "1\0" "2", 3));
		FAILS(EEXIST, setxattr(p, "user.a", "x", 1, XATTR_CREATE));
		MUST(setxattr(p, "user.a", "", 0, XATTR_REPLACE) == 0 && getxattr(p, "user.a", buf, sizeof buf) == 0);
		pattern(val, sizeof val, 5, 0);
		MUST(setxattr(p, "user.big", val, sizeof val, 0) == 0);
		MUST(getxattr(p, "user.big", NULL, 0) == sizeof val);
		FAILS(ERANGE, getxattr(p, "user.big", buf, 10));
		MUST(getxattr(p, "user.big", buf, sizeof buf) == sizeof val && !memcmp(buf, val, sizeof val));
		MUST(setxattr(p, "trusted.t", "t", 1, 0) == 0);
		ssize_t n = listxattr(p, buf, sizeof buf);
		MUST(n > 0 && memmem(buf, n, "user.a", 7) && memmem(buf, n, "user.big", 9) && memmem(buf, n, "trusted.t", 10));
		MUST(listxattr(p, NULL, 0) == n);
		FAILS(ERANGE, listxattr(p, buf, 3));
		MUST(removexattr(p, "user.a") == 0 && removexattr(p, "user.big") == 0);
		FAILS(ENODATA, getxattr(p, "user.a", buf, sizeof buf));
	}
	MUST(link("f", "g") == 0 && getxattr("g", "trusted.t", buf, sizeof buf) == 1 && rename("f", "h") == 0 && getxattr("h", "trusted.t", buf, sizeof buf) == 1);
	MUST(symlink("h", "l") == 0);
	FAILS(EPERM, lsetxattr("l", "user.x", "1", 1, 0));
	FAILS(EOPNOTSUPP, setxattr("h", "nonsense", "1", 1, 0));
	char name[300] = "user.";
	memset(name + 5, 'n', 250);
	MUST(setxattr("h", name, "255", 3, 0) == 0 && getxattr("h", name, buf, sizeof buf) == 3);
	name[255] = 'n';
	FAILS(ERANGE, setxattr("h", name, "256", 3, 0));
}

static void space(void)
{
	struct statvfs v;
	MUST(statvfs(".", &v) == 0);
	MUST(v.f_blocks > 0 && v.f_bfree <= v.f_blocks && v.f_bavail <= v.f_bfree && v.f_frsize > 0 && v.f_namemax == 255);
}

static void accesses(void)
{
	put_text("f", "");
	MUST(chmod("f", 0) == 0 && access("f", R_OK | W_OK) == 0);
	FAILS(EACCES, access("f", X_OK));
	MUST(chmod("f", 0100) == 0 && access("f", X_OK) == 0);
	FAILS(ENOENT, access("none", F_OK));
}

static void setgid_dirs(void)
{
	MUST(mkdir("d", 0755) == 0 && chown("d", 0, 4711) == 0 && chmod("d", 02775) == 0);
	put_text("d/f", "");
	MUST(mkdir("d/e", 0755) == 0 && symlink("x", "d/l") == 0);
	MUST(st_of("d/f").st_gid == 4711 && st_of("d/l").st_gid == 4711 && st_of("d/e").st_gid == 4711 && (st_of("d/e").st_mode & 02000));
}

static void stat_is_stable(void)
{
	put_text("f", "abc");
	struct stat a = st_of("f");
	for (int i = 0; i < 50; i++) {
		struct stat b = st_of("f");
		MUST(a.st_ino == b.st_ino && a.st_size == b.st_size && same(a.st_mtim, b.st_mtim) && same(a.st_ctim, b.st_ctim) && a.st_mode == b.st_mode);
	}
}

const TapCheck attrs_checks[] = {
	{ "chmod sets all twelve bits", modes },
	{ "chown sets owner and group, of a symlink too", owners },
	{ "modes of new files obey the umask", umasks },
	{ "utimensat: nanoseconds, NOW, OMIT; and closing does not undo it", times_set },
	{ "mtime and ctime move when they have to", times_move },
	{ "truncate down and up reads zeros, to 1 TiB and back", truncates },
	{ "st_blocks follows the contents", blocks },
	{ "extended attributes: set, get, list, remove, flags, limits", xattrs },
	{ "statfs makes sense", space },
	{ "access answers as open would", accesses },
	{ "setgid directories hand their group on", setgid_dirs },
	{ "attributes do not change by themselves", stat_is_stable },
	{ 0 },
};
