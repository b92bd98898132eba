"""Crashes of programs that have locked themselves in."""

import os
import pathlib
import signal
import unittest

from tests.support import cores
from tests.torture import torture

_STANDING = {"bystander0": "victim::Park", "bystander1": "victim::Park"}


def may_change_user():
    """Not in a user namespace that has only one user."""
    child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


class Sandbox(torture.Torture):
    def test_filter_that_containers_have_by_default(self):
        self.survive("container_filter", unwound=_STANDING)

    def test_filter_that_allows_only_read_write_exit_futex_sigreturn(self):
        for action in ("kill", "trap", "errno"):
            with self.subTest(action=action):
                self.survive("strict_filter", action, options="preopen=1")

    @unittest.skipUnless(may_change_user(), "SKIPPED: nobody can have other groups here")
    def test_strict_filter_in_a_process_of_many_groups_of_which_eight_threads_fault(self):
        for build in torture.BUILDS:
            for _ in range(torture.many(3, 100)):
                child = self.run_child(build, "strict_filter_many_groups", options="preopen=1")
                self.assertEqual(child.signal, signal.SIGSEGV)
                core = self.check_core(
                    child, child.core, signal.SIGSEGV, [f"crasher{n}" for n in range(8)]
                )  # fmt: skip
                known = {fact["value"] for fact in child.facts}
                self.assertLessEqual({thread.tid for thread in core.threads}, known)

    def test_a_process_that_may_send_no_signal_dies_all_the_same(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                child = self.run_child(
                    build, "no_signals_filter",
                    when_ready=lambda child: os.kill(child.pid, signal.SIGQUIT),
                )  # fmt: skip
                # It can't die of the one that it can't send: of another one then.
                self.assertIsNotNone(child.signal)
                self.check_core(child, child.core, signal.SIGQUIT, crashers=())

    def test_a_fault_ends_a_process_that_may_send_no_signal(self):
        for action in ("errno", "trap"):
            for build in torture.BUILDS:
                with self.subTest(action=action, build=build.name):
                    child = self.run_child(build, "no_sending_filter", action)
                    self.assertEqual(child.signal, signal.SIGSEGV)
                    self.check_core(child, child.core, signal.SIGSEGV, ("crasher",))

    def test_strict_filter_without_a_file_opened_in_advance(self):
        for action in ("errno", "trap"):
            for build in torture.BUILDS:
                with self.subTest(action=action, build=build.name):
                    child = self.run_child(build, "strict_filter", action)
                    self.assertEqual(child.signal, signal.SIGSEGV)

    @unittest.skipUnless(os.getuid() == 0, "SKIPPED: only root can change its root")
    def test_chroot_without_proc(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                child = self.run_child(build, "chroot")
                self.assertEqual(child.signal, signal.SIGSEGV)
                (core,) = (child.directory / "root").iterdir()
                self.check_core(child, core, signal.SIGSEGV, ("crasher",))
                info = cores.info(core)
                self.assertEqual(info["program"], pathlib.Path(build.program).name[:15])
                self.assertIn("/", info["arguments"])
                stacks = torture.frames(child, core)
                self.assertEqual(stacks[child.thread("crasher")][0], torture.CRASH)

    @unittest.skipUnless(may_change_user(), "SKIPPED: nobody can become somebody else here")
    def test_user_has_changed(self):
        self.survive("change_user", unwound=_STANDING)
        self.survive("change_user", "no_new_privs", unwound=_STANDING)

    @unittest.skipUnless(may_change_user(), "SKIPPED: nobody can become somebody else here")
    def test_program_with_more_rights_than_its_user(self):
        child, _, _ = self.survive_in(torture.LINKED, "more_rights", unwound=_STANDING)
        self.assertEqual(child.core.stat().st_uid, 65534)
        self.assertNotEqual(child.core.suffix, ".part")

    @unittest.skipUnless(may_change_user(), "SKIPPED: nobody can become somebody else here")
    def test_not_dumpable(self):
        self.survive("not_dumpable", unwound=_STANDING)
