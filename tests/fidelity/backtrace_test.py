"""`minicore info` shows the backtraces that gdb and eu-stack show.

Compared are the program counters of all frames of all threads, and the functions of the
victim's own. gdb knows what inlined calls there are as well; eu-stack is told not to show them.
"""

import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import unittest

from tests.fidelity import crash
from tests.fidelity import elf_core
from tests.fidelity import gdb

_BUILT = pathlib.Path.cwd() / "tests" / "fidelity"
_PRELOAD = pathlib.Path.cwd() / "libminicore.so"
_MINICORE = pathlib.Path.cwd() / "tools" / "minicore"
_TIMEOUT_S = 120


def info(core, *options):
    done = subprocess.run(
        [_MINICORE, "info", "--json", *options, core],
        stdout=subprocess.PIPE, check=True, timeout=_TIMEOUT_S,
    )  # fmt: skip
    return json.loads(done.stdout)


def text_of(core, *options):
    done = subprocess.run(
        [_MINICORE, "info", *options, core], stdout=subprocess.PIPE, text=True, check=True,
        timeout=_TIMEOUT_S,
    )  # fmt: skip
    return done.stdout


def by_thread(answer):
    return {thread["tid"]: thread["frames"] for thread in answer["threads"] if "frames" in thread}


def physical(frames):
    return [frame for frame in frames if not frame["inlined"]]


def addresses(frames):
    return [int(frame["address"], 16) for frame in physical(frames)]


