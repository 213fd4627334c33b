#!/bin/sh
# by hand: needs a minute to fill the journal
# timeout: 300
# A volcano that was away longer than the journal goes back is compared with the others and gets what differs: afterwards it alone shows what all of them had, files that were changed, cut, removed and made
# meanwhile, small and large. Killed in the middle of that it goes on.
. "${0%/*}/lib.sh"

MAGMA_JOURNAL_KEEP=1
export MAGMA_JOURNAL_KEEP
PING=$B/magma_tools/magma-ping
well() { MAGMA_KEY=$SECRET "$PING" -c 1 "$(addr "$1"):$PORT" >/dev/null 2>&1; }
log_has() { grep -Eq "$2" "$(vlog "$1")"; }
healing() { console 1 heal | grep -Eq 'comparing|filled'; }
sums() { (cd "$T/a" && find d -type f | sort | xargs sha1sum; find d | sort); }

net_start 2 && mnt a || bail "a network of two"
check "all is well" wait_for 30 well 1
mkdir "$T/a/d"
i=0; while [ $i -lt 40 ]; do mkdir "$T/a/d/$i"; head -c $((i * i * 1500)) /dev/urandom >"$T/a/d/$i/f"; cp "$T/a/d/$i/f" "$T/a/d/$i/g"; i=$((i + 1)); done
sync; sleep 2

volcano_kill 2
check "volcano 1 goes on alone" wait_for 20 sh -c "echo >$T/a/d/alone"
i=0; while [ $i -lt 40 ]; do
	case $((i % 5)) in
	0) printf 'changed %d' $i | dd of="$T/a/d/$i/f" bs=1 seek=$((i * 700)) conv=notrunc 2>/dev/null ;;
	1) : >"$T/a/d/$i/f" ;;
	2) rm "$T/a/d/$i/f" ;;
	3) rm -r "$T/a/d/$i" ;;
	esac
	i=$((i + 1))
done
make -s -C "$B" tests/bench/fsbench && mkdir "$T/a/many" && "$B/tests/bench/fsbench" create "$T/a/many" ${MAGMA_MANY:-40000} 8 >"$T/rate" || bail "many files"
diag "$(cat "$T/rate") files/s"
sync; sleep 3

volcano_spawn 2
check "it is being compared" wait_for 30 healing
volcano_kill 2
check "killed in the middle it comes back" volcano_restart 2
check "and all is well again" wait_for 90 well 1
check "that was a comparison" log_has 1 'its copy is compared'
check_fails "and nothing was made anew" log_has 1 'made anew'
sums >"$T/before"
volcano_kill 1
check "the other one goes on alone" wait_for 20 sh -c "echo >$T/a/alone"
sums >"$T/after"
check "and has everything" cmp "$T/before" "$T/after"
check_eq "as many files as were made" "$(find "$T/a/many" -type f | wc -l)" "${MAGMA_MANY:-40000}"
finish
