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
		map->move.id = old->epoch + 1;
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

/* --- join, at the leader --- */

static void join_answer(Op *op, guint16 id, const char *refusal)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	struct magma_rep_join rep = { .id = id, .refusal = MAGMA_BYTES_STR(refusal) };

	magma_map_encode(op->v->map, bytes);
	rep.map = MAGMA_BYTES(bytes->data, bytes->len);
	op_reply(op, &rep, NULL);
}

/* Who has that name or address already; NULL: nobody. A volcano still joining that asks again is the same one. */
static const MagmaVolcano *taken(const MagmaMap *map, const MagmaVolcano *n, const char **what)
{
	for (guint i = 0; i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		if (strcmp(o->name, n->name) == 0)
			*what = "nickname";
		else if (strcmp(o->fqdn, n->fqdn) == 0)
			*what = "FQDN";
		else if (magma_addr_equal(&o->addr, &n->addr))
			*what = "address";
		else
			continue;
		return o;
	}
	return NULL;
}

static gboolean name_ok(const char *name)
{
	gsize n = strlen(name);

	return n >= 1 && n <= 63 && dht_shows(name) && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static void join_committed(Volcano *v, void *user, int error)
{
	Op *op = user;

	if (error) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	guint id = GPOINTER_TO_UINT(op->data);

	join_answer(op, id, "");          /* op may be gone now */
	core_say(v, "volcano %u joined, epoch %" G_GUINT64_FORMAT, id, v->map->epoch);
	move_plan(v);
}

static void join_relayed(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	op_answer(user, error == ETIMEDOUT ? MAGMA_ETRYAGAIN : error, error ? NULL : &rep->rep_join, NULL);
}

static char *dup_bytes(MagmaBytes b) { return g_strndup((const char *)b.data, b.len); }

static void copy_counts_not(MagmaSlice *s, guint16 volcano)
{
	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].volcano == volcano)
			s->copies[i].in_sync = FALSE;
}

/* An empty folder under the nickname of a volcano that is down takes its id and its place: it holds nothing that counts, so it is as if that one had come back with all to be healed. What it voted is lost with its
 * folder: the same map takes its vote from it, and the planner gives it another like to anybody new. Refused if a slice waits for what it had. */
static void join_replaces(Op *op, const MagmaVolcano *old, const MagmaVolcano *n)
{
	Volcano *v = op->v;
	const char *what = NULL;
	char text[512];

	for (guint i = 0; i < v->map->slices->len; i++) {
		const MagmaSlice *s = &g_array_index(v->map->slices, MagmaSlice, i);
		if (old->flags & MAGMA_VOLCANO_DOWN && s->owner == old->id) {
			g_snprintf(text, sizeof text, "slice %u waits for volcano %s, whose old folder alone has all of it: start that one", s->id, old->name);
			join_answer(op, 0, text);
			return;
		}
	}
	if (!(old->flags & MAGMA_VOLCANO_DOWN)) {
		op_error(op, MAGMA_ETRYAGAIN);        /* soon it is */
		return;
	}
	MagmaMap *map = magma_map_copy(v->map);
	MagmaVolcano *place = (MagmaVolcano *)magma_map_by_id(map, old->id);
	g_free(place->fqdn);
	place->fqdn = g_strdup(n->fqdn);
	place->addr = n->addr;
	place->bandwidth = n->bandwidth;
	place->offered = n->offered;
	place->flags &= ~MAGMA_VOLCANO_VOTER;
	for (guint i = 0; i < map->slices->len; i++)
		copy_counts_not(&g_array_index(map->slices, MagmaSlice, i), old->id);
	if (map->move.id && map->move.to == old->id) {      /* what it had been sent is gone, and its copies have nothing to follow */
		map->move.id = v->map->epoch + 1;
		map->move.part.epoch++;
		map->move.part.ncopies = 0;
	} else if (map->move.id) {
		copy_counts_not(&map->move.part, old->id);
	}
	const MagmaVolcano *other = taken(map, n, &what);
	const char *broken = other != place ? "its FQDN or address is another volcano's" : magma_map_seal(map);
	if (broken) {
		magma_map_unref(map);
		join_answer(op, 0, broken);
		return;
	}
	core_say(v, "volcano %s is replaced by an empty one", n->name);
	op->data = GUINT_TO_POINTER(place->id);
	members_change_map(v, map, join_committed, op);
}

