#!/bin/sh
# What the programs say to wrong usage: exit code 2, one line that says what is wrong. And --help, --version.
. "${0%/*}/lib.sh"

TOOLS=$B/magma_tools
mkdir -p "$T/d" "$T/m"
printf 'secret' >"$T/open.key"; chmod 644 "$T/open.key"
: >"$T/empty.key"; chmod 600 "$T/empty.key"

for p in "$MAGMAD" "$MOUNT" "$TOOLS/magma-hash" "$TOOLS/magma-locate" "$TOOLS/magma-ping" "$TOOLS/magma-store"; do
	n=${p##*/}
	out=$("$p" --help 2>&1 </dev/null); rc=$?
	if [ $rc -eq 0 ] && [ "$(printf '%s\n' "$out" | wc -l)" -gt 2 ]; then ok "$n --help explains"; else not_ok "$n --help explains"; diag "exit $rc: $out"; fi
	out=$("$p" --version 2>&1 </dev/null); rc=$?
	check_eq "$n --version exits with 0" $rc 0
	check_match "$n --version says which" "$out" '[0-9]+\.[0-9]+\.[0-9]+'
	says "$n: unknown option" 2 "no-such-option" "$p" --no-such-option
done

# magmad; the network is 127.0.0.9, where nobody listens
d() { _w=$1 _re=$2; shift 2; says "magmad: $_w" 2 "$_re" "$MAGMAD" "$@"; }
d "-b and -j exclude each other"     "-b|-j"         -b -j 127.0.0.9 -n a -k s -i 127.0.0.9 -d "$T/d"
d "a word without an option"         "nonsense"      -d "$T/d" nonsense
d "a nickname that /.dht needs"      "-n conflicts"  -b -n conflicts -k s -i 127.0.0.9 -d "$T/d"
d "-p is no number"                  "-p|port"       -b -n a -k s -i 127.0.0.9 -p twelve -d "$T/d"
d "-p is out of range"               "-p|port"       -b -n a -k s -i 127.0.0.9 -p 65535 -d "$T/d"
d "-p of 0"                          "-p|port"       -b -n a -k s -i 127.0.0.9 -p 0 -d "$T/d"
d "-i is no address"                 "-i|address|999" -b -n a -k s -i 999.1.2.3 -d "$T/d"
d "-i is not given its argument"     "-i"            -b -n a -k s -d "$T/d" -i
d "-S is no number"                  "-S|storage"    -b -n a -k s -i 127.0.0.9 -S lots -d "$T/d"
d "-S is negative"                   "-S|storage"    -b -n a -k s -i 127.0.0.9 -S -5 -d "$T/d"
d "-w is no number"                  "-w|bandwidth"  -b -n a -k s -i 127.0.0.9 -w fast -d "$T/d"
d "-R without -b"                    "-R"            -j 127.0.0.9 -R 2 -n a -k s -i 127.0.0.9 -d "$T/d"
d "-R of 0"                          "-R"            -b -R 0 -n a -k s -i 127.0.0.9 -d "$T/d"
d "-D with an unknown channel"       "-D|channel"    -b -D Z -n a -k s -i 127.0.0.9 -d "$T/d"
d "-j with a bad port"               "-j|port"       -j 127.0.0.9:99999 -n a -k s -i 127.0.0.9 -d "$T/d"
d "-k and -K exclude each other"     "-k|-K"         -b -n a -k s -K "$KEY" -i 127.0.0.9 -d "$T/d"
d "a new network needs a secret"     "-k|-K|secret|key" -b -n a -i 127.0.0.9 -d "$T/d"
d "an empty secret"                  "secret|key|-k" -b -n a -k "" -i 127.0.0.9 -d "$T/d"
says "magmad: -K of a file that is not there" 1 "none.key" "$MAGMAD" -b -n a -K "$T/none.key" -i 127.0.0.9 -d "$T/d"
says "magmad: -K of a file others can read" 1 "open.key" "$MAGMAD" -b -n a -K "$T/open.key" -i 127.0.0.9 -d "$T/d"
says "magmad: -K of an empty file" 1 "empty.key" "$MAGMAD" -b -n a -K "$T/empty.key" -i 127.0.0.9 -d "$T/d"
says "magmad: -c of a file that is not there" 1 "none.conf" "$MAGMAD" -c "$T/none.conf" -b -n a -k s -i 127.0.0.9 -d "$T/d"
says "magmad: -i of an address that is not ours" 1 "192\.0\.2\.1" "$MAGMAD" -b -n a -k s -i 192.0.2.1 -d "$T/d"
says "magmad: -d in a file" 1 "open.key" "$MAGMAD" -b -n a -k s -i 127.0.0.9 -d "$T/open.key/x"
says "magmad: -d is a file" 1 "open.key: Not a directory" "$MAGMAD" -b -n a -k s -i 127.0.0.9 -d "$T/open.key"
d "an address by default that only this machine reaches" "localhost.*127\.0\.0\.1|::1.*-i" -b -n a -s localhost -k s -d "$T/d"
d "an unknown option with a value does not say it" "Unknown option --kye;" --kye=m4gm4 -d "$T/d"
says "magmad: -j of a name that does not resolve" 1 "^magmad: -j no-such-host\.invalid: [A-Z]" "$MAGMAD" -j no-such-host.invalid -n a -k s -i 127.0.0.9 -d "$T/d"
check_eq "nothing of that wrote into -d" "$(ls -A "$T/d")" ""

# mount.magma
m() { _w=$1 _re=$2; shift 2; says "mount.magma: $_w" 2 "$_re" "$MOUNT" "$@"; }
m "no mount point"              "mount point|directory|usage" --host=127.0.0.9 --key=s
m "no host"                     "host"                        --key=s "$T/m"
m "no key"                      "key"                         --host=127.0.0.9 "$T/m"
m "a bad port"                  "port|-p"                     --host=127.0.0.9 -p 99999 --key=s "$T/m"
m "two mount points"            "$T/d|more than|unexpected|extra" --host=127.0.0.9 --key=s "$T/m" "$T/d"
m "an unknown mount option"     "no-such"                     --host=127.0.0.9 --key=s -o no-such "$T/m"
says "mount.magma: the mount point is not there" 1 "$T/none" "$MOUNT" --host=127.0.0.9 --key=s "$T/none"
says "mount.magma: the mount point is a file" 1 "open.key" "$MOUNT" --host=127.0.0.9 --key=s "$T/open.key"
says "mount.magma: a key file that is not there" 1 "none.key" "$MOUNT" --host=127.0.0.9 --keyfile="$T/none.key" "$T/m"
says "mount.magma: an empty key file" 1 "empty.key" "$MOUNT" --host=127.0.0.9 --keyfile="$T/empty.key" "$T/m"
says "mount.magma: a host name that does not resolve" 1 "no-such-host" "$MOUNT" --host=no-such-host.invalid --key=s "$T/m"

# tools
says "magma-hash: no path" 2 "path|usage" "$TOOLS/magma-hash"
says "magma-hash: a path that is not absolute" 2 "relative|absolute" "$TOOLS/magma-hash" relative/path
says "magma-locate: no path" 2 "path|usage" "$TOOLS/magma-locate" 127.0.0.9
says "magma-ping: no host" 2 "host|usage" "$TOOLS/magma-ping"
says "magma-store: no folder" 2 "folder|dir|usage" "$TOOLS/magma-store"
says "magma-store: a folder that is not there" 1 "$T/none" "$TOOLS/magma-store" "$T/none"
says "magma-store: a folder without a volcano" 1 "$T/d" "$TOOLS/magma-store" "$T/d"
finish
