#include "magmad/options.h"
#include "magmad/channels.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

const OptionRow OPTIONS[OPT_COUNT] = {
	[OPT_BOOTSTRAP] = { "bootstrap", 'b', OPTION_FLAG, 0, 1, NULL, NULL, NULL, "begin a new lava network" },
	[OPT_JOIN]      = { "join", 'j', OPTION_TEXT, 1, 300, NULL, "HOST[:PORT]", "the volcano to join", "join the network of that volcano (any of them)" },
	[OPT_NAME]      = { "name", 'n', OPTION_NAME, 1, 63, NULL, "NAME", "the nickname", "nickname, unique in the network (default: the host name)" },
	[OPT_FQDN]      = { "fqdn", 's', OPTION_HOST, 1, 255, NULL, "FQDN", "the full name", "fully qualified name (default: resolved from -n, else -n)" },
	[OPT_ADDRESS]   = { "address", 'i', OPTION_TEXT, 1, 100, NULL, "ADDR", "the local address", "local address to bind and announce (default: resolved from -s)" },
	/* the node port is PORT+1, the console PORT+2 */
	[OPT_PORT]      = { "port", 'p', OPTION_NUMBER, 1, 65533, "12000", "PORT", "the flare port", "flare port; node port PORT+1, console PORT+2" },
	[OPT_DIR]       = { "dir", 'd', OPTION_TEXT, 1, 4000, "/var/lib/magma", "DIR", "the storage folder", "storage folder" },
	[OPT_KEY]       = { "key", 'k', OPTION_TEXT, 1, 1024, NULL, "SECRET", "the secret key", "the network's secret key; a restart needs none" },
	[OPT_KEYFILE]   = { "keyfile", 'K', OPTION_TEXT, 1, 4000, NULL, "FILE", "the key file", "read the secret key from a file that only its owner can read" },
	/* 2^20 GB are 2^50 bytes: far from overflowing, more than one folder ever holds */
	[OPT_STORAGE]   = { "storage", 'S', OPTION_NUMBER, 0, 1048576, NULL, "GB", "the storage to offer", "storage to offer (default: the file system's size; 0: a witness, which only votes)" },
	[OPT_BANDWIDTH] = { "bandwidth", 'w', OPTION_NUMBER, 1, G_MAXUINT32, "100000", "KBIT", "the bandwidth", "declared bandwidth in Kbit/s, a weight for the balancer" },
	[OPT_COPIES]    = { "copies", 'R', OPTION_NUMBER, 1, 8, "2", "N", "the number of copies", "copies of everything, with -b only" },
	[OPT_NO_TAKEOVER] = { "no-takeover", 0, OPTION_FLAG, 0, 1, NULL, NULL, NULL, "of two volcanos: never go on alone when the other one that votes is silent" },
	[OPT_DEBUG]     = { "debug", 'D', OPTION_LETTERS, 0, 64, NULL, "LETTERS", "the debug channels", "debug channels to log (default: none)" },
	[OPT_DEBUG_ALL] = { "debug-all", 'A', OPTION_FLAG, 0, 1, NULL, NULL, NULL, "all debug channels" },
	[OPT_CONFIG]    = { "config", 'c', OPTION_TEXT, 1, 4000, NULL, "FILE", "the configuration file",
		"configuration file (default: " OPTIONS_CONFIG " if there)", TRUE },
	[OPT_DAEMON]    = { "daemon", 0, OPTION_FLAG, 0, 1, NULL, NULL, NULL, "go to the background once the volcano is ready" },
};

void options_wipe(char *secret)
{
	if (!secret)
		return;
	explicit_bzero(secret, strlen(secret));
	g_free(secret);
}

