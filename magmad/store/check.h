/* Checks a volcano's folder while no magmad uses it, and changes nothing in it: what the journal has beyond sqlite is put in inside a transaction that is rolled back. Blocks. */
#pragma once
#include "magmad/core/store.h"
#include "magmad/store/journal.h"

typedef struct {
	guint64 older_than;           /* seconds after which prepared work hangs */
	gboolean locked;              /* the caller has diskstore_lock(dir) */
	gboolean copy;                /* of a slice that may be another volcano's: it keeps contents of flares that are gone until it becomes owner */
	void (*row)(void *user, const StoreRow *row);     /* each row in order, or NULL */
	void *user;
} StoreCheckOptions;

typedef struct {
	guint64 applied, durable;     /* of sqlite: journal index, and what was durable when it was written */
	JournalScan journal;
	gboolean journal_readable;
	guint64 rows[TAB_COUNT];
	guint64 directories, files, symlinks, others;
	guint64 nameless;             /* files without an entry in the directory that they name, which is here: they may have one anywhere */
	guint64 inline_bytes, content_files, content_bytes;
	GPtrArray *problems;          /* char *: what magmad would not have left so */
	GPtrArray *notes;             /* char *: what a start will see to */
} StoreCheck;

void store_check_clear(StoreCheck *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoreCheck, store_check_clear)
/* FALSE: the folder cannot be checked at all (none of ours, in use, not readable). out is filled either way and is to be cleared. */
gboolean store_check(const char *dir, const StoreCheckOptions *opt, StoreCheck *out, GError **error);
const char *store_table_name(StoreTable t);
