#!/bin/sh
# timeout: 3600
# By hand: a volcano with 1,000,000 flares (MAGMA_FLARES) in 1,000 directories stays under 300 MiB, also after a restart and a walk over all of them.
. "${0%/*}/../lib.sh"

N=${MAGMA_FLARES:-1000000}
net_start 1 && mnt a || bail "a volcano"
A=$T/a
rss() { awk '/^RssAnon/ { print int($2 / 1024) }' "/proc/$(vpid 1)/status"; }
limit() { r=$(rss); diag "$1: RssAnon $r MiB"; [ "$r" -lt 300 ] && ok "$1: under 300 MiB" || not_ok "$1: under 300 MiB"; }
t0=$(now) i=0 bad=0
while [ $i -lt 1000 ]; do mkdir "$A/d$i" && "$HELP/iotool" many "$A/d$i" 0 $((N / 1000)) || bad=1; i=$((i + 1)); done
check_eq "$N files are made" $bad 0
diag "in $(($(now) - t0)) s"
limit "after making them"
check_eq "find counts them" "$(find "$A" -type f | wc -l)" $((N / 1000 * 1000))
limit "after a walk"
umnt a; volcano_kill 1; t0=$(now); check "kill -9 and restart" volcano_restart 1; diag "in $(($(now) - t0)) s"
limit "after a restart"
mnt a; check_eq "find counts them" "$(find "$A" -type f | wc -l)" $((N / 1000 * 1000))
limit "after another walk"
finish
