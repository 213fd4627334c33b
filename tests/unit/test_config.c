/* What magmad reads from files: its configuration, and the identity in a storage folder; what a folder counts as; and the timers of the shell. */
#include "magmad/config.h"
#include "magmad/identity.h"
#include "magmad/notify.h"
#include "magmad/timers.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the configuration ---- */

static void a_wrong_file_names_itself_and_the_key(void)
{
	static const struct { const char *text, *said; } rows[] = {
		{ "", NULL },
		{ "# nothing\n", NULL },
		{ "[magmad]\n", NULL },
		{ "[magmad]\nport=13000\n", NULL },
		{ "[magmad]\nport=0\n", "f: port = 0: the flare port must be a number from 1 to 65533" },
		{ "[magmad]\nport=\n", "f: port = : the flare port must be a number from 1 to 65533" },
		{ "[magmad]\ncopies=9\n", "f: copies = 9: the number of copies must be a number from 1 to 8" },
		{ "[magmad]\ndebug=fq\n", "f: debug = fq: there is no debug channel 'q'; the channels are BbcCdFfgJlMmnrsuVv" },
		{ "[magmad]\nbootstrap=maybe\n", "f: bootstrap = maybe: must be true or false" },
		{ "[magmad]\nprot=1\n", "f: unknown key 'prot' in [magmad]; magmad --help lists them as long options" },
		{ "[magmad]\nconfig=/etc/x\n", "f: unknown key 'config' in [magmad]; magmad --help lists them as long options" },
		{ "[magma]\nport=1\n", "f: unknown group [magma]; all keys stand in [magmad]" },
		{ "port=1\n", "f: is not a configuration file: [magmad] and lines of KEY=VALUE are expected" },
		{ "[magmad]\nkey=topsecret\nrubbish\n", "f: is not a configuration file: [magmad] and lines of KEY=VALUE are expected" },
		{ "\x7f" "ELF", "f: is not a configuration file: [magmad] and lines of KEY=VALUE are expected" },
	};

	for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(Options) o = options_new();
		g_autoptr(GError) error = NULL;
		gboolean ok = config_parse(o, "f", rows[i].text, strlen(rows[i].text), &error);
		g_test_message("%s", rows[i].text);
		g_assert_cmpstr(error ? error->message : NULL, ==, rows[i].said);
		g_assert_cmpint(ok, ==, rows[i].said == NULL);
	}
}

static void the_command_line_wins_over_the_file(void)
{
	static const char text[] = "[magmad]\nport=13000\nname=gromit\ndebug=f\n";
	g_autoptr(Options) o = options_new();

	g_assert_true(options_set(o, OPT_PORT, "14000", OPTION_LINE, "-p", NULL));
	g_assert_true(config_parse(o, "f", text, strlen(text), NULL));
	g_assert_cmpuint(options_number(o, OPT_PORT), ==, 14000);
	g_assert_cmpstr(options_text(o, OPT_NAME), ==, "gromit");
	g_assert_cmpuint(options_number(o, OPT_COPIES), ==, 2);
}

typedef struct { char *dir; } Folder;

static char *in_folder(Folder *f, const char *name) { return g_build_filename(f->dir, name, NULL); }

static void folder_up(Folder *f, gconstpointer unused)
{
	f->dir = g_dir_make_tmp("magma-config-XXXXXX", NULL);
	g_assert_nonnull(f->dir);
}

static void folder_down(Folder *f, gconstpointer unused)
{
	static const char *const names[] = { "f", "volcano.conf", "precious", "lock" };

	for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = in_folder(f, names[i]);
		g_remove(path);
	}
	g_assert_cmpint(g_rmdir(f->dir), ==, 0);
	g_free(f->dir);
}

static void put(Folder *f, const char *name, const char *text, int mode)
{
	g_autofree char *path = in_folder(f, name);

	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	g_assert_cmpint(chmod(path, mode), ==, 0);
}

static gboolean load(Folder *f, const char *name, GError **error)
{
	g_autoptr(Options) o = options_new();
	g_autofree char *path = in_folder(f, name);

	g_assert_true(options_set(o, OPT_CONFIG, path, OPTION_LINE, "-c", NULL));
	return config_load(o, error);
}

