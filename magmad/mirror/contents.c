/* Content operations of the owner: begun here and put into the feed. done means done here; the frames that are committed after it wait for it at the copies, so an acknowledgement means it too.
 * What a read shows is held back until every copy that counts has the operations it shows. */
#include "magmad/mirror/owner-inside.h"

typedef struct {
	Owner *o;
	guint64 seq;
	MagmaFid fid;
	guint64 from, end;            /* what it may change */
	void (*done)(void *user, int error);
	void *user;
} ContentOp;

typedef struct {
	Owner *o;
	MagmaFid fid;
	guint64 off, len;
	guint64 seq;                  /* the feed up to here must be everywhere */
	int error;
	gboolean rescued;             /* a copy was asked */
	GBytes *data;                 /* once it was read */
	gboolean ready;
	void (*done)(void *user, int error, GBytes *data);
	void *user;
} HeldRead;


/* --- operations that change something --- */

static void content_done(void *user, int error)
{
	ContentOp *op = user;
	Owner *o = op->o;

	if (!o->dead) {
		feed_content_done(&o->feed, op->seq);
		FeedItem *item = error ? feed_at(&o->feed, op->seq) : NULL;
		if (item)
			item->failed = TRUE;
		if (error)            /* the copies may have done it */
			contents_suspect(o, &op->fid, op->from, op->end);
		op->done(op->user, error);
	}
	owner_unref(o);
	g_slice_free(ContentOp, op);
}

/* Before what the log held at the start is acknowledged, the write intents in it are not at every copy: what is asked for waits. */
typedef struct {
	ContentWhat what;
	MagmaFid fid;
	guint64 off, len;
	guint32 mode;
	GBytes *data;
	void (*done)(void *user, int error);
	void *user;
} EarlyOp;

static gboolean settled(Owner *o) { return store_acked(o->local) >= o->start_index; }

static gboolean too_early(Owner *o, ContentWhat what, const MagmaFid *fid, guint64 off, guint64 len, guint32 mode, GBytes *data, void (*done)(void *, int), void *user)
{
	rescue_touched(o, fid);
	if (what == DO_DROP)
		rescue_forget(o, fid);
	if (settled(o) && !o->early.length)
		return FALSE;
	EarlyOp *e = g_slice_new(EarlyOp);
	*e = (EarlyOp){ what, *fid, off, len, mode, data ? g_bytes_ref(data) : NULL, done, user };
	g_queue_push_tail(&o->early, e);
	return TRUE;
}

static void early_free(EarlyOp *e)
{
	if (e->data)
		g_bytes_unref(e->data);
	g_slice_free(EarlyOp, e);
}

static ContentOp *op_new(Owner *o, ContentWhat what, const MagmaFid *fid, guint64 off, guint64 len, guint32 mode, GBytes *data, void (*done)(void *, int), void *user)
{
	ContentOp *op = g_slice_new(ContentOp);

	guint64 end = what == DO_WRITE || what == DO_FALLOCATE ? off + MIN(len, G_MAXUINT64 - off) : G_MAXUINT64;
	*op = (ContentOp){ owner_ref(o), feed_add_content(&o->feed, what, fid, off, len, mode, data), *fid, off, end, done, user };
	return op;
}

static void content_write(Store *s, const MagmaFid *fid, guint64 off, GBytes *data, void (*done)(void *, int), void *user)
{
	Owner *o = owner_of(s);

	if (too_early(o, DO_WRITE, fid, off, g_bytes_get_size(data), 0, data, done, user))
		return;
	if (!owner_feeds(o)) {
		pass_write(o, fid, off, data, done, user);
		return;
	}
	ContentOp *op = op_new(o, DO_WRITE, fid, off, g_bytes_get_size(data), 0, data, done, user);
	store_content_write(o->local, fid, off, data, content_done, op);
}

static void content_truncate(Store *s, const MagmaFid *fid, guint64 size, void (*done)(void *, int), void *user)
{
	Owner *o = owner_of(s);

	if (too_early(o, DO_TRUNCATE, fid, size, 0, 0, NULL, done, user))
		return;
	if (!owner_feeds(o)) {
		pass_truncate(o, fid, size, done, user);
		return;
	}
	ContentOp *op = op_new(o, DO_TRUNCATE, fid, size, 0, 0, NULL, done, user);
	store_content_truncate(o->local, fid, size, content_done, op);
}

static void content_fallocate(Store *s, const MagmaFid *fid, guint32 mode, guint64 off, guint64 len, void (*done)(void *, int), void *user)
{
	Owner *o = owner_of(s);

	if (too_early(o, DO_FALLOCATE, fid, off, len, mode, NULL, done, user))
		return;
	if (!owner_feeds(o)) {
		pass_fallocate(o, fid, mode, off, len, done, user);
		return;
	}
	ContentOp *op = op_new(o, DO_FALLOCATE, fid, off, len, mode, NULL, done, user);
	store_content_fallocate(o->local, fid, mode, off, len, content_done, op);
}

static void content_drop(Store *s, const MagmaFid *fid, void (*done)(void *, int), void *user)
{
	Owner *o = owner_of(s);

	if (too_early(o, DO_DROP, fid, 0, 0, 0, NULL, done, user))
		return;
	if (!owner_feeds(o)) {
		pass_drop(o, fid, done, user);
		return;
	}
	ContentOp *op = op_new(o, DO_DROP, fid, 0, 0, 0, NULL, done, user);
	store_content_drop(o->local, fid, content_done, op);
}

/* --- contents that may differ --- */

