/* protocol-table FILE: brings the generated parts of docs/protocol.md up to date with the table of operations. */
#include "docs/optable.h"
#include <stdio.h>

int main(int argc, char **argv)
{
	g_autofree char *text = NULL, *now = NULL;
	g_autoptr(GError) e = NULL;

	if (argc != 2) {
		fprintf(stderr, "usage: protocol-table FILE\n");
		return 2;
	}
	if (!g_file_get_contents(argv[1], &text, NULL, &e)) {
		fprintf(stderr, "protocol-table: %s\n", e->message);
		return 1;
	}
	if (!(now = optable_update(text))) {
		fprintf(stderr, "protocol-table: %s: a marker line is missing\n", argv[1]);
		return 1;
	}
	if (!g_file_set_contents(argv[1], now, -1, &e)) {
		fprintf(stderr, "protocol-table: %s\n", e->message);
		return 1;
	}
	return 0;
}
