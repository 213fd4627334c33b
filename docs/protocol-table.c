/* protocol-table FILE...: brings the generated parts of docs/protocol.md and docs/magma.lua up to date with the table of operations. */
#include "docs/optable.h"
#include <stdio.h>

static gboolean update(const char *path)
{
	g_autofree char *text = NULL, *now = NULL;
	g_autoptr(GError) e = NULL;

	if (!g_file_get_contents(path, &text, NULL, &e)) {
		fprintf(stderr, "protocol-table: %s\n", e->message);
		return FALSE;
	}
	now = g_str_has_suffix(path, ".lua") ? optable_update_lua(text) : optable_update(text);
	if (!now) {
		fprintf(stderr, "protocol-table: %s: a marker line is missing\n", path);
		return FALSE;
	}
	if (!g_file_set_contents(path, now, -1, &e)) {
		fprintf(stderr, "protocol-table: %s\n", e->message);
		return FALSE;
	}
	return TRUE;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: protocol-table FILE...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++)
		if (!update(argv[i]))
			return 1;
	return 0;
}
