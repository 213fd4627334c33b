#include "magmad/core/move.h"

enum { PURGE_FLARES = 128, PURGE_ROWS = 1024 };      /* a piece is one transaction of at most some 100 KiB */
#define PURGE_AGAIN (SECOND / 2)      /* after an error: what is left would stand beside what comes, or come back */

typedef struct {
	MagmaFid fid;
	gboolean entries, xattrs, file;
} Victim;

/* Rows that are not found by their flare; first, so that what comes back after a crash is a flare that nobody refers to. */
static const StoreTable loose[] = { TAB_MARK, TAB_COMMIT, TAB_REPLY, TAB_ORPHAN, TAB_DIRTY };

typedef struct Purge Purge;
struct Purge {
	Slice *sl;
	MagmaRange range;
	guint loose;                  /* index in loose of the table being searched */
	guint8 from[STORE_KEY_MAX], next_from[STORE_KEY_MAX];
	gsize fromlen, next_fromlen;
	gboolean table_over;          /* nothing in it is behind next_from */
	GArray *victims;
	guint next;
	StoreTable table;             /* of the victim's rows being removed */
	guint dropping;               /* contents on their way out, before the rows of txn, which lead to them */
	int error;                    /* of one of them */
	Txn *txn;
	void (*then)(Purge *p), (*again)(Purge *p);
	guint timer;
	gboolean said;
	void (*done)(void *user);
	void *user;
};

static void purge_clear(gpointer ctx)
{
	Purge *p = ctx;

	if (p->timer)
		p->sl->v->io->timer_cancel(p->sl->v->iou, p->timer);
	g_array_unref(p->victims);
	txn_free(p->txn);
}

static void purge_again(void *arg)
{
	Purge *p = arg;
	Slice *sl = p->sl;

	core_enter(sl->v);
	p->timer = 0;
	p->again(p);
	core_leave(sl->v);
}

/* That step is done once more, until it succeeds. */
static void purge_wait(Purge *p, int error, void (*again)(Purge *p))
{
	if (!p->said)
		core_say(p->sl->v, "slice %u: what does not belong to it cannot be removed: %s; tried again", p->sl->id, g_strerror(error));
	p->said = TRUE;
	p->again = again;
	p->timer = p->sl->v->io->timer(p->sl->v->iou, PURGE_AGAIN, purge_again, p);
}

static void purge_flares(Purge *p);
static void purge_victim(Purge *p);

static void purge_rows(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Purge *p = user;
	Slice *sl = p->sl;

	core_enter(sl->v);
	if (error) {
		purge_wait(p, error, purge_victim);
		core_leave(sl->v);
		return;
	}
	Txn *t = txn_new();
	for (guint i = 0; i < n; i++)
		txn_del(t, rows[i].table, rows[i].key, rows[i].klen, &rows[i].rk);
	core_commit(sl, t);
	if (eof || !n)
		p->table = p->table == TAB_ENTRY ? TAB_COOKIE : p->table == TAB_COOKIE ? TAB_XATTR : TAB_COUNT;
	purge_victim(p);
	core_leave(sl->v);
}

static void rows_go(Purge *p)
{
	if (p->error) {
		g_clear_pointer(&p->txn, txn_free);
		purge_wait(p, p->error, p->again);
		return;
	}
	core_commit(p->sl, g_steal_pointer(&p->txn));
	p->then(p);
}

static void content_gone(void *user, int error)
{
	Purge *p = user;
	Slice *sl = p->sl;

	core_enter(sl->v);
	p->error = error ? error : p->error;
	if (!--p->dropping)
		rows_go(p);
	core_leave(sl->v);
}

/* The rows of t go, and then things go on with `then`; contents first: a crash in between leaves rows that lead to them, and this is done again, as it is with `again` after an error. Takes t. */
static void contents_then_rows(Purge *p, const MagmaFid *fids, guint n, Txn *t, void (*then)(Purge *p), void (*again)(Purge *p))
{
	p->txn = t;
	p->then = then;
	p->again = again;
	p->error = 0;
	p->dropping = n + 1;
	for (guint i = 0; i < n; i++)
		store_content_drop(p->sl->store, &fids[i], content_gone, p);
	if (!--p->dropping)
		rows_go(p);
}

static void victim_gone(Purge *p)
{
	p->table = TAB_ENTRY;
	p->next++;
	purge_victim(p);
}

static void purge_flare_row(Purge *p, const Victim *victim)
{
	static const StoreTable by_ino[] = { TAB_FLARE, TAB_DATA, TAB_ORPHAN, TAB_DIRTY };
	guint8 k[STORE_KEY_MAX];
	gsize kl = key_ino(k, victim->fid.ino);
	Txn *t = txn_new();

	for (guint i = 0; i < G_N_ELEMENTS(by_ino); i++)
		txn_del(t, by_ino[i], k, kl, &victim->fid.key);
	const MagmaFid fid = victim->fid;
	contents_then_rows(p, &fid, victim->file ? 1 : 0, t, victim_gone, purge_victim);
}

static void purge_victim(Purge *p)
{
	if (p->next < p->victims->len) {
		Victim *victim = &g_array_index(p->victims, Victim, p->next);
		guint8 prefix[8];
		if (p->table == TAB_ENTRY && !victim->entries)
			p->table = TAB_XATTR;
		if (p->table == TAB_XATTR && !victim->xattrs)
			p->table = TAB_COUNT;
		if (p->table != TAB_COUNT) {
			key_ino(prefix, victim->fid.ino);
			store_scan(p->sl->store, p->table, NULL, 0, prefix, sizeof prefix, PURGE_ROWS, purge_rows, p);
		} else {
			purge_flare_row(p, victim);
		}
		return;
	}
	purge_flares(p);
}

