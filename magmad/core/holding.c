#include "magmad/core/holding.h"
#include "magmad/core/consensus.h"

/* The epoch of a log: that of the ownership and, below it, the start of this volcano: what a life before sent to the copies and had not yet written itself must not get other contents under the same
 * number (magmad/mirror/mirror.h). */
#define STARTS_BITS 24
#define LOG_EPOCH(epoch, starts) ((guint64)(epoch) << STARTS_BITS | (guint64)(starts))
#define STUCK_AGAIN (SECOND / 2)

struct Holding {
	Volcano *v;
	guint16 id;
	Store *store;
	Owner *owner;                 /* and sl */
	Slice *sl;
	Replica *replica;
	guint64 epoch;                /* of the ownership that owner or replica was made for */
	gboolean fresh;               /* nothing was ever committed to it */
	gboolean part;                /* owned as a part that is on its way here, which nobody else knows as a slice yet */
	gboolean yielding;            /* the leader has been asked to give it to somebody with a longer log */
	GHashTable *counted;          /* volcano -> Counted *: copies that the leader says count, until a map is here that should say so too */
	GHashTable *silent;           /* volcano -> Report *: the leader is being told that this copy does not answer */
	guint64 applied;              /* epoch of the map that owner knows its copies by */
	char *said;                   /* last */
	MagmaTime said_at;
};

typedef struct {
	Volcano *v;
	CallDone done;
	void *user;
} Asking;

/* --- what the mirror sees of the world --- */

static Volcano *volcano_of(void *user) { return ((Holding *)user)->v; }
static MagmaTime io_now(void *user) { return core_now(volcano_of(user)); }
static void io_random(void *user, void *buf, gsize n) { volcano_of(user)->io->random(volcano_of(user)->iou, buf, n); }

static gpointer io_call(void *user, guint16 volcano, MagmaOp op, const void *req, GBytes *body, MagmaTime limit,
	void (*done)(void *done_user, int error, const MagmaAny *rep, GBytes *msg), void *done_user)
{
	return call_volcano(volcano_of(user), NULL, volcano, op, req, body, limit, done, done_user);
}

static void io_cancel(void *user, gpointer call) { call_cancel(call); }

static guint io_timer(void *user, MagmaTime delay, void (*fn)(void *arg), void *arg) { return volcano_of(user)->io->timer(volcano_of(user)->iou, delay, fn, arg); }
static void io_timer_cancel(void *user, guint handle) { volcano_of(user)->io->timer_cancel(volcano_of(user)->iou, handle); }
/* What does not change is said again after a minute. */
static void io_say(void *user, const char *line)
{
	Holding *h = user;
	MagmaTime now = core_now(h->v);

	if (h->said && strcmp(h->said, line) == 0 && now - h->said_at < 60 * SECOND)
		return;
	g_free(h->said);
	h->said = g_strdup(line);
	h->said_at = now;
	core_say(h->v, "%s", line);
}

static const MirrorIo IO = {
	.now = io_now, .random = io_random, .call = io_call, .cancel = io_cancel, .timer = io_timer, .timer_cancel = io_timer_cancel, .say = io_say,
};

/* --- the owner's news for the leader --- */

typedef struct {
	Volcano *v;
	guint16 slice, volcano;
	guint64 epoch;
	Call *call;
} Report;

typedef struct {
	guint16 volcano;
	guint64 epoch;                /* of the leader's map when it said so */
} Counted;

static void counted_remember(Holding *h, guint16 volcano, GBytes *msg)
{
	MagmaHdr hdr;
	gsize n, at;
	const guint8 *p = g_bytes_get_data(msg, &n);

	if (magma_msg_peek(p, n, &hdr, &at) != 0)
		return;
	Counted *c = g_new(Counted, 1);
	*c = (Counted){ volcano, hdr.epoch };
	g_hash_table_replace(h->counted, GUINT_TO_POINTER(volcano), c);
}

/* It may have been taken out again before the map that counted it came here: then the owner has to ask once more. */
static void counted_look(Holding *h)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, h->counted);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Counted c = *(Counted *)value;
		if (h->applied < c.epoch)
			continue;
		g_hash_table_iter_remove(&it);
		if (h->owner)
			owner_not_in_sync(h->owner, c.volcano);      /* nothing where the map counts it */
	}
}

