#!/bin/sh
# timeout: 200
# A network between volcanos and clients that delays, loses, doubles and reorders datagrams: it is slower, nothing else. Nobody sees an error, nothing is lost
# or doubled, and no volcano is taken for dead. The test fails if the network was not bad.
# MAGMA_BAD: the proxy's options; MAGMA_SECONDS: how long each round lasts; MAGMA_SEED repeats the proxy's choices as well.
. "${0%/*}/lib.sh"
. "$SYS/lib-faults.sh"
. "$SYS/lib-netns.sh"

ns_setup 3 || { skip "a bad network" "$NS_WHY"; finish; }
NS_N=3
ns_proxy -s "$SEED" ${MAGMA_BAD:--l 20 -d 10 -r 50 -t 2 -j 6} || { [ -n "$NS_WHY" ] && skip "a bad network" "$NS_WHY" && finish; bail "a proxy"; }
net_start 3 && mnt a && VIA=3 mnt b || bail "a network of three behind a proxy"
failover_known
epoch() { console 1 lava | sed -n 's/^Lava topology: epoch \([0-9]*\).*/\1/p'; }
was=$(epoch)
load_start w a b || bail "the load moves"
proxy_ask; check "all goes through the proxy" [ "$(proxy_did received)" -gt 1000 ]
check_eq "which is calm so far" "$(proxy_did lost)$(proxy_did duplicated)$(proxy_did delayed)" 000
passed() { [ $(($(ms) - FAULT_AT)) -ge $((${MAGMA_SECONDS:-8} * 1000)) ]; }
bad() { proxy_ask && [ "$(proxy_did lost)" -ge 50 ] && [ "$(proxy_did duplicated)" -ge 20 ] && [ "$(proxy_did delayed)" -ge 500 ] && [ "$(proxy_did reordered)" -ge 50 ]; }
r=0
while [ $r -lt "$ROUNDS" ]; do
	r=$((r + 1))
	fault_begin
	kill -USR2 "$PROXY"
	wait_for 60 passed
	load_moves 30 || not_ok "round $r: the load goes on in a bad network"
	fault_pause "bad network" 4000
	kill -USR2 "$PROXY"
	load_moves 30 || not_ok "round $r: the load goes on afterwards"
done
check "the network was bad" bad; diag "the proxy: $(tail -n 1 "$T/proxy.out")"
check_eq "nobody was taken for dead: the map is the same" "$(epoch)" "$was"
# large contents too
kill -USR2 "$PROXY"
check "a large file is written in it" timeout 60 "$HELP/iotool" put "$T/a/big" 8 5
check "and read through the other mount" timeout 60 "$HELP/iotool" get "$T/b/big" 8 5
load_end "in a bad network"
for m in a b; do load_verify "in a bad network, mount $m" $m; done
kill -USR2 "$PROXY"
umnt a; umnt b; net_stop
for v in 1 2 3; do check "the store of volcano $v is in order" store_in_order $v; done
pauses_table
finish
