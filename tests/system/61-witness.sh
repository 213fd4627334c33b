#!/bin/sh
# timeout: 180
# A witness votes and keeps nothing: with it, of two volcanos a majority decides, whoever dies.
. "${0%/*}/lib.sh"

SEED=${MAGMA_SEED:-$(date +%N | sed 's/^0*//')}
diag "seed $SEED"
copies() { MAGMA_KEY=$SECRET tool ping -c 1 "$(addr "$1"):$PORT" 2>&1 | grep -q "$2"; }
both_hold_all() { copies 1 '2 copies' && copies 2 '2 copies'; }
says "a witness cannot begin a network" 2 'witness' "$MAGMAD" -d "$T/x" $(volcano_args 9) -b -S 0
net_start 2 && volcano_join 3 1 -S 0 || bail "two volcanos and a witness"
NET_N=3
check "its ready line says what it is" grep -q 'ready, epoch.*witness' "$(vlog 3)"
check "both volcanos hold everything" wait_for 20 both_hold_all
check_eq "the witness has no slice" "$(console 1 lava | grep -c 'start: [0-9a-f]')" 2 || diag "$(console 1 lava)"
sleep 2
VIA=2 mnt b && mnt a || bail "mount"
n=0
for v in 1 2 3; do
	n=$((n + 1)); m=a; [ $v -eq 1 ] && m=b
	mkdir "$T/$m/w$n"
	"$HELP/acklog" run "$T/$m/w$n" "$T/ack.$n" $((SEED + n)) 300 >"$T/ack.$n.out" 2>&1 & W=$!; note_pid $W
	sleep 0.7
	volcano_kill $v
	sleep 4
	check "volcano $v is dead, files can be written" sh -c "echo $n >$T/$m/alive$n"
	check "volcano $v comes back" volcano_restart $v
	wait_for 30 both_hold_all || not_ok "both hold everything again"
	kill -TERM $W; wait $W; check_eq "the writer saw no error" $? 0
	diag "volcano $v killed: $(cat "$T/ack.$n.out")"
	check "all that was acknowledged is there" "$HELP/acklog" check "$T/$m/w$n" "$T/ack.$n"
	sleep 1
done
umnt a; umnt b
net_kill; check "all come back" net_restart
net_stop
check "another has a store of its copy" test -f "$T/v1/slices/00002/volcano.conf"
check "the witness has a folder for contents" test -d "$T/v3/content"
check_eq "the witness kept no flares" "$(ls -d "$T"/v3/slices/0* 2>/dev/null | wc -l) $(find "$T/v3/content" -type f | wc -l)" "0 0"
finish
