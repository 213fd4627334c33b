/* Several clients on a few names and flares, all at once, through whichever volcano. What each of them saw must be what one volcano without faults could have shown: linearizable, name by name and flare by flare. Clients
 * vanish with a question under way, which then has happened or not. */
#include <linux/fs.h>
#include "tests/sim/linmodel.h"
#include "tests/sim/workload.h"
#include "libmagma/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { DIRS = 2, FLARES = 2, CLIENTS_MAX = 8, BIG = 700, STEPS_MAX = 3000000 };

typedef struct Linear Linear;

typedef struct {
	Linear *l;
	SimClient *client;            /* NULL: it left */
	guint index;
	gboolean busy;
	MagmaOp op;
	LinHistory *history;          /* of the question under way */
	guint number;
	NameOp name;
	FlareOp flare;
	guint which;
	guint64 kills;                /* until it was asked */
} Asker;

struct Linear {
	Cluster *c;
	World *w;
	const Workload *load;
	Asker asker[CLIENTS_MAX];
	guint askers;
	MagmaFid dir[DIRS], flare[FLARES];
	LinHistory *names, *flares[FLARES];
	guint appends[FLARES], next_token[FLARES];
	GHashTable *made;             /* inos of creates that answered */
	guint64 unseen;
	guint block;                  /* bytes */
	gboolean big;                 /* content files: torn by crashes, so nothing there changes its size */
};

static MagmaKey pick_key(Linear *l)
{
	char path[32];

	return magma_key_of_path(path, g_snprintf(path, sizeof path, "/%u", world_pick(l->w, 100000)));
}

static MagmaFid dir_of(Linear *l, guint cell) { return l->dir[cell % DIRS]; }

static MagmaBytes name_of(guint cell)
{
	static const char *const names[] = { "a", "b", "c" };

	return MAGMA_BYTES_STR(names[cell / DIRS]);
}

/* --- answers --- */

static void fail(Asker *a, const char *what)
{
	world_fail(a->l->w, "client %u: %s: %s", a->index, magma_op_info(a->op)->name, what);
}

static guint blocks_of(Asker *a, guint64 bytes)
{
	if (bytes % a->l->block || bytes / a->l->block > BLOCKS)
		fail(a, "a size that nobody made");
	return bytes / a->l->block;
}

/* A write that a crash tore is begun by the new bytes and ended by the old. */
static void read_content(Asker *a, MagmaBytes d)
{
	Linear *l = a->l;

	a->flare.blocks = blocks_of(a, d.len);
	for (guint i = 0; i < a->flare.blocks; i++) {
		const guint8 *p = d.data + i * l->block;
		gboolean same = TRUE;
		for (guint k = 1; k < l->block; k++)
			same &= p[k] == p[0];
		if (!same && !(l->big && cluster_kills(l->c)))
			fail(a, "a block is half one write and half another");
		a->flare.content[i] = same ? p[0] : BLOCK_ANY;
	}
}

static void saw_attr(Asker *a, const MagmaAttr *at)
{
	a->flare.mode = at->mode & 07777;
	a->flare.blocks = blocks_of(a, at->size);
}

static void name_answered(Asker *a, int error, const MagmaAny *rep)
{
	NameOp *o = &a->name;

	if (error && error != ENOENT && error != EEXIST)
		fail(a, magma_strerror(error));
	o->error = error;
	if (!error)
		switch (a->op) {
		case MAGMA_OP_mknod:
			o->ino = rep->rep_mknod.attr.fid.ino;
			g_hash_table_add(a->l->made, g_memdup2(&o->ino, sizeof o->ino));
			break;
		case MAGMA_OP_lookup: o->ino = rep->rep_lookup.child.ino; break;
		case MAGMA_OP_unlink: o->ino = rep->rep_unlink.child.ino; break;
		default:
			o->ino = rep->rep_rename.moved.ino;
			o->replaced = rep->rep_rename.replaced.ino;
		}
	lin_return(a->history, a->number, o);
}

