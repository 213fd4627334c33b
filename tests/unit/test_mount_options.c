/* mount.magma's command line: what is typed -> what is meant, or the one line that says what is wrong. */
#include <string.h>
#include "mount.magma/options.h"

#define MAX_ARGS 16

typedef struct {
	const char *typed;            /* arguments, one blank between; "%20" for a blank inside */
	gboolean root;
	const char *meant;            /* as summary() writes it; NULL: */
	const char *wrong;            /* the error line */
} Row;

static char *summary(const MountOptions *o)
{
	GString *s = g_string_new(o->helper ? "helper" : "own");
	g_autofree char *hosts = g_strjoinv("|", o->hosts);
	g_string_append_printf(s, " %s:%u %s on %s as %s", hosts, o->port, o->path, o->dir, o->source);
	if (o->key)
		g_string_append_printf(s, " key=%s", o->key);
	if (o->keyfile)
		g_string_append_printf(s, " keyfile=%s", o->keyfile);
	if (o->dry_run)
		g_string_append(s, " dry");
	if (o->foreground)
		g_string_append(s, " foreground");
	if (o->fuse_debug)
		g_string_append(s, " fuse_debug");
	if (o->verbose)
		g_string_append(s, " verbose");
	if (o->proxy)
		g_string_append(s, " proxy");
	if (o->read_only)
		g_string_append(s, " read_only");
	if (o->readdirplus)
		g_string_append(s, " readdirplus");
	if (o->nspath)
		g_string_append_printf(s, " ns=%s", o->nspath);
	if (o->trace)
		g_string_append_printf(s, " trace=%" G_GINT64_MODIFIER "x", o->trace);
	if (o->call_timeout_ms)
		g_string_append_printf(s, " timeout=%u", o->call_timeout_ms);
	g_string_append(s, " [");
	for (guint i = 0; i < o->kernel->len; i++)
		g_string_append_printf(s, "%s%s", i ? "," : "", (char *)o->kernel->pdata[i]);
	g_string_append(s, "]");
	return g_string_free(s, FALSE);
}

