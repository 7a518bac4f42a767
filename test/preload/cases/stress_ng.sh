# SPDX-License-Identifier: MIT
# about: stress-ng --malloc with threads, small and large, and its searches, sorts and forks, verified
# programs: stress-ng
# packages: stress-ng
# set: long
# probe: stress-ng --version

# It counts operations and not time; what it prints holds times and process ids.
stress() {
    local status=0
    stress-ng --temp-path "$TMPDIR" --no-rand-seed --verify "$@" >"$TMPDIR/log" 2>&1 || status=$?
    grep -E 'fail:|error:|unsuccessful' "$TMPDIR/log" || true
    echo "$* -> $status"
}

run() {
    # At most malloc-max objects a thread, each of at most malloc-bytes.
    stress --malloc 2 --malloc-ops 200000 --malloc-max 1000 --malloc-bytes 200K
    stress --malloc 1 --malloc-ops 20000 --malloc-max 40 --malloc-bytes 16M
    stress --malloc 2 --malloc-ops 40000 --malloc-max 500 --malloc-bytes 64K --malloc-pthreads 4 --malloc-touch
    stress --malloc 1 --malloc-ops 40000 --malloc-max 1000 --malloc-bytes 40K --malloc-thresh 64K
    stress --tree 1 --tree-ops 2 --tree-size 20000
    stress --hsearch 1 --hsearch-ops 200 --tsearch 1 --tsearch-ops 5
    stress --qsort 1 --qsort-ops 5 --fork 2 --fork-ops 2000 --pthread 2 --pthread-ops 2000
    stress --list 1 --list-ops 50 --skiplist 1 --skiplist-ops 50 --judy 1 --judy-ops 2
    stress --bigheap 1 --bigheap-ops 4000 --bigheap-growth 64K
}
