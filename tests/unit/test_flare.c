/* libmagma/flare: what Linux does on a local file system is the reference for the permission rules. */
#include "libmagma/flare/flare.h"
#include "libmagma/base/err.h"
#include "libmagma/base/wire.h"
#include <errno.h>
#include <string.h>

#define R MAGMA_R
#define W MAGMA_W
#define X MAGMA_X
#define NEED MAGMA_ENEEDGROUPS

/* The caller is user 1000 of group 100, and, where groups are known, of 200 and 300. */
static guint8 groups[8];
typedef enum { ROOT, KNOWN, UNKNOWN, NONE } Who;

static MagmaCred cred(Who who)
{
	magma_be32_store(groups, 200);
	magma_be32_store(groups + 4, 300);
	switch (who) {
	case ROOT: return (MagmaCred){ .uid = 0, .gid = 0 };
	case KNOWN: return (MagmaCred){ .uid = 1000, .gid = 100, .has_groups = TRUE, .ngroups = 2, .groups_be = groups };
	case NONE: return (MagmaCred){ .uid = 1000, .gid = 100, .has_groups = TRUE };
	default: return (MagmaCred){ .uid = 1000, .gid = 100 };
	}
}

static void access_is_decided_as_linux_does(void)
{
	static const struct { Who who; guint32 mode, uid, gid, want; int error; } cases[] = {
		/* the owner's bits alone count for the owner, even where others may more */
		{ KNOWN, S_IFREG | 0600, 1000, 1, R | W, 0 },
		{ KNOWN, S_IFREG | 0600, 1000, 1, X, EACCES },
		{ KNOWN, S_IFREG | 0077, 1000, 100, R, EACCES },
		{ UNKNOWN, S_IFREG | 0077, 1000, 999, R, EACCES },
		{ KNOWN, S_IFREG | 0400, 1000, 1, R | W, EACCES },
		/* the group's: primary, supplementary, none of mine */
		{ KNOWN, S_IFREG | 0040, 1, 100, R, 0 },
		{ UNKNOWN, S_IFREG | 0040, 1, 100, R, 0 },
		{ KNOWN, S_IFREG | 0040, 1, 200, R, 0 },
		{ KNOWN, S_IFREG | 0040, 1, 300, R, 0 },
		{ KNOWN, S_IFREG | 0040, 1, 400, R, EACCES },
		{ NONE, S_IFREG | 0040, 1, 200, R, EACCES },
		{ KNOWN, S_IFREG | 0604, 1, 200, R, EACCES },
		{ KNOWN, S_IFREG | 0060, 1, 200, R | X, EACCES },
		/* others */
		{ KNOWN, S_IFREG | 0004, 1, 1, R, 0 },
		{ KNOWN, S_IFREG | 0004, 1, 1, W, EACCES },
		{ KNOWN, S_IFDIR | 0711, 1, 1, X, 0 },
		{ KNOWN, S_IFDIR | 0711, 1, 1, R | X, EACCES },
		/* groups are asked for only where they decide */
		{ UNKNOWN, S_IFREG | 0644, 1, 200, R, 0 },
		{ UNKNOWN, S_IFREG | 0600, 1, 200, R, EACCES },
		{ UNKNOWN, S_IFREG | 0640, 1, 200, R, NEED },
		{ UNKNOWN, S_IFREG | 0604, 1, 200, R, NEED },
		{ UNKNOWN, S_IFREG | 0664, 1, 200, W, NEED },
		{ UNKNOWN, S_IFREG | 0664, 1, 200, R, 0 },
		{ UNKNOWN, S_IFDIR | 0755, 1, 200, R | X, 0 },
		/* root: everything, but executes only what somebody may execute; searches any directory */
		{ ROOT, S_IFREG | 0000, 1, 1, R | W, 0 },
		{ ROOT, S_IFREG | 0666, 1, 1, X, EACCES },
		{ ROOT, S_IFREG | 0666, 0, 0, X, EACCES },
		{ ROOT, S_IFREG | 0001, 1, 1, R | W | X, 0 },
		{ ROOT, S_IFREG | 0010, 1, 1, X, 0 },
		{ ROOT, S_IFREG | 0100, 1, 1, X, 0 },
		{ ROOT, S_IFREG | 07666, 1, 1, X, EACCES },
		{ ROOT, S_IFDIR | 0000, 1, 1, R | W | X, 0 },
		/* nothing asked, nothing refused */
		{ KNOWN, S_IFREG | 0000, 1, 1, 0, 0 },
		{ UNKNOWN, S_IFREG | 0000, 1, 1, 0, 0 },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		MagmaCred c = cred(cases[i].who);
		g_test_message("case %u: mode %o", i, cases[i].mode);
		g_assert_cmpint(magma_perm_check(&c, cases[i].mode, cases[i].uid, cases[i].gid, cases[i].want), ==, cases[i].error);
	}
}

