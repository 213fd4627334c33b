#include "magmad/identity.h"
#include "magmad/store/diskstore.h"
#include "libmagma/base/err.h"
#include "libmagma/base/folder.h"
#include "libmagma/lava/conflict.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUP "volcano"               /* beside it the file has the store's group, with the format */
#define CONF "volcano.conf"
#define IDENTITY_MAX 65536

Identity *identity_new(void) { return g_new0(Identity, 1); }

void identity_free(Identity *id)
{
	if (!id)
		return;
	g_free(id->name);
	g_free(id->fqdn);
	explicit_bzero(id->psk, sizeof id->psk);
	g_free(id);
}

static gboolean bad(GError **error, const char *file, const char *key)
{
	g_set_error(error, MAGMA_ERROR, EBADMSG, "%s: the key '%s' is missing or damaged", file, key);
	return FALSE;
}

static gboolean get_text(GKeyFile *kf, const char *file, const char *key, gsize max, char **out, GError **error)
{
	g_autofree char *s = g_key_file_get_string(kf, GROUP, key, NULL);

	if (!s || !*s || strlen(s) > max)
		return bad(error, file, key);
	for (const char *p = s; *p; p++)
		if (!g_ascii_isalnum(*p) && !strchr("._-", *p))
			return bad(error, file, key);
	*out = g_steal_pointer(&s);
	return TRUE;
}

static gboolean get_number(GKeyFile *kf, const char *file, const char *key, guint64 min, guint64 max, guint64 *out, GError **error)
{
	g_autofree char *s = g_key_file_get_string(kf, GROUP, key, NULL);

	return (s && g_ascii_string_to_unsigned(s, 10, min, max, out, NULL)) || bad(error, file, key);
}

static gboolean get_hex(GKeyFile *kf, const char *file, const char *key, guint8 *out, gsize n, GError **error)
{
	g_autofree char *s = g_key_file_get_string(kf, GROUP, key, NULL);
	gboolean ok = s && strlen(s) == 2 * n;

	for (gsize i = 0; ok && i < n; i++) {
		int hi = g_ascii_xdigit_value(s[2 * i]), lo = g_ascii_xdigit_value(s[2 * i + 1]);
		ok = hi >= 0 && lo >= 0;
		out[i] = (guint8)(hi * 16 + lo);
	}
	if (s)
		explicit_bzero(s, strlen(s));
	return ok || bad(error, file, key);
}

static gboolean get_addr(GKeyFile *kf, const char *file, const char *key, guint16 port, MagmaAddr *out, GError **error)
{
	g_autofree char *s = g_key_file_get_string(kf, GROUP, key, NULL);

	return (s && strlen(s) < MAGMA_ADDR_TEXT && magma_addr_parse(s, port, out)) || bad(error, file, key);
}

static void put_hex(GKeyFile *kf, const char *key, const guint8 *p, gsize n)
{
	g_autofree char *s = g_malloc(2 * n + 1);

	for (gsize i = 0; i < n; i++)
		g_snprintf(s + 2 * i, 3, "%02x", p[i]);
	g_key_file_set_string(kf, GROUP, key, s);
	explicit_bzero(s, 2 * n);
}

/* How the first start is to go on: only in a folder whose first start was not completed. */
static gboolean get_pending(GKeyFile *kf, const char *file, Identity *id, GError **error)
{
	g_autofree char *pending = g_key_file_get_string(kf, GROUP, "pending", NULL);

	if (!pending)
		return TRUE;
	id->pending = TRUE;
	if (g_str_equal(pending, "bootstrap"))
		id->bootstrap = TRUE;
	else
		return get_addr(kf, file, "pending", 12000, &id->join, error);
	return TRUE;
}

