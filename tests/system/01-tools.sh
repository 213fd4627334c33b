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

# the stores of other slices are part of the folder; what is no slice's (magmad/slices.c) is not looked at
s=$T/v1/slices/$(ls "$T/v1/slices" | grep '^[0-9]' | head -n 1)
[ -f "$s/volcano.conf" ] && ok "volcano 1 keeps a copy of a slice" || not_ok "volcano 1 keeps a copy of a slice"
mkdir -p "$T/v1/slices/removed-7" "$T/v1/slices/00999/journal"
check "magma-store passes over what is removed, spare, or only begun" tool store "$T/v1"
check_match "it says which stores it has looked at" "$(cat "$T/out")" "in $s\$"
check_eq "the last word is for all of them" "$(tail -n 1 "$T/out")" clean
cp -a "$T/v1" "$T/broken"; b=$T/broken/slices/${s##*/}
gone=$b/content/ab/cd/abcd000000000000000000000000000000000000.000100000000fff0
mkdir -p "${gone%/*}"; echo x >"$gone"
check "a content that a copy has of a flare that is gone is nothing bad" tool store "$T/broken"
check_match "but it is said" "$(cat "$T/out")" "1 contents of 2 bytes are of flares that are gone"
stray=$b/content/letter
echo x >"$stray"
check_fails "magma-store finds damage in the store of another slice" tool store "$T/broken"
check_match "and says whose it is" "$(cat "$T/out")" "^problem: slices/${s##*/}: .*${stray##*/} is nothing of ours"
check_eq "and that it is the only one" "$(tail -n 1 "$T/out")" "1 problem"
check_match "in JSON too" "$(tool store -j "$T/broken" | tr -d ' \n')" '"clean":false\}\],"clean":false\}$'
echo "no database" >"$b/state.db"; rm -f "$b"/state.db-*; rm -r "$b/content/ab"
check_fails "a store that cannot be read is one" tool store "$T/broken"
check_match "and is named" "$(cat "$T/out")" "^problem: slices/${s##*/}: cannot be checked: .*state.db"
rm -r "$T/broken"

# lava.db, without which magmad does not start
cp "$T/v1/lava.db" "$T/lava.db"; sum=$(cat "$T"/v1/lava.db* | sha1sum)
check "lava.db is there" tool store "$T/v1"
check_eq "and it is as it was" "$(cat "$T"/v1/lava.db* | sha1sum)" "$sum"
rm "$T/v1/lava.db"
says "a folder without lava.db does not start" 1 "lava.db is missing" "$MAGMAD" -d "$T/v1"
check_fails "magma-store says that it is missing" tool store "$T/v1"
check_match "as magmad says it" "$(cat "$T/out")" '^problem: .*lava.db is missing'
check "a store of another slice has none" tool store "$s"
echo "no database, but many bytes that say nothing at all" >"$T/v1/lava.db"
check_fails "magma-store says that it cannot be read" tool store "$T/v1"
check_match "as magmad says it" "$(cat "$T/out")" '^problem: .*lava.db is damaged'
cp "$T/lava.db" "$T/v1/lava.db"
check "with lava.db back all is well" tool store "$T/v1"

# a volcano that serves no more says why, to who waited in vain
net_end
volcano_boot 1 --no-takeover && volcano_join 2 1 --no-takeover || bail "a network of two that does not go on alone"
volcano_kill 1
alone() { tool ping -c 1 "$(addr 2):$PORT" 2>&1 | grep -q 'without quorum'; }
check "the one that is left has no quorum" wait_for 20 alone
mkdir -p "$T/q"
says "mount.magma says why nobody answered" 1 ": no answer within 2 s: without quorum: waits for [^;]*v1" "$MOUNT" --host="$(addr 2)" -p $PORT --keyfile="$KEY" "$T/q" -o timeout=2
finish
