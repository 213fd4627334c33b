/* The inode table against a model: what the kernel was promised is there until it forgets it, and paths follow renames. */
#include <stdlib.h>
#include <string.h>
#include "mount.magma/inodes.h"

#define FLARES 60                     /* few, so that names and parents collide */
#define STEPS 20000

typedef struct {
	guint64 lookups;
	int parent;                   /* -1: none */
	char name[8];
	Inode *inode;
} Model;

static guint32 seed;

static MagmaAttr attr_of(guint n)
{
	MagmaAttr a = { .mode = S_IFDIR | 0755 };
	a.fid.ino = 1 + n;
	a.fid.key.b[0] = (guint8)n;
	return a;
}

static Inodes table_new(const char *root_path)
{
	Inodes t;
	MagmaAttr a = attr_of(0);
	inodes_init(&t, &a.fid, root_path);
	return t;
}

static gboolean model_above(const Model *m, int maybe_above, int i)
{
	for (; i >= 0; i = m[i].parent)
		if (i == maybe_above)
			return TRUE;
	return FALSE;
}

/* A node stays while it has lookups or is somebody's parent. */
static gboolean model_alive(const Model *m, int i)
{
	if (i == 0 || m[i].lookups)
		return TRUE;
	for (int c = 1; c < FLARES; c++)
		if (m[c].parent == i && model_alive(m, c))
			return TRUE;
	return FALSE;
}

static void model_sweep(Model *m)
{
	for (gboolean more = TRUE; more;) {
		more = FALSE;
		for (int i = 1; i < FLARES; i++) {
			if (m[i].inode && !model_alive(m, i)) {
				m[i] = (Model){ .parent = -1 };
				more = TRUE;
			}
		}
	}
}

static void model_path(const Model *m, int i, GString *out)
{
	if (i <= 0 || !m[i].name[0])
		return;
	model_path(m, m[i].parent, out);
	g_string_append_printf(out, "/%s", m[i].name);
}

static void model_move(Model *m, int i, int parent, const char *name)
{
	if (i == 0)
		return;
	g_strlcpy(m[i].name, name, sizeof m[i].name);
	m[i].parent = m[i].parent == parent ? parent : model_above(m, i, parent) ? -1 : parent;
}

static void check_all(const Inodes *t, const Model *m)
{
	guint alive = 0;
	for (int i = 0; i < FLARES; i++) {
		MagmaAttr a = attr_of((guint)i);
		Inode *found = inodes_find(t, &a.fid);
		g_assert_true(found == m[i].inode);
		if (!found)
			continue;
		alive++;
		g_assert_cmpuint(found->lookups, ==, m[i].lookups);
		g_assert_true(inode_of(t, inode_nodeid(t, found)) == found);
		g_autoptr(GString) want = g_string_new(NULL);
		model_path(m, i, want);
		char path[MAGMA_PATH_MAX + 1];
		path[inode_path(t, found, path)] = 0;
		g_assert_cmpstr(path, ==, want->len ? want->str : "/");
	}
	g_assert_cmpuint(t->count, ==, alive);
}

static void test_random(void)
{
	g_test_message("seed %u", seed);
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	Inodes t = table_new("/");
	Model m[FLARES] = { { 0 } };
	for (int i = 0; i < FLARES; i++)
		m[i].parent = -1;
	m[0].inode = t.root;
	for (int step = 0; step < STEPS; step++) {
		int i = g_rand_int_range(rand, 1, FLARES), p = g_rand_int_range(rand, 0, FLARES);
		char name[8];
		g_snprintf(name, sizeof name, "n%d", g_rand_int_range(rand, 0, 50));
		switch (g_rand_int_range(rand, 0, 4)) {
		case 0: case 1: {              /* looked up in a directory the kernel knows */
			if (!m[p].inode || p == i)
				continue;
			MagmaAttr a = attr_of((guint)i);
			Inode *got = inodes_enter(&t, m[p].inode, name, &a);
			g_assert_true(!m[i].inode || m[i].inode == got);
			m[i].inode = got;
			m[i].lookups++;
			model_move(m, i, p, name);
			break;
		}
		case 2: {                      /* forgotten, in part or all of it */
			if (!m[i].lookups)
				continue;
			guint64 n = (guint64)g_rand_int_range(rand, 1, (int)m[i].lookups + 1);
			inodes_forget(&t, m[i].inode, n);
			m[i].lookups -= n;
			break;
		}
		case 3:                        /* renamed */
			if (!m[i].inode || !m[p].inode || p == i)
				continue;
			inodes_move(&t, m[i].inode, m[p].inode, name);
			model_move(m, i, p, name);
			break;
		}
		model_sweep(m);
		check_all(&t, m);
	}
	for (int i = 1; i < FLARES; i++)
		if (m[i].lookups)
			inodes_forget(&t, m[i].inode, m[i].lookups);
	g_assert_cmpuint(t.count, ==, 1);
	inodes_clear(&t);
}

