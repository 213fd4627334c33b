#include "tests/sim/cluster-internal.h"
#include "magmad/core/consensus.h"
#include <stdio.h>
#include <string.h>

/* --- life and death --- */

static void on_trace(void *user, char channel, const char *line)
{
	Node *n = user;

	world_trace(n->c->world, "%s %c: %s", n->name, channel, line);
}

static void on_ready(void *user, const char *refusal)
{
	Node *n = user;

	world_trace(n->c->world, "%s %s", n->name, refusal ? refusal : "is ready");
	n->ready = !refusal;
	n->refused = refusal != NULL;
}

/* It was killed before or after its end began: the next start finds it in what it kept. */
static void set_aside(Node *n)
{
	if (!n->kept || !volcano_kept_aside(n->kept))
		return;
	world_trace(n->c->world, "== the stores of %s are set aside", n->name);
	node_set_aside(n);
}

/* The first volcano begins the network, and the others join there; where that one has lost its folder it joins at another. */
static Node *join_at(Node *n)
{
	for (guint i = 0; n->emptied && i < CLUSTER_VOLCANOS; i++)
		if (&n->c->node[i] != n && n->c->node[i].ready)
			return &n->c->node[i];
	return n->emptied && n->index == 0 ? &n->c->node[1] : &n->c->node[0];
}

static Store *own_store(const Node *n) { return ((Holding *)n->held->pdata[0])->store; }

static void node_start(Node *n)
{
	Cluster *c = n->c;
	const Node *at = join_at(n);
	MagmaAddr join = magma_addr_with_port(&at->addr, at->addr.port + 1);
	MemStoreConfig store = node_store_config(n);
	VolcanoConfig cfg = { .name = n->name, .fqdn = n->name, .software = "sim", .addr = n->addr, .bandwidth = 1000, .offered = c->cfg.witness && n->index == c->cfg.witness ? 0 : 1 << 30, .copies_wanted = c->cfg.copies ? c->cfg.copies : 1, .journal_keep = c->cfg.journal_keep, .trace = &n->trace };

	set_aside(n);
	Holding *own = n->held->pdata[0];
	own->store = memstore_open(own->disk, &store);
	cfg.kept = n->kept;
	if (!n->kept && n == at)
		cfg.bootstrap = TRUE;
	else if (!n->kept)
		cfg.join = &join;
	n->ready = n->refused = n->host_gone = FALSE;
	n->life++;
	n->born = world_now(c->world);
	n->volcano = volcano_new(&cfg, own_store(n), &node_io, n);
	world_trace(c->world, "== %s starts%s", n->name, cfg.bootstrap ? " a network" : cfg.join ? " and joins" : "");
	volcano_start(n->volcano, on_ready, n);
}

static void restart(void *arg)
{
	Node *n = arg;

	if (n->started && !n->volcano)
		node_start(n);
}

static void links_died(Node *n)
{
	GPtrArray *links = n->c->links;

	for (guint i = 0; i < links->len; i++) {
		Link *l = links->pdata[i];
		for (guint side = 0; side < 2; side++)
			if (l->end[side].node == n && l->end[side].life == n->life && !l->end[side].closed)
				link_end_died(l, side);
	}
}

/* Links that are over at both ends are not ours any more. */
static void sweep_links(Cluster *c)
{
	for (guint i = 0; i < c->links->len;) {
		Link *l = c->links->pdata[i];
		if (l->end[0].closed && l->end[1].closed) {
			g_ptr_array_remove_index_fast(c->links, i);
			link_unref(l);
		} else {
			i++;
		}
	}
}

/* How the stores of a volcano that dies end. */
typedef enum { NOTHING_MORE, SOME_MORE, ONLY_SYNCED } Survives;

