"""Fault to reaped, and the size of what is left behind."""

import glob
import os
import re
import shutil
import signal
import subprocess
import time

from stopwatch import Failed, alternating

MIB = 1024 * 1024
# Of RLIMIT_CORE: a helper that is the core_pattern is called with any limit but this one
# (fs/coredump.c, do_coredump()).
NO_CORE = "1"
# Our malloc, with a handler for another signal only.
NO_DUMP_OURS = "no dump, minicore's malloc"
# Heap bytes and threads of the victim.
FULL = [(20 * MIB, 8), (2048 * MIB, 8), (20 * MIB, 100), (2048 * MIB, 100),
        (20 * MIB, 1000), (20 * MIB, 4000)]
QUICK = [(20 * MIB, 8), (2048 * MIB, 8), (20 * MIB, 100)]
SMOKE = [(1 * MIB, 3)]
# Of live dumps; the last number says how often the victim is started, for 11 dumps each.
LIVE_FULL = [(20 * MIB, 8, 5), (2048 * MIB, 8, 5), (20 * MIB, 100, 3)]
LIVE_QUICK = [(20 * MIB, 8, 2), (2048 * MIB, 8, 2)]
LIVE_SMOKE = [(1 * MIB, 3, 1)]

# Slow dumpers run in fewer rounds, and gcore is asked only up to this many threads: each
# thread's stack counts whole.
SLOW_ROUNDS = 2
GCORE_THREADS = 100
MINICOREDUMPERS_FOLDER = "/var/crash/minicoredumper"


class Folder:
    """A fresh folder for one dump; measures what is in it, and removes it at once."""

    def __init__(self, parent, name):
        self.path = os.path.join(parent, name)
        os.mkdir(self.path)

    def sizes(self):
        apparent = disk = 0
        for name in os.listdir(self.path):
            status = os.stat(os.path.join(self.path, name))
            apparent += status.st_size
            disk += status.st_blocks * 512
        return {"files": len(os.listdir(self.path)), "apparent": apparent,
                "disk": disk}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.path)


def core_pattern():
    with open("/proc/sys/kernel/core_pattern") as file:
        return file.read().strip()


def kernel_writes_here():
    """Whether the kernel's core goes to a file in the working directory."""
    pattern = core_pattern()
    return not pattern.startswith("|") and "/" not in pattern


def _crash(watch, victim, heap, threads, folder, preload, core, options=None):
    env = {"MINICORE_OPTIONS": options} if options else {}
    results, _ = watch.run([victim, str(heap), str(threads), "worker"],
                           preload=preload, core=core, env=env, cwd=folder.path,
                           watch=folder.path)
    result = results[0]
    if os.WTERMSIG(result["status"]) != signal.SIGSEGV or not result["dead_ns"]:
        raise Failed("the victim did not crash: %s" % result)
    return dict(folder.sizes(), dead_ms=result["dead_ns"] / 1e6,
                file_ms=result["file_ns"] / 1e6)


def _gcore(victim, heap, threads, folder, preload):
    environment = dict(os.environ, LD_PRELOAD=preload)
    environment.pop("MINICORE_BENCH_CLOCK_FD", None)
    process = subprocess.Popen([victim, str(heap), str(threads), "park"],
                               stdout=subprocess.PIPE, env=environment)
    try:
        if process.stdout.readline() != b"ready\n":
            raise Failed("the victim did not park")
        start = time.monotonic()
        subprocess.run(["gcore", "-o", os.path.join(folder.path, "core"),
                        str(process.pid)], check=True, timeout=300,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        milliseconds = (time.monotonic() - start) * 1000
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return dict(folder.sizes(), dead_ms=milliseconds, file_ms=milliseconds)


def _minicoredumper(watch, victim, heap, threads, folder, preload):
    """It writes behind our back, into a folder of its own: what is new there is ours."""
    there = set(glob.glob(MINICOREDUMPERS_FOLDER + "/*"))
    sample = _crash(watch, victim, heap, threads, folder, preload, "unlimited")
    sizes, before = {}, None
    end = time.monotonic() + 30
    while (sizes != before or not sizes) and time.monotonic() < end:  # it still grows
        time.sleep(0.3)
        new = set(glob.glob(MINICOREDUMPERS_FOLDER + "/*")) - there
        before = sizes
        sizes = {path: (os.stat(path).st_size, os.stat(path).st_blocks * 512)
                 for made in new for path in glob.glob(made + "/*")}
    for made in new:
        shutil.rmtree(made)
    return dict(sample, files=len(sizes), apparent=sum(s[0] for s in sizes.values()),
                disk=sum(s[1] for s in sizes.values()))


def dumpers(watch, victim, stock, ours):
    """Name to a function of (heap, threads, folder). Who does not dump runs on jemalloc,
    and on ours as well: what a dump costs is the difference to the end of the very same
    process, and what our malloc's memory adds to that end is told apart."""
    found = {
        "no dump": lambda heap, threads, folder: _crash(
            watch, victim, heap, threads, folder, stock, NO_CORE),
    }
    if ours:
        found[NO_DUMP_OURS] = lambda heap, threads, folder: _crash(
            watch, victim, heap, threads, folder, ours, NO_CORE, "signals=QUIT")
        found["minicore"] = lambda heap, threads, folder: _crash(
            watch, victim, heap, threads, folder, ours, NO_CORE, "path=core.%p")
    if kernel_writes_here():
        found["kernel"] = lambda heap, threads, folder: _crash(
            watch, victim, heap, threads, folder, stock, "unlimited")
    if re.match(r"\|\S*/minicoredumper\b", core_pattern()):
        found["minicoredumper"] = lambda heap, threads, folder: _minicoredumper(
            watch, victim, heap, threads, folder, stock)
    if shutil.which("gcore"):
        found["gcore"] = lambda heap, threads, folder: _gcore(
            victim, heap, threads, folder, stock)
    return found


def run(watch, victim, stock, ours, directory, cases, rounds, say):
    """Returns [{heap, threads, samples: {dumper: [sample of each round]}}]."""
    found = dumpers(watch, victim, stock, ours)
    cases = [{"heap": heap, "threads": threads, "samples": {}}
             for heap, threads in cases]
    for number in range(rounds):
        say("dump: round %d of %d" % (number + 1, rounds))
        for case in cases:
            for name in alternating(found, number):
                if name in ("kernel", "gcore") and number >= SLOW_ROUNDS:
                    continue
                if name == "gcore" and case["threads"] > GCORE_THREADS:
                    continue
                with Folder(directory, "%s-%d" % (name.replace(" ", "-"),
                                                  number)) as folder:
                    sample = found[name](case["heap"], case["threads"], folder)
                case["samples"].setdefault(name, []).append(sample)
    return cases


def live(victim, ours, directory, cases, say):
    """Returns [{heap, threads, pauses}]: in milliseconds, how long a thread that looks at
    the clock all the time did not run during a live dump."""
    found = []
    for heap, threads, starts in cases:
        say("live: %d threads" % threads)
        pauses = []
        for number in range(starts):
            with Folder(directory, "live-%d" % number) as folder:
                output = subprocess.run(
                    [victim, str(heap), str(threads), "live"], check=True, cwd=folder.path,
                    env=dict(os.environ, LD_PRELOAD=ours), stdout=subprocess.PIPE,
                    text=True).stdout
            pauses += [int(line) / 1e6 for line in output.split()]
        found.append({"heap": heap, "threads": threads, "pauses": pauses})
    return found
