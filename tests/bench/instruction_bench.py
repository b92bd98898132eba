"""Instructions that one operation of a malloc workload takes, and those of whole programs,
counted by callgrind: the figures that no other load on the machine can disturb."""

import os
import re
import shutil
import subprocess

import program_bench
from stopwatch import OURS, STOCK, Failed

WORKLOADS = ("pairs-16", "pairs-64", "pairs-256", "pairs-4096", "pairs-20000",
             "pairs-calloc", "batch-64", "batch-16-1024", "realloc", "replace-20k")


# Of one process each. What they do is the same each time.
PROGRAMS = ("sqlite3", "redis", "python3", "python3, its malloc only", "lua5.4", "perl")
PROGRAM_SCALE = 0.05
SEEDS = {"PYTHONHASHSEED": "0", "PERL_HASH_SEED": "0"}

# Callgrind leaves malloc alone, unlike valgrind's memory checkers.
VALGRIND = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]


def available():
    return shutil.which("valgrind") is not None


def _count(returncode, errors):
    found = re.search(r"Collected : (\d+)", errors)
    if returncode != 0 or not found:
        raise Failed("valgrind: " + errors[-400:])
    return int(found.group(1))


def _collected(binary, workload, scale, preload):
    result = subprocess.run(
        VALGRIND + [binary, workload, repr(scale)],
        env=dict(os.environ, LD_PRELOAD=preload), text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return (_count(result.returncode, result.stderr),
            int(re.search(r'"ops": (\d+)', result.stdout).group(1)))


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


def _of_program(program, preload, directory):
    environment = dict(os.environ, LD_PRELOAD=preload, **SEEDS)
    if isinstance(program, program_bench.Redis):
        port, command = program.command(directory)
        server = subprocess.Popen(
            VALGRIND + command, env=environment, cwd=directory, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            program.drive(port, server)
        finally:
            _, errors = server.communicate(timeout=100)
        return _count(server.returncode, errors)
    with open(program.stdin or os.devnull) as stdin:
        result = subprocess.run(
            VALGRIND + program.argv, env=dict(environment, **(program.env or {})),
            cwd=directory, text=True, timeout=600, stdin=stdin,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return _count(result.returncode, result.stderr)


def run_programs(scripts, directory, allocators, say):
    """Returns {program: {allocator: instructions}} for the reference and ours, from its
    start to its end."""
    say("instructions of programs")
    return {program.name: {name: _of_program(program, allocators[name], directory)
                           for name in (STOCK, OURS) if name in allocators}
            for program in program_bench.programs(scripts, directory, PROGRAM_SCALE)
            if program.name in PROGRAMS and not program.missing()}
