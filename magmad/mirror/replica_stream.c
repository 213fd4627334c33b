/* The messages of a stream in order. Contents begin as soon as their message's turn has come; frames and rows go to the log one behind the other, each when the contents it needs are done. */
#include "magmad/mirror/replica-inside.h"

#define EARLY_MAX (16u << 20)         /* bytes of messages that came before their turn: above the owner's window */
enum { AHEAD_MAX = 4096 };            /* messages, likewise */

typedef struct {
	Replica *r;
	Message *m;
	guint64 stream, order, number;
	MagmaFid synced;              /* ino 0: it is no sync */
	guint64 touches;
	guint8 digest[ITEM_DIGEST_LEN];
} Content;

static void message_unref(Message *m)
{
	if (--m->refs)
		return;
	g_bytes_unref(m->msg);
	g_array_unref(m->answers);
	g_byte_array_unref(m->different);
	g_free(m);
}

static void answer_all(Replica *r, Message *m, guint32 error)
{
	g_autoptr(GArray) list = m->answers;

	m->answers = g_array_new(FALSE, FALSE, sizeof(Answer));
	for (guint i = 0; i < list->len; i++)
		replica_answer(&g_array_index(list, Answer, i), r, error, m->different);
}

static void entry_free(LogEntry *e)
{
	if (e->whole_payload)
		g_bytes_unref(e->whole_payload);
	if (e->syncs)
		g_array_unref(e->syncs);
	message_unref(e->m);
	g_free(e);
}

static void told_free(gpointer p)
{
	g_byte_array_unref(((Told *)p)->different);
	g_free(p);
}

void stream_end(Replica *r)
{
	GHashTableIter it;
	gpointer p;
	Message *m;
	LogEntry *e;
	g_autoptr(GPtrArray) early = g_ptr_array_new();

	while ((e = g_queue_pop_head(&r->log)))
		entry_free(e);
	g_hash_table_iter_init(&it, r->early);
	while (g_hash_table_iter_next(&it, NULL, &p))
		g_ptr_array_add(early, p);
	g_hash_table_remove_all(r->early);
	r->early_bytes = 0;
	g_hash_table_remove_all(r->undone);
	g_hash_table_remove_all(r->by_number);
	g_byte_array_set_size(r->part, 0);
	g_queue_clear_full(&r->told, told_free);
	r->broken = r->broken ? r->broken : ENOTCONN;
	while ((m = g_queue_pop_head(&r->messages))) {
		answer_all(r, m, r->broken);
		message_unref(m);
	}
	for (guint i = 0; i < early->len; i++) {
		answer_all(r, early->pdata[i], r->broken);
		message_unref(early->pdata[i]);
	}
}

void stream_break(Replica *r, int error, const char *why)
{
	if (r->broken)
		return;
	g_autofree char *line = g_strdup_printf("copy of slice %u: %s: %s", r->cfg.slice, why, g_strerror(error));
	r->cfg.io->say(r->cfg.user, line);
	r->broken = error;
	stream_end(r);
}

/* --- contents --- */

static void content_end(Content *c, int error)
{
	Replica *r = c->r;

	r->running--;
	if (c->synced.ino && !error)
		replica_synced(r, &c->synced, c->touches);
	if (!r->dead && c->stream == r->stream && !r->broken) {
		g_hash_table_remove(r->undone, &c->order);
		if (c->number)
			g_hash_table_remove(r->by_number, &c->number);
		c->m->contents--;
		if (error)
			stream_break(r, error, "a content could not be written");
	}
	message_unref(c->m);
	g_free(c);
	if (!r->dead)
		replica_go_on(r);
	replica_unref(r);
}

static void content_done(void *user, int error) { content_end(user, error); }

static void digest_read(void *user, int error, GBytes *data)
{
	Content *c = user;
	guint8 have[ITEM_DIGEST_LEN];
	gsize n = 0;
	const guint8 *p = error ? NULL : g_bytes_get_data(data, &n);

	if (!error)
		item_digest(p, n, have);
	/* what cannot be read here is not the same: the owner's bytes come over it */
	if (error || memcmp(have, c->digest, ITEM_DIGEST_LEN))
		magma_put_u64(c->m->different, c->number);
	content_end(c, 0);
}

static void touch(Replica *r, const MagmaFid *fid)
{
	g_hash_table_replace(r->unsynced, g_memdup2(fid, sizeof *fid), g_memdup2(&(guint64){ ++r->touches }, sizeof(guint64)));
}

