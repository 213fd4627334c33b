/* Contents: open, release, read, write, truncate, fallocate, seek, fsync. Up to MAGMA_INLINE_MAX bytes live in TAB_DATA and change in the flare's own transaction; larger ones in a content
 * file. There the bytes are written first, then size and times and the reply are committed together. TAB_DIRTY, journalled before the first write, tells a restart which files to look at. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "magmad/core/core.h"

void content_busy_free(gpointer p)
{
	g_array_unref(((Busy *)p)->ends);
	g_free(p);
}

static Busy *busy_get(Slice *sl, guint64 ino) { return g_hash_table_lookup(sl->busy, &ino); }

Busy *content_begin(Slice *sl, guint64 ino, guint64 end)
{
	Busy *b = busy_get(sl, ino);

	if (!b) {
		b = g_new0(Busy, 1);
		b->ino = ino;
		b->ends = g_array_new(FALSE, FALSE, sizeof(guint64));
		g_queue_init(&b->wait.waiters);
		g_hash_table_insert(sl->busy, &b->ino, b);
	}
	b->running++;
	if (end)
		g_array_append_val(b->ends, end);
	return b;
}

void content_end(Slice *sl, guint64 ino, guint64 end)
{
	Busy *b = busy_get(sl, ino);
	guint i = 0;

	b->turn += !b->converting;
	b->converting = FALSE;
	if (end) {
		while (g_array_index(b->ends, guint64, i) != end)
			i++;
		g_array_remove_index_fast(b->ends, i);
	}
	waitq_wake(sl, &b->wait);
	if (!--b->running)
		g_hash_table_remove(sl->busy, &ino);
}

void content_done(Op *op, guint64 ino) { op->turn = busy_get(op->sl, ino)->ended++; }

gboolean content_turn(Op *op, guint64 ino)
{
	Busy *b = busy_get(op->sl, ino);

	if (op->turn == b->turn)
		return TRUE;
	op_park(op, &b->wait);
	return FALSE;
}

void content_cut_end(Slice *sl, guint64 ino)
{
	busy_get(sl, ino)->cutting--;
	content_end(sl, ino, 0);
}

gboolean content_wait(Op *op, guint64 ino)
{
	Busy *b = busy_get(op->sl, ino);

	if (!b || !b->converting)
		return FALSE;
	op_park(op, &b->wait);
	return TRUE;
}

/* Where an append goes: behind all that is under way. FALSE: not known before a truncation is done, or is not. */
static gboolean append_at(const Busy *b, const FlareRow *row, guint64 *offset)
{
	*offset = row->attr.size;
	for (guint i = 0; b && i < b->ends->len; i++)
		*offset = MAX(*offset, g_array_index(b->ends, guint64, i));
	return !b || !b->cutting;
}

gboolean core_no_room(Slice *sl)
{
	StoreUsage u;

	sl->store->vt->usage(sl->store, &u);
	return u.low;
}

/* A write by somebody without CAP_FSETID takes setuid, setgid and capabilities away. */
void content_kill_priv(Draft *d, FlareRow *row)
{
	guint8 k[STORE_KEY_MAX];

	row->attr.mode = magma_mode_killpriv(row->attr.mode);
	if (row->attr.flags & MAGMA_ATTR_HAS_CAPABILITY) {
		row->attr.flags &= ~(guint32)MAGMA_ATTR_HAS_CAPABILITY;
		txn_del(draft_txn(d), TAB_XATTR, k, key_ino_bytes(k, row->attr.fid.ino, (const guint8 *)CAPABILITY_XATTR, strlen(CAPABILITY_XATTR)), &row->attr.fid.key);
	}
}

guint64 content_blocks(guint64 bytes) { return bytes / 512 + (bytes % 512 != 0); }

/* --- inline contents --- */

int content_get_inline(Op *op, const FlareRow *row, const guint8 **val, gsize *n)
{
	guint8 k[STORE_KEY_MAX];

	*val = NULL;
	*n = 0;
	if (!row->attr.size)
		return 0;
	switch (store_get(op->sl->store, &op->fetch, TAB_DATA, k, key_ino(k, row->attr.fid.ino), val, n)) {
	case STORE_PENDING: return WAIT;
	case STORE_ABSENT: return EIO;
	case STORE_FOUND: break;
	}
	return *n == row->attr.size ? 0 : EIO;
}

