#include "config.h"
#include "magma_tools/tool.h"
#include "libmagma/base/err.h"
#include "libmagma/client/secret.h"
#include "libmagma/net/net.h"
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

/* Addresses one name may have. */
#define HOSTS_MAX 8

static struct {
	int argc;
	char **argv;                  /* as the kernel knows them; GOption gets copies */
	char *key, *keyfile, **rest;
	gboolean version;
	int port;
} opt = { .port = TOOL_PORT };

/* -k: out of the process list before anything else is looked at. */
static gboolean take_key(const char *name, const char *value, gpointer data, GError **error)
{
	magma_secret_free(opt.key);
	opt.key = g_strdup(value);
	magma_secret_wipe_argv(opt.argc, opt.argv, value);
	return TRUE;
}

static const GOptionEntry network_entries[] = {
	{ "key", 'k', G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, take_key, "the network's secret key (or environment MAGMA_KEY)", "SECRET" },
	{ "keyfile", 'K', 0, G_OPTION_ARG_FILENAME, &opt.keyfile, "read the secret key from FILE, which nobody else may read", "FILE" },
	{ "port", 'p', 0, G_OPTION_ARG_INT, &opt.port, "flare port where HOST names none (default 12000)", "PORT" },
	{ 0 }
};

static const GOptionEntry common_entries[] = {
	{ "version", 'V', 0, G_OPTION_ARG_NONE, &opt.version, "print the version and end", NULL },
	{ G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &opt.rest, NULL, NULL },
	{ 0 }
};

int tool_fail(const ToolSpec *spec, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s: %s\n", spec->name, text);
	return status;
}

int tool_usage(const ToolSpec *spec, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s: %s; usage: %s [OPTION...] %s\n", spec->name, text, spec->name, spec->args);
	return EXIT_USAGE;
}

static gboolean takes_value(const GOptionEntry *e, char letter)
{
	for (; e && e->long_name; e++)
		if (e->short_name == letter)
			return e->arg != G_OPTION_ARG_NONE;
	return FALSE;
}

/* GOption does not know "-kSECRET", and would print it: made into "-k" and "SECRET". */
static char **split_short(const ToolSpec *spec, int argc, char **argv)
{
	g_autoptr(GPtrArray) out = g_ptr_array_new();
	gboolean options = TRUE;

	for (int i = 0; i < argc; i++) {
		const char *a = argv[i];
		options &= strcmp(a, "--") != 0;
		gboolean glued = i > 0 && options && a[0] == '-' && a[1] && a[1] != '-' && a[2];
		if (glued && (takes_value(spec->entries, a[1]) || (spec->network && takes_value(network_entries, a[1])))) {
			g_ptr_array_add(out, g_strndup(a, 2));
			a += 2;
		}
		g_ptr_array_add(out, g_strdup(a));
	}
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&out), FALSE);
}

/* "Unknown option --kye=SECRET", "... -xSECRET": what follows the option stays unsaid. */
static void hide_values(char *message)
{
	char *option = strstr(message, " -");

	g_strdelimit(message, "=", '\0');
	if (option && option[2] && option[2] != '-')
		option[3] = '\0';
}

char **tool_parse(const ToolSpec *spec, int argc, char **argv, int *status)
{
	g_autoptr(GOptionContext) context = g_option_context_new(spec->args);
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) args = split_short(spec, argc, argv);

	setlocale(LC_ALL, "");
	opt.argc = argc;
	opt.argv = argv;
	g_set_prgname(spec->name);
	g_option_context_set_summary(context, spec->summary);
	if (spec->entries)
		g_option_context_add_main_entries(context, spec->entries, NULL);
	if (spec->network)
		g_option_context_add_main_entries(context, network_entries, NULL);
	g_option_context_add_main_entries(context, common_entries, NULL);
	if (!g_option_context_parse_strv(context, &args, &error)) {
		hide_values(error->message);
		*status = tool_usage(spec, "%s", error->message);
		return NULL;
	}
	if (opt.version) {
		printf("%s %s\n", spec->name, PACKAGE_VERSION);
		*status = EXIT_OK;
		return NULL;
	}
	if (opt.port < 1 || opt.port > 65535) {
		*status = tool_usage(spec, "-p %d: a port is 1 to 65535", opt.port);
		return NULL;
	}
	guint n = opt.rest ? g_strv_length(opt.rest) : 0;
	if (n < spec->min_args) {
		*status = tool_usage(spec, n ? "too few arguments" : "no argument given");
		return NULL;
	}
	return g_steal_pointer(&opt.rest);
}

static gboolean derive(const ToolSpec *spec, MagmaClientConfig *cfg, int *status)
{
	g_autoptr(GError) error = NULL;
	char *secret = NULL;

	if (!magma_secret_choose(g_steal_pointer(&opt.key), opt.keyfile, &secret, &error)) {
		*status = error->code == EINVAL ? tool_usage(spec, "%s", error->message) : tool_fail(spec, EXIT_FAILED, "%s", error->message);
		return FALSE;
	}
	gboolean ok = magma_psk_derive(secret, strlen(secret), cfg->psk);
	magma_secret_free(secret);
	if (!ok)
		*status = tool_fail(spec, EXIT_FAILED, "the key could not be derived from the secret: out of memory?");
	return ok;
}

MagmaClient *tool_client(const ToolSpec *spec, const char *host, gboolean proxy, int *status)
{
	g_autoptr(GError) error = NULL;
	MagmaAddr hosts[HOSTS_MAX];
	MagmaClientConfig cfg = { .hosts = hosts, .proxy = proxy };

	if (!derive(spec, &cfg, status))
		return NULL;
	cfg.nhosts = magma_resolve(host, (guint16)opt.port, hosts, HOSTS_MAX, &error);
	MagmaClient *c = cfg.nhosts ? magma_client_new(NULL, &cfg, &error) : NULL;
	explicit_bzero(cfg.psk, sizeof cfg.psk);
	if (c && magma_client_start_sync(c, &error))
		return c;
	*status = tool_fail(spec, EXIT_FAILED, "%s", error->message);
	magma_client_free(c);
	return NULL;
}
