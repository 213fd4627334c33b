/* A copy that has rows, but not what the journal would have to bring: its rows are compared with the owner's, range by range, and only what differs is copied or removed.
 *
 * First the survey, over all tables, while the copy's log waits (so its rows hold still): a piece of the owner's rows, its digest to the copy, and where that is not the same, which rows the copy has. It
 * leaves the ranges that differ, and the contents that may: those of flares whose rows differ or that have a write intent on either side. Where the rows are equal, and there is no intent, the content is the
 * same, because each intent is counted in its flare's row, and each move that brought it. That holds for a copy that was whole. Of one that was left in the middle of being filled or compared, and of which this owner does not remember what
 * it was to compare, the contents of all flares are compared.
 *
 * Contents that the copy has and the owner does not (what was sent to it just before it was lost may be there without the rows) are found by their names.
 *
 * Then the log goes on, contents are compared, and each range that differs is copied: the copy is asked once more what it has, and the owner's rows as they are now go into the stream. What comes to the copy
 * between its answer and that place of the stream are frames that the owner's rows have in them too, so each row is then either the same, or in the piece. */
#include "magmad/mirror/owner-inside.h"
#include "magmad/mirror/rowlist.h"
#include <stdlib.h>

enum { PIECE_ROWS = 4096, AHEAD = 4 };      /* pieces on their way to be compared: both disks work at the same time */

/* A piece of the survey. */
typedef struct {
	Copy *c;
	RowRange range;
	RowPlace at;                  /* the copy was heard up to here */
	GByteArray *list;             /* the owner's, from at on */
	GArray *sizes;                /* guint32: of its rows */
	guint64 bytes;
	MagmaTime begun;
	GArray *ranges;               /* RowRange: what differs in it */
	gboolean answered;
	gpointer call;
} Piece;

struct Compare {
	gboolean all_contents, over;
	/* the survey */
	guint table;                  /* which one in the survey's order */
	RowPlace at;                  /* what is to be read next */
	gboolean reading;
	GQueue pieces;                /* Piece: in order */
	guint64 compared;             /* bytes */
	/* contents that are nobody's */
	GArray *inos;                 /* guint64: of flares that have a content here, as the survey saw them; ascending */
	guint folder;
	gpointer listing;
	/* what differs */
	GArray *ranges;               /* RowRange: in the order of tables and keys once the survey is over */
	guint next;                   /* of ranges, to be copied */
	RowPlace done;                /* of that one, up to here */
	gpointer call;                /* asks what the copy has of range `asked`: of the next one, or, while that is read here, of the one behind it */
	guint asked;
	GByteArray *list;             /* what the copy has of the next one, up to upto */
	RowPlace upto;
	GByteArray *list_ahead;       /* of the one behind it */
	RowPlace upto_ahead;
	guint64 left;                 /* bytes that differ, roughly */
};

typedef struct {
	Owner *o;
	guint64 attempt;
} Ticket;

/* Intents first: one that is set while the survey goes on is counted in its flare's row, which is read later. */
G_STATIC_ASSERT(TAB_DIRTY == TAB_COUNT - 1 && TAB_META == 1);
enum { TABLES = TAB_COUNT - TAB_META };
static StoreTable survey_table(guint i) { return i ? (StoreTable)i : TAB_DIRTY; }
static guint survey_index(StoreTable t) { return t == TAB_DIRTY ? 0 : t; }

static void piece_free(Piece *p)
{
	g_byte_array_unref(p->list);
	g_array_unref(p->sizes);
	g_array_unref(p->ranges);
	g_free(p);
}

void compare_begin(Copy *c, gboolean all_contents)
{
	compare_end(c);
	c->compare = g_new0(Compare, 1);
	c->compare->all_contents = all_contents;
	c->compare->ranges = g_array_new(FALSE, FALSE, sizeof(RowRange));
	c->compare->inos = g_array_new(FALSE, FALSE, sizeof(guint64));
}

void compare_end(Copy *c)
{
	if (!c->compare)
		return;
	compare_stop(c);
	g_array_unref(c->compare->ranges);
	g_array_unref(c->compare->inos);
	g_clear_pointer(&c->compare, g_free);
}

