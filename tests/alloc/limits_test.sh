#!/bin/bash
# A process with little address space gets a smaller region, in the end none; it runs on
# and the index is never wrong.
set -euo pipefail
child=$1

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# run LIMIT_IN_KIB MEGABYTES: sets indexed, unindexed, region.
run() {
  local output
  output=$(ulimit -v "$1" && "$child" "$2") || fail "ulimit -v $1: status $?"
  echo "ulimit -v $1: $output"
  read -r _ indexed _ unindexed _ region <<<"$output"
}

run unlimited 50
[ "$region" = $((4 << 40)) ] || fail "the region is not 4 TiB"
[ "$unindexed" = 0 ] || fail "heap outside the region"

run $((64 << 20)) 50 # 64 GiB
[ "$region" -gt $((16 << 30)) ] || fail "no large region under a large limit"
[ "$unindexed" = 0 ] || fail "heap outside the region"

run $((1 << 20)) 100 # 1 GiB
[ "$region" -ge $((64 << 20)) ] || fail "no region under 1 GiB"
# With the index, an eighth of it and a little.
[ $((region + region / 8 + region / 512)) -le $((512 << 20)) ] ||
  fail "a region that leaves less than half to others"
[ "$unindexed" = 0 ] || fail "heap outside the region"

# More heap than the region holds: the rest is unknown.
run $((1 << 20)) 600
[ "$indexed" -gt 0 ] && [ "$unindexed" -gt 0 ] || fail "the region did not fill up"

# Too little for any region.
run $((100 << 10)) 20
[ "$region" = 0 ] && [ "$indexed" = 0 ] || fail "a region in no space"
[ "$unindexed" -gt 0 ] || fail "no memory at all"

# The program's own arithmetic with limits: it still dies of its own bugs only.
(ulimit -v $((300 << 10)) && "$child" 1000) >/dev/null || fail "no memory is no crash"
(ulimit -d $((50 << 10)) && "$child" 1000) >/dev/null || fail "RLIMIT_DATA"
echo PASSED