static const Row rows[] = {
	/* our own form */
	{ "--host=192.168.1.20 --key=s3cr3t /m", FALSE, "own 192.168.1.20:12000 / on /m as 192.168.1.20:/ key=s3cr3t []" },
	{ "--host=192.168.1.20 --key=s3cr3t /m", TRUE, "own 192.168.1.20:12000 / on /m as 192.168.1.20:/ key=s3cr3t [suid,dev,allow_other]" },
	{ "--host a,b:99,[::1],[::1]:7 --keyfile /k /m", FALSE, "own a|b:99|::1|[::1]:7:12000 / on /m as a,b:99,[::1],[::1]:7:/ keyfile=/k []" },
	{ "--host=a -p 13000 -f -s /m", FALSE, "own a:13000 / on /m as a:/ foreground []" },
	{ "/m --host=a --port=13000 -d", FALSE, "own a:13000 / on /m as a:/ foreground fuse_debug []" },
	{ "--host=a /m -o proxy,ro,nosuid", TRUE, "own a:12000 / on /m as a:/ proxy read_only [ro,nosuid,dev,allow_other]" },
	{ "--host=a /m -o key=x%20y -o port=4", FALSE, "own a:4 / on /m as a:/ key=x y []" },
	{ "--host=a --key=a,b=c /m", FALSE, "own a:12000 / on /m as a:/ key=a,b=c []" },
	{ "--host=a --debug=Fc /m", FALSE, "own a:12000 / on /m as a:/ trace=80000004 []" },
	{ "--host=a -- -m", FALSE, "own a:12000 / on -m as a:/ []" },
	/* as mount(8) calls it */
	{ "wallace:/ /mnt/magma -o rw,keyfile=/etc/magma/key", TRUE, "helper wallace:12000 / on /mnt/magma as wallace:/ keyfile=/etc/magma/key [rw,suid,dev,allow_other]" },
	{ "wallace:/projects /mnt/p -o keyfile=/k,ro", FALSE, "helper wallace:12000 /projects on /mnt/p as wallace:/projects keyfile=/k read_only [ro]" },
	{ "h1,h2:/a//b/./ /m -f -n -s -v", FALSE, "helper h1|h2:12000 /a/b on /m as h1,h2:/a//b/./ dry verbose []" },
	{ "[::1]:/ /m -o port=13000", FALSE, "helper ::1:13000 / on /m as [::1]:/ []" },
	{ "fe80::1:/x /m", FALSE, "helper fe80::1:12000 /x on /m as fe80::1:/x []" },
	{ "w:13000:/x /m", FALSE, "helper w:13000:12000 /x on /m as w:13000:/x []" },
	{ "w: /m", FALSE, "helper w:12000 / on /m as w: []" },
	{ "w:/ /m -t magma -N /proc/1/ns/mnt", FALSE, "helper w:12000 / on /m as w:/ ns=/proc/1/ns/mnt []" },
	{ "w:/ /m -t fuse.magma -N 17", FALSE, "helper w:12000 / on /m as w:/ ns=/proc/17/ns/mnt []" },
	{ "w:/ /m -o defaults,nofail,_netdev,user,users,user=alice,x-systemd.automount,X-foo=1,noauto,comment=x,noatime", FALSE, "helper w:12000 / on /m as w:/ []" },
	{ "w:/ /m -o rw,nosuid,nodev,noexec,suid,ro,exec", TRUE, "helper w:12000 / on /m as w:/ read_only [nodev,suid,ro,exec,allow_other]" },
	{ "w:/ /m -o ro,rw,sync,,context=system_u:x", FALSE, "helper w:12000 / on /m as w:/ [rw,sync,context=system_u:x]" },
	{ "w:/ /m -o readdirplus,timeout=7,allow_other", FALSE, "helper w:12000 / on /m as w:/ readdirplus timeout=7000 [allow_other]" },
	/* wrong usage */
	{ "", FALSE, NULL, "no host given; right is mount.magma --host=HOST DIR or mount.magma HOST:/PATH DIR" },
	{ "/m", FALSE, NULL, "no host given; right is mount.magma --host=HOST DIR or mount.magma HOST:/PATH DIR" },
	{ "--host=a", FALSE, NULL, "no mount point given; right is mount.magma --host=HOST DIR" },
	{ "--host=a /m /n", FALSE, NULL, "one mount point is enough; what is '/n'?" },
	{ "--host=, /m", FALSE, NULL, "no host given; right is --host=HOST[,HOST...] or HOST[,HOST...]:/PATH" },
	{ ":/x /m", FALSE, NULL, "no host given; right is --host=HOST[,HOST...] or HOST[,HOST...]:/PATH" },
	{ "wallace /m", FALSE, NULL, "'wallace' is not of the form HOST[,HOST...]:/PATH" },
	{ "w:/../x /m", FALSE, NULL, "path '/../x' must not have '..' in it" },
	{ "w:/ /m -o ro,frobnicate,key=x", FALSE, NULL, "unknown option 'frobnicate' behind -o; see mount.magma --help" },
	{ "w:/ /m -o frob=secret", FALSE, NULL, "unknown option 'frob' behind -o; see mount.magma --help" },
	{ "w:/ /m -o key", FALSE, NULL, "option 'key' needs a value: key=..." },
	{ "w:/ /m -o keyfile=", FALSE, NULL, "option 'keyfile' needs a value: keyfile=..." },
	{ "w:/ /m -o ro=1", FALSE, NULL, "option 'ro' takes no value" },
	{ "w:/ /m -o remount", FALSE, NULL, "option 'remount' is not supported: unmount and mount again" },
	/* as util-linux 2.41 says it */
	{ "w:/ /m -o rw,relatime,user_id=0,group_id=0,max_read=4096,blksize=4096,allow_other,remount", FALSE, NULL, "option 'remount' is not supported: unmount and mount again" },
	{ "w:/ /m -o port=0", FALSE, NULL, "port '0' is not a number from 1 to 65533" },
	{ "--host=a -p x /m", FALSE, NULL, "port 'x' is not a number from 1 to 65533" },
	{ "--host=a -x /m", FALSE, NULL, "unknown option '-x'; see mount.magma --help" },
	{ "--hots=a /m", FALSE, NULL, "unknown option '--hots'; see mount.magma --help" },
	{ "--kye=s3cr3t /m", FALSE, NULL, "unknown option '--kye'; see mount.magma --help" },
	{ "--host=a /m --key", FALSE, NULL, "option '--key' needs a value; see mount.magma --help" },
	{ "--host=a --key=x --keyfile=y /m", FALSE, NULL, "key and keyfile are both given; one is enough" },
	{ "--host=a -n /m", FALSE, NULL, "option '-n' belongs to mount.magma HOST:/PATH DIR" },
	{ "w:/ /m -t nfs", FALSE, NULL, "type 'nfs' is not magma" },
	{ "--host=a --debug=F1 /m", FALSE, NULL, "debug channel '1' is not a letter" },
};

