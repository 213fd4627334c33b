/* magmad's command line: what it takes, the one line it says otherwise, and the secret that nobody sees. */
#include "magmad/channels.h"
#include "magmad/options.h"
#include "libmagma/base/trace.h"
#include <string.h>

/* Parses "magmad ARGS"; *said gets the error (or the help). */
static OptionsResult parse(Options *o, const char *line, char **said)
{
	g_auto(GStrv) argv = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *whole = g_strconcat("magmad ", line, NULL);
	int argc;

	g_assert_true(g_shell_parse_argv(whole, &argc, &argv, NULL));
	OptionsResult r = options_parse(o, options_take(argc, argv), said, &error);
	if (r == OPTIONS_RUN && !options_check(o, &error))
		r = OPTIONS_WRONG;
	if (error) {
		g_assert_cmpint(r, ==, OPTIONS_WRONG);
		g_free(*said);
		*said = g_strdup(error->message);
	}
	return r;
}

static void a_wrong_line_says_what_would_be_right(void)
{
	static const struct { const char *line, *said; } rows[] = {
		{ "-p 0", "-p 0: the flare port must be a number from 1 to 65533" },
		{ "-p 65534", "-p 65534: the flare port must be a number from 1 to 65533" },
		{ "-p http", "-p http: the flare port must be a number from 1 to 65533" },
		{ "--port=-1", "--port -1: the flare port must be a number from 1 to 65533" },
		{ "-p 99999999999999999999", "-p 99999999999999999999: the flare port must be a number from 1 to 65533" },
		{ "-b -R 0", "-R 0: the number of copies must be a number from 1 to 8" },
		{ "-b -R 9", "-R 9: the number of copies must be a number from 1 to 8" },
		{ "-R 2 -j h", "-R goes with -b only: the number of copies is the network's" },
		{ "-w 0", "-w 0: the bandwidth must be a number from 1 to 4294967295" },
		{ "-S 1.5", "-S 1.5: the storage to offer must be a number from 0 to 1048576" },
		{ "-Dfx", "-D fx: there is no debug channel 'x'; the channels are BbcCdFfgJlMmnrsuVv" },
		{ "-D ''", NULL },
		{ "-b -j h", "-b and -j exclude each other: -b begins a new network, -j HOST joins one" },
		{ "-bj h", "-b and -j exclude each other: -b begins a new network, -j HOST joins one" },
		{ "-b -r h", "-b and -j exclude each other: -b begins a new network, -j HOST joins one" },
		{ "-k a -K b", "-k and -K exclude each other: give the secret key once" },
		{ "-n ''", "-n: the nickname is empty" },
		{ "-n a/b", "-n a/b: the nickname is made of letters, digits, '.', '_' and '-'" },
		{ "-k ''", "-k: the secret key is empty" },
		{ "-x", "Unknown option -x; magmad --help lists the options" },
		{ "--kye=m4gm4s3cr3t", "Unknown option --kye; magmad --help lists the options" },
		{ "--colour", "Unknown option --colour; magmad --help lists the options" },
		{ "-p", "Missing argument for -p; magmad --help lists the options" },
		{ "-b now", "unexpected argument now; magmad takes options only, --help lists them" },
		{ "-k my secret", "unexpected argument; magmad takes options only, --help lists them" },
		{ "-n a -- b", "unexpected argument b; magmad takes options only, --help lists them" },
	};

	for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(Options) o = options_new();
		g_autofree char *said = NULL;
		OptionsResult r = parse(o, rows[i].line, &said);
		g_test_message("%s", rows[i].line);
		g_assert_cmpint(r, ==, rows[i].said ? OPTIONS_WRONG : OPTIONS_RUN);
		g_assert_cmpstr(said, ==, rows[i].said);
	}
}

static void the_lines_of_the_manual_are_taken(void)
{
	g_autoptr(Options) o = options_new(), p = options_new();
	g_autofree char *said = NULL;
	guint64 fs = G_GUINT64_CONSTANT(1) << magma_trace_bit('f') | G_GUINT64_CONSTANT(1) << magma_trace_bit('s');

	g_assert_cmpint(parse(o, "-n wallace -s wallace.intranet -k m4gm4s3cr3t -i 192.168.1.20 -b -d /srv/magma -Dfs", &said), ==, OPTIONS_RUN);
	g_assert_cmpstr(options_text(o, OPT_NAME), ==, "wallace");
	g_assert_cmpstr(options_text(o, OPT_FQDN), ==, "wallace.intranet");
	g_assert_cmpstr(options_text(o, OPT_KEY), ==, "m4gm4s3cr3t");
	g_assert_cmpstr(options_text(o, OPT_ADDRESS), ==, "192.168.1.20");
	g_assert_cmpstr(options_text(o, OPT_DIR), ==, "/srv/magma");
	g_assert_true(options_number(o, OPT_BOOTSTRAP));
	g_assert_cmpuint(options_number(o, OPT_PORT), ==, 12000);
	g_assert_cmpuint(options_number(o, OPT_COPIES), ==, 2);
	g_assert_cmpuint(options_number(o, OPT_BANDWIDTH), ==, 100000);
	g_assert_cmpuint(options_channels(o), ==, fs);

	g_assert_cmpint(parse(p, "-n gromit -r 192.168.1.20:13000 -D f -Ds -p13000 --storage 200 --daemon", &said), ==, OPTIONS_RUN);
	g_assert_cmpstr(options_text(p, OPT_JOIN), ==, "192.168.1.20:13000");
	g_assert_cmpuint(options_number(p, OPT_PORT), ==, 13000);
	g_assert_cmpuint(options_number(p, OPT_STORAGE), ==, 200);
	g_assert_true(options_number(p, OPT_DAEMON));
	g_assert_cmpuint(options_channels(p), ==, fs);
	g_assert_null(options_text(p, OPT_KEY));
}

