/* What the others do for a volcano that has suspects (scrub.c): count names, take one away, give one. */
#include "magmad/core/core.h"

enum { PAGE_ROWS = 512, ANSWER_MAX = MAGMA_DATA_MAX - 512 };
#define PAUSE (SECOND / 20)            /* between pages: at most 10,240 rows a second, a few per cent of a loop's time */

/* --- names: all entries are read once, page by page --- */

typedef struct {
	Slice *sl;
	guint64 epoch;
	GHashTable *wanted;           /* ino -> index + 1 */
	GByteArray *found;
	guint8 from[STORE_KEY_MAX];
	gsize fromlen;
	guint timer;
} Counting;

static void counting_free(gpointer p)
{
	Counting *c = p;

	if (c->timer)
		c->sl->v->io->timer_cancel(c->sl->v->iou, c->timer);
	g_hash_table_unref(c->wanted);
	g_byte_array_unref(c->found);
	g_free(c);
}

static void busy(Counting *c, guint64 ino)
{
	guint index = GPOINTER_TO_UINT(g_hash_table_lookup(c->wanted, &ino));

	if (!index)
		return;
	magma_put_u8(c->found, MAGMA_NAMES_BUSY);
	magma_put_u32(c->found, index - 1);
}

static void busy_attempt(Counting *c, const Coord *co)
{
	for (guint i = 0; i < co->n; i++) {
		busy(c, co->parts[i].target.ino);
		busy(c, co->parts[i].other.ino);
		busy(c, co->parts[i].entry.child.ino);
	}
	busy(c, co->target.child.ino);
}

/* Operations over two volcanos that this one knows of and that may yet change names: what begins after this asks the flare's owner, who notices. */
static void find_busy(Slice *sl, Counting *c)
{
	GHashTableIter it;
	gpointer key, value;

	g_hash_table_iter_init(&it, sl->attempts);
	while (g_hash_table_iter_next(&it, NULL, &value))
		busy_attempt(c, ((Op *)value)->coord);
	g_hash_table_iter_init(&it, sl->commits);
	while (g_hash_table_iter_next(&it, NULL, &value)) {
		const Commit *co = value;
		for (guint i = 0; i < co->parts->len; i++)
			busy(c, g_array_index(co->parts, CommitPart, i).target.ino);
		for (guint i = 0; i < co->named->len; i++)
			busy(c, g_array_index(co->named, MagmaFid, i).ino);
	}
	g_hash_table_iter_init(&it, sl->marks);
	while (g_hash_table_iter_next(&it, &key, NULL)) {
		const MarkRow *m = &((Mark *)key)->row;
		busy(c, m->target.ino);
		busy(c, m->other.ino);
		busy(c, m->entry.child.ino);
	}
}

/* 0; EIO: nobody can say which flare it names, and it may be one of those that are asked for. */
static int see(Slice *sl, Counting *c, const StoreRow *row)
{
	EntryRow e;

	if (row->klen <= 8 || core_place(sl, &row->rk) != HERE)
		return 0;
	if (!entry_row_decode(row->val, row->vlen, &e))
		return EIO;
	guint index = GPOINTER_TO_UINT(g_hash_table_lookup(c->wanted, &e.child.ino));
	if (!index)
		return 0;
	MagmaFid dir = { row->rk, magma_be64_load(row->key) };
	magma_put_u8(c->found, MAGMA_NAMES_ENTRY);
	magma_put_u32(c->found, index - 1);
	magma_put_fid(c->found, &dir);
	magma_put_counted(c->found, row->key + 8, row->klen - 8);
	return 0;
}

static void next_page(Op *op);

static void paused(void *arg)
{
	Op *op = arg;
	Slice *sl = op->sl;

	core_enter(sl->v);
	((Counting *)op->data)->timer = 0;
	next_page(op);
	core_leave(sl->v);
}

/* Who asked is done with its suspect then: a name that was removed here must not come back with the next power cut. */
static void counted(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;
	const Counting *c = op->data;

	core_enter(sl->v);
	if (error || !scrub_steady(sl, c->epoch)) {
		op_error(op, error ? error : EBUSY);
	} else {
		struct magma_rep_names rep = { .found = MAGMA_BYTES(c->found->data, c->found->len) };
		op_reply(op, &rep, NULL);
	}
	core_leave(sl->v);
}

