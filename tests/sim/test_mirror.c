/* Copies of a slice: owners and copies that are killed, lose power, fill up and come back, while clients work. `--seeds A..B` runs those, `--verbose` shows every message.
 * A failure prints its seed and the last messages. */
#include "tests/sim/mirror_load.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEC ((gint64)1000000)

static gboolean verbose;

typedef struct {
	MNet *n;
	Load *l;
	guint kill_ppm, power_ppm, full_ppm, zombie_ppm, all_ppm, bad_ppm, work_permille;
	gboolean whole_power;         /* power was cut everywhere */
	gboolean wait_for_all;        /* then all that are in sync must be back, and the longest log owns; else whoever is back first: each has all that was synced */
} Run;

static gboolean others_hold(const Run *r, guint i)
{
	const MNet *n = r->n;

	for (guint k = 0; k < n->cfg.nodes; k++)
		if (k != i && n->in_sync[k] && !n->nodes[k].damaged && load_may_own(r->l, &n->nodes[k]))
			return TRUE;
	return FALSE;
}

static void back(void *arg)
{
	MNode *node = arg;

	if (!node->store)
		mnet_up(node->net, node->i);
}

static void take_down(Run *r, guint i, gboolean power)
{
	MNet *n = r->n;

	mnet_down(n, i, power);
	if (r->whole_power)           /* nothing was promised since, so one more cut takes nothing */
		n->nodes[i].damaged = FALSE;
	world_after(n->w, 1000 + world_pick(n->w, world_chance(n->w, 1, 3) ? 10000000 : 500000), FALSE, back, &n->nodes[i]);
}

static void disk_failed(void *run, guint i) { take_down(run, i, FALSE); }

static void take_down_all(Run *r, gboolean power)
{
	MNet *n = r->n;

	for (guint i = 0; i < n->cfg.nodes; i++) {
		if (n->nodes[i].store)
			take_down(r, i, power);
		if (power)
			n->nodes[i].damaged = FALSE;
	}
	if (power) {
		r->whole_power = TRUE;
		r->wait_for_all = world_chance(n->w, 1, 2);
		load_power_failed(r->l);
	}
}

static gboolean whole(const MNode *node)
{
	RowKey k = memrow_key(TAB_META, "mirror_whole", 12);

	return g_tree_lookup(node->disk->rows, &k) != NULL;
}

/* Of those that have everything; a copy whose filling was not on disk has nothing that was promised alone. */
static gboolean longest(const MNet *n, guint i)
{
	StorePos mine = n->nodes[i].disk->pos;
	gboolean any = FALSE;

	for (guint k = 0; k < n->cfg.nodes; k++)
		any |= n->in_sync[k] && whole(&n->nodes[k]);
	if (any && !whole(&n->nodes[i]))
		return FALSE;
	for (guint k = 0; k < n->cfg.nodes; k++) {
		StorePos its = n->nodes[k].disk->pos;
		if (n->in_sync[k] && !n->nodes[k].store)
			return FALSE;
		if (n->in_sync[k] && (!any || whole(&n->nodes[k])) && (!n->nodes[k].store || its.epoch > mine.epoch || (its.epoch == mine.epoch && its.index > mine.index)))
			return FALSE;
	}
	return TRUE;
}

/* Only who is in sync, and has what it had, may own. Sometimes the map takes the lost one out at once, sometimes its owner has to ask for it. */
static void maybe_promote(Run *r)
{
	MNet *n = r->n;
	guint order = world_pick(n->w, n->cfg.nodes);

	if (n->owner >= 0)
		return;
	for (guint k = 0; k < n->cfg.nodes; k++) {
		guint i = (k + order) % n->cfg.nodes;
		MNode *node = &n->nodes[i];
		if (!node->store || !n->in_sync[i] || node->damaged || node->owner || (r->whole_power && r->wait_for_all ? !longest(n, i) : !replica_whole(node->replica) || !load_may_own(r->l, node)))
			continue;
		r->whole_power = FALSE;
		for (guint j = 0; j < n->cfg.nodes; j++)
			if (j != i && !n->nodes[j].store && world_chance(n->w, 2, 3))
				n->in_sync[j] = FALSE;
		mnet_promote(n, i);
		return;
	}
}

/* The owner's disk does not read a few pages of a content any more; one disk of them all at a time, so that a copy has them as long as one counts. */
static void break_a_place(Run *r)
{
	MNet *n = r->n;
	GHashTableIter it;
	gpointer p;

	for (guint i = 0; i < n->cfg.nodes; i++) {
		g_hash_table_iter_init(&it, n->nodes[i].disk->files);
		while (g_hash_table_iter_next(&it, NULL, &p))
			if (memfile_bad(p))
				return;
	}
	load_break(r->l, &n->nodes[n->owner]);
}

