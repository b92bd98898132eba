"""Inside gdb: everything that is compared of a core, as JSON. See gdb_view.py."""

import json
import os
import re

import gdb

_REGISTERS = (
    "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss ds es "
    "fs gs fs_base gs_base"
).split()
# Deeper frames of a recursion say nothing new; gdb needs a second for each hundred.
_MAX_FRAMES = 400
# Scalars per frame that are followed to.
_LEAVES = 3000
# Of an array or a string; more than any container of the victims has.
_ELEMENTS = 1000


def execute(command):
    try:
        return gdb.execute(command, to_string=True)
    except (gdb.error, RuntimeError) as error:
        return f"<error: {error}>"


def format_value(value, **options):
    try:
        return value().format_string(max_elements=_ELEMENTS, repeat_threshold=0, **options)
    except (gdb.error, OverflowError, UnicodeError, ValueError, RuntimeError) as error:
        return f"<error: {type(error).__name__}: {error}>"


def frames_of_thread():
    frames = []
    try:
        frame = gdb.newest_frame()
        while frame is not None and len(frames) < _MAX_FRAMES:
            frames.append(frame)
            frame = frame.older()
    except gdb.error:
        pass
    return frames


def symbols_of(frame):
    """Arguments and locals, outer blocks too; shadowed ones under their own keys."""
    try:
        block = frame.block()
    except (RuntimeError, gdb.error):
        return
    depth = 0
    while block is not None:
        for symbol in block:
            if symbol.is_argument or symbol.is_variable:
                yield f"{symbol.name}@{depth}", symbol
        if block.function is not None:
            return
        block = block.superblock
        depth += 1


# Members of libstdc++'s containers that point behind the last element, at nothing.
_BEHIND = ("._M_finish", "._M_end_of_storage", "._M_last")


class Explorer:
    """Follows everything that a variable leads to, as raw members and pointers: no pretty
    printer stands between the memory and what is compared. Scalars by their paths."""

    def __init__(self, budget, holes):
        self.left = budget
        self._holes = holes
        self.found = {}
        self._seen = set()

    def explore(self, path, value):
        queue = [(path, value)]
        while queue and self.left > 0:
            path, value = queue.pop(0)
            try:
                self._one(path, value, queue)
            except (gdb.error, RuntimeError, OverflowError, UnicodeError) as error:
                self._put(path, f"<error: {error}>")

    def _put(self, path, text):
        self.left -= 1
        self.found[path] = text

    def _one(self, path, value, queue):
        kind = value.type.strip_typedefs()
        code = kind.code
        if code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            for field in kind.fields():
                if not hasattr(field, "bitpos"):
                    continue  # static: a variable of its own
                name = field.name or "<unnamed>"
                queue.append((f"{path}.{name}", value[field]))
        elif code == gdb.TYPE_CODE_ARRAY:
            low, high = kind.range()
            if kind.target().strip_typedefs().sizeof == 1:
                self._put(path, value.format_string(max_elements=_ELEMENTS))
                return
            for i in range(low, min(high, low + 63) + 1):
                queue.append((f"{path}[{i}]", value[i]))
        elif code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
            self._pointer(path, value, kind, queue)
        else:
            self._put(path, value.format_string())

    def _pointer(self, path, value, kind, queue):
        address = int(value) if kind.code == gdb.TYPE_CODE_PTR else int(value.address)
        self._put(path, hex(address))
        target = kind.target().strip_typedefs()
        if address == 0 or target.code in (gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_VOID):
            return
        if path.endswith(_BEHIND) or any(low <= address < end for low, end in self._holes):
            return
        if target.sizeof == 0 or (address, str(target)) in self._seen:
            return
        self._seen.add((address, str(target)))
        if kind.code == gdb.TYPE_CODE_PTR and target.code == gdb.TYPE_CODE_STRUCT:
            try:
                value = value.cast(value.dynamic_type)
            except (gdb.error, RuntimeError):
                pass
        target_value = (
            value.dereference() if kind.code == gdb.TYPE_CODE_PTR else value.referenced_value()
        )
        queue.append((f"(*{path})", target_value))


def values_of(frame, budget, holes):
    """Returns: the variables as gdb prints them, and what they lead to."""
    printed = {}
    explorer = Explorer(budget, holes)
    for name, symbol in symbols_of(frame):
        printed[name] = format_value(lambda: symbol.value(frame))
        try:
            explorer.explore(name, symbol.value(frame))
        except (gdb.error, RuntimeError, OverflowError):
            continue
    return printed, explorer.found


