#!/bin/sh
# timeout: 240
# needs: mkfs.ext4 losetup
# The disk of one of three volcanos fails under load: it is full, it becomes read-only, it answers EIO. With two copies the mirror goes on, and nothing
# acknowledged is lost. With one copy clients are told (ENOSPC, EIO) or wait until the disk is repaired and the volcano started again; what was not fsynced
# when the disk broke is gone then, as after a power cut, so only a full disk may lose nothing.
# MAGMA_ROUNDS: rounds of all three; MAGMA_DISK: only that kind beside full.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"

# A small ext4 as the folder of volcano 2. Its image lies in a tmpfs: fast, and gone with it.
disk_mount() { echo "$T/v2" >>"$T/mounts"; mount -o loop,errors=remount-ro,data=ordered "$T/img/disk" "$T/v2" && chmod 700 "$T/v2"; }
disk_format() { mkfs.ext4 -q -F -m 0 -O ^metadata_csum "$T/img/disk"; }
disk_make() { mkdir -p "$T/img" "$T/v2" && echo "$T/img" >>"$T/mounts" && mount -t tmpfs -o size=700m magma-test "$T/img" && truncate -s 640m "$T/img/disk" && disk_format && disk_mount; }
disk_make >"$T/out" 2>&1 || { skip "failing disks" "no ext4 on a loop device here: $(tail -n 1 "$T/out")"; finish; }
LOOP=$(findmnt -n -o SOURCE "$T/v2"); LOOP=${LOOP##*/} AGAIN='volcano_restart 2'

net_start 3 && mnt a && VIA=3 mnt b || bail "a network of three, one on a disk of its own"
failover_known
fails_with() { (: >"$T/v2/.probe") 2>&1 | grep -q "$1"; }
disk_break() {
	case $1 in
	read-only) echo test >"/sys/fs/ext4/$LOOP/trigger_fs_error"; wait_for 5 fails_with 'Read-only' ;;
	EIO) "$HELP/iotool" break "$T/v2"; wait_for 5 fails_with 'Input/output' ;;
	full) "$HELP/iotool" fill "$T/v2/.filler" >"$T/out"; grep -q ENOSPC "$T/out" ;;
	esac
}
# What e2fsck does not repair by itself is no disk to trust: an empty one takes its place, where there are copies.
disk_repair() {
	[ "$1" = full ] && { rm -f "$T/v2/.filler"; return; }
	volcano_kill 2
	AGAIN='volcano_restart 2'
	wait_for 10 umount "$T/v2" || return
	e2fsck -p "$T/img/disk" >"$T/fsck.out" 2>&1
	[ $? -lt 4 ] || { diag_file "$T/fsck.out"; failover && disk_format && AGAIN='volcano_join 2 1' && diag "an empty disk takes its place"; } || return
	disk_mount && LOOP=$(findmnt -n -o SOURCE "$T/v2") && LOOP=${LOOP##*/}
}
missed() { console 1 lava 2>/dev/null | grep -A1 'node: v2 ' | grep -q 'alive: no'; }
out_of_service() { volcano_gone 2 || missed; }
# Back at once it would own what it had, without what its disk has lost.
ends_missed() { check "$1: the volcano ends" wait_for 10 volcano_gone 2; check "$1: the others had missed it by then" missed; }
round() { # KIND...
	for kind in "$@"; do
		what="round $k: disk $kind"
		fault_begin
		disk_break $kind && ok "$what: so it is" || { not_ok "$what: so it is"; return; }
		[ $kind = full ] || ! failover || ends_missed "$what"
		if failover; then
			# a full disk lets only some go on; the others are told
			n=40; [ $kind != full ] || n=5
			wait_for 10 load_acked "$FAULT_AT" $n || not_ok "$what: the clients go on"
			fault_pause "disk $kind" 4000
			[ $kind = full ] || check "$what: the volcano is out of service" wait_for 10 out_of_service
		elif [ $kind = full ]; then wait_for 20 refused || not_ok "$what: the load is told"
		else check "$what: the volcano ends rather than serve what it cannot store" wait_for 20 volcano_gone 2
		fi
		! volcano_gone 2 || diag_file "$(vlog 2)" 2
		at=$(ms); disk_repair $kind || { not_ok "$what: it is repaired"; return; }
		volcano_gone 2 && { $AGAIN || { not_ok "$what: volcano 2 starts again"; return; }; }
		load_moves 40 || not_ok "$what: the load goes on after the repair"
		if failover; then net_healed; FAULT_AT=$at; fault_pause "disk $kind, repaired" 4000; else fault_pause "disk $kind and repaired, 1 copy" 40000; fi
	done
}
refused() { grep -q '^E [0-9]* [0-9]* ENOSPC' $LOAD_LOGS; }
rounds() { k=0; while [ $k -lt "$ROUNDS" ]; do k=$((k + 1)); round "$@"; done; }

LOAD_ALLOW=ENOSPC
load_start w a b || bail "the load moves"
rounds full
failover && rounds ${MAGMA_DISK:-read-only EIO}
load_end "with a failing disk"
for m in a b; do load_verify "after a failing disk, mount $m" $m; done
if ! failover; then
	LOAD_ALLOW=ENOSPC,EIO
	load_start broken a b || bail "the load moves"
	rounds ${MAGMA_DISK:-read-only EIO}
	kill -TERM $LOAD; for p in $LOAD; do check "a process of the load ends" wait_for 70 gone "$p"; done
	if "$HELP/acklog" shared "$T/a/broken.shared" $LOAD_SHARED >"$T/out" 2>&1; then diag "nothing was lost this time"; else diag "what one copy cost:"; diag_file "$T/out" 1; fi
	no_failover "nothing is lost when a disk breaks"
	no_failover "the clients of a volcano whose disk fails go on within 4 s"
fi
umnt a; umnt b
! failover || copies_verify "after a failing disk"
net_stop
for v in 1 2 3; do check "the store of volcano $v is in order" store_in_order $v; done
umount "$T/v2"
pauses_table
finish
