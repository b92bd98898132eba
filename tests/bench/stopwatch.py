"""Runs programs under //tests/bench:measure, in alternating order."""

import json
import os
import subprocess

STOCK = "jemalloc"
CONTROL = "jemalloc again"
OURS = "minicore"
SYSTEM = "glibc"

_LIBRARIES = "/usr/lib/x86_64-linux-gnu/"


def allocators(ours):
    """Name to the library that is preloaded; None: none is. What is missing is left out.

    The reference runs twice: the ratio of the two says how much of every other ratio is
    noise.
    """
    found = {SYSTEM: None}
    for name, library in [
            (STOCK, _LIBRARIES + "libjemalloc.so.2"),
            (CONTROL, _LIBRARIES + "libjemalloc.so.2"),
            (OURS, ours),
            ("mimalloc", _LIBRARIES + "libmimalloc.so.2.0"),
            ("tcmalloc", _LIBRARIES + "libtcmalloc_minimal.so.4"),
    ]:
        if library and os.path.exists(library):
            found[name] = os.path.realpath(library)
    return found


class Failed(Exception):
    pass


class Stopwatch:
    def __init__(self, measure):
        self._measure = measure

    def command(self, argv, report_fd, preload=None, stdin=None, stdout=None,
                core="0", watch=None, repeat=1, timeout=600):
        command = [self._measure, "--report-fd=%d" % report_fd, "--core=" + core,
                   "--repeat=%d" % repeat, "--timeout=%d" % timeout]
        for key, value in [("preload", preload), ("stdin", stdin),
                           ("stdout", stdout), ("watch", watch)]:
            if value:
                command.append("--%s=%s" % (key, value))
        return command + ["--"] + list(argv)

    def start(self, argv, cwd=None, env=None, **options):
        """Starts `argv`; finish() takes the result."""
        read_end, write_end = os.pipe()
        environment = dict(os.environ, LC_ALL="C", **(env or {}))
        process = subprocess.Popen(
            self.command(argv, write_end, **options), cwd=cwd, env=environment,
            pass_fds=(write_end,), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        os.close(write_end)
        process.report_end = read_end
        return process

    def finish(self, process):
        """Returns (what measure reported, one dict per repetition; standard output)."""
        output, errors = process.communicate()
        with os.fdopen(process.report_end) as report:
            results = [json.loads(line) for line in report]
        if process.returncode != 0 or not results:
            raise Failed("measure failed: " + errors.strip()[-400:])
        for result in results:
            result["stderr"] = errors[-400:]
            if result["timed_out"]:
                raise Failed("timed out: %s" % process.args[-1])
        return results, output

    def run(self, argv, **options):
        return self.finish(self.start(argv, **options))


def check_exit(result, what):
    if result["status"] != 0:
        raise Failed("%s: wait status %d: %s" %
                     (what, result["status"], result["stderr"].strip()))


def alternating(names, round_number):
    """`names` in this round's order: rotated by one each round, every other reversed, so
    that nobody always runs after the same neighbour."""
    names = list(names)
    shift = round_number % len(names)
    names = names[shift:] + names[:shift]
    return names[::-1] if round_number % 2 else names
