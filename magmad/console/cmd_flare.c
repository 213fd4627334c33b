/* What is done with one flare: cat, inspect, erase. */
#include "magmad/console/path.h"
#include "magmad/console/session.h"
#include "magmad/console/text.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define CAT_BYTES (128u << 10)        /* a read; with it the output stays well below its limit */

typedef struct {
	Task task;
	char *path;
	MagmaClient *client;
	MagmaAttr attr;
	MagmaFid parent;
	void (*resolved)(Task *t);    /* attr and parent are there */
	/* cat */
	Files *files;
	gboolean held, begun, paused;
	guint64 offset;
	gint b64_state, b64_save;
	char last;
} Flare;

static void flare_free(Task *t)
{
	Flare *f = (Flare *)t;

	g_free(f->path);
	g_free(f);
}

static void flare_fail(Flare *f, int error)
{
	session_error(f->task.session, f->path, error, magma_strerror(error));
	task_finish(&f->task);
}

static void on_resolved(void *user, int error, const MagmaAttr *attr, const MagmaFid *parent)
{
	Flare *f = user;

	if (f->task.session && error) {
		flare_fail(f, error);
	} else if (f->task.session) {
		f->attr = *attr;
		if (parent)
			f->parent = *parent;
		f->resolved(&f->task);
	}
	task_unref(&f->task);
}

static void flare_go(Task *t, MagmaClient *client)
{
	Flare *f = (Flare *)t;

	f->client = client;
	f->files = t->files;
	task_ref(t);
	magma_client_resolve(client, f->path, NULL, on_resolved, f);
}

static gboolean flare_begin(ConsoleSession *s, const char *typed, void (*resolved)(Task *t), void (*free)(Task *t))
{
	char *path = path_join(s->cwd, typed);

	if (!path) {
		session_error(s, NULL, ENAMETOOLONG, "the path is longer than 4096 bytes");
		return TRUE;
	}
	Flare *f = g_new0(Flare, 1);
	f->path = path;
	f->resolved = resolved;
	task_begin(&f->task, s, free);
	task_enter_files(&f->task, flare_go);
	return FALSE;
}

/* ---- cat ---- */

static void cat_free(Task *t)
{
	Flare *f = (Flare *)t;

	/* on the console's way down there is no client any more, nor its opens */
	if (f->held && files_client(f->files) == f->client)
		magma_client_unhold(f->client, &f->attr.fid);
	flare_free(t);
}

static void cat_next(Flare *f);

static void cat_print(Flare *f, const guint8 *p, gsize n)
{
	ConsoleSession *s = f->task.session;

	if (!s->json) {
		session_stream(s, (const char *)p, n);
		f->last = n ? (char)p[n - 1] : f->last;
		return;
	}
	g_autofree char *text = g_malloc(n / 3 * 4 + 8);
	gsize len = g_base64_encode_step(p, n, FALSE, text, &f->b64_state, &f->b64_save);
	session_stream(s, text, len);
}

static void cat_begin(Flare *f)
{
	ConsoleSession *s = f->task.session;

	f->begun = TRUE;
	session_stream(s, "\n", 1);
	if (!s->json)
		return;
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_put_text(b, "path", f->path, strlen(f->path));
	g_autofree char *head = json_take_line(b);
	session_stream(s, head, strlen(head) - 1);              /* open again: data of any size follows */
	session_stream(s, ",\"encoding\":\"base64\",\"data\":\"", 29);
}

/* error may come in the middle of a long file. */
static void cat_end(Flare *f, int error)
{
	ConsoleSession *s = f->task.session;
	char rest[8];

	if (!f->begun) {
		flare_fail(f, error);
		return;
	}
	if (s->json) {
		session_stream(s, rest, g_base64_encode_close(FALSE, rest, &f->b64_state, &f->b64_save));
		g_autofree char *tail = g_strdup_printf("\",\"size\":%" G_GUINT64_FORMAT ",\"errno\":%d,\"ok\":%s}\n\n", f->offset, error, error ? "false" : "true");
		session_stream(s, tail, strlen(tail));
		task_finish(&f->task);
		return;
	}
	session_stream(s, "\n\n", f->last == '\n' || f->offset == 0 ? 1 : 2);
	if (error)
		flare_fail(f, error);
	else
		task_finish(&f->task);
}

