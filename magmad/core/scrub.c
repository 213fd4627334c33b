/* What a power cut leaves between volcanos, found and put right: names that lead nowhere, flares without a name, links that were counted wrong.
 *
 * A volcano's own rows always fit each other: it loses the end of its journal, never a part of a transaction. What does not fit is an operation over two volcanos of which one lost its
 * part and the other did not. Each such operation shows itself: as a FINAL that finds no mark, or as a mark that is undone although it was committed or its flare has gone on living
 * (settle.c). Its flares become suspects of their owner, durably before the coordinator forgets the operation. The owner asks every slice for all names of its suspects (scrub_names.c)
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
	guint waiting;                /* slices that still count */
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

void scrub_init(Slice *sl)
{
	struct Scrub *x = sl->scrub = g_new0(struct Scrub, 1);

	x->suspects = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, suspect_free);
	x->watched = g_ptr_array_new();
}

void scrub_clear(Slice *sl)
{
	g_ptr_array_unref(sl->scrub->watched);
	g_hash_table_unref(sl->scrub->suspects);
	g_clear_pointer(&sl->scrub, g_free);
}

void scrub_stats(Slice *sl, VolcanoStats *out)
{
	out->suspects += g_hash_table_size(sl->scrub->suspects);
	out->scrubbing_contents |= scrub_contents_left(sl);
}

static Suspect *find(Slice *sl, guint64 ino) { return g_hash_table_size(sl->scrub->suspects) ? g_hash_table_lookup(sl->scrub->suspects, &ino) : NULL; }

gboolean scrub_is_suspect(Slice *sl, guint64 ino) { return find(sl, ino) != NULL; }

void scrub_touch(Slice *sl, guint64 ino)
{
	Suspect *s = find(sl, ino);

	if (s)
		s->disturbed = TRUE;
}

gboolean scrub_steady(Slice *sl, guint64 epoch)
{
	return sl->serving && !sl->v->stopping && sl->v->map->epoch == epoch && !sl->v->map->move.id && !sl->move && !sl->v->map_changing && !sl->purging;
}

/* --- the list --- */

static gsize row_name(guint64 ino, char out[32]) { return g_snprintf(out, 32, SCRUB_PREFIX "%016" G_GINT64_MODIFIER "x", ino); }

static Suspect *add(Slice *sl, const MagmaFid *fid)
{
	Suspect *s = find(sl, fid->ino);

	if (s)
		return s;
	s = g_new0(Suspect, 1);
	s->fid = *fid;
	s->after = core_now(sl->v) + SETTLE_DOWN;
	s->names = g_array_new(FALSE, FALSE, sizeof(Name));
	g_hash_table_insert(sl->scrub->suspects, &s->fid.ino, s);
	core_tick_soon(sl->v);
	return s;
}

void scrub_suspect(Slice *sl, const MagmaFid *fid, Txn *t)
{
	char name[32];

	if (!fid->ino || fid->ino == MAGMA_ROOT_INO || (!t && g_hash_table_size(sl->scrub->suspects) >= STUMBLED_MAX))
		return;
	Suspect *s = add(sl, fid);
	s->disturbed = TRUE;          /* a count under way began before this */
	if (!t || s->stored)
		return;
	g_autoptr(GByteArray) val = g_byte_array_new();
	magma_put_fid(val, fid);
	txn_put(t, TAB_META, name, row_name(fid->ino, name), NULL, val->data, val->len);
	s->stored = TRUE;
}

void scrub_load(Slice *sl, const StoreRow *row)
{
	MagmaReader r = magma_reader(row->val, row->vlen);
	MagmaFid fid = magma_get_fid(&r);

	if (!r.error)
		add(sl, &fid)->stored = TRUE;
}

/* All is right with it, or it is another's business. */
static void cleared(Slice *sl, Suspect *s, Txn *t)
{
	char name[32];

	if (s->stored)
		txn_del(t, TAB_META, name, row_name(s->fid.ino, name), NULL);
	g_hash_table_remove(sl->scrub->suspects, &s->fid.ino);
}

static void again(Slice *sl, Suspect *s, MagmaTime delay)
{
	s->watched = FALSE;
	s->after = core_now(sl->v) + delay;
}

/* --- those of others --- */

typedef struct {
	Slice *sl;
	guint64 ino;
} HandOn;

static void handed_on(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	HandOn *h = user;
	Slice *sl = h->sl;
	Suspect *s = find(sl, h->ino);

	core_enter(sl->v);
	if (s) {
		s->sent = FALSE;
		s->after = core_now(sl->v) + BACK_OFF;
	}
	if (s && !error && core_place(sl, &s->fid.key) == ELSEWHERE) {
		Txn *t = txn_new();
		cleared(sl, s, t);
		core_commit(sl, t);
	}
	core_ctx_free(sl, h);
	core_leave(sl->v);
}

