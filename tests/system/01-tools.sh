#!/bin/sh
# magma-hash, magma-ping, magma-locate, magma-store on a network of two.
. "${0%/*}/lib.sh"

check_match "magma-hash of /example" "$(tool hash /example)" '^81f762fd59d88768b06b8e9de56aef8a95962045'
check_match "magma-hash of /" "$(tool hash /)" '^42099b4af021e53fd8fd4e056c2568d7c2e3ffa8'
check_eq "magma-hash is the SHA-1 of the path" "$(tool hash '/a b/ü' | cut -c1-40)" "$(printf %s '/a b/ü' | sha1sum | cut -c1-40)"
check_eq "magma-hash takes several paths" "$(tool hash / /example /x | wc -l)" 3

net_start 2 && mnt a || bail "a network of two"
export MAGMA_KEY="$SECRET"
check "magma-ping: 0 as soon as everything has its copies" wait_for 20 tool ping -c 1 "$(addr 1):$PORT"
out=$(tool ping "$(addr 1):$PORT" 2>&1); rc=$?
check_eq "magma-ping answers" $rc 0 || diag "$out"
check_match "magma-ping shows version, epoch and round trip" "$out" '1\.0\.0.*|epoch'
check_match "magma-ping shows the epoch" "$out" 'epoch[^0-9]*[0-9]+'
check_match "of any volcano" "$(tool ping "$(addr 2):$PORT" 2>&1)" 'epoch'
t0=$(now)
MAGMA_KEY=wrong says "magma-ping with the wrong key" 1 "authentication failed" "$B/magma_tools/magma-ping" "$(addr 1):$PORT"
says "magma-ping where nobody is" 1 "$(addr 9)" "$B/magma_tools/magma-ping" "$(addr 9):$PORT"
[ $(($(now) - t0)) -le $((11 * SLOW)) ] && ok "both said within 5 s" || not_ok "both said within 5 s"

mkdir "$T/a/docs"; echo hello >"$T/a/docs/readme.txt"; ln -s readme.txt "$T/a/docs/latest"
key=$(tool hash /docs/readme.txt | cut -c1-40)
ino=$(stat -c %i "$T/a/docs/readme.txt")
out=$(tool locate "$(addr 1):$PORT" /docs/readme.txt 2>&1)
check_match "magma-locate shows the key" "$out" "$key"
check_match "magma-locate shows the inode number" "$out" "$ino"
check_match "magma-locate shows owner and address" "$out" "v[12].*$NET"
out=$(tool locate "$T/a" /docs/readme.txt 2>&1)
check_match "magma-locate works through a mount point" "$out" "$key"
mv "$T/a/docs" "$T/a/papers"
check_match "the key is that of the path at birth" "$(tool locate "$(addr 1):$PORT" /papers/readme.txt 2>&1)" "$key"
says "magma-locate of a missing path" 1 "/nothing.*[Nn]o such file" "$B/magma_tools/magma-locate" "$(addr 1):$PORT" /nothing

says "magma-store refuses a running volcano" 1 "$T/v1" "$B/magma_tools/magma-store" "$T/v1"
umnt a; net_stop
for i in 1 2; do
	out=$(tool store "$T/v$i" 2>&1); rc=$?
	check_eq "magma-store finds volcano $i's folder in order" $rc 0 || diag "$out"
done
check_match "magma-store --list lists the flares" "$(tool store --list "$T/v1"; tool store --list "$T/v2")" "$ino"
finish
