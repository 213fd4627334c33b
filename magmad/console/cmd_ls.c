/* ls: a directory is listed in batches, as far as the output has room; cd and pwd. */
#include "magmad/console/path.h"
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

#define BATCH_BYTES (16u << 10)       /* of entries in one READDIR: some 300, each asked for its attributes at once */

typedef struct Ls Ls;
typedef struct {
	Ls *ls;
	MagmaDirent entry;            /* its name is `name` */
	char *name;
	MagmaAttr attr;
	char *target;
	gsize target_len;
	int error;
} Row;

struct Ls {
	Task task;
	char *path;
	MagmaClient *client;
	MagmaAttr attr;
	GPtrArray *rows;              /* Row *: the batch */
	guint waiting;                /* answers to come for it */
	guint64 cookie, total;
	gboolean eof, begun, paused;
};

static void row_free(gpointer p)
{
	Row *r = p;

	g_free(r->name);
	g_free(r->target);
	g_free(r);
}

static void ls_free(Task *t)
{
	Ls *l = (Ls *)t;

	g_ptr_array_unref(l->rows);
	g_free(l->path);
	g_free(l);
}

static guint64 shown_size(const MagmaAttr *a)
{
	return S_ISDIR(a->mode) ? a->size + 1 : a->size;         /* the entries that ls lists: "." is one */
}

static void stream_line(ConsoleSession *s, GString *line)
{
	session_stream(s, line->str, line->len);
	g_string_free(line, TRUE);
}

static void print_text(ConsoleSession *s, const char *name, gsize len, const Row *r)
{
	GString *line = g_string_new("");
	char mode[11], user[ROW_OWNER], group[ROW_OWNER];

	if (r->error) {
		g_string_append_printf(line, "?---------        ?        ?           ? ");
		text_append_clean(line, name, len);
		g_string_append_printf(line, " (%s)\n", magma_strerror(r->error));
		stream_line(s, line);
		return;
	}
	text_mode(r->attr.mode, mode);
	g_string_append_printf(line, "%s %8s %8s %11" G_GUINT64_FORMAT " ", mode, owner_user(s->console, r->attr.uid, user),
		owner_group(s->console, r->attr.gid, group), shown_size(&r->attr));
	text_append_clean(line, name, len);
	if (r->target) {
		g_string_append(line, " -> ");
		text_append_clean(line, r->target, r->target_len);
	}
	g_string_append_c(line, '\n');
	stream_line(s, line);
}

static void print_json(Ls *l, const char *name, gsize len, const Row *r)
{
	ConsoleSession *s = l->task.session;
	JsonBuilder *b = json_builder_new();
	char mode[11], user[ROW_OWNER], group[ROW_OWNER];

	json_builder_begin_object(b);
	json_put_text(b, "name", name, len);
	if (r->error) {
		json_put_int(b, "errno", r->error);
	} else {
		text_mode(r->attr.mode, mode);
		json_put_text(b, "type", text_type(r->attr.mode), strlen(text_type(r->attr.mode)));
		json_put_text(b, "mode", mode, 10);
		json_put_int(b, "uid", r->attr.uid);
		json_put_int(b, "gid", r->attr.gid);
		json_put_text(b, "user", user, strlen(owner_user(s->console, r->attr.uid, user)));
		json_put_text(b, "group", group, strlen(owner_group(s->console, r->attr.gid, group)));
		json_put_int(b, S_ISDIR(r->attr.mode) ? "entries" : "size", r->attr.size);
		json_put_int(b, "nlink", r->attr.nlink);
		json_put_int(b, "mtime", r->attr.mtime.sec < 0 ? 0 : (guint64)r->attr.mtime.sec);
		json_put_int(b, "ino", r->attr.fid.ino);
	}
	if (r->target)
		json_put_text(b, "target", r->target, r->target_len);
	g_autofree char *line = json_take_line(b);
	if (l->total)
		session_stream(s, ",", 1);
	session_stream(s, line, strlen(line));
}

static void print_row(Ls *l, const char *name, gsize len, const Row *r)
{
	if (l->task.session->json)
		print_json(l, name, len, r);
	else
		print_text(l->task.session, name, len, r);
	l->total++;
}

