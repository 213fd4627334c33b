#include "tests/unit/store_kit.h"
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

char *kit_dir(void)
{
	g_autoptr(GError) error = NULL;
	char *dir = g_dir_make_tmp("magma-store-XXXXXX", &error);

	g_assert_no_error(error);
	return dir;
}

static void remove_tree(const char *path)
{
	if (g_file_test(path, G_FILE_TEST_IS_DIR) && !g_file_test(path, G_FILE_TEST_IS_SYMLINK)) {
		g_autoptr(GDir) d = g_dir_open(path, 0, NULL);
		const char *name;
		while (d && (name = g_dir_read_name(d))) {
			g_autofree char *sub = g_build_filename(path, name, NULL);
			remove_tree(sub);
		}
	}
	g_remove(path);
}

void kit_remove(char *dir)
{
	remove_tree(dir);
	g_free(dir);
}

Store *kit_open(const char *dir, guint64 cache_bytes)
{
	DiskStoreConfig cfg = { .dir = dir, .cache_bytes = cache_bytes, .segment_bytes = 1 << 18 };
	g_autoptr(GError) error = NULL;

	g_autofree char *conf = g_build_filename(dir, "volcano.conf", NULL);
	if (!g_file_test(conf, G_FILE_TEST_EXISTS))
		diskstore_create(dir, &error);
	g_assert_no_error(error);
	Store *s = diskstore_open(&cfg, &error);
	g_assert_no_error(error);
	return s;
}

char *kit_refused(const char *dir)
{
	DiskStoreConfig cfg = { .dir = dir };
	g_autoptr(GError) error = NULL;
	g_assert_null(diskstore_open(&cfg, &error));
	g_assert_nonnull(error);
	return g_strdup(error->message);
}

static gboolean too_long(gpointer user)
{
	g_error("waited too long");
	return G_SOURCE_REMOVE;
}

void kit_until(const gboolean *flag)
{
	if (*flag)
		return;
	guint id = g_timeout_add_seconds(20, too_long, NULL);
	while (!*flag)
		g_main_context_iteration(NULL, TRUE);
	g_source_remove(id);
}

void kit_acked(Store *s, guint64 index)
{
	/* The store's turn is in its prepare: an iteration would do it, and then sleep. */
	for (diskstore_flush(s); store_acked(s) < index; diskstore_flush(s))
		g_main_context_iteration(NULL, TRUE);
}

guint64 kit_put(Store *s, StoreTable t, const char *key, const char *val)
{
	Txn *txn = txn_new();
	MagmaKey rk = magma_key_of_path(key, strlen(key));
	txn_put(txn, t, key, strlen(key), &rk, val, strlen(val));
	return store_commit(s, txn);
}

guint64 kit_del(Store *s, StoreTable t, const char *key)
{
	Txn *txn = txn_new();
	MagmaKey rk = magma_key_of_path(key, strlen(key));
	txn_del(txn, t, key, strlen(key), &rk);
	return store_commit(s, txn);
}

typedef struct {
	Fetch fetch;                  /* first */
	gboolean ready;
} Waiting;

static void on_ready(Fetch *f) { ((Waiting *)f)->ready = TRUE; }

char *kit_get(Store *s, StoreTable t, const void *key, gsize klen)
{
	Waiting w = { .fetch = { .ready = on_ready } };
	const guint8 *val;
	gsize vlen;
	StoreGet got = store_get(s, &w.fetch, t, key, klen, &val, &vlen);

	if (got == STORE_PENDING) {
		g_assert_cmpuint(w.fetch.pending, ==, 1);
		kit_until(&w.ready);
		got = store_get(s, &w.fetch, t, key, klen, &val, &vlen);
		g_assert_cmpint(got, !=, STORE_PENDING);
	}
	char *result = got == STORE_FOUND ? g_strndup((const char *)val, vlen) : NULL;
	store_fetch_clear(s, &w.fetch);
	return result;
}

typedef struct {
	gboolean done;
	int error;
} Answer;

static void on_done(void *user, int error)
{
	Answer *a = user;
	a->done = TRUE;
	a->error = error;
}

int kit_sync(Store *s)
{
	Answer a = { 0 };
	store_sync(s, on_done, &a);
	kit_until(&a.done);
	return a.error;
}

typedef struct {
	GString *text;
	guint8 last[STORE_KEY_MAX];
	gsize lastlen;
	gboolean done, eof;
} Scanning;

static void on_rows(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Scanning *sc = user;

	g_assert_cmpint(error, ==, 0);
	for (guint i = 0; i < n; i++) {
		g_string_append_len(sc->text, (const char *)rows[i].key, rows[i].klen);
		g_string_append_c(sc->text, '=');
		g_string_append_len(sc->text, (const char *)rows[i].val, rows[i].vlen);
		g_string_append_c(sc->text, ',');
		memcpy(sc->last, rows[i].key, rows[i].klen);
		sc->lastlen = rows[i].klen;
	}
	sc->eof = eof;
	sc->done = TRUE;
}

char *kit_scan(Store *s, StoreTable t, const char *prefix, guint step)
{
	Scanning sc = { .text = g_string_new(NULL) };

	while (!sc.eof) {
		sc.done = FALSE;
		store_scan(s, t, sc.last, sc.lastlen, prefix, strlen(prefix), step, on_rows, &sc);
		kit_until(&sc.done);
	}
	return g_string_free(sc.text, FALSE);
}

MagmaFid kit_fid(guint64 ino)
{
	g_autofree char *path = g_strdup_printf("/%" G_GUINT64_FORMAT, ino);
	return (MagmaFid){ magma_key_of_path(path, strlen(path)), ino };
}

guint32 kit_seed(void)
{
	const char *given = g_getenv("SEED");
	guint32 seed = given ? (guint32)strtoul(given, NULL, 10) : g_random_int();

	g_test_message("SEED=%u", seed);
	return seed;
}