/* The stream is over. Pieces that were not compared are read again. */
void compare_stop(Copy *c)
{
	Compare *m = c->compare;
	const OwnerConfig *cfg = &c->o->cfg;
	Piece *p;

	if (!m)
		return;
	if ((p = g_queue_peek_head(&m->pieces))) {
		m->table = survey_index(p->range.table);
		m->at = p->range.from;
	}
	while ((p = g_queue_pop_head(&m->pieces))) {
		if (p->call)
			cfg->io->cancel(cfg->user, p->call);
		piece_free(p);
	}
	if (m->call)
		cfg->io->cancel(cfg->user, m->call);
	if (m->listing)
		cfg->io->cancel(cfg->user, m->listing);
	m->call = m->listing = NULL;
	m->reading = FALSE;
	g_clear_pointer(&m->list, g_byte_array_unref);
	g_clear_pointer(&m->list_ahead, g_byte_array_unref);
}

static gpointer ask(Copy *c, const RowRange *r, guint32 rows, const guint8 *digest, void (*done)(void *, int, const MagmaAny *, GBytes *), void *user)
{
	struct magma_req_mirror_rows q = { .slice = c->o->cfg.slice, .epoch = c->o->epoch, .stream = c->stream, .table = r->table, .from = MAGMA_BYTES(r->from.key, r->from.len),
		.to = MAGMA_BYTES(r->to.key, r->to.len), .rows = rows, .digest = MAGMA_BYTES(digest, digest ? ITEM_DIGEST_LEN : 0) };

	return c->o->cfg.io->call(c->o->cfg.user, c->volcano, MAGMA_OP_mirror_rows, &q, NULL, 0, done, user);
}

/* --- the survey --- */

static void todo_of(Copy *c, const RowEntry *e)
{
	if (!e || !e->file || e->klen != 8)
		return;
	MagmaFid fid = { e->rk, magma_be64_load(e->key) };
	catchup_todo(c, &fid);
}

/* Keys begin with a number that grows, below the volcano that gave it (inode numbers), or below a client's own number. What is born while the rows are copied gets numbers behind the last one of these two bytes. */
enum { BIRTHPLACE = 2 };

static gboolean same_birthplace(const RowPlace *at, const RowEntry *e) { return at->len > BIRTHPLACE && e->klen > BIRTHPLACE && !memcmp(at->key, e->key, BIRTHPLACE); }

/* A range ends with the last row that differs: what is born behind it comes with the log, and looking for differences there would be running after the clients. */
static RowRange *range_for(Piece *p, const RowEntry *e)
{
	RowRange *last = p->ranges->len ? &g_array_index(p->ranges, RowRange, p->ranges->len - 1) : NULL, next = { .table = p->range.table };
	const RowPlace *before = last ? &last->to : &p->range.from;

	if (last && same_birthplace(before, e))
		return last;
	next.from = *before;
	if (!same_birthplace(before, e) && e->klen > BIRTHPLACE)
		row_place_set(&next.from, e->key, BIRTHPLACE);
	g_array_append_val(p->ranges, next);
	return &g_array_index(p->ranges, RowRange, p->ranges->len - 1);
}

static void note_difference(void *user, guint index, const RowEntry *mine, const RowEntry *its)
{
	Piece *p = user;
	const RowEntry *e = mine ? mine : its;
	RowRange *r = range_for(p, e);

	row_place_set(&r->to, e->key, e->klen);
	r->bytes += mine ? g_array_index(p->sizes, guint32, index) : its->klen;
	todo_of(p->c, mine);
	todo_of(p->c, its);
}

static void piece_settled(Copy *c)
{
	Compare *m = c->compare;
	Piece *p;

	while ((p = g_queue_peek_head(&m->pieces)) && p->answered) {
		g_queue_pop_head(&m->pieces);
		m->compared += p->bytes;
		for (guint i = 0; i < p->ranges->len; i++) {
			g_array_append_val(m->ranges, g_array_index(p->ranges, RowRange, i));
			m->left += g_array_index(p->ranges, RowRange, i).bytes;
		}
		piece_free(p);
	}
}

static void piece_ask(Piece *p, gboolean compare);

/* The entries that were looked at go; the copy has more behind upto. */
static void piece_rest(Piece *p, guint n, const RowPlace *upto)
{
	MagmaReader r = magma_reader(p->list->data, p->list->len);
	RowEntry e;

	for (guint i = 0; i < n; i++)
		rowlist_next(&r, &e);
	g_byte_array_remove_range(p->list, 0, p->list->len - r.left);
	g_array_remove_range(p->sizes, 0, n);
	p->at = *upto;
}

