/* What of a history that was set aside differs from what stands? Its tree is walked from the root by names, each name is looked up in the network as any client would (as root), one question at a time. A flare differs
 * whose name does not stand, or leads to something of another type, owner, mode, device, target, content or attributes. Times and link counts alone do not count. Below a directory whose name does not stand
 * everything differs. What is the same flare with the same time of change is equal without a look at its content: both histories had it from before. */
#include "magmad/core/aside.h"

#define BUDGET 64                     /* steps without a rest: each is a few microseconds */
#define REST 2000                     /* microseconds between them: clients go first */
#define BATCH 256                     /* entries read at a time */
#define CHUNK (256u << 10)            /* bytes of content compared at a time */
#define ASK_LIMIT (5 * SECOND)        /* a question nobody answers is asked again, by the map as it is then */
#define LOST_MAX 4                    /* so often in a row a name led to a flare that was gone */
#define XATTRS_MAX 4096

typedef struct {
	guint64 ino;
	Store *store;
	gboolean both;                /* stands: the directory of that name */
	MagmaFid stands;
	guint64 cookie;               /* of the last entry that was looked at */
	GArray *batch;                /* AsideEntry */
	guint at;
	gboolean eof;
	AsideEntry own;               /* its entry in the one above */
	gboolean shown;
} Frame;

struct Compare {
	Aside *a;
	Volcano *v;
	AsideRead *read;
	GPtrArray *frames;            /* Frame *: the way from the root */
	gboolean (*step)(Compare *c);         /* FALSE: something is waited for, and wake() will come */
	guint timer;
	Call *call;                   /* what the network is asked */
	gboolean scanning;            /* what a store is asked */
	gboolean dead;                /* freed when the store has answered */
	/* the entry that is looked at */
	FlareRow row;                 /* its target is gone with the turn: */
	GBytes *target;
	Store *store;
	guint lost;
	MagmaAttr stands;
	guint64 offset;               /* content up to here is the same */
	GBytes *ours;
	GPtrArray *names, *values;    /* GBytes *: extended attributes */
	guint xattr;
	int failed;                   /* something of its stores could not be read: nothing is said of the whole */
};

static gboolean step_next(Compare *c);
static gboolean step_row(Compare *c);
static gboolean step_lookup(Compare *c);
static gboolean step_decide(Compare *c);
static gboolean step_xattrs(Compare *c);
static gboolean step_xattr(Compare *c);
static gboolean step_content(Compare *c);

/* --- running --- */

static void turn(void *arg)
{
	Compare *c = arg;
	Volcano *v = c->v;
	guint left = BUDGET;

	core_enter(v);
	c->timer = 0;
	while (left && !v->stopping && c->step(c))
		left--;
	if (!left)
		c->timer = v->io->timer(v->iou, REST, turn, c);
	core_leave(v);
}

/* What was waited for is there. Never from inside of what asked for it. */
static void wake(void *user)
{
	Compare *c = user;

	if (!c->timer && !c->dead)
		c->timer = c->v->io->timer(c->v->iou, 0, turn, c);
}

static Frame *top(const Compare *c) { return c->frames->pdata[c->frames->len - 1]; }
static const AsideEntry *entry(const Compare *c) { return &g_array_index(top(c)->batch, AsideEntry, top(c)->at); }

static void own_clear(gpointer e) { g_free(((AsideEntry *)e)->name); }

static void frame_free(gpointer p)
{
	Frame *f = p;

	g_array_unref(f->batch);
	g_free(f->own.name);
	g_free(f);
}

static void frame_push(Compare *c, const AsideEntry *own, guint64 ino, Store *store, const MagmaFid *stands)
{
	Frame *f = g_new0(Frame, 1);

	f->ino = ino;
	f->store = store;
	f->both = stands != NULL;
	if (stands)
		f->stands = *stands;
	f->batch = g_array_new(FALSE, FALSE, sizeof(AsideEntry));
	g_array_set_clear_func(f->batch, own_clear);
	if (own) {
		f->own = *own;
		f->own.name = g_strdup(own->name);
	}
	f->shown = own == NULL;
	g_ptr_array_add(c->frames, f);
}

static void entry_reset(Compare *c)
{
	aside_read_reset(c->read);
	g_clear_pointer(&c->ours, g_bytes_unref);
	g_clear_pointer(&c->target, g_bytes_unref);
	g_clear_pointer(&c->names, g_ptr_array_unref);
	g_clear_pointer(&c->values, g_ptr_array_unref);
	c->lost = c->xattr = 0;
	c->offset = 0;
}

