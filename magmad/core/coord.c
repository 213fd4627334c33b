/* The coordinator's side of operations over two volcanos: ask the participants, commit with one transaction here, then settle. The commit row (TAB_COMMIT) lives until every
 * participant has acknowledged that it is settled; FINAL, which may destroy, leaves only after the commit is on disk (rule 6). */
#include "magmad/core/core.h"

enum { SETTLE_BATCH = 512 };       /* marks in one SETTLE message: about 24 KiB */

void coord_start(Op *op)
{
	Slice *sl = op->sl;
	Coord *c = op->coord;

	if (!c) {
		c = op->coord = g_new0(Coord, 1);
		c->locks = g_ptr_array_new();
		c->calls = g_ptr_array_new();
	}
	g_assert(!c->active);
	c->n = 0;
	c->phase = 0;
	c->op[0] = sl->v->boot;
	c->op[1] = ++sl->v->next_op;
	c->active = TRUE;
	g_hash_table_insert(sl->attempts, c->op, op);
}

Part *coord_part(Op *op, MarkKind kind, const MagmaFid *target)
{
	Coord *c = op->coord;

	g_assert(c->n < PARTS_MAX);
	Part *p = &c->parts[c->n++];
	*p = (Part){ .kind = kind, .target = *target, .now = op->now, .uid = op->hdr.cred.uid };
	/* An operation that runs may still end on a range that is frozen: what it does is followed. */
	p->local = core_place(op->sl, &target->key) != ELSEWHERE;
	return p;
}

typedef struct {
	Op *op;
	guint part;
	Call *call;
} Asked;

static void coord_answered(Op *op)
{
	Coord *c = op->coord;

	if (c->waiting)
		return;
	op->step = c->then;
	op_run(op);
}

/* Nothing was done. ECANCELED: the operation is settled there already; somebody who had this coordinator's slice meanwhile has said that it does not know it. The client decides how long it waits for who does not answer. */
static int prepare_error(int error) { return error == ETIMEDOUT || error == ECANCELED ? MAGMA_ETRYAGAIN : error; }

static void prepared(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Asked *a = user;
	Op *op = a->op;
	Slice *sl = op->sl;
	Coord *c = op->coord;
	Part *p = &c->parts[a->part];

	core_enter(sl->v);
	g_ptr_array_remove_fast(c->calls, a->call);
	c->waiting--;
	p->error = prepare_error(error);
	p->unknown = error == ETIMEDOUT;
	if (!error) {
		const struct magma_rep_prepare *r = &rep->rep_prepare;
		MagmaReader more = magma_reader(r->more.data, r->more.len);
		p->prepared = TRUE;
		p->attr = r->attr;
		p->entry.child = r->child;
		p->entry.cookie = magma_get_u64(&more);
		p->entry.type = magma_get_u32(&more);
		p->dir_mode = magma_get_u32(&more);
		p->dir_uid = magma_get_u32(&more);
	}
	core_ctx_free(sl, a);
	coord_answered(op);
	core_leave(sl->v);
}

static void ask(Op *op, guint index)
{
	Coord *c = op->coord;
	Part *p = &c->parts[index];
	g_autoptr(GByteArray) args = g_byte_array_sized_new(256);
	struct magma_req_prepare q = {
		.target = p->target, .op_hi = c->op[0], .op_lo = c->op[1], .age = op->age, .coord = { .key = op->route },
		.kind = p->kind, .mode = p->mode, .flare = p->other,
	};

	magma_put_u32(args, p->uid);
	magma_put_u32(args, p->gid);
	magma_put_u64(args, p->rdev);
	magma_put_u64(args, p->client);
	magma_put_ts(args, p->now);
	magma_put_counted(args, p->name.data, p->name.len);
	magma_put_counted(args, p->symlink.data, p->symlink.len);
	magma_put_counted(args, p->cred.data, p->cred.len);
	q.args = MAGMA_BYTES(args->data, args->len);
	Asked *a = CORE_CTX(op->sl, Asked, NULL);
	a->op = op;
	a->part = index;
	c->waiting++;
	p->called = TRUE;
	MagmaTime left = op->started + COORD_LIMIT - core_now(op->sl->v);
	a->call = call_key(op->sl, &p->target.key, MAGMA_OP_prepare, &q, NULL, MAX(left, SECOND), prepared, a);
	g_ptr_array_add(c->calls, a->call);
}

void coord_prepare(Op *op, guint from, void (*then)(Op *op))
{
	Coord *c = op->coord;

	c->then = then;
	for (guint i = from; i < c->n; i++)
		if (!c->parts[i].local)
			ask(op, i);
	coord_answered(op);
}

