#include "magmad/core/consensus.h"
#include "magmad/core/kept.h"
#include "magmad/core/takeover.h"

/* A message that must not leave before what it tells is durable. */
typedef struct {
	guint16 to;
	guint64 after;
	GBytes *bytes;
} Waiting;

typedef struct {
	guint64 index;                /* COMMITTED of that index in that term says it is done */
	RaftTerm term;
	void (*done)(Volcano *v, void *user, int error);
	void *user;
	MagmaTime at;
} Proposal;

typedef struct Consensus {
	Raft *raft;
	RaftState *state;             /* as it will be on disk when everything asked for is */
	RaftOut out;
	guint timer;
	gint64 wake_at;
	guint64 asked, persisted;     /* numbers of changes */
	gboolean question, question_kept;      /* what is kept will say so; what is on disk does */
	GQueue waiting;               /* Waiting *, by after */
	Proposal proposal;            /* one at a time; done NULL: none */
	ConsensusChanges changes;
	gboolean leads;
	guint depth;
	gboolean judging;             /* which of two lines stands */
	guint64 map_index;            /* entry of v->map */
	guint32 map_inc;              /* its line of history */
	Takeover *takeover;
	GHashTable *heard;            /* volcano -> Peer * that it last spoke on */
} Consensus;

static Consensus *of(const Volcano *v) { return v->consensus; }

static void waiting_free(gpointer p)
{
	Waiting *w = p;

	g_bytes_unref(w->bytes);
	g_free(w);
}

static void push(Volcano *v, guint16 to, GBytes *bytes)
{
	Peer *heard = g_hash_table_lookup(of(v)->heard, GUINT_TO_POINTER(to));

	if (magma_map_by_id(v->map, to))
		call_push(v, to, bytes);
	else if (heard && heard->session)
		v->io->send(v->iou, heard->session, bytes, NULL);
}

/* --- what is kept --- */

static GBytes *kept_bytes(Volcano *v)
{
	GByteArray *out = g_byte_array_new();
	g_autoptr(GByteArray) map = g_byte_array_new(), state = g_byte_array_new();

	if (of(v)->takeover)
		of(v)->question = takeover_in_question(of(v)->takeover);
	magma_put_u8(out, v->aside ? KEPT_ASIDE : of(v)->question ? KEPT_QUESTION : KEPT_FORMAT);
	magma_put_u16(out, v->id);
	magma_put_u32(out, v->starts);
	if (v->map)
		magma_map_encode(v->map, map);
	magma_put_u32(out, map->len);
	magma_put_bytes(out, map->data, map->len);
	raft_state_encode(of(v)->state, state);
	magma_put_u32(out, state->len);
	magma_put_bytes(out, state->data, state->len);
	return g_byte_array_free_to_bytes(out);
}

gboolean consensus_load(Volcano *v, GBytes *kept)
{
	g_auto(Kept) k = { 0 };

	if (!kept_decode(kept, &k))
		return FALSE;
	v->id = k.id;
	v->starts = k.starts;
	v->map = g_steal_pointer(&k.map);
	Consensus *c = v->consensus = g_new0(Consensus, 1);
	c->state = g_steal_pointer(&k.state);
	c->question = c->question_kept = k.question;
	return TRUE;
}

typedef struct {
	Volcano *v;
	guint64 number;
	gboolean question;
	void (*done)(Volcano *v, int error);
} Keeping;

static void step(Volcano *v, const RaftEvent *ev);

static void kept(void *user, int error)
{
	Keeping *k = user;
	Volcano *v = k->v;
	Consensus *c = of(v);
	void (*done)(Volcano *, int) = k->done;
	guint64 number = k->number;

	if (!error)
		c->question_kept = k->question;

	core_ctx_free(v, k);
	core_enter(v);
	if (done) {
		done(v, error);
	} else if (error) {
		/* without its vote and log on disk it must not say another word */
		g_autofree char *text = g_strdup_printf("what the volcano keeps of the lava map cannot be written: %s", g_strerror(error));
		v->stopping = TRUE;
		v->io->stop(v->iou, text);
	} else if (v->aside) {
		v->stopping = TRUE;
		v->io->set_aside(v->iou);
	} else if (c->raft && number) {
		Waiting *w;
		c->persisted = MAX(c->persisted, number);
		step(v, &(RaftEvent){ .type = RAFT_EV_PERSISTED, .number = number });
		while ((w = g_queue_peek_head(&c->waiting)) && w->after <= c->persisted) {
			push(v, w->to, w->bytes);
			waiting_free(g_queue_pop_head(&c->waiting));
		}
	}
	core_leave(v);
}

