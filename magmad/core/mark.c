/* The participant's side of operations over two volcanos: check, prepare under a mark, then commit, final or abort as the coordinator says. A mark is a row, so it outlives a crash; one whose
 * coordinator is silent asks it (RESOLVE). All messages may come twice: a prepare that finds its mark answers again, a settle without a mark is acknowledged. */
#include "magmad/core/dht.h"

enum { ASK_MAX_PER_TICK = 64 };
#define SETTLED_KEPT (20 * SECOND)     /* a message lives as long as its session tries: seconds */

guint mark_hash(gconstpointer p)
{
	const Mark *m = p;

	return g_int64_hash(&m->row.op_lo) ^ g_int64_hash(&m->row.target.ino) ^ m->row.kind;
}

gboolean mark_equal(gconstpointer pa, gconstpointer pb)
{
	const Mark *a = pa, *b = pb;

	return a->row.op_hi == b->row.op_hi && a->row.op_lo == b->row.op_lo && a->row.target.ino == b->row.target.ino && a->row.kind == b->row.kind;
}

void mark_free(gpointer p) { g_free(p); }

Mark *mark_find(Slice *sl, guint64 hi, guint64 lo, guint64 ino, MarkKind kind)
{
	Mark probe = { .row = { .op_hi = hi, .op_lo = lo, .target = { .ino = ino }, .kind = kind } };

	return g_hash_table_lookup(sl->marks, &probe);
}

/* --- what is settled for good: a late copy of its PREPARE must not begin it again. In memory, because a restart ends the sessions that could still bring one. --- */

guint settled_hash(gconstpointer p)
{
	const Settled *s = p;

	return g_int64_hash(&s->op_lo) ^ g_int64_hash(&s->ino) ^ (guint)s->kind;
}

gboolean settled_equal(gconstpointer a, gconstpointer b) { return memcmp(a, b, sizeof(Settled)) == 0; }

static void settled_remember(Slice *sl, guint64 hi, guint64 lo, guint64 ino, guint8 kind)
{
	Settled s = { hi, lo, ino, kind };

	g_hash_table_add(sl->settled[0], g_memdup2(&s, sizeof s));
}

static gboolean settled_already(Slice *sl, guint64 hi, guint64 lo, guint64 ino, guint8 kind)
{
	Settled s = { hi, lo, ino, kind };

	return g_hash_table_contains(sl->settled[0], &s) || g_hash_table_contains(sl->settled[1], &s);
}

static void settled_tick(Slice *sl)
{
	GHashTable *old = sl->settled[1];

	if (core_now(sl->v) - sl->settled_since < SETTLED_KEPT)
		return;
	g_hash_table_remove_all(old);
	sl->settled[1] = sl->settled[0];
	sl->settled[0] = old;
	sl->settled_since = core_now(sl->v);
}

static gboolean on_name(MarkKind kind) { return kind == MARK_LEAVE || kind == MARK_SWAP; }

static GPtrArray *marks_of(Slice *sl, guint64 ino) { return g_hash_table_lookup(sl->marks_by_ino, &ino); }

static Mark *mark_remember(Slice *sl, const MarkRow *row)
{
	Mark *m = g_new0(Mark, 1);

	m->row = *row;
	m->since = core_now(sl->v);
	g_queue_init(&m->wait.waiters);
	if (on_name(row->kind)) {
		m->name = name_key(row->target.ino, row->name);
		/* a committed one holds its name no more, and another may hold it by now (both come back with a start) */
		if (!row->committed)
			g_hash_table_replace(sl->marks_by_name, &m->name, m);
	}
	m->row.name = MAGMA_BYTES(m->name.name, m->name.len);
	g_hash_table_add(sl->marks, m);
	GPtrArray *list = marks_of(sl, row->target.ino);
	if (!list) {
		list = g_ptr_array_new();
		g_hash_table_insert(sl->marks_by_ino, g_memdup2(&row->target.ino, 8), list);
	}
	g_ptr_array_add(list, m);
	return m;
}

static void mark_forget(Slice *sl, Mark *m)
{
	GPtrArray *list = marks_of(sl, m->row.target.ino);
	guint64 ino = m->row.target.ino;

	if (on_name(m->row.kind) && g_hash_table_lookup(sl->marks_by_name, &m->name) == m)
		g_hash_table_remove(sl->marks_by_name, &m->name);
	g_ptr_array_remove_fast(list, m);
	if (!list->len)
		g_hash_table_remove(sl->marks_by_ino, &ino);
	waitq_wake(sl, &m->wait);
	g_hash_table_remove(sl->marks, m);     /* frees it */
}

