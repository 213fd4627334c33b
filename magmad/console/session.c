/* One console session: its socket, its queue of output, its lines, and the command that runs. */
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include "libmagma/base/err.h"
#include "libmagma/client/secret.h"
#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINES_PER_TURN 16             /* commands of one session before others have their turn */
#define LOGIN_IDLE_S 60               /* without a line, before the login */
#define LOGIN_MAX_S 300               /* and with any number of them */

static void watch(ConsoleSession *s);

static gsize backlog(const ConsoleSession *s) { return s->out->len - s->out_at; }

static gboolean on_pump(gpointer user)
{
	ConsoleSession *s = user;

	s->pump_source = 0;
	session_pump(s);
	return G_SOURCE_REMOVE;
}

void session_pump_later(ConsoleSession *s)
{
	if (!s->pump_source)
		s->pump_source = g_idle_add_full(G_PRIORITY_DEFAULT, on_pump, s, NULL);
}

void session_stream(ConsoleSession *s, const char *p, gsize n)
{
	if (s->dead)
		return;
	telnet_append(s->out, p, n);
	watch(s);
}

gboolean session_has_room(const ConsoleSession *s) { return backlog(s) < SESSION_OUT_HIGH; }

void session_prompt(ConsoleSession *s)
{
	g_autofree char *cwd = text_clean(s->cwd, strlen(s->cwd));
	g_autofree char *prompt = s->asking ? g_strdup("secret: ") : g_strdup_printf("MAGMA [%s]:%s> ", s->console->name, cwd);

	s->json = FALSE;
	session_stream(s, prompt, strlen(prompt));
}

/* ---- commands ---- */

static void refuse_command(ConsoleSession *s, CommandMatch match, char **words, const GString *candidates)
{
	if (match == COMMAND_UNKNOWN) {
		session_error(s, words[0], 0, "unknown command, type help for a list");
	} else {
		g_autofree char *text = g_strdup_printf("which one: %s? help explains them", candidates->str);
		session_error(s, words[0], 0, text);
	}
}

/* TRUE: done. */
static gboolean run_words(ConsoleSession *s, char **words, guint n)
{
	g_autoptr(GString) candidates = g_string_new("");
	const Command *c = NULL;
	guint used = 0;
	CommandMatch match = command_find(words, n, &c, &used, candidates);

	if (match != COMMAND_FOUND) {
		refuse_command(s, match, words, candidates);
		return TRUE;
	}
	MAGMA_TRACE(s->console->cfg.trace, 'C', "%s: %s", s->peer, c->name);
	if (c->needs_login && !s->logged_in) {
		session_error(s, c->name, EACCES, "log in first: type login");
		return TRUE;
	}
	if (n - used < c->min_args || n - used > c->max_args) {
		g_autofree char *usage = command_usage(c);
		g_autofree char *text = g_strdup_printf("usage: %s", usage);
		session_error(s, c->name, EINVAL, text);
		return TRUE;
	}
	return c->run(s, words + used);
}

/* TRUE: the next line may follow. */
static gboolean run_line(ConsoleSession *s, const char *text)
{
	CommandLine line;
	gboolean done = TRUE;

	if (s->asking)
		return login_check(s, text ? text : "");
	if (!text)
		session_error(s, NULL, EINVAL, "line too long: a line has at most 4096 bytes");
	else if (!command_split(text, &line))
		session_error(s, NULL, EINVAL, "a quote is left open");
	else {
		guint n = line.words->len - 1;
		s->json = line.json;
		if (n)
			done = run_words(s, (char **)line.words->pdata, n);
	}
	if (text)
		command_line_clear(&line);
	return done;
}

/* Behind the answer to the timing mark that follows ^C: until then telnet throws away what comes. */
static void tell_interrupted(ConsoleSession *s)
{
	s->interrupted = FALSE;
	if (s->busy)
		session_error(s, NULL, EINTR, "interrupted");
	else
		session_stream(s, "\n", 1);
	s->busy = FALSE;
	session_prompt(s);
}

void session_pump(ConsoleSession *s)
{
	guint n = 0;

	if (s->interrupted && !s->ending)
		tell_interrupted(s);
	for (; n < LINES_PER_TURN && !s->busy && !s->ending && s->lines.length && backlog(s) < SESSION_OUT_MAX; n++) {
		char *text = g_queue_pop_head(&s->lines);
		s->lines_bytes -= text ? strlen(text) + 1 : 1;
		s->busy = TRUE;
		if (run_line(s, text) && s->busy) {
			s->busy = FALSE;
			if (!s->ending)
				session_prompt(s);
		}
		magma_secret_free(text);      /* it may have been the secret */
	}
	if (n == LINES_PER_TURN && !s->ending)
		session_pump_later(s);
	if (s->eof && !s->busy && !s->lines.length)
		session_end(s);
	watch(s);
}

/* ---- input ---- */

static void arm_login_timer(ConsoleSession *s);

static gboolean on_login_late(gpointer user)
{
	ConsoleSession *s = user;

	s->idle_source = 0;
	if (s->busy) {
		arm_login_timer(s);           /* a secret is being checked */
	} else if (!s->logged_in) {
		session_answer(s, "nobody logged in: closed");
		session_end(s);
	}
	return G_SOURCE_REMOVE;
}

static void arm_login_timer(ConsoleSession *s)
{
	gint64 left = LOGIN_MAX_S - (g_get_monotonic_time() - s->opened) / G_USEC_PER_SEC;

	if (s->idle_source)
		g_source_remove(s->idle_source);
	s->idle_source = s->logged_in ? 0 : g_timeout_add_seconds((guint)CLAMP(left, 1, LOGIN_IDLE_S), on_login_late, s);
}

