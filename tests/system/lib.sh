# A small TAP library for the system tests. A test file begins with
#
#     . "${0%/*}/lib.sh"
#     net_start 2 && mnt a || bail "no network"
#
# and ends with `finish`. Everything a test makes stands in one temporary folder, $T; processes and mounts are noted there as they are made, so that
# cleanup finds them however the test ends. Addresses (127.x.y.N, from the test's pid) and ports are the test's own, so tests run beside each other.
#
# MAGMA_BUILD   the build folder (default: the first of build-test/gcc, build, the tree itself that has a magmad)
# MAGMA_LOGS    where logs go and stay (default: inside $T; their ends are shown when a test fails)
# MAGMA_SLOW    a factor for all deadlines (sanitizers, valgrind, loaded machines)

set -u
umask 022
export LC_ALL=C

LIB_HERE=$(cd "${0%/*}" && pwd -P)
TOP=$LIB_HERE
while [ ! -f "$TOP/configure.ac" ] && [ "$TOP" != / ]; do TOP=$(dirname "$TOP"); done
SYS=$TOP/tests/system

T_N=0 T_BAD=0 T_SKIPPED=0 T_NAME=$(basename "$0" .sh)
SLOW=${MAGMA_SLOW:-1}
NET_N=0

# --- results -----------------------------------------------------------------------------------------------------------

diag() { printf '%s\n' "$*" | sed 's/^/# /'; }
ok() { T_N=$((T_N + 1)); printf 'ok %d - %s\n' "$T_N" "$*"; }
not_ok() { T_N=$((T_N + 1)); T_BAD=$((T_BAD + 1)); printf 'not ok %d - %s\n' "$T_N" "$*"; return 1; }
skip() { T_N=$((T_N + 1)); T_SKIPPED=$((T_SKIPPED + 1)); printf 'ok %d - %s # SKIP %s\n' "$T_N" "$1" "$2"; }
bail() { not_ok "$*"; exit 1; }
finish() { printf '1..%d\n' "$T_N"; [ "$T_BAD" -eq 0 ] && [ "$T_N" -gt 0 ]; exit; }

# Shows the end of a file as comments.
diag_file() { [ -s "$1" ] && tail -n "${2:-20}" "$1" | cut -c1-300 | tr -d '\000' | sed 's/^/#   /'; return 0; }

# check DESCRIPTION COMMAND...: passes when the command succeeds. Its output is in $T/out.
check() {
	_what=$1; shift
	if "$@" >"$T/out" 2>&1; then ok "$_what"; else
		_rc=$?
		not_ok "$_what"; diag "exit $_rc: $*"; diag_file "$T/out"; return 1
	fi
}
# check_fails DESCRIPTION COMMAND...: passes when the command fails by itself (not by a signal or a timeout).
check_fails() {
	_what=$1; shift
	"$@" >"$T/out" 2>&1; _rc=$?
	if [ $_rc -ne 0 ] && [ $_rc -ne 124 ] && [ $_rc -lt 128 ]; then ok "$_what"; else not_ok "$_what"; diag "exit $_rc: $*"; diag_file "$T/out"; return 1; fi
}
# check_eq DESCRIPTION GOT WANTED
check_eq() {
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1"; diag "got:    $(printf %s "$2" | head -c 400)"; diag "wanted: $(printf %s "$3" | head -c 400)"; return 1; fi
}
# check_match DESCRIPTION TEXT REGEX (extended, grep -E)
check_match() {
	if printf '%s\n' "$2" | grep -Eq -- "$3"; then ok "$1"; else not_ok "$1"; diag "no match for: $3"; diag "$(printf %s "$2" | head -c 800)"; return 1; fi
}
# says DESCRIPTION CODE REGEX COMMAND...: the command ends within 8 s with that exit code ("1|2": either) and exactly one line, which matches.
says() {
	_what=$1 _code=$2 _re=$3; shift 3
	timeout -k 2 $((8 * SLOW)) "$@" >"$T/out" 2>&1 </dev/null; _rc=$?
	_lines=$(wc -l <"$T/out")
	if [ "$_lines" -eq 1 ] && case "|$_code|" in *"|$_rc|"*) ;; *) false ;; esac && grep -Eiq -- "$_re" "$T/out"; then ok "$_what"; else
		not_ok "$_what"; diag "exit $_rc (wanted $_code), $_lines lines (wanted 1), wanted match: $_re"; diag "$*"; diag_file "$T/out"; return 1
	fi
}
# tap PREFIX COMMAND...: takes over the results of a program that prints "ok - TEXT", "not ok - TEXT" and comments.
tap() {
	_pre=$1; shift
	"$@" >"$T/tap.out" 2>&1; _rc=$?
	_seen=0 _seenbad=0
	while IFS= read -r _line; do
		case $_line in
		"ok - "*" # SKIP "*) _rest=${_line#ok - }; skip "$_pre${_rest%% # SKIP *}" "${_rest##* # SKIP }"; _seen=1 ;;
		"ok - "*) ok "$_pre${_line#ok - }"; _seen=1 ;;
		"not ok - "*) not_ok "$_pre${_line#not ok - }"; _seen=1 _seenbad=1 ;;
		"#"*) printf '%s\n' "$_line" ;;
		*) diag "$_line" ;;
		esac
	done <"$T/tap.out"
	[ $_rc -eq 0 ] && [ $_seen -eq 1 ] && return 0
	[ $_seenbad -eq 1 ] || not_ok "$_pre$1 ends with results" "(exit $_rc)"
	return 1
}

