#include "magmad/store/content.h"
#include "magmad/store/content_io.h"
#include "magmad/store/content_list.h"
#include "magmad/store/reread.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_MAX 512                          /* half of the usual limit of 1024 descriptors */
#define IDLE_US (10 * G_USEC_PER_SEC)
#define LOOP_READ_MAX (128u << 10)            /* a copy of 15-30 us */
#define LOOP_WRITE_MAX (16u << 10)            /* a copy cheaper than two thread switches */
#define PAGE 4096
/* So much written one behind the other goes to the disk without waiting for a sync: a sync then finds little left, and the disk works beside the processors. A seek of the slowest disks is small beside it. */
#define BEGIN_EVERY (8u << 20)
/* Behind that it has had three times as long to get there. */
#define UNREAD_BEHIND (3 * BEGIN_EVERY)

typedef struct {
	MagmaFid fid;
	enum { FILE_UNKNOWN, FILE_MISSING, FILE_OPEN } state;
	int fd;
	guint64 size;                 /* FILE_OPEN: as the last finished operation left it; FILE_MISSING: 0 */
	guint64 planned;              /* size when all of ops are done */
	gboolean planned_known;
	guint64 blocks;               /* as last counted in used */
	guint64 run_from, run_end;    /* writes one behind the other, of which the disk was not told yet */
	gboolean name_durable;
	int sync_error;               /* of the first sync that failed: what it lost no later one can bring, and the kernel tells it only once; until a drop */
	gboolean opening;             /* one operation is opening it: nothing else may start */
	guint running;
	GQueue ops;                   /* Op, in the order of the calls, until done */
	gint64 idle_since;
	GList lru;                    /* in Contents.idle when ops is empty */
} File;

typedef struct {
	ContentIo io;                 /* first: the pool hands it back */
	Contents *c;
	File *file;
	guint64 lo, hi;               /* what it touches, hi exclusive */
	gboolean extends;             /* makes the file longer than the operations before it do */
	gboolean started, queued;
	GList link;
	void (*done)(void);           /* by kind */
	void *user;
} Op;

struct Contents {
	Pool *pool;
	int root;
	GHashTable *files;            /* File by &fid */
	GHashTable *reread;           /* MagmaFid, once opened; NULL: no earlier life has lost writes */
	GQueue idle;                  /* File: least recently used first */
	guint open, busy;
	gint64 used_delta;
	guint64 asked, pending;       /* bytes of writes */
	gboolean enospc, unread;
	gboolean dropped;             /* something, and it is not known to be on disk that it is gone */
	void (*failed)(void *user, int error);
	void *failed_user;
	guint8 parents_durable[65536 / 8];
};

Contents *contents_new(const char *dir, Pool *pool, GError **error)
{
	int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0) {
		int e = errno;
		g_set_error(error, MAGMA_ERROR, e, "%s: %s", dir, g_strerror(e));
		return NULL;
	}
	Contents *c = g_new0(Contents, 1);
	c->pool = pool;
	c->root = root;
	c->files = g_hash_table_new(magma_fid_hash, (GEqualFunc)magma_fid_equal);
	if (reread_noted(root))
		c->reread = g_hash_table_new_full(magma_fid_hash, (GEqualFunc)magma_fid_equal, g_free, NULL);
	return c;
}

static void op_free(Op *op)
{
	if (op->io.data)
		g_bytes_unref(op->io.data);
	g_free(op);
}

static void file_close(Contents *c, File *f)
{
	if (f->fd >= 0) {
		close(f->fd);
		c->open--;
	}
	f->fd = -1;
	f->state = FILE_UNKNOWN;
}

static void file_free(Contents *c, File *f)
{
	file_close(c, f);
	for (GList *l; (l = g_queue_pop_head_link(&f->ops)); )
		op_free(l->data);
	g_free(f);
}

void contents_free(Contents *c)
{
	GHashTableIter it;
	gpointer f;

	if (!c)
		return;
	g_hash_table_iter_init(&it, c->files);
	while (g_hash_table_iter_next(&it, NULL, &f))
		file_free(c, f);
	g_hash_table_unref(c->files);
	if (c->reread)
		g_hash_table_unref(c->reread);
	close(c->root);
	g_free(c);
}

gboolean contents_busy(const Contents *c) { return c->busy > 0; }