static void on_line(void *user, const char *line, gsize len)
{
	ConsoleSession *s = user;

	g_queue_push_tail(&s->lines, g_strdup(line));
	s->lines_bytes += strlen(line) + 1;
	arm_login_timer(s);
}

static void on_too_long(void *user)
{
	ConsoleSession *s = user;

	g_queue_push_tail(&s->lines, NULL);
	s->lines_bytes++;
}

static void drop_lines(ConsoleSession *s)
{
	while (s->lines.length)
		magma_secret_free(g_queue_pop_head(&s->lines));
	s->lines_bytes = 0;
}

static void on_interrupt(void *user)
{
	ConsoleSession *s = user;

	if (s->ending || (s->task && s->task->stubborn))
		return;
	drop_lines(s);
	if (s->asking) {
		s->asking = FALSE;
		telnet_hide(&s->telnet, FALSE);
	}
	session_drop_task(s);
	s->interrupted = TRUE;
}

static void on_eof(void *user)
{
	((ConsoleSession *)user)->eof = TRUE;
}

static void on_reply(void *user, const void *p, gsize n)
{
	ConsoleSession *s = user;

	if (!s->dead)
		g_string_append_len(s->out, p, n);
}

static const TelnetOps TELNET = { on_line, on_too_long, on_interrupt, on_eof, on_reply };

static void on_dead(ConsoleSession *s)
{
	s->dead = TRUE;
	session_end(s);
}

static gboolean on_readable(int fd, GIOCondition cond, gpointer user)
{
	ConsoleSession *s = user;
	guint8 buf[16384];
	gssize n = recv(fd, buf, sizeof buf, 0);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return G_SOURCE_CONTINUE;
	if (n < 0)
		on_dead(s);
	else if (n == 0)
		s->eof = TRUE;
	else
		telnet_input(&s->telnet, buf, n, &s->ending);
	explicit_bzero(buf, MAX(n, 0));
	session_pump(s);
	return G_SOURCE_CONTINUE;             /* watch() has taken the source away where it is not wanted */
}

static gboolean on_writable(int fd, GIOCondition cond, gpointer user)
{
	ConsoleSession *s = user;
	gssize n = send(fd, s->out->str + s->out_at, backlog(s), MSG_NOSIGNAL);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return G_SOURCE_CONTINUE;
	if (n < 0) {
		on_dead(s);
		return G_SOURCE_CONTINUE;
	}
	s->out_at += n;
	if (backlog(s) == 0) {
		g_string_truncate(s->out, 0);
		s->out_at = 0;
	} else if (s->out_at > SESSION_OUT_HIGH) {
		g_string_erase(s->out, 0, s->out_at);
		s->out_at = 0;
	}
	if (s->task && s->task->room && backlog(s) < SESSION_OUT_HIGH / 2)
		s->task->room(s->task);
	if (!s->busy)
		session_pump(s);
	else
		watch(s);
	return G_SOURCE_CONTINUE;
}

/* Closes at the end of a turn: never inside a callback that still uses the session. */
static gboolean on_end(gpointer user)
{
	ConsoleSession *s = user;

	s->pump_source = 0;
	g_ptr_array_remove_fast(s->console->sessions, s);
	return G_SOURCE_REMOVE;
}

static void set_source(guint *source, gboolean want, int fd, GIOCondition cond, GUnixFDSourceFunc fn, ConsoleSession *s)
{
	if (want && !*source)
		*source = g_unix_fd_add(fd, cond, fn, s);
	else if (!want && *source) {
		g_source_remove(*source);
		*source = 0;
	}
}

/* What the session waits for follows from its state alone. */
static void watch(ConsoleSession *s)
{
	gboolean read = !s->ending && !s->eof && backlog(s) < SESSION_OUT_MAX && s->lines_bytes < SESSION_IN_MAX;

	set_source(&s->in_source, read, s->fd, G_IO_IN, on_readable, s);
	set_source(&s->out_source, backlog(s) > 0 && !s->dead, s->fd, G_IO_OUT, on_writable, s);
	if (s->ending && (s->dead || backlog(s) == 0)) {
		if (s->pump_source)
			g_source_remove(s->pump_source);
		s->pump_source = g_idle_add_full(G_PRIORITY_DEFAULT, on_end, s, NULL);
	}
}

void session_end(ConsoleSession *s)
{
	if (!s->ending) {
		s->ending = TRUE;
		drop_lines(s);
		session_drop_task(s);
		s->busy = FALSE;
	}
	watch(s);
}

ConsoleSession *session_new(Console *c, int fd, const char *peer)
{
	ConsoleSession *s = g_new0(ConsoleSession, 1);

	s->console = c;
	s->fd = fd;
	s->peer = g_strdup(peer);
	s->cwd = g_strdup("/");
	s->out = g_string_sized_new(4096);
	s->opened = g_get_monotonic_time();
	g_queue_init(&s->lines);
	telnet_init(&s->telnet, &TELNET, s);
	arm_login_timer(s);
	return s;
}

void session_free(ConsoleSession *s)
{
	guint sources[] = { s->in_source, s->out_source, s->pump_source, s->idle_source };

	for (guint i = 0; i < G_N_ELEMENTS(sources); i++)
		if (sources[i])
			g_source_remove(sources[i]);
	session_drop_task(s);
	drop_lines(s);
	telnet_clear(&s->telnet);
	g_string_free(s->out, TRUE);
	close(s->fd);
	MAGMA_TRACE(s->console->cfg.trace, 'C', "%s: closed", s->peer);
	g_free(s->peer);
	g_free(s->cwd);
	g_free(s);
}
