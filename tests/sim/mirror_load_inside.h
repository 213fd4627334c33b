/* The inside of the load on a mirrored slice: mirror_load.c, mirror_heir.c. */
#pragma once
#include <errno.h>
#include <string.h>
#include "magmad/core/rows.h"
#include "tests/sim/mirror_load.h"

enum { ROWS = 40, FLARES = 6, SIZE_MAX_ = 48 << 10, FAR = 1500 << 10 };

typedef struct {
	guint64 id, index;
	gboolean acked, durable;
	guint n;
	guint8 rows[4];
} Change;

typedef enum { IDLE, INTENT, RUNNING, COMMITTED, SYNCING, CLEARING, RESOLVING, RESOLVED } Stage;
typedef enum { WRITE, TRUNCATE, PUNCH, DROP, SYNC } Kind;

/* What an operation that failed at its owner may have left at a copy: a new owner may show it, until somebody was shown or promised the other. */
typedef struct {
	guint64 lo, hi;
	guint8 byte;
} Left;

typedef struct {
	struct Load *l;
	MagmaFid fid;
	gboolean exists, dirty;
	guint32 intents;
	gboolean content_durable, durable;   /* as it is: its content; its row too */
	GByteArray *bytes;            /* as acknowledged */
	/* the operation under way */
	Stage stage;
	Kind kind;
	guint64 off, len;
	guint8 fill;
	GByteArray *after;
	guint64 touched_lo, touched_hi;
	GByteArray *seen;             /* 1: a read has shown the new byte */
	guint64 index, txn;           /* of its commit */
	guint64 ended;                /* operations */
	/* What a new owner had of it is taken for done; yet another one may not have it, as long as nothing was acknowledged in between. */
	gboolean adopted, old_exists, row_adopted;
	GByteArray *old;
	gboolean found;               /* a power cut left it: anything may be in it */
	gboolean noted, lost;         /* a truncation that is to be completed; its owner was lost */
	GArray *left;                 /* Left */
} Flare;

struct Load {
	MNet *n;
	guint64 next_id, next_ino, generation, done;
	GArray *history;              /* Change: of this line */
	GArray *gone;                 /* guint64: changes that did not survive */
	Flare flares[FLARES];
	gboolean power_failed;        /* everywhere at once */
	gboolean stopped;
};

World *load_world(const Load *l);
void load_be64(guint8 *p, guint64 v);
/* A transaction with so many counters in it. */
guint64 load_commit(Load *l, Txn *t, guint rows);
void load_put_dirty(Txn *t, const Flare *f, gboolean on, guint64 truncate_to);
/* For a callback: which flare, and under which owner. */
typedef struct {
	Flare *f;
	guint64 generation;
	guint64 off, len, ended;
} Ticket;
Ticket *flare_ticket(Flare *f);
Flare *flare_redeem(Ticket *t);        /* NULL: another owner has come */
/* What the owner's disk does not read a copy that counts has. */
void load_check_unread(const Flare *f, int error);
void flare_begin(Flare *f, Kind kind);
void flare_apply(Flare *f);                    /* to what it will be */
void flare_go_on(Flare *f);
void flare_end(Flare *f);                      /* the operation under way */
void flare_resize(GByteArray *b, guint64 size);
gboolean left_may(const Flare *f, guint64 at, guint8 byte);
void left_known(Flare *f, guint64 lo, guint64 hi);

/* mirror_heir.c */
void load_on_lost(void *user);
void load_on_owner(void *user);
