/* What is done behind the operations' backs: flares without names are removed when nobody has them open, content files that were written are brought to disk at leisure,
 * and after a start the write intents are looked at. */
#include "magmad/core/core.h"

enum { REAP_PER_TICK = 256, CLEAN_PER_TICK = 8, LOOK_PER_TICK = 256, RECOVER_AT_ONCE = 32 };
enum { CLEAN_MANY = 64, CLEAN_AT_ONCE = 1 };    /* of more write intents than that so many are cleared one behind the other: clients wait for the same disk */
#define CLEAN_AFTER (5 * SECOND)

typedef struct {
	MagmaFid fid;
	StoreContentStat stat;
	guint *running;               /* one of the slice's counts */
	guint64 writes;
	int error;
	gboolean dropped;
} Job;

static Op *job_new(Slice *sl, const MagmaFid *fid, guint *running, void (*step)(Op *))
{
	MagmaHdr h = { .kind = MAGMA_REQUEST, .op = MAGMA_OP_sync };
	Op *op = op_new(sl->v, sl, &h, NULL, NULL, NULL);
	Job *j = g_new0(Job, 1);

	j->fid = *fid;
	j->running = running;
	op->data = j;
	op->data_free = g_free;
	op->step = step;
	(*running)++;
	return op;
}

static void job_end(Op *op)
{
	(*((Job *)op->data)->running)--;
	op_drop(op);
}

/* --- orphans --- */

void gc_orphan(Slice *sl, const MagmaFid *fid, guint64 index)
{
	Orphan *o = g_hash_table_lookup(sl->orphans, &fid->ino);

	if (!o) {
		o = g_new(Orphan, 1);
		*o = (Orphan){ *fid, index };
		g_hash_table_insert(sl->orphans, &o->fid.ino, o);
	}
	o->index = MAX(o->index, index);      /* it may have had its name back in between */
}

static void commit_reaped(Op *op, const StoreRow *xattrs, guint n)
{
	Job *j = op->data;
	guint8 k[STORE_KEY_MAX];
	gsize kl = key_ino(k, j->fid.ino);
	Txn *t = txn_new();

	txn_del(t, TAB_FLARE, k, kl, &j->fid.key);
	txn_del(t, TAB_DATA, k, kl, &j->fid.key);
	txn_del(t, TAB_ORPHAN, k, kl, &j->fid.key);
	txn_del(t, TAB_DIRTY, k, kl, &j->fid.key);
	for (guint i = 0; i < n; i++)
		txn_del(t, TAB_XATTR, xattrs[i].key, xattrs[i].klen, &j->fid.key);
	core_commit(op->sl, t);
	g_hash_table_remove(op->sl->dirty, &j->fid.ino);
	g_hash_table_remove(op->sl->orphans, &j->fid.ino);
	job_end(op);
}

static void reap_xattrs(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	if (error) {
		job_end(op);
	} else if (eof || !n) {
		commit_reaped(op, rows, n);
	} else {                      /* more than one scan brings: piece by piece */
		Txn *t = txn_new();
		for (guint i = 0; i < n; i++)
			txn_del(t, TAB_XATTR, rows[i].key, rows[i].klen, &rows[i].rk);
		core_commit(sl, t);
		op_run(op);
	}
	core_leave(sl->v);
}

static void step_reap(Op *op);

static void dropped(void *user, int error)
{
	Op *op = user;
	Job *j = op->data;

	j->dropped = TRUE;
	op_completed(op, &j->error, error, step_reap);
}

/* The content first: a crash in between leaves the orphan's row, and this is done again. */
static void step_reap(Op *op)
{
	Job *j = op->data;
	Slice *sl = op->sl;
	guint8 k[STORE_KEY_MAX];
	FlareRow row;
	int error = state_flare(op, &j->fid, &row);

	if (error == WAIT)
		return;
	if (j->error || (error && error != ESTALE) || (!error && client_is_open(sl, j->fid.ino))) {
		job_end(op);
		return;
	}
	if (!error && row.attr.nlink && !row.sealed) {      /* it got its name back */
		Txn *t = txn_new();
		txn_del(t, TAB_ORPHAN, k, key_ino(k, j->fid.ino), &j->fid.key);
		core_commit(sl, t);
		g_hash_table_remove(sl->orphans, &j->fid.ino);
		job_end(op);
		return;
	}
	if (!j->dropped) {
		store_content_drop(sl->store, &j->fid, dropped, op);
		return;
	}
	guint8 prefix[8];
	key_ino(prefix, j->fid.ino);
	if (!error && row.attr.flags & MAGMA_ATTR_HAS_XATTR)
		store_scan(sl->store, TAB_XATTR, NULL, 0, prefix, sizeof prefix, 4096, reap_xattrs, op);
	else
		commit_reaped(op, NULL, 0);
}

