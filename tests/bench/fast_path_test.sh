#!/bin/sh
# A shell script for the reason that bench.sh gives.
exec env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$@"
