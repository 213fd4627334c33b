#!/bin/sh
# timeout: 240
# Two volcanos under load: either dies (-9) and comes back; both die and come back, in either order. Nothing acknowledged is lost or doubled, nobody sees an
# error. With two copies the survivor goes on, whichever it is; with one copy clients wait.
# MAGMA_ROUNDS: rounds of all that.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"

net_start 2 && mnt a && VIA=2 mnt b || bail "a network of two"
failover_known
load_start w a b || bail "the load moves"
k=0
while [ $k -lt "$ROUNDS" ]; do
	k=$((k + 1))
	for v in 1 2; do
		fault_begin
		volcano_kill $v
		if failover; then
			load_moves 15 || not_ok "round $k: the survivor of volcano $v goes on"
			fault_pause "one of two killed" 4000
			at=$(ms); volcano_restart $v || not_ok "round $k: volcano $v starts again"
			FAULT_AT=$at; load_moves 15 || not_ok "round $k: the load goes on while volcano $v comes back"
			net_healed
			fault_pause "one of two, coming back" 4000
		else
			volcano_restart $v || not_ok "round $k: volcano $v starts again"
			load_moves 30 || not_ok "round $k: the load goes on after volcano $v is back"
			fault_pause "one of two killed and restarted, 1 copy" 20000
		fi
	done
	for order in "1 2" "2 1"; do
		fault_begin
		# both within a moment, so that none has time to go on alone
		kill -KILL "$(vpid 1)" "$(vpid 2)"; net_kill
		for v in $order; do volcano_spawn $v; done
		net_each volcano_ready || not_ok "round $k: both start again, in the order $order"
		load_moves 30 || not_ok "round $k: the load goes on after both were killed"
		fault_pause "both killed and restarted" 20000
		net_healed
	done
done
failover || no_failover "the survivor of two goes on"
load_end "two volcanos"
for m in a b; do load_verify "two volcanos, mount $m" $m; done
umnt a; umnt b; net_stop
for v in 1 2; do check "the store of volcano $v is in order" store_in_order $v; done
pauses_table
finish