static void a_file_with_the_key_is_its_owners_alone(Folder *f, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;

	put(f, "f", "[magmad]\nkey=s3cret\n", 0644);
	g_assert_false(load(f, "f", &error));
	g_assert_nonnull(strstr(error->message, "others may read it"));
	g_assert_null(strstr(error->message, "s3cret"));
	put(f, "f", "[magmad]\nkey=s3cret\n", 0600);
	g_assert_true(load(f, "f", NULL));
	put(f, "f", "[magmad]\nport=5\n", 0644);
	g_assert_true(load(f, "f", NULL));
}

static void a_file_that_was_asked_for_must_be_there(Folder *f, gconstpointer unused)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(load(f, "f", &error));
	g_assert_true(g_str_has_suffix(error->message, "/f: No such file or directory"));
}

/* ---- identity ---- */

static Identity *some_identity(void)
{
	Identity *id = identity_new();

	id->name = g_strdup("wallace");
	id->fqdn = g_strdup("wallace.intranet");
	g_assert_true(magma_addr_parse("[fe80::1]:13000", 0, &id->addr));
	id->bandwidth = 5;
	id->offered = G_GUINT64_CONSTANT(1) << 50;
	id->copies = 3;
	for (guint i = 0; i < sizeof id->psk; i++)
		id->psk[i] = (guint8)(i * 37);
	return id;
}

static void assert_same(const Identity *a, const Identity *b)
{
	g_assert_cmpstr(a->name, ==, b->name);
	g_assert_cmpstr(a->fqdn, ==, b->fqdn);
	g_assert_true(magma_addr_equal(&a->addr, &b->addr));
	g_assert_cmpuint(a->bandwidth, ==, b->bandwidth);
	g_assert_cmpuint(a->offered, ==, b->offered);
	g_assert_cmpuint(a->copies, ==, b->copies);
	g_assert_cmpint(a->pending, ==, b->pending);
	g_assert_cmpint(a->bootstrap, ==, b->bootstrap);
	g_assert_true(magma_addr_equal(&a->join, &b->join));
	g_assert_cmpstr(a->network, ==, b->network);
	g_assert_cmpmem(a->psk, sizeof a->psk, b->psk, sizeof b->psk);
}

static void an_identity_comes_back_as_it_was_kept(Folder *f, gconstpointer unused)
{
	g_autoptr(Identity) id = some_identity();
	g_autofree char *path = in_folder(f, "volcano.conf");
	struct stat st;

	for (guint i = 0; i < 3; i++) {
		id->pending = i > 0;
		id->bootstrap = i == 1;
		if (i == 2)
			g_assert_true(magma_addr_parse("192.168.1.20:12000", 0, &id->join));
		else
			g_strlcpy(id->network, "0123456789abcdef0123456789abcdef", sizeof id->network);
		g_assert_true(identity_save(id, f->dir, NULL));
		g_autoptr(Identity) back = identity_load(f->dir, NULL);
		g_assert_nonnull(back);
		assert_same(id, back);
	}
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 0777, ==, 0600);
	g_assert_cmpint(chmod(path, 0640), ==, 0);
	g_assert_null(identity_load(f->dir, NULL));
}

static void a_damaged_identity_names_the_key(void)
{
	static const char *const keys[] = { "name", "fqdn", "addr", "port", "bandwidth", "offered", "copies", "psk", "format" };
	g_autoptr(Identity) id = some_identity();
	g_autofree char *good = identity_format(id);

	for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autofree char *from = g_strdup_printf("\n%s=", keys[i]), *to = g_strdup_printf("\n%s=\x01", keys[i]);
		g_auto(GStrv) parts = g_strsplit(good, from, 2);
		g_assert_cmpuint(g_strv_length(parts), ==, 2);
		g_autofree char *bad = g_strjoinv(to, parts), *said = g_strdup_printf("v: the key '%s' is missing or damaged", keys[i]);
		g_autoptr(GError) error = NULL;
		g_assert_null(identity_parse("v", bad, strlen(bad), &error));
		g_assert_cmpstr(error->message, ==, said);
	}
}

