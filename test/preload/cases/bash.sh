# SPDX-License-Identifier: MIT
# about: scripts with a thousand short processes, pipes, subshells, arrays, here-documents, traps
# programs: bash dash sed grep find xargs
# packages: bash dash sed grep findutils
# set: quick
# probe: bash -c :

short_processes() {
    local i total=0
    for i in $(seq 250); do
        /bin/true
        # shellcheck disable=SC2003 # a process a turn is what is wanted
        total=$((total + $(expr 1 + "$i" % 7)))
        /bin/echo "line $i" | sed 's/line/item/' | grep -c item >/dev/null
    done
    echo "$total"
}

arrays() {
    local -A names=()
    local i list=()
    for i in {1..20000}; do
        names[k$((i * 7919 % 4001))]+=x
        list+=("$i:${#names[@]}")
    done
    unset 'list[77]' 'names[k3]'
    printf '%s\n' "${#names[@]}" "${#list[@]}" "${list[*]: -3}" "${names[k77]}"
    printf '%s\n' "${!names[@]}" | LC_ALL=C sort | digest
}

run() {
    short_processes
    arrays
    bash -c 'trap "echo trapped" TERM; kill -TERM $$; (exit 7); echo "status $?"; exec bash -c "exit 9"' || echo "$?"
    # shellcheck disable=SC2016 # for dash to expand
    dash -c 'i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); x="$x$i"; done; echo ${#x}'
    mkdir -p d/{a..h}/{1..30}
    find d -type d | LC_ALL=C sort | xargs -n 3 -P 1 echo | digest
    seq 200 | xargs -P 4 -I{} bash -c 'echo {} > d/a/1/{}'
    paste <(sort -n d/a/1/*) - <<<"first line" | digest
    read -r -d '' text < <(seq 1 8000) || true
    echo "${#text} ${text//1/one}" | digest
    coproc cat
    echo hello >&"${COPROC[1]}"
    read -r answer <&"${COPROC[0]}"
    echo "$answer"
    [[ "${answer/hello/aaaa1234bb}" =~ ^(a+)([0-9]*)b ]] && echo "${BASH_REMATCH[@]}"
    if (ulimit -v 200000; bash -c 'x=$(head -c 300000000 /dev/zero | tr "\0" x); echo ${#x}') 2>/dev/null; then
        die "300 MB went into 200 MB of address space"
    fi
}
