#include "tests/sim/faults.h"
#include "tests/sim/cluster-internal.h"
#include <string.h>

#define MS ((gint64)1000)
#define SEC (1000 * MS)

/* A network in which something is wrong all the time gets nothing done within the minute that clients wait, and that breaks no promise. */
enum { FAULTS_MAX = 15 };
#define LASTING_MAX (24 * SEC)           /* of all the faults that last, together */

struct Faults {
	Cluster *c;
	World *w;
	guint32 set;
	gint64 every, lasted;
	guint drawn, tick;
};

static const char *const names[FAULT_KINDS] = {
	"kill", "gone", "cut", "repeat", "late", "split", "oneway", "client", "drift", "pause", "slowdisk", "baddisk", "unopened", "dying", "lost",
};

const char *fault_name(FaultKind k) { return names[k]; }

guint32 faults_parse(const char *list)
{
	g_auto(GStrv) parts = g_strsplit(list, ",", -1);
	guint32 set = 0;

	for (guint i = 0; parts[i]; i++) {
		guint k = 0;
		while (k < FAULT_KINDS && strcmp(names[k], parts[i]) != 0)
			k++;
		if (k == FAULT_KINDS)
			return 0;
		set |= 1u << k;
	}
	return set;
}

/* Mostly short, now and then as long as it may be. */
static gint64 duration(Faults *f, gint64 max)
{
	gint64 t = world_chance(f->w, 2, 3) ? world_pick(f->w, 400 * MS) : world_pick(f->w, max);

	t = MIN(t, LASTING_MAX - f->lasted);
	f->lasted += t;
	return t;
}

/* A client that hears nothing of a volcano for 15 s is expired there; so nothing lasts long that keeps pings from it. One whose map is from before others had slices has to hear of them by those that it knows. */
static gboolean someone_goes_through(Cluster *c)
{
	guint there = 0;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		there += c->node[i].started;
	for (guint i = 0; i < c->clients->len; i++)
		if (sim_client_through(c->clients->pdata[i]) >= 0 || sim_client_pings(c->clients->pdata[i]) < there)
			return TRUE;
	return FALSE;
}

static Node *pick_running(Faults *f)
{
	guint at = world_pick(f->w, CLUSTER_VOLCANOS);

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		Node *n = &f->c->node[(at + i) % CLUSTER_VOLCANOS];
		if (n->volcano)
			return n;
	}
	return NULL;
}

static void block_for(Faults *f, guint64 from, guint64 to, gboolean both, gint64 time)
{
	cluster_block_for(f->c, from, to, time);
	if (both)
		cluster_block_for(f->c, to, from, time);
}

static guint64 started(const Cluster *c)
{
	guint64 set = 0;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (c->node[i].started)
			set |= (guint64)1 << i;
	return set;
}

static void part(Faults *f, gboolean both)
{
	guint64 all = started(f->c), a = world_pick(f->w, ((guint64)1 << CLUSTER_VOLCANOS)) & all;

	if (!a || a == all)
		return;
	block_for(f, a, all & ~a, both, duration(f, someone_goes_through(f->c) ? 4 * SEC : 13 * SEC));
}

static void part_client(Faults *f)
{
	guint64 all = started(f->c);

	if (!f->c->clients->len)
		return;
	SimClient *s = f->c->clients->pdata[world_pick(f->w, f->c->clients->len)];
	guint64 client = (guint64)1 << sim_client_point(s), some = world_chance(f->w, 1, 2) ? all : world_pick(f->w, 1 << CLUSTER_VOLCANOS);
	gint64 time = duration(f, 4 * SEC);
	switch (world_pick(f->w, 3)) {
	case 0: block_for(f, client, some, FALSE, time); break;
	case 1: block_for(f, some, client, FALSE, time); break;
	default: block_for(f, client, some, TRUE, time);
	}
}

typedef struct {
	Cluster *c;
	guint node;
	gint64 time;
} Dying;

static void dying(void *arg)
{
	g_autofree Dying *d = arg;
	Cluster *c = d->c;

	if (!c->ending && c->trouble && !cluster_must_rest(c))
		cluster_dying_disk(c, d->node, world_pick(c->world, 800 * MS), d->time);
}

/* Two times of three when one has just come back, this one or another, and what they have is compared. */
static void disk_dies(Faults *f, guint node)
{
	Node *first = pick_running(f);
	Dying *d = g_new(Dying, 1);
	gint64 away = 1 * MS + world_pick(f->w, 300 * MS);

	*d = (Dying){ f->c, node, duration(f, 3 * SEC) };
	if (world_chance(f->w, 1, 3)) {
		dying(d);
		return;
	}
	cluster_kill(f->c, first->index, away, FALSE);
	world_after(f->w, away + world_pick(f->w, 2 * SEC), TRUE, dying, d);
}

