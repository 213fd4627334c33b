/* Operations on names: lookup, and what makes, moves and removes entries. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include "mount.magma/request.h"
#include "mount.magma/ops.h"

#define CREATE_TRIES 16               /* create says "exists", open says "is gone", again: somebody makes and removes it in a loop */

/* ---- lookup ---- */

static void lookup_answered(void *user, int error, const MagmaAttr *attr)
{
	Request *k = user;
	k->attr = attr;
	request_answered(k, error, NULL, NULL);
}

static void send_lookup(Request *k)
{
	MagmaKey guess = inode_child_key(&k->m->inodes, k->dir, k->name);
	magma_client_lookup(k->m->client, &k->dir->fid, k->name, strlen(k->name), &guess, &k->cred, lookup_answered, k);
}

static void lookup_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error)
		request_reply_err(k, error);
	else
		request_reply_entry(k, k->dir, k->name, k->attr);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	Request *k = request_new(req, MAGMA_OP_lookup, lookup_done);
	if (!request_set_name(k, name))
		return;
	request_set_dir(k, inode_of(&k->m->inodes, parent));
	k->fields.req_lookup.dir = k->dir->fid;
	request_send_by(k, send_lookup);
}

/* ---- mknod, mkdir, symlink, link ---- */

static Request *entry_call(fuse_req_t req, MagmaOp op, fuse_ino_t parent, const char *name, RequestDone done)
{
	Request *k = request_new(req, op, done);
	if (!request_set_name(k, name))
		return NULL;
	request_set_dir(k, inode_of(&k->m->inodes, parent));
	return k;
}

static MagmaKey key_of(const Request *k) { return inode_child_key(&k->m->inodes, k->dir, k->name); }

#define ENTRY_DONE(op) \
	static void op##_done(Request *k, int error, const MagmaAny *rep, GBytes *msg) \
	{ \
		if (error) \
			request_reply_err(k, error); \
		else \
			request_reply_entry(k, k->dir, k->name, &rep->rep_##op.attr); \
	}
ENTRY_DONE(mknod)
ENTRY_DONE(mkdir)
ENTRY_DONE(symlink)
ENTRY_DONE(link)

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	Request *k = entry_call(req, MAGMA_OP_mknod, parent, name, mknod_done);
	if (!k)
		return;
	k->fields.req_mknod = (struct magma_req_mknod){ .dir = k->dir->fid, .key = key_of(k), .mode = mode, .rdev = rdev, .name = request_name(k) };
	request_send(k);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	Request *k = entry_call(req, MAGMA_OP_mkdir, parent, name, mkdir_done);
	if (!k)
		return;
	k->fields.req_mkdir = (struct magma_req_mkdir){ .dir = k->dir->fid, .key = key_of(k), .mode = mode, .name = request_name(k) };
	request_send(k);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	Request *k = entry_call(req, MAGMA_OP_symlink, parent, name, symlink_done);
	if (!k)
		return;
	k->copy = g_strdup(target);
	k->fields.req_symlink = (struct magma_req_symlink){ .dir = k->dir->fid, .key = key_of(k), .name = request_name(k), .target = MAGMA_BYTES_STR(k->copy) };
	request_send(k);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	Request *k = entry_call(req, MAGMA_OP_link, parent, name, link_done);
	if (!k)
		return;
	request_set_inode(k, inode_of(&k->m->inodes, ino));
	k->fields.req_link = (struct magma_req_link){ .dir = k->dir->fid, .flare = k->inode->fid, .name = request_name(k) };
	request_send(k);
}

/* ---- unlink, rmdir, rename ---- */

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	Request *k = entry_call(req, MAGMA_OP_unlink, parent, name, request_done_err);
	if (!k)
		return;
	k->fields.req_unlink = (struct magma_req_unlink){ .dir = k->dir->fid, .name = request_name(k) };
	request_send(k);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	Request *k = entry_call(req, MAGMA_OP_rmdir, parent, name, request_done_err);
	if (!k)
		return;
	k->fields.req_rmdir = (struct magma_req_rmdir){ .dir = k->dir->fid, .name = request_name(k) };
	request_send(k);
}

/* dir, name: from; inode, name2: to. What moved gets its new place in our table, so that its children are still guessed right. */
static void rename_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (!error) {
		Inodes *t = &k->m->inodes;
		Inode *moved = inodes_find(t, &rep->rep_rename.moved);
		Inode *replaced = inodes_find(t, &rep->rep_rename.replaced);
		if (moved)
			inodes_move(t, moved, k->inode, k->name2);
		if (replaced && replaced != moved && k->fields.req_rename.flags & RENAME_EXCHANGE)
			inodes_move(t, replaced, k->dir, k->name);
	}
	request_reply_err(k, error);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags)
{
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	Request *k = entry_call(req, MAGMA_OP_rename, parent, name, rename_done);
	if (!k || !request_set_name2(k, newname))
		return;
	request_set_inode(k, inode_of(&k->m->inodes, newparent));
	k->fields.req_rename = (struct magma_req_rename){ .to_dir = k->inode->fid, .from_dir = k->dir->fid, .flags = flags,
		.from_name = request_name(k), .to_name = request_name2(k) };
	request_send(k);
}

/* ---- create: make and open; where the name is there already, look it up and open that ---- */

static void create_send(Request *k);

static void create_opened(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error == ENOENT && ++k->tries < CREATE_TRIES)
		create_send(k);
	else if (error)
		request_reply_err(k, error);
	else
		request_reply_create(k, &rep->rep_open.attr);
}

static void create_send_open(Request *k)
{
	magma_client_hold(k->m->client, &k->fields.req_open.fid, k->fields.req_open.flags, &k->cred, request_answered_cb, k);
}

static void create_looked_up(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error == ENOENT && ++k->tries < CREATE_TRIES) {
		create_send(k);
		return;
	}
	if (error) {
		request_reply_err(k, error);
		return;
	}
	if (!S_ISREG(k->attr->mode)) {
		request_reply_err(k, ESTALE);     /* the kernel walks the path again and finds out */
		return;
	}
	MagmaFid fid = k->attr->fid;
	k->op = MAGMA_OP_open;
	k->done = create_opened;
	k->fields.req_open = (struct magma_req_open){ .fid = fid, .flags = (guint32)k->fi.flags & ~(guint32)(O_CREAT | O_EXCL | O_NOCTTY) };
	request_send_by(k, create_send_open);
}

static void create_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error == EEXIST && !(k->fi.flags & O_EXCL)) {
		k->op = MAGMA_OP_lookup;
		k->done = create_looked_up;
		k->fields.req_lookup.dir = k->dir->fid;
		request_send_by(k, send_lookup);
		return;
	}
	if (error) {
		request_reply_err(k, error);
		return;
	}
	magma_client_held(k->m->client, &rep->rep_create.attr.fid);
	request_reply_create(k, &rep->rep_create.attr);
}

static void create_send(Request *k)
{
	k->op = MAGMA_OP_create;
	k->done = create_done;
	k->fields.req_create = (struct magma_req_create){ .dir = k->dir->fid, .key = key_of(k), .mode = k->mode, .flags = (guint32)k->fi.flags, .name = request_name(k) };
	request_send(k);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	Request *k = entry_call(req, MAGMA_OP_create, parent, name, create_done);
	if (!k)
		return;
	k->fi = *fi;
	k->mode = mode;
	create_send(k);
}
