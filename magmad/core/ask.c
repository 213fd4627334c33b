/* What a console asks other volcanos through this one: how they are, to halt, to clear what was laid aside. */
#include "magmad/core/aside.h"
#include "magmad/core/core.h"
#include "magmad/core/holding.h"

/* --- status, halt --- */

#define STATUS_COPIES_MAX 1024        /* of 37 bytes each: a blob has room for them */

static GByteArray *status_copies(Volcano *v)
{
	g_autoptr(GArray) copies = holdings_copies(v);
	GByteArray *out = g_byte_array_new();

	for (guint i = 0; i < MIN(copies->len, STATUS_COPIES_MAX); i++)
		magma_put_copy_state(out, &g_array_index(copies, MagmaCopyState, i));
	return out;
}

void handle_status(Op *op)
{
	Volcano *v = op->v;
	VolcanoStats stats;
	StoreUsage u;

	volcano_stats(v, &stats);
	volcano_usage(v, &u);
	g_autoptr(GByteArray) bytes = status_copies(v), conflicts = g_byte_array_new();
	asides_status(v, conflicts);
	struct magma_rep_status rep = {
		.volcano = v->id, .keys = u.flares, .used = u.used, .free = u.avail, .uptime = core_now(v) - v->started, .started = v->started_real,
		.clients = stats.clients, .software = MAGMA_BYTES_STR(v->software),
		.copies = MAGMA_BYTES(bytes->data, bytes->len), .conflicts = MAGMA_BYTES(conflicts->data, conflicts->len),
	};
	op_reply(op, &rep, NULL);
}

/* A push (op.c); nobody asks. */
void handle_raft(Op *op) { op_error(op, EOPNOTSUPP); }

static void halt_now(void *arg)
{
	Volcano *v = arg;

	v->io->stop(v->iou, NULL);
}

void handle_halt(Op *op)
{
	Volcano *v = op->v;

	op_finish(op, 0);
	core_say(v, "told to halt with the whole network");
	v->io->timer(v->iou, SECOND / 10, halt_now, v);      /* after the answer has left */
}

typedef struct {
	Volcano *v;
	guint waiting;
	void (*done)(void *user);
	void *user;
} Halting;

static void halted(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Halting *h = user;

	if (--h->waiting)
		return;
	h->done(h->user);
	core_ctx_free(h->v, h);
}

void volcano_halt_network(Volcano *v, void (*done)(void *user), void *user)
{
	Halting *h = CORE_CTX(v, Halting, NULL);
	struct magma_req_halt q = { 0 };

	core_enter(v);
	*h = (Halting){ v, 1, done, user };
	for (guint i = 0; v->map && i < v->map->volcanos->len; i++) {
		const MagmaVolcano *o = v->map->volcanos->pdata[i];
		if (o->id == v->id)
			continue;
		h->waiting++;
		call_volcano(v, NULL, o->id, MAGMA_OP_halt, &q, NULL, 2 * SECOND, halted, h);
	}
	halted(h, 0, NULL, NULL);
	core_leave(v);
}

typedef struct {
	Volcano *v;
	void (*done)(void *user, gboolean alive, const struct magma_rep_status *st);
	void *user;
} AskStatus;

static void status_answered(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	AskStatus *a = user;

	a->done(a->user, !error, error ? NULL : &rep->rep_status);
	core_ctx_free(a->v, a);
}

void volcano_ask_status(Volcano *v, guint16 id, void (*done)(void *user, gboolean alive, const struct magma_rep_status *st), void *user)
{
	AskStatus *a = CORE_CTX(v, AskStatus, NULL);
	struct magma_req_status q = { 0 };

	core_enter(v);
	*a = (AskStatus){ v, done, user };
	call_volcano(v, NULL, id, MAGMA_OP_status, &q, NULL, SECOND, status_answered, a);
	core_leave(v);
}

/* --- clear --- */

static void cleared_here(void *user, int error)
{
	Op *op = user;
	Volcano *v = op->v;

	core_enter(v);
	op_finish(op, error);
	core_leave(v);
}

void handle_clear(Op *op) { aside_remove(op->v, op->req.req_clear.time, cleared_here, op); }

typedef struct {
	Volcano *v;
	void (*done)(void *user, int error);
	void *user;
} Clear;

static void cleared_there(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Clear *c = user;
	Clear now = *c;

	core_ctx_free(c->v, c);
	now.done(now.user, error);
}

#define CLEAR_LIMIT (30 * SECOND)     /* who reads in it goes first */

void volcano_conflict_clear(Volcano *v, guint16 id, guint64 time, void (*done)(void *user, int error), void *user)
{
	const MagmaVolcano *o = v->map ? magma_map_by_id(v->map, id) : NULL;
	struct magma_req_clear q = { .time = time };

	if (!o || o->flags & MAGMA_VOLCANO_DOWN) {
		done(user, o ? EHOSTDOWN : ENOENT);
		return;
	}
	core_enter(v);
	Clear *c = CORE_CTX(v, Clear, NULL);
	*c = (Clear){ v, done, user };
	call_volcano(v, NULL, id, MAGMA_OP_clear, &q, NULL, CLEAR_LIMIT, cleared_there, c);
	core_leave(v);
}
