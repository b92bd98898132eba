"""Runs a child that is meant to crash, and keeps what it leaves behind.

A child runs in an empty directory of its own. What it knows before it crashes it writes
as facts (tests/e2e/facts.h); how it died is the wait status, bit for bit; what it leaves
are core files: minicore's and, where the limits allow it, the kernel's.
"""

import dataclasses
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import subprocess
import tempfile

_BUILT = pathlib.Path.cwd() / "tests" / "e2e"
_PRELOAD = pathlib.Path.cwd() / "libminicore.so"
_TIMEOUT_S = 120  # a hang, not a slow machine


@dataclasses.dataclass(frozen=True)
class Victim:
    """A build of crash_child.cc, or any other program."""

    name: str
    program: str
    preload: bool = False


LINKED = Victim("linked", str(_BUILT / "crash_child"))
LINKED_O2 = Victim("linked, optimised", str(_BUILT / "crash_child_o2"))
PLAIN = Victim("without minicore", str(_BUILT / "crash_child_plain"))
PLAIN_O2 = Victim("without minicore, optimised", str(_BUILT / "crash_child_plain_o2"))
PRELOADED = Victim("preloaded", PLAIN.program, preload=True)
PRELOADED_O2 = Victim("preloaded, optimised", PLAIN_O2.program, preload=True)
# The signals whose default action is to dump core (signal(7)).
SIGNALS_OF_CORE = (
    signal.SIGQUIT, signal.SIGILL, signal.SIGABRT, signal.SIGFPE, signal.SIGSEGV,
    signal.SIGBUS, signal.SIGSYS, signal.SIGTRAP, signal.SIGXCPU, signal.SIGXFSZ,
)  # fmt: skip
PLUGIN = str(_BUILT / "libvictim_plugin.so")


@dataclasses.dataclass
class Child:
    """A child that has ended. `directory` is where it ran, `outside` what is ours."""

    victim: Victim
    directory: pathlib.Path
    outside: pathlib.Path
    pid: int
    status: int
    stdout: bytes
    stderr: str
    facts: list

    @property
    def signal(self):
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else None

    def fact(self, name):
        """The value of the one fact called `name`."""
        values = [fact["value"] for fact in self.facts if fact["name"] == name]
        if len(values) != 1:
            raise AssertionError(
                f"{len(values)} facts '{name}'; the child said:\n{self.stderr}"
            )
        return values[0]

    def facts_of_kind(self, kind):
        return [fact for fact in self.facts if fact["kind"] == kind]

    def thread(self, name):
        """The id of the thread that named itself so."""
        return self.fact("thread." + name)

    def files(self):
        return sorted(path.name for path in self.directory.iterdir())

    @property
    def core(self):
        """minicore's file: there must be exactly one, and no unfinished one."""
        cores = [name for name in self.files() if name != "core"]
        if len(cores) != 1 or not cores[0].startswith("core."):
            raise AssertionError(
                f"expected one core, found {self.files()}; "
                f"status {describe(self.status)}; the child said:\n{self.stderr}"
            )
        return self.directory / cores[0]

    @property
    def kernel_core(self):
        """The kernel's file of the same crash."""
        path = self.directory / "core"
        if not path.exists():
            raise AssertionError(f"no kernel core among {self.files()}")
        return path

    def discard(self):
        shutil.rmtree(self.outside, ignore_errors=True)


def describe(status):
    """A wait status in words."""
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return name + (", core dumped" if os.WCOREDUMP(status) else "")
    return f"exit {os.WEXITSTATUS(status)}"


def kernel_writes_core_files():
    """Whether a kernel core lands as file `core` in the working directory here."""
    with open("/proc/sys/kernel/core_pattern") as pattern:
        if pattern.read().strip() != "core":
            return False
    with open("/proc/sys/kernel/core_uses_pid") as uses_pid:
        if uses_pid.read().strip() != "0":
            return False
    return resource.getrlimit(resource.RLIMIT_CORE)[1] == resource.RLIM_INFINITY


def run(
    victim,
    *arguments,
    options="",
    kernel_core=False,
    limits=(),
    directory=None,
    environment=(),
    when_ready=None,
    before_exec=None,
    stdin=None,
    pass_fds=(),
    timeout=_TIMEOUT_S,
):
    """Runs `victim` with `arguments` to its end.

    options      MINICORE_OPTIONS
    kernel_core  lets the kernel write its core too
    limits       pairs of (resource.RLIMIT_..., soft limit)
    directory    where it runs; default: a new empty one
    when_ready   called with the Child (still running) once it announces itself ready
    before_exec  called in the child before the program starts
    pass_fds     descriptors that it inherits
    """
    outside = pathlib.Path(tempfile.mkdtemp(prefix="child.", dir=os.environ["TEST_TMPDIR"]))
    if directory is None:
        directory = outside / "directory"
        directory.mkdir()
    facts_path = outside / "facts"
    ready_read, ready_write = os.pipe()

    child_environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(outside),
        "LANG": "C",
        "VICTIM_FACTS": str(facts_path),
        "VICTIM_READY_FD": str(ready_write),
        "VICTIM_PLUGIN": PLUGIN,
    }
    if options:
        child_environment["MINICORE_OPTIONS"] = options
    if victim.preload:
        child_environment["LD_PRELOAD"] = str(_PRELOAD)
    child_environment.update(environment)

    def prepare():
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard if kernel_core else 0, hard))
        for which, soft in limits:
            resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))
        if before_exec:
            before_exec()

    with open(outside / "stdout", "wb") as stdout, open(outside / "stderr", "wb") as stderr:
        process = subprocess.Popen(
            [victim.program, *arguments],
            cwd=directory,
            env=child_environment,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=[ready_write, *pass_fds],
            preexec_fn=prepare,
        )
    os.close(ready_write)
    child = Child(victim, directory, outside, process.pid, 0, b"", "", [])
    # A wait through Popen would lose the core-dumped bit of the status.
    handle = os.pidfd_open(process.pid)
    if when_ready:
        if os.read(ready_read, 1) == b"r":
            child.facts = _read_facts(facts_path)
            when_ready(child)
    os.close(ready_read)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    hangs = not poll.poll(timeout * 1000)
    if hangs:
        process.kill()
    child.status = os.waitpid(process.pid, 0)[1]
    process.returncode = 0
    os.close(handle)
    child.stdout = (outside / "stdout").read_bytes()
    child.stderr = (outside / "stderr").read_text(errors="replace")
    child.facts = _read_facts(facts_path)
    if hangs:
        raise AssertionError(
            f"{victim.name}: {arguments} did not end within {timeout} s:\n{child.stderr}"
        )
    return child


def _read_facts(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
