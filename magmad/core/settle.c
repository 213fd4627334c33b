/* PREPARE, SETTLE, RESOLVE: the participant's messages. */
#include "magmad/core/mark.h"

enum { ASK_MAX_PER_TICK = 64 };

/* --- prepare --- */

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
	return !mark_on_a_name(p->kind) || magma_name_valid(p->name.data, p->name.len);
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

/* --- settle --- */

static Part part_of_mark(Op *op, const Mark *m)
{
	return (Part){ .kind = m->row.kind, .target = m->row.target, .other = m->row.other, .entry = m->row.entry, .mode = m->row.type,
		.name = m->row.name, .now = op->now, .marked = TRUE };
}

/* It was undone after its coordinator had said "committed": a power cut took the commit there. What other operations did since may not fit. */
static void settle_doubts(Slice *sl, const Mark *m, Txn *t)
{
	if (mark_on_a_name(m->row.kind)) {
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
			error = m->row.committed && mark_on_a_name(p.kind) ? part_undo_entry(op, d, &p) : part_apply(d, &p, PHASE_ABORT);
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
		if (mark_on_a_name(p.kind) && g_hash_table_lookup(op->sl->marks_by_name, &m->name) == m)
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

	if (mark_on_a_name(kind)) {      /* whose name it was, only the coordinator knows */
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
		if (!r.error && q->outcome != MAGMA_SETTLE_COMMIT && !(unknown && mark_on_a_name(kind)))
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