def registers(vectors):
    found = {}
    frame = gdb.newest_frame()
    names = list(_REGISTERS)
    if vectors:
        names += [f"ymm{i}" for i in range(16)] + [f"xmm{i}" for i in range(16)]
        names += [f"st{i}" for i in range(8)] + ["fctrl", "fstat", "mxcsr"]
    for name in names:
        try:
            found[name] = str(frame.read_register(name))
        except (gdb.error, ValueError) as error:
            found[name] = f"<error: {error}>"
    return found


# How the victims call what has static storage: a list of everything would have gdb read
# all of the libraries' debug information.
_STATIC = r"\bg_\|\bk_\|\btls_"


def static_variables(sources):
    """Variables with static storage that the files `sources` define, as expressions."""
    found = []
    file = None
    for line in execute(f"info variables {_STATIC}").splitlines():
        if line.startswith("File "):
            file = line[len("File ") :].rstrip(":")
        elif line.startswith("Non-debugging"):
            break
        elif file and any(source in file for source in sources):
            match = re.match(
                r"\d+:\s+.*?((?:\(anonymous namespace\)::)?[\w:]*(?:\(\)::)?\b(?:g|k|tls)_\w+)"
                r"[^;]*;$",
                line,
            )
            if match:
                found.append(reachable_name(file, match.group(1)))
    return sorted(set(name for name in found if name))


def reachable_name(file, name):
    """An expression for the variable that works in the selected frame."""
    for expression in (name, f"'{file}'::{name}", f"'{file}'::{name.split('::')[-1]}"):
        try:
            gdb.parse_and_eval(f"sizeof({expression})")
            return expression
        except gdb.error:
            continue
    return None


def thread_local_values(names):
    """Of the selected thread. It may stand in C or assembly, in whose languages gdb does not
    find what a C++ file has."""
    execute("set language c++")
    values = {name: format_value(lambda: gdb.parse_and_eval(name)) for name in names}
    execute("set language auto")
    return values


def main():
    with open(os.environ["PROBE_IN"]) as file:
        questions = json.load(file)
    holes = questions["holes"]
    inferior = gdb.selected_inferior()
    current = gdb.selected_thread()
    threads = {thread.ptid[1]: thread for thread in inferior.threads()}
    answer = {
        "current": current.ptid[1] if current else None,
        "order": [thread.ptid[1] for thread in sorted(inferior.threads(), key=lambda t: t.num)],
        "threads": {},
        "globals": {},
        "commands": {},
    }
    # gdb's warnings about a thread come when it is first looked at: not inside a list.
    for thread in threads.values():
        thread.switch()
        gdb.newest_frame()
    current.switch()
    for command in questions["commands"]:
        answer["commands"][command] = execute(command)
    names = static_variables(questions["sources"])
    thread_locals = [name for name in names if name.split("::")[-1].startswith("tls_")]
    explorer = Explorer(_LEAVES, holes)
    for name in names:
        if name not in thread_locals:
            answer["globals"][name] = format_value(lambda: gdb.parse_and_eval(name))
            explorer.explore(name, gdb.parse_and_eval(name))
    for expression in questions["expressions"]:
        answer["globals"][expression] = format_value(lambda: gdb.parse_and_eval(expression))
    answer["leaves"] = explorer.found
    full = questions["full_threads"]
    for index, (tid, thread) in enumerate(threads.items()):
        thread.switch()
        frames = frames_of_thread()
        entry = {
            "frames": [],
            "registers": registers(vectors=True),
            "tls": thread_local_values(thread_locals),
            "code": execute("x/2i $pc"),
        }
        for level, frame in enumerate(frames):
            # A library's own are found from its frames: each may have some of that name.
            if frame.name() == "PluginRun":
                frame.select()
                for name in thread_locals:
                    value = format_value(lambda: gdb.parse_and_eval(name.split("::")[-1]))
                    if "No symbol" not in value:
                        entry["tls"][f"#{level} {name}"] = value
            printed, led_to = values_of(frame, _LEAVES, holes) if index < full else ({}, {})
            entry["frames"].append(
                {
                    "pc": frame.pc(),
                    "sp": int(frame.read_register("rsp")),
                    "function": frame.name(),
                    "values": printed,
                    "leaves": led_to,
                }
            )
        if index < full:
            if frames:
                gdb.newest_frame().select()
            entry["bt full"] = execute(f"bt -full {_MAX_FRAMES}")
        answer["threads"][tid] = entry
    if current:
        current.switch()
        answer["siginfo"] = format_value(lambda: gdb.parse_and_eval("$_siginfo"))
    with open(os.environ["PROBE_OUT"], "w") as file:
        json.dump(answer, file)


main()
