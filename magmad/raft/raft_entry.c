/* Entries, groups, and their bytes on disk and on the wire. */
#include "libmagma/base/wire.h"
#include "magmad/raft/raft_codec.h"
#include "magmad/raft/raft_inside.h"
#include <string.h>

int raft_term_cmp(RaftTerm a, RaftTerm b)
{
	if (a.inc != b.inc)
		return a.inc < b.inc ? -1 : 1;
	return a.term < b.term ? -1 : a.term > b.term;
}

static gboolean has(const guint16 *ids, guint n, guint16 id)
{
	guint lo = 0;

	while (lo < n) {
		guint mid = lo + (n - lo) / 2;
		if (ids[mid] == id)
			return TRUE;
		if (ids[mid] < id)
			lo = mid + 1;
		else
			n = mid;
	}
	return FALSE;
}

gboolean raft_group_has_voter(const RaftGroup *g, guint16 id) { return has(g->voters, g->n_voters, id); }
gboolean raft_group_has_member(const RaftGroup *g, guint16 id) { return has(g->members, g->n_members, id); }

static gboolean ascending(const guint16 *ids, guint n)
{
	for (guint i = 0; i < n; i++)
		if (ids[i] == 0 || (i > 0 && ids[i] <= ids[i - 1]))
			return FALSE;
	return TRUE;
}

gboolean group_valid(const RaftGroup *g)
{
	if (g->n_voters == 0 || g->n_voters > RAFT_VOTERS_MAX || g->n_members > RAFT_MEMBERS_MAX
		|| !ascending(g->voters, g->n_voters) || !ascending(g->members, g->n_members))
		return FALSE;
	for (guint i = 0; i < g->n_voters; i++)
		if (!raft_group_has_member(g, g->voters[i]))
			return FALSE;
	return TRUE;
}

guint group_voter_changes(const RaftGroup *a, const RaftGroup *b)
{
	guint n = 0;

	for (guint i = 0; i < a->n_voters; i++)
		n += !raft_group_has_voter(b, a->voters[i]);
	for (guint i = 0; i < b->n_voters; i++)
		n += !raft_group_has_voter(a, b->voters[i]);
	return n;
}

static void entry_clear(gpointer p)
{
	RaftEntry *e = p;

	g_free(e->group.members);
	if (e->bytes)
		g_bytes_unref(e->bytes);
}

RaftEntry *raft_entry_ref(const RaftEntry *e) { return g_rc_box_acquire((gpointer)e); }
void raft_entry_unref(RaftEntry *e) { g_rc_box_release_full(e, entry_clear); }

RaftEntry *entry_new(guint64 index, RaftTerm term, guint64 origin, const RaftGroup *group, GBytes *bytes)
{
	RaftEntry *e = g_rc_box_new0(RaftEntry);

	e->index = index;
	e->term = term;
	e->origin = origin;
	e->group = *group;
	e->group.members = g_memdup2(group->members, group->n_members * sizeof *group->members);
	e->bytes = g_bytes_ref(bytes);
	return e;
}

void term_encode(RaftTerm t, GByteArray *out)
{
	magma_put_u32(out, t.inc);
	magma_put_u64(out, t.term);
}

guint64 count_decode(MagmaReader *r)
{
	guint64 n = magma_get_u64(r);

	if (n > 2 * COUNT_MAX)
		r->error = TRUE;
	return n;
}

RaftTerm term_decode(MagmaReader *r)
{
	guint32 inc = magma_get_u32(r);
	return (RaftTerm){ inc, count_decode(r) };
}

void line_encode(const RaftLine *f, GByteArray *out)
{
	magma_put_u8(out, f->n);
	for (guint i = 0; i < f->n; i++) {
		magma_put_u32(out, f->f[i].inc);
		magma_put_u64(out, f->f[i].index);
		magma_put_u64(out, f->f[i].safe);
		term_encode(f->f[i].term, out);
	}
}

/* Incarnations grow, and each begins in an older one. */
void line_decode(MagmaReader *r, RaftLine *f, guint32 inc)
{
	guint n = magma_get_u8(r);

	memset(f, 0, sizeof *f);
	if (n > RAFT_FORKS_MAX)
		r->error = TRUE;
	for (guint i = 0; i < n && !r->error; i++) {
		RaftFork *k = &f->f[i];
		k->inc = magma_get_u32(r);
		k->index = count_decode(r);
		k->safe = count_decode(r);
		k->term = term_decode(r);
		if (k->inc <= k->term.inc || k->safe > k->index || (i > 0 && (k->inc <= f->f[i - 1].inc || k->index <= f->f[i - 1].index)))
			r->error = TRUE;
	}
	if (!r->error)
		f->n = n;
	if (line_inc(f) != inc)
		r->error = TRUE;
}

static void ids_encode(const guint16 *ids, guint n, GByteArray *out)
{
	magma_put_u16(out, n);
	for (guint i = 0; i < n; i++)
		magma_put_u16(out, ids[i]);
}

void entry_encode(const RaftEntry *e, GByteArray *out)
{
	gsize n;
	const guint8 *p = g_bytes_get_data(e->bytes, &n);

	magma_put_u64(out, e->index);
	term_encode(e->term, out);
	magma_put_u64(out, e->origin);
	ids_encode(e->group.voters, e->group.n_voters, out);
	ids_encode(e->group.members, e->group.n_members, out);
	magma_put_u32(out, n);
	magma_put_bytes(out, p, n);
}

static void ids_decode(MagmaReader *r, guint16 *ids, guint *n, guint limit)
{
	*n = magma_get_u16(r);
	if (*n > limit)
		r->error = TRUE;
	if (r->error)
		*n = 0;
	for (guint i = 0; i < *n; i++)
		ids[i] = magma_get_u16(r);
}

RaftEntry *entry_decode(MagmaReader *r)
{
	RaftEntry e = { 0 };
	guint16 members[RAFT_MEMBERS_MAX];

	e.index = count_decode(r);
	e.term = term_decode(r);
	e.origin = count_decode(r);
	e.group.members = members;
	ids_decode(r, e.group.voters, &e.group.n_voters, RAFT_VOTERS_MAX);
	ids_decode(r, members, &e.group.n_members, RAFT_MEMBERS_MAX);
	gsize n = magma_get_u32(r);
	const guint8 *p = n > RAFT_BYTES_MAX ? NULL : magma_get_bytes(r, n);
	if (r->error || n > RAFT_BYTES_MAX || e.index == 0 || e.origin == 0 || e.origin > e.index || !group_valid(&e.group)) {
		r->error = TRUE;
		return NULL;
	}
	g_autoptr(GBytes) bytes = g_bytes_new(p, n);
	return entry_new(e.index, e.term, e.origin, &e.group, bytes);
}
