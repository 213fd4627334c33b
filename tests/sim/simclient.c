/* A client of the simulated network. */
#include "tests/sim/cluster-internal.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>

#define MS ((gint64)1000)
enum { GIVE_UP = 60000000, SILENCE = 4000000, PING_EVERY = 5000000 };

typedef enum { OUT, GOING, GREETING, REOPENING, OPEN } PeerState;

typedef struct {
	Link *link;
	PeerState state;
	guint64 boot;                 /* that our opens are known to */
	guint64 new_boot;
} PeerOf;

typedef struct {
	guint64 xid;
	MagmaOp op;
	GBytes *msg;
	int target;                   /* volcano; -1: by key */
	gboolean greeting, counted;
	MagmaKey key;
	Link *link;                   /* where it is on its way */
	gint64 began, hindered, sent, retry_at;      /* hindered: of the cluster, when it began */
	SimDone done;
	void *user;
	gpointer owned;               /* goes with it */
} CallOf;

struct SimClient {
	Cluster *c;                   /* first: link.c */
	guint64 id, next_xid;
	int through;                  /* the one volcano it speaks to; -1: each */
	guint point;
	MagmaCred cred;
	MagmaMap *map;
	gboolean fetching, cut_off, may_expire;
	PeerOf peer[CLUSTER_VOLCANOS];
	gint64 spoke[CLUSTER_VOLCANOS];        /* at which something was sent to it */
	GQueue calls;                 /* CallOf *, by xid */
	GHashTable *opens;            /* MagmaFid set */
	gint64 shaken_at;             /* a slice had another owner, or a volcano a new life; 0: never */
	guint tick, ping;
	GBytes *last;                 /* for sim_call_wait */
	GBytes *wire;                 /* what it sent last */
	guint waiting;
	guint64 pinged[CLUSTER_VOLCANOS];
};

static void tick(void *arg);
static void ping(void *arg);

guint64 sim_client_id(const SimClient *s) { return s->id; }
int sim_client_through(const SimClient *s) { return s->through; }
guint sim_client_point(const SimClient *s) { return s->point; }
guint sim_client_waiting(SimClient *s) { return s->waiting; }
void sim_client_cut_off(SimClient *s, gboolean off) { s->cut_off = off; }
void sim_client_may_expire(SimClient *s) { s->may_expire = TRUE; }

SimClient *sim_client_new(Cluster *c, int through)
{
	SimClient *s = g_new0(SimClient, 1);

	s->c = c;
	s->id = (guint64)g_rand_int(world_rand(c->world)) << 32 | (g_rand_int(world_rand(c->world)) | 1);
	s->next_xid = 1;
	s->through = through;
	s->point = CLUSTER_VOLCANOS + c->next_point++ % (64 - CLUSTER_VOLCANOS);
	s->opens = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, NULL);
	g_ptr_array_add(c->clients, s);
	s->tick = world_after(c->world, 20 * MS, FALSE, tick, s);
	s->ping = world_after(c->world, PING_EVERY, FALSE, ping, s);
	return s;
}

static void call_free(CallOf *k)
{
	g_bytes_unref(k->msg);
	g_free(k->owned);
	g_free(k);
}

void sim_client_free(SimClient *s)
{
	CallOf *k;

	for (guint i = 0; i < s->c->links->len; i++) {
		Link *l = s->c->links->pdata[i];
		if (l->end[0].client == s && !l->end[0].closed)
			link_end_died(l, 0);
	}
	while ((k = g_queue_pop_head(&s->calls))) {
		if (k->greeting)
			g_free(k->user);
		call_free(k);
	}
	world_cancel(s->c->world, s->tick);
	world_cancel(s->c->world, s->ping);
	g_ptr_array_remove(s->c->clients, s);
	g_hash_table_unref(s->opens);
	if (s->map)
		magma_map_unref(s->map);
	g_clear_pointer(&s->last, g_bytes_unref);
	g_clear_pointer(&s->wire, g_bytes_unref);
	g_free(s);
}

void sim_client_cred(SimClient *s, guint32 uid, guint32 gid) { s->cred = (MagmaCred){ .uid = uid, .gid = gid, .has_groups = TRUE }; }
void sim_released(SimClient *s, const MagmaFid *fid) { g_hash_table_remove(s->opens, fid); }

