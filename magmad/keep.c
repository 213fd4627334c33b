#include "magmad/keep.h"
#include "libmagma/base/err.h"
#include "magmad/core/volcano.h"
#include "magmad/store/db.h"
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct Keep {
	GMainContext *ctx;
	GThreadPool *thread;          /* one */
	sqlite3 *db;                  /* the thread's, while it runs */
	sqlite3_stmt *put;
	char *dir;
	char *reserve;                /* a file whose room a value may have where the disk has none */
	gboolean reserved;            /* it is there; the thread's */
	gboolean cannot;              /* this file system reserves nothing */
	GSource *look;                /* whether there is room for it again */
	gint waiting;                 /* values put that the thread has not looked at */
	GQueue covered;               /* Job *: a newer value that was put already holds all of theirs; the thread's */
	GHashTable *running;          /* Job *: loop thread only */
};

typedef struct {
	Keep *keep;
	GBytes *value;
	int error;
	GSource *over;                /* says so in the loop; set by the thread before the loop can see it */
	void (*done)(void *user, int error);
	void *user;
} Job;

static void job_free(Job *j)
{
	if (j->over) {
		g_source_destroy(j->over);
		g_source_unref(j->over);
	}
	g_bytes_unref(j->value);
	g_free(j);
}

static gboolean job_over(gpointer data)
{
	Job *j = data;

	g_hash_table_remove(j->keep->running, j);
	j->done(j->user, j->error);
	job_free(j);
	return G_SOURCE_REMOVE;
}

static void over(Keep *k, Job *j, int error)
{
	j->error = error;
	j->over = g_idle_source_new();
	g_source_set_priority(j->over, G_PRIORITY_HIGH);
	g_source_set_callback(j->over, job_over, j, NULL);
	g_source_attach(j->over, k->ctx);
}

/* A full disk costs clients their writes, and must not cost the volcano its vote. The log's room is used again after each checkpoint, every 64 pages, so this is enough for long. */
#define RESERVE (1 << 20)
#define TO_OPEN (64 << 10)            /* of which sqlite takes half */
#define PAGES "64"
#define LOOK_EVERY_MS 2000

static gboolean has_room(const Keep *k, guint64 bytes)
{
	struct statvfs vfs;

	return statvfs(k->dir, &vfs) == 0 && (guint64)vfs.f_bavail * vfs.f_frsize >= bytes;
}

static gboolean reserve_give(Keep *k)
{
	gboolean had = k->reserved;

	k->reserved = FALSE;
	return had && unlink(k->reserve) == 0;
}

/* What an earlier start took is there for this one, too. sqlite needs room for a file of its own to open at all. */
static void reserve_look(Keep *k)
{
	struct stat st;

	k->reserved = stat(k->reserve, &st) == 0 && (guint64)st.st_blocks * 512 >= RESERVE;
	if (!has_room(k, TO_OPEN))
		reserve_give(k);
}

