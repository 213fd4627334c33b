/* Permissions: what other users may do. Everything by relative paths: the root directory may be closed to others. */
#include "tests/system/helpers/tap.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { U = 61001, V = 61002, G = 62001, H = 62002 };
static const gid_t in_h[] = { 1, 2, H };

static mode_t mode_of(const char *p)
{
	struct stat st;
	MUST(lstat(p, &st) == 0);
	return st.st_mode & 07777;
}

/* What open, as the caller, is granted: rwx bits. */
static int granted(const char *p)
{
	int got = 0, fd;
	if ((fd = open(p, O_RDONLY)) >= 0) got |= 4, close(fd);
	else MUST(errno == EACCES);
	if ((fd = open(p, O_WRONLY)) >= 0) got |= 2, close(fd);
	else MUST(errno == EACCES);
	/* the file is no program: with permission it is looked into, and refused for that */
	execl(p, p, (char *)NULL);
	if (errno == ENOEXEC) got |= 1;
	else MUST(errno == EACCES);
	return got;
}

static void bits(int shift)
{
	for (int b = 0; b < 8; b++) {
		char n[16];
		snprintf(n, sizeof n, "m%d", b);
		MUST(granted(n) == b);
		for (int a = 0; a < 8; a++) MUST((access(n, a) == 0) == ((b & a) == a));
	}
	(void)shift;
}
static void as_owner(void) { bits(6); }

static void class_of(int shift, uid_t uid, gid_t gid)
{
	for (int b = 0; b < 8; b++) {
		char n[16];
		snprintf(n, sizeof n, "m%d", b);
		put_text(n, "\x01\x02 no program");
		/* the other classes get the opposite */
		int m = b << shift;
		for (int s = 0; s <= 6; s += 3) if (s != shift) m |= (7 - b) << s;
		MUST(chown(n, U, G) == 0 && chmod(n, m) == 0);
	}
	as_user(uid, gid, 0, NULL, as_owner);
}
static void owner_bits(void) { class_of(6, U, H); }
static void group_bits(void) { class_of(3, V, G); }
static void other_bits(void) { class_of(0, V, H); }

static void in_group(void)
{
	same_text("f", "group");
	MUST(close(open("d/new", O_CREAT | O_WRONLY, 0600)) == 0);
}
static void not_in_group(void)
{
	FAILS(EACCES, open("f", O_RDONLY));
	FAILS(EACCES, open("d/new2", O_CREAT | O_WRONLY, 0600));
}
static void supplementary(void)
{
	put_text("f", "group");
	MUST(chown("f", 0, H) == 0 && chmod("f", 0040) == 0 && mkdir("d", 0755) == 0 && chown("d", 0, H) == 0 && chmod("d", 0070) == 0);
	as_user(U, G, 3, in_h, in_group);
	as_user(U, G, 2, in_h, not_in_group);
	gid_t many[40];
	for (int i = 0; i < 40; i++) many[i] = 70000 + i;
	as_user(U, G, 40, many, not_in_group);
	many[39] = H;
	as_user(U, G, 40, many, in_group);
}

static void search_denied(void)
{
	struct stat st;
	FAILS(EACCES, stat("closed/f", &st));
	FAILS(EACCES, open("closed/f", O_RDONLY));
	FAILS(EACCES, open("closed/new", O_CREAT | O_WRONLY, 0644));
	FAILS(EACCES, unlink("closed/f"));
	FAILS(EACCES, stat("closed/none", &st));
	DIR *d = opendir("closed");
	MUST(d);
	int n = 0;
	while (readdir(d)) n++;
	MUST(n == 3);
	MUST(!opendir("unread") && errno == EACCES);
	same_text("unread/f", "x");
	FAILS(EACCES, open("nowrite/new", O_CREAT | O_WRONLY, 0644));
	FAILS(EACCES, mkdir("nowrite/new", 0755));
	FAILS(EACCES, symlink("x", "nowrite/new"));
	FAILS(EACCES, mknod("nowrite/new", S_IFIFO | 0600, 0));
	FAILS(EACCES, unlink("nowrite/f"));
	FAILS(EACCES, rename("nowrite/f", "open/f"));
	FAILS(EACCES, rename("open/g", "nowrite/g"));
	FAILS(EACCES, rename("open/g", "nowrite/f"));
	same_text("nowrite/f", "x");
}
static void directories(void)
{
	static const struct { const char *n; mode_t m; } d[] = { { "closed", 0744 }, { "unread", 0711 }, { "nowrite", 0755 }, { "open", 0777 } };
	for (int i = 0; i < 4; i++) {
		char f[32];
		MUST(mkdir(d[i].n, 0755) == 0);
		snprintf(f, sizeof f, "%s/f", d[i].n);
		put_text(f, "x");
		MUST(chmod(d[i].n, d[i].m) == 0);
	}
	put_text("open/g", "g");
	as_user(U, G, 0, NULL, search_denied);
}

