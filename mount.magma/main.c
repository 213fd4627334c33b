/* mount.magma: mounts a lava network through FUSE. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libmagma/base/err.h"
#include "libmagma/client/secret.h"
#include "mount.magma/log.h"
#include "mount.magma/options.h"
#include "mount.magma/start.h"

enum { EXIT_USAGE = 2, EXIT_HELPER_FAILED = 32 };      /* 32: mount(8)'s "mount failure" */

static int failed(const MountOptions *o) { return o->helper ? EXIT_HELPER_FAILED : EXIT_FAILURE; }

/* Is source what one sees on dir now? Mounting it again would hide that mount, and leave it when the second one is unmounted. */
static gboolean mounted_already(const char *dir, const char *source)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	gboolean same = FALSE;
	for (struct mntent *e; f && (e = getmntent(f));)
		if (g_str_equal(e->mnt_dir, dir))        /* the last one is on top */
			same = g_str_equal(e->mnt_type, "fuse.magma") && g_str_equal(e->mnt_fsname, source);
	if (f)
		endmntent(f);
	return same;
}

/* Absolute, for after chdir("/"); NULL with the reason said. */
static char *find_mount_point(const MountOptions *o)
{
	char path[PATH_MAX];
	struct stat st;
	if (!realpath(o->dir, path) || stat(path, &st)) {
		int e = errno;
		log_say("%s: %s%s", o->dir, g_strerror(e), e == ENOTCONN ? ": what served a mount there is gone; umount it first" : "");
		return NULL;
	}
	if (!S_ISDIR(st.st_mode)) {
		log_say("%s: %s", o->dir, g_strerror(ENOTDIR));
		return NULL;
	}
	if (!o->nspath && mounted_already(path, o->source)) {
		log_say("%s: %s is mounted there already", path, o->source);
		return NULL;
	}
	return g_strdup(path);
}

/* ---- the background ---- */

/* In the child, once the mount works: the parent may go, and from here on messages go to syslog. */
static void report_up(void *user)
{
	int fd = *(int *)user;
	log_to_syslog();
	int null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	if (chdir("/"))
		log_say("/: %s", g_strerror(errno));
	if (write(fd, "", 1) != 1)
		log_say("nobody waits for the mount any more");
	close(fd);
}

static void report_nothing(void *user) {}

/* The parent's part: 0 when the child says so, else what the child ends with. */
static int wait_for(pid_t child, int fd)
{
	char byte;
	ssize_t n;
	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	int status;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status))
		log_say("ended by signal %d", WTERMSIG(status));
	return 1;
}

static int run_in_background(const MountOptions *o, const char *dir, char *secret)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC)) {
		log_say("pipe: %s", g_strerror(errno));
		return 1;
	}
	fflush(NULL);
	pid_t child = fork();
	if (child < 0) {
		log_say("fork: %s", g_strerror(errno));
		return 1;
	}
	if (child > 0) {
		close(fds[1]);
		return wait_for(child, fds[0]);
	}
	close(fds[0]);
	setsid();
	return mount_run(o, dir, secret, report_up, &fds[1]);
}

int main(int argc, char **argv)
{
	char *wrong = NULL;
	g_autoptr(MountOptions) o = mount_options_parse(argc, argv, geteuid() == 0, &wrong);
	if (!o) {
		log_say("%s", wrong);
		g_free(wrong);
		return EXIT_USAGE;
	}
	if (o->action == MOUNT_HELP) {
		fputs(MOUNT_HELP_TEXT, stdout);
		return 0;
	}
	if (o->action == MOUNT_VERSION) {
		puts("mount.magma " PACKAGE_VERSION);
		return 0;
	}
	if (o->dry_run)
		return 0;
	g_autoptr(GError) error = NULL;
	char *secret = NULL;
	if (!o->key && !o->keyfile && !g_getenv("MAGMA_KEY")) {
		log_say("no secret key: give --keyfile=FILE, --key=SECRET (or keyfile=, key= behind -o) or the environment variable MAGMA_KEY");
		return EXIT_USAGE;
	}
	if (!magma_secret_choose(g_steal_pointer(&o->key), o->keyfile, &secret, &error)) {
		log_say("%s", error->message);
		return error->code == EINVAL ? EXIT_USAGE : failed(o);
	}
	g_autofree char *dir = find_mount_point(o);
	int status = !dir ? 1 : o->foreground ? mount_run(o, dir, secret, report_nothing, NULL) : run_in_background(o, dir, secret);
	magma_secret_free(secret);
	return status ? failed(o) : 0;
}
