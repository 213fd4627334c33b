#!/bin/sh
# timeout: 400
# Every operation of a file system, on networks of 1, 2 and 3 volcanos (MAGMA_VOLCANOS="1 2 3").
. "${0%/*}/lib.sh"

for n in ${MAGMA_VOLCANOS:-1 2 3}; do
	net_start "$n" && mnt a || bail "a network of $n"
	tap "$n: " "$HELP/posix" "$T/a"
	# what local file systems do otherwise
	f=$T/a/ino; : >"$f"; i=$(stat -c %i "$f"); rm "$f"; : >"$f"
	[ "$i" != "$(stat -c %i "$f")" ] && ok "$n: inode numbers are not used again" || not_ok "$n: inode numbers are not used again"
	truncate -s 9223372036854775807 "$f" 2>/dev/null
	check_eq "$n: a size of 2^63-1" "$(stat -c %s "$f")" 9223372036854775807
	check_fails "$n: a POSIX ACL is refused, not ignored" setfacl -m u:1:r "$f"
	umnt a && ok "$n: unmounts" || not_ok "$n: unmounts"
	for l in "$LOGS"/v*.log; do grep -aiE 'assert|critical|panic|sanitizer' "$l" && { not_ok "$n: no complaints in ${l##*/}"; break; }; done
	net_end
done
finish
