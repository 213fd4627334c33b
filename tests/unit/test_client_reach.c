/* First contact and its error texts, routing, and the ways around what cannot be reached. */
#include "tests/unit/client_kit.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

/* First contact. */

static gboolean start_fails(World *w, const MagmaClientConfig *cfg, int code, const char *text)
{
	g_autoptr(GError) error = NULL;
	MagmaTime began = magma_net_now();
	MagmaClient *c = magma_client_new(w->ctx, cfg, &error);

	g_assert_no_error(error);
	g_assert_false(magma_client_start_sync(c, &error));
	g_assert_error(error, MAGMA_ERROR, code);
	g_assert_nonnull(strstr(error->message, text));
	char addr[MAGMA_ADDR_TEXT];
	g_assert_nonnull(strstr(error->message, magma_addr_format(&cfg->hosts[0], addr)));
	g_assert_cmpint(magma_net_now() - began, <, 5 * G_USEC_PER_SEC);
	magma_client_free(c);
	return TRUE;
}

static void test_start(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);

	g_assert_cmpuint(magma_client_map(c)->epoch, ==, w->map->epoch);
	g_assert_cmpuint(magma_client_id(c), !=, 0);
	magma_client_free(c);
	run_for(w, 20);
	g_assert_cmpuint(world_count(w, MAGMA_OP_goodbye), ==, 1);
	world_free(w);
}

static void test_wrong_key(void)
{
	World *w = world_new(1);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);

	cfg.psk[0] ^= 1;
	start_fails(w, &cfg, MAGMA_EAUTH, "authentication failed at ");
	world_free(w);
}

static void test_nobody(void)
{
	World *w = world_new(1);
	MagmaAddr addr = w->fakes[0]->addr;
	MagmaClientConfig cfg = world_config(w, &addr, 1);

	fake_stop(w->fakes[0]);
	start_fails(w, &cfg, MAGMA_ENOBODY, "no answer from ");
	world_free(w);
}

static void test_second_host(void)
{
	World *w = world_new(2);
	MagmaAddr hosts[2] = { w->fakes[0]->addr, w->fakes[1]->addr };
	MagmaClientConfig cfg = world_config(w, hosts, 2);
	g_autoptr(GError) error = NULL;
	MagmaTime began = magma_net_now();

	fake_stop(w->fakes[0]);
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	magma_client_start_sync(c, &error);
	g_assert_no_error(error);
	g_assert_cmpint(magma_net_now() - began, <, 2 * G_USEC_PER_SEC);
	magma_client_free(c);
	world_free(w);
}

static void test_volcano_that_does_not_serve(void)
{
	World *w = world_new(1);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);

	cfg.start_timeout_ms = 500;
	w->fakes[0]->no_hello = TRUE;
	start_fails(w, &cfg, ETIMEDOUT, "does not serve yet");
	world_free(w);
}

/* Routing. */

static void test_routes_by_key(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);

	for (guint i = 0; i < 20; i++) {
		g_autofree char *path = g_strdup_printf("/file%u", i);
		Flare *f = world_make(w, path, NULL, S_IFREG | 0644);
		Result r = { 0 };
		getattr(c, &f->attr.fid, &r);
		g_assert_true(run_until(w, &r.done, 2000));
		g_assert_cmpint(r.error, ==, 0);
		g_assert_cmpuint(r.rep.rep_getattr.attr.fid.ino, ==, f->attr.fid.ino);
	}
	for (guint i = 0; i < 20; i++) {
		const Seen *s = world_nth(w, MAGMA_OP_getattr, i);
		g_assert_true(s->at == world_owner(w, &s->key));
	}
	magma_client_free(c);
	world_free(w);
}

