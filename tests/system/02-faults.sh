#!/bin/sh
# timeout: 90
# What the tests of faults rely on: the load's check finds each kind of damage and nothing else, errors and pauses are seen, the proxy makes the network as
# bad as it is told and always the same way for a seed, and what is cut off in namespaces gets nothing. No volcano takes part.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"
. "$SYS/lib-netns.sh"

# --- the load, on a local disk -----------------------------------------------------------------------------------------

mkdir "$T/m"
load_start w m || bail "the load moves"
from=$(ms); wait_for 10 load_acked "$from" 300
load_end "on a local disk"
load_verify "undamaged" m
cp -a "$T/m" "$T/whole"
LOAD_DIR=$T/m/w.shared
names() { (cd "$LOAD_DIR" && ls -d r?/"$1"); }
found() { # DAMAGE WHAT-IS-SAID COMMAND, done in the shared directory
	(cd "$LOAD_DIR" && eval "$3") || not_ok "$1: is made"
	check_fails "$1 is found" "$HELP/acklog" shared "$LOAD_DIR" $LOAD_SHARED && { grep -q "WRONG $2" "$T/out" || { not_ok "$1 is said"; diag_file "$T/out"; }; }
	rm -rf "$T/m"; cp -a "$T/whole" "$T/m"
}
found "a removed name" 'r\*/m.1.0: has names' 'rm "$(names m.1.0 | head -n 1)"'
found "a name that should be gone" 'r.*is listed' 'for d in r0 r1 r2 r3; do [ -e $d/m.1.1 ] || { ln "$(names m.1.1 | head -n 1)" $d/; break; }; done; [ -e r0/m.1.1 ] && [ -e r1/m.1.1 ] && [ -e r2/m.1.1 ] && [ -e r3/m.1.1 ] && touch r0/m.1.77; :'
found "half a rename" 'r\*/m.2.2: has' 'ln "$(names m.2.2 | head -n 1)" elsewhere; rm "$(names m.2.2 | head -n 1)"'
found "a copy in place of a link" 'r' 'f=$(names m.1.3 | head -n 1); cp $f x; mv x $f; printf y | dd of=$f bs=1 seek=9 conv=notrunc status=none'
found "a token that is there twice" 't/1: token .* again' 'tail -n 1 t/1 >>t/1'
found "a lost token" 't/2: token .* is lost' 'sed -i 3d t/2'
found "a torn token" 't/3: token .* other bytes' 'truncate -s -3 t/3'
found "zeros among the tokens" 't/0: nobody wrote' 'head -c 100 /dev/zero >>t/0'
found "tokens in another order" 't/0: token .* comes behind' 'grep "^m.1" t/0 | head -n 2 >x; { sed -n 2p x; sed -n 1p x; grep -vxFf x t/0; } >y; mv y t/0'
found "a counter that went back" 'n/m.1: is ' 'printf "%020d\n" 1 >n/m.1'
found "a shared counter that missed one" 'n/shared.m.0: is ' 'n=$(sed "s/^0*//" n/shared.m.0); printf "%020d\n" $((n - 1)) >n/shared.m.0'
found "a counter that counted once too often" 'n/m.2: is ' 'n=$(sed "s/^0*//" n/m.2); printf "%020d\n" $((n + 2)) >n/m.2'
found "another byte in a file" 'f/m.1.0: is not the last' 'head -c 1 f/m.1.0 | tr "\000-\377" "\001-\377\000" >x; dd if=x of=f/m.1.0 bs=1 conv=notrunc status=none'
found "a lost file" 'f/m.2.1: is lost' 'rm f/m.2.1'
found_own() {
	eval "$2"
	check_fails "$1 is found" "$HELP/acklog" check "$T/m/w.m" "$T/ack.w/m"
	rm -rf "$T/m"; cp -a "$T/whole" "$T/m"
}
big=$(find "$T/m/w.m" -type f -size +0 | sort | head -n 1)
found_own "a lost file of a writer" 'rm "$big"'
found_own "a doubled append of a writer" 'tail -c 100 "$big" >>"$big"'
found_own "a stranger" 'touch "$T/m/w.m/d1/f99"'

# --- errors and pauses -------------------------------------------------------------------------------------------------

mkdir "$T/small"; echo "$T/small" >>"$T/mounts"
if mount -t tmpfs -o size=600k magma-test "$T/small" 2>/dev/null; then
	mkdir "$T/small/a" "$T/small/b"
	check_fails "an error is a failure" timeout 20 "$HELP/acklog" run "$T/small/a" "$T/small.a" "$SEED" 2
	check_match "and is told" "$(cat "$T/out")" 'FAILED operation .*ENOSPC'
	check "what was acknowledged all the same is there" "$HELP/acklog" check "$T/small/a" "$T/small.a"
	rm -rf "$T/small/a"
	check "an allowed error is none" timeout 20 "$HELP/acklog" run "$T/small/b" "$T/small.b" "$SEED" 2 EROFS,ENOSPC
	check_match "but is counted" "$(cat "$T/out")" ' 0 errors, [1-9][0-9]* times EROFS,ENOSPC'
	check "what was acknowledged is there" "$HELP/acklog" check "$T/small/b" "$T/small.b"
	umount "$T/small"
