/* Opens: the volcano knows one per client and flare, here they are counted. A flare's OPEN and RELEASE never overtake each other: a RELEASE waits for
 * the answers of all OPENs, an OPEN for the answer of a RELEASE. */
#include "libmagma/client/client-internal.h"
#include "libmagma/base/err.h"
#include <errno.h>

/* One message of 28 KiB; a mount with more opens sends several. */
#define REOPEN_MAX 1024

typedef struct {
	MagmaClient *c;
	MagmaFid fid;
	guint count;                  /* handles of the caller */
	guint asking;                 /* OPENs and reopens without an answer */
	gboolean there;               /* the volcano counts us in, as far as we were told */
	gboolean releasing;
	GQueue waiting;               /* Ask: until the RELEASE is answered */
} Open;

typedef struct {
	Open *open;
	struct magma_req_open req;
	MagmaCred cred;
	guint8 *groups;
	MagmaReplyFn done;
	void *user;
} Ask;

typedef struct {
	MagmaClient *c;
	Peer *greeting;               /* and conn: part of a greeting */
	MagmaConn *conn;
	gboolean renewing;
	GArray *fids;
} Reopen;

static gboolean fid_equal(gconstpointer a, gconstpointer b)
{
	return magma_fid_equal(a, b);
}

void open_table_init(MagmaClient *c)
{
	c->opens = g_hash_table_new_full(magma_fid_hash, fid_equal, NULL, g_free);
}

static Open *open_get(MagmaClient *c, const MagmaFid *fid)
{
	Open *o = g_hash_table_lookup(c->opens, fid);

	if (!o) {
		o = g_new0(Open, 1);
		o->c = c;
		o->fid = *fid;
		g_hash_table_insert(c->opens, &o->fid, o);
	}
	return o;
}

static void ask_free(Ask *a)
{
	g_free(a->groups);
	g_free(a);
}

void open_table_clear(MagmaClient *c, int error)
{
	GHashTableIter it;
	gpointer value;
	GQueue asks = G_QUEUE_INIT;
	Ask *a;

	g_hash_table_iter_init(&it, c->opens);
	while (g_hash_table_iter_next(&it, NULL, &value))
		while ((a = g_queue_pop_head(&((Open *)value)->waiting)))
			g_queue_push_tail(&asks, a);
	g_hash_table_remove_all(c->opens);
	while ((a = g_queue_pop_head(&asks))) {
		a->done(a->user, error, NULL, NULL);
		ask_free(a);
	}
}

static void open_settle(Open *o);
static void reopen_one(Open *o);
static void reopen_alone(Open *o, gboolean renewing);

static gboolean is_asserted(const Open *o)
{
	return o->there && !o->releasing && o->count > 0;
}

/* Unlike EIO that a volcano said, which comes with its message. */
static gboolean timed_out(int error, const GBytes *msg) { return error == EIO && !msg; }

/* The open that this answer grants may have been noted for the id we had then, by a life of the owner that ended before the answer, or by an owner before the present one: what was re-asserted meanwhile was without it. */
static gboolean asserted_meanwhile(const MagmaClient *c) { return !c->answering || c->answering->shakes != c->shakes; }

static void on_open(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Ask *a = user;
	Open *o = a->open;

	o->asking--;
	if (!error) {
		o->count++;
		o->there = TRUE;
		if (asserted_meanwhile(o->c))
			reopen_one(o);
	} else if (timed_out(error, msg) || (o->c->answering && o->c->answering->unsure)) {
		o->there = TRUE;      /* for all we know, by a try that was not answered: a RELEASE follows */
	}
	open_settle(o);
	a->done(a->user, error, rep, msg);
	ask_free(a);
}

static void ask_send(Ask *a)
{
	a->open->asking++;
	call_new(a->open->c, TO_KEY, NULL, MAGMA_OP_open, &a->cred, &a->req, NULL, on_open, a);
}

static void on_release(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Open *o = user;
	Ask *a;

	/* an error too means that nothing of ours is left to wait for; no answer at all does not: it is said again, which takes as long as the last time */
	o->releasing = FALSE;
	o->there = timed_out(error, msg);
	if (o->c->closing)
		return;
	if (o->count > 0)
		reopen_one(o);
	while ((a = g_queue_pop_head(&o->waiting)))
		ask_send(a);
	open_settle(o);
}

