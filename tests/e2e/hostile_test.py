"""Where no core can be written there is one line on standard error, no half file under
the final name, and the same wait status."""

import ctypes
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import unittest

from tests.support import cores, gdb, victim

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_TMPFS_SIZE = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


def obey_permissions():
    """Called before exec: from then on root, too, obeys the mode of directories."""
    _libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)


def may_mount():
    """Gives this process mounts of its own, as root or in a user namespace of its own."""
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWNS) != 0:
        if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
            return False
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    return _libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None) == 0


class Hostile(unittest.TestCase):
    def crash(self, build, scenario="null_write", **how):
        child = victim.run(build, scenario, **how)
        self.addCleanup(child.discard)
        return child

    def expect_no_core(self, build, scenario="null_write", **how):
        """Crashes; returns the one line that the child said about the core."""
        control = self.crash(victim.PLAIN, scenario, **how)
        child = self.crash(build, scenario, **how)
        self.assertEqual(child.status, control.status)
        self.assertEqual(child.signal, signal.SIGSEGV)
        self.assertEqual(child.files(), control.files())
        self.check_one_line(child)
        return child

    def check_one_line(self, child):
        lines = child.stderr.splitlines()
        self.assertEqual(len(lines), 1, child.stderr)
        self.assertRegex(lines[0], "^minicore: ")

    @staticmethod
    def state(path):
        """What is there, but for when it was last looked at: whoever asks what a link leads
        to reads it."""
        status = path.lstat()
        return [
            status.st_mode, status.st_ino, status.st_nlink, status.st_uid, status.st_gid,
            status.st_size, status.st_mtime_ns, status.st_ctime_ns,
        ]  # fmt: skip

    def new_directory(self):
        directory = tempfile.TemporaryDirectory(dir=os.environ["TEST_TMPDIR"])
        self.addCleanup(directory.cleanup)
        return pathlib.Path(directory.name)

    @cores.each_build
    def test_missing_directory(self, build):
        self.expect_no_core(build, options="path=missing/core.%p")

    @cores.each_build
    def test_unwritable_directory(self, build):
        directory = self.new_directory()
        directory.chmod(0o555)
        probe = subprocess.run(
            ["touch", directory / "probe"], preexec_fn=obey_permissions, stderr=subprocess.DEVNULL
        )
        if probe.returncode == 0:
            self.skipTest("SKIPPED: directories without write permission are writable here")
        self.expect_no_core(build, directory=directory, before_exec=obey_permissions)

    @cores.each_build
    def test_no_file_descriptor_is_left(self, build):
        limits = [(resource.RLIMIT_NOFILE, 64)]
        control = self.crash(victim.PLAIN, "no_descriptors", limits=limits)
        child = self.crash(build, "no_descriptors", limits=limits)
        self.assertTrue(child.fact("errno_is_emfile"))
        self.assertEqual(child.status, control.status)
        self.check_one_line(child)
        cores.verify(child.core)

    @cores.each_build
    def test_what_has_the_name_already_is_neither_replaced_nor_followed(self, build):
        def file(path, target):
            path.write_text("precious")

        def link(path, target):
            path.symlink_to(target)

        def dangling_link(path, target):
            path.symlink_to("nowhere")

        def directory(path, target):
            path.mkdir(mode=0o500)

        for name in ("core.fixed", "core.fixed.part"):
            for make in (file, link, dangling_link, directory):
                if (name, make) == ("core.fixed", directory):
                    continue  # the path of a directory means a core inside
                with self.subTest(name=name, what=make.__name__):
                    place = self.new_directory()
                    target = self.new_directory() / "target"
                    target.write_text("precious")
                    make(place / name, target)
                    before = self.state(place / name)
                    child = self.crash(build, directory=place, options="path=core.fixed")
                    self.assertEqual(child.signal, signal.SIGSEGV)
                    core = "core.fixed.1" if name == "core.fixed" else "core.fixed"
                    self.assertEqual(child.files(), sorted([name, core]))
                    cores.verify(place / core)
                    if core != "core.fixed":
                        self.check_one_line(child)
                    self.assertEqual(self.state(place / name), before)
                    self.assertEqual(target.read_text(), "precious")

    @cores.each_build
    def test_a_directory_as_path_gets_the_default_name(self, build):
        place = self.new_directory()
        child = self.crash(build, options=f"path={place}")
        self.assertEqual(child.files(), [])
        made = [path.name for path in place.iterdir()]
        program = os.path.basename(child.victim.program)[:15]
        self.assertEqual(made, [f"core.{program}.{child.pid}"])
        cores.verify(place / made[0])

    @cores.each_build
    def test_the_core_is_for_its_owner_only(self, build):
        child = self.crash(build)
        self.assertEqual(child.core.stat().st_mode & 0o7777, 0o600)

    def expect_whole_or_none(self, child, control):
        self.assertEqual(child.status, control.status)
        self.assertEqual(child.signal, signal.SIGSEGV)
        self.assertEqual([name for name in child.files() if name.endswith(".part")], [])
        made = [name for name in child.files() if name not in control.files()]
        self.assertLessEqual(len(made), 1)
        for name in made:
            cores.verify(child.directory / name)
            self.assertIn("WriteToNull", self.backtrace(child, child.directory / name))
        self.check_one_line(child)

    @staticmethod
    def backtrace(child, core):
        answers = gdb.ask(child.victim.program, core)
        return str(answers.functions(answers.current))

    @cores.each_build
    def test_file_size_limit(self, build):
        # The smallest lets the facts and the line on standard error through.
        for limit in (4096, 20_000, 100_000, 200_000):
            with self.subTest(limit=limit):
                how = {"limits": [(resource.RLIMIT_FSIZE, limit)]}
                control = self.crash(victim.PLAIN, **how)
                child = self.crash(build, **how)
                self.expect_whole_or_none(child, control)

    @cores.each_build
    def test_full_disk(self, build):
        if not Hostile.mounts:
            self.skipTest("SKIPPED: no file system can be mounted here")
        for size in (4096, _TMPFS_SIZE, 2 * _TMPFS_SIZE):
            with self.subTest(size=size):
                directory = self.new_directory()
                target = os.fsencode(directory)
                mounted = _libc.mount(b"none", target, b"tmpfs", 0, b"size=%d" % size)
                self.assertEqual(mounted, 0, os.strerror(ctypes.get_errno()))
                self.addCleanup(_libc.umount2, target, 2)
                control = self.crash(victim.PLAIN, directory=directory)
                child = self.crash(build, directory=directory)
                self.expect_whole_or_none(child, control)

    @cores.each_build
    def test_read_only_file_system(self, build):
        if not Hostile.mounts:
            self.skipTest("SKIPPED: no file system can be mounted here")
        directory = self.new_directory()
        target = os.fsencode(directory)
        self.assertEqual(_libc.mount(b"none", target, b"tmpfs", 1, None), 0)
        self.addCleanup(_libc.umount2, target, 2)
        self.expect_no_core(build, directory=directory)

    @classmethod
    def setUpClass(cls):
        cls.mounts = may_mount()


def load_tests(loader, tests, pattern):
    if cores.KERNEL:
        return unittest.TestSuite()
    return tests