static void keep(Volcano *v, guint64 number, void (*done)(Volcano *v, int error))
{
	Keeping *k = CORE_CTX(v, Keeping, NULL);
	g_autoptr(GBytes) bytes = kept_bytes(v);

	*k = (Keeping){ v, number, of(v)->question, done };
	v->io->keep(v->iou, bytes, kept, k);
}

/* --- maps and groups --- */

static GBytes *map_bytes(const MagmaMap *map)
{
	GByteArray *out = g_byte_array_new();

	magma_map_encode(map, out);
	return g_byte_array_free_to_bytes(out);
}

static RaftGroup group_of(const MagmaMap *map, guint16 *members)
{
	RaftGroup g = { .members = members };

	for (guint i = 0; i < map->volcanos->len; i++) {
		const MagmaVolcano *o = map->volcanos->pdata[i];
		g.members[g.n_members++] = o->id;
		if (o->flags & MAGMA_VOLCANO_VOTER && g.n_voters < RAFT_VOTERS_MAX)
			g.voters[g.n_voters++] = o->id;
	}
	return g;
}

static void use_map(Volcano *v, const RaftEntry *e)
{
	Consensus *c = of(v);
	gsize n;
	const guint8 *p = g_bytes_get_data(e->bytes, &n);

	if (e->term.inc == c->map_inc && e->index <= c->map_index)
		return;
	c->map_inc = e->term.inc;
	c->map_index = e->index;
	members_learn(v, p, n);
}

/* --- actions --- */

static void count_change(ConsensusChanges *n, MagmaTime took)
{
	n->count++;
	n->last = took;
	n->most = MAX(n->most, took);
}

static void proposal_ends(Volcano *v, int error)
{
	Proposal p = of(v)->proposal;

	of(v)->proposal = (Proposal){ 0 };
	if (p.done && !error)
		count_change(&of(v)->changes, core_now(v) - p.at);
	if (p.done)
		p.done(v, p.user, error);
}

static void on_committed(Volcano *v, const RaftEntry *e)
{
	const Proposal *p = &of(v)->proposal;

	use_map(v, e);
	if (p->done && e->index >= p->index)
		proposal_ends(v, e->index == p->index && raft_term_cmp(e->term, p->term) == 0 ? 0 : ENOLINK);
}

static void send_msg(Volcano *v, guint16 to, guint64 after, const RaftMsg *m)
{
	Consensus *c = of(v);
	g_autoptr(GByteArray) msg = g_byte_array_new();
	GByteArray *out = g_byte_array_new();
	MagmaHdr h = { .kind = MAGMA_PUSH, .op = MAGMA_OP_raft, .epoch = v->map ? v->map->epoch : 0 };

	if (v->resigned && m->type == RAFT_ALIVE)
		return;               /* it has said that it ends */
	raft_msg_encode(m, msg);
	struct magma_req_raft q = { .from = v->id, .msg = MAGMA_BYTES(msg->data, msg->len) };
	magma_msg_encode(&h, &q, FALSE, out);
	g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(out);
	Peer *heard = m->type == RAFT_ALIVE ? g_hash_table_lookup(c->heard, GUINT_TO_POINTER(to)) : NULL;
	if (heard && heard->session) {
		v->io->send(v->iou, heard->session, bytes, NULL);      /* with the acknowledgement of the beat that it answers, so that idle networks send three datagrams for it, not four */
		return;
	}
	if (after <= c->persisted) {
		push(v, to, bytes);
		return;
	}
	Waiting *w = g_new(Waiting, 1);
	*w = (Waiting){ to, after, g_bytes_ref(bytes) };
	g_queue_push_tail(&c->waiting, w);
}