static void test_unreachable_volcano_is_reached_through_the_first(void)
{
	World *w = world_new(2);
	Flare *f = make_at(w, w->fakes[1]);
	MagmaTime began;
	Result r = { 0 };

	fake_stop(w->fakes[1]);
	MagmaClient *c = world_client(w, FALSE);
	began = magma_net_now();
	getattr(c, &f->attr.fid, &r);
	g_assert_true(run_until(w, &r.done, 2000));
	g_assert_cmpint(r.error, ==, 0);
	g_assert_true(world_nth(w, MAGMA_OP_getattr, 0)->forwarded);
	g_assert_cmpint(magma_net_now() - began, <, G_USEC_PER_SEC);
	/* and directly as soon as it answers */
	fake_restart(w->fakes[1]);
	for (guint i = 0; i < 100 && !magma_client_rtt(c, 2); i++) {
		Result again = { 0 };
		getattr(c, &f->attr.fid, &again);
		g_assert_true(run_until(w, &again.done, 2000));
		run_for(w, 50);
	}
	Result direct = { 0 };
	guint n = world_count(w, MAGMA_OP_getattr);
	getattr(c, &f->attr.fid, &direct);
	g_assert_true(run_until(w, &direct.done, 2000));
	g_assert_true(world_nth(w, MAGMA_OP_getattr, n)->at == w->fakes[1]);
	magma_client_free(c);
	world_free(w);
}

/* The way to a volcano is cut while a session is open: the others still reach it. */
static void test_silent_session_does_not_hold_calls_back(void)
{
	World *w = world_new(2);
	Flare *f = make_at(w, w->fakes[1]);
	MagmaClient *c = world_client(w, FALSE);
	Result r = { 0 }, cut = { 0 };

	getattr(c, &f->attr.fid, &r);
	g_assert_true(run_until(w, &r.done, 2000));
	fake_stop(w->fakes[1]);
	MagmaTime began = magma_net_now();
	getattr(c, &f->attr.fid, &cut);
	g_assert_true(run_until(w, &cut.done, 10000));
	g_assert_cmpint(cut.error, ==, 0);
	g_assert_cmpint(magma_net_now() - began, <, 4 * G_USEC_PER_SEC);
	g_assert_true(world_nth(w, MAGMA_OP_getattr, 1)->forwarded);
	magma_client_free(c);
	world_free(w);
}

static void test_proxy_speaks_to_one_host_only(void)
{
	World *w = world_new(3);
	MagmaClient *c = world_client(w, TRUE);

	for (guint i = 0; i < 3; i++) {
		Result r = { 0 };
		getattr(c, &make_at(w, w->fakes[i])->attr.fid, &r);
		g_assert_true(run_until(w, &r.done, 2000));
		g_assert_cmpint(r.error, ==, 0);
	}
	for (guint i = 0; i < w->seen->len; i++)
		g_assert_true(g_array_index(w->seen, Seen, i).at == w->fakes[0]);
	magma_client_free(c);
	world_free(w);
}

static void test_proxy_that_dies_is_replaced_by_the_next_host(void)
{
	World *w = world_new(2);
	MagmaAddr hosts[2] = { w->fakes[0]->addr, w->fakes[1]->addr };
	MagmaClientConfig cfg = world_config(w, hosts, 2);
	MagmaFid root = magma_fid_root();
	Result r = { 0 };

	cfg.proxy = TRUE;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	fake_stop(w->fakes[0]);
	MagmaTime began = magma_net_now();
	getattr(c, &root, &r);
	g_assert_true(run_until(w, &r.done, 10000));
	g_assert_cmpint(magma_net_now() - began, <, 4 * G_USEC_PER_SEC);
	g_assert_cmpint(r.error, ==, 0);
	g_assert_true(world_nth(w, MAGMA_OP_getattr, 0)->at == w->fakes[1]);
	magma_client_free(c);
	world_free(w);
}

/* The map was fetched from one volcano, nobody else was ever spoken to, and that one is gone: the others are in the map, and know who acts for it. */
static void test_whoever_is_in_the_map_is_asked_when_nobody_else_is_left(void)
{
	World *w = world_new(2);
	Flare *f = make_at(w, w->fakes[0]);
	MagmaClient *c = world_client(w, FALSE);
	Result r = { 0 }, gone = { 0 };

	getattr(c, &f->attr.fid, &r);
	g_assert_true(run_until(w, &r.done, 2000));
	fake_stop(w->fakes[0]);
	world_rotate(w);
	g_assert_true(world_owner(w, &f->attr.fid.key) == w->fakes[1]);
	getattr(c, &f->attr.fid, &gone);
	g_assert_true(run_until(w, &gone.done, 15000));
	g_assert_cmpint(gone.error, ==, 0);
	magma_client_free(c);
	world_free(w);
}

