#include "tests/unit/raft_kit.h"
#include <string.h>

Kit *kit_new(void)
{
	Kit *k = g_new0(Kit, 1);
	g_autoptr(GBytes) first = g_bytes_new("first", 6);

	k->now = 1000000;
	for (guint16 id = 1; id <= KIT_NODES; id++) {
		KitNode *n = &k->node[id];
		n->id = id;
		n->disk = id == 1 ? raft_state_bootstrap(1, first) : raft_state_new();
		n->committed = g_ptr_array_new_with_free_func((GDestroyNotify)raft_entry_unref);
	}
	return k;
}

static void persist_free(gpointer p)
{
	g_ptr_array_unref(((RaftPersist *)p)->entries);
	g_free(p);
}

static void msg_free(gpointer p)
{
	g_byte_array_unref(((KitMsg *)p)->bytes);
	g_free(p);
}

void kit_halt(Kit *k, guint16 id)
{
	g_clear_pointer(&k->node[id].raft, raft_free);
	g_queue_clear_full(&k->node[id].persists, persist_free);
	k->node[id].disk_batch = 0;
}

void kit_free(Kit *k)
{
	for (guint16 id = 1; id <= KIT_NODES; id++) {
		kit_halt(k, id);
		raft_state_free(k->node[id].disk);
		g_ptr_array_unref(k->node[id].committed);
		g_clear_pointer(&k->node[id].cut, g_ptr_array_unref);
	}
	g_queue_clear_full(&k->net, msg_free);
	g_free(k);
}

void kit_boot(Kit *k, guint16 id)
{
	RaftConfig cfg = raft_config_default;
	KitNode *n = &k->node[id];
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	raft_state_encode(n->disk, bytes);
	g_autoptr(RaftState) s = raft_state_decode(bytes->data, bytes->len);
	g_assert_nonnull(s);
	cfg.id = id;
	cfg.life = g_random_int();
	cfg.seed = id;
	n->raft = raft_new(&cfg, s, k->now);
	n->durable = 0;
	n->wake_at = k->now;
}

static void persisted(Kit *k, KitNode *n, RaftPersist *p)
{
	raft_state_apply(n->disk, p);
	n->durable = p->number;
	persist_free(p);
	kit_step(k, n->id, &(RaftEvent){ .type = RAFT_EV_PERSISTED, .number = n->durable });
}

static void begin(Kit *k, KitNode *n, const RaftAction *a)
{
	switch (a->type) {
	case RAFT_DO_PERSIST: {
		RaftPersist *p = g_memdup2(&a->persist, sizeof *p);
		g_ptr_array_ref(p->entries);
		g_queue_push_tail(&n->persists, p);
		break;
	}
	case RAFT_DO_SEND: {
		KitMsg *p = g_new(KitMsg, 1);
		*p = (KitMsg){ n->id, a->send.to, a->send.after, g_byte_array_new() };
		raft_msg_encode(&a->send.msg, p->bytes);
		n->count[a->send.msg.type]++;
		g_queue_push_tail(&k->net, p);
		break;
	}
	case RAFT_DO_COMMITTED: g_ptr_array_add(n->committed, raft_entry_ref(a->entry)); break;
	case RAFT_DO_LEAD: n->leads++; break;
	case RAFT_DO_LOST: n->lost++; break;
	case RAFT_DO_RIVAL:
		n->rivals++;
		n->rival = a->rival;
		break;
	case RAFT_DO_CUT:
		g_clear_pointer(&n->cut, g_ptr_array_unref);
		n->cut = g_ptr_array_ref(a->cut.entries);
		n->cut_commit = a->cut.commit;
		break;
	}
}

RaftStatus kit_step(Kit *k, guint16 id, const RaftEvent *ev)
{
	KitNode *n = &k->node[id];
	RaftOut out;

	raft_out_init(&out);
	raft_step(n->raft, ev, k->now, &out);
	for (guint i = 0; i < out.actions->len; i++)
		begin(k, n, &g_array_index(out.actions, RaftAction, i));
	n->wake_at = out.wake_at;
	raft_out_clear(&out);
	return out.status;
}

