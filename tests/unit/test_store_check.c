/* The offline check finds what is wrong, finds nothing where nothing is, and changes nothing. */
#include "tests/unit/store_kit.h"
#include "magmad/core/rows.h"
#include "magmad/store/check.h"
#include "magmad/store/content.h"
#include <glib/gstdio.h>
#include <string.h>

static MagmaFid root_fid(void) { return (MagmaFid){ magma_key_of_path("/", 1), MAGMA_ROOT_INO }; }

static void put_flare(Txn *t, const MagmaFid *fid, guint32 mode, guint32 nlink, guint64 size, guint8 content)
{
	FlareRow row = { .attr = { .fid = *fid, .mode = mode, .nlink = nlink, .size = size, .blocks = content == CONTENT_FILE ? 8 : 0 }, .parent = root_fid(), .next_cookie = 100, .content = content };
	g_autoptr(GByteArray) val = g_byte_array_new();
	guint8 k[STORE_KEY_MAX];

	flare_row_encode(&row, val);
	txn_put(t, TAB_FLARE, k, key_ino(k, fid->ino), &fid->key, val->data, val->len);
}

static void put_entry(Txn *t, const char *name, guint64 cookie, const MagmaFid *child, guint32 type)
{
	EntryRow e = { .cookie = cookie, .child = *child, .type = type };
	MagmaFid root = root_fid();
	g_autoptr(GByteArray) val = g_byte_array_new();
	guint8 k[STORE_KEY_MAX];

	entry_row_encode(&e, val);
	txn_put(t, TAB_ENTRY, k, key_ino_bytes(k, root.ino, (const guint8 *)name, strlen(name)), &root.key, val->data, val->len);
	g_byte_array_set_size(val, 0);
	cookie_row_encode(&e, (const guint8 *)name, strlen(name), val);
	txn_put(t, TAB_COOKIE, k, key_ino_u64(k, root.ino, cookie), &root.key, val->data, val->len);
}

static void put_plain(Txn *t, StoreTable table, guint64 ino, const char *val)
{
	guint8 k[STORE_KEY_MAX];
	MagmaFid fid = kit_fid(ino);

	txn_put(t, table, k, key_ino(k, ino), &fid.key, val, strlen(val));
}

static void on_done(void *user, int error)
{
	g_assert_cmpint(error, ==, 0);
	*(gboolean *)user = TRUE;
}

/* A small tree: / with a file inline (10), a file of its own (11), a directory of the other volcano's (12). */
static Store *make_tree(const char *path)
{
	Store *s = kit_open(path, 0);
	MagmaFid root = root_fid(), a = kit_fid(10), b = kit_fid(11), c = kit_fid(12);
	Txn *t = txn_new();
	g_autoptr(GBytes) data = g_bytes_new_static("content", 7);
	gboolean done = FALSE;

	put_flare(t, &root, S_IFDIR | 0755, 3, 3, 0);
	put_flare(t, &a, S_IFREG | 0644, 1, 5, CONTENT_INLINE);
	put_plain(t, TAB_DATA, 10, "12345");
	put_flare(t, &b, S_IFREG | 0644, 1, 7, CONTENT_FILE);
	put_entry(t, "a", 1, &a, S_IFREG);
	put_entry(t, "b", 2, &b, S_IFREG);
	put_entry(t, "c", 3, &c, S_IFDIR);
	kit_acked(s, store_commit(s, t));
	store_content_write(s, &b, 0, data, on_done, &done);
	kit_until(&done);
	return s;
}

/* Problems of a folder, a line each, in order. */
static char *problems(const char *path)
{
	StoreCheckOptions opt = { .older_than = 3600 };
	g_auto(StoreCheck) c = { 0 };
	g_autoptr(GError) error = NULL;
	GString *all = g_string_new(NULL);

	g_assert_true(store_check(path, &opt, &c, &error));
	for (guint i = 0; i < c.problems->len; i++)
		g_string_append_printf(all, "%s\n", (char *)c.problems->pdata[i]);
	return g_string_free(all, FALSE);
}

