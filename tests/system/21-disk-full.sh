#!/bin/sh
# timeout: 150
# A full disk: ENOSPC to the client, everything stored before stays readable, removing works, and it goes on once there is room.
. "${0%/*}/lib.sh"

mkdir "$T/v1"
mount -t tmpfs -o size=200m,mode=700 magma-test "$T/v1" 2>/dev/null || { skip "a small disk" "cannot mount a tmpfs here"; finish; }
# a new file system is empty, so -b must take it
net_start 1 && mnt a || bail "a volcano on a disk of 200 MB"
A=$T/a
"$HELP/iotool" put "$A/before" 20 5 || not_ok "20 MiB fit"
"$HELP/iotool" many "$A" 0 200 small || not_ok "200 small files fit"

out=$("$HELP/iotool" fill "$A/fill"); n=${out% *}
check_eq "filling it up ends in ENOSPC" "${out#* }" ENOSPC
check_eq "what was acknowledged is there" "$([ "$(stat -c %s "$A/fill")" -ge "$n" ] && echo yes)" yes
i=0 errs=''
while [ $i -lt 30 ]; do
	sh -c "head -c 100000 /dev/zero >'$A/more.$i'" 2>"$T/err" || errs=$errs$(sed 's/.*: //' "$T/err" | head -n 1)';'
	i=$((i + 1))
done
check_eq "new files get ENOSPC and nothing else" "$(printf %s "$errs" | tr ';' '\n' | sort -u | tr '\n' ';')" "No space left on device;"
check "what was stored before is readable" "$HELP/iotool" get "$A/before" 20 5
check_eq "small files too" "$(cat "$A"/n? "$A"/n?? "$A"/n??? | wc -c)" 1000
check_eq "df says it is full" "$([ "$(stat -f -c %a "$A")" -lt $((16 * 1048576 / $(stat -f -c %S "$A"))) ] && echo yes)" yes
check "overwriting stored blocks in place still works or says ENOSPC" sh -c "dd if=/dev/zero of=$A/fill bs=64k count=1 conv=notrunc 2>&1 || dd if=/dev/zero of=$A/fill bs=64k count=1 conv=notrunc 2>&1 | grep -q 'No space'"

umnt a; volcano_kill 1
check "it starts again with a full disk" volcano_restart 1
mnt a || not_ok "and is mounted"
check "what was stored before is readable after kill -9" "$HELP/iotool" get "$A/before" 20 5
check "unlink works on a full disk" rm -f "$A/fill" "$A"/more.*
room() { head -c 3000000 /dev/urandom >"$A/again" 2>/dev/null; }
check "it goes on once there is room" wait_for 40 room
check "and takes much again" "$HELP/iotool" put "$A/second" 40 9
check "which is right" "$HELP/iotool" get "$A/second" 40 9
out=$("$HELP/iotool" fill "$A/fill"); check_eq "full again" "${out#* }" ENOSPC
check "truncate works on a full disk" truncate -s 0 "$A/fill"
check "and gives room" wait_for 40 room
umnt a; check "it stops in good order" volcano_stop 1
check "the store is in order" tool store "$T/v1"
volcano_restart 1 && mnt a
check "everything is there after a restart" "$HELP/iotool" get "$A/before" 20 5
umnt a; volcano_stop 1; umount "$T/v1"
finish