/* Whoever sends no groups gets the answer of both kinds of caller, or is asked for them. */
static void asking_for_groups_never_changes_an_answer(void)
{
	MagmaCred unknown = cred(UNKNOWN), in = cred(KNOWN), out = cred(NONE);

	for (guint32 mode = 0; mode < 01000; mode++)
		for (guint32 want = 1; want < 8; want++)
			for (int owner = 0; owner < 2; owner++) {
				guint32 uid = owner ? 1000 : 1;
				int a = magma_perm_check(&in, S_IFREG | mode, uid, 200, want), b = magma_perm_check(&out, S_IFREG | mode, uid, 200, want);
				int got = magma_perm_check(&unknown, S_IFREG | mode, uid, 200, want);
				g_assert_cmpint(got, ==, a == b ? a : NEED);
			}
}

static void sticky_directory_protects_the_files_of_others(void)
{
	static const struct { Who who; guint32 mode, dir_uid, child_uid; int error; } cases[] = {
		{ KNOWN, 01777, 0, 1000, 0 }, { KNOWN, 01777, 1000, 5, 0 }, { KNOWN, 01777, 0, 5, EPERM },
		{ KNOWN, 0777, 0, 5, 0 }, { ROOT, 01777, 7, 5, 0 },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		MagmaCred c = cred(cases[i].who);
		g_assert_cmpint(magma_perm_sticky(&c, S_IFDIR | cases[i].mode, cases[i].dir_uid, cases[i].child_uid), ==, cases[i].error);
	}
}

