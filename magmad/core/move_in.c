/* The target of a move, and the coordinator that plans and commits it. */
#include "magmad/core/consensus.h"
#include "magmad/core/move.h"

/* Odd, and large: what two tries add differs by more than intents ever do in between. */
#define ARRIVALS_APART 2654435761u

void move_ignore(void *user, int error) { (void)user; (void)error; }

/* --- target --- */

static gboolean is_ours(Slice *sl, guint64 move)
{
	if (sl->v->map->move.id != move)
		members_fetch_map(sl->v);
	return sl->v->map->move.id == move && sl->v->map->move.to == sl->v->id;
}

typedef struct {
	Slice *sl;
	Txn *txn;
	GArray *gone;                 /* MagmaFid: flares that were removed meanwhile */
	GArray *clients;              /* Known */
	guint32 arrival;              /* of this try */
} Applying;

/* Of a client at the source. */
typedef struct {
	guint64 client, floor;
	gint64 expired;
} Known;

/* A copy that was away may have the same row from an earlier try, whose content was dropped before the row was: the rows of each arrival are their own, so that contents behind them are compared. */
static void put_arrived(Applying *a, const StoreRow *row)
{
	g_autoptr(GByteArray) val = g_byte_array_new();
	FlareRow flare;

	if (row->table == TAB_FLARE && flare_row_decode(row->val, row->vlen, &flare) && flare.content == CONTENT_FILE) {
		flare.intents += a->arrival;
		flare_row_encode(&flare, val);
		txn_put(a->txn, row->table, row->key, row->klen, &row->rk, val->data, val->len);
	} else {
		txn_put(a->txn, row->table, row->key, row->klen, &row->rk, row->val, row->vlen);
	}
}

static gboolean apply_record(void *user, const StoreRow *row, gboolean del)
{
	Applying *a = user;

	if (row->table == TAB_CLIENT && !del && row->klen == 8) {
		Known known = { .client = magma_be64_load(row->key) };
		if (!client_row_decode(row->val, row->vlen, &known.expired, &known.floor))
			return FALSE;
		g_array_append_val(a->clients, known);
		return TRUE;
	}
	if (row->table == TAB_META || row->table == TAB_CLIENT || !magma_range_has(&a->sl->v->map->move.range, &row->rk))
		return FALSE;
	if (del)
		txn_del(a->txn, row->table, row->key, row->klen, &row->rk);
	else
		put_arrived(a, row);
	if (del && row->table == TAB_FLARE) {
		MagmaFid fid = { row->rk, magma_be64_load(row->key) };
		txn_put(a->txn, TAB_DIRTY, row->key, row->klen, &row->rk, "", 0);      /* leads to the content until that is gone too */
		g_array_append_val(a->gone, fid);
	}
	return TRUE;
}

typedef struct {
	Slice *sl;
	MagmaFid fid;
} Dropping;

static void gone_dropped(void *user, int error)
{
	Dropping *d = user;
	Slice *sl = d->sl;
	guint8 k[STORE_KEY_MAX];
	Txn *t = txn_new();

	core_enter(sl->v);
	if (!error)
		txn_del(t, TAB_DIRTY, k, key_ino(k, d->fid.ino), &d->fid.key);
	core_commit(sl, t);
	core_ctx_free(sl, d);
	core_leave(sl->v);
}

static void drop_gone(Slice *sl, const GArray *fids)
{
	for (guint i = 0; i < fids->len; i++) {
		Dropping *d = CORE_CTX(sl, Dropping, NULL);
		*d = (Dropping){ sl, g_array_index(fids, MagmaFid, i) };
		store_content_drop(sl->store, &d->fid, gone_dropped, d);
	}
}

/* What a piece of the stream is to us. Messages may come twice and late: one of an earlier try must change nothing any more. */
typedef enum { PIECE_FIRST, PIECE_NEXT, PIECE_AGAIN, PIECE_NOT_NOW, PIECE_WRONG } Piece;

static Piece piece_of(Slice *sl, guint64 move, guint64 sequence)
{
	gboolean known = sl->move_in_id == move;

	if (!is_ours(sl, move) || sl->move_in_wiping || sl->purging)
		return PIECE_NOT_NOW;
	if ((guint32)sequence == 1 && (!known || MOVE_TRY_OF(sequence) > MOVE_TRY_OF(sl->move_in_sequence)))
		return sl->move_in_busy ? PIECE_NOT_NOW : PIECE_FIRST;
	if (known && sequence == sl->move_in_sequence)
		return sl->move_in_busy ? PIECE_NOT_NOW : PIECE_AGAIN;
	if (known && sequence == sl->move_in_sequence + 1 && !sl->move_in_busy)
		return PIECE_NEXT;
	return PIECE_WRONG;
}