static void perform(Volcano *v, const RaftAction *a)
{
	Consensus *c = of(v);

	switch (a->type) {
	case RAFT_DO_PERSIST:
		raft_state_apply(c->state, &a->persist);
		c->asked = a->persist.number;
		break;
	case RAFT_DO_SEND:
		send_msg(v, a->send.to, a->send.after, &a->send.msg);
		break;
	case RAFT_DO_COMMITTED:
		on_committed(v, a->entry);
		break;
	case RAFT_DO_LEAD:
		c->leads = TRUE;
		MAGMA_TRACE(v->trace, 'M', "leads in term %u.%" G_GUINT64_FORMAT, a->term.inc, a->term.term);
		break;
	case RAFT_DO_LOST:
		c->leads = FALSE;
		MAGMA_TRACE(v->trace, 'M', "leads no more");
		proposal_ends(v, ENOLINK);
		break;
	case RAFT_DO_RIVAL:           /* at the end of the step */
		break;
	case RAFT_DO_CUT:
		core_say(v, "%u lava maps of incarnation %u are dropped: incarnation %u stands", a->cut.entries->len, a->cut.term.inc, a->cut.by.inc);
		break;
	}
}

static void tick(void *arg)
{
	Volcano *v = arg;

	of(v)->timer = 0;
	core_enter(v);
	step(v, &(RaftEvent){ .type = RAFT_EV_TICK });
	core_leave(v);
}

static void arm(Volcano *v)
{
	Consensus *c = of(v);

	if (c->timer && c->wake_at == c->out.wake_at)
		return;
	if (c->timer)
		v->io->timer_cancel(v->iou, c->timer);
	c->timer = 0;
	c->wake_at = c->out.wake_at;
	if (c->wake_at != G_MAXINT64)
		c->timer = v->io->timer(v->iou, MAX(c->wake_at - core_now(v), 0), tick, v);
}

static void look_at_lease(Volcano *v)
{
	MagmaTime lease = raft_lease_until(of(v)->raft, core_now(v));

	v->lease_until = v->resigned ? 0 : takeover_lease(of(v)->takeover, lease);
	/* what is answered alone must be known to have been: a start that still asks would drop it for what the other one did meanwhile */
	if (of(v)->question_kept && !takeover_in_question(of(v)->takeover))
		v->lease_until = 0;
}

/* Events may come from inside (a map that is used proposes the next one): then they wait for the end of the step. */
static void step(Volcano *v, const RaftEvent *ev)
{
	Consensus *c = of(v);
	guint64 asked = c->asked;

	g_assert(!c->depth);
	takeover_clock(c->takeover);
	c->depth++;
	raft_step(c->raft, ev, core_now(v), &c->out);
	for (guint i = 0; i < c->out.actions->len; i++)
		perform(v, &g_array_index(c->out.actions, RaftAction, i));
	c->depth--;
	look_at_lease(v);
	/* also what a commit alone has changed: a later start would ask where nobody can answer */
	if (c->asked != asked || (takeover_in_question(c->takeover) != c->question && !v->aside))
		keep(v, c->asked, NULL);
	arm(v);
	members_look(v);
	op_leased(v);
	if (raft_rival(c->raft) && !c->judging) {
		RaftRival rival = *raft_rival(c->raft);
		c->judging = TRUE;
		takeover_rival(c->takeover, &rival);
		c->judging = FALSE;
	}
}

/* --- the rest of the core's side --- */

void consensus_bootstrap(Volcano *v, void (*done)(Volcano *v, int error))
{
	g_autoptr(GBytes) bytes = map_bytes(v->map);
	Consensus *c = v->consensus = g_new0(Consensus, 1);

	c->state = raft_state_bootstrap(v->id, bytes);
	keep(v, 0, done);
}

