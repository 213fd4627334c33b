/* Making names: mknod, mkdir, symlink, create, link. */
#include "magmad/core/core.h"

typedef struct {
	MagmaFid dir;
	MagmaKey key;
	guint32 mode;
	guint64 rdev;
	MagmaBytes name, symlink;
	gboolean open;
} NewFlare;

static NewFlare new_flare_of(Op *op)
{
	const MagmaAny *r = &op->req;

	switch (op->hdr.op) {
	case MAGMA_OP_mknod:
		return (NewFlare){ r->req_mknod.dir, r->req_mknod.key, r->req_mknod.mode, r->req_mknod.rdev, r->req_mknod.name };
	case MAGMA_OP_mkdir:
		return (NewFlare){ r->req_mkdir.dir, r->req_mkdir.key, S_IFDIR | (r->req_mkdir.mode & 07777), 0, r->req_mkdir.name };
	case MAGMA_OP_symlink:
		return (NewFlare){ r->req_symlink.dir, r->req_symlink.key, S_IFLNK | 0777, 0, r->req_symlink.name, r->req_symlink.target };
	case MAGMA_OP_create:
		return (NewFlare){ r->req_create.dir, r->req_create.key, S_IFREG | (r->req_create.mode & 07777), 0, r->req_create.name, .open = TRUE };
	default:
		g_assert_not_reached();
	}
}

/* May that name be made in that directory now? Existence comes before the permission to write, as the kernel has it. */
static int name_may_be_made(Op *op, const MagmaFid *dir, MagmaBytes name, FlareRow *row)
{
	EntryRow e;
	StoreUsage u;
	int error = name_check(op, dir->ino, name);

	if (error || (error = state_dir(op, dir, row)) || (error = state_perm(op, row, MAGMA_X)))
		return error;
	error = state_entry(op, dir->ino, name, &e);
	if (error != ENOENT)
		return error ? error : EEXIST;
	if ((error = state_perm(op, row, MAGMA_W)))
		return error;
	op->sl->store->vt->usage(op->sl->store, &u);
	return u.low ? ENOSPC : 0;
}

static int valid_new(const NewFlare *n)
{
	switch (n->mode & S_IFMT) {
	case S_IFREG: case S_IFDIR: case S_IFLNK: case S_IFBLK: case S_IFCHR: case S_IFIFO: case S_IFSOCK:
		break;
	default:
		return EINVAL;
	}
	if (S_ISLNK(n->mode) && (!n->symlink.len || n->symlink.len > MAGMA_SYMLINK_MAX))
		return n->symlink.len ? ENAMETOOLONG : ENOENT;
	return 0;
}

