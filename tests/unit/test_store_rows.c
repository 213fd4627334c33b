/* The disk store's rows: what is acknowledged stays, what is read is what was committed. */
#include "tests/unit/store_kit.h"
#include "libmagma/base/wire.h"
#include <string.h>

static void rows_survive_close_and_kill(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);

	kit_put(s, TAB_ENTRY, "a", "1");
	kit_put(s, TAB_ENTRY, "b", "2");
	kit_acked(s, kit_del(s, TAB_ENTRY, "a"));
	diskstore_abandon(s);
	s = kit_open(path, 0);
	g_autofree char *a = kit_get(s, TAB_ENTRY, "a", 1), *b = kit_get(s, TAB_ENTRY, "b", 1);
	g_assert_null(a);
	g_assert_cmpstr(b, ==, "2");
	g_assert_cmpuint(store_acked(s), ==, 3);
	diskstore_close(s);
	s = kit_open(path, 0);
	g_autofree char *b2 = kit_get(s, TAB_ENTRY, "b", 1);
	g_assert_cmpstr(b2, ==, "2");
	g_assert_cmpuint(store_acked(s), ==, 3);
	diskstore_close(s);
	kit_remove(path);
}

static void empty_transaction_takes_no_index(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);

	guint64 index = kit_put(s, TAB_META, "x", "");
	g_assert_cmpuint(store_commit(s, txn_new()), ==, index);
	g_autofree char *x = kit_get(s, TAB_META, "x", 1);
	g_assert_cmpstr(x, ==, "");
	diskstore_close(s);
	kit_remove(path);
}

static void scan_sees_all_commits_in_order(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);

	kit_put(s, TAB_ENTRY, "d1-b", "2");
	kit_put(s, TAB_ENTRY, "d1-a", "1");
	kit_put(s, TAB_ENTRY, "d2-a", "x");
	g_autofree char *one = kit_scan(s, TAB_ENTRY, "d1", 100);
	g_assert_cmpstr(one, ==, "d1-a=1,d1-b=2,");
	kit_put(s, TAB_ENTRY, "d1-c", "3");
	kit_del(s, TAB_ENTRY, "d1-a");
	g_autofree char *two = kit_scan(s, TAB_ENTRY, "d1", 1);
	g_assert_cmpstr(two, ==, "d1-b=2,d1-c=3,");
	g_autofree char *all = kit_scan(s, TAB_ENTRY, "", 2);
	g_assert_cmpstr(all, ==, "d1-b=2,d1-c=3,d2-a=x,");
	g_autofree char *none = kit_scan(s, TAB_ENTRY, "\xff\xff", 2);
	g_assert_cmpstr(none, ==, "");
	diskstore_close(s);
	kit_remove(path);
}

/* A scan whose rows only died in the open batch must not wait for ever. */
static void scan_after_rows_were_born_and_died(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);

	kit_put(s, TAB_MARK, "m", "1");
	kit_del(s, TAB_MARK, "m");
	kit_del(s, TAB_MARK, "never");
	g_autofree char *none = kit_scan(s, TAB_MARK, "", 10);
	g_assert_cmpstr(none, ==, "");
	diskstore_close(s);
	kit_remove(path);
}

static void put_ino(Txn *t, guint64 ino, const char *val)
{
	guint8 k[8];
	MagmaFid fid = kit_fid(ino);

	magma_be64_store(k, ino);
	txn_put(t, TAB_FLARE, k, 8, &fid.key, val, strlen(val));
}

typedef struct {
	GArray *inos;
	MagmaKey last_rk;
	gboolean done, eof;
} Ranging;

static void on_range(void *user, int error, const StoreRow *rows, guint n, gboolean eof)
{
	Ranging *r = user;

	g_assert_cmpint(error, ==, 0);
	for (guint i = 0; i < n; i++) {
		guint64 ino = magma_be64_load(rows[i].key);
		g_assert_cmpuint(rows[i].klen, ==, 8);
		g_array_append_val(r->inos, ino);
		g_assert_cmpint(magma_key_cmp(&r->last_rk, &rows[i].rk), <=, 0);
		r->last_rk = rows[i].rk;
	}
	r->eof = eof;
	r->done = TRUE;
}

