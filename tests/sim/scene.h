/* Networks that a test sets up by hand, what it asks of them, and a client that appends while it does. Where something cannot be, the test ends. */
#pragma once
#include "tests/sim/cluster-internal.h"

#define MS ((gint64)1000)
#define SEC (1000 * MS)

/* Of the half that the second volcano gets. */
static const MagmaKey upper = { .b = { 0xff } };

/* The first volcano serves. */
Cluster *network_of(guint32 seed, guint copies);
Cluster *network(guint32 seed);                      /* one copy */
/* It takes the upper half of the keys. */
void join_second(Cluster *c);
/* Three volcanos that all vote, two copies of everything. */
Cluster *three(guint32 seed);
Cluster *three_of(guint32 seed, guint copies, guint64 journal_keep);

/* For cluster_run_until(); user: the Cluster. */
gboolean first_serves(void *user);
gboolean second_serves(void *user);
gboolean at_home(void *user);
gboolean move_is_known(void *user);                  /* to the second one */

/* The newest map that any of them has. */
const MagmaMap *newest(Cluster *c);
const MagmaSlice *slice_of(Cluster *c, guint16 id);  /* in it */
guint index_of(Cluster *c, guint16 id);
/* Both ends of each hear of it within 300 ms; what is on its way is lost. */
void lose_sessions_between(Cluster *c, guint a, guint b);

MagmaAny must(SimClient *s, MagmaOp op, const void *req);      /* no error */
MagmaFid make_file(SimClient *s, const char *name, MagmaKey key);
void write_bytes(SimClient *s, const MagmaFid *fid, guint64 offset, guint8 what, gsize n);
MagmaAttr attr_of(SimClient *s, const MagmaFid *fid);

typedef struct {
	gboolean done;
	int error;
	MagmaAttr attr;
} Answer;

void answered(void *answer, int error, const MagmaAny *rep);
gboolean is_answered(void *answer);

/* --- a client that appends to a few files, one token after the other --- */

enum { FILES = 8, TOKEN = 100 };

typedef struct {
	Cluster *c;
	SimClient *s;
	MagmaFid fid[FILES];
	guint next, acked[FILES];
	Answer last;
} Tokens;

/* Files with such keys, in the root. */
Tokens *tokens_new(Cluster *c, MagmaKey key);
/* The first one; the others follow while these run. */
void token_ask(Tokens *t);
void tokens_run(Tokens *t, gint64 time);
void tokens_until(Tokens *t, gboolean (*fn)(void *user), void *user);      /* within 60 s */
/* Each is there once. The network is whole, and rests. Frees t. */
void tokens_end(Tokens *t);
