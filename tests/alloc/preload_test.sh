#!/bin/bash
# Whole programs under the malloc alone, preloaded: same output and status as without.
set -euo pipefail
library=$(readlink -f "$1")
work=$(mktemp -d -p "${TEST_TMPDIR:-/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >threads.py <<'PY'
import ctypes, gc, json, re, threading
def work(n):
    for i in range(30):
        data = {str(k): [k] * (k % 50) for k in range(300)}
        assert json.loads(json.dumps(data)) == data
        ctypes.create_string_buffer(100000)
        bytearray(1 << 20)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
gc.collect()
print(len(re.findall("a+", "aab" * 10000)))
PY
cat >hello.cc <<'CC'
#include <map>
#include <regex>
#include <iostream>
int main() { std::map<int, std::string> m{{1, "one"}}; std::cout << m[1] << "\n"; }
CC
cat >table.sql <<'SQL'
create table t(a integer primary key, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
insert into t select i, hex(i * 7919) || hex(i) from n;
create index i on t(b);
select count(*), sum(length(b)), max(b) from t where b > '5';
SQL

same() {
  local name=$1 with without status_with=0 status_without=0
  shift
  command -v "$name" >/dev/null || { echo "skipped: no $name here"; return; }
  without=$("$@" 2>&1) || status_without=$?
  with=$(LD_PRELOAD=$library "$@" 2>&1) || status_with=$?
  if [ "$with" != "$without" ] || [ $status_with != $status_without ]; then
    echo "FAILED: $*: status $status_with, without $status_without"
    diff <(echo "$without") <(echo "$with") | head -20
    exit 1
  fi
  echo "same: $*"
}

same ls ls -l /usr/bin
same bash bash -c 'declare -A a; for i in {1..3000}; do a[$i]=$((i * i)); done; echo ${#a[@]} ${a[77]}; (exit 3)'
same python3 python3 threads.py
same sqlite3 sqlite3 :memory: ".read table.sql"
same perl perl -e 'my %h; $h{$_} = "x" x $_ for 1..3000; print scalar(keys %h), length($h{2999}), "\n"'
same g++ bash -c 'g++ -O1 -o hello hello.cc && ./hello'
same git bash -c 'git -c init.defaultBranch=main init -q r && cd r && cp ../hello.cc . && git add . && git -c user.name=n -c user.email=e@x commit -qm m && git fsck && git log --format=%s && cd .. && rm -rf r'
same lua5.4 lua5.4 -e 'local t = {} for i = 1, 200000 do t[i % 1000] = {i, tostring(i)} end print(#t)'
same gdb gdb -nx -batch -ex 'print 6 * 7' /bin/true
same redis-server bash -c 'redis-server --save "" --port 0 --unixsocket s --daemonize no >/dev/null & p=$!
  until redis-cli -s s ping >/dev/null 2>&1; do kill -0 $p || exit 9; done
  for i in $(seq 200); do echo "SET k$i $(printf %0200d $i)"; done | redis-cli -s s >/dev/null
  [ "$(redis-cli -s s info memory | tr -d "\r" | sed -n "s/^allocator_allocated://p")" -gt 100000 ] && echo allocator seen
  redis-cli -s s dbsize; redis-cli -s s shutdown nosave; wait $p; echo $?'
echo PASSED
