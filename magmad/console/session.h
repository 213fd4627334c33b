/* Inside the console: sessions, what a command may do with one, and tasks, which are commands that take more than a turn of the loop. */
#pragma once
#include <json-glib/json-glib.h>
#include "magmad/console/command.h"
#include "magmad/console/console.h"
#include "magmad/console/files.h"
#include "magmad/console/telnet.h"

#define CONSOLE_SESSIONS_MAX 64       /* each may hold SESSION_OUT_MAX + SESSION_IN_MAX: some 70 MiB at the very worst */
#define SESSION_OUT_MAX (1u << 20)    /* queued output; above it nothing is read and no command begins */
#define SESSION_OUT_HIGH (256u << 10) /* a task that streams stops above and goes on below half of it */
#define SESSION_IN_MAX (64u << 10)    /* lines that wait for the command before them */
#define SESSION_LOGIN_TRIES 3

typedef struct Task Task;
typedef struct LoginQueue LoginQueue;

struct Console {
	ConsoleConfig cfg;
	char *name;
	int fd;
	guint accept_source;
	GPtrArray *sessions;          /* ConsoleSession *, owned */
	Files *files;
	LoginQueue *logins;
	GHashTable *users, *groups;   /* names by id, for ls */
	Task *load;                   /* the `cache load` that runs */
};

struct ConsoleSession {
	Console *console;
	int fd;
	char *peer;
	guint in_source, out_source, pump_source, idle_source;
	Telnet telnet;
	GQueue lines;                 /* char *: typed, not yet begun; NULL: a line that was too long */
	gsize lines_bytes;
	GString *out;
	gsize out_at;                 /* sent so far */
	gboolean logged_in, asking, asking_json, json, busy;
	gboolean ending;              /* closes when what is queued has been sent */
	gboolean interrupted;         /* ^C came: to be told when the input it came with has been read */
	gboolean eof, dead;
	guint tries;
	gint64 opened;
	char *cwd;
	Task *task;
};

/* A command that goes on. Embedded first in its own struct. Holds a reference for the session that waits for it and one for each callback under way. */
struct Task {
	ConsoleSession *session;      /* NULL: interrupted, or its session is gone; callbacks only drop their reference then */
	guint refs;
	gboolean stubborn;            /* not to be interrupted by ^C */
	Files *files;                 /* entered: left when the task is freed */
	void (*with_files)(Task *t, MagmaClient *client);
	void (*room)(Task *t);        /* the output that was too long has gone; may be NULL */
	void (*free)(Task *t);        /* what it holds, and itself */
};
void task_begin(Task *t, ConsoleSession *s, void (*free)(Task *t));
void task_ref(Task *t);
void task_unref(Task *t);
/* Calls go on(t, client) when files can be reached, at once or later; where they cannot, says so and finishes. */
void task_enter_files(Task *t, void (*go_on)(Task *t, MagmaClient *client));
/* The command is done: prompt, next line. The session's reference goes. */
void task_finish(Task *t);

/* Output. Text is UTF-8 or bytes; LF ends lines. A whole answer: a blank line before and behind. */
void session_answer(ConsoleSession *s, const char *text);
void session_answerf(ConsoleSession *s, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* A part of one that streams. */
void session_stream(ConsoleSession *s, const char *p, gsize n);
gboolean session_has_room(const ConsoleSession *s);
/* An error about subject (may be NULL): "subject: text", or JSON. code: an errno or of err.h; 0: none says it. */
void session_error(ConsoleSession *s, const char *subject, int code, const char *text);
/* JSON answers: an open object with "ok":true in it, to be given back to session_json, which closes and frees it. */
JsonBuilder *session_json_new(void);
void session_json(ConsoleSession *s, JsonBuilder *b);
/* {"ok":true} or nothing at all: for commands that have nothing to say. */
void session_ok(ConsoleSession *s);
/* name: value of strings that may be no UTF-8 */
void json_put_text(JsonBuilder *b, const char *name, const char *p, gsize n);
void json_put_int(JsonBuilder *b, const char *name, guint64 v);
/* "safe": whether nothing is wrong, "unsafe": the lines that say what is */
void json_put_unsafe(JsonBuilder *b, ConsoleSession *s);
char *json_take_line(JsonBuilder *b);         /* closes the object; frees the builder */

ConsoleSession *session_new(Console *c, int fd, const char *peer);
void session_free(ConsoleSession *s);
/* After the current callbacks: close and free. */
void session_end(ConsoleSession *s);
void session_prompt(ConsoleSession *s);
/* A line was typed, or a task ended: begins the next command; now, or in a turn of its own. */
void session_pump(ConsoleSession *s);
void session_pump_later(ConsoleSession *s);
/* Nobody waits for the task any more. */
void session_drop_task(ConsoleSession *s);

/* login.c: secrets are derived one at a time, in a thread of their own. */
LoginQueue *login_queue_new(Console *c);
void login_queue_free(LoginQueue *q);
gboolean login_ask(ConsoleSession *s, char **args);
gboolean login_check(ConsoleSession *s, const char *secret);

/* cmd_cache.c: the console ends while that task still waits for the store. */
void cache_load_orphan(Task *t);

/* owner.c: the name of a user or group as this host knows it, else the number; into out[ROW_OWNER]. */
#define ROW_OWNER 33
const char *owner_user(Console *c, guint32 uid, char *out);
const char *owner_group(Console *c, guint32 gid, char *out);

/* The commands. */
gboolean cmd_help(ConsoleSession *s, char **args);
gboolean cmd_version(ConsoleSession *s, char **args);
gboolean cmd_quit(ConsoleSession *s, char **args);
gboolean cmd_lava(ConsoleSession *s, char **args);
gboolean cmd_heal(ConsoleSession *s, char **args);
gboolean cmd_conflicts(ConsoleSession *s, char **args);
gboolean cmd_status(ConsoleSession *s, char **args);
gboolean cmd_print_cache(ConsoleSession *s, char **args);
gboolean cmd_cache_load(ConsoleSession *s, char **args);
gboolean cmd_print_debug(ConsoleSession *s, char **args);
gboolean cmd_debug_on(ConsoleSession *s, char **args);
gboolean cmd_debug_off(ConsoleSession *s, char **args);
gboolean cmd_print_acl(ConsoleSession *s, char **args);
gboolean cmd_not_built(ConsoleSession *s, char **args);
gboolean cmd_takeover(ConsoleSession *s, char **args);
gboolean cmd_shutdown(ConsoleSession *s, char **args);
gboolean cmd_pwd(ConsoleSession *s, char **args);
gboolean cmd_cd(ConsoleSession *s, char **args);
gboolean cmd_ls(ConsoleSession *s, char **args);
gboolean cmd_cat(ConsoleSession *s, char **args);
gboolean cmd_inspect(ConsoleSession *s, char **args);
gboolean cmd_erase(ConsoleSession *s, char **args);