else skip "errors of the load" "cannot mount a tmpfs here"; fi
printf 'B 0 x\nA 0 1000\nB 1 x\nA 1 1500\nB 2 x\nE 2 2000 EIO\nB 3 x\nA 3 5000\n' >"$T/fake"
check_eq "the longest pause of a log" "$("$HELP/acklog" pause 900 5000 "$T/fake")" 3500
check_eq "one that lasts" "$("$HELP/acklog" pause 900 9999 "$T/fake")" 4999
check_eq "one that began before counts from there on" "$("$HELP/acklog" pause 1100 1200 "$T/fake")" 400
check "it has gone on since" "$HELP/acklog" acked 1400 2 "$T/fake"
check_fails "but not so often" "$HELP/acklog" acked 1400 3 "$T/fake"
printf '7\tx, y\n9\tx, y\n30\tx, y\n' >"$PAUSES"
check_match "the table of pauses" "$(pauses_table)" '# \| x, y \| 3 \| 7 \| 9 \| 30 \|'

# --- the proxy ---------------------------------------------------------------------------------------------------------

proxied() { # ARGS...: 3000 datagrams through a proxy with faults on, into a calm one that counts them
	_a=$(addr 1)
	bg "$HELP/udpproxy" "$_a:$((PORT + 20))=$_a:$((PORT + 30))" >"$T/sink.out"; _sink=$BG
	bg "$HELP/udpproxy" "$@" "$_a:$((PORT + 10))=$_a:$((PORT + 20))" >"$T/proxy.out"; PROXY=$BG
	wait_for 5 grep -q ready "$T/proxy.out" && wait_for 5 grep -q ready "$T/sink.out" || return 1
	kill -USR2 $PROXY; proxy_ask      # it hears signals only while no datagram waits: its answer says that the faults are on
	"$HELP/dgram" "$_a" $((PORT + 10)) 3000 "$SEED" random >/dev/null
	drained() { proxy_ask && [ $(($(proxy_did passed) + $(proxy_did lost))) -ge $((3000 + $(proxy_did duplicated))) ]; }
	wait_for 10 drained || return 1
	end_pid $PROXY; end_pid $_sink
	DID="$(proxy_did lost) $(proxy_did duplicated)"
}
check "a bad proxy" proxied -s "$SEED" -l 50 -d 30 -r 20 -j 3; first=$DID; diag "$(tail -n 1 "$T/proxy.out")"
near() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }
check "loses one in 20" near "$(proxy_did lost)" 90 220
check "doubles three in a hundred" near "$(proxy_did duplicated)" 45 140
check "lets some overtake others" near "$(proxy_did reordered)" 30 3100
check_eq "what it let through has arrived" "$(sed -n '$s/^received \([0-9]*\).*/\1/p' "$T/sink.out")" "$(proxy_did passed)"
check "again" proxied -s "$SEED" -l 50 -d 30 -r 20 -j 3
check_eq "the same seed loses and doubles as many" "$DID" "$first"
check "a calm proxy" proxied -s "$SEED"
check_eq "does nothing" "$(proxy_did lost) $(proxy_did duplicated) $(proxy_did delayed) $(proxy_did reordered) $(proxy_did passed)" "0 0 0 0 3000"

# --- namespaces --------------------------------------------------------------------------------------------------------

ns_setup 2 || { skip "namespaces" "$NS_WHY"; finish; }
# hears A B: does what B sends arrive at A?
hears() {
	bg $(ns_enter "$1") "$HELP/udpproxy" "$(addr "$1"):9=127.0.0.1:9" >"$T/hear.out"
	wait_for 5 grep -q ready "$T/hear.out" || return 2
	ns_in "$2" "$HELP/dgram" "$(addr "$1")" 9 20 1 random >/dev/null
	end_pid $BG
	[ "$(sed -n 's/^received \([0-9]*\).*/\1/p' "$T/hear.out")" -gt 0 ]
}
check "one hears the other" hears 1 2
ns_cut 1 2
check_fails "cut off, it does not" hears 1 2
check "what was dropped is counted" ns_hit 1 20
check "the other way is open" hears 2 1
check_fails "nothing was dropped there" ns_hit 2
ns_heal 1
check "healed, it hears again" hears 1 2
finish