Options *options_new(void)
{
	Options *o = g_new0(Options, 1);

	for (guint i = 0; i < OPT_COUNT; i++)
		if (OPTIONS[i].def) {
			o->v[i].text = g_strdup(OPTIONS[i].def);
			if (OPTIONS[i].type == OPTION_NUMBER)
				o->v[i].number = g_ascii_strtoull(OPTIONS[i].def, NULL, 10);
		}
	return o;
}

void options_free(Options *o)
{
	if (!o)
		return;
	for (guint i = 0; i < OPT_COUNT; i++)
		options_wipe(o->v[i].text);
	g_free(o);
}

static int row_by_letter(char letter)
{
	if (letter == 'r')
		letter = 'j';
	for (guint i = 0; i < OPT_COUNT; i++)
		if (letter && OPTIONS[i].letter == letter)
			return i;
	return -1;
}

static void wipe_argument(const OptionRow *row, char *value)
{
	if (row == &OPTIONS[OPT_KEY])
		memset(value, '*', strlen(value));    /* the same length: ps(1) shows what lies between argv's ends */
}

/* One cluster of short options, "-bDfs" -> "-b" "-D" "fs". TRUE: the value of the last one is the next argument. */
static int take_cluster(GPtrArray *out, char *arg)
{
	for (char *p = arg + 1; *p; p++) {
		int id = row_by_letter(*p);
		g_ptr_array_add(out, g_strdup_printf("-%c", *p == 'r' ? 'j' : *p));
		if (id < 0 || OPTIONS[id].type == OPTION_FLAG)
			continue;
		if (!p[1])
			return id;
		g_ptr_array_add(out, g_strdup(p + 1));
		wipe_argument(&OPTIONS[id], p + 1);
		return -1;
	}
	return -1;
}

static int take_long(GPtrArray *out, char *arg)
{
	char *eq = strchr(arg, '=');
	gsize n = eq ? (gsize)(eq - arg) : strlen(arg);

	g_ptr_array_add(out, g_strdup(arg));
	for (guint i = 0; i < OPT_COUNT; i++) {
		if (strlen(OPTIONS[i].key) != n - 2 || strncmp(OPTIONS[i].key, arg + 2, n - 2) != 0)
			continue;
		if (eq)
			wipe_argument(&OPTIONS[i], eq + 1);
		else if (OPTIONS[i].type != OPTION_FLAG)
			return i;
	}
	return -1;
}

char **options_take(int argc, char **argv)
{
	g_autoptr(GPtrArray) out = g_ptr_array_new();
	int wants = -1;
	gboolean plain = FALSE;

	for (int i = 0; i < argc; i++) {
		char *a = argv[i];
		if (i == 0 || plain) {
			g_ptr_array_add(out, g_strdup(a));
		} else if (wants >= 0) {
			g_ptr_array_add(out, g_strdup(a));
			wipe_argument(&OPTIONS[wants], a);
			wants = -1;
		} else if (g_str_equal(a, "--")) {
			g_ptr_array_add(out, g_strdup(a));
			plain = TRUE;
		} else if (g_str_has_prefix(a, "--")) {
			wants = take_long(out, a);
		} else if (a[0] == '-' && a[1]) {
			wants = take_cluster(out, a);
		} else {
			g_ptr_array_add(out, g_strdup(a));
		}
	}
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&out), FALSE);
}

static gboolean name_text(const char *s)
{
	for (; *s; s++)
		if (!g_ascii_isalnum(*s) && !strchr("._-", *s))
			return FALSE;
	return TRUE;
}