static void reported(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Report *r = user;
	Holding *h = g_hash_table_lookup(r->v->holdings, GUINT_TO_POINTER(r->slice));

	gboolean ours = h && h->owner && h->epoch == r->epoch;

	if (ours && error) {
		owner_not_in_sync(h->owner, r->volcano);
	} else if (ours) {
		counted_remember(h, r->volcano, msg);
		counted_look(h);
	}
	core_ctx_free(r->v, r);
}

static Report *report_new(Holding *h, guint16 volcano)
{
	Report *r = CORE_CTX(h->v, Report, NULL);

	*r = (Report){ h->v, h->id, volcano, h->epoch, NULL };
	return r;
}

static void on_caught_up(void *user, guint16 volcano)
{
	Holding *h = user;
	struct magma_req_copy_state q = { .slice = h->id, .epoch = h->epoch, .volcano = volcano, .in_sync = STATE_COUNTS, .life = consensus_life(h->v, h->v->id) };

	core_enter(h->v);
	/* Without an end: while nobody has said no for certain, the map may count the copy already, and the owner waits for it. */
	call_leader(h->v, NULL, MAGMA_OP_copy_state, &q, 0, reported, report_new(h, volcano));
	core_leave(h->v);
}

static void silence_reported(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Report *r = user;
	Holding *h = g_hash_table_lookup(r->v->holdings, GUINT_TO_POINTER(r->slice));

	if (h)
		g_hash_table_remove(h->silent, GUINT_TO_POINTER(r->volcano));
	core_ctx_free(r->v, r);
}

static void silence_drop(Report *r)
{
	call_cancel(r->call);
	core_ctx_free(r->v, r);
}

static void silence_report(Holding *h, guint16 volcano)
{
	struct magma_req_copy_state q = { .slice = h->id, .epoch = h->epoch, .volcano = volcano, .in_sync = STATE_OUT, .life = consensus_life(h->v, h->v->id) };

	Report *r = g_hash_table_lookup(h->silent, GUINT_TO_POINTER(volcano));

	if (r)
		silence_drop(r);      /* said anew, to whoever leads by now */
	core_enter(h->v);
	r = report_new(h, volcano);
	g_hash_table_insert(h->silent, GUINT_TO_POINTER(volcano), r);
	r->call = call_leader(h->v, NULL, MAGMA_OP_copy_state, &q, 10 * SECOND, silence_reported, r);
	core_leave(h->v);
}

/* What was put off would be said again by the newer map, of which it is not true any more where the copy has answered since. */
static void silence_over(Holding *h, gboolean all)
{
	GHashTableIter it;
	gpointer r;

	g_hash_table_iter_init(&it, h->silent);
	while (g_hash_table_iter_next(&it, NULL, &r)) {
		if (!all && owner_waits_for(h->owner, ((Report *)r)->volcano))
			continue;
		silence_drop(r);
		g_hash_table_iter_remove(&it);
	}
}

static void yielded(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Report *r = user;
	Holding *h = g_hash_table_lookup(r->v->holdings, GUINT_TO_POINTER(r->slice));

	if (h)
		h->yielding = FALSE;
	core_ctx_free(r->v, r);
}

/* A power cut took the end of the log here, and not there: that one shall own the slice, and this one be its copy. */
static void on_behind(void *user, guint16 volcano)
{
	Holding *h = user;
	struct magma_req_copy_state q = { .slice = h->id, .epoch = h->epoch, .volcano = volcano, .in_sync = STATE_HAS_MORE, .life = consensus_life(h->v, h->v->id) };

	if (h->yielding)
		return;
	Report *r = CORE_CTX(h->v, Report, NULL);
	*r = (Report){ h->v, h->id, volcano, h->epoch, NULL };
	h->yielding = TRUE;
	core_say(h->v, "slice %u: the copy at volcano %u has a longer log: it shall own it", h->id, volcano);
	core_enter(h->v);
	call_leader(h->v, NULL, MAGMA_OP_copy_state, &q, 2 * SECOND, yielded, r);
	core_leave(h->v);
}

static void on_stuck(void *user, guint16 volcano, const char *why)
{
	Holding *h = user;

	MAGMA_TRACE(h->v->trace, 'm', "slice %u: its copy on volcano %u does not go on: %s", h->id, volcano, why);
	silence_report(h, volcano);
}

