/* The tables of state.db and every statement that runs on them. Tables keyed by an inode number alone have it as sqlite's integer key, shifted so that it sorts as unsigned;
 * the others are clustered by their key's bytes. */
#pragma once

/* X(table, name) */
#define SQL_INO_TABLES(X) X(TAB_FLARE, "flare") X(TAB_DATA, "data") X(TAB_ORPHAN, "orphan") X(TAB_DIRTY, "dirty")
#define SQL_KEY_TABLES(X) X(TAB_META, "meta") X(TAB_ENTRY, "entry") X(TAB_COOKIE, "cookie") X(TAB_XATTR, "xattr") \
	X(TAB_REPLY, "reply") X(TAB_CLIENT, "client") X(TAB_MARK, "mark") X(TAB_COMMIT, "commits")

#define SQL_SCHEMA_INO(t, n) "CREATE TABLE " n "(k INTEGER PRIMARY KEY, rk BLOB NOT NULL, v BLOB NOT NULL);"
#define SQL_SCHEMA_KEY(t, n) "CREATE TABLE " n "(k BLOB PRIMARY KEY, rk BLOB NOT NULL, v BLOB NOT NULL) WITHOUT ROWID;"
#define SQL_SCHEMA \
	"PRAGMA page_size=4096; PRAGMA journal_mode=WAL; BEGIN;" \
	SQL_INO_TABLES(SQL_SCHEMA_INO) SQL_KEY_TABLES(SQL_SCHEMA_KEY) \
	"CREATE TABLE born(rk BLOB NOT NULL, k INTEGER NOT NULL, PRIMARY KEY(rk, k)) WITHOUT ROWID;" \
	"CREATE TABLE fresh0(k INTEGER PRIMARY KEY, rk BLOB NOT NULL); CREATE TABLE fresh1(k INTEGER PRIMARY KEY, rk BLOB NOT NULL);" \
	"CREATE TABLE stale0(k INTEGER PRIMARY KEY, rk BLOB NOT NULL); CREATE TABLE stale1(k INTEGER PRIMARY KEY, rk BLOB NOT NULL);" \
	"CREATE TABLE store(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;" \
	"INSERT INTO store VALUES('applied', 0), ('durable', 0), ('epoch', 0), ('flares', 0), ('used', 0), ('side', 0), ('epochs', x''), ('emptying', 0);" \
	"COMMIT;"

#define SQL_FRAME_KEY_PUT "INSERT INTO store VALUES('journal_key', ?1)"

/* The log is moved by the store's own rule, not by sqlite's; batches need no sync of their own, the journal is the commit point. */
#define SQL_SETUP "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0;"
#define SQL_READER "PRAGMA query_only=1;"

#define SQL_GET(t, n) [t] = "SELECT rk, v FROM " n " WHERE k=?1",
#define SQL_PUT(t, n) [t] = "REPLACE INTO " n "(k, rk, v) VALUES(?1, ?2, ?3)",
#define SQL_DEL(t, n) [t] = "DELETE FROM " n " WHERE k=?1",
#define SQL_SCAN_INO(t, n) [t] = "SELECT k, rk, v FROM " n " WHERE k BETWEEN ?1 AND ?2 ORDER BY k",
#define SQL_SCAN_KEY(t, n) [t] = "SELECT k, rk, v FROM " n " WHERE k >= ?1 AND k < ?2 ORDER BY k",

/* The same for both sides of the index; that of side 1 follows that of side 0. */
#define SQL_SIDES(X, name, before, after) X(name, before "0" after) X(name##_1, before "1" after)

/* All others. X(name, statement).
 * The index of flares by key is `born`. Keys scatter, so it is changed in bulk: entries to come wait in `fresh`, entries to go in `stale`. Both are there twice: batches write to those of one side
 * while those of the other are merged. RANGE is right where nothing waits. */