static void store_dies(Node *n, Holding *h, Survives what)
{
	Store *s = g_steal_pointer(&h->store);
	guint64 written = s->log->written(s), index = memstore_index(s), keep = what == SOME_MORE ? written + world_pick(n->c->world, index - written + 1) : written;

	if (what == ONLY_SYNCED) {
		memstore_power_cut(s);
		return;
	}
	world_trace(n->c->world, "   written %" G_GUINT64_FORMAT ", kept %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, written, keep, index);
	memstore_crash(s, keep);
}

static void stores_die(Node *n, GPtrArray *held, Survives what)
{
	for (guint i = 0; i < held->len; i++)
		if (((Holding *)held->pdata[i])->store)
			store_dies(n, held->pdata[i], what);
}

static void node_die(Node *n, Survives what)
{
	Volcano *v = g_steal_pointer(&n->volcano);
	GHashTableIter it;
	gpointer handle;

	links_died(n);
	n->dying = TRUE;
	volcano_free(v);
	n->dying = FALSE;
	stores_die(n, n->held, what);
	for (guint i = 0; i < ASIDES_MAX; i++)
		if (n->asides[i].time)
			stores_die(n, n->asides[i].held, what);
	g_hash_table_iter_init(&it, n->timers);
	while (g_hash_table_iter_next(&it, &handle, NULL))
		world_cancel(n->c->world, GPOINTER_TO_UINT(handle));
	g_hash_table_remove_all(n->timers);
	node_keeping_dies(n);
	world_pause(n->c->world, node_owner(n), 0);
	g_clear_pointer(&n->stopped, g_free);
	n->life++;
	n->ready = n->refused = n->leaving = n->ending = n->aside = FALSE;
	sweep_links(n->c);
}

void cluster_kill(Cluster *c, guint i, gint64 restart_after, gboolean all_lost)
{
	Node *n = &c->node[i];

	if (!n->volcano)
		return;
	world_trace(c->world, "== kill -9 %s, back in %" G_GINT64_FORMAT " us", n->name, restart_after);
	c->kills++;
	node_die(n, all_lost ? NOTHING_MORE : SOME_MORE);
	world_after(c->world, restart_after, FALSE, restart, n);
}

static GBytes *damaged_copy(Cluster *c, GBytes *bytes)
{
	gsize n;
	guint8 *copy = g_memdup2(g_bytes_get_data(bytes, &n), g_bytes_get_size(bytes));

	if (world_chance(c->world, 1, 2))
		n = world_pick(c->world, (guint)n);
	else
		copy[world_pick(c->world, (guint)n)] ^= 1 + world_pick(c->world, 255);
	return g_bytes_new_take(copy, n);
}

void cluster_forget_compared(Cluster *c, guint i, gboolean damaged)
{
	for (guint k = 0; k < ASIDES_MAX; k++) {
		g_autoptr(GBytes) was = g_steal_pointer(&c->node[i].asides[k].note);
		if (was && damaged)
			c->node[i].asides[k].note = damaged_copy(c, was);
	}
}

static void left(void *user)
{
	Node *n = user;

	world_trace(n->c->world, "== %s has handed over", n->name);
	n->leaving = TRUE;            /* from inside of it: it ends with the step */
}

void cluster_leave(Cluster *c, guint i, gint64 restart_after)
{
	Node *n = &c->node[i];

	if (!n->volcano || n->leaving)
		return;
	world_trace(c->world, "== SIGTERM to %s, back in %" G_GINT64_FORMAT " us", n->name, restart_after);
	c->kills++;
	n->leave_away = restart_after;
	n->ending = TRUE;
	volcano_leave(n->volcano, left, n);
}

static void end_who_left(Cluster *c)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		Node *n = &c->node[i];
		if (!n->volcano || !n->leaving)
			continue;
		volcano_stop(n->volcano);
		volcano_stopped(n->volcano);
		node_die(n, SOME_MORE);
		world_after(c->world, n->leave_away, FALSE, restart, n);
	}
}

static void end_aside(Cluster *c)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		Node *n = &c->node[i];
		if (!n->volcano || !n->aside)
			continue;
		node_die(n, SOME_MORE);
		world_after(c->world, 1000, FALSE, restart, n);
	}
}

void cluster_power_cut_one(Cluster *c, guint i, gint64 restart_after)
{
	if (!c->node[i].volcano)
		return;
	world_trace(c->world, "== power cut of %s", c->node[i].name);
	c->kills++;
	node_die(&c->node[i], ONLY_SYNCED);
	world_after(c->world, restart_after, FALSE, restart, &c->node[i]);
}

void cluster_power_cut(Cluster *c, int last)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		cluster_power_cut_one(c, i, (int)i == last ? 5000000 + world_pick(c->world, 5000000) : 1000 + world_pick(c->world, 1000000));
}

