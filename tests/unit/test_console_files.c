/* The console over a real volcano, in one process and one loop: files are made by a client, and looked at by an operator. */
#include "tests/unit/console_kit.h"
#include "magmad/console/session.h"
#include "magmad/identity.h"
#include "magmad/shell.h"
#include "magmad/store/diskstore.h"
#include "libmagma/client/client.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIG (5u << 20)                /* several times what a session may queue */
#define MANY 700                      /* entries: several batches of READDIR */

typedef struct {
	char *dir;
	Identity *id;
	Store *store;
	Slices *slices;
	Conflicts *conflicts;
	Keep *keep;
	Shell *shell;
	Console *console;
	MagmaClient *client;
	MagmaTrace trace;
	gboolean ready, stopped;
} Volcanic;

static Volcanic volcanic;

static void on_ready(void *user, const char *refusal)
{
	g_assert_cmpstr(refusal, ==, NULL);
	((Volcanic *)user)->ready = TRUE;
}

static void on_stop(void *user, const char *text) { ((Volcanic *)user)->stopped = TRUE; }
static void on_console_stop(void *user, const char *who) { ((Volcanic *)user)->stopped = TRUE; }

static void make_identity(Volcanic *v)
{
	v->id = identity_new();
	v->id->name = g_strdup("wallace");
	v->id->fqdn = g_strdup("wallace.intranet");
	v->id->addr = kit_address();
	v->id->bandwidth = 100000;
	v->id->offered = G_GUINT64_CONSTANT(1) << 30;
	v->id->copies = 2;
	v->id->bootstrap = v->id->pending = TRUE;
	g_assert_true(magma_psk_derive(KIT_SECRET, strlen(KIT_SECRET), v->id->psk));
}

static void up(Volcanic *v)
{
	ShellOps ops = { on_ready, on_stop, v };
	g_autoptr(GError) error = NULL;

	v->dir = g_dir_make_tmp("magma-console-XXXXXX", NULL);
	make_identity(v);
	g_assert_true(diskstore_create(v->dir, &error));
	DiskStoreConfig disk = { .dir = v->dir, .trace = &v->trace, .one_of_several = TRUE };
	v->store = diskstore_open(&disk, &error);
	g_assert_no_error(error);
	g_autoptr(GBytes) kept = NULL;
	v->slices = slices_new(&disk);
	v->conflicts = conflicts_new(&disk);
	v->keep = keep_open(v->dir, NULL, FALSE, &kept, &error);
	g_assert_no_error(error);
	g_assert_null(kept);
	v->shell = shell_new(NULL, v->id, v->store, v->slices, v->conflicts, v->keep, NULL, FALSE, &v->trace, &ops, &error);
	g_assert_no_error(error);
	ConsoleConfig cfg = { .volcano = shell_volcano(v->shell), .store = v->store, .trace = &v->trace, .name = "wallace", .flare = v->id->addr, .cache_bytes = 64 << 20,
		.stop = on_console_stop, .user = v };
	memcpy(cfg.psk, v->id->psk, sizeof cfg.psk);
	v->console = console_new(&cfg, &error);
	g_assert_no_error(error);
	shell_start(v->shell);
	kit_run_until(&v->ready);
	MagmaClientConfig client = { .hosts = &v->id->addr, .nhosts = 1, .no_wait = TRUE };
	memcpy(client.psk, v->id->psk, sizeof client.psk);
	v->client = magma_client_new(NULL, &client, &error);
	g_assert_no_error(error);
	g_assert_true(magma_client_start_sync(v->client, &error));
}

static void down(Volcanic *v)
{
	magma_client_free(v->client);
	console_free(v->console);
	shell_goodbye(v->shell);
	shell_free(v->shell);
	slices_free(v->slices);
	conflicts_free(v->conflicts);
	keep_close(v->keep);
	diskstore_close(v->store);
	folder_undo(v->dir, v->dir);
	g_assert_false(g_file_test(v->dir, G_FILE_TEST_EXISTS));
	identity_free(v->id);
	g_free(v->dir);
}