static void test_grows(void)
{
	Inodes t = table_new("/");
	enum { MANY = 20000 };
	g_autofree Inode **all = g_new(Inode *, MANY);
	for (guint i = 1; i < MANY; i++) {
		MagmaAttr a = { .mode = S_IFREG, .fid.ino = 1 + (guint64)i * 65536 };
		all[i] = inodes_enter(&t, t.root, "f", &a);
	}
	for (guint i = 1; i < MANY; i++) {
		MagmaFid fid = { .ino = 1 + (guint64)i * 65536 };
		g_assert_true(inodes_find(&t, &fid) == all[i]);
	}
	for (guint i = 1; i < MANY; i++)
		inodes_forget(&t, all[i], 1);
	g_assert_cmpuint(t.count, ==, 1);
	inodes_clear(&t);
}

/* Two flares whose inos collide are two flares. */
static void test_same_ino(void)
{
	Inodes t = table_new("/");
	MagmaAttr a = attr_of(5), b = attr_of(5);
	b.fid.key.b[19] = 1;
	g_assert_true(inodes_enter(&t, t.root, "a", &a) != inodes_enter(&t, t.root, "b", &b));
	inodes_clear(&t);
}

static MagmaKey key_of(const char *path) { return magma_key_of_path(path, strlen(path)); }

static void test_keys(void)
{
	Inodes t = table_new("/");
	MagmaAttr a = attr_of(1);
	Inode *dir = inodes_enter(&t, t.root, "docs", &a);
	MagmaKey want = key_of("/example"), got = inode_child_key(&t, t.root, "example");
	g_assert_true(magma_key_equal(&want, &got));
	want = key_of("/docs/readme.txt");
	got = inode_child_key(&t, dir, "readme.txt");
	g_assert_true(magma_key_equal(&want, &got));
	inodes_clear(&t);

	t = table_new("/projects/x");
	dir = inodes_enter(&t, t.root, "docs", &a);
	want = key_of("/projects/x/a");
	got = inode_child_key(&t, t.root, "a");
	g_assert_true(magma_key_equal(&want, &got));
	want = key_of("/projects/x/docs/a");
	got = inode_child_key(&t, dir, "a");
	g_assert_true(magma_key_equal(&want, &got));
	inodes_clear(&t);
}

/* A path over the limit gives the key of its first MAGMA_PATH_MAX bytes, wherever the cut falls. */
static void test_long_path(void)
{
	for (guint extra = 0; extra < 260; extra++) {
		Inodes t = table_new("/r");
		g_autoptr(GString) path = g_string_new("/r");
		char name[201];
		memset(name, 'x', 200);
		name[200] = 0;
		Inode *dir = t.root;
		for (guint i = 1; path->len < MAGMA_PATH_MAX + extra; i++) {
			MagmaAttr a = attr_of(i);
			name[0] = (char)('a' + i % 26);
			dir = inodes_enter(&t, dir, name, &a);
			g_string_append_printf(path, "/%s", name);
			if (path->len + 201 < MAGMA_PATH_MAX + extra)
				continue;
			name[MAX(1, extra % 200)] = 0;
		}
		g_string_append(path, "/leaf");
		MagmaKey want = magma_key_of_path(path->str, MIN(path->len, MAGMA_PATH_MAX));
		MagmaKey got = inode_child_key(&t, dir, "leaf");
		g_assert_true(magma_key_equal(&want, &got));
		inodes_clear(&t);
	}
	for (guint len = MAGMA_PATH_MAX - 20; len < MAGMA_PATH_MAX + 3; len++) {      /* the cut inside the last name and before it */
		g_autofree char *root = g_strnfill(len, 'x');
		for (guint i = 0; i < len; i += 200)
			root[i] = '/';
		if (len > MAGMA_PATH_MAX || root[len - 1] == '/')
			continue;
		Inodes t = table_new(root);
		g_autofree char *path = g_strconcat(root, "/leaf", NULL);
		MagmaKey want = magma_key_of_path(path, MIN(strlen(path), MAGMA_PATH_MAX));
		MagmaKey got = inode_child_key(&t, t.root, "leaf");
		g_assert_true(magma_key_equal(&want, &got));
		inodes_clear(&t);
	}
}

int main(int argc, char **argv)
{
	seed = argc > 1 && g_ascii_isdigit(argv[argc - 1][0]) ? (guint32)strtoul(argv[argc - 1], NULL, 10) : g_random_int();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mount/inodes/counts_and_paths_follow_a_model", test_random);
	g_test_add_func("/mount/inodes/all_are_found_after_growing", test_grows);
	g_test_add_func("/mount/inodes/same_ino_other_key_is_another_flare", test_same_ino);
	g_test_add_func("/mount/inodes/keys_are_of_network_paths", test_keys);
	g_test_add_func("/mount/inodes/long_paths_are_cut_alike", test_long_path);
	return g_test_run();
}