#define SQL_OTHERS(X) \
	X(BEGIN, "BEGIN") \
	X(BEGIN_WRITE, "BEGIN IMMEDIATE") \
	X(COMMIT, "COMMIT") \
	X(ROLLBACK, "ROLLBACK") \
	X(META_GET, "SELECT (SELECT value FROM store WHERE name='applied'), (SELECT value FROM store WHERE name='durable'), (SELECT value FROM store WHERE name='epoch')," \
		" (SELECT value FROM store WHERE name='flares'), (SELECT value FROM store WHERE name='used'), (SELECT value FROM store WHERE name='epochs')") \
	X(META_PUT, "REPLACE INTO store VALUES('applied', ?1), ('durable', ?2), ('epoch', ?3), ('flares', ?4), ('used', ?5), ('epochs', ?6)") \
	X(EMPTYING_GET, "SELECT value FROM store WHERE name='emptying'") \
	X(EMPTYING_PUT, "REPLACE INTO store VALUES('emptying', ?1)") \
	X(FRAME_KEY_GET, "SELECT value FROM store WHERE name='journal_key'") \
	X(FLARE_UPDATE, "UPDATE flare SET v=?3 WHERE k=?1 AND rk=?2") \
	X(FLARE_DELETE, "DELETE FROM flare WHERE k=?1 RETURNING rk") \
	SQL_SIDES(X, FRESH_PUT, "REPLACE INTO fresh", "(k, rk) VALUES(?1, ?2)") \
	SQL_SIDES(X, FRESH_DEL, "DELETE FROM fresh", " WHERE k=?1 AND rk=?2") \
	SQL_SIDES(X, FRESH_ALL, "SELECT k, rk FROM fresh", "") \
	SQL_SIDES(X, FRESH_CLEAR, "DELETE FROM fresh", "") \
	SQL_SIDES(X, STALE_PUT, "REPLACE INTO stale", "(k, rk) VALUES(?1, ?2)") \
	SQL_SIDES(X, STALE_ALL, "SELECT k, rk FROM stale", "") \
	SQL_SIDES(X, STALE_CLEAR, "DELETE FROM stale", "") \
	X(BORN_IN, "INSERT OR IGNORE INTO born(rk, k) VALUES(?2, ?1)") \
	X(BORN_OUT, "DELETE FROM born WHERE rk=?2 AND k=?1") \
	X(SIDE_PUT, "UPDATE store SET value=?1 WHERE name='side'") \
	X(SIDES_GET, "SELECT (SELECT value FROM store WHERE name='side'), (SELECT count(*) FROM stale0), (SELECT count(*) FROM stale1)," \
		" EXISTS(SELECT 1 FROM fresh0), EXISTS(SELECT 1 FROM fresh1)") \
	X(BORN_AT, "SELECT k FROM born WHERE rk=?1") \
	X(RANGE, "SELECT f.k, f.rk, f.v FROM born b CROSS JOIN flare f ON f.k=b.k WHERE (b.rk, b.k) > (?1, ?2) AND b.rk <= ?3 ORDER BY b.rk, b.k LIMIT ?4")

/* All rows, and what waits for the index. */
#define SQL_EMPTY(t, n) "DELETE FROM " n ";"
#define SQL_EMPTY_ALL SQL_INO_TABLES(SQL_EMPTY) SQL_KEY_TABLES(SQL_EMPTY) "DELETE FROM born; DELETE FROM fresh0; DELETE FROM fresh1; DELETE FROM stale0; DELETE FROM stale1;"

/* For the check; each row is a problem, but "ok". */
#define SQL_CHECK_INTEGRITY "PRAGMA integrity_check(100)"
#define SQL_CHECK_UNINDEXED "SELECT f.k FROM flare f WHERE NOT EXISTS (SELECT 1 FROM born b WHERE b.rk=f.rk AND b.k=f.k) AND NOT EXISTS (SELECT 1 FROM fresh0 h WHERE h.k=f.k AND h.rk=f.rk)" \
	" AND NOT EXISTS (SELECT 1 FROM fresh1 h WHERE h.k=f.k AND h.rk=f.rk) LIMIT 100"