static MagmaFid fid_of(const char *path)
{
	MagmaAttr attr;
	MagmaFid parent;

	g_assert_cmpint(magma_client_resolve_sync(volcanic.client, path, NULL, &attr, &parent), ==, 0);
	return attr.fid;
}

static void make_dir(const char *parent, const char *name)
{
	struct magma_req_mkdir req = { .dir = fid_of(parent), .key = magma_key_of_child(parent, strlen(parent), name, strlen(name)), .mode = 0755, .name = MAGMA_BYTES_STR(name) };
	MagmaAny rep;

	g_assert_cmpint(magma_client_call_sync(volcanic.client, MAGMA_OP_mkdir, NULL, &req, &rep, NULL), ==, 0);
}

static void make_link(const char *parent, const char *name, const char *target)
{
	struct magma_req_symlink req = { .dir = fid_of(parent), .key = magma_key_of_child(parent, strlen(parent), name, strlen(name)), .name = MAGMA_BYTES_STR(name),
		.target = MAGMA_BYTES_STR(target) };
	MagmaAny rep;

	g_assert_cmpint(magma_client_call_sync(volcanic.client, MAGMA_OP_symlink, NULL, &req, &rep, NULL), ==, 0);
}

static void make_file(const char *parent, const char *name, const char *text, gsize len)
{
	struct magma_req_create req = { .dir = fid_of(parent), .key = magma_key_of_child(parent, strlen(parent), name, strlen(name)), .mode = 0644, .flags = O_RDWR,
		.name = MAGMA_BYTES_STR(name) };
	MagmaAny rep;

	g_assert_cmpint(magma_client_call_sync(volcanic.client, MAGMA_OP_create, NULL, &req, &rep, NULL), ==, 0);
	MagmaFid fid = rep.rep_create.attr.fid;
	magma_client_held(volcanic.client, &fid);
	for (gsize at = 0; at < len; at += MAGMA_DATA_MAX) {
		struct magma_req_write w = { .fid = fid, .offset = at, .data = MAGMA_BYTES(text + at, MIN(len - at, MAGMA_DATA_MAX)) };
		g_assert_cmpint(magma_client_call_sync(volcanic.client, MAGMA_OP_write, NULL, &w, &rep, NULL), ==, 0);
	}
	magma_client_unhold(volcanic.client, &fid);
}

static void give(const char *path, guint32 uid, guint32 gid)
{
	struct magma_req_setattr req = { .fid = fid_of(path), .mask = MAGMA_SET_UID | MAGMA_SET_GID, .uid = uid, .gid = gid };
	MagmaAny rep;

	g_assert_cmpint(magma_client_call_sync(volcanic.client, MAGMA_OP_setattr, NULL, &req, &rep, NULL), ==, 0);
}

/* What both talks below look at. */
static char *big;

static void make_files(void)
{
	g_autofree char *text = g_strnfill(1804, 'r');

	make_dir("/", "docs");
	make_file("/docs", "readme.txt", text, 1804);
	make_link("/docs", "latest", "readme.txt");
	give("/docs/readme.txt", 4000001, 4000002);
	make_file("/", "a b\033\n", "x", 1);
	make_file("/", "hello", "hello\nworld\n", 12);
	make_file("/", "bare", "\377no end", 7);
	make_file("/", "empty", "", 0);
	make_dir("/", "many");
	for (guint i = 0; i < MANY; i++) {
		g_autofree char *name = g_strdup_printf("file-%04u", i);
		make_link("/many", name, "x");
	}
	big = g_malloc(BIG);
	for (guint i = 0; i < BIG; i++)
		big[i] = (char)(i % 251 + i / 251);
	make_file("/", "big", big, BIG);
}

static Peer *logged_in(void)
{
	Peer *p = kit_connect(&volcanic.id->addr);

	kit_login(p);
	return p;
}

static void assert_says(Peer *p, const char *line, const char *text)
{
	g_autofree char *said = kit_ask(p, line);

	g_assert_cmpstr(said, ==, text);
}

