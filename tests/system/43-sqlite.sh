#!/bin/sh
# timeout: 120
# needs: sqlite3
# An sqlite3 database in the mount: a writer, concurrent readers, integrity_check; with rollback journal and with WAL.
. "${0%/*}/lib.sh"

net_start 2 && mnt a || bail "a network of two"
for mode in delete truncate wal; do
	db=$T/a/$mode.db
	check_eq "$mode: the mode is taken" "$(sqlite3 "$db" "PRAGMA journal_mode=$mode; CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT); CREATE INDEX i ON t(a);")" $mode
	R=''
	for r in 1 2 3; do
		( n=0
		while [ ! -e "$T/$mode.done" ]; do
			# a transaction inserts two rows whose sum is 0: no reader may ever see another sum
			s=$(sqlite3 -cmd '.timeout 20000' "$db" 'SELECT coalesce(sum(a),0) FROM t') || exit 1
			[ "$s" = 0 ] || exit 2
			n=$((n + 1))
		done
		[ $n -gt 0 ] ) >"$T/r.$r" 2>&1 &
		note_pid $!; R="$R $!"
	done
	i=0 bad=0
	while [ $i -lt 60 ]; do
		sqlite3 -cmd '.timeout 20000' "$db" "BEGIN IMMEDIATE; INSERT INTO t(a,b) VALUES($i, hex(randomblob(300))); INSERT INTO t(a,b) VALUES(-$i, hex(zeroblob(200))); COMMIT;" >"$T/out" 2>&1 || { bad=$((bad + 1)); diag_file "$T/out" 2; }
		i=$((i + 1))
	done
	: >"$T/$mode.done"
	check_eq "$mode: 60 transactions" $bad 0
	for r in $R; do wait "$r"; check_eq "$mode: a concurrent reader saw whole transactions only" $? 0; done
	check_eq "$mode: integrity_check" "$(sqlite3 "$db" 'PRAGMA integrity_check')" ok
	check_eq "$mode: every row is there" "$(sqlite3 "$db" 'SELECT count(*) FROM t')" 120
	check "$mode: 20,000 rows in one transaction" sqlite3 "$db" "BEGIN; WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<20000) INSERT INTO t(a,b) SELECT x, hex(randomblob(100)) FROM c; COMMIT; DELETE FROM t WHERE a % 3 = 0; VACUUM;"
	check_eq "$mode: integrity_check after VACUUM" "$(sqlite3 "$db" 'PRAGMA integrity_check')" ok
done
sum=$(sqlite3 "$T/a/delete.db" 'SELECT sum(a*id), count(*) FROM t')
umnt a; net_kill; net_restart; mnt a
check_eq "after kill -9 of all: the same" "$(sqlite3 "$T/a/delete.db" 'SELECT sum(a*id), count(*) FROM t')" "$sum"
check_eq "integrity_check" "$(sqlite3 "$T/a/wal.db" 'PRAGMA integrity_check')" ok
finish
