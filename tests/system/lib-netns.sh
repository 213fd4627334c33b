# Sourced after lib.sh by tests that need a network of their own: every volcano in its network namespace, the clients in another one (c), which also has the
# bridge between all, and one for a proxy (p). Addresses are 10.77.0.I, .100 and .200; nothing of it is seen outside. A namespace is a bind mount $T/ns.NAME,
# so the sweep removes it like other mounts, and with it links and rules. Commands that enter one keep the mounts of the test: what is mounted in c is seen.

NS_WHY=''
ns_in() { _ns=$1; shift; nsenter --net="$T/ns.$_ns" "$@"; }
ns_addr() { case $1 in c) echo "$NET.100" ;; p) echo "$NET.200" ;; *) addr "$1" ;; esac; }
ns_new() {
	: >"$T/ns.$1" && echo "$T/ns.$1" >>"$T/mounts" && unshare --net="$T/ns.$1" true && ns_in "$1" ip link set lo up || return 1
}
ns_join() { # NAME: a cable to the bridge
	ns_in c ip link add "to-$1" type veth peer name eth0 netns "$T/ns.$1" &&
		ns_in c ip link set "to-$1" master br0 up &&
		ns_in "$1" ip address add "$(ns_addr "$1")/24" dev eth0 && ns_in "$1" ip link set eth0 up
}
# ns_setup N: places for volcanos 1 to N. Fails, with the reason in NS_WHY, where the kernel or the rights do not do.
ns_setup() {
	for _c in nft ip nsenter unshare; do have $_c || { NS_WHY="no $_c here"; return 1; }; done
	NET=10.77.0 NET_BASE=0
	_names=p; _n=1; while [ $_n -le "$1" ]; do _names="$_names $_n"; _n=$((_n + 1)); done
	{ ns_new c && ns_in c ip link add br0 type bridge && ns_in c ip address add "$(ns_addr c)/24" dev br0 && ns_in c ip link set br0 up &&
		for _n in $_names; do ns_new "$_n" && ns_join "$_n" || exit 1; done; } >"$T/ns.out" 2>&1 || { NS_WHY="no network namespaces: $(tail -n 1 "$T/ns.out")"; return 1; }
}

# ns_cut I FROM...: volcano I (or c) hears nothing of these any more: their packets are dropped, without a word to them, before they get to a socket.
ns_cut() {
	_at=$1; shift
	ns_in "$_at" nft -f - <<-RULES || { diag "nft refuses the rules"; return 1; }
		table ip fault {
			counter hit { }
			chain in {
				type filter hook input priority -300; policy accept;
				ip saddr { $(for _f in "$@"; do printf '%s, ' "$(ns_addr "$_f")"; done) } counter name hit drop
			}
		}
	RULES
}
# How many packets that dropped so far.
ns_hits() { ns_in "$1" nft list counter ip fault hit 2>/dev/null | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
ns_hit() { _h=$(ns_hits "$1"); [ "${_h:-0}" -ge "${2:-1}" ]; }
ns_heal() { ns_in "$1" nft delete table ip fault; }

# ns_proxy ARGS...: everything that volcanos 1 to N (NS_N) and clients send each other goes through tests/system/helpers/udpproxy in p, called with these
# arguments: who sends to 10.77.0.I gets another target, and the answers of that look as if they came from I. Before the network starts. Its pid: $PROXY
ns_proxy() {
	_pairs='' _rules='' _n=1
	while [ $_n -le "$NS_N" ]; do
		for _port in $PORT $((PORT + 1)); do
			_via=$(ns_addr p):$((_port + _n * 10))
			_pairs="$_pairs $_via=$(addr $_n):$_port"
			_rules="$_rules ip daddr $(addr $_n) udp dport $_port counter name hit dnat to $_via;"
		done
		_n=$((_n + 1))
	done
	$(ns_enter p) "$HELP/udpproxy" "$@" $_pairs >"$T/proxy.out" 2>&1 &
	PROXY=$!; note_pid $PROXY
	wait_for 5 grep -q ready "$T/proxy.out" || { diag_file "$T/proxy.out"; return 1; }
	for _n in c $(seq "$NS_N"); do
		printf 'table ip detour {\n counter hit { }\n chain out {\n type nat hook output priority -100;\n %s\n }\n }\n' "$_rules" | ns_in "$_n" nft -f - || { NS_WHY="no address translation here"; return 1; }
	done
}
# proxy_did WORD: how many; what the proxy said last.
proxy_ask() { _was=$(wc -l <"$T/proxy.out"); kill -USR1 "$PROXY" && wait_for 5 sh -c "[ \$(wc -l <'$T/proxy.out') -gt $_was ]"; }
proxy_did() { tail -n 1 "$T/proxy.out" | sed -n "s/.*$1 \([0-9]*\).*/\1/p"; }
