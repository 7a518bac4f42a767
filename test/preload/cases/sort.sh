# SPDX-License-Identifier: MIT
# about: sort with two threads, in memory and through temporary files; join, uniq, comm, shuf
# programs: sort awk join
# packages: coreutils gawk
# set: quick
# probe: sort --version

prepare() {
    awk 'BEGIN { x = 1; for (i = 0; i < 300000; i++) {
        x = (x * 1103515245 + 12345) % 2147483648
        printf "%d k%d %s\n", x, x % 5003, substr("abcdefghijklmnopqrstuvwxyz", x % 20, x % 9 + 1) } }' \
        >"$INPUT/lines"
}

run() {
    sort --parallel=2 "$INPUT/lines" >by_text
    sort --parallel=2 -n -r -S 2M "$INPUT/lines" >by_number
    sort --parallel=2 -s -k2,2V -k1,1n -u "$INPUT/lines" >by_key
    digest by_text by_number by_key
    sort -c by_text
    cut -d' ' -f2 "$INPUT/lines" | sort --parallel=2 | uniq -c | sort -k1,1nr -k2 >counts
    join -1 2 -2 2 <(head -5000 by_text | sort -k2,2) <(sort -k2,2 counts) | digest
    shuf --random-source="$INPUT/lines" by_key | sort --parallel=2 | comm -3 - <(sort by_key)
    tsort <(awk '{ print $1 % 1000, $1 % 1000 + 1 + NR % 5 }' "$INPUT/lines" | sort -u) | digest
    # Compared by their digests above.
    rm by_text by_number by_key
}
