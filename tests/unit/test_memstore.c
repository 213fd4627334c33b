/* The simulator's own store keeps the store's promises; else what simulations show is worth nothing. */
#include "tests/sim/memstore.h"
#include "tests/unit/store_log.h"
#include <stdlib.h>
#include <string.h>

typedef struct { gint64 at; void (*fn)(void *); void *arg; } Event;
typedef struct { GArray *events; gint64 now; } Clock;

static void later(void *user, gint64 delay, void (*fn)(void *), void *arg)
{
	Clock *c = user;
	Event e = { c->now + delay, fn, arg };
	g_array_append_val(c->events, e);
}

/* The earliest of those first come; FALSE when nothing is coming. */
static gboolean step(Clock *c)
{
	guint best = 0;

	if (!c->events->len)
		return FALSE;
	for (guint i = 1; i < c->events->len; i++)
		if (g_array_index(c->events, Event, i).at < g_array_index(c->events, Event, best).at)
			best = i;
	Event e = g_array_index(c->events, Event, best);
	g_array_remove_index(c->events, best);
	c->now = e.at;
	e.fn(e.arg);
	return TRUE;
}

static guint32 seed(void)
{
	const char *given = g_getenv("SEED");
	guint32 n = given ? (guint32)strtoul(given, NULL, 10) : g_random_int();
	g_test_message("SEED=%u", n);
	return n;
}

static void on_ready(Fetch *f) { }

static char *get(Store *s, Clock *c, StoreTable t, const char *key)
{
	Fetch f = { .ready = on_ready };
	const guint8 *val;
	gsize n;
	StoreGet got;

	while ((got = store_get(s, &f, t, key, strlen(key), &val, &n)) == STORE_PENDING)
		while (f.pending)
			g_assert_true(step(c));
	char *text = got == STORE_FOUND ? g_strndup((const char *)val, n) : NULL;
	store_fetch_clear(s, &f);
	return text;
}

typedef GHashTable Model;

static Model *model_new(void) { return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free); }

static Model *model_copy(Model *m)
{
	Model *to = model_new();
	GHashTableIter it;
	gpointer k, v;

	g_hash_table_iter_init(&it, m);
	while (g_hash_table_iter_next(&it, &k, &v))
		g_hash_table_insert(to, g_strdup(k), g_strdup(v));
	return to;
}

/* One transaction of one row, in the store and in a copy of the newest model. */
static void commit_random(Store *s, GRand *rnd, GPtrArray *models, const char *key)
{
	Model *m = model_copy(models->pdata[models->len - 1]);
	Txn *t = txn_new();

	if (g_rand_boolean(rnd)) {
		char *val = g_strdup_printf("%u", g_rand_int(rnd));
		txn_put(t, TAB_ENTRY, key, strlen(key), NULL, val, strlen(val));
		g_hash_table_insert(m, g_strdup(key), val);
	} else {
		txn_del(t, TAB_ENTRY, key, strlen(key), NULL);
		g_hash_table_remove(m, key);
	}
	g_assert_cmpuint(store_commit(s, t), ==, models->len);
	g_ptr_array_add(models, m);
}

static void check(Store *s, Clock *c, Model *m, const char *key)
{
	g_autofree char *got = get(s, c, TAB_ENTRY, key);
	g_assert_cmpstr(got, ==, g_hash_table_lookup(m, key));
}

static void crash_at_any_index_keeps_exactly_that(void)
{
	guint32 n = seed();
	g_autoptr(GRand) rnd = g_rand_new_with_seed(n);
	Clock clock = { .events = g_array_new(FALSE, FALSE, sizeof(Event)) };
	MemStoreConfig cfg = { .seed = n, .pending_permille = 300, .at_once_permille = 200, .delay_max = 1000, .later = later, .user = &clock };
	MemDisk *disk = memdisk_new();
	g_autoptr(GPtrArray) models = g_ptr_array_new_with_free_func((GDestroyNotify)g_hash_table_unref);   /* by index */

	g_ptr_array_add(models, model_new());
	for (guint round = 0; round < 20; round++) {
		Store *s = memstore_open(disk, &cfg);
		for (guint i = g_rand_int_range(rnd, 0, 60); i; i--) {
			g_autofree char *key = g_strdup_printf("%d", g_rand_int_range(rnd, 0, 30));
			commit_random(s, rnd, models, key);
			if (g_rand_boolean(rnd))
				step(&clock);
			check(s, &clock, models->pdata[models->len - 1], key);
		}
		guint64 k = g_rand_int_range(rnd, store_acked(s), models->len);
		memstore_crash(s, k);
		g_ptr_array_set_size(models, k + 1);
		s = memstore_open(disk, &cfg);
		g_assert_cmpuint(store_acked(s), ==, k);
		for (guint i = 0; i < 30; i++) {
			g_autofree char *key = g_strdup_printf("%u", i);
			check(s, &clock, models->pdata[k], key);
		}
		memstore_close(s);
	}
	while (step(&clock))
		;
	g_array_unref(clock.events);
	memdisk_free(disk);
}

static void on_done(void *user, int error) { *(int *)user = error; }

static void on_read(void *user, int error, GBytes *data)
{
	g_assert_cmpint(error, ==, 0);
	*(GBytes **)user = g_bytes_ref(data);
}

