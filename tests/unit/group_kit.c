#include "tests/unit/group_kit.h"
#include "magmad/core/dht.h"

typedef struct {
	guint handle;                 /* 0: of a store, never cancelled */
	MagmaTime at;
	void (*fn)(void *arg);
	void *arg;
} Event;

static GroupKit *kit;                 /* one at a time: consensus.h's functions know their volcano only */

/* --- the world --- */

static guint later(GroupKit *k, MagmaTime delay, guint handle, void (*fn)(void *arg), void *arg)
{
	Event e = { handle, k->now + MAX(delay, 0), fn, arg };

	g_array_append_val(k->events, e);
	return handle;
}

static gboolean next_event(GroupKit *k, MagmaTime limit, Event *out)
{
	guint best = G_MAXUINT;

	for (guint i = 0; i < k->events->len; i++)
		if (best == G_MAXUINT || g_array_index(k->events, Event, i).at < g_array_index(k->events, Event, best).at)
			best = i;
	if (best == G_MAXUINT || g_array_index(k->events, Event, best).at > limit)
		return FALSE;
	*out = g_array_index(k->events, Event, best);
	g_array_remove_index(k->events, best);
	return TRUE;
}

void kit_run(GroupKit *k, MagmaTime time)
{
	MagmaTime end = k->now + time;
	Event e;

	while (next_event(k, end, &e)) {
		k->now = MAX(k->now, e.at);
		e.fn(e.arg);
		volcano_flush(k->v);
	}
	k->now = end;
}

void kit_stand_still(GroupKit *k, MagmaTime time)
{
	k->now += time;
	takeover_clock(consensus_takeover(k->v));
}

static MagmaTime io_now(void *user) { return ((GroupKit *)user)->now; }
static MagmaTs io_real(void *user) { return (MagmaTs){ .sec = 1700000000 + io_now(user) / SECOND }; }

static void io_random(void *user, void *buf, gsize n)
{
	for (gsize i = 0; i < n; i++)
		((guint8 *)buf)[i] = (guint8)(i * 37 + 11);
}

static guint io_timer(void *user, MagmaTime delay, void (*fn)(void *arg), void *arg)
{
	GroupKit *k = user;

	return later(k, delay, ++k->handles, fn, arg);
}

static void io_timer_cancel(void *user, guint handle)
{
	GroupKit *k = user;

	for (guint i = 0; i < k->events->len; i++)
		if (g_array_index(k->events, Event, i).handle == handle) {
			g_array_remove_index(k->events, i);
			return;
		}
}

static void store_later(void *user, gint64 delay, void (*fn)(void *arg), void *arg) { later(user, delay, 0, fn, arg); }

static void io_say(void *user, const char *line) { g_string_append_printf(((GroupKit *)user)->said, "%s\n", line); }
static void io_stop(void *user, const char *text) { io_say(user, text ? text : "told to halt"); }
static void io_set_aside(void *user) { io_say(user, "sets its stores aside"); }

gboolean kit_said(GroupKit *k, const char *part) { return strstr(k->said->str, part) != NULL; }

/* --- sessions --- */

void session_set_volcano_data(Session *s, void *data) { s->data = data; }
void *session_volcano_data(Session *s) { return s->data; }

static Session *session_new(GroupKit *k, gboolean node)
{
	Session *s = g_new0(Session, 1);

	s->k = k;
	s->node = node;
	s->sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	g_ptr_array_add(k->sessions, s);
	return s;
}

static void session_free(gpointer p)
{
	g_ptr_array_unref(((Session *)p)->sent);
	g_free(p);
}

static void opened(void *arg)
{
	Session *s = arg;

	volcano_session_opened(s->k->v, s, TRUE);
}

static Session *io_connect(void *user, const MagmaAddr *to)
{
	Session *s = session_new(user, TRUE);

	s->to = *to;
	later(user, 1, 0, opened, s);
	return s;
}

static gboolean io_send(void *user, Session *s, GBytes *head, GBytes *body)
{
	GByteArray *whole = g_byte_array_new();
	gsize n;
	const guint8 *p = g_bytes_get_data(head, &n);

	g_byte_array_append(whole, p, n);
	if (body && (p = g_bytes_get_data(body, &n)))
		g_byte_array_append(whole, p, n);
	g_ptr_array_add(s->sent, g_byte_array_free_to_bytes(whole));
	return TRUE;
}

static void io_probe(void *user, Session *s) { s->probes++; }

Session *kit_session(GroupKit *k, gboolean node)
{
	Session *s = session_new(k, node);

	volcano_session_opened(k->v, s, node);
	return s;
}

