/* What mount.magma and the tools rely on when volcanos lose, refuse, move, restart and vanish. */
#include "tests/unit/fake.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

typedef struct {
	gboolean done;
	int error;
	guint calls;
	MagmaAny rep;
	MagmaAttr attr;
	MagmaFid parent;
} Result;

static void on_reply(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Result *r = user;

	r->done = TRUE;
	r->calls++;
	r->error = error;
	if (rep)
		r->rep = *rep;
}

static void on_attr(void *user, int error, const MagmaAttr *attr)
{
	Result *r = user;

	r->done = TRUE;
	r->calls++;
	r->error = error;
	if (attr)
		r->attr = *attr;
}

static guint64 getattr(MagmaClient *c, const MagmaFid *fid, Result *r)
{
	struct magma_req_getattr req = { .fid = *fid };

	return magma_client_call(c, MAGMA_OP_getattr, NULL, &req, NULL, on_reply, r);
}

static guint64 mkdir_in_root(MagmaClient *c, const char *name, Result *r)
{
	g_autofree char *path = g_strconcat("/", name, NULL);
	struct magma_req_mkdir req = { .dir = magma_fid_root(), .key = magma_key_of_path(path, strlen(path)), .mode = 0755, .name = MAGMA_BYTES_STR(name) };

	return magma_client_call(c, MAGMA_OP_mkdir, NULL, &req, NULL, on_reply, r);
}

/* Hooks: each knows one operation and counts. */
typedef struct {
	MagmaOp op;
	guint times;                  /* the first so many */
	Verdict verdict;
	guint32 error;
	Fake *only;
} Trick;

static Verdict trick(void *user, const Seen *s, guint32 *error)
{
	Trick *t = user;

	if (s->h.op != t->op || t->times == 0 || (t->only && s->at != t->only))
		return SERVE;
	t->times--;
	*error = t->error;
	return t->verdict;
}

static void play(World *w, Trick *t)
{
	w->hook = trick;
	w->hook_user = t;
}

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

static Flare *make_at(World *w, Fake *owner)
{
	for (guint i = 0;; i++) {
		g_autofree char *path = g_strdup_printf("/at%u-%u", owner->id, i);
		MagmaKey key = magma_key_of_path(path, strlen(path));
		if (world_owner(w, &key) == owner)
			return world_make(w, path, NULL, S_IFREG | 0644);
	}
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

/* Retries. */

static void test_unanswered_is_sent_again_under_the_same_xid(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	Trick t = { MAGMA_OP_mkdir, 1, SERVE_AND_LOSE_REPLY, 0, NULL };
	Result r = { 0 };

	play(w, &t);
	guint64 xid = mkdir_in_root(c, "once", &r);
	g_assert_true(run_until(w, &r.done, 4000));
	g_assert_cmpint(r.error, ==, 0);
	g_assert_cmpuint(world_count(w, MAGMA_OP_mkdir), ==, 2);
	g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, 0)->h.xid, ==, xid);
	g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, 0)->h.flags & MAGMA_FLAG_RETRY, ==, 0);
	g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, 1)->h.xid, ==, xid);
	g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, 1)->h.flags & MAGMA_FLAG_RETRY, ==, MAGMA_FLAG_RETRY);
	g_assert_cmpuint(w->fakes[0]->executed, ==, 1);
	magma_client_free(c);
	world_free(w);
}

static void test_restart_repeats_what_was_unanswered(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	Trick t = { MAGMA_OP_mkdir, 1, DROP, 0, NULL };
	Result r = { 0 };

	play(w, &t);
	guint64 xid = mkdir_in_root(c, "later", &r);
	while (world_count(w, MAGMA_OP_mkdir) == 0)
		g_main_context_iteration(w->ctx, TRUE);
	fake_restart(w->fakes[0]);
	g_assert_true(run_until(w, &r.done, 8000));
	g_assert_cmpint(r.error, ==, 0);
	const Seen *again = world_nth(w, MAGMA_OP_mkdir, world_count(w, MAGMA_OP_mkdir) - 1);
	g_assert_cmpuint(again->h.xid, ==, xid);
	g_assert_cmpuint(again->h.flags & MAGMA_FLAG_RETRY, !=, 0);
	magma_client_free(c);
	world_free(w);
}

