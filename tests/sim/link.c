/* Sessions: reliable while they last, messages independent of each other. What the network does to them, and when an end finds out, is docs/protocol-sessions.md (T2 to T5, H6): nobody is told that the other side
 * is gone; it is quiet, and after a while a side that waits for something draws its conclusion. */
#include "tests/sim/cluster-internal.h"

#define MS ((gint64)1000)
#define SEC (1000 * MS)
#define WATCH (100 * MS)
#define SUSPECT (300 * MS)            /* T4 */
#define SILENT (10 * SEC)             /* T5 */
#define KEEPALIVE (20 * SEC)          /* T2 */
#define PEER_GONE (60 * SEC)          /* T3 */
#define HANDSHAKE (4 * SEC)           /* H6 */
#define REPEAT (400 * MS)             /* probe timeouts: what waited for a path leaves within it */

typedef struct {
	Link *link;
	guint to;
	GBytes *msg;
} Carried;

static void watch(Link *l);
static void watch_on(Link *l);

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
static guint owner_of(const Link *l, guint side) { return l->end[side].node ? node_owner(l->end[side].node) : 0; }

/* Does a datagram of that side arrive at the other host? */
static gboolean reaches(const Link *l, guint from) { return !cluster_blocked(l->c, l->end[from].point, l->end[!from].point); }
static gboolean stopped(const Link *l, guint side) { return l->end[side].node && world_paused(l->c->world, owner_of(l, side)); }
/* A process that knows the session, and runs. */
static gboolean answers(const Link *l, guint side) { return link_end_alive(l, side) && !stopped(l, side); }
static gboolean whole(const Link *l, guint side) { return reaches(l, side) && reaches(l, !side) && answers(l, !side); }

static void carried_free(gpointer p)
{
	Carried *k = p;

	g_bytes_unref(k->msg);
	link_unref(k->link);
	g_free(k);
}

static void stuck_clear(Link *l)
{
	GQueue q[2] = { l->stuck[0], l->stuck[1] };

	for (guint i = 0; i < 2; i++)
		g_queue_init(&l->stuck[i]);
	for (guint i = 0; i < 2; i++)
		g_queue_clear_full(&q[i], carried_free);
}

/* The end hears that the session is over, and forgets it. */
static void end_close(Link *l, guint side, const char *why)
{
	End *e = &l->end[side];
	gboolean alive = link_end_alive(l, side);

	e->closed = TRUE;
	watch(l);             /* for the other one */
	if (!alive)
		return;
	world_trace(l->c->world, "-- session %s-%s: %s", end_name(l, side), end_name(l, !side), why);
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
	world_after_for(l->c->world, owner_of(l, side), delay, TRUE, closing, k);
}

void link_cut(Link *l)
{
	world_trace(l->c->world, "-- session %s-%s lost", end_name(l, 0), end_name(l, 1));
	close_later(l, 0, world_pick(l->c->world, 300000), "fell silent");
	close_later(l, 1, world_pick(l->c->world, 300000), "fell silent");
}

void link_replace(Link *l)
{
	world_trace(l->c->world, "-- session %s-%s is replaced", end_name(l, 0), end_name(l, 1));
	close_later(l, 0, 0, "replaced");
	close_later(l, 1, world_pick(l->c->world, 1500000), "fell silent");
}

void link_end_died(Link *l, guint side)
{
	l->end[side].closed = TRUE;
	if (world_chance(l->c->world, 1, 2))      /* something was in flight, and the host said that the port is closed, or another process that it has taken its place */
		close_later(l, !side, world_pick(l->c->world, 1000000), "fell silent");
	watch(l);
}

/* --- quiet --- */

/* What that end concludes now; NULL: nothing. */
static const char *verdict(const Link *l, guint side)
{
	const End *e = &l->end[side], *peer = &l->end[!side];
	gint64 now = world_now(l->c->world), since = e->waiting_since;

	if (side == 1)
		return now - e->heard >= PEER_GONE ? "fell silent" : NULL;
	if (!since && now - e->heard >= KEEPALIVE)
		since = e->heard + KEEPALIVE;
	if (!since)
		return NULL;
	if (l->accepted && peer->node->volcano && peer->node->life != peer->life && !stopped(l, 1) && reaches(l, 0) && reaches(l, 1) && now - since >= SUSPECT)
		return "replaced";
	return now - since >= SILENT && now - e->heard >= SILENT ? "fell silent" : NULL;
}

static gboolean watch_end(Link *l, guint side)
{
	End *e = &l->end[side];
	const char *why;

	if (!link_end_alive(l, side))
		return FALSE;
	if (stopped(l, side))
		return TRUE;          /* it hears when it goes on */
	if (whole(l, side)) {
		e->waiting_since = 0;
		e->heard = world_now(l->c->world);
		return FALSE;
	}
	if (reaches(l, !side) && answers(l, !side) && l->end[!side].waiting_since)
		e->heard = world_now(l->c->world);      /* it repeats what nobody acknowledges */
	if ((why = verdict(l, side)))
		end_close(l, side, why);
	return TRUE;
}

static void carry(Carried *k, gint64 delay);

/* What lay before a path that was cut goes on its way; the sender must live for it, or it is lost. */
static gboolean release_stuck(Link *l, guint to)
{
	Carried *k;

	if (!l->stuck[to].length || (to == 1 && !l->accepted && link_end_alive(l, 0)))
		return FALSE;
	if (link_end_alive(l, to) && link_end_alive(l, !to) && (!reaches(l, !to) || stopped(l, !to)))
		return TRUE;
	while ((k = g_queue_pop_head(&l->stuck[to])))
		carry(k, world_pick(l->c->world, REPEAT));
	return FALSE;
}

