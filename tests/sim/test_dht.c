/* /.dht: what every volcano answers about every volcano, and that nothing there can be changed. Whole volcanos in a simulated network. */
#include "tests/sim/cluster.h"
#include "libmagma/base/err.h"
#include "libmagma/proto/list.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define MS ((gint64)1000)
#define SEC (1000 * MS)

static gboolean first_serves(void *user) { return cluster_serves(user, 0); }

static gboolean both_serve(void *user) { return cluster_serves(user, 0) && cluster_serves(user, 1) && !volcano_map(cluster_volcano(user, 0))->move.id; }

static Cluster *network(guint32 seed)
{
	ClusterConfig cfg = { .seed = seed, .pending_permille = 200, .disk_delay = 3 * MS, .copies = 1 };
	Cluster *c = cluster_new(&cfg);

	cluster_start(c, 0);
	g_assert_true(cluster_run_until(c, 5 * SEC, first_serves, c));
	cluster_start(c, 1);
	g_assert_true(cluster_run_until(c, 60 * SEC, both_serve, c));
	return c;
}

static MagmaAny must(SimClient *s, MagmaOp op, const void *req)
{
	MagmaAny rep;
	int error = sim_call_wait(s, op, req, &rep);

	if (error)
		g_error("%s: %s", magma_op_info(op)->name, magma_strerror(error));
	return rep;
}

static int fails(SimClient *s, MagmaOp op, const void *req)
{
	MagmaAny rep;

	return sim_call_wait(s, op, req, &rep);
}

static int look(SimClient *s, const MagmaFid *dir, const char *name, MagmaAttr *attr)
{
	struct magma_req_lookup q = { .dir = *dir, .name = MAGMA_BYTES_STR(name) };
	MagmaAny rep;
	int error = sim_call_wait(s, MAGMA_OP_lookup, &q, &rep);

	if (!error) {
		g_assert_cmpuint(rep.rep_lookup.has_attr, ==, 1);
		*attr = rep.rep_lookup.attr;
	}
	return error;
}

static MagmaFid dht(SimClient *s)
{
	MagmaFid root = magma_fid_root();
	MagmaAttr a;

	g_assert_cmpint(look(s, &root, ".dht", &a), ==, 0);
	g_assert_cmpuint(a.mode, ==, S_IFDIR | 0555);
	return a.fid;
}

static char *profile(SimClient *s, const char *name)
{
	MagmaFid dir = dht(s);
	MagmaAttr a;

	g_assert_cmpint(look(s, &dir, name, &a), ==, 0);
	g_assert_cmpuint(a.mode, ==, S_IFREG | 0444);
	struct magma_req_open o = { .fid = a.fid, .flags = O_RDONLY };
	must(s, MAGMA_OP_open, &o);
	struct magma_req_read q = { .fid = a.fid, .size = 65536 };
	MagmaAny rep = must(s, MAGMA_OP_read, &q);
	g_assert_cmpuint(rep.rep_read.data.len, ==, a.size);
	return g_strndup((const char *)rep.rep_read.data.data, rep.rep_read.data.len);
}

static void has(const char *text, const char *line)
{
	g_autofree char *lines = g_strconcat("\n", text, NULL), *wanted = g_strconcat("\n", line, "\n", NULL);

	if (!strstr(lines, wanted))
		g_error("no line %s in\n%s", line, text);
}

static void every_volcano_has_its_profile(void)
{
	Cluster *c = network(1);
	SimClient *s = sim_client_new(c, FALSE);
	g_autofree char *a = profile(s, cluster_name(c, 0)), *b = profile(s, cluster_name(c, 1));

	has(a, "id: 1");
	has(a, "state: up");
	has(a, "vote: voter");
	has(a, "start: 0000000000000000000000000000000000000000");
	has(b, "id: 2");
	has(b, "state: up");
	has(b, "vote: learner");
	has(b, "stop: ffffffffffffffffffffffffffffffffffffffff");
	sim_client_free(s);
	cluster_free(c);
}

static void a_list_has_every_volcano_once_however_small_its_pieces(void)
{
	Cluster *c = network(2);
	SimClient *s = sim_client_new(c, FALSE);
	struct magma_req_readdir q = { .dir = dht(s), .max = 1 };
	g_autoptr(GString) names = g_string_new("");
	MagmaFid root = magma_fid_root();
	gboolean eof = FALSE;

	while (!eof) {
		MagmaAny rep = must(s, MAGMA_OP_readdir, &q);
		MagmaReader r = magma_reader(rep.rep_readdir.entries.data, rep.rep_readdir.entries.len);
		while (r.left && !r.error) {
			MagmaDirent d;
			magma_get_dirent(&r, &d);
			g_assert_cmpuint(d.cookie, >, q.cookie);
			q.cookie = d.cookie;
			g_string_append_printf(names, "%.*s ", (int)d.name.len, (const char *)d.name.data);
		}
		g_assert_false(r.error);
		eof = rep.rep_readdir.eof;
	}
	g_autofree char *wanted = g_strdup_printf("%s %s ", cluster_name(c, 0), cluster_name(c, 1));
	g_assert_cmpstr(names->str, ==, wanted);
	/* hidden: who copies or removes a whole tree does not meet it */
	struct magma_req_readdir all = { .dir = root, .max = 65536 };
	g_assert_cmpuint(must(s, MAGMA_OP_readdir, &all).rep_readdir.entries.len, ==, 0);
	sim_client_free(s);
	cluster_free(c);
}