static void page_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Op *op = user;
	Slice *sl = op->sl;
	Counting *c = op->data;

	core_enter(sl->v);
	for (guint i = 0; i < n && !error && c->found->len < ANSWER_MAX; i++)
		error = see(sl, c, &rows[i]);
	if (c->found->len >= ANSWER_MAX)
		error = EFBIG;                /* links without number: nothing is put right where not all was seen */
	if (error || !scrub_steady(sl, c->epoch)) {
		op_error(op, error ? error : EBUSY);
	} else if (eof || !n) {
		store_sync(sl->store, counted, op);
	} else {
		c->fromlen = rows[n - 1].klen;
		memcpy(c->from, rows[n - 1].key, c->fromlen);
		c->timer = sl->v->io->timer(sl->v->iou, PAUSE, paused, op);
	}
	core_leave(sl->v);
}

static void next_page(Op *op)
{
	Counting *c = op->data;

	store_scan(op->sl->store, TAB_ENTRY, c->from, c->fromlen, NULL, 0, PAGE_ROWS, page_read, op);
}

void handle_names(Op *op)
{
	const struct magma_req_names *q = &op->req.req_names;
	Slice *sl = op->sl;
	MagmaReader r = magma_reader(q->fids.data, q->fids.len);

	if (!scrub_steady(sl, q->epoch)) {
		op_error(op, EBUSY);
		return;
	}
	Counting *c = g_new0(Counting, 1);
	c->sl = sl;
	c->epoch = q->epoch;
	c->wanted = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	c->found = g_byte_array_new();
	op->data = c;
	op->data_free = counting_free;
	for (guint i = 1; r.left && !r.error; i++) {
		MagmaFid fid = magma_get_fid(&r);
		if (!r.error)
			g_hash_table_insert(c->wanted, g_memdup2(&fid.ino, sizeof fid.ino), GUINT_TO_POINTER(i));
	}
	if (r.error) {
		op_error(op, EPROTO);
		return;
	}
	find_busy(sl, c);
	next_page(op);
}

/* --- unname, adopt --- */

static void synced(void *user, int error)
{
	Op *op = user;
	Slice *sl = op->sl;
	struct magma_rep_unname rep = { .removed = op->data != NULL };
	static const struct magma_rep_adopt none;

	core_enter(sl->v);
	if (error)
		op_error(op, error);
	else
		op_reply(op, op->hdr.op == MAGMA_OP_unname ? (const void *)&rep : &none, NULL);
	core_leave(sl->v);
}

/* The owner of child has just counted and asks for it; the name must be free of operations, and still lead to child: an ino is never given twice. */
static int take_name(Op *op)
{
	const struct magma_req_unname *q = &op->req.req_unname;
	FlareRow *dir;
	EntryRow e;
	int error = name_check(op, q->dir.ino, q->name);
	g_autoptr(Draft) d = draft_new(op);

	if (error || (error = draft_flare(d, &q->dir, &dir)))
		return error;
	error = state_entry(op, q->dir.ino, q->name, &e);
	if (error == WAIT || error == EIO)
		return error;
	if (!error && e.child.ino == q->child.ino) {
		core_say(op->sl->v, "after a power cut: entry \"%.*s\" of directory %" G_GUINT64_FORMAT " leads to flare %" G_GUINT64_FORMAT ", which is not there or has another name: removed",
			(int)q->name.len, (const char *)q->name.data, q->dir.ino, q->child.ino);
		op->sl->v->stats.scrubbed_entries++;
		draft_del_entry(d, dir, q->name, &e, op->now);
		draft_commit(g_steal_pointer(&d));
		op->data = op;
	}
	store_sync(op->sl->store, synced, op);
	return WAIT;
}

void handle_unname(Op *op) { op_fail(op, take_name(op)); }

static int give_name(Op *op)
{
	const struct magma_req_adopt *q = &op->req.req_adopt;
	char text[32];
	g_snprintf(text, sizeof text, "restored-%016" G_GINT64_MODIFIER "x", q->child.ino);
	const MagmaBytes name = MAGMA_BYTES_STR(text);
	FlareRow *dir, check;
	EntryRow e;
	int error = name_check(op, q->dir.ino, name);
	g_autoptr(Draft) d = draft_new(op);

	if (error || (error = state_dir(op, &q->dir, &check)) || (error = draft_flare(d, &q->dir, &dir)))
		return error;
	error = state_entry(op, q->dir.ino, name, &e);
	if (error && error != ENOENT)
		return error;
	if (!error && e.child.ino != q->child.ino)
		return EEXIST;
	if (error) {
		core_say(op->sl->v, "after a power cut: directory %" G_GUINT64_FORMAT " is not empty and has no name: it is %s in directory %" G_GUINT64_FORMAT " now", q->child.ino, text, q->dir.ino);
		op->sl->v->stats.scrubbed_flares++;
		draft_add_entry(d, dir, name, &q->child, S_IFDIR, op->now);
		draft_commit(g_steal_pointer(&d));
	}
	store_sync(op->sl->store, synced, op);
	return WAIT;
}

void handle_adopt(Op *op) { op_fail(op, give_name(op)); }
