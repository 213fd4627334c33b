/* What the owner's journal has for a copy: which contents were touched since, and the frames themselves. */
#include "magmad/mirror/owner-inside.h"
#include "magmad/core/rows.h"

#define GONE "the journal does not go back so far: its copy is compared"

static void journal_unread(Copy *c, int error)
{
	if (error == ENODATA)
		copy_lost(c, 0, GONE);
	else
		copy_unread(c, error, "the journal cannot be read");
}

enum { READ_BYTES = 256u << 10, SCAN_ROWS = 512 };

/* What a callback of the store is for; the copy may have begun anew meanwhile. */
typedef struct {
	Owner *o;
	guint64 attempt;
	guint8 from[STORE_KEY_MAX];
	gsize fromlen;
} Ticket;

static Ticket *ticket_new(Copy *c)
{
	Ticket *t = g_new0(Ticket, 1);

	t->o = owner_ref(c->o);
	t->attempt = c->attempt;
	return t;
}

static void ticket_free(Ticket *t)
{
	owner_unref(t->o);
	g_free(t);
}

/* --- write intents, then what the journal tells of contents --- */

static void dirty_scan(Ticket *t);

static void dirty_read(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Ticket *t = user;
	Copy *c = owner_attempt(t->o, t->attempt);

	for (guint i = 0; c && i < n; i++) {
		MagmaFid fid = { rows[i].rk, magma_be64_load(rows[i].key) };
		catchup_todo(c, &fid);
	}
	if (c && error) {
		copy_unread(c, error, "the write intents cannot be read");
	} else if (c && !eof && n) {
		t->fromlen = rows[n - 1].klen;
		memcpy(t->from, rows[n - 1].key, t->fromlen);
		dirty_scan(t);
		return;
	} else if (c) {
		c->scan_end = c->o->local->log->position(c->o->local).index;
		c->phase = c->how == HOW_COMPARE ? PHASE_SURVEY : PHASE_TOUCHED;
		catchup_touched(c);
	}
	ticket_free(t);
}

static void dirty_scan(Ticket *t)
{
	store_scan(t->o->local, TAB_DIRTY, t->from, t->fromlen, NULL, 0, SCAN_ROWS, dirty_read, t);
}

void catchup_dirty(Copy *c) { dirty_scan(ticket_new(c)); }

/* A content that lives in the row needs nothing; one that was dropped, or was written under an intent, does. */
static gboolean touched_row(void *user, const StoreRow *row, gboolean del)
{
	FlareRow flare;
	MagmaFid fid = { .key = row->rk };

	if ((row->table != TAB_FLARE && row->table != TAB_DIRTY) || row->klen != 8)
		return TRUE;
	if (row->table == TAB_FLARE && !del && flare_row_decode(row->val, row->vlen, &flare) && flare.content != CONTENT_FILE)
		return TRUE;
	fid.ino = magma_be64_load(row->key);
	catchup_todo(user, &fid);
	return TRUE;
}

/* One that is not whole need not have the contents first. */
static void touched_all(Copy *c) { c->phase = c->compare && !c->whole ? PHASE_SURVEY : PHASE_CONTENTS; }

static void touched_read(void *user, int error, const StoreFrame *frames, guint n, gboolean eof)
{
	Ticket *t = user;
	Copy *c = owner_attempt(t->o, t->attempt);

	if (c) {
		c->reading = FALSE;
		for (guint i = 0; i < n; i++) {
			txn_each(frames[i].txn, frames[i].len, touched_row, c);
			c->scan_at = frames[i].pos.index;
		}
		if (error) {
			c->need_rows = error == ENODATA;
			journal_unread(c, error);
		} else if (c->scan_at >= c->scan_end) {
			touched_all(c);
		} else {
			c->read_dry = !n && c->o->local->log->written(c->o->local) <= c->scan_at;
		}
	}
	ticket_free(t);
}

void catchup_touched(Copy *c)
{
	if (c->phase != PHASE_TOUCHED || c->reading || c->read_dry)
		return;
	if (c->scan_at >= c->scan_end) {
		touched_all(c);
		return;
	}
	c->reading = TRUE;
	c->o->local->log->read(c->o->local, c->scan_at, READ_BYTES, touched_read, ticket_new(c));
}

/* --- frames --- */

static void frames_read(void *user, int error, const StoreFrame *frames, guint n, gboolean eof)
{
	Ticket *t = user;
	Copy *c = owner_attempt(t->o, t->attempt);

	if (c) {
		c->reading = FALSE;
		for (guint i = 0; i < n && frames[i].pos.index <= c->join_index; i++) {
			JournalFrame *j = g_new(JournalFrame, 1);
			*j = (JournalFrame){ frames[i].pos, g_bytes_new(frames[i].txn, frames[i].len) };
			g_queue_push_tail(&c->frames, j);
		}
		c->read_dry = !n && c->o->local->log->written(c->o->local) < c->next_index;
		if (error) {
			c->need_rows = error == ENODATA;
			journal_unread(c, error);
		}
	}
	ticket_free(t);
}

void catchup_log_read(Copy *c)
{
	if (!c->started || c->hold_frames || c->reading || c->read_dry || c->frames.length || c->next_index > c->join_index)
		return;
	c->reading = TRUE;
	c->o->local->log->read(c->o->local, c->next_index - 1, READ_BYTES, frames_read, ticket_new(c));
}
