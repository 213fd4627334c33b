/* What mount.magma and the tools rely on: names, the end, and everything at once while volcanos lose, refuse, move, restart and vanish. */
#include "tests/unit/client_kit.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

/* Names. */

static void on_attr(void *user, int error, const MagmaAttr *attr)
{
	Result *r = user;

	r->done = TRUE;
	r->calls++;
	r->error = error;
	if (attr)
		r->attr = *attr;
}

static int lookup(World *w, MagmaClient *c, const MagmaFid *dir, const char *name, const char *guess, MagmaAttr *attr)
{
	Result r = { 0 };
	MagmaKey key = magma_key_of_path(guess, strlen(guess));

	magma_client_lookup(c, dir, name, strlen(name), &key, NULL, on_attr, &r);
	g_assert_true(run_until(w, &r.done, 2000));
	g_assert_cmpuint(r.calls, ==, 1);
	*attr = r.attr;
	return r.error;
}

static void test_lookup_guesses_in_parallel(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	MagmaFid root = magma_fid_root();
	Fake *far = w->fakes[world_owner(w, &root.key) == w->fakes[0]];
	Flare *f = make_at(w, far);
	g_autofree char *path = g_strconcat("/", f->name, NULL);
	MagmaAttr attr;

	/* a right guess needs no second round */
	g_assert_cmpint(lookup(w, c, &root, f->name, path, &attr), ==, 0);
	g_assert_cmpuint(attr.fid.ino, ==, f->attr.fid.ino);
	g_assert_cmpuint(world_count(w, MAGMA_OP_peek), ==, 1);
	g_assert_cmpuint(world_count(w, MAGMA_OP_getattr), ==, 0);
	/* a wrong one does */
	Flare *moved = world_make(w, "/renamed", path, S_IFREG | 0644);
	g_assert_cmpint(lookup(w, c, &root, "renamed", "/renamed", &attr), ==, 0);
	g_assert_cmpuint(attr.fid.ino, ==, moved->attr.fid.ino);
	g_assert_cmpuint(world_count(w, MAGMA_OP_getattr), ==, 1);
	/* two at one key are told apart by their ino */
	g_assert_cmpint(lookup(w, c, &root, f->name, path, &attr), ==, 0);
	g_assert_cmpuint(attr.fid.ino, ==, f->attr.fid.ino);
	g_assert_cmpint(lookup(w, c, &root, "renamed", path, &attr), ==, 0);
	g_assert_cmpuint(attr.fid.ino, ==, moved->attr.fid.ino);
	g_assert_cmpuint(world_count(w, MAGMA_OP_getattr), ==, 1);
	g_assert_cmpint(lookup(w, c, &root, "nothing", "/nothing", &attr), ==, ENOENT);
	magma_client_free(c);
	world_free(w);
}

/* An entry points to a flare that went away between two answers: the name is there all the time, so it must be found. */
static Verdict replace(void *user, const Seen *s, guint32 *error)
{
	World *w = user;

	if (s->h.op == MAGMA_OP_getattr && world_count(w, MAGMA_OP_getattr) == 0) {
		Flare *old = w->flares->pdata[w->flares->len - 1];
		old->attr.fid.ino = w->next_ino++;
		*error = ENOENT;
		return REFUSE;
	}
	return SERVE;
}

static void test_lookup_of_a_name_being_replaced_finds_it(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	MagmaFid root = magma_fid_root();
	Fake *far = w->fakes[world_owner(w, &root.key) == w->fakes[0]];
	Flare *at_far = make_at(w, far);
	g_autofree char *born = g_strconcat("/", at_far->name, NULL);
	MagmaAttr attr;

	world_make(w, "/replaced", born, S_IFREG | 0644);
	w->hook = replace;
	w->hook_user = w;
	g_assert_cmpint(lookup(w, c, &root, "replaced", "/replaced", &attr), ==, 0);
	g_assert_cmpuint(attr.fid.ino, ==, w->next_ino - 1);
	magma_client_free(c);
	world_free(w);
}

