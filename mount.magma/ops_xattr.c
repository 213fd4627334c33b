/* Extended attributes, and the virtual one that says where a flare lives. */
#include <errno.h>
#include <sys/xattr.h>
#include "mount.magma/request.h"
#include "mount.magma/ops.h"

#define LOCATE "magma.locate"         /* never listed */
#define CAPABILITY "security.capability"

/* 0, or why the volcanos are not asked for that name. */
static int refuse_name(const char *name)
{
	if (g_str_has_prefix(name, "system.posix_acl_"))
		return EOPNOTSUPP;        /* until they are enforced */
	return g_str_has_prefix(name, "magma.") ? EPERM : 0;
}

static Request *xattr_call(fuse_req_t req, MagmaOp op, fuse_ino_t ino, const char *name, RequestDone done)
{
	Request *k = request_new(req, op, done);
	request_set_inode(k, inode_of(&k->m->inodes, ino));
	return request_set_name(k, name) ? k : NULL;
}

/* size 0 asks how large it is. */
static void reply_sized(Request *k, const void *p, gsize n)
{
	if (!k->size)
		fuse_reply_xattr(g_steal_pointer(&k->req), n);
	else if (n > k->size)
		request_reply_err(k, ERANGE);
	else
		request_reply_buf(k, p, n);
}

static void reply_locate(fuse_req_t req, const Inode *i, gsize size)
{
	Mount *m = mount_of(req);
	const MagmaMap *map = magma_client_map(m->client);
	const MagmaVolcano *v = map ? magma_map_route(map, &i->fid.key) : NULL;
	char hex[MAGMA_KEY_HEX], addr[MAGMA_ADDR_TEXT] = "-";
	if (v)
		magma_addr_format(&v->addr, addr);
	g_autofree char *text = g_strdup_printf("key %s\nino %" G_GUINT64_FORMAT "\nowner %s %s\n", magma_key_to_hex(&i->fid.key, hex), i->fid.ino,
		v ? v->name : "-", addr);
	gsize n = strlen(text);
	if (!size)
		fuse_reply_xattr(req, n);
	else if (n > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, text, n);
}

static void getxattr_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error)
		request_reply_err(k, error);
	else
		reply_sized(k, rep->rep_getxattr.value.data, rep->rep_getxattr.value.len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	Inode *i = inode_of(&mount_of(req)->inodes, ino);
	/* a kernel without KILLPRIV_V2 asks before every write(2) */
	if (!mount_of(req)->killpriv_v2 && !(i->flags & MAGMA_ATTR_HAS_CAPABILITY) && g_str_equal(name, CAPABILITY)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	if (g_str_equal(name, LOCATE)) {
		reply_locate(req, i, size);
		return;
	}
	int refused = refuse_name(name);
	if (refused) {
		fuse_reply_err(req, refused == EPERM ? ENODATA : refused);
		return;
	}
	Request *k = xattr_call(req, MAGMA_OP_getxattr, ino, name, getxattr_done);
	if (!k)
		return;
	k->size = size;
	k->fields.req_getxattr = (struct magma_req_getxattr){ .fid = i->fid, .name = request_name(k) };
	request_send(k);
}

static void setxattr_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (!error)
		k->inode->flags |= MAGMA_ATTR_HAS_XATTR | (g_str_equal(k->name, CAPABILITY) ? MAGMA_ATTR_HAS_CAPABILITY : 0);
	request_reply_err(k, error);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	int refused = size > MAGMA_XATTR_MAX ? E2BIG : refuse_name(name);
	if (refused) {
		fuse_reply_err(req, refused);
		return;
	}
	Request *k = xattr_call(req, MAGMA_OP_setxattr, ino, name, setxattr_done);
	if (!k)
		return;
	k->copy = g_malloc(size);
	if (size)
		memcpy(k->copy, value, size);
	k->fields.req_setxattr = (struct magma_req_setxattr){ .fid = k->inode->fid, .flags = (guint32)flags, .name = request_name(k), .value = MAGMA_BYTES(k->copy, size) };
	request_send(k);
}

static void listxattr_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error)
		request_reply_err(k, error);
	else
		reply_sized(k, rep->rep_listxattr.names.data, rep->rep_listxattr.names.len);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	Request *k = request_new(req, MAGMA_OP_listxattr, listxattr_done);
	request_set_inode(k, inode_of(&k->m->inodes, ino));
	k->size = size;
	k->fields.req_listxattr.fid = k->inode->fid;
	request_send(k);
}

static void remove_capability_done(Request *k, int error, const MagmaAny *rep, GBytes *msg) { request_reply_err(k, error == ENODATA ? 0 : error); }

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	int refused = refuse_name(name);
	if (refused) {
		fuse_reply_err(req, refused);
		return;
	}
	gboolean capability = g_str_equal(name, CAPABILITY);
	Request *k = xattr_call(req, MAGMA_OP_removexattr, ino, name, capability ? remove_capability_done : request_done_err);
	if (!k)
		return;
	/* a write, truncate or chown takes it away, whoever does it: the kernel asks for that in the name of the writer, and has decided that he may */
	if (capability)
		k->cred = (MagmaCred){ 0 };
	k->fields.req_removexattr = (struct magma_req_removexattr){ .fid = k->inode->fid, .name = request_name(k) };
	request_send(k);
}
