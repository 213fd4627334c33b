/* Who is in the network, and the map, which only the leader of the group that votes on it (consensus.c) changes. */
#include "magmad/core/aside.h"
#include "magmad/core/consensus.h"
#include "magmad/core/dht.h"
#include "magmad/core/holding.h"
#include "libmagma/proto/list.h"

#define PEEK_EVERY (2 * SECOND)          /* slower than an election: in good order there is nothing to peek at */
#define JOIN_LIMIT (4500000)               /* "said within 5 s" */

typedef struct {
	gboolean fetching;            /* the map, from the leader */
	MagmaTime fetch_at;
	gboolean peeking;             /* at another's map, while nobody leads us */
	MagmaTime peek_at;
	guint peek;
	Call *joining;
} Members;

static Members *members_of(Volcano *v) { return v->members; }

/* --- the map --- */

/* Another folder has taken this one's id (handle_join): what is here counts for nothing any more, and two with one id must not speak. */
static void replaced(Volcano *v, const MagmaVolcano *heir)
{
	char addr[MAGMA_ADDR_TEXT];
	g_autofree char *text = g_strdup_printf("volcano %s was replaced by the one at %s: nothing needs this folder any more", v->name, magma_addr_format(&heir->addr, addr));

	v->stopping = TRUE;
	v->io->stop(v->iou, text);
}

static void members_map_changed(Volcano *v)
{
	for (guint i = 0; i < v->slices->len; i++)
		move_map_changed(v->slices->pdata[i]);
	v->apply_map = TRUE;          /* core_leave does it: operations that run may end by it */
	const MagmaVolcano *self = magma_map_by_id(v->map, v->id);
	if (self && !magma_addr_equal(&self->addr, &v->cfg.addr) && !v->stopping)
		replaced(v, self);
}

/* A newer map that the group has committed, from whoever; of another line of history only by the group itself, which knows whether ours goes on. */
void members_learn(Volcano *v, const guint8 *p, gsize n)
{
	g_autoptr(MagmaMap) map = magma_map_decode(p, n);

	if (!map || (v->map && (map->epoch <= v->map->epoch || memcmp(map->network, v->map->network, sizeof map->network) != 0
		|| map->incarnation != consensus_incarnation(v))))
		return;
	core_set_map(v, g_steal_pointer(&map));
	members_map_changed(v);
	members_look(v);
}

/* All slices that the map gives to this volcano are being served. */
static gboolean all_serve(Volcano *v)
{
	for (guint i = 0; i < v->map->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(v->map->slices, MagmaSlice, i);
		const Slice *sl = s->owner == v->id ? core_slice(v, s->id) : NULL;
		if (s->owner == v->id && !(sl && sl->serving))
			return FALSE;
	}
	return TRUE;
}

/* The first lease of this start comes with all that was proposed before it (magmad/raft/raft_lease.c): also what an earlier start had asked for, that a copy counts from now on. By an older map it would
 * answer without that copy. */
static void own_from_now_on(Volcano *v)
{
	if (v->may_own || !v->serving || !consensus_may_serve(v))
		return;
	v->may_own = TRUE;
	v->note[0] = 0;
	v->apply_map = TRUE;
}

void members_look(Volcano *v)
{
	const MagmaVolcano *self = v->map ? magma_map_by_id(v->map, v->id) : NULL;

	if (!consensus_leads(v))      /* who leads at once, as the only voter, listens for a tick first: another may have gone on without it */
		own_from_now_on(v);
	if (v->ready && self && (self->state == MAGMA_ACTIVE || !self->offered) && v->serving && v->may_own && consensus_may_serve(v) && all_serve(v))
		core_ready(v, NULL);
}

void members_slice_serves(Slice *sl)
{
	Volcano *v = sl->v;

	v->note[0] = 0;
	move_map_changed(sl);
	members_of(v)->fetch_at = 0;
	members_fetch_map(v);
	members_look(v);
}

static void map_fetched(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Volcano *v = user;
	Members *m = members_of(v);

	core_enter(v);
	m->fetching = FALSE;
	m->fetch_at = core_now(v) + SECOND;
	if (!error)
		members_learn(v, rep->rep_map.map.data, rep->rep_map.map.len);
	core_leave(v);
}

