# Sourced after lib.sh by the tests of faults: a load that notes what was acknowledged, the pauses that it sees, and the comparison afterwards.
#
# MAGMA_SEED    repeats a run's choices
# MAGMA_ROUNDS  how often each fault is made (20 and more by hand, for the table of pauses)
# MAGMA_PAUSE   a factor for the limits of pauses (MAGMA_SLOW is another)

SEED=${MAGMA_SEED:-$(date +%N | sed 's/^0*//')}
SEED=${SEED:-1}
diag "seed $SEED"
ROUNDS=${MAGMA_ROUNDS:-1}
R=$SEED
random() { R=$(( (R * 1103515245 + 12345) % 2147483648 )); RND=$((R / 65536 % $1)); }
PAUSES=${MAGMA_PAUSES:-$T/pauses}
ms() { "$HELP/acklog" now; }

# --- the load: for each mount one process on its own and two that share a directory with those of the other mounts -------------------------------------

LOAD='' LOAD_LOGS='' LOAD_SHARED='' LOAD_OWN='' LOAD_ALLOW=''
load_one() { # KIND DIR LOG
	LOAD_K=$((LOAD_K + 1))
	"$HELP/acklog" "$1" "$2" "$3" $((SEED + LOAD_K)) 3600 $LOAD_ALLOW >"$3.out" 2>&1 </dev/null 7>&- &
	note_pid $!; LOAD="$LOAD $!" LOAD_LOGS="$LOAD_LOGS $3"
}
# load_start NAME MOUNT...: starts it, in the folders NAME* of these mounts, and waits until all of it moves.
load_start() {
	LOAD='' LOAD_LOGS='' LOAD_SHARED='' LOAD_OWN='' LOAD_K=0 LOAD_NAME=$1; shift
	mkdir -p "$T/ack.$LOAD_NAME" "$T/$1/$LOAD_NAME.shared" || return 1
	for _m in "$@"; do
		for _k in 1 2; do
			_l=$T/ack.$LOAD_NAME/$_m.$_k
			load_one share "$T/$_m/$LOAD_NAME.shared" "$_l"; LOAD_SHARED="$LOAD_SHARED $_l"
		done
		mkdir -p "$T/$_m/$LOAD_NAME.$_m" || return 1
		_l=$T/ack.$LOAD_NAME/$_m
		load_one run "$T/$_m/$LOAD_NAME.$_m" "$_l"; LOAD_OWN="$LOAD_OWN $_m"
	done
	load_moves 30
}
# All have gone on since MS (default: now), a good number of operations, so that they met every volcano.
load_acked() { "$HELP/acklog" acked "$1" "${2:-40}" $LOAD_LOGS; }
load_moves() { wait_for "$1" load_acked "${2:-$(ms)}"; }
# At least one has stood still for so long (ms), since MS: the fault has reached a client.
load_stalled() { [ "$("$HELP/acklog" pause "$2" "$(ms)" $LOAD_LOGS)" -ge "$1" ]; }
# load_end TEXT: ends it; nobody may have seen an error or hang.
load_end() {
	kill -TERM $LOAD 2>/dev/null
	for _p in $LOAD; do
		wait_for 70 gone "$_p" || { not_ok "$1: a process of the load ends"; kill -KILL "$_p"; }
	done
	_k=0 _bad=0
	for _p in $LOAD; do
		wait "$_p" 2>/dev/null || _bad=1
		_k=$((_k + 1)); _l=$(echo $LOAD_LOGS | cut -d' ' -f$_k)
		diag_file "$_l.out" 5
	done
	LOAD=''
	check_eq "$1: no process of the load saw an error" "$_bad" 0
}
# load_verify TEXT MOUNT: everything acknowledged is there once and whole.
load_verify() {
	check "$1: all that was acknowledged in the shared directory is there, once" "$HELP/acklog" shared "$T/$2/$LOAD_NAME.shared" $LOAD_SHARED; diag_file "$T/out" 1
	for _m in $LOAD_OWN; do
		check "$1: all that was acknowledged to the writer on mount $_m is there" "$HELP/acklog" check "$T/$2/$LOAD_NAME.$_m" "$T/ack.$LOAD_NAME/$_m"; diag_file "$T/out" 1
	done
}

# store_in_order V: of a volcano that has stopped.
store_in_order() {
	tool store "$T/v$1" >"$T/store.out" 2>&1 && return
	cat "$T/store.out"
	return 1
}

# --- pauses ------------------------------------------------------------------------------------------------------------

