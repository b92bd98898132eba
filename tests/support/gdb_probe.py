"""Runs inside gdb, with a program and a core loaded: answers a list of questions.

The questions come as JSON from the file in MINICORE_QUESTIONS; the answers go to the one
in MINICORE_ANSWERS. tests/support/gdb.py is the other side and explains both.
"""

import hashlib
import json
import os

import gdb


def frame_record(frame):
    location = frame.find_sal()
    library = gdb.solib_name(frame.pc())
    return {
        "function": frame.name(),
        "pc": frame.pc(),
        "file": location.symtab.filename if location.symtab else None,
        "line": location.line,
        "library": library,
        # Frames that gdb makes up from debug information (inlined and tail calls) are
        # not on the stack: other unwinders do not list them.
        "is_signal_frame": frame.type() == gdb.SIGTRAMP_FRAME,
        "on_stack": frame.type() in (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME),
    }


def frames_of_selected_thread():
    frames = []
    frame = gdb.newest_frame()
    while frame is not None and frame.is_valid():
        frames.append(frame)
        try:
            frame = frame.older()
        except gdb.error:
            break
    return frames


def to_plain(value, depth=0):
    """A gdb.Value as plain Python, by way of gdb's own pretty printers."""
    if depth > 200:
        raise gdb.error("nested too deep")
    printer = gdb.default_visualizer(value)
    if printer is not None:
        return printed_to_plain(printer, depth)
    kind = value.type.strip_typedefs()
    code = kind.code
    if code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_REF):
        if code == gdb.TYPE_CODE_REF:
            return to_plain(value.referenced_value(), depth + 1)
        target = kind.target().unqualified().strip_typedefs()
        if int(value) != 0 and target.code == gdb.TYPE_CODE_INT and target.sizeof == 1:
            return value.string(encoding="latin-1")
        return int(value)
    if code == gdb.TYPE_CODE_STRUCT:
        return {
            field.name: to_plain(value[field], depth + 1)
            for field in kind.fields()
            if not field.is_base_class and hasattr(field, "bitpos")
        }
    if code == gdb.TYPE_CODE_ARRAY:
        low, high = kind.range()
        return [to_plain(value[i], depth + 1) for i in range(low, high + 1)]
    if code == gdb.TYPE_CODE_FLT:
        return float(value)
    if code == gdb.TYPE_CODE_BOOL:
        return bool(value)
    if code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_FLAGS):
        return int(value)
    return value.format_string()


def printed_to_plain(printer, depth):
    hint = printer.display_hint() if hasattr(printer, "display_hint") else None
    if hint == "string":
        return text_of(printer.to_string())
    if not hasattr(printer, "children"):
        return text_of(printer.to_string())
    children = list(printer.children())
    if hint == "map":
        plain = [to_plain(child, depth + 1) for _, child in children]
        return [list(pair) for pair in zip(plain[::2], plain[1::2])]
    if len(children) == 1 and children[0][0] == "get()":  # smart pointers
        pointer = children[0][1]
        return to_plain(pointer.dereference(), depth + 1) if int(pointer) else None
    if not children and str(printer.to_string()).startswith(("std::unique_ptr", "std::shared_ptr")):
        return None
    return [to_plain(child, depth + 1) for _, child in children]


def text_of(printed):
    if isinstance(printed, gdb.Value):
        return to_plain(printed)
    if hasattr(printed, "lazy_string"):
        printed = printed.lazy_string()
    if hasattr(printed, "value"):  # gdb.LazyString
        if printed.length == 0:
            return ""
        value = printed.value()
        if value.type.code == gdb.TYPE_CODE_PTR:
            return value.string(encoding="latin-1", length=printed.length)
        return value.string(encoding="latin-1", length=printed.length)
    return str(printed)


def evaluate(question, threads):
    """Evaluates in a thread, in its innermost frame of a function (or in all of them)."""
    if "address" in question:
        inferior = gdb.selected_inferior()
        memory = inferior.read_memory(question["address"], question["size"])
        return hashlib.sha256(memory.tobytes()).hexdigest()
    if question.get("thread") is not None:
        threads[question["thread"]].switch()
    function = question.get("function")
    if not function:
        if gdb.selected_thread() is not None:
            gdb.newest_frame().select()
        return to_plain(gdb.parse_and_eval(question["expression"]))
    values = []
    for frame in frames_of_selected_thread():
        if frame.name() != function:
            continue
        frame.select()
        values.append(to_plain(gdb.parse_and_eval(question["expression"])))
        if not question.get("all_frames"):
            return values[0]
    if not values:
        raise gdb.error(f"no frame of {function}")
    return values


def answer():
    with open(os.environ["MINICORE_QUESTIONS"]) as file:
        questions = json.load(file)
    current = gdb.selected_thread()
    answers = {
        "current": current.ptid[1] if current else None,
        "threads": {},
        "values": [],
        "output": {},
    }
    threads = {thread.ptid[1]: thread for thread in gdb.selected_inferior().threads()}
    for tid, thread in sorted(threads.items()):
        thread.switch()
        answers["threads"][tid] = [frame_record(frame) for frame in frames_of_selected_thread()]
    if current:
        current.switch()
        gdb.newest_frame().select()
    for command in questions["commands"]:
        try:
            answers["output"][command] = gdb.execute(command, to_string=True)
        except gdb.error as error:
            answers["output"][command] = f"error: {error}"
    for question in questions["values"]:
        try:
            answers["values"].append({"value": evaluate(question, threads)})
        except (gdb.error, OverflowError, UnicodeError, KeyError, RuntimeError) as error:
            answers["values"].append({"error": f"{type(error).__name__}: {error}"})
        if current:
            current.switch()
    with open(os.environ["MINICORE_ANSWERS"], "w") as file:
        json.dump(answers, file)


answer()
