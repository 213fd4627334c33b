#!/bin/sh
# timeout: 150
# mount.magma: both forms of its command line, options, subdirectory as root, read-only, unmount that flushes.
. "${0%/*}/lib.sh"

net_start 2 && mnt a || bail "a network of two"
mkdir -p "$T/a/projects/one"; echo inside >"$T/a/projects/one/file"; mkdir "$T/b" "$T/c"
echo "$T/b" >>"$T/mounts"
H=$(addr 1)
is_up() { is_mount "$T/b" && [ "$(cat "$T/b/projects/one/file")" = inside ]; }

# the first form
check "--host and --key" "$MOUNT" --host="$H" -p $PORT --key="$SECRET" "$T/b"
check "the mount works when it returns" is_up
grep -qa -- "$SECRET" /proc/[0-9]*/cmdline 2>/dev/null && not_ok "the process list shows no secret" || ok "the process list shows no secret"
grep " $T/b " /proc/self/mounts | grep -qa -- "$SECRET" && not_ok "the mount table shows no secret" || ok "the mount table shows no secret"
umnt b
check "the key from the environment" env MAGMA_KEY="$SECRET" "$MOUNT" --host="$H" -p $PORT "$T/b"
check "it works" is_up; umnt b
check "-o keyfile, a list of hosts of which the first is dead" "$MOUNT" --host="$(addr 9),$H" -p $PORT -o keyfile="$KEY" "$T/b"
check "it works" is_up; umnt b
check "-o proxy" "$MOUNT" --host="$(addr 2)" -p $PORT -o proxy,keyfile="$KEY" "$T/b"
check "it works" is_up
sh -c "cd $T/b && for i in 1 2 3 4 5 6 7 8; do echo \$i >p\$i; done" && check_eq "flares of every volcano are reached through one" "$(cat "$T"/a/p? | tr -d '\n')" 12345678
umnt b
bg "$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" -f "$T/b"
check "-f stays in the foreground" wait_for 10 is_up
alive $BG && ok "and is that process" || not_ok "and is that process"
umnt b
check "unmounting ends it" wait_for 5 gone $BG
bg "$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" -f "$T/b"; wait_for 10 is_up
kill -TERM $BG
check "TERM unmounts and ends it" wait_for 10 gone $BG
is_mount "$T/b" && not_ok "nothing stays mounted" || ok "nothing stays mounted"
bg "$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" -f "$T/b"; wait_for 10 is_up
kill -STOP $BG; umount -l "$T/b"
check "a second mount where one was" "$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" "$T/b"
kill -CONT $BG
check "the first one ends" wait_for 10 gone $BG
check "and leaves the second alone" is_up; umnt b
check "-s, one thread" "$MOUNT" -s --host="$H" -p $PORT --keyfile="$KEY" "$T/b"
check "it works" is_up
check "fusermount3 -u unmounts" fusermount3 -u "$T/b"

check "mounted once" "$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" "$T/b"
says "the same once more is refused" 1 "$T/b: $H:/ is mounted there already" "$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" "$T/b"
says "in mount(8)'s form too" 32 "$T/b: $H:/ is mounted there already" "$MOUNT" "$H:/" "$T/b" -o keyfile="$KEY",port=$PORT
check "a part of the network may be mounted over it" "$MOUNT" "$H:/projects" "$T/b" -o keyfile="$KEY",port=$PORT
umnt b; check "and what is below is there again" is_up; umnt b
bg "$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" -f "$T/b"; wait_for 10 is_up
kill -KILL $BG; wait_for 5 gone $BG
says "a mount whose process was killed is in the way" 1 "$T/b: .*umount" "$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" "$T/b"
check "umount takes it away" umount "$T/b"
if unshare -m true 2>/dev/null; then
	says "no /dev/fuse" 1 "/dev/fuse: .*modprobe" unshare -m --propagation private sh -c "mount -t tmpfs none /dev && exec '$MOUNT' --host=$H -p $PORT --keyfile='$KEY' '$T/b'"
else
	skip "no /dev/fuse" "no mount namespaces here"
fi

# mount(8)'s form, as mount(8) calls it
check "SPEC DIR -o" "$MOUNT" "$H:/" "$T/b" -o rw,keyfile="$KEY",port=$PORT
if is_mount "$T/b"; then
	check "it works" is_up
	check_eq "the source is SPEC verbatim" "$(awk -v m="$T/b" '$2 == m { print $1 }' /proc/self/mounts)" "$H:/"
	check_match "the type is magma" "$(awk -v m="$T/b" '$2 == m { print $3 }' /proc/self/mounts)" '^fuse\.magma$'
	umnt b
else
	PORTOPT=p
	check "SPEC DIR -o with -p" "$MOUNT" "$H:/" "$T/b" -o rw,keyfile="$KEY" -p $PORT && umnt b
