"""Crashes of programs that have run out of something, or run into a wall."""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import unittest

from tests.support import cores
from tests.torture import torture

_STANDING = {"bystander0": "victim::Park", "bystander1": "victim::Park"}
_MIB = 1 << 20


@contextlib.contextmanager
def memory_group(limit):
    """The file through which a process joins a cgroup with `limit` bytes of memory, no swap;
    None where none can be made."""
    root = pathlib.Path("/sys/fs/cgroup")
    first = (root / "memory").is_dir()  # version 1
    group = (root / "memory" if first else root) / f"minicore_torture.{os.getpid()}"
    limits = (
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if first
        else ("memory.max", "memory.swap.max")
    )
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / limits[0]).write_text(str(limit))
        with contextlib.suppress(OSError):  # no swap is accounted for here
            (group / limits[1]).write_text(str(limit if first else 0))
        yield group / "cgroup.procs"
    except OSError:
        yield None
    finally:
        group.rmdir()


@contextlib.contextmanager
def limited_directory(limit):
    """A directory of a file system that lets `limit` bytes be written there; None where none
    can be mounted."""
    where = pathlib.Path(tempfile.mkdtemp(dir=os.environ["TEST_TMPDIR"]))
    root = where / "root"
    root.mkdir()

    def call(*command):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    mounted = False
    try:
        with open(where / "image", "wb") as image:
            image.truncate(200 * _MIB)
        mounted = call("mkfs.btrfs", "-q", image.name) and call(
            "mount", "-o", "loop", image.name, root
        )
        limited = root / "limited"
        ready = (
            mounted
            and call("btrfs", "quota", "enable", root)
            and call("btrfs", "subvolume", "create", limited)
            and call("btrfs", "qgroup", "limit", str(limit), limited)
        )
        yield limited if ready else None
    except FileNotFoundError:  # no btrfs-progs
        yield None
    finally:
        if mounted:
            call("umount", root)
        shutil.rmtree(where)


