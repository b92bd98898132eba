#!/bin/bash
# Runs scale.py (see there) with Debian's Python, from the tree of runfiles.
set -eu
exec /usr/bin/python3 -B -m tests.fidelity.scale "$@"
