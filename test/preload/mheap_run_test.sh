#!/bin/sh
# SPDX-License-Identifier: MIT
# mheap_run_test.sh LIBRARY - tests scripts/mheap-run: where it looks for the library, what it keeps
# in the environment, and what it says when something is missing.
set -eu
library=$(realpath "$1")
wrapper=$(realpath "$(dirname "$0")/../../scripts/mheap-run")
place=$(mktemp -d "${TMPDIR:-/tmp}/mheap-run-test.XXXXXX")
trap 'rm -rf "$place"' EXIT
unset MHEAP_LIB LD_PRELOAD
n_failed=0

# check WHAT EXPECTED-STATUS EXPECTED-TEXT COMMAND... : the text must be a part of the output.
check() {
    what=$1 expected=$2 text=$3
    shift 3
    status=0
    output=$("$@" 2>&1) || status=$?
    case $output in
    *"$text"*) [ "$status" -ne "$expected" ] || return 0 ;;
    esac
    echo "FAILED: $what: status $status, wanted $expected; no '$text' in: $output"
    n_failed=$((n_failed + 1))
}

install_at() { # DIRECTORY LIBRARY-PATH-BELOW-IT
    mkdir -p "$place/$1/bin" "$(dirname "$place/$1/$2")"
    cp "$wrapper" "$place/$1/bin/mheap-run"
    cp "$library" "$place/$1/$2"
}

install_at tree build/libmheap.so
install_at usr lib/libmheap.so.0
install_at multi lib/x86_64-linux-gnu/libmheap.so.0
install_at 'a space' lib/libmheap.so.0
mkdir -p "$place/none/bin" "$place/links"
cp "$wrapper" "$place/none/bin/mheap-run"
ln -s ../usr/bin/mheap-run "$place/links/run"

maps='grep -o /.*libmheap.* /proc/self/maps'
# shellcheck disable=SC2086 # a command and its arguments
for where in tree/build/libmheap.so usr/lib/libmheap.so.0 multi/lib/x86_64-linux-gnu/libmheap.so.0; do
    check "$where" 0 "$place/$where" "$place/${where%%/*}/bin/mheap-run" $maps
done
# shellcheck disable=SC2086
check "through a link" 0 "$place/usr/lib/libmheap.so.0" "$place/links/run" $maps
# shellcheck disable=SC2086
check "MHEAP_LIB" 0 "$library" env MHEAP_LIB="$library" "$place/usr/bin/mheap-run" $maps
# shellcheck disable=SC2016 # for the inner shell
check "LD_PRELOAD is kept" 0 "usr/lib/libmheap.so.0:$library" env LD_PRELOAD="$library" \
    "$place/usr/bin/mheap-run" sh -c 'echo "$LD_PRELOAD"'
check "arguments are kept" 0 '<a b><><-x>' "$place/usr/bin/mheap-run" printf '<%s>' 'a b' '' -x
check "status is kept" 7 '' "$place/usr/bin/mheap-run" sh -c 'exit 7'
check "statistics" 0 libmheap env MHEAP_CONF=stats:true "$place/usr/bin/mheap-run" ls /
check "no program" 2 'Usage: mheap-run PROGRAM' "$wrapper"
check "help" 0 'Usage: mheap-run PROGRAM' "$wrapper" --help
check "unknown option" 2 "unknown option '-x'" "$wrapper" -x
check "absent program" 127 "'no-such-program': no such program" "$place/usr/bin/mheap-run" no-such-program
check "absent MHEAP_LIB" 127 'there is no such file' env MHEAP_LIB=/none "$wrapper" true
check "no library" 127 'no libmheap.so.0 in' "$place/none/bin/mheap-run" true
check "a path that cannot be preloaded" 127 'space or a colon' "$place/a space/bin/mheap-run" true

[ "$n_failed" -eq 0 ] || exit 1
echo "mheap-run: all as it should be"
