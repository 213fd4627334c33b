#include "magmad/config.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_MAX (256 * 1024)       /* a row per option: a file of this size is some other file */

static int id_by_key(const char *key)
{
	for (guint i = 0; i < OPT_COUNT; i++)
		if (!OPTIONS[i].line_only && g_str_equal(OPTIONS[i].key, key))
			return i;
	return -1;
}

static gboolean set_key(Options *o, GKeyFile *kf, const char *file, const char *key, GError **error)
{
	int id = id_by_key(key);
	g_autofree char *where = g_strdup_printf("%s: %s =", file, key);

	if (id < 0) {
		g_set_error(error, MAGMA_ERROR, EINVAL, "%s: unknown key '%s' in [magmad]; magmad --help lists them as long options", file, key);
		return FALSE;
	}
	g_autoptr(GError) e = NULL;
	char *text = g_key_file_get_string(kf, "magmad", key, &e);
	if (!text) {
		g_set_error(error, MAGMA_ERROR, EINVAL, "%s %s", where, e->message);
		return FALSE;
	}
	gboolean ok = options_set(o, id, text, OPTION_FILE, where, error);
	options_wipe(text);
	return ok;
}

gboolean config_parse(Options *o, const char *file, const char *text, gsize len, GError **error)
{
	g_autoptr(GKeyFile) kf = g_key_file_new();
	g_autoptr(GError) e = NULL;

	if (len && !g_key_file_load_from_data(kf, text, len, G_KEY_FILE_NONE, &e)) {
		/* GLib quotes the bad line, which may be that of the key */
		g_set_error(error, MAGMA_ERROR, EINVAL, "%s: is not a configuration file: [magmad] and lines of KEY=VALUE are expected", file);
		return FALSE;
	}
	g_auto(GStrv) groups = g_key_file_get_groups(kf, NULL);
	for (char **g = groups; *g; g++)
		if (!g_str_equal(*g, "magmad")) {
			g_set_error(error, MAGMA_ERROR, EINVAL, "%s: unknown group [%s]; all keys stand in [magmad]", file, *g);
			return FALSE;
		}
	g_auto(GStrv) keys = g_key_file_get_keys(kf, "magmad", NULL, NULL);
	for (char **k = keys; k && *k; k++)
		if (!set_key(o, kf, file, *k, error))
			return FALSE;
	return TRUE;
}

static gboolean fail(const char *file, const char *text, int code, GError **error)
{
	g_set_error(error, MAGMA_ERROR, code, "configuration file %s: %s", file, text);
	return FALSE;
}

/* The whole file in *text, NUL behind it. */
static gboolean read_file(int fd, const char *file, char **text, gsize *len, GError **error)
{
	g_autofree char *buf = g_malloc(CONFIG_MAX + 1);
	gsize have = 0;

	while (have < CONFIG_MAX) {
		gssize n = read(fd, buf + have, CONFIG_MAX - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(file, g_strerror(errno), errno, error);
		if (n == 0)
			break;
		have += n;
	}
	if (have == CONFIG_MAX)
		return fail(file, "is too long", EFBIG, error);
	buf[have] = '\0';
	*text = g_steal_pointer(&buf);
	*len = have;
	return TRUE;
}

static gboolean load_fd(Options *o, int fd, const char *file, GError **error)
{
	g_autofree char *text = NULL;
	gsize len = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(file, g_strerror(errno), errno, error);
	if (!S_ISREG(st.st_mode))
		return fail(file, "is not a regular file", EINVAL, error);
	if (!read_file(fd, file, &text, &len, error))
		return FALSE;
	gboolean ok = config_parse(o, file, text, len, error);
	explicit_bzero(text, len);
	if (ok && o->v[OPT_KEY].from == OPTION_FILE && (st.st_mode & 077))
		return fail(file, "holds the secret key and others may read it; chmod 600 it", EACCES, error);
	return ok;
}

gboolean config_load(Options *o, GError **error)
{
	const char *file = options_given(o, OPT_CONFIG) ? options_text(o, OPT_CONFIG) : OPTIONS_CONFIG;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return (errno == ENOENT && !options_given(o, OPT_CONFIG)) || fail(file, g_strerror(errno), errno, error);
	gboolean ok = load_fd(o, fd, file, error);
	close(fd);
	return ok;
}
