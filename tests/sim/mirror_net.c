#include "tests/sim/mirror_net.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct {
	MNode *from;
	guint life;
	guint16 to;
	MagmaOp op;
	GBytes *msg;
	void (*done)(void *user, int error, const MagmaAny *rep, GBytes *msg);
	void *user;
	gboolean over;
	gint refs;
} MCall;

static void call_unref(MCall *c)
{
	if (--c->refs)
		return;
	g_bytes_unref(c->msg);
	g_free(c);
}

static gboolean call_dead(const MCall *c) { return c->over || c->from->life != c->life; }

/* --- messages --- */

typedef struct {
	MCall *call;
	GBytes *msg;
} Flight;

static void flight_free(Flight *f)
{
	call_unref(f->call);
	g_bytes_unref(f->msg);
	g_free(f);
}

static gint64 delay(MNet *n) { return n->trouble ? world_delay(n->w) : 50 + world_pick(n->w, 200); }

static GBytes *encode(const MagmaHdr *h, const void *fields, GBytes *body)
{
	GByteArray *out = g_byte_array_new();
	gsize len = 0;

	magma_msg_encode(h, fields, body != NULL, out);
	const guint8 *p = body ? g_bytes_get_data(body, &len) : NULL;
	if (len)
		g_byte_array_append(out, p, len);
	return g_byte_array_free_to_bytes(out);
}

static void answer_arrives(void *arg)
{
	Flight *f = arg;
	MCall *c = f->call;
	MagmaHdr h;
	MagmaAny rep;
	gsize len;
	const guint8 *p = g_bytes_get_data(f->msg, &len);

	if (!call_dead(c)) {
		if (magma_msg_decode(p, len, &h, &rep))
			world_fail(c->from->net->w, "an answer that is none");
		c->over = TRUE;
		g_ptr_array_remove_fast(c->from->calls, c);
		c->done(c->user, h.error, h.error ? NULL : &rep, f->msg);
		call_unref(c);
	}
	flight_free(f);
}

typedef struct {
	MCall *call;
	MNode *at;
} Asking;

static void answer(void *user, int error, const void *rep, GBytes *body)
{
	g_autofree Asking *a = user;
	MNet *n = a->at->net;
	MagmaHdr h = { .kind = MAGMA_REPLY, .op = a->call->op };

	if (!error && !call_dead(a->call) && !n->mute && !(n->trouble && world_chance(n->w, n->cfg.lost_permille, 1000))) {
		Flight *f = g_new(Flight, 1);
		*f = (Flight){ a->call, encode(&h, rep, body) };
		world_trace_message(n->w, "answer", "", f->msg);
		world_after(n->w, delay(n), TRUE, answer_arrives, f);
		return;
	}
	call_unref(a->call);
}

static void owner_answers(MNode *at, Asking *a, const MagmaAny *req)
{
	MagmaAny rep;

	memset(&rep, 0, sizeof rep);
	if (req->req_mirror_attach.epoch >= at->net->epoch) {
		call_unref(a->call);
		g_free(a);
		return;
	}
	switch (a->call->op) {
	case MAGMA_OP_mirror_attach: rep.rep_mirror_attach = (struct magma_rep_mirror_attach){ .error = ESTALE, .epoch = at->net->epoch }; break;
	case MAGMA_OP_mirror_start: rep.rep_mirror_start = (struct magma_rep_mirror_start){ .error = ESTALE, .epoch = at->net->epoch }; break;
	case MAGMA_OP_mirror_append: rep.rep_mirror_append = (struct magma_rep_mirror_append){ .error = ESTALE, .epoch = at->net->epoch }; break;
	case MAGMA_OP_mirror_rows: rep.rep_mirror_rows = (struct magma_rep_mirror_rows){ .error = ESTALE, .epoch = at->net->epoch }; break;
	case MAGMA_OP_mirror_contents: rep.rep_mirror_contents = (struct magma_rep_mirror_contents){ .error = ESTALE, .epoch = at->net->epoch }; break;
	case MAGMA_OP_mirror_read: rep.rep_mirror_read = (struct magma_rep_mirror_read){ .error = ESTALE, .epoch = at->net->epoch }; break;
	default: rep.rep_mirror_sync = (struct magma_rep_mirror_sync){ .error = ESTALE, .epoch = at->net->epoch };
	}
	answer(a, 0, &rep, NULL);
}

