/* The messages to a copy: what the feed, the journal and catching up have for it, as far as the window allows. */
#include "magmad/mirror/owner-inside.h"

static void sent_free(Sent *s)
{
	if (s->digests)
		g_array_unref(s->digests);
	g_free(s);
}

static void journal_frame_free(gpointer p)
{
	g_bytes_unref(((JournalFrame *)p)->txn);
	g_free(p);
}

void stream_clear(Copy *c)
{
	Sent *s;

	while ((s = g_queue_pop_head(&c->sent))) {
		if (s->call)
			c->o->cfg.io->cancel(c->o->cfg.user, s->call);
		sent_free(s);
	}
	g_queue_clear_full(&c->frames, journal_frame_free);
	g_clear_pointer(&c->big, g_bytes_unref);
	c->sequence = c->commit_said = 0;
	c->under_way = 0;
	c->reading = c->read_dry = FALSE;
}

/* --- acknowledgements --- */

static void acked_to(Copy *c, guint64 sequence)
{
	for (GList *l = c->sent.head; l; ) {
		GList *next = l->next;
		Sent *s = l->data;
		if (s->sequence > sequence)
			break;
		if (!s->acked) {
			s->acked = TRUE;
			c->under_way -= s->bytes;
			c->acked_seq = MAX(c->acked_seq, s->feed_end);
			c->acked_index = MAX(c->acked_index, s->index_end);
		}
		if (!s->digests) {
			if (s->call)
				c->o->cfg.io->cancel(c->o->cfg.user, s->call);
			g_queue_delete_link(&c->sent, l);
			sent_free(s);
		}
		l = next;
	}
}

static void digests_answered(Copy *c, const Sent *s, MagmaBytes different)
{
	MagmaReader r = magma_reader(different.data, different.len);

	while (r.left && !r.error)
		catchup_digest_answer(c, magma_get_u64(&r), TRUE);
	for (guint i = 0; i < s->digests->len; i++)
		catchup_digest_answer(c, g_array_index(s->digests, guint64, i), FALSE);
}

static void answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Sent *s = user;
	Copy *c = s->c;
	Owner *o = owner_ref(c->o);

	s->call = NULL;
	if (copy_answer_bad(c, error, rep ? rep->rep_mirror_append.error : 0, rep ? rep->rep_mirror_append.epoch : 0, "it could not follow")) {
		owner_unref(o);
		return;
	}
	c->heard = o->cfg.io->now(o->cfg.user);
	copy_took(c, s->at);
	if (s->digests) {
		digests_answered(c, s, rep->rep_mirror_append.different);
		g_clear_pointer(&s->digests, g_array_unref);
	}
	if (c->phase != PHASE_LIVE)
		catchup_took(c, s->at);
	acked_to(c, s->sequence);
	owner_update(o);
	owner_unref(o);
}

/* --- messages --- */

typedef struct {
	Copy *c;
	ItemWriter w;
	GArray *digests;
} Build;

/* A payload larger than a message goes ahead of its item in parts. */
static void put_big(Build *b)
{
	Copy *c = b->c;
	gsize n = g_bytes_get_size(c->big), room = ITEM_MESSAGE_MAX - b->w.bytes, part = MIN(n, room);
	Item item = { .kind = ITEM_PART };

	if (n <= room)
		item = c->big_item;
	g_autoptr(GBytes) piece = g_bytes_new_from_bytes(c->big, 0, part);
	item_put(&b->w, &item, piece);
	if (n > room) {
		GBytes *rest = g_bytes_new_from_bytes(c->big, part, n - part);
		g_bytes_unref(c->big);
		c->big = rest;
	} else {
		g_clear_pointer(&c->big, g_bytes_unref);
	}
}

static gboolean put(Build *b, const Item *item, GBytes *payload)
{
	gsize n = payload ? g_bytes_get_size(payload) : 0;

	if (n > ITEM_MESSAGE_MAX) {
		b->c->big = g_bytes_ref(payload);
		b->c->big_item = *item;
		return TRUE;
	}
	if (!item_fits(&b->w, n))
		return FALSE;
	item_put(&b->w, item, payload);
	return TRUE;
}

static gboolean put_slots(Build *b)
{
	Copy *c = b->c;

	while (c->slots->len) {
		Slot *s = c->slots->pdata[0];
		while (s->items->len) {
			SlotItem *i = &g_array_index(s->items, SlotItem, 0);
			if (!put(b, &i->item, i->payload))
				return FALSE;
			catchup_spent(c, i->payload ? g_bytes_get_size(i->payload) : i->item.kind == ITEM_DIGEST ? i->item.len : 0);
			if (i->item.kind == ITEM_DIGEST || i->item.number) {
				if (!b->digests)
					b->digests = g_array_new(FALSE, FALSE, sizeof(guint64));
				g_array_append_val(b->digests, i->item.number);
			}
			if (i->payload)
				g_bytes_unref(i->payload);
			g_array_remove_index(s->items, 0);
			if (c->big)
				return TRUE;
		}
		g_ptr_array_remove_index(c->slots, 0);
		g_array_unref(s->items);
		g_free(s);
	}
	return TRUE;
}