static guint64 watermark(SimClient *s)
{
	CallOf *k = g_queue_peek_head(&s->calls);

	return k ? k->xid : s->next_xid;
}

static void greet(SimClient *s, guint i);

static void connect_to(SimClient *s, guint i)
{
	s->peer[i].link = link_from_client(s, i);
	s->peer[i].state = GOING;
}

/* As libmagma/client does: a proxy is greeted with what is its own; what is behind it is told by key, and may be away for long (assert_by_key). */
static gboolean greets_with(SimClient *s, guint i, const MagmaFid *fid)
{
	const MagmaVolcano *v = s->map ? magma_map_route(s->map, &fid->key) : NULL;

	return i == (v ? v->addr.ip[3] - 1u : 0);
}

static int volcano_of(SimClient *s, const MagmaKey *key)
{
	const MagmaVolcano *v = s->map ? magma_map_route(s->map, key) : NULL;

	return s->through >= 0 ? s->through : v ? v->addr.ip[3] - 1 : 0;
}

/* Sends it where it belongs now, if a session is there. */
static void transmit(SimClient *s, CallOf *k)
{
	guint i = k->target >= 0 ? (guint)k->target : (guint)volcano_of(s, &k->key);
	PeerOf *p = &s->peer[i];
	gsize n;

	if (s->cut_off)
		return;
	if (p->state == OUT) {
		connect_to(s, i);
		return;
	}
	if (p->state == GOING || (p->state != OPEN && !k->greeting))
		return;
	guint8 *copy = g_memdup2(g_bytes_get_data(k->msg, &n), g_bytes_get_size(k->msg));
	n = g_bytes_get_size(k->msg);
	magma_msg_set_sender(copy, s->map ? s->map->epoch : 0, s->id, watermark(s));
	if (k->sent)
		magma_msg_set_hops_flags(copy, MAGMA_HOPS, MAGMA_FLAG_RETRY);
	g_bytes_unref(k->msg);
	k->msg = g_bytes_new_take(copy, n);
	k->sent = world_now(s->c->world);
	g_clear_pointer(&s->wire, g_bytes_unref);
	s->wire = g_bytes_ref(k->msg);
	k->link = p->link;
	s->spoke[i] = k->sent;
	link_send(p->link, 0, k->msg);
}

GBytes *sim_client_wire(SimClient *s) { return g_bytes_ref(s->wire); }

gboolean sim_client_send_late(SimClient *s, guint volcano, GBytes *msg)
{
	return s->peer[volcano].state == OPEN && link_send(s->peer[volcano].link, 0, msg);
}

static CallOf *call_new(SimClient *s, MagmaOp op, const void *req, SimDone done, void *user)
{
	CallOf *k = g_new0(CallOf, 1);
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = op, .hops = MAGMA_HOPS, .xid = s->next_xid++, .client = s->id, .epoch = s->map ? s->map->epoch : 0, .cred = s->cred };
	GByteArray *out = g_byte_array_new();
	MagmaHdr back;
	MagmaAny any;

	h.watermark = watermark(s);
	magma_msg_encode(&h, req, FALSE, out);
	k->msg = g_byte_array_free_to_bytes(out);
	k->xid = h.xid;
	k->op = op;
	k->began = world_now(s->c->world);
	k->hindered = cluster_hindered(s->c);
	k->done = done;
	k->user = user;
	k->target = -1;
	if (magma_msg_decode(g_bytes_get_data(k->msg, NULL), g_bytes_get_size(k->msg), &back, &any) != 0)
		g_assert_not_reached();
	if (!magma_msg_route(op, &any, &k->key))
		k->target = MAX(s->through, 0);
	g_queue_push_tail(&s->calls, k);
	return k;
}

void sim_call(SimClient *s, MagmaOp op, const void *req, SimDone done, void *user)
{
	CallOf *k = call_new(s, op, req, done, user);

	if (op == MAGMA_OP_goodbye)          /* what it had open is not asserted again, whoever is greeted until it is answered */
		g_hash_table_remove_all(s->opens);
	k->counted = TRUE;
	s->waiting++;
	transmit(s, k);
}

/* --- the map --- */

typedef struct {
	SimClient *s;
	MagmaFid fid;
} Told;

