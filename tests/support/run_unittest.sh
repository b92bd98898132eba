#!/bin/bash
# Runs a Python module of tests: run_unittest.sh MODULE [DUMPER] [TEST...]
#
# DUMPER, "minicore" or "kernel", says whose cores are tested (tests/support/cores.py).
set -eu
module=$1
export MINICORE_E2E_DUMPER=${2:-minicore}
names=("${@:3}")
if [ ${#names[@]} -eq 0 ]; then
  names=("$module")
else
  names=("${names[@]/#/$module.}")
fi
# The kernel's cores of the children go below this directory, too.
export TEST_TMPDIR=${TEST_TMPDIR:-$(mktemp -d)}
exec /usr/bin/python3 -B -m unittest --verbose "${names[@]}"
