#!/bin/sh
# timeout: 120
# The console's commands, their shapes, and the same as JSON.
. "${0%/*}/lib.sh"

net_start 2 && mnt a || bail "a network of two"
all_well() { console 1 "lava -j" | grep -q '"safe":true'; }
check "two volcanos have two copies of everything soon" wait_for 20 all_well
A=$T/a
mkdir "$A/docs"; printf 'one\ntwo\n' >"$A/docs/readme.txt"; ln -s readme.txt "$A/docs/latest"; chown 1234:33 "$A/docs/readme.txt"
# a command whose answer a busy machine may have to wait for
soon() { _w=$1 _c=$2 _re=$3; wait_for 20 sh -c "timeout 10 '$HELP/console' $(addr 1) $((PORT + 2)) '$SECRET' '$_c' | grep -Eq -- '$_re'"; m "$_w" "$_c" "$_re"; }
m() { _w=$1 _c=$2 _re=$3; _o=$(console 1 "$_c" 2>&1); check_match "$_w" "$_o" "$_re"; }

out=$(timeout 10 "$HELP/console" "$(addr 1)" $((PORT + 2)) - quit)
check_match "the greeting names version and server" "$out" 'Welcome to MAGMA version 1\.0\.0'
check_match "and the address" "$out" "This is server v1 \\($(addr 1)\\)"
if have telnet; then
	out=$( (sleep 1; printf 'version\n'; sleep 1; printf 'quit\n'; sleep 1) | timeout 10 telnet "$(addr 1)" $((PORT + 2)) 2>&1)
	check_match "telnet works" "$out" 'MAGMA \[v1\]'
fi
m "help lists the commands" help 'inspect'
m "help COMMAND explains one" "help inspect" 'inspect'
m "version" version '1\.0\.0'
m "an unknown command says so and names help" frobnicate 'frobnicate.*help|help.*frobnicate'
soon "lava: epoch, volcanos, copies" lava 'Lava topology: epoch [0-9]+, 2 volcanos, 2 copies'
m "lava: nodes" lava "node: v2 \\(v2\\.test\\) $(addr 2):$PORT"
m "lava: the slices tile the keys" lava 'start: 0000000000000000000000000000000000000000'
m "lava: to the end" lava 'stop: ffffffffffffffffffffffffffffffffffffffff'
soon "lava: who owns, copies, votes and leads" lava '   role: owner, copy of v2, voter, leader$'
soon "lava: slices" lava '  slice: 2 of v2, epoch [0-9]+$'
soon "lava: mirrors" lava ' mirror: v2, in sync, lag [0-9]+$'
soon "heal: every slice and copy" heal 'slice 1 of v1: owner v1, 2 of 2 copies'
soon "heal: what is being made" heal 'copies being made: 0'
soon "status says how many copies there are" status 'copies: 2 copies$'
soon "status says that all is well" status 'unsafe: nothing$'
soon "status says how long changes of the map took, where they were decided" status 'changes: [1-9][0-9]* of the map from here, the last took [0-9.]* ms, the longest [0-9.]* ms$'
check_match "the ready line says how many there are, and what is unsafe" "$(cat "$LOGS"/v1.*.log)" ', 1 copy \(2 wanted\); unsafe: degraded$'
check_match "the ready line has its shape" "$(cat "$LOGS"/v1.*.log)" "magmad: v1 ready, epoch [0-9]+, flare $(addr 1):$PORT"
m "ls" "ls /docs" '^-rw-r--r-- +1234 +[a-z0-9-]+ +8 readme\.txt'
m "ls shows where a symlink points" "ls /docs" 'latest -> readme\.txt'
m "ls counts" "ls /docs" 'total entries: [0-9]'
m "ls of a file" "ls /docs/readme.txt" 'readme\.txt'
m "ls of what is not there names path and errno" "ls /nothing" '/nothing.*No such file or directory'
m "cat" "cat /docs/readme.txt" '^two'
m "cat of a directory" "cat /docs" '/docs.*Is a directory'
out=$(console 1 "cd /docs" pwd "cat readme.txt" "cd .." pwd 2>&1)
check_match "cd and pwd" "$out" '^/docs$'; check_match "relative paths" "$out" '^one$'
m "cd to a file" "cd /docs/readme.txt" 'Not a directory'
m "inspect: the flare" "inspect /docs/readme.txt" "flare: /docs/readme.txt \\(regular file, uid=1234, gid=33, size=8, ino=$(stat -c %i "$A/docs/readme.txt")\\)"
m "inspect: key and owner" "inspect /docs/readme.txt" "$(tool hash /docs/readme.txt | cut -c1-40) on v[12]"
m "inspect: the parent" "inspect /docs/readme.txt" 'parent: /docs \(directory, uid=0, gid=0, entries=2\)'
m "commands may be abbreviated" "insp /docs/readme.txt" 'flare: /docs'
m "not when that is ambiguous" "h" '[Aa]mbiguous|help'
m "print debug" "print debug" 'f \[.\] FLARE SYSTEM'
out=$(console 1 "debug on f" "print debug" "debug off f" "print debug")
check_match "debug on" "$out" 'f \[\*\] FLARE SYSTEM'; check_match "debug off" "$out" 'f \[ \] FLARE SYSTEM'
m "debug of an unknown channel" "debug on Z" 'Z'
m "print cache" "print cache" '[0-9]'
m "cache load" "cache load" '.'
echo gone >"$A/docs/gone"
m "erase" "erase /docs/gone" '.'
[ -e "$A/docs/gone" ] && not_ok "the mount sees it gone" || ok "the mount sees it gone"
m "erase of a directory that is not empty" "erase /docs" 'not empty|Is a directory'
m "erase of what is not there" "erase /nothing" '/nothing.*No such file'
if have python3; then
	for c in lava heal "ls /docs" "inspect /docs/readme.txt" status "print debug" "print cache" "ls /nothing" version help pwd frobnicate; do
		console 1 "$c -j" >"$T/json"
		check "JSON: $c" python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$T/json"
	done
else
	skip "JSON" "no python3 to check it with"
fi
# as docs/operations.md asks it, all lines at once
if have bash; then
	cat >"$T/ask" <<'ASK'
nc() { exec 3<>"/dev/tcp/$1/$2"; cat >&3; cat <&3; }
{ echo login; cat "$KEY"; echo "$3 -j"; echo quit; } | nc "$1" "$2" | tr -d '\r' | grep '"epoch"\|"healing"'
ASK
	wait_for 20 all_well
	check_match "a script asks whether all is well" "$(KEY=$KEY timeout 10 bash "$T/ask" "$(addr 1)" $((PORT + 2)) lava)" '^\{"ok":true,.*"safe":true'
	check_match "and what is being made" "$(KEY=$KEY timeout 10 bash "$T/ask" "$(addr 1)" $((PORT + 2)) heal)" '"healing":0,'
fi
# the console of one volcano answers for all
out=$(console 2 "cat /docs/readme.txt" "ls /"); check_match "the other volcano's console shows the same" "$out" 'docs'
umnt a
console 1 shutdown >"$T/out" 2>&1
check "shutdown stops every volcano" wait_for 15 net_each volcano_gone
check "the network starts again from -d" net_restart
mnt a; check_eq "with everything in it" "$(cat "$A/docs/latest")" "one
two"
finish
