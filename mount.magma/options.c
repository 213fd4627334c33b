#include "mount.magma/options.h"
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "libmagma/base/trace.h"
#include "libmagma/client/secret.h"
#include "libmagma/flare/flare.h"

const char MOUNT_HELP_TEXT[] =
	"Usage: mount.magma --host=HOST[,HOST...] [OPTION...] DIR\n"
	"       mount.magma HOST[,HOST...]:/PATH DIR [-o OPTION[,OPTION...]]\n"
	"       mount -t magma HOST[,HOST...]:/PATH DIR [-o OPTION[,OPTION...]]\n"
	"\n"
	"Mounts a lava network, or a directory of it, on DIR.\n"
	"\n"
	"  --host=HOST[,HOST...]  volcanos of the network, tried in turn\n"
	"  -p, --port=PORT        their flare port (12000)\n"
	"  --key=SECRET           the network's secret key\n"
	"  --keyfile=FILE         read the secret key from a file; else it comes from the environment, MAGMA_KEY\n"
	"  -o proxy               speak to that host only, it forwards to the others\n"
	"  -o OPTION[,...]        key=, keyfile=, port=, ro, nosuid, nodev, noexec and other options of mount(8),\n"
	"                         allow_other (on when root mounts)\n"
	"  -f                     stay in the foreground\n"
	"  -s                     single thread (it always is)\n"
	"  -d                     FUSE debug messages, in the foreground\n"
	"  --debug=LETTERS        debug channels to log\n"
	"  -v, --verbose          say what is done\n"
	"  -h, --help             this text\n"
	"  -V, --version          the version\n"
	"\n"
	"After HOST:/PATH DIR the letters mean what mount(8) means by them: -f is a dry run; -s and -n do nothing.\n";

void mount_options_free(MountOptions *o)
{
	if (!o)
		return;
	g_strfreev(o->hosts);
	g_free(o->path);
	g_free(o->dir);
	g_free(o->source);
	g_free(o->nspath);
	magma_secret_free(o->key);
	g_free(o->keyfile);
	g_ptr_array_unref(o->kernel);
	g_free(o);
}

/* ---- the options behind -o ---- */

typedef enum {
	OPT_IGNORE,      /* mount(8)'s own business, or what Magma does anyway */
	OPT_FLAG,        /* handed on to the kernel */
	OPT_VALUE,       /* handed on with its value */
	OPT_KEY, OPT_KEYFILE, OPT_PORT, OPT_PROXY, OPT_READDIRPLUS, OPT_TIMEOUT,
	OPT_REFUSE,
} OptKind;

typedef struct {
	const char *name;
	OptKind kind;
	const char *undoes;           /* of OPT_FLAG: its opposite, which the later one of the two takes back */
} OptRow;