void members_fetch_map(Volcano *v)
{
	Members *m = members_of(v);
	struct magma_req_map q = { 0 };

	if (m->fetching || !v->map || consensus_leads(v) || core_now(v) < m->fetch_at)
		return;
	m->fetching = TRUE;
	call_leader(v, NULL, MAGMA_OP_map, &q, 2 * SECOND, map_fetched, v);
}

static void peeked(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Volcano *v = user;

	core_enter(v);
	members_of(v)->peeking = FALSE;
	if (!error)
		members_learn(v, rep->rep_map.map.data, rep->rep_map.map.len);
	core_leave(v);
}

/* Nobody leads this volcano. It may be one that was replaced while it was away: then nobody will, and only a newer map tells. */
static void peek_at_maps(Volcano *v)
{
	Members *m = members_of(v);
	const MagmaVolcano *o = v->map->volcanos->pdata[m->peek % v->map->volcanos->len];
	struct magma_req_map q = { 0 };

	if (m->peeking || core_now(v) < m->peek_at)
		return;
	m->peek++;
	m->peek_at = core_now(v) + PEEK_EVERY;
	if (o->id == v->id)
		return;
	m->peeking = TRUE;
	call_volcano(v, NULL, o->id, MAGMA_OP_map, &q, NULL, PEEK_EVERY, peeked, v);
}

static void push_map(Volcano *v)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	magma_map_encode(v->map, bytes);
	struct magma_req_new_map q = { .map = MAGMA_BYTES(bytes->data, bytes->len) };
	for (guint i = 0; i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = v->map->volcanos->pdata[i];
		if (o->id != v->id)
			call_volcano(v, NULL, o->id, MAGMA_OP_new_map, &q, NULL, 10 * SECOND, NULL, NULL);
	}
}

typedef struct {
	Volcano *v;
	void (*done)(Volcano *v, void *user, int error);
	void *user;
} Changing;

static void changed(Volcano *v, void *user, int error)
{
	Changing c = *(Changing *)user;

	core_ctx_free(v, user);
	v->map_changing = FALSE;
	if (!error)
		push_map(v);
	if (c.done)
		c.done(v, c.user, error);
}

/* Of every slice there are so many. */
guint members_least_copies(const MagmaMap *map)
{
	guint least = map->slices->len ? G_MAXUINT : 1;

	for (guint i = 0; i < map->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(map->slices, MagmaSlice, i);
		guint n = 1;
		for (guint k = 0; k < s->ncopies; k++)
			n += s->copies[k].in_sync;
		least = MIN(least, n);
	}
	return least;
}

void members_change_map(Volcano *v, MagmaMap *map, void (*done)(Volcano *v, void *user, int error), void *user)
{
	members_change_map_down(v, map, NULL, 0, FALSE, done, user);
}

/* A range that is on its way from an owner who is no longer it sets out anew: what he had sent is not what the new one has, and his word that all is there may still be on the wire. So does one whose target is down:
 * the source thaws, and nobody waits for one that may never be back. */
static void renumber_move(const MagmaMap *old, MagmaMap *map)
{
	const MagmaSlice *was = magma_map_slice_by_id(old, old->move.from), *is = magma_map_slice_by_id(map, map->move.from);
	const MagmaVolcano *to_was = magma_map_by_id(old, old->move.to), *to = magma_map_by_id(map, map->move.to);

	if (!map->move.id || map->move.id != old->move.id)
		return;
	gboolean other = was && is && (was->owner != is->owner || was->epoch != is->epoch), fell = to_was && to && to->flags & ~to_was->flags & MAGMA_VOLCANO_DOWN;
	if (other || fell)
		magma_map_number_move(map);
}

void members_change_map_down(Volcano *v, MagmaMap *map, const guint16 *down, guint ndown, gboolean gone, void (*done)(Volcano *v, void *user, int error), void *user)
{
	Changing *c = CORE_CTX(v, Changing, NULL);

	map->copies_kept = members_least_copies(map);
	renumber_move(v->map, map);
	*c = (Changing){ v, done, user };
	v->map_changing = TRUE;
	consensus_propose(v, map, down, ndown, gone, changed, c);
}

/* --- start --- */

static void group_made(Volcano *v, int error)
{
	if (error) {
		core_ready(v, g_strerror(error));
		return;
	}
	v->serving = TRUE;
	consensus_start(v);
}

