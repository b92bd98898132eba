"""A long life: threads that allocate, resize, tag and free as fast as they can, and are
killed at a random instant. Every core is valid, no published object is missing from its
index, and the index reports none that does not live."""

import os
import pathlib
import signal
import subprocess

from tests.torture import torture

_CHECK = pathlib.Path.cwd() / "tests" / "torture" / "storm_check"


class Storm(torture.Torture):
    def crash(self, seed):
        storm = pathlib.Path(os.environ["TEST_TMPDIR"]) / f"storm.{seed}"
        self.addCleanup(storm.unlink, missing_ok=True)
        # Room for the planes of the index, which the storm asks to keep.
        child = self.run_child(
            torture.LINKED, "storm", str(storm), str(seed),
            options="max_bytes=1G:object_bytes=1G",
        )  # fmt: skip
        self.assertEqual(child.signal, signal.SIGSEGV)
        self.check_core(
            child, child.core, signal.SIGSEGV, crashers=[f"storm{n}" for n in range(6)],
            threads=7, verified=seed % 10 == 0,
        )  # fmt: skip
        self.check_report(child.core, silent=0)
        done = subprocess.run(
            [_CHECK, child.core, storm], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        child.discard()

    def test_killed_at_random_instants(self):
        first = int(os.environ.get("TORTURE_SEED", "1"))
        for seed in range(first, first + torture.many(50, 2000)):
            with self.subTest(seed=seed):
                self.crash(seed)
