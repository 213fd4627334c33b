#!/bin/sh
# timeout: 240
# Three volcanos under load, each killed (-9) in turn and started again: nothing acknowledged is lost or doubled, nobody sees an error. With two copies the
# mirror of the killed one goes on within 2 s; with one copy its clients wait until it is back.
# MAGMA_KILLS: how many kills (20 and more by hand); MAGMA_SEED repeats a run's choices.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"

net_start 3 && mnt a && VIA=2 mnt b || bail "a network of three"
failover_known
load_start w a b || bail "the load moves"
k=0
while [ $k -lt "${MAGMA_KILLS:-$((ROUNDS * 3))}" ]; do
	v=$((k % 3 + 1)); k=$((k + 1))
	random 400; sleep 0.$(printf %03d $((RND + 100)))
	fault_begin
	volcano_kill $v
	if failover; then
		load_moves 10 || not_ok "kill $k: the clients of volcano $v go on without it"
		fault_pause "killed" 2000
		at=$(ms); volcano_restart $v || { not_ok "kill $k: volcano $v starts again"; break; }
		FAULT_AT=$at; load_moves 10 || not_ok "kill $k: the load goes on while volcano $v comes back"
		net_healed
		fault_pause "killed, coming back" 4000
	else
		volcano_restart $v || { not_ok "kill $k: volcano $v starts again"; break; }
		load_moves 30 || not_ok "kill $k: the load goes on after volcano $v is back"
		fault_pause "killed and restarted, 1 copy" 20000
	fi
done
check_eq "kills made" "$k" "${MAGMA_KILLS:-$((ROUNDS * 3))}"
failover || no_failover "the clients of a killed volcano go on within 2 s"
load_end "under kills"
for m in a b; do load_verify "after kills, mount $m" $m; done
net_kill; net_restart || not_ok "all start again after all were killed"
load_verify "after all were killed" a
umnt a; umnt b
copies_verify "after kills"
net_stop
for v in 1 2 3; do check "the store of volcano $v is in order" store_in_order $v; done
pauses_table
finish
