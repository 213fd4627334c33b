#!/bin/sh
# timeout: 180
# needs: tshark
# docs/magma.lua: what a client does is read from a capture with the key log, under both ciphers; without the key log it stays sealed.
. "${0%/*}/lib.sh"

plan_skip() { echo "1..0 # SKIP $*"; exit 77; }
have tshark && have dumpcap || plan_skip "no tshark here"
export HOME="$T" XDG_CONFIG_HOME="$T" XDG_RUNTIME_DIR="$T"     # nobody's preferences
tshark --version 2>/dev/null | grep -q 'with Lua' || plan_skip "this tshark is without Lua"
LUA=$TOP/docs/magma.lua
[ -f "$LUA" ] || bail "$LUA"

# capture_start FILE: from here on all datagrams of this test's network go there
capture_start() {
	dumpcap -q -i lo -f "udp and net $NET.0/24 and portrange $PORT-$((PORT + 1))" -w "$1" >"$T/dumpcap.log" 2>&1 7>&- 8>&- 9>&- &
	CAP=$!; note_pid $CAP
	wait_for 10 capture_began_or_failed "$1"
	[ -s "$1" ]
}
capture_began_or_failed() { [ -s "$1" ] || gone $CAP; }
# dissect FILE KEYLOG ARGS...
dissect() {
	_file=$1 _keys=$2; shift 2
	tshark -n -r "$_file" -X "lua_script:$LUA" -o "magma.flare_ports:$PORT" -o "magma.node_ports:$((PORT + 1))" -o "magma.keylog:$_keys" "$@" 2>>"$T/tshark.err"
}
# fields FILE KEYLOG FILTER FIELD...: a line for each frame
fields() {
	_f=$1 _k=$2 _y=$3; shift 3
	dissect "$_f" "$_k" -Y "$_y" -T fields $(printf -- '-e %s ' "$@")
}
# The mount's last word is in the file: so is all before it.
capture_is_whole() { fields "$1" "$2" 'magma && magma.close' frame.number | grep -q .; }
lines() { wc -l <"$1"; }

