/* The memory store's contents: per flare one operation after the other, each when its time has come. */
#include "tests/sim/memdisk.h"
#include <errno.h>
#include <linux/falloc.h>
#include <unistd.h>

typedef enum { OP_READ, OP_WRITE, OP_TRUNCATE, OP_FALLOCATE, OP_SEEK, OP_STAT, OP_SYNC, OP_DROP } OpKind;

typedef struct {
	OpKind kind;
	MagmaFid fid;
	guint64 off, len;
	guint32 mode;
	GBytes *data;
	void (*done)(void);           /* by kind */
	void *user;
	gboolean due;
} ContentOp;

static void op_free(gpointer p)
{
	ContentOp *op = p;
	if (op->data)
		g_bytes_unref(op->data);
	g_free(op);
}

void memfiles_queue_free(gpointer q) { g_queue_free_full(q, op_free); }

/* --- places that do not read --- */

void memfile_break(MemFile *f, guint64 page, guint64 n)
{
	f->bad_from = page * MEMFILE_PAGE;
	f->bad_end = f->bad_from + n * MEMFILE_PAGE;
}

gboolean memfile_bad(const MemFile *f) { return f->bad_from < f->bad_end; }

void memdisk_read_again(MemDisk *d)
{
	GHashTableIter it;
	gpointer f;

	g_hash_table_iter_init(&it, d->files);
	while (g_hash_table_iter_next(&it, NULL, &f))
		((MemFile *)f)->bad_from = ((MemFile *)f)->bad_end = 0;
}

static gboolean unreadable(const MemStore *m, const MemFile *f) { return f->unreadable || mem_unread(m, UNREAD_CONTENTS); }

static gboolean reads_bad(const MemFile *f, guint64 off, guint64 len)
{
	return memfile_bad(f) && f->live && off < f->bad_end && off + MIN(len, G_MAXINT64) > f->bad_from && f->bad_from < memcontent_size(f->live);
}

/* The disk finds other sectors for whole pages. What is written in the middle of a bad place leaves the rest of it. */
static void written(MemFile *f, guint64 off, guint64 end)
{
	guint64 from = (off + MEMFILE_PAGE - 1) / MEMFILE_PAGE * MEMFILE_PAGE, to = end / MEMFILE_PAGE * MEMFILE_PAGE;

	if (!memfile_bad(f) || from >= to || from >= f->bad_end || to <= f->bad_from)
		return;
	if (from <= f->bad_from)
		f->bad_from = MIN(to, f->bad_end);
	else if (to >= f->bad_end)
		f->bad_end = from;
}

static int grow(MemStore *m, MemFile *f, guint64 end)
{
	if (m->full && end > (f->live ? memcontent_size(f->live) : 0))
		return ENOSPC;
	if (!f->live)
		f->live = memcontent_new();
	return 0;
}