int coord_error(Op *op)
{
	Coord *c = op->coord;
	int error = 0;

	for (guint i = 0; i < c->n; i++) {
		/* These come first: then no answer is final. */
		if (c->parts[i].error == MAGMA_EBACKOFF || c->parts[i].error == MAGMA_ETRYAGAIN)
			return c->parts[i].error;
		if (!error)
			error = c->parts[i].error;
	}
	return error;
}

static void put_settle_mark(GByteArray *out, const guint64 op[2], const MagmaFid *target, guint8 kind)
{
	magma_put_u64(out, op[0]);
	magma_put_u64(out, op[1]);
	magma_put_fid(out, target);
	magma_put_u8(out, kind);
}

static void tell(Slice *sl, const guint64 op[2], const MagmaFid *target, MarkKind kind, guint8 outcome)
{
	g_autoptr(GByteArray) marks = g_byte_array_new();

	put_settle_mark(marks, op, target, kind);
	struct magma_req_settle q = { .outcome = outcome, .marks = MAGMA_BYTES(marks->data, marks->len) };
	/* one try each second for a few: a lost one is found by RESOLVE, or by FINAL */
	call_key(sl, &target->key, MAGMA_OP_settle, &q, NULL, 5 * SECOND, NULL, NULL);
}

static void coord_end(Op *op)
{
	Coord *c = op->coord;

	if (!c->active)
		return;
	c->active = FALSE;
	g_hash_table_remove(op->sl->attempts, c->op);
	name_unlock_all(op);
}

static void retry(void *arg)
{
	Op *op = arg;
	Slice *sl = op->sl;

	core_enter(sl->v);
	op->coord->timer = 0;
	op_run(op);
	core_leave(sl->v);
}

void coord_abort(Op *op, int error)
{
	Coord *c = op->coord;
	Slice *sl = op->sl;
	guint16 r;

	g_assert(!c->waiting);
	for (guint i = 0; i < c->n; i++)
		if (c->parts[i].called && (c->parts[i].prepared || c->parts[i].unknown))
			tell(sl, c->op, &c->parts[i].target, c->parts[i].kind, MAGMA_SETTLE_ABORT);
	coord_end(op);
	if (error == MAGMA_EBACKOFF && core_now(sl->v) - op->started < COORD_LIMIT) {
		sl->v->io->random(sl->v->iou, &r, sizeof r);
		op->step = NULL;
		switch (op->hdr.op) {
#define CASE(name) case MAGMA_OP_##name: op->step = handle_##name; break
		CASE(mknod); CASE(mkdir); CASE(symlink); CASE(create); CASE(link); CASE(unlink); CASE(rmdir); CASE(rename);
#undef CASE
		default: g_assert_not_reached();
		}
		c->timer = sl->v->io->timer(sl->v->iou, 500 + r % 4000, retry, op);
		return;
	}
	op_finish(op, error == MAGMA_EBACKOFF ? EBUSY : error);
}

void coord_free(Op *op)
{
	Coord *c = op->coord;

	if (!c)
		return;
	coord_end(op);
	if (c->timer)
		op->sl->v->io->timer_cancel(op->sl->v->iou, c->timer);
	g_ptr_array_unref(c->locks);
	g_ptr_array_unref(c->calls);
	g_free(c);
}

/* --- commits and their settling --- */

void commit_free(gpointer p)
{
	Commit *c = p;

	g_array_unref(c->parts);
	g_array_unref(c->named);
	g_free(c);
}

static Commit *commit_new(Slice *sl, const guint64 op[2], const MagmaKey *rk)
{
	Commit *c = g_new0(Commit, 1);

	memcpy(c->op, op, sizeof c->op);
	c->coord.key = *rk;
	c->parts = g_array_new(FALSE, FALSE, sizeof(CommitPart));
	c->named = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	g_hash_table_insert(sl->commits, c->op, c);
	return c;
}

void commit_forget_range(Slice *sl, const MagmaRange *r)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, sl->commits);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (magma_range_has(r, &((Commit *)value)->coord.key))
			g_hash_table_iter_remove(&it);
}

void commit_load(Slice *sl, const StoreRow *row)
{
	if (row->klen != 16)
		return;
	guint64 op[2] = { magma_be64_load(row->key), magma_be64_load(row->key + 8) };
	if (g_hash_table_contains(sl->commits, op))
		return;
	Commit *c = commit_new(sl, op, &row->rk);
	if (!commit_row_decode(row->val, row->vlen, c->parts, c->named))
		g_array_set_size(c->parts, 0);
}

/* These are visible to readers before they are final, or hold readers up: the participant hears of the commit at once. */
static gboolean needs_commit_word(MarkKind kind) { return kind != MARK_BORN && kind != MARK_RENAME_LOCK; }

/* COMMIT shows the operation's effect to readers elsewhere, so it waits for the journal as replies do (rule 8). */
typedef struct {
	guint64 index;
	guint64 op[2];
	CommitPart part;
} Word;