static const OptRow opt_rows[] = {
	{ "key", OPT_KEY }, { "keyfile", OPT_KEYFILE }, { "port", OPT_PORT }, { "proxy", OPT_PROXY },
	{ "readdirplus", OPT_READDIRPLUS }, { "timeout", OPT_TIMEOUT },
	{ "ro", OPT_FLAG, "rw" }, { "rw", OPT_FLAG, "ro" },
	{ "suid", OPT_FLAG, "nosuid" }, { "nosuid", OPT_FLAG, "suid" },
	{ "dev", OPT_FLAG, "nodev" }, { "nodev", OPT_FLAG, "dev" },
	{ "exec", OPT_FLAG, "noexec" }, { "noexec", OPT_FLAG, "exec" },
	{ "sync", OPT_FLAG, "async" }, { "async", OPT_FLAG, "sync" },
	{ "dirsync", OPT_FLAG }, { "allow_other", OPT_FLAG },
	{ "context", OPT_VALUE }, { "fscontext", OPT_VALUE }, { "defcontext", OPT_VALUE }, { "rootcontext", OPT_VALUE },
	/* the volcanos keep the times and check the permissions */
	{ "atime", OPT_IGNORE }, { "noatime", OPT_IGNORE }, { "diratime", OPT_IGNORE }, { "nodiratime", OPT_IGNORE },
	{ "relatime", OPT_IGNORE }, { "norelatime", OPT_IGNORE }, { "strictatime", OPT_IGNORE }, { "nostrictatime", OPT_IGNORE },
	{ "lazytime", OPT_IGNORE }, { "nolazytime", OPT_IGNORE }, { "default_permissions", OPT_IGNORE },
	{ "iversion", OPT_IGNORE }, { "noiversion", OPT_IGNORE }, { "mand", OPT_IGNORE }, { "nomand", OPT_IGNORE },
	{ "silent", OPT_IGNORE }, { "loud", OPT_IGNORE },
	/* for mount(8) and systemd */
	{ "defaults", OPT_IGNORE }, { "auto", OPT_IGNORE }, { "noauto", OPT_IGNORE }, { "nofail", OPT_IGNORE }, { "_netdev", OPT_IGNORE },
	{ "user", OPT_IGNORE }, { "nouser", OPT_IGNORE }, { "users", OPT_IGNORE }, { "nousers", OPT_IGNORE },
	{ "owner", OPT_IGNORE }, { "noowner", OPT_IGNORE }, { "group", OPT_IGNORE }, { "nogroup", OPT_IGNORE },
	{ "comment", OPT_IGNORE }, { "helper", OPT_IGNORE }, { "uhelper", OPT_IGNORE },
	/* the kernel shows these of every FUSE mount, and newer versions of mount(8) hand back what it shows */
	{ "user_id", OPT_IGNORE }, { "group_id", OPT_IGNORE }, { "max_read", OPT_IGNORE }, { "blksize", OPT_IGNORE },
	{ "remount", OPT_REFUSE }, { "bind", OPT_REFUSE }, { "rbind", OPT_REFUSE }, { "move", OPT_REFUSE },
};

static const OptRow *opt_find(const char *name, gsize len)
{
	for (guint i = 0; i < G_N_ELEMENTS(opt_rows); i++)
		if (strlen(opt_rows[i].name) == len && !memcmp(opt_rows[i].name, name, len))
			return &opt_rows[i];
	return NULL;
}

static void kernel_drop(MountOptions *o, const char *name)
{
	for (guint i = o->kernel->len; i-- > 0;)
		if (g_str_equal(o->kernel->pdata[i], name))
			g_ptr_array_remove_index(o->kernel, i);
}

static gboolean kernel_has(const MountOptions *o, const char *name)
{
	for (guint i = 0; i < o->kernel->len; i++)
		if (g_str_equal(o->kernel->pdata[i], name))
			return TRUE;
	return FALSE;
}

static void kernel_add_flag(MountOptions *o, const OptRow *row)
{
	kernel_drop(o, row->name);
	if (row->undoes)
		kernel_drop(o, row->undoes);
	g_ptr_array_add(o->kernel, g_strdup(row->name));
}

static char *parse_port(MountOptions *o, const char *text)
{
	guint64 n;
	if (!text || !g_ascii_string_to_unsigned(text, 10, 1, 65533, &n, NULL))
		return g_strdup_printf("port '%s' is not a number from 1 to 65533", text ? text : "");
	o->port = (guint16)n;
	return NULL;
}