gboolean contents_equal(Owner *o, const MagmaFid *fid)
{
	if (!o->suspects_known || !settled(o))
		return FALSE;
	if (!g_hash_table_contains(o->suspects, fid))
		return TRUE;
	for (guint i = 0; i < o->copies->len; i++) {
		const Copy *c = o->copies->pdata[i];
		if (c->counted && (!c->compared || c->todo_unknown || catchup_todo_has(c, fid)))
			return FALSE;
	}
	return TRUE;
}

void contents_suspect(Owner *o, const MagmaFid *fid, guint64 from, guint64 end)
{
	if (!g_hash_table_contains(o->suspects, fid))
		g_hash_table_add(o->suspects, g_memdup2(fid, sizeof *fid));
	for (guint i = 0; i < o->copies->len; i++) {
		catchup_todo_region(o->copies->pdata[i], fid, from, end);
		catchup_hold(o->copies->pdata[i]);
	}
}

/* --- reads --- */

static void held_free(HeldRead *h)
{
	if (h->data)
		g_bytes_unref(h->data);
	owner_unref(h->o);
	g_slice_free(HeldRead, h);
}

static gboolean everywhere(Owner *o, guint64 seq)
{
	for (guint i = 0; i < o->copies->len; i++) {
		const Copy *c = o->copies->pdata[i];
		if (c->counted && c->acked_seq < seq)
			return FALSE;
	}
	return o->told;
}

static gboolean read_settled(HeldRead *h) { return everywhere(h->o, h->seq) && contents_equal(h->o, &h->fid); }

static void rescue_done(void *user, int error, GBytes *data);

/* What failed here is not asked of a copy before it is the same everywhere. */
static void held_settled(HeldRead *h)
{
	if (rescue_may(h->error) && !h->rescued && h->len <= MAGMA_DATA_MAX) {
		h->rescued = TRUE;
		rescue_begin(h->o, &h->fid, h->off, h->len, h->error, 0, rescue_done, h);
		return;
	}
	h->done(h->user, h->error, h->data);
	held_free(h);
}

static void read_came(HeldRead *h, int error, GBytes *data)
{
	Owner *o = h->o;

	h->error = error;
	h->data = data ? g_bytes_ref(data) : NULL;
	if (o->dead || o->deposed)
		held_free(h);
	else if (read_settled(h))
		held_settled(h);
	else
		g_ptr_array_add(o->held, h);
}

static void read_done(void *user, int error, GBytes *data) { read_came(user, error, data); }

static gboolean touching(Owner *o, HeldRead *h)
{
	guint64 seq = 0;
	gboolean some = feed_touching(&o->feed, &h->fid, h->off, h->off + MIN(h->len, G_MAXUINT64 - h->off), &seq);

	h->seq = some ? seq + 1 : 0;
	return some;
}

/* A copy shows what was begun up to now. */
static void rescue_done(void *user, int error, GBytes *data)
{
	HeldRead *h = user;

	touching(h->o, h);
	read_came(h, error, data);
}

void contents_rescue(Owner *o, const MagmaFid *fid, guint64 off, guint64 len, int error, void (*done)(void *, int, GBytes *), void *user)
{
	HeldRead *h = g_slice_new0(HeldRead);

	*h = (HeldRead){ .o = owner_ref(o), .fid = *fid, .off = off, .len = len, .done = done, .user = user };
	read_came(h, error, NULL);
}

static void content_read(Store *s, const MagmaFid *fid, guint64 off, guint32 len, void (*done)(void *, int, GBytes *), void *user)
{
	Owner *o = owner_of(s);
	HeldRead try = { .fid = *fid, .off = off, .len = len };

	if (!touching(o, &try) && o->told && contents_equal(o, fid)) {
		rescue_read(o, fid, off, len, done, user);
		return;
	}
	HeldRead *h = g_slice_new0(HeldRead);
	*h = (HeldRead){ .o = owner_ref(o), .fid = *fid, .off = off, .len = len, .seq = try.seq, .done = done, .user = user };
	store_content_read(o->local, fid, off, len, read_done, h);
}

static void early_run(Owner *o)
{
	GQueue all = o->early;
	EarlyOp *e;

	g_queue_init(&o->early);
	while ((e = g_queue_pop_head(&all))) {
		Store *s = &o->base;
		if (o->dead) {
		} else if (e->what == DO_WRITE) {
			content_write(s, &e->fid, e->off, e->data, e->done, e->user);
		} else if (e->what == DO_TRUNCATE) {
			content_truncate(s, &e->fid, e->off, e->done, e->user);
		} else if (e->what == DO_FALLOCATE) {
			content_fallocate(s, &e->fid, e->mode, e->off, e->len, e->done, e->user);
		} else {
			content_drop(s, &e->fid, e->done, e->user);
		}
		early_free(e);
	}
}

void contents_update(Owner *o)
{
	if (o->early.length && settled(o))
		early_run(o);
	for (guint i = 0; i < o->held->len && !o->dead; ) {
		HeldRead *h = o->held->pdata[i];
		if (!read_settled(h)) {
			i++;
			continue;
		}
		g_ptr_array_remove_index(o->held, i);
		held_settled(h);
	}
}

void contents_end(Owner *o)
{
	for (guint i = 0; i < o->held->len; i++)
		held_free(o->held->pdata[i]);
	g_ptr_array_set_size(o->held, 0);
	while (o->early.length)
		early_free(g_queue_pop_head(&o->early));
}

void contents_vt(StoreVt *vt)
{
	vt->content_read = content_read;
	vt->content_write = content_write;
	vt->content_truncate = content_truncate;
	vt->content_fallocate = content_fallocate;
	vt->content_drop = content_drop;
}
