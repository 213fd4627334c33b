#!/bin/sh
# timeout: 3600
# By hand: a directory of 1,000,000 entries (MAGMA_ENTRIES); readdir lists each once, while others come and go.
. "${0%/*}/../lib.sh"

N=${MAGMA_ENTRIES:-1000000}
net_start 2 && mnt a && mnt b || bail "a network of two"
A=$T/a; mkdir "$A/d"
t0=$(now)
W='' h=$((N / 2))
"$HELP/iotool" many "$A/d" 0 $h & note_pid $!; W="$W $!"
"$HELP/iotool" many "$A/d" $h "$N" & note_pid $!; W="$W $!"
bad=0; for p in $W; do wait "$p" || bad=1; done
check_eq "$N files are made" $bad 0
diag "in $(($(now) - t0)) s"
t0=$(now)
check_eq "readdir counts them" "$("$HELP/iotool" count "$A/d")" "$N"
diag "in $(($(now) - t0)) s"
sh -c "i=0; while :; do : >$T/b/d/x\$i; rm $T/b/d/x\$i; i=\$((i + 1)); done" & note_pid $!; churn=$!
c=$("$HELP/iotool" count "$A/d")
[ "$c" -ge "$N" ] && [ "$c" -le $((N + 100000)) ] && ok "and again while others come and go" || not_ok "and again while others come and go: $c"
end_pid $churn
for i in 1 2; do diag "volcano $i: RssAnon $(awk '/^RssAnon/ { print $2 }' "/proc/$(vpid $i)/status") KiB"; done
t0=$(now)
umnt a; umnt b
check "kill -9 and restart" eval "net_kill; net_restart"
diag "in $(($(now) - t0)) s"
mnt a; check_eq "all are there" "$("$HELP/iotool" count "$A/d")" "$N"
finish