static void compare_drop(Compare *c)
{
	g_ptr_array_unref(c->frames);
	g_free(c);
}

void compare_free(Compare *c)
{
	if (!c)
		return;
	if (c->timer)
		c->v->io->timer_cancel(c->v->iou, c->timer);
	if (c->call)
		call_cancel(c->call);
	entry_reset(c);
	aside_read_free(c->read);
	c->timer = 0;
	c->dead = TRUE;
	if (!c->scanning)
		compare_drop(c);
}

/* Ends the comparison, and c. */
static gboolean finish(Compare *c, int error)
{
	Aside *a = c->a;

	compare_free(c);
	aside_compared(a, error);
	return FALSE;
}

/* The entry, and the directories above it. */
static void show(Compare *c, const AsideEntry *e)
{
	for (guint i = 1; i < c->frames->len; i++) {
		Frame *f = c->frames->pdata[i];
		if (!f->shown)
			aside_show(c->a, ((Frame *)c->frames->pdata[i - 1])->ino, &f->own);
		f->shown = TRUE;
	}
	aside_show(c->a, top(c)->ino, e);
}

/* On to the next one. A directory is gone into: with what stands under that name, or (NULL) with nothing. */
static gboolean decided(Compare *c, gboolean differs, const MagmaFid *stands)
{
	const AsideEntry *e = entry(c);

	if (differs) {
		show(c, e);
		c->a->is.differing++;
	}
	top(c)->at++;
	c->step = step_next;
	if (is_dir(c->row.attr.mode)) {
		frame_push(c, e, c->row.attr.fid.ino, c->store, stands);
		top(c)->shown = differs;
	}
	entry_reset(c);
	return TRUE;
}

/* --- the next entry --- */

static void listed(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Compare *c = user;

	c->scanning = FALSE;
	if (c->dead) {
		compare_drop(c);
		return;
	}
	Frame *f = top(c);
	g_array_set_size(f->batch, 0);
	f->at = 0;
	f->eof = eof;
	c->failed = error;
	for (guint i = 0; i < n; i++) {
		EntryRow row;
		MagmaBytes name;
		if (!cookie_row_decode(rows[i].val, rows[i].vlen, &row, &name) || !magma_name_valid(name.data, name.len))
			continue;
		AsideEntry e = { row.cookie, row.child.ino, row.type, g_strndup((const char *)name.data, name.len) };
		f->cookie = row.cookie;
		g_array_append_val(f->batch, e);
	}
	wake(c);
}

static gboolean step_next(Compare *c)
{
	guint8 prefix[8], from[16];
	Frame *f = top(c);

	if (c->failed)
		return finish(c, c->failed);
	if (f->at < f->batch->len) {
		c->step = step_row;
		return TRUE;
	}
	if (f->eof) {
		g_ptr_array_remove_index(c->frames, c->frames->len - 1);
		return c->frames->len ? TRUE : finish(c, 0);
	}
	key_ino(prefix, f->ino);
	key_ino_u64(from, f->ino, f->cookie);
	c->scanning = TRUE;
	store_scan(f->store, TAB_COOKIE, from, sizeof from, prefix, sizeof prefix, BATCH, listed, c);
	return FALSE;
}

static gboolean step_row(Compare *c)
{
	int error = aside_flare(c->read, entry(c)->child, &c->row, &c->store);

	if (error == WAIT)
		return FALSE;
	if (error && error != ESTALE)
		return finish(c, error);
	if (error) {                  /* a name that leads nowhere */
		top(c)->at++;
		c->step = step_next;
		entry_reset(c);
		return TRUE;
	}
	if (!top(c)->both)
		return decided(c, TRUE, NULL);
	c->target = g_bytes_new(c->row.target.data, c->row.target.len);
	c->step = step_lookup;
	return TRUE;
}

/* --- what stands there --- */

static gboolean ask(Compare *c, MagmaOp op, const MagmaKey *key, const void *req, CallDone done)
{
	c->call = call_owner(c->v, key, op, req, ASK_LIMIT, done, c);
	return FALSE;
}

/* Nobody has answered: TRUE. The step that asked is run again. */
static gboolean ask_again(Compare *c, int error)
{
	c->call = NULL;
	if (error != ETIMEDOUT)
		return FALSE;
	if (!c->timer)
		c->timer = c->v->io->timer(c->v->iou, SECOND, turn, c);
	return TRUE;
}

static void got_attr(Compare *c, int error, const MagmaAttr *attr)
{
	if (!error) {
		c->stands = *attr;
		c->step = step_decide;
	} else if (++c->lost < LOST_MAX) {
		c->step = step_lookup;
	} else {
		c->stands = (MagmaAttr){ 0 };
		c->step = step_decide;
	}
	wake(c);
}

