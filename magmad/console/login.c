/* login: the secret is derived with scrypt in a thread, one at a time (32 MiB each), and compared in constant time. */
#include "magmad/console/session.h"
#include "libmagma/client/secret.h"
#include <string.h>

#define WRONG_DELAY_MS 2000

/* A job is its thread's own until it comes back to the loop. */
typedef struct {
	Task task;
	LoginQueue *queue;
	char *secret;
	guint8 psk[MAGMA_PSK_LEN];
	gboolean derived;
	char *peer;
	guint delay;                  /* source */
} Login;

struct LoginQueue {
	Console *console;
	GThreadPool *pool;
	GPtrArray *out;               /* Login *: in the pool or on their way back; a reference each */
};

static void login_free(Task *t)
{
	Login *l = (Login *)t;

	if (l->delay)
		g_source_remove(l->delay);
	g_free(l->peer);
	magma_secret_free(l->secret);
	explicit_bzero(l->psk, sizeof l->psk);
	g_free(l);
}

static gboolean on_derived(gpointer user);

static void derive(gpointer data, gpointer unused)
{
	Login *l = data;

	l->derived = magma_psk_derive(l->secret, strlen(l->secret), l->psk);
	g_idle_add_full(G_PRIORITY_DEFAULT, on_derived, l, NULL);
}

static gboolean same_key(const guint8 *a, const guint8 *b)
{
	volatile guint8 differ = 0;

	for (guint i = 0; i < MAGMA_PSK_LEN; i++)
		differ |= a[i] ^ b[i];
	return differ == 0;
}

static void welcome(Login *l)
{
	ConsoleSession *s = l->task.session;

	s->logged_in = TRUE;
	g_message("console: %s logged in", s->peer);
	if (s->json)
		session_ok(s);
	else
		session_answer(s, "logged in");
	task_finish(&l->task);
}

static gboolean on_delayed(gpointer user)
{
	Login *l = user;
	ConsoleSession *s = l->task.session;

	l->delay = 0;
	if (s->tries >= SESSION_LOGIN_TRIES) {
		session_error(s, "login", EACCES, "wrong secret, and too many of them: closed");
		session_end(s);
	} else {
		session_error(s, "login", EACCES, "wrong secret");
		task_finish(&l->task);
	}
	return G_SOURCE_REMOVE;
}

static void refuse(Login *l)
{
	ConsoleSession *s = l->task.session;

	g_message("console: %s gave a wrong secret", l->peer);
	if (!s)
		return;
	s->tries++;
	l->delay = g_timeout_add(WRONG_DELAY_MS, on_delayed, l);
}

static gboolean on_derived(gpointer user)
{
	Login *l = user;
	gboolean right = l->derived && same_key(l->psk, l->queue->console->cfg.psk);

	g_ptr_array_remove_fast(l->queue->out, l);
	if (!right)
		refuse(l);
	else if (l->task.session)
		welcome(l);
	task_unref(&l->task);
	return G_SOURCE_REMOVE;
}

gboolean login_ask(ConsoleSession *s, char **args)
{
	if (s->logged_in) {
		session_answer(s, "you are logged in already");
		return TRUE;
	}
	s->asking = TRUE;
	s->asking_json = s->json;
	telnet_hide(&s->telnet, TRUE);
	return TRUE;
}

gboolean login_check(ConsoleSession *s, const char *secret)
{
	LoginQueue *q = s->console->logins;
	Login *l = g_new0(Login, 1);

	s->asking = FALSE;
	s->json = s->asking_json;
	telnet_hide(&s->telnet, FALSE);
	session_stream(s, "\n", 1);          /* the one that was not shown */
	task_begin(&l->task, s, login_free);
	l->task.stubborn = TRUE;              /* ^C does not spare the delay */
	l->peer = g_strdup(s->peer);
	if (*secret == '\0' || strlen(secret) > MAGMA_SECRET_MAX) {
		refuse(l);
		return FALSE;
	}
	l->queue = q;
	l->secret = g_strdup(secret);
	task_ref(&l->task);
	g_ptr_array_add(q->out, l);
	g_thread_pool_push(q->pool, l, NULL);
	return FALSE;
}

LoginQueue *login_queue_new(Console *c)
{
	LoginQueue *q = g_new0(LoginQueue, 1);

	q->console = c;
	q->pool = g_thread_pool_new(derive, NULL, 1, FALSE, NULL);
	q->out = g_ptr_array_new();
	return q;
}

void login_queue_free(LoginQueue *q)
{
	/* waits for the one that runs; those never begun, and those on their way back, have nobody to tell any more */
	g_thread_pool_free(q->pool, TRUE, TRUE);
	for (guint i = 0; i < q->out->len; i++) {
		Login *l = q->out->pdata[i];
		g_source_remove_by_user_data(l);
		task_unref(&l->task);
	}
	g_ptr_array_unref(q->out);
	g_free(q);
}
