"""What gdb says of a core, and how two cores compare in it."""

import re

from tests.fidelity import compare
from tests.fidelity import gdb

_COMMANDS = ("info sharedlibrary", "info threads", "info auxv", "info proc", "info signal SIGSEGV")


def view(program, core, scratch, full_threads, holes, expressions=()):
    """`full_threads`: of how many threads locals are printed, the crashed one first.
    `holes`: memory that the kernel leaves out (elf_core.holes). `expressions`: count as
    globals."""
    answer, said, seconds = gdb.run(
        "view_probe.py", program, core,
        {
            "commands": _COMMANDS,
            "sources": ["tests/fidelity/victims/"],
            "full_threads": full_threads,
            "holes": holes,
            "expressions": expressions,
        },
        scratch,
    )  # fmt: skip
    answer["warnings"] = [line for line in said.splitlines() if "warning" in line.lower()]
    answer["seconds"] = seconds
    return answer


def compare_views(full, small):
    """Returns: {figure: Tally}."""
    result = {
        name: compare.Tally()
        for name in ("frames", "values", "leaves", "bt full", "tls", "globals", "registers", "lists")
    }
    lists = result["lists"]
    lists.count("current thread", str(full["current"]), str(small["current"]))
    # The kernel lists threads in another order; gdb numbers them so.
    lists.count("threads", str(sorted(full["order"])), str(sorted(small["order"])))
    lists.count("$_siginfo", full.get("siginfo", ""), small.get("siginfo", ""))
    for command, text in full["commands"].items():
        other = small["commands"].get(command, "")
        if command == "info threads":
            text, other = _thread_lines(text), _thread_lines(other)
        lists.add(compare.lines(text, other, command))
    result["globals"] = compare.values(full["globals"], small["globals"], "global")
    result["leaves"] = compare.values(full["leaves"], small["leaves"], "global")
    for tid, thread in full["threads"].items():
        other = small["threads"].get(tid, {"frames": [], "registers": {}, "tls": {}})
        where = f"thread {tid}"
        result["registers"].add(compare.values(thread["registers"], other["registers"], where))
        lists.count(f"{where} code", thread["code"], other.get("code", ""))
        result["tls"].add(compare.values(thread["tls"], other["tls"], where))
        for level, frame in enumerate(thread["frames"]):
            same = other["frames"][level] if level < len(other["frames"]) else None
            result["frames"].count(f"{where} #{level}", _frame(frame), _frame(same))
            values = same["values"] if same else {}
            at = f"{where} #{level} {frame['function']}"
            result["values"].add(compare.values(frame["values"], values, at))
            for name, value in frame["values"].items():
                result["leaves"].add(compare.leaves(value, values.get(name, ""), f"{at} {name}"))
            leaves = same["leaves"] if same else {}
            result["leaves"].add(compare.values(frame["leaves"], leaves, at))
        if "bt full" in thread:
            result["bt full"].add(
                compare.lines(thread["bt full"], other.get("bt full", ""), f"{where} bt full")
            )
    return result


def _frame(frame):
    return f"{frame['function']} {frame['pc']:#x} {frame['sp']:#x}" if frame else ""


def _thread_lines(text):
    """Without gdb's own numbers, which follow the order of the notes, and warnings."""
    return "\n".join(sorted(re.findall(r"(?:Thread|LWP) .*", text)))
