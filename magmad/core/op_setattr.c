/* setattr, and opens that truncate: owner, mode, times, size. */
#include <fcntl.h>
#include "magmad/core/core.h"

typedef struct {
	MagmaFid fid;
	guint32 mask;
	guint64 size;
	int error;
	gboolean truncated;
} Setting;

static Setting setting_from(const Op *op)
{
	const struct magma_req_setattr *q = &op->req.req_setattr;

	if (op->hdr.op == MAGMA_OP_open)
		return (Setting){ .fid = op->req.req_open.fid, .mask = MAGMA_SET_SIZE | MAGMA_SET_BY_HANDLE };
	return (Setting){ .fid = q->fid, .mask = q->mask, .size = q->size };
}

static Setting *setting_of(Op *op)
{
	Setting *s = op->data;

	if (s)
		return s;
	s = g_new(Setting, 1);
	*s = setting_from(op);
	op->data = s;
	op->data_free = g_free;
	return s;
}

static int may_set_times(Op *op, const FlareRow *row, guint32 mask)
{
	const MagmaCred *c = &op->hdr.cred;

	if (!(mask & (MAGMA_SET_ATIME | MAGMA_SET_MTIME | MAGMA_SET_ATIME_NOW | MAGMA_SET_MTIME_NOW)) || c->uid == 0 || c->uid == row->attr.uid)
		return 0;
	/* Only "both to now" is for whoever may write (utimensat(2)). */
	if (mask & (MAGMA_SET_ATIME | MAGMA_SET_MTIME) || (mask & (MAGMA_SET_ATIME_NOW | MAGMA_SET_MTIME_NOW)) != (MAGMA_SET_ATIME_NOW | MAGMA_SET_MTIME_NOW))
		return EPERM;
	return state_perm(op, row, MAGMA_W);
}

static int may_set_size(Op *op, const FlareRow *row, const Setting *s)
{
	if (!(s->mask & MAGMA_SET_SIZE))
		return 0;
	if (!S_ISREG(row->attr.mode))
		return is_dir(row->attr.mode) ? EISDIR : EINVAL;
	if (s->size > (guint64)G_MAXINT64)
		return EFBIG;
	if (s->size > row->attr.size && core_no_room(op->sl))
		return ENOSPC;
	return s->mask & MAGMA_SET_BY_HANDLE ? 0 : state_perm(op, row, MAGMA_W);
}

/* All checks, with the mode as it may be set. */
static int may_set(Op *op, const FlareRow *row, const Setting *s, guint32 *mode)
{
	const struct magma_req_setattr *q = &op->req.req_setattr;
	guint32 uid = s->mask & MAGMA_SET_UID ? q->uid : (guint32)-1, gid = s->mask & MAGMA_SET_GID ? q->gid : (guint32)-1;
	int error = 0;

	if (s->mask & MAGMA_SET_MODE) {
		*mode = (row->attr.mode & S_IFMT) | (q->mode & 07777);
		error = magma_perm_chmod(&op->hdr.cred, &row->attr, mode);
	}
	if (!error && s->mask & (MAGMA_SET_UID | MAGMA_SET_GID))
		error = magma_perm_chown(&op->hdr.cred, &row->attr, uid, gid);
	if (!error)
		error = may_set_times(op, row, s->mask);
	return error ? error : may_set_size(op, row, s);
}

static void set_times(Op *op, FlareRow *row, guint32 mask)
{
	const struct magma_req_setattr *q = &op->req.req_setattr;

	if (mask & MAGMA_SET_ATIME_NOW)
		row->attr.atime = op->now;
	else if (mask & MAGMA_SET_ATIME)
		row->attr.atime = q->atime;
	if (mask & MAGMA_SET_MTIME_NOW)
		row->attr.mtime = op->now;
	else if (mask & MAGMA_SET_MTIME)
		row->attr.mtime = q->mtime;
}

