/* A copy: requests, the beginnings and ends of streams, syncs. */
#include "magmad/mirror/replica-inside.h"

enum { FIDS_MAX = ITEM_MESSAGE_MAX / 28 };

Replica *replica_ref(Replica *r)
{
	r->refs++;
	return r;
}

void replica_unref(Replica *r)
{
	if (--r->refs)
		return;
	g_array_unref(r->waiting);
	g_hash_table_unref(r->early);
	g_hash_table_unref(r->undone);
	g_hash_table_unref(r->by_number);
	g_hash_table_unref(r->unsynced);
	g_ptr_array_unref(r->syncs);
	g_ptr_array_unref(r->reads);
	g_byte_array_unref(r->part);
	g_byte_array_unref(r->progress);
	g_free(r);
}

void replica_answer(const Answer *a, Replica *r, guint32 error, GByteArray *different)
{
	MagmaAny rep;
	g_autoptr(GBytes) body = NULL;

	memset(&rep, 0, sizeof rep);
	switch (a->op) {
	case MAGMA_OP_mirror_attach: {
		const StoreEpoch *e;
		g_autoptr(GByteArray) list = g_byte_array_new();
		StorePos at = r->local->log->position(r->local);
		guint n = r->local->log->epochs(r->local, &e);
		for (guint i = 0; i < n; i++) {
			magma_put_u64(list, e[i].epoch);
			magma_put_u64(list, e[i].first);
		}
		rep.rep_mirror_attach = (struct magma_rep_mirror_attach){ .error = error, .epoch = r->epoch, .stream = r->stream, .life = r->life, .at_epoch = at.epoch, .at_index = at.index,
			.floor = store_acked(r->local), .whole = r->whole, .progress = MAGMA_BYTES(r->progress->data, r->progress->len), .epochs = { NULL, list->len } };
		body = g_bytes_new(list->data, list->len);
		a->fn(a->user, 0, &rep, body);
		return;
	}
	case MAGMA_OP_mirror_start:
		rep.rep_mirror_start = (struct magma_rep_mirror_start){ .error = error, .epoch = r->epoch };
		break;
	case MAGMA_OP_mirror_append:
		if (different && different->len)
			body = g_bytes_new(different->data, different->len);
		rep.rep_mirror_append = (struct magma_rep_mirror_append){ .error = error, .epoch = r->epoch, .different = { NULL, body ? g_bytes_get_size(body) : 0 } };
		break;
	case MAGMA_OP_mirror_rows:
		rep.rep_mirror_rows = (struct magma_rep_mirror_rows){ .error = error, .epoch = r->epoch };
		break;
	case MAGMA_OP_mirror_contents:
		rep.rep_mirror_contents = (struct magma_rep_mirror_contents){ .error = error, .epoch = r->epoch };
		break;
	case MAGMA_OP_mirror_read:
		rep.rep_mirror_read = (struct magma_rep_mirror_read){ .error = error, .epoch = r->epoch };
		break;
	default:
		rep.rep_mirror_sync = (struct magma_rep_mirror_sync){ .error = error, .epoch = r->epoch };
	}
	a->fn(a->user, 0, &rep, body);
}

static void answer_waiting(Replica *r, guint32 error)
{
	g_autoptr(GArray) list = r->waiting;

	r->waiting = g_array_new(FALSE, FALSE, sizeof(Answer));
	for (guint i = 0; i < list->len; i++)
		replica_answer(&g_array_index(list, Answer, i), r, error, NULL);
}

/* --- syncs --- */

void replica_synced(Replica *r, const MagmaFid *fid, guint64 touches)
{
	const guint64 *at = g_hash_table_lookup(r->unsynced, fid);

	if (at && *at <= touches)
		g_hash_table_remove(r->unsynced, fid);
}

static void sync_free(gpointer p)
{
	SyncWait *s = p;

	g_array_unref(s->fids);
	g_free(s);
}

static void sync_part(void *user, int error)
{
	SyncWait *s = user;
	Replica *r = s->r;

	s->error = s->error ? s->error : error;
	if (!--s->waiting) {
		r->running--;
		for (guint i = 0; !s->error && i < s->fids->len; i++)
			replica_synced(r, &g_array_index(s->fids, MagmaFid, i), s->touches);
		if (!r->dead) {
			replica_answer(&s->answer, r, s->stream == r->stream && !r->broken ? s->error : ENOTCONN, NULL);
			replica_go_on(r);
		} else {
			s->answer.fn(s->answer.user, ECANCELED, NULL, NULL);
		}
		sync_free(s);
	}
	replica_unref(r);
}