static void synced_contents_survive_a_power_cut(void)
{
	Clock clock = { .events = g_array_new(FALSE, FALSE, sizeof(Event)) };
	MemStoreConfig cfg = { .seed = seed(), .delay_max = 1000, .later = later, .user = &clock };
	MemDisk *disk = memdisk_new();
	Store *s = memstore_open(disk, &cfg);
	MagmaFid fid = { .ino = 5 };
	g_autoptr(GBytes) one = g_bytes_new_static("one", 3);
	g_autoptr(GBytes) two = g_bytes_new_static("two", 3);
	int e1 = -1, e2 = -1, e3 = -1;

	store_content_write(s, &fid, 0, one, on_done, &e1);
	store_content_sync(s, &fid, on_done, &e2);
	store_content_write(s, &fid, 3, two, on_done, &e3);
	while (step(&clock))
		;
	g_assert_cmpint(e1 | e2 | e3, ==, 0);
	memstore_power_cut(s);
	s = memstore_open(disk, &cfg);
	GBytes *data = NULL;
	store_content_read(s, &fid, 0, 100, on_read, &data);
	while (step(&clock))
		;
	g_assert_true(g_bytes_equal(data, one));
	g_bytes_unref(data);
	memstore_close(s);
	g_array_unref(clock.events);
	memdisk_free(disk);
}

/* --- the log side --- */

typedef struct {
	LogBed base;                  /* first */
	Clock clock;
	MemStoreConfig cfg;
	MemDisk *disk;
	GRand *rnd;
	guint64 turn;
} MemBed;

static void bed_open(MemBed *b)
{
	b->cfg.seed = g_rand_int(b->rnd);
	b->base.s = memstore_open(b->disk, &b->cfg);
}

static const LogBedVt mem_bed;

static LogBed *bed_new(guint32 n)
{
	MemBed *b = g_new0(MemBed, 1);

	b->base.vt = &mem_bed;
	b->rnd = g_rand_new_with_seed(n);
	b->clock.events = g_array_new(FALSE, FALSE, sizeof(Event));
	b->cfg = (MemStoreConfig){ .pending_permille = 300, .at_once_permille = 200, .delay_max = 1000, .turn = &b->turn, .later = later, .user = &b->clock };
	b->disk = memdisk_new();
	bed_open(b);
	return &b->base;
}

static void bed_step(LogBed *bed)
{
	MemBed *b = (MemBed *)bed;

	b->turn++;
	step(&b->clock);
}

static void bed_kill(LogBed *bed)
{
	MemBed *b = (MemBed *)bed;
	guint64 written = memstore_written(bed->s);

	memstore_crash(bed->s, written + g_rand_int_range(b->rnd, 0, memstore_index(bed->s) - written + 1));
	bed_open(b);
}

static void bed_power(LogBed *bed)
{
	memstore_power_cut(bed->s);
	bed_open((MemBed *)bed);
}

static void bed_again(LogBed *bed)
{
	memstore_close(bed->s);
	bed_open((MemBed *)bed);
}

static void bed_push(LogBed *bed)
{
	int error = -1;

	store_sync(bed->s, on_done, &error);
	while (error < 0)
		bed_step(bed);
}

static void bed_free(LogBed *bed)
{
	MemBed *b = (MemBed *)bed;

	memstore_close(bed->s);
	while (step(&b->clock))
		;
	g_array_unref(b->clock.events);
	g_rand_free(b->rnd);
	memdisk_free(b->disk);
	g_free(b);
}

static const LogBedVt mem_bed = { .new = bed_new, .free = bed_free, .step = bed_step, .kill = bed_kill, .power = bed_power, .again = bed_again, .push = bed_push };

typedef struct { guint n, next; } Listed;

static void on_list(void *user, int error, const MagmaFid *fids, guint n, guint next)
{
	Listed *l = user;

	g_assert_cmpint(error, ==, 0);
	g_assert_cmpuint(next, >, l->next);
	l->n += n;
	l->next = next;
}

/* A drop that was not synced comes undone: the file is there again, and is listed. */
static void a_dropped_content_is_back_after_a_power_cut(void)
{
	Clock clock = { .events = g_array_new(FALSE, FALSE, sizeof(Event)) };
	MemStoreConfig cfg = { .seed = seed(), .delay_max = 1000, .later = later, .user = &clock };
	MemDisk *disk = memdisk_new();
	Store *s = memstore_open(disk, &cfg);
	MagmaFid a = { .ino = 7 }, b = { .ino = 8, .key.b = { 255, 255 } };
	g_autoptr(GBytes) one = g_bytes_new_static("one", 3);
	int e[4] = { -1, -1, -1, -1 };

	store_content_write(s, &a, 0, one, on_done, &e[0]);
	store_content_write(s, &b, 0, one, on_done, &e[1]);
	store_content_sync(s, &a, on_done, &e[2]);
	store_content_drop(s, &a, on_done, &e[3]);
	for (guint cut = 0; cut < 2; cut++) {
		Listed l = { 0 };
		while (l.next < STORE_FOLDERS) {
			while (step(&clock))
				;
			store_content_list(s, l.next, on_list, &l);
			while (step(&clock))
				;
		}
		g_assert_cmpuint(l.n, ==, 1);      /* b; then a */
		if (!cut) {
			memstore_power_cut(s);
			s = memstore_open(disk, &cfg);
		}
	}
	memstore_close(s);
	g_array_unref(clock.events);
	memdisk_free(disk);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sim/memstore/crash_at_any_index_keeps_exactly_that", crash_at_any_index_keeps_exactly_that);
	g_test_add_func("/sim/memstore/synced_contents_survive_a_power_cut", synced_contents_survive_a_power_cut);
	store_log_tests("/sim/memstore/log", &mem_bed);
	g_test_add_func("/sim/memstore/a_dropped_content_is_back_after_a_power_cut", a_dropped_content_is_back_after_a_power_cut);
	return g_test_run();
}
