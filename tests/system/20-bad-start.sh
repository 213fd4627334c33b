#!/bin/sh
# timeout: 200
# Starts, joins and mounts that must be refused: each in one line, in time, with nothing touched.
. "${0%/*}/lib.sh"

net_start 2 && mnt a || bail "a network of two"
H1=$(addr 1) H2=$(addr 2) H3=$(addr 3)
mkdir "$T/b" "$T/new"
printf 'another-secret\n' >"$T/wrong.key"; chmod 600 "$T/wrong.key"
sum() { find "$1" -type f ! -name lock -exec sha1sum {} + | sort | sha1sum; }
timed() { _t0=$(now); "$@"; _rc=$?; [ $(($(now) - _t0)) -le $((6 * SLOW)) ] || { not_ok "said within 5 s: $2"; return 1; }; return $_rc; }
J="-s v3.test -i $H3 -p $PORT -d $T/new"

# wrong secret, nobody there
timed says "mount with the wrong secret" 1 "authentication failed" "$MOUNT" --host="$H1" -p $PORT --keyfile="$T/wrong.key" "$T/b"
timed says "join with the wrong secret" 1 "authentication failed" "$MAGMAD" -n v3 $J -K "$T/wrong.key" -j "$H1:$PORT"
timed says "magma-locate with the wrong secret" 1 "authentication failed" env MAGMA_KEY=wrong "$B/magma_tools/magma-locate" "$H1:$PORT" /
timed says "mount where nobody is" 1 "$(addr 9)" "$MOUNT" --host="$(addr 9)" -p $PORT --keyfile="$KEY" "$T/b"
timed says "join where nobody is" 1 "$(addr 9)" "$MAGMAD" -n v3 $J -K "$KEY" -j "$(addr 9):$PORT"
timed says "mount of an address behind which nothing answers" 1 "192\.0\.2\.1" "$MOUNT" --host=192.0.2.1 -p $PORT --keyfile="$KEY" "$T/b"
is_mount "$T/b" && not_ok "nothing is mounted after that" || ok "nothing is mounted after that"
check_eq "a refused join leaves its folder empty" "$(ls -A "$T/new")" ""

# duplicates
says "join under a nickname that is taken" 1 "v2.*v2|v2.*$H2|nickname.*v2" "$MAGMAD" -n v2 -s other.test -i "$H3" -p $PORT -d "$T/new" -K "$KEY" -j "$H1:$PORT"
says "join under an FQDN that is taken" 1 "v2\.test.*v2" "$MAGMAD" -n v3 -s v2.test -i "$H3" -p $PORT -d "$T/new" -K "$KEY" -j "$H1:$PORT"
check_eq "refused joins leave the folder empty" "$(ls -A "$T/new")" ""
volcano_kill 2
says "join at an address that is taken" 1 "$H2.*v2|v2.*$H2" "$MAGMAD" -n v3 -s v3.test -i "$H2" -p $PORT -d "$T/new" -K "$KEY" -j "$H1:$PORT"
volcano_restart 2 || not_ok "the real one comes back"
says "an address another process has bound" 1 "$H1" "$MAGMAD" -n v4 -s v4.test -i "$H1" -p $PORT -d "$T/new" -K "$KEY" -b

# folders
says "a folder locked by another magmad" 1 "$T/v1.*(lock|used|$(vpid 1))" "$MAGMAD" -d "$T/v1"
volcano_stop 2
s=$(sum "$T/v2")
says "-b on a used folder" 1 "$T/v2" "$MAGMAD" -n x -s x.test -i "$H3" -p $PORT -K "$KEY" -b -d "$T/v2"
says "-j under another name on a used folder" "1|2" "$T/v2.*v2" "$MAGMAD" -n x -s x.test -i "$H3" -p $PORT -K "$KEY" -j "$H1:$PORT" -d "$T/v2"
says "neither -b nor -j on an empty folder" 1 "$T/new.*(-b|-j)|(-b|-j).*$T/new" "$MAGMAD" -n x -s x.test -i "$H3" -p $PORT -K "$KEY" -d "$T/new"
says "neither -b nor -j on a missing folder" 1 "$T/none" "$MAGMAD" -n x -s x.test -i "$H3" -p $PORT -K "$KEY" -d "$T/none"
mkdir "$T/junk"; echo mine >"$T/junk/letter.txt"
says "-b on a folder with other things in it" 1 "$T/junk" "$MAGMAD" -n x -s x.test -i "$H3" -p $PORT -K "$KEY" -b -d "$T/junk"
check_eq "they stay as they were" "$(ls -A "$T/junk")" letter.txt
conf=$T/v2/volcano.conf
if [ -f "$conf" ]; then
	check_match "the folder's identity is closed to others" "$(stat -c %a "$conf")" '^600$'
	cp -p "$conf" "$T/conf"
	sed -i -E 's/^(format[a-z_-]*) *= *[0-9]+/\1=999/I' "$conf"
	if cmp -s "$conf" "$T/conf"; then skip "a folder of a newer format" "volcano.conf has no format row"; else
		says "a folder of a newer format" 1 "$T/v2.*(newer|format)" "$MAGMAD" -d "$T/v2"
	fi
	cp -p "$T/conf" "$conf"
else
	not_ok "volcano.conf is there"
fi
check_eq "nothing was touched in it" "$(sum "$T/v2")" "$s"
says "a restart with another secret" 1 "authentication failed|secret|key" "$MAGMAD" -d "$T/v2" -K "$T/wrong.key"

# what a volcano keeps of the lava map and its vote
says_lost() { says "$1" 1 "$T/v2/lava\.db is $2.*put it back.*-j HOST.*lost lava\.db" "$MAGMAD" -d "$T/v2"; }
mv "$T/v2/lava.db" "$T/lava.db"; s=$(sum "$T/v2")
says_lost "a folder whose lava.db is gone" missing
says "the same with -j" 1 "lava\.db is missing" "$MAGMAD" -d "$T/v2" -j "$H1:$PORT" -K "$KEY"
check_eq "nothing is touched" "$(sum "$T/v2")" "$s"
for bad in empty text cut; do
	case $bad in empty) : ;; text) echo "this is no database" ;; cut) head -c 5000 "$T/lava.db" ;; esac >"$T/v2/lava.db"
	s=$(sum "$T/v2")
	says_lost "a lava.db that is damaged ($bad)" damaged
	check_eq "nothing is touched ($bad)" "$(sum "$T/v2")" "$s"
done
mv "$T/lava.db" "$T/v2/lava.db"

# another network under the same address: a volcano of network A must not take network B's coordinator for its own
mkdir "$T/other"
check "a second network beside it" volcano_start 7 -n v7 -s v7.test -i "$(addr 7)" -p $PORT -K "$KEY" -b
says "a used folder joins no other network" 1 "$T/v2" "$MAGMAD" -d "$T/v2" -j "$(addr 7):$PORT" -K "$KEY"
check "after all that it starts as before" volcano_restart 2
check "and the mount works" sh -c "echo x >$T/a/x && cat $T/a/x"
finish