static void flare_answered(Asker *a, int error, const MagmaAny *rep)
{
	FlareOp *o = &a->flare;

	if (error)
		fail(a, magma_strerror(error));
	switch (a->op) {
	case MAGMA_OP_getattr: saw_attr(a, &rep->rep_getattr.attr); break;
	case MAGMA_OP_read: read_content(a, rep->rep_read.data); break;
	case MAGMA_OP_write:
		/* bytes of a content file come before the record of them: what a crash cut short may have been seen, and is done again when it is repeated */
		if (a->l->big && cluster_kills(a->l->c) != a->kills)
			lin_again(a->history, a->number);
		o->at = blocks_of(a, rep->rep_write.offset);
		o->blocks = blocks_of(a, rep->rep_write.size);
		break;
	default:
		if (o->kind == FLARE_CHMOD && (rep->rep_setattr.attr.mode & 07777) != o->mode)
			fail(a, "another mode than asked for");
		saw_attr(a, &rep->rep_setattr.attr);
		if (o->kind == FLARE_TRUNCATE && o->blocks != o->at)
			fail(a, "another size than asked for");
	}
	lin_return(a->history, a->number, o);
}

static void answered(void *user, int error, const MagmaAny *rep)
{
	Asker *a = user;

	a->busy = FALSE;
	if (a->history == a->l->names)
		name_answered(a, error, rep);
	else
		flare_answered(a, error, rep);
}

/* --- questions --- */

static void ask_name(Asker *a, NameKind kind, guint from, guint to)
{
	Linear *l = a->l;
	NameOp *o = &a->name;

	*o = (NameOp){ .kind = kind, .from = from, .to = to, .unseen = kind == NAME_CREATE ? NAME_UNSEEN | ++l->unseen : 0 };
	a->history = l->names;
	a->number = lin_call(l->names, a->index, o);
	a->busy = TRUE;
	if (kind == NAME_CREATE) {
		struct magma_req_mknod q = { .dir = dir_of(l, from), .key = pick_key(l), .mode = S_IFREG | 0644, .name = name_of(from) };
		sim_call(a->client, a->op = MAGMA_OP_mknod, &q, answered, a);
	} else if (kind == NAME_LOOKUP) {
		struct magma_req_lookup q = { .dir = dir_of(l, from), .name = name_of(from) };
		sim_call(a->client, a->op = MAGMA_OP_lookup, &q, answered, a);
	} else if (kind == NAME_UNLINK) {
		struct magma_req_unlink q = { .dir = dir_of(l, from), .name = name_of(from) };
		sim_call(a->client, a->op = MAGMA_OP_unlink, &q, answered, a);
	} else {
		struct magma_req_rename q = { .to_dir = dir_of(l, to), .from_dir = dir_of(l, from), .from_name = name_of(from), .to_name = name_of(to),
			.flags = kind == NAME_NOREPLACE ? RENAME_NOREPLACE : kind == NAME_EXCHANGE ? RENAME_EXCHANGE : 0 };
		sim_call(a->client, a->op = MAGMA_OP_rename, &q, answered, a);
	}
}

static void ask_some_name(Asker *a)
{
	static const NameKind kinds[] = { NAME_CREATE, NAME_CREATE, NAME_CREATE, NAME_UNLINK, NAME_LOOKUP, NAME_LOOKUP, NAME_RENAME, NAME_RENAME, NAME_NOREPLACE, NAME_EXCHANGE };
	guint from = world_pick(a->l->w, NAMES), to = (from + 1 + world_pick(a->l->w, NAMES - 1)) % NAMES;

	ask_name(a, kinds[world_pick(a->l->w, G_N_ELEMENTS(kinds))], from, to);
}

static void ask_write(Asker *a, const MagmaFid *fid)
{
	Linear *l = a->l;
	guint8 bytes[BIG];
	struct magma_req_write q = { .fid = *fid, .offset = a->flare.at * l->block, .flags = a->flare.kind == FLARE_APPEND ? MAGMA_WRITE_APPEND : 0, .data = { bytes, l->block } };

	memset(bytes, a->flare.token, l->block);
	sim_call(a->client, a->op = MAGMA_OP_write, &q, answered, a);
}

