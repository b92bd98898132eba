"""With text=all a core has its backtraces where the program and its libraries are not.

gdb finds functions and unwinds frames by files. `minicore unpack` makes them of what is in
the core; here they are all that gdb has, and every frame must be where it is with the real
ones.
"""

import pathlib
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


class WithoutFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(tempfile.mkdtemp())
        # Files of our own, so that they can go away.
        here = cls.scratch / "bin"
        here.mkdir()
        for file in (_BUILT / "threads", _BUILT / "libfidelity_plugin.so", _PRELOAD):
            shutil.copy(file, here)
        cls.core = crash.run_small(
            here / "threads", cls.scratch / "crash", (), here / _PRELOAD.name, "text=all"
        )
        cls.real, _, _ = gdb.run("frames_probe.py", here / "threads", cls.core, {}, cls.scratch)
        shutil.rmtree(here)
        done = subprocess.run(
            [_MINICORE, "unpack", cls.core, "root"], cwd=cls.scratch, stdout=subprocess.PIPE, text=True
        )
        assert done.returncode == 0
        root = cls.scratch / "root"
        cls.program = str(root) + str(here / "threads")
        cls.sysroot = ("-iex", f"set sysroot {root}")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.scratch)

    def frames(self, *extra):
        answer, said, _ = gdb.run(
            "frames_probe.py", self.program, self.core, {}, self.scratch, (*self.sysroot, *extra)
        )
        self.assertNotIn("warning", said)
        for tid, frames in self.real.items():
            where = [frame[:2] for frame in frames]
            self.assertEqual([frame[:2] for frame in answer[tid]], where, f"thread {tid}")
        return answer

    def test_the_real_files_show_every_thread(self):
        self.assertEqual(sorted(map(int, self.real)), sorted(elf_core.thread_ids(self.core)))
        self.assertGreater(sum(map(len, self.real.values())), 100)

    def test_every_frame_is_found_by_what_is_in_the_core(self):
        empty = self.scratch / "empty"
        empty.mkdir()
        answer = self.frames("-iex", f"set debug-file-directory {empty}")
        functions = {frame[2] for frames in answer.values() for frame in frames}
        self.assertIn("PluginRun", functions)  # by the dynamic symbols

    def test_what_a_separate_debug_file_says_is_said_of_the_right_place(self):
        answer = self.frames()
        compared = 0
        for tid, frames in self.real.items():
            for frame, (pc, _, function, library) in zip(answer[tid], frames):
                if library is None or not library.endswith("/libc.so.6"):
                    continue  # Debian's libc6-dbg is installed, and nothing else
                self.assertEqual(frame[2], function, f"thread {tid} at {pc:#x}")
                compared += 1
        self.assertGreater(compared, 10)


if __name__ == "__main__":
    unittest.main()