# --- waiting -----------------------------------------------------------------------------------------------------------

now() { read -r _up _ </proc/uptime; echo "${_up%.*}"; }
# wait_for SECONDS COMMAND...: polls until the command succeeds; fails at the deadline.
wait_for() {
	_end=$(($(now) + $1 * SLOW + 1)); shift
	while ! "$@" >/dev/null 2>&1; do
		[ "$(now)" -lt $_end ] || return 1
		sleep 0.03
	done
}
alive() { kill -0 "$1" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }
gone() { ! alive "$1"; }

# --- what has to be undone ---------------------------------------------------------------------------------------------

# note_pid PID: cleanup ends it. The start time keeps a reused pid safe.
pid_start() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
note_pid() { echo "$1 $(pid_start "$1")" >>"$T/pids"; }
# bg COMMAND...: in the background, noted; the pid is in $BG
bg() { "$@" & BG=$!; note_pid $BG; }
end_pid() { kill "$1" 2>/dev/null; wait "$1" 2>/dev/null; }

t_exit() {
	_rc=$?
	trap '' INT TERM HUP
	trap - EXIT
	cd /
	if [ "$T_BAD" -gt 0 ] && [ -z "${MAGMA_LOGS:-}" ]; then
		for _f in "$LOGS"/*.log; do [ -s "$_f" ] && { diag "--- end of ${_f##*/}"; diag_file "$_f" 15; }; done
	fi
	sh "$SYS/sweep" "$T" "$$"
	[ $_rc -eq 0 ] && [ "$T_BAD" -gt 0 ] && _rc=1
	exit $_rc
}

# --- programs ----------------------------------------------------------------------------------------------------------

B=${MAGMA_BUILD:-}
if [ -z "$B" ]; then
	for B in "$TOP/build-test/gcc" "$TOP/build" "$TOP"; do [ -x "$B/magmad/magmad" ] && break; done
fi
MAGMAD=$B/magmad/magmad
MOUNT=$B/mount.magma/mount.magma
HELP=$B/tests/system/helpers
tool() { _t=$1; shift; "$B/magma_tools/magma-$_t" "$@"; }

[ "$(id -u)" -eq 0 ] || { echo "1..0 # SKIP the system tests mount file systems: run them as root"; exit 77; }
[ -x "$MAGMAD" ] || { echo "Bail out! no magmad under $B: run tests/run build, or set MAGMA_BUILD"; exit 99; }
[ -x "$HELP/posix" ] || make -s -C "$B" helpers >&2 || { echo "Bail out! make -C $B helpers"; exit 99; }

T=$(mktemp -d "${MAGMA_TMP:-${TMPDIR:-/tmp}}/magma-$T_NAME.XXXXXX") || exit 99
LOGS=${MAGMA_LOGS:-$T/log}
mkdir -p "$LOGS"
: >"$T/pids"; : >"$T/mounts"; : >"$T/out"
trap t_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- networks ----------------------------------------------------------------------------------------------------------

# 127.64.0.0 and up, from the pid: nothing else lives there.
NET=127.$((64 + $$ / 62500 % 190)).$((1 + $$ / 250 % 250))
NET_BASE=$((2 + $$ % 25 * 10))
PORT=23000
SECRET=m4gm4-$$-s3cr3t
KEY=$T/key
(umask 077; printf '%s\n' "$SECRET" >"$KEY")
DEBUG=${MAGMA_DEBUG:-}

addr() { echo "$NET.$((NET_BASE + $1))"; }
# The words before a command that runs where volcano I, or the clients (c), are; nothing unless lib-netns.sh made a place for them.
ns_enter() { [ ! -e "$T/ns.$1" ] || echo "nsenter --net=$T/ns.$1"; }
vpid() { cat "$T/v$1.pid" 2>/dev/null; }
vlog() { echo "$LOGS/v$1.$(cat "$T/v$1.starts" 2>/dev/null || echo 0).log"; }

