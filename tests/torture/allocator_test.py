"""Crashes in the middle of the allocator: with its locks held, in its hooks, and between
any two instructions."""

import random
import re
import signal

from tests.torture import torture

# malloc_mutex_lock() is inlined everywhere: there are some 80 places that take a lock.
_FEWEST_SITES = 40


class Allocator(torture.Torture):
    def check_held(self, child, core):
        """What the crashed function's frame holds is in the core whole."""
        held = [fact for fact in child.facts if fact["name"].startswith("held.")]
        self.assertEqual(len(held), 64)
        for fact in held:
            letter = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"[int(fact["name"][5:]) % 26]
            contents = core.read(fact["value"], 200)
            self.assertIsNotNone(contents, fact)
            self.assertEqual(contents, bytes([letter]) * 200, fact)

    def crash_with_lock(self, build, number):
        """Returns whether the lock was taken: of some that depends on the time."""
        child, core, stacks = self.survive_in(
            build, "lock", str(number), crashers=(), control=False
        )  # fmt: skip
        reached = "torture::CrashWithLockHeld" in stacks[core.crashed.tid]
        if not reached:
            self.assertLessEqual(child.fact("sites"), number)
        return reached

    def sites(self, build):
        child = self.run_child(build, "lock")
        self.assertEqual(child.status, 0, child.stderr)
        sites = child.fact("sites")
        self.assertGreater(sites, _FEWEST_SITES)
        return sites

    def test_with_locks_of_jemalloc_held(self):
        for build in torture.BUILDS:
            sites = self.sites(build)
            missed = 0
            for number in range(0, sites, torture.every(6, 1)):
                with self.subTest(build=build.name, site=number):
                    missed += not self.crash_with_lock(build, number)
            self.assertLessEqual(missed, sites // 20)

    def test_in_an_extent_hook(self):
        for hook in ("alloc", "dalloc", "destroy", "purge", "split", "merge"):
            with self.subTest(hook=hook):
                self.survive("hook", hook, callers=["torture::CrashInHook"], control=False)

    def step(self, build, operation, steps):
        child, core, stacks = self.survive_in(
            build, "step", operation, str(steps), number=signal.SIGQUIT, function=None,
            callers=["torture::StepThrough"], control=False,
        )  # fmt: skip
        self.check_held(child, core)
        return stacks[core.crashed.tid][0]

    def each_instruction(self, operation):
        chance = random.Random(operation)
        for _ in range(torture.many(4, 300)):
            steps = int(10 ** chance.uniform(0, 4.5))
            for build in torture.BUILDS:
                with self.subTest(build=build.name, steps=steps):
                    self.step(build, operation, steps)

    def test_between_two_instructions_of_malloc(self):
        self.each_instruction("malloc")

    def test_between_two_instructions_of_free(self):
        self.each_instruction("free")

    def test_between_two_instructions_of_realloc(self):
        self.each_instruction("realloc")

    def test_between_two_instructions_of_minicore_tag(self):
        self.each_instruction("tag")