static void test_emap_fetches_the_map_once_and_resends(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	Trick t = { MAGMA_OP_getattr, 5, REFUSE, MAGMA_EMAP, NULL };
	Flare *f = make_at(w, w->fakes[0]);
	Result r[5] = { 0 };

	play(w, &t);
	world_rotate(w);
	for (guint i = 0; i < 5; i++)
		getattr(c, &f->attr.fid, &r[i]);
	for (guint i = 0; i < 5; i++) {
		g_assert_true(run_until(w, &r[i].done, 2000));
		g_assert_cmpint(r[i].error, ==, 0);
	}
	g_assert_cmpuint(world_count(w, MAGMA_OP_map), ==, 1);
	g_assert_cmpuint(magma_client_map(c)->epoch, ==, 2);
	/* the new owner got it, told under which map */
	const Seen *last = world_nth(w, MAGMA_OP_getattr, world_count(w, MAGMA_OP_getattr) - 1);
	g_assert_true(last->at == w->fakes[1]);
	g_assert_cmpuint(last->h.epoch, ==, 2);
	magma_client_free(c);
	world_free(w);
}

static void test_emap_without_a_newer_map_does_not_spin(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	Trick t = { MAGMA_OP_getattr, 1000, REFUSE, MAGMA_EMAP, NULL };
	MagmaFid root = magma_fid_root();
	Result r = { 0 };

	play(w, &t);
	getattr(c, &root, &r);
	run_for(w, 300);
	g_assert_cmpuint(world_count(w, MAGMA_OP_getattr), >=, 3);
	g_assert_cmpuint(world_count(w, MAGMA_OP_getattr), <, 20);
	t.times = 0;
	g_assert_true(run_until(w, &r.done, 2000));
	magma_client_free(c);
	world_free(w);
}

static void test_refresh_flag_brings_the_new_map(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	MagmaFid root = magma_fid_root();
	Result r = { 0 };

	world_rotate(w);
	getattr(c, &root, &r);
	g_assert_true(run_until(w, &r.done, 2000));
	for (guint i = 0; i < 100 && magma_client_map(c)->epoch != 2; i++)
		run_for(w, 5);
	g_assert_cmpuint(magma_client_map(c)->epoch, ==, 2);
	magma_client_free(c);
	world_free(w);
}

static void test_tryagain_is_repeated_after_a_growing_delay(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	Trick t = { MAGMA_OP_mkdir, 5, REFUSE, MAGMA_ETRYAGAIN, NULL };
	Result r = { 0 };
	MagmaTime began = magma_net_now();

	play(w, &t);
	mkdir_in_root(c, "busy", &r);
	g_assert_true(run_until(w, &r.done, 2000));
	g_assert_cmpint(r.error, ==, 0);
	g_assert_cmpuint(world_count(w, MAGMA_OP_mkdir), ==, 6);
	g_assert_cmpint(magma_net_now() - began, >=, (2 + 4 + 8 + 16 + 32) * 1000);
	for (guint i = 1; i < 6; i++)
		g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, i)->h.xid, ==, world_nth(w, MAGMA_OP_mkdir, 0)->h.xid);
	magma_client_free(c);
	world_free(w);
}

static void test_expired_takes_a_new_id_and_fails_only_what_may_have_happened(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	guint64 id = magma_client_id(c);
	Flare *f = make_at(w, w->fakes[0]);
	Result held = { 0 }, read = { 0 }, fresh = { 0 }, unsure = { 0 };

	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &held);
	g_assert_true(run_until(w, &held.done, 2000));
	/* a refused first try cannot have happened: it goes through under the new id */
	Trick t = { MAGMA_OP_mkdir, 1, REFUSE, MAGMA_EEXPIRED, NULL };
	play(w, &t);
	g_hash_table_remove_all(w->fakes[0]->opens);
	mkdir_in_root(c, "fresh", &fresh);
	getattr(c, &f->attr.fid, &read);
	g_assert_true(run_until(w, &fresh.done, 2000));
	g_assert_true(run_until(w, &read.done, 2000));
	g_assert_cmpint(fresh.error, ==, 0);
	g_assert_cmpint(read.error, ==, 0);
	g_assert_cmpuint(magma_client_id(c), !=, id);
	g_assert_true(g_hash_table_contains(w->fakes[0]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, 1)->h.client, ==, magma_client_id(c));

	/* a repeated one may have: it keeps the id of its first try, also when another call was told meanwhile, and fails */
	id = magma_client_id(c);
	Trick lose = { MAGMA_OP_mkdir, 1, SERVE_AND_LOSE_REPLY, 0, NULL };
	Result other = { 0 };
	play(w, &lose);
	mkdir_in_root(c, "unsure", &unsure);
	while (world_count(w, MAGMA_OP_mkdir) < 3)
		g_main_context_iteration(w->ctx, TRUE);
	Trick expire = { MAGMA_OP_getattr, 1, REFUSE, MAGMA_EEXPIRED, NULL };
	play(w, &expire);
	getattr(c, &f->attr.fid, &other);
	g_assert_true(run_until(w, &other.done, 1000));
	guint64 newer = magma_client_id(c);
	g_assert_cmpuint(newer, !=, id);
	t.times = 1;
	play(w, &t);
	g_assert_true(run_until(w, &unsure.done, 4000));
	g_assert_cmpint(unsure.error, ==, EIO);
	g_assert_cmpuint(world_nth(w, MAGMA_OP_mkdir, 3)->h.client, ==, id);
	g_assert_cmpuint(magma_client_id(c), ==, newer);
	magma_client_free(c);
	world_free(w);
}

