#!/bin/sh
# timeout: 280
# Faults while trees of files come and go, of which each has a content file of its own: what a volcano looks at when it takes over, and what a copy compares when it comes back, must not grow with them.
# One of three is killed while a tree is copied in, while one is removed and after that, stopped while another comes in, and lost for good. Clients see the pauses that they see without, the copies
# are there again before long, nothing is lost.
# MAGMA_FILES: of a tree (12000 and more by hand).
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"

N=${MAGMA_FILES:-1200} SIZE=20000
net_start 3 && mnt a && VIA=2 mnt b || bail "a network of three"
failover_known
failover || { no_failover "trees of files come and go while volcanos are killed"; finish; }
mkdir "$T/src" && head -c $((N * SIZE)) /dev/urandom | (cd "$T/src" && split -a 4 -b $SIZE - f) || bail "a tree to copy"
load_start w a b || bail "the load moves"

has() { [ "$(ls "$1" 2>/dev/null | wc -l)" -ge "$2" ]; }
fewer() { [ "$(ls "$1" 2>/dev/null | wc -l)" -lt "$2" ]; }
begin() { "$@" & WORK=$!; note_pid $WORK; }
ended() { if wait $WORK; then ok "$1"; else not_ok "$1"; fi; }
goes_on() { # WHAT LIMIT
	load_moves 20 "$FAULT_AT" || not_ok "$1: the clients go on"
	fault_pause "$1" "$2"
}
healed() { at=$(ms); net_healed 60; diag "$1: the copies are there again after $(($(ms) - at)) ms"; }
killed() { # VOLCANO WHAT
	fault_begin; volcano_kill "$1"
	goes_on "$2" 2000
	volcano_restart "$1" || not_ok "$2: volcano $1 starts again"
	healed "$2"
}

cp -r "$T/src" "$T/b/old" || bail "a tree is copied in"
begin cp -r "$T/src" "$T/a/one"
wait_for 60 has "$T/b/one" $((N / 3)) || not_ok "a third of the tree is there"
check "it is still being copied" alive $WORK
killed 2 "killed while a tree is copied in"
ended "the tree is copied in"
check "the other client sees it whole" diff -r "$T/src" "$T/b/one"

begin rm -r "$T/b/old"
wait_for 60 fewer "$T/a/old" $((N - N / 10)) || not_ok "some of the tree is removed"
check "it is still being removed" alive $WORK
killed 3 "killed while a tree is removed"
ended "the tree is removed"
check "nothing of it is there for the other client" test ! -e "$T/a/old"
killed 1 "killed after a tree was removed"

begin cp -r "$T/src" "$T/a/two"
wait_for 60 has "$T/b/two" $((N / 10)) || not_ok "some of the next tree is there"
p=$(vpid 2); stopped() { grep -q '^State:[[:space:]]*T' "/proc/$p/status"; }
check "the next one is still being copied" alive $WORK
fault_begin; kill -STOP "$p"
wait_for 5 stopped || not_ok "volcano 2 stands still"
goes_on "stopped while a tree is copied in" 4000
kill -CONT "$p"
healed "stopped while a tree is copied in"
ended "the next tree is copied in"
check "the other client sees that one, too" diff -r "$T/src" "$T/b/two"

fault_begin; volcano_kill 2; rm -rf "$T/v2"
goes_on "lost" 2000
volcano_join 2 1 || not_ok "an empty folder takes its place"
healed "lost"
load_end "trees come and go"
for m in a b; do load_verify "trees come and go, mount $m" $m; done
for d in one two; do check "$d is whole" diff -r "$T/src" "$T/a/$d"; done
umnt a; umnt b
copies_verify "trees come and go"
net_stop
for v in 1 2 3; do check "the store of volcano $v is in order" store_in_order $v; done
pauses_table
finish
