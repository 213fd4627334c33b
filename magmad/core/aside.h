/* What this volcano has set aside (VolcanoIo.aside_*): the stores of a history that does not stand. Each is compared with what stands, once (aside_compare.c); what differs is then known by name, kept, and shown under
 * /.dht/conflicts/NICKNAME/TIME (dht_aside.c), until an operator clears it. Nothing is ever committed into these stores. Loop thread only. */
#pragma once
#include "libmagma/lava/conflict.h"
#include "magmad/core/core.h"

#define ASIDE_STORES_MAX 64           /* the volcano's own slice's, and those of slices it acted for or had copies of */

typedef struct Aside Aside;
typedef struct Compare Compare;

/* An entry of a directory that is shown: it differs, or something below it does. */
typedef struct {
	guint64 cookie, child;        /* child: its ino in the stores */
	guint32 type;
	char *name;
} AsideEntry;

typedef struct {
	GArray *entries;              /* AsideEntry, by cookie */
	GHashTable *names;            /* name -> index + 1 */
} AsideDir;

struct Aside {
	Volcano *v;
	MagmaConflict is;
	GPtrArray *stores;            /* Store *; NULL: not open */
	guint users;                  /* AsideReads: it stays open */
	MagmaTime used;
	gboolean clearing;            /* is removed when the last user is gone; nobody finds it any more */
	gboolean removing;
	void (*cleared)(void *user, int error);
	void *cleared_user;
	GHashTable *dirs;             /* ino -> AsideDir * */
	Compare *compare;
};

/* At the start: what is there, and what was found out about it. */
void asides_start(Volcano *v);
void asides_tick(Volcano *v);
void asides_clear(Volcano *v);
/* MagmaConflict of each; the caller's. */
GArray *asides_list(Volcano *v);
/* The same as bytes, for STATUS. */
void asides_status(Volcano *v, GByteArray *out);
Aside *aside_find(Volcano *v, guint64 time);          /* NULL: there is none */
/* From disk too. done: 0, ENOENT, an errno; once, perhaps from inside. */
void aside_remove(Volcano *v, guint64 time, void (*done)(void *user, int error), void *user);
/* 0, or EIO: the stores cannot be opened. */
int aside_open(Aside *a);
const AsideDir *aside_dir(const Aside *a, guint64 ino);       /* NULL: nothing in it is shown */
const AsideEntry *aside_entry(const Aside *a, guint64 dir, const char *name);
void aside_show(Aside *a, guint64 dir, const AsideEntry *e);  /* copied; behind those that are there */
/* The comparison is over: what is shown is kept. */
void aside_compared(Aside *a, int error);
/* What is shown, as it is kept; FALSE for bytes that are not that. */
void aside_encode(const Aside *a, GByteArray *out);
gboolean aside_decode(Aside *a, const guint8 *p, gsize n);

/* --- rows of all its stores; a flare's are in one of them --- */
typedef struct AsideRead AsideRead;
/* ready: what was waited for is there. An open Aside only. */
AsideRead *aside_read_new(Aside *a, void (*ready)(void *user), void *user);
void aside_read_free(AsideRead *r);
void aside_read_reset(AsideRead *r);                  /* what was brought is no longer needed */
Aside *aside_read_of(AsideRead *r);
/* 0, ESTALE, EIO, WAIT. *store: where its rows and content are. */
int aside_flare(AsideRead *r, guint64 ino, FlareRow *row, Store **store);
/* 0, ENODATA, WAIT. */
int aside_value(AsideRead *r, Store *store, StoreTable t, const void *key, gsize klen, const guint8 **val, gsize *n);

/* aside_compare.c */
Compare *compare_new(Aside *a);
void compare_free(Compare *c);
