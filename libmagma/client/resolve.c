/* A whole path: the flares of all its prefixes are asked for by their guessed keys at once, then the entries in all those directories at once. Where
 * nothing above was renamed that is two round trips for any depth; from the first wrong guess on it goes name by name. */
#include "libmagma/client/client-internal.h"
#include "libmagma/client/path.h"
#include <errno.h>
#include <string.h>

typedef struct Resolve Resolve;

typedef struct {
	Resolve *r;
	const char *name;             /* in path */
	gsize len;
	MagmaKey key;                 /* guessed: of the path up to and with this name */
	GBytes *peeked;               /* keeps attrs alive */
	MagmaBytes attrs;
	gboolean asked;               /* LOOKUP of name in dir */
	MagmaFid dir, child;
	int error;
	gboolean has_attr;
	MagmaAttr attr;
} Step;

struct Resolve {
	MagmaClient *c;
	char *path;
	MagmaCred cred;
	guint8 *groups;
	Step *steps;
	guint n, at, pending;
	MagmaFid dir;                 /* of steps[at], when going name by name */
	MagmaResolveFn done;
	void *user;
};

static void resolve_end(Resolve *r, int error, const MagmaAttr *attr, const MagmaFid *parent)
{
	r->done(r->user, error, error ? NULL : attr, error ? NULL : parent);
	for (guint i = 0; i < r->n; i++)
		if (r->steps[i].peeked)
			g_bytes_unref(r->steps[i].peeked);
	g_free(r->steps);
	g_free(r->groups);
	g_free(r->path);
	g_free(r);
}

/* From here on one name after the other. */

static void next_name(Resolve *r);

static void on_name(void *user, int error, const MagmaAttr *attr)
{
	Resolve *r = user;

	if (error || r->at + 1 == r->n) {
		MagmaFid parent = r->dir;
		resolve_end(r, error, attr, &parent);
		return;
	}
	r->dir = attr->fid;
	r->at++;
	next_name(r);
}

static void next_name(Resolve *r)
{
	Step *s = &r->steps[r->at];

	magma_client_lookup(r->c, &r->dir, s->name, s->len, &s->key, &r->cred, on_name, r);
}

/* The answers to the guesses, put together. */

static void on_attr(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Resolve *r = user;

	if (error == ENOENT || error == ESTALE) {
		next_name(r);         /* replaced meanwhile: the last name once more, with all care */
		return;
	}
	MagmaFid parent = r->dir;
	resolve_end(r, error, rep ? &rep->rep_getattr.attr : NULL, &parent);
}

static gboolean peeked_attr(const Step *s, guint64 ino, MagmaAttr *attr)
{
	MagmaReader rd = magma_reader(s->attrs.data, s->attrs.len);

	while (rd.left && !rd.error) {
		magma_get_attr(&rd, attr);
		if (!rd.error && attr->fid.ino == ino)
			return TRUE;
	}
	return FALSE;
}

static void walk(Resolve *r)
{
	r->dir = magma_fid_root();
	for (r->at = 0; r->at < r->n; r->at++) {
		Step *s = &r->steps[r->at];
		if (!s->asked || !magma_fid_equal(&s->dir, &r->dir)) {
			next_name(r);
			return;
		}
		if (s->error) {
			resolve_end(r, s->error, NULL, NULL);
			return;
		}
		if (r->at + 1 < r->n) {
			r->dir = s->child;
			continue;
		}
		if (s->has_attr || peeked_attr(s, s->child.ino, &s->attr)) {
			MagmaAttr attr = s->attr;
			MagmaFid parent = r->dir;
			resolve_end(r, 0, &attr, &parent);
			return;
		}
		struct magma_req_getattr req = { .fid = s->child };
		magma_client_call(r->c, MAGMA_OP_getattr, &r->cred, &req, NULL, on_attr, r);
		return;
	}
}

static void answered(Resolve *r)
{
	if (--r->pending == 0)
		walk(r);
}

static void on_lookup(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Step *s = user;

	s->error = error;
	if (!error) {
		s->child = rep->rep_lookup.child;
		s->has_attr = rep->rep_lookup.has_attr;
		s->attr = rep->rep_lookup.attr;
	}
	answered(s->r);
}

