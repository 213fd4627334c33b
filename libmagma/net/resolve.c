/* Names to addresses, at start only: getaddrinfo blocks. */
#include "libmagma/net/net.h"
#include "libmagma/net/sock.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <netdb.h>
#include <string.h>

/* "host:99" and "[host]:99" into name and port; FALSE: a port that is none. */
static gboolean split_port(const char *text, guint16 default_port, char **name, guint16 *port)
{
	const char *end = text[0] == '[' ? strchr(text, ']') : NULL;
	const char *colon = end ? (end[1] == ':' ? end + 1 : NULL) : strrchr(text, ':');
	guint64 value = default_port;

	if (end && end[1] != ':' && end[1] != '\0')
		return FALSE;
	/* two colons without brackets: an IPv6 address, not a port */
	if (!end && colon && strchr(text, ':') != colon)
		colon = NULL;
	if (colon && !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &value, NULL))
		return FALSE;
	*name = end ? g_strndup(text + 1, (gsize)(end - text - 1)) : g_strndup(text, colon ? (gsize)(colon - text) : strlen(text));
	*port = (guint16)value;
	return TRUE;
}

guint magma_resolve(const char *host, guint16 default_port, MagmaAddr *out, guint max, GError **error)
{
	g_autofree char *name = NULL;
	guint16 port;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_protocol = IPPROTO_UDP }, *list = NULL;
	guint n = 0;

	if (max > 0 && magma_addr_parse(host, default_port, &out[0]))
		return 1;
	if (!split_port(host, default_port, &name, &port) || *name == '\0') {
		g_set_error(error, MAGMA_ERROR, EINVAL, "%s: not HOST, HOST:PORT or [IPV6]:PORT", host);
		return 0;
	}
	int err = getaddrinfo(name, NULL, &hints, &list);
	for (struct addrinfo *a = list; a && n < max; a = a->ai_next) {
		struct sockaddr_storage ss = { 0 };
		if (a->ai_addrlen > sizeof ss)
			continue;
		memcpy(&ss, a->ai_addr, a->ai_addrlen);
		if (sock_addr_from_system(&ss, &out[n]))
			out[n++].port = port;
	}
	if (list)
		freeaddrinfo(list);
	if (n == 0)
		g_set_error(error, MAGMA_ERROR, EHOSTUNREACH, "%s: %s", name, err == EAI_SYSTEM ? g_strerror(errno) : err ? gai_strerror(err) : "no address");
	return n;
}
