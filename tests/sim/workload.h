/* The workloads: one client against an exact model, several whose acknowledged changes must add up, and several whose histories must be linearizable, each on a cluster with trouble, which then
 * falls quiet and is looked at row by row; and one that loses its power. */
#pragma once
#include "tests/sim/cluster.h"

typedef struct {
	gboolean join_first;          /* all are there, and vote, before anything goes wrong: two that hear nothing of each other may both go on, and one may think that it is alone */
	gboolean reach_all;           /* no client goes through one volcano: those are away for so long that it would be forgotten */
	guint32 seed;
	guint volcanos;               /* 1..CLUSTER_VOLCANOS; all but the first join in the middle */
	guint clients, ops;
	gboolean end_by_crash;        /* all volcanos are killed before the end is looked at */
	gboolean rename_heavy;
} Workload;

void alone_run(Cluster *c, const Workload *w);
void many_run(Cluster *c, const Workload *w);
/* What clients saw is linearizable. */
void linear_run(Cluster *c, const Workload *w);
/* What fsync promised survives the loss of power everywhere. */
void power_run(Cluster *c, const Workload *w);

/* two.c */
void two_run(Cluster *c, const Workload *w);
void split_run(Cluster *c, const Workload *w);
void witness_run(Cluster *c, const Workload *w);

/* test_volcano.c: volcano i of the workload joins when its time has come (op of ops). */
void workload_join(Cluster *c, const Workload *w, guint op);
/* Trouble ends, all volcanos serve, nothing is left of operations: within bounded time, or the world fails. */
/* All volcanos of the workload serve and no slice is on its way. */
void workload_all_serve(Cluster *c, const Workload *w);
void workload_settle(Cluster *c, const Workload *w);