static void range_yields_every_flare_of_it_once(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	MagmaRange upper = { magma_range_middle(&(MagmaRange){ MAGMA_KEY_MIN, MAGMA_KEY_MAX }), MAGMA_KEY_MAX };
	guint expected = 0;

	for (guint64 ino = 1; ino <= 500; ino++) {
		Txn *t = txn_new();
		guint64 where = ino % 3 ? ino : G_MAXUINT64 - ino;      /* unsigned order */
		MagmaFid fid = kit_fid(where);
		put_ino(t, where, "flare");
		store_commit(s, t);
		expected += magma_range_has(&upper, &fid.key);
	}
	Ranging r = { .inos = g_array_new(FALSE, FALSE, sizeof(guint64)), .last_rk = upper.lo };
	for (guint64 after = 0; !r.eof; after = g_array_index(r.inos, guint64, r.inos->len - 1)) {
		r.done = FALSE;
		store_scan_range(s, &r.last_rk, &upper.hi, after, 7, on_range, &r);
		kit_until(&r.done);
	}
	g_assert_cmpuint(r.inos->len, ==, expected);
	g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);
	for (guint i = 0; i < r.inos->len; i++)
		g_assert_true(g_hash_table_add(seen, &g_array_index(r.inos, guint64, i)));
	g_array_unref(r.inos);
	StoreUsage u;
	s->vt->usage(s, &u);
	g_assert_cmpuint(u.flares, ==, 500);
	diskstore_close(s);
	s = kit_open(path, 0);
	s->vt->usage(s, &u);
	g_assert_cmpuint(u.flares, ==, 500);
	diskstore_close(s);
	kit_remove(path);
}

static void put_many(Store *s, guint64 *ino)
{
	for (guint i = 0; i < 170; i++) {
		Txn *t = txn_new();
		for (guint k = 0; k < 100; k++)
			put_ino(t, ++*ino, "flare");
		store_commit(s, t);
	}
}

/* Each batch that ends finds the next one due. */
static void range_is_answered_while_rows_come_faster_than_batches(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	Ranging r = { .inos = g_array_new(FALSE, FALSE, sizeof(guint64)) };
	StoreUsage u = { 0 };
	guint64 ino = 0;

	put_many(s, &ino);
	store_scan_range(s, &MAGMA_KEY_MIN, &MAGMA_KEY_MAX, 0, 7, on_range, &r);
	while (!r.done && u.batches < 8) {
		s->vt->usage(s, &u);
		if (u.open_batch_rows < 17000)
			put_many(s, &ino);
		g_main_context_iteration(NULL, FALSE);
	}
	g_assert_true(r.done);
	g_array_unref(r.inos);
	diskstore_close(s);
	kit_remove(path);
}

/* --- flares by key --- */

static GArray *range_of(Store *s, MagmaKey lo, MagmaKey hi, guint step)
{
	Ranging r = { .inos = g_array_new(FALSE, FALSE, sizeof(guint64)), .last_rk = lo };

	for (guint64 after = 0; !r.eof; after = r.inos->len ? g_array_index(r.inos, guint64, r.inos->len - 1) : 0) {
		r.done = FALSE;
		store_scan_range(s, &r.last_rk, &hi, after, step, on_range, &r);
		g_assert_false(r.done);       /* never from inside the call */
		kit_until(&r.done);
	}
	return r.inos;
}

/* Flares share keys here: 40 keys, up to 120 flares. */
static MagmaKey shared_key(guint64 ino)
{
	guint8 k = ino % 40;
	return magma_key_of_path((const char *)&k, 1);
}

static void check_keys(Store *s, const gboolean *model, guint n)
{
	g_autoptr(GArray) all = range_of(s, MAGMA_KEY_MIN, MAGMA_KEY_MAX, 9);
	guint expected = 0;

	for (guint64 ino = 1; ino < n; ino++)
		expected += model[ino];
	g_assert_cmpuint(all->len, ==, expected);
	for (guint i = 0; i < all->len; i++)
		g_assert_true(model[g_array_index(all, guint64, i)]);
}

