# SPDX-License-Identifier: MIT
# about: the awks that are there: large associative arrays, fields, regular expressions, strings
# programs: awk gawk
# packages: gawk mawk
# set: quick
# probe: gawk BEGIN{}

prepare() {
    cat >"$INPUT/work.awk" <<'AWK'
BEGIN {
    for (i = 0; i < 200000; i++) {
        x = (x * 1103515245 + 12345) % 2147483648
        count["w" x % 30011] += i % 7
        if (x % 5 == 0) delete count["w" (x + 11) % 30011]
        line = line " " x % 1000
        if (length(line) > 2000) { text[++n] = line; line = "" }
    }
    for (i = 1; i <= n; i++) {
        fields += split(text[i], part, /[ 0]+/)
        swaps += gsub(/1[0-9]*2/, "<&>", text[i])
        long = long substr(text[i], 5, 40)
        sum += part[3]
    }
    for (key in count) total += count[key]
    print n, fields, swaps, length(long), sum, total, toupper(substr(long, 100, 30))
}
AWK
}

run() {
    local awk
    for awk in gawk mawk original-awk; do
        if command -v $awk >/dev/null; then
            echo $awk
            $awk -f "$INPUT/work.awk"
        fi
    done
    gawk 'BEGIN { for (i = 0; i < 50000; i++) a[i % 100][i] = i; n = asorti(a[7], b); print n, b[1], b[n] }'
    gawk -F, '{ for (i = NF; i > 0; i--) printf "%s%s", $i, (i > 1 ? FS : "\n") }' \
        < <(seq -s, 1 4000; seq -s, 7 7 9000) | digest
}
