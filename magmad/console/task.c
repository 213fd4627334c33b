/* Tasks: commands that go on after their turn. Whoever waits for one may go at any time; its callbacks then find no session. */
#include "magmad/console/session.h"
#include <errno.h>

void task_begin(Task *t, ConsoleSession *s, void (*free)(Task *t))
{
	g_assert(s->task == NULL);
	t->session = s;
	t->refs = 1;
	t->free = free;
	s->task = t;
}

void task_ref(Task *t) { t->refs++; }

void task_unref(Task *t)
{
	g_assert(t->refs > 0);
	if (--t->refs)
		return;
	Files *files = t->files;
	t->free(t);
	if (files)
		files_leave(files);
}

void session_drop_task(ConsoleSession *s)
{
	Task *t = g_steal_pointer(&s->task);

	if (!t)
		return;
	t->session = NULL;
	task_unref(t);
}

void task_finish(Task *t)
{
	ConsoleSession *s = t->session;

	g_assert(s && s->task == t);
	session_drop_task(s);
	s->busy = FALSE;
	if (s->ending)
		return;
	session_prompt(s);
	session_pump_later(s);                        /* not from here: one finished task after the other would pile up on the stack */
}

static void files_entered(void *user, MagmaClient *client, const char *refusal)
{
	Task *t = user;

	if (client && t->session) {
		t->files = t->session->console->files;
		t->with_files(t, client);
	} else if (t->session) {
		session_error(t->session, "files", EIO, refusal);
		task_finish(t);
	}
	task_unref(t);
}

/* The session may be gone when the answer comes: then the client was entered for nobody. */
typedef struct { Task *task; Files *files; } Entering;

static void entering_done(void *user, MagmaClient *client, const char *refusal)
{
	Entering *e = user;
	Task *t = e->task;

	if (client && !t->session)
		files_leave(e->files);
	g_free(e);
	files_entered(t, client, refusal);
}

void task_enter_files(Task *t, void (*go_on)(Task *t, MagmaClient *client))
{
	Entering *e = g_new0(Entering, 1);

	t->with_files = go_on;
	e->task = t;
	e->files = t->session->console->files;
	task_ref(t);
	files_enter(e->files, entering_done, e);
}