static void request_arrives(void *arg)
{
	Flight *f = arg;
	MCall *c = f->call;
	MNet *n = c->from->net;
	MNode *at = &n->nodes[c->to - 1];
	MagmaHdr h;
	MagmaAny req;
	gsize len;
	const guint8 *p = g_bytes_get_data(f->msg, &len);

	if (at->store) {
		if (magma_msg_decode(p, len, &h, &req))
			world_fail(n->w, "a request that is none");
		Asking *a = g_new(Asking, 1);
		*a = (Asking){ c, at };
		c->refs++;
		if (at->replica)
			replica_request(at->replica, c->op, &req, f->msg, answer, a);
		else
			owner_answers(at, a, &req);
	}
	flight_free(f);
}

static void transmit(MCall *c)
{
	MNet *n = c->from->net;
	guint times = n->trouble && world_chance(n->w, n->cfg.double_permille, 1000) ? 2 : 1;

	if (n->trouble && world_chance(n->w, n->cfg.lost_permille, 1000))
		return;
	while (times--) {
		Flight *f = g_new(Flight, 1);
		*f = (Flight){ c, g_bytes_ref(c->msg) };
		c->refs++;
		world_after(n->w, delay(n), TRUE, request_arrives, f);
	}
}

static void again(void *arg)
{
	MCall *c = arg;
	MNet *n = c->from->net;

	if (call_dead(c)) {
		call_unref(c);
		return;
	}
	transmit(c);
	world_after(n->w, 200000 + world_pick(n->w, 200000), TRUE, again, c);
}

static gpointer io_call(void *user, guint16 volcano, MagmaOp op, const void *req, GBytes *body, MagmaTime limit, void (*done)(void *, int, const MagmaAny *, GBytes *), void *done_user)
{
	MNode *node = user;
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = op, .hops = 1 };
	MCall *c = g_new(MCall, 1);

	*c = (MCall){ node, node->life, volcano, op, encode(&h, req, body), done, done_user, FALSE, 2 };
	g_autofree char *from = g_strdup_printf("%u", node->i + 1), *to = g_strdup_printf("%u", volcano);
	world_trace_message(node->net->w, from, to, c->msg);
	g_ptr_array_add(node->calls, c);
	if (op == MAGMA_OP_mirror_append)
		node->net->appended += body ? g_bytes_get_size(body) : 0;
	transmit(c);
	world_after(node->net->w, 200000 + world_pick(node->net->w, 200000), TRUE, again, c);
	return c;
}

static void io_cancel(void *user, gpointer call)
{
	MNode *node = user;
	MCall *c = call;

	g_assert(!c->over);
	c->over = TRUE;
	g_ptr_array_remove_fast(node->calls, c);
	call_unref(c);
}

static MagmaTime io_now(void *user) { return world_now(((MNode *)user)->net->w); }
static guint io_timer(void *user, MagmaTime d, void (*fn)(void *), void *arg) { return world_after(((MNode *)user)->net->w, d, FALSE, fn, arg); }
static void io_timer_cancel(void *user, guint handle) { world_cancel(((MNode *)user)->net->w, handle); }

static void io_random(void *user, void *buf, gsize len)
{
	for (gsize i = 0; i < len; i++)
		((guint8 *)buf)[i] = world_pick(((MNode *)user)->net->w, 256);
}

static void io_say(void *user, const char *line)
{
	MNode *node = user;

	if (strstr(line, "anew"))
		node->net->resets++;
	if (strstr(line, "compared"))
		node->net->compared++;
	world_trace(node->net->w, "%u says: %s", node->i + 1, line);
}

static const MirrorIo io = { io_now, io_random, io_call, io_cancel, io_timer, io_timer_cancel, io_say };

/* --- the map --- */

void mnet_tell_owner(MNet *n)
{
	CopySpec specs[MNODES_MAX];
	guint k = 0;

	if (n->owner < 0 || !n->nodes[n->owner].owner)
		return;
	for (guint i = 0; i < n->cfg.nodes; i++)
		if ((gint)i != n->owner)
			specs[k++] = (CopySpec){ i + 1, n->in_sync[i] };
	owner_set_copies(n->nodes[n->owner].owner, specs, k);
}

