#include "tests/sim/raftsim.h"
#include "libmagma/base/wire.h"
#include <stdio.h>
#include <string.h>

typedef struct {
	gint64 at;
	guint64 seq;
	enum { TICK, DELIVER, DISK } what;
	guint16 id;
	guint life;
	Packet *packet;
} Event;

/* --- chance --- */

guint64 sim_pick(RaftSim *s, guint64 below)
{
	guint64 z = (s->rng += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
	return below ? (z ^ (z >> 31)) % below : 0;
}

gboolean sim_chance(RaftSim *s, guint permille) { return sim_pick(s, 1000) < permille; }
static gint64 between(RaftSim *s, gint64 lo, gint64 hi) { return lo + (gint64)sim_pick(s, hi - lo + 1); }

static void dump(const RaftSim *s)
{
	for (guint i = 1; i <= s->n; i++) {
		const SimNode *n = &s->node[i];
		if (!n->raft) {
			fprintf(stderr, "%u: down\n", i);
			continue;
		}
		RaftTerm t = raft_term(n->raft);
		fprintf(stderr, "%u: term %x.%" G_GUINT64_FORMAT "%s leader %u commit %" G_GUINT64_FORMAT "%s, log", i, t.inc, t.term, raft_is_leader(n->raft) ? " leads" : "", raft_leader(n->raft),
			raft_commit_index(n->raft), raft_rival(n->raft) ? " rival" : "");
		for (guint k = 0; k < raft_log_size(n->raft); k++) {
			const RaftEntry *e = raft_log_at(n->raft, k);
			fprintf(stderr, " %" G_GUINT64_FORMAT "(%x.%" G_GUINT64_FORMAT ") voters", e->index, e->term.inc, e->term.term);
			for (guint v = 0; v < e->group.n_voters; v++)
				fprintf(stderr, "%c%u", v ? ',' : ' ', e->group.voters[v]);
			fprintf(stderr, " down %x;", sim_map(e).down);
		}
		fprintf(stderr, "\n");
	}
}

void sim_fail(RaftSim *s, const char *format, ...)
{
	va_list ap;

	if (s->failed)
		return;
	va_start(ap, format);
	g_autofree char *text = g_strdup_vprintf(format, ap);
	va_end(ap);
	if (s->verbose)
		dump(s);
	s->failed = g_strdup_printf("seed %" G_GUINT64_FORMAT ", %.6f s: %s", s->seed, s->now / 1e6, text);
}

/* --- the queue of events: a binary heap --- */

static gboolean before(const Event *a, const Event *b) { return a->at != b->at ? a->at < b->at : a->seq < b->seq; }

static void push(RaftSim *s, Event e)
{
	guint i = s->heap->len;

	e.seq = s->seq++;
	g_array_append_val(s->heap, e);
	Event *h = (Event *)s->heap->data;
	for (; i > 0 && before(&e, &h[(i - 1) / 2]); i = (i - 1) / 2)
		h[i] = h[(i - 1) / 2];
	h[i] = e;
}

static Event pop(RaftSim *s)
{
	Event *h = (Event *)s->heap->data, top = h[0], last = h[s->heap->len - 1];
	guint n = s->heap->len - 1, i = 0;

	g_array_set_size(s->heap, n);
	while (2 * i + 1 < n) {
		guint c = 2 * i + 1;
		if (c + 1 < n && before(&h[c + 1], &h[c]))
			c++;
		if (!before(&h[c], &last))
			break;
		h[i] = h[c];
		i = c;
	}
	if (n)
		h[i] = last;
	return top;
}

/* --- clocks --- */

gint64 sim_local(const RaftSim *s, const SimNode *n) { return n->offset + s->now * n->rate / 1000; }
gint64 sim_real(const SimNode *n, gint64 local) { return (local - n->offset) * 1000 / n->rate; }

static void want_tick(RaftSim *s, SimNode *n, gint64 wake_local)
{
	if (wake_local == G_MAXINT64) {
		n->wake_at = G_MAXINT64;
		return;
	}
	/* one more: rounding must not tick too early */
	n->wake_at = MAX(sim_real(n, wake_local) + 1, s->now + 1);
	if (n->tick_at <= s->now || n->wake_at < n->tick_at) {
		n->tick_at = n->wake_at;
		push(s, (Event){ .at = n->wake_at, .what = TICK, .id = n->id, .life = n->life });
	}
}

/* --- network --- */

static void packet_free(Packet *p)
{
	g_byte_array_unref(p->bytes);
	g_free(p);
}

static void transmit(RaftSim *s, Packet *p)
{
	guint copies = 1 + sim_chance(s, s->dup_permille);

	s->sent++;
	for (guint i = 0; i < copies; i++) {
		if (sim_chance(s, s->loss_permille))
			continue;
		gint64 delay = between(s, s->delay_min, s->delay_max);
		if (s->loss_permille && sim_chance(s, 20))
			delay *= 20;      /* now and then one is very late */
		Packet *q = g_new(Packet, 1);
		*q = *p;
		g_byte_array_ref(q->bytes);
		push(s, (Event){ .at = s->now + delay, .what = DELIVER, .id = p->to, .packet = q });
	}
	packet_free(p);
}

static void say(RaftSim *s, const char *what, guint16 from, guint16 to, const RaftMsg *m)
{
	static const char *names[RAFT_MSG_LIMIT] = { "", "prevote", "prevote_ack", "vote", "vote_ack", "append", "append_ack", "beat", "alive", "elect_now" };

	fprintf(stderr, "%.6f %s %u>%u %s term %x.%" G_GUINT64_FORMAT " index %" G_GUINT64_FORMAT " (%x.%" G_GUINT64_FORMAT ") commit %" G_GUINT64_FORMAT "%s%s%s", s->now / 1e6, what, from, to, names[m->type],
		m->term.inc, m->term.term, m->index, m->index_term.inc, m->index_term.term, m->commit, m->ok ? " ok" : "", m->transfer ? " transfer" : "", m->base ? " base" : "");
	if (m->entry)
		fprintf(stderr, " entry %" G_GUINT64_FORMAT " (%x.%" G_GUINT64_FORMAT ")", m->entry->index, m->entry->term.inc, m->entry->term.term);
	fprintf(stderr, "\n");
}

static void deliver(RaftSim *s, Packet *p)
{
	SimNode *n = &s->node[p->to];
	RaftMsg m;

	if (n->raft && !s->cut[p->from][p->to]) {
		if (!raft_msg_decode(p->bytes->data, p->bytes->len, &m)) {
			sim_fail(s, "a message of %u does not decode", p->from);
		} else {
			if (!s->filter || s->filter(s, p->from, p->to, &m)) {
				if (s->verbose)
					say(s, "got", p->from, p->to, &m);
				sim_step(s, p->to, &(RaftEvent){ .type = RAFT_EV_MESSAGE, .from = p->from, .msg = &m }, NULL);
			}
			raft_msg_clear(&m);
		}
	}
	packet_free(p);
}

/* --- disks --- */

static RaftPersist *persist_copy(const RaftPersist *p)
{
	RaftPersist *c = g_new(RaftPersist, 1);

	*c = *p;
	g_ptr_array_ref(c->entries);
	return c;
}

static void persist_free(RaftPersist *p)
{
	g_ptr_array_unref(p->entries);
	g_free(p);
}

static void disk_write(RaftSim *s, SimNode *n, const RaftPersist *p)
{
	gint64 delay = between(s, s->disk_min, s->disk_max) + (s->now < n->slow_until ? (gint64)sim_pick(s, n->slow_by) : 0);

	g_queue_push_tail(n->persists, persist_copy(p));
	n->disk_busy = MAX(n->disk_busy, s->now + delay);
	push(s, (Event){ .at = n->disk_busy, .what = DISK, .id = n->id, .life = n->life });
}

static void disk_done(RaftSim *s, SimNode *n)
{
	RaftPersist *p = g_queue_pop_head(n->persists);

	if (!p)
		return;
	raft_state_apply(n->disk, p);
	n->durable = p->number;
	persist_free(p);
	sim_step(s, n->id, &(RaftEvent){ .type = RAFT_EV_PERSISTED, .number = n->durable }, NULL);
	while (n->raft && !g_queue_is_empty(n->held) && ((Packet *)g_queue_peek_head(n->held))->after <= n->durable)
		transmit(s, g_queue_pop_head(n->held));
}

/* --- nodes --- */

static void node_stop(SimNode *n)
{
	g_clear_pointer(&n->raft, raft_free);
	g_queue_clear_full(n->persists, (GDestroyNotify)persist_free);
	g_queue_clear_full(n->held, (GDestroyNotify)packet_free);
	n->life++;
	n->decide_at = 0;
}

void sim_crash(RaftSim *s, guint16 id)
{
	SimNode *n = &s->node[id];

	if (!n->raft)
		return;
	if (s->verbose)
		fprintf(stderr, "%.6f crash %u\n", s->now / 1e6, id);
	for (guint left = g_queue_get_length(n->persists); left && sim_chance(s, 500); left--) {
		RaftPersist *p = g_queue_pop_head(n->persists);
		raft_state_apply(n->disk, p);
		persist_free(p);
	}
	node_stop(n);
	if (sim_chance(s, 200))           /* the machine too: its clock begins again */
		n->offset = 1 + (gint64)sim_pick(s, 3 * SIM_S) - s->now * n->rate / 1000;
}

void sim_start(RaftSim *s, guint16 id)
{
	SimNode *n = &s->node[id];
	RaftConfig cfg = s->cfg;
	g_autoptr(GByteArray) bytes = g_byte_array_new();

	if (n->raft)
		return;
	raft_state_encode(n->disk, bytes);
	g_autoptr(RaftState) st = raft_state_decode(bytes->data, bytes->len);
	if (!st) {
		sim_fail(s, "the state of %u does not decode", id);
		return;
	}
	cfg.id = id;
	cfg.life = n->life + 1;
	cfg.seed = sim_pick(s, G_MAXUINT64);
	if (n->offset + s->now * n->rate / 1000 <= 0)
		n->offset = 1 - s->now * n->rate / 1000;
	n->raft = raft_new(&cfg, st, sim_local(s, n));
	raft_plant(n->raft, s->plant);
	n->commit = raft_commit_index(n->raft);
	n->serial = raft_committed(n->raft) ? sim_map(raft_committed(n->raft)).serial : 0;
	n->durable = 0;
	n->disk_busy = s->now;
	n->tick_at = 0;
	n->paused_until = 0;
	n->lead_last = 0;
	want_tick(s, n, sim_local(s, n));
}

/* --- steps --- */

static void begin(RaftSim *s, SimNode *n, RaftAction *a, gboolean *log_changed)
{
	switch (a->type) {
	case RAFT_DO_PERSIST:
		*log_changed |= a->persist.entries->len > 0;
		disk_write(s, n, &a->persist);
		break;
	case RAFT_DO_SEND: {
		Packet *p = g_new(Packet, 1);
		*p = (Packet){ n->id, a->send.to, a->send.after, g_byte_array_sized_new(128) };
		raft_msg_encode(&a->send.msg, p->bytes);
		if (p->after <= n->durable)
			transmit(s, p);
		else
			g_queue_push_tail(n->held, p);
		break;
	}
	case RAFT_DO_COMMITTED: check_committed(s, n, a->entry); break;
	case RAFT_DO_LEAD:
		if (s->verbose)
			fprintf(stderr, "%.6f %u leads term %x.%" G_GUINT64_FORMAT "\n", s->now / 1e6, n->id, a->term.inc, a->term.term);
		check_leads(s, n);
		break;
	case RAFT_DO_RIVAL:
		if (s->verbose)
			fprintf(stderr, "%.6f %u has a rival: common %" G_GUINT64_FORMAT ", committed %" G_GUINT64_FORMAT "\n", s->now / 1e6, n->id, a->rival.common, a->rival.our_commit);
		n->decide_at = s->now + (gint64)sim_pick(s, SIM_S);
		break;
	case RAFT_DO_LOST:
	case RAFT_DO_CUT: break;
	}
}

RaftStatus sim_step(RaftSim *s, guint16 id, const RaftEvent *ev, guint64 *index)
{
	SimNode *n = &s->node[id];
	gboolean log_changed = FALSE;
	RaftOut out;

	if (!n->raft || s->failed)
		return RAFT_REFUSED;
	raft_out_init(&out);
	s->steps++;
	n->yielded = ev->type == RAFT_EV_YIELD;
	raft_step(n->raft, ev, sim_local(s, n), &out);
	for (guint i = 0; i < out.actions->len; i++)
		begin(s, n, &g_array_index(out.actions, RaftAction, i), &log_changed);
	want_tick(s, n, out.wake_at);
	/* what was forced is nobody's before it is durable; it is looked at when that one leads */
	check_step(s, n, log_changed && ev->type != RAFT_EV_FORCE);
	if (index)
		*index = out.index;
	raft_out_clear(&out);
	return out.status;
}

static void happen(RaftSim *s, Event *e)
{
	SimNode *n = &s->node[e->id];

	if (s->now < n->paused_until) {   /* a stopped process finds it all later */
		if (e->what == TICK && e->at == n->tick_at)
			n->tick_at = n->paused_until;
		e->at = n->paused_until;
		push(s, *e);
		return;
	}
	if (e->what == DELIVER) {
		deliver(s, e->packet);
		return;
	}
	if (e->life != n->life || !n->raft)
		return;
	if (e->what == DISK) {
		disk_done(s, n);
	} else if (n->tick_at == e->at || s->now >= n->wake_at) {
		n->tick_at = 0;
		if (s->now >= n->wake_at) {
			sim_step(s, n->id, &(RaftEvent){ .type = RAFT_EV_TICK }, NULL);
		} else if (n->wake_at != G_MAXINT64) {
			n->tick_at = n->wake_at;
			push(s, (Event){ .at = n->wake_at, .what = TICK, .id = n->id, .life = n->life });
		}
	}
}

gboolean sim_run(RaftSim *s, gint64 us, gboolean (*done)(RaftSim *s))
{
	gint64 end = s->now + us;

	while (!s->failed) {
		gint64 play = s->trouble ? MIN(s->next_trouble, s->next_play) : s->next_play;
		gint64 at = s->heap->len ? g_array_index(s->heap, Event, 0).at : G_MAXINT64;
		if (MIN(at, play) > end)
			break;
		if (play <= at) {
			s->now = MAX(s->now, play);
			play_turn(s);
		} else {
			Event e = pop(s);
			s->now = e.at;
			happen(s, &e);
		}
		if (!s->failed && done && done(s))
			return TRUE;
	}
	if (!s->failed)
		s->now = end;
	return !s->failed && !done;
}

/* --- shell --- */

SimMap sim_map(const RaftEntry *e)
{
	gsize n;
	MagmaReader r = magma_reader(g_bytes_get_data(e->bytes, &n), 12);
	SimMap m;

	m.serial = magma_get_u64(&r);
	m.down = magma_get_u32(&r);
	return m;
}

static GBytes *map_bytes(RaftSim *s, guint32 down)
{
	GByteArray *b = g_byte_array_new();

	magma_put_u64(b, ++s->serial);
	magma_put_u32(b, down);
	return g_byte_array_free_to_bytes(b);
}

guint16 sim_leader(RaftSim *s)
{
	guint16 best = 0;

	for (guint i = 1; i <= s->n; i++)
		if (s->node[i].raft && raft_is_leader(s->node[i].raft)
			&& (!best || raft_term_cmp(raft_term(s->node[i].raft), raft_term(s->node[best].raft)) > 0))
			best = i;
	return best;
}

RaftStatus sim_propose(RaftSim *s, guint16 leader, guint64 derived, guint32 down, const RaftGroup *g, const guint16 *ids, guint n_ids)
{
	SimNode *n = &s->node[leader];

	if (!n->raft || !raft_committed(n->raft))
		return RAFT_NOT_LEADER;
	g_autoptr(GBytes) bytes = map_bytes(s, down);
	return sim_step(s, leader, &(RaftEvent){ .type = RAFT_EV_PROPOSE, .derived = derived, .bytes = bytes, .group = g, .down = ids, .n_down = n_ids }, NULL);
}

static void toggle(guint16 *ids, guint *n, guint16 id)
{
	guint i = 0;

	while (i < *n && ids[i] < id)
		i++;
	if (i < *n && ids[i] == id) {
		memmove(ids + i, ids + i + 1, (*n - i - 1) * sizeof *ids);
		(*n)--;
	} else {
		memmove(ids + i + 1, ids + i, (*n - i) * sizeof *ids);
		ids[i] = id;
		(*n)++;
	}
}

void sim_group_toggle(RaftGroup *g, guint16 *members, guint16 id, gboolean voter)
{
	if (voter && !raft_group_has_voter(g, id) && g->n_voters == RAFT_VOTERS_MAX)
		return;
	toggle(voter ? g->voters : members, voter ? &g->n_voters : &g->n_members, id);
	g->members = members;
}

RaftSim *sim_new(guint64 seed, guint n, const RaftConfig *cfg, guint plant, gboolean verbose)
{
	RaftSim *s = g_new0(RaftSim, 1);

	s->seed = s->rng = seed;
	s->n = n;
	s->cfg = *cfg;
	s->plant = plant;
	s->verbose = verbose;
	s->heap = g_array_new(FALSE, FALSE, sizeof(Event));
	s->check = check_new();
	s->delay_min = 100;
	s->delay_max = 400;
	s->disk_min = 1000;
	s->disk_max = 5000;
	s->next_play = s->next_trouble = G_MAXINT64;
	for (guint i = 1; i <= n; i++) {
		SimNode *k = &s->node[i];
		k->id = i;
		k->rate = 1000;
		k->offset = 1 + (gint64)sim_pick(s, 1000 * SIM_S);
		k->persists = g_queue_new();
		k->held = g_queue_new();
		if (i == 1) {
			g_autoptr(GBytes) first = map_bytes(s, 0);
			k->disk = raft_state_bootstrap(1, first);
		} else {
			k->disk = raft_state_new();
		}
	}
	return s;
}

void sim_free(RaftSim *s)
{
	for (guint i = 1; i <= s->n; i++) {
		SimNode *n = &s->node[i];
		node_stop(n);
		g_queue_free(n->persists);
		g_queue_free(n->held);
		raft_state_free(n->disk);
	}
	for (guint i = 0; i < s->heap->len; i++)
		if (g_array_index(s->heap, Event, i).packet)
			packet_free(g_array_index(s->heap, Event, i).packet);
	g_array_unref(s->heap);
	check_free(s->check);
	g_free(s->failed);
	g_free(s);
}