static void ls_has_the_shape_operators_know(void)
{
	Peer *p = logged_in();

	assert_says(p, "ls /docs",
		"\n"
		"drwxr-xr-x     root     root           3 .\n"
		"-rw-r--r--  4000001  4000002        1804 readme.txt\n"
		"lrwxrwxrwx     root     root          10 latest -> readme.txt\n"
		"\n"
		" -- total entries: 3\n\n");
	assert_says(p, "ls /docs/latest", "\nlrwxrwxrwx     root     root          10 latest -> readme.txt\n\n -- total entries: 1\n\n");
	assert_says(p, "ls /nothing", "\n/nothing: No such file or directory\n\n");
	assert_says(p, "ls /docs/readme.txt/x", "\n/docs/readme.txt/x: Not a directory\n\n");
	g_autofree char *root = kit_ask(p, "ls");
	g_assert_nonnull(strstr(root, " a b\\033\\012\n"));
	g_assert_true(g_str_has_suffix(root, " -- total entries: 8\n\n"));
	kit_close(p);
}

static void a_long_directory_is_listed_whole(void)
{
	Peer *p = logged_in();
	g_autofree char *text = kit_ask(p, "ls /many"), *json = kit_ask(p, "ls /many -j");
	g_autoptr(JsonParser) parser = json_parser_new();

	g_assert_true(g_str_has_suffix(text, " -- total entries: 701\n\n"));
	g_assert_nonnull(strstr(text, " file-0699 -> x\n"));
	g_assert_true(json_parser_load_from_data(parser, json, -1, NULL));
	JsonObject *o = json_node_get_object(json_parser_get_root(parser));
	g_assert_true(json_object_get_boolean_member(o, "ok"));
	g_assert_cmpint(json_object_get_int_member(o, "total"), ==, MANY + 1);
	JsonArray *entries = json_object_get_array_member(o, "entries");
	g_assert_cmpuint(json_array_get_length(entries), ==, MANY + 1);
	g_assert_cmpstr(json_object_get_string_member(json_array_get_object_element(entries, 700), "target"), ==, "x");
	kit_close(p);
}

static void cd_and_pwd_go_by_the_directories_there_are(void)
{
	Peer *p = logged_in();

	assert_says(p, "cd docs", "");
	assert_says(p, "pwd", "\n/docs\n\n");
	assert_says(p, "cd readme.txt", "\n/docs/readme.txt: Not a directory\n\n");
	assert_says(p, "cd nowhere", "\n/docs/nowhere: No such file or directory\n\n");
	assert_says(p, "cd ..", "");
	assert_says(p, "pwd -j", "\n{\"ok\":true,\"path\":\"/\"}\n\n");
	kit_close(p);
}

static void cat_prints_what_is_there(void)
{
	Peer *p = logged_in();

	assert_says(p, "cat /hello", "\nhello\nworld\n\n");
	assert_says(p, "cat /empty", "\n\n");
	assert_says(p, "cat /hello -j", "\n{\"path\":\"/hello\",\"encoding\":\"base64\",\"data\":\"aGVsbG8Kd29ybGQK\",\"size\":12,\"errno\":0,\"ok\":true}\n\n");
	assert_says(p, "cat /docs", "\n/docs: Is a directory\n\n");
	assert_says(p, "cat /docs/latest", "\n/docs/latest: is a symbolic link: only regular files have contents\n\n");
	kit_send(p, "cat /bare\r\n", 11);
	g_free(kit_wait(p, "\377\377no end\r\n\r\nMAGMA"));
	g_assert_cmpuint(((Console *)volcanic.console)->sessions->len, >=, 1);
	kit_close(p);
}

/* As a terminal would undo what the wire did. */
static gsize decode(const char *p, gsize n, char *out)
{
	gsize len = 0;

	for (gsize i = 0; i < n; i++) {
		if (p[i] == '\r')
			continue;
		out[len++] = p[i];
		i += (guchar)p[i] == 255;
	}
	return len;
}