void handle_join(Op *op)
{
	Volcano *v = op->v;
	const struct magma_req_join *q = &op->req.req_join;
	MagmaReader r = magma_reader(q->addr.data, q->addr.len);
	MagmaVolcano n = { .state = MAGMA_JOINING, .bandwidth = q->bandwidth, .offered = q->offered };
	char text[512], addr[MAGMA_ADDR_TEXT];
	const char *what = NULL;

	if (!v->map || !v->serving) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	if (!consensus_leads(v)) {
		call_leader(v, NULL, MAGMA_OP_join, q, 4 * SECOND, join_relayed, op);
		return;
	}
	if (v->map_changing || v->map->volcanos->len >= MAGMA_VOLCANOS_MAX) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	g_autofree char *name = dup_bytes(q->name), *fqdn = dup_bytes(q->fqdn);
	n.name = name;
	n.fqdn = fqdn;
	magma_get_addr(&r, &n.addr);
	if (r.error || !name_ok(name) || !fqdn[0] || strlen(fqdn) > 255) {
		join_answer(op, 0, "a nickname is 1 to 63 letters, digits, dots, dashes and underscores; an FQDN 1 to 255 bytes");
		return;
	}
	const MagmaVolcano *o = taken(v->map, &n, &what);
	if (o && o->state == MAGMA_JOINING && strcmp(o->name, n.name) == 0 && strcmp(o->fqdn, n.fqdn) == 0 && magma_addr_equal(&o->addr, &n.addr)) {
		/* its answer was lost; but one that was in touch since may have had something, a vote too, and lost it with its folder */
		if (!(o->flags & (MAGMA_VOLCANO_VOTER | MAGMA_VOLCANO_DOWN)) && !consensus_down_at(v, o->id)) {
			join_answer(op, o->id, "");
			return;
		}
		if (consensus_heard_within(v, o->id, SECOND)) {
			op_error(op, MAGMA_ETRYAGAIN);
			return;
		}
	}
	if (o && strcmp(o->name, n.name) == 0 && !consensus_heard_within(v, o->id, SECOND) && o->id != v->id) {
		join_replaces(op, o, &n);
		return;
	}
	if (o) {
		g_snprintf(text, sizeof text, "the %s %s is taken by volcano %s (%s) %s", what,
			strcmp(what, "nickname") == 0 ? n.name : strcmp(what, "FQDN") == 0 ? n.fqdn : magma_addr_format(&n.addr, addr), o->name, o->fqdn,
			magma_addr_format(&o->addr, addr));
		join_answer(op, 0, text);
		return;
	}
	MagmaMap *map = magma_map_copy(v->map);
	n.id = map->next_id++;
	magma_map_add(map, &n);
	const char *broken = magma_map_seal(map);
	if (broken) {
		magma_map_unref(map);
		join_answer(op, 0, broken);
		return;
	}
	op->data = GUINT_TO_POINTER(n.id);
	members_change_map(v, map, join_committed, op);
}

/* --- status, halt --- */

#define STATUS_COPIES_MAX 1024        /* of 37 bytes each: a blob has room for them */

static GByteArray *status_copies(Volcano *v)
{
	g_autoptr(GArray) copies = holdings_copies(v);
	GByteArray *out = g_byte_array_new();

	for (guint i = 0; i < MIN(copies->len, STATUS_COPIES_MAX); i++)
		magma_put_copy_state(out, &g_array_index(copies, MagmaCopyState, i));
	return out;
}

