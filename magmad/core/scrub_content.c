/* Content files of no flare: a power cut may bring a removed file back whose row is gone, or take the row of one that was just made. After a stop that was none all files are looked through. */
#include "magmad/core/core.h"

#define LIST_AGAIN (5 * SECOND)

enum { LOOK_PER_TICK = 64 };       /* ten ticks a second while there is work, each second one lists: some 300 a second */

typedef struct {
	guint next;                   /* folder to be listed */
	MagmaTime list_at;            /* not before */
	gboolean said;                /* that it cannot be */
	gboolean listing;
	GArray *fids;                 /* MagmaFid, listed and not yet looked at */
	guint looking;
} Contents;

static void contents_clear(gpointer p) { g_array_unref(((Contents *)p)->fids); }

void scrub_contents_begin(Slice *sl)
{
	if (sl->scrubbing)
		return;
	Contents *c = CORE_CTX(sl, Contents, contents_clear);
	c->fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	sl->scrubbing = c;
}

gboolean scrub_contents_left(Slice *sl) { return sl->scrubbing != NULL; }

typedef struct {
	MagmaFid fid;
	gboolean known;               /* exists and size are the file's */
	gboolean emptied;             /* on disk */
	gboolean exists;
	guint64 size;
} Look;

static void look_end(Op *op)
{
	((Contents *)op->sl->scrubbing)->looking--;
	op_drop(op);
}

static void dropped(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;
	Look *l = op->data;

	core_enter(sl->v);
	if (error) {
		core_say(sl->v, "content file of flare %" G_GUINT64_FORMAT ", which is not there, cannot be removed: %s", l->fid.ino, g_strerror(error));
	} else {
		core_say(sl->v, "after a power cut: content file of flare %" G_GUINT64_FORMAT " (%" G_GUINT64_FORMAT " bytes), which is not there or has its content in its row: removed", l->fid.ino, l->size);
		sl->v->stats.scrubbed_contents++;
	}
	look_end(op);
	core_leave(sl->v);
}

static void emptied(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	((Look *)op->data)->emptied = TRUE;
	op_run(op);
	core_leave(sl->v);
}

static void cut(void *user, int error)
{
	Op *op = user;

	if (error)
		dropped(user, error);
	else
		store_content_sync(op->sl->store, &((Look *)op->data)->fid, emptied, op);
}

static void sized(void *user, int error, const StoreContentStat *st)
{
	Op *op = user;
	Slice *sl = op->sl;
	Look *l = op->data;

	core_enter(sl->v);
	l->known = TRUE;
	l->exists = !error && st->exists;
	l->size = l->exists ? st->size : 0;
	op_run(op);
	core_leave(sl->v);
}

/* Looked at and emptied, or dropped, in one turn, and operations on one content keep their order: what needs a file later makes it anew. A file that is being made has its intent in the
 * journal before its first byte, one that is being removed its orphan row until after the last. Emptied on disk before it is removed: should the next power cut bring it back once more, it
 * is an empty one, and not taken for what the flare has in a file by then. */
static void step_look(Op *op)
{
	Slice *sl = op->sl;
	Look *l = op->data;
	guint64 ino = l->fid.ino;
	FlareRow row;
	int error = state_flare(op, &l->fid, &row);

	if (error == WAIT)
		return;
	gboolean stray = error == ESTALE || (!error && row.content != CONTENT_FILE);
	/* a move begun since it was listed, an operation that is not settled or still under way: looked at again when that is over */
	gboolean later = sl->purging || sl->v->map->move.id || sl->move || mark_count_all(sl, ino) || g_hash_table_contains(sl->busy, &ino);
	if (stray && later)
		g_array_append_val(((Contents *)sl->scrubbing)->fids, l->fid);
	if (!stray || later || g_hash_table_contains(sl->dirty, &ino) || g_hash_table_contains(sl->orphans, &ino) || (l->known && !l->exists))
		look_end(op);
	else if (!l->known)
		store_content_stat(sl->store, &l->fid, sized, op);
	else if (!l->emptied)
		store_content_truncate(sl->store, &l->fid, 0, cut, op);
	else
		store_content_drop(sl->store, &l->fid, dropped, op);
}

static void listed(void *user, int error, const MagmaFid *fids, guint n, guint next)
{
	Slice *sl = user;
	Contents *c = sl->scrubbing;

	core_enter(sl->v);
	c->listing = FALSE;
	if (error && !c->said)
		core_say(sl->v, "content files cannot be listed: %s; tried again", g_strerror(error));
	c->said |= error != 0;
	c->list_at = error ? core_now(sl->v) + LIST_AGAIN : 0;
	c->next = error ? c->next : next;
	if (n)
		g_array_append_vals(c->fids, fids, n);
	core_leave(sl->v);
}

static void look(Slice *sl, Contents *c)
{
	guint n = MIN(c->fids->len, (guint)LOOK_PER_TICK);

	for (guint i = 0; i < n; i++) {
		MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_names };
		Op *op = op_new(sl->v, sl, &h, NULL, NULL, NULL);
		Look *l = op->data = g_new0(Look, 1);
		l->fid = g_array_index(c->fids, MagmaFid, c->fids->len - 1 - i);
		op->data_free = g_free;
		op->step = step_look;
		c->looking++;
		op_run(op);
	}
	g_array_set_size(c->fids, c->fids->len - n);
}

void scrub_contents_tick(Slice *sl)
{
	Contents *c = sl->scrubbing;

	/* what is being moved or purged has files without rows, and rows without files */
	if (!c || c->listing || c->looking || sl->purging || sl->v->map->move.id || sl->move)
		return;
	if (c->fids->len) {
		look(sl, c);
	} else if (c->list_at > core_now(sl->v)) {
		return;
	} else if (c->next < STORE_FOLDERS) {
		c->listing = TRUE;
		store_content_list(sl->store, c->next, listed, sl);
	} else {
		sl->scrubbing = NULL;
		core_ctx_free(sl, c);
	}
}
