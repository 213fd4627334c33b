#include "tests/sim/cluster-internal.h"
#include <stdio.h>
#include <string.h>

gboolean node_alive(const Node *n, guint64 life) { return n->volcano && n->life == life; }

void session_set_volcano_data(Session *s, void *data) { s->data = data; }
void *session_volcano_data(Session *s) { return s->data; }

/* --- what a volcano sees of the world --- */

static World *world_of(void *user) { return ((Node *)user)->c->world; }
static MagmaTime io_now(void *user) { return world_now(world_of(user)); }

static MagmaTs io_real(void *user)
{
	gint64 now = world_now(world_of(user));

	return (MagmaTs){ 1700000000 + now / 1000000, now % 1000000 * 1000 };
}

static void io_random(void *user, void *buf, gsize n)
{
	for (gsize i = 0; i < n; i++)
		((guint8 *)buf)[i] = world_pick(world_of(user), 256);
}

static gboolean io_send(void *user, Session *s, GBytes *head, GBytes *body)
{
	if (!body)
		return link_send(s->link, s->side, head);
	gsize a, b;
	const guint8 *pa = g_bytes_get_data(head, &a), *pb = g_bytes_get_data(body, &b);
	GByteArray *whole = g_byte_array_sized_new(a + b);
	g_byte_array_append(whole, pa, a);
	g_byte_array_append(whole, pb, b);
	g_autoptr(GBytes) msg = g_byte_array_free_to_bytes(whole);
	return link_send(s->link, s->side, msg);
}

static Session *io_connect(void *user, const MagmaAddr *node_addr) { return link_connect(user, node_addr); }

typedef struct {
	Node *node;
	guint handle;
	void (*fn)(void *arg);
	void *arg;
} Timer;

static void timer_fires(void *arg)
{
	Timer t = *(Timer *)arg;

	g_hash_table_remove(t.node->timers, GUINT_TO_POINTER(t.handle));     /* frees arg */
	t.fn(t.arg);
}

static guint io_timer(void *user, MagmaTime delay, void (*fn)(void *arg), void *arg)
{
	Node *n = user;
	Timer *t = g_new(Timer, 1);

	*t = (Timer){ n, 0, fn, arg };
	t->handle = world_after(n->c->world, delay, FALSE, timer_fires, t);
	g_hash_table_insert(n->timers, GUINT_TO_POINTER(t->handle), t);
	return t->handle;
}

static void io_timer_cancel(void *user, guint handle)
{
	Node *n = user;

	world_cancel(n->c->world, handle);
	g_hash_table_remove(n->timers, GUINT_TO_POINTER(handle));
}

typedef struct {
	Node *node;
	guint64 life;
	GBytes *bytes;
	void (*done)(void *done_user, int error);
	void *done_user;
} Keep;

static void keep_free(gpointer p)
{
	Keep *k = p;

	g_bytes_unref(k->bytes);
	g_free(k);
}

static void kept(Node *n, GBytes *bytes)
{
	g_clear_pointer(&n->kept, g_bytes_unref);
	n->kept = g_bytes_ref(bytes);
}

/* The oldest one is on disk. */
static void keep_lands(void *arg)
{
	Node *n = arg;
	Keep *k = g_queue_pop_head(&n->keeping);

	if (!k)
		return;               /* it died with its volcano */
	kept(n, k->bytes);
	if (k->life == n->life)
		k->done(k->done_user, 0);
	keep_free(k);
}

static void io_keep(void *user, GBytes *bytes, void (*done)(void *done_user, int error), void *done_user)
{
	Node *n = user;
	Keep *k = g_new(Keep, 1);

	*k = (Keep){ n, n->life, g_bytes_ref(bytes), done, done_user };
	g_queue_push_tail(&n->keeping, k);
	world_after(n->c->world, 1 + world_pick(n->c->world, n->c->cfg.disk_delay + 1), TRUE, keep_lands, n);
}

/* Of what was on its way some has come to the disk. */
static void keeping_dies(Node *n)
{
	guint some = world_pick(n->c->world, g_queue_get_length(&n->keeping) + 1);

	for (guint i = 0; i < some; i++) {
		Keep *k = g_queue_pop_head(&n->keeping);
		kept(n, k->bytes);
		keep_free(k);
	}
	g_queue_clear_full(&n->keeping, keep_free);
}

static void store_later(void *user, gint64 delay, void (*fn)(void *arg), void *arg) { world_after(((Node *)user)->c->world, delay, TRUE, fn, arg); }