void mark_load(Slice *sl, const StoreRow *row)
{
	MarkRow m;

	if (mark_row_decode(row->val, row->vlen, &m) && !mark_find(sl, m.op_hi, m.op_lo, m.target.ino, m.kind)) {
		Mark *mark = mark_remember(sl, &m);
		mark->since = core_now(sl->v) - RESOLVE_AFTER;      /* from before this start: ask at once */
	}
}

Mark *mark_undecided(Slice *sl, guint64 ino, MarkKind kind)
{
	GPtrArray *list = g_hash_table_size(sl->marks_by_ino) ? marks_of(sl, ino) : NULL;

	for (guint i = 0; list && i < list->len; i++) {
		Mark *m = list->pdata[i];
		if (m->row.kind == kind && !m->row.committed)
			return m;
	}
	return NULL;
}

guint mark_count(Slice *sl, guint64 ino, MarkKind kind)
{
	GPtrArray *list = g_hash_table_size(sl->marks_by_ino) ? marks_of(sl, ino) : NULL;
	guint n = 0;

	for (guint i = 0; list && i < list->len; i++)
		n += ((Mark *)list->pdata[i])->row.kind == kind;
	return n;
}

guint mark_count_all(Slice *sl, guint64 ino)
{
	GPtrArray *list = g_hash_table_size(sl->marks_by_ino) ? marks_of(sl, ino) : NULL;

	return list ? list->len : 0;
}

void mark_forget_range(Slice *sl, const MagmaRange *r)
{
	g_autoptr(GPtrArray) out = g_ptr_array_new();
	GHashTableIter it;
	gpointer key;

	g_hash_table_iter_init(&it, sl->marks);
	while (g_hash_table_iter_next(&it, &key, NULL))
		if (magma_range_has(r, &((Mark *)key)->row.target.key))
			g_ptr_array_add(out, key);
	for (guint i = 0; i < out->len; i++)
		mark_forget(sl, out->pdata[i]);
}

/* Links, size and entries of a flare hang on it. The coordinator may have committed, and answered, already. */
static gboolean shows(MarkKind kind)
{
	return kind == MARK_REF_ADD || kind == MARK_REF_DROP || kind == MARK_SEAL || kind == MARK_LEAVE || kind == MARK_SWAP;
}

Mark *mark_undecided_any(Slice *sl, guint64 ino)
{
	GPtrArray *list = g_hash_table_size(sl->marks_by_ino) ? marks_of(sl, ino) : NULL;

	for (guint i = 0; list && i < list->len; i++) {
		Mark *m = list->pdata[i];
		if (!m->row.committed && shows(m->row.kind))
			return m;
	}
	return NULL;
}

/* The outcome of something prepared is not known yet: what is read now might still vanish, or be gone already. */
gboolean mark_blocks_flare(Op *op, guint64 ino)
{
	Mark *m = mark_undecided_any(op->sl, ino);

	if (m)
		op_park(op, &m->wait);
	return m != NULL;
}

void core_put_cred(GByteArray *out, const MagmaCred *c)
{
	magma_put_u32(out, c->uid);
	magma_put_u32(out, c->gid);
	magma_put_u16(out, c->has_groups ? c->ngroups : 0xffff);
	if (c->has_groups)
		magma_put_bytes(out, c->groups_be, 4 * (gsize)c->ngroups);
}

gboolean core_get_cred(MagmaBytes b, MagmaCred *c)
{
	MagmaReader r = magma_reader(b.data, b.len);

	*c = (MagmaCred){ .uid = magma_get_u32(&r), .gid = 0 };
	c->gid = magma_get_u32(&r);
	guint16 n = magma_get_u16(&r);
	if (n != 0xffff) {
		c->has_groups = TRUE;
		c->ngroups = n;
		c->groups_be = magma_get_bytes(&r, 4 * (gsize)n);
	}
	return !r.error && !r.left;
}

/* Somebody else holds that name: the older waits, the younger backs off (DESIGN section 3), so there is no circle. */
static int name_claim(Op *op, Part *p, guint64 age)
{
	Slice *sl = op->sl;
	NameLock *l = name_holder(sl, p->target.ino, p->name);
	Mark *m = mark_on_name(sl, p->target.ino, p->name);

	if (l && l->owner != op) {
		if (age >= l->owner->age)
			return MAGMA_EBACKOFF;
		op_park(op, &l->wait);
		return WAIT;
	}
	if (m) {
		if (age >= m->row.age)
			return MAGMA_EBACKOFF;
		op_park(op, &m->wait);
		return WAIT;
	}
	return 0;
}

