/* One name to attributes: the entry from the parent's owner and the flare from the owner of the guessed key, in parallel. */
#include "libmagma/client/client-internal.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <string.h>

/* An entry that points to a flare already gone: the name was replaced between two answers. So often in a row only on purpose. */
#define TRIES_MAX 16

typedef struct {
	MagmaClient *c;
	MagmaFid dir;
	char name[MAGMA_NAME_MAX];
	gsize len;
	MagmaCred cred;
	guint8 *groups;
	guint tries;
	guint pending;                /* answers that still come here */
	gboolean decided;
	gboolean have_child, peeking;
	MagmaFid child;
	GBytes *peeked;               /* keeps attrs alive */
	MagmaBytes attrs;
	void (*done)(void *user, int error, const MagmaAttr *attr);
	void *user;
} Lookup;

static void lookup_unref(Lookup *l)
{
	if (l->pending)
		return;
	if (l->peeked)
		g_bytes_unref(l->peeked);
	g_free(l->groups);
	g_free(l);
}

static void decide(Lookup *l, int error, const MagmaAttr *attr)
{
	l->decided = TRUE;
	l->done(l->user, error, error ? NULL : attr);
}

static gboolean find_peeked(const Lookup *l, MagmaAttr *attr)
{
	MagmaReader r = magma_reader(l->attrs.data, l->attrs.len);

	while (r.left && !r.error) {
		magma_get_attr(&r, attr);
		if (!r.error && attr->fid.ino == l->child.ino)
			return TRUE;
	}
	return FALSE;
}

static void ask_entry(Lookup *l);

static void on_getattr(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Lookup *l = user;

	l->pending--;
	if ((error == ENOENT || error == ESTALE) && ++l->tries < TRIES_MAX)
		ask_entry(l);
	else
		decide(l, error, rep ? &rep->rep_getattr.attr : NULL);
	lookup_unref(l);
}

/* The entry is known and brought no attributes: those of the guess, if it was right, else they are asked for. */
static void complete(Lookup *l)
{
	struct magma_req_getattr req = { .fid = l->child };
	MagmaAttr attr;

	if (find_peeked(l, &attr)) {
		decide(l, 0, &attr);
		return;
	}
	l->pending++;
	call_new(l->c, TO_KEY, NULL, MAGMA_OP_getattr, &l->cred, &req, NULL, on_getattr, l);
}

static void on_entry(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Lookup *l = user;

	l->pending--;
	if (error) {
		decide(l, error, NULL);
	} else if (rep->rep_lookup.has_attr) {
		decide(l, 0, &rep->rep_lookup.attr);
	} else {
		l->child = rep->rep_lookup.child;
		l->have_child = TRUE;
		if (!l->peeking)
			complete(l);
	}
	lookup_unref(l);
}

static void ask_entry(Lookup *l)
{
	struct magma_req_lookup req = { .dir = l->dir, .name = MAGMA_BYTES(l->name, l->len) };

	l->have_child = FALSE;
	l->pending++;
	call_new(l->c, TO_KEY, NULL, MAGMA_OP_lookup, &l->cred, &req, NULL, on_entry, l);
}

static void on_peek(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Lookup *l = user;

	l->pending--;
	l->peeking = FALSE;
	if (!error && !l->decided) {
		l->peeked = g_bytes_ref(msg);
		l->attrs = rep->rep_peek.attrs;
	}
	if (l->have_child && !l->decided)
		complete(l);
	lookup_unref(l);
}

static void ask_guess(Lookup *l, const MagmaKey *guess)
{
	struct magma_req_peek req = { .key = *guess };

	l->peeking = TRUE;
	l->pending++;
	call_new(l->c, TO_KEY, NULL, MAGMA_OP_peek, &l->cred, &req, NULL, on_peek, l);
}

/* The same volcano answers both with one LOOKUP. */
static gboolean worth_guessing(const MagmaClient *c, const MagmaKey *dir, const MagmaKey *guess)
{
	const MagmaVolcano *a = guess && c->map ? magma_map_route(c->map, dir) : NULL;

	return a && magma_map_route(c->map, guess) != a;
}

void magma_client_lookup(MagmaClient *c, const MagmaFid *dir, const char *name, gsize len, const MagmaKey *guess, const MagmaCred *cred,
	void (*done)(void *user, int error, const MagmaAttr *attr), void *user)
{
	int error = c->closing ? ECANCELED : len > MAGMA_NAME_MAX ? ENAMETOOLONG : !magma_name_valid((const guint8 *)name, len) ? EINVAL : 0;

	if (error) {
		done(user, error, NULL);
		return;
	}
	client_enter(c);
	Lookup *l = g_new0(Lookup, 1);
	l->c = c;
	l->dir = *dir;
	l->len = len;
	memcpy(l->name, name, len);
	l->done = done;
	l->user = user;
	if (cred)
		l->cred = *cred;
	if (l->cred.ngroups)
		l->cred.groups_be = l->groups = g_memdup2(l->cred.groups_be, 4 * (gsize)l->cred.ngroups);
	l->pending = 1;       /* this function: answers may come before it ends */
	ask_entry(l);
	if (!l->decided && worth_guessing(c, &dir->key, guess))
		ask_guess(l, guess);
	l->pending--;
	lookup_unref(l);
	client_leave(c);
}
