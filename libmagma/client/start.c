/* First contact: hosts tried in turn, overlapping, and an error that says what is wrong. */
#include "libmagma/client/client-internal.h"
#include "libmagma/base/err.h"
#include <errno.h>

/* The next host gets its chance while the first is still being asked. */
#define NEXT_HOST_AFTER SECOND
/* All hosts are begun so early that their handshakes (3 s) can end within the time allowed. */
#define BEGIN_WITHIN (1400 * MS)
#define USUAL_PORT 12000

struct Start {
	void (*done)(void *user, const GError *error);
	void *user;
	MagmaTime deadline, next_at, step;
	guint begun;                  /* hosts */
};

static void start_finish(MagmaClient *c, GError *error)
{
	Start *s = c->start;
	void (*done)(void *, const GError *) = s->done;
	void *user = s->user;

	c->start = NULL;
	g_free(s);
	for (guint i = 0; i < c->cfg.nhosts; i++)
		if (c->hosts[i] != c->home)
			peer_drop_session(c->hosts[i]);
	client_alarm_reset(c);
	done(user, error);
	g_clear_error(&error);
}

static GError *start_error(MagmaClient *c)
{
	g_autoptr(GString) hosts = g_string_new(NULL);
	char text[MAGMA_ADDR_TEXT];

	for (guint i = 0; i < c->cfg.nhosts; i++) {
		const Peer *p = c->hosts[i];
		magma_addr_format(&p->addr, text);
		if (p->failures && p->why == MAGMA_CLOSE_AUTH)
			return g_error_new(MAGMA_ERROR, MAGMA_EAUTH, "authentication failed at %s: wrong secret key%s", text,
				p->addr.port == USUAL_PORT ? "" : ", or that is not a flare port");
		if (p->state == PEER_GREETING)
			return g_error_new(MAGMA_ERROR, ETIMEDOUT, "the volcano at %s is there, but does not serve yet", text);
		g_string_append_printf(hosts, "%s%s", hosts->len ? ", " : "", text);
	}
	return g_error_new(MAGMA_ERROR, MAGMA_ENOBODY, "no answer from %s: no Magma volcano there", hosts->str);
}

static gboolean in_progress(const Peer *p)
{
	return p->state == PEER_CONNECTING || p->state == PEER_GREETING;
}

/* Begins the next host; where none is left and none is under way, it is over. */
static void start_next(MagmaClient *c)
{
	Start *s = c->start;

	while (s->begun < c->cfg.nhosts) {
		Peer *p = c->hosts[s->begun++];
		s->next_at = magma_net_now() + s->step;
		p->failures = 0;
		peer_want(p);
		if (in_progress(p))
			return;
	}
	for (guint i = 0; i < c->cfg.nhosts; i++)
		if (in_progress(c->hosts[i]))
			return;
	start_finish(c, start_error(c));
}

void start_peer_up(MagmaClient *c, Peer *p)
{
	if (c->start)
		start_finish(c, NULL);
}

void start_peer_failed(MagmaClient *c, Peer *p)
{
	if (c->start && p->by_host)
		start_next(c);
}

MagmaTime start_deadline(const MagmaClient *c)
{
	const Start *s = c->start;

	return !s ? NEVER : s->begun < c->cfg.nhosts ? MIN(s->deadline, s->next_at) : s->deadline;
}

void start_alarm(MagmaClient *c, MagmaTime now)
{
	Start *s = c->start;

	if (!s)
		return;
	if (now >= s->deadline)
		start_finish(c, start_error(c));
	else if (s->begun < c->cfg.nhosts && now >= s->next_at)
		start_next(c);
}

void start_cancel(MagmaClient *c)
{
	g_autoptr(GError) error = g_error_new_literal(MAGMA_ERROR, ECANCELED, "ended before a volcano was reached");
	Start *s = g_steal_pointer(&c->start);

	if (s)
		s->done(s->user, error);
	g_free(s);
}

void magma_client_start(MagmaClient *c, void (*done)(void *user, const GError *error), void *user)
{
	g_return_if_fail(!c->start && !c->closing);
	client_enter(c);
	Start *s = c->start = g_new0(Start, 1);
	s->done = done;
	s->user = user;
	s->deadline = magma_net_now() + c->cfg.start_timeout_ms * MS;
	s->step = c->cfg.nhosts > 1 ? MIN(NEXT_HOST_AFTER, BEGIN_WITHIN / (c->cfg.nhosts - 1)) : NEXT_HOST_AFTER;
	start_next(c);
	client_alarm_reset(c);
	client_leave(c);
}

typedef struct {
	gboolean decided;
	GError *error;
} Decision;

static void on_decided(void *user, const GError *error)
{
	Decision *d = user;

	d->decided = TRUE;
	d->error = error ? g_error_copy(error) : NULL;
}

gboolean magma_client_start_sync(MagmaClient *c, GError **error)
{
	Decision d = { 0 };

	magma_client_start(c, on_decided, &d);
	while (!d.decided)
		g_main_context_iteration(c->ctx, TRUE);
	if (d.error)
		g_propagate_error(error, d.error);
	return d.error == NULL;
}