/* Forgotten and restarted: the greeting itself, and the re-assertion, are answered "expired" or "another map" first. */
static void test_expired_while_greeting_does_not_stand_still(void)
{
	World *w = world_new(2);
	MagmaClient *c = world_client(w, FALSE);
	Flare *f = make_at(w, w->fakes[0]);
	Trick expired = { MAGMA_OP_hello, 1, REFUSE, MAGMA_EEXPIRED, NULL }, moved = { MAGMA_OP_reopen, 1, REFUSE, MAGMA_EMAP, NULL };
	Trick again = { MAGMA_OP_getattr, 1, REFUSE, MAGMA_EEXPIRED, NULL };
	Result held = { 0 }, use = { 0 }, use2 = { 0 };

	magma_client_hold(c, &f->attr.fid, 0, NULL, on_reply, &held);
	g_assert_true(run_until(w, &held.done, 2000));
	play(w, &expired);
	fake_restart(w->fakes[0]);
	getattr(c, &f->attr.fid, &use);
	g_assert_true(run_until(w, &use.done, 6000));
	g_assert_cmpint(use.error, ==, 0);
	g_assert_true(g_hash_table_contains(w->fakes[0]->opens, GSIZE_TO_POINTER(f->attr.fid.ino)));
	play(w, &again);
	getattr(c, &f->attr.fid, &use2);
	while (again.times)
		g_main_context_iteration(w->ctx, TRUE);
	play(w, &moved);
	g_assert_true(run_until(w, &use2.done, 3000));
	g_assert_cmpint(use2.error, ==, 0);
	g_assert_cmpuint(moved.times, ==, 0);
	magma_client_free(c);
	world_free(w);
}

static void test_watermark_is_the_lowest_unanswered(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	MagmaFid root = magma_fid_root();
	Trick t = { MAGMA_OP_mkdir, 1, DROP, 0, NULL };
	Result stuck = { 0 }, r[10] = { 0 };

	play(w, &t);
	guint64 lowest = mkdir_in_root(c, "stuck", &stuck);
	for (guint i = 0; i < 10; i++) {
		getattr(c, &root, &r[i]);
		g_assert_true(run_until(w, &r[i].done, 1000));
		g_assert_cmpuint(world_nth(w, MAGMA_OP_getattr, i)->h.watermark, ==, lowest);
	}
	g_assert_true(run_until(w, &stuck.done, 4000));
	Result last = { 0 };
	guint64 xid = getattr(c, &root, &last);
	g_assert_true(run_until(w, &last.done, 1000));
	g_assert_cmpuint(world_nth(w, MAGMA_OP_getattr, 10)->h.watermark, ==, xid);
	magma_client_free(c);
	world_free(w);
}

static void test_call_timeout_is_eio(void)
{
	World *w = world_new(1);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	MagmaFid root = magma_fid_root();
	Trick t = { MAGMA_OP_getattr, 1000, DROP, 0, NULL };
	Result r = { 0 };

	cfg.call_timeout_ms = 600;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	play(w, &t);
	getattr(c, &root, &r);
	g_assert_true(run_until(w, &r.done, 1500));
	g_assert_cmpint(r.error, ==, EIO);
	magma_client_free(c);
	world_free(w);
}