static void a_folder_of_another_format_is_refused(void)
{
	g_autoptr(Identity) id = some_identity();
	g_autofree char *now = identity_format(id);
	g_auto(GStrv) parts = g_strsplit(now, "format=3", 2);
	g_autofree char *newer = g_strjoinv("format=7", parts), *older = g_strjoinv("format=1", parts);
	g_autoptr(GError) error = NULL;

	g_assert_null(identity_parse("v", newer, strlen(newer), &error));
	g_assert_cmpstr(error->message, ==, "v: the folder has format 7, this magmad knows 3: start a newer magmad");
	g_clear_error(&error);
	g_assert_null(identity_parse("v", older, strlen(older), &error));
	g_assert_cmpstr(error->message, ==, "v: the folder has format 1, this magmad knows 3: it was written by a version whose format is not read any more");
}

/* ---- folders ---- */

static void a_folder_counts_as_what_it_holds(Folder *f, gconstpointer unused)
{
	g_autoptr(Identity) id = some_identity();
	g_autofree char *none = in_folder(f, "none");

	g_assert_cmpint(folder_look(none, NULL), ==, FOLDER_MISSING);
	g_assert_cmpint(folder_look(f->dir, NULL), ==, FOLDER_EMPTY);
	put(f, "lock", "1\n", 0600);
	g_assert_cmpint(folder_look(f->dir, NULL), ==, FOLDER_EMPTY);
	put(f, "volcano.conf", "[store]\nformat=3\n", 0600);          /* a first start that was cut off */
	g_assert_cmpint(folder_look(f->dir, NULL), ==, FOLDER_EMPTY);
	put(f, "precious", "", 0600);
	g_assert_cmpint(folder_look(f->dir, NULL), ==, FOLDER_FOREIGN);
	g_assert_true(identity_save(id, f->dir, NULL));
	g_assert_cmpint(folder_look(f->dir, NULL), ==, FOLDER_VOLCANO);
	put(f, "volcano.conf", "rubbish", 0600);
	g_assert_cmpint(folder_look(f->dir, NULL), ==, FOLDER_VOLCANO);
}

static void undoing_a_first_start_leaves_what_was_there(Folder *f, gconstpointer unused)
{
	g_autofree char *deep = g_build_filename(f->dir, "a", "b", "c", NULL), *journal = g_build_filename(deep, "journal", NULL);
	g_autofree char *first = folder_first_missing(deep), *a = in_folder(f, "a"), *segment = g_build_filename(journal, "x", NULL);

	g_assert_cmpstr(first, ==, a);
	g_assert_cmpint(g_mkdir_with_parents(journal, 0700), ==, 0);
	g_assert_true(g_file_set_contents(segment, "x", 1, NULL));
	folder_undo(deep, first);
	g_assert_false(g_file_test(a, G_FILE_TEST_EXISTS));
	put(f, "precious", "", 0600);
	put(f, "volcano.conf", "", 0600);
	g_assert_null(folder_first_missing(f->dir));
	folder_undo(f->dir, NULL);
	g_autofree char *precious = in_folder(f, "precious"), *conf = in_folder(f, "volcano.conf");
	g_assert_true(g_file_test(precious, G_FILE_TEST_EXISTS));
	g_assert_false(g_file_test(conf, G_FILE_TEST_EXISTS));
}

/* ---- timers ---- */

typedef struct { Timers *timers; GString *order; guint victim; } Clockwork;
typedef struct { Clockwork *clockwork; char letter; } Tick;

static void tick(void *arg)
{
	Tick *t = arg;

	g_string_append_c(t->clockwork->order, t->letter);
	if (t->letter == 'b')
		timers_cancel(t->clockwork->timers, t->clockwork->victim);
}