static void content_begin(Replica *r, Message *m, const Item *i)
{
	Content *c = g_new0(Content, 1);
	Store *s = r->local;

	*c = (Content){ .r = replica_ref(r), .m = m, .stream = r->stream, .order = r->order++, .number = i->number };
	m->refs++;
	m->contents++;
	r->running++;
	g_hash_table_insert(r->undone, &c->order, c);
	if (c->number)
		g_hash_table_replace(r->by_number, &c->number, c);
	if (i->kind == ITEM_DIGEST) {
		memcpy(c->digest, i->digest, ITEM_DIGEST_LEN);
		store_content_read(s, &i->fid, i->off, i->len, digest_read, c);
		return;
	}
	if (i->what == DO_SYNC) {
		c->synced = i->fid;
		c->touches = r->touches;
	} else if (i->what == DO_DROP) {
		g_hash_table_remove(r->unsynced, &i->fid);
	} else {
		touch(r, &i->fid);
	}
	switch (i->what) {
	case DO_WRITE: {
		g_autoptr(GBytes) data = g_bytes_new_from_bytes(m->msg, i->payload - (const guint8 *)g_bytes_get_data(m->msg, NULL), i->payload_len);
		store_content_write(s, &i->fid, i->off, data, content_done, c);
		break;
	}
	case DO_TRUNCATE: store_content_truncate(s, &i->fid, i->off, content_done, c); break;
	case DO_FALLOCATE: store_content_fallocate(s, &i->fid, i->mode, i->off, i->len, content_done, c); break;
	case DO_DROP: store_content_drop(s, &i->fid, content_done, c); break;
	case DO_SYNC: store_content_sync(s, &i->fid, content_done, c); break;
	}
}

/* --- the log --- */

static gboolean needs_met(Replica *r, const LogEntry *e)
{
	GHashTableIter it;
	gpointer key;

	if (e->item.kind == ITEM_COMMIT)
		return TRUE;
	for (guint i = 0; e->syncs && i < e->syncs->len; i++)
		if (g_hash_table_contains(r->undone, &g_array_index(e->syncs, guint64, i)))
			return FALSE;
	if (e->item.kind != ITEM_FRAME || e->item.needs_n == ITEM_NEEDS_ALL) {
		g_hash_table_iter_init(&it, r->undone);
		while (g_hash_table_iter_next(&it, &key, NULL))
			if (*(guint64 *)key < e->content_end)
				return FALSE;
		return TRUE;
	}
	for (guint i = 0; i < e->item.needs_n; i++)
		if (g_hash_table_contains(r->by_number, &e->item.needs[i]))
			return FALSE;
	return TRUE;
}

static gboolean set_progress(void *user, const StoreRow *row, gboolean del)
{
	Replica *r = user;

	if (row->table == TAB_META && row->klen == strlen(META_FILL) && !memcmp(row->key, META_FILL, row->klen) && !del) {
		g_byte_array_set_size(r->progress, 0);
		g_byte_array_append(r->progress, row->val, row->vlen);
	}
	return TRUE;
}

static gboolean log_one(Replica *r, LogEntry *e)
{
	const StoreLogVt *log = r->local->log;
	gsize n = e->item.payload_len;
	const guint8 *p = e->whole_payload ? g_bytes_get_data(e->whole_payload, &n) : e->item.payload;
	StoreFrame f = { e->item.pos, p, n };

	switch (e->item.kind) {
	case ITEM_FRAME:
		if (f.pos.epoch > r->by_epoch || !log->append(r->local, &f))
			return FALSE;
		e->m->frame_end = f.pos.index;
		return TRUE;
	case ITEM_ROWS:
		e->m->fill_end = log->fill(r->local, p, n);
		return e->m->fill_end && txn_each(p, n, set_progress, r);
	case ITEM_WHOLE:
		e->m->fill_end = item_mark_whole(r->local);
		r->whole = TRUE;
		g_byte_array_set_size(r->progress, 0);
		return TRUE;
	case ITEM_COMMIT:
		if (f.pos.index > r->commit) {
			r->commit = f.pos.index;
			log->set_limit(r->local, f.pos.index);
		}
		return TRUE;
	default:
		return FALSE;
	}
}

static void log_advance(Replica *r)
{
	LogEntry *e;

	while (!r->broken && (e = g_queue_peek_head(&r->log)) && needs_met(r, e)) {
		g_queue_pop_head(&r->log);
		e->m->entries--;
		gboolean ok = log_one(r, e);
		entry_free(e);
		if (!ok)
			stream_break(r, EPROTO, "the owner's frame does not fit");
	}
}

typedef struct {
	Replica *r;
	LogEntry *e;
} Clearing;

static gboolean sync_cleared(void *user, const StoreRow *row, gboolean del)
{
	Clearing *k = user;

	if (!del || row->table != TAB_DIRTY || row->klen != 8)
		return TRUE;
	Item sync = { .kind = ITEM_CONTENT, .what = DO_SYNC, .fid = { row->rk, magma_be64_load(row->key) } };
	if (!g_hash_table_contains(k->r->unsynced, &sync.fid))
		return TRUE;
	if (!k->e->syncs)
		k->e->syncs = g_array_new(FALSE, FALSE, sizeof(guint64));
	g_array_append_val(k->e->syncs, k->r->order);
	content_begin(k->r, k->e->m, &sync);
	return TRUE;
}

/* The owner clears a write intent when the copies that count have the content on disk; it does not wait for one that does not. So this one sees to it by itself that its log does not say so before it is true: after
 * a power cut here nobody would compare that content any more. */