void content_put_inline(Draft *d, FlareRow *row, const guint8 *p, gsize n)
{
	guint8 k[STORE_KEY_MAX];
	gsize kl = key_ino(k, row->attr.fid.ino);

	if (n)
		txn_put(draft_txn(d), TAB_DATA, k, kl, &row->attr.fid.key, p, n);
	else if (row->attr.size)
		txn_del(draft_txn(d), TAB_DATA, k, kl, &row->attr.fid.key);
	row->attr.size = n;
	row->attr.blocks = content_blocks(n);
}

int content_cut_inline(Op *op, Draft *d, const MagmaFid *fid, guint64 size)
{
	guint8 k[STORE_KEY_MAX];
	gsize kl = key_ino(k, fid->ino), n;
	const guint8 *val;

	switch (store_get(op->sl->store, &op->fetch, TAB_DATA, k, kl, &val, &n)) {
	case STORE_PENDING: return WAIT;
	case STORE_ABSENT: return 0;
	case STORE_FOUND: break;
	}
	if (!size)
		txn_del(draft_txn(d), TAB_DATA, k, kl, &fid->key);
	else if (size < n)
		txn_put(draft_txn(d), TAB_DATA, k, kl, &fid->key, val, size);
	return 0;
}

/* --- from inline to a file --- */

typedef struct {
	MagmaFid fid;
	int error;
	gboolean synced;
	void (*after)(Op *op);        /* the step that wanted the conversion */
} Converting;

/* As long as a file is made in one go there is nothing of it that anybody was promised. */
enum { BORN_JUST_NOW = 5, PROMISED_MAX = 65536 };

void content_promised_all(Slice *sl)
{
	MagmaTs to = sl->v->io->real(sl->v->iou);

	to.sec += BORN_JUST_NOW;      /* by a clock that is ahead */
	if (magma_ts_cmp(to, sl->promised_to) > 0)
		sl->promised_to = to;
}

void content_promised(Slice *sl, guint64 ino)
{
	if (g_hash_table_size(sl->promised) >= PROMISED_MAX) {
		g_hash_table_remove_all(sl->promised);
		content_promised_all(sl);
	}
	g_hash_table_add(sl->promised, g_memdup2(&ino, sizeof ino));
}

static gboolean was_promised(const Op *op, const MagmaAttr *a)
{
	return ABS(op->now.sec - a->btime.sec) >= BORN_JUST_NOW || magma_ts_cmp(a->btime, op->sl->promised_to) <= 0 || g_hash_table_contains(op->sl->promised, &a->fid.ino);
}

static void converted(void *user, int error);

static void step_converted(Op *op)
{
	Converting *c = op->data;
	Slice *sl = op->sl;
	FlareRow *row;
	g_autoptr(Draft) d = draft_new(op);
	int error = c->error ? c->error : draft_flare(d, &c->fid, &row);

	if (error == WAIT)
		return;
	/* now: an fsync that came meanwhile has found it inline, and been answered */
	if (!error && !c->synced && was_promised(op, &row->attr)) {
		c->synced = TRUE;
		store_content_sync(sl->store, &c->fid, converted, op);
		return;
	}
	if (!error) {
		row->content = CONTENT_FILE;
		draft_commit(g_steal_pointer(&d));
		move_content_changed(sl, &c->fid);
	}
	content_end(sl, c->fid.ino, 0);
	if (error) {
		store_content_drop(sl->store, &c->fid, move_ignore, NULL);      /* half of it must not be found by the next conversion */
		op_error(op, error);
		return;
	}
	op->step = c->after;
	g_clear_pointer(&op->data, op->data_free);
	op->data_free = NULL;
	op_run(op);
}

static void converted(void *user, int error)
{
	Op *op = user;

	op_completed(op, &((Converting *)op->data)->error, error, step_converted);
}

