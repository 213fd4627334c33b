#!/bin/sh
# timeout: 200
# Two mounts see each other's changes at once.
. "${0%/*}/lib.sh"

for n in ${MAGMA_VOLCANOS:-1 2 3}; do
	net_start "$n" && mnt a && VIA=$n mnt b || bail "a network of $n and two mounts"
	tap "$n: " "$HELP/twomounts" "$T/a" "$T/b"
	# for seconds on end: what one shell does, another sees
	i=0 bad=0
	while [ $i -lt 40 ]; do
		echo $i >"$T/a/turn"; [ "$(cat "$T/b/turn")" = $i ] || bad=$((bad + 1))
		mkdir "$T/b/dir.$i"; [ -d "$T/a/dir.$i" ] || bad=$((bad + 1))
		i=$((i + 1))
	done
	check_eq "$n: forty turns of write here, read there" $bad 0
	check_eq "$n: statfs agrees" "$(stat -f -c %b "$T/a")" "$(stat -f -c %b "$T/b")"
	umnt a; umnt b; net_end
done
finish