/* Somebody has the slice under a newer epoch: the map will say so. Until then nothing is acknowledged any more: owner does that by itself. */
static void on_deposed(void *user, guint64 epoch)
{
	Holding *h = user;

	core_say(h->v, "slice %u has a newer owner", h->id);
	members_fetch_map(h->v);
}

/* --- roles --- */

static guint copies_of(const MagmaMap *map, const MagmaSlice *s, CopySpec *out)
{
	for (guint i = 0; i < s->ncopies; i++) {
		const MagmaVolcano *o = magma_map_by_id(map, s->copies[i].volcano);
		out[i] = (CopySpec){ s->copies[i].volcano, s->copies[i].in_sync, o && o->flags & MAGMA_VOLCANO_DOWN };
	}
	return s->ncopies;
}

static void set_copies(Holding *h, const MagmaSlice *s)
{
	CopySpec copies[MAGMA_COPIES_MAX];
	guint n = copies_of(h->v->map, s, copies);

	silence_over(h, FALSE);
	owner_set_copies(h->owner, copies, n);
	h->applied = h->v->map->epoch;
}

static void stop_owning(Holding *h)
{
	g_hash_table_remove_all(h->counted);
	silence_over(h, TRUE);
	if (h->sl)
		slice_dismiss(h->sl);
	h->sl = NULL;
	g_clear_pointer(&h->owner, owner_free);
}

static void copy_failed(void *user, const char *text) { core_fail(((Holding *)user)->v, text); }

static void stop_copying(Holding *h)
{
	if (h->replica)
		h->store->on_failed = NULL;
	g_clear_pointer(&h->replica, replica_free);
}

static MirrorPace *pace_of(Volcano *v)
{
	if (!v->pace)
		v->pace = g_new0(MirrorPace, 1);
	return v->pace;
}

static void serve(Holding *h)
{
	h->sl = slice_new(h->v, h->id, owner_store(h->owner));
	core_say(h->v, "owns slice %u, epoch %" G_GUINT64_FORMAT, h->id, h->epoch);
	slice_begin(h->sl, h->fresh);
}

static void on_compared(void *user)
{
	Holding *h = user;
	Volcano *v = h->v;

	core_enter(v);
	serve(h);
	core_leave(v);
}

/* compare: this process has not followed that log, the copies may have more of it. */
static void own(Holding *h, const MagmaSlice *s, gboolean compare)
{
	OwnerConfig cfg = { .slice = h->id, .io = &IO, .user = h, .keep_bytes = h->v->cfg.journal_keep, .shared = pace_of(h->v), .on_caught_up = on_caught_up, .on_stuck = on_stuck,
		.on_deposed = on_deposed, .compare = compare, .on_compared = on_compared, .on_behind = on_behind };

	stop_copying(h);
	h->epoch = s->epoch;
	if (!h->store->log) {         /* it cannot be one of several copies */
		h->sl = slice_new(h->v, h->id, h->store);
		slice_begin(h->sl, h->fresh);
		return;
	}
	h->owner = owner_new(h->store, LOG_EPOCH(s->epoch, h->v->starts), &cfg);
	owner_store(h->owner)->on_failed = copy_failed;       /* until it serves */
	owner_store(h->owner)->user = h;
	owner_set_part(h->owner, h->part);
	set_copies(h, s);
	if (!compare)
		serve(h);
}

static void copy(Holding *h, const MagmaSlice *s)
{
	ReplicaConfig cfg = { .slice = h->id, .io = &IO, .user = h };

	stop_owning(h);
	h->epoch = s->epoch;
	h->store->on_failed = copy_failed;
	h->store->user = h;
	h->replica = replica_new(h->store, LOG_EPOCH(s->epoch, 0), &cfg);
}

static Holding *holding_new(Volcano *v, guint16 id, Store *store)
{
	Holding *h = g_new0(Holding, 1);

	h->v = v;
	h->id = id;
	h->store = store;
	h->silent = g_hash_table_new(NULL, NULL);
	h->counted = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_hash_table_insert(v->holdings, GUINT_TO_POINTER(id), h);
	return h;
}