static void trouble(Run *r)
{
	MNet *n = r->n;
	guint i = world_pick(n->w, n->cfg.nodes);
	MNode *node = &n->nodes[i];

	if (!node->store)
		return;
	if (world_chance(n->w, r->all_ppm, 1000000)) {
		gboolean power = r->power_ppm && world_chance(n->w, 1, 2);
		for (guint k = 0; k < n->cfg.nodes; k++)
			power = power && n->nodes[k].store && !(n->in_sync[k] && (n->nodes[k].damaged || !load_may_own(r->l, &n->nodes[k])));
		take_down_all(r, power);
	} else if (world_chance(n->w, r->kill_ppm, 1000000)) {
		take_down(r, i, FALSE);
	} else if (world_chance(n->w, r->power_ppm, 1000000) && others_hold(r, i)) {
		take_down(r, i, TRUE);
	} else if (world_chance(n->w, r->full_ppm, 1000000)) {
		node->full = !node->full;
		memstore_set_full(node->store, node->full);
	} else if (world_chance(n->w, r->zombie_ppm, 1000000) && n->owner == (gint)i && others_hold(r, i)) {
		/* it is fenced, and does not know yet that another one owns */
		world_trace(n->w, "== %u is fenced", i + 1);
		n->owner = -1;
		n->on_lost(n->user);
		load_fenced(r->l, owner_store(node->owner));
		maybe_promote(r);
	} else if (r->bad_ppm && n->owner >= 0 && world_chance(n->w, r->bad_ppm, 1000000)) {
		break_a_place(r);
	} else if (node->owner && n->owner >= 0 && n->owner != (gint)i && world_chance(n->w, 1, 2000)) {
		take_down(r, i, FALSE);
	}
}

static gboolean all_in_sync(const MNet *n)
{
	if (n->owner < 0)
		return FALSE;
	CopyStatus st[MNODES_MAX];
	Owner *o = n->nodes[n->owner].owner;
	guint k = owner_status(o, st, MNODES_MAX);
	for (guint i = 0; i < k; i++)
		if (st[i].state != COPY_IN_SYNC || st[i].lag)
			return FALSE;
	Store *s = n->nodes[n->owner].store;
	return store_acked(s) == memstore_index(s);
}

