#include "libmagma/client/path.h"
#include "libmagma/base/err.h"
#include "libmagma/flare/flare.h"
#include <errno.h>
#include <string.h>

static char *refuse(GError **error, int code, const char *path, const char *why)
{
	g_set_error(error, MAGMA_ERROR, code, "%s: %s", *path ? path : "(empty path)", why);
	return NULL;
}

char *magma_path_normalise(const char *path, GError **error)
{
	g_autoptr(GString) out = g_string_new(NULL);

	if (*path != '/')
		return refuse(error, EINVAL, path, "not an absolute path inside Magma");
	for (const char *p = path; *p;) {
		gsize skip = strspn(p, "/"), len = strcspn(p + skip, "/");
		const char *name = p + skip;
		p = name + len;
		if (len == 0 || (len == 1 && name[0] == '.'))
			continue;
		if (len == 2 && name[0] == '.' && name[1] == '.')
			return refuse(error, EINVAL, path, "\"..\" cannot be followed here; give the path without it");
		if (len > MAGMA_NAME_MAX)
			return refuse(error, ENAMETOOLONG, path, g_strerror(ENAMETOOLONG));
		g_string_append_c(out, '/');
		g_string_append_len(out, name, (gssize)len);
	}
	if (out->len > MAGMA_PATH_MAX)
		return refuse(error, ENAMETOOLONG, path, g_strerror(ENAMETOOLONG));
	if (out->len == 0)
		g_string_append_c(out, '/');
	return g_string_free(g_steal_pointer(&out), FALSE);
}
