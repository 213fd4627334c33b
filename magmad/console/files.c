#include "magmad/console/files.h"
#include "libmagma/base/err.h"
#include <string.h>

#define FILES_IDLE_S 60

typedef struct {
	void (*done)(void *user, MagmaClient *client, const char *refusal);
	void *user;
} Waiter;

struct Files {
	MagmaAddr flare;
	guint8 psk[MAGMA_PSK_LEN];
	const MagmaTrace *trace;
	MagmaClient *client;
	gboolean started;
	GArray *waiters;              /* Waiter: until it has started */
	guint users;
	guint idle, failed;           /* sources */
	char *refusal;
};

Files *files_new(const MagmaAddr *flare, const guint8 psk[MAGMA_PSK_LEN], const MagmaTrace *trace)
{
	Files *f = g_new0(Files, 1);

	f->flare = *flare;
	memcpy(f->psk, psk, sizeof f->psk);
	f->trace = trace;
	f->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
	return f;
}

static void drop_client(Files *f)
{
	MagmaClient *client = g_steal_pointer(&f->client);

	f->started = FALSE;
	if (client)
		magma_client_free(client);    /* answers what waits; nobody finds it through us any more */
}

/* Everybody who waits gets the same answer; who comes meanwhile is not among them. */
static void answer_waiters(Files *f, MagmaClient *client, const char *refusal)
{
	g_autoptr(GArray) now = g_steal_pointer(&f->waiters);

	f->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
	if (client)
		f->users += now->len;
	for (guint i = 0; i < now->len; i++) {
		Waiter *w = &g_array_index(now, Waiter, i);
		w->done(w->user, client, refusal);
	}
}

void files_free(Files *f)
{
	if (!f)
		return;
	if (f->idle)
		g_source_remove(f->idle);
	if (f->failed)
		g_source_remove(f->failed);
	drop_client(f);
	answer_waiters(f, NULL, "magmad stops");
	g_array_unref(f->waiters);
	g_free(f->refusal);
	explicit_bzero(f->psk, sizeof f->psk);
	g_free(f);
}

/* Not from inside the client's own callback, which is to return to it. */
static gboolean on_failed(gpointer user)
{
	Files *f = user;
	g_autofree char *refusal = g_steal_pointer(&f->refusal);

	f->failed = 0;
	drop_client(f);
	answer_waiters(f, NULL, refusal);
	return G_SOURCE_REMOVE;
}

static void fail_later(Files *f, const char *text)
{
	f->refusal = g_strdup(text);
	f->failed = g_idle_add_full(G_PRIORITY_DEFAULT, on_failed, f, NULL);
}

static void on_started(void *user, const GError *error)
{
	Files *f = user;

	if (error) {
		if (f->client && !f->failed)
			fail_later(f, error->message);
		return;
	}
	f->started = TRUE;
	answer_waiters(f, f->client, NULL);
}

void files_enter(Files *f, void (*done)(void *user, MagmaClient *client, const char *refusal), void *user)
{
	Waiter w = { done, user };
	MagmaClientConfig cfg = { .hosts = &f->flare, .nhosts = 1, .no_wait = TRUE, .trace = f->trace };
	g_autoptr(GError) error = NULL;

	if (f->idle) {
		g_source_remove(f->idle);
		f->idle = 0;
	}
	if (f->started) {
		f->users++;
		done(user, f->client, NULL);
		return;
	}
	g_array_append_val(f->waiters, w);
	if (f->client || f->failed)
		return;                       /* it is on its way, or on its way out */
	memcpy(cfg.psk, f->psk, sizeof cfg.psk);
	f->client = magma_client_new(NULL, &cfg, &error);
	explicit_bzero(&cfg, sizeof cfg);
	if (f->client)
		magma_client_start(f->client, on_started, f);
	else
		fail_later(f, error->message);
}

static gboolean on_idle(gpointer user)
{
	Files *f = user;

	f->idle = 0;
	drop_client(f);
	return G_SOURCE_REMOVE;
}

void files_leave(Files *f)
{
	g_assert(f->users > 0);
	if (--f->users == 0 && f->started)
		f->idle = g_timeout_add_seconds(FILES_IDLE_S, on_idle, f);
}

MagmaClient *files_client(Files *f) { return f->started ? f->client : NULL; }
