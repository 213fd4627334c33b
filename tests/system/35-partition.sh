#!/bin/sh
# timeout: 300
# A volcano that is cut off in silence: from everybody, both ways; deaf, hearing nobody while all hear it; mute, heard by nobody while it hears all; and cut
# off from the other volcanos only, while clients reach it. The packets are dropped at the receiver, so nobody is told. With two copies the others go on and
# it answers nothing; with one copy clients wait. Nothing is lost or doubled, nobody sees an error. Each cut must have dropped packets.
# MAGMA_ROUNDS: rounds of each kind, with one volcano after the other. MAGMA_KINDS: some of them.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"
. "$SYS/lib-netns.sh"

ns_setup 3 || { skip "partitions" "$NS_WHY"; finish; }
net_start 3 && mnt a && VIA=3 mnt b || bail "a network of three in namespaces"
failover_known
load_start w a b || bail "the load moves"

others() { for _o in 1 2 3; do [ $_o -eq "$1" ] || echo $_o; done; }
part() { # KIND VOLCANO
	CUT=''
	case $1 in
	silent) ns_cut "$2" c $(others "$2"); CUT=$2 ;;
	deaf) ns_cut "$2" c $(others "$2"); CUT=$2 ;;
	mute) for _x in c $(others "$2"); do ns_cut "$_x" "$2"; CUT="$CUT $_x"; done ;;
	inner) ns_cut "$2" $(others "$2"); CUT=$2; for _x in $(others "$2"); do ns_cut "$_x" "$2"; CUT="$CUT $_x"; done ;;
	esac
	[ "$1" != silent ] || for _x in c $(others "$2"); do ns_cut "$_x" "$2"; CUT="$CUT $_x"; done
}
heal() { for _x in $CUT; do ns_heal "$_x"; done; }
hits() { _sum=0; for _x in $CUT; do _sum=$((_sum + $(ns_hits "$_x"))); done; echo $_sum; }
hit() { [ "$(hits)" -ge 5 ]; }
passed() { [ $(($(ms) - FAULT_AT)) -ge "$1" ]; }

k=0
for kind in ${MAGMA_KINDS:-silent deaf mute inner}; do
	r=0
	while [ $r -lt "$ROUNDS" ]; do
		v=$((k % 3 + 1)) r=$((r + 1)) k=$((k + 1))
		what="round $r: volcano $v $kind"
		fault_begin
		part $kind $v
		if failover; then
			load_moves 10 "$FAULT_AT" || not_ok "$what: clients go on"
			wait_for 10 passed 6000       # who is cut off from volcanos only may answer a few more before it notices
			fault_pause "partition: $kind" 4000
		elif [ $kind = inner ]; then
			# clients reach all: there is nothing they must wait for
			wait_for 10 passed 4000
		else
			check "$what: the load feels it" wait_for 15 load_stalled 3000 "$FAULT_AT"
		fi
		check "$what: packets were dropped" wait_for 15 hit
		diag "$what: $(hits) packets dropped"
		at=$(ms); heal
		load_moves 40 "$at" || not_ok "$what: the load goes on afterwards"
		if failover; then net_healed; FAULT_AT=$at; fault_pause "partition: $kind, healed" 4000; else fault_pause "partition: $kind, until 3 s of silence, 1 copy" 30000; fi
	done
done
failover || no_failover "the clients of a volcano that is cut off go on within 4 s"
load_end "under partitions"
for m in a b; do load_verify "after partitions, mount $m" $m; done
umnt a; umnt b
copies_verify "after partitions"
net_stop
for v in 1 2 3; do check "the store of volcano $v is in order" store_in_order $v; done
pauses_table
finish
