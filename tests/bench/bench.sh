#!/bin/sh
# Starts bench.py, or the script that BENCH_SCRIPT names, with the binaries that Bazel
# built: they lie together in this program's runfiles. A shell script, because Bazel's own
# launcher for Python wants a program named "python", which Debian 12 has not.
set -eu
here="${RUNFILES_DIR:-${TEST_SRCDIR:-$0.runfiles}}/minicore"
bench="$here/tests/bench"
tools="programs=$bench/programs"
for tool in measure malloc_workloads dump_victim index_bench; do
  if [ -e "$bench/$tool" ]; then tools="$tools:$tool=$bench/$tool"; fi
done
for library in libminicore.so alloc/libminicore_malloc.so; do
  if [ -e "$here/$library" ]; then
    tools="$tools:ours=$here/$library"
    break
  fi
done
export BENCH_TOOLS="$tools" PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "$bench/${BENCH_SCRIPT:-bench.py}" "$@"
