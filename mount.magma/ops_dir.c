/* Reading directories. An offset given to the kernel is the volcano's cookie of the entry, shifted to leave room for "." and "..";
 * nothing else is kept, so a listing goes on where it was whatever happens to the directory. */
#include <errno.h>
#include "mount.magma/request.h"
#include "mount.magma/ops.h"

#define OFF_DOT 1                     /* "." is read, ".." is next */
#define OFF_DOTDOT 2                  /* both are read; an entry's offset is its cookie plus this */
#define COOKIE_MAX ((guint64)G_MAXINT64 - OFF_DOTDOT)
#define MAX_LIST (256u << 10)         /* bytes of entries in one reply: some 4000 */
#define PLUS_ENTRY_MIN 160            /* bytes the kernel takes for an entry with attributes (fuse_direntplus and a name) */
#define ENTRY_MIN 48                  /* bytes the volcano takes for an entry (cookie, id, type, length and a name) */

/* The reply being built: at most size bytes for the kernel, in m->scratch. */
typedef struct {
	Mount *m;
	fuse_req_t req;
	gsize size, used;
	gboolean plus;
} Fill;

static Fill fill_start(Request *k, gboolean plus)
{
	g_byte_array_set_size(k->m->scratch, (guint)k->size);
	return (Fill){ .m = k->m, .req = k->req, .size = k->size, .plus = plus };
}

/* FALSE: no room. e: with plus; its ino 0 says that nothing is known but the type. */
static gboolean fill_add(Fill *f, const char *name, guint64 ino, guint32 type, const struct fuse_entry_param *e, off_t off)
{
	char *at = (char *)f->m->scratch->data + f->used;
	gsize left = f->size - f->used, need;
	if (f->plus) {
		need = fuse_add_direntry_plus(f->req, at, left, name, e, off);
	} else {
		struct stat st = { .st_ino = ino, .st_mode = type };
		need = fuse_add_direntry(f->req, at, left, name, &st, off);
	}
	if (need > left)
		return FALSE;
	f->used += need;
	return TRUE;
}

/* "." and "..", unless the listing is behind them. */
static void fill_dots(Fill *f, const Inode *dir, guint64 off)
{
	guint64 up = dir->parent ? dir->parent->fid.ino : dir->fid.ino;
	struct fuse_entry_param e = { .attr = { .st_ino = dir->fid.ino, .st_mode = S_IFDIR } };
	if (off < OFF_DOT && !fill_add(f, ".", dir->fid.ino, S_IFDIR, &e, OFF_DOT))
		return;
	e.attr.st_ino = up;
	if (off < OFF_DOTDOT)
		fill_add(f, "..", up, S_IFDIR, &e, OFF_DOTDOT);
}

static gboolean entry_name(const MagmaDirent *d, char *name)
{
	if (d->cookie > COOKIE_MAX || d->name.len > MAGMA_NAME_MAX)
		return FALSE;
	memcpy(name, d->name.data, d->name.len);
	name[d->name.len] = 0;
	return TRUE;
}

static void readdir_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error) {
		request_reply_err(k, error);
		return;
	}
	Fill f = fill_start(k, FALSE);
	fill_dots(&f, k->inode, k->off);
	MagmaReader r = magma_reader(rep->rep_readdir.entries.data, rep->rep_readdir.entries.len);
	while (r.left && !r.error) {
		MagmaDirent d;
		char name[MAGMA_NAME_MAX + 1];
		magma_get_dirent(&r, &d);
		if (r.error || !entry_name(&d, name)) {
			request_reply_err(k, EIO);
			return;
		}
		if (!fill_add(&f, name, d.fid.ino, d.type, NULL, (off_t)(d.cookie + OFF_DOTDOT)))
			break;
	}
	request_reply_buf(k, k->m->scratch->data, f.used);
}

static Request *readdir_call(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, const struct fuse_file_info *fi, RequestDone done)
{
	Request *k = request_new(req, MAGMA_OP_readdir, done);
	request_set_inode(k, inode_of(&k->m->inodes, ino));
	request_set_handle(k, handle_of(fi));
	k->size = MIN(size, MAGMA_DATA_MAX);
	k->off = (guint64)off;
	return k;
}

static void readdir_send(Request *k, guint32 max)
{
	k->fields.req_readdir = (struct magma_req_readdir){ .dir = k->inode->fid, .cookie = k->off > OFF_DOTDOT ? k->off - OFF_DOTDOT : 0, .max = MIN(max, MAX_LIST) };
	request_send(k);
}

/* An entry takes the volcano a little more room than the kernel, so what comes fits. */
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	Request *k = readdir_call(req, ino, size, off, fi, readdir_done);
	readdir_send(k, (guint32)k->size);
}

/* ---- with attributes: the listing, then one getattrs per owner ---- */

typedef struct {
	MagmaDirent d;
	gboolean known;
	MagmaAttr attr;
} PlusEntry;

/* Attributes being fetched for a listing; the request waits meanwhile without anything in flight of its own. */
typedef struct {
	Request *k;
	GBytes *msg;                  /* names point into it */
	GArray *entries;              /* PlusEntry */
	guint waiting;
} Plus;

