/* `cache load`: brings this volcano's flare rows into the store's cache, a batch at a time, until all are there or the cache is full. */
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

#define ROWS_PER_TURN 256             /* well below a millisecond of scanning */

typedef struct {
	Task task;
	Console *console;             /* NULL: gone */
	Store *store;
	guint64 limit;
	Fetch fetch;
	guint again;                  /* source: the next batch */
	gboolean eof;
	MagmaKey at_key;              /* the last row read */
	guint64 at_ino, rows;
	GByteArray *keys;             /* of the batch: each a length byte and its bytes */
} Load;

static gboolean on_again(gpointer user);

static void load_free(Task *t)
{
	Load *l = (Load *)t;

	if (l->console)
		l->console->load = NULL;
	if (l->again)
		g_source_remove(l->again);
	g_byte_array_unref(l->keys);
	g_free(l);
}

static void load_done(Load *l, int error)
{
	ConsoleSession *s = l->task.session;
	StoreUsage u = { 0 };

	l->store->vt->usage(l->store, &u);
	if (error)
		session_error(s, "cache load", error, magma_strerror(error));
	else if (s->json) {
		JsonBuilder *b = session_json_new();
		json_put_int(b, "flares", l->rows);
		json_put_int(b, "cache_rows", u.cache_rows);
		json_put_int(b, "cache_bytes", u.cache_bytes);
		json_builder_set_member_name(b, "complete");
		json_builder_add_boolean_value(b, l->eof);
		session_json(s, b);
	} else {
		session_answerf(s, "%" G_GUINT64_FORMAT " flares read%s, the cache holds %" G_GUINT64_FORMAT " rows, %" G_GUINT64_FORMAT " MByte", l->rows,
			l->eof ? "" : " until it was full", u.cache_rows, text_mbyte(u.cache_bytes));
	}
	task_finish(&l->task);
}

static gboolean cache_full(Load *l)
{
	StoreUsage u = { 0 };

	l->store->vt->usage(l->store, &u);
	return u.cache_bytes >= l->limit / 10 * 9;
}

static void batch_done(Load *l)
{
	store_fetch_clear(l->store, &l->fetch);
	g_byte_array_set_size(l->keys, 0);
	if (l->eof || cache_full(l))
		load_done(l, 0);
	else
		l->again = g_idle_add_full(G_PRIORITY_DEFAULT, on_again, l, NULL);     /* not from here: the store may answer at once, again and again */
}

static void on_fetched(Fetch *f)
{
	Load *l = (Load *)((char *)f - G_STRUCT_OFFSET(Load, fetch));

	if (l->task.session)
		batch_done(l);
	else
		store_fetch_clear(l->store, &l->fetch);
	task_unref(&l->task);
}

/* Asking for a row that is not in memory is what brings it. */
static void fetch_batch(Load *l)
{
	const guint8 *p = l->keys->data, *end = p + l->keys->len, *val;
	gsize vlen;

	l->fetch.ready = on_fetched;
	for (; p < end; p += 1 + *p)
		store_get(l->store, &l->fetch, TAB_FLARE, p + 1, *p, &val, &vlen);
	if (l->fetch.pending)
		task_ref(&l->task);           /* on_fetched follows */
	else
		batch_done(l);
}

static void on_rows(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Load *l = user;

	for (guint i = 0; !error && l->task.session && i < n; i++) {
		if (rows[i].klen != 8)
			continue;
		guint8 len = 8;
		g_byte_array_append(l->keys, &len, 1);
		g_byte_array_append(l->keys, rows[i].key, 8);
		l->at_key = rows[i].rk;
		l->at_ino = magma_be64_load(rows[i].key);
		l->rows++;
	}
	l->eof = eof || n == 0;
	if (l->task.session) {
		if (error)
			load_done(l, error);
		else
			fetch_batch(l);
	}
	task_unref(&l->task);
}

static void load_next(Load *l)
{
	task_ref(&l->task);
	store_scan_range(l->store, &l->at_key, &MAGMA_KEY_MAX, l->at_ino, ROWS_PER_TURN, on_rows, l);
}

static gboolean on_again(gpointer user)
{
	Load *l = user;

	l->again = 0;
	load_next(l);
	return G_SOURCE_REMOVE;
}

void cache_load_orphan(Task *t) { ((Load *)t)->console = NULL; }

gboolean cmd_cache_load(ConsoleSession *s, char **args)
{
	if (s->console->load) {
		session_error(s, "cache load", EBUSY, "another session is loading it already");
		return TRUE;
	}
	Load *l = g_new0(Load, 1);
	l->console = s->console;
	l->keys = g_byte_array_new();
	l->store = s->console->cfg.store;
	l->at_key = MAGMA_KEY_MIN;
	l->limit = s->console->cfg.cache_bytes;
	s->console->load = &l->task;
	task_begin(&l->task, s, load_free);
	load_next(l);
	return FALSE;
}