static void say_what_runs(void *user)
{
	Cluster *c = user;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (c->node[i].volcano) {
			g_autofree char *text = volcano_running(c->node[i].volcano);
			fprintf(stderr, "%s runs\n%s", c->node[i].name, text);
		}
}

Cluster *cluster_new(const ClusterConfig *cfg)
{
	Cluster *c = g_new0(Cluster, 1);
	static const char *const names[CLUSTER_VOLCANOS] = { "wallace", "gromit", "shaun", "feathers", "wendolene", "preston", "piella", "lady", "hutch" };
	WorldConfig world = { .seed = cfg->seed, .late_permille = cfg->late_permille, .verbose = cfg->verbose, .replay = cfg->replay };

	c->cfg = *cfg;
	c->world = world_new(&world);
	world_on_fail(c->world, say_what_runs, c);
	c->links = g_ptr_array_new();
	c->clients = g_ptr_array_new();
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		Node *n = &c->node[i];
		n->c = c;
		n->index = i;
		g_strlcpy(n->name, names[i], sizeof n->name);
		n->addr = (MagmaAddr){ .family = 4, .ip = { 10, 0, 0, i + 1 }, .port = 12000 };
		n->held = node_holdings_new();
		if (cfg->faults & 1u << FAULT_DRIFT)
			cluster_clock(c, i, (gint)world_pick(c->world, 100001) - 50000, world_pick(c->world, 1000000000));
		g_queue_init(&n->keeping);
		n->timers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
		n->trace = (MagmaTrace){ .sink = on_trace, .user = n };
		for (const char *p = cfg->channels; p && *p; p++)
			n->trace.on |= (guint64)1 << magma_trace_bit(*p);
	}
	c->safety = safety_new(c);
	return c;
}

void cluster_free(Cluster *c)
{
	g_assert(!c->clients->len);
	cluster_trouble(c, FALSE);
	c->ending = TRUE;
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		c->node[i].started = FALSE;
		if (c->node[i].volcano)
			node_die(&c->node[i], NOTHING_MORE);
	}
	safety_free(c->safety);
	world_free(c->world);
	for (guint i = 0; i < c->links->len; i++)
		link_unref(c->links->pdata[i]);
	g_ptr_array_unref(c->links);
	g_ptr_array_unref(c->clients);
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		g_ptr_array_unref(c->node[i].held);
		for (guint k = 0; k < ASIDES_MAX; k++)
			node_aside_free(&c->node[i].asides[k]);
		g_clear_pointer(&c->node[i].kept, g_bytes_unref);
		g_hash_table_unref(c->node[i].timers);
	}
	g_free(c);
}

static const MagmaMap *newest_map(Cluster *c)
{
	const MagmaMap *newest = NULL;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		const MagmaMap *m = c->node[i].volcano ? volcano_map(c->node[i].volcano) : NULL;
		if (m && (!newest || m->epoch > newest->epoch))
			newest = m;
	}
	return newest;
}

gboolean cluster_at_home(Cluster *c)
{
	const MagmaMap *newest = newest_map(c);
	guint want = newest ? MIN(MAX(c->cfg.copies, 1), newest->slices->len) - 1 : 0;
	for (guint i = 0; newest && i < newest->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(newest->slices, MagmaSlice, i);
		guint good = 0;
		for (guint k = 0; k < s->ncopies; k++)
			good += s->copies[k].in_sync;
		if (s->owner != s->home || good < want)
			return FALSE;
	}
	return newest != NULL;
}

World *cluster_world(Cluster *c) { return c->world; }
Volcano *cluster_volcano(Cluster *c, guint i) { return c->node[i].volcano; }
guint cluster_stores(Cluster *c, guint i) { return c->node[i].volcano ? c->node[i].held->len : 0; }

Store *cluster_store_at(Cluster *c, guint i, guint n, guint16 *slice)
{
	const Holding *h = c->node[i].held->pdata[n];

	*slice = h->slice ? h->slice : volcano_id(c->node[i].volcano);
	return h->store;
}

Store *cluster_store(Cluster *c, guint i, guint16 slice)
{
	for (guint n = 0; n < cluster_stores(c, i); n++) {
		guint16 has;
		Store *s = cluster_store_at(c, i, n, &has);
		if (s && has == slice)
			return s;
	}
	return NULL;
}