static MemStoreConfig store_config(Node *n)
{
	Cluster *c = n->c;

	return (MemStoreConfig){
		.seed = g_rand_int(world_rand(c->world)), .pending_permille = c->cfg.pending_permille, .at_once_permille = 200, .writeback_permille = c->cfg.writeback_permille, .delay_max = c->cfg.disk_delay,
		.turn = world_turn(c->world), .later = store_later, .user = n, .one_of_several = TRUE,
	};
}

static SideStore *side_of(Node *n, guint16 slice)
{
	SideStore *free = NULL;

	for (guint i = 0; i < SIDE_STORES_MAX; i++) {
		if (n->side[i].disk && n->side[i].slice == slice)
			return &n->side[i];
		if (!n->side[i].disk && !free)
			free = &n->side[i];
	}
	g_assert(free);
	free->slice = slice;
	return free;
}

static Store *io_store_open(void *user, guint16 slice)
{
	Node *n = user;
	SideStore *s = side_of(n, slice);
	MemStoreConfig cfg = store_config(n);

	g_assert(!s->store);
	if (!s->disk)
		s->disk = memdisk_new();
	return s->store = memstore_open(s->disk, &cfg);
}

static void io_store_close(void *user, guint16 slice, Store *store, gboolean remove)
{
	SideStore *s = side_of(user, slice);

	g_assert(s->store == store);
	if (!((Node *)user)->dying)
		memstore_close(g_steal_pointer(&s->store));
	if (remove)
		g_clear_pointer(&s->disk, memdisk_free);
}

static void io_say(void *user, const char *line) { world_trace(world_of(user), "%s says: %s", ((Node *)user)->name, line); }

static void io_stop(void *user, const char *text)
{
	world_fail(world_of(user), "%s stopped: %s", ((Node *)user)->name, text ? text : "told to");
}

static void io_set_aside(void *user) { ((Node *)user)->aside = TRUE; }

static SimAside *aside_at(Node *n, guint64 time)
{
	for (guint i = 0; i < ASIDES_MAX; i++)
		if (n->asides[i].time == time)
			return &n->asides[i];
	g_assert_not_reached();
}

static GArray *io_aside_list(void *user)
{
	GArray *out = g_array_new(FALSE, FALSE, sizeof(guint64));

	for (guint i = 0; i < ASIDES_MAX; i++)
		if (((Node *)user)->asides[i].time)
			g_array_append_val(out, ((Node *)user)->asides[i].time);
	return out;
}

static GPtrArray *io_aside_open(void *user, guint64 time)
{
	SimAside *a = aside_at(user, time);
	MemStoreConfig cfg = store_config(user);
	GPtrArray *out = g_ptr_array_new();

	cfg.one_of_several = FALSE;
	for (guint i = 0; i < a->n; i++)
		g_ptr_array_add(out, a->store[i] = memstore_open(a->disk[i], &cfg));
	return out;
}

static void io_aside_close(void *user, guint64 time, GPtrArray *stores)
{
	SimAside *a = aside_at(user, time);

	for (guint i = 0; i < a->n; i++)
		if (!((Node *)user)->dying)
			memstore_close(g_steal_pointer(&a->store[i]));
	g_ptr_array_unref(stores);
}

static void io_aside_note(void *user, guint64 time, const guint8 *p, gsize n)
{
	SimAside *a = aside_at(user, time);

	g_clear_pointer(&a->note, g_bytes_unref);
	a->note = g_bytes_new(p, n);
}

static GBytes *io_aside_noted(void *user, guint64 time)
{
	SimAside *a = aside_at(user, time);

	return a->note ? g_bytes_ref(a->note) : NULL;
}

static void aside_free(SimAside *a)
{
	for (guint i = 0; i < a->n; i++)
		memdisk_free(a->disk[i]);
	g_clear_pointer(&a->note, g_bytes_unref);
	*a = (SimAside){ 0 };
}

static void io_aside_remove(void *user, guint64 time, void (*done)(void *done_user, int error), void *done_user)
{
	aside_free(aside_at(user, time));
	done(done_user, 0);
}

static const VolcanoIo IO = {
	.now = io_now, .real = io_real, .random = io_random, .send = io_send, .connect = io_connect,
	.store_open = io_store_open, .store_close = io_store_close, .keep = io_keep, .timer = io_timer, .timer_cancel = io_timer_cancel, .say = io_say, .stop = io_stop, .set_aside = io_set_aside,
	.aside_list = io_aside_list, .aside_open = io_aside_open, .aside_close = io_aside_close, .aside_note = io_aside_note, .aside_noted = io_aside_noted, .aside_remove = io_aside_remove,
};

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
	SimAside *a = &n->asides[n->asides_made++ % ASIDES_MAX];
	aside_free(a);
	a->time = (guint64)io_real(n).sec + n->asides_made;       /* never twice the same */
	world_trace(n->c->world, "== the stores of %s are set aside", n->name);
	a->disk[a->n++] = n->disk;
	n->disk = memdisk_new();
	for (guint k = 0; k < SIDE_STORES_MAX; k++)
		if (n->side[k].disk)
			a->disk[a->n++] = g_steal_pointer(&n->side[k].disk);
}

