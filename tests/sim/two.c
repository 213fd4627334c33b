/* Two volcanos with all that they hold, and a third that only votes: whoever dies or ends, for however long, the rest goes on; also where no other reaches it, which two alone cannot tell from death. */
#include "tests/sim/fsck.h"
#include "tests/sim/workload.h"

static gboolean ready(void *user) { return cluster_serves(user, 0) && cluster_serves(user, 1) && cluster_at_home(user) && volcano_map(cluster_volcano(user, 0))->slices->len == 2; }

static void begin(Cluster *c, guint volcanos)
{
	for (guint i = 1; i < volcanos; i++)
		cluster_start(c, i);
	if (!cluster_run_until(c, 60 * (gint64)1000000, ready, c))
		world_fail(cluster_world(c), "two volcanos do not hold two slices twice after 60 s");
}

void two_run(Cluster *c, const Workload *w)
{
	begin(c, 2);
	many_run(c, w);
}

void witness_run(Cluster *c, const Workload *w)
{
	begin(c, 3);
	many_run(c, w);
}
