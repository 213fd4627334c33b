/* What a volcano keeps (VolcanoIo.keep), read again. Knows no volcano. Pure; any thread. */
#pragma once
#include "libmagma/lava/map.h"
#include "magmad/raft/raft.h"

/* ASIDE: the same, and the stores are to be set aside before the next start. QUESTION: takeover_in_question() */
enum { KEPT_FORMAT = 1, KEPT_ASIDE, KEPT_QUESTION };

typedef struct {
	guint16 id;
	guint32 starts;
	gboolean question;
	MagmaMap *map;
	RaftState *state;
} Kept;

/* FALSE: bytes that are not it. out is to be cleared either way. */
gboolean kept_decode(GBytes *kept, Kept *out);
void kept_clear(Kept *k);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Kept, kept_clear)
