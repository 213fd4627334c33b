#!/bin/sh
# timeout: 240
# A volcano that stands still (SIGSTOP) for 10 s and then goes on (SIGCONT) as if nothing had been: with two copies its mirror has taken over, and it may not
# answer from what it knew; with one copy its clients wait. Nothing is lost or doubled, nobody sees an error.
# MAGMA_ROUNDS: rounds, each with another volcano; MAGMA_STOP: seconds.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"
STOP=${MAGMA_STOP:-10}

net_start 3 && mnt a && VIA=3 mnt b || bail "a network of three"
failover_known
load_start w a b || bail "the load moves"
stopped() { grep -q '^State:[[:space:]]*T' "/proc/$1/status"; }
waited() { [ $(($(ms) - FAULT_AT)) -ge $((STOP * 1000)) ]; }
k=0
while [ $k -lt $((ROUNDS > 1 ? ROUNDS : 2)) ]; do
	v=$((k % 3 + 1)) p=$(vpid $((k % 3 + 1))); k=$((k + 1))
	fault_begin
	kill -STOP "$p"
	wait_for 5 stopped "$p" || not_ok "round $k: volcano $v stands still"
	if failover; then
		load_moves 10 "$FAULT_AT" || not_ok "round $k: the clients of volcano $v go on without it"
		fault_pause "stopped" 4000
	fi
	wait_for "$STOP" waited
	at=$(ms); kill -CONT "$p"
	load_moves 30 "$at" || not_ok "round $k: the load goes on after volcano $v does"
	if failover; then net_healed; FAULT_AT=$at; fault_pause "stopped, coming back" 4000
	else
		load_stalled $((STOP * 900)) "$FAULT_AT" || not_ok "round $k: the stop has hit the load"
		fault_pause "stopped for $STOP s, 1 copy" $((STOP * 1000 + 10000))
	fi
	check "round $k: volcano $v, stopped for $STOP s, is the process that it was" alive "$p"
done
failover || no_failover "the clients of a stopped volcano go on within 4 s"
load_end "under stops"
for m in a b; do load_verify "after stops, mount $m" $m; done
umnt a; umnt b
copies_verify "after stops"
net_stop
for v in 1 2 3; do check "the store of volcano $v is in order" store_in_order $v; done
pauses_table
finish