static void holding_free(Holding *h, gboolean remove)
{
	stop_owning(h);
	stop_copying(h);
	if (h->store != h->v->store)
		h->v->io->store_close(h->v->iou, h->id, h->store, remove);
	g_hash_table_unref(h->counted);
	g_hash_table_unref(h->silent);
	g_free(h->said);
	g_free(h);
}

static gboolean has_copy(const MagmaSlice *s, guint16 volcano)
{
	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].volcano == volcano)
			return TRUE;
	return FALSE;
}

/* Nothing was ever committed to it. */
static gboolean is_empty(Store *s)
{
	StoreUsage u;

	if (s->log)
		return s->log->position(s).index == 0;
	s->vt->usage(s, &u);
	return u.journal_index == 0;
}

/* Maps come one by one to who was cut off: in this one the slice is ours, and the owner of a later one has spoken to this copy already. */
static gboolean was_overtaken(const Holding *h, const MagmaSlice *s)
{
	guint64 known = h->replica ? replica_epoch(h->replica) : h->store->log ? h->store->log->position(h->store).epoch : 0;

	return known >> STARTS_BITS > s->epoch;
}

/* --- stores that cannot be opened --- */

#define OPEN_AGAIN SECOND
#define OPEN_AGAIN_MAX (60 * SECOND)
enum { OPEN_TRIES = 3 };              /* of a slice that another volcano could answer for */

typedef struct {
	guint tries;
	MagmaTime again;
	gboolean given;               /* the leader was asked to give it to a copy, and may do so at any moment */
} Unopened;

static void open_again(void *arg)
{
	Volcano *v = arg;

	core_enter(v);
	v->open_timer = 0;
	v->apply_map = TRUE;          /* core_leave does it */
	core_leave(v);
}

/* One timer for all of them: for whichever is due first. */
static void open_again_at(Volcano *v, MagmaTime at)
{
	if (v->open_timer && v->open_at <= at)
		return;
	if (v->open_timer)
		v->io->timer_cancel(v->iou, v->open_timer);
	v->open_at = at;
	v->open_timer = v->io->timer(v->iou, at - core_now(v), open_again, v);
}

/* The first of the others that has all of it; 0: nobody. */
static guint16 other_that_has(const MagmaMap *map, const MagmaSlice *s)
{
	for (guint i = 0; i < s->ncopies; i++) {
		const MagmaVolcano *o = magma_map_by_id(map, s->copies[i].volcano);
		if (s->copies[i].in_sync && o && !(o->flags & MAGMA_VOLCANO_DOWN))
			return o->id;
	}
	return 0;
}

static gboolean is_to_be_given(const Volcano *v, const MagmaSlice *s, const Unopened *u) { return u->tries >= OPEN_TRIES && s->owner == v->id && other_that_has(v->map, s); }

static void unopened_later(Volcano *v, Unopened *u, MagmaTime delay)
{
	u->again = core_now(v) + delay;
	open_again_at(v, u->again);
}

/* From now on it is not opened while a copy may become owner by this: nobody would wait for the lease of this one. An end of the process instead would leave it to whoever starts it again, too soon to be missed, for ever. */
static void give_to_copy(Volcano *v, const MagmaSlice *s, Unopened *u)
{
	struct magma_req_copy_state q = { .slice = s->id, .epoch = s->epoch, .volcano = other_that_has(v->map, s), .in_sync = STATE_HAS_MORE, .life = consensus_life(v, v->id) };

	if (!u->given)
		core_say(v, "slice %u: its store cannot be opened: volcano %u, which has all of it, shall own it", s->id, q.volcano);
	u->given = TRUE;
	unopened_later(v, u, OPEN_AGAIN);
	call_leader(v, NULL, MAGMA_OP_copy_state, &q, OPEN_AGAIN, NULL, NULL);
}

/* Too many open files may pass, and so may a disk that was not there yet: it is tried again, ever more rarely. Where clients wait for it, and a copy that counts could answer them, that one becomes its owner. A slice
 * of which this volcano keeps a copy only is degraded meanwhile, which everybody says. */
static void not_opened(Volcano *v, const MagmaSlice *s, Unopened *u)
{
	if (!u)
		g_hash_table_insert(v->unopened, GUINT_TO_POINTER(s->id), u = g_new0(Unopened, 1));
	if (++u->tries == OPEN_TRIES && s->owner == v->id && !other_that_has(v->map, s))
		core_say(v, "slice %u: its store cannot be opened, and no other volcano has all of it: it is tried again", s->id);
	if (is_to_be_given(v, s, u))
		give_to_copy(v, s, u);
	else
		unopened_later(v, u, MIN(OPEN_AGAIN_MAX, OPEN_AGAIN << MIN(u->tries - 1, 6)));
}

