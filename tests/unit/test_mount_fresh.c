/* What a stat's second question may be answered with, and what errors the kernel may see. */
#include <errno.h>
#include "mount.magma/request.h"
#include "mount.magma/fresh.h"

enum { T1 = 1000, T2 = 1000 + 64, T3 = 1001 };      /* T1 and T2 fall into one place */

static MagmaAttr attrs[2];
static Mount m;

static void setup(void)
{
	m = (Mount){ 0 };
	for (guint i = 0; i < 2; i++)
		attrs[i] = (MagmaAttr){ .fid.ino = 10 + i, .size = i };
}

/* The machine may be slow: what is taken too late is NULL, which is right, but shows nothing. */
static gboolean taken_at_once(pid_t noted, pid_t asked, guint flare, gboolean drop)
{
	for (guint tries = 0; tries < 1000; tries++) {
		gint64 t = g_get_monotonic_time();
		fresh_note(&m, noted, m.changes, &attrs[0]);
		if (drop)
			fresh_drop(&m, asked);
		const MagmaAttr *a = fresh_take(&m, asked, &attrs[flare].fid);
		if (a)
			return TRUE;
		if (g_get_monotonic_time() - t < 40)
			return FALSE;
	}
	return FALSE;
}

static void test_good_once(void)
{
	setup();
	g_assert_true(taken_at_once(T1, T1, 0, FALSE));
	g_assert_null(fresh_take(&m, T1, &attrs[0].fid));
}

static void test_only_there(void)
{
	setup();
	g_assert_false(taken_at_once(T1, T2, 0, FALSE));
	g_assert_false(taken_at_once(T1, T3, 0, FALSE));
	g_assert_false(taken_at_once(T1, T1, 1, FALSE));
	g_assert_false(taken_at_once(T1, T1, 0, TRUE));
	g_assert_false(taken_at_once(0, 0, 0, FALSE));
}

static void test_not_late(void)
{
	setup();
	fresh_note(&m, T1, m.changes, &attrs[0]);
	m.fresh[T1 % G_N_ELEMENTS(m.fresh)].answered -= 1000;
	g_assert_null(fresh_take(&m, T1, &attrs[0].fid));
}

/* Also one that was acknowledged while the lookup was under way. */
static void test_not_after_a_change(void)
{
	setup();
	fresh_note(&m, T1, m.changes, &attrs[0]);
	m.fresh[T1 % G_N_ELEMENTS(m.fresh)].answered += G_USEC_PER_SEC;
	m.changes++;
	g_assert_null(fresh_take(&m, T1, &attrs[0].fid));
	fresh_note(&m, T1, m.changes - 1, &attrs[0]);
	m.fresh[T1 % G_N_ELEMENTS(m.fresh)].answered += G_USEC_PER_SEC;
	g_assert_null(fresh_take(&m, T1, &attrs[0].fid));
	fresh_note(&m, T1, m.changes, &attrs[0]);
	m.fresh[T1 % G_N_ELEMENTS(m.fresh)].answered += G_USEC_PER_SEC;
	g_assert_nonnull(fresh_take(&m, T1, &attrs[0].fid));
}

static void test_errors(void)
{
	static const struct { int said, seen; } rows[] = {
		{ 0, 0 }, { ENOENT, ENOENT }, { EDQUOT, EDQUOT }, { MAGMA_EAUTH, EACCES }, { MAGMA_ENEEDGROUPS, EACCES }, { MAGMA_ENOBODY, EIO },
		{ MAGMA_EPROTO, EIO }, { MAGMA_EMAP, EIO }, { MAGMA_EEXPIRED, EIO }, { MAGMA_EBACKOFF, EIO }, { MAGMA_ETRYAGAIN, EIO },
		{ MAGMA_ENOTOWNER, EIO }, { ENOSYS, EOPNOTSUPP }, { ECANCELED, EIO }, { 512, EIO }, { 530, EIO }, { -1, EIO }, { G_MAXINT, EIO }, { G_MININT, EIO },
	};
	for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
		g_assert_cmpint(kernel_errno(rows[i].said), ==, rows[i].seen);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mount/fresh/attributes_of_a_lookup_are_good_once", test_good_once);
	g_test_add_func("/mount/fresh/not_for_another_thread_or_flare_or_after_another_question", test_only_there);
	g_test_add_func("/mount/fresh/not_after_a_while", test_not_late);
	g_test_add_func("/mount/fresh/not_after_a_change_by_this_mount", test_not_after_a_change);
	g_test_add_func("/mount/reply/no_code_of_ours_reaches_the_kernel", test_errors);
	return g_test_run();
}