/* The first rows are on disk before anything says that there is a volcano here. */
static void bootstrapped(void *user, int error)
{
	Volcano *v = user;

	core_enter(v);
	if (error)
		core_ready(v, g_strerror(error));
	else
		consensus_bootstrap(v, group_made);
	core_leave(v);
}

static MagmaVolcano self_of(Volcano *v, guint16 id)
{
	return (MagmaVolcano){ .id = id, .name = v->name, .fqdn = v->fqdn, .addr = v->cfg.addr, .bandwidth = v->cfg.bandwidth, .offered = v->cfg.offered };
}

static void bootstrap(Volcano *v)
{
	guint8 network[16];

	v->io->random(v->iou, network, sizeof network);
	v->id = 1;
	MagmaMap *map = magma_map_new(network, v->cfg.copies_wanted);
	MagmaVolcano self = self_of(v, v->id);
	self.state = MAGMA_ACTIVE;
	self.flags = MAGMA_VOLCANO_VOTER;
	MagmaSlice whole = { .id = v->id, .range = { MAGMA_KEY_MIN, MAGMA_KEY_MAX }, .home = v->id, .owner = v->id, .epoch = 1 };
	map->epoch = 1;
	map->copies_kept = 1;
	map->coordinator = v->id;
	map->next_id = 2;
	magma_map_add(map, &self);
	magma_map_add_slice(map, &whole);
	const char *broken = magma_map_seal(map);
	g_assert(!broken);
	core_set_map(v, map);
	v->may_own = v->begins_network = TRUE;
	holdings_apply(v);
	v->begins_network = FALSE;
	store_sync(v->store, bootstrapped, v);
}

/* Nothing is held, nor sent to copies, before it is kept who this is: a start that is not counted could number other frames alike. */
static void join_kept(Volcano *v, int error)
{
	if (!error)
		v->may_own = v->apply_map = TRUE;
	group_made(v, error);
}

static void joined(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Volcano *v = user;
	char text[512], addr[MAGMA_ADDR_TEXT];

	core_enter(v);
	members_of(v)->joining = NULL;
	if (error) {
		MagmaAddr flare = magma_addr_with_port(&v->join_addr, v->join_addr.port - 1);
		g_snprintf(text, sizeof text, "%s at %s", v->note[0] ? v->note : error == ETIMEDOUT ? "no volcano answers" : magma_strerror(error),
			magma_addr_format(&flare, addr));
		core_ready(v, text);
	} else if (rep->rep_join.refusal.len) {
		g_snprintf(text, sizeof text, "join refused: %.*s", (int)rep->rep_join.refusal.len, rep->rep_join.refusal.data);
		core_ready(v, text);
	} else {
		g_autoptr(MagmaMap) map = magma_map_decode(rep->rep_join.map.data, rep->rep_join.map.len);
		if (!map) {
			core_ready(v, "the network's lava map cannot be read: another version?");
		} else {
			v->id = rep->rep_join.id;
			core_set_map(v, g_steal_pointer(&map));
			v->state = "receiving a slice";
			v->note[0] = 0;
			consensus_join(v, join_kept);
		}
	}
	core_leave(v);
}

static void join(Volcano *v)
{
	g_autoptr(GByteArray) addr = g_byte_array_new();
	struct magma_req_join q = { .name = MAGMA_BYTES_STR(v->name), .fqdn = MAGMA_BYTES_STR(v->fqdn), .bandwidth = v->cfg.bandwidth, .offered = v->cfg.offered };

	v->state = "joining";
	magma_put_addr(addr, &v->cfg.addr);
	q.addr = MAGMA_BYTES(addr->data, addr->len);
	members_of(v)->joining = call_addr(v, &v->join_addr, MAGMA_OP_join, &q, JOIN_LIMIT, joined, v);
}

/* Before there is a lease, and so a leader: who makes one. */
static void note_voters(Volcano *v)
{
	g_autoptr(GString) who = g_string_new("");

	for (guint i = 0; i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = v->map->volcanos->pdata[i];
		if (o->flags & MAGMA_VOLCANO_VOTER && o->id != v->id)
			g_string_append_printf(who, "%s%s", who->len ? ", " : "", o->name);
	}
	if (who->len)
		g_snprintf(v->note, sizeof v->note, "waits for the volcanos that vote: %s", who->str);
}

