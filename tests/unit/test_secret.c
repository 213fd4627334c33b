/* Secrets stay out of sight, and files that others can read are refused; paths are folded before they become keys; locate's line. */
#include "libmagma/client/locate.h"
#include "libmagma/client/path.h"
#include "libmagma/client/secret.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *file_with(const char *content, gsize n, int mode)
{
	char *path = NULL;
	int fd = g_file_open_tmp("magma-secret-XXXXXX", &path, NULL);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(write(fd, content, n), ==, (gssize)n);
	g_assert_cmpint(fchmod(fd, (mode_t)mode), ==, 0);
	close(fd);
	return path;
}

static void read_file(const char *content, gsize n, int mode, const char *expect, int code)
{
	g_autofree char *path = file_with(content, n, mode);
	g_autoptr(GError) error = NULL;
	char *secret = NULL;

	gboolean ok = magma_secret_from_file(path, &secret, &error);
	g_unlink(path);
	if (code) {
		g_assert_false(ok);
		g_assert_error(error, MAGMA_ERROR, code);
		g_assert_nonnull(strstr(error->message, path));
		g_assert_null(secret);
		return;
	}
	g_assert_no_error(error);
	g_assert_cmpstr(secret, ==, expect);
	magma_secret_free(secret);
}

static void test_file(void)
{
	g_autofree char *huge = g_strnfill(2000, 'x');
	g_autofree char *most = g_strnfill(MAGMA_SECRET_MAX, 'y');
	g_autofree char *most_nl = g_strconcat(most, "\n", NULL);

	read_file("m4gm4\n", 6, 0600, "m4gm4", 0);
	read_file("m4gm4\n\n", 7, 0400, "m4gm4\n", 0);
	read_file("m4gm4", 5, 0600, "m4gm4", 0);
	read_file(most_nl, MAGMA_SECRET_MAX + 1, 0600, most, 0);
	read_file("m4gm4", 5, 0640, NULL, EACCES);
	read_file("m4gm4", 5, 0604, NULL, EACCES);
	read_file("m4gm4", 5, 0610, NULL, EACCES);
	read_file("", 0, 0600, NULL, EBADMSG);
	read_file("\n", 1, 0600, NULL, EBADMSG);
	read_file("a\0b", 3, 0600, NULL, EBADMSG);
	read_file(huge, 2000, 0600, NULL, EBADMSG);
	read_file(huge, MAGMA_SECRET_MAX + 1, 0600, NULL, EBADMSG);

	g_autoptr(GError) error = NULL;
	char *secret = NULL;
	g_assert_false(magma_secret_from_file("/nowhere/at/all", &secret, &error));
	g_assert_error(error, MAGMA_ERROR, ENOENT);
}

static void test_arguments(void)
{
	char a0[] = "prog", a1[] = "-k", a2[] = "s3cret", a3[] = "-fks3cret", a4[] = "--key=s3cret", a5[] = "ro,key=s3cret,user", a6[] = "/path/s3cret", a7[] = "-o";
	char *argv[] = { a0, a1, a2, a3, a4, a5, a6, a7, NULL };

	magma_secret_wipe_argv(8, argv, "s3cret");
	g_assert_cmpstr(a2, ==, "******");
	g_assert_cmpstr(a3, ==, "-fk******");
	g_assert_cmpstr(a4, ==, "--key=******");
	g_assert_cmpstr(a5, ==, "ro,key=******,user");
	g_assert_cmpstr(a6, ==, "/path/s3cret");
	char taken[] = "other";
	char *copy = magma_secret_take_arg(taken);
	g_assert_cmpstr(copy, ==, "other");
	g_assert_cmpstr(taken, ==, "*****");
	magma_secret_free(copy);
	magma_secret_wipe_argv(8, argv, "");
	magma_secret_wipe_argv(8, argv, NULL);
}

static void test_choice(void)
{
	g_autoptr(GError) both = NULL, none = NULL, empty = NULL;
	char *secret = NULL;

	g_setenv("MAGMA_KEY", "from-env", TRUE);
	g_assert_true(magma_secret_choose(g_strdup("from-arg"), NULL, &secret, NULL));
	g_assert_cmpstr(secret, ==, "from-arg");
	magma_secret_free(secret);
	g_assert_false(magma_secret_choose(g_strdup("x"), "/file", &secret, &both));
	g_assert_error(both, MAGMA_ERROR, EINVAL);
	g_assert_true(magma_secret_choose(NULL, NULL, &secret, NULL));
	g_assert_cmpstr(secret, ==, "from-env");
	magma_secret_free(secret);
	g_assert_null(g_getenv("MAGMA_KEY"));
	g_assert_false(magma_secret_choose(NULL, NULL, &secret, &none));
	g_assert_error(none, MAGMA_ERROR, EINVAL);
	g_assert_false(magma_secret_choose(g_strdup(""), NULL, &secret, &empty));
	g_assert_error(empty, MAGMA_ERROR, EINVAL);
	magma_secret_free(NULL);
}