static void log_syncs(Replica *r, LogEntry *e)
{
	Clearing k = { r, e };
	gsize n = e->item.payload_len;
	const guint8 *p = e->whole_payload ? g_bytes_get_data(e->whole_payload, &n) : e->item.payload;

	if (e->item.kind == ITEM_FRAME && g_hash_table_size(r->unsynced))
		txn_each(p, n, sync_cleared, &k);
}

static void log_add(Replica *r, Message *m, const Item *i)
{
	LogEntry *e = g_new0(LogEntry, 1);

	e->m = m;
	m->refs++;
	m->entries++;
	e->item = *i;
	e->content_end = r->order;
	if (r->part->len) {
		g_byte_array_append(r->part, i->payload, i->payload_len);
		e->whole_payload = g_byte_array_free_to_bytes(r->part);
		r->part = g_byte_array_new();
	}
	log_syncs(r, e);
	g_queue_push_tail(&r->log, e);
}

/* --- messages --- */

static gboolean take_item(Replica *r, Message *m, const Item *i)
{
	switch (i->kind) {
	case ITEM_PART:
		if (i->payload_len > ITEM_PART_MAX - r->part->len)
			return FALSE;
		g_byte_array_append(r->part, i->payload, i->payload_len);
		return TRUE;
	case ITEM_CONTENT:
	case ITEM_DIGEST:
		content_begin(r, m, i);
		return TRUE;
	default:
		log_add(r, m, i);
		return TRUE;
	}
}

static void message_take(Replica *r, Message *m)
{
	MagmaReader heads = magma_reader(m->items.data, m->items.len), bytes = magma_reader(m->bytes.data, m->bytes.len);
	guint64 stream = r->stream;
	Item i;

	g_queue_push_tail(&r->messages, m);
	m->refs++;
	r->next++;
	while (heads.left && !r->broken && r->stream == stream)
		if (!item_get(&heads, &bytes, &i) || !take_item(r, m, &i))
			stream_break(r, EPROTO, "a message that is none");
	m->parsed = TRUE;
	message_unref(m);
}

static gboolean complete(const Replica *r, const Message *m)
{
	const StoreLogVt *log = r->local->log;

	return m->parsed && !m->contents && !m->entries && log->written(r->local) >= m->frame_end && log->filled(r->local) >= m->fill_end;
}

/* An answer that was lost is asked for again: what it said of digests must be said again. The owner has no more messages under way than these. */
static void told_add(Replica *r, Message *m)
{
	Told *t;

	while ((t = g_queue_peek_head(&r->told)) && t->sequence + AHEAD_MAX < r->next)
		told_free(g_queue_pop_head(&r->told));
	if (!m->different->len)
		return;
	t = g_new(Told, 1);
	*t = (Told){ m->sequence, g_byte_array_ref(m->different) };
	g_queue_push_tail(&r->told, t);
}

static GByteArray *told_find(Replica *r, guint64 sequence)
{
	for (GList *l = r->told.head; l; l = l->next)
		if (((Told *)l->data)->sequence == sequence)
			return ((Told *)l->data)->different;
	return NULL;
}

void stream_advance(Replica *r)
{
	Message *m;

	while (r->state == STARTED && !r->broken && (m = g_hash_table_lookup(r->early, &r->next))) {
		g_hash_table_remove(r->early, &m->sequence);
		r->early_bytes -= g_bytes_get_size(m->msg);
		message_take(r, m);
	}
	log_advance(r);
	while (!r->broken && !r->dead && (m = g_queue_peek_head(&r->messages)) && complete(r, m)) {
		g_queue_pop_head(&r->messages);
		answer_all(r, m, 0);
		told_add(r, m);
		message_unref(m);
	}
}

static gint by_sequence(gconstpointer m, gconstpointer sequence) { return ((const Message *)m)->sequence != *(const guint64 *)sequence; }

void stream_append(Replica *r, const struct magma_req_mirror_append *q, GBytes *msg, const Answer *a)
{
	Message *m = g_hash_table_lookup(r->early, &q->sequence);
	GList *taken = m ? NULL : g_queue_find_custom(&r->messages, &q->sequence, by_sequence);

	if (r->broken || (r->state != STARTED && r->state != STARTING)) {
		replica_answer(a, r, r->broken ? r->broken : ENOTCONN, NULL);
		return;
	}
	m = taken ? taken->data : m;
	if (m) {
		g_array_append_val(m->answers, *a);
		return;
	}
	if (q->sequence < r->next) {
		replica_answer(a, r, 0, told_find(r, q->sequence));
		return;
	}
	if (q->sequence - r->next > AHEAD_MAX || (r->early_bytes > EARLY_MAX && q->sequence != r->next)) {
		replica_answer(a, r, EPROTO, NULL);
		return;
	}
	m = g_new0(Message, 1);
	*m = (Message){ .sequence = q->sequence, .msg = g_bytes_ref(msg), .items = q->items, .bytes = q->bytes, .refs = 1,
		.answers = g_array_new(FALSE, FALSE, sizeof(Answer)), .different = g_byte_array_new() };
	g_array_append_val(m->answers, *a);
	g_hash_table_insert(r->early, &m->sequence, m);
	r->early_bytes += g_bytes_get_size(msg);
	replica_go_on(r);
}
