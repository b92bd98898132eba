"""A crash that finds the heap's locks held or its contents scribbled over leaves a whole
core all the same."""

import os
import signal
import unittest

from tests.support import cores, gdb, victim


class HeapCrashes(unittest.TestCase):
    def crash(self, build, *arguments, **how):
        child = victim.run(build, *arguments, kernel_core=True, **how)
        self.addCleanup(child.discard)
        return child

    def ask(self, child):
        cores.verify(cores.of(child))
        return gdb.ask(child.victim.program, cores.of(child))

    def expect(self, build, scenario, signal_number, function, threads):
        for worker in (False, True):
            with self.subTest(worker=worker):
                arguments = [scenario] + (["--worker"] if worker else [])
                control = self.crash(victim.PLAIN, *arguments)
                child = self.crash(build, *arguments)
                self.assertEqual(control.signal, signal_number)
                self.assertEqual(child.status, control.status, child.stderr)
                answers = self.ask(child)
                self.assertEqual(answers.current, child.thread("crasher"))
                self.assertEqual(len(answers.threads), threads + worker)
                self.assertIn("victim::" + function, answers.functions(answers.current))

    @cores.without_kernel("is of a program without our malloc")
    @cores.each_build
    def test_crash_inside_malloc_with_an_arena_lock_held(self, build):
        self.expect(build, "inside_malloc", signal.SIGSEGV, "CrashInExtentHook", threads=2)

    @cores.without_kernel("is of a program without our malloc")
    @cores.each_build
    def test_the_lock_was_held_indeed(self, build):
        """Another thread was waiting for it, inside malloc."""
        child = self.crash(build, "inside_malloc")
        functions = self.ask(child).functions(child.thread("waiter"))
        self.assertIn("victim::AllocateFromCrashingArena", functions)
        below_malloc = functions[: functions.index("victim::AllocateFromCrashingArena")]
        self.assertTrue(any("mutex_lock" in name for name in below_malloc), functions)

    @cores.without_kernel("is of a program without our malloc")
    @cores.each_build
    def test_a_signal_at_any_instant_of_threads_that_allocate(self, build):
        for attempt in range(12):
            with self.subTest(attempt=attempt):
                child = self.crash(
                    build, "hammered", environment={"MALLOC_CONF": "tcache:false"},
                    when_ready=lambda child: os.kill(child.pid, signal.SIGSEGV),
                )  # fmt: skip
                self.assertEqual(victim.describe(child.status), "SIGSEGV, core dumped")
                cores.verify(cores.of(child))
        answers = gdb.ask(child.victim.program, cores.of(child))
        self.assertEqual(len(answers.threads), 4)
        self.assertIn("victim::Hammer", answers.functions(answers.current))

    @cores.without_kernel("is of a program without our malloc")
    @cores.each_build
    def test_free_of_a_wild_pointer(self, build):
        child = self.crash(build, "wild_free")
        self.assertIsNotNone(child.signal)
        answers = self.ask(child)
        self.assertIn("victim::FreeWildPointer", answers.functions(answers.current))

    @cores.without_kernel("is of a program without our malloc")
    @cores.each_build
    def test_a_second_free_is_in_the_core_if_it_is_looked_for(self, build):
        child = self.crash(build, "double_free", options="check_free=1")
        self.assertEqual(child.signal, signal.SIGABRT)
        self.assertRegex(
            child.stderr,
            "minicore: free\\(\\) of 0x[0-9a-f]{16}, 0 bytes into a freed 48-byte allocation\n",
        )
        answers = self.ask(child)
        self.assertIn("victim::FreeForTheSecondTime", answers.functions(answers.current))

    @cores.each_build
    def test_crash_after_the_whole_heap_was_scribbled_over(self, build):
        self.expect(build, "heap_scribbled", signal.SIGSEGV, "ScribbleOverTheHeap", threads=1)

    @cores.each_build
    def test_abort_after_an_overrun(self, build):
        self.expect(build, "abort_after_overrun", signal.SIGABRT, "OverrunAndAbort", threads=1)
