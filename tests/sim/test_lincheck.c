/* The checker of histories knows good ones from bad ones: by hand, and against all orders tried one by one. */
#include "tests/sim/linmodel.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 1000000 };

static LinHistory *names(void)
{
	static const NameState nothing;

	return lin_new(&lin_names, &nothing);
}

static LinHistory *flare(void)
{
	static const FlareState empty = { .mode = 0644 };

	return lin_new(&lin_flare, &empty);
}

static guint calls(LinHistory *h, NameOp o) { return lin_call(h, 0, &o); }
static void returns(LinHistory *h, guint n, NameOp o) { lin_return(h, n, &o); }
static void happens(LinHistory *h, NameOp o) { returns(h, calls(h, o), o); }
static void flare_happens(LinHistory *h, FlareOp o) { lin_return(h, lin_call(h, 0, &o), &o); }

static void is(LinHistory *h, LinResult want)
{
	g_autoptr(GString) why = g_string_new("");

	g_assert_cmpint(lin_check(h, STEPS, why), ==, want);
	g_assert_cmpint(why->len > 0, ==, want == LIN_BAD);
	lin_free(h);
}

#define CREATE(n, i) (NameOp){ .kind = NAME_CREATE, .from = n, .ino = i }
#define FOUND(n, i) (NameOp){ .kind = NAME_LOOKUP, .from = n, .ino = i }
#define STRANGE(n, i) (NameOp){ .kind = NAME_LOOKUP, .from = n, .ino = i, .strange = 1 }
#define MISSING(n) (NameOp){ .kind = NAME_LOOKUP, .from = n, .error = ENOENT }
#define RENAME(a, b, i, r) (NameOp){ .kind = NAME_RENAME, .from = a, .to = b, .ino = i, .replaced = r }
#define UNANSWERED(n, k) (NameOp){ .kind = NAME_CREATE, .from = n, .unseen = NAME_UNSEEN | k }

static void one_after_the_other_is_linearizable(void)
{
	LinHistory *h = names();

	happens(h, MISSING(0));
	happens(h, CREATE(0, 7));
	happens(h, FOUND(0, 7));
	happens(h, RENAME(0, 1, 7, 0));
	happens(h, MISSING(0));
	happens(h, FOUND(1, 7));
	happens(h, (NameOp){ .kind = NAME_UNLINK, .from = 1, .ino = 7 });
	happens(h, (NameOp){ .kind = NAME_UNLINK, .from = 1, .error = ENOENT });
	is(h, LIN_GOOD);
}

static void what_was_acknowledged_and_is_gone_is_found(void)
{
	LinHistory *h = names();

	happens(h, CREATE(0, 7));
	happens(h, MISSING(0));
	is(h, LIN_BAD);
}

static void a_stale_read_is_found(void)
{
	LinHistory *h = names();
	guint n;

	happens(h, CREATE(0, 7));
	n = calls(h, RENAME(0, 1, 7, 0));
	happens(h, MISSING(0));
	happens(h, FOUND(0, 7));      /* it was moved already, for the one before */
	returns(h, n, RENAME(0, 1, 7, 0));
	is(h, LIN_BAD);
}

static void a_rename_seen_in_halves_is_found(void)
{
	LinHistory *h = names();
	guint n;

	happens(h, CREATE(0, 7));
	n = calls(h, RENAME(0, 1, 7, 0));
	happens(h, FOUND(1, 7));
	happens(h, FOUND(0, 7));
	returns(h, n, RENAME(0, 1, 7, 0));
	is(h, LIN_BAD);
}

static void reads_during_a_change_see_either(void)
{
	LinHistory *h = names();
	guint n = calls(h, CREATE(0, 7));

	happens(h, MISSING(0));
	happens(h, FOUND(0, 7));
	returns(h, n, CREATE(0, 7));
	is(h, LIN_GOOD);
}

static void of_two_creates_at_once_one_wins(void)
{
	LinHistory *h = names();
	guint a = calls(h, CREATE(0, 7)), b = calls(h, CREATE(0, 8));

	returns(h, a, (NameOp){ .kind = NAME_CREATE, .from = 0, .error = EEXIST });
	returns(h, b, CREATE(0, 8));
	is(h, LIN_GOOD);
	h = names();
	a = calls(h, CREATE(0, 7));
	b = calls(h, CREATE(0, 8));
	returns(h, a, CREATE(0, 7));
	returns(h, b, CREATE(0, 8));
	is(h, LIN_BAD);
}

static void what_was_never_answered_happened_or_not(void)
{
	LinHistory *h = names();

	calls(h, UNANSWERED(0, 1));
	happens(h, MISSING(0));
	happens(h, MISSING(0));
	is(h, LIN_GOOD);
	h = names();
	calls(h, UNANSWERED(0, 1));
	happens(h, MISSING(0));
	happens(h, STRANGE(0, 9));
	is(h, LIN_GOOD);
	h = names();
	calls(h, UNANSWERED(0, 1));
	happens(h, STRANGE(0, 9));
	happens(h, MISSING(0));
	is(h, LIN_BAD);
}

