"""How many threads, how silent, how many of them fault at once."""

import os
import signal

from tests.support import cores
from tests.torture import torture

_STANDING = {"bystander0": "victim::Park", "bystander1": "victim::Park"}


class Threads(torture.Torture):
    def test_many(self):
        for count in (1, 2, 100, 1000) + ((4000,) if torture.LONG else ()):
            with self.subTest(threads=count):
                _, _, stacks = self.survive_in(
                    torture.LINKED, "many", str(count), threads=count, callers=["main"]
                )
                parked = [1 for stack in stacks.values() if "torture::ParkAmongMany" in stack]
                self.assertEqual(len(parked), count - 1)

    def test_four_thousand(self):
        # Their backtraces take elfutils longer than all the rest.
        child = self.run_child(torture.PRELOADED, "many", "4000")
        self.assertEqual(child.signal, signal.SIGSEGV)
        self.check_core(child, child.core, signal.SIGSEGV, ("crasher",), threads=4000)
        self.check_report(child.core, silent=0)

    def test_main_has_ended(self):
        # Nobody waits for it, or counts it; what it said of the whole process other threads
        # say as well.
        for build in torture.BUILDS:
            child, _, _ = self.survive_in(
                build, "main_is_gone", threads=1, callers=["victim::Run"]
            )
            self.assertNotEqual(cores.info(child.core)["arguments"], "")
            # With names, mappings of files are left out.
            self.assertLess(child.core.stat().st_size, 4 << 20)

    def test_created_and_ended_all_the_time(self):
        for instant in range(torture.many(4, 200)):
            # libc blocks every signal where a thread begins and ends.
            self.survive("churn", str(instant * 7), callers=["main"], silent=None)

    def test_the_crasher_has_every_signal_blocked(self):
        for place in ("main", "worker"):
            self.survive(
                "crasher_blocks", place, callers=["torture::CrashWithSignalsBlocked"],
                unwound=_STANDING,
            )  # fmt: skip

    def test_the_crasher_has_inherited_a_full_mask(self):
        self.survive("crasher_inherits_mask", unwound=_STANDING)

    def test_every_thread_has_every_signal_blocked_through_libc(self):
        self.survive(
            "many_blocked", "9", threads=9,
            unwound={
                f"blocked{n}": f"torture::{'SpinBlocked' if n % 4 == 0 else 'SleepBlocked'}"
                for n in range(8)
            },
        )  # fmt: skip

    def test_abort_with_every_signal_blocked(self):
        self.survive(
            "aborter_blocks", number=signal.SIGABRT, function=None,
            callers=["abort", "torture::AbortWithSignalsBlocked"], unwound=_STANDING,
        )  # fmt: skip

    def test_the_crasher_has_every_signal_blocked_behind_libcs_back(self):
        # The kernel ends the process at once: no handler can run.
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                child = self.run_child(build, "crasher_blocks_raw")
                self.assertEqual(child.signal, signal.SIGSEGV)
                self.assertEqual(child.files(), [])

    def test_a_sleeping_thread_that_no_signal_reaches(self):
        self.survive("deaf_sleeper", silent=1, unwound={"deaf": "torture::SleepDeaf"})

    def test_a_spinning_thread_that_no_signal_reaches(self):
        self.survive("deaf_spinner", silent=1, unwound={"deaf": "torture::SpinDeaf"})

    def test_six_threads_that_no_signal_reaches(self):
        self.survive("deaf_all", "6", silent=6, threads=7)

    def test_a_thread_that_waits_for_its_vfork_child(self):
        # Nobody can stop it; /proc tells where it is, but not the register in which vfork()
        # keeps its return address.
        self.survive("vfork_parent", silent=1, unwound={"deaf": "__vfork"})

    def test_a_thread_that_a_tracer_has_stopped(self):
        self.survive("stopped_by_tracer", silent=1, unwound={"deaf": "victim::Park"})

    def test_threads_that_libc_does_not_know(self):
        self.survive(
            "raw_threads", threads=4,
            unwound={f"raw{n}": "torture::RawThreadBody" for n in range(3)},
        )  # fmt: skip

    def test_a_thread_that_libc_does_not_know_crashes(self):
        self.survive("raw_crasher", unwound=_STANDING)

    def test_a_thread_under_a_storm_of_signals(self):
        # The sender may be in pthread_kill(), where libc blocks every signal.
        self.survive(
            "pending_signals", silent=None, unwound={"spinner": "torture::SpinUnderSignals"}
        )

    def test_all_fault_together(self):
        for count in (8, 200):
            with self.subTest(threads=count):
                _, _, stacks = self.survive_in(
                    torture.LINKED, "all_at_once", str(count), crashers=(), threads=count + 1
                )
                # Some have faulted, the others were on their way.
                there = [1 for stack in stacks.values() if "torture::CrashTogether" in stack]
                self.assertEqual(len(there), count)

    def test_eight_with_different_signals(self):
        numbers = {
            signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP,
            signal.SIGQUIT, signal.SIGXCPU, signal.SIGSYS,
        }  # fmt: skip
        for build in torture.BUILDS:
            for _ in range(torture.many(2, 100)):
                child = self.run_child(build, "different_signals")
                self.assertIn(child.signal, numbers)
                crasher = f"crasher{child.signal}"
                self.check_core(child, child.core, child.signal, (crasher,), threads=9)
                self.check_report(child.core, silent=0)

    def test_a_thread_that_could_not_be_stopped_faults_during_the_dump(self):
        self.survive(
            "while_another_dumps", "16", options="path=core.late", silent=1, control=False
        )

    def test_signals_that_end_the_process_come_before_all_threads_stand_still(self):
        # The kernel's dump kills the other threads first.
        self.survive(
            "signalled_before_all_stand_still", silent=1, control=False,
            unwound={"sender": "torture::SignalTheProcess"},
        )  # fmt: skip