static void sync_begin(SyncWait *s)
{
	Replica *r = s->r;

	s->waiting = s->fids->len + s->journal + 1;
	s->touches = r->touches;
	r->running++;
	for (guint i = 0; i < s->fids->len; i++) {
		replica_ref(r);
		store_content_sync(r->local, &g_array_index(s->fids, MagmaFid, i), sync_part, s);
	}
	if (s->journal) {
		replica_ref(r);
		store_sync(r->local, sync_part, s);
	}
	replica_ref(r);
	sync_part(s, 0);
}

gboolean replica_did_below(const Replica *r, guint64 sequence)
{
	const Message *first = g_queue_peek_head(&((Replica *)r)->messages);

	return (first ? first->sequence : r->next) >= sequence;
}

static void syncs_advance(Replica *r)
{
	for (guint i = 0; i < r->syncs->len; ) {
		SyncWait *s = r->syncs->pdata[i];
		if (!replica_did_below(r, s->sequence)) {
			i++;
			continue;
		}
		g_ptr_array_set_free_func(r->syncs, NULL);
		g_ptr_array_remove_index(r->syncs, i);
		sync_begin(s);
	}
}

static void sync_request(Replica *r, const struct magma_req_mirror_sync *q, const Answer *a)
{
	MagmaReader in = magma_reader(q->fids.data, q->fids.len);
	SyncWait *s = g_new0(SyncWait, 1);

	*s = (SyncWait){ .answer = *a, .sequence = q->sequence, .journal = q->journal != 0, .r = r, .stream = r->stream, .fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid)) };
	while (in.left && !in.error && s->fids->len < FIDS_MAX) {
		MagmaFid fid = magma_get_fid(&in);
		g_array_append_val(s->fids, fid);
	}
	if (in.error || in.left) {
		replica_answer(a, r, EPROTO, NULL);
		sync_free(s);
		return;
	}
	g_ptr_array_add(r->syncs, s);
	syncs_advance(r);
}

/* --- streams begin and end --- */

static void end_syncs(Replica *r)
{
	g_autoptr(GPtrArray) list = r->syncs;

	reads_end(r);
	r->syncs = g_ptr_array_new();
	for (guint i = 0; i < list->len; i++) {
		SyncWait *s = list->pdata[i];
		replica_answer(&s->answer, r, ENOTCONN, NULL);
		sync_free(s);
	}
}

/* The end of the old stream is there when nothing that it began is under way: the log and the contents hold still. */
static void ending_advance(Replica *r)
{
	const StoreLogVt *log = r->local->log;

	if (r->state != ENDING || r->running || !r->loaded || log->written(r->local) < log->position(r->local).index)
		return;
	r->state = ATTACHED;
	r->cfg.io->random(r->cfg.user, &r->stream, sizeof r->stream);
	r->stream |= 1;
	answer_waiting(r, 0);
}

static void attach(Replica *r, const struct magma_req_mirror_attach *q, const Answer *a)
{
	gboolean again = q->epoch == r->by_epoch && q->attempt == r->attempt && r->state != NO_STREAM;

	if (!again && q->epoch == r->by_epoch && q->attempt < r->attempt) {
		replica_answer(a, r, ENOTCONN, NULL);
		return;
	}
	if (again && r->state != ENDING) {
		replica_answer(a, r, r->state == ATTACHED ? 0 : ENOTCONN, NULL);
		return;
	}
	if (!again && r->state == STARTING) {       /* the store is being changed; its owner tries again */
		replica_answer(a, r, EAGAIN, NULL);
		return;
	}
	if (!again) {
		answer_waiting(r, ENOTCONN);
		stream_end(r);
		end_syncs(r);
		r->by_epoch = q->epoch;
		r->attempt = q->attempt;
		r->stream = 0;
		r->state = ENDING;
	}
	g_array_append_val(r->waiting, *a);
	ending_advance(r);
}

static void started(void *user, int error)
{
	Replica *r = user;

	if (!r->dead) {
		r->state = error ? ATTACHED : STARTED;
		r->followed |= !error;
		answer_waiting(r, error);
	}
	replica_unref(r);
}