static void begin(Ls *l)
{
	ConsoleSession *s = l->task.session;
	Row self = { .attr = l->attr };

	l->begun = TRUE;
	session_stream(s, "\n", 1);
	if (s->json) {
		JsonBuilder *b = json_builder_new();
		json_builder_begin_object(b);
		json_put_text(b, "path", l->path, strlen(l->path));
		g_autofree char *head = json_take_line(b);
		session_stream(s, head, strlen(head) - 1);      /* open again */
		session_stream(s, ",\"entries\":[", 12);
	}
	if (S_ISDIR(l->attr.mode))
		print_row(l, ".", 1, &self);
}

/* error may come in the middle of a long list. */
static void finish(Ls *l, int error)
{
	ConsoleSession *s = l->task.session;

	if (!l->begun) {
		session_error(s, l->path, error, magma_strerror(error));
	} else if (s->json) {
		g_autofree char *tail = g_strdup_printf("],\"total\":%" G_GUINT64_FORMAT ",\"errno\":%d,\"ok\":%s}\n\n", l->total, error, error ? "false" : "true");
		session_stream(s, tail, strlen(tail));
	} else {
		g_autofree char *path = text_clean(l->path, strlen(l->path));
		g_autofree char *tail = error ? g_strdup_printf("%s: %s\n\n", path, magma_strerror(error))
			: g_strdup_printf("\n -- total entries: %" G_GUINT64_FORMAT "\n\n", l->total);
		session_stream(s, tail, strlen(tail));
	}
	task_finish(&l->task);
}

static void next_batch(Ls *l);

static void batch_done(Ls *l)
{
	for (guint i = 0; i < l->rows->len; i++) {
		Row *r = l->rows->pdata[i];
		if (r->error != ENOENT)              /* gone since the directory was read */
			print_row(l, r->name, r->entry.name.len, r);
	}
	g_ptr_array_set_size(l->rows, 0);
	if (l->eof)
		finish(l, 0);
	else if (session_has_room(l->task.session))
		next_batch(l);
	else
		l->paused = TRUE;
}

static void ls_room(Task *t)
{
	Ls *l = (Ls *)t;

	if (l->paused) {
		l->paused = FALSE;
		next_batch(l);
	}
}

static void answer_came(Ls *l)
{
	if (--l->waiting == 0 && l->task.session)
		batch_done(l);
	task_unref(&l->task);
}

static void on_attr(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Row *r = user;

	r->error = error;
	if (!error)
		r->attr = rep->rep_getattr.attr;
	answer_came(r->ls);
}

static void on_target(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Row *r = user;

	if (!error) {
		r->target = g_strndup((const char *)rep->rep_readlink.target.data, rep->rep_readlink.target.len);
		r->target_len = rep->rep_readlink.target.len;
	}
	answer_came(r->ls);
}

static void ask(Ls *l, MagmaOp op, const void *req, MagmaReplyFn fn, Row *r)
{
	l->waiting++;
	task_ref(&l->task);
	magma_client_call(l->client, op, NULL, req, NULL, fn, r);
}

static void ask_row(Ls *l, Row *r)
{
	struct magma_req_getattr attr = { .fid = r->entry.fid };
	struct magma_req_readlink link = { .fid = r->entry.fid };

	ask(l, MAGMA_OP_getattr, &attr, on_attr, r);
	if (S_ISLNK(r->entry.type))
		ask(l, MAGMA_OP_readlink, &link, on_target, r);
}

static gboolean take_entries(Ls *l, const MagmaBytes *list)
{
	MagmaReader rd = magma_reader(list->data, list->len);

	while (rd.left) {
		Row *r = g_new0(Row, 1);
		magma_get_dirent(&rd, &r->entry);
		if (rd.error) {
			g_free(r);
			return FALSE;
		}
		r->ls = l;
		r->name = g_strndup((const char *)r->entry.name.data, r->entry.name.len);
		l->cookie = r->entry.cookie;
		g_ptr_array_add(l->rows, r);
	}
	return TRUE;
}