static void node_start(Node *n)
{
	Cluster *c = n->c;
	MagmaAddr join = magma_addr_with_port(&c->node[0].addr, c->node[0].addr.port + 1);
	MemStoreConfig store = store_config(n);
	VolcanoConfig cfg = { .name = n->name, .fqdn = n->name, .software = "sim", .addr = n->addr, .bandwidth = 1000, .offered = c->cfg.witness && n->index == c->cfg.witness ? 0 : 1 << 30, .copies_wanted = c->cfg.copies ? c->cfg.copies : 1, .trace = &n->trace };

	set_aside(n);
	n->store = memstore_open(n->disk, &store);
	cfg.kept = n->kept;
	if (!n->kept && n->index == 0)
		cfg.bootstrap = TRUE;
	else if (!n->kept)
		cfg.join = &join;
	n->ready = n->refused = FALSE;
	n->life++;
	n->volcano = volcano_new(&cfg, n->store, &IO, n);
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

#define POWER_CUT 2

/* all_lost: nothing behind what was acknowledged survives; POWER_CUT: not even what was not synced. */
static void store_dies(Node *n, Store *s, guint all_lost)
{
	guint64 written = s->log->written(s), index = memstore_index(s);

	if (all_lost == POWER_CUT)
		memstore_power_cut(s);
	else
		memstore_crash(s, all_lost ? written : written + world_pick(n->c->world, index - written + 1));
}

static void node_die(Node *n, guint all_lost)
{
	Volcano *v = g_steal_pointer(&n->volcano);
	GHashTableIter it;
	gpointer handle;

	links_died(n);
	n->dying = TRUE;
	volcano_free(v);
	n->dying = FALSE;
	store_dies(n, g_steal_pointer(&n->store), all_lost);
	for (guint i = 0; i < SIDE_STORES_MAX; i++)
		if (n->side[i].store)
			store_dies(n, g_steal_pointer(&n->side[i].store), all_lost);
	for (guint i = 0; i < ASIDES_MAX; i++)
		for (guint k = 0; k < n->asides[i].n; k++)
			if (n->asides[i].store[k])
				store_dies(n, g_steal_pointer(&n->asides[i].store[k]), all_lost);
	g_hash_table_iter_init(&it, n->timers);
	while (g_hash_table_iter_next(&it, &handle, NULL))
		world_cancel(n->c->world, GPOINTER_TO_UINT(handle));
	g_hash_table_remove_all(n->timers);
	keeping_dies(n);
	n->life++;
	n->ready = n->leaving = n->ending = n->aside = FALSE;
	sweep_links(n->c);
}

void cluster_kill(Cluster *c, guint i, gint64 restart_after, gboolean all_lost)
{
	Node *n = &c->node[i];

	if (!n->volcano)
		return;
	world_trace(c->world, "== kill -9 %s: acked %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ", back in %" G_GINT64_FORMAT " us",
		n->name, store_acked(n->store), memstore_index(n->store), restart_after);
	c->kills++;
	node_die(n, all_lost ? 1 : 0);
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
		node_die(n, 0);
		world_after(c->world, n->leave_away, FALSE, restart, n);
	}
}

static void end_aside(Cluster *c)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		Node *n = &c->node[i];
		if (!n->volcano || !n->aside)
			continue;
		node_die(n, 0);
		world_after(c->world, 1000, FALSE, restart, n);
	}
}

void cluster_part(Cluster *c, guint i, gint64 time)
{
	world_trace(c->world, "== no other volcano reaches %s for %" G_GINT64_FORMAT " us", c->node[i].name, time);
	c->node[i].parted = world_now(c->world) + time;
	for (guint k = 0; k < c->links->len; k++) {
		Link *l = c->links->pdata[k];
		if (l->is_node && (l->end[0].node == &c->node[i] || l->end[1].node == &c->node[i]))
			link_cut(l);
	}
}

