/* A commit that is taken back: a power cut took the coordinator's word for it, and left the participant's (docs/architecture.md, "After a power cut"). An exchange of names, at one of the two directories. */
#include "tests/unit/group_kit.h"

#define MS ((MagmaTime)1000)

typedef struct {
	GroupKit *k;
	Session *s;
	MagmaFid dir, first, second;
} Scene;

static MagmaAny ask(const Scene *t, MagmaOp op, const void *req, int expected)
{
	MagmaAny rep;
	int error = -1;

	kit_ask(t->k, t->s, op, req, &error, &rep);
	for (guint i = 0; error == -1 && i < 1000; i++) {
		kit_hear(t->k);
		kit_lease(t->k, t->k->now + SECOND);
		kit_run(t->k, MS);
		kit_answer(t->k, t->s, &error, &rep);
	}
	g_assert_cmpint(error, ==, expected);
	return rep;
}

static MagmaFid make(const Scene *t, const char *name, guint8 at)
{
	struct magma_req_mknod q = { .dir = t->dir, .key = { { 0, at } }, .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR(name) };

	return ask(t, MAGMA_OP_mknod, &q, 0).rep_mknod.attr.fid;
}

static guint64 leads_to(const Scene *t, const char *name)
{
	struct magma_req_lookup q = { .dir = t->dir, .name = MAGMA_BYTES_STR(name) };

	return ask(t, MAGMA_OP_lookup, &q, 0).rep_lookup.child.ino;
}

static void remove_name(const Scene *t, const char *name)
{
	struct magma_req_unlink q = { .dir = t->dir, .name = MAGMA_BYTES_STR(name) };

	ask(t, MAGMA_OP_unlink, &q, 0);
}

static void prepare(const Scene *t, MarkKind kind, guint32 mode, const MagmaFid *flare, const char *name)
{
	g_autoptr(GByteArray) args = g_byte_array_new(), cred = g_byte_array_new();
	const MagmaCred root = { 0 };

	core_put_cred(cred, &root);
	magma_put_u32(args, 0);       /* uid, gid, device, client */
	magma_put_u32(args, 0);
	magma_put_u64(args, 0);
	magma_put_u64(args, 0);
	magma_put_ts(args, (MagmaTs){ .sec = 1 });
	magma_put_counted(args, name, (guint32)strlen(name));
	magma_put_counted(args, NULL, 0);
	magma_put_counted(args, cred->data, cred->len);
	struct magma_req_prepare q = { .target = t->dir, .op_hi = 77, .op_lo = kind, .age = 1, .coord = { MAGMA_KEY_MAX, 9 }, .kind = kind, .mode = mode, .flare = *flare, .args = MAGMA_BYTES(args->data, args->len) };
	ask(t, MAGMA_OP_prepare, &q, 0);
}

static void settle(const Scene *t, MarkKind kind, guint8 outcome)
{
	g_autoptr(GByteArray) marks = g_byte_array_new();

	magma_put_u64(marks, 77);
	magma_put_u64(marks, kind);
	magma_put_fid(marks, &t->dir);
	magma_put_u8(marks, kind);
	struct magma_req_settle q = { .outcome = outcome, .marks = MAGMA_BYTES(marks->data, marks->len) };
	ask(t, MAGMA_OP_settle, &q, 0);
}

/* A directory, born here in one that is elsewhere, and in it a, whose name was exchanged for another one of b: the word of it that came was commit. */
static Scene exchanged(void)
{
	Scene t = { .k = kit_serving(), .dir = { { { 0, 1 } }, 4711 } };
	const MagmaFid root = magma_fid_root();

	t.s = kit_session(t.k, TRUE);
	prepare(&t, MARK_BORN, S_IFDIR | 0755, &root, "");
	settle(&t, MARK_BORN, MAGMA_SETTLE_FINAL);
	t.first = make(&t, "a", 2);
	t.second = make(&t, "b", 3);
	prepare(&t, MARK_SWAP, S_IFREG, &t.second, "a");
	settle(&t, MARK_SWAP, MAGMA_SETTLE_COMMIT);
	g_assert_cmpuint(leads_to(&t, "a"), ==, t.second.ino);
	return t;
}

