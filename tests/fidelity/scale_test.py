"""Cores of many threads and objects: as few segments as allowed, and the right bytes."""

import pathlib
import re
import struct
import subprocess
import tempfile
import unittest

from tests.fidelity import bytes as memory_bytes
from tests.fidelity import crash
from tests.fidelity import elf_core
from tests.fidelity import own_data

_BUILT = pathlib.Path.cwd() / "tests" / "fidelity"
_PRELOAD = pathlib.Path.cwd() / "libminicore.so"
_CAP = 32768  # option `segments`
_MARKER = b"<ELIDED>"


def text_of(key):
    """As victims/large_container.cc has it."""
    words = [key * factor % 2**32 for factor in (2654435761, 2246822519)]
    return f"{key:08d}.{words[0]:08x}.{words[1]:08x}.{key * 6364136223 % 10**13:013d}"


def gdb_says(program, core, *commands):
    words = [word for command in commands for word in ("-ex", command)]
    return subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set width 0",
         str(program), "-c", str(core), *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", timeout=120,
    ).stdout  # fmt: skip


@unittest.skipIf(crash.kernel_core_problem(), "no kernel's cores to compare with")
class Scale(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = pathlib.Path(scratch.name) / "crash"

    def crash(self, name, count, options="", *arguments):
        directory = self.directory / "-".join(map(str, (name, count, *arguments)))
        return crash.run(_BUILT / name, directory, (*arguments, count), _PRELOAD, options)

    def check_segments(self, both, most):
        loads = [row for row in elf_core.segments(both.small) if row.kind == elf_core.PT_LOAD]
        self.assertLessEqual(len(loads), most)
        ignored = own_data.ranges(both.full, both.program, _PRELOAD)
        wrong, compared, _ = memory_bytes.wrong_ranges(both.full, both.small, ignored)
        self.assertEqual(wrong, [])
        self.assertGreater(compared, 1 << 20)

    def objects(self, both):
        """What is in the core of each object of the victim: its number, the marker's, or None."""
        said = gdb_says(both.program, both.small, "print/x *(long (*)[2])&g_objects")
        begin, end = (int(word, 16) for word in re.search(r"\{(0x\w+), (0x\w+)\}", said).groups())
        memory = elf_core.Memory(both.small)
        found = []
        for at in range(begin, end, 8):
            pointer = memory.read(at, 8)
            where = struct.unpack("<Q", pointer)[0] if len(pointer) == 8 else 0
            number = memory.read(where, 4)
            found.append(struct.unpack("<i", number)[0] if len(number) == 4 else None)
        return found

    def test_a_thousand_threads_are_all_there_with_their_locals(self):
        both = self.crash("many_threads", 1000)
        self.check_segments(both, _CAP)
        said = gdb_says(both.program, both.small, "thread apply all -q frame function Leaf", "info threads")
        names = re.findall(r'name="thread with the index (\d+)"', said)
        self.assertEqual(sorted(map(int, names)), list(range(1000)))
        self.assertEqual(len(elf_core.thread_ids(both.small)), 1001)

    def test_every_one_of_ten_thousand_objects_is_there(self):
        both = self.crash("many_objects", 10_000)
        self.check_segments(both, _CAP)
        self.assertEqual(self.objects(both), list(range(10_000)))

    def test_every_one_of_a_hundred_thousand_objects_is_there(self):
        both = self.crash("many_objects", 100_000)
        self.check_segments(both, _CAP)
        self.assertEqual(self.objects(both), list(range(100_000)))

    def elements(self, both, limit):
        """{key: text} of what gdb prints of the container, and whether that was all."""
        said = gdb_says(
            both.program, both.small, f"set print elements {limit}", "set print repeats 100",
            "frame function Hold", "print container",
        )  # fmt: skip
        found = re.findall(r'\[(\d+)\] = "([^"]*)"', said)
        return {int(key): text for key, text in found}, said.rstrip().endswith('"}')

    def test_a_scattered_container_within_the_budget_is_printed_whole(self):
        for kind in ("map", "unordered_map"):
            with self.subTest(container=kind):
                both = self.crash("large_container", 20_000, "", kind)
                self.check_segments(both, _CAP)
                found, whole = self.elements(both, "unlimited")
                self.assertEqual(found, {key: text_of(key) for key in range(20_000)})
                self.assertTrue(whole)

    def test_of_a_container_beyond_it_the_budget_is_kept_and_gdb_prints_its_usual_part(self):
        for kind in ("map", "unordered_map"):
            with self.subTest(container=kind):
                both = self.crash("large_container", 200_000, "", kind)
                self.check_segments(both, _CAP)
                # The budget, as much of fillers at the most, program headers and the rest.
                self.assertLess(both.small.stat().st_size, 2.4 * 8 * 2**20)
                self.assertNotIn(b"\nholes.segment_limit", both.small.read_bytes())
                found, _ = self.elements(both, 200)
                self.assertEqual(found, {key: text_of(key) for key in found})
                self.assertEqual(len(found), 100)  # and as many keys

    def test_with_few_segments_an_object_is_right_or_not_there(self):
        both = self.crash("many_objects", 100_000, "segments=200:max_bytes=3M")
        self.check_segments(both, 200)
        (marker,) = struct.unpack("<i", _MARKER[:4])
        objects = self.objects(both)
        wrong = [(i, number) for i, number in enumerate(objects) if number not in (i, marker, None)]
        self.assertEqual(wrong, [])
        self.assertGreater(sum(number == i for i, number in enumerate(objects)), 1000)


if __name__ == "__main__":
    unittest.main()