static void test_resolve_whole_paths(void)
{
	World *w = world_new(3);
	MagmaClient *c = world_client(w, FALSE);
	MagmaAttr attr;
	MagmaFid parent;

	world_make(w, "/a", NULL, S_IFDIR | 0755);
	world_make(w, "/a/b", NULL, S_IFDIR | 0755);
	Flare *cdir = world_make(w, "/a/b/c", NULL, S_IFDIR | 0755);
	Flare *file = world_make(w, "/a/b/c/file", NULL, S_IFREG | 0644);
	g_assert_cmpint(magma_client_resolve_sync(c, "/a//b/./c/file/", NULL, &attr, &parent), ==, 0);
	g_assert_cmpuint(attr.fid.ino, ==, file->attr.fid.ino);
	g_assert_cmpuint(parent.ino, ==, cdir->attr.fid.ino);
	g_assert_cmpuint(world_count(w, MAGMA_OP_getattr), ==, 0);
	g_assert_cmpuint(world_count(w, MAGMA_OP_lookup), ==, 4);
	/* a directory in the middle has been renamed: its key is that of its birth */
	world_make(w, "/a/new", "/a/old", S_IFDIR | 0755);
	Flare *deep = world_make(w, "/a/new/deep", "/a/old/deep", S_IFREG | 0644);
	g_assert_cmpint(magma_client_resolve_sync(c, "/a/new/deep", NULL, &attr, &parent), ==, 0);
	g_assert_cmpuint(attr.fid.ino, ==, deep->attr.fid.ino);
	g_assert_cmpint(magma_client_resolve_sync(c, "/", NULL, &attr, &parent), ==, 0);
	g_assert_cmpuint(attr.fid.ino, ==, MAGMA_ROOT_INO);
	g_assert_cmpint(magma_client_resolve_sync(c, "/a", NULL, &attr, &parent), ==, 0);
	g_assert_cmpint(magma_client_resolve_sync(c, "/a/b/nothing/more", NULL, &attr, &parent), ==, ENOENT);
	g_assert_cmpint(magma_client_resolve_sync(c, "a/b", NULL, &attr, &parent), ==, EINVAL);
	Trick t = { MAGMA_OP_lookup, 1, REFUSE, MAGMA_ENEEDGROUPS, NULL };
	play(w, &t);
	g_assert_cmpint(magma_client_resolve_sync(c, "/a", NULL, &attr, &parent), ==, MAGMA_ENEEDGROUPS);
	magma_client_free(c);
	world_free(w);
}

/* The end. */

static void test_free_cancels_and_says_goodbye(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	Trick t = { MAGMA_OP_getattr, 1, DROP, 0, NULL };
	Flare *f = make_at(w, w->fakes[1]);
	Result warm = { 0 }, pending = { 0 }, held = { 0 };
	MagmaFid root = magma_fid_root();
	MagmaTime began;

	getattr(c, &f->attr.fid, &warm);
	g_assert_true(run_until(w, &warm.done, 2000));
	play(w, &t);
	getattr(c, &root, &pending);
	magma_client_hold(c, &root, 0, NULL, on_reply, &held);
	began = magma_net_now();
	magma_client_free(c);
	g_assert_cmpint(magma_net_now() - began, <, 500 * 1000);
	g_assert_cmpint(pending.error, ==, ECANCELED);
	g_assert_cmpint(held.error, ==, ECANCELED);
	run_for(w, 50);
	g_assert_cmpuint(world_count(w, MAGMA_OP_goodbye), ==, 2);
	world_free(w);
}

static void on_reply_free(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	MagmaClient **c = user;

	if (*c)
		magma_client_free(g_steal_pointer(c));
}

static void test_free_from_inside_an_answer(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	struct magma_req_getattr req = { .fid = magma_fid_root() };

	magma_client_call(c, MAGMA_OP_getattr, NULL, &req, NULL, on_reply_free, &c);
	while (c)
		g_main_context_iteration(w->ctx, TRUE);
	run_for(w, 20);
	world_free(w);
}

static void test_cancel_of_what_was_never_sent(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	MagmaClient *fresh = magma_client_new(w->ctx, &cfg, NULL);
	MagmaFid root = magma_fid_root();
	Result sent = { 0 }, unsent = { 0 };

	guint64 xid = getattr(fresh, &root, &unsent);
	magma_client_cancel(fresh, xid);
	g_assert_true(unsent.done);
	g_assert_cmpint(unsent.error, ==, EINTR);
	xid = getattr(c, &root, &sent);
	magma_client_cancel(c, xid);
	g_assert_false(sent.done);
	g_assert_true(run_until(w, &sent.done, 2000));
	g_assert_cmpint(sent.error, ==, 0);
	magma_client_free(fresh);
	magma_client_free(c);
	world_free(w);
}

/* Everything at once, by chance; --seed repeats a run. */

typedef struct {
	guint lose, restarts, rotations;      /* left to do */
	gboolean calm;
} Chaos;

static Verdict chaos(void *user, const Seen *s, guint32 *error)
{
	Chaos *ch = user;
	gboolean by_client = s->h.op != MAGMA_OP_hello && s->h.op != MAGMA_OP_map;

	if (ch->calm || !by_client)
		return SERVE;
	gint dice = g_test_rand_int_range(0, 100);
	if (dice < 4 && ch->lose) {
		ch->lose--;
		return dice < 2 ? DROP : SERVE_AND_LOSE_REPLY;
	}
	*error = dice < 14 ? MAGMA_ETRYAGAIN : MAGMA_EMAP;
	return dice < 20 ? REFUSE : SERVE;
}