static void check_key(Store *s, const gboolean *model, guint n, guint64 like)
{
	MagmaKey k = shared_key(like);
	g_autoptr(GArray) at = range_of(s, k, k, 64);
	guint i = 0;

	for (guint64 ino = 1; ino < n; ino++)
		if (model[ino] && ino % 40 == like % 40)
			g_assert_cmpuint(g_array_index(at, guint64, i++), ==, ino);
	g_assert_cmpuint(at->len, ==, i);
}

static void flares_are_found_by_key_at_any_time(void)
{
	g_autoptr(GRand) rnd = g_rand_new_with_seed(kit_seed());
	gboolean model[120] = { FALSE };
	char *path = kit_dir();
	Store *s = kit_open(path, 3000);

	for (guint i = 0; i < 1500; i++) {
		guint64 ino = g_rand_int_range(rnd, 1, G_N_ELEMENTS(model));
		MagmaKey rk = shared_key(ino);
		guint8 k[8];
		Txn *t = txn_new();
		magma_be64_store(k, ino);
		model[ino] = g_rand_int_range(rnd, 0, 3) > 0;
		if (model[ino])
			txn_put(t, TAB_FLARE, k, 8, &rk, "flare", 5);
		else
			txn_del(t, TAB_FLARE, k, 8, &rk);
		store_commit(s, t);
		check_key(s, model, G_N_ELEMENTS(model), g_rand_int_range(rnd, 1, G_N_ELEMENTS(model)));
		switch (g_rand_int_range(rnd, 0, 60)) {
		case 0:
			check_keys(s, model, G_N_ELEMENTS(model));
			break;
		case 1:
			g_assert_true(diskstore_write_out(s));        /* a batch, but no merge */
			break;
		case 2:
			diskstore_flush(s);
			diskstore_abandon(s);
			s = kit_open(path, 3000);
			break;
		case 3:
			diskstore_close(s);
			s = kit_open(path, 3000);
			break;
		}
	}
	StoreUsage u;
	check_keys(s, model, G_N_ELEMENTS(model));
	s->vt->usage(s, &u);
	guint expected = 0;
	for (guint64 ino = 1; ino < G_N_ELEMENTS(model); ino++)
		expected += model[ino];
	g_assert_cmpuint(u.flares, ==, expected);
	diskstore_close(s);
	kit_remove(path);
}

static void sync_makes_durable_and_shares(void)
{
	char *path = kit_dir();
	Store *s = kit_open(path, 0);
	StoreUsage u;

	guint64 index = kit_put(s, TAB_META, "k", "v");
	g_assert_cmpint(kit_sync(s), ==, 0);
	s->vt->usage(s, &u);
	g_assert_cmpuint(u.durable_index, >=, index);
	g_assert_cmpint(kit_sync(s), ==, 0);      /* nothing to do */
	diskstore_close(s);
	kit_remove(path);
}