guint64 cluster_kills(Cluster *c) { return c->kills; }
const char *cluster_name(Cluster *c, guint i) { return c->node[i].name; }
gboolean cluster_serves(Cluster *c, guint i) { return c->node[i].volcano && c->node[i].ready; }

/* --- faults --- */

static void look_at_links(Cluster *c)
{
	for (guint i = 0; i < c->links->len; i++)
		link_look(c->links->pdata[i]);
}

gboolean cluster_blocked(const Cluster *c, guint from, guint to)
{
	guint64 f = (guint64)1 << from, t = (guint64)1 << to;

	if ((from < CLUSTER_VOLCANOS && c->node[from].host_gone) || (to < CLUSTER_VOLCANOS && c->node[to].host_gone))
		return TRUE;
	for (guint i = 0; i < c->nblocked; i++)
		if (c->blocked[i].from & f && c->blocked[i].to & t)
			return TRUE;
	return FALSE;
}

guint cluster_block(Cluster *c, guint64 from, guint64 to)
{
	g_assert(c->nblocked < BLOCKED_MAX);
	c->blocked[c->nblocked].id = ++c->next_block;
	c->blocked[c->nblocked].from = from;
	c->blocked[c->nblocked++].to = to;
	world_trace(c->world, "== %" G_GINT64_MODIFIER "x does not reach %" G_GINT64_MODIFIER "x", from, to);
	look_at_links(c);
	return c->next_block;
}

void cluster_unblock(Cluster *c, guint id)
{
	for (guint i = 0; i < c->nblocked; i++)
		if (c->blocked[i].id == id) {
			world_trace(c->world, "== %" G_GINT64_MODIFIER "x reaches %" G_GINT64_MODIFIER "x again", c->blocked[i].from, c->blocked[i].to);
			c->blocked[i] = c->blocked[--c->nblocked];
			return;
		}
}

typedef struct {
	Cluster *c;
	guint id;
} Healing;

static void heals(void *arg)
{
	Healing *h = arg;

	if (!h->c->ending)
		cluster_unblock(h->c, h->id);
	g_free(h);
}

void cluster_block_for(Cluster *c, guint64 from, guint64 to, gint64 time)
{
	if (c->nblocked == BLOCKED_MAX)
		return;
	Healing *h = g_new(Healing, 1);
	*h = (Healing){ c, cluster_block(c, from, to) };
	world_after(c->world, time, TRUE, heals, h);
}

void cluster_part(Cluster *c, guint i, gint64 time)
{
	guint64 all = ((guint64)1 << CLUSTER_VOLCANOS) - 1, one = (guint64)1 << i;
	gboolean told = world_chance(c->world, 1, 2);      /* as often a network that says so as one that is silent */

	world_trace(c->world, "== no other volcano reaches %s for %" G_GINT64_FORMAT " us", c->node[i].name, time);
	c->node[i].parted = world_now(c->world) + time;
	cluster_block_for(c, one, all & ~one, time);
	cluster_block_for(c, all & ~one, one, time);
	for (guint k = 0; told && k < c->links->len; k++) {
		Link *l = c->links->pdata[k];
		if (l->is_node && (l->end[0].node == &c->node[i] || l->end[1].node == &c->node[i]))
			link_cut(l);
	}
}

void cluster_pause(Cluster *c, guint i, gint64 time)
{
	world_trace(c->world, "== %s is stopped for %" G_GINT64_FORMAT " us", c->node[i].name, time);
	if (!world_paused(c->world, node_owner(&c->node[i])))
		world_pause(c->world, node_owner(&c->node[i]), world_now(c->world) + time);
	look_at_links(c);
}

void cluster_clock(Cluster *c, guint i, gint rate_ppm, gint64 ahead)
{
	c->node[i].rate_ppm = rate_ppm;
	c->node[i].ahead = ahead;
}

void cluster_slow_disk(Cluster *c, guint i, gint64 delay, gint64 time)
{
	world_trace(c->world, "== disk of %s: %" G_GINT64_FORMAT " us slower, for %" G_GINT64_FORMAT " us", c->node[i].name, delay, time);
	c->node[i].slow_by = delay;
	c->node[i].slow_until = world_now(c->world) + time;
}

