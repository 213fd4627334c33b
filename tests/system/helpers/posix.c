/* posix DIR [FILTER...]: every operation of a file system, tried in DIR. It holds on any good local file system, which is how it is tested itself. */
#include "tests/system/helpers/tap.h"
#include <stdio.h>

extern const TapCheck names_checks[], attrs_checks[], io_checks[], dirs_checks[], perm_checks[];

int main(int argc, char **argv)
{
	static const TapCheck *const tables[] = { names_checks, attrs_checks, io_checks, dirs_checks, perm_checks, NULL };
	if (argc < 2) {
		fprintf(stderr, "usage: posix DIR [FILTER...]\n");
		return 2;
	}
	return tap_main(argv[1], (const char *const *)argv + 2, tables);
}
