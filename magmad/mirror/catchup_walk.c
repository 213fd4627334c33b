/* When more contents may differ than the owner remembers one by one (Copy.todo): all of them are compared, and what is remembered is how far. By folder of the content stores (the first two bytes of keys), so
 * that what only the copy has, because it was dropped meanwhile, is found too: the owner's list of some folders, then the copy's of the same ones, and each name on either goes into todo. */
#include "magmad/mirror/owner-inside.h"

typedef struct {
	Owner *o;
	guint64 attempt;
	guint listing;
} Ticket;

guint catchup_folder(const MagmaFid *fid) { return fid->key.b[0] << 8 | fid->key.b[1]; }

/* From the first folder on, whatever was compared before. */
void catchup_walk_begin(Copy *c)
{
	c->walking = TRUE;
	c->walk_folder = 0;
	c->walk_upto = 0;
}

void catchup_walk_stop(Copy *c)
{
	if (c->walk_call)
		c->o->cfg.io->cancel(c->o->cfg.user, c->walk_call);
	c->walk_call = NULL;
	c->walk_reading = FALSE;
	c->walk_listing++;            /* what the store still lists is for nobody */
	c->walk_upto = 0;             /* these folders are listed again */
}

static void folders_done(Copy *c)
{
	c->walk_folder = c->walk_upto;
	c->walk_upto = 0;
	c->walking = c->walk_folder < STORE_FOLDERS;
}

static void ask_copy(Copy *c);

static void copy_listed(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Copy *c = user;
	Owner *o = owner_ref(c->o);

	c->walk_call = NULL;
	if (!copy_answer_bad(c, error, rep ? rep->rep_mirror_contents.error : 0, rep ? rep->rep_mirror_contents.epoch : 0, "list of contents")) {
		const struct magma_rep_mirror_contents *a = &rep->rep_mirror_contents;
		MagmaReader r = magma_reader(a->fids.data, a->fids.len);
		c->heard = o->cfg.io->now(o->cfg.user);
		while (r.left && !r.error) {
			MagmaFid fid = magma_get_fid(&r);
			if (!r.error && catchup_folder(&fid) < c->walk_upto)
				catchup_todo_listed(c, &fid);
		}
		catchup_compared(c, a->fids.len);
		c->walk_at = a->next > c->walk_at ? a->next : STORE_FOLDERS;
		if (c->walk_at < c->walk_upto)
			ask_copy(c);
		else
			folders_done(c);
		owner_update(o);
	}
	owner_unref(o);
}

static void ask_copy(Copy *c)
{
	struct magma_req_mirror_contents q = { .slice = c->o->cfg.slice, .epoch = c->o->epoch, .stream = c->stream, .folder = c->walk_at };

	c->walk_call = c->o->cfg.io->call(c->o->cfg.user, c->volcano, MAGMA_OP_mirror_contents, &q, NULL, 0, copy_listed, c);
}

static void owner_listed(void *user, int error, const MagmaFid *fids, guint n, guint next)
{
	g_autofree Ticket *t = user;
	Copy *c = owner_attempt(t->o, t->attempt);

	if (c && t->listing == c->walk_listing) {
		c->walk_reading = FALSE;
		for (guint i = 0; i < n && !error; i++)
			catchup_todo_listed(c, &fids[i]);
		c->walk_at = c->walk_folder;
		c->walk_upto = MIN(next > c->walk_folder ? next : STORE_FOLDERS, STORE_FOLDERS);
		if (error)
			copy_unread(c, error, "the contents cannot be listed");
	}
	owner_unref(t->o);
}

void catchup_walk(Copy *c)
{
	if (!c->walking || c->walk_reading || c->walk_call)
		return;
	if (c->walk_upto) {           /* what was begun before is at the copy when it lists what it has: a content may be made there by what failed here */
		if (c->acked_seq >= c->walk_seq)
			ask_copy(c);
		return;
	}
	Ticket *t = g_new(Ticket, 1);
	*t = (Ticket){ owner_ref(c->o), c->attempt, c->walk_listing };
	c->walk_reading = TRUE;
	c->walk_seq = feed_end(&c->o->feed);
	store_content_list(c->o->local, c->walk_folder, owner_listed, t);
}
