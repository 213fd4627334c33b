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

static gboolean make(SimClient *s, guint i)
{
	char name[20], path[24];
	struct magma_req_mknod q = { .dir = magma_fid_root(), .mode = 0100644 };
	MagmaAny rep;

	g_snprintf(name, sizeof name, "f%u", i);
	q.key = magma_key_of_path(path, g_snprintf(path, sizeof path, "/%s", name));
	q.name = MAGMA_BYTES_STR(name);
	return sim_call_wait(s, MAGMA_OP_mknod, &q, &rep) == 0;
}

/* A true partition of two: each goes on alone. One line stands in the end, and both volcanos hold it; what was acknowledged before the partition is in it. */
void split_run(Cluster *c, const Workload *w)
{
	SimClient *s = sim_client_new(c, -1), *t = sim_client_new(c, -1);
	guint i = 0, before;

	begin(c, 2);
	for (; i < 20; i++)
		if (!make(s, i))
			world_fail(cluster_world(c), "a file cannot be made");
	before = i;
	cluster_part(c, w->seed % 2, 4000000 + world_pick(cluster_world(c), 6000000));
	for (; i < 40; i++)
		make(i % 2 ? s : t, i);
	cluster_run(c, 12000000);
	workload_settle(c, w);
	for (guint k = 0; k < before; k++)
		if (make(s, k))
			world_fail(cluster_world(c), "f%u was acknowledged before the partition, and is gone", k);
	sim_client_free(s);
	sim_client_free(t);
}

void witness_run(Cluster *c, const Workload *w)
{
	begin(c, 3);
	many_run(c, w);
}
