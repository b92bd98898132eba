#!/bin/sh
# Starts bench.py, or the script that BENCH_SCRIPT names, with the binaries that Bazel
# built: they lie together in this program's runfiles. A shell script, because Bazel's own
# launcher for Python wants a program named "python", which Debian 12 has not.
set -eu
here="${RUNFILES_DIR:-${TEST_SRCDIR:-$0.runfiles}}/minicore"
bench="$here/tests/bench"
tools="programs=$bench/programs"
for tool in measure malloc_workloads dump_victim index_bench; do
  tools="$tools:$tool=$bench/$tool"
done
tools="$tools:ours=$here/libminicore.so"
export BENCH_TOOLS="$tools" PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "$bench/${BENCH_SCRIPT:-bench.py}" "$@"