static void set_row(Op *op, Draft *d, FlareRow *row, const Setting *s, guint32 mode)
{
	const struct magma_req_setattr *q = &op->req.req_setattr;

	if (s->mask & MAGMA_SET_SIZE) {
		row->attr.mtime = op->now;
		if (op->hdr.cred.uid || s->mask & MAGMA_SET_KILLPRIV)
			content_kill_priv(d, row);
	}
	if (s->mask & (MAGMA_SET_UID | MAGMA_SET_GID) && !is_dir(row->attr.mode))
		content_kill_priv(d, row);          /* chown(2): whoever asks */
	if (s->mask & MAGMA_SET_UID && q->uid != (guint32)-1)
		row->attr.uid = q->uid;
	if (s->mask & MAGMA_SET_GID && q->gid != (guint32)-1)
		row->attr.gid = q->gid;
	if (s->mask & MAGMA_SET_MODE)
		row->attr.mode = mode;
	set_times(op, row, s->mask);
	row->attr.ctime = op->now;
}

static void finish(Op *op, Draft *d, FlareRow *row, void (*commit)(Draft *d, const void *fields))
{
	struct magma_rep_setattr rep = { .attr = row->attr };

	G_STATIC_ASSERT(sizeof(struct magma_rep_setattr) == sizeof(struct magma_rep_open));
	if (op->hdr.op == MAGMA_OP_open)
		client_open(op->sl, op->hdr.client, op->hdr.xid, &row->attr.fid);
	commit(d, &rep);
}

/* A truncate half done would be neither the old file nor the new: it is noted first, with the request, and a restart completes it (gc.c). One at a time on a flare. 0 or WAIT. */
static int note_truncate(Op *op, const Setting *s)
{
	Slice *sl = op->sl;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &s->fid.ino);
	guint8 k[STORE_KEY_MAX];

	if (!dirty->truncate_by) {
		Txn *t = txn_new();
		g_autoptr(GByteArray) val = g_byte_array_new();
		gsize n;
		const guint8 *request = g_bytes_get_data(op->msg, &n);
		magma_put_u64(val, s->size);
		magma_put_bytes(val, request, n);
		txn_put(t, TAB_DIRTY, k, key_ino(k, s->fid.ino), &s->fid.key, val->data, val->len);
		dirty->index = core_commit(sl, t);
		dirty->truncate_by = op;
	}
	if (dirty->truncate_by == op && dirty->index <= store_acked(sl->store))
		return 0;
	op_park(op, &sl->ack_wait);
	return WAIT;
}

static void note_truncated(Op *op, Draft *d, const MagmaFid *fid)
{
	Dirty *dirty = g_hash_table_lookup(op->sl->dirty, &fid->ino);
	guint8 k[STORE_KEY_MAX];

	if (!dirty || dirty->truncate_by != op)
		return;
	dirty->truncate_by = NULL;
	txn_put(draft_txn(d), TAB_DIRTY, k, key_ino(k, fid->ino), &fid->key, "", 0);
}

/* The content file has its new size; now the row, and the reply. Takes d. */
static void commit_truncated(Op *op, Draft *d, FlareRow *row, const Setting *s, void (*commit)(Draft *d, const void *fields))
{
	guint32 mode = 0;

	may_set(op, row, s, &mode);           /* for the mode; it was allowed when it began */
	row->attr.size = s->size;
	row->attr.blocks = MIN(row->attr.blocks, content_blocks(s->size));
	set_row(op, d, row, s, mode);
	finish(op, d, row, commit);
}

gboolean setattr_take_note(Op *op, const MagmaFid *fid, const guint8 *note, gsize n)
{
	g_autoptr(GBytes) msg = g_bytes_new(note + 8, n - 8);
	gsize len;
	const guint8 *p = g_bytes_get_data(msg, &len);
	MagmaHdr h;
	MagmaAny req;

	if (magma_msg_decode(p, len, &h, &req) != 0 || h.kind != MAGMA_REQUEST || (h.op != MAGMA_OP_setattr && h.op != MAGMA_OP_open))
		return FALSE;
	if (!magma_fid_equal(h.op == MAGMA_OP_open ? &req.req_open.fid : &req.req_setattr.fid, fid))
		return FALSE;
	op->hdr = h;
	op->req = req;
	op->msg = g_steal_pointer(&msg);
	op->route = fid->key;
	op->client = h.client ? client_get(op->sl, h.client) : NULL;
	return TRUE;
}

