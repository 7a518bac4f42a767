# SPDX-License-Identifier: MIT
# about: json parsed, grouped, sorted, streamed and printed
# programs: jq awk
# packages: jq gawk
# set: long
# probe: jq -n 1

prepare() {
    awk 'BEGIN { print "["; for (i = 0; i < 30000; i++) { x = (x * 1103515245 + 12345) % 2147483648
        printf "%s{\"id\":%d,\"name\":\"n%d\",\"list\":[%d,%d.5,null,true],\"deep\":{\"a\":{\"b\":\"%s\"}}}\n", \
            i ? "," : "", i, x % 5003, x % 97, x % 31, substr("abcdefghijklmnop", x % 9 + 1) }
        print "]" }' >"$INPUT/large.json"
}

run() {
    jq . "$INPUT/large.json" | digest
    jq -c 'group_by(.list[0]) | map({key: .[0].list[0], n: length, names: map(.name) | unique | length})' "$INPUT/large.json"
    jq -S 'map(select(.id % 7 == 0) | .deep.a.b |= ascii_upcase) | sort_by(.name, -.id) | .[0:5]' "$INPUT/large.json"
    jq -c --stream 'select(length == 2 and .[0][1] == "id") | .[1]' "$INPUT/large.json" | digest
    jq -r '.[] | [.id, .name, (.list | tojson)] | @csv' "$INPUT/large.json" | digest
    jq -n '[range(200000)] | map(tostring) | join(",") | length'
    jq . <<<'{"broken": [1, 2' || echo "status $?"
}
