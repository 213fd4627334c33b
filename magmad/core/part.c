/* What a participant of an operation over two volcanos checks, and what each phase does to its rows. */
#include "magmad/core/dht.h"
#include "magmad/core/mark.h"

void core_put_cred(GByteArray *out, const MagmaCred *c)
{
	magma_put_u32(out, c->uid);
	magma_put_u32(out, c->gid);
	magma_put_u16(out, c->has_groups ? c->ngroups : 0xffff);
	if (c->has_groups)
		magma_put_bytes(out, c->groups_be, 4 * (gsize)c->ngroups);
}

gboolean core_get_cred(MagmaBytes b, MagmaCred *c)
{
	MagmaReader r = magma_reader(b.data, b.len);

	*c = (MagmaCred){ .uid = magma_get_u32(&r), .gid = 0 };
	c->gid = magma_get_u32(&r);
	guint16 n = magma_get_u16(&r);
	if (n != 0xffff) {
		c->has_groups = TRUE;
		c->ngroups = n;
		c->groups_be = magma_get_bytes(&r, 4 * (gsize)n);
	}
	return !r.error && !r.left;
}

/* Somebody else holds that name: the older waits, the younger backs off (DESIGN section 3), so there is no circle. */
static int name_claim(Op *op, Part *p, guint64 age)
{
	Slice *sl = op->sl;
	NameLock *l = name_holder(sl, p->target.ino, p->name);
	Mark *m = mark_on_name(sl, p->target.ino, p->name);

	if (l && l->owner != op) {
		if (age >= l->owner->age)
			return MAGMA_EBACKOFF;
		op_park(op, &l->wait);
		return WAIT;
	}
	if (m) {
		if (age >= m->row.age)
			return MAGMA_EBACKOFF;
		op_park(op, &m->wait);
		return WAIT;
	}
	return 0;
}

static int check_entry(Op *op, Part *p, guint64 age)
{
	FlareRow dir;
	MagmaCred cred;
	int error = name_claim(op, p, age);

	if (error || (error = state_dir(op, &p->target, &dir)))
		return error;
	if (!core_get_cred(p->cred, &cred))
		return EPROTO;
	if ((error = magma_perm_check(&cred, dir.attr.mode, dir.attr.uid, dir.attr.gid, MAGMA_W | MAGMA_X)))
		return error;
	if ((error = state_entry(op, p->target.ino, p->name, &p->entry)))
		return error == ENOENT && dht_takes(&p->target, p->name) ? EROFS : error;
	p->attr = dir.attr;
	p->dir_mode = dir.attr.mode;
	p->dir_uid = dir.attr.uid;
	return 0;
}

/* Is something prepared there by another operation than the one that asks? (A rename of a/b over a has its own mark in a.) */
static gboolean others_undecided(Op *op, guint64 ino)
{
	GPtrArray *list = marks_of(op->sl, ino);
	const struct magma_req_prepare *q = &op->req.req_prepare;
	guint64 hi = op->coord ? op->coord->op[0] : q->op_hi, lo = op->coord ? op->coord->op[1] : q->op_lo;

	for (guint i = 0; list && i < list->len; i++) {
		const MarkRow *m = &((Mark *)list->pdata[i])->row;
		if (!m->committed && mark_shows(m->kind) && (m->op_hi != hi || m->op_lo != lo))
			return TRUE;
	}
	return FALSE;
}

/* Links that may yet be taken back. */
static guint links_undecided(Slice *sl, guint64 ino)
{
	GPtrArray *list = marks_of(sl, ino);
	guint n = 0;

	for (guint i = 0; list && i < list->len; i++) {
		const MarkRow *m = &((Mark *)list->pdata[i])->row;
		n += m->kind == MARK_REF_ADD && !m->committed;
	}
	return n;
}