static void given_back(void *user, int error, const MagmaAny *rep) {}

/* It may have been released meanwhile, and the release may have come first: once more then. (libmagma/client has the two wait for each other.) */
static void heir_knows(void *user, int error, const MagmaAny *rep)
{
	g_autofree Told *t = user;

	if (g_hash_table_contains(t->s->opens, &t->fid))
		return;
	struct magma_req_release q = { .fid = t->fid };
	transmit(t->s, call_new(t->s, MAGMA_OP_release, &q, given_back, NULL));
}

static gboolean same_owner(const MagmaMap *a, const MagmaMap *b, const MagmaKey *key)
{
	const MagmaSlice *x = magma_map_slice(a, key), *y = magma_map_slice(b, key);

	return x && y && x->owner == y->owner && x->epoch == y->epoch;
}

static void assert_open(SimClient *s, const MagmaFid *fid)
{
	g_autoptr(GByteArray) one = g_byte_array_new();

	magma_put_fid(one, fid);
	struct magma_req_reopen q = { .route = fid->key, .fids = MAGMA_BYTES(one->data, one->len) };
	Told *t = g_new(Told, 1);
	*t = (Told){ s, *fid };
	transmit(s, call_new(s, MAGMA_OP_reopen, &q, heir_knows, t));
}

/* As libmagma/client does: a CREATE may have been noted by an owner who is not it any more when it is answered. */
void sim_opened(SimClient *s, const MagmaFid *fid)
{
	g_hash_table_add(s->opens, g_memdup2(fid, sizeof *fid));
	if (s->shaken_at && world_now(s->c->world) - s->shaken_at < GIVE_UP)
		assert_open(s, fid);
}

/* As libmagma/client does: who owns a slice now is told what is open there, and asked what its predecessor was asked. */
static void owners_changed(SimClient *s, const MagmaMap *old)
{
	g_autoptr(GPtrArray) fids = g_ptr_array_new();
	GHashTableIter it;
	gpointer fid;

	g_hash_table_iter_init(&it, s->opens);
	while (g_hash_table_iter_next(&it, &fid, NULL))
		if (!same_owner(old, s->map, &((MagmaFid *)fid)->key))
			g_ptr_array_add(fids, fid);
	for (GList *l = s->calls.head; l; l = l->next) {
		CallOf *k = l->data;
		if (k->target < 0 && k->link && !same_owner(old, s->map, &k->key)) {
			k->link = NULL;
			k->retry_at = world_now(s->c->world);
		}
	}
	for (guint i = 0; i < s->map->slices->len; i++)
		if (!same_owner(old, s->map, &g_array_index(s->map->slices, MagmaSlice, i).range.lo))
			s->shaken_at = world_now(s->c->world);
	for (guint i = 0; i < fids->len; i++)
		assert_open(s, fids->pdata[i]);
}

static void learn(SimClient *s, MagmaBytes bytes)
{
	g_autoptr(MagmaMap) map = magma_map_decode(bytes.data, bytes.len);

	if (!map)
		world_fail(s->c->world, "a volcano sent a map that is none");
	if (s->map && map->epoch <= s->map->epoch)
		return;
	g_autoptr(MagmaMap) old = s->map;
	s->map = g_steal_pointer(&map);
	if (old)
		owners_changed(s, old);
}

static void map_there(void *user, int error, const MagmaAny *rep)
{
	SimClient *s = user;

	s->fetching = FALSE;
	if (!error)
		learn(s, rep->rep_map.map);
}

static void fetch_map(SimClient *s, guint from)
{
	static const struct magma_req_map q;

	if (s->fetching)
		return;
	s->fetching = TRUE;
	CallOf *k = call_new(s, MAGMA_OP_map, &q, map_there, s);
	k->target = s->through >= 0 ? s->through : (int)from;
	transmit(s, k);
}

/* --- greeting --- */

static void call_go(SimClient *s)
{
	g_autofree CallOf **all = g_new(CallOf *, s->calls.length + 1);
	guint n = 0;

	for (GList *l = s->calls.head; l; l = l->next)
		all[n++] = l->data;
	for (guint i = 0; i < n; i++)
		if (!all[i]->link && all[i]->retry_at <= world_now(s->c->world))
			transmit(s, all[i]);
}

