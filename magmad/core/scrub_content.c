/* Content files of no flare: a power cut may bring a removed file back whose row is gone, or take the row of one that was just made. After a stop that was none all files are looked through. */
#include "magmad/core/core.h"

enum { LOOK_PER_TICK = 64 };       /* ten ticks a second while there is work, each second one lists: some 300 a second */

typedef struct {
	guint next;                   /* folder to be listed */
	gboolean listing;
	GArray *fids;                 /* MagmaFid, listed and not yet looked at */
	guint looking;
} Contents;

static void contents_clear(gpointer p) { g_array_unref(((Contents *)p)->fids); }

void scrub_contents_begin(Volcano *v)
{
	Contents *c = CORE_CTX(v, Contents, contents_clear);

	c->fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	v->scrubbing = c;
}

gboolean scrub_contents_left(Volcano *v) { return v->scrubbing != NULL; }

typedef struct {
	MagmaFid fid;
	gboolean known;               /* exists and size are the file's */
	gboolean emptied;             /* on disk */
	gboolean exists;
	guint64 size;
} Look;

static void look_end(Op *op)
{
	((Contents *)op->v->scrubbing)->looking--;
	op_drop(op);
}

static void dropped(void *user, int error)
{
	Op *op = user;
	Volcano *v = op->v;
	Look *l = op->data;

	core_enter(v);
	if (error) {
		core_say(v, "content file of flare %" G_GUINT64_FORMAT ", which is not there, cannot be removed: %s", l->fid.ino, g_strerror(error));
	} else {
		core_say(v, "after a power cut: content file of flare %" G_GUINT64_FORMAT " (%" G_GUINT64_FORMAT " bytes), which is not there or has its content in its row: removed", l->fid.ino, l->size);
		v->stats.scrubbed_contents++;
	}
	look_end(op);
	core_leave(v);
}

static void emptied(void *user, int error)
{
	Op *op = user;
	Volcano *v = op->v;

	core_enter(v);
	((Look *)op->data)->emptied = TRUE;
	op_run(op);
	core_leave(v);
}

static void cut(void *user, int error)
{
	Op *op = user;

	if (error)
		dropped(user, error);
	else
		store_content_sync(op->v->store, &((Look *)op->data)->fid, emptied, op);
}

static void sized(void *user, int error, const StoreContentStat *st)
{
	Op *op = user;
	Volcano *v = op->v;
	Look *l = op->data;

	core_enter(v);
	l->known = TRUE;
	l->exists = !error && st->exists;
	l->size = l->exists ? st->size : 0;
	op_run(op);
	core_leave(v);
}

/* Looked at and emptied, or dropped, in one turn, and operations on one content keep their order: what needs a file later makes it anew. A file that is being made has its intent in the
 * journal before its first byte, one that is being removed its orphan row until after the last. Emptied on disk before it is removed: should the next power cut bring it back once more, it
 * is an empty one, and not taken for what the flare has in a file by then. */
static void step_look(Op *op)
{
	Volcano *v = op->v;
	Look *l = op->data;
	guint64 ino = l->fid.ino;
	FlareRow row;
	int error = state_flare(op, &l->fid, &row);

	if (error == WAIT)
		return;
	gboolean stray = error == ESTALE || (!error && row.content != CONTENT_FILE);
	if (!stray || g_hash_table_contains(v->dirty, &ino) || g_hash_table_contains(v->orphans, &ino) || g_hash_table_contains(v->busy, &ino)
		|| mark_count_all(v, ino) || v->purging || v->map->move.id || v->move || (l->known && !l->exists))
		look_end(op);
	else if (!l->known)
		store_content_stat(v->store, &l->fid, sized, op);
	else if (!l->emptied)
		store_content_truncate(v->store, &l->fid, 0, cut, op);
	else
		store_content_drop(v->store, &l->fid, dropped, op);
}

static void listed(void *user, int error, const MagmaFid *fids, guint n, guint next)
{
	Volcano *v = user;
	Contents *c = v->scrubbing;

	core_enter(v);
	c->listing = FALSE;
	if (error)
		core_say(v, "content files cannot be listed: %s", g_strerror(error));
	c->next = error ? STORE_FOLDERS : next;
	if (n)
		g_array_append_vals(c->fids, fids, n);
	core_leave(v);
}

static void look(Volcano *v, Contents *c)
{
	guint n = MIN(c->fids->len, (guint)LOOK_PER_TICK);

	for (guint i = 0; i < n; i++) {
		MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_names };
		Op *op = op_new(v, &h, NULL, NULL, NULL);
		Look *l = op->data = g_new0(Look, 1);
		l->fid = g_array_index(c->fids, MagmaFid, c->fids->len - 1 - i);
		op->data_free = g_free;
		op->step = step_look;
		c->looking++;
		op_run(op);
	}
	g_array_set_size(c->fids, c->fids->len - n);
}

void scrub_contents_tick(Volcano *v)
{
	Contents *c = v->scrubbing;

	/* what is being moved or purged has files without rows, and rows without files */
	if (!c || c->listing || c->looking || v->purging || v->map->move.id || v->move)
		return;
	if (c->fids->len) {
		look(v, c);
	} else if (c->next < STORE_FOLDERS) {
		c->listing = TRUE;
		store_content_list(v->store, c->next, listed, v);
	} else {
		v->scrubbing = NULL;
		core_ctx_free(v, c);
	}
}
