#!/bin/sh
# timeout: 300
# Two volcanos are a network RAID1: whichever dies, the other goes on, and nothing that was acknowledged is lost. Who comes back alone asks before it serves; an operator can say that the other one is lost.
. "${0%/*}/lib.sh"

SEED=${MAGMA_SEED:-$(date +%N | sed 's/^0*//')}
diag "seed $SEED"
LIMIT=$((2 * ${MAGMA_PAUSE:-1}))        # seconds; MAGMA_PAUSE is a factor
# Exit code 0: nothing is unsafe, by its own newest map; one that has just gone on after a stop may still say what was true before, so both say it of the same map. One ping: a look takes no second.
copies() { _said=$(MAGMA_KEY=$SECRET tool ping -c 1 "$(addr "$1"):$PORT" 2>&1) && echo "$_said" | grep -q '2 copies' && _epoch=$(echo "$_said" | grep -o 'epoch [0-9]*'); }
both_hold_all() { copies 1 && _first=$_epoch && copies 2 && [ "$_first" = "$_epoch" ]; }
# How often volcano $1 has said that it goes on without volcano $2; and that it has said so again.
times_alone() { grep -c "volcano v$2 \(is down\|has been silent\)" "$(vlog $1)"; }
alone_again() { [ "$(times_alone $1 $2)" -gt "$3" ]; }
writer() { mkdir -p "$T/$1/w$2"; "$HELP/acklog" run "$T/$1/w$2" "$T/ack.$2" $((SEED + $2)) 300 >"$T/ack.$2.out" 2>&1 & W=$!; note_pid $W; }
# Ends the writer; its longest wait must be below so many seconds.
writer_end() {
	kill -TERM $W 2>/dev/null; wait $W; check_eq "$2: the writer saw no error" $? 0
	diag "$2: $(cat "$T/ack.$1.out")"
	check "$2: clients waited less than $LIMIT s" awk -v l=$((LIMIT * SLOW)) '/the longest took/ { for (i = 1; i < NF; i++) if ($i == "took") exit !($(i + 1) < l) }' "$T/ack.$1.out"
}
same() { check "$3: all that was acknowledged is there" "$HELP/acklog" check "$T/$1/w$2" "$T/ack.$2"; }

net_start 2 || bail "a network of two"
check "both hold everything" wait_for 20 both_hold_all
VIA=2 mnt b || bail "mount"
mnt a || bail "mount"
n=0
for round in ${MAGMA_ROUNDS:-1 2}; do
	for v in 1 2; do
		n=$((n + 1)); o=$((3 - v))
		writer b $n
		sleep 0.7
		was=$(times_alone $o $v)
		volcano_kill $v
		check "round $round: volcano $v is dead, a new file can be written" sh -c "echo $n >$T/b/alive$n"
		check "round $round: volcano $o says that it goes on alone" wait_for 10 alone_again $o $v $was
		sleep 1
		check "round $round: volcano $v comes back" volcano_restart $v
		check "round $round: and holds everything again" wait_for 30 both_hold_all
		sleep 0.5
		writer_end $n "round $round, volcano $v killed"
		same a $n "round $round, volcano $v killed"
	done
done

# stopped for long enough that the other goes on, and let go again: it must not answer from what it knew
for v in 1 2; do
	n=$((n + 1)); o=$((3 - v)); writer b $n
	sleep 0.7
	was=$(times_alone $o $v)
	kill -STOP "$(vpid $v)"
	check "volcano $v is stopped, a new file can be written" sh -c "echo $n >$T/b/alive$n"
	check "and volcano $o says that it goes on alone" wait_for 10 alone_again $o $v $was
	sleep 1
	kill -CONT "$(vpid $v)"
	check "volcano $v goes on and holds everything again" wait_for 30 both_hold_all
	sleep 0.5
	LIMIT=$((4 * ${MAGMA_PAUSE:-1})) writer_end $n "volcano $v stopped"
	same a $n "volcano $v stopped"
	check_eq "and both mounts see the same" "$(cd "$T/a/w$n" && find . -type f | sort | xargs -d '\n' cat | sha1sum)" "$(cd "$T/b/w$n" && find . -type f | sort | xargs -d '\n' cat | sha1sum)"
done

# both die; the one that comes first waits for the other
for order in "1 2" "2 1"; do
	n=$((n + 1)); writer b $n; sleep 0.5
	net_kill
	set -- $order
	volcano_spawn $1
	waits() { grep -q "waits for volcano" "$(vlog $1)"; }
	check "volcano $1 alone says whom it waits for" wait_for 10 waits $1
	check_fails "and is not ready" grep -q 'ready, epoch' "$(vlog $1)"
	volcano_spawn $2
	check "volcano $2 is back: both serve" net_each volcano_ready
	LIMIT=30 writer_end $n "both killed, $order"
	same a $n "both killed, $order"
	wait_for 30 both_hold_all || not_ok "both hold everything again"
done

# lost for good: the operator says so
net_kill
volcano_spawn 2
check "the one that is left waits" wait_for 10 waits 2
check_match "another name is no confirmation" "$(console 2 'takeover v2' 2>&1)" 'the other volcano is v1'
console 2 'takeover v1' >"$T/out" 2>&1 || not_ok "takeover"
check "takeover: it serves" volcano_ready 2
same b $n "after takeover"
check "and takes new files" sh -c "echo x >$T/b/after"
check "the lost one is found again, and follows" volcano_restart 1
check "and holds everything" wait_for 30 both_hold_all
check "with what was done without it" grep -q x "$T/a/after"
same a $n "after its return"
umnt a; umnt b; net_stop
for v in 1 2; do check "the store of volcano $v is in order" tool store "$T/v$v"; done
net_end

# --no-takeover: it waits
NET_N=2
volcano_boot 1 --no-takeover && volcano_join 2 1 --no-takeover || bail "a network of two with --no-takeover"
wait_for 20 both_hold_all; VIA=2 mnt b || bail "mount"
echo y >"$T/b/f"
volcano_kill 1
check "--no-takeover: it says whom it waits for" wait_for 10 waits 2
sleep 2
check_fails "and does not go on" grep -q 'goes on without it' "$(vlog 2)"
check "volcano 1 is back" volcano_restart 1
check "and so is the file" wait_for 10 grep -q y "$T/b/f"
umnt b; net_stop
finish