static void piece_answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Piece *p = user;
	Copy *c = p->c;
	Owner *o = owner_ref(c->o);
	gboolean ok = TRUE;

	p->call = NULL;
	if (copy_answer_bad(c, error, rep ? rep->rep_mirror_rows.error : 0, rep ? rep->rep_mirror_rows.epoch : 0, "comparison")) {
		owner_unref(o);
		return;
	}
	const struct magma_rep_mirror_rows *a = &rep->rep_mirror_rows;
	RowPlace upto = { .len = 0 };
	c->heard = o->cfg.io->now(o->cfg.user);
	row_place_set(&upto, a->upto.data, a->upto.len);
	if (!a->same) {
		guint n = rowlist_diff(p->list, a->list, &upto, note_difference, p, &ok);
		if (ok && upto.len)
			piece_rest(p, n, &upto);
	}
	if (!ok) {
		copy_lost(c, EPROTO, "its list of rows is none");
	} else if (upto.len && !a->same) {
		piece_ask(p, FALSE);
	} else {
		catchup_took(c, p->begun);
		p->answered = TRUE;
		piece_settled(c);
	}
	owner_unref(o);
}

static void piece_ask(Piece *p, gboolean compare)
{
	guint8 digest[ITEM_DIGEST_LEN];
	RowRange r = p->range;

	r.from = p->at;
	if (compare) {
		g_autoptr(RowHasher) h = row_hasher_new();
		rowlist_digest(h, p->list, digest);
	}
	p->call = ask(p->c, &r, p->sizes->len, compare ? digest : NULL, piece_answered, p);
}

static Piece *piece_new(Copy *c, const StoreRow *rows, guint n)
{
	g_autoptr(RowHasher) h = row_hasher_new();
	Compare *m = c->compare;
	Piece *p = g_new0(Piece, 1);

	p->c = c;
	p->range = (RowRange){ .table = survey_table(m->table), .from = m->at };
	p->at = m->at;
	p->begun = c->o->cfg.io->now(c->o->cfg.user);
	p->list = g_byte_array_new();
	p->sizes = g_array_new(FALSE, FALSE, sizeof(guint32));
	p->ranges = g_array_new(FALSE, FALSE, sizeof(RowRange));
	for (guint i = 0; i < n; i++) {
		guint32 size = rows[i].klen + rows[i].vlen;
		p->bytes += size;
		if (row_is_own(&rows[i]))
			continue;
		rowlist_add(p->list, h, &rows[i]);
		g_array_append_val(p->sizes, size);
	}
	return p;
}

static void note_contents(Copy *c, const Piece *p)
{
	Compare *m = c->compare;
	MagmaReader r = magma_reader(p->list->data, p->list->len);
	RowEntry e;

	while (rowlist_next(&r, &e)) {
		if (m->all_contents || p->range.table == TAB_DIRTY)
			todo_of(c, &e);
		if (p->range.table != TAB_FLARE || !e.file || e.klen != 8)
			continue;
		guint64 ino = magma_be64_load(e.key);
		if (!m->inos->len || g_array_index(m->inos, guint64, m->inos->len - 1) < ino)      /* a piece may be read twice */
			g_array_append_val(m->inos, ino);
	}
}

static void survey_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	g_autofree Ticket *t = user;
	Owner *o = t->o;
	Copy *c = owner_attempt(o, t->attempt);

	if (c && error) {
		copy_unread(c, error, "rows cannot be read");
	} else if (c) {
		Compare *m = c->compare;
		Piece *p = piece_new(c, rows, n);
		m->reading = FALSE;
		if (eof || !n) {
			m->table++;
			m->at.len = 0;
		} else {
			row_place_set(&p->range.to, rows[n - 1].key, rows[n - 1].klen);
			m->at = p->range.to;
		}
		note_contents(c, p);
		catchup_compared(c, p->bytes);
		g_queue_push_tail(&m->pieces, p);
		piece_ask(p, TRUE);
	}
	owner_unref(o);
}

static gint range_cmp(gconstpointer a, gconstpointer b)
{
	const RowRange *x = a, *y = b;

	return x->table != y->table ? (gint)x->table - (gint)y->table : rowlist_key_cmp(x->from.key, x->from.len, y->from.key, y->from.len);
}

static void range_next(Compare *m, guint next)
{
	m->next = next;
	if (next < m->ranges->len)
		m->done = g_array_index(m->ranges, RowRange, next).from;
}

