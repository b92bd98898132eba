"""Inside gdb: registers, frames, and memory around every word that leads anywhere.

For programs without debug information. See programs.py. Asked with "words" empty, finds
them: all registers and all words of the stacks. Answers with what `x/64gx $sp` shows of
each thread and what `x/8gx` shows of each word, as hexadecimal text; null if gdb can't
read it.
"""

import json
import os
import struct

import gdb

_REGISTERS = (
    "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss fs_base gs_base"
).split()
_VECTORS = [f"xmm{i}" for i in range(16)]
_STACK_BYTES = 64 * 1024
_PT_TLS = 7
_MAX_WORDS = 40000
_MAX_FRAMES = 300


def read(inferior, address, size):
    try:
        return inferior.read_memory(address, size).tobytes().hex()
    except gdb.error:
        return None


def thread_local_bytes():
    """Of all modules together: glibc has them right below a thread's control block."""
    total = 0
    for objfile in gdb.objfiles():
        try:
            with open(objfile.filename, "rb") as file:
                header = file.read(64)
                (at,) = struct.unpack_from("<Q", header, 32)
                (count,) = struct.unpack_from("<H", header, 56)
                file.seek(at)
                rows = file.read(56 * count)
        except OSError:
            continue  # the vdso
        for row in range(0, len(rows), 56):
            kind, _, _, _, _, _, size, align = struct.unpack_from("<IIQQQQQQ", rows, row)
            if kind == _PT_TLS:
                total += (size + align - 1) // align * align
    return total


def stack_words(inferior, stack_pointer, control_block, thread_locals):
    """Up to the end of the mapping or, of a thread's stack, to its thread-locals: the
    kernel merges mappings that touch."""
    data = b""
    size = _STACK_BYTES
    if stack_pointer < control_block < stack_pointer + size:
        size = control_block - thread_locals - stack_pointer
    while len(data) < size:
        try:
            data += inferior.read_memory(stack_pointer + len(data), 512).tobytes()
        except gdb.error:
            break
    data = data[:size]
    return [word for (word,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8])]


def frames():
    found = []
    try:
        frame = gdb.newest_frame()
        while frame is not None and len(found) < _MAX_FRAMES:
            found.append(f"{frame.pc():#x} {frame.name()}")
            frame = frame.older()
    except gdb.error as error:
        found.append(f"<error: {error}>")
    return found


def main():
    with open(os.environ["PROBE_IN"]) as file:
        asked = json.load(file)
    inferior = gdb.selected_inferior()
    answer = {"threads": {}, "words": {}, "current": gdb.selected_thread().ptid[1]}
    words = set(asked["words"])
    thread_locals = thread_local_bytes()
    for thread in sorted(inferior.threads(), key=lambda thread: thread.ptid[1]):
        thread.switch()
        frame = gdb.newest_frame()
        registers = {}
        for name in _REGISTERS + _VECTORS:
            try:
                value = frame.read_register(name)
                registers[name] = str(value["v2_int64"] if name in _VECTORS else value)
                if name in _VECTORS and not asked["words"]:
                    words.update(int(value["v2_int64"][i]) & (2**64 - 1) for i in range(2))
            except (gdb.error, ValueError) as error:
                registers[name] = f"<error: {error}>"
        stack_pointer = int(frame.read_register("rsp")) & (2**64 - 1)
        if not asked["words"]:
            for name in _REGISTERS:
                words.add(int(frame.read_register(name)) & (2**64 - 1))
            control_block = int(frame.read_register("fs_base"))
            words.update(stack_words(inferior, stack_pointer, control_block, thread_locals))
        answer["threads"][thread.ptid[1]] = {
            "registers": registers,
            "sp": stack_pointer,
            "stack": [read(inferior, stack_pointer + 8 * i, 8) for i in range(64)],
            "frames": frames(),
        }
    # Small numbers and text are no addresses; what neither core has is not looked at.
    words = sorted(word for word in words if 65536 <= word < 1 << 47)[:_MAX_WORDS]
    for word in words:
        answer["words"][word] = [read(inferior, word + 8 * i, 8) for i in range(8)]
    answer["libraries"] = gdb.execute("info sharedlibrary", to_string=True)
    with open(os.environ["PROBE_OUT"], "w") as file:
        json.dump(answer, file)


main()