static void unfinished(const Run *r)
{
	CopyStatus st[MNODES_MAX];
	MNet *n = r->n;
	guint k = n->owner < 0 ? 0 : owner_status(n->nodes[n->owner].owner, st, MNODES_MAX);

	world_trace(n->w, "owner %d, load %s", n->owner + 1, load_idle(r->l) ? "idle" : "not idle");
	load_tell(r->l);
	for (guint i = 0; i < k; i++)
		world_trace(n->w, "copy %u: state %u, lag %" G_GUINT64_FORMAT ", done %" G_GUINT64_FORMAT, st[i].volcano, st[i].state, st[i].lag, st[i].done);
	if (n->owner >= 0)
		world_trace(n->w, "acked %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, store_acked(n->nodes[n->owner].store), memstore_index(n->nodes[n->owner].store));
	world_fail(n->w, "the copies are not the same after 120 s of quiet");
}

static void quiet(Run *r)
{
	MNet *n = r->n;

	n->trouble = FALSE;
	for (guint i = 0; i < n->cfg.nodes; i++) {
		MNode *node = &n->nodes[i];
		if (node->owner && n->owner != (gint)i)
			mnet_down(n, i, FALSE);
		node->full = FALSE;
		memdisk_read_again(node->disk);
		if (node->store)
			memstore_set_full(node->store, FALSE);
		else
			mnet_up(n, i);
	}
	load_stop(r->l);
	/* and stays so: an owner finds only after a while that a copy was restarted */
	gint64 limit = world_now(n->w) + 120 * SEC, since = world_now(n->w), look = since;
	while (world_now(n->w) < since + 4 * SEC) {
		if (world_now(n->w) >= look) {
			look = world_now(n->w) + SEC / 100;
			since = all_in_sync(n) && load_idle(r->l) ? since : world_now(n->w);
		}
		if (world_now(n->w) > limit)
			unfinished(r);
		maybe_promote(r);
		if (!mnet_step(n))
			unfinished(r);
	}
	load_check_all(r->l);
}

static guint64 run_seed(guint32 seed)
{
	GRand *rnd = g_rand_new_with_seed(seed ^ 0x6d697272);
	MNetConfig cfg = {
		.seed = seed, .verbose = verbose, .nodes = 2 + (g_rand_int_range(rnd, 0, 3) == 0) + (g_rand_int_range(rnd, 0, 10) == 0),
		.late_permille = g_rand_int_range(rnd, 0, 2) ? 0 : g_rand_int_range(rnd, 1, 60),
		.lost_permille = g_rand_int_range(rnd, 0, 2) ? 0 : g_rand_int_range(rnd, 1, 60),
		.double_permille = g_rand_int_range(rnd, 0, 100),
		.at_once_permille = g_rand_int_range(rnd, 0, 2) ? 0 : g_rand_int_range(rnd, 0, 1000),
		.disk_delay = g_rand_int_range(rnd, 0, 4) ? g_rand_int_range(rnd, 100, 4000) : g_rand_int_range(rnd, 10000, 100000),
		.keep_bytes = g_rand_int_range(rnd, 0, 2) ? 0 : 2000,
	};
	Run r = {
		.kill_ppm = g_rand_int_range(rnd, 0, 4) ? g_rand_int_range(rnd, 20, 2000) : 0,
		.power_ppm = g_rand_int_range(rnd, 0, 2) ? g_rand_int_range(rnd, 20, 1000) : 0,
		.full_ppm = g_rand_int_range(rnd, 0, 3) ? 0 : g_rand_int_range(rnd, 20, 500),
		.zombie_ppm = g_rand_int_range(rnd, 0, 3) ? 0 : g_rand_int_range(rnd, 20, 1000),
		.all_ppm = g_rand_int_range(rnd, 0, 2) ? g_rand_int_range(rnd, 20, 1500) : 0,
		.work_permille = g_rand_int_range(rnd, 10, 300),
	};
	guint steps = g_rand_int_range(rnd, 2000, 12000);
	cfg.todo_max = g_rand_int_range(rnd, 0, 2) ? g_rand_int_range(rnd, 1, 4) : 0;
	r.bad_ppm = g_rand_int_range(rnd, 0, 2) ? g_rand_int_range(rnd, 500, 5000) : 0;
	g_rand_free(rnd);

	r.n = mnet_new(&cfg);
	r.n->on_failed = disk_failed;
	r.n->failed_user = &r;
	r.l = load_new(r.n);
	for (guint i = 0; i < cfg.nodes; i++)
		mnet_up(r.n, i);
	/* a new slice: nobody has anything, and its first owner counts alone */
	for (guint i = 1; i < cfg.nodes; i++)
		r.n->in_sync[i] = FALSE;
	mnet_promote(r.n, 0);
	r.n->trouble = TRUE;
	for (guint i = 0; i < steps; i++) {
		maybe_promote(&r);
		if (world_chance(r.n->w, r.work_permille, 1000))
			load_go(r.l);
		if (!mnet_step(r.n))
			break;
		trouble(&r);
	}
	quiet(&r);
	guint64 done = load_done(r.l);
	if (verbose)
		fprintf(stderr, "done %" G_GUINT64_FORMAT ", owners %" G_GUINT64_FORMAT ", anew %" G_GUINT64_FORMAT ", compared %" G_GUINT64_FORMAT ", stuck %" G_GUINT64_FORMAT ", granted %" G_GUINT64_FORMAT "\n", done, r.n->promotions, r.n->resets, r.n->compared, r.n->stucks, r.n->grants);
	load_free(r.l);
	mnet_free(r.n);
	return done;
}

enum { DEFAULT_SEEDS = 60 };

static void nothing_acknowledged_is_lost_whichever_copies_are(void)
{
	guint64 done = 0;

	for (guint32 s = 1; s <= DEFAULT_SEEDS; s++)
		done += run_seed(s);
	g_assert_cmpuint(done, >, DEFAULT_SEEDS);
}

static void run_one(guint32 seed) { run_seed(seed); }

int main(int argc, char **argv)
{
	if (mnet_by_hand(argc, argv, &verbose, run_one))
		return 0;
	g_test_init(&argc, &argv, NULL);
	g_test_message("seeds 1..%u; more: --seeds A..B", DEFAULT_SEEDS);
	g_test_add_func("/sim/mirror/nothing_acknowledged_is_lost_whichever_copies_are", nothing_acknowledged_is_lost_whichever_copies_are);
	return g_test_run();
}