static int check_entry(Op *op, Part *p, guint64 age)
{
	FlareRow dir;
	MagmaCred cred;
	int error = name_claim(op, p, age);

	if (error || (error = state_dir(op, &p->target, &dir)))
		return error;
	if (!core_get_cred(p->cred, &cred))
		return EPROTO;
	if ((error = magma_perm_check(&cred, dir.attr.mode, dir.attr.uid, dir.attr.gid, MAGMA_W | MAGMA_X)))
		return error;
	if ((error = state_entry(op, p->target.ino, p->name, &p->entry)))
		return error == ENOENT && dht_takes(&p->target, p->name) ? EROFS : error;
	p->attr = dir.attr;
	p->dir_mode = dir.attr.mode;
	p->dir_uid = dir.attr.uid;
	return 0;
}

/* Is something prepared there by another operation than the one that asks? (A rename of a/b over a has its own mark in a.) */
static gboolean others_undecided(Op *op, guint64 ino)
{
	GPtrArray *list = marks_of(op->sl, ino);
	const struct magma_req_prepare *q = &op->req.req_prepare;
	guint64 hi = op->coord ? op->coord->op[0] : q->op_hi, lo = op->coord ? op->coord->op[1] : q->op_lo;

	for (guint i = 0; list && i < list->len; i++) {
		const MarkRow *m = &((Mark *)list->pdata[i])->row;
		if (!m->committed && shows(m->kind) && (m->op_hi != hi || m->op_lo != lo))
			return TRUE;
	}
	return FALSE;
}

/* Links that may yet be taken back. */
static guint links_undecided(Slice *sl, guint64 ino)
{
	GPtrArray *list = marks_of(sl, ino);
	guint n = 0;

	for (guint i = 0; list && i < list->len; i++) {
		const MarkRow *m = &((Mark *)list->pdata[i])->row;
		n += m->kind == MARK_REF_ADD && !m->committed;
	}
	return n;
}

static int check_flare(Op *op, Part *p)
{
	FlareRow row;
	MagmaCred cred;
	int error = state_flare(op, &p->target, &row);

	if (error)
		return error == ESTALE ? ENOENT : error;
	p->attr = row.attr;
	switch (p->kind) {
	case MARK_REF_ADD:
		/* the answer says how many links there are */
		if (others_undecided(op, p->target.ino))
			return MAGMA_EBACKOFF;
		if (row.attr.nlink == 0)
			return marks_of(op->sl, p->target.ino) ? MAGMA_EBACKOFF : ENOENT;
		if (row.attr.nlink >= 65000)
			return EMLINK;
		return is_dir(row.attr.mode) ? EPERM : 0;
	case MARK_REF_DROP:
		if (is_dir(row.attr.mode))
			return EISDIR;
		if (row.attr.nlink == 0)
			return marks_of(op->sl, p->target.ino) ? MAGMA_EBACKOFF : ENOENT;
		/* it would take away one that may never have been: then there would be less than none */
		if (row.attr.nlink <= links_undecided(op->sl, p->target.ino))
			return MAGMA_EBACKOFF;
		break;
	case MARK_SEAL:
		if (!is_dir(row.attr.mode))
			return ENOTDIR;
		if (row.sealed)
			return marks_of(op->sl, p->target.ino) ? MAGMA_EBACKOFF : ENOENT;
		if (row.attr.size)        /* an entry may be gone already, or come back */
			return others_undecided(op, p->target.ino) ? MAGMA_EBACKOFF : ENOTEMPTY;
		break;
	case MARK_REPARENT:
		/* a rename before may not have said yet that it is committed: its parent, written when it does, would be the newer one */
		if (mark_undecided(op->sl, p->target.ino, MARK_REPARENT))
			return MAGMA_EBACKOFF;
		p->entry.child = row.parent;      /* kept in the mark, for undoing */
		break;
	default:
		break;
	}
	if (p->kind == MARK_REPARENT && is_dir(row.attr.mode) && p->cred.len && p->other.ino != row.parent.ino) {
		if (!core_get_cred(p->cred, &cred))
			return EPROTO;
		if ((error = magma_perm_check(&cred, row.attr.mode, row.attr.uid, row.attr.gid, MAGMA_W)))
			return error;
	}
	/* mode 1: the directory is sticky and neither it nor root asks, so the child must be the caller's */
	if (p->mode & 1 && p->uid != row.attr.uid)
		return EPERM;
	return 0;
}

