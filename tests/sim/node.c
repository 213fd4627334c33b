/* What a volcano sees of the world: a clock of its own, a disk with its moods, sessions. */
#include "tests/sim/cluster-internal.h"
#include <errno.h>
#include <string.h>

gboolean node_alive(const Node *n, guint64 life) { return n->volcano && n->life == life; }

void session_set_volcano_data(Session *s, void *data) { s->data = data; }
void *session_volcano_data(Session *s) { return s->data; }

/* --- what a volcano sees of the world --- */

static World *world_of(void *user) { return ((Node *)user)->c->world; }

static MagmaTime io_now(void *user)
{
	const Node *n = user;
	gint64 t = world_now(n->c->world);

	return t + n->ahead + (t - WORLD_BEGINS) * n->rate_ppm / 1000000;
}

static MagmaTs io_real(void *user)
{
	gint64 now = io_now(user);

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
	/* by its own clock, and not before */
	gint64 true_delay = n->rate_ppm ? MAX(delay, 0) * 1000000 / (1000000 + n->rate_ppm) + 2 : delay;
	t->handle = world_after_for(n->c->world, node_owner(n), true_delay, FALSE, timer_fires, t);
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
	gboolean bad = world_now(n->c->world) >= n->bad_since && world_now(n->c->world) < n->bad_until;
	if (!bad)
		kept(n, k->bytes);
	if (k->life == n->life)
		k->done(k->done_user, bad ? EIO : 0);
	keep_free(k);
}

static void io_keep(void *user, GBytes *bytes, void (*done)(void *done_user, int error), void *done_user)
{
	Node *n = user;
	Keep *k = g_new(Keep, 1);

	*k = (Keep){ n, n->life, g_bytes_ref(bytes), done, done_user };
	g_queue_push_tail(&n->keeping, k);
	node_store_later(n, 1 + world_pick(n->c->world, n->c->cfg.disk_delay + 1), keep_lands, n);
}

/* Of what was on its way some has come to the disk. */
void node_keeping_dies(Node *n)
{
	guint some = world_pick(n->c->world, g_queue_get_length(&n->keeping) + 1);

	for (guint i = 0; i < some; i++) {
		Keep *k = g_queue_pop_head(&n->keeping);
		kept(n, k->bytes);
		keep_free(k);
	}
	g_queue_clear_full(&n->keeping, keep_free);
}

static void io_say(void *user, const char *line)
{
	Node *n = user;

	world_trace(n->c->world, "%s says: %s", n->name, line);
	n->awaited_came += n->awaited && strstr(line, n->awaited);
	if (strstr(line, "no copy that counts has it"))      /* a client that has nobody else to ask would be told EIO, and rightly */
		node_disk_dies(n);
}

static void io_stop(void *user, const char *text)
{
	Node *n = user;

	world_trace(n->c->world, "%s stops: %s", n->name, text ? text : "told to");
	g_free(n->stopped);
	n->stopped = g_strdup(text ? text : "told to");
}

static void io_set_aside(void *user) { ((Node *)user)->aside = TRUE; }

void node_store_later(void *user, gint64 delay, void (*fn)(void *arg), void *arg)
{
	Node *n = user;
	World *w = n->c->world;

	if (world_now(w) < n->slow_until)
		delay += world_pick(w, n->slow_by + 1);
	world_after_for(w, node_owner(n), delay, TRUE, fn, arg);
}

MemUnread node_unread(void *user)
{
	const Node *n = user;

	return world_now(n->c->world) >= n->unread_until ? UNREAD_NOTHING : n->unread;
}

/* --- stores of other slices than its own --- */

MemStoreConfig node_store_config(Node *n)
{
	Cluster *c = n->c;

	return (MemStoreConfig){
		.seed = g_rand_int(world_rand(c->world)), .pending_permille = c->cfg.pending_permille, .at_once_permille = 200, .writeback_permille = c->cfg.writeback_permille, .delay_max = c->cfg.disk_delay,
		.turn = world_turn(c->world), .later = node_store_later, .unread = node_unread, .user = n, .one_of_several = TRUE,
	};
}

