"""Inside gdb: every thread's frames, [program counter, stack pointer, function, library or
None]. Inlined calls and tail calls, of which only debug information knows, are none."""

import json
import os

import gdb


def main():
    answer = {}
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        frame = gdb.newest_frame()
        found = []
        while frame is not None and len(found) < 300:
            if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
                found.append([frame.pc(), int(frame.read_register("rsp")), frame.name(),
                              gdb.solib_name(frame.pc())])
            frame = frame.older()
        answer[thread.ptid[1]] = found
    with open(os.environ["PROBE_OUT"], "w") as file:
        json.dump(answer, file)


main()
