#include "tests/sim/safety.h"
#include "tests/sim/cluster-internal.h"
#include "magmad/core/consensus.h"
#include "magmad/raft/raft.h"
#include <string.h>

/* An entry by what makes it one: its index and term. */
typedef struct {
	guint64 index, term;
	guint32 inc;
} EntryId;

typedef struct {
	guint64 life;
	const MagmaMap *map;          /* the last one looked at; held, so that its address stays its own */
	RaftEntry *last, *committed;
	gboolean leads;
	RaftTerm term;
} Seen;

struct Safety {
	Cluster *c;
	World *w;
	Seen seen[CLUSTER_VOLCANOS];
	GHashTable *leaders;          /* "inc.term" -> node + 1 */
	GHashTable *entries;          /* EntryId -> GBytes: all that were ever in a log */
	GHashTable *commits;          /* (inc, index) as EntryId with term 0 -> RaftEntry */
	GHashTable *maps;             /* (incarnation, epoch) as EntryId -> GBytes */
	RaftEntry *newest;            /* committed, by term and index */
	SafetyStats stats;
};

static guint id_hash(gconstpointer p)
{
	const EntryId *e = p;

	return (guint)(e->index * 31 + e->term * 1009 + e->inc);
}

static gboolean id_equal(gconstpointer a, gconstpointer b)
{
	const EntryId *x = a, *y = b;

	return x->index == y->index && x->term == y->term && x->inc == y->inc;
}

static EntryId *id_new(guint64 index, guint64 term, guint32 inc)
{
	EntryId *e = g_new0(EntryId, 1);

	*e = (EntryId){ index, term, inc };
	return e;
}

static void entry_unref(gpointer e) { raft_entry_unref(e); }

Safety *safety_new(Cluster *c)
{
	Safety *s = g_new0(Safety, 1);

	s->c = c;
	s->w = c->world;
	s->leaders = g_hash_table_new_full(id_hash, id_equal, g_free, NULL);
	s->entries = g_hash_table_new_full(id_hash, id_equal, g_free, (GDestroyNotify)g_bytes_unref);
	s->commits = g_hash_table_new_full(id_hash, id_equal, g_free, entry_unref);
	s->maps = g_hash_table_new_full(id_hash, id_equal, g_free, (GDestroyNotify)g_bytes_unref);
	return s;
}

static void seen_clear(Seen *x)
{
	if (x->map)
		magma_map_unref((MagmaMap *)x->map);
	if (x->last)
		raft_entry_unref(x->last);
	if (x->committed)
		raft_entry_unref(x->committed);
	*x = (Seen){ 0 };
}

void safety_free(Safety *s)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		seen_clear(&s->seen[i]);
	if (s->newest)
		raft_entry_unref(s->newest);
	g_hash_table_unref(s->leaders);
	g_hash_table_unref(s->entries);
	g_hash_table_unref(s->commits);
	g_hash_table_unref(s->maps);
	g_free(s);
}

SafetyStats safety_stats(const Safety *s) { return s->stats; }

/* --- maps --- */

