#!/bin/bash
# Makes the jemalloc that alloc/ wraps out of the distribution's archive.
#
#   rename_jemalloc.sh ARCHIVE JEMALLOC_H REDEFINE_SYMS OUTPUT
#
# Public functions get the prefix je_, so that ours can have their names. Two members
# go: jemalloc_cpp (its operators new and delete would bypass the index) and extent_mmap,
# which alloc/region.cc replaces. That leans on private symbols of one version: anything
# else must fail here, in one sentence, and not in a crashed process.
set -euo pipefail
archive=$1 header=$2 syms=$3 output=$4

fail() {
  echo "minicore: $*" >&2
  exit 1
}

version=$(sed -n 's/^#define JEMALLOC_VERSION "\([0-9.]*\)-.*/\1/p' "$header")
[ "$version" = 5.3.0 ] ||
  fail "jemalloc's header says version '$version', but alloc/region.cc replaces" \
    "a member of 5.3.0: install libjemalloc-dev 5.3.0."

# nm says "no symbols" on standard error for empty members; what counts is the list.
defined=$(nm --defined-only "$archive" 2>/dev/null |
  awk '/^extent_mmap\.pic\.o:$/ { inside = 1; next } /:$/ { inside = 0 }
       inside && $2 ~ /[A-Z]/ { print $3 }' | sort | tr '\n' ' ')
[ "$defined" = "je_extent_alloc_mmap je_extent_dalloc_mmap je_opt_retain " ] ||
  fail "extent_mmap.pic.o of libjemalloc_pic.a defines '$defined' and not the" \
    "three symbols that alloc/region.cc replaces."

rm -f "$output"
cp "$archive" "$output"
chmod u+w "$output"
ar dD "$output" jemalloc_cpp.pic.o extent_mmap.pic.o
objcopy -D --redefine-syms="$syms" "$output"

# Whatever is still public under its own name would be a second, unseen malloc. The two
# variables keep theirs: a program sets them, and jemalloc must read what it set.
public=$(nm -g --defined-only "$output" 2>/dev/null |
  awk 'NF == 3 && $3 !~ /^je_/ { print $3 }' | sort | tr '\n' ' ')
[ "$public" = "malloc_conf malloc_message " ] ||
  fail "after renaming, jemalloc still defines '$public': alloc/redefine.syms is not" \
    "complete."