/* NULL: not now. */
static Store *open_store(Volcano *v, const MagmaSlice *s)
{
	Unopened *u = g_hash_table_lookup(v->unopened, GUINT_TO_POINTER(s->id));

	if (s->id == v->id)
		return v->store;
	if (u && is_to_be_given(v, s, u) && (!u->given || core_now(v) >= u->again)) {
		give_to_copy(v, s, u);
		return NULL;
	}
	if (u && core_now(v) < u->again) {
		open_again_at(v, u->again);
		return NULL;
	}
	Store *store = v->io->store_open(v->iou, s->id);
	if (store)
		g_hash_table_remove(v->unopened, GUINT_TO_POINTER(s->id));
	else
		not_opened(v, s, u);
	return store;
}

static void apply_slice(Volcano *v, const MagmaSlice *s)
{
	Holding *h = g_hash_table_lookup(v->holdings, GUINT_TO_POINTER(s->id));
	gboolean mine = s->owner == v->id, copied = has_copy(s, v->id);

	if (!mine && !copied)
		return;
	if (!h) {
		Store *store = open_store(v, s);
		if (!store)
			return;
		h = holding_new(v, s->id, store);
	}
	gboolean part = s == &v->map->move.part;
	if (mine && (h->sl || h->owner) && h->epoch == s->epoch) {
		if (h->part && !part && h->sl) {
			h->sl->since = v->map->epoch;      /* up to this map others answered for it */
			content_promised_all(h->sl);
		}
		h->part &= part;
		if (h->owner)
			owner_set_part(h->owner, h->part);
		if (h->owner) {
			set_copies(h, s);
			counted_look(h);
		}
	} else if (mine) {
		if (was_overtaken(h, s)) {
			members_fetch_map(v);
			return;
		}
		if (h->replica && !replica_whole(h->replica)) {
			g_autofree char *line = g_strdup_printf("slice %u is not whole here and cannot be served", s->id);
			if (replica_known(h->replica))
				io_say(h, line);
			v->apply_later = TRUE;
			core_tick_soon(v);
			return;
		}
		if (h->replica && replica_changing(h->replica)) {      /* what is cut off now would be read first, and be there in memory only */
			v->apply_later = TRUE;
			core_tick_soon(v);
			return;
		}
		gboolean followed = h->sl || (h->replica && replica_followed(h->replica));
		stop_owning(h);
		h->fresh = is_empty(h->store);
		h->part = part;
		own(h, s, !followed && !part);        /* a move that was broken off begins again from nothing */
	} else if (!h->replica) {
		copy(h, s);
	} else if (h->epoch != s->epoch) {
		h->epoch = s->epoch;
		replica_set_epoch(h->replica, LOG_EPOCH(s->epoch, 0));
	}
}

/* What the map no longer gives to this volcano in any role. The home store is never removed: it may be the only one left of a slice that nobody else could take. */
static void drop_others(Volcano *v)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->holdings);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Holding *h = value;
		const MagmaSlice *s = magma_map_part(v->map, h->id);
		if (s ? s->owner == v->id || has_copy(s, v->id) : h->id == v->id) {
			if (!s)               /* it is to have another part of the keys, after others that came in the meantime */
				stop_owning(h);
			continue;
		}
		core_say(v, "slice %u is no longer held here", h->id);
		g_hash_table_iter_remove(&it);
		holding_free(h, TRUE);
	}
}

void holdings_apply(Volcano *v)
{
	v->apply_later = FALSE;
	for (guint i = 0; i < v->map->slices->len; i++)
		apply_slice(v, &g_array_index(v->map->slices, MagmaSlice, i));
	if (v->map->move.id)
		apply_slice(v, &v->map->move.part);
	drop_others(v);
}

gboolean holdings_whole(Volcano *v, guint16 slice)
{
	Holding *h = g_hash_table_lookup(v->holdings, GUINT_TO_POINTER(slice));

	return h && (h->sl || h->owner || (h->replica && replica_whole(h->replica)));
}