static void ask_flare(Asker *a, FlareKind kind, guint which, guint at)
{
	Linear *l = a->l;
	const MagmaFid *fid = &l->flare[which];
	FlareOp *o = &a->flare;

	*o = (FlareOp){ .kind = kind, .at = at };
	if (kind == FLARE_WRITE || kind == FLARE_APPEND)
		o->token = 1 + l->next_token[which]++ % (BLOCK_ANY - 1);
	if (kind == FLARE_CHMOD)
		o->mode = 0600 | world_pick(l->w, 64);
	a->history = l->flares[which];
	a->kills = cluster_kills(l->c);
	a->number = lin_call(a->history, a->index, o);
	a->busy = TRUE;
	if (kind == FLARE_GETATTR) {
		struct magma_req_getattr q = { .fid = *fid };
		sim_call(a->client, a->op = MAGMA_OP_getattr, &q, answered, a);
	} else if (kind == FLARE_READ) {
		struct magma_req_read q = { .fid = *fid, .size = BLOCKS * BIG };
		sim_call(a->client, a->op = MAGMA_OP_read, &q, answered, a);
	} else if (kind == FLARE_CHMOD || kind == FLARE_TRUNCATE) {
		struct magma_req_setattr q = { .fid = *fid, .mask = kind == FLARE_CHMOD ? MAGMA_SET_MODE : MAGMA_SET_SIZE, .mode = o->mode, .size = at * l->block };
		sim_call(a->client, a->op = MAGMA_OP_setattr, &q, answered, a);
	} else {
		ask_write(a, fid);
	}
}

static void ask_some_flare(Asker *a)
{
	static const FlareKind kinds[] = { FLARE_GETATTR, FLARE_CHMOD, FLARE_READ, FLARE_READ, FLARE_WRITE, FLARE_WRITE, FLARE_APPEND, FLARE_APPEND, FLARE_TRUNCATE };
	Linear *l = a->l;
	guint which = world_pick(l->w, FLARES);
	FlareKind kind = kinds[world_pick(l->w, G_N_ELEMENTS(kinds))];

	if (kind == FLARE_APPEND && (l->big || l->appends[which] == BLOCKS / 2))
		kind = FLARE_WRITE;
	if (kind == FLARE_TRUNCATE && l->big)
		kind = FLARE_READ;
	l->appends[which] += kind == FLARE_APPEND;
	ask_flare(a, kind, which, world_pick(l->w, l->big ? BLOCKS : BLOCKS / 2));
}

/* --- the whole --- */

static void enter(Linear *l)
{
	Asker *a = &l->asker[l->askers];

	*a = (Asker){ .l = l, .index = l->askers++, .client = sim_client_new(l->c, world_chance(l->w, 1, 5) ? 0 : -1) };
}

/* With whatever it has asked, and another one comes. */
static void leave(Linear *l, Asker *a)
{
	if (l->askers == CLIENTS_MAX)
		return;
	g_clear_pointer(&a->client, sim_client_free);
	enter(l);
}

static MagmaAny must(Linear *l, MagmaOp op, const void *req)
{
	MagmaAny rep;
	int error = sim_call_wait(l->asker[0].client, op, req, &rep);

	if (error)
		world_fail(l->w, "%s: %s", magma_op_info(op)->name, magma_strerror(error));
	return rep;
}

static void set_up(Linear *l)
{
	NameState names = { 0 };
	FlareState flare = { .mode = 0644 };

	l->names = lin_new(&lin_names, &names);
	for (guint i = 0; i < DIRS; i++) {
		char name[8];
		g_snprintf(name, sizeof name, "d%u", i);
		struct magma_req_mkdir q = { .dir = magma_fid_root(), .key = pick_key(l), .mode = 0755, .name = MAGMA_BYTES_STR(name) };
		l->dir[i] = must(l, MAGMA_OP_mkdir, &q).rep_mkdir.attr.fid;
	}
	for (guint i = 0; i < FLARES; i++) {
		char name[8];
		g_snprintf(name, sizeof name, "f%u", i);
		struct magma_req_mknod q = { .dir = magma_fid_root(), .key = pick_key(l), .mode = S_IFREG | 0644, .name = MAGMA_BYTES_STR(name) };
		l->flare[i] = must(l, MAGMA_OP_mknod, &q).rep_mknod.attr.fid;
		if (l->big) {
			g_autofree guint8 *zero = g_malloc0(BLOCKS * l->block);
			struct magma_req_write w = { .fid = l->flare[i], .data = { zero, BLOCKS * l->block } };
			must(l, MAGMA_OP_write, &w);
			flare.blocks = BLOCKS;
		}
		l->flares[i] = lin_new(&lin_flare, &flare);
	}
}

