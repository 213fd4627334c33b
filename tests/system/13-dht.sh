#!/bin/sh
# timeout: 120
# /.dht: the profile of every volcano as a file that tools can read and nothing can change; hidden from lists of the root.
. "${0%/*}/lib.sh"

dht() { sed -n "s/^$2: //p" "$T/a/.dht/$1"; }
net_start 2 && mnt a || bail "a network of two"
check_eq "the volcanos are there" "$(ls "$T/a/.dht" | tr '\n' ' ')" "conflicts v1 v2 "
check "ls -la" sh -c "ls -la $T/a/.dht | grep -q '^-r--r--r-- *1 *root *root *[1-9]'"
check_eq "the root does not list it" "$(ls -A "$T/a")" ""
check_eq "find of the root passes it by" "$(find "$T/a" | wc -l)" 1
check_eq "find in it" "$(find "$T/a/.dht" | sort | tr '\n' ' ')" "$T/a/.dht $T/a/.dht/conflicts $T/a/.dht/v1 $T/a/.dht/v2 "
check_eq "stat" "$(stat -c '%F %a' "$T/a/.dht")" "directory 555"
check_eq "addresses" "$(dht v1 address) $(dht v2 address)" "$(addr 1) $(addr 2)"
check_eq "nothing is set aside" "$(ls -A "$T/a/.dht/conflicts")" ""
check "df" df "$T/a/.dht"
for v in 1 2; do
	check_eq "v$v: its name" "$(dht v$v node)" v$v
	check_eq "v$v: its address" "$(dht v$v fqdn) $(dht v$v flare_port) $(dht v$v console_port)" "v$v.test $PORT $((PORT + 2))"
	check_eq "v$v: up" "$(dht v$v state)" up
	check_eq "v$v: version" "$(dht v$v version)" "$("$MAGMAD" --version | cut -d' ' -f2)"
	check_match "v$v: started" "$(dht v$v started)" '^20[0-9]+-[0-9]+-[0-9]+T[0-9:]+Z$'
	check_match "v$v: keys and space" "$(dht v$v keys) $(dht v$v used) $(dht v$v free)" '^[0-9]+ [0-9]+ bytes [1-9][0-9]* bytes$'
	check_eq "v$v: bandwidth" "$(dht v$v bandwidth)" "100000 Kbit/s"
done
synced() { dht v1 mirror | grep -qx 'v2, in sync' && dht v2 mirror | grep -qx 'v1, in sync' && dht v1 slice | grep -q 'copy in sync'; }
check "slices and copies" wait_for 20 synced
check_eq "the key ranges tile" "$(dht v1 start | sort -u | head -n 1) $(dht v2 stop | sort | tail -n 1)" "0000000000000000000000000000000000000000 ffffffffffffffffffffffffffffffffffffffff"
check_eq "one of two votes" "$(cat "$T"/a/.dht/v* | grep -c '^vote: voter')" 1

check "grep" grep -q '^node: v2$' "$T/a/.dht/v2"
check "cp" sh -c "cp $T/a/.dht/v2 $T/copy && cmp -n 100 $T/copy $T/a/.dht/v2 && [ \$(stat -c %s $T/copy) -gt 300 ] && tail -c1 $T/copy | od -c | grep -q '\\\\n'"
check "cp -a, tar" sh -c "cp -a $T/a/.dht $T/all && tar cf $T/all.tar -C $T/a .dht && [ \$(ls $T/all | wc -l) -eq 3 ]"
# keys grow while it is read again and again: what comes is always whole
torn() {
	( i=0; while [ $i -lt 60 ]; do : >"$T/a/f$i"; i=$((i + 1)); sleep 0.05; done ) &
	_n=0
	while [ $_n -lt 30 ]; do
		cat "$T/a/.dht/v1" "$T/a/.dht/v2" >"$T/now" && [ "$(grep -c '^epoch: ' "$T/now")" -eq 2 ] && [ "$(tail -c1 "$T/now" | od -An -c | tr -d ' ')" = '\n' ] && tail -n 1 "$T/now" | grep -q '^[a-z]*: ' || return 1
		_n=$((_n + 1)); sleep 0.1
	done
	wait $!
}
check "what is read is whole while it changes" torn
check "and it follows" sh -c "[ \$(sed -n 's/^keys: //p' $T/a/.dht/v1) -ge 10 ]"

refused() { _w=$1; shift; check_fails "$_w is refused" "$@"; check_match "$_w: read-only" "$(cat "$T/out")" 'Read-only file system'; }
refused "creating" touch "$T/a/.dht/x"
refused "mkdir" mkdir "$T/a/.dht/x"
refused "ln -s" ln -s x "$T/a/.dht/x"
refused "mknod" mknod "$T/a/.dht/x" p
refused "ln into it" ln "$T/a/f1" "$T/a/.dht/x"
refused "ln out of it" ln "$T/a/.dht/v1" "$T/a/x"
refused "mv into it" mv "$T/a/f1" "$T/a/.dht/x"
refused "mv within it" mv "$T/a/.dht/v1" "$T/a/.dht/x"
refused "mv out of it" mv "$T/a/.dht/v1" "$T/a/x"
refused "rm" rm -f "$T/a/.dht/v1"
refused "rmdir of it" rmdir "$T/a/.dht"
refused "renaming it" mv "$T/a/.dht" "$T/a/x"
refused "chmod" chmod 644 "$T/a/.dht/v1"
refused "chown" chown 1:1 "$T/a/.dht"
refused "touch -d" touch -d 2001-01-01 "$T/a/.dht/v1"
refused "truncate" truncate -s 0 "$T/a/.dht/v1"
refused "writing" dd if=/dev/zero of="$T/a/.dht/v1" bs=1 count=1 conv=notrunc
if have setfattr; then refused "an attribute" setfattr -n user.x -v 1 "$T/a/.dht/v1"; else skip "an attribute is refused" "no setfattr"; fi
check_fails "its name is taken" mkdir "$T/a/.dht"
check "rm -rf of all there is ends well" sh -c "rm -rf $T/a/* $T/a/.[!.]* ; ls $T/a/.dht/v1"
chmod 711 "$T"
check_eq "users may read it" "$(setpriv --reuid 12345 --regid 12345 --clear-groups sed -n 's/^node: //p' "$T/a/.dht/v1" 2>&1)" v1

mkdir "$T/a/sub"
check_match "the console's ls" "$(console 2 'ls /.dht')" '^-r--r--r-- +root +root +[0-9]+ v1'
check_match "the console's cat" "$(console 2 'cat /.dht/v1')" '^node: v1'
check_match "the console cannot erase it" "$(console 2 'erase /.dht/v1')" 'Read-only file system'
mkdir -p "$T/s"; echo "$T/s" >>"$T/mounts"
check "a mount of a subdirectory" "$MOUNT" "$(addr 1):/sub" "$T/s" -p $PORT --keyfile="$KEY"
check_fails "does not show it" ls "$T/s/.dht"
check "and may have a file of that name" touch "$T/s/.dht"
umount "$T/s"

volcano_kill 2
is_down() { [ "$(dht v2 state)" = down ]; }
check "one that is down says so" wait_for 20 is_down
check_eq "it is still in the map" "$(dht v2 id) $(dht v2 role | cut -d, -f1)" "2 down"
check_eq "what only it could say is not there" "$(dht v2 started)" ""
volcano_restart 2
is_up() { [ "$(dht v2 state)" = up ]; }
check "and comes back" wait_for 20 is_up
umnt a
net_stop
finish