/* Not one sync for each of so many folders: all that the file system has. */
int contents_sync_drops(Contents *c)
{
	int error = c->dropped && syncfs(c->root) != 0 ? errno : 0;

	c->dropped &= error != 0;
	return error;
}

gint64 contents_used_delta(Contents *c)
{
	gint64 d = c->used_delta;
	c->used_delta = 0;
	return d;
}

guint64 contents_asked(const Contents *c) { return c->asked; }
guint64 contents_pending(const Contents *c) { return c->pending; }

gboolean contents_take_enospc(Contents *c)
{
	gboolean b = c->enospc;
	c->enospc = FALSE;
	return b;
}

/* --- files --- */

static File *file_get(Contents *c, const MagmaFid *fid)
{
	File *f = g_hash_table_lookup(c->files, fid);

	if (!f) {
		f = g_new0(File, 1);
		f->fid = *fid;
		f->fd = -1;
		f->lru.data = f;
		g_hash_table_insert(c->files, &f->fid, f);
	} else if (!f->ops.length && !f->sync_error) {
		g_queue_unlink(&c->idle, &f->lru);
	}
	return f;
}

static void count_blocks(Contents *c, File *f, guint64 blocks)
{
	c->used_delta += ((gint64)blocks - (gint64)f->blocks) * 512;
	f->blocks = blocks;
}

static void file_forget(Contents *c, File *f)
{
	g_queue_unlink(&c->idle, &f->lru);
	g_hash_table_remove(c->files, &f->fid);
	file_free(c, f);
}

/* After an operation: a file without any waits for the next one, if it is worth a descriptor. */
static void file_rest(Contents *c, File *f)
{
	if (f->ops.length)
		return;
	if (f->sync_error) {
		file_close(c, f);       /* stays to tell, outside of idle */
		return;
	}
	f->idle_since = g_get_monotonic_time();
	g_queue_push_tail_link(&c->idle, &f->lru);
	if (f->state != FILE_OPEN)
		file_forget(c, f);
	else if (c->open > OPEN_MAX && c->idle.length)
		file_forget(c, c->idle.head->data);
}

gboolean contents_close_idle(Contents *c, gboolean everything)
{
	gint64 before = g_get_monotonic_time() - IDLE_US;

	while (c->idle.length) {
		File *f = c->idle.head->data;
		if (!everything && f->idle_since > before)
			break;
		file_forget(c, f);
	}
	return c->open > 0;
}

/* --- order --- */

static gboolean is_barrier(ContentKind k) { return k == CONTENT_TRUNCATE || k == CONTENT_FALLOCATE || k == CONTENT_DROP; }
static gboolean is_sync(ContentKind k) { return k == CONTENT_SYNC || k == CONTENT_BEGIN; }
static gboolean only_looks(ContentKind k) { return k == CONTENT_READ || k == CONTENT_STAT || k == CONTENT_SEEK; }

static gboolean must_follow(const Op *op, const Op *earlier)
{
	ContentKind k = op->io.kind, e = earlier->io.kind;

	/* A drop closes the descriptor; a sync has to tell what a beginning of the same lost. */
	if (k == CONTENT_BEGIN)
		return e == CONTENT_DROP || e == CONTENT_SYNC;
	if (e == CONTENT_BEGIN)
		return k == CONTENT_DROP || k == CONTENT_SYNC;
	if (e == CONTENT_SYNC)
		return k == CONTENT_DROP || k == CONTENT_SYNC;      /* of two at once the kernel tells only one that it failed */
	if (k == CONTENT_SYNC)
		return !only_looks(e);
	if (is_barrier(k) || is_barrier(e))
		return TRUE;
	if (only_looks(k) && only_looks(e))
		return FALSE;
	if (op->extends && earlier->extends)
		return TRUE;            /* the later one alone would make the file longer over what lies between */
	return op->lo < earlier->hi && earlier->lo < op->hi;
}

static gboolean may_start(const File *f, const Op *op)
{
	if (op->started || f->opening)
		return FALSE;
	/* Which file an operation on a closed one opens, or that there is none, the others must know first. */
	if (f->state != FILE_OPEN && f->running)
		return FALSE;
	for (GList *l = op->link.prev; l; l = l->prev)
		if (must_follow(op, l->data))
			return FALSE;
	return TRUE;
}