static void on_read(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Flare *f = user;

	if (f->task.session && error) {
		cat_end(f, error);
	} else if (f->task.session) {
		const MagmaBytes *data = &rep->rep_read.data;
		if (!f->begun)
			cat_begin(f);
		cat_print(f, data->data, data->len);
		f->offset += data->len;
		if (data->len == 0)
			cat_end(f, 0);
		else if (session_has_room(f->task.session))
			cat_next(f);
		else
			f->paused = TRUE;
	}
	task_unref(&f->task);
}

static void cat_next(Flare *f)
{
	struct magma_req_read req = { .fid = f->attr.fid, .offset = f->offset, .size = CAT_BYTES };

	task_ref(&f->task);
	magma_client_call(f->client, MAGMA_OP_read, NULL, &req, NULL, on_read, f);
}

static void cat_room(Task *t)
{
	Flare *f = (Flare *)t;

	if (f->paused) {
		f->paused = FALSE;
		cat_next(f);
	}
}

static void on_held(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Flare *f = user;

	f->held = error == 0;
	if (f->task.session && error)
		cat_end(f, error);
	else if (f->task.session)
		cat_next(f);
	task_unref(&f->task);
}

static void cat_resolved(Task *t)
{
	Flare *f = (Flare *)t;

	if (S_ISDIR(f->attr.mode)) {
		flare_fail(f, EISDIR);
	} else if (!S_ISREG(f->attr.mode)) {
		g_autofree char *text = g_strdup_printf("is a %s: only regular files have contents", text_type(f->attr.mode));
		session_error(t->session, f->path, EINVAL, text);
		task_finish(t);
	} else {
		task_ref(t);
		magma_client_hold(f->client, &f->attr.fid, O_RDONLY, NULL, on_held, f);
	}
}

gboolean cmd_cat(ConsoleSession *s, char **args)
{
	gboolean done = flare_begin(s, args[0], cat_resolved, cat_free);

	if (!done && s->task)
		s->task->room = cat_room;
	return done;
}

/* ---- inspect ---- */

static const char *owner_name(Flare *f, const MagmaKey *key)
{
	const MagmaVolcano *v = magma_map_route(magma_client_map(f->client), key);

	return v ? v->name : "nobody";
}

/* The inside of the parentheses. ino only where it is asked for: people look at it for the flare itself. */
static char *describe(const MagmaAttr *a, gboolean ino)
{
	g_autofree char *tail = ino ? g_strdup_printf(", ino=%" G_GUINT64_FORMAT, a->fid.ino) : g_strdup("");

	return g_strdup_printf("%s, uid=%u, gid=%u, %s=%" G_GUINT64_FORMAT "%s", text_type(a->mode), a->uid, a->gid, S_ISDIR(a->mode) ? "entries" : "size", a->size, tail);
}

static void append_flare(GString *out, Flare *f, const char *label, const char *path, const MagmaAttr *a, gboolean ino)
{
	g_autofree char *clean = text_clean(path, strlen(path)), *what = describe(a, ino);
	char key[MAGMA_KEY_HEX];

	g_string_append_printf(out, "%8s: %s (%s)\n%10s%s on %s (1 copy)\n", label, clean, what, "", magma_key_to_hex(&a->fid.key, key), owner_name(f, &a->fid.key));
}

