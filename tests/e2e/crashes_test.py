"""However a program dies, it leaves one whole core with the right thread and the right
signal, and its parent sees the wait status that it would have seen anyway."""

import os
import signal
import unittest

from tests.support import cores, gdb, victim


def said(child):
    """Standard error; assert() starts it with the name of the program."""
    return child.stderr.replace(os.path.basename(child.victim.program), "PROGRAM")


class Crashes(unittest.TestCase):
    def crash(self, build, arguments, **how):
        child = victim.run(build, *arguments, **how)
        self.addCleanup(child.discard)
        return child

    def expect(
        self,
        scenario,
        signal_number,
        function,
        worker=False,
        crashers=("crasher",),
        threads=None,
        **how,
    ):
        """Crashes each build with and without the kernel's core; compares statuses."""
        arguments = [scenario] + (["--worker"] if worker else [])
        for build in cores.BUILDS:
            with self.subTest(build=build.name):
                child = None
                for kernel_core in (False, True):
                    control = self.crash(
                        victim.PLAIN, arguments, kernel_core=kernel_core, **how
                    )
                    child = self.crash(build, arguments, kernel_core=kernel_core, **how)
                    self.assertEqual(control.signal, signal_number)
                    self.assertEqual(
                        victim.describe(child.status), victim.describe(control.status)
                    )
                    self.assertEqual(child.status, control.status)
                    self.assertEqual(said(child), said(control))
                self.check_core(child, signal_number, function, crashers)
                if threads is None:
                    threads = 5 if worker else 4
                self.assertEqual(len(self.answers.threads), threads)
                for fact in child.facts:
                    if fact["name"].startswith("thread.bystander"):
                        functions = self.answers.functions(fact["value"])
                        self.assertIn("victim::Park", functions)

    def check_core(self, child, signal_number, function, crashers=("crasher",)):
        core = cores.of(child)
        cores.verify(core)
        number = gdb.Ask("$_siginfo.si_signo")
        self.answers = answers = gdb.ask(child.victim.program, core, [number])
        self.assertIn(answers.current, {child.thread(name) for name in crashers})
        self.assertEqual(answers.value(number), signal_number)
        self.assertIn(f"terminated with signal {signal.Signals(signal_number).name}",
                      answers.log)  # fmt: skip
        self.assertIn("victim::" + function, answers.functions(answers.current))

    def test_null_write_in_main(self):
        self.expect("null_write", signal.SIGSEGV, "WriteToNull")

    def test_null_write_in_worker(self):
        self.expect("null_write", signal.SIGSEGV, "WriteToNull", worker=True)

    def test_null_call_in_worker(self):
        self.expect("null_call", signal.SIGSEGV, "JumpToNull", worker=True)

    def test_abort_in_main(self):
        self.expect("abort", signal.SIGABRT, "CallAbort")

    def test_abort_in_worker(self):
        self.expect("abort", signal.SIGABRT, "CallAbort", worker=True)

    def test_uncaught_exception_in_main(self):
        self.expect("terminate", signal.SIGABRT, "ThrowUncaught")

    def test_uncaught_exception_in_worker(self):
        self.expect("terminate", signal.SIGABRT, "ThrowUncaught", worker=True)

    def test_failed_assertion_in_main(self):
        self.expect("assert", signal.SIGABRT, "FailAssertion")

    def test_failed_assertion_in_worker(self):
        self.expect("assert", signal.SIGABRT, "FailAssertion", worker=True)

    def test_division_by_zero_in_worker(self):
        self.expect("divide", signal.SIGFPE, "DivideByZero", worker=True)

    def test_illegal_instruction_in_main(self):
        self.expect("illegal", signal.SIGILL, "RunIllegalInstruction")

    def test_breakpoint_in_worker(self):
        self.expect("trap", signal.SIGTRAP, "RunBreakpoint", worker=True)

    def test_bus_error_in_main(self):
        self.expect("bus", signal.SIGBUS, "ReadBehindTheEndOfAFile")

    def test_forbidden_system_call_in_worker(self):
        self.expect("seccomp", signal.SIGSYS, "MakeForbiddenSystemCall", worker=True)

    def test_raised_quit_in_main(self):
        self.expect("quit", signal.SIGQUIT, "RaiseQuit")

    def test_stack_overflow_in_main(self):
        self.expect("overflow", signal.SIGSEGV, "OverflowTheStack")

    def test_stack_overflow_in_worker(self):
        self.expect("overflow", signal.SIGSEGV, "OverflowTheStack", worker=True)

    def test_every_other_thread_has_every_signal_blocked(self):
        self.expect("signals_blocked", signal.SIGSEGV, "WriteToNull")

    def test_crash_in_worker_while_the_others_have_every_signal_blocked(self):
        self.expect("signals_blocked", signal.SIGSEGV, "WriteToNull", worker=True)

    def test_eight_threads_fault_at_the_same_time(self):
        self.expect(
            "eight_at_once", signal.SIGSEGV, "WriteToNull",
            crashers=[f"crasher{n}" for n in range(8)], threads=9,
        )  # fmt: skip

    def test_segv_sent_with_kill_to_main(self):
        self.expect(
            "signalled", signal.SIGSEGV, "WaitForASignal",
            when_ready=lambda child: os.kill(child.pid, signal.SIGSEGV),
        )  # fmt: skip

    def test_segv_sent_with_kill_reaches_the_one_worker_that_does_not_block_it(self):
        self.expect(
            "signalled", signal.SIGSEGV, "WaitForASignal", worker=True,
            when_ready=lambda child: os.kill(child.pid, signal.SIGSEGV),
        )  # fmt: skip

    def test_every_signal_that_dumps_core_sent_with_kill(self):
        for number in victim.SIGNALS_OF_CORE:
            with self.subTest(signal=number.name):
                self.expect(
                    "signalled", number, "WaitForASignal",
                    when_ready=lambda child, number=number: os.kill(child.pid, number),
                )  # fmt: skip

    def test_signals_that_do_not_dump_core_leave_none(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1, signal.SIGPIPE):
            for build in cores.BUILDS:
                with self.subTest(signal=number.name, build=build.name):
                    child = self.crash(
                        build, ["signalled"], kernel_core=True,
                        when_ready=lambda child: os.kill(child.pid, number),
                    )  # fmt: skip
                    self.assertEqual(child.status, number)
                    self.assertEqual(child.files(), [])

    def test_crash_in_a_forked_child(self):
        for build in cores.BUILDS:
            with self.subTest(build=build.name):
                child = self.crash(build, ["fork"], kernel_core=True)
                self.assertEqual(child.status, 0)
                self.assertEqual(
                    victim.describe(child.fact("forked.status")), "SIGSEGV, core dumped"
                )
                self.check_core(child, signal.SIGSEGV, "WriteToNull", ["forked"])
