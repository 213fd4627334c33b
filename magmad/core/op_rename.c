/* rename, coordinated by the owner of the destination directory (DESIGN section 3):
 *   source   the source entry is marked as leaving (or swapped); it says what is moved
 *   lock     a directory that goes under another parent takes the one rename lock, then nobody changes the tree while its ancestors are walked
 *   others   what the new name replaces is sealed or loses a link; what is moved gets its new parent
 *   commit   one transaction here; the rest is settled */
#include <linux/fs.h>
#include "magmad/core/core.h"

enum { WALK_MAX = 4096 };      /* no path has more directories (PATH_MAX) */
enum { SOURCE = 0 };           /* index of the source's part */

static const struct magma_req_rename *req_of(Op *op) { return &op->req.req_rename; }
static gboolean exchanges(Op *op) { return (req_of(op)->flags & RENAME_EXCHANGE) != 0; }

static void step_source(Op *op);
static void step_locked(Op *op);
static void step_walk(Op *op);
static void step_others(Op *op);
static void step_commit(Op *op);

/* The destination as it stands: may the caller write there, and what is there? */
static int look_at_target(Op *op, EntryRow *target)
{
	const struct magma_req_rename *q = req_of(op);
	FlareRow dir;
	int error = state_dir(op, &q->to_dir, &dir);

	target->child.ino = 0;
	if (error || (error = state_perm(op, &dir, MAGMA_W | MAGMA_X)))
		return error;
	error = state_entry(op, q->to_dir.ino, q->to_name, target);
	if (error == ENOENT) {
		target->child.ino = 0;
		return 0;
	}
	return error;
}

static gboolean same_name(const struct magma_req_rename *q)
{
	return q->from_dir.ino == q->to_dir.ino && q->from_name.len == q->to_name.len && memcmp(q->from_name.data, q->to_name.data, q->to_name.len) == 0;
}

