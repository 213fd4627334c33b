/* Requests from this volcano to others (and to itself), and clients' requests passed on. A call is repeated until it is answered; what it asks for is
 * idempotent by operation id (settle.c), so repeating is harmless. */
#include "magmad/core/consensus.h"

enum { REPEAT_FIRST = 500000, REPEAT_MAX = 4000000, AGAIN_AFTER = 20000, FORWARDS_MAX = 65536 };
#define PASSED_ON_KEPT (20 * SECOND)      /* a message lives as long as its session tries: seconds */

typedef enum { BY_KEY, BY_VOLCANO, BY_LEADER, BY_ADDR } CallTo;

struct Call {
	Volcano *v;
	Slice *sl;                    /* that wants it; NULL: the volcano */
	guint64 xid;
	CallTo to;
	MagmaKey key;
	guint16 volcano;
	MagmaAddr addr;
	MagmaOp op;
	GBytes *head, *body;
	guint64 epoch;                /* in head */
	MagmaTime deadline, repeat_at, pause;
	Peer *peer;
	gboolean local;               /* being answered by this volcano itself */
	gboolean again;               /* answered "not now": it may go out again on the same session */
	int error;                    /* decided, to be reported from the tick */
	CallDone done;
	void *user;
};

typedef struct {
	guint64 id[2];                /* client, xid */
	Peer *peer;                   /* who asked */
	Peer *to;                     /* who was asked last */
	MagmaTime at;
} Forward;

/* An error that was passed on to a client and may not be there yet. */
typedef struct {
	guint64 id[2];                /* client, xid */
	int error;
} PassedOn;

typedef struct { guint64 client, watermark; } Answered;

static void forward_free(gpointer p)
{
	Forward *f = p;

	peer_unref(f->peer);
	peer_unref(f->to);
	g_slice_free(Forward, f);
}

void call_init(Volcano *v)
{
	v->calls = g_hash_table_new(g_int64_hash, g_int64_equal);
	v->forwards = g_hash_table_new_full(core_pair_hash, core_pair_equal, NULL, forward_free);
	for (guint i = 0; i < 2; i++) {
		v->passed_on[i] = g_hash_table_new_full(core_pair_hash, core_pair_equal, NULL, g_free);
		v->answered[i] = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	}
	v->node_peers = g_hash_table_new(magma_addr_hash, (GEqualFunc)magma_addr_equal);
}

typedef struct {
	MagmaAddr addr;
	Peer *peer;
} NodePeer;

static void call_free(Call *c)
{
	g_hash_table_remove(c->v->calls, &c->xid);
	if (c->peer) {
		g_ptr_array_remove_fast(c->peer->calls, c);
		peer_unref(c->peer);
	}
	g_bytes_unref(c->head);
	if (c->body)
		g_bytes_unref(c->body);
	g_slice_free(Call, c);
}

void call_clear_slice(Slice *sl)
{
	g_autoptr(GPtrArray) own = g_ptr_array_new();
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, sl->v->calls);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (((Call *)value)->sl == sl)
			g_ptr_array_add(own, value);
	for (guint i = 0; i < own->len; i++) {
		Call *c = own->pdata[i];
		c->sl = NULL;
		c->done = NULL;
		if (!c->local)        /* else its operation, of another slice, will answer */
			call_free(c);
	}
}

void call_clear(Volcano *v)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->calls);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Call *c = value;
		g_hash_table_iter_remove(&it);
		call_free(c);
	}
	g_hash_table_unref(v->calls);
	g_hash_table_unref(v->forwards);
	for (guint i = 0; i < 2; i++) {
		g_hash_table_unref(v->passed_on[i]);
		g_hash_table_unref(v->answered[i]);
	}
	g_hash_table_iter_init(&it, v->node_peers);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		NodePeer *n = value;
		peer_unref(n->peer);
		g_free(n);
	}
	g_hash_table_unref(v->node_peers);
}

