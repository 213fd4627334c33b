/* What is open stays open, wherever it is by now, and nothing else does. */
#include "tests/unit/client_kit.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

static void test_opens_are_reasserted_after_a_restart(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	Flare *a = make_at(w, w->fakes[0]), *b = make_at(w, w->fakes[1]);
	Result ra = { 0 }, rb = { 0 }, use = { 0 };

	magma_client_hold(c, &a->attr.fid, 0, NULL, on_reply, &ra);
	magma_client_hold(c, &b->attr.fid, 0, NULL, on_reply, &rb);
	g_assert_true(run_until(w, &ra.done, 2000));
	g_assert_true(run_until(w, &rb.done, 2000));
	Trick slow = { MAGMA_OP_reopen, 3, REFUSE, MAGMA_ETRYAGAIN, NULL };
	play(w, &slow);
	fake_restart(w->fakes[0]);
	guint before = w->seen->len;
	getattr(c, &a->attr.fid, &use);
	g_assert_true(run_until(w, &use.done, 8000));
	/* before anything else is asked of it */
	const Seen *last = &g_array_index(w->seen, Seen, w->seen->len - 1);
	g_assert_cmpint(last->h.op, ==, MAGMA_OP_getattr);
	for (guint i = before; i + 1 < w->seen->len; i++)
		g_assert_cmpint(g_array_index(w->seen, Seen, i).h.op, !=, MAGMA_OP_getattr);
	g_assert_true(g_hash_table_contains(w->fakes[0]->opens, GSIZE_TO_POINTER(a->attr.fid.ino)));
	g_assert_cmpuint(w->fakes[0]->reopened, ==, 1);
	g_assert_cmpuint(w->fakes[1]->reopened, ==, 0);
	magma_client_free(c);
	world_free(w);
}

/* The owner of the new flare is another volcano than the one that answers; what it was told of the open by the latter dies with it. */
static void test_create_is_reasserted_where_its_owner_restarted_before_the_answer(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	Flare *known = make_at(w, w->fakes[1]), *made = make_at(w, w->fakes[1]);
	Result first = { 0 }, use = { 0 };

	getattr(c, &known->attr.fid, &first);
	g_assert_true(run_until(w, &first.done, 2000));
	fake_restart(w->fakes[1]);
	getattr(c, &known->attr.fid, &use);
	g_assert_true(run_until(w, &use.done, 8000));
	magma_client_held(c, &made->attr.fid);        /* the answer is late */
	run_for(w, 100);
	g_assert_true(g_hash_table_contains(w->fakes[1]->opens, GSIZE_TO_POINTER(made->attr.fid.ino)));
	g_assert_cmpuint(w->fakes[1]->reopened, ==, 1);
	magma_client_unhold(c, &made->attr.fid);
	run_for(w, 100);
	magma_client_free(c);
	world_free(w);
}

