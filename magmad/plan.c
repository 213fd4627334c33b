#include "magmad/plan.h"
#include "magmad/log.h"
#include "libmagma/base/err.h"
#include "libmagma/client/secret.h"
#include "libmagma/net/net.h"
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define JOIN_PORT 12000               /* of a volcano named without one: the well-known port, whatever our own is */

static gboolean refuse(GError **error, int code, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
static gboolean refuse(GError **error, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_autofree char *text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	g_set_error_literal(error, MAGMA_ERROR, code, text);
	return FALSE;
}

static gboolean name_ok(const char *s, gsize max)
{
	gsize n = strlen(s);

	for (; *s; s++)
		if (!g_ascii_isalnum(*s) && !strchr("._-", *s))
			return FALSE;
	return n > 0 && n <= max;
}

/* It is the name of a file in /.dht. */
static gboolean name_taken(const char *name) { return g_str_equal(name, "conflicts") || g_str_equal(name, ".") || g_str_equal(name, ".."); }

static char *choose_name(const Options *o, GError **error)
{
	char host[256] = "";
	const char *name = options_text(o, OPT_NAME);

	if (!name && gethostname(host, sizeof host - 1) == 0)
		host[strcspn(host, ".")] = '\0';
	if (!name && !name_ok(host, 63)) {
		refuse(error, ENOENT, "the host name '%s' does not do as a nickname: give one with -n", host);
		return NULL;
	}
	name = name ? name : host;
	if (name_taken(name)) {
		refuse(error, EINVAL, "-n %s: that nickname is taken by a directory of /.dht; give another one", name);
		return NULL;
	}
	return g_strdup(name);
}

static char *choose_fqdn(const Options *o, const char *name)
{
	struct addrinfo hints = { .ai_flags = AI_CANONNAME, .ai_socktype = SOCK_DGRAM }, *res = NULL;
	char *fqdn = NULL;

	if (options_text(o, OPT_FQDN))
		return g_strdup(options_text(o, OPT_FQDN));
	if (getaddrinfo(name, NULL, &hints, &res) == 0) {
		if (res->ai_canonname && name_ok(res->ai_canonname, 255))
			fqdn = g_strdup(res->ai_canonname);
		freeaddrinfo(res);
	}
	return fqdn ? fqdn : g_strdup(name);
}

static gboolean wildcard_or_multicast(const MagmaAddr *a)
{
	static const guint8 zero[16];

	if (a->family == 4)
		return memcmp(a->ip, zero, 4) == 0 || a->ip[0] >= 224;
	return memcmp(a->ip, zero, 16) == 0 || a->ip[0] == 0xff;
}

static gboolean loopback(const MagmaAddr *a)
{
	static const guint8 one[16] = { [15] = 1 };

	return a->family == 4 ? a->ip[0] == 127 : memcmp(a->ip, one, 16) == 0;
}

static gboolean given_addr(const Options *o, MagmaAddr *out, GError **error)
{
	const char *text = options_text(o, OPT_ADDRESS);
	guint16 port = (guint16)options_number(o, OPT_PORT);
	g_autoptr(GError) e = NULL;

	if (!magma_addr_parse(text, 0, out) && !magma_resolve(text, 0, out, 1, &e))
		return refuse(error, EINVAL, "-i %s: not an address of this host: %s", text, e ? e->message : "cannot be resolved");
	if (out->port != 0)
		return refuse(error, EINVAL, "-i %s: an address without a port is expected; the port goes with -p", text);
	if (wildcard_or_multicast(out))
		return refuse(error, EINVAL, "-i %s: other volcanos and clients must reach the address: give one of this host's own", text);
	out->port = port;
	return TRUE;
}

static gboolean choose_addr(const Options *o, const char *fqdn, MagmaAddr *out, GError **error)
{
	g_autoptr(GError) e = NULL;
	char ip[MAGMA_ADDR_TEXT];

	if (options_text(o, OPT_ADDRESS))
		return given_addr(o, out, error);
	if (!magma_resolve(fqdn, (guint16)options_number(o, OPT_PORT), out, 1, &e))
		return refuse(error, ENOENT, "cannot find the local address: %s%s does not resolve; give the address with -i", fqdn,
			options_text(o, OPT_FQDN) ? " (-s)" : "");
	/* Debian's /etc/hosts gives the host's own name 127.0.1.1; announced, it would lead the others to themselves */
	if (loopback(out))
		return refuse(error, EINVAL, "%s%s is %s here, which no other machine reaches: give this host's address with -i", fqdn,
			options_text(o, OPT_FQDN) ? " (-s)" : "", magma_addr_format_ip(out, ip));
	out->port = (guint16)options_number(o, OPT_PORT);
	return TRUE;
}

static gboolean derive_key(const Options *o, guint8 psk[MAGMA_PSK_LEN], GError **error)
{
	/* the command line goes over the file, as with all options */
	gboolean key = options_text(o, OPT_KEY) && o->v[OPT_KEY].from >= o->v[OPT_KEYFILE].from;
	char *secret = NULL;

	if (!magma_secret_choose(key ? g_strdup(options_text(o, OPT_KEY)) : NULL, key ? NULL : options_text(o, OPT_KEYFILE), &secret, error))
		return FALSE;
	gboolean ok = magma_psk_derive(secret, strlen(secret), psk);
	magma_secret_free(secret);
	return ok || refuse(error, ENOMEM, "cannot derive the key: scrypt needs 32 MiB of memory");
}

/* Of the file system dir is on, or will be. */
static guint64 file_system_size(const char *dir)
{
	g_autofree char *path = g_strdup(dir);
	struct statvfs st;

	while (statvfs(path, &st) < 0) {
		char *up = g_path_get_dirname(path);
		if (errno != ENOENT || g_str_equal(up, path)) {
			g_free(up);
			return 0;
		}
		g_free(path);
		path = up;
	}
	return (guint64)st.f_blocks * st.f_frsize;
}

static gboolean begins_network(const Options *o)
{
	return o->v[OPT_BOOTSTRAP].number && o->v[OPT_BOOTSTRAP].from >= o->v[OPT_JOIN].from;
}

static gboolean choose_storage(const Options *o, const char *dir, guint64 *out, GError **error)
{
	guint64 gb = options_number(o, OPT_STORAGE), size = file_system_size(dir);

	if (!options_given(o, OPT_STORAGE)) {
		*out = size;
		return TRUE;
	}
	if (gb == 0 && begins_network(o))
		return refuse(error, EINVAL, "-S 0: a witness keeps nothing, so it cannot begin a network: begin it with a volcano that offers storage, and let the witness join");
	*out = gb << 30;
	if (size && *out > size)
		log_say("-S %" G_GUINT64_FORMAT ": more than the %" G_GUINT64_FORMAT " GB of the file system of %s", gb, size >> 30, dir);
	return TRUE;
}

/* FALSE also when join names nobody; bootstrap asks nobody. */
static gboolean choose_network(const Options *o, Identity *id, GError **error)
{
	const OptionValue *join = &o->v[OPT_JOIN];
	MagmaAddr found[8];
	g_autoptr(GError) e = NULL;

	id->bootstrap = begins_network(o);
	if (id->bootstrap)
		return TRUE;
	guint n = magma_resolve(join->text, JOIN_PORT, found, G_N_ELEMENTS(found), &e);
	for (guint i = 0; i < n; i++)
		if (found[i].family == id->addr.family) {
			if (found[i].port > 65533 || found[i].port == 0)
				return refuse(error, EINVAL, "-j %s: the port must be a number from 1 to 65533", join->text);
			if (magma_addr_equal(&found[i], &id->addr))
				return refuse(error, EINVAL, "-j %s: that is the address of this volcano itself; name one that is in the network", join->text);
			id->join = found[i];
			return TRUE;
		}
	if (n)
		return refuse(error, EINVAL, "-j %s: has no IPv%d address, and this volcano has one of that family only", join->text, id->addr.family);
	return refuse(error, ENOENT, "-j %s", e ? e->message : join->text);        /* it begins with the name */
}

Identity *plan_first(const Options *o, const char *dir, GError **error)
{
	g_autoptr(Identity) id = identity_new();

	if (!options_number(o, OPT_BOOTSTRAP) && !options_text(o, OPT_JOIN)) {
		refuse(error, ENOENT, "%s holds no volcano: -b begins a new network there, -j HOST joins one", dir);
		return NULL;
	}
	if (!(id->name = choose_name(o, error)))
		return NULL;
	id->fqdn = choose_fqdn(o, id->name);
	id->bandwidth = (guint32)options_number(o, OPT_BANDWIDTH);
	id->copies = (guint16)options_number(o, OPT_COPIES);
	id->pending = TRUE;
	if (!choose_addr(o, id->fqdn, &id->addr, error) || !choose_network(o, id, error) || !choose_storage(o, dir, &id->offered, error)
	    || !derive_key(o, id->psk, error))
		return NULL;
	return g_steal_pointer(&id);
}

/* An option that names what the folder knows already. */
static gboolean same_text(const Options *o, OptionId opt, const char *known, const char *dir, GError **error)
{
	if (!options_given(o, opt) || g_str_equal(options_text(o, opt), known))
		return TRUE;
	return refuse(error, EINVAL, "-%c %s: %s belongs to %s; leave -%c away, or give another folder with -d", OPTIONS[opt].letter, options_text(o, opt), dir, known,
		OPTIONS[opt].letter);
}

static gboolean same_addr(const Options *o, const Identity *id, const char *dir, GError **error)
{
	MagmaAddr given = id->addr;
	char known[MAGMA_ADDR_TEXT], ip[MAGMA_ADDR_TEXT];

	magma_addr_format(&id->addr, known);
	if (options_given(o, OPT_PORT) && options_number(o, OPT_PORT) != id->addr.port)
		return refuse(error, EINVAL, "-p %" G_GUINT64_FORMAT ": %s belongs to %s at %s; addresses are part of the network and cannot be changed yet: leave -p away",
			options_number(o, OPT_PORT), dir, id->name, known);
	if (!options_given(o, OPT_ADDRESS))
		return TRUE;
	if (!given_addr(o, &given, error))
		return FALSE;
	given.port = id->addr.port;
	if (!magma_addr_equal(&given, &id->addr))
		return refuse(error, EINVAL, "-i %s: %s belongs to %s at %s; addresses are part of the network and cannot be changed yet: leave -i away",
			magma_addr_format_ip(&given, ip), dir, id->name, known);
	return TRUE;
}

static gboolean same_key(const Options *o, const Identity *id, const char *dir, GError **error)
{
	guint8 psk[MAGMA_PSK_LEN];

	if (!options_given(o, OPT_KEY) && !options_given(o, OPT_KEYFILE))
		return TRUE;
	if (!derive_key(o, psk, error))
		return FALSE;
	gboolean same = memcmp(psk, id->psk, sizeof psk) == 0;
	explicit_bzero(psk, sizeof psk);
	if (same)
		return TRUE;
	return refuse(error, EACCES, "%s: the folder belongs to a network with another key; a restart needs none: leave -%c away", dir, options_text(o, OPT_KEY) ? 'k' : 'K');
}

/* -b and -j, on a folder whose first start was not completed: goes on with it. */
static gboolean resume_first(const Options *o, Identity *id, const char *dir, GError **error)
{
	const OptionValue *boot = &o->v[OPT_BOOTSTRAP], *join = &o->v[OPT_JOIN];

	if ((boot->number && boot->from == OPTION_LINE && !id->bootstrap) || (join->from == OPTION_LINE && id->bootstrap))
		return refuse(error, EEXIST, "%s: holds the beginning of a start with %s that was not completed: empty the folder first", dir, id->bootstrap ? "-b" : "-j");
	return id->bootstrap || !join->text || choose_network(o, id, error);
}

/* -j on a volcano that is in a network: a restart, if HOST is in that network too. The core compares it with its lava map. */
static gboolean same_network(const Options *o, Identity *id, GError **error)
{
	gboolean began = id->bootstrap;
	gboolean ok = choose_network(o, id, error);

	id->bootstrap = began;
	id->again = TRUE;
	return ok;
}

static gboolean check_first(const Options *o, Identity *id, const char *dir, GError **error)
{
	if (id->pending)
		return resume_first(o, id, dir, error);
	/* in a configuration file, -b and -j mean the first start */
	if (options_number(o, OPT_BOOTSTRAP) && o->v[OPT_BOOTSTRAP].from == OPTION_LINE)
		return refuse(error, EEXIST, "-b: %s already holds the volcano %s: leave -b away to restart it", dir, id->name);
	if (o->v[OPT_JOIN].from == OPTION_LINE)
		return same_network(o, id, error);
	return TRUE;
}

static void tell_kept(const Options *o, const Identity *id)
{
	if (options_given(o, OPT_BANDWIDTH) && options_number(o, OPT_BANDWIDTH) != id->bandwidth)
		log_say("-w %" G_GUINT64_FORMAT ": the network knows %u Kbit/s and that stays: it cannot be changed yet", options_number(o, OPT_BANDWIDTH), id->bandwidth);
	if (options_given(o, OPT_STORAGE) && options_number(o, OPT_STORAGE) << 30 != id->offered)
		log_say("-S %" G_GUINT64_FORMAT ": the network knows %" G_GUINT64_FORMAT " MByte and that stays: it cannot be changed yet", options_number(o, OPT_STORAGE),
			id->offered >> 20);
}

Identity *plan_restart(const Options *o, const char *dir, GError **error)
{
	g_autoptr(Identity) id = identity_load(dir, error);

	if (!id || !check_first(o, id, dir, error) || !same_text(o, OPT_NAME, id->name, dir, error) || !same_text(o, OPT_FQDN, id->fqdn, dir, error)
	    || !same_addr(o, id, dir, error) || !same_key(o, id, dir, error))
		return NULL;
	tell_kept(o, id);
	return g_steal_pointer(&id);
}
