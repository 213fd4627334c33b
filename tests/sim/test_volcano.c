/* Whole volcanos in a simulated network with faults. tests/sim/run is its front door: `--seeds A..B` runs each with the workload of its number, or with those named by `--only` (all, alone, many, linear, power, two, split, witness) over all cores and stops at the
 * first that fails; `--faults KIND,...` wants just those kinds of trouble, `--volcanos N` as many volcanos, `--jobs N` processes, `--go-on` does not stop and lists all that fail, `--twice` each seed twice (the same must happen), `--verbose` every message, `--debug LETTERS` the
 * volcanos' own channels too. A failure prints its seed, the last messages, and how to run it again. */
#include "tests/sim/faults.h"
#include "tests/sim/fsck.h"
#include "tests/sim/runner.h"
#include "tests/sim/workload.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From the command line. */
static struct {
	gboolean verbose, twice, go_on;
	const char *channels, *only, *fault_list;
	guint32 faults;               /* 0: what the seed draws */
	guint volcanos, copies, jobs; /* 0: what the seed draws; all cores */
	gboolean calm;                /* no trouble at all */
} opt;

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
	return cluster_at_home(x->c) && !fsck_unsettled(x->c);
}

void workload_all_serve(Cluster *c, const Workload *w)
{
	Waiting x = { c, w };

	if (!cluster_run_until(c, 180 * (gint64)1000000, all_serve, &x))
		world_fail(cluster_world(c), "not all volcanos serve after 180 s");
}

enum { COPIES_WAIT = 30 };           /* seconds */

static const char *why_unsettled(Cluster *c)
{
	const char *text = fsck_unsettled(c);

	return text ? text : "not at home";
}