static void test_paths(void)
{
	static const struct { const char *in, *out; } good[] = {
		{ "/", "/" }, { "//", "/" }, { "/.", "/" }, { "/a", "/a" }, { "/a/", "/a" }, { "//a///b/./c//", "/a/b/c" }, { "/...", "/..." }, { "/a/.b", "/a/.b" },
	};
	static const char *const bad[] = { "", "a", "./a", "/..", "/a/../b", "/a/.." };
	g_autofree char *name = g_strnfill(256, 'n');
	g_autofree char *long_name = g_strconcat("/", name, NULL);
	g_autoptr(GError) error = NULL;

	for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autofree char *out = magma_path_normalise(good[i].in, NULL);
		g_assert_cmpstr(out, ==, good[i].out);
	}
	for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_null(magma_path_normalise(bad[i], NULL));
	g_assert_null(magma_path_normalise(long_name, &error));
	g_assert_error(error, MAGMA_ERROR, ENAMETOOLONG);
}

static void test_locate_line(void)
{
	guint8 network[16] = { 1 };
	g_autoptr(MagmaMap) map = magma_map_new(network, 2);
	MagmaVolcano v = { .id = 1, .state = MAGMA_ACTIVE, .name = (char *)"wallace", .fqdn = (char *)"wallace.intranet" };
	MagmaFid fid = { magma_key_of_path("/example", 8), 42 };

	magma_addr_parse("192.168.1.20:12000", 0, &v.addr);
	magma_map_add(map, &v);
	magma_map_add_slice(map, &(MagmaSlice){ .id = 1, .range = { MAGMA_KEY_MIN, MAGMA_KEY_MAX }, .home = 1, .owner = 1, .epoch = 1 });
	map->coordinator = 1;
	g_assert_cmpstr(magma_map_seal(map), ==, NULL);
	g_autofree char *one = magma_locate_text(map, &fid);
	g_assert_cmpstr(one, ==, "81f762fd59d88768b06b8e9de56aef8a95962045  42  wallace 192.168.1.20:12000 (1 copy)");
	/* a second volcano keeps the second copy */
	MagmaSlice second = { .id = 2, .range.hi = MAGMA_KEY_MAX, .home = 2, .owner = 2, .epoch = 1, .ncopies = 1, .copies = { { 1, TRUE } } };
	MagmaSlice *first = (MagmaSlice *)magma_map_home(map, 1);
	first->range.hi = magma_range_middle(&first->range);
	first->ncopies = 1;
	first->copies[0].volcano = 2;
	MagmaVolcano w = { .id = 2, .state = MAGMA_ACTIVE, .name = (char *)"gromit", .fqdn = (char *)"gromit.intranet" };
	magma_addr_parse("192.168.1.21:12000", 0, &w.addr);
	g_assert_true(magma_key_next(&first->range.hi, &second.range.lo));
	magma_map_add(map, &w);
	magma_map_add_slice(map, &second);
	map->copies_kept = 2;
	g_assert_cmpstr(magma_map_seal(map), ==, NULL);
	g_autofree char *two = magma_locate_text(map, &fid);
	g_assert_cmpstr(two, ==, "81f762fd59d88768b06b8e9de56aef8a95962045  42  gromit 192.168.1.21:12000 (wallace)");
	/* a copy that is still being made is none */
	g_autofree char *half = magma_locate_text(map, &(MagmaFid){ MAGMA_KEY_MIN, 1 });
	g_assert_nonnull(strstr(half, "wallace 192.168.1.20:12000 (1 copy)"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/secret/file_others_can_read_is_refused", test_file);
	g_test_add_func("/secret/argv_shows_nothing", test_arguments);
	g_test_add_func("/secret/one_choice_out_of_three", test_choice);
	g_test_add_func("/path/folded_before_it_is_a_key", test_paths);
	g_test_add_func("/locate/line", test_locate_line);
	return g_test_run();
}
