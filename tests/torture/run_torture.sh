#!/bin/bash
# Runs the bench by hand: all of it, or the modules that are named.
#
#   bazel run -c opt //tests/torture -- [--long] [--seed N] [MODULE...]
#
# --long     every case instead of some: 2,000 kills of a storm, every lock, every function
#            of the handler with every fault; an hour or so
# --seed N   first seed of the storms (1)
#
# MODULE is a name such as storm_test, or storm_test.Storm.test_killed_at_random_instants.
set -eu
modules=()
while [ $# -gt 0 ]; do
  case $1 in
    --long) export TORTURE_LONG=1 ;;
    --seed)
      export TORTURE_SEED=$2
      shift
      ;;
    -*)
      sed -n '2,11s/^# \{0,1\}//p' "$0"
      exit 2
      ;;
    *) modules+=("$1") ;;
  esac
  shift
done
if [ ${#modules[@]} -eq 0 ]; then
  modules=(allocator_test corruption_test exhaustion_test live_test places_test
    planted_test processes_test registers_test sandbox_test storm_test threads_test)
fi
TEST_TMPDIR=$(mktemp -d)
export TEST_TMPDIR
trap 'rm -rf "$TEST_TMPDIR"' EXIT
/usr/bin/python3 -B -m unittest "${modules[@]/#/tests.torture.}"