static int check_rename_lock(Op *op, guint64 age)
{
	GPtrArray *list = marks_of(op->sl, MAGMA_ROOT_INO);

	for (guint i = 0; list && i < list->len; i++) {
		Mark *m = list->pdata[i];
		if (m->row.kind != MARK_RENAME_LOCK)
			continue;
		if (age >= m->row.age)
			return MAGMA_EBACKOFF;
		op_park(op, &m->wait);
		return WAIT;
	}
	return 0;
}

int part_check(Op *op, Part *p, guint64 age)
{
	switch (p->kind) {
	case MARK_BORN: {
		StoreUsage u;
		op->sl->store->vt->usage(op->sl->store, &u);
		return u.low ? ENOSPC : 0;
	}
	case MARK_LEAVE:
	case MARK_SWAP:
		return check_entry(op, p, age);
	case MARK_RENAME_LOCK:
		return check_rename_lock(op, age);
	default:
		return check_flare(op, p);
	}
}

static void born(Draft *d, Part *p)
{
	FlareRow *row = draft_new_flare(d, &p->target);
	MagmaAttr *a = &row->attr;

	a->mode = p->mode;
	a->nlink = is_dir(p->mode) ? 2 : 1;
	a->uid = p->uid;
	a->gid = p->gid;
	a->rdev = p->rdev;
	a->atime = a->mtime = a->ctime = a->btime = p->now;
	row->parent = p->other;
	row->next_cookie = 1;
	row->target = p->symlink;
	if (S_ISLNK(p->mode))
		a->size = p->symlink.len;
	p->attr = *a;
}

static int apply_entry(Draft *d, Part *p, Phase phase)
{
	FlareRow *dir;
	int error;

	if (phase == PHASE_PREPARE || phase == PHASE_FINAL)
		return 0;
	if ((error = draft_flare(d, &p->target, &dir)))
		return error;
	if (phase == PHASE_COMMIT && p->kind == MARK_LEAVE)
		draft_del_entry(d, dir, p->name, &p->entry, p->now);
	else if (phase == PHASE_COMMIT)
		draft_replace_entry(d, dir, p->name, &p->entry, &p->other, p->mode, p->now);
	return 0;
}

/* A commit that the coordinator lost (its disk did): the entry comes back as it was; beside it, where its name has been given again. */
static int undo_entry(Op *op, Draft *d, Part *p)
{
	FlareRow *dir;
	EntryRow now;
	char other[64];
	NameLock *l = name_holder(op->sl, p->target.ino, p->name);

	if (l && l->owner != op) {    /* since the commit the name was anybody's: who holds it counts on what it found there */
		op_park(op, &l->wait);
		return WAIT;
	}
	int error = draft_flare(d, &p->target, &dir);

	if (!error) {
		error = state_entry(op, p->target.ino, p->name, &now);
		if (!error && p->kind == MARK_LEAVE) {
			g_snprintf(other, sizeof other, "restored-%016" G_GINT64_MODIFIER "x", p->entry.child.ino);
			p->name = MAGMA_BYTES_STR(other);
		}
		if (error == ENOENT)
			error = p->kind == MARK_LEAVE ? 0 : ENOENT;
	}
	if (error)
		return error;
	if (p->kind == MARK_LEAVE)
		draft_add_entry(d, dir, p->name, &p->entry.child, p->entry.type, p->now);
	else {
		EntryRow was = { .cookie = p->entry.cookie, .child = p->other, .type = p->mode };
		draft_replace_entry(d, dir, p->name, &was, &p->entry.child, p->entry.type, p->now);
	}
	return 0;
}