/* The session to a node address, started where there is none. */
static Peer *peer_to(Volcano *v, const MagmaAddr *addr)
{
	NodePeer *n = g_hash_table_lookup(v->node_peers, addr);

	if (n && n->peer->session)
		return n->peer;
	Session *s = v->io->connect(v->iou, addr);
	if (!s)
		return NULL;
	if (!n) {
		n = g_new0(NodePeer, 1);
		n->addr = *addr;
		g_hash_table_insert(v->node_peers, &n->addr, n);
	} else {
		peer_unref(n->peer);
	}
	Peer *p = g_new0(Peer, 1);
	p->refs = 1;
	p->number = ++v->peers_made;
	p->session = s;
	p->is_node = TRUE;
	p->calls = g_ptr_array_new();
	n->peer = p;
	g_hash_table_add(v->peers, peer_ref(p));
	session_set_volcano_data(s, p);
	return p;
}

guint16 call_peer_volcano(Volcano *v, const Peer *p)
{
	for (guint i = 0; v->map && i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = v->map->volcanos->pdata[i];
		MagmaAddr addr = magma_addr_with_port(&o->addr, o->addr.port + 1);
		const NodePeer *n = g_hash_table_lookup(v->node_peers, &addr);
		if (n && n->peer == p)
			return o->id;
	}
	return 0;
}

/* By which map it goes out. The session may still hold the old bytes: they are copied. */
static void call_refresh(Call *c)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(c->head, &n);

	if (!c->v->map || c->epoch == c->v->map->epoch)
		return;
	guint8 *copy = g_memdup2(p, n);
	c->epoch = c->v->map->epoch;
	magma_msg_set_sender(copy, c->epoch, 0, 0);
	g_bytes_unref(c->head);
	c->head = g_bytes_new_take(copy, n);
}

static void calls_due(void *arg)
{
	Volcano *v = arg;

	core_enter(v);
	v->calls_due = 0;
	call_tick(v);
	for (guint i = 0; v->map && i < v->slices->len; i++)
		mark_tick(v->slices->pdata[i]);
	core_leave(v);
}

/* The tick comes every 100 ms: a pause that clients see. */
static void calls_soon(Volcano *v, MagmaTime delay)
{
	if (!v->calls_due && !v->stopping)
		v->calls_due = v->io->timer(v->iou, delay, calls_due, v);
}

static void call_soon(Call *c)
{
	c->pause = 0;
	c->repeat_at = core_now(c->v) + AGAIN_AFTER;
	calls_soon(c->v, AGAIN_AFTER);
}

static void call_transmit(Call *c)
{
	Volcano *v = c->v;
	const MagmaVolcano *to = NULL;
	MagmaAddr addr = c->addr;

	c->pause = c->pause ? MIN(c->pause * 2, (MagmaTime)REPEAT_MAX) : REPEAT_FIRST;
	c->repeat_at = core_now(v) + c->pause;
	if (c->to == BY_KEY)
		to = v->map ? magma_map_route(v->map, &c->key) : NULL;
	else if (c->to == BY_LEADER)
		to = v->map ? magma_map_by_id(v->map, consensus_leader(v)) : NULL;
	else if (c->to == BY_VOLCANO)
		to = v->map ? magma_map_by_id(v->map, c->volcano) : NULL;
	if (c->to != BY_ADDR) {
		if (!to)
			return;
		if (to->id == v->id) {
			if (!c->local) {
				if (c->body) {      /* one piece, as the decoder wants it */
					gsize a, b;
					const guint8 *pa = g_bytes_get_data(c->head, &a), *pb = g_bytes_get_data(c->body, &b);
					GByteArray *whole = g_byte_array_sized_new(a + b);
					g_byte_array_append(whole, pa, a);
					g_byte_array_append(whole, pb, b);
					g_bytes_unref(c->head);
					g_clear_pointer(&c->body, g_bytes_unref);
					c->head = g_byte_array_free_to_bytes(whole);
				}
				call_refresh(c);
				c->local = op_local(v, c, c->head);
				if (!c->local)        /* a slice that is being opened, after a takeover mostly: clients wait for this */
					call_soon(c);
			}
			return;
		}
		addr = magma_addr_with_port(&to->addr, to->addr.port + 1);
	}
	Peer *p = peer_to(v, &addr);
	/* A session is reliable: once on it, only a new session or an answer is a reason to send again. A second copy could be done after all is settled. */
	if (p && p == c->peer && !c->again) {
		if (v->io->probe)             /* one that has nothing else to say would find out by its keepalive */
			v->io->probe(v->iou, p->session);
		return;
	}
	c->again = FALSE;
	if (p != c->peer) {
		if (c->peer) {
			g_ptr_array_remove_fast(c->peer->calls, c);
			peer_unref(c->peer);
		}
		c->peer = p ? peer_ref(p) : NULL;
		if (p)
			g_ptr_array_add(p->calls, c);
	}
	if (p) {
		call_refresh(c);
		v->io->send(v->iou, p->session, c->head, c->body);
	}
}

