/* One flare: getattr, readlink, access, statfs, extended attributes. setattr is in op_setattr.c. */
#include "magmad/core/core.h"
#include <sys/xattr.h>

static int getattr(Op *op)
{
	FlareRow row;
	int error = state_flare(op, &op->req.req_getattr.fid, &row);

	if (error)
		return error;
	if (mark_blocks_flare(op, row.attr.fid.ino))
		return WAIT;
	struct magma_rep_getattr rep = { .attr = row.attr };
	op_reply(op, &rep, NULL);
	return 0;
}

void handle_getattr(Op *op) { op_fail(op, getattr(op)); }

enum { GETATTRS_MAX = 4096 };

/* All rows are asked for before the first wait, so that cold ones are read side by side. */
void handle_getattrs(Op *op)
{
	const MagmaBytes fids = op->req.req_getattrs.fids;
	MagmaReader r = magma_reader(fids.data, fids.len);
	g_autoptr(GByteArray) out = g_byte_array_new();
	gboolean wait = FALSE;
	guint64 marked = 0;
	FlareRow row;

	for (guint n = 0; r.left && !r.error && n < GETATTRS_MAX; n++) {
		MagmaFid fid = magma_get_fid(&r);
		int error = r.error ? EPROTO : state_flare(op, &fid, &row);
		if (!error && !wait && mark_blocks_flare(op, fid.ino))
			return;
		wait |= error == WAIT;
		if (!error && mark_undecided_any(op->sl, fid.ino))
			marked = fid.ino;
		magma_put_u32(out, error);
		if (!error)
			magma_put_attr(out, &row.attr);
	}
	if (wait || (marked && mark_blocks_flare(op, marked)))
		return;
	struct magma_rep_getattrs rep = { .attrs = MAGMA_BYTES(out->data, out->len) };
	if (r.error || r.left || out->len > MAGMA_DATA_MAX)
		op_error(op, EPROTO);
	else
		op_reply(op, &rep, NULL);
}

static int readlink_(Op *op)
{
	FlareRow row;
	int error = state_flare(op, &op->req.req_readlink.fid, &row);

	if (error)
		return error;
	if (!S_ISLNK(row.attr.mode))
		return EINVAL;
	struct magma_rep_readlink rep = { .target = row.target };
	op_reply(op, &rep, NULL);
	return 0;
}

void handle_readlink(Op *op) { op_fail(op, readlink_(op)); }

void handle_access(Op *op)
{
	FlareRow row;
	int error = state_flare(op, &op->req.req_access.fid, &row);

	if (!error)
		error = state_perm(op, &row, op->req.req_access.mask & (MAGMA_R | MAGMA_W | MAGMA_X));
	op_finish(op, error);
}

void handle_statfs(Op *op)
{
	StoreUsage u;
	struct magma_rep_statfs rep;

	op->sl->store->vt->usage(op->sl->store, &u);
	rep.total = u.total;
	rep.free = u.free;
	rep.avail = u.low ? 0 : u.avail;
	rep.flares = u.flares;
	op_reply(op, &rep, NULL);
}

/* --- extended attributes (xattr(7)) --- */

static gboolean starts(MagmaBytes name, const char *prefix)
{
	gsize n = strlen(prefix);

	return name.len > n && memcmp(name.data, prefix, n) == 0;
}

static gboolean is_capability(MagmaBytes name)
{
	return name.len == strlen(CAPABILITY_XATTR) && memcmp(name.data, CAPABILITY_XATTR, name.len) == 0;
}

static int xattr_name_ok(MagmaBytes name)
{
	if (!name.len || name.len > XATTR_NAME_MAX || memchr(name.data, 0, name.len))
		return name.len ? ERANGE : EINVAL;
	if (starts(name, "user.") || starts(name, "trusted.") || starts(name, "security."))
		return 0;
	return EOPNOTSUPP;
}

static int xattr_may(Op *op, const FlareRow *row, MagmaBytes name, gboolean write)
{
	int error = xattr_name_ok(name);

	if (error)
		return error;
	if (starts(name, "trusted."))
		return op->hdr.cred.uid == 0 ? 0 : write ? EPERM : ENODATA;
	if (starts(name, "security."))
		return !write || op->hdr.cred.uid == 0 ? 0 : EPERM;
	if (!S_ISREG(row->attr.mode) && !is_dir(row->attr.mode))
		return write ? EPERM : ENODATA;
	if (write && is_dir(row->attr.mode) && magma_perm_sticky(&op->hdr.cred, row->attr.mode, row->attr.uid, row->attr.uid))
		return EPERM;
	return state_perm(op, row, write ? MAGMA_W : MAGMA_R);
}

int op_xattr_may_read(Op *op, const FlareRow *row, MagmaBytes name) { return xattr_may(op, row, name, FALSE); }

static StoreGet get_xattr(Op *op, guint64 ino, MagmaBytes name, const guint8 **val, gsize *n)
{
	guint8 k[STORE_KEY_MAX];

	return store_get(op->sl->store, &op->fetch, TAB_XATTR, k, key_ino_bytes(k, ino, name.data, name.len), val, n);
}

