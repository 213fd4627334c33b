/* Networks that a test sets up by hand, what it asks of them, and a client that appends while it does. */
#include "tests/sim/scene.h"
#include "tests/sim/fsck.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <string.h>

gboolean first_serves(void *user) { return cluster_serves(user, 0); }

gboolean second_serves(void *user) { return cluster_serves(user, 1) && !volcano_map(cluster_volcano(user, 0))->move.id; }

static Cluster *network_that_keeps(guint32 seed, guint copies, guint64 journal_keep)
{
	ClusterConfig cfg = { .seed = seed, .pending_permille = 200, .disk_delay = 3 * MS, .copies = copies, .journal_keep = journal_keep };
	Cluster *c = cluster_new(&cfg);

	cluster_start(c, 0);
	g_assert_true(cluster_run_until(c, 5 * SEC, first_serves, c));
	return c;
}

Cluster *network_of(guint32 seed, guint copies) { return network_that_keeps(seed, copies, 0); }
Cluster *network(guint32 seed) { return network_of(seed, 1); }

void join_second(Cluster *c)
{
	cluster_start(c, 1);
	g_assert_true(cluster_run_until(c, 60 * SEC, second_serves, c));
}

MagmaAny must(SimClient *s, MagmaOp op, const void *req)
{
	MagmaAny rep;
	int error = sim_call_wait(s, op, req, &rep);

	if (error)
		g_error("%s: %s", magma_op_info(op)->name, magma_strerror(error));
	return rep;
}

MagmaFid make_file(SimClient *s, const char *name, MagmaKey key)
{
	struct magma_req_mknod q = { .dir = magma_fid_root(), .key = key, .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR(name) };

	return must(s, MAGMA_OP_mknod, &q).rep_mknod.attr.fid;
}

void write_bytes(SimClient *s, const MagmaFid *fid, guint64 offset, guint8 what, gsize n)
{
	g_autofree guint8 *bytes = g_malloc(n);
	struct magma_req_write q = { .fid = *fid, .offset = offset, .data = { bytes, n } };

	memset(bytes, what, n);
	must(s, MAGMA_OP_write, &q);
}

MagmaAttr attr_of(SimClient *s, const MagmaFid *fid)
{
	struct magma_req_getattr q = { .fid = *fid };

	return must(s, MAGMA_OP_getattr, &q).rep_getattr.attr;
}

void answered(void *user, int error, const MagmaAny *rep)
{
	Answer *a = user;

	a->done = TRUE;
	a->error = error;
	if (rep)
		a->attr = rep->rep_setattr.attr;
}

gboolean is_answered(void *user) { return ((Answer *)user)->done; }

gboolean at_home(void *user) { return cluster_at_home(user); }

gboolean move_is_known(void *user)
{
	const MagmaMap *map = cluster_volcano(user, 1) ? volcano_map(cluster_volcano(user, 1)) : NULL;

	return map && map->move.id;
}

const MagmaMap *newest(Cluster *c)
{
	const MagmaMap *best = NULL;

	for (guint i = 0; i < CLUSTER_VOLCANOS; i++) {
		const MagmaMap *m = cluster_volcano(c, i) ? volcano_map(cluster_volcano(c, i)) : NULL;
		if (m && (!best || m->epoch > best->epoch))
			best = m;
	}
	return best;
}

const MagmaSlice *slice_of(Cluster *c, guint16 id) { return magma_map_slice_by_id(newest(c), id); }

static gboolean are_three(void *user)
{
	const MagmaMap *m = newest(user);

	return m->slices->len == 3 && !m->move.id && cluster_at_home(user);
}

guint index_of(Cluster *c, guint16 id)
{
	for (guint i = 0; i < CLUSTER_VOLCANOS; i++)
		if (cluster_volcano(c, i) && volcano_id(cluster_volcano(c, i)) == id)
			return i;
	g_assert_not_reached();
}

Cluster *three_of(guint32 seed, guint copies, guint64 journal_keep)
{
	Cluster *c = network_that_keeps(seed, copies, journal_keep);

	join_second(c);
	cluster_start(c, 2);
	g_assert_true(cluster_run_until(c, 120 * SEC, are_three, c));
	cluster_run(c, 5 * SEC);
	return c;
}

Cluster *three(guint32 seed) { return three_of(seed, 2, 0); }

/* --- tokens --- */

Tokens *tokens_new(Cluster *c, MagmaKey key)
{
	Tokens *t = g_new0(Tokens, 1);

	t->c = c;
	t->s = sim_client_new(c, -1);
	for (guint i = 0; i < FILES; i++) {
		g_autofree char *name = g_strdup_printf("t%u", i);
		t->fid[i] = make_file(t->s, name, key);
	}
	return t;
}

void token_ask(Tokens *t)
{
	guint8 bytes[TOKEN] = { 0 };
	struct magma_req_write q = { .fid = t->fid[t->next], .flags = MAGMA_WRITE_APPEND, .data = { bytes, sizeof bytes } };

	t->last = (Answer){ 0 };
	sim_call(t->s, MAGMA_OP_write, &q, answered, &t->last);
}

static void token_answered(Tokens *t)
{
	g_assert_cmpint(t->last.error, ==, 0);
	t->acked[t->next]++;
	t->next = (t->next + 1) % FILES;
}

/* One is under way at any time. */
static void tokens_step(Tokens *t)
{
	if (t->last.done) {
		token_answered(t);
		token_ask(t);
	}
	cluster_step(t->c);
}

void tokens_run(Tokens *t, gint64 time)
{
	gint64 end = world_now(cluster_world(t->c)) + time;

	while (world_now(cluster_world(t->c)) < end)
		tokens_step(t);
}

void tokens_until(Tokens *t, gboolean (*fn)(void *user), void *user)
{
	gint64 end = world_now(cluster_world(t->c)) + 60 * SEC;

	while (!fn(user)) {
		g_assert_cmpint(world_now(cluster_world(t->c)), <, end);
		tokens_step(t);
	}
}

void tokens_end(Tokens *t)
{
	g_assert_true(cluster_run_until(t->c, 60 * SEC, is_answered, &t->last));
	token_answered(t);
	for (guint i = 0; i < FILES; i++)
		g_assert_cmpuint(attr_of(t->s, &t->fid[i]).size, ==, t->acked[i] * TOKEN);
	cluster_run(t->c, 40 * SEC);
	fsck_free(fsck_run(t->c));
	g_assert_cmpstr(fsck_copies(t->c), ==, NULL);
	sim_client_free(t->s);
	g_free(t);
}

void lose_sessions_between(Cluster *c, guint a, guint b)
{
	for (guint i = 0; i < c->links->len; i++) {
		Link *l = c->links->pdata[i];
		if (l->is_node && l->end[0].node && ((l->end[0].node->index == a && l->end[1].node->index == b) || (l->end[0].node->index == b && l->end[1].node->index == a)))
			link_cut(l);
	}
}