static Call *call_new(Volcano *v, Slice *sl, CallTo to, MagmaOp op, const void *req, GBytes *body, MagmaTime limit, CallDone done, void *user)
{
	Call *c = g_slice_new0(Call);
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = op, .hops = MAGMA_HOPS, .xid = ++v->next_xid, .epoch = v->map ? v->map->epoch : 0 };
	GByteArray *head = g_byte_array_sized_new(256);

	magma_msg_encode(&h, req, body != NULL, head);
	c->v = v;
	c->sl = sl;
	c->xid = h.xid;
	c->epoch = h.epoch;
	c->to = to;
	c->op = op;
	c->head = g_byte_array_free_to_bytes(head);
	c->body = body ? g_bytes_ref(body) : NULL;
	c->deadline = limit ? core_now(v) + limit : G_MAXINT64;
	c->done = done;
	c->user = user;
	g_hash_table_insert(v->calls, &c->xid, c);
	core_tick_soon(v);
	return c;
}

Call *call_key(Slice *sl, const MagmaKey *key, MagmaOp op, const void *req, GBytes *body, MagmaTime limit, CallDone done, void *user)
{
	Call *c = call_new(sl->v, sl, BY_KEY, op, req, body, limit, done, user);

	c->key = *key;
	call_transmit(c);
	return c;
}

Call *call_owner(Volcano *v, const MagmaKey *key, MagmaOp op, const void *req, MagmaTime limit, CallDone done, void *user)
{
	Call *c = call_new(v, NULL, BY_KEY, op, req, NULL, limit, done, user);

	c->key = *key;
	call_transmit(c);
	return c;
}

Call *call_volcano(Volcano *v, Slice *sl, guint16 id, MagmaOp op, const void *req, GBytes *body, MagmaTime limit, CallDone done, void *user)
{
	Call *c = call_new(v, sl, BY_VOLCANO, op, req, body, limit, done, user);

	c->volcano = id;
	call_transmit(c);
	return c;
}

Call *call_leader(Volcano *v, Slice *sl, MagmaOp op, const void *req, MagmaTime limit, CallDone done, void *user)
{
	Call *c = call_new(v, sl, BY_LEADER, op, req, NULL, limit, done, user);

	call_transmit(c);
	return c;
}

void call_push(Volcano *v, guint16 id, GBytes *msg)
{
	const MagmaVolcano *to = v->map ? magma_map_by_id(v->map, id) : NULL;
	MagmaAddr addr;
	Peer *p;

	if (!to || to->id == v->id)
		return;
	addr = magma_addr_with_port(&to->addr, to->addr.port + 1);
	if ((p = peer_to(v, &addr)))
		v->io->send(v->iou, p->session, msg, NULL);
}

Call *call_addr(Volcano *v, const MagmaAddr *node, MagmaOp op, const void *req, MagmaTime limit, CallDone done, void *user)
{
	Call *c = call_new(v, NULL, BY_ADDR, op, req, NULL, limit, done, user);

	c->addr = *node;
	call_transmit(c);
	return c;
}

void call_cancel(Call *c)
{
	if (c->local) {
		c->done = NULL;       /* its operation still runs and will answer */
		return;
	}
	call_free(c);
}