fault_begin() { FAULT_AT=$(ms); diag "fault at $(date +%T.%N)"; }
# fault_pause KIND LIMIT: the longest time since fault_begin that a process got no answer, into the table; above LIMIT ms (0: none) it fails.
fault_pause() {
	_ms=$("$HELP/acklog" pause "$FAULT_AT" "$(ms)" $LOAD_LOGS)
	printf '%s\t%s\n' "$_ms" "$1" >>"$PAUSES"
	diag "$1: a pause of $_ms ms"
	_limit=$(($2 * SLOW * ${MAGMA_PAUSE:-1}))
	[ "$2" -eq 0 ] || [ "$_ms" -le $_limit ] || not_ok "$1: a pause of at most $_limit ms (it was $_ms)"
}
# A table for docs/reliability.md.
pauses_table() {
	[ -s "$PAUSES" ] || return 0
	diag "| fault | times | pause: min | median | max (ms) |"; diag "|---|---|---|---|---|"
	cut -f2 "$PAUSES" | sort -u | while IFS= read -r _kind; do
		awk -F'\t' -v k="$_kind" '$2 == k { print $1 }' "$PAUSES" | sort -n |
			awk -v k="$_kind" '{ v[NR] = $1 } END { m = NR % 2 ? v[(NR + 1) / 2] : int((v[NR / 2] + v[NR / 2 + 1]) / 2); printf "# | %s | %d | %d | %d | %d |\n", k, NR, v[1], m, v[NR] }'
	done
}

# --- what the network can do -------------------------------------------------------------------------------------------

# The first line of lava, of the first volcano that answers.
topology() {
	_c=1
	while [ $_c -le "$NET_N" ]; do
		volcano_alive $_c && _o=$(console $_c lava 2>/dev/null | grep '^Lava topology:') && { printf '%s\n' "$_o"; return; }
		_c=$((_c + 1))
	done
	return 1
}
copies() { topology | sed -n 's/.* \([0-9][0-9]*\) cop\(y\|ies\).*/\1/p'; }
# All volcanos are there and everything has the copies that were asked for. Each is asked, and all must speak of the same map: one that was stopped, or cut off, tells its old state until it has heard of a newer one.
net_in_sync() {
	_c=1 _all=
	while [ $_c -le "$NET_N" ]; do
		if volcano_alive $_c; then
			console $_c lava >"$T/in_sync" 2>/dev/null || return 1
			! grep -q 'alive: no' "$T/in_sync" || return 1
			_t=$(grep '^Lava topology:' "$T/in_sync") || return 1
			case $_t in *wanted*) return 1 ;; esac
			[ "${_all:=$_t}" = "$_t" ] || return 1
		fi
		_c=$((_c + 1))
	done
	[ -n "$_all" ]
}
# ... and every slice is at home again.
net_at_home() { net_in_sync && ! grep -q 'acts for' "$T/in_sync"; }
# More faults before that would take the last copy. What clients see of a return is over then, too.
net_healed() { failover || return 0; wait_for "${1:-60}" net_at_home || { not_ok "all copies are there again within ${1:-60} s"; net_said; }; }
# Who says what: for whoever has to find out why a network does not heal.
net_said() {
	_c=1
	while [ $_c -le "$NET_N" ]; do
		diag "volcano $_c: lava, heal, status"
		for _q in lava heal status; do console $_c $_q >"$T/said" 2>&1; diag_file "$T/said" 30; done
		diag "volcano $_c: its log"
		diag_file "$(vlog $_c)" 30
		_c=$((_c + 1))
	done
}
# Does a mirror take over from a lost volcano? Asked once, when the network has had its time to copy; what is not asserted otherwise is skipped with the reason.
failover_known() {
	case $(topology) in *"not built"*) ;; *) wait_for 60 net_in_sync ;; esac
	COPIES=$(copies); COPIES=${COPIES:-1}
	diag "$NET_N volcanos, copies: $COPIES"
}
failover() { [ "$COPIES" -ge 2 ]; }
no_failover() { skip "$1" "the network keeps 1 copy"; }
# What the copies hold, which nobody reads while their owners are there: with each volcano killed in turn, a new mount (whose kernel has nothing cached)
# finds everything too. The load has ended; the mounts are gone.
copies_verify() { # TEXT
	failover || { no_failover "$1: the copies hold everything"; return; }
	_w=1
	while [ $_w -le "$NET_N" ]; do
		net_healed
		VIA=$((_w % NET_N + 1)) mnt copy || { not_ok "$1: a mount beside volcano $_w"; return; }
		volcano_kill $_w
		load_verify "$1, volcano $_w killed" copy
		volcano_restart $_w || not_ok "$1: volcano $_w starts again"
		umnt copy
		_w=$((_w + 1))
	done
	net_healed
}