/* value: NULL for an option without '='; in argv, so that a secret can be wiped where it stands. */
static char *apply_opt(MountOptions *o, const char *name, gsize name_len, char *value)
{
	const OptRow *row = opt_find(name, name_len);
	if (!row) {
		if (g_str_has_prefix(name, "x-") || g_str_has_prefix(name, "X-"))
			return NULL;
		return g_strdup_printf("unknown option '%.*s' behind -o; see mount.magma --help", (int)name_len, name);
	}
	gboolean wants = row->kind == OPT_KEY || row->kind == OPT_KEYFILE || row->kind == OPT_PORT || row->kind == OPT_VALUE || row->kind == OPT_TIMEOUT;
	if (wants && (!value || !*value))
		return g_strdup_printf("option '%s' needs a value: %s=...", row->name, row->name);
	if (!wants && value && row->kind != OPT_IGNORE)
		return g_strdup_printf("option '%s' takes no value", row->name);
	guint64 n;
	switch (row->kind) {
	case OPT_IGNORE:
		return NULL;
	case OPT_FLAG:
		kernel_add_flag(o, row);
		return NULL;
	case OPT_VALUE:
		g_ptr_array_add(o->kernel, g_strdup_printf("%s=%s", row->name, value));
		return NULL;
	case OPT_KEY:
		magma_secret_free(o->key);
		o->key = magma_secret_take_arg(value);
		return NULL;
	case OPT_KEYFILE:
		g_free(o->keyfile);
		o->keyfile = g_strdup(value);
		return NULL;
	case OPT_PORT:
		return parse_port(o, value);
	case OPT_PROXY:
		o->proxy = TRUE;
		return NULL;
	case OPT_READDIRPLUS:
		o->readdirplus = TRUE;
		return NULL;
	case OPT_TIMEOUT:
		if (!g_ascii_string_to_unsigned(value, 10, 1, 86400, &n, NULL))
			return g_strdup_printf("timeout '%s' is not a number of seconds from 1 to 86400", value);
		o->call_timeout_ms = (guint)n * 1000;
		return NULL;
	case OPT_REFUSE:
		return g_strdup_printf("option '%s' is not supported: unmount and mount again", row->name);
	}
	g_assert_not_reached();
}

/* list is part of argv. */
static char *apply_opts(MountOptions *o, char *list)
{
	for (char *at = list; at;) {
		char *comma = strchr(at, ',');
		if (comma)
			*comma = 0;
		char *eq = strchr(at, '=');
		char *error = *at ? apply_opt(o, at, eq ? (gsize)(eq - at) : strlen(at), eq ? eq + 1 : NULL) : NULL;
		if (comma)
			*comma = ',';
		if (error)
			return error;
		at = comma ? comma + 1 : NULL;
	}
	return NULL;
}

/* ---- hosts and paths ---- */

static char *parse_hosts(MountOptions *o, const char *list, gsize len)
{
	g_autofree char *copy = g_strndup(list, len);
	g_auto(GStrv) parts = g_strsplit(copy, ",", -1);
	g_autoptr(GPtrArray) hosts = g_ptr_array_new_with_free_func(g_free);
	for (char **p = parts; *p; p++) {
		gsize n = strlen(*p);
		if (n > 2 && **p == '[' && (*p)[n - 1] == ']')          /* [::1] without a port */
			g_ptr_array_add(hosts, g_strndup(*p + 1, n - 2));
		else if (n)
			g_ptr_array_add(hosts, g_strdup(*p));
	}
	if (!hosts->len)
		return g_strdup("no host given; right is --host=HOST[,HOST...] or HOST[,HOST...]:/PATH");
	g_ptr_array_add(hosts, NULL);
	g_strfreev(o->hosts);
	o->hosts = (char **)g_ptr_array_free(g_steal_pointer(&hosts), FALSE);
	return NULL;
}

/* "/a//b/./" -> "/a/b"; the keys are of paths without "." and "..". */
static char *parse_path(MountOptions *o, const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, "/", -1);
	g_autoptr(GString) path = g_string_new(NULL);
	for (char **p = parts; *p; p++) {
		if (!**p || g_str_equal(*p, "."))
			continue;
		if (g_str_equal(*p, ".."))
			return g_strdup_printf("path '%s' must not have '..' in it", text);
		if (strlen(*p) > MAGMA_NAME_MAX)
			return g_strdup_printf("path '%s' has a name longer than %d bytes", text, MAGMA_NAME_MAX);
		g_string_append_printf(path, "/%s", *p);
	}
	if (path->len > MAGMA_PATH_MAX)
		return g_strdup_printf("path '%s' is longer than %d bytes", text, MAGMA_PATH_MAX);
	if (!path->len)
		g_string_append_c(path, '/');
	g_free(o->path);
	o->path = g_string_free(g_steal_pointer(&path), FALSE);
	return NULL;
}

