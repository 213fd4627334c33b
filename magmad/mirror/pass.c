/* What only this volcano's store is asked for: rows by scan, and looks at contents. The answers come to nobody when the owner has gone meanwhile. */
#include "magmad/mirror/owner-inside.h"

typedef struct {
	Owner *o;                     /* a reference */
	void *user;
	union {
		void (*rows)(void *, int, const StoreRow *, guint, gboolean);
		void (*seek)(void *, int, guint64);
		void (*stat)(void *, int, const StoreContentStat *);
		void (*list)(void *, int, const MagmaFid *, guint, guint);
		void (*done)(void *, int);
	};
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

/* What this volcano's disk does not read, and one that counts can own as well, is no answer: the owner ends, and the copy has the slice. */
static void unread(Owner *o, int error, const char *what)
{
	g_autofree char *text = NULL;

	if (!rescue_may(error) || o->dead)
		return;
	if (owner_replaceable(o)) {
		text = g_strdup_printf("slice %u: %s cannot be read: %s", o->cfg.slice, what, g_strerror(error));
		owner_failed(o, text);
	} else {
		owner_say(o, "%s cannot be read: %s: no copy that counts has it", what, g_strerror(error));
	}
}

static void rows_come(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Pass *p = user;

	unread(p->o, error, "rows");
	if (pass_ends(p))
		p->rows(p->user, error, rows, n, eof);
	g_free(p);
}

static void vt_scan(Store *s, StoreTable t, const void *from, gsize fromlen, const void *prefix, gsize plen, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	Pass *p = pass_new(owner_of(s), user);

	p->rows = done;
	store_scan(p->o->local, t, from, fromlen, prefix, plen, max_rows, rows_come, p);
}

static void vt_scan_range(Store *s, const MagmaKey *lo, const MagmaKey *hi, guint64 after_ino, guint max_rows,
	void (*done)(void *, int, const StoreRow *, guint, gboolean), void *user)
{
	Pass *p = pass_new(owner_of(s), user);

	p->rows = done;
	store_scan_range(p->o->local, lo, hi, after_ino, max_rows, rows_come, p);
}

static void seek_comes(void *user, int error, guint64 off)
{
	Pass *p = user;

	unread(p->o, error, "a content");
	if (pass_ends(p))
		p->seek(p->user, error, off);
	g_free(p);
}

static void vt_seek(Store *s, const MagmaFid *fid, guint64 off, guint32 whence, void (*done)(void *, int, guint64), void *user)
{
	Pass *p = pass_new(owner_of(s), user);

	p->seek = done;
	store_content_seek(p->o->local, fid, off, whence, seek_comes, p);
}

static void stat_comes(void *user, int error, const StoreContentStat *st)
{
	Pass *p = user;

	unread(p->o, error, "a content");
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

	unread(p->o, error, "the list of contents");
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
