# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# common.sh - what the cases share.  The runner sources it before a case, in bash -eu -o pipefail.
#
# A case sees: INPUT (what its prepare made, the same for both runs), LIB (the preloaded library;
# empty in the run without it), an empty current directory whose files are compared afterwards, and
# TMPDIR for files that are not.

# die MESSAGE... - ends the run with a status of its own.
die() {
    printf 'case: %s\n' "$*" >&2
    exit 96
}

# expect_active PID - the process runs on the library under test (if this run is one with it).
expect_active() {
    [ -n "$LIB" ] || return 0
    grep -q -F -- "$LIB" "/proc/$1/maps" || die "process $1 has not loaded $LIB"
}

# wait_for PID COMMAND... - until COMMAND succeeds; gives up only when the process PID is gone.
wait_for() {
    local pid=$1
    shift
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || die "the server ended before '$*' succeeded"
        sleep 0.05
    done
}

# stop PID - asks a child to end, and reports how it did.
stop() {
    kill -TERM "$1"
    local status=0
    wait "$1" || status=$?
    echo "server ended with status $status"
}

# digest [FILE...] - names and contents of files, or of standard input, in a line each.
digest() {
    sha256sum "$@"
}
