#include "magmad/store/content_io.h"
#include "magmad/store/content.h"
#include "magmad/store/reread.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

const char *content_name(const MagmaFid *fid, char out[CONTENT_NAME_MAX])
{
	char hex[MAGMA_KEY_HEX];

	magma_key_to_hex(&fid->key, hex);
	g_snprintf(out, CONTENT_NAME_MAX, "%.2s/%.2s/%s.%016" G_GINT64_MODIFIER "x", hex, hex + 2, hex, fid->ino);
	return out;
}

gboolean content_parse_name(const char *name, MagmaFid *out)
{
	char hex[MAGMA_KEY_HEX];

	if (strlen(name) != MAGMA_KEY_HEX - 1 + 1 + 16 || name[MAGMA_KEY_HEX - 1] != '.')
		return FALSE;
	memcpy(hex, name, MAGMA_KEY_HEX - 1);
	hex[MAGMA_KEY_HEX - 1] = '\0';
	for (guint i = 0; i < 16; i++)
		if (!g_ascii_isxdigit(name[MAGMA_KEY_HEX + i]))
			return FALSE;
	out->ino = g_ascii_strtoull(name + MAGMA_KEY_HEX, NULL, 16);
	return magma_key_from_hex(hex, &out->key);
}

static gboolean creates(const ContentIo *io)
{
	switch (io->kind) {
	case CONTENT_WRITE: return TRUE;
	case CONTENT_TRUNCATE: return io->off > 0;
	case CONTENT_FALLOCATE: return !(io->mode & FALLOC_FL_PUNCH_HOLE);
	default: return FALSE;
	}
}

static int make_parents(int root, const char *name)
{
	char part[8];

	for (guint n = 2; n <= 5; n += 3) {
		g_strlcpy(part, name, n + 1);
		if (mkdirat(root, part, 0700) != 0 && errno != EEXIST)
			return errno;
	}
	return 0;
}

static int open_file(ContentIo *io, const char *name)
{
	gboolean create = creates(io);

	for (guint tries = 0; tries < 2; tries++) {
		io->fd = openat(io->root, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
		if (io->fd >= 0) {
			struct stat st;
			io->blocks_before = fstat(io->fd, &st) == 0 ? st.st_blocks : 0;
			if (io->reread)
				reread_clean(io->fd);
			return 0;
		}
		if (errno != ENOENT)
			return errno;
		if (!create) {
			io->missing = TRUE;
			return 0;
		}
		int error = make_parents(io->root, name);
		if (error)
			return error;
	}
	return EIO;
}

static int write_all(ContentIo *io)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(io->data, &n);
	guint64 off = io->off;

	while (n) {
		ssize_t done = pwrite(io->fd, p, n, off);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done == 0 ? EIO : errno;
		p += done;
		n -= done;
		off += done;
	}
	return 0;
}

static int read_all(ContentIo *io)
{
	g_autofree guint8 *p = g_malloc(MAX(io->len, 1));
	gsize n = 0;

	while (n < io->len) {
		ssize_t got = pread(io->fd, p + n, io->len - n, io->off + n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			break;
		n += got;
	}
	io->data = g_bytes_new_take(g_steal_pointer(&p), n);
	return 0;
}

static int sync_dir(ContentIo *io, const char *path)
{
	int fd = openat(io->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	int error = fsync(fd) == 0 ? 0 : errno;
	io->sync_lost |= error != 0;
	close(fd);
	return error;
}

/* The file, then its name, then the folders' names. */
static int sync_all(ContentIo *io, const char *name)
{
	char yy[6], xx[3];
	int error = fdatasync(io->fd) == 0 ? 0 : errno;
	io->sync_lost = error != 0;

	g_strlcpy(yy, name, sizeof yy);
	g_strlcpy(xx, name, sizeof xx);
	if (!error && io->sync_dir)
		error = sync_dir(io, yy);
	if (!error && io->sync_parents)
		error = sync_dir(io, xx);
	if (!error && io->sync_parents)
		error = sync_dir(io, ".");
	return error;
}

/* Not with SYNC_FILE_RANGE_WAIT_*: they would take the errors that the next fdatasync() has to tell. What this one is told itself, that one may not be. */
static int begin_sync(ContentIo *io)
{
	int error = sync_file_range(io->fd, io->off, io->len, SYNC_FILE_RANGE_WRITE) == 0 ? 0 : errno;

	io->sync_lost = error == EIO || error == ENOSPC || error == EDQUOT || error == EROFS;
	guint64 before = MIN(io->mode, io->off);
	if (before)
		(void)!posix_fadvise(io->fd, io->off - before, before, POSIX_FADV_DONTNEED);
	return io->sync_lost ? error : 0;      /* else a hint that this file system does not take */
}

static int seek_file(ContentIo *io)
{
	/* Nobody uses the descriptor's offset, so seeks in parallel do not disturb each other. */
	off_t at = lseek(io->fd, io->off, io->mode);

	if (at < 0)
		return errno;
	io->found = at;
	return 0;
}

/* Everything but a drop, on an open file. */
static int run_open(ContentIo *io, const char *name)
{
	switch (io->kind) {
	case CONTENT_READ: return read_all(io);
	case CONTENT_WRITE: return write_all(io);
	case CONTENT_TRUNCATE: return ftruncate(io->fd, io->off) == 0 ? 0 : errno;
	case CONTENT_FALLOCATE: return fallocate(io->fd, io->mode, io->off, io->len) == 0 ? 0 : errno;
	case CONTENT_SEEK: return seek_file(io);
	case CONTENT_STAT: return 0;
	case CONTENT_SYNC: return sync_all(io, name);
	case CONTENT_BEGIN: return begin_sync(io);
	case CONTENT_DROP: break;
	}
	g_assert_not_reached();
}

static void take_stat(ContentIo *io)
{
	struct stat st;

	if (fstat(io->fd, &st) != 0) {
		io->error = io->error ? io->error : errno;
		return;
	}
	io->size = st.st_size;
	io->blocks = st.st_blocks;
	io->mtime = (MagmaTs){ st.st_mtim.tv_sec, st.st_mtim.tv_nsec };
}

static void run_drop(ContentIo *io, const char *name)
{
	struct stat st;

	if (fstatat(io->root, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		io->blocks_before = st.st_blocks;
	io->error = unlinkat(io->root, name, 0) == 0 || errno == ENOENT ? 0 : errno;
	if (io->error)
		return;
	/* Here, because the last close of a removed file frees its blocks. */
	if (io->fd >= 0)
		close(io->fd);
	io->fd = -1;
	io->missing = TRUE;
}

void content_io_run(ContentIo *io)
{
	char name[CONTENT_NAME_MAX];

	content_name(&io->fid, name);
	if (io->kind == CONTENT_DROP) {
		run_drop(io, name);
		return;
	}
	if (io->fd < 0 && io->kind != CONTENT_BEGIN)
		io->error = open_file(io, name);
	if (io->fd < 0)
		return;
	io->error = run_open(io, name);
	if (io->sync_lost)
		reread_note(io->root);
	take_stat(io);
}

gboolean content_io_try_read(ContentIo *io)
{
	gsize want = io->off >= io->size ? 0 : MIN(io->len, io->size - io->off);
	g_autofree guint8 *p = g_malloc(MAX(want, 1));
	struct iovec iov = { p, want };

	if (want && preadv2(io->fd, &iov, 1, io->off, RWF_NOWAIT) != (ssize_t)want)
		return FALSE;
	io->data = g_bytes_new_take(g_steal_pointer(&p), want);
	return TRUE;
}
