#include "magmad/core/dht.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <unistd.h>

#define PREFIX 12                     /* bytes of ff in front of every key of /.dht */
#define INO_FIRST ((guint64)0xffff << 48)             /* above every maker: these are nobody's */
#define COOKIE_CONFLICTS 1
#define COOKIE_VOLCANO 16             /* of a volcano's name: this and its id */
#define OPEN_WRITES (O_WRONLY | O_RDWR | O_TRUNC | O_APPEND)

/* Kinds stand in bits 32 to 47 of an ino, and what was set aside has its volcano and time in the key: */
#define KEY_VOLCANO 12
#define KEY_TIME 14                   /* 6 bytes */

/* --- ids --- */

static gboolean key_is_ours(const MagmaKey *k)
{
	for (guint i = 0; i < PREFIX; i++)
		if (k->b[i] != 0xff)
			return FALSE;
	return TRUE;
}

/* The numbers that programs see of flares that were set aside: not those of the same flares that stand (makers are far below 2^15), nor, mostly, of another time's. */
static guint64 aside_ino(guint64 time, guint64 ino) { return ino ^ ((guint64)1 << 63 | (time & 0x7f) << 56); }

MagmaFid dht_fid(const DhtNode *node)
{
	MagmaFid fid = { .ino = INO_FIRST | (guint64)node->kind << 32 | node->volcano };

	memset(fid.key.b, 0xff, PREFIX);
	if (node->kind != DHT_ASIDE)
		return fid;
	fid.key.b[KEY_VOLCANO] = node->volcano >> 8;
	fid.key.b[KEY_VOLCANO + 1] = node->volcano & 0xff;
	for (guint i = 0; i < 6; i++)
		fid.key.b[KEY_TIME + i] = node->time >> (40 - 8 * i) & 0xff;
	fid.ino = aside_ino(node->time, node->ino);
	return fid;
}

static DhtNode node_of_key(const MagmaKey *k)
{
	DhtNode node = { .kind = DHT_ASIDE, .volcano = (guint16)(k->b[KEY_VOLCANO] << 8 | k->b[KEY_VOLCANO + 1]) };

	for (guint i = 0; i < 6; i++)
		node.time = node.time << 8 | k->b[KEY_TIME + i];
	return node;
}

DhtNode dht_node(const MagmaFid *fid)
{
	DhtNode node = node_of_key(&fid->key);

	if (!key_is_ours(&fid->key))
		return (DhtNode){ DHT_NONE };
	if (node.volcano && node.time) {
		node.ino = aside_ino(node.time, fid->ino);
		return node;
	}
	node = (DhtNode){ fid->ino >> 32 & 0xff, (guint16)fid->ino, 0, 0 };
	MagmaFid same = dht_fid(&node);
	gboolean whose = node.kind == DHT_PROFILE || node.kind == DHT_HOLDER;
	if (node.kind == DHT_NONE || node.kind >= DHT_ASIDE || whose != (node.volcano != 0) || !magma_fid_equal(&same, fid))
		node.kind = DHT_NONE;
	return node;
}

gboolean dht_takes(const MagmaFid *dir, MagmaBytes name)
{
	MagmaFid root = magma_fid_root();

	return name.len == strlen(DHT_NAME) && memcmp(name.data, DHT_NAME, name.len) == 0 && magma_fid_equal(dir, &root);
}

gboolean dht_shows(const char *nickname) { return strcmp(nickname, DHT_CONFLICTS_NAME) != 0 && magma_name_valid((const guint8 *)nickname, strlen(nickname)); }

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

static int profile_attr(Op *op, const DhtNode *node, MagmaAttr *a)
{
	DhtText text;
	int error = dht_profile(op, node->volcano, TRUE, &text);

	if (error)
		return error;
	guint64 size = g_bytes_get_size(text.text);
	*a = (MagmaAttr){ .fid = dht_fid(node), .mode = S_IFREG | 0444, .nlink = 1, .size = size, .blocks = (size + 511) / 512, .atime = text.made, .mtime = text.made, .ctime = text.made, .btime = text.made };
	return 0;
}

/* 0, WAIT, ESTALE, EIO. */
static int node_attr(Op *op, const DhtNode *node, MagmaAttr *a)
{
	switch (node->kind) {
	case DHT_PROFILE:
		return profile_attr(op, node, a);
	case DHT_HOLDER:
		if (!magma_map_by_id(op->v->map, node->volcano))
			return ESTALE;
		/* fallthrough */
	case DHT_TOP:
	case DHT_CONFLICTS:
		*a = dht_dir_attr(op, node);
		return 0;
	case DHT_ASIDE:
		return dht_aside_attr(op, node, a);
	default:
		return ESTALE;
	}
}

/* --- answers --- */

/* In a directory that every volcano knows. */
static int find(Op *op, const DhtNode *dir, DhtNode *node)
{
	const struct magma_req_lookup *q = &op->req.req_lookup;
	g_autofree char *name = g_strndup((const char *)q->name.data, q->name.len);
	const MagmaVolcano *o = magma_map_by_name(op->v->map, name);

	if (dir->kind == DHT_TOP && strcmp(name, DHT_CONFLICTS_NAME) == 0)
		*node = (DhtNode){ DHT_CONFLICTS };
	else if ((dir->kind == DHT_TOP || dir->kind == DHT_CONFLICTS) && o)
		*node = (DhtNode){ dir->kind == DHT_TOP ? DHT_PROFILE : DHT_HOLDER, o->id };
	else if (dir->kind == DHT_TOP || dir->kind == DHT_CONFLICTS)
		return ENOENT;
	else if (dht_takes(&q->dir, q->name))
		*node = (DhtNode){ DHT_TOP };
	else
		return dir->kind == DHT_NONE ? ESTALE : ENOTDIR;
	return 0;
}

