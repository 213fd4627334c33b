/* Who may do what: path_resolution(7), inode(7), chmod(2), chown(2), with root as the holder of all capabilities. */
#include "libmagma/flare/flare.h"
#include "libmagma/base/err.h"
#include "libmagma/base/wire.h"
#include <errno.h>

typedef enum { NO, YES, UNKNOWN } Member;

static Member member(const MagmaCred *c, guint32 gid)
{
	if (magma_cred_in_group(c, gid))
		return YES;
	return c->has_groups ? NO : UNKNOWN;
}

gboolean magma_cred_in_group(const MagmaCred *c, guint32 gid)
{
	if (c->gid == gid)
		return TRUE;
	if (!c->has_groups)
		return FALSE;
	for (guint i = 0; i < c->ngroups; i++)
		if (magma_be32_load(c->groups_be + 4 * i) == gid)
			return TRUE;
	return FALSE;
}

int magma_perm_check(const MagmaCred *c, guint32 mode, guint32 uid, guint32 gid, guint32 want)
{
	gboolean as_group, as_other;

	want &= MAGMA_R | MAGMA_W | MAGMA_X;
	if (c->uid == 0)
		return want & MAGMA_X && !S_ISDIR(mode) && !(mode & (S_IXUSR | S_IXGRP | S_IXOTH)) ? EACCES : 0;
	if (c->uid == uid)
		return want & ~(mode >> 6) ? EACCES : 0;
	as_group = !(want & ~(mode >> 3));
	as_other = !(want & ~mode);
	if (as_group != as_other)
		switch (member(c, gid)) {
		case YES: return as_group ? 0 : EACCES;
		case NO: break;
		case UNKNOWN: return MAGMA_ENEEDGROUPS;
		}
	return as_other ? 0 : EACCES;
}

int magma_perm_sticky(const MagmaCred *c, guint32 dir_mode, guint32 dir_uid, guint32 child_uid)
{
	return !(dir_mode & S_ISVTX) || c->uid == 0 || c->uid == dir_uid || c->uid == child_uid ? 0 : EPERM;
}

int magma_perm_chmod(const MagmaCred *c, const MagmaAttr *a, guint32 *mode)
{
	if (c->uid == 0)
		return 0;
	if (c->uid != a->uid)
		return EPERM;
	if (*mode & S_ISGID)
		switch (member(c, a->gid)) {
		case YES: break;
		case NO: *mode &= ~(guint32)S_ISGID; break;
		case UNKNOWN: return MAGMA_ENEEDGROUPS;
		}
	return 0;
}

int magma_perm_chown(const MagmaCred *c, const MagmaAttr *a, guint32 uid, guint32 gid)
{
	const guint32 leave = (guint32)-1;

	if (c->uid == 0 || (uid == leave && gid == leave))
		return 0;
	if (c->uid != a->uid || (uid != leave && uid != a->uid))
		return EPERM;
	if (gid == leave || gid == a->gid)
		return 0;
	switch (member(c, gid)) {
	case YES: return 0;
	case NO: return EPERM;
	default: return MAGMA_ENEEDGROUPS;
	}
}

guint32 magma_mode_killpriv(guint32 mode)
{
	if (S_ISDIR(mode))
		return mode;    /* there the bits mean inheritance */
	if (mode & S_IXGRP)
		mode &= ~(guint32)S_ISGID;      /* without S_IXGRP it once meant mandatory locking */
	return mode & ~(guint32)S_ISUID;
}