static void ask_entry(Step *s, const MagmaFid *dir)
{
	struct magma_req_lookup req = { .dir = *dir, .name = MAGMA_BYTES(s->name, s->len) };

	s->asked = TRUE;
	s->dir = *dir;
	s->r->pending++;
	magma_client_call(s->r->c, MAGMA_OP_lookup, &s->r->cred, &req, NULL, on_lookup, s);
}

/* The one directory born at that key, if there is just one: the next name is looked up there. */
static gboolean guessed_dir(const Step *s, MagmaFid *dir)
{
	MagmaReader rd = magma_reader(s->attrs.data, s->attrs.len);
	guint found = 0;

	while (rd.left && !rd.error) {
		MagmaAttr attr;
		magma_get_attr(&rd, &attr);
		if (!rd.error && S_ISDIR(attr.mode)) {
			*dir = attr.fid;
			found++;
		}
	}
	return found == 1;
}

static void on_peek(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Step *s = user;
	MagmaFid dir;

	if (!error) {
		s->peeked = g_bytes_ref(msg);
		s->attrs = rep->rep_peek.attrs;
		if (s + 1 < s->r->steps + s->r->n && guessed_dir(s, &dir))
			ask_entry(s + 1, &dir);
	}
	answered(s->r);
}

static void ask_all(Resolve *r)
{
	MagmaFid root = magma_fid_root();

	r->pending = 1;       /* this function */
	ask_entry(&r->steps[0], &root);
	for (guint i = 0; i < r->n; i++) {
		struct magma_req_peek req = { .key = r->steps[i].key };
		r->pending++;
		magma_client_call(r->c, MAGMA_OP_peek, &r->cred, &req, NULL, on_peek, &r->steps[i]);
	}
	answered(r);
}

static void on_root(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	MagmaFid root = magma_fid_root();

	resolve_end(user, error, rep ? &rep->rep_getattr.attr : NULL, &root);
}

static void split(Resolve *r)
{
	const char *path = r->path;

	r->n = 0;
	if (path[1] == '\0')
		return;
	for (const char *p = path; *p; p++)
		r->n += *p == '/';
	r->steps = g_new0(Step, r->n);
	const char *p = path;
	for (guint i = 0; i < r->n; i++) {
		Step *s = &r->steps[i];
		s->r = r;
		s->name = p + 1;
		s->len = strcspn(s->name, "/");
		p = s->name + s->len;
		s->key = magma_key_of_path(path, (gsize)(p - path));
	}
}

void magma_client_resolve(MagmaClient *c, const char *path, const MagmaCred *cred, MagmaResolveFn done, void *user)
{
	g_autoptr(GError) error = NULL;
	char *normal = c->closing ? NULL : magma_path_normalise(path, &error);

	if (!normal) {
		done(user, error ? error->code : ECANCELED, NULL, NULL);
		return;
	}
	client_enter(c);
	Resolve *r = g_new0(Resolve, 1);
	r->c = c;
	r->path = normal;
	r->done = done;
	r->user = user;
	if (cred)
		r->cred = *cred;
	if (r->cred.ngroups)
		r->cred.groups_be = r->groups = g_memdup2(r->cred.groups_be, 4 * (gsize)r->cred.ngroups);
	split(r);
	r->dir = magma_fid_root();
	if (r->n == 0) {
		struct magma_req_getattr req = { .fid = r->dir };
		magma_client_call(c, MAGMA_OP_getattr, &r->cred, &req, NULL, on_root, r);
	} else if (r->n == 1) {
		next_name(r);
	} else {
		ask_all(r);
	}
	client_leave(c);
}

typedef struct {
	gboolean answered;
	int error;
	MagmaAttr *attr;
	MagmaFid *parent;
} Answer;

static void on_resolved(void *user, int error, const MagmaAttr *attr, const MagmaFid *parent)
{
	Answer *a = user;

	a->answered = TRUE;
	a->error = error;
	if (!error && a->attr)
		*a->attr = *attr;
	if (!error && a->parent)
		*a->parent = *parent;
}

int magma_client_resolve_sync(MagmaClient *c, const char *path, const MagmaCred *cred, MagmaAttr *attr, MagmaFid *parent)
{
	Answer a = { .attr = attr, .parent = parent };

	magma_client_resolve(c, path, cred, on_resolved, &a);
	while (!a.answered)
		g_main_context_iteration(c->ctx, TRUE);
	return a.error;
}
