#!/bin/sh
# SPDX-License-Identifier: MIT
# install_test.sh BUILD CMAKE CC [PKG_CONFIG] - installs the build under a prefix of its own, moves
# that elsewhere, and builds and runs programs with what lies there.
set -eu
build=$1 cmake=$2 cc=$3 pkg_config=${4-}
here=$(dirname "$(realpath "$0")")
place=$(mktemp -d "${TMPDIR:-/tmp}/mheap-install-test.XXXXXX")
trap 'rm -rf "$place"' EXIT
unset LD_PRELOAD LD_LIBRARY_PATH MHEAP_LIB

fail() {
    echo "FAILED: $*"
    exit 1
}

# runs_on_mheap COMMAND... : it succeeds, and its malloc is ours.
runs_on_mheap() {
    MHEAP_CONF=stats:true "$@" >"$place/out" 2>&1 || fail "$* ends with $?: $(cat "$place/out")"
    grep -q libmheap "$place/out" || fail "no statistics of libmheap from $*: $(cat "$place/out")"
}

DESTDIR= "$cmake" --install "$build" --prefix "$place/first" >/dev/null
mv "$place/first" "$place/usr"
lib=$(dirname "$(find "$place/usr" -name libmheap.so)")
for file in include/mheap.h bin/mheap-run; do
    [ -f "$place/usr/$file" ] || fail "no $file"
done
for file in libmheap.so.0 libmheap-hardened.so libmheap-hardened.so.0 libmheap.a; do
    [ -f "$lib/$file" ] || fail "no $file beside libmheap.so"
done

runs_on_mheap "$place/usr/bin/mheap-run" true

"$cmake" -S "$here/user" -B "$place/user" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_PREFIX_PATH="$place/usr" >"$place/log" && "$cmake" --build "$place/user" >>"$place/log" ||
    fail "find_package: $(cat "$place/log")"
runs_on_mheap "$place/user/user"
runs_on_mheap "$place/user/hardened"

[ -n "$pkg_config" ] || exit 0
flags=$(PKG_CONFIG_PATH=$lib/pkgconfig "$pkg_config" --cflags --libs mheap)
# shellcheck disable=SC2086 # several words
"$cc" "$here/user/user.c" -o "$place/by_pkg_config" $flags -Wl,-rpath,"$lib"
runs_on_mheap "$place/by_pkg_config"
version=$(PKG_CONFIG_PATH=$lib/pkgconfig "$pkg_config" --modversion mheap)
grep -q "VERSION $version " "$here/../../CMakeLists.txt" || fail "pkg-config says version $version"
