/* What only this volcano's store is asked for: rows by scan, and looks at contents. The answers come to nobody when the owner has gone meanwhile. */
#include "magmad/mirror/owner-inside.h"
#include <string.h>
#include <unistd.h>

typedef struct {
	Owner *o;                     /* a reference */
	void *user;
	union {
		void (*seek)(void *, int, guint64);
		void (*stat)(void *, int, const StoreContentStat *);
		void (*list)(void *, int, const MagmaFid *, guint, guint);
		void (*done)(void *, int);
	};
	guint64 from;                 /* of a seek */
	gboolean hole;
} Pass;

static Pass *pass_new(Owner *o, void *user)
{
	Pass *p = g_new0(Pass, 1);

	p->o = owner_ref(o);
	p->user = user;
	return p;
}

/* TRUE: somebody still waits. */
static gboolean pass_ends(Pass *p)
{
	gboolean alive = !p->o->dead;

	owner_unref(p->o);
	return alive;
}

static void done_comes(void *user, int error)
{
	Pass *p = user;

	if (pass_ends(p))
		p->done(p->user, error);
	g_free(p);
}

static Pass *pass_done(Owner *o, void (*done)(void *, int), void *user)
{
	Pass *p = pass_new(o, user);

	p->done = done;
	return p;
}

void pass_sync(Owner *o, void (*done)(void *, int), void *user) { store_sync(o->local, done_comes, pass_done(o, done, user)); }
void pass_content_sync(Owner *o, const MagmaFid *fid, void (*done)(void *, int), void *user) { store_content_sync(o->local, fid, done_comes, pass_done(o, done, user)); }
void pass_write(Owner *o, const MagmaFid *fid, guint64 off, GBytes *data, void (*done)(void *, int), void *user) { store_content_write(o->local, fid, off, data, done_comes, pass_done(o, done, user)); }
void pass_truncate(Owner *o, const MagmaFid *fid, guint64 size, void (*done)(void *, int), void *user) { store_content_truncate(o->local, fid, size, done_comes, pass_done(o, done, user)); }
void pass_drop(Owner *o, const MagmaFid *fid, void (*done)(void *, int), void *user) { store_content_drop(o->local, fid, done_comes, pass_done(o, done, user)); }

void pass_fallocate(Owner *o, const MagmaFid *fid, guint32 mode, guint64 off, guint64 len, void (*done)(void *, int), void *user)
{
	store_content_fallocate(o->local, fid, mode, off, len, done_comes, pass_done(o, done, user));
}

/* --- rows --- */

/* What is asked for, to be asked for again. */
typedef struct {
	Owner *o;                     /* a reference */
	void (*done)(void *user, int error, const StoreRow *rows, guint n, gboolean eof);
	void *user;
	gboolean range;
	StoreTable table;
	guint8 from[STORE_KEY_MAX], prefix[STORE_KEY_MAX];
	gsize fromlen, plen;
	MagmaKey lo, hi;
	guint64 after_ino;
	guint max_rows;
} RowsPass;

static void rows_end(RowsPass *p)
{
	owner_unref(p->o);
	g_slice_free(RowsPass, p);
}

/* Who counts has all that was acknowledged; not so one that is just back, whose machine may have lost its power: that is compared first. */
gboolean copy_could_own(const Copy *c) { return c->counted && c->in_map && c->started && !c->contents_first && !c->todo_unknown; }

/* Rows that this volcano's disk does not read, and that a copy can read as well, are no error for a client: the owner ends, and the copy has the slice. TRUE: it is asked again later, because by then a copy may be able to. */
static gboolean rows_wait(RowsPass *p, int error)
{
	Owner *o = p->o;
	gboolean counts = FALSE;

	for (guint i = 0; i < o->copies->len; i++) {
		const Copy *c = o->copies->pdata[i];
		if (copy_could_own(c)) {
			g_autofree char *text = g_strdup_printf("slice %u: rows cannot be read: %s", o->cfg.slice, g_strerror(error));
			owner_failed(o, text);
			return FALSE;
		}
		counts |= c->counted && c->in_map;
	}
	if (counts)
		g_queue_push_tail(&o->unread_rows, p);
	else
		owner_say(o, "rows cannot be read: %s: no copy that counts has it", g_strerror(error));
	return counts;
}

