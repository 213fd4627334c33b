/* /.dht: what every volcano answers about every volcano, and that nothing there can be changed. Whole volcanos in a simulated network. */
#include "tests/sim/cluster.h"
#include "libmagma/base/err.h"
#include "libmagma/lava/conflict.h"
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

	if (!error && !rep.rep_lookup.has_attr) {
		struct magma_req_getattr g = { .fid = rep.rep_lookup.child };
		*attr = must(s, MAGMA_OP_getattr, &g).rep_getattr.attr;
	} else if (!error) {
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
	SimClient *s = sim_client_new(c, -1);
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
	SimClient *s = sim_client_new(c, -1);
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
	g_autofree char *wanted = g_strdup_printf("conflicts %s %s ", cluster_name(c, 0), cluster_name(c, 1));
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
	SimClient *s = sim_client_new(c, -1), *other = sim_client_new(c, -1);
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
	SimClient *s = sim_client_new(c, 0);

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
	SimClient *s = sim_client_new(c, -1);
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
	SimClient *s = sim_client_new(c, -1);
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

/* --- conflicts: both of two went on alone --- */

static MagmaFid make(SimClient *s, const MagmaFid *dir, const char *name, guint32 mode)
{
	struct magma_req_mknod q = { .dir = *dir, .key = magma_key_of_path(name, strlen(name)), .mode = mode, .name = MAGMA_BYTES_STR(name) };
	struct magma_req_mkdir d = { .dir = *dir, .key = q.key, .mode = mode & 07777, .name = q.name };

	return S_ISDIR(mode) ? must(s, MAGMA_OP_mkdir, &d).rep_mkdir.attr.fid : must(s, MAGMA_OP_mknod, &q).rep_mknod.attr.fid;
}

static void put(SimClient *s, const MagmaFid *fid, guint64 offset, guint8 what, gsize n)
{
	g_autofree guint8 *bytes = g_malloc(n);
	struct magma_req_write q = { .fid = *fid, .offset = offset, .data = { bytes, n } };

	memset(bytes, what, n);
	must(s, MAGMA_OP_write, &q);
}

static void file(SimClient *s, const MagmaFid *dir, const char *name, guint8 what, gsize n)
{
	MagmaFid fid = make(s, dir, name, S_IFREG | 0644);

	put(s, &fid, 0, what, n);
}

static MagmaFid fid_of(SimClient *s, const MagmaFid *dir, const char *name)
{
	struct magma_req_lookup q = { .dir = *dir, .name = MAGMA_BYTES_STR(name) };

	return must(s, MAGMA_OP_lookup, &q).rep_lookup.child;
}

static void set_xattr(SimClient *s, const MagmaFid *fid, const char *value)
{
	struct magma_req_setxattr q = { .fid = *fid, .name = MAGMA_BYTES_STR("user.x"), .value = MAGMA_BYTES_STR(value) };

	must(s, MAGMA_OP_setxattr, &q);
}

static void unlink_(SimClient *s, const MagmaFid *dir, const char *name)
{
	struct magma_req_unlink q = { .dir = *dir, .name = MAGMA_BYTES_STR(name) };

	must(s, MAGMA_OP_unlink, &q);
}

static gint by_text(gconstpointer a, gconstpointer b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names in order, each with a blank behind. */
static char *names_in(SimClient *s, const MagmaFid *dir)
{
	struct magma_req_readdir q = { .dir = *dir, .max = 65536 };
	MagmaAny rep = must(s, MAGMA_OP_readdir, &q);
	MagmaReader r = magma_reader(rep.rep_readdir.entries.data, rep.rep_readdir.entries.len);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GString) out = g_string_new("");

	while (r.left && !r.error) {
		MagmaDirent d;
		magma_get_dirent(&r, &d);
		g_ptr_array_add(names, g_strndup((const char *)d.name.data, d.name.len));
	}
	g_assert_true(rep.rep_readdir.eof && !r.error);
	g_ptr_array_sort(names, by_text);
	for (guint i = 0; i < names->len; i++)
		g_string_append_printf(out, "%s ", (char *)names->pdata[i]);
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static gboolean all_home(void *user) { return cluster_serves(user, 0) && cluster_serves(user, 1) && cluster_at_home(user) && volcano_map(cluster_volcano(user, 0))->slices->len == 2; }
static gboolean first_is_back(void *user) { return cluster_volcano(user, 0) != NULL; }

/* One in each slice, inline and not: whoever compares them asks itself, or the other volcano. */
static const struct { const char *name; guint8 key; gsize size; } SPREAD[] = { { "lowsmall", 0x10, 100 }, { "lowlarge", 0x20, 20000 }, { "upsmall", 0xe0, 100 }, { "uplarge", 0xf0, 20000 } };

static void make_spread(SimClient *s)
{
	for (guint i = 0; i < G_N_ELEMENTS(SPREAD); i++) {
		struct magma_req_mknod q = { .dir = magma_fid_root(), .key = { .b = { SPREAD[i].key } }, .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR(SPREAD[i].name) };
		MagmaFid fid = must(s, MAGMA_OP_mknod, &q).rep_mknod.attr.fid;
		put(s, &fid, 0, 'b', SPREAD[i].size);
	}
}

/* The same bytes again: only times differ. */
static void touch_spread(SimClient *s)
{
	MagmaFid root = magma_fid_root();

	for (guint i = 0; i < G_N_ELEMENTS(SPREAD); i++) {
		MagmaFid fid = fid_of(s, &root, SPREAD[i].name);
		put(s, &fid, SPREAD[i].size - 1, 'b', 1);
	}
}

/* Before the partition. */
static void common(SimClient *s)
{
	MagmaFid root = magma_fid_root(), d = make(s, &root, "d", S_IFDIR | 0755), deep = make(s, &d, "deep", S_IFDIR | 0755), attr;

	make_spread(s);
	file(s, &root, "same", 's', 100);
	file(s, &root, "edited", 'e', 100);
	file(s, &root, "big", 'b', 20000);
	file(s, &root, "bigsame", 'b', 20000);
	file(s, &root, "mode", 'm', 10);
	file(s, &root, "gone", 'g', 10);
	file(s, &d, "insame", 's', 10);
	file(s, &deep, "insame", 's', 10);
	attr = make(s, &root, "attr", S_IFREG | 0644);
	set_xattr(s, &attr, "before");
	attr = make(s, &root, "attrsame", S_IFREG | 0644);
	set_xattr(s, &attr, "before");
}

static void link_to(SimClient *s, const char *name, const char *target)
{
	struct magma_req_symlink q = { .dir = magma_fid_root(), .key = magma_key_of_path(name, strlen(name)), .name = MAGMA_BYTES_STR(name), .target = MAGMA_BYTES_STR(target) };

	must(s, MAGMA_OP_symlink, &q);
}

/* Only on the side that will not stand. */
static void losing(SimClient *s)
{
	MagmaFid root = magma_fid_root(), d = fid_of(s, &root, "d"), deep = fid_of(s, &d, "deep"), fid = fid_of(s, &root, "edited");
	struct magma_req_setattr chmod = { .mask = MAGMA_SET_MODE, .mode = 0600 };

	put(s, &fid, 50, 'L', 10);
	fid = fid_of(s, &root, "big");
	put(s, &fid, 19999, 'L', 1);
	fid = fid_of(s, &root, "bigsame");
	put(s, &fid, 19999, 'b', 1);
	touch_spread(s);
	file(s, &root, "two", '2', 7);
	file(s, &deep, "two", '2', 9000);
	file(s, &root, "both", 'B', 30);
	file(s, &root, "other", 'L', 30);
	unlink_(s, &root, "gone");
	link_to(s, "link", "lost");
	link_to(s, "samelink", "there");
	link_to(s, "unlike", "lost1");
	chmod.fid = fid_of(s, &root, "mode");
	must(s, MAGMA_OP_setattr, &chmod);
	MagmaFid dir = make(s, &root, "newdir", S_IFDIR | 0700);
	file(s, &dir, "inside", 'i', 5);
	fid = fid_of(s, &root, "attr");
	set_xattr(s, &fid, "losing");
	fid = fid_of(s, &root, "attrsame");
	set_xattr(s, &fid, "before");
}

static void standing(SimClient *s)
{
	MagmaFid root = magma_fid_root();

	link_to(s, "samelink", "there");
	link_to(s, "unlike", "stand");
	file(s, &root, "one", '1', 7);
	file(s, &root, "both", 'B', 30);
	file(s, &root, "other", 'S', 30);
}

/* What 64-both-went-on.sh does with processes. The history of volcano 1 does not stand. */
static Cluster *both_went_on(guint32 seed)
{
	ClusterConfig cfg = { .seed = seed, .pending_permille = 200, .disk_delay = 3 * MS, .copies = 2 };
	Cluster *c = cluster_new(&cfg);

	cluster_start(c, 0);
	g_assert_true(cluster_run_until(c, 5 * SEC, first_serves, c));
	cluster_start(c, 1);
	g_assert_true(cluster_run_until(c, 60 * SEC, all_home, c));
	SimClient *s = sim_client_new(c, -1);
	common(s);
	cluster_run(c, 2 * SEC);
	cluster_kill(c, 0, 30 * SEC, FALSE);
	losing(s);
	sim_client_free(s);
	cluster_kill(c, 1, 60 * SEC, FALSE);
	g_assert_true(cluster_run_until(c, 60 * SEC, first_is_back, c));
	cluster_run(c, 5 * SEC);
	g_assert_null(volcano_takeover(cluster_volcano(c, 0), cluster_name(c, 1)));
	g_assert_true(cluster_run_until(c, 20 * SEC, first_serves, c));
	s = sim_client_new(c, -1);
	standing(s);
	sim_client_free(s);
	g_assert_true(cluster_run_until(c, 200 * SEC, all_home, c));
	return c;
}

static char *conflict_line(Cluster *c, guint i)
{
	g_autoptr(GString) lines = g_string_new("");

	volcano_unsafe(cluster_volcano(c, i), lines);
	const char *at = strstr(lines->str, "conflicts: ");
	return at ? g_strndup(at + 11, strcspn(at + 11, "\n")) : NULL;
}

/* The directory of the one history that was set aside. */
static MagmaFid aside_root(Cluster *c, SimClient *s)
{
	MagmaFid dir = dht(s), conflicts = fid_of(s, &dir, "conflicts");
	g_autofree char *holders = names_in(s, &conflicts), *wanted = g_strdup_printf("%s ", cluster_name(c, 1)), *line = conflict_line(c, 1);

	g_assert_cmpstr(holders, ==, wanted);
	MagmaFid holder = fid_of(s, &conflicts, cluster_name(c, 1));
	g_autofree char *times = g_strchomp(names_in(s, &holder)), *path = g_strdup_printf("/.dht/conflicts/%s/%s", cluster_name(c, 1), times);
	g_assert_cmpstr(line, ==, path);
	return fid_of(s, &holder, times);
}

static void is_made_of(SimClient *s, const MagmaFid *dir, const char *name, gsize size, gsize at, guint8 what)
{
	MagmaAttr a;

	g_assert_cmpint(look(s, dir, name, &a), ==, 0);
	g_assert_cmpuint(a.size, ==, size);
	struct magma_req_read q = { .fid = a.fid, .offset = at, .size = 65536 };
	MagmaAny rep = must(s, MAGMA_OP_read, &q);
	g_assert_cmpuint(rep.rep_read.data.len, ==, size - at);
	g_assert_cmpuint(rep.rep_read.data.data[0], ==, what);
}

static void check_conflicts(Cluster *c, SimClient *s)
{
	MagmaFid top = aside_root(c, s), d, deep, newdir;
	g_autofree char *names = names_in(s, &top);
	MagmaAttr a;

	g_assert_cmpstr(names, ==, "attr big d edited link mode newdir other two unlike ");
	d = fid_of(s, &top, "d");
	deep = fid_of(s, &d, "deep");
	newdir = fid_of(s, &top, "newdir");
	g_autofree char *in_d = names_in(s, &d), *in_deep = names_in(s, &deep), *in_new = names_in(s, &newdir);
	g_assert_cmpstr(in_d, ==, "deep ");
	g_assert_cmpstr(in_deep, ==, "two ");
	g_assert_cmpstr(in_new, ==, "inside ");
	is_made_of(s, &top, "edited", 100, 50, 'L');
	is_made_of(s, &top, "edited", 100, 60, 'e');
	is_made_of(s, &top, "big", 20000, 19999, 'L');
	is_made_of(s, &top, "other", 30, 0, 'L');
	is_made_of(s, &deep, "two", 9000, 8999, '2');
	g_assert_cmpint(look(s, &top, "mode", &a), ==, 0);
	g_assert_cmpuint(a.mode, ==, S_IFREG | 0600);
	g_assert_cmpint(look(s, &top, "link", &a), ==, 0);
	struct magma_req_readlink l = { .fid = a.fid };
	MagmaAny rep = must(s, MAGMA_OP_readlink, &l);
	g_assert_cmpmem(rep.rep_readlink.target.data, rep.rep_readlink.target.len, "lost", 4);
	g_assert_cmpint(look(s, &top, "attr", &a), ==, 0);
	struct magma_req_getxattr x = { .fid = a.fid, .name = MAGMA_BYTES_STR("user.x") };
	rep = must(s, MAGMA_OP_getxattr, &x);
	g_assert_cmpmem(rep.rep_getxattr.value.data, rep.rep_getxattr.value.len, "losing", 6);
	struct magma_req_listxattr xs = { .fid = a.fid };
	rep = must(s, MAGMA_OP_listxattr, &xs);
	g_assert_cmpmem(rep.rep_listxattr.names.data, rep.rep_listxattr.names.len, "user.x", 7);
	/* equal, or only on the other side */
	static const char *const hidden[] = { "same", "both", "one", "gone", "bigsame", "attrsame" };
	for (guint i = 0; i < G_N_ELEMENTS(hidden); i++)
		g_assert_cmpint(look(s, &top, hidden[i], &a), ==, ENOENT);
	struct magma_req_unlink u = { .dir = top, .name = MAGMA_BYTES_STR("two") };
	g_assert_cmpint(fails(s, MAGMA_OP_unlink, &u), ==, EROFS);
	/* permissions are those it had */
	struct magma_req_open o = { .fid = fid_of(s, &top, "mode"), .flags = O_RDONLY };
	sim_client_cred(s, 1000, 1000);
	g_assert_cmpint(fails(s, MAGMA_OP_open, &o), ==, EACCES);
	g_assert_cmpint(look(s, &newdir, "inside", &a), ==, EACCES);
	sim_client_cred(s, 0, 0);
	/* and what stands has not changed */
	MagmaFid root = magma_fid_root();
	is_made_of(s, &root, "edited", 100, 50, 'e');
	is_made_of(s, &root, "other", 30, 0, 'S');
}

typedef struct {
	gboolean done;
	int error;
} Cleared;

static void on_cleared(void *user, int error) { *(Cleared *)user = (Cleared){ TRUE, error }; }
static gboolean is_cleared(void *user) { return ((Cleared *)user)->done; }

static void shown_until_cleared(guint32 seed)
{
	Cluster *c = both_went_on(seed);
	SimClient *s = sim_client_new(c, -1);
	Cleared cleared = { 0 };
	guint64 time;

	cluster_run(c, 10 * SEC);             /* it is compared */
	check_conflicts(c, s);
	/* what was found out is kept; the stores are closed and opened again */
	cluster_run(c, 100 * SEC);
	check_conflicts(c, s);
	cluster_kill(c, 1, SEC, FALSE);
	g_assert_true(cluster_run_until(c, 200 * SEC, all_home, c));
	check_conflicts(c, s);
	/* again, while it owns its slice: about what lies there it asks itself */
	for (guint i = 0; i < 4; i++) {
		cluster_forget_compared(c, 1, i > 0);
		cluster_kill(c, 1, 100 * MS, FALSE);
		g_assert_true(cluster_run_until(c, 200 * SEC, all_home, c));
		cluster_run(c, 10 * SEC);
		check_conflicts(c, s);
	}
	MagmaFid held = aside_root(c, s);
	struct magma_req_getattr of_held = { .fid = held };
	cluster_kill(c, 1, 20 * SEC, FALSE);
	cluster_run(c, 10 * SEC);
	g_assert_cmpint(fails(s, MAGMA_OP_getattr, &of_held), ==, EHOSTDOWN);
	g_assert_true(cluster_run_until(c, 200 * SEC, all_home, c));
	check_conflicts(c, s);
	g_autofree char *line = conflict_line(c, 1), *of_other = conflict_line(c, 0);
	g_assert_null(of_other);
	g_assert_true(magma_conflict_time_parse(strrchr(line, '/') + 1, &time));
	MagmaFid top = aside_root(c, s);
	volcano_conflict_clear(cluster_volcano(c, 0), 2, time + 1, on_cleared, &cleared);
	g_assert_true(cluster_run_until(c, 10 * SEC, is_cleared, &cleared));
	g_assert_cmpint(cleared.error, ==, ENOENT);
	cleared.done = FALSE;
	volcano_conflict_clear(cluster_volcano(c, 0), 2, time, on_cleared, &cleared);
	g_assert_true(cluster_run_until(c, 10 * SEC, is_cleared, &cleared));
	g_assert_cmpint(cleared.error, ==, 0);
	g_assert_null(conflict_line(c, 1));
	struct magma_req_getattr g = { .fid = top };
	g_assert_cmpint(fails(s, MAGMA_OP_getattr, &g), ==, ESTALE);
	cluster_run(c, 2 * SEC);
	MagmaFid dir = dht(s), conflicts = fid_of(s, &dir, "conflicts");
	g_autofree char *holders = names_in(s, &conflicts);
	g_assert_cmpstr(holders, ==, "");
	sim_client_free(s);
	cluster_free(c);
}

static void what_lost_and_differs_is_shown_until_it_is_cleared(void)
{
	for (guint32 seed = 7; seed < 12; seed++)
		shown_until_cleared(seed);
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
	g_test_add_func("/sim/dht/what_lost_and_differs_is_shown_until_it_is_cleared", what_lost_and_differs_is_shown_until_it_is_cleared);
	return g_test_run();
}