gboolean compare_survey(Copy *c)
{
	Compare *m = c->compare;

	if (!m->over && m->table == TABLES && !m->pieces.length) {
		m->over = TRUE;
		g_array_sort(m->ranges, range_cmp);
		range_next(m, 0);
	}
	if (m->over || m->reading || m->table == TABLES || m->pieces.length >= AHEAD || !catchup_may(c))
		return m->over;
	Ticket *t = g_new(Ticket, 1);
	*t = (Ticket){ owner_ref(c->o), c->attempt };
	m->reading = TRUE;
	store_scan(c->o->local, survey_table(m->table), m->at.key, m->at.len, NULL, 0, PIECE_ROWS, survey_read, t);
	return FALSE;
}

/* --- contents that are nobody's --- */

static gint ino_cmp(gconstpointer a, gconstpointer b)
{
	guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;

	return x < y ? -1 : x > y;
}

/* Of those that were born since the content is compared for nothing. */
static void strays_listed(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Copy *c = user;
	Compare *m = c->compare;
	Owner *o = owner_ref(c->o);

	m->listing = NULL;
	if (!copy_answer_bad(c, error, rep ? rep->rep_mirror_contents.error : 0, rep ? rep->rep_mirror_contents.epoch : 0, "comparison")) {
		const struct magma_rep_mirror_contents *a = &rep->rep_mirror_contents;
		MagmaReader r = magma_reader(a->fids.data, a->fids.len);
		c->heard = o->cfg.io->now(o->cfg.user);
		while (r.left && !r.error) {
			MagmaFid fid = magma_get_fid(&r);
			if (!r.error && (!m->inos->len || !bsearch(&fid.ino, m->inos->data, m->inos->len, sizeof fid.ino, ino_cmp)))
				catchup_todo(c, &fid);
		}
		catchup_spent(c, a->fids.len);
		m->folder = a->next > m->folder ? a->next : STORE_FOLDERS;
	}
	owner_unref(o);
}

gboolean compare_strays(Copy *c)
{
	Compare *m = c->compare;

	if (m->folder >= STORE_FOLDERS)
		return TRUE;
	if (!m->listing) {
		struct magma_req_mirror_contents q = { .slice = c->o->cfg.slice, .epoch = c->o->epoch, .stream = c->stream, .folder = m->folder };
		m->listing = c->o->cfg.io->call(c->o->cfg.user, c->volcano, MAGMA_OP_mirror_contents, &q, NULL, 0, strays_listed, c);
	}
	return FALSE;
}

/* --- what differs --- */

/* Everything in front of that place is there: what a copy says when it comes back in the middle. */
void compare_resume(Copy *c, StoreTable table, const guint8 *key, gsize len)
{
	Compare *m = c->compare;

	m->left = 0;
	for (guint i = 0; i < m->ranges->len; i++)
		m->left += g_array_index(m->ranges, RowRange, i).bytes;
	for (m->next = 0; m->next < m->ranges->len; m->next++) {
		RowRange *r = &g_array_index(m->ranges, RowRange, m->next);
		m->done = r->from;
		if (r->table > table || (r->table == table && !len))
			return;
		if (r->table == table && !(r->to.len && rowlist_key_cmp(r->to.key, r->to.len, key, len) <= 0)) {
			if (rowlist_key_cmp(r->from.key, r->from.len, key, len) < 0)
				row_place_set(&m->done, key, len);
			return;
		}
		m->left -= r->bytes;
	}
}

static void list_answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Copy *c = user;
	Compare *m = c->compare;
	Owner *o = owner_ref(c->o);

	m->call = NULL;
	if (!copy_answer_bad(c, error, rep ? rep->rep_mirror_rows.error : 0, rep ? rep->rep_mirror_rows.epoch : 0, "comparison")) {
		const struct magma_rep_mirror_rows *a = &rep->rep_mirror_rows;
		c->heard = o->cfg.io->now(o->cfg.user);
		GByteArray *list = g_byte_array_new();
		g_byte_array_append(list, a->list.data, a->list.len);
		*(m->asked == m->next ? &m->list : &m->list_ahead) = list;
		row_place_set(m->asked == m->next ? &m->upto : &m->upto_ahead, a->upto.data, a->upto.len);
	}
	owner_unref(o);
}

typedef struct {
	Txn *t;
	const StoreRow *rows;         /* with those that are each copy's own */
	guint n;
	const guint *places;          /* of the list's entries in rows */
	StoreTable table;
} Patch;