static void watching(void *arg)
{
	Link *l = arg;
	gboolean again = FALSE;

	if (l->c->ending || (l->end[0].closed && l->end[1].closed)) {
		stuck_clear(l);
	} else if (l->accepted) {
		for (guint side = 0; side < 2; side++) {
			again |= watch_end(l, side);
			again |= release_stuck(l, side);
		}
	}
	l->watched = FALSE;
	if (again)
		watch_on(l);
	link_unref(l);
}

static void watch_on(Link *l)
{
	l->watched = TRUE;
	world_after(l->c->world, WATCH, TRUE, watching, link_ref(l));
}

static void watch(Link *l)
{
	if (l->watched)
		return;
	/* it was not quiet before: the initiator pings */
	for (guint side = 0; side < 2; side++)
		l->end[side].heard = MAX(l->end[side].heard, world_now(l->c->world) - KEEPALIVE / 2);
	watch_on(l);
}

void link_look(Link *l) { watch(l); }

/* Something of that side is on its way and not acknowledged. */
static void waits(Link *l, guint side)
{
	End *e = &l->end[side];

	if (!e->waiting_since)
		e->waiting_since = world_now(l->c->world);
	watch(l);
}

/* --- beginning --- */

static void end_opened(Link *l, guint side)
{
	End *e = &l->end[side];

	e->heard = world_now(l->c->world);
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

/* A first datagram is there, or is not: it is repeated until HANDSHAKE is over. */
static void arrives(void *arg)
{
	Link *l = arg;
	Node *to = l->end[1].node;
	World *w = l->c->world;

	l->end[1].life = to->life;
	if (!link_end_alive(l, 0)) {
		l->end[0].closed = l->end[1].closed = TRUE;
		stuck_clear(l);
	} else if (whole(l, 0)) {
		world_trace(w, "-- session %s-%s", end_name(l, 0), end_name(l, 1));
		l->accepted = TRUE;
		end_opened(l, 1);
		world_after_for(w, owner_of(l, 0), world_delay(w), TRUE, answered, link_ref(l));
		if (release_stuck(l, 1))      /* who began it was stopped meanwhile: what it wants to say comes when it goes on */
			watch(l);
	} else if (world_now(w) - l->began < HANDSHAKE && !l->c->ending) {
		world_after(w, 100000 + world_pick(w, 200000), TRUE, arrives, link_ref(l));
	} else {
		l->end[1].closed = TRUE;
		close_later(l, 0, 0, to->volcano || to->host_gone ? "no volcano answers" : "no volcano runs there");
	}
	link_unref(l);
}

/* When the first of the HELLOs is there: it is repeated after 100, 200, 400 and 800 ms (docs/protocol-sessions.md, H3), and each one's way may take long. */
static gint64 first_hello(World *w)
{
	gint64 first = world_delay(w), at = 0;

	for (gint64 pause = 100000; pause <= 800000 && at + pause < first; pause *= 2) {
		at += pause;
		first = MIN(first, at + world_delay(w));
	}
	return first;
}

static Link *link_new(Cluster *c, gboolean is_node, Node *to)
{
	Link *l = g_new0(Link, 1);

	l->c = c;
	l->is_node = is_node;
	l->began = world_now(c->world);
	l->end[1].node = to;
	l->end[1].point = to->index;
	l->end[1].life = to->life;
	g_ptr_array_add(c->links, link_ref(l));
	world_after(c->world, first_hello(c->world), TRUE, arrives, link_ref(l));
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
		l->end[0].point = from->index;
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
	l->end[0].point = sim_client_point(s);
	l->end[0].peer = volcano;
	g_snprintf(l->end[0].name, sizeof l->end[0].name, "client-%x", (guint)(sim_client_id(s) & 0xfff));
	return l;
}

/* --- messages --- */

static void delivered(void *arg)
{
	Carried *k = arg;
	Link *l = k->link;
	End *to = &l->end[k->to];

	gboolean early = k->to == 1 && !l->accepted;      /* it waits for the handshake */
	if (!l->c->ending && link_end_alive(l, !k->to) && (early ? !to->closed : link_end_alive(l, k->to) && !reaches(l, !k->to))) {
		g_queue_push_tail(&l->stuck[k->to], k);
		if (l->accepted)
			waits(l, !k->to);
		return;
	}
	if (link_end_alive(l, k->to) && (k->to == 0 || l->accepted)) {
		to->heard = world_now(l->c->world);
		if (!reaches(l, k->to))
			waits(l, !k->to);      /* the acknowledgement is lost */
		world_trace_message(l->c->world, end_name(l, !k->to), end_name(l, k->to), k->msg);
		if (to->client)
			sim_client_message(to->client, l, k->msg);
		else
			volcano_message(to->node->volcano, to->session, l->is_node, k->msg);
	}
	carried_free(k);
}

static void carry(Carried *k, gint64 delay) { world_after_for(k->link->c->world, owner_of(k->link, k->to), delay, TRUE, delivered, k); }

gboolean link_send(Link *l, guint side, GBytes *msg)
{
	Carried *k;

	if (!link_end_alive(l, side))
		return FALSE;
	if (l->accepted && !whole(l, side))
		waits(l, side);
	k = g_new(Carried, 1);
	*k = (Carried){ link_ref(l), !side, g_bytes_ref(msg) };
	carry(k, world_delay(l->c->world));
	return TRUE;
}
