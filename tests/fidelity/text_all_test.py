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
    def test_every_frame_is_found_by_what_is_in_the_core(self):
        scratch = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, scratch)
        # Files of our own, so that they can go away.
        here = scratch / "bin"
        here.mkdir()
        for file in (_BUILT / "threads", _BUILT / "libfidelity_plugin.so", _PRELOAD):
            shutil.copy(file, here)
        core = crash.run_small(
            here / "threads", scratch / "crash", (), here / _PRELOAD.name, "text=all"
        )
        real, _, _ = gdb.run("frames_probe.py", here / "threads", core, {}, scratch)
        self.assertEqual(sorted(map(int, real)), sorted(elf_core.thread_ids(core)))
        self.assertGreater(sum(map(len, real.values())), 100)
        shutil.rmtree(here)
        root = scratch / "root"
        done = subprocess.run([_MINICORE, "unpack", core, root], stdout=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0)
        (scratch / "empty").mkdir()
        answer, said, _ = gdb.run(
            "frames_probe.py", str(root) + str(here / "threads"), core, {}, scratch,
            ("-iex", f"set sysroot {root}", "-iex", f"set debug-file-directory {scratch / 'empty'}"),
        )  # fmt: skip
        for tid, frames in real.items():
            where = [frame[:2] for frame in frames]
            self.assertEqual([frame[:2] for frame in answer[tid]], where, f"thread {tid}")
        functions = {frame[2] for frames in answer.values() for frame in frames}
        self.assertIn("PluginRun", functions)  # by the dynamic symbols
        self.assertNotIn("BFD: warning", said)


if __name__ == "__main__":
    unittest.main()
