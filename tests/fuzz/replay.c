/* Runs a fuzz target over files: those given, all in the folders given, or, without arguments, in $srcdir/tests/fuzz/corpus/<target>.
 * A corpus without a file is a failure. */
#include "tests/fuzz/fuzz.h"
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An input in a block of exactly its size, so that ASan sees any read behind it. */
static gboolean replay_file(const char *path)
{
	g_autofree char *bytes = NULL;
	g_autoptr(GError) e = NULL;
	gsize n;

	if (!g_file_get_contents(path, &bytes, &n, &e)) {
		fprintf(stderr, "%s\n", e->message);
		return FALSE;
	}
	uint8_t *exact = malloc(n ? n : 1);
	if (!exact)
		abort();
	memcpy(exact, bytes, n);
	/* Before, so that the last line of a crash names its input. */
	printf("%s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return TRUE;
}

static gboolean replay(const char *path, guint *count)
{
	g_autoptr(GError) e = NULL;
	g_autoptr(GDir) dir = NULL;
	const char *name;

	if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
		++*count;
		return replay_file(path);
	}
	if (!(dir = g_dir_open(path, 0, &e))) {
		fprintf(stderr, "%s\n", e->message);
		return FALSE;
	}
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *inner = g_build_filename(path, name, NULL);
		if (!replay(inner, count))
			return FALSE;
	}
	return TRUE;
}

/* "lt-fuzz_codec" (libtool's copy) or "fuzz_codec": codec. */
static char *own_corpus(const char *program)
{
	g_autofree char *base = g_path_get_basename(program);
	const char *src = getenv("srcdir"), *name = base;

	if (g_str_has_prefix(name, "lt-"))
		name += 3;
	if (g_str_has_prefix(name, "fuzz_"))
		name += 5;
	return g_build_filename(src ? src : ".", "tests", "fuzz", "corpus", name, NULL);
}

int main(int argc, char **argv)
{
	g_autofree char *own = own_corpus(argv[0]);
	gboolean ok = TRUE;
	guint count = 0;

	if (argc < 2)
		ok = replay(own, &count);
	for (int i = 1; i < argc && ok; i++)
		ok = replay(argv[i], &count);
	printf("%u inputs\n", count);
	return ok && count ? 0 : 1;
}