/* HOST[,HOST...]:/PATH; "HOST:" is the root. The first ":/" ends the hosts: no address has a slash. */
static char *parse_spec(MountOptions *o, const char *spec)
{
	gsize len = strlen(spec);
	const char *colon = strstr(spec, ":/");
	if (!colon && len && spec[len - 1] == ':')
		colon = spec + len - 1;
	if (!colon)
		return g_strdup_printf("'%s' is not of the form HOST[,HOST...]:/PATH", spec);
	g_free(o->source);
	o->source = g_strdup(spec);
	char *error = parse_hosts(o, spec, (gsize)(colon - spec));
	return error ? error : parse_path(o, colon + 1);
}

static char *parse_debug(MountOptions *o, const char *letters)
{
	for (const char *p = letters; *p; p++) {
		if (!g_ascii_isalpha(*p))
			return g_strdup_printf("debug channel '%c' is not a letter", *p);
		o->trace |= (guint64)1 << magma_trace_bit(*p);
	}
	return NULL;
}

/* ---- the command line ---- */

enum { LONG_HOST = 256, LONG_KEY, LONG_KEYFILE, LONG_DEBUG };

static const struct option long_options[] = {
	{ "host", required_argument, NULL, LONG_HOST },
	{ "port", required_argument, NULL, 'p' },
	{ "key", required_argument, NULL, LONG_KEY },
	{ "keyfile", required_argument, NULL, LONG_KEYFILE },
	{ "debug", required_argument, NULL, LONG_DEBUG },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

typedef struct {
	gboolean f, n, ns, t;
	gboolean host;
} Seen;

static char *bad_option(char **argv, int c)
{
	if (c == ':')
		return g_strdup_printf("option '%s' needs a value; see mount.magma --help", argv[optind - 1]);
	if (optopt && optopt < 256)
		return g_strdup_printf("unknown option '-%c'; see mount.magma --help", optopt);
	/* never with its value: it may be a mistyped --key */
	const char *arg = argv[optind - 1];
	return g_strdup_printf("unknown option '%.*s'; see mount.magma --help", (int)strcspn(arg, "="), arg);
}

static char *apply_letter(MountOptions *o, Seen *seen, int c, char *arg)
{
	switch (c) {
	case LONG_HOST:
		seen->host = TRUE;
		g_free(o->source);
		o->source = g_strdup_printf("%s:/", arg);
		return parse_hosts(o, arg, strlen(arg));
	case 'p':
		return parse_port(o, arg);
	case LONG_KEY:
		magma_secret_free(o->key);
		o->key = magma_secret_take_arg(arg);
		return NULL;
	case LONG_KEYFILE:
		g_free(o->keyfile);
		o->keyfile = g_strdup(arg);
		return NULL;
	case LONG_DEBUG:
		return parse_debug(o, arg);
	case 'o':
		return apply_opts(o, arg);
	case 'f':
		seen->f = TRUE;
		return NULL;
	case 'n':
		seen->n = TRUE;
		return NULL;
	case 'N':
		seen->ns = TRUE;
		g_free(o->nspath);
		o->nspath = g_ascii_isdigit(*arg) ? g_strdup_printf("/proc/%s/ns/mnt", arg) : g_strdup(arg);
		return NULL;
	case 't':
		seen->t = TRUE;
		if (!g_str_equal(arg, "magma") && !g_str_equal(arg, "fuse.magma"))
			return g_strdup_printf("type '%s' is not magma", arg);
		return NULL;
	case 'd':
		o->fuse_debug = o->foreground = TRUE;
		return NULL;
	case 'v':
		o->verbose = TRUE;
		return NULL;
	case 's':
		return NULL;
	case 'h':
		o->action = MOUNT_HELP;
		return NULL;
	case 'V':
		o->action = MOUNT_VERSION;
		return NULL;
	}
	g_assert_not_reached();
}

/* Which of the two forms it is, and what the letters that differ mean in it. */
static char *decide_form(MountOptions *o, const Seen *seen, int nargs, char **args)
{
	if (nargs == 2 && !seen->host) {
		o->helper = TRUE;
		o->dry_run = seen->f;
		o->dir = g_strdup(args[1]);
		return parse_spec(o, args[0]);
	}
	if (!seen->host)
		return g_strdup("no host given; right is mount.magma --host=HOST DIR or mount.magma HOST:/PATH DIR");
	if (nargs == 0)
		return g_strdup("no mount point given; right is mount.magma --host=HOST DIR");
	if (nargs > 1)
		return g_strdup_printf("one mount point is enough; what is '%s'?", args[1]);
	if (seen->n || seen->ns || seen->t)
		return g_strdup_printf("option '-%c' belongs to mount.magma HOST:/PATH DIR", seen->n ? 'n' : seen->ns ? 'N' : 't');
	o->dir = g_strdup(args[0]);
	o->foreground |= seen->f;
	return parse_path(o, "/");
}

static void kernel_default(MountOptions *o, const char *name)
{
	const OptRow *row = opt_find(name, strlen(name));
	if (!kernel_has(o, row->name) && !(row->undoes && kernel_has(o, row->undoes)))
		kernel_add_flag(o, row);
}

static void set_defaults(MountOptions *o, gboolean as_root)
{
	o->read_only = kernel_has(o, "ro");
	if (!as_root)
		return;
	/* libfuse starts from nosuid,nodev; whoever is root gets what mount.nfs gives */
	kernel_default(o, "suid");
	kernel_default(o, "dev");
	kernel_default(o, "allow_other");
}

/* Secrets behind a mistake further left must not stay in the process list. */
static void wipe_rest(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		gboolean whole = g_str_has_prefix(argv[i], "--");
		if (g_str_equal(argv[i], "--key") && i + 1 < argc)
			memset(argv[i + 1], '*', strlen(argv[i + 1]));
		for (char *at = argv[i]; (at = strstr(at, "key=")); at += 4)
			for (char *p = at + 4; *p && (whole || *p != ','); p++)
				*p = '*';
	}
}

