"""Whose cores are under test, and whether a file is a whole core.

With MINICORE_E2E_DUMPER=kernel the expectations are held against the kernel's own core
of a program without minicore: that proves the harness on a dumper known to be good.
"""

import functools
import json
import os
import pathlib
import subprocess
import unittest

from tests.support import victim

KERNEL = os.environ.get("MINICORE_E2E_DUMPER") == "kernel"
BUILDS = [victim.PLAIN] if KERNEL else [victim.LINKED, victim.PRELOADED]


def each_build(test):
    """Runs a test method once for each build under test, given as its argument."""

    @functools.wraps(test)
    def run(self):
        for build in BUILDS:
            with self.subTest(build=build.name):
                test(self, build)

    return run


def without_kernel(reason):
    """Skips, and says so, when the kernel's own cores are what is tested."""
    return unittest.skipIf(KERNEL, "SKIPPED: the kernel's core " + reason)


_MINICORE = pathlib.Path.cwd() / "tools" / "minicore"


def of(child):
    """The core that `child` left."""
    return child.kernel_core if KERNEL else child.core


def verify(core):
    """Fails with `minicore verify`'s sentences unless `core` is whole and sound."""
    if KERNEL:
        return
    done = subprocess.run(
        [_MINICORE, "verify", core],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(f"{core}: {done.stdout}")


def info(core):
    """What `minicore info --json` says of `core`."""
    done = subprocess.run(
        [_MINICORE, "info", "--json", core], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def anchors(core):
    """What the registers of the crashed thread point to, by name of register."""
    return {anchor["of"]: anchor for anchor in info(core)["anchors"]}