static int apply_flare(Draft *d, Part *p, Phase phase)
{
	Slice *sl = draft_slice(d);
	FlareRow *row;
	int error = draft_flare(d, &p->target, &row);

	if (error)
		return error;
	switch (p->kind) {
	case MARK_REF_ADD:
		if (phase == PHASE_PREPARE)
			row->attr.nlink++;
		else if (phase == PHASE_ABORT && row->attr.nlink && !--row->attr.nlink && !mark_count(sl, p->target.ino, MARK_REF_DROP))
			draft_destroy(d, row);      /* its other names went meanwhile */
		break;
	case MARK_REF_DROP:
		if (phase == PHASE_PREPARE && row->attr.nlink)
			row->attr.nlink--;
		else if (phase == PHASE_ABORT)
			row->attr.nlink++;
		break;
	case MARK_SEAL:
		row->sealed = phase != PHASE_ABORT;
		if (phase == PHASE_COMMIT)
			row->attr.nlink = 0;
		else if (phase == PHASE_ABORT)
			row->attr.nlink = 2;         /* it is empty */
		break;
	case MARK_REPARENT:
		if (phase == PHASE_COMMIT)
			row->parent = p->other;
		break;
	default:
		break;
	}
	if (phase == (p->kind == MARK_REPARENT ? PHASE_COMMIT : PHASE_PREPARE))
		row->attr.ctime = p->now;
	p->attr = row->attr;
	/* Another removal that is not final may yet give its link back: the last one destroys. (own: this mark itself, where there is one) */
	guint own = p->marked ? 1 : 0;
	if (phase == PHASE_FINAL && p->kind == MARK_REF_DROP && row->attr.nlink == 0 && mark_count(sl, p->target.ino, MARK_REF_DROP) == own)
		draft_destroy(d, row);
	if (phase == PHASE_FINAL && p->kind == MARK_SEAL)
		draft_destroy(d, row);
	return 0;
}

static int born_abort(Draft *d, Part *p)
{
	Slice *sl = draft_slice(d);
	FlareRow *row;
	int error = draft_flare(d, &p->target, &row);

	if (error)
		return error;
	/* Its coordinator lost the name it was born with (its disk did). It may have another by now, or be a directory that is not empty: its names will be counted. */
	if (mark_count_all(sl, p->target.ino) > 1 || row->parent.ino != p->other.ino || (is_dir(row->attr.mode) ? row->attr.size : row->attr.nlink > 1)) {
		if (!is_dir(row->attr.mode) && row->attr.nlink > 1)
			row->attr.nlink--;
		client_close_born(sl, p->target.ino);     /* who was told nothing would never give it back */
		scrub_suspect(sl, &p->target, draft_txn(d));
	} else {
		client_close_all(sl, p->target.ino);      /* opened by the CREATE that is undone */
		draft_destroy(d, row);
	}
	return 0;
}

int part_apply(Draft *d, Part *p, Phase phase)
{
	scrub_touch(draft_slice(d), p->target.ino);
	switch (p->kind) {
	case MARK_BORN:
		if (phase == PHASE_PREPARE)
			born(d, p);
		return phase == PHASE_ABORT ? born_abort(d, p) : 0;
	case MARK_LEAVE:
	case MARK_SWAP:
		return apply_entry(d, p, phase);
	case MARK_RENAME_LOCK:
		return 0;
	default:
		return apply_flare(d, p, phase);
	}
}

int part_apply_all(Draft *d, Part *p)
{
	int error = part_apply(d, p, PHASE_PREPARE);

	if (!error)
		error = part_apply(d, p, PHASE_COMMIT);
	if (!error)
		error = part_apply(d, p, PHASE_FINAL);
	return error;
}

/* --- messages --- */

static gboolean part_decode(Op *op, Part *p)
{
	const struct magma_req_prepare *q = &op->req.req_prepare;
	MagmaReader r = magma_reader(q->args.data, q->args.len);

	*p = (Part){ .kind = q->kind, .target = q->target, .other = q->flare, .mode = q->mode };
	p->uid = magma_get_u32(&r);
	p->gid = magma_get_u32(&r);
	p->rdev = magma_get_u64(&r);
	p->client = magma_get_u64(&r);
	p->now = magma_get_ts(&r);
	p->name = magma_get_counted(&r, MAGMA_NAME_MAX);
	p->symlink = magma_get_counted(&r, MAGMA_SYMLINK_MAX);
	p->cred = magma_get_counted(&r, 10 + 4 * 65535);
	if (r.error || r.left || p->kind < MARK_BORN || p->kind >= MARK_KINDS)
		return FALSE;
	return !on_name(p->kind) || magma_name_valid(p->name.data, p->name.len);
}

static void prepare_answer(Op *op, Part *p)
{
	struct magma_rep_prepare rep = { .child = p->entry.child, .attr = p->attr };
	g_autoptr(GByteArray) more = g_byte_array_new();

	magma_put_u64(more, p->entry.cookie);
	magma_put_u32(more, p->entry.type);
	magma_put_u32(more, p->dir_mode);
	magma_put_u32(more, p->dir_uid);
	rep.more = MAGMA_BYTES(more->data, more->len);
	op_reply(op, &rep, NULL);
}

