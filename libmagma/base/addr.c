#include "libmagma/base/addr.h"
#include <arpa/inet.h>
#include <string.h>

gboolean magma_addr_equal(const MagmaAddr *a, const MagmaAddr *b)
{
	return a->family == b->family && a->port == b->port && a->scope == b->scope && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

guint magma_addr_hash(gconstpointer addr)
{
	const MagmaAddr *a = addr;
	guint h = 2166136261u;  /* FNV-1a */

	for (gsize i = 0; i < sizeof a->ip; i++)
		h = (h ^ a->ip[i]) * 16777619u;
	h = (h ^ a->port) * 16777619u;
	h = (h ^ a->scope) * 16777619u;
	return (h ^ a->family) * 16777619u;
}

char *magma_addr_format_ip(const MagmaAddr *a, char *out)
{
	/* Longest: 39 of an IPv6 address, '%' and 10 digits, brackets and port (8): 58. */
	if (a->family == 4) {
		inet_ntop(AF_INET, a->ip, out, MAGMA_ADDR_TEXT);
	} else if (a->family == 6) {
		inet_ntop(AF_INET6, a->ip, out, MAGMA_ADDR_TEXT);
		if (a->scope) {
			gsize n = strlen(out);
			g_snprintf(out + n, MAGMA_ADDR_TEXT - n, "%%%u", a->scope);
		}
	} else {
		g_strlcpy(out, "none", MAGMA_ADDR_TEXT);
	}
	return out;
}

char *magma_addr_format(const MagmaAddr *a, char *out)
{
	char ip[MAGMA_ADDR_TEXT];

	magma_addr_format_ip(a, ip);
	if (a->family == 0)
		g_strlcpy(out, ip, MAGMA_ADDR_TEXT);
	else
		g_snprintf(out, MAGMA_ADDR_TEXT, a->family == 6 ? "[%.50s]:%u" : "%.50s:%u", ip, a->port);
	return out;
}

/* Decimal digits only, up to max, the whole text. */
static gboolean parse_number(const char *text, guint64 max, guint64 *out)
{
	guint64 v = 0;

	if (!*text)
		return FALSE;
	for (; *text; text++) {
		if (!g_ascii_isdigit(*text))
			return FALSE;
		v = v * 10 + (guint64)(*text - '0');
		if (v > max)
			return FALSE;
	}
	*out = v;
	return TRUE;
}

static gboolean parse_ip6(char *text, MagmaAddr *a)
{
	char *percent = strchr(text, '%');
	guint64 scope = 0;

	if (percent) {
		*percent = '\0';
		if (!parse_number(percent + 1, G_MAXUINT32, &scope))
			return FALSE;
	}
	a->family = 6;
	a->scope = (guint32)scope;
	return inet_pton(AF_INET6, text, a->ip) == 1;
}

gboolean magma_addr_parse(const char *text, guint16 default_port, MagmaAddr *out)
{
	char buf[MAGMA_ADDR_TEXT];
	MagmaAddr a = { 0 };
	char *host = buf, *port_text = NULL, *colon;
	guint64 port = default_port;
	gboolean ok;

	if (g_strlcpy(buf, text, sizeof buf) >= sizeof buf)
		return FALSE;
	if (buf[0] == '[') {
		char *end = strchr(buf, ']');
		if (!end || (end[1] && end[1] != ':'))
			return FALSE;
		*end = '\0';
		host = buf + 1;
		if (end[1])
			port_text = end + 2;
		ok = parse_ip6(host, &a);
	} else if ((colon = strchr(buf, ':')) && strchr(colon + 1, ':')) {
		ok = parse_ip6(host, &a);
	} else {
		if (colon) {
			*colon = '\0';
			port_text = colon + 1;
		}
		a.family = 4;
		ok = inet_pton(AF_INET, host, a.ip) == 1;
	}
	if (!ok || (port_text && !parse_number(port_text, G_MAXUINT16, &port)))
		return FALSE;
	a.port = (guint16)port;
	*out = a;
	return TRUE;
}

MagmaAddr magma_addr_with_port(const MagmaAddr *a, guint16 port)
{
	MagmaAddr b = *a;
	b.port = port;
	return b;
}

void magma_put_addr(GByteArray *out, const MagmaAddr *a)
{
	magma_put_u8(out, a->family);
	if (a->family == 4) {
		magma_put_bytes(out, a->ip, 4);
	} else if (a->family == 6) {
		magma_put_bytes(out, a->ip, 16);
		magma_put_u32(out, a->scope);
	} else {
		g_assert(a->family == 0);
		return;
	}
	magma_put_u16(out, a->port);
}

void magma_get_addr(MagmaReader *r, MagmaAddr *out)
{
	MagmaAddr a = { .family = magma_get_u8(r) };
	gsize n = a.family == 4 ? 4 : a.family == 6 ? 16 : 0;
	const guint8 *ip = magma_get_bytes(r, n);

	if (a.family == 6)
		a.scope = magma_get_u32(r);
	if (n)
		a.port = magma_get_u16(r);
	else if (a.family)
		r->error = TRUE;
	*out = (MagmaAddr){ 0 };
	if (r->error)
		return;
	if (n)
		memcpy(a.ip, ip, n);
	*out = a;
}
