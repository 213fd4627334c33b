#include "mount.magma/fresh.h"

/* The kernel asks again within 5-20 us on an idle machine. To see an old answer here, a thread would have to make a lookup, hear from another mount of
 * a change that was made after it, and fstat(2), all in this time: less than a message from there takes. */
#define FRESH_US 50

void fresh_note(Mount *m, pid_t tid, guint64 changes, const MagmaAttr *a)
{
	guint at = (guint)tid % G_N_ELEMENTS(m->fresh);
	m->fresh[at].tid = tid;
	m->fresh[at].answered = g_get_monotonic_time();
	m->fresh[at].changes = changes;
	m->fresh[at].attr = *a;
}

const MagmaAttr *fresh_take(Mount *m, pid_t tid, const MagmaFid *fid)
{
	guint at = (guint)tid % G_N_ELEMENTS(m->fresh);
	if (!tid || m->fresh[at].tid != tid)
		return NULL;
	m->fresh[at].tid = 0;
	if (m->fresh[at].changes != m->changes)
		return NULL;
	if (!magma_fid_equal(&m->fresh[at].attr.fid, fid) || g_get_monotonic_time() - m->fresh[at].answered > FRESH_US)
		return NULL;
	return &m->fresh[at].attr;
}
