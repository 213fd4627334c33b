/* The console's commands: one row each. Splitting and finding are pure. */
#pragma once
#include <glib.h>

typedef struct ConsoleSession ConsoleSession;

typedef struct {
	GPtrArray *words;             /* char *, owned; NULL behind the last */
	gboolean json;                /* " -j" stood at the end and was taken off */
} CommandLine;

typedef struct {
	const char *name;             /* one or two words */
	const char *args;             /* as help shows them; "" for none */
	const char *help;
	gboolean needs_login;
	guint min_args, max_args;
	/* args: those behind the name, NULL behind the last, valid during the call. TRUE: done; FALSE: a task goes on and ends with task_finish(). */
	gboolean (*run)(ConsoleSession *s, char **args);
} Command;

extern const Command COMMANDS[];
extern const guint COMMANDS_COUNT;

/* Words between blanks; '...' and "..." keep blanks, a backslash keeps the next byte. FALSE: a quote is left open. */
gboolean command_split(const char *line, CommandLine *out);
void command_line_clear(CommandLine *c);

typedef enum { COMMAND_FOUND, COMMAND_UNKNOWN, COMMAND_AMBIGUOUS } CommandMatch;
/* Each word of a name may be cut short while that leaves one command. FOUND: *used words were the name. AMBIGUOUS: candidates lists them. A name of two
 * words of which only the first was typed is ambiguous also when it is the only one. */
CommandMatch command_find(char **words, guint n, const Command **out, guint *used, GString *candidates);
/* "ls [path]" */
char *command_usage(const Command *c);
