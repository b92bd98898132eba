"""Dumps of programs that go on: what they leave is a whole core, and nothing else; the
program does not notice, but for the system calls that no signal handler leaves alone."""

import errno
import os
import pathlib
import resource
import signal
import tempfile
import time

from tests.support import cores
from tests.torture import core_check, torture

_STANDING = {"bystander0": "victim::Park", "bystander1": "victim::Park"}
# What the kernel restarts behind a handler with SA_RESTART, and what it never does
# (signal(7); kernel/signal.c and the calls themselves, ERESTARTSYS against EINTR).
_RESTARTED = ("read", "write", "recv", "open", "wait", "flock", "mutex", "sem_wait")
_INTERRUPTED = (
    "nanosleep", "poll", "ppoll", "select", "epoll_wait", "sigtimedwait", "recv_timeout",
    "msgrcv", "pause", "clock_nanosleep", "pselect", "epoll_pwait", "sigwaitinfo",
    "sigsuspend", "io_uring_enter",
)  # fmt: skip


class Live(torture.Torture):
    def live(self, build, *arguments, **how):
        """A child that ends as it meant to."""
        child = self.run_child(build, *arguments, **how)
        self.assertEqual(child.status, 0, child.stderr)
        return child

    def check_live(self, child, path, dumper=None, threads=None):
        core = self.check_core(
            child, path, 0, [dumper] if dumper else (), threads=threads
        )  # fmt: skip
        self.check_report(path, silent=0)
        return core

    # --- nothing is left, nothing is changed ---

    def test_many_of_a_busy_program_leave_nothing_and_change_nothing(self):
        for build in torture.BUILDS:
            child = self.live(
                build, "live_many", str(torture.many(20, 1000)), timeout=600, deadline=500
            )
            self.assertEqual(child.fact("wrong"), 0)
            self.assertEqual(child.fact("errno"), 12345)
            self.assertTrue(child.fact("signals"))
            self.assertEqual(child.fact("descriptors"), 0)
            self.assertEqual(child.fact("threads"), 0)
            if build is torture.LINKED:
                # Elsewhere it can't be told which mappings are the heap's.
                self.assertEqual(child.fact("mappings"), 0)
            for name in ("core.first", "core.again"):
                self.check_live(child, child.directory / name, "main", threads=5)

    def test_the_dumpers_memory_is_in_nobodys_core_afterwards(self):
        child = self.live(torture.LINKED, "live_again", "1")
        before, after = child.fact("memory.before"), child.fact("memory.after")
        self.assertIn(" dd ", before)
        self.assertEqual(after, before)

    def test_again_without_private_memory(self):
        # The dumper's is shared memory then, which is found as it was left.
        limit = [(resource.RLIMIT_DATA, 100 << 20)]
        for options in ("verbose=0", "preopen=1"):
            for build in torture.BUILDS:
                child = self.live(build, "live_again", "3", limits=limit, options=options)
                for number in range(3):
                    path = child.directory / f"core.{number}"
                    self.check_live(child, path, "crasher", threads=3)
                if build is torture.LINKED:
                    self.assertIn(" dd ", child.fact("memory.after"))

    def test_where_all_is_locked_into_memory_a_dump_takes_no_more_of_it(self):
        for build in torture.BUILDS:
            child = self.live(build, "live_locked")
            if not child.fact("locked"):
                self.skipTest("SKIPPED: mlockall() is not allowed here")
            self.assertLess(child.fact("kilobytes"), 100 * 1024)
            self.check_live(child, child.core, "crasher", threads=1)

    # --- from anywhere ---

    def test_from_any_thread(self):
        for build in torture.BUILDS:
            for place in ("main", "worker", "handler", "blocked"):
                with self.subTest(place=place):
                    child = self.live(build, "live_from", place)
                    path = child.directory / "core.live"
                    core = self.check_live(child, path, "crasher")
                    stacks = torture.frames(child, path)
                    self.check_stacks(
                        child, core, stacks, None, ["torture::DumpHere"], _STANDING
                    )

    def test_when_main_has_ended(self):
        for build in torture.BUILDS:
            child = self.live(build, "main_is_gone", "live")
            self.check_live(child, child.core, "crasher", threads=1)

    def test_while_another_thread_has_no_room_left_on_its_small_signal_stack(self):
        for build in torture.BUILDS:
            child = self.live(build, "deep_in_small_stack", "live")
            path = child.directory / "core.live"
            core = self.check_live(child, path, "crasher", threads=2)
            self.check_stacks(
                child, core, torture.frames(child, path), None, ["main"],
                {"deep": "torture::StandDeepInHandler"},
            )  # fmt: skip

    def test_what_the_callers_frame_leads_to_is_whole_and_secrets_are_not_in_it(self):
        for build in torture.BUILDS:
            # With the filter the whole scan waits until the threads stand still.
            for filter_ in ((), ("filter",)):
                with self.subTest(build=build.name, filter=filter_):
                    self.holding(build, *filter_)

    def holding(self, build, *arguments):
        secret = bytes((i * 37 + 11) & 0xFF ^ 0x55 for i in range(40))
        child = self.live(build, "live_holding", *arguments)
        core = self.check_live(child, child.core, "crasher", threads=5)
        for number in range(32):
            address = child.fact(f"held.{number}")
            self.assertEqual(core.read(address, 300), bytes([65 + number % 26]) * 300)
        for number in range(100):
            address = child.fact(f"link.{number}")
            self.assertEqual(core.read(address, 200), bytes([48 + number % 10]) * 200)
        contents = child.core.read_bytes()
        for at in range(0, 40 - 16):
            self.assertNotIn(secret[at : at + 16], contents)

    def test_signals_of_faults_that_are_sent_meanwhile_reach_the_program(self):
        for build in torture.BUILDS:
            child = self.live(build, "live_sent", str(torture.many(10, 300)), deadline=100)
            self.assertEqual(child.fact("wrong"), 0)
            self.assertGreater(child.fact("received"), 0)

    def test_from_two_threads_at_the_same_time(self):
        times = torture.many(5, 100)
        for build in torture.BUILDS:
            child = self.live(build, "live_two", str(times), deadline=100, timeout=200)
            wanted = {f"core.{who}.{n}" for who in ("one", "two") for n in range(times)}
            self.assertEqual(set(child.files()), wanted)
            for name in wanted:
                self.check_live(child, child.directory / name, name.split(".")[1])

    def test_while_another_thread_crashes(self):
        for build in torture.BUILDS:
            for instant in range(torture.many(8, 300)):
                with self.subTest(microseconds=instant * 3000):
                    child = self.run_child(build, "live_crash", str(instant * 3000))
                    self.assertEqual(child.signal, signal.SIGSEGV)
                    core = self.check_core(child, child.core, signal.SIGSEGV, ("crasher",))
                    self.assertEqual(len(core.threads), 2)

    def test_crash_while_others_wait_for_readers_of_their_pipes(self):
        # It comes before them, and they give way: it waits for no deadline.
        for build in torture.BUILDS:
            for threads in (1, 3, 8):
                with self.subTest(threads=threads):
                    child = self.run_child(
                        build, "live_unread", str(threads), options="deadline=60s"
                    )
                    self.assertEqual(child.signal, signal.SIGSEGV)
                    core = self.check_core(child, child.core, signal.SIGSEGV, ("crasher",))
                    self.assertEqual(len(core.threads), threads + 1)

    def test_crash_after_live_dumps(self):
        self.survive("live_then_crash", "3", unwound=_STANDING, control=False)

    def test_a_crash_after_a_live_dump_that_was_ended_while_it_stopped_threads(self):
        # Longer than the watchdog waits: it ends the stop, which nobody may be left in.
        for build in torture.BUILDS:
            child = self.run_child(
                build, "live_abandoned_then_crash",
                options="freeze_ms=20s:deadline=200ms:path=core.crash",
            )  # fmt: skip
            self.assertEqual(child.signal, signal.SIGSEGV)
            self.assertTrue(child.fact("limit"))
            path = child.directory / "core.crash"
            self.check_core(child, path, signal.SIGSEGV, ("crasher",))

    def test_child_forked_while_the_file_is_written_crashes(self):
        # The memory that the child has a copy of looks as if somebody still dumped.
        for build in torture.BUILDS:
            child = self.live(build, "live_fork")
            self.assertEqual(child.fact("child.status"), signal.SIGSEGV)
            self.assertLess(child.seconds, torture.DEADLINE_S)
            core = self.check_core(child, child.core, signal.SIGSEGV, crashers=())
            self.assertEqual(len(core.threads), 1)
            for _ in range(torture.many(3, 100)):
                child = self.live(build, "live_fork", "both")
                self.assertEqual(child.fact("child.status"), signal.SIGSEGV)
                self.assertLess(child.seconds, torture.DEADLINE_S)
                self.check_core(child, child.core, signal.SIGSEGV, crashers=(), threads=2)
                self.check_report(child.core, silent=0)

    def test_child_forked_meanwhile_has_no_secret_that_its_parent_keeps_from_it(self):
        for build in torture.BUILDS:
            child = self.live(build, "live_fork_secret")
            self.assertEqual(child.fact("before"), 1)
            self.assertEqual(child.fact("child.status"), 0)

    def test_children_forked_at_any_instant_crash_with_their_own_memory(self):
        children = torture.many(20, 300)
        for build in torture.BUILDS:
            child = self.live(build, "live_forks", str(children), deadline=60)
            for number in range(children):
                pid = child.fact(f"child.{number}")
                self.assertEqual(child.fact(f"status.{number}"), signal.SIGSEGV)
                (path,) = child.directory.glob(f"core.*.{pid}")
                core = core_check.Core(path)
                whose = core.read(child.fact("whose"), 8)
                self.assertEqual(int.from_bytes(whose, "little"), pid)

    # --- where it cannot be written ---

    def test_what_cannot_be_written_is_reported_and_the_program_goes_on(self):
        wanted = {
            "fd": errno.EBADF, "directory": errno.ENOENT, "pipe": errno.EPIPE,
            "unread": errno.ETIMEDOUT,
        }  # fmt: skip
        for build in torture.BUILDS:
            for how, error in wanted.items():
                with self.subTest(how=how):
                    child = self.live(build, "live_fails", how, options="deadline=1s")
                    self.assertEqual(child.fact("result"), -error)
                    self.assertEqual(child.files(), ["core.live"])
                    self.check_live(child, child.core)

    def test_a_full_standard_error_holds_nobody_up(self):
        for build in torture.BUILDS:
            child = self.live(build, "live_fails", "stderr", options="verbose=1:deadline=1s")
            self.assertEqual(child.fact("result"), 0)
            for name in ("core.told", "core.live"):
                self.check_live(child, child.directory / name)

    def test_a_page_that_nobody_serves_is_ended_by_the_deadline(self):
        for build in torture.BUILDS:
            for which in ((), ("file",)):
                with self.subTest(build=build.name, which=which):
                    child = self.live(
                        build, "live_unserved", *which, options="deadline=1s", deadline=4
                    )
                    if not child.fact("unserved"):
                        self.skipTest("SKIPPED: userfaultfd() is not allowed here")
                    self.assertFalse(child.fact("children"))
                    # Whatever came of it, it says so.
                    made = [] if child.fact("result") != 0 else ["core.live"]
                    self.assertEqual(child.files(), made)

    # --- by signal ---

    def test_by_a_signal_to_oneself(self):
        for build in torture.BUILDS:
            for name, which in (("USR2", ()), ("RTMIN+4", ("4",))):
                child = self.live(
                    build, "live_signal", "3", *which, options=f"dump_signal={name}:path=core.s"
                )
                self.assertEqual(child.files(), ["core.s", "core.s.1", "core.s.2"])
                for file in child.files():
                    self.check_live(child, child.directory / file, "crasher", threads=3)

    def test_by_signals_from_outside_to_a_busy_process(self):
        signals = torture.many(10, 300)
        for build in torture.BUILDS:
            made = 0
            with tempfile.TemporaryDirectory(dir=os.environ["TEST_TMPDIR"]) as where:
                core = pathlib.Path(where, "core")

                def send(child, core=core):
                    nonlocal made
                    for _ in range(signals):
                        os.kill(child.pid, signal.SIGUSR2)
                        # Pending signals of one number merge: each is waited for.
                        until = time.monotonic() + 60
                        while not core.exists() and time.monotonic() < until:
                            os.sched_yield()
                        if not core.exists():
                            break
                        core_check.Core(core)
                        cores.verify(core)
                        core.unlink()
                        made += 1
                    os.kill(child.pid, signal.SIGTERM)

                child = self.live(
                    build, "live_signal_wait", when_ready=send,
                    deadline=torture.many(100, 1000), timeout=torture.many(200, 1200),
                    options=f"dump_signal=USR2:path={core}",
                )  # fmt: skip
            self.assertEqual(made, signals)
            self.assertEqual(child.fact("wrong"), 0)

    # --- which calls see it ---

    def test_calls_that_the_kernel_restarts_see_nothing(self):
        for name in _RESTARTED:
            with self.subTest(call=name):
                child = self.live(torture.PRELOADED, "live_call", name)
                self.assertGreaterEqual(child.fact("result"), 0)
                self.assertEqual(child.fact("error"), 0)

    def test_a_call_that_has_moved_some_bytes_returns_how_many(self):
        child = self.live(torture.PRELOADED, "live_call", "partial")
        self.assertGreater(child.fact("result"), 0)
        self.assertLess(child.fact("result"), 1 << 20)

    def test_calls_that_the_kernel_never_restarts_see_eintr(self):
        for name in _INTERRUPTED:
            with self.subTest(call=name):
                child = self.live(torture.PRELOADED, "live_call", name)
                self.assertEqual(child.fact("error"), errno.EINTR)
