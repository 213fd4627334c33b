/* magma-ping: is there a volcano, does it know our key, how far is it. */
#include "magma_tools/tool.h"
#include "libmagma/base/err.h"
#include "libmagma/net/net.h"
#include <errno.h>
#include <stdio.h>

static int count = 3;
static double interval = 1.0;

static const GOptionEntry entries[] = {
	{ "count", 'c', 0, G_OPTION_ARG_INT, &count, "pings to send (default 3)", "COUNT" },
	{ "interval", 'i', 0, G_OPTION_ARG_DOUBLE, &interval, "seconds between pings (default 1)", "SECONDS" },
	{ 0 }
};

static const ToolSpec spec = {
	.name = "magma-ping", .args = "HOST[:PORT]", .min_args = 1, .entries = entries, .network = TRUE,
	.summary = "Opens a session to a volcano and pings it. Ends with 0 when it answers and all is well, 3 when it answers and its network is\n"
		"not safe (it says why), 1 when it cannot be reached, 2 on wrong usage.",
};

typedef struct {
	MagmaClient *client;
	const char *host;
	guint sent, answered;
	MagmaTime min, max, sum;
	MagmaTime asked;              /* the ping under way; 0: none */
	int error;
	guint32 unsafe;               /* MAGMA_UNSAFE_*, by the newest answer */
	char *lines;
} Ping;

static void say_who(const Ping *p, const struct magma_rep_ping *rep)
{
	const MagmaMap *map = magma_client_map(p->client);

	printf("%.*s (%s): Magma %.*s, epoch %" G_GUINT64_FORMAT ", %u of %u copies\n", (int)rep->name.len, rep->name.data, p->host,
		(int)rep->software.len, rep->software.data, map->epoch, rep->copies_kept, rep->copies_wanted);
}

static void on_pong(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Ping *p = user;
	MagmaTime took = MAX(magma_net_now() - p->asked, 1);

	p->asked = 0;
	p->error = error;
	if (error)
		return;
	if (p->answered++ == 0)
		say_who(p, &rep->rep_ping);
	p->unsafe = rep->rep_ping.unsafe;
	g_free(p->lines);
	p->lines = magma_ping_lines(&rep->rep_ping);
	printf("answer %u: %.3f ms\n", p->sent, (double)took / 1000);
	fflush(stdout);
	p->min = p->min ? MIN(p->min, took) : took;
	p->max = MAX(p->max, took);
	p->sum += took;
}

static void ping_once(Ping *p)
{
	struct magma_req_ping req = { 0 };

	p->sent++;
	p->asked = magma_net_now();
	magma_client_call_volcano(p->client, 0, MAGMA_OP_ping, &req, on_pong, p);
	while (p->asked)
		g_main_context_iteration(NULL, TRUE);
}

static gboolean set_true(gpointer flag)
{
	*(gboolean *)flag = TRUE;
	return G_SOURCE_REMOVE;
}

static void pause_for(double seconds)
{
	gboolean over = FALSE;

	g_timeout_add((guint)(seconds * 1000), set_true, &over);
	while (!over)
		g_main_context_iteration(NULL, TRUE);
}

static int summary(const Ping *p)
{
	printf("%u sent, %u answered", p->sent, p->answered);
	if (p->answered)
		printf(", round trip min/avg/max %.3f/%.3f/%.3f ms", (double)p->min / 1000, (double)p->sum / p->answered / 1000, (double)p->max / 1000);
	putchar('\n');
	if (p->answered < p->sent)
		return tool_fail(&spec, EXIT_FAILED, "%s: %s", p->host, p->error ? magma_strerror(p->error) : "no answer");
	if (!p->unsafe)
		return EXIT_OK;
	g_auto(GStrv) lines = g_strsplit(p->lines, "\n", -1);
	for (guint i = 0; lines[i] && lines[i][0]; i++)
		tool_fail(&spec, EXIT_UNSAFE, "%s: %s", p->host, lines[i]);
	if (!lines[0] || !lines[0][0])
		tool_fail(&spec, EXIT_UNSAFE, "%s: not safe", p->host);
	return EXIT_UNSAFE;
}

int main(int argc, char **argv)
{
	int status;
	g_auto(GStrv) args = tool_parse(&spec, argc, argv, &status);
	Ping p = { 0 };

	if (!args)
		return status;
	if (args[1])
		return tool_usage(&spec, "%s: only one host", args[1]);
	if (count < 1)
		return tool_usage(&spec, "-c %d: at least 1", count);
	if (!(interval >= 0 && interval <= 3600))
		return tool_usage(&spec, "-i: 0 to 3600 seconds");
	p.host = args[0];
	p.client = tool_client(&spec, args[0], TRUE, &status);
	if (!p.client)
		return status;
	for (int i = 0; i < count; i++) {
		if (i)
			pause_for(interval);
		ping_once(&p);
	}
	status = summary(&p);
	magma_client_free(p.client);
	g_free(p.lines);
	return status;
}
