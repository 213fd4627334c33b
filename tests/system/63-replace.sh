#!/bin/sh
# timeout: 150
# A volcano whose folder is lost is replaced by an empty one under the same nickname: it takes the old place, gets its slice back, and nothing acknowledged is missing. The unsafe
# states on the way are loud: lava, heal, status, the log, magma-ping's exit code.
. "${0%/*}/lib.sh"

PING=$B/magma_tools/magma-ping
export MAGMA_KEY="$SECRET"
ping_is() { "$PING" -c 1 "$(addr "$1"):$PORT" >"$T/ping" 2>&1; [ $? -eq "$2" ]; }
ping_says() { ping_is "$1" 3 && grep -Eq "$2" "$T/ping"; }
slice_home() { console 1 "lava -j" | grep -q "\"home\":\"v$1\",\"owner\":\"v$1\""; }
log_has() { grep -Eq "$2" "$(vlog "$1")"; }

net_start 3 && mnt a || bail "a network of three"
check "magma-ping: 0 when all is well" wait_for 30 ping_is 1 0
check_match "lava is silent then" "$(console 1 'lava -j')" '"safe":true,"unsafe":\[\]'
mkdir "$T/a/d"
i=0; while [ $i -lt 60 ]; do mkdir "$T/a/d/$i"; head -c $((i * 700)) /dev/urandom >"$T/a/d/$i/f"; i=$((i + 1)); done
sync
sums() { (cd "$T/a" && find d -type f | sort | xargs sha1sum); }
sums >"$T/before"

volcano_kill 2; rm -rf "$T/v2"
check "magma-ping: 3 when a volcano is down, and says which" wait_for 15 ping_says 1 'down: v2$'
check_match "status says it" "$(console 1 status)" 'unsafe: down: v2'
check_match "lava shows who acts" "$(console 1 lava)" 'role: .*acts for v2'
check_match "and who is down" "$(console 1 lava)" 'role: down'
check_match "heal lists the slices" "$(console 1 heal)" 'slice [0-9]+ of v2: owner v[13], [12] of 2 copies'
check "the log says it" wait_for 5 log_has 1 'down: v2'

# the same name and address, an empty folder
check "an empty folder takes the place of v2" volcano_join 2 1
check_match "there are still three" "$(console 1 lava)" ', 3 volcanos,'
check "its slice comes home" wait_for 30 slice_home 2
check "magma-ping: 0 again" wait_for 30 ping_is 2 0
check "the log says that all is well" wait_for 5 log_has 1 'all is well'
sums >"$T/after"
check "everything is there" cmp "$T/before" "$T/after"
volcano_kill 3
check "v3 is down" wait_for 15 ping_says 1 'down: v3$'
sums >"$T/after"
check "and is without v3, from what v2 was given" cmp "$T/before" "$T/after"
volcano_restart 3
check "all is well with v3 back" wait_for 30 ping_is 1 0

# another machine: the old folder turns up again afterwards
volcano_kill 2; mv "$T/v2" "$T/v5"
check "v2 is down" wait_for 15 ping_says 1 'down: v2$'
check "an empty folder at another address takes its place" volcano_start 4 -n v2 -s v2.test -i "$(addr 4)" -p $PORT -K "$KEY" -j "$(addr 1):$PORT"
check "its slice comes home there" wait_for 30 ping_is 4 0
volcano_spawn 5
check "the old folder ends by itself" wait_for 20 volcano_gone 5
check "and says why" log_has 5 "replaced by the one at $(addr 4):$PORT"
sums >"$T/after"
check "everything is there still" cmp "$T/before" "$T/after"
umnt a; NET_N=5; net_end

# R=1: what only that folder had cannot be taken over
volcano_boot 1 -R 1 && volcano_join 2 1 || bail "a network of two with one copy"
check "one copy is what was wanted: all is well" wait_for 10 ping_is 1 0
volcano_kill 2; mv "$T/v2" "$T/v2.away"
check "a slice waits for its volcano, loudly" wait_for 15 ping_says 1 'waiting: slice 2 of v2 waits for v2'
says "an empty folder is refused" 1 "alone has all of it" "$MAGMAD" -d "$T/v2" -n v2 -s v2.test -i "$(addr 2)" -p $PORT -K "$KEY" -j "$(addr 1):$PORT"
rm -rf "$T/v2"; mv "$T/v2.away" "$T/v2"
check "the old one comes back" volcano_restart 2
check "and all is well" wait_for 15 ping_is 1 0
finish