static gboolean all_idle(void *user)
{
	Linear *l = user;

	for (guint i = 0; i < l->askers; i++)
		if (l->asker[i].client && l->asker[i].busy)
			return FALSE;
	return TRUE;
}

static void wait_idle(Linear *l)
{
	if (!cluster_run_until(l->c, 130 * (gint64)1000000, all_idle, l))
		world_fail(l->w, "clients wait without end");
}

static void run_clients(Linear *l)
{
	guint total = l->load->ops, asked = 0, joined = 0;

	while (asked < total) {
		for (guint i = 0; i < l->askers; i++) {
			Asker *a = &l->asker[i];
			if (!a->client || asked == total)
				continue;
			if (a->busy && world_chance(l->w, 1, 3000))
				leave(l, a);
			if (a->busy || !a->client || !world_chance(l->w, 1, 8))
				continue;
			if (world_chance(l->w, 1, 2))
				ask_some_name(a);
			else
				ask_some_flare(a);
			asked++;
		}
		for (; joined <= asked; joined++)
			workload_join(l->c, l->load, joined);
		cluster_step(l->c);
	}
}

/* The last word: what is there when all is quiet. */
static void look_at_all(Linear *l)
{
	Asker *a = &l->asker[0];

	while (!a->client)
		a++;
	for (guint i = 0; i < NAMES; i++) {
		ask_name(a, NAME_LOOKUP, i, 0);
		wait_idle(l);
	}
	for (guint i = 0; i < FLARES; i++) {
		ask_flare(a, FLARE_GETATTR, i, 0);
		wait_idle(l);
		ask_flare(a, FLARE_READ, i, 0);
		wait_idle(l);
	}
}

static gboolean is_strange(Linear *l, guint64 ino) { return ino && !g_hash_table_contains(l->made, &ino); }

static void check(Linear *l, LinHistory *h, const char *what)
{
	g_autoptr(GString) why = g_string_new("");

	if (lin_check(h, STEPS_MAX, why) == LIN_BAD)
		world_fail(l->w, "the history of %s is not linearizable:%s", what, why->str);
}

/* Of who left, too: a copy of it may still have been on its way after the crash, at any time. */
static void allow_again(Linear *l)
{
	for (guint i = 0; i < l->askers; i++) {
		Asker *a = &l->asker[i];
		if (a->busy && a->op == MAGMA_OP_write && l->big && cluster_kills(l->c) != a->kills)
			lin_again(a->history, a->number);
	}
}

static void check_all(Linear *l)
{
	allow_again(l);
	for (guint i = 0; i < lin_count(l->names); i++) {
		NameOp *o = lin_op(l->names, i);
		o->strange = is_strange(l, o->ino) | is_strange(l, o->replaced) << 1;
	}
	check(l, l->names, "the names");
	for (guint i = 0; i < FLARES; i++)
		check(l, l->flares[i], i ? "flare 1" : "flare 0");
}

void linear_run(Cluster *c, const Workload *load)
{
	Linear l = { .c = c, .w = cluster_world(c), .load = load, .made = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL) };

	l.big = world_chance(l.w, 1, 3);
	l.block = l.big ? BIG : 1 + world_pick(l.w, 300);
	for (guint i = 0; i < MIN(load->clients, 5); i++)
		enter(&l);
	set_up(&l);
	cluster_trouble(c, TRUE);
	run_clients(&l);
	cluster_trouble(c, FALSE);
	wait_idle(&l);
	look_at_all(&l);
	check_all(&l);
	for (guint i = 0; i < l.askers; i++)
		g_clear_pointer(&l.asker[i].client, sim_client_free);
	workload_settle(c, load);
	lin_free(l.names);
	for (guint i = 0; i < FLARES; i++)
		lin_free(l.flares[i]);
	g_hash_table_unref(l.made);
}