static gboolean put_feed_item(Build *b, const FeedItem *f)
{
	Copy *c = b->c;

	if (!f->frame) {
		if (f->failed || f->seq < c->has_below || g_hash_table_contains(c->has, &f->seq)) {
			c->commit_due = TRUE;         /* that it is acknowledged, too, comes with the answer to a message */
			return TRUE;
		}
		Item i = { .kind = ITEM_CONTENT, .number = f->seq, .what = f->what, .fid = f->fid, .off = f->off, .len = f->len, .mode = f->mode };
		return put(b, &i, f->bytes);
	}
	if (c->hold_frames || c->next_index <= c->join_index) {
		c->join_index = f->pos.index;
		return TRUE;
	}
	if (f->pos.index < c->next_index)
		return TRUE;
	Item i = { .kind = ITEM_FRAME, .pos = f->pos, .needs_n = f->needs_n };
	if (f->needs_n && f->needs_n != ITEM_NEEDS_ALL)
		memcpy(i.needs, f->needs, f->needs_n * sizeof(guint64));
	if (!put(b, &i, f->bytes))
		return FALSE;
	c->next_index = f->pos.index + 1;
	return TRUE;
}

/* From the journal nobody knows what a frame needs: all contents in front of it. */
static gboolean put_journal_frame(Build *b)
{
	Copy *c = b->c;
	JournalFrame *j = g_queue_peek_head(&c->frames);
	Item i = { .kind = ITEM_FRAME, .pos = j->pos, .needs_n = ITEM_NEEDS_ALL };

	if (!put(b, &i, j->txn))
		return FALSE;
	c->next_index = j->pos.index + 1;
	catchup_spent(c, g_bytes_get_size(j->txn));
	g_queue_pop_head(&c->frames);
	journal_frame_free(j);
	return TRUE;
}

/* What passes in the feed while older frames come from the journal has to be read there, too. Under a steady load the journal's reader would be a few frames behind for ever: so close behind it the feed waits for it, which
 * takes a read of the journal. */
static gboolean journal_is_near(const Copy *c)
{
	return c->phase == PHASE_LOG && !c->hold_frames && c->next_index <= c->join_index && c->join_index - c->next_index < NEAR;
}

static void fill(Build *b)
{
	Copy *c = b->c;
	Feed *f = &c->o->feed;

	for (;;) {
		if (c->big) {
			if (b->w.bytes == ITEM_MESSAGE_MAX || !item_fits(&b->w, 0))
				return;
			put_big(b);
		} else if (c->slots_waiting) {
			return;
		} else if (c->slots->len) {
			if (!put_slots(b))
				return;
		} else if (!c->hold_frames && c->next_index <= c->join_index && c->frames.length && (journal_is_near(c) || catchup_may(c))) {
			if (!put_journal_frame(b))
				return;
		} else if (c->cursor < feed_end(f) && !journal_is_near(c)) {
			if (!put_feed_item(b, feed_at(f, c->cursor)))
				return;
			c->cursor++;
		} else {
			return;
		}
	}
}

static void send_message(Build *b)
{
	Copy *c = b->c;
	Owner *o = c->o;
	guint64 acked = store_acked(o->local);
	Sent *s = g_new0(Sent, 1);

	if (acked > c->commit_said && !c->big) {
		Item i = { .kind = ITEM_COMMIT, .pos = { .index = acked } };
		c->commit_said = acked;
		item_put(&b->w, &i, NULL);
	}
	*s = (Sent){ .c = c, .sequence = c->sequence++, .feed_end = c->big ? 0 : c->cursor, .index_end = c->big ? 0 : c->next_index - 1, .bytes = b->w.bytes + b->w.heads->len, .digests = b->digests };
	c->under_way += s->bytes;
	c->commit_due = FALSE;
	g_autoptr(GBytes) body = item_body(&b->w);
	struct magma_req_mirror_append q = { .slice = o->cfg.slice, .epoch = o->epoch, .stream = c->stream, .sequence = s->sequence, .items = MAGMA_BYTES(b->w.heads->data, b->w.heads->len),
		.bytes = { NULL, b->w.bytes } };
	s->at = o->cfg.io->now(o->cfg.user);
	g_queue_push_tail(&c->sent, s);
	s->call = o->cfg.io->call(o->cfg.user, c->volcano, MAGMA_OP_mirror_append, &q, body, 0, answered, s);
}

void stream_pump(Copy *c)
{
	while (c->started && c->under_way < WINDOW_BYTES && c->sent.length < WINDOW_MESSAGES) {
		Build b = { .c = c };
		item_writer_init(&b.w);
		fill(&b);
		/* What is read for it now has the effects of all that was begun, and not of what failed here: so it comes behind all that. */
		if (c->cursor == feed_end(&c->o->feed) && !c->big) {
			Phase before;
			do {
				before = c->phase;
				catchup_pump(c);
			} while (c->started && c->phase != before);
			if (c->started)
				fill(&b);
		} else if (journal_is_near(c)) {
			catchup_log_read(c);
		}
		if (c->started && (b.w.heads->len || c->commit_due)) {
			send_message(&b);
			item_writer_clear(&b.w);
			continue;
		}
		item_writer_clear(&b.w);
		break;
	}
}
