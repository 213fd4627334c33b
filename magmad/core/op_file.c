/* fallocate, seek, fsync, sync. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>
#include "magmad/core/core.h"

/* --- fallocate --- */

static guint64 allocated_end(const struct magma_req_fallocate *q) { return q->mode & FALLOC_FL_KEEP_SIZE ? 0 : q->offset + q->length; }

static void step_allocated(Op *op)
{
	const struct magma_req_fallocate *q = &op->req.req_fallocate;
	int failed = GPOINTER_TO_INT(op->data);
	FlareRow *row;

	if (!content_turn(op, q->fid.ino))
		return;
	g_autoptr(Draft) d = draft_new(op);
	int error = failed ? failed : draft_flare(d, &q->fid, &row);

	if (error == WAIT)
		return;
	content_end(op->sl, q->fid.ino, allocated_end(q));
	if (error) {
		op_error(op, error);
		return;
	}
	if (!(q->mode & FALLOC_FL_KEEP_SIZE))
		row->attr.size = MAX(row->attr.size, q->offset + q->length);
	if (q->mode & FALLOC_FL_PUNCH_HOLE)
		row->attr.blocks -= MIN(row->attr.blocks, q->length / 512);
	else
		row->attr.blocks = MIN(row->attr.blocks + content_blocks(q->length), content_blocks(MAX(row->attr.size, q->offset + q->length)));
	row->attr.mtime = row->attr.ctime = op->now;
	if (op->hdr.cred.uid)
		content_kill_priv(d, row);
	move_content_changed(op->sl, &q->fid);
	static const struct magma_rep_fallocate rep;
	draft_reply(g_steal_pointer(&d), &rep);
}

static void allocated(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	if (op->data_free)
		op->data_free(op->data);
	op->data = GINT_TO_POINTER(error);
	op->data_free = NULL;
	op->step = step_allocated;
	content_done(op, op->req.req_fallocate.fid.ino);
	op_run(op);
	core_leave(sl->v);
}

static int allocate(Op *op)
{
	const struct magma_req_fallocate *q = &op->req.req_fallocate;
	FlareRow row;
	int error = state_flare(op, &q->fid, &row);

	if (error)
		return error;
	if (!S_ISREG(row.attr.mode))
		return is_dir(row.attr.mode) ? EISDIR : ENODEV;
	if (q->mode & ~(guint32)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return EOPNOTSUPP;
	if (q->mode & FALLOC_FL_PUNCH_HOLE && (!(q->mode & FALLOC_FL_KEEP_SIZE) || q->mode & FALLOC_FL_ZERO_RANGE))
		return EOPNOTSUPP;
	if (!q->length || q->offset > (guint64)G_MAXINT64 || q->length > (guint64)G_MAXINT64 - q->offset)
		return q->length && q->offset <= (guint64)G_MAXINT64 ? EFBIG : EINVAL;
	if (!(q->mode & FALLOC_FL_PUNCH_HOLE) && core_no_room(op->sl))
		return ENOSPC;
	if (content_wait(op, q->fid.ino))
		return WAIT;
	if (row.content == CONTENT_INLINE)
		return content_convert(op, &row);
	if ((error = content_intent(op, &row)))
		return error;
	content_begin(op->sl, q->fid.ino, allocated_end(q));
	store_content_fallocate(op->sl->store, &q->fid, q->mode, q->offset, q->length, allocated, op);
	return WAIT;
}

void handle_fallocate(Op *op) { op_fail(op, allocate(op)); }

/* --- seek --- */

static void sought(void *user, int error, guint64 off)
{
	Op *op = user;
	Slice *sl = op->sl;
	const struct magma_req_seek *q = &op->req.req_seek;
	FlareRow row;

	core_enter(sl->v);
	if (state_flare(op, &q->fid, &row) == 0) {
		/* The end of the flare is the truth, wherever the file ends. */
		if (q->whence == SEEK_HOLE && (error == ENXIO || off > row.attr.size)) {
			error = 0;
			off = MAX(q->offset, MIN(off, row.attr.size));
			if (error == 0 && off < q->offset)
				off = q->offset;
		} else if (!error && off >= row.attr.size && q->whence == SEEK_DATA) {
			error = ENXIO;
		}
	}
	struct magma_rep_seek rep = { .offset = off };
	if (error)
		op_error(op, error);
	else
		op_reply(op, &rep, NULL);
	core_leave(sl->v);
}

void handle_seek(Op *op)
{
	const struct magma_req_seek *q = &op->req.req_seek;
	struct magma_rep_seek rep;
	FlareRow row;
	int error = state_flare(op, &q->fid, &row);

	if (!error && !S_ISREG(row.attr.mode))
		error = EINVAL;
	if (!error && q->whence != SEEK_DATA && q->whence != SEEK_HOLE)
		error = EINVAL;
	if (!error && q->offset >= row.attr.size)
		error = ENXIO;
	if (error) {
		op_finish(op, error);
		return;
	}
	const Dirty *dirty = g_hash_table_lookup(op->sl->dirty, &q->fid.ino);
	if (dirty && dirty->unrecovered) {
		op_error(op, dirty->unrecovered);
		return;
	}
	if (row.content == CONTENT_FILE) {
		store_content_seek(op->sl->store, &q->fid, q->offset, q->whence, sought, op);
		return;
	}
	rep.offset = q->whence == SEEK_DATA ? q->offset : row.attr.size;
	op_reply(op, &rep, NULL);
}

/* --- fsync: the content, the journal here, and the journal of the parent's owner --- */

typedef struct {
	guint waiting;
	int error;
	guint64 writes;               /* of the file when its sync began */
	gboolean file;
} Syncing;

static void sync_part_done(Op *op, int error)
{
	Syncing *s = op->data;
	Slice *sl = op->sl;
	const MagmaFid *fid = op->hdr.op == MAGMA_OP_fsync ? &op->req.req_fsync.fid : &op->req.req_sync.fid;

	if (error && !s->error)
		s->error = error == ETIMEDOUT ? EIO : error;
	if (--s->waiting)
		return;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &fid->ino);
	Busy *b = g_hash_table_lookup(sl->busy, &fid->ino);
	if (s->file && !s->error && dirty)
		s->error = dirty->unrecovered;
	/* The intent of a content that is written over and over stays until it rests (gc.c): the next one would have to be brought to disk first. */
	if (s->file && !s->error && dirty && dirty->writes == s->writes && !b && (dirty->born || dirty->inline_kept)) {
		Draft *d = draft_new(op);
		if (dirty->born)
			draft_dirty(d, fid, FALSE);
		draft_drop_inline(d, fid);
		dirty->inline_kept = FALSE;
		draft_commit(d);
	}
	op_finish(op, s->error);
}