static void words_add(Slice *sl, const Commit *c)
{
	for (guint i = 0; i < c->parts->len; i++) {
		const CommitPart *part = &g_array_index(c->parts, CommitPart, i);
		if (!needs_commit_word(part->kind))
			continue;
		Word *w = g_new(Word, 1);
		*w = (Word){ c->index, { c->op[0], c->op[1] }, *part };
		g_queue_push_tail(&sl->words, w);
	}
}

void coord_acked(Slice *sl, guint64 index)
{
	Word *w;

	while ((w = g_queue_peek_head(&sl->words)) && w->index <= index) {
		g_queue_pop_head(&sl->words);
		tell(sl, w->op, &w->part.target, w->part.kind, MAGMA_SETTLE_COMMIT);
		g_free(w);
	}
}

void coord_clear(Slice *sl) { g_queue_clear_full(&sl->words, g_free); }

void coord_commit(Op *op, Draft *d, const void *fields)
{
	Coord *c = op->coord;
	Slice *sl = op->sl;
	guint8 k[STORE_KEY_MAX];
	g_autoptr(GArray) remote = g_array_new(FALSE, FALSE, sizeof(CommitPart));
	gboolean lock = FALSE, names = FALSE;
	MagmaFid named[COMMIT_NAMED_MAX];
	guint n_named = 0;

	for (guint i = 0; i < c->n; i++)
		if (!c->parts[i].local && !c->parts[i].gone) {
			CommitPart part = { c->parts[i].target, c->parts[i].kind };
			lock |= part.kind == MARK_RENAME_LOCK;
			names |= part.kind == MARK_LEAVE || part.kind == MARK_SWAP;
			g_array_append_val(remote, part);
		}
	if (names) {       /* rename: its source is part 0 */
		named[n_named++] = c->parts[0].entry.child;
		if (c->target.child.ino)
			named[n_named++] = c->target.child;
	}
	Commit *commit = NULL;
	if (remote->len) {
		g_autoptr(GByteArray) val = g_byte_array_new();
		commit_row_encode((CommitPart *)remote->data, remote->len, named, n_named, val);
		txn_put(draft_txn(d), TAB_COMMIT, k, key_ino_u64(k, c->op[0], c->op[1]), &op->route, val->data, val->len);
		commit = commit_new(sl, c->op, &op->route);
		g_array_append_vals(commit->parts, remote->data, remote->len);
		g_array_append_vals(commit->named, named, n_named);
		commit->index = G_MAXUINT64;
	}
	for (guint i = 0; i < c->n; i++)
		if (c->parts[i].local && c->parts[i].kind == MARK_BORN && c->parts[i].client)
			client_open(sl, c->parts[i].client, 0, &c->parts[i].target);
	coord_end(op);
	draft_reply(d, fields);           /* op may be gone now */
	if (!commit)
		return;
	commit->index = sl->last_index;
	words_add(sl, commit);
	coord_acked(sl, store_acked(sl->store));
	if (lock)
		coord_settle_now(sl);
}

typedef struct {
	Slice *sl;
	GArray *ops;                  /* guint64 pairs, then matched with parts */
	GArray *parts;                /* CommitPart */
} Settling;

static void settling_clear(gpointer p)
{
	Settling *s = p;

	g_array_unref(s->ops);
	g_array_unref(s->parts);
}

/* TRUE: the rename lock is next, and others wait for it. */
static gboolean commit_part_done(Slice *sl, Commit *c, const CommitPart *part)
{
	guint8 k[STORE_KEY_MAX];

	for (guint i = 0; i < c->parts->len; i++) {
		CommitPart *have = &g_array_index(c->parts, CommitPart, i);
		if (have->target.ino == part->target.ino && have->kind == part->kind) {
			g_array_remove_index_fast(c->parts, i);
			break;
		}
	}
	if (c->parts->len) {
		c->sending = FALSE;
		return c->parts->len == 1 && g_array_index(c->parts, CommitPart, 0).kind == MARK_RENAME_LOCK;
	}
	Txn *t = txn_new();
	txn_del(t, TAB_COMMIT, k, key_ino_u64(k, c->op[0], c->op[1]), &c->coord.key);
	core_commit(sl, t);
	g_hash_table_remove(sl->commits, c->op);
	return FALSE;
}

/* A power cut took the mark on an entry of a rename before it was settled: what had that name is looked at. */
static void doubt_named(Slice *sl, const MagmaBytes marks)
{
	MagmaReader r = magma_reader(marks.data, marks.len);
	Txn *t = txn_new();

	while (r.left && !r.error) {
		guint64 op[2] = { magma_get_u64(&r), 0 };
		op[1] = magma_get_u64(&r);
		magma_get_fid(&r);
		magma_get_u8(&r);
		Commit *c = r.error ? NULL : g_hash_table_lookup(sl->commits, op);
		for (guint i = 0; c && i < c->named->len; i++)
			scrub_suspect(sl, &g_array_index(c->named, MagmaFid, i), t);
	}
	core_commit(sl, t);
}

