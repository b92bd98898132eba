"""A core that was cut short, by a full disk or a copy that was broken off.

At 90 % of its length every tool has every backtrace, at 50 % that of the crashed thread, and
at 10 % it says at least who crashed, of what, and where.
"""

import pathlib
import re
import subprocess
import tempfile
import unittest

from tests.fidelity import crash
from tests.fidelity import elf_core
from tests.fidelity import lldb_view
from tests.fidelity import other_views

_BUILT = pathlib.Path.cwd() / "tests" / "fidelity"
_PRELOAD = pathlib.Path.cwd() / "libminicore.so"
_TIMEOUT_S = 120


def gdb_says(program, core, *commands):
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set width 0",
         "-iex", "set print frame-arguments none", *words, str(program), "-c", str(core)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=_TIMEOUT_S, text=True, errors="replace",
    )  # fmt: skip
    return done.stdout


def gdb_backtraces(program, core):
    said = gdb_says(program, core, "thread apply all bt")
    return {
        int(tid): re.findall(r"^#.*", text, re.MULTILINE)
        for tid, text in re.findall(r"^Thread \d+ .*?LWP (\d+)\).*?:\n(.*?)(?=^Thread |\Z)", said, re.M | re.S)
    }


def _of_sections(sections):
    found = {}
    for name, text in sections.items():
        thread = re.match(r"backtrace of thread (\d+)$", name)
        if thread:
            # Addresses and functions; arguments may be in what was cut off.
            found[int(thread.group(1))] = re.findall(r"0x[0-9a-f]{8,}\s+[^\s(]*", text)
    return found


def _lldb_backtraces(program, core):
    name, command = list(lldb_view.versions().items())[-1]
    with tempfile.TemporaryDirectory() as scratch:
        return _of_sections(lldb_view.view(command, program, core, pathlib.Path(scratch), ()))


TOOLS = {
    "gdb": gdb_backtraces,
    "lldb": _lldb_backtraces,
    "eu-stack": lambda *core: _of_sections(other_views.eu_stack(*core)),
    "drgn": lambda *core: _of_sections(other_views.drgn(*core)),
}


class Truncated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        directory = pathlib.Path(cls.scratch.name)
        cls.program = _BUILT / "threads"
        cls.core = crash.run_small(cls.program, directory / "crash", (), _PRELOAD)
        cls.whole = cls.core.read_bytes()
        cls.tids = elf_core.thread_ids(cls.core)
        cls.backtraces = {name: tool(cls.program, cls.core) for name, tool in TOOLS.items()}

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def cut(self, percent):
        core = pathlib.Path(self.scratch.name) / f"core.{percent}"
        core.write_bytes(self.whole[: len(self.whole) * percent // 100])
        return core

    def test_the_whole_core_has_backtraces(self):
        for name, found in self.backtraces.items():
            with self.subTest(tool=name):
                self.assertEqual(sorted(found), sorted(self.tids))
                self.assertGreaterEqual(len(found[self.tids[0]]), 20)

    def test_at_90_percent_every_backtrace_is_there(self):
        core = self.cut(90)
        for name, tool in TOOLS.items():
            with self.subTest(tool=name):
                self.assertEqual(tool(self.program, core), self.backtraces[name])

    def test_at_50_percent_the_backtrace_of_the_crashed_thread_is_there(self):
        core = self.cut(50)
        for name, tool in TOOLS.items():
            with self.subTest(tool=name):
                found = tool(self.program, core)
                self.assertEqual(found.get(self.tids[0]), self.backtraces[name][self.tids[0]])

    def test_at_10_percent_gdb_says_who_crashed_and_where(self):
        said = gdb_says(self.program, self.cut(10), "info registers rip", "thread")
        self.assertIn("terminated with signal SIGSEGV", said)
        self.assertIn("Crash", said)
        self.assertIn(f"LWP {self.tids[0]}", said)


if __name__ == "__main__":
    unittest.main()
