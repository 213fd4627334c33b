#include "magmad/conflicts.h"
#include "magmad/identity.h"
#include "libmagma/base/err.h"
#include "libmagma/lava/conflict.h"
#include "libmagma/base/folder.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NOTE "differs"
#define GONE ".removed-"              /* in front of the name of what is being removed */
#define CACHE_BYTES (4u << 20)
#define SEGMENT_BYTES (1u << 20)      /* nothing is committed into them */

struct Conflicts {
	DiskStoreConfig cfg;
	char *dir;                    /* DIR/conflicts */
	GPtrArray *open;              /* Store * */
	GThreadPool *remover;         /* one thread; takes paths */
	int stop;                     /* atomic: it ends early, and the next start goes on */
};

static void remove_one(gpointer path, gpointer user)
{
	folder_remove(path, &((Conflicts *)user)->stop);
	g_free(path);
}

static void remove_rest(Conflicts *c)
{
	g_autoptr(GDir) d = g_dir_open(c->dir, 0, NULL);

	for (const char *name; d && (name = g_dir_read_name(d));)
		if (g_str_has_prefix(name, GONE))
			g_thread_pool_push(c->remover, g_build_filename(c->dir, name, NULL), NULL);
}

static char *path_of(Conflicts *c, guint64 time)
{
	char name[MAGMA_CONFLICT_TIME_TEXT];

	return g_build_filename(c->dir, magma_conflict_time_text(time, name), NULL);
}

static gint by_time(gconstpointer a, gconstpointer b)
{
	const guint64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

GArray *conflicts_list(Conflicts *c)
{
	g_autoptr(GDir) d = g_dir_open(c->dir, 0, NULL);
	GArray *out = g_array_new(FALSE, FALSE, sizeof(guint64));
	guint64 time;

	for (const char *name; d && (name = g_dir_read_name(d));)
		if (magma_conflict_time_parse(name, &time))
			g_array_append_val(out, time);
	g_array_sort(out, by_time);
	return out;
}

static gboolean open_one(Conflicts *c, const char *path, GPtrArray *out, GError **error)
{
	DiskStoreConfig cfg = c->cfg;

	cfg.dir = path;
	Store *store = diskstore_open(&cfg, error);
	if (!store)
		return FALSE;
	g_ptr_array_add(out, store);
	g_ptr_array_add(c->open, store);
	return TRUE;
}

/* As slices.c names them: others there are on their way to or from being one. Without volcano.conf it is less than a store. */
static gboolean is_slice(const char *slices, const char *name)
{
	g_autofree char *conf = g_build_filename(slices, name, "volcano.conf", NULL);

	return strlen(name) == 5 && strspn(name, "0123456789") == 5 && access(conf, F_OK) == 0;
}

static gboolean open_slices(Conflicts *c, const char *path, GPtrArray *out, GError **error)
{
	g_autofree char *slices = g_build_filename(path, "slices", NULL);
	g_autoptr(GError) why = NULL;
	g_auto(GStrv) names = magma_folder_names(slices, &why);

	if (!names && !g_error_matches(why, MAGMA_ERROR, ENOENT)) {
		g_propagate_error(error, g_steal_pointer(&why));
		return FALSE;
	}
	for (guint i = 0; names && names[i]; i++) {
		const char *name = names[i];
		g_autofree char *slice = g_build_filename(slices, name, NULL);
		if (is_slice(slices, name) && !open_one(c, slice, out, error))
			return FALSE;
	}
	return TRUE;
}

GPtrArray *conflicts_open(Conflicts *c, guint64 time, GError **error)
{
	g_autofree char *path = path_of(c, time);
	GPtrArray *out = g_ptr_array_new();

	if (open_one(c, path, out, error) && open_slices(c, path, out, error))
		return out;
	conflicts_close(c, out);
	return NULL;
}

void conflicts_close(Conflicts *c, GPtrArray *stores)
{
	for (guint i = 0; i < stores->len; i++)
		diskstore_quiesce(stores->pdata[i]);
	for (guint i = 0; i < stores->len; i++) {
		g_ptr_array_remove(c->open, stores->pdata[i]);
		diskstore_close(stores->pdata[i]);
	}
	g_ptr_array_unref(stores);
}

/* What their journals have goes into the state behind them now, when nobody waits: the loop opens them later, and has a lease to renew then. What cannot be opened says so then too. */
static void settle(Conflicts *c)
{
	g_autoptr(GArray) times = conflicts_list(c);

	for (guint i = 0; i < times->len; i++) {
		GPtrArray *stores = conflicts_open(c, g_array_index(times, guint64, i), NULL);
		if (stores)
			conflicts_close(c, stores);
	}
}

Conflicts *conflicts_new(const DiskStoreConfig *cfg)
{
	Conflicts *c = g_new0(Conflicts, 1);

	c->cfg = *cfg;
	c->cfg.lock_fd = 0;
	c->cfg.one_of_several = FALSE;
	c->cfg.cache_bytes = CACHE_BYTES;
	c->cfg.segment_bytes = SEGMENT_BYTES;
	c->dir = g_build_filename(cfg->dir, "conflicts", NULL);
	c->open = g_ptr_array_new();
	c->remover = g_thread_pool_new(remove_one, c, 1, FALSE, NULL);
	remove_rest(c);
	settle(c);
	return c;
}

gboolean conflicts_note(Conflicts *c, guint64 time, const guint8 *p, gsize n, GError **error)
{
	g_autofree char *path = path_of(c, time), *file = g_build_filename(path, NOTE, NULL);

	return g_file_set_contents_full(file, (const char *)p, (gssize)n, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
}

GBytes *conflicts_noted(Conflicts *c, guint64 time)
{
	g_autofree char *path = path_of(c, time), *file = g_build_filename(path, NOTE, NULL);
	char *bytes;
	gsize n;

	return g_file_get_contents(file, &bytes, &n, NULL) ? g_bytes_new_take(bytes, n) : NULL;
}

static void sync_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

gboolean conflicts_remove(Conflicts *c, guint64 time, GError **error)
{
	g_autofree char *path = path_of(c, time), *name = g_path_get_basename(path), *gone_name = g_strconcat(GONE, name, NULL), *gone = g_build_filename(c->dir, gone_name, NULL);

	if (rename(path, gone) < 0) {
		int code = errno;
		g_set_error(error, MAGMA_ERROR, code, "cannot remove %s: %s", path, g_strerror(code));
		return FALSE;
	}
	sync_folder(c->dir);
	g_thread_pool_push(c->remover, g_steal_pointer(&gone), NULL);
	return TRUE;
}

void conflicts_quiesce(Conflicts *c)
{
	for (guint i = 0; i < c->open->len; i++)
		diskstore_quiesce(c->open->pdata[i]);
}

void conflicts_free(Conflicts *c)
{
	if (!c)
		return;
	g_assert(!c->open->len);
	g_atomic_int_set(&c->stop, 1);
	g_thread_pool_free(c->remover, FALSE, TRUE);
	rmdir(c->dir);                /* where nothing is left in it */
	g_ptr_array_unref(c->open);
	g_free(c->dir);
	g_free(c);
}