/* Of three hosts two are connected when the first dies. */
static void test_proxy_that_dies_is_replaced_by_a_host_that_is_there_already(void)
{
	World *w = world_new(3);
	MagmaAddr hosts[3] = { w->fakes[0]->addr, w->fakes[1]->addr, w->fakes[2]->addr };
	MagmaClientConfig cfg = world_config(w, hosts, 3);
	MagmaFid root = magma_fid_root();

	cfg.proxy = TRUE;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	for (guint i = 0; i < 2; i++) {
		Result r = { 0 };
		fake_stop(w->fakes[i]);
		MagmaTime began = magma_net_now();
		getattr(c, &root, &r);
		g_assert_true(run_until(w, &r.done, 10000));
		g_assert_cmpint(magma_net_now() - began, <, 4 * G_USEC_PER_SEC);
		g_assert_cmpint(r.error, ==, 0);
		run_for(w, 1200);
	}
	magma_client_free(c);
	world_free(w);
}

static guint hellos_at(World *w, const Fake *f)
{
	guint n = 0;

	for (guint i = 0; i < w->seen->len; i++) {
		const Seen *s = &g_array_index(w->seen, Seen, i);
		n += s->at == f && s->h.op == MAGMA_OP_hello;
	}
	return n;
}

/* A host was named that is also known by the map; the volcano that answered first goes, and its place is taken by whoever is there. */
static void test_a_host_that_is_known_already_is_not_greeted_again_and_again(void)
{
	World *w = world_new(2);
	MagmaAddr hosts[2] = { w->fakes[0]->addr, w->fakes[1]->addr };
	MagmaClientConfig cfg = world_config(w, hosts, 2);
	Flare *f = make_at(w, w->fakes[1]);
	Trick t = { MAGMA_OP_getattr, 1, DROP, 0, NULL };
	Result first = { 0 }, second = { 0 };

	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	getattr(c, &f->attr.fid, &first);
	g_assert_true(run_until(w, &first.done, 2000));
	magma_net_goodbye(w->fakes[0]->net);
	fake_stop(w->fakes[0]);
	while (magma_client_rtt(c, 1))
		g_main_context_iteration(w->ctx, TRUE);
	play(w, &t);
	getattr(c, &f->attr.fid, &second);
	g_assert_true(run_until(w, &second.done, 4000));
	g_assert_cmpuint(hellos_at(w, w->fakes[1]), ==, 1);
	g_assert_cmpint(magma_client_rtt(c, 0), >, 0);
	magma_client_free(c);
	world_free(w);
}

/* Volcanos that are cut off from the others and have no lease: they greet and acknowledge. */
typedef struct {
	gboolean cut[3];
	Verdict verdict;              /* of what clients ask of them */
	guint executed;               /* the first so many are done, and the answers held back */
} Cut;

static Verdict cut_off(void *user, const Seen *s, guint32 *error)
{
	Cut *cut = user;

	if (!cut->cut[s->at->id - 1] || s->h.op == MAGMA_OP_hello || s->h.op == MAGMA_OP_ping)
		return SERVE;
	*error = MAGMA_ETRYAGAIN;
	if (cut->executed) {
		cut->executed--;
		return SERVE_AND_LOSE_REPLY;
	}
	return cut->verdict;
}

static void test_proxy_that_is_cut_off_is_replaced_by_the_next_host(void)
{
	World *w = world_new(3);
	MagmaAddr hosts[3] = { w->fakes[0]->addr, w->fakes[1]->addr, w->fakes[2]->addr };
	MagmaClientConfig cfg = world_config(w, hosts, 3);
	MagmaFid root = magma_fid_root();
	Cut cut = { .cut = { TRUE, TRUE, FALSE }, .verdict = DROP, .executed = 1 };
	Result r = { 0 }, next = { 0 };

	cfg.proxy = TRUE;
	cfg.call_timeout_ms = 30000;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	w->hook = cut_off;
	w->hook_user = &cut;
	mkdir_in_root(c, "once", &r);
	g_assert_true(run_until(w, &r.done, 20000));
	g_assert_cmpint(r.error, ==, 0);
	/* the same request all the way: it may have been done by any of them */
	guint n = world_count(w, MAGMA_OP_mkdir);
	g_assert_true(world_nth(w, MAGMA_OP_mkdir, n - 1)->at == w->fakes[2]);
	for (guint i = 1; i < n; i++) {
		g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, i)->h.xid, ==, world_nth(w, MAGMA_OP_mkdir, 0)->h.xid);
		g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, i)->h.client, ==, world_nth(w, MAGMA_OP_mkdir, 0)->h.client);
	}
	g_assert_cmpuint(w->fakes[0]->executed + w->fakes[1]->executed + w->fakes[2]->executed, ==, 1);
	/* who answered is spoken through from now on */
	getattr(c, &root, &next);
	g_assert_true(run_until(w, &next.done, 1000));
	g_assert_cmpint(next.error, ==, 0);
	magma_client_free(c);
	world_free(w);
}