static int getxattr_(Op *op)
{
	const struct magma_req_getxattr *q = &op->req.req_getxattr;
	const guint8 *val;
	gsize n;
	FlareRow row;
	int error = state_flare(op, &q->fid, &row);

	if (error || (error = xattr_may(op, &row, q->name, FALSE)))
		return error;
	if (!(row.attr.flags & MAGMA_ATTR_HAS_XATTR))
		return ENODATA;
	switch (get_xattr(op, q->fid.ino, q->name, &val, &n)) {
	case STORE_PENDING: return WAIT;
	case STORE_ABSENT: return ENODATA;
	case STORE_FOUND: break;
	}
	struct magma_rep_getxattr rep = { .value = MAGMA_BYTES(val, n) };
	op_reply(op, &rep, NULL);
	return 0;
}

void handle_getxattr(Op *op) { op_fail(op, getxattr_(op)); }

/* What a change begins with: the flare's row, to be changed in d, the permission, and is the attribute there? 0, an errno, WAIT. */
static int xattr_begin(Op *op, Draft *d, const MagmaFid *fid, MagmaBytes name, FlareRow **row, StoreGet *have)
{
	const guint8 *val;
	gsize n;
	int error = draft_flare(d, fid, row);

	if (error || (error = xattr_may(op, *row, name, TRUE)))
		return error;
	*have = get_xattr(op, fid->ino, name, &val, &n);
	return *have == STORE_PENDING ? WAIT : 0;
}

/* Takes d. */
static void xattr_end(Op *op, Draft *d, FlareRow *row)
{
	static const MagmaAny nothing;

	row->attr.ctime = op->now;
	draft_reply(d, &nothing);
}

static int setxattr_(Op *op)
{
	const struct magma_req_setxattr *q = &op->req.req_setxattr;
	guint8 k[STORE_KEY_MAX];
	FlareRow *row;
	StoreGet have;
	g_autoptr(Draft) d = draft_new(op);
	int error = xattr_begin(op, d, &q->fid, q->name, &row, &have);

	if (error)
		return error;
	if (q->flags & XATTR_CREATE && have == STORE_FOUND)
		return EEXIST;
	if (q->flags & XATTR_REPLACE && have == STORE_ABSENT)
		return ENODATA;
	if (core_no_room(op->sl))
		return ENOSPC;
	row->attr.flags |= MAGMA_ATTR_HAS_XATTR | (is_capability(q->name) ? MAGMA_ATTR_HAS_CAPABILITY : 0);
	txn_put(draft_txn(d), TAB_XATTR, k, key_ino_bytes(k, q->fid.ino, q->name.data, q->name.len), &row->attr.fid.key, q->value.data, q->value.len);
	xattr_end(op, g_steal_pointer(&d), row);
	return 0;
}

void handle_setxattr(Op *op) { op_fail(op, setxattr_(op)); }

static int removexattr_(Op *op)
{
	const struct magma_req_removexattr *q = &op->req.req_removexattr;
	guint8 k[STORE_KEY_MAX];
	FlareRow *row;
	StoreGet have;
	g_autoptr(Draft) d = draft_new(op);
	int error = xattr_begin(op, d, &q->fid, q->name, &row, &have);

	if (error)
		return error;
	if (have == STORE_ABSENT)
		return ENODATA;
	if (is_capability(q->name))
		row->attr.flags &= ~(guint32)MAGMA_ATTR_HAS_CAPABILITY;
	txn_del(draft_txn(d), TAB_XATTR, k, key_ino_bytes(k, q->fid.ino, q->name.data, q->name.len), &row->attr.fid.key);
	xattr_end(op, g_steal_pointer(&d), row);
	return 0;
}

void handle_removexattr(Op *op) { op_fail(op, removexattr_(op)); }

void op_xattrs_listed(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Op *op = user;
	Volcano *v = op->v;
	g_autoptr(GByteArray) out = g_byte_array_new();

	core_enter(v);
	for (guint i = 0; i < n; i++) {
		MagmaBytes name = MAGMA_BYTES(rows[i].key + 8, rows[i].klen - 8);
		if (starts(name, "trusted.") && op->hdr.cred.uid)
			continue;
		magma_put_bytes(out, name.data, name.len);
		magma_put_u8(out, 0);
	}
	struct magma_rep_listxattr rep = { .names = MAGMA_BYTES(out->data, out->len) };
	if (error || !eof || out->len > XATTR_LIST_MAX)
		op_error(op, error ? error : E2BIG);
	else
		op_reply(op, &rep, NULL);
	core_leave(v);
}

enum { XATTRS_MAX = 4096 };

void handle_listxattr(Op *op)
{
	static const struct magma_rep_listxattr none;
	guint8 prefix[8];
	FlareRow row;
	int error = state_flare(op, &op->req.req_listxattr.fid, &row);

	if (error) {
		op_finish(op, error);
		return;
	}
	if (!(row.attr.flags & MAGMA_ATTR_HAS_XATTR)) {
		op_reply(op, &none, NULL);
		return;
	}
	key_ino(prefix, row.attr.fid.ino);
	store_scan(op->sl->store, TAB_XATTR, NULL, 0, prefix, sizeof prefix, XATTRS_MAX, op_xattrs_listed, op);
}