/* TRUE: it was dealt with. */
static gboolean piece_refused(Op *op, Piece piece)
{
	if (piece != PIECE_NOT_NOW && piece != PIECE_WRONG)
		return FALSE;
	op_error(op, piece == PIECE_WRONG ? EPROTO : MAGMA_ETRYAGAIN);
	return TRUE;
}

static void piece_begin(Slice *sl, guint64 sequence)
{
	sl->move_in_sequence = sequence;
	sl->move_in_busy = TRUE;
}

static void piece_end(Op *op, int error)
{
	Slice *sl = op->sl;

	sl->move_in_busy = FALSE;
	if (error)
		sl->move_in_id = 0;            /* only a new try goes on */
	op_finish(op, error);
}

/* --- rows --- */

static void apply_rows(Op *op)
{
	const struct magma_req_move_rows *q = &op->req.req_move_rows;
	Slice *sl = op->sl;
	g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	g_autoptr(GArray) clients = g_array_new(FALSE, FALSE, sizeof(Known));
	Applying a = { sl, txn_new(), gone, clients, (guint32)(MOVE_TRY_OF(q->sequence) * ARRIVALS_APART) };
	struct magma_rep_move_rows rep = { .sequence = q->sequence };

	if (!txn_each(q->records.data, q->records.len, apply_record, &a)) {
		txn_free(a.txn);
		op_error(op, EPROTO);
		return;
	}
	sl->move_in_id = q->move;
	sl->move_in_sequence = q->sequence;
	core_commit(sl, a.txn);
	drop_gone(sl, gone);
	for (guint i = 0; i < clients->len; i++) {
		const Known *known = &g_array_index(clients, Known, i);
		client_inherit(sl, known->client, known->expired, known->floor);
	}
	op_reply(op, &rep, NULL);
}

static void wiped(void *user)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	sl->move_in_wiping = 0;
	if (is_ours(sl, op->req.req_move_rows.move))
		apply_rows(op);
	else
		op_error(op, MAGMA_ETRYAGAIN);
	core_leave(sl->v);
}

/* Whatever an earlier try left, in rows and in memory, goes before the first piece. */
static void wipe(Op *op)
{
	Slice *sl = op->sl;
	MagmaRange range = sl->v->map->move.range;

	sl->move_in_wiping = op->req.req_move_rows.sequence;
	sl->move_in_id = 0;
	forget_range(sl, &range);
	purge_range(sl, &range, wiped, op);
}

void handle_move_rows(Op *op)
{
	const struct magma_req_move_rows *q = &op->req.req_move_rows;
	struct magma_rep_move_rows rep = { .sequence = q->sequence };
	Piece piece = piece_of(op->sl, q->move, q->sequence);

	if (piece_refused(op, piece))
		return;
	if (piece == PIECE_FIRST)
		wipe(op);
	else if (piece == PIECE_AGAIN)
		op_reply(op, &rep, NULL);
	else
		apply_rows(op);
}

/* --- contents --- */

/* The rows of a content come after its bytes. A copy that was away while the bytes came and is back for the rows has to find the content in the journal: it is under a write intent from the first piece to the last. */
static void intend(Slice *sl, const MagmaFid *fid, gboolean on)
{
	guint8 k[STORE_KEY_MAX];
	Txn *t = txn_new();

	if (on)
		txn_put(t, TAB_DIRTY, k, key_ino(k, fid->ino), &fid->key, "", 0);
	else
		txn_del(t, TAB_DIRTY, k, key_ino(k, fid->ino), &fid->key);
	core_commit(sl, t);
}

static void data_done(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	piece_end(op, error);
	core_leave(sl->v);
}

static void data_synced(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	if (!error)
		intend(sl, &op->req.req_move_data.fid, FALSE);
	piece_end(op, error);
	core_leave(sl->v);
}

static void data_sized(void *user, int error)
{
	Op *op = user;

	if (error)
		data_done(user, error);
	else
		store_content_sync(op->sl->store, &op->req.req_move_data.fid, data_synced, op);
}

void handle_move_data(Op *op)
{
	const struct magma_req_move_data *q = &op->req.req_move_data;
	Slice *sl = op->sl;
	Piece piece = piece_of(sl, q->move, q->sequence);

	if (piece_refused(op, piece))
		return;
	if (piece != PIECE_NEXT || !magma_range_has(&sl->v->map->move.range, &q->fid.key)) {
		op_finish(op, piece == PIECE_AGAIN ? 0 : EPROTO);
		return;
	}
	piece_begin(sl, q->sequence);
	if (q->size == G_MAXUINT64) {
		intend(sl, &q->fid, TRUE);
		store_content_drop(sl->store, &q->fid, data_done, op);
	} else if (!q->data.len) {
		store_content_truncate(sl->store, &q->fid, q->size, data_sized, op);
	} else {
		g_autoptr(GBytes) data = g_bytes_new(q->data.data, q->data.len);
		store_content_write(sl->store, &q->fid, q->offset, data, data_done, op);
	}
}