static int lookup(Op *op)
{
	struct magma_rep_lookup rep = { .has_attr = 1 };
	DhtNode dir = dht_node(&op->req.req_lookup.dir), node;
	int error = find(op, &dir, &node);

	if (error || (error = node_attr(op, &node, &rep.attr)))
		return error;
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

int dht_getattrs(Op *op)
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

gboolean dht_put_entry(GByteArray *out, guint32 max, guint64 cookie, const DhtNode *node, guint32 type, const char *name)
{
	MagmaDirent d = { .cookie = cookie, .fid = dht_fid(node), .type = type, .name = MAGMA_BYTES_STR(name) };
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
	DhtNode dir = dht_node(&q->dir), conflicts = { DHT_CONFLICTS };
	g_autoptr(GByteArray) out = g_byte_array_new();
	guint32 max = CLAMP(q->max, 512, MAGMA_DATA_MAX);
	gboolean room = q->cookie >= COOKIE_CONFLICTS || dht_put_entry(out, max, COOKIE_CONFLICTS, &conflicts, S_IFDIR, DHT_CONFLICTS_NAME);

	if (dir.kind == DHT_CONFLICTS)
		return dht_holders(op);
	if (dir.kind != DHT_TOP)
		return dir.kind == DHT_NONE ? ESTALE : ENOTDIR;
	for (guint i = 0; room && i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		DhtNode node = { DHT_PROFILE, o->id };
		guint64 cookie = COOKIE_VOLCANO + o->id;
		room = cookie <= q->cookie || !dht_shows(o->name) || dht_put_entry(out, max, cookie, &node, S_IFREG, o->name);
	}
	struct magma_rep_readdir rep = { .eof = room, .entries = MAGMA_BYTES(out->data, out->len) };
	op_reply(op, &rep, NULL);
	return 0;
}

int dht_may(Op *op, const MagmaAttr *a, guint32 want)
{
	return want & MAGMA_W ? EROFS : magma_perm_check(&op->hdr.cred, a->mode, a->uid, a->gid, want);
}

guint32 dht_open_wants(guint32 flags)
{
	return flags & OPEN_WRITES ? MAGMA_W : flags & DHT_OPEN_EXEC ? MAGMA_X : MAGMA_R;
}

static int access_(Op *op)
{
	const struct magma_req_access *q = &op->req.req_access;
	DhtNode node = dht_node(&q->fid);
	MagmaAttr attr;
	int error = node_attr(op, &node, &attr);

	if (!error && !(error = dht_may(op, &attr, q->mask & (MAGMA_R | MAGMA_W | MAGMA_X))))
		op_finish(op, 0);
	return error;
}

static int open_(Op *op)
{
	const struct magma_req_open *q = &op->req.req_open;
	DhtNode node = dht_node(&q->fid);
	struct magma_rep_open rep;
	int error = node_attr(op, &node, &rep.attr);

	if (!error && !(error = dht_may(op, &rep.attr, dht_open_wants(q->flags))))
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

/* --- whose it is --- */

/* What the request is about: its first field is a flare, or the key of several. */
static DhtNode subject(Op *op)
{
	const MagmaOpInfo *info = magma_op_info(op->hdr.op);
	const void *first = (const guint8 *)&op->req + (info->nreq ? info->req[0].offset : 0);

	if (info->nreq && info->req[0].type == MAGMA_F_fid)
		return dht_node(first);
	if (op->hdr.op == MAGMA_OP_getattrs && node_of_key(first).volcano)
		return node_of_key(first);
	return (DhtNode){ DHT_NONE };
}

/* Only the volcano that has set something aside knows it. */
static gboolean needs_holder(const Op *op, const DhtNode *node)
{
	return node->kind == DHT_ASIDE || (node->kind == DHT_HOLDER && (op->hdr.op == MAGMA_OP_lookup || op->hdr.op == MAGMA_OP_readdir));
}

/* 0: it is on its way. */
static int to_holder(Op *op, guint16 volcano)
{
	const MagmaVolcano *o = magma_map_by_id(op->v->map, volcano);

	if (!o)
		return ESTALE;
	if (o->flags & MAGMA_VOLCANO_DOWN)
		return EHOSTDOWN;
	if (!op->hdr.hops || !op->hdr.client || !op->peer)
		return EIO;
	call_forward_to(op->v, op->peer, &op->hdr, op->msg, o);
	op_drop(op);
	return 0;
}

static gboolean makes_name(MagmaOp op)
{
	return op == MAGMA_OP_mknod || op == MAGMA_OP_mkdir || op == MAGMA_OP_symlink || op == MAGMA_OP_create || op == MAGMA_OP_link;
}

static int answer(Op *op)
{
	static const MagmaAny nothing;
	DhtNode node = subject(op);

	if (magma_op_info(op->hdr.op)->flags & MAGMA_OP_MUTATES)
		return makes_name(op->hdr.op) && names_ours(&op->hdr, &op->req) ? EEXIST : EROFS;
	if (needs_holder(op, &node))
		return node.volcano == op->v->id ? dht_aside(op, &node) : to_holder(op, node.volcano);
	switch (op->hdr.op) {
	case MAGMA_OP_lookup: return lookup(op);
	case MAGMA_OP_getattr: return getattr(op);
	case MAGMA_OP_getattrs: return dht_getattrs(op);
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