static gboolean decode(GBytes *msg, MagmaHdr *h, MagmaAny *any)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(msg, &n);

	return magma_msg_decode(p, n, h, any) == 0;
}

gboolean kit_answer(GroupKit *k, Session *s, int *error, MagmaAny *rep)
{
	MagmaHdr h;

	for (guint i = s->sent->len; i-- > 0;)
		if (decode(s->sent->pdata[i], &h, rep) && h.kind == MAGMA_REPLY) {
			*error = (int)h.error;
			return TRUE;
		}
	return FALSE;
}

gboolean kit_ask_at(GroupKit *k, Session *s, guint64 epoch, MagmaOp op, const void *req, int *error, MagmaAny *rep)
{
	static guint64 xid;
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = op, .hops = MAGMA_HOPS, .xid = ++xid, .epoch = epoch };
	GByteArray *out = g_byte_array_new();

	magma_msg_encode(&h, req, FALSE, out);
	g_autoptr(GBytes) msg = g_byte_array_free_to_bytes(out);
	g_ptr_array_set_size(s->sent, 0);
	volcano_message(k->v, s, s->node, msg);
	return kit_answer(k, s, error, rep);
}

gboolean kit_ask(GroupKit *k, Session *s, MagmaOp op, const void *req, int *error, MagmaAny *rep)
{
	return kit_ask_at(k, s, k->v->map->epoch, op, req, error, rep);
}

gboolean kit_asked(GroupKit *k, MagmaOp op, MagmaHdr *h, MagmaAny *req, Session **on)
{
	for (guint i = k->sessions->len; i-- > 0;) {
		Session *s = k->sessions->pdata[i];
		for (guint m = s->sent->len; m-- > 0;)
			if (decode(s->sent->pdata[m], h, req) && h->kind == MAGMA_REQUEST && h->op == op) {
				*on = s;
				return TRUE;
			}
	}
	return FALSE;
}

void kit_reply(GroupKit *k, Session *s, const MagmaHdr *h, int error, const void *rep)
{
	MagmaHdr answer = { .kind = MAGMA_REPLY, .op = h->op, .xid = h->xid, .epoch = k->v->map->epoch, .error = (guint32)error };
	GByteArray *out = g_byte_array_new();

	magma_msg_encode(&answer, error ? NULL : rep, FALSE, out);
	g_autoptr(GBytes) msg = g_byte_array_free_to_bytes(out);
	volcano_message(k->v, s, TRUE, msg);
}

/* --- disks --- */

static Store *open_store(GroupKit *k, MemDisk *disk, guint32 seed)
{
	return memstore_open(disk, &(MemStoreConfig){ .seed = seed, .delay_max = 1000, .one_of_several = TRUE, .later = store_later, .user = k });
}

static Store *io_store_open(void *user, guint16 slice)
{
	GroupKit *k = user;
	MemDisk *disk = g_hash_table_lookup(k->disks, GUINT_TO_POINTER(slice));

	if (!disk)
		g_hash_table_insert(k->disks, GUINT_TO_POINTER(slice), disk = memdisk_new());
	Store *s = open_store(k, disk, slice);
	g_hash_table_insert(k->stores, GUINT_TO_POINTER(slice), s);
	return s;
}

static void io_store_close(void *user, guint16 slice, Store *store, gboolean remove)
{
	GroupKit *k = user;

	g_hash_table_remove(k->stores, GUINT_TO_POINTER(slice));
	memstore_close(store);
	if (remove)
		g_hash_table_remove(k->disks, GUINT_TO_POINTER(slice));
}

static void io_keep(void *user, GBytes *bytes, void (*done)(void *done_user, int error), void *done_user) { g_assert_not_reached(); }

static const VolcanoIo IO = {
	.now = io_now, .real = io_real, .random = io_random, .send = io_send, .probe = io_probe, .connect = io_connect, .timer = io_timer, .timer_cancel = io_timer_cancel, .say = io_say,
	.store_open = io_store_open, .store_close = io_store_close, .keep = io_keep, .set_aside = io_set_aside, .stop = io_stop,
};

/* --- the group, in place of consensus.c --- */

typedef struct Consensus { Takeover *takeover; } Consensus;
static GroupKit *of(const Volcano *v) { return v->iou; }

gboolean consensus_load(Volcano *v, GBytes *kept)
{
	v->id = 1;
	v->starts = kit->begun;
	v->map = magma_map_ref(kit->proposed);
	v->consensus = g_new0(Consensus, 1);
	return TRUE;
}