static void meta_take(Replica *r, const StoreRow *rows, guint n)
{
	r->whole = FALSE;
	g_byte_array_set_size(r->progress, 0);
	for (guint i = 0; i < n; i++) {
		if (rows[i].klen == strlen(META_WHOLE) && !memcmp(rows[i].key, META_WHOLE, rows[i].klen))
			r->whole = TRUE;
		if (rows[i].klen == strlen(META_FILL) && !memcmp(rows[i].key, META_FILL, rows[i].klen))
			g_byte_array_append(r->progress, rows[i].val, rows[i].vlen);
	}
}

/* The fills behind the cut went with it: rows may be missing that its owner takes for there. It attaches again and hears so. */
static void meta_after_cut(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Replica *r = user;
	gboolean was = r->whole;

	if (!r->dead) {                       /* what cannot be read is not taken for whole: its owner fills it anew */
		meta_take(r, rows, error ? 0 : n);
		error = error ? error : was && !r->whole ? EAGAIN : 0;
	}
	started(r, error);
}

static void cut_done(void *user, int error)
{
	Replica *r = user;

	if (error || r->dead)
		started(r, error);
	else
		store_scan(r->local, TAB_META, NULL, 0, META_OWN, strlen(META_OWN), 8, meta_after_cut, r);
}

/* Its rows stay, and are of no log any more: from the moment on that its log is another one it is not whole, in one step on disk. */
static void rebase(Replica *r, StorePos pos)
{
	static const guint8 nothing_compared = 0;
	Txn *t = txn_new();

	r->whole = FALSE;
	g_byte_array_set_size(r->progress, 0);
	g_byte_array_append(r->progress, &nothing_compared, 1);
	txn_del(t, TAB_META, META_WHOLE, strlen(META_WHOLE), NULL);
	txn_put(t, TAB_META, META_FILL, strlen(META_FILL), NULL, &nothing_compared, 1);
	r->local->log->rebase(r->local, pos, txn_bytes(t)->data, txn_bytes(t)->len, started, r);
	txn_free(t);
}

static void start(Replica *r, const struct magma_req_mirror_start *q, const Answer *a)
{
	const StoreLogVt *log = r->local->log;
	StorePos at = log->position(r->local);

	if (r->state == STARTED || r->state == STARTING) {
		if (r->state == STARTED)
			replica_answer(a, r, 0, NULL);
		else
			g_array_append_val(r->waiting, *a);
		return;
	}
	if (r->state != ATTACHED || q->how > 2 || (q->how == 2 && !q->at_index) || (!q->how && (q->at_index > at.index || q->at_index < store_acked(r->local)))) {
		replica_answer(a, r, r->state != ATTACHED ? ENOTCONN : EINVAL, NULL);
		return;
	}
	g_array_append_val(r->waiting, *a);
	r->state = STARTING;
	r->next = r->order = 0;
	r->broken = 0;
	replica_ref(r);
	if (q->how == 2) {
		rebase(r, (StorePos){ q->at_epoch, q->at_index });
	} else if (q->how) {
		r->whole = FALSE;
		g_byte_array_set_size(r->progress, 0);
		log->reset(r->local, (StorePos){ q->at_epoch, q->at_index }, started, r);
	} else if (q->at_index < at.index) {
		log->cut(r->local, q->at_index, cut_done, r);
	} else {
		started(r, 0);
	}
}

/* --- its life --- */

void replica_go_on(Replica *r)
{
	r->again = TRUE;
	if (r->busy)
		return;
	replica_ref(r);
	r->busy = TRUE;
	while (r->again && !r->dead) {
		r->again = FALSE;
		stream_advance(r);
		if (!r->dead)
			syncs_advance(r);
		if (!r->dead)
			reads_advance(r);
		if (!r->dead)
			ending_advance(r);
	}
	r->busy = FALSE;
	replica_unref(r);
}

static void on_written(void *user, guint64 index) { replica_go_on(user); }

static void meta_loaded(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Replica *r = user;

	if (error && !r->dead && r->local->on_failed)
		r->local->on_failed(r->local->user, "what a copy knows of itself cannot be read");
	meta_take(r, rows, error ? 0 : n);
	r->loaded = !error;
	/* An empty log lacks nothing but what the log will bring. */
	if (!r->dead && !error && !r->whole && !r->progress->len && !r->local->log->position(r->local).index) {
		item_mark_whole(r->local);
		r->whole = TRUE;
	}
	if (!r->dead)
		replica_go_on(r);
	replica_unref(r);
}

