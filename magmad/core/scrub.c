/* What a power cut leaves between volcanos, found and put right: names that lead nowhere, flares without a name, links that were counted wrong.
 *
 * A volcano's own rows always fit each other: it loses the end of its journal, never a part of a transaction. What does not fit is an operation over two volcanos of which one lost its
 * part and the other did not. Each such operation shows itself: as a FINAL that finds no mark, or as a mark that is undone although it was committed or its flare has gone on living
 * (mark.c). Its flares become suspects of their owner, durably before the coordinator forgets the operation. The owner asks every volcano for all names of its suspects (scrub_names.c)
 * and makes the flare agree with them; entries are the truth. docs/architecture.md says why each removal is safe. */
#include "magmad/core/core.h"

enum { SUSPECTS_AT_ONCE = 2048, HAND_ON_PER_TICK = 16, STUMBLED_MAX = 65536 };
#define SETTLE_DOWN (2 * SECOND)       /* first look: by then a batch of suspects has gathered and their marks are mostly settled */
#define LOOK_AGAIN (SECOND)
#define BACK_OFF (5 * SECOND)          /* a volcano is down, a slice moves */
#define COUNT_LIMIT (3600 * SECOND)    /* entries of a volcano are read at some 10,000 a second */

typedef struct {
	MagmaFid dir;
	gsize len;
	guint8 name[MAGMA_NAME_MAX];
} Name;

typedef struct {
	MagmaFid fid;
	MagmaTime after;              /* not looked at before */
	gboolean stored;              /* in TAB_META */
	gboolean sent;                /* on its way to its owner */
	gboolean watched;             /* being counted */
	gboolean disturbed;           /* meanwhile an operation came to it, or is under way somewhere */
	gboolean to_root;             /* its parent would not take it back */
	guint calls;
	GArray *names;                /* Name: found by this count */
} Suspect;

struct Scrub {
	GHashTable *suspects;         /* ino -> Suspect */
	GPtrArray *watched;           /* Suspect, as in the question */
	guint64 epoch;
	guint waiting;                /* volcanos that still count */
	guint repairing;              /* suspects that are being put right */
	gboolean failed;
	MagmaTime next;
};

static void suspect_free(gpointer p)
{
	Suspect *s = p;

	g_array_unref(s->names);
	g_free(s);
}

void scrub_init(Volcano *v)
{
	struct Scrub *x = v->scrub = g_new0(struct Scrub, 1);

	x->suspects = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, suspect_free);
	x->watched = g_ptr_array_new();
}

void scrub_clear(Volcano *v)
{
	g_ptr_array_unref(v->scrub->watched);
	g_hash_table_unref(v->scrub->suspects);
	g_clear_pointer(&v->scrub, g_free);
}

void scrub_stats(Volcano *v, VolcanoStats *out)
{
	out->suspects = g_hash_table_size(v->scrub->suspects);
	out->scrubbing_contents = scrub_contents_left(v);
}

static Suspect *find(Volcano *v, guint64 ino) { return g_hash_table_size(v->scrub->suspects) ? g_hash_table_lookup(v->scrub->suspects, &ino) : NULL; }

gboolean scrub_is_suspect(Volcano *v, guint64 ino) { return find(v, ino) != NULL; }

void scrub_touch(Volcano *v, guint64 ino)
{
	Suspect *s = find(v, ino);

	if (s)
		s->disturbed = TRUE;
}

gboolean scrub_steady(Volcano *v, guint64 epoch)
{
	return v->serving && !v->stopping && v->map->epoch == epoch && !v->map->move.id && !v->move && !v->map_changing && !v->purging;
}

/* --- the list --- */

static gsize row_name(guint64 ino, char out[32]) { return g_snprintf(out, 32, SCRUB_PREFIX "%016" G_GINT64_MODIFIER "x", ino); }

static Suspect *add(Volcano *v, const MagmaFid *fid)
{
	Suspect *s = find(v, fid->ino);

	if (s)
		return s;
	s = g_new0(Suspect, 1);
	s->fid = *fid;
	s->after = core_now(v) + SETTLE_DOWN;
	s->names = g_array_new(FALSE, FALSE, sizeof(Name));
	g_hash_table_insert(v->scrub->suspects, &s->fid.ino, s);
	core_tick_soon(v);
	return s;
}