static void stores_fail(Node *n)
{
	for (guint k = 0; n->volcano && !world_paused(n->c->world, node_owner(n)) && k < n->held->len; k++)
		if (((Holding *)n->held->pdata[k])->store)
			memstore_fail(((Holding *)n->held->pdata[k])->store, "the journal cannot be written");
}

void cluster_bad_disk(Cluster *c, guint i, gint64 time)
{
	Node *n = &c->node[i];

	world_trace(c->world, "== disk of %s fails, for %" G_GINT64_FORMAT " us", n->name, time);
	n->bad_since = world_now(c->world);
	n->bad_until = MAX(n->bad_until, n->bad_since + time);
	stores_fail(n);
}

void node_disk_dies(Node *n)
{
	if (n->volcano && node_unread(n) && world_now(n->c->world) < n->bad_until)
		stores_fail(n);
}

/* Whoever forgets what it has not synced is not the only one that had it. */
static gboolean all_is_twice(Cluster *c)
{
	const MagmaMap *map = newest_map(c);

	return c->cfg.copies > 1 && map && map->slices->len > 1 && cluster_at_home(c);
}

/* One that forgets is the one failure that two copies stand; until it has all again the next would be another. Who has just stood still may be taken for
 * dead before it is heard again. */
static gboolean others_are_well(const Node *n)
{
	const Cluster *c = n->c;

	if (c->forgot || c->nblocked)
		return FALSE;
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		const Node *o = &c->node[i];
		if (o != n && o->started && (!o->ready || o->ending || (o->volcano && !consensus_may_serve(o->volcano)) || world_paused(c->world, node_owner(o)) || world_now(c->world) < MAX(MAX(o->unread_until, o->bad_until), o->unopened_until)))
			return FALSE;
	}
	return TRUE;
}

static void disk_dies(void *arg) { node_disk_dies(arg); }

void cluster_dying_disk(Cluster *c, guint i, gint64 reads_fail, gint64 time)
{
	Node *n = &c->node[i];

	if (!all_is_twice(c)) {
		cluster_bad_disk(c, i, time);
		return;
	}
	world_trace(c->world, "== disk of %s does not read, and in %" G_GINT64_FORMAT " us takes nothing, for %" G_GINT64_FORMAT " us", n->name, reads_fail, time);
	n->bad_since = world_now(c->world) + reads_fail;
	n->bad_until = n->unread_until = MAX(n->bad_until, n->bad_since + time);
	n->unread = world_chance(c->world, 1, 2) ? UNREAD_ALL : UNREAD_CONTENTS;
	n->forgets = others_are_well(n) && world_chance(c->world, 1, 2);
	if (n->forgets) {
		c->forgot = n;
		c->told_again = 0;
	}
	world_after(c->world, reads_fail, FALSE, disk_dies, n);
}

void cluster_refuse_opens(Cluster *c, guint i, gint64 time)
{
	world_trace(c->world, "== %s opens no stores, for %" G_GINT64_FORMAT " us", c->node[i].name, time);
	c->node[i].unopened_until = world_now(c->world) + time;
}

void cluster_lose_folder(Cluster *c, guint i, gint64 restart_after)
{
	Node *n = &c->node[i];

	node_die(n, NOTHING_MORE);
	world_trace(c->world, "== %s has lost its folder, back in %" G_GINT64_FORMAT " us", n->name, restart_after);
	for (guint k = 0; k < ASIDES_MAX; k++)
		node_aside_free(&n->asides[k]);
	g_ptr_array_unref(n->held);
	n->held = node_holdings_new();
	g_clear_pointer(&n->kept, g_bytes_unref);
	n->emptied = TRUE;
	c->kills++;
	c->forgot = n;
	c->told_again = 0;
	world_after(c->world, restart_after, FALSE, restart, n);
}

#define WELL_AFTER ((gint64)5000000)