/* The file has CRs of its own; those are dropped on both sides. */
static void cat_streams_a_big_file_to_a_slow_reader_in_bounded_memory(void)
{
	Peer *p = logged_in();
	g_autofree char *got = g_malloc(3 * BIG), *want = g_malloc(BIG);
	gsize wanted = 0, from = p->in->len, most = 0;
	ConsoleSession *s = volcanic.console->sessions->pdata[volcanic.console->sessions->len - 1];

	for (gsize i = 0; i < BIG; i++)
		if (big[i] != '\r')
			want[wanted++] = big[i];
	kit_send(p, "cat /big\r\n", 10);
	for (gint64 since = g_get_monotonic_time(); g_get_monotonic_time() - since < G_USEC_PER_SEC / 4;) {
		g_main_context_iteration(NULL, FALSE);       /* nobody reads */
		most = MAX(most, s->out->len);
	}
	g_assert_cmpuint(most, >, SESSION_OUT_HIGH / 2);
	g_assert_cmpuint(most, <, 2 * SESSION_OUT_MAX);
	g_free(kit_wait(p, "\n\r\nMAGMA [wallace]:/> "));
	gsize len = decode(p->in->str + from, p->in->len - from, got);
	g_assert_cmpuint(len, >, wanted);
	g_assert_true(memcmp(got + 1, want, wanted) == 0);
	kit_close(p);
}

static void an_interrupt_ends_a_cat_and_the_prompt_comes_back(void)
{
	Peer *p = logged_in();

	kit_send(p, "cat /big\r\n", 10);
	for (guint i = 0; i < 50; i++)
		g_main_context_iteration(NULL, FALSE);
	kit_send(p, "\003", 1);
	g_free(kit_wait(p, "interrupted\r\n"));
	g_free(kit_wait(p, "> "));
	assert_says(p, "pwd", "\n/\n\n");
	g_assert_cmpuint(p->in->len, <, BIG);
	kit_close(p);
}

static void a_peer_that_goes_ends_its_cat(void)
{
	Peer *p = logged_in();
	struct linger abrupt = { 1, 0 };

	kit_send(p, "cat /big\r\n", 10);
	for (guint i = 0; i < 50; i++)
		g_main_context_iteration(NULL, FALSE);
	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
	kit_close(p);
	for (gint64 since = g_get_monotonic_time(); console_sessions(volcanic.console);) {
		g_assert_cmpint(g_get_monotonic_time() - since, <, 5 * G_USEC_PER_SEC);
		g_main_context_iteration(NULL, TRUE);
	}
}

static void inspect_says_what_a_flare_is_and_where(void)
{
	Peer *p = logged_in();
	MagmaFid file = fid_of("/docs/readme.txt");
	MagmaKey key = magma_key_of_path("/docs/readme.txt", 16), up = magma_key_of_path("/docs", 5);
	char key_hex[MAGMA_KEY_HEX], up_hex[MAGMA_KEY_HEX];
	g_autofree char *right = g_strdup_printf(
		"\n"
		"   flare: /docs/readme.txt (regular file, uid=4000001, gid=4000002, size=1804, ino=%" G_GUINT64_FORMAT ")\n"
		"          %s on wallace (1 copy)\n"
		"  parent: /docs (directory, uid=0, gid=0, entries=2)\n"
		"          %s on wallace (1 copy)\n\n", file.ino, magma_key_to_hex(&key, key_hex), magma_key_to_hex(&up, up_hex));

	assert_says(p, "inspect /docs/readme.txt", right);
	assert_says(p, "inspect /", "\n   flare: / (directory, uid=0, gid=0, entries=7, ino=1)\n          42099b4af021e53fd8fd4e056c2568d7c2e3ffa8 on wallace (1 copy)\n\n");
	g_autofree char *json = kit_ask(p, "inspect /docs/readme.txt -j");
	g_autoptr(JsonParser) parser = json_parser_new();
	g_assert_true(json_parser_load_from_data(parser, json, -1, NULL));
	JsonObject *o = json_node_get_object(json_parser_get_root(parser));
	g_assert_cmpstr(json_object_get_string_member(json_object_get_object_member(o, "flare"), "key"), ==, key_hex);
	g_assert_cmpstr(json_object_get_string_member(json_object_get_object_member(o, "parent"), "path"), ==, "/docs");
	kit_close(p);
}

