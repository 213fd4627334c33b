#include "magmad/console/command.h"
#include <string.h>

void command_line_clear(CommandLine *c)
{
	g_clear_pointer(&c->words, g_ptr_array_unref);
}

/* One word from *p on; the quotes are taken off. FALSE: one is left open. */
static gboolean take_word(const char **p, GString *word, gboolean *plain)
{
	char quote = 0;

	*plain = TRUE;
	for (; **p && (quote || !g_ascii_isspace(**p)); (*p)++) {
		char c = **p;
		if (c == '\\' && quote != '\'' && (*p)[1]) {
			g_string_append_c(word, *++*p);
			*plain = FALSE;
		} else if (quote ? c == quote : c == '"' || c == '\'') {
			quote = quote ? 0 : c;
			*plain = FALSE;
		} else {
			g_string_append_c(word, c);
		}
	}
	return quote == 0;
}

gboolean command_split(const char *line, CommandLine *out)
{
	gboolean plain = FALSE;

	*out = (CommandLine){ .words = g_ptr_array_new_with_free_func(g_free) };
	for (;;) {
		while (g_ascii_isspace(*line))
			line++;
		if (!*line)
			break;
		g_autoptr(GString) word = g_string_new("");
		if (!take_word(&line, word, &plain))
			return FALSE;
		g_ptr_array_add(out->words, g_string_free(g_steal_pointer(&word), FALSE));
	}
	guint n = out->words->len;
	if (n > 1 && plain && g_str_equal(out->words->pdata[n - 1], "-j")) {
		out->json = TRUE;
		g_ptr_array_set_size(out->words, n - 1);
	}
	g_ptr_array_add(out->words, NULL);
	return TRUE;
}

typedef enum { NO, PREFIX, EXACT } Fit;

static Fit word_fits(const char *typed, const char *name, gsize n)
{
	gsize len = strlen(typed);

	if (len > n || g_ascii_strncasecmp(typed, name, len) != 0)
		return NO;
	return len == n ? EXACT : PREFIX;
}

/* How the typed words fit a name. whole FALSE: the second word is still to come. */
static Fit name_fits(char **words, guint n, const char *name, gboolean *whole)
{
	const char *space = strchr(name, ' ');
	Fit first = word_fits(words[0], name, space ? (gsize)(space - name) : strlen(name));

	*whole = !space || n > 1;
	if (first == NO || !space || n == 1)
		return first;
	Fit second = word_fits(words[1], space + 1, strlen(space + 1));
	return MIN(first, second);
}

static void list(GString *out, const char *name)
{
	g_string_append_printf(out, "%s%s", out->len ? ", " : "", name);
}

CommandMatch command_find(char **words, guint n, const Command **out, guint *used, GString *candidates)
{
	guint fits = 0, partial = 0;

	for (guint i = 0; n && i < COMMANDS_COUNT; i++) {
		gboolean whole;
		Fit fit = name_fits(words, n, COMMANDS[i].name, &whole);
		if (fit == NO)
			continue;
		list(candidates, COMMANDS[i].name);
		partial += !whole;
		fits++;
		if (whole) {
			*out = &COMMANDS[i];
			*used = strchr(COMMANDS[i].name, ' ') ? 2 : 1;
		}
		if (whole && fit == EXACT) {
			fits = 1;
			partial = 0;
			break;
		}
	}
	return fits == 0 ? COMMAND_UNKNOWN : fits > 1 || partial ? COMMAND_AMBIGUOUS : COMMAND_FOUND;
}

char *command_usage(const Command *c)
{
	return g_strdup_printf("%s%s%s", c->name, *c->args ? " " : "", c->args);
}
