/* The listening socket and what all sessions share. */
#include "magmad/console/session.h"
#include "libmagma/base/err.h"
#include <arpa/inet.h>
#include <config.h>
#include <errno.h>
#include <glib-unix.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 16
#define ACCEPT_PAUSE_MS 1000          /* when the process has no file descriptor left */
#define PEER_SILENT_MS 120000         /* unacknowledged output of a peer that vanished */

typedef union { struct sockaddr sa; struct sockaddr_in v4; struct sockaddr_in6 v6; } SockAddr;

static socklen_t addr_to_socket(const MagmaAddr *a, SockAddr *out)
{
	memset(out, 0, sizeof *out);
	if (a->family == 4) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons(a->port);
		memcpy(&out->v4.sin_addr, a->ip, 4);
		return sizeof out->v4;
	}
	out->v6.sin6_family = AF_INET6;
	out->v6.sin6_port = htons(a->port);
	out->v6.sin6_scope_id = a->scope;
	memcpy(&out->v6.sin6_addr, a->ip, 16);
	return sizeof out->v6;
}

static char *socket_to_text(const SockAddr *from)
{
	MagmaAddr a = { .family = from->sa.sa_family == AF_INET ? 4 : 6 };
	char text[MAGMA_ADDR_TEXT];

	if (a.family == 4) {
		a.port = ntohs(from->v4.sin_port);
		memcpy(a.ip, &from->v4.sin_addr, 4);
	} else {
		a.port = ntohs(from->v6.sin6_port);
		a.scope = from->v6.sin6_scope_id;
		memcpy(a.ip, &from->v6.sin6_addr, 16);
	}
	return g_strdup(magma_addr_format(&a, text));
}

/* A peer that vanished without a word is noticed in about two minutes. */
static void set_keepalive(int fd)
{
	int on = 1, idle = 60, interval = 15, count = 4;
	unsigned silent = PEER_SILENT_MS;

	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);      /* telnet's data mark comes as urgent data */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent, sizeof silent);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void welcome(Console *c, ConsoleSession *s)
{
	char ip[MAGMA_ADDR_TEXT];
	g_autofree char *text = g_strdup_printf("\nWelcome to MAGMA version %s\nThis is server %s (%s)\nType help [ENTER] for available commands.\n\n", PACKAGE_VERSION,
		c->name, magma_addr_format_ip(&c->cfg.flare, ip));

	session_stream(s, text, strlen(text));
	session_prompt(s);
	session_pump(s);
}

static void take(Console *c, int fd, const SockAddr *from)
{
	static const char full[] = "too many console sessions: try again later\r\n";
	g_autofree char *peer = socket_to_text(from);

	if (c->sessions->len >= CONSOLE_SESSIONS_MAX) {
		MAGMA_TRACE(c->cfg.trace, 'C', "%s: turned away, %u sessions are open", peer, c->sessions->len);
		if (send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			MAGMA_TRACE(c->cfg.trace, 'C', "%s: is gone already", peer);
		close(fd);
		return;
	}
	set_keepalive(fd);
	ConsoleSession *s = session_new(c, fd, peer);
	g_ptr_array_add(c->sessions, s);
	MAGMA_TRACE(c->cfg.trace, 'C', "%s: connected", peer);
	welcome(c, s);
}

static gboolean on_accept(int fd, GIOCondition cond, gpointer user);

static gboolean on_accept_again(gpointer user)
{
	Console *c = user;

	c->accept_source = g_unix_fd_add(c->fd, G_IO_IN, on_accept, c);
	return G_SOURCE_REMOVE;
}

static gboolean on_accept(int fd, GIOCondition cond, gpointer user)
{
	Console *c = user;

	for (guint i = 0; i < ACCEPTS_PER_TURN; i++) {
		SockAddr from;
		socklen_t len = sizeof from;
		int peer = accept4(fd, &from.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (peer >= 0) {
			take(c, peer, &from);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			g_warning("console: cannot accept a session: %s", g_strerror(errno));
			c->accept_source = g_timeout_add(ACCEPT_PAUSE_MS, on_accept_again, c);
			return G_SOURCE_REMOVE;
		} else if (errno == EAGAIN) {
			break;
		}
	}
	return G_SOURCE_CONTINUE;
}

static int listen_at(const MagmaAddr *addr, GError **error)
{
	SockAddr sa;
	socklen_t len = addr_to_socket(addr, &sa);
	int fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	char text[MAGMA_ADDR_TEXT];

	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		if (addr->family == 6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
		if (bind(fd, &sa.sa, len) == 0 && listen(fd, 64) == 0)
			return fd;
	}
	int code = errno;
	if (fd >= 0)
		close(fd);
	g_set_error(error, MAGMA_ERROR, code, "cannot listen on %s (console, TCP): %s", magma_addr_format(addr, text), g_strerror(code));
	return -1;
}

static void session_destroy(gpointer s) { session_free(s); }

Console *console_new(const ConsoleConfig *cfg, GError **error)
{
	MagmaAddr addr = magma_addr_with_port(&cfg->flare, cfg->flare.port + 2);
	int fd = listen_at(&addr, error);

	if (fd < 0)
		return NULL;
	Console *c = g_new0(Console, 1);
	c->cfg = *cfg;
	c->name = g_strdup(cfg->name);
	c->cfg.name = c->name;
	c->fd = fd;
	c->accept_source = g_unix_fd_add(fd, G_IO_IN, on_accept, c);
	c->sessions = g_ptr_array_new_with_free_func(session_destroy);
	c->files = files_new(&cfg->flare, cfg->psk, cfg->trace);
	c->logins = login_queue_new(c);
	c->users = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	c->groups = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return c;
}

guint console_sessions(const Console *c) { return c->sessions->len; }

/* One try: the process ends, and a peer that does not read is not waited for. */
static void say_farewell(ConsoleSession *s)
{
	session_answer(s, "magmad stops");
	if (!s->dead && send(s->fd, s->out->str + s->out_at, s->out->len - s->out_at, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		MAGMA_TRACE(s->console->cfg.trace, 'C', "%s: is gone already", s->peer);
}

void console_free(Console *c)
{
	if (!c)
		return;
	g_source_remove(c->accept_source);
	close(c->fd);
	for (guint i = 0; i < c->sessions->len; i++)
		say_farewell(c->sessions->pdata[i]);
	g_ptr_array_unref(c->sessions);
	login_queue_free(c->logins);
	files_free(c->files);
	if (c->load)
		cache_load_orphan(c->load);
	g_hash_table_unref(c->users);
	g_hash_table_unref(c->groups);
	explicit_bzero(&c->cfg, sizeof c->cfg);
	g_free(c->name);
	g_free(c);
}