static void put_mark(Txn *t, const MarkRow *m)
{
	guint8 k[STORE_KEY_MAX];
	g_autoptr(GByteArray) val = g_byte_array_sized_new(256);

	mark_row_encode(m, val);
	txn_put(t, TAB_MARK, k, key_mark(k, m->op_hi, m->op_lo, m->target.ino, m->kind), &m->target.key, val->data, val->len);
}

static void del_mark(Txn *t, const MarkRow *m)
{
	guint8 k[STORE_KEY_MAX];

	txn_del(t, TAB_MARK, k, key_mark(k, m->op_hi, m->op_lo, m->target.ino, m->kind), &m->target.key);
}

/* The same prepare again, its answer was lost: tell what is there. */
static int prepare_again(Op *op, Part *p, const Mark *m)
{
	FlareRow row;
	int error = p->kind == MARK_RENAME_LOCK ? 0 : state_flare(op, &p->target, &row);

	if (error)
		return error;
	p->entry = m->row.entry;
	if (p->kind != MARK_RENAME_LOCK) {
		p->attr = row.attr;
		p->dir_mode = row.attr.mode;
		p->dir_uid = row.attr.uid;
	}
	prepare_answer(op, p);
	return 0;
}

static int prepare(Op *op)
{
	const struct magma_req_prepare *q = &op->req.req_prepare;
	Slice *sl = op->sl;
	Part p;
	Mark *m;
	int error;

	if (!part_decode(op, &p))
		return EPROTO;
	if ((m = mark_find(sl, q->op_hi, q->op_lo, p.target.ino, p.kind)))
		return prepare_again(op, &p, m);
	if (settled_already(sl, q->op_hi, q->op_lo, p.target.ino, p.kind))
		return ECANCELED;
	if ((error = part_check(op, &p, q->age)))
		return error;
	g_autoptr(Draft) d = draft_new(op);
	if ((error = part_apply(d, &p, PHASE_PREPARE)))
		return error;
	MarkRow row = {
		.op_hi = q->op_hi, .op_lo = q->op_lo, .target = p.target, .kind = p.kind, .age = q->age, .coord = q->coord,
		.other = p.other, .entry = p.entry, .type = p.mode, .name = p.name,
	};
	put_mark(draft_txn(d), &row);
	draft_commit(g_steal_pointer(&d));
	mark_remember(sl, &row);
	if (p.kind == MARK_BORN && p.client)
		client_open_born(sl, p.client, &p.target);
	prepare_answer(op, &p);
	return 0;
}

void handle_prepare(Op *op) { op_fail(op, prepare(op)); }

static Part part_of_mark(Op *op, const Mark *m)
{
	return (Part){ .kind = m->row.kind, .target = m->row.target, .other = m->row.other, .entry = m->row.entry, .mode = m->row.type,
		.name = m->row.name, .now = op->now, .marked = TRUE };
}

/* It was undone after its coordinator had said "committed": a power cut took the commit there. What other operations did since may not fit. */
static void settle_doubts(Slice *sl, const Mark *m, Txn *t)
{
	if (on_name(m->row.kind)) {
		scrub_suspect(sl, &m->row.entry.child, t);
		if (m->row.kind == MARK_SWAP)
			scrub_suspect(sl, &m->row.other, t);
	} else if (m->row.kind != MARK_RENAME_LOCK) {
		scrub_suspect(sl, &m->row.target, t);
	}
}

static void trace_mark(Slice *sl, const MarkRow *m, const char *what, guint n)
{
	MAGMA_TRACE(sl->trace, 'v', "mark of %" G_GINT64_MODIFIER "x.%" G_GUINT64_FORMAT ", kind %d on ino %" G_GUINT64_FORMAT ": %s %u", m->op_hi, m->op_lo, m->kind, m->target.ino, what, n);
}

