/* /.dht/conflicts: of histories that were set aside, the flares that differ from what stands. Which names are shown is known since the comparison (aside.h); attributes, contents and targets are read from the stores.
 * Permissions are those that the flares had. Hard links are shown as so many files. */
#include "magmad/core/aside.h"
#include "magmad/core/dht.h"
#include <unistd.h>

#define FRESH SECOND                  /* who holds something: asked for so often at most */

/* --- who has set something aside --- */

typedef struct {
	Volcano *v;
	guint asking;
	MagmaTime made;
	GHashTable *ids;              /* set of volcano ids */
	Waitq wait;
} Holders;

typedef struct {
	Holders *h;
	guint16 volcano;
} Question;

static void holder_answered(void *user, gboolean alive, const struct magma_rep_status *st)
{
	Question *q = user;
	Holders *h = q->h;
	Volcano *v = h->v;

	core_enter(v);
	if (alive && st->conflicts.len)
		g_hash_table_add(h->ids, GUINT_TO_POINTER(q->volcano));
	core_ctx_free(v, q);
	if (--h->asking == 0) {
		h->made = core_now(v);
		waitq_wake(NULL, &h->wait);
	}
	core_leave(v);
}

static void holders_ask(Holders *h)
{
	const MagmaMap *map = h->v->map;

	g_hash_table_remove_all(h->ids);
	for (guint i = 0; i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		if (o->flags & MAGMA_VOLCANO_DOWN)
			continue;
		Question *q = CORE_CTX(h->v, Question, NULL);
		*q = (Question){ h, o->id };
		h->asking++;
		volcano_ask_status(h->v, o->id, holder_answered, q);
	}
}

static Holders *holders_of(Volcano *v)
{
	Holders *h = v->holders;

	if (h)
		return h;
	v->holders = h = g_new0(Holders, 1);
	h->v = v;
	h->made = -FRESH;
	h->ids = g_hash_table_new(NULL, NULL);
	return h;
}

void dht_holders_clear(Volcano *v)
{
	Holders *h = g_steal_pointer(&v->holders);

	if (!h)
		return;
	g_queue_clear(&h->wait.waiters);
	g_hash_table_unref(h->ids);
	g_free(h);
}

int dht_holders(Op *op)
{
	const struct magma_req_readdir *q = &op->req.req_readdir;
	const MagmaMap *map = op->v->map;
	Holders *h = holders_of(op->v);
	g_autoptr(GByteArray) out = g_byte_array_new();
	gboolean room = TRUE;

	if (h->asking || (!q->cookie && h->made + FRESH < op->started)) {
		op_park(op, &h->wait);
		if (!h->asking)
			holders_ask(h);
		return WAIT;
	}
	for (guint i = 0; room && i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		DhtNode node = { DHT_HOLDER, o->id };
		if (o->id > q->cookie && magma_name_valid((const guint8 *)o->name, strlen(o->name)) && g_hash_table_contains(h->ids, GUINT_TO_POINTER(o->id)))
			room = dht_put_entry(out, CLAMP(q->max, 512, MAGMA_DATA_MAX), o->id, &node, S_IFDIR, o->name);
	}
	struct magma_rep_readdir rep = { .eof = room, .entries = MAGMA_BYTES(out->data, out->len) };
	op_reply(op, &rep, NULL);
	return 0;
}

/* --- reading the stores for an operation --- */

static void op_ready(void *user) { op_run(user); }

static void read_free(gpointer r) { aside_read_free(r); }

/* Opens the stores where they are not. 0, ESTALE, EIO. */
static int reader(Op *op, const DhtNode *node, AsideRead **out)
{
	Aside *a = node->volcano == op->v->id ? aside_find(op->v, node->time) : NULL;
	int error = a ? op->data ? 0 : aside_open(a) : ESTALE;

	if (error)
		return error;
	if (!op->data) {
		op->data = aside_read_new(a, op_ready, op);
		op->data_free = read_free;
	}
	*out = op->data;
	return aside_read_of(op->data) == a ? 0 : ESTALE;     /* several of one GETATTRS are of one */
}