# session NAME CIPHER: a network and a mount with that cipher, and what of it can be read
session() {
	cap=$T/$1.pcapng keys=$T/$1.keys
	capture_start "$cap" || plan_skip "dumpcap cannot capture on lo: $(tail -n 1 "$T/dumpcap.log")"
	export MAGMA_KEYLOG="$keys"
	net_start 2 && mnt a || bail "a network of two that logs its keys"
	mkdir "$T/a/docs"
	echo "written under $1" >"$T/a/docs/$1.txt"
	head -c 300000 /dev/zero | tr '\0' 'L' >"$T/a/large"
	ls "$T/a/docs/missing" >/dev/null 2>&1
	cat "$T/a/docs/$1.txt" >/dev/null; ls -l "$T/a/docs" >/dev/null
	mv "$T/a/docs/$1.txt" "$T/a/docs/$1.new" && rm "$T/a/docs/$1.new"
	umnt a
	wait_for 15 capture_is_whole "$cap" "$keys" || not_ok "the capture of $1 has the end of the mount's session"
	unset MAGMA_KEYLOG
	end_pid $CAP
	net_end
	# nobody but the owner reads it, and it names the cipher
	check_eq "the key log of $1 has mode 600" "$(stat -c %a "$keys")" 600
	check_match "and says $2" "$(cat "$keys")" "^MAGMA_TRAFFIC .* $2 0 0$"
	check_eq "and nothing else" "$(grep -cv "^MAGMA_TRAFFIC [0-9a-f ]* $2 [0-9]* [0-9]*\$" "$keys")" 0

	dissect "$cap" "$keys" -V >"$T/$1.tree"
	check_eq "$1: the dissector runs without an error" "$(grep -cE 'Lua Error|Dissector bug|Malformed' "$T/$1.tree")" 0
	check_eq "$1: it opens every datagram" "$(grep -c '\[Encrypted' "$T/$1.tree")" 0
	for op in hello lookup mkdir create write read rename unlink readdir getattr; do
		grep -Eq "Operation: $op \([0-9]+\)" "$T/$1.tree" && ok "$1: it names $op" || not_ok "$1: it names $op"
	done
	check_match "$1: lookup has its name" "$(fields "$cap" "$keys" 'magma.msg.op == 10 && magma.msg.kind == 0' magma.name)" '^missing$'
	check_match "$1: and its error" "$(fields "$cap" "$keys" 'magma.msg.op == 10 && magma.msg.error == 2' _ws.col.Info)" 'lookup reply error=ENOENT'
	check_match "$1: create has its name" "$(fields "$cap" "$keys" 'magma.msg.op == 15' magma.name)" "^$1\\.txt\$"
	check_match "$1: mkdir has its name" "$(fields "$cap" "$keys" 'magma.msg.op == 13' magma.name)" '^docs$'
	check_match "$1: rename has both" "$(fields "$cap" "$keys" 'magma.msg.op == 19' magma.from_name magma.to_name)" "^$1\\.txt	$1\\.new\$"
	hex=$(echo "written under $1" | od -An -v -tx1 | tr -d ' \n')
	check_match "$1: write has what was written" "$(fields "$cap" "$keys" 'magma.msg.op == 53' magma.data | tr -d :)" "^$hex\$"
	check_match "$1: read gives it back" "$(fields "$cap" "$keys" 'magma.msg.op == 52 && magma.msg.kind == 1' magma.data | tr -d :)" "$hex"
	check_match "$1: replies are tied to their requests" "$(fields "$cap" "$keys" 'magma.msg.op == 53 && magma.msg.kind == 1' magma.msg.request_in magma.size)" '^[0-9]+	'
	# from many datagrams, in bursts: every byte is an L
	total=$(fields "$cap" "$keys" 'magma.msg.op == 53 && magma.msg.kind == 0' magma.data | tr -d ':\n' | sed 's/4c/L/g' | tr -cd L | wc -c)
	[ "$total" -ge 300000 ] && ok "$1: large writes are put together from their pieces" || not_ok "$1: large writes are put together from their pieces ($total bytes of 300000)"
	check_match "$1: the node protocol too" "$(fields "$cap" "$keys" 'magma_node && magma.msg.op == 81 && magma.msg.kind == 0' magma.name magma.fqdn)" '^v2	v2\.test$'
	check_match "$1: with the map" "$(fields "$cap" "$keys" 'magma.msg.op == 1 && magma.msg.kind == 1' magma.map.name)" '^v1,v2$'
}

# without AES in the CPU both take the second
grep -qwE "aes" /proc/cpuinfo && session fast aes256gcm || session fast chacha20poly1305
export MAGMA_NET_CHACHA=1
session plain chacha20poly1305
unset MAGMA_NET_CHACHA

# The other one's keys are no help, nor is a file that is not there.
for keys in "$T/plain.keys" "$T/none" ""; do
	dissect "$T/fast.pcapng" "$keys" >"$T/sealed"
	rc=$?
	what=${keys:+key log ${keys##*/}}; what=${what:-no key log}
	check_eq "$what: tshark ends well" $rc 0
	[ "$(grep -c ' encrypted$' "$T/sealed")" -gt 30 ] && ok "$what: datagrams are shown as encrypted" || not_ok "$what: datagrams are shown as encrypted"
	check_match "$what: handshakes are named" "$(cat "$T/sealed")" 'Magma .*HELLO'
	check_eq "$what: nothing of the contents is shown" "$(grep -cE 'Lua Error|lookup|create|fast\.' "$T/sealed")" 0
done
check_eq "tshark complained of nothing" "$(grep -viE 'running as user|could be dangerous|cut short|^$' "$T/tshark.err" | sort -u)" ""

# a file that others can read is refused, and the volcano says so and works
: >"$T/open.keys"; chmod 644 "$T/open.keys"
export MAGMA_KEYLOG="$T/open.keys"
volcano_boot 1 && ok "a volcano starts with a key log that others can read" || not_ok "a volcano starts with a key log that others can read"
check_match "says that it does not use it" "$(cat "$(vlog 1)")" "open\\.keys: others may read"
check_eq "and does not use it" "$(wc -c <"$T/open.keys")" 0
finish