static gint text_cmp(gconstpointer a, gconstpointer b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* What a scan of the keys of a table that begin with prefix must give. */
static char *model_scan(GHashTable *model, guint ti, const char *prefix)
{
	g_autofree char *begin = g_strdup_printf("%u/%s", ti, prefix);
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	GString *text = g_string_new(NULL);
	GHashTableIter it;
	gpointer name;

	g_hash_table_iter_init(&it, model);
	while (g_hash_table_iter_next(&it, &name, NULL))
		if (g_str_has_prefix(name, begin))
			g_ptr_array_add(names, name);
	g_ptr_array_sort(names, text_cmp);
	for (guint i = 0; i < names->len; i++)
		g_string_append_printf(text, "%s=%s,", strchr(names->pdata[i], '/') + 1, (char *)g_hash_table_lookup(model, names->pdata[i]));
	return g_string_free(text, FALSE);
}

/* A small cache, so that rows leave memory, and every way a row can be: model against store, with kills and closes in between. */
static void random_model_survives_kills(void)
{
	g_autoptr(GRand) rnd = g_rand_new_with_seed(kit_seed());
	g_autoptr(GHashTable) model = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	static const StoreTable tables[] = { TAB_META, TAB_ENTRY, TAB_XATTR, TAB_REPLY, TAB_MARK };
	char *path = kit_dir();
	Store *s = kit_open(path, 2000);

	for (guint round = 0; round < 12; round++) {
		for (guint i = 0; i < 300; i++) {
			Txn *t = txn_new();
			for (guint k = g_rand_int_range(rnd, 1, 5); k; k--) {
				guint ti = g_rand_int_range(rnd, 0, G_N_ELEMENTS(tables));
				g_autofree char *key = g_strdup_printf("%d", g_rand_int_range(rnd, 0, 200));
				g_autofree char *name = g_strdup_printf("%u/%s", ti, key);
				MagmaKey rk = magma_key_of_path(key, strlen(key));
				if (g_rand_int_range(rnd, 0, 3) == 0) {
					txn_del(t, tables[ti], key, strlen(key), &rk);
					g_hash_table_remove(model, name);
				} else {
					char *val = g_strdup_printf("%u", g_rand_int(rnd));
					txn_put(t, tables[ti], key, strlen(key), &rk, val, strlen(val));
					g_hash_table_insert(model, g_steal_pointer(&name), val);
				}
			}
			store_commit(s, t);
			if (g_rand_int_range(rnd, 0, 20) == 0)
				g_main_context_iteration(NULL, FALSE);
			guint ti = g_rand_int_range(rnd, 0, G_N_ELEMENTS(tables));
			if (g_rand_int_range(rnd, 0, 20) == 0) {
				const char *prefix = g_rand_boolean(rnd) ? "1" : "";
				g_autofree char *all = kit_scan(s, tables[ti], prefix, g_rand_int_range(rnd, 1, 60)), *expected = model_scan(model, ti, prefix);
				g_assert_cmpstr(all, ==, expected);
			}
			if (g_rand_int_range(rnd, 0, 100) == 0)
				g_assert_true(diskstore_write_out(s));
			g_autofree char *key = g_strdup_printf("%d", g_rand_int_range(rnd, 0, 200));
			g_autofree char *name = g_strdup_printf("%u/%s", ti, key);
			g_autofree char *val = kit_get(s, tables[ti], key, strlen(key));
			g_assert_cmpstr(val, ==, g_hash_table_lookup(model, name));
		}
		diskstore_flush(s);
		if (g_rand_boolean(rnd))
			diskstore_abandon(s);
		else
			diskstore_close(s);
		s = kit_open(path, 2000);
		for (guint ti = 0; ti < G_N_ELEMENTS(tables); ti++)
			for (guint k = 0; k < 200; k++) {
				g_autofree char *key = g_strdup_printf("%u", k), *name = g_strdup_printf("%u/%u", ti, k);
				g_autofree char *val = kit_get(s, tables[ti], key, strlen(key));
				g_assert_cmpstr(val, ==, g_hash_table_lookup(model, name));
			}
	}
	diskstore_close(s);
	kit_remove(path);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/rows/survive_close_and_kill", rows_survive_close_and_kill);
	g_test_add_func("/store/rows/empty_transaction_takes_no_index", empty_transaction_takes_no_index);
	g_test_add_func("/store/rows/scan_sees_all_commits_in_order", scan_sees_all_commits_in_order);
	g_test_add_func("/store/rows/scan_after_rows_were_born_and_died", scan_after_rows_were_born_and_died);
	g_test_add_func("/store/rows/range_yields_every_flare_of_it_once", range_yields_every_flare_of_it_once);
	g_test_add_func("/store/rows/range_is_answered_while_rows_come_faster_than_batches", range_is_answered_while_rows_come_faster_than_batches);
	g_test_add_func("/store/rows/flares_are_found_by_key_at_any_time", flares_are_found_by_key_at_any_time);
	g_test_add_func("/store/rows/sync_makes_durable_and_shares", sync_makes_durable_and_shares);
	g_test_add_func("/store/rows/random_model_survives_kills", random_model_survives_kills);
	return g_test_run();
}
