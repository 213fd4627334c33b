/* What is on disk: made, changed, encoded. */
#include "magmad/raft/raft_codec.h"
#include "magmad/raft/raft_inside.h"

enum { STATE_VERSION = 1 };

static GPtrArray *entries_new(void) { return g_ptr_array_new_with_free_func((GDestroyNotify)raft_entry_unref); }

RaftState *raft_state_new(void)
{
	RaftState *s = g_new0(RaftState, 1);

	s->log = entries_new();
	return s;
}

RaftState *raft_state_bootstrap(guint16 id, GBytes *bytes)
{
	RaftState *s = raft_state_new();
	RaftGroup g = { .n_voters = 1, .n_members = 1, .voters = { id }, .members = &id };

	s->term = (RaftTerm){ 0, 1 };
	s->vote = id;
	s->commit = 1;
	g_ptr_array_add(s->log, entry_new(1, s->term, 1, &g, bytes));
	return s;
}

void raft_state_free(RaftState *s)
{
	g_ptr_array_unref(s->log);
	g_free(s);
}

void raft_state_encode(const RaftState *s, GByteArray *out)
{
	magma_put_u8(out, STATE_VERSION);
	term_encode(s->term, out);
	line_encode(&s->line, out);
	magma_put_u16(out, s->vote);
	magma_put_u64(out, s->commit);
	magma_put_u32(out, s->log->len);
	for (guint i = 0; i < s->log->len; i++)
		entry_encode(s->log->pdata[i], out);
}

RaftState *raft_state_decode(const guint8 *p, gsize n)
{
	MagmaReader r = magma_reader(p, n);
	g_autoptr(RaftState) s = raft_state_new();

	if (magma_get_u8(&r) != STATE_VERSION)
		return NULL;
	s->term = term_decode(&r);
	line_decode(&r, &s->line, s->term.inc);
	s->vote = magma_get_u16(&r);
	s->commit = count_decode(&r);
	for (guint left = magma_get_u32(&r); left && !r.error; left--) {
		const RaftEntry *last = s->log->len ? s->log->pdata[s->log->len - 1] : NULL;
		RaftEntry *e = entry_decode(&r);
		if (!e)
			return NULL;
		g_ptr_array_add(s->log, e);
		if (raft_term_cmp(e->term, s->term) > 0 || (last && (e->index != last->index + 1 || raft_term_cmp(e->term, last->term) < 0)))
			return NULL;
	}
	if (r.error || r.left)
		return NULL;
	const RaftEntry *first = s->log->len ? s->log->pdata[0] : NULL;
	/* index 1 is the bootstrap's and so committed, though it comes like any other entry */
	if (first ? (s->commit < first->index && first->index > 1) || s->commit >= first->index + s->log->len : s->commit != 0)
		return NULL;
	return g_steal_pointer(&s);
}

void raft_state_apply(RaftState *s, const RaftPersist *p)
{
	guint keep = 0, drop = 0;

	for (guint i = 0; i < s->log->len; i++) {
		const RaftEntry *e = s->log->pdata[i];
		keep += e->index < p->from;
		drop += e->index < p->first && e->index < p->from;
	}
	g_ptr_array_set_size(s->log, keep);
	if (drop)
		g_ptr_array_remove_range(s->log, 0, drop);
	for (guint i = 0; i < p->entries->len; i++)
		g_ptr_array_add(s->log, raft_entry_ref(p->entries->pdata[i]));
	s->term = p->term;
	s->line = p->line;
	s->vote = p->vote;
	s->commit = p->commit;
}
