"""What elfutils, binutils, drgn and pyelftools say of a core: each a {section: text}."""

import pathlib
import re
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
_TIMEOUT_S = 600
# Debian's: drgn and pyelftools are packages of Debian's Python.
_PYTHON = "/usr/bin/python3"


def _output(*command):
    done = subprocess.run(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=_TIMEOUT_S, text=True, errors="replace",
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"},
    )  # fmt: skip
    return done.stdout


def eu_stack(program, core):
    sections = {}
    thread = "head"
    for line in _output("eu-stack", f"--core={core}", f"--executable={program}").splitlines():
        if line.startswith("TID "):
            thread = f"backtrace of thread {line[4:].rstrip(':')}"
        elif not line.startswith("PID "):
            sections[thread] = sections.get(thread, "") + line + "\n"
    return sections


def eu_unstrip(program, core):
    """Modules: address, size in whole pages, build id, names."""
    del program

    def whole_pages(found):
        return f"+{(int(found.group(1), 16) + 4095) // 4096 * 4096:#x}"

    # elfutils rounds a module's end to the alignment of the core's segments: 4,096 for the
    # kernel's, 16 for minicore's (libdwfl/dwfl_segment_report_module.c, segment_align).
    return {"modules": re.sub(r"\+0x([0-9a-f]+)", whole_pages, _output("eu-unstrip", "-n", f"--core={core}"))}


# What the kernel's note says of the instant of its own core, and not of the crash: minicore
# writes before it, with another state, and each thread's times and masks have moved on.
_OF_THE_MOMENT = re.compile(r"^ *(state:|sigpend:|sighold:|utime:)|^Note segment|si_signo: ")


def eu_readelf(program, core):
    """The notes, thread by thread. Vector state is compared in gdb."""
    del program
    sections = {}
    where = "head"
    block = ""
    for line in _output("eu-readelf", "-n", core).splitlines():
        started = re.match(r"  (CORE|LINUX|MINICORE)\s+\d+  (\S+)", line)
        if started:
            sections[where] = sections.get(where, "") + block
            block = ""
            where = started.group(2)
            continue
        pid = re.match(r"    pid: (\d+)", line)
        if pid and where == "PRSTATUS":
            where = f"PRSTATUS of {pid.group(1)}"
        if not _OF_THE_MOMENT.search(line):
            block += line.rstrip() + "\n"
    sections[where] = sections.get(where, "") + block
    return {
        name: text
        for name, text in sections.items()
        if name.startswith(("PRSTATUS of", "PRPSINFO", "SIGINFO", "AUXV", "FILE"))
    }


def readelf(program, core):
    """The header, and which notes there are."""
    del program
    header = _output("readelf", "-h", core)
    kept = [
        line
        for line in header.splitlines()
        if re.search(r"Class|Data|Version|OS/ABI|Type|Machine|Entry|Flags", line)
    ]
    notes = _output("readelf", "-n", core)
    kinds = re.findall(r"\((?:NT_)?(prstatus|prpsinfo|auxiliary vector|siginfo_t|mapped files|floating point registers|x86 XSAVE[^)]*)", notes)
    kinds += re.findall(r"NT_(PRSTATUS|PRPSINFO|SIGINFO|AUXV|FILE|FPREGSET|X86_XSTATE)", notes)
    counts = sorted(f"{kind} {kinds.count(kind)}" for kind in set(kinds))
    files = [line.strip() for line in notes.splitlines() if re.match(r" +0x[0-9a-f]{16}  0x|\s+/", line)]
    problems = [line for line in (header + notes).splitlines() if "Warning" in line or "Error" in line]
    return {
        "header": "\n".join(kept),
        "notes": "\n".join(counts),
        "files": "\n".join(files),
        "problems": "\n".join(problems) or "none",
    }


def drgn(program, core):
    output = _output("/usr/bin/drgn", "-q", "-c", core, "-s", program, HERE / "drgn_probe.py")
    return _marked(output)


def pyelftools(program, core):
    del program
    return _marked(_output(_PYTHON, HERE / "pyelftools_probe.py", core))


def _marked(output):
    """Sections that begin with a line `@@ name`."""
    sections = {}
    where = "head"
    for line in output.splitlines():
        if line.startswith("@@ "):
            where = line[3:]
        else:
            sections[where] = sections.get(where, "") + line + "\n"
    return sections


ALL = {
    "eu-stack": eu_stack,
    "eu-unstrip": eu_unstrip,
    "eu-readelf": eu_readelf,
    "readelf": readelf,
    "drgn": drgn,
    "pyelftools": pyelftools,
}