void consensus_begin_life(Volcano *v, void (*done)(Volcano *v, int error)) { done(v, 0); }
void consensus_start(Volcano *v) { v->consensus->takeover = takeover_new(v, v->starts > 0, FALSE); }      /* what was kept is the newest map */
void consensus_bootstrap(Volcano *v, void (*done)(Volcano *v, int error)) { g_assert_not_reached(); }
void consensus_join(Volcano *v, void (*done)(Volcano *v, int error)) { g_assert_not_reached(); }
gboolean volcano_kept_aside(GBytes *kept) { return FALSE; }
gboolean volcano_kept_valid(GBytes *kept) { return TRUE; }
const Raft *consensus_raft(const Volcano *v) { return NULL; }
ConsensusChanges consensus_changes(const Volcano *v) { return (ConsensusChanges){ 0 }; }
guint consensus_serves(Volcano *v, MagmaRange *out, guint max) { return 0; }

void consensus_message(Volcano *v, Peer *from, const struct magma_req_raft *q) { takeover_heard(v->consensus->takeover, q->from); }
void consensus_hint(Volcano *v, guint16 id) { of(v)->hinted = id; }

void consensus_clear(Volcano *v)
{
	if (v->consensus)
		takeover_free(v->consensus->takeover);
	g_clear_pointer(&v->consensus, g_free);
}

gboolean consensus_leads(const Volcano *v) { return of(v)->leads; }
guint16 consensus_leader(const Volcano *v) { return of(v)->leads ? v->id : of(v)->leader; }
gboolean consensus_may_serve(Volcano *v) { return core_now(v) < v->lease_until; }
MagmaTime consensus_down_at(const Volcano *v, guint16 id) { return of(v)->leads ? of(v)->down_at[id] : 0; }

gboolean consensus_heard_within(const Volcano *v, guint16 id, MagmaTime time)
{
	MagmaTime since = of(v)->leads ? of(v)->granted[id] : 0;

	return since && of(v)->now - since < time;
}

gboolean consensus_may_change(Volcano *v) { return takeover_may_change(v->consensus->takeover); }
MagmaTime consensus_answered(const Volcano *v, guint16 id) { return of(v)->answered[id]; }
guint32 consensus_life(const Volcano *v, guint16 id) { return of(v)->life[id]; }
MagmaTime consensus_led_since(const Volcano *v) { return of(v)->leads ? of(v)->led_since : 0; }
guint32 consensus_incarnation(const Volcano *v) { return of(v)->incarnation; }
guint32 consensus_next_incarnation(const Volcano *v) { return ((of(v)->incarnation >> 16) + 1) << 16 | v->id; }
const RaftEntry *consensus_committed(const Volcano *v) { return of(v)->committed; }
Takeover *consensus_takeover(const Volcano *v) { return v->consensus ? v->consensus->takeover : NULL; }
void consensus_yield(Volcano *v) { of(v)->yields++; }
void consensus_transfer(Volcano *v, guint16 to) { of(v)->transferred = to; }

static void take(GroupKit *k, MagmaMap **where, MagmaMap *map)
{
	map->coordinator = k->v->id;
	g_assert_cmpstr(magma_map_seal(map), ==, NULL);
	if (*where)
		magma_map_unref(*where);
	*where = map;
}

void consensus_propose(Volcano *v, MagmaMap *map, const guint16 *down, guint ndown, gboolean gone, void (*done)(Volcano *v, void *user, int error), void *user)
{
	GroupKit *k = of(v);

	g_assert_null(k->done);
	map->epoch++;
	if (!takeover_may_change(v->consensus->takeover) || !(gone || takeover_allows(v->consensus->takeover, map))) {
		magma_map_unref(map);
		done(v, user, EAGAIN);
		return;
	}
	take(k, &k->proposed, map);
	k->proposals++;
	for (guint i = 0; i < ndown; i++)
		k->down[i] = down[i];
	k->ndown = ndown;
	k->gone = gone;
	k->done = done;
	k->user = user;
}

int consensus_force(Volcano *v, MagmaMap *map)
{
	map->incarnation = consensus_next_incarnation(v);
	map->epoch = MAX(map->epoch + 1, (guint64)map->incarnation << 24);
	take(of(v), &of(v)->forced, map);
	return 0;
}

/* --- the test's side of it --- */