void cluster_power_cut_one(Cluster *c, guint i)
{
	if (!c->node[i].volcano)
		return;
	world_trace(c->world, "== power cut of %s: durable %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, c->node[i].name, memstore_durable(c->node[i].store), memstore_index(c->node[i].store));
	c->kills++;
	node_die(&c->node[i], POWER_CUT);
	world_after(c->world, 1000 + world_pick(c->world, 1000000), FALSE, restart, &c->node[i]);
}

void cluster_power_cut(Cluster *c)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		cluster_power_cut_one(c, i);
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
	static const char *const names[] = { "wallace", "gromit", "shaun", "feathers" };
	WorldConfig world = { .seed = cfg->seed, .late_permille = cfg->late_permille, .verbose = cfg->verbose };

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
		n->disk = memdisk_new();
		g_queue_init(&n->keeping);
		n->timers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
		n->trace = (MagmaTrace){ .sink = on_trace, .user = n };
		for (const char *p = cfg->channels; p && *p; p++)
			n->trace.on |= (guint64)1 << magma_trace_bit(*p);
	}
	return c;
}

void cluster_free(Cluster *c)
{
	g_assert(!c->clients->len);
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		c->node[i].started = FALSE;
		if (c->node[i].volcano)
			node_die(&c->node[i], 1);
	}
	world_free(c->world);
	for (guint i = 0; i < c->links->len; i++)
		link_unref(c->links->pdata[i]);
	g_ptr_array_unref(c->links);
	g_ptr_array_unref(c->clients);
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		memdisk_free(c->node[i].disk);
		for (guint k = 0; k < SIDE_STORES_MAX; k++)
			g_clear_pointer(&c->node[i].side[k].disk, memdisk_free);
		for (guint k = 0; k < ASIDES_MAX; k++)
			aside_free(&c->node[i].asides[k]);
		g_clear_pointer(&c->node[i].kept, g_bytes_unref);
		g_hash_table_unref(c->node[i].timers);
	}
	g_free(c);
}

gboolean cluster_at_home(Cluster *c)
{
	const MagmaMap *newest = NULL;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		const MagmaMap *m = c->node[i].volcano ? volcano_map(c->node[i].volcano) : NULL;
		if (m && (!newest || m->epoch > newest->epoch))
			newest = m;
	}
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
Store *cluster_store(Cluster *c, guint i) { return c->node[i].store; }

Store *cluster_store_of(Cluster *c, guint i, guint16 slice)
{
	Node *n = &c->node[i];

	for (guint k = 0; k < SIDE_STORES_MAX; k++)
		if (n->side[k].store && n->side[k].slice == slice)
			return n->side[k].store;
	const MagmaSlice *s = n->volcano ? magma_map_slice_by_id(volcano_map(n->volcano), slice) : NULL;
	const MagmaVolcano *home = s ? magma_map_by_id(volcano_map(n->volcano), s->id) : NULL;
	return home && home->addr.ip[3] - 1u == i ? n->store : NULL;
}

guint64 cluster_kills(Cluster *c) { return c->kills; }
const char *cluster_name(Cluster *c, guint i) { return c->node[i].name; }
gboolean cluster_serves(Cluster *c, guint i) { return c->node[i].volcano && c->node[i].ready; }
void cluster_trouble(Cluster *c, gboolean on) { c->trouble = on; }

void cluster_start(Cluster *c, guint i)
{
	if (c->node[i].started)
		return;
	c->node[i].started = TRUE;
	node_start(&c->node[i]);
}

enum { KILLS_MAX = 30 };
#define LEAVE_MAX ((gint64)3000000)   /* a planned end takes so long at most */
#define REST ((gint64)6000000)        /* above PING_EVERY of clients */
#define GONE_MAX ((gint64)8000000)    /* with that, below the 15 s after which a client expires */

/* A client that reaches one volcano only is silent for all others while that one is away or ends, and for one that is cut off: not for so long that they forget it. */
static void see_gone(Cluster *c)
{
	const Node *n = &c->node[0];
	gint64 now = world_now(c->world);

	if (n->started && (!n->volcano || n->ending || n->parted > now || c->node[1].parted > now)) {
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
		if (n->started && (!n->volcano || n->parted > now))
			c->hindered_to = now + RECOVERS_IN;
	}
}

gint64 cluster_hindered(Cluster *c) { return c->hindered; }

void cluster_step(Cluster *c)
{
	see_hindered(c);
	see_gone(c);
	if (!world_step(c->world))
		world_fail(c->world, "nothing will ever happen any more");
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (c->node[i].volcano)
			volcano_flush(c->node[i].volcano);
	end_who_left(c);
	end_aside(c);
	/* a process that could not join ends; its unit restarts it */
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (c->node[i].refused)
			cluster_kill(c, i, 1000000, FALSE);
	if (c->trouble)
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
