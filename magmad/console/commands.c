/* The table of commands, and those that are only about the console itself. */
#include "magmad/console/session.h"
#include "libmagma/base/err.h"
#include <config.h>
#include <errno.h>
#include <string.h>

const Command COMMANDS[] = {
	{ "help", "[command]", "what commands there are", FALSE, 0, 2, cmd_help },
	{ "version", "", "version of this magmad", FALSE, 0, 0, cmd_version },
	{ "quit", "", "end this session", FALSE, 0, 0, cmd_quit },
	{ "exit", "", "end this session", FALSE, 0, 0, cmd_quit },
	{ "login", "", "asks for the network's secret key", FALSE, 0, 0, login_ask },
	{ "lava", "", "the volcanos of the network and their slices", TRUE, 0, 0, cmd_lava },
	{ "status", "", "how this volcano is", TRUE, 0, 0, cmd_status },
	{ "ls", "[path]", "list a directory", TRUE, 0, 1, cmd_ls },
	{ "cd", "[path]", "go to a directory", TRUE, 0, 1, cmd_cd },
	{ "pwd", "", "the directory one is in", TRUE, 0, 0, cmd_pwd },
	{ "cat", "path", "print a file", TRUE, 1, 1, cmd_cat },
	{ "inspect", "path", "what a flare is, and where it and its parent are", TRUE, 1, 1, cmd_inspect },
	{ "erase", "path", "remove a file or an empty directory", TRUE, 1, 1, cmd_erase },
	{ "print cache", "", "how the cache of rows does", TRUE, 0, 0, cmd_print_cache },
	{ "cache load", "", "read this volcano's flares into the cache, as far as it goes", TRUE, 0, 0, cmd_cache_load },
	{ "print debug", "", "the debug channels, [*] for those that are on", TRUE, 0, 0, cmd_print_debug },
	{ "debug on", "letters", "log these debug channels", TRUE, 1, 1, cmd_debug_on },
	{ "debug off", "letters", "no longer log these debug channels", TRUE, 1, 1, cmd_debug_off },
	{ "print acl", "", "who may connect", TRUE, 0, 0, cmd_print_acl },
	{ "heal", "", "the copies of every slice, and how far those are that are being made", TRUE, 0, 0, cmd_heal },
	{ "balance", "", "not built yet: move borders of slices until the load is even", TRUE, 0, 0, cmd_not_built },
	{ "drain", "", "not built yet: hand everything of this volcano on", TRUE, 0, 0, cmd_not_built },
	{ "watch", "", "not built yet: joins and failures as they happen", TRUE, 0, 0, cmd_not_built },
	{ "conflicts", "[clear nickname time]", "histories that were set aside and do not stand; clear removes one for good", TRUE, 0, 3, cmd_conflicts },
	{ "takeover", "nickname", "of two volcanos, this one goes on alone: the other, named to confirm it, is lost for good", TRUE, 1, 1, cmd_takeover },
	{ "shutdown", "[here]", "stop all volcanos of the network, or only this one", TRUE, 0, 1, cmd_shutdown },
};
const guint COMMANDS_COUNT = G_N_ELEMENTS(COMMANDS);

static void help_json(ConsoleSession *s, const Command *only)
{
	JsonBuilder *b = session_json_new();

	json_builder_set_member_name(b, "commands");
	json_builder_begin_array(b);
	for (guint i = 0; i < COMMANDS_COUNT; i++) {
		const Command *c = &COMMANDS[i];
		if (only && c != only)
			continue;
		g_autofree char *usage = command_usage(c);
		json_builder_begin_object(b);
		json_put_text(b, "command", c->name, strlen(c->name));
		json_put_text(b, "usage", usage, strlen(usage));
		json_put_text(b, "help", c->help, strlen(c->help));
		json_builder_set_member_name(b, "needs_login");
		json_builder_add_boolean_value(b, c->needs_login);
		json_builder_end_object(b);
	}
	json_builder_end_array(b);
	session_json(s, b);
}

