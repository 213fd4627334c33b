#include "magmad/core/dht.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <unistd.h>

#define PREFIX 12                     /* bytes of ff in front of every key of /.dht */
#define INO_FIRST ((guint64)0xffff << 48)             /* above every maker: these are nobody's */
#define COOKIE_VOLCANO 16             /* of a volcano's name: this and its id */
#define OPEN_WRITES (O_WRONLY | O_RDWR | O_TRUNC | O_APPEND)

enum { SUB_TOP = 1, SUB_PROFILE };    /* bits 32 to 47 of an ino */

/* --- ids --- */

static gboolean key_is_ours(const MagmaKey *k)
{
	for (guint i = 0; i < PREFIX; i++)
		if (k->b[i] != 0xff)
			return FALSE;
	return TRUE;
}

MagmaFid dht_fid(const DhtNode *node)
{
	MagmaFid fid = { .ino = INO_FIRST | node->volcano };

	memset(fid.key.b, 0xff, PREFIX);
	fid.ino |= (guint64)(node->kind == DHT_TOP ? SUB_TOP : SUB_PROFILE) << 32;
	return fid;
}

DhtNode dht_node(const MagmaFid *fid)
{
	DhtNode node = { .volcano = (guint16)fid->ino };

	if (fid->ino >> 48 == 0xffff)
		node.kind = (fid->ino >> 32 & 0xffff) == SUB_TOP ? DHT_TOP : DHT_PROFILE;
	if (node.kind == DHT_TOP)
		node.volcano = 0;
	MagmaFid same = dht_fid(&node);
	if (!magma_fid_equal(&same, fid))
		node.kind = DHT_NONE;
	return node;
}

gboolean dht_takes(const MagmaFid *dir, MagmaBytes name)
{
	MagmaFid root = magma_fid_root();

	return name.len == strlen(DHT_NAME) && memcmp(name.data, DHT_NAME, name.len) == 0 && magma_fid_equal(dir, &root);
}

/* --- which requests --- */

/* The name that a request gives, looks for or takes away, and where. The old name of a RENAME is not among them: so an entry of that name from before can be moved out of the way. */
static gboolean names_ours(const MagmaHdr *h, const MagmaAny *q)
{
	switch (h->op) {
	case MAGMA_OP_lookup: return dht_takes(&q->req_lookup.dir, q->req_lookup.name);
	case MAGMA_OP_mknod: return dht_takes(&q->req_mknod.dir, q->req_mknod.name);
	case MAGMA_OP_mkdir: return dht_takes(&q->req_mkdir.dir, q->req_mkdir.name);
	case MAGMA_OP_symlink: return dht_takes(&q->req_symlink.dir, q->req_symlink.name);
	case MAGMA_OP_create: return dht_takes(&q->req_create.dir, q->req_create.name);
	case MAGMA_OP_link: return dht_takes(&q->req_link.dir, q->req_link.name);
	case MAGMA_OP_unlink: return dht_takes(&q->req_unlink.dir, q->req_unlink.name);
	case MAGMA_OP_rmdir: return dht_takes(&q->req_rmdir.dir, q->req_rmdir.name);
	case MAGMA_OP_rename:
		return dht_takes(&q->req_rename.to_dir, q->req_rename.to_name) || (q->req_rename.flags & RENAME_EXCHANGE && dht_takes(&q->req_rename.from_dir, q->req_rename.from_name));
	default: return FALSE;
	}
}

gboolean dht_concerns(const MagmaHdr *h, const MagmaAny *req)
{
	const MagmaOpInfo *info = magma_op_info(h->op);

	/* a REOPEN may have both kinds of flares: opens of these are nobody's, and it goes its way */
	if (!(info->flags & MAGMA_OP_CLIENT) || h->op == MAGMA_OP_reopen)
		return FALSE;
	for (guint i = 0; i < info->nreq; i++) {
		const void *field = (const guint8 *)req + info->req[i].offset;
		if (info->req[i].type == MAGMA_F_fid && key_is_ours(&((const MagmaFid *)field)->key))
			return TRUE;
		if (info->req[i].type == MAGMA_F_key && key_is_ours(field))
			return TRUE;
	}
	return names_ours(h, req);
}

/* --- attributes --- */

