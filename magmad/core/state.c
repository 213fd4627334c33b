/* Typed rows, and the draft: the rows an operation changes, each loaded once, so that several changes of one row add up. */
#include "magmad/core/core.h"

int state_flare(Op *op, const MagmaFid *fid, FlareRow *row)
{
	guint8 k[STORE_KEY_MAX];
	const guint8 *val;
	gsize n;

	switch (store_get(op->sl->store, &op->fetch, TAB_FLARE, k, key_ino(k, fid->ino), &val, &n)) {
	case STORE_PENDING:
		return WAIT;
	case STORE_ABSENT:
		return ESTALE;
	case STORE_FOUND:
		break;
	}
	if (!flare_row_decode(val, n, row))
		return EIO;
	return 0;
}

int state_dir(Op *op, const MagmaFid *fid, FlareRow *row)
{
	int error = state_flare(op, fid, row);

	if (error)
		return error;
	if (!is_dir(row->attr.mode))
		return ENOTDIR;
	if (!row->sealed)
		return 0;
	/* It may yet be given back: wait for the word (rule 11). */
	Mark *m = mark_undecided(op->sl, fid->ino, MARK_SEAL);
	if (m) {
		op_park(op, &m->wait);
		return WAIT;
	}
	return ENOENT;
}

int state_entry(Op *op, guint64 dir, MagmaBytes name, EntryRow *e)
{
	guint8 k[STORE_KEY_MAX];
	const guint8 *val;
	gsize n;

	switch (store_get(op->sl->store, &op->fetch, TAB_ENTRY, k, key_ino_bytes(k, dir, name.data, name.len), &val, &n)) {
	case STORE_PENDING:
		return WAIT;
	case STORE_ABSENT:
		return ENOENT;
	case STORE_FOUND:
		break;
	}
	return entry_row_decode(val, n, e) ? 0 : EIO;
}

int state_perm(Op *op, const FlareRow *row, guint32 want)
{
	return magma_perm_check(&op->hdr.cred, row->attr.mode, row->attr.uid, row->attr.gid, want);
}

typedef struct {
	Slice *sl;
	guint64 limit;
} Reserving;

static void ino_reserved(void *user, int error)
{
	Reserving *r = user;
	Slice *sl = r->sl;

	core_enter(sl->v);
	sl->ino_reserving = FALSE;
	sl->ino_failed = error;
	sl->ino_failed_at = core_now(sl->v);
	if (!error)
		sl->ino_durable = MAX(sl->ino_durable, r->limit);
	core_ctx_free(sl, r);
	waitq_wake(sl, &sl->ack_wait);
	core_leave(sl->v);
}

/* The block is on disk before any of it is used, so neither a crash nor a power cut repeats a number; another volcano may know a number before this one's journal has what it is for. */
int state_new_ino(Op *op, guint64 *ino)
{
	Slice *sl = op->sl;

	if (sl->next_ino == sl->ino_limit) {
		Txn *t = txn_new();
		guint8 val[8];
		sl->ino_limit += INO_BLOCK;
		magma_be64_store(val, sl->ino_limit);
		txn_put(t, TAB_META, "ino_limit", 9, NULL, val, sizeof val);
		core_commit(sl, t);
	}
	if (sl->ino_durable < sl->ino_limit && !sl->ino_reserving) {
		if (sl->ino_failed && core_now(sl->v) - sl->ino_failed_at < SYNC_AGAIN)
			return sl->ino_failed;
		Reserving *r = CORE_CTX(sl, Reserving, NULL);
		*r = (Reserving){ sl, sl->ino_limit };
		sl->ino_reserving = TRUE;     /* where it fails, whoever waits is told; who comes later tries again */
		store_sync(sl->store, ino_reserved, r);
	}
	if (sl->ino_durable < sl->ino_limit) {
		op_park(op, &sl->ack_wait);
		return WAIT;
	}
	*ino = (guint64)sl->id << 48 | sl->next_ino++;
	return 0;
}

typedef struct {
	FlareRow row;
	MagmaFid fid;
	gboolean deleted;
} Drafted;

struct Draft {
	Op *op;
	Txn *txn;
	Drafted rows[PARTS_MAX + 2];
	guint n;
	GArray *orphans;              /* MagmaFid, told to gc after the commit */
	GArray *dirty;                /* struct { ino, on } */
};

