"""What every scenario of the bench must come to: the process dies as it would have died
without minicore, within the deadline, and leaves one whole core with the right thread,
the right signal and the right backtraces."""

import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

from tests.support import cores, gdb, victim
from tests.torture import core_check

_BUILT = pathlib.Path.cwd() / "tests" / "torture"
LINKED = victim.Victim("linked", str(_BUILT / "torture_child"))
PLAIN = victim.Victim("without minicore", str(_BUILT / "torture_child_plain"))
PRELOADED = victim.Victim("preloaded", PLAIN.program, preload=True)
BUILDS = (LINKED, PRELOADED)
# early_child.cc.
EARLY = victim.Victim("before main, without minicore", str(_BUILT / "early_child"))
EARLY_PRELOADED = victim.Victim("before main", EARLY.program, preload=True)

# The option's default, and as much again for a machine that is busy with other tests.
DEADLINE_S = 5
_SLACK_S = 5

CRASH = "torture::CrashHere"

# `bazel run //tests/torture -- --long` sets it: every case instead of some.
LONG = os.environ.get("TORTURE_LONG") == "1"


def many(few, all_of_them):
    """How often, or how many: in `bazel test` and in the long leg."""
    return all_of_them if LONG else few


every = many  # of a step: each so-many-th, and each one


def frames(child, core):
    """{thread id: [function, ...]}, innermost first, as elfutils unwinds it."""
    done = subprocess.run(
        ["eu-stack", f"--core={core}", "-e", child.victim.program],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env={"PATH": os.environ["PATH"], "DEBUGINFOD_URLS": ""},
    )  # fmt: skip
    threads = {}
    functions = None
    for line in done.stdout.splitlines():
        if line.startswith("TID "):
            functions = threads.setdefault(int(line[4:].rstrip(":")), [])
        elif line.startswith("#") and functions is not None:
            words = line.split(None, 2)
            name = words[2] if len(words) > 2 else "?"
            functions.append(re.sub(r"\(anonymous namespace\)::", "", name).split("(")[0])
    return threads


class Torture(unittest.TestCase):
    def run_child(self, build, *arguments, deadline=DEADLINE_S, **how):
        """Runs a scenario to its end; fails if that takes longer than the deadline."""
        environment = dict(how.pop("environment", ()))
        environment["TORTURE_LIBRARY"] = str(_BUILT)
        started = time.monotonic()
        child = victim.run(
            build, *arguments, environment=environment,
            timeout=how.pop("timeout", deadline + 4 * _SLACK_S), **how,
        )  # fmt: skip
        self.addCleanup(child.discard)
        child.seconds = time.monotonic() - started
        self.assertLess(child.seconds, deadline + _SLACK_S, f"{build.name} {arguments}")
        return child

    def survive(self, *arguments, builds=BUILDS, **how):
        """survive_in() for each build."""
        for build in builds:
            with self.subTest(build=build.name):
                self.survive_in(build, *arguments, **how)

    def survive_in(
        self,
        build,
        *arguments,
        number=signal.SIGSEGV,
        function=CRASH,
        callers=(),
        crashers=("crasher",),
        silent=0,
        threads=None,
        unwound=(),
        in_gdb=False,
        verified=True,
        control=PLAIN,
        **how,
    ):
        """The whole promise. Returns the child, its core, and the functions by thread.

        number     the signal; None: no matter
        function   innermost frame of the crashed thread; None: no matter
        callers    functions that must be below it, in this order
        crashers   names of the threads of which one must be the crashed one
        silent     how many threads do not answer, yet are there; None: no matter
        threads    how many threads the core must have; None: no matter
        unwound    {name of thread: function that its backtrace must show}
        in_gdb     asks gdb, too, for the same
        verified   False: `minicore verify` is not asked; or expressions for the sentences
                   that it may say, because what they complain of is the program's doing
        control    runs the scenario in this build without minicore, too, and compares wait
                   statuses; False: does not
        """
        child = self.run_child(build, *arguments, **how)
        if control:
            without = dict(how)
            without.pop("options", None)
            self.assertEqual(
                victim.describe(child.status),
                victim.describe(self.run_child(control, *arguments, **without).status),
            )
        core = self.check_core(child, child.core, number, crashers, threads, verified)
        self.check_report(child.core, silent)
        stacks = frames(child, child.core)
        self.check_stacks(child, core, stacks, function, callers, unwound)
        if in_gdb:
            self.check_in_gdb(child, core, number, function, callers, unwound)
        return child, core, stacks

    def check_core(self, child, path, number, crashers, threads=None, verified=True):
        core = core_check.Core(path)
        if number is not None:
            self.assertEqual(core.crashed.signal, number)
            self.assertEqual(core.signal, number)
        if crashers:
            self.assertIn(core.crashed.tid, {child.thread(name) for name in crashers})
        if threads is not None:
            self.assertEqual(len(core.threads), threads)
        if verified is not False:
            self.verify(path, () if verified is True else verified)
        return core

    def verify(self, path, allowed):
        try:
            cores.verify(path)
        except AssertionError as error:
            lines = str(error).removeprefix(f"{path}: ").splitlines()
            rest = [line for line in lines if not any(re.search(e, line) for e in allowed)]
            self.assertEqual(rest, [], path)

    def check_report(self, path, silent):
        report = cores.info(path)["report"]
        self.assertEqual(int(report["failed_stages"], 16), 0, report)
        self.assertEqual(int(report["past_deadline"]), 0, report)
        if silent is not None:
            self.assertEqual(int(report["threads_silent"]), silent, report)

    def check_stacks(self, child, core, stacks, function, callers, unwound):
        crashed = stacks[core.crashed.tid]
        if function is not None:
            self.assertEqual(crashed[0], function, crashed)
        self.check_order(crashed, callers)
        for name, wanted in dict(unwound).items():
            self.assertIn(wanted, stacks[child.thread(name)], name)

    def check_order(self, functions, wanted):
        rest = list(functions)
        for name in wanted:
            self.assertIn(name, rest, functions)
            rest = rest[rest.index(name) + 1 :]

    def check_in_gdb(self, child, core, number, function, callers, unwound):
        asked = gdb.Ask("$_siginfo.si_signo")
        answers = gdb.ask(child.victim.program, child.core, [asked])
        self.assertEqual(answers.current, core.crashed.tid)
        self.assertEqual(answers.value(asked), number)
        self.assertEqual(set(answers.threads), {thread.tid for thread in core.threads})
        functions = [str(name) for name in answers.functions(answers.current)]
        if function is not None:
            self.assertEqual(functions[0], function, functions)
        self.check_order(functions, callers)
        for name, wanted in dict(unwound).items():
            self.assertIn(wanted, answers.functions(child.thread(name)), name)