static gboolean check_format(GKeyFile *kf, const char *file, GError **error)
{
	g_autofree char *text = g_key_file_get_string(kf, "store", "format", NULL);
	guint64 format;

	if (!text || !g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT64, &format, NULL))
		return bad(error, file, "format");
	if (format != DISKSTORE_FORMAT) {
		g_set_error(error, MAGMA_ERROR, EPROTO, "%s: the folder has format %" G_GUINT64_FORMAT ", this magmad knows %d: %s", file, format, DISKSTORE_FORMAT,
			format > DISKSTORE_FORMAT ? "start a newer magmad" : "it was written by a version whose format is not read any more");
		return FALSE;
	}
	return TRUE;
}

Identity *identity_parse(const char *file, const char *text, gsize len, GError **error)
{
	g_autoptr(GKeyFile) kf = g_key_file_new();
	g_autoptr(Identity) id = identity_new();
	g_autofree char *network = NULL;
	guint64 port, bandwidth, copies;

	if (len == 0 || !g_key_file_load_from_data(kf, text, len, G_KEY_FILE_NONE, NULL)) {
		g_set_error(error, MAGMA_ERROR, EBADMSG, "%s: is damaged", file);
		return NULL;
	}
	if (!check_format(kf, file, error)
	    || !get_text(kf, file, "name", 63, &id->name, error)
	    || !get_text(kf, file, "fqdn", 255, &id->fqdn, error)
	    || !get_number(kf, file, "port", 1, 65533, &port, error)
	    || !get_addr(kf, file, "addr", (guint16)port, &id->addr, error)
	    || !get_number(kf, file, "bandwidth", 1, G_MAXUINT32, &bandwidth, error)
	    || !get_number(kf, file, "offered", 0, G_MAXINT64, &id->offered, error)
	    || !get_number(kf, file, "copies", 1, 8, &copies, error)
	    || !get_hex(kf, file, "psk", id->psk, sizeof id->psk, error)
	    || !get_pending(kf, file, id, error))
		return NULL;
	id->addr.port = (guint16)port;
	id->bandwidth = (guint32)bandwidth;
	id->copies = (guint16)copies;
	network = g_key_file_get_string(kf, GROUP, "network", NULL);
	if (network) {
		guint8 raw[16];
		if (!get_hex(kf, file, "network", raw, sizeof raw, error))
			return NULL;
		g_strlcpy(id->network, network, sizeof id->network);
	}
	return g_steal_pointer(&id);
}

char *identity_format(const Identity *id)
{
	g_autoptr(GKeyFile) kf = g_key_file_new();
	char addr[MAGMA_ADDR_TEXT];

	g_key_file_set_comment(kf, NULL, NULL, " Written by magmad. Keep it secret: whoever reads the psk is in the network.", NULL);
	g_key_file_set_uint64(kf, "store", "format", DISKSTORE_FORMAT);
	g_key_file_set_string(kf, GROUP, "name", id->name);
	g_key_file_set_string(kf, GROUP, "fqdn", id->fqdn);
	g_key_file_set_string(kf, GROUP, "addr", magma_addr_format_ip(&id->addr, addr));
	g_key_file_set_uint64(kf, GROUP, "port", id->addr.port);
	g_key_file_set_uint64(kf, GROUP, "bandwidth", id->bandwidth);
	g_key_file_set_uint64(kf, GROUP, "offered", id->offered);
	g_key_file_set_uint64(kf, GROUP, "copies", id->copies);
	if (id->network[0])
		g_key_file_set_string(kf, GROUP, "network", id->network);
	if (id->pending)
		g_key_file_set_string(kf, GROUP, "pending", id->bootstrap ? "bootstrap" : magma_addr_format(&id->join, addr));
	put_hex(kf, "psk", id->psk, sizeof id->psk);
	return g_key_file_to_data(kf, NULL, NULL);
}

static void set_errno(GError **error, const char *what, const char *path)
{
	int code = errno;

	g_set_error(error, MAGMA_ERROR, code, "%s%s: %s", what, path, g_strerror(code));
}