static int check_flare(Op *op, Part *p)
{
	FlareRow row;
	MagmaCred cred;
	int error = state_flare(op, &p->target, &row);

	if (error)
		return error == ESTALE ? ENOENT : error;
	p->attr = row.attr;
	switch (p->kind) {
	case MARK_REF_ADD:
		/* the answer says how many links there are */
		if (others_undecided(op, p->target.ino))
			return MAGMA_EBACKOFF;
		if (row.attr.nlink == 0)
			return marks_of(op->sl, p->target.ino) ? MAGMA_EBACKOFF : ENOENT;
		if (row.attr.nlink >= 65000)
			return EMLINK;
		return is_dir(row.attr.mode) ? EPERM : 0;
	case MARK_REF_DROP:
		if (is_dir(row.attr.mode))
			return EISDIR;
		if (row.attr.nlink == 0)
			return marks_of(op->sl, p->target.ino) ? MAGMA_EBACKOFF : ENOENT;
		/* it would take away one that may never have been: then there would be less than none */
		if (row.attr.nlink <= links_undecided(op->sl, p->target.ino))
			return MAGMA_EBACKOFF;
		break;
	case MARK_SEAL:
		if (!is_dir(row.attr.mode))
			return ENOTDIR;
		if (row.sealed)
			return marks_of(op->sl, p->target.ino) ? MAGMA_EBACKOFF : ENOENT;
		if (row.attr.size)        /* an entry may be gone already, or come back */
			return others_undecided(op, p->target.ino) ? MAGMA_EBACKOFF : ENOTEMPTY;
		break;
	case MARK_REPARENT:
		/* a rename before may not have said yet that it is committed: its parent, written when it does, would be the newer one */
		if (mark_undecided(op->sl, p->target.ino, MARK_REPARENT))
			return MAGMA_EBACKOFF;
		p->entry.child = row.parent;      /* kept in the mark, for undoing */
		break;
	default:
		break;
	}
	if (p->kind == MARK_REPARENT && is_dir(row.attr.mode) && p->cred.len && p->other.ino != row.parent.ino) {
		if (!core_get_cred(p->cred, &cred))
			return EPROTO;
		if ((error = magma_perm_check(&cred, row.attr.mode, row.attr.uid, row.attr.gid, MAGMA_W)))
			return error;
	}
	/* mode 1: the directory is sticky and neither it nor root asks, so the child must be the caller's */
	if (p->mode & 1 && p->uid != row.attr.uid)
		return EPERM;
	return 0;
}

static int check_rename_lock(Op *op, guint64 age)
{
	GPtrArray *list = marks_of(op->sl, MAGMA_ROOT_INO);

	for (guint i = 0; list && i < list->len; i++) {
		Mark *m = list->pdata[i];
		if (m->row.kind != MARK_RENAME_LOCK)
			continue;
		if (age >= m->row.age)
			return MAGMA_EBACKOFF;
		op_park(op, &m->wait);
		return WAIT;
	}
	return 0;
}

int part_check(Op *op, Part *p, guint64 age)
{
	switch (p->kind) {
	case MARK_BORN: {
		StoreUsage u;
		op->sl->store->vt->usage(op->sl->store, &u);
		return u.low ? ENOSPC : 0;
	}
	case MARK_LEAVE:
	case MARK_SWAP:
		return check_entry(op, p, age);
	case MARK_RENAME_LOCK:
		return check_rename_lock(op, age);
	default:
		return check_flare(op, p);
	}
}

static void born(Draft *d, Part *p)
{
	FlareRow *row = draft_new_flare(d, &p->target);
	MagmaAttr *a = &row->attr;

	a->mode = p->mode;
	a->nlink = is_dir(p->mode) ? 2 : 1;
	a->uid = p->uid;
	a->gid = p->gid;
	a->rdev = p->rdev;
	a->atime = a->mtime = a->ctime = a->btime = p->now;
	row->parent = p->other;
	row->next_cookie = 1;
	row->target = p->symlink;
	if (S_ISLNK(p->mode))
		a->size = p->symlink.len;
	p->attr = *a;
}

static int apply_entry(Draft *d, Part *p, Phase phase)
{
	FlareRow *dir;
	int error;

	if (phase == PHASE_PREPARE || phase == PHASE_FINAL)
		return 0;
	if ((error = draft_flare(d, &p->target, &dir)))
		return error;
	if (phase == PHASE_COMMIT && p->kind == MARK_LEAVE)
		draft_del_entry(d, dir, p->name, &p->entry, p->now);
	else if (phase == PHASE_COMMIT)
		draft_replace_entry(d, dir, p->name, &p->entry, &p->other, p->mode, p->now);
	return 0;
}

/* A commit that the coordinator lost (its disk did): the entry comes back as it was; beside it, where its name has been given again. */
int part_undo_entry(Op *op, Draft *d, Part *p)
{
	FlareRow *dir;
	EntryRow now;
	char other[64];
	gboolean given = FALSE;
	NameLock *l = name_holder(op->sl, p->target.ino, p->name);

	if (l && l->owner != op) {    /* since the commit the name was anybody's: who holds it counts on what it found there */
		op_park(op, &l->wait);
		return WAIT;
	}
	int error = draft_flare(d, &p->target, &dir);

	if (!error) {
		error = state_entry(op, p->target.ino, p->name, &now);
		given = !error && (p->kind == MARK_LEAVE || now.child.ino != p->other.ino);      /* to what came since */
		if (given) {
			g_snprintf(other, sizeof other, "restored-%016" G_GINT64_MODIFIER "x", p->entry.child.ino);
			p->name = MAGMA_BYTES_STR(other);
		}
		if (error == ENOENT)
			error = p->kind == MARK_LEAVE ? 0 : ENOENT;
	}
	if (error)
		return error;
	if (!dir->attr.nlink) {       /* removed since, and still here: it is back with what is in it, and its names are counted */
		dir->attr.nlink = 2;
		dir->sealed = FALSE;
		scrub_suspect(op->sl, &p->target, draft_txn(d));
	}
	if (given || p->kind == MARK_LEAVE)
		draft_add_entry(d, dir, p->name, &p->entry.child, p->entry.type, p->now);
	else {
		EntryRow was = { .cookie = p->entry.cookie, .child = p->other, .type = p->mode };
		draft_replace_entry(d, dir, p->name, &was, &p->entry.child, p->entry.type, p->now);
	}
	return 0;
}