static void call_finish(Call *c, int error, const MagmaAny *rep, GBytes *msg)
{
	CallDone done = c->done;
	void *user = c->user;

	c->local = FALSE;
	call_free(c);
	if (done)
		done(user, error, rep, msg);
}

/* Not the owner (any more), or not now: ask again soon, by a newer map if there is one. */
static gboolean call_again(Call *c, guint32 error)
{
	if (error != MAGMA_ETRYAGAIN && error != MAGMA_ENOTOWNER && error != MAGMA_EMAP)
		return FALSE;
	c->again = TRUE;
	call_soon(c);
	return TRUE;
}

void call_reply(Volcano *v, Peer *peer, const MagmaHdr *h, const MagmaAny *rep, GBytes *msg)
{
	Call *c = g_hash_table_lookup(v->calls, &h->xid);

	if (!c || c->op != h->op || h->client || c->peer != peer)
		return;
	if (c->local) {               /* asked here since: if that is lost with its slice, nobody has it any more, and it goes out on the same session once more */
		c->again = TRUE;
		return;
	}
	if (call_again(c, h->error))
		return;
	call_finish(c, h->error, h->error ? NULL : rep, msg);
}

void call_local_lost(Call *c)
{
	c->local = FALSE;
	c->repeat_at = 0;
	if (!c->done)
		call_free(c);
}

void call_answer_local(Volcano *v, Call *c, GBytes *msg)
{
	MagmaHdr h;
	MagmaAny any;
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	core_enter(v);
	c->local = FALSE;
	if (magma_msg_decode(p, n, &h, &any) != 0)
		g_assert_not_reached();       /* our own encoding */
	if (!c->done || !call_again(c, h.error))
		call_finish(c, h.error, h.error ? NULL : &any, msg);
	core_leave(v);
}

void call_peer_opened(Volcano *v, Peer *p)
{
	p->open = TRUE;
}

/* The session is gone: its calls go out again on the next one, at once if it had worked, after a pause if not. */
void call_peer_closed(Volcano *v, Peer *p, const char *why)
{
	g_autoptr(GPtrArray) calls = g_steal_pointer(&p->calls);

	p->calls = g_ptr_array_new();
	if (calls->len && p->open)
		calls_soon(v, 1000);
	for (guint i = 0; i < calls->len; i++) {
		Call *c = calls->pdata[i];
		g_clear_pointer(&c->peer, peer_unref);
		c->repeat_at = p->open ? 0 : core_now(v) + 200000;
		c->pause = 0;
		if (c->to == BY_ADDR && !p->open) {
			g_strlcpy(v->note, why, sizeof v->note);
			c->error = ECONNREFUSED;
		}
	}
}

void call_map_changed(Volcano *v)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->calls);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Call *c = value;
		if (c->to != BY_ADDR && !c->local)
			c->repeat_at = 0;
	}
	calls_soon(v, 1000);
}

static void turn(GHashTable *table[2])
{
	GHashTable *old = table[1];

	g_hash_table_remove_all(old);
	table[1] = table[0];
	table[0] = old;
}

static void passed_on_tick(Volcano *v, MagmaTime now)
{
	if (now - v->passed_on_since < PASSED_ON_KEPT)
		return;
	turn(v->passed_on);
	turn(v->answered);
	v->passed_on_since = now;
}

void call_tick(Volcano *v)
{
	MagmaTime now = core_now(v);
	g_autoptr(GArray) due = g_array_new(FALSE, FALSE, sizeof(guint64));
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->calls);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Call *c = value;
		if (!c->local && (c->repeat_at <= now || c->deadline <= now || c->error))
			g_array_append_val(due, c->xid);
	}
	for (guint i = 0; i < due->len; i++) {
		Call *c = g_hash_table_lookup(v->calls, &g_array_index(due, guint64, i));
		if (!c || c->local)
			continue;
		if (c->error || c->deadline <= now)
			call_finish(c, c->error ? c->error : ETIMEDOUT, NULL, NULL);
		else
			call_transmit(c);
	}
	g_hash_table_iter_init(&it, v->forwards);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (now - ((Forward *)value)->at > 60 * SECOND)
			g_hash_table_iter_remove(&it);
	passed_on_tick(v, now);
}