/* A store that looks at its disk gives what it keeps for others where room is short. An owner's is looked at by operations; nobody else does it for a copy's. */
void holdings_tick(Volcano *v)
{
	GHashTableIter it;
	gpointer value;
	StoreUsage u;

	g_hash_table_iter_init(&it, v->holdings);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (((Holding *)value)->replica)
			((Holding *)value)->store->vt->usage(((Holding *)value)->store, &u);
}

void holdings_flush(Volcano *v)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->holdings);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (((Holding *)value)->owner)
			owner_flush(((Holding *)value)->owner);
}

void holdings_clear(Volcano *v)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->holdings);
	while (g_hash_table_iter_next(&it, NULL, &value))
		holding_free(value, FALSE);
	if (v->open_timer)
		v->io->timer_cancel(v->iou, v->open_timer);
	g_hash_table_unref(v->unopened);
	g_hash_table_unref(v->holdings);
	g_free(v->pace);
}

G_STATIC_ASSERT((int)COPY_AWAY == (int)MAGMA_COPY_AWAY && (int)COPY_LOG == (int)MAGMA_COPY_LOG && (int)COPY_DIGESTS == (int)MAGMA_COPY_DIGESTS);

static void holding_copies(const Holding *h, GArray *out)
{
	CopyStatus st[MAGMA_COPIES_MAX];
	guint n = h->owner ? owner_status(h->owner, st, MAGMA_COPIES_MAX) : 0;

	for (guint i = 0; i < n; i++) {
		MagmaCopyState c = { .slice = h->id, .volcano = st[i].volcano, .phase = (MagmaCopyPhase)st[i].state, .lag = st[i].lag, .done = st[i].done, .total = st[i].total,
			.rate = st[i].rate, .slow = st[i].slow };
		g_array_append_val(out, c);
	}
}

GArray *holdings_copies(Volcano *v)
{
	GArray *out = g_array_new(FALSE, FALSE, sizeof(MagmaCopyState));
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, v->holdings);
	while (g_hash_table_iter_next(&it, NULL, &value))
		holding_copies(value, out);
	return out;
}

GArray *holdings_damage(Volcano *v, guint64 *rewritten)
{
	GArray *out = g_array_new(FALSE, FALSE, sizeof(guint16));
	GHashTableIter it;
	gpointer value;
	guint64 sum = 0;

	g_hash_table_iter_init(&it, v->holdings);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		const Holding *h = value;
		guint unread = 0;
		guint64 n = 0;
		if (h->owner)
			owner_damage(h->owner, &unread, &n);
		if (unread)
			g_array_append_val(out, h->id);
		sum += n;
	}
	if (rewritten)
		*rewritten = sum;
	return out;
}

GArray *holdings_unopened(Volcano *v)
{
	GArray *out = g_array_new(FALSE, FALSE, sizeof(guint16));
	GHashTableIter it;
	gpointer id, u;

	g_hash_table_iter_init(&it, v->unopened);
	while (g_hash_table_iter_next(&it, &id, &u)) {
		const MagmaSlice *s = magma_map_slice_by_id(v->map, (guint16)GPOINTER_TO_UINT(id));
		if (s && s->owner == v->id && ((Unopened *)u)->tries >= OPEN_TRIES)
			g_array_append_val(out, s->id);
	}
	return out;
}

/* --- requests for copies --- */

static void copy_answered(void *user, int error, const void *rep, GBytes *body) { op_answer(user, error, rep, body); }

static void copy_request(Op *op, guint32 slice)
{
	Holding *h = g_hash_table_lookup(op->v->holdings, GUINT_TO_POINTER(slice));

	if (!h || !h->replica || op->v->aside)
		op_error(op, MAGMA_ETRYAGAIN);        /* the map that says so is still on its way */
	else
		replica_request(h->replica, op->hdr.op, &op->req, op->msg, copy_answered, op);
}

#define COPY_HANDLER(name) void handle_##name(Op *op) { copy_request(op, op->req.req_##name.slice); }
COPY_HANDLER(mirror_attach)
COPY_HANDLER(mirror_start)
COPY_HANDLER(mirror_append)
COPY_HANDLER(mirror_sync)
COPY_HANDLER(mirror_rows)
COPY_HANDLER(mirror_contents)
COPY_HANDLER(mirror_read)