static Verdict garble(void *user, const Seen *s, guint32 *error)
{
	guint *left = user;

	if (s->h.op != MAGMA_OP_getattr || *left == 0)
		return SERVE;
	(*left)--;
	MagmaHdr h = { .kind = MAGMA_REPLY, .op = MAGMA_OP_getattr, .xid = s->h.xid };
	MagmaHdr wrong_op = { .kind = MAGMA_REPLY, .op = MAGMA_OP_release, .xid = s->h.xid };
	MagmaHdr wrong_xid = { .kind = MAGMA_REPLY, .op = MAGMA_OP_release, .xid = s->h.xid + 77 };
	MagmaAny rep = { 0 };
	GByteArray *a = g_byte_array_new();
	for (guint i = 0; i < 4; i++) {
		g_byte_array_set_size(a, 0);
		magma_msg_encode(i < 2 ? &h : i == 2 ? &wrong_op : &wrong_xid, &rep, FALSE, a);
		/* too short, and too long */
		g_autoptr(GBytes) bytes = g_bytes_new(a->data, i == 0 ? a->len - 1 : a->len);
		g_autoptr(GBytes) extra = i == 1 ? g_bytes_new("x", 1) : NULL;
		magma_conn_send(s->conn, bytes, extra);
	}
	g_byte_array_unref(a);
	return SERVE;
}

static void test_replies_that_are_none_are_dropped(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	MagmaFid root = magma_fid_root();
	guint left = 1;
	Result r = { 0 };

	w->hook = garble;
	w->hook_user = &left;
	getattr(c, &root, &r);
	g_assert_true(run_until(w, &r.done, 2000));
	g_assert_cmpint(r.error, ==, 0);
	g_assert_cmpuint(r.rep.rep_getattr.attr.fid.ino, ==, MAGMA_ROOT_INO);
	run_for(w, 50);
	g_assert_cmpuint(r.calls, ==, 1);
	magma_client_free(c);
	world_free(w);
}

static void test_needgroups_goes_to_the_caller(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	MagmaFid root = magma_fid_root();
	Trick t = { MAGMA_OP_getattr, 1, REFUSE, MAGMA_ENEEDGROUPS, NULL };
	Result r = { 0 };

	play(w, &t);
	getattr(c, &root, &r);
	g_assert_true(run_until(w, &r.done, 2000));
	g_assert_cmpint(r.error, ==, MAGMA_ENEEDGROUPS);
	magma_client_free(c);
	world_free(w);
}

static void test_write_body_travels_whole(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	Flare *f = make_at(w, w->fakes[0]);
	struct magma_req_write req = { .fid = f->attr.fid, .offset = 4096 };
	g_autoptr(GBytes) body = g_bytes_new_take(g_malloc0(MAGMA_DATA_MAX), MAGMA_DATA_MAX);
	Result r = { 0 };

	magma_client_call(c, MAGMA_OP_write, NULL, &req, body, on_reply, &r);
	g_assert_true(run_until(w, &r.done, 4000));
	g_assert_cmpint(r.error, ==, 0);
	g_assert_cmpuint(r.rep.rep_write.size, ==, 4096 + MAGMA_DATA_MAX);
	magma_client_free(c);
	world_free(w);
}

/* Opens. */

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

/* Names. */

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
	T(unanswered_is_sent_again_under_the_same_xid);
	T(restart_repeats_what_was_unanswered);
	T(emap_fetches_the_map_once_and_resends);
	T(emap_without_a_newer_map_does_not_spin);
	T(refresh_flag_brings_the_new_map);
	T(tryagain_is_repeated_after_a_growing_delay);
	T(expired_takes_a_new_id_and_fails_only_what_may_have_happened);
	T(expired_while_greeting_does_not_stand_still);
	T(watermark_is_the_lowest_unanswered);
	T(call_timeout_is_eio);
	T(replies_that_are_none_are_dropped);
	T(needgroups_goes_to_the_caller);
	T(write_body_travels_whole);
	T(opens_are_reasserted_after_a_restart);
	T(opens_follow_their_keys_to_a_new_owner);
	T(release_never_overtakes_open);
	T(keepalive_while_anything_is_open);
	T(open_or_release_without_an_answer_leaves_nothing_open);
	T(opens_granted_under_the_old_id_are_asserted_under_the_new);
	T(lookup_guesses_in_parallel);
	T(lookup_of_a_name_being_replaced_finds_it);
	T(resolve_whole_paths);
	T(free_cancels_and_says_goodbye);
	T(free_from_inside_an_answer);
	T(cancel_of_what_was_never_sent);
	T(chaos_answers_everything_once);
	return g_test_run();
}