static void put_flare(JsonBuilder *b, Flare *f, const char *member, const char *path, const MagmaAttr *a)
{
	const char *owner = owner_name(f, &a->fid.key);
	char key[MAGMA_KEY_HEX];

	json_builder_set_member_name(b, member);
	json_builder_begin_object(b);
	json_put_text(b, "path", path, strlen(path));
	json_put_text(b, "type", text_type(a->mode), strlen(text_type(a->mode)));
	json_put_int(b, "mode", a->mode & 07777);
	json_put_int(b, "uid", a->uid);
	json_put_int(b, "gid", a->gid);
	json_put_int(b, S_ISDIR(a->mode) ? "entries" : "size", a->size);
	json_put_int(b, "nlink", a->nlink);
	json_put_int(b, "ino", a->fid.ino);
	json_put_text(b, "key", magma_key_to_hex(&a->fid.key, key), MAGMA_KEY_HEX - 1);
	json_put_text(b, "owner", owner, strlen(owner));
	json_put_int(b, "copies", magma_client_map(f->client)->copies_kept);
	json_builder_end_object(b);
}

static void inspect_show(Flare *f, const MagmaAttr *parent)
{
	ConsoleSession *s = f->task.session;
	g_autofree char *up = path_parent(f->path);

	if (s->json) {
		JsonBuilder *b = session_json_new();
		put_flare(b, f, "flare", f->path, &f->attr);
		if (parent)
			put_flare(b, f, "parent", up, parent);
		session_json(s, b);
	} else {
		g_autoptr(GString) out = g_string_new("");
		append_flare(out, f, "flare", f->path, &f->attr, TRUE);
		if (parent)
			append_flare(out, f, "parent", up, parent, FALSE);
		session_answer(s, out->str);
	}
	task_finish(&f->task);
}

static void on_parent(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Flare *f = user;

	if (f->task.session && error)
		flare_fail(f, error);
	else if (f->task.session)
		inspect_show(f, &rep->rep_getattr.attr);
	task_unref(&f->task);
}

static gboolean is_root(const Flare *f) { return g_str_equal(f->path, "/"); }

static void inspect_resolved(Task *t)
{
	Flare *f = (Flare *)t;
	struct magma_req_getattr req = { .fid = f->parent };

	if (is_root(f)) {
		inspect_show(f, NULL);
		return;
	}
	task_ref(t);
	magma_client_call(f->client, MAGMA_OP_getattr, NULL, &req, NULL, on_parent, f);
}

gboolean cmd_inspect(ConsoleSession *s, char **args) { return flare_begin(s, args[0], inspect_resolved, flare_free); }

/* ---- erase ---- */

static void on_erased(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Flare *f = user;
	ConsoleSession *s = f->task.session;

	g_message("console: erase %s: %s", f->path, error ? magma_strerror(error) : "done");
	if (s && error) {
		flare_fail(f, error);
	} else if (s) {
		g_autofree char *clean = text_clean(f->path, strlen(f->path));
		if (s->json)
			session_ok(s);
		else
			session_answerf(s, "%s is erased", clean);
		task_finish(&f->task);
	}
	task_unref(&f->task);
}

static void erase_resolved(Task *t)
{
	Flare *f = (Flare *)t;
	const char *name = path_name(f->path);
	struct magma_req_unlink file = { .dir = f->parent, .name = MAGMA_BYTES_STR(name) };
	struct magma_req_rmdir dir = { .dir = f->parent, .name = MAGMA_BYTES_STR(name) };
	gboolean is_dir = S_ISDIR(f->attr.mode);

	if (is_root(f)) {
		session_error(t->session, f->path, EBUSY, "the root of the network cannot be erased");
		task_finish(t);
		return;
	}
	task_ref(t);
	magma_client_call(f->client, is_dir ? MAGMA_OP_rmdir : MAGMA_OP_unlink, NULL, is_dir ? (const void *)&dir : &file, NULL, on_erased, f);
}

gboolean cmd_erase(ConsoleSession *s, char **args) { return flare_begin(s, args[0], erase_resolved, flare_free); }
