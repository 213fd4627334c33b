#!/bin/sh
# timeout: 420
# needs: gcc make autoreconf
# ./configure && make of a real autotools source inside the mount: this project's own.
. "${0%/*}/lib.sh"

net_start 2 && mnt a || bail "a network of two"
A=$T/a
mkdir "$A/src"
if [ -e "$TOP/.git" ]; then (cd "$TOP" && git -c safe.directory='*' archive HEAD) | tar -C "$A/src" -xf - || not_ok "the source"
else cp -a "$TOP"/. "$A/src/"; fi
cd "$A/src" || bail "cd"
check "autogen.sh" ./autogen.sh
mkdir build && cd build || bail "build"
check "configure" ../configure
# the library and a program: enough of a compiler's and linker's work, without a full build's minutes
check "make libmagma" make -j"$(nproc)" libmagma/libmagma.la || tail -n 20 "$T/out"
check "make the tools" make -j"$(nproc)" magma_tools/magma-hash magma_tools/magma-store
check_match "what was built runs from the mount" "$(magma_tools/magma-hash /example 2>&1)" '^81f762fd59d88768b06b8e9de56aef8a95962045'
check "make again has nothing to do" sh -c "make libmagma/libmagma.la | grep -q 'up to date'"
check "make install DESTDIR" make -j"$(nproc)" install-magmaincludeHEADERS DESTDIR="$A/dest"
check "make clean" make -s clean
cd /
finish