Identity *identity_load(const char *dir, GError **error)
{
	g_autofree char *file = g_build_filename(dir, CONF, NULL);
	g_autofree char *text = g_malloc(IDENTITY_MAX);
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st) < 0) {
		set_errno(error, "", file);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	gssize n = read(fd, text, IDENTITY_MAX);
	int code = errno;
	close(fd);
	if (n < 0) {
		errno = code;
		set_errno(error, "", file);
		return NULL;
	}
	if (st.st_mode & 077) {
		g_set_error(error, MAGMA_ERROR, EACCES, "%s: others may read it, and it holds the derived key; chmod 600 it", file);
		return NULL;
	}
	Identity *id = identity_parse(file, text, n, error);
	explicit_bzero(text, n);
	return id;
}

static gboolean write_whole(int fd, const char *text, gsize len)
{
	while (len) {
		gssize n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return FALSE;
		text += n;
		len -= n;
	}
	return fsync(fd) == 0;
}

static gboolean sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return FALSE;
	gboolean ok = fsync(fd) == 0;
	close(fd);
	return ok;
}

gboolean identity_save(const Identity *id, const char *dir, GError **error)
{
	g_autofree char *file = g_build_filename(dir, CONF, NULL);
	g_autofree char *temp = g_build_filename(dir, CONF ".new", NULL);
	g_autofree char *text = identity_format(id);
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	gboolean ok = fd >= 0 && fchmod(fd, 0600) == 0 && write_whole(fd, text, strlen(text));

	explicit_bzero(text, strlen(text));
	if (fd >= 0 && close(fd) < 0)
		ok = FALSE;
	ok = ok && rename(temp, file) == 0 && sync_dir(dir);
	if (!ok) {
		set_errno(error, "cannot write ", file);
		unlink(temp);
	}
	return ok;
}

static gboolean is_empty_dir(const char *path)
{
	g_auto(GStrv) names = magma_folder_names(path, NULL);

	return names && !names[0];
}

/* A first start that was cut off before it wrote who it is has left the layout of an empty store at most: no more than nothing. */
static FolderState name_means(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	g_autoptr(GKeyFile) kf = g_key_file_new();

	if (g_str_equal(name, CONF))
		return g_key_file_load_from_file(kf, path, G_KEY_FILE_NONE, NULL) && !g_key_file_has_group(kf, GROUP) ? FOLDER_EMPTY : FOLDER_VOLCANO;
	if (g_str_equal(name, "lock") || g_str_equal(name, "lost+found") || g_str_equal(name, CONF ".new") || g_str_has_prefix(name, "state.db") || g_str_has_prefix(name, "lava.db"))
		return FOLDER_EMPTY;
	if (g_str_equal(name, "journal") || g_str_equal(name, "content"))
		return is_empty_dir(path) ? FOLDER_EMPTY : FOLDER_FOREIGN;
	return FOLDER_FOREIGN;
}

FolderState folder_look(const char *dir, GError **error)
{
	FolderState state = FOLDER_EMPTY;
	struct stat st;

	if (stat(dir, &st) < 0 && errno == ENOENT)
		return FOLDER_MISSING;
	g_auto(GStrv) names = magma_folder_names(dir, error);
	if (!names)
		return FOLDER_ERROR;
	for (guint i = 0; names[i] && state != FOLDER_VOLCANO; i++) {
		FolderState s = name_means(dir, names[i]);
		state = s == FOLDER_EMPTY ? state : s;
	}
	return state;
}

void folder_prepare(const char *dir)
{
	g_autofree char *file = g_build_filename(dir, CONF, NULL);

	unlink(file);
}

static gboolean has(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	return access(path, F_OK) == 0;
}

/* What a start that was cut off has begun to set aside: it is no store yet. */
static char *aside_begun(const char *all)
{
	g_auto(GStrv) names = magma_folder_names(all, NULL);
	guint64 time;

	for (guint i = 0; names && names[i]; i++) {
		g_autofree char *path = g_build_filename(all, names[i], NULL);
		if (magma_conflict_time_parse(names[i], &time) && !has(path, CONF))
			return g_steal_pointer(&path);
	}
	return NULL;
}