static void test_relay_that_is_cut_off_is_left_for_another(void)
{
	World *w = world_new(3);
	MagmaAddr hosts[2] = { w->fakes[0]->addr, w->fakes[1]->addr };
	MagmaClientConfig cfg = world_config(w, hosts, 2);
	Flare *f = make_at(w, w->fakes[2]);
	Cut cut = { .cut = { TRUE, FALSE, FALSE }, .verdict = REFUSE };
	Result first = { 0 }, second = { 0 }, third = { 0 };

	fake_stop(w->fakes[2]);
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	w->hook = cut_off;
	w->hook_user = &cut;
	getattr(c, &f->attr.fid, &first);
	g_assert_true(run_until(w, &first.done, 4000));
	g_assert_cmpint(first.error, ==, 0);
	const Seen *last = world_nth(w, MAGMA_OP_getattr, world_count(w, MAGMA_OP_getattr) - 1);
	g_assert_true(last->at == w->fakes[1] && last->forwarded);
	/* the next one does not begin with the other */
	getattr(c, &f->attr.fid, &second);
	g_assert_true(run_until(w, &second.done, 1000));
	/* for as long as nobody gets through all are asked, and nobody is greeted again who was */
	cut.cut[1] = TRUE;
	getattr(c, &f->attr.fid, &third);
	run_for(w, 5000);
	g_assert_false(third.done);
	g_assert_cmpuint(hellos_at(w, w->fakes[0]), ==, 1);
	g_assert_cmpuint(hellos_at(w, w->fakes[1]), <=, 2);
	cut.cut[0] = cut.cut[1] = FALSE;
	g_assert_true(run_until(w, &third.done, 2000));
	magma_client_free(c);
	world_free(w);
}

/* A mount that knows one volcano only, and its map; the others have gone on without that. */
static void test_newer_map_is_asked_for_where_an_owner_is_cut_off(void)
{
	World *w = world_new(2);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	Flare *f = make_at(w, w->fakes[0]);
	Cut cut = { .cut = { TRUE, FALSE, FALSE }, .verdict = DROP };
	Result r = { 0 };

	cfg.call_timeout_ms = 20000;
	w->fakes[0]->stale = magma_map_copy(w->map);
	world_rotate(w);
	g_assert_true(world_owner(w, &f->attr.fid.key) == w->fakes[1]);
	w->hook = cut_off;
	w->hook_user = &cut;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	g_assert_cmpuint(magma_client_map(c)->epoch, ==, 1);
	getattr(c, &f->attr.fid, &r);
	g_assert_true(run_until(w, &r.done, 10000));
	g_assert_cmpint(r.error, ==, 0);
	g_assert_cmpuint(magma_client_map(c)->epoch, ==, 2);
	magma_client_free(c);
	world_free(w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/client/" #name, test_##name)
	T(start);
	T(wrong_key);
	T(nobody);
	T(second_host);
	T(volcano_that_does_not_serve);
	T(routes_by_key);
	T(unreachable_volcano_is_reached_through_the_first);
	T(silent_session_does_not_hold_calls_back);
	T(proxy_speaks_to_one_host_only);
	T(proxy_that_dies_is_replaced_by_the_next_host);
	T(proxy_that_dies_is_replaced_by_a_host_that_is_there_already);
	T(whoever_is_in_the_map_is_asked_when_nobody_else_is_left);
	T(a_host_that_is_known_already_is_not_greeted_again_and_again);
	T(proxy_that_is_cut_off_is_replaced_by_the_next_host);
	T(relay_that_is_cut_off_is_left_for_another);
	T(newer_map_is_asked_for_where_an_owner_is_cut_off);
	return g_test_run();
}
