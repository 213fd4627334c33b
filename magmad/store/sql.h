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
	"CREATE INDEX flare_rk ON flare(rk);" \
	"CREATE TABLE store(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;" \
	"INSERT INTO store VALUES('applied', 0), ('durable', 0), ('epoch', 0), ('flares', 0), ('used', 0);" \
	"COMMIT;"

/* The log is moved by the store's own rule, not by sqlite's; batches need no sync of their own, the journal is the commit point. */
#define SQL_SETUP "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0;"
#define SQL_READER "PRAGMA query_only=1;"

#define SQL_GET(t, n) [t] = "SELECT rk, v FROM " n " WHERE k=?1",
#define SQL_PUT(t, n) [t] = "REPLACE INTO " n "(k, rk, v) VALUES(?1, ?2, ?3)",
#define SQL_DEL(t, n) [t] = "DELETE FROM " n " WHERE k=?1",
#define SQL_SCAN_INO(t, n) [t] = "SELECT k, rk, v FROM " n " WHERE k BETWEEN ?1 AND ?2 ORDER BY k LIMIT ?3",
#define SQL_SCAN_KEY(t, n) [t] = "SELECT k, rk, v FROM " n " WHERE k >= ?1 AND k < ?2 ORDER BY k LIMIT ?3",

/* The flare's key never changes, so an update leaves the index alone. */
#define SQL_FLARE_UPDATE "UPDATE flare SET v=?3 WHERE k=?1 AND rk=?2"
#define SQL_RANGE "SELECT k, rk, v FROM flare WHERE (rk, k) > (?1, ?2) AND rk <= ?3 ORDER BY rk, k LIMIT ?4"
#define SQL_META_GET "SELECT (SELECT value FROM store WHERE name='applied'), (SELECT value FROM store WHERE name='durable')," \
	" (SELECT value FROM store WHERE name='epoch'), (SELECT value FROM store WHERE name='flares'), (SELECT value FROM store WHERE name='used')"
#define SQL_META_PUT "REPLACE INTO store VALUES('applied', ?1), ('durable', ?2), ('epoch', ?3), ('flares', ?4), ('used', ?5)"
