/* Sessions: reliable while they last, messages independent of each other. */
#include "tests/sim/cluster-internal.h"

typedef struct {
	Link *link;
	guint to;
	GBytes *msg;
} Carried;

static Link *link_ref(Link *l)
{
	l->refs++;
	return l;
}

void link_unref(Link *l)
{
	if (--l->refs)
		return;
	for (guint i = 0; i < 2; i++)
		g_free(l->end[i].session);
	g_free(l);
}

gboolean link_end_alive(const Link *l, guint side)
{
	const End *e = &l->end[side];

	return !e->closed && (e->client || node_alive(e->node, e->life));
}

static const char *end_name(const Link *l, guint side) { return l->end[side].node ? l->end[side].node->name : l->end[side].name; }

/* The end hears that the session is over, and forgets it. */
static void end_close(Link *l, guint side, const char *why)
{
	End *e = &l->end[side];
	gboolean alive = link_end_alive(l, side);

	e->closed = TRUE;
	if (!alive)
		return;
	if (e->client)
		sim_client_link_closed(e->client, l, e->peer);
	else if (e->session)
		volcano_session_closed(e->node->volcano, e->session, why);
}

typedef struct {
	Link *link;
	guint side;
	const char *why;
} Closing;

static void closing(void *arg)
{
	Closing *k = arg;

	end_close(k->link, k->side, k->why);
	link_unref(k->link);
	g_free(k);
}

static void close_later(Link *l, guint side, gint64 delay, const char *why)
{
	Closing *k = g_new(Closing, 1);

	*k = (Closing){ link_ref(l), side, why };
	world_after(l->c->world, delay, TRUE, closing, k);
}

void link_cut(Link *l)
{
	world_trace(l->c->world, "-- session %s-%s lost", end_name(l, 0), end_name(l, 1));
	close_later(l, 0, world_pick(l->c->world, 300000), "fell silent");
	close_later(l, 1, world_pick(l->c->world, 300000), "fell silent");
}

void link_end_died(Link *l, guint side)
{
	l->end[side].closed = TRUE;
	close_later(l, !side, world_pick(l->c->world, 1000000), "fell silent");
}

static void end_opened(Link *l, guint side)
{
	End *e = &l->end[side];

	if (!link_end_alive(l, side))
		return;
	if (e->client) {
		sim_client_link_open(e->client, l, e->peer);
		return;
	}
	if (!e->session) {
		e->session = g_new0(Session, 1);
		*e->session = (Session){ l, side, NULL };
	}
	volcano_session_opened(e->node->volcano, e->session, l->is_node);
}

static void answered(void *arg)
{
	Link *l = arg;

	end_opened(l, 0);
	link_unref(l);
}

static gboolean parted(const Link *l)
{
	gint64 now = world_now(l->c->world);

	return l->is_node && ((l->end[0].node && l->end[0].node->parted > now) || l->end[1].node->parted > now);
}

/* The first datagram is there. */
static void arrives(void *arg)
{
	Link *l = arg;
	Node *to = l->end[1].node;
	World *w = l->c->world;

	l->end[1].life = to->life;
	if (!to->volcano || !link_end_alive(l, 0) || parted(l)) {
		l->end[1].closed = TRUE;
		close_later(l, 0, 100000 + world_pick(w, 400000), "no volcano answers");
		link_unref(l);
		return;
	}
	l->accepted = TRUE;
	end_opened(l, 1);
	world_after(w, world_delay(w), TRUE, answered, l);
}

static Link *link_new(Cluster *c, gboolean is_node, Node *to)
{
	Link *l = g_new0(Link, 1);

	l->c = c;
	l->is_node = is_node;
	l->end[1].node = to;
	l->end[1].life = to->life;
	g_ptr_array_add(c->links, link_ref(l));
	world_after(c->world, world_delay(c->world), TRUE, arrives, link_ref(l));
	return l;
}

Session *link_connect(Node *from, const MagmaAddr *node_addr)
{
	Cluster *c = from->c;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		MagmaAddr at = magma_addr_with_port(&c->node[i].addr, c->node[i].addr.port + 1);
		if (!magma_addr_equal(&at, node_addr))
			continue;
		Link *l = link_new(c, TRUE, &c->node[i]);
		l->end[0].node = from;
		l->end[0].life = from->life;
		l->end[0].session = g_new0(Session, 1);
		*l->end[0].session = (Session){ l, 0, NULL };
		return l->end[0].session;
	}
	return NULL;
}

Link *link_from_client(SimClient *s, guint volcano)
{
	Cluster *c = NULL;
	Link *l;

	c = *(Cluster **)s;           /* its first member */
	l = link_new(c, FALSE, &c->node[volcano]);
	l->end[0].client = s;
	l->end[0].peer = volcano;
	g_snprintf(l->end[0].name, sizeof l->end[0].name, "client-%x", (guint)(sim_client_id(s) & 0xfff));
	return l;
}

static void carry(Carried *k);

static void delivered(void *arg)
{
	Carried *k = arg;
	Link *l = k->link;
	End *to = &l->end[k->to];

	if (k->to == 1 && !l->accepted && !to->closed && link_end_alive(l, 0)) {
		carry(k);             /* it waits for the handshake */
		return;
	}
	if (link_end_alive(l, k->to) && (k->to == 0 || l->accepted) && !parted(l)) {
		world_trace_message(l->c->world, end_name(l, !k->to), end_name(l, k->to), k->msg);
		if (to->client)
			sim_client_message(to->client, l, k->msg);
		else
			volcano_message(to->node->volcano, to->session, l->is_node, k->msg);
	}
	g_bytes_unref(k->msg);
	link_unref(l);
	g_free(k);
}

static void carry(Carried *k) { world_after(k->link->c->world, world_delay(k->link->c->world), TRUE, delivered, k); }

gboolean link_send(Link *l, guint side, GBytes *msg)
{
	Carried *k;

	if (!link_end_alive(l, side))
		return FALSE;
	k = g_new(Carried, 1);
	*k = (Carried){ link_ref(l), !side, g_bytes_ref(msg) };
	carry(k);
	return TRUE;
}