static void healthy_folder_is_clean_and_stays_as_it_is(void)
{
	char *path = kit_dir();
	StoreCheckOptions opt = { 0 };
	g_autoptr(GError) error = NULL;

	for (guint closed = 0; closed < 2; closed++) {
		Store *s = closed ? kit_open(path, 0) : make_tree(path);
		if (closed)
			diskstore_close(s);
		else
			diskstore_abandon(s);         /* all in the journal, nothing in sqlite */
		for (guint twice = 0; twice < 2; twice++) {
			g_auto(StoreCheck) c = { 0 };
			g_assert_true(store_check(path, &opt, &c, &error));
			g_assert_cmpuint(c.problems->len, ==, 0);
			g_assert_cmpuint(c.rows[TAB_FLARE], ==, 3);
			g_assert_cmpuint(c.rows[TAB_ENTRY], ==, 3);
			g_assert_cmpuint(c.files, ==, 2);
			g_assert_cmpuint(c.content_bytes, ==, 7);
			g_assert_cmpuint(c.inline_bytes, ==, 5);
			g_assert_cmpuint(c.journal.last, ==, 1);
			g_assert_cmpuint(c.applied, ==, closed ? 1 : 0);
		}
	}
	kit_remove(path);
}

static void folder_in_use_is_not_checked(void)
{
	char *path = kit_dir();
	Store *s = make_tree(path);
	StoreCheckOptions opt = { 0 };
	g_auto(StoreCheck) c = { 0 };
	g_autoptr(GError) error = NULL;

	g_assert_false(store_check(path, &opt, &c, &error));
	g_assert_nonnull(strstr(error->message, "is used by another magmad"));
	diskstore_close(s);
	kit_remove(path);
}

/* Each case breaks one thing and names the line that must be the only one. */
static void break_cookie(Txn *t)
{
	guint8 k[STORE_KEY_MAX];
	txn_del(t, TAB_COOKIE, k, key_ino_u64(k, MAGMA_ROOT_INO, 2), NULL);
}

static void break_entry(Txn *t)
{
	guint8 k[STORE_KEY_MAX];
	MagmaFid root = root_fid();
	txn_del(t, TAB_ENTRY, k, key_ino_bytes(k, MAGMA_ROOT_INO, (const guint8 *)"c", 1), NULL);
	put_flare(t, &root, S_IFDIR | 0755, 3, 2, 0);
}

static void break_count(Txn *t)
{
	MagmaFid root = root_fid();
	put_flare(t, &root, S_IFDIR | 0755, 3, 9, 0);
}

static void break_name(Txn *t)
{
	MagmaFid lost = kit_fid(20);
	put_flare(t, &lost, S_IFDIR | 0755, 2, 0, 0);
}

static void break_type(Txn *t)
{
	MagmaFid a = kit_fid(10);
	put_flare(t, &a, S_IFIFO | 0644, 1, 5, CONTENT_INLINE);
	guint8 k[STORE_KEY_MAX];
	txn_del(t, TAB_DATA, k, key_ino(k, 10), NULL);
}

static void break_data(Txn *t)
{
	guint8 k[STORE_KEY_MAX];
	txn_del(t, TAB_DATA, k, key_ino(k, 10), NULL);
}

static void break_size(Txn *t)
{
	MagmaFid b = kit_fid(11);
	put_flare(t, &b, S_IFREG | 0644, 1, 6, CONTENT_FILE);      /* longer would be a hole at its end */
}

static void break_row(Txn *t)
{
	put_plain(t, TAB_FLARE, 30, "rubbish");
}

static void break_orphan(Txn *t) { put_plain(t, TAB_ORPHAN, 31, ""); }
static void break_inline(Txn *t)
{
	MagmaFid a = kit_fid(10);
	g_autofree char *much = g_strnfill(MAGMA_INLINE_MAX + 1, 'x');
	put_flare(t, &a, S_IFREG | 0644, 1, MAGMA_INLINE_MAX + 1, CONTENT_INLINE);
	put_plain(t, TAB_DATA, 10, much);
}

static void break_mark(Txn *t)
{
	MarkRow m = { .op_hi = 1, .op_lo = 2, .target = kit_fid(10), .kind = MARK_REF_ADD, .age = 1000000, .coord = root_fid() };
	g_autoptr(GByteArray) val = g_byte_array_new();
	guint8 k[STORE_KEY_MAX];

	mark_row_encode(&m, val);
	txn_put(t, TAB_MARK, k, key_mark(k, 1, 2, 10, MARK_REF_ADD), &m.target.key, val->data, val->len);
}

/* Made here, linked by another volcano's directory, removed here; and a directory that a power cut took the name of, which is known. */
static void a_file_may_have_its_name_elsewhere_and_a_suspect_none(void)
{
	char *path = kit_dir();
	Store *s = make_tree(path);
	Txn *t = txn_new();
	MagmaFid moved = kit_fid(20), suspect = kit_fid(21);
	g_auto(StoreCheck) c = { 0 };
	StoreCheckOptions opt = { 0 };
	g_autoptr(GError) error = NULL;

	put_flare(t, &moved, S_IFREG | 0644, 1, 0, CONTENT_INLINE);
	put_flare(t, &suspect, S_IFDIR | 0755, 2, 0, 0);
	txn_put(t, TAB_META, "suspect-0000000000000015", 24, NULL, "", 0);
	kit_acked(s, store_commit(s, t));
	diskstore_close(s);
	g_assert_true(store_check(path, &opt, &c, &error));
	g_assert_cmpuint(c.problems->len, ==, 0);
	g_assert_cmpuint(c.nameless, ==, 1);
	kit_remove(path);
}

