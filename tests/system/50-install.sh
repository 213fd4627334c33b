#!/bin/sh
# timeout: 120
# make install: what is where, pkg-config, a program against the library, exported symbols.
. "${0%/*}/lib.sh"

D=$T/dest
check "make install" make -s -C "$B" install DESTDIR="$D"
prefix=$(sed -n 's/^prefix = //p' "$B/Makefile")
P=$D$prefix
for f in sbin/magmad bin/magma-hash bin/magma-locate bin/magma-ping bin/magma-store include/magma/magma.h lib/pkgconfig/libmagma.pc share/magma/magma.lua share/doc/magma/magmad.conf.sample; do
	[ -e "$P/$f" ] && ok "$f is installed" || not_ok "$f is installed"
done
helper=$D$(sed -n 's/^mounthelperdir = //p' "$B/Makefile" | sed "s,\${sbindir},$prefix/sbin,")/mount.magma
[ -x "$helper" ] && ok "mount.magma is where mount(8) looks" || not_ok "mount.magma is where mount(8) looks"
check_eq "and where it looks for the type the kernel shows" "$(readlink "${helper%/*}/mount.fuse.magma")" mount.magma
unit=$D$(sed -n 's/^systemdsystemunitdir = //p' "$B/Makefile" | sed "s,\${prefix},$prefix,")/magmad.service
check_match "the systemd unit starts the installed magmad" "$(cat "$unit")" "^ExecStart=$prefix/sbin/magmad "
so=$(ls "$P"/lib/libmagma.so.*.*.* 2>/dev/null | head -n 1)
[ -n "$so" ] && ok "libmagma.so is versioned" || not_ok "libmagma.so is versioned"
check_match "its soname" "$(objdump -p "$so" 2>/dev/null)" 'SONAME +libmagma\.so\.[0-9]+'
check_eq "it exports magma_* and MAGMA_* only" "$(nm -D --defined-only "$so" | awk '$2 ~ /[A-Z]/ { print $3 }' | sed 's/@.*//' | grep -vE '^(magma_|MAGMA_)' | head -n 5)" ""
check_match "and it does export something" "$(nm -D --defined-only "$so")" ' T magma_'
check "the installed magmad runs" env LD_LIBRARY_PATH="$P/lib" "$P/sbin/magmad" --version
check "the installed tools run" env LD_LIBRARY_PATH="$P/lib" "$P/bin/magma-hash" /example
check "the installed mount.magma runs" env LD_LIBRARY_PATH="$P/lib" "$helper" --version
# as an installed library is used: pkg-config with the tree as its sysroot
export PKG_CONFIG_PATH="$P/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$D"
check "pkg-config knows it" pkg-config --exists --print-errors libmagma
cat >"$T/p.c" <<'C'
#include <magma.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
	static const char path[] = "/example";
	MagmaKey k = magma_key_of_path(path, strlen(path));
	const unsigned char *p = (const void *)&k;
	return p[0] == 0x81 && p[1] == 0xf7 ? 0 : 1;
}
C
cflags=$(pkg-config --cflags libmagma glib-2.0 | sed "s,-I$D/usr/include/glib,-I/usr/include/glib,g; s,-I$D/usr/lib/,-I/usr/lib/,g")
proto=$(grep -hE 'magma_key_.*\(' "$P/include/magma/libmagma/key/key.h" "$P/include/magma/key/key.h" 2>/dev/null | head -n 3)
check "a program compiles and links with it" sh -c "cc -o $T/p $T/p.c $cflags $(pkg-config --libs libmagma glib-2.0)" || { diag "$cflags"; diag "$proto"; }
[ -x "$T/p" ] && check "and finds the key of /example" env LD_LIBRARY_PATH="$P/lib" "$T/p"
check "make uninstall takes everything away" make -s -C "$B" uninstall DESTDIR="$D"
check_eq "nothing is left" "$(find "$D" ! -type d | head -n 5)" ""
finish