/* The inline copy stays in TAB_DATA until the file is known to be on disk: a power cut must not lose what was synced while it was inline. A restart sees by the size whether the file has it; but file systems bring sizes to the disk
 * before bytes (ext4, XFS), so what may have been promised is there before anything is put behind it. */
int content_convert(Op *op, const FlareRow *row)
{
	const guint8 *val;
	gsize n;
	Busy *b = busy_get(op->sl, row->attr.fid.ino);
	int error = content_get_inline(op, row, &val, &n);

	if (error)
		return error;
	if (b) {
		op_park(op, &b->wait);
		return WAIT;
	}
	if (!n) {
		const Dirty *had = g_hash_table_lookup(op->sl->dirty, &row->attr.fid.ino);
		FlareRow *changed;
		g_autoptr(Draft) d = draft_new(op);
		if (had && had->unrecovered)
			return had->unrecovered;
		if ((error = draft_flare(d, &row->attr.fid, &changed)))
			return error;
		changed->content = CONTENT_FILE;
		changed->intents++;
		draft_dirty(d, &changed->attr.fid, TRUE);
		draft_commit(g_steal_pointer(&d));
		((Dirty *)g_hash_table_lookup(op->sl->dirty, &row->attr.fid.ino))->durable = TRUE;
		op_run(op);
		return WAIT;
	}
	/* The intent first: a restart that finds it on a flare that is still inline removes the half-made file. */
	if ((error = content_intent(op, row)))
		return error;
	b = content_begin(op->sl, row->attr.fid.ino, 0);
	b->converting = TRUE;
	if (op->data_free)
		op->data_free(op->data);
	Converting *c = op->data = g_new0(Converting, 1);
	c->fid = row->attr.fid;
	c->after = op->step;
	op->data_free = g_free;
	g_autoptr(GBytes) bytes = g_bytes_new(val, n);
	store_content_write(op->sl->store, &row->attr.fid, 0, bytes, converted, op);
	return WAIT;
}

typedef struct {
	Slice *sl;
	guint64 ino;
} Cutting;

static void cut_durable(void *user, int error)
{
	Cutting *c = user;
	Slice *sl = c->sl;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &c->ino);

	core_enter(sl->v);
	if (dirty && (error || dirty->cut_error)) {
		dirty->cut = FALSE;
		dirty->cut_failed = error ? error : dirty->cut_error;
		dirty->cut_failed_at = core_now(sl->v);
	}
	if (dirty)
		dirty->cutting = FALSE;
	core_ctx_free(sl, c);
	waitq_wake(sl, &sl->ack_wait);
	core_leave(sl->v);
}

/* The next write to it tries again. */
static void tail_cut(void *user, int error)
{
	Cutting *c = user;
	Slice *sl = c->sl;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &c->ino);

	core_enter(sl->v);
	if (dirty && error && dirty->cutting)
		dirty->cut_error = error;
	else if (dirty && error)
		dirty->cut = FALSE;
	core_ctx_free(sl, c);
	core_leave(sl->v);
}

static Cutting *cutting_new(Slice *sl, guint64 ino)
{
	Cutting *c = CORE_CTX(sl, Cutting, NULL);

	*c = (Cutting){ sl, ino };
	return c;
}

/* A power cut may take a write's rows, its intent too, and leave its bytes: behind the row's size they would show in the next hole. Whether a flare was born since then nobody can say: its birth is told by
 * another volcano's clock, or by one that has been set since. Below a flare that is still inline they go on disk too: the next power cut would bring them back, and a restart take them for what was written
 * after the conversion (gc.c). */
static void cut_tail(Slice *sl, Dirty *dirty, const FlareRow *row)
{
	const MagmaFid fid = row->attr.fid;

	/* not behind a write whose row is still to come */
	if (dirty->cut || busy_get(sl, fid.ino))
		return;
	dirty->cut = TRUE;
	dirty->cut_error = dirty->cut_failed = 0;
	dirty->cutting = row->content == CONTENT_INLINE && sl->unclean;
	store_content_truncate(sl->store, &fid, row->content == CONTENT_FILE ? row->attr.size : 0, tail_cut, cutting_new(sl, fid.ino));
	if (dirty->cutting)
		store_content_sync(sl->store, &fid, cut_durable, cutting_new(sl, fid.ino));
}

