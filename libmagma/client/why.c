/* Why nobody answered: what the volcanos themselves say is not safe. */
#include "libmagma/client/client-internal.h"
#include "libmagma/base/err.h"
#include <string.h>

/* A volcano that is there answers a ping at once; the first handshake with one that was not spoken to yet takes its time. */
#define WHY_WITHIN_MS 3000

char *magma_ping_lines(const struct magma_rep_ping *rep)
{
	char *s = g_strndup((const char *)rep->lines.data, rep->lines.len);

	for (char *c = s; *c; c++)
		if (*c != '\n' && !g_ascii_isprint(*c))
			*c = '?';
	return s;
}

typedef struct {
	guint refs;                   /* a ping may be answered when nobody waits any more */
	guint asked;                  /* pings under way */
	gboolean over;
	char *lines;                  /* of the first that had any */
} Why;

static void why_unref(Why *y)
{
	if (--y->refs)
		return;
	g_free(y->lines);
	g_free(y);
}

static void on_pong(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Why *y = user;

	y->asked--;
	if (!error && rep->rep_ping.unsafe && rep->rep_ping.lines.len && !y->lines)
		y->lines = magma_ping_lines(&rep->rep_ping);
	why_unref(y);
}

static gboolean on_late(gpointer user)
{
	((Why *)user)->over = TRUE;
	return G_SOURCE_REMOVE;
}

static void ask(MagmaClient *c, Peer *p, Why *y)
{
	struct magma_req_ping req = { 0 };

	y->refs++;
	y->asked++;
	call_new(c, TO_VOLCANO, p, MAGMA_OP_ping, NULL, &req, NULL, on_pong, y);
}

static void ask_all(MagmaClient *c, Why *y)
{
	client_enter(c);
	if (c->home)
		ask(c, c->home, y);
	for (guint i = 0; i < c->cfg.nhosts; i++)
		if (c->hosts[i] != c->home)
			ask(c, c->hosts[i], y);
	client_leave(c);
}

/* One line of them all. */
static char *joined(char *lines)
{
	g_auto(GStrv) all = g_strsplit(g_strchomp(lines), "\n", -1);

	return g_strjoinv("; ", all);
}

char *magma_client_why_sync(MagmaClient *c)
{
	Why *y = g_new0(Why, 1);
	GSource *late = g_timeout_source_new(WHY_WITHIN_MS);
	char *text = NULL;

	y->refs = 1;
	if (c->unanswered && !c->closing) {
		g_source_set_callback(late, on_late, y, NULL);
		g_source_attach(late, c->ctx);
		ask_all(c, y);
		while (y->asked && !y->lines && !y->over)
			g_main_context_iteration(c->ctx, TRUE);
	}
	c->unanswered = FALSE;
	if (y->lines) {
		g_autofree char *lines = joined(y->lines);
		text = g_strdup_printf("no answer within %g s: %s", c->cfg.call_timeout_ms / 1000.0, lines);
	}
	g_source_destroy(late);
	g_source_unref(late);
	why_unref(y);
	return text;
}
