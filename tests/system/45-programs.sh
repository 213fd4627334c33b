#!/bin/sh
# timeout: 120
# Programs that live in the mount, and programs that work on it in their own ways.
. "${0%/*}/lib.sh"

net_start 2 && mnt a && VIA=2 mnt b || bail "a network of two"
A=$T/a; cd "$A" || bail "cd"
cp /bin/ls /bin/sh /usr/bin/sort . ; printf '#!/bin/sh\necho script "$1"\n' >script; chmod 755 script
check_eq "a copied program runs" "$(./sort <<E
b
a
E
)" "a
b"
check_eq "a script runs" "$(./script x)" "script x"
check_eq "through the other mount too" "$("$T/b/script" y)" "script y"
check_fails "a program that runs cannot be written" sh -c './sh -c "sleep 1 & echo x >>./sh; exit \$?" 2>/dev/null'
lib=$(ldd /bin/ls | awk '/libc\.so/ { print $3 }')
check "shared libraries load from it" sh -c "mkdir lib && cp $lib lib/ && LD_LIBRARY_PATH=\$PWD/lib ./ls lib"
check "a program that was removed while it runs goes on" sh -c 'cp /bin/sleep s && ./s 0.5 & p=$!; sleep 0.1; rm s; wait $p'
if have gcc; then
	printf '#include <stdio.h>\nint main(void){puts("compiled");return 0;}\n' >c.c
	check "gcc compiles and links here" gcc -O2 -o c c.c
	check_eq "and it runs" "$(./c)" compiled
fi
# editors: write beside, rename over; backups; locks
i=0 bad=0
while [ $i -lt 50 ]; do echo "version $i" >f.tmp && mv f.tmp f && [ "$(cat "$T/b/f")" = "version $i" ] || bad=$((bad + 1)); i=$((i + 1)); done
check_eq "write beside and rename over, read through the other mount" $bad 0
check "sed -i" sh -c 'sed -i s/version/edition/ f && grep -q edition f'
check "flock of one mount excludes" sh -c "flock f sh -c '! flock -n f true'"
check "dd with O_DIRECT or without, oflag=append, conv=fsync" sh -c 'dd if=/bin/sh of=d bs=4k conv=fsync 2>/dev/null && dd if=/bin/sh of=d bs=4k oflag=append conv=notrunc 2>/dev/null && cat /bin/sh /bin/sh | cmp - d'
check "tail -f sees what is appended" sh -c "echo 1 >log; timeout 10 tail -n +1 -f log | (read a; echo 2 >>log; read b; [ \$a\$b = 12 ])"
check "split and cat" sh -c 'cp /bin/sh big && split -b 10000 big part. && cat part.* | cmp - big && rm part.*'
check "find -newer, -exec, -delete" sh -c 'mkdir t && touch t/old && sleep 0.02 && touch ref t/new && [ -n "$(find t -newer t/old)" ] && find t -type f -delete && rmdir t'
check "cp --sparse, du" sh -c 'truncate -s 100M sp && cp --sparse=always sp sp2 && [ $(du -k sp2 | cut -f1) -lt 1000 ] && rm sp sp2'
check "touch -d, stat" sh -c 'touch -d "1999-12-31 23:59:59.123456789" f && [ "$(stat -c %y f | cut -c1-29)" = "$(date -d "1999-12-31 23:59:59.123456789" +"%Y-%m-%d %H:%M:%S.%N")" ]'
if have strace; then check "strace -f of a copy shows no error that local disks would not give" sh -c "strace -f -o $T/st cp -a script script2 && ! grep -E '= -1 E(IO|STALE|REMOTEIO|TIMEDOUT)' $T/st"; fi
have getfacl && check "getfacl shows the mode" sh -c 'getfacl -cp script | grep -q user::rwx'
have setfattr && check "setfattr, getfattr, cp -a keeps them" sh -c 'setfattr -n user.k -v v script && cp -a script s3 && [ "$(getfattr --only-values -n user.k s3)" = v ]'
cd /
finish