void handle_status(Op *op)
{
	Volcano *v = op->v;
	VolcanoStats stats;
	StoreUsage u;

	volcano_stats(v, &stats);
	volcano_usage(v, &u);
	g_autoptr(GByteArray) bytes = status_copies(v), conflicts = g_byte_array_new();
	asides_status(v, conflicts);
	struct magma_rep_status rep = {
		.volcano = v->id, .keys = u.flares, .used = u.used, .free = u.avail, .uptime = core_now(v) - v->started, .started = v->started_real,
		.clients = stats.clients, .software = MAGMA_BYTES_STR(v->software),
		.copies = MAGMA_BYTES(bytes->data, bytes->len), .conflicts = MAGMA_BYTES(conflicts->data, conflicts->len),
	};
	op_reply(op, &rep, NULL);
}

/* A push (op.c); nobody asks. */
void handle_raft(Op *op) { op_error(op, EOPNOTSUPP); }

static void halt_now(void *arg)
{
	Volcano *v = arg;

	v->io->stop(v->iou, NULL);
}

void handle_halt(Op *op)
{
	Volcano *v = op->v;

	op_finish(op, 0);
	core_say(v, "told to halt with the whole network");
	v->io->timer(v->iou, SECOND / 10, halt_now, v);      /* after the answer has left */
}

typedef struct {
	Volcano *v;
	guint waiting;
	void (*done)(void *user);
	void *user;
} Halting;

static void halted(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Halting *h = user;

	if (--h->waiting)
		return;
	h->done(h->user);
	core_ctx_free(h->v, h);
}

void volcano_halt_network(Volcano *v, void (*done)(void *user), void *user)
{
	Halting *h = CORE_CTX(v, Halting, NULL);
	struct magma_req_halt q = { 0 };

	core_enter(v);
	*h = (Halting){ v, 1, done, user };
	for (guint i = 0; v->map && i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = v->map->volcanos->pdata[i];
		if (o->id == v->id)
			continue;
		h->waiting++;
		call_volcano(v, NULL, o->id, MAGMA_OP_halt, &q, NULL, 2 * SECOND, halted, h);
	}
	halted(h, 0, NULL, NULL);
	core_leave(v);
}

typedef struct {
	Volcano *v;
	void (*done)(void *user, gboolean alive, const struct magma_rep_status *st);
	void *user;
} AskStatus;

static void status_answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	AskStatus *a = user;

	a->done(a->user, !error, error ? NULL : &rep->rep_status);
	core_ctx_free(a->v, a);
}

void volcano_ask_status(Volcano *v, guint16 id, void (*done)(void *user, gboolean alive, const struct magma_rep_status *st), void *user)
{
	AskStatus *a = CORE_CTX(v, AskStatus, NULL);
	struct magma_req_status q = { 0 };

	core_enter(v);
	*a = (AskStatus){ v, done, user };
	call_volcano(v, NULL, id, MAGMA_OP_status, &q, NULL, SECOND, status_answered, a);
	core_leave(v);
}

/* --- clear --- */

static void cleared_here(void *user, int error)
{
	Op *op = user;
	Volcano *v = op->v;

	core_enter(v);
	op_finish(op, error);
	core_leave(v);
}

void handle_clear(Op *op) { aside_remove(op->v, op->req.req_clear.time, cleared_here, op); }

typedef struct {
	Volcano *v;
	void (*done)(void *user, int error);
	void *user;
} Clear;

static void cleared_there(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Clear *c = user;
	Clear now = *c;

	core_ctx_free(c->v, c);
	now.done(now.user, error);
}

#define CLEAR_LIMIT (30 * SECOND)     /* who reads in it goes first */

void volcano_conflict_clear(Volcano *v, guint16 id, guint64 time, void (*done)(void *user, int error), void *user)
{
	const MagmaVolcano *o = v->map ? magma_map_by_id(v->map, id) : NULL;
	struct magma_req_clear q = { .time = time };

	if (!o || o->flags & MAGMA_VOLCANO_DOWN) {
		done(user, o ? EHOSTDOWN : ENOENT);
		return;
	}
	core_enter(v);
	Clear *c = CORE_CTX(v, Clear, NULL);
	*c = (Clear){ v, done, user };
	call_volcano(v, NULL, id, MAGMA_OP_clear, &q, NULL, CLEAR_LIMIT, cleared_there, c);
	core_leave(v);
}