static void hand_on(Slice *sl, Suspect *s)
{
	struct magma_req_suspect q = { .fid = s->fid };
	HandOn *h = CORE_CTX(sl, HandOn, NULL);

	*h = (HandOn){ sl, s->fid.ino };
	s->sent = TRUE;
	call_key(sl, &s->fid.key, MAGMA_OP_suspect, &q, NULL, 60 * SECOND, handed_on, h);
}

static void suspect_stored(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	op_finish(op, error);
	core_leave(sl->v);
}

void handle_suspect(Op *op)
{
	Txn *t = txn_new();

	scrub_suspect(op->sl, &op->req.req_suspect.fid, t);
	core_commit(op->sl, t);
	store_sync(op->sl->store, suspect_stored, op);
}

/* --- putting right --- */

static void repaired(Op *op)
{
	op->sl->scrub->repairing--;
	op_drop(op);
}

typedef struct {
	Slice *sl;
	guint64 ino;
	gboolean adopting;
} Asked;

static void asked_done(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Asked *a = user;
	Slice *sl = a->sl;
	Suspect *s = find(sl, a->ino);

	core_enter(sl->v);
	if (s && !--s->calls) {
		if (a->adopting && (error == ENOENT || error == ENOTDIR || error == ESTALE))
			s->to_root = TRUE;
		again(sl, s, LOOK_AGAIN);      /* and count once more: only a count without a finding clears it */
	}
	core_ctx_free(sl, a);
	core_leave(sl->v);
}

static Asked *asking(Slice *sl, Suspect *s, gboolean adopting)
{
	Asked *a = CORE_CTX(sl, Asked, NULL);

	*a = (Asked){ sl, s->fid.ino, adopting };
	s->calls++;
	return a;
}

/* All names but number `keep` (none: -1) are taken away where they stand. */
static void unname(Slice *sl, Suspect *s, gint keep)
{
	for (guint i = 0; i < s->names->len; i++) {
		const Name *n = &g_array_index(s->names, Name, i);
		struct magma_req_unname q = { .dir = n->dir, .child = s->fid, .name = MAGMA_BYTES(n->name, n->len) };
		if ((gint)i != keep)
			call_key(sl, &q.dir.key, MAGMA_OP_unname, &q, NULL, COORD_LIMIT, asked_done, asking(sl, s, FALSE));
	}
}

static void adopt(Slice *sl, Suspect *s, const FlareRow *row)
{
	struct magma_req_adopt q = { .dir = s->to_root || row->parent.ino == s->fid.ino ? magma_fid_root() : row->parent, .child = s->fid };

	call_key(sl, &q.dir.key, MAGMA_OP_adopt, &q, NULL, COORD_LIMIT, asked_done, asking(sl, s, TRUE));
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
	Slice *sl = draft_slice(d);

	core_say(sl->v, "after a power cut: flare %" G_GUINT64_FORMAT " (mode %o, %" G_GUINT64_FORMAT " bytes, once in directory %" G_GUINT64_FORMAT ") has no name: removed",
		s->fid.ino, row->attr.mode, is_dir(row->attr.mode) ? 0 : row->attr.size, row->parent.ino);
	sl->v->stats.scrubbed_flares++;
	cleared(sl, s, draft_txn(d));
	draft_destroy(d, row);
}

static void repair_file(Draft *d, Suspect *s, FlareRow *row)
{
	Slice *sl = draft_slice(d);
	guint n = s->names->len;

	if (!n && !g_hash_table_contains(sl->orphans, &s->fid.ino)) {
		destroy_nameless(d, s, row);
		return;
	}
	if (n && row->attr.nlink != n) {
		core_say(sl->v, "after a power cut: flare %" G_GUINT64_FORMAT " has %u names, not %u links: corrected", s->fid.ino, n, row->attr.nlink);
		sl->v->stats.scrubbed_links++;
		row->attr.nlink = n;
	}
	if (n && name_in(s, row->parent.ino) < 0)
		row->parent = g_array_index(s->names, Name, 0).dir;
	cleared(sl, s, draft_txn(d));
}