void kit_moves_lower_half(MagmaMap *m)
{
	kit_volcano(m, 1)->state = MAGMA_JOINING;
	kit_slice(m, 2)->range.lo = MAGMA_KEY_MIN;
	g_array_remove_index(m->slices, 0);
	m->move = (MagmaMove){ .id = 9, .from = 2, .to = 1, .range = kit_slice(m, 2)->range, .part = { .id = 1, .range = kit_slice(m, 2)->range, .home = 1, .owner = 1, .epoch = 9 } };
	m->move.range.hi.b[0] = m->move.part.range.hi.b[0] = 0x7f;
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
}

void kit_leads(GroupKit *k)
{
	k->leads = TRUE;
	k->led_since = k->now - 10 * SECOND;
	kit_hear(k);
}

void kit_hear_one(GroupKit *k, guint16 id)
{
	k->granted[id] = k->answered[id] = k->now;
	k->down_at[id] = k->now + 14 * SECOND / 10;
}

void kit_hear(GroupKit *k)
{
	for (guint i = 2; i < KIT_VOLCANOS; i++)
		kit_hear_one(k, i);
	if (takeover_other(k->v))
		takeover_heard(consensus_takeover(k->v), takeover_other(k->v)->id);
}

void kit_silent(GroupKit *k, guint16 id, MagmaTime down_at)
{
	k->granted[id] = k->answered[id] = k->now - 10 * SECOND;
	k->down_at[id] = down_at;
}

void kit_lease(GroupKit *k, MagmaTime until)
{
	k->v->lease_until = k->v->resigned ? 0 : takeover_lease(consensus_takeover(k->v), until);
}

const MagmaMap *kit_look(GroupKit *k)
{
	guint before = k->proposals;

	core_enter(k->v);
	planner_tick(k->v);
	core_leave(k->v);
	return k->proposals > before ? k->proposed : NULL;
}

static void finish(GroupKit *k, int error)
{
	void (*done)(Volcano *, void *, int) = k->done;

	g_assert_nonnull(done);
	k->done = NULL;
	done(k->v, k->user, error);
}

const MagmaMap *kit_must_look(GroupKit *k)
{
	const MagmaMap *m = kit_look(k);

	g_assert_nonnull(m);
	return m;
}

gboolean kit_named(const GroupKit *k, guint16 id)
{
	for (guint i = 0; i < k->ndown; i++)
		if (k->down[i] == id)
			return TRUE;
	return FALSE;
}

void kit_commit(GroupKit *k)
{
	core_enter(k->v);
	core_set_map(k->v, magma_map_ref(k->proposed));
	finish(k, 0);
	core_leave(k->v);
}

void kit_refuse(GroupKit *k, int error)
{
	core_enter(k->v);
	finish(k, error);
	core_leave(k->v);
}

guint kit_settle(GroupKit *k)
{
	guint n = 0;

	for (; kit_look(k); n++) {
		g_assert_cmpuint(n, <, 50);
		kit_commit(k);
	}
	return n;
}

void kit_use(GroupKit *k, MagmaMap *map)
{
	g_assert_cmpstr(magma_map_seal(map), ==, NULL);
	core_enter(k->v);
	core_set_map(k->v, map);
	core_leave(k->v);
}

/* --- maps --- */

MagmaMap *kit_ring(guint n, guint copies)
{
	guint8 network[16] = { 7 };
	MagmaMap *m = magma_map_new(network, copies);
	MagmaKey lo = MAGMA_KEY_MIN;

	for (guint16 i = 1; i <= n; i++) {
		g_autofree char *name = g_strdup_printf("v%u", i);
		MagmaVolcano v = { .id = i, .state = MAGMA_ACTIVE, .flags = i == 1 || (i <= 3 && n > 2) ? MAGMA_VOLCANO_VOTER : 0, .name = name, .fqdn = name, .offered = 1,
			.addr = { .family = 4, .ip = { 127, 0, 143, (guint8)i }, .port = 12000 } };
		MagmaSlice s = { .id = i, .range = { lo, MAGMA_KEY_MAX }, .home = i, .owner = i, .epoch = 1 };
		for (guint c = 1; c < copies && c < n; c++)
			s.copies[s.ncopies++] = (MagmaCopy){ (guint16)((i + c - 1) % n + 1), TRUE };
		if (i < n) {
			s.range.hi.b[0] = (guint8)(i - 1);
			s.range.hi.b[1] = 0xff;
			g_assert_true(magma_key_next(&s.range.hi, &lo));
		}
		magma_map_add(m, &v);
		magma_map_add_slice(m, &s);
	}
	m->epoch = 5;
	m->coordinator = 1;
	g_assert_cmpstr(magma_map_seal(m), ==, NULL);
	return m;
}

