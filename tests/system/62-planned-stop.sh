#!/bin/sh
# timeout: 180
# One volcano of several is stopped, on purpose: what it has goes to the others first, and clients see no pause; it comes back and its slice goes home.
. "${0%/*}/lib.sh"

SEED=${MAGMA_SEED:-$(date +%N | sed 's/^0*//')}
diag "seed $SEED"
LIMIT=${MAGMA_PAUSE:-1}                # seconds; MAGMA_PAUSE is a factor
copies() { MAGMA_KEY=$SECRET tool ping -c 1 "$(addr "$1"):$PORT" 2>&1 | grep -q "$2"; }
all_hold() { net_each copies_2; }
copies_2() { copies "$1" '2 copies'; }
n=0
# stop V HOW: under load
stop() {
	n=$((n + 1))
	mkdir "$T/a/w$n"
	"$HELP/acklog" run "$T/a/w$n" "$T/ack.$n" $((SEED + n)) 300 >"$T/ack.$n.out" 2>&1 & W=$!; note_pid $W
	sleep 0.7
	p=$(vpid $1)
	if [ "$2" = TERM ]; then kill -TERM "$p"; else console $1 'shutdown here' >"$T/out" 2>&1; fi
	check "$NET_N volcanos: volcano $1 ends by $2" wait_for 6 gone "$p"
	wait "$p"; check_eq "with 0" $? 0
	sleep 2
	check "it comes back" volcano_restart $1
	wait_for 30 all_hold || not_ok "all hold what they should"
	sleep 0.5
	kill -TERM $W; wait $W; check_eq "the writer saw no error" $? 0
	diag "volcano $1 of $NET_N, $2: $(cat "$T/ack.$n.out")"
	check "clients waited less than $LIMIT s" awk -v l=$((LIMIT * SLOW)) '/the longest took/ { for (i = 1; i < NF; i++) if ($i == "took") exit !($(i + 1) < l) }' "$T/ack.$n.out"
	check "all that was acknowledged is there" "$HELP/acklog" check "$T/a/w$n" "$T/ack.$n"
}
for size in 2 3; do
	net_start $size || bail "a network of $size"
	wait_for 20 all_hold || not_ok "all hold what they should"
	sleep 2
	mnt a || bail "mount"
	v=1; while [ $v -le $size ]; do stop $v TERM; v=$((v + 1)); done
	stop 1 shutdown
	umnt a
	# all at once: nobody waits for anybody
	s=$(now); net_each sh -c 'kill -TERM $(cat '"$T"'/v$0.pid)'
	check "all end at once" wait_for 8 net_each volcano_gone
	check "and come back" net_restart
	mnt a; check "with everything" "$HELP/acklog" check "$T/a/w$n" "$T/ack.$n"; umnt a
	console 1 shutdown >"$T/out" 2>&1
	check "shutdown ends all" wait_for 8 net_each volcano_gone
	check "and all come back" net_restart
	net_end
done
finish