static gboolean is_shown(const Aside *a, guint64 dir, const char *name) { return aside_entry(a, dir, name) != NULL; }

/* The flare's row, and its attributes as they are shown. */
/* A flare of a history that does not stand: its row there, and what is shown of it here. */
typedef struct {
	FlareRow row;
	Store *store;
	MagmaAttr attr;
} Shown;

static int flare(Op *op, const DhtNode *node, Shown *out)
{
	AsideRead *r;
	int error = reader(op, node, &r);

	if (error || (error = aside_flare(r, node->ino, &out->row, &out->store)))
		return error;
	out->attr = out->row.attr;
	out->attr.fid = dht_fid(node);
	out->attr.nlink = is_dir(out->attr.mode) ? 2 : 1;
	if (is_dir(out->attr.mode)) {
		const AsideDir *d = aside_dir(aside_read_of(r), node->ino);
		out->attr.size = d ? d->entries->len : 0;
	}
	return 0;
}

/* What a row beside the flare's says. */
typedef struct {
	const guint8 *p;
	gsize n;
} Value;

static int value_of(Op *op, const Shown *f, StoreTable table, const guint8 *key, gsize klen, Value *out) { return aside_value(op->data, f->store, table, key, klen, &out->p, &out->n); }

int dht_aside_attr(Op *op, const DhtNode *node, MagmaAttr *out)
{
	Shown f;
	int error = flare(op, node, &f);

	if (!error)
		*out = f.attr;
	return error;
}

/* --- operations --- */

static int time_of(Op *op, const char *name, DhtNode *node)
{
	guint64 time;

	if (!magma_conflict_time_parse(name, &time) || !aside_find(op->v, time))
		return ENOENT;
	*node = (DhtNode){ DHT_ASIDE, op->v->id, time, MAGMA_ROOT_INO };
	return 0;
}

static int entry_of(Op *op, const DhtNode *dir, const char *name, DhtNode *node)
{
	MagmaAttr attr;
	int error = dht_aside_attr(op, dir, &attr);

	if (error)
		return error;
	if (!is_dir(attr.mode))
		return ENOTDIR;
	if ((error = dht_may(op, &attr, MAGMA_X)))
		return error;
	const Aside *a = aside_find(op->v, dir->time);
	if (!is_shown(a, dir->ino, name))
		return ENOENT;
	*node = *dir;
	node->ino = aside_entry(a, dir->ino, name)->child;
	return 0;
}

static int lookup(Op *op, const DhtNode *dir)
{
	struct magma_rep_lookup rep = { .has_attr = 1 };
	g_autofree char *name = g_strndup((const char *)op->req.req_lookup.name.data, op->req.req_lookup.name.len);
	DhtNode node;
	int error = dir->kind == DHT_HOLDER ? time_of(op, name, &node) : entry_of(op, dir, name, &node);

	if (error || (error = dht_aside_attr(op, &node, &rep.attr)))
		return error;
	rep.child = rep.attr.fid;
	rep.type = rep.attr.mode & S_IFMT;
	op_reply(op, &rep, NULL);
	return 0;
}

/* The times, which are their own cookies. */
static gboolean list_times(Op *op, guint32 max, GByteArray *out)
{
	g_autoptr(GArray) all = asides_list(op->v);
	gboolean room = TRUE;

	for (guint i = 0; room && i < all->len; i++) {
		guint64 time = g_array_index(all, MagmaConflict, i).time;
		DhtNode node = { DHT_ASIDE, op->v->id, time, MAGMA_ROOT_INO };
		char name[MAGMA_CONFLICT_TIME_TEXT];
		room = time <= op->req.req_readdir.cookie || dht_put_entry(out, max, time, &node, S_IFDIR, magma_conflict_time_text(time, name));
	}
	return room;
}