gboolean cluster_may_lose_folder(Cluster *c, guint i)
{
	guint started = 0;

	for (guint k = 0; k < CLUSTER_VOLCANOS; k++) {
		const Node *o = &c->node[k];
		started += o->started;
		/* it could be taken for dead, and its slice given to one that has nothing; or not have all again itself */
		if (o != &c->node[i] && o->volcano && (!consensus_may_serve(o->volcano) || world_now(c->world) - o->born < WELL_AFTER))
			return FALSE;
	}
	/* of two, or with a witness, who is left would have to be told that the other one's history is of no account */
	return started > 2 && !c->cfg.witness && c->node[i].volcano && all_is_twice(c) && others_are_well(&c->node[i]);
}

/* Its logs are as long as those that it shares slices with. */
static gboolean has_caught_up(Cluster *c, guint16 id)
{
	const MagmaMap *map = newest_map(c);

	if (!map || !cluster_at_home(c))
		return FALSE;
	for (guint i = 0; i < map->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(map->slices, MagmaSlice, i);
		Store *mine = NULL;
		guint64 most = 0;
		for (guint k = 0; k < CLUSTER_VOLCANOS; k++) {
			Store *o = c->node[k].volcano ? cluster_store(c, k, s->id) : NULL;
			if (o && volcano_id(c->node[k].volcano) == id)
				mine = o;
			most = o ? MAX(most, o->log->position(o).index) : most;
		}
		if (mine && mine->log->position(mine).index < most)
			return FALSE;
	}
	return TRUE;
}

#define TOLD_FOR ((gint64)3000000)    /* contents are compared behind the rows */

/* TRUE: one has forgotten something that not all others may lose as well. */
gboolean cluster_must_rest(Cluster *c)
{
	if (!c->forgot)
		return FALSE;
	if (!c->told_again && !c->forgot->forgets && c->forgot->ready && c->forgot->volcano && has_caught_up(c, volcano_id(c->forgot->volcano)))
		c->told_again = world_now(c->world);
	if (c->told_again && world_now(c->world) - c->told_again > TOLD_FOR)
		c->forgot = NULL;
	return c->forgot != NULL;
}

/* What it said it cannot go on for: a process that ends. */
static void node_stops(Node *n)
{
	World *w = n->c->world;

	if (world_now(w) > n->bad_until)
		world_fail(w, "%s stopped: %s", n->name, n->stopped);
	gint64 back = MAX(n->bad_until - world_now(w), VOLCANO_MISSED_AFTER) + 1000 + world_pick(w, 1000000);
	if (n->forgets)
		cluster_power_cut_one(n->c, n->index, back);
	else
		cluster_kill(n->c, n->index, back, FALSE);
	n->forgets = FALSE;
}

void cluster_trouble(Cluster *c, gboolean on)
{
	if (c->trouble == on)
		return;
	c->trouble = on;
	if (on) {
		c->faults = faults_new(c, c->cfg.faults, c->cfg.fault_every);
		return;
	}
	g_clear_pointer(&c->faults, faults_free);
	while (c->nblocked)
		cluster_unblock(c, c->blocked[0].id);
	world_set_late(c->world, c->cfg.late_permille);
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		Node *n = &c->node[i];
		if (world_paused(c->world, node_owner(n)))
			world_pause(c->world, node_owner(n), world_now(c->world));
		n->slow_until = n->unopened_until = n->unread_until = n->bad_until = MIN(n->bad_until, world_now(c->world));
		n->forgets = FALSE;
	}
}

void cluster_start(Cluster *c, guint i)
{
	if (c->node[i].started)
		return;
	c->node[i].started = TRUE;
	node_start(&c->node[i]);
}

enum { KILLS_MAX = 30, STEPS_MAX = 20000000 };

#define LEAVE_MAX ((gint64)3000000)   /* a planned end takes so long at most */
#define REST ((gint64)6000000)        /* above PING_EVERY of clients */
#define GONE_MAX ((gint64)8000000)    /* with that, below the 15 s after which a client expires */

static gboolean is_hindered(const Node *n)
{
	World *w = n->c->world;

	return n->started && (!n->volcano || n->parted > world_now(w) || world_paused(w, node_owner(n)));
}

/* A client that reaches one volcano only is silent for all others while that one is away or ends, and for one that is cut off: not for so long that they forget it. */
static void see_gone(Cluster *c)
{
	const Node *n = &c->node[0];
	gint64 now = world_now(c->world);

	if (is_hindered(n) || (n->started && n->ending) || c->node[1].parted > now) {
		c->back_since = 0;
		if (!c->gone_since)
			c->gone_since = now;
	} else if (!c->back_since) {
		c->back_since = now;
	} else if (now - c->back_since > REST) {
		c->gone_since = 0;
	}
}

