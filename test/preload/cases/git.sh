# SPDX-License-Identifier: MIT
# about: init, 150 commits, branches, merge, clone, gc with threads, fsck, log, blame, diff
# programs: git
# packages: git
# set: quick
# probe: git --version

commit_all() { # NUMBER
    export GIT_AUTHOR_DATE="$((1600000000 + $1 * 60)) +0000"
    export GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
    git add -A
    git commit -q -m "change $1"
}

change() { # NUMBER
    local i=$1
    mkdir -p "dir$((i % 9))"
    seq "$i" $((i + 400)) >"dir$((i % 9))/file$((i % 23)).txt"
    printf 'line %d\n' "$i" >>log.txt
    [ $((i % 10)) -ne 0 ] || rm -f "dir$(((i + 3) % 9))/file$((i % 23)).txt"
}

# Packs depend on how the threads shared the work: the objects in them do not.
show_objects() {
    git rev-list --objects --all | cut -d' ' -f1 | LC_ALL=C sort |
        git cat-file --batch | digest
}

run() {
    export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org
    export GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org
    git config --global init.defaultBranch main
    git config --global pack.threads 2
    git init -q one
    cd one || exit
    for i in $(seq 120); do
        change "$i"
        commit_all "$i"
    done
    git checkout -q -b side HEAD~20
    for i in $(seq 121 150); do
        echo "$i" >>side.txt
        commit_all "$i"
    done
    git checkout -q main
    git merge -q -m "merge side" side
    git gc -q --aggressive --prune=now
    git fsck --full --strict
    git log --stat --graph | digest
    git blame log.txt | digest
    git diff HEAD~60 HEAD | digest
    show_objects
    cd .. || exit
    git clone -q --no-local one two
    git -C two repack -q -a -d -f --window=20
    git -C two log --format='%H %an %s' >log.txt
    (cd two && show_objects && git archive HEAD | digest)
    rm -rf one/.git two/.git
}