static void what_is_read_has_the_size_that_was_told(void)
{
	Cluster *c = network(3);
	SimClient *s = sim_client_new(c, FALSE), *other = sim_client_new(c, FALSE);
	MagmaFid dir = dht(s);
	MagmaAttr a, b;

	g_assert_cmpint(look(s, &dir, cluster_name(c, 0), &a), ==, 0);
	for (guint i = 0; i < 200; i++) {     /* more digits in keys */
		g_autofree char *name = g_strdup_printf("f%u", i);
		struct magma_req_mknod q = { .dir = magma_fid_root(), .key = magma_key_of_path(name, strlen(name)), .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR(name) };
		must(s, MAGMA_OP_mknod, &q);
	}
	cluster_run(c, 2 * SEC);
	g_assert_cmpint(look(other, &dir, cluster_name(c, 0), &b), ==, 0);
	g_assert_cmpuint(b.size, !=, a.size);
	struct magma_req_read q = { .fid = a.fid, .size = 65536 };
	g_assert_cmpuint(must(s, MAGMA_OP_read, &q).rep_read.data.len, ==, a.size);
	q.offset = a.size - 1;
	g_assert_cmpuint(must(s, MAGMA_OP_read, &q).rep_read.data.len, ==, 1);
	q.offset = a.size;
	g_assert_cmpuint(must(s, MAGMA_OP_read, &q).rep_read.data.len, ==, 0);
	struct magma_req_getattr g = { .fid = a.fid };
	g_assert_cmpuint(must(s, MAGMA_OP_getattr, &g).rep_getattr.attr.size, ==, b.size);
	sim_client_free(s);
	sim_client_free(other);
	cluster_free(c);
}

static void one_that_is_down_says_so(void)
{
	Cluster *c = network(4);
	SimClient *s = sim_client_new(c, TRUE);

	g_free(profile(s, cluster_name(c, 1)));
	cluster_kill(c, 1, 30 * SEC, FALSE);
	cluster_run(c, 2 * SEC);
	g_autofree char *early = profile(s, cluster_name(c, 1));
	g_assert_nonnull(strstr(early, strstr(early, "state: down") ? "state: down" : "state: silent"));
	cluster_run(c, 5 * SEC);
	g_autofree char *text = profile(s, cluster_name(c, 1));
	has(text, "state: down");
	has(text, "id: 2");
	g_assert_null(strstr(text, "started:"));
	sim_client_free(s);
	cluster_free(c);
}

