/* Whole volcanos in a simulated network, killed between any two events. `--seeds A..B` runs those of all workloads or of the one named by `--only` (alone, many,
 * power), `--verbose` shows every message, `--debug LETTERS` the volcanos' own channels too. A failure prints its seed and the last messages. */
#include "tests/sim/fsck.h"
#include "tests/sim/workload.h"
#include "tests/sim/faults.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static gboolean verbose;
static const char *channels;

void workload_join(Cluster *c, const Workload *w, guint op)
{
	for (guint i = 1; i < w->volcanos; i++)
		if (op == w->ops * i / (w->volcanos + 1))
			cluster_start(c, i);
}

typedef struct {
	Cluster *c;
	const Workload *w;
} Waiting;

static gboolean all_serve(void *user)
{
	Waiting *x = user;

	for (guint i = 0; i < x->w->volcanos; i++)
		if (!cluster_serves(x->c, i) || volcano_map(cluster_volcano(x->c, i))->move.id
			|| volcano_map(cluster_volcano(x->c, i))->epoch != volcano_map(cluster_volcano(x->c, 0))->epoch)
			return FALSE;
	return TRUE;
}

static gboolean settled(void *user)
{
	Waiting *x = user;

	for (guint i = 0; i < x->w->volcanos; i++)
		if (!cluster_volcano(x->c, i))
			return FALSE;
	return !fsck_unsettled(x->c);
}

void workload_all_serve(Cluster *c, const Workload *w)
{
	Waiting x = { c, w };

	if (!cluster_run_until(c, 180 * (gint64)1000000, all_serve, &x))
		world_fail(cluster_world(c), "not all volcanos serve after 180 s");
}

/* Settled once and still so a moment later: purges and the like have no row that says so. */
static void wait_settled(Cluster *c, const Workload *w)
{
	Waiting x = { c, w };

	workload_all_serve(c, w);
	if (!cluster_run_until(c, 120 * (gint64)1000000, settled, &x))
		world_fail(cluster_world(c), "not settled after 120 s: %s", fsck_unsettled(c));
	cluster_run(c, 5000000);
	if (!settled(&x))
		world_fail(cluster_world(c), "not settled any more: %s", fsck_unsettled(c));
}

void workload_settle(Cluster *c, const Workload *w)
{
	cluster_trouble(c, FALSE);
	if (w->end_by_crash)
		for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
			cluster_kill(c, i, 1000 + world_pick(cluster_world(c), 2000000), TRUE);
	wait_settled(c, w);
	fsck_free(fsck_run(c));
}

/* --- runs --- */

typedef void (*Run)(Cluster *c, const Workload *w);

static gboolean serves_0(void *user) { return cluster_serves(user, 0); }

static void run_seed(guint32 seed, Run run)
{
	/* what a seed's world is like is drawn from it, apart from the world's own draws */
	GRand *r = g_rand_new_with_seed(seed ^ 0x6d61676d);
	gboolean trouble = g_rand_int_range(r, 0, 4) != 0;
	guint32 faults = trouble && g_rand_boolean(r) ? g_rand_int(r) & g_rand_int(r) & FAULTS_ALL : 0;
	ClusterConfig cfg = {
		.seed = seed, .verbose = verbose, .channels = channels,
		.late_permille = g_rand_int_range(r, 0, 3) ? 0 : g_rand_int_range(r, 1, 100),
		.kill_ppm = !trouble ? 0 : g_rand_int_range(r, 0, 5) ? g_rand_int_range(r, 100, 4000) : g_rand_int_range(r, 4000, 15000),
		.cut_ppm = trouble && g_rand_boolean(r) ? g_rand_int_range(r, 100, 4000) : 0,
		.pending_permille = g_rand_int_range(r, 0, 400),
		.faults = faults, .fault_every = 1000 * (gint64)g_rand_int_range(r, 5, 500),
		.disk_delay = g_rand_int_range(r, 0, 4) ? g_rand_int_range(r, 100, 4000) : g_rand_int_range(r, 10000, 200000),
	};
	Workload w = {
		.seed = seed, .volcanos = 1 + g_rand_int_range(r, 0, 10) * 3 / 10 + (g_rand_int_range(r, 0, 8) == 0), .clients = 2 + g_rand_int_range(r, 0, 4),
		.ops = 40 + g_rand_int_range(r, 0, 160), .end_by_crash = g_rand_boolean(r), .rename_heavy = g_rand_int_range(r, 0, 3) == 0,
	};
	g_rand_free(r);
	Cluster *c = cluster_new(&cfg);
	cluster_start(c, 0);
	if (!cluster_run_until(c, 5000000, serves_0, c))
		world_fail(cluster_world(c), "no network after 5 s");
	run(c, &w);
	cluster_free(c);
}

static void run_seeds(Run run, guint32 from, guint32 to)
{
	for (guint32 seed = from; seed <= to; seed++)
		run_seed(seed, run);
}

enum { DEFAULT_SEEDS = 200 };

static guint32 first_seed;

static void alone_agrees_with_the_model_whatever_is_killed(void) { run_seeds(alone_run, first_seed, first_seed + DEFAULT_SEEDS - 1); }
static void many_clients_changes_add_up_whatever_is_killed(void) { run_seeds(many_run, first_seed, first_seed + DEFAULT_SEEDS - 1); }
static void what_was_synced_survives_a_power_cut(void) { run_seeds(power_run, first_seed, first_seed + DEFAULT_SEEDS - 1); }

int main(int argc, char **argv)
{
	unsigned a = 0, b = 0;
	const char *only = NULL;
	static const struct { const char *name; Run run; } runs[] = { { "alone", alone_run }, { "many", many_run }, { "linear", linear_run }, { "power", power_run } };
	gboolean by_hand = FALSE;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			by_hand = sscanf(argv[++i], "%u..%u", &a, &b) == 2;
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--verbose") == 0)
			verbose = TRUE;
		else if (strcmp(argv[i], "--debug") == 0 && i + 1 < argc)
			channels = argv[++i];
	}
	if (by_hand) {
		for (guint32 s = a; s <= b; s++) {
			fprintf(stderr, "\rseed %u ", s);
			for (guint i = 0; i < G_N_ELEMENTS(runs); i++)
				if (!only || strcmp(only, runs[i].name) == 0)
					run_seed(s, runs[i].run);
		}
		fprintf(stderr, "\n");
		return 0;
	}
	g_test_init(&argc, &argv, NULL);
	first_seed = 1;
	g_test_message("seeds %u..%u; more: --seeds A..B", first_seed, first_seed + DEFAULT_SEEDS - 1);
	g_test_add_func("/sim/volcano/alone_agrees_with_the_model_whatever_is_killed", alone_agrees_with_the_model_whatever_is_killed);
	g_test_add_func("/sim/volcano/many_clients_changes_add_up_whatever_is_killed", many_clients_changes_add_up_whatever_is_killed);
	g_test_add_func("/sim/volcano/what_was_synced_survives_a_power_cut", what_was_synced_survives_a_power_cut);
	return g_test_run();
}
