/* Bytes as a telnet peer sends them, in pieces cut where the first byte says: lines hold no line ends and fit, splitting and finding take any line, what is shown is clean. */
#include "tests/fuzz/fuzz.h"
#include "magmad/console/command.h"
#include "magmad/console/path.h"
#include "magmad/console/telnet.h"
#include "magmad/console/text.h"
#include "libmagma/flare/flare.h"
#include <string.h>

typedef struct { gsize replied, fed; } Heard;

/* The table itself stands beside the commands, which need a volcano; here a few of its shapes do. */
const Command COMMANDS[] = {
	{ "help", "[command]" }, { "ls", "[path]" }, { "lava", "" }, { "print cache", "" }, { "print debug", "" }, { "cache load", "" }, { "cat", "path" }, { "cd", "" },
};
const guint COMMANDS_COUNT = G_N_ELEMENTS(COMMANDS);

static void on_line(void *user, const char *line, gsize len)
{
	g_autoptr(GString) candidates = g_string_new("");
	const Command *found = NULL;
	CommandLine c;
	guint used = 0;

	g_assert_cmpuint(strlen(line), ==, len);
	g_assert_cmpuint(len, <=, TELNET_LINE_MAX);
	g_assert_null(strpbrk(line, "\r\n"));
	if (command_split(line, &c)) {
		guint n = c.words->len - 1;
		CommandMatch match = command_find((char **)c.words->pdata, n, &found, &used, candidates);
		g_assert_true(match != COMMAND_FOUND || (found && used >= 1 && used <= n));
		for (guint i = 0; i < n; i++) {
			g_autofree char *path = path_join("/a/b", c.words->pdata[i]), *clean = text_clean(c.words->pdata[i], strlen(c.words->pdata[i]));
			g_assert_true(!path || (path[0] == '/' && strlen(path) <= MAGMA_PATH_MAX && !strstr(path, "//") && !strstr(path, "/../") && !strstr(path, "/./")));
			g_assert_true(g_utf8_validate(clean, -1, NULL));
			for (const char *p = clean; *p; p++)
				g_assert_true((guchar)*p >= 0x20 && *p != 0x7f);
		}
	}
	command_line_clear(&c);
}

static void on_event(void *user) { }
static void on_reply(void *user, const void *p, gsize n) { ((Heard *)user)->replied += n; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const TelnetOps ops = { on_line, on_event, on_event, on_event, on_reply };
	const gboolean stop = FALSE;
	Heard h = { 0 };
	Telnet t;
	gsize step = size ? 1 + data[0] % 7 : 1;

	telnet_init(&t, &ops, &h);
	for (gsize at = 0; at < size; at += step)
		telnet_input(&t, data + at, MIN(step, size - at), &stop);
	/* no peer makes us say more than it does, but for the answer to "are you there" */
	g_assert_cmpuint(h.replied, <=, 9 * size);
	telnet_clear(&t);
	return 0;
}
