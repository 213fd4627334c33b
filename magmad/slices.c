#include "magmad/slices.h"
#include "magmad/identity.h"
#include <unistd.h>

struct Slices {
	DiskStoreConfig cfg;
	char *dir;
	GHashTable *open;             /* id -> Store * */
};

Slices *slices_new(const DiskStoreConfig *cfg)
{
	Slices *s = g_new0(Slices, 1);

	s->cfg = *cfg;
	s->cfg.lock_fd = 0;
	s->dir = g_build_filename(cfg->dir, "slices", NULL);
	s->open = g_hash_table_new(NULL, NULL);
	return s;
}

static char *path_of(Slices *s, guint16 id) { return g_strdup_printf("%s/%05u", s->dir, id); }

Store *slices_open(Slices *s, guint16 id, GError **error)
{
	g_autofree char *path = path_of(s, id), *conf = g_build_filename(path, "volcano.conf", NULL);
	DiskStoreConfig cfg = s->cfg;

	cfg.dir = path;
	/* the file is made last: without it there is nothing, or less than a store */
	if (access(conf, F_OK) != 0 && !diskstore_create(path, error))
		return NULL;
	Store *store = diskstore_open(&cfg, error);
	if (store)
		g_hash_table_insert(s->open, GUINT_TO_POINTER(id), store);
	return store;
}

void slices_close(Slices *s, guint16 id, gboolean remove)
{
	Store *store = g_hash_table_lookup(s->open, GUINT_TO_POINTER(id));
	g_autofree char *path = path_of(s, id);

	g_hash_table_remove(s->open, GUINT_TO_POINTER(id));
	diskstore_quiesce(store);
	if (remove)
		diskstore_abandon(store);
	else
		diskstore_close(store);
	if (remove)
		folder_remove(path);
}

void slices_quiesce(Slices *s)
{
	GHashTableIter it;
	gpointer store;

	g_hash_table_iter_init(&it, s->open);
	while (g_hash_table_iter_next(&it, NULL, &store))
		diskstore_quiesce(store);
}

void slices_free(Slices *s)
{
	if (!s)
		return;
	g_assert(!g_hash_table_size(s->open));
	g_hash_table_unref(s->open);
	g_free(s->dir);
	g_free(s);
}
