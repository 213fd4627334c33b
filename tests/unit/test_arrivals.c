/* What a move brings (core/move_in.c): rows that are told from those of an earlier try. */
#include "tests/unit/group_kit.h"
#include "magmad/core/move.h"

#define MS ((MagmaTime)1000)

static const MagmaFid fid = { { { 0x12 } }, 4711 };

static GroupKit *target(void)
{
	MagmaMap *m = kit_ring(2, 1);

	kit_moves_lower_half(m);
	GroupKit *k = kit_new(m, FALSE);
	k->leader = 2;
	kit_lease(k, k->now + 100 * SECOND);
	kit_run(k, SECOND);
	return k;
}

static GByteArray *flare(guint8 content, guint32 intents)
{
	FlareRow row = { .attr = { .fid = fid, .mode = 0100644, .nlink = 1, .size = 100000 }, .content = content, .intents = intents };
	GByteArray *val = g_byte_array_new();

	flare_row_encode(&row, val);
	return val;
}

/* The first piece of a try, with one row. */
static void arrives(GroupKit *k, Session *s, guint64 ms, const GByteArray *val)
{
	guint8 key[STORE_KEY_MAX];
	Txn *t = txn_new();
	MagmaAny rep;
	int error = -1;

	txn_put(t, TAB_FLARE, key, key_ino(key, fid.ino), &fid.key, val->data, val->len);
	const GByteArray *records = txn_bytes(t);
	struct magma_req_move_rows q = { .move = 9, .sequence = MOVE_TRY(ms) | 1, .records = MAGMA_BYTES(records->data, (guint32)records->len) };
	kit_lease(k, k->now + 100 * SECOND);
	if (!kit_ask(k, s, MAGMA_OP_move_rows, &q, &error, &rep)) {
		kit_run(k, SECOND);            /* what an earlier try left is removed first */
		g_assert_true(kit_answer(k, s, &error, &rep));
	}
	g_assert_cmpint(error, ==, 0);
	txn_free(t);
}

static void take(void *user, const StoreRow *row)
{
	g_assert_true(flare_row_decode(row->val, row->vlen, user));
}

static guint32 intents_here(GroupKit *k)
{
	FlareRow row = { .intents = 0 };

	kit_run(k, SECOND);
	memstore_each(k->v->store, TAB_FLARE, take, &row);
	g_assert_cmpuint(row.attr.fid.ino, ==, fid.ino);
	return row.intents;
}

/* Between the tries the content was dropped, before the row: a copy that died then has the one and not the other, and is compared by rows when it is back. */
static void the_same_row_is_another_one_in_each_try(void)
{
	g_autoptr(GroupKit) k = target();
	Session *s = kit_session(k, TRUE);
	g_autoptr(GByteArray) val = flare(CONTENT_FILE, 3);

	arrives(k, s, 1000000, val);
	guint32 first = intents_here(k);
	arrives(k, s, 1000016, val);
	guint32 second = intents_here(k);
	g_assert_cmpuint(first, !=, second);
	g_assert_cmpuint(MIN(first - second, second - first), >, 1000);      /* nor do a few intents more at the source make them the same */
	g_autoptr(GByteArray) more = flare(CONTENT_FILE, 4);
	arrives(k, s, 1000032, more);
	g_assert_cmpuint(intents_here(k), !=, second);
}

static void what_has_no_content_file_comes_as_it_is(void)
{
	g_autoptr(GroupKit) k = target();
	Session *s = kit_session(k, TRUE);
	g_autoptr(GByteArray) val = flare(CONTENT_INLINE, 3);

	arrives(k, s, 1000000, val);
	g_assert_cmpuint(intents_here(k), ==, 3);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/arrivals/the_same_row_is_another_one_in_each_try", the_same_row_is_another_one_in_each_try);
	g_test_add_func("/arrivals/what_has_no_content_file_comes_as_it_is", what_has_no_content_file_comes_as_it_is);
	return g_test_run();
}