static void late_ends(void *arg)
{
	Cluster *c = arg;

	world_set_late(c->world, c->cfg.late_permille);
}

/* While one has forgotten what not all others may lose as well. Sessions that are lost again and again would be the other failure where nobody may be taken for dead. */
static gboolean may_happen(Cluster *c, FaultKind k)
{
	return !cluster_must_rest(c) || k == FAULT_CLIENT || (!c->forgot->emptied && (k == FAULT_CUT || k == FAULT_REPEAT));
}

static void happens(Faults *f, FaultKind k)
{
	Node *n = pick_running(f);
	GPtrArray *links = f->c->links;
	World *w = f->w;

	if (!n || !may_happen(f->c, k))
		return;
	switch (k) {
	case FAULT_KILL:
		cluster_kill(f->c, n->index, 1 * MS + duration(f, 6 * SEC), world_chance(w, 1, 3));
		break;
	case FAULT_GONE:
		n->host_gone = TRUE;
		cluster_kill(f->c, n->index, 1 * MS + duration(f, 8 * SEC), world_chance(w, 1, 3));
		break;
	case FAULT_CUT:
		if (links->len)
			link_cut(links->pdata[world_pick(w, links->len)]);
		break;
	case FAULT_REPEAT:
		for (guint i = 0; i < 3 && links->len; i++)
			link_replace(links->pdata[world_pick(w, links->len)]);
		break;
	case FAULT_LATE:
		world_set_late(w, 50 + world_pick(w, 500));
		world_after(w, duration(f, 3 * SEC), FALSE, late_ends, f->c);
		break;
	case FAULT_SPLIT:
	case FAULT_ONEWAY:
		part(f, k == FAULT_SPLIT);
		break;
	case FAULT_CLIENT:
		part_client(f);
		break;
	case FAULT_PAUSE:
		cluster_pause(f->c, n->index, 500 * MS + duration(f, someone_goes_through(f->c) ? 4 * SEC : 195 * SEC / 10));
		break;
	case FAULT_SLOWDISK:
		cluster_slow_disk(f->c, n->index, world_pick(w, 3 * SEC), duration(f, 6 * SEC));
		break;
	case FAULT_BADDISK:
		cluster_bad_disk(f->c, n->index, duration(f, 3 * SEC));
		break;
	case FAULT_UNOPENED:
		cluster_refuse_opens(f->c, n->index, 1 * SEC + duration(f, 8 * SEC));
		if (world_chance(w, 1, 2))    /* those that it had it shall open again */
			cluster_kill(f->c, n->index, 1 * MS + world_pick(w, 400 * MS), FALSE);
		break;
	case FAULT_DYING:
		disk_dies(f, n->index);
		break;
	case FAULT_LOST:
		if (cluster_may_lose_folder(f->c, n->index))
			cluster_lose_folder(f->c, n->index, 1 * MS + duration(f, 3 * SEC));
		break;
	case FAULT_DRIFT:             /* from the start of a process on */
	case FAULT_KINDS:
		break;
	}
}

static void tick(void *arg)
{
	Faults *f = arg;
	guint n = 0, k = 0;
	guint32 set = f->set & ~(1u << FAULT_DRIFT);

	for (guint i = 0; i < FAULT_KINDS; i++)
		n += set >> i & 1;
	guint at = world_pick(f->w, n);
	for (; !(set >> k & 1) || at--; k++)
		;
	f->tick = 0;
	if (++f->drawn < FAULTS_MAX && f->lasted < LASTING_MAX)
		f->tick = world_after(f->w, 1 + world_pick(f->w, 2 * f->every), FALSE, tick, f);
	happens(f, k);
}

Faults *faults_new(Cluster *c, guint32 set, gint64 every)
{
	Faults *f = g_new0(Faults, 1);

	f->c = c;
	f->w = c->world;
	f->set = set;
	f->every = every;
	if (set & ~(1u << FAULT_DRIFT))
		f->tick = world_after(f->w, 1 + world_pick(f->w, 2 * every), FALSE, tick, f);
	return f;
}

void faults_free(Faults *f)
{
	if (!f)
		return;
	if (f->tick)
		world_cancel(f->w, f->tick);
	g_free(f);
}