void consensus_join(Volcano *v, void (*done)(Volcano *v, int error))
{
	Consensus *c = v->consensus = g_new0(Consensus, 1);

	c->state = raft_state_new();
	keep(v, 0, done);
}

void consensus_begin_life(Volcano *v, void (*done)(Volcano *v, int error))
{
	v->starts++;
	keep(v, 0, done);
}

void consensus_start(Volcano *v)
{
	Consensus *c = of(v);
	RaftConfig cfg = raft_config_default;

	cfg.id = v->id;
	v->io->random(v->iou, &cfg.life, sizeof cfg.life);
	v->io->random(v->iou, &cfg.seed, sizeof cfg.seed);
	g_queue_init(&c->waiting);
	c->heard = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)peer_unref);
	raft_out_init(&c->out);
	c->raft = raft_new(&cfg, c->state, core_now(v));
	c->takeover = takeover_new(v, v->starts > 0, c->question);
	if (raft_committed(c->raft))
		use_map(v, raft_committed(c->raft));
	step(v, &(RaftEvent){ .type = RAFT_EV_TICK });
}

/* A volcano that this one's map does not know yet (it was away while others joined) is answered where it was heard. */
static void note_heard(Consensus *c, guint16 id, Peer *from)
{
	if (g_hash_table_lookup(c->heard, GUINT_TO_POINTER(id)) != from)
		g_hash_table_replace(c->heard, GUINT_TO_POINTER(id), peer_ref(from));
}

void consensus_message(Volcano *v, Peer *from, const struct magma_req_raft *q)
{
	Consensus *c = of(v);
	RaftMsg m;

	if (!c || !c->raft || !q->from || q->from == v->id || !raft_msg_decode(q->msg.data, q->msg.len, &m))
		return;
	takeover_clock(c->takeover);
	takeover_heard(c->takeover, q->from);
	note_heard(c, q->from, from);
	step(v, &(RaftEvent){ .type = RAFT_EV_MESSAGE, .from = q->from, .msg = &m });
	raft_msg_clear(&m);
}

void consensus_hint(Volcano *v, guint16 id)
{
	if (of(v) && of(v)->raft && !of(v)->depth)
		step(v, &(RaftEvent){ .type = RAFT_EV_HINT, .from = id });
}

void consensus_clear(Volcano *v)
{
	Consensus *c = of(v);

	if (!c)
		return;
	if (c->timer)
		v->io->timer_cancel(v->iou, c->timer);
	takeover_free(c->takeover);
	if (c->raft) {
		raft_free(c->raft);
		raft_out_clear(&c->out);
		g_queue_clear_full(&c->waiting, waiting_free);
		g_hash_table_unref(c->heard);
	}
	raft_state_free(c->state);
	g_free(c);
	v->consensus = NULL;
}

gboolean consensus_leads(const Volcano *v) { return of(v) && of(v)->raft && raft_is_leader(of(v)->raft); }
guint16 consensus_leader(const Volcano *v) { return of(v) && of(v)->raft ? raft_leader(of(v)->raft) : 0; }
gboolean consensus_may_serve(Volcano *v) { return core_now(v) < v->lease_until; }

const Raft *consensus_raft(const Volcano *v) { return of(v) ? of(v)->raft : NULL; }

guint consensus_serves(Volcano *v, MagmaRange *out, guint max)
{
	guint n = 0;

	if (!v->map || v->stopping || !v->serving || !consensus_may_serve(v))
		return 0;
	for (guint i = 0; i < v->slices->len && n < max; i++) {
		Slice *sl = v->slices->pdata[i];
		const MagmaRange *range = slice_range(sl);
		if (range && sl->serving && core_place(sl, &range->lo) == HERE)
			out[n++] = *range;
	}
	return n;
}

MagmaTime consensus_down_at(const Volcano *v, guint16 id)
{
	return consensus_leads(v) ? raft_down_at(of(v)->raft, id) : 0;
}

gboolean consensus_heard_within(const Volcano *v, guint16 id, MagmaTime time)
{
	MagmaTime since = consensus_leads(v) ? raft_member_granted(of(v)->raft, id) : 0;

	return since && core_now((Volcano *)v) - since < time;
}

