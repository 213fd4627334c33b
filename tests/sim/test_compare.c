/* Copies that are compared row by row with their owner: any two sets of rows end equal, and where nobody disturbs it only what differs is sent. `--seeds A..B` runs those, `--verbose` shows every message. */
#include "tests/sim/mirror_net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "magmad/mirror/item.h"

#define SEC ((gint64)1000000)
enum { PIECE_OVERHEAD = 2 * STORE_KEY_MAX };

static gboolean verbose;

typedef struct {
	MNet *n;
	guint keys;                   /* of each table, at most */
	guint64 rows, differ;         /* bytes, as a transaction has them */
	guint differing;
} Run;

static void nothing(void *user) { }

/* Few enough that both sides have many of the same. */
static gsize random_key(Run *r, StoreTable t, guint8 *key)
{
	World *w = r->n->w;

	memset(key, 0, 8);
	magma_be64_store(key, world_pick(w, r->keys));
	if (t == TAB_FLARE || t == TAB_DATA || t == TAB_ORPHAN || t == TAB_DIRTY)
		return 8;
	gsize extra = world_chance(w, 1, 50) ? STORE_KEY_MAX - 8 : world_pick(w, 20);
	memset(key + 8, 'a', extra);
	return 8 + extra;
}

static StoreTable random_table(Run *r) { return 1 + world_pick(r->n->w, TAB_COUNT - 1); }

static void random_put(Run *r, Txn *t)
{
	World *w = r->n->w;
	StoreTable table = random_table(r);
	guint8 key[STORE_KEY_MAX], val[900];
	gsize klen = random_key(r, table, key), vlen = world_pick(w, world_chance(w, 1, 20) ? sizeof val : 60);
	MagmaKey rk = { .b = { world_pick(w, 3) } };

	memset(val, world_pick(w, 256), vlen);
	txn_put(t, table, key, klen, &rk, val, vlen);
}

static void random_del(Run *r, Txn *t)
{
	StoreTable table = random_table(r);
	guint8 key[STORE_KEY_MAX];

	txn_del(t, table, key, random_key(r, table, key), NULL);
}

static void append(MemDisk *d, StorePos pos, gboolean fill, Txn *t)
{
	memdisk_append(d, pos, fill, g_bytes_new(txn_bytes(t)->data, txn_bytes(t)->len));
	txn_free(t);
}

static Txn *random_rows(Run *r, guint puts, guint dels)
{
	Txn *t = txn_new();

	for (guint i = 0; i < puts; i++)
		random_put(r, t);
	for (guint i = 0; i < dels; i++)
		random_del(r, t);
	return t;
}

/* Both had frame 1; then each had rows of its own, and the owner's journal has nothing of it. */
static void make_disks(Run *r)
{
	World *w = r->n->w;
	MemDisk *mine = r->n->nodes[0].disk, *its = r->n->nodes[1].disk;
	guint n = 1 + world_pick(w, world_chance(w, 1, 4) ? 20000 : 1500), changes = world_chance(w, 1, 4) ? 0 : world_pick(w, world_chance(w, 1, 3) ? n : 30);
	Txn *t = random_rows(r, n, 0), *mark = txn_new();

	append(its, (StorePos){ 1, 1 }, FALSE, t);
	memdisk_append(mine, (StorePos){ 1, 1 }, FALSE, g_bytes_ref(((MemFrame *)its->log->pdata[0])->txn));
	append(mine, (StorePos){ 1, 2 }, FALSE, random_rows(r, changes, changes));
	append(its, (StorePos){ 1, 1 }, TRUE, random_rows(r, world_pick(w, changes + 1), world_pick(w, changes + 1)));
	txn_put(mark, TAB_META, META_WHOLE, strlen(META_WHOLE), NULL, "", 0);
	append(its, (StorePos){ 1, 1 }, TRUE, mark);
	for (guint i = 0; i < 2; i++) {
		MemDisk *d = r->n->nodes[i].disk;
		memdisk_fold(d, memdisk_end(d));
		d->durable_seq = memdisk_end(d);
		memdisk_trim(d, G_MAXUINT64, 0);
	}
}

static gboolean own_row(const MemRow *m) { return m->key.table == TAB_META && m->key.klen >= strlen(META_OWN) && !memcmp(m->key.key, META_OWN, strlen(META_OWN)); }

static gboolean rk_matters(const MemRow *m) { return m->key.table != TAB_META && m->key.table != TAB_CLIENT; }

typedef struct {
	Run *r;
	GTree *other;
	gboolean missing;             /* count only what is missing there */
	gboolean must;
} Look;

