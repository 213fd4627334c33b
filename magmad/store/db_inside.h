/* Inside of a connection: what reading (db.c) and writing (db_write.c) share. */
#pragma once
#include "magmad/store/db.h"
#include "magmad/store/sql.h"
#include <sqlite3.h>

enum { ST_GET, ST_PUT, ST_DEL, ST_SCAN, ST_KINDS };

#define SQL_ENUM(name, statement) SP_##name,
enum { SQL_OTHERS(SQL_ENUM) SP_COUNT };

struct Db {
	sqlite3 *db;
	sqlite3_stmt *st[ST_KINDS][TAB_COUNT], *sp[SP_COUNT];
	GPtrArray *log;
	gboolean reading;
	guint wal_pages;
	guint stale;                  /* rows of those tables, about */
	gboolean side;                /* whose tables of the index batches write to */
	gboolean merging;             /* those of the other side are not empty, or being merged */
};

/* Tables whose key is an inode number alone. */
gboolean ino_table(StoreTable t);
/* Unsigned order in sqlite's signed integers. */
static inline gint64 ino_to_sql(guint64 ino) { return (gint64)(ino ^ G_GUINT64_CONSTANT(0x8000000000000000)); }
static inline guint64 ino_from_sql(gint64 k) { return (guint64)k ^ G_GUINT64_CONSTANT(0x8000000000000000); }
void db_bind_key(sqlite3_stmt *st, StoreTable t, const void *key, gsize klen);
void db_column_rk(sqlite3_stmt *st, int col, MagmaKey *rk);
/* Runs one of the statements without parameters. */
int db_run(Db *d, guint which);
/* Steps a statement with its parameters bound, to its end. */
int db_step_done(sqlite3_stmt *st);
/* Some of sqlite's I/O errors are a full disk. */
int db_full_or(Db *d, int rc);
/* What failed left a transaction open or not. */
void db_roll_back(Db *d);
