#include "magmad/console/path.h"
#include "libmagma/flare/flare.h"
#include <string.h>

static void append_parts(GString *out, const char *p)
{
	while (*p) {
		gsize n = strcspn(p, "/");
		if (n == 2 && memcmp(p, "..", 2) == 0) {
			char *slash = strrchr(out->str, '/');
			g_string_truncate(out, slash ? (gsize)(slash - out->str) : 0);
		} else if (n > 0 && !(n == 1 && *p == '.')) {
			g_string_append_c(out, '/');
			g_string_append_len(out, p, n);
		}
		p += n;
		p += *p == '/';
	}
}

char *path_join(const char *cwd, const char *typed)
{
	g_autoptr(GString) out = g_string_new("");

	if (typed[0] != '/')
		append_parts(out, cwd);
	append_parts(out, typed);
	if (out->len == 0)
		g_string_append_c(out, '/');
	return out->len > MAGMA_PATH_MAX ? NULL : g_string_free(g_steal_pointer(&out), FALSE);
}

char *path_parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash != path ? g_strndup(path, slash - path) : g_strdup("/");
}

const char *path_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