static int rename_begin(Op *op)
{
	const struct magma_req_rename *q = req_of(op);
	EntryRow target = { 0 };
	Place from = core_place(op->sl, &q->from_dir.key);
	g_autoptr(GByteArray) cred = g_byte_array_new();
	int error;

	if (q->flags & ~(guint32)(RENAME_NOREPLACE | RENAME_EXCHANGE) || q->flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return EINVAL;
	if (from == FROZEN)
		return MAGMA_ETRYAGAIN;
	if ((error = name_check(op, q->to_dir.ino, q->to_name)) || (from == HERE && (error = name_check(op, q->from_dir.ino, q->from_name))))
		return error;
	if ((error = look_at_target(op, &target)))
		return error;
	if (exchanges(op) && !target.child.ino)
		return ENOENT;
	if (same_name(q)) {
		FlareRow dir;
		EntryRow e;
		error = state_dir(op, &q->from_dir, &dir);
		if (!error)
			error = state_entry(op, q->from_dir.ino, q->from_name, &e);
		if (error)
			return error;
		if (q->flags & RENAME_NOREPLACE)
			return EEXIST;
		struct magma_rep_rename rep = { .moved = e.child, .replaced = e.child };
		op_reply(op, &rep, NULL);
		return 0;
	}
	coord_start(op);
	op->coord->target = target;
	name_lock(op, q->to_dir.ino, q->to_name);
	if (from == HERE)
		name_lock(op, q->from_dir.ino, q->from_name);
	if (!op->data) {
		core_put_cred(cred, &op->hdr.cred);
		op->data = g_byte_array_free_to_bytes(g_steal_pointer(&cred));
		op->data_free = (GDestroyNotify)g_bytes_unref;
	}
	gsize n;
	const guint8 *c = g_bytes_get_data(op->data, &n);
	Part *p = coord_part(op, exchanges(op) ? MARK_SWAP : MARK_LEAVE, &q->from_dir);
	p->name = q->from_name;
	p->cred = MAGMA_BYTES(c, n);
	if (exchanges(op)) {
		p->other = target.child;
		p->mode = target.type;
	}
	coord_prepare(op, SOURCE, step_source);
	return 0;
}

void handle_rename(Op *op) { op_fail(op, rename_begin(op)); }

/* What is moved onto what: 0, an errno, or -2: both names are the same flare already, nothing to do (rename(2)). */
enum { NOTHING_TO_DO = -2 };

static int compatible(Op *op, const EntryRow *moved, const EntryRow *target)
{
	if (!target->child.ino)
		return 0;
	if (req_of(op)->flags & RENAME_NOREPLACE)
		return EEXIST;
	if (moved->child.ino == target->child.ino)
		return NOTHING_TO_DO;
	if (exchanges(op))
		return 0;
	if (is_dir(moved->type) && !is_dir(target->type))
		return ENOTDIR;
	if (!is_dir(moved->type) && is_dir(target->type))
		return EISDIR;
	return 0;
}

static void step_source(Op *op)
{
	Coord *c = op->coord;
	const struct magma_req_rename *q = req_of(op);
	Part *source = &c->parts[SOURCE];
	int error = coord_error(op);

	if (!error && source->local)
		error = part_check(op, source, op->age);
	if (error == WAIT)
		return;
	if (!error)
		error = compatible(op, &source->entry, &c->target);
	if (error) {
		coord_abort(op, error == NOTHING_TO_DO ? 0 : error);
		return;
	}
	gboolean moves_dir = is_dir(source->entry.type) || (exchanges(op) && is_dir(c->target.type));
	if (!moves_dir || q->from_dir.ino == q->to_dir.ino) {
		step_others(op);
		return;
	}
	MagmaFid root = magma_fid_root();
	Part *lock = coord_part(op, MARK_RENAME_LOCK, &root);
	lock->local = FALSE;           /* a mark also on this volcano: it must hold while others are asked */
	c->walk_steps = 0;
	coord_prepare(op, c->n - 1, step_locked);
}

static void step_locked(Op *op)
{
	Coord *c = op->coord;
	int error = coord_error(op);

	if (error) {
		coord_abort(op, error);
		return;
	}
	c->walk = req_of(op)->to_dir;
	c->walk_for = c->parts[SOURCE].entry.child;
	op->step = step_walk;
	step_walk(op);
}

static void walked(void *user, int error, const MagmaAny *rep, GBytes *msg)
{
	Op *op = user;
	Slice *sl = op->sl;

	core_enter(sl->v);
	op->coord->waiting--;
	if (error) {
		coord_abort(op, error == ETIMEDOUT ? MAGMA_ETRYAGAIN : error);
	} else {
		op->coord->walk = rep->rep_parent.parent;
		op_run(op);
	}
	core_leave(sl->v);
}

/* Up from the destination to the root: meeting what is moved would make a loop. */
static void step_walk(Op *op)
{
	Coord *c = op->coord;
	FlareRow row;

	for (;;) {
		if (c->walk.ino == c->walk_for.ino || c->walk_steps++ > WALK_MAX) {
			coord_abort(op, EINVAL);
			return;
		}
		if (c->walk.ino == MAGMA_ROOT_INO) {
			/* an exchange also moves the other one, under the source's directory */
			if (!exchanges(op) || c->walk_for.ino == c->target.child.ino)
				break;
			c->walk = req_of(op)->from_dir;
			c->walk_for = c->target.child;
			continue;
		}
		if (core_place(op->sl, &c->walk.key) != HERE) {
			struct magma_req_parent q = { .fid = c->walk };
			c->waiting++;
			call_key(op->sl, &q.fid.key, MAGMA_OP_parent, &q, NULL, COORD_LIMIT, walked, op);
			return;
		}
		int error = state_flare(op, &c->walk, &row);
		if (error == WAIT) {
			c->walk_steps--;
			return;
		}
		if (error) {
			coord_abort(op, error == ESTALE ? ENOENT : error);
			return;
		}
		c->walk = row.parent;
	}
	step_others(op);
}

static gboolean sticky_asks(Op *op, guint32 dir_mode, guint32 dir_uid)
{
	return magma_perm_sticky(&op->hdr.cred, dir_mode, dir_uid, op->hdr.cred.uid + 1) != 0;
}

static void add_reparent(Op *op, const MagmaFid *child, const MagmaFid *parent, gboolean sticky)
{
	Part *p = coord_part(op, MARK_REPARENT, child);

	p->other = *parent;
	p->mode = sticky;
	p->cred = op->coord->parts[SOURCE].cred;
}

static void step_others(Op *op)
{
	Coord *c = op->coord;
	const struct magma_req_rename *q = req_of(op);
	guint from = c->n;
	FlareRow dir;
	int error;

	op->step = step_others;
	error = state_dir(op, &q->to_dir, &dir);
	if (error == WAIT)
		return;
	if (error) {
		coord_abort(op, error);
		return;
	}
	Part *source = &c->parts[SOURCE];
	gboolean to_sticky = sticky_asks(op, dir.attr.mode, dir.attr.uid);
	add_reparent(op, &source->entry.child, &q->to_dir, sticky_asks(op, source->dir_mode, source->dir_uid));
	if (c->target.child.ino && exchanges(op)) {
		add_reparent(op, &c->target.child, &q->from_dir, to_sticky);
	} else if (c->target.child.ino) {
		Part *p = coord_part(op, is_dir(c->target.type) ? MARK_SEAL : MARK_REF_DROP, &c->target.child);
		p->mode = to_sticky;
	}
	coord_prepare(op, from, step_commit);
}

/* Everything of it that is on this volcano, into one draft. */
static int draft_rename(Op *op, Draft *d)
{
	Coord *c = op->coord;
	const struct magma_req_rename *q = req_of(op);
	Part *source = &c->parts[SOURCE];
	FlareRow *dir, check;
	int error = state_dir(op, &q->to_dir, &check);

	for (guint i = 0; i < c->n && !error; i++)
		if (c->parts[i].local && !c->parts[i].gone) {
			error = part_check(op, &c->parts[i], op->age);
			if (error == ENOENT && (c->parts[i].kind == MARK_SEAL || c->parts[i].kind == MARK_REF_DROP)) {
				c->parts[i].gone = TRUE;
				error = 0;
			} else if (!error) {
				error = part_apply_all(d, &c->parts[i]);
			}
		}
	if (error || (error = draft_flare(d, &q->to_dir, &dir)))
		return error;
	if (c->target.child.ino)
		draft_replace_entry(d, dir, q->to_name, &c->target, &source->entry.child, source->entry.type, op->now);
	else
		draft_add_entry(d, dir, q->to_name, &source->entry.child, source->entry.type, op->now);
	return 0;
}

static void step_commit(Op *op)
{
	Coord *c = op->coord;
	g_autoptr(Draft) d = draft_new(op);

	/* A name whose flare is gone (a power cut can leave one) is replaced like any other. */
	for (guint i = 0; i < c->n; i++)
		if ((c->parts[i].kind == MARK_SEAL || c->parts[i].kind == MARK_REF_DROP) && c->parts[i].error == ENOENT) {
			c->parts[i].error = 0;
			c->parts[i].gone = TRUE;
		}
	int error = coord_error(op);
	if (!error)
		error = draft_rename(op, d);
	if (error == WAIT)
		return;
	if (error) {
		coord_abort(op, error);
		return;
	}
	struct magma_rep_rename rep = { .moved = c->parts[SOURCE].entry.child, .replaced = c->target.child };
	coord_commit(op, g_steal_pointer(&d), &rep);
}