static void on_getattr(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Compare *c = user;

	if (!ask_again(c, error))
		got_attr(c, error, error ? NULL : &rep->rep_getattr.attr);
}

static void on_lookup(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Compare *c = user;

	if (ask_again(c, error))
		return;
	if (error) {
		c->lost = LOST_MAX;
		got_attr(c, error, NULL);
	} else if (rep->rep_lookup.has_attr) {
		got_attr(c, 0, &rep->rep_lookup.attr);
	} else {
		struct magma_req_getattr q = { .fid = rep->rep_lookup.child };
		ask(c, MAGMA_OP_getattr, &q.fid.key, &q, on_getattr);
	}
}

static gboolean step_lookup(Compare *c)
{
	const Frame *f = top(c);
	struct magma_req_lookup q = { .dir = f->stands, .name = MAGMA_BYTES_STR(entry(c)->name) };

	return ask(c, MAGMA_OP_lookup, &q.dir.key, &q, on_lookup);
}

/* --- is it the same? --- */

static gboolean same_attributes(const MagmaAttr *a, const MagmaAttr *b)
{
	if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid)
		return FALSE;
	if ((S_ISCHR(a->mode) || S_ISBLK(a->mode)) && a->rdev != b->rdev)
		return FALSE;
	return is_dir(a->mode) || a->size == b->size;
}

/* Behind this only contents and extended attributes can differ. */
static gboolean step_decide(Compare *c)
{
	const MagmaAttr *a = &c->row.attr, *b = &c->stands;
	const MagmaFid *stands = is_dir(a->mode) && is_dir(b->mode) ? &b->fid : NULL;

	if (!same_attributes(a, b))
		return decided(c, TRUE, stands);
	if (magma_fid_equal(&a->fid, &b->fid) && magma_ts_cmp(a->ctime, b->ctime) == 0)
		return decided(c, FALSE, stands);
	c->step = (a->flags | b->flags) & MAGMA_ATTR_HAS_XATTR ? step_xattrs : step_content;
	return TRUE;
}

static gboolean differs_there(Compare *c) { return decided(c, TRUE, is_dir(c->row.attr.mode) ? &c->stands.fid : NULL); }

/* An answer says that it differs. */
static gboolean step_differs(Compare *c) { return differs_there(c); }

/* --- extended attributes: ours are read, theirs are counted, then each is asked for --- */

static void on_names(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Compare *c = user;
	guint theirs = 0;

	if (ask_again(c, error))
		return;
	for (guint i = 0; !error && i < rep->rep_listxattr.names.len; i++)
		theirs += rep->rep_listxattr.names.data[i] == 0;
	c->step = !error && theirs == c->names->len ? step_xattr : step_differs;
	wake(c);
}

static void on_our_xattrs(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Compare *c = user;

	c->scanning = FALSE;
	if (c->dead) {
		compare_drop(c);
		return;
	}
	c->failed = error;
	c->names = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	c->values = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	for (guint i = 0; i < n; i++) {
		g_ptr_array_add(c->names, g_bytes_new(rows[i].key + 8, rows[i].klen - 8));
		g_ptr_array_add(c->values, g_bytes_new(rows[i].val, rows[i].vlen));
	}
	wake(c);
}

static gboolean step_xattrs(Compare *c)
{
	struct magma_req_listxattr q = { .fid = c->stands.fid };
	guint8 prefix[8];

	if (c->failed)
		return finish(c, c->failed);
	if (c->names)
		return ask(c, MAGMA_OP_listxattr, &q.fid.key, &q, on_names);
	key_ino(prefix, c->row.attr.fid.ino);
	c->scanning = TRUE;
	store_scan(c->store, TAB_XATTR, NULL, 0, prefix, sizeof prefix, XATTRS_MAX, on_our_xattrs, c);
	return FALSE;
}

static void on_xattr(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Compare *c = user;

	if (ask_again(c, error))
		return;
	gsize n;
	const guint8 *ours = g_bytes_get_data(c->values->pdata[c->xattr++], &n);
	if (error || rep->rep_getxattr.value.len != n || (n && memcmp(rep->rep_getxattr.value.data, ours, n) != 0))
		c->step = step_differs;
	wake(c);
}

