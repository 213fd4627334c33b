/* What the tests of libmagma/client share: calls whose answers are noted, and volcanos that misbehave on purpose. */
#pragma once
#include "tests/unit/fake.h"

typedef struct {
	gboolean done;
	int error;
	guint calls;
	MagmaAny rep;
	MagmaAttr attr;
} Result;

/* A done callback: notes the answer in the Result. */
void on_reply(void *user, int error, const MagmaAny *rep, GBytes *msg);
guint64 getattr(MagmaClient *c, const MagmaFid *fid, Result *r);
guint64 mkdir_in_root(MagmaClient *c, const char *name, Result *r);

/* Hooks: each knows one operation and counts. */
typedef struct {
	MagmaOp op;
	guint times;                  /* the first so many */
	Verdict verdict;
	guint32 error;
	Fake *only;
} Trick;

void play(World *w, Trick *t);
/* A file that this volcano owns. */
Flare *make_at(World *w, Fake *owner);
