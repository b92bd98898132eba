"""What the child knew is what a debugger reads from its core: threads, frames,
registers, locals, containers, thread-locals, globals, modules."""

import os
import re
import subprocess
import unittest

from tests.support import gdb, victim

# The harness is proven on a known good dumper: with MINICORE_E2E_DUMPER=kernel the same
# expectations are held against the kernel's own core of the same program.
KERNEL = os.environ.get("MINICORE_E2E_DUMPER") == "kernel"

GENERAL = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15".split()
ARITHMETIC_FLAGS = 0x8D5
MASK = (1 << 64) - 1  # gdb shows some registers as signed
NAMED_THREADS = ["main", "deep", "plugin", "holder", "spinner", "crasher"]


def question_of(fact):
    """What to ask of gdb for a fact that the child stated."""
    if fact["kind"] == "local":
        return gdb.Ask(fact["name"], fact["thread"], fact["function"])
    scope = "" if fact["name"].startswith("plugin_") else "victim::"
    thread = fact["thread"] if fact["kind"] == "tls" else None
    return gdb.Ask(scope + fact["name"], thread)


class ServiceCore:
    """Runs the service once and asks once; the tests below compare."""

    victim = None
    worker = False

    @classmethod
    def setUpClass(cls):
        arguments = ["service"] + (["--worker"] if cls.worker else [])
        kernel_core = victim.kernel_writes_core_files()
        if KERNEL and not kernel_core:
            raise unittest.SkipTest("SKIPPED: the kernel writes no core files here")
        cls.child = victim.run(cls.victim, *arguments, kernel_core=kernel_core)
        cls.core = cls.child.kernel_core if KERNEL else cls.child.core
        cls.crasher = cls.child.thread("crasher")
        cls.gdb = gdb.ask(cls.victim.program, cls.core, cls.questions(), cls.commands())
        cls.kernel = None
        if kernel_core:
            cls.kernel = gdb.ask(
                cls.victim.program, cls.child.kernel_core, cls.questions(), cls.commands()
            )

    @classmethod
    def tearDownClass(cls):
        cls.child.discard()

    @classmethod
    def questions(cls):
        questions = [
            question_of(fact) for fact in cls.child.facts if fact["kind"] != "fact"
        ]
        for thread in ("crasher", "spinner"):
            tid = cls.child.thread(thread)
            questions += [gdb.Ask(expression, tid) for expression in cls.registers()]
        questions.append(gdb.Ask("plugin_tls", cls.child.thread("plugin")))
        questions.append(gdb.Ask("plugin_global"))
        questions += [cls.deep("level"), cls.deep("cookie")]
        questions += cls.plugin_locals()
        questions += [
            gdb.Ask("$_siginfo.si_signo"),
            gdb.Ask("$_siginfo._sifields._sigfault.si_addr"),
            gdb.Ask("victim::g_crash_registers.general[7]"),
            gdb.Ask("victim::g_spin_registers.general[7]"),
        ]
        return questions

    @staticmethod
    def commands():
        return ["info sharedlibrary", "info threads", "info proc mappings", "info auxv"]

    @staticmethod
    def registers():
        names = GENERAL + ["rip", "eflags", "fs_base", "mxcsr", "st0"]
        vectors = [f"xmm{n}.v16_int8" for n in range(16)]
        vectors += [f"ymm{n}.v32_int8" for n in range(16)]
        return [f"${name}" for name in names + vectors]

    @classmethod
    def deep(cls, variable):
        tid = cls.child.thread("deep")
        return gdb.Ask(variable, tid, "victim::Descend", all_frames=True)

    @classmethod
    def plugin_locals(cls):
        tid = cls.child.thread("plugin")
        return [
            gdb.Ask("outer_value", tid, "PluginRun"),
            gdb.Ask("inner_value", tid, "(anonymous namespace)::PluginInner"),
            gdb.Ask("inner_text", tid, "(anonymous namespace)::PluginInner"),
        ]

    # Threads and frames.

    def test_the_crashed_thread_is_current(self):
        self.assertEqual(self.gdb.current, self.crasher)
        self.assertEqual(self.gdb.functions(self.crasher)[0], "LoadRegistersAndFault")

    def test_every_thread_is_there(self):
        expected = {self.child.thread(name) for name in NAMED_THREADS}
        self.assertEqual(set(self.gdb.threads), expected)

    def test_gdb_recognises_the_threads_of_the_c_library(self):
        threads = self.gdb.output["info threads"]
        self.assertEqual(len(re.findall(r"Thread 0x[0-9a-f]+ \(LWP", threads)), len(self.gdb.threads))

    def test_every_backtrace_reaches_the_start_of_its_thread(self):
        for name in NAMED_THREADS:
            functions = self.gdb.functions(self.child.thread(name))
            is_main = self.child.thread(name) == self.child.pid
            outermost = {"_start"} if is_main else {"clone3", "__clone3", "clone"}
            self.assertIn(functions[-1], outermost, f"{name}: {functions}")

    def test_a_backtrace_of_200_frames_is_whole(self):
        functions = self.gdb.functions(self.child.thread("deep"))
        frames = self.child.fact("deep.frames")
        self.assertEqual(functions.count("victim::Descend"), frames)
        levels = list(range(1, frames + 1))
        self.assertEqual(self.gdb.value(self.deep("level")), levels)

    def test_each_of_200_frames_has_its_own_locals(self):
        cookies = self.gdb.value(self.deep("cookie"))
        expected = [level * 7919 + 5 for level in range(1, len(cookies) + 1)]
        self.assertEqual(cookies, expected)

    def test_frames_inside_the_library_opened_with_dlopen(self):
        frames = self.gdb.threads[self.child.thread("plugin")]
        inside = [f["function"] for f in frames if f["library"] == victim.PLUGIN]
        self.assertEqual(inside, ["(anonymous namespace)::PluginInner", "PluginRun"])
        values = [self.gdb.value(question) for question in self.plugin_locals()]
        self.assertEqual(values, [424242 * 2, 424242 * 3, "inside the library"])

    # Values.

    def compare(self, kind):
        facts = self.child.facts_of_kind(kind)
        self.assertGreater(len(facts), 0)
        for fact in facts:
            with self.subTest(thread=fact["thread"], name=fact["name"]):
                self.assertEqual(self.gdb.value(question_of(fact)), fact["value"])

    def test_locals_and_containers_are_as_the_child_knew_them(self):
        self.assertEqual(len(self.child.facts_of_kind("local")), 2 * 18)
        self.compare("local")

    def test_thread_locals_are_as_each_thread_knew_them(self):
        self.assertEqual(len(self.child.facts_of_kind("tls")), 2 * (5 if self.worker else 4))
        self.compare("tls")

    def test_globals_are_as_the_child_knew_them(self):
        self.compare("global")

    def test_thread_locals_and_globals_of_the_library_opened_with_dlopen(self):
        plugin_tls = gdb.Ask("plugin_tls", self.child.thread("plugin"))
        self.assertEqual(self.gdb.value(plugin_tls), 424242)
        self.assertEqual(self.gdb.value(gdb.Ask("plugin_global")), 424243)

    # Registers and the signal.

    def register(self, thread, name):
        return self.gdb.value(gdb.Ask("$" + name, self.child.thread(thread)))

    def check_registers(self, thread, pattern, variable):
        expected = self.child.fact(pattern + ".general")
        expected[7] = self.gdb.value(gdb.Ask(f"victim::{variable}.general[7]"))
        for name, value in zip(GENERAL, expected):
            self.assertEqual(hex(self.register(thread, name) & MASK), hex(value), name)
        flags = self.register(thread, "eflags")
        self.assertEqual(flags & ARITHMETIC_FLAGS,
                         self.child.fact(pattern + ".flags") & ARITHMETIC_FLAGS)  # fmt: skip
        self.assertEqual(self.register(thread, "mxcsr"), self.child.fact(pattern + ".mxcsr"))
        self.assertEqual(self.register(thread, "st0"), self.child.fact(pattern + ".st0"))

    def check_vectors(self, thread, pattern, register, size):
        tid = self.child.thread(thread)
        for n, expected in enumerate(self.child.fact(pattern + ".vectors")):
            value = self.gdb.value(gdb.Ask(f"${register}{n}.v{size}_int8", tid))
            self.assertEqual([byte & 0xFF for byte in value], expected[:size], f"{register}{n}")

    def test_general_registers_of_the_crashed_thread(self):
        self.check_registers("crasher", "crash", "g_crash_registers")
        self.assertEqual(self.register("crasher", "rip"), self.child.fact("crash.instruction"))

    def test_general_registers_of_a_thread_that_was_running(self):
        self.check_registers("spinner", "spin", "g_spin_registers")
        rip = self.register("spinner", "rip")
        self.assertGreaterEqual(rip, self.child.fact("spin.begin"))
        self.assertLess(rip, self.child.fact("spin.end"))

    def test_xmm_registers(self):
        self.check_vectors("crasher", "crash", "xmm", 16)
        self.check_vectors("spinner", "spin", "xmm", 16)

    def test_ymm_registers(self):
        if KERNEL:
            self.skipTest("SKIPPED: gdb 13 rejects the size of the kernel's own note")
        if not self.child.fact("crash.has_avx"):
            self.skipTest("SKIPPED: this processor has no AVX")
        self.check_vectors("crasher", "crash", "ymm", 32)
        self.check_vectors("spinner", "spin", "ymm", 32)

    def test_signal_information(self):
        self.assertEqual(self.gdb.value(gdb.Ask("$_siginfo.si_signo")), 11)
        address = self.gdb.value(gdb.Ask("$_siginfo._sifields._sigfault.si_addr"))
        self.assertEqual(address, self.child.fact("fault_address"))

    # The same as from the kernel's core of the same crash.

    def kernel_or_skip(self):
        if self.kernel is None:
            self.skipTest("SKIPPED: the kernel writes no core files here to compare with")
        return self.kernel

    def test_gdb_warns_of_nothing_that_it_does_not_warn_of_in_the_kernels_core(self):
        self.assertLessEqual(self.gdb.warnings(), self.kernel_or_skip().warnings())

    def test_shared_libraries_are_those_of_the_kernels_core(self):
        libraries = self.gdb.output["info sharedlibrary"]
        self.assertIn(victim.PLUGIN, libraries)
        self.assertEqual(libraries, self.kernel_or_skip().output["info sharedlibrary"])

    def test_auxiliary_vector_is_that_of_the_kernels_core(self):
        self.assertEqual(
            self.gdb.output["info auxv"], self.kernel_or_skip().output["info auxv"]
        )

    def test_the_crashed_threads_frames_are_those_of_the_kernels_core(self):
        self.assertEqual(
            self.gdb.threads[self.crasher], self.kernel_or_skip().threads[self.crasher]
        )

    def test_the_kernels_core_shows_the_other_threads_below_the_signal_that_froze_them(self):
        for tid, frames in self.kernel_or_skip().threads.items():
            signal_frames = [n for n, f in enumerate(frames) if f["is_signal_frame"]]
            if signal_frames:
                frames = frames[signal_frames[-1] + 1 :]
            if not KERNEL and tid != self.crasher:
                self.assertEqual(len(signal_frames), 1)
            self.assertEqual(self.gdb.threads[tid], frames)

    # elfutils.

    def test_eu_stack_lists_the_same_frames(self):
        done = subprocess.run(
            ["eu-stack", "--core", self.core, "-e", self.victim.program, "-n", "0", "-r"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        per_thread = re.split(r"^TID (\d+):$", done.stdout, flags=re.M)[1:]
        frames_of = {
            int(tid): [int(pc, 16) for pc in re.findall(r"^#\d+ +(0x\w+)", text, re.M)]
            for tid, text in zip(per_thread[::2], per_thread[1::2])
        }
        self.assertEqual(set(frames_of), set(self.gdb.threads), done.stdout)
        for name in NAMED_THREADS:
            tid = self.child.thread(name)
            expected = [f["pc"] for f in self.gdb.threads[tid] if f["on_stack"]]
            self.assertEqual(frames_of[tid], expected, name)

    def test_eu_readelf_accepts_headers_and_notes(self):
        done = subprocess.run(
            ["eu-readelf", "-h", "-l", "-n", self.core],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        self.assertEqual(len(re.findall(r"CORE +\d+ +PRSTATUS", done.stdout)), len(self.gdb.threads))


def cases():
    if KERNEL:
        yield "PlainWorkerCrashes", victim.PLAIN, True
        yield "PlainOptimisedMainCrashes", victim.PLAIN_O2, False
        return
    yield "LinkedWorkerCrashes", victim.LINKED, True
    yield "LinkedOptimisedMainCrashes", victim.LINKED_O2, False
    yield "PreloadedMainCrashes", victim.PRELOADED, False
    yield "PreloadedOptimisedWorkerCrashes", victim.PRELOADED_O2, True


for name, build, in_worker in cases():
    globals()[name] = type(
        name, (ServiceCore, unittest.TestCase), {"victim": build, "worker": in_worker}
    )