typedef struct {
	MNet *n;
	guint64 epoch;
	guint i, life;
	gboolean in;
} Change;

static gboolean current(const Change *c) { return c->n->epoch == c->epoch && c->n->owner >= 0 && c->n->nodes[c->n->owner].owner; }

static void change_map(void *arg)
{
	g_autofree Change *c = arg;
	MNet *n = c->n;

	if (!current(c))
		return;
	if (c->in && n->trouble && world_chance(n->w, 1, 4)) {
		n->refusals++;
		world_trace(n->w, "== the map refuses %u", c->i + 1);
		owner_not_in_sync(n->nodes[n->owner].owner, c->i + 1);
		return;
	}
	world_trace(n->w, "== the map %s %u", c->in ? "counts" : "does not count", c->i + 1);
	n->in_sync[c->i] = c->in;
	if (c->in) {
		n->nodes[c->i].damaged &= n->nodes[c->i].life != c->life || !n->nodes[c->i].store;
		n->grants++;
	}
	mnet_tell_owner(n);
}

static void ask_map(MNode *owner, guint16 volcano, gboolean in)
{
	MNet *n = owner->net;
	Change *c = g_new(Change, 1);

	if (n->owner != (gint)owner->i) {
		g_free(c);
		return;
	}
	*c = (Change){ n, n->epoch, volcano - 1, n->nodes[volcano - 1].life, in };
	world_after(n->w, 1000 + world_pick(n->w, 300000), TRUE, change_map, c);
}

static void on_caught_up(void *user, guint16 volcano) { ask_map(user, volcano, TRUE); }

static void on_stuck(void *user, guint16 volcano, const char *why)
{
	MNode *owner = user;

	owner->net->stucks++;
	ask_map(user, volcano, FALSE);
}

static void on_deposed(void *user, guint64 epoch)
{
	MNode *node = user;

	world_trace(node->net->w, "== %u is deposed by epoch %" G_GUINT64_FORMAT, node->i + 1, epoch);
	if (node->net->owner == (gint)node->i)
		world_fail(node->net->w, "the owner was deposed by nobody");
}

static void on_acked(void *user, guint64 index)
{
	MNode *node = user;
	MNet *n = node->net;

	if (n->owner == (gint)node->i && n->on_acked)
		n->on_acked(n->user, index);
}

/* --- nodes --- */

static MemUnread unread(void *user) { return ((MNode *)user)->unread; }

static void later(void *user, gint64 d, void (*fn)(void *), void *arg) { world_after(((MNode *)user)->net->w, d, TRUE, fn, arg); }

static void open_store(MNode *node)
{
	MNet *n = node->net;
	MemStoreConfig cfg = { .seed = world_pick(n->w, G_MAXINT32), .at_once_permille = n->cfg.at_once_permille, .delay_max = n->cfg.disk_delay, .turn = world_turn(n->w), .one_of_several = TRUE, .later = later, .unread = unread, .user = node };

	node->store = memstore_open(node->disk, &cfg);
	memstore_set_full(node->store, node->full);
	node->life++;
}

static void as_copy(MNode *node)
{
	ReplicaConfig cfg = { 7, &io, node };

	node->replica = replica_new(node->store, world_chance(node->net->w, 1, 2) ? node->net->epoch : 0, &cfg);
}

void mnet_up(MNet *n, guint i)
{
	world_trace(n->w, "== %u is up", i + 1);
	open_store(&n->nodes[i]);
	as_copy(&n->nodes[i]);
}

void mnet_down(MNet *n, guint i, gboolean power)
{
	MNode *node = &n->nodes[i];

	world_trace(n->w, "== %s %u%s", power ? "power cut of" : "kill -9", i + 1, n->owner == (gint)i ? ", the owner" : "");
	if (n->owner == (gint)i) {
		n->owner = -1;
		n->on_lost(n->user);
	}
	node->failed = FALSE;
	owner_free(node->owner);
	replica_free(node->replica);
	node->owner = NULL;
	node->replica = NULL;
	node->life++;
	if (node->calls->len)
		world_fail(n->w, "a call was not cancelled");
	guint64 written = memstore_written(node->store), index = memstore_index(node->store);
	if (power)
		memstore_power_cut(node->store);
	else
		memstore_crash(node->store, written + world_pick(n->w, index - written + 1));
	node->store = NULL;
	node->damaged |= power;
	n->power_cuts += power;
}