/* Settled once and still so a moment later: purges and the like have no row that says so. */
static void wait_settled(Cluster *c, const Workload *w)
{
	Waiting x = { c, w };

	workload_all_serve(c, w);
	if (!cluster_run_until(c, 120 * (gint64)1000000, settled, &x))
		world_fail(cluster_world(c), "not settled after 120 s: %s", why_unsettled(c));
	/* a late message may have a copy taken out and caught up again: that is no trouble, but not the moment to look */
	for (guint tries = 0; cluster_run(c, 5000000), !settled(&x); tries++)
		if (tries == 20 || !cluster_run_until(c, 120 * (gint64)1000000, settled, &x))
			world_fail(cluster_world(c), "not settled any more: %s", why_unsettled(c));
	for (guint i = 0; fsck_copies(c); i++) {
		if (i == COPIES_WAIT)
			world_fail(cluster_world(c), "%s", fsck_copies(c));
		cluster_run(c, 1000000);
	}
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

enum { ALONE, MANY, LINEAR, POWER, TWO, SPLIT, WITNESS };
static const struct { const char *name; Run run; } runs[] = {
	[ALONE] = { "alone", alone_run }, [MANY] = { "many", many_run }, [LINEAR] = { "linear", linear_run }, [POWER] = { "power", power_run },
	[TWO] = { "two", two_run }, [SPLIT] = { "split", split_run }, [WITNESS] = { "witness", witness_run },
};

static gboolean serves_0(void *user) { return cluster_serves(user, 0); }

/* Mostly a few; sometimes as many as there may be. */
static guint draw_volcanos(GRand *r)
{
	guint few = 1 + g_rand_int_range(r, 0, 10) * 3 / 10 + (g_rand_int_range(r, 0, 8) == 0);

	return g_rand_int_range(r, 0, 24) ? few : (guint)g_rand_int_range(r, 4, CLUSTER_VOLCANOS + 1);
}

/* Two volcanos that hold everything, and perhaps a third that only votes: what happens to them is longer. */
static void draw_two(GRand *r, guint which, gboolean trouble, ClusterConfig *cfg, Workload *w)
{
	cfg->copies = 2;
	w->volcanos = which == WITNESS ? 3 : 2;
	cfg->witness = which == WITNESS ? 2 : 0;
	cfg->away_max = g_rand_int_range(r, 0, 4) ? 8000000 : 1500000;
	cfg->kill_ppm = g_rand_int_range(r, 100, 1500);
	cfg->leave_ppm = g_rand_boolean(r) ? 0 : g_rand_int_range(r, 100, 1500);
	cfg->part_ppm = which == WITNESS ? g_rand_int_range(r, 100, 1000) : 0;
	if (!trouble || opt.faults)
		cfg->leave_ppm = cfg->part_ppm = 0;
	w->reach_all = TRUE;
	cfg->both_may_answer = which == SPLIT;
}

/* What a seed's world is like is drawn from it, apart from the world's own draws. */
static void draw(guint32 seed, guint which, ClusterConfig *cfg, Workload *w)
{
	GRand *r = g_rand_new_with_seed(seed ^ 0x6d61676d);
	gboolean trouble = (g_rand_int_range(r, 0, 4) != 0 || which >= TWO) && !opt.calm;
	guint32 scheduled = g_rand_boolean(r) ? g_rand_int(r) & g_rand_int(r) & FAULTS_ALL : 0, classic = 1u << FAULT_KILL | 1u << FAULT_CUT | 1u << FAULT_LATE;

	*cfg = (ClusterConfig){
		.seed = seed, .verbose = opt.verbose, .channels = opt.channels,
		.late_permille = g_rand_int_range(r, 0, 3) ? 0 : g_rand_int_range(r, 1, 100),
		.kill_ppm = g_rand_int_range(r, 0, 5) ? g_rand_int_range(r, 100, 4000) : g_rand_int_range(r, 4000, 15000),
		.cut_ppm = g_rand_boolean(r) ? g_rand_int_range(r, 100, 4000) : 0,
		.pending_permille = g_rand_int_range(r, 0, 400),
		.fault_every = 1000 * (gint64)g_rand_int_range(r, 5, 500),
		.disk_delay = g_rand_int_range(r, 0, 4) ? g_rand_int_range(r, 100, 4000) : g_rand_int_range(r, 10000, 200000),
	};
	*w = (Workload){
		.seed = seed, .volcanos = draw_volcanos(r), .clients = 2 + g_rand_int_range(r, 0, 4),
		.ops = 40 + g_rand_int_range(r, 0, 160), .end_by_crash = g_rand_boolean(r), .rename_heavy = g_rand_int_range(r, 0, 3) == 0,
	};
	guint copies = 1 + (guint)g_rand_int_range(r, 0, 5) / 2;      /* as often one as two, and at times three */
	cfg->copies = opt.copies ? opt.copies : copies;
	if (opt.volcanos)
		w->volcanos = opt.volcanos;
	if (which >= TWO)
		draw_two(r, which, trouble, cfg, w);
	if (which == POWER && g_rand_boolean(r))
		cfg->writeback_permille = g_rand_int_range(r, 100, 900);
	g_rand_free(r);
	/* two that hear nothing of each other may both go on, and do: that is split's */
	const guint32 parting = 1u << FAULT_SPLIT | 1u << FAULT_ONEWAY, allowed = cfg->copies > 1 && w->volcanos == 2 ? ~parting : FAULTS_ALL, wanted = opt.faults & allowed;
	scheduled &= allowed;
	w->join_first = which == WITNESS || (cfg->copies > 1 && w->volcanos > 2 && (scheduled | wanted) & parting);
	/* kills and cuts come between any two events; the schedule has the rest */
	guint32 set = opt.faults ? wanted : trouble ? scheduled | classic : 0;
	cfg->faults = opt.faults ? set : set & scheduled & ~classic;
	cfg->kill_ppm *= set >> FAULT_KILL & 1;
	cfg->cut_ppm *= set >> FAULT_CUT & 1;
	cfg->late_permille *= opt.faults ? set >> FAULT_LATE & 1 : 1;
}

/* As many vote as will. */
static gboolean all_there(void *user)
{
	Waiting *x = user;
	guint voters = 0;

	if (!all_serve(user))
		return FALSE;
	const MagmaMap *map = volcano_map(cluster_volcano(x->c, 0));
	for (guint i = 0; i < map->volcanos->len; i++)
		voters += (((const MagmaVolcano *)map->volcanos->pdata[i])->flags & MAGMA_VOLCANO_VOTER) != 0;
	return voters == (x->w->volcanos >= 5 ? 5 : x->w->volcanos >= 3 ? 3 : 1) && cluster_at_home(x->c);
}

static void join_all(Cluster *c, const Workload *w)
{
	Waiting x = { c, w };

	for (guint i = 1; i < w->volcanos; i++)
		cluster_start(c, i);
	if (!cluster_run_until(c, 180 * (gint64)1000000, all_there, &x))
		world_fail(cluster_world(c), "not all volcanos are there after 180 s");
}

/* Returns what happened, in one number. */
static guint64 run_once(guint32 seed, guint which)
{
	ClusterConfig cfg;
	Workload w;

	draw(seed, which, &cfg, &w);
	g_autofree char *replay = g_strdup_printf("tests/sim/run --seeds %u..%u --only %s%s%s --volcanos %u --copies %u%s --verbose", seed, seed, runs[which].name,
		opt.faults ? " --faults " : "", opt.faults ? opt.fault_list : "", w.volcanos, cfg.copies, opt.calm ? " --calm" : "");
	cfg.replay = replay;
	Cluster *c = cluster_new(&cfg);
	cluster_start(c, 0);
	if (!cluster_run_until(c, 5000000, serves_0, c))
		world_fail(cluster_world(c), "no network after 5 s");
	if (w.join_first)
		join_all(c, &w);
	runs[which].run(c, &w);
	guint64 hash = world_hash(cluster_world(c));
	cluster_free(c);
	return hash;
}

static void run_seed(guint32 seed, guint which)
{
	guint64 hash = run_once(seed, which);

	if (opt.twice && run_once(seed, which) != hash)
		g_error("seed %u of %s does not run the same twice", seed, runs[which].name);
}

/* Which seeds of which workloads: one of each seed, by its number; or all of one seed, then those of the next. */
typedef struct {
	guint32 first;
	guint which[G_N_ELEMENTS(runs)], n;
	gboolean by_number;
} Wanted;

static guint32 nth(const Wanted *x, guint64 n, guint *which)
{
	guint32 seed = x->first + (x->by_number ? n : n / x->n);

	*which = x->which[(x->by_number ? seed : n) % x->n];
	return seed;
}

static void run_nth(guint64 n, void *user)
{
	const Wanted *x = user;

	guint which, seed = nth(x, n, &which);

	run_seed(seed, which);
}

static void name_nth(guint64 n, char *out, gsize size, void *user)
{
	const Wanted *x = user;

	guint which, seed = nth(x, n, &which);

	g_snprintf(out, size, "seed %u of %s", seed, runs[which].name);
}

/* FALSE: something failed. */
static gboolean run_all(guint32 from, guint32 to)
{
	gint64 began = g_get_monotonic_time();
	Wanted x = { .first = from, .by_number = !opt.only };
	Runs r = { .jobs = opt.verbose ? 1 : opt.jobs, .go_on = opt.go_on, .one = run_nth, .name = name_nth, .user = &x };

	for (guint i = 0; i < G_N_ELEMENTS(runs); i++)
		if (!opt.only || strcmp(opt.only, "all") == 0 || strcmp(opt.only, runs[i].name) == 0)
			x.which[x.n++] = i;
	r.count = ((guint64)to - from + 1) * (x.by_number ? 1 : x.n);
	if (r.count == 1)
		r.jobs = 1;
	guint64 failed = runner_run(&r);
	double seconds = (g_get_monotonic_time() - began) / 1e6;
	fprintf(stderr, "seeds %u..%u of %s: ", from, to, opt.only ? opt.only : "a workload each");
	if (failed)
		fprintf(stderr, "%" G_GUINT64_FORMAT " FAILED, %.1f s\n", failed, seconds);
	else
		fprintf(stderr, "good, %.1f s, %.0f runs a minute\n", seconds, r.count * 60 / seconds);
	return !failed;
}

/* --- the command line --- */

static gboolean is_workload(const char *name)
{
	for (guint i = 0; i < G_N_ELEMENTS(runs); i++)
		if (strcmp(name, runs[i].name) == 0)
			return TRUE;
	return strcmp(name, "all") == 0;
}

static int usage(const char *what)
{
	g_autoptr(GString) kinds = g_string_new("");

	for (guint i = 0; i < FAULT_KINDS; i++)
		g_string_append_printf(kinds, "%s%s", i ? "," : "", fault_name(i));
	fprintf(stderr, "%s\n--seeds A..B [--only WORKLOAD|all] [--faults %s] [--volcanos 1..%u] [--copies N] [--calm] [--jobs N] [--go-on] [--twice] [--verbose] [--debug LETTERS]\n", what, kinds->str, CLUSTER_VOLCANOS);
	return 2;
}

static int by_hand(int argc, char **argv)
{
	unsigned a = 1, b = 0;

	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (strcmp(arg, "--verbose") == 0) {
			opt.verbose = TRUE;
			continue;
		}
		if (strcmp(arg, "--go-on") == 0) {
			opt.go_on = TRUE;
			continue;
		}
		if (strcmp(arg, "--twice") == 0) {
			opt.twice = TRUE;
			continue;
		}
		if (strcmp(arg, "--calm") == 0) {
			opt.calm = TRUE;
			continue;
		}
		if (!value)
			return usage("a value is missing, or an option is none");
		i++;
		if (strcmp(arg, "--seeds") == 0 && sscanf(value, "%u..%u", &a, &b) == 2 && a <= b)
			continue;
		else if (strcmp(arg, "--only") == 0 && is_workload(value))
			opt.only = value;
		else if (strcmp(arg, "--faults") == 0 && (opt.faults = faults_parse(value)))
			opt.fault_list = value;
		else if (strcmp(arg, "--volcanos") == 0 && sscanf(value, "%u", &opt.volcanos) == 1 && opt.volcanos >= 1 && opt.volcanos <= CLUSTER_VOLCANOS)
			continue;
		else if (strcmp(arg, "--copies") == 0 && sscanf(value, "%u", &opt.copies) == 1)
			continue;
		else if (strcmp(arg, "--jobs") == 0 && sscanf(value, "%u", &opt.jobs) == 1)
			continue;
		else if (strcmp(arg, "--debug") == 0)
			opt.channels = value;
		else
			return usage(arg);
	}
	if (a > b)
		return usage("which seeds?");
	return !run_all(a, b);
}

