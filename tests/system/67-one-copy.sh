#!/bin/sh
# timeout: 240
# What the tests of faults would say if a copy were missing: the same load, the same loss of a volcano with its folder, the same comparison, once with two copies and once with one. With two nothing is lost; with one the
# comparison must find losses, in what one writer noted for itself and in what several shared, or it proves nothing anywhere. That the folder is what is missed, and not the volcano: with it back, nothing is.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"

# What the comparison says of each log, with volcano 2 gone for good: how many it finds lost.
lost_of() {
	LOST=0 LOST_SHARED=0
	timeout 60 "$HELP/acklog" shared "$T/late/w.shared" $LOAD_SHARED >"$T/shared.out" 2>&1 || LOST_SHARED=1
	for _m in $LOAD_OWN; do
		timeout 60 "$HELP/acklog" check "$T/late/w.$_m" "$T/ack.w/$_m" >"$T/own.$_m.out" 2>&1 || LOST=$((LOST + 1))
		diag_file "$T/own.$_m.out" 2
	done
	diag_file "$T/shared.out" 2
}
round() { # COPIES
	MAGMA_COPIES=$1
	net_start 3 && mnt a && VIA=3 mnt b || bail "a network of three with $1 copies"
	failover_known
	check_eq "copies that the network keeps" "$COPIES" "$1"
	load_start w a b || bail "the load moves"
	wait_for 60 load_acked "$(ms)" 300 || not_ok "$1 copies: the load goes on"
	load_end "$1 copies, nothing has happened yet"
	umnt a; umnt b
	volcano_kill 2; volcano_restart 2 || not_ok "$1 copies: volcano 2 starts again"
	VIA=1 mnt late || bail "a mount with volcano 2 back"
	lost_of
	check_eq "$1 copies, killed and back with its folder: logs that miss something" "$((LOST + LOST_SHARED))" 0
	umnt late
	failover && net_healed
	volcano_kill 2; rm -rf "$T/v2"
	# clients of one copy would wait a minute for each file that is gone
	VIA=1 mnt late -o timeout=$((3 * SLOW)) || bail "a mount without volcano 2"
	lost_of
	umnt late || umount -l "$T/late"
	net_end
	rm -rf "$T/ack.w"
}
round 2
check_eq "two copies, a folder lost: logs of single writers that miss something" "$LOST" 0
check_eq "two copies, a folder lost: the shared directory misses something" "$LOST_SHARED" 0
round 1
check "one copy, a folder lost: the comparison of what single writers noted finds losses" [ "$LOST" -gt 0 ]
check "one copy, a folder lost: the comparison of the shared directory finds losses" [ "$LOST_SHARED" -gt 0 ]
finish