/* What the operation touches. A write behind the end also turns what is between into zeros, so it touches everything from the end as planned. */
static void op_plan(Op *op)
{
	File *f = op->file;
	guint64 end = op->io.off + op->io.len;

	if (!f->ops.length) {
		f->planned = f->size;
		f->planned_known = f->state != FILE_UNKNOWN;
	}
	op->lo = 0;
	op->hi = G_MAXUINT64;
	switch (op->io.kind) {
	case CONTENT_READ:
		op->lo = op->io.off;
		op->hi = end;
		break;
	case CONTENT_WRITE:
		if (f->planned_known) {
			op->extends = end > f->planned;
			op->lo = op->extends ? MIN(op->io.off, f->planned) : op->io.off;
			op->hi = end;
			f->planned = MAX(f->planned, end);
		}
		break;
	case CONTENT_TRUNCATE:
		f->planned = op->io.off;
		f->planned_known = TRUE;
		break;
	case CONTENT_FALLOCATE:
		f->planned_known = FALSE;
		break;
	case CONTENT_DROP:
		f->planned = 0;
		f->planned_known = TRUE;
		break;
	default:
		break;
	}
}

/* --- running --- */

static void op_report(Op *op)
{
	ContentIo *io = &op->io;
	int e = io->error;
	void *user = op->user;

	switch (io->kind) {
	case CONTENT_READ: {
		g_autoptr(GBytes) empty = io->data ? NULL : g_bytes_new_static("", 0);
		((void (*)(void *, int, GBytes *))op->done)(user, e, e ? NULL : io->data ? io->data : empty);
		break;
	}
	case CONTENT_SEEK:
		((void (*)(void *, int, guint64))op->done)(user, !e && io->missing ? ENXIO : e, io->found);
		break;
	case CONTENT_STAT: {
		StoreContentStat st = { .exists = !io->missing, .size = io->size, .blocks = io->blocks, .mtime = io->mtime };
		((void (*)(void *, int, const StoreContentStat *))op->done)(user, e, e ? NULL : &st);
		break;
	}
	case CONTENT_BEGIN:
		break;
	default:
		((void (*)(void *, int))op->done)(user, e);
	}
}

static guint parent_bit(const MagmaFid *fid) { return fid->key.b[0] << 8 | fid->key.b[1]; }

/* What the operation found out about its file. */
static void file_learn(Contents *c, File *f, const Op *op)
{
	const ContentIo *io = &op->io;
	gboolean was_open = f->fd >= 0;

	f->fd = io->fd;
	c->open += (f->fd >= 0) - was_open;
	if (io->reread && f->fd >= 0)
		g_hash_table_add(c->reread, g_memdup2(&f->fid, sizeof f->fid));
	if (io->missing) {
		if (io->kind == CONTENT_DROP)
			c->used_delta -= (gint64)(was_open ? f->blocks : io->blocks_before) * 512;
		if (io->kind == CONTENT_DROP) {
			f->sync_error = 0;
			c->dropped = TRUE;
		}
		f->state = FILE_MISSING;
		f->size = f->blocks = f->run_from = f->run_end = 0;
		f->name_durable = FALSE;
	} else if (f->fd >= 0 && io->kind != CONTENT_BEGIN) {
		if (!was_open)
			f->blocks = io->blocks_before;
		/* Operations in parallel come back in any order; only barriers make a file smaller, and of the others only a sync may be out together with one. */
		if (!was_open || is_barrier(io->kind))
			f->size = io->size;
		else if (io->kind != CONTENT_SYNC)
			f->size = MAX(f->size, io->size);
		f->state = FILE_OPEN;
		if (!only_looks(io->kind))
			count_blocks(c, f, io->blocks);
	}
	if (is_sync(io->kind) && io->sync_lost && !f->sync_error)
		f->sync_error = io->error;
	gboolean synced = io->kind == CONTENT_SYNC && !io->error && !io->missing;
	if (synced && io->sync_dir)
		f->name_durable = TRUE;
	if (synced && io->sync_parents)
		c->parents_durable[parent_bit(&f->fid) / 8] |= 1u << parent_bit(&f->fid) % 8;
	if (io->error == ENOSPC || io->error == EDQUOT)
		c->enospc = TRUE;
}