static void part_synced(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	sync_part_done(op, error);
	core_leave(sl->v);
}

static void other_synced(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	part_synced(user, error);
}

enum { SYNC_LIMIT = 50 };      /* seconds; below the client's own 60 */

/* The names made in a directory are durable only with their flares: those may be anywhere. */
static void sync_others(Op *op, Syncing *s)
{
	Slice *sl = op->sl;

	for (guint i = 0; i < sl->v->map->slices->len; i++) {
		const MagmaSlice *o = &g_array_index(sl->v->map->slices, MagmaSlice, i);
		struct magma_req_sync q = { .fid = { .key = o->range.lo } };
		if (o->id == sl->id)          /* others of this volcano have a journal of their own */
			continue;
		s->waiting++;
		call_key(sl, &o->range.lo, MAGMA_OP_sync, &q, NULL, SYNC_LIMIT * SECOND, other_synced, op);
	}
}

void handle_fsync(Op *op)
{
	const struct magma_req_fsync *q = &op->req.req_fsync;
	Slice *sl = op->sl;
	FlareRow row;
	int error = state_flare(op, &q->fid, &row);

	if (error) {
		op_finish(op, error);
		return;
	}
	Syncing *s = g_new0(Syncing, 1);
	op->data = s;
	op->data_free = g_free;
	s->waiting = 1;
	if (is_dir(row.attr.mode))
		sync_others(op, s);
	if (core_place(sl, &row.parent.key) == ELSEWHERE) {
		struct magma_req_sync p = { .fid = row.parent };
		s->waiting++;
		call_key(sl, &p.fid.key, MAGMA_OP_sync, &p, NULL, SYNC_LIMIT * SECOND, other_synced, op);
	}
	if (row.content == CONTENT_FILE) {
		Dirty *dirty = g_hash_table_lookup(sl->dirty, &q->fid.ino);
		s->file = TRUE;
		s->writes = dirty ? dirty->writes : 0;
		s->waiting++;
		store_content_sync(sl->store, &q->fid, part_synced, op);
	} else if (S_ISREG(row.attr.mode)) {
		content_promised(sl, q->fid.ino);
	}
	store_sync(sl->store, part_synced, op);
}

void handle_sync(Op *op)
{
	Syncing *s = g_new0(Syncing, 1);

	op->data = s;
	op->data_free = g_free;
	s->waiting = 1;
	content_promised_all(op->sl);
	store_sync(op->sl->store, part_synced, op);
}
