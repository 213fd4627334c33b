#include "magmad/store/layout.h"
#include "magmad/store/db.h"
#include "magmad/store/diskstore.h"
#include "libmagma/base/err.h"
#include "libmagma/base/folder.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF "volcano.conf"

char *layout_db(const char *dir) { return g_build_filename(dir, "state.db", NULL); }
char *layout_journal(const char *dir) { return g_build_filename(dir, "journal", NULL); }
char *layout_content(const char *dir) { return g_build_filename(dir, "content", NULL); }
static char *layout_conf(const char *dir) { return g_build_filename(dir, CONF, NULL); }

static gboolean fail(GError **error, int code, const char *path, const char *text)
{
	g_set_error(error, MAGMA_ERROR, code, "%s: %s", path, text);
	return FALSE;
}

static gboolean fail_errno(GError **error, const char *path)
{
	int e = errno;
	return fail(error, e, path, g_strerror(e));
}

gboolean layout_check(const char *dir, GError **error)
{
	g_autofree char *path = layout_conf(dir);
	g_autoptr(GKeyFile) conf = g_key_file_new();
	g_autoptr(GError) e = NULL;

	if (!g_file_test(dir, G_FILE_TEST_IS_DIR))
		return fail(error, ENOENT, dir, "there is no such folder");
	if (!g_key_file_load_from_file(conf, path, G_KEY_FILE_NONE, &e)) {
		if (g_error_matches(e, G_FILE_ERROR, G_FILE_ERROR_NOENT))
			return fail(error, ENOENT, dir, "holds no volcano (" CONF " is missing)");
		return fail(error, EIO, path, e->message);
	}
	int format = g_key_file_get_integer(conf, "store", "format", &e);
	if (e)
		return fail(error, EIO, path, e->message);
	if (format == DISKSTORE_FORMAT)
		return TRUE;
	g_set_error(error, MAGMA_ERROR, EPROTO, "%s has format %d, this magmad knows %d: %s", dir, format, DISKSTORE_FORMAT,
		format > DISKSTORE_FORMAT ? "it was written by a newer version; use that one" : "it was written by a version whose format is not read any more");
	return FALSE;
}

/* --- emptying --- */

/* Everything below the folder fd, which is taken; never through a link. 0 or errno. */
static int remove_below(int fd)
{
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	int error = 0;
	struct dirent *e;

	if (!d) {
		error = errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	while (errno = 0, !error && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) == 0 || errno == ENOENT)
			continue;
		error = errno == EISDIR ? remove_below(openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) : errno;
		if (!error && unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) != 0)
			error = errno;
	}
	error = error ? error : errno;
	closedir(d);
	return error;
}