static void patch_row(void *user, guint index, const RowEntry *mine, const RowEntry *its)
{
	Patch *p = user;

	if (!mine) {
		txn_del(p->t, p->table, its->key, its->klen, &its->rk);
		return;
	}
	const StoreRow *row = &p->rows[p->places[index]];
	txn_put(p->t, row->table, row->key, row->klen, &row->rk, row->val, row->vlen);
}

/* Rows up to `end` are made the same. FALSE: the copy's list is none. */
static gboolean put_patch(Copy *c, Slot *s, const StoreRow *rows, guint n, const RowPlace *end)
{
	Compare *m = c->compare;
	g_autoptr(RowHasher) h = row_hasher_new();
	g_autoptr(GByteArray) mine = g_byte_array_new();
	g_autofree guint *places = g_new(guint, n + 1);
	Patch p = { txn_new(), rows, n, places, g_array_index(m->ranges, RowRange, m->next).table };
	guint k = 0;
	gboolean ok;

	catchup_put_progress(c, p.t);
	for (guint i = 0; i < n; i++)
		if (!row_is_own(&rows[i])) {
			rowlist_add(mine, h, &rows[i]);
			places[k++] = i;
		}
	rowlist_diff(mine, (MagmaBytes){ m->list->data, m->list->len }, end, patch_row, &p, &ok);
	if (ok && !txn_empty(p.t)) {
		Item item = { .kind = ITEM_ROWS };
		g_autoptr(GBytes) bytes = g_bytes_new(txn_bytes(p.t)->data, txn_bytes(p.t)->len);
		slot_add(s, &item, bytes);
	}
	txn_free(p.t);
	return ok;
}

/* The range is there up to end. */
static void range_goes_on(Copy *c, const RowPlace *end)
{
	Compare *m = c->compare;
	RowRange *r = &g_array_index(m->ranges, RowRange, m->next);
	gboolean over = end->len == r->to.len && (!end->len || !rowlist_key_cmp(end->key, end->len, r->to.key, r->to.len));

	catchup_note_progress(c, end->len ? r->table : r->table + 1, end->key, end->len);
	if (over) {
		m->left -= MIN(m->left, r->bytes);
		range_next(m, m->next + 1);
	} else {
		m->done = *end;
	}
	g_clear_pointer(&m->list, g_byte_array_unref);
	if (over) {
		m->list = g_steal_pointer(&m->list_ahead);
		m->upto = m->upto_ahead;
	}
}

static void range_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Slot *s = user;
	Copy *c = slot_redeem(s);

	if (!c)
		return;
	Compare *m = c->compare;
	RowRange *r = &g_array_index(m->ranges, RowRange, m->next);
	RowPlace end = m->upto.len ? m->upto : r->to;
	/* what was read may end in front of what is known of the copy */
	if (!error && !eof && n && !row_behind(rows[n - 1].key, rows[n - 1].klen, &end))
		row_place_set(&end, rows[n - 1].key, rows[n - 1].klen);
	gboolean ok = !error && put_patch(c, s, rows, n, &end);
	slot_ready(s);
	if (ok)
		range_goes_on(c, &end);
	else if (error)
		copy_unread(c, error, "rows cannot be read");
	else
		copy_lost(c, EPROTO, "its list of rows is none");
}

static void ask_list(Copy *c, guint range, const RowPlace *from)
{
	Compare *m = c->compare;
	RowRange r = g_array_index(m->ranges, RowRange, range);

	r.from = *from;
	m->asked = range;
	m->call = ask(c, &r, 0, NULL, list_answered, c);
}

gboolean compare_rows(Copy *c)
{
	Compare *m = c->compare;

	if (m->next == m->ranges->len)
		return TRUE;
	RowRange r = g_array_index(m->ranges, RowRange, m->next);
	if (m->list) {
		store_scan(c->o->local, r.table, m->done.key, m->done.len, NULL, 0, PIECE_ROWS, range_read, slot_new(c, 0));
		if (!m->call && !m->list_ahead && m->next + 1 < m->ranges->len)
			ask_list(c, m->next + 1, &g_array_index(m->ranges, RowRange, m->next + 1).from);
	} else if (!m->call) {
		ask_list(c, m->next, &m->done);
	}
	return FALSE;
}

guint64 compare_left(const Copy *c) { return c->compare->left; }
guint64 compare_done(const Copy *c) { return c->compare->compared; }