/* --- make check --- */

enum { DEFAULT_SEEDS = 240 };

static void default_seeds(guint which, guint n)
{
	for (guint32 seed = 1; seed <= n; seed++)
		run_seed(seed, which);
}

static void alone_agrees_with_the_model_whatever_fails(void) { default_seeds(ALONE, DEFAULT_SEEDS); }
static void many_clients_changes_add_up_whatever_fails(void) { default_seeds(MANY, DEFAULT_SEEDS); }
static void what_clients_see_is_linearizable_whatever_fails(void) { default_seeds(LINEAR, DEFAULT_SEEDS); }
static void what_was_synced_survives_a_power_cut(void) { default_seeds(POWER, DEFAULT_SEEDS); }
static void two_go_on_whoever_dies(void) { default_seeds(TWO, DEFAULT_SEEDS / 4); }
static void of_two_that_both_went_on_one_line_stands(void) { default_seeds(SPLIT, DEFAULT_SEEDS / 4); }
static void two_and_a_witness_go_on_whoever_is_cut_off(void) { default_seeds(WITNESS, DEFAULT_SEEDS / 4); }

/* Also when the second run finds the memory in another state: nothing hangs on addresses. */
static void a_seed_is_one_run(void)
{
	for (guint32 seed = 1; seed <= 20; seed++)
		for (guint i = 0; i < G_N_ELEMENTS(runs); i++) {
			guint64 hash = run_once(seed, i);
			g_assert_cmpuint(run_once(seed, i), ==, hash);
		}
}

