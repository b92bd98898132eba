"""More than one process, programs without a terminal, and programs that are watched."""

import os
import pathlib
import shutil
import signal
import subprocess
import unittest

from tests.support import victim
from tests.torture import torture

_STANDING = {"bystander0": "victim::Park", "bystander1": "victim::Park"}


def may_unshare():
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "true"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return done.returncode == 0


class Processes(torture.Torture):
    def test_a_signal_that_a_call_lets_through_for_its_own_time_ends_the_process(self):
        for call in ("ppoll", "pselect", "sigsuspend", "epoll_pwait"):
            with self.subTest(call=call):
                self.survive(
                    "wait_in", call, number=signal.SIGQUIT, function=None, unwound=_STANDING,
                    when_ready=lambda child: os.kill(child.pid, signal.SIGQUIT),
                )  # fmt: skip

    def test_parent_and_forked_child_crash_at_the_same_time(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                child = self.run_child(build, "fork_both")
                self.assertEqual(child.signal, signal.SIGSEGV)
                self.wait_for_orphan(child)
                functions = set()
                for name in child.files():
                    core = self.check_core(
                        child, child.directory / name, signal.SIGSEGV, crashers=()
                    )
                    stacks = torture.frames(child, child.directory / name)
                    functions.add((len(core.threads), stacks[core.crashed.tid][1]))
                self.assertEqual(
                    functions, {(1, "torture::CrashAsChild"), (3, "torture::CrashAsParent")}
                )

    def wait_for_orphan(self, child):
        """Until the grandchild, which nobody of us can wait for, is gone."""
        try:
            handle = os.pidfd_open(child.fact("child"))
        except ProcessLookupError:
            return
        with open(handle, closefd=True, mode="rb", buffering=0) as file:
            import select

            poll = select.poll()
            poll.register(file, select.POLLIN)
            self.assertTrue(poll.poll(20_000), "the child hangs")

    def test_child_of_vfork(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                child, core, _ = self.survive_in(build, "vfork_child", crashers=())
                self.assertEqual(child.fact("child.status"), signal.SIGSEGV)
                self.assertEqual(core.crashed.tid, child.fact("child"))

    def test_child_of_vfork_and_its_parent_after_it(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                child = self.run_child(build, "vfork_child_then_parent")
                self.assertEqual(child.signal, signal.SIGSEGV)
                self.assertEqual(child.fact("child.status"), signal.SIGSEGV)
                self.assertEqual(len(child.files()), 2)
                for name in child.files():
                    of_parent = name.endswith(f".{child.pid}")
                    path = child.directory / name
                    core = self.check_core(
                        child, path, signal.SIGSEGV, crashers=(), threads=3 if of_parent else 1
                    )
                    stack = torture.frames(child, path)[core.crashed.tid]
                    caller = "torture::CrashAsParent" if of_parent else "torture::VforkChildThenParent"
                    self.assertEqual(stack[:2], [torture.CRASH, caller])

    # Two processes that dump in one memory, one after the other.
    def test_child_of_vfork_and_another_thread_of_its_parent_at_the_same_time(self):
        for build in torture.BUILDS:
            for _ in range(torture.many(10, 500)):
                with self.subTest(build=build.name):
                    self.both_of_vfork(build)

    def both_of_vfork(self, build):
        child = self.run_child(build, "vfork_child_and_parent")
        self.assertEqual(child.signal, signal.SIGSEGV)
        self.wait_for_orphan(child)
        # Not even the one that comes second waits for longer than for the first.
        self.assertLess(child.seconds, torture.DEADLINE_S)
        self.assertEqual(len(child.files()), 2, child.files())
        crashed = set()
        for name in child.files():
            path = child.directory / name
            core = self.check_core(child, path, signal.SIGSEGV, crashers=())
            stack = torture.frames(child, path)[core.crashed.tid]
            self.assertEqual(stack[0], torture.CRASH)
            crashed.add(core.crashed.tid)
        self.assertEqual(crashed, {child.fact("child"), child.thread("crasher")})
        child.discard()

    def test_daemon_with_closed_standard_streams(self):
        self.survive("daemon", unwound=_STANDING)

    def test_daemon_whose_standard_error_is_a_file_of_its_own(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                child = self.run_child(build, "daemon_with_file", options="path=core.daemon")
                self.assertEqual((child.directory / "precious").read_text(), "precious")
                self.check_core(
                    child, child.directory / "core.daemon", signal.SIGSEGV, ("crasher",)
                )

    @unittest.skipUnless(may_unshare(), "SKIPPED: no PID namespace can be made here")
    def test_first_process_of_a_pid_namespace(self):
        self.first_process("plain", 139)
        self.first_process("abort", 139)  # the kernel ignores what init raises
        # These are over when they are dumped.
        self.first_process("breakpoint", 128 + signal.SIGTRAP)
        self.first_process("refused_call", 128 + signal.SIGSYS)

    @unittest.skipUnless(may_unshare(), "SKIPPED: no PID namespace can be made here")
    def test_first_process_of_a_pid_namespace_goes_on_after_a_signal_that_the_kernel_ignores(
        self,
    ):
        self.first_process("survive_quit", 7, cores=0)

    def first_process(self, scenario, exit_status, cores=1):
        for build in torture.BUILDS:
            with self.subTest(build=build.name, scenario=scenario):
                child = self.run_child(
                    self.wrapped(build, "unshare", "--pid", "--fork", "--mount-proc"), scenario
                )
                status = os.waitstatus_to_exitcode(child.status)
                self.assertEqual(status if status >= 0 else 128 - status, exit_status)
                self.assertEqual(len(child.files()), cores, child.files())
                for name in child.files():
                    self.check_core(child, child.directory / name, None, crashers=())

    def wrapped(self, build, *command):
        """A victim that runs under another program."""
        path = pathlib.Path(os.environ["TEST_TMPDIR"]) / f"under_{command[0]}_{build.name}"
        preload = ""
        if build.preload:
            preload = f"LD_PRELOAD={pathlib.Path.cwd() / 'libminicore.so'} "
        path.write_text(
            "#!/bin/sh\nexec " + " ".join(command) + f' env {preload}{build.program} "$@"\n'
        )
        path.chmod(0o755)
        return victim.Victim(f"{build.name} under {command[0]}", str(path))

    @unittest.skipUnless(shutil.which("strace"), "SKIPPED: strace is not installed")
    def test_under_strace(self):
        for build in torture.BUILDS:
            wrapped = self.wrapped(build, "strace", "-f", "-o", "trace")
            with self.subTest(build=build.name):
                child = self.run_child(wrapped, "plain", options="path=core.strace")
                self.assertEqual(child.signal, signal.SIGSEGV)
                self.check_core(
                    child, child.directory / "core.strace", signal.SIGSEGV, ("crasher",), 3
                )

    @unittest.skipUnless(shutil.which("gdb"), "SKIPPED: gdb is not installed")
    def test_under_gdb(self):
        for build in torture.BUILDS:
            wrapped = self.wrapped(
                build, "gdb", "-nx", "-batch", "-ex", "run", "-ex", "backtrace",
                # The dumper's own faults, in memory that is gone, are of no interest.
                "-ex", "'handle SIGSEGV nostop noprint pass'", "-ex", "continue", "--args",
            )  # fmt: skip
            with self.subTest(build=build.name):
                child = self.run_child(wrapped, "plain", options="path=core.gdb", deadline=20)
                self.assertIn(b"torture::CrashHere", child.stdout)
                self.assertIn(b"Program terminated with signal SIGSEGV", child.stdout)
                self.check_core(
                    child, child.directory / "core.gdb", signal.SIGSEGV, ("crasher",), 3
                )
