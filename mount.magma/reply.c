/* What the kernel is told. */
#include <errno.h>
#include "mount.magma/request.h"
#include "mount.magma/fresh.h"
#include "mount.magma/log.h"

#define BLOCK_SIZE (128u << 10)       /* st_blksize: what stdio and cp take as the unit; small ones cost a request each */

int kernel_errno(int error)
{
	switch (error) {
	case 0:
		return 0;
	case MAGMA_EAUTH:
	case MAGMA_ENEEDGROUPS:
		return EACCES;
	case ENOSYS:              /* would switch the operation off for good */
		return EOPNOTSUPP;
	case ECANCELED:
		return EIO;
	}
	return error > 0 && error < 512 ? error : EIO;      /* the kernel takes nothing from 512 on, and the process would hang */
}

void attr_to_stat(const MagmaAttr *a, struct stat *st)
{
	*st = (struct stat){
		.st_ino = a->fid.ino, .st_mode = a->mode, .st_nlink = a->nlink, .st_uid = a->uid, .st_gid = a->gid, .st_rdev = a->rdev,
		.st_size = (off_t)MIN(a->size, (guint64)G_MAXINT64), .st_blocks = (blkcnt_t)a->blocks, .st_blksize = BLOCK_SIZE,
		.st_atim = { a->atime.sec, a->atime.nsec }, .st_mtim = { a->mtime.sec, a->mtime.nsec }, .st_ctim = { a->ctime.sec, a->ctime.nsec },
	};
}

/* Timeouts stay 0: without leases nothing may be kept. */
void entry_fill(const Mount *m, const Inode *i, const MagmaAttr *a, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){ .ino = inode_nodeid(&m->inodes, i), .generation = 1 };
	attr_to_stat(a, &e->attr);
}

void request_reply_err(Request *k, int error)
{
	int e = kernel_errno(error);
	if (e == EIO && !k->m->ending)
		log_cause((guint)error, "%s: %s: %s", k->m->opts->source, magma_op_info(k->op)->name, magma_strerror(error));
	fuse_reply_err(g_steal_pointer(&k->req), e);
}

void request_reply_attr(Request *k, const MagmaAttr *a)
{
	struct stat st;
	attr_to_stat(a, &st);
	if (k->inode)
		k->inode->flags = a->flags;
	fuse_reply_attr(g_steal_pointer(&k->req), &st, 0);
}

void request_reply_entry(Request *k, Inode *dir, const char *name, const MagmaAttr *a)
{
	Mount *m = k->m;
	struct fuse_entry_param e;
	Inode *i = inodes_enter(&m->inodes, dir, name, a);
	entry_fill(m, i, a, &e);
	if (k->op == MAGMA_OP_lookup)
		fresh_note(m, fuse_req_ctx(k->req)->pid, k->changes, a);
	if (fuse_reply_entry(g_steal_pointer(&k->req), &e) < 0)
		inodes_forget(&m->inodes, i, 1);
}

/* The kernel cuts a write through its page cache at pages it has not read whole, and places it where it believes the end of file is: an append would reach the
 * owner as two, and another mount's could come between. Without the page cache it comes whole. */
static void handle_open(Request *k, Handle *h)
{
	k->fi.fh = (guint64)(gsize)h;
	k->fi.direct_io = (k->fi.flags & O_APPEND) != 0;
}

/* keep_cache stays off: pages read before this open may be old. */
void request_reply_open(Request *k, Inode *i)
{
	Handle *h = handle_new(k->m, i);
	handle_open(k, h);
	if (fuse_reply_open(g_steal_pointer(&k->req), &k->fi) < 0)
		handle_unref(k->m, h);
}

void request_reply_create(Request *k, const MagmaAttr *a)
{
	Mount *m = k->m;
	struct fuse_entry_param e;
	Inode *i = inodes_enter(&m->inodes, k->dir, k->name, a);
	Handle *h = handle_new(k->m, i);
	handle_open(k, h);
	entry_fill(m, i, a, &e);
	if (fuse_reply_create(g_steal_pointer(&k->req), &e, &k->fi) < 0) {
		handle_unref(m, h);
		inodes_forget(&m->inodes, i, 1);
	}
}

void request_reply_buf(Request *k, const void *p, gsize n) { fuse_reply_buf(g_steal_pointer(&k->req), p, n); }

void request_done_err(Request *k, int error, const MagmaAny *rep, GBytes *msg) { request_reply_err(k, error); }
