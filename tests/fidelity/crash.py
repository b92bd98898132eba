"""Crashes a victim once and keeps both cores of that crash: minicore's and the kernel's.

minicore writes first and lets the process die of the same signal; the kernel's core of
it follows by itself, in the same directory.
"""

import dataclasses
import os
import pathlib
import resource
import signal
import subprocess


# What is measured is what a core holds, and not how fast a busy machine stops threads.
_PATIENCE = "freeze_ms=10s:deadline=60s"


@dataclasses.dataclass(frozen=True)
class Crash:
    """One crash. `full` is the kernel's core, `small` minicore's."""

    program: pathlib.Path
    pid: int
    full: pathlib.Path
    small: pathlib.Path


class NoCores(Exception):
    """The program did not crash as it should have, or left no cores."""


def kernel_core_problem():
    """Why the kernel's cores don't land as file `core` here, or None."""
    with open("/proc/sys/kernel/core_pattern") as pattern:
        text = pattern.read().strip()
        if text != "core":
            return f"the kernel's core_pattern is '{text}', and not 'core'"
    with open("/proc/sys/kernel/core_uses_pid") as uses_pid:
        if uses_pid.read().strip() != "0":
            return "the kernel's core_uses_pid is set"
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        return "RLIMIT_CORE is limited"
    return None


def prepare_child():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    # All writable private memory, ELF headers: the kernel's default filter and no more
    # (core(5)), whatever the parent had.
    with open("/proc/self/coredump_filter", "w") as file:
        file.write("0x33")


def environment(preload, options):
    result = {"PATH": os.environ["PATH"], "LANG": "C", "HOME": "/nonexistent"}
    if preload is not None:
        result["LD_PRELOAD"] = str(preload)
    result["MINICORE_OPTIONS"] = ":".join(filter(None, (_PATIENCE, options)))
    return result


def start(command, directory, preload=None, options="", **keywords):
    """Starts a program that will be crashed in `directory`, which must be empty."""
    with open(directory / "stderr", "wb") as stderr:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=directory,
            env=environment(preload, options),
            stdin=keywords.pop("stdin", subprocess.DEVNULL),
            stdout=keywords.pop("stdout", subprocess.DEVNULL),
            stderr=stderr,
            preexec_fn=prepare_child,
            **keywords,
        )


def collect(process, program, directory, timeout=120):
    """Waits for the end of `process` and finds its cores."""
    status = process.wait(timeout)
    said = (directory / "stderr").read_text(errors="replace")
    if status >= 0:
        raise NoCores(f"{program} ended with status {status}: {said}")
    full = directory / "core"
    small = [path for path in directory.glob("core.*")]
    if not full.exists() or len(small) != 1:
        raise NoCores(
            f"{program} died of {signal.Signals(-status).name} and left "
            f"{sorted(path.name for path in directory.iterdir())}: {said}"
        )
    return Crash(pathlib.Path(program), process.pid, full, small[0])


def run(program, directory, arguments=(), preload=None, options=""):
    """Runs a victim to its crash, which comes by itself."""
    directory.mkdir(parents=True)
    process = start([program, *arguments], directory, preload, options)
    return collect(process, program, directory)


def run_small(program, directory, arguments=(), preload=None, options="", timeout=120):
    """The same where nobody needs the kernel's core. Returns: minicore's."""
    directory.mkdir(parents=True)
    process = start([program, *arguments], directory, preload, options)
    status = process.wait(timeout)
    (directory / "core").unlink(missing_ok=True)
    small = list(directory.glob("core.*"))
    if status >= 0 or len(small) != 1:
        said = (directory / "stderr").read_text(errors="replace")
        raise NoCores(f"{program} ended with status {status} and left {len(small)} cores: {said}")
    return small[0]