static gboolean may_go(const Cluster *c, guint i, gint64 time)
{
	return i > 1 || !c->cfg.away_max || !c->gone_since || world_now(c->world) + time - c->gone_since <= GONE_MAX;
}

static gint64 away(Cluster *c)
{
	if (c->cfg.away_max)
		return 1000 + world_pick(c->world, c->cfg.away_max);
	return 1000 + world_pick(c->world, world_chance(c->world, 1, 4) ? 6000000 : 300000);
}

static void make_trouble(Cluster *c)
{
	/* a network that dies all the time gets nothing done, and that breaks no promise */
	if (c->kills < KILLS_MAX && world_chance(c->world, c->cfg.kill_ppm, 1000000)) {
		guint i = world_pick(c->world, CLUSTER_VOLCANOS);
		gboolean up = c->node[i].volcano != NULL, all_lost = up && world_chance(c->world, 1, 3);
		gint64 time = up ? away(c) : 0;
		if (up && (i || may_go(c, i, time)))
			cluster_kill(c, i, time, all_lost);
	}
	if (c->kills < KILLS_MAX && c->cfg.leave_ppm && world_chance(c->world, c->cfg.leave_ppm, 1000000)) {
		gint64 time = away(c);
		guint i = world_pick(c->world, CLUSTER_VOLCANOS);
		if (i || may_go(c, i, time + LEAVE_MAX))
			cluster_leave(c, i, time);
	}
	if (c->cfg.part_ppm && c->kills < KILLS_MAX && world_chance(c->world, c->cfg.part_ppm, 1000000)) {
		c->kills++;
		gint64 time = 1 + world_pick(c->world, 8000000);
		guint i = world_pick(c->world, CLUSTER_VOLCANOS);
		if (may_go(c, i, time))
			cluster_part(c, i, time);
	}
	if (c->links->len && world_chance(c->world, c->cfg.cut_ppm, 1000000))
		link_cut(c->links->pdata[world_pick(c->world, c->links->len)]);
}

#define RECOVERS_IN ((gint64)3000000)

static void see_hindered(Cluster *c)
{
	gint64 now = world_now(c->world);

	if (c->hindered_to > c->looked_at)
		c->hindered += MIN(c->hindered_to, now) - c->looked_at;
	c->looked_at = now;
	for (guint i = 0; c->cfg.away_max && i < CLUSTER_VOLCANOS; i++) {
		const Node *n = &c->node[i];
		if (is_hindered(n))
			c->hindered_to = now + RECOVERS_IN;
	}
}

gint64 cluster_hindered(Cluster *c) { return c->hindered; }

void cluster_step(Cluster *c)
{
	if (world_steps(c->world) > STEPS_MAX)
		world_fail(c->world, "it never ends");
	see_hindered(c);
	see_gone(c);
	if (!world_step(c->world))
		world_fail(c->world, "nothing will ever happen any more");
	guint ran = world_owner(c->world);
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (c->node[i].volcano && (!ran || node_owner(&c->node[i]) == ran))
			volcano_flush(c->node[i].volcano);
	end_who_left(c);
	end_aside(c);
	/* a process that could not join ends; its unit restarts it */
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		if (c->node[i].stopped)
			node_stops(&c->node[i]);
		if (c->node[i].refused)
			cluster_kill(c, i, 1000000, FALSE);
	}
	safety_look(c->safety, world_owner(c->world));
	if (c->trouble && !cluster_must_rest(c))
		make_trouble(c);
	if (world_steps(c->world) % 1024 == 0)
		sweep_links(c);
}

gboolean cluster_run_until(Cluster *c, gint64 limit, gboolean (*fn)(void *user), void *user)
{
	gint64 end = world_now(c->world) + limit;

	while (!fn(user)) {
		if (world_now(c->world) > end)
			return FALSE;
		cluster_step(c);
	}
	return TRUE;
}

static gboolean never(void *user) { return FALSE; }

void cluster_run(Cluster *c, gint64 time) { cluster_run_until(c, time, never, NULL); }
