#!/bin/sh
# timeout: 300
# Random, truncated, replayed and forged datagrams (MAGMA_DATAGRAMS, 100,000): counted and dropped, no growth, service undisturbed.
. "${0%/*}/lib.sh"

N=${MAGMA_DATAGRAMS:-100000}
SEED=${MAGMA_SEED:-$(date +%N | sed 's/^0*//')}
diag "seed $SEED"
net_start 2 && mnt a || bail "a network of two"
mkdir "$T/a/w"
rss() { awk '/^RssAnon/ { print $2 }' "/proc/$(vpid "$1")/status"; }
"$HELP/acklog" run "$T/a/w" "$T/ack" "$SEED" 600 >"$T/ack.out" 2>&1 &
W=$!; note_pid $W
# what the first noise grows stays within reason, what the second grows on top of it is next to nothing
"$HELP/dgram" "$(addr 1)" $PORT $((N / 10)) "$SEED" random >/dev/null
"$HELP/dgram" "$(addr 1)" $PORT $((N / 10)) "$SEED" forged >/dev/null
r1=$(rss 1) r2=$(rss 2)
for i in 1 2; do
	for p in $PORT $((PORT + 1)); do
		out=$("$HELP/dgram" "$(addr $i)" $p $((N / 4)) "$((SEED + i + p))" random)
		diag "volcano $i port $p: $out"
		a=$(printf %s "$out" | sed 's/.*, \([0-9]*\) answered/\1/')
		[ "${a:-999999}" -le $((N / 200)) ] && ok "random datagrams to port $p of volcano $i get (nearly) no answers" || not_ok "random datagrams to port $p of volcano $i get (nearly) no answers"
	done
	out=$("$HELP/dgram" "$(addr $i)" $PORT $((N / 2)) "$((SEED + i))" forged) || not_ok "forged datagrams to volcano $i"
	diag "volcano $i forged: $out"
	net_each volcano_alive && ok "both volcanos live after forged datagrams to volcano $i" || not_ok "both volcanos live after forged datagrams to volcano $i"
done
out=$("$HELP/dgram" "$(addr 1)" $((PORT + 1)) $((N / 10)) "$SEED" forged)
diag "node port forged: $out"
g1=$(($(rss 1) - r1)) g2=$(($(rss 2) - r2))
diag "RssAnon grew by $g1 and $g2 KiB (load included)"
[ $g1 -lt 16384 ] && [ $g2 -lt 16384 ] && ok "memory does not grow" || not_ok "memory does not grow"
kill -TERM $W; wait $W; rc=$?
diag_file "$T/ack.out"
check_eq "a client at work never noticed" $rc 0
longest=$(sed -n 's/.*longest took \([0-9]*\)\..*/\1/p' "$T/ack.out")
[ "${longest:-99}" -lt $((4 * SLOW)) ] && ok "none of its operations took 4 s" || not_ok "none of its operations took 4 s"
check "and finds everything it wrote" "$HELP/acklog" check "$T/a/w" "$T/ack"
check "a new client can mount" mnt b
umnt a; umnt b
check "the volcanos stop in good order" net_stop
for l in "$LOGS"/v*.log; do s=$(stat -c %s "$l"); [ "$s" -lt 1000000 ] || { not_ok "the log of ${l##*/} is not flooded ($s bytes)"; }; done
finish