/* Only those that were orphans when it was asked for: of one that came meanwhile the old name may be back after a power cut, and its content must be, too. */
static void orphans_durable(void *user, int error)
{
	Slice *sl = user;
	GHashTableIter it;
	gpointer value;
	guint n = 0;
	g_autoptr(GArray) fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));

	core_enter(sl->v);
	sl->syncing_orphans = FALSE;
	g_hash_table_iter_init(&it, sl->orphans);
	while (!error && n < REAP_PER_TICK && g_hash_table_iter_next(&it, NULL, &value)) {
		const Orphan *o = value;
		const MagmaFid *fid = &o->fid;
		if (o->index <= sl->orphans_synced && core_place(sl, &fid->key) == HERE && !client_is_open(sl, fid->ino) && !scrub_is_suspect(sl, fid->ino) && !g_hash_table_contains(sl->busy, &fid->ino) && ++n)
			g_array_append_val(fids, *fid);
	}
	for (guint i = 0; i < fids->len; i++)
		op_run(job_new(sl, &g_array_index(fids, MagmaFid, i), &sl->reaping, step_reap));
	core_leave(sl->v);
}

/* --- write intents, at leisure --- */

Dirty *gc_dirty(Slice *sl, const MagmaFid *fid)
{
	Dirty *d = g_new0(Dirty, 1);

	*d = (Dirty){ .fid = *fid, .truncate_to = G_MAXUINT64, .last = core_now(sl->v), .among = &sl->dirty_by_age };
	d->by_age.data = d;
	g_queue_push_tail_link(d->among, &d->by_age);
	g_hash_table_replace(sl->dirty, &d->fid.ino, d);
	return d;
}

void gc_dirty_free(gpointer p)
{
	Dirty *d = p;

	g_queue_unlink(d->among, &d->by_age);
	g_free(d);
}

static void clean_commit(Op *op, const MagmaFid *fid)
{
	Draft *d = draft_new(op);

	draft_dirty(d, fid, FALSE);
	draft_drop_inline(d, fid);
	draft_commit(d);
}

static void clean_next(Slice *sl);

static void step_clean(Op *op)
{
	Job *j = op->data;
	Slice *sl = op->sl;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &j->fid.ino);
	FlareRow row;
	int error = state_flare(op, &j->fid, &row);

	if (error == WAIT)
		return;
	if (dirty) {
		dirty->syncing = FALSE;
		if (!j->error && !error && row.content == CONTENT_FILE && dirty->writes == j->writes && !g_hash_table_contains(sl->busy, &j->fid.ino) && !dirty->truncate_by && !dirty->unrecovered)
			clean_commit(op, &j->fid);
		else
			dirty->last = core_now(sl->v);        /* not again at once, over and over */
	}
	error = j->error;
	job_end(op);
	if (!error)
		clean_next(sl);
}

static void cleaned(void *user, int error)
{
	Op *op = user;

	op_completed(op, &((Job *)op->data)->error, error, step_clean);
}

static gboolean at_rest(Slice *sl, const Dirty *d)
{
	return !d->syncing && core_place(sl, &d->fid.key) == HERE && core_now(sl->v) - d->last >= CLEAN_AFTER && !g_hash_table_contains(sl->busy, &d->fid.ino);
}

/* The oldest first; who is looked at goes behind all others. */
static void clean_some(Slice *sl, guint at_once)
{
	Op *ops[CLEAN_PER_TICK];
	guint n = 0;

	for (guint looks = MIN(LOOK_PER_TICK, sl->dirty_by_age.length); looks && sl->cleaning < at_once; looks--) {
		Dirty *d = sl->dirty_by_age.head->data;
		g_queue_unlink(&sl->dirty_by_age, &d->by_age);
		g_queue_push_tail_link(&sl->dirty_by_age, &d->by_age);
		if (!at_rest(sl, d))
			continue;
		d->syncing = TRUE;
		ops[n] = job_new(sl, &d->fid, &sl->cleaning, step_clean);
		((Job *)ops[n++]->data)->writes = d->writes;
	}
	for (guint i = 0; i < n; i++)
		store_content_sync(sl->store, &((Job *)ops[i]->data)->fid, cleaned, ops[i]);
}

static gboolean has_many(const Slice *sl) { return sl->dirty_by_age.length > CLEAN_MANY; }

/* Each is to be looked at after a crash, at a start and by copies that come back: there shall not be many after those who make files have rested. */
static void clean_next(Slice *sl)
{
	if (has_many(sl) && sl->serving && !sl->v->stopping && !move_frozen(sl, NULL))
		clean_some(sl, CLEAN_AT_ONCE);
}

