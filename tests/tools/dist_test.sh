#!/bin/bash
# The archive //:dist is all that a program needs that is built without Bazel.
set -euo pipefail
archive=$PWD/$1
cd "$TEST_TMPDIR"
ulimit -c 0
fail() { echo "$*"; exit 1; }

tar -xzf "$archive"
grep -q "Jason Evans" minicore/THIRD_PARTY.md || fail "jemalloc's notice is not in it"
for document in README.md docs/CLI.md docs/OPTIONS.md docs/DEPLOYMENT.md; do
  [ -s "minicore/$document" ] || fail "$document is not in it"
done
# It can be moved.
mkdir moved && mv minicore moved && ln -s moved/minicore minicore
export PKG_CONFIG_PATH=$PWD/moved/minicore/lib/pkgconfig
[ "minicore $(pkg-config --modversion minicore)" = "$(minicore/bin/minicore --version)" ] ||
  fail "pkg-config knows another version"
read -ra flags <<<"$(pkg-config --cflags --libs minicore)"

cat > plain.c <<'C'
#include <minicore/minicore.h>
int main(void) {
  minicore_config config = MINICORE_CONFIG_INIT;
  config.path = "core.plain";
  if (minicore_dump("core.live") != 0) return 1;  /* installed before main() */
  if (minicore_dump("core.%q") != -22) return 3;  /* EINVAL: nothing stands for that */
  if (minicore_install(&config) != 0) return 2;
  __builtin_trap();
}
C
gcc plain.c -o plain "${flags[@]}" -Wl,-rpath,"$PWD/minicore/lib"
# By its name, wherever it lay when the program was linked.
readelf -d minicore/lib/libminicore.so | grep -q 'SONAME.*\[libminicore.so\]' || fail "no soname"
status=0
./plain || status=$?
[ "$status" -eq 132 ] || fail "plain ended with $status, not SIGILL's 132"
minicore/bin/minicore verify core.plain
minicore/bin/minicore verify core.live

cat > faces.cc <<'CC'
#include <minicore/minicore.hpp>
int main() { minicore::secret<int> number(42); return *number - 42; }
CC
g++ -std=c++17 -Iminicore/include faces.cc -o faces -Lminicore/lib -lminicore \
  -Wl,-rpath,"$PWD/minicore/lib"
./faces
if g++ -std=c++14 -Iminicore/include -c faces.cc -o faces.o 2> errors; then
  fail "minicore.hpp passes for C++14"
fi
grep -q "error.*needs C++17" errors || { cat errors; fail "no clear word about C++17"; }

# The tool finds the library beside it.
status=0
minicore/bin/minicore run -o path=core.preloaded -- sh -c 'kill -SEGV $$' || status=$?
[ "$status" -eq 139 ] || fail "the shell ended with $status, not SIGSEGV's 139"
minicore/bin/minicore verify core.preloaded