static void timers_go_off_in_order_and_cancelled_ones_never(void)
{
	Clockwork c = { timers_new(NULL), g_string_new(""), 0 };
	Tick ticks[] = { { &c, 'a' }, { &c, 'b' }, { &c, 'c' }, { &c, 'd' }, { &c, 'e' } };

	timers_add(c.timers, 30000, tick, &ticks[4]);
	timers_add(c.timers, 10000, tick, &ticks[1]);
	timers_add(c.timers, 0, tick, &ticks[0]);
	c.victim = timers_add(c.timers, 20000, tick, &ticks[2]);
	timers_add(c.timers, 25000, tick, &ticks[3]);
	timers_cancel(c.timers, 12345);
	while (timers_pending(c.timers))
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpstr(c.order->str, ==, "abde");
	timers_add(c.timers, 0, tick, &ticks[0]);
	timers_free(c.timers);
	g_assert_false(g_main_context_iteration(NULL, FALSE));
	g_string_free(c.order, TRUE);
}

static void count(void *arg) { ++*(guint *)arg; }

static void a_heap_of_random_timers_empties(void)
{
	Timers *t = timers_new(NULL);
	guint handles[500], fired = 0, cancelled = 0;

	for (guint i = 0; i < G_N_ELEMENTS(handles); i++)
		handles[i] = timers_add(t, g_test_rand_int_range(0, 20000), count, &fired);
	for (guint i = 0; i < G_N_ELEMENTS(handles); i += g_test_rand_int_range(1, 4), cancelled++)
		timers_cancel(t, handles[i]);
	g_assert_cmpuint(timers_pending(t), ==, G_N_ELEMENTS(handles) - cancelled);
	while (timers_pending(t))
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpuint(fired, ==, G_N_ELEMENTS(handles) - cancelled);
	timers_free(t);
}

/* ---- readiness ---- */

static void assert_notified(const char *name, const struct sockaddr_un *at, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char got[64] = "";

	g_assert_cmpint(bind(fd, (const struct sockaddr *)at, len), ==, 0);
	g_assert_true(g_setenv("NOTIFY_SOCKET", name, TRUE));
	notify_send("READY=1\n");
	g_assert_cmpint(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), ==, 8);
	g_assert_cmpstr(got, ==, "READY=1\n");
	g_unsetenv("NOTIFY_SOCKET");
	notify_send("READY=1\n");
	g_assert_cmpint(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), ==, -1);
	close(fd);
}

static void systemd_is_told_by_path_and_by_abstract_name(Folder *f, gconstpointer unused)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	g_autofree char *path = in_folder(f, "f"), *name = g_strdup_printf("@magma-test-%d-%u", (int)getpid(), g_random_int());

	g_strlcpy(at.sun_path, path, sizeof at.sun_path);
	assert_notified(path, &at, sizeof at);
	memset(at.sun_path, 0, sizeof at.sun_path);
	memcpy(at.sun_path + 1, name + 1, strlen(name) - 1);
	assert_notified(name, &at, offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config/a_wrong_file_names_itself_and_the_key", a_wrong_file_names_itself_and_the_key);
	g_test_add_func("/config/the_command_line_wins_over_the_file", the_command_line_wins_over_the_file);
#define WITH_FOLDER(path, fn) g_test_add(path, Folder, NULL, folder_up, fn, folder_down)
	WITH_FOLDER("/config/a_file_with_the_key_is_its_owners_alone", a_file_with_the_key_is_its_owners_alone);
	WITH_FOLDER("/config/a_file_that_was_asked_for_must_be_there", a_file_that_was_asked_for_must_be_there);
	WITH_FOLDER("/identity/an_identity_comes_back_as_it_was_kept", an_identity_comes_back_as_it_was_kept);
	g_test_add_func("/identity/a_damaged_identity_names_the_key", a_damaged_identity_names_the_key);
	g_test_add_func("/identity/a_folder_of_another_format_is_refused", a_folder_of_another_format_is_refused);
	WITH_FOLDER("/identity/a_folder_counts_as_what_it_holds", a_folder_counts_as_what_it_holds);
	WITH_FOLDER("/identity/undoing_a_first_start_leaves_what_was_there", undoing_a_first_start_leaves_what_was_there);
	g_test_add_func("/timers/they_go_off_in_order_and_cancelled_ones_never", timers_go_off_in_order_and_cancelled_ones_never);
	g_test_add_func("/timers/a_heap_of_random_timers_empties", a_heap_of_random_timers_empties);
	WITH_FOLDER("/notify/systemd_is_told_by_path_and_by_abstract_name", systemd_is_told_by_path_and_by_abstract_name);
	return g_test_run();
}
