/* Names: create, mkdir, mknod, symlink, link, unlink, rmdir, rename, lookup. */
#include "tests/system/helpers/tap.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static int has(const char *path)
{
	struct stat st;
	if (lstat(path, &st) == 0) return 1;
	MUST(errno == ENOENT);
	return 0;
}

static nlink_t links(const char *path)
{
	struct stat st;
	MUST(lstat(path, &st) == 0);
	return st.st_nlink;
}

static void create_new(void)
{
	int fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0640);
	MUST(fd >= 0);
	struct stat st, st2;
	MUST(fstat(fd, &st) == 0 && stat("a", &st2) == 0);
	MUST(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0640 && st.st_size == 0 && st.st_nlink == 1);
	MUST(st.st_ino == st2.st_ino && st.st_dev == st2.st_dev && st.st_ino != 0);
	close(fd);
	FAILS(EEXIST, open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
	MUST((fd = open("a", O_RDWR | O_CREAT, 0600)) >= 0);
	MUST(fstat(fd, &st2) == 0 && (st2.st_mode & 07777) == 0640 && st2.st_ino == st.st_ino);
	close(fd);
}

static void missing_things(void)
{
	struct stat st;
	put_text("file", "x");
	MUST(mkdir("d", 0755) == 0);
	FAILS(ENOENT, stat("none", &st));
	FAILS(ENOENT, open("none", O_RDONLY));
	FAILS(ENOENT, open("none/x", O_RDWR | O_CREAT, 0644));
	FAILS(ENOTDIR, stat("file/x", &st));
	FAILS(ENOTDIR, open("file/x", O_RDWR | O_CREAT, 0644));
	FAILS(ENOTDIR, open("file", O_RDONLY | O_DIRECTORY));
	FAILS(EISDIR, open("d", O_RDWR));
	FAILS(EISDIR, open("d", O_RDWR | O_CREAT, 0644));
	FAILS(ENOENT, unlink("none"));
	FAILS(ENOENT, rmdir("none"));
	FAILS(EISDIR, unlink("d"));
	FAILS(ENOTDIR, rmdir("file"));
	FAILS(ENOENT, rename("none", "other"));
	FAILS(ENOENT, link("none", "other"));
	FAILS(ENOENT, readlink("none", (char[8]){0}, 8));
	FAILS(EINVAL, readlink("file", (char[8]){0}, 8));
}

static void existing_things(void)
{
	put_text("file", "x");
	MUST(mkdir("d", 0755) == 0 && symlink("nowhere", "l") == 0);
	static const char *const names[] = { "file", "d", "l" };
	for (int i = 0; i < 3; i++) {
		FAILS(EEXIST, mkdir(names[i], 0755));
		FAILS(EEXIST, mknod(names[i], S_IFIFO | 0600, 0));
		FAILS(EEXIST, symlink("x", names[i]));
		FAILS(EEXIST, link("file", names[i]));
		FAILS(EEXIST, open(names[i], O_RDWR | O_CREAT | O_EXCL, 0600));
	}
	same_text("file", "x");
}

static void dir_links(void)
{
	struct stat st;
	MUST(mkdir("d", 0750) == 0 && stat("d", &st) == 0);
	MUST(S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0750 && st.st_nlink == 2);
	MUST(mkdir("d/e", 0755) == 0 && mkdir("d/f", 0755) == 0 && links("d") == 4);
	put_text("d/file", "");
	MUST(links("d") == 4);
	MUST(rmdir("d/e") == 0 && links("d") == 3);
	MUST(rename("d/f", "f") == 0 && links("d") == 2);
	MUST(ino_of("d/.") == ino_of("d") && ino_of("d/..") == ino_of("."));
	FAILS(ENOTEMPTY, rmdir("d"));
	MUST(unlink("d/file") == 0 && rmdir("d") == 0 && !has("d"));
}

static void all_types(void)
{
	const struct { const char *name; mode_t type; dev_t dev; } t[] = {
		{ "reg", S_IFREG, 0 }, { "fifo", S_IFIFO, 0 }, { "sock", S_IFSOCK, 0 },
		{ "chr", S_IFCHR, makedev(1, 3) }, { "blk", S_IFBLK, makedev(250, 77777) },
	};
	for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
		struct stat st;
		MUST(mknod(t[i].name, t[i].type | 0631, t[i].dev) == 0 && lstat(t[i].name, &st) == 0);
		MUST((st.st_mode & S_IFMT) == t[i].type && (st.st_mode & 07777) == 0611 && st.st_nlink == 1);
		if (t[i].dev) MUST(st.st_rdev == t[i].dev);
	}
	MUST(symlink("reg", "sym") == 0 && mkdir("dir", 0711) == 0);
	for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
		char to[32];
		snprintf(to, sizeof to, "dir/%s", t[i].name);
		ino_t ino = ino_of(t[i].name);
		MUST(rename(t[i].name, to) == 0 && ino_of(to) == ino && unlink(to) == 0);
	}
}