class Exhaustion(torture.Torture):
    def each_place(self, scenario, **how):
        for place in ("main", "worker"):
            with self.subTest(place=place):
                self.survive(scenario, place, unwound=_STANDING, **how)

    def test_address_space_is_full(self):
        self.each_place("address_space_full")

    def test_address_space_limit_is_lowered_below_what_is_in_use(self):
        self.each_place("address_space_limited")

    def test_address_space_limit_is_low_from_the_start(self):
        for megabytes in (100, 200, 400, 800):
            with self.subTest(megabytes=megabytes):
                limit = [(resource.RLIMIT_AS, megabytes * _MIB)]
                # The dumper's own tables are small then: more is left out, and said so.
                self.survive(
                    "plain", unwound=_STANDING, limits=limit,
                    # glibc's, of the control run, would reserve 64 MB for each thread.
                    environment={"MALLOC_ARENA_MAX": "1"},
                    verified=["^Remark: ", "[(]sanitized[)] is not one"],
                )  # fmt: skip

    def test_malloc_has_nothing_left(self):
        self.each_place("heap_full", limits=[(resource.RLIMIT_AS, 900 * _MIB)])

    def test_data_limit_is_used_up(self):
        self.each_place("heap_full", limits=[(resource.RLIMIT_DATA, 300 * _MIB)])

    def test_data_limit_is_low_from_the_start(self):
        self.survive("touch", "4096", limits=[(resource.RLIMIT_DATA, 36 * _MIB)])

    def test_where_there_is_no_room_even_to_install_the_library_says_so(self):
        refused = 0
        for megabytes in range(8, 64, 2):
            limits = [(resource.RLIMIT_AS, megabytes * _MIB)]
            child = self.run_child(torture.PRELOADED, "touch", "4096", limits=limits)
            if "minicore: not installed: Cannot allocate memory\n" in child.stderr:
                refused += 1
            elif any(fact["name"] == "thread.crasher" for fact in child.facts):
                # else there is not even room for the program
                self.check_core(child, child.core, signal.SIGSEGV, crashers=())
        self.assertGreater(refused, 0)

    def test_mappings_are_used_up(self):
        for build in torture.BUILDS:
            child, _, _ = self.survive_in(
                build, "mappings_exhausted", unwound=_STANDING, control=False
            )
            self.assertGreater(child.fact("mappings"), 20_000)

    def test_stacks_are_as_small_as_they_can_be(self):
        self.survive("smallest_stacks", unwound=_STANDING)

    def test_stack_limit_is_tiny(self):
        self.each_place("plain", limits=[(resource.RLIMIT_STACK, 64 * 1024)])

    def test_stack_overflow(self):
        for place in ("main", "worker"):
            self.survive_overflow("overflow", place)

    def test_stack_overflow_when_the_program_has_switched_its_alternate_stack_off(self):
        for place in ("main", "worker"):
            self.survive_overflow("overflow_stack_off", place)

    def test_stack_overflow_in_a_late_round_of_key_destructors(self):
        self.survive_overflow("overflow_late")

    def survive_overflow(self, *arguments):
        self.survive(
            *arguments, function="torture::OverflowTheStack",
            callers=["torture::OverflowTheStack", "torture::OverflowTheStack"],
            unwound=_STANDING,
        )  # fmt: skip

    def test_stack_overflow_of_a_thread_that_pthread_create_did_not_make(self):
        for maker in ("thrd_create", "timer_create"):
            with self.subTest(maker=maker):
                self.survive(
                    "overflow_in_thread_of", maker, function="torture::OverflowTheStack",
                    unwound=_STANDING,
                )  # fmt: skip

    def test_fault_in_a_thread_of_libcs_own(self):
        for maker in ("mq_notify", "aio_read", "getaddrinfo_a"):
            with self.subTest(maker=maker):
                # libc's helper blocks its own signals, too, but for an instant.
                self.survive("fault_in_thread_of", maker, unwound=_STANDING, silent=None)

    def test_fault_in_a_function_of_a_timer(self):
        # All signals are blocked there, behind libc's back, until our own function starts.
        for how in ([], ["init"]):
            self.survive("fault_in_thread_of", "timer_create", *how, unwound=_STANDING, silent=None)

    def test_descriptors_are_used_up(self):
        self.each_place("no_descriptors", limits=[(resource.RLIMIT_NOFILE, 40)])

    def test_no_descriptor_is_allowed_at_all(self):
        for child in self.expect_absent("no_descriptors_at_all"):
            self.assertEqual(child.files(), [])

    def test_memory_limit_of_a_cgroup_is_nearly_reached(self):
        # Two megabytes are the program's own and the dumper's; with less, the kernel ends
        # the process by SIGKILL, as it would the program.
        limit = 64 * _MIB
        with memory_group(limit) as group:
            if group is None:
                self.skipTest("SKIPPED: no cgroup with a memory limit can be made here")
            for left in (16, 8, 4):
                with self.subTest(left=left):
                    self.survive(
                        "touch", str(limit - left * _MIB), control=False,
                        before_exec=lambda: group.write_text(str(os.getpid())),
                    )  # fmt: skip

    def test_queue_of_signals_is_full(self):
        self.survive(
            "many", "200", limits=[(resource.RLIMIT_SIGPENDING, 0)], threads=200
        )

    # --- where the core goes ---

    def expect_absent(self, *arguments, **how):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                control = self.run_child(torture.PLAIN, *arguments)
                child = self.run_child(build, *arguments, **how)
                self.assertEqual(child.status, control.status)
                self.assertRegex(child.stderr, "^minicore: no core: .*\n$")
                yield child

    def check_quota(self, child):
        """A shorter core, or none, and one line. Returns whether it is there."""
        self.assertEqual(child.signal, signal.SIGSEGV)
        self.assertEqual(len(child.stderr.splitlines()), 1, child.stderr)
        if not child.files():
            self.assertRegex(child.stderr, "^minicore: no core: .*: Disk quota exceeded$")
            return False
        self.assertRegex(child.stderr, "^minicore: wrote .*, cut short: no more room")
        self.assertNotEqual(child.core.suffix, ".part")
        self.check_core(child, child.core, signal.SIGSEGV, ("crasher",), threads=3)
        self.assertEqual(int(cores.info(child.core)["report"]["truncated"]), 1)
        return True

    def whole_size(self, build):
        child = self.run_child(build, "plain")
        return child.core.stat().st_size

    def test_quota_is_reached(self):
        for build in torture.BUILDS:
            whole = self.whole_size(build)
            for kind in ((), ("cow",)):
                for limit in (0, 8192, whole * 3 // 4, whole * 9 // 10):
                    with self.subTest(build=build.name, kind=kind, limit=limit, whole=whole):
                        child = self.run_child(build, "quota", str(limit), *kind)
                        self.assertEqual(self.check_quota(child), limit > 8192)

    @unittest.skipUnless(torture.LONG, "SKIPPED: in the long leg only")
    def test_quota_of_a_file_system_is_reached(self):
        for build in torture.BUILDS:
            whole = self.whole_size(build)
            seen = set()
            for part in range(4, 100, 8):
                with limited_directory(whole * part // 100) as directory:
                    if directory is None:
                        self.skipTest("SKIPPED: no file system with a quota can be mounted here")
                    with self.subTest(build=build.name, whole=whole, part=part):
                        child = self.run_child(build, "plain", directory=directory)
                        seen.add(self.check_quota(child))
            self.assertEqual(seen, {False, True})

    def test_working_directory_has_been_removed(self):
        for child in self.expect_absent("directory_removed"):
            self.assertFalse(child.directory.exists())

    def test_a_pipe_that_nobody_reads_is_ended_by_the_deadline(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                reading, writing = os.pipe()
                self.addCleanup(os.close, reading)
                self.addCleanup(os.close, writing)
                os.set_inheritable(writing, True)
                child = self.run_child(
                    build, "plain", options=f"fd={writing}:deadline=1s", pass_fds=[writing]
                )
                self.assertEqual(child.signal, signal.SIGSEGV)
                self.assertLess(child.seconds, 3)

    def test_signals_of_faults_that_are_sent_during_the_dump_do_not_end_it(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                reading, writing = os.pipe()
                contents = []

                def drain(child, reading=reading, writing=writing, contents=contents):
                    # It writes to a full pipe when the signals come.
                    os.close(writing)
                    os.kill(child.pid, signal.SIGQUIT)
                    contents.append(os.read(reading, 1))
                    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGTRAP):
                        os.kill(child.pid, number)
                    with open(reading, "rb") as pipe:
                        contents.append(pipe.read())

                child = self.run_child(
                    build, "wait", options=f"fd={writing}", pass_fds=[writing], when_ready=drain
                )
                self.assertEqual(child.signal, signal.SIGQUIT)
                path = child.directory / "core.piped"
                path.write_bytes(b"".join(contents))
                self.check_core(child, path, signal.SIGQUIT, crashers=(), threads=3)

    def test_a_fifo_that_nobody_opens_does_not_stop_the_process(self):
        for name in ("core.fifo", "core.fifo.part"):
            for build in torture.BUILDS:
                with self.subTest(build=build.name, fifo=name):
                    with tempfile.TemporaryDirectory(dir=os.environ["TEST_TMPDIR"]) as where:
                        os.mkfifo(pathlib.Path(where) / name)
                        child = self.run_child(
                            build, "plain", options=f"path={where}/core.fifo:deadline=1s"
                        )
                        self.assertEqual(child.signal, signal.SIGSEGV)
                        self.assertLess(child.seconds, 3)

    def test_a_core_of_the_same_name_is_kept_and_the_new_one_is_not_lost(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                with tempfile.TemporaryDirectory(dir=os.environ["TEST_TMPDIR"]) as where:
                    directory = pathlib.Path(where)
                    (directory / "core.fixed").write_text("precious")
                    (directory / "core.fixed.part").write_text("somebody died while dumping")
                    child = self.run_child(build, "plain", options=f"path={where}/core.fixed")
                    self.assertEqual((directory / "core.fixed").read_text(), "precious")
                    made = [
                        path for path in directory.iterdir()
                        if path.name not in ("core.fixed", "core.fixed.part")
                    ]  # fmt: skip
                    self.assertEqual(len(made), 1, list(directory.iterdir()))
                    self.check_core(child, made[0], signal.SIGSEGV, ("crasher",))