/* One mark, one outcome. 0, or WAIT. A row that is gone is no reason to keep the mark. */
static int settle_one(Op *op, Mark *m, guint8 outcome)
{
	Part p = part_of_mark(op, m);
	g_autoptr(Draft) d = draft_new(op);
	int error = 0;

	if (outcome == MAGMA_SETTLE_COMMIT && m->row.committed)
		return 0;
	if (outcome == MAGMA_SETTLE_ABORT) {
		if (m->row.committed && p.kind == MARK_REPARENT) {
			p.other = m->row.entry.child;
			error = part_apply(d, &p, PHASE_COMMIT);
		} else {
			error = m->row.committed && on_name(p.kind) ? undo_entry(op, d, &p) : part_apply(d, &p, PHASE_ABORT);
		}
	} else {
		if (!m->row.committed)
			error = part_apply(d, &p, PHASE_COMMIT);
		if (!error && outcome == MAGMA_SETTLE_FINAL)
			error = part_apply(d, &p, PHASE_FINAL);
	}
	if (error == WAIT)
		return WAIT;
	trace_mark(op->sl, &m->row, "outcome", outcome);
	if (outcome == MAGMA_SETTLE_ABORT && m->row.committed)
		settle_doubts(op->sl, m, draft_txn(d));
	if (error)
		MAGMA_TRACE(op->sl->trace, 'v', "mark of kind %d on ino %" G_GUINT64_FORMAT ": %s", p.kind, p.target.ino, g_strerror(error));
	if (outcome == MAGMA_SETTLE_COMMIT) {
		m->row.committed = TRUE;
		put_mark(draft_txn(d), &m->row);
		draft_commit(g_steal_pointer(&d));
		if (on_name(p.kind) && g_hash_table_lookup(op->sl->marks_by_name, &m->name) == m)
			g_hash_table_remove(op->sl->marks_by_name, &m->name);
		waitq_wake(op->sl, &m->wait);
		return 0;
	}
	del_mark(draft_txn(d), &m->row);
	draft_commit(g_steal_pointer(&d));
	mark_forget(op->sl, m);
	return 0;
}

/* FINAL for a mark of which nothing is known. Settled before this start; or a power cut took it, and the coordinator's entry is there or gone without us: the flare's names are counted. */
static void settle_unknown(Op *op, guint64 hi, guint64 lo, const MagmaFid *target, guint8 kind)
{
	Slice *sl = op->sl;

	if (on_name(kind)) {      /* whose name it was, only the coordinator knows */
		if (!op->data) {
			op->data = g_byte_array_new();
			op->data_free = (GDestroyNotify)g_byte_array_unref;
		}
		magma_put_u64(op->data, hi);
		magma_put_u64(op->data, lo);
		magma_put_fid(op->data, target);
		magma_put_u8(op->data, kind);
	} else if (kind != MARK_RENAME_LOCK) {
		Txn *t = txn_new();
		scrub_suspect(sl, target, t);
		core_commit(sl, t);
	}
}

static void settle_answer(Op *op)
{
	GByteArray *unknown = op->data;
	struct magma_rep_settle rep = { .marks = unknown ? MAGMA_BYTES(unknown->data, unknown->len) : MAGMA_BYTES(NULL, 0) };

	op_reply(op, &rep, NULL);
}

static void settle_synced(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	if (error)
		op_error(op, error);
	else
		settle_answer(op);
	core_leave(sl->v);
}

/* list of marks; each is settled in a transaction of its own, so a run that waits for a row goes on where it was. FINAL is acknowledged when it is on disk: the coordinator forgets the operation
 * then, and a mark that a power cut brought back would find nobody who knows it. */
gboolean mark_settle_route(const struct magma_req_settle *q, MagmaKey *route)
{
	MagmaReader r = magma_reader(q->marks.data, q->marks.len);

	magma_get_u64(&r);
	magma_get_u64(&r);
	*route = magma_get_fid(&r).key;
	return !r.error;
}

void handle_settle(Op *op)
{
	const struct magma_req_settle *q = &op->req.req_settle;
	MagmaReader r = magma_reader(q->marks.data, q->marks.len);

	if (!op->sl) {                /* not even one mark: it concerns no slice */
		op_error(op, EPROTO);
		return;
	}
	if (!op->sl->serving || move_sealed(op->sl)) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	while (r.left && !r.error) {
		guint64 hi = magma_get_u64(&r), lo = magma_get_u64(&r);
		MagmaFid target = magma_get_fid(&r);
		guint8 kind = magma_get_u8(&r);
		Mark *m = r.error ? NULL : mark_find(op->sl, hi, lo, target.ino, kind);
		if (m && settle_one(op, m, q->outcome) == WAIT)
			return;
		if (!m && !r.error && core_place(op->sl, &target.key) != HERE) {
			op_error(op, MAGMA_ETRYAGAIN);       /* it may have moved, with its mark */
			return;
		}
		gboolean unknown = !m && !r.error && q->outcome == MAGMA_SETTLE_FINAL && !settled_already(op->sl, hi, lo, target.ino, kind);
		if (unknown)
			settle_unknown(op, hi, lo, &target, kind);
		/* an entry's stays unknown: another copy of this message must not be answered otherwise */
		if (!r.error && q->outcome != MAGMA_SETTLE_COMMIT && !(unknown && on_name(kind)))
			settled_remember(op->sl, hi, lo, target.ino, kind);
	}
	if (r.error)
		op_error(op, EPROTO);
	else if (q->outcome == MAGMA_SETTLE_FINAL)
		store_sync(op->sl->store, settle_synced, op);
	else
		settle_answer(op);
}