void holding_free(gpointer h)
{
	memdisk_free(((Holding *)h)->disk);
	g_free(h);
}

static Holding *holding_new(guint16 slice)
{
	Holding *h = g_new0(Holding, 1);

	h->slice = slice;
	h->disk = memdisk_new();
	return h;
}

GPtrArray *node_holdings_new(void)
{
	GPtrArray *held = g_ptr_array_new_with_free_func(holding_free);

	g_ptr_array_add(held, holding_new(0));
	return held;
}

static Holding *holding_of(Node *n, guint16 slice)
{
	for (guint i = 1; i < n->held->len; i++)
		if (((Holding *)n->held->pdata[i])->slice == slice)
			return n->held->pdata[i];
	Holding *h = holding_new(slice);
	g_ptr_array_add(n->held, h);
	return h;
}

static Store *io_store_open(void *user, guint16 slice)
{
	Node *n = user;

	if (n->refuse_opens) {
		n->refuse_opens--;
		return NULL;
	}
	if (world_now(n->c->world) < n->unopened_until) {
		world_trace(n->c->world, "== %s: the store of slice %u does not open", n->name, slice);
		return NULL;
	}
	Holding *h = holding_of(user, slice);
	MemStoreConfig cfg = node_store_config(user);

	g_assert(!h->store);
	return h->store = memstore_open(h->disk, &cfg);
}

static void io_store_close(void *user, guint16 slice, Store *store, gboolean remove)
{
	Node *n = user;
	Holding *h = holding_of(n, slice);

	g_assert(h->store == store);
	if (!n->dying)
		memstore_close(g_steal_pointer(&h->store));
	if (remove)
		g_ptr_array_remove(n->held, h);
}

/* --- histories that do not stand --- */

void node_aside_free(SimAside *a)
{
	g_clear_pointer(&a->held, g_ptr_array_unref);
	g_clear_pointer(&a->note, g_bytes_unref);
	a->time = 0;
}

void node_set_aside(Node *n)
{
	SimAside *a = &n->asides[n->asides_made++ % ASIDES_MAX];

	node_aside_free(a);
	a->time = (guint64)io_real(n).sec + n->asides_made;       /* never twice the same */
	a->held = n->held;
	n->held = node_holdings_new();
}

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
	MemStoreConfig cfg = node_store_config(user);
	GPtrArray *out = g_ptr_array_new();

	cfg.one_of_several = FALSE;
	for (guint i = 0; i < a->held->len; i++) {
		Holding *h = a->held->pdata[i];
		g_ptr_array_add(out, h->store = memstore_open(h->disk, &cfg));
	}
	return out;
}

static void io_aside_close(void *user, guint64 time, GPtrArray *stores)
{
	SimAside *a = aside_at(user, time);

	for (guint i = 0; i < a->held->len; i++)
		if (!((Node *)user)->dying)
			memstore_close(g_steal_pointer(&((Holding *)a->held->pdata[i])->store));
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

static void io_aside_remove(void *user, guint64 time, void (*done)(void *done_user, int error), void *done_user)
{
	node_aside_free(aside_at(user, time));
	done(done_user, 0);
}

const VolcanoIo node_io = {
	.now = io_now, .real = io_real, .random = io_random, .send = io_send, .connect = io_connect,
	.store_open = io_store_open, .store_close = io_store_close, .keep = io_keep, .timer = io_timer, .timer_cancel = io_timer_cancel, .say = io_say, .stop = io_stop, .set_aside = io_set_aside,
	.aside_list = io_aside_list, .aside_open = io_aside_open, .aside_close = io_aside_close, .aside_note = io_aside_note, .aside_noted = io_aside_noted, .aside_remove = io_aside_remove,
};
