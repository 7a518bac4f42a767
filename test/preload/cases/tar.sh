# SPDX-License-Identifier: MIT
# about: archives of a tree of many files with links, compressed, listed, updated and extracted
# programs: tar gzip
# packages: tar gzip
# set: quick
# probe: tar --version

prepare() {
    local i
    for i in $(seq 400); do
        mkdir -p "$INPUT/tree/dir$((i % 20))/sub$((i % 3))"
        seq "$i" $((i * 7)) >"$INPUT/tree/dir$((i % 20))/sub$((i % 3))/file$i"
    done
    ln -s ../dir1 "$INPUT/tree/dir2/link"
    ln "$INPUT/tree/dir1/sub1/file1" "$INPUT/tree/hard"
}

run() {
    local same=(--sort=name --mtime=@1000000000 --owner=0 --group=0 --numeric-owner)
    tar "${same[@]}" -C "$INPUT" -cf all.tar tree
    tar "${same[@]}" -C "$INPUT" --format=posix --pax-option=delete=atime,delete=ctime -czf all.tar.gz tree
    tar -tvf all.tar | digest
    tar --exclude='*/sub2/*' -xzf all.tar.gz
    tar "${same[@]}" -C "$INPUT" --wildcards --delete -f all.tar 'tree/dir7/*'
    tar "${same[@]}" -C "$INPUT" -rf all.tar tree/dir7
    tar -C "$INPUT" --compare -f all.tar tree/dir3 || echo "compare: $?"
    find tree -type f | LC_ALL=C sort | xargs sha256sum | digest
}
