"""What lldb says of a core. Commands only: not every lldb here has Python."""

import os
import pathlib
import re
import shutil
import subprocess

from tests.fidelity import compare

# Debian's lldb packages exclude each other; those beside the installed one are unpacked
# by tools/setup.sh.
UNPACKED = pathlib.Path(os.environ.get("MINICORE_LLDBS", "/opt/minicore-lldbs"))
# lldb deadlocks with itself now and then (14 to 16: its event handler and its interpreter
# take two locks in opposite orders): then it is asked again.
_TIMEOUT_S = 60
_TRIES = 4
# Members of libstdc++'s containers that point behind the last element: where that is a
# smart pointer, lldb shows what happens to lie there.
_BEHIND = re.compile(r"^\s*(_M_finish|_M_end_of_storage|_M_last) =")
# lldb 14 to 16 show a pointer to std::string, and the bytes that std::variant keeps one in,
# as if the pointer's target were text: up to 1,024 bytes from there on, whatever they are.
_NO_TEXT = re.compile(
    r"\b(_M_start|_M_finish|_M_end_of_storage|_M_cur|_M_first|_M_last|_M_node|_M_storage)"
    r' = ("(?:[^"\\]|\\.)*"(?:\.\.\.)?|unable to read data)'
)
_FAILED_READ = re.compile(r"read memory from (0x[0-9a-f]+) failed")
# Frames whose variables are printed: of the crashed thread, of each of a few others.
_CRASHED_FRAMES = 16
_OTHER_THREADS = 12
_OTHER_FRAMES = 6


def versions():
    """Returns: {name: command} of every lldb that is here."""
    found = {}
    for version in range(11, 24):
        name = f"lldb-{version}"
        unpacked = UNPACKED / str(version) / "usr/lib" / f"llvm-{version}"
        if shutil.which(name):
            found[name] = [name]
        elif (unpacked / "bin/lldb").exists():
            libraries = [str(unpacked / "lib"), str(UNPACKED / str(version) / "usr/lib/x86_64-linux-gnu")]
            found[name] = ["env", "LD_LIBRARY_PATH=" + ":".join(libraries), str(unpacked / "bin/lldb")]
    return found


def view(command, program, core, scratch, global_names):
    """Returns: {section: text}."""
    commands = ["image list", "thread list", "register read --all", "bt all"]
    # gdb's 'file'::name is C++'s name for lldb.
    commands += ["target variable " + name.split("'::")[-1] for name in global_names]
    commands += ["thread select 1"]
    for frame in range(_CRASHED_FRAMES):
        commands += [f"frame select {frame}", "frame variable"]
    for thread in range(2, 2 + _OTHER_THREADS):
        commands += [f"thread select {thread}"]
        for frame in range(_OTHER_FRAMES):
            commands += [f"frame select {frame}", "frame variable"]
    script = scratch / "lldb.commands"
    script.write_text("".join(line + "\n" for line in commands))
    words = [
        *command, "--no-lldbinit", "--batch",
        "-O", "settings set use-color false",
        "-O", "settings set symbols.enable-external-lookup false",
        "-O", "settings set stop-disassembly-display never",
        "-O", "settings set stop-line-count-before 0",
        "-O", "settings set stop-line-count-after 0",
        "-O", "settings set interpreter.stop-command-source-on-error false",
        "-o", f"target create --core {core} {program}",
        "-o", f"command source -s 0 {script}",
    ]  # fmt: skip
    for attempt in range(_TRIES):
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_S, text=True, errors="replace",
                env={"PATH": os.environ["PATH"], "HOME": str(scratch), "LANG": "C.UTF-8"},
            )  # fmt: skip
            break
        except subprocess.TimeoutExpired:
            if attempt == _TRIES - 1:
                raise
    if done.returncode != 0 and not done.stdout:
        raise RuntimeError(f"{command} failed with {done.returncode}")
    return _sections(done.stdout, set(commands))


def _sections(output, commands):
    """By command; per thread and frame where it is about those. lldb numbers threads in
    the order of the notes: here they go by their kernel ids."""
    tids = {
        int(number): int(tid) for number, tid in re.findall(r"thread #(\d+): tid = (\d+)", output)
    }
    sections = {}
    thread = frame = None
    name = None
    for line in output.splitlines():
        if line.startswith("(lldb) "):
            command = line[len("(lldb) ") :]
            name = None
            if command not in commands:
                continue
            if command.startswith("thread select"):
                thread = tids.get(int(command.split()[-1]))
            elif command.startswith("frame select"):
                frame = int(command.split()[-1])
            elif command == "frame variable":
                # With fewer threads than were to be selected, the last one stays selected.
                name = None if thread is None else f"thread {thread} frame {frame} variables"
            else:
                name = command
            continue
        # What selecting a thread prints comes when it comes.
        stray = re.match(r"\* thread #|    frame #|Process \d", line)
        if name is not None and not (stray and name.endswith("variables")) and not _BEHIND.match(line):
            sections.setdefault(name, []).append(_normalised(line, tids))
    result = {key: "\n".join(lines) for key, lines in sections.items()}
    result["thread list"] = "\n".join(sorted(result.get("thread list", "").splitlines()))
    # bt all: one section for each thread.
    current = None
    for line in result.pop("bt all", "").splitlines():
        found = re.match(r"[* ] thread (\d+)", line)
        if found:
            current = f"backtrace of thread {found.group(1)}"
        if current:
            result[current] = result.get(current, "") + line + "\n"
    return result


def _normalised(line, tids):
    """Without the order of the notes, and without the end of a text that is all zeros: of
    a large array that was hardly touched lldb reads as far as the first segment goes."""
    line = _NO_TEXT.sub(r"\1 = no text", line)
    line = re.sub(r"thread #(\d+)", lambda found: f"thread {tids.get(int(found.group(1)))}", line)
    return re.sub(r'(\\0)+"(\.\.\.)?|"\.\.\.', '"', line)


def _variables(text):
    """A section's variables: {first line's declaration: lines}."""
    result = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("("):
            name = line.split(" = ")[0]
        result.setdefault(name, []).append(line)
    return result


def _without_dead(full, small, dead_stack):
    """Both sections without the variables that lldb looks for below the stack pointer. In
    optimised code it places some there that live elsewhere, and of the full core shows what
    a signal handler has left there since."""
    before, after = _variables(full), _variables(small)
    for name, lines in list(after.items()):
        addresses = [int(word, 16) for word in _FAILED_READ.findall("\n".join(lines))]
        if any(low <= address < end for address in addresses for low, end in dead_stack):
            before.pop(name, None)
            del after[name]
    return tuple("\n".join("\n".join(lines) for lines in part.values()) for part in (before, after))


def compare_views(full, small, dead_stack):
    """`dead_stack`: what lies below the threads' stack pointers (own_data.dead_stack).
    Returns: {figure: Tally}."""
    result = {name: compare.Tally() for name in ("frames", "variables", "globals", "lists")}
    for section, text in full.items():
        other = small.get(section, "")
        thread = re.match(r"thread (\S+) frame .* variables", section)
        if thread and not any(name.startswith(f"thread {thread.group(1)} ") for name in small):
            continue  # of many threads, other ones were selected: they are numbered anew
        if section.startswith("backtrace"):
            figure = "frames"
        elif section.endswith("variables"):
            figure = "variables"
            text, other = _without_dead(text, other, dead_stack)
        elif section.startswith("target variable"):
            figure = "globals"
        else:
            figure = "lists"
        result[figure].add(compare.lines(text, other, section))
    return result