MagmaSlice *kit_slice(MagmaMap *m, guint16 id) { return magma_map_part(m, id); }
MagmaVolcano *kit_volcano(MagmaMap *m, guint16 id) { return (MagmaVolcano *)magma_map_by_id(m, id); }
gboolean kit_is(const MagmaMap *m, guint16 id, guint8 flag) { return (magma_map_by_id(m, id)->flags & flag) != 0; }

MagmaCopy *kit_copy(MagmaSlice *s, guint16 volcano)
{
	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].volcano == volcano)
			return &s->copies[i];
	return NULL;
}

guint kit_voters(const MagmaMap *m)
{
	guint n = 0;

	for (guint i = 0; i < m->volcanos->len; i++)
		n += (((MagmaVolcano *)m->volcanos->pdata[i])->flags & MAGMA_VOLCANO_VOTER) != 0;
	return n;
}

MagmaMap *kit_ring_with(guint n, guint copies, guint16 slice, guint ncopies, const MagmaCopy *c)
{
	MagmaMap *m = kit_ring(n, copies);
	MagmaSlice *s = kit_slice(m, slice);

	s->ncopies = ncopies;
	memcpy(s->copies, c, ncopies * sizeof *c);
	return m;
}

void kit_slice_is(const MagmaMap *m, guint16 id, const char *text)
{
	const MagmaSlice *s = magma_map_part((MagmaMap *)m, id);
	g_autoptr(GString) is = g_string_new("");

	g_assert_nonnull(s);
	g_string_append_printf(is, "%u:", s->owner);
	for (guint i = 0; i < s->ncopies; i++)
		g_string_append_printf(is, " %u%c", s->copies[i].volcano, s->copies[i].in_sync ? '+' : '-');
	g_assert_cmpstr(is->str, ==, text);
}

/* --- life --- */

GroupKit *kit_new_with(MagmaMap *map, gboolean again, const VolcanoConfig *with)
{
	GroupKit *k = kit = g_new0(GroupKit, 1);
	VolcanoConfig cfg = *with;

	k->now = KIT_BEGINS;
	k->said = g_string_new("");
	k->events = g_array_new(FALSE, FALSE, sizeof(Event));
	k->sessions = g_ptr_array_new_with_free_func(session_free);
	k->disk = memdisk_new();
	k->disks = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)memdisk_free);
	k->stores = g_hash_table_new(NULL, NULL);
	k->proposed = map;
	k->begun = again;
	g_autoptr(GBytes) kept = g_bytes_new_static("", 0);
	cfg.name = cfg.fqdn = "v1";
	cfg.software = "1";
	cfg.kept = kept;
	cfg.addr = magma_map_by_id(map, 1)->addr;
	cfg.offered = 1;
	k->v = volcano_new(&cfg, open_store(k, k->disk, 1), &IO, k);
	volcano_start(k->v, NULL, NULL);
	g_assert_true(k->v->serving);
	return k;
}

GroupKit *kit_leader_of(MagmaMap *map)
{
	GroupKit *k = kit_new(map, FALSE);

	kit_leads(k);
	return k;
}

GroupKit *kit_new(MagmaMap *map, gboolean again) { return kit_new_with(map, again, &(VolcanoConfig){ 0 }); }

void kit_free(GroupKit *k)
{
	Store *own = k->v->store;
	Event e;

	volcano_stop(k->v);
	volcano_stopped(k->v);
	volcano_free(k->v);
	while (next_event(k, G_MAXINT64, &e))
		if (!e.handle && e.fn != opened)
			e.fn(e.arg);          /* a store's: it frees itself */
	memstore_close(own);
	memdisk_free(k->disk);
	g_hash_table_unref(k->stores);
	g_hash_table_unref(k->disks);
	g_ptr_array_unref(k->sessions);
	g_array_unref(k->events);
	g_assert_null(k->committed);  /* the test's */
	g_clear_pointer(&k->forced, magma_map_unref);
	magma_map_unref(k->proposed);
	g_string_free(k->said, TRUE);
	g_free(k);
}

GroupKit *kit_serving(void)
{
	GroupKit *k = kit_new(kit_ring(2, 1), FALSE);

	kit_leads(k);
	k->v->begins_network = TRUE;
	kit_lease(k, k->now + 1000 * SECOND);
	for (guint i = 0; i < 50 && !(core_slice(k->v, 1) && core_slice(k->v, 1)->serving); i++) {
		kit_hear(k);
		kit_lease(k, k->now + SECOND);
		kit_run(k, SECOND / 10);
	}
	g_assert_true(core_slice(k->v, 1) && core_slice(k->v, 1)->serving);
	return k;
}
