#!/bin/sh
# timeout: 240
# Volcanos join while clients work: slices and flares move, nobody sees an error, nothing is lost.
. "${0%/*}/lib.sh"

SEED=${MAGMA_SEED:-$(date +%N | sed 's/^0*//')}
diag "seed $SEED"
net_start 1 && mnt a && mnt b || bail "a network of one"
mkdir "$T/a/tree" "$T/a/w1" "$T/b/w2"
cp -a /usr/include/linux "$T/a/tree/" && "$HELP/iotool" put "$T/a/big" 30 77 || not_ok "filling it"
mkfifo "$T/step"
"$HELP/iotool" hold "$T/a/held" <"$T/step" >"$T/held.out" 2>&1 &
HOLD=$!; note_pid $HOLD
exec 7>"$T/step"
check "a file is held open without a name" wait_for 5 grep -q held "$T/held.out"
W=''
for w in 1 2; do
	m=a; [ $w -eq 2 ] && m=b
	"$HELP/acklog" run "$T/$m/w$w" "$T/ack.$w" $((SEED + w)) 300 >"$T/ack.$w.out" 2>&1 7>&- &
	note_pid $!; W="$W $!"
done
sleep 1
moved() { _o=$(console 1 lava) && [ "$(printf '%s\n' "$_o" | grep -c 'node:')" -eq "$1" ] && [ "$(printf '%s\n' "$_o" | grep -c 'start:')" -eq "$1" ]; }
check "a second volcano joins" volcano_join 2 1; NET_N=2
check "and has a slice" wait_for 60 moved 2
sleep 1
check "a third joins, through the second" volcano_join 3 2; NET_N=3
check "and has a slice" wait_for 60 moved 3
sleep 1
kill -TERM $W; i=1
for p in $W; do wait "$p"; check_eq "writer $i saw no error" $? 0; diag_file "$T/ack.$i.out"; i=$((i + 1)); done
for m in a b; do for w in 1 2; do check "what writer $w wrote is there, through mount $m" "$HELP/acklog" check "$T/$m/w$w" "$T/ack.$w"; done; done
check "the tree is whole" diff -r /usr/include/linux "$T/b/tree/linux"
check "the large file too" "$HELP/iotool" get "$T/b/big" 30 77
echo 1 >&7; echo 2 >&7
check "the file without a name moved along" wait_for 10 sh -c "[ \$(grep -c same $T/held.out) -eq 2 ]"
exec 7>&-; wait $HOLD; check_eq "and can be closed" $? 0
keys() { console "$1" status | sed -n 's/.*keys: *\([0-9]*\).*/\1/p' | head -n 1; }
out=$(console 1 lava)
check_eq "every volcano holds keys" "$(printf '%s\n' "$out" | sed -n 's/^ *keys: *//p' | awk '$1 > 0' | wc -l)" 3 || diag "$out"
check_match "the map has a newer epoch" "$out" 'epoch ([3-9]|[1-9][0-9])'
umnt a; umnt b
net_kill; net_restart || not_ok "all start again"
mnt a || not_ok "mounts again"
check "after kill -9 of all the tree is whole" diff -r /usr/include/linux "$T/a/tree/linux"
for w in 1 2; do check "and what writer $w wrote" "$HELP/acklog" check "$T/a/w$w" "$T/ack.$w"; done
umnt a; net_stop

# A join that is killed in the middle, on either side, is finished by starting again.
# What an administrator does: the same command again, which is also right for a volcano that had joined already. Who gives its keys away may wait 20 s for
# the one that was killed before it begins anew.
again() { volcano_spawn "$1" $(volcano_args "$1") -j "$(addr 1):$PORT" && volcano_ready "$1" 60; }
broken_join() { # JOINER VICTIM
	net_restart && mnt a || not_ok "start for a broken join"
	volcano_spawn "$1" $(volcano_args "$1") -j "$(addr 1):$PORT"
	sleep 0.4
	volcano_kill "$2"
	[ "$2" -eq "$1" ] || volcano_restart "$2" || not_ok "volcano $2 starts again"
	wait_for 15 volcano_ready_or_gone "$1"
	volcano_kill "$1"
	check "a join broken by kill -9 of volcano $2 is finished by the same command" again "$1"
	check "everything is there" diff -r /usr/include/linux "$T/a/tree/linux"
	for w in 1 2; do check "what writer $w wrote too" "$HELP/acklog" check "$T/a/w$w" "$T/ack.$w"; done
	umnt a; NET_N=$1; net_stop
}
broken_join 4 1
broken_join 5 5

# One that is told to stop while it receives: the others count it, and what it has by then may be theirs no more.
net_restart && mnt a || not_ok "start for a join that is stopped"
counted() { console 1 lava 2>/dev/null | grep -q 'node: v6 '; }
volcano_spawn 6 $(volcano_args 6) -j "$(addr 1):$PORT"
check "a sixth is counted" wait_for 10 counted
kill -TERM "$(vpid 6)"
check "it is told to stop" wait_for 20 volcano_gone 6
! grep -q 'ready, epoch' "$(vlog 6)" || diag "it was ready by then"
check "its folder stays" test -f "$T/v6/volcano.conf"
check "the same command goes on" again 6
check "everything is there" diff -r /usr/include/linux "$T/a/tree/linux"
umnt a; NET_N=6; net_stop
finish