MagmaAttr dht_dir_attr(Op *op, const DhtNode *node)
{
	MagmaTs t = { .sec = op->v->started_real };

	return (MagmaAttr){ .fid = dht_fid(node), .mode = S_IFDIR | 0555, .nlink = 2, .atime = t, .mtime = t, .ctime = t, .btime = t };
}

/* 0, WAIT, ESTALE. */
static int node_attr(Op *op, const DhtNode *node, MagmaAttr *a)
{
	DhtText text;
	int error;

	if (node->kind == DHT_TOP) {
		*a = dht_dir_attr(op, node);
		return 0;
	}
	if (node->kind != DHT_PROFILE)
		return ESTALE;
	if ((error = dht_profile(op, node->volcano, TRUE, &text)))
		return error;
	guint64 size = g_bytes_get_size(text.text);
	*a = (MagmaAttr){ .fid = dht_fid(node), .mode = S_IFREG | 0444, .nlink = 1, .size = size, .blocks = (size + 511) / 512, .atime = text.made, .mtime = text.made, .ctime = text.made, .btime = text.made };
	return 0;
}

/* --- answers --- */

static int lookup(Op *op)
{
	const struct magma_req_lookup *q = &op->req.req_lookup;
	struct magma_rep_lookup rep = { .has_attr = 1 };
	DhtNode dir = dht_node(&q->dir), node = { .kind = DHT_TOP };
	g_autofree char *name = g_strndup((const char *)q->name.data, q->name.len);
	int error;

	if (dir.kind == DHT_TOP) {
		const MagmaVolcano *o = magma_map_by_name(op->v->map, name);
		if (!o)
			return ENOENT;
		node = (DhtNode){ DHT_PROFILE, o->id };
	} else if (!dht_takes(&q->dir, q->name)) {
		return dir.kind == DHT_NONE ? ESTALE : ENOTDIR;
	}
	if ((error = node_attr(op, &node, &rep.attr)))
		return error == ESTALE ? ENOENT : error;
	rep.child = rep.attr.fid;
	rep.type = rep.attr.mode & S_IFMT;
	op_reply(op, &rep, NULL);
	return 0;
}

static int getattr(Op *op)
{
	struct magma_rep_getattr rep;
	DhtNode node = dht_node(&op->req.req_getattr.fid);
	int error = node_attr(op, &node, &rep.attr);

	if (!error)
		op_reply(op, &rep, NULL);
	return error;
}

enum { GETATTRS_MAX = 4096 };

static int getattrs(Op *op)
{
	MagmaReader r = magma_reader(op->req.req_getattrs.fids.data, op->req.req_getattrs.fids.len);
	g_autoptr(GByteArray) out = g_byte_array_new();
	MagmaAttr attr;

	for (guint n = 0; r.left && !r.error && n < GETATTRS_MAX; n++) {
		MagmaFid fid = magma_get_fid(&r);
		DhtNode node = dht_node(&fid);
		int error = r.error ? EPROTO : node_attr(op, &node, &attr);
		if (error == WAIT)
			return WAIT;
		magma_put_u32(out, error);
		if (!error)
			magma_put_attr(out, &attr);
	}
	struct magma_rep_getattrs rep = { .attrs = MAGMA_BYTES(out->data, out->len) };
	if (r.error || r.left)
		return EPROTO;
	op_reply(op, &rep, NULL);
	return 0;
}

/* FALSE: no room. */
static gboolean put_entry(GByteArray *out, guint32 max, guint64 cookie, const DhtNode *node, const char *name)
{
	MagmaDirent d = { .cookie = cookie, .fid = dht_fid(node), .type = node->kind == DHT_PROFILE ? S_IFREG : S_IFDIR, .name = MAGMA_BYTES_STR(name) };
	gsize was = out->len;

	magma_put_dirent(out, &d);
	if (out->len <= max || !was)
		return TRUE;
	g_byte_array_set_size(out, was);
	return FALSE;
}

static int readdir_(Op *op)
{
	const struct magma_req_readdir *q = &op->req.req_readdir;
	const MagmaMap *map = op->v->map;
	DhtNode dir = dht_node(&q->dir);
	g_autoptr(GByteArray) out = g_byte_array_new();
	guint32 max = CLAMP(q->max, 512, MAGMA_DATA_MAX);
	guint i;

	if (dir.kind != DHT_TOP)
		return dir.kind == DHT_NONE ? ESTALE : ENOTDIR;
	for (i = 0; i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		DhtNode node = { DHT_PROFILE, o->id };
		guint64 cookie = COOKIE_VOLCANO + o->id;
		if (cookie > q->cookie && !put_entry(out, max, cookie, &node, o->name))
			break;
	}
	struct magma_rep_readdir rep = { .eof = i == map->volcanos->len, .entries = MAGMA_BYTES(out->data, out->len) };
	op_reply(op, &rep, NULL);
	return 0;
}

