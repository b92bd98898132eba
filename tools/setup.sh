#!/bin/bash
# Installs what minicore is built and tested with, from Debian 12's own packages. Does
# nothing when everything is there.
set -euo pipefail

# Package, and why.
packages=(
  bazel-bootstrap       # the build (4.2.3); provides the command bazel
  bazel-rules-java      # Bazel would download these two rule sets
  bazel-rules-proto
  g++                   # the compiler
  binutils              # ar, nm, objcopy: jemalloc's symbols get a prefix
  libjemalloc-dev       # the malloc that ours is built on (5.3.0)
  libjemalloc2          # stock jemalloc, for comparison
  libelf-dev            # the tools and tests read cores with libelf,
  libdw-dev             # and backtraces with libdw
  libgtest-dev          # tests
  libbenchmark-dev      # benchmarks
  libcli11-dev          # command line of tools/minicore
  nlohmann-json3-dev    # its --json
  pkgconf               # a test finds the archive by it, as programs do
  git                   # version control; also a program under test
  python3               # test drivers, demo; also a program under test
  libpython3.11-testsuite  # of python3's own tests, some run under the preload
  python3-pyelftools    # another reader of cores
  gdb                   # the debuggers that must read our cores,
  libc6-dbg             # gdb lists threads by names that libc.so.6 itself lacks
  lldb-19
  libclang-cpp14        # what the lldbs below need
  libclang-cpp15
  libclang-cpp16
  elfutils              # eu-stack, eu-readelf
  python3-drgn          # another debugger
  clang                 # checks that gcc lacks: layering, libFuzzer
  libclang-rt-14-dev
  sqlite3               # programs under test
  redis-tools           # without the service
  lua5.4
  ghostscript
  valgrind              # callgrind counts the instructions of malloc and free
  libmimalloc2.0        # mallocs that the benchmark compares with
  libtcmalloc-minimal4
  hyperfine             # timing by hand
)

# Debian's lldb packages exclude each other. These are unpacked beside the one above, where
# tests/fidelity/lldb_view.py looks for them.
lldbs=(14 15 16)
lldb_directory=/opt/minicore-lldbs

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

system=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}") || true
if [ "$system" != "debian 12" ] || [ "$(uname -m)" != x86_64 ] ||
  ! command -v apt-get >/dev/null; then
  fail "This needs Debian 12 on x86-64 with apt; on anything else, install by hand what the list in tools/setup.sh names."
fi

missing=()
installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "${packages[@]}" 2>/dev/null |
  sed -n 's/^ii *//p') || true
for package in "${packages[@]}"; do
  grep -qx -- "$package" <<<"$installed" || missing+=("$package")
done
missing_lldbs=()
for version in "${lldbs[@]}"; do
  [ -x "$lldb_directory/$version/usr/bin/lldb-$version" ] || missing_lldbs+=("$version")
done
if [ ${#missing[@]} -eq 0 ] && [ ${#missing_lldbs[@]} -eq 0 ]; then
  say "all ${#packages[@]} packages and lldb ${lldbs[*]} are there"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null ||
    fail "These are missing, and there is no sudo to install them: ${missing[*]} ${missing_lldbs[*]/#/lldb-}."
  as_root=(sudo)
fi
apt() {
  # No questions: this runs without a terminal as well.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" </dev/null
}
# What is known of the archive may be old or nothing at all; the list is fetched only if
# something fails without.
twice() {
  "$@" >/dev/null 2>&1 && return
  say "fetching the list of packages"
  apt update >/dev/null || fail "apt-get update failed."
  "$@" >/dev/null
}
unpack_lldb() {
  local directory
  directory=$(mktemp -d)
  (cd "$directory" && apt-get -q download "lldb-$1" "liblldb-$1") || { rm -r "$directory"; return 1; }
  for package in "$directory"/*.deb; do
    "${as_root[@]}" dpkg-deb -x "$package" "$lldb_directory/$1"
  done
  rm -r "$directory"
}

if [ ${#missing[@]} -ne 0 ]; then
  say "installing ${missing[*]}"
  twice apt install --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install all of: ${missing[*]}."
fi
"${as_root[@]}" mkdir -p "$lldb_directory"
for version in "${missing_lldbs[@]}"; do
  say "unpacking lldb-$version"
  twice unpack_lldb "$version" || fail "apt-get could not download lldb-$version."
done
say "done"