static int apply_flare(Draft *d, Part *p, Phase phase)
{
	Slice *sl = draft_slice(d);
	FlareRow *row;
	int error = draft_flare(d, &p->target, &row);

	if (error)
		return error;
	switch (p->kind) {
	case MARK_REF_ADD:
		if (phase == PHASE_PREPARE)
			row->attr.nlink++;
		else if (phase == PHASE_ABORT && row->attr.nlink && !--row->attr.nlink && !mark_count(sl, p->target.ino, MARK_REF_DROP))
			draft_destroy(d, row);      /* its other names went meanwhile */
		break;
	case MARK_REF_DROP:
		if (phase == PHASE_PREPARE && row->attr.nlink)
			row->attr.nlink--;
		else if (phase == PHASE_ABORT)
			row->attr.nlink++;
		break;
	case MARK_SEAL:
		if (phase == PHASE_FINAL && row->attr.size) {
			row->sealed = FALSE;         /* part_undo_entry() was here */
			row->attr.nlink = 2;
			scrub_suspect(sl, &p->target, draft_txn(d));
			break;
		}
		row->sealed = phase != PHASE_ABORT;
		if (phase == PHASE_COMMIT)
			row->attr.nlink = 0;
		else if (phase == PHASE_ABORT)
			row->attr.nlink = 2;         /* it is empty */
		break;
	case MARK_REPARENT:
		if (phase == PHASE_COMMIT)
			row->parent = p->other;
		break;
	default:
		break;
	}
	if (phase == (p->kind == MARK_REPARENT ? PHASE_COMMIT : PHASE_PREPARE))
		row->attr.ctime = p->now;
	p->attr = row->attr;
	/* Another removal that is not final may yet give its link back: the last one destroys. (own: this mark itself, where there is one) */
	guint own = p->marked ? 1 : 0;
	if (phase == PHASE_FINAL && p->kind == MARK_REF_DROP && row->attr.nlink == 0 && mark_count(sl, p->target.ino, MARK_REF_DROP) == own)
		draft_destroy(d, row);
	if (phase == PHASE_FINAL && p->kind == MARK_SEAL && row->sealed)
		draft_destroy(d, row);
	return 0;
}

static int born_abort(Draft *d, Part *p)
{
	Slice *sl = draft_slice(d);
	FlareRow *row;
	int error = draft_flare(d, &p->target, &row);

	if (error)
		return error;
	/* Its coordinator lost the name it was born with (its disk did). It may have another by now, or be a directory that is not empty: its names will be counted. */
	if (mark_count_all(sl, p->target.ino) > 1 || row->parent.ino != p->other.ino || (is_dir(row->attr.mode) ? row->attr.size : row->attr.nlink > 1)) {
		if (!is_dir(row->attr.mode) && row->attr.nlink > 1)
			row->attr.nlink--;
		client_close_born(sl, p->target.ino);     /* who was told nothing would never give it back */
		scrub_suspect(sl, &p->target, draft_txn(d));
	} else {
		client_close_all(sl, p->target.ino);      /* opened by the CREATE that is undone */
		draft_destroy(d, row);
	}
	return 0;
}

int part_apply(Draft *d, Part *p, Phase phase)
{
	scrub_touch(draft_slice(d), p->target.ino);
	switch (p->kind) {
	case MARK_BORN:
		if (phase == PHASE_PREPARE)
			born(d, p);
		return phase == PHASE_ABORT ? born_abort(d, p) : 0;
	case MARK_LEAVE:
	case MARK_SWAP:
		return apply_entry(d, p, phase);
	case MARK_RENAME_LOCK:
		return 0;
	default:
		return apply_flare(d, p, phase);
	}
}

int part_apply_all(Draft *d, Part *p)
{
	int error = part_apply(d, p, PHASE_PREPARE);

	if (!error)
		error = part_apply(d, p, PHASE_COMMIT);
	if (!error)
		error = part_apply(d, p, PHASE_FINAL);
	return error;
}