/* --- opens --- */

/* Memory only: a restart of this volcano makes the source begin anew. */
void handle_move_opens(Op *op)
{
	const struct magma_req_move_opens *q = &op->req.req_move_opens;
	Slice *sl = op->sl;
	Piece piece = piece_of(sl, q->move, q->sequence);
	MagmaReader r = magma_reader(q->opens.data, q->opens.len);

	if (piece_refused(op, piece))
		return;
	if (piece != PIECE_NEXT) {
		op_finish(op, piece == PIECE_AGAIN ? 0 : EPROTO);
		return;
	}
	while (r.left && !r.error) {
		guint64 client = magma_get_u64(&r);
		MagmaFid fid = magma_get_fid(&r);
		if (!r.error && magma_range_has(&sl->v->map->move.range, &fid.key))
			client_open(sl, client, 0, &fid);
	}
	piece_begin(sl, q->sequence);
	piece_end(op, r.error ? EPROTO : 0);
}

/* --- ready --- */

static void ready_loaded(Slice *sl, void *user, int error) { piece_end(user, error); }

static void ready_synced(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	if (error)
		piece_end(op, error);
	else
		slice_load(sl, &sl->v->map->move.range, ready_loaded, op);
	core_leave(sl->v);
}

void handle_move_ready(Op *op)
{
	const struct magma_req_move_ready *q = &op->req.req_move_ready;
	Slice *sl = op->sl;
	Piece piece = piece_of(sl, q->move, q->sequence);

	if (piece_refused(op, piece))
		return;
	if (piece != PIECE_NEXT) {
		op_finish(op, piece == PIECE_AGAIN ? 0 : EPROTO);
		return;
	}
	piece_begin(sl, q->sequence);
	store_sync(sl->store, ready_synced, op);
}

/* --- coordinator --- */

/* Of MOVE_COMMIT, and of MOVE_ANEW, whose reply is the same. */
static void commit_answer(Op *op)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	MagmaAny rep;

	magma_map_encode(op->v->map, bytes);
	if (op->hdr.op == MAGMA_OP_move_commit)
		rep.rep_move_commit.map = MAGMA_BYTES(bytes->data, bytes->len);
	else
		rep.rep_move_anew.map = MAGMA_BYTES(bytes->data, bytes->len);
	op_reply(op, &rep, NULL);
}

static void commit_changed(Volcano *v, void *user, int error)
{
	if (error) {
		op_error(user, MAGMA_ETRYAGAIN);
		return;
	}
	core_say(v, "a slice moved, epoch %" G_GUINT64_FORMAT, v->map->epoch);
	commit_answer(user);
	move_plan(v);
}

static MagmaVolcano *by_id(MagmaMap *map, guint16 id)
{
	return (MagmaVolcano *)magma_map_by_id(map, id);
}

/* From the commit on the source need not keep it: where more than one copy is wanted, another one than the target's counts by then. */
static gboolean part_is_safe(const Volcano *v)
{
	const MagmaSlice *s = &v->map->move.part;

	if (magma_map_by_id(v->map, s->owner)->flags & MAGMA_VOLCANO_DOWN)
		return FALSE;
	for (guint i = 0; i < s->ncopies; i++)
		if (s->copies[i].in_sync && !(magma_map_by_id(v->map, s->copies[i].volcano)->flags & MAGMA_VOLCANO_DOWN))
			return TRUE;
	return !v->store->log || v->map->copies_wanted < 2;
}

void handle_move_commit(Op *op)
{
	Volcano *v = op->v;

	/* the source knows a newer map: a new leader may not have committed what it has of it */
	if (!v->map || !consensus_leads(v) || op->hdr.epoch > v->map->epoch) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	if (v->map->move.id != op->req.req_move_commit.move) {      /* done before, the answer was lost */
		commit_answer(op);
		return;
	}
	if (v->map_changing || !part_is_safe(v)) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	MagmaMap *map = magma_map_copy(v->map);
	MagmaSlice *from = (MagmaSlice *)magma_map_slice_by_id(map, map->move.from);
	MagmaSlice part = map->move.part;
	by_id(map, map->move.to)->state = MAGMA_ACTIVE;
	gboolean inside = magma_key_prev(&part.range.lo, &from->range.hi);
	g_assert(inside);
	magma_map_add_slice(map, &part);
	map->move = (MagmaMove){ 0 };
	members_change_map(v, map, commit_changed, op);
}