void gc_tick(Slice *sl)
{
	if (!sl->serving || move_frozen(sl, NULL))
		return;
	if (g_hash_table_size(sl->orphans) && !sl->reaping && !sl->syncing_orphans && client_opens_are_known(sl)) {
		sl->syncing_orphans = TRUE;
		sl->orphans_synced = sl->last_index;
		store_sync(sl->store, orphans_durable, sl);
	}
	if (has_many(sl))
		clean_some(sl, CLEAN_AT_ONCE);
	else if (!sl->cleaning)
		clean_some(sl, CLEAN_PER_TICK);
}

void gc_forget_range(Slice *sl, const MagmaRange *r)
{
	GHashTableIter it;
	gpointer value;

	g_hash_table_iter_init(&it, sl->orphans);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (magma_range_has(r, &((Orphan *)value)->fid.key))
			g_hash_table_iter_remove(&it);
	g_hash_table_iter_init(&it, sl->dirty);
	while (g_hash_table_iter_next(&it, NULL, &value))
		if (magma_range_has(r, &((Dirty *)value)->fid.key))
			g_hash_table_iter_remove(&it);
}

/* --- after a start --- */

typedef struct {
	Slice *sl;
	GArray *fids;
	guint next, running;
	gboolean waited;              /* for as long as anybody should, for one or several at once: the others are tried once */
	void (*done)(Slice *sl);
} Recovery;

static void recovery_clear(gpointer p) { g_array_unref(((Recovery *)p)->fids); }

static void recover_more(Recovery *r);

/* What does not succeed soon (no more files can be opened, the disk is full or does not read) must not keep the whole slice away; the content alone is nobody's until it does. */
enum { RECOVER_TRIES = 20 };
#define RECOVER_AGAIN (SECOND / 5)
#define RECOVER_LATER (5 * SECOND)

typedef struct {
	Job job;
	Slice *sl;
	Recovery *r;                  /* NULL: the slice serves without it */
	guint stage, tries, timer;
} RecoverJob;

static void step_recover(Op *op);

static void recover_job_free(gpointer data)
{
	RecoverJob *j = data;

	if (j->timer)
		j->sl->v->io->timer_cancel(j->sl->v->iou, j->timer);
	g_free(j);
}

static void recover_again(void *arg)
{
	Op *op = arg;
	Slice *sl = op->sl;

	core_enter(sl->v);
	((RecoverJob *)op->data)->timer = 0;
	op_run(op);
	core_leave(sl->v);
}

/* From its beginning, after a while. */
static void recover_wait(Op *op, Dirty *dirty)
{
	RecoverJob *j = op->data;
	Slice *sl = op->sl;
	Recovery *r = j->r;
	gboolean wait = r && !r->waited && ++j->tries < RECOVER_TRIES;
	int error = j->job.error;

	j->stage = 0;
	j->job.error = 0;
	j->timer = sl->v->io->timer(sl->v->iou, wait ? RECOVER_AGAIN : RECOVER_LATER, recover_again, op);
	if (wait || !r)
		return;
	if (!r->waited)
		core_say(sl->v, "slice %u: the content of flare %" G_GUINT64_FORMAT " cannot be put in order after a crash: %s; nobody can read or write it, or others like it, until it can", sl->id, j->job.fid.ino, g_strerror(error));
	dirty->unrecovered = error;
	r->waited = TRUE;
	j->r = NULL;
	r->running--;
	recover_more(r);
}

static void recover_io(void *user, int error)
{
	Op *op = user;
	RecoverJob *j = op->data;

	j->stage++;
	op_completed(op, &j->job.error, error, step_recover);
}

static void recover_stat(void *user, int error, const StoreContentStat *st)
{
	Op *op = user;
	RecoverJob *j = op->data;

	if (st)
		j->job.stat = *st;
	recover_io(user, error);
}

static void recover_end(Op *op)
{
	RecoverJob *j = op->data;
	Recovery *r = j->r;
	Slice *sl = op->sl;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &j->job.fid.ino);

	if (dirty && dirty->unrecovered)
		core_say(sl->v, "slice %u: the content of flare %" G_GUINT64_FORMAT " is in order", sl->id, j->job.fid.ino);
	if (dirty)
		dirty->unrecovered = 0;
	job_end(op);
	if (!r)
		return;
	r->running--;
	recover_more(r);
}