static int may(Op *op, const MagmaAttr *a, guint32 want)
{
	return want & MAGMA_W ? EROFS : magma_perm_check(&op->hdr.cred, a->mode, a->uid, a->gid, want);
}

static int access_(Op *op)
{
	const struct magma_req_access *q = &op->req.req_access;
	DhtNode node = dht_node(&q->fid);
	MagmaAttr attr;
	int error = node_attr(op, &node, &attr);

	if (!error && !(error = may(op, &attr, q->mask & (MAGMA_R | MAGMA_W | MAGMA_X))))
		op_finish(op, 0);
	return error;
}

enum { FMODE_EXEC = 0x20 };           /* as in op_setattr.c */

static int open_(Op *op)
{
	const struct magma_req_open *q = &op->req.req_open;
	DhtNode node = dht_node(&q->fid);
	struct magma_rep_open rep;
	int error = node_attr(op, &node, &rep.attr);

	if (!error)
		error = may(op, &rep.attr, q->flags & OPEN_WRITES ? MAGMA_W : q->flags & FMODE_EXEC ? MAGMA_X : MAGMA_R);
	if (!error)
		op_reply(op, &rep, NULL);
	return error;
}

static int read_(Op *op)
{
	const struct magma_req_read *q = &op->req.req_read;
	DhtNode node = dht_node(&q->fid);
	DhtText text;
	int error;

	if (node.kind != DHT_PROFILE)
		return node.kind == DHT_NONE ? ESTALE : EISDIR;
	if ((error = dht_profile(op, node.volcano, FALSE, &text)))
		return error;
	gsize size = g_bytes_get_size(text.text), at = MIN(q->offset, size), n = MIN(MIN(q->size, MAGMA_DATA_MAX), size - at);
	struct magma_rep_read rep = { .data = { (const guint8 *)g_bytes_get_data(text.text, NULL) + at, n } };
	op_reply(op, &rep, NULL);
	return 0;
}

static int seek(Op *op)
{
	const struct magma_req_seek *q = &op->req.req_seek;
	DhtNode node = dht_node(&q->fid);
	MagmaAttr attr;
	int error = node_attr(op, &node, &attr);

	if (error)
		return error;
	if (!S_ISREG(attr.mode) || (q->whence != SEEK_DATA && q->whence != SEEK_HOLE))
		return EINVAL;
	if (q->offset >= attr.size)
		return ENXIO;
	struct magma_rep_seek rep = { .offset = q->whence == SEEK_DATA ? q->offset : attr.size };
	op_reply(op, &rep, NULL);
	return 0;
}

static gboolean makes_name(MagmaOp op)
{
	return op == MAGMA_OP_mknod || op == MAGMA_OP_mkdir || op == MAGMA_OP_symlink || op == MAGMA_OP_create || op == MAGMA_OP_link;
}

static int answer(Op *op)
{
	static const MagmaAny nothing;

	if (magma_op_info(op->hdr.op)->flags & MAGMA_OP_MUTATES)
		return makes_name(op->hdr.op) && names_ours(&op->hdr, &op->req) ? EEXIST : EROFS;
	switch (op->hdr.op) {
	case MAGMA_OP_lookup: return lookup(op);
	case MAGMA_OP_getattr: return getattr(op);
	case MAGMA_OP_getattrs: return getattrs(op);
	case MAGMA_OP_readdir: return readdir_(op);
	case MAGMA_OP_access: return access_(op);
	case MAGMA_OP_open: return open_(op);
	case MAGMA_OP_read: return read_(op);
	case MAGMA_OP_seek: return seek(op);
	case MAGMA_OP_getxattr: return ENODATA;
	case MAGMA_OP_readlink: return EINVAL;
	case MAGMA_OP_listxattr:
	case MAGMA_OP_peek:
	case MAGMA_OP_release:
	case MAGMA_OP_fsync:
		op_reply(op, &nothing, NULL);
		return 0;
	default:
		return EOPNOTSUPP;
	}
}

void dht_step(Op *op) { op_fail(op, answer(op)); }
