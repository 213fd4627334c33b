/* Which contents are there: the folders xx/yy read one after the other, in the pool. */
#include "magmad/store/content_list.h"
#include "magmad/store/content.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { FOLDERS_PER_JOB = 1024, ENOUGH = 64 };      /* folders looked for; one xx that is missing passes for 256 of them. Contents after which no further folder is begun */

typedef struct {
	PoolJob job;
	int root;
	guint folder, next;
	int error;
	GArray *fids;                 /* MagmaFid */
	void (*done)(void *user, int error, const MagmaFid *fids, guint n, guint next);
	void *user;
} Listing;

static int read_folder(Listing *l, const char *path)
{
	int fd = openat(l->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct dirent *e;
	MagmaFid fid;

	if (fd < 0)
		return errno == ENOENT ? 0 : errno;
	DIR *d = fdopendir(fd);
	if (!d) {
		int error = errno;
		close(fd);
		return error;
	}
	while (errno = 0, (e = readdir(d)))
		if (content_parse_name(e->d_name, &fid))
			g_array_append_val(l->fids, fid);
	int error = errno;
	closedir(d);
	return error;
}

static void list_run(PoolJob *job)
{
	Listing *l = (Listing *)job;
	char path[8];
	guint at = l->folder, end = MIN(l->folder + FOLDERS_PER_JOB, STORE_FOLDERS);

	while (at < end && l->fids->len < ENOUGH && !l->error) {
		g_snprintf(path, sizeof path, "%02x", at >> 8);
		if (at % 256 == 0 && faccessat(l->root, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT) {
			at += 256;
			continue;
		}
		g_snprintf(path, sizeof path, "%02x/%02x", at >> 8, at & 255);
		l->error = read_folder(l, path);
		at++;
	}
	l->next = at;
}

static void list_done(PoolJob *job)
{
	Listing *l = (Listing *)job;

	l->done(l->user, l->error, (const MagmaFid *)(void *)l->fids->data, l->fids->len, l->next);
}

static void list_free(PoolJob *job)
{
	Listing *l = (Listing *)job;

	g_array_unref(l->fids);
	g_free(l);
}

void content_list(Pool *pool, int root, guint folder, void (*done)(void *user, int error, const MagmaFid *fids, guint n, guint next), void *user)
{
	Listing *l = g_new0(Listing, 1);

	l->job = (PoolJob){ .run = list_run, .done = list_done, .free = list_free };
	l->root = root;
	l->folder = folder;
	l->fids = g_array_new(FALSE, FALSE, sizeof(MagmaFid));
	l->done = done;
	l->user = user;
	pool_push(pool, &l->job);
}