MountOptions *mount_options_parse(int argc, char **argv, gboolean as_root, char **error)
{
	g_autoptr(MountOptions) o = g_new0(MountOptions, 1);
	o->kernel = g_ptr_array_new_with_free_func(g_free);
	o->port = MOUNT_DEFAULT_PORT;
	Seen seen = { 0 };
	char *wrong = NULL;
	g_autoptr(GPtrArray) args = g_ptr_array_new();
	optind = 0;
	opterr = 0;
	/* '-': arguments come in their order whatever POSIXLY_CORRECT says; mount(8) puts them before the options */
	for (int c; !wrong && (c = getopt_long(argc, argv, "-:p:o:N:t:fsnvdhV", long_options, NULL)) != -1;) {
		if (c == 1)
			g_ptr_array_add(args, optarg);
		else
			wrong = c == '?' || c == ':' ? bad_option(argv, c) : apply_letter(o, &seen, c, optarg);
	}
	while (optind < argc)
		g_ptr_array_add(args, argv[optind++]);
	if (!wrong && o->action == MOUNT_RUN)
		wrong = decide_form(o, &seen, (int)args->len, (char **)args->pdata);
	if (!wrong && o->key && o->keyfile)
		wrong = g_strdup("key and keyfile are both given; one is enough");
	if (wrong) {
		wipe_rest(argc, argv);
		*error = wrong;
		return NULL;
	}
	set_defaults(o, as_root);
	return g_steal_pointer(&o);
}