static gboolean has_copies(const Slice *sl)
{
	const MagmaSlice *s = magma_map_slice_by_id(sl->v->map, sl->id);

	return s && s->ncopies;
}

typedef struct {
	Slice *sl;
	guint64 ino, index;           /* of the intent */
} Intending;

static void intent_durable(void *user, int error)
{
	Intending *c = user;
	Slice *sl = c->sl;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &c->ino);

	core_enter(sl->v);
	if (dirty && dirty->making_durable && dirty->index == c->index) {
		dirty->making_durable = FALSE;
		dirty->durable = !error;
		dirty->failed = error;
		dirty->failed_at = core_now(sl->v);
	}
	core_ctx_free(sl, c);
	waitq_wake(sl, &sl->ack_wait);
	core_leave(sl->v);
}

/* Rule 7: a power cut of all machines may leave bytes of a write on one disk and not on the other, and it is the intent that has them compared: it must not be lost where they are not. So it is on disk everywhere
 * before the first byte; it stays for a while (gc.c), so that only the first write to a content that was at rest waits for this. A content that was inline needs none: what a power cut takes of the journal
 * takes the conversion with the intent, and then the file is nobody's. 0, WAIT or the errno of a sync. */
static int make_durable(Op *op, Dirty *dirty)
{
	Slice *sl = op->sl;

	if (dirty->durable)
		return 0;
	if (!dirty->making_durable && dirty->failed && core_now(sl->v) - dirty->failed_at < SYNC_AGAIN)
		return dirty->failed;
	if (!dirty->making_durable) {
		Intending *c = CORE_CTX(sl, Intending, NULL);
		*c = (Intending){ sl, dirty->fid.ino, dirty->index };
		dirty->making_durable = TRUE;
		store_sync(sl->store, intent_durable, c);
	}
	op_park(op, &sl->ack_wait);
	return WAIT;
}

/* A file whose write intent is in the journal, and on disk where that matters. 0, WAIT or an errno. */
int content_intent(Op *op, const FlareRow *row)
{
	int error;
	Slice *sl = op->sl;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &row->attr.fid.ino);

	if (!dirty) {
		FlareRow *changed;
		g_autoptr(Draft) d = draft_new(op);
		int error = draft_flare(d, &row->attr.fid, &changed);
		if (error)
			return error;
		changed->intents++;
		draft_dirty(d, &row->attr.fid, TRUE);
		draft_commit(g_steal_pointer(&d));
		dirty = g_hash_table_lookup(sl->dirty, &row->attr.fid.ino);
		dirty->born = dirty->inline_kept = row->content == CONTENT_INLINE;
		dirty->durable = dirty->born || !has_copies(sl);
	}
	if (dirty->unrecovered)
		return dirty->unrecovered;
	if (dirty->index > store_acked(sl->store)) {
		op_park(op, &sl->ack_wait);
		return WAIT;
	}
	if ((error = make_durable(op, dirty)))
		return error;
	if (dirty->cut_failed && core_now(sl->v) - dirty->cut_failed_at < SYNC_AGAIN)
		return dirty->cut_failed;
	cut_tail(sl, dirty, row);
	if (dirty->cutting) {
		op_park(op, &sl->ack_wait);
		return WAIT;
	}
	dirty->writes++;
	dirty->last = core_now(sl->v);
	return 0;
}

/* --- write --- */

typedef struct {
	MagmaFid fid;
	guint64 offset, end;
	int error;
} Writing;

static void reply_synced(void *user, int error)
{
	Op *op = user;

	op_answer(op, error, op->data, NULL);
}

static void content_synced(void *user, int error)
{
	Op *op = user;

	if (error)
		reply_synced(user, error);
	else
		store_sync(op->sl->store, reply_synced, op);
}

