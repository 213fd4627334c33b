#!/bin/sh
# timeout: 400
# kill -9 at random moments under load loses nothing that was acknowledged: neither what was fsynced nor what was not.
# MAGMA_SEED repeats a run's choices; MAGMA_KILLS says how many kills a round has.
. "${0%/*}/lib.sh"

SEED=${MAGMA_SEED:-$(date +%N | sed 's/^0*//')}
diag "seed $SEED"
R=$SEED
random() { R=$(( (R * 1103515245 + 12345) % 2147483648 )); RND=$((R / 65536 % $1)); }

# Two writers on one mount, one on another.
writers() {
	W=''
	for w in 1 2 3; do
		m=a; [ $w -eq 3 ] && m=b
		mkdir -p "$T/$m/w$w.$1"
		"$HELP/acklog" run "$T/$m/w$w.$1" "$T/ack.$w.$1" $((SEED + w)) 300 >"$T/ack.$w.$1.out" 2>&1 &
		note_pid $!; W="$W $!"
	done
}
writers_end() { kill -TERM $W 2>/dev/null; i=1; for p in $W; do wait "$p"; check_eq "$2: writer $i saw no error" $? 0 || diag_file "$T/ack.$i.$1.out"; diag_file "$T/ack.$i.$1.out" 1; i=$((i + 1)); done; }
compare() { for w in 1 2 3; do check "$2: all that writer $w got acknowledged is there" "$HELP/acklog" check "$T/$3/w$w.$1" "$T/ack.$w.$1"; diag_file "$T/out" 1; done; }

for n in ${MAGMA_VOLCANOS:-1 2 3}; do
	net_start "$n" && mnt a && VIA=$n mnt b || bail "a network of $n"
	writers "$n"
	k=0
	while [ $k -lt "${MAGMA_KILLS:-8}" ]; do
		random 700; sleep 0.$(printf %03d $((RND + 100)))
		random "$n"; v=$((RND + 1))
		volcano_kill $v
		[ $((k % 3)) -eq 0 ] && sleep 0.3
		volcano_restart $v || { not_ok "$n: volcano $v starts again after kill -9 number $k"; break; }
		k=$((k + 1))
	done
	sleep 0.5
	writers_end "$n" "$n"
	compare "$n" "$n" a
	compare "$n" "$n, the other mount" b
	# all volcanos at once, then a restart in turn, under the same mounts
	net_kill; net_restart || not_ok "$n: all start again"
	compare "$n" "$n, after all were killed" b
	umnt a; umnt b

	# everything at once: volcanos, mounts and writers
	mnt a && mnt b || not_ok "$n: mounts again"
	writers "$n.all"
	random 900; sleep 1.$(printf %03d $RND)
	p="$W $(mount_pid a) $(mount_pid b)"
	kill -KILL $p; net_kill
	for q in $W; do wait "$q" 2>/dev/null; done
	umount -l "$T/a" "$T/b"
	net_restart || not_ok "$n: all start again after everything was killed"
	mnt a || not_ok "$n: mounts after everything was killed"
	compare "$n.all" "$n, after everything was killed" a
	compare "$n" "$n, older things after everything was killed" a
	check "$n: all can be removed" rm -rf "$T"/a/w?.*
	check_eq "$n: nothing is left" "$(ls -A "$T/a")" ""
	umnt a; net_stop
	i=1; while [ $i -le "$n" ]; do check "$n: the store of volcano $i is in order" tool store "$T/v$i"; i=$((i + 1)); done
	net_end
done
finish
