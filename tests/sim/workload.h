/* The two workloads: one client against an exact model, and several whose acknowledged changes must add up. Both run on a cluster with trouble, and end with a quiet one that is
 * looked at row by row. */
#pragma once
#include "tests/sim/cluster.h"

typedef struct {
	guint32 seed;
	guint volcanos;               /* 1..CLUSTER_VOLCANOS; all but the first join in the middle */
	guint clients, ops;
	gboolean end_by_crash;        /* all volcanos are killed before the end is looked at */
	gboolean rename_heavy;
} Workload;

void alone_run(Cluster *c, const Workload *w);
void many_run(Cluster *c, const Workload *w);

/* test_volcano.c: volcano i of the workload joins when its time has come (op of ops). */
void workload_join(Cluster *c, const Workload *w, guint op);
/* Trouble ends, all volcanos serve, nothing is left of operations: within bounded time, or the world fails. */
void workload_settle(Cluster *c, const Workload *w);
