#!/bin/bash
# Crashes a service with a large heap, and Debian's python3, and shows what their cores
# are like.
#
#   demo [--cache-mib=1024] [--no-kernel-core] [--keep]
set -euo pipefail

cache_mib=1024
kernel_core=yes
keep=
for argument in "$@"; do
  case $argument in
    --cache-mib=*) cache_mib=${argument#*=} ;;
    --no-kernel-core) kernel_core=no ;;
    --keep) keep=yes ;;
    *) echo "demo: there is no option $argument" >&2; exit 2 ;;
  esac
done

root=${RUNFILES_DIR:-$(readlink -f "$0").runfiles}
[ -d "$root" ] || root=$0.runfiles
root=$(cd "$root/minicore" && pwd -P)
service=$root/tools/demo/service
minicore=$root/tools/minicore
script=$root/tools/demo/crash.py
python=$(readlink -f /usr/bin/python3)  # Debian's, whatever else is in PATH

work=$(mktemp -d "${TMPDIR:-/tmp}/minicore-demo.XXXXXX")
clean_up() {
  if [ "$keep" ]; then echo "The cores are in $work."; else rm -rf "$work"; fi
}
trap clean_up EXIT
cd "$work"

title() { printf '\n== %s\n\n' "$*"; }
indent() { sed 's/^/    /'; }
report() { /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["report"][sys.argv[1]])' "$1"; }
# On disk: a full core has holes where memory was never touched.
bytes_of() { du --block-size=1 "$1" | cut -f 1; }
human() { numfmt --to=si --suffix=B --format=%.2f "$1"; }
fail() { echo "demo: $*" >&2; exit 1; }

# Why the kernel will not write its core here; empty if it will.
why_no_kernel_core() {
  [ "$kernel_core" = yes ] || { echo "it was not asked for"; return; }
  case $(cat /proc/sys/kernel/core_pattern) in
    "|"* | */* | "") echo "core_pattern sends it elsewhere"; return ;;
  esac
  [ "$(ulimit -Hc)" = unlimited ] || { echo "the hard limit on core files forbids it"; return; }
  local free
  free=$(df --output=avail -B1M . | tail -1)
  [ "$free" -gt $((cache_mib * 2 + 1024)) ] || echo "there is not enough room in $work"
}

title "A service crashes: 7 threads, a cache of $cache_mib MiB, a secret key"

# 48 random characters, which only the service reads.
head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >key
no_kernel=$(why_no_kernel_core)
[ -n "$no_kernel" ] && soft=0 || soft=unlimited
status=0
# The braces take the shell's own line about the signal.
{ (ulimit -c "$soft"; exec "$service" small.core key "$cache_mib") >fault_time 2>errors; } 2>/dev/null ||
  status=$?
gone=$EPOCHREALTIME
[ "$status" -eq 139 ] || { cat errors >&2; fail "the service ended with $status instead of SIGSEGV's 139"; }
[ -s small.core ] || fail "it left no core"

small_ms=$("$minicore" info --json small.core | report written_us | awk '{printf "%.1f", $1/1000}')
total_ms=$(awk -v a="$(cat fault_time)" -v b="$gone" 'BEGIN{printf "%.0f", (b-a)*1000}')
full=$(find . -maxdepth 1 -name "core*" -type f -print -quit)
printf '    %-16s %14s   %s\n' "" "on disk" time
printf '    %-16s %14s   %s ms\n' minicore "$(human "$(bytes_of small.core)")" "$small_ms"
if [ -n "$full" ]; then
  printf '    %-16s %14s   %s ms, with the end of the process\n' "kernel's core" \
    "$(human "$(bytes_of "$full")")" \
    "$(awk -v t="$total_ms" -v s="$small_ms" 'BEGIN{printf "%.0f", t-s}')"
  awk -v s="$(bytes_of small.core)" -v f="$(bytes_of "$full")" \
    'BEGIN{printf "\n    The small one has %.3f %% of the bytes.\n", 100*s/f}'
else
  echo "    (no core of the kernel's: ${no_kernel:-it wrote none})"
fi

title "The small core is whole: minicore verify"
"$minicore" verify small.core | indent

title "gdb opens it: the crash, and an order on the heap, by a local pointer of that frame"
gdb -batch -nx -ex "directory $root" -ex 'set print pretty on' -ex 'set print frame-arguments scalars' \
  -ex 'echo (gdb) bt\n' -ex bt -ex 'frame function shop::PriceOf' \
  -ex 'echo (gdb) print *order\n' -ex 'print *order' \
  -ex 'echo (gdb) print pieces_by_article\n' -ex 'print pieces_by_article' \
  "$service" small.core >gdb_output 2>gdb_errors || { cat gdb_errors >&2; fail "gdb failed"; }
sed -n '/^Program terminated/,$p' gdb_output | cut -c 1-120 | indent
grep -q 'number = 1234' gdb_output || fail "gdb did not print the order"
grep -q 'kettle' gdb_output || fail "gdb did not print the order's lines"

title "The secret is not in it"
count() { { LC_ALL=C grep -aoF -f key "$1" || true; } | wc -l; }
found=$(count small.core)
printf '    %-16s the key occurs %s times\n' minicore "$found"
[ -z "$full" ] || printf '    %-16s the key occurs %s times\n' "kernel's core" "$(count "$full")"
[ "$found" -eq 0 ] || fail "the small core has the key"
"$minicore" info small.core | sed -n '/^Allocations by tag/,/^Report/p' | sed '$d' | sed '$d' | sed '1s/^/\n/' | indent
rm -f -- ${full:+"$full"}

title "An unmodified program: minicore run -- ${python##*/} crash.py, killed by a real SIGSEGV"
status=0
{ (ulimit -c 0; exec "$minicore" run -o path=python.core -- "$python" "$script") 2>errors; } 2>/dev/null ||
  status=$?
indent <errors
echo "    It ended with $status, as a shell counts death by SIGSEGV."
[ "$status" -eq 139 ] || fail "python ended with $status instead of 139"
"$minicore" verify python.core | indent
echo
gdb -batch -nx -ex 'bt 6' -ex 'info threads' "$python" python.core >gdb_output 2>/dev/null ||
  fail "gdb failed"
sed -n '/^Program terminated/,$p' gdb_output | cut -c 1-120 | indent
threads=$(grep -c 'Thread 0x.*LWP' gdb_output || true)
[ "$threads" -ge 5 ] || fail "gdb listed $threads threads"

title "All as promised."