static void look_at_map(Safety *s, Node *n, Seen *x)
{
	const MagmaMap *map = volcano_map(n->volcano);

	if (map == x->map)
		return;
	if (x->map && (map->incarnation < x->map->incarnation || (map->incarnation == x->map->incarnation && map->epoch <= x->map->epoch)))
		world_fail(s->w, "%s goes back from the map of epoch %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, n->name, x->map->epoch, map->epoch);
	if (x->map)
		magma_map_unref((MagmaMap *)x->map);
	x->map = magma_map_ref((MagmaMap *)map);
	GByteArray *out = g_byte_array_new();
	magma_map_encode(map, out);
	GBytes *bytes = g_byte_array_free_to_bytes(out);
	EntryId *id = id_new(map->epoch, 0, map->incarnation);
	GBytes *known = g_hash_table_lookup(s->maps, id);
	if (known && !g_bytes_equal(known, bytes))
		world_fail(s->w, "%s has another map of epoch %" G_GUINT64_FORMAT " than others", n->name, map->epoch);
	if (known) {
		g_bytes_unref(bytes);
		g_free(id);
	} else {
		g_hash_table_insert(s->maps, id, bytes);
	}
}

/* --- Raft, as in figure 3 of its paper --- */

/* Log matching: an entry of an index and a term is the same everywhere. (With one APPEND per entry that goes for all before it.) */
static void look_at_log(Safety *s, Node *n, const Raft *r)
{
	for (guint i = 0; i < raft_log_size(r); i++) {
		const RaftEntry *e = raft_log_at(r, i);
		EntryId *id = id_new(e->index, e->term.term, e->term.inc);
		GBytes *known = g_hash_table_lookup(s->entries, id);
		if (known && !g_bytes_equal(known, e->bytes))
			world_fail(s->w, "%s has another entry %" G_GUINT64_FORMAT " of term %" G_GUINT64_FORMAT, n->name, e->index, e->term.term);
		if (known)
			g_free(id);
		else
			g_hash_table_insert(s->entries, id, g_bytes_ref(e->bytes));
	}
}

/* State machine safety: nobody commits anything else at an index, within an incarnation: that of the group, not of the entry, for a forced one commits what its maker had from before. */
static void look_at_commit(Safety *s, Node *n, const RaftEntry *e, guint32 inc)
{
	EntryId *id = id_new(e->index, 0, inc);
	const RaftEntry *known = g_hash_table_lookup(s->commits, id);

	if (known && (raft_term_cmp(known->term, e->term) != 0 || !g_bytes_equal(known->bytes, e->bytes)))
		world_fail(s->w, "%s commits entry %" G_GUINT64_FORMAT " of term %x.%" G_GUINT64_FORMAT "; it was one of %x.%" G_GUINT64_FORMAT, n->name, e->index, e->term.inc, e->term.term,
			known->term.inc, known->term.term);
	if (known) {
		g_free(id);
		return;
	}
	g_hash_table_insert(s->commits, id, raft_entry_ref(e));
	world_trace(s->w, "%s commits entry %" G_GUINT64_FORMAT " of term %x.%" G_GUINT64_FORMAT, n->name, e->index, e->term.inc, e->term.term);
	s->stats.maps++;
	if (!s->newest || raft_term_cmp(s->newest->term, e->term) < 0 || (raft_term_cmp(s->newest->term, e->term) == 0 && s->newest->index < e->index)) {
		if (s->newest)
			raft_entry_unref(s->newest);
		s->newest = raft_entry_ref(e);
	}
}

static const RaftEntry *log_entry(const Raft *r, guint64 index)
{
	for (guint i = 0; i < raft_log_size(r); i++)
		if (raft_log_at(r, i)->index == index)
			return raft_log_at(r, i);
	return NULL;
}

/* Election safety and leader completeness. */
static void begins_to_lead(Safety *s, Node *n, const Raft *r, RaftTerm term)
{
	EntryId *id = id_new(0, term.term, term.inc);
	guint other = GPOINTER_TO_UINT(g_hash_table_lookup(s->leaders, id));

	if (other && other != n->index + 1)
		world_fail(s->w, "%s and %s both lead in term %u.%" G_GUINT64_FORMAT, n->name, s->c->node[other - 1].name, term.inc, term.term);
	g_hash_table_replace(s->leaders, id, GUINT_TO_POINTER(n->index + 1));
	s->stats.leaders++;
	if (!s->newest || s->newest->term.inc != term.inc || raft_term_cmp(s->newest->term, term) >= 0)
		return;
	const RaftEntry *e = log_entry(r, s->newest->index);
	if (raft_last(r)->index < s->newest->index || (e && raft_term_cmp(e->term, s->newest->term) != 0))
		world_fail(s->w, "%s leads in term %u.%" G_GUINT64_FORMAT " without entry %" G_GUINT64_FORMAT ", which is committed", n->name, term.inc, term.term, s->newest->index);
}

/* Leader append-only. */
static void goes_on_to_lead(Safety *s, Node *n, const Raft *r, const Seen *x)
{
	const RaftEntry *e = x->last ? log_entry(r, x->last->index) : NULL;

	if (x->last && (raft_last(r)->index < x->last->index || (e && raft_term_cmp(e->term, x->last->term) != 0)))
		world_fail(s->w, "%s leads, and has overwritten entry %" G_GUINT64_FORMAT, n->name, x->last->index);
}

static void remember(RaftEntry **slot, const RaftEntry *e)
{
	if (*slot)
		raft_entry_unref(*slot);
	*slot = e ? raft_entry_ref(e) : NULL;
}

static void look_at_raft(Safety *s, Node *n, Seen *x)
{
	const Raft *r = consensus_raft(n->volcano);

	if (!r)
		return;
	gboolean leads = raft_is_leader(r);
	RaftTerm term = raft_term(r);
	if (leads && (!x->leads || raft_term_cmp(term, x->term) != 0))
		begins_to_lead(s, n, r, term);
	else if (leads && raft_last(r) != x->last)
		goes_on_to_lead(s, n, r, x);
	x->leads = leads;
	x->term = term;
	if (raft_last(r) != x->last) {
		look_at_log(s, n, r);
		remember(&x->last, raft_last(r));
	}
	const RaftEntry *e = raft_committed(r);
	if (e != x->committed) {
		if (e)
			look_at_commit(s, n, e, term.inc);
		remember(&x->committed, e);
	}
}

/* --- who answers --- */

enum { SERVES_MAX = 8 };

/* Where the newer map has the other one as a copy in sync, both may: whatever the new owner acknowledges waits for that copy, which hears by that that it owns nothing any more. */
static gboolean waits_for(Node *a, Node *b, const MagmaKey *key)
{
	const MagmaMap *ma = volcano_map(a->volcano), *mb = volcano_map(b->volcano);
	gboolean a_newer = ma->incarnation != mb->incarnation ? ma->incarnation > mb->incarnation : ma->epoch > mb->epoch;
	const MagmaSlice *s = magma_map_slice(a_newer ? ma : mb, key);
	guint16 older = volcano_id((a_newer ? b : a)->volcano);

	for (guint i = 0; ma->epoch != mb->epoch && s && i < s->ncopies; i++)
		if (s->copies[i].volcano == older && s->copies[i].in_sync)
			return TRUE;
	return FALSE;
}

/* Nobody begins to serve without an event of its own, so the one that had one is compared with all others. */
static void look_at_serving(Safety *s, Node *n)
{
	MagmaRange own[SERVES_MAX], others[SERVES_MAX];
	guint k = consensus_serves(n->volcano, own, SERVES_MAX), m;

	for (guint i = 0; k && i < CLUSTER_VOLCANOS; i++) {
		Node *o = &s->c->node[i];
		if (o == n || !o->volcano || s->c->cfg.both_may_answer)
			continue;
		m = consensus_serves(o->volcano, others, SERVES_MAX);
		for (guint a = 0; a < k; a++)
			for (guint b = 0; b < m; b++)
				if (magma_key_cmp(&own[a].lo, &others[b].hi) <= 0 && magma_key_cmp(&others[b].lo, &own[a].hi) <= 0
					&& !waits_for(n, o, magma_key_cmp(&own[a].lo, &others[b].lo) > 0 ? &own[a].lo : &others[b].lo))
					world_fail(s->w, "%s (epoch %" G_GUINT64_FORMAT ") and %s (epoch %" G_GUINT64_FORMAT ") may both answer for the same key", n->name,
						volcano_map(n->volcano)->epoch, o->name, volcano_map(o->volcano)->epoch);
	}
}

void safety_look(Safety *s, guint owner)
{
	if (!owner)
		return;
	Node *n = &s->c->node[owner - 1];
	Seen *x = &s->seen[n->index];
	if (!n->volcano)
		return;
	if (x->life != n->life) {
		seen_clear(x);
		x->life = n->life;
	}
	if (!volcano_map(n->volcano))
		return;
	look_at_map(s, n, x);
	look_at_raft(s, n, x);
	look_at_serving(s, n);
}