static char *aside_new(const char *all)
{
	g_autofree char *path = NULL;
	gint64 time = g_get_real_time() / G_USEC_PER_SEC;

	do {
		g_autoptr(GDateTime) at = g_date_time_new_from_unix_utc(time++);
		g_autofree char *name = g_date_time_format(at, "%Y%m%dT%H%M%SZ");
		g_free(path);
		path = g_build_filename(all, name, NULL);
	} while (access(path, F_OK) == 0);
	return g_steal_pointer(&path);
}

static gboolean move_to(const char *dir, const char *to, const char *name)
{
	g_autofree char *was = g_build_filename(dir, name, NULL), *is = g_build_filename(to, name, NULL);

	return rename(was, is) == 0 || errno == ENOENT;
}

char *folder_aside_left(const char *dir)
{
	g_autofree char *all = g_build_filename(dir, "conflicts", NULL), *to = aside_begun(all);

	return to && has(to, "state.db") ? g_steal_pointer(&to) : NULL;
}

char *folder_set_aside(const char *dir, GError **error)
{
	static const char *const stores[] = { "journal", "content", "slices", "state.db-wal", "state.db-shm", "state.db-journal" };
	g_autofree char *all = g_build_filename(dir, "conflicts", NULL), *begun = aside_begun(all), *to = begun ? g_strdup(begun) : aside_new(all);

	/* Moved last: where it is, what is in dir under the other names is of a new store. */
	if (begun && has(to, "state.db"))
		return g_steal_pointer(&to);
	gboolean ok = g_mkdir_with_parents(to, 0700) == 0;
	for (guint i = 0; ok && i < G_N_ELEMENTS(stores); i++)
		ok = move_to(dir, to, stores[i]);
	if (ok && sync_dir(to) && sync_dir(all) && sync_dir(dir) && move_to(dir, to, "state.db") && sync_dir(to) && sync_dir(dir))
		return g_steal_pointer(&to);
	set_errno(error, "cannot move the stores into ", to);
	return NULL;
}

/* Everything below path; never across a symbolic link. */
static void remove_tree(const char *path, const int *stop)
{
	struct stat st;

	if ((stop && g_atomic_int_get(stop)) || lstat(path, &st) < 0)
		return;
	if (!S_ISDIR(st.st_mode)) {
		unlink(path);
		return;
	}
	g_autoptr(GDir) d = g_dir_open(path, 0, NULL);
	for (const char *name; d && (name = g_dir_read_name(d));) {
		g_autofree char *child = g_build_filename(path, name, NULL);
		remove_tree(child, stop);
	}
	rmdir(path);
}

void folder_remove(const char *path, const int *stop) { remove_tree(path, stop); }

char *folder_first_missing(const char *dir)
{
	g_autofree char *path = g_strdup(dir), *missing = NULL;

	while (access(path, F_OK) < 0 && errno == ENOENT && !g_str_equal(path, "/")) {
		char *up = g_path_get_dirname(path);
		g_free(missing);
		missing = path;
		path = up;
	}
	return g_steal_pointer(&missing);
}

void folder_undo(const char *dir, const char *first_missing)
{
	static const char *const ours[] = { "reserve", "journal", "content", "state.db", "state.db-wal", "state.db-shm", "state.db-journal", "lava.db", "lava.db-wal", "lava.db-shm", "lava.db-journal", "lava.db-reserve", "slices", CONF ".new", CONF, "lock" };
	g_autofree char *path = g_strdup(dir);

	for (guint i = 0; i < G_N_ELEMENTS(ours); i++) {
		g_autofree char *child = g_build_filename(dir, ours[i], NULL);
		remove_tree(child, NULL);
	}
	while (first_missing && rmdir(path) == 0 && !g_str_equal(path, first_missing)) {
		char *up = g_path_get_dirname(path);
		g_free(path);
		path = up;
	}
}
