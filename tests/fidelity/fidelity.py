"""Does the small core answer what the full one answers? One table, victim by tool.

    bazel run -c opt //tests/fidelity -- [--fast] [--only NAME,NAME] [--update] [--keep DIR]

Every victim is crashed once; minicore's core and the kernel's core of that same crash go
to every consumer of cores, and what these print is compared. A cell is the share of what
is printed for the full core that is printed for the small one too, in percent; "!n" says
that n of the others are wrong without saying so, "en" that n more are elided on purpose and
say so (canaries, values of environment variables), which counts for nothing. Fails when a figure falls below the one
in expected.json, or when anything is silently wrong.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

from tests.fidelity import bytes as memory_bytes
from tests.fidelity import compare
from tests.fidelity import crash
from tests.fidelity import elf_core
from tests.fidelity import gdb_view
from tests.fidelity import lldb_view
from tests.fidelity import other_views
from tests.fidelity import own_data
from tests.fidelity import programs
from tests.fidelity import reference

_BUILT = pathlib.Path.cwd() / "tests" / "fidelity"
_PRELOAD = pathlib.Path.cwd() / "libminicore.so"
_EXPECTED = pathlib.Path(__file__).resolve().parent / "expected.json"
# A core is small if it is below this, or below this share of the full one.
_SMALL_BYTES = 2 << 20
_SMALL_SHARE = 0.01
# Below each stack pointer.
_DEAD_STACK_BYTES = 64 << 10
# That are printed of one victim.
_MOST_PROBLEMS = 12


_HERE = "(anonymous namespace)::"


@dataclasses.dataclass(frozen=True)
class Victim:
    name: str
    fast: bool = False  # part of the subset that `bazel test` runs
    linked: bool = False
    arguments: tuple = ()
    # Threads whose variables gdb prints, besides all backtraces.
    full_threads: int = 16
    limits_size: bool = True
    # What gdb is asked for besides all variables.
    expressions: tuple = ()

    @property
    def program(self):
        return _BUILT / self.name


# What a debugger's user would type to follow pointers with something in their bits.
_UNTAGGED = tuple(
    f"*('{_HERE}Leaf' *)('{_HERE}g_tagged'->{pointer} & 0x{mask:x})"
    for pointer, mask in (
        ("low", (1 << 64) - 8), ("high", (1 << 48) - 1), ("high_byte", (1 << 56) - 1), ("both", (1 << 48) - 8),
    )
)  # fmt: skip

# The top of two stacks that no thread is on, one in the heap and one mapped: gregs[15] is rsp.
_SUSPENDED = tuple(
    f"*(unsigned long (*)[16])'{_HERE}g_fibers'[{fiber}].context.uc_mcontext.gregs[15]"
    for fiber in (0, 1)
)

VICTIMS = (
    Victim("containers", fast=True),
    Victim("containers_o2"),
    Victim("containers_static", linked=True),
    Victim("objects", expressions=_UNTAGGED),
    Victim("objects_o2", fast=True, expressions=_UNTAGGED),
    Victim("objects_no_pie", expressions=_UNTAGGED),
    Victim("threads", fast=True),
    Victim("threads_o2"),
    Victim("threads_linked", linked=True),
    Victim("modules"),
    Victim("stacks", fast=True, expressions=_SUSPENDED),
    Victim("stacks_o2", expressions=_SUSPENDED),
    Victim("plain_c", fast=True),
    Victim("plain_c_o2"),
    Victim("statics"),
    Victim("statics_static_pie", fast=True, linked=True),
)


def measure(victim, directory, fast):
    """Returns: ({figure: Tally}, bytes of the full core, bytes of the small one)."""
    preload = None if victim.linked else _PRELOAD
    both = crash.run(victim.program, directory, victim.arguments, preload)
    scratch = directory / "scratch"
    scratch.mkdir()
    reference.put_threads_back(both.program, both.full, scratch)
    figures = {}
    holes = elf_core.holes(both.full)
    full, small = (
        gdb_view.view(both.program, core, scratch, victim.full_threads, holes, victim.expressions)
        for core in (both.full, both.small)
    )
    for name, tally in gdb_view.compare_views(full, small).items():
        figures["gdb " + name] = tally
    for expression in victim.expressions:
        if "error" in full["globals"][expression]:
            raise RuntimeError(f"gdb does not understand {expression}: {full['globals'][expression]}")
    variables = [name for name in full["globals"] if name not in victim.expressions]
    figures.update(_other_tools(both, scratch, fast, variables))
    figures["bytes"] = _bytes(both, preload)
    return figures, both.full.stat().st_size, both.small.stat().st_size


def measure_program(name, directory, fast):
    """The same of a program without debug information."""
    both = programs.crash_program(name, directory, _PRELOAD)
    scratch = directory / "scratch"
    scratch.mkdir()
    reference.put_threads_back(both.program, both.full, scratch)
    figures = {
        "gdb " + figure: tally for figure, tally in programs.compare_words(both, scratch).items()
    }
    figures.update(_other_tools(both, scratch, fast, ()))
    figures["bytes"] = _bytes(both, _PRELOAD)
    return figures, both.full.stat().st_size, both.small.stat().st_size


def _other_tools(both, scratch, fast, global_names):
    figures = {}
    versions = lldb_view.versions()
    dead = own_data.dead_stack(both.full, _DEAD_STACK_BYTES)
    for name, command in versions.items():
        if fast and name != list(versions)[-1]:
            continue
        views = [
            lldb_view.view(command, both.program, core, scratch, global_names)
            for core in (both.full, both.small)
        ]
        total = compare.Tally()
        for tally in lldb_view.compare_views(*views, dead).values():
            total.add(tally)
        figures[name] = total
    for name, function in other_views.ALL.items():
        before = function(both.program, both.full)
        after = function(both.program, both.small)
        total = compare.Tally()
        for section, text in before.items():
            total.add(compare.lines(text, after.get(section, ""), section))
        figures[name] = total
    return figures


def _bytes(both, preload):
    ignored = own_data.ranges(both.full, both.program, preload)
    wrong, compared, _ = memory_bytes.wrong_ranges(both.full, both.small, ignored)
    tally = compare.Tally(equal=compared // 8)
    for address, size, full, small in wrong:
        tally.equal -= size // 8
        tally.wrong += size // 8
        tally.examples.append(("wrong", hex(address), full[:64].hex(), small[:64].hex()))
    return tally


def problems_of(figures, full_bytes, small_bytes, limits_size, expected):
    found = []
    for name, tally in figures.items():
        for kind, where, before, after in tally.examples:
            if kind == "wrong":
                found.append(f"{name} is wrong at {where}: {before!r} became {after!r}")
        least = expected.get(name)
        if least is None and not name.startswith("lldb"):
            found.append(f"{name}: {tally.share:.2f} %, no figure is committed")
        elif least is not None and tally.share < least:
            found.append(f"{name}: {tally.share:.2f} % is below {least} %")
            found += [f"  {example}" for example in tally.examples[:3]]
    limit = max(_SMALL_BYTES, full_bytes * _SMALL_SHARE)
    if limits_size and small_bytes > limit:
        found.append(f"the core has {small_bytes} bytes, and may have {limit:.0f}")
    return found


def most_expected(figure):
    """What is committed of a figure at most. What lldb shows of optimised frames depends on
    what lies in dead memory; words of stacks lead elsewhere at each instant of a crash."""
    if figure.startswith("lldb"):
        return 99.5
    return 99.0 if figure == "gdb words" else 100.0


def cell(tally):
    if tally is None:
        return "-"
    share = int(tally.share * 100) / 100  # never rounded up
    text = "100" if tally.equal == tally.total else f"{share:.2f}"
    return text + (f" !{tally.wrong}" if tally.wrong else "") + (f" e{tally.elided}" if tally.elided else "")


def table(rows):
    """rows: [(name, figures, full bytes, small bytes)]."""
    names = []
    for _, figures, _, _ in rows:
        names += [name for name in figures if name not in names]
    titles = ["victim", "full MB", "small MB"] + names
    lines = [titles]
    for name, figures, full_bytes, small_bytes in rows:
        lines.append(
            [name, f"{full_bytes / 1e6:.1f}", f"{small_bytes / 1e6:.2f}"]
            + [cell(figures.get(column)) for column in names]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    text = []
    for number, line in enumerate(lines):
        text.append("| " + " | ".join(value.ljust(width) for value, width in zip(line, widths)) + " |")
        if number == 0:
            text.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def main():
    started = time.monotonic()
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="the subset of `bazel test`")
    parser.add_argument("--only", default="", help="names of victims, with commas")
    parser.add_argument("--update", action="store_true", help="commit what is measured")
    parser.add_argument("--keep", help="leave cores and logs in this directory")
    arguments = parser.parse_args()
    problem = crash.kernel_core_problem()
    if problem:
        print(f"SKIPPED: {problem}, so there is nothing to compare with")
        return 0
    expected = json.loads(_EXPECTED.read_text()) if _EXPECTED.exists() else {}
    only = [name for name in arguments.only.split(",") if name]
    scratch = pathlib.Path(
        arguments.keep or tempfile.mkdtemp(prefix="fidelity.", dir=os.environ.get("TEST_TMPDIR"))
    )
    work = [
        (victim.name, victim.limits_size, lambda directory, victim=victim: measure(victim, directory, arguments.fast))
        for victim in VICTIMS
        if (victim.name in only if only else victim.fast or not arguments.fast)
    ]
    for name in programs.PROGRAMS:
        if name in only if only else not arguments.fast:
            if name not in programs.available():
                print(f"SKIPPED: {name} is not installed")
                continue
            work.append((name, False, lambda directory, name=name: measure_program(name, directory, arguments.fast)))
    rows = []
    failed = False
    for name, limits_size, run in work:
        directory = scratch / name
        shutil.rmtree(directory, ignore_errors=True)
        figures, full_bytes, small_bytes = run(directory)
        rows.append((name, figures, full_bytes, small_bytes))
        found = problems_of(figures, full_bytes, small_bytes, limits_size, expected.get(name, {}))
        if arguments.update:
            expected[name] = {
                figure: int(min(tally.share, most_expected(figure)) * 10) / 10
                for figure, tally in figures.items()
            }
            found = [text for text in found if "is wrong at" in text or "may have" in text]
        for text in found[:_MOST_PROBLEMS]:
            print(f"{name}: {text}", flush=True)
        if len(found) > _MOST_PROBLEMS:
            print(f"{name}: and {len(found) - _MOST_PROBLEMS} more")
        failed = failed or bool(found)
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    for some in (
        [row for row in rows if row[0] not in programs.PROGRAMS],
        [row for row in rows if row[0] in programs.PROGRAMS],
    ):
        if some:
            print(table(some), end="\n\n")
    print(f"{len(rows)} victims in {time.monotonic() - started:.0f} s")
    if arguments.update:
        tree = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
        target = pathlib.Path(tree) / "tests/fidelity/expected.json" if tree else _EXPECTED
        target.write_text(json.dumps(expected, indent=2, sort_keys=True) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