static void what_was_never_answered_happens_once(void)
{
	LinHistory *h = names();

	calls(h, UNANSWERED(0, 1));
	happens(h, STRANGE(0, 9));
	happens(h, (NameOp){ .kind = NAME_UNLINK, .from = 0, .ino = 9, .strange = 1 });
	happens(h, STRANGE(0, 10));
	is(h, LIN_BAD);
	h = names();
	calls(h, UNANSWERED(0, 1));
	happens(h, RENAME(0, 1, 9, 0));
	((NameOp *)lin_op(h, 1))->strange = 1;
	happens(h, STRANGE(1, 9));
	happens(h, MISSING(0));
	is(h, LIN_GOOD);
}

static FlareOp wrote(guint32 token) { return (FlareOp){ .kind = FLARE_WRITE, .token = token, .blocks = 1 }; }
static FlareOp shows(guint8 token) { return (FlareOp){ .kind = FLARE_READ, .blocks = 1, .content = { token } }; }

/* One write is on its way all the time; another comes and goes. late: what is seen after the first has returned. */
static LinHistory *written_again(gboolean again, guint8 late)
{
	LinHistory *h = flare();
	FlareOp o = wrote(1);

	guint n = lin_call(h, 0, &o);
	flare_happens(h, shows(1));
	flare_happens(h, wrote(2));
	flare_happens(h, shows(2));
	flare_happens(h, shows(again ? 1 : 2));
	if (again)
		lin_again(h, n);
	lin_return(h, n, &o);
	flare_happens(h, wrote(3));
	flare_happens(h, shows(3));
	flare_happens(h, shows(late));
	return h;
}

static void what_happened_once_more_did_so_before_it_returned(void)
{
	is(written_again(FALSE, 3), LIN_GOOD);
	is(written_again(TRUE, 3), LIN_GOOD);
	is(written_again(TRUE, 1), LIN_BAD);
	/* and it need not have */
	LinHistory *h = flare();
	FlareOp o = wrote(1);
	guint n = lin_call(h, 0, &o);
	flare_happens(h, shows(1));
	lin_again(h, n);
	lin_return(h, n, &o);
	flare_happens(h, wrote(2));
	flare_happens(h, shows(2));
	is(h, LIN_GOOD);
	h = flare();
	n = lin_call(h, 0, &o);
	lin_again(h, n);
	lin_return(h, n, &o);
	flare_happens(h, wrote(2));
	flare_happens(h, shows(1));
	is(h, LIN_BAD);
}

/* allowed: how often it may have been done; seen: how often it is. */
static LinHistory *left_behind(guint allowed, guint seen)
{
	LinHistory *h = flare();
	FlareOp o = wrote(1);
	guint n = lin_call(h, 0, &o);

	for (guint i = 0; i < seen; i++) {
		flare_happens(h, shows(1));
		flare_happens(h, wrote(2));
	}
	flare_happens(h, shows(2));
	while (--allowed)
		lin_again(h, n);
	return h;
}

static void what_never_returned_happened_once_more_only_where_it_may(void)
{
	is(left_behind(1, 1), LIN_GOOD);
	is(left_behind(1, 2), LIN_BAD);
	is(left_behind(2, 2), LIN_GOOD);
	is(left_behind(2, 1), LIN_GOOD);
	is(left_behind(2, 3), LIN_BAD);
}

static void a_flare_nobody_made_is_found(void)
{
	LinHistory *h = names();

	calls(h, UNANSWERED(0, 1));
	happens(h, FOUND(0, 7));      /* 7 is known from elsewhere */
	is(h, LIN_BAD);
}

static void a_lost_write_is_found(void)
{
	LinHistory *h = flare();

	flare_happens(h, (FlareOp){ .kind = FLARE_WRITE, .at = 1, .token = 3, .blocks = 2 });
	flare_happens(h, (FlareOp){ .kind = FLARE_READ, .blocks = 2, .content = { 0, 3 } });
	flare_happens(h, (FlareOp){ .kind = FLARE_WRITE, .at = 1, .token = 4, .blocks = 2 });
	flare_happens(h, (FlareOp){ .kind = FLARE_READ, .blocks = 2, .content = { 0, 3 } });
	is(h, LIN_BAD);
}

static void an_append_done_twice_is_found(void)
{
	LinHistory *h = flare();

	flare_happens(h, (FlareOp){ .kind = FLARE_APPEND, .at = 0, .token = 3, .blocks = 1 });
	flare_happens(h, (FlareOp){ .kind = FLARE_GETATTR, .mode = 0644, .blocks = 2 });
	is(h, LIN_BAD);
	/* also of one that never answered */
	h = flare();
	FlareOp o = { .kind = FLARE_APPEND, .token = 3 };
	lin_call(h, 0, &o);
	flare_happens(h, (FlareOp){ .kind = FLARE_READ, .blocks = 2, .content = { 3, 3 } });
	is(h, LIN_BAD);
}