static const struct { void (*breaks)(Txn *); const char *line; } cases[] = {
	{ break_cookie, "entry \"b\" of directory 1 has no cookie row (2)\n" },
	{ break_entry, "cookie 3 of directory 1 has no entry \"c\"\n" },
	{ break_count, "directory 1 says it has 9 entries, there are 3\n" },
	{ break_name, "flare 20 has no entry in its directory 1, nor a mark\n" },
	{ break_type, "entry \"a\" of directory 1 says type 100000, flare 10 is of type 010000\n" },
	{ break_data, "flare 10 has 5 bytes inline, but their row is missing\n" },
	{ break_size, "flare 11 has a size of 6, its content file 7\n" },
	{ break_row, "the row of flare 30 is not readable\n" },
	{ break_orphan, "orphan row of flare 31, which is not here\n" },
	{ break_inline, "flare 10 has 8193 bytes inline, more than 8192\n" },
	{ break_mark, "flare 10 has a mark of operation 1-2 that hangs since*" },
};

static void each_wrong_row_is_named_alone(void)
{
	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		char *path = kit_dir();
		Store *s = make_tree(path);
		Txn *t = txn_new();
		cases[i].breaks(t);
		kit_acked(s, store_commit(s, t));
		if (i % 2)
			diskstore_close(s);
		else
			diskstore_abandon(s);
		g_autofree char *found = problems(path);
		if (!g_pattern_match_simple(cases[i].line, found))
			g_assert_cmpstr(found, ==, cases[i].line);
		kit_remove(path);
	}
}

static void files_without_flares_are_found(void)
{
	char *path = kit_dir();
	diskstore_close(make_tree(path));
	MagmaFid b = kit_fid(11), none = kit_fid(77);
	char name[CONTENT_NAME_MAX];
	g_autofree char *root = g_build_filename(path, "content", NULL);
	g_autofree char *file = g_build_filename(root, content_name(&b, name), NULL), *other = g_build_filename(root, content_name(&none, name), NULL);
	g_autofree char *dir = g_path_get_dirname(other), *stray = g_build_filename(root, "stray", NULL);

	g_mkdir_with_parents(dir, 0700);
	g_assert_cmpint(g_rename(file, other), ==, 0);
	g_assert_true(g_file_set_contents(stray, "x", 1, NULL));
	g_autofree char *found = problems(path), *one = g_strdup_printf("%s: there is no such flare\n", other), *two = g_strdup_printf("%s is nothing of ours\n", stray);
	g_assert_nonnull(strstr(found, "flare 11 has written contents, but no content file\n"));
	g_assert_nonnull(strstr(found, one));
	g_assert_nonnull(strstr(found, two));
	kit_remove(path);
}

/* A removed flare loses its content first and its rows then: a stop in between is no damage. With a name left it is. */
static void a_removed_flare_may_have_lost_its_content_already(void)
{
	for (guint named = 0; named < 2; named++) {
		char *path = kit_dir();
		Store *s = make_tree(path);
		MagmaFid d = kit_fid(13);
		Txn *t = txn_new();
		put_flare(t, &d, S_IFREG | 0644, named, 7, CONTENT_FILE);
		put_plain(t, TAB_ORPHAN, 13, "");
		kit_acked(s, store_commit(s, t));
		diskstore_close(s);
		g_autofree char *found = problems(path);
		g_assert_cmpstr(found, ==, named ? "flare 13 has written contents, but no content file\n" : "");
		kit_remove(path);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/check/healthy_folder_is_clean_and_stays_as_it_is", healthy_folder_is_clean_and_stays_as_it_is);
	g_test_add_func("/store/check/folder_in_use_is_not_checked", folder_in_use_is_not_checked);
	g_test_add_func("/store/check/a_file_may_have_its_name_elsewhere_and_a_suspect_none", a_file_may_have_its_name_elsewhere_and_a_suspect_none);
	g_test_add_func("/store/check/a_removed_flare_may_have_lost_its_content_already", a_removed_flare_may_have_lost_its_content_already);
	g_test_add_func("/store/check/each_wrong_row_is_named_alone", each_wrong_row_is_named_alone);
	g_test_add_func("/store/check/files_without_flares_are_found", files_without_flares_are_found);
	return g_test_run();
}
