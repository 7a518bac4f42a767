# SPDX-License-Identifier: MIT
# about: xz with two threads, its integrity check and extraction; then gzip and bzip2 if there
# programs: xz awk
# packages: xz-utils gawk
# set: quick
# probe: xz --version

prepare() {
    awk 'BEGIN { x = 1; for (i = 0; i < 250000; i++) {
        x = (x * 1103515245 + 12345) % 2147483648
        printf "%d %s %x\n", i, x % 17 ? "the quick brown fox" : "jumps over", x } }' >"$INPUT/text"
}

run() {
    cp "$INPUT/text" text
    xz -k -T2 -2 --block-size=1MiB text
    xz -t -T2 text.xz
    xz -l --robot text.xz
    xz -dc -T2 text.xz | cmp - text
    xz -k -T1 -1 --format=lzma text
    xz -dc text.lzma | digest
    head -c 500000 text.xz >cut.xz
    if xz -t cut.xz; then die "a cut file passed"; fi
}