static int by_name(gconstpointer a, gconstpointer b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* As readdir says them: each once. */
static void names_are(const Scene *t, const char *expected)
{
	struct magma_req_readdir q = { .dir = t->dir, .max = 60000 };
	MagmaBytes all = ask(t, MAGMA_OP_readdir, &q, 0).rep_readdir.entries;
	MagmaReader r = magma_reader(all.data, all.len);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	MagmaDirent d;

	while (r.left && !r.error) {
		magma_get_dirent(&r, &d);
		g_ptr_array_add(names, g_strndup((const char *)d.name.data, d.name.len));
	}
	g_assert_false(r.error);
	g_ptr_array_sort(names, by_name);
	g_ptr_array_add(names, NULL);
	g_autofree char *text = g_strjoinv(" ", (char **)names->pdata);
	g_assert_cmpstr(text, ==, expected);
}

static void an_exchange_that_is_taken_back_gives_the_name_back(void)
{
	Scene t = exchanged();

	settle(&t, MARK_SWAP, MAGMA_SETTLE_ABORT);
	g_assert_cmpuint(leads_to(&t, "a"), ==, t.first.ino);
	names_are(&t, "a b");
	kit_free(t.k);
}

static void a_name_that_was_given_again_stays_and_what_was_there_comes_back_beside_it(void)
{
	Scene t = exchanged();
	g_autofree char *beside = g_strdup_printf("restored-%016" G_GINT64_MODIFIER "x", t.first.ino), *both = g_strdup_printf("a b %s", beside);

	remove_name(&t, "a");
	MagmaFid newer = make(&t, "a", 4);
	settle(&t, MARK_SWAP, MAGMA_SETTLE_ABORT);
	g_assert_cmpuint(leads_to(&t, "a"), ==, newer.ino);
	g_assert_cmpuint(leads_to(&t, beside), ==, t.first.ino);
	names_are(&t, both);
	kit_free(t.k);
}

/* A directory of which the last name has been moved away, and that is removed then; the move is taken back before the removal is final (0), or behind it, while the directory waits to be cleared away. */
static void a_directory_to_which_a_name_comes_back_is_not_removed(void)
{
	for (guint behind = 0; behind < 2; behind++) {
		Scene t = exchanged();
		struct magma_req_getattr q = { .fid = t.dir };

		settle(&t, MARK_SWAP, MAGMA_SETTLE_FINAL);
		remove_name(&t, "b");
		prepare(&t, MARK_LEAVE, S_IFREG, &t.second, "a");
		settle(&t, MARK_LEAVE, MAGMA_SETTLE_COMMIT);
		names_are(&t, "");
		prepare(&t, MARK_SEAL, S_IFDIR, &t.dir, "");
		Slice *sl = core_slice(t.k->v, 1);
		Txn *doubt = txn_new();
		scrub_suspect(sl, &t.dir, doubt);     /* it is not gone at once */
		core_commit(sl, doubt);
		if (behind)
			settle(&t, MARK_SEAL, MAGMA_SETTLE_FINAL);
		settle(&t, MARK_LEAVE, MAGMA_SETTLE_ABORT);
		if (!behind)
			settle(&t, MARK_SEAL, MAGMA_SETTLE_FINAL);
		g_assert_cmpuint(ask(&t, MAGMA_OP_getattr, &q, 0).rep_getattr.attr.nlink, ==, 2);
		names_are(&t, "a");
		g_assert_cmpuint(leads_to(&t, "a"), ==, t.second.ino);
		make(&t, "c", 5);
		kit_free(t.k);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/undo/an_exchange_that_is_taken_back_gives_the_name_back", an_exchange_that_is_taken_back_gives_the_name_back);
	g_test_add_func("/undo/a_name_that_was_given_again_stays_and_what_was_there_comes_back_beside_it", a_name_that_was_given_again_stays_and_what_was_there_comes_back_beside_it);
	g_test_add_func("/undo/a_directory_to_which_a_name_comes_back_is_not_removed", a_directory_to_which_a_name_comes_back_is_not_removed);
	return g_test_run();
}