/* The row is committed in the order in which the content operations ended; only the answer waits for the disk. */
static void finish_write(Op *op, Draft *d, guint64 offset, guint64 size, gboolean file)
{
	struct magma_rep_write rep = { .offset = offset, .size = size };
	MagmaFid fid = op->req.req_write.fid;

	if (!(op->req.req_write.flags & MAGMA_WRITE_DSYNC)) {
		draft_reply(d, &rep);
		return;
	}
	draft_store_reply(d, &rep);
	if (!file)
		content_promised(op->sl, fid.ino);
	if (op->data_free)
		op->data_free(op->data);
	op->data = g_memdup2(&rep, sizeof rep);
	op->data_free = g_free;
	if (file)
		store_content_sync(op->sl->store, &fid, content_synced, op);
	else
		content_synced(op, 0);
}

static int write_inline(Op *op, const FlareRow *have, guint64 offset)
{
	const struct magma_req_write *q = &op->req.req_write;
	guint8 bytes[MAGMA_INLINE_MAX];
	const guint8 *val;
	gsize n;
	FlareRow *row;
	g_autoptr(Draft) d = draft_new(op);
	int error = content_get_inline(op, have, &val, &n);

	if (error || (error = draft_flare(d, &q->fid, &row)))
		return error;
	if (n)
		memcpy(bytes, val, n);
	if (offset > n)
		memset(bytes + n, 0, offset - n);
	memcpy(bytes + offset, q->data.data, q->data.len);
	content_put_inline(d, row, bytes, MAX(n, offset + q->data.len));
	row->attr.mtime = row->attr.ctime = op->now;
	if (q->flags & MAGMA_WRITE_KILLPRIV)
		content_kill_priv(d, row);
	guint64 size = row->attr.size;
	finish_write(op, g_steal_pointer(&d), offset, size, FALSE);
	return 0;
}

static void step_written(Op *op)
{
	const struct magma_req_write *q = &op->req.req_write;
	Writing *w = op->data;
	Slice *sl = op->sl;
	FlareRow *row;

	if (!content_turn(op, w->fid.ino))
		return;
	g_autoptr(Draft) d = draft_new(op);
	int error = w->error ? w->error : draft_flare(d, &w->fid, &row);

	if (error == WAIT)
		return;
	if (error) {
		Dirty *dirty = g_hash_table_lookup(sl->dirty, &w->fid.ino);
		if (dirty)
			dirty->cut = FALSE;   /* a part of it may be there, behind the row's size */
		content_end(sl, w->fid.ino, w->end);
		op_error(op, error);
		return;
	}
	row->attr.size = MAX(row->attr.size, w->end);
	row->attr.blocks = MIN(row->attr.blocks + content_blocks(q->data.len), content_blocks(row->attr.size));
	row->attr.mtime = row->attr.ctime = op->now;
	if (q->flags & MAGMA_WRITE_KILLPRIV)
		content_kill_priv(d, row);
	move_content_changed(sl, &w->fid);
	guint64 ino = w->fid.ino, size = row->attr.size, offset = w->offset, end = w->end;
	finish_write(op, g_steal_pointer(&d), offset, size, TRUE);
	content_end(sl, ino, end);
}

static void written(void *user, int error)
{
	Op *op = user;
	Writing *w = op->data;

	content_done(op, w->fid.ino);
	op_completed(op, &w->error, error, step_written);
}

static int write_file(Op *op, const FlareRow *row, guint64 offset)
{
	const struct magma_req_write *q = &op->req.req_write;
	int error = content_intent(op, row);

	if (error)
		return error;
	Writing *w = g_new0(Writing, 1);
	w->fid = row->attr.fid;
	w->offset = offset;
	w->end = offset + q->data.len;
	if (op->data_free)
		op->data_free(op->data);
	op->data = w;
	op->data_free = g_free;
	content_begin(op->sl, w->fid.ino, w->end);
	/* A slice of the message: no copy. */
	gsize n;
	const guint8 *base = g_bytes_get_data(op->msg, &n);
	g_autoptr(GBytes) bytes = g_bytes_new_from_bytes(op->msg, q->data.data - base, q->data.len);
	store_content_write(op->sl->store, &w->fid, offset, bytes, written, op);
	return WAIT;
}