static int op_fallocate(MemStore *m, MemFile *f, const ContentOp *op)
{
	guint64 end = op->off + op->len;

	if (op->mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return EOPNOTSUPP;
	if (op->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && f->live) {
		memcontent_zero(f->live, op->off, op->len);
		written(f, op->off, end);
	}
	if (op->mode & FALLOC_FL_PUNCH_HOLE)
		return 0;
	int error = grow(m, f, end);
	if (!error && !(op->mode & FALLOC_FL_KEEP_SIZE) && end > memcontent_size(f->live))
		memcontent_truncate(f->live, end);
	return error;
}

/* An operation that changes something; part: how much of a write (a crash tears it). */
static int op_change(MemStore *m, const ContentOp *op, gsize part)
{
	MemFile *f = memdisk_file(m->disk, &op->fid);
	int error = 0;

	switch (op->kind) {
	case OP_WRITE:
		error = grow(m, f, op->off + op->len);
		if (!error)
			memcontent_write(f->live, op->off, g_bytes_get_data(op->data, NULL), part);
		if (!error)
			written(f, op->off, op->off + part);
		return error;
	case OP_TRUNCATE:
		error = op->off ? grow(m, f, op->off) : 0;
		if (!error && f->live)
			memcontent_truncate(f->live, op->off);
		if (!error)
			written(f, op->off, G_MAXINT64);
		return error;
	case OP_FALLOCATE:
		return op_fallocate(m, f, op);
	case OP_SYNC:
		if (f->sync_lost)
			return f->sync_lost;
		memcontent_free(f->synced);
		f->synced = f->live ? memcontent_copy(f->live) : NULL;
		return 0;
	case OP_DROP:
		g_clear_pointer(&f->live, memcontent_free);
		f->bad_from = f->bad_end = 0;
		f->unreadable = FALSE;
		f->sync_lost = 0;
		return 0;
	default:
		return 0;
	}
}

static void op_run(MemStore *m, ContentOp *op)
{
	MemFile *f = memdisk_file(m->disk, &op->fid);
	MemContent *c = f->live;

	switch (op->kind) {
	case OP_READ: {
		if (unreadable(m, f) || reads_bad(f, op->off, op->len)) {
			((void (*)(void *, int, GBytes *))op->done)(op->user, EIO, NULL);
			break;
		}
		g_autoptr(GBytes) data = c ? memcontent_read(c, op->off, op->len) : g_bytes_new_static("", 0);
		m->bytes_read += g_bytes_get_size(data);
		((void (*)(void *, int, GBytes *))op->done)(op->user, 0, data);
		break;
	}
	case OP_SEEK: {
		guint64 found = 0;
		int error = unreadable(m, f) ? EIO : op->mode != SEEK_DATA && op->mode != SEEK_HOLE ? EINVAL : c ? memcontent_seek(c, op->off, op->mode == SEEK_HOLE, &found) : ENXIO;
		((void (*)(void *, int, guint64))op->done)(op->user, error, found);
		break;
	}
	case OP_STAT: {
		StoreContentStat st = { .exists = c != NULL };
		if (c) {
			st.size = memcontent_size(c);
			st.blocks = memcontent_blocks(c);
		}
		((void (*)(void *, int, const StoreContentStat *))op->done)(op->user, unreadable(m, f) ? EIO : 0, unreadable(m, f) ? NULL : &st);
		break;
	}
	case OP_SYNC:
		if (mem_unread(m, UNREAD_ALL)) {
			memstore_fail(&m->base, "a content cannot be synced");
			((void (*)(void *, int))op->done)(op->user, EIO);
			break;
		}
		/* fall through */
	default: {
		int error = op->off > G_MAXINT64 || op->len > G_MAXINT64 - op->off ? EFBIG : op_change(m, op, op->len);
		((void (*)(void *, int))op->done)(op->user, error);
	}
	}
	op_free(op);
}

static void queue_go(MemStore *m, const MagmaFid *fid)
{
	GQueue *q;

	while (!m->dead && (q = g_hash_table_lookup(m->queues, fid)) && q->length && ((ContentOp *)q->head->data)->due)
		op_run(m, g_queue_pop_head(q));
}

static void on_due(MemStore *m, void *arg)
{
	ContentOp *op = arg;
	MagmaFid fid = op->fid;

	op->due = TRUE;
	queue_go(m, &fid);
}

static void submit(Store *s, OpKind kind, const MagmaFid *fid, guint64 off, guint64 len, guint32 mode, GBytes *data, void (*done)(void), void *user)
{
	MemStore *m = MEM(s);
	GQueue *q = g_hash_table_lookup(m->queues, fid);
	ContentOp *op = g_new(ContentOp, 1);

	*op = (ContentOp){ .kind = kind, .fid = *fid, .off = off, .len = len, .mode = mode, .data = data ? g_bytes_ref(data) : NULL, .done = done, .user = user };
	if (!q) {
		q = g_queue_new();
		g_hash_table_insert(m->queues, g_memdup2(fid, sizeof *fid), q);
	}
	if (!q->length && mem_chance(m, m->cfg.at_once_permille)) {
		op_run(m, op);
		return;
	}
	g_queue_push_tail(q, op);
	mem_later(m, on_due, NULL, op);
}

#define DONE(fn) ((void (*)(void))(fn))

static void mem_read(Store *s, const MagmaFid *fid, guint64 off, guint32 len, void (*done)(void *, int, GBytes *), void *user)
{
	submit(s, OP_READ, fid, off, len, 0, NULL, DONE(done), user);
}

static void mem_write(Store *s, const MagmaFid *fid, guint64 off, GBytes *data, void (*done)(void *, int), void *user)
{
	submit(s, OP_WRITE, fid, off, g_bytes_get_size(data), 0, data, DONE(done), user);
}

static void mem_truncate(Store *s, const MagmaFid *fid, guint64 size, void (*done)(void *, int), void *user)
{
	submit(s, OP_TRUNCATE, fid, size, 0, 0, NULL, DONE(done), user);
}

static void mem_fallocate(Store *s, const MagmaFid *fid, guint32 mode, guint64 off, guint64 len, void (*done)(void *, int), void *user)
{
	submit(s, OP_FALLOCATE, fid, off, len, mode, NULL, DONE(done), user);
}

static void mem_seek(Store *s, const MagmaFid *fid, guint64 off, guint32 whence, void (*done)(void *, int, guint64), void *user)
{
	submit(s, OP_SEEK, fid, off, 0, whence, NULL, DONE(done), user);
}

static void mem_stat(Store *s, const MagmaFid *fid, void (*done)(void *, int, const StoreContentStat *), void *user)
{
	submit(s, OP_STAT, fid, 0, 0, 0, NULL, DONE(done), user);
}

static void mem_content_sync(Store *s, const MagmaFid *fid, void (*done)(void *, int), void *user)
{
	submit(s, OP_SYNC, fid, 0, 0, 0, NULL, DONE(done), user);
}

static void mem_drop(Store *s, const MagmaFid *fid, void (*done)(void *, int), void *user)
{
	submit(s, OP_DROP, fid, 0, 0, 0, NULL, DONE(done), user);
}

typedef struct {
	guint folder;
	void (*done)(void *, int, const MagmaFid *, guint, guint);
	void *user;
} ListCall;

static guint folder_of(const MagmaFid *fid) { return fid->key.b[0] << 8 | fid->key.b[1]; }

static gint by_fid(gconstpointer a, gconstpointer b)
{
	const MagmaFid *x = a, *y = b;
	int c = magma_key_cmp(&x->key, &y->key);

	return c ? c : x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void on_list(MemStore *m, void *arg)
{
	g_autofree ListCall *c = arg;
	g_autoptr(GArray) fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	guint first = STORE_FOLDERS;
	GHashTableIter it;
	gpointer fid, file;

	if (mem_unread(m, UNREAD_CONTENTS)) {
		c->done(c->user, EIO, NULL, 0, c->folder);
		return;
	}
	for (guint pass = 0; pass < 2; pass++) {
		g_hash_table_iter_init(&it, m->disk->files);
		while (g_hash_table_iter_next(&it, &fid, &file)) {
			guint at = folder_of(fid);
			if (!((MemFile *)file)->live || at < c->folder)
				continue;
			if (pass == 0)
				first = MIN(first, at);
			else if (at == first)
				g_array_append_vals(fids, fid, 1);
		}
	}
	g_array_sort(fids, by_fid);
	c->done(c->user, 0, (const MagmaFid *)(void *)fids->data, fids->len, MIN(first + 1, STORE_FOLDERS));
}

static void mem_list(Store *s, guint folder, void (*done)(void *, int, const MagmaFid *, guint, guint), void *user)
{
	ListCall *c = g_new(ListCall, 1);

	*c = (ListCall){ folder, done, user };
	mem_later(MEM(s), on_list, g_free, c);
}

void memfiles_vt(StoreVt *vt)
{
	vt->content_list = mem_list;
	vt->content_read = mem_read;
	vt->content_write = mem_write;
	vt->content_truncate = mem_truncate;
	vt->content_fallocate = mem_fallocate;
	vt->content_seek = mem_seek;
	vt->content_stat = mem_stat;
	vt->content_sync = mem_content_sync;
	vt->content_drop = mem_drop;
}

void memfiles_crash(MemStore *m)
{
	GHashTableIter it;
	gpointer q;

	g_hash_table_iter_init(&it, m->queues);
	while (g_hash_table_iter_next(&it, NULL, &q)) {
		guint n = ((GQueue *)q)->length, keep = g_rand_int_range(m->rnd, 0, n + 1);
		for (GList *l = ((GQueue *)q)->head; l && keep; l = l->next, keep--) {
			const ContentOp *op = l->data;
			gsize part = keep == 1 && op->len ? (gsize)g_rand_int_range(m->rnd, 0, MIN(op->len, G_MAXINT32 - 1) + 1) : op->len;
			if (op->kind != OP_SYNC && op->off <= G_MAXINT64 && op->len <= G_MAXINT64 - op->off)
				op_change(m, op, part);
		}
	}
}

gboolean memfiles_idle(MemStore *m)
{
	GHashTableIter it;
	gpointer q;

	g_hash_table_iter_init(&it, m->queues);
	while (g_hash_table_iter_next(&it, NULL, &q))
		if (((GQueue *)q)->length)
			return FALSE;
	return TRUE;
}

void memfiles_finish(MemStore *m)
{
	GHashTableIter it;
	gpointer q;

	g_hash_table_iter_init(&it, m->queues);
	while (g_hash_table_iter_next(&it, NULL, &q))
		for (GList *l = ((GQueue *)q)->head; l; l = l->next)
			op_change(m, l->data, ((ContentOp *)l->data)->len);
}

void memfiles_power_cut(MemStore *m)
{
	GHashTableIter it;
	gpointer p;

	g_hash_table_iter_init(&it, m->disk->files);
	while (g_hash_table_iter_next(&it, NULL, &p)) {
		MemFile *f = p;
		MemContent *left = memcontent_after_power_cut(f->live, f->synced, m->rnd, m->cfg.writeback_permille);
		memcontent_free(f->live);
		memcontent_free(f->synced);
		f->live = left;
		f->synced = left ? memcontent_copy(left) : NULL;      /* it is on the disk */
	}
}
