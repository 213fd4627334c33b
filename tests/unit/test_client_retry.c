/* What is sent again, under which ids, until when. */
#include "tests/unit/client_kit.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

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

/* --- a newer map ends the waiting --- */

enum { BEFORE_MAP = 8, AFTER_MAP = 3 };        /* refusals: the pauses have grown to 250 ms; the slice is being opened */

typedef struct {
	World *w;
	guint refused;
} TakeOver;

static void push_map(World *w, MagmaConn *conn)
{
	MagmaHdr h = { .kind = MAGMA_PUSH, .op = MAGMA_OP_new_map, .epoch = w->map->epoch };
	g_autoptr(GByteArray) map = g_byte_array_new();
	GByteArray *out = g_byte_array_new();

	magma_map_encode(w->map, map);
	struct magma_req_new_map q = { .map = MAGMA_BYTES(map->data, map->len) };
	magma_msg_encode(&h, &q, FALSE, out);
	g_autoptr(GBytes) msg = g_byte_array_free_to_bytes(out);
	magma_conn_send(conn, msg, NULL);
}

static Verdict refuse_until_map(void *user, const Seen *s, guint32 *error)
{
	TakeOver *t = user;

	if (s->h.op != MAGMA_OP_mkdir || t->refused == BEFORE_MAP + AFTER_MAP)
		return SERVE;
	*error = MAGMA_ETRYAGAIN;
	t->refused++;
	return REFUSE;
}

static void test_a_newer_map_ends_the_waiting(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	TakeOver t = { w };
	Result r = { 0 };

	w->hook = refuse_until_map;
	w->hook_user = &t;
	mkdir_in_root(c, "busy", &r);
	while (t.refused < BEFORE_MAP)
		run_for(w, 1);
	run_for(w, 5);                /* the refusal has arrived */
	world_rotate(w);
	push_map(w, world_nth(w, MAGMA_OP_mkdir, 0)->conn);
	MagmaTime pushed = magma_net_now();
	g_assert_true(run_until(w, &r.done, 2000));
	g_assert_cmpint(r.error, ==, 0);
	g_assert_cmpuint(t.refused, ==, BEFORE_MAP + AFTER_MAP);
	g_assert_cmpint(magma_net_now() - pushed, <, 500000);        /* 2 + 4 + 8 ms; else three times 250 */
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

static Verdict put_off_then_forgotten(void *user, const Seen *s, guint32 *error)
{
	guint *mkdirs = user;

	if (s->h.op != MAGMA_OP_mkdir)
		return SERVE;
	*error = ++*mkdirs == 1 ? MAGMA_ETRYAGAIN : MAGMA_EEXPIRED;
	return *mkdirs <= 2 ? REFUSE : SERVE;
}

/* A volcano that gives its slice away says "again" also for what it has done; the answer went with the slice. */
static void test_what_was_put_off_may_have_happened(void)
{
	World *w = world_new(1);
	MagmaClient *c = world_client(w, FALSE);
	Result r = { 0 };
	guint mkdirs = 0;

	w->hook = put_off_then_forgotten;
	w->hook_user = &mkdirs;
	mkdir_in_root(c, "d", &r);
	g_assert_true(run_until(w, &r.done, 4000));
	g_assert_cmpint(r.error, ==, EIO);
	g_assert_cmpuint(mkdirs, ==, 2);
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

/* A process that is stopped or suspended hears nobody: its answers are there when it goes on. */
static void test_time_in_which_the_client_stood_still_does_not_count(void)
{
	World *w = world_new(1);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	MagmaFid root = magma_fid_root();
	Trick t = { MAGMA_OP_getattr, 1000, DROP, 0, NULL };
	Result r = { 0 }, never = { 0 };

	cfg.call_timeout_ms = 600;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	getattr(c, &root, &r);
	g_usleep(4 * G_USEC_PER_SEC);         /* nothing is awaited: this is the stand itself */
	g_assert_true(run_until(w, &r.done, 1500));
	g_assert_cmpint(r.error, ==, 0);
	/* and what is asked when it goes on has no more time than ever */
	play(w, &t);
	g_usleep(4 * G_USEC_PER_SEC);
	getattr(c, &root, &never);
	g_assert_true(run_until(w, &never.done, 1500));
	g_assert_cmpint(never.error, ==, EIO);
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

/* A request that nobody answers, and a volcano that says why. */
static void test_why_nobody_answered_is_said_by_the_volcano(void)
{
	World *w = world_new(1);
	MagmaClientConfig cfg = world_config(w, &w->fakes[0]->addr, 1);
	Trick t = { MAGMA_OP_getattr, 1000, DROP, 0, NULL };
	MagmaFid root = magma_fid_root();
	Result r[3] = { 0 };

	cfg.call_timeout_ms = 700;
	MagmaClient *c = magma_client_new(w->ctx, &cfg, NULL);
	g_assert_true(magma_client_start_sync(c, NULL));
	g_assert_null(magma_client_why_sync(c));
	g_assert_cmpuint(world_count(w, MAGMA_OP_ping), ==, 0);
	play(w, &t);
	w->unsafe = "without quorum: waits for the volcanos that vote: gromit\ndown: \033shaun\n";
	getattr(c, &root, &r[0]);
	g_assert_true(run_until(w, &r[0].done, 5000));
	g_assert_cmpint(r[0].error, ==, EIO);
	g_autofree char *why = magma_client_why_sync(c), *again = magma_client_why_sync(c);
	g_assert_cmpstr(why, ==, "no answer within 0.7 s: without quorum: waits for the volcanos that vote: gromit; down: ?shaun");
	g_assert_null(again);         /* what was said belongs to what failed before */
	/* an EIO that was answered is no silence */
	t = (Trick){ MAGMA_OP_getattr, 1, REFUSE, EIO, NULL };
	getattr(c, &root, &r[1]);
	g_assert_true(run_until(w, &r[1].done, 5000));
	g_assert_cmpint(r[1].error, ==, EIO);
	g_assert_null(magma_client_why_sync(c));
	/* nobody answers the ping either */
	fake_stop(w->fakes[0]);
	getattr(c, &root, &r[2]);
	g_assert_true(run_until(w, &r[2].done, 5000));
	g_assert_null(magma_client_why_sync(c));
	magma_client_free(c);
	world_free(w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define T(name) g_test_add_func("/client/" #name, test_##name)
	T(unanswered_is_sent_again_under_the_same_xid);
	T(restart_repeats_what_was_unanswered);
	T(emap_fetches_the_map_once_and_resends);
	T(emap_without_a_newer_map_does_not_spin);
	T(refresh_flag_brings_the_new_map);
	T(tryagain_is_repeated_after_a_growing_delay);
	T(a_newer_map_ends_the_waiting);
	T(expired_takes_a_new_id_and_fails_only_what_may_have_happened);
	T(what_was_put_off_may_have_happened);
	T(expired_while_greeting_does_not_stand_still);
	T(watermark_is_the_lowest_unanswered);
	T(call_timeout_is_eio);
	T(time_in_which_the_client_stood_still_does_not_count);
	T(replies_that_are_none_are_dropped);
	T(needgroups_goes_to_the_caller);
	T(write_body_travels_whole);
	T(why_nobody_answered_is_said_by_the_volcano);
	return g_test_run();
}