static int write_(Op *op)
{
	const struct magma_req_write *q = &op->req.req_write;
	FlareRow row;
	int error = state_flare(op, &q->fid, &row);

	if (error)
		return error;
	if (!S_ISREG(row.attr.mode))
		return is_dir(row.attr.mode) ? EISDIR : EINVAL;
	if (content_wait(op, q->fid.ino))
		return WAIT;
	if (core_no_room(op->sl))
		return ENOSPC;
	Busy *b = busy_get(op->sl, q->fid.ino);
	guint64 offset = q->offset;
	if (q->flags & MAGMA_WRITE_APPEND && !append_at(b, &row, &offset)) {
		op_park(op, &b->wait);
		return WAIT;
	}
	if (offset > (guint64)G_MAXINT64 - q->data.len)
		return EFBIG;
	if (row.content == CONTENT_FILE)
		return write_file(op, &row, offset);
	if (offset + q->data.len <= MAGMA_INLINE_MAX)
		return write_inline(op, &row, offset);
	return content_convert(op, &row);
}

void handle_write(Op *op) { op_fail(op, write_(op)); }

/* --- read --- */

enum { ATIME_AFTER = 24 * 3600 };

/* relatime (mount(8)): once after each change, else once a day. */
static void touch_atime(Op *op, const FlareRow *have)
{
	const MagmaAttr *a = &have->attr;
	FlareRow *row;

	if (magma_ts_cmp(a->atime, a->mtime) > 0 && magma_ts_cmp(a->atime, a->ctime) > 0 && op->now.sec - a->atime.sec < ATIME_AFTER)
		return;
	if (core_no_room(op->sl))
		return;
	g_autoptr(Draft) d = draft_new(op);
	if (draft_flare(d, &a->fid, &row))
		return;
	row->attr.atime = op->now;
	draft_commit(g_steal_pointer(&d));
}

static void read_done(void *user, int error, GBytes *data)
{
	Op *op = user;
	Slice *sl = op->sl;
	guint64 want = GPOINTER_TO_SIZE(op->data);
	g_autoptr(GBytes) whole = NULL;

	core_enter(sl->v);
	if (error) {
		op_error(op, error);
	} else {
		gsize n;
		const guint8 *p = g_bytes_get_data(data, &n);
		if (n < want) {         /* the file is shorter than the flare: a hole at its end */
			guint8 *copy = g_malloc0(want);
			if (n)
				memcpy(copy, p, n);
			whole = g_bytes_new_take(copy, want);
		} else {
			whole = g_bytes_ref(data);
		}
		struct magma_rep_read rep = { .data = { NULL, want } };
		op_reply(op, &rep, whole);
	}
	core_leave(sl->v);
}

static int read_(Op *op)
{
	static const struct magma_rep_read nothing;
	const struct magma_req_read *q = &op->req.req_read;
	const guint8 *val;
	gsize n;
	FlareRow row;
	int error = state_flare(op, &q->fid, &row);

	if (error)
		return error;
	if (!S_ISREG(row.attr.mode))
		return is_dir(row.attr.mode) ? EISDIR : EINVAL;
	if (q->offset >= row.attr.size || !q->size) {
		op_reply(op, &nothing, NULL);
		return 0;
	}
	guint32 want = MIN(MIN(q->size, MAGMA_DATA_MAX), row.attr.size - q->offset);
	if (row.content == CONTENT_FILE) {
		const Dirty *dirty = g_hash_table_lookup(op->sl->dirty, &q->fid.ino);
		if (dirty && dirty->unrecovered)
			return dirty->unrecovered;
		touch_atime(op, &row);
		op->data = GSIZE_TO_POINTER(want);
		store_content_read(op->sl->store, &q->fid, q->offset, want, read_done, op);
		return WAIT;
	}
	if ((error = content_get_inline(op, &row, &val, &n)))
		return error;
	g_autoptr(GBytes) data = g_bytes_new(val + q->offset, want);
	touch_atime(op, &row);
	struct magma_rep_read rep = { .data = { NULL, want } };
	op_reply(op, &rep, data);
	return 0;
}

void handle_read(Op *op) { op_fail(op, read_(op)); }