/* The address to join is a volcano's of our own map, or we would leave one network for another. */
static gboolean in_our_network(Volcano *v)
{
	MagmaAddr flare = magma_addr_with_port(&v->join_addr, v->join_addr.port - 1);

	for (guint i = 0; i < v->map->volcanos->len; i++)
		if (magma_addr_equal(&((MagmaVolcano *)v->map->volcanos->pdata[i])->addr, &flare))
			return TRUE;
	return FALSE;
}

/* Whoever was in that network when the command line was written may have another address by now: the folder is not to be thrown away for that. */
static char *who_else(Volcano *v)
{
	g_autoptr(GString) who = g_string_new("");

	for (guint i = 0; i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = v->map->volcanos->pdata[i];
		if (o->id != v->id)
			g_string_append_printf(who, "%s%s", who->len ? ", " : " with ", o->name);
	}
	char addr[MAGMA_ADDR_TEXT];
	MagmaAddr flare = magma_addr_with_port(&v->join_addr, v->join_addr.port - 1);
	return g_strdup_printf("the folder holds a volcano of a network%s, and none of them is at %s: without -j it starts in that network; an empty folder would join another one", who->str,
		magma_addr_format(&flare, addr));
}

static void restart(Volcano *v)
{
	/* Also with -b or -j: a first start that was killed after it was kept is gone on with. But the volcano stays in its network. */
	if (v->cfg.join && !in_our_network(v)) {
		g_autofree char *text = who_else(v);
		core_ready(v, text);
		return;
	}
	note_voters(v);
	consensus_begin_life(v, group_made);
}

void members_start(Volcano *v)
{
	v->members = g_new0(Members, 1);
	if (v->map && v->id)
		restart(v);
	else if (v->cfg.bootstrap)
		bootstrap(v);
	else if (v->cfg.join)
		join(v);
	else
		core_ready(v, v->cfg.kept ? "what is kept of the lava map and the vote on it cannot be read" : "the storage folder holds no volcano: -b starts a new network, -j HOST joins one");
}

void members_tick(Volcano *v)
{
	own_from_now_on(v);
	if (!v->may_own && v->serving)
		members_fetch_map(v);
	if (v->map && v->serving && !v->stopping && !consensus_leader(v) && !consensus_may_serve(v))
		peek_at_maps(v);
	members_look(v);
	if (v->leaving)
		return;
	planner_tick(v);
	move_plan(v);
}

void members_clear(Volcano *v)
{
	consensus_clear(v);
	g_free(v->members);
}

/* --- messages --- */

void handle_hello(Op *op)
{
	Volcano *v = op->v;
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	struct magma_rep_hello rep = { .volcano = v->id, .boot = v->boot, .version = MAGMA_VERSION_NUMBER, .name = MAGMA_BYTES_STR(v->name) };

	magma_map_encode(v->map, bytes);
	rep.map = MAGMA_BYTES(bytes->data, bytes->len);
	op_reply(op, &rep, NULL);
}

void handle_map(Op *op)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	struct magma_rep_map rep;

	magma_map_encode(op->v->map, bytes);
	rep.map = MAGMA_BYTES(bytes->data, bytes->len);
	op_reply(op, &rep, NULL);
}

/* Also the client's sign of life: what it has seen answered need not be kept (its watermark). */
void handle_ping(Op *op)
{
	Volcano *v = op->v;
	g_autoptr(GString) lines = g_string_new("");
	struct magma_rep_ping rep = {
		.volcano = v->id, .boot = v->boot, .version = MAGMA_VERSION_NUMBER, .name = MAGMA_BYTES_STR(v->name), .software = MAGMA_BYTES_STR(v->software),
		.copies_wanted = v->map ? v->map->copies_wanted : 0, .copies_kept = v->map ? v->map->copies_kept : 0,
		.unsafe = volcano_unsafe(v, lines),
	};

	rep.lines = MAGMA_BYTES(lines->str, (guint32)lines->len);

	for (guint i = 0; op->hdr.client && i < v->slices->len; i++)
		client_prune_now(v->slices->pdata[i], op->hdr.client);
	op_reply(op, &rep, NULL);
}

void handle_new_map(Op *op)
{
	const MagmaBytes map = op->req.req_new_map.map;

	if (!op->v->map) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	members_learn(op->v, map.data, map.len);
	struct magma_rep_new_map rep = { .epoch = op->v->map->epoch };
	op_reply(op, &rep, NULL);
}