/* --- marks that hang --- */

typedef struct {
	Slice *sl;
	guint64 hi, lo, ino;
	MarkKind kind;
} Asking;

/* Runs settle_one for an answer that did not come as a message. */
static void step_resolved(Op *op)
{
	Asking *a = op->data;
	Mark *m = mark_find(op->sl, a->hi, a->lo, a->ino, a->kind);

	if (m && !move_sealed(op->sl)) {
		if (settle_one(op, m, op->hdr.flags) == WAIT)
			return;
		if (op->hdr.flags != MAGMA_SETTLE_COMMIT)
			settled_remember(op->sl, a->hi, a->lo, a->ino, a->kind);
	}
	op_drop(op);
}

static void resolved(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Asking *a = user;
	Slice *sl = a->sl;
	Mark *m = mark_find(sl, a->hi, a->lo, a->ino, a->kind);

	core_enter(sl->v);
	if (m) {
		m->asking = FALSE;
		m->since = core_now(sl->v);
	}
	/* The rename lock is let go by its coordinator alone, when all else is settled (rule 11), or because nobody knows the operation. */
	gboolean keep = !error && (rep->rep_resolve.outcome == MAGMA_SETTLE_PENDING || (a->kind == MARK_RENAME_LOCK && rep->rep_resolve.outcome != MAGMA_SETTLE_ABORT));
	if (m && !error && !keep) {
		MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_settle, .flags = rep->rep_resolve.outcome };
		Op *op = op_new(sl->v, sl, &h, NULL, NULL, NULL);
		op->data = g_memdup2(a, sizeof *a);
		op->data_free = g_free;
		op->step = step_resolved;
		op_run(op);
	}
	core_ctx_free(sl, a);
	core_leave(sl->v);
}

void mark_map_changed(Slice *sl, const MagmaMap *old)
{
	GHashTableIter it;
	gpointer key;

	g_hash_table_iter_init(&it, sl->marks);
	while (g_hash_table_iter_next(&it, &key, NULL)) {
		Mark *m = key;
		const MagmaSlice *was = magma_map_slice(old, &m->row.coord.key), *is = magma_map_slice(sl->v->map, &m->row.coord.key);
		if (was && is && (was->owner != is->owner || was->epoch != is->epoch))
			m->since = core_now(sl->v) - RESOLVE_AFTER;
	}
}

void mark_tick(Slice *sl)
{
	settled_tick(sl);
	if (move_sealed(sl) || !sl->serving)
		return;
	MagmaTime now = core_now(sl->v);
	GHashTableIter it;
	gpointer key;
	guint asked = 0;

	g_hash_table_iter_init(&it, sl->marks);
	while (asked < ASK_MAX_PER_TICK && g_hash_table_iter_next(&it, &key, NULL)) {
		Mark *m = key;
		/* one that is arriving with a slice is the other volcano's business until the map says otherwise */
		if (m->asking || now - m->since < RESOLVE_AFTER || core_place(sl, &m->row.target.key) != HERE)
			continue;
		struct magma_req_resolve q = { .coord = m->row.coord, .op_hi = m->row.op_hi, .op_lo = m->row.op_lo };
		Asking *a = CORE_CTX(sl, Asking, NULL);
		*a = (Asking){ sl, m->row.op_hi, m->row.op_lo, m->row.target.ino, m->row.kind };
		m->asking = TRUE;
		asked++;
		call_key(sl, &q.coord.key, MAGMA_OP_resolve, &q, NULL, 0, resolved, a);
	}
}

void handle_resolve(Op *op)
{
	const struct magma_req_resolve *q = &op->req.req_resolve;
	guint64 id[2] = { q->op_hi, q->op_lo };
	struct magma_rep_resolve rep = { .outcome = MAGMA_SETTLE_ABORT };
	Commit *c = g_hash_table_lookup(op->sl->commits, id);

	if (g_hash_table_contains(op->sl->attempts, id))
		rep.outcome = MAGMA_SETTLE_PENDING;
	else if (c)
		rep.outcome = c->durable ? MAGMA_SETTLE_FINAL : MAGMA_SETTLE_COMMIT;
	op_reply(op, &rep, NULL);
}