static void purge_found(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Purge *p = user;
	Slice *sl = p->sl;
	FlareRow row;

	core_enter(sl->v);
	if (error) {
		purge_wait(p, error, purge_flares);
		core_leave(sl->v);
		return;
	}
	g_array_set_size(p->victims, 0);
	p->next = 0;
	p->table = TAB_ENTRY;
	for (guint i = 0; i < n; i++) {
		Victim victim = { .fid = { rows[i].rk, magma_be64_load(rows[i].key) }, .entries = TRUE, .xattrs = TRUE, .file = TRUE };
		if (flare_row_decode(rows[i].val, rows[i].vlen, &row)) {
			victim.entries = is_dir(row.attr.mode);
			victim.xattrs = (row.attr.flags & MAGMA_ATTR_HAS_XATTR) != 0;
			victim.file = row.content == CONTENT_FILE;
		}
		g_array_append_val(p->victims, victim);
	}
	if (n) {
		purge_victim(p);
	} else {
		void (*done)(void *) = p->done;
		void *u = p->user;
		core_ctx_free(sl, p);
		done(u);
	}
	core_leave(sl->v);
}

static void purge_flares(Purge *p)
{
	store_scan_range(p->sl->store, &p->range.lo, &p->range.hi, 0, PURGE_FLARES, purge_found, p);
}

static void purge_loose(Purge *p);

static void loose_gone(Purge *p)
{
	if (p->table_over)
		p->loose++;
	p->fromlen = p->next_fromlen;
	memcpy(p->from, p->next_from, p->fromlen);
	purge_loose(p);
}

/* A write intent leads to a content also where its flare is gone, and an orphan to one that a power cut brought back, also where its row says that it has none in a file. */
static void loose_found(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Purge *p = user;
	Slice *sl = p->sl;
	g_autoptr(GArray) fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));

	core_enter(sl->v);
	if (error) {
		purge_wait(p, error, purge_loose);
		core_leave(sl->v);
		return;
	}
	Txn *t = txn_new();
	for (guint i = 0; i < n; i++) {
		if (!magma_range_has(&p->range, &rows[i].rk))
			continue;
		txn_del(t, rows[i].table, rows[i].key, rows[i].klen, &rows[i].rk);
		if ((rows[i].table == TAB_DIRTY || rows[i].table == TAB_ORPHAN) && rows[i].klen == 8) {
			MagmaFid fid = { rows[i].rk, magma_be64_load(rows[i].key) };
			g_array_append_val(fids, fid);
		}
	}
	p->table_over = eof || !n;
	p->next_fromlen = p->table_over ? 0 : rows[n - 1].klen;
	if (p->next_fromlen)
		memcpy(p->next_from, rows[n - 1].key, p->next_fromlen);
	contents_then_rows(p, (MagmaFid *)fids->data, fids->len, t, loose_gone, purge_loose);
	core_leave(sl->v);
}

static void purge_loose(Purge *p)
{
	if (p->loose < G_N_ELEMENTS(loose))
		store_scan(p->sl->store, loose[p->loose], p->from, p->fromlen, NULL, 0, PURGE_ROWS, loose_found, p);
	else
		purge_flares(p);
}

void purge_range(Slice *sl, const MagmaRange *r, void (*done)(void *user), void *user)
{
	Purge *p = CORE_CTX(sl, Purge, purge_clear);

	*p = (Purge){ .sl = sl, .range = *r, .victims = g_array_new(FALSE, FALSE, sizeof(Victim)), .done = done, .user = user };
	purge_loose(p);
}

/* --- what is others' now --- */

void forget_range(Slice *sl, const MagmaRange *r)
{
	mark_forget_range(sl, r);
	commit_forget_range(sl, r);
	gc_forget_range(sl, r);
	client_forget_range(sl, r);
}

static void given_away(void *user) { ((Slice *)user)->purging--; }

void purge_given_away(Slice *sl, const MagmaRange *r)
{
	forget_range(sl, r);
	sl->purging++;
	purge_range(sl, r, given_away, sl);
}

/* From `lo` up to just below `hi`, but not what is on its way to this volcano. */
static void purge_between(Slice *sl, const MagmaKey *lo, const MagmaKey *hi)
{
	const MagmaMove *m = &sl->v->map->move;
	MagmaRange part = { *lo, *hi };

	if (m->id && m->to == sl->v->id && magma_key_cmp(&m->range.lo, hi) <= 0 && magma_key_cmp(&m->range.hi, lo) >= 0) {
		MagmaKey edge;
		if (magma_key_cmp(&m->range.lo, lo) > 0 && magma_key_prev(&m->range.lo, &edge))
			purge_between(sl, lo, &edge);
		if (magma_key_cmp(&m->range.hi, hi) < 0 && magma_key_next(&m->range.hi, &edge))
			purge_between(sl, &edge, hi);
		return;
	}
	purge_given_away(sl, &part);
}

/* A crash in the middle of a purge, or before it, leaves rows of slices that are others' now: they would be ghosts if such a slice came back. What this volcano's newest map may not know yet
 * is only ever a slice that was on its way to it. */
void purge_elsewhere(Slice *sl)
{
	const MagmaSlice *own = magma_map_slice_by_id(sl->v->map, sl->id);
	MagmaKey edge;

	if (!own) {
		purge_between(sl, &MAGMA_KEY_MIN, &MAGMA_KEY_MAX);
		return;
	}
	if (magma_key_prev(&own->range.lo, &edge))
		purge_between(sl, &MAGMA_KEY_MIN, &edge);
	if (magma_key_next(&own->range.hi, &edge))
		purge_between(sl, &edge, &MAGMA_KEY_MAX);
}
