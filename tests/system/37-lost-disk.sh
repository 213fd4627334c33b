#!/bin/sh
# timeout: 240
# A volcano whose folder is gone: an empty one with -j and the same -n takes its place and gets everything from the mirrors; with one copy it must not, since
# what the folder held would be lost without a word. Nothing acknowledged is lost.
# MAGMA_ROUNDS: rounds, each with another volcano.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"

net_start 3 && mnt a && VIA=3 mnt b || bail "a network of three"
failover_known
load_start w a b || bail "the load moves"
again() { _other=$(($1 % 3 + 1)); volcano_join "$1" $_other; }
k=0
while [ $k -lt "$ROUNDS" ]; do
	v=$(((k + 1) % 3 + 1)); k=$((k + 1))
	fault_begin
	volcano_kill $v
	mv "$T/v$v" "$T/v$v.lost"
	if failover; then
		load_moves 10 || not_ok "round $k: the clients go on without volcano $v"
		fault_pause "disk lost" 4000
		check "round $k: an empty folder takes the place of volcano $v" again $v || {
			diag_file "$(vlog $v)" 3
			volcano_kill $v; rm -rf "$T/v$v"; mv "$T/v$v.lost" "$T/v$v"; volcano_restart $v || not_ok "round $k: with its old folder volcano $v starts"
			break
		}
		net_healed
		rm -rf "$T/v$v.lost"
		# the copies that it was given are the only other ones of what its neighbours hold
		o=$((v % 3 + 1))
		fault_begin; volcano_kill $o
		load_moves 10 || not_ok "round $k: with volcano $o killed, what the new one was given serves"
		fault_pause "killed, its mirror was filled anew" 2000
		volcano_restart $o || not_ok "round $k: volcano $o starts again"
		net_healed
	else
		# the command comes back with a reason, or waits for one; it never becomes ready
		volcano_spawn $v $(volcano_args $v) -j "$(addr $((v % 3 + 1))):$PORT"
		wait_for 8 volcano_ready_or_gone $v
		if grep -q 'ready, epoch' "$(vlog $v)"; then not_ok "round $k: with one copy an empty folder does not take the place of volcano $v"; else ok "round $k: with one copy an empty folder does not take the place of volcano $v"; fi
		diag_file "$(vlog $v)" 3
		volcano_kill $v
		rm -rf "$T/v$v"; mv "$T/v$v.lost" "$T/v$v"
		check "round $k: with its old folder volcano $v starts" volcano_restart $v
		load_moves 30 || not_ok "round $k: the load goes on"
		fault_pause "disk lost and found, 1 copy" 40000
	fi
done
failover || no_failover "an empty folder takes the place of a lost one"
load_end "with a lost disk"
for m in a b; do load_verify "after a lost disk, mount $m" $m; done
umnt a; umnt b
copies_verify "after a lost disk"
net_stop
for v in 1 2 3; do check "the store of volcano $v is in order" store_in_order $v; done
pauses_table
finish