#define CHAOS_CALLS 400
#define CHAOS_FLARES 8

static void test_chaos_answers_everything_once(void)
{
	World *w = world_new(3);
	MagmaClient *c = world_client(w, g_test_rand_bit());
	Chaos ch = { .lose = 6, .restarts = 3, .rotations = 3 };
	g_autofree Result *r = g_new0(Result, CHAOS_CALLS);
	Flare *flares[CHAOS_FLARES];
	guint held[CHAOS_FLARES] = { 0 };
	guint handles[CHAOS_FLARES] = { 0 };  /* held and answered */
	gint hold_of[CHAOS_CALLS];
	guint mkdirs = 0;

	for (guint i = 0; i < CHAOS_FLARES; i++)
		flares[i] = make_at(w, w->fakes[i % 3]);
	w->hook = chaos;
	w->hook_user = &ch;
	for (guint i = 0; i < CHAOS_CALLS; i++) {
		guint which = (guint)g_test_rand_int_range(0, CHAOS_FLARES);
		hold_of[i] = -1;
		for (guint j = 0; j < i; j++)
			if (hold_of[j] >= 0 && r[j].done) {
				handles[hold_of[j]]++;
				hold_of[j] = -1;
			}
		switch (g_test_rand_int_range(0, 4)) {
		case 0: {
			g_autofree char *name = g_strdup_printf("chaos%u", i);
			mkdir_in_root(c, name, &r[i]);
			mkdirs++;
			break;
		}
		case 1:
			magma_client_hold(c, &flares[which]->attr.fid, 0, NULL, on_reply, &r[i]);
			hold_of[i] = (gint)which;
			held[which]++;
			break;
		case 2:
			/* only what was answered can be given back */
			if (held[which] && handles[which]) {
				held[which]--;
				handles[which]--;
				magma_client_unhold(c, &flares[which]->attr.fid);
			}
			getattr(c, &flares[which]->attr.fid, &r[i]);
			break;
		default:
			getattr(c, &flares[which]->attr.fid, &r[i]);
		}
		if (ch.restarts && g_test_rand_int_range(0, 100) == 0) {
			ch.restarts--;
			fake_restart(w->fakes[g_test_rand_int_range(0, 3)]);
		}
		if (ch.rotations && g_test_rand_int_range(0, 100) == 0) {
			ch.rotations--;
			world_rotate(w);
		}
		if (g_test_rand_int_range(0, 4) == 0)
			run_for(w, 1);
	}
	ch.calm = TRUE;
	for (guint i = 0; i < CHAOS_CALLS; i++) {
		g_assert_true(run_until(w, &r[i].done, 15000));
		g_assert_cmpint(r[i].error, ==, 0);
	}
	/* what is held is open where it is now, and nothing else is */
	guint open = 0, there = 0;
	for (guint i = 0; i < CHAOS_FLARES; i++)
		open += held[i] > 0;
	/* a restart behind a proxy shows only by the next keepalive */
	for (guint tries = 0; tries < 800 && there != open; tries++) {
		run_for(w, 10);
		there = 0;
		for (guint i = 0; i < CHAOS_FLARES; i++)
			there += g_hash_table_contains(world_owner(w, &flares[i]->attr.fid.key)->opens, GSIZE_TO_POINTER(flares[i]->attr.fid.ino));
	}
	g_assert_cmpuint(there, ==, open);
	guint executed = 0;
	for (guint i = 0; i < w->n; i++)
		executed += w->fakes[i]->executed;
	g_assert_cmpuint(executed, ==, mkdirs);
	for (guint i = 0; i < CHAOS_FLARES; i++)
		for (; held[i]; held[i]--)
			magma_client_unhold(c, &flares[i]->attr.fid);
	for (guint tries = 0; tries < 400 && there; tries++) {
		run_for(w, 10);
		there = 0;
		for (guint i = 0; i < CHAOS_FLARES; i++)
			there += g_hash_table_contains(world_owner(w, &flares[i]->attr.fid.key)->opens, GSIZE_TO_POINTER(flares[i]->attr.fid.ino));
	}
	g_assert_cmpuint(there, ==, 0);
	for (guint i = 0; i < CHAOS_CALLS; i++)
		g_assert_cmpuint(r[i].calls, ==, 1);
	magma_client_free(c);
	world_free(w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/client/" #name, test_##name)
	T(lookup_guesses_in_parallel);
	T(lookup_of_a_name_being_replaced_finds_it);
	T(resolve_whole_paths);
	T(free_cancels_and_says_goodbye);
	T(free_from_inside_an_answer);
	T(cancel_of_what_was_never_sent);
	T(chaos_answers_everything_once);
	return g_test_run();
}