/* Its slice is not there for longer than anybody waits: what is asked of it later must not wait for that answer any more, and it is told once more what is open. */
static void test_a_greeting_whose_reopen_is_not_answered_does_not_last(void)
{
	World *w = world_new(1);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	Flare *f = make_at(w, w->fakes[0]);
	Trick silent = { MAGMA_OP_reopen, 1000, REFUSE, MAGMA_ETRYAGAIN, NULL };
	Result held = { 0 }, fails = { 0 }, use = { 0 };

	cfg.call_timeout_ms = 800;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &held);
	g_assert_true(run_until(w, &held.done, 2000));
	play(w, &silent);
	fake_restart(w->fakes[0]);
	getattr(c, &f->attr.fid, &fails);
	g_assert_true(run_until(w, &fails.done, 4000));
	g_assert_cmpint(fails.error, ==, EIO);
	run_for(w, 1500);
	silent.times = 0;
	getattr(c, &f->attr.fid, &use);
	g_assert_true(run_until(w, &use.done, 4000));
	g_assert_cmpint(use.error, ==, 0);
	run_for(w, 1000);
	g_assert_true(g_hash_table_contains(w->fakes[0]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	magma_client_free(c);
	world_free(w);
}

static void test_opens_follow_their_keys_to_a_new_owner(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	Flare *a = make_at(w, w->fakes[0]);
	MagmaFid root = magma_fid_root();
	Result r = { 0 }, use = { 0 };

	magma_client_hold(c, &a->attr.fid, 0, NULL, on_reply, &r);
	g_assert_true(run_until(w, &r.done, 2000));
	world_rotate(w);
	getattr(c, &root, &use);
	g_assert_true(run_until(w, &use.done, 2000));
	for (guint i = 0; i < 200 && w->fakes[1]->reopened == 0; i++)
		run_for(w, 5);
	g_assert_true(g_hash_table_contains(w->fakes[1]->opens, GSIZE_TO_POINTER(a->attr.fid.ino)));
	magma_client_free(c);
	world_free(w);
}

/* The fake answers at once, so the order of arrival is the order of what it knows. */
static void test_release_never_overtakes_open(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	Flare *f = make_at(w, w->fakes[0]);
	Trick slow = { MAGMA_OP_open, 3, REFUSE, MAGMA_ETRYAGAIN, NULL };
	Result r[3] = { 0 };

	/* one handle, then a second OPEN under way while the first is given back */
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &r[0]);
	g_assert_true(run_until(w, &r[0].done, 1000));
	play(w, &slow);
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &r[1]);
	magma_client_unhold(c, &f->attr.fid);
	g_assert_true(run_until(w, &r[1].done, 1000));
	run_for(w, 20);
	g_assert_cmpuint(world_count(w, MAGMA_OP_release), ==, 0);
	g_assert_true(g_hash_table_contains(w->fakes[0]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	/* the last one given back; a new OPEN waits for the answer to the RELEASE */
	Trick slow_release = { MAGMA_OP_release, 3, REFUSE, MAGMA_ETRYAGAIN, NULL };
	play(w, &slow_release);
	magma_client_unhold(c, &f->attr.fid);
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &r[2]);
	g_assert_true(run_until(w, &r[2].done, 1000));
	run_for(w, 50);
	g_assert_true(g_hash_table_contains(w->fakes[0]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	const Seen *last = &g_array_index(w->seen, Seen, w->seen->len - 1);
	g_assert_cmpint(last->h.op, ==, MAGMA_OP_open);
	magma_client_unhold(c, &f->attr.fid);
	for (guint i = 0; i < 100 && g_hash_table_size(w->fakes[0]->opens); i++)
		run_for(w, 5);
	g_assert_cmpuint(g_hash_table_size(w->fakes[0]->opens), ==, 0);
	magma_client_free(c);
	world_free(w);
}

/* It is busy there all the time, and no session of its own says that another life answers. */
static void test_a_restart_behind_a_proxy_is_told_what_is_open(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, TRUE);
	Flare *f = make_at(w, w->fakes[1]);
	Result held = { 0 };

	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &held);
	g_assert_true(run_until(w, &held.done, 1000));
	fake_restart(w->fakes[1]);
	g_assert_false(g_hash_table_contains(w->fakes[1]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	/* a volcano waits 20 s after its start before it removes what no name leads to */
	for (guint t = 0; t < 10000 && !g_hash_table_contains(w->fakes[1]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)); t += 100) {
		Result use = { 0 };
		getattr(c, &f->attr.fid, &use);
		g_assert_true(run_until(w, &use.done, 8000));
		run_for(w, 100);
	}
	g_assert_true(g_hash_table_contains(w->fakes[1]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	magma_client_free(c);
	world_free(w);
}

static void test_keepalive_while_anything_is_open(void)
{
	World *w = world_new(4);
	MagmaClient *c = world_client(w, TRUE);       /* proxy: the second volcano must hear of us too */
	Flare *f = make_at(w, w->fakes[1]);
	Result r = { 0 }, direct = { 0 };
	MagmaClient *d = world_client(w, FALSE);
	MagmaClient *cut = world_client(w, FALSE);    /* only its own way to the third is cut */
	MagmaClient *maker = world_client(w, TRUE);   /* made and holds one at the fourth */
	Flare *g = make_at(w, w->fakes[2]), *made = make_at(w, w->fakes[3]);
	Result at_cut = { 0 };

	magma_client_held(maker, &made->attr.fid);
	magma_client_hold(cut, &g->attr.fid, 0, NULL, on_reply, &at_cut);
	g_assert_true(run_until(w, &at_cut.done, 1000));
	fake_stop(w->fakes[2]);
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &r);
	magma_client_hold(d, &f->attr.fid, 0, NULL, on_reply, &direct);
	g_assert_true(run_until(w, &r.done, 1000));
	g_assert_true(run_until(w, &direct.done, 1000));
	gboolean by_key = FALSE, by_ping = FALSE, around = FALSE, by_maker = FALSE;
	/* a first ping gets lost on the session that is cut; the next is due before a volcano forgets (15 s) */
	for (guint t = 0, i = 0; t < 11000 && !(by_key && by_ping && around && by_maker); t += 50) {
		run_for(w, 50);
		for (; i < w->seen->len; i++) {
			const Seen *s = &g_array_index(w->seen, Seen, i);
			const Fake *asked = s->h.op == MAGMA_OP_reopen ? world_owner(w, &s->key) : NULL;
			by_key |= asked == w->fakes[1] && s->h.client == magma_client_id(c) && s->forwarded;
			around |= asked == w->fakes[2] && s->h.client == magma_client_id(cut) && s->forwarded;
			by_maker |= asked == w->fakes[3] && s->h.client == magma_client_id(maker) && s->forwarded;
			by_ping |= s->h.op == MAGMA_OP_ping && s->h.client == magma_client_id(d) && s->at == w->fakes[1];
		}
	}
	g_assert_true(by_key);
	g_assert_true(by_ping);
	g_assert_true(around);
	g_assert_true(by_maker);
	magma_client_free(cut);
	magma_client_free(maker);
	magma_client_free(c);
	magma_client_free(d);
	world_free(w);
}

static gboolean nothing_open(World *w, Fake *at, guint ms)
{
	for (guint t = 0; t < ms && g_hash_table_size(at->opens); t += 5)
		run_for(w, 5);
	return g_hash_table_size(at->opens) == 0;
}

static void test_open_or_release_without_an_answer_leaves_nothing_open(void)
{
	World *w = world_new(1);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	Flare *f = make_at(w, w->fakes[0]);
	Trick lose = { MAGMA_OP_open, 1, SERVE_AND_LOSE_REPLY, 0, NULL }, drop = { MAGMA_OP_release, 1, DROP, 0, NULL };
	Trick refuse = { MAGMA_OP_release, 1000, REFUSE, EIO, NULL };
	Result lost = { 0 }, held = { 0 }, again = { 0 };

	cfg.call_timeout_ms = 400;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	play(w, &lose);
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &lost);
	g_assert_true(run_until(w, &lost.done, 1500));
	g_assert_cmpint(lost.error, ==, EIO);
	g_assert_true(nothing_open(w, w->fakes[0], 1000));
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &held);
	g_assert_true(run_until(w, &held.done, 1500));
	g_assert_cmpint(held.error, ==, 0);
	play(w, &drop);
	magma_client_unhold(c, &f->attr.fid);
	g_assert_true(nothing_open(w, w->fakes[0], 2000));
	/* what the volcano itself refuses is not said again and again */
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &again);
	g_assert_true(run_until(w, &again.done, 1500));
	guint n = world_count(w, MAGMA_OP_release);
	play(w, &refuse);
	magma_client_unhold(c, &f->attr.fid);
	run_for(w, 100);
	g_assert_cmpuint(world_count(w, MAGMA_OP_release), ==, n + 1);
	magma_client_free(c);
	world_free(w);
}