void setattr_recover(Op *op, Draft *d, FlareRow *row)
{
	Setting s = setting_from(op);

	commit_truncated(op, d, row, &s, draft_store_reply);
}

static void step_truncated(Op *op)
{
	Setting *s = op->data;
	FlareRow *row;

	if (!content_turn(op, s->fid.ino))
		return;
	g_autoptr(Draft) d = draft_new(op);
	int error = s->error ? s->error : draft_flare(d, &s->fid, &row);

	if (!error)
		error = content_cut_inline(op, d, &s->fid, s->size);
	if (error == WAIT)
		return;
	content_cut_end(op->sl, s->fid.ino);
	if (error) {
		note_truncated(op, d, &s->fid);
		draft_commit(g_steal_pointer(&d));
		op_error(op, error);
		return;
	}
	note_truncated(op, d, &s->fid);
	move_content_changed(op->sl, &s->fid);
	commit_truncated(op, g_steal_pointer(&d), row, s, draft_reply);
}

static void truncated(void *user, int error)
{
	Op *op = user;
	Setting *s = op->data;

	content_done(op, s->fid.ino);
	op_completed(op, &s->error, error, step_truncated);
}

static int resize_inline(Op *op, Draft *d, FlareRow *row, guint64 size)
{
	guint8 bytes[MAGMA_INLINE_MAX];
	const guint8 *val;
	gsize n;
	int error = content_get_inline(op, row, &val, &n);

	if (error)
		return error;
	memset(bytes, 0, size);
	memcpy(bytes, val ? val : bytes, MIN(n, size));
	content_put_inline(d, row, bytes, size);
	return 0;
}

static int set(Op *op)
{
	Setting *s = setting_of(op);
	FlareRow *row;
	guint32 mode = 0;
	g_autoptr(Draft) d = draft_new(op);
	int error = draft_flare(d, &s->fid, &row);

	if (error)
		return error;
	/* Once its truncation is noted it was allowed; the note stands, so it is carried out. */
	Dirty *dirty = g_hash_table_lookup(op->sl->dirty, &s->fid.ino);
	gboolean noted = dirty && dirty->truncate_by == op;
	if (!noted && mark_blocks_flare(op, s->fid.ino))
		return WAIT;
	if ((error = may_set(op, row, s, &mode)) && !noted)
		return error;
	if (s->mask & MAGMA_SET_SIZE) {
		if (content_wait(op, s->fid.ino))
			return WAIT;
		if (row->content == CONTENT_INLINE && s->size > MAGMA_INLINE_MAX) {
			FlareRow have = *row;
			g_clear_pointer(&op->data, g_free);
			op->data_free = NULL;
			return content_convert(op, &have);
		}
		/* Growing is the row's alone: behind the end of the file there is a hole, however large (2^63-1 is more than most local file systems can say). */
		if (row->content == CONTENT_FILE && s->size >= row->attr.size) {
			if ((error = content_intent(op, row)))
				return error;
			row->attr.size = s->size;
			note_truncated(op, d, &s->fid);      /* others cut it shorter while this one waited */
		} else if (row->content == CONTENT_FILE) {
			if ((error = content_intent(op, row)) || (s->size < row->attr.size && (error = note_truncate(op, s))))
				return error;
			content_begin(op->sl, s->fid.ino, 0)->cutting++;
			store_content_truncate(op->sl->store, &s->fid, s->size, truncated, op);
			return WAIT;
		} else if ((error = resize_inline(op, d, row, s->size))) {
			return error;
		}
	}
	set_row(op, d, row, s, mode);
	finish(op, g_steal_pointer(&d), row, draft_reply);
	return 0;
}

/* After a conversion op->data belongs to it: forget it, the setting is made anew. */
static void step_set(Op *op)
{
	if (op->data_free) {
		op->data_free(op->data);
		op->data = NULL;
		op->data_free = NULL;
	}
	int error = set(op);

	if (error)
		op_finish(op, error);
}