void contents_set_unread(Contents *c, gboolean unread) { c->unread = unread; }

void contents_on_failed(Contents *c, void (*failed)(void *user, int error), void *user)
{
	c->failed = failed;
	c->failed_user = user;
}

/* A read that fails says something about one place, a change about the disk. */
static gboolean disk_is_broken(const ContentIo *io)
{
	return (io->error == EIO || io->error == EROFS) && io->kind != CONTENT_READ && io->kind != CONTENT_SEEK && io->kind != CONTENT_STAT;
}

static void file_start(Contents *c, File *f);

static void begin_maybe(Contents *c, File *f, const ContentIo *io);

static void op_finish(Op *op)
{
	Contents *c = op->c;
	File *f = op->file;

	file_learn(c, f, op);
	if (op->io.kind == CONTENT_SYNC && f->sync_error)
		op->io.error = f->sync_error;
	if (op->queued)
		g_queue_unlink(&f->ops, &op->link);
	op->queued = FALSE;
	c->busy--;
	if (op->io.kind == CONTENT_WRITE)
		c->pending -= op->io.len;
	if (op->io.kind == CONTENT_WRITE && !op->io.error)
		begin_maybe(c, f, &op->io);
	if (f->ops.length)
		file_start(c, f);
	else
		file_rest(c, f);
	if (c->failed && disk_is_broken(&op->io))
		c->failed(c->failed_user, op->io.error);
	op_report(op);
}

static void job_run(PoolJob *job) { content_io_run((ContentIo *)job); }

static void job_done(PoolJob *job)
{
	Op *op = (Op *)job;

	op->file->running--;
	op->file->opening = FALSE;
	op_finish(op);
}

static void job_free(PoolJob *job)
{
	Op *op = (Op *)job;

	/* The pool was ended before it came back: the file's list must not free it again. */
	if (op->queued)
		g_queue_unlink(&op->file->ops, &op->link);
	op_free(op);
}

static void file_start(Contents *c, File *f)
{
	for (GList *l = f->ops.head; l; l = l->next) {
		Op *op = l->data;
		if (!may_start(f, op))
			continue;
		op->started = TRUE;
		op->io.fd = f->fd;
		op->io.reread = f->fd < 0 && c->reread && !g_hash_table_contains(c->reread, &f->fid);
		if (op->io.kind == CONTENT_SYNC) {
			op->io.sync_dir = !f->name_durable;
			op->io.sync_parents = !(c->parents_durable[parent_bit(&f->fid) / 8] >> parent_bit(&f->fid) % 8 & 1);
		}
		f->opening = f->state != FILE_OPEN;
		f->running++;
		pool_push(c->pool, &op->io.job);
	}
}

static Op *op_new(Contents *c, const MagmaFid *fid, ContentKind kind, guint64 off, guint64 len, guint32 mode)
{
	Op *op = g_new0(Op, 1);

	op->io = (ContentIo){
		.job = { .run = job_run, .done = job_done, .free = job_free },
		.kind = kind, .off = off, .len = len, .mode = mode, .root = c->root, .fid = *fid, .fd = -1,
	};
	op->c = c;
	op->link.data = op;
	return op;
}

static void op_push(Op *op)
{
	op_plan(op);
	op->queued = TRUE;
	g_queue_push_tail_link(&op->file->ops, &op->link);
}

/* Writes end in any order, but near each other. */
static void begin_maybe(Contents *c, File *f, const ContentIo *io)
{
	guint64 end = io->off + io->len, from = f->run_from, far = MAX(io->off, f->run_end) - MIN(io->off, f->run_end);

	if (far > BEGIN_EVERY / 2) {
		f->run_from = io->off;
		f->run_end = end;
		return;
	}
	f->run_end = MAX(f->run_end, end);
	if (f->run_end - from < BEGIN_EVERY || f->state != FILE_OPEN)
		return;
	f->run_from = f->run_end;
	Op *op = op_new(c, &f->fid, CONTENT_BEGIN, from, f->run_end - from, c->unread ? UNREAD_BEHIND : 0);
	op->file = f;
	c->busy++;
	op_push(op);
}

/* Is the write sure not to read a page from the disk first? Whole pages, or appended to a page that was just written. */
static gboolean write_is_cheap(const File *f, const ContentIo *io)
{
	guint64 end = io->off + io->len;

	return io->len <= LOOP_WRITE_MAX && io->off % PAGE == 0 && (end % PAGE == 0 || end >= f->size);
}

