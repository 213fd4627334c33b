/* Row values: what stands under the keys of core/store.h. Integers big-endian; the first byte of a value is its version. Pure. */
#pragma once
#include "libmagma/proto/list.h"
#include "magmad/core/store.h"

enum { CONTENT_INLINE = 0, CONTENT_FILE = 1 };     /* where a regular file's bytes are: TAB_DATA, or the content file */

/* TAB_FLARE */
typedef struct {
	MagmaAttr attr;               /* size of a directory: its number of entries */
	MagmaFid parent;              /* where it got its last name; of a directory: its parent (the root's: itself) */
	guint64 next_cookie;          /* directories: of the next entry; never reused within a directory's life */
	guint8 content;               /* CONTENT_* */
	guint32 intents;              /* changes with each write intent (TAB_DIRTY), and when a move brings the row: where two copies of a slice have the same row, and none has an intent, the content is the same */
	guint8 sealed;                /* directories: removed; nothing may be made in it any more */
	MagmaBytes target;            /* symlinks; points into the row */
} FlareRow;

/* TAB_ENTRY and, with the name, TAB_COOKIE */
typedef struct {
	guint64 cookie;
	MagmaFid child;
	guint32 type;                 /* S_IFMT bits */
} EntryRow;

/* Prepared work of an operation over two volcanos, as its participant keeps it (core/mark.h). */
typedef enum {
	MARK_BORN = 1,                /* the flare was made; undo removes it */
	MARK_REF_ADD,                 /* one link more; undo takes it back */
	MARK_REF_DROP,                /* one link less; undo gives it back, final removes a flare without links */
	MARK_SEAL,                    /* an empty directory closed for good; final removes it */
	MARK_LEAVE,                   /* target: a directory; its entry `name` goes; undo puts it back */
	MARK_SWAP,                    /* target: a directory; its entry `name` will lead to `swap` */
	MARK_REPARENT,                /* the flare gets another parent */
	MARK_RENAME_LOCK,             /* target: the root; the one lock for moving directories */
	MARK_KINDS
} MarkKind;

typedef struct {
	guint64 op_hi, op_lo;
	MagmaFid target;
	MarkKind kind;
	guint64 age;                  /* of the operation's first try, microseconds since 1970: the older goes first */
	MagmaFid coord;               /* the coordinating directory: its key routes RESOLVE */
	guint8 committed;             /* the coordinator has committed; the effect is in place */
	MagmaFid other;               /* SWAP: the new child; REPARENT: the new parent */
	EntryRow entry;               /* LEAVE, SWAP: the entry as it was */
	guint32 type;                 /* SWAP: type of the new child */
	MagmaBytes name;              /* LEAVE, SWAP */
} MarkRow;

void flare_row_encode(const FlareRow *r, GByteArray *out);
gboolean flare_row_decode(const guint8 *p, gsize n, FlareRow *r);
void entry_row_encode(const EntryRow *e, GByteArray *out);
gboolean entry_row_decode(const guint8 *p, gsize n, EntryRow *e);
/* TAB_COOKIE's value: the entry and its name. The cookie stands in the key too. */
void cookie_row_encode(const EntryRow *e, const guint8 *name, gsize len, GByteArray *out);
gboolean cookie_row_decode(const guint8 *p, gsize n, EntryRow *e, MagmaBytes *name);
void mark_row_encode(const MarkRow *m, GByteArray *out);
gboolean mark_row_decode(const guint8 *p, gsize n, MarkRow *m);

/* Row keys into k[STORE_KEY_MAX]; the length is returned. */
gsize key_ino(guint8 *k, guint64 ino);
gsize key_ino_bytes(guint8 *k, guint64 ino, const guint8 *name, gsize len);
gsize key_ino_u64(guint8 *k, guint64 ino, guint64 second);
gsize key_mark(guint8 *k, guint64 op_hi, guint64 op_lo, guint64 ino, MarkKind kind);

/* TAB_COMMIT's value: u8 version, u32 count, then per participant fid and u8 kind; then, where there are any, u32 count and fids: flares whose names a LEAVE or
 * SWAP at another volcano changes. */
typedef struct { MagmaFid target; guint8 kind; } CommitPart;
enum { COMMIT_NAMED_MAX = 2 };
void commit_row_encode(const CommitPart *parts, guint n, const MagmaFid *named, guint n_named, GByteArray *out);
/* Appends to parts (CommitPart) and named (MagmaFid); FALSE for bytes that are no commit row. */
gboolean commit_row_decode(const guint8 *p, gsize n, GArray *parts, GArray *named);

/* TAB_CLIENT's value: when it expired, seconds since 1970 (0: it lives), and the watermark that its stored replies were dropped by. An older version's has the first alone. */
enum { CLIENT_ROW_BYTES = 16 };
gsize client_row_encode(guint8 *val, gint64 gone, guint64 floor);
gboolean client_row_decode(const guint8 *p, gsize n, gint64 *gone, guint64 *floor);
