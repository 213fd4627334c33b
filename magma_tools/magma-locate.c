/* magma-locate: which volcano holds a path. Asks the network as a client, or a mount by its virtual extended attribute. */
#include "magma_tools/tool.h"
#include "libmagma/base/err.h"
#include "libmagma/client/locate.h"
#include "libmagma/client/path.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

/* Key, ino, a nickname, an address, and the nicknames of mirrors. */
#define TEXT_MAX 4096

static const ToolSpec spec = {
	.name = "magma-locate", .args = "MOUNTPOINT|HOST[:PORT] PATH...", .min_args = 2, .network = TRUE,
	.summary = "Says for each PATH, an absolute path inside Magma, its key at birth, its ino, the volcano that owns it with its\n"
		"address. With HOST it asks the network, needs the secret key, and also says (in brackets) the mirrors that are in sync.",
};

static gboolean print(const char *text, const char *path)
{
	return printf("%s  %s\n", text, path) > 0;
}

/* path is normalised: it begins with '/'. 0 or an errno. */
static int locate_in_mount(const char *mountpoint, const char *path)
{
	g_autofree char *full = g_strconcat(mountpoint, path, NULL);
	char text[TEXT_MAX + 1];
	ssize_t n = lgetxattr(full, MAGMA_LOCATE_XATTR, text, TEXT_MAX);

	if (n < 0)
		return errno;
	text[n] = '\0';
	print(g_strchomp(text), path);
	return 0;
}

static int locate_in_network(MagmaClient *c, const char *path)
{
	MagmaAttr attr;
	int error = magma_client_resolve_sync(c, path, NULL, &attr, NULL);

	if (error)
		return error;
	g_autofree char *text = magma_locate_text(magma_client_map(c), &attr.fid);
	print(text, path);
	return 0;
}

static const char *say_why(int error, gboolean mounted)
{
	return mounted && (error == EOPNOTSUPP || error == ENODATA) ? "not in a Magma mount" : magma_strerror(error);
}

int main(int argc, char **argv)
{
	int status = EXIT_OK;
	g_auto(GStrv) args = tool_parse(&spec, argc, argv, &status);

	if (!args)
		return status;
	gboolean mounted = g_file_test(args[0], G_FILE_TEST_IS_DIR);
	if (!mounted && strchr(args[0], '/'))
		return tool_fail(&spec, EXIT_FAILED, "%s: no such directory", args[0]);
	MagmaClient *c = mounted ? NULL : tool_client(&spec, args[0], FALSE, &status);
	if (!mounted && !c)
		return status;
	for (char **p = args + 1; *p; p++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *path = magma_path_normalise(*p, &error);
		if (!path) {
			status = tool_usage(&spec, "%s", error->message);
			continue;
		}
		int err = mounted ? locate_in_mount(args[0], path) : locate_in_network(c, path);
		g_autofree char *why = err == EIO && c ? magma_client_why_sync(c) : NULL;
		if (err)
			status = tool_fail(&spec, EXIT_FAILED, "%s: %s", path, why ? why : say_why(err, mounted));
	}
	magma_client_free(c);
	if (fflush(stdout) == EOF)
		return tool_fail(&spec, EXIT_FAILED, "standard output: write error");
	return status;
}