static void on_entries(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Ls *l = user;
	ConsoleSession *s = l->task.session;

	if (s && error) {
		finish(l, error);
	} else if (s && !take_entries(l, &rep->rep_readdir.entries)) {
		finish(l, EPROTO);
	} else if (s) {
		/* an empty answer is the end, whatever it says: else we would ask for ever */
		l->eof = rep->rep_readdir.eof || l->rows->len == 0;
		if (!l->begun)
			begin(l);
		l->waiting = 1;               /* answers that come at once do not end the batch before all are asked */
		for (guint i = 0; i < l->rows->len; i++)
			ask_row(l, l->rows->pdata[i]);
		task_ref(&l->task);
		answer_came(l);
	}
	task_unref(&l->task);
}

static void next_batch(Ls *l)
{
	struct magma_req_readdir req = { .dir = l->attr.fid, .cookie = l->cookie, .max = BATCH_BYTES };

	task_ref(&l->task);
	magma_client_call(l->client, MAGMA_OP_readdir, NULL, &req, NULL, on_entries, l);
}

/* Not a directory: the flare itself is the list. */
static void list_one(Ls *l)
{
	Row *r = g_new0(Row, 1);
	const char *name = path_name(l->path);

	r->ls = l;
	r->entry = (MagmaDirent){ .fid = l->attr.fid, .type = l->attr.mode & S_IFMT, .name = MAGMA_BYTES_STR(name) };
	r->name = g_strdup(name);
	g_ptr_array_add(l->rows, r);
	l->eof = TRUE;
	begin(l);
	ask_row(l, r);
}

static void on_resolved(void *user, int error, const MagmaAttr *attr, const MagmaFid *parent)
{
	Ls *l = user;

	if (l->task.session && error) {
		finish(l, error);
	} else if (l->task.session) {
		l->attr = *attr;
		if (S_ISDIR(attr->mode))
			next_batch(l);
		else
			list_one(l);
	}
	task_unref(&l->task);
}

static void ls_go(Task *t, MagmaClient *client)
{
	Ls *l = (Ls *)t;

	l->client = client;
	task_ref(t);
	magma_client_resolve(client, l->path, NULL, on_resolved, l);
}

static char *typed_path(ConsoleSession *s, const char *typed)
{
	char *path = path_join(s->cwd, typed);

	if (!path)
		session_error(s, NULL, ENAMETOOLONG, "the path is longer than 4096 bytes");
	return path;
}

gboolean cmd_ls(ConsoleSession *s, char **args)
{
	char *path = typed_path(s, args[0] ? args[0] : ".");

	if (!path)
		return TRUE;
	Ls *l = g_new0(Ls, 1);
	l->path = path;
	l->rows = g_ptr_array_new_with_free_func(row_free);
	task_begin(&l->task, s, ls_free);
	l->task.room = ls_room;
	task_enter_files(&l->task, ls_go);
	return FALSE;
}

gboolean cmd_pwd(ConsoleSession *s, char **args)
{
	if (s->json) {
		JsonBuilder *b = session_json_new();
		json_put_text(b, "path", s->cwd, strlen(s->cwd));
		session_json(s, b);
	} else {
		g_autofree char *clean = text_clean(s->cwd, strlen(s->cwd));
		session_answer(s, clean);
	}
	return TRUE;
}

typedef struct { Task task; char *path; } Cd;

static void cd_free(Task *t)
{
	g_free(((Cd *)t)->path);
	g_free(t);
}

static void on_cd_resolved(void *user, int error, const MagmaAttr *attr, const MagmaFid *parent)
{
	Cd *c = user;
	ConsoleSession *s = c->task.session;

	if (!error && !S_ISDIR(attr->mode))
		error = ENOTDIR;
	if (s && error) {
		session_error(s, c->path, error, magma_strerror(error));
	} else if (s) {
		g_free(s->cwd);
		s->cwd = g_strdup(c->path);
		session_ok(s);
	}
	if (s)
		task_finish(&c->task);
	task_unref(&c->task);
}

static void cd_go(Task *t, MagmaClient *client)
{
	task_ref(t);
	magma_client_resolve(client, ((Cd *)t)->path, NULL, on_cd_resolved, t);
}

gboolean cmd_cd(ConsoleSession *s, char **args)
{
	char *path = typed_path(s, args[0] ? args[0] : "/");

	if (!path)
		return TRUE;
	Cd *c = g_new0(Cd, 1);
	c->path = path;
	task_begin(&c->task, s, cd_free);
	task_enter_files(&c->task, cd_go);
	return FALSE;
}