static void ends(void *arg)
{
	MNode *node = arg;
	MNet *n = node->net;

	if (!node->failed)            /* it was killed meanwhile */
		return;
	node->failed = FALSE;
	if (n->on_failed)
		n->on_failed(n->failed_user, node->i);
	else
		mnet_down(n, node->i, FALSE);
}

static void on_failed(void *user, const char *text)
{
	MNode *node = user;

	if (node->failed)
		return;
	world_trace(node->net->w, "== %u ends: %s", node->i + 1, text);
	node->failed = TRUE;
	world_after(node->net->w, 0, FALSE, ends, node);
}

void mnet_promote(MNet *n, guint i)
{
	MNode *node = &n->nodes[i];
	OwnerConfig cfg = { .slice = 7, .io = &io, .user = node, .keep_bytes = n->cfg.keep_bytes, .todo_max = n->cfg.todo_max, .on_caught_up = on_caught_up, .on_stuck = on_stuck, .on_deposed = on_deposed };

	n->epoch++;
	n->promotions++;
	n->owner = i;
	n->in_sync[i] = TRUE;
	world_trace(n->w, "== %u owns under epoch %" G_GUINT64_FORMAT, i + 1, n->epoch);
	replica_free(node->replica);
	node->replica = NULL;
	node->owner = owner_new(node->store, n->epoch, &cfg);
	owner_store(node->owner)->on_acked = on_acked;
	owner_store(node->owner)->on_failed = on_failed;
	owner_store(node->owner)->user = node;
	n->on_owner(n->user);
	mnet_tell_owner(n);
}

Store *mnet_store(MNet *n) { return n->owner < 0 ? NULL : owner_store(n->nodes[n->owner].owner); }

gboolean mnet_step(MNet *n)
{
	gboolean more = world_step(n->w);

	for (guint i = 0; i < n->cfg.nodes; i++)
		if (n->nodes[i].owner)
			owner_flush(n->nodes[i].owner);
	return more;
}

MNet *mnet_new(const MNetConfig *cfg)
{
	MNet *n = g_new0(MNet, 1);
	WorldConfig wc = { cfg->seed, cfg->late_permille, cfg->verbose };

	n->cfg = *cfg;
	n->w = world_new(&wc);
	n->owner = -1;
	for (guint i = 0; i < cfg->nodes; i++) {
		n->nodes[i] = (MNode){ .net = n, .i = i, .disk = memdisk_new(), .calls = g_ptr_array_new() };
		n->in_sync[i] = TRUE;
	}
	return n;
}

void mnet_free(MNet *n)
{
	n->trouble = FALSE;
	for (guint i = 0; i < n->cfg.nodes; i++) {
		MNode *node = &n->nodes[i];
		if (!node->store)
			continue;
		owner_free(node->owner);
		replica_free(node->replica);
		node->owner = NULL;
		node->replica = NULL;
		memstore_close(node->store);
		node->store = NULL;
		node->life++;
	}
	world_free(n->w);
	for (guint i = 0; i < n->cfg.nodes; i++) {
		g_ptr_array_unref(n->nodes[i].calls);
		memdisk_free(n->nodes[i].disk);
	}
	g_free(n);
}

gboolean mnet_by_hand(int argc, char **argv, gboolean *verbose, void (*run)(guint32 seed))
{
	unsigned a = 0, b = 0;
	gboolean by_hand = FALSE;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			by_hand = sscanf(argv[++i], "%u..%u", &a, &b) == 2;
		else if (strcmp(argv[i], "--verbose") == 0)
			*verbose = TRUE;
	}
	for (guint32 s = a; by_hand && s <= b; s++) {
		fprintf(stderr, "\rseed %u ", s);
		run(s);
	}
	if (by_hand)
		fprintf(stderr, "\n");
	return by_hand;
}
