/* Who joins, at the leader: a new volcano, or an empty folder in the place of one that is down. */
#include "magmad/core/consensus.h"
#include "magmad/core/core.h"
#include "magmad/core/dht.h"

static void join_answer(Op *op, guint16 id, const char *refusal)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	struct magma_rep_join rep = { .id = id, .refusal = MAGMA_BYTES_STR(refusal) };

	magma_map_encode(op->v->map, bytes);
	rep.map = MAGMA_BYTES(bytes->data, bytes->len);
	op_reply(op, &rep, NULL);
}

/* Who has that name or address already; NULL: nobody. */
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
		magma_map_number_move(map);
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
	/* whoever asks again has an empty folder, and may have had something in another, a vote too: soon it is down, and replaced */
	if (o && o->state == MAGMA_JOINING && strcmp(o->name, n.name) == 0 && strcmp(o->fqdn, n.fqdn) == 0 && magma_addr_equal(&o->addr, &n.addr) && consensus_heard_within(v, o->id, SECOND)) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
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
