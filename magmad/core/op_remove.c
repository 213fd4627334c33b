/* Taking names away: unlink, rmdir. */
#include "magmad/core/core.h"

static MagmaFid dir_of(const Op *op) { return op->hdr.op == MAGMA_OP_rmdir ? op->req.req_rmdir.dir : op->req.req_unlink.dir; }
static MagmaBytes name_of(const Op *op) { return op->hdr.op == MAGMA_OP_rmdir ? op->req.req_rmdir.name : op->req.req_unlink.name; }

/* The entry, if the caller may remove it. *sticky: the child's owner has a say. */
static int may_remove(Op *op, FlareRow *dir, EntryRow *e, gboolean *sticky)
{
	MagmaFid fid = dir_of(op);
	int error = state_dir(op, &fid, dir);

	if (error || (error = state_perm(op, dir, MAGMA_X)))
		return error;
	if ((error = state_entry(op, fid.ino, name_of(op), e)))
		return error;
	if ((error = state_perm(op, dir, MAGMA_W)))
		return error;
	if (op->hdr.op == MAGMA_OP_rmdir ? !is_dir(e->type) : is_dir(e->type))
		return op->hdr.op == MAGMA_OP_rmdir ? ENOTDIR : EISDIR;
	*sticky = magma_perm_sticky(&op->hdr.cred, dir->attr.mode, dir->attr.uid, op->hdr.cred.uid + 1) != 0;
	return 0;
}

static void step_removed(Op *op)
{
	MagmaFid fid = dir_of(op);
	Part *p = &op->coord->parts[0];
	FlareRow *row;
	EntryRow e;
	int error = coord_error(op);
	g_autoptr(Draft) d = draft_new(op);

	if (!error)
		error = draft_flare(d, &fid, &row);
	if (!error)
		error = state_entry(op, fid.ino, name_of(op), &e);
	/* An entry whose flare is gone (a power cut can leave one) may be removed like any other. */
	gboolean dangling = p->local ? FALSE : p->error == ENOENT;
	if (dangling && p->called && error == ENOENT) {
		error = draft_flare(d, &fid, &row);
		if (!error)
			error = state_entry(op, fid.ino, name_of(op), &e);
	}
	if (!error && p->local) {
		error = part_check(op, p, op->age);
		if (!error)
			error = part_apply_all(d, p);
		if (error == ENOENT || error == ESTALE) {
			error = 0;
			dangling = TRUE;
		}
	}
	if (error == WAIT)
		return;
	if (error) {
		coord_abort(op, error);
		return;
	}
	draft_del_entry(d, row, name_of(op), &e, op->now);
	struct magma_rep_unlink rep = { .child = e.child };
	if (dangling)
		op->coord->n = 0;
	coord_commit(op, g_steal_pointer(&d), &rep);
}

static void remove_any(Op *op)
{
	MagmaFid fid = dir_of(op);
	FlareRow dir;
	EntryRow e;
	gboolean sticky = FALSE;
	int error = name_check(op, fid.ino, name_of(op));

	if (!error)
		error = may_remove(op, &dir, &e, &sticky);
	if (!error && core_place(op->sl, &e.child.key) == FROZEN)
		error = MAGMA_ETRYAGAIN;
	if (error) {
		op_finish(op, error);
		return;
	}
	coord_start(op);
	name_lock(op, fid.ino, name_of(op));
	Part *p = coord_part(op, op->hdr.op == MAGMA_OP_rmdir ? MARK_SEAL : MARK_REF_DROP, &e.child);
	p->mode = sticky;
	coord_prepare(op, 0, step_removed);
}

void handle_unlink(Op *op) { remove_any(op); }
void handle_rmdir(Op *op) { remove_any(op); }
