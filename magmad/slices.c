#include "magmad/slices.h"
#include "magmad/identity.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REMOVED "removed-"
#define SPARE "spare"

enum { SPARE_NONE, SPARE_READY, SPARE_TAKEN };

/* Removing a store and making one take as long as the disk does, and the loop has leases to renew: a thread does both. A removed store has another name at once; what a crash leaves of it goes at the next start. */
struct Slices {
	DiskStoreConfig cfg;
	char *dir;
	GHashTable *open;             /* id -> Store * */
	GThreadPool *helper;          /* one thread; takes paths */
	char *spare;                  /* an empty store, to be had by a rename */
	int spare_is, stop;           /* atomic; NONE, READY (set by the helper), TAKEN: being renamed */
	guint removed;
	int error;                    /* the first one of a store that was closed */
};

static gboolean sync_dir(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int e = fd < 0 || fsync(fd) != 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	if (e)
		g_set_error(error, MAGMA_ERROR, e, "%s: %s", path, g_strerror(e));
	return !e;
}

static void help(gpointer data, gpointer user)
{
	Slices *s = user;
	g_autofree char *path = data;

	gboolean spare = strcmp(path, s->spare) == 0;

	/* One that is ready may be taken at any moment, and one that is being taken is somebody's store already. */
	if (g_atomic_int_get(&s->stop) || (spare && g_atomic_int_get(&s->spare_is) != SPARE_NONE))
		return;
	folder_remove(path, &s->stop);
	/* one that cannot be made now is made where it is wanted, and says why */
	if (spare && diskstore_create(path, NULL))
		g_atomic_int_set(&s->spare_is, SPARE_READY);
}

static void ask_helper(Slices *s, const char *path) { g_thread_pool_push(s->helper, g_strdup(path), NULL); }

Slices *slices_new(const DiskStoreConfig *cfg)
{
	Slices *s = g_new0(Slices, 1);

	s->cfg = *cfg;
	s->cfg.lock_fd = 0;
	s->dir = g_build_filename(cfg->dir, "slices", NULL);
	s->spare = g_build_filename(s->dir, SPARE, NULL);
	s->open = g_hash_table_new(NULL, NULL);
	s->helper = g_thread_pool_new(help, s, 1, FALSE, NULL);
	g_autoptr(GDir) d = g_dir_open(s->dir, 0, NULL);
	for (const char *name; d && (name = g_dir_read_name(d));)
		if (g_str_has_prefix(name, REMOVED)) {
			g_autofree char *path = g_build_filename(s->dir, name, NULL);
			ask_helper(s, path);
		}
	return s;
}

static char *path_of(Slices *s, guint16 id) { return g_strdup_printf("%s/%05u", s->dir, id); }

/* The next will be wanted where one was. */
static gboolean take_spare(Slices *s, const char *path)
{
	gboolean ready = g_atomic_int_compare_and_exchange(&s->spare_is, SPARE_READY, SPARE_TAKEN), taken = ready && rename(s->spare, path) == 0;

	if (ready)
		g_atomic_int_set(&s->spare_is, SPARE_NONE);
	ask_helper(s, s->spare);
	return taken;
}

Store *slices_open(Slices *s, guint16 id, GError **error)
{
	g_autofree char *path = path_of(s, id), *conf = g_build_filename(path, "volcano.conf", NULL);
	DiskStoreConfig cfg = s->cfg;

	cfg.dir = path;
	/* the file is made last: without it there is nothing, or less than a store */
	if (access(conf, F_OK) != 0 && !(take_spare(s, path) ? sync_dir(s->dir, error) : diskstore_create(path, error)))
		return NULL;
	Store *store = diskstore_open(&cfg, error);
	if (store)
		g_hash_table_insert(s->open, GUINT_TO_POINTER(id), store);
	return store;
}

/* Under its own name no more, from now on and after a crash. */
static void set_removed(Slices *s, const char *path)
{
	g_autofree char *to = NULL;

	do {
		g_free(to);
		to = g_strdup_printf("%s/" REMOVED "%u", s->dir, ++s->removed);
	} while (access(to, F_OK) == 0);
	if (rename(path, to) != 0) {          /* less than a store from here on, whatever is left of it after a crash */
		g_autofree char *conf = g_build_filename(path, "volcano.conf", NULL);
		if (unlink(conf) == 0)
			sync_dir(path, NULL);
		folder_remove(path, NULL);
		return;
	}
	sync_dir(s->dir, NULL);
	ask_helper(s, to);
}

void slices_close(Slices *s, guint16 id, gboolean remove)
{
	Store *store = g_hash_table_lookup(s->open, GUINT_TO_POINTER(id));
	g_autofree char *path = path_of(s, id);

	g_hash_table_remove(s->open, GUINT_TO_POINTER(id));
	diskstore_quiesce(store);
	if (!remove) {
		int error = diskstore_close(store);
		s->error = s->error ? s->error : error;
		return;
	}
	diskstore_abandon(store);
	set_removed(s, path);
}

void slices_quiesce(Slices *s)
{
	GHashTableIter it;
	gpointer store;

	g_hash_table_iter_init(&it, s->open);
	while (g_hash_table_iter_next(&it, NULL, &store))
		diskstore_quiesce(store);
}

gboolean slices_sync_drops(Slices *s)
{
	GHashTableIter it;
	gpointer store;

	g_hash_table_iter_init(&it, s->open);
	while (g_hash_table_iter_next(&it, NULL, &store))
		if (!diskstore_sync_drops(store))
			return FALSE;
	return TRUE;
}

int slices_free(Slices *s)
{
	if (!s)
		return 0;
	int error = s->error;
	g_assert(!g_hash_table_size(s->open));
	g_atomic_int_set(&s->stop, TRUE);
	g_thread_pool_free(s->helper, FALSE, TRUE);
	g_hash_table_unref(s->open);
	g_free(s->spare);
	g_free(s->dir);
	g_free(s);
	return error;
}
