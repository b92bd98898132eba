"""The dumper itself goes wrong, in each of its phases and between them: the process still
dies of the first signal, in time, and what was written is a whole core, or nothing."""

import re
import signal
import subprocess

from tests.torture import core_check, torture

_FAULTS = ("write", "halt", "illegal", "trap", "divide", "jump", "overflow", "stack")
# What the phases of pipeline.cc call, and what must still come of it.
_PHASES = {
    "AddCrashedThread": None,
    "FreezeThreads": "core",
    "ReadMemoryMap": "core",
    "FindImages": "core",
    "CollectRoots": "core",
    "FindSecrets": "core",
    "ScanAnchors": "core",
    "BuildNotes": "nothing",
    "BuildPlan": "nothing",
    "ReserveReport": "nothing",
    "LayOut": "nothing",
    "CoreFile::Open": "nothing",
    "ElfCoreWriter::WriteContents": "nothing",
    "FillReport": "core",
    "ElfCoreWriter::WriteReport": "nothing",
    "CoreFile::Commit": "nothing",
    "RunDump": "nothing",
    "DumpHere": "nothing",
    "Dump": "nothing",
    "Tell": "core",
    "DieAsBefore": "core",
}
# Where an endless loop ends nobody's patience: before the watchdog is started, behind its
# end, and in what it calls itself when it ends the process. They have no loops of their own
# that wait for anything but the clock.
_UNWATCHED = {
    "AsRealUser::AsRealUser", "AsRealUser::~AsRealUser", "ChangeFileUser", "DieAsBefore",
    "DieFrom", "Dump", "HasStoodIn", "IsDumper", "LearnFilter", "LeaveToOtherProcesses",
    "MakeContext", "NobodyDumps", "OnFatalSignal", "OpenMemory", "OwnPid", "OwnTid",
    "RaiseSignalLimit", "RememberFirstSignal", "StartWatchdog", "TakeFaultSignals",
    "TakeFreezeSignal", "WinElection", "safe::SetSignalMask",
}  # fmt: skip
# Without what these do, there is no core that could be whole, or no death.
_INDISPENSABLE = {
    "DieFrom", "FillHeaders", "Freeze::ForgetEndedThreads", "Guarded<minicore::WriteAll",
    "LayOut", "OnFatalSignal",
}  # fmt: skip
_EXCEPT = {"loop": _UNWATCHED, "return": _INDISPENSABLE, "overflow": {"DieFrom"}}
_DEADLINE_S = 1
# The watchdog's patience with what does not end with its phase.
_LATEST_S = _DEADLINE_S + 3


class Planted(torture.Torture):
    def plant(self, kind, function, dies=()):
        """Returns what was left: "core" or "nothing"."""
        child = self.run_child(
            torture.LINKED, "planted", kind, function, *dies,
            options=f"deadline={_DEADLINE_S}s", deadline=_LATEST_S,
        )  # fmt: skip
        number = signal.SIGABRT if dies else signal.SIGSEGV
        self.assertEqual(child.signal, number)
        self.assertTrue(child.fact("found"), f"{function} is no function of the handler")
        if not child.files():
            return "nothing"
        core = core_check.Core(child.core)
        self.assertEqual(core.crashed.signal, number)
        self.assertEqual(core.crashed.tid, child.thread("crasher"))
        return "core"

    def each_phase(self, kinds, dies=()):
        for function, expected in _PHASES.items():
            for kind in kinds:
                with self.subTest(function=function, kind=kind):
                    left = self.plant(kind, function, dies)
                    if expected is not None:
                        self.assertEqual(left, expected)

    def test_a_fault_in_a_phase(self):
        self.each_phase(_FAULTS if torture.LONG else ("write",))

    def test_a_fault_in_a_phase_after_abort(self):
        self.each_phase(_FAULTS if torture.LONG else ("divide",), ["abort"])

    def test_a_fault_in_giving_up_as_well_writes_nothing(self):
        """Then nobody knows what is secret."""
        for kind in _FAULTS:
            with self.subTest(kind=kind):
                left = self.plant(kind, "FindSecrets+Redactor::GiveUp")
                self.assertEqual(left, "nothing")

    def test_every_kind_of_fault(self):
        for kind in _FAULTS:
            for function in ("ScanAnchors", "CoreFile::Commit", "RunDump"):
                with self.subTest(function=function, kind=kind):
                    self.plant(kind, function, ["abort"])

    def test_an_endless_loop(self):
        few = ("ScanAnchors", "CoreFile::Append", "RunDump")
        for function in _PHASES.keys() - _UNWATCHED if torture.LONG else few:
            with self.subTest(function=function):
                self.plant("loop", function)

    def test_any_function_of_the_handler(self):
        for function in self.functions()[:: torture.every(10, 1)]:
            for kind in torture.many(("halt",), ("write", "overflow", "loop", "return")):
                if function in _EXCEPT.get(kind, ()):
                    continue
                with self.subTest(function=function, kind=kind):
                    self.plant(kind, function)

    def functions(self):
        """All that begin in namespace minicore; most are the handler's."""
        done = subprocess.run(
            ["nm", "--demangle", "--defined-only", torture.LINKED.program],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        names = set()
        for line in done.stdout.splitlines():
            match = re.match(r"[0-9a-f]+ [tTwW] minicore::([^ (]+\(.*)", line.replace(
                "(anonymous namespace)::", ""))  # fmt: skip
            if match and ".cold" not in line and "[clone" not in line:
                names.add(match.group(1).split("(")[0])
        self.assertGreater(len(names), 100)
        return sorted(names)
