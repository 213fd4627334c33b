/* A store in memory behind core/store.h, for simulated networks: the same promises as the disk store, no file, no thread, no clock. What may be late is late by the seed:
 * gets answer PENDING, journal acknowledgements, syncs, scans and content operations come through the simulator's scheduler. What survives a crash is a MemDisk. */
#pragma once
#include "magmad/core/store.h"

typedef struct MemDisk MemDisk;       /* survives its store */
MemDisk *memdisk_new(void);
void memdisk_free(MemDisk *d);

/* What a disk does not read. ALL: no scan and no frame either, and syncs fail, and with them the store. */
typedef enum { UNREAD_NOTHING, UNREAD_CONTENTS, UNREAD_ALL } MemUnread;

typedef struct {
	guint32 seed;
	guint pending_permille;       /* gets of rows not in memory that answer PENDING */
	guint at_once_permille;       /* content operations that call done before they return */
	gboolean one_of_several;      /* as in the disk store's configuration */
	gint64 delay_max;             /* microseconds: everything late is late by 0..delay_max */
	guint writeback_permille;     /* of pages that were not synced, how many are on the disk when the power goes */
	const guint64 *turn;          /* counts turns of the loop: a row that was found stays so for the rest of its turn; NULL: not even that */
	/* Runs fn(arg) after delay. The store never cancels: after a crash fn finds out itself that nobody waits. */
	void (*later)(void *user, gint64 delay, void (*fn)(void *arg), void *arg);
	MemUnread (*unread)(void *user);          /* just now; NULL: it reads */
	void *user;
} MemStoreConfig;

/* A disk has at most one store at a time. */
Store *memstore_open(MemDisk *disk, const MemStoreConfig *cfg);
/* Everything committed is on the disk; nothing is called any more. */
void memstore_close(Store *s);
/* As kill -9: transactions behind journal index k are lost (written <= k <= the last index), of fills behind k perhaps some; of content operations not done, each flare keeps the first few, the last of them perhaps in part. */
void memstore_crash(Store *s, guint64 k);
/* As a power cut: everything not synced is lost, rows and (but for writeback_permille) contents. */
void memstore_power_cut(Store *s);

/* For the tests' questions and troubles. */
guint64 memstore_index(Store *s);
guint64 memstore_written(Store *s);
guint64 memstore_durable(Store *s);
void memstore_set_full(Store *s, gboolean full);      /* usage().low, and ENOSPC for contents that grow */
void memstore_fail(Store *s, const char *text);       /* the journal cannot be written any more */
/* Every sync of the journal fails so (0: none does); how many were asked for since. */
void memstore_fail_syncs(Store *s, int error);
guint memstore_syncs(Store *s);
void memstore_syncs_take(Store *s, gint64 time);      /* so much longer, of those that are begun now */
/* All rows of a table in order, as the last commit left them. */
void memstore_each(Store *s, StoreTable t, void (*fn)(void *user, const StoreRow *row), void *user);
