/* The log in memory, what of it is durable, what of it is committed. */
#include "magmad/raft/raft_inside.h"

guint64 log_first(const Raft *r) { return r->log->len ? ((RaftEntry *)r->log->pdata[0])->index : 1; }
guint64 log_last(const Raft *r) { return log_first(r) + r->log->len - 1; }

const RaftEntry *log_at(const Raft *r, guint64 index)
{
	guint64 first = log_first(r);
	return index < first || index - first >= r->log->len ? NULL : r->log->pdata[index - first];
}

RaftTerm log_last_term(const Raft *r)
{
	const RaftEntry *e = log_at(r, log_last(r));
	return e ? e->term : (RaftTerm){ 0, 0 };
}

const RaftGroup *log_group(const Raft *r)
{
	const RaftEntry *e = log_at(r, log_last(r));
	return e ? &e->group : NULL;
}

static void changed(Raft *r, guint64 from)
{
	persist_later(r);
	r->dirty_from = MIN(r->dirty_from, from);
}

void log_append(Raft *r, RaftEntry *e)
{
	g_assert(r->log->len == 0 || e->index == log_last(r) + 1);
	g_ptr_array_add(r->log, e);
	changed(r, e->index);
}

/* What is no longer there is no longer durable, also when a persist that has it is still under way. */
static void forget_durable(Raft *r, guint64 from)
{
	r->durable_index = MIN(r->durable_index, from - 1);
	for (guint i = 0; i < r->pending->len; i++) {
		Pending *p = &g_array_index(r->pending, Pending, i);
		p->last = MIN(p->last, from - 1);
	}
}

void log_truncate(Raft *r, guint64 from)
{
	g_assert(from > 0);
	if (from > log_last(r))
		return;
	g_ptr_array_set_size(r->log, from > log_first(r) ? from - log_first(r) : 0);
	forget_durable(r, from);
	changed(r, from);
}

void log_reset(Raft *r, RaftEntry *base)
{
	g_ptr_array_set_size(r->log, 0);
	forget_durable(r, 1);
	changed(r, 0);
	if (base)
		g_ptr_array_add(r->log, base);
}

void log_advance(Raft *r, guint64 commit)
{
	guint drop = 0;

	if (commit <= r->commit)
		return;
	for (guint64 i = MAX(r->commit + 1, log_first(r)); i <= commit; i++)
		act(r, RAFT_DO_COMMITTED)->entry = raft_entry_ref(log_at(r, i));
	r->commit = commit;
	persist_later(r);
	while (r->log->len - drop > RAFT_KEEP && log_first(r) + drop < r->commit)
		drop++;
	if (drop)
		g_ptr_array_remove_range(r->log, 0, drop);
}

void log_durable(Raft *r, guint64 number)
{
	guint done = 0;

	if (number > r->emitted || number <= r->durable)
		return;
	r->durable = number;
	while (done < r->pending->len && g_array_index(r->pending, Pending, done).number <= number)
		r->durable_index = g_array_index(r->pending, Pending, done++).last;
	if (done)
		g_array_remove_range(r->pending, 0, done);
}