static guint split(const char *typed, char **argv)
{
	guint argc = 0;
	argv[argc++] = g_strdup("mount.magma");
	g_auto(GStrv) parts = g_strsplit(typed, " ", -1);
	for (char **p = parts; *p && **p; p++) {
		g_auto(GStrv) bits = g_strsplit(*p, "%20", -1);
		argv[argc++] = g_strjoinv(" ", bits);
		g_assert_cmpuint(argc, <, MAX_ARGS);
	}
	argv[argc] = NULL;
	return argc;
}

static void test_table(void)
{
	for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
		const Row *row = &rows[i];
		char *argv[MAX_ARGS + 1], *wrong = NULL;
		guint argc = split(row->typed, argv);
		g_test_message("%s", row->typed);
		g_autoptr(MountOptions) o = mount_options_parse((int)argc, argv, row->root, &wrong);
		if (row->wrong) {
			g_assert_null(o);
			g_assert_cmpstr(wrong, ==, row->wrong);
		} else {
			g_assert_cmpstr(wrong, ==, NULL);
			g_assert_nonnull(o);
			g_autofree char *meant = summary(o);
			g_assert_cmpstr(meant, ==, row->meant);
		}
		g_free(wrong);
		for (guint a = 0; a < argc; a++)
			g_free(argv[a]);
	}
}

/* Whatever else is wrong with the line. */
static void test_secret_leaves_argv(void)
{
	static const char *const lines[] = {
		"--host=a --key=s3cr3t /m", "--host=a --key s3cr3t /m", "w:/ /m -o ro,key=s3cr3t,rw", "--host=a -okey=s3cr3t /m",
		"--bad --key=s3,s3cr3t", "-x --key s3cr3t", "w:/ /m -o bad,key=s3cr3t", "w:/ /m -o bad -o ro,key=s3cr3t", "--host=a --key=s3cr3t",
	};
	for (guint i = 0; i < G_N_ELEMENTS(lines); i++) {
		char *argv[MAX_ARGS + 1], *wrong = NULL;
		guint argc = split(lines[i], argv);
		g_autoptr(MountOptions) o = mount_options_parse((int)argc, argv, FALSE, &wrong);
		for (guint a = 0; a < argc; a++) {
			g_assert_null(strstr(argv[a], "s3cr3t"));
			g_free(argv[a]);
		}
		g_assert_true(!!o != !!wrong);
		g_assert_null(wrong ? strstr(wrong, "s3cr3t") : NULL);
		g_free(wrong);
	}
}

/* All else stays as it was typed: it is what ps(1) shows. */
static void test_argv_stays(void)
{
	char *argv[MAX_ARGS + 1], *wrong = NULL;
	guint argc = split("w:/ /m -o ro,key=s3cr3t,port=4,nosuid --keyfile=/k -v", argv);
	G_GNUC_UNUSED g_autoptr(MountOptions) o = mount_options_parse((int)argc, argv, FALSE, &wrong);
	g_autofree char *line = g_strjoinv(" ", argv);
	g_assert_cmpstr(line, ==, "mount.magma w:/ /m -o ro,key=******,port=4,nosuid --keyfile=/k -v");
	g_assert_cmpstr(wrong, ==, "key and keyfile are both given; one is enough");
	g_free(wrong);
	for (guint a = 0; a < argc; a++)
		g_free(argv[a]);
}

static void test_help_and_version(void)
{
	static const struct { const char *line; MountAction action; } rows[] = {
		{ "--help", MOUNT_HELP }, { "-h", MOUNT_HELP }, { "--version", MOUNT_VERSION }, { "-V", MOUNT_VERSION },
	};
	for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
		char *argv[MAX_ARGS + 1], *wrong = NULL;
		guint argc = split(rows[i].line, argv);
		g_autoptr(MountOptions) o = mount_options_parse((int)argc, argv, FALSE, &wrong);
		g_assert_nonnull(o);
		g_assert_cmpint(o->action, ==, rows[i].action);
		for (guint a = 0; a < argc; a++)
			g_free(argv[a]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mount/options/every_line_means_what_the_manual_says", test_table);
	g_test_add_func("/mount/options/a_secret_never_stays_in_the_process_list", test_secret_leaves_argv);
	g_test_add_func("/mount/options/all_else_stays_there", test_argv_stays);
	g_test_add_func("/mount/options/help_and_version_need_nothing_else", test_help_and_version);
	return g_test_run();
}