static gboolean wrong(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static gboolean wrong(GError **error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	g_set_error_literal(error, MAGMA_ERROR, EINVAL, text);
	return FALSE;
}

static gboolean check_number(const OptionRow *row, const char *text, const char *where, guint64 *out, GError **error)
{
	if (!g_ascii_string_to_unsigned(text, 10, row->min, row->max, out, NULL))
		return wrong(error, "%s %s: %s must be a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, where, text, row->what, row->min, row->max);
	return TRUE;
}

static gboolean check_flag(const char *text, const char *where, guint64 *out, GError **error)
{
	if (g_str_equal(text, "true") || g_str_equal(text, "1") || g_str_equal(text, "yes"))
		*out = 1;
	else if (g_str_equal(text, "false") || g_str_equal(text, "0") || g_str_equal(text, "no"))
		*out = 0;
	else
		return wrong(error, "%s %s: must be true or false", where, text);
	return TRUE;
}

static gboolean check_text(const OptionRow *row, const char *text, const char *where, GError **error)
{
	gboolean secret = row == &OPTIONS[OPT_KEY];
	gsize n = strlen(text);
	guint64 mask;
	char unknown;

	if (n < row->min)
		return wrong(error, "%s: %s is empty", where, row->what);
	if (n > row->max)
		return wrong(error, "%s: %s is longer than %" G_GUINT64_FORMAT " bytes", where, row->what, row->max);
	if (row->type == OPTION_LETTERS && !channels_parse(text, &mask, &unknown))
		return wrong(error, "%s %s: there is no debug channel '%c'; the channels are %s", where, text, g_ascii_isprint(unknown) ? unknown : '?', channels_letters());
	if ((row->type == OPTION_NAME || row->type == OPTION_HOST) && !name_text(text))
		return wrong(error, "%s %s: %s is made of letters, digits, '.', '_' and '-'", where, text, row->what);
	if (!secret && !g_utf8_validate(text, n, NULL))
		return wrong(error, "%s: %s is not UTF-8", where, row->what);
	return TRUE;
}

gboolean options_set(Options *o, OptionId id, const char *text, OptionSource from, const char *where, GError **error)
{
	const OptionRow *row = &OPTIONS[id];
	OptionValue *v = &o->v[id];
	guint64 number = 0;

	if (row->type == OPTION_NUMBER ? !check_number(row, text, where, &number, error)
	    : row->type == OPTION_FLAG ? !check_flag(text, where, &number, error)
	    : !check_text(row, text, where, error))
		return FALSE;
	if (v->from > from)
		return TRUE;
	char *keep = row->type == OPTION_LETTERS && v->from == from && v->text ? g_strconcat(v->text, text, NULL) : g_strdup(text);
	options_wipe(v->text);
	v->text = keep;
	v->number = number;
	v->from = from;
	return TRUE;
}

static gboolean parsed(const char *name, const char *value, gpointer data, GError **error)
{
	for (guint i = 0; i < OPT_COUNT; i++) {
		gboolean is_long = g_str_has_prefix(name, "--");
		if (is_long ? g_str_equal(name + 2, OPTIONS[i].key) : name[1] == OPTIONS[i].letter)
			return options_set(data, i, value ? value : "true", OPTION_LINE, name, error);
	}
	g_assert_not_reached();
}

static GOptionContext *context_new(Options *o, gboolean *help, gboolean *version)
{
	GOptionContext *ctx = g_option_context_new("- one volcano of a Magma network");
	GOptionGroup *group = g_option_group_new("magmad", "", "", o, NULL);
	g_autoptr(GString) text = g_string_new("Debug channels:\n");

	for (guint i = 0; i < OPT_COUNT; i++) {
		const OptionRow *row = &OPTIONS[i];
		g_autofree char *line = row->def ? g_strdup_printf("%s (default: %s)", row->help, row->def) : g_strdup(row->help);
		GOptionEntry e[2] = { { row->key, row->letter, G_OPTION_FLAG_FILENAME | (row->type == OPTION_FLAG ? G_OPTION_FLAG_NO_ARG : 0), G_OPTION_ARG_CALLBACK,
			(gpointer)parsed, g_intern_string(line), row->arg } };
		g_option_group_add_entries(group, e);
	}
	GOptionEntry shown[3] = { { "help", 'h', 0, G_OPTION_ARG_NONE, help, "print this" }, { "version", 0, 0, G_OPTION_ARG_NONE, version, "print the version" } };
	g_option_group_add_entries(group, shown);
	g_option_context_set_main_group(ctx, group);
	for (guint i = 0; i < CHANNELS_COUNT; i++)
		g_string_append_printf(text, "  %c  %s\n", CHANNELS[i].letter, CHANNELS[i].help);
	g_option_context_set_description(ctx, text->str);
	g_option_context_set_help_enabled(ctx, FALSE);      /* its own would exit from inside the parser */
	return ctx;
}

OptionsResult options_parse(Options *o, char **args, char **help, GError **error)
{
	gboolean helped = FALSE, version = FALSE;
	g_autoptr(GOptionContext) ctx = context_new(o, &helped, &version);
	g_autoptr(GError) e = NULL;
	g_auto(GStrv) rest = args;

	if (!g_option_context_parse_strv(ctx, &rest, &e)) {
		if (e->domain == MAGMA_ERROR)
			g_propagate_error(error, g_steal_pointer(&e));
		else
			/* "Unknown option --kye=SECRET": what was given to it stays unsaid */
			wrong(error, "%.*s; magmad --help lists the options", (int)strcspn(e->message, "="), e->message);
		return OPTIONS_WRONG;
	}
	if (helped) {
		*help = g_option_context_get_help(ctx, TRUE, NULL);
		return OPTIONS_HELP;
	}
	if (version)
		return OPTIONS_VERSION;
	for (char **a = rest + 1; rest[0] && *a; a++)
		if (!g_str_equal(*a, "--")) {
			/* behind a key with a blank in it that somebody forgot to quote, it is half of the secret */
			gboolean show = !options_text(o, OPT_KEY);
			wrong(error, "unexpected argument%s%s; magmad takes options only, --help lists them", show ? " " : "", show ? *a : "");
			return OPTIONS_WRONG;
		}
	return OPTIONS_RUN;
}

/* HOST, HOST:PORT, [IPV6]:PORT or a bare IPv6 address, as far as the form goes. */
static gboolean host_form_ok(const char *text)
{
	const char *colon = strrchr(text, ':');
	guint64 port;

	if (*text == '[') {
		const char *end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return FALSE;
		colon = end[1] ? end + 1 : NULL;
	} else if (colon && strchr(text, ':') != colon) {
		return TRUE;
	}
	return !colon || (colon != text && g_ascii_string_to_unsigned(colon + 1, 10, 1, 65533, &port, NULL));
}

gboolean options_check(const Options *o, GError **error)
{
	if (options_text(o, OPT_JOIN) && !host_form_ok(options_text(o, OPT_JOIN)))
		return wrong(error, "-j %s: not HOST, HOST:PORT or [IPV6]:PORT with a port from 1 to 65533", options_text(o, OPT_JOIN));
	OptionSource boot = o->v[OPT_BOOTSTRAP].number ? o->v[OPT_BOOTSTRAP].from : OPTION_DEFAULT, join = o->v[OPT_JOIN].from;

	if (boot != OPTION_DEFAULT && boot == join)
		return wrong(error, "-b and -j exclude each other: -b begins a new network, -j HOST joins one");
	if (o->v[OPT_KEY].from != OPTION_DEFAULT && o->v[OPT_KEY].from == o->v[OPT_KEYFILE].from)
		return wrong(error, "-k and -K exclude each other: give the secret key once");
	if (o->v[OPT_COPIES].from == OPTION_LINE && boot == OPTION_DEFAULT)
		return wrong(error, "-R goes with -b only: the number of copies is the network's");
	return TRUE;
}

guint64 options_channels(const Options *o)
{
	guint64 mask = 0;
	char unknown;

	if (o->v[OPT_DEBUG_ALL].number)
		return channels_all();
	if (o->v[OPT_DEBUG].text)
		channels_parse(o->v[OPT_DEBUG].text, &mask, &unknown);
	return mask;
}