typedef struct {
	Plus *plus;
	GArray *which;                /* guint: indexes into entries, in the order asked */
} PlusBatch;

static void plus_reply(Plus *p)
{
	Request *k = p->k;
	Mount *m = k->m;
	if (!k->req)
		return;
	Fill f = fill_start(k, TRUE);
	fill_dots(&f, k->inode, k->off);
	g_autoptr(GPtrArray) entered = g_ptr_array_new();
	for (guint n = 0; n < p->entries->len; n++) {
		const PlusEntry *e = &g_array_index(p->entries, PlusEntry, n);
		struct fuse_entry_param param = { .attr = { .st_ino = e->d.fid.ino, .st_mode = e->d.type } };
		char name[MAGMA_NAME_MAX + 1];
		entry_name(&e->d, name);
		Inode *i = e->known ? inodes_enter(&m->inodes, k->inode, name, &e->attr) : NULL;
		if (i)
			entry_fill(m, i, &e->attr, &param);
		if (!fill_add(&f, name, e->d.fid.ino, e->d.type, &param, (off_t)(e->d.cookie + OFF_DOTDOT))) {
			if (i)
				inodes_forget(&m->inodes, i, 1);
			break;
		}
		if (i)
			g_ptr_array_add(entered, i);
	}
	if (fuse_reply_buf(g_steal_pointer(&k->req), (char *)m->scratch->data, f.used) < 0)
		for (guint n = 0; n < entered->len; n++)
			inodes_forget(&m->inodes, entered->pdata[n], 1);
}

static void plus_unref(Plus *p)
{
	if (--p->waiting)
		return;
	plus_reply(p);
	request_part_done(p->k);
	g_bytes_unref(p->msg);
	g_array_unref(p->entries);
	g_free(p);
}

static void plus_answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	PlusBatch *b = user;
	MagmaReader r = magma_reader(error ? NULL : rep->rep_getattrs.attrs.data, error ? 0 : rep->rep_getattrs.attrs.len);
	for (guint n = 0; n < b->which->len && r.left; n++) {
		PlusEntry *e = &g_array_index(b->plus->entries, PlusEntry, g_array_index(b->which, guint, n));
		if (magma_get_u32(&r))
			continue;
		magma_get_attr(&r, &e->attr);
		e->known = !r.error && magma_fid_equal(&e->attr.fid, &e->d.fid);
	}
	plus_unref(b->plus);
	g_array_unref(b->which);
	g_free(b);
}

static void plus_ask(Plus *p, const MagmaVolcano *owner)
{
	const MagmaMap *map = magma_client_map(p->k->m->client);
	PlusBatch *b = g_new0(PlusBatch, 1);
	b->plus = p;
	b->which = g_array_new(FALSE, FALSE, sizeof(guint));
	g_autoptr(GByteArray) fids = g_byte_array_new();
	MagmaKey route = { { 0 } };
	for (guint n = 0; n < p->entries->len; n++) {
		const PlusEntry *e = &g_array_index(p->entries, PlusEntry, n);
		if (magma_map_route(map, &e->d.fid.key) != owner)
			continue;
		route = e->d.fid.key;
		g_array_append_val(b->which, n);
		magma_put_fid(fids, &e->d.fid);
	}
	struct magma_req_getattrs req = { .route = route, .fids = MAGMA_BYTES(fids->data, fids->len) };
	p->waiting++;
	magma_client_call(p->k->m->client, MAGMA_OP_getattrs, &p->k->cred, &req, NULL, plus_answered, b);
}

static void readdirplus_done(Request *k, int error, const MagmaAny *rep, GBytes *msg)
{
	if (error) {
		request_reply_err(k, error);
		return;
	}
	Plus *p = g_new0(Plus, 1);
	*p = (Plus){ .k = k, .msg = g_bytes_ref(msg), .entries = g_array_new(FALSE, TRUE, sizeof(PlusEntry)), .waiting = 1 };
	request_part_start(k);
	MagmaReader r = magma_reader(rep->rep_readdir.entries.data, rep->rep_readdir.entries.len);
	while (r.left && !r.error) {
		PlusEntry e = { 0 };
		char name[MAGMA_NAME_MAX + 1];
		magma_get_dirent(&r, &e.d);
		if (r.error || !entry_name(&e.d, name)) {
			request_reply_err(k, EIO);
			break;
		}
		g_array_append_val(p->entries, e);
	}
	/* the owners, each once: there are few */
	const MagmaMap *map = magma_client_map(k->m->client);
	g_autoptr(GPtrArray) owners = g_ptr_array_new();
	for (guint n = 0; k->req && n < p->entries->len; n++) {
		const MagmaVolcano *v = magma_map_route(map, &g_array_index(p->entries, PlusEntry, n).d.fid.key);
		if (v && !g_ptr_array_find(owners, v, NULL))
			g_ptr_array_add(owners, (gpointer)v);
	}
	for (guint n = 0; n < owners->len; n++)
		plus_ask(p, owners->pdata[n]);
	plus_unref(p);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	Request *k = readdir_call(req, ino, size, off, fi, readdirplus_done);
	readdir_send(k, (guint32)(k->size / PLUS_ENTRY_MIN * ENTRY_MIN));
}