static void deliver(Kit *k, KitMsg *p)
{
	RaftMsg m;

	if (!k->node[p->to].raft || (k->gone >> p->from & 1) || (k->gone >> p->to & 1))
		return;
	g_assert_true(raft_msg_decode(p->bytes->data, p->bytes->len, &m));
	if (!k->drop || !k->drop(k, p, &m))
		kit_step(k, p->to, &(RaftEvent){ .type = RAFT_EV_MESSAGE, .from = p->from, .msg = &m });
	raft_msg_clear(&m);
}

static gboolean run_disk(Kit *k, KitNode *n)
{
	if (!n->raft || n->disk_stuck || g_queue_is_empty(&n->persists))
		return FALSE;
	if (!n->disk_batch) {
		n->disk_batch = n->persists.length;
		n->disk_due = k->now + n->disk_takes;
	}
	if (k->now < n->disk_due)
		return FALSE;
	n->disk_batch--;
	persisted(k, n, g_queue_pop_head(&n->persists));
	return TRUE;
}

static gboolean run_disks(Kit *k)
{
	for (guint16 id = 1; id <= KIT_NODES; id++)
		if (run_disk(k, &k->node[id]))
			return TRUE;
	return FALSE;
}

static gboolean run_net(Kit *k)
{
	for (GList *l = k->net.head; l; l = l->next) {
		KitMsg *p = l->data;
		if (p->after > k->node[p->from].durable && k->node[p->from].raft)
			continue;
		g_queue_delete_link(&k->net, l);
		deliver(k, p);
		msg_free(p);
		return TRUE;
	}
	return FALSE;
}

/* A millisecond at a time, everything that is under way arrives within it. */
void kit_run(Kit *k, gint64 us)
{
	for (gint64 end = k->now + us; k->now < end; k->now += 1000) {
		for (guint16 id = 1; id <= KIT_NODES; id++)
			if (k->node[id].raft && k->node[id].wake_at <= k->now)
				kit_step(k, id, &(RaftEvent){ .type = RAFT_EV_TICK });
		while (run_disks(k) || run_net(k))
			;
	}
}

void kit_silence(Kit *k) { g_queue_clear_full(&k->net, msg_free); }
void kit_disk(Kit *k, guint16 id, gboolean stuck) { k->node[id].disk_stuck = stuck; }
void kit_disk_takes(Kit *k, guint16 id, gint64 us) { k->node[id].disk_takes = us; }

static guint ids(const char *text, guint16 *out)
{
	guint n = 0;

	for (; *text; text++)
		out[n++] = *text - '0';
	return n;
}

static RaftStatus with_map(Kit *k, guint16 at, RaftEventType type, const char *bytes, const char *voters, const char *members)
{
	g_autoptr(GBytes) b = g_bytes_new(bytes, strlen(bytes) + 1);
	guint16 m[16];
	RaftGroup g = { .members = m };

	g.n_voters = ids(voters, g.voters);
	g.n_members = ids(members, m);
	return kit_step(k, at, &(RaftEvent){ .type = type, .bytes = b, .group = &g, .derived = raft_commit_index(k->node[at].raft) });
}

RaftStatus kit_propose(Kit *k, guint16 at, const char *bytes, const char *voters, const char *members) { return with_map(k, at, RAFT_EV_PROPOSE, bytes, voters, members); }

RaftStatus kit_force(Kit *k, guint16 at, const char *bytes, const char *members)
{
	char self[2] = { (char)('0' + at), 0 };
	return with_map(k, at, RAFT_EV_FORCE, bytes, self, members);
}

const char *kit_map(Kit *k, guint16 id)
{
	const RaftEntry *e = raft_committed(k->node[id].raft);
	return e ? g_bytes_get_data(e->bytes, NULL) : "";
}

guint16 kit_leader(Kit *k)
{
	guint16 best = 0;

	for (guint16 id = 1; id <= KIT_NODES; id++)
		if (k->node[id].raft && raft_is_leader(k->node[id].raft) && (!best || raft_term_cmp(raft_term(k->node[id].raft), raft_term(k->node[best].raft)) > 0))
			best = id;
	return best;
}
