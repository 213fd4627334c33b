#include "tests/unit/client_kit.h"
#include <string.h>

void on_reply(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Result *r = user;

	r->done = TRUE;
	r->calls++;
	r->error = error;
	if (rep)
		r->rep = *rep;
}

guint64 getattr(MagmaClient *c, const MagmaFid *fid, Result *r)
{
	struct magma_req_getattr req = { .fid = *fid };

	return magma_client_call(c, MAGMA_OP_getattr, NULL, &req, NULL, on_reply, r);
}

guint64 mkdir_in_root(MagmaClient *c, const char *name, Result *r)
{
	g_autofree char *path = g_strconcat("/", name, NULL);
	struct magma_req_mkdir req = { .dir = magma_fid_root(), .key = magma_key_of_path(path, strlen(path)), .mode = 0755, .name = MAGMA_BYTES_STR(name) };

	return magma_client_call(c, MAGMA_OP_mkdir, NULL, &req, NULL, on_reply, r);
}


static Verdict trick(void *user, const Seen *s, guint32 *error)
{
	Trick *t = user;

	if (s->h.op != t->op || t->times == 0 || (t->only && s->at != t->only))
		return SERVE;
	t->times--;
	*error = t->error;
	return t->verdict;
}

void play(World *w, Trick *t)
{
	w->hook = trick;
	w->hook_user = t;
}

Flare *make_at(World *w, Fake *owner)
{
	for (guint i = 0;; i++) {
		g_autofree char *path = g_strdup_printf("/at%u-%u", owner->id, i);
		MagmaKey key = magma_key_of_path(path, strlen(path));
		if (world_owner(w, &key) == owner)
			return world_make(w, path, NULL, S_IFREG | 0644);
	}
}