def eu_stack(program, core):
    done = subprocess.run(
        ["eu-stack", f"--core={core}", f"--executable={program}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=_TIMEOUT_S,
        env={**os.environ, "DEBUGINFOD_URLS": ""},
    )  # fmt: skip
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("TID "):
            frames = found.setdefault(int(line[4:].rstrip(":")), [])
        elif line.startswith("#"):
            frames.append(int(line.split()[1], 16))
    return found


def bare(function):
    """Without what tools write in ways of their own: types, arguments."""
    name = function.replace("(anonymous namespace)", "anonymous")
    return re.sub(r"[(<].*| \[clone.*", "", name).split(" ")[-1]


class BacktraceTest(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.scratch)

    def crash(self, program, *arguments, options=""):
        return crash.run_small(
            program, self.scratch / f"crash.{len(list(self.scratch.iterdir()))}", arguments,
            _PRELOAD, options,
        )  # fmt: skip

    def compare(self, program, core):
        found = by_thread(info(core, "--threads"))
        expected, _, _ = gdb.run("frames_probe.py", program, core, {}, self.scratch)
        self.assertEqual(sorted(found), sorted(elf_core.thread_ids(core)))
        own = 0
        for tid, frames in expected.items():
            shown = physical(found[int(tid)])
            self.assertEqual(
                [frame["address"] for frame in shown],
                [f"{pc:#x}" for pc, _, _, _ in frames], f"thread {tid}",
            )  # fmt: skip
            for (_, _, function, library), frame in zip(frames, shown):
                if library is None and function is not None and not frame["signal_handler"]:
                    self.assertIn(bare(function),
                                  frame["function"].replace("(anonymous namespace)", "anonymous"))
                    own += 1
        self.assertGreater(own, 2)
        return found

    def test_every_frame_of_every_thread_is_where_gdb_and_eu_stack_see_it(self):
        for name in ("threads", "threads_o2", "objects_no_pie", "containers_static"):
            with self.subTest(victim=name):
                program = _BUILT / name
                core = self.crash(program)
                found = self.compare(program, core)
                for tid, frames in eu_stack(program, core).items():
                    self.assertEqual(addresses(found[tid]), frames)

    def test_without_the_option_it_is_the_crashed_thread_alone(self):
        core = self.crash(_BUILT / "threads")
        crashed = elf_core.thread_ids(core)[0]
        self.assertEqual(list(by_thread(info(core))), [crashed])
        text = text_of(core)
        self.assertEqual(text.count("\nBacktrace of thread "), 1)
        self.assertRegex(text, r"\n  #0  Crash\(\)\+0x[0-9a-f]+ in threads at \S*crash.h:\d+\n")
        self.assertGreater(text_of(core, "--threads").count("\nBacktrace of thread "), 3)

    def test_inlined_calls_have_their_lines(self):
        program = _BUILT / "calls"
        core = self.crash(program, "inlined")
        self.compare(program, core)
        frames = next(iter(by_thread(info(core)).values()))
        names = [bare(frame["function"]).split("::")[-1] for frame in frames[:5]]
        self.assertEqual(names, ["Crash", "Inner", "Middle", "Inlined", "Run"])
        self.assertEqual([frame["inlined"] for frame in frames[:5]], [False, True, True, False, False])
        source = (pathlib.Path.cwd() / "tests/fidelity/victims/calls.cc").read_text().splitlines()
        for frame, call in zip(frames[1:4], ("Crash();", "Inner(depth + 1);", "Middle(depth + 1);")):
            self.assertTrue(frame["file"].endswith("calls.cc"))
            self.assertIn(call, source[frame["line"] - 1])

    def test_a_call_of_a_null_pointer_has_its_caller(self):
        program = _BUILT / "calls"
        core = self.crash(program, "null")
        self.compare(program, core)
        frames = next(iter(by_thread(info(core)).values()))
        self.assertEqual(frames[0]["address"], "0x0")
        self.assertEqual(bare(frames[1]["function"]), "anonymous::CallNull")
        self.assertIn("  #0  0x0\n  #1  (anonymous namespace)::CallNull(int)+0x", text_of(core))

    def test_a_signal_handler_stands_between_what_it_interrupted_and_itself(self):
        program = _BUILT / "calls"
        for what, interrupted in (("handler", "Interrupted"), ("null_in_handler", "CallNull")):
            with self.subTest(what):
                core = self.crash(program, what)
                self.compare(program, core)
                frames = next(iter(by_thread(info(core)).values()))
                handlers = [i for i, frame in enumerate(frames) if frame["signal_handler"]]
                self.assertEqual(len(handlers), 1)
                self.assertIn("InHandler", frames[handlers[0] - 1]["function"])
                self.assertIn(f"anonymous::{interrupted}",
                              [bare(frame.get("function", "")) for frame in frames])
                self.assertRegex(text_of(core), r"\n  #\d+ +<signal handler called>\n")

    def test_a_trace_without_end_is_cut_and_its_repetitions_are_told_once(self):
        core = self.crash(_BUILT / "calls", "overflow")
        thread = info(core)["threads"][0]
        self.assertEqual(len(thread["frames"]), 128)
        self.assertIn("at most 128 frames", thread["frames_end"])
        text = text_of(core)
        self.assertEqual(len(re.findall(r"\n  #\d+ .*Recurse", text)), 2)
        self.assertRegex(text, r"\n  and 12\d more like it\n")

    def test_a_stack_overflow_is_named_in_the_first_sentence(self):
        for what in ("overflow", "worker_overflow"):
            core = self.crash(_BUILT / "calls", what)
            self.assertRegex(text_of(core), r"^Thread \d+ got SIGSEGV at 0x[0-9a-f]+: stack overflow\.\n")
        for what in ("null", "inlined", "handler", "null_in_handler"):
            self.assertFalse(info(self.crash(_BUILT / "calls", what))["stack_overflow"], what)

    def test_a_file_that_is_missing_or_another_is_remarked_upon_once(self):
        here = self.scratch / "bin"
        here.mkdir()
        for name in ("threads", "libfidelity_plugin.so"):
            shutil.copy(_BUILT / name, here)
        core = self.crash(here / "threads")
        self.assertNotIn("Frames may be", text_of(core))
        whole = self.crash(here / "threads", options="text=all")
        expected, _, _ = gdb.run("frames_probe.py", here / "threads", whole, {}, self.scratch)
        (here / "libfidelity_plugin.so").unlink()
        (here / "threads").unlink()
        shutil.copy(_BUILT / "objects", here / "threads")
        answer = info(core, "--threads")
        self.assertEqual(len(answer["remarks"]), 1)
        self.assertIn(f"{here}/threads has another build id", answer["remarks"][0])
        self.assertIn(f"{here}/libfidelity_plugin.so cannot be opened", answer["remarks"][0])
        self.assertIn("Frames may be missing or wrong", answer["remarks"][0])
        # Frames in what the core holds need no file.
        answer = info(whole, "--threads")
        self.assertEqual(len(answer["remarks"]), 1)
        self.assertIn("Names of functions may be missing", answer["remarks"][0])
        found = by_thread(answer)
        for tid, frames in expected.items():
            self.assertEqual(addresses(found[int(tid)]), [frame[0] for frame in frames])

    def test_files_are_found_below_another_root(self):
        here = self.scratch / "bin"
        here.mkdir()
        for name in ("threads", "libfidelity_plugin.so"):
            shutil.copy(_BUILT / name, here)
        core = self.crash(here / "threads")
        expected = by_thread(info(core, "--threads"))
        root = self.scratch / "root"
        for module in info(core)["modules"]:
            copy = root / module["path"].lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(module["path"], copy)
        shutil.rmtree(here)
        answer = info(core, "--threads", "--sysroot", root)
        self.assertEqual(answer["remarks"], [])
        self.assertEqual(by_thread(answer), expected)

    def test_a_damaged_core_is_answered_all_the_same(self):
        core = self.crash(_BUILT / "threads", options="text=all:max_bytes=64K")
        good = core.read_bytes()
        damaged = self.scratch / "damaged"
        for seed in range(25):
            chance = random.Random(seed)
            bytes_ = bytearray(good)
            for _ in range(40):
                # Mostly where tables and notes are.
                at = chance.randrange(len(bytes_) if chance.random() < 0.3 else 1 << 17)
                bytes_[at] = chance.randrange(256)
            bytes_[:64] = good[:64]
            damaged.write_bytes(bytes_)
            done = subprocess.run(
                [_MINICORE, "info", "--json", "--threads", damaged], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, timeout=_TIMEOUT_S,
            )  # fmt: skip
            self.assertIn(done.returncode, (0, 1), f"seed {seed}: {done.stderr}")
            if done.returncode == 0:
                json.loads(done.stdout)


if __name__ == "__main__":
    unittest.main()