static void all_channels_are_on_with_A(void)
{
	g_autoptr(Options) o = options_new();
	g_autofree char *said = NULL;
	guint64 mask;
	char unknown;

	g_assert_cmpint(parse(o, "-A", &said), ==, OPTIONS_RUN);
	g_assert_cmpuint(options_channels(o), ==, channels_all());
	g_assert_true(channels_parse(channels_letters(), &mask, &unknown));
	g_assert_cmpuint(mask, ==, channels_all());
}

static void help_names_every_option_and_channel(void)
{
	g_autoptr(Options) o = options_new();
	g_autofree char *help = NULL;

	g_assert_cmpint(parse(o, "-b --help", &help), ==, OPTIONS_HELP);
	for (guint i = 0; i < OPT_COUNT; i++) {
		g_autofree char *option = g_strdup_printf("--%s", OPTIONS[i].key);
		g_assert_nonnull(strstr(help, option));
		if (OPTIONS[i].def)
			g_assert_nonnull(strstr(help, OPTIONS[i].def));
	}
	for (guint i = 0; i < CHANNELS_COUNT; i++)
		g_assert_nonnull(strstr(help, CHANNELS[i].help));
	g_assert_cmpint(parse(o, "--version", &help), ==, OPTIONS_VERSION);
}

/* /proc/PID/cmdline shows what lies in argv's own memory. */
static void the_secret_is_nowhere_in_argv(void)
{
	static const char *const forms[] = { "-k|s3cret", "-ks3cret", "--key=s3cret", "--key|s3cret", "-bk|s3cret", "-bks3cret", "-x|-k|s3cret", "-k|one|-k|s3cret", "-n|x|-ks3cret|y" };

	for (guint i = 0; i < G_N_ELEMENTS(forms); i++) {
		g_autofree char *line = g_strconcat("magmad|", forms[i], NULL);
		g_auto(GStrv) argv = g_strsplit(line, "|", -1);
		char **args = options_take(g_strv_length(argv), argv);
		g_autofree char *left = g_strjoinv(" ", argv), *taken = g_strjoinv(" ", args);
		g_assert_null(strstr(left, "s3cret"));
		g_assert_nonnull(strstr(taken, "s3cret"));
		g_strfreev(args);
	}
}

/* What is no option's value stays as it is: a volcano may be called -k's value. */
static void only_the_secret_is_wiped(void)
{
	char line[] = "magmad|-n|wallace|-d|/k|-k|wallace|--|-k|x";
	g_auto(GStrv) argv = g_strsplit(line, "|", -1);
	char **args = options_take(g_strv_length(argv), argv);
	g_autofree char *left = g_strjoinv(" ", argv);

	g_assert_cmpstr(left, ==, "magmad -n wallace -d /k -k ******* -- -k x");
	g_strfreev(args);
}

static void bytes_beyond_ascii_make_a_secret_too(void)
{
	g_autoptr(Options) o = options_new();
	g_autofree char *said = NULL;

	g_assert_cmpint(parse(o, "-b -k 'gr\xc3\xbc\xff\xc3'", &said), ==, OPTIONS_RUN);
	g_assert_cmpstr(options_text(o, OPT_KEY), ==, "gr\xc3\xbc\xff\xc3");
	g_assert_cmpint(parse(o, "-d 'gr\xff'", &said), ==, OPTIONS_WRONG);
	g_assert_cmpstr(said, ==, "-d: the storage folder is not UTF-8");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/options/a_wrong_line_says_what_would_be_right", a_wrong_line_says_what_would_be_right);
	g_test_add_func("/options/the_lines_of_the_manual_are_taken", the_lines_of_the_manual_are_taken);
	g_test_add_func("/options/all_channels_are_on_with_A", all_channels_are_on_with_A);
	g_test_add_func("/options/help_names_every_option_and_channel", help_names_every_option_and_channel);
	g_test_add_func("/options/the_secret_is_nowhere_in_argv", the_secret_is_nowhere_in_argv);
	g_test_add_func("/options/only_the_secret_is_wiped", only_the_secret_is_wiped);
	g_test_add_func("/options/bytes_beyond_ascii_make_a_secret_too", bytes_beyond_ascii_make_a_secret_too);
	return g_test_run();
}
