/* Inside of the check: what its files share. */
#pragma once
#include "magmad/store/check.h"
#include "magmad/store/db.h"
#include "magmad/core/rows.h"

typedef struct {
	const char *dir;
	const StoreCheckOptions *opt;
	StoreCheck *out;
	Db *db;
	guint64 now;                  /* microseconds since 1970 */
	/* Sets of inode numbers; a 64-bit pointer is one. */
	GHashTable *named;            /* some entry of this folder leads to it */
	GHashTable *marked, *orphans, *dirty;
	GHashTable *sizes;            /* directory -> number of its entries */
	guint64 strays, stray_bytes;  /* contents in a copy's store that no flare has */
} Check;

void check_problem(Check *c, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void check_note(Check *c, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Calls fn for all rows of a table in order. */
void check_each(Check *c, StoreTable t, void (*fn)(Check *c, const StoreRow *row));
/* A row's value, to be freed; NULL when there is none. */
RowValue *check_get(Check *c, StoreTable t, const void *key, gsize klen);
/* The flare of that number, where its row is here and readable. */
gboolean check_flare(Check *c, guint64 ino, FlareRow *row, RowValue **hold);
#define INO_SET(ino) GSIZE_TO_POINTER((gsize)(ino))

/* check_rows.c */
void check_rows(Check *c);
/* check_content.c */
void check_content_of(Check *c, const FlareRow *row);
void check_content_files(Check *c);
