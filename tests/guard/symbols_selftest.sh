#!/bin/bash
# symbols_test.sh must fail over each planted violation, and for the planted reason:
#
#   symbols_selftest.sh SCRIPT ARCHIVE...
set -euo pipefail
script=$1
shift

declare -A expected=(
  [calls_malloc]=malloc
  [guarded_static]=__cxa_guard_acquire
  [thread_local]=g_thread_local
  [throws]=__cxa_throw
  [constructor]=.init_array
  [errno]=__errno_location
)
seen=0
for archive in "$@"; do
  name=$(basename "$archive")
  name=${name#libplanted_}
  name=${name%.a}
  name=${name%.pic}
  [ -n "${expected[$name]:-}" ] || { echo "what is $archive for?"; exit 1; }
  if output=$("$script" "$archive" 2>&1); then
    echo "$name passed: $output"
    exit 1
  elif [ $? -ne 1 ]; then
    echo "$name: not a verdict: $output"
    exit 1
  fi
  grep -qF -- "${expected[$name]}" <<< "$output" ||
    { echo "$name failed for another reason: $output"; exit 1; }
  seen=$((seen + 1))
done
[ "$seen" -eq "${#expected[@]}" ] || { echo "$seen of ${#expected[@]} violations"; exit 1; }

# An empty list must not look clean.
if "$script" > /dev/null; then echo "passed over nothing"; exit 1; fi
if "$script" no_such_file.a > /dev/null 2>&1; then echo "passed over no file"; exit 1; fi
echo "$seen planted violations, all seen"