/* The first entry behind a cookie. */
static guint entry_behind(const AsideDir *d, guint64 cookie)
{
	guint lo = 0, hi = d->entries->len;

	while (lo < hi) {
		guint mid = lo + (hi - lo) / 2;
		if (g_array_index(d->entries, AsideEntry, mid).cookie <= cookie)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int list_entries(Op *op, const DhtNode *dir, guint32 max, GByteArray *out, gboolean *room)
{
	Aside *a = aside_find(op->v, dir->time);
	const AsideDir *d = a ? aside_dir(a, dir->ino) : NULL;

	*room = TRUE;
	if (!a)
		return ESTALE;
	for (guint i = d ? entry_behind(d, op->req.req_readdir.cookie) : 0; *room && d && i < d->entries->len; i++) {
		const AsideEntry *e = &g_array_index(d->entries, AsideEntry, i);
		DhtNode node = { DHT_ASIDE, dir->volcano, dir->time, e->child };
		*room = dht_put_entry(out, max, e->cookie, &node, e->type, e->name);
	}
	return 0;
}

static int readdir_(Op *op, const DhtNode *dir)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	guint32 max = CLAMP(op->req.req_readdir.max, 512, MAGMA_DATA_MAX);
	gboolean room = TRUE;
	int error = 0;

	if (dir->kind == DHT_HOLDER)
		room = list_times(op, max, out);
	else
		error = list_entries(op, dir, max, out, &room);
	if (error)
		return error;
	struct magma_rep_readdir rep = { .eof = room, .entries = MAGMA_BYTES(out->data, out->len) };
	op_reply(op, &rep, NULL);
	return 0;
}

static int readlink_(Op *op, const DhtNode *node)
{
	Shown f;
	int error = flare(op, node, &f);

	if (error)
		return error;
	if (!S_ISLNK(f.attr.mode))
		return EINVAL;
	struct magma_rep_readlink rep = { .target = f.row.target };
	op_reply(op, &rep, NULL);
	return 0;
}

static guint32 bytes_wanted(const struct magma_req_read *q, const MagmaAttr *attr)
{
	return q->offset < attr->size ? (guint32)MIN(MIN(q->size, MAGMA_DATA_MAX), attr->size - q->offset) : 0;
}

static void content_read(void *user, int error, GBytes *data)
{
	Op *op = user;
	guint32 want = op->req.req_read.size;
	struct magma_rep_read rep = { .data = { NULL, want } };
	g_autoptr(GBytes) whole = NULL;

	if (!error) {                 /* what the file lacks is a hole */
		gsize n;
		const guint8 *p = g_bytes_get_data(data, &n);
		guint8 *copy = g_malloc0(want);
		if (n)
			memcpy(copy, p, MIN(n, want));
		whole = g_bytes_new_take(copy, want);
	}
	op_answer(op, error, &rep, whole);
}

static int read_(Op *op, const DhtNode *node)
{
	static const struct magma_rep_read nothing;
	const struct magma_req_read *q = &op->req.req_read;
	guint8 k[STORE_KEY_MAX];
	Value v;
	Shown f;
	int error = flare(op, node, &f);

	if (error)
		return error;
	if (!S_ISREG(f.attr.mode))
		return is_dir(f.attr.mode) ? EISDIR : EINVAL;
	guint32 want = bytes_wanted(q, &f.attr);
	if (!want) {
		op_reply(op, &nothing, NULL);
		return 0;
	}
	if (f.row.content == CONTENT_FILE) {
		op->req.req_read.size = want; /* the row need not be in memory any more when the bytes come */
		store_content_read(f.store, &f.row.attr.fid, q->offset, want, content_read, op);
		return WAIT;
	}
	if ((error = value_of(op, &f, TAB_DATA, k, key_ino(k, node->ino), &v)))
		return error == ENODATA ? EIO : error;
	gsize at = MIN(q->offset, v.n);
	struct magma_rep_read rep = { .data = { v.p + at, (guint32)MIN(want, v.n - at) } };
	op_reply(op, &rep, NULL);
	return 0;
}

static int getxattr_(Op *op, const DhtNode *node)
{
	const struct magma_req_getxattr *q = &op->req.req_getxattr;
	guint8 k[STORE_KEY_MAX];
	Value v;
	Shown f;
	int error = flare(op, node, &f);

	if (error)
		return error;
	f.row.attr = f.attr;
	if ((error = op_xattr_may_read(op, &f.row, q->name)))
		return error;
	if ((error = value_of(op, &f, TAB_XATTR, k, key_ino_bytes(k, node->ino, q->name.data, q->name.len), &v)))
		return error;
	struct magma_rep_getxattr rep = { .value = MAGMA_BYTES(v.p, v.n) };
	op_reply(op, &rep, NULL);
	return 0;
}

enum { XATTRS_MAX = 4096 };

static void xattrs_listed(void *user, int error, const StoreRow *rows, guint n, gboolean eof) { op_xattrs_listed(user, error, rows, n, eof); }

static int listxattr_(Op *op, const DhtNode *node)
{
	guint8 prefix[8];
	Shown f;
	int error = flare(op, node, &f);

	if (error)
		return error;
	key_ino(prefix, node->ino);
	store_scan(f.store, TAB_XATTR, NULL, 0, prefix, sizeof prefix, XATTRS_MAX, xattrs_listed, op);
	return WAIT;
}

/* What needs nothing but attributes. */
static int by_attr(Op *op, const DhtNode *node)
{
	const struct magma_req_seek *s = &op->req.req_seek;
	MagmaAttr attr;
	int error = dht_aside_attr(op, node, &attr);

	if (error)
		return error;
	switch (op->hdr.op) {
	case MAGMA_OP_getattr:
		op_reply(op, &(struct magma_rep_getattr){ .attr = attr }, NULL);
		return 0;
	case MAGMA_OP_access:
		if (!(error = dht_may(op, &attr, op->req.req_access.mask & (MAGMA_R | MAGMA_W | MAGMA_X))))
			op_finish(op, 0);
		return error;
	case MAGMA_OP_open:
		if (!(error = dht_may(op, &attr, dht_open_wants(op->req.req_open.flags))))
			op_reply(op, &(struct magma_rep_open){ .attr = attr }, NULL);
		return error;
	default:                      /* seek: no holes are known */
		if (!S_ISREG(attr.mode) || (s->whence != SEEK_DATA && s->whence != SEEK_HOLE))
			return EINVAL;
		if (s->offset >= attr.size)
			return ENXIO;
		op_reply(op, &(struct magma_rep_seek){ .offset = s->whence == SEEK_DATA ? s->offset : attr.size }, NULL);
		return 0;
	}
}

int dht_aside(Op *op, const DhtNode *node)
{
	switch (op->hdr.op) {
	case MAGMA_OP_lookup: return lookup(op, node);
	case MAGMA_OP_readdir: return readdir_(op, node);
	case MAGMA_OP_getattrs: return dht_getattrs(op);
	case MAGMA_OP_readlink: return readlink_(op, node);
	case MAGMA_OP_read: return read_(op, node);
	case MAGMA_OP_getxattr: return getxattr_(op, node);
	case MAGMA_OP_listxattr: return listxattr_(op, node);
	case MAGMA_OP_getattr:
	case MAGMA_OP_access:
	case MAGMA_OP_open:
	case MAGMA_OP_seek:
		return by_attr(op, node);
	case MAGMA_OP_release:
	case MAGMA_OP_fsync:
		op_finish(op, 0);
		return 0;
	default:
		return EOPNOTSUPP;
	}
}