/* What follows from the state; may free o. */
static void open_settle(Open *o)
{
	struct magma_req_release req = { .fid = o->fid };

	if (o->releasing || o->asking || o->count || o->c->closing)
		return;
	if (!o->there) {
		if (g_queue_is_empty(&o->waiting))
			g_hash_table_remove(o->c->opens, &o->fid);
		return;
	}
	o->releasing = TRUE;
	call_new(o->c, TO_KEY, NULL, MAGMA_OP_release, NULL, &req, NULL, on_release, o);
}

void magma_client_hold(MagmaClient *c, const MagmaFid *fid, guint32 flags, const MagmaCred *cred, MagmaReplyFn done, void *user)
{
	if (c->closing) {
		done(user, ECANCELED, NULL, NULL);
		return;
	}
	client_enter(c);
	Open *o = open_get(c, fid);
	Ask *a = g_new0(Ask, 1);
	a->open = o;
	a->req = (struct magma_req_open){ .fid = *fid, .flags = flags };
	a->done = done;
	a->user = user;
	if (cred)
		a->cred = *cred;
	if (o->releasing) {
		/* the caller's groups are only borrowed */
		a->cred.groups_be = a->groups = g_memdup2(a->cred.groups_be, 4 * (gsize)a->cred.ngroups);
		g_queue_push_tail(&o->waiting, a);
	} else {
		ask_send(a);
	}
	client_leave(c);
}

void magma_client_held(MagmaClient *c, const MagmaFid *fid)
{
	if (c->closing)
		return;
	Open *o = open_get(c, fid);
	client_enter(c);
	o->count++;
	o->there = TRUE;
	if (asserted_meanwhile(c))
		reopen_one(o);
	/* The owner of the new flare noted the open though the CREATE went elsewhere: it must hear of us, or it will think us gone. */
	const MagmaVolcano *v = c->map ? magma_map_route(c->map, &fid->key) : NULL;
	if (v) {
		Peer *owner = peer_of_volcano(c, v);
		owner->spoke_at = magma_net_now();
		if (!c->cfg.proxy)
			peer_want(owner);
	}
	call_tick_want(c);
	client_leave(c);
}

void magma_client_unhold(MagmaClient *c, const MagmaFid *fid)
{
	Open *o = g_hash_table_lookup(c->opens, fid);

	if (!o || c->closing)
		return;
	g_return_if_fail(o->count > 0);
	client_enter(c);
	o->count--;
	open_settle(o);
	client_leave(c);
}

static GArray *fid_array(void)
{
	return g_array_new(FALSE, FALSE, sizeof(MagmaFid));
}

static void reopen_send(MagmaClient *c, Peer *greeting, gboolean renewing, const MagmaKey *route, GArray *fids);

/* Re-assertion. */

static void on_reopen(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Reopen *r = user;
	MagmaClient *c = r->c;

	/* an error for one flare (gone meanwhile) shows when it is used; but one that is in another slice by now was not told to who has it */
	if (!c->closing) {
		g_autoptr(GArray) unheard = fid_array();
		MagmaReader errors = error || !rep ? magma_reader(NULL, 0) : magma_reader(rep->rep_reopen.errors.data, rep->rep_reopen.errors.len);
		for (guint i = 0; i < r->fids->len; i++) {
			Open *o = g_hash_table_lookup(c->opens, &g_array_index(r->fids, MagmaFid, i));
			guint32 one = errors.left ? magma_get_u32(&errors) : 0;
			if (o && o->asking) {
				o->asking--;
				o->there |= !error;
				if (one == MAGMA_EMAP && is_asserted(o))
					reopen_alone(o, r->renewing);
				/* else another one that is under way says it, a keepalive mostly */
				if (timed_out(error, msg) && is_asserted(o) && !o->asking)
					g_array_append_val(unheard, o->fid);
				open_settle(o);
			}
		}
		/* said as often as it takes */
		if (unheard->len) {
			MagmaKey route = g_array_index(unheard, MagmaFid, 0).key;
			reopen_send(c, NULL, FALSE, &route, g_steal_pointer(&unheard));
		}
		if (r->greeting && error != ENOTCONN)
			peer_reopened(r->greeting, r->conn);
		if (r->renewing && --c->renewing == 0)
			call_unpark(c, TRUE);
	}
	g_array_unref(r->fids);
	g_free(r);
}

