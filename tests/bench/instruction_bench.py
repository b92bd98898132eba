"""Instructions that one operation of a malloc workload takes, counted by callgrind: the
figure that no other load on the machine can disturb."""

import os
import re
import shutil
import subprocess

from stopwatch import OURS, STOCK, Failed

WORKLOADS = ("pairs-16", "pairs-64", "pairs-256", "pairs-4096", "pairs-20000",
             "pairs-calloc", "batch-64", "batch-16-1024", "realloc", "replace-20k")


def available():
    return shutil.which("valgrind") is not None


def _collected(binary, workload, scale, preload):
    # Callgrind leaves malloc alone, unlike valgrind's memory checkers.
    result = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
         binary, workload, repr(scale)],
        env=dict(os.environ, LD_PRELOAD=preload), text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode != 0 or not found:
        raise Failed("valgrind: " + result.stderr[-400:])
    return int(found.group(1)), int(re.search(r'"ops": (\d+)', result.stdout).group(1))


def per_operation(binary, workload, preload):
    """Of the second half of a run: the first half pays for start-up and full caches."""
    short, short_ops = _collected(binary, workload, 0.01, preload)
    long, long_ops = _collected(binary, workload, 0.02, preload)
    return (long - short) / (long_ops - short_ops)


def run(binary, allocators, say):
    """Returns {workload: {allocator: instructions}} for the reference and ours."""
    say("instructions")
    return {workload: {name: per_operation(binary, workload, allocators[name])
                       for name in (STOCK, OURS) if name in allocators}
            for workload in WORKLOADS}
