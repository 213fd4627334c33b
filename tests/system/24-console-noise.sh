#!/bin/sh
# timeout: 120
# What a console must bear: lines of a megabyte, binary, half lines, 1,000 connections; and who has not logged in learns nothing.
. "${0%/*}/lib.sh"

net_start 1 && mnt a || bail "a volcano"
P=$((PORT + 2)) H=$(addr 1)
rss() { awk '/^RssAnon/ { print $2 }' "/proc/$(vpid 1)/status"; }
fds() { ls "/proc/$(vpid 1)/fd" | wc -l; }
console 1 help >/dev/null
r=$(rss) f=$(fds)
still() { [ -n "$(console 1 version)" ] && echo x >"$T/a/x"; }
for w in line binary half silent; do
	timeout 60 "$HELP/consolenoise" "$H" $P $w >"$T/noise" 2>&1; rc=$?
	check_eq "$w: the connection is taken" $rc 0 || diag_file "$T/noise"
	check "$w: the console and the mount go on" still
done
timeout 60 "$HELP/consolenoise" "$H" $P many 1000 >"$T/noise" 2>&1 & n=$!
note_pid $n
sleep 1
check "the mount goes on beside 1,000 connections" sh -c "echo y >$T/a/y"
wait $n; check_eq "1,000 connections at once" $? 0; diag_file "$T/noise"
quiet() { [ "$(fds)" -le $((f + 2)) ]; }
check "their descriptors are given back" wait_for 15 quiet
check "the console goes on" still
g=$(($(rss) - r)); diag "RssAnon grew by $g KiB"
[ $g -lt 16384 ] && ok "memory does not grow" || not_ok "memory does not grow"

for c in lava "ls /" "cat /x" status "erase /x" shutdown "print debug"; do
	out=$(timeout 10 "$HELP/console" "$H" $P - "$c" | sed '1,/Type help/d')
	if printf %s "$out" | grep -qi 'login' && ! printf %s "$out" | grep -Eq 'v1|epoch|total|[0-9a-f]{40}'; then ok "without login: $c is refused"; else not_ok "without login: $c is refused"; diag "$out"; fi
done
check "the file is still there, and so is the volcano" sh -c "[ -e $T/a/x ] && kill -0 $(vpid 1)"
t0=$(now)
out=$(timeout 30 "$HELP/console" "$H" $P wrong-secret lava); rc=$?
check_eq "a wrong secret is refused" $rc 1
[ $(($(now) - t0)) -ge 1 ] && ok "and delayed" || not_ok "and delayed"
check_match "and logged" "$(cat "$(vlog 1)")" '[Ll]ogin|secret|authentication'
grep -q -- "$SECRET" "$LOGS"/v1.*.log && not_ok "the log shows no secret" || ok "the log shows no secret"
check "magmad stops in good order" sh -c "umount $T/a"
volcano_stop 1; check_eq "with exit code 0" $? 0
finish
