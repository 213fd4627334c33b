/* What copies are to get, in the order in which it was begun here: kept until all that count have it and all that follow have been sent it. */
#include "magmad/mirror/owner-inside.h"

static void item_free(gpointer p)
{
	FeedItem *i = p;

	if (!i)
		return;
	if (i->bytes)
		g_bytes_unref(i->bytes);
	g_free(i->needs);
	g_slice_free(FeedItem, i);
}

static void queue_free(gpointer q) { g_queue_free(q); }

void feed_init(Feed *f)
{
	f->items = g_ptr_array_new();
	f->by_fid = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, queue_free);
	f->done = g_array_new(FALSE, FALSE, sizeof(guint64));
	f->base = 1;                          /* number 0 is nobody's */
}

void feed_clear(Feed *f)
{
	for (guint i = f->head; i < f->items->len; i++)
		item_free(f->items->pdata[i]);
	g_ptr_array_unref(f->items);
	g_hash_table_unref(f->by_fid);
	g_array_unref(f->done);
}

guint64 feed_end(const Feed *f) { return f->base + (f->items->len - f->head); }
FeedItem *feed_at(const Feed *f, guint64 seq) { return seq < f->base || seq >= feed_end(f) ? NULL : f->items->pdata[f->head + (seq - f->base)]; }

static FeedItem *add(Feed *f, GBytes *bytes)
{
	FeedItem *i = g_slice_new0(FeedItem);

	i->seq = feed_end(f);
	i->bytes = bytes;
	i->bytes_before = f->total;
	f->total += sizeof *i + (bytes ? g_bytes_get_size(bytes) : 0);
	g_ptr_array_add(f->items, i);
	return i;
}

void feed_add_frame(Feed *f, StorePos pos, const GByteArray *txn)
{
	FeedItem *i = add(f, g_bytes_new(txn->data, txn->len));

	i->frame = TRUE;
	i->pos = pos;
	i->needs_n = f->done->len > ITEM_NEEDS_MAX ? ITEM_NEEDS_ALL : f->done->len;
	if (i->needs_n && i->needs_n != ITEM_NEEDS_ALL)
		i->needs = g_memdup2(f->done->data, f->done->len * sizeof(guint64));
	g_array_set_size(f->done, 0);
}

guint64 feed_add_content(Feed *f, ContentWhat what, const MagmaFid *fid, guint64 off, guint64 len, guint32 mode, GBytes *data)
{
	FeedItem *i = add(f, data ? g_bytes_ref(data) : NULL);
	GQueue *q = g_hash_table_lookup(f->by_fid, fid);

	i->what = what;
	i->fid = *fid;
	i->off = off;
	i->len = len;
	i->mode = mode;
	if (!q) {
		q = g_queue_new();
		g_hash_table_insert(f->by_fid, g_memdup2(fid, sizeof *fid), q);
	}
	g_queue_push_tail(q, i);
	return i->seq;
}

void feed_content_done(Feed *f, guint64 seq)
{
	if (seq >= f->base)
		g_array_append_val(f->done, seq);
}

static void forget_content(Feed *f, FeedItem *i)
{
	GQueue *q = g_hash_table_lookup(f->by_fid, &i->fid);

	g_queue_pop_head(q);
	if (!q->length)
		g_hash_table_remove(f->by_fid, &i->fid);
}

void feed_trim(Feed *f, guint64 seq)
{
	for (; f->base < seq && f->head < f->items->len; f->base++, f->head++) {
		FeedItem *i = f->items->pdata[f->head];
		if (!i->frame)
			forget_content(f, i);
		item_free(i);
	}
	if (f->head == f->items->len || f->head > 4096) {
		g_ptr_array_remove_range(f->items, 0, f->head);
		f->head = 0;
	}
}

/* Truncations, drops and the like touch everything. */
gboolean feed_touching(const Feed *f, const MagmaFid *fid, guint64 off, guint64 end, guint64 *seq)
{
	GQueue *q = g_hash_table_lookup(f->by_fid, fid);

	for (GList *l = q ? q->tail : NULL; l; l = l->prev) {
		const FeedItem *i = l->data;
		if (i->what == DO_WRITE && (i->off >= end || off >= i->off + i->len))
			continue;
		*seq = i->seq;
		return TRUE;
	}
	return FALSE;
}

guint64 feed_bytes_from(const Feed *f, guint64 seq)
{
	const FeedItem *i = feed_at(f, seq);

	return i ? f->total - i->bytes_before : 0;
}

guint64 feed_index_before(const Feed *f, guint64 seq, guint64 last)
{
	for (; seq < feed_end(f); seq++)
		if (feed_at(f, seq)->frame)
			return feed_at(f, seq)->pos.index - 1;
	return last;
}
