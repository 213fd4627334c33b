/* The file system as a whole: what is agreed with the kernel, what it forgets, how much room there is; and the table of all operations. */
#include <errno.h>
#include "mount.magma/request.h"
#include "mount.magma/ops.h"

#define MAX_BACKGROUND 64             /* reads ahead under way at once: 64 MiB, more than any path here holds */
#define STATFS_FRESH_US G_USEC_PER_SEC
#define STATFS_WAIT_MS 5000             /* longer than a lost volcano's pause (4 s) */
#define STATFS_BLOCK 4096u

static void want(struct fuse_conn_info *conn, unsigned cap) { conn->want |= conn->capable & cap; }

void op_init(void *user, struct fuse_conn_info *conn)
{
	Mount *m = user;
	conn->max_write = MAGMA_DATA_MAX;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	want(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_DONT_MASK | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_HANDLE_KILLPRIV
		| FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ASYNC_DIO);
	/* a pipe in between costs more than the copy; a request's buffer is taken over instead */
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_POSIX_ACL
		| FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS);
	if (m->opts->readdirplus)
		want(conn, FUSE_CAP_READDIRPLUS);
	MAGMA_TRACE(&m->trace, 'F', "FUSE %u.%u, capable %08x, want %08x, max_write %u, max_readahead %u", conn->proto_major, conn->proto_minor,
		conn->capable, conn->want, conn->max_write, conn->max_readahead);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	Inodes *t = &mount_of(req)->inodes;
	inodes_forget(t, inode_of(t, ino), nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	Inodes *t = &mount_of(req)->inodes;
	for (size_t i = 0; i < count; i++)
		inodes_forget(t, inode_of(t, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	fuse_reply_err(req, ENOTTY);
}

/* ---- statfs: the sum over all volcanos, asked at most once a second ---- */

struct StatfsGather {
	Mount *m;
	guint waiting;                /* answers to come */
	guint answered;
	int error;                    /* the last one */
	guint64 total, free, avail, flares;
	gint64 done;                  /* monotonic; 0: not yet */
	GSource *timer;
	gboolean late;                /* the first answer will do */
	GPtrArray *requests;          /* fuse_req_t that wait for it */
};

static void gather_free(StatfsGather *g)
{
	g_source_destroy(g->timer);
	g_source_unref(g->timer);
	g_ptr_array_unref(g->requests);
	g_free(g);
}

/* One that still waits for answers goes with the last of them. */
void statfs_clear(Mount *m)
{
	StatfsGather *g = g_steal_pointer(&m->statfs);
	if (g && !g->waiting)
		gather_free(g);
}

static void gather_reply(const StatfsGather *g, fuse_req_t req)
{
	if (!g->answered || !g->m->client) {
		fuse_reply_err(req, kernel_errno(g->error ? g->error : EIO));
		return;
	}
	const MagmaMap *map = magma_client_map(g->m->client);
	guint copies = map ? MAX(map->copies_kept, 1) : 1;
	struct statvfs st = {
		.f_bsize = STATFS_BLOCK, .f_frsize = STATFS_BLOCK, .f_namemax = MAGMA_NAME_MAX,
		.f_blocks = g->total / copies / STATFS_BLOCK, .f_bfree = g->free / copies / STATFS_BLOCK, .f_bavail = g->avail / copies / STATFS_BLOCK,
	};
	/* inodes are made as they are needed: as many as there is room for the smallest */
	st.f_ffree = st.f_favail = st.f_bavail;
	st.f_files = g->flares + st.f_ffree;
	fuse_reply_statfs(req, &st);
}

static void gather_done(StatfsGather *g)
{
	g->done = g_get_monotonic_time();
	for (guint i = 0; i < g->requests->len; i++)
		gather_reply(g, g->requests->pdata[i]);
	g_ptr_array_set_size(g->requests, 0);
	if (!g->answered || g->m->ending)
		g->m->statfs = NULL;
}

static void gather_settle(StatfsGather *g)
{
	if (!g->done && (!g->waiting || (g->late && g->answered)))
		gather_done(g);
	if (!g->waiting && g->m->statfs != g)
		gather_free(g);
}

/* A volcano is dead: what the others said has to do. */
static gboolean gather_overdue(gpointer user)
{
	StatfsGather *g = user;
	g->late = TRUE;
	gather_settle(g);
	return G_SOURCE_REMOVE;
}

static void gather_answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	StatfsGather *g = user;
	if (error) {
		g->error = error;
	} else {
		const struct magma_rep_statfs *r = &rep->rep_statfs;
		g->answered++;
		g->total += r->total;
		g->free += r->free;
		g->avail += r->avail;
		g->flares += r->flares;
	}
	g->waiting--;
	gather_settle(g);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	Mount *m = mount_of(req);
	if (m->statfs && m->statfs->done && g_get_monotonic_time() - m->statfs->done < STATFS_FRESH_US) {
		gather_reply(m->statfs, req);
		return;
	}
	if (m->statfs && !m->statfs->done) {
		g_ptr_array_add(m->statfs->requests, req);
		return;
	}
	statfs_clear(m);
	StatfsGather *g = m->statfs = g_new0(StatfsGather, 1);
	g->m = m;
	g->requests = g_ptr_array_new();
	g_ptr_array_add(g->requests, req);
	g->timer = g_timeout_source_new(STATFS_WAIT_MS);
	g_source_set_callback(g->timer, gather_overdue, g, NULL);
	g_source_attach(g->timer, m->ctx);
	g->waiting = 1;               /* ours, while the questions go out */
	const MagmaMap *map = magma_client_map(m->client);
	guint n = map ? map->slices->len : 0;
	g_autofree MagmaKey *keys = g_new(MagmaKey, n + 1);
	for (guint i = 0; i < n; i++)
		keys[i] = g_array_index(map->slices, MagmaSlice, i).range.lo;
	for (guint i = 0; i < n; i++) {
		struct magma_req_statfs r = { .key = keys[i] };
		g->waiting++;
		magma_client_call(m->client, MAGMA_OP_statfs, NULL, &r, NULL, gather_answered, g);
	}
	g->waiting--;
	gather_settle(g);
}

/* Not here: flush (nothing is buffered: the first ENOSYS ends the questions), getlk, setlk and flock (the kernel keeps locks within the mount),
 * copy_file_range (the kernel reads and writes instead), poll (always ready), bmap. */
const struct fuse_lowlevel_ops mount_ops = {
	.init = op_init,
	.lookup = op_lookup, .forget = op_forget, .forget_multi = op_forget_multi,
	.getattr = op_getattr, .setattr = op_setattr, .readlink = op_readlink, .access = op_access,
	.mknod = op_mknod, .mkdir = op_mkdir, .symlink = op_symlink, .link = op_link, .unlink = op_unlink, .rmdir = op_rmdir, .rename = op_rename,
	.create = op_create, .open = op_open, .release = op_release, .read = op_read, .write = op_write, .fsync = op_fsync,
	.fallocate = op_fallocate, .lseek = op_lseek,
	.opendir = op_open, .readdir = op_readdir, .readdirplus = op_readdirplus, .releasedir = op_release, .fsyncdir = op_fsync,
	.getxattr = op_getxattr, .setxattr = op_setxattr, .listxattr = op_listxattr, .removexattr = op_removexattr,
	.statfs = op_statfs, .ioctl = op_ioctl,
};
