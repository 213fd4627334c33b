/* Operations on one flare's attributes. */
#include <errno.h>
#include "mount.magma/request.h"
#include "mount.magma/fresh.h"
#include "mount.magma/ops.h"

static Request *inode_call(fuse_req_t req, MagmaOp op, fuse_ino_t ino, RequestDone done)
{
	Request *k = request_new(req, op, done);
	request_set_inode(k, inode_of(&k->m->inodes, ino));
	return k;
}

static void getattr_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error)
		request_reply_err(k, error);
	else
		request_reply_attr(k, &rep->rep_getattr.attr);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	Mount *m = mount_of(req);
	const MagmaAttr *fresh = fi ? NULL : fresh_take(m, fuse_req_ctx(req)->pid, &inode_of(&m->inodes, ino)->fid);
	if (fresh) {
		struct stat st;
		attr_to_stat(fresh, &st);
		fuse_reply_attr(req, &st, 0);
		return;
	}
	Request *k = inode_call(req, MAGMA_OP_getattr, ino, getattr_done);
	k->fields.req_getattr.fid = k->inode->fid;
	request_send(k);
}

static void setattr_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error)
		request_reply_err(k, error);
	else
		request_reply_attr(k, &rep->rep_setattr.attr);
}

static MagmaTs ts_of(struct timespec t) { return (MagmaTs){ t.tv_sec, (guint32)t.tv_nsec }; }

/* With HANDLE_KILLPRIV the kernel leaves it to us what a change of owner or size does to setuid, setgid and capabilities. */
static gboolean kills_privileges(const Request *k, int to_set)
{
	if (k->inode->type == S_IFDIR)
		return FALSE;
	if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_KILL_SGID))
		return TRUE;
	return to_set & FUSE_SET_ATTR_SIZE && k->cred.uid != 0;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	Request *k = inode_call(req, MAGMA_OP_setattr, ino, setattr_done);
	struct magma_req_setattr *f = &k->fields.req_setattr;
	*f = (struct magma_req_setattr){ .fid = k->inode->fid };
	if (to_set & FUSE_SET_ATTR_MODE) {
		f->mask |= MAGMA_SET_MODE;
		f->mode = attr->st_mode & 07777;
	}
	if (to_set & FUSE_SET_ATTR_UID) {
		f->mask |= MAGMA_SET_UID;
		f->uid = attr->st_uid;
	}
	if (to_set & FUSE_SET_ATTR_GID) {
		f->mask |= MAGMA_SET_GID;
		f->gid = attr->st_gid;
	}
	if (to_set & FUSE_SET_ATTR_SIZE) {
		f->mask |= MAGMA_SET_SIZE | (fi ? MAGMA_SET_BY_HANDLE : 0);
		f->size = (guint64)attr->st_size;
	}
	if (to_set & FUSE_SET_ATTR_ATIME_NOW) {
		f->mask |= MAGMA_SET_ATIME_NOW;
	} else if (to_set & FUSE_SET_ATTR_ATIME) {
		f->mask |= MAGMA_SET_ATIME;
		f->atime = ts_of(attr->st_atim);
	}
	if (to_set & FUSE_SET_ATTR_MTIME_NOW) {
		f->mask |= MAGMA_SET_MTIME_NOW;
	} else if (to_set & FUSE_SET_ATTR_MTIME) {
		f->mask |= MAGMA_SET_MTIME;
		f->mtime = ts_of(attr->st_mtim);
	}
	if (kills_privileges(k, to_set))
		f->mask |= MAGMA_SET_KILLPRIV;
	if (fi && fi->fh)
		request_set_handle(k, handle_of(fi));
	request_send(k);
}

static void readlink_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error) {
		request_reply_err(k, error);
		return;
	}
	const MagmaBytes *t = &rep->rep_readlink.target;
	request_reply_buf(k, t->data, t->len);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	Request *k = inode_call(req, MAGMA_OP_readlink, ino, readlink_done);
	k->fields.req_readlink.fid = k->inode->fid;
	request_send(k);
}

void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	Mount *m = mount_of(req);
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	const MagmaAttr *fresh = fresh_take(m, ctx->pid, &inode_of(&m->inodes, ino)->fid);
	if (fresh) {
		const MagmaCred cred = { .uid = ctx->uid, .gid = ctx->gid };
		int e = magma_perm_check(&cred, fresh->mode, fresh->uid, fresh->gid, (guint32)mask & (MAGMA_R | MAGMA_W | MAGMA_X));
		if (e != MAGMA_ENEEDGROUPS) {
			fuse_reply_err(req, kernel_errno(e));
			return;
		}
	}
	Request *k = inode_call(req, MAGMA_OP_access, ino, request_done_err);
	k->fields.req_access = (struct magma_req_access){ .fid = k->inode->fid, .mask = (guint32)mask & (MAGMA_R | MAGMA_W | MAGMA_X) };
	request_send(k);
}
