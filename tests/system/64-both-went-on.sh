#!/bin/sh
# timeout: 120
# Both of two volcanos went on without the other (here by an operator's word; a partition does the same). One line stands; what the other side changed meanwhile is set aside on its disk, and said.
. "${0%/*}/lib.sh"

copies() { MAGMA_KEY=$SECRET tool ping "$(addr "$1"):$PORT" 2>&1 | grep -q "$2"; }
both_hold_all() { copies 1 '2 copies' && copies 2 '2 copies'; }
net_start 2 && wait_for 20 both_hold_all && mnt a || bail "a network of two"
sleep 0.5
echo before >"$T/a/before"
umnt a
volcano_kill 1
VIA=2 mnt b || not_ok "volcano 2 goes on alone"
check "side 2 takes a file" sh -c "echo two >$T/b/two && sync $T/b/two"
umnt b
volcano_kill 2
volcano_spawn 1
waits() { grep -q "waits for volcano" "$(vlog 1)"; }
check "volcano 1 waits" wait_for 10 waits
console 1 'takeover v2' >"$T/out" 2>&1 || not_ok "takeover"
check "until it is told to go on" volcano_ready 1
mnt c || not_ok "volcano 1 goes on alone"
check "side 1 takes a file" sh -c "echo one >$T/c/one && sync $T/c/one"
volcano_spawn 2
aside() { grep -q 'CONFLICT.*does not stand; it is in' "$(vlog 2)"; }
check "volcano 2 finds that its side does not stand" wait_for 20 aside
check "and follows" wait_for 20 both_hold_all
mnt d || not_ok "mount"
check_eq "what stands" "$(cd "$T/d" && ls | sort | tr '\n' ' ')" "before one "
check "the other side is on its disk" sh -c "ls -d $T/v2/conflicts/*/journal && ls -d $T/v2/conflicts/*/slices/00001"
check_match "status says so" "$(console 2 status)" 'CONFLICT'
check_match "lava too" "$(console 2 lava)" 'CONFLICT'
umnt c; umnt d; net_stop
for s in "$T"/v2/conflicts/*; do check "what was set aside is a store" sh -c "$B/magma_tools/magma-store $s | grep flares"; done
rm -rf "$T/v2/conflicts"
check "after it was taken away both start" net_restart
case $(console 2 status) in *CONFLICT*) not_ok "nobody says anything any more" ;; *) ok "nobody says anything any more" ;; esac
net_stop
finish
