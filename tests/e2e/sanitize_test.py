"""With sanitize=words no debugger loses a frame, and what is no pointer is gone; nor where not
all secrets can be known."""

import re
import shutil
import subprocess
import unittest

from tests.support import cores, victim

THREADS = ["main", "deep", "plugin", "holder", "crasher"]
LLDB = next(
    filter(shutil.which, ["lldb", *(f"lldb-{version}" for version in range(40, 13, -1))]), "lldb"
)
# How each debugger begins a thread, and names the function of a frame.
DEBUGGERS = {
    "gdb": (
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off",
         "-ex", "thread apply all bt", "{program}", "{core}"],
        re.compile(r"^Thread \d+ .*\(LWP (\d+)\)"),
        re.compile(r"^#\d+ +(?:0x\w+ in )?((?!0x)[\w:~<?][\w:~<> ,?]*) \("),
    ),
    "eu-stack": (
        ["eu-stack", "--core={core}", "--executable={program}"],
        re.compile(r"^TID (\d+):"),
        re.compile(r"^#\d+ +0x\w+ ([\w:~]+)"),
    ),
    "lldb": (
        [LLDB, "-b", "-o", "target create --core {core} {program}",
         "-o", "thread list", "-o", "bt all"],
        re.compile(r"^[* ] thread #(\d+),"),
        re.compile(r"frame #\d+: 0x\w+ [^`]*`([\w:~]+)"),
    ),
}  # fmt: skip


def functions(debugger, program, core):
    """Returns: {thread: functions of its frames, innermost first}."""
    command, thread, frame = DEBUGGERS[debugger]
    arguments = [part.format(program=program, core=core) for part in command]
    for attempt in range(3):  # lldb locks itself up now and then
        try:
            done = subprocess.run(
                arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL, text=True, timeout=60,
            )  # fmt: skip
            break
        except subprocess.TimeoutExpired:
            if attempt == 2:
                raise
    # lldb has numbers of its own, and says once what they stand for.
    tids = dict(re.findall(r"thread #(\d+): tid = (\d+)", done.stdout))
    found, now = {}, []
    for line in done.stdout.splitlines():
        if match := thread.search(line):
            now = found.setdefault(int(tids.get(match[1], match[1])), [])
        elif match := frame.search(line):
            now.append(match[1])
    return found


PLAIN, SANITIZED, UNCERTAIN = "verbose=0", "sanitize=words", "secret_bytes=1"


class Sanitize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.children = {
            options: victim.run(victim.LINKED, "service", options=options)
            for options in (PLAIN, SANITIZED, UNCERTAIN)
        }

    @classmethod
    def tearDownClass(cls):
        for child in cls.children.values():
            child.discard()

    def backtraces(self, debugger, options):
        child = self.children[options]
        found = functions(debugger, child.victim.program, child.core)
        return {name: found.get(child.thread(name)) for name in THREADS}

    def test_backtraces_are_whole_in_every_debugger(self):
        for debugger in DEBUGGERS:
            if shutil.which(DEBUGGERS[debugger][0][0]) is None:
                continue
            with self.subTest(debugger=debugger):
                plain = self.backtraces(debugger, PLAIN)
                for name in THREADS:
                    self.assertGreater(len(plain[name] or []), 1, name)
                self.assertGreater(len(plain["deep"]), 20)
                for options in (SANITIZED, UNCERTAIN):
                    self.assertEqual(self.backtraces(debugger, options), plain, options)

    def test_gdb_takes_no_thread_for_one_that_ends(self):
        child = self.children["sanitize=words"]
        done = subprocess.run(
            ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off",
             "-ex", "info threads", child.victim.program, child.core],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            text=True, timeout=60,
        )  # fmt: skip
        for name in THREADS:
            self.assertRegex(done.stdout, rf"\(LWP {child.thread(name)}\)")
        self.assertNotIn("Exiting", done.stdout)

    def test_words_are_elided_and_the_core_is_sound(self):
        plain = cores.info(self.children[PLAIN].core)
        self.assertNotIn("sanitized", plain["holes_by_reason"])
        for options in (SANITIZED, UNCERTAIN):
            sanitized = cores.info(self.children[options].core)
            self.assertGreater(sanitized["holes_by_reason"]["sanitized"]["bytes"], 1000)
            cores.verify(self.children[options].core)
