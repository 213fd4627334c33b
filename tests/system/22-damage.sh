#!/bin/sh
# timeout: 120
# A damaged journal: a torn tail is cut and logged; damage in the middle stops the volcano with the place named. The journal is DIR/journal/*.log.
. "${0%/*}/lib.sh"

# Behind the last record: journals may be preallocated, and records may end in zeros.
end_of() { _e=$("$HELP/iotool" dataend "$1"); _s=$(stat -c %s "$1"); [ "$_s" -gt $((_e + 4096)) ] && echo $((_e + 64)) || echo "$_s"; }
last() { ls "$T"/v1/journal/*.log | tail -n 1; }
# A volcano that was killed with work in its journal: 300 files that were fsynced, then 50 that were not.
loaded() {
	rm -rf "$T/v1"
	net_start 1 && mnt a || bail "a volcano"
	"$HELP/iotool" many "$T/a" 0 300 synced; sync -f "$T/a/n0"; "$HELP/iotool" put "$T/a/big" 1 3
	"$HELP/iotool" many "$T/a" 300 350 loose
	volcano_kill 1
	umount -l "$T/a"
}
whole() { mnt a && [ "$(cat "$T"/a/n? "$T"/a/n?? "$T"/a/n[12]?? | wc -c)" -eq 1800 ] && "$HELP/iotool" get "$T/a/big" 1 3; }

loaded
end=$(end_of "$(last)")
[ "${end:-0}" -gt 0 ] && ok "the journal holds the last operations" || not_ok "the journal holds the last operations"
"$HELP/iotool" scribble "$(last)" "$end" 37
check "garbage behind the last record: starts" volcano_restart 1
check_match "and says that it cut it" "$(cat "$(vlog 1)")" 'journal.*(cut|torn)|(cut|torn).*journal'
check "nothing is lost" whole
check_eq "nothing at all" "$(cat "$T"/a/n3?? | wc -c)" 250
check "it goes on" sh -c "echo x >$T/a/fresh && cat $T/a/fresh"
umnt a; volcano_kill 1; check "and survives a second crash" volcano_restart 1; check "whole" whole; umnt a; net_end

loaded
end=$("$HELP/iotool" dataend "$(last)")
truncate -s $((end - 11)) "$(last)"
check "a torn last record: starts" volcano_restart 1
check_match "and says that it cut it" "$(cat "$(vlog 1)")" 'journal.*(cut|torn)|(cut|torn).*journal'
check "what was fsynced is there" whole
check "it goes on" sh -c "echo x >$T/a/fresh && cat $T/a/fresh"
umnt a; volcano_kill 1
stray=$T/v1/content/ab/cd/abcd000000000000000000000000000000000000.000100000000fff0
mkdir -p "${stray%/*}" && head -c 20000 /dev/zero >"$stray"
check "a content file of no flare: starts" volcano_restart 1
check "and it is found and removed" wait_for 30 sh -c "! [ -e $stray ] && grep -q 'content file of flare.*20000 bytes.*removed' $(vlog 1)"
check "all others are there" whole
check_match "the console counts it" "$(console 1 status)" '1 contents'
umnt a; net_end

loaded
f=$(last); end=$("$HELP/iotool" dataend "$f")
"$HELP/iotool" scribble "$f" $((end / 3)) 5
cp -a "$T/v1" "$T/copy"
says "damage in the middle stops the volcano with the place named" 1 "$(basename "$f").*[0-9]" "$MAGMAD" -d "$T/v1"
check "and the journal stays as it was" cmp "$f" "$T/copy/journal/$(basename "$f")"
check_fails "magma-store finds it too" tool store "$T/v1"
check_match "and names the place" "$(cat "$T/out")" "$(basename "$f")"
finish