static void erase_removes_files_and_empty_directories_only(void)
{
	Peer *p = logged_in();

	make_dir("/", "box");
	make_file("/box", "thing", "x", 1);
	assert_says(p, "erase /box", "\n/box: Directory not empty\n\n");
	assert_says(p, "erase /box/thing", "\n/box/thing is erased\n\n");
	assert_says(p, "erase /box/thing", "\n/box/thing: No such file or directory\n\n");
	assert_says(p, "erase /box -j", "\n{\"ok\":true}\n\n");
	assert_says(p, "ls /box", "\n/box: No such file or directory\n\n");
	assert_says(p, "erase /", "\n/: the root of the network cannot be erased\n\n");
	assert_says(p, "erase /box -j", "\n{\"ok\":false,\"error\":\"/box: No such file or directory\",\"errno\":2,\"path\":\"/box\"}\n\n");
	kit_close(p);
}

static void status_and_lava_are_the_volcanos(void)
{
	Peer *p = logged_in();
	g_autofree char *lava = kit_ask(p, "lava"), *status = kit_ask(p, "status"), *load = kit_ask(p, "cache load -j");

	g_assert_nonnull(strstr(lava, "\nLava topology: epoch 1, 1 volcano, 1 copy (2 wanted)\n"));
	g_assert_nonnull(strstr(lava, "  alive: yes\n"));
	g_assert_nonnull(strstr(status, "     state: serving\n"));
	g_assert_nonnull(strstr(load, "{\"ok\":true,\"flares\":71"));
	g_assert_nonnull(strstr(load, "\"complete\":true"));
	kit_close(p);
}

/* An operator who leaves in the middle of everything, also while the console itself goes. */
static void the_console_may_end_in_the_middle_of_a_list(void)
{
	Peer *p = logged_in(), *q = logged_in(), *r = logged_in();

	kit_send(p, "ls /many\r\n", 10);
	kit_send(q, "cat /big\r\n", 10);
	kit_send(r, "cache load\r\n", 12);
	for (guint i = 0; i < 6; i++)
		g_main_context_iteration(NULL, FALSE);
	console_free(g_steal_pointer(&volcanic.console));
	for (guint i = 0; i < 100; i++)
		g_main_context_iteration(NULL, FALSE);
	kit_close(p);
	kit_close(q);
	kit_close(r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/console_files/ls_has_the_shape_operators_know", ls_has_the_shape_operators_know);
	g_test_add_func("/console_files/a_long_directory_is_listed_whole", a_long_directory_is_listed_whole);
	g_test_add_func("/console_files/cd_and_pwd_go_by_the_directories_there_are", cd_and_pwd_go_by_the_directories_there_are);
	g_test_add_func("/console_files/cat_prints_what_is_there", cat_prints_what_is_there);
	g_test_add_func("/console_files/cat_streams_a_big_file_to_a_slow_reader_in_bounded_memory", cat_streams_a_big_file_to_a_slow_reader_in_bounded_memory);
	g_test_add_func("/console_files/an_interrupt_ends_a_cat_and_the_prompt_comes_back", an_interrupt_ends_a_cat_and_the_prompt_comes_back);
	g_test_add_func("/console_files/a_peer_that_goes_ends_its_cat", a_peer_that_goes_ends_its_cat);
	g_test_add_func("/console_files/inspect_says_what_a_flare_is_and_where", inspect_says_what_a_flare_is_and_where);
	g_test_add_func("/console_files/erase_removes_files_and_empty_directories_only", erase_removes_files_and_empty_directories_only);
	g_test_add_func("/console_files/status_and_lava_are_the_volcanos", status_and_lava_are_the_volcanos);
	g_test_add_func("/console_files/the_console_may_end_in_the_middle_of_a_list", the_console_may_end_in_the_middle_of_a_list);
	up(&volcanic);
	make_files();
	int status = g_test_run();
	down(&volcanic);
	g_free(big);
	return status;
}