static void reserve_take(Keep *k)
{
	/* The last room on a full disk is not taken from the journal, not even for a moment. */
	if (k->cannot || k->reserved || !has_room(k, 2 * RESERVE))
		return;
	int fd = open(k->reserve, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	k->reserved = fallocate(fd, 0, 0, RESERVE) == 0;
	k->cannot = !k->reserved && errno == EOPNOTSUPP;
	close(fd);
	if (!k->reserved)
		unlink(k->reserve);
}

static int put_once(Keep *k, GBytes *value)
{
	int error = 0;
	gsize n;
	const guint8 *p = g_bytes_get_data(value, &n);

	sqlite3_bind_blob64(k->put, 1, p ? p : (const void *)"", n, SQLITE_STATIC);
	if (sqlite3_step(k->put) != SQLITE_DONE)
		error = EIO;
	int rc = sqlite3_reset(k->put);
	if (error && db_no_room(k->db, rc, FALSE))
		error = ENOSPC;
	sqlite3_clear_bindings(k->put);
	return error;
}

static int put(Keep *k, GBytes *value)
{
	int error = put_once(k, value);

	if (error == ENOSPC && reserve_give(k))
		return put_once(k, value);
	if (!error)
		reserve_take(k);
	return error;
}

/* A disk that takes a second for each value would be behind for ever: of those that wait only the newest is written. */
static void write_one(gpointer data, gpointer user)
{
	Job *j = data, *older;
	Keep *k = user;

	if (data == user) {
		reserve_take(k);
		return;
	}
	if (!g_atomic_int_dec_and_test(&k->waiting)) {
		g_queue_push_tail(&k->covered, j);
		return;
	}
	int error = put(k, j->value);
	while ((older = g_queue_pop_head(&k->covered)))
		over(k, older, error);
	over(k, j, error);
}

/* Values may come rarely: the next full disk must not find it gone. */
static gboolean look_for_room(gpointer data)
{
	g_thread_pool_push(((Keep *)data)->thread, data, NULL);
	return G_SOURCE_CONTINUE;
}

static GBytes *read_value(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	GBytes *value = NULL;

	if (sqlite3_prepare_v2(db, "SELECT value FROM kept WHERE name = 'lava'", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		value = g_bytes_new(sqlite3_column_blob(st, 0), sqlite3_column_bytes(st, 0));
	sqlite3_finalize(st);
	return value;
}

static int write_back(Keep *k)
{
	int rc = sqlite3_wal_checkpoint_v2(k->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

	return rc == SQLITE_OK ? 0 : db_no_room(k->db, rc, TRUE) ? ENOSPC : EIO;
}

/* The end of the log may be what an earlier life could not sync, and then it is in the page cache alone: it is written anew, and not believed before. */
static gboolean settle(Keep *k)
{
	int error = write_back(k);

	return !error || (error == ENOSPC && reserve_give(k) && !write_back(k));
}

static gboolean prepare(Keep *k)
{
	/* One fsync for each value, and none that a power cut takes back: with a rollback journal there were four, and an unlink of the journal that was not synced could undo a vote. */
	return sqlite3_exec(k->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=" PAGES "; CREATE TABLE IF NOT EXISTS kept(name TEXT PRIMARY KEY, value BLOB NOT NULL)", NULL, NULL, NULL) == SQLITE_OK
		&& settle(k)
		&& sqlite3_prepare_v2(k->db, "INSERT INTO kept VALUES('lava', ?1) ON CONFLICT(name) DO UPDATE SET value = excluded.value", -1, &k->put, NULL) == SQLITE_OK;
}

/* Only looks. FALSE: it is not what a volcano has kept. */
static gboolean look(const char *dir, const char *path, GError **error)
{
	sqlite3 *db = NULL;
	gboolean there = access(path, F_OK) == 0;
	g_autofree char *log = g_strconcat(path, "-wal", NULL);
	gboolean logged = access(log, F_OK) == 0;
	gboolean opened = there && sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK;
	g_autoptr(GBytes) value = opened ? read_value(db) : NULL;
	gboolean ok = value && volcano_kept_valid(value);

	if (opened && logged)     /* what stands in its log stays there; a log of our own goes */
		sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (!ok)
		g_set_error(error, MAGMA_ERROR, EIO, "%s %s: it says which volcano of its network this is, and what it voted; nothing was changed here. Put it back as it was; if it is lost, let an empty folder take the place of %s "
			"(-j HOST, the same nickname): docs/operations.md, \"A lost lava.db\"", path, !there ? "is missing" : "is damaged", dir);
	sqlite3_close(db);
	return ok;
}

gboolean keep_check(const char *dir, GError **error)
{
	g_autofree char *path = g_build_filename(dir, "lava.db", NULL);

	return look(dir, path, error);
}

Keep *keep_open(const char *dir, GMainContext *ctx, gboolean must, GBytes **value, GError **error)
{
	g_autofree char *path = g_build_filename(dir, "lava.db", NULL);
	g_autoptr(Keep) k = g_new0(Keep, 1);

	k->ctx = ctx ? g_main_context_ref(ctx) : g_main_context_ref(g_main_context_default());
	k->running = g_hash_table_new(NULL, NULL);
	k->dir = g_strdup(dir);
	k->reserve = g_strconcat(path, "-reserve", NULL);
	reserve_look(k);
	if (must && !look(dir, path, error))
		return NULL;
	if (sqlite3_open_v2(path, &k->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK || !prepare(k)) {
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", path, k->db ? sqlite3_errmsg(k->db) : "out of memory");
		return NULL;
	}
	*value = read_value(k->db);
	if (must && !*value) {                /* it was there a moment ago */
		g_set_error(error, MAGMA_ERROR, EIO, "%s: %s", path, sqlite3_errmsg(k->db));
		return NULL;
	}
	reserve_take(k);
	k->thread = g_thread_pool_new(write_one, k, 1, TRUE, error);
	k->look = g_timeout_source_new(LOOK_EVERY_MS);
	g_source_set_callback(k->look, look_for_room, k, NULL);
	if (k->thread)
		g_source_attach(k->look, k->ctx);
	return k->thread ? g_steal_pointer(&k) : NULL;
}

int keep_put_now(Keep *k, GBytes *value) { return put(k, value); }

void keep_put(Keep *k, GBytes *value, void (*done)(void *user, int error), void *user)
{
	Job *j = g_new0(Job, 1);

	*j = (Job){ .keep = k, .value = g_bytes_ref(value), .done = done, .user = user };
	g_hash_table_add(k->running, j);
	g_atomic_int_inc(&k->waiting);
	g_thread_pool_push(k->thread, j, NULL);
}

void keep_close(Keep *k)
{
	GHashTableIter it;
	gpointer j;

	if (!k)
		return;
	if (k->look) {
		g_source_destroy(k->look);
		g_source_unref(k->look);
	}
	if (k->thread)
		g_thread_pool_free(k->thread, FALSE, TRUE);
	/* the thread is gone; ends that still wait in the loop are nobody's */
	g_hash_table_iter_init(&it, k->running);
	while (g_hash_table_iter_next(&it, &j, NULL))
		job_free(j);
	sqlite3_finalize(k->put);
	sqlite3_close(k->db);
	g_hash_table_unref(k->running);
	g_main_context_unref(k->ctx);
	g_free(k->dir);
	g_free(k->reserve);
	g_free(k);
}
