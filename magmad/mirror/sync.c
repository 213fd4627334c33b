/* fsyncs: here and at every copy that counts. Those of one turn go to a copy in one message. A copy that does not count is asked too, so that it is durable when it begins to. */
#include "magmad/mirror/owner-inside.h"
#include <errno.h>

enum { FIDS_PER_CALL = 1024 };

struct Sync {
	gint refs;
	Owner *o;
	gboolean journal, held, local_done, over;
	MagmaFid fid;
	guint64 seq, index;           /* what is to be durable: feed and log up to here */
	int error;
	GArray *durable_at;           /* guint16 volcano */
	void (*done)(void *user, int error);
	void *user;
};

typedef struct {
	Copy *c;
	gpointer call;
	GPtrArray *syncs;             /* Sync */
} SyncCall;

static void sync_unref(gpointer p)
{
	Sync *s = p;

	if (--s->refs)
		return;
	g_array_unref(s->durable_at);
	owner_unref(s->o);
	g_slice_free(Sync, s);
}

static Sync *sync_ref(Sync *s)
{
	s->refs++;
	return s;
}

static gboolean durable_at(const Sync *s, guint16 volcano)
{
	for (guint i = 0; i < s->durable_at->len; i++)
		if (g_array_index(s->durable_at, guint16, i) == volcano)
			return TRUE;
	return FALSE;
}

/* What was written is not there and never will be, though it reads as if for as long as it is in memory. */
static gboolean write_lost(const Sync *s) { return !s->journal && !s->o->part && (s->error == ENOSPC || s->error == EDQUOT); }

/* A copy that has it on its disk goes on with it. */
static void leave_to_copy(const Sync *s)
{
	Owner *o = s->o;
	g_autofree char *text = g_strdup_printf("slice %u: what was written cannot be synced: %s", o->cfg.slice, g_strerror(s->error));

	for (guint i = 0; i < o->copies->len && !o->dead; i++) {
		const Copy *c = o->copies->pdata[i];
		if (copy_could_own(c) && durable_at(s, c->volcano)) {
			owner_failed(o, text);
			return;
		}
	}
}

static gboolean sync_settled(const Sync *s)
{
	if (!s->local_done || !s->o->told)
		return FALSE;
	if (s->error && !write_lost(s))
		return TRUE;
	for (guint i = 0; i < s->o->copies->len; i++) {
		const Copy *c = s->o->copies->pdata[i];
		if (c->counted && c->counted_seq <= s->seq && !durable_at(s, c->volcano))
			return FALSE;
	}
	return TRUE;
}

static void local_done(void *user, int error)
{
	Sync *s = user;
	Owner *o = s->o;

	s->local_done = TRUE;
	s->error = error;
	if (!o->dead)
		owner_update(o);
	sync_unref(s);
}

static void sync_start(Sync *s)
{
	Owner *o = s->o;

	s->held = FALSE;
	s->seq = feed_end(&o->feed);
	s->index = o->local->log->position(o->local).index;
	g_ptr_array_add(o->syncs, sync_ref(s));
	for (guint i = 0; i < o->copies->len; i++) {
		Copy *c = o->copies->pdata[i];
		if (c->counted || c->stream)
			g_queue_push_tail(&c->syncs, sync_ref(s));
		else if (!s->journal)
			catchup_todo(c, &s->fid);     /* what it had of it may not be on its disk: a comparison ends with that */
	}
	sync_ref(s);
	if (s->journal)
		store_sync(o->local, local_done, s);
	else
		store_content_sync(o->local, &s->fid, local_done, s);
}

static Sync *sync_new(Owner *o, void (*done)(void *, int), void *user)
{
	Sync *s = g_slice_new0(Sync);

	*s = (Sync){ .refs = 1, .o = owner_ref(o), .done = done, .user = user, .durable_at = g_array_new(FALSE, FALSE, sizeof(guint16)) };
	return s;
}

static gboolean plain(Owner *o) { return o->told && !o->copies->len; }

static void owner_sync(Store *store, void (*done)(void *, int), void *user)
{
	Owner *o = (Owner *)store;

	if (plain(o)) {
		pass_sync(o, done, user);
		return;
	}
	Sync *s = sync_new(o, done, user);
	s->journal = TRUE;
	sync_start(s);
	sync_unref(s);
}

/* A write intent is cleared after this: the content must be the same everywhere then. */
static void owner_content_sync(Store *store, const MagmaFid *fid, void (*done)(void *, int), void *user)
{
	Owner *o = (Owner *)store;

	if (plain(o)) {
		pass_content_sync(o, fid, done, user);
		return;
	}
	Sync *s = sync_new(o, done, user);
	s->fid = *fid;
	if (contents_equal(o, fid)) {
		sync_start(s);
	} else {
		s->held = TRUE;
		g_ptr_array_add(o->held_syncs, sync_ref(s));
	}
	sync_unref(s);
}

void sync_vt(StoreVt *vt)
{
	vt->sync = owner_sync;
	vt->content_sync = owner_content_sync;
}

