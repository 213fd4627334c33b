/* What histories are checked against: a few names, and a flare of equal blocks, as a single volcano without faults would have them. */
#pragma once
#include "tests/sim/lincheck.h"

/* --- names: cells that lead to a flare each, or to nothing --- */

enum { NAMES = 6 };
typedef enum { NAME_CREATE, NAME_UNLINK, NAME_LOOKUP, NAME_RENAME, NAME_NOREPLACE, NAME_EXCHANGE } NameKind;

/* Flares made by a create that never answered have no known number: they are called by this until somebody sees one. */
#define NAME_UNSEEN ((guint64)1 << 63)

typedef struct {
	guint32 kind, from, to;       /* create, unlink, lookup: from */
	gint32 error;
	guint64 ino;                  /* made, removed, found, moved */
	guint64 replaced;
	guint64 unseen;               /* create: NAME_UNSEEN and a number of its own */
	guint64 strange;              /* ino (1) or replaced (2) is of no create that answered */
} NameOp;

typedef struct { guint64 cell[NAMES]; } NameState;
extern const LinModel lin_names;

/* --- a flare --- */

enum { BLOCKS = 24, BLOCK_ANY = 255 };
typedef enum { FLARE_GETATTR, FLARE_CHMOD, FLARE_READ, FLARE_WRITE, FLARE_APPEND, FLARE_TRUNCATE } FlareKind;

/* A block is filled with one token; 0: a hole; BLOCK_ANY, in a read: a write was torn there by a crash. */
typedef struct {
	guint32 kind;
	guint32 mode;                 /* asked for, or seen */
	guint32 at, token;            /* write: where; truncate: new number of blocks */
	guint32 blocks;               /* size that was seen */
	guint8 content[BLOCKS];       /* read */
} FlareOp;

typedef struct {
	guint32 mode, blocks;
	guint8 content[BLOCKS];
} FlareState;
extern const LinModel lin_flare;