static void sticky_user(void)
{
	FAILS(EPERM, unlink("tmp/root"));
	FAILS(EPERM, rename("tmp/root", "tmp/mine2"));
	FAILS(EPERM, rmdir("tmp/rootdir"));
	put_text("tmp/mine", "");
	FAILS(EPERM, rename("tmp/mine", "tmp/root"));
	MUST(rename("tmp/mine", "tmp/m2") == 0 && unlink("tmp/m2") == 0 && unlink("tmp/given") == 0);
	MUST(unlink("own/root") == 0);
}
static void sticky(void)
{
	MUST(mkdir("tmp", 0755) == 0 && chmod("tmp", 01777) == 0 && mkdir("tmp/rootdir", 0777) == 0 && mkdir("own", 0755) == 0);
	put_text("tmp/root", "");
	put_text("tmp/given", "");
	put_text("own/root", "");
	MUST(chown("tmp/given", U, G) == 0 && chown("own", U, G) == 0 && chmod("own", 01777) == 0);
	as_user(U, G, 0, NULL, sticky_user);
}

static void chown_user(void)
{
	FAILS(EPERM, chown("mine", V, -1));
	FAILS(EPERM, chown("mine", -1, G + 77));
	FAILS(EPERM, chown("root", U, -1));
	FAILS(EPERM, chmod("root", 0777));
	MUST(chown("mine", -1, H) == 0 && chown("mine", U, G) == 0 && chmod("mine", 0640) == 0);
	MUST(chown("mine", -1, -1) == 0);
	/* no setgid for a group one is not in */
	MUST(chmod("foreign", 02755) == 0 && mode_of("foreign") == 0755);
	MUST(chmod("mine", 04755) == 0 && mode_of("mine") == 04755);
}
static void changing_owner(void)
{
	put_text("mine", "");
	put_text("root", "");
	put_text("foreign", "");
	MUST(chown("mine", U, G) == 0 && chown("foreign", U, G + 5) == 0);
	as_user(U, G, 3, in_h, chown_user);
}

static void times_user(void)
{
	struct timespec t[2] = { { 5, 0 }, { 6, 0 } }, now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	FAILS(EPERM, utimensat(AT_FDCWD, "writable", t, 0));
	MUST(utimensat(AT_FDCWD, "writable", NULL, 0) == 0 && utimensat(AT_FDCWD, "writable", now, 0) == 0);
	FAILS(EACCES, utimensat(AT_FDCWD, "root", NULL, 0));
	FAILS(EPERM, utimensat(AT_FDCWD, "root", t, 0));
	MUST(utimensat(AT_FDCWD, "mine", t, 0) == 0);
	FAILS(EACCES, truncate("root", 0));
	MUST(truncate("writable", 3) == 0);
}
static void changing_times(void)
{
	put_text("root", "");
	put_text("writable", "");
	put_text("mine", "");
	MUST(chmod("writable", 0666) == 0 && chown("mine", U, G) == 0 && chmod("mine", 0400) == 0);
	as_user(U, G, 0, NULL, times_user);
}

static void write_priv(void)
{
	int fd = open("suid", O_WRONLY);
	MUST(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0 && (mode_of("suid") & 06000) == 0);
	MUST(truncate("suid2", 1) == 0 && (mode_of("suid2") & 06000) == 0);
}
static void killpriv(void)
{
	put_text("suid", "");
	put_text("suid2", "");
	put_text("suid3", "");
	MUST(chmod("suid", 06777) == 0 && chmod("suid2", 06777) == 0 && chmod("suid3", 06755) == 0);
	MUST(chown("suid3", U, G) == 0 && (mode_of("suid3") & 06000) == 0);
	as_user(U, G, 0, NULL, write_priv);
}

/* A file's capabilities go with whoever may write, shorten or chgrp it: he need not be allowed to remove the attribute by himself. */
static void write_cap(void)
{
	int fd = open("cap1", O_WRONLY);
	MUST(fd >= 0 && write(fd, "x", 1) == 1 && write(fd, "y", 1) == 1 && close(fd) == 0);
	MUST(truncate("cap2", 0) == 0);
	MUST(chown("cap3", -1, H) == 0);
	fd = open("cap4", O_WRONLY | O_TRUNC);
	MUST(fd >= 0 && close(fd) == 0);
}
static void kill_capabilities(void)
{
	static const char *const names[] = { "cap1", "cap2", "cap3", "cap4" };
	const struct vfs_cap_data cap = { .magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, .data[0].permitted = 1 << CAP_NET_RAW };
	char b[64];
	for (int i = 0; i < 4; i++) {
		put_text(names[i], "text");
		MUST(chown(names[i], U, G) == 0 && setxattr(names[i], "security.capability", &cap, XATTR_CAPS_SZ_2, 0) == 0);
		MUST(getxattr(names[i], "security.capability", b, sizeof b) > 0);
	}
	as_user(U, G, 3, in_h, write_cap);
	for (int i = 0; i < 4; i++)
		FAILS(ENODATA, getxattr(names[i], "security.capability", b, sizeof b));
}

