#!/bin/bash
# The build takes nothing but the jemalloc that it knows, and says so.
set -euo pipefail
rename=$1 layout=$2 syms=$3 listing=$4 archive=$5 header=$6
work=$(mktemp -d -p "${TEST_TMPDIR:-/tmp}")
trap 'rm -rf "$work"' EXIT

refused() {
  local sentence=$1
  shift
  if "$rename" "$@" "$work/out.a" 2>"$work/error"; then
    echo "FAILED: not refused: $*"
    exit 1
  fi
  [ "$(wc -l <"$work/error")" = 1 ] && grep -q "$sentence" "$work/error" ||
    { echo "FAILED: not said in one sentence:"; cat "$work/error"; exit 1; }
}

"$rename" "$archive" "$header" "$syms" "$work/good.a"

sed 's/5\.3\.0-/5.3.1-/' "$header" >"$work/jemalloc.h"
refused "version '5.3.1'" "$archive" "$work/jemalloc.h" "$syms"

cp "$archive" "$work/other.a"
chmod u+w "$work/other.a"
objcopy --redefine-sym je_extent_dalloc_mmap=je_something_else "$work/other.a"
refused "extent_mmap.pic.o" "$work/other.a" "$header" "$syms"

grep -v '^mallocx ' "$syms" >"$work/syms"
refused "still defines" "$archive" "$header" "$work/syms"

# The machine code of this distribution is the known one, and any change is noticed.
"$layout" "$work/good.a" "$listing" 2>/dev/null | grep -q 'kFastPathIsKnown = true' ||
  { echo "FAILED: je_malloc is not the code in jemalloc_fast_path.lst"; exit 1; }
sed 's/0x338/0x330/' "$listing" >"$work/listing"
"$layout" "$work/good.a" "$work/listing" 2>/dev/null | grep -q 'kFastPathIsKnown = false' ||
  { echo "FAILED: a different je_malloc was taken for the known one"; exit 1; }
echo PASSED