Draft *draft_new(Op *op)
{
	Draft *d = g_new0(Draft, 1);

	d->op = op;
	d->txn = txn_new();
	return d;
}

void draft_free(Draft *d)
{
	if (!d)
		return;
	txn_free(d->txn);
	if (d->orphans)
		g_array_unref(d->orphans);
	if (d->dirty)
		g_array_unref(d->dirty);
	g_free(d);
}

Txn *draft_txn(Draft *d) { return d->txn; }
Slice *draft_slice(Draft *d) { return d->op->sl; }

int draft_flare(Draft *d, const MagmaFid *fid, FlareRow **row)
{
	for (guint i = 0; i < d->n; i++)
		if (d->rows[i].fid.ino == fid->ino) {
			*row = &d->rows[i].row;
			return d->rows[i].deleted ? ESTALE : 0;
		}
	g_assert(d->n < G_N_ELEMENTS(d->rows));
	Drafted *r = &d->rows[d->n];
	int error = state_flare(d->op, fid, &r->row);
	if (error)
		return error;
	r->fid = r->row.attr.fid;
	r->deleted = FALSE;
	d->n++;
	*row = &r->row;
	return 0;
}

FlareRow *draft_new_flare(Draft *d, const MagmaFid *fid)
{
	g_assert(d->n < G_N_ELEMENTS(d->rows));
	Drafted *r = &d->rows[d->n++];

	memset(r, 0, sizeof *r);
	r->fid = *fid;
	r->row.attr.fid = *fid;
	return &r->row;
}

static void put_entry(Draft *d, const FlareRow *dir, MagmaBytes name, const EntryRow *e)
{
	guint8 k[STORE_KEY_MAX];
	g_autoptr(GByteArray) val = g_byte_array_sized_new(64);
	guint64 ino = dir->attr.fid.ino;

	entry_row_encode(e, val);
	txn_put(d->txn, TAB_ENTRY, k, key_ino_bytes(k, ino, name.data, name.len), &dir->attr.fid.key, val->data, val->len);
	g_byte_array_set_size(val, 0);
	cookie_row_encode(e, name.data, name.len, val);
	txn_put(d->txn, TAB_COOKIE, k, key_ino_u64(k, ino, e->cookie), &dir->attr.fid.key, val->data, val->len);
}

static void dir_touched(FlareRow *dir, MagmaTs now)
{
	dir->attr.mtime = dir->attr.ctime = now;
}

void draft_add_entry(Draft *d, FlareRow *dir, MagmaBytes name, const MagmaFid *child, guint32 type, MagmaTs now)
{
	EntryRow e = { .cookie = dir->next_cookie++, .child = *child, .type = type };

	put_entry(d, dir, name, &e);
	dir->attr.size++;
	if (is_dir(type))
		dir->attr.nlink++;
	dir_touched(dir, now);
}

void draft_del_entry(Draft *d, FlareRow *dir, MagmaBytes name, const EntryRow *e, MagmaTs now)
{
	guint8 k[STORE_KEY_MAX];
	guint64 ino = dir->attr.fid.ino;

	txn_del(d->txn, TAB_ENTRY, k, key_ino_bytes(k, ino, name.data, name.len), &dir->attr.fid.key);
	txn_del(d->txn, TAB_COOKIE, k, key_ino_u64(k, ino, e->cookie), &dir->attr.fid.key);
	if (dir->attr.size)
		dir->attr.size--;
	if (is_dir(e->type) && dir->attr.nlink > 2)
		dir->attr.nlink--;
	dir_touched(dir, now);
}

void draft_replace_entry(Draft *d, FlareRow *dir, MagmaBytes name, const EntryRow *old, const MagmaFid *child, guint32 type, MagmaTs now)
{
	EntryRow e = { .cookie = old->cookie, .child = *child, .type = type };

	put_entry(d, dir, name, &e);
	if (is_dir(old->type) && dir->attr.nlink > 2)
		dir->attr.nlink--;
	if (is_dir(type))
		dir->attr.nlink++;
	dir_touched(dir, now);
}