static void rows_come(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	RowsPass *p = user;

	if (rescue_may(error) && !p->o->dead && rows_wait(p, error))
		return;
	if (!p->o->dead)
		p->done(p->user, error, rows, n, eof);
	rows_end(p);
}

static void rows_ask(RowsPass *p)
{
	if (p->range)
		store_scan_range(p->o->local, &p->lo, &p->hi, p->after_ino, p->max_rows, rows_come, p);
	else
		store_scan(p->o->local, p->table, p->from, p->fromlen, p->prefix, p->plen, p->max_rows, rows_come, p);
}

static RowsPass *rows_new(Store *s, guint max_rows, void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	RowsPass *p = g_slice_new0(RowsPass);

	p->o = owner_ref(owner_of(s));
	p->max_rows = max_rows;
	p->done = done;
	p->user = user;
	return p;
}

static void vt_scan(Store *s, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	RowsPass *p = rows_new(s, max_rows, done, user);

	g_assert(fromlen <= sizeof p->from && plen <= sizeof p->prefix);
	p->table = t;
	p->fromlen = fromlen;
	p->plen = plen;
	if (fromlen)
		memcpy(p->from, from, fromlen);
	if (plen)
		memcpy(p->prefix, prefix, plen);
	rows_ask(p);
}

static void vt_scan_range(Store *s, const MagmaKey *lo, const MagmaKey *hi, guint64 after_ino, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	RowsPass *p = rows_new(s, max_rows, done, user);

	p->range = TRUE;
	p->lo = *lo;
	p->hi = *hi;
	p->after_ino = after_ino;
	rows_ask(p);
}

void pass_tick(Owner *o)
{
	for (guint n = o->unread_rows.length; n && !o->dead; n--)
		rows_ask(g_queue_pop_head(&o->unread_rows));
}

void pass_end(Owner *o)
{
	RowsPass *p;

	while ((p = g_queue_pop_head(&o->unread_rows)))
		rows_end(p);
}

/* --- looks at contents --- */

static void seek_comes(void *user, int error, guint64 off)
{
	Pass *p = user;

	if (rescue_may(error)) {              /* no holes: what is read there comes from a copy, or is an error */
		off = p->hole ? G_MAXINT64 : p->from;
		error = 0;
	}
	if (pass_ends(p))
		p->seek(p->user, error, off);
	g_free(p);
}

static void vt_seek(Store *s, const MagmaFid *fid, guint64 off, guint32 whence, void (*done)(void *, int, guint64), void *user)
{
	Pass *p = pass_new(owner_of(s), user);

	p->seek = done;
	p->from = off;
	p->hole = whence == SEEK_HOLE;
	store_content_seek(p->o->local, fid, off, whence, seek_comes, p);
}

static void stat_comes(void *user, int error, const StoreContentStat *st)
{
	Pass *p = user;

	if (pass_ends(p))
		p->stat(p->user, error, st);
	g_free(p);
}

static void vt_stat(Store *s, const MagmaFid *fid, void (*done)(void *, int, const StoreContentStat *), void *user)
{
	Pass *p = pass_new(owner_of(s), user);

	p->stat = done;
	store_content_stat(p->o->local, fid, stat_comes, p);
}

static void list_comes(void *user, int error, const MagmaFid *fids, guint n, guint next)
{
	Pass *p = user;

	if (pass_ends(p))
		p->list(p->user, error, fids, n, next);
	g_free(p);
}

static void vt_list(Store *s, guint folder, void (*done)(void *, int, const MagmaFid *, guint, guint), void *user)
{
	Pass *p = pass_new(owner_of(s), user);

	p->list = done;
	store_content_list(p->o->local, folder, list_comes, p);
}

void pass_vt(StoreVt *vt)
{
	vt->scan = vt_scan;
	vt->scan_range = vt_scan_range;
	vt->content_seek = vt_seek;
	vt->content_stat = vt_stat;
	vt->content_list = vt_list;
}