ConsensusChanges consensus_changes(const Volcano *v) { return of(v) ? of(v)->changes : (ConsensusChanges){ 0 }; }
gboolean consensus_may_change(Volcano *v) { return of(v) && of(v)->raft && takeover_may_change(of(v)->takeover); }
guint32 consensus_life(const Volcano *v, guint16 id) { return raft_member_life(of(v)->raft, id); }
MagmaTime consensus_answered(const Volcano *v, guint16 id) { return raft_member_acked(of(v)->raft, id); }
MagmaTime consensus_led_since(const Volcano *v) { return raft_led_since(of(v)->raft); }
guint32 consensus_incarnation(const Volcano *v) { return of(v) && of(v)->raft ? raft_term(of(v)->raft).inc : v->map ? v->map->incarnation : 0; }
guint32 consensus_next_incarnation(const Volcano *v) { return raft_next_incarnation(of(v)->raft); }
const RaftEntry *consensus_committed(const Volcano *v) { return raft_committed(of(v)->raft); }
Takeover *consensus_takeover(const Volcano *v) { return of(v) ? of(v)->takeover : NULL; }
void consensus_yield(Volcano *v) { step(v, &(RaftEvent){ .type = RAFT_EV_YIELD }); }

void consensus_transfer(Volcano *v, guint16 to)
{
	if (!of(v)->depth)
		step(v, &(RaftEvent){ .type = RAFT_EV_TRANSFER, .from = to });
}

static int status_error(RaftStatus s)
{
	return s == RAFT_OK ? 0 : s == RAFT_NOT_LEADER ? ENOLINK : EAGAIN;
}

/* Takes map. */
static GBytes *seal(Volcano *v, MagmaMap *map, guint16 *members, RaftGroup *group)
{
	map->coordinator = v->id;
	const char *broken = magma_map_seal(map);
	g_assert(!broken);
	*group = group_of(map, members);
	GBytes *bytes = map_bytes(map);
	magma_map_unref(map);
	return bytes;
}

void consensus_propose(Volcano *v, MagmaMap *map, const guint16 *down, guint ndown, gboolean gone, void (*done)(Volcano *v, void *user, int error), void *user)
{
	Consensus *c = of(v);
	g_autofree guint16 *members = g_new(guint16, map->volcanos->len);
	RaftGroup group;

	map->epoch++;
	gboolean allowed = c->raft && takeover_may_change(c->takeover) && (gone || takeover_allows(c->takeover, map));
	g_autoptr(GBytes) bytes = seal(v, map, members, &group);
	if (!allowed || c->proposal.done || c->depth) {
		done(v, user, EAGAIN);
		return;
	}
	RaftEvent ev = { .type = RAFT_EV_PROPOSE, .bytes = bytes, .group = &group, .derived = c->map_index, .down = down, .n_down = ndown, .gone = gone };
	/* with a group of one, commit may follow at once: it must be known what for */
	c->proposal = (Proposal){ .index = G_MAXUINT64, .done = done, .user = user, .at = core_now(v) };
	step(v, &ev);
	if (c->out.status != RAFT_OK) {
		proposal_ends(v, status_error(c->out.status));
		return;
	}
	c->proposal.index = c->out.index;
	c->proposal.term = raft_term(c->raft);
}

int consensus_force(Volcano *v, MagmaMap *map)
{
	Consensus *c = of(v);
	g_autofree guint16 *members = g_new(guint16, map->volcanos->len);
	RaftGroup group;

	/* numbers of maps that no other line comes to: it is by them alone that clients tell which map is newer */
	map->incarnation = raft_next_incarnation(c->raft);
	map->epoch = MAX(map->epoch + 1, (guint64)map->incarnation << 24);
	g_autoptr(GBytes) bytes = seal(v, map, members, &group);
	if (c->depth)
		return EAGAIN;
	proposal_ends(v, ENOLINK);
	step(v, &(RaftEvent){ .type = RAFT_EV_FORCE, .bytes = bytes, .group = &group });
	return status_error(c->out.status);
}
