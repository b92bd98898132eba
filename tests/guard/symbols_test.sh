#!/bin/bash
# Fails if code that runs in the signal handler needs a symbol that is not on the list
# below, keeps thread-local storage, or has constructors:
#
#   symbols_test.sh ARCHIVE...
#
# It sees direct references; pipeline_test (tests/dump/handler) runs the code itself and
# sees what a callback does.
set -euo pipefail

# Compilers emit calls to these by themselves. Everything else the handler brings along.
allowed='^(memcpy|memmove|memset|memcmp|bcmp|_GLOBAL_OFFSET_TABLE_)$'

fail() {
  echo "not for a signal handler: $1"
  echo "$2"
  exit 1
}

[ $# -gt 0 ] || { echo "no archives given"; exit 2; }
# nm says "no symbols" of an object without any; a file that it can't read ends it.
defined=$(nm --defined-only "$@" | awk 'NF == 3 {print $3}' | sort -u)
[ -n "$defined" ] || { echo "no symbols seen: is the path right?"; exit 2; }

undefined=$(nm --undefined-only "$@" | awk 'NF == 2 {print $2}' | sort -u)
bad=$(comm -23 <(echo "$undefined") <(echo "$defined") | grep -vE "$allowed|^$" || true)
[ -z "$bad" ] || fail "these functions" "$(c++filt <<< "$bad")"

# Initial-exec thread-locals need no function, but the room of a library that was opened
# late, and the crashed thread's register.
bad=$(readelf --symbols --wide "$@" | awk '$4 == "TLS" {print $8}' | sort -u)
[ -z "$bad" ] || fail "thread-local variables" "$(c++filt <<< "$bad")"

# Zero, or a constant, must be a valid state: the signal may come before any constructor.
bad=$(readelf --section-headers --wide "$@" |
  grep -oE '\.(init_array|ctors|fini_array|dtors)[^ ]*' | sort -u || true)
[ -z "$bad" ] || fail "constructors" "$bad"

echo "$# archives, $(wc -l <<< "$defined") symbols: none but the allowed from outside"
