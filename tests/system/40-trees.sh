#!/bin/sh
# timeout: 600
# needs: rsync tar
# Copies of real trees: cp -a and diff -r, tar both ways, rsync twice, of which the second transfers nothing; rm -r.
. "${0%/*}/lib.sh"

net_start 2 && mnt a && VIA=2 mnt b || bail "a network of two"
A=$T/a
# attributes of a whole tree, as text (mtimes of directories included)
listing() { (cd "$1" && find . -printf '%P %y %m %U %G %s %T@ %l\n' | sed -E 's/^( d [0-7]+ [0-9]+ [0-9]+) [0-9]+/\1/; s/( d [0-7]+ [0-9]+ [0-9]+) [0-9]+ /\1 - /' | sort); }

mkdir "$A/usr"
check "cp -a of /usr/include" cp -a /usr/include "$A/usr/"
check "diff -r of it" diff -r --no-dereference /usr/include "$A/usr/include"
check "and through the other mount" diff -r --no-dereference /usr/include "$T/b/usr/include"
listing /usr/include >"$T/l1"; listing "$A/usr/include" >"$T/l2"
check "modes, owners, sizes, times and links are the same" cmp "$T/l1" "$T/l2" || diag "$(diff "$T/l1" "$T/l2" | head -n 5)"
check "cp -a of /usr/share/doc" cp -a /usr/share/doc "$A/usr/"
check "diff -r of it" diff -r --no-dereference /usr/share/doc "$A/usr/doc"

check "tar packs it from the mount" sh -c "tar -C $A/usr/include -cf $T/inc.tar linux asm-generic"
mkdir "$A/untar"
check "tar unpacks into the mount" tar -C "$A/untar" -xpf "$T/inc.tar"
check "tar --compare finds no difference" tar -C "$A/untar" -df "$T/inc.tar"
check "diff -r of it" diff -r /usr/include/linux "$A/untar/linux"
check "an archive inside the mount" sh -c "cd $A && tar -czf inc.tar.gz untar && tar -dzf inc.tar.gz"

mkdir "$A/rs"
check "rsync -a, first run" rsync -a --stats /usr/include/linux /usr/share/doc/[a-g]* "$A/rs/"
check "rsync -a, second run" rsync -a --stats /usr/include/linux /usr/share/doc/[a-g]* "$A/rs/"
check_match "the second run transfers nothing" "$(cat "$T/out")" 'files transferred: 0$'
check_match "not a byte" "$(cat "$T/out")" 'transferred file size: 0 bytes'
check "rsync -ac agrees by checksum" sh -c "test -z \"\$(rsync -aci /usr/include/linux $A/rs/)\""
check "rsync --delete, after changes" sh -c "echo x >>$A/rs/linux/stat.h && rm $A/rs/linux/fuse.h && echo y >$A/rs/linux/new && rsync -ac --delete /usr/include/linux $A/rs/ && diff -r /usr/include/linux $A/rs/linux"
check "rsync out of the mount" sh -c "rsync -a $A/usr/include/linux $T/back/ && diff -r /usr/include/linux $T/back/linux"

check "mv of a tree" mv "$A/usr" "$A/usr2"
check "it is all there at once" diff -r --no-dereference /usr/include "$T/b/usr2/include"
check_eq "find sees as many" "$(find "$A/usr2/include" | wc -l)" "$(find /usr/include | wc -l)"
check "hard links survive cp -a" sh -c "cd $A && mkdir hl && echo 1 >hl/a && ln hl/a hl/b && cp -a hl hl2 && [ \$(stat -c %h hl2/a) = 2 ]"
check "rm -r" rm -r "$A/usr2" "$A/untar" "$A/rs" "$A/hl" "$A/hl2" "$A/inc.tar.gz"
check_eq "nothing is left" "$(ls -A "$T/b")" ""
finish