fi
check "-f is a dry run" "$MOUNT" "$H:/" "$T/b" -f -o rw,keyfile="$KEY",port=$PORT
is_mount "$T/b" && not_ok "a dry run mounts nothing" || ok "a dry run mounts nothing"
check "-s -n -v, nofail, _netdev, user, x-*" "$MOUNT" "$H:/" "$T/b" -s -n -v -o rw,nofail,_netdev,user,x-systemd.automount,keyfile="$KEY",port=$PORT
check "it works" is_up; umnt b
sub_up() { [ "$(cat "$T/b/one/file")" = inside ] && [ ! -e "$T/b/projects" ]; }
check "a subdirectory as the root" "$MOUNT" "$H:/projects" "$T/b" -o keyfile="$KEY",port=$PORT
check "it shows just that" sub_up
check_eq ".. of it is itself" "$(stat -c %i "$T/b/..")" "$(stat -c %i "$T")"
echo new >"$T/b/one/new"; check_eq "what is made there is seen from the whole" "$(cat "$T/a/projects/one/new")" new
umnt b
# 32 is what mount(8) expects of a helper that could not mount
says "a subdirectory that is not there" 32 "/nothing" "$MOUNT" "$H:/nothing" "$T/b" -o keyfile="$KEY",port=$PORT
says "a subdirectory that is a file" 32 "/projects/one/file" "$MOUNT" "$H:/projects/one/file" "$T/b" -o keyfile="$KEY",port=$PORT
is_mount "$T/b" && not_ok "a failed mount leaves nothing mounted" || ok "a failed mount leaves nothing mounted"

check "ro" "$MOUNT" "$H:/" "$T/b" -o ro,keyfile="$KEY",port=$PORT
check "it reads" is_up
check_fails "it does not write" sh -c "echo x >$T/b/new"
check_match "because it is read-only" "$(cat "$T/out")" "Read-only file system"
umnt b
cp /bin/true "$T/a/true"; chmod 4755 "$T/a/true"; mknod "$T/a/null" c 1 3
check "nosuid, nodev, noexec" "$MOUNT" "$H:/" "$T/b" -o nosuid,nodev,noexec,keyfile="$KEY",port=$PORT
check_match "they are the kernel's" "$(grep " $T/b " /proc/self/mounts)" 'nosuid,nodev,noexec'
check_fails "noexec" "$T/b/true"; check_fails "nodev" sh -c "echo x >$T/b/null"
umnt b
check "with defaults devices work" sh -c "echo x >$T/a/null"

# mount(8) itself, where the helper can be found: in a mount namespace of its own, so that the machine's /sbin stays as it is
if unshare -m true 2>/dev/null; then
	cat >"$T/ns" <<NS
mkdir -p $T/sbin && cp -a /sbin/. $T/sbin/ 2>/dev/null
printf '#!/bin/sh\nexec $MOUNT "\$@"\n' >$T/sbin/mount.magma && chmod 755 $T/sbin/mount.magma || exit 9
ln -sf mount.magma $T/sbin/mount.fuse.magma
mount --bind $T/sbin "\$(readlink -f /sbin)" || exit 9
echo '$H:/projects $T/c magma keyfile=$KEY,port=$PORT,_netdev,nofail 0 0' >$T/fstab
mount -t magma $H:/ $T/b -o keyfile=$KEY,port=$PORT && test "\$(cat $T/b/projects/one/file)" = inside || exit 1
mount -o remount,ro $T/b 2>$T/err && exit 3
grep -q "'remount' is not supported" $T/err || { cat $T/err; exit 3; }
umount $T/b || exit 1
mount -T $T/fstab $T/c && test "\$(cat $T/c/one/file)" = inside && umount $T/c || exit 2
NS
	unshare -m --propagation private sh "$T/ns" >"$T/out" 2>&1; rc=$?
	case $rc in
	0) ok "mount -t magma and a line of fstab" ;;
	3) not_ok "mount -o remount says that it cannot"; diag_file "$T/out" ;;
	9) skip "mount -t magma and a line of fstab" "no bind mount over /sbin here" ;;
	*) not_ok "mount -t magma and a line of fstab"; diag "exit $rc"; diag_file "$T/out" ;;
	esac
else
	skip "mount -t magma and a line of fstab" "no mount namespaces here"
fi

# unmount loses nothing that was written
i=0 bad=0
while [ $i -lt 5 ]; do
	"$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" "$T/b" || break
	head -c 3000000 /dev/urandom >"$T/x"
	cp "$T/x" "$T/b/flush.$i" && umount "$T/b" || bad=9
	cmp -s "$T/x" "$T/a/flush.$i" || bad=$((bad + 1))
	i=$((i + 1))
done
check_eq "unmount right after a write loses nothing" "$i$bad" 50
"$MOUNT" --host="$H" -p $PORT --keyfile="$KEY" "$T/b"
exec 8>"$T/b/busy"
check_fails "a busy mount is not unmounted" umount "$T/b"
exec 8>&-
check "and is when it is idle" umount "$T/b"
finish
