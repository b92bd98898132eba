"""Programs of Debian's, unmodified, crashed by a signal in the middle of their work.

They have no debug information: what is compared are backtraces, registers, the top of
each stack, and the memory at every word that a stack or a register holds.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from tests.fidelity import compare
from tests.fidelity import crash
from tests.fidelity import elf_core
from tests.fidelity import gdb

# The program runs for this long before it is crashed: less on a fast machine would only
# mean less work done.
_WORK_S = 1.5

# In Debian's package redis-tools, which has no service that would be started.
_REDIS = "/usr/bin/redis-check-rdb"

_PYTHON = """
import threading, json, re, collections, sys
table = {}
class Record:
    def __init__(self, i): self.i = i; self.text = "record %d" % i; self.parts = [i, str(i), {i: i}]
def work(n):
    count = 0
    while True:
        for i in range(2000):
            table[(n, i)] = Record(i)
        json.loads(json.dumps([list(range(50)), {"a": "b" * 40}]))
        re.sub("[0-9]+", lambda m: m.group(0)[::-1], " ".join(map(str, range(200))))
        count += 1
threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
for thread in threads: thread.start()
work(99)
"""

_SQL = """
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
INSERT INTO t SELECT i, printf('row number %d', i), i / 7.0 FROM n;
CREATE INDEX ix ON t(b);
SELECT count(*) FROM t x JOIN t y ON x.b > y.b WHERE x.c + y.c > 3 GROUP BY substr(x.b, 1, 14);
"""

_PERL = """
my %h; my $n = 0;
while (1) {
  for my $i (1 .. 20000) { push @{$h{"key " . ($i % 997)}}, {i => $i, t => "text $i"}; }
  my @k = sort { @{$h{$a}} <=> @{$h{$b}} || $a cmp $b } keys %h;
  (my $s = join(",", @k)) =~ s/(\\d+)/<$1>/g;
  %h = () if ++$n % 5 == 0;
}
"""

_LUA = """
local t = {}
local function deep(n) if n == 0 then
  while true do
    for i = 1, 20000 do t[i] = {i, tostring(i), {x = i}} end
    table.sort(t, function(a, b) return a[2] < b[2] end)
  end
end local r = deep(n - 1) return r end
deep(30)
"""

_POSTSCRIPT = "/f { dup 0 gt { 1 sub f } if } def { /d 100 dict def 0 1 99 { d exch dup 20 string cvs put } for 500 f pop } loop"


@contextlib.contextmanager
def _python(directory, preload):
    yield crash.start(["/usr/bin/python3", "-c", _PYTHON], directory, preload)


@contextlib.contextmanager
def _sqlite3(directory, preload):
    script = directory.parent / "script.sql"
    script.write_text(_SQL)
    with open(script) as stdin:
        yield crash.start(["/usr/bin/sqlite3", "-batch", ":memory:"], directory, preload, stdin=stdin)


@contextlib.contextmanager
def _perl(directory, preload):
    yield crash.start(["/usr/bin/perl", "-e", _PERL], directory, preload)


@contextlib.contextmanager
def _lua(directory, preload):
    yield crash.start(["/usr/bin/lua5.4", "-e", _LUA], directory, preload)


@contextlib.contextmanager
def _ghostscript(directory, preload):
    yield crash.start(
        ["/usr/bin/gs", "-q", "-dNOPAUSE", "-dBATCH", "-dNODISPLAY", "-c", _POSTSCRIPT], directory, preload
    )


@contextlib.contextmanager
def _redis(directory, preload):
    """With redis-benchmark at work while the signal comes. Of the programs in this one file
    the name that it is called by says which it is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    server = crash.start(
        ["redis-server", "--port", port, "--save", "", "--io-threads", "2",
         "--crash-log-enabled", "no", "--crash-memcheck-enabled", "no"],
        directory, preload, executable=_REDIS,
    )  # fmt: skip
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
            break
        time.sleep(0.05)
    load = subprocess.Popen(
        ["/usr/bin/redis-benchmark", "-p", port, "-q", "-n", "100000000", "-r", "100000", "-d", "200",
         "-t", "set,lpush,hset,zadd"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield server
    finally:
        load.kill()
        load.wait()


PROGRAMS = {
    "python3": ("/usr/bin/python3", _python),
    "sqlite3": ("/usr/bin/sqlite3", _sqlite3),
    "redis-server": (_REDIS, _redis),
    "perl": ("/usr/bin/perl", _perl),
    "lua5.4": ("/usr/bin/lua5.4", _lua),
    "gs": ("/usr/bin/gs", _ghostscript),
}


def available():
    return [name for name, (path, _) in PROGRAMS.items() if shutil.which(path)]


def crash_program(name, directory, preload):
    path, start = PROGRAMS[name]
    directory.mkdir(parents=True)
    inside = directory / "directory"
    inside.mkdir()
    program = pathlib.Path(os.path.realpath(path))
    with start(inside, preload) as process:
        time.sleep(_WORK_S)
        if process.poll() is not None:
            said = (inside / "stderr").read_text(errors="replace")
            raise crash.NoCores(f"{name} ended by itself with {process.returncode}: {said}")
        process.send_signal(signal.SIGSEGV)
        return crash.collect(process, program, inside)


def compare_words(both, scratch):
    """Returns: {figure: Tally}."""
    full, _, _ = gdb.run("words_probe.py", both.program, both.full, {"words": []}, scratch)
    small, _, _ = gdb.run(
        "words_probe.py", both.program, both.small, {"words": [int(word) for word in full["words"]]},
        scratch,
    )  # fmt: skip
    result = {name: compare.Tally() for name in ("frames", "registers", "stack", "words", "lists")}
    holes = elf_core.holes(both.full)
    result["lists"].count("current thread", str(full["current"]), str(small["current"]))
    result["lists"].add(compare.lines(full["libraries"], small["libraries"], "info sharedlibrary"))
    for tid, thread in full["threads"].items():
        other = small["threads"].get(tid, {"registers": {}, "stack": [None] * 64, "frames": []})
        where = f"thread {tid}"
        result["registers"].add(compare.values(thread["registers"], other["registers"], where))
        result["frames"].add(
            compare.lines("\n".join(thread["frames"]), "\n".join(other["frames"]), where)
        )
        for i in range(64):
            _word(result["stack"], thread["sp"] + 8 * i, thread["stack"][i], other["stack"][i])
    for word, lines in full["words"].items():
        for i in range(8):
            address = int(word) + 8 * i
            if not any(low <= address < end for low, end in holes):
                _word(result["words"], address, lines[i], small["words"][word][i])
    return result


def _word(tally, address, full, small):
    """A word of memory as hexadecimal; None: gdb could not read it."""
    if full is None:
        return
    if small is not None and small != full:
        mine, theirs = bytes.fromhex(small), bytes.fromhex(full)
        marker = compare.MARKER
        if all(
            mine[i] in (theirs[i], marker[(address + i) % len(marker)]) for i in range(len(mine))
        ):
            tally.elided += 1
            return
    tally.count(f"{address:#x}", full, small or "")