static void fifo_and_socket_work(void)
{
	MUST(mkfifo("p", 0600) == 0);
	int r = open("p", O_RDONLY | O_NONBLOCK), w = open("p", O_WRONLY);
	char c = 0;
	MUST(r >= 0 && w >= 0 && write(w, "z", 1) == 1 && read(r, &c, 1) == 1 && c == 'z');
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "s" };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), d = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(bind(s, (struct sockaddr *)&a, sizeof a) == 0 && listen(s, 1) == 0);
	struct stat st;
	MUST(lstat("s", &st) == 0 && S_ISSOCK(st.st_mode));
	MUST(connect(d, (struct sockaddr *)&a, sizeof a) == 0);
}

static void symlinks(void)
{
	char buf[5000], target[4096];
	struct stat st;
	memset(target, 'y', 4095);
	target[4095] = 0;
	MUST(symlink(target, "long") == 0 && lstat("long", &st) == 0 && S_ISLNK(st.st_mode) && st.st_size == 4095);
	MUST(readlink("long", buf, sizeof buf) == 4095 && !memcmp(buf, target, 4095));
	MUST(symlink("./a/../b c\n\xff", "odd") == 0 && readlink("odd", buf, sizeof buf) == 12 && !memcmp(buf, "./a/../b c\n\xff", 12));
	MUST(readlink("odd", buf, 3) == 3);
	put_text("t", "through");
	MUST(symlink("t", "l1") == 0 && symlink("l1", "l2") == 0);
	same_text("l2", "through");
	FAILS(ELOOP, open("l1", O_RDONLY | O_NOFOLLOW));
	MUST(symlink("loop2", "loop1") == 0 && symlink("loop1", "loop2") == 0);
	FAILS(ELOOP, open("loop1", O_RDONLY));
	MUST(mkdir("d", 0755) == 0 && symlink("d", "ld") == 0);
	put_text("ld/x", "in");
	same_text("d/x", "in");
	MUST(unlink("ld") == 0);
	same_text("d/x", "in");
}

static void hard_links(void)
{
	put_text("a", "one");
	MUST(mkdir("d", 0755) == 0 && link("a", "b") == 0 && link("a", "d/c") == 0);
	MUST(links("a") == 3 && ino_of("a") == ino_of("b") && ino_of("a") == ino_of("d/c"));
	put_text("b", "two");
	same_text("a", "two");
	MUST(unlink("a") == 0 && links("b") == 2);
	same_text("d/c", "two");
	FAILS(EPERM, link("d", "dd"));
	MUST(symlink("b", "s") == 0 && linkat(AT_FDCWD, "s", AT_FDCWD, "s2", 0) == 0 && links("s") == 2);
	MUST(unlink("b") == 0 && unlink("d/c") == 0 && !has("b"));
}

static void rename_basic(void)
{
	put_text("a", "A");
	put_text("b", "B");
	ino_t ia = ino_of("a");
	MUST(rename("a", "c") == 0 && !has("a") && ino_of("c") == ia);
	MUST(rename("c", "b") == 0 && !has("c") && ino_of("b") == ia);
	same_text("b", "A");
	MUST(rename("b", "b") == 0);
	MUST(mkdir("d", 0755) == 0 && rename("b", "d/b") == 0 && ino_of("d/b") == ia);
	MUST(link("d/b", "same") == 0 && rename("d/b", "same") == 0 && has("d/b") && has("same"));
	char to[300] = "", too[300] = "";
	memset(to, 'n', 255);
	memset(too, 'n', 256);
	MUST(rename("same", to) == 0 && has(to));
	FAILS(ENAMETOOLONG, rename(to, too));
}

static void rename_dirs(void)
{
	put_text("f", "");
	MUST(mkdir("d", 0755) == 0 && mkdir("d/sub", 0755) == 0 && mkdir("empty", 0755) == 0 && mkdir("full", 0755) == 0);
	put_text("d/sub/x", "deep");
	put_text("full/x", "");
	FAILS(EINVAL, rename("d", "d/sub/d"));
	FAILS(EINVAL, rename("d", "d/d"));
	FAILS(ENOTDIR, rename("d", "f"));
	FAILS(EISDIR, rename("f", "d"));
	errno = 0;
	MUST(rename("d", "full") == -1 && (errno == ENOTEMPTY || errno == EEXIST));
	errno = 0;
	MUST(rename("d/sub", "d") == -1 && (errno == ENOTEMPTY || errno == EEXIST));
	ino_t i = ino_of("d");
	MUST(rename("d", "empty") == 0 && ino_of("empty") == i && !has("d"));
	same_text("empty/sub/x", "deep");
	MUST(rename("empty/sub", "full/sub") == 0);
	same_text("full/sub/x", "deep");
	MUST(ino_of("full/sub/..") == ino_of("full") && links("full") == 3 && links("empty") == 2);
}