int main(int argc, char **argv)
{
	world_trace_crashes();
	if (argc > 1 && argv[1][0] == '-' && argv[1][1] == '-' && !g_str_has_prefix(argv[1], "--tap"))
		return by_hand(argc, argv);
	g_test_init(&argc, &argv, NULL);
	g_test_message("seeds 1..%u; more: tests/sim/run --seeds A..B", DEFAULT_SEEDS);
	g_test_add_func("/sim/volcano/alone_agrees_with_the_model_whatever_fails", alone_agrees_with_the_model_whatever_fails);
	g_test_add_func("/sim/volcano/many_clients_changes_add_up_whatever_fails", many_clients_changes_add_up_whatever_fails);
	g_test_add_func("/sim/volcano/what_clients_see_is_linearizable_whatever_fails", what_clients_see_is_linearizable_whatever_fails);
	g_test_add_func("/sim/volcano/what_was_synced_survives_a_power_cut", what_was_synced_survives_a_power_cut);
	g_test_add_func("/sim/volcano/two_go_on_whoever_dies", two_go_on_whoever_dies);
	g_test_add_func("/sim/volcano/of_two_that_both_went_on_one_line_stands", of_two_that_both_went_on_one_line_stands);
	g_test_add_func("/sim/volcano/two_and_a_witness_go_on_whoever_is_cut_off", two_and_a_witness_go_on_whoever_is_cut_off);
	g_test_add_func("/sim/volcano/a_seed_is_one_run", a_seed_is_one_run);
	return g_test_run();
}
