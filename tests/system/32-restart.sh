#!/bin/sh
# timeout: 120
# Restarts, in any order, under clients that stay: they wait and go on; open files stay open, without a name too.
. "${0%/*}/lib.sh"

net_start 3 && mnt a || bail "a network of three"
A=$T/a
mkdir "$A/d"; i=0
while [ $i -lt 30 ]; do echo $i >"$A/d/f$i"; i=$((i + 1)); done
mkfifo "$T/step"
"$HELP/iotool" hold "$A/held" <"$T/step" >"$T/held.out" 2>&1 &
HOLD=$!; note_pid $HOLD
exec 7>"$T/step"
wait_for 5 grep -q held "$T/held.out" || not_ok "a file is held open without a name"
same() { [ "$(grep -c same "$T/held.out")" -ge "$1" ]; }
sum=$(cat "$A"/d/* | sha1sum)

for v in 1 2 3; do
	check "volcano $v stops on TERM" volcano_stop $v
	check "its stop is in good order" tool store "$T/v$v"
	( cat "$A"/d/* | sha1sum >"$T/sum" ) & r=$!
	note_pid $r
	check "volcano $v starts again" volcano_restart $v
	wait $r
	check_eq "a reader waited for it and got everything" "$(cat "$T/sum")" "$sum"
	echo $v >&7
	check "the file without a name is there" wait_for 15 same $v
done
net_kill
for v in 3 1 2; do volcano_spawn $v; done
check "all start, in another order" net_each volcano_ready
check_eq "the same mount goes on" "$(cat "$A"/d/* | sha1sum)" "$sum"
echo 4 >&7
check "the file without a name survived kill -9 of all" wait_for 15 same 4
exec 7>&-; wait $HOLD
check_eq "and can be closed" $? 0
# one comes late: what it does not hold is served before
net_kill
volcano_spawn 1; volcano_spawn 2; volcano_ready 1
( cat "$A"/d/* | sha1sum >"$T/sum" ) & r=$!
note_pid $r
sleep 0.5
check "the last one comes late" volcano_restart 3
wait $r; check_eq "who waited gets everything" "$(cat "$T/sum")" "$sum"
# HUP is no reason to end
kill -HUP "$(vpid 1)"; sleep 0.2
check "HUP: it goes on" sh -c "kill -0 $(vpid 1) && echo x >$A/d/new"
umnt a
kill -INT "$(vpid 3)"
check "INT stops like TERM" wait_for 10 gone "$(vpid 3)"
wait "$(vpid 3)"; check_eq "with exit code 0" $? 0
# to the background once it is ready; the command line shows no secret
"$MAGMAD" -d "$T/v3" --daemon >"$T/out" 2>&1; rc=$?
check_eq "--daemon returns with 0 when it is ready" $rc 0
p=$(pgrep -f "magmad.* $T/v3( |\$)" | head -n 1); note_pid "${p:-0}"
check "and serves" wait_for 5 sh -c "MAGMA_KEY='$SECRET' $B/magma_tools/magma-ping -c 1 $(addr 3):$PORT; [ \$? -ne 1 ]"
kill -TERM "${p:-0}" 2>/dev/null; check "and stops" wait_for 10 gone "${p:-0}"
# where it has to wait for the others it says so; interrupted, the command ends and the volcano goes on waiting
volcano_kill 1; volcano_kill 2
waiting() { "$MAGMAD" -d "$T/v3" --daemon >"$T/wait.out" 2>"$T/wait.err" & W=$!; note_pid $W; wait_for 10 grep -q 'waits for' "$T/wait.err"; }
check "--daemon says what it waits for" waiting
p=$(pgrep -P $W | head -n 1); note_pid "${p:-0}"
state=$(console 3 status | sed -n 's/^ *state: //p')
check_match "as status does" "$(head -n 1 "$T/wait.err")" "^magmad: v3: ${state:-?} \\(.*in the background"
kill -INT $W; wait $W; check_eq "an interrupted --daemon ends with 3" $? 3
check_eq "and says who goes on" "$(tail -n 1 "$T/wait.err")" "magmad: goes on waiting in the background, process $p"
check "and that is so" alive "${p:-0}"
kill -TERM "${p:-0}"; check "until it is told to stop" wait_for 10 gone "${p:-0}"
check "it waits again" waiting
p=$(pgrep -P $W | head -n 1); note_pid "${p:-0}"
volcano_spawn 1; volcano_spawn 2
check "until the others are there" wait_for 20 gone $W
wait $W; check_eq "then --daemon returns with 0" $? 0
check_match "and with the ready line" "$(cat "$T/wait.out")" '^magmad: v3 ready, epoch'
kill -TERM "${p:-0}"; check "and stops" wait_for 10 gone "${p:-0}"
# the secret on the command line is wiped at once
volcano_start 9 -n v9 -s v9.test -i "$(addr 9)" -p $PORT -k "$SECRET" -b
tr '\0' ' ' <"/proc/$(vpid 9)/cmdline" >"$T/cmd"
grep -q -- "$SECRET" "$T/cmd" && not_ok "-k is wiped from the process list" || ok "-k is wiped from the process list"
grep -rqa -- "$SECRET" "$T/v9" && not_ok "the folder holds no secret" || ok "the folder holds no secret"
finish