typedef struct {
	SimClient *s;
	guint volcano;
	Link *link;
	GArray *fids;                 /* MagmaFid: what is asserted; NULL: nothing */
} Greeting;

static void greeting_free(Greeting *g)
{
	if (g->fids)
		g_array_unref(g->fids);
	g_free(g);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Greeting, greeting_free)

/* What was released while it was asserted: the release may have come first. */
static void give_back(SimClient *s, const MagmaFid *fid)
{
	struct magma_req_release q = { .fid = *fid };

	if (!g_hash_table_contains(s->opens, fid))
		transmit(s, call_new(s, MAGMA_OP_release, &q, given_back, NULL));
}

static void give_all_back(const Greeting *g)
{
	for (guint i = 0; g->fids && i < g->fids->len; i++)
		give_back(g->s, &g_array_index(g->fids, MagmaFid, i));
}

static gboolean current(const Greeting *g) { return g->s->peer[g->volcano].link == g->link; }

static void greeted(SimClient *s, guint i)
{
	s->peer[i].state = OPEN;
	s->peer[i].boot = s->peer[i].new_boot;
	call_go(s);
}

static void reopened(void *user, int error, const MagmaAny *rep)
{
	g_autoptr(Greeting) g = user;

	give_all_back(g);
	if (!current(g))
		return;
	if (error)
		world_fail(g->s->c->world, "reopen: %s", magma_strerror(error));
	MagmaReader r = magma_reader(rep->rep_reopen.errors.data, rep->rep_reopen.errors.len);
	for (guint i = 0; r.left; i++) {
		guint32 e = magma_get_u32(&r);
		gboolean wanted = g->fids && i < g->fids->len && g_hash_table_contains(g->s->opens, &g_array_index(g->fids, MagmaFid, i));
		if (e && wanted && e != MAGMA_EMAP)
			world_fail(g->s->c->world, "an open flare is gone after a restart: %s", magma_strerror(e));
		if (e == MAGMA_EMAP && wanted)           /* what was in one slice is in two: this one's owner has heard nothing */
			assert_open(g->s, &g_array_index(g->fids, MagmaFid, i));
	}
	greeted(g->s, g->volcano);
}

static void hello_back(void *user, int error, const MagmaAny *rep)
{
	Greeting *g = user;
	SimClient *s = g->s;
	PeerOf *p = &s->peer[g->volcano];
	g_autoptr(GByteArray) fids = g_byte_array_new();
	struct magma_req_reopen q = { 0 };
	GHashTableIter it;
	gpointer fid;

	if (current(g) && error == MAGMA_EEXPIRED && s->may_expire) {
		guint i = g->volcano;
		greeting_free(g);
		greeted(s, i);        /* what it asks then is answered so, too */
		return;
	}
	if (!current(g) || error) {
		if (current(g))
			world_fail(s->c->world, "hello: %s", magma_strerror(error));
		greeting_free(g);
		return;
	}
	learn(s, rep->rep_hello.map);
	p->new_boot = rep->rep_hello.boot;
	if (p->boot && p->boot != p->new_boot)
		s->shaken_at = world_now(s->c->world);
	g_hash_table_iter_init(&it, s->opens);
	while (p->boot != p->new_boot && g_hash_table_iter_next(&it, &fid, NULL))
		if (greets_with(s, g->volcano, fid)) {
			q.route = ((MagmaFid *)fid)->key;
			magma_put_fid(fids, fid);
			if (!g->fids)
				g->fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
			g_array_append_vals(g->fids, fid, 1);
		}
	if (!fids->len) {
		guint i = g->volcano;
		greeting_free(g);
		greeted(s, i);
		return;
	}
	q.fids = MAGMA_BYTES(fids->data, fids->len);
	p->state = REOPENING;
	CallOf *k = call_new(s, MAGMA_OP_reopen, &q, reopened, g);
	k->target = g->volcano;
	k->greeting = TRUE;
	transmit(s, k);
}

static void greet(SimClient *s, guint i)
{
	static const struct magma_req_hello q;
	Greeting *g = g_new0(Greeting, 1);

	*g = (Greeting){ s, i, s->peer[i].link };
	s->peer[i].state = GREETING;
	CallOf *k = call_new(s, MAGMA_OP_hello, &q, hello_back, g);
	k->target = i;
	k->greeting = TRUE;
	transmit(s, k);
}