void scrub_suspect(Volcano *v, const MagmaFid *fid, Txn *t)
{
	char name[32];

	if (!fid->ino || fid->ino == MAGMA_ROOT_INO || (!t && g_hash_table_size(v->scrub->suspects) >= STUMBLED_MAX))
		return;
	Suspect *s = add(v, fid);
	s->disturbed = TRUE;          /* a count under way began before this */
	if (!t || s->stored)
		return;
	g_autoptr(GByteArray) val = g_byte_array_new();
	magma_put_fid(val, fid);
	txn_put(t, TAB_META, name, row_name(fid->ino, name), NULL, val->data, val->len);
	s->stored = TRUE;
}

void scrub_load(Volcano *v, const StoreRow *row)
{
	MagmaReader r = magma_reader(row->val, row->vlen);
	MagmaFid fid = magma_get_fid(&r);

	if (!r.error)
		add(v, &fid)->stored = TRUE;
}

/* All is right with it, or it is another's business. */
static void cleared(Volcano *v, Suspect *s, Txn *t)
{
	char name[32];

	if (s->stored)
		txn_del(t, TAB_META, name, row_name(s->fid.ino, name), NULL);
	g_hash_table_remove(v->scrub->suspects, &s->fid.ino);
}

static void again(Volcano *v, Suspect *s, MagmaTime delay)
{
	s->watched = FALSE;
	s->after = core_now(v) + delay;
}

/* --- those of others --- */

typedef struct {
	Volcano *v;
	guint64 ino;
} HandOn;

static void handed_on(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	HandOn *h = user;
	Volcano *v = h->v;
	Suspect *s = find(v, h->ino);

	core_enter(v);
	if (s) {
		s->sent = FALSE;
		s->after = core_now(v) + BACK_OFF;
	}
	if (s && !error && core_place(v, &s->fid.key) == ELSEWHERE) {
		Txn *t = txn_new();
		cleared(v, s, t);
		core_commit(v, t);
	}
	core_ctx_free(v, h);
	core_leave(v);
}

static void hand_on(Volcano *v, Suspect *s)
{
	struct magma_req_suspect q = { .fid = s->fid };
	HandOn *h = CORE_CTX(v, HandOn, NULL);

	*h = (HandOn){ v, s->fid.ino };
	s->sent = TRUE;
	call_key(v, &s->fid.key, MAGMA_OP_suspect, &q, NULL, 60 * SECOND, handed_on, h);
}

static void suspect_stored(void *user, int error)
{
	Op *op = user;
	Volcano *v = op->v;

	core_enter(v);
	op_finish(op, error);
	core_leave(v);
}

void handle_suspect(Op *op)
{
	Txn *t = txn_new();

	scrub_suspect(op->v, &op->req.req_suspect.fid, t);
	core_commit(op->v, t);
	store_sync(op->v->store, suspect_stored, op);
}

/* --- putting right --- */

static void repaired(Op *op)
{
	op->v->scrub->repairing--;
	op_drop(op);
}

typedef struct {
	Volcano *v;
	guint64 ino;
	gboolean adopting;
} Asked;

static void asked_done(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Asked *a = user;
	Volcano *v = a->v;
	Suspect *s = find(v, a->ino);

	core_enter(v);
	if (s && !--s->calls) {
		if (a->adopting && (error == ENOENT || error == ENOTDIR || error == ESTALE))
			s->to_root = TRUE;
		again(v, s, LOOK_AGAIN);      /* and count once more: only a count without a finding clears it */
	}
	core_ctx_free(v, a);
	core_leave(v);
}

static Asked *asking(Volcano *v, Suspect *s, gboolean adopting)
{
	Asked *a = CORE_CTX(v, Asked, NULL);

	*a = (Asked){ v, s->fid.ino, adopting };
	s->calls++;
	return a;
}

/* All names but number `keep` (none: -1) are taken away where they stand. */
static void unname(Volcano *v, Suspect *s, gint keep)
{
	for (guint i = 0; i < s->names->len; i++) {
		const Name *n = &g_array_index(s->names, Name, i);
		struct magma_req_unname q = { .dir = n->dir, .child = s->fid, .name = MAGMA_BYTES(n->name, n->len) };
		if ((gint)i != keep)
			call_key(v, &q.dir.key, MAGMA_OP_unname, &q, NULL, COORD_LIMIT, asked_done, asking(v, s, FALSE));
	}
}