/* The file has its new size. The reply is stored with what was set: a repeat must not cut off what others write from now on. 0 or WAIT. */
static int complete_truncate(Op *op, Draft **d, FlareRow *row, Dirty *dirty)
{
	const MagmaFid fid = dirty->fid;
	guint8 k[STORE_KEY_MAX];
	gsize kl = key_ino(k, fid.ino), n;
	const guint8 *note;

	StoreGet have = store_get(op->sl->store, &op->fetch, TAB_DIRTY, k, kl, &note, &n);
	if (have == STORE_PENDING)
		return WAIT;
	if (content_cut_inline(op, *d, &fid, dirty->truncate_to) == WAIT)
		return WAIT;
	gboolean known = have == STORE_FOUND && n > 8 && setattr_take_note(op, &fid, note, n);
	txn_put(draft_txn(*d), TAB_DIRTY, k, kl, &fid.key, "", 0);
	row->attr.size = dirty->truncate_to;
	dirty->truncate_to = G_MAXUINT64;
	if (known) {
		setattr_recover(op, g_steal_pointer(d), row);
		return 0;
	}
	row->attr.mtime = row->attr.ctime = op->now;
	row->attr.blocks = MIN(row->attr.blocks, content_blocks(row->attr.size));
	draft_commit(g_steal_pointer(d));
	return 0;
}

/* The row has every acknowledged write's size; a file beyond it holds a write nobody was told of. A noted truncation is completed. An inline copy that is longer than the file comes from
 * before a power cut that ate the file's end; a truncation cuts that copy too (op_setattr.c), so what is longer was never cut. */
static void step_recover(Op *op)
{
	RecoverJob *j = op->data;
	Slice *sl = op->sl;
	const MagmaFid *fid = &j->job.fid;
	Dirty *dirty = g_hash_table_lookup(sl->dirty, &fid->ino);
	guint8 k[STORE_KEY_MAX];
	const guint8 *val;
	gsize n = 0;
	FlareRow *row;
	g_autoptr(Draft) d = draft_new(op);
	int error = draft_flare(d, fid, &row);

	if (error == WAIT)
		return;
	StoreGet data = store_get(sl->store, &op->fetch, TAB_DATA, k, key_ino(k, fid->ino), &val, &n);
	if (data == STORE_PENDING)
		return;
	if (error == ESTALE && dirty && !j->job.error) {      /* its flare is gone; the file may not be */
		if (j->stage++ == 0) {
			store_content_drop(sl->store, fid, recover_io, op);
			return;
		}
		draft_dirty(d, &j->job.fid, FALSE);
		draft_commit(g_steal_pointer(&d));
		recover_end(op);
		return;
	}
	if (dirty && j->job.error) {
		recover_wait(op, dirty);
		return;
	}
	if (error || !dirty) {
		recover_end(op);
		return;
	}
	guint64 size = dirty->truncate_to != G_MAXUINT64 ? dirty->truncate_to : row->attr.size;
	/* Still inline: the crash came in the middle of a conversion; the file is nobody's. */
	if (row->content == CONTENT_INLINE) {
		if (j->stage++ == 0) {
			store_content_drop(sl->store, fid, recover_io, op);
			return;
		}
		MagmaFid f = *fid;
		draft_dirty(d, &f, FALSE);
		draft_commit(g_steal_pointer(&d));
		recover_end(op);
		return;
	}
	switch (j->stage) {
	case 0:
		store_content_stat(sl->store, fid, recover_stat, op);
		return;
	case 1:
		n = data == STORE_FOUND ? MIN(n, size) : 0;
		if (j->job.stat.size < n) {
			g_autoptr(GBytes) bytes = g_bytes_new(val + j->job.stat.size, n - j->job.stat.size);
			guint64 at = j->job.stat.size;
			j->job.stat.size = n;
			store_content_write(sl->store, fid, at, bytes, recover_io, op);
			return;
		}
		j->stage++;
		/* fall through */
	case 2:
		if (j->job.stat.size > size) {
			store_content_truncate(sl->store, fid, size, recover_io, op);
			return;
		}
		break;
	}
	if (dirty->truncate_to != G_MAXUINT64 && complete_truncate(op, &d, row, dirty) == WAIT)
		return;
	recover_end(op);
}

static void recover_more(Recovery *r)
{
	while (r->running < RECOVER_AT_ONCE && r->next < r->fids->len) {
		Op *op = job_new(r->sl, &g_array_index(r->fids, MagmaFid, r->next++), &r->sl->recovering, step_recover);
		RecoverJob *j = g_new0(RecoverJob, 1);
		j->job = *(Job *)op->data;
		j->sl = r->sl;
		j->r = r;
		g_free(op->data);
		op->data = j;
		op->data_free = recover_job_free;
		r->running++;
		op_run(op);
	}
	if (!r->running) {
		void (*done)(Slice *) = r->done;
		Slice *sl = r->sl;
		core_ctx_free(sl, r);
		done(sl);
	}
}

void gc_recover(Slice *sl, void (*done)(Slice *sl))
{
	Recovery *r = CORE_CTX(sl, Recovery, recovery_clear);
	GHashTableIter it;
	gpointer value;

	r->sl = sl;
	r->done = done;
	r->fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	g_hash_table_iter_init(&it, sl->dirty);
	while (g_hash_table_iter_next(&it, NULL, &value))
		g_array_append_val(r->fids, ((Dirty *)value)->fid);
	recover_more(r);
}