static int held = -1;
static void use_handle(void)
{
	char c;
	FAILS(EACCES, open("f", O_RDWR));
	MUST(pwrite(held, "by handle", 9, 0) == 9 && pread(held, &c, 1, 0) == 1 && c == 'b' && ftruncate(held, 4) == 0 && fsync(held) == 0);
}
static void handles(void)
{
	put_text("f", "");
	MUST((held = open("f", O_RDWR)) >= 0 && chmod("f", 0) == 0);
	as_user(U, G, 0, NULL, use_handle);
	same_text("f", "by h");
}

static void make_things(void)
{
	struct stat st;
	MUST(mkdir("d/dir", 0755) == 0 && symlink("x", "d/lnk") == 0 && mkfifo("d/fifo", 0600) == 0);
	put_text("d/f", "");
	static const char *const n[] = { "d/dir", "d/lnk", "d/fifo", "d/f" };
	for (int i = 0; i < 4; i++) MUST(lstat(n[i], &st) == 0 && st.st_uid == U && st.st_gid == G);
	FAILS(EPERM, mknod("d/chr", S_IFCHR | 0600, 0x103));
	/* a file one may not write is made and written through the first descriptor */
	int fd = open("d/ro", O_CREAT | O_EXCL | O_RDWR, 0400);
	MUST(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
	FAILS(EACCES, open("d/ro", O_WRONLY));
}
static void new_things(void)
{
	MUST(mkdir("d", 0755) == 0 && chown("d", U, G) == 0);
	as_user(U, G, 0, NULL, make_things);
}

static void xattr_user(void)
{
	char b[8];
	FAILS(EACCES, setxattr("ro", "user.x", "1", 1, 0));
	MUST(getxattr("ro", "user.a", b, sizeof b) == 1);
	FAILS(EACCES, getxattr("no", "user.a", b, sizeof b));
	FAILS(ENODATA, getxattr("ro", "trusted.a", b, sizeof b));
	errno = 0;
	MUST(setxattr("rw", "trusted.a", "1", 1, 0) == -1 && errno == EPERM);
	MUST(setxattr("rw", "user.x", "1", 1, 0) == 0);
}
static void xattr_permissions(void)
{
	static const struct { const char *n; mode_t m; } f[] = { { "ro", 0644 }, { "no", 0600 }, { "rw", 0666 } };
	for (int i = 0; i < 3; i++) {
		put_text(f[i].n, "");
		MUST(setxattr(f[i].n, "user.a", "1", 1, 0) == 0 && setxattr(f[i].n, "trusted.a", "1", 1, 0) == 0 && chmod(f[i].n, f[i].m) == 0);
	}
	as_user(U, G, 0, NULL, xattr_user);
}

static void root_rules(void)
{
	put_text("f", "x");
	MUST(chown("f", U, G) == 0 && chmod("f", 0) == 0);
	same_text("f", "x");
	MUST(mkdir("d", 0) == 0);
	put_text("d/f", "y");
	same_text("d/f", "y");
}

static void move_dir_user(void)
{
	/* moving a directory to another parent changes its "..", so it must be writable; within its parent it need not */
	FAILS(EACCES, rename("a/sub", "b/sub"));
	MUST(rename("a/sub", "a/sub2") == 0);
}
static void move_dir(void)
{
	MUST(mkdir("a", 0777) == 0 && mkdir("b", 0777) == 0 && mkdir("a/sub", 0755) == 0);
	MUST(chmod("a", 0777) == 0 && chmod("b", 0777) == 0);
	as_user(U, G, 0, NULL, move_dir_user);
}

const TapCheck perm_checks[] = {
	{ "the owner gets the owner's bits and no others", owner_bits },
	{ "the group gets the group's bits and no others", group_bits },
	{ "the rest gets the rest's bits and no others", other_bits },
	{ "supplementary groups count, beyond sixteen too", supplementary },
	{ "directories: search, read and write permission", directories },
	{ "sticky directories protect what others own", sticky },
	{ "only the owner changes mode and group, only root the owner", changing_owner },
	{ "times and size need ownership or write permission", changing_times },
	{ "setuid and setgid go with a write, truncate or chown", killpriv },
	{ "capabilities go with a write, truncate or chgrp", kill_capabilities },
	{ "what was opened stays usable whatever the mode becomes", handles },
	{ "new things belong to their maker", new_things },
	{ "extended attributes obey permissions", xattr_permissions },
	{ "root may do everything with files and directories", root_rules },
	{ "a directory one may not write keeps its parent", move_dir },
	{ 0 },
};
