#!/bin/sh
# timeout: 180
# needs: git
# git inside the mount: init, add, commit, clone, branches, gc, fsck.
. "${0%/*}/lib.sh"

net_start 2 && mnt a || bail "a network of two"
export HOME="$T" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
git config --global safe.directory '*'; git config --global init.defaultBranch main; git config --global gc.auto 0
A=$T/a; cd "$A" || bail "cd"

check "init" git init -q repo
cp -a /usr/include/linux /usr/include/asm-generic repo/
check "add" git -C repo add -A
check "commit" git -C repo commit -qm one
check_eq "status is clean" "$(git -C repo status --porcelain)" ""
check "twenty commits" sh -c 'cd repo && i=0; while [ $i -lt 20 ]; do echo $i >>linux/stat.h; git mv -k linux/fs.h linux/fs$i.h; git commit -qam "c$i" || exit 1; i=$((i+1)); done'
check "branch, switch, merge" sh -c 'cd repo && git checkout -qb side HEAD~5 && echo s >side && git add side && git commit -qm side && git checkout -q main && git merge -q -m m side'
check "clone inside the mount" git clone -q repo clone
check "clone --no-local" git clone -q --no-local repo clone2
check "fsck of the clone" git -C clone2 fsck --full --strict
check "gc" git -C repo gc -q --prune=now
check "fsck" git -C repo fsck --full
check_eq "status is clean after gc" "$(git -C repo status --porcelain)" ""
check "the clones are the same" diff -r --exclude=.git repo clone2
check "pull" sh -c 'cd repo && echo new >new && git add new && git commit -qm new && cd ../clone && git pull -q && [ "$(cat new)" = new ]'
if [ -e "$TOP/.git" ]; then
	check "clone of a real history" git clone -q --no-local "file://$TOP" project
	check "fsck of it" git -C project fsck --full
	check_eq "its tree is the same" "$(git -C project rev-parse 'HEAD^{tree}')" "$(git -C "$TOP" rev-parse 'HEAD^{tree}')"
	check "push into a bare repository" sh -c "git init -q --bare bare.git && git -C project push -q ../bare.git HEAD:refs/heads/x && git -C bare.git fsck"
fi
check "stash, reset --hard, clean" sh -c 'cd repo && echo z >>new && git stash -q && git stash pop -q && git reset -q --hard HEAD~3 && touch junk && git clean -qfd && [ -z "$(git status --porcelain)" ]'
cd /
check "rm -rf" sh -c "rm -rf $A/*"
finish