/* --- events --- */

void sim_client_link_open(SimClient *s, Link *l, guint volcano)
{
	if (s->peer[volcano].link == l)
		greet(s, volcano);
}

void sim_client_link_closed(SimClient *s, Link *l, guint volcano)
{
	gint64 now = world_now(s->c->world);

	if (s->peer[volcano].link == l) {
		s->peer[volcano].link = NULL;
		s->peer[volcano].state = OUT;
	}
	for (GList *e = s->calls.head; e;) {
		CallOf *k = e->data;
		GList *next = e->next;
		if (k->greeting && k->target == (int)volcano) {      /* a new session greets anew */
			Greeting *g = k->user;
			g_queue_delete_link(&s->calls, e);
			call_free(k);
			give_all_back(g);             /* it may have been done, and what was released meanwhile was released before */
			greeting_free(g);
		} else if (k->link == l) {
			k->link = NULL;
			k->retry_at = now + 10 * MS;
		}
		e = next;
	}
}

static CallOf *call_find(SimClient *s, guint64 xid)
{
	for (GList *l = s->calls.head; l; l = l->next)
		if (((CallOf *)l->data)->xid == xid)
			return l->data;
	return NULL;
}

static void finish(SimClient *s, CallOf *k, int error, const MagmaAny *rep, GBytes *msg)
{
	g_queue_remove(&s->calls, k);
	if (msg) {
		g_bytes_ref(msg);
		if (s->last)
			g_bytes_unref(s->last);
		s->last = msg;
	}
	if (k->counted)
		s->waiting--;
	if (k->done)
		k->done(k->user, error, rep);
	call_free(k);
}

void sim_client_message(SimClient *s, Link *l, GBytes *msg)
{
	MagmaHdr h;
	MagmaAny any;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (s->cut_off)
		return;
	if (magma_msg_decode(p, n, &h, &any) == 0 && h.kind == MAGMA_PUSH && h.op == MAGMA_OP_new_map) {
		learn(s, any.req_new_map.map);
		return;
	}
	if (magma_msg_decode(p, n, &h, &any) != 0 || h.kind != MAGMA_REPLY || h.client != s->id)
		world_fail(s->c->world, "a client got what is no answer to it");
	if (h.flags & MAGMA_FLAG_REFRESH_TOPOLOGY)
		fetch_map(s, l->end[0].peer);
	CallOf *k = call_find(s, h.xid);
	if (!k)
		return;
	if (k->op != h.op)
		world_fail(s->c->world, "the answer to another operation");
	/* A try that was made elsewhere before the last one, and did nothing, says nothing about the last one, which may have done it. */
	if (h.error && k->link != l)
		return;
	if (h.error == MAGMA_EMAP)
		fetch_map(s, l->end[0].peer);
	if (h.error == MAGMA_EMAP || h.error == MAGMA_ETRYAGAIN) {
		k->link = NULL;
		k->retry_at = world_now(s->c->world) + 30 * MS;
		return;
	}
	if (h.error == MAGMA_EEXPIRED && !s->may_expire)
		world_fail(s->c->world, "a client that pings was expired");
	finish(s, k, h.error, h.error ? NULL : &any, msg);
}

static void tick(void *arg)
{
	SimClient *s = arg;
	gint64 now = world_now(s->c->world);

	s->tick = world_after(s->c->world, 20 * MS, FALSE, tick, s);
	for (GList *e = s->calls.head; e; e = e->next) {
		CallOf *k = e->data;
		if (now - k->began - (cluster_hindered(s->c) - k->hindered) > GIVE_UP)
			world_fail(s->c->world, "%s of client-%x was not answered within 60 s", magma_op_info(k->op)->name, (guint)(s->id & 0xfff));
		if (k->link && now - k->sent > SILENCE)
			k->link = NULL;
	}
	call_go(s);
}

static void ponged(void *user, int error, const MagmaAny *rep) {}