static void adopt(Volcano *v, Suspect *s, const FlareRow *row)
{
	struct magma_req_adopt q = { .dir = s->to_root || row->parent.ino == s->fid.ino ? magma_fid_root() : row->parent, .child = s->fid };

	call_key(v, &q.dir.key, MAGMA_OP_adopt, &q, NULL, COORD_LIMIT, asked_done, asking(v, s, TRUE));
}

/* Which of its names stands in its parent; -1: none. */
static gint name_in(const Suspect *s, guint64 dir)
{
	for (guint i = 0; i < s->names->len; i++)
		if (g_array_index(s->names, Name, i).dir.ino == dir)
			return i;
	return -1;
}

static void destroy_nameless(Draft *d, Suspect *s, FlareRow *row)
{
	Volcano *v = draft_volcano(d);

	core_say(v, "after a power cut: flare %" G_GUINT64_FORMAT " (mode %o, %" G_GUINT64_FORMAT " bytes, once in directory %" G_GUINT64_FORMAT ") has no name: removed",
		s->fid.ino, row->attr.mode, is_dir(row->attr.mode) ? 0 : row->attr.size, row->parent.ino);
	v->stats.scrubbed_flares++;
	cleared(v, s, draft_txn(d));
	draft_destroy(d, row);
}

static void repair_file(Draft *d, Suspect *s, FlareRow *row)
{
	Volcano *v = draft_volcano(d);
	guint n = s->names->len;

	if (!n && !g_hash_table_contains(v->orphans, &s->fid.ino)) {
		destroy_nameless(d, s, row);
		return;
	}
	if (n && row->attr.nlink != n) {
		core_say(v, "after a power cut: flare %" G_GUINT64_FORMAT " has %u names, not %u links: corrected", s->fid.ino, n, row->attr.nlink);
		v->stats.scrubbed_links++;
		row->attr.nlink = n;
	}
	if (n && name_in(s, row->parent.ino) < 0)
		row->parent = g_array_index(s->names, Name, 0).dir;
	cleared(v, s, draft_txn(d));
}

/* Where others are asked for something it is counted again afterwards. */
static void repair_dir(Draft *d, Suspect *s, FlareRow *row)
{
	Volcano *v = draft_volcano(d);
	gint keep = name_in(s, row->parent.ino);

	if (row->sealed && s->names->len) {      /* removed, and names still lead to it */
		unname(v, s, -1);
		return;
	}
	if (!s->names->len && row->attr.size && !row->sealed) {
		adopt(v, s, row);
		return;
	}
	if (!s->names->len) {
		if (g_hash_table_contains(v->orphans, &s->fid.ino))
			cleared(v, s, draft_txn(d));
		else
			destroy_nameless(d, s, row);
		return;
	}
	if (keep < 0) {
		keep = 0;
		row->parent = g_array_index(s->names, Name, 0).dir;
	}
	if (s->names->len > 1) {
		unname(v, s, keep);
		return;
	}
	cleared(v, s, draft_txn(d));
}

/* In one turn: nothing touched it since the question was asked, and what the answers say becomes true. */
static void step_repair(Op *op)
{
	Volcano *v = op->v;
	Suspect *s = op->data;
	FlareRow *row;
	g_autoptr(Draft) d = draft_new(op);
	int error = draft_flare(d, &s->fid, &row);

	if (error == WAIT)
		return;
	if (s->disturbed || (error && error != ESTALE) || mark_count_all(v, s->fid.ino) || !scrub_steady(v, v->scrub->epoch) || core_place(v, &s->fid.key) != HERE
		|| (!error && !row->attr.nlink && v->gc_running)) {
		again(v, s, LOOK_AGAIN);
		repaired(op);
		return;
	}
	if (!error && is_dir(row->attr.mode))
		repair_dir(d, s, row);
	else if (!error)
		repair_file(d, s, row);
	else if (s->names->len)
		unname(v, s, -1);
	else
		cleared(v, s, draft_txn(d));
	draft_commit(g_steal_pointer(&d));
	repaired(op);
}