/* On the loop, where nothing is before it and it does not block. */
static gboolean op_try_now(Op *op)
{
	File *f = op->file;
	ContentIo *io = &op->io;

	if (f->state != FILE_OPEN || f->ops.length)
		return FALSE;
	io->fd = f->fd;
	io->size = f->size;
	io->blocks = f->blocks;
	switch (io->kind) {
	case CONTENT_READ:
		return io->len <= LOOP_READ_MAX && content_io_try_read(io);
	case CONTENT_WRITE:
		if (!write_is_cheap(f, io))
			return FALSE;
		content_io_run(io);
		return TRUE;
	case CONTENT_STAT:
		content_io_run(io);     /* fstat of an open file never waits for the disk */
		return TRUE;
	default:
		return FALSE;
	}
}

static void submit(Contents *c, const MagmaFid *fid, ContentKind kind, guint64 off, guint64 len, guint32 mode, GBytes *data, void (*done)(void), void *user)
{
	Op *op = op_new(c, fid, kind, off, len, mode);

	op->io.data = data ? g_bytes_ref(data) : NULL;
	op->done = done;
	op->user = user;
	if (kind == CONTENT_SEEK && mode != SEEK_DATA && mode != SEEK_HOLE)
		op->io.error = EINVAL;
	else if (off > G_MAXINT64 || len > G_MAXINT64 - off)
		op->io.error = kind == CONTENT_SEEK ? ENXIO : EFBIG;
	if (op->io.error) {
		if (kind == CONTENT_READ)
			op->io.error = 0;       /* behind any end of file */
		op_report(op);
		op_free(op);
		return;
	}
	op->file = file_get(c, fid);
	c->busy++;
	if (kind == CONTENT_WRITE) {
		c->asked += len;
		c->pending += len;
	}
	if (op_try_now(op)) {
		op_finish(op);
		op_free(op);
		return;
	}
	op_push(op);
	file_start(c, op->file);
}

#define DONE(fn) ((void (*)(void))(fn))

void contents_read(Contents *c, const MagmaFid *fid, guint64 off, guint32 len, void (*done)(void *, int, GBytes *), void *user)
{
	submit(c, fid, CONTENT_READ, off, len, 0, NULL, DONE(done), user);
}

void contents_write(Contents *c, const MagmaFid *fid, guint64 off, GBytes *data, void (*done)(void *, int), void *user)
{
	submit(c, fid, CONTENT_WRITE, off, g_bytes_get_size(data), 0, data, DONE(done), user);
}

void contents_truncate(Contents *c, const MagmaFid *fid, guint64 size, void (*done)(void *, int), void *user)
{
	submit(c, fid, CONTENT_TRUNCATE, size, 0, 0, NULL, DONE(done), user);
}

void contents_fallocate(Contents *c, const MagmaFid *fid, guint32 mode, guint64 off, guint64 len, void (*done)(void *, int), void *user)
{
	submit(c, fid, CONTENT_FALLOCATE, off, len, mode, NULL, DONE(done), user);
}

void contents_seek(Contents *c, const MagmaFid *fid, guint64 off, guint32 whence, void (*done)(void *, int, guint64), void *user)
{
	submit(c, fid, CONTENT_SEEK, off, 0, whence, NULL, DONE(done), user);
}

void contents_stat(Contents *c, const MagmaFid *fid, void (*done)(void *, int, const StoreContentStat *), void *user)
{
	submit(c, fid, CONTENT_STAT, 0, 0, 0, NULL, DONE(done), user);
}

void contents_sync(Contents *c, const MagmaFid *fid, void (*done)(void *, int), void *user)
{
	submit(c, fid, CONTENT_SYNC, 0, 0, 0, NULL, DONE(done), user);
}

void contents_drop(Contents *c, const MagmaFid *fid, void (*done)(void *, int), void *user)
{
	submit(c, fid, CONTENT_DROP, 0, 0, 0, NULL, DONE(done), user);
}

void contents_list(Contents *c, guint folder, void (*done)(void *user, int error, const MagmaFid *fids, guint n, guint next), void *user)
{
	content_list(c->pool, c->root, folder, done, user);
}