static gboolean owns_a_slice(SimClient *s, guint i)
{
	for (guint n = 0; s->map && n < s->map->volcanos->len; n++) {
		const MagmaVolcano *v = s->map->volcanos->pdata[n];
		if (v->state == MAGMA_ACTIVE && v->addr.ip[3] == i + 1)
			return s->through < 0 || i == (guint)s->through;
	}
	return FALSE;
}

typedef struct {
	SimClient *s;
	guint n;
	MagmaFid fids[];
} Asserted;

static void asserted(void *user, int error, const MagmaAny *rep)
{
	const Asserted *a = user;
	MagmaReader r = error ? magma_reader(NULL, 0) : magma_reader(rep->rep_reopen.errors.data, rep->rep_reopen.errors.len);

	for (guint i = 0; i < a->n; i++) {
		guint32 e = r.left ? magma_get_u32(&r) : 0;
		give_back(a->s, &a->fids[i]);
		gboolean wanted = g_hash_table_contains(a->s->opens, &a->fids[i]);
		if (e && e != MAGMA_EMAP && wanted)
			world_fail(a->s->c->world, "an open flare is gone behind a proxy: %s", magma_strerror(e));
		if (e == MAGMA_EMAP && wanted)
			assert_open(a->s, &a->fids[i]);
	}
}

/* Through a proxy only what is routed by key reaches the others, and their restarts do not show: as libmagma/client does, they are told all the time what is open there, or nothing. */
static void assert_by_key(SimClient *s, const MagmaVolcano *v)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	struct magma_req_reopen q = { .route = magma_map_home(s->map, v->id)->range.lo };
	Asserted *a = g_malloc(sizeof *a + g_hash_table_size(s->opens) * sizeof *a->fids);
	GHashTableIter it;
	gpointer fid;

	a->s = s;
	a->n = 0;
	g_hash_table_iter_init(&it, s->opens);
	while (g_hash_table_iter_next(&it, &fid, NULL)) {
		const MagmaSlice *slice = magma_map_slice(s->map, &((MagmaFid *)fid)->key);
		if (!slice || slice->owner != v->id)
			continue;
		magma_put_fid(bytes, fid);
		a->fids[a->n++] = *(MagmaFid *)fid;
	}
	q.fids = MAGMA_BYTES(bytes->data, bytes->len);
	CallOf *k = call_new(s, MAGMA_OP_reopen, &q, asserted, a);
	k->owned = a;
	transmit(s, k);
}

guint sim_client_pings(SimClient *s)
{
	guint n = 0;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		n += owns_a_slice(s, i);
	return n;
}

#define QUIET (4 * PING_EVERY / 5)    /* as in libmagma/client/peer.c */

static void ping(void *arg)
{
	static const struct magma_req_ping q;
	SimClient *s = arg;

	for (guint n = 0; s->through >= 0 && s->map && n < s->map->volcanos->len; n++) {
		const MagmaVolcano *v = s->map->volcanos->pdata[n];
		if (v->state == MAGMA_ACTIVE && v->addr.ip[3] - 1 != s->through)
			assert_by_key(s, v);
	}

	s->ping = world_after(s->c->world, PING_EVERY, FALSE, ping, s);
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		if (s->spoke[i] && world_now(s->c->world) - s->spoke[i] < QUIET)
			continue;      /* any request is a sign of life */
		if (!owns_a_slice(s, i))
			continue;      /* one that never met it may have inherited its opens */
		CallOf *k = call_new(s, MAGMA_OP_ping, &q, ponged, NULL);
		k->target = i;
		s->pinged[i]++;
		transmit(s, k);
	}
}

guint64 sim_client_pinged(const SimClient *s, guint volcano) { return s->pinged[volcano]; }

typedef struct {
	gboolean done;
	int error;
	MagmaAny *rep;
} Waiting;

static void waited(void *user, int error, const MagmaAny *rep)
{
	Waiting *w = user;

	w->done = TRUE;
	w->error = error;
	if (rep && w->rep)
		*w->rep = *rep;
}

static gboolean is_done(void *user) { return ((Waiting *)user)->done; }

int sim_call_wait(SimClient *s, MagmaOp op, const void *req, MagmaAny *rep)
{
	Waiting w = { .rep = rep };

	sim_call(s, op, req, waited, &w);
	cluster_run_until(s->c, 20 * (gint64)GIVE_UP, is_done, &w);
	g_assert(w.done);
	return w.error;
}