static void repair(Volcano *v, Suspect *s)
{
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_names };
	Op *op = op_new(v, &h, NULL, NULL, NULL);

	op->data = s;
	op->step = step_repair;
	v->scrub->repairing++;
	op_run(op);
}

/* --- counting --- */

static void take_answer(struct Scrub *x, const MagmaBytes found)
{
	MagmaReader r = magma_reader(found.data, found.len);

	while (r.left && !r.error) {
		guint8 what = magma_get_u8(&r);
		guint32 index = magma_get_u32(&r);
		Suspect *s = index < x->watched->len ? x->watched->pdata[index] : NULL;
		if (what == MAGMA_NAMES_ENTRY) {
			Name n = { .dir = magma_get_fid(&r) };
			MagmaBytes name = magma_get_counted(&r, MAGMA_NAME_MAX);
			if (r.error || !s || !magma_name_valid(name.data, name.len)) {
				x->failed = TRUE;
				return;
			}
			n.len = name.len;
			memcpy(n.name, name.data, name.len);
			g_array_append_val(s->names, n);
		} else if (s && !r.error) {
			s->disturbed = TRUE;
		}
	}
	x->failed |= r.error;
}

static void counted(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Volcano *v = user;
	struct Scrub *x = v->scrub;

	core_enter(v);
	if (error)
		x->failed = TRUE;
	else
		take_answer(x, rep->rep_names.found);
	if (!--x->waiting) {
		gboolean ok = !x->failed && scrub_steady(v, x->epoch);
		for (guint i = 0; i < x->watched->len; i++) {
			Suspect *s = x->watched->pdata[i];
			if (ok && !s->disturbed)
				repair(v, s);
			else
				again(v, s, ok ? LOOK_AGAIN : BACK_OFF);
		}
		g_ptr_array_set_size(x->watched, 0);
		x->next = core_now(v) + LOOK_AGAIN;
	}
	core_leave(v);
}

/* Each volcano is asked once, however many slices it answers for. */
static gboolean is_first_of(const MagmaMap *map, guint slice, guint16 owner)
{
	for (guint i = 0; i < slice; i++)
		if (g_array_index(map->slices, MagmaSlice, i).owner == owner)
			return FALSE;
	return TRUE;
}

static void count(Volcano *v)
{
	struct Scrub *x = v->scrub;
	g_autoptr(GByteArray) fids = g_byte_array_new();

	for (guint i = 0; i < x->watched->len; i++) {
		Suspect *s = x->watched->pdata[i];
		s->watched = TRUE;
		s->disturbed = FALSE;
		g_array_set_size(s->names, 0);
		magma_put_fid(fids, &s->fid);
	}
	x->epoch = v->map->epoch;
	x->failed = FALSE;
	struct magma_req_names q = { .epoch = x->epoch, .fids = MAGMA_BYTES(fids->data, fids->len) };
	for (guint i = 0; i < v->map->slices->len; i++) {
		guint16 owner = g_array_index(v->map->slices, MagmaSlice, i).owner;
		if (is_first_of(v->map, i, owner) && ++x->waiting)
			call_volcano(v, owner, MAGMA_OP_names, &q, NULL, COUNT_LIMIT, counted, v);
	}
}

void scrub_tick(Volcano *v)
{
	struct Scrub *x = v->scrub;
	MagmaTime now = core_now(v);
	GHashTableIter it;
	gpointer value;
	guint sent = 0;
	gboolean may_count = !x->waiting && !x->repairing && now >= x->next && scrub_steady(v, v->map->epoch);

	g_hash_table_iter_init(&it, x->suspects);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Suspect *s = value;
		if (s->after > now || s->sent || s->watched || s->calls)
			continue;
		Place place = core_place(v, &s->fid.key);
		if (place == ELSEWHERE && sent < HAND_ON_PER_TICK) {
			sent++;
			hand_on(v, s);
		} else if (place == HERE && may_count && x->watched->len < SUSPECTS_AT_ONCE && !mark_count_all(v, s->fid.ino)) {
			g_ptr_array_add(x->watched, s);
		}
	}
	if (x->watched->len && may_count)
		count(v);
}
