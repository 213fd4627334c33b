#include "magmad/store/vfs.h"
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct NowaitVfs {
	sqlite3_vfs vfs;              /* first: sqlite hands it back */
	sqlite3_vfs *real;
	char name[32];
	int db_fd;
	gboolean on, unsupported;
};

/* sqlite allocates szOsFile bytes: this, and the real file behind it. */
typedef struct {
	sqlite3_file base;
	NowaitVfs *owner;
	int fd;                       /* -1: not a file we read ourselves */
	gboolean own_fd;
	_Alignas(8) char real[];
} NowaitFile;

#define OWNER(v) ((NowaitVfs *)(v))
#define SELF(f) ((NowaitFile *)(f))
#define REAL(f) ((sqlite3_file *)SELF(f)->real)

static int file_close(sqlite3_file *f)
{
	if (SELF(f)->own_fd)
		close(SELF(f)->fd);
	return REAL(f)->pMethods->xClose(REAL(f));
}

static gboolean at_end(int fd, off_t end)
{
	struct stat st;
	return fstat(fd, &st) != 0 || end >= st.st_size;
}

static int file_read(sqlite3_file *f, void *buf, int n, sqlite3_int64 off)
{
	NowaitFile *self = SELF(f);

	if (self->fd >= 0 && self->owner->on) {
		struct iovec iov = { buf, n };
		ssize_t got = preadv2(self->fd, &iov, 1, off, RWF_NOWAIT);
		if (got == n)
			return SQLITE_OK;
		if (got < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
			self->owner->on = FALSE;
			self->owner->unsupported = TRUE;
		} else if (got < 0 ? errno == EAGAIN : !at_end(self->fd, off + got)) {
			return SQLITE_BUSY;
		}
	}
	return REAL(f)->pMethods->xRead(REAL(f), buf, n, off);
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 off) { return REAL(f)->pMethods->xWrite(REAL(f), p, n, off); }
static int file_truncate(sqlite3_file *f, sqlite3_int64 size) { return REAL(f)->pMethods->xTruncate(REAL(f), size); }
static int file_sync(sqlite3_file *f, int flags) { return REAL(f)->pMethods->xSync(REAL(f), flags); }
static int file_size(sqlite3_file *f, sqlite3_int64 *size) { return REAL(f)->pMethods->xFileSize(REAL(f), size); }
static int file_lock(sqlite3_file *f, int how) { return REAL(f)->pMethods->xLock(REAL(f), how); }
static int file_unlock(sqlite3_file *f, int how) { return REAL(f)->pMethods->xUnlock(REAL(f), how); }
static int file_reserved(sqlite3_file *f, int *out) { return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out); }
static int file_control(sqlite3_file *f, int op, void *arg) { return REAL(f)->pMethods->xFileControl(REAL(f), op, arg); }
static int file_sector(sqlite3_file *f) { return REAL(f)->pMethods->xSectorSize(REAL(f)); }
static int file_device(sqlite3_file *f) { return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f)); }
static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out) { return REAL(f)->pMethods->xShmMap(REAL(f), page, size, extend, out); }
static int file_shm_lock(sqlite3_file *f, int off, int n, int flags) { return REAL(f)->pMethods->xShmLock(REAL(f), off, n, flags); }
static void file_shm_barrier(sqlite3_file *f) { REAL(f)->pMethods->xShmBarrier(REAL(f)); }
static int file_shm_unmap(sqlite3_file *f, int remove) { return REAL(f)->pMethods->xShmUnmap(REAL(f), remove); }

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector,
	.xDeviceCharacteristics = file_device,
	.xShmMap = file_shm_map,
	.xShmLock = file_shm_lock,
	.xShmBarrier = file_shm_barrier,
	.xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
	NowaitFile *self = SELF(f);
	sqlite3_vfs *real = OWNER(v)->real;

	*self = (NowaitFile){ .owner = OWNER(v), .fd = -1 };
	memset(self->real, 0, real->szOsFile);
	int rc = real->xOpen(real, name, REAL(f), flags, out_flags);
	if (!REAL(f)->pMethods)
		return rc;
	self->base.pMethods = &methods;
	if (flags & SQLITE_OPEN_MAIN_DB) {
		self->fd = OWNER(v)->db_fd;
	} else if (flags & SQLITE_OPEN_WAL) {
		self->fd = open(name, O_RDONLY | O_CLOEXEC);    /* sqlite takes no locks on the log: this one may be closed freely */
		self->own_fd = self->fd >= 0;
	}
	return rc;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int sync) { return OWNER(v)->real->xDelete(OWNER(v)->real, name, sync); }
static int vfs_access(sqlite3_vfs *v, const char *name, int flags, int *out) { return OWNER(v)->real->xAccess(OWNER(v)->real, name, flags, out); }
static int vfs_full(sqlite3_vfs *v, const char *name, int n, char *out) { return OWNER(v)->real->xFullPathname(OWNER(v)->real, name, n, out); }
static int vfs_random(sqlite3_vfs *v, int n, char *out) { return OWNER(v)->real->xRandomness(OWNER(v)->real, n, out); }
static int vfs_sleep(sqlite3_vfs *v, int us) { return OWNER(v)->real->xSleep(OWNER(v)->real, us); }
static int vfs_time(sqlite3_vfs *v, double *out) { return OWNER(v)->real->xCurrentTime(OWNER(v)->real, out); }
static int vfs_error(sqlite3_vfs *v, int n, char *out) { return OWNER(v)->real->xGetLastError(OWNER(v)->real, n, out); }
static int vfs_time64(sqlite3_vfs *v, sqlite3_int64 *out) { return OWNER(v)->real->xCurrentTimeInt64(OWNER(v)->real, out); }

NowaitVfs *nowait_vfs_new(const char *path)
{
	NowaitVfs *v = g_new0(NowaitVfs, 1);

	v->real = sqlite3_vfs_find(NULL);
	v->db_fd = open(path, O_RDONLY | O_CLOEXEC);
	g_snprintf(v->name, sizeof v->name, "magma-%p", (void *)v);
	v->vfs = (sqlite3_vfs){
		.iVersion = 2,
		.szOsFile = sizeof(NowaitFile) + v->real->szOsFile,
		.mxPathname = v->real->mxPathname,
		.zName = v->name,
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full,
		.xRandomness = vfs_random,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_time,
		.xGetLastError = vfs_error,
		.xCurrentTimeInt64 = vfs_time64,
	};
	sqlite3_vfs_register(&v->vfs, 0);
	return v;
}

void nowait_vfs_free(NowaitVfs *v)
{
	if (!v)
		return;
	sqlite3_vfs_unregister(&v->vfs);
	if (v->db_fd >= 0)
		close(v->db_fd);
	g_free(v);
}

const char *nowait_vfs_name(const NowaitVfs *v) { return v->name; }
void nowait_vfs_enable(NowaitVfs *v, gboolean on) { v->on = on && v->db_fd >= 0 && !v->unsupported; }
