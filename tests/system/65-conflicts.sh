#!/bin/sh
# timeout: 180
# A true partition of two volcanos without a witness: both go on, one line stands, and what the other side has that differs is under /.dht/conflicts until somebody clears it.
. "${0%/*}/lib.sh"
. "$SYS/lib-netns.sh"

ns_setup 2 || { skip "a partition" "$NS_WHY"; finish; }
copies() { MAGMA_KEY=$SECRET nsenter --net="$T/ns.c" "$B/magma_tools/magma-ping" "$(addr "$1"):$PORT" 2>&1 | grep -q "$2"; }
both_hold_all() { copies 1 '2 copies' && copies 2 '2 copies'; }
net_start 2 && wait_for 20 both_hold_all && mnt a || bail "a network of two"
A=$T/a
mkdir "$A/d" "$A/d/deep"
for f in same edited d/same d/deep/same removed bigedited; do echo "before $f" >"$A/$f"; done
head -c 300000 /dev/urandom >"$A/bigedited"; cp "$A/bigedited" "$A/bigsame"; cp "$A/bigedited" "$T/big"
ln -s before "$A/link"; echo x >"$A/mode"; chmod 644 "$A/mode"; sync
sleep 1
umnt a

# Neither hears the other any more; clients reach both.
ns_cut 1 2 && ns_cut 2 1 || bail "the partition"
alone() { grep -q "$2" "$(vlog "$1")"; }
both_alone() { alone 1 'v2 is down\|goes on without' && alone 2 'goes on without'; }
check "both go on alone" wait_for 20 both_alone
VIA=2 mnt b -o proxy || bail "a mount through v2"
VIA=1 mnt c -o proxy || bail "a mount through v1"
side() { # MOUNT WORD: what both sides do
	echo "$2" >"$1/only$2" && echo "$2" >"$1/d/deep/only$2" && echo equal >"$1/equal" && echo "$2" >"$1/unlike" && mkdir "$1/dir$2" && echo "$2" >"$1/dir$2/in"
}
check "side 1 takes changes" side "$T/c" one
check "side 2 takes changes" side "$T/b" two
for s in b c; do echo "$s" >"$T/$s/edited"; ln -sf "$s" "$T/$s/link"; done
chmod 600 "$T/b/mode"; chmod 640 "$T/c/mode"
printf B | dd of="$T/b/bigedited" bs=1 seek=200000 conv=notrunc 2>/dev/null
printf C | dd of="$T/c/bigedited" bs=1 seek=100000 conv=notrunc 2>/dev/null
rm "$T/b/removed" "$T/c/removed"
sync; umnt b; umnt c
ns_heal 1; ns_heal 2
aside() { ls "$T"/v[12]/conflicts/*/journal; }
check "they meet: one side is set aside" wait_for 30 aside
check "and both hold what stands" wait_for 40 both_hold_all
if [ -d "$T/v1/conflicts" ]; then L=1 W=2 lost=one stands=two ls=c; else L=2 W=1 lost=two stands=one ls=b; fi
diag "the side of v$L does not stand"
compared() { console $W conflicts | grep -q "/.dht/conflicts/v$L/.*compared"; }
check "it is compared" wait_for 30 compared
VIA=$W mnt e || bail "mount"
E=$T/e C=$T/e/.dht/conflicts
check_eq "what stands" "$(cd "$E" && ls | tr '\n' ' ')" "bigedited bigsame d dir$stands edited equal link mode only$stands same unlike "
check_eq "who has something" "$(ls "$C")" v$L
time=$(ls "$C/v$L")
check_match "when" "$time" '^20[0-9]{6}T[0-9]{6}Z$'
D=$C/v$L/$time
check_eq "what differs is there, what is equal is not" "$(cd "$D" && find . | sort | tr '\n' ' ')" ". ./bigedited ./d ./d/deep ./d/deep/only$lost ./dir$lost ./dir$lost/in ./edited ./link ./mode ./only$lost ./unlike "
check_eq "contents: edited on both sides" "$(cat "$D/edited" "$E/edited")" "$(if [ $L = 1 ]; then printf 'c\nb'; else printf 'b\nc'; fi)"
check_eq "only there" "$(cat "$D/only$lost" "$D/d/deep/only$lost" "$D/dir$lost/in" "$D/unlike" | tr '\n' ' ')" "$lost $lost $lost $lost "
check_eq "a large one" "$(cmp -l "$D/bigedited" "$T/big" | wc -l)" 1
check_eq "attributes" "$(stat -c %a "$D/mode")" "$(if [ $L = 1 ]; then echo 640; else echo 600; fi)"
check_eq "a symbolic link" "$(readlink "$D/link")" $ls
check_fails "no change" touch "$D/edited"
check_match "read-only" "$(cat "$T/out")" 'Read-only file system'
check "cp -a out of it" sh -c "cp -a $D $E/rescued && diff -r --no-dereference $D $E/rescued && [ \$(stat -c %a $E/rescued/mode) = \$(stat -c %a $D/mode) ]"
check_match "status of that volcano" "$(console $L status)" "unsafe: conflicts: /.dht/conflicts/v$L/$time"
check_match "lava of any" "$(console $W lava)" "CONFLICT: /.dht/conflicts/v$L/$time: compared, [0-9]+ flares differ"
check_match "in JSON" "$(console $W 'conflicts -j')" "\"node\":\"v$L\",\"time\":\"$time\",\"state\":\"compared\",\"differing\":[1-9]"
check_match "the log" "$(cat "$(vlog $L)")" "CONFLICT: /.dht/conflicts/v$L/$time"
check "magma-ping" sh -c "MAGMA_KEY=$SECRET nsenter --net=$T/ns.c $B/magma_tools/magma-ping -c 1 $(addr $L):$PORT 2>&1 | grep -q 'conflicts: /.dht'"
check_match "the console's ls" "$(console $W "ls /.dht/conflicts/v$L/$time")" "only$lost"

volcano_kill $L; volcano_restart $L || not_ok "v$L comes back"
again() { [ "$(cat "$D/only$lost")" = $lost ]; }
check "it is there after a restart" wait_for 30 again
check "which does not compare again" sh -c "! grep -q 'being compared' $(vlog $L)"

check_match "clearing what is not there" "$(console $W "conflicts clear v$L 20200101T000000Z")" 'nothing of that name'
check_match "clearing" "$(console $W "conflicts clear v$L $time")" 'cleared'
check_eq "it is gone" "$(ls "$C/v$L")" ""
nobody() { [ -z "$(ls "$C")" ]; }
check "nobody has anything" wait_for 5 nobody
check_eq "from the disk too" "$(ls "$T/v$L/conflicts" 2>/dev/null)" ""
case $(console $L status) in *onflict*|*CONFLICT*) not_ok "nobody says anything any more" ;; *) ok "nobody says anything any more" ;; esac
umnt e
net_stop
finish