static void settled(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Settling *s = user;
	Slice *sl = s->sl;

	gboolean lock = FALSE;

	core_enter(sl->v);
	if (!error)
		doubt_named(sl, rep->rep_settle.marks);
	for (guint i = 0; i < s->parts->len; i++) {
		Commit *c = g_hash_table_lookup(sl->commits, &g_array_index(s->ops, guint64, 2 * i));
		if (!c)
			continue;
		if (error)
			c->sending = FALSE;
		else
			lock |= commit_part_done(sl, c, &g_array_index(s->parts, CommitPart, i));
	}
	core_ctx_free(sl, s);
	if (lock)
		coord_settle_now(sl);
	core_leave(sl->v);
}

static void send_final(Slice *sl, Settling *s)
{
	g_autoptr(GByteArray) marks = g_byte_array_new();

	for (guint i = 0; i < s->parts->len; i++) {
		CommitPart *part = &g_array_index(s->parts, CommitPart, i);
		put_settle_mark(marks, &g_array_index(s->ops, guint64, 2 * i), &part->target, part->kind);
	}
	struct magma_req_settle q = { .outcome = MAGMA_SETTLE_FINAL, .marks = MAGMA_BYTES(marks->data, marks->len) };
	call_key(sl, &g_array_index(s->parts, CommitPart, 0).target.key, MAGMA_OP_settle, &q, NULL, 10 * SECOND, settled, s);
}

/* FINAL for every durable commit, gathered by slice. The rename lock goes alone, when all else of its operation is settled (rule 11). */
static void settle_durable(Slice *sl)
{
	g_autoptr(GHashTable) by_slice = g_hash_table_new(NULL, NULL);
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, sl->commits);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		Commit *c = value;
		if (!c->durable || c->sending || core_place(sl, &c->coord.key) != HERE)
			continue;
		c->sending = TRUE;
		for (guint i = 0; i < c->parts->len; i++) {
			CommitPart *part = &g_array_index(c->parts, CommitPart, i);
			const MagmaSlice *to = magma_map_slice(sl->v->map, &part->target.key);
			if (!to || (part->kind == MARK_RENAME_LOCK && c->parts->len > 1))
				continue;
			Settling *s = g_hash_table_lookup(by_slice, GUINT_TO_POINTER(to->id));
			if (s && s->parts->len >= SETTLE_BATCH) {
				send_final(sl, s);
				s = NULL;
			}
			if (!s) {
				s = CORE_CTX(sl, Settling, settling_clear);
				s->sl = sl;
				s->ops = g_array_new(FALSE, FALSE, sizeof(guint64));
				s->parts = g_array_new(FALSE, FALSE, sizeof(CommitPart));
				g_hash_table_insert(by_slice, GUINT_TO_POINTER(to->id), s);
			}
			g_array_append_vals(s->ops, c->op, 2);
			g_array_append_val(s->parts, *part);
		}
	}
	g_hash_table_iter_init(&it, by_slice);
	while (g_hash_table_iter_next(&it, NULL, &value))
		send_final(sl, value);
}

typedef struct {
	Slice *sl;
	guint64 index;
} SyncedTo;

static void synced(void *user, int error)
{
	SyncedTo *s = user;
	Slice *sl = s->sl;
	GHashTableIter it;
	gpointer value;

	core_enter(sl->v);
	sl->settling = FALSE;
	g_hash_table_iter_init(&it, sl->commits);
	while (!error && g_hash_table_iter_next(&it, NULL, &value)) {
		Commit *c = value;
		if (c->index <= s->index)
			c->durable = TRUE;
	}
	core_ctx_free(sl, s);
	if (!error)
		settle_durable(sl);
	core_leave(sl->v);
}

void coord_settle_now(Slice *sl)
{
	GHashTableIter it;
	gpointer value;
	gboolean need = FALSE;

	if (sl->settling || !sl->v->map)
		return;
	g_hash_table_iter_init(&it, sl->commits);
	while (!need && g_hash_table_iter_next(&it, NULL, &value))
		need = !((Commit *)value)->durable || !((Commit *)value)->sending;
	if (!need)
		return;
	SyncedTo *s = CORE_CTX(sl, SyncedTo, NULL);
	*s = (SyncedTo){ sl, sl->last_index };
	sl->settling = TRUE;
	store_sync(sl->store, synced, s);
}

void coord_tick(Slice *sl)
{
	if (g_hash_table_size(sl->commits) && sl->serving && !move_sealed(sl))
		coord_settle_now(sl);
}
