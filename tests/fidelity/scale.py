"""How long gdb needs to open cores with many threads and objects.

    bazel run -c opt //tests/fidelity:scale

Crashes each victim, opens minicore's core and the kernel's of the same crash in gdb, to the
first backtrace, three times each, and prints the shortest. Fails when minicore's takes two
seconds.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from tests.fidelity import crash
from tests.fidelity import elf_core

_BUILT = pathlib.Path.cwd() / "tests" / "fidelity"
_PRELOAD = pathlib.Path.cwd() / "libminicore.so"
_MOST_SECONDS = 2.0
_TURNS = 3

CASES = (("many_threads", 1000), ("many_objects", 10_000), ("many_objects", 100_000))


def _seconds_to_open(program, core):
    started = time.monotonic()
    subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", str(program), "-c", str(core),
         "-ex", "bt", "-ex", "info threads"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return time.monotonic() - started


def main():
    problem = crash.kernel_core_problem()
    if problem:
        print(f"SKIPPED: {problem}, so there is nothing to compare with")
        return 0
    failed = False
    print("| victim | count | full MB | small MB | segments | gdb opens the full one, s | and the small one, s |")
    print("|---|---|---|---|---|---|---|")
    for name, count in CASES:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="scale.", dir=os.environ.get("TEST_TMPDIR")))
        try:
            both = crash.run(_BUILT / name, directory / "crash", (count,), _PRELOAD)
            full, small = (
                min(_seconds_to_open(both.program, core) for _ in range(_TURNS))
                for core in (both.full, both.small)
            )
            print(
                f"| {name} | {count} | {both.full.stat().st_size / 1e6:.1f} "
                f"| {both.small.stat().st_size / 1e6:.1f} | {len(elf_core.segments(both.small)) - 2} "
                f"| {full:.2f} | {small:.2f} |",
                flush=True,
            )
            failed = failed or small >= _MOST_SECONDS
        finally:
            shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