/* umask, and what a directory with the set-group-id bit passes on (open(2), mkdir(2)). */
static int inherit(Op *op, const FlareRow *dir, Part *p)
{
	const MagmaCred *c = &op->hdr.cred;

	if (!S_ISLNK(p->mode))
		p->mode &= ~(guint32)(c->umask & 0777);
	p->uid = c->uid;
	p->gid = c->gid;
	if (dir->attr.mode & S_ISGID) {
		p->gid = dir->attr.gid;
		if (is_dir(p->mode))
			p->mode |= S_ISGID;
		else if ((p->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && c->uid && !magma_cred_in_group(c, p->gid)) {
			if (!c->has_groups)
				return MAGMA_ENEEDGROUPS;
			p->mode &= ~(guint32)S_ISGID;
		}
	}
	return 0;
}

static int born_part(Op *op, const NewFlare *n, const FlareRow *dir, Part *p)
{
	*p = (Part){ .kind = MARK_BORN, .other = n->dir, .mode = n->mode, .rdev = n->rdev, .symlink = n->symlink, .now = op->now };

	p->target.key = n->key;
	p->client = n->open ? op->hdr.client : 0;
	return inherit(op, dir, p);
}

/* All four replies are one attr. */
G_STATIC_ASSERT(sizeof(struct magma_rep_mkdir) == sizeof(struct magma_rep_create));

static int create_here(Op *op, const NewFlare *n, const FlareRow *dir)
{
	g_autoptr(Draft) d = draft_new(op);
	Part p;
	FlareRow *row;
	int error = born_part(op, n, dir, &p);

	if (!error)
		error = draft_flare(d, &n->dir, &row);

	if (error || (error = state_new_ino(op, &p.target.ino)))
		return error;
	part_apply_all(d, &p);
	draft_add_entry(d, row, n->name, &p.target, p.mode & S_IFMT, op->now);
	struct magma_rep_create rep = { .attr = p.attr };
	if (p.client)
		client_open(op->sl, p.client, op->hdr.xid, &p.target);
	draft_reply(g_steal_pointer(&d), &rep);
	return 0;
}

/* The participants have answered: a draft with the directory's row. It may have been sealed, or its permissions changed, meanwhile: look again. NULL: aborted, or it waits. */
static Draft *directory_again(Op *op, const MagmaFid *fid, FlareRow **row)
{
	g_autoptr(Draft) d = draft_new(op);
	FlareRow dir;
	int error = coord_error(op);

	if (!error)
		error = state_dir(op, fid, &dir);
	if (!error)
		error = draft_flare(d, fid, row);
	if (!error)
		return g_steal_pointer(&d);
	if (error != WAIT)
		coord_abort(op, error);
	return NULL;
}

static void step_created(Op *op)
{
	NewFlare n = new_flare_of(op);
	Part *p = &op->coord->parts[0];
	FlareRow *row;
	g_autoptr(Draft) d = directory_again(op, &n.dir, &row);

	if (!d)
		return;
	draft_add_entry(d, row, n.name, &p->target, p->mode & S_IFMT, op->now);
	struct magma_rep_create rep = { .attr = p->attr };
	coord_commit(op, g_steal_pointer(&d), &rep);
}

static int create(Op *op)
{
	NewFlare n = new_flare_of(op);
	FlareRow dir;
	int error = valid_new(&n);

	if (error || (error = name_may_be_made(op, &n.dir, n.name, &dir)))
		return error;
	switch (core_place(op->sl, &n.key)) {
	case FROZEN:
		return MAGMA_ETRYAGAIN;
	case HERE:
		return create_here(op, &n, &dir);
	case ELSEWHERE:
		break;
	}
	Part born;
	if ((error = born_part(op, &n, &dir, &born)) || (error = state_new_ino(op, &born.target.ino)))
		return error;
	coord_start(op);
	name_lock(op, n.dir.ino, n.name);
	Part *p = coord_part(op, MARK_BORN, &born.target);
	born.local = p->local;
	*p = born;
	coord_prepare(op, 0, step_created);
	return 0;
}

static void create_any(Op *op) { op_fail(op, create(op)); }

void handle_mknod(Op *op) { create_any(op); }
void handle_mkdir(Op *op) { create_any(op); }
void handle_symlink(Op *op) { create_any(op); }
void handle_create(Op *op) { create_any(op); }

/* --- link --- */

static void step_linked(Op *op)
{
	const struct magma_req_link *q = &op->req.req_link;
	Part *p = &op->coord->parts[0];
	FlareRow *row;
	int error;
	g_autoptr(Draft) d = directory_again(op, &q->dir, &row);

	if (!d)
		return;
	if (p->local && ((error = part_check(op, p, op->age)) || (error = part_apply_all(d, p)))) {
		if (error != WAIT)
			coord_abort(op, error);
		return;
	}
	draft_add_entry(d, row, q->name, &p->target, p->attr.mode & S_IFMT, op->now);
	struct magma_rep_link rep = { .attr = p->attr };
	coord_commit(op, g_steal_pointer(&d), &rep);
}

void handle_link(Op *op)
{
	const struct magma_req_link *q = &op->req.req_link;
	FlareRow dir;
	int error = name_may_be_made(op, &q->dir, q->name, &dir);

	if (!error && core_place(op->sl, &q->flare.key) == FROZEN)
		error = MAGMA_ETRYAGAIN;
	if (error) {
		op_finish(op, error);
		return;
	}
	coord_start(op);
	name_lock(op, q->dir.ino, q->name);
	coord_part(op, MARK_REF_ADD, &q->flare);
	coord_prepare(op, 0, step_linked);
}
