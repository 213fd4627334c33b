/* Operations on contents: open to release. */
#include <errno.h>
#include <fcntl.h>
#include "mount.magma/request.h"
#include "mount.magma/device.h"
#include "mount.magma/ops.h"

static Request *handle_call(fuse_req_t req, MagmaOp op, fuse_ino_t ino, const struct fuse_file_info *fi, RequestDone done)
{
	Request *k = request_new(req, op, done);
	request_set_inode(k, inode_of(&k->m->inodes, ino));
	if (fi && fi->fh)
		request_set_handle(k, handle_of(fi));
	return k;
}

/* ---- open, release: of files and directories ---- */

static void send_open(Request *k)
{
	magma_client_hold(k->m->client, &k->inode->fid, k->fields.req_open.flags, &k->cred, request_answered_cb, k);
}

static void open_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error) {
		request_reply_err(k, error);
		return;
	}
	k->inode->flags = rep->rep_open.attr.flags;
	request_reply_open(k, k->inode);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	Request *k = handle_call(req, MAGMA_OP_open, ino, NULL, open_done);
	k->fi = *fi;
	k->fields.req_open = (struct magma_req_open){ .fid = k->inode->fid, .flags = (guint32)fi->flags };
	request_send_by(k, send_open);
}

/* Nobody waits for this answer; the volcano hears of it when the last operation through the handle is answered. */
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	handle_unref(mount_of(req), handle_of(fi));
	fuse_reply_err(req, 0);
}

/* ---- read, write ---- */

static void read_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error)
		request_reply_err(k, error);
	else
		request_reply_buf(k, rep->rep_read.data.data, MIN(rep->rep_read.data.len, k->size));
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	Request *k = handle_call(req, MAGMA_OP_read, ino, fi, read_done);
	k->size = MIN(size, MAGMA_DATA_MAX);
	k->fields.req_read = (struct magma_req_read){ .fid = k->inode->fid, .offset = (guint64)off, .size = (guint32)k->size };
	request_send(k);
}

static void write_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error)
		request_reply_err(k, error);
	else
		fuse_reply_write(g_steal_pointer(&k->req), k->size);
}

/* Pages written back from a mapping (writepage) have their place, whatever the flags of the handle they come by. */
static guint32 write_flags(const Request *k, const struct fuse_file_info *fi)
{
	guint32 flags = 0;
	if (fi->writepage)
		return 0;
	if (fi->flags & O_APPEND)
		flags |= MAGMA_WRITE_APPEND;
	if (fi->flags & O_DSYNC)
		flags |= MAGMA_WRITE_DSYNC;
	if (k->cred.uid != 0)
		flags |= MAGMA_WRITE_KILLPRIV;
	return flags;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	if (size > MAGMA_DATA_MAX) {
		fuse_reply_err(req, EIO);      /* cannot be: max_write is that */
		return;
	}
	Request *k = handle_call(req, MAGMA_OP_write, ino, fi, write_done);
	k->size = size;
	k->body = device_take(k->m->device, buf, size);
	k->fields.req_write = (struct magma_req_write){ .fid = k->inode->fid, .offset = (guint64)off, .flags = write_flags(k, fi) };
	request_send(k);
}

/* ---- fsync, fallocate, lseek ---- */

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	Request *k = handle_call(req, MAGMA_OP_fsync, ino, fi, request_done_err);
	k->fields.req_fsync = (struct magma_req_fsync){ .fid = k->inode->fid, .datasync = datasync != 0 };
	request_send(k);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	Request *k = handle_call(req, MAGMA_OP_fallocate, ino, fi, request_done_err);
	k->fields.req_fallocate = (struct magma_req_fallocate){ .fid = k->inode->fid, .mode = (guint32)mode, .offset = (guint64)offset, .length = (guint64)length };
	request_send(k);
}

static void lseek_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error)
		request_reply_err(k, error);
	else
		fuse_reply_lseek(g_steal_pointer(&k->req), (off_t)rep->rep_seek.offset);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	Request *k = handle_call(req, MAGMA_OP_seek, ino, fi, lseek_done);
	k->fields.req_seek = (struct magma_req_seek){ .fid = k->inode->fid, .offset = (guint64)off, .whence = (guint32)whence };
	request_send(k);
}