static void answer_late(const Seen *s, guint32 error)
{
	MagmaHdr h = { .kind = MAGMA_REPLY, .op = s->h.op, .xid = s->h.xid, .client = s->h.client, .error = error };
	MagmaAny rep = { 0 };
	GByteArray *a = g_byte_array_new();

	magma_msg_encode(&h, &rep, FALSE, a);
	g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(a);
	magma_conn_send(s->conn, bytes, NULL);
}

static void test_opens_granted_under_the_old_id_are_asserted_under_the_new(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	guint64 old = magma_client_id(c);
	Flare *f = make_at(w, w->fakes[0]), *made = make_at(w, w->fakes[0]);
	Trick drop_open = { MAGMA_OP_open, 1, DROP, 0, NULL }, expired = { MAGMA_OP_getattr, 1, REFUSE, MAGMA_EEXPIRED, NULL };
	Trick drop = { MAGMA_OP_getattr, 1, DROP, 0, NULL };
	Result held = { 0 }, use = { 0 }, late = { 0 };

	play(w, &drop_open);
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &held);
	while (drop_open.times)
		g_main_context_iteration(w->ctx, TRUE);
	play(w, &expired);
	getattr(c, &f->attr.fid, &use);
	g_assert_true(run_until(w, &use.done, 1500));
	guint64 id = magma_client_id(c);
	g_assert_cmpuint(id, !=, old);
	/* the OPEN's answer, and that of a CREATE, come only now */
	answer_late(world_nth(w, MAGMA_OP_open, 0), 0);
	g_assert_true(run_until(w, &held.done, 1500));
	magma_client_held(c, &made->attr.fid);
	for (guint i = 0; i < 200 && g_hash_table_size(w->fakes[0]->opens) < 2; i++)
		run_for(w, 5);
	g_assert_true(g_hash_table_contains(w->fakes[0]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	g_assert_true(g_hash_table_contains(w->fakes[0]->opens, GSIZE_TO_POINTER(made->attr.fid.ino)));
	g_assert_cmpuint(world_nth(w, MAGMA_OP_reopen, 0)->h.client, ==, id);
	/* "expired", said of the old id, does not end the new one */
	play(w, &drop);
	getattr(c, &f->attr.fid, &late);
	while (drop.times)
		g_main_context_iteration(w->ctx, TRUE);
	Seen s = *world_nth(w, MAGMA_OP_getattr, world_count(w, MAGMA_OP_getattr) - 1);
	g_assert_cmpuint(s.h.client, ==, id);
	s.h.client = old;
	answer_late(&s, MAGMA_EEXPIRED);
	g_assert_true(run_until(w, &late.done, 4000));
	g_assert_cmpint(late.error, ==, 0);
	g_assert_cmpuint(magma_client_id(c), ==, id);
	magma_client_free(c);
	world_free(w);
}

/* The OPEN went through another volcano, and the answer comes when the next life of the owner has greeted us. */
static void test_open_is_reasserted_where_its_owner_restarted_before_the_answer(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	Flare *f = make_at(w, w->fakes[1]);
	Trick lose = { MAGMA_OP_open, 1, SERVE_AND_LOSE_REPLY, 0, NULL };
	Result held = { 0 };

	fake_stop(w->fakes[1]);
	play(w, &lose);
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &held);
	while (lose.times)
		g_main_context_iteration(w->ctx, TRUE);
	g_assert_true(world_nth(w, MAGMA_OP_open, 0)->forwarded);
	fake_restart(w->fakes[1]);
	while (!magma_client_rtt(c, 2))
		g_main_context_iteration(w->ctx, TRUE);
	g_assert_cmpuint(w->fakes[1]->reopened, ==, 0);
	answer_late(world_nth(w, MAGMA_OP_open, 0), 0);
	g_assert_true(run_until(w, &held.done, 1500));
	g_assert_cmpint(held.error, ==, 0);
	g_assert_cmpuint(world_count(w, MAGMA_OP_open), ==, 1);
	for (guint i = 0; i < 200 && w->fakes[1]->reopened == 0; i++)
		run_for(w, 5);
	g_assert_true(g_hash_table_contains(w->fakes[1]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	magma_client_free(c);
	world_free(w);
}

static Verdict forgotten_and_half_there(void *user, const Seen *s, guint32 *error)
{
	Trick *expire = user;

	if (s->h.op == MAGMA_OP_reopen && world_owner(s->at->world, &s->key) != expire->only) {
		*error = MAGMA_ETRYAGAIN;
		return REFUSE;
	}
	if (s->h.op != expire->op || expire->times == 0)
		return SERVE;
	expire->times--;
	*error = expire->error;
	return REFUSE;
}

/* Of two volcanos that had forgotten us one does not answer: what is asked of the other does not wait for it. */
static void test_a_new_id_does_not_wait_for_a_volcano_that_is_away(void)
{
	World *w = world_new(2);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	Flare *away = make_at(w, w->fakes[0]), *f = make_at(w, w->fakes[1]);
	const guint32 says[2] = { MAGMA_EEXPIRED, MAGMA_EMAP };
	Result one = { 0 }, two = { 0 };

	cfg.call_timeout_ms = 8000;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	magma_client_hold(c, &away->attr.fid, 0, NULL, on_reply, &one);
	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &two);
	g_assert_true(run_until(w, &one.done, 2000));
	g_assert_true(run_until(w, &two.done, 2000));
	Trick expire = { MAGMA_OP_getattr, 0, REFUSE, 0, w->fakes[1] };
	w->hook = forgotten_and_half_there;
	w->hook_user = &expire;
	for (guint i = 0; i < G_N_ELEMENTS(says); i++) {
		Result use = { 0 };
		expire.times = 1;
		expire.error = says[i];
		getattr(c, &f->attr.fid, &use);
		g_assert_true(run_until(w, &use.done, 4000));
		g_assert_cmpint(use.error, ==, 0);
		g_assert_cmpuint(expire.times, ==, 0);
	}
	magma_client_free(c);
	world_free(w);
}

/* One that was away acts for another, and its own slice is not its own yet. */
static void test_keepalive_reaches_a_volcano_by_the_slices_it_has(void)
{
	World *w = world_new(3);
	MagmaMap *map = magma_map_copy(w->map);
	Result use = { 0 };

	map->epoch++;
	for (guint i = 0; i < map->slices->len; i++) {
		MagmaSlice *s = &g_array_index(map->slices, MagmaSlice, i);
		s->owner = s->home == 2 ? 3 : s->home == 3 ? 2 : s->home;
		s->epoch = map->epoch;
	}
	g_assert_cmpstr(magma_map_seal(map), ==, NULL);
	magma_map_unref(w->map);
	w->map = map;
	Flare *held = make_at(w, w->fakes[0]), *f = make_at(w, w->fakes[1]);
	MagmaClient *c = world_client(w, TRUE);
	Result open = { 0 };
	magma_client_hold(c, &held->attr.fid, 0, NULL, on_reply, &open);
	g_assert_true(run_until(w, &open.done, 1000));
	getattr(c, &f->attr.fid, &use);
	g_assert_true(run_until(w, &use.done, 1000));
	gboolean heard = FALSE;
	for (guint t = 0, i = 0; t < 8000 && !heard; t += 50) {
		run_for(w, 50);
		for (; i < w->seen->len; i++) {
			const Seen *s = &g_array_index(w->seen, Seen, i);
			heard |= s->h.op == MAGMA_OP_reopen && world_owner(w, &s->key) == w->fakes[1];
		}
	}
	g_assert_true(heard);
	magma_client_free(c);
	world_free(w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/client/" #name, test_##name)
	T(create_is_reasserted_where_its_owner_restarted_before_the_answer);
	T(opens_are_reasserted_after_a_restart);
	T(a_greeting_whose_reopen_is_not_answered_does_not_last);
	T(opens_follow_their_keys_to_a_new_owner);
	T(release_never_overtakes_open);
	T(a_restart_behind_a_proxy_is_told_what_is_open);
	T(keepalive_while_anything_is_open);
	T(open_or_release_without_an_answer_leaves_nothing_open);
	T(opens_granted_under_the_old_id_are_asserted_under_the_new);
	T(open_is_reasserted_where_its_owner_restarted_before_the_answer);
	T(a_new_id_does_not_wait_for_a_volcano_that_is_away);
	T(keepalive_reaches_a_volcano_by_the_slices_it_has);
	return g_test_run();
}