static gboolean look_at_row(gpointer key, gpointer value, gpointer user)
{
	const MemRow *m = value;
	Look *l = user;
	const MemRow *o = g_tree_lookup(l->other, key);

	if (own_row(m))
		return FALSE;
	gboolean same = o && o->vlen == m->vlen && (!m->vlen || !memcmp(o->val, m->val, m->vlen)) && (!rk_matters(m) || !magma_key_cmp(&o->rk, &m->rk));
	if (same || (l->missing && o))
		return FALSE;
	if (l->must)
		world_fail(l->r->n->w, "a row of table %u is %s", m->key.table, o ? "another" : "on one side only");
	l->r->differing++;
	l->r->differ += 28 + m->key.klen + (l->missing ? 0 : m->vlen);
	return FALSE;
}

static void look(Run *r, gboolean must)
{
	GTree *mine = r->n->nodes[0].disk->rows, *its = r->n->nodes[1].disk->rows;
	Look l = { r, its, FALSE, must }, back = { r, mine, TRUE, must };

	g_tree_foreach(mine, look_at_row, &l);
	g_tree_foreach(its, look_at_row, &back);
}

static gboolean in_sync(const MNet *n)
{
	CopyStatus st;

	return n->owner == 0 && n->nodes[1].store && owner_status(n->nodes[0].owner, &st, 1) == 1 && st.state == COPY_IN_SYNC && !st.lag;
}

static void disturb(Run *r)
{
	MNet *n = r->n;
	World *w = n->w;

	if (n->owner == 0 && world_chance(w, 1, 6)) {
		Txn *t = random_rows(r, 1 + world_pick(w, 5), world_pick(w, 3));
		store_commit(mnet_store(n), t);
	}
	if (n->nodes[1].store && world_chance(w, 1, 150))
		mnet_down(n, 1, FALSE);
	else if (!n->nodes[1].store && world_chance(w, 1, 10))
		mnet_up(n, 1);
	if (n->nodes[0].store && world_chance(w, 1, 400))
		mnet_down(n, 0, FALSE);
	else if (!n->nodes[0].store && world_chance(w, 1, 10))
		mnet_up(n, 0);
	if (n->owner < 0 && n->nodes[0].store) {
		n->in_sync[1] = FALSE;
		mnet_promote(n, 0);
	}
}

static guint run_seed(guint32 seed)
{
	MNetConfig cfg = { .seed = seed, .verbose = verbose, .nodes = 2, .disk_delay = 1000, .keep_bytes = seed % 3 ? 1 : 3000, .at_once_permille = seed % 7 * 100 };
	Run r = { .n = mnet_new(&cfg) };
	MNet *n = r.n;
	gboolean wild = seed & 1;

	n->on_lost = n->on_owner = nothing;
	n->epoch = 1;
	r.keys = 1 + world_pick(n->w, world_chance(n->w, 1, 2) ? 3000 : 60);
	make_disks(&r);
	look(&r, FALSE);
	n->in_sync[1] = FALSE;
	mnet_up(n, 0);
	mnet_up(n, 1);
	mnet_promote(n, 0);
	for (guint i = 0; wild && i < 3000 && mnet_step(n); i++)
		disturb(&r);
	for (guint i = 0; i < 2; i++)
		if (!n->nodes[i].store)
			mnet_up(n, i);
	if (n->owner < 0) {
		n->in_sync[1] = FALSE;
		mnet_promote(n, 0);
	}
	gint64 limit = world_now(n->w) + 120 * SEC;
	while (!in_sync(n) && mnet_step(n))
		if (world_now(n->w) > limit)
			world_fail(n->w, "the copy is not in sync after 120 s");
	look(&r, TRUE);
	/* each piece may say how far it has come */
	if (!wild && n->appended > r.differ + (r.differing + 1) * PIECE_OVERHEAD)
		world_fail(n->w, "%" G_GUINT64_FORMAT " bytes were sent where %" G_GUINT64_FORMAT " in %u rows differ", n->appended, r.differ, r.differing);
	if (!wild && n->resets)
		world_fail(n->w, "it was made anew");
	guint differing = r.differing;
	mnet_free(n);
	return differing;
}

enum { DEFAULT_SEEDS = 24 };

static void any_two_sets_of_rows_end_equal_and_only_what_differs_is_sent(void)
{
	guint differing = 0;

	for (guint32 s = 1; s <= DEFAULT_SEEDS; s++)
		differing += run_seed(s);
	g_assert_cmpuint(differing, >, DEFAULT_SEEDS);
}

static void run_one(guint32 seed) { run_seed(seed); }

int main(int argc, char **argv)
{
	if (mnet_by_hand(argc, argv, &verbose, run_one))
		return 0;
	g_test_init(&argc, &argv, NULL);
	g_test_message("seeds 1..%u; more: --seeds A..B", DEFAULT_SEEDS);
	g_test_add_func("/sim/compare/any_two_sets_of_rows_end_equal_and_only_what_differs_is_sent", any_two_sets_of_rows_end_equal_and_only_what_differs_is_sent);
	return g_test_run();
}