static void nothing_there_can_be_changed(void)
{
	Cluster *c = network(5);
	SimClient *s = sim_client_new(c, FALSE);
	MagmaFid root = magma_fid_root(), dir = dht(s);
	MagmaAttr file;
	MagmaBytes x = MAGMA_BYTES_STR("x"), taken = MAGMA_BYTES_STR(".dht");
	guint8 byte = 'x';

	g_assert_cmpint(look(s, &dir, cluster_name(c, 0), &file), ==, 0);
	struct magma_req_mknod make = { .dir = root, .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR("real") };
	MagmaFid real = must(s, MAGMA_OP_mknod, &make).rep_mknod.attr.fid;
	MagmaBytes v0 = MAGMA_BYTES_STR(cluster_name(c, 0)), name = MAGMA_BYTES_STR("real");

	struct magma_req_mknod mknod = { .dir = dir, .mode = S_IFREG, .name = x };
	struct magma_req_mkdir mkdir = { .dir = dir, .name = x };
	struct magma_req_symlink symlink = { .dir = dir, .name = x, .target = x };
	struct magma_req_create create = { .dir = dir, .name = x };
	struct magma_req_link link = { .dir = dir, .flare = real, .name = x }, out = { .dir = root, .flare = file.fid, .name = x };
	struct magma_req_unlink unlink = { .dir = dir, .name = v0 };
	struct magma_req_rmdir rmdir = { .dir = root, .name = taken };
	struct magma_req_rename in = { .to_dir = dir, .from_dir = root, .from_name = name, .to_name = x }, away = { .to_dir = root, .from_dir = dir, .from_name = v0, .to_name = x },
		itself = { .to_dir = root, .from_dir = root, .from_name = taken, .to_name = x }, onto = { .to_dir = root, .from_dir = root, .from_name = name, .to_name = taken };
	struct magma_req_setattr chmod = { .fid = file.fid, .mask = MAGMA_SET_MODE, .mode = 0777 };
	struct magma_req_setxattr setxattr = { .fid = dir, .name = MAGMA_BYTES_STR("user.x"), .value = x };
	struct magma_req_write write = { .fid = file.fid, .data = { &byte, 1 } };
	struct magma_req_fallocate fallocate = { .fid = file.fid, .length = 1 };
	const struct { MagmaOp op; const void *q; } tries[] = {
		{ MAGMA_OP_mknod, &mknod }, { MAGMA_OP_mkdir, &mkdir }, { MAGMA_OP_symlink, &symlink }, { MAGMA_OP_create, &create }, { MAGMA_OP_link, &link }, { MAGMA_OP_link, &out },
		{ MAGMA_OP_unlink, &unlink }, { MAGMA_OP_rmdir, &rmdir }, { MAGMA_OP_rename, &in }, { MAGMA_OP_rename, &away }, { MAGMA_OP_rename, &itself }, { MAGMA_OP_rename, &onto },
		{ MAGMA_OP_setattr, &chmod }, { MAGMA_OP_setxattr, &setxattr }, { MAGMA_OP_write, &write }, { MAGMA_OP_fallocate, &fallocate },
	};
	for (guint i = 0; i < G_N_ELEMENTS(tries); i++)
		if (fails(s, tries[i].op, tries[i].q) != EROFS)
			g_error("try %u, %s, is not refused as read-only", i, magma_op_info(tries[i].op)->name);
	struct magma_req_mkdir name_taken = { .dir = root, .name = taken };
	g_assert_cmpint(fails(s, MAGMA_OP_mkdir, &name_taken), ==, EEXIST);
	/* a key of /.dht is nobody's to give to a flare */
	struct magma_req_mknod forged = { .dir = root, .key = file.fid.key, .mode = S_IFREG, .name = x };
	g_assert_cmpint(fails(s, MAGMA_OP_mknod, &forged), ==, EROFS);
	static const guint32 flags[] = { O_WRONLY, O_RDWR, O_TRUNC };
	for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
		struct magma_req_open open = { .fid = file.fid, .flags = flags[i] };
		g_assert_cmpint(fails(s, MAGMA_OP_open, &open), ==, EROFS);
	}
	struct magma_req_access access = { .fid = file.fid, .mask = MAGMA_W };
	g_assert_cmpint(fails(s, MAGMA_OP_access, &access), ==, EROFS);
	access.mask = MAGMA_R;
	g_assert_cmpint(fails(s, MAGMA_OP_access, &access), ==, 0);
	/* everybody may read */
	sim_client_cred(s, 1000, 1000);
	g_assert_cmpint(fails(s, MAGMA_OP_access, &access), ==, 0);
	sim_client_free(s);
	cluster_free(c);
}

static void ids_that_nobody_made_are_stale(void)
{
	Cluster *c = network(6);
	SimClient *s = sim_client_new(c, FALSE);
	MagmaFid dir = dht(s);
	GRand *rand = g_rand_new_with_seed(6);

	for (guint i = 0; i < 300; i++) {
		MagmaFid fid = dir;
		guint at = g_rand_int_range(rand, 0, 8 + 8);
		if (at < 8)
			fid.key.b[12 + at] ^= 1 + g_rand_int_range(rand, 0, 255);
		else
			fid.ino ^= (guint64)(1 + g_rand_int_range(rand, 0, 255)) << (at - 8) * 8;
		struct magma_req_getattr g = { .fid = fid };
		struct magma_req_readdir d = { .dir = fid, .max = 4096 };
		struct magma_req_read r = { .fid = fid, .size = 4096 };
		struct magma_req_lookup l = { .dir = fid, .name = MAGMA_BYTES_STR("x") };
		g_assert_cmpint(fails(s, MAGMA_OP_getattr, &g), ==, ESTALE);
		g_assert_cmpint(fails(s, MAGMA_OP_readdir, &d), !=, 0);
		g_assert_cmpint(fails(s, MAGMA_OP_read, &r), !=, 0);
		g_assert_cmpint(fails(s, MAGMA_OP_lookup, &l), !=, 0);
	}
	g_rand_free(rand);
	sim_client_free(s);
	cluster_free(c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sim/dht/every_volcano_has_its_profile", every_volcano_has_its_profile);
	g_test_add_func("/sim/dht/a_list_has_every_volcano_once_however_small_its_pieces", a_list_has_every_volcano_once_however_small_its_pieces);
	g_test_add_func("/sim/dht/what_is_read_has_the_size_that_was_told", what_is_read_has_the_size_that_was_told);
	g_test_add_func("/sim/dht/one_that_is_down_says_so", one_that_is_down_says_so);
	g_test_add_func("/sim/dht/nothing_there_can_be_changed", nothing_there_can_be_changed);
	g_test_add_func("/sim/dht/ids_that_nobody_made_are_stale", ids_that_nobody_made_are_stale);
	return g_test_run();
}