void call_forward(Volcano *v, Peer *from, const MagmaHdr *h, GBytes *msg, const MagmaKey *route)
{
	call_forward_to(v, from, h, msg, magma_map_route(v->map, route));
}

void call_forward_to(Volcano *v, Peer *from, const MagmaHdr *h, GBytes *msg, const MagmaVolcano *to)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);
	Peer *peer;

	if (!to || !h->client || g_hash_table_size(v->forwards) >= FORWARDS_MAX)
		return;
	MagmaAddr addr = magma_addr_with_port(&to->addr, to->addr.port + 1);
	if (!(peer = peer_to(v, &addr)))
		return;
	guint8 *copy = g_memdup2(p, n);
	magma_msg_set_hops_flags(copy, h->hops - 1, h->flags | MAGMA_FLAG_FORWARDED);
	g_autoptr(GBytes) out = g_bytes_new_take(copy, n);
	Forward *f = g_slice_new0(Forward);
	f->id[0] = h->client;
	f->id[1] = h->xid;
	f->peer = peer_ref(from);
	f->to = peer_ref(peer);
	f->at = core_now(v);
	g_hash_table_replace(v->forwards, f->id, f);
	v->stats.forwarded++;
	v->io->send(v->iou, peer->session, out, NULL);
}

void call_forward_forget(Volcano *v, const MagmaHdr *h)
{
	guint64 id[2] = { h->client, h->xid };

	if (h->client && g_hash_table_size(v->forwards))
		g_hash_table_remove(v->forwards, id);
}

/* The others say that it should ask again; and what changes nothing may well be answered otherwise. */
static void note_passed_on(Volcano *v, const MagmaHdr *h)
{
	if (!h->error || h->error >= MAGMA_EAUTH || !(magma_op_info(h->op)->flags & MAGMA_OP_MUTATES || h->op == MAGMA_OP_open))
		return;
	call_note_refusal(v, h->client, h->xid, h->error);
}

void call_note_refusal(Volcano *v, guint64 client, guint64 xid, int error)
{
	PassedOn *p = g_new(PassedOn, 1);

	*p = (PassedOn){ { client, xid }, error };
	g_hash_table_replace(v->passed_on[0], p->id, p);
}

int call_passed_on(Volcano *v, const MagmaHdr *h)
{
	const guint64 id[2] = { h->client, h->xid };
	const PassedOn *p = NULL;

	for (guint i = 0; i < 2 && !p; i++)
		p = g_hash_table_size(v->passed_on[i]) ? g_hash_table_lookup(v->passed_on[i], id) : NULL;
	return p ? p->error : 0;
}

void call_note_watermark(Volcano *v, guint64 client, guint64 watermark)
{
	Answered *a = g_hash_table_lookup(v->answered[0], &client);

	if (a && a->watermark >= watermark)
		return;
	a = g_new(Answered, 1);
	*a = (Answered){ client, watermark };
	g_hash_table_replace(v->answered[0], &a->client, a);
}

gboolean call_was_answered(Volcano *v, const MagmaHdr *h)
{
	for (guint i = 0; i < 2; i++) {
		const Answered *a = g_hash_table_size(v->answered[i]) ? g_hash_table_lookup(v->answered[i], &h->client) : NULL;
		if (a && h->xid < a->watermark)
			return TRUE;
	}
	return FALSE;
}

gboolean call_relay(Volcano *v, Peer *from, const MagmaHdr *h, GBytes *msg)
{
	guint64 id[2] = { h->client, h->xid };
	Forward *f = h->client ? g_hash_table_lookup(v->forwards, id) : NULL;

	if (!f)
		return h->client != 0;
	/* an error of an earlier owner says nothing about the last try, which may have done it */
	if (h->error && from != f->to)
		return TRUE;
	if (f->peer->session) {
		v->io->send(v->iou, f->peer->session, msg, NULL);
		note_passed_on(v, h);
	}
	g_hash_table_remove(v->forwards, id);
	return TRUE;
}
