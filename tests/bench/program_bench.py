"""Real programs, unmodified, under each allocator: processor time and peak memory."""

import os
import shutil
import socket
import subprocess
import time

from stopwatch import SYSTEM, Failed, alternating, check_exit

# Known to be dear; shown with the others, but apart from the mean.
ADVERSE = ("bash", "node")


class Program:
    """`argv` run in `directory`, by default with nothing on standard input."""

    def __init__(self, name, argv, stdin=None, env=None):
        self.name = name
        self.argv = argv
        self.stdin = stdin
        self.env = env

    def missing(self):
        return shutil.which(self.argv[0]) is None

    def sample(self, watch, preload, directory):
        results, _ = watch.run(self.argv, preload=preload, stdin=self.stdin,
                               env=self.env, cwd=directory, stdout="/dev/null")
        return results[0]


class Redis:
    """redis-server's own cost while redis-benchmark drives it over loopback."""

    name = "redis"

    def __init__(self, requests):
        self._requests = requests

    def missing(self):
        return any(shutil.which(tool) is None
                   for tool in ("redis-check-rdb", "redis-benchmark", "redis-cli"))

    @staticmethod
    def _server(directory):
        """The server under its own name: Debian's redis-tools has the same program under
        another, and redis-server would bring a service that starts by itself."""
        path = os.path.join(directory, "redis-server")
        if not os.path.lexists(path):
            os.symlink(shutil.which("redis-check-rdb"), path)
        return path

    def command(self, directory):
        """Returns (the port, the server's command)."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return port, [self._server(directory), "--port", str(port), "--bind", "127.0.0.1",
                      "--save", "", "--appendonly", "no", "--daemonize", "no"]

    def drive(self, port, server):
        """Asks the server on `port`, and then tells it to end; `server`: for poll()."""
        try:
            self._await_port(port, server)
            subprocess.run(
                ["redis-benchmark", "-p", str(port), "-n", str(self._requests), "-r",
                 str(self._requests), "-d", "100", "-P", "8", "-q", "-t",
                 "set,get,lpush,hset,sadd,zadd"],
                check=True, stdout=subprocess.DEVNULL, timeout=100)
        finally:
            subprocess.run(["redis-cli", "-p", str(port), "shutdown", "nosave"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sample(self, watch, preload, directory):
        port, command = self.command(directory)
        server = watch.start(command, preload=preload, cwd=directory, stdout="/dev/null",
                             timeout=120)
        try:
            self.drive(port, server)
        finally:
            results, _ = watch.finish(server)
        return results[0]

    @staticmethod
    def _await_port(port, server):
        end = time.monotonic() + 30
        while time.monotonic() < end and server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.01)
        raise Failed("redis-server does not listen")


def _write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def _sql(rows):
    inserts = "".join(
        "INSERT INTO log VALUES(%d, 'an entry with some text in it, %d');\n"
        % (n, n * 7919) for n in range(rows // 10))
    queries = "".join(
        "SELECT count(*), max(name) FROM item WHERE kind = %d AND price > %d;\n"
        % (n % 97, n) for n in range(200))
    return """
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, kind INT, price REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
INSERT INTO item SELECT i, 'item number ' || i, i %% 97, i * 0.37 FROM n;
CREATE INDEX by_kind ON item(kind, price);
CREATE INDEX by_name ON item(name);
CREATE TABLE log(id INT, text TEXT);
BEGIN;
%s
COMMIT;
%s
SELECT kind, group_concat(substr(name, -3)) FROM item GROUP BY kind;
SELECT a.name FROM item a JOIN item b ON a.id = b.id + 1 ORDER BY a.price DESC LIMIT 9;
""" % (rows, inserts, queries)


def _cplusplus(classes):
    text = ["#include <algorithm>", "#include <functional>", "#include <map>",
            "#include <memory>", "#include <sstream>", "#include <string>",
            "#include <unordered_map>", "#include <vector>"]
    for n in range(classes):
        text.append("""
struct Class%(n)d { int a[%(n)d + 1]; std::string name; };
std::map<int, Class%(n)d> Make%(n)d(const std::vector<int>& in) {
  std::map<int, Class%(n)d> out;
  for (int i : in) out[i %% %(k)d].name += std::to_string(i + %(n)d);
  std::vector<std::unique_ptr<Class%(n)d>> list;
  for (auto& [key, value] : out) list.push_back(std::make_unique<Class%(n)d>(value));
  std::sort(list.begin(), list.end(), [](auto& x, auto& y) { return x->name < y->name; });
  return out;
}""" % {"n": n, "k": n % 13 + 1})
    return "\n".join(text) + "\n"


def programs(scripts, directory, scale):
    """`scripts`: the folder with churn.*; inputs are written into `directory`."""
    def size(full):
        return max(1, int(full * scale))

    def script(name):
        return os.path.join(scripts, name)

    # Debian's own: another one that comes first may be a script that looks for one.
    python = ["/usr/bin/python3", script("churn.py"), str(size(40000))]
    return [
        Program("sqlite3", ["sqlite3", ":memory:"],
                stdin=_write(directory, "script.sql", _sql(size(300000)))),
        Redis(size(100000)),
        Program("python3", python),
        Program("python3, its malloc only", python,
                env={"PYTHONMALLOC": "malloc"}),
        Program("g++", ["g++", "-std=c++17", "-O1", "-c", "-o", "/dev/null",
                        _write(directory, "big.cc", _cplusplus(size(40)))]),
        Program("lua5.4", ["lua5.4", script("churn.lua"), str(size(40000))]),
        Program("perl", ["perl", script("churn.pl"), str(size(60000))]),
        Program("bash", ["bash", script("churn.sh"), str(size(40000))]),
        Program("node", ["node", script("churn.js"), str(size(1000000))]),
    ]


def run(watch, scripts, directory, allocators, rounds, scale, say):
    """Returns ({program: {allocator: [samples]}}, [names of what is not installed])."""
    samples, absent = {}, []
    present = []
    for program in programs(scripts, directory, scale):
        if program.missing():
            absent.append(program.name)
        else:
            present.append(program)
            samples[program.name] = {name: [] for name in allocators}
    # Debian's redis-server is linked with jemalloc: with nothing preloaded, it does not
    # run on glibc's malloc.
    if "redis" in samples:
        del samples["redis"][SYSTEM]
    for number in range(rounds):
        say("programs: round %d of %d" % (number + 1, rounds))
        for program in present:
            for name in alternating(samples[program.name], number):
                result = program.sample(watch, allocators[name], directory)
                check_exit(result, program.name + " with " + name)
                samples[program.name][name].append({
                    "time": result["user_us"] + result["sys_us"],
                    "wall": result["wall_ns"] / 1000,
                    "rss_kib": result["max_rss_kib"],
                })
    return samples, absent


def run_startup(watch, allocators, rounds, repeat, say):
    """`true`, start to reaped: {allocator: [median of each round, in milliseconds]}."""
    samples = {name: [] for name in allocators}
    say("start-up: %d rounds" % rounds)
    for number in range(rounds):
        for name in alternating(allocators, number):
            results, _ = watch.run(["true"], preload=allocators[name],
                                   repeat=repeat)
            for result in results:
                check_exit(result, "true with " + name)
            walls = sorted(result["wall_ns"] for result in results)
            samples[name].append({"wall_ms": walls[len(walls) // 2] / 1e6,
                                  "rss_kib": results[0]["max_rss_kib"]})
    return samples
