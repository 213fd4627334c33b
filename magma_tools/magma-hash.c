/* magma-hash: the key of a path. */
#include "magma_tools/tool.h"
#include "libmagma/client/path.h"
#include <stdio.h>
#include <string.h>

static const ToolSpec spec = {
	.name = "magma-hash", .args = "PATH...", .min_args = 1,
	.summary = "Prints the key (SHA-1) that a flare created at PATH, an absolute path inside Magma, has for life.",
};

int main(int argc, char **argv)
{
	int status;
	g_auto(GStrv) paths = tool_parse(&spec, argc, argv, &status);
	g_autoptr(GString) out = g_string_new(NULL);

	if (!paths)
		return status;
	for (char **p = paths; *p; p++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *path = magma_path_normalise(*p, &error);
		char hex[MAGMA_KEY_HEX];
		if (!path)
			return tool_usage(&spec, "%s", error->message);
		MagmaKey key = magma_key_of_path(path, strlen(path));
		g_string_append_printf(out, "%s  %s\n", magma_key_to_hex(&key, hex), path);
	}
	if (fputs(out->str, stdout) == EOF || fflush(stdout) == EOF)
		return tool_fail(&spec, EXIT_FAILED, "standard output: write error");
	return EXIT_OK;
}