/* Takes fids. */
static void reopen_send(MagmaClient *c, Peer *greeting, gboolean renewing, const MagmaKey *route, GArray *fids)
{
	Reopen *r = g_new0(Reopen, 1);
	g_autoptr(GByteArray) list = g_byte_array_new();

	r->c = c;
	r->fids = fids;
	r->renewing = renewing;
	for (guint i = 0; i < fids->len; i++) {
		const MagmaFid *fid = &g_array_index(fids, MagmaFid, i);
		((Open *)g_hash_table_lookup(c->opens, fid))->asking++;
		magma_put_fid(list, fid);
	}
	if (renewing)
		c->renewing++;
	if (greeting) {
		greeting->reopens++;
		r->greeting = greeting;
		r->conn = greeting->conn;
	}
	struct magma_req_reopen req = { .route = *route, .fids = MAGMA_BYTES(list->data, list->len) };
	call_new(c, greeting ? TO_SESSION : TO_KEY, greeting, MAGMA_OP_reopen, NULL, &req, NULL, on_reopen, r);
}

static void reopen_alone(Open *o, gboolean renewing)
{
	GArray *fids = fid_array();

	g_array_append_val(fids, o->fid);
	reopen_send(o->c, NULL, renewing, &o->fid.key, fids);
}

static void reopen_one(Open *o) { reopen_alone(o, FALSE); }

/* Is it still the same life of the same slice at the same volcano? */
static gboolean owner_is_the_same(const MagmaMap *old, const MagmaSlice *now, const MagmaKey *key)
{
	const MagmaSlice *was = magma_map_slice(old, key);
	return was && was->owner == now->owner && was->epoch == now->epoch;
}

/* Those of one volcano, or (NULL) all whose slice has another owner than in old, in messages per slice of at most REOPEN_MAX. */
static GPtrArray *collect(MagmaClient *c, const MagmaVolcano *only, const MagmaMap *old)
{
	g_autoptr(GHashTable) by_slice = g_hash_table_new(NULL, NULL);
	GPtrArray *batches = g_ptr_array_new();
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, c->opens);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		const Open *o = value;
		const MagmaSlice *s = c->map ? magma_map_slice(c->map, &o->fid.key) : NULL;
		if (!s || !is_asserted(o) || (only && only->id != s->owner) || (old && owner_is_the_same(old, s, &o->fid.key)))
			continue;
		GArray *fids = g_hash_table_lookup(by_slice, GUINT_TO_POINTER(s->id));
		if (!fids || fids->len == REOPEN_MAX) {
			fids = fid_array();
			g_hash_table_insert(by_slice, GUINT_TO_POINTER(s->id), fids);
			g_ptr_array_add(batches, fids);
		}
		g_array_append_val(fids, o->fid);
	}
	return batches;
}

void open_greet(Peer *p)
{
	MagmaClient *c = p->c;
	const MagmaVolcano *v = c->map ? magma_map_by_id(c->map, p->id) : NULL;

	if (!v)
		return;
	/* as a proxy it forwards for all: what the others hold has its own keepalive */
	g_autoptr(GPtrArray) batches = collect(c, v, NULL);
	for (guint i = 0; i < batches->len && p->state == PEER_GREETING; i++) {
		GArray *fids = batches->pdata[i];
		reopen_send(c, p, FALSE, &g_array_index(fids, MagmaFid, 0).key, fids);
	}
}

void open_moved(MagmaClient *c, const MagmaMap *old)
{
	g_autoptr(GPtrArray) batches = collect(c, NULL, old);

	for (guint i = 0; i < batches->len; i++) {
		GArray *fids = batches->pdata[i];
		reopen_send(c, NULL, old == NULL, &g_array_index(fids, MagmaFid, 0).key, fids);
	}
}

/* By which v is reached. Its home slice may be another's while it acts for others itself. NULL: it has none. */
static const MagmaSlice *slice_of(const MagmaMap *map, const MagmaVolcano *v)
{
	for (guint i = 0; i < map->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(map->slices, MagmaSlice, i);
		if (s->owner == v->id)
			return s;
	}
	return NULL;
}

void open_keepalive_by_key(MagmaClient *c, const MagmaVolcano *v)
{
	const MagmaSlice *s = slice_of(c->map, v);
	if (!s)
		return;
	MagmaKey route = s->range.lo;
	g_autoptr(GPtrArray) batches = collect(c, v, NULL);

	if (batches->len == 0)
		g_ptr_array_add(batches, fid_array());
	for (guint i = 0; i < batches->len; i++)
		reopen_send(c, NULL, FALSE, &route, batches->pdata[i]);
}
