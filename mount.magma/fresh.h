/* stat(2) of a path comes as LOOKUP and, because nothing may be cached, at once as GETATTR; access(2) and chdir(2) as LOOKUP and ACCESS. Within one
 * system call the second question has the answer to the first. It is taken only where the thread asked nothing else in between, and asks so soon
 * that it cannot have heard of a change since; and not after this mount has acknowledged any change. */
#pragma once
#include "mount.magma/mount.h"

/* A lookup by thread tid, made when m->changes was that, found this; its reply is about to be sent. */
void fresh_note(Mount *m, pid_t tid, guint64 changes, const MagmaAttr *a);
/* Thread tid asks something else. */
static inline void fresh_drop(Mount *m, pid_t tid) { m->fresh[(guint)tid % G_N_ELEMENTS(m->fresh)].tid = 0; }
/* Attributes for a GETATTR or ACCESS of that flare by tid, or NULL; they are good once. */
const MagmaAttr *fresh_take(Mount *m, pid_t tid, const MagmaFid *fid);
