#!/bin/bash
# Runs one of this directory's tests with Debian's Python, from the tree of runfiles.
set -eu
exec /usr/bin/python3 -B -m unittest "tests.fidelity.$1"