void handle_setattr(Op *op) { step_set(op); }

/* --- open --- */

enum { FMODE_EXEC = 0x20 };    /* in a FUSE open: it is about to be run */

static int may_open(Op *op, const FlareRow *row, guint32 flags)
{
	guint32 want = 0;

	if (flags & FMODE_EXEC)
		want = MAGMA_X;
	else if ((flags & O_ACCMODE) == O_RDONLY)
		want = MAGMA_R;
	else if ((flags & O_ACCMODE) == O_WRONLY)
		want = MAGMA_W;
	else
		want = MAGMA_R | MAGMA_W;
	if (flags & O_TRUNC)
		want |= MAGMA_W;
	if (is_dir(row->attr.mode) && want & MAGMA_W)
		return EISDIR;
	return state_perm(op, row, want);
}

void handle_open(Op *op)
{
	const struct magma_req_open *q = &op->req.req_open;
	FlareRow row;
	int error = state_flare(op, &q->fid, &row);

	if (!error)
		error = may_open(op, &row, q->flags);
	if (error) {
		op_finish(op, error);
		return;
	}
	if (q->flags & O_TRUNC && S_ISREG(row.attr.mode)) {
		step_set(op);
		return;
	}
	if (mark_blocks_flare(op, q->fid.ino))
		return;
	struct magma_rep_open rep = { .attr = row.attr };
	client_open(op->sl, op->hdr.client, op->hdr.xid, &q->fid);
	op_reply(op, &rep, NULL);
}

void handle_release(Op *op)
{
	client_close(op->sl, op->hdr.client, op->hdr.xid, op->req.req_release.fid.ino);
	op_finish(op, 0);
}

enum { REOPEN_MAX = 16384 };

/* Not of an epoch from before this slice was here (op_request()): what is late may have been released elsewhere since. */
void op_reopen_passes(Volcano *v, const MagmaHdr *h, const struct magma_req_reopen *q)
{
	MagmaReader r = magma_reader(q->fids.data, q->fids.len);

	if (!h->client)
		return;
	for (guint i = 0; r.left && i < REOPEN_MAX; i++) {
		MagmaFid fid = magma_get_fid(&r);
		Slice *sl = r.error ? NULL : core_slice_for(v, &fid.key);
		if (sl && sl->serving && h->epoch >= sl->since && core_place(sl, &fid.key) == HERE)
			client_open(sl, h->client, h->xid, &fid);
	}
}

void handle_reopen(Op *op)
{
	const MagmaBytes fids = op->req.req_reopen.fids;
	MagmaReader r = magma_reader(fids.data, fids.len);
	g_autoptr(GByteArray) errors = g_byte_array_new();
	gboolean wait = FALSE;
	FlareRow row;

	for (guint i = 0; r.left && !r.error && i < REOPEN_MAX; i++) {
		MagmaFid fid = magma_get_fid(&r);
		/* It may have moved since the client looked at its map. */
		Slice *other = r.error ? NULL : core_slice_for(op->v, &fid.key);
		if (other && other != op->sl && other->serving && op->hdr.epoch >= other->since && core_place(other, &fid.key) == HERE) {
			if (client_is_gone(other, op->hdr.client)) {
				op_error(op, MAGMA_EEXPIRED);
				return;
			}
			client_open(other, op->hdr.client, op->hdr.xid, &fid);      /* what is not there is nobody's */
			magma_put_u32(errors, 0);
			continue;
		}
		int error = r.error ? EPROTO : core_place(op->sl, &fid.key) != HERE ? MAGMA_EMAP : state_flare(op, &fid, &row);
		wait |= error == WAIT;
		if (!error)
			client_open(op->sl, op->hdr.client, op->hdr.xid, &fid);
		magma_put_u32(errors, error);
	}
	if (wait)
		return;
	struct magma_rep_reopen rep = { .errors = MAGMA_BYTES(errors->data, errors->len) };
	if (r.error)
		op_error(op, EPROTO);
	else
		op_reply(op, &rep, NULL);
}
