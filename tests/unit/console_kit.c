#include "tests/unit/console_kit.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_US (5 * G_USEC_PER_SEC)

static struct sockaddr_in socket_addr(const MagmaAddr *a, guint16 port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };

	memcpy(&sa.sin_addr, a->ip, 4);
	return sa;
}

static gboolean port_is_free(const MagmaAddr *a, guint16 port, int type)
{
	struct sockaddr_in sa = socket_addr(a, port);
	int fd = socket(AF_INET, type, 0);
	gboolean ok = bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;

	close(fd);
	return ok;
}

MagmaAddr kit_address(void)
{
	MagmaAddr a = { .family = 4, .ip = { 127, 0, 0, 1 } };

	for (;;) {
		a.port = (guint16)g_random_int_range(20000, 60000);
		if (port_is_free(&a, a.port, SOCK_DGRAM) && port_is_free(&a, a.port + 1, SOCK_DGRAM) && port_is_free(&a, a.port + 2, SOCK_STREAM))
			return a;
	}
}

Peer *kit_connect(const MagmaAddr *flare)
{
	struct sockaddr_in sa = socket_addr(flare, flare->port + 2);
	Peer *p = g_new0(Peer, 1);

	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(connect(p->fd, (struct sockaddr *)&sa, sizeof sa), ==, 0);
	int on = 1;
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	g_assert_cmpint(fcntl(p->fd, F_SETFL, O_NONBLOCK), ==, 0);
	p->in = g_string_new("");
	return p;
}

void kit_close(Peer *p)
{
	close(p->fd);
	g_string_free(p->in, TRUE);
	g_free(p);
}

static void receive(Peer *p)
{
	char buf[65536];
	gssize n = recv(p->fd, buf, sizeof buf, 0);

	if (n > 0)
		g_string_append_len(p->in, buf, n);
	else if (n == 0 || errno != EAGAIN)
		p->closed = TRUE;
}

/* The loop may have nothing to do while bytes are under way: it is asked again soon, without being kept busy. */
static void turn(gint64 since)
{
	g_assert_cmpint(g_get_monotonic_time() - since, <, PATIENCE_US);
	if (!g_main_context_iteration(NULL, FALSE))
		g_usleep(500);
}

void kit_send(Peer *p, const void *bytes, gsize n)
{
	const char *at = bytes;

	for (gint64 since = g_get_monotonic_time(); n && !p->closed; turn(since)) {
		gssize sent = send(p->fd, at, n, MSG_NOSIGNAL);
		receive(p);
		if (sent < 0 && errno != EAGAIN)
			return;
		at += MAX(sent, 0);
		n -= MAX(sent, 0);
	}
}

static char *plain(const char *p, gsize n)
{
	GString *out = g_string_new("");

	for (gsize i = 0; i < n; i++)
		if ((guchar)p[i] == 255)
			i += 2;
		else if (p[i] != '\r')
			g_string_append_c(out, p[i]);
	return g_string_free(out, FALSE);
}

char *kit_wait(Peer *p, const char *text)
{
	for (gint64 since = g_get_monotonic_time();; turn(since)) {
		char *at = memmem(p->in->str + p->seen, p->in->len - p->seen, text, strlen(text));      /* there may be NULs before it */
		if (at) {
			char *out = plain(p->in->str + p->seen, at + strlen(text) - p->in->str - p->seen);
			p->seen = at + strlen(text) - p->in->str;
			return out;
		}
		g_assert_false(p->closed);
		receive(p);
	}
}

void kit_wait_closed(Peer *p)
{
	for (gint64 since = g_get_monotonic_time(); !p->closed; turn(since))
		receive(p);
}

char *kit_ask(Peer *p, const char *line)
{
	kit_send(p, line, strlen(line));
	kit_send(p, "\r\n", 2);
	char *all = kit_wait(p, "MAGMA [wallace]:");
	g_free(kit_wait(p, "> "));
	all[strlen(all) - strlen("MAGMA [wallace]:")] = '\0';
	return all;
}

void kit_login(Peer *p)
{
	g_free(kit_wait(p, "> "));
	kit_send(p, "login\r\n", 7);
	g_free(kit_wait(p, "secret: "));
	kit_send(p, KIT_SECRET "\r\n", strlen(KIT_SECRET) + 2);
	g_free(kit_wait(p, "logged in\r\n"));
	g_free(kit_wait(p, "> "));
}

void kit_run_until(const gboolean *flag)
{
	for (gint64 since = g_get_monotonic_time(); !*flag; turn(since))
		;
}
