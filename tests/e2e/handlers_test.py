"""minicore stands where the kernel's default action stands: it never disturbs a handler
of the program's own, and nobody who asks sees it."""

import signal
import unittest

from tests.support import cores, gdb, victim


class Handlers(unittest.TestCase):
    def run_child(self, build, *arguments, **how):
        child = victim.run(build, *arguments, **how)
        self.addCleanup(child.discard)
        return child

    def expect_exit(self, build, scenario, status, *arguments):
        control = self.run_child(victim.PLAIN, scenario, *arguments)
        child = self.run_child(build, scenario, *arguments)
        self.assertEqual(victim.describe(control.status), f"exit {status}")
        self.assertEqual(child.status, control.status)
        self.assertEqual(child.files(), [])
        self.assertEqual(child.stderr, control.stderr)
        return child

    def expect_core(self, build, scenario, *arguments):
        """Returns what gdb says of the core."""
        control = self.run_child(victim.PLAIN, scenario, *arguments, kernel_core=True)
        child = self.run_child(build, scenario, *arguments, kernel_core=True)
        self.assertEqual(control.signal, signal.SIGSEGV)
        self.assertEqual(child.status, control.status)
        cores.verify(cores.of(child))
        number = gdb.Ask("$_siginfo.si_signo")
        code = gdb.Ask("$_siginfo.si_code")
        answers = gdb.ask(child.victim.program, cores.of(child), [number, code])
        self.assertEqual(answers.current, child.thread("crasher"))
        self.assertEqual(answers.value(number), signal.SIGSEGV)
        # As the kernel says it of the same crash.
        kernel = gdb.ask(child.victim.program, child.kernel_core, [number, code])
        self.assertEqual(answers.value(code), kernel.value(code))
        self.assertIn("victim::WriteToNull", answers.functions(answers.current))
        return answers

    @cores.each_build
    def test_a_handler_that_recovers_goes_on(self, build):
        child = self.expect_exit(build, "handler_recovers", 0)
        self.assertEqual(child.fact("recovered"), 100)

    @cores.each_build
    def test_a_handler_that_exits_decides_the_status(self, build):
        self.expect_exit(build, "handler_exits", 42)
        self.expect_exit(build, "handler_exits", 42, "--worker")

    @cores.each_build
    def test_a_handler_runs_on_the_programs_own_alternate_stack(self, build):
        child = self.expect_exit(build, "handler_stack", 42)
        self.assertTrue(child.fact("alternate_stack_is_mine"))

    @cores.each_build
    def test_a_handler_that_restores_the_default_and_raises_leaves_a_core(self, build):
        # The signal is blocked while its handler runs: it arrives at the return.
        for arguments in ([], ["--worker"]):
            answers = self.expect_core(build, "handler_raises", *arguments)
            self.assertEqual(answers.functions(answers.current)[0], "victim::WriteToNull")

    @cores.each_build
    def test_the_stack_goes_through_a_handler_that_raises_down_to_the_fault(self, build):
        for arguments in ([], ["--worker"]):
            answers = self.expect_core(build, "handler_raises_inside", *arguments)
            functions = answers.functions(answers.current)
            self.assertIn("victim::RestoreAndRaise", functions)
            self.assertLess(functions.index("victim::RestoreAndRaise"),
                            functions.index("victim::WriteToNull"))  # fmt: skip

    @cores.each_build
    def test_a_handler_that_restores_the_default_and_returns_leaves_a_core(self, build):
        for arguments in ([], ["--worker"]):
            answers = self.expect_core(build, "handler_returns", *arguments)
            self.assertEqual(answers.functions(answers.current)[0], "victim::WriteToNull")

    @cores.each_build
    def test_a_handler_for_one_time_leaves_a_core_the_second_time(self, build):
        for arguments in ([], ["--worker"]):
            answers = self.expect_core(build, "handler_once", *arguments)
            self.assertEqual(answers.functions(answers.current)[0], "victim::WriteToNull")

    @cores.each_build
    def test_a_handler_for_one_time_is_the_parents_after_a_vfork_child_has_run_it(self, build):
        child = self.expect_exit(build, "handler_once_vfork", 0)
        self.assertEqual(child.fact("runs_in_child"), 1)
        self.assertEqual(child.fact("runs_in_both"), 2)

    @cores.each_build
    def test_a_fault_whose_signal_is_ignored_leaves_a_core(self, build):
        # The kernel lets nobody ignore a fault.
        for arguments in ([], ["--worker"]):
            answers = self.expect_core(build, "handler_ignores", *arguments)
            self.assertEqual(answers.functions(answers.current)[0], "victim::WriteToNull")
        self.assertEqual(self.run_child(build, "handler_ignores").fact("shown"), 6)

    @cores.each_build
    def test_sigaction_never_shows_our_handler(self, build):
        child = self.run_child(build, "dispositions")
        self.assertEqual(victim.describe(child.status), "exit 0", child.stderr)
        self.assertEqual(child.fact("defaults"), len(victim.SIGNALS_OF_CORE))
        self.assertEqual(child.fact("no_flags"), len(victim.SIGNALS_OF_CORE))
        self.assertEqual(child.fact("empty_masks"), len(victim.SIGNALS_OF_CORE))
        self.assertTrue(child.fact("replaced_default"))

    @cores.each_build
    def test_a_program_is_told_what_it_is_told_without_minicore(self, build):
        def told(child):
            facts = {fact["name"]: fact["value"] for fact in child.facts}
            return {name: facts[name] for name in facts if not name.startswith("thread.")}

        child = self.expect_exit(build, "dispositions", 0)
        control = self.run_child(victim.PLAIN, "dispositions")
        self.assertEqual(told(child), told(control))

    @cores.each_build
    def test_sigaction_and_signal_show_the_programs_own_handlers(self, build):
        child = self.run_child(build, "dispositions")
        self.assertTrue(child.fact("mine_is_shown"))
        self.assertTrue(child.fact("signal_returns_mine"))
        self.assertTrue(child.fact("signal_returns_default"))
        self.assertTrue(child.fact("signal_returns_ignore"))

    @cores.each_build
    def test_sigaction_shows_handlers_for_one_time_until_they_have_run(self, build):
        child = self.run_child(build, "dispositions")
        self.assertTrue(child.fact("once_is_shown"))
        self.assertTrue(child.fact("once_is_gone_after_it_ran"))
        self.assertTrue(child.fact("plain_once_is_shown"))
        self.assertTrue(child.fact("once_can_be_replaced"))

    @cores.each_build
    def test_an_ignored_signal_stays_ignored(self, build):
        child = self.expect_exit(build, "dispositions", 0)
        self.assertTrue(child.fact("ignored_quit_is_ignored"))
