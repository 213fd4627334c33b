#include "tests/unit/store_log_inside.h"
#include <errno.h>
#include <string.h>

void log_until(LogBed *b, const gboolean *flag)
{
	gint64 end = g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;

	while (!*flag) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		b->vt->step(b);
	}
}

void log_until_written(LogBed *b)
{
	gint64 end = g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;

	while (b->s->log->written(b->s) < b->s->log->position(b->s).index) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		b->vt->step(b);
	}
}

void log_on_done(void *user, int error)
{
	LogAnswer *a = user;

	g_assert_false(a->done);
	a->done = TRUE;
	a->error = error;
}

void log_sync(LogBed *b)
{
	LogAnswer a = { 0 };

	store_sync(b->s, log_on_done, &a);
	log_until(b, &a.done);
	g_assert_cmpint(a.error, ==, 0);
}

void log_cut(LogBed *b, guint64 index)
{
	LogAnswer a = { 0 };

	b->s->log->cut(b->s, index, log_on_done, &a);
	log_until(b, &a.done);
	g_assert_cmpint(a.error, ==, 0);
}

void log_reset(LogBed *b, guint64 epoch, guint64 index)
{
	LogAnswer a = { 0 };

	b->s->log->reset(b->s, (StorePos){ epoch, index }, log_on_done, &a);
	log_until(b, &a.done);
	g_assert_cmpint(a.error, ==, 0);
}

typedef struct { Fetch fetch; gboolean ready; } Waiting;

static void on_ready(Fetch *f) { ((Waiting *)f)->ready = TRUE; }

char *log_get(LogBed *b, const char *key)
{
	Waiting w = { .fetch = { .ready = on_ready } };
	const guint8 *val;
	gsize n;
	StoreGet got;

	while ((got = store_get(b->s, &w.fetch, TAB_ENTRY, key, strlen(key), &val, &n)) == STORE_PENDING) {
		log_until(b, &w.ready);
		w.ready = FALSE;
	}
	char *text = got == STORE_FOUND ? g_strndup((const char *)val, n) : NULL;
	store_fetch_clear(b->s, &w.fetch);
	return text;
}

Txn *log_txn(const char *key, const char *val)
{
	Txn *t = txn_new();
	MagmaKey rk = magma_key_of_path(key, strlen(key));

	if (val)
		txn_put(t, TAB_ENTRY, key, strlen(key), &rk, val, strlen(val));
	else
		txn_del(t, TAB_ENTRY, key, strlen(key), &rk);
	return t;
}

guint64 log_put(LogBed *b, const char *key, const char *val) { return store_commit(b->s, log_txn(key, val)); }

gboolean log_append(LogBed *b, guint64 epoch, guint64 index, const char *key, const char *val)
{
	Txn *t = log_txn(key, val);
	const GByteArray *bytes = txn_bytes(t);
	StoreFrame f = { { epoch, index }, bytes->data, bytes->len };
	gboolean ok = b->s->log->append(b->s, &f);

	txn_free(t);
	return ok;
}

guint64 log_fill(LogBed *b, const char *key, const char *val)
{
	Txn *t = log_txn(key, val);
	const GByteArray *bytes = txn_bytes(t);
	guint64 ticket = b->s->log->fill(b->s, bytes->data, bytes->len);

	txn_free(t);
	return ticket;
}

char *log_epochs(LogBed *b)
{
	const StoreEpoch *e;
	guint n = b->s->log->epochs(b->s, &e);
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < n; i++)
		g_string_append_printf(text, "%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT " ", e[i].epoch, e[i].first);
	return g_string_free(text, FALSE);
}

static void on_frames(void *user, int error, const StoreFrame *frames, guint n, gboolean eof)
{
	LogRead *r = user;

	g_assert_false(r->done);
	r->done = TRUE;
	r->error = error;
	r->eof = eof;
	for (guint i = 0; i < n; i++) {
		g_array_append_val(r->pos, frames[i].pos);
		g_ptr_array_add(r->txns, g_bytes_new(frames[i].txn, frames[i].len));
	}
}

LogRead *log_read(LogBed *b, guint64 after, gsize max_bytes)
{
	LogRead *r = g_new0(LogRead, 1);

	r->pos = g_array_new(FALSE, FALSE, sizeof(StorePos));
	r->txns = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	b->s->log->read(b->s, after, max_bytes, on_frames, r);
	log_until(b, &r->done);
	return r;
}

void log_read_free(LogRead *r)
{
	g_array_unref(r->pos);
	g_ptr_array_unref(r->txns);
	g_free(r);
}

void log_is(LogBed *b, guint64 epoch, guint64 index)
{
	StorePos p = b->s->log->position(b->s);

	g_assert_cmpuint(p.epoch, ==, epoch);
	g_assert_cmpuint(p.index, ==, index);
}

char *log_read_text(LogBed *b, guint64 after, gsize max_bytes)
{
	g_autoptr(LogRead) r = log_read(b, after, max_bytes);
	GString *text = g_string_new(r->error == ENODATA ? "ENODATA" : r->error ? "error" : "");

	for (guint i = 0; i < r->pos->len; i++) {
		const StorePos *p = &g_array_index(r->pos, StorePos, i);
		g_string_append_printf(text, "%" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT " ", p->epoch, p->index);
	}
	if (r->eof)
		g_string_append(text, "eof");
	return g_string_free(text, FALSE);
}