static void anew_changed(Volcano *v, void *user, int error)
{
	if (error)
		op_error(user, MAGMA_ETRYAGAIN);
	else
		commit_answer(user);
}

void handle_move_anew(Op *op)
{
	Volcano *v = op->v;

	if (!v->map || !consensus_leads(v)) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	if (v->map->move.id != op->req.req_move_anew.move) {      /* it has another already, or is done */
		commit_answer(op);
		return;
	}
	if (v->map_changing) {
		op_error(op, MAGMA_ETRYAGAIN);
		return;
	}
	MagmaMap *map = magma_map_copy(v->map);
	magma_map_number_move(map);
	members_change_map(v, map, anew_changed, op);
}

typedef struct {
	Volcano *v;
	guint waiting;
	guint16 best;                 /* slice */
	guint64 keys;
	double share;
} Planning;

/* One that waits for a slice and is there; NULL: nobody. */
static const MagmaVolcano *next_to_join(const MagmaMap *map)
{
	for (guint i = 0; i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		if (o->state == MAGMA_JOINING && o->offered && !(o->flags & MAGMA_VOLCANO_DOWN))
			return o;
	}
	return NULL;
}

/* A target that is down may never be back, and while there is a move its source keeps what changes, and nobody scrubs: when it is back it begins anew. What it has of the part is nobody's. */
static void look_at_target(Volcano *v)
{
	if (!(magma_map_by_id(v->map, v->map->move.to)->flags & MAGMA_VOLCANO_DOWN))
		return;
	core_say(v, "volcano %u, which is to have a slice, is down: it begins anew when it is back", v->map->move.to);
	MagmaMap *map = magma_map_copy(v->map);
	map->move = (MagmaMove){ 0 };
	members_change_map(v, map, NULL, NULL);
}

static void plan_now(Planning *p)
{
	Volcano *v = p->v;
	const MagmaVolcano *joiner = next_to_join(v->map);

	v->planning = FALSE;
	if (joiner && p->best && !v->map->move.id && !v->map_changing) {
		MagmaMap *map = magma_map_copy(v->map);
		const MagmaSlice *from = magma_map_slice_by_id(map, p->best);
		MagmaKey middle = magma_range_middle(&from->range);
		map->move = (MagmaMove){ .from = from->id, .to = joiner->id, .range.hi = from->range.hi };
		magma_key_next(&middle, &map->move.range.lo);
		map->move.part = (MagmaSlice){ .id = joiner->id, .range = map->move.range, .home = joiner->id, .owner = joiner->id };
		magma_map_number_move(map);
		members_change_map(v, map, NULL, NULL);
	}
	core_ctx_free(v, p);
}

typedef struct {
	Planning *p;
	guint16 slice;
} PlanAsk;

static void plan_status(void *user, gboolean alive, const struct magma_rep_status *st)
{
	PlanAsk *a = user;
	Planning *p = a->p;
	const MagmaSlice *o = magma_map_slice_by_id(p->v->map, a->slice);

	if (alive && o) {
		double share = magma_range_share(&o->range);
		if (!p->best || st->keys > p->keys || (st->keys == p->keys && share > p->share)) {
			p->best = o->id;
			p->keys = st->keys;
			p->share = share;
		}
	}
	core_ctx_free(p->v, a);
	if (!--p->waiting)
		plan_now(p);
}

/* A volcano without a slice takes the upper half of the most loaded one's. Keys are SHA-1 values, so half of the range is half of its flares. */
void move_plan(Volcano *v)
{
	if (!v->map || !consensus_leads(v) || v->planning || v->map_changing || !v->serving)
		return;
	if (v->map->move.id)
		look_at_target(v);
	if (v->map->move.id || v->map_changing || !next_to_join(v->map))
		return;
	Planning *p = CORE_CTX(v, Planning, NULL);
	p->v = v;
	v->planning = TRUE;
	p->waiting = v->map->slices->len;
	for (guint i = 0; i < v->map->slices->len; i++) {
		const MagmaSlice *o = &g_array_index(v->map->slices, MagmaSlice, i);
		PlanAsk *a = CORE_CTX(v, PlanAsk, NULL);
		*a = (PlanAsk){ p, o->id };
		volcano_ask_status(v, o->owner, plan_status, a);
	}
}

/* Every volcano looks at a new map: is a slice to be handed over, is one gone? */
void move_map_changed(Slice *sl)
{
	const MagmaMove *now = &sl->v->map->move;

	if (sl->move && !move_is(sl, now))
		move_out_done(sl);
	const MagmaSlice *from = now->id ? magma_map_slice_by_id(sl->v->map, now->from) : NULL;
	if (!sl->move && from && from->id == sl->id && from->owner == sl->v->id && sl->serving)
		move_out_start(sl);
}