static void a_cut_block_comes_back_as_a_hole(void)
{
	LinHistory *h = flare();

	flare_happens(h, (FlareOp){ .kind = FLARE_APPEND, .at = 0, .token = 3, .blocks = 1 });
	flare_happens(h, (FlareOp){ .kind = FLARE_TRUNCATE, .at = 0, .mode = 0644 });
	flare_happens(h, (FlareOp){ .kind = FLARE_TRUNCATE, .at = 1, .mode = 0644, .blocks = 1 });
	flare_happens(h, (FlareOp){ .kind = FLARE_READ, .blocks = 1, .content = { 0 } });
	is(h, LIN_GOOD);
}

/* --- against all orders --- */

enum { RANDOM_OPS = 5 };

typedef struct {
	FlareOp op;
	guint called, returned;       /* G_MAXUINT: never */
} Event;

static gboolean any_order(const Event *e, guint n, guint left, const FlareState *from)
{
	gboolean over = TRUE;

	for (guint i = 0; i < n; i++)
		over &= !(left >> i & 1) || e[i].returned == G_MAXUINT;
	if (over)
		return TRUE;
	for (guint i = 0; i < n; i++) {
		FlareState s = *from;
		gboolean first = left >> i & 1;
		for (guint k = 0; k < n && first; k++)
			first = !(left >> k & 1) || e[k].returned == G_MAXUINT || e[k].returned > e[i].called;
		if (first && lin_flare.step(&e[i].op, e[i].returned != G_MAXUINT, &s) && any_order(e, n, left & ~(1u << i), &s))
			return TRUE;
	}
	return FALSE;
}

static FlareOp random_op(GRand *r)
{
	FlareOp o = { .kind = g_rand_int_range(r, 0, 6), .mode = 0644, .at = g_rand_int_range(r, 0, 2), .token = g_rand_int_range(r, 1, 3), .blocks = g_rand_int_range(r, 0, 3) };

	if (o.kind == FLARE_READ)
		for (guint i = 0; i < o.blocks; i++)
			o.content[i] = g_rand_int_range(r, 0, 3);
	return o;
}

static void agrees_with_all_orders_tried_one_by_one(void)
{
	guint32 seed = g_test_rand_int();
	GRand *r = g_rand_new_with_seed(seed);
	guint good = 0;

	g_test_message("seed %u", seed);
	for (guint round = 0; round < 20000; round++) {
		LinHistory *h = flare();
		Event e[RANDOM_OPS] = { 0 };
		guint open[RANDOM_OPS], nopen = 0, n = 0, now = 0;
		while (n < RANDOM_OPS || nopen) {
			if (n < RANDOM_OPS && (!nopen || g_rand_boolean(r))) {
				e[n].op = random_op(r);
				e[n].called = now++;
				e[n].returned = G_MAXUINT;
				g_assert_cmpuint(lin_call(h, 0, &e[n].op), ==, n);
				open[nopen++] = n++;
			} else {
				guint at = g_rand_int_range(r, 0, nopen), i = open[at];
				open[at] = open[--nopen];
				if (g_rand_int_range(r, 0, 4)) {
					e[i].returned = now++;
					lin_return(h, i, &e[i].op);
				}
			}
		}
		FlareState empty = { .mode = 0644 };
		gboolean want = any_order(e, RANDOM_OPS, (1u << RANDOM_OPS) - 1, &empty);
		g_assert_cmpint(lin_check(h, STEPS, NULL), ==, want ? LIN_GOOD : LIN_BAD);
		good += want;
		lin_free(h);
	}
	g_assert_cmpuint(good, >, 200);
	g_assert_cmpuint(good, <, 19800);
	g_rand_free(r);
}

static void gives_up_when_it_takes_too_long(void)
{
	LinHistory *h = flare();

	for (guint i = 0; i < 60; i++) {
		FlareOp o = { .kind = FLARE_WRITE, .at = i % 8, .token = 1 + i % 200 };
		lin_call(h, i, &o);
	}
	flare_happens(h, (FlareOp){ .kind = FLARE_READ, .blocks = 9 });
	g_assert_cmpint(lin_check(h, 10000, NULL), ==, LIN_UNKNOWN);
	lin_free(h);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define TEST(fn) g_test_add_func("/sim/lincheck/" #fn, fn)
	TEST(one_after_the_other_is_linearizable);
	TEST(what_was_acknowledged_and_is_gone_is_found);
	TEST(a_stale_read_is_found);
	TEST(a_rename_seen_in_halves_is_found);
	TEST(reads_during_a_change_see_either);
	TEST(of_two_creates_at_once_one_wins);
	TEST(what_was_never_answered_happened_or_not);
	TEST(what_was_never_answered_happens_once);
	TEST(what_happened_once_more_did_so_before_it_returned);
	TEST(what_never_returned_happened_once_more_only_where_it_may);
	TEST(a_flare_nobody_made_is_found);
	TEST(a_lost_write_is_found);
	TEST(an_append_done_twice_is_found);
	TEST(a_cut_block_comes_back_as_a_hole);
	TEST(agrees_with_all_orders_tried_one_by_one);
	TEST(gives_up_when_it_takes_too_long);
	return g_test_run();
}