static void chmod_is_the_owners_and_keeps_setgid_only_for_members(void)
{
	static const struct { Who who; guint32 uid, gid, mode; int error; guint32 becomes; } cases[] = {
		{ KNOWN, 1000, 100, 04755, 0, 04755 },
		{ KNOWN, 1, 100, 0755, EPERM, 0755 },
		{ KNOWN, 1000, 100, 02755, 0, 02755 },
		{ KNOWN, 1000, 200, 02755, 0, 02755 },
		{ KNOWN, 1000, 400, 02755, 0, 0755 },
		{ KNOWN, 1000, 400, 07644, 0, 05644 },          /* also where the group may not execute */
		{ KNOWN, 1000, 400, 01755, 0, 01755 },
		{ NONE, 1000, 200, 02755, 0, 0755 },
		{ UNKNOWN, 1000, 200, 02755, NEED, 02755 },
		{ UNKNOWN, 1000, 200, 0755, 0, 0755 },
		{ UNKNOWN, 1000, 100, 02755, 0, 02755 },
		{ UNKNOWN, 1, 200, 02755, EPERM, 02755 },
		{ ROOT, 1000, 400, 06755, 0, 06755 },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
		for (int dir = 0; dir < 2; dir++) {
			MagmaCred c = cred(cases[i].who);
			MagmaAttr a = { .mode = (dir ? S_IFDIR : S_IFREG) | 0700, .uid = cases[i].uid, .gid = cases[i].gid };
			guint32 mode = cases[i].mode;
			g_test_message("case %u", i);
			g_assert_cmpint(magma_perm_chmod(&c, &a, &mode), ==, cases[i].error);
			g_assert_cmpint(mode, ==, cases[i].becomes);
		}
}

static void chown_gives_nothing_away(void)
{
	const guint32 leave = (guint32)-1;
	const struct { Who who; guint32 file_uid, file_gid, uid, gid; int error; } cases[] = {
		{ ROOT, 5, 5, 6, 6, 0 },
		{ ROOT, 5, 5, 0, leave, 0 },
		{ KNOWN, 1000, 100, 1001, leave, EPERM },
		{ KNOWN, 1000, 100, 0, leave, EPERM },
		{ KNOWN, 1000, 100, 1000, leave, 0 },
		{ KNOWN, 1000, 100, leave, 200, 0 },
		{ KNOWN, 1000, 100, 1000, 300, 0 },
		{ KNOWN, 1000, 100, leave, 400, EPERM },
		{ KNOWN, 1000, 100, 1001, 200, EPERM },
		{ KNOWN, 1000, 400, leave, 400, 0 },             /* it is in that group already */
		{ KNOWN, 1000, 400, leave, 100, 0 },
		{ KNOWN, 5, 200, leave, 200, EPERM },            /* not the owner */
		{ KNOWN, 5, 200, 5, leave, EPERM },
		{ KNOWN, 5, 200, 1000, leave, EPERM },
		{ KNOWN, 5, 200, leave, leave, 0 },              /* nothing is changed: Linux lets it pass */
		{ UNKNOWN, 1000, 100, leave, 200, NEED },
		{ UNKNOWN, 1000, 200, leave, 200, 0 },
		{ UNKNOWN, 1000, 200, leave, 100, 0 },
		{ UNKNOWN, 1000, 100, 1001, 200, EPERM },
		{ NONE, 1000, 100, leave, 200, EPERM },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		MagmaCred c = cred(cases[i].who);
		MagmaAttr a = { .mode = S_IFREG | 0644, .uid = cases[i].file_uid, .gid = cases[i].file_gid };
		g_test_message("case %u", i);
		g_assert_cmpint(magma_perm_chown(&c, &a, cases[i].uid, cases[i].gid), ==, cases[i].error);
	}
}

static void writing_takes_setuid_and_setgid_away(void)
{
	static const struct { guint32 before, after; } cases[] = {
		{ S_IFREG | 04755, S_IFREG | 0755 }, { S_IFREG | 02755, S_IFREG | 0755 }, { S_IFREG | 06755, S_IFREG | 0755 },
		{ S_IFREG | 02745, S_IFREG | 02745 },           /* no S_IXGRP: mandatory locking */
		{ S_IFREG | 06644, S_IFREG | 02644 }, { S_IFREG | 0777, S_IFREG | 0777 }, { S_IFREG | 01777, S_IFREG | 01777 },
		{ S_IFDIR | 06755, S_IFDIR | 06755 }, { S_IFIFO | 04711, S_IFIFO | 0711 },
	};
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(magma_mode_killpriv(cases[i].before), ==, cases[i].after);
}

static void membership_counts_primary_and_sent_groups(void)
{
	MagmaCred known = cred(KNOWN), none = cred(NONE), unknown = cred(UNKNOWN);

	g_assert_true(magma_cred_in_group(&known, 100));
	g_assert_true(magma_cred_in_group(&known, 200));
	g_assert_true(magma_cred_in_group(&known, 300));
	g_assert_false(magma_cred_in_group(&known, 0));
	g_assert_false(magma_cred_in_group(&none, 200));
	g_assert_false(magma_cred_in_group(&unknown, 200));
	g_assert_true(magma_cred_in_group(&unknown, 100));
}

static gboolean valid(const char *s) { return magma_name_valid((const guint8 *)s, strlen(s)); }

static void names_are_what_posix_allows(void)
{
	g_autofree char *most = g_strnfill(MAGMA_NAME_MAX, 'x'), *more = g_strnfill(MAGMA_NAME_MAX + 1, 'x');

	g_assert_true(valid("a") && valid("...") && valid(".a") && valid("..a") && valid(" ") && valid("\n") && valid("\xff\xfe") && valid(most));
	g_assert_false(valid("") || valid(".") || valid("..") || valid("/") || valid("a/b") || valid("/a") || valid("a/") || valid(more));
	g_assert_false(magma_name_valid((const guint8 *)"a\0b", 3));
	g_assert_false(magma_name_valid(NULL, 0));
}

static void root_is_where_its_path_says(void)
{
	MagmaFid root = magma_fid_root(), other = root;
	MagmaKey k = magma_key_of_path("/", 1);

	g_assert_true(magma_key_equal(&root.key, &k));
	g_assert_cmpuint(root.ino, ==, MAGMA_ROOT_INO);
	g_assert_true(magma_fid_equal(&root, &other));
	g_assert_cmpuint(magma_fid_hash(&root), ==, magma_fid_hash(&other));
	other.ino++;
	g_assert_false(magma_fid_equal(&root, &other));
	other = root, other.key.b[0]++;
	g_assert_false(magma_fid_equal(&root, &other));
}

static void times_compare_by_seconds_then_nanoseconds(void)
{
	MagmaTs a = { -1, 5 }, b = { -1, 6 }, c = { 0, 0 };

	g_assert_cmpint(magma_ts_cmp(a, b), <, 0);
	g_assert_cmpint(magma_ts_cmp(b, c), <, 0);
	g_assert_cmpint(magma_ts_cmp(c, a), >, 0);
	g_assert_cmpint(magma_ts_cmp(a, a), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/flare/" #name, name)
	ADD(access_is_decided_as_linux_does);
	ADD(asking_for_groups_never_changes_an_answer);
	ADD(sticky_directory_protects_the_files_of_others);
	ADD(chmod_is_the_owners_and_keeps_setgid_only_for_members);
	ADD(chown_gives_nothing_away);
	ADD(writing_takes_setuid_and_setgid_away);
	ADD(membership_counts_primary_and_sent_groups);
	ADD(names_are_what_posix_allows);
	ADD(root_is_where_its_path_says);
	ADD(times_compare_by_seconds_then_nanoseconds);
	return g_test_run();
}