/* Where others are asked for something it is counted again afterwards. */
static void repair_dir(Draft *d, Suspect *s, FlareRow *row)
{
	Slice *sl = draft_slice(d);
	gint keep = name_in(s, row->parent.ino);

	if (row->sealed && s->names->len) {      /* removed, and names still lead to it */
		unname(sl, s, -1);
		return;
	}
	if (!s->names->len && row->attr.size && !row->sealed) {
		adopt(sl, s, row);
		return;
	}
	if (!s->names->len) {
		if (g_hash_table_contains(sl->orphans, &s->fid.ino))
			cleared(sl, s, draft_txn(d));
		else
			destroy_nameless(d, s, row);
		return;
	}
	if (keep < 0) {
		keep = 0;
		row->parent = g_array_index(s->names, Name, 0).dir;
	}
	if (s->names->len > 1) {
		unname(sl, s, keep);
		return;
	}
	cleared(sl, s, draft_txn(d));
}

/* In one turn: nothing touched it since the question was asked, and what the answers say becomes true. */
static void step_repair(Op *op)
{
	Slice *sl = op->sl;
	Suspect *s = op->data;
	FlareRow *row;
	g_autoptr(Draft) d = draft_new(op);
	int error = draft_flare(d, &s->fid, &row);

	if (error == WAIT)
		return;
	if (s->disturbed || (error && error != ESTALE) || mark_count_all(sl, s->fid.ino) || !scrub_steady(sl, sl->scrub->epoch) || core_place(sl, &s->fid.key) != HERE
		|| (!error && !row->attr.nlink && sl->reaping)) {
		again(sl, s, LOOK_AGAIN);
		repaired(op);
		return;
	}
	if (!error && is_dir(row->attr.mode))
		repair_dir(d, s, row);
	else if (!error)
		repair_file(d, s, row);
	else if (s->names->len)
		unname(sl, s, -1);
	else
		cleared(sl, s, draft_txn(d));
	draft_commit(g_steal_pointer(&d));
	repaired(op);
}

static void repair(Slice *sl, Suspect *s)
{
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_names };
	Op *op = op_new(sl->v, sl, &h, NULL, NULL, NULL);

	op->data = s;
	op->step = step_repair;
	sl->scrub->repairing++;
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
	Slice *sl = user;
	struct Scrub *x = sl->scrub;

	core_enter(sl->v);
	if (error)
		x->failed = TRUE;
	else
		take_answer(x, rep->rep_names.found);
	if (!--x->waiting) {
		gboolean ok = !x->failed && scrub_steady(sl, x->epoch);
		for (guint i = 0; i < x->watched->len; i++) {
			Suspect *s = x->watched->pdata[i];
			if (ok && !s->disturbed)
				repair(sl, s);
			else
				again(sl, s, ok ? LOOK_AGAIN : BACK_OFF);
		}
		g_ptr_array_set_size(x->watched, 0);
		x->next = core_now(sl->v) + LOOK_AGAIN;
	}
	core_leave(sl->v);
}

static void count(Slice *sl)
{
	struct Scrub *x = sl->scrub;
	g_autoptr(GByteArray) fids = g_byte_array_new();

	for (guint i = 0; i < x->watched->len; i++) {
		Suspect *s = x->watched->pdata[i];
		s->watched = TRUE;
		s->disturbed = FALSE;
		g_array_set_size(s->names, 0);
		magma_put_fid(fids, &s->fid);
	}
	x->epoch = sl->v->map->epoch;
	x->failed = FALSE;
	x->waiting = sl->v->map->slices->len;
	for (guint i = 0; i < sl->v->map->slices->len; i++) {
		const MagmaKey *lo = &g_array_index(sl->v->map->slices, MagmaSlice, i).range.lo;
		struct magma_req_names q = { .slice = *lo, .epoch = x->epoch, .fids = MAGMA_BYTES(fids->data, fids->len) };
		call_key(sl, lo, MAGMA_OP_names, &q, NULL, COUNT_LIMIT, counted, sl);
	}
}

void scrub_tick(Slice *sl)
{
	struct Scrub *x = sl->scrub;
	MagmaTime now = core_now(sl->v);
	GHashTableIter it;
	gpointer value;
	guint sent = 0;
	gboolean may_count = !x->waiting && !x->repairing && now >= x->next && scrub_steady(sl, sl->v->map->epoch);

	g_hash_table_iter_init(&it, x->suspects);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Suspect *s = value;
		if (s->after > now || s->sent || s->watched || s->calls)
			continue;
		Place place = core_place(sl, &s->fid.key);
		if (place == ELSEWHERE && sent < HAND_ON_PER_TICK) {
			sent++;
			hand_on(sl, s);
		} else if (place == HERE && may_count && x->watched->len < SUSPECTS_AT_ONCE && !mark_count_all(sl, s->fid.ino)) {
			g_ptr_array_add(x->watched, s);
		}
	}
	if (x->watched->len && may_count)
		count(sl);
}