/* Not one sync for each of so many folders: all that the file system has. */
static int sync_all(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = fd < 0 || syncfs(fd) != 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

gboolean layout_empty(const char *dir, gboolean journal_only, GError **error)
{
	g_autofree char *journal = layout_journal(dir), *content = layout_content(dir);
	const char *path = journal;
	int e = remove_below(open(journal, O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	if (!e && !journal_only)
		e = remove_below(open(path = content, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (!e)
		e = sync_all(content);
	return !e || fail(error, e, path, g_strerror(e));
}

/* --- the lock --- */

static long lock_holder(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	return n > 0 ? strtol(text, NULL, 10) : 0;
}

int diskstore_lock(const char *dir, GError **error)
{
	g_autofree char *path = g_build_filename(dir, "lock", NULL);
	char text[32];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0) {
		fail_errno(error, path);
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK)
			g_set_error(error, MAGMA_ERROR, EBUSY, "%s is used by another magmad (pid %ld)", dir, lock_holder(fd));
		else
			fail_errno(error, path);
		close(fd);
		return -1;
	}
	int n = g_snprintf(text, sizeof text, "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, n, 0) != n)
		g_debug("%s: the pid could not be written", path);      /* a full disk must not keep us from starting */
	return fd;
}

/* --- making one --- */

static gboolean is_empty_dir(const char *path)
{
	g_auto(GStrv) names = magma_folder_names(path, NULL);

	return names && !names[0];
}

/* Nothing there but what a create that was interrupted before its last step leaves, or what any file system's root has. */
static gboolean dir_is_free(const char *dir, GError **error)
{
	g_auto(GStrv) names = magma_folder_names(dir, error);

	for (guint i = 0; names && names[i]; i++) {
		const char *name = names[i];
		g_autofree char *path = g_build_filename(dir, name, NULL);
		if (!strcmp(name, CONF))
			return fail(error, EEXIST, dir, "already holds a volcano");
		if (!strcmp(name, CONF ".new") || !strcmp(name, "lock") || !strcmp(name, "reserve") || !strcmp(name, "lost+found") || g_str_has_prefix(name, "state.db") || g_str_has_prefix(name, "lava.db"))
			continue;
		if ((!strcmp(name, "journal") || !strcmp(name, "content")) && is_empty_dir(path))
			continue;
		g_set_error(error, MAGMA_ERROR, ENOTEMPTY, "%s is not empty and holds no volcano (there is a %s)", dir, name);
		return FALSE;
	}
	return names != NULL;
}

static gboolean remove_old_db(const char *db, GError **error)
{
	static const char *const suffix[] = { "", "-wal", "-shm", "-journal" };

	for (guint i = 0; i < G_N_ELEMENTS(suffix); i++) {
		g_autofree char *path = g_strconcat(db, suffix[i], NULL);
		if (g_unlink(path) != 0 && errno != ENOENT)
			return fail_errno(error, path);
	}
	return TRUE;
}

static gboolean make_dir(const char *path, GError **error)
{
	return g_mkdir(path, 0700) == 0 || errno == EEXIST || fail_errno(error, path);
}

/* sqlite gives its other files the mode that this one has. */
static gboolean make_private(const char *path, GError **error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail_errno(error, path);
	close(fd);
	return TRUE;
}

static gboolean sync_path(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	gboolean ok = fd >= 0 && fsync(fd) == 0;

	if (!ok)
		fail_errno(error, path);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Last: a folder is a volcano's when this is there. */
static gboolean write_conf(const char *dir, GError **error)
{
	g_autofree char *path = layout_conf(dir), *temp = g_strconcat(path, ".new", NULL);
	g_autofree char *text = g_strdup_printf("[store]\nformat=%d\n", DISKSTORE_FORMAT);
	gsize n = strlen(text);
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	gboolean ok = fd >= 0 && write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;

	if (!ok)
		fail_errno(error, temp);
	if (fd >= 0)
		close(fd);
	if (ok && rename(temp, path) != 0)
		return fail_errno(error, path);
	return ok && sync_path(dir, error);
}

static gboolean key_new(FrameKey *key, GError **error)
{
	ssize_t n;

	/* So few bytes come whole or not at all. */
	while ((n = getrandom(key->b, sizeof key->b, 0)) < 0 && errno == EINTR)
		;
	return n == sizeof key->b || fail_errno(error, "getrandom");
}

static gboolean make_store(const char *dir, GError **error)
{
	g_autofree char *db = layout_db(dir), *journal = layout_journal(dir), *content = layout_content(dir);
	FrameKey key;

	return key_new(&key, error) && remove_old_db(db, error) && make_dir(journal, error) && make_dir(content, error)
		&& make_private(db, error) && db_create(db, &key, error) && sync_path(db, error);
}

gboolean diskstore_create(const char *dir, GError **error)
{
	return magma_folder_make(dir, error) && dir_is_free(dir, error) && make_store(dir, error) && write_conf(dir, error);
}

gboolean diskstore_create_again(const char *dir, GError **error) { return make_store(dir, error) && sync_path(dir, error); }
gboolean diskstore_adopt(const char *dir, GError **error) { return write_conf(dir, error); }