Replica *replica_new(Store *local, guint64 epoch, const ReplicaConfig *cfg)
{
	Replica *r = g_new0(Replica, 1);

	r->refs = 1;
	r->local = local;
	r->cfg = *cfg;
	r->epoch = MAX(epoch, local->log->position(local).epoch);
	r->waiting = g_array_new(FALSE, FALSE, sizeof(Answer));
	r->early = g_hash_table_new(g_int64_hash, g_int64_equal);
	r->undone = g_hash_table_new(g_int64_hash, g_int64_equal);
	r->by_number = g_hash_table_new(g_int64_hash, g_int64_equal);
	r->unsynced = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, g_free);
	r->syncs = g_ptr_array_new();
	r->reads = g_ptr_array_new();
	r->part = g_byte_array_new();
	r->progress = g_byte_array_new();
	r->cfg.io->random(r->cfg.user, &r->life, sizeof r->life);
	local->on_written = on_written;
	local->log_user = r;
	local->log->set_limit(local, 0);
	local->log->set_unread(local, TRUE);
	store_scan(local, TAB_META, NULL, 0, META_OWN, strlen(META_OWN), 8, meta_loaded, replica_ref(r));
	return r;
}

void replica_set_epoch(Replica *r, guint64 epoch) { r->epoch = MAX(r->epoch, epoch); }
guint64 replica_epoch(const Replica *r) { return r->epoch; }
gboolean replica_whole(const Replica *r) { return r->loaded && r->whole; }
gboolean replica_known(const Replica *r) { return r->loaded; }
gboolean replica_followed(const Replica *r) { return r->followed; }
gboolean replica_changing(const Replica *r) { return r->state == STARTING; }

void replica_request(Replica *r, MagmaOp op, const MagmaAny *req, GBytes *msg, AnswerFn fn, void *user)
{
	Answer a = { op, fn, user };
	/* All requests begin with slice, epoch and, but for attach, stream. */
	guint64 epoch = op == MAGMA_OP_mirror_attach ? req->req_mirror_attach.epoch : req->req_mirror_start.epoch;
	guint64 stream = op == MAGMA_OP_mirror_start ? req->req_mirror_start.stream : op == MAGMA_OP_mirror_append ? req->req_mirror_append.stream : req->req_mirror_sync.stream;

	if (op == MAGMA_OP_mirror_append)
		epoch = req->req_mirror_append.epoch;
	if (op == MAGMA_OP_mirror_sync)
		epoch = req->req_mirror_sync.epoch;
	if (op == MAGMA_OP_mirror_rows) {
		epoch = req->req_mirror_rows.epoch;
		stream = req->req_mirror_rows.stream;
	}
	if (op == MAGMA_OP_mirror_contents) {
		epoch = req->req_mirror_contents.epoch;
		stream = req->req_mirror_contents.stream;
	}
	if (op == MAGMA_OP_mirror_read) {
		epoch = req->req_mirror_read.epoch;
		stream = req->req_mirror_read.stream;
	}
	if (epoch < r->epoch) {
		replica_answer(&a, r, ESTALE, NULL);
		return;
	}
	r->epoch = epoch;
	if (op != MAGMA_OP_mirror_attach && (epoch != r->by_epoch || !stream || stream != r->stream)) {
		replica_answer(&a, r, ENOTCONN, NULL);
		return;
	}
	replica_ref(r);
	switch (op) {
	case MAGMA_OP_mirror_attach: attach(r, &req->req_mirror_attach, &a); break;
	case MAGMA_OP_mirror_start: start(r, &req->req_mirror_start, &a); break;
	case MAGMA_OP_mirror_append: stream_append(r, &req->req_mirror_append, msg, &a); break;
	case MAGMA_OP_mirror_sync: sync_request(r, &req->req_mirror_sync, &a); break;
	case MAGMA_OP_mirror_rows: rows_request(r, &req->req_mirror_rows, &a); break;
	case MAGMA_OP_mirror_contents: contents_request(r, &req->req_mirror_contents, &a); break;
	case MAGMA_OP_mirror_read: read_request(r, &req->req_mirror_read, &a); break;
	default: replica_answer(&a, r, EPROTO, NULL);
	}
	replica_unref(r);
}

void replica_free(Replica *r)
{
	if (!r)
		return;
	r->local->on_written = NULL;
	r->local->log->set_unread(r->local, FALSE);
	answer_waiting(r, ENOTCONN);
	stream_end(r);
	end_syncs(r);
	r->dead = TRUE;
	replica_unref(r);
}
