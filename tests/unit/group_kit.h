/* One volcano, id 1, whole but for the group that votes on the map: group_kit.c stands in for magmad/core/consensus.c, so that a test says who leads, who was heard when and whose lease has run out,
 * and sees what the volcano wants of the group: maps, hand-overs, force. Clock, timers, sessions and disks are the test's, too. Nothing happens by itself. */
#pragma once
#include "magmad/core/consensus.h"
#include "magmad/core/takeover.h"
#include "tests/sim/memstore.h"

enum { KIT_VOLCANOS = 16 };
#define KIT_BEGINS (1000 * SECOND)

/* A session with another volcano's node port, or one that came from somewhere. */
struct Session {
	struct GroupKit *k;
	void *data;
	MagmaAddr to;
	gboolean node;
	GPtrArray *sent;              /* GBytes *, whole messages */
	guint probes;
};

typedef struct GroupKit {
	Volcano *v;
	MagmaTime now;
	/* what the group knows: times of now; 0: never */
	gboolean leads;
	guint16 leader;
	MagmaTime granted[KIT_VOLCANOS], answered[KIT_VOLCANOS], down_at[KIT_VOLCANOS], led_since;
	guint32 incarnation;
	guint32 life[KIT_VOLCANOS];   /* which start of each is heard */
	RaftEntry *committed;
	/* what is wanted of it */
	MagmaMap *proposed;           /* the newest, sealed; NULL: nothing */
	guint proposals;
	guint16 down[KIT_VOLCANOS];   /* named by it */
	guint ndown;
	gboolean gone;
	void (*done)(Volcano *v, void *user, int error);
	void *user;
	guint16 transferred, hinted;  /* the newest; 0: nobody */
	MagmaMap *forced;
	guint yields;
	GString *said;
	/* the world */
	GArray *events;
	guint handles;
	GPtrArray *sessions;          /* Session *, in the order they were made */
	MemDisk *disk;
	GHashTable *disks;            /* slice -> MemDisk * */
	GHashTable *stores;           /* slice -> Store * */
	gboolean begun;
} GroupKit;

/* map: of volcano 1 and others; taken. again: it has been started before. It serves at once: the group takes part. */
GroupKit *kit_new(MagmaMap *map, gboolean again);
GroupKit *kit_new_with(MagmaMap *map, gboolean again, const VolcanoConfig *cfg);
/* It leads, for long, and has heard all others just now. */
GroupKit *kit_leader_of(MagmaMap *map);
/* Of two; it serves slice 1, alone in it. */
GroupKit *kit_serving(void);
void kit_free(GroupKit *k);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GroupKit, kit_free)

/* n volcanos v1..vn, all heard; each at home in a slice of its own, with copies of it in sync at the next `copies - 1`. The first three (of two: one) vote. Sealed. */
MagmaMap *kit_ring(guint n, guint copies);
/* The same with these copies of one slice. */
MagmaMap *kit_ring_with(guint n, guint copies, guint16 slice, guint ncopies, const MagmaCopy *c);
guint kit_voters(const MagmaMap *m);
MagmaSlice *kit_slice(MagmaMap *m, guint16 id);
MagmaCopy *kit_copy(MagmaSlice *s, guint16 volcano);
MagmaVolcano *kit_volcano(MagmaMap *m, guint16 id);
gboolean kit_is(const MagmaMap *m, guint16 id, guint8 flag);
/* "1 v: 2+ 3-" : owner, home where that is another, copies that count or not. */
void kit_slice_is(const MagmaMap *m, guint16 id, const char *text);

/* Of a ring of two: the lower half is on its way from 2 to 1, which has none yet. Sealed. */
void kit_moves_lower_half(MagmaMap *m);

void kit_leads(GroupKit *k);
/* All others are heard at this moment: granted, answered, and down 1.4 s from now. */
void kit_hear(GroupKit *k);
void kit_hear_one(GroupKit *k, guint16 id);
/* It is silent since now; may be declared down then. */
void kit_silent(GroupKit *k, guint16 id, MagmaTime down_at);
/* The group gives a lease until then. */
void kit_lease(GroupKit *k, MagmaTime until);
/* Time passes, timers run. */
void kit_run(GroupKit *k, MagmaTime time);
/* It passes while nothing runs: the process was stopped, and looks at its clock first of all. */
void kit_stand_still(GroupKit *k, MagmaTime time);
/* One look of the planner. NULL: the map stays as it is. Borrowed, until the next. */
const MagmaMap *kit_look(GroupKit *k);
const MagmaMap *kit_must_look(GroupKit *k);       /* never NULL */
/* The proposed map takes it for dead, and the group is told so. */
gboolean kit_named(const GroupKit *k, guint16 id);
/* The group says yes: the proposed map is the map. Or not (an errno). */
void kit_commit(GroupKit *k);
void kit_refuse(GroupKit *k, int error);
/* Looks and commits until nothing changes; how many maps. */
guint kit_settle(GroupKit *k);
/* The map comes from outside. Taken. */
void kit_use(GroupKit *k, MagmaMap *map);
gboolean kit_said(GroupKit *k, const char *part);

/* A session to the volcano's own port, open. */
Session *kit_session(GroupKit *k, gboolean node);
/* That one is asked; it answers at once (TRUE: error and rep are the answer's) or later (kit_answer). rep points into the message. */
gboolean kit_ask(GroupKit *k, Session *s, MagmaOp op, const void *req, int *error, MagmaAny *rep);
gboolean kit_ask_at(GroupKit *k, Session *s, guint64 epoch, MagmaOp op, const void *req, int *error, MagmaAny *rep);
/* The answer to what was asked last on it, if it has come. */
gboolean kit_answer(GroupKit *k, Session *s, int *error, MagmaAny *rep);
/* What the volcano itself asked another one: the newest request of that operation, or FALSE. */
gboolean kit_asked(GroupKit *k, MagmaOp op, MagmaHdr *h, MagmaAny *req, Session **on);
/* ... and is answered. rep NULL: with that error. */
void kit_reply(GroupKit *k, Session *s, const MagmaHdr *h, int error, const void *rep);