void sync_update(Owner *o)
{
	for (guint i = 0; i < o->held_syncs->len && !o->dead; ) {
		Sync *s = o->held_syncs->pdata[i];
		if (!contents_equal(o, &s->fid)) {
			i++;
			continue;
		}
		g_ptr_array_remove_index(o->held_syncs, i);
		sync_start(s);
		sync_unref(s);
	}
	for (guint i = 0; i < o->syncs->len && !o->dead; ) {
		Sync *s = o->syncs->pdata[i];
		if (!sync_settled(s)) {
			i++;
			continue;
		}
		g_ptr_array_remove_index(o->syncs, i);
		s->over = TRUE;
		if (write_lost(s))
			leave_to_copy(s);
		if (!o->deposed)
			s->done(s->user, s->error);
		sync_unref(s);
		i = 0;                /* done may have begun others */
	}
}

void sync_end(Owner *o)
{
	for (guint i = 0; i < o->syncs->len; i++)
		sync_unref(o->syncs->pdata[i]);
	g_ptr_array_set_size(o->syncs, 0);
	for (guint i = 0; i < o->held_syncs->len; i++)
		sync_unref(o->held_syncs->pdata[i]);
	g_ptr_array_set_size(o->held_syncs, 0);
}

/* --- at a copy --- */

static void call_free(SyncCall *k)
{
	g_ptr_array_unref(k->syncs);
	g_free(k);
}

static void call_done(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	SyncCall *k = user;
	Copy *c = k->c;
	Owner *o = owner_ref(c->o);

	k->call = NULL;
	if (copy_answer_bad(c, error, rep ? rep->rep_mirror_sync.error : 0, rep ? rep->rep_mirror_sync.epoch : 0, "fsync")) {
		owner_unref(o);
		return;
	}
	g_ptr_array_set_free_func(c->sync_calls, NULL);
	g_ptr_array_remove(c->sync_calls, k);
	c->heard = o->cfg.io->now(o->cfg.user);
	for (guint i = 0; i < k->syncs->len; i++)
		g_array_append_val(((Sync *)k->syncs->pdata[i])->durable_at, c->volcano);
	call_free(k);
	owner_update(o);
	owner_unref(o);
}

static gboolean reached(const Copy *c, const Sync *s) { return c->cursor >= s->seq && c->next_index > s->index && !c->big; }

void sync_copy_pump(Copy *c)
{
	g_autoptr(GByteArray) fids = g_byte_array_new();
	guint n = 0;
	Sync *s;

	if (!c->started || !c->syncs.length || !reached(c, c->syncs.head->data))
		return;
	SyncCall *k = g_new0(SyncCall, 1);
	k->c = c;
	k->syncs = g_ptr_array_new_with_free_func(sync_unref);
	struct magma_req_mirror_sync q = { .slice = c->o->cfg.slice, .epoch = c->o->epoch, .stream = c->stream, .sequence = c->sequence };
	while ((s = g_queue_peek_head(&c->syncs)) && reached(c, s) && n < FIDS_PER_CALL) {
		g_queue_pop_head(&c->syncs);
		g_ptr_array_add(k->syncs, s);
		if (s->journal)
			q.journal = 1;
		else
			magma_put_fid(fids, &s->fid);
		n += !s->journal;
	}
	q.fids = (MagmaBytes){ NULL, fids->len };
	g_autoptr(GBytes) body = g_bytes_new(fids->data, fids->len);
	g_ptr_array_add(c->sync_calls, k);
	k->call = c->o->cfg.io->call(c->o->cfg.user, c->volcano, MAGMA_OP_mirror_sync, &q, body, 0, call_done, k);
}

void sync_copy_joins(Copy *c)
{
	for (guint i = 0; i < c->o->syncs->len; i++) {
		Sync *s = c->o->syncs->pdata[i];
		if (s->seq >= c->counted_seq && !durable_at(s, c->volcano) && !g_queue_find(&c->syncs, s))
			g_queue_push_tail(&c->syncs, sync_ref(s));
	}
}

void sync_copy_lost(Copy *c)
{
	g_autoptr(GPtrArray) calls = c->sync_calls;

	c->sync_calls = g_ptr_array_new();
	for (guint i = calls->len; i-- > 0; ) {
		SyncCall *k = calls->pdata[i];
		if (k->call)
			c->o->cfg.io->cancel(c->o->cfg.user, k->call);
		for (guint j = k->syncs->len; j-- > 0; )
			g_queue_push_head(&c->syncs, sync_ref(k->syncs->pdata[j]));
		call_free(k);
	}
	for (GList *l = c->counted ? NULL : c->syncs.head; l; l = l->next)
		if (!((Sync *)l->data)->journal)
			catchup_todo(c, &((Sync *)l->data)->fid);
	if (!c->counted)
		g_queue_clear_full(&c->syncs, sync_unref);
}

void sync_copy_clear(Copy *c)
{
	gboolean counted = c->counted;

	c->counted = FALSE;
	sync_copy_lost(c);
	c->counted = counted;
}

/* What was synced before it counts is promised of it too. */
void sync_copy_baseline(Copy *c)
{
	Sync *s = sync_new(c->o, NULL, NULL);

	s->journal = s->local_done = TRUE;
	s->seq = feed_end(&c->o->feed);
	s->index = c->o->local->log->position(c->o->local).index;
	g_queue_push_tail(&c->syncs, s);
}

gboolean sync_copy_idle(const Copy *c, guint64 seq)
{
	const Sync *s = c->syncs.length ? c->syncs.head->data : NULL;

	if (s && s->seq <= seq)
		return FALSE;
	for (guint i = 0; i < c->sync_calls->len; i++) {
		const SyncCall *k = c->sync_calls->pdata[i];
		if (((Sync *)k->syncs->pdata[0])->seq <= seq)
			return FALSE;
	}
	return TRUE;
}