static void help_text(ConsoleSession *s, const Command *only)
{
	g_autoptr(GString) text = g_string_new("");

	for (guint i = 0; i < COMMANDS_COUNT; i++)
		if (!only || only == &COMMANDS[i]) {
			g_autofree char *usage = command_usage(&COMMANDS[i]);
			g_string_append_printf(text, "  %-18s %s\n", usage, COMMANDS[i].help);
		}
	if (!only)
		g_string_append(text, "\nCommands may be cut short while they stay clear. -j at the end: the answer as JSON. Log in first.\n");
	session_answer(s, text->str);
}

gboolean cmd_help(ConsoleSession *s, char **args)
{
	g_autoptr(GString) candidates = g_string_new("");
	const Command *only = NULL;
	guint used;

	if (args[0] && command_find(args, g_strv_length(args), &only, &used, candidates) != COMMAND_FOUND) {
		g_autofree char *text = candidates->len ? g_strdup_printf("which one: %s?", candidates->str) : g_strdup("unknown command, type help for a list");
		session_error(s, args[0], 0, text);
		return TRUE;
	}
	if (s->json)
		help_json(s, only);
	else
		help_text(s, only);
	return TRUE;
}

gboolean cmd_version(ConsoleSession *s, char **args)
{
	if (s->json) {
		JsonBuilder *b = session_json_new();
		json_put_text(b, "version", PACKAGE_VERSION, strlen(PACKAGE_VERSION));
		session_json(s, b);
	} else {
		session_answer(s, "MAGMA version " PACKAGE_VERSION);
	}
	return TRUE;
}

gboolean cmd_quit(ConsoleSession *s, char **args)
{
	session_ok(s);
	session_end(s);
	return TRUE;
}

gboolean cmd_not_built(ConsoleSession *s, char **args)
{
	session_error(s, NULL, ENOSYS, "not built yet: borders move only when a volcano joins; lava, heal and the log tell of joins and failures");
	return TRUE;
}

gboolean cmd_print_acl(ConsoleSession *s, char **args)
{
	if (s->json) {
		JsonBuilder *b = session_json_new();
		json_builder_set_member_name(b, "acl");
		json_builder_begin_array(b);
		json_builder_end_array(b);
		session_json(s, b);
	} else {
		session_answer(s, "none; everyone with the key may connect");
	}
	return TRUE;
}

gboolean cmd_takeover(ConsoleSession *s, char **args)
{
	g_autofree char *why = volcano_takeover(s->console->cfg.volcano, args[0]);

	g_message("console: %s: takeover %s: %s", s->peer, args[0], why ? why : "done");
	if (why) {
		session_error(s, args[0], EINVAL, why);
		return TRUE;
	}
	if (!s->json)
		session_answer(s, "this volcano goes on alone");
	session_ok(s);
	return TRUE;
}

typedef struct {
	Task task;
	void (*stop)(void *user, const char *who);    /* the console's, which may be gone when the others have answered */
	void *user;
	char *who;
} Shutdown;

static void shutdown_free(Task *t)
{
	Shutdown *d = (Shutdown *)t;

	g_free(d->who);
	g_free(d);
}

/* Also when the one who asked for it has gone by now: the others have stopped. */
static void on_halted(void *user)
{
	Shutdown *d = user;

	if (d->task.session)
		session_ok(d->task.session);
	d->stop(d->user, d->who);
	task_unref(&d->task);
}

gboolean cmd_shutdown(ConsoleSession *s, char **args)
{
	Console *c = s->console;
	gboolean here = args[0] != NULL;

	if (here && !g_str_equal(args[0], "here")) {
		session_error(s, args[0], EINVAL, "shutdown stops all volcanos, shutdown here only this one");
		return TRUE;
	}
	g_message("console: %s: shutdown%s", s->peer, here ? " here" : "");
	if (!s->json)
		session_answer(s, here ? "this volcano stops" : "all volcanos stop");
	if (here) {
		session_ok(s);
		(c->cfg.stop_here ? c->cfg.stop_here : c->cfg.stop)(c->cfg.user, s->peer);
		return TRUE;
	}
	Shutdown *d = g_new0(Shutdown, 1);
	d->stop = c->cfg.stop;
	d->user = c->cfg.user;
	d->who = g_strdup(s->peer);
	task_begin(&d->task, s, shutdown_free);
	d->task.stubborn = TRUE;
	task_ref(&d->task);
	volcano_halt_network(c->cfg.volcano, on_halted, d);
	return FALSE;
}