void draft_destroy(Draft *d, FlareRow *row)
{
	guint8 k[STORE_KEY_MAX];
	const MagmaFid fid = row->attr.fid;
	gsize kl = key_ino(k, fid.ino);
	gboolean simple = row->content == CONTENT_INLINE && !(row->attr.flags & MAGMA_ATTR_HAS_XATTR) && !client_is_open(d->op->sl, fid.ino) && !scrub_is_suspect(d->op->sl, fid.ino)
		&& client_opens_are_known(d->op->sl);      /* who has it open may not have said so yet */

	row->attr.nlink = 0;
	row->sealed = is_dir(row->attr.mode);      /* nothing is made in it while it waits to be removed */
	if (!simple) {
		txn_put(d->txn, TAB_ORPHAN, k, kl, &fid.key, "", 0);
		if (!d->orphans)
			d->orphans = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
		g_array_append_val(d->orphans, fid);
		return;
	}
	txn_del(d->txn, TAB_FLARE, k, kl, &fid.key);
	if (S_ISREG(row->attr.mode) && row->attr.size)
		txn_del(d->txn, TAB_DATA, k, kl, &fid.key);
	for (guint i = 0; i < d->n; i++)
		if (d->rows[i].fid.ino == fid.ino)
			d->rows[i].deleted = TRUE;
}

typedef struct { MagmaFid fid; gboolean on; } DirtyChange;

void draft_dirty(Draft *d, const MagmaFid *fid, gboolean on)
{
	guint8 k[STORE_KEY_MAX];
	gsize kl = key_ino(k, fid->ino);
	DirtyChange change = { *fid, on };

	if (on)
		txn_put(d->txn, TAB_DIRTY, k, kl, &fid->key, "", 0);
	else
		txn_del(d->txn, TAB_DIRTY, k, kl, &fid->key);
	if (!d->dirty)
		d->dirty = g_array_new(FALSE, FALSE, sizeof change);
	g_array_append_val(d->dirty, change);
}

void draft_drop_inline(Draft *d, const MagmaFid *fid)
{
	guint8 k[STORE_KEY_MAX];

	txn_del(d->txn, TAB_DATA, k, key_ino(k, fid->ino), &fid->key);
}

static void note_dirty(Slice *sl, const DirtyChange *c, guint64 index)
{
	if (!c->on) {
		g_hash_table_remove(sl->dirty, &c->fid.ino);
		return;
	}
	gc_dirty(sl, &c->fid)->index = index;
}

static void encode_rows(Draft *d)
{
	guint8 k[STORE_KEY_MAX];
	g_autoptr(GByteArray) val = g_byte_array_sized_new(256);

	for (guint i = 0; i < d->n; i++) {
		if (d->rows[i].deleted)
			continue;
		g_byte_array_set_size(val, 0);
		flare_row_encode(&d->rows[i].row, val);
		txn_put(d->txn, TAB_FLARE, k, key_ino(k, d->rows[i].fid.ino), &d->rows[i].fid.key, val->data, val->len);
	}
}

guint64 draft_commit(Draft *d)
{
	Slice *sl = d->op->sl;

	encode_rows(d);
	guint64 index = core_commit(sl, g_steal_pointer(&d->txn));
	for (guint i = 0; d->dirty && i < d->dirty->len; i++)
		note_dirty(sl, &g_array_index(d->dirty, DirtyChange, i), index);
	for (guint i = 0; d->orphans && i < d->orphans->len; i++)
		gc_orphan(sl, &g_array_index(d->orphans, MagmaFid, i), index);
	draft_free(d);
	return index;
}

void draft_store_reply(Draft *d, const void *fields)
{
	Op *op = d->op;
	Slice *sl = op->sl;
	g_autoptr(GBytes) reply = op_encode_reply(op, fields, 0, FALSE);
	Client *c = op->client;

	if (c && !c->gone)
		client_store_reply(sl, c, op->hdr.xid, &op->route, reply, d->txn);
	guint64 index = draft_commit(d);
	if (c && !c->gone)
		client_reply_committed(c, op->hdr.xid, index);
}

void draft_reply(Draft *d, const void *fields)
{
	Op *op = d->op;

	draft_store_reply(d, fields);
	op_reply(op, fields, NULL);
}
