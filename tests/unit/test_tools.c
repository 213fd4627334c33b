#define _GNU_SOURCE 1
/* The programs as scripts see them: what they print, their exit codes, and that they keep the secret. Against a fake volcano of this process. */
#include "tests/unit/fake.h"
#include <glib/gstdio.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "m4gm4s3cr3t"

typedef struct {
	GPid pid;
	int out, err;
	gboolean ended;
	int status;
	GSource *watch;
	char *stdout_text, *stderr_text;
} Tool;

static void on_exit_(GPid pid, gint status, gpointer user)
{
	Tool *t = user;

	t->ended = TRUE;
	t->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *drain(int fd)
{
	g_autoptr(GString) text = g_string_new(NULL);
	char buf[4096];
	gssize n;

	while ((n = read(fd, buf, sizeof buf)) > 0)
		g_string_append_len(text, buf, n);
	close(fd);
	return g_string_free(g_steal_pointer(&text), FALSE);
}

/* line: program and arguments, as in a shell; env: NULL or a value for MAGMA_KEY. */
static void tool_begin(World *w, Tool *t, const char *line, const char *env)
{
	g_auto(GStrv) argv = NULL;
	g_auto(GStrv) envp = g_get_environ();
	g_autoptr(GError) error = NULL;

	*t = (Tool){ 0 };
	g_assert_true(g_shell_parse_argv(line, NULL, &argv, NULL));
	char *program = g_test_build_filename(G_TEST_BUILT, "..", "..", "magma_tools", argv[0], NULL);
	g_free(argv[0]);
	argv[0] = program;
	envp = env ? g_environ_setenv(envp, "MAGMA_KEY", env, TRUE) : g_environ_unsetenv(envp, "MAGMA_KEY");
	envp = g_environ_setenv(envp, "LC_ALL", "C", TRUE);
	g_spawn_async_with_pipes(NULL, argv, envp, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &t->pid, NULL, &t->out, &t->err, &error);
	g_assert_no_error(error);
	t->watch = g_child_watch_source_new(t->pid);
	g_source_set_callback(t->watch, G_SOURCE_FUNC(on_exit_), t, NULL);
	g_source_attach(t->watch, w->ctx);
}

static int tool_end(World *w, Tool *t)
{
	g_assert_true(run_until(w, &t->ended, 15000));
	g_source_unref(t->watch);
	g_spawn_close_pid(t->pid);
	t->stdout_text = drain(t->out);
	t->stderr_text = drain(t->err);
	g_assert_null(strstr(t->stdout_text, SECRET));
	g_assert_null(strstr(t->stderr_text, SECRET));
	return t->status;
}

static void tool_clear(Tool *t)
{
	g_free(t->stdout_text);
	g_free(t->stderr_text);
}

/* Runs it to its end; out and err: parts of what it prints (NULL: nothing at all). Errors are one line. */
static void expect(World *w, const char *line, const char *env, int status, const char *out, const char *err)
{
	Tool t;

	tool_begin(w, &t, line, env);
	tool_end(w, &t);
	g_test_message("%s\n%d\n%s%s", line, t.status, t.stdout_text, t.stderr_text);
	g_assert_cmpint(t.status, ==, status);
	if (out)
		g_assert_nonnull(strstr(t.stdout_text, out));
	else
		g_assert_cmpstr(t.stdout_text, ==, "");
	if (err) {
		g_assert_nonnull(strstr(t.stderr_text, err));
		g_assert_true(strchr(t.stderr_text, '\n') == t.stderr_text + strlen(t.stderr_text) - 1);
	} else {
		g_assert_cmpstr(t.stderr_text, ==, "");
	}
	tool_clear(&t);
}

static void test_hash(void)
{
	World *w = world_new(1);

	expect(w, "magma-hash /example //a/./", NULL, 0, "81f762fd59d88768b06b8e9de56aef8a95962045  /example\n2256c6ac80d3eb2693897a53c615c4840981e5aa  /a\n", NULL);
	expect(w, "magma-hash /", NULL, 0, "42099b4af021e53fd8fd4e056c2568d7c2e3ffa8  /\n", NULL);
	expect(w, "magma-hash relative", NULL, 2, NULL, "relative: not an absolute path");
	expect(w, "magma-hash /a/../b", NULL, 2, NULL, "..");
	expect(w, "magma-hash", NULL, 2, NULL, "usage: magma-hash");
	expect(w, "magma-hash --nonsense /a", NULL, 2, NULL, "--nonsense");
	expect(w, "magma-hash --version", NULL, 0, "magma-hash 1.", NULL);
	expect(w, "magma-hash --help", NULL, 0, "PATH...", NULL);
	world_free(w);
}

static char *key_file(int mode)
{
	char *path = NULL;
	int fd = g_file_open_tmp("magma-key-XXXXXX", &path, NULL);

	g_assert_cmpint(write(fd, SECRET "\n", strlen(SECRET) + 1), ==, (gssize)strlen(SECRET) + 1);
	fchmod(fd, (mode_t)mode);
	close(fd);
	return path;
}

static void test_ping(void)
{
	World *w = world_new_with_secret(1, SECRET);
	char at[MAGMA_ADDR_TEXT];
	g_autofree char *good = key_file(0600), *open = key_file(0644);

	magma_addr_format(&w->fakes[0]->addr, at);
	g_autofree char *by_arg = g_strdup_printf("magma-ping -c 2 -i 0.01 -k " SECRET " %s", at);
	g_autofree char *by_env = g_strdup_printf("magma-ping -c 1 %s", at);
	g_autofree char *by_file = g_strdup_printf("magma-ping -c 1 -K %s %s", good, at);
	g_autofree char *by_open = g_strdup_printf("magma-ping -c 1 -K %s %s", open, at);
	g_autofree char *both = g_strdup_printf("magma-ping -c 1 -k x -K %s %s", good, at);
	g_autofree char *wrong = g_strdup_printf("magma-ping -k wrong %s", at);
	g_autofree char *says_wrong = g_strdup_printf("magma-ping: authentication failed at %s: wrong secret key, or that is not a flare port\n", at);
	g_autofree char *says_nobody = g_strdup_printf("magma-ping: no answer from %s: no Magma volcano there\n", at);
	g_autofree char *head = g_strdup_printf("fake (%s): Magma 1.0.0, epoch 1, 1 of 2 copies\n", at);

	expect(w, by_arg, NULL, 0, head, NULL);
	expect(w, by_arg, NULL, 0, "2 sent, 2 answered, round trip min/avg/max ", NULL);
	expect(w, by_env, SECRET, 0, head, NULL);
	expect(w, by_file, NULL, 0, head, NULL);
	g_autofree char *by_port = g_strdup_printf("magma-ping -c1 -p %u -k" SECRET " 127.0.0.1", w->fakes[0]->addr.port);
	expect(w, by_port, NULL, 0, "1 sent, 1 answered", NULL);
	w->unsafe = "degraded: \033slice 1\n";
	g_autofree char *says_unsafe = g_strdup_printf("magma-ping: %s: degraded: ?slice 1\n", at);
	expect(w, by_arg, NULL, 3, head, says_unsafe);
	w->unsafe = NULL;
	expect(w, "magma-ping -p 70000 -k x 127.0.0.1", NULL, 2, NULL, "70000");
	expect(w, by_open, NULL, 1, NULL, open);
	expect(w, by_env, NULL, 2, NULL, "MAGMA_KEY");
	expect(w, both, NULL, 2, NULL, "twice");
	expect(w, "magma-ping -k x", NULL, 2, NULL, "no argument");
	expect(w, "magma-ping -k x -c 0 127.0.0.1", NULL, 2, NULL, "-c 0");
	expect(w, "magma-ping -k x no.such.host.invalid", NULL, 1, NULL, "no.such.host.invalid");
	expect(w, "magma-ping --kye=" SECRET " 127.0.0.1", NULL, 2, NULL, "--kye");
	expect(w, "magma-ping -x" SECRET " 127.0.0.1", NULL, 2, NULL, "usage");
	expect(w, wrong, NULL, 1, NULL, says_wrong);
	fake_stop(w->fakes[0]);
	expect(w, by_arg, NULL, 1, NULL, says_nobody);
	g_unlink(good);
	g_unlink(open);
	world_free(w);
}

static void test_locate(void)
{
	World *w = world_new_with_secret(2, SECRET);
	char at[MAGMA_ADDR_TEXT], owner_at[MAGMA_ADDR_TEXT], hex[MAGMA_KEY_HEX];

	world_make(w, "/docs", NULL, S_IFDIR | 0755);
	Flare *f = world_make(w, "/docs/readme.txt", "/docs/draft", S_IFREG | 0644);
	Fake *owner = world_owner(w, &f->attr.fid.key);
	magma_addr_format(&w->fakes[0]->addr, at);
	g_autofree char *line = g_strdup_printf("%s  %" G_GUINT64_FORMAT "  fake%u %s (1 copy)  /docs/readme.txt\n", magma_key_to_hex(&f->attr.fid.key, hex),
		f->attr.fid.ino, owner->id, magma_addr_format(&owner->addr, owner_at));
	g_autofree char *good = g_strdup_printf("magma-locate %s /docs/readme.txt", at);
	g_autofree char *missing = g_strdup_printf("magma-locate %s /docs/nothing", at);

	expect(w, good, SECRET, 0, line, NULL);
	expect(w, missing, SECRET, 1, NULL, "/docs/nothing: No such file");
	expect(w, "magma-locate / /etc", NULL, 1, NULL, "not in a Magma mount");
	expect(w, "magma-locate /no/such/place /etc", NULL, 1, NULL, "/no/such/place");
	expect(w, "magma-locate 127.0.0.1", SECRET, 2, NULL, "too few arguments");
	world_free(w);
}

static void test_secret_is_not_in_the_process_list(void)
{
	World *w = world_new_with_secret(1, SECRET);
	char at[MAGMA_ADDR_TEXT];
	Tool t;

	magma_addr_format(&w->fakes[0]->addr, at);
	g_autofree char *line = g_strdup_printf("magma-ping -c 1000 -i 0.05 -k" SECRET " %s", at);
	tool_begin(w, &t, line, SECRET);
	while (world_count(w, MAGMA_OP_ping) == 0 && !t.ended)
		g_main_context_iteration(w->ctx, TRUE);
	g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)t.pid);
	g_autofree char *cmdline = NULL;
	gsize n;
	g_assert_true(g_file_get_contents(path, &cmdline, &n, NULL));
	g_assert_null(memmem(cmdline, n, SECRET, strlen(SECRET)));
	g_assert_nonnull(memmem(cmdline, n, "-k***", 5));
	kill(t.pid, SIGTERM);
	tool_end(w, &t);
	tool_clear(&t);
	world_free(w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/tools/hash", test_hash);
	g_test_add_func("/tools/ping_tells_failures_apart", test_ping);
	g_test_add_func("/tools/locate", test_locate);
	g_test_add_func("/tools/secret_is_not_in_the_process_list", test_secret_is_not_in_the_process_list);
	return g_test_run();
}
