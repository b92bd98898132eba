"""Inside gdb: where each frozen thread's signal frame is, and what it holds.

See reference.py. Answers {tid: {"gregs": hex, "fpregs": hex}} for each thread that
stands in a signal handler which `handler` names.
"""

import json
import os

import gdb

# struct ucontext_t of the x86-64 ABI (asm/ucontext.h, asm/sigcontext.h).
_GREGS = 40
_GREGS_BYTES = 23 * 8
_FPREGS_POINTER = _GREGS + _GREGS_BYTES
_FPSTATE_BYTES = 4096


def signal_frame():
    """The signal frame next to the innermost, if one of minicore's handlers is on top."""
    frame = gdb.newest_frame()
    for _ in range(8):
        if frame is None:
            return None
        if frame.type() == gdb.SIGTRAMP_FRAME:
            return frame
        frame = frame.older()
    return None


def main():
    with open(os.environ["PROBE_IN"]) as file:
        handlers = json.load(file)["handlers"]
    inferior = gdb.selected_inferior()
    answer = {}
    for thread in inferior.threads():
        thread.switch()
        frame = signal_frame()
        if frame is None:
            continue
        name = frame.newer().name() or ""
        if not any(handler in name for handler in handlers):
            continue
        # The restorer was entered by `ret`: the stack pointer is at the ucontext.
        context = int(frame.read_register("rsp"))
        gregs = inferior.read_memory(context + _GREGS, _GREGS_BYTES).tobytes()
        where = int.from_bytes(
            inferior.read_memory(context + _FPREGS_POINTER, 8).tobytes(), "little"
        )
        fpregs = b""
        if where != 0:
            try:
                fpregs = inferior.read_memory(where, _FPSTATE_BYTES).tobytes()
            except gdb.MemoryError:
                fpregs = inferior.read_memory(where, 512).tobytes()
        answer[thread.ptid[1]] = {"gregs": gregs.hex(), "fpregs": fpregs.hex()}
    with open(os.environ["PROBE_OUT"], "w") as file:
        json.dump(answer, file)


main()