# volcano_spawn I ARGS...: starts magmad with -d $T/vI and these arguments; does not wait.
volcano_spawn() {
	_i=$1; shift
	_k=$(($(cat "$T/v$_i.starts" 2>/dev/null || echo 0) + 1)); echo $_k >"$T/v$_i.starts"
	_l=$LOGS/v$_i.$_k.log
	$(ns_enter $_i) "$MAGMAD" -d "$T/v$_i" ${DEBUG:+-D "$DEBUG"} "$@" >"$_l" 2>&1 </dev/null 7>&- 8>&- 9>&- &
	echo $! >"$T/v$_i.pid"
	note_pid $!
}
# The ready line is there (or the process gone).
volcano_ready_or_gone() { grep -q 'ready, epoch' "$(vlog "$1")" || gone "$(vpid "$1")"; }
volcano_ready() {
	wait_for "${2:-20}" volcano_ready_or_gone "$1" && grep -q 'ready, epoch' "$(vlog "$1")" && return
	diag "volcano $1 is not ready:"; diag_file "$(vlog "$1")" 10; return 1
}
volcano_start() { volcano_spawn "$@" && volcano_ready "$1"; }
# The arguments of volcano I's first start, without -b and -j.
volcano_args() { echo "-n v$1 -s v$1.test -i $(addr "$1") -p $PORT -K $KEY"; }
volcano_boot() { _v=$1; shift; volcano_start "$_v" $(volcano_args "$_v") -b "$@"; }
volcano_join() { _v=$1 _to=$2; shift 2; volcano_start "$_v" $(volcano_args "$_v") -j "$(addr "$_to"):$PORT" "$@"; }
volcano_restart() { volcano_start "$1"; }
# TERM, and wait for it; the exit code is magmad's.
volcano_stop() {
	_p=$(vpid "$1"); kill -TERM "$_p" 2>/dev/null
	wait_for "${2:-20}" gone "$_p" || { diag "volcano $1 does not stop on TERM"; return 1; }
	wait "$_p"
}
volcano_alive() { alive "$(vpid "$1")"; }
volcano_gone() { gone "$(vpid "$1")"; }
volcano_kill() { _p=$(vpid "$1"); kill -KILL "$_p" 2>/dev/null; wait "$_p" 2>/dev/null; wait_for 5 gone "$_p"; }

# net_start N: a network of N volcanos.
net_start() {
	NET_N=$1
	volcano_boot 1 ${MAGMA_COPIES:+-R "$MAGMA_COPIES"} || return 1
	_n=2
	while [ $_n -le "$1" ]; do volcano_join $_n 1 || return 1; _n=$((_n + 1)); done
}
net_each() { _e=1; while [ $_e -le "$NET_N" ]; do "$@" $_e || return 1; _e=$((_e + 1)); done; }
net_kill() { net_each volcano_kill; }
net_stop() { net_each volcano_stop; }
net_restart() { net_each volcano_spawn && net_each volcano_ready; }
# Ends the network and forgets its storage, for the next one in the same test.
net_end() { net_each volcano_kill; _e=1; while [ $_e -le "$NET_N" ]; do rm -rf "$T/v$_e"; _e=$((_e + 1)); done; NET_N=0; }

# --- mounts ------------------------------------------------------------------------------------------------------------

is_mount() { grep -q " $1 fuse" /proc/self/mounts; }
# mnt NAME [OPTIONS]: mounts the network at $T/NAME, through volcano $VIA (default 1).
mnt() {
	_m=$T/$1; _mn=$1; shift
	mkdir -p "$_m"
	echo "$_m" >>"$T/mounts"
	timeout -k 2 $((20 * SLOW)) $(ns_enter c) "$MOUNT" --host="$(addr "${VIA:-1}")" -p $PORT --keyfile="$KEY" "$_m" "$@" >>"$LOGS/$_mn.log" 2>&1 </dev/null 7>&- 8>&- 9>&- && is_mount "$_m" && return
	diag "mount of $_mn failed:"; diag_file "$LOGS/$_mn.log" 10; return 1
}
umnt() { timeout -k 2 $((20 * SLOW)) umount "$T/$1" && ! is_mount "$T/$1"; }
# The mount.magma process behind a mount point.
mount_pid() { pgrep -f "mount\\.magma.* $T/$1( |\$)" | head -n 1; }

# console I COMMAND...: logs in and prints the answers
console() { _v=$1; shift; timeout -k 2 $((15 * SLOW)) $(ns_enter c) "$HELP/console" "$(addr "$_v")" $((PORT + 2)) "$SECRET" "$@"; }
have() { command -v "$1" >/dev/null 2>&1; }