static void rename_tree(void)
{
	char p[128];
	MUST(mkdir("src", 0755) == 0 && mkdir("dst", 0755) == 0 && mkdir("src/t", 0755) == 0);
	for (int i = 0; i < 40; i++) {
		snprintf(p, sizeof p, "src/t/d%d", i);
		MUST(mkdir(p, 0755) == 0);
		snprintf(p, sizeof p, "src/t/d%d/f", i);
		put_file(p, &i, sizeof i);
	}
	MUST(rename("src/t", "dst/u") == 0);
	for (int i = 0; i < 40; i++) {
		snprintf(p, sizeof p, "dst/u/d%d/f", i);
		same_file(p, &i, sizeof i);
		snprintf(p, sizeof p, "dst/u/d%d/g", i);
		put_text(p, "new below a renamed directory");
	}
	FAILS(EINVAL, rename("dst", "dst/u/d3/back"));
	MUST(rename("dst/u/d3", "src/d3") == 0 && rename("dst", "src/d3/dst") == 0);
	same_text("src/d3/dst/u/d4/g", "new below a renamed directory");
	FAILS(EINVAL, rename("src/d3", "src/d3/dst/u/d4/loop"));
}

static void rename_noreplace(void)
{
	put_text("a", "A");
	put_text("b", "B");
	MUST(mkdir("d", 0755) == 0);
	FAILS(EEXIST, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
	FAILS(EEXIST, renameat2(AT_FDCWD, "a", AT_FDCWD, "d", RENAME_NOREPLACE));
	same_text("b", "B");
	MUST(renameat2(AT_FDCWD, "a", AT_FDCWD, "d/c", RENAME_NOREPLACE) == 0);
	same_text("d/c", "A");
}

static void rename_exchange(void)
{
	put_text("a", "A");
	MUST(mkdir("d", 0755) == 0 && mkdir("e", 0755) == 0);
	put_text("d/x", "X");
	put_text("e/y", "Y");
	ino_t a = ino_of("a"), x = ino_of("d/x"), d = ino_of("d"), e = ino_of("e");
	MUST(renameat2(AT_FDCWD, "a", AT_FDCWD, "d/x", RENAME_EXCHANGE) == 0 && ino_of("a") == x && ino_of("d/x") == a);
	same_text("a", "X");
	MUST(renameat2(AT_FDCWD, "d", AT_FDCWD, "e", RENAME_EXCHANGE) == 0 && ino_of("d") == e && ino_of("e") == d);
	same_text("d/y", "Y");
	MUST(renameat2(AT_FDCWD, "a", AT_FDCWD, "d", RENAME_EXCHANGE) == 0 && ino_of("a") == e && ino_of("d") == x);
	FAILS(ENOENT, renameat2(AT_FDCWD, "a", AT_FDCWD, "none", RENAME_EXCHANGE));
	FAILS(EINVAL, renameat2(AT_FDCWD, "e", AT_FDCWD, "e/x", RENAME_EXCHANGE));
	/* a directory and a file in different parents: the link counts follow */
	MUST(mkdir("p", 0755) == 0 && mkdir("q", 0755) == 0 && mkdir("p/dir", 0755) == 0);
	put_text("q/file", "F");
	MUST(renameat2(AT_FDCWD, "p/dir", AT_FDCWD, "q/file", RENAME_EXCHANGE) == 0 && links("p") == 2 && links("q") == 3);
	same_text("p/dir", "F");
}

static void any_bytes(void)
{
	for (int c = 1; c < 256; c++) {
		if (c == '/') continue;
		char n[8] = { 'n', (char)c, 0 };
		put_file(n, &c, sizeof c);
		char one[2] = { (char)c, 0 };
		if (c != '.') put_text(one, "1");
	}
	for (int c = 1; c < 256; c++) {
		if (c == '/') continue;
		char n[8] = { 'n', (char)c, 0 };
		same_file(n, &c, sizeof c);
	}
	put_text("...", "three dots");
	same_text("...", "three dots");
	put_text(" ", "a blank");
	put_text("-rf *; $(reboot)", "not a command");
	same_text("-rf *; $(reboot)", "not a command");
}

static void long_names(void)
{
	struct stat st;
	char n[300] = "";
	for (int i = 0; i < 255; i++) n[i] = (char)(i + 1 == '/' || i + 1 == '.' ? 'x' : i + 1);
	put_text(n, "255 bytes of everything");
	same_text(n, "255 bytes of everything");
	MUST(unlink(n) == 0 && mkdir(n, 0755) == 0 && rmdir(n) == 0 && symlink("x", n) == 0 && unlink(n) == 0);
	memset(n, 'x', 256);
	FAILS(ENAMETOOLONG, open(n, O_RDWR | O_CREAT, 0644));
	FAILS(ENAMETOOLONG, mkdir(n, 0755));
	FAILS(ENAMETOOLONG, symlink("x", n));
	FAILS(ENAMETOOLONG, stat(n, &st));
	FAILS(ENAMETOOLONG, unlink(n));
}

static void deep_paths(void)
{
	/* one path of 4095 bytes, the longest the kernel takes, and a tree deeper than any path */
	char seg[102], path[4200] = "";
	memset(seg, 's', 100);
	seg[100] = 0;
	size_t len = 0;
	while (len + 101 < 4080) {
		len += sprintf(path + len, "%s%s", len ? "/" : "", seg);
		MUST(mkdir(path, 0755) == 0);
	}
	path[len++] = '/';
	memset(path + len, 'f', 4095 - len);
	path[4095] = 0;
	put_text(path, "4095 bytes of path");
	same_text(path, "4095 bytes of path");
	path[4095] = 'f';
	path[4096] = 0;
	FAILS(ENAMETOOLONG, open(path, O_RDONLY));
	for (int i = 0; i < 80; i++) {
		MUST(mkdir(seg, 0755) == 0 || errno == EEXIST);
		MUST(chdir(seg) == 0);
	}
	put_text("bottom", "8 KiB down");
	same_text("bottom", "8 KiB down");
	for (int i = 0; i < 80; i++) MUST(chdir("..") == 0);
	MUST(rename(seg, "renamed") == 0);
}

static void inos_unique(void)
{
	enum { N = 300 };
	static ino_t ino[N];
	char n[32];
	for (int i = 0; i < N; i++) {
		snprintf(n, sizeof n, "f%d", i);
		if (i % 3 == 0) MUST(mkdir(n, 0755) == 0);
		else if (i % 3 == 1) put_text(n, "");
		else MUST(symlink("x", n) == 0);
		ino[i] = ino_of(n);
		for (int j = 0; j < i; j++) MUST(ino[i] != ino[j]);
	}
	for (int i = 0; i < N; i++) {
		snprintf(n, sizeof n, "f%d", i);
		MUST(ino_of(n) == ino[i]);
	}
}

static void recreate(void)
{
	for (int i = 0; i < 200; i++) {
		put_file("f", &i, sizeof i);
		same_file("f", &i, sizeof i);
		MUST(unlink("f") == 0 && !has("f") && mkdir("f", 0755) == 0);
		put_text("f/in", "");
		MUST(unlink("f/in") == 0 && rmdir("f") == 0);
	}
}

static void tmpfile_link(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) tap_skip("no O_TMPFILE");
	MUST(fd >= 0 && write(fd, "tmp", 3) == 3);
	char p[64];
	snprintf(p, sizeof p, "/proc/self/fd/%d", fd);
	MUST(linkat(AT_FDCWD, p, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
	same_text("named", "tmp");
}

const TapCheck names_checks[] = {
	{ "create makes an empty file of that mode, once", create_new },
	{ "what is missing or of another type is refused with its errno", missing_things },
	{ "what exists is not made again", existing_things },
	{ "mkdir and rmdir keep link counts, . and ..", dir_links },
	{ "mknod makes every type, with its device number", all_types },
	{ "fifos and sockets carry data", fifo_and_socket_work },
	{ "symlinks hold up to 4095 bytes of anything and are followed", symlinks },
	{ "hard links share one flare until the last name goes", hard_links },
	{ "rename within and between directories, over files, onto itself", rename_basic },
	{ "rename of directories: over empty ones only, never into themselves", rename_dirs },
	{ "rename of a directory takes its tree along", rename_tree },
	{ "rename with NOREPLACE", rename_noreplace },
	{ "rename with EXCHANGE", rename_exchange },
	{ "names of any byte", any_bytes },
	{ "names of 255 bytes, not of 256", long_names },
	{ "paths of 4095 bytes, trees deeper than that", deep_paths },
	{ "st_ino is unique and stable", inos_unique },
	{ "a name is used again and again for other things", recreate },
	{ "O_TMPFILE can be linked in", tmpfile_link },
	{ 0 },
};
