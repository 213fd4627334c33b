/* Looking names up: lookup, peek, readdir, parent. */
#include "magmad/core/core.h"

static int lookup(Op *op)
{
	const struct magma_req_lookup *q = &op->req.req_lookup;
	struct magma_rep_lookup rep = { 0 };
	FlareRow dir, child;
	EntryRow e;
	Mark *m;
	int error = state_dir(op, &q->dir, &dir);

	if (error)
		return error == ENOENT ? ESTALE : error;
	if ((error = state_perm(op, &dir, MAGMA_X)))
		return error;
	/* An entry about to leave: wait for the outcome (rule 11). */
	if ((m = mark_on_name(op->sl, q->dir.ino, q->name))) {
		op_park(op, &m->wait);
		return WAIT;
	}
	if ((error = state_entry(op, q->dir.ino, q->name, &e)))
		return error;
	rep.child = e.child;
	rep.type = e.type;
	if (core_place(op->sl, &e.child.key) == HERE) {
		error = state_flare(op, &e.child, &child);
		if (error == WAIT)
			return WAIT;
		if (error == ESTALE && !mark_count_all(op->sl, e.child.ino))
			scrub_suspect(op->sl, &e.child, NULL);      /* a name that leads nowhere */
		if (error)
			return error == ESTALE ? ENOENT : error;
		if (mark_blocks_flare(op, e.child.ino))
			return WAIT;
		rep.has_attr = 1;
		rep.attr = child.attr;
	}
	op_reply(op, &rep, NULL);
	return 0;
}

void handle_lookup(Op *op) { op_fail(op, lookup(op)); }

/* --- peek: all flares born at a key --- */

static void peeked(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Op *op = user;
	Slice *sl = op->sl;
	g_autoptr(GByteArray) attrs = g_byte_array_new();
	FlareRow row;

	core_enter(sl->v);
	for (guint i = 0; i < n; i++) {
		if (!flare_row_decode(rows[i].val, rows[i].vlen, &row) || !row.attr.nlink)
			continue;
		if (mark_blocks_flare(op, row.attr.fid.ino)) {      /* looked at again when it is decided */
			core_leave(sl->v);
			return;
		}
		magma_put_attr(attrs, &row.attr);
	}
	struct magma_rep_peek rep = { .attrs = MAGMA_BYTES(attrs->data, attrs->len) };
	if (error)
		op_error(op, error);
	else
		op_reply(op, &rep, NULL);
	core_leave(sl->v);
}

enum { PEEK_MAX = 64 };       /* flares born at one path: more are not worth guessing for */

void handle_peek(Op *op)
{
	const MagmaKey *k = &op->req.req_peek.key;

	store_scan_range(op->sl->store, k, k, 0, PEEK_MAX, peeked, op);
}

/* --- readdir --- */

enum { READDIR_ROWS = 2048 };

static void listed(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Op *op = user;
	Slice *sl = op->sl;
	const struct magma_req_readdir *q = &op->req.req_readdir;
	g_autoptr(GByteArray) out = g_byte_array_sized_new(MIN(q->max, MAGMA_DATA_MAX) + 512);
	guint32 max = CLAMP(q->max, 512, MAGMA_DATA_MAX);
	guint i;

	core_enter(sl->v);
	for (i = 0; i < n; i++) {
		EntryRow e;
		MagmaDirent d;
		if (!cookie_row_decode(rows[i].val, rows[i].vlen, &e, &d.name)) {
			error = EIO;
			break;
		}
		d.cookie = e.cookie;
		d.fid = e.child;
		d.type = e.type;
		gsize was = out->len;
		magma_put_dirent(out, &d);
		if (out->len > max && was) {
			g_byte_array_set_size(out, was);
			break;
		}
	}
	struct magma_rep_readdir rep = { .eof = eof && i == n, .entries = MAGMA_BYTES(out->data, out->len) };
	if (error)
		op_error(op, error);
	else
		op_reply(op, &rep, NULL);
	core_leave(sl->v);
}

static int readdir_check(Op *op)
{
	FlareRow dir;
	int error = state_flare(op, &op->req.req_readdir.dir, &dir);

	if (error)
		return error;
	if (!is_dir(dir.attr.mode))
		return ENOTDIR;
	return mark_blocks_flare(op, dir.attr.fid.ino) ? WAIT : 0;
}

void handle_readdir(Op *op)
{
	const struct magma_req_readdir *q = &op->req.req_readdir;
	guint8 prefix[8], from[16];
	int error = readdir_check(op);

	if (error) {
		op_finish(op, error);
		return;
	}
	key_ino(prefix, q->dir.ino);
	key_ino_u64(from, q->dir.ino, q->cookie);
	store_scan(op->sl->store, TAB_COOKIE, from, sizeof from, prefix, sizeof prefix, READDIR_ROWS, listed, op);
}

void handle_parent(Op *op)
{
	struct magma_rep_parent rep;
	FlareRow row;
	int error = state_flare(op, &op->req.req_parent.fid, &row);

	if (error) {
		op_finish(op, error);
		return;
	}
	Mark *m = mark_undecided(op->sl, row.attr.fid.ino, MARK_REPARENT);
	if (m) {
		op_park(op, &m->wait);
		return;
	}
	rep.parent = row.parent;
	op_reply(op, &rep, NULL);
}
