#!/bin/sh
# timeout: 240
# 10,000 files in one directory, a sparse file of 1 TiB, a file of 1 GiB by checksum (MAGMA_GIB_MIB), many readers and writers.
. "${0%/*}/lib.sh"

net_start 2 && mnt a && VIA=2 mnt b || bail "a network of two"
A=$T/a
mkdir "$A/many"
check "10,000 files in one directory" "$HELP/iotool" many "$A/many" 0 10000 x
check_eq "readdir counts them" "$("$HELP/iotool" count "$A/many")" 10000
check_eq "the other mount too" "$("$HELP/iotool" count "$T/b/many")" 10000
check_eq "ls -l shows them" "$(ls -l "$T/b/many" | grep -c '^-rw-r--r-- 1 ')" 10000
check_eq "find -size" "$(find "$A/many" -type f -size 1 | wc -l)" 10000
check "rm of 5,000 of them" sh -c "cd $A/many && rm n[5-9]???"
check_eq "5,000 are left" "$("$HELP/iotool" count "$T/b/many")" 5000
check "rm -r of the rest" rm -r "$A/many"

check "a sparse file of 1 TiB" truncate -s 1T "$A/sparse"
for off in 0 1 524288 1048575; do
	printf 'at %s MiB' $off | dd of="$A/sparse" bs=1M seek=$off conv=notrunc 2>/dev/null || not_ok "write at $off MiB"
done
check_eq "its size" "$(stat -c %s "$T/b/sparse")" 1099511627776
check_eq "its contents at 1,048,575 MiB" "$(dd if="$T/b/sparse" bs=1M skip=1048575 count=1 2>/dev/null | head -c 14)" "at 1048575 MiB"
check_eq "its contents in the middle" "$(dd if="$T/b/sparse" bs=1M skip=524288 count=1 2>/dev/null | head -c 13)" "at 524288 MiB"
check_eq "a hole reads as zeros" "$(dd if="$T/b/sparse" bs=1M skip=777777 count=2 2>/dev/null | tr -d '\000' | wc -c)" 0
check_eq "it takes next to no space" "$([ "$(stat -c %b "$A/sparse")" -lt 20000 ] && echo yes)" yes
check "and is removed" rm "$A/sparse"

M=${MAGMA_GIB_MIB:-1024}
check "a file of $M MiB" "$HELP/iotool" put "$A/gib" "$M" 11
check "reads back right through the other mount" "$HELP/iotool" get "$T/b/gib" "$M" 11
s=$(sha256sum <"$A/gib")
check "a copy inside the mount" cp "$A/gib" "$A/gib2"
check_eq "has the same checksum" "$(sha256sum <"$T/b/gib2")" "$s"
umnt a; umnt b
net_kill; net_restart; mnt a
check_eq "and after kill -9 of all" "$(sha256sum <"$A/gib2")" "$s"
rm "$A/gib" "$A/gib2"
room() { [ "$(du -sm "$T/v1/content" "$T/v2/content" | awk '{ s += $1 } END { print s }')" -lt 100 ]; }
check "removed contents give their space back" wait_for 30 room

# eight at a time
W=''
for w in 1 2 3 4 5 6 7 8; do
	sh -c "mkdir $A/p$w && '$HELP/iotool' many $A/p$w 0 200 'some text' && '$HELP/iotool' put $A/p$w/f 4 $w && '$HELP/iotool' get $A/p$w/f 4 $w && rm -r $A/p$w" &
	note_pid $!; W="$W $!"
done
bad=0; for p in $W; do wait "$p" || bad=$((bad + 1)); done
check_eq "eight processes at once" $bad 0
check "a mapping that is stored to for two seconds" "$HELP/iotool" map "$A/map" 2
finish