static gboolean step_xattr(Compare *c)
{
	struct magma_req_getxattr q = { .fid = c->stands.fid };
	gsize n;

	if (c->xattr == c->names->len) {
		c->step = step_content;
		return TRUE;
	}
	const guint8 *name = g_bytes_get_data(c->names->pdata[c->xattr], &n);
	q.name = MAGMA_BYTES(name, n);
	return ask(c, MAGMA_OP_getxattr, &q.fid.key, &q, on_xattr);
}

/* --- contents --- */

static gboolean all_zero(const guint8 *p, gsize n)
{
	for (gsize i = 0; i < n; i++)
		if (p[i])
			return FALSE;
	return TRUE;
}

/* What one lacks at the end is a hole. */
static gboolean same_bytes(const guint8 *a, gsize na, const guint8 *b, gsize nb)
{
	gsize n = MIN(na, nb);

	return (!n || memcmp(a, b, n) == 0) && all_zero(a + n, na - n) && all_zero(b + n, nb - n);
}

static void on_read(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Compare *c = user;
	gsize n;

	if (ask_again(c, error))
		return;
	const guint8 *ours = g_bytes_get_data(c->ours, &n);
	if (error || !same_bytes(ours, n, rep->rep_read.data.data, rep->rep_read.data.len))
		c->step = step_differs;
	c->offset += CHUNK;
	g_clear_pointer(&c->ours, g_bytes_unref);
	if (!c->timer)                /* a rest behind each piece */
		c->timer = c->v->io->timer(c->v->iou, REST, turn, c);
}

static void on_our_bytes(void *user, int error, GBytes *data)
{
	Compare *c = user;

	c->scanning = FALSE;
	if (c->dead) {
		compare_drop(c);
		return;
	}
	if (error)                    /* what cannot be read cannot be the same */
		c->step = step_differs;
	else
		c->ours = g_bytes_ref(data);
	wake(c);
}

/* 0: c->ours is there; WAIT. */
static int our_bytes(Compare *c)
{
	guint8 k[STORE_KEY_MAX];
	const guint8 *val;
	gsize n;

	if (c->ours)
		return 0;
	if (c->row.content == CONTENT_FILE) {
		c->scanning = TRUE;
		store_content_read(c->store, &c->row.attr.fid, c->offset, (guint32)MIN(CHUNK, c->row.attr.size - c->offset), on_our_bytes, c);
		return WAIT;
	}
	int error = aside_value(c->read, c->store, TAB_DATA, k, key_ino(k, c->row.attr.fid.ino), &val, &n);
	if (!error)
		c->ours = g_bytes_new(val, MIN(n, c->row.attr.size));
	else if (error == ENODATA)
		c->ours = g_bytes_new(NULL, 0);
	return error == WAIT ? WAIT : 0;
}

static void on_target(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Compare *c = user;

	if (ask_again(c, error))
		return;
	gsize n;
	const guint8 *ours = g_bytes_get_data(c->target, &n);
	if (error || rep->rep_readlink.target.len != n || (n && memcmp(rep->rep_readlink.target.data, ours, n) != 0))
		c->step = step_differs;
	else
		c->offset = G_MAXUINT64;
	wake(c);
}

static gboolean step_content(Compare *c)
{
	const MagmaAttr *a = &c->row.attr;
	struct magma_req_readlink l = { .fid = c->stands.fid };
	struct magma_req_read r = { .fid = c->stands.fid, .offset = c->offset, .size = CHUNK };

	if ((!S_ISREG(a->mode) && !S_ISLNK(a->mode)) || c->offset >= a->size)
		return decided(c, FALSE, is_dir(a->mode) ? &c->stands.fid : NULL);
	if (S_ISLNK(a->mode))
		return ask(c, MAGMA_OP_readlink, &l.fid.key, &l, on_target);
	if (our_bytes(c) == WAIT)
		return FALSE;
	return ask(c, MAGMA_OP_read, &r.fid.key, &r, on_read);
}

/* --- the root --- */

static gboolean step_root(Compare *c)
{
	MagmaFid root = magma_fid_root();
	int error = aside_flare(c->read, root.ino, &c->row, &c->store);

	if (error == WAIT)
		return FALSE;
	if (error)                    /* not even the root: killed before it had begun anew, it was set aside again */
		return finish(c, error == ESTALE ? 0 : error);
	frame_push(c, NULL, root.ino, c->store, &root);
	entry_reset(c);
	c->step = step_next;
	return TRUE;
}

Compare *compare_new(Aside *a)
{
	Compare *c = g_new0(Compare, 1);

	c->a = a;
	c->v = a->v;
	c->frames = g_ptr_array_new_with_free_func(frame_free);
	c->read = aside_read_new(a, wake, c);
	c->step = step_root;
	wake(c);
	return c;
}
