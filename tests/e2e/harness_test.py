"""The harness itself: it finds what is there, and notices what is wrong."""

import shutil
import struct
import unittest

from tests.support import contents, cores, gdb, victim


class Contents(unittest.TestCase):
    needle = contents.of(7, 200)

    def found(self, data):
        return contents.found(data, {"needle": self.needle}).get("needle", [])

    def test_a_copy_is_found_at_any_alignment(self):
        for offset in range(16):
            data = b"." * offset + self.needle + b"."
            self.assertEqual(self.found(data), [(offset, 200)])

    def test_any_16_bytes_are_found(self):
        for begin in range(200 - 16 + 1):
            data = b"..." + self.needle[begin : begin + 16] + b"...."
            self.assertEqual(self.found(data), [(3, 16)])

    def test_15_bytes_are_not(self):
        for begin in range(200 - 15 + 1):
            self.assertEqual(self.found(b"..." + self.needle[begin : begin + 15] + b"..."), [])

    def test_every_copy_is_found(self):
        data = self.needle[:40] + b"-" * 5 + self.needle + b"-" + self.needle[99:]
        self.assertEqual(self.found(data), [(0, 40), (45, 200), (246, 101)])


class DamagedCores(unittest.TestCase):
    """One core, damaged in ways that each must be noticed."""

    @classmethod
    def setUpClass(cls):
        cls.child = victim.run(victim.LINKED, "service")
        cls.whole = cls.child.core.read_bytes()

    @classmethod
    def tearDownClass(cls):
        cls.child.discard()

    def damaged(self, data):
        path = self.child.outside / "damaged"
        path.write_bytes(data)
        return path

    def ask(self, core, *questions):
        return gdb.ask(self.child.victim.program, core, questions)

    def test_the_whole_core_is_sound(self):
        cores.verify(self.child.core)

    def test_a_truncated_core_is_noticed(self):
        with self.assertRaises(AssertionError):
            cores.verify(self.damaged(self.whole[: len(self.whole) // 2]))

    def test_one_changed_value_is_noticed(self):
        question = gdb.Ask("victim::g_requests")
        self.assertEqual(self.ask(self.child.core, question).value(question), 1234567)
        old, new = struct.pack("<Q", 1234567), struct.pack("<Q", 1234568)
        self.assertEqual(self.whole.count(old), 1)
        core = self.damaged(self.whole.replace(old, new))
        self.assertEqual(self.ask(core, question).value(question), 1234568)

    def test_an_object_that_is_missing_is_an_error_and_not_a_value(self):
        question = gdb.Ask("names", self.child.thread("holder"), "victim::HoldContainers")
        text = b"name number 597"
        self.assertIn(text.decode(), self.ask(self.child.core, question).value(question))
        # Every segment that holds the text goes elsewhere.
        core = bytearray(self.whole)
        first, size, count = struct.unpack_from("<Q14xHH", core, 32)
        for header in range(first, first + size * count, size):
            kind, _, offset, _, _, in_file = struct.unpack_from("<IIQQQQ", core, header)
            if kind == 1 and text in self.whole[offset : offset + in_file]:
                struct.pack_into("<Q", core, header + 16, 0x1000)
        answers = self.ask(self.damaged(core), question)
        self.assertIsNotNone(answers.error(question))
        with self.assertRaises(AssertionError):
            answers.value(question)

    def test_no_core_and_two_cores_are_noticed(self):
        second = self.child.directory / "core.second"
        shutil.copy(self.child.core, second)
        with self.assertRaisesRegex(AssertionError, "expected one core"):
            _ = self.child.core
        second.rename(self.child.directory / "core.x.part")
        with self.assertRaisesRegex(AssertionError, "expected one core"):
            _ = self.child.core
        (self.child.directory / "core.x.part").unlink()
        cores.verify(self.child.core)


class Children(unittest.TestCase):
    def test_a_child_that_hangs_is_ended_and_reported(self):
        with self.assertRaisesRegex(AssertionError, "did not end"):
            victim.run(victim.Victim("sleep", "/bin/sleep"), "1000", timeout=1)

    def test_a_fact_that_was_not_stated_is_reported(self):
        child = victim.run(victim.PLAIN, "null_write")
        self.addCleanup(child.discard)
        with self.assertRaisesRegex(AssertionError, "0 facts 'missing'"):
            child.fact("missing")

    def test_the_wait_status_is_the_kernels(self):
        for kernel_core in (False, True):
            child = victim.run(victim.PLAIN, "null_write", kernel_core=kernel_core)
            self.addCleanup(child.discard)
            self.assertEqual(child.status, 11 | (0x80 if kernel_core else 0))
